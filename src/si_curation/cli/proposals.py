"""The commands that propose merges to phy, and that read what was decided on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from si_curation.cli.analyzers import Reading, open_source
from si_curation.cli.options import (
    example,
    folder_argument,
    source_options,
    table_options,
    top_option,
)
from si_curation.cli.output import echo
from si_curation.cli.tables import TableOutput, check_table_output, write_or_print
from si_curation.errors import FolderNotFoundError

if TYPE_CHECKING:
    import pandas as pd

if TYPE_CHECKING:
    from si_curation.evidence.phy_proposals import Suggestions


@click.command(epilog=example("propose si_curation_demo/phy --overwrite"))
@folder_argument
@click.option("--threshold", type=float, help="Smallest score of a proposed merge.")
@click.option(
    "--plan", "with_plan", is_flag=True, help="Propose the merges of a plan; write all its steps."
)
@click.option("--duplicates", is_flag=True, help="Propose also units that were found twice.")
@click.option(
    "--rules", help="Label units too: a preset such as allen_default, or a file of rules."
)
@click.option("--overwrite", is_flag=True, help="Replace a curation.json, after a backup.")
@top_option
@source_options(periods=True, trust=False)
def propose(
    folder: Path,
    threshold: float | None,
    with_plan: bool,
    duplicates: bool,
    rules: str | None,
    overwrite: bool,
    top: int | None,
    reading: Reading,
) -> None:
    """Write suggested merges into FOLDER as curation.json, where phy 2.2 proposes them.

    Nothing else in the folder is changed. Close phy first.
    """
    from si_curation.curation.label_rules import read_label_rules
    from si_curation.curation.labelling import label_units
    from si_curation.evidence.duplicates import find_duplicate_units
    from si_curation.evidence.merges import DEFAULT_SCORE_THRESHOLD, suggest_merges
    from si_curation.evidence.phy_proposals import check_no_proposals, write_phy_proposals
    from si_curation.evidence.plan import plan_curation

    if folder.is_dir() and not (folder / "spike_times.npy").exists():
        raise FolderNotFoundError(
            f"{folder} has no spike_times.npy, expected a Kilosort/phy folder, which phy opens"
        )
    if with_plan and threshold is not None:
        raise click.UsageError("--threshold is of suggested merges: give it without --plan")
    if not overwrite:
        check_no_proposals(folder)
    label_rules = None if rules is None else read_label_rules(rules)
    analyzer = open_source(folder, reading)
    least = DEFAULT_SCORE_THRESHOLD if threshold is None else threshold
    found: list[Suggestions] = []
    found.append(
        plan_curation(analyzer) if with_plan else suggest_merges(analyzer, score_threshold=least)
    )
    if duplicates:
        found.append(find_duplicate_units(analyzer))
    if label_rules is not None:
        analyzer.compute("curation_metrics")
        found.append(label_units(analyzer, label_rules))
    written = write_phy_proposals(folder, found, overwrite=overwrite)
    write_or_print(_as_text(written.table), TableOutput(top=top), ["status", "score", "unit_ids"])
    echo(f"\n{written}")
    if written.backup is not None and written.replaced is not None:
        echo(f"What was there is in {written.backup}")


@click.command(
    epilog=example("propose si_curation_demo/phy --overwrite", "reviews si_curation_demo/phy")
)
@folder_argument
@table_options
def reviews(folder: Path, output: TableOutput) -> None:
    """List the merges that were proposed to phy in FOLDER, and what was decided on each."""
    from si_curation.evidence.phy_reviews import read_phy_reviews

    check_table_output(output)
    found = read_phy_reviews(folder)
    shown = ["status", "score", "result_unit_id", "unit_ids", "problem"]
    write_or_print(_as_text(found.table), output, shown)
    echo(f"\n{found}")
    if found.source_changed:
        echo("curation.json is another one than phy had when it saved its decisions.")


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose lists of units are texts."""
    columns = ["unit_ids", "applied_unit_ids"]
    return table.assign(**{c: [", ".join(map(str, ids)) for ids in table[c]] for c in columns})
