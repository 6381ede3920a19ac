"""Matrix of auto- and cross-correlograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks
from si_curation.errors import ParameterError
from si_curation.views.pages import page_of
from si_curation.views.style import label_axes, spike_count, tidy, unit_title
from si_curation.views.units import resolve_units
from si_curation.views.widget import (
    FigureArguments,
    FigureWidget,
    Unpack,
    figure_function,
    require_extensions,
)

MAX_UNITS = 12
_WIDEST = 18.8  # inches of the panels
SMALL, TINY = 7, 6  # points
_CROSS_COLOR = "0.55"
_LINE = "0.25"
_VALUE_NAMES = {
    "counts": "pairs of spikes per bin",
    "hz": "rate (Hz)",
    "probability": "spikes per bin and spike",
}


class CrossCorrelogramsWidget(FigureWidget):
    """Draw the auto-correlograms of units on the diagonal and their cross-correlograms beside it.

    As phy's CorrelogramView: the dotted line is what independent units of constant rates would
    have, the dashed ones are the refractory period. Panel (row, column) is the pair of the unit of
    the row and that of the column; what the lag is of is said below. (SpikeInterface's
    ``plot_crosscorrelograms`` draws its own extension "correlograms", without baseline and
    merged units.)

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        The extension "cross_correlograms", of any convention and bins, is computed in memory where
        it is missing, with its defaults. Pairs that it does not store (``pairs="neighbours"`` or
        ``"auto"``) are counted now.
    unit_ids : sequence, optional
        All by default. Several ids in a tuple are drawn as if they were merged: exactly the counts
        that they would have.
    unit_colors : mapping of unit id to color, optional
        Of the auto-correlograms; SpikeInterface's ``get_unit_colors`` by default.
    normalization : {"counts", "hz", "probability"}
        As of `CrossCorrelograms.get_ccg`.
    convention : {"spikeinterface", "phy", "centered"}, optional
        That of the extension by default.
    refractory_period_ms : float or None, default: 2.0
        Where the dashed lines are; None for none.
    baseline : bool, default: True
    page : int, default: 1
        Of more than 12 units, the matrix of the first 12 is drawn; 2: of the next 12, and so on.
        Pairs of two pages are in none: name both units. The figure says which it shows.
    **figure_arguments
        ``figure``, ``axes`` (n_units**2 panels, row by row), ``figsize``, ``figtitle``; see
        `FigureWidget`.

    Raises
    ------
    MissingDataError
        The extension cannot be computed.
    ParameterError
        A parameter cannot be used.
    UnknownIdError
        A unit does not exist.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> widget = sic.plot_cross_correlograms(analyzer, [4, 13, (11, 12)])
    >>> widget.axes.size
    9
    """

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        unit_ids: Sequence[Any] | None = None,
        *,
        unit_colors: Mapping[Any, Any] | None = None,
        normalization: Literal["counts", "hz", "probability"] = "counts",
        convention: Literal["spikeinterface", "phy", "centered"] | None = None,
        refractory_period_ms: float | None = 2.0,
        baseline: bool = True,
        page: int = 1,
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(CrossCorrelogramsWidget.__init__, locals())
        checks.number("refractory_period_ms", refractory_period_ms, above=0, optional=True)
        checks.whole_number("page", page, at_least=1)
        checks.finish()
        self._is_labelled = False  # for the whole matrix, once
        (extension,) = require_extensions(sorting_analyzer, "cross_correlograms")
        units = resolve_units(sorting_analyzer, unit_ids, unit_colors)
        if not units:
            raise ParameterError("unit_ids is empty, expected at least one unit")
        units, part = page_of(units, page, figure_arguments, per_page=MAX_UNITS)
        groups = [unit.rows(sorting_analyzer) for unit in units]
        is_log = extension.params["bins"] == "log"
        name = convention or extension.params["convention"]
        is_second_less_first = name == "phy" and not is_log
        data = {
            "units": units,
            "page": part,
            "titles": [unit_title(sorting_analyzer, unit) for unit in units],
            "found": extension.get_group_correlograms(groups, convention, normalization),
            "is_log": is_log,
            "lag": "column − row" if is_second_less_first else "row − column",
            "normalization": normalization,
            "refractory_period_ms": refractory_period_ms,
            "with_baseline": baseline,
        }
        super().__init__(data, **figure_arguments)

    def _num_axes(self, data: dict[str, Any]) -> int:
        return len(data["units"]) ** 2

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        n = len(data["units"])
        width = min(1.45, _WIDEST / n)
        return (0.8 + max(n * width, 3.0), 0.7 + max(n * 0.83 * width, 2.0))

    def _make_axes(self, figure: Any, data: dict[str, Any]) -> list[Axes]:
        n = len(data["units"])
        self._is_labelled = True
        panels = figure.subplots(n, n, squeeze=False, sharex=True)
        if n > 1:
            figure.supxlabel(f"lag, {data['lag']} (ms)", fontsize=SMALL + 1)
            figure.supylabel(_VALUE_NAMES[data["normalization"]], fontsize=SMALL + 1)
        return list(panels.ravel())

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        n = len(data["units"])
        for place, panel in enumerate(axes):
            self._draw_pair(panel, data, *divmod(place, n))
        for panel, unit in zip(axes[::n], data["units"], strict=True):
            panel.set_ylabel(unit.label, fontsize=SMALL)
        if n == 1:
            label_axes(axes[0], "lag (ms)", _VALUE_NAMES[data["normalization"]])
        elif not self._is_labelled:
            for panel in axes[-n:]:
                panel.set_xlabel(f"lag, {data['lag']} (ms)", fontsize=SMALL)

    def _draw_pair(self, panel: Axes, data: dict[str, Any], row: int, column: int) -> None:
        values, bins, expected, _ = data["found"]
        height = np.nan_to_num(values[row, column])
        color = data["units"][row].color if row == column else _CROSS_COLOR
        panel.stairs(height, bins, fill=True, color=color, linewidth=0, zorder=1)
        top = float(height.max(initial=0))
        level = expected[row, column]
        if data["with_baseline"] and np.isfinite(level).all():
            panel.stairs(level, bins, color=_LINE, linewidth=0.8, linestyle=":", baseline=None)
            top = max(top, float(level.max(initial=0)))
        period = data["refractory_period_ms"]
        if period is not None:
            for lag in (-period, period):
                panel.axvline(lag, color=_LINE, linewidth=0.6, linestyle="--", zorder=3)
        if data["is_log"] and panel.get_xscale() != "symlog":
            panel.set_xscale("symlog", linthresh=float(bins[bins > 0][0]))
        limits = (float(bins[0]), float(bins[-1]))
        if panel.get_xlim() != limits:  # panels that share them are told once
            panel.set_xlim(*limits)
        if data["normalization"] == "counts":
            top = max(top, 1.0)
        panel.set_ylim(0, 1.08 * top if top > 0 else 1.0)
        tidy(panel)
        panel.yaxis.set_major_locator(MaxNLocator(2, integer=data["normalization"] == "counts"))
        panel.tick_params(labelsize=TINY)
        if not height.any():
            panel.text(
                0.5,
                0.5,
                _why_empty(data, row, column),
                transform=panel.transAxes,
                ha="center",
                fontsize=TINY,
                color="0.45",
            )
        if row == column or row == 0:
            panel.set_title(_title(data, row, column), fontsize=SMALL, pad=3)


plot_cross_correlograms = figure_function(CrossCorrelogramsWidget)


def _title(data: dict[str, Any], row: int, column: int) -> str:
    if row != column:
        return f"{data['units'][row].label} × {data['units'][column].label}"
    count = int(data["found"].num_spikes[column])
    if len(data["units"]) == 1:
        return f"{data['titles'][0]} · {spike_count(count)}"
    return f"{data['units'][column].label} · {spike_count(count)}"


def _why_empty(data: dict[str, Any], row: int, column: int) -> str:
    counts = data["found"].num_spikes[[row, column]]
    if counts.min() == 0:
        return "no spikes"
    return "one spike" if row == column and counts[0] == 1 else "no pairs in the window"
