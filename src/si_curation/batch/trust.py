"""How far to trust suggestions: the benchmarks of all sessions, and the calibrations of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from si_curation.batch.state import BatchFolder
from si_curation.checks import is_number
from si_curation.documents import read_document
from si_curation.errors import FolderNotFoundError, MissingDataError, ParameterError
from si_curation.evidence.benchmark.pooling import calibrate_suggestions
from si_curation.variables import BATCH_BENCHMARKS, BENCHMARK

FILE = "benchmark.json"


def gather_benchmarks(
    batch: BatchFolder, sessions: Sequence[str], notes: list[str]
) -> tuple[pd.DataFrame, dict[str, Path]]:
    """Return the benchmarks of all sessions in one table, and the file of each that was read.

    What cannot be read is left out, with a note.
    """
    rows, files = [], {}
    for name in sessions:
        path = batch.outputs_of(name) / FILE
        try:
            content = read_document(path, expected="a benchmark of suggestions")
            found = [{"session": name, **_row(one, path)} for one in _table_of(content, path)]
        except (ParameterError, FolderNotFoundError) as fault:
            notes.append(f"{path} is left out: {' '.join(str(fault).split())}")
            continue
        rows += found
        files[name] = path
    table = pd.DataFrame(rows, columns=list(BATCH_BENCHMARKS))
    return table, files


def write_calibrations(
    folder: Path, kinds: Sequence[str], files: dict[str, Path], notes: list[str]
) -> None:
    """Write ``calibration_<kind>.json`` of each kind of suggestion that can be calibrated.

    One that cannot be any more is deleted, and a note says why.
    """
    for kind in kinds:
        target = folder / f"calibration_{kind}.json"
        try:
            calibrate_suggestions(files, kind).to_json(target, overwrite=True)
        except (MissingDataError, ParameterError) as fault:
            target.unlink(missing_ok=True)
            notes.append(f"no calibration of {kind}: {' '.join(str(fault).split())}")


def _table_of(content: object, path: Path) -> list[object]:
    table = content.get("table") if isinstance(content, dict) else None
    if not isinstance(table, list):
        raise ParameterError(f"{path} has no table")
    return table


def _row(row: object, path: Path) -> dict[str, object]:
    is_row = isinstance(row, dict) and isinstance(row.get("suggestion"), str)
    if not is_row or not all(row.get(n) is None or is_number(row[n]) for n in BENCHMARK):  # type: ignore[attr-defined, index]
        raise ParameterError(f"{path} has a row that is none of a benchmark")
    return {name: row.get(name) for name in ("suggestion", *BENCHMARK)}  # type: ignore[attr-defined]
