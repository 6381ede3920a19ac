"""Exact counts of spike pairs of chosen pairs of units, from their own spike trains alone."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import ParameterError
from si_curation.kernels.correlogram_cells import LagCells
from si_curation.kernels.correlogram_spikes import by_group, dtype_of_counts, prepare_spikes
from si_curation.kernels.parallel import blocks, njit, run_blocks


@njit
def _count_pair(times_a, places_a, times_b, places_b, place_of_lag, counts):
    # two spike trains; counts (2 * n_cells,): pairs with b after a, then with a after b;
    # place_of_lag (2 * max_lag + 1,): where to count each lag from -max_lag on
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
def _count_auto(times, cell_of_lag, counts):
    for i in range(times.size):
        for j in range(i + 1, times.size):
            lag = times[j] - times[i]
            if lag >= cell_of_lag.size:
                break
            counts[cell_of_lag[lag]] += 1


@njit
def _count_some(pairs, times, places, start, place_of_lag, out):  # out (n_pairs, 2, n_cells)
    num_cells = out.shape[2]
    counts = np.zeros(2 * num_cells, dtype=np.int64)
    for p in range(pairs.shape[0]):
        a, b = pairs[p, 0], pairs[p, 1]
        times_a = times[start[a] : start[a + 1]]
        counts[:] = 0
        if a == b:
            _count_auto(times_a, place_of_lag[place_of_lag.size // 2 :], counts)
            counts[num_cells:] = counts[:num_cells]
        else:
            _count_pair(
                times_a,
                places[start[a] : start[a + 1]],
                times[start[b] : start[b + 1]],
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
    """Count the pairs of spikes of chosen pairs of units alone.

    Parameters
    ----------
    sample_index, unit_index, segment_index, num_units
        As of `prepare_spikes`.
    pairs : array (n_pairs, 2) integer
        Pairs of units (a, b); a may equal b.
    cells : LagCells
    narrow : bool, default: False
        Give uint32 where no more than 2^32 - 1 can occur.

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
    >>> from si_curation.kernels.correlogram_cells import linear_cells
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
    spikes = prepare_spikes(sample_index, unit_index, segment_index, num_units, cells.max_lag)
    places, start = by_group(spikes.unit, np.arange(num_units), num_units)
    # 64 bits: spikes of one unit may be further apart than the largest lag
    times = np.cumsum(np.diff(spikes.time[:-1], prepend=np.uint32(0)), dtype=np.int64)[places]
    cell = cells.cell_of_lag
    place_of_lag = np.concatenate([cells.num_cells + cell[:0:-1], cell])
    dtype = dtype_of_counts(spikes, num_units) if narrow else np.dtype(np.int64)
    out = np.empty((len(pairs), 2, cells.num_cells), dtype=dtype)
    run_blocks(
        lambda b: _count_some(pairs[b], times, places, start, place_of_lag, out[b]),
        blocks(len(pairs), max(1, min(64, len(pairs) // 16))),
    )
    return out
