"""Figures of many units come in pages: the one rule, and what the figure says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from si_curation.errors import ParameterError

UNITS_PER_PAGE = 24
"""Units of a figure that has a panel for each."""

MAX_INCHES = 20.0
"""No figure is larger than this by itself, in either direction."""

Item = TypeVar("Item")


class Page(NamedTuple):
    """Which part of many a figure shows.

    Attributes
    ----------
    number, num_pages : int
        This page, from 1, and how many there are.
    note : str
        What the figure says below; "" where it shows all.
    """

    number: int
    num_pages: int
    note: str


def page_of(
    items: Sequence[Item],
    page: int,
    figure_arguments: Mapping[str, Any],
    *,
    per_page: int = UNITS_PER_PAGE,
    what: str = "units",
    chosen_by: str = "unit_ids",
) -> tuple[list[Item], Page]:
    """Return the items of a page, in their order, and what the figure says of the others.

    Axes that are given are one for each item: then all are drawn.

    Parameters
    ----------
    items : sequence
    page : int
        From 1.
    figure_arguments : mapping
        Of the figure; ``ax`` and ``axes`` are looked at.
    per_page : int
    what : str
        What the items are, in plural.
    chosen_by : str
        The argument that chooses them.

    Raises
    ------
    ParameterError
        There is no such page.

    Examples
    --------
    >>> shown, page = page_of(range(60), 2, {})
    >>> shown[0], len(shown), page.note
    (24, 24, 'units 25 to 48 of 60: page=3 draws the next, unit_ids=[...] those that you name')
    """
    are_given = any(figure_arguments.get(name) is not None for name in ("ax", "axes"))
    total = len(items)
    count = 1 if are_given else max(-(-total // per_page), 1)
    if page > count:
        pages = f"1 to {count}" if count > 1 else f"1: all {total:,} {what} are on it"
        raise ParameterError(f"page is {page}, expected {pages}")
    if count == 1:
        return list(items), Page(1, 1, "")
    start, stop = (page - 1) * per_page, min(page * per_page, total)
    other = page + 1 if page < count else page - 1
    which = "the next" if page < count else "the one before"
    note = (
        f"{what} {start + 1:,} to {stop:,} of {total:,}: page={other} draws {which}, "
        f"{chosen_by}=[...] those that you name"
    )
    return list(items[start:stop]), Page(page, count, note)


def write_page_note(figure: Any, page: Page) -> None:
    """Write below a figure which part of many it shows."""
    if page.note:
        above = figure.get_supxlabel()
        figure.supxlabel(f"{above}\n{page.note}" if above else page.note, fontsize=8)
