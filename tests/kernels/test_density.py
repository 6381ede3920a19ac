"""Points in the cells of a grid against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from si_curation.kernels import parallel
from si_curation.kernels.density import count_in_grid


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
