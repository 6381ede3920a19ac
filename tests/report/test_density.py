"""Ranges of images are those that numpy's quantiles give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from si_curation.report.density import limits

_VALUES = st.floats(-1e6, 1e6, width=32)


@given(hnp.arrays(np.float32, st.integers(1, 3000), elements=_VALUES, fill=_VALUES))
def test_limits_hold_almost_all_values(values):
    before = values.copy()
    low, high = np.quantile(values.astype(np.float64), [0.001, 0.999])
    margin = 0.08 * (high - low)
    found = limits(values)
    np.testing.assert_array_equal(values, before)
    if margin:
        np.testing.assert_allclose(found, (low - margin, high + margin), rtol=1e-5, atol=1e-3)
    else:
        assert found[0] < low == high < found[1]


@pytest.mark.parametrize("size", [1, 2, 3, 999, 1000, 1001, 20_000])
def test_limits_are_exact_in_any_order(size):
    values = np.linspace(3.0, 7.0, size)
    expected = limits(values)
    low, high = np.quantile(values, [0.001, 0.999])
    margin = 0.08 * (high - low) or 1.0
    np.testing.assert_allclose(expected, (low - margin, high + margin), rtol=1e-12)
    rng = np.random.default_rng(size)
    with_gaps = np.concatenate([values, [np.nan, np.inf, -np.inf]])
    for _ in range(5):
        assert limits(rng.permutation(values)) == expected
        assert limits(rng.permutation(with_gaps)) == expected


def test_nothing_has_no_limits():
    assert limits(np.array([np.nan, np.inf])) is None
    assert limits(np.zeros(0)) is None
