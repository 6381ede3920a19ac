"""The command that lists the templates that each unit came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from si_curation.cli.options import (
    example,
    folder_argument,
    json_option,
    sampling_frequency_option,
    top_option,
)
from si_curation.cli.output import echo
from si_curation.cli.screen import fit_table, screen_width
from si_curation.cli.tables import print_top
from si_curation.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd


@click.command(epilog=example("lineage si_curation_demo/phy"))
@folder_argument
@sampling_frequency_option
@json_option
@top_option
def lineage(folder: Path, sampling_frequency: float | None, as_json: bool, top: int | None) -> None:
    """List the sorter's templates that each unit came from, and what was done to it."""
    from si_curation.curation.lineage import reconstruct_lineage

    table = reconstruct_lineage(folder, sampling_frequency=sampling_frequency)
    if as_json and top is not None:
        raise ParameterError("--top is of the table that is printed: leave it out with --json")
    if as_json:
        echo(json.dumps(table.reset_index().to_dict(orient="records"), indent=2))
        return
    table["templates"] = [
        ", ".join(f"{template} ({count})" for template, count in pairs)
        for pairs in table["templates"]
    ]
    table = table.rename(columns={"templates": "templates (spikes)"})
    table["shares_templates_with"] = [
        ", ".join(map(str, others)) or "-" for others in table["shares_templates_with"]
    ]
    print_top(table.reset_index(), top, _as_text)


def _as_text(table: pd.DataFrame) -> str:
    width = screen_width()
    if width is not None:
        return fit_table(table, width)
    return table.to_string(index=False, justify="left")
