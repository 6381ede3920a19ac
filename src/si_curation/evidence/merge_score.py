"""The score of a pair of units and its terms."""

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
# share of the spikes of a unit above which they are the other unit's, and how many it is of
DUPLICATE_SHARE, DUPLICATE_MIN_SPIKES = 0.5, 20


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
    distance: NDArray[np.float64],
    burst_asymmetry: NDArray[np.float64] | None = None,
    tolerated: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.float64]:
    """Compute a factor of the score from a difference in standard deviations.

    Parameters
    ----------
    distance : array (n_pairs,) float64
    burst_asymmetry : array (n_pairs,) float64, optional
        Share of the difference that bursts explain, 0 to 1; NaN counts as 0.
    tolerated : float, or array (n_pairs,)
        Differences up to this one count as none.

    Returns
    -------
    array (n_pairs,) float64
        ``c + burst (1 - c)`` with ``c = exp(-max(distance - tolerated, 0)**2 / 8)``.

    Examples
    --------
    >>> continuity_term(np.array([0.0, 2.0])).round(2)
    array([1.  , 0.61])
    """
    term = np.exp(-(np.maximum(distance - tolerated, 0.0) ** 2) / 8.0)
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


def similarity_term(
    similarity: NDArray[np.float64], is_compared: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Compute the factor of the score from the similarity of the templates.

    Parameters
    ----------
    similarity : array (n_pairs,) float64
    is_compared : array (n_pairs,) bool
        Whether waveforms of single spikes were compared too.

    Returns
    -------
    array (n_pairs,) float64
        The similarity from 0 to 1; its square root where waveforms were compared, which tell more
        than the templates of the whole session.

    Examples
    --------
    >>> similarity_term(np.array([0.81, 0.81, -0.1]), np.array([False, True, True]))
    array([0.81, 0.9 , 0.  ])
    """
    clipped = np.clip(similarity, 0.0, 1.0)
    return np.where(is_compared, np.sqrt(clipped), clipped)


def duplicate_term(
    share: NDArray[np.float64], by_chance: NDArray[np.float64], num_spikes: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Compute the score that shared spikes alone give.

    Parameters
    ----------
    share, by_chance : array (n_pairs,) float64
        Of the spikes of the unit with fewer spikes, those with one of the other at the same time.
    num_spikes : array (n_pairs,) integer
        Spikes of that unit.

    Returns
    -------
    array (n_pairs,) float64
        The share beyond chance, ``(share - chance) / (1 - chance)``, where it is above a half and
        the unit has at least 20 spikes; 0 elsewhere.

    Examples
    --------
    >>> duplicate_term(np.array([0.9, 0.5]), np.array([0.1, 0.1]), np.array([30, 30])).round(2)
    array([0.89, 0.  ])
    """
    beyond = np.clip((share - by_chance) / np.maximum(1.0 - by_chance, 1e-9), 0.0, 1.0)
    is_same = (beyond > DUPLICATE_SHARE) & (num_spikes >= DUPLICATE_MIN_SPIKES)
    return np.where(is_same, beyond, 0.0)


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
