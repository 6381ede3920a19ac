"""The history of curation that an analyzer carries from the sessions that made it."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
from spikeinterface.core import BaseSorting, SortingAnalyzer

ANNOTATION = "curation_history"
HISTORY_COLUMNS = (
    "when",
    "operation",
    "inputs",
    "outputs",
    "field",
    "value",
    "reason",
    "decided_by",
)


def record_history(sorting: BaseSorting, history: pd.DataFrame) -> None:
    """Add the steps of a session that are in effect to what a sorting knows of earlier ones.

    Parameters
    ----------
    sorting : BaseSorting
        Its annotation ``curation_history`` (JSON, which every format keeps) is replaced.
    history : pandas.DataFrame
        `CurationSession.history`.
    """
    in_effect = history.loc[history["in_effect"].astype(bool), list(HISTORY_COLUMNS)]
    steps = [*_steps(sorting), *in_effect.to_dict(orient="records")]
    if steps:
        text = json.dumps(steps, default=str, ensure_ascii=False)
        sorting.set_annotation(ANNOTATION, text, overwrite=True)


def recorded_history(sorting_analyzer: SortingAnalyzer) -> pd.DataFrame:
    """Give the steps of all sessions that led to an analyzer, first to last.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer

    Returns
    -------
    pandas.DataFrame
        Columns as `CurationSession.history` but without ``in_effect``: what was undone is left
        out. Empty where no session made the analyzer.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> session = sic.CurationSession(analyzer)
    >>> session.label([4], "good", reason="clean")
    >>> recorded_history(session.apply())[["operation", "inputs", "reason"]].values.tolist()
    [['label', [4], 'clean']]
    """
    return pd.DataFrame(_steps(sorting_analyzer.sorting), columns=list(HISTORY_COLUMNS))


def _steps(sorting: BaseSorting) -> list[dict[str, Any]]:
    return json.loads(sorting.get_annotation(ANNOTATION) or "[]")
