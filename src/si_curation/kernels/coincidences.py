"""Spikes of one unit with a spike of another one close by: mostly one spike found twice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import blocks, njit, num_threads, run_blocks


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


def count_coincident_spikes(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer],
    num_units: int,
    pairs: NDArray[np.integer],
    window: int,
) -> NDArray[np.int64]:
    """Count the spikes of each unit of a pair that have a spike of the other one close by.

    Parameters
    ----------
    sample_index : array (n_spikes,) integer
        Ascending within each segment.
    unit_index : array (n_spikes,) integer, values in [0, num_units)
    segment_index : array (n_spikes,) integer, values >= 0
        Ascending.
    num_units : int
    pairs : array (n_pairs, 2) integer
        Two different units each.
    window : int
        Largest distance in samples, in both directions, inclusive.

    Returns
    -------
    array (n_pairs, 2) int64
        Spikes of the first and of the second unit that have at least one partner.

    Examples
    --------
    >>> samples, units = np.array([0, 2, 3, 50]), np.array([0, 1, 1, 0])
    >>> count_coincident_spikes(samples, units, np.zeros(4, int), 2, np.array([[0, 1]]), window=5)
    array([[1, 2]])
    """
    both = np.concatenate([pairs, pairs[:, ::-1]])
    found = count_spikes_with_partner(
        sample_index, unit_index, segment_index, num_units, both, window
    )
    return found.reshape(2, len(pairs)).T


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
    counts: NDArray[np.int32],  # (n_units, n_units), of which [i, j] with i < j are used
) -> None:
    for i in range(start, stop):
        for j in range(i + 1, samples.size):
            if segments[j] != segments[i] or samples[j] - samples[i] > window:
                break
            a, b = units[i], units[j]
            if a < b:
                counts[a, b] += 1
            elif b < a:
                counts[b, a] += 1


def count_close_pairs(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer],
    num_units: int,
    window: int,
) -> NDArray[np.int32]:
    """Count the pairs of spikes close to each other, of all pairs of units in one pass.

    Parameters
    ----------
    sample_index : array (n_spikes,) integer
        Ascending within each segment.
    unit_index : array (n_spikes,) integer, values in [0, num_units)
    segment_index : array (n_spikes,) integer
        Ascending.
    num_units : int
    window : int
        Largest distance in samples, in both directions, inclusive.

    Returns
    -------
    array (num_units, num_units) int32
        The pairs of a spike of unit ``i`` and one of unit ``j`` at ``[i, j]`` where ``i < j``; 0
        elsewhere. No unit has fewer pairs with another than spikes with a partner in it.

    Examples
    --------
    >>> samples, units = np.array([0, 2, 3, 50]), np.array([0, 1, 1, 0])
    >>> count_close_pairs(samples, units, np.zeros(4, int), 2, window=5)
    array([[0, 2],
           [0, 0]], dtype=int32)
    """
    pieces = blocks(sample_index.size, max(1 << 20, sample_index.size // 8))

    def count(piece: slice) -> NDArray[np.int32]:
        counts = np.zeros((num_units, num_units), dtype=np.int32)
        _close_pairs(
            sample_index, unit_index, segment_index, piece.start, piece.stop, window, counts
        )
        return counts

    total = np.zeros((num_units, num_units), dtype=np.int32)
    for start in range(0, len(pieces), num_threads()):
        for counts in run_blocks(count, pieces[start : start + num_threads()]):
            total += counts
    return total


class _AskedPairs(NamedTuple):
    """Pairs of units that are asked for, in an order that finds them fast."""

    is_asked: NDArray[np.uint64]  # (n_units, n_units / 64): a bit for each other unit
    start: NDArray[np.int64]  # (n_units + 1,): where the pairs of each first unit start
    second: NDArray[np.int64]  # (n_pairs,), ascending within each first unit

    @classmethod
    def of(cls, pairs: NDArray[np.int64], num_units: int) -> _AskedPairs:
        """Return them; pairs (n_pairs, 2), ascending, without repetitions."""
        first, second = pairs.T
        is_asked = np.zeros((num_units, num_units // 64 + 1), dtype=np.uint64)
        bit = np.uint64(1) << (second % 64).astype(np.uint64)
        np.bitwise_or.at(is_asked, (first, second // 64), bit)
        start = np.searchsorted(first, np.arange(num_units + 1))
        return cls(is_asked, start, np.ascontiguousarray(second))


@njit
def _spikes_with_partner(
    samples: NDArray[np.integer],  # (n,) ascending within each segment
    units: NDArray[np.integer],  # (n,)
    segments: NDArray[np.integer],  # (n,) ascending
    start: int,
    stop: int,
    window: int,
    pairs: _AskedPairs,
    counts: NDArray[np.int64],  # (n_pairs,)
) -> None:
    last = np.full(counts.size, -1, dtype=np.int64)  # the spike that each pair was counted for
    for i in range(start, stop):
        unit = units[i]
        low, high = pairs.start[unit], pairs.start[unit + 1]
        if low == high:
            continue
        sample, segment = np.int64(samples[i]), segments[i]
        for step in (-1, 1):
            j = i + step
            while 0 <= j < samples.size and segments[j] == segment:
                if abs(np.int64(samples[j]) - sample) > window:
                    break
                other = units[j]
                if (pairs.is_asked[unit, other >> 6] >> np.uint64(other & 63)) & np.uint64(1):
                    k = low + np.searchsorted(pairs.second[low:high], other)
                    if last[k] != i:
                        last[k] = i
                        counts[k] += 1
                j += step


def count_spikes_with_partner(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer],
    num_units: int,
    pairs: NDArray[np.integer],
    window: int,
) -> NDArray[np.int64]:
    """Count the spikes of one unit that have a spike of another close by, for many pairs at once.

    As `count_coincident_spikes`, in one pass over the spikes in place of one for each pair.

    Parameters
    ----------
    sample_index : array (n_spikes,) integer
        Ascending within each segment.
    unit_index : array (n_spikes,) integer, values in [0, num_units)
    segment_index : array (n_spikes,) integer
        Ascending.
    num_units : int
    pairs : array (n_pairs, 2) integer
        Two different units each.
    window : int
        Largest distance in samples, in both directions, inclusive.

    Returns
    -------
    array (n_pairs,) int64
        Spikes of the first unit that have at least one partner in the second.

    Examples
    --------
    >>> samples, units = np.array([0, 2, 3, 50]), np.array([0, 1, 1, 0])
    >>> pairs = np.array([[0, 1], [1, 0]])
    >>> count_spikes_with_partner(samples, units, np.zeros(4, int), 2, pairs, window=5)
    array([1, 2])
    """
    if len(pairs) == 0:
        return np.zeros(0, dtype=np.int64)
    different, place = np.unique(pairs[:, 0] * num_units + pairs[:, 1], return_inverse=True)
    asked = _AskedPairs.of(np.stack([different // num_units, different % num_units], 1), num_units)

    def count(piece: slice) -> NDArray[np.int64]:
        counts = np.zeros(different.size, dtype=np.int64)
        of_spikes = (sample_index, unit_index, segment_index)
        _spikes_with_partner(*of_spikes, piece.start, piece.stop, window, asked, counts)
        return counts

    found = run_blocks(count, blocks(sample_index.size, max(1 << 20, sample_index.size // 8)))
    return np.sum(found, axis=0, dtype=np.int64)[place]


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
