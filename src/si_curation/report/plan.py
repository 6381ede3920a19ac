"""The plan of a curation, in the page."""

from __future__ import annotations

from typing import Any

from si_curation.evidence.plan import CurationPlan
from si_curation.report.merges import evidence_table
from si_curation.variables import PLAN

COLUMNS = (
    "step",
    "kind",
    "unit_ids",
    "expected_gain",
    "contamination_before",
    "contamination_after",
    "completeness_before",
    "completeness_after",
    "reason",
)


def planned(plan: CurationPlan | None) -> dict[str, Any]:
    """Return what the page shows of a plan; None without one."""
    if plan is None:
        return {"plan": None}
    tables = (plan.table, plan.postponed)
    is_known = any(table["probability"].notna().any() for table in tables)
    names = (*COLUMNS[:4], "probability", *COLUMNS[4:]) if is_known else COLUMNS
    return {
        "plan": {
            "note": f"{plan}.",
            "missing": [str(one) for one in plan.missing],
            "steps": evidence_table(plan.table, names, PLAN, ""),
            "postponed": evidence_table(plan.postponed, names[1:], PLAN, ""),
        }
    }
