"""Where each unit, and each spike, is on the probe."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array, spike_vector_of
from si_curation.kernels.channels import centre_of_signal
from si_curation.quality.metrics.spike_values import SpikeValues, positions_of
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


class SpikeDepths(NamedTuple):
    """Depth of every spike, aligned with the spike vector.

    Attributes
    ----------
    depths_um : array (n_spikes,) floating
        NaN where it is not known.
    are_own : bool
        Whether they are of each spike; else of its unit.
    source : str
        How they are known, for a caption.
    """

    depths_um: NDArray[np.floating]
    are_own: bool
    source: str


def spike_depths(analyzer: SortingAnalyzer) -> SpikeDepths:
    """Return the depth of every spike, the best that is known without traces.

    That of the extension "spike_locations"; else as phy computes it from the sorter's features;
    else the depth of the spike's unit.
    """
    found = positions_of(analyzer, "y")
    if isinstance(found, SpikeValues) and np.isfinite(found.values).any():
        where = "extension spike_locations"
        if found.source != "spike_locations":
            where = f"computed from {found.source} as phy does"
        return SpikeDepths(found.values, True, f"depth of each spike, {where}")
    of_units = unit_locations(analyzer)[:, 1]
    depths = of_units[spike_vector_of(analyzer.sorting)["unit_index"]]
    why = "depths of single spikes are not known (no spike_locations, no features)"
    return SpikeDepths(depths, False, f"depth of the unit of each spike: {why}")


def unit_distances(analyzer: SortingAnalyzer) -> NDArray[np.float64]:
    """Return the distances of all pairs of units in µm; NaN where a unit has no location.

    Raises
    ------
    MissingDataError
        The folder has no templates, so that no unit has one.
    """
    assignment = analyzer.get_extension("template_assignment")
    has_others = analyzer.has_extension("templates") or analyzer.has_extension("unit_locations")
    if assignment is not None and not has_others:
        assignment.refuse_without_templates()
    locations = unit_locations(analyzer)
    return cdist(locations, locations)


def _centres_of_signal(analyzer: SortingAnalyzer) -> NDArray[np.float64]:
    positions = planar_locations(analyzer)
    assignment = analyzer.get_extension("template_assignment")
    if assignment is not None and assignment.has_templates:
        counts, amplitudes = assignment.get_template_counts(), assignment.get_template_amplitudes()
        return locations_of_units(counts, amplitudes, positions)
    extension = analyzer.get_extension("templates")
    if extension is None:
        return np.full((len(analyzer.unit_ids), 2), np.nan)
    templates = np.nan_to_num(as_array(extension.get_data(operator="average")))
    return centre_of_signal(np.ptp(templates, axis=1), positions)
