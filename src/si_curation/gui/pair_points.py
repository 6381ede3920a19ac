"""What the template-feature view draws, as arrays and texts, without a GUI toolkit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.path import Path
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array, spike_vector_of
from si_curation.errors import MissingDataError, SiCurationError
from si_curation.extensions.spikes_of_units import spikes_of_unit
from si_curation.kernels.spike_vector import evenly_spaced
from si_curation.kernels.spikes_by_unit import count_spikes

MAX_SPIKES_PER_UNIT = 5000


@dataclass(frozen=True)
class UnitPoints:
    """The spikes of one unit in the plane of a pair.

    Attributes
    ----------
    unit_id : int or str
    spike_indices : array (n,) int64
        Positions in the spike vector of the spikes that have features, ascending.
    points : array (n, 2) float64
        Projections onto the first and the second unit of the pair.
    num_lost : int
        Spikes without features, which cannot be drawn.
    """

    unit_id: Any
    spike_indices: NDArray[np.int64]
    points: NDArray[np.float64]
    num_lost: int

    def thinned(self, limit: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return at most so many spikes and their points, evenly spaced, always the same ones."""
        kept = evenly_spaced(self.spike_indices.size, limit)
        return self.spike_indices[kept], self.points[kept]


@dataclass(frozen=True)
class PairPoints:
    """Two units in the plane of their template features, or why there is nothing to draw.

    Attributes
    ----------
    units : tuple of UnitPoints
        The two of the pair; none where there is nothing to draw.
    text : str
        What is drawn, or what is missing and how to get it.
    """

    units: tuple[UnitPoints, ...]
    text: str

    def inside(self, polygon: NDArray, unit_ids: Sequence[Any]) -> NDArray[np.int64]:
        """Return the spikes of some units within a polygon, drawn or not.

        Parameters
        ----------
        polygon : array (n, 2)
        unit_ids : sequence

        Returns
        -------
        array (m,) int64
            Positions in the spike vector, ascending.
        """
        found = [np.empty(0, dtype=np.int64)]
        if len(polygon) > 2:
            path = Path(np.asarray(polygon, dtype=np.float64))
            found += [
                unit.spike_indices[path.contains_points(unit.points)]
                for unit in self.units
                if unit.unit_id in unit_ids
            ]
        return np.sort(np.concatenate(found))


def most_similar_unit(sorting_analyzer: SortingAnalyzer, unit_id: Any) -> Any:
    """Return the unit with spikes that is most similar to another one.

    By "unit_similarity", or by SpikeInterface's "template_similarity" where that is not there;
    nothing is computed.

    Raises
    ------
    MissingDataError
        There are no similarities, or no other unit that has spikes.
    """
    own = sorting_analyzer.get_extension("unit_similarity")
    known = sorting_analyzer.get_extension("template_similarity") if own is None else own
    if known is None:
        raise MissingDataError(
            "which unit is most similar to the selected one is not known: select two units, or "
            "compute the extension 'unit_similarity'"
        )
    unit_ids = sorting_analyzer.unit_ids
    position = int(np.flatnonzero(unit_ids == unit_id)[0])
    row = np.array(as_array(known.get_data())[position], dtype=np.float64)
    counts = count_spikes(spike_vector_of(sorting_analyzer.sorting)["unit_index"], len(unit_ids))
    row[counts == 0] = np.nan
    row[position] = np.nan
    if np.isnan(row).all():
        raise MissingDataError(f"there is no other unit with spikes to show unit {unit_id} against")
    return unit_ids[np.nanargmax(row)]


def get_pair_points(sorting_analyzer: SortingAnalyzer, unit_ids: Sequence[Any]) -> PairPoints:
    """Return the template features of two units, as in phy's TemplateFeatureView.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    unit_ids : sequence
        The selected units. Of more than two the first two; of one, that one and the most similar
        one.

    Returns
    -------
    PairPoints
        Nothing is raised where something is missing: the text says what.
    """
    if len(unit_ids) == 0:
        return PairPoints((), "No unit is selected.")
    features = sorting_analyzer.get_extension("template_features")
    if features is None:
        return PairPoints(
            (),
            "This view needs the extension 'template_features': "
            "analyzer.compute('template_features').",
        )
    try:
        pair = list(unit_ids[:2])
        if len(pair) == 1:
            _refuse_empty(sorting_analyzer, pair)
            pair.append(most_similar_unit(sorting_analyzer, pair[0]))
        _refuse_empty(sorting_analyzer, pair)
        projections = features.get_pair_projections(*pair)
        units = tuple(
            _of_unit(sorting_analyzer, unit_id, points)
            for unit_id, points in zip(pair, projections, strict=True)
        )
    except SiCurationError as fault:
        return PairPoints((), f"{fault}.")
    return PairPoints(units, _describe(units, len(unit_ids), features.source))


def _refuse_empty(sorting_analyzer: SortingAnalyzer, unit_ids: Sequence[Any]) -> None:
    for unit_id in unit_ids:
        if spikes_of_unit(sorting_analyzer, unit_id).size == 0:
            raise MissingDataError(f"unit {unit_id} has no spikes, and so no template")


def _of_unit(sorting_analyzer: SortingAnalyzer, unit_id: Any, points: NDArray) -> UnitPoints:
    spikes = spikes_of_unit(sorting_analyzer, unit_id)
    known = np.isfinite(points).all(axis=1)
    if not known.all():
        spikes, points = spikes[known], points[known]
    return UnitPoints(unit_id, spikes, points, int(np.count_nonzero(~known)))


def _describe(units: tuple[UnitPoints, ...], num_selected: int, source: str) -> str:
    first, second = units
    text = f"Unit {first.unit_id} against unit {second.unit_id}"
    if num_selected == 1:
        text += " (grey), the most similar one"
    elif num_selected > 2:
        text += f", the first two of {num_selected} selected"
    named = {
        "file": "the sorter's file",
        "pc_features": "pc_features.npy",
        "recording": "the recording",
    }
    text += f". Template features from {named.get(source, source)}."
    if all(np.array_equal(*unit.points.T) for unit in units):
        text += " Both came from the same template, so that both axes are the same."
    lost = [f"{unit.num_lost:,} of unit {unit.unit_id}" for unit in units if unit.num_lost]
    if lost:
        text += f" Spikes without features: {', '.join(lost)}."
    return text
