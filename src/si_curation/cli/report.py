"""The command that writes the page of a sorting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from si_curation.cli.phy import open_source

_HELP = {"help_option_names": ["-h", "--help"]}
#: What costs little beside reading the folder.
CHEAP_EXTENSIONS = (
    "template_assignment",
    "template_best_channels",
    "unit_similarity",
    "cross_correlograms",
    "curation_metrics",
)

_ON_TEMPLATE_ASSIGNMENT = {"template_best_channels", "unit_similarity"}


@click.command(context_settings=_HELP)
@click.argument("source", metavar="ANALYZER_OR_FOLDER", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT.html", type=click.Path(path_type=Path))
@click.option("--title", help="Default: the name of the folder.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
@click.option("--sampling-frequency", type=float, help="In Hz; for a folder without params.py.")
def report(
    source: Path, output: Path, title: str | None, overwrite: bool, sampling_frequency: float | None
) -> None:
    """Write one HTML page of a sorting that opens offline, to look at and to send."""
    from si_curation.report.export import export_report
    from si_curation.report.output import check_output_file

    check_output_file(output, overwrite)
    analyzer = open_source(source, sampling_frequency)
    _compute_missing(analyzer)
    written = export_report(analyzer, output, title=title, overwrite=overwrite)
    size = written.stat().st_size / 1e6
    click.echo(f"Wrote {written}: {len(analyzer.unit_ids)} units, {size:.1f} MB")


def _compute_missing(analyzer: Any) -> None:
    """Compute what is cheap and not there, in memory; say what cannot be had."""
    import si_curation  # noqa: F401  (registers the extensions)
    from si_curation.errors import SiCurationError

    there = {name for name in CHEAP_EXTENSIONS if analyzer.get_extension(name) is not None}
    if analyzer.format != "memory" and there & _ON_TEMPLATE_ASSIGNMENT:
        # SpikeInterface would delete these from the disk before it computes what they hang on
        there.add("template_assignment")
    for name in CHEAP_EXTENSIONS:
        if name not in there:
            try:
                analyzer.compute(name, save=False)
            except SiCurationError as fault:
                click.echo(f"No {name}: {fault}", err=True)
