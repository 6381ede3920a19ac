"""The command that suggests which spikes to take out of units."""

from __future__ import annotations

import click

from si_curation.cli.options import example
from si_curation.cli.suggestions import Asked, suggestion_options


@click.command(epilog=example("cleaning si_curation_demo/phy"))
@click.option("--threshold", type=float, help="Smallest score of a unit to clean.")
@click.option(
    "--max-loss",
    type=float,
    default=0.03,
    show_default=True,
    help="Largest share of a unit's own spikes to take out with those of others.",
)
@click.option(
    "--discard",
    is_flag=True,
    help="In the curation file, discard the spikes (format version 3) instead of splitting them "
    "off.",
)
@suggestion_options("the spikes to take out", "cleaning")
def cleaning(threshold: float | None, max_loss: float, discard: bool, asked: Asked) -> None:
    """Find spikes that do not belong to their unit, by their features; change nothing."""
    from si_curation.evidence.cleaning import DEFAULT_SCORE_THRESHOLD, suggest_cleaning

    found = suggest_cleaning(
        asked.open(),
        max_loss=max_loss,
        score_threshold=DEFAULT_SCORE_THRESHOLD if threshold is None else threshold,
        calibration=asked.calibration("cleaning"),
    )
    named = ", ".join(map(str, found.units())) or "none"
    asked.report(found, f"Units to clean (score of {found.score_threshold:g} or more): {named}")
    asked.write(found, discard=discard)
