"""The cluster tables of a folder as text, to be changed cell by cell and written again."""

from __future__ import annotations

import csv
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from si_curation.errors import ParameterError, UnknownIdError
from si_curation.phy.tables import _CLUSTER_ID, _ID_COLUMNS, SNAPSHOT, _numbered_rows
from si_curation.phy.writing import column_name_problem, format_table, format_value

_MAX_SHOWN = 10


@dataclass
class TableText:
    """One table file.

    Attributes
    ----------
    header : list of str
        Names of the columns other than the id.
    rows : dict of int to list of str
        The cells of each cluster, "" where there is none, in the order of the file.
    id_name : {"cluster_id", "id"}
    delimiter : str
    """

    header: list[str]
    rows: dict[int, list[str]]
    id_name: str = "cluster_id"
    delimiter: str = "\t"

    def cells(self, column: str) -> dict[int, str]:
        """Give the text of a column by cluster id, without empty cells."""
        position = self.header.index(column)
        return {i: row[position] for i, row in self.rows.items() if row[position].strip()}

    def to_bytes(self) -> bytes:
        """Give the file as phy would write it, ids ascending."""
        rows = [[str(i), *self.rows[i]] for i in sorted(self.rows)]
        return format_table([self.id_name, *self.header], rows, self.delimiter)


class ClusterTables:
    """All cluster tables of a folder but phy's snapshot (``cluster_info``).

    Parameters
    ----------
    folder : Path
        Its tables must be readable (see `read_tables`); what is no cluster table is left alone.
    """

    def __init__(self, folder: Path):
        paths = [p for suffix in (".tsv", ".csv") for p in folder.glob(f"*{suffix}") if p.is_file()]
        names = sorted(p.name for p in paths if not p.name.startswith("."))
        self._snapshots = [name for name in names if Path(name).stem == SNAPSHOT]
        parsed = {n: _parse(folder / n) for n in names if n not in self._snapshots}
        self._files = {name: table for name, table in parsed.items() if table is not None}
        self._original_names = set(self._files)
        self._changed: set[str] = set()

    @property
    def column_names(self) -> list[str]:
        """Every column of every file, once."""
        return list(dict.fromkeys(c for table in self._files.values() for c in table.header))

    def files_with(self, column: str) -> list[str]:
        """Names of the files that have a column; the one that counts comes first."""
        own = f"cluster_{column}"
        found = [name for name, table in self._files.items() if column in table.header]
        return sorted(found, key=lambda name: (Path(name).stem != own, name))

    def cells(self, column: str) -> dict[int, str]:
        """Text of a column by cluster id, from the file that counts; empty without the column."""
        files = self.files_with(column)
        return self._files[files[0]].cells(column) if files else {}

    def cluster_ids(self) -> list[int]:
        """Ids that have a row in any file, ascending."""
        return sorted({i for table in self._files.values() for i in table.rows})

    def drop_clusters(self, cluster_ids: Iterable[int]) -> None:
        """Remove the rows of some clusters from all files."""
        gone = {int(i) for i in cluster_ids}
        for name, table in self._files.items():
            kept = {i: row for i, row in table.rows.items() if i not in gone}
            if len(kept) < len(table.rows):
                table.rows = kept
                self._changed.add(name)

    def drop_column(self, column: str, but_in: str | None = None) -> None:
        """Remove a column from all files (but one); a file without any other column is removed."""
        for name in self.files_with(column):
            if name == but_in:
                continue
            table = self._files[name]
            position = table.header.index(column)
            del table.header[position]
            for row in table.rows.values():
                del row[position]
            self._changed.add(name)
            if not table.header:
                del self._files[name]

    def update(self, column: str, texts: Mapping[int, str | None]) -> None:
        """Change some cells of a column in every file that has it."""
        for name in self.files_with(column):
            table = self._files[name]
            position = table.header.index(column)
            for cluster_id, text in texts.items():
                row = table.rows.get(cluster_id)
                if row is None and not text:
                    continue
                if row is None:
                    row = table.rows[cluster_id] = [""] * len(table.header)
                if row[position] != (text or ""):
                    row[position] = text or ""
                    self._changed.add(name)
                    if not any(row):
                        del table.rows[cluster_id]

    def set_column(self, column: str, texts: Mapping[int, str | None]) -> None:
        """Add a column, or change some of its cells, in a file of its own as phy writes it.

        phy reads every table, so that the column is removed from all other files. Other columns
        that the file has now get files of their own if no other file has them.
        """
        before = self.cells(column)
        after = {i: text for i, text in {**before, **texts}.items() if text}
        if column in self.column_names and after == before:
            return
        own = f"cluster_{column}.tsv"
        others = [name for name in self._original_names if name.lower() == own.lower()]
        if own not in others and others:
            raise ParameterError(
                f"column {column!r} would be the file {own}, but there is {others[0]}: the same "
                "file on many systems; use the name that is there"
            )
        self.drop_column(column, but_in=own)
        old = self._files.pop(own, None)
        self._files[own] = TableText([column], {i: [after[i]] for i in sorted(after)})
        self._changed.add(own)
        for other in old.header if old is not None else []:
            if other != column and other not in self.column_names:
                self.set_column(other, dict(old.cells(other)))  # type: ignore[union-attr]

    def changed_files(self) -> dict[str, bytes | None]:
        """Give the files that are to be written (their content) or removed (None)."""
        return {
            name: self._files[name].to_bytes() if name in self._files else None
            for name in sorted(self._changed)
            if name in self._files or name in self._original_names
        }

    @property
    def snapshots(self) -> list[str]:
        """Names of phy's snapshot files (``cluster_info``), which phy writes and does not read."""
        return list(self._snapshots)


def _parse(path: Path) -> TableText | None:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
        rows = [row for _, row in _numbered_rows(text, delimiter)]
    except (UnicodeDecodeError, csv.Error):
        return None
    header = [cell.strip() for cell in rows[0]] if rows else []
    id_name = next((name for name in _ID_COLUMNS if name in header), None)
    if id_name is None:
        return None
    position = header.index(id_name)
    columns = [i for i, name in enumerate(header) if i != position and name]
    cells: dict[int, list[str]] = {}
    for row in rows[1:]:
        row = [*row, *[""] * (len(header) - len(row))]
        match = _CLUSTER_ID.fullmatch(row[position].strip())
        if match is None:
            return None
        cells[int(match[1])] = [row[i].strip() for i in columns]
    return TableText([header[i] for i in columns], cells, id_name, delimiter)


def texts_by_id(table: Any, known_ids: Iterable[Hashable], of_what: str) -> dict[str, dict]:
    """Check columns that a user gives, and put their values into the text of tables.

    Parameters
    ----------
    table : pandas.DataFrame or mapping of str to mapping
        Indexed by id; or {column: {id: value}}. NaN, None and "" are no value.
    known_ids : iterable
        The ids that exist.
    of_what : str
        What the ids are of, for the message.

    Returns
    -------
    dict of str to dict
        {column: {id: text or None}}.

    Raises
    ------
    UnknownIdError, ParameterError
        All problems at once.
    """
    if isinstance(table, pd.DataFrame):
        pairs = [
            (name, list(zip(table.index.tolist(), _cells(table.iloc[:, i]), strict=True)))
            for i, name in enumerate(table.columns)
        ]
        repeated = table.index[table.index.duplicated()].unique().tolist()
    elif isinstance(table, Mapping) and all(
        isinstance(c, Mapping | pd.Series) for c in table.values()
    ):
        pairs = [(name, list(column.items())) for name, column in table.items()]
        repeated = []
    else:
        raise ParameterError(
            f"the columns are a {type(table).__name__}, expected a DataFrame indexed by {of_what} "
            "id, or {name: {id: value}}"
        )
    known = {_plain(i): i for i in known_ids}
    problems = [f"{of_what} id {i!r} is there more than once" for i in repeated[:_MAX_SHOWN]]
    names = [name for name, _ in pairs]
    problems += [p for p in map(column_name_problem, dict.fromkeys(names)) if p is not None]
    lower = [str(name).lower() for name in names]
    problems += [f"column {n!r} is there twice" for n in dict.fromkeys(lower) if lower.count(n) > 1]
    texts: dict[str, dict] = {}
    unknown: dict[Hashable, None] = {}
    for name, items in pairs:
        column = texts.setdefault(str(name), {})
        for key, value in items:
            if _plain(key) not in known:
                unknown[_plain(key)] = None
                continue
            try:
                column[known[_plain(key)]] = format_value(value)
            except ValueError as fault:
                problems.append(f"column {name!r}, {of_what} {key!r}: {fault}")
    if unknown:
        shown = ", ".join(map(repr, list(unknown)[:_MAX_SHOWN]))
        more = f", ... ({len(unknown)})" if len(unknown) > _MAX_SHOWN else ""
        problems.append(f"there is no {of_what} {shown}{more}")
    if problems:
        error = UnknownIdError if unknown else ParameterError
        hidden = len(problems) - _MAX_SHOWN
        more = f"; and {hidden} more problems" if hidden > 0 else ""
        # what is unknown is the last one
        raise error("; ".join(problems[-_MAX_SHOWN:]) + more)
    return texts


def _cells(column: pd.Series) -> list:
    """Give the values as they are: a whole number beside a missing one stays whole."""
    return list(column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array)


def _plain(value: Any) -> Hashable:
    """Give an id as a plain Python value: 3.0 (a pandas index with gaps) is 3, "3" is not."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
