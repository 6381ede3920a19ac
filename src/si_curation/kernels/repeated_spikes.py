"""Spikes within a short window after another spike of the same unit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import are_few, njit, read_only

_NEVER = np.iinfo(np.int64).min // 2


class RepeatedSpikes(NamedTuple):
    """Per unit, arrays of length n_units; first positions are -1 where there are none.

    Attributes
    ----------
    same_count, same_first : array (n_units,) int64
        Spikes that have sample and template in common with the one before them in the unit.
    near_count, near_first : array (n_units,) int64
        Other spikes within the window after the one before them in the unit.
    """

    same_count: NDArray[np.int64]
    same_first: NDArray[np.int64]
    near_count: NDArray[np.int64]
    near_first: NDArray[np.int64]


@njit
def _scan(
    samples: NDArray[np.int64],
    units: NDArray[np.integer],
    templates: NDArray[np.integer],
    window: int,
    last: NDArray[np.int64],
    last_template: NDArray[np.int64],
    same: NDArray[np.int64],
    near: NDArray[np.int64],
) -> None:
    # samples, units, templates (n,); last, last_template (n_units,); same, near (2, n_units)
    for i in range(samples.size):
        unit = units[i]
        if samples[i] - last[unit] <= window:
            exact = samples[i] == last[unit] and templates[i] == last_template[unit]
            table = same if exact else near
            table[0, unit] += 1
            if table[1, unit] < 0:
                table[1, unit] = i
        last[unit] = samples[i]
        last_template[unit] = templates[i]


def _scan_few(
    samples: NDArray[np.int64],
    units: NDArray[np.integer],
    templates: NDArray[np.integer],
    window: int,
    same: NDArray[np.int64],
    near: NDArray[np.int64],
) -> None:
    """Fill the tables as `_scan` does."""
    order = np.argsort(units, kind="stable")
    before, row = order[:-1], order[1:]
    is_close = (units[before] == units[row]) & (samples[row] - samples[before] <= window)
    before, row = before[is_close], row[is_close]
    is_same = (samples[before] == samples[row]) & (templates[before] == templates[row])
    for table, rows in ((same, row[is_same]), (near, row[~is_same])):
        # by unit, and ascending in each
        found, first, counts = np.unique(units[rows], return_index=True, return_counts=True)
        table[0, found] = counts
        table[1, found] = rows[first]


def find_repeated_spikes(
    samples: NDArray[np.int64],
    units: NDArray[np.integer],
    templates: NDArray[np.integer],
    num_units: int,
    window: int,
) -> RepeatedSpikes:
    """Count the spikes that come within a window after the one before them in the same unit.

    Parameters
    ----------
    samples : array (n_spikes,) int64, ascending
    units : array (n_spikes,) integer, values in [0, num_units)
    templates : array (n_spikes,) integer
    num_units : int
    window : int
        In samples; a spike exactly that far away counts.

    Returns
    -------
    RepeatedSpikes

    Examples
    --------
    >>> samples = np.array([5, 5, 7, 100])
    >>> found = find_repeated_spikes(samples, np.zeros(4, int), np.array([3, 3, 3, 3]), 1, 9)
    >>> found.same_count, found.same_first, found.near_count, found.near_first
    (array([1]), array([1]), array([1]), array([2]))
    """
    same, near = (np.stack([np.zeros(num_units, int), np.full(num_units, -1)]) for _ in range(2))
    same, near = same.astype(np.int64), near.astype(np.int64)
    if are_few(samples.size):
        _scan_few(samples, units, templates, window, same, near)
    else:
        last, last_template = np.full(num_units, _NEVER), np.zeros(num_units, dtype=np.int64)
        of_spikes = read_only(samples), read_only(units), read_only(templates)
        _scan(*of_spikes, window, last, last_template, same, near)
    return RepeatedSpikes(same[0], same[1], near[0], near[1])
