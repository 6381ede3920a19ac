"""Number of points in each cell of a regular grid."""

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

    def places(values: NDArray, low: float, high: float, count: int) -> NDArray[np.int32]:
        # cell of each value; -1 outside
        with np.errstate(invalid="ignore"):
            inside = (values >= low) & (values <= high)
            scaled = (values - low) * (count / (high - low))
        cells = np.where(inside, scaled, -1.0).astype(np.int32)
        return np.minimum(cells, count - 1)

    def count(piece: slice) -> NDArray[np.int64]:
        column = places(x[piece].astype(np.float64, copy=False), *x_range, num_x)
        row = places(y[piece].astype(np.float64, copy=False), *y_range, num_y)
        inside = (column >= 0) & (row >= 0)
        flat = row[inside] * num_x + column[inside]
        return np.bincount(flat, minlength=num_x * num_y)

    total = np.zeros(num_x * num_y, dtype=np.int64)
    for part in run_blocks(count, blocks(x.size, _POINTS_PER_BLOCK)):
        total += part
    return total.reshape(num_y, num_x)
