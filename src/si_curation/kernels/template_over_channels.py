"""Amplitudes of a template over its channels: exponential decay, spread, velocity.

The definitions are those of SpikeInterface 0.105 (``spikeinterface.metrics.template``). It fits the
decay from one start with `scipy.optimize.curve_fit`, which stops early, or at another minimum;
`fit_decays` returns the optimum within the same bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from si_curation.kernels.parallel import blocks, njit, run_blocks

#: Bounds of the rate of the decay, per µm; of the amplitude, over that of the nearest channel.
RATES = (1e-5, 2.0)
AMPLITUDES = (0.5, 1.5)
# of the offset, over the smallest amplitude
_MOST_OFFSET = 2.0
_NUM_RATES = 64
_FITS_PER_BLOCK = 32
_MAX_STEPS = 80


class DecayFits(NamedTuple):
    """Least squares fits of amplitudes over distance, arrays (n,) float64.

    Attributes
    ----------
    rate : array
        Per unit of distance; NaN where it is not determined.
    residual : array
        Sum of squares.
    r2 : array
        Share of the variance that is explained.
    """

    rate: NDArray[np.float64]
    residual: NDArray[np.float64]
    r2: NDArray[np.float64]


def fit_decays(
    distances: Sequence[NDArray[np.float64]], amplitudes: Sequence[NDArray[np.floating]]
) -> DecayFits:
    """Fit ``amplitude * exp(-rate * distance) + offset``: the least squares optimum within bounds.

    The rate lies within `RATES`, the amplitude within `AMPLITUDES` times that of the first point,
    and the offset between 0 and twice the smallest amplitude. For a given rate the best amplitude
    and offset are closed form, so that only the rate is searched: over the whole range first, then
    to convergence.

    Parameters
    ----------
    distances : sequence of array (n_points,)
        Of each fit.
    amplitudes : sequence of array (n_points,)
        Not negative.

    Returns
    -------
    DecayFits
        NaN where there are less than three different distances, which do not determine three
        parameters, and where an amplitude is 0, for which there is no offset within the bounds.

    Examples
    --------
    >>> x = np.arange(0.0, 100.0, 10.0)
    >>> fits = fit_decays([x], [80.0 * np.exp(-0.03 * x) + 5.0])
    >>> fits.rate.round(9), fits.r2.round(9)
    (array([0.03]), array([1.]))
    """
    sizes = np.array([len(distance) for distance in distances], dtype=np.int64)
    start = np.append(0, np.cumsum(sizes))
    nothing = np.zeros(0)
    distance = np.concatenate([nothing, *distances])
    value = np.concatenate([nothing, *amplitudes])
    grid = np.geomspace(*RATES, _NUM_RATES)
    grid[[0, -1]] = RATES
    out = np.empty((sizes.size, 3), dtype=np.float64)
    run_blocks(
        lambda b: _fit_decays(distance, value, start[b.start : b.stop + 1], grid, out[b]),
        blocks(sizes.size, _FITS_PER_BLOCK),
    )
    rate, residual, total = out.T
    r2 = np.where(np.isnan(rate), np.nan, _explained(residual, total))
    return DecayFits(rate, residual, r2)


@njit
def _fit_decays(
    distances: NDArray[np.float64],  # (n_points,)
    values: NDArray[np.float64],  # (n_points,)
    start: NDArray[np.int64],  # (n_fits + 1,)
    grid: NDArray[np.float64],  # (n_rates,)
    out: NDArray[np.float64],  # (n_fits, 3): rate, residual, sum of squares about the mean
) -> None:
    for fit in range(len(out)):
        distance = distances[start[fit] : start[fit + 1]]
        value = values[start[fit] : start[fit + 1]]
        out[fit] = np.nan
        if not _is_determined(distance, value):
            continue
        decays = np.empty(distance.size, dtype=np.float64)
        best, smallest = 0, np.inf
        for k in range(grid.size):
            residual = _best_at(grid[k], distance, value, decays)[2]
            if residual < smallest:
                best, smallest = k, residual
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
        found = _refined(grid[best], low, high, distance, value, decays)
        by_grid = _residual_and_slope(grid[best], distance, value, decays)[0]
        by_search = _residual_and_slope(found, distance, value, decays)[0]
        out[fit, 0] = found if by_search <= by_grid else grid[best]
        out[fit, 1] = min(by_search, by_grid)
        centre, squares = 0.0, 0.0
        for one in value:
            centre += one / value.size
        for one in value:
            squares += (one - centre) ** 2
        out[fit, 2] = squares


@njit
def _is_determined(distance: NDArray[np.float64], value: NDArray[np.float64]) -> bool:
    # whether there are three different distances, and an offset within the bounds
    least, most = np.inf, -np.inf
    for i in range(value.size):
        least, most = min(least, distance[i]), max(most, distance[i])
        if not value[i] > 0:
            return False
    is_between = False
    for one in distance:
        is_between |= least < one < most
    return is_between


@njit
def _best_at(
    rate: float,
    distance: NDArray[np.float64],
    value: NDArray[np.float64],
    decays: NDArray[np.float64],  # what they are at this rate is put here
) -> tuple[float, float, float]:
    # the best amplitude and offset within the bounds, and their residual
    count = value.size
    mean, centre = 0.0, 0.0
    for i in range(count):
        decays[i] = np.exp(-rate * distance[i])
        mean += decays[i]
        centre += value[i]
    mean, centre = mean / count, centre / count
    # centred on their means, so that nothing is lost where the decays are nearly a line
    squares, products, energy = 0.0, 0.0, 0.0
    for i in range(count):
        squares += (decays[i] - mean) ** 2
        products += (decays[i] - mean) * value[i]
        energy += (value[i] - centre) ** 2
    least, most = AMPLITUDES[0] * value[0], AMPLITUDES[1] * value[0]
    most_offset = _MOST_OFFSET * value.min()
    free = products / squares if squares > 0 else 0.0
    offset = centre - free * mean
    is_inside = least <= free <= most and 0 <= offset <= most_offset
    # a convex function has its optimum inside, or on an edge
    amplitude, smallest = free, np.inf
    for choice in range(1 if is_inside else 5):
        a, c = min(max(free, least), most), offset
        if choice == 1 or choice == 2:
            a = least if choice == 1 else most
            c = centre - a * mean
        elif choice > 2:
            c = 0.0 if choice == 3 else most_offset
            below = squares + count * mean**2
            if below > 0:
                a = min(max((products + count * mean * (centre - c)) / below, least), most)
        c = min(max(c, 0.0), most_offset)
        away = c - (centre - a * mean)
        residual = energy + a * (a * squares - 2.0 * products) + count * away**2
        if residual < smallest:
            amplitude, offset, smallest = a, c, residual
    return amplitude, offset, smallest


@njit
def _residual_and_slope(
    rate: float,
    distance: NDArray[np.float64],
    value: NDArray[np.float64],
    decays: NDArray[np.float64],
) -> tuple[float, float]:
    # the residual at a rate, and (half of) how it grows with the rate: amplitude and offset are
    # the best, so that their change does not count
    amplitude, offset, _ = _best_at(rate, distance, value, decays)
    residual, slope = 0.0, 0.0
    for i in range(value.size):
        fitted = amplitude * decays[i]
        left = value[i] - fitted - offset
        residual += left * left
        slope += left * distance[i] * fitted
    return residual, slope


@njit
def _refined(
    start: float,
    low: float,
    high: float,
    distance: NDArray[np.float64],
    value: NDArray[np.float64],
    decays: NDArray[np.float64],
) -> float:
    # where the residual stops falling and begins to grow, between neighbours of the grid: it falls
    # from the one side to the best of the grid, so that the root is on the other
    if _residual_and_slope(start, distance, value, decays)[1] < 0:
        low = start
    else:
        high = start
    at_low = _residual_and_slope(low, distance, value, decays)[1]
    at_high = _residual_and_slope(high, distance, value, decays)[1]
    # the bounds of the rate may be the best
    if at_low >= 0:
        return low
    if at_high <= 0:
        return high
    for step in range(_MAX_STEPS):
        middle = (low + high) / 2
        if step % 3 < 2:  # regula falsi, kept inside; every third step halves
            secant = low - at_low * (high - low) / (at_high - at_low)
            if low < secant < high:
                middle = secant
        slope = _residual_and_slope(middle, distance, value, decays)[1]
        if slope < 0:  # Illinois: what stays counts half
            low, at_low, at_high = middle, slope, at_high / 2
        else:
            high, at_high, at_low = middle, slope, at_low / 2
        if slope == 0 or high - low <= 1e-13 * high:
            return middle
    return (low + high) / 2


def fit_lines(
    distances: Sequence[NDArray[np.float64]], amplitudes: Sequence[NDArray[np.floating]]
) -> DecayFits:
    """Fit a line, by least squares; the rate is how much it falls.

    Parameters
    ----------
    distances, amplitudes
        As of `fit_decays`.

    Returns
    -------
    DecayFits
        NaN where all distances are the same.

    Examples
    --------
    >>> fit_lines([np.array([0.0, 1.0, 2.0])], [np.array([5.0, 3.0, 1.0])]).rate
    array([2.])
    """
    rows = []
    for x, given in zip(distances, amplitudes, strict=True):
        y = np.asarray(given, dtype=np.float64)
        if np.unique(x).size < 2:
            rows.append((np.nan, np.nan, np.nan))
            continue
        dx, dy = x - x.mean(), y - y.mean()
        slope = (dx @ dy) / (dx @ dx)
        residual = ((dy - slope * dx) ** 2).sum()
        rows.append((-slope, residual, float(_explained(residual, dy @ dy))))
    return DecayFits(*np.array(rows, dtype=np.float64).reshape(-1, 3).T)


def _explained(residual: NDArray, total: NDArray) -> NDArray[np.float64]:
    # as sklearn.metrics.r2_score where there is no variance
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, 1.0 - residual / total, np.where(residual == 0, 1.0, 0.0))


# ---------------------------------------------------------------------------------- along the probe


def spread_over_depth(
    sizes: NDArray[np.floating], depths: NDArray[np.float64], smooth_um: float, threshold: float
) -> NDArray[np.float64]:
    """Return how far apart the outermost channels with a large enough amplitude are.

    Parameters
    ----------
    sizes : array (n, n_channels) floating
        Amplitudes of the channels of each template, in the order of depth.
    depths : array (n, n_channels) float64
        Ascending.
    smooth_um : float
        Standard deviation of the Gaussian that smooths the amplitudes; 0: none.
    threshold : float
        Of the largest smoothed amplitude.

    Returns
    -------
    array (n,) float64
        NaN where all channels are at one depth and are to be smoothed, or have no amplitude.

    Examples
    --------
    >>> sizes, depths = np.array([[0.1, 1.0, 0.5, 0.1]]), np.arange(4)[None] * 20.0
    >>> spread_over_depth(sizes, depths, 0.0, 0.2)
    array([20.])
    """
    is_known = np.full(len(sizes), sizes.shape[1] > 0)
    if smooth_um > 0:
        steps = np.diff(depths, axis=1)
        number = np.count_nonzero(steps > 0, axis=1)
        is_known = number > 0
    if smooth_um > 0 and is_known.any():
        ordered = np.sort(np.where(steps > 0, steps, np.inf), axis=1)
        sizes = sizes.copy()
        middle = np.stack([number - 1, number]) // 2 * is_known
        of_step = np.take_along_axis(ordered, middle.T, axis=1).sum(axis=1) / 2
        for step in np.unique(of_step[is_known]):
            rows = is_known & (of_step == step)
            sizes[rows] = scipy.ndimage.gaussian_filter1d(sizes[rows], smooth_um / step, axis=1)
    largest = sizes.max(axis=1, initial=0, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        large = sizes / largest > threshold
    is_known &= large.any(axis=1)
    last = np.where(large, depths, -np.inf).max(axis=1, initial=-np.inf)
    first = np.where(large, depths, np.inf).min(axis=1, initial=np.inf)
    return np.where(is_known, last - first, np.nan)


def velocity(distances: NDArray[np.float64], delays: NDArray[np.float64], min_r2: float) -> float:
    """Return the distance over the delay, by a robust line (Theil-Sen).

    Parameters
    ----------
    distances, delays : array (n_channels,) float64
    min_r2 : float

    Returns
    -------
    float
        NaN where the line explains no more of the variance than `min_r2`, or does not rise.

    Examples
    --------
    >>> velocity(np.array([0.0, 20.0, 40.0]), np.array([0.0, 0.1, 0.2]), 0.2)
    200.0
    """
    first, second = np.triu_indices(distances.size, 1)
    apart = distances[second] - distances[first]
    far = np.abs(apart) > 1e-12
    if not far.any():
        return np.nan
    slope = np.median((delays[second] - delays[first])[far] / apart[far])
    predicted = slope * distances + np.median(delays - slope * distances)
    left = ((delays - predicted) ** 2).sum()
    r2 = 1 - left / (((delays - delays.mean()) ** 2).sum() + 1e-12)
    return float(1 / slope) if r2 > min_r2 and slope != 0 else np.nan
