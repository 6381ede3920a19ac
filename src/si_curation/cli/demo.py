"""The command that shows on one folder what the package does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.cli.analyzers import compute_available, read_folder, save
from si_curation.cli.example_inputs import write_example_inputs
from si_curation.cli.options import FOLDER, PATH, example, reading_options
from si_curation.cli.output import echo
from si_curation.errors import OutputExistsError
from si_curation.progress import track

if TYPE_CHECKING:
    import pandas as pd

_OUTPUT = "si_curation_demo"
#: Units that are listed and drawn without --all: those of one page of figures.
_NUM_SHOWN = 24
_GROUPS = ("good", "unsorted", "mua", "noise")
_EXPORT_LIMIT_BYTES = 2_000_000_000


@click.command(epilog=example("demo"))
@click.option("--folder", type=FOLDER, help="Default: the packaged example.")
@click.option("--output", type=PATH, help=f"New folder for what is made; default: {_OUTPUT}.")
@click.option(
    "--all",
    "show_all",
    is_flag=True,
    help=f"List and draw all units; default: {_NUM_SHOWN}, good ones first.",
)
@reading_options
def demo(folder: Path | None, output: Path | None, show_all: bool, **reading: Any) -> None:
    """Read a Kilosort/phy folder, show its units, save an analyzer and a figure."""
    from si_curation.quality.unit_table import make_unit_table
    from si_curation.simulation.example import example_folder

    source = folder or example_folder()
    target = _new_folder(output)
    analyzer = read_folder(source, **reading)
    analyzer.get_extension("template_assignment").refuse_without_templates()
    compute_available(analyzer, all_pairs=False, progress_bar=False)
    echo(f"{source}\n{_describe(analyzer)}\n")
    table = make_unit_table(analyzer)
    shown = table if show_all else _most_useful(table)
    echo(_format_units(shown))
    if len(shown) < len(table):
        echo(
            f"\n{len(table) - len(shown)} units more are not listed and drawn: these are the good "
            "ones first, then the unsorted, each by the number of spikes. --all shows all"
        )
    echo(_amplitude_note(analyzer))
    target.mkdir(parents=True, exist_ok=True)
    write_example_inputs(target)
    figures = _save_figures(analyzer, list(shown.index), target)
    analyzer_folder = target / "analyzer"
    save(analyzer, analyzer_folder)
    curated = _curate_in_code(analyzer, Path(source), target / "phy")
    if curated:
        echo(f"\n{curated}")
    echo(
        f"\nSaved the analyzer to {analyzer_folder} and the templates on the probe to "
        f"{figures[0]}{f' and {len(figures) - 1} more' if len(figures) > 1 else ''}.\n"
        "Next: look at the figure; try your own folder with\n"
        "    si-curation demo --folder PATH_TO_YOUR_KILOSORT_FOLDER\n"
        f"each command with the example at the end of its --help, which uses {_OUTPUT};\n"
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
    while (path := Path(_OUTPUT if number == 1 else f"{_OUTPUT}-{number}")).exists():
        number += 1
    return path


def _most_useful(table: pd.DataFrame) -> pd.DataFrame:
    """Return as many units as fit on one page of figures; all as they are where there are fewer."""
    if len(table) <= _NUM_SHOWN:
        return table
    unsorted = _GROUPS.index("unsorted")
    rank = [_GROUPS.index(group) if group in _GROUPS else unsorted for group in table["group"]]
    order = np.lexsort((-table["num_spikes"].to_numpy(), rank))
    return table.iloc[order[:_NUM_SHOWN]]


def _describe(analyzer: SortingAnalyzer) -> str:
    from si_curation.reading.templates import describe_unwhitening

    annotation = analyzer.sorting.get_annotation
    sorter = " ".join(filter(None, [annotation("sorter"), annotation("sorter_version")]))
    info = analyzer.get_extension("template_assignment").info
    done = describe_unwhitening(info["unwhitening"], info["units"])
    return (
        f"{sorter} (known by: {annotation('sorter_evidence')})\n"
        f"{len(analyzer.unit_ids)} units, {spike_vector_of(analyzer.sorting).size} spikes, "
        f"{analyzer.get_num_channels()} channels, {analyzer.get_total_duration():.1f} s at "
        f"{analyzer.sampling_frequency:g} Hz; templates {done}"
    )


def _format_units(table: pd.DataFrame) -> str:
    decimals = {
        "firing_rate_hz": "{:.2f}".format,
        "template_purity": "{:.3f}".format,
        "depth_um": "{:g}".format,
        "amplitude": "{:.2f}".format,
    }
    return table.reset_index().to_string(index=False, formatters=decimals, na_rep="-")


def _amplitude_note(analyzer: SortingAnalyzer) -> str:
    units = analyzer.get_extension("template_assignment").info["units"]
    text = {
        "uV": "uV",
        "raw": "units of the raw data (give --gain-to-uv for uV)",
        "sorted": "units of the data as they were sorted, scaled",
        "sorter": "units of the sorter's templates (give --gain-to-uv for uV)",
        "whitened": "units of the whitened templates",
    }[units]
    return f"\nAmplitudes are peak-to-peak, in {text}."


def _save_figures(analyzer: SortingAnalyzer, unit_ids: list[Any], target: Path) -> list[Path]:
    from si_curation.views.best_channels import UNITS_PER_PAGE, draw_best_channels_pages

    pages = -(-len(unit_ids) // UNITS_PER_PAGE)
    paths = []
    figures = draw_best_channels_pages(analyzer, unit_ids)
    bar = track(figures, max(pages, 1), "drawing figures", hidden=True)
    for number, figure in enumerate(bar, 1):
        name = "best_channels.png" if number == 1 else f"best_channels-{number}.png"
        figure.savefig(target / name, dpi=150)
        paths.append(target / name)
    return paths


def _curate_in_code(analyzer: SortingAnalyzer, source: Path, output: Path) -> str | None:
    """Merge the two most similar units and export that to phy; return what was done.

    Returns
    -------
    str or None
        None where there are less than two units.
    """
    from si_curation.curation.session import CurationSession
    from si_curation.exporters.phy.export import export_to_phy

    similarity, first, second = _most_similar_pair(analyzer)
    if not np.isfinite(similarity):
        return None
    session = CurationSession(analyzer, decided_by="si-curation demo")
    merged = session.merge([first, second], reason=f"similarity {similarity:.2f}")
    session.label([merged], "good")
    num_spikes = session.get_spikes(merged).size
    text = (
        f"Curated in code, as an example: units {first} and {second} (similarity "
        f"{similarity:.2f}) merged into {merged}, {num_spikes} spikes, labelled good"
    )
    size = sum(path.stat().st_size for path in source.iterdir() if path.is_file())
    if size > _EXPORT_LIMIT_BYTES:
        return f"{text}; the folder is too large to export a copy of in a demo."
    export_to_phy(session.apply(), output)
    return f"{text};\nexported to {output}, which phy opens; the source folder is as it was."


def _most_similar_pair(analyzer: SortingAnalyzer) -> tuple[float, Any, Any]:
    """Return the largest similarity of two units, as of `CurationSession.get_similarity`, and both.

    NaN where there are less than two units with spikes.
    """
    from si_curation.kernels.template_similarity import most_similar, similarity_of_groups

    assignment, unit_ids = analyzer.get_extension("template_assignment"), analyzer.unit_ids
    table = assignment.get_template_similarity()
    of_units = similarity_of_groups(table, assignment.get_template_counts())
    others, values, start = most_similar(of_units, np.arange(len(unit_ids)), 1)
    if values.size == 0:
        return float("nan"), None, None
    best = int(np.argmax(values))
    first = int(np.searchsorted(start, best, side="right")) - 1
    first_id, second_id = unit_ids[[first, others[best]]].tolist()
    return float(values[best]), first_id, second_id
