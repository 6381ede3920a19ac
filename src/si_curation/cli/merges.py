"""The commands that suggest merges and find duplicate units."""

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
@click.option("--threshold", type=float, help="Smallest score of a suggested merge.")
@click.option(
    "--curation-json",
    type=PATH,
    help="Write the suggested merges as SpikeInterface's curation file.",
)
@calibration_option
@periods_option
@sampling_frequency_option
@trust_option
def merges(
    source: Path,
    output: Path | None,
    threshold: float | None,
    curation_json: Path | None,
    calibration: Path | None,
    periods: tuple[tuple[float, float], ...],
    sampling_frequency: float | None,
    trust: bool,
) -> None:
    """Suggest units to merge, best first, with the evidence for each pair."""
    from si_curation.evidence.calibration import read_calibration
    from si_curation.evidence.merges import DEFAULT_SCORE_THRESHOLD, suggest_merges

    check_table_output(output)
    if curation_json is not None and curation_json.exists():
        raise OutputExistsError(f"{curation_json} exists; give another --curation-json")
    known = read_calibration(calibration, "merges")
    analyzer = open_source(source, sampling_frequency, periods=periods, trust=trust)
    lowest = DEFAULT_SCORE_THRESHOLD if threshold is None else threshold
    found = suggest_merges(analyzer, score_threshold=lowest, calibration=known)
    shown = ["unit_id_a", "unit_id_b", "score", "similarity", "one_neuron_probability"]
    terms = ["waveform_term", "amplitude_term", "depth_term", "duplicate_term"]
    write_or_print(found.table, output, with_probability([*shown, *terms, "reason"], found.table))
    groups = found.groups()
    named = "; ".join(" + ".join(map(str, group)) for group in groups) or "none"
    echo(f"\nSuggested merges (score of {found.score_threshold:g} or more): {named}")
    if curation_json is not None:
        echo(f"Wrote {found.to_curation_json(curation_json)}")


@click.command()
@source_argument
@table_output_option
@click.option(
    "--min-share", type=float, help="Share of the smaller unit's spikes that are common (0.5)."
)
@click.option(
    "--curation-json",
    type=PATH,
    help="Write the units to remove as SpikeInterface's curation file.",
)
@calibration_option
@sampling_frequency_option
@trust_option
def duplicates(
    source: Path,
    output: Path | None,
    min_share: float | None,
    curation_json: Path | None,
    calibration: Path | None,
    sampling_frequency: float | None,
    trust: bool,
) -> None:
    """Find units whose spikes are those of another unit, and which to keep."""
    from si_curation.evidence.calibration import read_calibration
    from si_curation.evidence.duplicates import DEFAULT_MIN_SHARE, find_duplicate_units

    check_table_output(output)
    if curation_json is not None and curation_json.exists():
        raise OutputExistsError(f"{curation_json} exists; give another --curation-json")
    known = read_calibration(calibration, "duplicates")
    analyzer = open_source(source, sampling_frequency, trust=trust)
    share = DEFAULT_MIN_SHARE if min_share is None else min_share
    found = find_duplicate_units(analyzer, min_share=share, calibration=known)
    shown = ["unit_id", "duplicate_of", "share", "share_of_original", "lag_ms", "reason"]
    write_or_print(found.table, output, with_probability(shown, found.table))
    named = ", ".join(map(str, found.units_to_remove())) or "none"
    echo(f"\nUnits to remove: {named}")
    if curation_json is not None:
        echo(f"Wrote {found.to_curation_json(curation_json)}")
