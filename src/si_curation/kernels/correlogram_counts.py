"""Exact counts of spike pairs by unit, unit and lag, all units in one pass.

Each pair is visited once, the earlier spike first. A task counts the pairs of some earlier units
(of some of their spikes, where these are many) and all later ones, in a table of bytes that stays
in the cache of a core; a byte that runs over adds to a second table, which is hardly ever touched.
Whole numbers are added up, so the order in which tasks end does not matter. Sources of what is
counted: SpikeInterface 0.105 ``correlogram_for_one_segment`` and phylib 2.7 ``correlograms``, of
which these counts give both; the way of counting is new.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.correlogram_cells import LagCells
from si_curation.kernels.correlogram_pairs import count_chosen_pairs
from si_curation.kernels.correlogram_spikes import (
    Spikes,
    by_group,
    dtype_of_counts,
    prepare_spikes,
)
from si_curation.kernels.parallel import blocks, njit, run_blocks

__all__ = ["count_chosen_pairs", "count_pairs", "count_tables", "prepare_spikes"]

_TABLE_BYTES = 1 << 19  # counts of one task: they stay in the second-level cache of a core
_SPIKES_PER_TASK = 1 << 17
_MAX_PIECES = 16  # about as many tasks at most have earlier spikes of the same units


@njit
def _count(earlier, time, unit, offset, cell_of_lag, first_unit, width, counts, overruns):
    # earlier (n_earlier,): positions of the earlier spikes; time (n + 1,), unit (n,);
    # offset (n,): where the cells of the unit of each later spike start in a row;
    # counts, overruns (n_rows * width,): a row for each earlier unit.
    # unsigned: an index that may be negative would cost a test for each pair
    limit = np.uint32(cell_of_lag.size - 1)
    one = np.uint64(1)
    any_overruns = False
    for e in range(earlier.size):
        i = np.uint64(earlier[e])
        now = time[i]
        row = np.uint32(np.int64(unit[i] - first_unit) * width)
        j = i + one
        while True:
            lag = np.uint32(time[j] - now)
            if lag > limit:
                break
            at = np.uint64(np.uint32(row + np.uint32(offset[j] + cell_of_lag[np.uint64(lag)])))
            count = np.uint8(counts[at] + np.uint8(1))
            counts[at] = count
            if count == 0:
                overruns[at] += 256
                any_overruns = True
            j += one
    return any_overruns


def count_tables(
    spikes: Spikes,
    num_units: int,
    cells: LagCells,
    add: Callable[[int, NDArray[np.uint8], NDArray[np.int64]], None],
) -> None:
    """Count the pairs of spikes of all units, and hand each table of counts to a function.

    Parameters
    ----------
    spikes : Spikes
        From `prepare_spikes`, with the `max_lag` of the cells.
    num_units : int
    cells : LagCells
    add : callable
        ``add(first_unit, counts, overruns)`` with counts (n_rows, num_units, n_cells) uint8 of
        the earlier units from `first_unit` on and overruns of the same shape, to be added to
        them, or of length 0. Called by several threads, but not for the same units at once; may
        be called more than once for the same units. The arrays are used again afterwards.
    """
    if spikes.unit.size == 0:
        return
    width = num_units * cells.num_cells
    per_group = int(np.clip(_TABLE_BYTES // width, 1, num_units))
    groups = np.arange(num_units, dtype=np.int64) // per_group
    earlier, start = _by_group(spikes.unit, groups)
    offset = np.multiply(spikes.unit, np.uint32(cells.num_cells), dtype=np.uint32, casting="unsafe")
    cell_of_lag = cells.cell_of_lag.astype(np.uint32)
    tasks = _tasks(start)
    num_left = np.bincount([group for group, _ in tasks], minlength=start.size - 1)
    tables = _Tables(per_group * width, num_left)

    def count(task: tuple[int, slice]) -> None:
        group, piece = task
        table = tables.take(group)
        table.any_overruns |= _count(
            earlier[piece],
            spikes.time,
            spikes.unit,
            offset,
            cell_of_lag,
            group * per_group,
            width,
            table.counts,
            table.overruns,
        )
        for full in tables.put_back(group, table):
            shape = (min(per_group, num_units - group * per_group), num_units, cells.num_cells)
            size = shape[0] * width
            wide = full.overruns[:size].reshape(shape)
            wide = wide if full.any_overruns else wide[:0]
            add(group * per_group, full.counts[:size].reshape(shape), wide)
            tables.free(full)

    run_blocks(count, tasks)


class _Table:
    """Counts of one group of earlier units."""

    def __init__(self, size: int) -> None:
        self.counts = np.zeros(size, dtype=np.uint8)
        self.overruns = np.zeros(size, dtype=np.int64)
        self.any_overruns = False

    def clear(self) -> None:
        self.counts[:] = 0
        if self.any_overruns:
            self.overruns[:] = 0
        self.any_overruns = False


class _Tables:
    """As many tables as there are threads: tasks of one group go on with those of the group."""

    def __init__(self, size: int, num_left: NDArray[np.int64]) -> None:
        self._size = size
        self._num_left = num_left  # tasks of each group
        self._lock = Lock()
        self._of_group: dict[int, list[_Table]] = {}
        self._free: list[_Table] = []

    def take(self, group: int) -> _Table:
        """Give a table of a group that no task uses now, or a clear one."""
        with self._lock:
            for some in (self._of_group.get(group), self._free):
                if some:
                    return some.pop()
        return _Table(self._size)

    def put_back(self, group: int, table: _Table) -> list[_Table]:
        """Put a table back; give all tables of a group when its last task ends."""
        with self._lock:
            self._of_group.setdefault(group, []).append(table)
            self._num_left[group] -= 1
            return self._of_group.pop(group) if self._num_left[group] == 0 else []

    def free(self, table: _Table) -> None:
        """Put a table back for other groups."""
        table.clear()
        with self._lock:
            self._free.append(table)


def _by_group(
    unit: NDArray[np.int32], groups: NDArray[np.int64]
) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    num_groups = int(groups[-1]) + 1
    if num_groups > 1:
        return by_group(unit, groups, num_groups)
    dtype = np.int32 if unit.size < 1 << 31 else np.int64
    return np.arange(unit.size, dtype=dtype), np.array([0, unit.size])


def _tasks(start: NDArray[np.int64]) -> list[tuple[int, slice]]:
    """List groups and the slices of their spikes, large ones cut up; the largest first."""
    most = max(_SPIKES_PER_TASK, -(-int(start[-1]) // _MAX_PIECES))
    tasks = [
        (group, slice(first + piece.start, first + piece.stop))
        for group, (first, stop) in enumerate(pairwise(start))
        for piece in blocks(int(stop - first), most)
    ]
    return sorted(tasks, key=lambda task: task[1].start - task[1].stop)


@njit
def _add(counts, overruns, out):  # counts, out (n,), overruns (n,) or (0,)
    for i in range(counts.size):
        out[i] += counts[i]
    for i in range(overruns.size):
        out[i] += overruns[i]


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
    >>> from si_curation.kernels.correlogram_cells import linear_cells
    >>> cells = linear_cells(half_window_samples=4, bin_samples=2)
    >>> spikes = prepare_spikes(np.array([0, 3]), np.array([0, 1]), None, 2, cells.max_lag)
    >>> count_pairs(spikes, 2, cells)[0, 1]
    array([0, 0, 0, 1, 0, 0], dtype=uint32)
    """
    dtype = dtype_of_counts(spikes, num_units)
    out = np.zeros((num_units, num_units, cells.num_cells), dtype=dtype)

    def add(first_unit: int, counts: NDArray, overruns: NDArray) -> None:
        rows = out[first_unit : first_unit + len(counts)]
        _add(counts.reshape(-1), overruns.reshape(-1), rows.reshape(-1))

    count_tables(spikes, num_units, cells, add)
    return out
