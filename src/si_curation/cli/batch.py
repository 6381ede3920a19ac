"""The command that runs one recipe over many sessions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from si_curation.cli.options import PATH, example, trust_option
from si_curation.cli.output import echo
from si_curation.cli.tables import format_numbers, shorten
from si_curation.cli.wording import of_current_command

if TYPE_CHECKING:
    import pandas as pd


@click.command(
    epilog=example(
        "batch si_curation_demo/recipe.yaml si_curation_demo/phy --output batch_of_one --workers 0"
    )
)
@click.argument("recipe", type=PATH, required=False)
@click.argument("folders", metavar="[FOLDER|PATTERN|TABLE.csv]...", nargs=-1)
@click.option("--output", type=PATH, help="New folder, or one to go on with.")
@click.option("--workers", type=int, help="Processes; 0: only this one. Default: one per core.")
@click.option("--threads", type=int, help="Threads of each session. Default: as its worker has.")
@click.option("--scheduler", help="Address of a Dask scheduler, such as tcp://node1:8786.")
@click.option("--retry-failed", is_flag=True, help="Compute again what failed before.")
@click.option(
    "--overwrite", is_flag=True, help="Compute again what has changed; the old is kept beside it."
)
@click.option(
    "--check",
    is_flag=True,
    help="Compute and write nothing: check recipe, folders and metadata, and list all problems.",
)
@trust_option
@click.option("--example-recipe", is_flag=True, help="Print a recipe to begin with.")
@click.pass_context
def batch(
    context: click.Context,
    recipe: Path | None,
    folders: tuple[str, ...],
    output: Path | None,
    workers: int | None,
    threads: int | None,
    scheduler: str | None,
    retry_failed: bool,
    overwrite: bool,
    check: bool,
    trust: bool,
    example_recipe: bool,
) -> None:
    """Run the steps of RECIPE on each of many sessions, with Dask.

    Called again, it goes on where it stopped: sessions are recognized by the content of their
    files. The exit code is 1 if a session failed, or, with --check, if there are problems.

    A table of sessions has the columns folder and optionally session, reading options of the
    recipe, t_start, session_start_time, nwb_metadata and source_nwb.
    """
    from si_curation.batch.recipe_files import example_recipe as example_text
    from si_curation.batch.run import run_batch

    if example_recipe:
        echo(example_text(), nl=False)
        return
    missing = [
        name
        for name, value in (("RECIPE", recipe), ("FOLDER", folders), ("--output", output or check))
        if not value
    ]
    if check and not missing and recipe is not None:
        context.exit(_check(folders, recipe, output, trust))
    if missing or recipe is None or output is None:
        raise click.UsageError(f"{', '.join(missing)} missing; --example-recipe prints a recipe")
    # Dask logs where its workers are, and sets its level itself, after ours was set
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")
    result = run_batch(
        list(folders),
        recipe,
        output,
        client=scheduler,
        num_workers=workers,
        num_threads=threads,
        retry_failed=retry_failed,
        overwrite=overwrite,
        trust_analyzers=trust,
    )
    echo(_as_text(result.table))
    for note in result.notes:
        echo(f"Note: {note}", err=True)
    echo(f"\n{result}\nLook at {result.page}")
    context.exit(1 if len(result.failed) else 0)


def _check(folders: tuple[str, ...], recipe: Path, output: Path | None, trust: bool) -> int:
    """Print what would fail; return the exit code."""
    from si_curation.batch.check import check_batch

    found = check_batch(list(folders), recipe, output, trust_analyzers=trust)
    shown = found.table[["session", "num_units", "num_spikes"]].copy()
    shown["state"] = ["ready" if not text else "problems" for text in found.table["problems"]]
    echo("\n".join(line.rstrip() for line in shown.to_string(index=False).splitlines()))
    for name, texts in zip(found.table["session"], found.table["warnings"], strict=True):
        if texts:
            echo(f"Warning: {name}: {texts}", err=True)
    for problem in found.problems:
        echo(f"Problem: {problem}", err=True)
    count = len(found.problems)
    echo("No problems" if found.ok else f"{count} problem{'s' if count > 1 else ''}")
    return 0 if found.ok else 1


def _as_text(table: pd.DataFrame) -> str:
    shown = table[["session", "status", "num_units", "num_spikes", "seconds", "error"]].copy()
    shown["error"] = [shorten(of_current_command(error)) for error in shown["error"]]
    if not shown["error"].any():
        shown = shown.drop(columns="error")
    lines = format_numbers(shown, "{:.1f}").splitlines()
    return "\n".join(line.rstrip() for line in lines)
