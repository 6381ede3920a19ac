"""`LabelReport`: how right the labels of a model are, of sessions that it had not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from si_curation.learning.crossvalidation import Learnt
from si_curation.learning.steps import Question
from si_curation.shown import Shown, count_text
from si_curation.variables import (
    LEARNT_COVERAGE,
    LEARNT_CURVE,
    LEARNT_DISAGREEMENTS,
    LEARNT_RELIABILITY,
    LEARNT_SESSIONS,
    LEARNT_SUMMARY,
)

_NUM_DRAWS = 1000
_ACCURACIES = (0.8, 0.85, 0.9, 0.95, 0.975, 0.99)
_BORDERS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
#: So many more labels are told of.
NUM_MORE = 20


class Unseen(NamedTuple):
    """What models said of sessions that they had not seen; names are those of `LabelModel`."""

    labels: tuple[str, ...]
    session_names: tuple[str, ...]
    questions: tuple[Question, ...]
    learnt: Learnt
    chances: NDArray[np.float64]
    thresholds: Callable[[float], dict[str, float]]
    accuracy: float
    most_strange: int
    learning_curve: NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class LabelReport(Shown):
    """How right a model is, each session labelled by a model of the others. `print` shows it.

    Attributes
    ----------
    summary : pandas.DataFrame
        Accuracy, balanced accuracy, area under the ROC curve of each question, share of the units
        that are decided and accuracy of these; with 95 % intervals over sessions (bootstrap).
    sessions : pandas.DataFrame
        The same for each session, the worst first.
    reliability : pandas.DataFrame
        What share is right of the labels of each range of probabilities.
    coverage : pandas.DataFrame
        What share of the units is decided where so many labels are to be right.
    disagreements : pandas.DataFrame
        Units whose likeliest label is not the curator's, the surest first. Mistakes of curators
        are among them.
    learning_curve : pandas.DataFrame
        Balanced accuracy with fewer labels.
    gain_of_more : float
        By how much 20 more labels would raise it, by the slope of the curve; NaN where there is
        none.
    """

    _table_shown = "summary"

    summary: pd.DataFrame
    sessions: pd.DataFrame
    reliability: pd.DataFrame
    coverage: pd.DataFrame
    disagreements: pd.DataFrame
    learning_curve: pd.DataFrame
    gain_of_more: float

    def __repr__(self) -> str:
        sessions = count_text(len(self.sessions), "session")
        return f"LabelReport: {sessions}, {count_text(len(self.disagreements), 'disagreement')}"

    def __str__(self) -> str:
        parts = []
        titles = {
            "summary": "Sessions that were left out",
            "sessions": "Each session, the worst first",
            "coverage": "Units that are decided, by the accuracy that is asked for",
            "reliability": "What share of the labels is right, by their probability",
            "learning_curve": "With fewer labels",
        }
        for name, title in titles.items():
            table = getattr(self, name)
            shown = table.to_string(index=False, float_format="{:.3f}".format, na_rep="-")
            parts.append(f"{title}\n{shown}")
        if not np.isnan(self.gain_of_more):
            parts.append(
                f"{NUM_MORE} more labels would raise the balanced accuracy by about "
                f"{100 * self.gain_of_more:.2f} percent points"
            )
        count = len(self.disagreements)
        first = self.disagreements.head(10)
        if count:
            shown = first.to_string(index=False, float_format="{:.3f}".format)
            parts.append(f"{count} units are not as the curator has them; the surest\n{shown}")
        return "\n\n".join(parts)


def make_report(model: Unseen) -> LabelReport:
    """Return the report of a model."""
    learnt, chances = model.learnt, model.chances
    names = np.array(model.labels)
    said, surest = names[chances.argmax(axis=1)], chances.max(axis=1)
    right = said == learnt.labels
    outside = learnt.left_out.strange > model.most_strange
    limits = np.array(list(model.thresholds(model.accuracy).values()))
    decided = (surest >= limits[chances.argmax(axis=1)]) & ~outside
    sessions = _sessions(model, right, decided)
    curve = pd.DataFrame(
        {"num_labels": model.learning_curve[:, 0].astype(np.int64)}
        | {"balanced_accuracy": model.learning_curve[:, 1]},
        columns=list(LEARNT_CURVE),
    )
    wrong = np.flatnonzero(~right)
    wrong = wrong[np.argsort(-surest[wrong], kind="stable")]
    disagreements = pd.DataFrame(
        {
            "session": [model.session_names[one] for one in learnt.session[wrong]],
            "unit_id": pd.Series([learnt.unit_ids[row] for row in wrong], dtype=object),
            "curator": learnt.labels[wrong],
            "likeliest": said[wrong],
            "probability": surest[wrong],
            "decided": decided[wrong],
        },
        columns=list(LEARNT_DISAGREEMENTS),
    )
    return LabelReport(
        _summary(model, right, decided),
        sessions,
        _reliability(surest, right),
        _coverage(model, chances, right),
        disagreements,
        curve,
        _gain(model.learning_curve),
    )


def _sessions(model: Unseen, right: NDArray[np.bool_], decided: NDArray[np.bool_]) -> pd.DataFrame:
    rows = []
    for number in np.unique(model.learnt.session):
        of = model.learnt.session == number
        labels = model.learnt.labels[of]
        recall = [right[of][labels == name].mean() for name in np.unique(labels)]
        sure = right[of & decided]
        rows.append(
            (
                model.session_names[number],
                int(of.sum()),
                right[of].mean(),
                float(np.mean(recall)),
                decided[of].mean(),
                sure.mean() if len(sure) else np.nan,
            )
        )
    table = pd.DataFrame(rows, columns=list(LEARNT_SESSIONS))
    return table.sort_values("balanced_accuracy", kind="stable", ignore_index=True)


def _summary(model: Unseen, right: NDArray[np.bool_], decided: NDArray[np.bool_]) -> pd.DataFrame:
    """Return the measures with intervals over sessions, which are drawn with replacement."""
    learnt = model.learnt
    names = ["accuracy", "balanced_accuracy"]
    names += [f"auc: {one.yes} or {', '.join(one.no)}" for one in model.questions]
    names += ["coverage", "accuracy_decided"]

    def measure(rows: NDArray[np.int64]) -> list[float]:
        labels = learnt.labels[rows]
        recall = [right[rows][labels == name].mean() for name in np.unique(labels)]
        areas = []
        for number, question in enumerate(model.questions):
            of = np.isin(labels, [question.yes, *question.no])
            odds = learnt.left_out.log_odds[rows[of], number]
            areas.append(area_under_roc(odds, labels[of] == question.yes))
        sure = right[rows][decided[rows]]
        share = float(sure.mean()) if len(sure) else np.nan
        whole = [float(right[rows].mean()), float(np.mean(recall))]
        return [*whole, *areas, float(decided[rows].mean()), share]

    value = measure(np.arange(len(right)))
    units = [np.flatnonzero(learnt.session == one) for one in np.unique(learnt.session)]
    rng = np.random.default_rng(0)
    draws = [
        measure(np.concatenate([units[one] for one in rng.integers(len(units), size=len(units))]))
        for _ in range(_NUM_DRAWS if len(right) <= 2000 else _NUM_DRAWS // 4)
    ]
    known = [np.array(column)[~np.isnan(column)] for column in zip(*draws, strict=True)]
    low, high = (
        [float(np.quantile(of, share)) if len(of) else np.nan for of in known]
        for share in (0.025, 0.975)
    )
    rows = list(zip(names, value, low, high, strict=True))
    return pd.DataFrame(rows, columns=list(LEARNT_SUMMARY))


def area_under_roc(score: NDArray[np.float64], is_yes: NDArray[np.bool_]) -> float:
    """Return the chance that a "yes" scores higher than a "no"; ties count half. NaN without one.

    Examples
    --------
    >>> area_under_roc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    num_yes, num_no = int(is_yes.sum()), int((~is_yes).sum())
    if not num_yes or not num_no:
        return np.nan
    ranks = rankdata(score)
    return float((ranks[is_yes].sum() - num_yes * (num_yes + 1) / 2) / (num_yes * num_no))


def _reliability(surest: NDArray[np.float64], right: NDArray[np.bool_]) -> pd.DataFrame:
    rows = []
    for low, high in pairwise(_BORDERS):
        of = (surest >= low) & ((surest < high) | (high == 1))
        means = (surest[of].mean(), right[of].mean()) if of.any() else (np.nan, np.nan)
        rows.append((low, high, int(of.sum()), *means))
    return pd.DataFrame(rows, columns=list(LEARNT_RELIABILITY))


def _coverage(
    model: Unseen, chances: NDArray[np.float64], right: NDArray[np.bool_]
) -> pd.DataFrame:
    rows = []
    said, surest = chances.argmax(axis=1), chances.max(axis=1)
    for accuracy in _ACCURACIES:
        limits = np.array(list(model.thresholds(accuracy).values()))
        of = surest >= limits[said]
        rows.append((accuracy, of.mean(), right[of].mean() if of.any() else np.nan))
    return pd.DataFrame(rows, columns=list(LEARNT_COVERAGE))


def _gain(curve: NDArray[np.float64]) -> float:
    """Return what some more labels add, by the slope over the logarithm of their number."""
    if len(curve) < 2:
        return np.nan
    logarithm = np.log2(curve[:, 0])
    centred = logarithm - logarithm.mean()
    slope = float((centred * curve[:, 1]).sum() / (centred**2).sum())
    return slope * float(np.log2((curve[-1, 0] + NUM_MORE) / curve[-1, 0]))
