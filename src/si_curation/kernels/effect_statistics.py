"""Statistics of effects at stricter and stricter thresholds: resampling, ranks, permutations.

Ranks are scipy's. `scipy.stats.bootstrap` and `permutation_test` are not used: they draw anew for
each subset, while here all subsets are taken of the same draw (they are nested, and the largest of
them is what P values are adjusted by), and they know no groups. They take twice as long for that.

Arrays in, arrays out. Axes: ``n`` units, ``J`` nested subsets of units, ``R`` resamples, ``K``
covariates. Everything that is random takes a generator, so that a seed gives the same bits.

Sources: percentile bootstrap, Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter
13; resampling of groups before their members, Saravanan, Berman & Sober, Neurons, Behavior, Data
Analysis and Theory 3(5) (2020); permutation P values with one added to both counts, Phipson &
Smyth, Stat. Appl. Genet. Mol. Biol. 9, 39 (2010); the maximum over tests, Westfall & Young,
Resampling-Based Multiple Testing (1993); permutation of residuals, Freedman & Lane, J. Bus. Econ.
Stat. 1, 292 (1983).
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

_ELEMENTS_AT_ONCE = 1 << 22
# differences below this share of a spread are rounding, not data
_TINY = 1e-9


def nested_subsets(
    quality: NDArray[np.float64], keep: NDArray[np.float64], min_units: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return thresholds at quantiles of the quality, and the units at or above each.

    Parameters
    ----------
    quality : array (n,) float64
        Larger is better; no NaN.
    keep : array float64
        Shares of the units to keep, descending from 1.
    min_units : int
        Smaller subsets are left out.

    Returns
    -------
    thresholds : array (J,) float64
        Values of `quality`, ascending. Units that tie with a threshold are kept, so that the shares
        can be larger than asked; thresholds that keep the same units are given once.
    members : array (J, n) bool

    Examples
    --------
    >>> nested_subsets(np.array([1.0, 3.0, 2.0, 3.0]), np.array([1.0, 0.5, 0.25]), 1)[0]
    array([1., 3.])
    """
    ordered = np.sort(quality)[::-1]
    ranks = np.clip(np.ceil(keep * quality.size - _TINY).astype(int), 1, max(quality.size, 1))
    thresholds = np.unique(ordered[ranks - 1]) if quality.size else np.zeros(0)
    members = quality[None, :] >= thresholds[:, None]
    enough = members.sum(axis=1) >= min_units
    return thresholds[enough], members[enough]


def bootstrap_counts(
    num_resamples: int,
    group_of_unit: NDArray[np.int64] | None,
    num_units: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return how often each unit is drawn in each resample with replacement.

    Parameters
    ----------
    num_resamples : int
    group_of_unit : array (n,) int64 or None
        Groups, 0 to the number of groups - 1, are drawn first, then as many units of each group
        drawn as it has.
    num_units : int
    rng : numpy.random.Generator

    Returns
    -------
    array (R, n) float64
        Whole numbers.
    """
    if group_of_unit is None:
        return _draws(np.full(num_resamples, num_units), num_units, rng)
    num_groups = int(group_of_unit.max(initial=-1)) + 1
    times = _draws(np.full(num_resamples, num_groups), num_groups, rng)  # (R, groups)
    counts = np.zeros((num_resamples, num_units))
    for group in range(num_groups):
        units = np.flatnonzero(group_of_unit == group)
        counts[:, units] = _draws(times[:, group].astype(np.int64) * units.size, units.size, rng)
    return counts


def _draws(
    draws_per_row: NDArray[np.int64], num_boxes: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Count so many random draws of each row by box: array (R, num_boxes) float64."""
    rows = np.repeat(np.arange(draws_per_row.size), draws_per_row)
    boxes = rng.integers(num_boxes, size=rows.size)
    counts = np.bincount(rows * num_boxes + boxes, minlength=draws_per_row.size * num_boxes)
    return counts.reshape(draws_per_row.size, num_boxes).astype(np.float64)


def shuffles(
    num_permutations: int,
    group_of_unit: NDArray[np.int64] | None,
    num_units: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Return random orders of the units, within groups where there are any.

    Returns
    -------
    array (R, n) int64
        Row r: which unit comes to each place.
    """
    orders = np.broadcast_to(np.arange(num_units), (num_permutations, num_units)).copy()
    if group_of_unit is None:
        return rng.permuted(orders, axis=1)
    for group in range(int(group_of_unit.max(initial=-1)) + 1):
        units = np.flatnonzero(group_of_unit == group)
        orders[:, units] = rng.permuted(orders[:, units], axis=1)
    return orders


def weighted_means(
    values: NDArray[np.float64], counts: NDArray[np.float64], members: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the mean of each subset in each resample.

    Parameters
    ----------
    values : array (n,)
    counts : array (R, n)
    members : array (J, n) bool

    Returns
    -------
    array (R, J) float64
        NaN where no unit of the subset was drawn.
    """
    inside = members.T.astype(np.float64)  # (n, J)
    sums, sizes = counts @ (inside * values[:, None]), counts @ inside
    return np.divide(sums, sizes, out=np.full(sums.shape, np.nan), where=sizes > 0)


def weighted_medians(
    values: NDArray[np.float64], counts: NDArray[np.float64], members: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the median of each subset in each resample; as `weighted_means`.

    Of an even number of units the mean of the middle two, as `numpy.median`.
    """
    result = np.full((counts.shape[0], members.shape[0]), np.nan)
    for j, member in enumerate(members):
        units = np.flatnonzero(member)
        units = units[np.argsort(values[units], kind="stable")]
        for rows in _pieces(counts.shape[0], units.size):
            below = np.cumsum(counts[rows][:, units], axis=1)  # (rows, units of the subset)
            total = below[:, -1]
            some = total > 0
            low = (below <= ((total - 1) // 2)[:, None]).sum(axis=1)
            high = (below <= (total // 2)[:, None]).sum(axis=1)
            ends = np.minimum([low, high], units.size - 1)
            middle = 0.5 * (values[units[ends[0]]] + values[units[ends[1]]])
            result[rows, j] = np.where(some, middle, np.nan)
    return result


def shuffled_means(
    values: NDArray[np.float64], orders: NDArray[np.int64], members: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the mean of each subset after shuffling the values: array (R, J) float64."""
    inside = members.T / members.sum(axis=1)
    result = np.empty((orders.shape[0], members.shape[0]))
    for rows in _pieces(orders.shape[0], orders.shape[1]):
        result[rows] = values[orders[rows]] @ inside
    return result


def shuffled_medians(
    values: NDArray[np.float64], orders: NDArray[np.int64], members: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the median of each subset after shuffling the values: array (R, J) float64."""
    result = np.empty((orders.shape[0], members.shape[0]))
    for rows in _pieces(orders.shape[0], orders.shape[1]):
        shuffled = values[orders[rows]]
        for j, member in enumerate(members):
            result[rows, j] = np.median(shuffled[:, member], axis=1)
    return result


def removal_p_values(
    observed: NDArray[np.float64], removed: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return P values of effects against random removal, at each threshold and over all of them.

    Parameters
    ----------
    observed : array (J,)
        Effect of each subset.
    removed : array (R, J)
        The same after random removal of as many units; each row one random order, so that its
        subsets are nested as the observed ones are.

    Returns
    -------
    standardised : array (J,) float64
        (observed - mean of removed) / standard deviation of removed; 0 where nothing varies.
    p : array (J,) float64
        Two-sided, at each threshold by itself. 1 where nothing varies.
    p_adjusted : array (J,) float64
        Against the largest absolute standardised difference of any threshold: the chance that
        any of them is falsely below alpha is at most alpha.
    """
    centre, spread = removed.mean(axis=0), removed.std(axis=0)
    scale = np.abs(removed).max(axis=0, initial=0.0)
    varies = spread > _TINY * np.maximum(scale, np.finfo(float).tiny)
    divisor = np.where(varies, spread, 1.0)
    standardised = np.where(varies, (observed - centre) / divisor, 0.0)
    null = np.abs(np.where(varies, (removed - centre) / divisor, 0.0))  # (R, J)
    reached = np.abs(standardised) - _TINY
    p = (1 + (null >= reached).sum(axis=0)) / (1 + len(removed))
    largest = null.max(axis=1, initial=0.0)
    p_adjusted = (1 + (largest[:, None] >= reached).sum(axis=0)) / (1 + len(removed))
    return standardised, p, p_adjusted


def partial_rank_correlation(
    effect: NDArray[np.float64],
    quality: NDArray[np.float64],
    covariates: NDArray[np.float64],
    group_of_unit: NDArray[np.int64] | None,
    orders: NDArray[np.int64],
) -> tuple[float, float]:
    """Return the rank correlation given covariates, and its two-sided permutation P value.

    Parameters
    ----------
    effect, quality : array (n,)
    covariates : array (n, K)
        None with K = 0: Spearman's rank correlation.
    group_of_unit : array (n,) int64 or None
        Differences between groups are taken out of all ranks.
    orders : array (R, n)
        From `shuffles`, with the same groups.

    Returns
    -------
    rho : float
        Correlation of the residuals of the ranks (mean ranks of ties) after linear regression on
        the ranks of the covariates. NaN where the covariates explain one of the two wholly, or it
        is constant.
    p : float
        The residuals of the effect are shuffled, and regressed on the covariates again (Freedman
        & Lane 1983).

    Examples
    --------
    >>> x = np.arange(20.0)
    >>> orders = shuffles(199, None, 20, np.random.default_rng(0))
    >>> partial_rank_correlation(x**2, -x, np.zeros((20, 0)), None, orders)
    (-1.0, 0.005)
    """
    basis = _orthonormal(covariates, group_of_unit, effect.size)  # (n, K')
    residuals = []
    for values in (effect, quality):
        ranks = scipy.stats.rankdata(values)
        ranks -= ranks.mean()
        residual = ranks - basis @ (basis.T @ ranks)
        size = float(np.linalg.norm(residual))
        if size <= 1e-6 * max(float(np.linalg.norm(ranks)), 1.0):
            return np.nan, np.nan
        residuals.append(residual / size)
    of_effect, of_quality = residuals
    rho = float(np.clip(of_effect @ of_quality, -1.0, 1.0))
    reached = 0
    for rows in _pieces(orders.shape[0], orders.shape[1]):
        shuffled = of_effect[orders[rows]]
        left = 1.0 - ((shuffled @ basis) ** 2).sum(axis=1)  # squared length of the new residuals
        null = (shuffled @ of_quality) / np.sqrt(np.maximum(left, 1e-12))
        reached += int((np.abs(null) >= abs(rho) - _TINY).sum())
    return round(rho, 15), (1 + reached) / (1 + orders.shape[0])


def _orthonormal(
    covariates: NDArray[np.float64], group_of_unit: NDArray[np.int64] | None, num_units: int
) -> NDArray[np.float64]:
    """Return an orthonormal basis of the constant, the groups and the ranks of the covariates."""
    columns = [np.ones((num_units, 1))]
    if group_of_unit is not None:
        columns.append(group_of_unit[:, None] == np.arange(group_of_unit.max(initial=0) + 1))
    if covariates.shape[1]:
        ranks = scipy.stats.rankdata(covariates, axis=0)
        spread = np.maximum(ranks.std(axis=0), 1.0)
        columns.append((ranks - ranks.mean(axis=0)) / spread)
    left, sizes, _ = np.linalg.svd(np.hstack(columns).astype(np.float64), full_matrices=False)
    return left[:, sizes > 1e-9 * sizes.max(initial=1.0)]


def _pieces(num_rows: int, row_size: int) -> list[slice]:
    """Cut rows so that a piece stays small in memory."""
    step = max(1, _ELEMENTS_AT_ONCE // max(row_size, 1))
    return [slice(start, min(start + step, num_rows)) for start in range(0, num_rows, step)]
