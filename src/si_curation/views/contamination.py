"""Contamination of units by every usual formula, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks
from si_curation.quality.contamination import check_periods, estimate_panel
from si_curation.views.colors import ACCENTS
from si_curation.views.style import (
    QUIET,
    label_axes,
    spike_count,
    tidy,
    title_panel,
    unit_title,
)
from si_curation.views.units import resolve_units
from si_curation.views.widget import FigureArguments, FigureWidget, Unpack, figure_function

ESTIMATES = {
    "isi_violations_ratio": "ISI violations (ratio)",
    "hill_contamination": "Hill, one neuron",
    "rp_contamination": "Llobet, many neurons",
    "rp_contamination_one_neuron": "Llobet, one neuron",
    "sliding_rp_violation": "sliding RP, at most",
    "sliding_rp_ibl": "sliding RP (IBL), at most",
    "kilosort_r12": "Kilosort R12 (ratio)",
}
_COLOR, _UNKNOWN = ACCENTS[0], "0.82"
_MOST_NAMES = 40
# what is written in the figure for a longer reason
_SHORT_REASONS = {
    "too_few_expected": "not enough spikes",
    "too_few_in_centre": "not enough spikes",
    "no_estimate": "not enough spikes",
    "model_refuted": "refuted",
    "nothing_ruled_out": "not below 35 %",
}


class ContaminationWidget(FigureWidget):
    """Draw the estimates of `contamination_panel` with their intervals.

    One unit has one panel with all estimates; several have a panel for each estimate, with a unit
    in each row. A pale band without a point: not enough spikes to estimate; the band covers the
    contaminations that are possible. A cross: no estimate and no interval, because there are no
    spikes, or because the model is "refuted": there are more violations than one other neuron can
    make. `contamination_panel` has the full reasons.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Any; no extension is needed.
    unit_ids : sequence, optional
        All by default. Several ids in a tuple are drawn as if they were merged.
    refractory_period_ms, censored_period_ms, confidence_level
        As of `contamination_panel`.
    **figure_arguments
        ``figure``, ``ax`` (one unit), ``axes`` (six for several units), ``figsize``, ``figtitle``;
        see `FigureWidget`.

    Attributes
    ----------
    table : pandas.DataFrame
        What is drawn, with the columns of `contamination_panel`; indexed by "7", or "11 + 12".

    Raises
    ------
    ParameterError
        A period or the confidence level cannot be used.
    UnknownIdError
        A unit does not exist.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> widget = sic.plot_contamination(analyzer, [11, 12, (11, 12)])
    >>> widget.table.num_spikes.to_dict()
    {'11': 191, '12': 192, '11 + 12': 383}
    """

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        unit_ids: Sequence[Any] | None = None,
        *,
        refractory_period_ms: float | None = None,
        censored_period_ms: float = 0.0,
        confidence_level: float = 0.95,
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(ContaminationWidget.__init__, locals())
        check_periods(
            checks, sorting_analyzer, refractory_period_ms, censored_period_ms, confidence_level
        )
        checks.finish()
        units = resolve_units(sorting_analyzer, unit_ids, {})
        groups = None
        if unit_ids is not None:
            groups = [unit.spikes(sorting_analyzer) for unit in units]
        panel = estimate_panel(
            sorting_analyzer, groups, refractory_period_ms, censored_period_ms, confidence_level
        )
        self.table = panel.table.set_axis([unit.label for unit in units], axis="index")
        data = {
            "table": self.table,
            "reasons": panel.reasons,
            "title": unit_title(sorting_analyzer, units[0]) if len(units) == 1 else "",
            "level": confidence_level,
        }
        super().__init__(data, **figure_arguments)

    def _num_axes(self, data: dict[str, Any]) -> int:
        return 1 if len(data["table"]) == 1 else len(ESTIMATES)

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        num_rows = len(data["table"])
        return (5.0, 3.0) if num_rows == 1 else (10.5, 1.4 + min(0.2 * num_rows, 10.0))

    def _make_axes(self, figure: Any, data: dict[str, Any]) -> list[Axes]:
        if len(data["table"]) == 1:
            return [figure.subplots()]
        figure.supxlabel(
            f"share of the spikes or ratio, {100 * data['level']:g} % intervals; pale: not enough "
            "spikes to estimate, everything in the band is possible; ×: no estimate",
            fontsize=8,
        )
        return list(figure.subplots(1, len(ESTIMATES), sharey=True))

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        table = data["table"]
        if len(table) == 1:
            _draw_unit(axes[0], table.iloc[0], data)
            return
        for panel, (column, name) in zip(axes, ESTIMATES.items(), strict=True):
            _draw_column(panel, table, column)
            panel.set_title(name, fontsize=8, pad=4)
        step = -(-max(len(table), 1) // _MOST_NAMES)
        axes[0].set_yticks(np.arange(len(table))[::step], table.index[::step])
        label_axes(axes[0], "", "unit" if step == 1 else f"unit (each {step}th is named)")


plot_contamination = figure_function(ContaminationWidget)


def _interval(table: pd.DataFrame, column: str) -> tuple[NDArray, NDArray, NDArray]:
    value = table[column].to_numpy(dtype=np.float64)
    if f"{column}_lower" not in table:
        return value, value, value
    lower, upper = (
        table[f"{column}_{end}"].to_numpy(dtype=np.float64) for end in ("lower", "upper")
    )
    return value, lower, upper


def _draw_estimates(axes: Axes, y: NDArray, value: NDArray, lower: NDArray, upper: NDArray) -> None:
    """Draw points with intervals; pale bands where there is an interval without a point."""
    is_known, has_interval = np.isfinite(value), np.isfinite(lower) & np.isfinite(upper)
    size = 4 if len(y) <= _MOST_NAMES else 2
    for chosen, color, width, name in (
        (~is_known & has_interval, _UNKNOWN, 1.6 * size, "not enough spikes"),
        (is_known, _COLOR, 0.3 * size, "interval"),
    ):
        axes.hlines(
            y[chosen], lower[chosen], upper[chosen], color=color, linewidth=width, label=name
        )
    axes.plot(value[is_known], y[is_known], "o", color=_COLOR, markersize=size, label="estimate")
    nothing = y[~is_known & ~has_interval]
    axes.plot(np.zeros(nothing.size), nothing, "x", color=QUIET, markersize=size, label="nothing")


def _draw_column(axes: Axes, table: pd.DataFrame, column: str) -> None:
    value, lower, upper = _interval(table, column)
    _draw_estimates(axes, np.arange(len(table), dtype=np.float64), value, lower, upper)
    known = value[np.isfinite(value)]
    # a ratio has no upper limit: bands may go on to the right
    most = max(0.1, known.max(initial=0.0), min(np.nanmax(upper, initial=0.0), 1.0))
    axes.set_xlim(-0.04 * most, 1.05 * most)
    axes.set_ylim(len(table) - 0.5, -0.5)
    tidy(axes)


def _draw_unit(axes: Axes, row: pd.Series, data: dict[str, Any]) -> None:
    table = data["table"]
    found = np.array([[part[0] for part in _interval(table, column)] for column in ESTIMATES])
    y = np.arange(len(ESTIMATES), dtype=np.float64)
    _draw_estimates(axes, y, *np.minimum(found, 1.0).T)
    for place, (column, (value, lower, upper)) in enumerate(zip(ESTIMATES, found, strict=True)):
        if np.isfinite(value):
            text = _number(value)
            if f"{column}_lower" in table:
                text += f" [{_number(lower)}, {_number(upper)}]"
        else:
            reason = data["reasons"][column][0]
            text = _SHORT_REASONS.get(reason.code, str(reason))
        axes.annotate(
            text, (1.0, place), (4, 0), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", va="center", fontsize=7, color=QUIET, annotation_clip=False,
        )  # fmt: skip
    axes.set_xlim(-0.05, 1.05)
    axes.set_ylim(len(ESTIMATES) - 0.5, -0.5)
    axes.set_yticks(y, list(ESTIMATES.values()))
    tidy(axes)
    label_axes(axes, f"share or ratio ({100 * data['level']:g} % intervals)")
    source = {"given": "given", "autocorrelogram": "estimated"}.get(
        row["refractory_period_source"], "default"
    )
    count, expected = int(row["rp_violations"]), row["expected_pairs"]
    violations = "1 violation" if count == 1 else f"{count:,} violations"
    by_chance = f"{expected:,.0f}" if expected >= 100 else f"{expected:.3g}"
    title_panel(
        axes,
        data["title"],
        f"{spike_count(row['num_spikes'])}\n"
        f"refractory period {row['refractory_period_ms']:.3g} ms ({source})\n"
        f"{violations}, {by_chance} by chance",
    )


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10.0 else f"{value:.0f}"  # ratios have no upper limit
