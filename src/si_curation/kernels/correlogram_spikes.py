"""Spikes in time order as the counting of correlograms wants them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import ParameterError
from si_curation.kernels.parallel import blocks, njit, run_blocks

_ROWS = 1 << 17


class Spikes(NamedTuple):
    """Spikes of all segments in one time.

    Attributes
    ----------
    time : array (n_spikes + 1,) uint32
        Samples, modulo 2^32. Gaps longer than the largest lag, and those between segments, are one
        sample longer than the largest lag, so that segments follow each other and differences up
        to the largest lag are exact. The last one is behind all spikes.
    unit : array (n_spikes,) int32
    max_lag : int
        In samples.
    """

    time: NDArray[np.uint32]
    unit: NDArray[np.int32]
    max_lag: int

    @property
    def num_pairs(self) -> int:
        """Number of pairs within the largest lag."""
        pieces = blocks(self.unit.size, _ROWS)
        limit = np.uint32(self.max_lag)
        return sum(run_blocks(lambda b: _num_pairs(self.time, limit, b.start, b.stop), pieces))

    def most_later(self) -> NDArray[np.int64]:
        """Give a bound of the number of later spikes within the largest lag of a spike.

        Returns
        -------
        array (n_spikes / 64, rounded up,) int64
            A bound for each 64 spikes.
        """
        return _most_later(self.time, np.uint32(self.max_lag))


@njit
def _flatten(samples, units, segments, start, stop, num_units, gap, time, unit):
    # samples, units, segments (n,); time, unit (n,) are filled from start to stop, times count
    # from the spike before the block. No branches: a step is never the same as the one before
    is_unsorted = False
    is_bad = False
    now = np.uint64(0)
    for i in range(start, stop):
        before = max(i - 1, 0)
        same = segments[i] == segments[before]
        is_unsorted |= (segments[i] < segments[before]) | (same & (samples[i] < samples[before]))
        is_bad |= (units[i] < 0) | (units[i] >= num_units)
        # modulo 2^64: exact even where samples are as far apart as int64 goes
        step = np.uint64(samples[i]) - np.uint64(samples[before])
        now += min(step, gap) if same else gap
        time[i] = np.uint32(now)
        unit[i] = units[i]
    return is_unsorted, is_bad, now


@njit
def _num_pairs(time, limit, start, stop):
    total = 0
    j = start
    for i in range(start, stop):
        j = max(j, i + 1)
        while j < time.size - 1 and np.uint32(time[j] - time[i]) <= limit:
            j += 1
        total += j - i - 1
    return total


@njit
def _most_later(time, limit):  # time (n + 1,)
    n = time.size - 1
    out = np.zeros((n + 63) // 64, dtype=np.int64)
    j = 0
    for block in range(out.size):
        last = min(64 * block + 63, n - 1)
        j = max(j, last)
        while j < n and np.uint32(time[j] - time[last]) <= limit:
            j = min(j + 64, n)
        out[block] = j - 64 * block
    return out


def dtype_of_counts(spikes: Spikes, num_units: int) -> np.dtype:
    """Give uint32, or int64 where a pair of units can have more pairs of spikes than that holds."""
    # pairs whose earlier spike is of one unit: no count of that unit is larger
    most = spikes.most_later()
    if most.sum() * 64 < 1 << 32:
        return np.dtype(np.uint32)
    largest = _most_of_unit(spikes.unit, most, np.zeros(num_units, dtype=np.int64))
    return np.dtype(np.uint32 if largest < 1 << 32 else np.int64)


@njit
def _most_of_unit(unit, most_later, bounds):  # (n,), (n / 64,), (num_units,)
    for i in range(unit.size):
        bounds[unit[i]] += most_later[i // 64]
    return bounds.max()


def prepare_spikes(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer] | None,
    num_units: int,
    max_lag: int,
) -> Spikes:
    """Check the spikes and put those of all segments into one time.

    Parameters
    ----------
    sample_index : array (n_spikes,) integer
        Ascending within each segment; any int64, negative ones too.
    unit_index : array (n_spikes,) integer, values in [0, num_units)
    segment_index : array (n_spikes,) integer, optional
        Ascending; one segment by default. Pairs across segments do not count.
    num_units : int
    max_lag : int
        In samples, below 2^30.

    Returns
    -------
    Spikes

    Raises
    ------
    ParameterError
        The arrays differ in length, spikes are not in time order, or a unit is out of range.

    Examples
    --------
    >>> spikes = prepare_spikes(np.array([0, 3, 90]), np.array([0, 1, 0]), None, 2, max_lag=5)
    >>> spikes.time
    array([ 0,  3,  9, 15], dtype=uint32)
    >>> spikes.num_pairs
    1
    """
    if segment_index is None:
        segment_index = np.broadcast_to(np.int64(0), sample_index.shape)
    sizes = sorted({sample_index.shape, unit_index.shape, segment_index.shape})
    if len(sizes) > 1 or len(sizes[0]) != 1:
        raise ParameterError(
            f"sample_index, unit_index and segment_index have shapes {sample_index.shape}, "
            f"{unit_index.shape} and {segment_index.shape}; expected one length for all"
        )
    if sample_index.dtype != np.int64:
        sample_index = sample_index.astype(np.int64)
    n = sample_index.size
    time, unit = np.empty(n + 1, dtype=np.uint32), np.empty(n, dtype=np.int32)
    gap = np.uint64(max_lag + 1)
    pieces = blocks(n, _ROWS)
    found = run_blocks(
        lambda b: _flatten(
            sample_index, unit_index, segment_index, b.start, b.stop, num_units, gap, time, unit
        ),
        pieces,
    )
    _refuse(found, unit_index, num_units)
    start = 0
    for piece, (_, _, length) in zip(pieces, found, strict=True):
        time[piece] += np.uint32(start % (1 << 32))
        start += int(length)
    time[n] = (start + max_lag + 1) % (1 << 32)
    return Spikes(time, unit, int(max_lag))


def _refuse(found, unit_index, num_units) -> None:
    problems = []
    if any(is_bad for _, is_bad, _ in found):
        problems.append(
            f"unit_index goes from {unit_index.min()} to {unit_index.max()}, expected 0 to "
            f"{num_units - 1}"
        )
    if any(is_unsorted for is_unsorted, _, _ in found):
        problems.append("spikes are not sorted by segment and sample_index; sort them first")
    if problems:
        raise ParameterError("; ".join(problems))


@njit
def _histogram(unit, group_of_unit, counts):  # unit (n,), counts (num_groups,)
    for i in range(unit.size):
        counts[group_of_unit[unit[i]]] += 1


@njit
def _place(unit, group_of_unit, start, next_place, out):
    for i in range(unit.size):
        group = group_of_unit[unit[i]]
        out[next_place[group]] = start + i
        next_place[group] += 1


def by_group(
    unit: NDArray[np.int32], group_of_unit: NDArray[np.int64], num_groups: int
) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """Positions of the spikes of each group of units, ascending, one group after the other.

    Parameters
    ----------
    unit : array (n_spikes,) int32
    group_of_unit : array (n_units,) int64
    num_groups : int

    Returns
    -------
    places : array (n_spikes,) int32 or int64
    start : array (num_groups + 1,) int64
        Where each group starts in `places`.

    Examples
    --------
    >>> places, start = by_group(np.array([1, 0, 1], dtype="int32"), np.arange(2), 2)
    >>> places, start
    (array([1, 0, 2], dtype=int32), array([0, 1, 3]))
    """
    pieces = blocks(unit.size, _ROWS)
    counts = np.zeros((len(pieces), num_groups), dtype=np.int64)
    numbered = list(enumerate(pieces))
    run_blocks(lambda p: _histogram(unit[p[1]], group_of_unit, counts[p[0]]), numbered)
    start = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
    next_place = start[:-1] + np.cumsum(counts, axis=0) - counts
    out = np.empty(unit.size, dtype=np.int32 if unit.size < 1 << 31 else np.int64)
    run_blocks(
        lambda p: _place(unit[p[1]], group_of_unit, p[1].start, next_place[p[0]], out), numbered
    )
    return out, start
