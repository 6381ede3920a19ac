"""The command that suggests splits."""

from __future__ import annotations

import click

from si_curation.cli.options import example
from si_curation.cli.suggestions import Asked, suggestion_options


@click.command(epilog=example("splits si_curation_demo/phy"))
@click.option("--threshold", type=float, help="Smallest score of a suggested split.")
@suggestion_options("the suggested splits", "splits")
def splits(threshold: float | None, asked: Asked) -> None:
    """Suggest units to split, best first, with the evidence for each, from the features."""
    from si_curation.evidence.splits import DEFAULT_SCORE_THRESHOLD, suggest_splits

    found = suggest_splits(
        asked.open(),
        score_threshold=DEFAULT_SCORE_THRESHOLD if threshold is None else threshold,
        calibration=asked.calibration("splits"),
    )
    named = ", ".join(map(str, found.units())) or "none"
    asked.report(found, f"Suggested splits (score of {found.score_threshold:g} or more): {named}")
    asked.write(found)
