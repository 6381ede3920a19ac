"""`get_spike_features` and `get_spike_amplitudes` against phylib, phy's definitions and loops."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from phylib.io.model import load_model
from scipy.signal import butter, lfilter
from spikeinterface.core import (
    NumpyRecording,
    create_sorting_analyzer,
    generate_ground_truth_recording,
)

import si_curation as sic
from oracles import features as naive_features
from si_curation.reading import features
from si_curation.spikes.features import feature_source, read_stored_features

DIALECTS = ["kilosort1", "kilosort2", "kilosort4"]


@pytest.fixture(scope="module")
def make(simulate):
    def simulated(dialect="kilosort4", **kwargs):
        options = {"num_templates": 12, "num_channels": 40, "num_spikes": 800, "curation": 8}
        return simulate(dialect, **{**options, "seed": 7, **kwargs})

    return simulated


@pytest.fixture(scope="module", params=DIALECTS)
def folder(request, make):
    """A curated folder that nobody writes to."""
    return make(request.param)


@pytest.fixture(scope="module")
def analyzer(folder):
    """An analyzer that no test changes."""
    return sic.read_kilosort_as_analyzer(folder.folder)


@pytest.fixture
def own_folder(make):
    return make()


def rows_of(analyzer):
    return analyzer.get_extension("template_assignment").get_spike_rows()


def spikes_of(analyzer, unit_id):
    index = analyzer.sorting.id_to_index(unit_id)
    return np.flatnonzero(analyzer.sorting.to_spike_vector()["unit_index"] == index)


def copied(truth, folder):
    shutil.copytree(truth.folder, folder)
    return folder


def resave(folder, name, change):
    path = folder / f"{name}.npy"
    np.save(path, change(np.load(path)))


# ----------------------------------------------------------------------------------- features


def test_features_as_phylib(folder, analyzer, tmp_path):
    rng = np.random.default_rng(0)
    spikes, channels = rng.permutation(800)[:300], rng.permutation(40)[:20]
    found = sic.get_spike_features(analyzer, spikes, channels)
    assert found.dtype == np.float32
    rows = rows_of(analyzer)[spikes]
    expected = naive_features.features(folder.folder, rows, channels)
    assert (expected == 0).any()
    np.testing.assert_array_equal(found, expected)
    model = load_model(copied(folder, tmp_path / "phylib") / "params.py")
    np.testing.assert_array_equal(found, model.get_features(rows, channels))


@pytest.mark.parametrize("shuffled", [False, True])
def test_features_of_some_spikes(make, tmp_path, shuffled):
    truth = make("kilosort2", feature_rows=500, shuffled=shuffled)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    spikes, channels = np.arange(800), np.arange(40)[::-1]
    found = sic.get_spike_features(analyzer, spikes, channels)
    rows = rows_of(analyzer)
    expected = naive_features.features(truth.folder, rows, channels)
    assert np.isnan(expected).any(axis=(1, 2)).sum() == 300
    np.testing.assert_array_equal(found, expected)
    if not shuffled:
        model = load_model(copied(truth, tmp_path / "phylib") / "params.py")
        np.testing.assert_array_equal(found, model.get_features(rows, channels))


def test_a_map_that_stays_open_gives_the_same(make, monkeypatch):
    """Whether pages are kept from one call to the next, or a part of them, or none."""
    truth = make(feature_rows=500)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    spikes, channels = np.arange(800)[::-1], np.arange(40)
    expected = naive_features.features(truth.folder, rows_of(analyzer)[spikes], channels)
    assignment = analyzer.get_extension("template_assignment")
    files = assignment.get_feature_files()
    monkeypatch.setattr(features, "_BYTES_AT_ONCE", 4096)
    for most, is_kept in [(10**9, True), (0, False), (4096 * 3, False), (10**9, True)]:
        monkeypatch.setattr(features, "MAX_BYTES_KEPT_OPEN", most)
        for some in (slice(None), slice(0, 0), slice(5, 6), slice(700, 701)):
            found = sic.get_spike_features(analyzer, spikes[some], channels)
            np.testing.assert_array_equal(found, expected[some])
        stored = np.array([-1, 0, 499])
        kept = files.features_of_spikes(assignment.get_spikes_of_folder(), "file").kept
        assert (kept.holding(np.arange(-1, 500)) is not None) == is_kept
        if is_kept:
            assert kept.holding(stored) is kept.holding(stored[:1])
            monkeypatch.setattr(features, "MAX_BYTES_KEPT_OPEN", 4096)
            assert kept.holding(stored[:2]) is not kept.holding(stored[2:])


@pytest.mark.parametrize("feature_channels", ["file", "repaired"])
def test_files_that_change_are_seen(make, tmp_path, feature_channels):
    """Only the files that the answer comes from are looked at, and each of those is."""
    folder = copied(make(), tmp_path / "folder")
    analyzer = sic.read_kilosort_as_analyzer(folder)
    spikes, channels = np.arange(800), np.arange(40)

    def found(of=analyzer):
        return sic.get_spike_features(of, spikes, channels, feature_channels)

    answers = [found()]
    for name, change in (
        ("pc_features", lambda x: 2 * x),
        ("pc_feature_ind", lambda x: x[:, ::-1]),
        ("pc_feature_spike_ids", None),
    ):
        if change is None:
            np.save(folder / f"{name}.npy", np.arange(800)[::-1])
        else:
            resave(folder, name, change)
        answers.append(found())
        assert not np.array_equal(answers[-1], answers[-2])
        np.testing.assert_array_equal(answers[-1], found(sic.read_kilosort_as_analyzer(folder)))
    for change in (lambda x: np.roll(x, 1), lambda x: x[:-1]):
        resave(folder, "spike_templates", change)
        with pytest.raises(sic.PhyFolderError):
            found()


CHANGES = {
    "C order": ("pc_features", np.ascontiguousarray),
    "Fortran order": ("pc_features", np.asfortranarray),
    "float64": ("pc_features", lambda x: x.astype(np.float64)),
    "float index": ("pc_feature_ind", lambda x: x.astype(np.float64)),
    "padded": ("pc_feature_ind", lambda x: np.where(x % 4 == 0, -1, x.astype(np.int64))),
    "column": ("spike_templates", lambda x: x.reshape(-1, 1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_other_ways_to_write_features(make, tmp_path, change):
    truth = make()
    folder = copied(truth, tmp_path / "folder")
    resave(folder, *CHANGES[change])
    analyzer = sic.read_kilosort_as_analyzer(folder)
    found = sic.get_spike_features(analyzer, np.arange(800), np.arange(40))
    expected = naive_features.features(folder, rows_of(analyzer), np.arange(40))
    np.testing.assert_array_equal(found, expected)


def test_features_without_index(make, tmp_path):
    truth = make("kilosort2", num_channels=10)
    folder = copied(truth, tmp_path / "folder")
    (folder / "pc_feature_ind.npy").unlink()
    analyzer = sic.read_kilosort_as_analyzer(folder)
    found = sic.get_spike_features(analyzer, np.arange(50), np.arange(10))
    expected = naive_features.features(folder, rows_of(analyzer)[:50], np.arange(10))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_features_after_curation(analyzer, folder):
    a, b, c, *_ = analyzer.unit_ids.tolist()
    changed = analyzer.merge_units([[a, b]], new_unit_ids=[99], sparsity_overlap=0.0)
    changed = changed.select_units([99, c])
    kept = changed._select_channels(changed.channel_ids[[7, 3, 12]])
    for one, channels in ((changed, [7, 3, 12]), (kept, [0, 1, 2])):
        found = sic.get_spike_features(one, np.arange(one.sorting.to_spike_vector().size), channels)
        expected = naive_features.features(folder.folder, rows_of(one), [7, 3, 12])
        np.testing.assert_array_equal(found, expected)


def test_no_spikes_no_channels_one_number(analyzer):
    assert sic.get_spike_features(analyzer, [], [1]).shape[:2] == (0, 1)
    assert sic.get_spike_features(analyzer, [3], []).shape[:2] == (1, 0)
    assert sic.get_spike_features(analyzer, 3, 1).shape[:2] == (1, 1)


@pytest.mark.parametrize(
    ("spikes", "channels", "words"),
    [
        ([800], [0], ["spike_indices", "800", "799"]),
        ([-1], [0], ["spike_indices", "-1"]),
        ([0], [40], ["channel_indices", "40", "39"]),
        ([0.5], [0], ["spike_indices", "whole"]),
        ([True], [0], ["spike_indices", "whole"]),
        ([[0, 1]], [0], ["spike_indices"]),
        ([0], ["a"], ["channel_indices"]),
        ([0], [4, 4], ["channel_indices", "more than once"]),
    ],
)
def test_wrong_indices(analyzer, spikes, channels, words):
    with pytest.raises(sic.ParameterError) as caught:
        sic.get_spike_features(analyzer, spikes, channels)
    for word in words:
        assert word in str(caught.value)


def test_features_that_are_not_there(make, own_folder, tmp_path):
    bare = sic.read_kilosort_as_analyzer(make(write_features=False).folder)
    with pytest.raises(sic.MissingDataError, match=r"pc_features\.npy"):
        sic.get_spike_features(bare, [0], [0])
    analyzer = sic.read_kilosort_as_analyzer(own_folder.folder)
    recording, sorting = generate_ground_truth_recording(durations=[1.0], num_units=2)
    other = create_sorting_analyzer(sorting, recording, sparse=False)
    with pytest.raises(sic.MissingDataError, match="not read from a Kilosort folder"):
        sic.get_spike_features(other, [0], [0])
    resave(own_folder.folder, "spike_templates", lambda x: x[::-1].copy())
    with pytest.raises(sic.PhyFolderError, match="sorted again"):
        sic.get_spike_features(analyzer, np.arange(800), [0])
    shutil.move(own_folder.folder, tmp_path / "elsewhere")
    with pytest.raises(sic.FolderNotFoundError, match="not there"):
        sic.get_spike_features(analyzer, [0], [0])


# --------------------------------------------------------------------------------- amplitudes


def best_of(analyzer):
    """Best channels of the units, best first (checked against phy in other tests)."""
    copy = analyzer.copy()
    return copy.compute("template_best_channels").get_data(outputs="indices")


def background(analyzer, shown, peak):
    best = best_of(analyzer)
    others = [u for u in analyzer.unit_ids.tolist() if u not in shown and peak in best[u]]
    found = [spikes_of(analyzer, u) for u in others]
    return np.sort(np.concatenate(found)) if found else np.zeros(0, dtype=int)


def test_amplitudes_of_the_sorter(folder, analyzer):
    factors = np.load(folder.folder / "amplitudes.npy").ravel()
    for unit in analyzer.unit_ids:
        found = sic.get_spike_amplitudes(analyzer, unit)
        np.testing.assert_array_equal(found.spike_indices, spikes_of(analyzer, unit))
        rows = rows_of(analyzer)[found.spike_indices]
        np.testing.assert_array_equal(found.amplitudes, factors[rows])


def test_projections_and_features_as_phy(folder):
    analyzer = sic.read_kilosort_as_analyzer(folder.folder)
    extension = analyzer.compute("template_features")
    rows, best, seen = rows_of(analyzer), best_of(analyzer), 0
    units = analyzer.unit_ids.tolist()
    for unit, first in zip(units, units[1:] + units[:1], strict=True):
        spikes, values = sic.get_spike_amplitudes(
            analyzer, unit, "template_feature", first_unit_id=first
        )
        np.testing.assert_array_equal(spikes, spikes_of(analyzer, unit))
        np.testing.assert_array_equal(values, extension.get_unit_projections(unit, onto=first))
        peak = int(best[first][0])
        for component in (0, 2):
            spikes, values = sic.get_spike_amplitudes(
                analyzer, unit, "feature", first_unit_id=first, component=component
            )
            expected = naive_features.features(folder.folder, rows[spikes], [peak])
            np.testing.assert_array_equal(values, expected[:, 0, component])
        other = analyzer.channel_ids[4]
        spikes, values = sic.get_spike_amplitudes(analyzer, unit, "feature", channel_id=other)
        expected = naive_features.features(folder.folder, rows[spikes], [4])
        np.testing.assert_array_equal(values, expected[:, 0, 0])
        grey, values = sic.get_spike_amplitudes(
            analyzer, unit, "feature", first_unit_id=first, background=True
        )
        np.testing.assert_array_equal(grey, background(analyzer, {unit, first}, peak))
        expected = naive_features.features(folder.folder, rows[grey], [peak])
        np.testing.assert_array_equal(values, expected[:, 0, 0])
        seen += grey.size
    assert seen


def test_features_that_are_not_stored_are_0_as_in_phy(make):
    truth = make(feature_rows=300)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    unit = analyzer.unit_ids[-1]
    spikes, values = sic.get_spike_amplitudes(analyzer, unit, "feature")
    stored = np.isin(rows_of(analyzer)[spikes], np.load(truth.folder / "pc_feature_spike_ids.npy"))
    assert 0 < stored.sum() < stored.size
    assert np.isfinite(values).all()
    assert (values[~stored] == 0).all()
    assert (values[stored] != 0).all()


def raw_amplitudes(traces, samples, num_samples, rate):
    """Snippets as phylib cuts them, filtered as phy filters them: peak-to-peak."""
    snippets = [naive_features.snippet(traces, s, num_samples // 2, num_samples) for s in samples]
    waveforms = np.array(snippets).reshape(len(samples), num_samples)
    b, a = butter(3, 150.0 / rate * 2.0, "high")
    for _ in range(2):
        waveforms = np.flip(lfilter(b, a, waveforms, axis=1), axis=1)
    return waveforms.max(axis=1) - waveforms.min(axis=1)


@pytest.mark.parametrize("filtered", [False, True])
def test_raw_amplitudes(make, filtered):
    truth = make(num_spikes=300, duration_s=2.0)
    end = int(truth.spike_samples.max()) + 5  # a snippet reaches beyond
    traces = np.random.default_rng(0).integers(-99, 99, (end, 40)).astype("int16")
    recording = NumpyRecording([traces], 30_000.0, channel_ids=truth.channel_map)
    recording.set_dummy_probe_from_locations(truth.channel_positions)
    recording.annotate(is_filtered=filtered)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder, recording)
    samples, best = analyzer.sorting.to_spike_vector()["sample_index"], best_of(analyzer)
    units = analyzer.unit_ids.tolist()
    for unit, first in zip(units, units[1:] + units[:1], strict=True):
        peak = int(best[first][0])
        spikes, values = sic.get_spike_amplitudes(analyzer, unit, "raw", first_unit_id=first)
        np.testing.assert_array_equal(spikes, spikes_of(analyzer, unit))
        if peak not in best[unit]:
            assert not values.any()
            continue
        if filtered:
            cut = [naive_features.snippet(traces[:, [peak]], s, 30, 61) for s in samples[spikes]]
            expected = np.ptp(np.array(cut)[:, :, 0], axis=1)
        else:
            expected = raw_amplitudes(traces[:, [peak]], samples[spikes], 61, 30_000.0)
        np.testing.assert_allclose(values, expected, rtol=1e-9)


def test_wrong_questions_for_amplitudes(make, analyzer):
    unit = analyzer.unit_ids[0]
    ask = sic.get_spike_amplitudes
    with pytest.raises(sic.ParameterError, match=r"'peak'.*template_feature"):
        ask(analyzer, unit, "peak")
    with pytest.raises(sic.UnknownIdError, match="999"):
        ask(analyzer, 999)
    with pytest.raises(sic.UnknownIdError, match="999"):
        ask(analyzer, unit, first_unit_id=999)
    with pytest.raises(sic.SiCurationError, match="'nowhere'"):
        ask(analyzer, unit, "feature", channel_id="nowhere")
    for component in (-1, 99, True, 0.5):
        with pytest.raises(sic.ParameterError, match="component"):
            ask(analyzer, unit, "feature", component=component)
    with pytest.raises(sic.MissingDataError, match="template_features"):
        ask(analyzer, unit, "template_feature")
    with pytest.raises(sic.MissingDataError, match="recording"):
        ask(analyzer, unit, "raw")
    truth = make(write_features=False)
    (truth.folder / "amplitudes.npy").unlink()
    bare = sic.read_kilosort_as_analyzer(truth.folder)
    with pytest.raises(sic.MissingDataError, match=r"pc_features\.npy"):
        ask(bare, unit := bare.unit_ids[0], "feature")
    with pytest.raises(sic.MissingDataError, match=r"amplitudes\.npy"):
        ask(bare, unit)


@pytest.mark.parametrize("kind", ["file", "extension", "without sparsity"])
def test_stored_features_are_those_of_get_spike_features(kind):
    if kind == "file":
        analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
        spikes = np.arange(0, 5000, 37)
    else:
        recording, sorting = generate_ground_truth_recording(
            durations=[10.0], num_units=3, num_channels=6, seed=0
        )
        analyzer = create_sorting_analyzer(sorting, recording, sparse=kind == "extension")
        names = ["random_spikes", "waveforms", "templates", "principal_components"]
        analyzer.compute(names, extension_params={"random_spikes": {"max_spikes_per_unit": 20}})
        spikes = np.arange(len(analyzer.sorting.to_spike_vector()))
    stored = read_stored_features(analyzer, feature_source(analyzer), spikes)
    channels = np.arange(analyzer.get_num_channels())
    how = {"feature_channels": "repaired"} if kind == "file" else {}
    expected = sic.get_spike_features(analyzer, spikes, channels, **how)
    assert stored.values.dtype == np.float32
    for group in np.unique(stored.groups):
        own = np.flatnonzero(stored.groups == group)
        there = stored.channels[group]
        there = there[there >= 0]
        found = stored.on_channels(own, there)
        np.testing.assert_array_equal(found, expected[own][:, there])
        others = np.setdiff1d(channels, there)
        assert not np.nan_to_num(expected[own][:, others]).any()
    held = np.isfinite(expected).all(axis=(1, 2))  # of the extension only random spikes are
    some = np.flatnonzero(held)[::-2]
    found = stored.on_any_channels(some, channels[[4, 1]])
    np.testing.assert_array_equal(found, expected[some][:, [4, 1]])
