"""Nearest neighbours against all distances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from si_curation.kernels.nearest_neighbours import nearest_neighbours


@pytest.mark.slow  # the doctest compiles the same kernel, for many seconds
@given(st.data())
def test_nearest_neighbours(data):
    """Any precision, ties, copies, groups far and near, more features than a tile is wide."""
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    sizes = data.draw(st.lists(st.integers(1, 90), min_size=1, max_size=4))
    num_features = data.draw(st.sampled_from([1, 3, 8, 17, 70]))
    on_grid = data.draw(st.booleans())
    spread = data.draw(st.sampled_from([0.0, 1.0, 30.0, 1e4]))
    centers = rng.normal(size=(len(sizes), num_features)) * spread
    x = np.repeat(centers, sizes, axis=0) + rng.normal(size=(sum(sizes), num_features))
    x = (np.round(x) if on_grid else x).astype(data.draw(st.sampled_from(["f4", "f8"])))
    k = data.draw(st.integers(1, 6))
    if len(x) <= k:
        return
    keys = rng.permutation(len(x))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    found = nearest_neighbours(x, starts, k, keys)
    exact = x.astype(np.float64)
    in_key_order = np.argsort(keys)
    for query in range(len(x)):
        squared = ((exact - exact[query]) ** 2).sum(axis=1)
        squared[query] = np.inf
        expected = np.sort(squared)[:k]
        np.testing.assert_allclose(np.sort(squared[found[query]]), expected, rtol=1e-12)
        assert len(set(found[query])) == k
        if on_grid and spread < 1e4:  # exact: the lowest keys of equally near ones
            order = in_key_order[np.argsort(squared[in_key_order], kind="stable")]
            assert set(found[query]) == set(order[:k].tolist())
    only = data.draw(st.integers(0, len(sizes) - 1))
    of_one = nearest_neighbours(x, starts, k, keys, only=only)
    group = np.repeat(np.arange(len(sizes)), sizes)
    left = of_one[:, 0] < 0
    assert not left[group == only].any()
    assert np.array_equal(np.sort(of_one[~left]), np.sort(found[~left]))
    assert not (group[found[left]] == only).any()
