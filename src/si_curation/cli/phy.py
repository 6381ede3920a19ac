"""Commands that write phy folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from si_curation.cli.analyzers import Reading, open_source
from si_curation.cli.options import (
    PATH,
    example,
    folder_argument,
    source_argument,
    source_options,
)
from si_curation.cli.output import echo


@click.command("export-phy", epilog=example("export-phy si_curation_demo/phy exported"))
@source_argument
@click.argument("output", type=PATH)
@click.option(
    "--curation",
    type=click.Choice(["keep", "discard"]),
    default="keep",
    show_default=True,
    help="discard: as the sorter left it, phy's merges, splits and labels undone.",
)
@click.option(
    "--complete", is_flag=True, help="First compute what phy shows and the analyzer does not have."
)
@click.option("--link", is_flag=True, help="Hard-link the files that nothing writes to.")
@click.option("--copy-recording", is_flag=True, help="Write the recording into the folder too.")
@click.option("--overwrite", is_flag=True, help="Move an existing output aside first.")
@source_options()
def export_phy(
    source: Path,
    output: Path,
    curation: Any,
    complete: bool,
    link: bool,
    copy_recording: bool,
    overwrite: bool,
    reading: Reading,
) -> None:
    """Write a folder that phy opens, from a SortingAnalyzer or a Kilosort/phy folder."""
    from si_curation.exporters.phy.export import export_to_phy

    written = export_to_phy(
        open_source(source, reading),
        output,
        curation=curation,
        complete=complete,
        link=link,
        copy_recording=copy_recording,
        overwrite=overwrite,
        progress_bar=True,
    )
    echo(f"Wrote {written}; open it with: phy template-gui {written / 'params.py'}")


@click.command(
    epilog=example("propose si_curation_demo/phy --overwrite", "restore si_curation_demo/phy")
)
@folder_argument
@click.option("--backup", help="Name of a backup in .si_curation_backup; default: the last.")
def restore(folder: Path, backup: str | None) -> None:
    """Put back what this package last replaced in a phy folder. Close phy first."""
    from si_curation.phy.backup import restore_phy_folder

    restored = restore_phy_folder(folder, backup)
    echo(f"Restored in {folder}: {', '.join(path.name for path in restored) or 'nothing'}")
