"""The sorter's templates that each unit was made of, as bands from left to right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.path import Path
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, is_hashable, short_repr
from si_curation.curation.lineage import reconstruct_lineage
from si_curation.errors import UnknownIdError
from si_curation.views.pages import page_of
from si_curation.views.style import write_note
from si_curation.views.widget import (
    FigureArguments,
    FigureWidget,
    Unpack,
    figure_function,
    require_extensions,
)

EVENT_COLORS = {
    "unchanged": "0.65",
    "merged": "#0072B2",
    "split": "#D55E00",
    "merged and split": "#CC79A7",
    "empty": "0.65",
}
ROWS_PER_COLUMN = 64.0
COLUMNS_PER_PAGE = 4
_NODE_WIDTH, _BAND_ALPHA = 0.05, 0.45
_COLUMN_STEP = 2.0  # templates at x = 0, units at x = 1, the next column of families 1 further
_GAP, _WIDEST = 0.6, 1.25
_ROW_IN = 0.17  # height of a row of text, inches


class Family(NamedTuple):
    """Units and templates that are connected, and what connects them.

    Attributes
    ----------
    templates, units : list
        Ids, from top to bottom.
    links : list of (template id, unit id, number of spikes)
    """

    templates: list[int]
    units: list[Any]
    links: list[tuple[int, Any, int]]


class LineageWidget(FigureWidget):
    """Draw which of the sorter's templates the spikes of each unit came from.

    Bands go from templates (left) to units (right); their widths are the numbers of spikes. Blue
    units are merged, orange ones split, purple ones both.

    Parameters
    ----------
    source : SortingAnalyzer, str or Path
        An analyzer, or a Kilosort/phy folder. "template_assignment" is computed in memory where it
        is missing.
    unit_ids : sequence, optional
        Only these, with the units that share templates with them; they are drawn even if they are
        unchanged. All units that changed by default; how many did not is written below.
    show_unchanged : bool, default: False
        Draw all.
    sampling_frequency : float, optional
        In Hz; for a folder without ``params.py``.
    page : int, default: 1
        Of more than four columns, the first four are drawn; 2: the next four, and so on. The figure
        says which.
    **figure_arguments
        ``figure``, ``ax``, ``figsize``, ``figtitle``; see `FigureWidget`.

    Raises
    ------
    MissingDataError
        The analyzer has no "template_assignment", and it cannot be computed.
    PhyFolderError, FolderNotFoundError
        The folder cannot be read.
    UnknownIdError
        A unit does not exist.

    See Also
    --------
    si_curation.reconstruct_lineage : the table

    Examples
    --------
    >>> import si_curation as sic
    >>> widget = sic.plot_lineage(sic.example_folder())
    >>> widget.ax.texts[0].get_text()
    '4 units are unchanged (all spikes of one template) and not drawn'
    """

    def __init__(
        self,
        source: SortingAnalyzer | str | FilePath,
        unit_ids: Sequence[Any] | None = None,
        *,
        show_unchanged: bool = False,
        sampling_frequency: float | None = None,
        page: int = 1,
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(LineageWidget.__init__, locals())
        checks.whole_number("page", page, at_least=1)
        checks.finish()
        if isinstance(source, SortingAnalyzer):
            require_extensions(source, "template_assignment")
        table = reconstruct_lineage(source, sampling_frequency=sampling_frequency)
        if unit_ids is None:
            shown = table if show_unchanged else table[table["event"] != "unchanged"]
            shown = shown[shown["event"] != "empty"]
        else:
            wanted = list(unit_ids)
            unknown = [u for u in wanted if not is_hashable(u) or u not in table.index]
            if unknown:
                raise UnknownIdError(f"there are no units {short_repr(unknown)}; see .unit_ids")
            related = [u for unit_id in wanted for u in table.at[unit_id, "shares_templates_with"]]
            shown = table.loc[list(dict.fromkeys([*wanted, *related]))]
        left_out = table.drop(shown.index)["event"].value_counts()
        data = {
            "families": find_families(shown),
            "events": table["event"].to_dict(),
            "num_spikes": table["num_spikes"].to_dict(),
            "words": _words(left_out, shown, len(table)),
        }
        data["scale"] = _layout(data).scale  # of all pages
        columns, data["page"] = page_of(
            _layout(data).arrange(data["families"]),
            page,
            {},
            per_page=COLUMNS_PER_PAGE,
            what="columns",
        )
        data["families"] = [family for column in columns for family, *_ in column]
        super().__init__(data, **figure_arguments)

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        places = _layout(data).arrange(data["families"])
        width, height = max(len(places), 1), max((p[-1][2] for p in places if p), default=0.0)
        return (0.6 + 4.2 * width, 1.1 + _ROW_IN * max(height, 6.0))

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        panel = axes[0]
        layout = _layout(data)
        columns = layout.arrange(data["families"])
        panel.text(
            0.0, -0.01, data["words"], transform=panel.transAxes, va="top", fontsize=7, color="0.4"
        )
        if not columns:
            write_note(panel, "nothing was merged or split")
            panel.set_axis_off()
            return
        height = max(column[-1][2] for column in columns)
        for number, column in enumerate(columns):
            x = number * _COLUMN_STEP
            panel.text(x, -0.9, "templates", ha="center", fontsize=8, color="0.4")
            panel.text(x + 1.0, -0.9, "units", ha="center", fontsize=8, color="0.4")
            for family, top, bottom in column:
                _draw_family(panel, family, data, layout, x, top, bottom)
        panel.set_xlim(-0.45, (len(columns) - 1) * _COLUMN_STEP + 1.75)
        panel.set_ylim(height, -1.6)
        panel.set_axis_off()
        drawn = {data["events"][unit] for family in data["families"] for unit in family.units}
        handles = [
            Patch(color=color, alpha=_BAND_ALPHA, label=event)
            for event, color in EVENT_COLORS.items()
            if event in drawn
        ]
        panel.legend(
            handles=handles,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            frameon=False,
            fontsize=7,
            ncols=len(handles),
        )


plot_lineage = figure_function(LineageWidget)


def find_families(lineage: pd.DataFrame) -> list[Family]:
    """Find which units and templates are connected.

    Parameters
    ----------
    lineage : pandas.DataFrame
        Some rows of `reconstruct_lineage`.

    Returns
    -------
    list of Family
        In the order of their first templates; units and templates ordered so that bands cross
        little. Units without spikes are families of their own, last.
    """
    of_template: dict[int, list[Any]] = defaultdict(list)
    for unit_id, templates in lineage["templates"].items():
        for template_id, _ in templates:
            of_template[template_id].append(unit_id)
    parts = lineage["templates"].to_dict()
    seen: set[Any] = set()
    families = []
    for start in lineage.index:
        if start in seen:
            continue
        seen.add(start)
        units, queue = [], [start]
        while queue:
            unit_id = queue.pop()
            units.append(unit_id)
            for template_id, _ in parts[unit_id]:
                new = [other for other in of_template[template_id] if other not in seen]
                seen.update(new)
                queue += new
        families.append(_ordered(units, parts))
    return sorted(families, key=lambda f: (not f.templates, f.templates[:1]))


def _ordered(units: list[Any], parts: dict[Any, tuple]) -> Family:
    templates = sorted({template_id for unit_id in units for template_id, _ in parts[unit_id]})
    for _ in range(4):  # to and fro: each unit beside its templates, each template beside its units
        place = {template_id: i for i, template_id in enumerate(templates)}
        middle = {u: _mean([(place[t], n) for t, n in parts[u]]) for u in units}
        units = sorted(units, key=lambda u: middle[u])
        rank = {unit_id: i for i, unit_id in enumerate(units)}
        found = defaultdict(list)
        for unit_id in units:
            for template_id, spikes in parts[unit_id]:
                found[template_id].append((rank[unit_id], spikes))
        templates = sorted(templates, key=lambda t: (_mean(found[t]), t))
    links = [(t, u, n) for u in units for t, n in parts[u]]
    return Family(templates, units, links)


def _mean(weighted: list[tuple[int, int]]) -> float:
    total = sum(weight for _, weight in weighted)
    return sum(place * weight for place, weight in weighted) / total if total else 0.0


class _Layout(NamedTuple):
    """The heights of nodes and bands, in rows of text."""

    scale: float  # rows per spike
    num_spikes: dict[Any, int]  # of all units

    def slots(self, family: Family) -> tuple[list[float], list[float]]:
        """Return the heights that templates and units of a family need, with the gap below each."""
        spikes = _spikes_of_templates(family)
        left = [max(self.scale * spikes[t], 1.0) + _GAP for t in family.templates]
        right = [max(self.scale * self.num_spikes[u], 1.0) + _GAP for u in family.units]
        return left, right

    def arrange(self, families: list[Family]) -> list[list[tuple[Family, float, float]]]:
        """Place the families from top to bottom, in as many columns as are needed."""
        columns: list[list[tuple[Family, float, float]]] = []
        top = np.inf
        for family in families:
            height = max(sum(slots) for slots in self.slots(family)) + _GAP
            if top + height > ROWS_PER_COLUMN and top > 0:
                columns.append([])
                top = 0.0
            columns[-1].append((family, top, top + height))
            top += height
        return columns

    def nodes(self, ids: list, spikes: Any, slots: list[float], top: float, bottom: float) -> dict:
        """Return nodes spread between top and bottom: {id: (its top, its bottom)}."""
        spare = (bottom - _GAP - top - sum(slots)) / max(len(slots), 1)
        places = {}
        for one, slot in zip(ids, slots, strict=True):
            centre, half = top + (slot + spare) / 2, self.scale * spikes[one] / 2
            places[one] = (centre - half, centre + half)
            top += slot + spare
        return places


def _spikes_of_templates(family: Family) -> dict[int, int]:
    spikes: dict[int, int] = defaultdict(int)
    for template_id, _, count in family.links:
        spikes[template_id] += count
    return spikes


def _layout(data: dict[str, Any]) -> _Layout:
    scale = data.get("scale")
    if scale is None:
        counts = [count for family in data["families"] for *_, count in family.links]
        # the widest band is somewhat higher than a row of text
        scale = _WIDEST / max(counts, default=1)
    return _Layout(scale, data["num_spikes"])


def _draw_family(
    axes: Axes,
    family: Family,
    data: dict[str, Any],
    layout: _Layout,
    x: float,
    top: float,
    bottom: float,
) -> None:
    """Draw the nodes at both sides and the bands between; all widths have one scale."""
    spikes_of_template = _spikes_of_templates(family)
    left_slots, right_slots = layout.slots(family)
    ends_left = layout.nodes(family.templates, spikes_of_template, left_slots, top, bottom)
    ends_right = layout.nodes(family.units, data["num_spikes"], right_slots, top, bottom)
    for template_id, (low, high) in ends_left.items():
        axes.add_patch(
            Rectangle((x - _NODE_WIDTH, low), _NODE_WIDTH, high - low, color="0.35", linewidth=0)
        )
        text = f"{template_id} · {spikes_of_template[template_id]:,}"
        axes.text(x - 0.09, (low + high) / 2, text, ha="right", va="center", fontsize=7)
    for unit_id, (low, high) in ends_right.items():
        color = EVENT_COLORS[data["events"][unit_id]]
        axes.add_patch(Rectangle((x + 1.0, low), _NODE_WIDTH, high - low, color=color, linewidth=0))
        text = f"{unit_id} · {data['num_spikes'][unit_id]:,}"
        axes.text(x + 1.09, (low + high) / 2, text, ha="left", va="center", fontsize=7)
    # bands leave a template in the order of its units, and reach a unit in that of its templates
    rank = {template_id: i for i, template_id in enumerate(family.templates)}
    left = {template_id: low for template_id, (low, _) in ends_left.items()}
    right = {unit_id: low for unit_id, (low, _) in ends_right.items()}
    starts = {}
    for template_id, unit_id, spikes in family.links:
        starts[template_id, unit_id] = left[template_id]
        left[template_id] += spikes * layout.scale
    for template_id, unit_id, spikes in sorted(family.links, key=lambda link: rank[link[0]]):
        band = _band(x, starts[template_id, unit_id], right[unit_id], spikes * layout.scale)
        color = EVENT_COLORS[data["events"][unit_id]]
        axes.add_patch(
            PathPatch(
                band,
                facecolor=color,
                edgecolor=color,
                alpha=_BAND_ALPHA,
                linewidth=0.4,
                gid=f"{template_id}->{unit_id}",
            )
        )
        right[unit_id] += spikes * layout.scale


def _band(x: float, left: float, right: float, height: float) -> Path:
    near, far = x + 0.5, x + 0.5
    points = [
        (x, left), (near, left), (far, right), (x + 1.0, right),
        (x + 1.0, right + height), (far, right + height), (near, left + height), (x, left + height),
        (x, left),
    ]  # fmt: skip
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    return Path(points, codes)


def _words(left_out: pd.Series, shown: pd.DataFrame, num_units: int) -> str:
    def units(count: int) -> str:
        return "1 unit is" if count == 1 else f"{count:,} units are"

    words = []
    unchanged, empty = int(left_out.get("unchanged", 0)), int(left_out.get("empty", 0))
    if unchanged:
        words.append(f"{units(unchanged)} unchanged (all spikes of one template) and not drawn")
    if empty:
        words.append(f"{units(empty)} without spikes")
    others = num_units - len(shown) - unchanged - empty
    if others:
        words.append(f"{units(others)} changed and not asked for")
    return "; ".join(words)
