"""Firing rate of units over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import Checks
from si_curation.errors import ParameterError
from si_curation.reading.observed import observed_periods
from si_curation.reading.sessions import SessionBorders, borders_to_draw
from si_curation.views.pages import page_of
from si_curation.views.style import (
    label_axes,
    make_grid,
    mark_segments,
    mark_sessions,
    segment_starts_s,
    spike_count,
    tidy,
    title_panel,
    unit_title,
    write_note,
)
from si_curation.views.units import resolve_units
from si_curation.views.widget import FigureArguments, FigureWidget, Unpack, figure_function

_COLUMNS = 3
_WIDTHS_S = (0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_MOST_BINS = 100


class _Panel(NamedTuple):
    title: str
    subtitle: str
    color: Any
    rates_hz: NDArray[np.float64]
    edges_s: NDArray[np.float64]
    mean_hz: float


class FiringRateWidget(FigureWidget):
    """Draw the firing rate of each unit over time, one panel for each unit.

    Spikes in bins over their width; the last bin of a segment, if it is shorter than the others,
    over the width that it has. Bins that were not observed (`observed_periods`) are empty, and
    those in part are over that part. The dotted line is the mean over what was observed. Segments
    follow one another, and no bin spans two. (phy's FiringRateView is the same histogram;
    SpikeInterface has the presence of all units in one image, ``plot_unit_presence`` and no rates.)

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    unit_ids : sequence, optional
        All units by default; a tuple of unit ids is drawn as if merged.
    unit_colors : mapping of unit id to color, optional
        SpikeInterface's ``get_unit_colors`` by default.
    bin_s : float, optional
        Width of a bin, rounded to whole samples; by default a round number that gives at most 100
        bins.
    borders : "auto", SessionBorders, sequence of numbers or None, default: "auto"
        Where sessions begin that were sorted as one; a line and their names are drawn. As of
        `session_borders`; "auto": where they are known; None: none.
    page : int, default: 1
        Of more than 24 units, the first 24 are drawn; 2: the next 24, and so on. The figure says
        which and how many there are; ``num_pages`` of the widget is the number of pages.
    **figure_arguments
        ``figure``, ``axes`` (one for each unit), ``ax``, ``figsize``, ``figtitle``; see
        `FigureWidget`.

    Raises
    ------
    ParameterError
        The bin is smaller than a sample.
    UnknownIdError

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> rates, edges, _ = sic.plot_firing_rate(analyzer, [13], bin_s=40).ax.patches[0].get_data()
    >>> float((rates * np.diff(edges)).sum().round(6))
    1330.0
    """

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        unit_ids: Sequence[Any] | None = None,
        *,
        unit_colors: Mapping[Any, Any] | None = None,
        bin_s: float | None = None,
        borders: Literal["auto"] | SessionBorders | Sequence[float] | None = "auto",
        page: int = 1,
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(FiringRateWidget.__init__, locals())
        checks.number("bin_s", bin_s, above=0, at_most=1e9, optional=True)
        checks.whole_number("page", page, at_least=1)
        checks.finish()
        fs = sorting_analyzer.sampling_frequency
        starts_s = segment_starts_s(sorting_analyzer)
        duration_s = float(starts_s[-1])
        if bin_s is None:
            enough = [width for width in _WIDTHS_S if duration_s / width <= _MOST_BINS]
            bin_s = enough[0] if enough else duration_s / _MOST_BINS
        width = round(bin_s * fs)
        if width < 1:
            raise ParameterError(f"bin_s is {bin_s!r}, expected at least one sample, {1 / fs:g}")
        edges = [  # of each segment, in samples from its start
            np.append(np.arange(0, num_samples, width), num_samples)
            for num_samples in map(
                sorting_analyzer.get_num_samples, range(sorting_analyzer.get_num_segments())
            )
        ]
        first_bin = np.cumsum([0] + [one.size - 1 for one in edges])
        edges_s = np.concatenate(
            [start + one[:-1] / fs for start, one in zip(starts_s, edges, strict=False)]
            + [starts_s[-1:]]
        )
        observed = observed_periods(sorting_analyzer)
        widths_s = np.diff(edges_s)
        if not observed.is_whole:
            offsets = np.cumsum([0, *observed.segment_samples])
            ends = [one[:-1] + offset for one, offset in zip(edges, offsets, strict=False)]
            seen = observed.samples_within(np.concatenate([*ends, offsets[-1:]])) / fs
            widths_s = np.where(seen > 0, seen, np.nan)
        vector = spike_vector_of(sorting_analyzer.sorting)
        units = resolve_units(sorting_analyzer, unit_ids, unit_colors)
        units, part = page_of(units, page, figure_arguments)
        panels = []
        for unit in units:
            spikes = unit.spikes(sorting_analyzer)
            which = first_bin[vector["segment_index"][spikes]]
            which += vector["sample_index"][spikes] // width
            counts = np.bincount(which, minlength=first_bin[-1])
            mean = spikes.size / observed.duration_s
            panels.append(
                _Panel(
                    unit_title(sorting_analyzer, unit),
                    f"{spike_count(spikes.size)}, mean {mean:.3g} Hz, bins of {width / fs:g} s",
                    unit.color,
                    counts / widths_s,
                    edges_s,
                    mean,
                )
            )
        super().__init__(
            {
                "panels": panels,
                "page": part,
                "sorting_analyzer": sorting_analyzer,
                "borders": borders_to_draw(sorting_analyzer, borders),
            },
            **figure_arguments,
        )

    def _num_axes(self, data: dict[str, Any]) -> int:
        return len(data["panels"])

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        count = max(len(data["panels"]), 1)
        num_columns = min(count, _COLUMNS)
        return (0.4 + 3.6 * num_columns, 0.3 + 1.9 * -(-count // num_columns))

    def _make_axes(self, figure: Any, data: dict[str, Any]) -> list[Axes]:
        return make_grid(figure, len(data["panels"]), _COLUMNS)

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        for place, panel in zip(axes, data["panels"], strict=True):
            place.stairs(panel.rates_hz, panel.edges_s, fill=True, color=panel.color)
            place.axhline(panel.mean_hz, color="0.2", linewidth=0.8, linestyle=":")
            place.set_xlim(panel.edges_s[0], panel.edges_s[-1])
            place.set_ylim(0, 1.05 * float(np.nanmax(panel.rates_hz)) or 1.0)
            tidy(place)
            mark_segments(place, data["sorting_analyzer"])
            mark_sessions(place, data["borders"])
            label_axes(place, "time (s)", "rate (Hz)")
            title_panel(place, panel.title, panel.subtitle)
            if panel.mean_hz == 0:
                write_note(place, "no spikes")


plot_firing_rate = figure_function(FiringRateWidget)
