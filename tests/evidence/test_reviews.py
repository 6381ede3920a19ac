"""`outcomes_of_reviews`: what was accepted, what was rejected, and what nobody knows."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from si_curation.evidence.merges import MergeSuggestions

PAIRS = [(4, 7), (4, 8), (8, 9), (11, 12), (9, 10)]


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


def suggestions_of(unit_ids, pairs=PAIRS):
    """Suggestions of given pairs with falling scores."""
    table = pd.DataFrame(
        {
            "unit_id_a": [a for a, _ in pairs],
            "unit_id_b": [b for _, b in pairs],
            "score": np.linspace(0.9, 0.4, len(pairs)),
        }
    )
    return MergeSuggestions(table, np.asarray(unit_ids), 0.55)


def decided(table, suggestions):
    """{pair: whether it was accepted}, found again by the scores."""
    score_of = suggestions.table.set_index("score")[["unit_id_a", "unit_id_b"]]
    return {
        tuple(score_of.loc[row.score]): bool(row.is_right) for row in table.itertuples(index=False)
    }


def key(ids):
    return "merge:" + hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()[:16]


def write(folder, proposals, reviews):
    folder.mkdir(exist_ok=True)
    curation = {"format_version": "2", "merges": [{"unit_ids": ids} for ids in proposals]}
    (folder / "curation.json").write_text(json.dumps(curation))
    content = {"format_version": "1", "source": {}, "reviews": reviews}
    (folder / "curation_review.json").write_text(json.dumps(content))
    return folder


def test_sessions(analyzer):
    session = sic.CurationSession(analyzer)
    ids = list(analyzer.unit_ids)
    assert {4, 7, 8, 9, 10, 11, 12} <= set(ids)
    session.merge([11, 12])
    session.label([8, 9], "good")
    session.label([4], "noise")
    session.label([7], "good")
    suggestions = suggestions_of(analyzer.unit_ids)
    table = sic.outcomes_of_reviews(session, suggestions)
    assert decided(table, suggestions) == {
        (11, 12): True,
        (8, 9): False,
        (9, 10): False,  # 10 was labelled in phy
    }
    assert table["change"].unique().tolist() == ["review"]
    assert table["is_suggested"].dtype == bool


def test_what_was_undone_split_or_removed_is_not_known(analyzer):
    suggestions = suggestions_of(analyzer.unit_ids)
    session = sic.CurationSession(analyzer)
    session.merge([11, 12])
    session.undo()
    session.label([4, 7], "good")
    session.remove([7])
    parts = np.arange(session.get_spikes(8).size) % 2
    session.label(session.split(8, parts), "good")
    session.label([9], "noise")
    assert decided(sic.outcomes_of_reviews(session, suggestions), suggestions) == {}


def test_a_journal_is_resumed(analyzer, tmp_path):
    suggestions = sic.suggest_merges(analyzer)
    with sic.CurationSession(analyzer, journal=tmp_path / "journal.jsonl") as session:
        session.merge([11, 12])
    with sic.CurationSession.resume(analyzer, tmp_path / "journal.jsonl") as again:
        table = sic.outcomes_of_reviews(again, suggestions)
    assert table["is_right"].tolist() == [True]


def test_a_session_of_other_units(analyzer):
    with pytest.raises(sic.ParameterError, match="of other units"):
        sic.outcomes_of_reviews(sic.CurationSession(analyzer), suggestions_of([1, 2], [(1, 2)]))


def test_phy(analyzer, tmp_path):
    suggestions = suggestions_of(analyzer.unit_ids)
    folder = write(
        tmp_path / "phy",
        [[4, 7], [8, 4], [9, 8, 10], [11, 12], [7], 3],  # the last two are invalid
        {
            key([4, 7]): {"decision": "rejected"},
            key([8, 4]): {"decision": "accepted", "applied_unit_ids": [8, 4], "result_unit_id": 20},
            # one of three was left out
            key([9, 8, 10]): {"decision": "accepted", "applied_unit_ids": [8, 9]},
            key([1, 2]): {"decision": "accepted"},  # of proposals that were replaced
        },
    )
    found = decided(sic.outcomes_of_reviews(folder, suggestions), suggestions)
    assert found == {(4, 7): False, (4, 8): True, (8, 9): True, (9, 10): False}


def test_a_rejected_group_tells_nothing(analyzer, tmp_path):
    folder = write(tmp_path / "phy", [[8, 9, 10]], {key([8, 9, 10]): {"decision": "rejected"}})
    table = sic.outcomes_of_reviews(folder, suggestions_of(analyzer.unit_ids))
    assert len(table) == 0
    assert table["is_right"].dtype == bool


def test_they_calibrate(analyzer, tmp_path):
    rng = np.random.default_rng(0)
    score = rng.uniform(0.1, 1, 120)
    table = pd.DataFrame({"suggestion": "merges", "score": score, "is_right": score > 0.5})
    tables = {name: table.iloc[n::3] for n, name in enumerate("abc")}
    session = sic.CurationSession(analyzer)
    session.merge([11, 12])
    reviews = {"example": sic.outcomes_of_reviews(session, sic.suggest_merges(analyzer))}
    found = sic.calibrate_suggestions(tables, reviews=reviews)
    assert found.num_suggestions == 121


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("curation.json", "[]", "has no list of merges"),
        ("curation.json", '{"merges": 3}', "has no list of merges"),
        ("curation_review.json", "{}", "has no reviews"),
        ("curation_review.json", '{"reviews": {"a": 1}}', "the review 'a' is 1"),
        ("curation_review.json", '{"reviews": {"merge:0123456789abcdef": {"decision": 1}}}', "rev"),
        (
            "curation_review.json",
            '{"reviews": {"merge:0123456789abcdef": {"decision": "accepted", '
            '"applied_unit_ids": ["a"]}}}',
            "applied_unit_ids of merge:0123456789abcdef",
        ),
    ],
)
def test_damaged_files_are_one_error(analyzer, tmp_path, name, content, message):
    folder = write(tmp_path / "phy", [[8, 9]], {})
    (folder / name).write_text(content)
    with pytest.raises(sic.ParameterError, match=message):
        sic.outcomes_of_reviews(folder, suggestions_of(analyzer.unit_ids))


def test_files_that_are_not_there(analyzer, tmp_path):
    suggestions = suggestions_of(analyzer.unit_ids)
    with pytest.raises(sic.FolderNotFoundError, match="expected a folder of phy"):
        sic.outcomes_of_reviews(tmp_path / "none", suggestions)
    with pytest.raises(sic.FolderNotFoundError, match="expected proposals of merges"):
        sic.outcomes_of_reviews(tmp_path, suggestions)
    with pytest.raises(sic.ParameterError, match="suggestions is 3"):
        sic.outcomes_of_reviews(tmp_path, 3)
