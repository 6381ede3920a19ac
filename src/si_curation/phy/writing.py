"""The text of the folder format's tables and ``params.py``, as phy writes it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from si_curation.checks import is_boolean, is_whole_number, short_repr

_RESERVED_COLUMNS = {
    "cluster_id": "it is the key of the tables",
    "id": "it is the key of the tables",
    "info": "cluster_info.tsv is phy's snapshot, which it does not read",
}
_FORBIDDEN = set('\\/:*?"<>|')  # in file names, on one system or another


def column_name_problem(name: object) -> str | None:
    """Return why something cannot be the name of a column, None if it can.

    The column ``x`` is the file ``cluster_x.tsv``, so that it must be a file name everywhere.

    Examples
    --------
    >>> column_name_problem("snr") is None
    True
    >>> column_name_problem("a/b")
    "column 'a/b': its name has '/', which a file name cannot have"
    """
    shown = short_repr(name)
    if not isinstance(name, str):
        return f"column {shown}: its name is not text"
    if name.lower() in _RESERVED_COLUMNS:
        return f"column {shown} cannot be written: {_RESERVED_COLUMNS[name.lower()]}"
    if not name or name != name.strip() or len(name.encode("utf-8", "replace")) > 200:
        return f"column {shown}: its name is empty, very long, or begins or ends with a space"
    if not name.strip("."):
        return f"column {shown}: its name is the name of a folder"
    for character in name:
        if character in _FORBIDDEN or not character.isprintable():
            return f"column {shown}: its name has {character!r}, which a file name cannot have"
    return None


def format_value(value: Any) -> str | None:
    """Return the text of one value of a table as phy writes it; None where there is no value.

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
    if is_boolean(value):
        return str(bool(value))
    if is_whole_number(value):
        return str(int(value))
    if isinstance(value, float | np.floating):
        if math.isnan(value):
            return None
        return str(value) if isinstance(value, np.floating) else repr(value)
    raise ValueError(f"{value!r} is neither a number nor text")


def format_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], delimiter: str = "\t"
) -> bytes:
    r"""Return a table as phy writes it: a header and one line each, ended by ``\r\n``, in UTF-8.

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
    r"""Return the text of a ``params.py``: comment lines, then plain assignments.

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
    # a path whose bytes are no UTF-8 may be in a comment; values have it escaped
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
