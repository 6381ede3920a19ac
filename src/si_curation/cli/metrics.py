"""Commands that tabulate units: quality metrics, and phy's table of clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from si_curation.cli.phy import open_source
from si_curation.cli.tables import check_table_output, write_table
from si_curation.errors import FolderNotFoundError, OutputExistsError, ParameterError

_HELP = {"help_option_names": ["-h", "--help"]}
_SHOWN = (
    "num_spikes",
    "firing_rate",
    "best_channel_id",
    "depth_um",
    "template_purity",
    "presence_ratio",
    "amplitude_cutoff",
    "drift_ptp",
    "isolation_distance",
    "nn_hit_rate",
    "rp_contamination",
)
# what phy shows of its own, under its own names
_OF_PHY = (
    "num_spikes",
    "firing_rate",
    "best_channel_id",
    "depth_um",
    "shank",
    "amp",
    "KSLabel",
    "ContamPct",
)

_rate = click.option(
    "--sampling-frequency", type=float, help="In Hz; for a folder without params.py."
)


@click.command(context_settings=_HELP)
@click.argument("source", metavar="FOLDER_OR_ANALYZER", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="New .csv, .tsv or .json file; default: print the main columns.",
)
@click.option(
    "--write-phy",
    is_flag=True,
    help="Add them as columns of phy to FOLDER, in place, after a backup. Close phy first.",
)
@click.option(
    "--metric", "metric_names", multiple=True, help="Only this metric; can be given several times."
)
@click.option(
    "--window-s", type=float, help="In windows of so many seconds: a row for each unit and window."
)
@_rate
def metrics(
    source: Path,
    output: Path | None,
    write_phy: bool,
    metric_names: tuple[str, ...],
    window_s: float | None,
    sampling_frequency: float | None,
) -> None:
    """Compute the quality metrics of each unit; no recording is needed."""
    from si_curation.quality.metrics.extension import compute_metrics_in_windows

    _check(source, output, write_phy, window_s)
    analyzer = open_source(source, sampling_frequency)
    names = list(metric_names) or None
    if window_s is not None:
        table = compute_metrics_in_windows(analyzer, window_s=window_s, metric_names=names)
    else:
        extension = analyzer.compute("curation_metrics", save=False, metric_names=names,
                                     delete_existing_metrics=True)  # fmt: skip
        found = extension.get_data()
        if write_phy:
            _write_columns(source, found)
        table = found.rename_axis("unit_id").reset_index()
    if output is not None:
        write_table(table, output)
    elif not write_phy:
        main = [c for c in ("unit_id", *_SHOWN) if c in table]
        shown = table if names or window_s is not None else table[main]
        click.echo(shown.to_string(index=False, na_rep="-", float_format="{:.4g}".format))


def _check(source: Path, output: Path | None, write_phy: bool, window_s: float | None) -> None:
    problems = []
    if write_phy and not (source / "spike_times.npy").exists():
        problems.append(f"--write-phy needs a Kilosort/phy folder, which {source} is not")
    if write_phy and window_s is not None:
        problems.append("--write-phy writes a value for each unit: leave out --window-s")
    check_table_output(output, problems)


def _write_columns(folder: Path, table: Any) -> None:
    from si_curation.exporters.phy.inplace import write_phy_columns

    columns = [c for c in table.columns if c not in _OF_PHY]
    kept = [c for c in columns if table[c].notna().any()]
    if not kept:
        raise ParameterError(
            "none of these metrics can be written: phy shows them already, or none has a value"
        )
    values = {c: {i: None if _is_missing(v) else v for i, v in table[c].items()} for c in kept}
    backup = write_phy_columns(folder, values)
    where = "nothing had changed" if backup is None else f"what was there is in {backup}"
    click.echo(f"Wrote {len(kept)} columns into {folder}; {where}")


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value))


@click.command("cluster-info", context_settings=_HELP)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="New file; default: cluster_info.tsv in the folder.",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace the folder's cluster_info.tsv, after a backup."
)
@_rate
def cluster_info(
    folder: Path, output: Path | None, overwrite: bool, sampling_frequency: float | None
) -> None:
    """Write phy's cluster_info.tsv without opening phy."""
    from si_curation.exporters.phy.backup import replace_files
    from si_curation.phy.writing import replace_file
    from si_curation.quality.metrics.cluster_info import make_cluster_info

    if not folder.is_dir():
        raise FolderNotFoundError(f"{folder} does not exist, expected a Kilosort/phy folder")
    name = "cluster_info.tsv"
    target = folder / name if output is None else output
    if output is not None and overwrite:
        raise ParameterError("--overwrite is for the folder's own file: leave out --output")
    if target.exists() and not overwrite:
        advice = "give another --output" if output else "give --overwrite or --output"
        raise OutputExistsError(f"{target} exists; {advice}")
    content = make_cluster_info(folder, sampling_frequency=sampling_frequency)
    if target.exists():
        replace_files(folder.resolve(), {name: content}, "cluster-info")
    else:
        replace_file(target, content)
    num_clusters = content.count(b"\n") - 1
    click.echo(f"Wrote {target}: {num_clusters} clusters")
