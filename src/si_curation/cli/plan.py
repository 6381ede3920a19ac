"""The command that plans a curation."""

from __future__ import annotations

from pathlib import Path

import click

from si_curation.cli.options import PATH, example
from si_curation.cli.output import echo
from si_curation.cli.report import compute_for_page
from si_curation.cli.suggestions import Asked, suggestion_options


@click.command(epilog=example("plan si_curation_demo/phy"))
@click.option(
    "--report", "page", type=PATH, help="Write the page of the sorting, with the plan in it."
)
@suggestion_options("the steps")
def plan(page: Path | None, asked: Asked) -> None:
    """Plan a curation: what to remove, split, merge and clean, best first; change nothing."""
    from si_curation.evidence.plan import plan_curation
    from si_curation.files import check_page_file
    from si_curation.report.export import export_report

    if page is not None:
        check_page_file(page, False)
    analyzer = asked.open()
    found = plan_curation(analyzer, calibrations=asked.calibrations)
    asked.report(found, f"{found}")
    if len(found.postponed):
        later = "; ".join(
            f"{kind} {units}"
            for kind, units in zip(
                found.postponed["kind"], found.postponed["unit_ids"], strict=True
            )
        )
        echo(f"Of units that a step changes already: {later}. Plan again after it.")
    asked.write(found)
    if page is not None:
        compute_for_page(analyzer)
        page = export_report(analyzer, page, plan=found, calibrations=asked.calibrations)
        echo(f"Wrote {page}")
