"""A session's name by content: the same for the same units, and files of others are refused."""

from __future__ import annotations

import json

import pytest

import si_curation as sic
from si_curation.curation.content import session_content


def page_file(analyzer, **own):
    """What the page saves where one unit was labelled and nothing else was done."""
    ids = analyzer.unit_ids.tolist()
    last = {
        "format_version": "2",
        "unit_ids": ids,
        "label_definitions": {
            "quality": {"label_options": ["good", "mua", "noise"], "exclusive": True},
            "note": {"label_options": ["one", "not one"], "exclusive": True},
        },
        "manual_labels": [
            {"unit_id": 13, "labels": {"quality": ["good"], "note": ["one"]}},
            {"unit_id": 10, "labels": {"quality": ["mua"]}},
            {"unit_id": 4, "labels": {"quality": ["noise"]}},
        ],
    }
    named = {"version": 1, "session": session_content(analyzer), "name": "here", **own}
    return {"curation_steps": [last], "si_curation": named}


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


def test_content_is_of_spikes_and_units_not_of_labels(analyzer):
    again = sic.read_kilosort_as_analyzer(sic.example_folder())
    again.set_sorting_property("quality", ["good"] * len(again.unit_ids))
    name = session_content(analyzer)
    assert session_content(again) == name
    session = sic.CurationSession(analyzer)
    session.merge([11, 12])
    assert session_content(session.apply()) != name
    assert session_content(analyzer.select_units(analyzer.unit_ids[:-1])) != name


def test_labels_that_units_have_are_no_steps_of_a_page(analyzer, tmp_path):
    path = tmp_path / "page.json"
    path.write_text(json.dumps(page_file(analyzer)))
    session = sic.CurationSession(analyzer)
    session.apply_spikeinterface_curation(path, decided_by="Ada")
    history = session.history
    assert history[["field", "value"]].values.tolist() == [["note", "one"], ["group", "noise"]]
    assert history["inputs"].tolist() == [[13], [4]]
    assert set(history["decided_by"]) == {"Ada"}
    # files of other programs say so with every label
    plain = sic.CurationSession(analyzer)
    plain.apply_spikeinterface_curation(page_file(analyzer)["curation_steps"][0])
    assert len(plain.history) == 4


def test_rejected_merges_are_noted(analyzer):
    session = sic.CurationSession(analyzer)
    session.apply_spikeinterface_curation(page_file(analyzer, rejected=[[11, 12]]))
    assert session.history["operation"].tolist() == ["review", "label", "label"]
    outcomes = sic.outcomes_of_reviews(session, sic.suggest_merges(analyzer))
    assert outcomes["is_right"].tolist() == [False]
    for wrong in ("all", [11, 12], [["a", "b"]], [[11]]):
        other = sic.CurationSession(analyzer)
        with pytest.raises(sic.ParameterError):
            other.apply_spikeinterface_curation(page_file(analyzer, rejected=wrong))
        assert other.history.empty


@pytest.mark.parametrize("own", [{"session": "0" * 32}, {"session": 5}, {"session": None}])
def test_another_session_is_refused(analyzer, own):
    session = sic.CurationSession(analyzer)
    with pytest.raises(sic.ParameterError, match=r"of another session: .*'here'") as fault:
        session.apply_spikeinterface_curation(page_file(analyzer, **own))
    assert session_content(analyzer)[:8] in str(fault.value)
    assert session.history.empty
    later = sic.CurationSession(analyzer)
    later.merge([11, 12])
    with pytest.raises(sic.ParameterError, match="of other units"):
        later.apply_spikeinterface_curation(page_file(analyzer))


def test_what_stands_beside_the_format_may_be_anything(analyzer):
    """Another program's key of this name is not a page's."""
    for own in ("text", None, [], {}):
        session = sic.CurationSession(analyzer)
        session.apply_spikeinterface_curation({**page_file(analyzer), "si_curation": own})
        assert session.table.loc[4, "group"] == "noise"
