"""Agreement with chance taken off, and its intervals, from tables of counts.

Every measure is made of sums over groups of units that share no spikes. A resample of the groups is
then a weighted sum, so that intervals cost little, whatever the number of spikes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import blocks, njit, run_blocks

_NUM_LOGS = 1 << 14
_ROWS_PER_BLOCK = 16
_RESAMPLES_AT_ONCE = 250


class Estimate(NamedTuple):
    """A value with its interval.

    Attributes
    ----------
    value : float
        NaN: there is nothing to compare.
    low, high : float
        2.5 and 97.5 % quantiles over the resamples; NaN: fewer than two groups.
    """

    value: float
    low: float
    high: float


def resample(num_groups: int, num_resamples: int, seed: int) -> NDArray[np.float64]:
    """Return how often each group is drawn in each resample.

    Returns
    -------
    array (num_resamples, num_groups) float64
        Every row sums to the number of groups.
    """
    if num_groups < 2:
        return np.zeros((0, num_groups))
    shares = np.full(num_groups, 1 / num_groups)
    drawn = np.random.default_rng(seed).multinomial(num_groups, shares, size=num_resamples)
    return drawn.astype(np.float64)


def sums_of_groups(
    values: NDArray[np.float64], group: NDArray[np.integer], num_groups: int
) -> NDArray[np.float64]:
    """Return the sum of the rows of each group.

    Parameters
    ----------
    values : array (n, n_columns) float64
    group : array (n,) integer
    num_groups : int

    Returns
    -------
    array (num_groups, n_columns) float64
    """
    out = np.zeros((num_groups, values.shape[1]))
    for column in range(values.shape[1]):
        out[:, column] = np.bincount(group, weights=values[:, column], minlength=num_groups)
    return out


def _estimate(value: float | np.floating, resampled: NDArray[np.float64]) -> Estimate:
    known = resampled[np.isfinite(resampled)]
    if known.size == 0 or not np.isfinite(value):
        return Estimate(float(value), np.nan, np.nan)
    low, high = np.quantile(known, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high))


def _beyond_chance(
    observed: NDArray[np.float64], expected: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (observed - expected) / (1 - expected); 1 where everything agrees."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (observed - expected) / (1 - expected)
    return np.where(np.isclose(observed, 1, rtol=0, atol=1e-12), 1.0, value)


# ------------------------------------------------------------------------------------ of labels


def cohen_kappa(
    first: NDArray[np.integer],
    second: NDArray[np.integer],
    counts: NDArray[np.integer],
    group: NDArray[np.integer],
    draws: NDArray[np.float64],
) -> tuple[Estimate, float]:
    """Return Cohen's kappa of the labels of two raters, and the share on which they agree.

    Source: Cohen 1960, Educ. Psychol. Meas. 20:37. Equal to scikit-learn's ``cohen_kappa_score``
    with counts as weights, but 1 where both give one and the same label to everything.

    Parameters
    ----------
    first, second : array (n,) integer
        Labels as numbers from 0.
    counts : array (n,) integer
        How many items each row stands for.
    group : array (n,) integer
    draws : array (n_resamples, n_groups)
        As of `resample`.

    Returns
    -------
    Estimate
        NaN without items.
    float

    Examples
    --------
    >>> one, other = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
    >>> kappa, share = cohen_kappa(one, other, np.ones(4, int), np.arange(4), np.zeros((0, 4)))
    >>> kappa.value, share
    (0.5, 0.75)
    """
    size = int(max(first.max(initial=0), second.max(initial=0))) + 1
    cell = first.astype(np.int64) * size + second
    num_groups = draws.shape[1]
    table = np.bincount(
        group * size * size + cell, weights=counts, minlength=num_groups * size * size
    ).reshape(num_groups, size * size)

    def measure(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = (sums / sums.sum(axis=-1, keepdims=True)).reshape(-1, size, size)
        observed = np.trace(shares, axis1=1, axis2=2)
        expected = (shares.sum(axis=2) * shares.sum(axis=1)).sum(axis=1)
        return _beyond_chance(observed, expected), observed

    value, observed = measure(table.sum(axis=0)[None])
    return _estimate(value[0], measure(draws @ table)[0]), float(observed[0])


def fleiss_kappa(
    labels: NDArray[np.integer],
    counts: NDArray[np.integer],
    group: NDArray[np.integer],
    draws: NDArray[np.float64],
) -> tuple[Estimate, float]:
    """Return Fleiss' kappa of the labels of several raters, and the share of pairs that agree.

    Source: Fleiss 1971, Psychol. Bull. 76:378.

    Parameters
    ----------
    labels : array (n, n_raters) integer
        Labels as numbers from 0.
    counts, group, draws : array
        As of `cohen_kappa`.

    Returns
    -------
    Estimate
    float

    Examples
    --------
    >>> labels = np.array([[0, 0, 0], [1, 1, 0]])
    >>> kappa, share = fleiss_kappa(labels, np.ones(2, int), np.arange(2), np.zeros((0, 2)))
    >>> round(kappa.value, 3), round(share, 3)
    (0.25, 0.667)
    """
    num_raters = labels.shape[1]
    given = _times_given(labels)  # (n, n_labels)
    agree = ((given**2).sum(axis=1) - num_raters) / (num_raters * (num_raters - 1))
    rows = np.column_stack([np.ones(len(labels)), agree, given / num_raters]) * counts[:, None]
    sums = sums_of_groups(rows, group, draws.shape[1])

    def measure(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = sums[:, 1:] / sums[:, :1]
        return _beyond_chance(shares[:, 0], (shares[:, 1:] ** 2).sum(axis=1)), shares[:, 0]

    value, observed = measure(sums.sum(axis=0)[None])
    return _estimate(value[0], measure(draws @ sums)[0]), float(observed[0])


def krippendorff_alpha(
    labels: NDArray[np.integer],
    counts: NDArray[np.integer],
    group: NDArray[np.integer],
    draws: NDArray[np.float64],
) -> tuple[Estimate, float, int]:
    """Return Krippendorff's alpha of labels of which some are missing.

    Source: Krippendorff 2011, Computing Krippendorff's alpha-reliability; nominal data.

    Parameters
    ----------
    labels : array (n, n_raters) integer
        Labels as numbers from 0; -1: missing.
    counts, group, draws : array
        As of `cohen_kappa`.

    Returns
    -------
    Estimate
        NaN where no item has two labels.
    float
        Share of the pairs of labels that agree.
    int
        Items that have two labels or more.

    Examples
    --------
    >>> labels = np.array([[0, 0, -1], [1, -1, 1], [0, 1, 1], [-1, -1, 1]])
    >>> alpha, share, items = krippendorff_alpha(
    ...     labels, np.ones(4, int), np.arange(4), np.zeros((0, 4))
    ... )
    >>> round(alpha.value, 3), round(share, 3), items
    (0.5, 0.714, 3)
    """
    given = _times_given(labels)
    number = given.sum(axis=1)
    usable = number >= 2
    given, number, weights = given[usable], number[usable], counts[usable, None]
    differ = (number**2 - (given**2).sum(axis=1)) / (number - 1)
    rows = np.column_stack([differ, given]) * weights
    sums = sums_of_groups(rows, group[usable], draws.shape[1])

    def measure(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        of_label = sums[:, 1:]
        total = of_label.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            observed = sums[:, 0] / total
            expected = (total**2 - (of_label**2).sum(axis=1)) / (total * (total - 1))
        return _beyond_chance(1 - observed, 1 - expected), 1 - observed

    value, observed = measure(sums.sum(axis=0)[None])
    items = int(weights.sum())
    return _estimate(value[0], measure(draws @ sums)[0]), float(observed[0]), items


def _times_given(labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return how many raters gave each label to each item."""
    size = int(labels.max(initial=0)) + 1
    return np.stack([(labels == one).sum(axis=1) for one in range(size)], axis=1).astype(float)


# ------------------------------------------------------------------------------------- of units


@njit
def _expected_term(a: float, b: float, total: float, logs: NDArray[np.float64]) -> float:
    # mean of k log(k / mean) over the hypergeometric distribution of the overlap k of two units of
    # a and b spikes; weights relative to that of the mode, so that no factorial is needed
    mean = a * b / total
    log_mean = np.log(mean)
    low, high = max(0.0, a + b - total), min(a, b)
    mode = min(max(np.floor((a + 1) * (b + 1) / (total + 2)), low), high)
    weights = summed = 0.0
    for step in (1.0, -1.0):
        k, weight = mode, 1.0
        while True:
            if k > mode or k < mode or step > 0:
                weights += weight
                if k > 0:
                    log_k = logs[int(k)] if k < logs.size else np.log(k)
                    summed += weight * k * (log_k - log_mean)
            if weight < 1e-18 * weights:
                break
            if step > 0:
                if k >= high:
                    break
                weight *= (a - k) * (b - k) / ((k + 1) * (total - a - b + k + 1))
            else:
                if k <= low:
                    break
                weight *= k * (total - a - b + k) / ((a - k + 1) * (b - k + 1))
            k += step
    return summed / weights


@njit
def _expected_rows(
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    total: float,
    logs: NDArray[np.float64],
    out: NDArray[np.float64],  # (n_rows, n_columns)
) -> None:
    for i in range(rows.size):
        for j in range(columns.size):
            out[i, j] = _expected_term(rows[i], columns[j], total, logs)


def expected_information(
    rows: NDArray[np.integer], columns: NDArray[np.integer], total: int
) -> NDArray[np.float64]:
    """Return what each pair of units adds to the mutual information expected by chance.

    Source: Vinh, Epps and Bailey 2010, J. Mach. Learn. Res. 11:2837, equation 24a; as
    scikit-learn's ``expected_mutual_information``, whose time grows with the spikes of the units.
    Here only overlaps that have a probability are looked at.

    Parameters
    ----------
    rows : array (n_rows,) integer
        Spikes of each unit of the one, at least 1.
    columns : array (n_columns,) integer
        Of the other.
    total : int
        Number of spikes.

    Returns
    -------
    array (n_rows, n_columns) float64
        In nats, times the number of spikes.

    Examples
    --------
    >>> found = expected_information(np.array([2, 2]), np.array([3, 1]), 4)
    >>> round(float(found.sum()) / 4, 4)
    0.2158
    """
    row_sizes, row = np.unique(rows, return_inverse=True)
    column_sizes, column = np.unique(columns, return_inverse=True)
    logs = np.log(np.maximum(np.arange(_NUM_LOGS, dtype=np.float64), 1.0))
    out = np.empty((row_sizes.size, column_sizes.size))
    first, second = row_sizes.astype(np.float64), column_sizes.astype(np.float64)
    run_blocks(
        lambda b: _expected_rows(first[b], second, float(total), logs, out[b]),
        blocks(first.size, _ROWS_PER_BLOCK),
    )
    return out[row][:, column]


def adjusted_mutual_information(
    rows: NDArray[np.integer],
    columns: NDArray[np.integer],
    counts: NDArray[np.integer],
    group: NDArray[np.integer],
    draws: NDArray[np.float64],
) -> Estimate:
    """Return the adjusted mutual information of two partitions of spikes into units.

    Source: Vinh, Epps and Bailey 2010; equal to scikit-learn's ``adjusted_mutual_info_score`` with
    the arithmetic mean. In a resample the information expected of a pair of units is that of the
    pair among all spikes.

    Parameters
    ----------
    rows, columns : array (n,) integer
        Unit in the one and in the other partition of each part that they have in common; each
        pair at most once.
    counts : array (n,) integer
        Spikes of each part.
    group : array (n,) integer
        Parts of one unit are in one group.
    draws : array (n_resamples, n_groups)

    Returns
    -------
    Estimate
        NaN without spikes.

    Examples
    --------
    >>> rows, columns = np.array([0, 0, 1]), np.array([0, 1, 1])
    >>> found = adjusted_mutual_information(
    ...     rows, columns, np.array([5, 1, 6]), np.zeros(3, int), np.zeros((0, 1))
    ... )
    >>> round(found.value, 4)
    0.6357
    """
    return mean_adjusted_mutual_information([(rows, columns, counts, group)], draws)


def mean_adjusted_mutual_information(
    pairs: Sequence[
        tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]
    ],
    draws: NDArray[np.float64],
) -> Estimate:
    """Return the mean of the adjusted mutual information of several pairs of partitions.

    Parameters
    ----------
    pairs : sequence of (rows, columns, counts, group)
        As of `adjusted_mutual_information`.
    draws : array (n_resamples, n_groups)
        All pairs are resampled together.

    Returns
    -------
    Estimate
        NaN where a pair has no spikes.
    """
    found = [_with_resamples(*pair, draws) for pair in pairs]
    value = np.mean([value for value, _ in found])
    return _estimate(value, np.mean([resampled for _, resampled in found], axis=0))


def _with_resamples(
    rows: NDArray[np.integer],
    columns: NDArray[np.integer],
    counts: NDArray[np.integer],
    group: NDArray[np.integer],
    draws: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    """Return the adjusted mutual information, and that of each resample."""
    total = int(counts.sum())
    if total == 0:
        return np.nan, np.full(len(draws), np.nan)
    num_groups = draws.shape[1]
    sizes, their_group = zip(
        _sizes_of_units(rows, counts, group), _sizes_of_units(columns, counts, group), strict=True
    )
    sums = np.zeros((num_groups, 4))  # spikes, and sums of n log n of rows, columns and parts
    sums[:, 0] = np.bincount(group, weights=counts, minlength=num_groups)
    entries = ((sizes[0], their_group[0]), (sizes[1], their_group[1]), (counts, group))
    for column, (number, of) in enumerate(entries, 1):
        sums[:, column] = np.bincount(of, weights=number * np.log(number), minlength=num_groups)
    terms = expected_information(sizes[0], sizes[1], total)
    expected = _by_group(_by_group(terms, their_group[0], num_groups).T, their_group[1], num_groups)
    value = _adjusted(sums.sum(axis=0)[None], np.array([terms.sum()]))
    resampled = [
        _adjusted(some @ sums, np.einsum("ij,ij->i", some @ expected, some))
        for some in np.array_split(draws, max(1, len(draws) // _RESAMPLES_AT_ONCE))
    ]
    return float(value[0]), np.concatenate(resampled)


def _sizes_of_units(
    units: NDArray[np.integer], counts: NDArray[np.integer], group: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.integer]]:
    """Return the spikes of each unit, and its group."""
    _, first, unit = np.unique(units, return_index=True, return_inverse=True)
    return np.bincount(unit, weights=counts).astype(np.int64), group[first]


def _by_group(
    values: NDArray[np.float64], group: NDArray[np.integer], num_groups: int
) -> NDArray[np.float64]:
    """Return the sums of the rows of each group."""
    order = np.argsort(group, kind="stable")
    out = np.zeros((num_groups, values.shape[1]))
    there, starts = np.unique(group[order], return_index=True)
    out[there] = np.add.reduceat(values[order], starts, axis=0)
    return out


def _adjusted(sums: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the measure from sums (n, 4) and expected informations times the spikes (n,)."""
    total = sums[:, 0]
    entropy = np.log(total)[:, None] - sums[:, 1:] / total[:, None]  # of rows, columns, parts
    information = entropy[:, 0] + entropy[:, 1] - entropy[:, 2]
    expected = expected / total
    largest = (entropy[:, 0] + entropy[:, 1]) / 2
    room = largest - expected
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (information - expected) / room
    # both have one unit, or each spike is one: they cannot differ
    same = np.isclose(entropy[:, :2], entropy[:, 2:], rtol=0, atol=1e-12).all(axis=1)
    return np.where(same, 1.0, value)
