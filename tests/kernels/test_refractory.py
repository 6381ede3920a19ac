"""Pairs at short lags, Kilosort's refractoriness and refractory periods, by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles import refractory as naive
from si_curation.kernels.refractory import (
    count_pairs_between,
    count_short_lags,
    estimate_refractory_periods,
    kilosort_bin_of_lag,
    kilosort_refractoriness,
)

FS = 30000.0


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(0, 60),
    num_units=st.integers(1, 20),
    num_segments=st.integers(1, 3),
    max_lag=st.integers(0, 30),
    num_lags=st.integers(0, 60),
    is_sorted=st.booleans(),
)
def test_count_short_lags(seed, size, num_units, num_segments, max_lag, num_lags, is_sorted):
    rng = np.random.default_rng(seed)
    samples = rng.integers(-20, 60, size)
    units = rng.integers(0, num_units, size)
    segments = rng.integers(0, num_segments, size)
    if is_sorted:
        order = np.lexsort((samples, segments))
        samples, units, segments = samples[order], units[order], segments[order]
    bin_of_lag = np.sort(rng.integers(0, 9, num_lags))
    counts = count_short_lags(samples, units, segments, num_units, max_lag, bin_of_lag)
    num_bins = bin_of_lag.max() + 1 if num_lags else 0
    expected = naive.short_lags(samples, units, segments, num_units, max_lag, bin_of_lag, num_bins)
    for found, wanted in zip(counts, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(0, 60),
    num_units=st.integers(1, 20),
    first=st.integers(1, 20),
    width=st.integers(1, 30),
)
def test_count_pairs_between(seed, size, num_units, first, width):
    rng = np.random.default_rng(seed)
    samples = rng.integers(-20, 60, size)
    units = rng.integers(0, num_units, size)
    segments = rng.integers(0, 3, size)
    found = count_pairs_between(samples, units, segments, num_units, first, first + width)
    expected = naive.pairs_between(
        samples.tolist(), units.tolist(), segments.tolist(), num_units, first, first + width
    )
    assert found.tolist() == expected


def kilosort_of(train):
    """R12 and Q12 of one spike train in samples."""
    one = np.zeros_like(train)
    counts = count_short_lags(train, one, one, 1, 0, kilosort_bin_of_lag(FS))
    found = kilosort_refractoriness(counts.binned_pairs)
    return [found.r12[0], found.q12[0]]


@pytest.mark.parametrize(("seed", "refractory_ms"), [(0, 2.0), (1, 0.0), (2, 0.5)])
def test_kilosort_by_brute_force(seed, refractory_ms):
    rng = np.random.default_rng(seed)
    # whole thirds of a millisecond: no lag is halfway between two bins
    train = np.cumsum(10 * rng.integers(3 * refractory_ms + 1, 200, 400))
    found = kilosort_of(train)
    np.testing.assert_allclose(found, naive.kilosort(train / FS), atol=1e-6)


@pytest.mark.parametrize(
    ("seed", "rate", "dead", "r12", "q12"),
    [
        (1, 20, 60, 0.0, 0.0),
        (2, 5, 90, 0.0, 0.004206277087258514),
        (3, 60, 30, 0.26236025529584406, 0.0),
    ],
)
def test_kilosort_as_kilosort_4_1_7_computed_it(seed, rate, dead, r12, q12):
    rng = np.random.default_rng(seed)
    train = np.cumsum(rng.integers(dead, 2 * 30000 // rate - dead, 60 * rate))
    found = kilosort_of(train)
    # Kilosort bins floating-point seconds: lags halfway between bins may go either way
    np.testing.assert_allclose(found, [r12, q12], rtol=0.02, atol=1e-6)


@pytest.mark.parametrize("fs", [1000.0, 12_345.6, 20_000.0, 30_000.0])
def test_an_empty_gap_is_the_refractory_period(fs):
    pairs = np.full((3, int(5e-3 * fs) + 2), 40)
    gap = round(3e-3 * fs)
    pairs[0, : gap + 1] = 0
    pairs[2] = 0
    periods, is_estimated = estimate_refractory_periods(pairs, np.array([40.0, 40.0, 0.0]), 0, fs)
    default = round(1.5e-3 * fs)
    assert abs(periods[0] - gap) <= max(0.25e-3 * fs, 1)
    assert periods[1:].tolist() == [default, default]
    assert is_estimated.tolist() == [True, False, False]


def test_the_censored_period_is_shorter_than_the_refractory_period():
    for censored in (0, 60, 149, 150, 200):
        periods, is_estimated = estimate_refractory_periods(
            np.zeros((1, 151), dtype=np.int64), np.array([10.0]), censored, FS
        )
        assert periods[0] > censored
        assert is_estimated[0] == (censored + 15 <= 150)
