"""The command that computes the quality metrics of units."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from si_curation.cli.analyzers import Reading, open_source
from si_curation.cli.options import (
    example,
    source_argument,
    source_options,
    table_options,
)
from si_curation.cli.output import echo
from si_curation.cli.tables import (
    TableOutput,
    check_table_output,
    format_numbers,
    print_top,
    write_table,
)
from si_curation.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd

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
    "peak_to_trough_duration",
    "snr_from_features",
)
# phy shows these by itself, under the same names
_SHOWN_BY_PHY = (
    "num_spikes",
    "firing_rate",
    "best_channel_id",
    "depth_um",
    "shank",
    "amp",
    "KSLabel",
    "ContamPct",
)


@click.command(epilog=example("metrics si_curation_demo/phy"))
@source_argument
@table_options
@click.option(
    "--write-phy",
    is_flag=True,
    help="Write them into the folder as columns of phy, after a backup. Close phy first.",
)
@click.option(
    "--metric", "metric_names", multiple=True, help="Only this metric; can be given several times."
)
@click.option(
    "--window-s", type=float, help="Length of windows in seconds: a row for each unit and window."
)
@source_options(periods=True)
def metrics(
    source: Path,
    output: TableOutput,
    write_phy: bool,
    metric_names: tuple[str, ...],
    window_s: float | None,
    reading: Reading,
) -> None:
    """Compute the quality metrics of each unit; no recording is needed."""
    from si_curation.quality.metrics.extension import compute_metrics_in_windows

    _check_arguments(source, output, write_phy, window_s)
    analyzer = open_source(source, reading)
    names = list(metric_names) or None
    if window_s is not None:
        table = compute_metrics_in_windows(analyzer, window_s=window_s, metric_names=names)
    else:
        extension = analyzer.compute(
            "curation_metrics", save=False, metric_names=names, delete_existing_metrics=True
        )
        found = extension.get_data()
        if write_phy:
            _write_columns(source, found)
        table = found.rename_axis("unit_id").reset_index()
    if output.path is not None:
        write_table(table, output.path)
    elif not write_phy:
        main = [c for c in ("unit_id", *_SHOWN) if c in table]
        shown = table if names or window_s is not None else table[main]
        print_top(shown, output.top, format_numbers)


def _check_arguments(
    source: Path, output: TableOutput, write_phy: bool, window_s: float | None
) -> None:
    problems = []
    if write_phy and not (source / "spike_times.npy").exists():
        problems.append(f"--write-phy needs a Kilosort/phy folder, which {source} is not")
    if write_phy and window_s is not None:
        problems.append("--write-phy writes a value for each unit: leave out --window-s")
    check_table_output(output, problems)


def _write_columns(folder: Path, table: pd.DataFrame) -> None:
    import pandas as pd

    from si_curation.exporters.phy.inplace import write_phy_columns

    columns = [c for c in table.columns if c not in _SHOWN_BY_PHY]
    kept = [c for c in columns if table[c].notna().any()]
    if not kept:
        raise ParameterError(
            "none of these metrics can be written: phy shows them already, or none has a value"
        )
    values = {c: {i: None if pd.isna(v) else v for i, v in table[c].items()} for c in kept}
    backup = write_phy_columns(folder, values)
    where = "nothing had changed" if backup is None else f"what was there is in {backup}"
    echo(f"Wrote {len(kept)} columns into {folder}; {where}")
