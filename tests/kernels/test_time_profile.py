"""Counts, means and variances by time bin against brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from si_curation.kernels.time_profile import count_by_bin, profile_of_unit


@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_sums_by_bin(seed, absolute, is_in_order):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 60))
    bins = rng.integers(0, 4, n).astype("uint8")
    if is_in_order:
        bins.sort()
    values = rng.choice([np.nan, np.inf, 1.5, -2.0, 1e300], n, p=[0.1, 0.1, 0.4, 0.3, 0.1])
    parts = np.sort(np.concatenate([[0, n], rng.integers(0, n + 1, 2)]))
    counts, means, variances, alone = np.zeros((4, 4))
    with np.errstate(over="ignore"):
        profile_of_unit(bins, values, absolute, parts, counts, means, variances)
    count_by_bin(bins, alone)
    if absolute:
        values = np.abs(values)

    def total(here, numbers):
        sums = 0.0
        for start, stop in pairwise(parts):
            inside = here & (np.arange(n) >= start) & (np.arange(n) < stop)
            sums += sum(numbers[inside].tolist())
        return sums

    for k in range(4):
        here = (bins == k) & np.isfinite(values)
        assert alone[k] == (bins == k).sum()
        assert counts[k] == here.sum()
        with np.errstate(over="ignore", invalid="ignore"):
            mean = total(here, values) / max(here.sum(), 1)
            variance = total(here, (values - mean) ** 2) / max(here.sum(), 1)
        np.testing.assert_equal((means[k], variances[k]), (mean, variance))
