"""Rates, intervals and images of the spikes of many units, counted in one pass over the spikes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit


class Clock(NamedTuple):
    """How samples become times.

    Attributes
    ----------
    sampling_frequency : float
        In Hz.
    segment_starts_s : array (n_segments,) float64
        Start of each segment when they are put end to end.
    """

    sampling_frequency: float
    segment_starts_s: NDArray[np.float64]


#: Arrays (n_spikes,) each.
_OfSpikes = tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]


@njit
def _count(
    of_spikes: _OfSpikes,  # samples, units, segments
    clock: tuple[float, NDArray[np.float64]],  # as Clock
    bin_s: float,
    interval_bin: int,
    in_time: NDArray[np.int64],  # (n_units, n_bins)
    intervals: NDArray[np.int64],  # (n_units, n_bins)
) -> None:
    (samples, units, segments), (fs, starts_s) = of_spikes, clock
    last_bin, window = in_time.shape[1] - 1, interval_bin * intervals.shape[1]
    last = np.zeros(in_time.shape[0], dtype=np.int64)
    last_segment = np.full(in_time.shape[0], -1, dtype=np.int64)
    for i in range(samples.size):
        unit, sample, segment = units[i], samples[i], segments[i]
        time_s = sample / fs + starts_s[segment]
        which = np.int64(time_s / bin_s)
        in_time[unit, min(max(which, 0), last_bin)] += 1
        if last_segment[unit] == segment and sample - last[unit] < window:
            intervals[unit, (sample - last[unit]) // interval_bin] += 1
        last[unit], last_segment[unit] = sample, segment


def count_over_time(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer],
    num_units: int,
    clock: Clock,
    time_bins: tuple[float, int],
    interval_bins: tuple[int, int],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the spikes of each unit in bins of time, and the intervals between successive ones.

    Parameters
    ----------
    sample_index : array (n_spikes,) integer
        Ascending within each segment.
    unit_index : array (n_spikes,) integer, values in [0, num_units)
    segment_index : array (n_spikes,) integer, values >= 0
        Ascending.
    num_units : int
    clock : Clock
    time_bins : (float, int)
        Width in s, and number. Spikes before the first or after the last bin count in that.
    interval_bins : (int, int)
        Width in samples, and number. The bins are [k w, (k + 1) w), as of `isi_histogram`.

    Returns
    -------
    in_time, intervals : array (n_units, n_bins) int64

    Examples
    --------
    >>> samples, units = np.array([0, 1, 4, 9]), np.array([0, 1, 0, 0])
    >>> clock = Clock(10.0, np.zeros(1))
    >>> in_time, intervals = count_over_time(
    ...     samples, units, np.zeros(4, int), 2, clock, (0.5, 2), (2, 3)
    ... )
    >>> in_time.tolist(), intervals.tolist()
    ([[2, 1], [1, 0]], [[0, 0, 2], [0, 0, 0]])
    """
    (bin_s, num_bins), (interval_bin, num_intervals) = time_bins, interval_bins
    in_time = np.zeros((num_units, num_bins), dtype=np.int64)
    intervals = np.zeros((num_units, num_intervals), dtype=np.int64)
    of_spikes = (sample_index, unit_index, segment_index)
    _count(
        of_spikes,
        (clock.sampling_frequency, clock.segment_starts_s),
        bin_s,
        interval_bin,
        in_time,
        intervals,
    )
    return in_time, intervals


@njit
def _draw(
    of_spikes: _OfSpikes,  # samples, units, segments
    clock: tuple[float, NDArray[np.float64]],  # as Clock
    values: NDArray[np.floating],  # (n_spikes,)
    image_of_unit: NDArray[np.int64],  # (n_units,)
    x: NDArray[np.float64],  # (n_images, 3): lowest, highest, cells per unit of measurement
    y: NDArray[np.floating],  # (n_images, 3), of the type of the values
    images: NDArray[np.uint32],  # (n_images, n_x, n_y)
) -> None:
    (samples, units, segments), (fs, starts_s) = of_spikes, clock
    last_x, last_y = images.shape[1] - 1, images.shape[2] - 1
    for i in range(samples.size):
        k = image_of_unit[units[i]]
        if k < 0:
            continue
        value = values[i]
        time_s = samples[i] / fs + starts_s[segments[i]]
        if not (y[k, 0] <= value <= y[k, 1] and x[k, 0] <= time_s <= x[k, 1]):
            continue
        column = np.int64((time_s - x[k, 0]) * x[k, 2])
        row = np.int64((value - y[k, 0]) * y[k, 2])
        images[k, min(max(column, 0), last_x), min(max(row, 0), last_y)] += 1


def images_over_time(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer],
    clock: Clock,
    values: NDArray[np.floating],
    image_of_unit: NDArray[np.int64],
    ranges: NDArray[np.float64],
    shape: tuple[int, int],
) -> NDArray[np.uint32]:
    """Count spikes in the cells of a grid of time and value, a grid for each of some units.

    Parameters
    ----------
    sample_index, unit_index, segment_index : array (n_spikes,) integer
    clock : Clock
    values : array (n_spikes,) floating
    image_of_unit : array (n_units,) int64
        The image of each unit; -1 for none.
    ranges : array (n_images, 2, 2) float64
        Lowest and highest time in s, and value. The ends are inside.
    shape : (n_times, n_values)

    Returns
    -------
    array (n_images, n_times, n_values) uint32
        Spikes out of range, or whose value is NaN, are left out.

    Examples
    --------
    >>> nothing = np.zeros(3, dtype=int)
    >>> images_over_time(
    ...     np.array([0, 5, 10]), nothing, nothing, Clock(10.0, np.zeros(1)),
    ...     np.array([1.0, 2.0, np.nan]), np.array([0]), np.array([[[0, 1], [1, 2]]]), (2, 2),
    ... ).tolist()
    [[[1, 0], [0, 1]]]
    """
    images = np.zeros((len(ranges), *shape), dtype=np.uint32)
    if len(ranges) == 0:
        return images
    low, high = ranges[:, :, 0], ranges[:, :, 1]
    per_unit = np.array(shape) / np.maximum(high - low, 1e-300)
    x, y = np.stack([low, high, per_unit], axis=2).transpose(1, 0, 2)
    with np.errstate(over="ignore"):  # of a range that has no width
        y = np.ascontiguousarray(y, dtype=values.dtype)
    of_spikes = (sample_index, unit_index, segment_index)
    x = np.ascontiguousarray(x)
    _draw(
        of_spikes,
        (clock.sampling_frequency, clock.segment_starts_s),
        values,
        image_of_unit,
        x,
        y,
        images,
    )
    return images
