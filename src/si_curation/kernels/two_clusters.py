"""Whether points that follow each other in time are two clusters or a skewed one.

Two clusters are normal, of the same covariance, and a constant distance apart; both follow one
trend in time, constant within a window. How far apart they are thus follows from points of the
same window only: one cluster that moves is not two. The model is fitted to half of the points and
compared, on the other half, with one skewed normal distribution that follows the trend.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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
_LOG_2PI = float(np.log(2 * np.pi))


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

    @classmethod
    def fit(cls, values: NDArray[np.float64]) -> SkewNormal:
        """Return the distribution with the mean, deviation and skewness of some values.

        Notes
        -----
        Source: Azzalini, Scand. J. Stat. 12, 171 (1985). Its skewness is at most 0.995.

        Examples
        --------
        >>> values = np.random.default_rng(0).normal(2.0, 3.0, 10000)
        >>> found = SkewNormal.fit(values)
        >>> round(found.mean), round(found.std)
        (2, 3)
        """
        mean, std = float(values.mean()), max(float(values.std()), 1e-12)
        skewness = float(np.clip((((values - mean) / std) ** 3).mean(), -0.95, 0.95))
        power = abs(skewness) ** (2 / 3)
        delta = np.sqrt(np.pi / 2 * power / (power + ((4 - np.pi) / 2) ** (2 / 3)))
        delta *= np.sign(skewness)
        scale = std / np.sqrt(1 - 2 * delta**2 / np.pi)
        location = mean - scale * delta * np.sqrt(2 / np.pi)
        slant = delta / np.sqrt(1 - delta**2)
        return cls(float(location), float(scale), float(slant), mean, std)

    def log_density(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithm of the density."""
        z = (values - self.location) / self.scale
        normal = -0.5 * z**2 - np.log(self.scale) - 0.5 * _LOG_2PI
        return np.log(2.0) + normal + special.log_ndtr(self.slant * z)

    def log_background(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithm of the background: wide, of few points."""
        std = BACKGROUND_SDS * self.std
        z = (values - self.mean) / std
        return np.log(BACKGROUND_SHARE) - 0.5 * z**2 - np.log(std) - 0.5 * _LOG_2PI


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
    half = np.ascontiguousarray(points[chosen])
    half_windows = windows[chosen].astype(np.int64)
    # a window of which no point was chosen is left out
    known = np.bincount(half_windows, minlength=num_windows) > 0
    held_out = ~chosen & known[windows]
    best: tuple[float, TwoClusters] | None = None
    # all starts a few steps, the best of them to the end
    first: list[tuple[float, NDArray[np.float64]]] = []
    for part in _starts(half, half_windows, num_windows):
        chance = np.where(part, 0.95, 0.05)
        found = _fit(half, half_windows, num_windows, chance, min_share / 2, FIRST_STEPS)
        if found is not None:
            axis, two, trend, skewed, means = found
            gains = _gains(half @ axis, half_windows, two, trend, skewed, means)
            first.append((float(gains.mean()), chance))
    first.sort(key=lambda one: -one[0])
    for _, chance in first[:NUM_BEST]:
        found = _fit(half, half_windows, num_windows, chance, min_share, LAST_STEPS)
        if found is None:
            continue
        axis, two, trend, skewed, means = found
        gain = _gains(half @ axis, half_windows, two, trend, skewed, means).mean()
        if best is not None and gain <= best[0]:
            continue
        others = _gains(points[held_out] @ axis, windows[held_out], two, trend, skewed, means)
        share, separation = two
        error = others.std() / np.sqrt(max(others.size, 1))
        middle = np.where(known, trend + separation / 2, np.nan)
        result = TwoClusters(
            axis, _filled(middle), separation, share, float(others.mean()), float(error)
        )
        best = float(gain), result
    return None if best is None else best[1]


def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values with NaN interpolated from those beside it."""
    known = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(values.size), known, values[known])


def _starts(
    points: NDArray[np.float64], windows: NDArray[np.int64], num_windows: int
) -> list[NDArray[np.bool_]]:
    """Return partitions to begin with: 2-means of the points, and without their trend."""
    counts = np.maximum(np.bincount(windows, minlength=num_windows), 1)
    means = np.zeros((num_windows, points.shape[1]))
    np.add.at(means, windows, points)
    still = points - (means / counts[:, None])[windows]
    found: list[NDArray[np.bool_]] = []
    for values in (still, points):
        cuts = np.quantile(values, START_QUANTILES, axis=0)
        for column in range(points.shape[1]):
            for cut in cuts[:, column]:
                part = two_means(values, values[:, column] > cut)
                if part.all() or not part.any():
                    continue
                shares = [float((part == other).mean()) for other in found]
                if all(MIN_DIFFERENCE < share < 1 - MIN_DIFFERENCE for share in shares):
                    found.append(part)
    return found


@njit
def two_means(
    points: NDArray[np.float64], part: NDArray[np.bool_], max_steps: int = 12
) -> NDArray[np.bool_]:
    """Return the partition that 2-means reaches from another one.

    Parameters
    ----------
    points : array (n, n_components) float64
    part : array (n,) bool
    max_steps : int

    Returns
    -------
    array (n,) bool
        All of one kind where one part was empty.
    """
    number, size = points.shape
    part = part.copy()
    first, second = np.empty(size), np.empty(size)
    for _ in range(max_steps):
        first[:], second[:] = 0.0, 0.0
        count = 0
        for i in range(number):
            if part[i]:
                count += 1
                for j in range(size):
                    first[j] += points[i, j]
            else:
                for j in range(size):
                    second[j] += points[i, j]
        if count == 0 or count == number:
            return part
        first /= count
        second /= number - count
        cut = 0.0
        for j in range(size):
            cut += 0.5 * (first[j] + second[j]) * (first[j] - second[j])
        is_changed = False
        for i in range(number):
            value = 0.0
            for j in range(size):
                value += points[i, j] * (first[j] - second[j])
            is_first = value > cut
            if is_first != part[i]:
                is_changed = True
                part[i] = is_first
        if not is_changed:
            break
    return part


def _fit(
    points: NDArray[np.float64],
    windows: NDArray[np.int64],
    num_windows: int,
    chance: NDArray[np.float64],
    min_share: float,
    max_steps: int,
) -> Any:
    """Return axis, (share, separation), trend of the lower cluster; the skewed one, its trend."""
    share, step, covariance = expectation_maximization(
        points, windows, num_windows, chance, max_steps
    )
    if not min_share <= share <= 1 - min_share or not np.isfinite(step).all():
        return None
    axis = np.linalg.solve(covariance, step)
    length = float(np.sqrt(axis @ covariance @ axis))
    if length < 1e-6:
        return None
    axis = axis / length
    values = points @ axis
    counts = np.maximum(np.bincount(windows, minlength=num_windows), 1)
    means = np.bincount(windows, values, num_windows) / counts
    mean_chance = np.bincount(windows, chance, num_windows) / counts
    separation = float(step @ axis)
    trend = means - mean_chance * separation
    return axis, (float(share), separation), trend, SkewNormal.fit(values - means[windows]), means


@njit
def _covariance(
    still: NDArray[np.float64],
    windows: NDArray[np.int64],
    chance: NDArray[np.float64],
    mean_chance: NDArray[np.float64],
    step: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    number, size = still.shape
    row = np.empty(size)
    out[:] = 0.0
    for i in range(number):
        # the mean over both clusters of the outer product about the trend
        shift = mean_chance[windows[i]] - chance[i]
        left = chance[i] * (1 - chance[i])
        for j in range(size):
            row[j] = still[i, j] + shift * step[j]
        for j in range(size):
            for k in range(j + 1):
                out[j, k] += row[j] * row[k] + left * step[j] * step[k]
    for j in range(size):
        for k in range(j + 1):
            out[j, k] /= number
            out[k, j] = out[j, k]
        out[j, j] += 1e-9 + 1e-6 * out[j, j]


@njit
def expectation_maximization(
    points: NDArray[np.float64],
    windows: NDArray[np.int64],
    num_windows: int,
    chance: NDArray[np.float64],
    max_steps: int = 40,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Fit two normal clusters of the same covariance that follow the same trend.

    Parameters
    ----------
    points : array (n, n_components) float64
    windows : array (n,) int64
    num_windows : int
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
    window, the likelihood is largest at ``step = sum r (x - xbar) / sum rbar (1 - rbar)`` over all
    points, and at a trend of ``xbar - rbar step`` of the first cluster.
    """
    number, size = points.shape
    counts, sums = np.zeros(num_windows), np.zeros((num_windows, size))
    for i in range(number):
        counts[windows[i]] += 1
        for j in range(size):
            sums[windows[i], j] += points[i, j]
    still = np.empty_like(points)
    for i in range(number):
        for j in range(size):
            still[i, j] = points[i, j] - sums[windows[i], j] / counts[windows[i]]
    step, covariance = np.zeros(size), np.eye(size)
    share = 0.0
    mean_chance = np.zeros(num_windows)
    for _ in range(max_steps):
        mean_chance[:] = 0.0
        step[:] = 0.0
        share = 0.0
        for i in range(number):
            mean_chance[windows[i]] += chance[i]
            share += chance[i]
            for j in range(size):
                step[j] += chance[i] * still[i, j]
        share /= number
        spread = 0.0
        for w in range(num_windows):
            if counts[w] > 0:
                mean_chance[w] /= counts[w]
                spread += counts[w] * mean_chance[w] * (1 - mean_chance[w])
        if min(share, 1 - share) * number < 8 or spread < 4:
            return 0.0, step, covariance
        step /= spread
        _covariance(still, windows, chance, mean_chance, step, covariance)
        axis = np.linalg.solve(covariance, step)
        half = 0.0
        for j in range(size):
            half += 0.5 * axis[j] * step[j]
        odds = np.log(share / (1 - share))
        largest = 0.0
        for i in range(number):
            shift = mean_chance[windows[i]]
            value = odds - half
            for j in range(size):
                value += axis[j] * (still[i, j] + shift * step[j])
            new = 1.0 / (1.0 + np.exp(-value))
            largest = max(largest, abs(new - chance[i]))
            chance[i] = new
        if largest < 1e-3:
            break
    return share, step, covariance


def _gains(
    values: NDArray[np.float64],
    windows: NDArray[np.integer],
    two: tuple[float, float],
    trend: NDArray[np.float64],
    skewed: SkewNormal,
    means: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the log likelihood of each value with two clusters less that with a skewed one."""
    share, separation = two
    about = values - trend[windows]
    first = np.log1p(-share) - 0.5 * about**2
    second = np.log(share) - 0.5 * (about - separation) ** 2
    both = np.logaddexp(first, second) - 0.5 * _LOG_2PI
    alone = values - means[windows]
    background = skewed.log_background(alone)
    one = np.logaddexp(skewed.log_density(alone), background)
    return np.logaddexp(both, background) - one
