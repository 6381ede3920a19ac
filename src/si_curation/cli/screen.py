"""Tables that fit the screen: headers in several lines, texts wrapped, columns below each other."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from si_curation.cli.printable import printable

if TYPE_CHECKING:
    import pandas as pd

_GAP = 2
_LEAST_WIDTH, _LEAST_TEXT = 30, 36
_FLOAT_FORMAT = "{:.4g}".format


def screen_width() -> int | None:
    """Return the number of characters in a line of the screen; None where output goes elsewhere."""
    if not _is_screen():
        return None
    return max(shutil.get_terminal_size().columns, _LEAST_WIDTH)


def _is_screen() -> bool:
    return sys.stdout.isatty()


@dataclass
class _Column:
    """Header and cells as text; their width on the screen."""

    name: str
    cells: list[str]
    is_text: bool
    width: int = 0

    @property
    def natural(self) -> int:
        """Width that needs no wrapping."""
        return max(map(len, [self.name, *self.cells]))

    @property
    def least(self) -> int:
        """Width with the header in several lines, and text wrapped."""
        parts = self.name.split("_")
        header = max(len(part) for part in parts) + (len(parts) > 1)
        cells = max(map(len, self.cells), default=0)
        return max(header, min(cells, _LEAST_TEXT) if self.is_text else cells)

    def lines(self, text: str) -> list[str]:
        """Return a cell in lines of the width."""
        wrapped = textwrap.wrap(text, self.width, break_on_hyphens=False) or [""]
        return [one.ljust(self.width) if self.is_text else one.rjust(self.width) for one in wrapped]

    def header(self) -> list[str]:
        """Return the name in lines of the width, broken after underscores."""
        if len(self.name) <= self.width:
            return self.lines(self.name)
        lines, line = [], ""
        parts = self.name.split("_")
        for part in [*(f"{one}_" for one in parts[:-1]), parts[-1]]:
            if len(line) + len(part) > self.width and line:
                lines.append(line)
                line = ""
            line += part
        return [one for text in [*lines, line] for one in self.lines(text)]


def fit_table(
    table: pd.DataFrame, width: int, float_format: Callable[[float], str] = _FLOAT_FORMAT
) -> str:
    """Return a table in lines of a width; missing values as "-".

    Columns that do not fit beside the others come below them, with those of the ids again.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"unit_id": [4], "amplitude_cutoff": [0.01], "reason": ["few spikes"]})
    >>> print(fit_table(table, 30))
     unit_  amplitude_
        id      cutoff  reason
         4        0.01  few spikes
    """
    from pandas.api.types import is_numeric_dtype

    columns = [
        _Column(
            str(name),
            [_cell(value, float_format) for value in table[name]],
            not is_numeric_dtype(table[name]),
        )
        for name in table.columns
    ]
    keys = [one for one in columns if "unit_id" in one.name][:2] or columns[:1]
    keys = [one for one in keys if not one.is_text or one.natural <= _LEAST_TEXT]
    blocks = _blocks(columns, keys, width)
    return "\n\n".join(_render(block, len(table), width) for block in blocks)


def _cell(value: Any, float_format: Callable[[float], str]) -> str:
    import pandas as pd

    if not isinstance(value, list | tuple) and pd.isna(value):
        return "-"
    text = float_format(value) if isinstance(value, float) else str(value)
    return printable(text).replace("\n", " ")


def _total(columns: Sequence[_Column], widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(columns) - 1)


def _blocks(columns: list[_Column], keys: list[_Column], width: int) -> list[list[_Column]]:
    """Return the columns in blocks that fit; each begins with the keys."""
    blocks = [list[_Column]()]
    for column in columns:
        block = [*blocks[-1], column]
        if blocks[-1] and _total(block, [one.least for one in block]) > width:
            again = [key for key in keys if key is not column]
            fits = _total([*again, column], [one.least for one in [*again, column]]) <= width
            block = [*(again if fits else []), column]
            blocks.append(block)
        else:
            blocks[-1] = block
    return blocks


def _render(columns: list[_Column], num_rows: int, width: int) -> str:
    for column in columns:
        column.width = min(column.least, width)
    spare = width - _total(columns, [one.width for one in columns])
    # numbers first: their headers in one line; then texts share what is left
    for column in sorted(columns, key=lambda one: (one.is_text, one.natural)):
        more = min(max(spare, 0), column.natural - column.width)
        column.width += max(more, 0)
        spare -= max(more, 0)
    rows = [[column.header() for column in columns]]
    rows += [[column.lines(column.cells[row]) for column in columns] for row in range(num_rows)]
    lines = []
    for number, row in enumerate(rows):
        height = max(map(len, row), default=0)
        for line in range(height):
            at = line - (0 if number else height)  # headers stand on the line of the cells
            texts = []
            for column, cell in zip(columns, row, strict=True):
                index = at if number else len(cell) + at
                texts.append(cell[index] if 0 <= index < len(cell) else " " * column.width)
            lines.append((" " * _GAP).join(texts).rstrip())
    return "\n".join(lines)
