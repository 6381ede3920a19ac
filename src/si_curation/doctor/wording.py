"""Numbers and lists as they stand in the text and the evidence of findings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MAX_SHOWN = 10


def first_of(values: Iterable[Any], count: int = MAX_SHOWN) -> list[Any]:
    """Return the first values as plain data for the evidence of a finding.

    Examples
    --------
    >>> first_of(range(30), 3)
    [0, 1, 2]
    """
    found: list[Any] = []
    for value in values:
        if len(found) == count:
            break
        found.append(value.item() if hasattr(value, "item") else value)
    return found


def listed(values: Iterable[Any], count: int = 5) -> str:
    """Return the first values as text, with "..." if there are more.

    Examples
    --------
    >>> listed([1, 2, 3], 2)
    '1, 2, ...'
    """
    values = list(values)
    return ", ".join(map(str, first_of(values, count))) + (", ..." if len(values) > count else "")


def plural(count: int, word: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> plural(1, "unit"), plural(1200, "spike")
    ('1 unit', '1,200 spikes')
    """
    return f"{count:,} {word}{'' if count == 1 else 's'}"
