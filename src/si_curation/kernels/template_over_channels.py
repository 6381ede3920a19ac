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

#: Bounds of the rate of the decay, per µm; of the amplitude, over that of the nearest channel.
RATES = (1e-5, 2.0)
AMPLITUDES = (0.5, 1.5)
# of the offset, over the smallest amplitude
_MOST_OFFSET = 2.0
_NUM_RATES = 64
_VALUES_PER_BLOCK = 1 << 19
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


class _Points(NamedTuple):
    """Points of fits with as many each: arrays (n, n_points), and (n,) for what is of a fit."""

    distance: NDArray[np.float64]
    value: NDArray[np.float64]
    least: NDArray[np.float64]  # of the amplitude
    most: NDArray[np.float64]
    most_offset: NDArray[np.float64]

    def take(self, rows: NDArray | slice) -> _Points:
        return _Points(*(array[rows] for array in self))


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
    n = len(distances)
    fits = DecayFits(*(np.full(n, np.nan) for _ in range(3)))
    rows_of: dict[int, list[int]] = {}  # those with as many points: sums do not depend on others
    for row, (distance, amplitude) in enumerate(zip(distances, amplitudes, strict=True)):
        if _is_determined(distance, amplitude):
            rows_of.setdefault(len(distance), []).append(row)
    for rows in rows_of.values():
        found = _fit(_points([distances[row] for row in rows], [amplitudes[row] for row in rows]))
        for values, some in zip(fits, found, strict=True):
            values[rows] = some
    return fits


def _fit(points: _Points) -> DecayFits:
    start, low, high = _best_of_grid(points)
    found = _refined(points, start, low, high)
    by_grid = _residuals_and_slopes(points, start)[0]
    by_search = _residuals_and_slopes(points, found)[0]
    residual = np.minimum(by_search, by_grid)
    total = ((points.value - points.value.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    rate = np.where(by_search <= by_grid, found, start)
    return DecayFits(rate, residual, _explained(residual, total))


def _is_determined(distance: NDArray[np.float64], amplitude: NDArray[np.floating]) -> bool:
    """Return whether there are three different distances, and an offset within the bounds."""
    if len(distance) < 3 or not (np.asarray(amplitude) > 0).all():
        return False
    return bool(((distance > distance.min()) & (distance < distance.max())).any())


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


def _points(
    distances: Sequence[NDArray[np.float64]], amplitudes: Sequence[NDArray[np.floating]]
) -> _Points:
    value = np.array(amplitudes, dtype=np.float64)
    nearest = value[:, 0]
    return _Points(
        np.array(distances, dtype=np.float64),
        value,
        AMPLITUDES[0] * nearest,
        AMPLITUDES[1] * nearest,
        _MOST_OFFSET * value.min(axis=1),
    )


def _best_of_grid(
    points: _Points,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the rate of a grid with the smallest residual, and its neighbours."""
    grid = np.geomspace(*RATES, _NUM_RATES)
    grid[[0, -1]] = RATES
    n, size = points.value.shape
    best = np.empty(n, dtype=np.int64)
    step = max(1, _VALUES_PER_BLOCK // (size * _NUM_RATES))
    for first in range(0, n, step):
        part = points.take(slice(first, first + step))
        rates = np.broadcast_to(grid, (len(part.value), _NUM_RATES))
        best[first : first + step] = np.argmin(_at(part, rates)[1].residual, axis=1)
    return grid[best], grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, _NUM_RATES - 1)]


class _Linear(NamedTuple):
    """What is best at given rates, within the bounds: arrays (n, n_rates)."""

    amplitude: NDArray[np.float64]
    offset: NDArray[np.float64]
    residual: NDArray[np.float64]


def _at(points: _Points, rates: NDArray[np.float64]) -> tuple[NDArray[np.float64], _Linear]:
    """Return the decays (n, n_rates, n_points) at some rates of each fit, and what is best."""
    decays = np.exp(-points.distance[:, None] * rates[:, :, None])
    mean = decays.mean(axis=2)
    # centred on their means, so that nothing is lost where the decays are nearly a line
    centred = decays - mean[:, :, None]
    squares = np.einsum("frp,frp->fr", centred, centred)
    products = np.matmul(centred, points.value[:, :, None])[:, :, 0]
    return decays, _best_amplitudes(points, mean, squares, products)


def _best_amplitudes(
    points: _Points,
    mean: NDArray[np.float64],
    squares: NDArray[np.float64],
    products: NDArray[np.float64],
) -> _Linear:
    """Return the best amplitudes and offsets, given the decays' mean and centred sums."""
    count, centre = points.value.shape[1], points.value.mean(axis=1, keepdims=True)
    least, most, most_offset = (
        one[:, None] for one in (points.least, points.most, points.most_offset)
    )
    energy = ((points.value - centre) ** 2).sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        free = np.where(squares > 0, products / squares, 0.0)
    offset = centre - free * mean
    inside = (free >= least) & (free <= most) & (offset >= 0) & (offset <= most_offset)
    # a convex function has its optimum inside, or on an edge
    choices = [(np.clip(free, least, most), np.clip(offset, 0.0, most_offset))]
    for a in (least, most):
        choices.append((a + 0.0 * mean, np.clip(centre - a * mean, 0.0, most_offset)))
    for c in (0.0 * most_offset, most_offset):
        along = products + count * mean * (centre - c), squares + count * mean**2
        choices.append((np.clip(along[0] / along[1], least, most), c + 0.0 * mean))
    residuals = [
        energy + a * (a * squares - 2.0 * products) + count * (c - (centre - a * mean)) ** 2
        for a, c in choices
    ]
    edge = np.argmin(residuals, axis=0)
    chosen = np.where(inside, 0, edge)
    arrays = (np.stack(one) for one in (*zip(*choices, strict=True), residuals))
    return _Linear(*(np.take_along_axis(one, chosen[None], axis=0)[0] for one in arrays))


def _residuals_and_slopes(
    points: _Points, rate: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the residual at one rate of each fit, and (half of) how it grows with the rate."""
    decays, best = _at(points, rate[:, None])
    fitted = best.amplitude * decays[:, 0]
    left = points.value - fitted - best.offset
    # amplitude and offset are the best: their change does not count
    slope = np.einsum("fp,fp,fp->f", left, points.distance, fitted)
    return np.einsum("fp,fp->f", left, left), slope


def _refined(
    points: _Points,
    start: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return where the residual stops falling and begins to grow, between neighbours of a grid."""
    slope = _residuals_and_slopes(points, start)[1]
    # it falls from the one side to the best of the grid, so that the root is on the other
    low, high = np.where(slope < 0, start, low), np.where(slope < 0, high, start)
    at_low, at_high = (_residuals_and_slopes(points, one)[1] for one in (low, high))
    # the bounds of the rate may be the best
    rate = np.where(at_low >= 0, low, np.where(at_high <= 0, high, np.nan))
    rows = np.flatnonzero(np.isnan(rate))
    low, high, at_low, at_high = (one[rows] for one in (low, high, at_low, at_high))
    for step in range(_MAX_STEPS):
        if rows.size == 0:
            break
        middle = (low + high) / 2
        if step % 3 < 2:  # regula falsi, kept inside; every third step halves
            secant = low - at_low * (high - low) / (at_high - at_low)
            middle = np.where((secant > low) & (secant < high), secant, middle)
        slope = _residuals_and_slopes(points.take(rows), middle)[1]
        is_low = slope < 0
        at_high = np.where(is_low, at_high / 2, slope)  # Illinois: what stays counts half
        at_low = np.where(is_low, slope, at_low / 2)
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
        is_done = (slope == 0) | (high - low <= 1e-13 * high)
        rate[rows[is_done]] = middle[is_done]
        rows, low, high = rows[~is_done], low[~is_done], high[~is_done]
        at_low, at_high = at_low[~is_done], at_high[~is_done]
    rate[rows] = (low + high) / 2
    return rate


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
