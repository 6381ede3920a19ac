"""Commands that show what correlograms tell: contamination, merges, connections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from si_curation.cli.phy import open_source
from si_curation.cli.tables import check_table_output, write_table
from si_curation.errors import OutputExistsError

_HELP = {"help_option_names": ["-h", "--help"]}
_WIDTH = 100  # of words on the screen; files have all of them

_source = click.argument("source", metavar="ANALYZER_OR_FOLDER", type=click.Path(path_type=Path))
_output = click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="New .csv, .tsv or .json file; default: print.",
)
_rate = click.option(
    "--sampling-frequency", type=float, help="In Hz; for a folder without params.py."
)


@click.command(context_settings=_HELP)
@_source
@_output
@click.option("--refractory-period-ms", type=float, help="Default: from each autocorrelogram.")
@_rate
def contamination(
    source: Path,
    output: Path | None,
    refractory_period_ms: float | None,
    sampling_frequency: float | None,
) -> None:
    """Estimate how contaminated each unit is, by every common method."""
    import si_curation as sic

    check_table_output(output)
    analyzer = open_source(source, sampling_frequency)
    table = sic.contamination_panel(analyzer, refractory_period_ms=refractory_period_ms)
    shown = [
        "num_spikes",
        "firing_rate_hz",
        "refractory_period_ms",
        "isi_violations_ratio",
        "rp_contamination",
        "rp_contamination_lower",
        "rp_contamination_upper",
        "sliding_rp_violation",
        "reason",
    ]
    _give(table.rename_axis("unit_id").reset_index(), output, ["unit_id", *shown])


@click.command(context_settings=_HELP)
@_source
@_output
@click.option("--threshold", type=float, help="Smallest score of a suggested merge.")
@click.option(
    "--curation-json",
    type=click.Path(path_type=Path),
    help="Write the suggested merges as SpikeInterface's curation file.",
)
@_rate
def merges(
    source: Path,
    output: Path | None,
    threshold: float | None,
    curation_json: Path | None,
    sampling_frequency: float | None,
) -> None:
    """Suggest units to merge, best first, with the evidence for each pair."""
    import si_curation as sic

    check_table_output(output)
    if curation_json is not None and curation_json.exists():
        raise OutputExistsError(f"{curation_json} exists; give another --curation-json")
    analyzer = open_source(source, sampling_frequency)
    if threshold is None:
        found = sic.suggest_merges(analyzer)
    else:
        found = sic.suggest_merges(analyzer, score_threshold=threshold)
    shown = ["unit_id_a", "unit_id_b", "score", "similarity", "one_neuron_probability"]
    _give(found.table, output, [*shown, "amplitude_term", "depth_term", "reason"])
    groups = found.groups()
    named = "; ".join(" + ".join(map(str, group)) for group in groups) or "none"
    click.echo(f"\nSuggested merges (score of {found.score_threshold:g} or more): {named}")
    if curation_json is not None:
        click.echo(f"Wrote {found.to_curation_json(curation_json)}")


@click.command(context_settings=_HELP)
@_source
@_output
@click.option(
    "--method",
    type=click.Choice(["english2017", "stark2009"]),
    default="english2017",
    show_default=True,
)
@click.option("--inhibitory", is_flag=True, help="Look for inhibitory connections too.")
@_rate
def connections(
    source: Path,
    output: Path | None,
    method: Any,
    inhibitory: bool,
    sampling_frequency: float | None,
) -> None:
    """Find monosynaptic connections, with what makes them doubtful."""
    import si_curation as sic

    check_table_output(output)
    analyzer = open_source(source, sampling_frequency)
    table = sic.find_monosynaptic_connections(
        analyzer, method=method, include_inhibitory=inhibitory
    )
    shown = ["pre_unit_id", "post_unit_id", "connection_type", "lag_ms", "transmission_probability"]
    _give(table, output, [*shown, "verdict"])


def _give(table: Any, output: Path | None, shown: list[str]) -> None:
    """Print the columns to look at, or write all of them."""
    if output is None:
        click.echo(_as_text(table[shown]) if len(table) else "none")
        return
    write_table(table, output)


def _as_text(table: Any) -> str:
    """Give a table for the screen: the last column, of words, to the left and cut."""
    *numbers, words = table.columns
    cut = [text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..." for text in table[words]]
    shown = table[numbers].to_string(index=False, na_rep="-", float_format="{:.4g}".format)
    lines = shown.splitlines()
    return "\n".join(
        f"{line}  {text}".rstrip() for line, text in zip(lines, [words, *cut], strict=True)
    )
