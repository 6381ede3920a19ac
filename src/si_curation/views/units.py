"""The units of a figure: units of the analyzer, or several drawn as if they were merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer
from spikeinterface.widgets import get_unit_colors

from si_curation.checks import is_hashable, short_repr, unit_index_of
from si_curation.errors import ParameterError
from si_curation.extensions.spikes_of_units import spikes_of_unit
from si_curation.views.colors import ACCENTS, are_alike, on_white

_MOST_IN_LABEL = 5


class DrawnUnit(NamedTuple):
    """A unit in a figure.

    Attributes
    ----------
    unit_ids : tuple
        One unit id, or those that are drawn as if they were merged.
    label : str
        "7", or "11 + 12"; of more than five, the first ones.
    color : color
    """

    unit_ids: tuple[Any, ...]
    label: str
    color: Any

    def spikes(self, sorting_analyzer: SortingAnalyzer) -> NDArray[np.int64]:
        """Return the positions of its spikes in the spike vector, ascending."""
        parts = [spikes_of_unit(sorting_analyzer, unit_id) for unit_id in self.unit_ids]
        return parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))

    def rows(self, sorting_analyzer: SortingAnalyzer) -> list[int]:
        """Return the unit indices of its unit ids."""
        return [unit_index_of(sorting_analyzer, unit_id) for unit_id in self.unit_ids]


def resolve_units(
    sorting_analyzer: SortingAnalyzer,
    unit_ids: Sequence[Any] | None = None,
    unit_colors: Mapping[Any, Any] | None = None,
) -> list[DrawnUnit]:
    """Return the units that a figure shows.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    unit_ids : sequence, optional
        All by default. An entry that is itself a tuple or list of unit ids is drawn as if these
        units were merged, in the colour of the first.
    unit_colors : mapping of unit id to color, optional
        SpikeInterface's ``get_unit_colors`` by default, the light ones darkened so that lines and
        points are visible on white. A few units whose colours are too similar get colours that are
        distinct in any colour vision instead.

    Returns
    -------
    list of DrawnUnit

    Raises
    ------
    UnknownIdError
        A unit does not exist.
    ParameterError
        A merged entry is empty or names a unit twice, or `unit_ids` is a single id.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> [unit.label for unit in resolve_units(analyzer, [4, (11, 12)])]
    ['4', '11 + 12']
    """
    if unit_ids is None:
        unit_ids = list(sorting_analyzer.unit_ids)
    if isinstance(unit_ids, str) or not hasattr(unit_ids, "__iter__"):
        raise ParameterError(f"unit_ids is {short_repr(unit_ids)}, expected a list of unit ids")
    colors = get_unit_colors(sorting_analyzer) if unit_colors is None else dict(unit_colors)
    units = []
    for entry in unit_ids:
        is_merged = isinstance(entry, tuple | list) or (
            isinstance(entry, np.ndarray) and entry.ndim == 1
        )
        merged = tuple(entry) if is_merged else (entry,)
        if not merged or not is_hashable(merged) or len(set(merged)) < len(merged):
            raise ParameterError(
                f"unit_ids has {short_repr(entry)} to draw as merged, expected one or more "
                "different unit ids"
            )
        rows = [unit_index_of(sorting_analyzer, unit_id) for unit_id in merged]
        ids = tuple(sorting_analyzer.unit_ids[row] for row in rows)
        label = " + ".join(map(str, ids[:_MOST_IN_LABEL]))
        if len(ids) > _MOST_IN_LABEL:
            label += f" + … ({len(ids)} units)"
        units.append(DrawnUnit(ids, label, colors.get(ids[0], "0.3")))
    if unit_colors is not None:
        return units
    shown: list[Any] = [on_white(unit.color) for unit in units]
    if 1 < len(units) <= len(ACCENTS) and are_alike(shown):
        shown = list(ACCENTS[: len(units)])
    return [unit._replace(color=color) for unit, color in zip(units, shown, strict=True)]
