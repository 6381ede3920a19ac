"""How results are shown: a line of text, and in notebooks the first rows of a table too."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any, ClassVar

import pandas as pd

ROWS_SHOWN = 10


class Shown:
    """Adds what notebooks show of a result: its `repr`, and the first rows of its table."""

    #: Attribute whose rows are shown.
    _table_shown: ClassVar[str] = "table"

    def _repr_html_(self) -> str:
        """Return what notebooks show."""
        name = self._table_shown
        return as_html(repr(self), getattr(self, name), f".{name}")


def as_html(text: str, table: pd.DataFrame | None = None, name: str = ".table") -> str:
    """Return a text, and the first rows of a table, as HTML in which all content is escaped.

    Parameters
    ----------
    text : str
        A paragraph a line.
    table : pandas.DataFrame, optional
        Its index is shown where it has a name.
    name : str
        Where all rows are, for the line below.

    Examples
    --------
    >>> as_html("2 units <of> one", pd.DataFrame({"a": [1]}))[:35]
    '<p>2 units &lt;of&gt; one</p><table'
    """
    made = "".join(f"<p>{html.escape(line)}</p>" for line in text.splitlines())
    if table is None or not len(table):
        return made
    rows = table.head(ROWS_SHOWN)
    named = any(one is not None for one in rows.index.names)
    made += rows.to_html(index=named, na_rep="", float_format="{:.3g}".format)
    if len(table) > len(rows):
        found = f"The first {len(rows)} of {len(table)} rows; all are in {name}."
        made += f"<p>{html.escape(found)}</p>"
    return made


def count_text(number: int, noun: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> count_text(1, "unit"), count_text(2, "unit")
    ('1 unit', '2 units')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def counts_text(counts: Mapping[Any, Any]) -> str:
    """Return how many there are of each kind, most first.

    Examples
    --------
    >>> counts_text({"mua": 1, "good": 3})
    '3 good, 1 mua'
    """
    ordered = sorted(counts.items(), key=lambda pair: (-int(pair[1]), str(pair[0])))
    return ", ".join(f"{number} {name}" for name, number in ordered)


def short_params(params: Mapping[str, Any]) -> str:
    """Return parameters as they are written in a call; long values as ``...``."""
    texts = {key: repr(value) for key, value in params.items()}
    return ", ".join(f"{key}={text if len(text) <= 30 else '...'}" for key, text in texts.items())
