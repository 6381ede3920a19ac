"""The command that attaches a Kilosort folder to a saved analyzer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click
from spikeinterface.core import SortingAnalyzer

from si_curation.cli.analyzers import load_analyzer, save
from si_curation.cli.options import FOLDER, PATH, SOURCE, example, trust_option
from si_curation.cli.output import command_text, echo
from si_curation.errors import FolderNotFoundError, OutputExistsError, ParameterError

_MOST_SHOWN = 10


@click.command(epilog=example("attach si_curation_demo/analyzer si_curation_demo/phy"))
@click.argument("analyzer", type=SOURCE)
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=FOLDER)
@click.option("--output", type=PATH, help="New analyzer: a folder, or zarr where it ends in .zarr.")
@click.option("--in-place", is_flag=True, help="Write into ANALYZER itself.")
@click.option(
    "--frame-offset",
    type=int,
    help="Sample of the folder that is sample 0 of the analyzer, if a slice moved the times.",
)
@click.option(
    "--unwhiten",
    type=click.Choice(["auto", "phy", "none"]),
    default="auto",
    show_default=True,
    help="auto: the sorter's orientation; phy: as phy shows; none: as stored.",
)
@trust_option
def attach(
    analyzer: Path,
    folders: tuple[Path, ...],
    output: Path | None,
    in_place: bool,
    frame_offset: int | None,
    unwhiten: Literal["auto", "phy", "none"],
    trust: bool,
) -> None:
    """Attach a Kilosort/phy folder to a saved SortingAnalyzer: templates and lineage of its spikes.

    Every spike of the analyzer has to be in the folder, or in one of several: give those in their
    order where the sortings were appended or concatenated. With neither --output nor --in-place it
    is only tried, and nothing is written.
    """
    from si_curation.extensions.template_assignment import attach_kilosort_folder
    from si_curation.quality.template_agreement import has_both_kinds
    from si_curation.reading.loading import is_saved_analyzer

    if output is not None and in_place:
        raise ParameterError("give --output or --in-place, not both")
    if output is not None and output.exists():
        raise OutputExistsError(f"{output} exists; give another --output")
    if not analyzer.is_dir() or not is_saved_analyzer(analyzer):
        made = command_text("si-curation", "compute", analyzer, "--output", "NEW")
        raise FolderNotFoundError(
            f"ANALYZER is {analyzer}, expected a saved SortingAnalyzer; of a folder one is made by "
            f"{made}"
        )
    loaded = load_analyzer(analyzer, trust)
    if in_place and loaded.format == "memory":
        raise ParameterError(
            f"{analyzer} was not loaded whole, and is not written to: give --output, or --trust"
        )
    if not in_place:
        loaded = loaded.save_as(format="memory")
    found = attach_kilosort_folder(
        loaded,
        folders,
        frame_offset=frame_offset,
        unwhiten=False if unwhiten == "none" else unwhiten,
    )
    table = found.get_data()
    names = " and ".join(map(str, folders))
    offsets = ", ".join(map(str, found.info.get("frame_offsets", [found.frame_offset])))
    echo(
        f"{int(table['num_spikes'].sum())} spikes of {len(table)} units are in {names} "
        f"({found.source}, {found.template_ids.size} templates, frame offset {offsets}); "
        f"{int((table['num_templates'] > 1).sum())} units have spikes of several templates"
    )
    if has_both_kinds(loaded):
        _compare(loaded)
    if output is not None:
        echo(f"Wrote {save(loaded, output).folder}")
    elif not in_place:
        echo("Nothing was written: give --output or --in-place")


def _compare(analyzer: SortingAnalyzer) -> None:
    """Print how many units look like their template of the sorter, and those that do not."""
    from si_curation.quality.template_agreement import compare_templates

    table = compare_templates(analyzer)
    known = table[table["correlation"].notna()]
    differing = known[known["differs"].astype(bool)].sort_values("correlation")
    echo(
        f"mean of the traces beside the sorter's template: median correlation "
        f"{known['correlation'].median():.2f}, the same best channel in "
        f"{int(known['same_best_channel'].sum())} of {len(known)} units"
    )
    for unit_id, row in differing.head(_MOST_SHOWN).iterrows():
        echo(f"  unit {unit_id}: {row['reason']}")
    if len(differing) > _MOST_SHOWN:
        echo(f"  and {len(differing) - _MOST_SHOWN} more (compare_templates)")
