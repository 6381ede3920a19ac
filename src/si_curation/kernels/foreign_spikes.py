"""Spikes that do not belong to a unit, from the features of its spikes and of other units.

A spike is judged by how far it is from the unit (a robust Mahalanobis distance), and by how much
better another unit fits it. How many spikes of the unit itself look as much like another unit is
counted on the other side: each spike is mirrored at the centre of the unit. The unit's own spikes
scatter about alike to both sides, and spikes of other units do not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MIN_SPIKES = 100
# of the spikes, taken for the unit's own in its centre and covariance
_CORE = 0.9
_NUM_ROUNDS = 3
# of the mean variance, added to all variances
_SHRINKAGE = 0.02
# spikes that are not among this share of the farthest are never surely foreign
_FAR = 0.1
# collisions go to one side only: the mirror shows about half of the own spikes
_OWN_PER_MIRRORED = 2.0
# and the best of many thresholds looks better than it is: so many of the sure ones are own at least
_LEAST_OWN = 0.2
# share of the spikes of a probable cluster that are expected to be the unit's own
OWN_OF_PROBABLE = 0.5
_MAX_SURE = 0.1
_STANDARD_ERRORS = 3.0
_LEAST = 5.0
# how much the distance counts beside the larger of the two ranks
_TIE = 0.1


class SpikeModel(NamedTuple):
    """The spikes of a unit, and other units on the same features.

    Attributes
    ----------
    centre : array (n_features,) float64
    whitening : array (n_features, n_features) float64
        ``(spike - centre) @ whitening`` has unit variances.
    directions : array (n_features, n_others) float64
        From the unit to each other one, whitened, of length 1.
    distances, offsets, scales : array (n_others,) float64
        Distance of each other unit, and centre and deviation of the unit's spikes, along it.
    """

    centre: NDArray[np.float64]
    whitening: NDArray[np.float64]
    directions: NDArray[np.float64]
    distances: NDArray[np.float64]
    offsets: NDArray[np.float64]
    scales: NDArray[np.float64]


class SpikeScores(NamedTuple):
    """How little spikes fit a unit; larger is less.

    Attributes
    ----------
    distance : array (n_spikes,) float64
        Squared Mahalanobis distance from the unit.
    other_fits : array (n_spikes,) float64
        Twice the log-likelihood ratio of the best other unit and this one; -inf without others.
    mirrored : array (n_spikes,) float64
        The same of the spike mirrored at the centre of the unit.
    """

    distance: NDArray[np.float64]
    other_fits: NDArray[np.float64]
    mirrored: NDArray[np.float64]


class Choice(NamedTuple):
    """Which spikes are set aside, as thresholds.

    Attributes
    ----------
    far, sure : float
        Surely foreign: distance of at least `far`, and `other_fits` of at least `sure` (inf: none).
    num_sure : int
        Of the spikes that the choice was made on.
    expected_own : float
        How many of those are the unit's own.
    farthest : float
        The least rank, of `ranks_among`, of the other spikes that are set aside (inf: none).
    num_farthest : int
        How many of those.
    num_probable : int
        Of the spikes that probably are foreign, and none of the sure ones, how many are set aside:
        all, or none where that would cost too much.
    """

    far: float
    sure: float
    num_sure: int
    expected_own: float
    farthest: float
    num_farthest: int
    num_probable: int = 0


def fit_spike_model(values: NDArray[np.floating], others: NDArray[np.floating]) -> SpikeModel:
    """Fit a unit by the core of its spikes.

    Parameters
    ----------
    values : array (n_spikes, n_features) floating
        At least two spikes.
    others : array (n_others, n_features) floating
        Mean features of other units.

    Returns
    -------
    SpikeModel

    Notes
    -----
    Mean and covariance of the nine tenths nearest to it, three times, from the median and the
    median absolute deviations on. A fiftieth of the mean variance is added to all variances.

    Examples
    --------
    >>> spikes = np.random.default_rng(0).normal(0, 1, (1000, 2))
    >>> model = fit_spike_model(spikes, np.array([[8.0, 0.0]]))
    >>> 8 < model.distances[0] < 10
    np.True_
    """
    values = np.asarray(values, dtype=np.float64)
    centre = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - centre), axis=0)
    spread = np.where(spread > 0, spread, np.inf)
    distance = (((values - centre) / spread) ** 2).sum(axis=1)
    whitening = np.zeros((centre.size, centre.size))
    for _ in range(_NUM_ROUNDS):
        core = values[distance <= np.quantile(distance, _CORE)]
        centre = core.mean(axis=0)
        whitening = _whitening((core - centre).T @ (core - centre) / max(len(core) - 1, 1))
        distance = (((values - centre) @ whitening) ** 2).sum(axis=1)
    away = (np.asarray(others, dtype=np.float64) - centre) @ whitening  # (n_others, n_features)
    length = np.linalg.norm(away, axis=1)
    away, length = away[length > 0], length[length > 0]
    directions = (away / length[:, None]).T
    along = (values - centre) @ whitening @ directions
    offsets = np.median(along, axis=0)
    scales = 1.4826 * np.median(np.abs(along - offsets), axis=0)
    scales = np.where(scales > 0, scales, 1.0)
    return SpikeModel(centre, whitening, directions, length, offsets, scales)


def _whitening(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a root of the inverse of a covariance that is made definite."""
    size = len(covariance)
    mean = np.trace(covariance) / max(size, 1)
    if not mean > 0:
        return np.zeros_like(covariance)
    lower = np.linalg.cholesky(covariance + _SHRINKAGE * mean * np.eye(size))
    return np.linalg.inv(lower).T


def score_spikes(
    model: SpikeModel, values: NDArray[np.floating], is_here: NDArray[np.bool_] | None = None
) -> SpikeScores:
    """Score spikes against a unit and the others.

    Parameters
    ----------
    model : SpikeModel
    values : array (n_spikes, n_features) floating
    is_here : array (n_spikes,) bool, optional
        False for spikes that were found elsewhere, which are farther than any other.

    Returns
    -------
    SpikeScores

    Examples
    --------
    >>> spikes = np.random.default_rng(0).normal(0, 1, (1000, 2))
    >>> model = fit_spike_model(spikes, np.array([[8.0, 0.0]]))
    >>> scores = score_spikes(model, np.array([[0.0, 0.0], [8.0, 0.0]]))
    >>> scores.other_fits > 0
    array([False,  True])
    """
    white = (np.asarray(values, dtype=np.float64) - model.centre) @ model.whitening
    distance = (white**2).sum(axis=1)
    along = (white @ model.directions - model.offsets) / model.scales  # (n_spikes, n_others)
    apart = model.distances / model.scales
    other_fits = (2 * along * apart - apart**2).max(axis=1, initial=-np.inf)
    mirrored = (-2 * along * apart - apart**2).max(axis=1, initial=-np.inf)
    if is_here is not None:
        distance[~is_here], other_fits[~is_here], mirrored[~is_here] = np.inf, np.inf, -np.inf
    return SpikeScores(distance, other_fits, mirrored)


def ranks_among(scores: SpikeScores, of: SpikeScores) -> NDArray[np.float64]:
    """Rank spikes by the larger of the ranks of both scores among other spikes.

    Parameters
    ----------
    scores : SpikeScores
        Of the spikes to rank.
    of : SpikeScores
        Of the spikes that they are ranked among.

    Returns
    -------
    array (n_spikes,) float64
        Where the larger ranks are equal, the rank of the distance decides.

    Examples
    --------
    >>> known = SpikeScores(np.arange(4.0), np.arange(4.0), np.zeros(4))
    >>> bool(np.diff(ranks_among(known, known)).min() > 0)
    True
    """
    num = max(of.distance.size, 1)
    by_distance = np.searchsorted(np.sort(of.distance), scores.distance) / num
    by_other = np.searchsorted(np.sort(of.other_fits), scores.other_fits) / num
    return np.maximum(by_distance, by_other) + _TIE * by_distance


def choose_foreign(
    scores: SpikeScores, max_loss: float, probable: NDArray[np.bool_] | None = None
) -> Choice:
    """Choose the spikes to set aside, at a largest share of the unit's own.

    Parameters
    ----------
    scores : SpikeScores
    max_loss : float
    probable : array (n_spikes,) bool, optional
        Spikes that probably are foreign: half of them (`OWN_OF_PROBABLE`) are expected to be the
        unit's own.

    Returns
    -------
    Choice

    Notes
    -----
    **Surely foreign** are spikes among the tenth farthest that another unit fits better. Twice as
    many as look like that when mirrored are taken for the unit's own. The threshold is the one
    with most foreign spikes less own ones, at most `max_loss` own ones and a tenth of all. Unless
    that difference is at least five and three standard errors, there are none. Since the threshold
    is the best of many, at least a fifth of them are expected to be the unit's own.

    **Probable** ones come next, all or none, and then **the farthest** of the others, until all of
    these, were they the unit's own, and the own ones of the rest are `max_loss` of the spikes.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> spikes = np.concatenate([rng.normal(0, 1, (950, 2)), rng.normal((8, 0), 1, (50, 2))])
    >>> model = fit_spike_model(spikes, np.array([[8.0, 0.0]]))
    >>> choice = choose_foreign(score_spikes(model, spikes), 0.0)
    >>> choice.num_sure, choice.expected_own, choice.num_farthest
    (50, 10.0, 0)
    """
    num = scores.distance.size
    far = float(np.quantile(scores.distance, 1 - _FAR, method="lower")) if num else np.inf
    is_far = scores.distance >= far
    ordered = np.sort(scores.other_fits[is_far])[::-1]
    mirrored = np.sort(scores.mirrored[is_far])
    counts = np.arange(1, ordered.size + 1)
    own = _OWN_PER_MIRRORED * (mirrored.size - np.searchsorted(mirrored, ordered, side="left"))
    gain = np.where((own <= max_loss * num) & (counts <= _MAX_SURE * num), counts - 2 * own, -1.0)
    gain[np.isneginf(ordered)] = -1.0
    sure, num_sure, expected_own = np.inf, 0, 0.0
    if gain.size:
        best = int(np.argmax(gain))
        if gain[best] >= max(_LEAST, _STANDARD_ERRORS * np.sqrt(counts[best] + own[best])):
            sure = float(ordered[best])
            num_sure = int(np.count_nonzero(is_far & (scores.other_fits >= sure)))
            expected_own = max(float(own[best]), _LEAST_OWN * num_sure)
    is_rest = ~(is_far & (scores.other_fits >= sure))
    num_probable, left = 0, max_loss * num - expected_own
    if probable is not None:
        number = int(np.count_nonzero(probable & is_rest))
        if OWN_OF_PROBABLE * number <= left:
            num_probable, left = number, left - OWN_OF_PROBABLE * number
            is_rest &= ~probable
    ranks = np.sort(ranks_among(scores, scores)[is_rest])[::-1]
    most = min(max(int(left), 0), ranks.size)
    farthest = float(ranks[most - 1]) if most else np.inf
    # of equals none is taken that would be too many
    if most < ranks.size and most and ranks[most] == farthest:
        farthest = float(np.nextafter(farthest, np.inf))
    taken = int(np.count_nonzero(ranks >= farthest))
    return Choice(far, sure, num_sure, expected_own, farthest, taken, num_probable)
