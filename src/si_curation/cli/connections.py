"""The command that finds monosynaptic connections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from si_curation.cli.analyzers import Reading, open_source
from si_curation.cli.options import (
    example,
    source_argument,
    source_options,
    table_options,
)
from si_curation.cli.tables import TableOutput, check_table_output, write_or_print


@click.command(epilog=example("connections si_curation_demo/phy"))
@source_argument
@table_options
@click.option(
    "--method",
    type=click.Choice(["english2017", "stark2009"]),
    default="english2017",
    show_default=True,
)
@click.option("--inhibitory", is_flag=True, help="Look for inhibitory connections too.")
@source_options()
def connections(
    source: Path,
    output: TableOutput,
    method: Any,
    inhibitory: bool,
    reading: Reading,
) -> None:
    """Find monosynaptic connections, with what makes them doubtful."""
    from si_curation.quality.connections import find_monosynaptic_connections

    check_table_output(output)
    analyzer = open_source(source, reading)
    table = find_monosynaptic_connections(analyzer, method=method, include_inhibitory=inhibitory)
    shown = ["pre_unit_id", "post_unit_id", "connection_type", "lag_ms", "transmission_probability"]
    write_or_print(table, output, [*shown, "verdict"])
