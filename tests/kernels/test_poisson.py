"""Poisson probabilities and intervals against scipy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from si_curation.kernels.poisson import (
    distinct_counts,
    poisson_above,
    poisson_at_least,
    poisson_at_most,
    poisson_deficit_p,
    poisson_excess_p,
    poisson_interval,
)


def test_poisson_interval_is_that_of_chi_squared():
    counts = np.array([0, 1, 2, 17, 5000])
    for level in (0.5, 0.95, 0.999):
        lower, upper = poisson_interval(counts, level)
        tail = (1 - level) / 2
        np.testing.assert_allclose(lower[1:], stats.chi2.ppf(tail, 2 * counts[1:]) / 2, rtol=1e-9)
        assert lower[0] == 0
        np.testing.assert_allclose(upper, stats.chi2.isf(tail, 2 * counts + 2) / 2, rtol=1e-9)
        # by definition: at the ends a count this extreme has the probability of the tail
        np.testing.assert_allclose(stats.poisson.cdf(counts, upper), tail, rtol=1e-6)


@given(st.lists(st.integers(0, 20), min_size=6, max_size=6))
def test_intervals_of_many_counts_are_those_of_each(counts):
    found = np.stack(poisson_interval(np.reshape(counts, (2, 3))))
    np.testing.assert_array_equal(
        found.reshape(2, 6).T, [np.stack(poisson_interval(count)) for count in counts]
    )


@given(
    st.lists(st.integers(0, 40), max_size=12),
    st.sampled_from(["i8", "i4", "u2", "f8"]),
    st.integers(1, 1000),
)
def test_distinct_counts_are_those_of_numpy(counts, dtype, factor):
    counts = np.array([*counts, *counts], dtype=dtype).reshape(2, -1) * np.dtype(dtype).type(factor)
    distinct, place = distinct_counts(counts)
    expected, its_place = np.unique(counts, return_inverse=True)
    np.testing.assert_array_equal(distinct, expected, strict=True)
    np.testing.assert_array_equal(place, its_place)


@given(count=st.integers(0, 3000), mean=st.floats(0.001, 2000))
def test_tails(count, mean):
    below, above = stats.poisson.cdf(count, mean), stats.poisson.sf(count, mean)
    np.testing.assert_allclose(poisson_at_most(count, mean), below, rtol=1e-7, atol=1e-300)
    np.testing.assert_allclose(poisson_above(count, mean), above, rtol=1e-7, atol=1e-300)
    at_least = stats.poisson.sf(count - 1, mean)
    np.testing.assert_allclose(poisson_at_least(count, mean), at_least, rtol=1e-7, atol=1e-300)


@given(count=st.integers(0, 3000), mean=st.floats(0, 2000))
def test_p_values_are_those_of_poisson(count, mean):
    excess = poisson_excess_p([count], [mean])[0]
    deficit = poisson_deficit_p([count], [mean])[0]
    half = 0.5 * stats.poisson.pmf(count, mean)
    np.testing.assert_allclose(excess, stats.poisson.sf(count, mean) + half, rtol=1e-7)
    np.testing.assert_allclose(deficit, stats.poisson.cdf(count - 1, mean) + half, rtol=1e-7)
    np.testing.assert_allclose(excess + deficit, 1.0)
    literal = 1 - sum(stats.poisson.pmf(x, mean) for x in range(min(count, 40))) - half
    if count <= 40:
        np.testing.assert_allclose(excess, literal, atol=1e-9)


def test_p_values_at_the_ends():
    assert poisson_excess_p([0, 1, 200], [0, 0, 3]).tolist()[:2] == [0.5, 0.0]
    assert 0 < poisson_excess_p([200], [3.0])[0] < 1e-200
    assert 0 < poisson_deficit_p([3], [700.0])[0] < 1e-200
    assert np.isnan(poisson_excess_p([3], [np.nan])[0])
