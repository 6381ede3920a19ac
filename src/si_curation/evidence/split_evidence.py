"""What speaks for and against two parts of a unit being two neurons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.errors import MissingDataError
from si_curation.evidence.cross_refractoriness import (
    choose_refractory_periods,
    count_lags,
    cross_refractoriness,
)
from si_curation.evidence.unit_locations import unit_distances
from si_curation.kernels.coincidences import count_coincident_spikes
from si_curation.kernels.two_clusters import TwoClusters

# where each term is 0.5
HALF_GAIN, HALF_ERROR, HALF_MIXING, HALF_JUMP_RATIO = 0.05, 0.055, 0.4, 3.0
GAIN_ERRORS = 2.0
MAX_NEIGHBOUR_UM = 150.0
# other units that a jump is compared with
MIN_OTHER_UNITS = 5


def likelihood_term(clusters: TwoClusters) -> float:
    """Return a factor from the gain in likelihood of a spike: 0.5 at 0.05 nats."""
    lowest = max(clusters.gain - GAIN_ERRORS * clusters.gain_error, 0.0)
    return lowest / (lowest + HALF_GAIN)


def accuracy_term(expected_error: float) -> float:
    """Return a factor from the share of spikes on the wrong side: 0.5 at 5.5 %.

    Examples
    --------
    >>> accuracy_term(0.0), accuracy_term(0.055)
    (1.0, 0.5)
    """
    return float(0.5 ** (expected_error / HALF_ERROR))


def mixing_term(mixing: float) -> float:
    """Return a factor from how much two clusters are mixed in time: 0.5 at 0.4, 1 from 0.8.

    Examples
    --------
    >>> mixing_term(0.4), mixing_term(0.95), mixing_term(-0.01)
    (0.5, 1.0, 0.0)
    """
    return float(min(max(mixing, 0.0) / (2.0 * HALF_MIXING), 1.0))


def jump_term(jump: float, others: NDArray[np.float64]) -> float:
    """Return a factor from a jump in time and those of other units: 0.5 at 3 times their median.

    NaN: fewer than 5 others are known.

    Examples
    --------
    >>> jump_term(6.0, np.full(9, 2.0)), jump_term(6.0, np.array([2.0]))
    (0.5, nan)
    """
    known = others[np.isfinite(others)]
    if known.size < MIN_OTHER_UNITS:
        return float("nan")
    ratio = jump / max(float(np.median(known)), 1.0)
    return ratio / (ratio + HALF_JUMP_RATIO)


def weakest_term(*terms: float) -> float:
    """Return the smallest of the terms; NaN is left out.

    Examples
    --------
    >>> weakest_term(0.7, float("nan"), 0.6)
    0.6
    """
    return float(np.nanmin(np.array(terms)))


class PartsEvidence(NamedTuple):
    """Spike times of two parts of a unit.

    Attributes
    ----------
    one_neuron_probability : float
        Given the coincidences, at even prior odds.
    refractory_period_ms : float
    observed, expected : float
        Coincidences within it.
    duplicate_fractions : tuple of float
        Largest share of the spikes of a part that one other unit has too, and of the other part
        with the same unit.
    """

    one_neuron_probability: float
    refractory_period_ms: float
    observed: int
    expected: float
    duplicate_fractions: tuple[float, float]

    @property
    def refractory_term(self) -> float:
        """1, less where one neuron is more probable than two."""
        return min(1.0, 2.0 * (1.0 - self.one_neuron_probability))

    @property
    def duplicate_term(self) -> float:
        """1, less what one part shares more than the other with another unit."""
        return 1.0 - abs(self.duplicate_fractions[0] - self.duplicate_fractions[1])


def evidence_of_parts(
    analyzer: SortingAnalyzer,
    spikes: Sequence[NDArray[np.int64]],
    is_second: Sequence[NDArray[np.bool_]],
    duplicate_window: int,
) -> list[PartsEvidence]:
    """Return the evidence of the spike times of several units, each cut in two.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    spikes : sequence of array (n,) int64
        Places of the spikes of each unit, or part of a unit, in the spike vector.
    is_second : sequence of array (n,) bool
        Which of them are of its second part.
    duplicate_window : int
        In samples.
    """
    if not spikes:
        return []
    fs = analyzer.sampling_frequency
    vector = spike_vector_of(analyzer.sorting)
    num_units, num_cuts = len(analyzer.unit_ids), len(spikes)
    part = vector["unit_index"].astype(np.int64)
    own_unit = np.array([part[places[0]] for places in spikes])
    for cut, (places, second) in enumerate(zip(spikes, is_second, strict=True)):
        part[places] = num_units + 2 * cut + second
    is_part = part >= num_units
    pairs = np.arange(2 * num_cuts).reshape(-1, 2)
    counts = count_lags(
        vector["sample_index"][is_part],
        part[is_part] - num_units,
        vector["segment_index"][is_part],
        2 * num_cuts,
        pairs,
        fs,
    )
    period, _ = choose_refractory_periods(counts, pairs, duplicate_window, fs)
    found = cross_refractoriness(counts, pairs, period, duplicate_window, fs)
    one_neuron = special.expit(found.log_odds)
    near = _neighbours(analyzer, own_unit)
    asked = [(num_units + 2 * cut + k, other) for cut, other in near for k in (0, 1)]
    shared = count_coincident_spikes(
        vector["sample_index"],
        part,
        vector["segment_index"],
        num_units + 2 * num_cuts,
        np.array(asked, dtype=np.int64).reshape(-1, 2),
        duplicate_window,
    )[:, 0].reshape(-1, 2)
    sizes = np.bincount(part[is_part] - num_units, minlength=2 * num_cuts).reshape(-1, 2)
    fractions = np.zeros((num_cuts, 2))
    for (cut, _), both in zip(near, shared, strict=True):
        now = both / np.maximum(sizes[cut], 1)
        if abs(now[0] - now[1]) > abs(fractions[cut, 0] - fractions[cut, 1]):
            fractions[cut] = now
    return [
        PartsEvidence(
            float(one_neuron[cut]),
            float(period[cut] * 1e3 / fs),
            int(found.observed[cut]),
            float(found.expected[cut]),
            (float(fractions[cut].max()), float(fractions[cut].min())),
        )
        for cut in range(num_cuts)
    ]


def _neighbours(analyzer: SortingAnalyzer, units: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return (cut, other unit) for each other unit near that of a cut; all where it is unknown."""
    try:
        distance = unit_distances(analyzer)
    except MissingDataError:
        distance = np.zeros((len(analyzer.unit_ids),) * 2)
    with np.errstate(invalid="ignore"):
        near = ~(distance > MAX_NEIGHBOUR_UM)
    np.fill_diagonal(near, False)
    return [(cut, int(i)) for cut, unit in enumerate(units) for i in np.flatnonzero(near[unit])]
