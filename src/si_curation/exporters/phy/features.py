"""Principal components of SpikeInterface as phy's features, by spike template."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array, spike_vector_of
from si_curation.files import new_array_file, write_file
from si_curation.kernels.parallel import blocks

logger = logging.getLogger(__name__)


def padded_channels(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """List the channels of each row of a mask, ascending, filled up with -1.

    Parameters
    ----------
    mask : array (n, n_channels) bool

    Returns
    -------
    array (n, K) int64
        K is the largest number of channels, at least 1.

    Examples
    --------
    >>> padded_channels(np.array([[True, False, True], [False, True, False]]))
    array([[ 0,  2],
           [ 1, -1]])
    """
    count = mask.sum(axis=1)
    width = max(int(count.max(initial=1)), 1)
    first = np.argsort(~mask, axis=1, kind="stable")[:, :width]
    return np.where(np.arange(width) < count[:, None], first, -1).astype(np.int64)


def write_features(
    sorting_analyzer: SortingAnalyzer,
    folder: Path,
    spike_template_ids: NDArray[np.int32],
    num_templates: int,
) -> bool:
    """Write ``pc_features.npy`` and ``pc_feature_ind.npy`` of the spikes that have components.

    Where those are not all spikes, ``pc_feature_spike_ids.npy`` tells which.

    phy finds the channels of a spike's features by its template; SpikeInterface by its unit. The
    channels of a template are here those of all units that have spikes of it, so that every value
    has its place; where a unit has no value there is 0.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    folder : Path
    spike_template_ids : array (n_spikes,) int32
    num_templates : int

    Returns
    -------
    bool
        Whether they were written.
    """
    extension = sorting_analyzer.get_extension("principal_components")
    if extension is None:
        return False
    num_spikes = spike_template_ids.size
    random_spikes = sorting_analyzer.get_extension("random_spikes")
    if random_spikes is None:
        logger.info("pc_features.npy is left out: there is no extension 'random_spikes'")
        return False
    chosen = as_array(random_spikes.get_data())
    values = extension.get_data()
    if values.ndim != 3 or len(values) != chosen.size:
        logger.info("pc_features.npy is left out: 'principal_components' is not by channel")
        return False
    if chosen.size < 2:
        logger.info("pc_features.npy is left out: phylib cannot read it for less than two spikes")
        return False
    unit_index = spike_vector_of(sorting_analyzer.sorting)["unit_index"][chosen]
    mask = _unit_channels(sorting_analyzer)
    if mask.sum(axis=1).max(initial=0) > values.shape[2]:
        logger.info("pc_features.npy is left out: its channels are not those of the sparsity")
        return False
    num_components = max(values.shape[1], 2)  # phylib takes one component for one channel
    pair_of_spike = unit_index.astype(np.int64) * num_templates + spike_template_ids[chosen]
    of_template = np.zeros((max(num_templates, 2), mask.shape[1]), dtype=bool)
    for unit, template in zip(*divmod(np.unique(pair_of_spike), num_templates), strict=True):
        of_template[template] |= mask[unit]
    channels = padded_channels(of_template)
    shape = (chosen.size, num_components, channels.shape[1])
    with new_array_file(folder / "pc_features.npy", shape, np.float32) as out:
        for piece in blocks(chosen.size, 1 << 16):
            block, pairs = np.asarray(values[piece]), pair_of_spike[piece]
            found = np.zeros((len(block), *out.shape[1:]), dtype=np.float32)
            for pair in np.unique(pairs):
                unit, template = divmod(int(pair), num_templates)
                spikes = np.flatnonzero(pairs == pair)
                own = np.flatnonzero(mask[unit])
                columns = np.searchsorted(channels[template][channels[template] >= 0], own)
                found[np.ix_(spikes, np.arange(block.shape[1]), columns)] = block[
                    np.ix_(spikes, np.arange(block.shape[1]), np.arange(own.size))
                ]
            out[piece] = found
    write_file(folder / "pc_feature_ind.npy", channels)
    if chosen.size < num_spikes:
        write_file(folder / "pc_feature_spike_ids.npy", chosen.astype(np.int64))
    return True


def _unit_channels(analyzer: SortingAnalyzer) -> NDArray[np.bool_]:
    """Return the channels of each unit's components (n_units, n_channels)."""
    if analyzer.sparsity is not None:
        return analyzer.sparsity.mask
    return np.ones((len(analyzer.unit_ids), analyzer.get_num_channels()), dtype=bool)
