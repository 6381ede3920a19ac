"""What all suggestions have in common."""

import json

import numpy as np
import pytest

import si_curation as sic
from si_curation.evidence.suggestions import Suggestions
from si_curation.shown import ROWS_SHOWN

SUGGEST = {
    "merges": sic.suggest_merges,
    "splits": sic.suggest_splits,
    "cleaning": sic.suggest_cleaning,
    "duplicates": sic.find_duplicate_units,
    "plan": sic.plan_curation,
}


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


@pytest.mark.parametrize("name", SUGGEST)
def test_they_are_shown_and_written_alike(analyzer, tmp_path, name):
    found = SUGGEST[name](analyzer)
    assert isinstance(found, Suggestions)
    assert len(repr(found)) < 120
    assert "\n" not in repr(found)
    page = found._repr_html_()
    assert page.startswith(f"<p>{found!r}</p>")
    assert page.count("<tr") == min(len(found.table), ROWS_SHOWN) + bool(len(found.table))
    shown = list(found.shown)
    assert [name for name in found.main_columns if name != "probability"] == shown
    assert set(shown) <= set(found.table)
    path = found.to_curation_json(tmp_path / "curation.json")
    content = json.loads(path.read_text())
    model = json.loads(found.to_curation_model().model_dump_json())
    labels = {key: content[key] for key in ("label_definitions", "manual_labels")}
    assert content == {**model, **labels, "labels_decided": False}
    assert labels["label_definitions"]["quality"]["label_options"] == ["good", "noise", "MUA"]
    known = {8: "noise", 10: "MUA", 13: "good"}
    shown = [{"unit_id": i, "labels": {"quality": [one]}} for i, one in known.items()]
    assert labels["manual_labels"] == shown
    assert content["format_version"] == "2"
    assert content["unit_ids"] == analyzer.unit_ids.tolist()
    with pytest.raises(sic.OutputExistsError):
        found.to_curation_json(path)
    assert found.to_curation_json(path, overwrite=True) == path
    empty = SUGGEST[name](analyzer, unit_ids=[])
    assert empty._repr_html_() == f"<p>{empty!r}</p>"
    assert len(empty.shown) == 0


def test_many_rows_are_said_and_texts_escaped(analyzer):
    found = sic.suggest_merges(analyzer, min_similarity=-1, max_distance_um=np.inf)
    assert len(found.table) > ROWS_SHOWN
    page = found._repr_html_()
    assert f"The first {ROWS_SHOWN} of {len(found.table)} rows" in page
    found.table["reason"] = "<b>&"
    assert "<td>&lt;b&gt;&amp;</td>" in found._repr_html_()


def test_a_calibration_is_shown_beside_the_score(analyzer):
    scores = np.linspace(0.02, 0.98, 90)
    known = sic.Calibration.fit(scores, scores > 0.3, np.tile(["a", "b", "c"], 30), kind="splits")
    found = sic.suggest_splits(analyzer, calibration=known)
    assert list(found.shown)[:4] == ["unit_id", "score", "probability", "probability_low"]
    plan = sic.plan_curation(analyzer, calibrations={"splits": known})
    assert "probability" in plan.shown
    assert "probability" not in sic.plan_curation(analyzer).shown
