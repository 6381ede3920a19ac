"""Where the units came from, what was done to them, and with which software."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from si_curation.curation.history import label_sources, recorded_history
from si_curation.report.context import ReportContext
from si_curation.report.encode import plain
from si_curation.report.formatting import format_value

_PACKAGES = ("si_curation", "spikeinterface", "numpy", "scipy", "pandas", "numba")


def lineage_rows(context: ReportContext) -> tuple[list[dict[str, Any]], str]:
    """List the templates that each unit came from, of units that curation changed.

    Returns
    -------
    rows : list of dict
        ``unit_id``, ``event``, ``templates``, ``shares``: text. Unchanged units are left out.
    note : str
    """
    assignment = context.extension("template_assignment")
    if assignment is None:
        return [], "Lineage is not known: compute template_assignment first."
    table = context.lineage.iloc[context.rows]
    names = assignment.info.get("template_unit_ids")
    rows = [
        {
            "unit_id": unit_id,
            "event": row.event,
            "templates": ", ".join(
                f"{template if names is None else names[template]} ({format_value(count)})"
                for template, count in row.templates
            ),
            "shares": ", ".join(map(str, row.shares_templates_with)),
        }
        for unit_id, row in zip(context.unit_ids, table.itertuples(index=False), strict=True)
        if row.event != "unchanged"
    ]
    unchanged = len(table) - len(rows)
    what = "the sorter's templates" if names is None else "the units when templates were first kept"
    return rows, (
        f"{unchanged} of {len(table)} units are unchanged: all spikes of one template and no "
        f"others. Templates are {what}; beside each is the number of spikes of the unit from it."
    )


def history_rows(context: ReportContext) -> list[dict[str, str]]:
    """Return the steps of curation that led to the analyzer, as text."""
    rows = recorded_history(context.analyzer).to_dict(orient="records")
    return [
        {
            "when": str(row["when"] or ""),
            "operation": str(row["operation"]),
            "inputs": ", ".join(map(str, row["inputs"] or [])),
            "outputs": ", ".join(map(str, row["outputs"] or [])),
            "label": ": ".join(
                str(plain(row[key])) for key in ("field", "value") if plain(row[key]) is not None
            ),
            "reason": str(row["reason"] or ""),
            "decided_by": str(row["decided_by"] or ""),
        }
        for row in rows
    ]


def label_rows(context: ReportContext) -> list[dict[str, str]]:
    """Return the labels of the units that a session gave, with who, when and why, as text.

    Empty where no session gave any.
    """
    table = label_sources(context.analyzer)
    table = table[table["unit_id"].isin(context.unit_ids) & (table["decided_by"] != "")]
    return [
        {name: str(plain(value)) for name, value in row.items()}
        for row in table.to_dict(orient="records")
    ]


def software() -> list[tuple[str, str]]:
    """Return names and versions of the software that made the report."""
    found = [("Python", platform.python_version())]
    for name in _PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found


def extension_parameters(context: ReportContext) -> list[tuple[str, str]]:
    """Return the parameters of every extension of the analyzer, as JSON."""
    analyzer = context.analyzer
    names = set(analyzer.get_loaded_extension_names())
    if analyzer.format != "memory":
        names |= set(analyzer.get_saved_extension_names())
    found = []
    for name in sorted(names):
        extension = context.extension(name)
        params = {} if extension is None else extension.params
        found.append((name, json.dumps(plain(params), ensure_ascii=False)))
    return found
