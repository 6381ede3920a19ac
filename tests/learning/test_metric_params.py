"""Parameters of the metrics of a table: named, complete, and the same for the analyzer."""

import numpy as np
import pandas as pd
import pytest

import si_curation as sic


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


def table():
    rng = np.random.default_rng(0)
    rows = {"firing_rate": rng.uniform(0, 30, 60), "isi_violations_ratio": rng.uniform(size=60)}
    labels = np.where(rows["firing_rate"] > 15, "good", "mua")
    return pd.DataFrame(rows | {"group": labels}).assign(
        session=np.arange(60) % 2, own=rng.normal(size=60)
    )


def learnt(given, columns=("firing_rate", "isi_violations_ratio")):
    return sic.learn_labels(table(), columns=columns, metric_params=given)


def test_ways_to_say_them_are_the_same(analyzer):
    default = learnt("default")
    assert default.metric_params["isi_violation"]["isi_threshold_ms"] == 1.5
    assert set(default.metric_params) == {"firing_rate", "isi_violation"}
    written = learnt({"firing_rate": {}, "isi_violation": {"isi_threshold_ms": 1.5}})
    assert written.metric_params == default.metric_params
    other = {"isi_violation": {"isi_threshold_ms": 2.0}}
    with pytest.raises(sic.MissingDataError, match="without curation_metrics of firing_rate, isi"):
        learnt(analyzer)
    names = ["firing_rate", "isi_violation"]
    computed = analyzer.copy()
    computed.compute("curation_metrics", metric_names=names, metric_params=other)
    model = learnt(computed)
    assert model.metric_params["isi_violation"]["isi_threshold_ms"] == 2.0
    model.label(computed)
    with pytest.raises(sic.ParameterError, match=r"isi_threshold_ms is 2\.0 in place of 1\.5"):
        default.label(computed)
    model.label(analyzer)  # computed with the parameters of the model


def test_what_is_not_known_is_named(analyzer):
    for given, message in [
        ({"firing_rate": {}}, "metric_params say nothing of isi_violation, whose columns"),
        ({"firing_rat": {}}, "there is no metric 'firing_rat'"),
        ({"isi_violation": {"window": 3}}, "isi_violation has no parameter 'window'"),
        ("defaults", "metric_params is 'defaults', expected"),
        ({"firing_rate": 3}, "expected a dict of each metric"),
    ]:
        with pytest.raises(sic.ParameterError, match=message):
            learnt(given)
    assert set(learnt({"firing_rate": {}}, columns=["firing_rate", "own"]).metric_params) == {
        "firing_rate"
    }
    with pytest.raises(sic.ParameterError, match=r'learn with metric_params= .*"default"'):
        learnt(None).label(analyzer)
    with pytest.raises(sic.MissingDataError, match=r"\['own'\] are not there"):
        learnt("default", columns=["firing_rate", "own"]).label(analyzer)
    with pytest.raises(sic.ParameterError, match="expected with a table of metrics only"):
        sic.learn_labels([sic.example_folder()] * 2, metric_params="default")
