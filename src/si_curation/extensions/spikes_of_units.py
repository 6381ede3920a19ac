"""The spikes of each unit of an analyzer."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import unit_index_of
from si_curation.errors import MissingDataError
from si_curation.extensions.template_assignment import (
    TemplateAssignment,
    ensure_template_assignment,
)
from si_curation.kernels.spikes_by_unit import count_spikes, spikes_by_unit

# of analyzers without template_assignment, which holds them elsewhere
_spikes_by_unit: WeakKeyDictionary[Any, list[NDArray[np.integer]]] = WeakKeyDictionary()


def spikes_of_unit(analyzer: Any, unit_id: Any) -> NDArray[np.int64]:
    """Positions of the spikes of a unit in the spike vector, over all segments.

    Raises
    ------
    UnknownIdError
    """
    position = unit_index_of(analyzer, unit_id)
    return spikes_of_units(analyzer)[position].astype(np.int64)


def spikes_of_units(analyzer: Any) -> list[NDArray[np.integer]]:
    """Return the positions of the spikes of each unit in the spike vector; not to be written to."""
    known = _kept(analyzer)
    if known is None:
        unit_index = spike_vector_of(analyzer.sorting)["unit_index"]
        known = spikes_by_unit(unit_index, len(analyzer.unit_ids))
        keep_spikes_of_units(analyzer, known)
    return known


def num_spikes_of_units(analyzer: Any) -> NDArray[np.int64]:
    """Return the number of spikes of each unit; they are counted where nothing is known of them."""
    known = _kept(analyzer)
    if known is None:
        unit_index = spike_vector_of(analyzer.sorting)["unit_index"]
        return count_spikes(unit_index, len(analyzer.unit_ids))
    return np.array([own.size for own in known], dtype=np.int64)


def _kept(analyzer: Any) -> list[NDArray[np.integer]] | None:
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None:
        return _spikes_by_unit.get(analyzer)
    return getattr(assignment, "_spikes_by_unit", None)


def keep_spikes_of_units(analyzer: Any, spikes: list[NDArray[np.integer]]) -> None:
    """Keep what `spikes_of_units` is to return, where it is known of how the units were made."""
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None:
        _spikes_by_unit[analyzer] = spikes
    else:
        assignment._spikes_by_unit = spikes


def assignment_of(analyzer: Any, compute: bool = False) -> TemplateAssignment:
    """Return the extension `template_assignment` of an analyzer; computed if asked for.

    Raises
    ------
    MissingDataError
    """
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None and compute:
        assignment = ensure_template_assignment(analyzer)
    if assignment is None:
        raise MissingDataError(
            "template_features need the extension 'template_assignment', which this analyzer does "
            "not have any more"
        )
    return assignment
