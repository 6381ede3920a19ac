"""The command that saves an analyzer of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import did_you_mean
from si_curation.cli.analyzers import DEFAULT_EXTENSIONS, compute_available, read_folder, save
from si_curation.cli.options import PATH, example, folder_argument, reading_options
from si_curation.cli.output import echo
from si_curation.errors import OutputExistsError, ParameterError
from si_curation.progress import stage


@click.command(epilog=example("compute si_curation_demo/phy --output analyzer.zarr"))
@folder_argument
@click.option(
    "--output",
    type=PATH,
    required=True,
    help="New analyzer: a folder, or zarr where it ends in .zarr.",
)
@click.option(
    "--extensions",
    help=f"Comma-separated; default: {','.join(DEFAULT_EXTENSIONS)}. SpikeInterface's are fine.",
)
@reading_options
def compute(folder: Path, output: Path, extensions: str | None, **reading: Any) -> None:
    """Read a Kilosort/phy folder, compute extensions, save a SortingAnalyzer."""
    if output.exists():
        raise OutputExistsError(f"{output} exists; give another --output")
    names = _known_extensions(extensions or ",".join(DEFAULT_EXTENSIONS))
    analyzer = read_folder(folder, **reading)
    if extensions is None:
        compute_available(analyzer, progress_bar=False)
    else:
        for name in names:
            with stage(f"computing {name}"):
                analyzer.compute(name, progress_bar=False)
    saved = save(analyzer, output)
    echo(
        f"{saved.folder}: {len(saved.unit_ids)} units, {spike_vector_of(saved.sorting).size} "
        f"spikes; extensions: {', '.join(sorted(saved.extensions))}"
    )


def _known_extensions(text: str) -> list[str]:
    from spikeinterface.core.sortinganalyzer import get_available_analyzer_extensions

    names = [name for part in text.split(",") if (name := part.strip())]
    known = get_available_analyzer_extensions()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ParameterError(
            f"--extensions has {', '.join(unknown)}{did_you_mean(unknown[0], known)}, expected "
            f"some of {', '.join(known)}"
        )
    return names
