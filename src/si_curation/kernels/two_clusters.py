"""Whether points that follow each other in time are two clusters or a skewed one.

Two clusters are normal, of the same covariance, and a constant distance apart; both follow one
trend in time, constant within a window. How far apart they are thus follows from points of the
same window only: one cluster that moves is not two. The model is fitted to half of the points and
compared, on the other half, with one skewed normal distribution that follows the trend.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from si_curation.kernels.parallel import njit

# share of the points that either model gives to a wide background, and how wide it is: a few
# points far away must not decide
BACKGROUND_SHARE, BACKGROUND_SDS = 0.02, 4.0
START_QUANTILES = (0.15, 0.5, 0.85)
MIN_DIFFERENCE = 0.03
FIRST_STEPS, LAST_STEPS, NUM_BEST = 6, 40, 3
# a variance that is a smaller share of the scatter is added up
MIN_DIAGONAL = 1e-6
SQRT_HALF = math.sqrt(0.5)


class TwoClusters(NamedTuple):
    """Two clusters of points along an axis, and how much better they are than one.

    Attributes
    ----------
    axis : array (n_components,) float64
        The linear discriminant, on which both clusters have a standard deviation of 1.
    trend : array (n_windows,) float64
        Where the middle between the clusters is on the axis, in each window.
    separation : float
        Their distance on the axis: d'.
    share : float
        Of the points of the cluster of higher values.
    gain : float
        By how much the log likelihood of a point that was not used in the fit is larger with two
        clusters than with one skewed one, on average; in nats.
    gain_error : float
        Its standard error.
    """

    axis: NDArray[np.float64]
    trend: NDArray[np.float64]
    separation: float
    share: float
    gain: float
    gain_error: float

    @property
    def expected_error(self) -> float:
        """Share of the points of a cluster that are expected on the wrong side of the middle."""
        return float(special.ndtr(-self.separation / 2))

    @property
    def smaller_share(self) -> float:
        """Share of the points of the smaller cluster."""
        return min(self.share, 1 - self.share)


class SkewNormal(NamedTuple):
    """A skew normal distribution: its mode's location, scale and slant; mean and deviation."""

    location: float
    scale: float
    slant: float
    mean: float
    std: float


def find_two_clusters(
    points: NDArray[np.float64],
    windows: NDArray[np.integer],
    min_share: float,
    seed: int = 0,
) -> TwoClusters | None:
    """Return the two clusters that fit half of the points best, and their gain on the other half.

    Parameters
    ----------
    points : array (n, n_components) float64
        In time order.
    windows : array (n,) integer
        Ascending.
    min_share : float
        Smallest share of the smaller cluster.
    seed : int
        Of the choice of the halves.

    Returns
    -------
    TwoClusters or None
        None: no two clusters of that share.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> points = rng.normal(size=(500, 2))
    >>> points[::2, 0] += 6
    >>> found = find_two_clusters(points, np.zeros(500, dtype=int), 0.1)
    >>> abs(found.separation - 6) < 1, round(found.smaller_share, 1), found.gain > 0.3
    (True, 0.5, True)
    """
    if points.shape[1] == 0 or len(points) < 4 * points.shape[1]:
        return None
    num_windows = int(windows.max()) + 1
    chosen = np.zeros(len(points), dtype=bool)
    chosen[np.random.default_rng(seed).permutation(len(points))[: len(points) // 2]] = True
    half = in_windows(points[chosen], windows[chosen], num_windows)
    # a window of which no point was chosen is left out
    known = np.diff(half.starts) > 0
    held_out = ~chosen & known[windows]
    fit = _best_fit(half, _starts(half), min_share)
    if fit is None:
        return None
    others = gains_of_points(points[held_out] @ fit.axis, windows[held_out].astype(np.int64), fit)
    middle = np.where(known, fit.trend + fit.separation / 2, np.nan)
    return TwoClusters(
        fit.axis,
        _filled(middle),
        fit.separation,
        fit.share,
        float(others.mean()),
        float(others.std() / np.sqrt(max(others.size, 1))),
    )


class Points(NamedTuple):
    """Points in windows of time.

    Attributes
    ----------
    columns : array (n_components, n) float64
        C-contiguous.
    still : array (n_components, n) float64
        Less the mean of their window.
    scatter : array (n_components, n_components) float64
        ``still @ still.T``
    starts : array (n_windows + 1,) int64
        The first point of each window, and how many there are.
    """

    columns: NDArray[np.float64]
    still: NDArray[np.float64]
    scatter: NDArray[np.float64]
    starts: NDArray[np.int64]


def in_windows(
    points: NDArray[np.float64], windows: NDArray[np.integer], num_windows: int
) -> Points:
    """Return points (n, n_components), whose windows ascend, as the fits take them."""
    columns = np.ascontiguousarray(points.T, dtype=np.float64)
    starts = np.searchsorted(windows, np.arange(num_windows + 1))
    still = _without_means(columns, starts)
    return Points(columns, still, still @ still.T, starts)


@njit
def _without_means(columns: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    still = np.empty_like(columns)
    for j in range(len(columns)):
        for w in range(starts.size - 1):
            first, last = starts[w], starts[w + 1]
            total = 0.0
            for i in range(first, last):
                total += columns[j, i]
            mean = total / max(last - first, 1)
            for i in range(first, last):
                still[j, i] = columns[j, i] - mean
    return still


class Fit(NamedTuple):
    """Two clusters that were fitted to points, and the skewed one that they are compared with.

    Attributes
    ----------
    is_found : bool
        False: a cluster vanished, or is smaller than it may be. The rest means nothing then.
    axis : array (n_components,) float64
    share, separation : float
        As of `TwoClusters`.
    trend : array (n_windows,) float64
        Where the lower cluster is on the axis.
    skewed : SkewNormal
        Of the values on the axis less their mean in each window.
    means : array (n_windows,) float64
    gain : float
        Mean of `gains_of_points` of the points of the fit.
    """

    is_found: bool
    axis: NDArray[np.float64]
    share: float
    separation: float
    trend: NDArray[np.float64]
    skewed: SkewNormal
    means: NDArray[np.float64]
    gain: float


def _best_fit(half: Points, starts: NDArray[np.bool_], min_share: float) -> Fit | None:
    """Fit from all starts a few steps, and from the best of them to the end."""
    chances = np.where(starts, 0.95, 0.05)
    gains = _gains_of_starts(half, chances, min_share / 2, FIRST_STEPS)
    best: Fit | None = None
    for start in np.argsort(-gains, kind="stable")[:NUM_BEST]:
        if np.isneginf(gains[start]):
            break
        fit = fit_clusters(half, chances[start], min_share, LAST_STEPS)
        if fit.is_found and (best is None or fit.gain > best.gain):
            best = fit
    return best


def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values with NaN interpolated from those beside it."""
    known = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(values.size), known, values[known])


def _starts(points: Points) -> NDArray[np.bool_]:
    """Return partitions (n_starts, n) to begin with: 2-means, with and without the trend."""
    values = (points.still, points.columns)
    parts = np.empty((6 * len(points.columns), points.columns.shape[1]), dtype=np.bool_)
    number = 0
    for some in values:
        number = _partitions(some, np.quantile(some, START_QUANTILES, axis=1), parts, number)
    return parts[:number]


@njit
def _partitions(
    columns: NDArray[np.float64],
    cuts: NDArray[np.float64],
    found: NDArray[np.bool_],
    number: int,
) -> int:
    """Add the partitions that 2-means reaches to those found before, if they differ from them."""
    size = columns.shape[1]
    for column in range(len(columns)):
        for k in range(len(cuts)):
            part = two_means(columns, columns[column] > cuts[k, column])
            count = 0
            for i in range(size):
                count += part[i]
            is_new = 0 < count < size
            for other in range(number):
                same = 0
                for i in range(size):
                    same += part[i] == found[other, i]
                is_new &= MIN_DIFFERENCE < same / size < 1 - MIN_DIFFERENCE
            if is_new:
                found[number] = part
                number += 1
    return number


@njit
def two_means(
    columns: NDArray[np.float64], part: NDArray[np.bool_], max_steps: int = 12
) -> NDArray[np.bool_]:
    """Return the partition that 2-means reaches from another one.

    Parameters
    ----------
    columns : array (n_components, n) float64
    part : array (n,) bool
    max_steps : int

    Returns
    -------
    array (n,) bool
        All of one kind where one part was empty.
    """
    size, number = columns.shape
    part = part.copy()
    sums = np.zeros((2, size))
    count = 0
    for j in range(size):
        for i in range(number):
            sums[int(part[i]), j] += columns[j, i]
    for i in range(number):
        count += part[i]
    values = np.empty(number)
    for _ in range(max_steps):
        if count == 0 or count == number:
            return part
        cut = 0.0
        values[:] = 0.0
        for j in range(size):
            first, second = sums[1, j] / count, sums[0, j] / (number - count)
            cut += 0.5 * (first + second) * (first - second)
            _add_scaled(values, columns[j], first - second)
        is_changed = False
        for i in range(number):
            is_first = values[i] > cut
            if is_first != part[i]:
                is_changed = True
                part[i] = is_first
                count += 1 if is_first else -1
                for j in range(size):
                    sums[int(is_first), j] += columns[j, i]
                    sums[int(not is_first), j] -= columns[j, i]
        if not is_changed:
            break
    return part


@njit
def _add_scaled(total: NDArray[np.float64], values: NDArray[np.float64], factor: float) -> None:
    for i in range(total.size):
        total[i] += factor * values[i]


@njit
def _mean(values: NDArray[np.float64]) -> float:  # in order, as what numba has for numpy's
    total = 0.0
    for i in range(values.size):
        total += values[i]
    return total / values.size


@njit
def _dot(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the sum of products; four sums at a time, which the processor adds up side by side."""
    s0 = s1 = s2 = s3 = 0.0
    whole = first.size - first.size % 4
    for i in range(0, whole, 4):
        s0 += first[i] * second[i]
        s1 += first[i + 1] * second[i + 1]
        s2 += first[i + 2] * second[i + 2]
        s3 += first[i + 3] * second[i + 3]
    for i in range(whole, first.size):
        s0 += first[i] * second[i]
    return (s0 + s1) + (s2 + s3)


@njit
def _gains_of_starts(
    points: Points, chances: NDArray[np.float64], min_share: float, max_steps: int
) -> NDArray[np.float64]:
    """Return the gain of the fit from each start, -inf of none; `chances` are where it ended."""
    gains = np.empty(len(chances))
    for start in range(len(chances)):
        fit = fit_clusters(points, chances[start], min_share, max_steps)
        gains[start] = fit.gain if fit.is_found else -np.inf
    return gains


@njit
def fit_clusters(
    points: Points, chance: NDArray[np.float64], min_share: float, max_steps: int
) -> Fit:
    """Fit two clusters, and the skewed one that they are compared with.

    Parameters
    ----------
    points : Points
        Of `in_windows`.
    chance : array (n,) float64
        As of `expectation_maximization`.
    min_share : float
        Smallest share of either cluster.
    max_steps : int
    """
    share, step, covariance = expectation_maximization(points, chance, max_steps)
    number, num_windows = chance.size, points.starts.size - 1
    trend, means = np.zeros(num_windows), np.zeros(num_windows)
    nothing = Fit(False, step, 0.0, 0.0, trend, SkewNormal(0.0, 1.0, 0.0, 0.0, 1.0), means, 0.0)
    is_finite = True
    for j in range(step.size):
        is_finite &= np.isfinite(step[j])
    if not min_share <= share <= 1 - min_share or not is_finite:
        return nothing
    axis = _solve(covariance, step)
    length = np.sqrt(_dot(axis, step))  # of a standard deviation on it
    if not length >= 1e-6:
        return nothing
    axis /= length
    values = np.zeros(number)
    for j in range(axis.size):
        _add_scaled(values, points.columns[j], axis[j])
    separation = _dot(step, axis)
    alone = np.empty(number)
    for w in range(num_windows):
        first, last = points.starts[w], points.starts[w + 1]
        for i in range(first, last):
            means[w] += values[i]
            trend[w] += chance[i]
        means[w] /= max(last - first, 1)
        trend[w] = means[w] - trend[w] / max(last - first, 1) * separation
        for i in range(first, last):
            alone[i] = values[i] - means[w]
    fit = Fit(True, axis, share, separation, trend, fit_skew_normal(alone), means, 0.0)
    windows = np.empty(number, dtype=np.int64)
    for w in range(num_windows):
        windows[points.starts[w] : points.starts[w + 1]] = w
    gain = _mean(gains_of_points(values, windows, fit))
    return Fit(True, axis, share, separation, trend, fit.skewed, means, gain)


@njit
def _solve(matrix: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve for a small positive definite matrix, by Cholesky's decomposition."""
    size = right.size
    lower, out = np.zeros((size, size)), right.copy()
    for j in range(size):
        for i in range(j, size):
            total = matrix[i, j]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            lower[i, j] = np.sqrt(total) if i == j else total / lower[j, j]
    for i in range(size):
        for k in range(i):
            out[i] -= lower[i, k] * out[k]
        out[i] /= lower[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            out[i] -= lower[k, i] * out[k]
        out[i] /= lower[i, i]
    return out


@njit
def _covariance(
    points: Points,
    chance: NDArray[np.float64],
    mean_chance: NDArray[np.float64],
    step: NDArray[np.float64],
    spread: float,
    out: NDArray[np.float64],
) -> None:
    """Compute the mean over both clusters of the outer product about the trend; ridged a little."""
    size, number = points.still.shape
    is_close = False
    for j in range(size):
        for k in range(size):
            out[j, k] = (points.scatter[j, k] - spread * step[j] * step[k]) / number
        is_close |= out[j, j] * number < MIN_DIAGONAL * points.scatter[j, j]
    if is_close:  # little is left of the difference: add it up
        out[:] = 0.0
        row = np.empty(size)
        for w in range(mean_chance.size):
            for i in range(points.starts[w], points.starts[w + 1]):
                shift = mean_chance[w] - chance[i]
                left = chance[i] * (1 - chance[i])
                for j in range(size):
                    row[j] = points.still[j, i] + shift * step[j]
                for j in range(size):
                    for k in range(size):
                        out[j, k] += (row[j] * row[k] + left * step[j] * step[k]) / number
    for j in range(size):
        out[j, j] += 1e-9 + 1e-6 * out[j, j]


@njit
def expectation_maximization(
    points: Points, chance: NDArray[np.float64], max_steps: int = 40
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Fit two normal clusters of the same covariance that follow the same trend.

    Parameters
    ----------
    points : Points
        Of `in_windows`.
    chance : array (n,) float64
        Probability that each point is of the second cluster: where to begin; overwritten with what
        was found.
    max_steps : int

    Returns
    -------
    share : float
        Of the second cluster; 0 where it vanished.
    step : array (n_components,) float64
        From the first to the second cluster.
    covariance : array (n_components, n_components) float64
        Of each cluster.

    Notes
    -----
    With the chance ``r`` of each point, its mean ``rbar`` and that of the points ``xbar`` in each
    window, the likelihood is largest at ``step = sum r (x - xbar) / spread``, where ``spread = sum
    rbar (1 - rbar)`` over all points, and at a trend of ``xbar - rbar step`` of the first cluster.
    The covariance is then ``(scatter - spread step step') / n``, with the scatter of the points
    about the means of their windows.
    """
    size, number = points.still.shape
    step, covariance = np.zeros(size), np.zeros((size, size))
    for j in range(size):
        covariance[j, j] = 1.0
    share = 0.0
    mean_chance, values = np.zeros(points.starts.size - 1), np.empty(number)
    for _ in range(max_steps):
        share, spread = 0.0, 0.0
        for w in range(mean_chance.size):
            first, last = points.starts[w], points.starts[w + 1]
            total = 0.0
            for i in range(first, last):
                total += chance[i]
            share += total / number
            mean_chance[w] = total / max(last - first, 1)
            spread += total * (1 - mean_chance[w])
        if min(share, 1 - share) * number < 8 or spread < 4:
            return 0.0, step, covariance
        for j in range(size):
            step[j] = _dot(chance, points.still[j]) / spread
        _covariance(points, chance, mean_chance, step, spread, covariance)
        axis = _solve(covariance, step)
        squared = _dot(axis, step)
        values[:] = np.log(share / (1 - share)) - 0.5 * squared
        for j in range(size):
            _add_scaled(values, points.still[j], axis[j])
        largest = 0.0
        for w in range(mean_chance.size):
            shift = squared * mean_chance[w]
            for i in range(points.starts[w], points.starts[w + 1]):
                new = 1.0 / (1.0 + np.exp(-(values[i] + shift)))
                largest = max(largest, abs(new - chance[i]))
                chance[i] = new
        if largest < 1e-3:
            break
    return share, step, covariance


@njit
def fit_skew_normal(values: NDArray[np.float64]) -> SkewNormal:
    """Return the skew normal distribution with the mean, deviation and skewness of some values.

    Notes
    -----
    Source: Azzalini, Scand. J. Stat. 12, 171 (1985). Its skewness is at most 0.995.

    Examples
    --------
    >>> found = fit_skew_normal(np.random.default_rng(0).normal(2.0, 3.0, 10000))
    >>> round(found.mean), round(found.std)
    (2, 3)
    """
    mean = _mean(values)
    squares = cubes = 0.0
    for i in range(values.size):
        squares += (values[i] - mean) * (values[i] - mean)
    std = max((squares / values.size) ** 0.5, 1e-12)
    for i in range(values.size):
        z = (values[i] - mean) / std
        cubes += z * z * z
    skewness = min(max(cubes / values.size, -0.95), 0.95)
    power = abs(skewness) ** (2 / 3)
    delta = np.sqrt(np.pi / 2 * power / (power + ((4 - np.pi) / 2) ** (2 / 3)))
    delta *= np.sign(skewness)
    scale = std / np.sqrt(1 - 2 * delta**2 / np.pi)
    location = mean - scale * delta * np.sqrt(2 / np.pi)
    slant = delta / np.sqrt(1 - delta**2)
    return SkewNormal(location, scale, slant, mean, std)


@njit
def gains_of_points(
    values: NDArray[np.float64], windows: NDArray[np.int64], fit: Fit
) -> NDArray[np.float64]:
    """Return the log likelihood of each value with two clusters less that with a skewed one.

    Parameters
    ----------
    values : array (n,) float64
        On the axis.
    windows : array (n,) int64
    fit : Fit

    Notes
    -----
    All densities are divided by that of the background, which is so wide that none of them is much
    larger anywhere.
    """
    skewed, share = fit.skewed, fit.share
    wide = BACKGROUND_SDS * skewed.std
    least = np.log(BACKGROUND_SHARE) - np.log(wide)
    logs = np.log1p(-share) - least, np.log(share) - least, -np.log(skewed.scale) - least
    gains = np.empty(values.size)
    for i in range(values.size):
        alone = values[i] - fit.means[windows[i]]
        lower = values[i] - fit.trend[windows[i]]
        upper = lower - fit.separation
        far, z = (alone - skewed.mean) / wide, (alone - skewed.location) / skewed.scale
        background = 0.5 * far * far
        two = np.exp(logs[0] + background - 0.5 * lower * lower)
        two += np.exp(logs[1] + background - 0.5 * upper * upper)
        one = math.erfc(-skewed.slant * z * SQRT_HALF)
        one *= np.exp(logs[2] + background - 0.5 * z * z)
        gains[i] = np.log((1.0 + two) / (1.0 + one))
    return gains
