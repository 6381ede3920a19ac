"""Extension `cross_correlograms`: phy's and SpikeInterface's answers, merges, splits, formats."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from phylib.stats.ccg import correlograms as phylib_correlograms
from phylib.stats.ccg import firing_rate
from spikeinterface.core import NumpySorting, create_sorting_analyzer, load_sorting_analyzer
from spikeinterface.core.generate import generate_ground_truth_recording
from spikeinterface.postprocessing import compute_correlograms

import si_curation as sic
from helpers.analyzers import create_like
from oracles import correlograms as naive
from oracles import isi
from si_curation.extensions import cross_correlograms_counts as counting
from si_curation.kernels.correlogram_bins import CONVENTIONS

NAME = "cross_correlograms"
REAL = ["ks1_phy_curated", "ks4_fresh", "ks4_phy_curated", "np1_without_params"]
PAIRS = ["all", "neighbours", "auto"]


@pytest.fixture(scope="module")
def folder(simulate):
    return simulate(
        num_templates=12, num_channels=30, num_spikes=3000, num_shanks=2, write_features=False
    )


def read(folder, **params):
    analyzer = sic.read_kilosort_as_analyzer(folder.folder)
    analyzer.compute("template_best_channels", num_channels=4)
    analyzer.compute(NAME, **params)
    return analyzer


def extension(analyzer):
    return analyzer.get_extension(NAME)


def assert_same(one, other):
    """The same stored data, to the bit, and the same answers."""
    for name in {*extension(one).data, *extension(other).data}:
        a, b = extension(one).data[name], extension(other).data[name]
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)
    for convention in CONVENTIONS:
        for a, b in zip(
            extension(one).get_data(convention=convention),
            extension(other).get_data(convention=convention),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


def fresh(analyzer):
    """The same analyzer with correlograms computed anew."""
    other = analyzer.copy()
    params = extension(analyzer).params
    other.delete_extension(NAME)
    other.compute(NAME, **params)
    return other


# ----------------------------------------------------------------------- the programs' own answers


@pytest.mark.parametrize("window_ms", [50.0, 20.0])
@pytest.mark.parametrize("name", REAL)
def test_real_folders(shared_data, name, window_ms):
    analyzer = sic.read_kilosort_as_analyzer(shared_data / name, sampling_frequency=30_000.0)
    fs = analyzer.sampling_frequency
    found = analyzer.compute(NAME, window_ms=window_ms, convention="phy")
    spikes = analyzer.sorting.to_spike_vector()
    theirs = phylib_correlograms(
        spikes["sample_index"],
        spikes["unit_index"],
        cluster_ids=np.arange(len(analyzer.unit_ids)),
        sample_rate=1.0,
        bin_size=round(fs * 1e-3),
        window_size=round(fs * window_ms * 1e-3),
    )
    counts, bins = found.get_data()
    np.testing.assert_array_equal(counts, theirs)
    assert bins.size == counts.shape[2] + 1 == theirs.shape[2] + 1
    counts, bins = found.get_data(convention="spikeinterface")
    their_counts, their_bins = compute_correlograms(
        analyzer.sorting, window_ms=window_ms, bin_ms=1.0, method="numpy"
    )
    np.testing.assert_array_equal(counts, their_counts)
    np.testing.assert_array_equal(bins, their_bins)
    counts, _ = found.get_data(convention="centered")
    np.testing.assert_array_equal(counts, counts.transpose(1, 0, 2)[:, :, ::-1])


@pytest.mark.parametrize("name", ["ks1_phy_curated", "ks4_phy_curated"])
def test_what_phy_draws(shared_data, name):
    # phy goes from samples to seconds and back and cuts off: with that, all of its counts
    expected = np.load(shared_data / name / "phy_ccg.npy")
    analyzer = sic.read_kilosort_as_analyzer(shared_data / name)
    fs = analyzer.sampling_frequency
    spikes = analyzer.sorting.to_spike_vector().copy()
    by_id = np.argsort(analyzer.unit_ids)
    used = [i for i in by_id if (spikes["unit_index"] == i).any()]
    moved = ((spikes["sample_index"] / fs) * fs).astype(np.int64)
    assert name.startswith("ks1") or 0.01 < np.mean(moved != spikes["sample_index"]) < 0.1
    spikes["sample_index"] = moved
    truncated = NumpySorting(spikes, fs, analyzer.unit_ids)
    other = create_like(analyzer, truncated)
    counts, _ = other.compute(NAME, convention="phy").get_data()
    np.testing.assert_array_equal(counts[used][:, used], expected)


@pytest.fixture(scope="module")
def segments():
    """Two segments of another sorter's analyzer, with ties and a unit without spikes."""
    recording, _ = generate_ground_truth_recording(
        durations=[1.0, 0.5], num_channels=4, num_units=4, seed=0
    )
    rng = np.random.default_rng(3)
    fs = recording.sampling_frequency
    trains = []
    for duration in (1.0, 0.5):
        ends = int(duration * fs)
        trains.append(
            {
                unit: np.sort(rng.integers(0, ends // 20, 0 if unit == "c" else 40) * 20)
                for unit in "dabc"
            }
        )
    sorting = NumpySorting.from_unit_dict(trains, fs)
    return create_sorting_analyzer(sorting, recording, sparse=False)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("pairs", ["all", "auto"])
def test_segments_against_brute_force(segments, convention, pairs):
    spikes = segments.sorting.to_spike_vector()
    fs = segments.sampling_frequency
    half_window, width = round(fs * 8e-3), round(fs * 1.5e-3)
    expected = naive.OF_CONVENTION[convention](
        spikes["sample_index"],
        spikes["unit_index"],
        4,
        half_window,
        width,
        spikes["segment_index"],
    )
    found = segments.compute(
        NAME, window_ms=16.0, bin_ms=1.5, convention=convention, pairs=pairs, save=False
    )
    counts, _ = found.get_data()
    if pairs == "auto":
        np.testing.assert_array_equal(counts, expected[range(4), range(4)])
    else:
        np.testing.assert_array_equal(counts, expected)
    for a, unit_a in enumerate(segments.unit_ids):
        np.testing.assert_array_equal(found.get_acg(unit_a)[0], expected[a, a])
        for b, unit_b in enumerate(segments.unit_ids):
            np.testing.assert_array_equal(found.get_ccg(unit_a, unit_b)[0], expected[a, b])


def test_log_bins(segments):
    found = segments.compute(NAME, window_ms=400.0, bin_ms=1.0, bins="log", bins_per_decade=5)
    counts, bins = found.get_data()
    assert bins[-1] == 200.0
    assert bins[0] == -200.0
    edges = np.rint(bins[bins > 0] * segments.sampling_frequency / 1e3).astype(int)
    spikes = segments.sorting.to_spike_vector()
    expected = naive.logarithmic(
        spikes["sample_index"], spikes["unit_index"], 4, edges, spikes["segment_index"]
    )
    np.testing.assert_array_equal(counts, expected)


# --------------------------------------------------------------------------- neighbours and memory


def test_neighbours(folder):
    analyzer = read(folder, pairs="neighbours")
    found = extension(analyzer)
    channels = analyzer.get_extension("template_best_channels").get_data(outputs="indices")
    expected = [
        (a, b)
        for i, a in enumerate(analyzer.unit_ids)
        for b in analyzer.unit_ids[i:]
        if a == b or set(channels[a]) & set(channels[b])
    ]
    assert [tuple(pair) for pair in found.get_pairs()] == expected
    num_units = len(analyzer.unit_ids)
    assert num_units < len(expected) < num_units * (num_units + 1) // 2
    dense_analyzer = read(folder)
    dense = extension(dense_analyzer)
    for convention in CONVENTIONS:
        counts, bins = found.get_data(convention=convention)
        all_counts, all_bins = dense.get_data(convention=convention)
        np.testing.assert_array_equal(bins, all_bins)
        index = analyzer.sorting.ids_to_indices
        for (a, b), values in zip(expected, counts, strict=True):
            np.testing.assert_array_equal(values, all_counts[index([a])[0], index([b])[0]])
        pairs = [(a, b) for a in range(5) for b in range(num_units)]  # stored or not, both orders
        of_pairs = found.get_counts_of_pairs(np.array(pairs), convention)
        np.testing.assert_array_equal(
            of_pairs, dense.get_counts_of_pairs(np.array(pairs), convention)
        )
        for pair, counts in zip(pairs, of_pairs, strict=True):
            a, b = analyzer.unit_ids[list(pair)]
            np.testing.assert_array_equal(found.get_ccg(a, b, convention)[0], counts)
            np.testing.assert_array_equal(dense.get_ccg(a, b, convention)[0], counts)
    none = found.get_counts_of_pairs(np.zeros((0, 2), dtype=int), convention)
    assert none.shape == (0, counts.size)


def test_neighbours_need_best_channels(segments):
    with pytest.raises(sic.MissingDataError, match="template_best_channels"):
        segments.compute(NAME, pairs="neighbours")


def test_too_large_is_refused_before_it_starts(folder, monkeypatch):
    monkeypatch.setattr(counting, "available_memory", lambda: 1e5)
    monkeypatch.setattr(counting, "count_all", None)
    with pytest.raises(sic.ParameterError, match=r"12 units need 0\.0 GB.*pairs='neighbours'"):
        read(folder)


def test_memory_is_known():
    assert counting.available_memory() > 1e6


# ------------------------------------------------------------------------- select, merge and split


@pytest.mark.parametrize("pairs", PAIRS)
def test_select(folder, pairs):
    analyzer = read(folder, pairs=pairs)
    keep = analyzer.unit_ids[[7, 2, 3, 10]]
    selected = analyzer.select_units(keep)
    np.testing.assert_array_equal(selected.unit_ids, keep)
    assert_same(selected, fresh(selected))


@pytest.mark.parametrize("censor_ms", [None, 0.0, 5.0])
@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.slow
def test_merge_then_compute_is_compute_then_merge(folder, monkeypatch, pairs, censor_ms):
    analyzer = read(folder, pairs=pairs)
    if pairs == "all" and not censor_ms:
        monkeypatch.setattr(counting, "count_some", None)  # added up, not counted
        monkeypatch.setattr(counting, "prepare_spikes", None)
    groups = [
        [int(u) for u in analyzer.unit_ids[[1, 2, 5]]],
        [int(u) for u in analyzer.unit_ids[[0, 9]]],
    ]
    merged = analyzer.merge_units(
        groups, censor_ms=censor_ms, merging_mode="soft", sparsity_overlap=0.0
    )
    monkeypatch.undo()
    removed = len(analyzer.sorting.to_spike_vector()) - len(merged.sorting.to_spike_vector())
    assert (removed > 0) == (censor_ms == 5.0)
    assert_same(merged, fresh(merged))


def test_only_changed_units_are_counted_again(folder, monkeypatch):
    analyzer = read(folder)
    counted = []
    original = counting.count_some

    def count_some(analyzer, pairs, cells):
        counted.extend(map(tuple, pairs))
        return original(analyzer, pairs, cells)

    monkeypatch.setattr(counting, "count_some", count_some)
    monkeypatch.setattr(counting, "count_all", None)
    monkeypatch.setattr(counting, "_FEW", 2)
    unit_id = analyzer.unit_ids[3]
    num_spikes = len(analyzer.sorting.get_unit_spike_train(unit_id, segment_index=0))
    halves = [np.arange(0, num_spikes, 2), np.arange(1, num_spikes, 2)]
    split = analyzer.split_units({unit_id: halves})
    monkeypatch.undo()
    new = np.flatnonzero(~np.isin(split.unit_ids, analyzer.unit_ids)).tolist()
    assert len(new) == 2
    assert {a for a, _ in counted} == set(new)
    assert_same(split, fresh(split))


@pytest.mark.parametrize("pairs", PAIRS)
def test_split(folder, pairs):
    analyzer = read(folder, pairs=pairs)
    splits = {}
    for unit_id in analyzer.unit_ids[[4, 8]]:
        num_spikes = len(analyzer.sorting.get_unit_spike_train(unit_id, segment_index=0))
        splits[unit_id] = [np.arange(5), np.arange(5, num_spikes)]
    split = analyzer.split_units(splits)
    assert_same(split, fresh(split))


@pytest.mark.slow
def test_neighbours_are_inherited_where_best_channels_are_gone(folder):
    analyzer = read(folder, pairs="neighbours")
    before = {tuple(pair) for pair in extension(analyzer).get_pairs()}
    analyzer.delete_extension("template_best_channels")
    a, b = analyzer.unit_ids[:2]
    merged = analyzer.merge_units([[a, b]], new_unit_ids=[99], sparsity_overlap=0.0)
    renamed = {tuple(99 if u in (a, b) else u for u in pair) for pair in before}
    after = {tuple(sorted(pair)) for pair in extension(merged).get_pairs()}
    assert after == {tuple(sorted(pair)) for pair in renamed}
    spikes = merged.sorting.to_spike_vector()
    for x, y in list(after)[:6]:
        index = merged.sorting.ids_to_indices([x, y])
        expected = naive.centered(*relabelled(spikes, index), 2, *samples_of(merged, 25.0, 1.0))
        found = extension(merged).get_ccg(x, y, "centered")[0]
        np.testing.assert_array_equal(found, expected[0, 0 if x == y else 1])


def relabelled(spikes, index):
    """Samples and units 0 and 1 of two units."""
    chosen = np.isin(spikes["unit_index"], index)
    units = (spikes["unit_index"][chosen] != index[0]).astype(int)
    return spikes["sample_index"][chosen], units


def samples_of(analyzer, *ms):
    return [round(analyzer.sampling_frequency * value * 1e-3) for value in ms]


def test_ties_keep_their_order_through_changes(segments):
    # the convention of phy counts simultaneous spikes by their order in the spike vector
    segments.compute(NAME, window_ms=10.0)
    vector = segments.sorting.to_spike_vector()
    assert np.sum(np.diff(vector["sample_index"]) == 0) > 10
    selected = segments.select_units(["b", "d", "a"])
    assert_same(selected, fresh(selected))
    merged = segments.merge_units([["a", "b"]])
    assert_same(merged, fresh(merged))
    split = segments.split_units({"a": [np.arange(0, 80, 2), np.arange(1, 80, 2)]})
    assert_same(split, fresh(split))


def test_sums_above_32_bits():
    counts = np.full((3, 3, 2), 2**31, dtype=np.uint32)
    found = counting.add_up(counts, [np.array([0, 2]), np.array([1])])
    assert found.dtype == np.int64
    assert found[0, 0].tolist() == [2**33, 2**33]
    assert found[0, 1].tolist() == [2**32, 2**32]
    assert found[1, 1].tolist() == [2**31, 2**31]


# ------------------------------------------------------------------------------- formats, exports


@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
def test_formats(folder, tmp_path, format, pairs):
    analyzer = read(folder, pairs=pairs, convention="phy")
    path = tmp_path / ("saved.zarr" if format == "zarr" else "saved")
    analyzer.save_as(folder=path, format=format)
    loaded = load_sorting_analyzer(path)
    assert extension(loaded).params == extension(analyzer).params
    assert_same(analyzer, loaded)
    groups = [[int(u) for u in loaded.unit_ids[:2]]]
    merged = loaded.merge_units(groups, sparsity_overlap=0.0)
    assert_same(merged, fresh(merged))


def test_normalizations(segments):
    found = segments.compute(NAME, window_ms=16.0, bin_ms=1.5)
    fs = segments.sampling_frequency
    num_spikes = np.array([80, 80, 80, 0])
    for convention in CONVENTIONS:
        counts, _ = found.get_data(convention=convention)
        probability, _ = found.get_data(convention=convention, normalization="probability")
        hz, _ = found.get_data(convention=convention, normalization="hz")
        np.testing.assert_allclose(probability[:3], counts[:3] / num_spikes[:3, None, None])
        width_s = np.full(counts.shape[2], round(1.5e-3 * fs) / fs)
        if convention == "centered":
            width_s[counts.shape[2] // 2] -= (round(1.5e-3 * fs) % 2 == 0) / fs
        np.testing.assert_allclose(hz[:3], probability[:3] / width_s)
        assert np.isnan(hz[3]).all()
        assert np.isnan(probability[3]).all()
        np.testing.assert_array_equal(found.get_ccg("d", "a", convention, "hz")[0], hz[0, 1])


def test_baseline_is_that_of_phy(segments):
    found = segments.compute(NAME)
    units = segments.sorting.to_spike_vector()["unit_index"]
    theirs = firing_rate(units, cluster_ids=np.arange(4), bin_size=1e-3, duration=1.5)
    np.testing.assert_array_equal(found.get_baseline(), theirs)
    np.testing.assert_allclose(found.get_baseline(duration_s=3.0), theirs / 2)
    pairs = np.array([[3, 1], [0, 0], [1, 3]])
    np.testing.assert_array_equal(
        found.get_baseline_of_pairs(pairs), theirs[pairs[:, 0], pairs[:, 1]]
    )
    assert found.get_baseline_of_pairs(np.zeros((0, 2), dtype=int)).size == 0
    with pytest.raises(sic.ParameterError, match="pairs"):
        found.get_baseline_of_pairs(np.array([[0, 4]]))
    with pytest.raises(sic.ParameterError, match="duration_s"):
        found.get_baseline_of_pairs(pairs, duration_s=0.0)
    with pytest.raises(sic.ParameterError, match="duration_s"):
        found.get_baseline(duration_s=0.0)


def test_isi_histogram(segments):
    found = segments.compute(NAME)
    trains = [segments.sorting.get_unit_spike_train("a", segment_index=s) for s in (0, 1)]
    width = round(segments.sampling_frequency * 2e-3)
    counts, bins = found.get_isi_histogram("a", window_ms=40.0, bin_ms=2.0)
    assert counts.tolist() == isi.isi_counts(trains, 20, width)
    np.testing.assert_allclose(bins, np.arange(21) * 2.0)
    with pytest.raises(sic.UnknownIdError, match="'x'"):
        found.get_isi_histogram("x")


@pytest.mark.parametrize("pairs", PAIRS)
def test_exports(folder, tmp_path, pairs):
    analyzer = read(folder, pairs=pairs)
    found = extension(analyzer)
    counts, bins = found.get_data(convention="centered")
    path = found.export_to_csv(tmp_path / "ccg.csv", convention="centered")
    table = pd.read_csv(path)
    np.testing.assert_array_equal(table[["unit_a", "unit_b"]], found.get_pairs())
    np.testing.assert_array_equal(table.iloc[:, 2:], counts.reshape(len(table), -1))
    np.testing.assert_allclose(table.columns[2:].astype(float), bins[:-1], rtol=1e-6)
    with np.load(found.export_to_npz(tmp_path / "ccg", convention="centered")) as file:
        np.testing.assert_array_equal(file["values"], counts)
        np.testing.assert_array_equal(file["bins_ms"], bins)
        np.testing.assert_array_equal(file["pairs"], found.get_pairs())
        assert sorted(file) == ["bins_ms", "pairs", "unit_ids", "values"]
    for export in (found.export_to_csv, found.export_to_npz):
        (tmp_path / "there").write_text("mine")
        with pytest.raises(sic.OutputExistsError):
            export(tmp_path / "there")
        assert (tmp_path / "there").read_text() == "mine"
        export(tmp_path / "there", overwrite=True)


# ----------------------------------------------------------------------------------------- errors


def test_all_bad_parameters_are_told_at_once(folder):
    analyzer = sic.read_kilosort_as_analyzer(folder.folder)
    with pytest.raises(sic.ParameterError) as error:
        analyzer.compute(
            NAME, window_ms="x", bin_ms=0, convention="a", pairs="b", bins="c", bins_per_decade=0
        )
    for name in ("window_ms", "bin_ms", "convention", "pairs", "bins", "bins_per_decade"):
        assert name in str(error.value)
    with pytest.raises(sic.ParameterError, match="expected at least 1"):
        analyzer.compute(NAME, bin_ms=0.001)
    with pytest.raises(sic.ParameterError, match="whole bin"):
        analyzer.compute(NAME, window_ms=1.0, bin_ms=1.0)


def test_unknown_names(segments):
    found = segments.compute(NAME)
    with pytest.raises(sic.UnknownIdError, match="units are d, a, b, c"):
        found.get_ccg("a", "x")
    with pytest.raises(sic.ParameterError, match="normalization"):
        found.get_data(normalization="rate")
    with pytest.raises(sic.ParameterError, match="convention"):
        found.get_acg("a", convention="matlab")


def test_bins_are_those_of_the_parameters_that_there_are_now():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    extension = sic.CrossCorrelograms(analyzer)
    extension.set_params(save=False, window_ms=20.0, bin_ms=1.0)
    extension.run(save=False)
    unit_id = analyzer.unit_ids[0]
    narrow = extension.get_acg(unit_id)
    extension.set_params(save=False, window_ms=40.0, bin_ms=2.0)
    extension.run(save=False)
    wide = extension.get_acg(unit_id)
    fresh = sic.CrossCorrelograms(analyzer)
    fresh.set_params(save=False, window_ms=40.0, bin_ms=2.0)
    fresh.run(save=False)
    for one, other in zip(wide, fresh.get_acg(unit_id), strict=True):
        np.testing.assert_array_equal(one, other)
    assert narrow[1][-1] == pytest.approx(10.0)
    assert wide[1][-1] == pytest.approx(20.0)
    centred = extension.get_acg(unit_id, convention="centered")[0]
    assert centred.size == wide[0].size + 1
