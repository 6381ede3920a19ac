"""The one form that all benchmarks give their results in, for `run.py`.

A script prints what it likes, and calls `record` with each number. Without `run.py` nothing more
happens; with it, the numbers of all scripts get into one file.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

#: Names the file that numbers are appended to, one JSON object a line.
RECORDS = "SI_CURATION_BENCHMARK_RECORDS"
#: Of times and sizes smaller is better, of speeds larger; of the others neither.
UNITS = {"s": -1, "ms": -1, "MB": -1, "GB/s": 1, "Gop/s": 1, "share": 0, "slope": 0}


def record(table: str, what: str, value: float, unit: str = "s") -> None:
    """Give one number to `run.py`: the table it belongs to, "row" or "row | column", and its unit.

    Where a table has columns, what is not of a column "ours..." is also shown as a multiple of it.
    """
    if unit not in UNITS:
        raise ValueError(f"unit is {unit!r}, expected one of {', '.join(UNITS)}")
    path = os.environ.get(RECORDS)
    if path:
        script = Path(sys.argv[0]).stem
        row = {"script": script, "table": table, "what": what, "value": float(value), "unit": unit}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def record_all(table: str, values: Mapping[str, float], unit: str = "s") -> None:
    """Give several numbers of one table to `run.py`."""
    for what, value in values.items():
        record(table, what, value, unit)
