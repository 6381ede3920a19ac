"""Counts, sums and squares by unit and time bin against brute force."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from si_curation.kernels.time_profile import add_by_bin, add_squares_by_bin


@given(st.integers(0, 2**32 - 1))
def test_sums_by_bin(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 60))
    units, bins = rng.integers(0, 3, n), rng.integers(0, 4, n).astype("uint8")
    values = rng.choice([np.nan, np.inf, 1.5, -2.0, 1e300], n, p=[0.1, 0.1, 0.4, 0.3, 0.1])
    counts, sums, alone, none = np.zeros((4, 3, 4))
    with np.errstate(over="ignore"):
        add_by_bin(units, bins, values, counts, sums)
        squares = np.zeros((3, 4))
        add_squares_by_bin(units, bins, values, sums, squares)
    add_by_bin(units, bins, np.zeros(0), alone, none)
    assert not none.any()
    for unit in range(3):
        for k in range(4):
            here = (units == unit) & (bins == k)
            own = values[here & np.isfinite(values)]
            assert alone[unit, k] == here.sum()
            assert counts[unit, k] == own.size
            with np.errstate(over="ignore"):
                assert sums[unit, k] == sum(own.tolist())
                expected = sum(((own - sums[unit, k]) ** 2).tolist())
            np.testing.assert_equal(squares[unit, k], expected)
