"""Number of points, and the largest value, in each cell of a regular grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import blocks, run_blocks

_POINTS_PER_BLOCK = 1 << 20


def count_in_grid(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    num_bins: tuple[int, int],
) -> NDArray[np.int64]:
    """Count points in cells of the same size.

    Parameters
    ----------
    x, y : array (n,)
    x_range, y_range : (float, float)
        First and last edge, rising. Cells are half-open, [a, b), the last ones closed, as of
        `numpy.histogram2d`; what is outside, or NaN, does not count.
    num_bins : (int, int)
        Of x and of y.

    Returns
    -------
    array (n_bins_y, n_bins_x) int64

    Examples
    --------
    >>> x, y = np.array([0.0, 0.4, 2.0]), np.array([0.0, 0.1, 1.0])
    >>> count_in_grid(x, y, (0, 2), (0, 1), (2, 1))
    array([[2, 1]])
    """
    num_x, num_y = num_bins

    def count(piece: slice) -> NDArray[np.int64]:
        flat, _ = _cells(x[piece], y[piece], x_range, y_range, num_bins)
        return np.bincount(flat, minlength=num_x * num_y)

    total = np.zeros(num_x * num_y, dtype=np.int64)
    for part in run_blocks(count, blocks(x.size, _POINTS_PER_BLOCK)):
        total += part
    return total.reshape(num_y, num_x)


def largest_in_grid(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    values: NDArray[np.floating],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    num_bins: tuple[int, int],
) -> NDArray[np.float64]:
    """Return the largest value of the points in each cell, as if points were drawn by value.

    Parameters
    ----------
    x, y, values : array (n,)
        Values that are NaN do not count.
    x_range, y_range, num_bins
        As of `count_in_grid`.

    Returns
    -------
    array (n_bins_y, n_bins_x) float64
        NaN where there is no value.

    Examples
    --------
    >>> x, y, values = np.array([0.0, 0.4, 2.0]), np.array([0.0, 0.1, 1.0]), np.array([3.0, 5, 1])
    >>> largest_in_grid(x, y, values, (0, 2), (0, 1), (2, 1))
    array([[5., 1.]])
    """
    num_x, num_y = num_bins

    def largest(piece: slice) -> NDArray[np.float64]:
        flat, inside = _cells(x[piece], y[piece], x_range, y_range, num_bins)
        found = np.full(num_x * num_y, -np.inf)
        chosen = values[piece][inside].astype(np.float64, copy=False)
        known = ~np.isnan(chosen)
        np.maximum.at(found, flat[known], chosen[known])
        return found

    total = np.full(num_x * num_y, -np.inf)
    for part in run_blocks(largest, blocks(x.size, _POINTS_PER_BLOCK)):
        np.maximum(total, part, out=total)
    total[np.isneginf(total)] = np.nan
    return total.reshape(num_y, num_x)


def _cells(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    num_bins: tuple[int, int],
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the cell of each point within the grid, and which points are within."""
    column = _places(x.astype(np.float64, copy=False), *x_range, num_bins[0])
    row = _places(y.astype(np.float64, copy=False), *y_range, num_bins[1])
    inside = (column >= 0) & (row >= 0)
    return row[inside] * np.int32(num_bins[0]) + column[inside], inside


def _places(values: NDArray[np.float64], low: float, high: float, count: int) -> NDArray[np.int32]:
    """Return the place of each value among `count`; -1 outside."""
    with np.errstate(invalid="ignore"):
        inside = (values >= low) & (values <= high)
        scaled = (values - low) * (count / (high - low))
    return np.minimum(np.where(inside, scaled, -1.0).astype(np.int32), count - 1)
