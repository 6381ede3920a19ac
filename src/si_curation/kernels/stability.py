"""Stability of one unit: spikes in time bins, amplitudes and positions.

All functions take the spikes of one unit in the order of time, on one clock: the sample index plus
the lengths of the segments before. A *period* is a pair of samples, ``[start, stop)``, within one
segment; periods are ascending and do not overlap. The definitions are those of SpikeInterface
0.105 (``spikeinterface.metrics.quality``).
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


class Bins(NamedTuple):
    """Time bins ``[start, stop)``, arrays (n_bins,) int64 of samples."""

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]


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
    # as np.searchsorted; values ascend, so that each is looked for above the one before
    out = np.empty(values.size, dtype=np.int64)
    low = 0
    for i in range(values.size):
        if i > 0 and values[i] < values[i - 1]:
            low = 0
        high = samples.size
        while low < high:
            middle = (low + high) >> 1
            if samples[middle] < values[i]:
                low = middle + 1
            else:
                high = middle
        out[i] = low
    return out


def rows_of_bins(samples: NDArray[np.int64], bins: Bins) -> tuple[NDArray, NDArray]:
    """Return the first spike of each bin, and the one after its last.

    Parameters
    ----------
    samples : array (n_spikes,) int64, ascending
    bins : Bins

    Returns
    -------
    first, stop : array (n_bins,) int64
    """
    return _bisect(samples, bins.starts), _bisect(samples, bins.stops)


@njit
def _counts(
    samples: NDArray[np.int64], starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> NDArray[np.int64]:
    return _bisect(samples, stops) - _bisect(samples, starts)


def count_in_bins(samples: NDArray[np.int64], bins: Bins) -> NDArray[np.int64]:
    """Count the spikes in each bin.

    Examples
    --------
    >>> count_in_bins(np.array([1, 2, 9]), Bins(np.array([0, 5]), np.array([5, 10])))
    array([2, 1])
    """
    return _counts(samples, bins.starts, bins.stops)


def presence_ratio(counts: NDArray[np.integer], threshold: float) -> float:
    """Return the share of the bins that have more spikes than a threshold; NaN without bins.

    Examples
    --------
    >>> presence_ratio(np.array([3, 0, 1, 0]), 0)
    0.5
    """
    return float(np.count_nonzero(counts > threshold) / counts.size) if counts.size else np.nan


@njit
def _quantile_of_sorted(values: NDArray[np.floating], share: float) -> float:
    # numpy's, linear
    place = (values.size - 1) * share
    low = int(np.floor(place))
    if low >= values.size - 1:
        return values[values.size - 1]
    part = place - low
    step = values[low + 1] - values[low]
    if part >= 0.5:
        return values[low + 1] - step * (1.0 - part)
    return values[low] + step * part


def spread_of_percentiles(
    values: NDArray[np.float64], percentiles: Sequence[float]
) -> tuple[float, float]:
    """Return the median of values, and the difference of two percentiles, as numpy has them.

    Parameters
    ----------
    values : array (n,) float64
        At least one.
    percentiles : sequence of two float

    Examples
    --------
    >>> spread_of_percentiles(np.array([4.0, 0.0, 1.0]), (0, 50))
    (1.0, 1.0)
    """
    low, high = percentiles
    return _spread(values, low / 100, high / 100)


@njit
def _spread(values: NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    ordered = np.sort(values)
    between = _quantile_of_sorted(ordered, high) - _quantile_of_sorted(ordered, low)
    return _middle(ordered), between


@njit
def _middle(ordered: NDArray[np.float64]) -> float:
    half = ordered.size // 2
    if ordered.size % 2:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2


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


def firing_range(counts: NDArray[np.integer], size_s: float, percentiles: Sequence[float]) -> float:
    """Return the range of the firing rate between two percentiles, in Hz; NaN without bins.

    Examples
    --------
    >>> firing_range(np.array([0, 5, 10]), 5.0, (0, 100))
    2.0
    """
    if counts.size == 0:
        return np.nan
    return spread_of_percentiles(counts / size_s, percentiles)[1]


def median_of_sorted(values: NDArray[np.floating]) -> float:
    """Return the median of sorted values, in their precision, as numpy has it.

    Parameters
    ----------
    values : array (n,) floating
        Ascending, at least one.

    Examples
    --------
    >>> median_of_sorted(np.array([1.0, 2.0, 4.0, 8.0]))
    3.0
    """
    half = values.size // 2
    if values.size % 2:
        return float(values[half])
    return float((values[half - 1] + values[half]) / values.dtype.type(2))


def quantile_of_sorted(values: NDArray[np.floating], share: float) -> float:
    """Return a quantile of sorted values, as numpy has it for them in float64.

    (For float32 the last bits of numpy's depend on its version.)

    Parameters
    ----------
    values : array (n,) floating
        Ascending, at least one.
    share : float
        0 to 1.

    Examples
    --------
    >>> quantile_of_sorted(np.array([1.0, 2.0, 4.0]), 0.75)
    3.0
    """
    place = (values.size - 1) * float(share)
    low = int(place)
    if low >= values.size - 1:
        return float(values[-1])
    part, below, above = place - low, float(values[low]), float(values[low + 1])
    if part >= 0.5:
        return above - (above - below) * (1 - part)
    return below + (above - below) * part


@njit
def variation_in_bins(
    values: NDArray[np.floating], first: NDArray[np.int64], stop: NDArray[np.int64], mean: float
) -> NDArray[np.float64]:
    """Return the coefficient of variation of each bin: its deviation over a common mean.

    Parameters
    ----------
    values : array (n_spikes,) floating
    first, stop : array (n_bins,) int64
        Rows of each bin.
    mean : float

    Returns
    -------
    array (n_bins with a spike,) float64
        Bins without spikes have none and are left out.
    """
    out = np.empty(first.size, dtype=np.float64)
    used = 0
    for b in range(first.size):
        n = stop[b] - first[b]
        if n <= 0:
            continue
        total = 0.0
        for i in range(first[b], stop[b]):
            total += values[i]
        centre = total / n
        squares = 0.0
        for i in range(first[b], stop[b]):
            squares += (values[i] - centre) ** 2
        out[used] = np.sqrt(squares / n) / mean
        used += 1
    return out[:used]


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
    values : array (n,) floating
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
    if values[0] == values[-1] or values.dtype.kind != "f":
        edges = np.histogram_bin_edges(values[[0, -1]], num_bins)
        bounds = np.searchsorted(values, edges)
        bounds[-1] = values.size
        return np.diff(bounds), edges
    return _histogram_of_sorted(values, num_bins)


@njit
def _histogram_of_sorted(
    values: NDArray[np.floating], num_bins: int
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    # edges in the precision of the values, as numpy.linspace makes them
    edges = np.empty(num_bins + 1, dtype=values.dtype)
    first, last = values[0], values[-1]
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


def noise_cutoff(
    histogram: NDArray[np.integer],
    edges: NDArray[np.floating],
    low_value: float,
    high_value: float,
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
    low = int(np.searchsorted(edges[1:], low_value, side="right"))
    high = int(np.searchsorted(edges[:-1], high_value))
    return _noise_cutoff(np.asarray(histogram, dtype=np.int64), low, high)


@njit
def _noise_cutoff(histogram: NDArray[np.int64], low: int, high: int) -> tuple[float, float]:
    # the bins below `low`, and those from `high` on
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


def drift_of_positions(positions: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return range, standard deviation and median absolute deviation of positions without NaN.

    Examples
    --------
    >>> drift_of_positions(np.array([0.0, 2.0, np.nan, 4.0]))[0]
    4.0
    """
    return _drift(positions)


@njit
def _drift(positions: NDArray[np.float64]) -> tuple[float, float, float]:
    known = positions[~np.isnan(positions)]
    if known.size == 0:
        return np.nan, np.nan, np.nan
    ordered = np.sort(known)
    away = np.sort(np.abs(known - _middle(ordered)))
    return ordered[-1] - ordered[0], _deviation(known), _middle(away)
