"""Pairs of units that have most spikes of one of them in common, found among all pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.kernels.coincidences import count_close_pairs
from si_curation.kernels.spike_vector import count_units

MIN_SPIKES = 20


def num_spikes_of_units(analyzer: SortingAnalyzer) -> NDArray[np.int64]:
    """Return the number of spikes of each unit (n_units,)."""
    unit_index = spike_vector_of(analyzer.sorting)["unit_index"]
    return count_units(unit_index, len(analyzer.unit_ids))


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
    close = count_close_pairs(
        spikes["sample_index"],
        spikes["unit_index"],
        spikes["segment_index"],
        num_spikes.size,
        window,
    )
    fewest = np.minimum(num_spikes[:, None], num_spikes[None, :])
    return (close > share * fewest) & (fewest >= MIN_SPIKES)
