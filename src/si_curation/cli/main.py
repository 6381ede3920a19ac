"""The command ``si-curation``."""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from si_curation.cli.batch import batch
from si_curation.cli.check import check
from si_curation.cli.evidence import connections, contamination, merges
from si_curation.cli.gui import gui
from si_curation.cli.metrics import cluster_info, metrics
from si_curation.cli.nwb import export_nwb
from si_curation.cli.phy import curate_in_code, export_phy, restore
from si_curation.cli.report import report
from si_curation.errors import (
    MissingDataError,
    OutputExistsError,
    ParameterError,
    SiCurationError,
)

OUR_EXTENSIONS = (
    "template_assignment",
    "template_best_channels",
    "template_features",
    "unit_similarity",
    "cross_correlograms",
)
DEMO_OUTPUT = "si_curation_demo"
_HELP = {"help_option_names": ["-h", "--help"]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; errors are one line on standard error and exit code 2."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # consoles that cannot show every character
    try:
        code = cli.main(args=arguments, prog_name="si-curation", standalone_mode=False)
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.exceptions.NoArgsIsHelpError as fault:
        click.echo(fault.format_message())
        code = 0
    except click.ClickException as fault:
        code = _fail(fault.format_message())
    except (click.Abort, KeyboardInterrupt):
        code = _fail("interrupted")
    except BrokenPipeError:
        code = 0
    except SiCurationError as fault:
        code = _fail(str(fault))
    except Exception as fault:
        if logging.getLogger("si_curation").isEnabledFor(logging.DEBUG):
            raise
        code = _fail(f"{type(fault).__name__}: {fault} (run with --debug to see where)")
    sys.exit(code or 0)


def _fail(message: str) -> int:
    click.echo("Error: " + " ".join(message.split()), err=True)
    return 2


@click.group(context_settings=_HELP)
@click.option("--debug", is_flag=True, help="Log details; show tracebacks of unexpected errors.")
@click.version_option(package_name="si_curation")
def cli(debug: bool) -> None:
    """What phy shows of a Kilosort sorting, exact and in scripts."""
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING)
    logging.getLogger("si_curation").setLevel(logging.DEBUG if debug else logging.WARNING)
    for noisy in ("numba", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _reading_options(function: Callable) -> Callable:
    """Add the options by which a folder is read."""
    options = [
        click.option(
            "--unwhiten",
            type=click.Choice(["auto", "phy", "none"]),
            default="auto",
            show_default=True,
            help="auto: the sorter's orientation; phy: as phy shows; none: as stored.",
        ),
        click.option("--sampling-frequency", type=float, help="In Hz; needed without a params.py."),
        click.option("--gain-to-uv", type=float, help="uV per unit of the raw data, if known."),
        click.option(
            "--exclude-group", "exclude_groups", multiple=True, help="Leave out a phy group."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _read(folder: Path, unwhiten, sampling_frequency, gain_to_uv, exclude_groups) -> Any:
    from si_curation.reading.reader import read_kilosort_as_analyzer

    return read_kilosort_as_analyzer(
        folder,
        unwhiten=False if unwhiten == "none" else unwhiten,
        sampling_frequency=sampling_frequency,
        gain_to_uV=gain_to_uv,
        exclude_groups=list(exclude_groups) or None,
    )


@cli.command(context_settings=_HELP)
@click.option("--folder", type=click.Path(path_type=Path), help="Default: the packaged example.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help=f"New folder for what is made; default: {DEMO_OUTPUT}.",
)
@_reading_options
def demo(folder: Path | None, output: Path | None, **reading: Any) -> None:
    """Read a Kilosort/phy folder, show its units, save an analyzer and a figure."""
    from si_curation.quality.unit_table import make_unit_table
    from si_curation.simulation.example import example_folder

    source = folder or example_folder()
    target = _new_folder(output)
    analyzer = _read(source, **reading)
    _compute_all(analyzer)
    click.echo(f"{source}\n{_describe(analyzer)}\n")
    click.echo(_format_units(make_unit_table(analyzer)))
    click.echo(_amplitude_note(analyzer))
    target.mkdir(parents=True, exist_ok=True)
    figures = _save_figures(analyzer, target)
    analyzer_folder = target / "analyzer"
    _save_analyzer(analyzer, analyzer_folder)
    curated = curate_in_code(analyzer, Path(source), target / "phy")
    if curated:
        click.echo(f"\n{curated}")
    click.echo(
        f"\nSaved the analyzer to {analyzer_folder} and the templates on the probe to "
        f"{figures[0]}{f' and {len(figures) - 1} more' if len(figures) > 1 else ''}.\n"
        "Next: look at the figure; try your own folder with\n"
        "    si-curation demo --folder PATH_TO_YOUR_KILOSORT_FOLDER\n"
        "and go on in Python:\n"
        "    import spikeinterface as si, si_curation as sic\n"
        f"    analyzer = si.load_sorting_analyzer({str(analyzer_folder)!r})\n"
        '    analyzer.get_extension("template_best_channels").get_data(outputs="dataframe")'
    )


def _new_folder(output: Path | None) -> Path:
    if output is not None:
        if output.exists() and not (output.is_dir() and not any(output.iterdir())):
            raise OutputExistsError(f"{output} exists; give another --output")
        return output
    number = 1
    while (path := Path(DEMO_OUTPUT if number == 1 else f"{DEMO_OUTPUT}-{number}")).exists():
        number += 1
    return path


def _compute_all(analyzer: Any) -> None:
    """Compute our extensions; say which cannot be had from this folder."""
    for name in OUR_EXTENSIONS:
        try:
            analyzer.compute(name, progress_bar=False)
        except MissingDataError as fault:
            click.echo(f"No {name}: {fault}", err=True)


def _describe(analyzer: Any) -> str:
    annotation = analyzer.sorting.get_annotation
    sorter = " ".join(filter(None, [annotation("sorter"), annotation("sorter_version")]))
    return (
        f"{sorter} (known by: {annotation('sorter_evidence')})\n"
        f"{len(analyzer.unit_ids)} units, {analyzer.sorting.to_spike_vector().size} spikes, "
        f"{analyzer.get_num_channels()} channels, {analyzer.get_total_duration():.1f} s at "
        f"{analyzer.sampling_frequency:g} Hz; templates unwhitened: {annotation('unwhitening')}"
    )


def _format_units(table: Any) -> str:
    decimals = {
        "firing_rate_hz": "{:.2f}".format,
        "template_purity": "{:.3f}".format,
        "depth_um": "{:g}".format,
        "amplitude": "{:.2f}".format,
    }
    return table.reset_index().to_string(index=False, formatters=decimals, na_rep="-")


def _amplitude_note(analyzer: Any) -> str:
    units = analyzer.get_extension("template_assignment").info["units"]
    text = {
        "uV": "uV",
        "raw": "units of the raw data (give --gain-to-uv for uV)",
        "sorter": "units of the sorter's templates (give --gain-to-uv for uV)",
        "whitened": "units of the whitened templates",
    }[units]
    return f"\nAmplitudes are peak-to-peak, in {text}."


def _save_figures(analyzer: Any, target: Path) -> list[Path]:
    from tqdm import tqdm

    from si_curation.views.best_channels import UNITS_PER_PAGE, draw_best_channels_pages

    pages = -(-len(analyzer.unit_ids) // UNITS_PER_PAGE)
    paths = []
    bar = tqdm(
        draw_best_channels_pages(analyzer), "figures", max(pages, 1), disable=pages < 3, leave=False
    )
    for number, figure in enumerate(bar, 1):
        name = "best_channels.png" if number == 1 else f"best_channels-{number}.png"
        figure.savefig(target / name, dpi=150)
        paths.append(target / name)
    return paths


def _save_analyzer(analyzer: Any, target: Path) -> Any:
    from si_curation.reading.saving import save_analyzer

    return save_analyzer(analyzer, "zarr" if target.suffix == ".zarr" else "binary_folder", target)


@cli.command(context_settings=_HELP)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--sampling-frequency", type=float, help="In Hz; needed without a params.py.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(folder: Path, sampling_frequency: float | None, as_json: bool) -> None:
    """Tell what a Kilosort/phy folder holds."""
    from si_curation.phy.folder import read_phy_folder

    with read_phy_folder(folder, sampling_frequency=sampling_frequency) as phy:
        facts = _facts(phy)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        lines = value if isinstance(value, list) else [value]
        if isinstance(value, dict):
            lines = [", ".join(f"{count} {key}" for key, count in value.items())]
        for i, line in enumerate(lines or ["none"]):
            label = name.replace("_", " ") if i == 0 else ""
            click.echo(f"{label:<{width}}  {line}")


def _facts(phy: Any) -> dict[str, Any]:
    import numpy as np

    used = np.unique(phy.spike_templates).size if phy.num_spikes else 0
    shape = "sparse" if phy.template_channels is not None else "dense"
    optional = {
        "pc_features": phy.pc_features,
        "template_features": phy.template_features,
        "spike_positions": phy.spike_positions,
        "amplitudes": phy.amplitudes,
        "similar_templates": phy.similar_templates,
        "whitening_mat": phy.whitening,
        "whitening_mat_inv": phy.whitening_inv,
        "ops": phy.ops,
    }
    duration = max(phy.raw_num_samples or 0, phy.last_sample + 1) / phy.sampling_frequency
    length = "of the raw data" if phy.raw_num_samples else "to the last spike"
    return {
        "folder": str(phy.folder),
        "sorter": " ".join(filter(None, [phy.sorter.name, phy.sorter.version])),
        "known_by": phy.sorter.evidence,
        "sampling_frequency_hz": phy.sampling_frequency,
        "duration": f"{duration:.3f} s ({length})",
        "spikes": phy.num_spikes,
        "clusters": int(phy.cluster_ids.size),
        "groups": dict(Counter(phy.groups.values())),
        "templates": f"{phy.num_templates} {shape}, {phy.num_templates - used} without spikes, "
        f"{phy.templates.shape[1]} samples, {phy.num_samples_before} before the peak "
        f"({phy.num_samples_before_evidence})",
        "channels": phy.num_channels,
        "shanks": int(np.unique(phy.channel_shanks).size),
        "curated": bool(not np.array_equal(phy.spike_clusters, phy.spike_templates)),
        "has": ", ".join(name for name, value in optional.items() if value is not None),
        "columns": [f"{column.name} ({column.file})" for column in phy.columns.values()],
        "raw_data": [
            f"{path}{'' if path.is_file() else ' (not there)'}" for path in phy.data_paths
        ],
        "findings": [f"{f.severity}: {f}" for f in phy.findings],
    }


@cli.command(context_settings=_HELP)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="New analyzer: a folder, or zarr where it ends in .zarr.",
)
@click.option(
    "--extensions",
    help="Comma-separated; default: " + ",".join(OUR_EXTENSIONS) + ". SpikeInterface's are fine.",
)
@_reading_options
def compute(folder: Path, output: Path, extensions: str | None, **reading: Any) -> None:
    """Read a Kilosort/phy folder, compute extensions, save a SortingAnalyzer."""
    names = [name.strip() for name in (extensions or ",".join(OUR_EXTENSIONS)).split(",")]
    names = [name for name in names if name]
    if output.exists():
        raise OutputExistsError(f"{output} exists; give another --output")
    from spikeinterface.core.sortinganalyzer import get_available_analyzer_extensions

    import si_curation  # noqa: F401  (registers the extensions)

    known = get_available_analyzer_extensions()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ParameterError(
            f"unknown extensions: {', '.join(unknown)}; there are {', '.join(known)}"
        )
    analyzer = _read(folder, **reading)
    if extensions is None:
        _compute_all(analyzer)
    else:
        for name in names:
            analyzer.compute(name)
    saved = _save_analyzer(analyzer, output)
    click.echo(
        f"{saved.folder}: {len(saved.unit_ids)} units, {saved.sorting.to_spike_vector().size} "
        f"spikes; extensions: {', '.join(sorted(saved.extensions))}"
    )


@cli.command(context_settings=_HELP)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--sampling-frequency", type=float, help="In Hz; needed without a params.py.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def lineage(folder: Path, sampling_frequency: float | None, as_json: bool) -> None:
    """Tell which of the sorter's templates each unit came from, and what was done to it."""
    from si_curation.curation.lineage import reconstruct_lineage

    table = reconstruct_lineage(folder, sampling_frequency=sampling_frequency)
    if as_json:
        click.echo(json.dumps(table.reset_index().to_dict(orient="records"), indent=2))
        return
    table["templates"] = [
        ", ".join(f"{template} ({count})" for template, count in pairs)
        for pairs in table["templates"]
    ]
    table = table.rename(columns={"templates": "templates (spikes)"})
    table["shares_templates_with"] = [
        ", ".join(map(str, others)) or "-" for others in table["shares_templates_with"]
    ]
    click.echo(table.reset_index().to_string(index=False, justify="left"))


for command in (
    check,
    metrics,
    cluster_info,
    contamination,
    merges,
    connections,
    export_phy,
    restore,
    gui,
    batch,
    report,
    export_nwb,
):
    cli.add_command(command)

if __name__ == "__main__":
    main()
