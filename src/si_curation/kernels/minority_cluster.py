"""A few spikes of a unit that are a cluster of their own: those of another neuron.

The spikes of a unit are compared in few components: those of their shape (`shape_space`), and the
directions to other units. A small cluster shows on one side of the unit, in some direction. Two
clusters that follow the same drift are fitted from there (`two_clusters`), and compared with one
skewed cluster on spikes that were not used.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.shape_space import (
    isolated_points,
    shape_space,
    time_windows,
    window_medians,
    without_directions,
)
from si_curation.kernels.two_clusters import Points, fit_clusters, gains_of_points, in_windows

MIN_SPIKES = 100
# fewer spikes than this never show a cluster surely
MIN_SPIKES_TO_BE_SURE = 250
MIN_SHARE, MAX_SHARE = 0.02, 0.17
NUM_COMPONENTS, NUM_OTHERS = 8, 8
# least gain of log likelihood (nats) of a spike that was not used, and least separation
SURE_GAIN, SURE_SEPARATION = 0.2, 6.0
PROBABLE_GAIN, PROBABLE_SEPARATION = 0.05, 4.0
# a cluster farther than this from other units, in its distance from this one, is of badly found
# spikes; one that is opposite to all other units is none of theirs
MAX_DISTANCE_TO_OTHERS, MIN_COSINE = 2.4, 0.1
# one that is nearly all in one window of time is a movement
MAX_IN_ONE_WINDOW = 0.9
_STEPS = 25
_GAIN_ERRORS = 2.0
_NUM_STARTS = 6
_LEVELS = (2.0, 2.5, 3.0, 3.5, 4.5)
_MOST_IN_COMMON = 0.7
# of the spikes, the farthest ones, in whose directions is looked; and how many of them
_OUTER_SHARE, _MAX_OUTER, _NUM_AVERAGED = 0.15, 150, 8
_CORE, _NUM_ROUNDS = 0.85, 3


class Minority(NamedTuple):
    """A small cluster of spikes beside a large one, and what it looks like.

    Attributes
    ----------
    centre, normal : array (n_pcs, n_channels) float64
        A spike is of the cluster if ``sum((features - centre) * normal)`` exceeds the level.
    levels : array (n_windows,) float64
        In each window of time.
    starts : array (n_windows,) int64
        The first of the spikes that were looked at, of each window.
    num_spikes : int
        That were looked at.
    share : float
        Of them in the cluster.
    separation : float
        Distance of the clusters in their standard deviation.
    gain : float
        By how much the log likelihood of a spike that was not used is larger with two clusters than
        with one skewed one, less two standard errors; in nats.
    distance_to_others : float
        From its mean to that of the nearest other unit, as a share of that to its own unit.
    cosine : float
        Of the directions from the unit to the cluster and to another unit, the largest.
    in_one_window : float
        Share of its spikes that are in one window of time, at most.
    """

    centre: NDArray[np.float64]
    normal: NDArray[np.float64]
    levels: NDArray[np.float64]
    starts: NDArray[np.int64]
    num_spikes: int
    share: float
    separation: float
    gain: float
    distance_to_others: float
    cosine: float
    in_one_window: float

    @property
    def is_probable(self) -> bool:
        """Whether it is likely the spikes of another neuron."""
        return (
            self.gain >= PROBABLE_GAIN
            and self.separation >= PROBABLE_SEPARATION
            and self.share <= MAX_SHARE
            and self.distance_to_others <= MAX_DISTANCE_TO_OTHERS
            and self.in_one_window <= MAX_IN_ONE_WINDOW
        )

    @property
    def is_sure(self) -> bool:
        """Whether nearly all such clusters are spikes of other neurons."""
        return (
            self.is_probable
            and self.gain >= SURE_GAIN
            and self.separation >= SURE_SEPARATION
            and self.cosine >= MIN_COSINE
            and self.num_spikes >= MIN_SPIKES_TO_BE_SURE
        )

    def contains(
        self, features: NDArray[np.floating], windows: NDArray[np.integer]
    ) -> NDArray[np.bool_]:
        """Return which spikes are of the cluster.

        Parameters
        ----------
        features : array (n, n_pcs, n_channels)
        windows : array (n,) integer
            Of `starts`.
        """
        values = np.einsum("npc,pc->n", features - self.centre, self.normal)
        return values > self.levels[windows]


def find_minority(
    features: NDArray[np.floating],
    others: NDArray[np.floating],
    basis: NDArray[np.floating] | None,
) -> Minority | None:
    """Find the small cluster that explains the spikes of a unit best.

    Parameters
    ----------
    features : array (n, n_pcs, n_channels)
        Of one unit, in time order, complete.
    others : array (n_others, n_pcs, n_channels)
        Mean features of other units.
    basis : array (n_pcs, n_samples), optional
        A waveform has the features ``basis @ waveform`` on each channel. None: not known.

    Returns
    -------
    Minority or None
        None: fewer than 100 spikes, or no cluster of 2 to 17 % of them. Whether it is another
        neuron's is another question: `Minority.is_probable`, `Minority.is_sure`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(600, 3, 4))
    >>> features[:, 0] += 20
    >>> features[::10, 1] += 5
    >>> found = find_minority(features, features[::10].mean(axis=0)[None], None)
    >>> found.is_sure, round(found.share, 2)
    (True, 0.1)
    >>> bool(found.contains(features[::10], np.zeros(60, dtype=int)).all())
    True
    """
    number = len(features)
    if number < MIN_SPIKES:
        return None
    windows = time_windows(number)
    centre, axes, towards = _space(features, others, basis, windows)
    points = (features.reshape(number, -1) - centre) @ axes
    still = points - window_medians(points, windows)[windows]
    used = ~isolated_points(still)
    if np.count_nonzero(used) < MIN_SPIKES or axes.shape[1] == 0:
        return None
    white = _whitening(still[used])
    spread, away = still[used] @ white, towards @ white
    own, own_windows = points[used], windows[used]
    together = in_windows(own, own_windows, int(windows[-1]) + 1)
    best, chance = None, np.zeros(len(own))
    for start in _starts(spread, away):
        tried = np.where(start, 0.95, 0.05)
        fit = fit_clusters(together, tried, MIN_SHARE, _STEPS)
        is_small = fit.is_found and fit.share <= 0.25
        if is_small and (best is None or fit.gain > best.gain):
            best, chance = fit, tried
    if best is None:
        return None
    known = np.diff(together.starts) > 0
    middle = best.separation / 2 + np.log((1 - best.share) / best.share) / best.separation
    levels = _filled(np.where(known, best.trend + middle, np.nan))
    is_in = chance > 0.5
    distance, cosine = _compared_with_others(spread, away, is_in)
    counts = np.bincount(own_windows[is_in], minlength=known.size)
    shape = features.shape[1:]
    return Minority(
        centre.reshape(shape),
        (axes @ best.axis).reshape(shape),
        levels,
        np.searchsorted(windows, np.arange(known.size)).astype(np.int64),
        number,
        float(is_in.sum() / number),
        float(best.separation),
        _held_out_gain(own, own_windows, chance),
        distance,
        cosine,
        float(counts.max() / max(counts.sum(), 1)),
    )


def _space(
    features: NDArray[np.floating],
    others: NDArray[np.floating],
    basis: NDArray[np.floating] | None,
    windows: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return centre, axes (n_features, n), and the steps to the nearest others on the axes."""
    space = shape_space(features, basis, windows, NUM_COMPONENTS)
    away = others.reshape(len(others), space.centre.size) - space.centre
    away = without_directions(away, space.nuisance)
    away = away[np.argsort((away**2).sum(axis=1), kind="stable")[:NUM_OTHERS]]
    rest = without_directions(away, space.axes)
    left, sizes, _ = np.linalg.svd(rest.T, full_matrices=False)
    kept = sizes > 1e-3 * max(float(sizes.max(initial=0.0)), 1e-9)
    axes = np.concatenate([space.axes, left[:, kept]], axis=1)
    return space.centre, axes, away @ axes


def _whitening(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a matrix that makes the scatter of the core of some points round."""
    size = points.shape[1]
    core = points
    for _ in range(_NUM_ROUNDS + 1):
        covariance = np.atleast_2d(np.cov(core.T))
        ridge = 1e-3 * np.trace(covariance) / size + 1e-12
        lower = np.linalg.cholesky(np.linalg.inv(covariance + ridge * np.eye(size)))
        distance = ((points @ lower) ** 2).sum(axis=1)
        core = points[distance <= np.quantile(distance, _CORE)]
    return lower


def _starts(spread: NDArray[np.float64], away: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
    """Return the sides of points, in some directions, on which there are many more than opposite.

    Directions are those to other units, and those of the farthest points, averaged with the ones
    beside them.
    """
    number = len(spread)
    distance = np.linalg.norm(spread, axis=1)
    outer = np.flatnonzero(distance >= np.quantile(distance, 1 - _OUTER_SHARE))
    if outer.size > _MAX_OUTER:
        outer = outer[np.arange(_MAX_OUTER) * outer.size // _MAX_OUTER]
    directions = spread[outer] / np.maximum(distance[outer], 1e-12)[:, None]
    beside = min(_NUM_AVERAGED, len(directions))
    alike = np.argpartition(-(directions @ directions.T), beside - 1, axis=1)[:, :beside]
    directions = np.concatenate([directions[alike].mean(axis=1), away])
    lengths = np.linalg.norm(directions, axis=1)
    # (n_directions, n): what is counted is side by side in memory
    along = (directions[lengths > 0] / lengths[lengths > 0][:, None]) @ spread.T
    along -= np.median(along, axis=1, keepdims=True)
    along /= np.maximum(1.4826 * np.median(np.abs(along), axis=1, keepdims=True), 1e-12)
    best, levels = np.full((2, len(along)), -np.inf)
    for level in _LEVELS:
        here = np.count_nonzero(along > level, axis=1)
        there = 2.0 * np.count_nonzero(along < -level, axis=1)
        excess = (here - there - 0.003 * number) / np.sqrt(here + there + 4.0)
        is_better = (here >= 10) & (excess > best)
        best[is_better], levels[is_better] = excess[is_better], level
    found: list[NDArray[np.bool_]] = []
    for row in np.argsort(-best, kind="stable"):
        if best[row] < 1 or len(found) == _NUM_STARTS:
            break
        side = along[row] > levels[row]
        common = [np.count_nonzero(side & other) / min(side.sum(), other.sum()) for other in found]
        if max(common, default=0.0) <= _MOST_IN_COMMON:
            found.append(side)
    return found


def _held_out_gain(
    points: NDArray[np.float64], windows: NDArray[np.int64], chance: NDArray[np.float64]
) -> float:
    """Return the gain of either half of the points in the fit to the other, less two errors."""
    first = np.random.default_rng(0).permutation(len(points)) % 2 == 0
    num_windows = int(windows[-1]) + 1
    gains = []
    for half in (first, ~first):
        own: Points = in_windows(points[half], windows[half], num_windows)
        tried = np.where(chance[half] > 0.5, 0.95, 0.05)
        fit = fit_clusters(own, tried, MIN_SHARE / 2, _STEPS)
        if not fit.is_found:
            return -np.inf
        rest = ~half & (np.diff(own.starts) > 0)[windows]
        gains.append(gains_of_points(points[rest] @ fit.axis, windows[rest].astype(np.int64), fit))
    together = np.concatenate(gains)
    return float(together.mean() - _GAIN_ERRORS * together.std() / np.sqrt(together.size))


def _compared_with_others(
    spread: NDArray[np.float64], away: NDArray[np.float64], is_in: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the distance of the nearest other unit, as a share, and the largest cosine."""
    if len(away) == 0 or not 0 < is_in.sum() < is_in.size:
        return np.inf, -1.0
    step = spread[is_in].mean(axis=0) - spread[~is_in].mean(axis=0)
    length = max(float(np.linalg.norm(step)), 1e-12)
    distances = np.linalg.norm(away - step, axis=1) / length
    cosines = away @ step / np.maximum(np.linalg.norm(away, axis=1) * length, 1e-12)
    return float(distances.min()), float(cosines.max())


def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values with NaN interpolated from those beside it."""
    known = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(values.size), known, values[known])
