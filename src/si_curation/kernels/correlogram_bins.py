"""Bins of correlograms: the cells of lags that are counted, and the bins of each convention.

Pairs of spikes are counted once, the earlier spike first, in cells of lags: ``counts[a, b, c]`` is
the number of pairs with a spike of `b` so many samples after one of `a`. Lags that two conventions
put into different bins are in different cells, so that the bins of every convention are sums of the
same counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.checks import Checks
from si_curation.errors import ParameterError

CONVENTIONS = ("spikeinterface", "phy", "centered")
MAX_LAG_SAMPLES = 1 << 30  # lags are held as 32-bit numbers


class LagCells(NamedTuple):
    """Cells of lags from 0 to the largest that is counted.

    Attributes
    ----------
    cell_of_lag : array (max_lag + 1,) int32
        Cell of each lag in samples. Cell 0 holds lag 0 and nothing else.
    first_lag : array (n_cells + 1,) int64
        Smallest lag of each cell, and after the last one the first lag that is not counted.
    num_half_bins : int
        Whole bins on each side of zero.
    bin_samples : int
        Width of a bin; 0 for log-spaced bins.
    edges_samples : array or None
        Edges of log-spaced bins at positive lags.
    """

    cell_of_lag: NDArray[np.int32]
    first_lag: NDArray[np.int64]
    num_half_bins: int
    bin_samples: int
    edges_samples: NDArray[np.int64] | None = None

    @property
    def num_cells(self) -> int:
        """Return the number of cells."""
        return self.first_lag.size - 1

    @property
    def max_lag(self) -> int:
        """Return the largest lag that is counted, in samples."""
        return self.cell_of_lag.size - 1


class BinCells(NamedTuple):
    """Cells of each bin of a convention; arrays of length n_bins, half-open ranges of cells.

    Bin k of the pair (a, b) is the sum of cells [ab_start, ab_stop) of ``counts[a, b]`` (b after
    a) and [ba_start, ba_stop) of ``counts[b, a]`` (a after b); bin `larger` is the larger of the
    two sums instead (-1: none).

    Attributes
    ----------
    ab_start, ab_stop, ba_start, ba_stop : array (n_bins,) int64
    larger : int
    edges_samples : array (n_bins + 1,) float64
    widths_samples : array (n_bins,) int64
        Whole lags that each bin holds.
    """

    ab_start: NDArray[np.int64]
    ab_stop: NDArray[np.int64]
    ba_start: NDArray[np.int64]
    ba_stop: NDArray[np.int64]
    larger: int
    edges_samples: NDArray[np.float64]
    widths_samples: NDArray[np.int64]

    @property
    def num_bins(self) -> int:
        """Return the number of bins."""
        return self.ab_start.size


def linear_cells(
    half_window_samples: int, bin_samples: int, conventions: tuple[str, ...] = CONVENTIONS
) -> LagCells:
    """Return the cells for bins of equal width.

    Parameters
    ----------
    half_window_samples : int
        Lags on each side of zero. What is left over from whole bins is cut off, as SpikeInterface
        does.
    bin_samples : int
    conventions : tuple of str
        The conventions that the cells have to serve; fewer need fewer cells.

    Returns
    -------
    LagCells
        Lag 0 has a cell of its own; a new cell begins wherever one of the conventions begins a
        new bin: at multiples of the bin for "spikeinterface" and "phy", one sample after them for
        the negative lags of "spikeinterface", half a bin after them for "centered".

    Raises
    ------
    ParameterError
        The bin is smaller than a sample, or no whole bin fits into half the window.

    Examples
    --------
    >>> linear_cells(half_window_samples=4, bin_samples=4).cell_of_lag
    array([0, 1, 2, 2, 3, 4, 5, 5], dtype=int32)
    """
    _check_sizes(half_window_samples, bin_samples)
    num_half_bins = int(half_window_samples) // int(bin_samples)
    lag = np.arange((num_half_bins + 1) * bin_samples, dtype=np.int64)
    rest = lag % bin_samples
    starts = lag <= 1
    if "spikeinterface" in conventions:
        starts |= (rest == 0) | (rest == 1)
    if "phy" in conventions:
        starts |= rest == 0
    if "centered" in conventions:
        starts |= rest == (bin_samples + 1) // 2 % bin_samples
    return LagCells(
        (np.cumsum(starts) - 1).astype(np.int32),
        np.append(np.flatnonzero(starts), lag.size).astype(np.int64),
        num_half_bins,
        int(bin_samples),
    )


def log_cells(
    half_window_samples: int, first_edge_samples: int, bins_per_decade: int = 10
) -> LagCells:
    """Return the cells for bins that grow with the lag.

    Parameters
    ----------
    half_window_samples : int
        The last edge.
    first_edge_samples : int
        The first edge; shorter lags of both signs are the centre bin.
    bins_per_decade : int
        At least 1. Edges are rounded to whole samples; those that fall together are one.

    Returns
    -------
    LagCells

    Raises
    ------
    ParameterError
        The first edge is smaller than a sample or not within the window, or there is no bin.

    Examples
    --------
    >>> log_cells(1000, 10, bins_per_decade=2).edges_samples
    array([  10,   32,  100,  316, 1000])
    """
    _check_sizes(half_window_samples, first_edge_samples)
    ratio = half_window_samples / first_edge_samples
    num_bins = max(1, round(np.log10(ratio) * bins_per_decade))
    edges = np.unique(
        np.rint(np.geomspace(first_edge_samples, half_window_samples, num_bins + 1))
    ).astype(np.int64)
    if edges.size < 2:
        raise ParameterError(
            f"no bin is left between {first_edge_samples} and {half_window_samples} samples; "
            "take a larger window or a smaller bin"
        )
    first_lag = np.concatenate([[0, 1], edges])
    first_lag = np.unique(first_lag)
    cell_of_lag = np.repeat(np.arange(first_lag.size - 1), np.diff(first_lag)).astype(np.int32)
    return LagCells(cell_of_lag, first_lag, edges.size - 1, 0, edges)


def _check_sizes(half_window_samples: int, bin_samples: int) -> None:
    problems = []
    if bin_samples < 1:
        problems.append(
            f"the bin is {bin_samples} samples long, expected at least 1: give a longer bin_ms"
        )
    elif half_window_samples < bin_samples:
        problems.append(
            f"half the window is {half_window_samples} samples and the bin {bin_samples}; "
            "at least one whole bin has to fit"
        )
    if half_window_samples >= MAX_LAG_SAMPLES:
        problems.append(
            f"half the window is {half_window_samples} samples, expected less than "
            f"{MAX_LAG_SAMPLES}"
        )
    if problems:
        raise ParameterError("; ".join(problems))


def bins_of_convention(cells: LagCells, convention: str) -> BinCells:
    """Return the cells, edges and widths of the bins of one convention.

    Parameters
    ----------
    cells : LagCells
    convention : {"spikeinterface", "phy", "centered"}
        Log-spaced bins have one layout, that of "centered".

        - "spikeinterface": 2 h bins; lag t_a - t_b; bin k holds [(k - h) w, (k - h + 1) w).
          Simultaneous spikes are in bin h of both orders.
        - "phy": 2 h + 1 bins; lag t_b - t_a; bin h + d holds [d w, (d + 1) w), bin h - d mirrors
          it; bin h is the larger of the two one-sided counts of lags below w. Simultaneous spikes
          count for the one that comes first in the spike vector.
        - "centered": 2 h + 1 bins; lag t_a - t_b; bin h + k holds [(k - 1/2) w, (k + 1/2) w), bin
          h - k mirrors it; bin h holds lags below w/2. Simultaneous spikes are in bin h of both
          orders.

    Returns
    -------
    BinCells

    Raises
    ------
    ParameterError
        There is no such convention, or the cells were made for others.

    Examples
    --------
    >>> bins = bins_of_convention(linear_cells(8, 4), "spikeinterface")
    >>> bins.edges_samples
    array([-8., -4.,  0.,  4.,  8.])
    """
    checks = Checks()
    checks.choice("convention", convention, CONVENTIONS)
    checks.finish()
    width, half = cells.bin_samples, cells.num_half_bins
    if cells.edges_samples is not None:
        edge = cells.edges_samples
        return _mirrored(cells, edge[:-1], edge[1:], int(edge[0]))
    k = np.arange(1, half + 1)
    if convention == "centered":
        # doubled: the first whole lag at or after (k - 1/2) w
        first = -((width - 2 * k * width) // 2)
        last = -((-width - 2 * k * width) // 2)
        exact = (np.arange(half + 1) + 0.5) * width
        bins = _mirrored(cells, first, last, int(first[0]))
        return bins._replace(edges_samples=np.concatenate([-exact[::-1], exact]))
    if convention == "phy":
        bins = _mirrored(cells, k * width, (k + 1) * width, width)
        swapped = bins._replace(
            ab_start=bins.ba_start,
            ab_stop=bins.ba_stop,
            ba_start=bins.ab_start,
            ba_stop=bins.ab_stop,
            larger=half,
        )
        swapped.widths_samples[half] = width
        return swapped
    return _half_open(cells)


def _cell_at(cells: LagCells, lags: NDArray[np.int64] | np.int64) -> NDArray[np.int64]:
    found = np.searchsorted(cells.first_lag, lags)
    if not np.array_equal(cells.first_lag[found], lags):
        raise ParameterError("these cells were made for other conventions; see linear_cells")
    return found


def _mirrored(
    cells: LagCells, first: NDArray[np.int64], last: NDArray[np.int64], centre: int
) -> BinCells:
    """Bins [first, last) at positive lags, their mirror images, and one of lags below `centre`."""
    start, stop = _cell_at(cells, first), _cell_at(cells, last)
    none = np.zeros(start.size, dtype=np.int64)
    middle = [_cell_at(cells, np.int64(centre))]
    widths = last - first
    return BinCells(
        np.concatenate([start[::-1], [0], none]),
        np.concatenate([stop[::-1], middle, none]),
        np.concatenate([none, [0], start]),
        np.concatenate([none, middle, stop]),
        -1,
        np.concatenate([-last[::-1], [-centre, centre], last]).astype(np.float64),
        np.concatenate([widths[::-1], [2 * centre - 1], widths]).astype(np.int64),
    )


def _half_open(cells: LagCells) -> BinCells:
    """Bins [k w, (k + 1) w) of the lag t_a - t_b, at negative lags too."""
    width, half = cells.bin_samples, cells.num_half_bins
    k = np.arange(half)
    none = np.zeros(half, dtype=np.int64)
    # a negative lag -d: d in (k w, (k + 1) w]
    ab_start = np.concatenate([_cell_at(cells, k * width + 1)[::-1], none])
    ab_stop = np.concatenate([_cell_at(cells, (k + 1) * width + 1)[::-1], none])
    ab_stop[half] = 1  # simultaneous, the other order
    return BinCells(
        ab_start,
        ab_stop,
        np.concatenate([none, _cell_at(cells, k * width)]),
        np.concatenate([none, _cell_at(cells, (k + 1) * width)]),
        -1,
        (np.arange(-half, half + 1) * width).astype(np.float64),
        np.full(2 * half, width, dtype=np.int64),
    )
