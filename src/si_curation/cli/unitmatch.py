"""The command that writes sessions for UnitMatch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from si_curation.cli.analyzers import Reading, open_source
from si_curation.cli.options import (
    PATH,
    SOURCE,
    example,
    source_options,
)
from si_curation.cli.output import echo
from si_curation.errors import ParameterError


@click.command(
    "export-unitmatch", epilog=example("export-unitmatch unitmatch si_curation_demo/phy")
)
@click.argument("output", metavar="OUT", type=PATH)
@click.argument("sources", metavar="ANALYZER_OR_FOLDER...", type=SOURCE, nargs=-1, required=True)
@click.option(
    "--name",
    "names",
    multiple=True,
    help="Name of a session, once for each, in order. Default: session_01, session_02, ...",
)
@click.option(
    "--source",
    type=click.Choice(["auto", "features", "recording"]),
    default="auto",
    show_default=True,
    help="Where waveforms are from; auto: the recording where all have one, else the features.",
)
@click.option(
    "--label-property", default="quality", show_default=True, help="Property with the labels."
)
@click.option(
    "--good-label",
    "good_labels",
    multiple=True,
    default=("good",),
    show_default=True,
    help="A label of units that are matched; can be given several times.",
)
@click.option("--all-units", is_flag=True, help="All units are matched, whatever their label.")
@click.option(
    "--max-spikes",
    type=click.IntRange(min=2),
    default=1000,
    show_default=True,
    help="Spikes of a unit that are averaged at most.",
)
@source_options()
@click.option("--overwrite", is_flag=True, help="Replace OUT, which is kept as a backup.")
def export_unitmatch(
    output: Path,
    sources: tuple[Path, ...],
    names: tuple[str, ...],
    reading: Reading,
    **options: Any,
) -> None:
    """Write sessions to OUT as UnitMatch reads them, to match their units across days.

    Each session is a Kilosort/phy folder or a saved SortingAnalyzer, in the order of time.
    """
    from si_curation.exporters.unitmatch import export_to_unitmatch

    if names and len(names) != len(sources):
        raise ParameterError(f"--name is given {len(names)} times for {len(sources)} sessions")
    if len(set(names)) < len(names):
        raise ParameterError(f"--name gives a name twice: {', '.join(names)}")
    analyzers = [open_source(source, reading) for source in sources]
    written = export_to_unitmatch(
        dict(zip(names, analyzers, strict=True)) if names else analyzers,
        output,
        source=options["source"],
        label_property=options["label_property"],
        good_labels="all" if options["all_units"] else options["good_labels"],
        max_spikes_per_unit=options["max_spikes"],
        overwrite=options["overwrite"],
    )
    count = len(analyzers)
    echo(f"Wrote {written}: {count} session{'s' if count > 1 else ''}")
