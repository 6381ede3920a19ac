"""Which spikes of an analyzer are meant, and where they are in the folder that it was read from."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import MissingDataError
from si_curation.extensions.template_assignment import (
    TemplateAssignment,
    ensure_template_assignment,
    unit_position,
)
from si_curation.kernels.spikes_by_unit import spikes_by_unit
from si_curation.reading.features import FeatureFiles, SpikesOfFolder
from si_curation.variables import FileRows, TemplateIds

# of analyzers without template_assignment, which holds them elsewhere
_spikes_by_unit: WeakKeyDictionary[Any, list[NDArray[np.int64]]] = WeakKeyDictionary()


def spikes_of_unit(analyzer: Any, unit_id: Any) -> NDArray[np.int64]:
    """Positions of the spikes of a unit in the spike vector, over all segments.

    Raises
    ------
    UnknownIdError
    """
    position = unit_position(analyzer, unit_id)
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None:
        known = _spikes_by_unit.get(analyzer)
    else:
        known = getattr(assignment, "_spikes_by_unit", None)
    if known is None:
        unit_index = analyzer.sorting.to_spike_vector()["unit_index"]
        known = spikes_by_unit(unit_index, len(analyzer.unit_ids))
        if assignment is None:
            _spikes_by_unit[analyzer] = known
        else:
            assignment._spikes_by_unit = known
    return known[position]


def spikes_of_folder(assignment: TemplateAssignment) -> SpikesOfFolder:
    """Tell where the spikes of an analyzer are in the folder that it was read from.

    Raises
    ------
    MissingDataError
        It was not read from a Kilosort folder.
    """
    return SpikesOfFolder(
        Path(assignment.info["phy_folder"]),
        FileRows(assignment.get_spike_rows()),
        TemplateIds(assignment.get_spike_template_ids()),
        assignment.template_ids.size,
        int(assignment.info["num_channels"]),
    )


def feature_files_of(assignment: TemplateAssignment) -> FeatureFiles:
    """Open the feature files of the folder that an analyzer was read from; again if they changed.

    Raises
    ------
    MissingDataError
        The analyzer was not read from a Kilosort folder.
    FolderNotFoundError, PhyFolderError
    """
    spikes = spikes_of_folder(assignment)
    state = FeatureFiles.state_of(spikes.folder)
    known, its_state = getattr(assignment, "_feature_files", (None, None))
    if known is None or state != its_state:
        known = FeatureFiles(spikes.folder, spikes.num_templates, spikes.num_channels)
        assignment._feature_files = (known, state)
    return known


def assignment_of(analyzer: Any, compute: bool = False) -> TemplateAssignment:
    """Give the extension `template_assignment` of an analyzer; computed if asked for.

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
