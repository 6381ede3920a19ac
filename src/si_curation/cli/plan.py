"""The command that plans a curation."""

from __future__ import annotations

from pathlib import Path

import click

from si_curation.cli.analyzers import open_source
from si_curation.cli.options import (
    PATH,
    calibrations_option,
    periods_option,
    sampling_frequency_option,
    source_argument,
    table_output_option,
    trust_option,
)
from si_curation.cli.output import echo
from si_curation.cli.report import compute_for_page
from si_curation.cli.tables import check_table_output, read_calibration_files, write_or_print
from si_curation.errors import OutputExistsError


@click.command()
@source_argument
@table_output_option
@click.option(
    "--curation-json",
    type=PATH,
    help="Write the steps as SpikeInterface's curation file.",
)
@click.option(
    "--report", "page", type=PATH, help="Write the page of the sorting, with the plan in it."
)
@calibrations_option
@periods_option
@sampling_frequency_option
@trust_option
def plan(
    source: Path,
    output: Path | None,
    curation_json: Path | None,
    page: Path | None,
    calibrations: tuple[Path, ...],
    periods: tuple[tuple[float, float], ...],
    sampling_frequency: float | None,
    trust: bool,
) -> None:
    """Plan a curation: what to remove, split, merge and clean, best first; change nothing."""
    from si_curation.evidence.plan import plan_curation
    from si_curation.files import check_output_file
    from si_curation.report.export import export_report

    check_table_output(output)
    if curation_json is not None and curation_json.exists():
        raise OutputExistsError(f"{curation_json} exists; give another --curation-json")
    if page is not None:
        check_output_file(page, False, kind="an .html file")
    known = read_calibration_files(calibrations)
    analyzer = open_source(source, sampling_frequency, periods=periods, trust=trust)
    found = plan_curation(analyzer, calibrations=known)
    shown = ["step", "kind", "unit_ids", "expected_gain"]
    shown += ["probability"] if known else []
    shown += ["contamination_before"]
    shown += ["contamination_after", "completeness_before", "completeness_after", "reason"]
    write_or_print(found.table, output, shown)
    for missing in found.missing:
        echo(f"\nMissing evidence: {missing}")
    echo(f"\n{found}")
    if len(found.postponed):
        later = "; ".join(
            f"{kind} {units}"
            for kind, units in zip(
                found.postponed["kind"], found.postponed["unit_ids"], strict=True
            )
        )
        echo(f"Of units that a step changes already: {later}. Plan again after it.")
    if curation_json is not None:
        echo(f"Wrote {found.to_curation_json(curation_json)}")
    if page is not None:
        compute_for_page(analyzer)
        echo(f"Wrote {export_report(analyzer, page, plan=found, calibrations=known)}")
