"""What is taken over of the spikes of units before a change is what would be made anew."""

from __future__ import annotations

import numpy as np
import pytest

import si_curation as sic
from si_curation.cli.report import CHEAP_EXTENSIONS
from si_curation.evidence.benchmark.copies import cut_units, mix_units
from si_curation.evidence.unit_spikes import UnitSpikes


@pytest.fixture(scope="module")
def analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(list(CHEAP_EXTENSIONS), progress_bar=False)
    return analyzer


def cut(analyzer):
    ways = ["in time", "at random", "by amplitude"]
    return cut_units(analyzer, [0, 2, 4], ways, np.random.default_rng(0))


def mixed(analyzer):
    sizes = [own.size for own in UnitSpikes(analyzer).positions]
    largest, other = np.argsort(sizes)[::-1][:2].tolist()
    return mix_units(analyzer, [(largest, other)], ["at random"], np.random.default_rng(0))


@pytest.mark.parametrize("change", [cut, mixed])
def test_what_is_known_is_what_would_be_made(analyzer, change):
    copy = change(analyzer)
    assert copy.changes
    found, expected = UnitSpikes(copy.analyzer, UnitSpikes(analyzer)), UnitSpikes(copy.analyzer)
    units = np.arange(found.num_units)
    unit_index = copy.analyzer.sorting.to_spike_vector()["unit_index"]
    for unit in units:
        np.testing.assert_array_equal(found.positions[unit], np.flatnonzero(unit_index == unit))
        np.testing.assert_array_equal(found.trains[unit], expected.trains[unit])
        np.testing.assert_array_equal(found.time_bins[unit], expected.time_bins[unit])
    np.testing.assert_array_equal(found.counts(units), expected.counts(units))
    for name in ("profile_of_amplitudes", "profile_of_depths"):
        some = [getattr(one, name)(units) for one in (found, expected)]
        assert (some[0] is None) == (some[1] is None)
        if some[0] is not None:
            np.testing.assert_array_equal(some[0], some[1])


def test_only_units_that_are_asked_for_have_a_profile(analyzer):
    counts = UnitSpikes(analyzer).counts(np.array([2]))
    assert counts[2].sum() == UnitSpikes(analyzer).num_spikes[2] > 0
    assert not np.delete(counts, 2, axis=0).any()
