"""`read_kilosort_as_analyzer` on simulated folders: what an analyzer holds, and where it lives."""

from __future__ import annotations

import csv
import inspect
import json
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import spikeinterface.core as sc
from spikeinterface.core import NumpyRecording, load_sorting_analyzer

import si_curation as sic
from oracles import folders as naive
from si_curation.reading import saving
from si_curation.reading.unit_templates import cosine_similarity
from si_curation.simulation.simulate import DIALECT_NAMES

INJECTED = {
    "random_spikes",
    "templates",
    "template_assignment",
    "spike_amplitudes",
    "unit_locations",
    "template_similarity",
}


@pytest.fixture(scope="module")
def analyzer_of():
    """Read a folder once; for tests that do not change the analyzer."""
    known = {}

    def read(truth, **kwargs):
        key = (truth.folder, *sorted(kwargs.items()))
        if key not in known:
            known[key] = sic.read_kilosort_as_analyzer(truth.folder, **kwargs)
        return known[key]

    return read


@pytest.fixture(scope="module")
def small_folder(simulate):
    """A small curated folder, with labels; not written to."""
    return simulate(
        num_templates=8,
        num_channels=12,
        num_spikes=600,
        duration_s=2.0,
        num_raw_channels=16,
        curation=[("merge", [1, 2]), ("split", 3, 2), ("label", [4, 8], "good")],
        labels={5: "noise", 6: "mua"},
        write_features=False,
        seed=1,
    )


@pytest.fixture
def copy_of(tmp_path):
    """A copy of a folder to change."""

    def make(truth, **arrays):
        folder = tmp_path / "changed"
        shutil.copytree(truth.folder, folder)
        for name, values in arrays.items():
            np.save(folder / f"{name}.npy", values)
        return folder

    return make


def file_vector(truth, name):
    return np.load(truth.folder / f"{name}.npy").ravel()


def data_of(analyzer, name, **kwargs):
    return analyzer.get_extension(name).get_data(**kwargs)


def counts_of(truth, unit_ids):
    num_templates = len(truth.templates_whitened)
    return naive.template_counts_matrix(
        truth.spike_templates, truth.spike_clusters, unit_ids, num_templates
    )


# ---------------------------------------------------------------------------- units and spikes


def test_units_and_spikes(curated_folder, analyzer_of):
    truth, analyzer = curated_folder, analyzer_of(curated_folder)
    assert analyzer.unit_ids.tolist() == np.unique(truth.spike_clusters).tolist()
    assert analyzer.unit_ids.dtype == np.int64
    assert analyzer.sampling_frequency == truth.sampling_frequency
    assert analyzer.get_num_samples(0) == truth.spike_samples.max() + 1
    for unit_id in analyzer.unit_ids:
        train = analyzer.sorting.get_unit_spike_train(unit_id)
        expected = truth.spike_samples[truth.spike_clusters == unit_id]
        np.testing.assert_array_equal(train, np.sort(expected))
    names = set(analyzer.get_loaded_extension_names()) - {"spike_locations"}
    assert names == INJECTED | {"principal_components"}
    has_positions = (truth.folder / "spike_positions.npy").exists()
    assert analyzer.has_extension("spike_locations") == has_positions
    assert not analyzer.has_recording()
    assert not analyzer.return_in_uV


@pytest.mark.parametrize("dialect", ["kilosort1", "kilosort4"])
def test_rows_in_any_order(simulate, analyzer_of, dialect):
    truth = simulate(dialect, num_spikes=3000, shuffled=True, shared_fraction=0.2, curation=6)
    assert np.any(np.diff(truth.spike_samples) < 0)
    analyzer = analyzer_of(truth)
    order = np.argsort(truth.spike_samples, kind="stable")
    extension = analyzer.get_extension("template_assignment")
    np.testing.assert_array_equal(extension.get_spike_rows(), order)
    spikes = analyzer.sorting.to_spike_vector()
    np.testing.assert_array_equal(spikes["sample_index"], truth.spike_samples[order])
    clusters = analyzer.unit_ids[spikes["unit_index"]]
    np.testing.assert_array_equal(clusters, truth.spike_clusters[order])
    np.testing.assert_array_equal(extension.get_spike_template_ids(), truth.spike_templates[order])
    # whatever belongs to a spike went with it
    expected = naive_spike_amplitudes(truth, truth.templates_unwhitened)[order]
    np.testing.assert_allclose(data_of(analyzer, "spike_amplitudes"), expected, rtol=2e-6)
    if dialect == "kilosort4":
        locations = data_of(analyzer, "spike_locations")
        positions = np.load(truth.folder / "spike_positions.npy")[order]
        np.testing.assert_array_equal(np.stack([locations["x"], locations["y"]], 1), positions)


def test_a_folder_that_phy_never_opened(simulate):
    truth = simulate("kilosort2", num_spikes=500)
    (truth.folder / "spike_clusters.npy").unlink()
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    assert analyzer.unit_ids.tolist() == np.unique(truth.spike_templates).tolist()
    table = data_of(analyzer, "template_assignment")
    assert table["template_id"].tolist() == analyzer.unit_ids.tolist()
    assert np.all(table["template_purity"] == 1)
    assert not (truth.folder / "spike_clusters.npy").exists()


@pytest.mark.parametrize("excluded", [None, "good"])
@pytest.mark.parametrize("dtype", ["int32", "uint32"])
def test_large_cluster_ids(copy_of, small_folder, dtype, excluded):
    clusters = small_folder.spike_clusters.astype(dtype)
    new = {4: 5_000_000, 0: 2**31 - 2}
    for old, large in new.items():
        clusters[small_folder.spike_clusters == old] = large
    folder = copy_of(small_folder, spike_clusters=clusters)
    write_tsv(folder / "cluster_group.tsv", ["cluster_id", "group"], [(5_000_000, "good")])
    analyzer = sic.read_kilosort_as_analyzer(folder, exclude_groups=excluded)
    expected = [int(i) for i in np.unique(clusters) if excluded is None or i != 5_000_000]
    assert analyzer.unit_ids.tolist() == expected
    for unit_id in expected:
        train = analyzer.sorting.get_unit_spike_train(unit_id)
        np.testing.assert_array_equal(
            train, np.sort(small_folder.spike_samples[clusters == unit_id])
        )
    table = data_of(analyzer, "template_assignment")
    frequent = naive.most_frequent_template(small_folder.spike_templates, clusters)
    assert table.to_dict("index") == {unit_id: frequent[unit_id] for unit_id in expected}
    random_spikes = analyzer.get_extension("random_spikes").get_data()
    assert random_spikes.size == table["num_spikes"].clip(upper=500).sum()


def test_a_folder_without_spikes(copy_of, small_folder):
    none = {"spike_times": "int64", "spike_templates": "int32", "spike_clusters": "int32"}
    arrays = {name: np.zeros(0, dtype=dtype) for name, dtype in none.items()}
    arrays["amplitudes"] = np.zeros(0, dtype="float32")
    arrays["spike_positions"] = np.zeros((0, 2), dtype="float32")
    analyzer = sic.read_kilosort_as_analyzer(copy_of(small_folder, **arrays))
    assert analyzer.get_num_units() == 0
    assert len(data_of(analyzer, "template_assignment")) == 0


# ---------------------------------------------------------------------------------- properties


def test_properties_are_the_outer_join_of_all_tables(curated_folder, analyzer_of):
    analyzer = analyzer_of(curated_folder)
    columns = naive.read_tables(curated_folder.folder)
    groups = columns.pop("group", {})
    quality = analyzer.get_sorting_property("quality").tolist()
    assert quality == [groups.get(int(i), "unsorted") for i in analyzer.unit_ids]
    assert {"unsorted", "good"} <= set(quality)
    assert columns
    for name, values in columns.items():
        found = analyzer.get_sorting_property(name)
        known = [int(i) in values for i in analyzer.unit_ids]
        for unit_id, value, is_known in zip(analyzer.unit_ids, found, known, strict=True):
            if is_known:
                assert value == values[int(unit_id)]
            else:
                assert value == "" if found.dtype.kind == "U" else np.isnan(value)
        is_whole = all(isinstance(value, int) for value in values.values())
        assert (found.dtype == np.int64) == (is_whole and all(known))
    original = analyzer.get_sorting_property("original_cluster_id")
    assert original.tolist() == analyzer.unit_ids.tolist()


def write_tsv(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t").writerows([header, *rows])


def test_tables_that_cover_some_clusters_only(copy_of, small_folder):
    folder = copy_of(small_folder)
    (folder / "cluster_info.tsv").unlink()
    write_tsv(folder / "cluster_note.tsv", ["cluster_id", "note"], [(7, "looks odd"), (99, "x")])
    write_tsv(folder / "cluster_depth.tsv", ["cluster_id", "depth"], [(4, 1.5), (0, "")])
    write_tsv(folder / "cluster_rank.tsv", ["cluster_id", "rank"], [(4, 1)])
    analyzer = sic.read_kilosort_as_analyzer(folder)
    assert analyzer.get_num_units() == len(np.unique(small_folder.spike_clusters))

    def values(name):
        found = analyzer.get_sorting_property(name).tolist()
        return dict(zip(analyzer.unit_ids.tolist(), found, strict=True))

    assert values("note") == {**dict.fromkeys(analyzer.unit_ids.tolist(), ""), 7: "looks odd"}
    assert values("depth")[4] == 1.5
    assert values("rank")[4] == 1
    assert sum(np.isnan(value) for value in values("depth").values()) == len(analyzer.unit_ids) - 1
    assert values("quality")[4] == "good"
    assert values("quality")[0] == "unsorted"


@pytest.mark.parametrize("rows", [[], [(4, "")], [(99, "good")]])
def test_a_table_of_groups_without_any_label(copy_of, small_folder, rows):
    # phy writes the header alone when it saves and nothing is labelled
    folder = copy_of(small_folder)
    write_tsv(folder / "cluster_group.tsv", ["cluster_id", "group"], rows)
    analyzer = sic.read_kilosort_as_analyzer(folder)
    assert set(analyzer.get_sorting_property("quality")) == {"unsorted"}
    none = sic.read_kilosort_as_analyzer(folder, exclude_groups="good")
    assert none.get_num_units() == analyzer.get_num_units()


def test_groups_that_are_numbers(copy_of, small_folder):
    folder = copy_of(small_folder)
    write_tsv(folder / "cluster_group.tsv", ["cluster_id", "group"], [(4, 3)])
    analyzer = sic.read_kilosort_as_analyzer(folder)
    quality = dict(zip(analyzer.unit_ids, analyzer.get_sorting_property("quality"), strict=True))
    assert quality.pop(4) == "3"
    assert set(quality.values()) == {"unsorted"}


def test_cluster_info_never_overrides_what_phy_reads(copy_of, small_folder):
    folder = copy_of(small_folder)
    write_tsv(folder / "cluster_group.tsv", ["cluster_id", "group"], [(0, "noise")])
    quality = sic.read_kilosort_as_analyzer(folder).get_sorting_property("quality")
    assert quality.tolist() == ["noise"] + ["unsorted"] * (len(quality) - 1)


@pytest.mark.parametrize("name", ["quality", "original_cluster_id", "main_channel_id"])
def test_no_column_is_lost_to_a_name_that_is_taken(copy_of, small_folder, name):
    folder = copy_of(small_folder)
    write_tsv(folder / f"cluster_{name}.tsv", ["cluster_id", name], [(0, "mine"), (4, "own")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sic.SiCurationWarning)
        analyzer = sic.read_kilosort_as_analyzer(folder)
    found = [
        key
        for key in analyzer.get_sorting_property_keys()
        if {"mine", "own"} <= set(map(str, analyzer.get_sorting_property(key)))
    ]
    assert len(found) == 1, f"the column {name!r} is in no property"
    assert "good" in analyzer.get_sorting_property("quality")


def test_annotations_tell_where_it_comes_from(curated_folder, analyzer_of):
    truth, analyzer = curated_folder, analyzer_of(curated_folder)
    sorting = analyzer.sorting
    assert sorting.get_annotation("phy_folder") == str(truth.folder.resolve())
    expected = "kilosort1" if truth.dialect.startswith("kilosort1") else truth.dialect
    assert sorting.get_annotation("sorter") == expected
    assert sorting.get_annotation("unwhitening") == truth.orientation
    assert sorting.get_annotation("dropped_spike_rows") == []
    info = analyzer.get_extension("template_assignment").info
    assert info["source"] == expected
    assert info["num_samples_before"] == truth.num_samples_before


# ------------------------------------------------------------------------------ exclude_groups


@pytest.mark.parametrize(
    ("excluded", "groups"),
    [
        ("noise", {"noise"}),
        (["noise", "mua"], {"noise", "mua"}),
        (("unsorted",), {"unsorted"}),
        ({"good", "unsorted"}, {"good", "unsorted"}),
        ([], set()),
        (None, set()),
    ],
)
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.slow
def test_exclude_groups(simulate, analyzer_of, excluded, groups, shuffled):
    truth = simulate(
        num_spikes=1000,
        shuffled=shuffled,
        labels={0: "noise", 1: "mua", 2: "good", 3: "noise"},
        curation=[("merge", [4, 5])],
        write_features=False,
    )
    analyzer = sic.read_kilosort_as_analyzer(truth.folder, exclude_groups=excluded)
    ids = np.unique(truth.spike_clusters)
    kept = [int(i) for i in ids if truth.groups.get(int(i), "unsorted") not in groups]
    assert analyzer.unit_ids.tolist() == kept
    everything = sic.read_kilosort_as_analyzer(truth.folder)
    for unit_id in kept:
        np.testing.assert_array_equal(
            analyzer.sorting.get_unit_spike_train(unit_id),
            everything.sorting.get_unit_spike_train(unit_id),
        )
    rows = analyzer.get_extension("template_assignment").get_spike_rows()
    assert sorted(rows.tolist()) == np.flatnonzero(np.isin(truth.spike_clusters, kept)).tolist()
    expected = everything.select_units(kept)
    np.testing.assert_array_equal(data_of(analyzer, "templates"), data_of(expected, "templates"))
    np.testing.assert_array_equal(
        data_of(analyzer, "spike_amplitudes"), data_of(expected, "spike_amplitudes")
    )
    assert analyzer.sorting.get_annotation("dropped_spike_rows") == []


def test_every_unit_excluded(simulate):
    truth = simulate(num_templates=3, num_spikes=50, labels=dict.fromkeys(range(3), "noise"))
    analyzer = sic.read_kilosort_as_analyzer(truth.folder, exclude_groups="noise")
    assert analyzer.get_num_units() == 0
    assert len(analyzer.sorting.to_spike_vector()) == 0


@pytest.mark.parametrize("excluded", [3, ["noise", 3], [None]])
def test_exclude_groups_are_names(small_folder, excluded):
    with pytest.raises(sic.ParameterError, match="exclude_groups"):
        sic.read_kilosort_as_analyzer(small_folder.folder, exclude_groups=excluded)


# ------------------------------------------------------ spikes that SpikeInterface cannot hold


def make_recording(truth, num_samples=None, num_channels=None, **kwargs):
    """A recording of the raw file of a small folder: column k holds k * 100 + noise."""
    num_samples = int(2.0 * truth.sampling_frequency) if num_samples is None else num_samples
    if num_channels is None:
        num_channels = sic.read_phy_folder(truth.folder).params["n_channels_dat"]
    rng = np.random.default_rng(0)
    traces = rng.integers(-9, 9, (num_samples, num_channels)) + 100 * np.arange(num_channels)
    rate = kwargs.pop("sampling_frequency", truth.sampling_frequency)
    return NumpyRecording([traces.astype("int16")], sampling_frequency=rate, **kwargs)


def test_spikes_outside_the_recording(copy_of, small_folder):
    truth = small_folder
    samples = truth.spike_samples.copy()
    end = 50_000
    samples[:3] = [-1, 0, -7]
    lost_unit = int(truth.spike_clusters[10])
    samples[truth.spike_clusters == lost_unit] = -100
    folder = copy_of(truth, spike_times=samples)
    recording = make_recording(truth, num_samples=end)
    with pytest.warns(sic.SiCurationWarning) as caught:
        analyzer = sic.read_kilosort_as_analyzer(folder, recording)
    caught = [w for w in caught if issubclass(w.category, sic.SiCurationWarning)]
    assert len(caught) == 1
    kept = (samples >= 0) & (samples < end)
    assert (samples >= end).any()
    assert str((~kept).sum()) in str(caught[0].message)
    annotation = analyzer.sorting.get_annotation("dropped_spike_rows")
    assert annotation == np.flatnonzero(~kept).tolist()
    assert analyzer.sorting.get_annotation("num_dropped_spikes") == (~kept).sum()
    # all the rest is there, the unit that lost all its spikes included
    assert analyzer.unit_ids.tolist() == np.unique(truth.spike_clusters).tolist()
    for unit_id in analyzer.unit_ids:
        train = analyzer.sorting.get_unit_spike_train(unit_id)
        expected = np.sort(samples[kept & (truth.spike_clusters == unit_id)])
        np.testing.assert_array_equal(train, expected)
    order = np.argsort(samples, kind="stable")
    rows = analyzer.get_extension("template_assignment").get_spike_rows()
    np.testing.assert_array_equal(rows, order[kept[order]])
    assert analyzer.sorting.count_num_spikes_per_unit()[lost_unit] == 0
    table = data_of(analyzer, "template_assignment").loc[lost_unit]
    assert table["template_id"] == -1
    assert table["num_spikes"] == table["num_templates"] == table["template_spike_count"] == 0
    assert np.isnan(table["template_purity"])
    assert not analyzer.get_extension("templates").get_unit_template(lost_unit).any()
    labels = {int(i): truth.groups.get(int(i), "unsorted") for i in analyzer.unit_ids}
    assert analyzer.get_sorting_property("quality").tolist() == list(labels.values())


def test_negative_spikes_without_a_recording(copy_of, small_folder):
    samples = small_folder.spike_samples.copy()
    samples[[0, 5]] = -3
    folder = copy_of(small_folder, spike_times=samples)
    with pytest.warns(sic.SiCurationWarning, match=r"2 of 600 spikes.*rows 0, 5"):
        analyzer = sic.read_kilosort_as_analyzer(folder)
    assert len(analyzer.sorting.to_spike_vector()) == 598


def test_spikes_after_the_last_sample_are_kept_without_a_recording(copy_of, small_folder):
    samples = small_folder.spike_samples.copy()
    samples[-1] = 10**9
    folder = copy_of(small_folder, spike_times=samples)
    analyzer = sic.read_kilosort_as_analyzer(folder)  # a warning would be an error
    assert len(analyzer.sorting.to_spike_vector()) == 600
    assert analyzer.get_num_samples(0) == 10**9 + 1


def test_no_spike_is_dropped_for_nothing(small_folder):
    samples = small_folder.spike_samples
    recording = make_recording(small_folder, num_samples=int(samples.max()) + 1)
    analyzer = sic.read_kilosort_as_analyzer(small_folder.folder, recording)
    assert len(analyzer.sorting.to_spike_vector()) == samples.size


# ----------------------------------------------------------------------- what is there at once


def test_templates_are_weighted_means_on_all_channels_of_their_templates(
    curated_folder, analyzer_of
):
    truth = curated_folder
    analyzer = analyzer_of(truth, principal_components=False)  # with them: the features' channels
    extension = analyzer.get_extension("templates")
    average = extension.get_data()
    assert average.dtype == np.float32
    assert np.isfinite(average).all()
    counts = counts_of(truth, analyzer.unit_ids)
    assert ((counts > 0).sum(axis=1) > 1).any()
    expected = [naive.weighted_mean_template(row, truth.templates_unwhitened) for row in counts]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(average, expected, rtol=1e-5, atol=1e-6 * scale)
    assert extension.nbefore == truth.num_samples_before
    assert extension.nafter == average.shape[1] - truth.num_samples_before
    # the channels of a unit are those on which any of its templates has signal, and more
    union = (counts > 0).astype(int) @ np.nan_to_num(truth.templates_whitened).any(axis=1)
    assert np.all(analyzer.sparsity.mask[union > 0])


@pytest.mark.parametrize(
    "rate", [30_000.0, 25_000.0, 29_999.954, 30_000.28, 24_414.0625, 20_000.0, 32_552.083, 12_500.0]
)
@pytest.mark.parametrize("dialect", ["kilosort2", "kilosort4"])
def test_samples_before_the_peak_at_any_rate(simulate, dialect, rate):
    truth = simulate(
        dialect, num_spikes=100, sampling_frequency=rate, write_features=False, num_templates=4
    )
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    extension = analyzer.get_extension("templates")
    assert extension.nbefore == truth.num_samples_before
    assert extension.nbefore + extension.nafter == truth.templates_whitened.shape[1]


def naive_spike_amplitudes(truth, templates):
    """Factor of each spike times the extremum of its template's largest channel."""
    amplitudes = file_vector(truth, "amplitudes").astype(np.float64)
    out = np.zeros(amplitudes.size)
    for spike, template_id in enumerate(truth.spike_templates):
        template = templates[template_id]
        trace = template[:, np.argmax(np.ptp(template, axis=0))]
        factor = amplitudes[spike]
        if truth.dialect == "kilosort4":
            factor /= np.linalg.norm(truth.templates_whitened[template_id])
        out[spike] = factor * trace[np.argmax(np.abs(trace))]
    return out


@pytest.mark.parametrize("unwhiten", ["auto", False])
def test_spike_amplitudes(curated_folder, analyzer_of, unwhiten):
    truth, analyzer = curated_folder, analyzer_of(curated_folder, unwhiten=unwhiten)
    templates = truth.templates_unwhitened if unwhiten else truth.templates_whitened
    rows = analyzer.get_extension("template_assignment").get_spike_rows()
    expected = naive_spike_amplitudes(truth, templates)[rows]
    found = data_of(analyzer, "spike_amplitudes")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    assert np.mean(found < 0) > 0.5, "signed: the troughs of most spikes are the largest"
    by_unit = data_of(analyzer, "spike_amplitudes", outputs="by_unit")
    assert (
        by_unit[0][analyzer.unit_ids[-1]].size
        == (truth.spike_clusters == analyzer.unit_ids[-1]).sum()
    )


def test_spike_locations_are_the_sorters(curated_folder, analyzer_of):
    truth, analyzer = curated_folder, analyzer_of(curated_folder)
    if truth.dialect != "kilosort4":
        assert analyzer.get_extension("spike_locations") is None
        return
    locations = data_of(analyzer, "spike_locations")
    rows = analyzer.get_extension("template_assignment").get_spike_rows()
    positions = np.load(truth.folder / "spike_positions.npy")[rows]
    assert locations.dtype.names == ("x", "y")
    np.testing.assert_array_equal(locations["x"], positions[:, 0])
    np.testing.assert_array_equal(locations["y"], positions[:, 1])


def test_locations_are_near_the_best_channel(curated_folder, analyzer_of):
    analyzer = analyzer_of(curated_folder)
    found = data_of(analyzer, "unit_locations")
    templates = data_of(analyzer, "templates")
    has_signal = np.ptp(templates, axis=1).max(axis=1) > 0
    assert np.isnan(found[~has_signal]).all()
    positions = analyzer.get_channel_locations()
    best = positions[np.ptp(templates, axis=1).argmax(axis=1)]
    assert np.linalg.norm(found - best, axis=1)[has_signal].max() <= 75.0
    # SpikeInterface goes on with what it has, where this package is not installed
    theirs = analyzer.copy()
    params = analyzer.get_extension("unit_locations").params
    theirs.compute("unit_locations", **params)
    assert theirs.get_extension("unit_locations").params == params


@pytest.mark.slow
def test_similarity_is_spikeinterfaces(curated_folder, analyzer_of):
    analyzer = analyzer_of(curated_folder)
    theirs = analyzer.copy()
    theirs.delete_extension("template_similarity")
    theirs.compute("template_similarity", method="cosine", support="dense", max_lag_ms=0)
    np.testing.assert_allclose(
        data_of(analyzer, "template_similarity"),
        data_of(theirs, "template_similarity"),
        atol=1e-5,
    )
    params = theirs.get_extension("template_similarity").params
    ours = analyzer.get_extension("template_similarity").params
    assert {name: params[name] for name in ours} == ours


def test_similarity_is_computed_when_it_is_asked_for(small_folder, monkeypatch, tmp_path):
    calls = []

    def counted(templates):
        calls.append(len(templates))
        return cosine_similarity(templates)

    monkeypatch.setattr("si_curation.reading.unit_templates.cosine_similarity", counted)
    analyzer = sic.read_kilosort_as_analyzer(small_folder.folder)
    extension = analyzer.get_extension("template_similarity")
    assert not calls
    average = analyzer.get_extension("templates").get_data()
    for _ in range(2):
        np.testing.assert_array_equal(extension.get_data(), cosine_similarity(average))
    assert calls == [len(average)]
    saved = analyzer.save_as(format="binary_folder", folder=tmp_path / "saved")
    known = json.loads((tmp_path / "saved/extensions/template_similarity/info.json").read_text())
    name = "spikeinterface.postprocessing.template_similarity.ComputeTemplateSimilarity"
    assert (known["module"], known["class"]) == ("spikeinterface", name)
    np.testing.assert_array_equal(data_of(saved, "template_similarity"), extension.get_data())


def test_random_spikes(simulate):
    truth = simulate("kilosort2", num_templates=4, num_spikes=6000, write_features=False)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    extension = analyzer.get_extension("random_spikes")
    spikes = extension.get_random_spikes()
    counts = np.bincount(truth.spike_clusters)
    assert counts.max() > 500
    chosen = np.bincount(spikes["unit_index"], minlength=analyzer.get_num_units())
    np.testing.assert_array_equal(chosen, np.minimum(counts[analyzer.unit_ids], 500))
    again = sic.read_kilosort_as_analyzer(truth.folder)
    np.testing.assert_array_equal(extension.get_data(), data_of(again, "random_spikes"))


def test_main_channel_is_that_of_the_most_frequent_template(curated_folder, analyzer_of):
    truth, analyzer = curated_folder, analyzer_of(curated_folder)
    frequent = naive.most_frequent_template(truth.spike_templates, truth.spike_clusters)
    main = analyzer.get_main_channels(outputs="index", with_dict=True)
    for unit_id, answer in frequent.items():
        template = truth.templates_unwhitened[answer["template_id"]]
        assert main[unit_id] == np.argmax(np.ptp(template, axis=0))


@pytest.mark.parametrize("unwhiten", ["Auto", "right", None, 1, 0.0])
def test_unwhiten_is_checked(small_folder, unwhiten):
    with pytest.raises(sic.ParameterError, match="unwhiten"):
        sic.read_kilosort_as_analyzer(small_folder.folder, unwhiten=unwhiten)


# -------------------------------------------------------------------------------------- gains


def gains_of(truth, kind):
    if kind == "scalar":
        return 0.195
    return np.linspace(0.1, 0.5, len(truth.channel_map)).tolist()


@pytest.mark.parametrize("kind", ["scalar", "per channel"])
def test_gains(curated_folder, analyzer_of, kind):
    truth = curated_folder
    gain = gains_of(truth, kind)
    if truth.dialect in ("kilosort2.5", "kilosort3"):
        with pytest.warns(sic.SiCurationWarning, match="puts nothing into µV"):
            analyzer = sic.read_kilosort_as_analyzer(truth.folder, gain_to_uV=gain)
        for name in ("templates", "spike_amplitudes"):
            np.testing.assert_array_equal(
                data_of(analyzer, name), data_of(analyzer_of(truth), name)
            )
        assert not analyzer.return_in_uV
        return
    analyzer = sic.read_kilosort_as_analyzer(truth.folder, gain_to_uV=gain, offset_to_uV=3.0)
    assert analyzer.return_in_uV
    assert analyzer.get_extension("template_assignment").info["units"] == "uV"
    properties = analyzer.rec_attributes["properties"]
    np.testing.assert_array_equal(properties["gain_to_uV"], np.broadcast_to(gain, 40))
    np.testing.assert_array_equal(properties["offset_to_uV"], np.full(40, 3.0))
    templates = truth.templates_unwhitened * np.asarray(gain)
    counts = counts_of(truth, analyzer.unit_ids)
    mean_factor = np.ones(len(templates))
    if truth.dialect != "kilosort4":
        factors = file_vector(truth, "amplitudes")
        for template_id in np.unique(truth.spike_templates):
            mean_factor[template_id] = factors[truth.spike_templates == template_id].mean()
    in_uv = templates * mean_factor[:, None, None]
    expected = [naive.weighted_mean_template(row, in_uv) for row in counts]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(data_of(analyzer, "templates"), expected, atol=2e-6 * scale)
    # amplitudes: the gain and nothing else on top of the unscaled ones
    rows = analyzer.get_extension("template_assignment").get_spike_rows()
    amplitudes = naive_spike_amplitudes(truth, templates)[rows]
    np.testing.assert_allclose(data_of(analyzer, "spike_amplitudes"), amplitudes, rtol=5e-6)
    ranked = analyzer.compute("template_best_channels").get_data(outputs="dataframe")
    best = ranked[ranked["rank"] == 0].set_index("unit_id")
    frequent = naive.most_frequent_template(truth.spike_templates, truth.spike_clusters)
    for unit_id, answer in frequent.items():
        amplitude = np.ptp(in_uv[answer["template_id"]], axis=0)
        assert best.loc[unit_id, "channel_index"] == amplitude.argmax()
        assert best.loc[unit_id, "amplitude"] == pytest.approx(amplitude.max(), rel=1e-6)


def test_unknown_gain_is_not_called_uv(curated_folder, analyzer_of):
    analyzer = analyzer_of(curated_folder)
    assert not analyzer.return_in_uV
    assert "gain_to_uV" not in analyzer.rec_attributes["properties"]
    units = analyzer.get_extension("template_assignment").info["units"]
    of_dialect = {"kilosort4": "raw", "kilosort2.5": "whitened", "kilosort3": "whitened"}
    assert units == of_dialect.get(curated_folder.dialect, "sorter")


def test_whitened_templates_are_not_called_uv(small_folder):
    analyzer = sic.read_kilosort_as_analyzer(small_folder.folder, unwhiten=False, gain_to_uV=0.2)
    assert not analyzer.return_in_uV
    assert analyzer.get_extension("template_assignment").info["units"] == "whitened"
    expected = sic.read_kilosort_as_analyzer(small_folder.folder, unwhiten=False)
    np.testing.assert_array_equal(data_of(analyzer, "templates"), data_of(expected, "templates"))


def test_negative_gains_turn_spikes_over_and_nothing_else(small_folder):
    plus = sic.read_kilosort_as_analyzer(small_folder.folder, gain_to_uV=0.2)
    minus = sic.read_kilosort_as_analyzer(small_folder.folder, gain_to_uV=-0.2)
    np.testing.assert_array_equal(data_of(minus, "templates"), -data_of(plus, "templates"))
    np.testing.assert_array_equal(
        data_of(minus, "spike_amplitudes"), -data_of(plus, "spike_amplitudes")
    )
    np.testing.assert_array_equal(minus.get_main_channels(), plus.get_main_channels())
    tables = [
        analyzer.compute("template_best_channels").get_data(outputs="dataframe")
        for analyzer in (plus, minus)
    ]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("name", ["gain_to_uV", "offset_to_uV"])
@pytest.mark.parametrize("value", [[1.0, 2.0], "high", np.nan, np.inf, [[0.2] * 12]])
def test_gains_and_offsets_are_checked(small_folder, name, value):
    with pytest.raises(sic.ParameterError, match=name):
        sic.read_kilosort_as_analyzer(small_folder.folder, **{name: value})


def test_a_gain_of_zero_is_none(small_folder):
    with pytest.raises(sic.ParameterError, match="gain_to_uV"):
        sic.read_kilosort_as_analyzer(small_folder.folder, gain_to_uV=0)


# ---------------------------------------------------------------------------------- recordings


@pytest.mark.parametrize("dialect", ["kilosort1", "kilosort4"])
def test_channels_of_a_recording_are_matched_by_channel_map(simulate, dialect):
    truth = simulate(
        dialect,
        num_templates=6,
        num_channels=12,
        num_spikes=300,
        duration_s=2.0,
        num_raw_channels=20,
        num_shanks=2,
        write_features=False,
        seed=2,
    )
    # Kilosort 1 may have sorted the channels in any order
    assert np.all(np.diff(truth.channel_map) > 0) == (dialect == "kilosort4")
    recording = make_recording(truth, channel_ids=[f"ch{i}" for i in range(20)])
    analyzer = sic.read_kilosort_as_analyzer(truth.folder, recording)
    assert analyzer.has_recording()
    assert analyzer.channel_ids.tolist() == [f"ch{i}" for i in truth.channel_map]
    np.testing.assert_array_equal(analyzer.get_channel_locations(), truth.channel_positions)
    np.testing.assert_array_equal(
        analyzer.recording.get_channel_locations(), truth.channel_positions
    )
    np.testing.assert_array_equal(
        analyzer.recording.get_traces(), recording.get_traces()[:, truth.channel_map]
    )
    assert analyzer.get_num_samples(0) == recording.get_num_samples()
    contacts = analyzer.get_probegroup().to_numpy(complete=True)
    contacts = contacts[np.argsort(contacts["device_channel_indices"])]
    assert contacts["shank_ids"].astype(int).tolist() == truth.channel_shanks.tolist()
    # the same data with and without the recording
    without = sic.read_kilosort_as_analyzer(truth.folder)
    for name in ("templates", "spike_amplitudes", "unit_locations", "template_similarity"):
        np.testing.assert_array_equal(data_of(analyzer, name), data_of(without, name))
    ranked = analyzer.compute("template_best_channels").get_data(outputs="indices")
    expected = without.compute("template_best_channels").get_data(outputs="indices")
    assert {u: c.tolist() for u, c in ranked.items()} == {
        u: c.tolist() for u, c in expected.items()
    }
    # and what needs traces runs, on the right channels
    noise = analyzer.compute("noise_levels").get_data()
    assert noise.shape == (12,)
    analyzer.compute(["random_spikes", "waveforms"], progress_bar=False)
    waveforms = analyzer.get_extension("waveforms").get_waveforms_one_unit(
        analyzer.unit_ids[0], force_dense=True
    )
    mask = analyzer.sparsity.mask[0]
    typical = np.median(waveforms, axis=(0, 1))[mask]
    np.testing.assert_allclose(typical, 100 * truth.channel_map[mask], atol=9)


def test_gains_come_from_the_recording(small_folder):
    recording = make_recording(small_folder)
    recording.set_channel_gains(np.linspace(0.1, 0.4, recording.get_num_channels()))
    recording.set_channel_offsets(5.0)
    analyzer = sic.read_kilosort_as_analyzer(small_folder.folder, recording)
    assert analyzer.return_in_uV
    expected = sic.read_kilosort_as_analyzer(
        small_folder.folder,
        gain_to_uV=recording.get_channel_gains()[small_folder.channel_map],
    )
    np.testing.assert_array_equal(data_of(analyzer, "templates"), data_of(expected, "templates"))
    np.testing.assert_array_equal(
        data_of(analyzer, "spike_amplitudes"), data_of(expected, "spike_amplitudes")
    )
    assert analyzer.get_extension("template_assignment").info["units"] == "uV"


def test_a_given_gain_goes_before_that_of_the_recording(small_folder):
    recording = make_recording(small_folder)
    recording.set_channel_gains(0.5)
    recording.set_channel_offsets(0.0)
    analyzer = sic.read_kilosort_as_analyzer(small_folder.folder, recording, gain_to_uV=0.25)
    expected = sic.read_kilosort_as_analyzer(small_folder.folder, gain_to_uV=0.25)
    np.testing.assert_array_equal(data_of(analyzer, "templates"), data_of(expected, "templates"))
    np.testing.assert_array_equal(analyzer.recording.get_channel_gains(), np.full(12, 0.25))
    # the recording that was given stays as it was
    np.testing.assert_array_equal(
        recording.get_channel_gains(), np.full(recording.get_num_channels(), 0.5)
    )
    assert not recording.has_probe()


def test_a_recording_without_gains_is_not_called_uv(small_folder):
    analyzer = sic.read_kilosort_as_analyzer(small_folder.folder, make_recording(small_folder))
    assert not analyzer.return_in_uV


def test_a_recording_of_the_sorted_channels_only(small_folder):
    raw = make_recording(small_folder, channel_ids=[f"ch{i}" for i in range(16)])
    sorted_channels = raw.select_channels(raw.channel_ids[small_folder.channel_map])
    with pytest.raises(sic.ParameterError, match="channel"):
        sic.read_kilosort_as_analyzer(small_folder.folder, sorted_channels)
    sorted_channels.set_dummy_probe_from_locations(small_folder.channel_positions)
    analyzer = sic.read_kilosort_as_analyzer(small_folder.folder, sorted_channels)
    np.testing.assert_array_equal(
        analyzer.recording.get_traces(), raw.get_traces()[:, small_folder.channel_map]
    )
    np.testing.assert_array_equal(analyzer.get_channel_locations(), small_folder.channel_positions)


def test_wrong_recordings(small_folder):
    good = make_recording(small_folder)
    few = make_recording(small_folder, num_channels=int(small_folder.channel_map.max()))
    slow = make_recording(small_folder, sampling_frequency=25_000.0)
    segments = sc.append_recordings([good, good])
    everything = sc.append_recordings(
        [make_recording(small_folder, num_channels=5, sampling_frequency=20_000.0)] * 2
    )
    for recording, words in [
        (few, [str(few.get_num_channels()), "channel_map.npy"]),
        (slow, ["25000", "sampling frequency"]),
        (segments, ["2 segments"]),
        (everything, ["5 channels", "20000", "2 segments"]),  # all problems at once
    ]:
        with pytest.raises(sic.ParameterError) as caught:
            sic.read_kilosort_as_analyzer(small_folder.folder, recording)
        for word in words:
            assert word in str(caught.value)


# --------------------------------------------------------------------------------------- probe


def test_probe(curated_folder, analyzer_of):
    truth, analyzer = curated_folder, analyzer_of(curated_folder)
    np.testing.assert_array_equal(analyzer.get_channel_locations(), truth.channel_positions)
    assert analyzer.channel_ids.tolist() == truth.channel_map.tolist()
    probe = analyzer.get_probegroup().probes[0]
    order = np.argsort(probe.device_channel_indices)
    np.testing.assert_array_equal(probe.contact_positions[order], truth.channel_positions)
    assert probe.shank_ids[order].astype(int).tolist() == truth.channel_shanks.tolist()
    assert probe.contact_ids[order].tolist() == [f"e{column}" for column in truth.channel_map]
    columns = analyzer.rec_attributes["properties"]["channel_map"]
    assert columns.tolist() == truth.channel_map.tolist()
    if np.all(np.diff(truth.channel_map) > 0):
        assert probe.device_channel_indices.tolist() == truth.channel_map.tolist()
    group = analyzer.get_recording_property("group")
    assert group.tolist() == truth.channel_shanks.tolist()


def test_shanks_of_several_probes_are_kept_apart(copy_of, small_folder):
    folder = copy_of(
        small_folder,
        channel_shanks=np.repeat([0, 1], 6),
        channel_probe=np.tile(np.repeat([0, 1], 3), 2),
    )
    analyzer = sic.read_kilosort_as_analyzer(folder)
    shanks = analyzer.compute("template_best_channels").get_data(outputs="dataframe")["shank"]
    assert set(shanks) <= {0, 1, 2, 3}
    assert len(set(analyzer.get_recording_property("group").tolist())) == 4


# ------------------------------------------------------------------------ where analyzers live


def summarize(analyzer, skip=()):
    """What an analyzer holds, as plain data that can be compared."""
    import hashlib

    import numpy as np

    def describe(values):
        if isinstance(values, dict):
            return {key: describe(value) for key, value in sorted(values.items())}
        if hasattr(values, "to_csv"):
            return values.to_csv()
        if isinstance(values, (str, int, float, bool, list)) or values is None:
            return repr(values)
        values = np.ascontiguousarray(values[:])
        digest = hashlib.sha256(values.tobytes()).hexdigest()
        return [str(values.dtype), list(values.shape), digest]

    names = sorted(set(analyzer.get_loaded_extension_names()) | set(skip)) or []
    if analyzer.format != "memory":
        names = sorted(set(names) | set(analyzer.get_saved_extension_names()))
    sorting = analyzer.sorting
    return {
        "units": [str(analyzer.unit_ids.dtype), analyzer.unit_ids.tolist()],
        "channels": [str(analyzer.channel_ids.dtype), analyzer.channel_ids.tolist()],
        "spikes": describe(sorting.to_spike_vector()),
        "sparsity": describe(analyzer.sparsity.mask),
        "main channels": describe(np.asarray(analyzer.get_main_channels())),
        "locations": describe(analyzer.get_channel_locations()),
        "in uV": bool(analyzer.return_in_uV),
        "samples": int(analyzer.get_num_samples(0)),
        "properties": {
            key: [str(v) for v in sorting.get_property(key)]
            for key in sorted(sorting.get_property_keys())
        },
        "annotations": {
            key: repr(sorting.get_annotation(key))
            for key in ("phy_folder", "sorter", "unwhitening", "dropped_spike_rows", "reader")
        },
        "extensions": {
            name: describe(dict(analyzer.get_extension(name).data))
            for name in names
            if name not in skip
        },
        "params": {
            name: repr(sorted(analyzer.get_extension(name).params.items()))
            for name in names
            if name not in skip
        },
    }


@pytest.fixture(scope="module", params=["binary_folder", "zarr"])
def saved(request, small_folder, tmp_path_factory):
    """An analyzer on disk, in each format; not written to."""
    folder = tmp_path_factory.mktemp("saved") / "analyzer"
    analyzer = sic.read_kilosort_as_analyzer(
        small_folder.folder, format=request.param, folder=folder
    )
    return request.param, analyzer


def as_json(summary):
    return json.loads(json.dumps(summary))


def test_formats_hold_the_same(saved, small_folder):
    format, analyzer = saved
    assert analyzer.format == format
    expected = summarize(sic.read_kilosort_as_analyzer(small_folder.folder))
    assert expected["extensions"].keys() == INJECTED | {"spike_locations"}
    assert as_json(summarize(analyzer)) == as_json(expected)
    assert analyzer.folder.exists()
    assert (analyzer.folder.suffix == ".zarr") == (format == "zarr")


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("read_only", [False, True])
def test_lazy_and_read_only(saved, small_folder, hash_files, lazy, read_only):
    _, analyzer = saved
    before = hash_files(analyzer.folder)
    loaded = load_sorting_analyzer(analyzer.folder, lazy=lazy, read_only=read_only)
    in_memory = sic.read_kilosort_as_analyzer(small_folder.folder)
    assert as_json(summarize(loaded)) == as_json(summarize(in_memory))
    extension = loaded.compute("template_best_channels", save=False)
    expected = in_memory.compute("template_best_channels")
    assert extension.get_data(outputs="dataframe").equals(expected.get_data(outputs="dataframe"))
    table = loaded.get_extension("template_assignment").get_data()
    assert table.equals(data_of(in_memory, "template_assignment"))
    counts = loaded.get_extension("template_assignment").get_template_counts()
    assert counts.sum() == small_folder.spike_samples.size
    unit_id = loaded.unit_ids[-1]
    for kind in ("most_frequent", "weighted_mean"):
        np.testing.assert_array_equal(
            loaded.get_extension("template_assignment").get_unit_template(unit_id, kind),
            in_memory.get_extension("template_assignment").get_unit_template(unit_id, kind),
        )
    assert hash_files(analyzer.folder) == before


def run_python(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.slow
def test_reload_in_a_fresh_process(saved):
    _, analyzer = saved
    code = inspect.getsource(summarize) + (
        "\nimport json, sys\n"
        "import si_curation as sic\n"
        "from spikeinterface.core import load_sorting_analyzer\n"
        "analyzer = load_sorting_analyzer(sys.argv[1])\n"
        "summary = summarize(analyzer)\n"
        "ranked = analyzer.compute('template_best_channels', save=False)\n"
        "summary['ranked'] = ranked.get_data(outputs='dataframe').to_csv()\n"
        "print(json.dumps(summary))\n"
    )
    found, _ = run_python(code, analyzer.folder)
    expected = summarize(analyzer)
    ranked = analyzer.compute("template_best_channels", save=False)
    expected["ranked"] = ranked.get_data(outputs="dataframe").to_csv()
    analyzer.extensions.pop("template_best_channels")
    assert found == as_json(expected)


@pytest.mark.slow
def test_a_process_without_the_package_loads_what_it_knows(saved):
    _, analyzer = saved
    ours = ("template_assignment", "template_best_channels")
    code = inspect.getsource(summarize) + (
        "\nimport json, sys\n"
        "import spikeinterface.postprocessing\n"
        "from spikeinterface.core import load_sorting_analyzer\n"
        "analyzer = load_sorting_analyzer(sys.argv[1])\n"
        f"summary = summarize(analyzer, skip={ours})\n"
        "summary['imported'] = 'si_curation' in sys.modules\n"
        "print(json.dumps(summary))\n"
    )
    found, _ = run_python(code, analyzer.folder)
    assert found.pop("imported") is False
    expected = summarize(analyzer, skip=ours)
    # without the package SpikeInterface estimates main channels where there is no recording
    for summary in (found, expected):
        summary.pop("main channels")
    assert found == as_json(expected)


@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
def test_existing_output_is_not_touched(small_folder, tmp_path, hash_files, format):
    target = tmp_path / ("out.zarr" if format == "zarr" else "out")
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    before = hash_files(tmp_path)
    with pytest.raises(sic.OutputExistsError, match="out"):
        sic.read_kilosort_as_analyzer(small_folder.folder, format=format, folder=tmp_path / "out")
    with pytest.raises(FileExistsError):  # the builtin that users catch
        sic.read_kilosort_as_analyzer(small_folder.folder, format=format, folder=str(target))
    assert hash_files(tmp_path) == before


@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
@pytest.mark.parametrize("fault", [OSError, KeyboardInterrupt])
def test_a_failure_while_saving_leaves_nothing(small_folder, tmp_path, monkeypatch, format, fault):
    def write_some(analyzer, format, folder):
        folder.mkdir(parents=True)
        (folder / "half.npy").write_bytes(b"half")
        raise fault("disk full")

    monkeypatch.setattr(saving, "write_analyzer", write_some)
    with pytest.raises(fault):
        sic.read_kilosort_as_analyzer(
            small_folder.folder, format=format, folder=tmp_path / "deep" / "out"
        )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not (tmp_path / "deep" / "out").exists()


@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
def test_a_failure_in_the_last_extension_leaves_nothing(
    small_folder, tmp_path, monkeypatch, format
):
    def fail(self):
        raise OSError("disk full")

    monkeypatch.setattr(sic.TemplateAssignment, "_save_data", fail)
    with pytest.raises(OSError, match="disk full"):
        sic.read_kilosort_as_analyzer(small_folder.folder, format=format, folder=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"format": "nwb"}, "format"),
        ({"format": "binary_folder"}, "folder="),
        ({"format": "zarr"}, "folder="),
        ({"format": "memory", "folder": "somewhere"}, "memory"),
        ({"folder": "somewhere"}, "memory"),
    ],
)
def test_format_and_folder_are_checked(small_folder, kwargs, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(sic.ParameterError, match=words):
        sic.read_kilosort_as_analyzer(small_folder.folder, **kwargs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["memory", "binary_folder", "zarr"])
def test_later_edits_of_the_folder_do_not_leak(copy_of, small_folder, tmp_path, format):
    folder = copy_of(small_folder)
    target = None if format == "memory" else tmp_path / "out"
    analyzer = sic.read_kilosort_as_analyzer(folder, format=format, folder=target)
    before = as_json(summarize(analyzer))
    for path in folder.glob("*.npy"):
        if path.name != "ops.npy":  # edited in place, as through a memory map
            array = np.lib.format.open_memmap(path, mode="r+")
            array[...] = 0
            array.flush()
    write_tsv(folder / "cluster_group.tsv", ["cluster_id", "group"], [(0, "noise")])
    assert as_json(summarize(analyzer)) == before
    saved_again = analyzer.save_as(format="memory")
    assert as_json(summarize(saved_again)) == before
    shutil.rmtree(folder)
    if target is not None:
        analyzer = load_sorting_analyzer(analyzer.folder)
    assert as_json(summarize(analyzer)) == before
    without_first = analyzer.select_units(analyzer.unit_ids[1:])
    assert without_first.get_num_units() == analyzer.get_num_units() - 1
    assert as_json(summarize(analyzer.copy())) == before


@pytest.mark.parametrize("unwhiten", ["auto", "phy", False])
def test_the_folder_stays_as_it_is(curated_folder, hash_files, tmp_path, unwhiten):
    before = hash_files(curated_folder.folder)
    analyzer = sic.read_kilosort_as_analyzer(
        curated_folder.folder, unwhiten=unwhiten, format="zarr", folder=tmp_path / "out"
    )
    analyzer.compute("template_best_channels")
    assert hash_files(curated_folder.folder) == before


@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
@pytest.mark.slow
def test_a_saved_analyzer_finds_its_recording_again(small_folder, tmp_path, format):
    in_memory = make_recording(small_folder)
    recording = in_memory.save(folder=tmp_path / "raw", verbose=False)
    for number, one in enumerate((in_memory, recording)):
        analyzer = sic.read_kilosort_as_analyzer(
            small_folder.folder, one, format=format, folder=tmp_path / f"out{number}"
        )
        assert analyzer.has_recording() or analyzer.has_temporary_recording()
        np.testing.assert_array_equal(
            analyzer.recording.get_traces(), in_memory.get_traces()[:, small_folder.channel_map]
        )
    reloaded = load_sorting_analyzer(analyzer.folder)
    assert reloaded.has_recording()
    np.testing.assert_array_equal(
        reloaded.recording.get_traces(), in_memory.get_traces()[:, small_folder.channel_map]
    )
    np.testing.assert_array_equal(reloaded.get_channel_locations(), small_folder.channel_positions)


@pytest.mark.parametrize("dialect", DIALECT_NAMES)
def test_one_channel(simulate, dialect):
    truth = simulate(dialect, num_templates=3, num_channels=1, num_spikes=100)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    ranked = analyzer.compute("template_best_channels").get_data(outputs="indices")
    assert {unit_id: channels.tolist() for unit_id, channels in ranked.items()} == {
        unit_id: [0] for unit_id in analyzer.unit_ids
    }
