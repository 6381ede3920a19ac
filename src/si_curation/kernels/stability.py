"""Stability of units: spikes in time bins, amplitudes and positions.

A *part* is the spikes of one unit in the order of time, or those in a window of the recording.
Times are on one clock: the sample index plus the lengths of the segments before. A *period* is a
pair of samples, ``[start, stop)``, within one segment; periods are ascending and do not overlap.
The definitions are those of SpikeInterface 0.105 (``spikeinterface.metrics.quality``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from si_curation.kernels.parallel import njit

# of a search for a median
_NUM_BUCKETS = 256
# values that numpy converts to float64 and adds at once
_NUM_ADDED = 8192


class Bins(NamedTuple):
    """Time bins ``[start, stop)``, arrays (n_bins,) int64 of samples."""

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]


class Rows(NamedTuple):
    """The rows ``[first, stop)`` of each part, arrays (n_parts,) int64."""

    first: NDArray[np.int64]
    stop: NDArray[np.int64]


class BinsOfParts(NamedTuple):
    """The time bins of each part.

    Attributes
    ----------
    starts, stops : array (n_bins,) int64
        As of `Bins`, all in one.
    first, stop : array (n_parts,) int64
        Which of them are those of a part.
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]


class PeriodsOfParts(NamedTuple):
    """The periods of each part, by segment.

    Attributes
    ----------
    periods : array (n_periods, 2) int64
    first_period : array (n_segments + 1,) int64
        Where those of a segment begin. The segments of different parts are counted apart.
    first, stop : array (n_parts,) int64
        Which segments are those of a part.
    """

    periods: NDArray[np.int64]
    first_period: NDArray[np.int64]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]


def bins_in_periods(periods: NDArray[np.int64], size: int) -> Bins:
    """Cut periods into bins of one size; what is left at the end of a period is left out.

    Parameters
    ----------
    periods : array (n_periods, 2) int64
    size : int
        In samples.

    Examples
    --------
    >>> bins_in_periods(np.array([[0, 7], [10, 13]]), 3)
    Bins(starts=array([ 0,  3, 10]), stops=array([ 3,  6, 13]))
    """
    starts = [np.arange(start, stop - size + 1, size) for start, stop in periods.tolist()]
    if len(starts) == 1:
        return Bins(starts[0], starts[0] + size)
    all_starts = np.concatenate([np.zeros(0, dtype=np.int64), *starts]).astype(np.int64)
    return Bins(all_starts, all_starts + size)


def bins_of_recording(segment_samples: ArrayLike, size: int) -> Bins:
    """Cut a whole recording into bins, as SpikeInterface does.

    The last bin of a segment is short where the segment is no multiple of the size, but at the end
    of the recording it is left out. The last of all bins holds its right edge too (as
    ``numpy.histogram``).

    Parameters
    ----------
    segment_samples : sequence of int
        Length of each segment.
    size : int
        In samples.

    Examples
    --------
    >>> bins_of_recording([7, 8], 3)
    Bins(starts=array([ 0,  3,  6,  7, 10]), stops=array([ 3,  6,  7, 10, 14]))
    """
    lengths = np.asarray(segment_samples, dtype=np.int64)
    ends = np.cumsum(lengths)
    edges = [np.arange(e - n, e, size) for e, n in zip(ends[:-1], lengths[:-1], strict=True)]
    # aligned to multiples of the size from the start of the first segment
    edges.append(np.arange(ends[-1] - lengths[-1], ends[-1] // size * size + 1, size))
    joined = np.concatenate(edges).astype(np.int64)
    stops = joined[1:].copy()
    stops[-1:] += 1
    return Bins(joined[:-1], stops)


def bins_of_segments(segment_samples: ArrayLike, size: int) -> list[Bins]:
    """Cut each segment into whole bins, as SpikeInterface does for drift.

    A segment before the last that is a multiple of the size has one bin less than it could.

    Parameters
    ----------
    segment_samples : sequence of int
    size : int
        In samples.

    Examples
    --------
    >>> [bins.starts.tolist() for bins in bins_of_segments([6, 6], 3)]
    [[0], [6, 9]]
    """
    lengths = np.asarray(segment_samples, dtype=np.int64)
    offsets = np.cumsum(lengths) - lengths
    out = []
    for i, (offset, length) in enumerate(zip(offsets, lengths, strict=True)):
        last = i == lengths.size - 1
        edges = offset + np.arange(0, length // size * size + 1 if last else length, size)
        out.append(Bins(edges[:-1], edges[1:]))
    return out


@njit
def _bisect(samples: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    # as np.searchsorted; values ascend, so that each is looked for from the one before on
    out = np.empty(values.size, dtype=np.int64)
    low = 0
    for i in range(values.size):
        if i > 0 and values[i] < values[i - 1]:
            low = 0
        high, step = low, 1
        while high < samples.size and samples[high] < values[i]:
            low = high + 1
            high += step
            step *= 2
        high = min(high, samples.size)
        while low < high:
            middle = (low + high) >> 1
            if samples[middle] < values[i]:
                low = middle + 1
            else:
                high = middle
        out[i] = low
    return out


@njit
def _quantile_of_sorted(values: NDArray[np.floating], share: float) -> float:
    # numpy's, linear, for values in float64: for float32 its last bits depend on its version
    place = (values.size - 1) * share
    low = int(np.floor(place))
    if low >= values.size - 1:
        return np.float64(values[values.size - 1])
    part = place - low
    below, above = np.float64(values[low]), np.float64(values[low + 1])
    step = above - below
    if part >= 0.5:
        return above - step * (1.0 - part)
    return below + step * part


@njit
def _middle(ordered: NDArray[np.floating]) -> float:
    # the median, as numpy has it
    half = ordered.size // 2
    if ordered.size % 2:
        return np.float64(ordered[half])
    return (ordered[half - 1] + ordered[half]) / 2.0


@njit
def _pairwise_sum(values: NDArray[np.float64]) -> float:
    # in the order of numpy's, so that the last bits are the same
    n = values.size
    if n < 8:
        total = 0.0
        for i in range(n):
            total += values[i]
        return total
    if n <= 128:
        part = values[:8].copy()
        whole = n - n % 8
        for i in range(8, whole):
            part[i % 8] += values[i]
        total = ((part[0] + part[1]) + (part[2] + part[3])) + (
            (part[4] + part[5]) + (part[6] + part[7])
        )
        for i in range(whole, n):
            total += values[i]
        return total
    half = n // 2
    half -= half % 8
    return _pairwise_sum(values[:half]) + _pairwise_sum(values[half:])


@njit
def _deviation(values: NDArray[np.float64]) -> float:
    # the standard deviation, as numpy has it
    mean = _pairwise_sum(values) / values.size
    return np.sqrt(_pairwise_sum((values - mean) ** 2) / values.size)


@njit
def _buckets(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    # buckets of equal width between the smallest and the largest value, ascending with them
    out = np.zeros(values.size, dtype=np.uint8)
    if values.size == 0:
        return out
    low, high = values[0], values[0]
    for i in range(values.size):
        if values[i] < low:
            low = values[i]
        if values[i] > high:
            high = values[i]
    span = high - low
    if 1e-30 < span < 1e30:  # others are in one bucket
        scale = type(low)(_NUM_BUCKETS - 1) / span
        for i in range(values.size):
            out[i] = np.uint8(np.int32((values[i] - low) * scale))
    return out


@njit
def _median(
    values: NDArray[np.floating],
    bucket: NDArray[np.uint8],
    counts: NDArray[np.int64],
    kept: NDArray[np.floating],
) -> float:
    # as numpy's, in their precision: only the bucket of the median is put in order
    n = values.size
    counts[:] = 0
    for i in range(n):
        counts[bucket[i]] += 1
    rank = (n - 1) // 2
    its, before = 0, 0
    while before + counts[its] <= rank:
        before += counts[its]
        its += 1
    used, above = 0, np.inf
    for i in range(n):
        if bucket[i] == its:
            kept[used] = values[i]
            used += 1
    ordered = np.sort(kept[:used])
    rank -= before
    if n % 2 == 1:
        return np.float64(ordered[rank])
    if rank + 1 < used:
        kept[0] = ordered[rank + 1]
    else:
        for i in range(n):
            if bucket[i] > its and values[i] < above:
                above = np.float64(values[i])
        kept[0] = above
    kept[0] += ordered[rank]
    kept[0] /= 2
    return np.float64(kept[0])


@njit
def _activity(
    samples: NDArray[np.int64],  # (n_spikes,)
    rows: tuple[NDArray[np.int64], ...],  # as Rows
    bins: tuple[NDArray[np.int64], ...],  # as BinsOfParts
    thresholds: NDArray[np.float64],  # (n_parts,)
    size_s: float,
    shares: tuple[float, float],
    out: NDArray[np.float64],  # (n_parts, 2)
) -> None:
    starts, stops, first_bin, stop_bin = bins
    for part in range(len(out)):
        its = slice(first_bin[part], stop_bin[part])
        own = samples[rows[0][part] : rows[1][part]]
        counts = _bisect(own, stops[its]) - _bisect(own, starts[its])
        if counts.size == 0:
            out[part] = np.nan
            continue
        number_of = np.zeros(own.size + 1, dtype=np.int64)
        above = 0
        for count in counts:
            above += count > thresholds[part]
            number_of[count] += 1
        rates = np.empty(counts.size, dtype=np.float64)  # ascending
        used = 0
        for count in range(number_of.size):
            for _ in range(number_of[count]):
                rates[used] = count / size_s
                used += 1
        out[part, 0] = above / counts.size
        out[part, 1] = _quantile_of_sorted(rates, shares[1]) - _quantile_of_sorted(rates, shares[0])


def activity_in_bins(
    samples: NDArray[np.int64],
    rows: Rows,
    bins: BinsOfParts,
    thresholds: NDArray[np.float64],
    size_s: float,
    percentiles: Sequence[float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the presence ratio of each part, and the range of its firing rate.

    Parameters
    ----------
    samples : array (n_spikes,) int64
        Ascending within each part.
    rows : Rows
    bins : BinsOfParts
    thresholds : array (n_parts,) float64
        A part is present in the bins that have more spikes.
    size_s : float
        Length of a bin.
    percentiles : sequence of two float

    Returns
    -------
    present : array (n_parts,) float64
        Share of the bins; NaN without bins.
    ranges : array (n_parts,) float64
        Difference of two percentiles of the rate, in Hz; NaN without bins.

    Examples
    --------
    >>> rows = Rows(np.array([0]), np.array([3]))
    >>> bins = BinsOfParts(np.array([0, 5]), np.array([5, 10]), np.array([0]), np.array([2]))
    >>> activity_in_bins(np.array([1, 2, 9]), rows, bins, np.array([1.0]), 0.5, (0, 100))
    (array([0.5]), array([2.]))
    """
    out = np.empty((rows.first.size, 2), dtype=np.float64)
    shares = (percentiles[0] / 100, percentiles[1] / 100)
    _activity(samples, tuple(rows), tuple(bins), thresholds, float(size_s), shares, out)
    return out[:, 0], out[:, 1]


@njit
def _mean(values: NDArray[np.float64], num_added: int) -> float:
    total = 0.0
    for first in range(0, values.size, num_added):
        total += _pairwise_sum(values[first : first + num_added])
    return total / values.size


@njit
def _variations(
    samples: NDArray[np.int64],  # (n_spikes,)
    values: NDArray[np.floating],  # (n_spikes,)
    periods: NDArray[np.int64],  # (2 n_periods,): start and stop in turn, of one segment
    size: int,
    out: NDArray[np.float64],
) -> int:
    # how many are found: no bin without spikes has one
    bounds = _bisect(samples, periods)
    inside = np.empty(samples.size, dtype=np.float64)
    used = 0
    for k in range(0, periods.size, 2):
        for i in range(bounds[k], bounds[k + 1]):
            inside[used] = values[i]
            used += 1
    if used == 0:
        return 0
    mean = abs(_mean(inside[:used], used if values.itemsize == 8 else _NUM_ADDED))
    if mean == 0:
        return 0
    found = 0
    for k in range(0, periods.size, 2):
        first = bounds[k]
        for stop_sample in range(periods[k] + size, periods[k + 1] + 1, size):
            stop, total, squares = first, 0.0, 0.0
            while stop < samples.size and samples[stop] < stop_sample:
                total += values[stop]
                stop += 1
            if stop > first:
                centre = total / (stop - first)
                for i in range(first, stop):
                    squares += (values[i] - centre) ** 2
                out[found] = np.sqrt(squares / (stop - first)) / mean
                found += 1
            first = stop
    return found


@njit
def _variations_of_parts(
    samples: NDArray[np.int64],  # (n_spikes,)
    values: NDArray[np.floating],  # (n_spikes,)
    rows: tuple[NDArray[np.int64], ...],  # as Rows
    of_periods: tuple[NDArray[np.int64], ...],  # as PeriodsOfParts
    sizes: NDArray[np.int64],  # (n_parts,)
    shares: tuple[float, float],
    out: NDArray[np.float64],  # (n_parts, 3)
) -> None:
    periods, first_period, first_segment, stop_segment = of_periods
    for part in range(len(out)):
        first, stop = rows[0][part], rows[1][part]
        found = np.empty(stop - first, dtype=np.float64)  # each has a spike
        used = 0
        for segment in range(first_segment[part], stop_segment[part]):
            used += _variations(
                samples[first:stop],
                values[first:stop],
                periods[2 * first_period[segment] : 2 * first_period[segment + 1]],
                sizes[part],
                found[used:],
            )
        out[part] = np.nan
        out[part, 0] = used
        if used > 0:
            found = np.sort(found[:used])
            out[part, 1] = _middle(found)
            high, low = _quantile_of_sorted(found, shares[1]), _quantile_of_sorted(found, shares[0])
            out[part, 2] = high - low


def variation_over_time(
    samples: NDArray[np.int64],
    values: NDArray[np.floating],
    rows: Rows,
    periods: PeriodsOfParts,
    sizes: NDArray[np.int64],
    percentiles: Sequence[float],
) -> NDArray[np.float64]:
    """Return the coefficient of variation of values in time bins: its median, and its range.

    It is the deviation of a bin over the mean of the segment. Bins without spikes have none and
    are left out, as are segments whose mean is 0.

    Parameters
    ----------
    samples : array (n_spikes,) int64
        Ascending within each part.
    values : array (n_spikes,) float32 or float64
        Numbers.
    rows : Rows
    periods : PeriodsOfParts
        Cut into bins as by `bins_in_periods`.
    sizes : array (n_parts,) int64
        Of the bins of each part, in samples.
    percentiles : sequence of two float

    Returns
    -------
    array (n_parts, 3) float64
        Number of bins, median, difference of the percentiles; NaN without bins.

    Examples
    --------
    >>> rows = Rows(np.array([0]), np.array([4]))
    >>> periods = PeriodsOfParts(np.array([[0, 4]]), np.array([0, 1]), np.array([0]), np.array([1]))
    >>> values = np.array([3.0, 5.0, 2.0, 6.0])
    >>> variation_over_time(np.arange(4), values, rows, periods, np.array([2]), (0, 100))
    array([[2.   , 0.375, 0.25 ]])
    """
    out = np.empty((rows.first.size, 3), dtype=np.float64)
    shares = (percentiles[0] / 100, percentiles[1] / 100)
    in_turn = (periods.periods.reshape(-1), *periods[1:])
    _variations_of_parts(samples, values, tuple(rows), in_turn, sizes, shares, out)
    return out


@njit
def medians_in_bins(
    values: NDArray[np.floating], first: NDArray[np.int64], stop: NDArray[np.int64], min_spikes: int
) -> tuple[NDArray[np.float64], float]:
    """Return the median of the values in each bin, and that of all values.

    Parameters
    ----------
    values : array (n_spikes,) floating
        Numbers.
    first, stop : array (n_bins,) int64
        Rows of each bin.
    min_spikes : int

    Returns
    -------
    medians : array (n_bins,) float64
        NaN where a bin has too few spikes.
    of_all : float
        In the precision of the values, as numpy has it; NaN without values.
    """
    out = np.full(first.size, np.nan)
    bucket, kept = _buckets(values), np.empty_like(values)
    counts = np.empty(_NUM_BUCKETS, dtype=np.int64)
    for b in range(first.size):
        one = slice(first[b], stop[b])
        n = stop[b] - first[b]
        if n > 0 and n >= min_spikes:
            out[b] = _median(values[one], bucket[one], counts, kept)
    return out, _median(values, bucket, counts, kept) if values.size else np.nan


def histogram_of_sorted(
    values: NDArray[np.floating], num_bins: int
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Return the histogram of sorted values, equal to `numpy.histogram`, by bisection.

    Parameters
    ----------
    values : array (n,) float32 or float64
        Ascending, at least one.
    num_bins : int

    Returns
    -------
    heights : array (num_bins,) int64
    edges : array (num_bins + 1,) floating

    Examples
    --------
    >>> histogram_of_sorted(np.array([0.0, 1.0, 1.5, 4.0]), 2)
    (array([3, 1]), array([0., 2., 4.]))
    """
    return _histogram_of_sorted(values, num_bins)


@njit
def _histogram_of_sorted(
    values: NDArray[np.floating], num_bins: int
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    # edges in the precision of the values, as numpy.linspace makes them
    edges = np.empty(num_bins + 1, dtype=values.dtype)
    first, last = values[0], values[-1]
    if first == last:
        first, last = first - type(first)(0.5), last + type(first)(0.5)
    edges[0] = num_bins
    step = (last - first) / edges[0]
    for i in range(num_bins + 1):
        edges[i] = i
        edges[i] = edges[i] * step
        edges[i] = edges[i] + first
    edges[num_bins] = last
    heights = np.empty(num_bins, dtype=np.int64)
    low = 0
    for i in range(num_bins):
        above, high = low, values.size
        while above < high and i < num_bins - 1:
            middle = (above + high) >> 1
            if values[middle] < edges[i + 1]:
                above = middle + 1
            else:
                high = middle
        if i == num_bins - 1:  # the last bin holds its right edge too
            above = values.size
        heights[i] = above - low
        low = above
    return heights, edges


def fraction_missing(
    histogram: NDArray[np.integer], num_amplitudes: int, smoothing: float
) -> float:
    """Estimate the share of spikes below the detection threshold from the tail of amplitudes.

    The histogram of amplitudes is smoothed; what its right side has beyond the last bin that is as
    high as the first is what its left side lacks (Hill et al. 2011, J. Neurosci. 31:8699).

    Parameters
    ----------
    histogram : array (n_bins,) int64
        Of positive amplitudes.
    num_amplitudes : int
    smoothing : float
        Standard deviation of the Gaussian, in bins.

    Returns
    -------
    float
        0 to 0.5.

    Examples
    --------
    >>> round(fraction_missing(np.array([50, 40, 30, 20, 10, 5, 0, 0]), 155, 0.1), 3)
    0.404
    """
    weights = _gaussian(float(smoothing))
    return _fraction_missing(np.asarray(histogram, dtype=np.int64), num_amplitudes, weights)


@lru_cache(maxsize=8)
def _gaussian(deviation: float) -> NDArray[np.float64]:
    # as scipy.ndimage.gaussian_filter1d has it, to 4 standard deviations
    radius = int(4.0 * deviation + 0.5)
    weights = np.exp(-0.5 / (deviation * deviation) * np.arange(-radius, radius + 1) ** 2)
    return weights / weights.sum()


@njit
def _fraction_missing(
    histogram: NDArray[np.int64], num_amplitudes: int, weights: NDArray[np.float64]
) -> float:
    n, radius = histogram.size, weights.size // 2
    smooth = np.empty(n, dtype=np.int64)  # whole numbers, as scipy's of whole numbers are
    for i in range(n):
        total = histogram[i] * weights[radius]
        for away in range(radius, 0, -1):
            pair = np.float64(histogram[max(i - away, 0)] + histogram[min(i + away, n - 1)])
            total += pair * weights[radius - away]
        smooth[i] = np.int64(total)
    last = 0
    for i in range(n):
        if smooth[i] >= smooth[0]:
            last = i
    missing = 0
    for i in range(last + 1, n):
        missing += smooth[i]
    return min(missing / (num_amplitudes + missing), 0.5)


@njit
def noise_cutoff(
    histogram: NDArray[np.int64], edges: NDArray[np.floating], low_value: float, high_value: float
) -> tuple[float, float]:
    """Compare the number of the smallest amplitudes with that of the largest ones.

    Parameters
    ----------
    histogram : array (n_bins,) int64
        Of positive amplitudes.
    edges : array (n_bins + 1,) floating
    low_value, high_value : float
        Amplitudes below which, and above which, bins are low and high.

    Returns
    -------
    cutoff : float
        (mean of the low bins - mean of the high bins) / deviation of the high bins; NaN without low
        bins, with less than two high bins, and where all high bins are equally high.
    ratio : float
        Mean of the low bins over the highest bin; NaN without low bins.

    Notes
    -----
    Source: IBL 2024 (spike sorting pipeline), in the version of SpikeInterface.

    Examples
    --------
    >>> noise_cutoff(np.array([8, 9, 4, 2]), np.arange(5.0), 1.0, 2.0)
    (5.0, 0.8888888888888888)
    """
    low = high = 0  # the bins below `low`, and those from `high` on
    while low < histogram.size and edges[low + 1] <= low_value:
        low += 1
    while high < histogram.size and edges[high] < high_value:
        high += 1
    if low == 0:
        return np.nan, np.nan
    below = above = highest = 0
    for i in range(histogram.size):
        below += histogram[i] if i < low else 0
        above += histogram[i] if i >= high else 0
        highest = max(highest, histogram[i])
    mean = below / low
    ratio = mean / highest
    heights = histogram[high:].astype(np.float64)
    deviation = _deviation(heights) if heights.size > 1 else 0.0
    if deviation == 0:
        return np.nan, ratio
    return (mean - above / heights.size) / deviation, ratio


@njit
def _amplitudes(
    ordered: NDArray[np.floating],  # (n_spikes,)
    rows: tuple[NDArray[np.int64], ...],  # as Rows
    num_bins: int,
    shares: tuple[float, float],
    weights: NDArray[np.float64],
    out: NDArray[np.float64],  # (n_parts, 4)
) -> None:
    for part in range(len(out)):
        out[part] = np.nan
        values = ordered[rows[0][part] : rows[1][part]]
        if values.size == 0:
            continue
        out[part, 0] = _middle(values)
        if out[part, 0] < 0:
            positive = np.empty_like(values)
            for i in range(values.size):
                positive[i] = -values[values.size - 1 - i]
            values = positive
        heights, edges = _histogram_of_sorted(values, num_bins)
        out[part, 1] = _fraction_missing(heights, values.size, weights)
        low, high = _quantile_of_sorted(values, shares[0]), _quantile_of_sorted(values, shares[1])
        out[part, 2], out[part, 3] = noise_cutoff(heights, edges, low, high)


def describe_amplitudes(
    ordered: NDArray[np.floating],
    rows: Rows,
    num_bins: int,
    smoothing: float,
    shares: tuple[float, float],
) -> NDArray[np.float64]:
    """Return what the amplitudes of each part tell, of whichever sign they are.

    Parameters
    ----------
    ordered : array (n_spikes,) float32 or float64
        Ascending within each part.
    rows : Rows
    num_bins : int
        Of the histogram of amplitudes, positive where their median is not.
    smoothing : float
        As of `fraction_missing`.
    shares : tuple of two float
        Shares of the amplitudes below the values that `noise_cutoff` takes.

    Returns
    -------
    array (n_parts, 4) float64
        Median, `fraction_missing` and both values of `noise_cutoff`; NaN without spikes.

    Examples
    --------
    >>> amplitudes = -np.array([4.0, 3.0, 3.0, 2.0, 2.0, 1.0, 1.0, 1.0])
    >>> rows = Rows(np.array([0]), np.array([8]))
    >>> describe_amplitudes(amplitudes, rows, 4, 0.1, (0.5, 0.6)).round(2)
    array([[-2.  ,  0.38,  3.  ,  1.  ]])
    """
    out = np.empty((rows.first.size, 4), dtype=np.float64)
    _amplitudes(ordered, tuple(rows), int(num_bins), shares, _gaussian(float(smoothing)), out)
    return out


@njit
def _drift(positions: NDArray[np.float64]) -> tuple[float, float, float]:
    known = positions[~np.isnan(positions)]
    if known.size == 0:
        return np.nan, np.nan, np.nan
    ordered = np.sort(known)
    away = np.sort(np.abs(known - _middle(ordered)))
    return ordered[-1] - ordered[0], _deviation(known), _middle(away)


@njit
def _drifts(
    samples: NDArray[np.int64],  # (n_spikes,)
    values: NDArray[np.floating],  # (n_spikes,)
    rows: tuple[NDArray[np.int64], ...],  # as Rows
    bins: tuple[NDArray[np.int64], ...],  # as BinsOfParts
    min_spikes: int,
    out: NDArray[np.float64],  # (n_parts, 4)
) -> None:
    starts, stops, first_bin, stop_bin = bins
    for part in range(len(out)):
        its = slice(first_bin[part], stop_bin[part])
        own = slice(rows[0][part], rows[1][part])
        first, stop = _bisect(samples[own], starts[its]), _bisect(samples[own], stops[its])
        medians, of_all = medians_in_bins(values[own], first, stop, min_spikes)
        out[part, 0] = 0
        for b in range(medians.size):
            medians[b] -= of_all
            out[part, 0] += not np.isnan(medians[b])
        out[part, 1], out[part, 2], out[part, 3] = _drift(medians)


def drift_in_bins(
    samples: NDArray[np.int64],
    values: NDArray[np.floating],
    rows: Rows,
    bins: BinsOfParts,
    min_spikes: int,
) -> NDArray[np.float64]:
    """Return how far the medians of values in time bins are from each other.

    Parameters
    ----------
    samples : array (n_spikes,) int64
        Ascending within each part.
    values : array (n_spikes,) float32 or float64
        Numbers.
    rows : Rows
    bins : BinsOfParts
    min_spikes : int
        Bins with fewer spikes have no median.

    Returns
    -------
    array (n_parts, 4) float64
        Number of bins with a median; range, standard deviation and median absolute deviation of the
        medians, NaN where there are none.

    Examples
    --------
    >>> rows = Rows(np.array([0]), np.array([3]))
    >>> bins = BinsOfParts(np.array([0, 2]), np.array([2, 4]), np.array([0]), np.array([2]))
    >>> drift_in_bins(np.arange(3), np.array([1.0, 3.0, 6.0]), rows, bins, 1)
    array([[2., 4., 2., 2.]])
    """
    out = np.empty((rows.first.size, 4), dtype=np.float64)
    _drifts(samples, values, tuple(rows), tuple(bins), min_spikes, out)
    return out
