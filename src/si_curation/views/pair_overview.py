"""All that a curator needs to decide whether two units are one neuron, on one page."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks
from si_curation.errors import MissingDataError, ParameterError
from si_curation.evidence.merges import suggest_merges
from si_curation.reading.probe import planar_locations
from si_curation.reading.sessions import SessionBorders, borders_to_draw
from si_curation.views.amplitudes_over_time import plot_amplitudes_over_time
from si_curation.views.colors import ACCENTS
from si_curation.views.contamination import plot_contamination
from si_curation.views.cross_correlograms import plot_cross_correlograms
from si_curation.views.firing_rate import plot_firing_rate
from si_curation.views.isi import plot_isi
from si_curation.views.overview import Box, OverviewWidget, add_features, format_number, write_table
from si_curation.views.probe import draw_template, frame_channels, probe_scale
from si_curation.views.references import ChannelRanking, template_counts_of
from si_curation.views.style import (
    QUIET,
    spike_count,
    template_units,
    title_panel,
    unit_title,
)
from si_curation.views.template_features import plot_template_features
from si_curation.views.units import DrawnUnit, resolve_units
from si_curation.views.widget import (
    FigureArguments,
    Unpack,
    figure_function,
    prepare_extensions,
    require_extensions,
)

_FIRST, _SECOND, _TOGETHER = ACCENTS[0], ACCENTS[1], ACCENTS[3]
_FEATURE_PLACES = [(8.25, 0.65, 0.8, 0.95), (6.65, 0.65, 1.0, 0.95), (9.6, 0.65, 0.8, 0.95)]
_MATRIX = [(x, y, 1.2, 1.3) for y in (6.95, 4.85) for x in (3.6, 5.25)]


class PairOverviewWidget(OverviewWidget):
    """Draw all that a curator needs to decide whether two units are one neuron, on one page.

    Both templates on the channels of both, their correlograms and that of both together, intervals
    of both together, amplitudes and firing rates over time, template features, features,
    contamination of both together, and the evidence of `suggest_merges`, in numbers and as text.
    Extensions that are missing are computed and held in memory; a panel that cannot be drawn says
    why.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        "template_assignment", "cross_correlograms" and "template_features" are computed where
        they are missing; "unit_similarity", "spike_amplitudes", "spike_locations" and
        ``pc_features.npy`` are used where they are there.
    unit_a, unit_b : int, str or tuple
        Several ids in a tuple are drawn as if they were merged; the evidence is of two units alone.
    refractory_period_ms : float, default: 2.0
        Of the lines in the correlograms. Evidence and contamination estimate their own.
    borders : "auto", SessionBorders, sequence of numbers or None, default: "auto"
        Where sessions begin that were sorted as one; a line and their names are drawn. As of
        `session_borders`; "auto": where they are known; None: none.
    **figure_arguments
        ``figure``, ``figsize``, ``figtitle``; see `FigureWidget`.

    Attributes
    ----------
    panels : dict
        "templates", "correlograms", "merged_correlogram", "merged_isi", "amplitudes",
        "firing_rate_a", "firing_rate_b", "template_features", "features", "merged_contamination":
        the widget of each ("templates": the axes), or a sentence on what is missing.
    evidence : pandas.Series or str
        The row of the table of `suggest_merges`, or why there is none.

    Raises
    ------
    UnknownIdError
        A unit does not exist.
    ParameterError
        Both units are the same, or axes are given.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> widget = sic.plot_pair_overview(analyzer, 11, 12)
    >>> int(widget.evidence["refractory_observed"])
    0
    """

    page_size = (13.2, 9.3)
    evidence: pd.Series | str

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        unit_a: Any,
        unit_b: Any,
        *,
        refractory_period_ms: float = 2.0,
        borders: Literal["auto"] | SessionBorders | Sequence[float] | None = "auto",
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(PairOverviewWidget.__init__, locals())
        checks.number("refractory_period_ms", refractory_period_ms, above=0)
        checks.finish()
        units = resolve_units(sorting_analyzer, [unit_a, unit_b], {})
        together = units[0].unit_ids + units[1].unit_ids
        if len(set(together)) < len(together):
            raise ParameterError(f"{unit_a!r} and {unit_b!r} have units in common")
        prepare_extensions(sorting_analyzer, "template_assignment", "template_best_channels")
        self.evidence = _evidence(sorting_analyzer, units)
        colors = dict.fromkeys(units[0].unit_ids, _FIRST) | dict.fromkeys(
            units[1].unit_ids, _SECOND
        )
        data = {
            "analyzer": sorting_analyzer,
            "units": [unit._replace(color=colors[unit.unit_ids[0]]) for unit in units],
            "together": together,
            "colors": colors,
            "refractory_period_ms": refractory_period_ms,
            "borders": borders_to_draw(sorting_analyzer, borders),
            "titles": [
                f"{unit_title(sorting_analyzer, unit)} · "
                f"{spike_count(len(unit.spikes(sorting_analyzer)))}"
                for unit in units
            ],
        }
        super().__init__(data, **figure_arguments)

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        analyzer, units = data["analyzer"], data["units"]
        ids = [u.unit_ids if len(u.unit_ids) > 1 else u.unit_ids[0] for u in units]
        both = [data["together"]]
        paint: dict[str, Any] = {"unit_colors": data["colors"]}
        as_one: dict[str, Any] = {"unit_colors": dict.fromkeys(both[0], _TOGETHER)}
        period: dict[str, Any] = {"refractory_period_ms": data["refractory_period_ms"]}
        over_time: dict[str, Any] = {**paint, "borders": data["borders"]}
        for x, text, color in zip((0.03, 0.35), data["titles"], (_FIRST, _SECOND), strict=True):
            axes[0].text(x, 0.968, text, fontsize=12, va="center", color=color)

        def add(name: str, title: str, place: Box, function: Any, what: Any, **more: Any) -> None:
            def draw(**where: Any) -> Any:
                return function(analyzer, *what, **more, **where)

            self.add_panel(name, title, [place], draw)

        self.add_panel(
            "templates", "templates", [(0.3, 4.4, 2.55, 3.95)],
            lambda ax: _draw_templates(ax, analyzer, units),
        )  # fmt: skip
        self.add_panel(
            "correlograms", "correlograms", _MATRIX,
            lambda axes: plot_cross_correlograms(analyzer, ids, axes=axes, **paint, **period),
        )  # fmt: skip
        place = (7.3, 6.95, 4.7, 1.3)
        add("amplitudes", "amplitudes", place, plot_amplitudes_over_time, [ids], **over_time)
        for i, x in enumerate((7.3, 10.35)):
            name, title = f"firing_rate_{'ab'[i]}", f"firing rate of {units[i].label}"
            add(name, title, (x, 4.85, 2.4, 1.3), plot_firing_rate, [ids[i : i + 1]], **over_time)
        name, title = "merged_correlogram", "auto-correlogram of both together"
        place = (0.6, 2.55, 2.25, 1.1)
        add(name, title, place, plot_cross_correlograms, [both], **as_one, **period)
        place = (0.6, 0.65, 2.25, 1.0)
        add("merged_isi", "intervals of both together", place, plot_isi, [both], **as_one, **period)
        place = (3.6, 0.65, 2.25, 3.0)
        title = "template features"
        add("template_features", title, place, plot_template_features, ids, **paint)
        name, title = "merged_contamination", "contamination of both together"
        add(name, title, (7.75, 2.5, 1.2, 1.1), plot_contamination, [both])
        drawn = add_features(self, analyzer, ids, data["colors"], _FEATURE_PLACES, data["borders"])
        footnote = f"Grey: spikes of other units on the best channel of the first. {drawn}"
        axes[0].text(0.03, 0.014, footnote, fontsize=7, color=QUIET, va="bottom")
        rows, below = _describe_evidence(self.evidence, units)
        write_table(self._place(10.85, 0.4, 2.1, 3.55), rows, "merge evidence", below)


plot_pair_overview = figure_function(PairOverviewWidget)


def _evidence(analyzer: SortingAnalyzer, units: list[DrawnUnit]) -> pd.Series | str:
    if any(len(unit.unit_ids) > 1 for unit in units):
        return "the evidence is of two units, not of units drawn as merged"
    try:
        table = suggest_merges(
            analyzer,
            unit_ids=[unit.unit_ids[0] for unit in units],
            min_similarity=-1.0,
            max_distance_um=np.inf,
        ).table
    except MissingDataError as error:
        return str(error)
    if table.empty:
        return "a unit without spikes, or without a template, has no evidence"
    return table.iloc[0]


def _describe_evidence(
    evidence: pd.Series | str, units: list[DrawnUnit]
) -> tuple[dict[str, str], str]:
    if isinstance(evidence, str):
        return {}, "\n".join(textwrap.wrap(evidence, 36))
    row = evidence
    a, b = ("a", "b") if row["unit_id_a"] == units[0].unit_ids[0] else ("b", "a")
    interval = f"[{format_number(row['refractory_ratio_lower'], 2)}, "
    interval += f"{format_number(row['refractory_ratio_upper'], 2)}]"
    rows = {
        "score": format_number(row["score"], 2),
        "similarity": format_number(row["similarity"], 2),
        "probability of one neuron": format_number(row["one_neuron_probability"], 2),
        "waveforms join (term)": format_number(row["waveform_term"], 2),
        "amplitudes agree (term)": format_number(row["amplitude_term"], 2),
        "depths agree (term)": format_number(row["depth_term"], 2),
        "distance": f"{format_number(row['distance_um'])} µm",
        "coincidences / expected": f"{format_number(row['refractory_ratio'], 2)} {interval}",
        "the same if one neuron": format_number(row["refractory_ratio_if_one"], 2),
        "active at the same times": f"{row['time_overlap']:.0%}",
        "spikes found twice": f"{row['duplicate_fraction']:.0%}",
        f"contamination of {units[0].label}": format_number(row[f"contamination_{a}"], 2),
        f"contamination of {units[1].label}": format_number(row[f"contamination_{b}"], 2),
        "of both together": format_number(row["contamination_merged"], 2),
    }
    return rows, "\n".join(textwrap.wrap(row["reason"], 40))


def _draw_templates(axes: Axes, analyzer: SortingAnalyzer, units: list[DrawnUnit]) -> Axes:
    """Draw the most frequent template of each unit on the best channels of both."""
    (assignment,) = require_extensions(analyzer, "template_assignment")
    ranking = ChannelRanking(analyzer)
    shown = [unit for unit in units if template_counts_of(analyzer, unit).any()]
    found = [channel for unit in shown for channel in ranking.channels_of_unit(unit)]
    channels = np.array(list(dict.fromkeys(found)), dtype=np.int64)
    if channels.size == 0:
        raise MissingDataError("both units have no template")
    ids = [int(template_counts_of(analyzer, unit).argmax()) for unit in shown]
    templates = [assignment.get_templates()[template_id] for template_id in ids]
    positions = planar_locations(analyzer)
    scale = probe_scale(templates, channels, positions)
    handles = []
    # the first is wider, so that it can be seen below an equal one
    for unit, template_id, template, width in zip(shown, ids, templates, (2.2, 1.0), strict=False):
        draw_template(axes, template, channels, positions, scale, unit.color, width)
        name = f"{unit.label}: template {template_id}"
        handles.append(Line2D([], [], color=unit.color, label=name))
    unit_name = template_units(assignment.info)
    frame_channels(axes, channels, positions, scale, analyzer.sampling_frequency, unit_name)
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.0, 0.0), fontsize=7, frameon=False,
        borderaxespad=0.0,
    )  # fmt: skip
    title_panel(axes, "templates", "most frequent ones, in one scale")
    return axes
