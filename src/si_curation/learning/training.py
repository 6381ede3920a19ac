"""Training with scikit-learn; what it learnt is read out as arrays, here and nowhere else.

Fits run on one thread each, several at a time, so that results are the same bits on any number of
threads. Labelling needs the arrays alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from threadpoolctl import ThreadpoolController

from si_curation.errors import SiCurationError
from si_curation.kernels.parallel import one_thread_for_matrices, run_blocks
from si_curation.kernels.trees import Trees, contributions

_NUM_TREES = 100
_LEARNING_RATE = 0.1
_MAX_LEAVES = 8
_PENALTY = 5.0
# bins of a column; more were not better, and take longer
_NUM_BINS = 64
# part of the columns that a node looks at, but at least so many
_COLUMN_SHARE = 0.15
_MIN_COLUMNS = 3
# of probabilities; scikit-learn and `contributions` sum up the same numbers in the same order
_TOLERANCE = 1e-12

B = TypeVar("B")
T = TypeVar("T")


def train_each(function: Callable[[B], T], pieces: list[B]) -> list[T]:
    """Call a function that trains on each piece, on several threads; results in order."""
    import sklearn.ensemble
    import sklearn.linear_model  # noqa: F401  (libraries that are there can be limited)

    controller = ThreadpoolController()

    def alone(piece: B) -> T:
        # OpenMP counts the threads of each thread, BLAS those of the process
        with controller.limit(limits=1, user_api="openmp"):
            return function(piece)

    with one_thread_for_matrices():
        return run_blocks(alone, pieces)


def fit_trees(values: NDArray[np.float64], is_yes: NDArray[np.bool_]) -> Trees:
    """Fit boosted trees that give the log odds of "yes".

    Parameters
    ----------
    values : array (n_rows, n_columns) float64
        NaN where missing.
    is_yes : array (n_rows,) bool
        Both are there.

    Raises
    ------
    SiCurationError
        The trees that were read out say something else than scikit-learn's classifier.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    num_rows, num_columns = values.shape
    # scikit-learn fails where a column is never known; one that is always 0 is not looked at
    values = np.where(np.isnan(values).all(axis=0), 0.0, values)
    classifier = HistGradientBoostingClassifier(
        max_iter=_NUM_TREES,
        learning_rate=_LEARNING_RATE,
        max_leaf_nodes=_MAX_LEAVES,
        min_samples_leaf=int(np.clip(num_rows // 20, 5, 30)),
        l2_regularization=_PENALTY,
        max_bins=_NUM_BINS,
        max_features=min(1.0, max(_COLUMN_SHARE, _MIN_COLUMNS / num_columns)),
        early_stopping=False,
        random_state=1,
    ).fit(values, is_yes)
    return read_trees(classifier, np.vstack([values, np.full(num_columns, np.nan)]))


def read_trees(classifier: Any, values: NDArray[np.float64]) -> Trees:
    """Return the trees of a HistGradientBoostingClassifier of two classes as arrays.

    scikit-learn has no public name for them. So they are compared with what the classifier says of
    some rows.

    Raises
    ------
    SiCurationError
        They are not where they are looked for, or say something else.
    """
    from sklearn import __version__

    problem = ""
    try:
        of_trees = [one.nodes for (one,) in classifier._predictors]
        trees = _as_arrays(of_trees, float(np.ravel(classifier._baseline_prediction)[0]))
        said = expit(contributions(trees, values)[0])
        apart = float(np.abs(said - classifier.predict_proba(values)[:, 1]).max())
        if not apart <= _TOLERANCE:
            problem = f"say other probabilities than the classifier, by up to {apart:.2g}"
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as fault:
        problem = f"cannot be read: {fault}"
    if problem:
        raise SiCurationError(
            f"trees of scikit-learn {__version__} {problem}; expected those of the versions that "
            'si_curation was tested with: install an earlier one, or learn with method="logistic"'
        )
    return trees


def _as_arrays(of_trees: list[NDArray[Any]], start: float) -> Trees:
    """Return the nodes of each tree in arrays of one width, inner nodes with the mean of theirs."""
    shape = (len(of_trees), max(map(len, of_trees)))
    trees = Trees(
        np.full(shape, -1, dtype=np.int32),
        np.zeros(shape),
        np.zeros(shape, dtype=np.uint8),
        np.zeros(shape, dtype=np.int32),
        np.zeros(shape, dtype=np.int32),
        np.zeros(shape),
        start,
    )
    for tree, nodes in enumerate(of_trees):
        if nodes["is_categorical"].any():
            raise ValueError("a column is of categories")
        inner = np.flatnonzero(nodes["is_leaf"] == 0)
        trees.value[tree, : len(nodes)] = _mean_values(nodes, inner.tolist())
        for name, field in (
            ("column", "feature_idx"),
            ("threshold", "num_threshold"),
            ("nan_left", "missing_go_to_left"),
            ("left", "left"),
            ("right", "right"),
        ):
            getattr(trees, name)[tree, inner] = nodes[field][inner]
    return trees


def _mean_values(nodes: NDArray[Any], inner: list[int]) -> list[float]:
    """Return the value of each leaf, and of each inner node the mean of its rows."""
    left, right, count, value = (nodes[f].tolist() for f in ("left", "right", "count", "value"))
    for node in reversed(inner):
        one, other = left[node], right[node]
        if min(one, other) <= node:
            raise ValueError("a child comes before its parent")
        total = count[one] * value[one] + count[other] * value[other]
        value[node] = total / (count[one] + count[other])
    return value


def fit_weights(
    values: NDArray[np.float64], is_yes: NDArray[np.bool_], penalty: float
) -> NDArray[np.float64]:
    """Fit the log odds of "yes" as a weighted sum of columns.

    Parameters
    ----------
    values : array (n_rows, n_columns) float64
        Finite, of about the same scale.
    is_yes : array (n_rows,) bool
        Both are there.
    penalty : float
        Half the sum of the squared weights is multiplied by it; above 0. The constant is free.

    Returns
    -------
    array (n_columns + 1,) float64
        The weight of each column, then the constant.
    """
    from sklearn.linear_model import LogisticRegression

    # lbfgs, the default, stops too early where the penalty is small
    model = LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=1e-8)
    found = model.fit(values, is_yes)
    return np.append(found.coef_[0], found.intercept_[0])
