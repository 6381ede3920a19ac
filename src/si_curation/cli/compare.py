"""The command that compares curations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
from si_curation.cli.tables import TableOutput, check_table_output, format_numbers, write_or_print
from si_curation.errors import ParameterError


@click.command(epilog=example("compare si_curation_demo/phy si_curation_demo/analyzer"))
@click.argument("curations", nargs=-1, type=CURATION, metavar="A B [C ...]")
@click.option(
    "--start",
    type=SOURCE,
    help="Folder or analyzer that the curations started from; journals and curation files need it.",
)
@click.option("--names", help="Names of the curations, separated by commas; default: a,b,...")
@table_options
@click.option("--page", type=PATH, help="Write a page with the curations side by side.")
@click.option(
    "--consensus",
    type=PATH,
    help="Write what all agree on, with the rest left for a decision (column disputed): a new "
    "folder for phy.",
)
@sampling_frequency_option
@trust_option
def compare(
    curations: tuple[Path, ...],
    start: Path | None,
    names: str | None,
    output: TableOutput,
    page: Path | None,
    consensus: Path | None,
    sampling_frequency: float | None,
    trust: bool,
) -> None:
    """Compare curations of the same spikes: what is disputed, and the agreement beyond chance.

    A curation is a folder of phy, a saved analyzer, a journal or a curation file of SpikeInterface
    (.json). --output writes the disputed units.
    """
    from si_curation.agreement.comparison import compare_curations
    from si_curation.files import check_output_folder, check_page_file

    problems = []
    if len(curations) < 2:
        problems.append(f"{len(curations)} curations are given, expected two or more")
    check_table_output(output, problems)
    if page is not None:
        check_page_file(page, advice="give another --page")
    if consensus is not None:
        check_output_folder(consensus)
    found = compare_curations(
        *(open_curation(one, trust) for one in curations),
        start=None if start is None else open_curation(start, trust),
        names=None if names is None else [name.strip() for name in names.split(",")],
        sampling_frequency=sampling_frequency,
    )
    shown = found.agreement.assign(curations=found.agreement["curations"].map(", ".join))
    echo(format_numbers(shown[["curations", "quantity", "value", "low", "high", "observed"]]))
    echo()
    columns = ["decision", "curation", "unit_id", "group", "num_spikes", "num_disputed_spikes"]
    write_or_print(found.disputed, output, [*columns, "kind"])
    echo(f"\n{found!r}")
    if page is not None:
        echo(f"Wrote {found.export_page(page)}")
    if consensus is not None:
        _write_consensus(found, consensus)


def _write_consensus(found: Any, target: Path) -> None:
    from si_curation.exporters.phy.export import export_to_phy

    session = found.consensus()
    table = session.table
    left = int(table["disputed"].notna().sum()) if "disputed" in table else 0
    if not len(table):
        raise ParameterError("all curations removed all units: there is no consensus to write")
    written = export_to_phy(session.apply(), target)
    echo(f"Wrote {written}: {len(table)} units, {left} of them left for a decision")
