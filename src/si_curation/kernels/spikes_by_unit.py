"""The spikes of each unit, in order, by counting sort."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import blocks, njit, run_blocks

_SPIKES_PER_BLOCK = 1 << 17


@njit
def _histogram(
    unit: NDArray[np.integer],  # (n,)
    group_of_unit: NDArray[np.int64],
    counts: NDArray[np.int64],  # (num_groups,)
) -> None:
    for i in range(unit.size):
        counts[group_of_unit[unit[i]]] += 1


@njit
def _place(
    unit: NDArray[np.integer],  # (n,)
    group_of_unit: NDArray[np.int64],
    start: int,  # position of the first of these spikes
    next_place: NDArray[np.int64],  # (num_groups,)
    out: NDArray[np.integer],
) -> None:
    for i in range(unit.size):
        group = group_of_unit[unit[i]]
        out[next_place[group]] = start + i
        next_place[group] += 1


@njit
def _place_values(
    unit: NDArray[np.integer],  # (n,)
    values: NDArray,  # (n,)
    next_place: NDArray[np.int64],  # (num_units,)
    out: NDArray,
) -> None:
    for i in range(unit.size):
        one = unit[i]
        out[next_place[one]] = values[i]
        next_place[one] += 1


class UnitOrder(NamedTuple):
    """Where the spikes of each unit go when they are put one unit after the other.

    Attributes
    ----------
    start : array (num_units + 1,) int64
        Where each unit starts.
    next_place : array (num_blocks, num_units) int64
        Where the first spike of each unit of each block goes.
    """

    start: NDArray[np.int64]
    next_place: NDArray[np.int64]


def numbered_blocks(num_spikes: int) -> list[tuple[int, slice]]:
    """Return the blocks of spikes that `UnitOrder.next_place` is of, with their numbers.

    Examples
    --------
    >>> numbered_blocks(5)
    [(0, slice(0, 5, None))]
    """
    return list(enumerate(blocks(num_spikes, _SPIKES_PER_BLOCK)))


def order_of_units(unit_index: NDArray[np.integer], num_units: int) -> UnitOrder:
    """Return where spikes go when they are put one unit after the other; equal ones in order.

    Parameters
    ----------
    unit_index : array (n_spikes,) integer, values in [0, num_units)
    num_units : int

    Returns
    -------
    UnitOrder

    Examples
    --------
    >>> order_of_units(np.array([1, 0, 1]), 2).start
    array([0, 1, 3])
    """
    return _order_of_groups(unit_index, np.arange(num_units), num_units)


def _order_of_groups(
    unit_index: NDArray[np.integer], group_of_unit: NDArray[np.int64], num_groups: int
) -> UnitOrder:
    pieces = numbered_blocks(unit_index.size)
    counts = np.zeros((len(pieces), num_groups), dtype=np.int64)
    run_blocks(lambda p: _histogram(unit_index[p[1]], group_of_unit, counts[p[0]]), pieces)
    start = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
    return UnitOrder(start, start[:-1] + np.cumsum(counts, axis=0) - counts)


def count_spikes(unit_index: NDArray[np.integer], num_units: int) -> NDArray[np.int64]:
    """Return the number of spikes of each unit.

    SpikeInterface's ``count_num_spikes_per_unit`` sorts all spikes for it.

    Parameters
    ----------
    unit_index : array (n_spikes,) integer, values in [0, num_units)
    num_units : int

    Returns
    -------
    array (num_units,) int64

    Examples
    --------
    >>> count_spikes(np.array([1, 0, 1]), 3)
    array([1, 2, 0])
    """
    return np.diff(order_of_units(unit_index, num_units).start)


def values_by_unit(order: UnitOrder, unit_index: NDArray[np.integer], values: NDArray) -> NDArray:
    """Return values of spikes, one unit after the other.

    Parameters
    ----------
    order : UnitOrder
        Of these spikes.
    unit_index : array (n_spikes,) integer
    values : array (n_spikes,)

    Returns
    -------
    array (n_spikes,)
        Those of unit ``i`` are ``order.start[i]`` to ``order.start[i + 1]``.

    Examples
    --------
    >>> units = np.array([1, 0, 1])
    >>> values_by_unit(order_of_units(units, 2), units, np.array([5.0, 6.0, 7.0]))
    array([6., 5., 7.])
    """
    out = np.empty(values.size, dtype=values.dtype)
    next_place = order.next_place.copy()
    run_blocks(
        lambda p: _place_values(unit_index[p[1]], values[p[1]], next_place[p[0]], out),
        numbered_blocks(unit_index.size),
    )
    return out


def positions_by_group(
    unit_index: NDArray[np.integer], group_of_unit: NDArray[np.int64], num_groups: int
) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """Return the positions of the spikes of each group of units, one group after the other.

    Parameters
    ----------
    unit_index : array (n_spikes,) integer
    group_of_unit : array (n_units,) int64
    num_groups : int

    Returns
    -------
    positions : array (n_spikes,) int32, or int64 where there are 2^31 spikes
        Ascending within each group.
    start : array (num_groups + 1,) int64
        Where each group starts in `positions`.

    Examples
    --------
    >>> positions_by_group(np.array([1, 0, 1]), np.arange(2), 2)
    (array([1, 0, 2], dtype=int32), array([0, 1, 3]))
    """
    if num_groups == 1:
        dtype = np.int32 if unit_index.size < 1 << 31 else np.int64
        return np.arange(unit_index.size, dtype=dtype), np.array([0, unit_index.size])
    order = _order_of_groups(unit_index, group_of_unit, num_groups)
    return _positions(order, unit_index, group_of_unit), order.start


def positions_by_unit(order: UnitOrder, unit_index: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the positions of the spikes, one unit after the other.

    Parameters
    ----------
    order : UnitOrder
        Of these spikes.
    unit_index : array (n_spikes,) integer

    Returns
    -------
    array (n_spikes,) int32, or int64 where there are 2^31 spikes
        Those of unit ``i`` are ``order.start[i]`` to ``order.start[i + 1]``, ascending.

    Examples
    --------
    >>> units = np.array([1, 0, 1])
    >>> positions_by_unit(order_of_units(units, 2), units)
    array([1, 0, 2], dtype=int32)
    """
    return _positions(order, unit_index, np.arange(order.start.size - 1))


def _positions(
    order: UnitOrder, unit_index: NDArray[np.integer], group_of_unit: NDArray[np.int64]
) -> NDArray[np.integer]:
    out = np.empty(unit_index.size, dtype=np.int32 if unit_index.size < 1 << 31 else np.int64)
    next_place = order.next_place.copy()
    run_blocks(
        lambda p: _place(unit_index[p[1]], group_of_unit, p[1].start, next_place[p[0]], out),
        numbered_blocks(unit_index.size),
    )
    return out


def spikes_by_unit(unit_index: NDArray[np.integer], num_units: int) -> list[NDArray[np.integer]]:
    """Return the positions of the spikes of each unit, ascending.

    Parameters
    ----------
    unit_index : array (n_spikes,) integer, values in [0, num_units)
    num_units : int

    Returns
    -------
    list of array (n_spikes of the unit,) int32, or int64 where there are 2^31 spikes
        Views of one array.

    Examples
    --------
    >>> spikes_by_unit(np.array([1, 0, 1]), 3)
    [array([1], dtype=int32), array([0, 2], dtype=int32), array([], dtype=int32)]
    """
    positions, start = positions_by_group(unit_index, np.arange(num_units), num_units)
    return [positions[start[i] : start[i + 1]] for i in range(num_units)]


@njit
def _rows_among(
    positions: NDArray[np.integer], some: NDArray[np.integer], rows: NDArray[np.int32]
) -> int:
    # both ascending; the number of those that are found
    i = 0
    for k in range(some.size):
        while i < positions.size and positions[i] < some[k]:
            i += 1
        if i == positions.size or positions[i] != some[k]:
            return k
        rows[k] = i
    return some.size


def rows_among(
    positions: NDArray[np.integer], some: NDArray[np.integer]
) -> NDArray[np.int32] | None:
    """Return where some spikes are among others; None where not all of them are.

    Parameters
    ----------
    positions, some : array (n,), (m,) integer
        Ascending.

    Examples
    --------
    >>> rows_among(np.array([3, 5, 9]), np.array([3, 9]))
    array([0, 2], dtype=int32)
    """
    rows = np.empty(some.size, dtype=np.int32)
    return rows if _rows_among(positions, some, rows) == some.size else None
