"""Continuity of amplitude and depth between two units, and the overlap of the times they fire at.

Values are compared where the two units are closest in time, so that slow drift does not count.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.time_profile import count_by_bin, profile_of_unit

NUM_TIME_BINS = 40
MIN_SPIKES = 10
ACTIVE_SHARE = 0.2
# of all units; sums of their values are added up before those of the next ones
_SPIKES_PER_SUM = 1 << 22


class TimeProfile(NamedTuple):
    """Spike counts, and means and variances of a value of the spikes; arrays (n_units, n_bins)."""

    counts: NDArray[np.float64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]


class Continuity(NamedTuple):
    """Difference of two units where they are closest in time; arrays (n_pairs,) float64.

    Attributes
    ----------
    difference : array
        Mean of the second less that of the first unit, in the unit of the values.
    distance : array
        Its size in excess of the sampling error, in standard deviations of the spikes.
    gap : array
        Time bins between the spikes that were compared; 0 where both units fire in the same bins.

    Notes
    -----
    All are NaN where either unit has fewer than 10 spikes with a value.
    """

    difference: NDArray[np.float64]
    distance: NDArray[np.float64]
    gap: NDArray[np.float64]


def add_to_profile(
    profile: TimeProfile,
    unit: int,
    time_bin: NDArray[np.integer],
    values: NDArray[np.floating] | None = None,
    positions: NDArray[np.integer] | None = None,
    absolute: bool = False,
) -> None:
    """Write the spike counts of a unit in each time bin, and mean and variance of a value.

    Parameters
    ----------
    profile : TimeProfile
        Of all units; the row of the unit is 0.
    unit : int
    time_bin : array (n,) integer
        Of the spikes of the unit.
    values : array (n,) floating, optional
        Of its spikes; those whose value is not finite are left out. None: counts only.
    positions : array (n,) integer, optional
        Ascending; sums are of so many spikes of all units before those of the next ones are added.
    absolute : bool, default: False
        Take the absolute values.

    Examples
    --------
    >>> profile = TimeProfile(*np.zeros((3, 1, 2)))
    >>> add_to_profile(profile, 0, np.array([0, 0, 1]), np.array([1.0, 3, 5]))
    >>> profile.counts, profile.means
    (array([[2., 1.]]), array([[2., 5.]]))
    """
    counts, means, variances = (table[unit] for table in profile)
    if values is None:
        count_by_bin(time_bin, counts)
        return
    parts = np.array([0, time_bin.size])
    if positions is not None and positions.size and positions[-1] >= _SPIKES_PER_SUM:
        borders = np.arange(_SPIKES_PER_SUM, positions[-1] + 1, _SPIKES_PER_SUM)
        parts = np.concatenate([[0], np.searchsorted(positions, borders), [time_bin.size]])
    profile_of_unit(time_bin, values, absolute, parts, counts, means, variances)


def time_overlap(counts: NDArray[np.float64], pairs: NDArray[np.integer]) -> NDArray[np.float64]:
    """Compute the share of the spikes of one unit at times when the other one is active.

    A unit is active in the time bins in which it has at least a fifth of the median of its bins
    with spikes.

    Parameters
    ----------
    counts : array (n_units, n_bins) float64
    pairs : array (n_pairs, 2) integer

    Returns
    -------
    array (n_pairs,) float64
        The larger of both shares: 0 if the two are never active together, 1 if one is active only
        while the other is. NaN where either has no spikes.

    Examples
    --------
    >>> time_overlap(np.array([[9.0, 9, 0], [0, 1, 3], [5, 5, 5]]), np.array([[0, 1], [1, 2]]))
    array([0.5, 1. ])
    """
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    # the median of what is above 0, which comes last in ascending order; 0 of nothing
    rows, number = np.arange(len(counts)), np.maximum((counts > 0).sum(axis=1), 1)
    first = counts.shape[1] - number
    ascending = np.sort(counts, axis=1)
    low, high = ascending[rows, first + (number - 1) // 2], ascending[rows, first + number // 2]
    typical = (low + high) / 2
    is_active = (counts > 0) & (counts >= ACTIVE_SHARE * typical[:, None])
    a, b = pairs.T
    return np.maximum(
        (shares[a] * is_active[b]).sum(axis=1), (shares[b] * is_active[a]).sum(axis=1)
    )


def continuity_of_pairs(
    profile: TimeProfile, pairs: NDArray[np.integer], resolution: NDArray[np.float64] | float
) -> Continuity:
    """Compare a value of two units where they are closest in time.

    Spikes of the same time bin are compared. Where either unit has fewer than 10 spikes in common
    bins, spikes one bin apart are compared too, then two bins apart, and so on until there are 10.

    Parameters
    ----------
    profile : TimeProfile
    pairs : array (n_pairs, 2) integer
    resolution : float, or array (n_pairs,)
        Smallest standard deviation, in the unit of the values; added in quadrature.

    Returns
    -------
    Continuity
    """
    num_pairs, num_bins = len(pairs), profile.counts.shape[1]
    weight, difference, within, gap = (np.zeros(num_pairs) for _ in range(4))
    enough = profile.counts.sum(axis=1) >= MIN_SPIKES
    left = np.flatnonzero(enough[pairs[:, 0]] & enough[pairs[:, 1]])
    compared = left.copy()
    for distance in range(num_bins):
        if left.size == 0:
            break
        gap[left] = distance
        a, b = pairs[left].T
        for first, second in ((a, b),) if distance == 0 else ((a, b), (b, a)):
            sign = 1.0 if first is a else -1.0
            early = TimeProfile(*(x[first, : num_bins - distance] for x in profile))
            late = TimeProfile(*(x[second, distance:] for x in profile))
            both = np.minimum(early.counts, late.counts)  # (pairs, bins)
            weight[left] += both.sum(axis=1)
            difference[left] += sign * (both * (late.means - early.means)).sum(axis=1)
            within[left] += (both * 0.5 * (late.variances + early.variances)).sum(axis=1)
        left = left[weight[left] < MIN_SPIKES]
    out = [np.full(num_pairs, np.nan) for _ in range(3)]
    total = np.maximum(weight[compared], 1.0)
    spread = within[compared] / total
    out[0][compared] = difference[compared] / total
    excess = np.maximum(out[0][compared] ** 2 - 2.0 * spread / total, 0.0)
    floor = np.broadcast_to(np.asarray(resolution, dtype=np.float64), num_pairs)[compared]
    out[1][compared] = np.sqrt(excess / (spread + floor**2))
    out[2][compared] = gap[compared]
    return Continuity(*out)
