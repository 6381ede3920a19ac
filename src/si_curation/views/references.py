"""The template and the best channels of the units of a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array, spike_vector_of
from si_curation.extensions.template_best_channels import (
    PHY_NUM_CHANNELS,
    Source,
    phy_best_channels,
    resolve_source,
)
from si_curation.kernels.spikes_by_unit import count_spikes
from si_curation.spikes.background import background_spikes
from si_curation.variables import ChannelIndices, UnitIndices
from si_curation.views.style import template_units
from si_curation.views.units import DrawnUnit
from si_curation.views.widget import prepare_extensions


def template_counts_of(sorting_analyzer: SortingAnalyzer, unit: DrawnUnit) -> NDArray[np.int64]:
    """Count the spikes of a unit by template; of units that are drawn as merged, their sum.

    Without "template_assignment" each unit is its own template.

    Returns
    -------
    array (n_templates,) int64
    """
    rows = unit.rows(sorting_analyzer)
    prepare_extensions(sorting_analyzer, "template_assignment")
    assignment = sorting_analyzer.get_extension("template_assignment")
    if assignment is not None:
        return np.asarray(assignment.get_template_counts()[rows].toarray().sum(axis=0))
    counts = np.zeros(len(sorting_analyzer.unit_ids), dtype=np.int64)
    of_spike = spike_vector_of(sorting_analyzer.sorting)["unit_index"]
    spikes = count_spikes(of_spike, len(sorting_analyzer.unit_ids))
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
    num_channels, amplitude_threshold, same_shank, source
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
        source: Source = "auto",
    ):
        prepare_extensions(sorting_analyzer, "template_assignment")
        self._analyzer = sorting_analyzer
        self._of_units = source == "analyzer"
        self._ranking = phy_best_channels(
            sorting_analyzer, num_channels, amplitude_threshold, same_shank, source
        )

    def channels_of_template(self, template_id: int) -> ChannelIndices:
        """Return the channel indices of a template, best first; none for -1."""
        return self._ranking.of_template(template_id)

    def channels_of_unit(self, unit: DrawnUnit) -> ChannelIndices:
        """Return the channel indices of a unit, best first; none without spikes."""
        if self._of_units:
            return self._ranking.of_unit(_largest_of(self._analyzer, unit))
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


class UnitTemplates:
    """The template of each unit of a figure on its best channels, and where it is from.

    By the parameters of the extension "template_best_channels" where the analyzer has it: the most
    frequent of the sorter's templates, or with ``source="analyzer"`` the mean of the traces, of the
    largest of several units that are drawn as merged.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        With "template_assignment".

    Raises
    ------
    MissingDataError
        There are no such templates.
    """

    def __init__(self, sorting_analyzer: SortingAnalyzer):
        self._analyzer = sorting_analyzer
        self._assignment = sorting_analyzer.get_extension("template_assignment")
        extension = sorting_analyzer.get_extension("template_best_channels")
        params: dict[str, Any] = {} if extension is None else dict(extension.params)
        self._of_units = params.get("source") == "analyzer"
        self._ranking = ChannelRanking(sorting_analyzer, **params)
        if self._of_units:
            templates = sorting_analyzer.get_extension("templates")
            self._averages = np.nan_to_num(as_array(templates.get_data(operator="average")))

    @property
    def name(self) -> str:
        """What is drawn: the sorter's most frequent template, or the mean of the traces."""
        if self._of_units:
            return "Mean waveform (extension templates)"
        if resolve_source(self._analyzer, "auto") == "sorter":
            return f"Most frequent template ({self._assignment.source})"
        return "Most frequent template"

    @property
    def units(self) -> str:
        """Unit of measurement: "µV", "raw units" and others."""
        if self._of_units:
            return template_units({"units": "uV" if self._analyzer.return_in_uV else "raw"})
        return template_units(self._assignment.info)

    def channels(self, unit: DrawnUnit) -> ChannelIndices:
        """Return the channel indices of a unit, best first; none without spikes."""
        return self._ranking.channels_of_unit(unit)

    def template(self, unit: DrawnUnit) -> NDArray[np.floating]:
        """Return the template of a unit (n_samples, n_channels)."""
        if self._of_units:
            return self._averages[_largest_of(self._analyzer, unit)]
        counts = template_counts_of(self._analyzer, unit)
        return self._assignment.get_templates()[int(counts.argmax())]


def _largest_of(analyzer: SortingAnalyzer, unit: DrawnUnit) -> int:
    """Return the index of the unit with most spikes of those that are drawn as one."""
    rows = unit.rows(analyzer)
    counts = count_spikes(spike_vector_of(analyzer.sorting)["unit_index"], len(analyzer.unit_ids))
    return int(rows[counts[rows].argmax()])
