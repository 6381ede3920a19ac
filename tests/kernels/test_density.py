"""Points in the cells of a grid against numpy, and a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from si_curation.kernels import parallel
from si_curation.kernels.density import count_in_grid, largest_in_grid


@given(
    seed=st.integers(0, 1000),
    count=st.integers(0, 400),
    num_bins=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    rows_per_block=st.sampled_from([1, 7, 1000]),
)
def test_counts_are_those_of_numpy(seed, count, num_bins, rows_per_block):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, count))
    x[rng.random(count) < 0.1] = np.nan
    x[rng.random(count) < 0.1] = 1.0  # the last edge, which is inside
    y[rng.random(count) < 0.1] = -0.5  # the first
    with pytest.MonkeyPatch.context() as patch:
        original = parallel.blocks
        patch.setattr(
            "si_curation.kernels.density.blocks", lambda n, _: original(n, rows_per_block)
        )
        found = count_in_grid(x, y, (-1.5, 1.0), (-0.5, 2.0), num_bins)
    known = np.isfinite(x)
    expected, _, _ = np.histogram2d(
        x[known], y[known], bins=num_bins, range=[(-1.5, 1.0), (-0.5, 2.0)]
    )
    np.testing.assert_array_equal(found, expected.T)


@given(
    seed=st.integers(0, 1000),
    count=st.integers(0, 100),
    num_bins=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    rows_per_block=st.sampled_from([1, 7, 1000]),
)
def test_the_largest_of_each_cell(seed, count, num_bins, rows_per_block):
    rng = np.random.default_rng(seed)
    x, y, values = rng.normal(size=(3, count))
    x[rng.random(count) < 0.1] = 1.0
    values[rng.random(count) < 0.2] = np.nan
    expected = np.full(num_bins[::-1], np.nan)
    for a, b, value in zip(x, y, values, strict=True):
        if not (-1.5 <= a <= 1.0 and -0.5 <= b <= 2.0):
            continue
        i = min(int((a + 1.5) * (num_bins[0] / 2.5)), num_bins[0] - 1)
        j = min(int((b + 0.5) * (num_bins[1] / 2.5)), num_bins[1] - 1)
        expected[j, i] = np.fmax(expected[j, i], value)
    with pytest.MonkeyPatch.context() as patch:
        original = parallel.blocks
        patch.setattr(
            "si_curation.kernels.density.blocks", lambda n, _: original(n, rows_per_block)
        )
        found = largest_in_grid(x, y, values, (-1.5, 1.0), (-0.5, 2.0), num_bins)
    np.testing.assert_array_equal(found, expected)
