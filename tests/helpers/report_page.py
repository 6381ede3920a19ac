"""What is in a report, read back with the standard library's parser."""

from __future__ import annotations

import base64
import json
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np


class ReportPage(HTMLParser):
    """The data blocks, tables and texts of a page.

    Attributes
    ----------
    data, units : the blocks, each array in them as numpy has it
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
        self.data = decode(self.blocks["report-data"])
        count = sum(name.startswith("unit-data-") for name in self.blocks)
        self.units = [unit_of(decode(self.blocks[f"unit-data-{row}"])) for row in range(count)]

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag == "script":
            self._script = attributes.get("id", "")
            self.blocks.setdefault(self._script, "")
            self.scripts += attributes.get("type") != "application/deflate"
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

    def value(self, title: str, unit: int, group: str | None = None):
        """What the table of units has for a unit; None where it is missing."""
        column = self.data["columns"][self.column_number(title, group) - 1]
        value = column["values"][unit]
        return None if value != value else value

    def rate(self, counts) -> np.ndarray:
        """Firing rates of numbers of spikes in the bins of time."""
        seen = np.array(self.data["time_bins"]["seen_s"])
        return np.divide(counts, seen, out=np.full(seen.size, np.nan), where=seen > 0)


def unit_of(value: dict) -> dict:
    """The numbers of a unit as `Report.unit` has them in the page."""

    def correlogram(at):
        if at is None:
            return None
        return {"counts": value["correlograms"][at].tolist(), "baseline": value["baselines"][at]}

    value |= {"rate": value["rate"].tolist(), "isi": value["isi"].tolist()}
    value["acg"] = correlogram(value["acg"])
    for other in value["similar"] or ():
        other["ccg"] = correlogram(other["ccg"])
    return value


def decode(text: str):
    """The value of a block, as the page decodes it."""
    content = zlib.decompress(base64.b64decode(text), -zlib.MAX_WBITS)
    start = 4 + int.from_bytes(content[:4], "little")

    def array(value):
        if "at" not in value:
            return value
        first = (start if value["at"] >= 0 else len(content)) + value["at"]
        dtype = np.dtype(value["dtype"]).newbyteorder("<")
        count = int(np.prod(value["shape"]))
        planes = np.frombuffer(content, np.uint8, count * dtype.itemsize, first)
        stored = np.ascontiguousarray(planes.reshape(dtype.itemsize, count).T).view(dtype)
        stored = stored.reshape(value["shape"])
        if "step" not in value:
            return stored
        stored = stored.astype(np.float64)
        return value["start"] + value["step"] * (stored.cumsum() if value["cumulative"] else stored)

    return json.loads(content[4:start].decode("utf-8"), object_hook=array)
