"""The command that opens spikeinterface-gui."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from si_curation.cli.analyzers import open_source
from si_curation.cli.options import (
    PATH,
    example,
    label_model_option,
    sampling_frequency_option,
    source_argument,
    trust_option,
)
from si_curation.cli.output import echo


@click.command(epilog=example("gui si_curation_demo/phy"))
@source_argument
@click.option(
    "--curation-json",
    type=PATH,
    help="Go on from this curation file, and save into it.",
)
@click.option("--web", is_flag=True, help="In the browser instead of a window.")
@label_model_option
@sampling_frequency_option
@trust_option
def gui(
    source: Path,
    curation_json: Path | None,
    web: bool,
    label_model: Path | None,
    sampling_frequency: float | None,
    trust: bool,
) -> None:
    """Look at units and curate them in spikeinterface-gui, also without a recording."""
    import si_curation as sic

    mode: Any = "web" if web else "desktop"
    model = None if label_model is None else sic.LabelModel.load(label_model)
    analyzer = open_source(source, sampling_frequency, trust=trust)
    sic.open_gui(analyzer, curation_json=curation_json, mode=mode, label_model=model)
    if curation_json is not None and curation_json.is_file():
        echo(
            f"The curation is in {curation_json}; to do it in Python:\n"
            "    session = si_curation.CurationSession(analyzer)\n"
            f"    session.apply_spikeinterface_curation({str(curation_json)!r})"
        )
