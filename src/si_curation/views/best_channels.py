"""Each unit's template on its ranked channels, at their places on the probe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks
from si_curation.reading.probe import planar_locations
from si_curation.views.pages import UNITS_PER_PAGE, page_of
from si_curation.views.probe import draw_probe, draw_template, frame_channels, probe_scale
from si_curation.views.references import UnitTemplates, template_counts_of
from si_curation.views.style import (
    label_axes,
    spike_count,
    tidy,
    title_panel,
    unit_title,
    write_note,
)
from si_curation.views.units import DrawnUnit, resolve_units
from si_curation.views.widget import (
    FigureArguments,
    FigureWidget,
    Unpack,
    figure_function,
    require_extensions,
)

_COLUMNS = 6


class _Panel(NamedTuple):
    unit: DrawnUnit
    title: str
    subtitle: str
    template: NDArray[np.floating]
    channel_indices: NDArray[np.integer]


class BestChannelsWidget(FigureWidget):
    """Draw the template of each unit on its ranked channels.

    The sorter's most frequent template, or, where "template_best_channels" was computed with
    ``source="analyzer"``, the mean of the traces; the title of the figure says which.

    The first panel is the probe with the best channel of each unit. In each unit's panel the
    template is drawn at the place of each ranked channel, full and heavy on the best, paler and
    thinner further down; grey squares are the other channels. Each panel has its own scale. phy
    has no such view; its WaveformView places waveforms in the same way.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        "template_assignment" and "template_best_channels" are computed in memory where they are
        missing.
    unit_ids : sequence, optional
        All units by default; a tuple of unit ids is drawn as if merged: the most frequent template
        of all their spikes, or the mean of the traces of the largest unit.
    unit_colors : mapping of unit id to color, optional
        SpikeInterface's ``get_unit_colors`` by default.
    num_channels : int, optional
        At most so many of the ranked channels.
    show_probe : bool
        Draw the panel of the probe, the first.
    page : int, default: 1
        Of more than 24 units, the first 24 are drawn; 2: the next 24, and so on. The figure says
        which and how many there are; ``num_pages`` of the widget is the number of pages.
    **figure_arguments
        ``figure``, ``axes`` (one for the probe and one for each unit), ``ax``, ``figsize``,
        ``figtitle``; see `FigureWidget`.

    Raises
    ------
    MissingDataError
        There are no templates.
    UnknownIdError, ParameterError

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> widget = sic.plot_best_channels(analyzer, [13, (11, 12)])
    >>> [axes.get_title(loc="left") for axes in widget.axes]
    ['best channels', 'unit 13 · good', 'units 11 + 12 · unsorted']
    """

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        unit_ids: Sequence[Any] | None = None,
        *,
        unit_colors: Mapping[Any, Any] | None = None,
        num_channels: int | None = None,
        show_probe: bool = True,
        page: int = 1,
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(BestChannelsWidget.__init__, locals())
        checks.whole_number("num_channels", num_channels, at_least=1, optional=True)
        checks.whole_number("page", page, at_least=1)
        checks.finish()
        require_extensions(sorting_analyzer, "template_assignment", "template_best_channels")
        units = resolve_units(sorting_analyzer, unit_ids, unit_colors)
        units, part = page_of(units, page, figure_arguments)
        templates = UnitTemplates(sorting_analyzer)
        panels = []
        for unit in units:
            counts = template_counts_of(sorting_analyzer, unit)
            title = unit_title(sorting_analyzer, unit)
            panels.append(
                _Panel(
                    unit,
                    title,
                    _describe_templates(counts),
                    templates.template(unit),
                    np.asarray(templates.channels(unit))[:num_channels],
                )
            )
        super().__init__(
            {
                "panels": panels,
                "page": part,
                "positions": planar_locations(sorting_analyzer),
                "name": templates.name,
                "units": templates.units,
                "sampling_frequency": sorting_analyzer.sampling_frequency,
                "show_probe": bool(show_probe),
            },
            **figure_arguments,
        )

    def _num_axes(self, data: dict[str, Any]) -> int:
        return len(data["panels"]) + data["show_probe"]

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        num_rows, num_columns = _shape(len(data["panels"]))
        return (0.3 + 1.5 * data["show_probe"] + 2.1 * num_columns, 2.6 * num_rows + 0.9)

    def _make_axes(self, figure: Any, data: dict[str, Any]) -> list[Axes]:
        num_rows, num_columns = _shape(len(data["panels"]))
        first = int(data["show_probe"])
        ratios = [0.75] * first + [1.0] * num_columns
        grid = figure.add_gridspec(num_rows, first + num_columns, width_ratios=ratios)
        made = [figure.add_subplot(grid[:, 0])] if first else []
        for i in range(len(data["panels"])):
            place = grid[i // num_columns, first + i % num_columns]
            made.append(figure.add_subplot(place))
        figure.suptitle(f"{data['name']} of each unit on its best channels", fontsize=10)
        return made

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        positions = data["positions"]
        if data["show_probe"]:
            probe_axes, *axes = axes
            best = [
                (panel.unit.label, int(panel.channel_indices[0]), panel.unit.color)
                for panel in data["panels"]
                if panel.channel_indices.size
            ]
            draw_probe(probe_axes, positions, best)
            tidy(probe_axes)
            label_axes(probe_axes, "x (µm)", "depth (µm)")
            title_panel(probe_axes, "best channels")
        for place, panel in zip(axes, data["panels"], strict=True):
            title_panel(place, panel.title, panel.subtitle)
            channels = panel.channel_indices
            if channels.size == 0:
                place.set_axis_off()
                write_note(place, "no template")
                continue
            scale = probe_scale([panel.template], channels, positions)
            frame_channels(
                place, channels, positions, scale, data["sampling_frequency"], data["units"]
            )
            paler = np.linspace(0.0, 0.6, channels.size)[:, None]
            colors = (1 - paler) * np.array(to_rgb(panel.unit.color)) + paler * 0.8
            widths = np.linspace(1.6, 0.8, channels.size)
            draw_template(place, panel.template, channels, positions, scale, colors, widths)


plot_best_channels = figure_function(BestChannelsWidget)


def draw_best_channels_pages(
    sorting_analyzer: SortingAnalyzer, unit_ids: Sequence[Any] | None = None
) -> Iterator[Figure]:
    """Draw `plot_best_channels` page by page.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        As of `plot_best_channels`.
    unit_ids : sequence, optional
        All units by default.

    Yields
    ------
    matplotlib.figure.Figure
        At most 24 units each.

    Raises
    ------
    MissingDataError
        There are no templates.
    """
    ids = list(sorting_analyzer.unit_ids if unit_ids is None else unit_ids)
    for start in range(0, max(len(ids), 1), UNITS_PER_PAGE):
        page = ids[start : start + UNITS_PER_PAGE]
        yield BestChannelsWidget(sorting_analyzer, page).figure


def _shape(count: int) -> tuple[int, int]:
    """Rows and columns of the panels of units, as even as can be."""
    num_rows = -(-max(count, 1) // _COLUMNS)
    return num_rows, -(-max(count, 1) // num_rows)


def _describe_templates(counts: NDArray[np.int64]) -> str:
    total, largest = int(counts.sum()), int(counts.max(initial=0))
    text = spike_count(total)
    if total == 0:
        return text
    text += f", template {int(counts.argmax())}"
    if largest < total:
        text += f" ({largest / total:.0%} of {np.count_nonzero(counts)})"
    return text
