"""What is in a report, read back with the standard library's parser."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np


class ReportPage(HTMLParser):
    """The data blocks, tables and texts of a page.

    Attributes
    ----------
    data, units : the JSON blocks
    tables : {id: [rows of cells: {"text", "data-order", "href"}]}, heads first
    scripts : number of scripts that run
    tags : every start tag with its attributes
    """

    def __init__(self, path: Path):
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.blocks, self.tables, self.tags = {}, {}, []
        self.scripts, self.text = 0, ""
        self._script = self._table = self._cell = None
        self.feed(self.source)
        self.close()
        self.data = json.loads(self.blocks["report-data"])
        count = sum(name.startswith("unit-data-") for name in self.blocks)
        self.units = [json.loads(self.blocks[f"unit-data-{row}"]) for row in range(count)]

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag == "script":
            self._script = attributes.get("id", "")
            self.blocks.setdefault(self._script, "")
            self.scripts += attributes.get("type") != "application/json"
        elif tag == "table":
            self._table = self.tables.setdefault(attributes.get("id"), [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("th", "td") and self._table:
            self._cell = {"text": "", **attributes}
            self._table[-1].append(self._cell)
        elif tag == "a" and self._cell is not None:
            self._cell["href"] = attributes.get("href")

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None
        elif tag == "table":
            self._table = None
        elif tag in ("th", "td"):
            self._cell = None

    def handle_data(self, data):
        if self._script is not None:
            self.blocks[self._script] += data
        elif self._cell is not None:
            self._cell["text"] += data
        else:
            self.text += data

    def column(self, table: str, number: int, key: str = "data-order") -> list[str]:
        """What the cells of one column have."""
        return [row[number].get(key) for row in self.tables[table][1:]]

    def column_number(self, title: str, group: str | None = None) -> int:
        """Number of a column of the table of units."""
        found = [
            number
            for number, column in enumerate(self.data["columns"], 1)
            if column["title"] == title and group in (None, column["group"])
        ]
        return found[0]


def unpack(packed) -> np.ndarray:
    """The array that the page decodes."""
    dtype = np.dtype(packed["dtype"]).newbyteorder("<")
    return np.frombuffer(base64.b64decode(packed["base64"]), dtype).reshape(packed["shape"])
