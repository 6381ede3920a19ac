"""`suggest_splits` tried on merged neighbours: right where the two are separated again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from si_curation.evidence.benchmark import split_trials
from si_curation.evidence.benchmark.copies import merge_units
from si_curation.evidence.benchmark.setting import Setting, Trials


class Answer:
    """What stands in for `SplitSuggestions`."""

    score_threshold = 0.5

    def __init__(self, labels, scores):
        self._labels = labels
        self.table = pd.DataFrame({"unit_id": list(labels), "score": scores})

    def labels(self, unit_id):
        return self._labels[unit_id]


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


@pytest.mark.parametrize(
    ("wrong", "score", "expected"),
    [(0.0, 0.9, True), (0.1, 0.9, True), (0.5, 0.9, False), (0.0, 0.4, True)],
)
def test_a_split_is_right_where_it_separates_the_two(analyzer, monkeypatch, wrong, score, expected):
    pairs = [(0, 1)]
    copy = merge_units(analyzer, pairs)
    (merged,) = copy.origins
    source = np.asarray(analyzer.sorting.to_spike_vector()["unit_index"])
    source = source[np.isin(source, (0, 1))]
    rng = np.random.default_rng(0)
    labels = np.where(rng.uniform(size=source.size) < wrong, 1 - source, source)
    monkeypatch.setattr(
        split_trials, "suggest_splits", lambda *_, **__: Answer({merged: labels}, [score])
    )
    trials = Trials()
    split_trials._judge_changed(analyzer, copy, split_trials.MERGED, trials)
    (outcome,) = trials.outcomes
    assert outcome["is_right"] == expected
    assert outcome["is_suggested"] == (score >= 0.5)
    assert trials.made[split_trials.MERGED] == 1
    assert trials.found[split_trials.MERGED] == int(expected and score >= 0.5)


def test_splits_of_parts_are_wrong_unless_the_whole_is_suspect(analyzer, monkeypatch):
    setting = Setting(analyzer, np.arange(2), 0)
    copy = split_trials.cut_units(
        setting.analyzer, setting.good, ["in time"] * 2, np.random.default_rng(0)
    )
    parts = list(copy.origins)
    answer = Answer(dict.fromkeys(parts), np.linspace(0.9, 0.2, len(parts)))
    monkeypatch.setattr(split_trials, "suggest_splits", lambda *_, **__: answer)
    trials = Trials()
    suspect = {copy.origins[parts[0]]}
    split_trials._judge_pure(copy, suspect, trials)
    assert trials.num_unknown >= 1
    assert not any(one["is_right"] for one in trials.outcomes)
    assert all(one["about"] not in suspect for one in trials.outcomes)


@pytest.mark.slow
def test_merged_neighbours_of_a_recording_with_truth_are_found(shared_data):
    analyzer = sic.read_kilosort_as_analyzer(shared_data / "ks4_truth" / "static" / "ks")
    found = sic.benchmark_suggestions(analyzer)
    table = found.by_change.loc["splits"]
    assert table.index.tolist() == ["neighbours merged", "a part of a neighbour merged"]
    assert table.loc["neighbours merged", "num_changes"] >= 4
    assert table.loc["neighbours merged", "recall_upper_bound"] >= 0.7
    assert found.loc["splits", "precision"] >= 0.8
