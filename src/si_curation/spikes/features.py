"""`get_spike_features`: the principal components of any spikes, on any channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from spikeinterface.core import SortingAnalyzer
from spikeinterface.core.core_tools import slice_rows

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import Checks
from si_curation.errors import MissingDataError
from si_curation.extensions.template_assignment import (
    TemplateAssignment,
    assignment_of_named_folder,
)
from si_curation.kernels.feature_projections import gather_on_channels
from si_curation.kernels.parallel import blocks, run_blocks
from si_curation.reading.features import (
    FeatureChannels,
    FeatureFiles,
    SorterFeatures,
    open_window,
    read_rows,
)
from si_curation.variables import FileRows, TemplateIds

_SPIKES_PER_BLOCK = 1 << 12
COMPONENTS: Final = "principal_components"


@dataclass(frozen=True, eq=False)
class FeatureSource:
    """Where the principal components of the spikes of an analyzer are.

    Attributes
    ----------
    name : {"pc_features", "principal_components"}
        The sorter's file, or SpikeInterface's extension.
    assignment : TemplateAssignment or None
        For the file.
    extension : AnalyzerExtension or None
        For the extension.
    """

    name: Literal["pc_features", "principal_components"]
    assignment: TemplateAssignment | None
    extension: Any

    @property
    def is_by_channel(self) -> bool:
        """Whether there are components of each channel, and not of all channels together."""
        return self.extension is None or len(self.extension.get_data().shape) == 3

    def held(self, analyzer: SortingAnalyzer, spikes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some spikes that can have components: the extension has random ones."""
        if self.extension is None:
            return spikes
        chosen = np.asarray(analyzer.get_extension("random_spikes").get_data())
        return spikes[np.isin(spikes, chosen)]

    def together(self, analyzer: SortingAnalyzer, spikes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return components of all channels together (n, n_pcs); NaN for spikes without."""
        places, there = _places(analyzer, spikes)
        data = self.extension.get_data()
        out = np.full((spikes.size, *data.shape[1:]), np.nan, dtype=np.float32)
        out[there] = slice_rows(data, places[there])
        return out


class StoredFeatures(NamedTuple):
    """Components of some spikes as they are stored: on a few channels, which differ by spike.

    Attributes
    ----------
    values : array (n, n_pcs, n_local) float32
        NaN where nothing is stored for a spike.
    groups : array (n,) integer
        Spikes of one group are stored on the same channels.
    channels : array (n_groups, n_local) int64
        Channel index (of the analyzer) of each column; -1 for none.
    """

    values: NDArray[np.float32]
    groups: NDArray[np.integer]
    channels: NDArray[np.int64]

    def on_channels(
        self, chosen: NDArray[np.integer], channels: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """Return components of some of the spikes on channels that all of these are stored on.

        Returns
        -------
        array (n_chosen, n_channels, n_pcs) float32
        """
        groups, rows = np.unique(self.groups[chosen], return_inverse=True)
        columns = np.stack(
            [np.argmax(self.channels[groups] == channel, axis=1) for channel in channels], axis=1
        )
        return self.values[chosen[:, None], :, columns[rows]]

    def on_any_channels(
        self, chosen: NDArray[np.int64], channels: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """Return components of some of the spikes on channels, as `get_spike_features` does.

        Returns
        -------
        array (n_chosen, n_channels, n_pcs) float32
            0 on channels that are not stored for a spike.
        """
        size = max(int(self.channels.max(initial=-1)), int(channels.max(initial=-1))) + 1
        places = np.full(size, -1, dtype=np.int64)
        places[channels] = np.arange(channels.size)
        out = np.empty((chosen.size, channels.size, self.values.shape[1]), dtype=np.float32)
        groups = self.groups[chosen]
        gather_on_channels(self.values, chosen, groups, self.channels, places, out)
        return out


def read_stored_features(
    analyzer: SortingAnalyzer, source: FeatureSource, spikes: NDArray[np.int64]
) -> StoredFeatures:
    """Read the components of some spikes on the channels that they are stored on.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    source : FeatureSource
        Of the analyzer, by channel.
    spikes : array (n,) int64
        Best ascending: the file is then read from its beginning to its end.

    Raises
    ------
    FolderNotFoundError, PhyFolderError
        The folder is gone, or is not what it was.
    """
    if source.assignment is None:
        values = source.together(analyzer, spikes)
        groups = spike_vector_of(analyzer.sorting)["unit_index"][spikes]
        sparsity, num_units = analyzer.sparsity, len(analyzer.unit_ids)
        if sparsity is None:
            everywhere = np.arange(analyzer.get_num_channels())
            return StoredFeatures(values, groups, np.tile(everywhere, (num_units, 1)))
        channels = np.full((num_units, values.shape[2]), -1, dtype=np.int64)
        for row, mask in zip(channels, sparsity.mask, strict=True):
            own = np.flatnonzero(mask)
            row[: own.size] = own
        return StoredFeatures(values, groups, channels)
    of_folder = source.assignment.get_spikes_of_folder().select(spikes)
    files = source.assignment.get_feature_files()
    files.check(of_folder.rows, of_folder.template_ids)
    features = files.features_of_spikes(of_folder, "repaired")
    place = np.full(of_folder.num_channels + 1, -1, dtype=np.int64)
    folder_channels = source.assignment.get_folder_channels()
    there = np.flatnonzero(folder_channels >= 0)
    place[folder_channels[there]] = there
    rows = features.rows.rows_of_spikes(slice(None))
    known = np.flatnonzero(rows >= 0)
    values = read_rows(features.values, rows[known]).astype(np.float32, copy=False)
    if known.size < rows.size:
        read = values
        values = np.full((rows.size, *features.values.shape[1:]), np.nan, dtype=np.float32)
        values[known] = read
    return StoredFeatures(values, features.groups, place[features.channels])


def feature_source(sorting_analyzer: SortingAnalyzer) -> FeatureSource:
    """Return where the principal components of spikes are: in the folder, else SpikeInterface's.

    Raises
    ------
    MissingDataError
        There are none.
    FolderNotFoundError, PhyFolderError
        The folder is gone, or is not what it was.
    """
    return _source_and_files(sorting_analyzer)[0]


def _source_and_files(
    sorting_analyzer: SortingAnalyzer, feature_channels: FeatureChannels | None = None
) -> tuple[FeatureSource, FeatureFiles | None]:
    """Return where the components are, and the files of the folder as they are now."""
    assignment = assignment_of_named_folder(sorting_analyzer)
    fault: MissingDataError | None = None
    if assignment is not None and assignment.is_from_folder:
        try:
            files = assignment.get_feature_files(feature_channels)
            _ = files.components
            return FeatureSource("pc_features", assignment, None), files
        except MissingDataError as found:
            fault = found
    extension = sorting_analyzer.get_extension(COMPONENTS)
    if extension is not None and sorting_analyzer.has_extension("random_spikes"):
        return FeatureSource(COMPONENTS, None, extension), None
    if fault is not None:
        raise fault
    raise MissingDataError(
        "this analyzer was not read from a Kilosort folder, and only those have pc_features; "
        "those of SpikeInterface (its extension 'principal_components') are computed from a "
        "recording by prepare_for_phy(analyzer), which deletes no other extension"
    )


def get_spike_features(
    sorting_analyzer: SortingAnalyzer,
    spike_indices: ArrayLike,
    channel_indices: ArrayLike,
    feature_channels: FeatureChannels = "file",
) -> NDArray[np.float32]:
    """Return the principal-component features of some spikes on some channels, as phy shows them.

    They are read from the sorter's ``pc_features.npy``, which stays on disk. A spike's features are
    stored on the channels of its template, so that merged and split units need nothing special.
    Without such a file they are those of SpikeInterface's extension "principal_components", by
    channel, which has them of the spikes of "random_spikes".

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Of a Kilosort folder, curated since or not; or with "principal_components".
    spike_indices : array (n,) integer
        Positions in ``spike_vector_of(sorting)``.
    channel_indices : array (m,) integer
        Indices (not ids) of channels of the analyzer, each at most once.
    feature_channels : {"file", "repaired"}
        "file": on the channels that ``pc_feature_ind.npy`` lists, as phy. "repaired": where
        Kilosort 4 listed the wrong ones, on those that the features were taken on (see
        `template_features`). Of the sorter's file only.

    Returns
    -------
    array (n, m, n_pcs) float32
        0 on channels on which nothing is stored for the spike's template. Where the file holds only
        some of the spikes (``pc_feature_spike_ids.npy``), NaN for the others on the channels of
        their template. With "principal_components": 0 on channels that are not of the spike's unit,
        and NaN for spikes that are not of "random_spikes".

    Raises
    ------
    MissingDataError
        There is neither ``pc_features.npy`` nor the extension "principal_components", or that is
        not by channel (``mode="concatenated"``).
    FolderNotFoundError, PhyFolderError
        The folder is gone, or is not what it was.
    ParameterError
        An index is out of range, or a channel is repeated.

    Notes
    -----
    Source: phylib 2.7.1, ``TemplateModel.get_features``, which returns the same as float64. In the
    units of the sorter.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> sic.get_spike_features(analyzer, [0, 1, 2], [20, 21]).shape
    (3, 2, 6)
    """
    checks = Checks.of_call(get_spike_features, locals())
    checks.stop_without("sorting_analyzer")
    num_spikes = spike_vector_of(sorting_analyzer.sorting).size
    num_channels = sorting_analyzer.get_num_channels()
    spikes_asked = checks.indices("spike_indices", spike_indices, num_spikes)
    channels = checks.indices("channel_indices", channel_indices, num_channels)
    if "channel_indices" not in checks.wrong_kinds:
        checks.require(
            len(set(channels.tolist())) == channels.size,
            "channel_indices has a channel more than once",
        )
    checks.finish()
    source, files = _source_and_files(sorting_analyzer, feature_channels)
    if source.assignment is None or files is None:
        return _read_extension(sorting_analyzer, source, spikes_asked, channels)
    rows = FileRows(source.assignment.get_spike_rows().take(spikes_asked))
    template_ids = TemplateIds(source.assignment.get_spike_template_ids().take(spikes_asked))
    files.check(rows, template_ids)
    features = files.features_of_rows(rows, template_ids, feature_channels)
    folder_channels = source.assignment.get_folder_channels()[channels]
    return _read(features, folder_channels, files.num_channels)


def _places(
    analyzer: SortingAnalyzer, spikes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the row of each spike in what is of random spikes, and whether there is one."""
    chosen = np.asarray(analyzer.get_extension("random_spikes").get_data(), dtype=np.int64)
    order = np.argsort(chosen, kind="stable")
    places = np.searchsorted(chosen, spikes, sorter=order)
    places = np.append(order, 0)[places]
    return places, np.append(chosen, -1)[places] == spikes


def _read_extension(
    analyzer: SortingAnalyzer,
    source: FeatureSource,
    asked: NDArray[np.int64],
    channels: NDArray[np.int64],
) -> NDArray[np.float32]:
    if not source.is_by_channel:
        raise MissingDataError(
            "the extension 'principal_components' is of all channels together "
            "(mode='concatenated'), and has nothing of single channels; compute it with "
            "mode='by_channel_local' or 'by_channel_global'"
        )
    values = source.together(analyzer, asked)  # (n, n_pcs, n_local)
    if analyzer.sparsity is None:
        return np.ascontiguousarray(values[:, :, channels].transpose(0, 2, 1))
    out = np.zeros((asked.size, channels.size, values.shape[1]), dtype=np.float32)
    out[np.isnan(values).all(axis=(1, 2))] = np.nan
    units = spike_vector_of(analyzer.sorting)["unit_index"][asked]
    for unit in np.unique(units):
        mask = np.asarray(analyzer.sparsity.mask)[unit]
        its = np.flatnonzero(mask[channels])
        column = np.cumsum(mask)[channels[its]] - 1
        rows = np.flatnonzero(units == unit)
        out[np.ix_(rows, its)] = values[rows][:, :, column].transpose(0, 2, 1)
    return out


def _read(
    features: SorterFeatures, folder_channels: NDArray[np.integer], num_channels: int
) -> NDArray[np.float32]:
    """Read the features of spikes on channels of the folder (-1: none) into one array."""
    places = np.full(num_channels + 1, -1, dtype=np.int64)  # the last one is of those that are -1
    places[folder_channels] = np.arange(folder_channels.size)
    places = places[:-1]
    rows, groups = features.rows.rows_of_spikes(slice(None)), features.groups
    kept = features.kept_map_of(slice(None))
    shape = (rows.size, folder_channels.size, features.values.shape[1])
    out = np.empty(shape, dtype=np.float32)

    def fill(piece: slice) -> None:
        values, found = kept, rows[piece]
        if values is None:  # a map for each piece: its pages stay in memory until it is closed
            values, found = open_window(features.values, found)
        gather_on_channels(values, found, groups[piece], features.channels, places, out[piece])

    run_blocks(fill, blocks(rows.size, _SPIKES_PER_BLOCK))
    return out
