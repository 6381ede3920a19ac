"""The command that classifies units by the shape and quality of their spikes."""

from __future__ import annotations

from pathlib import Path

import click

from si_curation.cli.analyzers import Reading, open_source
from si_curation.cli.options import (
    example,
    source_argument,
    source_options,
    table_options,
)
from si_curation.cli.output import echo
from si_curation.cli.tables import TableOutput, check_table_output, write_or_print


@click.command(epilog=example("classify si_curation_demo/phy"))
@source_argument
@table_options
@click.option(
    "--narrow-below-ms",
    type=float,
    default=0.425,
    show_default=True,
    help="Longest time from trough to peak of a narrow spike.",
)
@source_options(periods=True)
def classify(
    source: Path,
    output: TableOutput,
    narrow_below_ms: float,
    reading: Reading,
) -> None:
    """Label units as bombcell does, and find narrow spikes and residuals of other units."""
    from si_curation.quality.unit_classes import classify_units

    check_table_output(output)
    analyzer = open_source(source, reading)
    found = classify_units(analyzer, narrow_below_ms=narrow_below_ms)
    table = found.table.reset_index()
    write_or_print(table, output, list(table.columns))
    for name, other in found.replaced.items():
        echo(f"The threshold of {name} was applied to {other}")
    for name, why in found.not_applied.items():
        echo(f"The threshold of {name} was not applied: {why}")
