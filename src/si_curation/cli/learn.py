"""The commands that learn labels from curated sessions, and that label sessions so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from si_curation.cli.analyzers import Reading, open_source
from si_curation.cli.folders import FolderPath
from si_curation.cli.options import (
    PATH,
    example,
    source_argument,
    source_options,
    table_options,
)
from si_curation.cli.output import echo
from si_curation.cli.tables import TableOutput, check_table_output, write_or_print
from si_curation.errors import FolderNotFoundError, ParameterError
from si_curation.files import check_output_file, check_page_file

if TYPE_CHECKING:
    import pandas as pd


#: Of which labels are learnt.
SESSION = FolderPath(analyzers=True, files=(".csv", ".tsv"))


@click.command(
    epilog=example(
        "learn si_curation_demo/made_up_units.csv --metric-params default --output model.json"
    )
)
@click.argument("sessions", nargs=-1, type=SESSION, metavar="SESSION...")
@click.option("--output", type=PATH, required=True, help="New .json file of the model.")
@click.option(
    "--column", default="group", show_default=True, help="Column of the labels; group is phy's."
)
@click.option(
    "--session-column",
    default="session",
    show_default=True,
    help="Column that names the session of each unit, where SESSION is a table (.csv).",
)
@click.option(
    "--accuracy",
    type=float,
    default=0.95,
    show_default=True,
    help="Share of the labels that are to be right; it is undecided about other units.",
)
@click.option("--note", default="", help="Source and licence of the labels, kept in the model.")
@click.option(
    "--metric-params",
    metavar="default|FILE",
    help="With which the metrics of a table were made, so that the model can label folders: "
    '"default", or a JSON file {metric: {parameter: value}}.',
)
@click.option(
    "--prior",
    type=PATH,
    help="Table (.csv) of labelled units of others to learn from too, where that is better.",
)
@click.option("--prior-name", default="", help="Whose labels those are.")
@click.option("--report", type=PATH, help="New .html page of how right the labels are.")
@source_options(trust=False)
def learn(
    sessions: tuple[Path, ...],
    output: Path,
    column: str,
    session_column: str,
    accuracy: float,
    note: str,
    metric_params: str | None,
    prior: Path | None,
    prior_name: str,
    report: Path | None,
    reading: Reading,
) -> None:
    """Learn labels from curated sessions: folders of phy, saved analyzers, or one table.

    Printed is how right the labels are of sessions that were left out of the learning.
    """
    from si_curation.learning.metric_params import read_metric_params
    from si_curation.learning.model import learn_labels

    target = check_output_file(
        output, kind="a model", suffixes=(".json",), advice="give another --output"
    )
    if report is not None:
        page = check_page_file(report, advice="give another --report")
    if not sessions:
        raise ParameterError("there are no sessions, expected two or more folders or a .csv table")
    model = learn_labels(
        _read_sessions(sessions, reading),
        column,
        session_column=session_column,
        metric_params=read_metric_params(metric_params),
        accuracy=accuracy,
        prior=None if prior is None else _read_units(prior),
        prior_name=prior_name,
        note=note,
    )
    echo(model.report())
    if model.prior:
        echo(f"\nLabels of others: {model.prior}")
    for name, why in model.columns_left_out.items():
        echo(f"The column {name} was left out: {why}", err=True)
    echo(f"\nWrote {model.save(target)}: {model!r}")
    if report is not None:
        from si_curation.report.labels import export_label_report

        echo(f"Wrote {export_label_report(model, page)}")


def _read_sessions(paths: Sequence[Path], reading: Reading) -> object:
    """Return what labels are learnt from: a table, paths, or analyzers where it is said how to."""
    is_default = reading == Reading()
    if len(paths) == 1 and not paths[0].is_dir():
        table = _read_units(paths[0])
        if not is_default:
            raise ParameterError(
                f"{paths[0]} is a table: leave out --sampling-frequency, --gain-to-uv and "
                "--exclude-group, which say how folders are read"
            )
        return table
    if is_default:
        return list(paths)
    return {str(path): open_source(path, reading) for path in paths}


def _read_units(path: Path) -> pd.DataFrame:
    import pandas as pd

    if not path.exists():
        raise FolderNotFoundError(f"{path} does not exist, expected folders or a .csv table")
    if path.suffix.lower() not in (".csv", ".tsv"):
        raise ParameterError(f"{path} is no folder, expected a .csv or .tsv table")
    try:
        return pd.read_csv(path, sep="\t" if path.suffix.lower() == ".tsv" else ",")
    except (ValueError, OSError) as fault:
        raise ParameterError(f"{path} cannot be read as a table: {fault}") from None


@click.command(
    epilog=example(
        "learn si_curation_demo/made_up_units.csv --metric-params default --output labels.json",
        "label si_curation_demo/phy --model labels.json",
    )
)
@source_argument
@click.option("--model", type=PATH, required=True, help="File that `learn` wrote.")
@table_options
@click.option(
    "--write-phy",
    is_flag=True,
    help="Write learnt_label and learnt_probability into the folder as columns of phy, after a "
    "backup. Close phy first.",
)
@click.option("--accuracy", type=float, help="Share of the labels that are to be right.")
@source_options(periods=True)
def label(
    source: Path,
    model: Path,
    output: TableOutput,
    write_phy: bool,
    accuracy: float | None,
    reading: Reading,
) -> None:
    """Label units by a model of curated sessions; units that it is not sure of are undecided."""
    from si_curation.learning.model import LabelModel

    problems = []
    if write_phy and not (source / "spike_times.npy").exists():
        problems.append(f"--write-phy needs a Kilosort/phy folder, which {source} is not")
    check_table_output(output, problems)
    learnt = LabelModel.load(model)
    analyzer = open_source(source, reading)
    table = learnt.label(analyzer, accuracy=accuracy).table
    if write_phy:
        from si_curation.exporters.phy.inplace import write_phy_columns

        columns = {"learnt_label": table["label"], "learnt_probability": table["probability"]}
        backup = write_phy_columns(source, {c: v.to_dict() for c, v in columns.items()})
        where = "nothing had changed" if backup is None else f"what was there is in {backup}"
        echo(f"Wrote learnt_label and learnt_probability into {source}; {where}")
    shown = ["unit_id", "label", "likeliest", "probability", "num_outside", "reason"]
    write_or_print(table.reset_index(), output, shown)
    decided = int(table["decided"].sum())
    echo(f"\nDecided {decided} of {len(table)} units: {learnt!r}")
