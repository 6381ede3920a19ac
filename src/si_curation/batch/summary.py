"""The summary of all sessions: tables, the effect against quality, and a page."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from si_curation.batch.page import Results, make_page
from si_curation.batch.recipe import Effect, Recipe
from si_curation.batch.session import FAILED_STATUS
from si_curation.batch.state import BatchFolder
from si_curation.batch.trust import gather_benchmarks, write_calibrations
from si_curation.errors import ParameterError
from si_curation.files import format_csv, replace_file
from si_curation.quality.effect.effect_vs_quality import EffectVsQuality, effect_vs_quality

logger = logging.getLogger(__name__)

_QUANTILES = {"q10": 0.1, "q25": 0.25, "median": 0.5, "q75": 0.75, "q90": 0.9}
_KEYS = ("session", "unit_id", "group")


def write_summary(
    batch: BatchFolder, recipe: Recipe, rows: Sequence[dict[str, Any]]
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Write ``sessions.csv``, ``units.csv``, ``metrics_by_session.csv`` and ``summary.html``.

    They describe the current outputs, and are replaced each time. With an effect in the recipe also
    ``effect_vs_quality.csv`` (verdicts) and ``effect_vs_quality_thresholds.csv``; with a benchmark
    ``benchmarks.csv``, and ``calibration_<kind>.json`` where there are enough sessions.

    Returns
    -------
    sessions, units : pandas.DataFrame
    notes : list of str
        What could not be computed, and why.
    """
    sessions = make_sessions(rows)
    notes: list[str] = []
    units = gather_units(batch, sessions, notes)
    quantiles = quantiles_by_session(units)
    effect = None
    if recipe.effect is not None:
        effect = _test_effect(recipe.effect, units, notes)
    _write(batch.folder / "sessions.csv", sessions)
    _write(batch.folder / "units.csv", units)
    _write(batch.folder / "metrics_by_session.csv", quantiles)
    if effect is not None:
        _write(batch.folder / "effect_vs_quality.csv", effect.summary.reset_index())
        _write(batch.folder / "effect_vs_quality_thresholds.csv", effect.table)
        notes += effect.notes
    warnings = {row["session"]: row["warnings"] for row in rows}
    tried = None
    if recipe.benchmark is not None:
        done = sessions.loc[sessions["status"] != FAILED_STATUS, "session"].tolist()
        tried, files = gather_benchmarks(batch, done, notes)
        _write(batch.folder / "benchmarks.csv", tried)
        kinds = list(dict.fromkeys(tried["suggestion"]))
        write_calibrations(batch.folder, kinds, files, notes)
    results = Results(sessions, units, quantiles, effect, tried)
    page = make_page(batch, recipe, results, notes, warnings)
    replace_file(batch.folder / "summary.html", page.encode("utf-8"))
    return sessions, units, notes


def _write(path: Path, table: pd.DataFrame) -> None:
    replace_file(path, format_csv(table))


def make_sessions(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return the table of the sessions; see `si_curation.batch.run.BatchResult`."""
    steps = list(dict.fromkeys(step for row in rows for step in row["seconds"]))
    table = pd.DataFrame({key: [r[key] for r in rows] for key in ("session", "folder", "status")})
    for key in ("num_units", "num_spikes"):
        table[key] = pd.array([row[key] for row in rows], dtype="Int64")
    table["seconds"] = [round(sum(row["seconds"].values()), 4) for row in rows]
    for step in steps:
        table[f"seconds_{step}"] = [row["seconds"].get(step, np.nan) for row in rows]
    table["versions"] = [
        ", ".join(f"{name} {number}" for name, number in row["versions"].items()) for row in rows
    ]
    table["warnings"] = ["; ".join(row["warnings"]) for row in rows]
    table["error"] = [row["error"] for row in rows]
    return table


def gather_units(
    batch: BatchFolder, sessions: pd.DataFrame, notes: list[str] | None = None
) -> pd.DataFrame:
    """Return the units of all sessions that are done in one table; ids as text.

    A table that cannot be read is left out, with a note.
    """
    parts = []
    for name in sessions.loc[sessions["status"] != FAILED_STATUS, "session"]:
        path = batch.outputs_of(name) / "units.csv"
        try:
            part = _read_units(path)
        except (OSError, ValueError, RecursionError) as fault:
            if notes is not None:
                notes.append(f"{path} is left out: {' '.join(str(fault).split())}")
            continue
        part.insert(0, "session", name)
        parts.append(part)
    filled = [part for part in parts if len(part)]
    if not filled:
        return parts[0] if parts else pd.DataFrame(columns=[*_KEYS, "num_spikes"])
    # columns that are empty in one session and numbers in another are numbers
    return pd.concat(
        [part.dropna(axis=1, how="all") for part in filled], ignore_index=True
    ).reindex(columns=list(dict.fromkeys(c for part in parts for c in part.columns)))


def _read_units(path: Path) -> pd.DataFrame:
    table = pd.read_csv(
        path, dtype={"unit_id": str, "group": str}, keep_default_na=False, na_values=[""]
    )
    missing = [name for name in ("unit_id", "group", "num_spikes") if name not in table]
    if missing or "session" in table:
        raise ValueError(f"it has no column {missing[0]}" if missing else "it has a column session")
    return table


def quantiles_by_session(units: pd.DataFrame) -> pd.DataFrame:
    """Compute quantiles of each metric over the units of each session.

    Returns
    -------
    pandas.DataFrame
        Long: ``session``, ``metric``, ``num_units`` that have it, ``q10``, ``q25``, ``median``,
        ``q75``, ``q90``.
    """
    columns = ["session", "metric", "num_units", *_QUANTILES]
    numeric = units.select_dtypes("number").columns
    if len(units) == 0 or len(numeric) == 0:
        return pd.DataFrame(columns=columns)
    long = units.melt("session", numeric, "metric", "value").dropna(subset="value")
    grouped = long.astype({"value": np.float64}).groupby(["session", "metric"], sort=False)["value"]
    table = grouped.quantile(list(_QUANTILES.values())).unstack()
    table.columns = list(_QUANTILES)
    table.insert(0, "num_units", grouped.size())
    return table.reset_index()[columns]


def _test_effect(effect: Effect, units: pd.DataFrame, notes: list[str]) -> EffectVsQuality | None:
    """Test the effect against quality, sessions being the groups; add a note if that fails."""
    try:
        values = _read_effect(effect)
        return effect_vs_quality(
            values,
            units.set_index(["session", "unit_id"]).drop(columns="group"),
            effect.metric_names,
            statistic=effect.statistic,
            null_value=effect.null_value,
            min_units=effect.min_units,
            groups="session",
        )
    except ParameterError as fault:
        notes.append(f"effect_vs_quality: {fault}")
        logger.warning("effect_vs_quality: %s", fault)
        return None


def _read_effect(effect: Effect) -> pd.Series:
    try:
        table = pd.read_csv(effect.table, dtype={"session": str, "unit_id": str})
    except (OSError, ValueError) as fault:
        raise ParameterError(f"{effect.table} cannot be read as a table: {fault}") from None
    missing = [c for c in ("session", "unit_id", effect.column) if c not in table.columns]
    if missing:
        raise ParameterError(f"{effect.table}: there is no column {', '.join(missing)}")
    # a table that had missing ids once has whole numbers as 4.0
    table["unit_id"] = [re.sub(r"^(\d+)\.0+$", r"\1", str(i)) for i in table["unit_id"]]
    return table.set_index(["session", "unit_id"])[effect.column]
