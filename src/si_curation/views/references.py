"""The template and the best channels of the units of a figure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.extensions.template_best_channels import PHY_NUM_CHANNELS, phy_best_channels
from si_curation.spikes.background import background_spikes
from si_curation.variables import ChannelIndices, UnitIndices
from si_curation.views.units import DrawnUnit


def template_counts_of(sorting_analyzer: SortingAnalyzer, unit: DrawnUnit) -> NDArray[np.int64]:
    """Count the spikes of a unit by template; of units that are drawn as merged, their sum.

    Without "template_assignment" each unit is its own template.

    Returns
    -------
    array (n_templates,) int64
    """
    rows = unit.rows(sorting_analyzer)
    assignment = sorting_analyzer.get_extension("template_assignment")
    if assignment is not None:
        return np.asarray(assignment.get_template_counts()[rows].toarray().sum(axis=0))
    counts = np.zeros(len(sorting_analyzer.unit_ids), dtype=np.int64)
    spikes = sorting_analyzer.sorting.count_num_spikes_per_unit(outputs="array")
    counts[rows] = spikes[rows]
    return counts


def template_of(sorting_analyzer: SortingAnalyzer, unit: DrawnUnit) -> int:
    """Return the most frequent template of a unit, the lowest where several tie; -1 if empty."""
    counts = template_counts_of(sorting_analyzer, unit)
    return int(counts.argmax()) if counts.any() else -1


class ChannelRanking:
    """The best channels of the units of a figure, ranked as in phy.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    num_channels, amplitude_threshold, same_shank
        As in "template_best_channels"; phy's by default.

    Raises
    ------
    MissingDataError
        There are no templates.
    """

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        num_channels: int = PHY_NUM_CHANNELS,
        amplitude_threshold: float = 0.0,
        same_shank: bool = True,
    ):
        self._analyzer = sorting_analyzer
        self._ranking = phy_best_channels(
            sorting_analyzer, num_channels, amplitude_threshold, same_shank
        )

    def channels_of_template(self, template_id: int) -> ChannelIndices:
        """Return the channel indices of a template, best first; none for -1."""
        return self._ranking.of_template(template_id)

    def channels_of_unit(self, unit: DrawnUnit) -> ChannelIndices:
        """Return the channel indices of a unit, best first; none without spikes."""
        return self.channels_of_template(template_of(self._analyzer, unit))

    def background(
        self, units: list[DrawnUnit], channel_indices: NDArray[np.integer]
    ) -> NDArray[np.int64]:
        """Return the spikes of all other units that have any of these among their best channels.

        Returns
        -------
        array (n,) int64
            Positions in the spike vector, ascending.
        """
        none = np.zeros(0, dtype=np.int64)
        shown = np.concatenate([none, *(unit.rows(self._analyzer) for unit in units)])
        return background_spikes(self._analyzer, self._ranking, channel_indices, UnitIndices(shown))
