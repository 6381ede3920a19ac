"""The sorter's principal-component features in the form of SpikeInterface's."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from si_curation.errors import MissingDataError
from si_curation.kernels.feature_projections import gather_features
from si_curation.kernels.parallel import blocks, run_blocks
from si_curation.kernels.spikes_by_unit import spikes_by_unit
from si_curation.kernels.template_counts import most_frequent_templates
from si_curation.phy.folder import PhyFolder
from si_curation.reading.features import (
    FeatureRows,
    SorterFeatures,
    feature_channels_of,
    open_window,
)
from si_curation.variables import FileRows, TemplateIds

logger = logging.getLogger(__name__)

MAX_COMPONENTS_BYTES = 128_000_000
COMPONENTS_PARAMS = {"mode": "by_channel_local", "whiten": False, "dtype": "float32"}
_SPIKES_PER_BLOCK = 1 << 15


def feature_mask(
    features: SorterFeatures | None,
    counts: sparse.csr_array,
    main_channels: NDArray[np.integer],
    num_channels: int,
) -> NDArray[np.bool_]:
    """Return the channels with features of the most frequent template of each unit.

    Not for all its templates: on channels on which a few of its spikes only have features the
    others would be 0, and SpikeInterface's covariances singular.

    Parameters
    ----------
    features : SorterFeatures or None
        By template.
    counts : CSR array (n_units, n_templates)
    main_channels : array (n_units,) integer
        Channels that are in the mask in any case.
    num_channels : int

    Returns
    -------
    array (n_units, n_channels) bool
    """
    stored = np.zeros((counts.shape[1] + 1, num_channels + 1), dtype=bool)  # the last ones for -1
    if features is not None:
        stored[np.arange(counts.shape[1])[:, None], features.channels] = True
    mask = stored[most_frequent_templates(counts).template_ids, :-1]
    mask[np.arange(len(mask)), main_channels] = True
    return mask


def features_of_folder(
    folder: PhyFolder, rows: FileRows, template_ids: TemplateIds
) -> SorterFeatures | None:
    """Return where the features of some spikes are, on the channels that the file lists.

    Parameters
    ----------
    folder : PhyFolder
    rows, template_ids : array (n_spikes,) integer
        Row in the files and template of each spike.

    Returns
    -------
    SorterFeatures or None
        None: the folder has none.
    """
    if folder.pc_features is None:
        return None
    channels = feature_channels_of(
        folder.pc_features, folder.pc_feature_channels, folder.num_templates
    )
    where = FeatureRows(rows, folder.pc_feature_rows)
    return SorterFeatures(folder.pc_features, where, template_ids, channels, "file")


def wants_components(
    features: SorterFeatures | None, asked: bool | None, num_spikes: int, mask: NDArray[np.bool_]
) -> bool:
    """Return whether principal components will be read.

    Parameters
    ----------
    features : SorterFeatures or None
    asked : bool or None
        None: where there are features and they take at most `MAX_COMPONENTS_BYTES`.
    num_spikes : int
    mask : array (n_units, n_channels) bool

    Raises
    ------
    MissingDataError
        They were asked for, and the folder has no features.
    """
    if features is None:
        if asked:
            raise MissingDataError("the folder has no pc_features.npy for principal_components")
        return False
    if asked is not None:
        return bool(asked)
    num_bytes = 4 * num_spikes * features.values.shape[1] * int(mask.sum(axis=1).max(initial=0))
    if num_bytes > MAX_COMPONENTS_BYTES:
        logger.info(
            "principal_components would take %.0f MB and are left out; read with "
            "principal_components=True, or a smaller max_spikes_per_unit",
            num_bytes / 1e6,
        )
    return num_bytes <= MAX_COMPONENTS_BYTES


class SorterComponents(NamedTuple):
    """Principal components and the channels that they are on.

    Attributes
    ----------
    values : array (n, n_pcs, largest number of channels of a unit) float32
        Ascending channels of the spike's unit, zero padded; 0 on channels on which the sorter
        stored nothing for the spike's template, NaN for spikes that the file does not hold.
    mask : array (n_units, n_channels) bool
        The sparsity.
    """

    values: NDArray[np.float32]
    mask: NDArray[np.bool_]


def sorter_components(
    features: SorterFeatures,
    chosen: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    mask: NDArray[np.bool_],
    main_channels: NDArray[np.integer],
) -> SorterComponents:
    """Put the features of some spikes on the channels of their units.

    Parameters
    ----------
    features : SorterFeatures
        Of all spikes.
    chosen : array (n,) integer
        Which spikes.
    unit_index : array (n,) integer
        Their units.
    mask : array (n_units, n_channels) bool
        Of `feature_mask`. Channels on which less than half of these spikes of a unit have values
        are taken out of it: Kilosort 4 leaves columns empty for spikes of other detection
        templates, and a column of few values makes covariances singular.
    main_channels : array (n_units,) integer
        Stay in the mask.

    Returns
    -------
    SorterComponents
    """
    values = components_on_channels(features, chosen, unit_index, mask)
    filled = np.zeros_like(mask)
    filled[np.arange(len(mask)), main_channels] = True
    for unit, spikes in enumerate(spikes_by_unit(unit_index, len(mask))):
        channels = np.flatnonzero(mask[unit])
        has_values = (values[spikes][:, :, : channels.size] != 0).any(axis=1)
        filled[unit, channels] |= 2 * has_values.sum(axis=0) >= spikes.size
    if np.array_equal(filled, mask):
        return SorterComponents(values, mask)
    return SorterComponents(components_on_channels(features, chosen, unit_index, filled), filled)


def components_on_channels(
    features: SorterFeatures,
    chosen: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    mask: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Return the features of some spikes on the channels of their unit in a mask.

    Parameters
    ----------
    features, chosen, unit_index
        As of `sorter_components`.
    mask : array (n_units, n_channels) bool

    Returns
    -------
    array (n, n_pcs, largest number of channels of a unit) float32
        As of `SorterComponents`.
    """
    places = np.where(mask, np.cumsum(mask, axis=1) - 1, -1)
    num_pcs = features.values.shape[1]
    out = np.zeros((chosen.size, num_pcs, int(mask.sum(axis=1).max(initial=0))), dtype=np.float32)

    def fill(piece: slice) -> None:
        spikes = chosen[piece]
        window, found = open_window(features.values, features.rows.rows_of_spikes(spikes))
        groups, units = features.groups[spikes], unit_index[piece].astype(np.int64)
        gather_features(window, found, groups, features.channels, places, units, out[piece])

    run_blocks(fill, blocks(chosen.size, _SPIKES_PER_BLOCK))
    return out
