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
from si_curation.kernels.coincidences import count_partners
from si_curation.kernels.parallel import run_blocks
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


def jumps_at_size(
    jumps: NDArray[np.float64], sizes: NDArray[np.float64], size: float
) -> NDArray[np.float64]:
    """Return what jumps of units would be, if the units were of another size.

    A movement of the probe changes the features of a unit in proportion to their size. What chance
    adds, up to 1, does not depend on it. Jumps do not get smaller.

    Examples
    --------
    >>> jumps_at_size(np.array([0.8, 3.0, 3.0]), np.array([10.0, 10.0, 40.0]), 20.0)
    array([0.8, 5. , 3. ])
    """
    larger = np.maximum(size / np.maximum(sizes, 1e-300), 1.0)
    return np.where(jumps > 1.0, 1.0 + (jumps - 1.0) * larger, jumps)


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
    left_out: Sequence[int] = (),
) -> list[PartsEvidence]:
    """Return the evidence of the spike times of several units, each cut in two.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    spikes : sequence of array (n,) int64
        Places of the spikes of each unit, or part of a unit, in the spike vector. No spike is in
        two of them.
    is_second : sequence of array (n,) bool
        Which of them are of its second part.
    duplicate_window : int
        In samples.
    left_out : sequence of int
        Units that no spikes are counted with. One that is cut itself shares spikes with a part
        mostly because it has spikes of the neuron of that part, which is no evidence against a cut.
    """
    if not spikes:
        return []
    fs = analyzer.sampling_frequency
    vector = spike_vector_of(analyzer.sorting)
    num_cuts = len(spikes)
    places = np.concatenate(spikes)
    part = np.concatenate([2 * cut + second for cut, second in enumerate(is_second)])
    order = np.argsort(places, kind="stable")
    places, part = places[order], part[order]
    pairs = np.arange(2 * num_cuts).reshape(-1, 2)
    counts = count_lags(
        vector["sample_index"][places],
        part,
        vector["segment_index"][places],
        2 * num_cuts,
        pairs,
        fs,
    )
    period, _ = choose_refractory_periods(counts, pairs, duplicate_window, fs)
    found = cross_refractoriness(counts, pairs, period, duplicate_window, fs)
    one_neuron = special.expit(found.log_odds)
    near = _is_near(analyzer)
    near[:, list(left_out)] = False
    fractions = _shares_of_others(analyzer, near, spikes, is_second, duplicate_window)
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


def _shares_of_others(
    analyzer: SortingAnalyzer,
    near: NDArray[np.bool_],
    spikes: Sequence[NDArray[np.int64]],
    is_second: Sequence[NDArray[np.bool_]],
    window: int,
) -> NDArray[np.float64]:
    """Return the shares of both parts of each cut that another unit has too, (n_cuts, 2).

    Of the near unit of which they differ most.
    """
    vector = spike_vector_of(analyzer.sorting)
    samples, units, segments = (
        vector[name] for name in ("sample_index", "unit_index", "segment_index")
    )

    def shares(one: tuple[NDArray[np.int64], NDArray[np.bool_]]) -> NDArray[np.float64]:
        places, second = one
        counts = count_partners(samples, units, segments, len(near), places, second, window)
        sizes = np.array([np.count_nonzero(~second), np.count_nonzero(second)])
        others = np.flatnonzero(near[units[places[0]]])
        found = counts[:, others] / np.maximum(sizes, 1)[:, None]
        difference = np.abs(found[0] - found[1])
        if not difference.any():
            return np.zeros(2)
        return found[:, difference.argmax()]

    return np.array(run_blocks(shares, list(zip(spikes, is_second, strict=True))))


def _is_near(analyzer: SortingAnalyzer) -> NDArray[np.bool_]:
    """Return which other units are near each unit; all where that is unknown."""
    try:
        distance = unit_distances(analyzer)
    except MissingDataError:
        distance = np.zeros((len(analyzer.unit_ids),) * 2)
    with np.errstate(invalid="ignore"):
        near = ~(distance > MAX_NEIGHBOUR_UM)
    np.fill_diagonal(near, False)
    return near
