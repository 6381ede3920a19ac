"""The command that writes curated units to NWB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from si_curation._spikeinterface import spike_vector_of
from si_curation.cli.analyzers import Reading, open_source
from si_curation.cli.options import (
    PATH,
    example,
    source_argument,
    source_options,
)
from si_curation.cli.output import echo


@click.command(
    "export-nwb",
    epilog=example(
        "export-nwb si_curation_demo/phy units.nwb --metadata si_curation_demo/nwb.yaml --t-start 0"
    ),
)
@source_argument
@click.argument("output", metavar="OUT.nwb", type=PATH)
@click.option(
    "--metadata",
    type=PATH,
    help="YAML or JSON: NWBFile, Subject, Ecephys, as neuroconv has them.",
)
@click.option(
    "--session-start-time",
    metavar="TIME",
    help="When the session began, with its offset from UTC: 2024-05-01T12:00:00+02:00.",
)
@click.option("--session-id", help="Name of the session, where metadata and source have none.")
@click.option(
    "--t-start",
    type=float,
    multiple=True,
    help="Time of the first sample in seconds; once for each segment.",
)
@click.option(
    "--spike-times",
    type=PATH,
    help="A .npy of the time of each spike in seconds, in the order of the folder's rows (TPrime).",
)
@click.option(
    "--source-nwb",
    type=PATH,
    help="NWB file of the recording: its clock, electrodes and metadata are used.",
)
@click.option(
    "--mode",
    type=click.Choice(["new", "sidecar", "export", "append"]),
    help="Default: sidecar with --source-nwb, else new. append changes OUT.nwb itself.",
)
@click.option("--electrical-series", "series", help="Path of the ElectricalSeries that was sorted.")
@click.option(
    "--per-spike",
    default="amplitudes",
    show_default=True,
    help="Comma-separated: amplitudes, ks_amplitudes, depths, template_ids; '' for none.",
)
@click.option("--units-name", default="units", show_default=True, help="Name of the table.")
@click.option("--no-waveforms", is_flag=True, help="Leave out waveform_mean.")
@source_options(periods=True)
@click.option("--overwrite", is_flag=True, help="Replace OUT.nwb once the new file is complete.")
def export_nwb(
    source: Path,
    output: Path,
    metadata: Path | None,
    session_start_time: str | None,
    session_id: str | None,
    t_start: tuple[float, ...],
    spike_times: Path | None,
    source_nwb: Path | None,
    mode: Any,
    series: str | None,
    per_spike: str,
    units_name: str,
    no_waveforms: bool,
    reading: Reading,
    overwrite: bool,
) -> None:
    """Write the units of a Kilosort/phy folder or a SortingAnalyzer to an NWB file."""
    from si_curation.exporters.nwb.export import export_to_nwb
    from si_curation.exporters.nwb.given_times import read_spike_times

    times = None if spike_times is None else read_spike_times(spike_times)
    analyzer = open_source(source, reading)
    written = export_to_nwb(
        analyzer,
        output,
        metadata=metadata,
        session_start_time=session_start_time,
        session_id=session_id,
        source_nwb=source_nwb,
        mode=mode,
        t_start=list(t_start) or None,
        spike_times=times,
        electrical_series_path=series,
        write_waveforms=not no_waveforms,
        per_spike=[name.strip() for name in per_spike.split(",") if name.strip()],
        units_name=units_name,
        overwrite=overwrite,
    )
    place = "units" if units_name == "units" else f"processing/ecephys/{units_name}"
    echo(
        f"Wrote {written}: {len(analyzer.unit_ids)} units, "
        f"{spike_vector_of(analyzer.sorting).size} spikes in {place}"
    )
