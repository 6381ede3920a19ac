"""Cluster tables: every column of every ``.tsv`` and ``.csv`` file, keyed by cluster id."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.phy.arrays import Findings, one_line, shortened

Value = int | float | str
SNAPSHOT = "cluster_info"  # written by phy for people to read; phy itself does not read it
UNSORTED = "unsorted"
GROUPS = ("good", "mua", "noise", UNSORTED)  # phy's
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
        """Give the values of some clusters.

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


def _fits_int64(values: list) -> bool:
    return all(-(2**63) <= value < 2**63 for value in values)


def _cast(text: str) -> Value:
    if text.isdecimal() and text.isascii() and len(text) < 300:  # nearly all: a quick way
        return int(text)
    if text[0].isalpha() and text[0] not in "nNiI":
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text


def read_tables(folder: Path, findings: Findings) -> dict[str, ClusterColumn]:
    """Read all cluster tables of a folder.

    A column comes from the file named after it (``cluster_<column>.tsv``) if there is one, from any
    other file next, and from ``cluster_info`` only where no other file has it.

    Parameters
    ----------
    folder : Path
    findings : Findings
        Tables that cannot be read are findings of severity "error" if phy would read them as
        cluster tables (``cluster_*``), else "warning".

    Returns
    -------
    dict of str to ClusterColumn
    """
    columns: dict[str, ClusterColumn] = {}
    for path in table_paths(folder):
        table = read_table(path, findings)
        for name, values in {} if table is None else table.columns.items():
            column = ClusterColumn(name, values, path.name)
            known = columns.get(column.name)
            if known is None:
                columns[column.name] = column
            elif path.stem != SNAPSHOT:
                own_name = f"cluster_{column.name}"
                if dict(known.values) != dict(column.values):
                    findings.warning(
                        path.name,
                        f"column {column.name!r} differs from the one in {known.file}",
                        f"the one in {own_name}.tsv is used if there is one",
                    )
                if path.stem == own_name:
                    columns[column.name] = column
    return columns


def table_paths(folder: Path) -> list[Path]:
    """Give the files that may be cluster tables, ``cluster_info`` last."""
    paths = [p for suffix in (".tsv", ".csv") for p in folder.glob(f"*{suffix}") if p.is_file()]
    paths = [p for p in paths if not p.name.startswith(".")]
    return sorted(paths, key=lambda p: (p.stem == SNAPSHOT, p.name))


class ClusterTable(NamedTuple):
    """One file: the ids that have a row, and its columns without the blank fields."""

    ids: tuple[int, ...]
    columns: dict[str, dict[int, Value]]


def read_table(path: Path, findings: Findings) -> ClusterTable | None:
    """Read one table; None, mostly with a finding, where it is none or cannot be read."""
    is_cluster_table = path.name.startswith("cluster_")
    report = findings.error if is_cluster_table else findings.warning
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = fault.object[: fault.start].count(b"\n") + 1
        report(
            path.name,
            f"is not UTF-8: byte 0x{fault.object[fault.start]:02x} in line {line}",
            "save it again as UTF-8",
        )
        return None
    except OSError as fault:
        report(path.name, f"cannot be read: {one_line(fault)}", "make it readable, or remove it")
        return None
    # as phy does, whatever the suffix: old Kilosorts write tabs into .csv
    first_line = next((line for line in text.split("\n") if line.strip()), "")
    delimiter = "\t" if "\t" in first_line else ","
    try:
        rows = _numbered_rows(text, delimiter)
    except csv.Error as fault:
        report(
            path.name,
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
                path.name,
                f"has the header {shortened(header[0], 60)!r}, expected columns set apart by tabs "
                "(or commas)",
                "save it again with tabs",
            )
        else:
            findings.info(path.name, "has no cluster_id column and is no cluster table")
        return None
    return _columns(path.name, header, header.index(id_column), rows[1:], report)


def _numbered_rows(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Give the rows that are not blank, each with the number of its first line."""
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


def _columns(name, header, id_position, rows, report) -> ClusterTable | None:
    ids: dict[int, int] = {}
    tables: dict[str, dict[int, Value]] = {
        column: {} for i, column in enumerate(header) if i != id_position and column
    }
    for number, row in rows:
        if len(row) > len(header) and any(field.strip() for field in row[len(header) :]):
            report(
                name,
                f"line {number} has {len(row)} fields, expected {len(header)}",
                "correct the line; a field that holds the delimiter needs quotation marks",
            )
            return None
        text = row[id_position].strip() if id_position < len(row) else ""
        match = _CLUSTER_ID.fullmatch(text)
        if match is None:
            report(
                name,
                f"line {number} has cluster id {shortened(text, 40)!r}, expected a whole number",
                "correct the line, or rename the file if it is no table of clusters",
            )
            return None
        cluster_id = int(match[1])
        if cluster_id in ids:
            report(
                name,
                f"cluster id {cluster_id} is in lines {ids[cluster_id]} and {number}, "
                "expected each id once",
                "keep one of the lines",
            )
            return None
        ids[cluster_id] = number
        for column, field in zip(header, row, strict=False):
            if column in tables and field.strip():
                tables[column][cluster_id] = _cast(field.strip())
    return ClusterTable(tuple(ids), tables)
