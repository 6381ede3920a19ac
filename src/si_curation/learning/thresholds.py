"""`suggest_thresholds`: the few rules on metrics that come closest to the labels of curators."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from si_curation.checks import Checks, check_arguments
from si_curation.curation.label_rules import LabelRule, RuleSet
from si_curation.files import check_output_file, replace_file
from si_curation.learning.crossvalidation import calibrate_all, folds_of, leave_sessions_out
from si_curation.learning.inputs import Sessions, check_table
from si_curation.learning.metric_params import MetricParams
from si_curation.learning.model import gather
from si_curation.learning.steps import (
    FEW_UNITS,
    label_probabilities,
    make_questions,
)
from si_curation.shown import Shown, count_text
from si_curation.variables import SUGGESTED_THRESHOLDS

_NUM_STEPS = 64
# a rule that brings less is not worth a reader's time
_MIN_GAIN = 0.005
# of a metric that is known of fewer units, rules leave too many undecided
_MIN_KNOWN = 0.9


@dataclass(frozen=True, eq=False, repr=False)
class ThresholdSuggestions(Shown):
    """Rules that come closest to the labels of curators. Made by `suggest_thresholds`.

    Attributes
    ----------
    rules : RuleSet
        For `label_units`, learnt from all sessions.
    table : pandas.DataFrame
        A row for each number of rules, with the columns

        - ``num_rules``, ``rule``: the rule that is added, in words;
        - ``balanced_accuracy``: of the units that it was learnt from;
        - ``balanced_accuracy_unseen``: of sessions that were left out;
        - ``price``: by how much that of a model of `learn_labels` is higher.
    model_balanced_accuracy : float
        Of such a model, of sessions that were left out.
    """

    rules: RuleSet
    table: pd.DataFrame
    model_balanced_accuracy: float

    def __repr__(self) -> str:
        rules = count_text(len(self.rules.rules), "rule")
        return f"ThresholdSuggestions: {rules}: {self.rules}"

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the rules as a JSON file that `label_units` reads.

        Raises
        ------
        OutputExistsError, ParameterError
            The file exists, or cannot be written there.
        """
        check_arguments(ThresholdSuggestions.save, locals())
        target = check_output_file(path, overwrite, kind="rules", suffixes=(".json",))
        content = {
            "name": self.rules.name,
            "source": self.rules.source,
            "otherwise": self.rules.otherwise,
            "rules": [asdict(rule) for rule in self.rules.rules],
        }
        replace_file(
            target, (json.dumps(content, indent=1) + "\n").encode("ascii"), make_folders=True
        )
        return target


class _Cut(NamedTuple):
    """A rule in numbers: units whose value is above (or up to) a threshold get a label."""

    column: int
    above: bool
    threshold: float
    label: int


def suggest_thresholds(
    sessions: Any,
    column: str = "group",
    *,
    max_rules: int = 4,
    columns: Sequence[str] | None = None,
    session_column: str = "session",
    metric_params: MetricParams | None = None,
) -> ThresholdSuggestions:
    """Suggest the few rules on metrics that come closest to the labels of curators.

    Rules can be read, and cost accuracy: the table says how much against a model of `learn_labels`.

    Parameters
    ----------
    sessions, column, columns, session_column, metric_params
        As of `learn_labels`.
    max_rules : int
        At most so many thresholds, up to 8.

    Returns
    -------
    ThresholdSuggestions

    Raises
    ------
    ParameterError, FolderNotFoundError, MissingDataError
        As of `learn_labels`.

    Notes
    -----
    Rules are added one after the other, each the one that raises the balanced accuracy most of
    what the rules before leave; thresholds are 64 quantiles, with three significant digits.
    Only metrics are used that are known of nine in ten units. A unit counts as wrong here where a
    rule's metric is NaN; `label_units` leaves it undecided, unless all rules that are left agree.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"snr": rng.uniform(1, 9, 300), "session": np.arange(300) % 3})
    >>> table["group"] = np.where(table["snr"] > 5, "good", "mua")
    >>> found = suggest_thresholds(table)
    >>> len(found.rules.rules), found.rules.rules[0].metric
    (1, 'snr')
    """
    checks = Checks.of_call(suggest_thresholds, locals())
    checks.whole_number("max_rules", max_rules, at_least=1, at_most=8)
    if isinstance(sessions, pd.DataFrame):
        named = {"column": column, "session_column": session_column}
        check_table(checks, sessions, named, metric_params)
    checks.finish()
    given = gather(sessions, column, columns, session_column, metric_params)
    names = np.unique(given.labels)
    values, truth = given.values, np.searchsorted(names, given.labels)
    start, cuts = _search(values, truth, len(names), max_rules)
    unseen = _unseen(values, truth, given.session, (len(names), max_rules))
    model = _of_model(given, names)
    texts = [_rule(cut, given, names) for cut in cuts]
    rows = []
    for number in range(len(cuts) + 1):
        said = _apply(values, start, cuts[:number])
        found = _balanced(unseen[number], truth)
        text = str(texts[number - 1]) if number else f"otherwise -> {names[start]}"
        text += f" -> {texts[number - 1].label}" if number else ""
        rows.append((number, text, _balanced(said, truth), found, model - found))
    rules = RuleSet(
        tuple(texts),
        str(names[start]),
        "suggested_thresholds",
        f"suggested from {len(truth)} labelled units of {len(given.names)} sessions; balanced "
        f"accuracy of sessions left out {rows[-1][3]:.3f}, of a model {model:.3f}",
    )
    return ThresholdSuggestions(
        rules, pd.DataFrame(rows, columns=list(SUGGESTED_THRESHOLDS)), model
    )


def _rule(cut: _Cut, given: Sessions, names: NDArray[np.str_]) -> LabelRule:
    comparison = ">" if cut.above else "<="
    metric = str(given.table.columns[cut.column])
    return LabelRule(metric, comparison, cut.threshold, str(names[cut.label]))


def _balanced(said: NDArray[np.integer], truth: NDArray[np.integer]) -> float:
    return float(np.mean([np.mean(said[truth == one] == one) for one in np.unique(truth)]))


def _apply(values: NDArray[np.float64], start: int, cuts: Sequence[_Cut]) -> NDArray[np.int64]:
    """Return the label of each unit by the first rule that holds; -1 for undecided."""
    out = np.full(len(values), start)
    is_open = np.ones(len(values), dtype=bool)
    for cut in cuts:
        of = values[:, cut.column]
        holds = (of > cut.threshold) if cut.above else (of <= cut.threshold)
        out[is_open & holds] = cut.label
        out[is_open & np.isnan(of)] = -1
        is_open &= ~holds & ~np.isnan(of)
    return out


def _search(
    values: NDArray[np.float64], truth: NDArray[np.integer], num_labels: int, max_rules: int
) -> tuple[int, list[_Cut]]:
    """Return the label of units for which no rule holds, and the rules."""
    weights = 1 / np.maximum(np.bincount(truth, minlength=num_labels), 1) / num_labels
    best: tuple[float, int, list[_Cut]] = (-1.0, 0, [])
    for start in range(num_labels):
        cuts: list[_Cut] = []
        reached = _balanced(_apply(values, start, cuts), truth)
        for _ in range(max_rules):
            gain, cut = _best_cut(values, truth, weights, (start, cuts))
            if cut is None or gain < _MIN_GAIN:
                break
            cuts.append(cut)
            reached += gain
        if reached > best[0] + 1e-12:
            best = (reached, start, cuts)
    return best[1], best[2]


def _best_cut(
    values: NDArray[np.float64],
    truth: NDArray[np.integer],
    weights: NDArray[np.float64],
    so_far: tuple[int, list[_Cut]],
) -> tuple[float, _Cut | None]:
    """Return the rule that raises the balanced accuracy most, and by how much."""
    start, cuts = so_far
    is_open = np.ones(len(values), dtype=bool)
    for cut in cuts:
        of = values[:, cut.column]
        is_open &= ~((of > cut.threshold) if cut.above else (of <= cut.threshold)) & ~np.isnan(of)
    worth = np.zeros((len(truth), len(weights)))
    worth[np.arange(len(truth)), truth] = weights[truth]
    # what a unit brings when it changes from the label of the start to another
    change = (worth - worth[:, [start]]) * is_open[:, np.newaxis]
    best: tuple[float, _Cut | None] = (0.0, None)
    for column, of in enumerate(values.T):
        known = ~np.isnan(of)
        if known.mean() < _MIN_KNOWN or not (is_open & known).any():
            continue
        lost = float(worth[is_open & ~known, start].sum())
        at = np.quantile(of[is_open & known], np.linspace(0, 1, _NUM_STEPS + 1)[1:-1])
        steps = np.unique([float(f"{one:.3g}") for one in at])
        order = np.argsort(of[known], kind="stable")
        below = np.searchsorted(of[known][order], steps, side="right")
        total = np.vstack([np.zeros(len(weights)), np.cumsum(change[known][order], axis=0)])
        for above in (False, True):
            gains = (total[-1] - total[below]) if above else total[below]
            place, label = np.unravel_index(np.argmax(gains), gains.shape)
            gain = float(gains[place, label]) - lost
            if gain > best[0] + 1e-12 and label != start:
                best = (gain, _Cut(column, above, float(steps[place]), int(label)))
    return best


def _unseen(
    values: NDArray[np.float64],
    truth: NDArray[np.integer],
    session: NDArray[np.int64],
    sizes: tuple[int, int],
) -> list[NDArray[np.int64]]:
    """Return the labels with 0, 1, ... rules of each session, by rules of the others."""
    num_labels, max_rules = sizes
    fold = folds_of(session)
    out = [np.zeros(len(truth), dtype=np.int64) for _ in range(max_rules + 1)]
    for number in range(fold.max() + 1):
        train, test = fold != number, fold == number
        start, cuts = _search(values[train], truth[train], num_labels, max_rules)
        for count, labels in enumerate(out):
            labels[test] = _apply(values[test], start, cuts[:count])
    return out


def _of_model(given: Sessions, names: NDArray[np.str_]) -> float:
    """Return the balanced accuracy of a model of `learn_labels`, of sessions left out."""
    method = "trees" if len(given.labels) >= FEW_UNITS else "logistic"
    questions = make_questions(names.tolist())
    found = leave_sessions_out(given.values, given.labels, given.session, questions, method)
    calibrations = calibrate_all(found.log_odds, given.labels, questions)
    chances = label_probabilities(found.log_odds, questions, calibrations, names.tolist())
    return _balanced(chances.argmax(axis=1), np.searchsorted(names, given.labels))
