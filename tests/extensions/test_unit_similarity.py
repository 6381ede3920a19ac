"""`unit_similarity`: phy's answers, brute force, and what merges and splits do to it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import spikeinterface.core as sc

import si_curation as sic
from oracles import template_similarity as naive
from si_curation._spikeinterface import inject_extension
from si_curation.extensions.unit_similarity import compute_unit_similarity

NAME = "unit_similarity"


# ----------------------------------------------------------------------------------- extension


@pytest.mark.parametrize("name", ["ks4_phy_curated", "ks1_phy_curated"])
def test_equals_phy(shared_data, name):
    folder = shared_data / name
    analyzer = sic.read_kilosort_as_analyzer(folder)
    similarity = analyzer.compute(NAME)
    assert similarity.source == "file"
    position = {unit_id: i for i, unit_id in enumerate(analyzer.unit_ids.tolist())}
    oracle = json.loads((folder / "phy_oracle.json").read_text())
    values = similarity.get_data()
    for unit_id, known in oracle.items():
        row = values[position[int(unit_id)]]
        for other, expected in known["sim"]:
            assert row[position[other]] == np.float32(expected), (unit_id, other)
        best = np.sort(row[np.isfinite(row)])[::-1][: len(known["sim"])]
        np.testing.assert_array_equal(best, np.float32([value for _, value in known["sim"]]))


def test_computed_similarities_are_kilosorts(shared_data):
    analyzer = sic.read_kilosort_as_analyzer(shared_data / "ks4_fresh", unwhiten=False)
    file = analyzer.get_extension("template_assignment").get_template_similarity()
    own = analyzer.compute(NAME, source="templates", max_lag_ms=10.0)
    assert own.source == "templates"
    np.testing.assert_allclose(own.get_data(), file, atol=1e-5)


@pytest.fixture(scope="module")
def folder(simulate):
    return simulate(
        num_templates=12,
        num_channels=24,
        num_spikes=1500,
        num_empty_templates=1,
        num_zero_templates=1,
        num_nan_templates=1,
        curation=[("merge", [4, 5]), ("split", 7, 3), ("merge", [12, 13])],
        write_features=False,
        seed=4,
    )


@pytest.fixture
def analyzer(folder):
    return sic.read_kilosort_as_analyzer(folder.folder)


def expected_of(analyzer, templates_similarity):
    assignment = analyzer.get_extension("template_assignment")
    return naive.similarity_of_units(
        templates_similarity,
        analyzer.sorting.to_spike_vector()["unit_index"],
        assignment.get_spike_template_ids(),
        len(analyzer.unit_ids),
    )


def naive_templates(analyzer, max_lag=30):
    return naive.lagged_cosine(
        analyzer.get_extension("template_assignment").get_templates(), max_lag
    )


def test_source(analyzer, folder):
    table = analyzer.get_extension("template_assignment").get_template_similarity()
    for source in ("auto", "file"):
        found = compute_unit_similarity(analyzer, source=source)
        np.testing.assert_array_equal(found, expected_of(analyzer, table).astype(np.float32))
    found = compute_unit_similarity(analyzer, source="templates")
    expected = expected_of(analyzer, naive_templates(analyzer))
    np.testing.assert_allclose(found, expected, atol=3e-6)
    assert not np.allclose(found, expected_of(analyzer, table))


def test_without_file_it_is_computed(folder, tmp_path):
    import shutil

    shutil.copytree(folder.folder, tmp_path / "folder")
    (tmp_path / "folder" / "similar_templates.npy").unlink()
    analyzer = sic.read_kilosort_as_analyzer(tmp_path / "folder")
    similarity = analyzer.compute(NAME)
    assert similarity.source == "templates"
    expected = expected_of(analyzer, naive_templates(analyzer))
    np.testing.assert_allclose(similarity.get_data(), expected, atol=3e-6)
    with pytest.raises(sic.MissingDataError, match=r"similar_templates\.npy.*source='templates'"):
        compute_unit_similarity(analyzer, source="file")


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"source": "phy"}, "source is 'phy'"),
        ({"max_lag_ms": -1.0}, "max_lag_ms is -1.0"),
        ({"max_lag_ms": np.nan}, "max_lag_ms is nan"),
        ({"max_lag_ms": "1"} | {"source": 3}, "source is 3"),
    ],
)
def test_parameters(analyzer, params, match):
    with pytest.raises(sic.ParameterError, match=match):
        compute_unit_similarity(analyzer, **params)


@pytest.mark.parametrize("source", ["file", "templates"])
@pytest.mark.parametrize("format", ["memory", "binary_folder", "zarr"])
def test_changed_then_computed_is_computed_then_changed(analyzer, tmp_path, source, format):
    if format != "memory":
        analyzer = analyzer.save_as(format=format, folder=tmp_path / "saved")
    before = analyzer.compute(NAME, source=source).get_data()
    again = analyzer if format == "memory" else sc.load_sorting_analyzer(analyzer.folder)
    np.testing.assert_array_equal(again.get_extension(NAME).get_data(), before)
    assert again.get_extension(NAME).source == source

    ids = analyzer.unit_ids
    assert np.isfinite(before).all()
    merged = again.merge_units([[ids[0], ids[4]]], new_unit_ids=[90], sparsity_overlap=0.0)
    half = np.arange(merged.sorting.count_num_spikes_per_unit()[90]) // 2
    parts = {90: [np.unique(half), np.setdiff1d(np.arange(half.size), np.unique(half))]}
    changed = {
        "merged": merged,
        "split": merged.split_units(parts, new_unit_ids=[[91, 92]]),
        "selected": again.select_units(ids[[3, 1, 2]]),
    }
    for name, new in changed.items():
        inherited = new.get_extension(NAME)
        assert inherited is not None, name
        assert inherited.source == source
        values = np.array(inherited.get_data())
        np.testing.assert_array_equal(
            values, compute_unit_similarity(new, source=source, save=False), err_msg=name
        )
    fewer = again.get_extension(NAME)._select_channels_extension_data(again.channel_ids[:10])
    np.testing.assert_array_equal(fewer["similarity"], before, err_msg="of the whole templates")
    assert not isinstance(fewer["similarity"], np.memmap)
    keep = [3, 1, 2]
    selected = changed["selected"].get_extension(NAME).get_data()
    np.testing.assert_array_equal(selected, before[np.ix_(keep, keep)])


def test_similar_units(analyzer):
    similarity = analyzer.compute(NAME)
    unit_id = analyzer.unit_ids[2]
    table = similarity.get_similar_units(unit_id)
    assert unit_id not in table.index
    assert len(table) == len(analyzer.unit_ids) - 1
    assert table["similarity"].is_monotonic_decreasing
    assert similarity.get_similar_units(unit_id, 2).equals(table.head(2))
    with pytest.raises(sic.UnknownIdError, match="there is no unit 999"):
        similarity.get_similar_units(999)


# -------------------------------------------------------------------------------- other sorters


def bare_analyzer(trains, num_channels=4, ids=None):
    """An analyzer of another sorter without any extension, on a recording that is not read."""
    recording = sc.generate_recording(num_channels=num_channels, durations=[2.0], seed=0)
    fs = recording.sampling_frequency
    ids = range(len(trains)) if ids is None else ids
    sorting = sc.NumpySorting.from_unit_dict([dict(zip(ids, trains, strict=True))], fs)
    return sc.create_sorting_analyzer(sorting, recording, sparse=False)


def test_other_sorters_and_empty_units():
    rng = np.random.default_rng(0)
    analyzer = bare_analyzer(
        [np.sort(rng.integers(100, 50000, n)) for n in (30, 20, 0, 1)], ids=list("dabc")
    )
    with pytest.raises(sic.MissingDataError, match="'templates'"):
        sic.extensions.unit_similarity.get_unit_similarity(analyzer)
    templates = rng.normal(size=(4, 20, 4)).astype(np.float32)
    params = {"operators": ["average"], "ms_before": 0.3, "ms_after": 0.4}
    inject_extension(analyzer, "templates", {"average": templates}, params)
    expected = naive.lagged_cosine(templates, round(analyzer.sampling_frequency * 1e-3))
    expected[2], expected[:, 2] = np.nan, np.nan
    found = compute_unit_similarity(analyzer)
    np.testing.assert_allclose(found, expected, atol=3e-6)
    analyzer.compute("template_assignment")
    np.testing.assert_allclose(compute_unit_similarity(analyzer), expected, atol=3e-6)
    table = analyzer.get_extension(NAME).get_similar_units("d")
    assert sorted(table.index) == ["b", "c"] or sorted(table.index) == ["a", "c"]


def test_one_unit():
    analyzer = bare_analyzer([np.array([1000])])
    params = {"operators": ["average"], "ms_before": 0.3, "ms_after": 0.4}
    inject_extension(analyzer, "templates", {"average": np.ones((1, 20, 4), "float32")}, params)
    np.testing.assert_array_equal(compute_unit_similarity(analyzer), [[1.0]])
    assert analyzer.get_extension(NAME).get_similar_units(0).empty
