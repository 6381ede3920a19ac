"""`write_phy_columns`, `update_phy_folder`, `restore_phy_folder`: changed in place, and back."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from phylib.io.model import load_model
from spikeinterface.core import load_sorting_analyzer

import si_curation as sic
from helpers.links import make_link
from helpers.phy_folders import Faults, state_of, tables_of
from si_curation.exporters.phy.inplace import update_phy_folder, write_phy_columns
from si_curation.files import WriterLock
from si_curation.phy import backup
from si_curation.phy.backup import (
    half_done_change,
    list_backups,
    restore_phy_folder,
    unfinished_backups,
)
from si_curation.phy.writing import format_value


@pytest.fixture
def folder(tmp_path):
    """The packaged folder, with a cache as phy leaves it."""
    copy = tmp_path / "folder"
    shutil.copytree(sic.example_folder(), copy, copy_function=shutil.copyfile)
    cache = copy / ".phy"
    (cache / "memcache").mkdir(parents=True)
    (cache / "joblib" / "phy").mkdir(parents=True)
    (cache / "joblib" / "phy" / "output.pkl").write_bytes(b"correlograms")
    (cache / "memcache" / "get_best_channels.pkl").write_bytes(b"channels")
    (cache / "spikes_per_cluster.pkl").write_bytes(pickle.dumps({4: [0]}))
    (cache / "new_cluster_id.json").write_text('{"new_cluster_id": 14}')
    (cache / "state.json").write_text("{}")
    return copy


def merged_analyzer(folder):
    analyzer = sic.read_kilosort_as_analyzer(folder)
    return analyzer.merge_units([[8, 9]], sparsity_overlap=0.0)


# ---------------------------------------------------------------------- columns


def test_columns_are_what_phylib_and_we_read(folder, hash_files):
    before = state_of(folder, hash_files)
    table = pd.DataFrame(
        {
            "snr": [7.5, np.nan, 0.1 + 0.2],
            "layer": ["L4", "", 'L5 \t a, "b"'],
            "rank": pd.array([1, None, 3], dtype="Int64"),
            "half": np.array([0.1, 2, 3], dtype="float32"),
        },
        index=[4, 7, 13],
    )
    backup = write_phy_columns(folder, table)
    expected = {
        "snr": {4: 7.5, 13: 0.1 + 0.2},
        "layer": {4: "L4", 13: 'L5 \t a, "b"'},
        "rank": {4: 1, 13: 3},
        "half": {4: 0.1, 7: 2.0, 13: 3.0},
    }
    metadata = load_model(folder / "params.py").metadata
    columns = sic.read_phy_folder(folder).columns
    for name, values in expected.items():
        assert metadata[name] == values
        assert columns[name].values == values
    assert (folder / "cluster_rank.tsv").read_bytes() == b"cluster_id\trank\r\n4\t1\r\n13\t3\r\n"
    after = state_of(folder, hash_files)
    assert {n: d for n, d in after.items() if n in before} == before
    manifest = json.loads((backup / "manifest.json").read_text())
    assert [e["existed"] for e in manifest["files"]] == [False] * 4
    restored = restore_phy_folder(folder)
    assert {p.name for p in restored} == {f"cluster_{n}.tsv" for n in expected}
    assert state_of(folder, hash_files) == before
    assert not list((folder / ".phy").glob("*.bak"))


def test_some_values_of_a_column_that_is_there(folder, hash_files):
    before = state_of(folder, hash_files)
    old = tables_of(folder)["cluster_group.tsv"]
    backup = write_phy_columns(folder, {"group": {4: "good", 8: None, 13: "unsorted"}})
    assert tables_of(folder)["cluster_group.tsv"] == {"4": {"group": "good"}, "10": old["10"]}
    kept = backup / "files" / "cluster_group.tsv"
    assert kept.read_bytes() == (sic.example_folder() / "cluster_group.tsv").read_bytes()
    assert write_phy_columns(folder, {"group": {4: "good"}}) is None  # nothing to do
    restore_phy_folder(folder)
    assert state_of(folder, hash_files) == before


def test_column_of_another_file_is_moved(folder):
    (folder / "labels.csv").write_text("cluster_id,area,cell\n4,V1,pyr\n7,V2,int\n99,V4,x\n")
    (folder / "cluster_area2.tsv").write_text("cluster_id\tarea\n4\told\n")
    write_phy_columns(folder, {"area": {4: "S1"}})
    assert not (folder / "cluster_area2.tsv").exists()
    tables = tables_of(folder)
    assert tables["labels.csv"] == {"4": {"cell": "pyr"}, "7": {"cell": "int"}, "99": {"cell": "x"}}
    assert {i: r["area"] for i, r in tables["cluster_area.tsv"].items()}["4"] == "S1"
    metadata = load_model(folder / "params.py").metadata
    assert metadata["area"][4] == "S1"
    assert metadata["cell"] == {4: "pyr", 7: "int", 99: "x"}


def test_other_columns_of_its_file_are_kept(folder):
    (folder / "cluster_note.tsv").write_text("cluster_id\tnote\tby\n4\ta\tme\n7\tb\tyou\n")
    write_phy_columns(folder, {"note": {4: "c"}})
    metadata = load_model(folder / "params.py").metadata
    assert metadata["note"] == {4: "c", 7: "b"}
    assert metadata["by"] == {4: "me", 7: "you"}
    assert (folder / "cluster_by.tsv").is_file()


def test_refused_columns_change_nothing(folder, hash_files):
    before = hash_files(folder)
    with pytest.raises(sic.UnknownIdError, match="no cluster 0, 99") as error:
        write_phy_columns(folder, {"cluster_id": {0: 1, 4: 1}, "a\\b": {99: 2}, "ok": {4: [1]}})
    for part in ("cluster_id", "a\\\\b", "neither a number nor text"):
        assert part in str(error.value)
    for name in ("id", "info", "", " x", "a/b", "a\tb", "a\nb", "CLUSTER_ID", 3):
        with pytest.raises(sic.ParameterError):
            write_phy_columns(folder, {name: {4: 1}})
    for table in ({"group": [1, 2]}, [1], {"Group": {4: "x"}}, {"a": {4: 1}, "A": {4: 1}}):
        with pytest.raises(sic.ParameterError):
            write_phy_columns(folder, table)
    with pytest.raises(sic.ParameterError, match="more than once"):
        write_phy_columns(folder, pd.DataFrame({"a": [1, 2]}, index=[4, 4]))
    with pytest.raises(sic.OutputExistsError, match="KSLabel"):
        write_phy_columns(folder, {"KSLabel": {4: "mua"}}, overwrite=False)
    with pytest.raises(sic.FolderNotFoundError):
        write_phy_columns(folder / "nothing", {})
    assert hash_files(folder) == before


def test_values_read_back_as_they_are():
    assert format_value(np.float32(0.1)) == "0.1"
    assert format_value(1e300) == "1e+300"
    assert format_value(pd.NA) is None
    assert format_value(np.str_("a")) == "a"
    assert format_value(np.bool_(True)) == "True"
    for value in (object(), "a\x00b", "\ud800", 1j):
        with pytest.raises(ValueError):
            format_value(value)


# ---------------------------------------------------------------------- clusters


def test_update_and_restore(folder, hash_files):
    before = hash_files(folder)
    merged = merged_analyzer(folder)
    backup = update_phy_folder(folder, merged)
    again = sic.read_kilosort_as_analyzer(folder)
    assert np.array_equal(again.unit_ids, merged.unit_ids)
    assert np.array_equal(again.sorting.to_spike_vector(), merged.sorting.to_spike_vector())
    assert not (folder / "cluster_info.tsv").exists()
    # of phy's cache only the state of its windows does not hang on the clusters
    assert [p.name for p in (folder / ".phy").iterdir()] == ["state.json"]
    assert (backup / "phy_cache" / "spikes_per_cluster.pkl").is_file()
    model = load_model(folder / "params.py")
    assert np.array_equal(np.unique(model.spike_clusters), merged.unit_ids)
    for _ in range(2):
        restore_phy_folder(folder)
        assert state_of(folder, hash_files) == before
    assert update_phy_folder(folder, sic.read_kilosort_as_analyzer(folder)) is None


def test_what_phy_saved_since_is_kept(folder, hash_files):
    before = state_of(folder, hash_files)
    backup = update_phy_folder(folder, merged_analyzer(folder))
    np.save(folder / "spike_clusters.npy", np.full(5299, 3, dtype="int32"))
    (folder / ".phy" / "new_cluster_id.json").write_text("99")
    restore_phy_folder(folder, backup.name)
    assert state_of(folder, hash_files) == before
    (aside,) = backup.glob("replaced-*")
    assert set(np.load(aside / "spike_clusters.npy")) == {3}
    assert (aside / "phy_cache" / "new_cluster_id.json").read_text() == "99"


def test_backups_are_steps(folder, hash_files):
    states = [state_of(folder, hash_files)]
    backups = []
    for value in (1, 2, 3):
        backups.append(write_phy_columns(folder, {"a": {4: value}}))
        states.append(state_of(folder, hash_files))
    assert list_backups(folder) == backups
    restore_phy_folder(folder)
    assert state_of(folder, hash_files) == states[2]
    restore_phy_folder(folder, backups[0])
    assert state_of(folder, hash_files) == states[0]
    with pytest.raises(sic.MissingDataError, match="no backup 'x'"):
        restore_phy_folder(folder, "x")


def test_nothing_to_restore(folder, hash_files):
    with pytest.raises(sic.MissingDataError, match="has no backup"):
        restore_phy_folder(folder)
    backup = write_phy_columns(folder, {"group": {4: "good"}})
    (backup / "files" / "cluster_group.tsv").write_text("damaged")
    before = state_of(folder, hash_files)
    with pytest.raises(sic.MissingDataError, match="damaged"):
        restore_phy_folder(folder)
    manifest = json.loads((backup / "manifest.json").read_text())
    manifest["files"][0] |= {"name": "../evil", "existed": False}
    (backup / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(sic.MissingDataError, match="no file name"):
        restore_phy_folder(folder)
    (backup / "manifest.json").write_text("[")
    with pytest.raises(sic.MissingDataError, match="cannot be read"):
        restore_phy_folder(folder)
    assert state_of(folder, hash_files) == before


def test_update_needs_the_folder_that_was_read(folder, tmp_path, simulate):
    merged = merged_analyzer(folder)
    other = simulate("kilosort4", num_templates=4, num_spikes=100, num_channels=8).folder
    with pytest.raises(sic.PhyFolderError, match="is not what the analyzer was read from"):
        update_phy_folder(other, merged)
    with pytest.raises(sic.FolderNotFoundError):
        update_phy_folder(tmp_path / "nothing", merged)
    moved = folder.rename(tmp_path / "moved")
    update_phy_folder(moved, merged)
    assert 14 in sic.read_phy_folder(moved).cluster_ids


# ---------------------------------------------------------------------- faults


@pytest.fixture
def tiny(simulate):
    """A small folder with labels and a cache."""
    made = simulate(
        "kilosort4",
        num_templates=4,
        num_spikes=100,
        num_channels=8,
        write_features=False,
        curation=[("label", [1], "good")],
    ).folder
    (made / ".phy" / "memcache").mkdir(parents=True)
    (made / ".phy" / "memcache" / "get_best_channels.pkl").write_bytes(b"channels")
    (made / ".phy" / "spikes_per_cluster.pkl").write_bytes(b"spikes")
    return made


def tiny_merged(folder):
    analyzer = sic.read_kilosort_as_analyzer(folder)
    return analyzer.merge_units([[0, 1]], sparsity_overlap=0.0)


@pytest.mark.parametrize("what", ["columns", "update"])
@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.slow
def test_any_fault_can_be_undone(tiny, tmp_path, hash_files, what, kill):
    pristine, folder = tmp_path / "pristine", tmp_path / "folder"
    tiny.rename(pristine)
    (pristine / "labels.csv").write_text("cluster_id,note\n3,a\n")
    merged = tiny_merged(pristine)
    old = state_of(pristine, hash_files)

    def prepare():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(pristine, folder, copy_function=shutil.copyfile)

    def run():
        if what == "update":
            update_phy_folder(folder, merged)
        else:
            write_phy_columns(folder, {"group": {3: "good"}, "note": {2: "b"}, "snr": {3: 1.5}})

    prepare()
    run()
    new = state_of(folder, hash_files)
    seen = set()

    def check(failed):
        found = state_of(folder, hash_files)
        if not failed:
            assert found == new
            return
        if not kill:  # put back at once
            assert found == old
            assert not [p for p in folder.rglob("*.tmp")]
        elif found == new:
            seen.add("new")
        elif found != old:
            seen.add("mixed")
            if half_done_change(folder):
                seen.add("half")
                with pytest.raises(sic.PhyFolderError, match="begun and not finished"):
                    sic.read_phy_folder(folder)
        is_left = bool(unfinished_backups(folder))
        if list_backups(folder) and len(seen) % 2:  # either way back
            restore_phy_folder(folder)
            assert state_of(folder, hash_files) == old
            assert not [p for p in folder.rglob("*.tmp")]
        run()  # and nothing stands in the way
        if is_left:
            assert not unfinished_backups(folder)
            assert not [p for p in folder.rglob("*.tmp")]
        assert state_of(folder, hash_files) == new
        restore_phy_folder(folder)
        assert state_of(folder, hash_files) == old

    assert Faults(kill).each(prepare, run, check) > 20
    assert seen == ({"mixed", "half", "new"} if kill else set())


@pytest.mark.slow
def test_restoring_can_be_cut_short(tiny, hash_files):
    folder, old = tiny, state_of(tiny, hash_files)
    update_phy_folder(folder, tiny_merged(folder))
    new = folder.with_name("new")
    folder.rename(new)

    def prepare():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(new, folder)

    def check(failed):
        restore_phy_folder(folder)
        assert state_of(folder, hash_files) == old

    for kill in (False, True):
        assert Faults(kill).each(prepare, lambda: restore_phy_folder(folder), check) > 5


# ---------------------------------------------------------- what another program did meanwhile


def save_as_phy(folder, clusters=None, groups=None):
    """What phy writes when it saves: clusters as int32, and a table of every field."""
    if clusters is not None:
        np.save(folder / "spike_clusters.npy", clusters.astype(np.int32))
    if groups is not None:
        lines = [f"{i}\t{group}" for i, group in sorted(groups.items())]
        text = "\n".join(["cluster_id\tgroup", *lines, ""])
        (folder / "cluster_group.tsv").write_text(text)


def split_in_phy(folder, cluster_id, new_ids):
    clusters = np.load(folder / "spike_clusters.npy")
    rows = np.flatnonzero(clusters == cluster_id)
    clusters[rows] = np.resize(new_ids, rows.size)
    save_as_phy(folder, clusters)


def labelled(folder):
    session = sic.CurationSession(sic.read_kilosort_as_analyzer(folder))
    session.label([4], "good")
    return session.apply()


def test_clusters_that_phy_saved_since_are_not_put_back(folder, hash_files):
    merged = merged_analyzer(folder)
    split_in_phy(folder, 13, [20, 21])
    before = state_of(folder, hash_files)
    with pytest.raises(
        sic.OutputExistsError,
        match=r"spike_clusters\.npy \(new clusters: 20, 21; gone: 13\)\. Nothing was written\.",
    ):
        update_phy_folder(folder, merged)
    assert state_of(folder, hash_files) == before
    backup = update_phy_folder(folder, merged, overwrite=True)
    assert sic.read_phy_folder(folder).cluster_ids.tolist() == merged.unit_ids.tolist()
    restore_phy_folder(folder, backup)
    assert state_of(folder, hash_files) == before


def test_clusters_are_compared_with_the_hash_of_earlier_versions(folder):
    merged = merged_analyzer(folder)
    known = merged.get_extension("template_assignment").info["read_content"]
    clusters = np.load(folder / "spike_clusters.npy").astype("<i8")
    known["clusters"] = hashlib.sha256(clusters.tobytes()).hexdigest()
    split_in_phy(folder, 13, [20, 21])
    with pytest.raises(sic.OutputExistsError, match=r"spike_clusters\.npy"):
        update_phy_folder(folder, merged)
    save_as_phy(folder, clusters)  # as they were read, in another dtype
    update_phy_folder(folder, merged)
    assert sic.read_phy_folder(folder).cluster_ids.tolist() == merged.unit_ids.tolist()


def test_steps_are_repeated_on_what_phy_saved(folder):
    """The merge of two curations: phy's, and that of a session that began before."""
    session = sic.CurationSession(sic.read_kilosort_as_analyzer(folder))
    merged = session.merge([8, 9])
    session.split_by_template(10)
    session.label([merged], "mua")
    split_in_phy(folder, 13, [14, 15])
    with pytest.raises(sic.OutputExistsError, match=r"CurationSession\.repeat"):
        update_phy_folder(folder, session.apply())
    again = sic.CurationSession(sic.read_kilosort_as_analyzer(folder))
    assert again.repeat(session)[merged] == 16
    update_phy_folder(folder, again.apply())
    found = sic.read_phy_folder(folder)
    assert set(found.cluster_ids.tolist()) == {4, 7, 11, 12, 14, 15, 16, 17, 18}
    assert found.groups[16] == "mua"


def test_labels_that_phy_saved_since_are_not_put_back(folder, hash_files):
    analyzer = labelled(folder)
    save_as_phy(folder, groups={4: "noise", 9: "mua"})
    before = state_of(folder, hash_files)
    with pytest.raises(sic.OutputExistsError, match=r"the column 'group' of clusters 4\. Noth"):
        update_phy_folder(folder, analyzer)
    assert state_of(folder, hash_files) == before


def test_labels_of_both_are_merged(folder, hash_files):
    analyzer = labelled(folder)
    groups = dict(sic.read_phy_folder(folder).columns["group"].values)
    changed = {i: "mua" for i in groups} | {9: "mua"}
    save_as_phy(folder, groups=changed)
    update_phy_folder(folder, analyzer)
    assert sic.read_phy_folder(folder).columns["group"].values == {**changed, 4: "good"}
    save_as_phy(folder, groups={})  # all taken away again: the analyzer's own is put back
    with pytest.raises(sic.OutputExistsError) if 4 in groups else nullcontext():
        update_phy_folder(folder, analyzer)
    assert set(sic.read_phy_folder(folder).columns["group"].values) <= {4}


def test_a_label_of_phy_on_a_cluster_that_is_merged_away(folder):
    merged = merged_analyzer(folder)
    write_phy_columns(folder, {"note": {8: "look at this one", 4: "x"}})
    with pytest.raises(sic.OutputExistsError, match="the column 'note' of clusters 8"):
        update_phy_folder(folder, merged)
    assert update_phy_folder(folder, merged, overwrite=True)
    assert sic.read_phy_folder(folder).columns["note"].values == {4: "x"}


def test_a_save_that_changes_no_value_stops_nothing(folder):
    analyzer = labelled(folder)
    groups = sic.read_phy_folder(folder).columns["group"].values
    before = (folder / "cluster_group.tsv").read_bytes()
    save_as_phy(folder, np.load(folder / "spike_clusters.npy").reshape(-1), groups)
    (folder / "cluster_info.tsv").write_text("cluster_id\tgroup\n4\tnoise\n")
    assert (folder / "cluster_group.tsv").read_bytes() != before
    assert update_phy_folder(folder, analyzer) is not None
    assert sic.read_phy_folder(folder).groups[4] == "good"


def test_phy_opened_a_fresh_folder(simulate):
    folder = simulate("kilosort4", num_templates=4, num_spikes=100, num_channels=8).folder
    (folder / "spike_clusters.npy").unlink(missing_ok=True)
    merged = tiny_merged(folder)
    shutil.copyfile(folder / "spike_templates.npy", folder / "spike_clusters.npy")  # as phy does
    assert update_phy_folder(folder, merged) is not None


def test_a_curation_can_be_written_again_and_again(folder):
    """Of the program that wrote the folder last; another one is stopped."""
    analyzer = sic.read_kilosort_as_analyzer(folder)
    session = sic.CurationSession(analyzer)
    for units in ([8, 9], [11, 12]):
        session.merge(units)
        assert update_phy_folder(folder, session.apply()) is not None
    assert {14, 15} <= set(sic.read_phy_folder(folder).cluster_ids.tolist())
    restore_phy_folder(folder)
    assert update_phy_folder(folder, session.apply()) is not None
    split_in_phy(folder, 4, [20, 21])
    with pytest.raises(sic.OutputExistsError, match="new clusters: 14, 15, 20, 21; gone: 4, 8, 9"):
        update_phy_folder(folder, session.apply())


@pytest.mark.parametrize("how", ["zarr", "attached"])
def test_what_was_read_is_known_of_other_analyzers_too(folder, tmp_path, how):
    analyzer = sic.read_kilosort_as_analyzer(folder)
    if how == "zarr":
        analyzer.save_as(format="zarr", folder=tmp_path / "a.zarr")
        analyzer = load_sorting_analyzer(tmp_path / "a.zarr")
    else:
        analyzer.delete_extension("template_assignment")
        sic.attach_kilosort_folder(analyzer, folder)
    merged = analyzer.merge_units([[8, 9]], sparsity_overlap=0.0)
    split_in_phy(folder, 13, [20, 21])
    with pytest.raises(sic.OutputExistsError, match="new clusters: 20, 21"):
        update_phy_folder(folder, merged)


def test_a_save_between_reading_and_replacing_is_noticed(folder, hash_files, monkeypatch):
    analyzer = labelled(folder)
    stage = backup.stage_file

    def slow(path, content):
        save_as_phy(folder, groups={9: "mua"})
        return stage(path, content)

    monkeypatch.setattr(backup, "stage_file", slow)
    for write in (
        lambda: update_phy_folder(folder, analyzer, overwrite=True),
        lambda: write_phy_columns(folder, {"group": {4: "good"}}),
    ):
        before = state_of(folder, hash_files)
        save_as_phy(folder, groups={9: "good"})
        with pytest.raises(sic.InUseError, match=r"changed cluster_group\.tsv in the meantime"):
            write()
        assert sic.read_phy_folder(folder).columns["group"].values == {9: "mua"}
        assert not list_backups(folder)
        assert state_of(folder, hash_files).keys() == before.keys()


def test_our_writers_wait_for_each_other(folder, monkeypatch):
    monkeypatch.setattr(backup, "_WAIT_S", 0.05)
    with WriterLock(folder, "wait"):
        for write in (
            lambda: write_phy_columns(folder, {"snr": {4: 1}}),
            lambda: update_phy_folder(folder, labelled(folder)),
            lambda: restore_phy_folder(folder),
        ):
            with pytest.raises(sic.InUseError, match="is written to by another program"):
                write()
    monkeypatch.setattr(backup, "_WAIT_S", 10.0)
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(write_phy_columns, folder, {f"c{k}": {4: k}}) for k in range(8)]
        backups = {job.result() for job in jobs}
    assert len(backups) == 8
    columns = sic.read_phy_folder(folder).columns
    assert [columns[f"c{k}"].values for k in range(8)] == [{4: k} for k in range(8)]


def unfinished(folder):
    """A folder as a kill between two renames leaves it: one file new, the others old."""
    backup = write_phy_columns(folder, {"group": {4: "good"}, "snr": {4: 2}})
    (backup / "done").unlink()
    (folder / "cluster_snr.tsv").unlink()


def test_the_next_writer_rolls_an_unfinished_change_back(folder, hash_files):
    before = state_of(folder, hash_files)
    unfinished(folder)
    with pytest.raises(sic.PhyFolderError, match="files of two states are mixed"):
        sic.read_kilosort_as_analyzer(folder)
    write_phy_columns(folder, {"note": {4: "x"}})
    after = state_of(folder, hash_files)
    assert {n: d for n, d in after.items() if n != "cluster_note.tsv"} == before
    assert not unfinished_backups(folder)


def test_the_next_writer_finishes_a_change_that_was_almost_done(folder):
    backup = write_phy_columns(folder, {"group": {4: "good"}, "snr": {4: 2}})
    (backup / "done").unlink()
    assert sic.read_phy_folder(folder).groups[4] == "good"
    write_phy_columns(folder, {"note": {4: "x"}})
    assert (backup / "done").is_file()
    assert sic.read_phy_folder(folder).columns["snr"].values == {4: 2}


def change_manifest(backup, **values):
    path = backup / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][0] |= values
    path.write_text(json.dumps(manifest))


def test_a_link_of_a_manifest_leads_to_no_other_file(folder, tmp_path):
    """A folder from elsewhere may name any file of the user as what it replaced."""
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    backup = write_phy_columns(folder, {"group": {4: "good"}})
    (backup / "done").unlink()
    change_manifest(backup, link=str(mine), new_sha256=None)
    (folder / "cluster_group.tsv").unlink()
    (folder / "spike_clusters.npy").touch()
    for restore in (
        lambda: write_phy_columns(folder, {"b": {4: 1}}),
        lambda: restore_phy_folder(folder),
    ):
        restore()
        assert mine.read_text() == "mine"
        assert not (folder / "cluster_group.tsv").is_symlink()


@pytest.mark.parametrize(
    "values",
    [
        {"name": 3},
        {"name": "a" * 300},
        {"name": ["cluster_group.tsv"] * 20},
        {"existed": "yes"},
        {"sha256": None},
        {"sha256": 5},
        {"new_sha256": "no hash"},
        {"link": ["a"]},
        {"link": "a\0b"},
    ],
    ids=str,
)
def test_a_manifest_that_says_nonsense(folder, hash_files, values):
    backup = write_phy_columns(folder, {"group": {4: "good"}})
    change_manifest(backup, **values)
    before = state_of(folder, hash_files)
    with pytest.raises(sic.MissingDataError, match=r"manifest\.json"):
        restore_phy_folder(folder)
    assert state_of(folder, hash_files) == before


def test_an_unfinished_change_that_phy_saved_over_is_not_touched(folder, hash_files):
    unfinished(folder)
    save_as_phy(folder, groups={4: "noise"})
    before = state_of(folder, hash_files)
    with pytest.raises(sic.ParameterError, match=r"changed cluster_group\.tsv since; restore_phy"):
        write_phy_columns(folder, {"note": {4: "x"}})
    assert state_of(folder, hash_files) == before
    restore_phy_folder(folder)
    write_phy_columns(folder, {"note": {4: "x"}})


# ------------------------------------------------------------------------------------- links


def test_links_stay_links(folder, hash_files, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    links = ["spike_clusters.npy", "cluster_group.tsv", "cluster_info.tsv"]
    if not (folder / "cluster_info.tsv").exists():
        (folder / "cluster_info.tsv").write_text("cluster_id\tgroup\n4\tgood\n")
    for name in links:
        (folder / name).rename(home / name)
        make_link(folder / name, home / name)
    before, at_home = state_of(folder, hash_files), hash_files(home)
    analyzer = labelled(folder).merge_units([[8, 9]], sparsity_overlap=0.0)
    update_phy_folder(folder, analyzer)
    assert (folder / "spike_clusters.npy").is_symlink()
    assert (folder / "cluster_group.tsv").is_symlink()
    assert not os.path.lexists(folder / "cluster_info.tsv")
    assert np.array_equal(
        np.load(home / "spike_clusters.npy"), np.load(folder / "spike_clusters.npy")
    )
    assert 14 in np.load(home / "spike_clusters.npy")
    restore_phy_folder(folder)
    assert state_of(folder, hash_files) == before
    assert hash_files(home) == at_home
    assert all((folder / name).is_symlink() for name in links)


def test_a_folder_that_may_not_be_listed_is_not_one_without_labels(folder, monkeypatch):
    listdir = os.listdir

    def refused(path="."):
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refused)
    with pytest.raises(sic.PhyFolderError, match="may not be listed"):
        sic.read_phy_folder(folder)
    with pytest.raises(sic.PhyFolderError, match="may not be listed"):
        write_phy_columns(folder, {"snr": {4: 1}})
