"""Extension `template_best_channels`: the channels of each unit, ranked as phy ranks them."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import spikeinterface.metrics
import spikeinterface.postprocessing  # noqa: F401  (before registering; see _spikeinterface.py)
from numpy.typing import NDArray
from spikeinterface.core.core_tools import slice_rows
from spikeinterface.core.sortinganalyzer import AnalyzerExtension

from si_curation._spikeinterface import as_array, register_extension
from si_curation.errors import MissingDataError, ParameterError
from si_curation.extensions.template_assignment import IDENTITY, refuse_if_lost, unit_position
from si_curation.kernels.channels import neighbourhood, rank_channels
from si_curation.kernels.template_counts import most_frequent_templates
from si_curation.kernels.templates import peak_to_peak, signal_channels
from si_curation.reading.probe import shanks_of

PHY_NUM_CHANNELS = 12


class TemplateBestChannels(AnalyzerExtension):
    """Channels of each unit, ranked by decreasing peak-to-peak amplitude, as in phy.

    For the most frequent template of each unit (`template_assignment`, where the analyzer has it;
    otherwise the unit's entry in "templates"): the channels nearest to the channel of largest
    amplitude, those on its shank, those above the threshold, by decreasing amplitude.

    A sorter's sparse templates (``template_ind.npy``) are ranked over the channels that they are
    stored on, as in phy: its limit of 12 channels and the shank do not apply to those, a
    `num_channels` below 12 does. On an analyzer of another sorter only channels within the
    analyzer's sparsity are ranked.

    Parameters
    ----------
    num_channels : int, default: 12
        At most so many channels, the nearest ones to the peak channel.
    amplitude_threshold : float, default: 0.0
        Leave out channels below this fraction of the unit's largest amplitude.
    same_shank : bool, default: True
        Only channels on the shank of the peak channel.

    Returns
    -------
    dict
        {unit_id: array of channel ids, best first}; empty for a unit without spikes or whose
        template has no signal. ``get_data(outputs="indices")``: channel indices;
        ``get_data(outputs="dataframe")``: a long table with ``unit_id``, ``rank`` (0 is best),
        ``channel_id``, ``channel_index``, ``amplitude`` (peak-to-peak of the template on that
        channel, in the units of the templates), ``x_um``, ``y_um``, ``shank``.

    Raises
    ------
    MissingDataError
        The analyzer has neither "templates" nor "template_assignment".
    ParameterError
        A parameter cannot be used.

    Notes
    -----
    Source: phylib 2.7.1, ``TemplateModel._find_best_channels`` and ``_get_template_sparse``. The
    amplitudes that phylib returns beside the ranked channels belong to other channels; these do
    not.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder(), unwhiten="phy")
    >>> analyzer.compute("template_best_channels").get_best_channels(13)
    array([21, 20,  4,  5, 22, 19,  6, 23,  3,  7, 18, 24])
    """

    extension_name = "template_best_channels"
    depend_on = ["templates|template_assignment"]
    need_recording = False
    use_nodepipeline = False
    need_job_kwargs = False

    def _set_params(
        self,
        num_channels: int = PHY_NUM_CHANNELS,
        amplitude_threshold: float = 0.0,
        same_shank: bool = True,
    ) -> dict[str, Any]:
        problems = []
        if isinstance(num_channels, bool) or not isinstance(num_channels, int | np.integer):
            problems.append(f"num_channels is {num_channels!r}, expected a whole number")
        elif num_channels < 1:
            problems.append(f"num_channels is {num_channels}, expected at least 1")
        try:
            in_range = 0 <= float(amplitude_threshold) <= 1
        except (TypeError, ValueError):
            in_range = False
        if not in_range:
            problems.append(f"amplitude_threshold is {amplitude_threshold!r}, expected 0 to 1")
        if not isinstance(same_shank, bool | np.bool_):
            problems.append(f"same_shank is {same_shank!r}, expected True or False")
        if problems:
            raise ParameterError("; ".join(problems))
        return {
            "num_channels": int(num_channels),
            "amplitude_threshold": float(amplitude_threshold),
            "same_shank": bool(same_shank),
        }

    def _run(self, verbose: bool = False) -> None:
        self.data = self._rank(self.sorting_analyzer)

    def _rank(self, analyzer: Any) -> dict[str, Any]:
        ranked, amplitudes, template_of_unit = rank_template_channels(analyzer, **self.params)
        # a last row for units without spikes
        ranked = np.vstack([ranked, np.full((1, ranked.shape[1]), -1)])
        padded = np.vstack([amplitudes, np.zeros((1, amplitudes.shape[1]), amplitudes.dtype)])
        channels = ranked[template_of_unit]
        values = np.take_along_axis(padded[template_of_unit], np.maximum(channels, 0), axis=1)
        return {
            "channel_indices": channels.astype(np.int32),
            "amplitudes": np.where(channels >= 0, values, np.nan),
        }

    # units that did not change keep their template: ranking again gives the same

    def _select_units_extension_data(self, unit_ids: Any) -> dict[str, Any]:
        keep = self.sorting_analyzer.sorting.ids_to_indices(unit_ids)
        return {name: slice_rows(values, keep) for name, values in self.data.items()}

    def _merge_extension_data(
        self, merge_unit_groups, new_unit_ids, new_sorting_analyzer, *args, **kwargs
    ):
        return self._rank(new_sorting_analyzer)

    def _split_extension_data(self, split_units, new_unit_ids, new_sorting_analyzer, **kwargs):
        return self._rank(new_sorting_analyzer)

    def _get_data(self, outputs: Literal["ids", "indices", "dataframe"] = "ids") -> Any:
        if outputs not in ("ids", "indices", "dataframe"):
            raise ParameterError(
                f"outputs is {outputs!r}, expected 'ids', 'indices' or 'dataframe'"
            )
        if outputs == "dataframe":
            return self._table()
        analyzer = self.sorting_analyzer
        channel_ids = analyzer.channel_ids
        return {
            unit_id: row[row >= 0].astype(np.int64)
            if outputs == "indices"
            else channel_ids[row[row >= 0]]
            for unit_id, row in zip(
                analyzer.unit_ids, as_array(self.data["channel_indices"]), strict=True
            )
        }

    def _table(self) -> pd.DataFrame:
        analyzer = self.sorting_analyzer
        channels = as_array(self.data["channel_indices"])
        unit_index, rank = np.nonzero(channels >= 0)
        index = channels[unit_index, rank].astype(np.int64)
        positions = analyzer.get_channel_locations()[index]
        return pd.DataFrame(
            {
                "unit_id": analyzer.unit_ids[unit_index],
                "rank": rank,
                "channel_id": analyzer.channel_ids[index],
                "channel_index": index,
                "amplitude": as_array(self.data["amplitudes"])[unit_index, rank],
                "x_um": positions[:, 0],
                "y_um": positions[:, 1],
                "shank": shanks_of(analyzer)[index],
            }
        )

    def get_best_channels(self, unit_id: Any) -> NDArray:
        """Channel ids of one unit, best first.

        Raises
        ------
        UnknownIdError
            There is no such unit.
        """
        analyzer = self.sorting_analyzer
        row = as_array(self.data["channel_indices"])[unit_position(analyzer, unit_id)]
        return analyzer.channel_ids[row[row >= 0]]

    def get_best_channel(self, unit_id: Any) -> Any:
        """Id of the channel with the largest amplitude of one unit.

        Raises
        ------
        UnknownIdError
            There is no such unit.
        MissingDataError
            The unit has no spikes, or its template no signal.
        """
        channels = self.get_best_channels(unit_id)
        if channels.size == 0:
            raise MissingDataError(f"unit {unit_id!r} has no template with signal")
        return channels[0]


def rank_template_channels(
    analyzer: Any, num_channels: int, amplitude_threshold: float, same_shank: bool
) -> tuple[NDArray[np.int64], NDArray[np.floating], NDArray[np.int64]]:
    """Rank the channels of every template of an analyzer.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    num_channels, amplitude_threshold, same_shank
        As of the extension.

    Returns
    -------
    ranked : array (n_templates, longest) int64
        Channel indices, best first, -1 padded.
    amplitudes : array (n_templates, n_channels)
    template_of_unit : array (n_units,) int64
        -1 for a unit without spikes.
    """
    found = _templates_of(analyzer)
    if found.channels_are_the_sorters and found.support is not None:
        candidates = found.support
    else:
        candidates = neighbourhood(
            found.amplitudes, found.positions, shanks_of(analyzer), num_channels, same_shank
        )
        if found.support is not None:
            candidates &= found.support
    order = found.channel_order
    ranked = rank_channels(found.amplitudes, candidates, amplitude_threshold, order)
    if found.channels_are_the_sorters and num_channels < PHY_NUM_CHANNELS:
        ranked = ranked[:, :num_channels]
    return ranked, found.amplitudes, found.template_of_unit


class _Templates(NamedTuple):
    amplitudes: NDArray  # (n_templates, n_channels)
    support: NDArray | None  # (n_templates, n_channels) bool; None: all channels
    channels_are_the_sorters: bool  # sparse templates of a sorter
    template_of_unit: NDArray  # (n_units,), -1 for none
    positions: NDArray  # (n_channels, 2)
    channel_order: NDArray | None = None  # (n_templates, n_loc): of sparse templates in the file


def _templates_of(analyzer: Any) -> _Templates:
    locations = analyzer.get_channel_locations()
    assignment = analyzer.get_extension("template_assignment")
    if assignment is not None:
        sparse = assignment.info["sparse"]
        restricted = sparse or assignment.source == IDENTITY
        return _Templates(
            as_array(assignment.data["template_amplitudes"]),
            as_array(assignment.data["template_support"]) if restricted else None,
            sparse,
            most_frequent_templates(assignment.get_template_counts()).template_ids,
            # in the precision of the file: which of equally near channels come first hangs on it
            as_array(assignment.data.get("channel_positions", locations)),
            as_array(assignment.data["template_channels"]) if sparse else None,
        )
    refuse_if_lost(analyzer)
    extension = analyzer.get_extension("templates")
    if extension is None:
        raise MissingDataError(
            "template_best_channels needs the extension 'templates' or 'template_assignment'; "
            "compute it first (analyzer.compute(['random_spikes', 'templates']))"
        )
    templates = np.nan_to_num(as_array(extension.get_data(operator="average")))
    support = signal_channels(templates)
    if analyzer.sparsity is not None:
        support &= analyzer.sparsity.mask
    units = np.arange(len(templates))
    return _Templates(peak_to_peak(templates) * support, support, False, units, locations)


register_extension(TemplateBestChannels)
compute_template_best_channels = TemplateBestChannels.function_factory()
