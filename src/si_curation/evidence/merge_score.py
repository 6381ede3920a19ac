"""The score of a pair of units, its terms, and what each column of the table of pairs is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

# prior log odds (20 to 1) of one neuron where two units never fire at the same time: a neuron whose
# waveform changed
APART_LOG_ODDS = 3.0
# overlap in time from which the prior odds are even
APART_OVERLAP = 0.5
APART_MIN_SPIKES = 50

MERGE_DESCRIPTIONS: dict[str, str] = {
    "unit_id_a": "the unit with more spikes",
    "unit_id_b": "the other unit",
    "score": (
        "similarity x one_neuron_probability x amplitude_term x depth_term, those that are NaN "
        "left out, 0 to 1"
    ),
    "reason": "what speaks for and against a merge, and what cannot be told",
    "similarity": "similarity of the units (extension unit_similarity), -1 to 1",
    "one_neuron_probability": (
        "probability of one neuron rather than two independent ones, given the coincidences and "
        "when the units fire, 0 to 1; 0.5 where nothing is known"
    ),
    "amplitude_term": (
        "exp(-amplitude_distance^2 / 8), raised by burst_asymmetry, 0 to 1; NaN without the "
        "extension spike_amplitudes or with fewer than 10 spikes"
    ),
    "depth_term": (
        "exp(-depth_distance^2 / 8), 0 to 1; NaN without the extension spike_locations or with "
        "fewer than 10 spikes"
    ),
    "num_spikes_a": "spikes of unit a, count",
    "num_spikes_b": "spikes of unit b, count",
    "distance_um": "distance of the units, µm; NaN where a unit has no location",
    "refractory_period_ms": "refractory period of the pair, ms",
    "refractory_period_source": "where it came from: given, autocorrelograms or default",
    "refractory_observed": (
        "pairs of a spike of each at lags above the duplicate window and up to the refractory "
        "period, count"
    ),
    "refractory_expected": "as many as there would be at the rate of lags of 10 to 50 ms, count",
    "refractory_ratio": "observed over expected, 1; NaN where none is expected",
    "refractory_ratio_lower": "lower end of its 95 % confidence interval (Poisson; Garwood 1936)",
    "refractory_ratio_upper": "upper end of its 95 % confidence interval",
    "refractory_ratio_if_one": (
        "the ratio that one neuron would have, contaminated as the two units are, 0 to 1"
    ),
    "refractory_chance": "probability of so few coincidences if the units were independent, 0 to 1",
    "refractory_power": (
        "probability that a dip would be seen (refractory_chance of at most 0.05) if they were one "
        "neuron, 0 to 1"
    ),
    "time_overlap": (
        "share of the spikes of one unit at times when the other is active (40 time bins), the "
        "larger of both, 0 to 1"
    ),
    "shared_templates": (
        "templates of the sorter that both have spikes of: they were one unit before a split, count"
    ),
    "amplitude_difference": (
        "mean amplitude of b less that of a where they are closest in time, in the unit of "
        "spike_amplitudes; NaN as amplitude_term"
    ),
    "amplitude_distance": (
        "its size beyond sampling error, in standard deviations of the spikes; NaN as above"
    ),
    "depth_difference_um": "the same of the depth of the spikes (y), µm; NaN as depth_term",
    "depth_distance": "its size beyond sampling error, in standard deviations of the spikes",
    "time_gap_s": "time between the spikes whose amplitudes and depths were compared, s",
    "burst_asymmetry": (
        "how much more often spikes of the smaller unit follow those of the larger one within 15 "
        "ms than the other way round, less two standard errors, 0 to 1; NaN without amplitudes"
    ),
    "duplicate_fraction": (
        "share of the spikes of the unit with fewer spikes that have one of the other within the "
        "duplicate window, 0 to 1"
    ),
    "duplicate_fraction_by_chance": "as many as there would be at the rate of 10 to 50 ms, 0 to 1",
    "contamination_a": (
        "contamination of a (Llobet et al. 2022, many neurons), 0 to 1; NaN where it cannot be told"
    ),
    "contamination_b": "that of b",
    "contamination_merged": "that of both together, duplicates removed",
}


def probability_of_one_neuron(
    log_odds: NDArray[np.float64], overlap: NDArray[np.float64], num_spikes: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Compute the probability that two units are one neuron rather than two.

    Parameters
    ----------
    log_odds : array (n_pairs,) float64
        Logarithm of the likelihood ratio of the coincidences, one neuron over two.
    overlap : array (n_pairs,) float64
        Share of the spikes of one unit at times when the other is active.
    num_spikes : array (n_pairs,) integer
        Spikes of the unit with fewer spikes.

    Returns
    -------
    array (n_pairs,) float64
        ``1 / (1 + exp(-(log_odds + prior)))``. The prior log odds are 0 for units that fire at the
        same times (overlap of 0.5 or more) or have fewer than 50 spikes, and rise linearly to 3
        (odds of 20 to 1) at overlap 0.

    Examples
    --------
    >>> probability_of_one_neuron(
    ...     np.array([0.0, 4.0, 0.0]), np.array([1.0, 1.0, 0.0]), np.array([90, 90, 90])).round(2)
    array([0.5 , 0.98, 0.95])
    """
    apart = np.clip(1.0 - overlap / APART_OVERLAP, 0.0, 1.0)
    prior = np.where(num_spikes >= APART_MIN_SPIKES, APART_LOG_ODDS * np.nan_to_num(apart), 0.0)
    return special.expit(log_odds + prior)


def continuity_term(
    distance: NDArray[np.float64], burst_asymmetry: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Compute a factor of the score from a difference in standard deviations.

    Parameters
    ----------
    distance : array (n_pairs,) float64
    burst_asymmetry : array (n_pairs,) float64, optional
        Share of the difference that bursts explain, 0 to 1; NaN counts as 0.

    Returns
    -------
    array (n_pairs,) float64
        ``c + burst (1 - c)`` with ``c = exp(-distance**2 / 8)``.

    Examples
    --------
    >>> continuity_term(np.array([0.0, 2.0])).round(2)
    array([1.  , 0.61])
    """
    term = np.exp(-(distance**2) / 8.0)
    if burst_asymmetry is None:
        return term
    return term + np.nan_to_num(burst_asymmetry) * (1.0 - term)


def burst_asymmetry(
    follows: NDArray[np.integer], leads: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Compute the asymmetry of two counts, ``(f - l) / (f + l)``, less two standard errors.

    Parameters
    ----------
    follows, leads : array (n_pairs,) integer

    Returns
    -------
    array (n_pairs,) float64
        0 to 1; negative values are set to 0.

    Examples
    --------
    >>> burst_asymmetry(np.array([300, 100, 0]), np.array([100, 100, 0]))
    array([0.4, 0. , 0. ])
    """
    total = np.maximum(follows + leads, 1)
    return np.clip((follows - leads) / total - 2.0 / np.sqrt(total), 0.0, 1.0)


def merge_score(*terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the product of the terms, each clipped to 0 to 1; NaN is left out.

    Parameters
    ----------
    *terms : array (n_pairs,) float64

    Returns
    -------
    array (n_pairs,) float64

    Examples
    --------
    >>> merge_score(np.array([0.5, -0.2]), np.array([np.nan, 0.9]))
    array([0.5, 0. ])
    """
    score = np.ones(len(terms[0]))
    for term in terms:
        score *= np.where(np.isnan(term), 1.0, np.clip(term, 0.0, 1.0))
    return score
