"""Logistic regression against scipy's minimiser."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from si_curation.kernels.logistic import fit_logistic


def loss(found, rows, target, weights, penalty):
    score = rows @ found[:-1] + found[-1]
    each = np.logaddexp(0, score) - target * score
    return (weights * each).sum() + penalty / 2 * np.square(found[:-1]).sum()


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(10, 60), st.integers(1, 5), st.floats(0.1, 10))
def test_no_other_weights_are_better(seed, num_rows, num_columns, penalty):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(num_rows, num_columns))
    is_one = rng.uniform(size=num_rows) < 0.5
    is_one[:2] = [True, False]
    weights = rng.uniform(0.5, 2, num_rows)
    found = fit_logistic(rows, is_one, weights, penalty)
    given = (rows, is_one.astype(float), weights, penalty)
    theirs = minimize(loss, np.zeros(num_columns + 1), args=given, method="BFGS")
    assert loss(found, *given) <= theirs.fun + 1e-6
    np.testing.assert_allclose(found, theirs.x, atol=5e-3)


def test_classes_that_are_apart_and_columns_that_say_nothing():
    rows = np.column_stack([np.arange(20.0) - 9.5, np.zeros(20), np.arange(20.0) - 9.5])
    found = fit_logistic(rows, np.arange(20) > 9, np.ones(20))
    assert np.isfinite(found).all()
    assert found[1] == 0
    np.testing.assert_allclose(found[0], found[2])
    assert ((rows @ found[:3] + found[3] > 0) == (np.arange(20) > 9)).all()
