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
from si_curation.batch.units_table import write_units
from si_curation.errors import ParameterError
from si_curation.files import format_csv, replace_file
from si_curation.quality.effect.effect_vs_quality import EffectVsQuality, effect_vs_quality

logger = logging.getLogger(__name__)

_QUANTILES = {"q10": 0.1, "q25": 0.25, "median": 0.5, "q75": 0.75, "q90": 0.9}


def write_summary(
    batch: BatchFolder, recipe: Recipe, rows: Sequence[dict[str, Any]], num_waiting: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Write ``sessions.csv``, ``units.csv``, ``metrics_by_session.csv`` and ``summary.html``.

    They describe the current outputs, and are replaced each time. With an effect in the recipe also
    ``effect_vs_quality.csv`` (verdicts) and ``effect_vs_quality_thresholds.csv``; with a benchmark
    ``benchmarks.csv``, and ``calibration_<kind>.json`` where there are enough sessions.

    Parameters
    ----------
    batch : BatchFolder
    recipe : Recipe
    rows : sequence of dict
        Of the sessions that have ended.
    num_waiting : int
        Sessions that have not. With any, what needs all sessions is left for the last summary: the
        effect and the calibrations.

    Returns
    -------
    sessions, units : pandas.DataFrame
    notes : list of str
        What could not be computed, and why.
    """
    sessions = make_sessions(rows)
    notes: list[str] = []
    done = sessions.loc[sessions["status"] != FAILED_STATUS, "session"].tolist()
    units = write_units(batch, done, notes)
    quantiles = quantiles_by_session(units)
    effect = None
    if recipe.effect is not None and not num_waiting:
        effect = _test_effect(recipe.effect, units, notes)
    _write(batch.folder / "sessions.csv", sessions)
    _write(batch.folder / "metrics_by_session.csv", quantiles)
    if effect is not None:
        _write(batch.folder / "effect_vs_quality.csv", effect.summary.reset_index())
        _write(batch.folder / "effect_vs_quality_thresholds.csv", effect.table)
        notes += effect.notes
    warnings = {row["session"]: row["warnings"] for row in rows}
    tried = None
    if recipe.benchmark is not None and not num_waiting:
        tried, files = gather_benchmarks(batch, done, notes)
        _write(batch.folder / "benchmarks.csv", tried)
        kinds = list(dict.fromkeys(tried["suggestion"]))
        write_calibrations(batch.folder, kinds, files, notes)
    results = Results(sessions, units, quantiles, effect, tried, num_waiting)
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
    grouped = units[numeric].astype(np.float64).groupby(units["session"], sort=False)
    quantiles = grouped.quantile(list(_QUANTILES.values()))
    counts = grouped.count()
    long = []
    for name in numeric:
        table = quantiles[name].unstack().reindex(counts.index)
        table.columns = list(_QUANTILES)
        table.insert(0, "metric", name)
        table.insert(1, "num_units", counts[name])
        long.append(table[table["num_units"] > 0])
    order = {session: place for place, session in enumerate(counts.index)}
    together = pd.concat(long).reset_index()
    together = together.sort_values("session", key=lambda names: names.map(order), kind="stable")
    return together.reset_index(drop=True)[columns]


def _test_effect(effect: Effect, units: pd.DataFrame, notes: list[str]) -> EffectVsQuality | None:
    """Test the effect against quality, sessions being the groups; add a note if that fails."""
    try:
        values = read_effect(effect)
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


def read_effect(effect: Effect) -> pd.Series:
    """Return the values of an effect by session and unit."""
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
