"""Trees against a plain evaluation, against scikit-learn, and the same on any number of threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from si_curation.kernels.boosted_trees import (
    MAX_BINS,
    TreeParameters,
    bin_borders,
    bin_values,
    contributions,
    fit_trees,
    log_odds,
)
from si_curation.kernels.parallel import limited_threads, run_blocks


def example(num_rows=400, num_columns=5, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(num_rows, num_columns))
    odds = 2 * values[:, 0] - values[:, 1] ** 2 + 1
    is_one = rng.uniform(size=num_rows) < 1 / (1 + np.exp(-odds))
    values[rng.uniform(size=values.shape) < 0.1] = np.nan
    return values, is_one


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


def area(score, is_one):
    return np.mean(score[is_one][:, None] > score[~is_one][None])


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(20, 80), st.integers(1, 4), st.integers(2, 6))
def test_log_odds_are_those_of_a_walk_and_the_sum_of_contributions(seed, rows, columns, leaves):
    values, is_one = example(rows, max(2, columns), seed)
    values = values[:, :columns]
    parameters = TreeParameters(num_trees=5, max_leaves=leaves, min_rows=3, learning_rate=0.3)
    trees = fit_trees(values, is_one, np.ones(rows), parameters)
    asked = np.vstack([values, np.full(columns, np.nan), np.full(columns, np.inf)])
    found = log_odds(trees, asked)
    assert found.tolist() == [walk(trees, row) for row in asked]
    same, parts = contributions(trees, asked)
    assert same.tolist() == found.tolist()
    np.testing.assert_allclose(np.ptp(found - parts.sum(axis=1)), 0, atol=1e-9)


@pytest.mark.slow
def test_the_first_split_is_the_best_of_all():
    values, is_one = example(120, 2)
    one_split = TreeParameters(
        num_trees=1, max_leaves=2, min_rows=5, column_share=1, penalty=1, learning_rate=1
    )
    trees = fit_trees(values, is_one, np.ones(120), one_split)
    share = is_one.mean()
    gradient, hessian = share - is_one, share * (1 - share)
    best = 0.0
    for column in values.T:
        for border in np.unique(column[~np.isnan(column)]):
            for nan in (False, True):
                left = np.where(np.isnan(column), nan, column <= border)
                if min(left.sum(), (~left).sum()) < 5:
                    continue
                gain = sum(
                    gradient[side].sum() ** 2 / (hessian * side.sum() + 1) for side in (left, ~left)
                )
                best = max(best, gain - gradient.sum() ** 2 / (hessian * 120 + 1))
    column = values[:, trees.column[0, 0]]
    nan = bool(trees.nan_left[0, 0])
    left = np.where(np.isnan(column), nan, column <= trees.threshold[0, 0])
    gain = sum(gradient[side].sum() ** 2 / (hessian * side.sum() + 1) for side in (left, ~left))
    # bins are 64 quantiles: the best border of all may lie within one
    assert gain - gradient.sum() ** 2 / (hessian * 120 + 1) >= 0.95 * best


@pytest.mark.slow
def test_as_good_as_scikit_learn():
    ensemble = pytest.importorskip("sklearn.ensemble")
    values, is_one = example(3000, 8)
    new, truth = example(3000, 8, seed=1)
    ours = fit_trees(values, is_one, np.ones(3000), TreeParameters(column_share=1))
    theirs = ensemble.HistGradientBoostingClassifier(
        max_iter=300,
        learning_rate=0.03,
        max_leaf_nodes=8,
        min_samples_leaf=30,
        l2_regularization=5,
        early_stopping=False,
        max_bins=MAX_BINS,
    ).fit(values, is_one)
    found, expected = log_odds(ours, new), theirs.decision_function(new)
    assert abs(area(found, truth) - area(expected, truth)) < 0.005
    assert np.corrcoef(found, expected)[0, 1] > 0.98


def test_same_bits_on_any_number_of_threads():
    values, is_one = example()
    seeds = [TreeParameters(num_trees=20, seed=one) for one in range(1, 5)]

    def fit(parameters):
        return log_odds(fit_trees(values, is_one, np.ones(len(values)), parameters), values)

    with limited_threads(1):
        one = run_blocks(fit, seeds)
    many = run_blocks(fit, seeds)
    assert [a.tobytes() for a in one] == [b.tobytes() for b in many]
    assert one[0].tobytes() != one[1].tobytes()


def test_bins():
    values = np.array([[1.0, 5.0, np.nan], [2.0, 5.0, np.nan], [np.nan, 5.0, np.nan]])
    borders = bin_borders(values)
    assert borders[0, 0] == 1.5
    assert np.isinf(borders[1:]).all()
    assert bin_values(values, borders).tolist() == [
        [0, 0, MAX_BINS],
        [1, 0, MAX_BINS],
        [MAX_BINS, 0, MAX_BINS],
    ]
    many = np.random.default_rng(0).normal(size=(5000, 1))
    counts = np.bincount(bin_values(many, bin_borders(many))[:, 0], minlength=MAX_BINS)
    assert counts.min() > 50


def test_nothing_to_tell_apart():
    ones = np.ones(50)
    for values in (np.full((50, 2), np.nan), np.ones((50, 2))):
        trees = fit_trees(values, np.arange(50) < 20, ones)
        np.testing.assert_allclose(log_odds(trees, values), np.log(20 / 30))
