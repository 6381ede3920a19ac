"""Labels of any field that a session accepts come back to phy: each kind, for each kind of unit."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import spikeinterface as si
from phylib.io.model import load_model

import si_curation as sic
from si_curation.exporters.phy.export import export_to_phy
from si_curation.exporters.phy.inplace import update_phy_folder, write_phy_columns

FIELD = "tissue"
OLD = {"text": "grey", "number": 1, "fraction": 0.25}
NEW = {"text": "white", "number": 5, "fraction": 0.1}
MISSING = "no label"


@pytest.fixture(scope="module")
def folder(simulate):
    return simulate(
        num_templates=6, num_channels=8, num_spikes=400, write_features=False, seed=4
    ).folder


def read_with_table(folder, target, kind, there):
    """Read a copy of a folder; where `there`, every cluster has the old label."""
    shutil.copytree(folder, target)
    if there:
        ids = sic.read_phy_folder(target).cluster_ids.tolist()
        write_phy_columns(target, {FIELD: dict.fromkeys(ids, OLD[kind])})
    return sic.read_kilosort_as_analyzer(target)


def another_sorter(kind, there):
    recording, sorting = si.generate_ground_truth_recording(
        durations=[3.0], num_channels=8, num_units=6, seed=0
    )
    analyzer = si.create_sorting_analyzer(
        si.NumpySorting.from_sorting(sorting), recording, sparse=False
    )
    if there:
        analyzer.set_sorting_property(FIELD, np.array([OLD[kind]] * 6))
    analyzer.compute({"random_spikes": {"max_spikes_per_unit": 20}, "templates": {}})
    analyzer.compute("spike_amplitudes")
    return analyzer


@pytest.fixture(scope="module")
def others():
    return {(kind, there): another_sorter(kind, there) for kind in OLD for there in (False, True)}


def change_units(session, unit, label):
    """Merge or split, labelled before or after; return the units that have the label then."""
    a, b, c, d = session.unit_ids[:4]
    if unit == "same":
        session.label([a], label, FIELD)
        return [a]
    if unit == "merged":
        merged = session.merge([a, b])
        session.label([merged], label, FIELD)
        return [merged]
    if unit == "merged after":
        session.label([a, b], label, FIELD)
        return [session.merge([a, b])]
    if unit == "split":
        parts = session.split(c, np.arange(session.get_spikes(c).size) % 2)
        session.label(parts, label, FIELD)
        return parts
    session.label([d], label, FIELD)
    return session.split(d, np.arange(session.get_spikes(d).size) % 2)


def labels_in(folder, units):
    columns = sic.read_phy_folder(folder).columns
    found = dict(columns[FIELD].values) if FIELD in columns else {}
    assert load_model(folder / "params.py").metadata.get(FIELD, {}) == found, "phy reads others"
    return found


@pytest.mark.filterwarnings("ignore::si_curation.errors.SiCurationWarning")
@pytest.mark.parametrize("unit", ["same", "merged", "merged after", "split", "split after"])
@pytest.mark.parametrize("kind", list(OLD))
@pytest.mark.parametrize("change", ["new", "changed", "removed"])
@pytest.mark.parametrize("road", ["export", "in place", "another sorter"])
@pytest.mark.slow
def test_labels_come_back(folder, others, tmp_path, road, change, kind, unit):
    there = change != "new"
    if road == "another sorter":
        analyzer = others[kind, there]
    else:
        analyzer = read_with_table(folder, tmp_path / "ks", kind, there)
    session = sic.CurationSession(analyzer)
    before = list(session.unit_ids)
    units = change_units(session, unit, None if change == "removed" else NEW[kind])
    curated = session.apply()
    if road == "in place":
        update_phy_folder(tmp_path / "ks", curated)
        out = tmp_path / "ks"
    else:
        out = export_to_phy(curated, tmp_path / "out")
    names = (
        sic.read_phy_folder(out).columns["si_unit_id"].values if isinstance(units[0], str) else {}
    )
    cluster_of = {str(name): cluster for cluster, name in names.items()} or None

    def clusters(ids):
        return [cluster_of[str(i)] if cluster_of else i for i in ids]

    expected = {}
    if there:
        untouched = [i for i in before if i in session.unit_ids and i not in units]
        expected = dict.fromkeys(clusters(untouched), OLD[kind])
    if change != "removed":
        expected |= dict.fromkeys(clusters(units), NEW[kind])
    assert labels_in(out, units) == expected


def test_whole_numbers_and_truths_stay_what_they_are(folder, tmp_path):
    session = sic.CurationSession(read_with_table(folder, tmp_path / "ks", "text", False))
    session.label([0], 3, "layer")
    session.label([1], True, "sure")
    out = export_to_phy(session.apply(), tmp_path / "out")
    assert (out / "cluster_layer.tsv").read_bytes() == b"cluster_id\tlayer\r\n0\t3\r\n"
    assert (out / "cluster_sure.tsv").read_bytes() == b"cluster_id\tsure\r\n1\tTrue\r\n"


def test_labels_of_two_sessions(folder, tmp_path):
    first = sic.CurationSession(read_with_table(folder, tmp_path / "ks", "number", True))
    first.label([0], 2, FIELD)
    first.label([1], "deep", "place")
    second = sic.CurationSession(first.apply())
    second.label([1], None, "place")
    second.label([2], 7, FIELD)
    out = export_to_phy(second.apply(), tmp_path / "out")
    columns = sic.read_phy_folder(out).columns
    assert dict(columns[FIELD].values) == {0: 2, 1: 1, 2: 7, 3: 1, 4: 1, 5: 1}
    assert "place" not in columns or not columns["place"].values


@pytest.mark.parametrize("change", ["merge", "split", "select"])
@pytest.mark.parametrize(
    "format",
    ["memory", *(pytest.param(one, marks=pytest.mark.slow) for one in ("binary_folder", "zarr"))],
)
def test_labels_after_spikeinterface_changed_units(folder, tmp_path, format, change):
    session = sic.CurationSession(read_with_table(folder, tmp_path / "ks", "text", False))
    a, b, c = session.unit_ids[:3]
    session.label([a, b], "deep", FIELD)
    session.label([c], 3, "layer")
    analyzer = session.apply()
    kwargs = {} if format == "memory" else {"format": format, "folder": tmp_path / "after"}
    if change == "merge":
        after = analyzer.merge_units([[a, b]], sparsity_overlap=0.0, **kwargs)
    elif change == "split":
        n = session.get_spikes(a).size
        after = analyzer.split_units({a: [np.arange(n // 2), np.arange(n // 2, n)]}, **kwargs)
    else:
        after = analyzer.select_units([a, b, c], **kwargs)
    if format != "memory":
        after = si.load_sorting_analyzer(after.folder)
    assert after.sorting.get_annotation("curation_history") is not None
    assert after.sorting.get_annotation("sorter") == analyzer.sorting.get_annotation("sorter")
    new = [i for i in after.unit_ids.tolist() if i not in session.unit_ids]
    out = export_to_phy(after, tmp_path / "out")
    columns = sic.read_phy_folder(out).columns
    expected = {i: "deep" for i in ([a, b, *new] if change != "merge" else new)}
    found = dict(columns[FIELD].values)
    assert {i: found[i] for i in found if i in after.unit_ids} == {
        i: label for i, label in expected.items() if i in after.unit_ids
    }
    assert dict(columns["layer"].values) == {c: 3}


def test_what_phy_saved_since_stays_where_no_step_was(folder, tmp_path):
    analyzer = read_with_table(folder, tmp_path / "ks", "number", True)
    session = sic.CurationSession(analyzer)
    session.label([0], 9, FIELD)
    write_phy_columns(tmp_path / "ks", {FIELD: {0: 3, 1: 4}})  # as phy would, meanwhile
    with pytest.raises(sic.OutputExistsError, match="'tissue' of clusters 0"):
        update_phy_folder(tmp_path / "ks", session.apply())
    update_phy_folder(tmp_path / "ks", session.apply(), overwrite=True)
    assert dict(sic.read_phy_folder(tmp_path / "ks").columns[FIELD].values) == {
        0: 9,
        1: 4,
        2: 1,
        3: 1,
        4: 1,
        5: 1,
    }


def test_a_label_that_is_there_already_changes_no_file(folder, tmp_path, hash_files):
    analyzer = read_with_table(folder, tmp_path / "ks", "number", True)
    text = (tmp_path / "ks" / f"cluster_{FIELD}.tsv").read_text().replace("\t1", "\t1.0")
    (tmp_path / "ks" / f"cluster_{FIELD}.tsv").write_text(text)
    session = sic.CurationSession(analyzer)
    session.label([0], 1, FIELD)
    assert update_phy_folder(tmp_path / "ks", session.apply()) is None


def test_columns_have_the_last_word(folder, others, tmp_path):
    analyzer = read_with_table(folder, tmp_path / "ks", "text", False)
    for name, one in {"ks": analyzer, "other": others["text", False]}.items():
        session = sic.CurationSession(one)
        a, b = session.unit_ids[:2]
        session.label([a, b], "white", FIELD)
        out = export_to_phy(
            session.apply(), tmp_path / f"out_{name}", columns={FIELD: {a: "black"}}
        )
        found = sic.read_phy_folder(out).columns[FIELD].values
        assert dict(found) == {0: "black", 1: "white"}


@pytest.mark.parametrize("field", ["info", "id", " x", "x" * 300, "a\x07b", "si_unit_id", "", 3])
def test_fields_that_no_table_can_have_are_refused_at_once(folder, tmp_path, field):
    session = sic.CurationSession(read_with_table(folder, tmp_path / "ks", "text", False))
    with pytest.raises(sic.ParameterError, match="field"):
        session.label([0], "x", field)
    with pytest.raises(sic.ParameterError, match="label"):
        session.label([0], "x\x00y", "note")
    assert session.history.empty
