"""The command that suggests splits."""

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
@click.option("--threshold", type=float, help="Smallest score of a suggested split.")
@click.option(
    "--curation-json",
    type=PATH,
    help="Write the suggested splits as SpikeInterface's curation file.",
)
@calibration_option
@periods_option
@sampling_frequency_option
@trust_option
def splits(
    source: Path,
    output: Path | None,
    threshold: float | None,
    curation_json: Path | None,
    calibration: Path | None,
    periods: tuple[tuple[float, float], ...],
    sampling_frequency: float | None,
    trust: bool,
) -> None:
    """Suggest units to split, best first, with the evidence for each, from the features."""
    from si_curation.evidence.calibration import read_calibration
    from si_curation.evidence.splits import DEFAULT_SCORE_THRESHOLD, suggest_splits

    check_table_output(output)
    if curation_json is not None and curation_json.exists():
        raise OutputExistsError(f"{curation_json} exists; give another --curation-json")
    known = read_calibration(calibration, "splits")
    analyzer = open_source(source, sampling_frequency, periods=periods, trust=trust)
    lowest = DEFAULT_SCORE_THRESHOLD if threshold is None else threshold
    found = suggest_splits(analyzer, score_threshold=lowest, calibration=known)
    shown = ["unit_id", "score", "num_parts", "smaller_share", "separation", "method", "reason"]
    write_or_print(found.table, output, with_probability(shown, found.table))
    for missing in found.missing:
        echo(f"\nMissing evidence: {missing}")
    named = ", ".join(map(str, found.units())) or "none"
    echo(f"\nSuggested splits (score of {found.score_threshold:g} or more): {named}")
    if curation_json is not None:
        echo(f"Wrote {found.to_curation_json(curation_json)}")
