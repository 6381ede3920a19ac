"""Columns that a user gives for units or clusters, checked and as text."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from si_curation.errors import ParameterError, UnknownIdError
from si_curation.phy.writing import column_name_problem, format_value

_MAX_SHOWN = 10


def texts_by_id(
    table: Any, known_ids: Iterable[Hashable], of_what: str
) -> dict[str, dict[Any, str | None]]:
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
    texts: dict[str, dict[Any, str | None]] = {}
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


def _cells(column: pd.Series) -> list[Any]:
    """Return the values as they are: a whole number beside a missing one stays whole."""
    return list(column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array)


def _plain(value: Any) -> Hashable:
    """Return an id as a plain Python value: 3.0 (a pandas index with gaps) is 3, "3" is not."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
