"""What scikit-learn learns, read out as arrays that say the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

import si_curation as sic
from si_curation.kernels.parallel import limited_threads
from si_curation.kernels.trees import contributions
from si_curation.learning.training import fit_trees, fit_weights, read_trees, train_each


def example(num_rows=200, num_columns=4, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(num_rows, num_columns))
    odds = 2 * values[:, 0] - values[:, -1] ** 2 + 1
    is_yes = rng.uniform(size=num_rows) < 1 / (1 + np.exp(-odds))
    is_yes[:2] = [True, False]
    values[rng.uniform(size=values.shape) < 0.1] = np.nan
    return values, is_yes


@pytest.mark.slow
@settings(max_examples=8)
@given(
    st.integers(0, 10_000),
    st.integers(20, 80),
    st.integers(1, 4),
    st.integers(2, 9),
    st.sampled_from([4, 64, 255]),
)
def test_the_arrays_say_what_the_classifier_says(seed, num_rows, num_columns, leaves, bins):
    values, is_yes = example(num_rows, num_columns, seed)
    classifier = HistGradientBoostingClassifier(
        max_iter=6,
        learning_rate=0.3,
        max_leaf_nodes=leaves,
        min_samples_leaf=2,
        max_bins=bins,
        random_state=0,
    ).fit(values, is_yes)
    trees = read_trees(classifier, values)
    rng = np.random.default_rng(seed)
    new = np.vstack([rng.choice(values.ravel(), (30, num_columns)), np.full(num_columns, np.nan)])
    found, parts = contributions(trees, new)
    assert found.tolist() == classifier.decision_function(new).tolist()
    np.testing.assert_allclose(np.ptp(found - parts.sum(axis=1)), 0, atol=1e-9)


def test_a_classifier_that_says_something_else_is_refused():
    values, is_yes = example()
    classifier = HistGradientBoostingClassifier(max_iter=3, random_state=0).fit(values, is_yes)
    last = classifier._predictors[-1][0]
    last.nodes["value"][last.nodes["is_leaf"] == 1] += 0.1
    right = classifier.predict_proba(values)
    classifier.predict_proba = lambda _: right
    read_trees(classifier, values)
    classifier.predict_proba = lambda _: right[:, ::-1]
    with pytest.raises(sic.SiCurationError, match="say other probabilities than the classifier"):
        read_trees(classifier, values)
    del classifier._predictors
    with pytest.raises(sic.SiCurationError, match=r"trees of scikit-learn .* cannot be read"):
        read_trees(classifier, values)


def test_trees_know_what_is_missing_and_what_says_nothing():
    values, is_yes = example(120, 3)
    values[:, 1] = np.where(is_yes, np.nan, 1.0)
    values[:, 2] = np.nan
    trees = fit_trees(values, is_yes)
    found, parts = contributions(trees, values)
    assert ((found > 0) == is_yes).all()
    assert (parts[:, 2] == 0).all()
    nothing = fit_trees(np.full((50, 2), np.nan), np.arange(50) < 20)
    found = contributions(nothing, np.zeros((3, 2)))[0]
    np.testing.assert_allclose(found, np.log(20 / 30))


def test_same_bits_on_any_number_of_threads():
    pieces = [example(num_columns=12, seed=seed) for seed in range(3)]

    def bits(piece):
        values, is_yes = piece
        found = contributions(fit_trees(values, is_yes), values)[0]
        weights = fit_weights(np.nan_to_num(values), is_yes, 5.0)
        return found.tobytes() + weights.tobytes()

    with limited_threads(1), threadpool_limits(1):
        one = [bits(piece) for piece in pieces]
    assert train_each(bits, pieces) == one
    assert len(set(one)) == 3


@settings(max_examples=8)
@given(
    st.integers(0, 10_000),
    st.integers(10, 60),
    st.integers(1, 5),
    st.sampled_from([1e-3, 0.1, 5.0]),
)
def test_no_other_weights_are_better(seed, num_rows, num_columns, penalty):
    rng = np.random.default_rng(seed)
    values, is_yes = rng.normal(size=(num_rows, num_columns)), rng.uniform(size=num_rows) < 0.5
    is_yes[:2] = [True, False]

    def loss(found):
        score = values @ found[:-1] + found[-1]
        each = np.logaddexp(0, score) - is_yes * score
        return each.sum() + penalty / 2 * np.square(found[:-1]).sum()

    found = fit_weights(values, is_yes, penalty)
    theirs = minimize(loss, np.zeros(num_columns + 1), method="BFGS")
    assert loss(found) <= theirs.fun + 1e-6


def test_weights_of_classes_that_are_apart_and_of_columns_that_say_nothing():
    rows = np.column_stack([np.arange(20.0) - 9.5, np.zeros(20), np.arange(20.0) - 9.5])
    for penalty in (1e-3, 1.0):
        found = fit_weights(rows, np.arange(20) > 9, penalty)
        assert np.isfinite(found).all()
        assert found[1] == 0
        np.testing.assert_allclose(found[0], found[2])
        assert ((rows @ found[:3] + found[3] > 0) == (np.arange(20) > 9)).all()
