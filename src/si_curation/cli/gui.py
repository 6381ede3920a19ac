"""The command that opens spikeinterface-gui."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from si_curation.cli.analyzers import Reading, open_source
from si_curation.cli.options import (
    PATH,
    example,
    label_model_option,
    source_argument,
    source_options,
)
from si_curation.cli.output import command_text, echo


@click.command(epilog=example("gui si_curation_demo/phy"))
@source_argument
@click.option(
    "--curation-json",
    type=PATH,
    help="Go on from this curation file, and save into it. By default "
    "<folder>_curation.json beside SOURCE (in an analyzer that is a folder: where the GUI looks).",
)
@click.option(
    "--web", is_flag=True, help="In the browser instead of a window, until Ctrl-C; no internet."
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="With --web: the port; any free one by default."
)
@label_model_option
@source_options()
def gui(
    source: Path,
    curation_json: Path | None,
    web: bool,
    port: int | None,
    label_model: Path | None,
    reading: Reading,
) -> None:
    """Look at units and curate them in spikeinterface-gui, also without a recording."""
    import si_curation as sic
    from si_curation.gui.curation_file import default_curation_json

    if port is not None and not web:
        raise click.UsageError("--port is of the page in the browser: give --web too")

    mode: Any = "web" if web else "desktop"
    model = None if label_model is None else sic.LabelModel.load(label_model)
    analyzer = open_source(source, reading)
    path = default_curation_json(analyzer) if curation_json is None else curation_json
    before = _written(path)
    state = "new" if before is None else "goes on from it"
    echo(f'Curation file: {path} ({state}; "Save curation" writes it)')
    try:
        sic.open_gui(analyzer, curation_json=path, mode=mode, port=port or 0, label_model=model)
    except KeyboardInterrupt:
        if not web:
            raise
        echo()
    if _written(path) in (before, None):
        echo(f"Nothing was saved into {path}")
        return
    echo(f"Saved {path}. To do what is in it:\n")
    echo(f"    {command_text('si-curation', 'apply', source, path, 'OUT')}")


def _written(path: Path) -> int | None:
    """Return when a file was written, in ns; None: there is none."""
    return path.stat().st_mtime_ns if path.is_file() else None
