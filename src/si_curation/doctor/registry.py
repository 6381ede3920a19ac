"""The checks, one function each, in the order in which they are run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from si_curation.doctor.facts import FolderFacts
from si_curation.phy.arrays import Findings

Check = Callable[[FolderFacts, Findings], None]
#: Every check by its name, which is also the name that its findings have.
CHECKS: dict[str, Check] = {}

MAX_SHOWN = 10


def check(name: str) -> Callable[[Check], Check]:
    """Register a check: it looks at the facts and adds what it finds."""

    def register(function: Check) -> Check:
        CHECKS[name] = function
        return function

    return register


def first_of(values: Any, count: int = MAX_SHOWN) -> list:
    """Give the first values as plain data for the evidence of a finding.

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


def listed(values: Any, count: int = 5) -> str:
    """Name the first values, and say if there are more.

    Examples
    --------
    >>> listed([1, 2, 3], 2)
    '1, 2, ...'
    """
    values = list(values)
    return ", ".join(map(str, first_of(values, count))) + (", ..." if len(values) > count else "")


def plural(count: int, word: str) -> str:
    """Give a number with its noun.

    Examples
    --------
    >>> plural(1, "unit"), plural(1200, "spike")
    ('1 unit', '1,200 spikes')
    """
    return f"{count:,} {word}{'' if count == 1 else 's'}"
