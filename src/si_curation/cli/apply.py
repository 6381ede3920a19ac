"""The command that makes a folder or an analyzer of a saved curation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from si_curation.cli.analyzers import Reading, open_source, save
from si_curation.cli.options import PATH, example, source_argument, source_options, top_option
from si_curation.cli.output import echo
from si_curation.cli.tables import TableOutput, write_or_print
from si_curation.errors import FolderNotFoundError, ParameterError

if TYPE_CHECKING:
    from si_curation.curation.session import CurationSession

_SHOWN = ("operation", "inputs", "outputs", "field", "value", "reason")
_ADVICE = "give another OUT, or --overwrite (it is then kept as a backup)"


@click.command(
    epilog=example(
        "merges si_curation_demo/phy --curation-json curation.json",
        "apply si_curation_demo/phy curation.json applied",
    )
)
@source_argument
@click.argument("curation", type=PATH)
@click.argument("output", metavar="[OUT]", type=PATH, required=False)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["phy", "analyzer"]),
    help="A folder that phy opens, or a SortingAnalyzer; default: phy, and zarr where OUT ends in "
    ".zarr.",
)
@click.option("--dry-run", is_flag=True, help="List what would change, and write nothing.")
@click.option("--journal", type=PATH, help="New file for the steps, which a session goes on with.")
@click.option("--decided-by", help="Of a .json: who decided, for the history.")
@click.option("--overwrite", is_flag=True, help="Move an existing OUT aside first.")
@top_option
@source_options()
def apply(
    source: Path,
    curation: Path,
    output: Path | None,
    kind: Literal["phy", "analyzer"] | None,
    dry_run: bool,
    journal: Path | None,
    decided_by: str | None,
    overwrite: bool,
    top: int | None,
    reading: Reading,
) -> None:
    """Apply a saved CURATION to the folder or analyzer that it is of; write OUT.

    CURATION is what the page, spikeinterface-gui or `--curation-json` saved (SpikeInterface's
    format, .json), or the journal of a session (.jsonl). The folder or analyzer that it is of is
    not changed. OUT keeps the steps, with who decided and why.
    """
    kind = kind or ("analyzer" if output and output.suffix == ".zarr" else "phy")
    _check_paths(source, curation, output, kind, dry_run, journal, overwrite)
    session = _session_of(source, curation, decided_by, reading)
    steps = session.history.query("in_effect")
    write_or_print(steps, TableOutput(top=top), _SHOWN)
    counts = Counter(steps["operation"])
    done = ", ".join(f"{count} {operation}" for operation, count in counts.items()) or "no steps"
    before, after = len(session.sorting_analyzer.unit_ids), len(session.unit_ids)
    echo(f"\n{before} units {'would become' if dry_run else 'become'} {after}: {done}")
    if not after:
        raise ParameterError("all units were removed: there is nothing to write")
    if dry_run or output is None:
        return
    if kind == "analyzer":
        echo(f"Wrote {save(session.apply(), output, overwrite).folder}")
    else:
        _write_for_phy(session, output, overwrite)
    if journal is not None:
        echo(f"Wrote {session.write_journal(journal)}")


def _write_for_phy(session: CurationSession, output: Path, overwrite: bool) -> None:
    from si_curation.exporters.phy.export import export_to_phy
    from si_curation.phy.folder import read_phy_folder

    written = export_to_phy(session.apply(), output, overwrite=overwrite)
    with read_phy_folder(written) as folder:
        left = sorted(set(folder.cluster_ids.tolist()) - set(session.unit_ids))
    if left:
        echo(
            "Note: phy removes no spikes: clusters of the folder that are no units now keep their "
            f"spikes and labels there: {', '.join(map(str, left))}",
            err=True,
        )
    echo(f"Wrote {written}; open it with: phy template-gui {written / 'params.py'}")


def _check_paths(
    source: Path,
    curation: Path,
    output: Path | None,
    kind: str,
    dry_run: bool,
    journal: Path | None,
    overwrite: bool,
) -> None:
    """Raise before anything is read where there is nothing to read, or no place to write to."""
    from si_curation.files import check_output_file, check_output_folder

    if not curation.is_file():
        raise FolderNotFoundError(
            f"CURATION is {curation}, expected a file: a curation (.json) or a journal (.jsonl)"
        )
    if output is None:
        if not dry_run:
            raise click.UsageError("OUT is missing; --dry-run lists what would change without it")
        return
    if kind == "phy" and output.suffix == ".zarr":
        raise ParameterError(f"OUT is {output}, which is no name of a folder for phy")
    if output.resolve() == source.resolve():
        raise ParameterError(f"OUT is {output}, which is what is read; give another OUT")
    check_output_folder(output, overwrite or dry_run, advice=_ADVICE)
    if journal is not None:
        check_output_file(journal, kind="a journal", advice="give another --journal")


def _session_of(
    source: Path, curation: Path, decided_by: str | None, reading: Reading
) -> CurationSession:
    """Return a session in which the steps of the file are done."""
    from si_curation.curation.session import CurationSession, session_of_journal

    analyzer = open_source(source, reading)
    if curation.suffix.lower() != ".json":
        return session_of_journal(analyzer, curation)
    session = CurationSession(analyzer)
    try:
        session.apply_spikeinterface_curation(
            curation,
            reason=f"from {curation.name}",
            decided_by=decided_by or "SpikeInterface curation",
        )
    except ParameterError as fault:
        text = str(fault)
        raise ParameterError(text if str(curation) in text else f"{curation}: {text}") from None
    return session
