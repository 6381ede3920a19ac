"""Whether the amplitudes of two units are one population that was cut at an amplitude.

A sorter that makes a template for each size of a neuron's spikes, or that cuts at a threshold,
leaves two units whose mean amplitudes differ and whose distributions join.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

# spikes that count as independent at most: amplitudes are not quite normal, and with enough spikes
# that alone would decide
MAX_EFFECTIVE_SPIKES = 150
MIN_SPIKES = 20
# means of the halves of a normal distribution, in the standard deviations of the halves: two units
# less far apart can be one population that was cut, whatever the value is
CUT_SEPARATION = 2.0 * np.sqrt(2.0 / np.pi) / np.sqrt(1.0 - 2.0 / np.pi)
# where the means are closer, a soft threshold and two neurons look the same
SURE_SEPARATION = 2.0
_NUM_STEPS = 30
_RIDGE = 1e-3


def probability_of_cut(
    first: NDArray[np.floating], second: NDArray[np.floating], resolution: float = 0.0
) -> float:
    """Compute the probability that two samples are one population cut at a threshold.

    Parameters
    ----------
    first, second : array (n,), (m,) floating
        Amplitudes of the spikes of either unit, over the same time, in their true proportion.
    resolution : float
        Smallest standard deviation of a population, in the unit of the amplitudes.

    Returns
    -------
    float
        NaN where either has fewer than 20 spikes.

    Notes
    -----
    Two models of the amplitudes and of the unit that each spike is in are compared by Bayes' rule
    at even prior odds. One population: all amplitudes are normal, and a spike is in the second unit
    with a probability that is a logistic function of its amplitude (4 parameters). Two populations:
    the amplitudes of either unit are normal, and so is no function of the amplitude (5 parameters).
    The difference of the log likelihoods is that of at most 150 spikes, with the penalty of
    Schwarz's criterion.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> one = rng.normal(10, 1, 400)
    >>> round(probability_of_cut(one[one < 10.2], one[one >= 10.2]), 2)
    1.0
    >>> round(probability_of_cut(rng.normal(10, 1, 200), rng.normal(14, 1, 200)), 2)
    0.0
    """
    n, m = first.size, second.size
    if min(n, m) < MIN_SPIKES:
        return np.nan
    pooled = np.concatenate([first, second]).astype(np.float64)
    is_second = np.repeat([False, True], [n, m])
    total = n + m
    floor = max(resolution, 1e-9 * float(np.abs(pooled).max()), 1e-12)
    one = _normal_log_likelihood(pooled, floor) + _logistic_log_likelihood(pooled, is_second)
    two = sum(
        _normal_log_likelihood(own, floor) + own.size * np.log(own.size / total)
        for own in (pooled[~is_second], pooled[is_second])
    )
    effective = min(total, MAX_EFFECTIVE_SPIKES)
    odds = (one - two) * effective / total + 0.5 * np.log(effective)
    return float(special.expit(odds))


def _normal_log_likelihood(values: NDArray[np.float64], floor: float) -> float:
    variance = max(float(values.var()), floor**2)
    squares = float(((values - values.mean()) ** 2).sum())
    return -0.5 * (values.size * np.log(2 * np.pi * variance) + squares / variance)


def _logistic_log_likelihood(values: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    """Return the log likelihood of a logistic regression; the slope is finite by a weak ridge."""
    scale = max(float(values.std()), 1e-12)
    design = np.stack([np.ones(values.size), (values - values.mean()) / scale], axis=1)
    weights = np.zeros(2)
    ridge = _RIDGE * np.eye(2)
    for _ in range(_NUM_STEPS):
        chance = special.expit(design @ weights)
        slope = design.T @ (labels - chance) - ridge @ weights
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + ridge
        step = np.linalg.solve(curvature, slope)
        size = float(np.abs(step).max())
        weights += step if size <= 4.0 else step * (4.0 / size)
        if size < 1e-6:
            break
    signed = np.where(labels, 1.0, -1.0) * (design @ weights)
    return float(-np.logaddexp(0.0, -signed).sum())
