"""What a model says of sessions that it has not seen: leaving sessions out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.learning.scales import measure_scales, strange_values
from si_curation.learning.steps import Answer, Question, ask, calibrate, learn
from si_curation.learning.training import train_each

#: With more sessions several are left out at a time.
MAX_FOLDS = 10
_MIN_STRANGE = 3
_SHARE_STRANGE = 0.995
#: Fewer units of a label do not show how often it is right.
MIN_DECIDED = 10


class LeftOut(NamedTuple):
    """What was said of each unit by a model that had not seen its session.

    Attributes
    ----------
    log_odds : array (n_units, n_questions) float64
    strange : array (n_units,) int64
        Number of columns in which a unit is outside of what the model saw.
    """

    log_odds: NDArray[np.float64]
    strange: NDArray[np.int64]


class Learnt(NamedTuple):
    """The labelled units that a model is from, and what it said of them unseen.

    Attributes
    ----------
    labels : array (n_units,) str
        Of the curator.
    session : array (n_units,) int64
    unit_ids : list
    left_out : LeftOut
        Of models that had not seen the session of the unit.
    """

    labels: NDArray[np.str_]
    session: NDArray[np.int64]
    unit_ids: list[Any]
    left_out: LeftOut


class Prior(NamedTuple):
    """Labelled units of others, which models learn from beside those of the sessions.

    Attributes
    ----------
    name : str
        Whose labels they are.
    values : array (n_units, n_columns) float64
    labels : array (n_units,) str
    """

    name: str
    values: NDArray[np.float64]
    labels: NDArray[np.str_]


def with_prior(
    values: NDArray[np.float64], labels: NDArray[np.str_], prior: Prior | None
) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Return what is learnt from: the units, and those of the prior after them."""
    if prior is None:
        return values, labels
    return np.vstack([values, prior.values]), np.concatenate([labels, prior.labels])


def folds_of(session: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the fold of each unit: whole sessions, in folds of about the same size.

    Examples
    --------
    >>> folds_of(np.array([0, 0, 1, 2, 2, 2])).tolist()
    [1, 1, 2, 0, 0, 0]
    """
    from sklearn.model_selection import GroupKFold

    folds = GroupKFold(min(MAX_FOLDS, len(np.unique(session))))
    out = np.zeros(len(session), dtype=np.int64)
    for number, (_, rows) in enumerate(folds.split(session, groups=session)):
        out[rows] = number
    return out


def leave_sessions_out(
    values: NDArray[np.float64],
    labels: NDArray[np.str_],
    session: NDArray[np.int64],
    questions: Sequence[Question],
    method: str,
    learnt_from: NDArray[np.bool_] | None = None,
    prior: Prior | None = None,
) -> LeftOut:
    """Ask of each session what a model of the others says.

    Parameters
    ----------
    values : array (n_units, n_columns) float64
    labels : array (n_units,) str
    session : array (n_units,) int64
    questions : sequence of Question
    method : {"trees", "logistic"}
    learnt_from : array (n_units,) bool, optional
        Units that models learn from; all by default.
    prior : Prior, optional
        Units that all models learn from.
    """
    fold = folds_of(session)
    usable = np.ones(len(labels), dtype=bool) if learnt_from is None else learnt_from
    log_odds = np.zeros((len(labels), len(questions)))
    strange = np.zeros(len(labels), dtype=np.int64)
    pairs = [(one, number) for one in range(fold.max() + 1) for number in range(len(questions))]

    def seen_by(number: int) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
        train = (fold != number) & usable
        return with_prior(values[train], labels[train], prior)

    def one_of(pair: tuple[int, int]) -> NDArray[np.float64]:
        number, question = pair[0], questions[pair[1]]
        answer = learn(*seen_by(number), question, method)
        return ask(answer, values[fold == number])[0]

    for (number, question), found in zip(pairs, train_each(one_of, pairs), strict=True):
        log_odds[fold == number, question] = found
    for number in range(fold.max() + 1):
        scales = measure_scales(seen_by(number)[0])
        strange[fold == number] = strange_values(scales, values[fold == number]).sum(axis=1)
    return LeftOut(log_odds, strange)


def most_strange(strange: NDArray[np.int64]) -> int:
    """Return in how many columns a unit of a session that was left out may be outside."""
    return max(_MIN_STRANGE, int(np.quantile(strange, _SHARE_STRANGE)))


def thresholds_for(
    chances: NDArray[np.float64], truth: NDArray[np.integer], accuracy: float
) -> NDArray[np.float64]:
    """Return the lowest probability at which each label is given; inf where it never is.

    Of all thresholds at which so large a share of the given labels is right, those that decide
    most units. A label of which the model is surer than it ought to be gets a higher threshold
    than others.

    Parameters
    ----------
    chances : array (n_units, n_labels) float64
    truth : array (n_units,) int
        Column of the right label.
    accuracy : float

    Examples
    --------
    >>> chances = np.repeat([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], 20, axis=0)
    >>> truth = np.repeat([0, 1, 1], 20)
    >>> thresholds_for(chances, truth, 0.95).tolist()
    [0.9, 0.8]
    """
    said, surest = chances.argmax(axis=1), chances.max(axis=1)
    ways = []
    for label in range(chances.shape[1]):
        rows = np.flatnonzero(said == label)
        rows = rows[np.argsort(-surest[rows], kind="stable")]
        # units of the same probability are decided together
        last = np.append(np.diff(surest[rows]) != 0, True)[: len(rows)]
        count = np.arange(1, len(rows) + 1)
        right = np.cumsum(truth[rows] == label)
        usable = last & (count >= MIN_DECIDED)
        ways.append(
            (
                np.append(0, count[usable]),
                np.append(0, right[usable]),
                np.append(np.inf, surest[rows][usable]),
            )
        )
    best, most = np.full(len(ways), np.inf), 0
    # Lagrange's multiplier of the accuracy, from none to nothing but right ones
    for multiplier in np.append(0, np.geomspace(0.1, 1e5, 121)):
        at = [np.argmax(n + multiplier * (right - accuracy * n)) for n, right, _ in ways]
        decided = sum(int(way[0][one]) for way, one in zip(ways, at, strict=True))
        num_right = sum(int(way[1][one]) for way, one in zip(ways, at, strict=True))
        if decided > most and num_right >= accuracy * decided:
            best = np.array([way[2][one] for way, one in zip(ways, at, strict=True)])
            most = decided
    return best


def learn_all(
    values: NDArray[np.float64],
    labels: NDArray[np.str_],
    questions: Sequence[Question],
    method: str,
) -> list[Answer]:
    """Learn the answer to each question from all units."""
    return train_each(lambda one: learn(values, labels, one, method), list(questions))


def calibrate_all(
    log_odds: NDArray[np.float64], labels: NDArray[np.str_], questions: Sequence[Question]
) -> NDArray[np.float64]:
    """Return slope and constant of each question, (n_questions, 2); see `calibrate`."""

    def one_of(number: int) -> tuple[float, float]:
        rows = np.isin(labels, [questions[number].yes, *questions[number].no])
        return calibrate(log_odds[rows, number], labels[rows] == questions[number].yes)

    return np.array(train_each(one_of, list(range(len(questions)))))
