"""SpikeInterface's models on the metrics of this package: names, signs, and what is missing."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from spikeinterface.curation import model_based_label_units

import si_curation as sic
from helpers.needs import need

OLD = ["half_width", "peak_trough_ratio", "firing_rate", "isi_violations_ratio"]
TRUSTED = ["numpy.dtype", "sklearn.tree._tree.Tree"]
NEW = ["trough_half_width", "peak_after_to_trough_ratio", "firing_rate", "isi_violations_ratio"]
INFO = {
    "label_conversion": {"0": "noise", "1": "neural"},
    "requirements": {"spikeinterface": "0.102.0"},
    "metric_params": {
        "quality_metric_params": {
            "metric_names": ["isi_violation"],
            "metric_params": {"isi_violation": {"isi_threshold_ms": 2.0, "min_isi_ms": 0}},
        }
    },
}


@pytest.fixture(scope="module")
def analyzer():
    found = sic.read_kilosort_as_analyzer(sic.example_folder())
    names = ["firing_rate", "isi_violation", "half_width", "waveform_ratios"]
    found.compute("curation_metrics", metric_names=names)
    return found


def trained(names, num_units=60):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(num_units, len(names))), columns=names)
    forest = RandomForestClassifier(20, random_state=0)
    return make_pipeline(SimpleImputer(), forest).fit(table, (table[names[0]] > 0).astype(int))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    need("skops")
    import skops.io

    made = tmp_path_factory.mktemp("model")
    skops.io.dump(trained(OLD), made / "model.skops")
    (made / "model_info.json").write_text(json.dumps(INFO))
    return made


def test_old_names_and_signs_are_translated(analyzer, folder):
    ours = analyzer.get_extension("curation_metrics").get_data()[NEW].astype(float)
    ours.columns = OLD
    ours["peak_trough_ratio"] *= -1
    chances = trained(OLD).predict_proba(ours.astype(np.float32))
    with pytest.warns(sic.SiCurationWarning, match=r"isi_threshold_ms is 1\.5 in place of 2\.0"):
        found = sic.label_by_spikeinterface_model(
            analyzer, folder, min_probability=0.6, trusted=TRUSTED
        )
    np.testing.assert_allclose(found.probabilities.to_numpy(), chances)
    assert list(found.probabilities.columns) == ["noise", "neural"]
    assert found.columns["half_width"] == "curation_metrics: trough_half_width"
    assert found.differences == ["isi_violation: isi_threshold_ms is 1.5 in place of 2.0"]
    table = found.table
    assert (table["decided"] == (chances.max(axis=1) >= 0.6)).all()
    assert (table["likeliest"] == np.array(["noise", "neural"])[chances.argmax(axis=1)]).all()
    assert (table["label"] == table["likeliest"].where(table["decided"], "unsorted")).all()
    session = sic.CurationSession(analyzer)
    count = found.apply_to(session, field="unitrefine")
    assert count == table.loc[table["decided"], "label"].nunique()


def test_the_same_labels_as_spikeinterface_where_it_has_the_metrics(tmp_path):
    need("skops")
    import skops.io

    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    names = ["firing_rate", "isi_violations_ratio"]
    metrics = ["firing_rate", "isi_violation"]
    analyzer.compute("quality_metrics", metric_names=metrics)
    skops.io.dump(trained(names), tmp_path / "model.skops")
    info = {"label_conversion": INFO["label_conversion"], "metric_params": {}, "requirements": {}}
    (tmp_path / "model_info.json").write_text(json.dumps(info))
    found = sic.label_by_spikeinterface_model(analyzer, tmp_path, trusted=TRUSTED)
    theirs = model_based_label_units(analyzer, model_folder=tmp_path, trust_model=True)
    assert found.table["likeliest"].tolist() == theirs["prediction"].tolist()
    np.testing.assert_allclose(found.table["probability"], theirs["probability"])
    assert set(found.columns.values()) == {f"quality_metrics: {name}" for name in names}


def test_what_is_missing_is_named_and_can_be_replaced(analyzer):
    model = trained(["snr", "amplitude_median", "firing_rate", "sync_spike_2"])
    message = r"looks at snr, amplitude_median \(amplitudes are not in µV\), sync_spike_2"
    with pytest.raises(sic.MissingDataError, match=message):
        sic.label_by_spikeinterface_model(analyzer, model)
    given = {"columns": {"snr": "snr_from_features"}}
    found = sic.label_by_spikeinterface_model(
        analyzer, model, **given, impute=["amplitude_median", "sync_spike_2"]
    )
    assert found.columns["snr"] == "curation_metrics: snr_from_features"
    assert found.columns["sync_spike_2"] == "missing, imputed by the model"
    assert found.table["probability"].between(0.5, 1).all()
    # without an imputer (and trees that need none) what is not known is told
    from sklearn.linear_model import LogisticRegression

    rows = pd.DataFrame({"firing_rate": np.arange(20.0), "snr": 1.0})
    bare = make_pipeline(LogisticRegression()).fit(rows, rows["firing_rate"] > 9)
    with pytest.raises(sic.ParameterError, match="not known of all units: snr"):
        sic.label_by_spikeinterface_model(analyzer, bare, impute=["snr"])


def test_what_is_no_model(analyzer, tmp_path):
    need("skops")
    import skops.io

    model = trained(["firing_rate"])
    with pytest.raises(sic.FolderNotFoundError, match="expected a model of SpikeInterface"):
        sic.label_by_spikeinterface_model(analyzer, tmp_path / "no")
    with pytest.raises(sic.ParameterError, match=r"has 0 \.skops files"):
        sic.label_by_spikeinterface_model(analyzer, tmp_path)
    bad = tmp_path / "bad.skops"
    bad.write_bytes(b"\x80\x04\x95\x00cposix\nsystem\n")
    with pytest.raises(sic.ParameterError, match=r"bad\.skops is not a model that skops can load"):
        sic.label_by_spikeinterface_model(analyzer, bad)
    skops.io.dump(make_pipeline(Unknown()), bad)
    with pytest.raises(sic.ParameterError, match="types that skops does not trust"):
        sic.label_by_spikeinterface_model(analyzer, bad)
    with pytest.raises(sic.ParameterError, match="expected a fitted pipeline"):
        sic.label_by_spikeinterface_model(analyzer, RandomForestClassifier())
    with pytest.raises(sic.ParameterError, match="labels say nothing of the classes 1"):
        sic.label_by_spikeinterface_model(analyzer, model, labels={0: "noise"})
    with pytest.raises(sic.ParameterError, match="min_probability is 2"):
        sic.label_by_spikeinterface_model(analyzer, model, min_probability=2)
    assert set(sic.label_by_spikeinterface_model(analyzer, model).labels) <= {"0", "1"}


class Unknown(RandomForestClassifier):
    """A type that skops does not know."""
