"""An effect against sorting quality: one panel for each metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from si_curation.checks import Checks
from si_curation.errors import UnknownIdError
from si_curation.quality.effect.effect_vs_quality import EffectVsQuality
from si_curation.views.pages import page_of
from si_curation.views.widget import FigureArguments, FigureWidget, Unpack, figure_function

_COLUMNS = 4
_VERDICT_COLORS = {
    "stable": "#0072B2",
    "shrinks": "#B87700",
    "vanishes": "#D55E00",
    "grows": "#009E73",
    "too few units": "0.5",
    "untested": "0.5",
}
_BAND = "0.87"


class EffectVsQualityWidget(FigureWidget):
    """Draw the effect at stricter and stricter thresholds of each metric.

    To the right the thresholds are stricter, with their values below and the number of units left
    above. The line is the effect of the units left with its interval (colour by the verdict), the
    grey band what random removal of as many units gives, the dotted line no effect.

    Parameters
    ----------
    result : EffectVsQuality
    metrics : sequence of str, optional
        All by default.
    page : int, default: 1
        Of more than 24 metrics, the first 24 are drawn; 2: the next 24, and so on.
    **figure_arguments
        ``figure``, ``axes`` (one for each metric), ``figsize``, ``figtitle``; see `FigureWidget`.

    Raises
    ------
    ParameterError, UnknownIdError
        A metric is not in the result, or the axes are too few or too many.

    Examples
    --------
    >>> from si_curation.quality.effect.effect_vs_quality import effect_vs_quality
    >>> rng = np.random.default_rng(0)
    >>> metrics = pd.DataFrame({"snr": rng.gamma(4.0, 2.0, 50)})
    >>> result = effect_vs_quality(pd.Series(rng.normal(1.0, 1.0, 50)), metrics)
    >>> plot_effect_vs_quality(result).ax.get_xlabel()
    'snr ≥'
    """

    def __init__(
        self,
        result: EffectVsQuality,
        metrics: Sequence[str] | None = None,
        *,
        page: int = 1,
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(EffectVsQualityWidget.__init__, locals())
        checks.whole_number("page", page, at_least=1)
        checks.finish()
        names = list(result.summary.index) if metrics is None else list(metrics)
        unknown = [name for name in names if name not in result.summary.index]
        if unknown or not names:
            raise UnknownIdError(f"metrics {unknown} were not tested: {list(result.summary.index)}")
        names, part = page_of(names, page, figure_arguments, what="metrics", chosen_by="metrics")
        super().__init__({"result": result, "names": names, "page": part}, **figure_arguments)

    def _num_axes(self, data: dict[str, Any]) -> int:
        return len(data["names"])

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        num_columns = min(len(data["names"]), _COLUMNS)
        num_rows = -(-len(data["names"]) // num_columns)
        return (max(0.7 + 2.6 * num_columns, 5.6), 0.75 + 2.3 * num_rows)

    def _make_axes(self, figure: Any, data: dict[str, Any]) -> list[Axes]:
        count = len(data["names"])
        num_columns = min(count, _COLUMNS)
        grid = figure.add_gridspec(-(-count // num_columns), num_columns)
        panels: list[Axes] = []
        for i in range(count):
            place = grid[i // num_columns, i % num_columns]
            panels.append(figure.add_subplot(place, sharey=panels[0] if panels else None))
            if i % num_columns:
                panels[-1].tick_params(labelleft=False)
        _label_grid(figure, panels, data["result"])
        return panels

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        for panel, name in zip(axes, data["names"], strict=True):
            _draw_metric(panel, data["result"], name)


plot_effect_vs_quality = figure_function(EffectVsQualityWidget)


def _label_grid(figure: Any, panels: list[Axes], result: EffectVsQuality) -> None:
    num_columns = min(len(panels), _COLUMNS)
    statistic = result.settings["statistic"]
    name = f"{statistic} effect" if isinstance(statistic, str) else "effect"
    for panel in panels[::num_columns]:
        panel.set_ylabel("effect" if statistic == "function" else name, fontsize=8)
    level = f"{100 * result.settings['level']:g} %"
    handles = [
        Line2D(
            [], [], color="0.3", marker="o", markersize=3, label=f"units left, {level} interval"
        ),
        Patch(color=_BAND, label=f"random removal of as many, {level}"),
        Line2D([], [], color="0.3", linestyle=":", label="no effect"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7, frameon=False)


def _draw_metric(axes: Axes, result: EffectVsQuality, name: str) -> None:
    row = result.summary.loc[name]
    table = result.table[result.table["metric"] == name]
    color = _VERDICT_COLORS[row["verdict"]]
    shown_name = f"|{name}|" if result.settings["directions"][name].absolute else name
    axes.set_title(_describe_verdict(row), fontsize=7.5, loc="left", pad=14, color=color)
    axes.set_xlabel(shown_name, fontsize=8)
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.axhline(result.settings["null_value"], color="0.3", linewidth=0.8, linestyle=":", zorder=1)
    if len(table) == 0:
        axes.set_xticks([])
        few = row["verdict"] == "too few units"
        text = f"{row['n_units']:,} units" if few else "the same for all units"
        axes.text(0.5, 0.55, text, transform=axes.transAxes, ha="center", color="0.5", fontsize=8)
        return
    # places by the share of units that were removed, so that tails take no more room than they have
    x = 1.0 - table["n_units"].to_numpy() / row["n_units"]
    columns = ("removed_lower", "removed_upper", "effect", "lower", "upper")
    removed_lower, removed_upper, effect, lower, upper = (table[c].to_numpy() for c in columns)
    axes.fill_between(x, removed_lower, removed_upper, color=_BAND, linewidth=0, zorder=0)
    axes.errorbar(
        x,
        effect,
        yerr=np.maximum([effect - lower, upper - effect], 0.0),
        color=color,
        marker="o",
        markersize=3,
        linewidth=1.2,
        elinewidth=0.8,
        zorder=2,
    )
    shown = _spread(x)
    axes.set_xticks(x[shown], [f"{v:.3g}" for v in table["threshold"].to_numpy()[shown]])
    sign = {">=": "≥", "<=": "≤"}[table["comparison"].iloc[0]]
    axes.set_xlabel(f"{shown_name} {sign}", fontsize=8)
    margin = 0.06 * max(float(np.ptp(x)), 0.1)
    axes.set_xlim(x.min() - margin, x.max() + margin)
    units = table["n_units"].to_numpy()
    for i in shown:
        axes.annotate(
            f"n = {units[i]:,}" if i == shown[0] else f"{units[i]:,}",
            (x[i], 1.0),
            (0, 3),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=6,
            color="0.45",
        )


def _describe_verdict(row: pd.Series) -> str:
    text = str(row["verdict"])
    if np.isfinite(row["p_removal"]):
        text += f" ({_p(row['p_removal'])})"
    if row["explained"]:
        return f"{text}, but ρ {_number(row['rho'])}, partial {_number(row['partial_rho'])}"
    if np.isfinite(row["rho"]):
        text += f", ρ {_number(row['rho'])}"
        if np.isfinite(row["partial_rho"]):
            text += f", partial {_number(row['partial_rho'])}"
    return text


def _number(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= 0.001 else "p < 0.001"


def _spread(x: np.ndarray, smallest: float = 0.18) -> list[int]:
    """Choose places for labels that do not touch: the first, the last, and what fits between."""
    width = float(np.ptp(x)) or 1.0
    chosen = [0]
    for i in range(1, len(x) - 1):
        if x[i] - x[chosen[-1]] >= smallest * width and x[-1] - x[i] >= smallest * width:
            chosen.append(i)
    return [*chosen, len(x) - 1] if len(x) > 1 else chosen
