"""Classes of units: SpikeInterface's labels, width, residuals, and what is not applied."""

import warnings

import numpy as np
import pytest
from spikeinterface.curation import bombcell_get_default_thresholds, bombcell_label_units

import si_curation as sic
from si_curation.variables import UNIT_CLASSES


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder(), gain_to_uV=0.2)


@pytest.fixture(scope="module")
def classes(analyzer):
    return sic.classify_units(analyzer)


def test_labels_are_spikeinterfaces(classes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = bombcell_label_units(
            external_metrics=classes.metrics, thresholds=classes.thresholds
        )
    assert classes.table["bombcell_label"].tolist() == theirs["bombcell_label"].tolist()
    assert list(classes.table.columns) == list(UNIT_CLASSES)
    assert set(classes.metrics) | set(classes.not_applied) == {
        name for its in bombcell_get_default_thresholds().values() for name in its
    }
    assert classes.replaced == {"snr": "snr_from_features"}
    assert "amplitude_median" in classes.metrics


def test_labels_are_those_of_the_analyzer_itself(analyzer):
    """SpikeInterface's function finds the metrics in `curation_metrics`, but for snr."""
    one = analyzer.copy()
    one.compute("curation_metrics")
    known = sic.classify_units(one)
    thresholds = {s: {n: t for n, t in its.items()} for s, its in known.thresholds.items()}
    thresholds["mua"].pop("snr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = bombcell_label_units(one, thresholds)["bombcell_label"]
    ours = sic.classify_units(one, thresholds).table["bombcell_label"]
    assert ours.tolist() == theirs.tolist()


def test_width_is_that_of_the_duration(classes, analyzer):
    one = analyzer.copy()
    names = ["peak_to_trough_duration"]
    table = one.compute("curation_metrics", metric_names=names).get_data()
    label = classes.table["bombcell_label"]
    for unit_id, duration in table["peak_to_trough_duration"].items():
        expected = "narrow" if duration * 1e3 <= 0.425 else "wide"
        if label[unit_id] == "noise":
            expected = ""
        assert classes.table.loc[unit_id, "width_class"] == expected
        near = abs(duration * 1e3 - 0.425) <= 0.04 and expected
        assert ("border of narrow" in classes.table.loc[unit_id, "reason"]) == bool(near)
    none = sic.classify_units(analyzer, narrow_below_ms=0.01).table["width_class"]
    assert "narrow" not in set(none)


def test_reasons_are_the_thresholds_that_are_not_met(classes):
    for unit_id, row in classes.table.iterrows():
        metrics = classes.metrics.loc[unit_id]
        if row["bombcell_label"] != "mua":
            continue
        for name, limits in classes.thresholds["mua"].items():
            value = abs(metrics[name]) if limits.get("abs") else metrics[name]
            low, high = limits.get("greater"), limits.get("less")
            fails = (low is not None and value < low) or (high is not None and value > high)
            fails |= name == "sliding_rp_violation" and np.isnan(value)
            assert (f"{name} is" in row["reason"]) == fails


def test_without_gain_amplitudes_are_not_compared():
    found = sic.classify_units(sic.read_kilosort_as_analyzer(sic.example_folder()))
    assert found.not_applied["amplitude_median"] == "amplitudes are not in µV"
    assert "amplitude_median" not in found.thresholds["mua"]


@pytest.mark.parametrize("name", ["ks1_phy_curated", "np1_without_params", "ks25_example"])
def test_metrics_that_no_unit_has_do_not_make_noise(shared_data, name):
    folder = next((shared_data / name).glob("**/spike_times.npy")).parent
    rate = 30000.0 if name == "np1_without_params" else None
    analyzer = sic.read_kilosort_as_analyzer(folder, sampling_frequency=rate)
    found = sic.classify_units(analyzer)
    assert "0" in found.not_applied["waveform_baseline_flatness"]
    assert "waveform_baseline_flatness" not in found.metrics
    assert (found.table["bombcell_label"] != "noise").any() or name == "ks1_phy_curated"


def test_residuals_are_flagged(shared_data):
    analyzer = sic.read_kilosort_as_analyzer(shared_data / "ks4_truth" / "static" / "ks")
    table = sic.classify_units(analyzer).table
    assert table["residual_of"].dropna().to_dict() == {0: 9, 5: 9, 11: 17}
    assert "99% of its spikes coincide" in table.loc[0, "reason"]


def test_wrong_arguments():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    for thresholds, message in (
        ({"good": {}}, "'good'"),
        ({"mua": {"snr": {"above": 5}}}, "'above'"),
        ({"mua": {"snr": {"greater": "5"}}}, "greater of snr is '5'"),
        ({"mua": 3}, "expected sections"),
    ):
        with pytest.raises(sic.ParameterError, match=message):
            sic.classify_units(analyzer, thresholds)
    with pytest.raises(sic.ParameterError, match="narrow_below_ms is -1"):
        sic.classify_units(analyzer, narrow_below_ms=-1)
    found = sic.classify_units(analyzer, {"mua": {"nonsense": {"greater": 1}}})
    assert "no metric that is known" in found.not_applied["nonsense"]
    assert set(found.table["bombcell_label"]) == {"good"}
