"""The sorter's principal components of an analyzer whose units change."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array
from si_curation.errors import SiCurationError
from si_curation.extensions.spikes_of_units import feature_files_of, spikes_of_folder
from si_curation.reading.components import (
    COMPONENTS_PARAMS,
    SorterComponents,
    feature_mask,
    sorter_components,
)
from si_curation.reading.features import SorterFeatures

logger = logging.getLogger(__name__)

NAME = "principal_components"


def _features_of(analyzer: SortingAnalyzer) -> SorterFeatures | None:
    """Give the features that the principal components of an analyzer were read from.

    Returns
    -------
    SorterFeatures or None
        None: it has none, they are not the sorter's, or the folder does not have them any more.
    """
    extension = analyzer.get_extension(NAME)
    assignment = analyzer.get_extension("template_assignment")
    if extension is None or assignment is None or analyzer.sparsity is None:
        return None
    is_sorters = all(extension.params.get(key) == value for key, value in COMPONENTS_PARAMS.items())
    channels = (
        as_array(assignment.data["folder_channels"]) if "spike_rows" in assignment.data else 0
    )
    all_channels = np.array_equal(channels, np.arange(analyzer.get_num_channels()))
    if not is_sorters or not all_channels:
        return None
    spikes = spikes_of_folder(assignment)
    try:
        files = feature_files_of(assignment)
        files.check(spikes.rows, spikes.template_ids)
        return files.features_of_spikes(spikes, "file")
    except SiCurationError as fault:
        logger.info("principal_components cannot be read again: %s", fault)
        return None


def components_of_units(
    analyzer: SortingAnalyzer,
    counts: sparse.csr_array,
    main_channels: NDArray[np.integer],
    unit_index: NDArray[np.integer],
) -> SorterComponents | None:
    """Read the components of the random spikes of an analyzer for other units.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    counts : CSR array (n_new_units, n_templates)
    main_channels : array (n_new_units,) integer
    unit_index : array (n_spikes,) integer
        New unit of each spike of the analyzer; -1: none.

    Returns
    -------
    SorterComponents or None
        Of the random spikes that have a unit. None: the components are not the sorter's, or cannot
        be read again.
    """
    features = _features_of(analyzer)
    random_spikes = analyzer.get_extension("random_spikes")
    if features is None or random_spikes is None:
        return None
    chosen = as_array(random_spikes.data["random_spikes_indices"])
    chosen = chosen[unit_index[chosen] >= 0]
    mask = feature_mask(features, counts, main_channels, analyzer.get_num_channels())
    return sorter_components(features, chosen, unit_index[chosen], mask, main_channels)
