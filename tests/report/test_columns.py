"""Columns of the table of units that come from elsewhere: labels of a model."""

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from helpers.report_page import ReportPage


@pytest.fixture(scope="module")
def model():
    rates = np.random.default_rng(0).uniform(0, 30, 60)
    table = pd.DataFrame({"firing_rate": rates, "session": np.arange(60) % 2})
    table["group"] = np.where(rates > 15, "good", "mua")
    return sic.learn_labels(table, metric_params={"firing_rate": {}})


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


def test_labels_of_a_model_and_the_order_of_work(model, analyzer, tmp_path):
    path = tmp_path / "page.html"
    some = analyzer.unit_ids[2:]
    sic.export_report(analyzer, path, label_model=model, unit_ids=some, progress_bar=False)
    page = ReportPage(path)
    expected = model.label(analyzer).table.loc[some]
    columns = {one["title"]: one for one in page.data["columns"]}
    order = columns["order_of_work"]
    assert list(order["values"]) == expected["order_of_work"].tolist()
    assert "was not shown" in order["description"]
    assert columns["learnt_label"]["values"] == expected["label"].tolist()
    assert columns["learnt_label"]["group"] == "Learnt labels"
    np.testing.assert_allclose(columns["learnt_probability"]["values"], expected["probability"])
    assert not analyzer.has_extension("curation_metrics")


def test_a_model_of_other_metrics_is_refused_before_anything_is_written(analyzer, tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"firing_rate": rng.uniform(0, 30, 60), "session": np.arange(60) % 2})
    table["group"] = np.where(table["firing_rate"] > 15, "good", "mua")
    model = sic.learn_labels(table)
    with pytest.raises(sic.ParameterError, match="parameters are not known"):
        sic.export_report(analyzer, tmp_path / "page.html", label_model=model)
    assert list(tmp_path.iterdir()) == []
