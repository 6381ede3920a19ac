"""The folder format, written as phy writes it: tables, ``params.py``, whole files at once."""

from __future__ import annotations

import csv
import io
import math
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

#: What a file is to hold: bytes as they are, or an array in the ``.npy`` format.
Content = bytes | NDArray

_TEMPORARY = ".si_curation.tmp"
_RESERVED_COLUMNS = {
    "cluster_id": "it is the key of the tables",
    "id": "it is the key of the tables",
    "info": "cluster_info.tsv is phy's snapshot, which it does not read",
}
_FORBIDDEN = set('\\/:*?"<>|')  # in file names, on one system or another


def column_name_problem(name: object) -> str | None:
    """Tell why something cannot be the name of a column, None if it can.

    The column ``x`` is the file ``cluster_x.tsv``, so that it must be a file name everywhere.

    Examples
    --------
    >>> column_name_problem("snr") is None
    True
    >>> column_name_problem("a/b")
    "column 'a/b': its name has '/', which a file name cannot have"
    """
    if not isinstance(name, str):
        return f"column {name!r}: its name is no text"
    if name.lower() in _RESERVED_COLUMNS:
        return f"column {name!r} cannot be written: {_RESERVED_COLUMNS[name.lower()]}"
    if not name or name != name.strip() or len(name.encode("utf-8", "replace")) > 200:
        return f"column {name!r}: its name is empty, very long, or begins or ends with a space"
    for character in name:
        if character in _FORBIDDEN or not character.isprintable():
            return f"column {name!r}: its name has {character!r}, which a file name cannot have"
    return None


def format_value(value: Any) -> str | None:
    """Give the text of one value of a table as phy writes it; None where there is no value.

    Parameters
    ----------
    value : number, str, bool or None
        NaN, None, pandas' NA and "" are no value.

    Returns
    -------
    str or None
        Floats in the shortest form that reads back as the same number.

    Raises
    ------
    ValueError
        It is no single value, or a text that a table cannot hold.

    Examples
    --------
    >>> format_value(np.float32(0.1)), format_value(3), format_value(float("nan"))
    ('0.1', '3', None)
    """
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, str):
        text = str(value)
        if "\x00" in text or any(0xD800 <= ord(character) <= 0xDFFF for character in text):
            raise ValueError(f"{text!r} cannot be written as text")
        return text if text.strip() else None
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        if math.isnan(value):
            return None
        return str(value) if isinstance(value, np.floating) else repr(value)
    raise ValueError(f"{value!r} is no number and no text")


def format_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], delimiter: str = "\t"
) -> bytes:
    r"""Give a table as phy writes it: a header and one line each, ended by ``\r\n``, in UTF-8.

    Source: phylib 2.7.1, ``_write_tsv_simple`` (Python's csv writer).

    Examples
    --------
    >>> format_table(["cluster_id", "group"], [["3", "good"]])
    b'cluster_id\tgroup\r\n3\tgood\r\n'
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def format_params(values: Mapping[str, Any], comments: Sequence[str] = ()) -> bytes:
    r"""Give the text of a ``params.py``: comment lines, then plain assignments.

    Parameters
    ----------
    values : mapping
        Literals: text, numbers, None, lists of those.
    comments : sequence of str

    Examples
    --------
    >>> format_params({"dat_path": None, "sample_rate": 30000.0}, ["no raw data"])
    b'# no raw data\ndat_path = None\nsample_rate = 30000.0\n'
    """
    lines = [f"# {' '.join(comment.split())}" for comment in comments]
    lines += [f"{name} = {value!r}" for name, value in values.items()]
    return ("\n".join(lines) + "\n").encode("utf-8")


def write_content(file: BinaryIO, content: Content) -> None:
    """Write bytes, or an array in the ``.npy`` format, to an open file."""
    if isinstance(content, bytes):
        file.write(content)
    else:
        np.save(file, content, allow_pickle=False)


def write_file(path: Path, content: Content, *, sync: bool = False) -> None:
    """Write a file that does not exist yet; with `sync` it is on the disk when this returns."""
    with open(path, "xb") as file:
        write_content(file, content)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def temporary_name(path: Path) -> Path:
    """Give a hidden name beside a file that no program takes for data."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{_TEMPORARY}")


def is_temporary(name: str) -> bool:
    """Tell whether a file is one of ours, or of phy's, that was never finished.

    Examples
    --------
    >>> is_temporary(".spike_clusters.npy.0123456789ab.si_curation.tmp"), is_temporary("a.npy")
    (True, False)
    """
    return name.startswith(".") and name.endswith(".tmp")


def stage_file(path: Path, content: Content) -> Path:
    """Write what is to replace a file under a temporary name beside it, down to the disk.

    Parameters
    ----------
    path : Path
        The file to be replaced; it may not exist. Its permissions are taken over.
    content : bytes or array

    Returns
    -------
    Path
        The temporary file, for ``os.replace``.
    """
    staged = temporary_name(path)
    try:
        write_file(staged, content, sync=True)
        if path.exists():
            shutil.copymode(path, staged)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    return staged


def replace_file(path: Path, content: Content) -> None:
    r"""Replace (or make) a file in one step: whoever reads it sees the old one or the new one.

    Parameters
    ----------
    path : Path
    content : bytes or array

    Raises
    ------
    OSError
        It could not be written; the file is as before.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "params.py"
    >>> replace_file(path, b"offset = 0\n")
    >>> path.read_bytes(), len(list(path.parent.iterdir()))
    (b'offset = 0\n', 1)
    """
    staged = stage_file(path, content)
    try:
        os.replace(staged, path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some file systems cannot; the files themselves are on the disk
    finally:
        os.close(handle)
