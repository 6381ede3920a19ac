"""The command that estimates the contamination of units."""

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
from si_curation.cli.tables import TableOutput, check_table_output, write_or_print


@click.command(epilog=example("contamination si_curation_demo/phy"))
@source_argument
@table_options
@click.option("--refractory-period-ms", type=float, help="Default: from each autocorrelogram.")
@source_options(periods=True)
def contamination(
    source: Path,
    output: TableOutput,
    refractory_period_ms: float | None,
    reading: Reading,
) -> None:
    """Estimate how contaminated each unit is, by every common method."""
    from si_curation.quality.contamination import contamination_panel

    check_table_output(output)
    analyzer = open_source(source, reading)
    table = contamination_panel(analyzer, refractory_period_ms=refractory_period_ms)
    shown = [
        "num_spikes",
        "firing_rate_hz",
        "refractory_period_ms",
        "isi_violations_ratio",
        "rp_contamination",
        "rp_contamination_lower",
        "rp_contamination_upper",
        "sliding_rp_violation",
        "reason",
    ]
    write_or_print(table.rename_axis("unit_id").reset_index(), output, ["unit_id", *shown])
