"""The command that writes curated units to NWB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from si_curation.cli.phy import open_source
from si_curation.errors import ParameterError

_HELP = {"help_option_names": ["-h", "--help"]}


@click.command("export-nwb", context_settings=_HELP)
@click.argument("source", metavar="FOLDER_OR_ANALYZER", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT.nwb", type=click.Path(path_type=Path))
@click.option(
    "--metadata",
    type=click.Path(path_type=Path),
    help="YAML or JSON: NWBFile (session_start_time at least, in a new file), Subject, Ecephys.",
)
@click.option(
    "--t-start",
    type=float,
    multiple=True,
    help="Time of the first sample in seconds; once for each segment.",
)
@click.option(
    "--source-nwb",
    type=click.Path(path_type=Path),
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
@click.option("--gain-to-uv", type=float, help="uV per unit of the raw data, of a folder.")
@click.option("--sampling-frequency", type=float, help="In Hz; for a folder without params.py.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.nwb once the new file is complete.")
def export_nwb(
    source: Path,
    output: Path,
    metadata: Path | None,
    t_start: tuple[float, ...],
    source_nwb: Path | None,
    mode: Any,
    series: str | None,
    per_spike: str,
    units_name: str,
    no_waveforms: bool,
    gain_to_uv: float | None,
    sampling_frequency: float | None,
    overwrite: bool,
) -> None:
    """Write the units of a Kilosort/phy folder or a SortingAnalyzer to an NWB file."""
    from si_curation.exporters.nwb.export import export_to_nwb

    analyzer = _open(source, gain_to_uv, sampling_frequency)
    written = export_to_nwb(
        analyzer,
        output,
        metadata=metadata,
        source_nwb=source_nwb,
        mode=mode,
        t_start=list(t_start) or None,
        electrical_series_path=series,
        write_waveforms=not no_waveforms,
        per_spike=[name.strip() for name in per_spike.split(",") if name.strip()],
        units_name=units_name,
        overwrite=overwrite,
    )
    place = "units" if units_name == "units" else f"processing/ecephys/{units_name}"
    click.echo(
        f"Wrote {written}: {len(analyzer.unit_ids)} units, "
        f"{analyzer.sorting.to_spike_vector().size} spikes in {place}"
    )


def _open(source: Path, gain_to_uv: float | None, sampling_frequency: float | None) -> Any:
    if gain_to_uv is None:
        return open_source(source, sampling_frequency)
    if source.suffix == ".zarr" or (source / "recording_info").is_dir():
        raise ParameterError(f"--gain-to-uv is for a folder, and {source} is an analyzer")
    from si_curation.reading.reader import read_kilosort_as_analyzer

    return read_kilosort_as_analyzer(
        source, gain_to_uV=gain_to_uv, sampling_frequency=sampling_frequency
    )
