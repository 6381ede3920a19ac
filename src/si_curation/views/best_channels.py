"""Each unit's template on its ranked channels, at their places on the probe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.errors import MissingDataError

UNITS_PER_PAGE = 24
_COLUMNS = 6
_GREY = "0.75"
_MARGIN_UM = 15.0


def draw_best_channels_pages(
    sorting_analyzer: SortingAnalyzer, unit_ids: Sequence[Any] | None = None
) -> Iterator[Figure]:
    """Draw the units page by page.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        With "template_assignment" and "template_best_channels".
    unit_ids : sequence, optional
        All units by default.

    Yields
    ------
    matplotlib.figure.Figure
        At most 24 units each.

    Raises
    ------
    MissingDataError
        An extension is missing.
    """
    ids = list(sorting_analyzer.unit_ids if unit_ids is None else unit_ids)
    for start in range(0, max(len(ids), 1), UNITS_PER_PAGE):
        yield draw_best_channels(sorting_analyzer, ids[start : start + UNITS_PER_PAGE])


def draw_best_channels(
    sorting_analyzer: SortingAnalyzer, unit_ids: Sequence[Any] | None = None
) -> Figure:
    """Draw the most frequent template of each unit on its ranked channels.

    The left panel is the probe with the best channel of each unit. In each unit's panel the
    template is drawn at the place of each ranked channel, the darkest on the best channel; grey
    squares are the other channels.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        With "template_assignment" and "template_best_channels".
    unit_ids : sequence, optional
        All units by default.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingDataError
        An extension is missing.
    """
    assignment = sorting_analyzer.get_extension("template_assignment")
    best_channels = sorting_analyzer.get_extension("template_best_channels")
    if assignment is None or best_channels is None:
        raise MissingDataError("compute template_assignment and template_best_channels first")
    ids = list(sorting_analyzer.unit_ids if unit_ids is None else unit_ids)
    positions = sorting_analyzer.get_channel_locations()
    indices = best_channels.get_data(outputs="indices")
    table = assignment.get_data()
    groups = sorting_analyzer.sorting.get_property("quality")
    group_of = {} if groups is None else dict(zip(sorting_analyzer.unit_ids, groups, strict=True))

    num_rows = -(-max(len(ids), 1) // _COLUMNS)
    num_columns = -(-max(len(ids), 1) // num_rows)
    figure = Figure(figsize=(1.8 + 2.1 * num_columns, 2.6 * num_rows + 0.9), layout="constrained")
    grid = figure.add_gridspec(num_rows, num_columns + 1, width_ratios=[0.75] + [1.0] * num_columns)
    probe_axes = figure.add_subplot(grid[:, 0])
    _draw_probe(probe_axes, positions, {u: indices[u] for u in ids})
    for i, unit_id in enumerate(ids):
        axes = figure.add_subplot(grid[i // num_columns, 1 + i % num_columns])
        row = table.loc[unit_id]
        template = assignment.get_unit_template(unit_id)
        draw_unit_on_probe(axes, template, indices[unit_id], positions)
        parts = [f"unit {unit_id}", str(group_of.get(unit_id, ""))]
        axes.set_title(" · ".join(part for part in parts if part), fontsize=9, loc="left", pad=14)
        text = f"{int(row.num_spikes):,} spikes, template {int(row.template_id)}"
        if row.num_templates > 1:
            text += f" ({row.template_purity:.0%} of {int(row.num_templates)})"
        axes.text(0, 1.02, text, transform=axes.transAxes, fontsize=7, color="0.35", va="bottom")
    units = {"uV": "µV"}.get(assignment.info["units"], "arbitrary units")
    figure.suptitle(
        f"Most frequent template of each unit on its best channels "
        f"(each scaled to its largest channel, {units})",
        fontsize=10,
    )
    return figure


def draw_unit_on_probe(
    axes: Axes,
    template: NDArray[np.floating],
    channel_indices: NDArray[np.integer],
    positions: NDArray[np.floating],
) -> None:
    """Draw one template at the places of its channels.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    template : array (n_samples, n_channels)
    channel_indices : array (k,) integer
        Ranked, best first.
    positions : array (n_channels, 2) in µm
    """
    axes.set_axis_off()
    if channel_indices.size == 0:
        axes.text(0.5, 0.5, "no template", transform=axes.transAxes, ha="center", color="0.5")
        return
    width, height = _spacing(positions)
    traces = template[:, channel_indices].T  # (k, n_samples)
    scale = 1.6 * height / max(float(np.ptp(traces, axis=1).max()), 1e-12)
    time = np.linspace(-0.42, 0.42, template.shape[0]) * width
    lines = [
        np.column_stack([x + time, y + trace * scale])
        for (x, y), trace in zip(positions[channel_indices], traces, strict=True)
    ]
    # from the least to the most important, so that the best channel lies on top
    shades = colormaps["viridis"](np.linspace(0.0, 0.85, len(lines)))
    margin = np.array([0.6 * width, 0.9 * height])
    low = positions[channel_indices].min(axis=0) - margin
    high = positions[channel_indices].max(axis=0) + margin
    shown = np.all((positions >= low) & (positions <= high), axis=1)
    axes.plot(*positions[shown].T, "s", color=_GREY, markersize=2, zorder=0)
    axes.add_collection(
        LineCollection(
            lines[::-1], colors=shades[::-1], linewidths=np.linspace(0.8, 1.6, len(lines))
        )
    )
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])


def _draw_probe(axes: Axes, positions: NDArray, channels_of_unit: dict[Any, NDArray]) -> None:
    axes.plot(*positions.T, "s", color=_GREY, markersize=2)
    taken: dict[int, int] = {}
    for unit_id, channels in channels_of_unit.items():
        if channels.size == 0:
            continue
        x, y = positions[channels[0]]
        axes.plot(x, y, "o", color="tab:red", markersize=3)
        # units that share a best channel are written side by side
        shift = taken.get(int(channels[0]), 0)
        taken[int(channels[0])] = shift + len(str(unit_id)) + 1
        axes.annotate(
            str(unit_id),
            (x, y),
            (4 + 5 * shift, 0),
            textcoords="offset points",
            fontsize=7,
            va="center",
        )
    low, high = positions.min(axis=0) - _MARGIN_UM, positions.max(axis=0) + _MARGIN_UM
    axes.set_xlim(low[0], high[0] + 2 * _MARGIN_UM)
    axes.set_ylim(low[1], high[1])
    axes.set_xlabel("x (µm)", fontsize=8)
    axes.set_ylabel("depth (µm)", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.set_title("best channels", fontsize=9, loc="left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _spacing(positions: NDArray[np.floating]) -> tuple[float, float]:
    """Smallest distance of columns and of rows of the probe, for the size of a waveform."""

    def smallest(values: NDArray) -> float:
        steps = np.diff(np.unique(np.round(values, 3)))
        return float(steps.min()) if steps.size else 0.0

    width, height = smallest(positions[:, 0]), smallest(positions[:, 1])
    width = width or height or 20.0
    height = height or width
    return max(width, 0.5 * height), max(height, 0.25 * width)
