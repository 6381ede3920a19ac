"""The commands that suggest merges and find duplicate units."""

from __future__ import annotations

import click

from si_curation.cli.options import example
from si_curation.cli.suggestions import Asked, suggestion_options


@click.command(epilog=example("merges si_curation_demo/phy"))
@click.option("--threshold", type=float, help="Smallest score of a suggested merge.")
@suggestion_options("the suggested merges", "merges")
def merges(threshold: float | None, asked: Asked) -> None:
    """Suggest units to merge, best first, with the evidence for each pair."""
    from si_curation.evidence.merges import DEFAULT_SCORE_THRESHOLD, suggest_merges

    found = suggest_merges(
        asked.open(),
        score_threshold=DEFAULT_SCORE_THRESHOLD if threshold is None else threshold,
        calibration=asked.calibration("merges"),
    )
    named = "; ".join(" + ".join(map(str, group)) for group in found.groups()) or "none"
    asked.report(found, f"Suggested merges (score of {found.score_threshold:g} or more): {named}")
    asked.write(found)


@click.command(epilog=example("duplicates si_curation_demo/phy"))
@click.option(
    "--min-share", type=float, help="Share of the smaller unit's spikes that are common (0.5)."
)
@suggestion_options("the units to remove", "duplicates", has_periods=False)
def duplicates(min_share: float | None, asked: Asked) -> None:
    """Find units whose spikes are those of another unit, and which to keep."""
    from si_curation.evidence.duplicates import DEFAULT_MIN_SHARE, find_duplicate_units

    found = find_duplicate_units(
        asked.open(),
        min_share=DEFAULT_MIN_SHARE if min_share is None else min_share,
        calibration=asked.calibration("duplicates"),
    )
    named = ", ".join(map(str, found.units_to_remove())) or "none"
    asked.report(found, f"Units to remove: {named}")
    asked.write(found)
