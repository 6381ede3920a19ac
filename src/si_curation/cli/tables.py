"""The tables of commands: printed, or written to the file that the user names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from si_curation.cli.output import echo
from si_curation.cli.screen import fit_table, screen_width
from si_curation.errors import ParameterError
from si_curation.files import check_output_file, format_csv, replaced_file

if TYPE_CHECKING:
    import pandas as pd

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_TEXT_WIDTH = 100  # of a column of text on the screen; files have all of it


class TableOutput(NamedTuple):
    """Where a table goes, as `si_curation.cli.options.table_options` say.

    Attributes
    ----------
    path : Path or None
        None: it is printed.
    top : int or None
        So many rows of it; None: all.
    """

    path: Path | None = None
    top: int | None = None


def check_table_output(to: TableOutput, problems: Sequence[str] = ()) -> None:
    """Raise unless a table can be written there; nothing is overwritten.

    Parameters
    ----------
    to : TableOutput
    problems : sequence of str
        What else is wrong with the arguments, for the same error.

    Raises
    ------
    ParameterError, OutputExistsError
    """
    found, output = list(problems), to.path
    if output is not None and to.top is not None:
        found.append("--top is of the table that is printed, and --output has all rows: give one")
    if output is not None and output.suffix not in (*_SEPARATORS, ".json"):
        found.append(f"--output is {output}, expected a .csv, .tsv or .json file")
    if found:
        raise ParameterError("; ".join(found))
    if output is not None:
        check_output_file(output, kind="a table", advice="give another --output")


def write_table(table: pd.DataFrame, output: Path) -> None:
    """Write a table with all its columns, in one step, and print what was written."""
    if output.suffix == ".json":
        text = table.to_json(orient="records", indent=2, double_precision=15)
        content = text.encode("utf-8")
    else:
        content = format_csv(table, _SEPARATORS[output.suffix])
    with replaced_file(output, make_folders=True) as part:
        part.write_bytes(content)
    echo(f"Wrote {output}: {len(table)} rows")


def write_or_print(table: pd.DataFrame, to: TableOutput, shown: Sequence[str]) -> None:
    """Write all columns of a table, or print those to look at, the last of which is text."""
    if to.path is not None:
        write_table(table, to.path)
    else:
        text_of = _with_text_column if len(table) else lambda _: "none"
        print_top(table[list(shown)], to.top, text_of)


def print_top(table: pd.DataFrame, top: int | None, text_of: Callable[[pd.DataFrame], str]) -> None:
    """Print the first rows of a table; say on standard error how many there are."""
    first = table if top is None else table.head(top)
    echo(text_of(first))
    if len(first) < len(table):
        echo(f"{top} of {len(table)} rows", err=True)


def format_numbers(table: pd.DataFrame, float_format: str = "{:.4g}") -> str:
    """Return a table as text, missing values as "-"; on the screen, in lines that fit."""
    width = screen_width()
    if width is not None:
        return fit_table(table, width, float_format.format)
    return table.to_string(index=False, na_rep="-", float_format=float_format.format)


def shorten(text: str) -> str:
    """Return a text that is short enough for a column on the screen."""
    return text if len(text) <= _TEXT_WIDTH else text[: _TEXT_WIDTH - 3] + "..."


def _with_text_column(table: pd.DataFrame) -> str:
    """Return a table for the screen, its last column of text to the left and shortened."""
    *numbers, last = table.columns
    if screen_width() is not None:
        return format_numbers(table.assign(**{last: table[last].map(shorten)}))
    lines = format_numbers(table[numbers]).splitlines()
    texts = [last, *map(shorten, table[last])]
    return "\n".join(f"{line}  {text}".rstrip() for line, text in zip(lines, texts, strict=True))
