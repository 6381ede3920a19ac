"""The command that lists the templates that each unit came from."""

from __future__ import annotations

import json
from pathlib import Path

import click

from si_curation.cli.options import example, folder_argument, json_option, sampling_frequency_option
from si_curation.cli.output import echo


@click.command(epilog=example("lineage si_curation_demo/phy"))
@folder_argument
@sampling_frequency_option
@json_option
def lineage(folder: Path, sampling_frequency: float | None, as_json: bool) -> None:
    """List the sorter's templates that each unit came from, and what was done to it."""
    from si_curation.curation.lineage import reconstruct_lineage

    table = reconstruct_lineage(folder, sampling_frequency=sampling_frequency)
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
    echo(table.reset_index().to_string(index=False, justify="left"))
