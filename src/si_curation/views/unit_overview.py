"""All that a curator needs to judge one unit, on one page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import is_color_like
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, short_repr
from si_curation.reading.observed import observed_periods
from si_curation.reading.probe import planar_locations
from si_curation.reading.sessions import SessionBorders, borders_to_draw
from si_curation.views.amplitudes_over_time import plot_amplitudes_over_time
from si_curation.views.colors import ACCENTS
from si_curation.views.contamination import plot_contamination
from si_curation.views.cross_correlograms import plot_cross_correlograms
from si_curation.views.firing_rate import plot_firing_rate
from si_curation.views.isi import plot_isi
from si_curation.views.overview import Box, OverviewWidget, add_features, format_number, write_table
from si_curation.views.references import UnitTemplates, template_counts_of
from si_curation.views.similarity import plot_similarity
from si_curation.views.style import QUIET, spike_count, unit_title
from si_curation.views.templates_by_source import plot_unit_templates_by_source
from si_curation.views.units import DrawnUnit, resolve_units
from si_curation.views.widget import (
    FigureArguments,
    Unpack,
    figure_function,
    prepare_extensions,
)

# first channel over time, both against each other, second channel over time
_FEATURE_PLACES = [(5.05, 1.95, 0.85, 0.85), (3.25, 0.75, 1.2, 2.05), (5.05, 0.75, 0.85, 0.85)]
_METRICS = (
    "presence_ratio",
    "amplitude_cutoff",
    "noise_ratio",
    "isolation_distance",
    "nn_hit_rate",
)


class UnitOverviewWidget(OverviewWidget):
    """Draw all that a curator needs to judge one unit on one page.

    Its templates, auto-correlogram, intervals, amplitudes and firing rate over time, features, the
    most similar units, contamination and the key numbers: the single figures, each as its function
    draws it. Extensions that are missing are computed and held in memory; a panel that cannot be
    drawn says why.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        "template_assignment", "template_best_channels", "cross_correlograms" and
        "unit_similarity" are computed where they are missing; "spike_amplitudes",
        "curation_metrics" and ``pc_features.npy`` are used where they are there.
    unit_id : int, str or tuple
        Several ids in a tuple are drawn as if they were merged.
    refractory_period_ms : float, default: 2.0
        Of the lines in the auto-correlogram and the intervals. Contamination estimates its own.
    color : color, optional
    borders : "auto", SessionBorders, sequence of numbers or None, default: "auto"
        Where sessions begin that were sorted as one; a line and their names are drawn. As of
        `session_borders`; "auto": where they are known; None: none.
    **figure_arguments
        ``figure``, ``figsize``, ``figtitle``; see `FigureWidget`.

    Attributes
    ----------
    panels : dict
        "templates", "correlogram", "isi", "amplitudes", "firing_rate", "features", "similarity",
        "contamination": the widget of each, or a sentence on what is missing.
    numbers : dict
        The key numbers as they are written.

    Raises
    ------
    UnknownIdError
        The unit does not exist.
    ParameterError
        Axes are given, or a period cannot be used.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> widget = sic.plot_unit_overview(analyzer, 13)
    >>> widget.numbers["spikes"], sum(isinstance(one, str) for one in widget.panels.values())
    ('1,330', 0)
    """

    numbers: dict[str, str]

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        unit_id: Any,
        *,
        refractory_period_ms: float = 2.0,
        color: Any = ACCENTS[0],
        borders: Literal["auto"] | SessionBorders | Sequence[float] | None = "auto",
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(UnitOverviewWidget.__init__, locals())
        checks.number("refractory_period_ms", refractory_period_ms, above=0)
        checks.require(
            is_color_like(color), f"color is {short_repr(color)}, expected a color of matplotlib"
        )
        checks.finish()
        (unit,) = resolve_units(sorting_analyzer, [unit_id], {})
        count = len(unit.spikes(sorting_analyzer))
        prepare_extensions(sorting_analyzer, "template_assignment", "template_best_channels")
        self.numbers = key_numbers(sorting_analyzer, unit)
        data = {
            "analyzer": sorting_analyzer,
            "unit_id": unit.unit_ids if len(unit.unit_ids) > 1 else unit.unit_ids[0],
            "colors": dict.fromkeys(unit.unit_ids, color),
            "title": f"{unit_title(sorting_analyzer, unit)} · {spike_count(count)}",
            "refractory_period_ms": refractory_period_ms,
            "borders": borders_to_draw(sorting_analyzer, borders),
        }
        super().__init__(data, **figure_arguments)

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        analyzer, ids = data["analyzer"], [data["unit_id"]]
        paint: dict[str, Any] = {"unit_colors": data["colors"]}
        period: dict[str, Any] = {"refractory_period_ms": data["refractory_period_ms"]}
        over_time: dict[str, Any] = {**paint, "borders": data["borders"]}
        axes[0].text(0.03, 0.965, data["title"], fontsize=12, va="center")

        def add(name: str, title: str, place: Box, function: Any, **more: Any) -> None:
            self.add_panel(
                name, title, [place], lambda **where: function(analyzer, ids, **more, **where)
            )

        place, templates = (0.35, 4.0, 2.4, 3.35), plot_unit_templates_by_source
        add("templates", "templates", place, templates, max_templates=5)
        place = (3.5, 5.95, 2.25, 1.4)
        add("correlogram", "auto-correlogram", place, plot_cross_correlograms, **paint, **period)
        add("isi", "intervals", (3.5, 3.75, 2.25, 1.4), plot_isi, **paint, **period)
        place = (6.5, 5.95, 4.25, 1.4)
        add("amplitudes", "amplitudes", place, plot_amplitudes_over_time, **over_time)
        add("firing_rate", "firing rate", (6.5, 3.75, 4.25, 1.4), plot_firing_rate, **over_time)
        add("contamination", "contamination", (9.9, 0.75, 0.85, 1.85), plot_contamination)
        self.add_panel(
            "similarity", "similar units", [(6.5, 0.75, 1.7, 1.85)],
            lambda **where: plot_similarity(
                analyzer, ids[0], show_templates=False, num_units=8, **where
            ),
        )  # fmt: skip
        drawn = add_features(self, analyzer, ids, data["colors"], _FEATURE_PLACES, data["borders"])
        footnote = f"Grey: spikes of other units on the best channels. {drawn}"
        axes[0].text(0.03, 0.016, footnote, fontsize=7, color=QUIET, va="bottom")
        write_table(self._place(0.35, 0.5, 1.9, 2.3), self.numbers, "key numbers")


plot_unit_overview = figure_function(UnitOverviewWidget)


def key_numbers(sorting_analyzer: SortingAnalyzer, unit: DrawnUnit) -> dict[str, str]:
    """Return spikes, rate, templates, place and metrics of a unit, those that are known.

    Returns
    -------
    dict of str to str
        Metrics of the extension "curation_metrics" are of single units alone.
    """
    analyzer = sorting_analyzer
    count = len(unit.spikes(analyzer))
    duration = observed_periods(analyzer).duration_s
    numbers = {
        "spikes": f"{count:,}",
        "firing rate": f"{format_number(count / duration if duration > 0 else np.nan)} Hz",
    }
    assignment = analyzer.get_extension("template_assignment")
    if assignment is not None:
        counts = template_counts_of(analyzer, unit)
        numbers["templates"] = str(np.count_nonzero(counts))
        if count:
            template_id = int(counts.argmax())
            share = counts[template_id] / count
            numbers["most frequent"] = f"{template_id} ({share:.0%})"
            numbers |= _place(analyzer, unit)
    if len(unit.unit_ids) == 1:
        numbers |= _properties(analyzer, unit)
    return numbers


def _place(analyzer: SortingAnalyzer, unit: DrawnUnit) -> dict[str, str]:
    templates = UnitTemplates(analyzer)
    channels = templates.channels(unit)
    if channels.size == 0:
        return {}
    best = int(channels[0])
    waveform = templates.template(unit)[:, best]
    return {
        "best channel": str(analyzer.channel_ids[best]),
        "depth": f"{format_number(float(planar_locations(analyzer)[best, 1]), 5)} µm",
        "peak to peak": f"{format_number(np.ptp(waveform))} {templates.units}",
    }


def _properties(analyzer: SortingAnalyzer, unit: DrawnUnit) -> dict[str, str]:
    (row,) = unit.rows(analyzer)
    found = {}
    label = analyzer.sorting.get_property("KSLabel")
    if label is not None and str(label[row]) not in ("", "nan"):
        found["KSLabel"] = str(label[row])
    metrics = analyzer.get_extension("curation_metrics")
    if metrics is not None:
        table = metrics.get_data()
        for name in _METRICS:
            if name in table:
                value = float(table[name].iloc[row])
                found[name.replace("_", " ")] = format_number(value)
    return found
