"""Auto- and cross-correlograms: exact counts of spike pairs, and the bins that they add up to.

`prepare_spikes` puts the spikes of all segments into one time, `count_pairs` counts all pairs of
units in one pass and `count_chosen_pairs` some pairs from their spike trains alone, in the cells of
lags of `correlogram_bins`. `assemble` and `assemble_pairs` add the cells up to the bins of a
convention.

`count_pairs` visits each pair of spikes once, the earlier spike first. A task counts the pairs of
some earlier units (of some of their spikes, where these are many) and all later ones, in a table of
bytes that stays in the cache of a core (`pair_counts`); bins of equal width are counted sixteen
pairs at a time, others one by one. Whole numbers are added up, so the order in which tasks end does
not matter.
Sources of what is counted: SpikeInterface 0.105 ``correlogram_for_one_segment`` and phylib 2.7
``correlograms``, from both of which these counts are the same; the way of counting is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from threading import Lock
from typing import Literal, NamedTuple, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import ParameterError
from si_curation.kernels.correlogram_bins import BinCells, LagCells
from si_curation.kernels.pair_counts import (
    LANES,
    Counts,
    add_one,
    add_up,
    cell_steps,
    count_lanes,
    no_counts,
)
from si_curation.kernels.parallel import blocks, njit, run_blocks
from si_curation.kernels.spike_files import value_range
from si_curation.kernels.spikes_by_unit import (
    order_of_units,
    positions_by_group,
    positions_by_unit,
    values_by_unit,
)

# of chosen pairs; each takes 16 bytes
_SPIKES_AT_ONCE = 1 << 23
_SPIKES_PER_BLOCK = 1 << 17
_TABLE_BYTES = 1 << 20  # counts of one task: they stay in the second-level cache of a core
_SPIKES_PER_TASK = 1 << 17
_MAX_PIECES = 16  # about as many tasks at most have earlier spikes of the same units

_Problems: TypeAlias = list[tuple[bool, bool, int]]


# spikes of all segments in one time


class Spikes(NamedTuple):
    """Spikes of all segments in one time.

    Attributes
    ----------
    time : array (n_spikes + 16,) uint32
        Samples, modulo 2^32. Gaps longer than the largest lag, and those between segments, are one
        sample longer than the largest lag, so that segments follow each other and differences up
        to the largest lag are exact. The last 16 are behind all spikes.
    unit : array (n_spikes + 16,) int32
        The last 16 are 0.
    max_lag : int
        In samples.
    """

    time: NDArray[np.uint32]
    unit: NDArray[np.int32]
    max_lag: int

    @property
    def num_spikes(self) -> int:
        """Return the number of spikes."""
        return self.unit.size - LANES

    @property
    def num_pairs(self) -> int:
        """Return the number of pairs within the largest lag."""
        limit, count = np.uint32(self.max_lag), self.num_spikes
        pieces = blocks(count, _SPIKES_PER_BLOCK)
        return sum(
            run_blocks(lambda b: _num_pairs(self.time, count, limit, b.start, b.stop), pieces)
        )

    def most_later(self) -> NDArray[np.int64]:
        """Return a bound of the number of later spikes within the largest lag of a spike.

        Returns
        -------
        array (n_spikes / 64, rounded up,) int64
            A bound for each 64 spikes.
        """
        return _most_later(self.time, self.num_spikes, np.uint32(self.max_lag))


@njit
def _flatten(
    samples: NDArray[np.integer],  # (n,)
    units: NDArray[np.integer],  # (n,)
    segments: NDArray[np.integer],  # (n,)
    start: int,
    stop: int,
    num_units: int,
    spikes: Spikes,  # filled from start to stop
) -> tuple[bool, bool, int]:
    # times count from the spike before the block. No branches: a step is never the same as the
    # one before
    time, unit = spikes.time, spikes.unit
    gap = np.uint64(spikes.max_lag + 1)
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
def _num_pairs(
    time: NDArray[np.uint32], num_spikes: int, limit: np.uint32, start: int, stop: int
) -> int:
    total = 0
    j = start
    for i in range(start, stop):
        j = max(j, i + 1)
        while j < num_spikes and np.uint32(time[j] - time[i]) <= limit:
            j += 1
        total += j - i - 1
    return total


@njit
def _most_later(time: NDArray[np.uint32], num_spikes: int, limit: np.uint32) -> NDArray[np.int64]:
    n = num_spikes
    out = np.zeros((n + 63) // 64, dtype=np.int64)
    j = 0
    for block in range(out.size):
        last = min(64 * block + 63, n - 1)
        j = max(j, last)
        while j < n and np.uint32(time[j] - time[last]) <= limit:
            j = min(j + 64, n)
        out[block] = j - 64 * block
    return out


@njit
def _most_of_unit(
    unit: NDArray[np.int32],  # (n + 16,)
    num_spikes: int,
    most_later: NDArray[np.int64],  # (n / 64,)
    bounds: NDArray[np.int64],  # (num_units,), zeros
) -> int:
    for i in range(num_spikes):
        bounds[unit[i]] += most_later[i // 64]
    return bounds.max()


def dtype_of_counts(spikes: Spikes, num_units: int) -> np.dtype[np.integer]:
    """Return uint32, or int64 where a pair of units can have more pairs of spikes than it holds."""
    # pairs whose earlier spike is of one unit: no count of that unit is larger
    most = spikes.most_later()
    if most.sum() * 64 < 1 << 32:
        return np.dtype(np.uint32)
    largest = _most_of_unit(
        spikes.unit, spikes.num_spikes, most, np.zeros(num_units, dtype=np.int64)
    )
    return np.dtype(np.uint32) if largest < 1 << 32 else np.dtype(np.int64)


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
    >>> spikes.time[:4]
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
    time = np.empty(n + LANES, dtype=np.uint32)
    unit = np.empty(n + LANES, dtype=np.int32)
    spikes = Spikes(time, unit, int(max_lag))
    pieces = blocks(n, _SPIKES_PER_BLOCK)
    found = run_blocks(
        lambda b: _flatten(
            sample_index, unit_index, segment_index, b.start, b.stop, num_units, spikes
        ),
        pieces,
    )
    _refuse_bad_spikes(found, unit_index, num_units)
    start = 0
    for piece, (_, _, length) in zip(pieces, found, strict=True):
        time[piece] += np.uint32(start % (1 << 32))
        start += int(length)
    time[n:] = (start + max_lag + 1) % (1 << 32)
    unit[n:] = 0
    return spikes


def _refuse_bad_spikes(found: _Problems, unit_index: NDArray[np.integer], num_units: int) -> None:
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


# all pairs of units


@njit
def _count(
    earlier: NDArray[np.integer],  # (n_earlier,): positions of the earlier spikes
    spikes: Spikes,
    cell_of_lag: NDArray[np.uint32],
    num_cells: np.uint32,
    first_unit: int,
    width: int,
    counts: Counts,
) -> None:
    # unsigned: an index that may be negative would cost a test for each pair
    time, unit = spikes.time, spikes.unit
    limit = np.uint32(cell_of_lag.size - 1)
    one = np.uint64(1)
    for e in range(earlier.size):
        i = np.uint64(earlier[e])
        now = time[i]
        row = np.uint32(np.int64(unit[i] - first_unit) * width)
        j = i + one
        while True:
            lag = np.uint32(time[j] - now)
            if lag > limit:
                break
            cell = np.uint32(np.uint32(unit[j]) * num_cells + cell_of_lag[np.uint64(lag)])
            add_one(np.uint64(np.uint32(row + cell)), counts)
            j += one


class _Tables:
    """As many tables as there are threads: tasks of one group go on with those of the group."""

    def __init__(self, size: int, most_pairs: int, num_left: NDArray[np.int64]) -> None:
        self._size = size, most_pairs
        self._num_left = num_left  # tasks of each group
        self._lock = Lock()
        self._of_group: dict[int, list[Counts]] = {}
        self._free: list[Counts] = []

    def take(self, group: int) -> Counts:
        """Return a table of a group that no task uses now, or a clear one."""
        with self._lock:
            for some in (self._of_group.get(group), self._free):
                if some:
                    return some.pop()
        return no_counts(*self._size)

    def put_back(self, group: int, table: Counts) -> list[Counts]:
        """Put a table back; return all tables of the group when its last task ends."""
        with self._lock:
            self._of_group.setdefault(group, []).append(table)
            self._num_left[group] -= 1
            return self._of_group.pop(group) if self._num_left[group] == 0 else []

    def free(self, table: Counts) -> None:
        """Put a clear table back for other groups."""
        with self._lock:
            self._free.append(table)


def _tasks(start: NDArray[np.int64]) -> list[tuple[int, slice]]:
    """List groups and the slices of their spikes, large ones cut up; the largest first."""
    most = max(_SPIKES_PER_TASK, -(-int(start[-1]) // _MAX_PIECES))
    tasks = [
        (group, slice(first + piece.start, first + piece.stop))
        for group, (first, stop) in enumerate(pairwise(start))
        for piece in blocks(int(stop - first), most)
    ]
    return sorted(tasks, key=lambda task: task[1].start - task[1].stop)


def count_pairs(spikes: Spikes, num_units: int, cells: LagCells) -> NDArray[np.integer]:
    """Count the pairs of spikes of all units by unit, unit and cell of their lag.

    Parameters
    ----------
    spikes : Spikes
        From `prepare_spikes`, with the `max_lag` of the cells.
    num_units : int
    cells : LagCells

    Returns
    -------
    array (num_units, num_units, n_cells) uint32, or int64 where more than 2^32 - 1 can occur
        ``counts[a, b, c]``: pairs with a spike of `b` after one of `a` in the spike vector, at a
        lag of cell c. Every pair is counted once.

    Examples
    --------
    >>> from si_curation.kernels.correlogram_bins import linear_cells
    >>> cells = linear_cells(half_window_samples=4, bin_samples=2)
    >>> spikes = prepare_spikes(np.array([0, 3]), np.array([0, 1]), None, 2, cells.max_lag)
    >>> count_pairs(spikes, 2, cells)[0, 1]
    array([0, 0, 0, 1, 0, 0], dtype=uint32)
    """
    dtype = dtype_of_counts(spikes, num_units)
    out = np.zeros((num_units, num_units, cells.num_cells), dtype=dtype)
    if spikes.num_spikes == 0:
        return out
    width = num_units * cells.num_cells
    per_group = int(np.clip(_TABLE_BYTES // width, 1, num_units))
    groups = np.arange(num_units, dtype=np.int64) // per_group
    unit = spikes.unit[: spikes.num_spikes]
    earlier, start = positions_by_group(unit, groups, int(groups[-1]) + 1)
    tasks = _tasks(start)
    steps = cell_steps(cells)
    cell_of_lag = cells.cell_of_lag.astype(np.uint32)
    num_left = np.bincount([group for group, _ in tasks], minlength=start.size - 1)
    tables = _Tables(per_group * width, 64 * int(spikes.most_later().sum()), num_left)

    def count(task: tuple[int, slice]) -> None:
        group, piece = task
        table = tables.take(group)
        where = group * per_group, width, table
        if steps is None:
            _count(earlier[piece], spikes, cell_of_lag, np.uint32(cells.num_cells), *where)
        else:
            count_lanes(earlier[piece], (spikes.time, spikes.unit), steps, *where)
        for full in tables.put_back(group, table):
            add_up(full, out[group * per_group : (group + 1) * per_group].reshape(-1))
            tables.free(full)

    run_blocks(count, tasks)
    return out


# chosen pairs of units


@njit
def _count_pair(
    times_a: NDArray[np.int64],
    places_a: NDArray[np.integer],
    times_b: NDArray[np.int64],
    places_b: NDArray[np.integer],
    place_of_lag: NDArray[np.integer],  # (2 * max_lag + 1,): where to count lags from -max_lag on
    counts: NDArray[np.int64],  # (2 * n_cells,): pairs with b after a, then with a after b
) -> None:
    max_lag = place_of_lag.size // 2
    first = 0
    for i in range(times_a.size):
        low = times_a[i] - max_lag
        while first < times_b.size and times_b[first] < low:
            first += 1
        for j in range(first, times_b.size):
            lag = times_b[j] - low
            if lag >= place_of_lag.size:
                break
            at = place_of_lag[lag]
            if lag == max_lag and places_b[j] < places_a[i]:
                at = counts.size // 2
            counts[at] += 1


@njit
def _count_auto(
    times: NDArray[np.int64], cell_of_lag: NDArray[np.integer], counts: NDArray[np.int64]
) -> None:
    for i in range(times.size):
        for j in range(i + 1, times.size):
            lag = times[j] - times[i]
            if lag >= cell_of_lag.size:
                break
            counts[cell_of_lag[lag]] += 1


@njit
def _count_some(
    pairs: NDArray[np.int64],  # (n_pairs, 2)
    times: NDArray[np.integer],
    places: NDArray[np.integer],
    start: NDArray[np.int64],
    place_of_lag: NDArray[np.integer],
    out: NDArray[np.integer],  # (n_pairs, 2, n_cells)
) -> None:
    num_cells = out.shape[2]
    counts = np.zeros(2 * num_cells, dtype=np.int64)
    for p in range(pairs.shape[0]):
        a, b = pairs[p, 0], pairs[p, 1]
        times_a = times[start[a] : start[a + 1]].astype(np.int64)
        counts[:] = 0
        if a == b:
            _count_auto(times_a, place_of_lag[place_of_lag.size // 2 :], counts)
            counts[num_cells:] = counts[:num_cells]
        else:
            _count_pair(
                times_a,
                places[start[a] : start[a + 1]],
                times[start[b] : start[b + 1]].astype(np.int64),
                places[start[b] : start[b + 1]],
                place_of_lag,
                counts,
            )
        for c in range(num_cells):
            out[p, 0, c] = counts[c]
            out[p, 1, c] = counts[num_cells + c]


@overload
def count_chosen_pairs(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer] | None,
    num_units: int,
    pairs: NDArray[np.integer],
    cells: LagCells,
    narrow: Literal[False] = False,
) -> NDArray[np.int64]: ...
@overload
def count_chosen_pairs(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer] | None,
    num_units: int,
    pairs: NDArray[np.integer],
    cells: LagCells,
    narrow: bool,
) -> NDArray[np.integer]: ...
def count_chosen_pairs(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer] | None,
    num_units: int,
    pairs: NDArray[np.integer],
    cells: LagCells,
    narrow: bool = False,
) -> NDArray[np.integer]:
    """Count the pairs of spikes of chosen pairs of units alone, from their own spike trains.

    Parameters
    ----------
    sample_index, unit_index, segment_index, num_units
        As of `prepare_spikes`.
    pairs : array (n_pairs, 2) integer
        Pairs of units (a, b); a may equal b.
    cells : LagCells
    narrow : bool, default: False
        Return uint32 where no more than 2^32 - 1 can occur.

    Returns
    -------
    array (n_pairs, 2, n_cells) int64, or uint32
        ``[p, 0]``: `b` after `a`; ``[p, 1]``: `a` after `b`. Both are the same where a equals b.

    Raises
    ------
    ParameterError
        As `prepare_spikes`; or a pair is out of range.

    Examples
    --------
    >>> from si_curation.kernels.correlogram_bins import linear_cells
    >>> cells = linear_cells(half_window_samples=4, bin_samples=2)
    >>> samples, units, pairs = np.array([0, 3]), np.array([0, 1]), np.array([[1, 0]])
    >>> count_chosen_pairs(samples, units, None, 2, pairs, cells)
    array([[[0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]]])
    """
    pairs = np.ascontiguousarray(pairs, dtype=np.int64).reshape(-1, 2)
    if pairs.size and (pairs.min() < 0 or pairs.max() >= num_units):
        raise ParameterError(
            f"pairs has units from {pairs.min()} to {pairs.max()}, expected 0 to {num_units - 1}"
        )
    if segment_index is None:
        segment_index = np.broadcast_to(np.int64(0), sample_index.shape)

    def count(start: int, stop: int) -> NDArray[np.integer]:
        part = slice(start, stop)
        samples, units, segments = sample_index[part], unit_index[part], segment_index[part]
        return _count_chosen(samples, units, segments, num_units, pairs, cells, narrow)

    sizes = {sample_index.size, unit_index.size, segment_index.size}
    if max(sizes) <= _SPIKES_AT_ONCE or len(sizes) > 1:
        return count(0, max(sizes))
    # pairs whose earlier spike is in a block of time: those of the block with what is within reach
    # of it, without those of what is within reach alone
    num_spikes = max(sizes)
    out = np.zeros((len(pairs), 2, cells.num_cells), dtype=np.int64)
    for start in range(0, num_spikes, _SPIKES_AT_ONCE):
        stop = min(start + _SPIKES_AT_ONCE, num_spikes)
        end = _end_of_reach(sample_index, segment_index, stop, cells.max_lag)
        out += count(start, end)
        if end > stop:
            out -= count(stop, end)
    return out.astype(np.uint32) if narrow and out.max(initial=0) < 1 << 32 else out


def count_pairs_of_trains(
    times: Sequence[NDArray[np.int64]],
    places: Sequence[NDArray[np.integer]],
    pairs: NDArray[np.integer],
    cells: LagCells,
) -> NDArray[np.int64]:
    """Count the pairs of spikes of chosen pairs of units whose spike trains are known.

    As `count_chosen_pairs`, which makes the trains.

    Parameters
    ----------
    times : sequence of array (n_spikes of the unit,) int64
        In samples, ascending; segments lie further apart than the largest lag.
    places : sequence of array (n_spikes of the unit,) integer
        Position of each spike among those of all units.
    pairs : array (n_pairs, 2) integer
        Pairs of units (a, b); a may equal b.
    cells : LagCells

    Returns
    -------
    array (n_pairs, 2, n_cells) int64

    Examples
    --------
    >>> from si_curation.kernels.correlogram_bins import linear_cells
    >>> times, places = [np.array([0]), np.array([3])], [np.array([0]), np.array([1])]
    >>> cells = linear_cells(half_window_samples=4, bin_samples=2)
    >>> count_pairs_of_trains(times, places, np.array([[1, 0]]), cells)
    array([[[0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]]])
    """
    cell = cells.cell_of_lag
    place_of_lag = np.concatenate([cells.num_cells + cell[:0:-1], cell])
    out = np.zeros((len(pairs), 2, cells.num_cells), dtype=np.int64)

    def count(piece: slice) -> None:
        for (a, b), counts in zip(pairs[piece].tolist(), out[piece], strict=True):
            if a == b:
                _count_auto(times[a], cell, counts[0])
                counts[1] = counts[0]
            else:
                of_both = (times[a], places[a], times[b], places[b])
                _count_pair(*of_both, place_of_lag, counts.reshape(-1))

    run_blocks(count, blocks(len(pairs), max(1, min(64, len(pairs) // 16))))
    return out


def _end_of_reach(
    sample_index: NDArray[np.integer], segment_index: NDArray[np.integer], stop: int, max_lag: int
) -> int:
    """Return the first spike from `stop` on that is out of reach of the one before `stop`."""
    sample, segment = int(sample_index[stop - 1]), int(segment_index[stop - 1])
    end = stop
    while end < sample_index.size and (
        segment_index[end] < segment
        or (segment_index[end] == segment and int(sample_index[end]) - sample <= max_lag)
    ):
        end += 1
    return end


def _count_chosen(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer],
    num_units: int,
    pairs: NDArray[np.int64],
    cells: LagCells,
    narrow: bool,
) -> NDArray[np.integer]:
    """Count chosen pairs at once: `count_chosen_pairs`."""
    spikes = prepare_spikes(sample_index, unit_index, segment_index, num_units, cells.max_lag)
    dtype = dtype_of_counts(spikes, num_units) if narrow else np.dtype(np.int64)
    time, unit = spikes.time[: spikes.num_spikes], spikes.unit[: spikes.num_spikes]
    del spikes  # what is of all spikes is let go as soon as can be
    order = order_of_units(unit, num_units)
    times = values_by_unit(order, unit, _without_overflows(time))
    del time
    places, start = positions_by_unit(order, unit), order.start
    del unit, order
    cell = cells.cell_of_lag
    place_of_lag = np.concatenate([cells.num_cells + cell[:0:-1], cell])
    out = np.empty((len(pairs), 2, cells.num_cells), dtype=dtype)
    run_blocks(
        lambda b: _count_some(pairs[b], times, places, start, place_of_lag, out[b]),
        blocks(len(pairs), max(1, min(64, len(pairs) // 16))),
    )
    return out


def _without_overflows(time: NDArray[np.uint32]) -> NDArray[np.uint32] | NDArray[np.int64]:
    """Return times that ascend: spikes of one unit may be further apart than 32 bits hold."""
    if time.size and value_range(time).is_sorted:
        return time
    return np.cumsum(np.diff(time, prepend=np.uint32(0)), dtype=np.int64)


# sums of cells that make up the bins


@njit
def _sums(
    counts: NDArray[np.integer],  # (n_cells,)
    sums: NDArray[np.int64],  # (n_cells + 1,): of the cells before each one
) -> None:
    total = np.int64(0)
    for c in range(counts.size):
        sums[c] = total
        total += counts[c]
    sums[counts.size] = total


@njit
def _bin(
    ab: NDArray[np.int64],  # (n_cells + 1,): sums of b after a
    ba: NDArray[np.int64],  # (n_cells + 1,): sums of a after b
    ranges: NDArray[np.uint32],  # (4, n_bins): ab_start, ab_stop, ba_start, ba_stop
    larger: int,
    out: NDArray[np.int64],  # (n_bins,)
) -> None:
    for k in range(out.size):
        out[k] = ab[ranges[1, k]] - ab[ranges[0, k]] + ba[ranges[3, k]] - ba[ranges[2, k]]
    if larger >= 0:
        k = larger
        out[k] = max(ab[ranges[1, k]] - ab[ranges[0, k]], ba[ranges[3, k]] - ba[ranges[2, k]])


@njit
def _assemble_some(
    ab: NDArray[np.integer],  # (n_pairs, n_cells)
    ba: NDArray[np.integer],  # (n_pairs, n_cells)
    ranges: NDArray[np.uint32],
    larger: int,
    out: NDArray[np.int64],  # (n_pairs, n_bins)
) -> None:
    sums_ab = np.empty(ab.shape[1] + 1, dtype=np.int64)
    sums_ba = np.empty(ab.shape[1] + 1, dtype=np.int64)
    for p in range(ab.shape[0]):
        _sums(ab[p], sums_ab)
        _sums(ba[p], sums_ba)
        _bin(sums_ab, sums_ba, ranges, larger, out[p])


@njit
def _assemble_rows(
    counts: NDArray[np.integer],  # (n_units, n_units, n_cells)
    first: int,
    stop: int,
    ranges: NDArray[np.uint32],
    larger: int,
    out: NDArray[np.int64],  # (n_units, n_units, n_bins)
) -> None:
    # pairs (a, b) and (b, a) of units a from first to stop and b from a on
    sums_ab = np.empty(counts.shape[2] + 1, dtype=np.int64)
    sums_ba = np.empty(counts.shape[2] + 1, dtype=np.int64)
    for a in range(first, stop):
        for b in range(a, counts.shape[0]):
            _sums(counts[a, b], sums_ab)
            _sums(counts[b, a], sums_ba)
            _bin(sums_ab, sums_ba, ranges, larger, out[a, b])
            _bin(sums_ba, sums_ab, ranges, larger, out[b, a])


def _ranges(bins: BinCells) -> NDArray[np.uint32]:
    # unsigned: indices that may be negative would cost a test each
    return np.array([bins.ab_start, bins.ab_stop, bins.ba_start, bins.ba_stop], dtype=np.uint32)


def assemble(cell_counts: NDArray[np.integer], bins: BinCells) -> NDArray[np.int64]:
    """Add the cells of all pairs of units up to bins.

    Parameters
    ----------
    cell_counts : array (n_units, n_units, n_cells) integer
        From `count_pairs`.
    bins : BinCells

    Returns
    -------
    array (n_units, n_units, n_bins) int64

    Examples
    --------
    >>> from si_curation.kernels.correlogram_bins import bins_of_convention, linear_cells
    >>> cells = linear_cells(half_window_samples=4, bin_samples=2)
    >>> samples, units = np.array([0, 3, 5]), np.array([0, 1, 0])
    >>> spikes = prepare_spikes(samples, units, None, 2, cells.max_lag)
    >>> bins = bins_of_convention(cells, "spikeinterface")
    >>> assemble(count_pairs(spikes, 2, cells), bins)[0, 1], bins.edges_samples
    (array([1, 0, 0, 1]), array([-4., -2.,  0.,  2.,  4.]))
    """
    num_units = len(cell_counts)
    out = np.empty((num_units, num_units, bins.num_bins), dtype=np.int64)
    ranges = _ranges(bins)
    run_blocks(
        lambda b: _assemble_rows(cell_counts, b.start, b.stop, ranges, bins.larger, out),
        blocks(num_units, 16),
    )
    return out


def assemble_pairs(
    ab: NDArray[np.integer], ba: NDArray[np.integer], bins: BinCells
) -> NDArray[np.int64]:
    """Add the cells of chosen pairs of units up to bins.

    Parameters
    ----------
    ab, ba : array (n_pairs, n_cells) integer
        Counts of b after a and of a after b.
    bins : BinCells

    Returns
    -------
    array (n_pairs, n_bins) int64
    """
    out = np.empty((len(ab), bins.num_bins), dtype=np.int64)
    _assemble_some(ab, ba, _ranges(bins), bins.larger, out)
    return out
