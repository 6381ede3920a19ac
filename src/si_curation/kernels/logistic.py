"""Logistic regression with a penalty on the weights, by Newton's method, without BLAS.

Sums are in the order of the rows, so that results are the same bits on any number of threads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit


def fit_logistic(
    values: NDArray[np.float64],
    is_one: NDArray[np.bool_],
    weights: NDArray[np.float64],
    penalty: float = 1.0,
) -> NDArray[np.float64]:
    """Fit the log odds of the second class as a weighted sum of columns.

    Parameters
    ----------
    values : array (n_rows, n_columns) float64
        Finite, of about the same scale.
    is_one : array (n_rows,) bool
    weights : array (n_rows,) float64
    penalty : float
        Half the sum of the squared weights is multiplied by it; above 0. The constant is free.

    Returns
    -------
    array (n_columns + 1,) float64
        The weight of each column, then the constant.

    Examples
    --------
    >>> rows = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> found = fit_logistic(rows, np.array([False, False, True, True]), np.ones(4))
    >>> bool(found[0] > 0), bool(abs(found[1]) < 1e-9)
    (True, True)
    """
    with_one = np.column_stack([values, np.ones(len(values))]).astype(np.float64)
    return _newton(with_one, is_one.astype(np.float64), weights.astype(np.float64), penalty)


@njit
def _newton(rows, target, weights, penalty):  # type: ignore[no-untyped-def]
    num_rows, size = rows.shape
    found = np.zeros(size)
    share = (weights * target).sum() / weights.sum()
    share = min(max(share, 1e-6), 1.0 - 1e-6)
    found[size - 1] = np.log(share / (1.0 - share))
    loss = _loss(rows, target, weights, penalty, found)
    for _ in range(100):
        gradient, curvature = np.zeros(size), np.zeros((size, size))
        for row in range(num_rows):
            score = 0.0
            for i in range(size):
                score += rows[row, i] * found[i]
            chance = 1.0 / (1.0 + np.exp(-score))
            slope = weights[row] * (chance - target[row])
            bend = weights[row] * chance * (1.0 - chance)
            for i in range(size):
                gradient[i] += slope * rows[row, i]
                for j in range(i + 1):
                    curvature[i, j] += bend * rows[row, i] * rows[row, j]
        for i in range(size):
            # the constant has a penalty that is far too small to matter, and keeps this solvable
            of = penalty if i < size - 1 else 1e-9 * weights.sum()
            gradient[i] += (of if i < size - 1 else 0.0) * found[i]
            curvature[i, i] += of
        step = _solve(curvature, gradient)
        scale = 1.0
        for _ in range(30):
            tried = found - scale * step
            new = _loss(rows, target, weights, penalty, tried)
            if new <= loss:
                break
            scale *= 0.5
        else:
            break
        gained = loss - new
        found, loss = tried, new
        if gained <= 1e-12 * abs(loss):
            break
    return found


@njit
def _loss(rows, target, weights, penalty, found):  # type: ignore[no-untyped-def]
    size = rows.shape[1]
    loss = 0.0
    for i in range(size - 1):
        loss += 0.5 * penalty * found[i] * found[i]
    for row in range(len(rows)):
        score = 0.0
        for i in range(size):
            score += rows[row, i] * found[i]
        # log(1 + exp(score)) - target * score, without overflow
        loss += weights[row] * (
            max(score, 0.0) + np.log1p(np.exp(-abs(score))) - target[row] * score
        )
    return loss


@njit
def _solve(curvature, gradient):  # type: ignore[no-untyped-def]
    """Solve by Cholesky's decomposition of the lower triangle."""
    size = len(gradient)
    lower = np.zeros((size, size))
    for i in range(size):
        for j in range(i + 1):
            total = curvature[i, j]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            lower[i, j] = np.sqrt(max(total, 1e-300)) if i == j else total / lower[j, j]
    out = gradient.copy()
    for i in range(size):
        for k in range(i):
            out[i] -= lower[i, k] * out[k]
        out[i] /= lower[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            out[i] -= lower[k, i] * out[k]
        out[i] /= lower[i, i]
    return out
