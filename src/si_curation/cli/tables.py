"""Tables that commands write to a file that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from si_curation.errors import OutputExistsError, ParameterError
from si_curation.phy.writing import replace_file

_SEPARATORS = {".csv": ",", ".tsv": "\t"}


def check_table_output(output: Path | None, problems: Sequence[str] = ()) -> None:
    """Raise unless a table can be written there; nothing is overwritten.

    Parameters
    ----------
    output : Path or None
        None: it is printed.
    problems : sequence of str
        What else is wrong, to be told in the same error.

    Raises
    ------
    ParameterError, OutputExistsError
    """
    found = list(problems)
    if output is not None and output.suffix not in (*_SEPARATORS, ".json"):
        found.append(f"--output is {output}, expected a .csv, .tsv or .json file")
    if found:
        raise ParameterError("; ".join(found))
    if output is not None and output.exists():
        raise OutputExistsError(f"{output} exists; give another --output")


def write_table(table: Any, output: Path) -> None:
    """Write a table with all its columns, in one step, and say so."""
    if output.suffix == ".json":
        text = table.to_json(orient="records", indent=2, double_precision=15)
    else:
        text = table.to_csv(index=False, sep=_SEPARATORS[output.suffix], lineterminator="\n")
    replace_file(output, text.encode("utf-8"))
    click.echo(f"Wrote {output}: {len(table)} rows")
