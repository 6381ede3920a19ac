"""The command that splits sessions that were sorted as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from si_curation.cli.analyzers import Reading, open_source
from si_curation.cli.options import (
    PATH,
    borders_option,
    example,
    source_argument,
    source_options,
)
from si_curation.cli.output import echo


@click.command(
    "split-sessions", epilog=example("split-sessions si_curation_demo/phy sessions --borders 40s")
)
@source_argument
@click.argument("output", metavar="OUT", type=PATH)
@borders_option
@click.option("--name", "names", multiple=True, help="Of a session; once for each, in order.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["binary_folder", "zarr", "phy"]),
    default="binary_folder",
    show_default=True,
    help="SortingAnalyzers, or folders that phy opens.",
)
@click.option("--drop-empty", is_flag=True, help="Leave out units without spikes in a session.")
@click.option(
    "--copy-recording", is_flag=True, help="Of phy: write the samples of each session too."
)
@source_options()
def split_sessions(
    source: Path,
    output: Path,
    borders: list[float] | None,
    names: tuple[str, ...],
    kind: Literal["binary_folder", "zarr", "phy"],
    drop_empty: bool,
    copy_recording: bool,
    reading: Reading,
) -> None:
    """Split sessions that were concatenated and sorted as one; OUT gets a folder for each.

    Each has its own spikes, with times from its own start, and the same unit ids. OUT must not
    exist; it appears with all sessions or not at all.
    """
    from si_curation.curation.split_sessions import split_by_session
    from si_curation.errors import ParameterError
    from si_curation.files import check_output_folder

    if copy_recording and kind != "phy":
        raise ParameterError("--copy-recording is of --format phy")
    target = check_output_folder(output.resolve(), False)
    analyzer = open_source(source, reading)
    given: dict[str, Any] = {
        "borders": "auto" if borders is None else borders,
        "names": names or None,
        "empty_units": "drop" if drop_empty else "keep",
    }
    if kind == "phy":
        sessions = split_by_session(analyzer, **given)
        _write_phy(sessions, target, copy_recording)
    else:
        sessions = split_by_session(analyzer, **given, format=kind, folder=target)
    for name, session in sessions.items():
        num_spikes = session.sorting.count_total_num_spikes()
        echo(
            f"{name}: {session.get_total_duration():.6g} s, {num_spikes} spikes of "
            f"{len(session.unit_ids)} units"
        )
    echo(f"Wrote {target}")


def _write_phy(sessions: dict[str, Any], target: Path, copy_recording: bool) -> None:
    """Write a folder for phy for each session, all of them or none."""
    from si_curation.exporters.phy.export import export_to_phy
    from si_curation.files import new_folder

    with new_folder(target) as part:
        for name, session in sessions.items():
            export_to_phy(session, part / name, copy_recording=copy_recording)
