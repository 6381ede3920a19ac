"""The command that tells how far to trust suggestions in a sorting."""

from __future__ import annotations

from pathlib import Path

import click

from si_curation.cli.analyzers import Reading, open_source
from si_curation.cli.options import (
    PATH,
    example,
    source_argument,
    source_options,
    table_output_option,
)
from si_curation.cli.output import echo
from si_curation.cli.tables import TableOutput, check_table_output, write_table
from si_curation.errors import OutputExistsError


@click.command(epilog=example("benchmark si_curation_demo/phy --max-units 4"))
@source_argument
@table_output_option
@click.option(
    "--json",
    "json_file",
    type=PATH,
    help="New file for all of the result, with the outcome of each suggestion.",
)
@click.option(
    "--max-units",
    type=int,
    default=40,
    show_default=True,
    help="Largest number of good units that are changed.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random numbers.")
@source_options(periods=True)
def benchmark(
    source: Path,
    output: Path | None,
    json_file: Path | None,
    max_units: int,
    seed: int,
    reading: Reading,
) -> None:
    """Measure how often suggestions are right in a sorting, on its own good units.

    The units are cut and merged on copies in memory, where the right answer is known.
    """
    from si_curation.evidence.benchmark.benchmark import benchmark_suggestions

    check_table_output(TableOutput(output))
    if json_file is not None and json_file.exists():
        raise OutputExistsError(f"{json_file} exists; give another --json")
    analyzer = open_source(source, reading)
    found = benchmark_suggestions(analyzer, max_units=max_units, seed=seed)
    if output is not None:
        write_table(found.table.reset_index(), output)
    else:
        echo(found.to_text())
    if json_file is not None:
        echo(f"Wrote {found.write_json(json_file)}")
