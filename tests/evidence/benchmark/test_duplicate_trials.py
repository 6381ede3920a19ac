"""`find_duplicate_units` tried on units whose spikes are there twice."""

from __future__ import annotations

import numpy as np
import pytest
from spikeinterface.core import create_sorting_analyzer, generate_ground_truth_recording

import si_curation as sic
from si_curation.evidence.benchmark.copies import repeat_units
from si_curation.evidence.benchmark.duplicate_trials import TWICE, try_duplicates
from si_curation.evidence.benchmark.setting import Setting


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


def test_most_spikes_are_there_twice(analyzer):
    before = analyzer.sorting.to_spike_vector()
    copy = repeat_units(analyzer, np.array([0, 2]), np.random.default_rng(1))
    assert copy.origins == {14: 4, 15: 8}
    spikes = copy.analyzer.sorting.to_spike_vector()
    key = spikes["segment_index"] * (1 << 40) + spikes["sample_index"]
    assert (np.diff(key) >= 0).all()
    assert copy.analyzer.unit_ids.tolist() == [*analyzer.unit_ids.tolist(), 14, 15]
    for new, origin in copy.origins.items():
        again = spikes["sample_index"][
            spikes["unit_index"] == copy.analyzer.sorting.id_to_index(new)
        ]
        own = before["sample_index"][before["unit_index"] == analyzer.sorting.id_to_index(origin)]
        assert 0.5 * own.size < again.size <= own.size
        nearest = np.abs(again[:, None] - own[None]).min(axis=1)
        assert nearest.max() <= 5
    kept = spikes[spikes["unit_index"] < len(analyzer.unit_ids)]
    np.testing.assert_array_equal(kept["sample_index"], before["sample_index"])


def test_all_are_found_and_no_others(analyzer):
    trials = try_duplicates(Setting(analyzer, np.arange(4), 0))
    assert trials.made[TWICE] == trials.found[TWICE] == 4
    assert all(one["is_right"] for one in trials.outcomes)
    assert trials.num_unknown == 0


def test_units_of_text_ids():
    recording, sorting = generate_ground_truth_recording([5.0], num_channels=4, num_units=3, seed=0)
    renamed = sorting.rename_units(["a", "b", "c"])
    made = create_sorting_analyzer(renamed, recording, sparse=False)
    copy = repeat_units(made, np.array([1]), np.random.default_rng(0))
    assert copy.origins == {"repeated 0": "b"}
    assert copy.analyzer.unit_ids.tolist() == ["a", "b", "c", "repeated 0"]
