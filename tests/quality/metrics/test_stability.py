"""Stability metrics: against brute force, SpikeInterface and phylib, and their invariances."""

import warnings

import numpy as np
import pandas as pd
import pytest
import spikeinterface.metrics as sm
from spikeinterface.core import NumpySorting, create_sorting_analyzer
from spikeinterface.core.base import unit_period_dtype
from spikeinterface.generation import NoiseGeneratorRecording

import si_curation as sic
from oracles import spike_depths as naive
from si_curation._spikeinterface import inject_extension
from si_curation.errors import MissingDataError, ParameterError
from si_curation.quality.metrics import stability
from si_curation.quality.metrics.extension import compute_metrics_in_windows
from si_curation.quality.metrics.spike_values import depths_from_features
from si_curation.quality.metrics.windows import normalise_periods, windows_of

FS = 1000.0
SHARED = [column for its in stability.METRICS.values() for column in its]


def make_analyzer(
    durations=(400.0,), num_units=6, seed=0, rate=8.0, order=None, shift=0, drift=True
):
    """Units with growing rates, negative amplitudes, drifting; the last is empty, one is lost."""
    rng = np.random.default_rng(seed)
    order = np.arange(num_units) if order is None else np.asarray(order)
    parts = []
    for segment, duration in enumerate(durations):
        for unit in range(num_units - 1):
            n = rng.poisson(rate * (unit + 1) * duration)
            times = rng.uniform(0, duration, n)
            if unit == 1:
                times = times[times < duration / 2]
            samples = np.floor(np.sort(times) * FS).astype(np.int64)
            amplitudes = -50 - 10 * unit + rng.normal(0, 8, samples.size)
            y = 20 * unit + drift * 15 * np.sin(samples / FS / 60) + rng.normal(0, 3, samples.size)
            parts += [
                (segment, s, int(order[unit]), a, p)
                for s, a, p in zip(samples, amplitudes, y, strict=True)
            ]
    parts.sort(key=lambda row: row[:3])
    spikes = np.zeros(
        len(parts), dtype=[("sample_index", "i8"), ("unit_index", "i8"), ("segment_index", "i8")]
    )
    spikes["segment_index"] = [row[0] for row in parts]
    spikes["sample_index"] = [row[1] + shift for row in parts]
    spikes["unit_index"] = [row[2] for row in parts]
    ids = np.empty(num_units, dtype="U8")
    ids[order] = [f"u{i}" for i in range(num_units)]
    analyzer = bare_analyzer(NumpySorting(spikes, FS, ids), durations)
    amplitudes = np.array([row[3] for row in parts], dtype=np.float32)
    locations = np.zeros(len(parts), dtype=[("x", "f8"), ("y", "f8")])
    locations["y"] = [row[4] for row in parts]
    inject_extension(analyzer, "spike_amplitudes", {"amplitudes": amplitudes}, {})
    inject_extension(analyzer, "spike_locations", {"spike_locations": locations}, {})
    return analyzer


def bare_analyzer(sorting, durations):
    recording = NoiseGeneratorRecording(
        num_channels=4, sampling_frequency=FS, durations=list(durations), noise_levels=1.0, seed=0
    )
    recording.set_dummy_probe_from_locations(np.array([[0.0, 20.0 * i] for i in range(4)]))
    return create_sorting_analyzer(sorting, recording, sparse=False)


def with_values(sorting, durations, source, keep=slice(None)):
    """Make an analyzer of other spikes that have the values of some of an analyzer's."""
    analyzer = bare_analyzer(sorting, durations)
    for name, key in (("spike_amplitudes", "amplitudes"), ("spike_locations", "spike_locations")):
        inject_extension(analyzer, name, {key: source.get_extension(name).data[key][keep]}, {})
    return analyzer


@pytest.fixture(scope="module")
def analyzer():
    return make_analyzer()


def values_of(analyzer, **kwargs):
    found = stability.compute_stability(analyzer, **kwargs)
    return pd.DataFrame(found.values, index=analyzer.unit_ids)


def spikeinterfaces(analyzer, periods=None, metric_names=None, **params):
    names = list(stability.METRICS) if metric_names is None else metric_names
    analyzer = analyzer.copy()
    if metric_names is None:  # SpikeInterface's drift fails on a unit without spikes
        counts = analyzer.sorting.count_num_spikes_per_unit(outputs="array")
        analyzer = analyzer.select_units(analyzer.unit_ids[counts > 0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sm.compute_quality_metrics(
            analyzer,
            metric_names=names,
            metric_params=params or None,
            periods=periods,
            skip_pc_metrics=True,
        )


def assert_equal_where_told(ours, theirs, columns=SHARED):
    for column in columns:
        expected = theirs[column].to_numpy(float)
        told = ~np.isnan(expected)
        found = ours.loc[theirs.index, column].to_numpy(float)
        np.testing.assert_allclose(found[told], expected[told], rtol=2e-6, err_msg=column)
        if not column.startswith("amplitude_cv"):  # empty bins make SpikeInterface's NaN
            assert np.isnan(found[~told]).all(), column


# 400 s: a rest of 40 s after 6 bins of a minute; 180 s twice: segments of whole bins; 90 and 130:
# short bins within
@pytest.mark.parametrize("durations", [(400.0,), (180.0, 180.0), (130.0, 190.0, 125.0)])
@pytest.mark.slow
def test_equal_to_spikeinterface(durations):
    analyzer = make_analyzer(durations)
    theirs = spikeinterfaces(analyzer)
    assert theirs.notna().to_numpy().mean() > 0.8
    assert_equal_where_told(values_of(analyzer), theirs)


@pytest.mark.slow
def test_equal_to_spikeinterface_with_other_parameters(analyzer):
    params = {
        "presence_ratio": {"bin_duration_s": 7.5, "mean_fr_ratio_thresh": 0.8},
        "firing_range": {"bin_size_s": 2.5, "percentiles": (10, 75)},
        "amplitude_cv": {"average_num_spikes_per_bin": 33, "percentiles": (1, 90)},
        "amplitude_cutoff": {"num_histogram_bins": 50, "histogram_smoothing_value": 2},
        "noise_cutoff": {"high_quantile": 0.3, "low_quantile": 0.2, "n_bins": 60},
        "drift": {"interval_s": 20, "min_spikes_per_interval": 40, "direction": "y"},
    }
    theirs = spikeinterfaces(analyzer, **params)
    assert_equal_where_told(values_of(analyzer, metric_params=params), theirs)


@pytest.mark.slow
def test_equal_to_spikeinterface_in_one_aligned_period(analyzer):
    periods = np.zeros(len(analyzer.unit_ids), dtype=unit_period_dtype)
    periods["start_sample_index"], periods["end_sample_index"] = 60_000, 240_000
    periods["unit_index"] = np.arange(len(periods))
    columns = [c for c in SHARED if not c.startswith("amplitude_cv")]
    counts = analyzer.sorting.count_num_spikes_per_unit(outputs="array")
    some = analyzer.select_units(analyzer.unit_ids[counts > 0])
    theirs = spikeinterfaces(some, periods=periods[: len(some.unit_ids)])
    ours = values_of(some, periods=normalise_periods(some, periods[: len(some.unit_ids)]))
    assert_equal_where_told(ours, theirs, columns)


def test_a_unit_without_spikes(analyzer):
    found = stability.compute_stability(analyzer, ["u5"])
    zero = ("num_spikes", "firing_rate", "presence_ratio", "firing_range")
    for column in SHARED:
        value, reason = found.values[column][0], found.reasons[column][0]
        if column in zero:
            assert value == 0
            assert reason is None
        else:
            assert reason.code == "no_spikes", column


def test_windows_show_that_a_unit_was_lost(analyzer):
    table = compute_metrics_in_windows(analyzer, window_s=120)
    reasons = compute_metrics_in_windows(analyzer, window_s=120, reasons=True)
    lost = table[table["unit_id"] == "u1"]
    assert lost["window_stop_s"].tolist() == [120.0, 240.0, 360.0, 400.0]
    assert (lost["num_spikes"] > 0).tolist() == [True, True, False, False]
    assert lost["presence_ratio"].tolist()[:3] == [1.0, 1.0, 0.0]
    assert lost["firing_rate"].tolist()[2:] == [0.0, 0.0]
    here = (reasons["unit_id"] == "u1") & (reasons["window_start_s"] == 240)
    assert reasons.loc[here, "amplitude_median"].tolist() == ["no spikes"]
    for column in SHARED:
        assert ((reasons[column] != "") == table[column].isna()).all(), column


@pytest.mark.slow
def test_a_window_is_a_recording_of_its_own(analyzer):
    table = compute_metrics_in_windows(analyzer, window_s=180).set_index("unit_id")
    second = table[table["window_start_s"] == 180]
    part = make_part(analyzer, 180_000, 360_000)
    alone = values_of(part)
    pd.testing.assert_frame_equal(
        second[SHARED].astype(float), alone[SHARED], check_names=False, rtol=1e-12
    )


def make_part(analyzer, start, stop):
    vector = analyzer.sorting.to_spike_vector()
    keep = (vector["sample_index"] >= start) & (vector["sample_index"] < stop)
    spikes = vector[keep].copy()
    spikes["sample_index"] -= start
    sorting = NumpySorting(spikes, FS, analyzer.unit_ids)
    return with_values(sorting, [(stop - start) / FS], analyzer, keep)


def test_unit_order_does_not_matter(analyzer):
    other = make_analyzer(order=[3, 0, 5, 1, 2, 4])
    pd.testing.assert_frame_equal(values_of(other).loc[analyzer.unit_ids], values_of(analyzer))


def test_a_subset_of_units_is_the_same(analyzer):
    ids = analyzer.unit_ids[[4, 1]]
    found = stability.compute_stability(analyzer, ids, ["drift_mad", "noise_ratio"])
    whole = values_of(analyzer)
    for column, values in found.values.items():
        np.testing.assert_array_equal(values, whole.loc[ids, column])


def test_threads_do_not_matter(analyzer, threads):
    threads(1)
    one = values_of(analyzer)
    threads(2)
    pd.testing.assert_frame_equal(values_of(analyzer), one, check_exact=True)


def test_time_shift_by_whole_bins_does_not_matter():
    kwargs = {"metric_names": ["presence_ratio", "firing_range", "drift_ptp", "drift_mad"]}
    early = make_analyzer((600.0,))
    vector = early.sorting.to_spike_vector().copy()
    vector["sample_index"] += 240_000
    late = with_values(NumpySorting(vector, FS, early.unit_ids), (900.0,), early)
    rows = [(0, 240_000, 840_000, unit) for unit in range(len(late.unit_ids))]
    moved = values_of(late, periods=normalise_periods(late, rows), **kwargs)
    pd.testing.assert_frame_equal(moved, values_of(early, **kwargs), rtol=1e-12)


def test_values_that_are_not_numbers_are_left_out(analyzer):
    other = analyzer.copy()
    amplitudes = analyzer.get_extension("spike_amplitudes").data["amplitudes"].copy()
    amplitudes[::7] = np.nan
    inject_extension(other, "spike_amplitudes", {"amplitudes": amplitudes}, {})
    found = values_of(other, metric_names=["amplitude_median", "noise_ratio"])
    assert found.loc["u3"].notna().all()


def test_without_amplitudes_and_positions():
    analyzer = make_analyzer((120.0,))
    analyzer.delete_extension("spike_amplitudes")
    analyzer.delete_extension("spike_locations")
    found = stability.compute_stability(analyzer)
    reason = str(found.reasons["amplitude_cutoff"][0])
    assert reason.startswith("there is no extension amplitude_sc")
    assert "not read from a Kilosort folder" in str(found.reasons["drift_std"][0])
    assert found.values["presence_ratio"][0] == 1.0
    with pytest.raises(MissingDataError, match="not read from"):
        depths_from_features(analyzer)


def test_amplitude_scalings_are_preferred_for_the_cutoff(analyzer):
    other = analyzer.copy()
    scalings = np.random.default_rng(0).gamma(2, 1, other.sorting.to_spike_vector().size)
    inject_extension(other, "amplitude_scalings", {"amplitude_scalings": scalings}, {})
    found = stability.compute_stability(other, metric_names=["amplitude_cutoff", "noise_cutoff"])
    assert found.sources == {
        "amplitude_cutoff": "amplitude_scalings",
        "noise_cutoff": "spike_amplitudes",
    }
    theirs = spikeinterfaces(other)
    ours = pd.DataFrame(found.values, index=other.unit_ids)
    assert_equal_where_told(ours, theirs, ["amplitude_cutoff", "noise_cutoff"])


@pytest.mark.parametrize("name", ["ks1_phy_curated", "ks4_phy_curated", "ks4_fresh"])
def test_depths_are_phylibs(shared_data, name):
    from phylib.io.model import load_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = load_model(shared_data / name / "params.py")
        expected = model.get_depths()
    analyzer = sic.read_kilosort_as_analyzer(shared_data / name)
    found = depths_from_features(analyzer)
    rows = analyzer.get_extension("template_assignment").get_spike_rows()
    if expected is None:  # phylib gives none where some spikes have no features
        assert 0 < np.isnan(found).mean() < 1
        return
    np.testing.assert_allclose(found, expected[rows], rtol=1e-4)


def test_depths_by_hand(simulate):
    simulated = simulate("kilosort4", num_templates=6, num_spikes=300, seed=3)
    analyzer = sic.read_kilosort_as_analyzer(simulated.folder)
    with sic.read_phy_folder(simulated.folder) as folder:
        expected = naive.depths(
            np.array(folder.pc_features),
            folder.spike_templates.tolist(),
            folder.pc_feature_channels,
            folder.channel_positions,
        )
    rows = analyzer.get_extension("template_assignment").get_spike_rows()
    np.testing.assert_allclose(depths_from_features(analyzer), expected[rows], rtol=1e-5)


# ----------------------------------------------------------------------------------------- errors


def test_parameters_are_checked_at_once():
    with pytest.raises(ParameterError, match=r"bin_size_s is 0.*interval is|no parameter") as found:
        stability.complete_params(
            {"firing_range": {"bin_size_s": 0}, "drift": {"bin": 3, "direction": "up"}}
        )
    for text in ("bin_size_s is 0", "no parameter 'bin'", "direction is 'up'"):
        assert text in str(found.value)
    with pytest.raises(ParameterError, match="amplitude_extension"):
        stability.complete_params({"amplitude_cv": {"amplitude_extension": "amplitudes"}})


def test_periods_are_checked_and_joined(analyzer):
    joined = normalise_periods(
        analyzer, [(0, 50, 90, 2), (0, 10, 50, 2), (0, 80, 95, 2), (0, 200, 210, 2)]
    )
    assert joined == {"u2": [[0, 10, 95], [0, 200, 210]]}
    assert normalise_periods(analyzer, joined) == joined
    for bad in ([(1, 0, 5, 0)], [(0, 5, 5, 0)], [(0, 0, 10**9, 0)], [(0, 0, 5, 99)], [(0, 0, 5)]):
        with pytest.raises(ParameterError, match=r"expected"):
            normalise_periods(analyzer, bad)
    outside = stability.compute_stability(analyzer, ["u0"], periods=joined)
    assert outside.values["num_spikes"][0] == 0
    assert outside.reasons["firing_rate"][0].code == "outside_periods"


@pytest.mark.parametrize("window_s", [0, -1, "long", None, True, float("inf")])
def test_window_lengths_are_checked(analyzer, window_s):
    with pytest.raises(ParameterError, match="window_s is"):
        windows_of(analyzer, window_s)
