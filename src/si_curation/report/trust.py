"""How far to trust the suggestions of the page, measured on the sorting's own good units."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from si_curation.evidence.benchmark.benchmark import SOURCE_TEXTS, benchmark_suggestions
from si_curation.report.context import ReportContext


class Trust(NamedTuple):
    """What the page says of the suggestions.

    Attributes
    ----------
    intro : str
        What they were tried on.
    rows : list of tuple of str
        Suggestion, change, how much was found (or why it was not tried).
    precisions : list of tuple of str
        Suggestion, precision.
    """

    intro: str
    rows: list[tuple[str, str, str]]
    precisions: list[tuple[str, str]]


def how_far_to_trust(context: ReportContext) -> Trust:
    """Return how often suggestions are right in the whole sorting."""
    found = benchmark_suggestions(context.analyzer)
    count = f"{len(found.unit_ids)} of {found.num_good_units} units"
    intro = (
        f"Suggestions were tried on {count} {SOURCE_TEXTS[found.source]}. They were changed on "
        "copies, where the right answer is known; 95 % intervals. Real splits are harder to find "
        "than these."
    )
    precisions = [
        (str(name), _share(row, "precision", "precision", "num_right", "num_suggestions"))
        for name, row in found.iterrows()
    ]
    rows = []
    for index, row in found.by_change.iterrows():
        name, change = tuple(index)
        text = _share(row, "recall_upper_bound", "recall", "num_found", "num_changes")
        rows.append((name, change, found.missing.get((name, change), text)))
    return Trust(intro, rows, precisions)


def _share(row: pd.Series[Any], name: str, ends: str, part: str, whole: str) -> str:
    if not row[whole]:
        return "not known"
    low, high = row[f"{ends}_low"], row[f"{ends}_high"]
    return f"{row[name]:.2f} ({low:.2f} to {high:.2f}; {row[part]:.0f} of {row[whole]:.0f})"
