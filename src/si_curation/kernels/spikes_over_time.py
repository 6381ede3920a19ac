"""Rates, intervals and images of the spikes of a unit over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit


@njit
def _count(
    train: NDArray[np.int64],  # (n_spikes,)
    times_s: NDArray[np.float64],  # (n_spikes,)
    bin_s: float,
    interval_bin: int,
    in_time: NDArray[np.int64],  # (n_bins,)
    intervals: NDArray[np.int64],  # (n_bins,)
) -> None:
    last_bin, window = in_time.size - 1, interval_bin * intervals.size
    for i in range(train.size):
        which = np.int64(times_s[i] / bin_s)
        in_time[min(max(which, 0), last_bin)] += 1
        if i > 0 and train[i] - train[i - 1] < window:
            intervals[(train[i] - train[i - 1]) // interval_bin] += 1


def count_over_time(
    train: NDArray[np.int64],
    times_s: NDArray[np.float64],
    time_bins: tuple[float, int],
    interval_bins: tuple[int, int],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the spikes of a unit in bins of time, and the intervals between successive ones.

    Parameters
    ----------
    train : array (n_spikes,) int64
        In samples, ascending; segments lie further apart than the intervals that are counted.
    times_s : array (n_spikes,) float64
        When they are, in s.
    time_bins : (float, int)
        Width in s, and number. Spikes before the first or after the last bin count in that.
    interval_bins : (int, int)
        Width in samples, and number. The bins are [k w, (k + 1) w), as of `isi_histogram`.

    Returns
    -------
    in_time, intervals : array (n_bins,) int64

    Examples
    --------
    >>> train = np.array([0, 4, 9])
    >>> in_time, intervals = count_over_time(train, train / 10.0, (0.5, 2), (2, 3))
    >>> in_time.tolist(), intervals.tolist()
    ([2, 1], [0, 0, 2])
    """
    (bin_s, num_bins), (interval_bin, num_intervals) = time_bins, interval_bins
    in_time, intervals = np.zeros(num_bins, np.int64), np.zeros(num_intervals, np.int64)
    _count(train, times_s, bin_s, interval_bin, in_time, intervals)
    return in_time, intervals


@njit
def _draw(
    times_s: NDArray[np.float64],  # (n_spikes,)
    values: NDArray[np.floating],  # (n_spikes,)
    x: NDArray[np.float64],  # (3,): lowest, highest, cells per unit of measurement
    y: NDArray[np.floating],  # (3,), of the type of the values
    image: NDArray[np.uint32],  # (n_x, n_y)
) -> None:
    last_x, last_y = image.shape[0] - 1, image.shape[1] - 1
    for i in range(times_s.size):
        time_s, value = times_s[i], values[i]
        if not (y[0] <= value <= y[1] and x[0] <= time_s <= x[1]):
            continue
        column = np.int64((time_s - x[0]) * x[2])
        row = np.int64((value - y[0]) * y[2])
        image[min(max(column, 0), last_x), min(max(row, 0), last_y)] += 1


def image_over_time(
    times_s: NDArray[np.float64],
    values: NDArray[np.floating],
    ranges: NDArray[np.float64],
    shape: tuple[int, int],
) -> NDArray[np.uint32]:
    """Count spikes in the cells of a grid of time and value.

    Parameters
    ----------
    times_s : array (n_spikes,) float64
    values : array (n_spikes,) floating
    ranges : array (2, 2) float64
        Lowest and highest time in s, and value. The ends are inside.
    shape : (n_times, n_values)

    Returns
    -------
    array (n_times, n_values) uint32
        Spikes out of range, or whose value is NaN, are left out.

    Examples
    --------
    >>> times_s, values = np.array([0.0, 0.5, 1.0]), np.array([1.0, 2.0, np.nan])
    >>> image_over_time(times_s, values, np.array([[0, 1], [1, 2]]), (2, 2)).tolist()
    [[1, 0], [0, 1]]
    """
    image = np.zeros(shape, dtype=np.uint32)
    per_unit = np.array(shape) / np.maximum(ranges[:, 1] - ranges[:, 0], 1e-300)
    x, y = np.concatenate([ranges, per_unit[:, None]], axis=1)
    with np.errstate(over="ignore"):  # of a range that has no width
        y = y.astype(values.dtype)
    _draw(times_s, values, x, y, image)
    return image
