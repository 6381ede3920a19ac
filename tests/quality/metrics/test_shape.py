"""Shape of templates: SpikeInterface's values, with reasons where they cannot be taken."""

import warnings

import numpy as np
import pandas as pd
import pytest
from spikeinterface.core import create_sorting_analyzer, generate_ground_truth_recording
from spikeinterface.metrics.template.template_metrics import ComputeTemplateMetrics

import si_curation as sic
from si_curation._spikeinterface import inject_extension
from si_curation.quality.metrics.shape import DEFAULT_PARAMS, METRICS, compute_shape
from si_curation.variables import SHAPE

VELOCITY = ["velocity_above", "velocity_below"]
SLOPES = ["repolarization_slope", "recovery_slope"]
ABSENT = "shape_no_peak"


def theirs(analyzer, **more):
    """SpikeInterface's own table of the same analyzer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extension = analyzer.copy().compute(
            "template_metrics", save=False, include_multi_channel_metrics=True, **more
        )
    return extension.get_data()


def test_columns_are_spikeinterfaces():
    columns = {m.metric_name: set(m.metric_columns) for m in ComputeTemplateMetrics.metric_list}
    assert {name: set(its) for name, its in METRICS.items()} == columns
    assert [c for its in METRICS.values() for c in its] == list(SHAPE)
    own = {name: {**its} for name, its in DEFAULT_PARAMS.items()}
    assert {its.pop("waveforms") for its in own.values()} == {"templates"}
    assert own == ComputeTemplateMetrics.get_default_metric_params()


@pytest.mark.parametrize("gain", [pytest.param(None, marks=pytest.mark.slow), 0.2])
def test_values_are_spikeinterfaces(gain):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder(), gain_to_uV=gain)
    found = compute_shape(analyzer)
    with_gain = sic.read_kilosort_as_analyzer(sic.example_folder(), gain_to_uV=0.2)
    expected = theirs(with_gain)
    missing = [*VELOCITY, *([] if gain else SLOPES)]
    for column in SHAPE:
        if column in missing:
            assert np.isnan(found.values[column]).all()
            assert {one.code for one in found.reasons[column]} <= {
                "shape_not_in_uv",
                "shape_velocity_truncated",
            }
            continue
        peak = np.array([one is not None and one.code == ABSENT for one in found.reasons[column]])
        known = ~peak
        np.testing.assert_allclose(
            found.values[column][known], expected[column].to_numpy(float)[known], rtol=1e-4
        )
        has_none = np.array([one is None for one in found.reasons[column]])
        np.testing.assert_array_equal(has_none, np.isfinite(found.values[column]))
    assert set(found.sources.values()) == {"templates"}


@pytest.mark.slow
def test_means_of_traces_have_velocities():
    recording, sorting = generate_ground_truth_recording(
        durations=[10.0], num_channels=16, num_units=5, seed=0
    )
    analyzer = create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "templates"], n_jobs=1, progress_bar=False)
    found = compute_shape(analyzer)
    expected = theirs(analyzer)
    assert np.isfinite(found.values["velocity_above"]).any()
    for column in SHAPE:
        known = np.isfinite(found.values[column])
        rtol = 1e-4 if column == "exp_decay" else 1e-9
        np.testing.assert_allclose(found.values[column][known], expected[column][known], rtol=rtol)
    for column in VELOCITY:
        codes = {one.code for one in found.reasons[column] if one is not None}
        assert codes <= {"shape_no_velocity_fit"}


@pytest.mark.slow
def test_rebuilt_waveforms_tell_the_parts_of_a_split_apart(simulate):
    truth = simulate("kilosort4", num_templates=12, num_channels=16, num_spikes=1500, seed=3)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    unit = analyzer.unit_ids[np.argmax(analyzer.sorting.count_num_spikes_per_unit("array"))]
    amplitudes = sic.get_spike_amplitudes(analyzer, unit_id=unit).amplitudes
    small = np.abs(amplitudes) < np.median(np.abs(amplitudes))
    session = sic.CurationSession(analyzer)
    session.split(unit, small.astype(int))
    parts = session.apply()
    new = [one for one in parts.unit_ids if one not in analyzer.unit_ids]
    column = "trough_half_width"
    of_templates = compute_shape(parts, new, [column]).values[column]
    assert of_templates[0] == of_templates[1]
    params = {"half_width": {"waveforms": "spike_waveforms"}}
    rebuilt = compute_shape(parts, new, [column], metric_params=params)
    assert np.isfinite(rebuilt.values[column]).all()
    assert rebuilt.sources[column] == "spike_waveforms"
    parts.compute("spike_waveforms")
    again = compute_shape(parts, new, [column], metric_params=params)
    np.testing.assert_array_equal(again.values[column], rebuilt.values[column])


def test_whitened_templates_have_no_shape_over_channels(simulate):
    truth = simulate("kilosort2.5", num_templates=8, num_channels=16, num_spikes=600, seed=2)
    found = compute_shape(sic.read_kilosort_as_analyzer(truth.folder))
    assert np.isfinite(found.values["peak_to_trough_duration"]).any()
    assert found.sources["peak_to_trough_duration"] == "templates (whitened)"
    for column in ("exp_decay", "spread"):
        assert {one.code for one in found.reasons[column]} <= {"shape_whitened", "no_spikes"}
    assert {one.code for one in found.reasons["recovery_slope"]} <= {"shape_not_in_uv", "no_spikes"}


def test_zeros_before_the_spike_are_no_flat_baseline(shared_data):
    analyzer = sic.read_kilosort_as_analyzer(shared_data / "ks1_phy_curated")
    found = compute_shape(analyzer, metric_names=["waveform_baseline_flatness"])
    assert np.isnan(found.values["waveform_baseline_flatness"]).all()
    codes = {one.code for one in found.reasons["waveform_baseline_flatness"]}
    assert "shape_padded" in codes


def test_without_templates_all_is_missing_with_a_reason():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.delete_extension("templates")
    found = compute_shape(analyzer, metric_names=["spread"])
    assert [str(one) for one in found.reasons["spread"]] == ["there is no extension templates"] * 8
    with pytest.raises(sic.ParameterError, match="waveforms is 'traces', expected one of"):
        compute_shape(analyzer, metric_params={"spread": {"waveforms": "traces"}})


def test_parameters_of_spikeinterface_are_taken():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    extension = analyzer.compute(
        "curation_metrics",
        metric_names=["spread", "waveform_baseline_flatness"],
        metric_params={"spread": {"spread_threshold": 0.9}},
    )
    strict = extension.get_data()["spread"]
    usual = compute_shape(analyzer, metric_names=["spread"]).values["spread"]
    assert (strict.to_numpy() < usual).all()


@pytest.fixture(scope="module")
def of_traces():
    """An analyzer whose templates are on all channels of each unit, and none of the sorter's."""
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder(), gain_to_uV=0.2)
    rng = np.random.default_rng(3)
    at, units = analyzer.get_channel_locations(), analyzer.unit_ids
    main = np.asarray(analyzer.get_main_channels(outputs="index"))
    apart = np.linalg.norm(at[main][:, None] - at, axis=2)[:, None]  # (units, 1, channels)
    time = np.arange(61)[:, None] - 22 - apart * rng.uniform(0, 0.08, (len(units), 1, 1))
    wave = 0.4 * np.exp(-(((time - 12) / 7) ** 2)) - np.exp(-((time / rng.uniform(2, 4)) ** 2))
    values = 100 * wave * np.exp(-apart / rng.uniform(20, 60, (len(units), 1, 1)))
    values += rng.normal(0, 0.4, values.shape)
    window = {"operators": ["average"], "ms_before": 22 / 30, "ms_after": 39 / 30}
    inject_extension(analyzer, "templates", {"average": values.astype(np.float32)}, window)
    return analyzer


@pytest.mark.parametrize(
    "given",
    [
        {},
        {
            "exp_decay": {"linear_fit": True, "peak_function": "min"},
            "spread": {"column_range": 20, "spread_smooth_um": None},
            "velocity_fits": {"column_range": 20, "min_channels": 4, "min_r2": 0.1},
            "recovery_slope": {"recovery_window_ms": 0.3},
            "waveform_baseline_flatness": {"baseline_window_ms": (0.1, 0.4)},
        },
        {
            "exp_decay": {
                "channel_tolerance": 33,
                "min_channels_for_fit": 3,
                "normalize_decay": True,
                "min_r2": 0.9,
            },
            "waveform_baseline_flatness": {"baseline_window_ms": None},
        },
        {
            "exp_decay": {
                "channel_tolerance": 33,
                "min_channels_for_fit": 4,
                "num_channels_for_fit": 5,
                "linear_fit": True,
            }
        },
    ],
)
def test_parameters_do_what_they_do_in_spikeinterface(of_traces, given):
    params = {name: dict(its) for name, its in DEFAULT_PARAMS.items()}
    for name, its in params.items():
        del its["waveforms"]
        its |= given.get(name, {})
    expected = theirs(of_traces, metric_params=params)
    found = compute_shape(of_traces, metric_params=given).values
    for column in SHAPE:
        rtol = 1e-4 if column == "exp_decay" else 1e-9
        values = expected[column].to_numpy(float)
        np.testing.assert_allclose(found[column], values, rtol=rtol, err_msg=column)
    assert np.isfinite(found["exp_decay"]).any()
    assert given or np.isfinite(found["velocity_above"]).any()


def test_one_template_does_not_take_the_values_of_the_others(of_traces):
    before = compute_shape(of_traces, metric_names=["recovery_slope", "spread"])
    analyzer = of_traces.copy()
    values = analyzer.get_extension("templates").get_data().copy()
    values[0] = 0
    values[0, 58:60] = [[-1], [-0.3]]  # near the end: SpikeInterface then has no slope of any unit
    inject_extension(
        analyzer,
        "templates",
        {"average": values},
        {"operators": ["average"], "ms_before": 22 / 30, "ms_after": 39 / 30},
    )
    found = compute_shape(analyzer, metric_names=["recovery_slope", "spread"])
    for column, its in found.values.items():
        np.testing.assert_array_equal(its[1:], before.values[column][1:])
    assert str(found.reasons["recovery_slope"][0]) == "no peak after the trough"


@pytest.mark.slow
def test_merged_units_are_measured_anew(simulate):
    truth = simulate("kilosort4", num_templates=10, num_channels=16, num_spikes=1200, seed=4)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    names = [*METRICS, "noise_from_features", "snr_from_features"]
    analyzer.compute("curation_metrics", metric_names=names)
    first, second = analyzer.unit_ids[:2]
    session = sic.CurationSession(analyzer)
    session.merge([first, second])
    merged = session.apply()
    kept = merged.get_extension("curation_metrics").get_data()
    merged.compute("curation_metrics", metric_names=names, delete_existing_metrics=True)
    anew = merged.get_extension("curation_metrics").get_data()
    pd.testing.assert_frame_equal(kept, anew, rtol=1e-6)


def test_units_without_spikes_have_no_shape(shared_data):
    analyzer = sic.read_kilosort_as_analyzer(shared_data / "ks1_phy_curated")
    empty = analyzer.sorting.count_num_spikes_per_unit(outputs="array") == 0
    found = compute_shape(analyzer, metric_names=["trough_half_width"])
    codes = [None if one is None else one.code for one in found.reasons["trough_half_width"]]
    assert all(code == "no_spikes" for code, none in zip(codes, empty, strict=True) if none)
