"""`suggest_cleaning` tried on units that got spikes of a neighbour."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from si_curation.evidence.benchmark import cleaning_trials
from si_curation.evidence.benchmark.cleaning_trials import FOREIGN, FOREIGN_SHARE, try_cleaning
from si_curation.evidence.benchmark.copies import add_foreign_spikes
from si_curation.evidence.benchmark.setting import Setting
from si_curation.variables import Explanation


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


def test_spikes_of_a_neighbour_are_added(analyzer):
    index_of = {unit_id: i for i, unit_id in enumerate(analyzer.unit_ids.tolist())}
    pair = (index_of[4], index_of[9])
    before = analyzer.sorting.to_spike_vector()["unit_index"].copy()
    copy = add_foreign_spikes(analyzer, [pair], 0.1, "added", np.random.default_rng(0))
    ((new, origin),) = copy.origins.items()
    assert origin == 4
    assert copy.changes == {4: "added", 9: "added"}
    after = copy.analyzer.sorting.to_spike_vector()["unit_index"]
    sources = before[after == copy.analyzer.sorting.id_to_index(new)]
    own = np.count_nonzero(before == pair[0])
    assert np.count_nonzero(sources == pair[0]) == own
    assert np.count_nonzero(sources == pair[1]) == round(0.1 * own)
    np.testing.assert_array_equal(analyzer.sorting.to_spike_vector()["unit_index"], before)


@pytest.mark.parametrize(("share_foreign", "expected"), [(1.0, True), (0.6, True), (0.4, False)])
def test_right_is_what_takes_out_foreign_spikes(analyzer, monkeypatch, share_foreign, expected):
    index_of = {unit_id: i for i, unit_id in enumerate(analyzer.unit_ids.tolist())}
    pair = (index_of[4], index_of[9])
    before = analyzer.sorting.to_spike_vector()["unit_index"]
    setting = Setting(analyzer, np.array(pair), 0)
    monkeypatch.setattr(Setting, "pairs_of_neighbours", lambda self: [pair])

    class Answer:
        score_threshold = 0.5
        # there can be several: a cluster, and what else is foreign
        explanations = ([Explanation("cleaning_none"), Explanation("cleaning_none")],)

        def __init__(self, copy, unit_ids):
            (self.unit,) = unit_ids
            after = copy.sorting.to_spike_vector()["unit_index"]
            source = before[after == copy.sorting.id_to_index(self.unit)]
            self.is_foreign = source == pair[1]
            self.table = pd.DataFrame({"unit_id": unit_ids, "score": [0.8]})

        def foreign_spikes(self, unit_id, only_sure):
            assert only_sure
            out = np.zeros(self.is_foreign.size, dtype=bool)
            out[np.flatnonzero(self.is_foreign)[: round(20 * share_foreign)]] = True
            out[np.flatnonzero(~self.is_foreign)[: round(20 * (1 - share_foreign))]] = True
            return out

    monkeypatch.setattr(
        cleaning_trials, "suggest_cleaning", lambda copy, unit_ids: Answer(copy, unit_ids)
    )
    trials = try_cleaning(setting)
    assert trials.made[FOREIGN] == 1
    assert trials.found[FOREIGN] == int(expected)
    assert [one["is_right"] for one in trials.outcomes] == [expected]
    assert 0 < FOREIGN_SHARE < 0.15  # else a unit is to be split first


@pytest.mark.slow
def test_without_features_it_is_said(simulate):
    folder = simulate("kilosort4", num_spikes=6_000, write_features=False).folder
    found = sic.benchmark_suggestions(sic.read_kilosort_as_analyzer(folder))
    assert found.by_change.loc[("cleaning", FOREIGN), "num_found"] == 0
