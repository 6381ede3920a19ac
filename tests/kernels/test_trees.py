"""What trees say, against a walk through them node by node."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from si_curation.kernels.trees import Trees, contributions


def random_trees(rng, num_trees, num_columns):
    """Trees of up to seven nodes; the value of a node is the mean of its children's."""
    shape = (num_trees, 7)
    column = np.full(shape, -1, dtype=np.int32)
    left, right = np.zeros((2, *shape), dtype=np.int32)
    value = rng.normal(size=shape)
    for tree in range(num_trees):
        for node in rng.permutation(3)[: rng.integers(4)]:
            column[tree, node] = rng.integers(num_columns)
            left[tree, node], right[tree, node] = 2 * node + 1, 2 * node + 2
        for node in (2, 1, 0):
            if column[tree, node] >= 0:
                value[tree, node] = value[tree, 2 * node + 1 : 2 * node + 3].mean()
    threshold = rng.normal(size=shape).round(1)
    nan_left = rng.integers(0, 2, shape).astype(np.uint8)
    return Trees(column, threshold, nan_left, left, right, value, float(rng.normal()))


def walk(trees, row):
    """The log odds of one row, node by node."""
    total = trees.start
    for tree in range(len(trees.column)):
        node = 0
        while trees.column[tree, node] >= 0:
            one = row[trees.column[tree, node]]
            left = (
                trees.nan_left[tree, node] if np.isnan(one) else one <= trees.threshold[tree, node]
            )
            node = (trees.left if left else trees.right)[tree, node]
        total += trees.value[tree, node]
    return total


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 4))
def test_log_odds_are_those_of_a_walk_and_the_sum_of_contributions(seed, num_trees, num_columns):
    rng = np.random.default_rng(seed)
    trees = random_trees(rng, num_trees, num_columns)
    values = rng.normal(size=(20, num_columns)).round(1)
    values[rng.uniform(size=values.shape) < 0.2] = np.nan
    found, parts = contributions(trees, values)
    assert found.tolist() == [walk(trees, row) for row in values]
    start = trees.start + trees.value[:, 0].sum()
    np.testing.assert_allclose(found, start + parts.sum(axis=1), atol=1e-12)
