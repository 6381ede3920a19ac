"""Where each unit is on the probe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array
from si_curation.kernels.channels import centre_of_signal
from si_curation.reading.probe import locations_extension, planar_locations
from si_curation.reading.unit_templates import locations_of_units


def unit_locations(analyzer: SortingAnalyzer) -> NDArray[np.float64]:
    """Return the location of each unit.

    That of the extension "unit_locations" where it is computed; else the centre of the channels
    with signal (`centre_of_signal`) of the unit's templates.

    Returns
    -------
    array (n_units, 2) float64
        x and y in µm; NaN for a unit without templates or without amplitude.
    """
    extension = locations_extension(analyzer, "unit_locations")
    if extension is not None:
        return np.asarray(extension.get_data(), dtype=np.float64)[:, :2]
    return _centres_of_signal(analyzer)


def unit_distances(analyzer: SortingAnalyzer) -> NDArray[np.float64]:
    """Return the distances of all pairs of units in µm; NaN where a unit has no location."""
    locations = unit_locations(analyzer)
    return cdist(locations, locations)


def _centres_of_signal(analyzer: SortingAnalyzer) -> NDArray[np.float64]:
    positions = planar_locations(analyzer)
    assignment = analyzer.get_extension("template_assignment")
    if assignment is not None:
        counts, amplitudes = assignment.get_template_counts(), assignment.get_template_amplitudes()
        return locations_of_units(counts, amplitudes, positions)
    extension = analyzer.get_extension("templates")
    if extension is None:
        return np.full((len(analyzer.unit_ids), 2), np.nan)
    templates = np.nan_to_num(as_array(extension.get_data(operator="average")))
    return centre_of_signal(np.ptp(templates, axis=1), positions)
