"""Commands that write phy folders, and the part of the demo that curates in code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from si_curation.errors import FolderNotFoundError

_HELP = {"help_option_names": ["-h", "--help"]}
_DEMO_EXPORT_LIMIT_BYTES = 2_000_000_000


@click.command("export-phy", context_settings=_HELP)
@click.argument("source", metavar="ANALYZER_OR_FOLDER", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--curation",
    type=click.Choice(["keep", "discard"]),
    default="keep",
    show_default=True,
    help="discard: as the sorter left it, phy's merges, splits and labels undone.",
)
@click.option("--link", is_flag=True, help="Hard-link the files that nothing writes to.")
@click.option("--copy-recording", is_flag=True, help="Write the recording into the folder too.")
@click.option("--overwrite", is_flag=True, help="Move an existing output aside first.")
@click.option("--sampling-frequency", type=float, help="In Hz; for a folder without params.py.")
def export_phy(
    source: Path,
    output: Path,
    curation: Any,
    link: bool,
    copy_recording: bool,
    overwrite: bool,
    sampling_frequency: float | None,
) -> None:
    """Write a folder that phy opens, from a SortingAnalyzer or a Kilosort/phy folder."""
    from si_curation.exporters.phy.export import export_to_phy

    written = export_to_phy(
        open_source(source, sampling_frequency),
        output,
        curation=curation,
        link=link,
        copy_recording=copy_recording,
        overwrite=overwrite,
        progress_bar=True,
    )
    click.echo(f"Wrote {written}; open it with: phy template-gui {written / 'params.py'}")


@click.command(context_settings=_HELP)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--backup", help="Name of a backup in .si_curation_backup; default: the last.")
def restore(folder: Path, backup: str | None) -> None:
    """Put back what this package last replaced in a phy folder. Close phy first."""
    from si_curation.exporters.phy.backup import restore_phy_folder

    restored = restore_phy_folder(folder, backup)
    click.echo(f"Restored in {folder}: {', '.join(path.name for path in restored) or 'nothing'}")


def open_source(source: Path, sampling_frequency: float | None = None) -> Any:
    """Load a saved analyzer, or read a Kilosort/phy folder."""
    if not source.is_dir():
        raise FolderNotFoundError(f"{source} does not exist, expected an analyzer or a folder")
    from si_curation.reading.saving import is_saved_analyzer

    if is_saved_analyzer(source):
        from spikeinterface.core import load_sorting_analyzer

        return load_sorting_analyzer(source)
    from si_curation.reading.reader import read_kilosort_as_analyzer

    return read_kilosort_as_analyzer(source, sampling_frequency=sampling_frequency)


def curate_in_code(analyzer: Any, source: Path, output: Path) -> str | None:
    """Merge the two most similar units, export that to phy, and tell what was done.

    Returns
    -------
    str or None
        None where there are less than two units.
    """
    from si_curation.curation.session import CurationSession
    from si_curation.exporters.phy.export import export_to_phy

    session = CurationSession(analyzer, decided_by="si-curation demo")
    best = [
        (similar.iloc[0], unit_id, similar.index[0])
        for unit_id in session.unit_ids
        if len(similar := session.get_similarity(unit_id))
    ]
    if not best:
        return None
    similarity, first, second = max(best, key=lambda found: found[0])
    merged = session.merge([first, second], reason=f"similarity {similarity:.2f}")
    session.label([merged], "good")
    num_spikes = session.get_spikes(merged).size
    text = (
        f"Curated in code, as an example: units {first} and {second} (similarity "
        f"{similarity:.2f}) merged into {merged}, {num_spikes} spikes, labelled good"
    )
    size = sum(path.stat().st_size for path in source.iterdir() if path.is_file())
    if size > _DEMO_EXPORT_LIMIT_BYTES:
        return f"{text}; the folder is too large to export a copy of in a demo."
    export_to_phy(session.apply(), output)
    return f"{text};\nexported to {output}, which phy opens; the source folder is as it was."
