"""Spikes of one unit with a spike of another one close by: mostly one spike found twice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import blocks, njit, num_threads, run_blocks
from si_curation.kernels.spikes_by_unit import spikes_by_unit

# smallest number of buckets of units, whose counts are in a cache
_NUM_BUCKETS = 64
# as many units have a bucket each
_MOST_BUCKETS_OF_ONE = 256


@njit
def _with_partner(
    times: NDArray[np.int64], others: NDArray[np.int64], window: int
) -> int:  # both ascending
    count = 0
    first = 0
    for i in range(times.size):
        while first < others.size and others[first] < times[i] - window:
            first += 1
        if first < others.size and others[first] <= times[i] + window:
            count += 1
    return count


@njit
def _both_with_partner(
    times: NDArray[np.int64], others: NDArray[np.int64], window: int, counts: NDArray[np.int64]
) -> None:  # both ascending; counts (2,)
    first = 0
    counted = -1  # the last of the others that has a partner
    for i in range(times.size):
        while first < others.size and others[first] < times[i] - window:
            first += 1
        j = first
        if j < others.size and others[j] <= times[i] + window:
            counts[0] += 1
            j = max(j, counted + 1)
            while j < others.size and others[j] <= times[i] + window:
                counts[1] += 1
                counted = j
                j += 1


def count_coincident_spikes(
    times: Sequence[NDArray[np.int64]] | Mapping[int, NDArray[np.int64]],
    pairs: NDArray[np.integer],
    window: int,
) -> NDArray[np.int64]:
    """Count the spikes of each unit of a pair that have a spike of the other one close by.

    Parameters
    ----------
    times : sequence or mapping of array (n_spikes of the unit,) int64
        In samples, ascending; segments lie further apart than the window.
    pairs : array (n_pairs, 2) integer
        Two different units each.
    window : int
        Largest distance in samples, in both directions, inclusive.

    Returns
    -------
    array (n_pairs, 2) int64

    Examples
    --------
    >>> times = [np.array([0, 50]), np.array([2, 3])]
    >>> count_coincident_spikes(times, np.array([[0, 1]]), window=5)
    array([[1, 2]])
    """
    out = np.zeros((len(pairs), 2), dtype=np.int64)

    def count(piece: slice) -> None:
        for (a, b), counts in zip(pairs[piece].tolist(), out[piece], strict=True):
            _both_with_partner(times[a], times[b], window, counts)

    run_blocks(count, blocks(len(pairs), max(1, min(64, len(pairs) // 16))))
    return out


def count_lags_between(
    times: NDArray[np.int64], others: NDArray[np.int64], max_lag: int
) -> NDArray[np.int64]:
    """Count the pairs of a spike of each of two trains by lag.

    Parameters
    ----------
    times, others : array (n,), (m,) int64
        In samples, ascending.
    max_lag : int
        Largest lag in samples, in both directions.

    Returns
    -------
    array (2 * max_lag + 1,) int64
        From the lag ``-max_lag`` on; a lag is positive where the other one is later.

    Examples
    --------
    >>> count_lags_between(np.array([0, 10]), np.array([1, 9, 90]), 2)
    array([0, 1, 0, 1, 0])
    """
    counts = np.zeros(2 * max_lag + 1, dtype=np.int64)
    _lags_between(times, others, counts)
    return counts


@njit
def _lags_between(
    times: NDArray[np.int64],
    others: NDArray[np.int64],
    counts: NDArray[np.int64],  # (2 * max_lag + 1,)
) -> None:
    first = 0
    for i in range(times.size):
        earliest = times[i] - counts.size // 2
        while first < others.size and others[first] < earliest:
            first += 1
        j = first
        while j < others.size and others[j] - earliest < counts.size:
            counts[others[j] - earliest] += 1
            j += 1


@njit
def count_partners(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer],
    num_units: int,
    spikes: NDArray[np.integer],
    is_second: NDArray[np.bool_],
    window: int,
) -> NDArray[np.int64]:
    """Count how many of some spikes, in two parts, have a spike of each unit close by.

    Parameters
    ----------
    sample_index : array (n_spikes,) integer
        Ascending within each segment.
    unit_index : array (n_spikes,) integer, values in [0, num_units)
    segment_index : array (n_spikes,) integer
        Ascending.
    num_units : int
    spikes : array (n,) integer
        Positions in these.
    is_second : array (n,) bool
        Which of them are of the second part.
    window : int
        Largest distance in samples, in both directions, inclusive.

    Returns
    -------
    array (2, num_units) int64
        Of the first and of the second part. A spike is no partner of its own; others of its unit
        are.

    Examples
    --------
    >>> samples, units = np.array([0, 2, 3, 50]), np.array([0, 1, 1, 0])
    >>> both = np.array([False, True])
    >>> count_partners(samples, units, np.zeros(4, int), 2, np.array([0, 3]), both, 5)
    array([[0, 1],
           [0, 0]])
    """
    counts = np.zeros((2, num_units), dtype=np.int64)
    last = np.full(num_units, -1, dtype=np.int64)  # the spike that each unit was counted for
    for k in range(spikes.size):
        spike, part = spikes[k], int(is_second[k])
        for step in (-1, 1):
            i = spike + step
            while 0 <= i < sample_index.size and segment_index[i] == segment_index[spike]:
                if abs(np.int64(sample_index[i]) - np.int64(sample_index[spike])) > window:
                    break
                if last[unit_index[i]] != k:
                    last[unit_index[i]] = k
                    counts[part, unit_index[i]] += 1
                i += step
    return counts


@njit
def _close_pairs(
    samples: NDArray[np.integer],  # (n,) ascending within each segment
    units: NDArray[np.integer],  # (n,)
    segments: NDArray[np.integer],  # (n,) ascending
    start: int,
    stop: int,
    window: int,
    counts: NDArray[np.int32],  # (n_units, n_buckets), a power of two
) -> None:
    last = counts.shape[1] - 1
    for i in range(start, stop):
        a = units[i]
        for j in range(i + 1, samples.size):
            if segments[j] != segments[i] or samples[j] - samples[i] > window:
                break
            b = units[j]
            if a != b:
                counts[a, b & last] += 1
                counts[b, a & last] += 1


def _count_close_pairs(
    of_spikes: tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]],
    num_units: int,
    window: int,
    num_buckets: int,
) -> NDArray[np.int32]:
    """Count the pairs of spikes close to each other, of each unit with buckets of other units.

    Unit ``j`` is in bucket ``j % num_buckets``: (num_units, num_buckets).
    """
    pieces = blocks(of_spikes[0].size, max(1 << 20, of_spikes[0].size // 8))
    total = np.zeros((num_units, num_buckets), dtype=np.int32)

    def count(piece: slice) -> NDArray[np.int32]:
        counts = np.zeros_like(total)
        _close_pairs(*of_spikes, piece.start, piece.stop, window, counts)
        return counts

    for start in range(0, len(pieces), num_threads()):
        for counts in run_blocks(count, pieces[start : start + num_threads()]):
            total += counts
    return total


def _how_many_buckets(
    of_spikes: tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]],
    num_units: int,
    window: int,
    share: float,
) -> tuple[int, int]:
    """Return the number of buckets to count in, and the number with which each unit has its own."""
    samples, _, segments = of_spikes
    enough = 1 << max(num_units - 1, 0).bit_length()
    if enough <= _MOST_BUCKETS_OF_ONE:
        return enough, enough
    # half of the share by chance, where all units fire alike
    by_chance = 0.0
    if samples.size:
        is_one = segments[0] == segments[-1]  # then samples ascend
        length = int(samples[-1] - samples[0]) if is_one else int(np.ptp(samples))
        by_chance = 2 * window * samples.size / max(length, 1)
    wanted = max(_NUM_BUCKETS, math.ceil(2 * by_chance / max(share, 1e-3)))
    return min(1 << (wanted - 1).bit_length(), enough), enough


def most_close_pairs(
    of_spikes: tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]],
    num_units: int,
    pairs: NDArray[np.integer],
    window: int,
    share: float,
) -> NDArray[np.int32]:
    """Return how many pairs of spikes close to each other pairs of units have at most.

    No unit has more spikes with a partner in the other: most pairs of units are found to have too
    few in one pass over the spikes of all.

    Parameters
    ----------
    of_spikes : array (n_spikes,) integer, three times
        As of `pairs_that_coincide`.
    num_units : int
    pairs : array (n_pairs, 2) integer
        Two different units each.
    window : int
        Largest distance in samples, in both directions, inclusive.
    share : float
        Of spikes with a partner that matters: so close is the bound where units fire by chance.

    Returns
    -------
    array (n_pairs,) int32
        Exact where there are few units.

    Examples
    --------
    >>> samples, units = np.array([0, 2, 3, 50]), np.array([0, 1, 1, 0])
    >>> most_close_pairs((samples, units, np.zeros(4, int)), 2, np.array([[0, 1]]), 5, 0.5)
    array([2], dtype=int32)
    """
    num_buckets, _ = _how_many_buckets(of_spikes, num_units, window, share)
    counts = _count_close_pairs(of_spikes, num_units, window, num_buckets)
    first, second = pairs.T
    return np.minimum(counts[first, second % num_buckets], counts[second, first % num_buckets])


def pairs_that_coincide(
    of_spikes: tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]],
    num_spikes: NDArray[np.int64],
    window: int,
    share: float,
    least: int,
) -> NDArray[np.int64]:
    """Return the pairs of units with many pairs of spikes close to each other, of all pairs.

    Counts of all pairs of thousands of units fit into no cache. Units are counted in buckets first;
    the few pairs whose buckets have as many are then counted one by one.

    Parameters
    ----------
    of_spikes : array (n_spikes,) integer, three times
        Samples, ascending within each segment; units, in [0, n_units); segments, ascending.
    num_spikes : array (n_units,) int64
        Of each unit.
    window : int
        Largest distance in samples, in both directions, inclusive.
    share : float
        There are more pairs of spikes than this share of the spikes of the smaller unit. No unit
        has fewer pairs with another than spikes with a partner in it.
    least : int
        Units with fewer spikes are in no pair.

    Returns
    -------
    array (n_pairs, 2) int64
        Ascending, the smaller index first.

    Examples
    --------
    >>> samples, units = np.array([0, 2, 3, 50]), np.array([0, 1, 1, 0])
    >>> pairs_that_coincide((samples, units, np.zeros(4, int)), np.array([2, 2]), 5, 0.5, 1)
    array([[0, 1]])
    """
    samples, units, segments = of_spikes
    num_units = num_spikes.size
    num_buckets, enough = _how_many_buckets(of_spikes, num_units, window, share)
    pairs = _pairs_of_buckets(of_spikes, num_spikes, window, share, least, num_buckets)
    if num_buckets < enough and len(pairs) > num_units:  # nearly all spikes have many others near
        num_buckets = enough
        pairs = _pairs_of_buckets(of_spikes, num_spikes, window, share, least, num_buckets)
    if num_buckets == enough or len(pairs) == 0:
        return pairs
    length = int(samples.max()) - int(samples.min()) + window + 1
    by_unit = spikes_by_unit(units, num_units)
    trains = {
        unit: samples[by_unit[unit]].astype(np.int64) + segments[by_unit[unit]] * length
        for unit in np.unique(pairs).tolist()
    }
    close = np.array([_num_close(trains[a], trains[b], window) for a, b in pairs.tolist()])
    return pairs[close > share * num_spikes[pairs].min(axis=1)]


def _pairs_of_buckets(
    of_spikes: tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]],
    num_spikes: NDArray[np.int64],
    window: int,
    share: float,
    least: int,
    num_buckets: int,
) -> NDArray[np.int64]:
    """Return the pairs of units each of which is in a bucket that is often close to the other."""
    num_units = num_spikes.size
    counts = _count_close_pairs(of_spikes, num_units, window, num_buckets)
    of_bucket = np.arange(0, max(num_units, 1), num_buckets)
    # of units with too few spikes, and where a bucket has fewer units: too many to be passed
    sizes = np.full(of_bucket.size * num_buckets, np.iinfo(np.int64).max)
    sizes[:num_units][num_spikes >= least] = num_spikes[num_spikes >= least]
    smallest = sizes.reshape(-1, num_buckets).min(axis=0)
    first, bucket = np.nonzero(counts > share * np.minimum(sizes[:num_units, None], smallest))
    second = bucket[:, None] + of_bucket  # all units of the bucket
    first = np.repeat(first, second.shape[1])
    second = second.reshape(-1)
    is_pair = (first < second) & (second < num_units)
    first, second = first[is_pair], second[is_pair]
    fewest = np.minimum(num_spikes[first], num_spikes[second])
    most = np.minimum(counts[first, second % num_buckets], counts[second, first % num_buckets])
    is_pair = (most > share * fewest) & (fewest >= least)
    first, second = first[is_pair], second[is_pair]
    return np.stack([first, second], axis=1)[np.lexsort((second, first))]


def _num_close(times: NDArray[np.int64], others: NDArray[np.int64], window: int) -> int:
    """Return the number of pairs of spikes of two trains that are close to each other."""
    low = np.searchsorted(others, times - window, side="left")
    return int((np.searchsorted(others, times + window, side="right") - low).sum())


def share_with_partner(
    times: NDArray[np.integer], others: NDArray[np.integer], window: int
) -> float:
    """Return the share of spikes that have a spike of another train close by.

    Parameters
    ----------
    times : array (n,) integer
        Ascending.
    others : array (m,) integer
        Ascending.
    window : int
        Largest distance in samples, in both directions, inclusive.

    Returns
    -------
    float
        NaN without spikes.

    Examples
    --------
    >>> share_with_partner(np.array([0, 50]), np.array([2, 3]), window=5)
    0.5
    """
    if times.size == 0:
        return float("nan")
    own = np.ascontiguousarray(times, dtype=np.int64)
    count = _with_partner(own, np.ascontiguousarray(others, dtype=np.int64), window)
    return float(count) / own.size
