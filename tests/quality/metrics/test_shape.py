"""Shape of templates: SpikeInterface's values, with reasons where they cannot be taken."""

import warnings

import numpy as np
import pandas as pd
import pytest
from spikeinterface.core import create_sorting_analyzer, generate_ground_truth_recording
from spikeinterface.metrics.template.template_metrics import ComputeTemplateMetrics

import si_curation as sic
from si_curation.quality.metrics.shape import DEFAULT_PARAMS, METRICS, compute_shape
from si_curation.variables import SHAPE

VELOCITY = ["velocity_above", "velocity_below"]
SLOPES = ["repolarization_slope", "recovery_slope"]
ABSENT = "shape_no_peak"


def theirs(analyzer):
    """SpikeInterface's own table of the same analyzer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extension = analyzer.copy().compute(
            "template_metrics", save=False, include_multi_channel_metrics=True
        )
    return extension.get_data()


def test_columns_are_spikeinterfaces():
    columns = {m.metric_name: set(m.metric_columns) for m in ComputeTemplateMetrics.metric_list}
    assert {name: set(its) for name, its in METRICS.items()} == columns
    assert [c for its in METRICS.values() for c in its] == list(SHAPE)
    assert DEFAULT_PARAMS["recovery_slope"]["recovery_window_ms"] == 0.7


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
        np.testing.assert_array_equal(found.values[column][known], expected[column][known])
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
