"""The spikes of each unit, in order, by one counting sort."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit


@njit
def _place(unit_index, next_place, order):  # unit_index (n,), next_place (n_units,), order (n,)
    for i in range(unit_index.size):
        unit = unit_index[i]
        order[next_place[unit]] = i
        next_place[unit] += 1


def spikes_by_unit(unit_index: NDArray[np.integer], num_units: int) -> list[NDArray[np.int64]]:
    """Positions of the spikes of each unit, ascending.

    Parameters
    ----------
    unit_index : array (n_spikes,) integer, values in [0, num_units)
    num_units : int

    Returns
    -------
    list of array (n_spikes of the unit,) int64
        Views of one array.

    Examples
    --------
    >>> spikes_by_unit(np.array([1, 0, 1]), 3)
    [array([1]), array([0, 2]), array([], dtype=int64)]
    """
    counts = np.bincount(unit_index, minlength=num_units)
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    order = np.empty(unit_index.size, dtype=np.int64)
    _place(unit_index, start[:-1].copy(), order)
    return [order[start[i] : start[i + 1]] for i in range(num_units)]
