"""`get_spike_features`: the sorter's principal components of any spikes, on any channels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, check_arguments, indices_of
from si_curation.errors import MissingDataError, ParameterError
from si_curation.extensions.template_assignment import (
    TemplateAssignment,
    assignment_of_named_folder,
)
from si_curation.kernels.feature_projections import gather_features
from si_curation.kernels.parallel import blocks, run_blocks
from si_curation.reading.features import FeatureChannels

_SPIKES_PER_BLOCK = 1 << 15


def get_spike_features(
    sorting_analyzer: SortingAnalyzer,
    spike_indices: ArrayLike,
    channel_indices: ArrayLike,
    feature_channels: FeatureChannels = "file",
) -> NDArray[np.float32]:
    """Return the principal-component features of some spikes on some channels, as phy shows them.

    They are read from the sorter's ``pc_features.npy``, which stays on disk. A spike's features are
    stored on the channels of its template, so that merged and split units need nothing special.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Read with `read_kilosort_as_analyzer`, curated since or not.
    spike_indices : array (n,) integer
        Positions in ``spike_vector_of(sorting)``.
    channel_indices : array (m,) integer
        Indices (not ids) of channels of the analyzer, each at most once.
    feature_channels : {"file", "repaired"}
        "file": on the channels that ``pc_feature_ind.npy`` lists, as phy. "repaired": where
        Kilosort 4 listed the wrong ones, on those that the features were taken on (see
        `template_features`).

    Returns
    -------
    array (n, m, n_pcs) float32
        0 on channels on which nothing is stored for the spike's template. Where the file holds only
        some of the spikes (``pc_feature_spike_ids.npy``), NaN for the others on the channels of
        their template.

    Raises
    ------
    MissingDataError
        The folder has no ``pc_features.npy``, or the analyzer was not read from a folder.
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
    check_arguments(get_spike_features, locals())
    assignment = assignment_of_named_folder(sorting_analyzer)
    if assignment is None or not assignment.is_from_folder:
        raise MissingDataError(
            "this analyzer was not read from a Kilosort folder, and only those have pc_features; "
            "those of SpikeInterface (its extension 'principal_components') are computed from a "
            "recording by prepare_for_phy(analyzer), which deletes no other extension"
        )
    num_spikes = assignment.get_spike_template_ids().size
    spikes_asked = indices_of(spike_indices, num_spikes, "spike_indices")
    channels = indices_of(channel_indices, sorting_analyzer.get_num_channels(), "channel_indices")
    if np.unique(channels).size != channels.size:
        raise ParameterError("channel_indices has a channel more than once")
    checks = Checks()
    checks.choice("feature_channels", feature_channels, ("file", "repaired"))
    checks.finish()
    return _read(assignment, spikes_asked, channels, feature_channels)


def _read(
    assignment: TemplateAssignment,
    asked: NDArray[np.int64],
    channels: NDArray[np.int64],
    channels_from: FeatureChannels,
) -> NDArray[np.float32]:
    spikes = assignment.get_spikes_of_folder().select(asked)
    files = assignment.get_feature_files()
    files.check(spikes.rows, spikes.template_ids)
    features = files.features_of_spikes(spikes, channels_from)
    folder_channels = assignment.get_folder_channels()
    places = np.full((1, spikes.num_channels), -1, dtype=np.int64)
    in_folder = folder_channels[channels] >= 0
    places[0, folder_channels[channels[in_folder]]] = np.flatnonzero(in_folder)
    values = np.asarray(features.values)
    out = np.zeros((asked.size, channels.size, values.shape[1]), dtype=np.float32)

    def fill(piece: slice) -> None:
        rows = features.rows.rows_of_spikes(piece)
        one_list = np.zeros(rows.size, dtype=np.int64)
        groups = features.groups[piece]
        target = out[piece].transpose(0, 2, 1)
        gather_features(values, rows, groups, features.channels, places, one_list, target)

    run_blocks(fill, blocks(asked.size, _SPIKES_PER_BLOCK))
    return out
