"""The steps in which labels are told apart: each is one question with two answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.trees import Trees, contributions
from si_curation.learning.scales import Scales, measure_scales, scaled
from si_curation.learning.training import fit_trees, fit_weights

#: With fewer labelled units the log odds are a weighted sum of the columns.
FEW_UNITS = 100
#: Fewer units of a label are not learnt from.
MIN_UNITS = 5
_PENALTY = 5.0
_WHEN_NOTHING_IS_KNOWN = 1e-3


class Question(NamedTuple):
    """One step: whether a unit is of the label `yes`, or one of `no`."""

    yes: str
    no: tuple[str, ...]


class Answer(NamedTuple):
    """What was learnt of a question.

    Attributes
    ----------
    method : {"trees", "logistic", "constant"}
    trees : Trees or None
    weights : array (n_columns + 1,) float64
        Of the scaled columns, and the constant; of "logistic" and "constant".
    scales : Scales
    """

    method: str
    trees: Trees | None
    weights: NDArray[np.float64]
    scales: Scales


def make_questions(labels: Sequence[str]) -> list[Question]:
    """Return the questions for a set of labels.

    Two labels are one question. Noise and two others are two: noise or neural, then one of the
    others. For any other set each label is set against all others.

    Examples
    --------
    >>> [question.yes for question in make_questions(["good", "mua", "noise"])]
    ['noise', 'good']
    >>> len(make_questions(["a", "b", "c"]))
    3
    """
    names = sorted(set(labels))
    if len(names) == 2:
        return [Question(names[0], (names[1],))]
    if len(names) == 3 and "noise" in names:
        others = [name for name in names if name != "noise"]
        return [Question("noise", tuple(others)), Question(others[0], (others[1],))]
    return [Question(name, tuple(one for one in names if one != name)) for name in names]


def is_chain(questions: Sequence[Question]) -> bool:
    """Return whether each question is asked of the units that the one before leaves."""
    return len(questions) < 3


def learn(
    values: NDArray[np.float64],
    labels: NDArray[np.str_],
    question: Question,
    method: str,
) -> Answer:
    """Learn the answer to a question from labelled units.

    Parameters
    ----------
    values : array (n_units, n_columns) float64
    labels : array (n_units,) str
        Units with other labels than those of the question are left out.
    question : Question
    method : {"trees", "logistic"}

    Returns
    -------
    Answer
        "constant" where there are fewer than `MIN_UNITS` of one side.
    """
    rows = np.isin(labels, [question.yes, *question.no])
    values, is_yes = values[rows], labels[rows] == question.yes
    scales = measure_scales(values)
    count = min(int(is_yes.sum()), int((~is_yes).sum()))
    if count < MIN_UNITS:
        share = (is_yes.sum() + 1) / (len(is_yes) + 2)
        weights = np.zeros(values.shape[1] + 1)
        weights[-1] = np.log(share / (1 - share))
        return Answer("constant", None, weights, scales)
    if method == "logistic":
        found = fit_weights(scaled(scales, values), is_yes, _PENALTY)
        return Answer("logistic", None, found, scales)
    return Answer("trees", fit_trees(values, is_yes), np.zeros(0), scales)


def ask(
    answer: Answer, values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the log odds of "yes" for each unit, and what each column adds to them."""
    if answer.method == "trees" and answer.trees is not None:
        return contributions(answer.trees, values)
    parts = scaled(answer.scales, values) * answer.weights[:-1]
    total = np.full(len(values), answer.weights[-1])
    for part in parts.T:  # in order, so that the sum is the same everywhere
        total = total + part
    return total, parts


def calibrate(log_odds: NDArray[np.float64], is_yes: NDArray[np.bool_]) -> tuple[float, float]:
    """Fit slope and constant that make probabilities of log odds (Platt, 1999).

    The slope is not below 0: log odds that mislead say nothing.
    """
    share = (is_yes.sum() + 1) / (len(is_yes) + 2)
    constant = float(np.log(share / (1 - share)))
    if min(is_yes.sum(), (~is_yes).sum()) < MIN_UNITS:
        return 0.0, constant
    found = fit_weights(log_odds[:, np.newaxis], is_yes, _WHEN_NOTHING_IS_KNOWN)
    return (float(found[0]), float(found[1])) if found[0] > 0 else (0.0, constant)


def label_probabilities(
    log_odds: NDArray[np.float64],
    questions: Sequence[Question],
    calibrations: NDArray[np.float64],
    labels: Sequence[str],
) -> NDArray[np.float64]:
    """Return the probability of each label, (n_units, n_labels); rows sum up to 1.

    Parameters
    ----------
    log_odds : array (n_units, n_questions) float64
    questions : sequence of Question
    calibrations : array (n_questions, 2) float64
        Slope and constant of each.
    labels : sequence of str
        In the order of the columns that are returned.
    """
    with np.errstate(over="ignore"):
        yes = 1 / (1 + np.exp(-(log_odds * calibrations[:, 0] + calibrations[:, 1])))
    out = np.zeros((len(log_odds), len(labels)))
    place = {label: at for at, label in enumerate(labels)}
    if is_chain(questions):
        rest = np.ones(len(log_odds))
        for number, question in enumerate(questions):
            out[:, place[question.yes]] = rest * yes[:, number]
            rest = rest * (1 - yes[:, number])
        out[:, place[questions[-1].no[0]]] = rest
        return out
    for number, question in enumerate(questions):
        out[:, place[question.yes]] = np.maximum(yes[:, number], 1e-12)
    return out / out.sum(axis=1, keepdims=True)


def path_to(label: str, questions: Sequence[Question]) -> list[tuple[int, float]]:
    """Return the questions that lead to a label: number, and 1 for "yes" or -1 for "no"."""
    path = []
    for number, question in enumerate(questions):
        if question.yes == label:
            path.append((number, 1.0))
        elif label in question.no and is_chain(questions):
            path.append((number, -1.0))
    return path
