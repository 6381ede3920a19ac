"""Counts against the mean of a Poisson distribution: tail probabilities and intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special


def poisson_interval(
    counts: ArrayLike, confidence_level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the exact two-sided confidence interval of the mean of a Poisson count.

    Parameters
    ----------
    counts : array of int
    confidence_level : float in (0, 1)
        Shared equally by both sides.

    Returns
    -------
    lower, upper : array float64

    Notes
    -----
    Garwood, Biometrika 28, 437 (1936): quantiles of chi-squared distributions, here written as
    those of gamma distributions. UltraMegaSort2000 does the same for its violations.

    Examples
    --------
    >>> lower, upper = poisson_interval(np.array([0, 10]))
    >>> lower.round(2), upper.round(2)
    (array([0. , 4.8]), array([ 3.69, 18.39]))
    """
    counts = np.asarray(counts, dtype=np.float64)
    tail = (1.0 - confidence_level) / 2.0
    distinct, place = distinct_counts(counts)
    some = distinct > 0
    lower = np.where(some, special.gammaincinv(np.where(some, distinct, 1.0), tail), 0.0)
    upper = special.gammainccinv(distinct + 1.0, tail)
    return lower[place].reshape(counts.shape), upper[place].reshape(counts.shape)


def distinct_counts(counts: NDArray) -> tuple[NDArray, NDArray[np.integer]]:
    """Return what `numpy.unique` does of counts, of which most are alike: values and places.

    Parameters
    ----------
    counts : array of whole numbers
        Not negative.

    Returns
    -------
    distinct : array (n_distinct,)
        Ascending.
    place : array of int, shaped as the counts
        Which of them each count is.

    Examples
    --------
    >>> distinct_counts(np.array([7, 0, 7]))
    (array([0, 7]), array([1, 0, 1]))
    """
    largest = int(counts.max(initial=0))
    if largest > 4 * counts.size:
        return np.unique(counts, return_inverse=True)
    which = counts.astype(np.int64, copy=False)
    is_there = np.zeros(largest + 1, dtype=bool)
    is_there[which] = True
    number = np.cumsum(is_there) - 1
    return np.flatnonzero(is_there).astype(counts.dtype, copy=False), number[which]


def poisson_at_most(counts: ArrayLike, mean: ArrayLike) -> NDArray[np.float64]:
    """Return the probability of at most this count, ``P(X <= n)``.

    Parameters
    ----------
    counts : array of int
        Not negative.
    mean : array of float

    Returns
    -------
    array float64

    Examples
    --------
    >>> poisson_at_most([0, 1], 1.0).round(3)
    array([0.368, 0.736])
    """
    return special.gammaincc(np.asarray(counts, dtype=np.float64) + 1.0, mean)


def poisson_above(counts: ArrayLike, mean: ArrayLike) -> NDArray[np.float64]:
    """Return the probability of more than this count, ``P(X > n)``.

    Parameters
    ----------
    counts : array of int
        Not negative.
    mean : array of float
        One below 0 counts as 0.

    Returns
    -------
    array float64

    Examples
    --------
    >>> poisson_above([0, 1], 1.0).round(3)
    array([0.632, 0.264])
    """
    return special.gammainc(np.asarray(counts, dtype=np.float64) + 1.0, np.maximum(mean, 0.0))


def poisson_at_least(counts: ArrayLike, mean: ArrayLike) -> NDArray[np.float64]:
    """Return the probability of at least this count, ``P(X >= n)``.

    Parameters
    ----------
    counts : array of int
        Not negative.
    mean : array of float

    Returns
    -------
    array float64

    Examples
    --------
    >>> poisson_at_least([0, 1], [1.0, 1.0]).round(3)
    array([1.   , 0.632])
    """
    counts = np.asarray(counts, dtype=np.float64)
    some = counts > 0
    return np.where(some, special.gammainc(np.where(some, counts, 1.0), mean), 1.0)


def poisson_excess_p(counts: ArrayLike, expected: ArrayLike) -> NDArray[np.float64]:
    """Return the probability of a count this high or higher, with continuity correction.

    Parameters
    ----------
    counts : array of int
        Not negative.
    expected : array of float
        Mean of the Poisson distribution; NaN gives NaN.

    Returns
    -------
    array float64
        ``P(X > n) + P(X = n) / 2``, which is ``1 - sum_{x<n} P(x) - P(n) / 2`` of the papers
        without the loss of digits. 0.5 for a count of 0 where 0 is expected.

    Notes
    -----
    Stark & Abeles 2009, with one half of the probability of the count itself. English et al. 2017
    use it twice: P_fast with the convolved correlogram as the mean, P_causal with the largest
    count at the lags of the other sign.

    Examples
    --------
    >>> poisson_excess_p([0, 9], [0.0, 3.0]).round(5)
    array([0.5   , 0.00245])
    """
    n, mean = np.asarray(counts, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    return special.pdtrc(n, mean) + 0.5 * _poisson_pmf(n, mean)


def poisson_deficit_p(counts: ArrayLike, expected: ArrayLike) -> NDArray[np.float64]:
    """Return the probability of a count this low or lower, with continuity correction.

    Parameters
    ----------
    counts, expected
        As of `poisson_excess_p`.

    Returns
    -------
    array float64
        ``P(X < n) + P(X = n) / 2``: 1 less `poisson_excess_p`, without the loss of digits.

    Examples
    --------
    >>> poisson_deficit_p([0, 9], [4.0, 3.0]).round(5)
    array([0.00916, 0.99755])
    """
    n, mean = np.asarray(counts, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    below = np.where(n > 0, special.pdtr(np.maximum(n - 1.0, 0.0), mean), 0.0)
    return below + 0.5 * _poisson_pmf(n, mean)


def _poisson_pmf(n: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(special.xlogy(n, mean) - mean - special.gammaln(n + 1.0))
