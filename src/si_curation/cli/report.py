"""The command that writes the page of a sorting."""

from __future__ import annotations

from pathlib import Path

import click
from spikeinterface.core import SortingAnalyzer

from si_curation.cli.analyzers import Reading, compute_available, open_source
from si_curation.cli.options import (
    PATH,
    borders_option,
    calibrations_option,
    example,
    label_model_option,
    source_argument,
    source_options,
)
from si_curation.cli.output import echo
from si_curation.cli.suggestions import read_calibration_files
from si_curation.errors import SiCurationError

#: What costs little beside reading the folder.
CHEAP_EXTENSIONS = (
    "template_assignment",
    "template_best_channels",
    "unit_similarity",
    "cross_correlograms",
    "curation_metrics",
)
_ON_TEMPLATE_ASSIGNMENT = {"template_best_channels", "unit_similarity"}


@click.command(epilog=example("report si_curation_demo/phy report.html"))
@source_argument
@click.argument("output", metavar="OUT.html", type=PATH)
@click.option("--title", help="Default: the name of the folder.")
@click.option("--curate", is_flag=True, help="A page to curate with; it saves a curation file.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
@borders_option
@calibrations_option
@label_model_option
@source_options(periods=True)
def report(
    source: Path,
    output: Path,
    title: str | None,
    curate: bool,
    overwrite: bool,
    borders: list[float] | None,
    calibrations: tuple[Path, ...],
    label_model: Path | None,
    reading: Reading,
) -> None:
    """Write one HTML page of a sorting that opens offline, to look at and to send."""
    from si_curation.files import check_page_file
    from si_curation.learning.model import LabelModel
    from si_curation.reading.sessions import session_borders
    from si_curation.report.export import export_report

    check_page_file(output, overwrite)
    known = read_calibration_files(calibrations)
    model = None if label_model is None else LabelModel.load(label_model)
    analyzer = open_source(source, reading)
    if borders is not None:  # a wrong one is told before anything is computed
        session_borders(analyzer, borders)
    compute_for_page(analyzer)
    written = export_report(
        analyzer,
        output,
        title=title,
        borders=borders or "auto",
        calibrations=known,
        label_model=model,
        curation=curate,
        overwrite=overwrite,
    )
    size = written.stat().st_size / 1e6
    echo(f"Wrote {written}: {len(analyzer.unit_ids)} units, {size:.1f} MB")


def compute_for_page(analyzer: SortingAnalyzer) -> None:
    """Compute in memory what is cheap and not there; note what the folder lacks data for."""
    there = {name for name in CHEAP_EXTENSIONS if analyzer.get_extension(name) is not None}
    if analyzer.format != "memory" and there & _ON_TEMPLATE_ASSIGNMENT:
        # SpikeInterface would delete these from the disk before it computes what they depend on
        there.add("template_assignment")
    names = [name for name in CHEAP_EXTENSIONS if name not in there]
    compute_available(analyzer, names, SiCurationError, all_pairs=False, save=False)
