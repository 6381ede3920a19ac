"""Intervals between successive spikes of units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import Checks
from si_curation.errors import ParameterError
from si_curation.kernels.isi import isi_histogram
from si_curation.views.pages import page_of
from si_curation.views.style import (
    LIMIT_COLOR,
    label_axes,
    make_grid,
    spike_count,
    tidy,
    title_panel,
    unit_title,
    write_note,
)
from si_curation.views.units import DrawnUnit, resolve_units
from si_curation.views.widget import FigureArguments, FigureWidget, Unpack, figure_function

_COLUMNS = 5
_LOG_BINS_PER_DECADE = 20
_WINDOW_MS, _LOG_WINDOW_MS = 50.0, 10_000.0


class _Panel(NamedTuple):
    title: str
    subtitle: str
    color: Any
    counts: NDArray[np.int64]
    edges_ms: NDArray[np.float64]


class IsiWidget(FigureWidget):
    """Draw histograms of the intervals between successive spikes, one panel for each unit.

    Counts are exact: intervals are whole samples and bins are whole samples, half-open, as of
    `CrossCorrelograms.get_isi_histogram`; the extension is not needed. The line is the refractory
    period, and the panel says how many intervals are shorter. Intervals across segments do not
    count. (SpikeInterface's ``plot_isi_distribution`` draws densities of rounded times, without the
    last bin, and adds the densities of segments.)

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    unit_ids : sequence, optional
        All units by default; a tuple of unit ids is drawn as if merged.
    unit_colors : mapping of unit id to color, optional
        SpikeInterface's ``get_unit_colors`` by default.
    window_ms : float, optional
        Intervals from 0 to this are shown; 50 by default, 10,000 with log-spaced bins.
    bin_ms : float
        Width of a bin, rounded to whole samples; of no use with log-spaced bins.
    refractory_period_ms : float
        Rounded to whole samples.
    log : bool
        20 bins to the decade, whose edges are whole samples, from one sample on. Intervals of 0
        samples, if any, are not in a bin; the panel says how many there are.
    page : int, default: 1
        Of more than 24 units, the first 24 are drawn; 2: the next 24, and so on. The figure says
        which and how many there are; ``num_pages`` of the widget is the number of pages.
    **figure_arguments
        ``figure``, ``axes`` (one for each unit), ``ax``, ``figsize``, ``figtitle``; see
        `FigureWidget`.

    Raises
    ------
    ParameterError
        A bin is smaller than a sample, or no bin fits into the window.
    UnknownIdError

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> widget = sic.plot_isi(analyzer, [4])
    >>> int(widget.ax.patches[0].get_data().values.sum())
    393
    """

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        unit_ids: Sequence[Any] | None = None,
        *,
        unit_colors: Mapping[Any, Any] | None = None,
        window_ms: float | None = None,
        bin_ms: float = 0.5,
        refractory_period_ms: float = 2.0,
        log: bool = False,
        page: int = 1,
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(IsiWidget.__init__, locals())
        checks.number("window_ms", window_ms, above=0, at_most=3.6e6, optional=True)
        checks.number("bin_ms", bin_ms, above=0)
        checks.number("refractory_period_ms", refractory_period_ms, above=0)
        checks.whole_number("page", page, at_least=1)
        checks.finish()
        fs = sorting_analyzer.sampling_frequency
        if window_ms is None:
            window_ms = _LOG_WINDOW_MS if log else _WINDOW_MS
        window, refractory = round(fs * window_ms * 1e-3), round(fs * refractory_period_ms * 1e-3)
        width = 1 if log else round(fs * bin_ms * 1e-3)
        units = resolve_units(sorting_analyzer, unit_ids, unit_colors)
        units, part = page_of(units, page, figure_arguments)
        panels = []
        for unit in units:
            trains = _spike_trains(sorting_analyzer, unit)
            counts = isi_histogram(trains, window, width)
            edges = np.arange(counts.size + 1) * width
            zeros = int(counts[0]) if log else 0
            if log:
                edges = _log_edges(counts.size)
                counts = np.add.reduceat(counts, edges[:-1])
            num_short = sum(int(np.count_nonzero(np.diff(t) < refractory)) for t in trains)
            num_intervals = sum(max(train.size - 1, 0) for train in trains)
            panels.append(
                _Panel(
                    unit_title(sorting_analyzer, unit),
                    _describe_intervals(
                        sum(train.size for train in trains),
                        num_intervals,
                        num_short,
                        refractory * 1e3 / fs,
                        zeros,
                    ),
                    unit.color,
                    counts,
                    edges * 1e3 / fs,
                )
            )
        super().__init__(
            {
                "panels": panels,
                "page": part,
                "refractory_period_ms": refractory * 1e3 / fs,
                "log": bool(log),
            },
            **figure_arguments,
        )

    def _num_axes(self, data: dict[str, Any]) -> int:
        return len(data["panels"])

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        count = max(len(data["panels"]), 1)
        num_columns = min(count, _COLUMNS)
        return (0.4 + 2.6 * num_columns, 0.3 + 2.2 * -(-count // num_columns))

    def _make_axes(self, figure: Any, data: dict[str, Any]) -> list[Axes]:
        return make_grid(figure, len(data["panels"]), _COLUMNS)

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        for place, panel in zip(axes, data["panels"], strict=True):
            place.stairs(panel.counts, panel.edges_ms, fill=True, color=panel.color)
            if data["log"]:
                place.set_xscale("log")
            place.set_xlim(panel.edges_ms[0], panel.edges_ms[-1])
            place.axvline(data["refractory_period_ms"], color=LIMIT_COLOR, linewidth=0.9)
            place.set_ylim(0, 1.05 * max(int(panel.counts.max()), 1))
            tidy(place)
            label_axes(place, "interval (ms)", "intervals")
            title_panel(place, panel.title, panel.subtitle)
            if not panel.counts.any():
                write_note(place, "no intervals")


plot_isi = figure_function(IsiWidget)


def _spike_trains(analyzer: SortingAnalyzer, unit: DrawnUnit) -> list[NDArray[np.int64]]:
    """Return the samples of the spikes of a unit, for each segment, ascending."""
    vector, spikes = spike_vector_of(analyzer.sorting), unit.spikes(analyzer)
    segments = vector["segment_index"][spikes]
    starts = np.searchsorted(segments, np.arange(analyzer.get_num_segments() + 1))
    samples = vector["sample_index"][spikes]
    return [samples[a:b] for a, b in pairwise(starts)]


def _log_edges(num_samples: int) -> NDArray[np.int64]:
    """Return edges of bins in whole samples, the first 1, the last `num_samples`."""
    count = int(np.ceil(np.log10(max(num_samples, 2)) * _LOG_BINS_PER_DECADE)) + 1
    edges = np.unique(np.round(np.geomspace(1, num_samples, count)).astype(np.int64))
    if edges.size < 2:
        raise ParameterError("the window is one sample long, expected at least 2")
    return edges


def _describe_intervals(
    num_spikes: int, num_intervals: int, num_short: int, refractory_ms: float, zeros: int
) -> str:
    text = spike_count(num_spikes)
    if num_intervals:
        share = num_short / num_intervals
        text += f", {share:.2%} of intervals < {refractory_ms:.3g} ms"
    if zeros:
        text += f"\n{zeros:,} intervals of 0 samples are not shown"
    return text
