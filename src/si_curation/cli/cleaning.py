"""The command that suggests which spikes to take out of units."""

from __future__ import annotations

from pathlib import Path

import click

from si_curation.cli.analyzers import open_source
from si_curation.cli.options import (
    PATH,
    calibration_option,
    periods_option,
    sampling_frequency_option,
    source_argument,
    table_output_option,
    trust_option,
)
from si_curation.cli.output import echo
from si_curation.cli.tables import check_table_output, with_probability, write_or_print
from si_curation.errors import OutputExistsError


@click.command()
@source_argument
@table_output_option
@click.option("--threshold", type=float, help="Smallest score of a unit to clean.")
@click.option(
    "--max-loss",
    type=float,
    default=0.03,
    show_default=True,
    help="Largest share of a unit's own spikes to take out with those of others.",
)
@click.option(
    "--curation-json",
    type=PATH,
    help="Write the spikes to take out as SpikeInterface's curation file.",
)
@click.option(
    "--discard",
    is_flag=True,
    help="In that file, discard the spikes (format version 3) instead of splitting them off.",
)
@calibration_option
@periods_option
@sampling_frequency_option
@trust_option
def cleaning(
    source: Path,
    output: Path | None,
    threshold: float | None,
    max_loss: float,
    curation_json: Path | None,
    discard: bool,
    calibration: Path | None,
    periods: tuple[tuple[float, float], ...],
    sampling_frequency: float | None,
    trust: bool,
) -> None:
    """Find spikes that do not belong to their unit, by their features; change nothing."""
    from si_curation.evidence.calibration import read_calibration
    from si_curation.evidence.cleaning import DEFAULT_SCORE_THRESHOLD, suggest_cleaning

    check_table_output(output)
    if curation_json is not None and curation_json.exists():
        raise OutputExistsError(f"{curation_json} exists; give another --curation-json")
    known = read_calibration(calibration, "cleaning")
    analyzer = open_source(source, sampling_frequency, periods=periods, trust=trust)
    lowest = DEFAULT_SCORE_THRESHOLD if threshold is None else threshold
    found = suggest_cleaning(analyzer, max_loss=max_loss, score_threshold=lowest, calibration=known)
    shown = ["unit_id", "score", "share_set_aside", "expected_loss", "contamination"]
    shown += ["contamination_after", "reason"]
    write_or_print(found.table, output, with_probability(shown, found.table))
    named = ", ".join(map(str, found.units())) or "none"
    echo(f"\nUnits to clean (score of {found.score_threshold:g} or more): {named}")
    if curation_json is not None:
        echo(f"Wrote {found.to_curation_json(curation_json, discard=discard)}")
