import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles import resorted_spikes as oracle
from si_curation.kernels import resorted_spikes as module
from si_curation.kernels.resorted_spikes import (
    find_lag,
    match_resorted_spikes,
    overlaps_of_units,
)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 4), st.integers(0, 10**6))
def test_partners_are_the_best_of_each_other(size, new_size, window, seed):
    rng = np.random.default_rng(seed)
    samples, new_samples = (np.sort(rng.integers(-5, 60, n)) for n in (size, new_size))
    units, new_units = (rng.integers(0, 3, n).astype(np.int32) for n in (size, new_size))
    found = match_resorted_spikes(
        samples, units, 3, new_samples, new_units, 3, window=window, reach=0
    )
    moved = new_samples - found.lag
    overlap = overlaps_of_units(samples, units, 3, moved, new_units, 3, window)
    expected = oracle.partners_of(samples, units, moved, new_units, overlap, window)
    assert found.partner.tolist() == expected


def test_units_that_coincide_by_chance_do_not_overlap():
    rng = np.random.default_rng(0)
    samples, new_samples = (np.sort(rng.integers(0, 300_000, 20_000)) for _ in range(2))
    units, new_units = (rng.integers(0, 4, 20_000).astype(np.int32) for _ in range(2))
    overlap = overlaps_of_units(samples, units, 4, new_samples, new_units, 4, 6)
    assert not overlap.any()
    same = overlaps_of_units(samples, units, 4, samples, units, 4, 6)
    assert np.all(np.diag(same) > 0.5)
    assert np.count_nonzero(same) == 4


@pytest.mark.parametrize("lag", [-29, -3, 0, 8, 30])
def test_lags_are_found_among_many_spikes_by_chance(lag):
    rng = np.random.default_rng(1)
    samples = np.sort(rng.integers(0, 3_000_000, 100_000))
    moved = np.sort(samples + lag + rng.integers(-3, 4, samples.size))
    assert abs(find_lag(samples, moved, 30, 6) - lag) <= 1
    assert find_lag(samples, np.sort(rng.integers(0, 3_000_000, 100_000)), 30, 6) == 0


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    samples = np.sort(rng.integers(0, 20_000, 2000))
    units = rng.integers(0, 5, 2000).astype(np.int32)
    arguments = (samples, units, 5, samples[::2] + 1, units[::2], 5)
    whole = match_resorted_spikes(*arguments, window=3, reach=5)
    monkeypatch.setattr(module, "_SPIKES_PER_BLOCK", 97)
    pieces = match_resorted_spikes(*arguments, window=3, reach=5)
    assert np.array_equal(whole.partner, pieces.partner)
    assert whole.lag == pieces.lag == 1
