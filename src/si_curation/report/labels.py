"""`export_label_report`: one self-contained HTML page of how right learnt labels are."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from si_curation.checks import check_arguments
from si_curation.files import check_page_file, write_pieces
from si_curation.learning.model import LabelModel
from si_curation.learning.report import NUM_MORE, LabelReport
from si_curation.report.formatting import format_value
from si_curation.report.line_chart import LineChart, line_chart
from si_curation.report.merges import evidence_table
from si_curation.report.page import render_label_page
from si_curation.variables import (
    LEARNT_COVERAGE,
    LEARNT_CURVE,
    LEARNT_DISAGREEMENTS,
    LEARNT_RELIABILITY,
    LEARNT_SESSIONS,
    LEARNT_SUMMARY,
    Table,
)

_MOST_ROWS = 500


def export_label_report(
    model: LabelModel,
    path: str | Path,
    *,
    title: str = "Labels learnt from curators",
    overwrite: bool = False,
) -> Path:
    """Write one HTML page of how right a model is that opens in a browser, offline.

    It shows `LabelModel.report`: accuracy, balanced accuracy and area under the ROC curve, with
    intervals over sessions; whether probabilities are what they say; how many units are decided at
    which accuracy; each session, the worst first; what fewer labels would have given; the units
    that are not as the curator has them; and what was learnt from.

    Parameters
    ----------
    model : LabelModel
    path : str or Path
        The file, ``.html``. Folders that are missing are made.
    title : str
    overwrite : bool, default: False
        Replace the file if it is there.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputExistsError
        The file is there, and `overwrite` is False.
    ParameterError
        The path cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"snr": rng.uniform(1, 9, 60), "session": np.arange(60) % 2})
    >>> table["group"] = np.where(table["snr"] + rng.normal(size=60) > 5, "good", "mua")
    >>> from si_curation import learn_labels
    >>> path = export_label_report(learn_labels(table), Path(tempfile.mkdtemp()) / "labels.html")
    >>> path.read_text(encoding="utf-8")[:15]
    '<!DOCTYPE html>'
    """
    check_arguments(export_label_report, locals())
    target = check_page_file(path, overwrite)
    values = {"title": title, **_gather(model, model.report())}
    write_pieces(target, render_label_page(values), overwrite)
    return target


def _gather(model: LabelModel, report: LabelReport) -> dict[str, Any]:
    worst = report.sessions.iloc[0]
    wrong = report.disagreements
    more = "" if np.isnan(report.gain_of_more) else f"{100 * report.gain_of_more:+.2f}"
    return {
        "created": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "facts": _facts(model),
        "left_out": list(model.columns_left_out.items()),
        "summary": _rows(report.summary, LEARNT_SUMMARY),
        "charts": _charts(model, report),
        "worst": {
            "name": worst["session"],
            "balanced": format_value(float(worst["balanced_accuracy"])),
            "decided": format_value(float(worst["accuracy_decided"])),
        },
        "tables": [
            ("sessions", "Sessions, the worst first", _rows(report.sessions, LEARNT_SESSIONS)),
            (
                "coverage",
                "Units that are decided, by the accuracy that is asked for",
                _rows(report.coverage, LEARNT_COVERAGE),
            ),
            (
                "reliability",
                "What share of the labels is right, by their probability",
                _rows(report.reliability, LEARNT_RELIABILITY),
            ),
            ("curve", "With fewer labels", _rows(report.learning_curve, LEARNT_CURVE)),
        ],
        "more": more,
        "num_more": NUM_MORE,
        "num_wrong": len(wrong),
        "wrong": _rows(wrong.head(_MOST_ROWS), LEARNT_DISAGREEMENTS),
    }


def _rows(table: pd.DataFrame, variables: Table) -> Any:
    return evidence_table(table, tuple(table.columns), variables, "")


def _facts(model: LabelModel) -> list[tuple[str, str]]:
    labels, counts = np.unique(model.learnt.labels, return_counts=True)
    each = ", ".join(f"{count:,} {name}" for name, count in zip(labels, counts, strict=True))
    return [
        ("Labels", each),
        ("Sessions", ", ".join(model.session_names)),
        ("Learnt by", {"trees": "boosted trees", "logistic": "a weighted sum"}[model.method]),
        ("Accuracy asked for", f"{model.accuracy:g}"),
        ("Source and licence", model.note or "not given"),
        ("Labels of others", model.prior or "none"),
        ("Columns", ", ".join(model.columns)),
    ]


def _charts(model: LabelModel, report: LabelReport) -> list[LineChart]:
    given: list[tuple[str, tuple[str, str], list[tuple[float, float, str]], dict[str, Any]]]
    there = report.reliability[report.reliability["num_units"] > 0]
    coverage = report.coverage.dropna()
    curve = report.learning_curve
    given = [
        (
            "Reliability",
            ("probability of the label", "share that is right"),
            _points(there["probability"], there["share_right"], there["num_units"], "units"),
            {"diagonal": True},
        ),
        (
            "Coverage against accuracy",
            ("share of the units that is decided", "share of these that is right"),
            _points(coverage["coverage"], coverage["accuracy_decided"], coverage["accuracy"]),
            {"level": model.accuracy, "from_zero": True},
        ),
        (
            "Learning curve",
            ("labelled units", "balanced accuracy"),
            _points(curve["num_labels"], curve["balanced_accuracy"]),
            {"from_zero": True},
        ),
    ]
    return [
        line_chart(title, labels, points, **how) for title, labels, points, how in given if points
    ]


def _points(
    x: pd.Series[Any], y: pd.Series[Any], more: pd.Series[Any] | None = None, of: str = "asked for"
) -> list[tuple[float, float, str]]:
    """Return places of points, and what is said of each."""
    out = []
    for row in range(len(x)):
        one, other = float(x.iloc[row]), float(y.iloc[row])
        text = f"{format_value(one)}, {format_value(other)}"
        if more is not None:
            extra = more.iloc[row]
            value = format_value(extra.item() if hasattr(extra, "item") else extra)
            text += f" ({value} {of})"
        out.append((one, other, text))
    return out
