"""Pairs of units that have most spikes of one of them in common, found among all pairs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.kernels.coincidences import (
    count_coincident_spikes,
    count_lags_between,
    pairs_that_coincide,
)

MIN_SPIKES = 20


def may_share_spikes(
    analyzer: SortingAnalyzer, num_spikes: NDArray[np.int64], window: int, share: float
) -> NDArray[np.bool_]:
    """Return the pairs of units of which one may have more than a share of its spikes in the other.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    num_spikes : array (n_units,) int64
    window : int
        Samples that the same spike can be apart.
    share : float

    Returns
    -------
    array (n_units, n_units) bool
        Of pairs with the unit of lower index first. Units with fewer than 20 spikes are in none.
    """
    spikes = spike_vector_of(analyzer.sorting)
    of_spikes = spikes["sample_index"], spikes["unit_index"], spikes["segment_index"]
    pairs = pairs_that_coincide(of_spikes, num_spikes, window, share, MIN_SPIKES)
    found = np.zeros((num_spikes.size, num_spikes.size), dtype=bool)
    found[tuple(pairs.T)] = True
    return found


class CommonSpikes(NamedTuple):
    """Spikes that two units have in common.

    Attributes
    ----------
    lag : int
        Samples that the second unit's spikes are later than the first one's.
    shares : tuple of float
        Share of the spikes of the first, and of the second, with one of the other at that lag.
    by_chance : tuple of float
        As many at lags 10 and 20 ms away.
    num_common : int
        Spikes of the unit with fewer spikes that have one of the other.
    """

    lag: int
    shares: tuple[float, float]
    by_chance: tuple[float, float]
    num_common: int


def common_spikes(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    window: int,
    max_lag: int,
    apart: int,
) -> CommonSpikes:
    """Count the spikes that two units have in common, at the lag at which these are most.

    Parameters
    ----------
    first, second : array (n,), (m,) int64
        Samples, ascending, neither empty.
    window : int
        Largest distance in samples from the lag, inclusive.
    max_lag : int
        Largest lag in samples.
    apart : int
        Shifts of the spikes, in samples, of which coincidences are by chance: once and twice, both
        ways.

    Examples
    --------
    >>> found = common_spikes(np.array([0, 100, 200]), np.array([7, 107]), 2, 10, 50)
    >>> found.lag, found.shares
    (7, (0.6666666666666666, 1.0))
    """
    lag = _most_frequent_lag(first, second, window, max_lag)
    moved = second - lag

    def shares(shift: int) -> tuple[float, float]:
        trains = first, moved + shift
        (counts,) = count_coincident_spikes(trains, np.array([[0, 1]]), window).tolist()
        return counts[0] / first.size, counts[1] / second.size

    found = shares(0)
    by_chance = np.mean([shares(k * apart) for k in (-2, -1, 1, 2)], axis=0)
    smaller = int(second.size < first.size)
    count = round(found[smaller] * min(first.size, second.size))
    return CommonSpikes(lag, found, (float(by_chance[0]), float(by_chance[1])), count)


def _most_frequent_lag(
    first: NDArray[np.int64], second: NDArray[np.int64], window: int, max_lag: int
) -> int:
    """Return the middle of the lags around the one with most pairs within the window; 0 of none."""
    counts = count_lags_between(first, second, max_lag)
    if not counts.any():
        return 0
    within = np.convolve(counts, np.ones(2 * window + 1, dtype=np.int64), mode="same")
    # of equal ones that closest to 0
    best = np.flatnonzero(within == within.max()) - max_lag
    peak = int(best[np.argmin(np.abs(best))])
    lags = np.arange(-max_lag, max_lag + 1)
    near = np.abs(lags - peak) <= window
    return int(np.median(np.repeat(lags[near], counts[near])))
