"""`Calibration`: probabilities of suggestions, where they are known and only there."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

import si_curation as sic
from si_curation.evidence.calibration import COLUMNS, HIGHEST, LOWEST
from si_curation.evidence.split_features import UnitFeatureReader

NAMES = np.repeat(["a", "b", "c", "d"], 50)


def drawn(seed=0, num=200, slope=1.0, intercept=0.0):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(size=num)
    odds = intercept + slope * special.logit(np.clip(scores, LOWEST, HIGHEST))
    return scores, rng.uniform(size=num) < special.expit(odds)


def test_the_parameters_are_those_of_the_largest_likelihood():
    scores, outcomes = drawn()
    found = sic.Calibration.fit(scores, outcomes, NAMES)
    target = np.where(outcomes, (outcomes.sum() + 1) / (outcomes.sum() + 2), 0)
    target = np.where(outcomes, target, 1 / ((~outcomes).sum() + 2))
    x = special.logit(np.clip(scores, LOWEST, HIGHEST))

    def loss(at):
        eta = at[0] + at[1] * x
        return np.sum(np.logaddexp(0, eta) - target * eta)

    expected = optimize.minimize(loss, [0.0, 1.0], tol=1e-12).x
    np.testing.assert_allclose([found.intercept, found.slope], expected, atol=1e-4)


@pytest.mark.slow
def test_probabilities_of_many_suggestions_are_the_true_ones():
    scores, outcomes = drawn(1, 20_000, 0.7, 0.5)
    found = sic.Calibration.fit(scores, outcomes, np.arange(20_000) % 20)
    at = np.array([0.1, 0.3, 0.5, 0.9])
    table = found.predict(at)
    assert table.columns.tolist() == list(COLUMNS)
    expected = special.expit(0.5 + 0.7 * special.logit(at))
    np.testing.assert_allclose(table.probability, expected, atol=0.03)
    assert (table.probability_low < expected).all()
    assert (table.probability_high > expected).all()


def test_intervals_hold_the_true_probability_in_most_draws():
    held = []
    for seed in range(100):
        scores, outcomes = drawn(seed, 200, 1.0, 1.0)
        table = sic.Calibration.fit(scores, outcomes, np.arange(200) % 8).predict([0.3, 0.7])
        true = special.expit(1.0 + special.logit([0.3, 0.7]))
        held += ((table.probability_low < true) & (true < table.probability_high)).tolist()
    assert np.mean(held) >= 0.9


def test_folders_that_differ_make_the_interval_wide():
    scores = np.tile(np.linspace(0.3, 0.9, 50), 4)
    even = np.tile(np.arange(50) % 2 == 0, 4)
    by_folder = np.repeat([True, False, True, False], 50)
    narrow = sic.Calibration.fit(scores, even, NAMES).predict(0.6)
    wide = sic.Calibration.fit(scores, by_folder, NAMES).predict(0.6)
    assert abs(narrow.probability[0] - wide.probability[0]) < 0.02
    width = [t.probability_high[0] - t.probability_low[0] for t in (narrow, wide)]
    assert width[1] > 2 * width[0]


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**31),
    st.integers(30, 120),
    st.sampled_from(["all right", "none right", "one score", "separated", "reversed", "random"]),
)
def test_probabilities_never_fall_with_the_score(seed, num, how):
    rng = np.random.default_rng(seed)
    scores = np.full(num, 0.7) if how == "one score" else rng.uniform(size=num)
    outcomes = {
        "all right": np.ones(num, bool),
        "none right": np.zeros(num, bool),
        "separated": scores > 0.5,
        "reversed": scores < 0.5,
    }.get(how, rng.uniform(size=num) < 0.8)
    found = sic.Calibration.fit(
        scores, outcomes, rng.integers(0, 3, num) if num > 60 else np.arange(num) % 3
    )
    table = found.predict(np.linspace(0, 1, 101)).dropna()
    assert (np.diff(table.probability) >= -1e-12).all()
    assert ((table > 0) & (table < 1)).all(axis=None)
    assert (table.probability_low <= table.probability).all()
    assert (table.probability_high >= table.probability).all()


def test_nothing_is_told_outside_of_the_scores_it_was_made_from():
    scores = np.linspace(0.5, 0.8, 200)
    found = sic.Calibration.fit(scores, scores > 0.6, NAMES)
    known = found.predict([0.4, 0.5, 0.51, 0.7, 0.8, 0.9, 1.0, np.nan]).notna()
    # the lowest has four suggestions below it
    assert known.probability.tolist() == [False, False, True, True, True, False, False, False]
    assert known.probability_low.tolist() == known.probability.tolist()


def test_scores_of_one_are_known_where_some_are_nearly_one():
    scores = np.linspace(0.5, 0.995, 200)
    found = sic.Calibration.fit(scores, np.ones(200, bool), NAMES)
    table = found.predict([0.99, 1.0])
    assert table.probability[0] == table.probability[1] > 0.98
    # 200 of 200 right, of four folders only
    assert 0.85 < table.probability_low[0] < 0.99


def test_too_few_suggestions_or_folders_are_one_error():
    with pytest.raises(sic.MissingDataError, match=r"20 suggestions of 4 folders.* at least 30 of"):
        sic.Calibration.fit(np.full(20, 0.5), np.ones(20, bool), np.arange(20) % 4)
    with pytest.raises(sic.MissingDataError, match="200 suggestions of 2 folders"):
        sic.Calibration.fit(np.full(200, 0.5), np.ones(200, bool), np.arange(200) % 2)
    with pytest.raises(sic.MissingDataError, match="0 suggestions of 0 folders"):
        sic.Calibration.fit([], [], [])


@pytest.mark.parametrize(
    ("scores", "outcomes", "groups", "message"),
    [
        ([0.5] * 40, [True] * 39, ["a"] * 40, "40, 39 and 40 values"),
        ([1.5] * 40, [True] * 40, ["a"] * 40, "no numbers from 0 to 1"),
        ([np.nan] * 40, [2] * 40, ["a"] * 40, "no numbers.*other values than True and False"),
        (["a"] * 40, [True] * 40, ["a"] * 40, "no numbers from 0 to 1"),
        ("half", [True] * 40, "a", "scores is 'half'.*groups is 'a'"),
    ],
)
def test_wrong_arguments(scores, outcomes, groups, message):
    with pytest.raises(sic.ParameterError, match=message):
        sic.Calibration.fit(scores, outcomes, groups)


def test_json_and_back(tmp_path):
    found = sic.Calibration.fit(*drawn(), NAMES, kind="splits")
    path = found.to_json(tmp_path / "splits.json")
    assert sic.Calibration.from_json(path) == found
    with pytest.raises(sic.OutputExistsError):
        found.to_json(path)
    assert found.to_json(path, overwrite=True) == path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: [], "is no calibration"),
        (lambda d: {"merges": []}, "is no calibration"),
        (lambda d: d | {"format_version": 2}, "format_version is 2, expected 1"),
        (lambda d: d | {"slope": -1.0, "kind": 3}, "kind is missing.*slope is -1.0"),
        (lambda d: d | {"slope": 1e400}, "slope is inf"),
        (lambda d: d | {"variances": [1, 2]}, "variances is wrong"),
        (lambda d: d | {"variances": [-1, 2, 0]}, "variances is wrong"),
        (lambda d: d | {"lowest_score": 0.9, "highest_score": 0.2}, "lowest_score is 0.9"),
        (lambda d: {k: v for k, v in d.items() if k != "num_groups"}, "num_groups is None"),
        (lambda d: d | {"num_right": 10**6}, "num_right is 1000000"),
    ],
)
def test_damaged_files_are_one_error(tmp_path, change, message):
    path = sic.Calibration.fit(*drawn(), NAMES).to_json(tmp_path / "c.json")
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(sic.ParameterError, match=message):
        sic.Calibration.from_json(path)


def test_files_that_are_not_there_or_no_json(tmp_path):
    with pytest.raises(sic.FolderNotFoundError, match="expected a calibration"):
        sic.Calibration.from_json(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(sic.ParameterError, match="cannot be read"):
        sic.Calibration.from_json(tmp_path / "text.json")


def test_reviews_shift_a_calibration_as_much_as_there_are():
    scores, outcomes = drawn()
    before = sic.Calibration.fit(scores, outcomes, NAMES)
    at = [0.3, 0.6]
    shifted = [before.predict(at)]
    for num in (5, 50, 5000):
        accepted = np.random.default_rng(num).uniform(size=num) < special.expit(2.0)
        shifted.append(before.updated(np.full(num, 0.5), accepted).predict(at))
    rising = np.array([table.probability for table in shifted])
    assert (np.diff(rising, axis=0) > 0).all()
    # score 0.5 has the logit 0: with very many, its probability is the share that was accepted
    many = before.updated(np.full(5000, 0.5), np.arange(5000) % 10 > 0)
    assert many.predict(0.5).probability[0] == pytest.approx(0.9, abs=0.005)
    assert many.num_suggestions == before.num_suggestions + 5000
    assert many.num_groups == before.num_groups


def test_reviews_of_scores_that_are_not_calibrated_do_not_count():
    scores = np.linspace(0.5, 0.8, 200)
    before = sic.Calibration.fit(scores, scores > 0.6, NAMES)
    assert before.updated([0.1, 0.95], [True, False]) == before
    assert before.updated([], []) == before
    with pytest.raises(sic.ParameterError, match="1 and 2 values"):
        before.updated([0.6], [True, False])


def test_columns_are_added_after_the_score(tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    table = sic.suggest_merges(analyzer, min_similarity=0).table
    found = sic.Calibration.fit(*drawn(), NAMES)
    added = found.add_to(table)
    place = added.columns.get_loc("score")
    assert added.columns.tolist()[place + 1 : place + 4] == list(COLUMNS)
    assert added.drop(columns=list(COLUMNS)).equals(table)
    assert found.add_to(added).equals(added)
    assert found.add_to(table.iloc[:0]).columns.tolist() == added.columns.tolist()
    with pytest.raises(sic.ParameterError, match="no column score"):
        found.add_to(table[["similarity"]])


def test_suggested_merges_have_probabilities_where_asked(tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    plain = sic.suggest_merges(analyzer, min_similarity=0)
    found = sic.Calibration.fit(*drawn(), NAMES)
    table = sic.suggest_merges(analyzer, min_similarity=0, calibration=found).table
    assert table.equals(found.add_to(plain.table))
    path = found.to_json(tmp_path / "merges.json")
    again = sic.suggest_merges(analyzer, min_similarity=0, calibration=path)
    assert again.table.equals(table)
    assert again.groups() == plain.groups()
    other = sic.Calibration.fit(*drawn(), NAMES, kind="splits")
    with pytest.raises(sic.ParameterError, match="one of splits, expected one of merges"):
        sic.suggest_merges(analyzer, calibration=other)
    with pytest.raises(sic.ParameterError, match="calibration is 3"):
        sic.suggest_merges(analyzer, calibration=3)


@pytest.mark.slow
def test_other_suggestions_have_probabilities_only_where_they_are_calibrated(tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    calls = {
        "splits": sic.suggest_splits,
        "cleaning": sic.suggest_cleaning,
        "duplicates": lambda a, **o: sic.find_duplicate_units(a, min_share=1e-3, **o),
    }
    for kind, suggest in calls.items():
        found = sic.Calibration.fit(*drawn(), NAMES, kind=kind)
        plain, table = suggest(analyzer).table, suggest(analyzer, calibration=found).table
        assert table.drop(columns=list(COLUMNS)).equals(plain)
        score = "share" if kind == "duplicates" else "score"
        place = table.columns.get_loc(score)
        assert table.columns.tolist()[place + 1 : place + 4] == list(COLUMNS)
        expected = found.predict(plain[score])["probability"].to_numpy().copy()
        if kind == "splits":  # scores of templates are of another kind
            assert set(plain["method"]) == {"features", "templates"}
            expected[plain["method"] != "features"] = np.nan
        assert np.isfinite(expected).any() or kind == "duplicates"
        np.testing.assert_array_equal(table["probability"], expected)
        path = found.to_json(tmp_path / f"{kind}.json")
        assert suggest(analyzer, calibration=str(path)).table.equals(table)
    with pytest.raises(sic.ParameterError, match=r"splits\.json is one of splits, expected one of"):
        sic.suggest_cleaning(analyzer, calibration=tmp_path / "splits.json")
    with pytest.raises(sic.FolderNotFoundError, match=r"no\.json"):
        sic.find_duplicate_units(analyzer, calibration=tmp_path / "no.json")


def test_splits_without_the_basis_of_the_features_have_no_probability(monkeypatch):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    of = UnitFeatureReader.of
    monkeypatch.setattr(
        UnitFeatureReader, "of", classmethod(lambda cls, a: dataclasses.replace(of(a), basis=None))
    )
    found = sic.Calibration.fit(*drawn(), NAMES, kind="splits")
    table = sic.suggest_splits(analyzer, calibration=found).table
    assert "features" in set(table["method"])
    assert table["probability"].isna().all()
