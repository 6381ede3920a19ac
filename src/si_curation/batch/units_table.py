"""``units.csv`` of a batch: the units of all sessions in one table, a session at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from si_curation.batch.state import BatchFolder
from si_curation.files import without_formula, write_pieces

_NEEDED = ("unit_id", "group", "num_spikes")


class _Part(NamedTuple):
    """The table of one session: its columns, and its number of units."""

    session: str
    path: Path
    columns: list[str]
    num_units: int


def write_units(batch: BatchFolder, sessions: Sequence[str], notes: list[str]) -> pd.DataFrame:
    """Write ``units.csv`` of all sessions that are done, and return it as a table.

    Values are copied as text, so that no digit changes; the tables of the sessions are never all in
    memory as text. A column that a session does not have is empty there.

    Parameters
    ----------
    batch : BatchFolder
    sessions : sequence of str
        Those that are done, in their order.
    notes : list of str
        A session whose table cannot be read is left out, with a note.

    Returns
    -------
    pandas.DataFrame
        ``session``, ``unit_id`` and ``group`` are text.
    """
    parts = []
    for session in sessions:
        path = batch.outputs_of(session) / "units.csv"
        try:
            parts.append(_checked(session, path))
        except (OSError, ValueError, csv.Error) as fault:
            notes.append(f"{path} is left out: {' '.join(str(fault).split())}")
    columns = list(dict.fromkeys(name for part in parts for name in part.columns))
    target = batch.folder / "units.csv"
    write_pieces(target, _lines(parts, columns or list(_NEEDED)), overwrite=True)
    table = pd.read_csv(
        target,
        dtype={"session": str, "unit_id": str, "group": str},
        keep_default_na=False,
        na_values=[""],
        low_memory=False,
    )
    # the file has an apostrophe before a name that a spreadsheet would run
    counts = [part.num_units for part in parts]
    table["session"] = np.repeat(np.array([part.session for part in parts], object), counts)
    return table


def _rows(path: Path) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline=""))


def _checked(session: str, path: Path) -> _Part:
    """Return what the table of a session has; raise where it is none.

    Raises
    ------
    OSError, ValueError, csv.Error
    """
    rows = _rows(path)
    columns = next(rows, [])
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise ValueError(f"it has no column {missing[0]}")
    if "session" in columns or len(set(columns)) < len(columns):
        raise ValueError("it has a column twice, or a column session")
    num_units = 0
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(
                f"unit {num_units + 1} of it has {len(row)} values, expected {len(columns)}"
            )
        num_units += 1
    return _Part(session, path, columns, num_units)


def _lines(parts: Sequence[_Part], columns: Sequence[str]) -> Iterator[str]:
    """Yield the text of ``units.csv``, a session at a time."""
    yield _text([["session", *map(without_formula, columns)]])
    for session, path, own, _ in parts:
        name = without_formula(session)
        places = [own.index(column) if column in own else -1 for column in columns]
        rows = _rows(path)
        next(rows)
        # the place -1 is the empty text that is added at the end
        found = ([name, *map(without_formula, map([*row, ""].__getitem__, places))] for row in rows)
        yield _text(found)


def _text(rows: Iterator[list[str]] | list[list[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
