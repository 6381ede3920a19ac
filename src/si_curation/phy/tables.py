"""Cluster tables: every column of every ``.tsv`` and ``.csv`` file, keyed by cluster id.

`ClusterTable` is one file. `read_tables` gives the columns of a folder as phy sees them,
`ClusterTables` changes its files cell by cell.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import ParameterError, PhyFolderError
from si_curation.phy.arrays import LEFT_OUT, Findings, one_line, shortened
from si_curation.phy.writing import column_name_problem, format_table

Value = int | float | str
SNAPSHOT = "cluster_info"  # written by phy for people to read; phy itself does not read it
UNSORTED = "unsorted"
GROUPS = ("good", "mua", "noise", UNSORTED)  # phy's
#: Name of each unit in the analyzer that a folder was made of.
NAME_COLUMN = "si_unit_id"
#: What sorters write; whatever else is in a table of theirs came with the curation.
SORTER_COLUMNS = frozenset({"KSLabel", "ContamPct", "Amplitude", NAME_COLUMN, "channel_group"})
#: Columns of the snapshot that phy computes (two of them under older names too).
_COMPUTED_BY_PHY = frozenset(
    {"id", "n_spikes", "fr", "firing_rate", "amp", "ch", "channel", "depth", "sh", "shank"}
)
_ID_COLUMNS = ("cluster_id", "id")
_INTEGER = re.compile(r"[+-]?\d{1,300}")  # what is longer has no meaning as a number
_NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE
)
_CLUSTER_ID = re.compile(r"(\d{1,18})(\.0*)?")  # pandas writes 3.0 where an id was missing
_OTHER_DELIMITER = re.compile(r"\W*(cluster_)?id\W", re.IGNORECASE)
_MIN_TEXT_WIDTH = 32  # zarr cuts strings that are set later to the width of the first ones


@dataclass(frozen=True)
class ClusterColumn:
    """One column: the values of the clusters that have one, and the file it came from.

    Attributes
    ----------
    name : str
    values : mapping of int to int, float or str
        By cluster id; clusters without a value (absent or blank) are not in it.
    file : str
    """

    name: str
    values: Mapping[int, Value]
    file: str

    def to_array(self, cluster_ids: NDArray[np.integer]) -> NDArray:
        """Return the values of some clusters.

        Returns
        -------
        array (n_clusters,)
            int64 where every cluster has a whole number; float64 where values are numbers, NaN
            for clusters without one; otherwise str, "" for clusters without one.

        Examples
        --------
        >>> ClusterColumn("KSLabel", {3: "good"}, "f.tsv").to_array(np.array([3, 5]))
        array(['good', ''], dtype='<U32')
        """
        values = [self.values.get(int(cluster_id)) for cluster_id in cluster_ids]
        present = [value for value in values if value is not None]
        if any(isinstance(value, str) for value in self.values.values()):
            texts = ["" if value is None else str(value) for value in values]
            width = max([_MIN_TEXT_WIDTH, *map(len, texts)])
            return np.array(texts, dtype=f"U{width}")
        is_whole = all(isinstance(value, int) for value in present)
        if is_whole and len(present) == len(values) and _fits_int64(present):
            return np.array(values, dtype=np.int64)
        return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)


def _fits_int64(values: Sequence[Value]) -> bool:
    return all(-(2**63) <= int(value) < 2**63 for value in values)


def cast_value(text: str) -> Value:
    """Return the text of a cell as a number where it is one, as phy reads it."""
    if text.isdecimal() and text.isascii() and len(text) < 300:  # nearly all: a quick way
        return int(text)
    if text[0].isalpha() and text[0] not in "nNiI":
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text


def same_value(one: Value, other: Value) -> bool:
    """Return whether two values of a column are the same: numbers to the digits that phy writes.

    Examples
    --------
    >>> same_value(0.123456789, 0.12345679), same_value("good", "mua"), same_value(1, "1")
    (True, False, True)
    """
    if isinstance(one, str) or isinstance(other, str):
        return str(one) == str(other)
    both_nan = one != one and other != other
    return both_nan or abs(one - other) <= 1e-6 * max(1.0, abs(other))


def read_tables(
    folder: Path, findings: Findings, cluster_ids: Iterable[int] | None = None
) -> dict[str, ClusterColumn]:
    """Read all cluster tables of a folder.

    A column comes from the file named after it (``cluster_<column>.tsv``) if there is one, from any
    other file next, and from ``cluster_info`` only where no other file has it.

    Parameters
    ----------
    folder : Path
    findings : Findings
        Tables that cannot be read, and rows that cannot be used, are warnings: phy reads the
        folder without them too.
    cluster_ids : iterable of int, optional
        The clusters that have spikes: for those, tables of one column should agree. None: for
        those that both tables have.

    Returns
    -------
    dict of str to ClusterColumn
    """
    try:
        os.listdir(folder)
    except OSError as fault:  # else a folder with labels would be read as one without
        findings.error(
            folder.name, f"may not be listed: {one_line(fault)}", "make it readable for you"
        )
        return {}
    columns: dict[str, ClusterColumn] = {}
    rivals: list[ClusterColumn] = []
    ids = None if cluster_ids is None else [int(i) for i in cluster_ids]
    for path in table_paths(folder):
        table = read_table(path, findings)
        if table is None:
            continue
        for name in table.column_names:
            known = columns.get(name)
            if known is not None and path.stem == SNAPSHOT:
                continue
            column = ClusterColumn(name, table.values(name), path.name)
            is_own = path.stem == f"cluster_{name}"
            if known is not None:
                rivals.append(known if is_own else column)
            if known is None or is_own:
                columns[name] = column
    _report_rivals(columns, rivals, ids, findings)
    return columns


def _report_rivals(
    columns: Mapping[str, ClusterColumn],
    rivals: Sequence[ClusterColumn],
    cluster_ids: Sequence[int] | None,
    findings: Findings,
) -> None:
    """Add one warning for each file that has other values than the file that is used."""
    by_file: dict[str, list[tuple[ClusterColumn, list[int]]]] = {}
    for rival in rivals:
        used = columns[rival.name].values
        if cluster_ids is None:
            ids = [i for i in rival.values if i in used]
        else:  # a cluster that only the other file has loses its value
            ids = [i for i in cluster_ids if i in rival.values]
        ids = [i for i in ids if i not in used or not same_value(rival.values[i], used[i])]
        if ids:
            by_file.setdefault(rival.file, []).append((rival, ids))
    for file, found in by_file.items():
        shown = ", ".join(repr(rival.name) for rival, _ in found[:5])
        shown += f" and {len(found) - 5} more" if len(found) > 5 else ""
        files = ", ".join(dict.fromkeys(columns[rival.name].file for rival, _ in found[:3]))
        ids = sorted({i for _, its in found for i in its})
        first = ", ".join(map(str, ids[:5])) + (", ..." if len(ids) > 5 else "")
        what = (
            f"column {shown} differs from the one in {files}"
            if len(found) == 1
            else f"columns {shown} differ from those in {files}{', ...' if len(found) > 3 else ''}"
        )
        findings.warning(
            file,
            f"{what}: clusters {first}",
            "a file that is named after its column (cluster_<column>.tsv) is used, else the first; "
            "remove the values that are not right",
            columns=[rival.name for rival, _ in found[:10]],
            clusters=ids[:10],
        )


def table_paths(folder: Path) -> list[Path]:
    """Return the files that may be cluster tables, ``cluster_info`` last."""
    paths = [p for suffix in (".tsv", ".csv") for p in folder.glob(f"*{suffix}") if p.is_file()]
    paths = [p for p in paths if not p.name.startswith(".")]
    return sorted(paths, key=lambda p: (p.stem == SNAPSHOT, p.name))


@dataclass
class ClusterTable:
    """One table file, as text.

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

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids that have a row, in the order of the file."""
        return tuple(self.rows)

    @property
    def column_names(self) -> list[str]:
        """The name of every column, once."""
        return list(dict.fromkeys(self.header))

    def cells(self, column: str) -> dict[int, str]:
        """Return the text of a column by cluster id, without blank cells.

        Of columns of one name the last one that has text counts.
        """
        positions = [i for i, name in enumerate(self.header) if name == column]
        return {i: row[p] for i, row in self.rows.items() for p in positions if row[p]}

    def values(self, column: str) -> dict[int, Value]:
        """Return the values of a column by cluster id, without blank cells."""
        return {cluster_id: cast_value(text) for cluster_id, text in self.cells(column).items()}

    def to_bytes(self) -> bytes:
        """Return the file as phy would write it, ids ascending."""
        rows = [[str(i), *self.rows[i]] for i in sorted(self.rows)]
        return format_table([self.id_name, *self.header], rows, self.delimiter)


def read_table(path: Path, findings: Findings) -> ClusterTable | None:
    """Read one table; None where it is no cluster table or cannot be read, with a finding."""
    report = partial(_leave_out, findings, path.name)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = fault.object[: fault.start].count(b"\n") + 1
        report(
            f"is not UTF-8: byte 0x{fault.object[fault.start]:02x} in line {line}",
            "save it again as UTF-8",
        )
        return None
    except OSError as fault:
        report(f"cannot be read: {one_line(fault)}", "make it readable, or remove it")
        return None
    # as phy does, whatever the suffix: old Kilosorts write tabs into .csv
    first_line = next((line for line in text.split("\n") if line.strip()), "")
    delimiter = "\t" if "\t" in first_line else ","
    try:
        rows = _numbered_rows(text, delimiter)
    except csv.Error as fault:
        report(
            f"cannot be read as a table: {one_line(fault)}",
            "look for a quotation mark without its partner, or an odd line end",
        )
        return None
    if not rows:
        findings.warning(path.name, "is empty", "restore it if it had labels")
        return None
    header = [field.strip() for field in rows[0][1]]
    id_column = next((name for name in _ID_COLUMNS if name in header), None)
    if id_column is None:
        if len(header) == 1 and _OTHER_DELIMITER.match(header[0]):
            report(
                f"has the header {shortened(header[0], 60)!r}, expected columns set apart by tabs "
                "(or commas)",
                "save it again with tabs",
            )
        else:
            findings.info(path.name, "has no cluster_id column and is no cluster table")
        return None
    table = ClusterTable([], {}, id_column, delimiter)
    _fill(table, path.name, header, rows[1:], findings)
    return table if table.rows or not rows[1:] else None


def _leave_out(findings: Findings, name: str, what: str, advice: str) -> None:
    findings.left_out(name, what, "read without this table", advice)


def _numbered_rows(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Return the rows that are not blank, each with the number of its first line."""
    # strict: a quotation mark that is never closed would swallow the rest of the file
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    rows = []
    first_line = 1
    try:
        for row in reader:
            if any(field.strip() for field in row):
                rows.append((first_line, row))
            first_line = reader.line_num + 1
    except csv.Error as fault:
        raise csv.Error(f"line {first_line}: {fault}") from None
    return rows


def _fill(
    table: ClusterTable,
    name: str,
    header: list[str],
    rows: list[tuple[int, list[str]]],
    findings: Findings,
) -> None:
    """Fill a table with the rows that can be used, as phy does; a finding for each kind of fault.

    Of several rows of a cluster the last one with text in a column counts.
    """
    id_position = header.index(table.id_name)
    positions = [i for i, column in enumerate(header) if i != id_position and column]
    table.header = [header[i] for i in positions]
    lines: dict[int, int] = {}
    long, odd, twice = [], [], []
    for number, row in rows:
        if len(row) > len(header) and any(field.strip() for field in row[len(header) :]):
            long.append((number, f"line {number} has {len(row)} fields, expected {len(header)}"))
        row = [*row, *[""] * (len(header) - len(row))]
        text = row[id_position].strip()
        match = _CLUSTER_ID.fullmatch(text)
        if match is None:
            shown = shortened(text, 40)
            odd.append((number, f"line {number} has cluster id {shown!r}, expected a whole number"))
            continue
        cluster_id = int(match[1])
        cells = [row[i].strip() for i in positions]
        if cluster_id in lines:
            twice.append(
                (
                    number,
                    f"cluster id {cluster_id} is in lines {lines[cluster_id]} and {number}, "
                    "expected each id once",
                )
            )
            before = table.rows[cluster_id]
            cells = [new or old for new, old in zip(cells, before, strict=True)]
        lines[cluster_id] = number
        table.rows[cluster_id] = cells
    for faults, without, advice in (
        (
            long,
            "fields without a column are left out",
            "correct the line; a field that holds the delimiter needs quotation marks",
        ),
        (odd, "such lines are left out", "correct the line, or rename the file if it is no table"),
        (twice, "the last value of a cluster counts", "keep one of the lines"),
    ):
        if faults:
            more = f" (and {len(faults) - 1} more such lines)" if len(faults) > 1 else ""
            findings.left_out(
                name,
                faults[0][1] + more,
                without,
                advice,
                lines=[number for number, _ in faults[:10]],
                count=len(faults),
            )


class ClusterTables:
    """All cluster tables of a folder but phy's snapshot (``cluster_info``).

    Parameters
    ----------
    folder : Path
        What is no cluster table, or cannot be read as one, is left alone.
    """

    def __init__(self, folder: Path) -> None:
        paths = table_paths(folder)
        findings = Findings()
        self._folder = folder
        self._snapshots = [path.name for path in paths if path.stem == SNAPSHOT]
        read = {p.name: read_table(p, findings) for p in paths if p.stem != SNAPSHOT}
        self._files = {name: table for name, table in read.items() if table is not None}
        self._unreadable = [
            replace(finding, severity="error")
            for finding in findings
            if LEFT_OUT in finding.evidence and read[finding.where] is None
        ]
        self._original_names = set(self._files)
        self._changed: set[str] = set()

    @property
    def column_names(self) -> list[str]:
        """Every column of every file, once."""
        return list(dict.fromkeys(c for table in self._files.values() for c in table.header))

    def take_from_snapshot(self, cluster_ids: Iterable[int]) -> dict[str, bytes]:
        """Add files for columns that only phy's snapshot has.

        phy writes the snapshot and never reads it, so that they would be lost when it is replaced
        or removed. What phy computes itself (``n_spikes``, ``fr``, ...) is not taken. The files are
        not among `changed_files` before something in them changes.

        Parameters
        ----------
        cluster_ids : iterable of int
            The clusters that have spikes; rows of others are not taken.

        Returns
        -------
        dict of str to bytes
            The new files as they are now.
        """
        ids, taken = {int(i) for i in cluster_ids}, {}
        there = {path.name.lower() for path in self._folder.glob("cluster_*.tsv")}
        for snapshot in self._snapshots:
            table = read_table(self._folder / snapshot, Findings())
            if table is None:
                continue
            for column in table.column_names:
                name = f"cluster_{column}.tsv"
                if (
                    column in _COMPUTED_BY_PHY
                    or column in self.column_names
                    or name.lower() in there
                    or column_name_problem(column) is not None
                ):
                    continue
                none = UNSORTED if column == "group" else ""
                cells = table.cells(column)
                rows = {i: [text] for i, text in cells.items() if i in ids and text != none}
                if rows:
                    self._files[name] = ClusterTable([column], rows)
                    taken[name] = self._files[name].to_bytes()
                    there.add(name.lower())
        return taken

    def files_now(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return some files as they are now, of those that are still there."""
        return {name: self._files[name].to_bytes() for name in names if name in self._files}

    def files_with(self, column: str) -> list[str]:
        """Return the names of the files that have a column; the one that counts is first."""
        own = f"cluster_{column}"
        found = [name for name, table in self._files.items() if column in table.header]
        return sorted(found, key=lambda name: (Path(name).stem != own, name))

    def cells(self, column: str) -> dict[int, str]:
        """Return a column's text by cluster id, from the file that counts; {} where it is none."""
        files = self.files_with(column)
        return self._files[files[0]].cells(column) if files else {}

    def cluster_ids(self) -> list[int]:
        """Return the ids that have a row in any file, ascending."""
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

        Raises
        ------
        PhyFolderError
            The file is there and cannot be read: what it has would be lost.
        """
        before = self.cells(column)
        after = {i: text for i, text in {**before, **texts}.items() if text}
        if column in self.column_names and after == before:
            return
        own = f"cluster_{column}.tsv"
        faults = [f for f in self._unreadable if f.where.lower() == own.lower()]
        if faults and not after:
            return
        if faults:
            raise PhyFolderError(
                self._folder,
                [
                    replace(f, advice=f"{f.evidence[LEFT_OUT]}; it would be replaced, and is not")
                    for f in faults
                ],
            )
        names = sorted(self._original_names | set(self._files))
        others = [name for name in names if name.lower() == own.lower()]
        if own not in others and others:
            raise ParameterError(
                f"column {column!r} would be the file {own}, but there is {others[0]}: the same "
                "file on many systems; use the name that is there"
            )
        self.drop_column(column, but_in=own)
        old = self._files.pop(own, ClusterTable([], {}))
        self._files[own] = ClusterTable([column], {i: [after[i]] for i in sorted(after)})
        self._changed.add(own)
        for other in old.column_names:
            if other != column and other not in self.column_names:
                self.set_column(other, old.cells(other))

    def changed_files(self) -> dict[str, bytes | None]:
        """Return the files that are to be written (their content) or removed (None)."""
        return {
            name: self._files[name].to_bytes() if name in self._files else None
            for name in sorted(self._changed)
            if name in self._files or name in self._original_names
        }

    @property
    def snapshots(self) -> list[str]:
        """The names of phy's snapshots (``cluster_info``), which phy writes and does not read."""
        return list(self._snapshots)
