"""The command that makes a journal of what phy's log tells."""

from __future__ import annotations

from pathlib import Path

import click

from si_curation.cli.options import PATH, example, folder_argument, sampling_frequency_option
from si_curation.cli.output import echo
from si_curation.cli.tables import format_numbers
from si_curation.errors import OutputExistsError


@click.command(epilog=example("journal si_curation_demo/phy --output journal.jsonl"))
@folder_argument
@click.option("--output", type=PATH, help="New .jsonl file of the journal.")
@sampling_frequency_option
def journal(folder: Path, output: Path | None, sampling_frequency: float | None) -> None:
    """List how a folder was curated in phy, step by step, from its phy.log and its files."""
    from si_curation.curation.reconstruct import reconstruct_journal

    if output is not None and output.exists():
        raise OutputExistsError(f"{output} exists; give another --output")
    found = reconstruct_journal(folder, sampling_frequency=sampling_frequency)
    history = found.session.history
    counts = (
        history.groupby(["operation", "decided_by"], sort=False).size().reset_index(name="steps")
    )
    echo(format_numbers(counts) if len(counts) else "no steps")
    echo(f"\nThe log of phy: {found.verdict}")
    echo(format_numbers(found.table))
    if found.log is not None:
        undone = sum(one.num_undone for one in found.log.sessions)
        unsaved = sum(one.num_unsaved for one in found.log.sessions)
        echo(f"{len(found.log.sessions)} sessions; {undone} actions undone, {unsaved} not saved")
    for problem in found.problems:
        echo(f"Note: {problem}")
    if output is not None:
        echo(f"Wrote {found.write(output)}")
