"""Spikes with a partner in another unit against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles.coincidences import close_pairs, with_partner
from si_curation.kernels import coincidences
from si_curation.kernels.coincidences import (
    count_coincident_spikes,
    count_lags_between,
    count_partners,
    most_close_pairs,
    pairs_that_coincide,
    share_with_partner,
)


@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_spikes_with_a_partner(seed, window):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 60))
    segments = np.sort(rng.integers(0, 2, n))
    samples = np.concatenate([np.sort(rng.integers(0, 200, (segments == s).sum())) for s in (0, 1)])
    units = rng.integers(0, 3, n)
    pairs = np.array([[0, 1], [2, 1], [0, 2]])
    times = [samples[units == unit] + 1000 * segments[units == unit] for unit in range(3)]
    found = count_coincident_spikes(times, pairs, window)
    # of units 0, 66 and 132 of 200
    most = most_close_pairs((samples, units * 66, segments), 200, pairs * 66, window, 0.5)
    assert (found <= most[:, None]).all()

    def trains(unit):
        return [samples[(units == unit) & (segments == s)] for s in (0, 1)]

    for row, (a, b) in enumerate(pairs):
        both = list(zip(trains(a), trains(b), strict=True))
        assert found[row, 0] == sum(with_partner(s, t, window) for s, t in both)
        assert found[row, 1] == sum(with_partner(t, s, window) for s, t in both)


@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_lags_of_two_trains(seed, max_lag):
    rng = np.random.default_rng(seed)
    one, other = (np.sort(rng.integers(-9, 60, int(rng.integers(0, 40)))) for _ in range(2))
    lags = (other[None] - one[:, None]).ravel()
    expected = [(lags == lag).sum() for lag in range(-max_lag, max_lag + 1)]
    assert count_lags_between(one, other, max_lag).tolist() == expected


@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_how_many_close_pairs_there_are_at_most(seed, window):
    rng = np.random.default_rng(seed)
    num_units, n = 20, 200
    samples, units = np.sort(rng.integers(0, 100, n)), rng.integers(0, num_units, n)
    of_spikes = samples, units, np.sort(rng.integers(0, 2, n))
    pairs = np.argwhere(~np.eye(num_units, dtype=bool))
    upper = np.array(close_pairs(*of_spikes, num_units, window))
    expected = (upper + upper.T)[tuple(pairs.T)]
    found = most_close_pairs(of_spikes, num_units, pairs, window, 0.1)
    np.testing.assert_array_equal(found, expected)  # a bucket for each unit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coincidences, "_MOST_BUCKETS_OF_ONE", 1)
        patch.setattr(coincidences, "_NUM_BUCKETS", 4)
        assert (most_close_pairs(of_spikes, num_units, pairs, window, 1e3) >= expected).all()


@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_partners_of_two_parts(seed, window):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 60))
    segments = np.sort(rng.integers(0, 2, n))
    samples = np.concatenate([np.sort(rng.integers(0, 200, (segments == s).sum())) for s in (0, 1)])
    units = rng.integers(0, 3, n)
    some = np.flatnonzero(rng.random(n) < 0.3)
    is_second = rng.random(some.size) < 0.5
    found = count_partners(samples, units, segments, 3, some, is_second, window)
    expected = np.zeros((2, 3), dtype=np.int64)
    for spike, part in zip(some, is_second, strict=True):
        near = (segments == segments[spike]) & (np.abs(samples - samples[spike]) <= window)
        near[spike] = False
        expected[int(part), np.unique(units[near])] += 1
    np.testing.assert_array_equal(found, expected)


@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_share_with_a_partner(seed, window):
    rng = np.random.default_rng(seed)
    a, b = (np.sort(rng.integers(0, 200, rng.integers(0, 30))) for _ in range(2))
    found = share_with_partner(a, b, window)
    if a.size == 0:
        assert np.isnan(found)
    else:
        assert found == with_partner(a, b, window) / a.size


@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.sampled_from([64, 2, 1]))
def test_pairs_that_coincide(seed, window, num_buckets):
    """Of all pairs at once, and in buckets that are shared by several units."""
    rng = np.random.default_rng(seed)
    n, num_units = int(rng.integers(0, 60)), int(rng.integers(1, 6))
    segments = np.sort(rng.integers(0, 2, n))
    samples = np.concatenate([np.sort(rng.integers(0, 200, (segments == s).sum())) for s in (0, 1)])
    units = rng.integers(0, num_units, n)
    num_spikes = np.bincount(units, minlength=num_units)
    share, least = rng.choice([0.0, 0.1, 0.3, 0.6]), int(rng.integers(0, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coincidences, "_NUM_BUCKETS", num_buckets)
        patch.setattr(coincidences, "_MOST_BUCKETS_OF_ONE", num_buckets)
        of_spikes = (samples, units, segments)
        found = pairs_that_coincide(of_spikes, num_spikes, window, share, least)
    close = np.array(close_pairs(samples, units, segments, num_units, window))
    fewest = np.minimum(num_spikes[:, None], num_spikes)
    expected = np.argwhere((close > share * fewest) & (fewest >= least))
    np.testing.assert_array_equal(found, expected.reshape(-1, 2))


def test_no_units_coincide():
    nothing = np.zeros(0, dtype=np.int64)
    assert pairs_that_coincide((nothing, nothing, nothing), nothing, 5, 0.5, 20).shape == (0, 2)
