"""All templates that a unit was made of, by how many of its spikes they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy import sparse
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks
from si_curation.reading.probe import planar_locations
from si_curation.reading.unit_templates import weighted_mean_templates
from si_curation.views.colors import ACCENTS
from si_curation.views.pages import page_of
from si_curation.views.probe import ProbeScale, draw_template, frame_channels, probe_scale
from si_curation.views.references import ChannelRanking, template_counts_of
from si_curation.views.style import (
    make_grid,
    spike_count,
    template_units,
    title_panel,
    unit_title,
    write_note,
)
from si_curation.views.units import resolve_units
from si_curation.views.widget import (
    FigureArguments,
    FigureWidget,
    Unpack,
    figure_function,
    require_extensions,
)

MEAN_COLOR = "0.1"
_COLUMNS, _MOST_COLUMNS = 4, 6


class _Panel(NamedTuple):
    title: str
    subtitle: str
    num_spikes: int
    template_ids: NDArray[np.int64]  # by falling count
    counts: NDArray[np.int64]
    templates: NDArray[np.floating]  # (k, n_samples, n_channels)
    mean: NDArray[np.floating]
    channel_indices: NDArray[np.integer]
    peak_channels: list[int]  # of each template
    mean_color: Any


class UnitTemplatesBySourceWidget(FigureWidget):
    """Draw every template that each unit has spikes of, and their mean weighted by the counts.

    One panel for each unit, on the best channels of its most frequent template. Each template has
    its own colour; its line is the heavier, the more of the unit's spikes it found (width and
    opacity by count over the largest count, as phy's WaveformView does with templates, which
    however draws a template as 0 on channels that are not among its own best). The dashed line is
    the mean of all its templates weighted by their counts. All are to the same scale within a
    panel. Where a template is largest on a channel that is not shown, the legend names it. (phy's
    TemplateView draws one template of each cluster, the lowest; SpikeInterface's
    ``plot_unit_templates`` the mean.)

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        "template_assignment" is computed in memory where it is missing.
    unit_ids : sequence, optional
        All units by default; a tuple of unit ids is drawn as if merged.
    unit_colors : mapping of unit id to color, optional
        Colours of the weighted means; nearly black by default.
    max_templates : int
        Of a unit made of more, those with the largest counts are drawn, and the panel says so. The
        mean is always that of all.
    num_channels : int, optional
        At most so many of the best channels.
    page : int, default: 1
        Of more than 24 units, the first 24 are drawn; 2: the next 24, and so on. The figure says
        which and how many there are; ``num_pages`` of the widget is the number of pages.
    **figure_arguments
        ``figure``, ``axes`` (one for each unit), ``ax``, ``figsize``, ``figtitle``; see
        `FigureWidget`.

    Raises
    ------
    MissingDataError
        The extension is missing and cannot be computed.
    UnknownIdError, ParameterError

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> widget = sic.plot_unit_templates_by_source(analyzer, [13])
    >>> for text in widget.ax.get_legend().get_texts():
    ...     print(text.get_text())
    template 1: 625 (47%)
    template 0: 410 (31%), largest on channel 16
    template 2: 295 (22%)
    weighted mean
    """

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        unit_ids: Sequence[Any] | None = None,
        *,
        unit_colors: Mapping[Any, Any] | None = None,
        max_templates: int = 7,
        num_channels: int | None = None,
        page: int = 1,
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(UnitTemplatesBySourceWidget.__init__, locals())
        checks.whole_number("max_templates", max_templates, at_least=1)
        checks.whole_number("num_channels", num_channels, at_least=1, optional=True)
        checks.whole_number("page", page, at_least=1)
        checks.finish()
        (assignment,) = require_extensions(sorting_analyzer, "template_assignment")
        units = resolve_units(sorting_analyzer, unit_ids, unit_colors)
        units, part = page_of(units, page, figure_arguments)
        ranking = ChannelRanking(sorting_analyzer)
        templates = assignment.get_templates()
        panels = []
        for unit in units:
            counts = template_counts_of(sorting_analyzer, unit)
            order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
            shown = order[:max_templates]
            subtitle = spike_count(int(counts.sum()))
            if order.size > shown.size:
                subtitle += f", {shown.size} of {order.size} templates shown"
            color = MEAN_COLOR if unit_colors is None else unit.color
            panels.append(
                _Panel(
                    unit_title(sorting_analyzer, unit),
                    subtitle,
                    int(counts.sum()),
                    shown,
                    counts[shown],
                    templates[shown],
                    weighted_mean_templates(sparse.csr_array(counts[None]), templates)[0],
                    ranking.channels_of_unit(unit)[:num_channels],
                    [int(np.ptp(one, axis=0).argmax()) for one in templates[shown]],
                    color,
                )
            )
        super().__init__(
            {
                "panels": panels,
                "page": part,
                "channel_ids": sorting_analyzer.channel_ids,
                "positions": planar_locations(sorting_analyzer),
                "units": template_units(assignment.info),
                "sampling_frequency": sorting_analyzer.sampling_frequency,
            },
            **figure_arguments,
        )

    def _num_axes(self, data: dict[str, Any]) -> int:
        return len(data["panels"])

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        count = max(len(data["panels"]), 1)
        num_columns = min(count, _columns(count))
        return (0.3 + 2.9 * num_columns, 0.3 + 3.4 * -(-count // num_columns))

    def _make_axes(self, figure: Any, data: dict[str, Any]) -> list[Axes]:
        count = len(data["panels"])
        return make_grid(figure, count, _columns(count))

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        positions = data["positions"]
        for place, panel in zip(axes, data["panels"], strict=True):
            title_panel(place, panel.title, panel.subtitle)
            channels = panel.channel_indices
            if channels.size == 0:
                place.set_axis_off()
                write_note(place, "no template")
                continue
            scale = probe_scale([*panel.templates, panel.mean], channels, positions)
            frame_channels(
                place, channels, positions, scale, data["sampling_frequency"], data["units"]
            )
            _draw_sources(place, panel, positions, scale, data["channel_ids"])


def _columns(count: int) -> int:
    """Return the columns of so many panels: more of a full page, which would be too tall."""
    return _COLUMNS if count <= 4 * _COLUMNS else _MOST_COLUMNS


plot_unit_templates_by_source = figure_function(UnitTemplatesBySourceWidget)


def _draw_sources(
    axes: Axes, panel: _Panel, positions: NDArray, scale: ProbeScale, channel_ids: NDArray
) -> None:
    weights = panel.counts / panel.counts.max()
    total = panel.num_spikes
    handles = []
    for i, template_id in enumerate(panel.template_ids):
        color = ACCENTS[i % (len(ACCENTS) - 1)]
        width = 0.5 + 1.4 * float(weights[i])
        # the heaviest below, so that the others are seen
        line = draw_template(
            axes,
            panel.templates[i],
            panel.channel_indices,
            positions,
            scale,
            color,
            width,
            "solid" if i < len(ACCENTS) - 1 else (0, (4, 1)),
        )
        line.set_zorder(2.0 + 0.01 * i)
        line.set_alpha(0.4 + 0.6 * float(weights[i]))
        text = f"template {template_id}: {panel.counts[i]:,} ({panel.counts[i] / total:.0%})"
        if panel.peak_channels[i] not in panel.channel_indices:
            text += f", largest on channel {channel_ids[panel.peak_channels[i]]}"
        handles.append(Line2D([], [], color=color, linewidth=width, label=text))
    mean = draw_template(
        axes,
        panel.mean,
        panel.channel_indices,
        positions,
        scale,
        panel.mean_color,
        1.0,
        (0, (2.5, 1.5)),
    )
    mean.set_zorder(3.0)
    handles.append(
        Line2D([], [], color=panel.mean_color, linestyle=(0, (2.5, 1.5)), label="weighted mean")
    )
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.0, 0.0),
        fontsize=6.5,
        frameon=False,
        borderaxespad=0.2,
        handlelength=1.6,
        labelspacing=0.25,
    )
