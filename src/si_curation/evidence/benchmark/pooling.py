"""`calibrate_suggestions`: what the benchmarks of several folders tell about a score."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from si_curation.checks import check_arguments, is_boolean, is_number, local_path, short_repr
from si_curation.documents import read_document
from si_curation.errors import ParameterError
from si_curation.evidence.benchmark.benchmark import SuggestionBenchmark
from si_curation.evidence.calibration import Calibration
from si_curation.variables import BENCHMARK_OUTCOMES

_NEEDED = ("suggestion", "score", "is_right")


def calibrate_suggestions(
    benchmarks: Mapping[str, Any],
    kind: str = "merges",
    *,
    reviews: Mapping[str, pd.DataFrame] | None = None,
) -> Calibration:
    """Return how probable it is that a suggestion with a score is right, from several folders.

    Parameters
    ----------
    benchmarks : mapping
        {name of a folder: its `SuggestionBenchmark`, the JSON file of one, or outcomes}.
    kind : str
        What is suggested: a row of `benchmark_suggestions`.
    reviews : mapping, optional
        {name of a folder: `outcomes_of_reviews`}. They shift the calibration to how often real
        suggestions are accepted; see `Calibration.updated`.

    Returns
    -------
    Calibration

    Raises
    ------
    MissingDataError
        There are fewer than 30 suggestions of that kind, or fewer than 3 folders.
    ParameterError
        A file is no benchmark, or something else is given.
    FolderNotFoundError
        There is no such file.

    Notes
    -----
    On 21 Kilosort 4 sortings of 7 recordings with ground truth, a calibration of the other
    recordings' benchmarks was compared with the real suggestions of each recording: see
    "Are the probabilities right?" in the how-to guide on trust.

    Examples
    --------
    >>> score = np.linspace(0.3, 1.0, 20)  # of benchmark_suggestions(analyzer).outcomes
    >>> one = pd.DataFrame({"suggestion": "merges", "score": score, "is_right": score > 0.5})
    >>> calibration = calibrate_suggestions({"day 1": one, "day 2": one, "day 3": one})
    >>> calibration.kind, calibration.num_suggestions, calibration.num_groups
    ('merges', 60, 3)
    """
    check_arguments(calibrate_suggestions, locals())
    tables = {name: _outcomes_of(one, str(name)) for name, one in benchmarks.items()}
    score, is_right, group = _gathered(tables, kind)
    calibration = Calibration.fit(score, is_right, group, kind=kind)
    if reviews:
        reviewed = {name: _outcomes_of(one, str(name)) for name, one in reviews.items()}
        score, is_right, _ = _gathered(reviewed, kind)
        if score.size:
            calibration = calibration.updated(score, is_right)
    return calibration


def _gathered(tables: Mapping[str, pd.DataFrame], kind: str) -> tuple[Any, Any, list[str]]:
    """Return scores, outcomes and folders of one kind of suggestion."""
    its = {name: table[table["suggestion"] == kind] for name, table in tables.items()}
    scores = [table["score"].to_numpy(dtype=np.float64) for table in its.values()]
    outcomes = [table["is_right"].to_numpy(dtype=bool) for table in its.values()]
    names = [str(name) for name, table in its.items() for _ in range(len(table))]
    nothing = np.zeros(0)
    return (
        np.concatenate([nothing, *scores]),
        np.concatenate([nothing.astype(bool), *outcomes]),
        names,
    )


def _outcomes_of(source: Any, name: str) -> pd.DataFrame:
    """Return the outcomes of a benchmark, a file of one, or a table of outcomes."""
    if isinstance(source, SuggestionBenchmark):
        return source.outcomes
    if isinstance(source, str | Path):
        return _read_outcomes(local_path(source, name))
    if isinstance(source, pd.DataFrame) and all(
        np.count_nonzero(source.columns == column) == 1 for column in _NEEDED
    ):
        if not (source["score"].map(is_number).all() and source["is_right"].map(_is_outcome).all()):
            raise ParameterError(
                f"{short_repr(name)} has other values than numbers in score, or than True and "
                "False in is_right"
            )
        return source
    raise ParameterError(
        f"{short_repr(name)} is {short_repr(source)}, expected a SuggestionBenchmark, "
        f"the JSON file of one, or a table with the columns {', '.join(_NEEDED)}"
    )


def _is_outcome(value: Any) -> bool:
    return is_boolean(value) or (is_number(value) and value in (0, 1))


def _read_outcomes(path: Path) -> pd.DataFrame:
    content = read_document(path, expected="a benchmark of suggestions")
    rows = content.get("outcomes") if isinstance(content, Mapping) else None
    if not isinstance(rows, list):
        raise ParameterError(f"{path} has no outcomes, expected a benchmark of suggestions")
    for number, row in enumerate(rows):
        is_right = isinstance(row, Mapping) and is_boolean(row.get("is_right"))
        if not is_right or not is_number(row.get("score")) or not 0 <= row["score"] <= 1:
            raise ParameterError(
                f"{path}: outcomes[{number}] is {short_repr(row)}, expected suggestion, score "
                "from 0 to 1 and is_right"
            )
    table = pd.DataFrame([{name: row.get(name) for name in BENCHMARK_OUTCOMES} for row in rows])
    return table.reindex(columns=list(BENCHMARK_OUTCOMES))
