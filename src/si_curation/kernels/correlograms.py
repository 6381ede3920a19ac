"""Auto- and cross-correlograms: exact counts, in the bins of three conventions.

Thin functions over `count_tables` (all units), `count_chosen_pairs` (some), and the sums of cells
that make up the bins (`assemble`, `assemble_pairs`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.correlogram_cells import BinCells, LagCells, bins_of_convention
from si_curation.kernels.correlogram_counts import (
    count_chosen_pairs,
    count_tables,
    prepare_spikes,
)
from si_curation.kernels.parallel import blocks, njit, run_blocks


class Correlograms(NamedTuple):
    """Counts (..., n_bins) int64 and the edges of the bins (n_bins + 1,) float64 in samples."""

    counts: NDArray[np.int64]
    edges_samples: NDArray[np.float64]


@njit
def _sums(counts, sums):  # counts (n_cells,); sums (n_cells + 1,): of the cells before each one
    total = np.int64(0)
    for c in range(counts.size):
        sums[c] = total
        total += counts[c]
    sums[counts.size] = total


@njit
def _add_sums(counts, sums):
    total = np.int64(0)
    for c in range(counts.size):
        total += counts[c]
        sums[c + 1] += total


@njit
def _bin(ab, ba, ab_start, ab_stop, ba_start, ba_stop, larger, out):
    # ab, ba (n_cells + 1,): sums of b after a and of a after b; out (n_bins,)
    for k in range(out.size):
        out[k] = ab[ab_stop[k]] - ab[ab_start[k]] + ba[ba_stop[k]] - ba[ba_start[k]]
    if larger >= 0:
        k = larger
        out[k] = max(ab[ab_stop[k]] - ab[ab_start[k]], ba[ba_stop[k]] - ba[ba_start[k]])


@njit
def _assemble_some(ab, ba, ab_start, ab_stop, ba_start, ba_stop, larger, out):
    sums_ab = np.empty(ab.shape[1] + 1, dtype=np.int64)
    sums_ba = np.empty(ab.shape[1] + 1, dtype=np.int64)
    for p in range(ab.shape[0]):
        _sums(ab[p], sums_ab)
        _sums(ba[p], sums_ba)
        _bin(sums_ab, sums_ba, ab_start, ab_stop, ba_start, ba_stop, larger, out[p])


class _BinCounts:
    """Counts of bins, to which the counts of cells of some earlier units at a time are added."""

    def __init__(self, num_units: int, bins: BinCells) -> None:
        self._out = np.zeros((num_units, num_units, bins.num_bins), dtype=np.int64)
        self._sides = np.zeros((2, num_units, num_units), dtype=np.int64)
        is_ab, is_ba = bins.ab_stop > bins.ab_start, bins.ba_stop > bins.ba_start
        # the one bin that has pairs of both orders, which come from different tables
        self._centre = int(np.flatnonzero(is_ab & is_ba)[0])
        self._is_larger = bins.larger == self._centre
        ranges = np.array([[bins.ab_start, bins.ab_stop], [bins.ba_start, bins.ba_stop]])
        self._ranges = ranges.astype(np.uint32)  # signed ones would be tested for each bin
        before, after = slice(self._centre), slice(self._centre + 1, None)
        self._ab = before if is_ab[0] else after
        self._ba = after if is_ab[0] else before

    def add(self, first_unit: int, counts: NDArray, overruns: NDArray) -> None:
        """Add counts of cells (n_rows, num_units, n_cells) of the units from `first_unit` on.

        May be called by several threads for different units; `overruns` as of `count_tables`.
        """
        _add_table(
            counts,
            overruns,
            first_unit,
            self._ranges[0, :, self._ab],
            self._ranges[1, :, self._ba],
            self._ranges[:, :, self._centre],
            self._out[:, :, self._ab],
            self._out[:, :, self._ba],
            self._sides[0],
            self._sides[1],
        )

    def finish(self) -> NDArray[np.int64]:
        """Give the counts (num_units, num_units, n_bins)."""
        combine = np.maximum if self._is_larger else np.add
        self._out[:, :, self._centre] = combine(self._sides[0], self._sides[1].T)
        return self._out


@njit
def _add_table(counts, overruns, first, ab, ba, centre, out_ab, out_ba, centre_ab, centre_ba):
    # counts (n_rows, n_units, n_cells): b after the units from `first` on;
    # ab, ba (2, n_one_sided_bins): ranges of cells of out_ab, out_ba (n_units, n_units, same);
    # centre (2, 2): ranges of both orders of centre_ab, centre_ba (n_units, n_units)
    sums = np.zeros(counts.shape[2] + 1, dtype=np.int64)
    for b in range(counts.shape[1]):
        for row in range(counts.shape[0]):
            a = first + row
            _sums(counts[row, b], sums)
            if len(overruns) > 0:
                _add_sums(overruns[row, b], sums)
            _add_ranges(sums, ab[0], ab[1], out_ab[a, b])
            _add_ranges(sums, ba[0], ba[1], out_ba[b, a])
            centre_ab[a, b] += sums[centre[0, 1]] - sums[centre[0, 0]]
            centre_ba[a, b] += sums[centre[1, 1]] - sums[centre[1, 0]]


@njit
def _add_ranges(sums, start, stop, out):
    for k in range(out.size):
        out[k] += sums[stop[k]] - sums[start[k]]


def assemble(cell_counts: NDArray[np.integer], bins: BinCells) -> NDArray[np.int64]:
    """Sum the cells of all pairs of units to bins.

    Parameters
    ----------
    cell_counts : array (n_units, n_units, n_cells) integer
        From `count_pairs`.
    bins : BinCells

    Returns
    -------
    array (n_units, n_units, n_bins) int64
    """
    sums = _BinCounts(len(cell_counts), bins)
    none = np.zeros((0, 0, 0), dtype=np.int64)
    rows = blocks(len(cell_counts), 16)
    run_blocks(lambda b: sums.add(b.start, cell_counts[b], none), rows)
    return sums.finish()


def assemble_pairs(
    ab: NDArray[np.integer], ba: NDArray[np.integer], bins: BinCells
) -> NDArray[np.int64]:
    """Sum the cells of chosen pairs of units to bins.

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
    _assemble_some(ab, ba, *bins[:5], out)
    return out


def cross_correlograms(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    num_units: int,
    cells: LagCells,
    convention: str = "spikeinterface",
    segment_index: NDArray[np.integer] | None = None,
) -> Correlograms:
    """Cross-correlograms of all pairs of units, auto-correlograms on the diagonal.

    Parameters
    ----------
    sample_index : array (n_spikes,) integer
        Ascending within each segment.
    unit_index : array (n_spikes,) integer, values in [0, num_units)
    num_units : int
    cells : LagCells
        From `linear_cells` or `log_cells`.
    convention : {"spikeinterface", "phy", "centered"}
        See `bins_of_convention`.
    segment_index : array (n_spikes,) integer, optional
        Ascending. Counts of segments are added up; pairs across segments do not count.

    Returns
    -------
    Correlograms
        counts (num_units, num_units, n_bins)

    Raises
    ------
    ParameterError
        Spikes are not in time order, a unit is out of range, or there is no such convention.

    Examples
    --------
    >>> from si_curation.kernels.correlogram_cells import linear_cells
    >>> samples, units = np.array([0, 3, 5]), np.array([0, 1, 0])
    >>> found = cross_correlograms(samples, units, 2, linear_cells(4, 2))
    >>> found.edges_samples
    array([-4., -2.,  0.,  2.,  4.])
    >>> found.counts[0, 1]
    array([1, 0, 0, 1])
    """
    bins = bins_of_convention(cells, convention)
    spikes = prepare_spikes(sample_index, unit_index, segment_index, num_units, cells.max_lag)
    sums = _BinCounts(num_units, bins)
    count_tables(spikes, num_units, cells, sums.add)
    return Correlograms(sums.finish(), bins.edges_samples)


def correlograms_of_pairs(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    num_units: int,
    pairs: NDArray[np.integer],
    cells: LagCells,
    convention: str = "spikeinterface",
    segment_index: NDArray[np.integer] | None = None,
) -> Correlograms:
    """Cross-correlograms of chosen pairs (a, b) alone; the same counts as of all pairs.

    Parameters
    ----------
    pairs : array (n_pairs, 2) integer
        Each value in [0, num_units); a may equal b.
    sample_index, unit_index, num_units, cells, convention, segment_index
        As of `cross_correlograms`.

    Returns
    -------
    Correlograms
        counts (n_pairs, n_bins)

    Raises
    ------
    ParameterError
        As `cross_correlograms`; or a pair is out of range.

    Examples
    --------
    >>> from si_curation.kernels.correlogram_cells import linear_cells
    >>> samples, units, pairs = np.array([0, 3, 5]), np.array([0, 1, 0]), np.array([[1, 0]])
    >>> correlograms_of_pairs(samples, units, 2, pairs, linear_cells(4, 2)).counts
    array([[0, 1, 0, 1]])
    """
    bins = bins_of_convention(cells, convention)
    counts = count_chosen_pairs(sample_index, unit_index, segment_index, num_units, pairs, cells)
    return Correlograms(assemble_pairs(counts[:, 0], counts[:, 1], bins), bins.edges_samples)


def auto_correlograms(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    num_units: int,
    cells: LagCells,
    convention: str = "spikeinterface",
    segment_index: NDArray[np.integer] | None = None,
) -> Correlograms:
    """Auto-correlograms of all units alone: the diagonal of `cross_correlograms`.

    Parameters
    ----------
    sample_index, unit_index, num_units, cells, convention, segment_index
        As of `cross_correlograms`.

    Returns
    -------
    Correlograms
        counts (num_units, n_bins)

    Examples
    --------
    >>> from si_curation.kernels.correlogram_cells import linear_cells
    >>> samples, units = np.array([0, 3, 5]), np.array([0, 1, 0])
    >>> auto_correlograms(samples, units, 2, linear_cells(6, 2)).counts[0]
    array([1, 0, 0, 0, 0, 1])
    """
    pairs = np.repeat(np.arange(num_units)[:, None], 2, axis=1)
    return correlograms_of_pairs(
        sample_index, unit_index, num_units, pairs, cells, convention, segment_index
    )


def correlograms_of_unit(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    num_units: int,
    unit: int,
    cells: LagCells,
    convention: str = "spikeinterface",
    segment_index: NDArray[np.integer] | None = None,
) -> Correlograms:
    """Cross-correlograms of one unit against all: one row of `cross_correlograms`.

    Parameters
    ----------
    unit : int
        In [0, num_units).
    sample_index, unit_index, num_units, cells, convention, segment_index
        As of `cross_correlograms`.

    Returns
    -------
    Correlograms
        counts (num_units, n_bins): row b is the pair (unit, b).

    Examples
    --------
    >>> from si_curation.kernels.correlogram_cells import linear_cells
    >>> samples, units = np.array([0, 3, 5]), np.array([0, 1, 0])
    >>> correlograms_of_unit(samples, units, 2, 0, linear_cells(4, 2)).counts[1]
    array([1, 0, 0, 1])
    """
    pairs = np.stack([np.full(num_units, unit), np.arange(num_units)], axis=1)
    return correlograms_of_pairs(
        sample_index, unit_index, num_units, pairs, cells, convention, segment_index
    )
