"""The command that carries a curation over to another sorting."""

from __future__ import annotations

from pathlib import Path

import click

from si_curation.cli.analyzers import open_curation
from si_curation.cli.options import (
    CURATION,
    PATH,
    SOURCE,
    example,
    sampling_frequency_option,
    table_options,
    trust_option,
)
from si_curation.cli.output import echo
from si_curation.cli.tables import TableOutput, check_table_output, write_or_print
from si_curation.errors import ParameterError


@click.command(epilog=example("replay si_curation_demo/phy si_curation_demo/analyzer replayed"))
@click.argument("old", type=CURATION)
@click.argument("new", type=SOURCE)
@click.argument("output_folder", type=PATH, metavar="OUT")
@click.option(
    "--start",
    type=SOURCE,
    help="Folder or analyzer that the curation started from; a journal or curation file needs it.",
)
@table_options
@sampling_frequency_option
@trust_option
def replay(
    old: Path,
    new: Path,
    output_folder: Path,
    start: Path | None,
    output: TableOutput,
    sampling_frequency: float | None,
    trust: bool,
) -> None:
    """Carry the curation OLD over to NEW, another sorting of the recording; write it for phy.

    OLD is a folder of phy, a saved analyzer, a journal or a curation file of SpikeInterface
    (.json); NEW a folder or an analyzer; OUT a new folder. --output writes the table of the steps.
    """
    from si_curation.agreement.replay import replay_curation
    from si_curation.exporters.phy.export import export_to_phy
    from si_curation.files import check_output_folder

    check_table_output(output)
    check_output_folder(output_folder)
    found = replay_curation(
        open_curation(old, trust),
        open_curation(new, trust),
        start=None if start is None else open_curation(start, trust),
        sampling_frequency=sampling_frequency,
    )
    shown = ["kind", "old_units", "label", "outcome", "new_units", "results", "confidence"]
    write_or_print(found.steps, output, [*shown, "reason"])
    echo(f"\n{found!r}")
    if not found.session.unit_ids:
        raise ParameterError("all units were removed: there is nothing to write")
    written = export_to_phy(found.session.apply(), output_folder)
    echo(f"Wrote {written}; open it with: phy template-gui {written / 'params.py'}")
