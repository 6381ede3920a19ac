"""Amplitudes of spikes against time, with their distribution: phy's AmplitudeView."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, channel_index_of
from si_curation.errors import ParameterError
from si_curation.reading.sessions import SessionBorders, borders_to_draw
from si_curation.spikes.amplitude_scale import get_amplitude_scale
from si_curation.spikes.amplitudes import Kind, amplitudes_of_spikes
from si_curation.views.points import (
    BACKGROUND_COLOR,
    MAX_POINTS,
    check_sampling,
    describe_drawn,
    draw_points_or_density,
    limits_of,
    sample_spikes,
)
from si_curation.views.references import ChannelRanking, template_of
from si_curation.views.style import (
    ARBITRARY_UNITS,
    label_axes,
    mark_segments,
    mark_sessions,
    segment_starts_s,
    spike_count,
    spike_times_s,
    tidy,
    title_panel,
    unit_title,
    write_note,
)
from si_curation.views.units import resolve_units
from si_curation.views.widget import FigureArguments, FigureWidget, Unpack, figure_function

_HISTOGRAM_BINS = 100
_RAW_SPIKES = 1_000
_MOST_IN_LEGEND = 8


class _Cloud(NamedTuple):
    title: str
    color: Any
    num_spikes: int  # before any selection
    times_s: NDArray[np.float64]
    amplitudes: NDArray[np.floating]


class AmplitudesOverTimeWidget(FigureWidget):
    """Draw the amplitudes of the spikes of units against time, with histograms at the side.

    phy's AmplitudeView, of all spikes, on the scale that all figures and the report have
    (`get_amplitude_scale`), or by phy's own kinds of amplitudes (`get_spike_amplitudes`), for all
    units with respect to the first. Grey behind, and in the histogram, are the spikes of
    all other units that have the best channel of the first unit among their best. Histograms are
    probability densities in 100 bins over the limits, and leave out amplitudes of exactly 0 (spikes
    that have none of that kind), as in phy. (SpikeInterface's ``plot_amplitudes`` has the extension
    "spike_amplitudes" alone, no background, and draws every point.)

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    unit_ids : sequence, optional
        All units by default; a tuple of unit ids is drawn as if merged.
    kind : {"projection", "template", "template_feature", "feature", "raw"}
        See `get_spike_amplitudes`. The label of the axis tells what it is.
    unit_colors : mapping of unit id to color, optional
        SpikeInterface's ``get_unit_colors`` by default.
    background, histogram : bool
    channel_id : int or str, optional
        For "feature" and "raw"; the best channel of the first unit by default.
    component : int
        For "feature".
    max_spikes : int, optional
        At most so many spikes of each unit and of the background, chosen at random; all by default,
        and 1,000 for "raw", for each of which traces are read. The figure says how many of how
        many.
    seed : int
        Of the random choice.
    max_points : int
        More spikes than this in one colour are drawn as a density.
    borders : "auto", SessionBorders, sequence of numbers or None, default: "auto"
        Where sessions begin that were sorted as one; a line and their names are drawn. As of
        `session_borders`; "auto": where they are known; None: none.
    **figure_arguments
        ``figure``, ``ax``, ``figsize``, ``figtitle``; see `FigureWidget`. The histogram is an inset
        to the right of the panel, so that one axes is enough.

    Raises
    ------
    MissingDataError
        What that kind needs is not there.
    UnknownIdError, ParameterError

    Notes
    -----
    Source: phy 2.1.0, ``AmplitudeView`` and ``BaseController._amplitude_getter``.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> widget = sic.plot_amplitudes_over_time(analyzer, [13], background=False)
    >>> widget.ax.lines[0].get_ydata().size
    1330
    """

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        unit_ids: Sequence[Any] | None = None,
        *,
        kind: Kind = "projection",
        unit_colors: Mapping[Any, Any] | None = None,
        background: bool = True,
        histogram: bool = True,
        channel_id: Any = None,
        component: int = 0,
        max_spikes: int | None = None,
        seed: int = 0,
        max_points: int = MAX_POINTS,
        borders: Literal["auto"] | SessionBorders | Sequence[float] | None = "auto",
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(AmplitudesOverTimeWidget.__init__, locals())
        check_sampling(checks, max_spikes, seed)
        checks.finish()
        units = resolve_units(sorting_analyzer, unit_ids, unit_colors)
        if not units:
            raise ParameterError("unit_ids is empty, expected one unit or more")
        most = _RAW_SPIKES if max_spikes is None and kind == "raw" else max_spikes
        template, peak, behind = -1, -1, np.zeros(0, dtype=np.int64)
        if background or kind not in ("projection", "template"):
            ranking = ChannelRanking(sorting_analyzer)
            template = template_of(sorting_analyzer, units[0])
            best = ranking.channels_of_template(template)[:1]
            peak = int(best[0]) if best.size else -1
            if background and best.size:
                behind = ranking.background(units, best)
        channel = peak if channel_id is None else channel_index_of(sorting_analyzer, channel_id)

        def cloud(title: str, color: Any, spikes: NDArray[np.int64]) -> _Cloud:
            chosen = sample_spikes(spikes, most, seed)
            if chosen.size == 0 or (kind in ("feature", "raw") and channel < 0):
                empty = np.zeros(0)
                return _Cloud(title, color, spikes.size, empty, empty)
            values = amplitudes_of_spikes(
                sorting_analyzer, chosen, kind, channel, template, component
            )
            known = ~np.isnan(values)
            times = spike_times_s(sorting_analyzer, chosen[known])
            return _Cloud(title, color, spikes.size, times, values[known])

        clouds = [cloud("other units", BACKGROUND_COLOR, behind)]
        for unit in units:
            spikes = unit.spikes(sorting_analyzer)
            clouds.append(cloud(unit_title(sorting_analyzer, unit), unit.color, spikes))
        super().__init__(
            {
                "sorting_analyzer": sorting_analyzer,
                "clouds": clouds,
                "label": _label(sorting_analyzer, kind, channel, component, units[0].label),
                "histogram": bool(histogram),
                "max_points": max_points,
                "borders": borders_to_draw(sorting_analyzer, borders),
            },
            **figure_arguments,
        )

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        return (7.0, 3.0)

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        panel, clouds = axes[0], data["clouds"]
        x_range = (0.0, float(segment_starts_s(data["sorting_analyzer"])[-1]))
        y_range = limits_of(*(one.amplitudes for one in clouds), with_zero=True)
        side = None
        if data["histogram"]:
            side = panel.inset_axes((1.02, 0.0, 0.2, 1.0), sharey=panel)
        notes = []
        for k, one in enumerate(clouds):
            drawn = draw_points_or_density(
                panel,
                one.times_s,
                one.amplitudes,
                one.color,
                x_range=x_range,
                y_range=y_range,
                max_points=data["max_points"],
            )
            drawn.set_zorder(1.0 + 0.01 * k)
            notes.append(describe_drawn(one.title, drawn, one.num_spikes))
            if side is not None:
                _draw_histogram(side, one, y_range)
        tidy(panel)
        mark_segments(panel, data["sorting_analyzer"])
        mark_sessions(panel, data["borders"])
        label_axes(panel, "time (s)", data["label"])
        if side is not None:
            _finish_side(side, y_range)
        if sum(one.num_spikes for one in clouds[1:]) == 0:
            write_note(panel, "no spikes")
        _write_titles(panel, clouds[1:], [note for note in notes if note])


plot_amplitudes_over_time = figure_function(AmplitudesOverTimeWidget)


def _label(analyzer: SortingAnalyzer, kind: str, channel: int, component: int, first: str) -> str:
    if kind == "projection":
        scale = get_amplitude_scale(analyzer)
        source = {"pc_features": "", "amplitudes": "\nfrom amplitudes.npy"}
        return f"{scale.label}{source.get(scale.source, chr(10) + scale.source)}"
    if kind == "template":
        assignment = analyzer.get_extension("template_assignment")
        others = assignment is None or not assignment.is_from_folder
        return f"amplitude ({'µV' if others and analyzer.return_in_uV else ARBITRARY_UNITS})"
    if kind == "template_feature":
        return f"projection onto unit {first} ({ARBITRARY_UNITS})"
    name = analyzer.channel_ids[channel] if channel >= 0 else "–"
    what = f"PC {component + 1}" if kind == "feature" else "peak to peak"
    return f"{what} on channel {name}\n({ARBITRARY_UNITS})"


def _draw_histogram(side: Axes, one: _Cloud, y_range: tuple[float, float]) -> None:
    values = one.amplitudes[one.amplitudes != 0]
    edges = np.linspace(*y_range, _HISTOGRAM_BINS + 1)
    counts, _ = np.histogram(values, bins=edges)
    total = counts.sum() * (edges[1] - edges[0])
    if total == 0:
        return
    side.stairs(
        counts / total, edges, orientation="horizontal", fill=True, color=one.color, alpha=0.35
    )
    side.stairs(counts / total, edges, orientation="horizontal", color=one.color, linewidth=0.8)


def _finish_side(side: Axes, y_range: tuple[float, float]) -> None:
    tidy(side)
    side.set_ylim(*y_range)
    side.tick_params(labelleft=False, left=False, labelbottom=False, bottom=False)
    side.spines["bottom"].set_visible(False)
    side.set_xlim(left=0.0)
    label_axes(side, "density")


def _write_titles(panel: Axes, clouds: list[_Cloud], notes: list[str]) -> None:
    if len(clouds) == 1:
        title_panel(
            panel, f"{clouds[0].title} · {spike_count(clouds[0].num_spikes)}", "\n".join(notes)
        )
        return
    many = len(clouds) > _MOST_IN_LEGEND
    lines = [*notes[:3], f"and {len(notes) - 3} more"] if len(notes) > 4 else notes
    title_panel(panel, f"{len(clouds)} units", "\n".join(lines))
    if many:
        return
    for one in clouds:
        text = f"{one.title}, {spike_count(one.num_spikes)}"
        panel.plot([], [], "o", markersize=4, color=one.color, label=text)
    panel.legend(fontsize=7, loc="best", frameon=True, framealpha=0.8, edgecolor="none")
