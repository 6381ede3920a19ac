"""What all figures of spikes share: titles, units of measurement, times, grids of panels."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import segment_samples_of, spike_vector_of
from si_curation.reading.sessions import SessionBorders
from si_curation.spikes.amplitude_scale import UNIT_NAMES
from si_curation.views.units import DrawnUnit

ARBITRARY_UNITS = "arbitrary units"
LIMIT_COLOR = "#D55E00"
QUIET = "0.4"
_NAME_POINTS = 6.0
_POINTS_PER_CHARACTER = 0.6 * _NAME_POINTS


def unit_title(sorting_analyzer: SortingAnalyzer, unit: DrawnUnit) -> str:
    """Return the title of a unit: "unit 13 · good", "units 11 + 12 · good + mua"."""
    text = f"{'unit' if len(unit.unit_ids) == 1 else 'units'} {unit.label}"
    labels = sorting_analyzer.sorting.get_property("quality")
    if labels is None:
        return text
    found = dict.fromkeys(str(labels[row]) for row in unit.rows(sorting_analyzer))
    named = " + ".join(label for label in found if label)
    return f"{text} · {named}" if named else text


def spike_count(count: int) -> str:
    """Return a number of spikes as text."""
    return f"{count:,} spike" if count == 1 else f"{count:,} spikes"


def title_panel(axes: Axes, title: str, subtitle: str = "") -> None:
    """Write a title and, smaller, one or more lines below it, above a panel."""
    lines = subtitle.count("\n") + 1 if subtitle else 0
    axes.set_title(title, fontsize=9, loc="left", pad=4 + 10 * lines)
    if subtitle:
        axes.annotate(
            subtitle,
            (0.0, 1.0),
            (0.0, 3.0),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=7,
            color=QUIET,
            va="bottom",
            linespacing=1.2,
            annotation_clip=False,
        )


def tidy(axes: Axes) -> None:
    """Remove the upper and right spines, and make the tick labels small."""
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def write_note(axes: Axes, text: str) -> None:
    """Write a text into the middle of a panel that shows nothing else."""
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=QUIET, fontsize=8
    )


def label_axes(axes: Axes, x: str = "", y: str = "") -> None:
    """Name the axes of a panel."""
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)


def template_units(info: dict[str, Any]) -> str:
    """Return the unit of measurement of the templates of `template_assignment`."""
    return UNIT_NAMES[info["units"]]


def make_grid(figure: Any, count: int, num_columns: int) -> list[Axes]:
    """Make panels row by row."""
    num_columns = min(max(count, 1), num_columns)
    num_rows = -(-max(count, 1) // num_columns)
    grid = figure.add_gridspec(num_rows, num_columns)
    return [figure.add_subplot(grid[i // num_columns, i % num_columns]) for i in range(count)]


def segment_starts_s(sorting_analyzer: SortingAnalyzer) -> NDArray[np.float64]:
    """Return the start of each segment and the end of the last, put end to end, in s."""
    lengths = segment_samples_of(sorting_analyzer)
    return np.cumsum([0, *lengths]) / sorting_analyzer.sampling_frequency


def spike_times_s(
    sorting_analyzer: SortingAnalyzer, spike_indices: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return the times of spikes in s, from their samples, segments put end to end."""
    spikes = spike_vector_of(sorting_analyzer.sorting)
    times = spikes["sample_index"][spike_indices] / sorting_analyzer.sampling_frequency
    if sorting_analyzer.get_num_segments() > 1:
        starts = segment_starts_s(sorting_analyzer)
        times += starts[spikes["segment_index"][spike_indices]]
    return times


def mark_segments(axes: Axes, sorting_analyzer: SortingAnalyzer) -> None:
    """Draw a line where a new segment begins."""
    for start in segment_starts_s(sorting_analyzer)[1:-1]:
        axes.axvline(start, color="0.7", linewidth=0.7, linestyle="--", zorder=0)


def mark_sessions(axes: Axes, borders: SessionBorders | None, *, names: bool = True) -> None:
    """Draw a line where each session begins, and the names of the sessions along the top.

    Parameters
    ----------
    axes : Axes
        Time in s from the start of the first segment; its limits are not changed.
    borders : SessionBorders or None
        None: nothing is drawn.
    names : bool
        Names are shortened to the width of their session, and left out where that is nothing.
    """
    if borders is None:
        return
    limits = axes.get_xlim()
    for time in borders.times_s:
        axes.axvline(time, color="0.25", linewidth=0.8, zorder=2.5)
    axes.set_xlim(limits)
    if not names:
        return
    edges = np.clip(borders.edges / borders.sampling_frequency, *limits)
    figure: Any = axes.get_figure(root=True)
    width = 72 * axes.get_position().width * figure.get_size_inches()[0]
    per_s = width / max(limits[1] - limits[0], 1e-12)
    for name, start, stop in zip(borders.names, edges, edges[1:], strict=False):
        room = int((stop - start) * per_s / _POINTS_PER_CHARACTER) - 1
        if room < min(len(name), 3):
            continue
        axes.annotate(
            name if len(name) <= room else f"{name[: room - 1]}…",
            (start, 1.0),
            (2.0, -1.0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=_NAME_POINTS,
            color="0.25",
            va="top",
            zorder=3,
            annotation_clip=False,
            bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7},
        )
