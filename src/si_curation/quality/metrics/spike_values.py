"""Amplitude and position of every spike, from the extension or file that has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array
from si_curation.errors import FolderNotFoundError, MissingDataError, PhyFolderError
from si_curation.kernels.parallel import blocks, run_blocks
from si_curation.kernels.spike_depths import depths_of_features
from si_curation.reading.features import open_window
from si_curation.reading.probe import locations_extension
from si_curation.variables import Explanation

_SPIKES_PER_BLOCK = 1 << 16


class SpikeValues(NamedTuple):
    """A value of every spike, aligned with ``spike_vector_of(sorting)``; NaN where there is none.

    Attributes
    ----------
    values : array (n_spikes,) floating
    source : str
    """

    values: NDArray[np.floating]
    source: str


def amplitudes_of(
    analyzer: SortingAnalyzer, extensions: Sequence[str]
) -> SpikeValues | Explanation:
    """Return the amplitudes of the first extension that there is, or why there are none."""
    for name in extensions:
        extension = analyzer.get_extension(name)
        if extension is not None:
            return SpikeValues(as_array(extension.get_data(copy=False)), name)
    return Explanation("no_amplitudes", names=" or ".join(extensions))


def positions_of(analyzer: SortingAnalyzer, direction: str) -> SpikeValues | Explanation:
    """Return the position of every spike along a direction, in µm, or why there is none.

    From the extension `spike_locations`; without it, the depth that phy computes from the principal
    components in the folder that the analyzer was read from.
    """
    extension = locations_extension(analyzer, "spike_locations")
    if extension is not None:
        locations = as_array(extension.get_data(copy=False))
        if direction not in (locations.dtype.names or ()):
            return Explanation("no_direction", direction=direction)
        return SpikeValues(np.ascontiguousarray(locations[direction]), "spike_locations")
    if direction != "y":
        return Explanation("only_depth")
    try:
        return SpikeValues(depths_from_features(analyzer), "pc_features.npy")
    except (MissingDataError, FolderNotFoundError, PhyFolderError) as fault:
        return Explanation("no_positions", error=str(fault))


def depths_from_features(sorting_analyzer: SortingAnalyzer) -> NDArray[np.float32]:
    """Depth of every spike as phy computes it from the sorter's principal components.

    The mean depth of the channels on which the spike's template has features, weighted by the
    square of the first component where that is positive.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Read with `read_kilosort_as_analyzer`.

    Returns
    -------
    array (n_spikes,) float32
        In µm, aligned with ``spike_vector_of(sorting)``; NaN where the file does not hold the
        spike, or no first component is positive.

    Raises
    ------
    MissingDataError
        The analyzer was not read from a folder, or that has no ``pc_features.npy``.
    FolderNotFoundError, PhyFolderError
        The folder is gone, or is not what it was.

    Notes
    -----
    Source: phylib 2.7.1, ``TemplateModel.get_depths``.
    """
    assignment = sorting_analyzer.get_extension("template_assignment")
    if assignment is None or not assignment.is_from_folder:
        raise MissingDataError("this analyzer was not read from a Kilosort folder")
    spikes = assignment.get_spikes_of_folder()
    files = assignment.get_feature_files()
    features = files.features_of_spikes(spikes, "file")
    files.check(spikes.rows, spikes.template_ids)
    depths = np.full(spikes.num_channels, np.nan)
    positions = assignment.get_channel_positions()
    channels = assignment.get_folder_channels()
    depths[channels[channels >= 0]] = positions[channels >= 0, 1]
    out = np.empty(spikes.rows.size, dtype=np.float32)

    def fill(piece: slice) -> None:
        window, rows = open_window(features.values, features.rows.rows_of_spikes(piece))
        depths_of_features(
            np.asarray(window), rows, features.groups[piece], features.channels, depths, out[piece]
        )

    run_blocks(fill, blocks(spikes.rows.size, _SPIKES_PER_BLOCK))
    return out
