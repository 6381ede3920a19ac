"""The command that writes phy's table of clusters."""

from __future__ import annotations

from pathlib import Path

import click

from si_curation.cli.options import PATH, example, folder_argument, sampling_frequency_option
from si_curation.cli.output import echo
from si_curation.errors import FolderNotFoundError, OutputExistsError, ParameterError


@click.command(
    "cluster-info", epilog=example("cluster-info si_curation_demo/phy --output cluster_info.tsv")
)
@folder_argument
@click.option(
    "--output",
    type=PATH,
    help="New file; default: cluster_info.tsv in the folder.",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace the folder's cluster_info.tsv, after a backup."
)
@sampling_frequency_option
def cluster_info(
    folder: Path, output: Path | None, overwrite: bool, sampling_frequency: float | None
) -> None:
    """Write phy's cluster_info.tsv without opening phy."""
    from si_curation.files import replace_file
    from si_curation.phy.backup import only_writer, replace_files
    from si_curation.quality.metrics.cluster_info import make_cluster_info, make_new_cluster_info

    if not folder.is_dir():
        raise FolderNotFoundError(f"{folder} does not exist, expected a Kilosort/phy folder")
    name = "cluster_info.tsv"
    target = folder / name if output is None else output
    if output is not None and overwrite:
        raise ParameterError("--overwrite is for the folder's own file: leave out --output")
    if target.exists() and not overwrite:
        advice = "give another --output" if output else "give --overwrite or --output"
        raise OutputExistsError(f"{target} exists; {advice}")
    if output is None:
        with only_writer(folder.resolve()) as read:
            if target.exists():
                files = make_new_cluster_info(folder, sampling_frequency=sampling_frequency)
                content = files[name]
                replace_files(folder.resolve(), files, "cluster-info", read)
            else:
                content = make_cluster_info(folder, sampling_frequency=sampling_frequency)
                replace_file(target, content)
    else:
        content = make_cluster_info(folder, sampling_frequency=sampling_frequency)
        replace_file(target, content, make_folders=True)
    num_clusters = content.count(b"\n") - 1
    echo(f"Wrote {target}: {num_clusters} clusters")
