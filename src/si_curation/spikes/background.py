"""Spikes that phy draws grey behind those of the selected units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.extensions.template_best_channels import ChannelRanking
from si_curation.variables import UnitIndices


def background_spikes(
    sorting_analyzer: SortingAnalyzer,
    ranking: ChannelRanking,
    channel_indices: NDArray[np.integer],
    shown: UnitIndices,
) -> NDArray[np.int64]:
    """Return the spikes of all other units that have any of these channels among their best.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    ranking : ChannelRanking
        From `phy_best_channels`.
    channel_indices : array of integer
    shown : array of integer
        Indices of the units that are left out.

    Returns
    -------
    array (n,) int64
        Positions in the spike vector, ascending.

    Examples
    --------
    >>> import si_curation as sic
    >>> from si_curation.extensions.template_best_channels import phy_best_channels
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> ranking = phy_best_channels(analyzer)
    >>> shown = UnitIndices(np.array([0]))
    >>> background_spikes(analyzer, ranking, ranking.of_unit(0)[:1], shown).size
    3060
    """
    is_near = np.asarray(np.isin(ranking.by_unit, channel_indices).any(axis=1))
    is_near[shown] = False
    return np.flatnonzero(is_near[spike_vector_of(sorting_analyzer.sorting)["unit_index"]])
