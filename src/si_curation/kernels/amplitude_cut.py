"""Whether the amplitudes of two units are one population that was cut at an amplitude.

A sorter that makes a template for each size of a neuron's spikes, or that cuts at a threshold,
leaves two units whose mean amplitudes differ and whose distributions join.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import blocks, njit, run_blocks

# spikes that count as independent at most: amplitudes are not quite normal, and with enough spikes
# that alone would decide
MAX_EFFECTIVE_SPIKES = 150
MIN_SPIKES = 20
# of both units together, spread over the times at which both fire
MAX_SPIKES = 500
# means of the halves of a normal distribution, in the standard deviations of the halves: two units
# less far apart can be one population that was cut, whatever the value is
CUT_SEPARATION = 2.0 * np.sqrt(2.0 / np.pi) / np.sqrt(1.0 - 2.0 / np.pi)
# where the means are closer, a soft threshold and two neurons look the same
SURE_SEPARATION = 2.0
_NUM_STEPS = 30
_RIDGE = 1e-3
_PAIRS_PER_BLOCK = 64


@njit
def _mean_and_variance(
    values: NDArray[np.float64],  # (n,), n > 0
) -> tuple[float, float]:
    total = 0.0
    for value in values:
        total += value
    mean = total / values.size
    squares = 0.0
    for value in values:
        squares += (value - mean) ** 2
    return mean, squares / values.size


@njit
def _normal_log_likelihood(
    values: NDArray[np.float64],  # (n,)
    floor: float,  # smallest standard deviation
) -> float:
    _, its_variance = _mean_and_variance(values)
    variance = max(its_variance, floor**2)
    squares = its_variance * values.size
    return -0.5 * (values.size * math.log(2 * math.pi * variance) + squares / variance)


@njit
def _logistic_log_likelihood(
    values: NDArray[np.float64],  # (n,)
    num_first: int,  # that have one label; the others follow
) -> float:
    # of a logistic regression by Newton's method; the slope is finite by a weak ridge
    mean, variance = _mean_and_variance(values)
    scale = max(math.sqrt(variance), 1e-12)
    offset = slope = 0.0
    for _ in range(_NUM_STEPS):
        along, across = -_RIDGE * offset, -_RIDGE * slope  # gradient
        h00, h01, h11 = _RIDGE, 0.0, _RIDGE  # curvature
        for i in range(values.size):
            x = (values[i] - mean) / scale
            chance = 1.0 / (1.0 + math.exp(-(offset + slope * x)))
            residual = (1.0 if i >= num_first else 0.0) - chance
            along += residual
            across += residual * x
            weight = chance * (1.0 - chance)
            h00 += weight
            h01 += weight * x
            h11 += weight * x * x
        determinant = h00 * h11 - h01 * h01
        step0 = (h11 * along - h01 * across) / determinant
        step1 = (h00 * across - h01 * along) / determinant
        size = max(abs(step0), abs(step1))
        share = 1.0 if size <= 4.0 else 4.0 / size
        offset += share * step0
        slope += share * step1
        if size < 1e-6:
            break
    found = 0.0
    for i in range(values.size):
        of_label = offset + slope * (values[i] - mean) / scale
        if i < num_first:
            of_label = -of_label
        # log(1 / (1 + exp(-x))), whichever sign x has
        found -= max(-of_label, 0.0) + math.log1p(math.exp(-abs(of_label)))
    return found


@njit
def _probability(
    values: NDArray[np.float64],  # (n,): of the first unit, then of the second
    num_first: int,
    floor: float,  # smallest standard deviation of a population
) -> float:
    total = values.size
    if min(num_first, total - num_first) < MIN_SPIKES:
        return np.nan
    largest = 0.0
    for value in values:
        largest = max(largest, abs(value))
    floor = max(floor, 1e-9 * largest, 1e-12)
    one = _normal_log_likelihood(values, floor) + _logistic_log_likelihood(values, num_first)
    two = 0.0
    for own in (values[:num_first], values[num_first:]):
        two += _normal_log_likelihood(own, floor) + own.size * math.log(own.size / total)
    effective = min(total, MAX_EFFECTIVE_SPIKES)
    odds = (one - two) * effective / total + 0.5 * math.log(effective)
    return 1.0 / (1.0 + math.exp(-odds))


@njit
def _take(
    time_bin: NDArray[np.integer],  # (n,): of the spikes of a unit
    amplitudes: NDArray[np.floating],  # (n,)
    is_common: NDArray[np.bool_],  # (n_bins,)
    num_common: int,  # spikes in common bins
    limit: int,  # how many of these are taken, evenly spaced
    out: NDArray[np.float64],
) -> int:
    if limit == 0:
        return 0
    seen = taken = found = 0
    for i in range(time_bin.size):
        if not is_common[time_bin[i]]:
            continue
        if seen == taken * num_common // limit:
            taken += 1
            value = abs(np.float64(amplitudes[i]))
            if value < np.inf:
                out[found] = value
                found += 1
            if taken == limit:
                break
        seen += 1
    return found


@njit
def _of_pair(
    bins_a: NDArray[np.integer],  # (n,)
    amplitudes_a: NDArray[np.floating],  # (n,)
    counts_a: NDArray[np.float64],  # (n_bins,)
    bins_b: NDArray[np.integer],  # (m,)
    amplitudes_b: NDArray[np.floating],  # (m,)
    counts_b: NDArray[np.float64],  # (n_bins,)
    resolution: float,
) -> float:
    is_common = (counts_a > 0) & (counts_b > 0)
    size_a = size_b = 0
    for b in range(is_common.size):
        if is_common[b]:
            size_a += np.int64(counts_a[b])
            size_b += np.int64(counts_b[b])
    if min(size_a, size_b) < MIN_SPIKES:
        return np.nan
    share = min(1.0, MAX_SPIKES / (size_a + size_b))
    values = np.empty(MAX_SPIKES + 2, dtype=np.float64)
    limit = round(size_a * share)
    num_first = _take(bins_a, amplitudes_a, is_common, size_a, limit, values)
    limit = round(size_b * share)
    num_second = _take(bins_b, amplitudes_b, is_common, size_b, limit, values[num_first:])
    if min(num_first, num_second) < MIN_SPIKES:
        return np.nan
    values = values[: num_first + num_second]
    mean_first, _ = _mean_and_variance(values[:num_first])
    mean_second, _ = _mean_and_variance(values[num_first:])
    floor = resolution * 0.5 * (mean_first + mean_second)
    return _probability(values, num_first, floor)


def probability_of_cut(
    first: NDArray[np.floating], second: NDArray[np.floating], resolution: float = 0.0
) -> float:
    """Return the probability that two samples are one population cut at a threshold.

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
    values = np.concatenate([first, second]).astype(np.float64)
    return float(_probability(values, first.size, float(resolution)))


def probabilities_of_cut(
    pairs: NDArray[np.int64],
    time_bins: Sequence[NDArray[np.integer]],
    counts: NDArray[np.float64],
    amplitudes: Sequence[NDArray[np.floating]],
    resolution: float,
) -> NDArray[np.float64]:
    """Return the `probability_of_cut` of pairs of units, at the times at which both fire.

    Parameters
    ----------
    pairs : array (n_pairs, 2) int64
    time_bins : sequence of array (n_spikes of the unit,) integer
        Of the spikes of each unit.
    counts : array (n_units, n_bins) float64
        Spikes of each unit in each time bin.
    amplitudes : sequence of array (n_spikes of the unit,) floating
        Their sizes count. Those that are not finite are left out.
    resolution : float
        Smallest standard deviation of a population, as a share of the mean of both units' means.

    Returns
    -------
    array (n_pairs,) float64
        NaN where either unit has fewer than 20 spikes in common time bins. Of more than 500, as
        many are taken, evenly spaced.
    """
    out = np.empty(len(pairs), dtype=np.float64)

    def compare(piece: slice) -> None:
        for row in range(piece.start, piece.stop):
            both = [(time_bins[i], amplitudes[i], counts[i]) for i in pairs[row].tolist()]
            out[row] = _of_pair(*both[0], *both[1], resolution)

    run_blocks(compare, blocks(len(pairs), _PAIRS_PER_BLOCK))
    return out
