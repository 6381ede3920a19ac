"""Extension `template_best_channels`: the channels of each unit, ranked as phy ranks them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import spikeinterface.metrics
import spikeinterface.postprocessing  # noqa: F401  (before registering; see _spikeinterface.py)
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer
from spikeinterface.core.core_tools import slice_rows

from si_curation._spikeinterface import as_array, extension_function, register_extension
from si_curation.checks import Checks, check_arguments, unit_index_of
from si_curation.errors import MissingDataError
from si_curation.extensions.changes import UnitChange, UnitsExtension
from si_curation.extensions.template_assignment import (
    IDENTITY,
    TemplateAssignment,
    TemplatesOfFolder,
    assignment_of_named_folder,
    check_templates,
)
from si_curation.kernels.channels import neighbourhood, rank_channels
from si_curation.kernels.template_counts import most_frequent_templates
from si_curation.kernels.templates import peak_to_peak, signal_channels
from si_curation.reading.probe import planar_locations, shanks_of
from si_curation.variables import ChannelIndices, TemplateIds

PHY_NUM_CHANNELS = 12

Source = Literal["auto", "sorter", "analyzer"]
SOURCES = ("auto", "sorter", "analyzer")


class TemplateBestChannels(UnitsExtension):
    """Channels of each unit, ranked by decreasing peak-to-peak amplitude, as in phy.

    Of one template for each unit: the channels nearest to the channel of largest amplitude, those
    on its shank, those above the threshold, by decreasing amplitude.

    An analyzer that has a Kilosort folder behind it has two kinds of templates: the sorter's, of
    which each unit has a most frequent one, as phy shows (`template_assignment`), and the means of
    the recording at the spikes of each unit (SpikeInterface's extension "templates"). `source` says
    which are ranked; `compare_templates` compares the two.

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
    source : {"auto", "sorter", "analyzer"}, default: "auto"
        "sorter": the sorter's most frequent template of each unit, as phy shows. "analyzer": the
        unit's entry in the extension "templates". "auto": the sorter's where the analyzer has them,
        else the analyzer's.

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
        The analyzer has neither "templates" nor "template_assignment", or not those of `source`.
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
    outputs = ("ids", "indices", "dataframe")
    depend_on: list[str] = []  # "templates" or "template_assignment", which is checked here
    need_recording = False
    use_nodepipeline = False
    need_job_kwargs = False

    @classmethod
    def get_optional_dependencies(cls, **params: Any) -> list[str]:
        """Come after the templates where several extensions are computed, or units change."""
        return ["templates", "template_assignment"]

    def _set_params(
        self,
        num_channels: int = PHY_NUM_CHANNELS,
        amplitude_threshold: float = 0.0,
        same_shank: bool = True,
        source: Source = "auto",
    ) -> dict[str, Any]:
        checks = Checks.of_call(TemplateBestChannels._set_params, locals())
        params = {
            "num_channels": checks.whole_number("num_channels", num_channels, at_least=1),
            "amplitude_threshold": checks.number(
                "amplitude_threshold", amplitude_threshold, at_least=0, at_most=1
            ),
            "same_shank": checks.boolean("same_shank", same_shank),
            "source": checks.choice("source", source, SOURCES),
        }
        checks.finish()
        # now: computing it later deletes the folder of this extension, which depends on it
        assignment_of_named_folder(self.sorting_analyzer)
        check_templates(self.sorting_analyzer, self.extension_name)
        return params

    def _run(self, verbose: bool = False) -> None:
        self.data = self._rank(self.sorting_analyzer)

    def _rank(self, analyzer: SortingAnalyzer) -> dict[str, Any]:
        ranking = phy_best_channels(analyzer, **self.params)
        return {
            "channel_indices": ranking.by_unit.astype(np.int32),
            "amplitudes": ranking.unit_amplitudes,
        }

    def data_after(self, change: UnitChange) -> dict[str, Any]:
        """Rank the new units; units that did not change keep their rows."""
        if change.is_new.any():
            # the table is as wide as the templates need: ranking all of them is as cheap
            return self._rank(change.after)
        return {name: slice_rows(of, change.same_before) for name, of in self.data.items()}

    @property
    def source(self) -> Literal["sorter", "analyzer"]:
        """Whose templates were ranked: the sorter's, or the extension "templates"."""
        return resolve_source(self.sorting_analyzer, self.params.get("source", "auto"))

    def get_channel_indices(self) -> NDArray[np.int32]:
        """Channel indices of each unit (n_units, longest), best first, -1 padded."""
        return as_array(self.data["channel_indices"])

    def get_amplitudes(self) -> NDArray[np.floating]:
        """Amplitude on each channel of `get_channel_indices`; NaN where it is padded."""
        return as_array(self.data["amplitudes"])

    def _get_data(self, outputs: Literal["ids", "indices", "dataframe"] = "ids") -> Any:
        self.check_outputs(outputs)
        if outputs == "dataframe":
            return self._table()
        analyzer = self.sorting_analyzer
        channel_ids = analyzer.channel_ids
        return {
            unit_id: row[row >= 0].astype(np.int64)
            if outputs == "indices"
            else channel_ids[row[row >= 0]]
            for unit_id, row in zip(analyzer.unit_ids, self.get_channel_indices(), strict=True)
        }

    def _table(self) -> pd.DataFrame:
        analyzer = self.sorting_analyzer
        channels = self.get_channel_indices()
        unit_index, rank = np.nonzero(channels >= 0)
        index = channels[unit_index, rank].astype(np.int64)
        positions = planar_locations(analyzer)[index]
        return pd.DataFrame(
            {
                "unit_id": analyzer.unit_ids[unit_index],
                "rank": rank,
                "channel_id": analyzer.channel_ids[index],
                "channel_index": index,
                "amplitude": self.get_amplitudes()[unit_index, rank],
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
        check_arguments(TemplateBestChannels.get_best_channels, locals())
        analyzer = self.sorting_analyzer
        row = self.get_channel_indices()[unit_index_of(analyzer, unit_id)]
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
        check_arguments(TemplateBestChannels.get_best_channel, locals())
        channels = self.get_best_channels(unit_id)
        if channels.size == 0:
            raise MissingDataError(f"unit {unit_id!r} has no template with signal")
        return channels[0]


class ChannelRanking(NamedTuple):
    """Channels of templates and units, best first.

    Attributes
    ----------
    by_template : array (n_templates, longest) int64
        Channel indices, best first, -1 padded.
    amplitudes : array (n_templates, n_channels)
        Peak-to-peak amplitude of each template on each channel.
    template_of_unit : array (n_units,) int64
        Most frequent template of each unit; -1 for a unit without spikes.
    """

    by_template: NDArray[np.int64]
    amplitudes: NDArray[np.floating]
    template_of_unit: TemplateIds

    @property
    def by_unit(self) -> NDArray[np.int64]:
        """Channel indices of each unit (n_units, longest), best first, -1 padded."""
        none = np.full((1, self.by_template.shape[1]), -1, dtype=np.int64)
        return np.concatenate([self.by_template, none])[self.template_of_unit]

    @property
    def unit_amplitudes(self) -> NDArray[np.floating]:
        """Amplitude of each unit on the channels of `by_unit`; NaN where it is padded."""
        channels = self.by_unit
        none = np.zeros((1, self.amplitudes.shape[1]), self.amplitudes.dtype)
        of_unit = np.concatenate([self.amplitudes, none])[self.template_of_unit]
        values = np.take_along_axis(of_unit, np.maximum(channels, 0), axis=1)
        return np.where(channels >= 0, values, np.nan)

    def of_template(self, template_id: int) -> ChannelIndices:
        """Return the channels of a template, best first; none for template -1."""
        row = self.by_template[template_id] if template_id >= 0 else self.by_template[:0].ravel()
        return ChannelIndices(row[row >= 0])

    def of_unit(self, unit_index: int) -> ChannelIndices:
        """Return the channels of a unit, best first; none for a unit without spikes."""
        return self.of_template(int(self.template_of_unit[unit_index]))


def phy_best_channels(
    analyzer: SortingAnalyzer,
    num_channels: int = PHY_NUM_CHANNELS,
    amplitude_threshold: float = 0.0,
    same_shank: bool = True,
    source: Source = "auto",
) -> ChannelRanking:
    """Rank the channels of every template of an analyzer as phy does.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    num_channels, amplitude_threshold, same_shank, source
        As of the extension; phy's by default. With the analyzer's templates, those of the units
        are the templates.

    Returns
    -------
    ChannelRanking

    Raises
    ------
    MissingDataError
        The analyzer has neither "templates" nor "template_assignment", or not those of `source`.
    """
    found, shanks = _templates_of(analyzer, source), shanks_of(analyzer)
    ranks = [
        _rank_on_columns(one, shanks, num_channels, amplitude_threshold, same_shank)
        for one in found.by_folder()
    ]
    width = max(one.shape[1] for one in ranks)
    ranked = np.concatenate(
        [np.pad(one, ((0, 0), (0, width - one.shape[1])), constant_values=-1) for one in ranks]
    )
    return ChannelRanking(ranked, found.amplitudes, TemplateIds(found.template_of_unit))


def _rank_on_columns(
    found: _Templates,
    shanks: NDArray,
    num_channels: int,
    amplitude_threshold: float,
    same_shank: bool,
) -> NDArray[np.int64]:
    columns = found.columns
    if columns is None:
        return _rank(found, shanks, num_channels, amplitude_threshold, same_shank)
    on_columns = found.on_columns(columns)
    ranked = _rank(on_columns, shanks[columns], num_channels, amplitude_threshold, same_shank)
    return np.append(columns, -1)[ranked]


def _rank(
    found: _Templates,
    shanks: NDArray,
    num_channels: int,
    amplitude_threshold: float,
    same_shank: bool,
) -> NDArray[np.int64]:
    if found.channels_are_the_sorters and found.support is not None:
        candidates = found.support
    else:
        candidates = neighbourhood(
            found.amplitudes, found.positions, shanks, num_channels, same_shank
        )
        if found.support is not None:
            candidates &= found.support
    order = found.channel_order
    ranked = rank_channels(found.amplitudes, candidates, amplitude_threshold, order)
    if found.channels_are_the_sorters and num_channels < PHY_NUM_CHANNELS:
        ranked = ranked[:, :num_channels]
    return ranked


class _Templates(NamedTuple):
    amplitudes: NDArray  # (n_templates, n_channels)
    support: NDArray | None  # (n_templates, n_channels) bool; None: all channels
    channels_are_the_sorters: bool  # sparse templates of a sorter
    template_of_unit: NDArray  # (n_units,), -1 for none
    positions: NDArray  # (n_channels, 2)
    channel_order: NDArray | None = None  # (n_templates, n_loc): of sparse templates in the file
    columns: NDArray | None = None  # the channels of the folder in its order; None: as they are
    parts: Sequence[TemplatesOfFolder] = ()  # where the templates are of several folders

    def by_folder(self) -> list[_Templates]:
        """Return the templates of each folder, on its channels."""
        return [self] if not self.parts else [self._of(part) for part in self.parts]

    def _of(self, part: TemplatesOfFolder) -> _Templates:
        ids = part.template_ids
        return self._replace(
            amplitudes=self.amplitudes[ids],
            support=None if self.support is None else self.support[ids],
            positions=part.positions,
            channel_order=None if self.channel_order is None else self.channel_order[ids],
            columns=_in_order_of_folder(part.channels),
            parts=(),
        )

    def on_columns(self, columns: NDArray) -> _Templates:
        """Return the same on some channels in another order."""
        table = np.full(self.positions.shape[0] + 1, -1, dtype=np.int64)  # the last one is for -1
        table[columns] = np.arange(columns.size)
        return self._replace(
            amplitudes=self.amplitudes[:, columns],
            support=None if self.support is None else self.support[:, columns],
            positions=self.positions[columns],
            channel_order=None if self.channel_order is None else table[self.channel_order],
        )


def _columns_of_folder(assignment: TemplateAssignment) -> NDArray | None:
    """Return the channels in the order of the folder, which the order of equal ones hangs on."""
    if not assignment.is_from_folder:
        return None
    return _in_order_of_folder(assignment.get_folder_channels())


def _in_order_of_folder(channels: NDArray[np.integer]) -> NDArray | None:
    columns = np.argsort(channels, kind="stable")
    columns = columns[channels[columns] >= 0]
    return None if np.array_equal(columns, np.arange(channels.size)) else columns


def resolve_source(analyzer: SortingAnalyzer, source: Source) -> Literal["sorter", "analyzer"]:
    """Return whose templates `source` means on an analyzer.

    Raises
    ------
    MissingDataError
        The sorter's are asked for, and no Kilosort folder is known.
    """
    if source == "analyzer":
        return "analyzer"
    assignment = assignment_of_named_folder(analyzer)
    if assignment is not None and assignment.is_from_sorter:
        own = source == "auto" and analyzer.has_extension("templates")
        if assignment.has_templates or not own:
            assignment.refuse_without_templates()
            return "sorter"
        return "analyzer"
    if source == "sorter":
        raise MissingDataError(
            "source='sorter' needs the sorter's templates, and no Kilosort folder of this analyzer "
            "is known; attach one with attach_kilosort_folder(analyzer, folder), or ask for "
            "source='analyzer'"
        )
    return "analyzer"


def _templates_of(analyzer: SortingAnalyzer, source: Source) -> _Templates:
    locations = planar_locations(analyzer)
    from_sorter = resolve_source(analyzer, source) == "sorter"
    assignment = analyzer.get_extension("template_assignment")
    # on an analyzer of another sorter the templates are those of the units when first asked for
    if assignment is not None and assignment.has_templates and (from_sorter or source == "auto"):
        sparse = assignment.info["sparse"]
        restricted = sparse or assignment.source == IDENTITY
        return _Templates(
            assignment.get_template_amplitudes(),
            assignment.get_template_support() if restricted else None,
            sparse,
            most_frequent_templates(assignment.get_template_counts()).template_ids,
            # in the precision of the file: which of equally near channels come first hangs on it
            assignment.get_channel_positions(),
            assignment.get_template_channels(),
            _columns_of_folder(assignment),
            assignment.get_parts(),
        )
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
compute_template_best_channels = extension_function(TemplateBestChannels)
