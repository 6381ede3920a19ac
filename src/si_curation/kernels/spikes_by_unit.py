"""The spikes of each unit, in order, by counting sort."""

from __future__ import annotations

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
    dtype = np.int32 if unit_index.size < 1 << 31 else np.int64
    if num_groups == 1:
        return np.arange(unit_index.size, dtype=dtype), np.array([0, unit_index.size])
    pieces = list(enumerate(blocks(unit_index.size, _SPIKES_PER_BLOCK)))
    counts = np.zeros((len(pieces), num_groups), dtype=np.int64)
    run_blocks(lambda p: _histogram(unit_index[p[1]], group_of_unit, counts[p[0]]), pieces)
    start = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
    next_place = start[:-1] + np.cumsum(counts, axis=0) - counts
    out = np.empty(unit_index.size, dtype=dtype)
    run_blocks(
        lambda p: _place(unit_index[p[1]], group_of_unit, p[1].start, next_place[p[0]], out), pieces
    )
    return out, start


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
