"""The page of all sessions: one file that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from si_curation.batch.recipe import Recipe
from si_curation.batch.session import FAILED_STATUS
from si_curation.batch.state import BatchFolder
from si_curation.quality.effect.effect_vs_quality import EffectVsQuality
from si_curation.quality.metrics.registry import METRIC_DESCRIPTIONS

# those to look at first; what is not there is not shown
_SHOWN = (
    "firing_rate",
    "presence_ratio",
    "amplitude_cutoff",
    "rp_contamination",
    "isi_violations_ratio",
    "drift_ptp",
    "isolation_distance",
    "nn_hit_rate",
    "amplitude_median",
    "snr",
)
_MAX_METRICS = 6
_UNUSUAL = 3.5  # robust standard deviations of the sessions' medians
_MIN_SESSIONS = 5
_SEARCH_FROM = 20  # sessions; with fewer they are seen at a glance
_WIDTH = 96  # of a drawing, in pixels


class Results(NamedTuple):
    """What is on the page: the tables as in the files of these names, and what still waits."""

    sessions: pd.DataFrame
    units: pd.DataFrame
    quantiles: pd.DataFrame
    effect: EffectVsQuality | None
    benchmarks: pd.DataFrame | None
    num_waiting: int = 0


def make_page(
    batch: BatchFolder,
    recipe: Recipe,
    results: Results,
    notes: list[str],
    warnings: Mapping[str, Sequence[str]],
) -> str:
    """Return the page as text.

    Parameters
    ----------
    batch : BatchFolder
    recipe : Recipe
    results : Results
    notes : list of str
    warnings : mapping of str to sequence of str
        Of each session.

    Returns
    -------
    str
        HTML; names and texts are escaped, links are relative to the folder of the batch.
    """
    from jinja2 import Environment, PackageLoader

    sessions, units, quantiles, effect, benchmarks, num_waiting = results
    drawn = _metrics(quantiles)
    environment = Environment(loader=PackageLoader("si_curation.batch", ""), autoescape=True)
    groups = units.groupby("session")["group"].value_counts().unstack(fill_value=0)
    return environment.get_template("page.html.j2").render(
        title=batch.folder.name,
        counts=sessions["status"].value_counts().to_dict(),
        num_sessions=len(sessions),
        num_waiting=num_waiting,
        search_from=_SEARCH_FROM,
        num_units=int(sessions["num_units"].sum()),
        num_spikes=int(sessions["num_spikes"].sum()),
        rows=[
            _row(batch, row, groups, warnings[row["session"]])
            for row in sessions.to_dict("records")
        ],
        labels=list(groups.columns),
        failed=sessions[sessions["status"] == FAILED_STATUS].to_dict("records"),
        metrics=drawn,
        odd=_odd(sessions, drawn, warnings),
        effect=None if effect is None else _effect(effect),
        benchmarks=[] if benchmarks is None else _benchmarks(benchmarks),
        notes=notes,
        versions=list(dict.fromkeys(sessions["versions"])),
        recipe=json.dumps(recipe.model_dump(mode="json"), indent=2),
    )


def _row(
    batch: BatchFolder, row: dict[str, Any], groups: pd.DataFrame, warnings: Sequence[str]
) -> dict[str, Any]:
    name = row["session"]
    folder = batch.outputs_of(name)
    links = {}
    if row["status"] != FAILED_STATUS:
        shown = [("report", "report.html"), ("phy", "phy"), ("NWB", f"{name}.nwb")]
        shown.append(("files", ""))
        links = {
            text: quote(f"sessions/{name}/{file}")
            for text, file in shown
            if (folder / file).exists()
        }
    by_label = groups.loc[name].tolist() if name in groups.index else [""] * len(groups.columns)
    return {**row, "links": links, "by_label": by_label, "warned": list(warnings)}


def _odd(
    sessions: pd.DataFrame, drawn: Mapping[str, Any], warnings: Mapping[str, Sequence[str]]
) -> set[str]:
    """Return the sessions to look at first: failed, with warnings, or far from the others."""
    odd = set(sessions.loc[sessions["status"] == FAILED_STATUS, "session"])
    odd |= {session for session, texts in warnings.items() if texts}
    for column in drawn["columns"]:
        cells = zip(drawn["sessions"], column["cells"], strict=True)
        odd |= {session for session, cell in cells if cell is not None and cell["unusual"]}
    return odd


def _metrics(quantiles: pd.DataFrame) -> dict[str, Any]:
    """Return the drawings of each metric by session."""
    there = list(dict.fromkeys(quantiles["metric"]))
    names = [name for name in _SHOWN if name in there][:_MAX_METRICS]
    if not names:
        names = [name for name in there if name != "num_spikes"][:_MAX_METRICS]
    order = list(dict.fromkeys(quantiles["session"]))
    columns = []
    for name in names:
        of = quantiles[quantiles["metric"] == name].set_index("session").reindex(order)
        unusual = _unusual(of["median"].to_numpy(dtype=np.float64))
        low, high = float(of["q10"].min()), float(of["q90"].max())
        cells = [
            _cell(row, low, high, bool(is_unusual))
            for row, is_unusual in zip(of.to_dict("records"), unusual, strict=True)
        ]
        known = METRIC_DESCRIPTIONS.get(name)
        description = "" if known is None else str(known)
        ends = {"low": _short(low), "high": _short(high)}
        columns.append({"name": name, **ends, "cells": cells, "description": description})
    return {"sessions": order, "columns": columns}


def _unusual(medians: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which sessions are far from the others, by the median absolute deviation."""
    known = medians[~np.isnan(medians)]
    if known.size < _MIN_SESSIONS:
        return np.zeros(medians.size, dtype=bool)
    distance = np.abs(medians - np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - np.median(known))))
    return distance > _UNUSUAL * spread if spread > 0 else np.zeros(medians.size, dtype=bool)


def _cell(row: dict[str, Any], low: float, high: float, unusual: bool) -> dict[str, Any] | None:
    if np.isnan(row["median"]):
        return None
    span = high - low or 1.0
    keys = ("q10", "q25", "median", "q75", "q90")
    x = {key: round((row[key] - low) / span * (_WIDTH - 4) + 2, 1) for key in keys}
    return {
        "x": x,
        "text": _short(row["median"]),
        "unusual": unusual,
        "num_units": int(row["num_units"]),
    }


def _short(value: float) -> str:
    """Return a number with few digits: 1234 rather than 1.23e+03."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def _benchmarks(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of the benchmarks as texts."""
    return [
        {
            "session": row["session"],
            "suggestion": row["suggestion"],
            "precision": _share(row, "precision", "precision"),
            "recall": _share(row, "recall_upper_bound", "recall"),
            "num_suggestions": _short(row["num_suggestions"]),
        }
        for row in table.to_dict("records")
    ]


def _share(row: Mapping[str, Any], name: str, ends: str) -> str:
    if pd.isna(row[name]):
        return "–"
    return f"{row[name]:.2f} ({row[f'{ends}_low']:.2f} to {row[f'{ends}_high']:.2f})"


def _effect(effect: EffectVsQuality) -> dict[str, Any]:
    from matplotlib.figure import Figure

    from si_curation.views.effect_vs_quality import plot_effect_vs_quality

    rows = effect.summary.reset_index()[["metric", "verdict", "n_units", "p_removal", "reason"]]
    image = io.BytesIO()
    figure = Figure()
    plot_effect_vs_quality(effect, figure=figure)
    figure.savefig(image, format="png", dpi=110)
    return {
        "value": effect.effect,
        "rows": rows.to_dict("records"),
        "image": base64.b64encode(image.getvalue()).decode("ascii"),
    }
