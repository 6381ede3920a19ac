"""Mahalanobis distances, moments and the discriminant of clouds of spikes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit

# a smaller eigenvalue of a correlation matrix than this is rounding
_SINGULAR = 1e-13
# scikit-learn's LinearDiscriminantAnalysis: singular values up to tol=1e-4 are left out
_DISCRIMINANT_TOLERANCE = 1e-8
_ROWS_AT_ONCE = 32
_CHUNK = 1 << 13
_ROWS_PER_PRODUCT = 128  # BLAS does not start threads of its own for so few


class Moments(NamedTuple):
    """Number, mean and scatter (sum of outer products about the mean) of a cloud of spikes."""

    num_spikes: int
    mean: NDArray[np.float64]  # (n_features,)
    scatter: NDArray[np.float64]  # (n_features, n_features)


@njit
def _add_outer_products(
    values: NDArray[np.floating],
    columns: NDArray[np.integer],
    mean: NDArray[np.float64],
    x: NDArray[np.float64],
    rest: NDArray[np.float64],
    scatter: NDArray[np.float64],
) -> None:
    # values (n, width), columns, mean and rest (n_features,), x (4, n_features), scatter lower half
    num_features = columns.size
    for start in range(0, values.shape[0], 4):
        for k in range(4):
            for f in range(num_features):
                x[k, f] = 0.0
                if start + k < values.shape[0]:
                    x[k, f] = values[start + k, columns[f]] - mean[f]
                rest[f] += x[k, f]
        for i in range(num_features):
            x0, x1, x2, x3 = x[0, i], x[1, i], x[2, i], x[3, i]
            for j in range(i + 1):
                scatter[i, j] += (x0 * x[0, j] + x1 * x[1, j]) + (x2 * x[2, j] + x3 * x[3, j])


def moments_of(values: NDArray[np.floating], columns: NDArray[np.integer]) -> Moments:
    """Return the moments of some columns, a few thousand rows at a time, in float64.

    Parameters
    ----------
    values : array (n_spikes, n_columns) floating
    columns : array (n_features,) integer

    Returns
    -------
    Moments

    Examples
    --------
    >>> moments_of(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([0, 1])).scatter
    array([[2., 0.],
           [0., 0.]])
    """
    count, num_features = len(values), columns.size
    total = np.zeros(num_features)
    for start in range(0, count, _CHUNK):
        total += values[start : start + _CHUNK].sum(axis=0, dtype=np.float64)[columns]
    mean = total / max(count, 1)
    scatter, rest = np.zeros((num_features, num_features)), np.zeros(num_features)
    _add_outer_products(values, columns, mean, np.empty((4, num_features)), rest, scatter)
    scatter += np.tril(scatter, -1).T
    # a column that does not vary has a scatter of rounding only
    still = np.diag(scatter) <= count * (1e-12 * np.abs(mean)) ** 2
    scatter[still] = 0
    scatter[:, still] = 0
    return Moments(count, mean + rest / max(count, 1), scatter)


def join_moments(
    counts: NDArray[np.integer], means: NDArray[np.float64], scatter: NDArray[np.float64]
) -> Moments:
    """Return the moments of several clouds together.

    Parameters
    ----------
    counts : array (n_clouds,) integer
    means : array (n_clouds, n_features)
    scatter : array (n_features, n_features)
        Sum of the scatters of the clouds, each about its own mean.

    Returns
    -------
    Moments

    Examples
    --------
    >>> join_moments(np.array([1, 1]), np.array([[0.0], [2.0]]), np.array([[0.0]])).scatter
    array([[2.]])
    """
    count = int(counts.sum())
    mean = counts @ means / max(count, 1)
    apart = np.sqrt(counts)[:, None] * (means - mean)
    return Moments(count, mean, scatter + apart.T @ apart)


@njit
def gather_columns(
    values: NDArray[np.floating],
    rows: NDArray[np.integer],
    bounds: NDArray[np.integer],
    columns: NDArray[np.integer],
    out: NDArray[np.floating],
) -> None:
    """Gather rows of groups of spikes, each group from columns of its own.

    Parameters
    ----------
    values : array (n_spikes, n_columns) floating
    rows : array (n,) integer
        Those of each group in one piece.
    bounds : array (n_groups + 1,) integer
        Where the rows of each group start.
    columns : array (n_groups, n_features) integer
        -1: the feature of this group is 0.
    out : array (n, n_features)

    Examples
    --------
    >>> out = np.empty((2, 1))
    >>> rows, bounds = np.array([1, 0]), np.array([0, 1, 2])
    >>> gather_columns(np.array([[1.0, 2.0], [3.0, 4.0]]), rows, bounds, np.array([[1], [-1]]), out)
    >>> out
    array([[4.],
           [0.]])
    """
    for g in range(bounds.size - 1):
        of_group = columns[g]
        for i in range(bounds[g], bounds[g + 1]):
            row = values[rows[i]]
            for f in range(of_group.size):
                out[i, f] = row[of_group[f]] if of_group[f] >= 0 else 0


@njit
def add_scatter(
    scatter: NDArray[np.float64], features: NDArray[np.integer], total: NDArray[np.float64]
) -> None:
    """Add the scatter of a cloud that has some of the features.

    Parameters
    ----------
    scatter : array (n_of_cloud, n_of_cloud)
    features : array (n_features,) integer
        Place of each feature in `scatter`; -1: the cloud does not have it.
    total : array (n_features, n_features)
        Is added to.

    Examples
    --------
    >>> total = np.zeros((2, 2))
    >>> add_scatter(np.array([[5.0]]), np.array([-1, 0]), total)
    >>> total
    array([[0., 0.],
           [0., 5.]])
    """
    for i in range(features.size):
        if features[i] >= 0:
            row = scatter[features[i]]
            for j in range(features.size):
                if features[j] >= 0:
                    total[i, j] += row[features[j]]


@njit
def _inverse_cholesky(
    matrix: NDArray[np.float64],
) -> tuple[
    NDArray[np.float64], bool
]:  # (n, n); the inverse of its lower Cholesky factor, and if there is
    size = len(matrix)
    upper = matrix.copy()  # becomes the transposed factor, row by row
    for k in range(size):
        if not upper[k, k] > 0:
            return upper, False
        root = np.sqrt(upper[k, k])
        for j in range(k, size):
            upper[k, j] /= root
        for i in range(k + 1, size):
            factor = upper[k, i]
            for j in range(i, size):
                upper[i, j] -= factor * upper[k, j]
    inverse = np.zeros((size, size))
    for i in range(size):
        inverse[i, i] = 1.0
        for k in range(i):
            factor = upper[k, i]
            for j in range(k + 1):
                inverse[i, j] -= factor * inverse[k, j]
        for j in range(i + 1):
            inverse[i, j] /= upper[i, i]
    return inverse, True


def inverse_cholesky(matrix: NDArray[np.float64], smallest: float) -> NDArray[np.float64] | None:
    """Return the inverse of the Cholesky factor of a symmetric matrix.

    Without LAPACK, whose threads make small matrices slow where threads are many.

    Parameters
    ----------
    matrix : array (n, n)
    smallest : float
        An eigenvalue that is too small.

    Returns
    -------
    array (n, n) or None
        Lower triangular L with L @ matrix @ L.T = 1. None unless the harmonic mean of the
        eigenvalues over their number, which is at most the smallest of them, is above `smallest`.

    Examples
    --------
    >>> inverse_cholesky(np.array([[4.0]]), 1e-8)
    array([[0.5]])
    >>> inverse_cholesky(np.array([[1.0, 1.0], [1.0, 1.0]]), 1e-8)
    """
    inverse, there_is_one = _inverse_cholesky(np.ascontiguousarray(matrix))
    # the sum of its squares is the sum of the inverse eigenvalues
    if not there_is_one or not (inverse**2).sum() * smallest < 1:
        return None
    return inverse


def discriminability(own: Moments, others: Moments) -> float:
    """Return d', the distance of two clouds along Fisher's discriminant, in standard deviations.

    The discriminant is that of scikit-learn's ``LinearDiscriminantAnalysis(solver="svd")``: of the
    covariance within the clouds, without the directions in which the features, each scaled to
    variance 1, have a standard deviation of at most 1e-4.

    Parameters
    ----------
    own, others : Moments

    Returns
    -------
    float
        NaN where neither cloud varies in a direction in which they are apart.

    Notes
    -----
    Hill et al. 2011, J. Neurosci. 31:8699; SpikeInterface 0.105.3, ``d_prime_metric``.

    Examples
    --------
    >>> one = Moments(2, np.array([0.0]), np.array([[2.0]]))
    >>> two = Moments(2, np.array([3.0]), np.array([[2.0]]))
    >>> discriminability(one, two)
    3.0
    """
    count = own.num_spikes + others.num_spikes
    within = (own.scatter + others.scatter) / count
    deviation = np.sqrt(np.diag(within))
    deviation = np.where(deviation > 0, deviation, 1.0)
    within = within / deviation[:, None] / deviation
    apart = own.mean - others.mean
    inverse = inverse_cholesky(within, _DISCRIMINANT_TOLERANCE)
    if inverse is not None:
        axis = inverse.T @ (inverse @ (apart / deviation)) / deviation
    else:
        variances, directions = np.linalg.eigh(within)
        kept = variances > _DISCRIMINANT_TOLERANCE
        along = directions[:, kept].T @ (apart / deviation)
        axis = directions[:, kept] @ (along / variances[kept]) / deviation
    spread = (
        axis @ own.scatter @ axis / own.num_spikes
        + axis @ others.scatter @ axis / others.num_spikes
    )
    if spread <= 0:
        return np.nan
    return float(axis @ apart / np.sqrt(spread / 2))


def whitening(
    own: Moments, order: NDArray[np.integer]
) -> tuple[NDArray[np.float64] | None, NDArray[np.integer]]:
    """Return a triangular matrix that whitens the spikes of a cloud.

    Parameters
    ----------
    own : Moments
    order : array (n_features,) integer
        In which order the features are taken.

    Returns
    -------
    array (n_features, n_features) or None
        Lower triangular, for the features in that order; None: the covariance is singular.
    array (n_features,) integer
        The order.
    """
    covariance = own.scatter[np.ix_(order, order)] / (own.num_spikes - 1)
    deviation = np.sqrt(np.diag(covariance))
    if not (deviation > 0).all():
        return None, order
    correlation = covariance / deviation[:, None] / deviation
    inverse = inverse_cholesky(correlation, _SINGULAR * order.size)
    return (None if inverse is None else inverse / deviation), order


@njit
def _squared(
    values: NDArray[np.floating],
    columns: NDArray[np.integer],
    center: NDArray[np.float64],
    transform: NDArray[np.float64],
    num_used: NDArray[np.int64],
    base: NDArray[np.float64],
    cutoff: float,
    out: NDArray[np.float64],
) -> None:
    # values (n, width), columns and center (n_present,), transform (n_features, n_present),
    # num_used and base (n_features,), out (n,)
    num_features = base.size
    x = np.empty((columns.size, _ROWS_AT_ONCE))
    y = np.empty(_ROWS_AT_ONCE)
    total = np.empty(_ROWS_AT_ONCE)
    for start in range(0, out.size, _ROWS_AT_ONCE):
        num = min(_ROWS_AT_ONCE, out.size - start)
        for j in range(columns.size):
            for r in range(num):
                x[j, r] = values[start + r, columns[j]] - center[j]
            for r in range(num, _ROWS_AT_ONCE):
                x[j, r] = 0
        for r in range(_ROWS_AT_ONCE):
            total[r] = 0
        num_near = num
        for i in range(num_features):
            for r in range(_ROWS_AT_ONCE):
                y[r] = base[i]
            whole = num_used[i] - num_used[i] % 4
            for j in range(0, whole, 4):
                t0, t1 = transform[i, j], transform[i, j + 1]
                t2, t3 = transform[i, j + 2], transform[i, j + 3]
                for r in range(_ROWS_AT_ONCE):
                    y[r] = (((y[r] + t0 * x[j, r]) + t1 * x[j + 1, r]) + t2 * x[j + 2, r]) + t3 * x[
                        j + 3, r
                    ]
            for j in range(whole, num_used[i]):
                t0 = transform[i, j]
                for r in range(_ROWS_AT_ONCE):
                    y[r] += t0 * x[j, r]
            for r in range(_ROWS_AT_ONCE):
                total[r] += y[r] * y[r]
            if i % 4 == 3:  # sums only grow: done when all are beyond the cutoff
                num_near = 0
                for r in range(num):
                    num_near += total[r] <= cutoff
                if num_near == 0:
                    break
        for r in range(num):
            out[start + r] = total[r] if total[r] <= cutoff else np.inf


def mahalanobis_squared(
    values: NDArray[np.floating],
    columns: NDArray[np.integer],
    center: NDArray[np.float64],
    transform: NDArray[np.float64],
    cutoff: float = np.inf,
) -> NDArray[np.float64]:
    """Return the squared Mahalanobis distance of spikes from a center.

    Parameters
    ----------
    values : array (n_spikes, n_columns) floating
    columns : array (n_features,) integer
        The column of each feature; -1: these spikes have 0 there.
    center : array (n_features,)
    transform : array (n_features, n_features)
        Lower triangular, of `whitening`.
    cutoff : float
        Larger distances need not be known.

    Returns
    -------
    array (n_spikes,) float64
        inf where it is larger than `cutoff`.

    Examples
    --------
    >>> values = np.array([[3.0, 4.0], [0.0, 1.0]])
    >>> mahalanobis_squared(values, np.array([0, 1]), np.zeros(2), np.eye(2))
    array([25.,  1.])
    """
    is_there = columns >= 0
    out, num_used, base = np.empty(len(values)), is_there.cumsum(), np.zeros(center.size)
    if num_used[-1] < center.size:
        base = -(transform[:, ~is_there] @ center[~is_there])
        columns, center = columns[is_there], center[is_there]
        transform = np.ascontiguousarray(transform[:, is_there])
    _squared(values, columns, center, transform, num_used, base, cutoff, out)
    return out


def silhouettes(
    values: NDArray[np.floating], own: NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the simplified silhouette of each spike.

    It compares the distances to its own center and to the nearest other one.

    The other unit is the one whose center has the smallest mean distance from all these spikes.

    Parameters
    ----------
    values : array (n_spikes, n_features) floating
    own : array (n_features,)
        Center of these spikes.
    others : array (n_others, n_features)
        Centers of the other units; at least one.

    Returns
    -------
    array (n_spikes,) float64
        -1 to 1; 0 for a spike on both centers.

    Notes
    -----
    Hruschka et al. 2004; SpikeInterface 0.105.3, ``simplified_silhouette_score``.

    Examples
    --------
    >>> silhouettes(np.array([[0.0], [2.0]]), np.array([1.0]), np.array([[5.0], [9.0]]))
    array([0.8       , 0.66666667])
    """
    inside, distances = np.empty(len(values)), np.empty((len(values), len(others)))
    shifted = others - own  # exact enough: both are near the spikes
    norms = (shifted**2).sum(axis=1)
    for start in range(0, len(values), _ROWS_PER_PRODUCT):
        some = slice(start, start + _ROWS_PER_PRODUCT)
        apart = values[some] - own
        squared = np.einsum("sf,sf->s", apart, apart)
        inside[some] = np.sqrt(squared)
        squared = squared[:, None] + norms - 2 * (apart @ shifted.T)
        distances[some] = np.sqrt(np.maximum(squared, 0))
    outside = distances[:, int(distances.mean(axis=0).argmin())]
    larger = np.maximum(inside, outside)
    return (outside - inside) / np.where(larger > 0, larger, 1.0)
