"""Pairs that may be one neuron, and units that are more than one, with their evidence."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from si_curation.errors import MissingDataError
from si_curation.evidence.bad_merges import bad_merges_of_units
from si_curation.evidence.calibration import Calibration
from si_curation.evidence.merges import (
    DEFAULT_SCORE_THRESHOLD,
    MergeSuggestions,
    best_merges,
)
from si_curation.evidence.splits import SplitSuggestions, splits_of_units
from si_curation.progress import stage
from si_curation.report.context import ReportContext
from si_curation.report.encode import plain
from si_curation.report.formatting import format_value
from si_curation.report.unit_panel import UnitPanels
from si_curation.variables import BAD_MERGES, CALIBRATION, MERGES, SPLITS, Table, UnitIndices

MAX_CANDIDATES = 300
CANDIDATE_COLUMNS = (*MergeSuggestions.main_columns[:-1], "distance_um", "reason")
BAD_MERGE_COLUMNS = (
    "unit_id",
    "template_id_a",
    "template_id_b",
    "num_spikes_a",
    "num_spikes_b",
    "ratio",
    "ratio_allowed",
    "reason",
)

SPLIT_COLUMNS = (
    "unit_id",
    "score",
    "num_spikes",
    "num_parts",
    "smaller_share",
    "separation",
    "expected_error",
    "method",
    "reason",
)


class EvidenceTable(NamedTuple):
    """A table for the page.

    Attributes
    ----------
    columns : list of (name, description)
    rows : list of list of (text, value)
    note : str
        What is missing, or what is left out.
    """

    columns: list[tuple[str, str]]
    rows: list[list[tuple[str, Any]]]
    note: str = ""


def merge_candidates(
    context: ReportContext, panels: UnitPanels, calibration: Calibration | None = None
) -> tuple[EvidenceTable, list[dict[str, Any]]]:
    """Return the table of candidates, and the numbers of the panel that compares each pair."""
    try:
        table, num_pairs = best_merges(context.of_units, context.rows, MAX_CANDIDATES, calibration)
    except MissingDataError as fault:
        return EvidenceTable([], [], f"Merge candidates cannot be computed: {fault}."), []
    note = f"Pairs with a score of {DEFAULT_SCORE_THRESHOLD:g} or more are suggested."
    if num_pairs > MAX_CANDIDATES:
        note += f" The best {MAX_CANDIDATES} of {num_pairs} pairs are shown."
    units = context.analyzer.sorting.ids_to_indices
    at, counts, baselines = panels.correlograms(
        np.stack([units(table[f"unit_id_{side}"].to_numpy()) for side in "ab"], axis=1)
    )
    names = [name for name, _ in evidence_of_pairs(calibration)]
    texts = [[format_value(one) for one in plain(table[name].to_numpy())] for name in names]
    pairs = [
        {
            "a": context.row_of[a],
            "b": context.row_of[b],
            "ccg": None
            if place < 0
            else {"counts": counts[place].tolist(), "baseline": baselines[place]},
            "refractory_ms": refractory_ms,
            "is_suggested": score >= DEFAULT_SCORE_THRESHOLD,
            "evidence": list(evidence),
        }
        for a, b, refractory_ms, score, place, evidence in zip(
            table["unit_id_a"].tolist(),
            table["unit_id_b"].tolist(),
            table["refractory_period_ms"].tolist(),
            table["score"].tolist(),
            at.tolist(),
            zip(*texts, strict=True),
            strict=True,
        )
    ]
    return evidence_table(table, CANDIDATE_COLUMNS, MERGES, note), pairs


def evidence_of_pairs(calibration: Calibration | None) -> list[tuple[str, str]]:
    """Return names and descriptions of what the panel of a pair shows."""
    known = CALIBRATION.descriptions().items() if calibration is not None else ()
    return [*MERGES.descriptions().items(), *known]


def bad_merges(context: ReportContext) -> tuple[EvidenceTable, pd.DataFrame | None]:
    """Return the table of merges that the refractory period refutes, and what it is of."""
    try:
        with stage("bad merges"):
            table = bad_merges_of_units(context.of_units, UnitIndices(context.rows))
    except MissingDataError as fault:
        return EvidenceTable([], [], f"Bad merges cannot be computed: {fault}."), None
    return evidence_table(table, BAD_MERGE_COLUMNS, BAD_MERGES, ""), table


def split_candidates(
    context: ReportContext,
    calibration: Calibration | None = None,
    bad: pd.DataFrame | None = None,
) -> tuple[EvidenceTable, SplitSuggestions]:
    """Return the table of units that may be more than one neuron, and what it is of."""
    found = splits_of_units(context.analyzer, context.rows, calibration=calibration, bad_merges=bad)
    table = found.table[found.table["score"] >= found.score_threshold / 2]
    note = f"Units with a score of {found.score_threshold:g} or more are suggested."
    for missing in found.missing:
        note += f" Missing evidence: {missing}."
    return evidence_table(table, SPLIT_COLUMNS, SPLITS, note), found


def evidence_table(
    table: pd.DataFrame, names: tuple[str, ...], variables: Table, note: str
) -> EvidenceTable:
    """Return columns of a table of evidence for the page, after the score its probability."""
    described = dict(variables)
    if "score" in names and "probability" in table and "probability" not in described:
        place = names.index("score") + 1
        names = (*names[:place], *CALIBRATION, *names[place:])
        described |= dict(CALIBRATION)
    values = [plain(table[name].to_numpy()) for name in names]
    rows = [[(format_value(value), value) for value in row] for row in zip(*values, strict=True)]
    return EvidenceTable([(name, str(described[name])) for name in names], rows, note)
