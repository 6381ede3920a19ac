"""The methods that are tried, each on changes whose right answer is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.errors import MissingDataError
from si_curation.evidence.benchmark.copies import ChangedCopy, cut_units, mix_units
from si_curation.evidence.benchmark.parts import WAYS
from si_curation.evidence.merges import DEFAULT_SCORE_THRESHOLD, suggest_merges
from si_curation.extensions.unit_similarity import get_unit_similarity

#: Suggestions with a lower score are not kept. Parts of one unit seldom have one, but those of real
#: splits do: low scores are more often right than such a benchmark can tell.
LEAST_SCORE = 0.3
# how sorters give spikes of a neuron to the unit of its neighbour: when it moves, or by their size
MIXED_WAYS = ("in time", "by amplitude")
# of neighbours that a sorter confuses
MIN_SIMILARITY = 0.5
# two units are two neurons where the coincidences of all their spikes leave no more to one neuron
MOST_PROBABLE_ONE_NEURON = 0.05


class Setting(NamedTuple):
    """What the methods are tried on.

    Attributes
    ----------
    analyzer : SortingAnalyzer
        A copy in memory of the good units and their most similar ones.
    good : array (n,) integer
        Indices of the good units in it.
    seed : int
    """

    analyzer: SortingAnalyzer
    good: NDArray[np.int64]
    seed: int


@dataclass
class Trials:
    """What a method answered.

    Attributes
    ----------
    outcomes : list of dict
        Suggestions of which it is known whether they are right: ``change``, ``score``,
        ``is_suggested``, ``is_right``; ``about``: the units that they are about, which tells the
        suggestions that are not independent.
    made, found : Counter
        {change: how often it was made}, and how often it was found.
    num_unknown : int
        Suggestions of which it is not known whether they are right.
    missing : dict
        {change: why it could not be made}.
    """

    outcomes: list[dict[str, Any]] = field(default_factory=list)
    made: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    num_unknown: int = 0
    missing: dict[str, str] = field(default_factory=dict)


class Method(NamedTuple):
    """A way to suggest something.

    Attributes
    ----------
    changes : tuple of str
        Names of the changes that it is tried on.
    run : callable
        Tries it.
    """

    changes: tuple[str, ...]
    run: Callable[[Setting], Trials]


def try_merges(setting: Setting) -> Trials:
    """Cut every good unit in each of the ways, and look which pairs are suggested.

    Suggested pairs of parts of one unit are right. Those of parts of two units are wrong where the
    coincidences of all spikes of the two refute that they are one neuron; else nobody knows.
    Parts have few spikes, or never fire together, so that the same evidence is missing as of the
    small units of a sorter.
    """
    trials = Trials()
    before = suggest_merges(setting.analyzer).table
    one_neuron = {
        frozenset(pair): probability
        for *pair, probability in before[
            ["unit_id_a", "unit_id_b", "one_neuron_probability"]
        ].itertuples(index=False)
    }
    names = list(WAYS)
    for turn in range(len(names)):
        rng = np.random.default_rng([setting.seed, turn])
        ways = [names[(turn + i) % len(names)] for i in range(setting.good.size)]
        copy = cut_units(setting.analyzer, setting.good, ways, rng)
        trials.missing |= copy.missing
        trials.made.update(copy.changes.values())
        if copy.changes:
            _judge_pairs(suggest_merges(copy.analyzer).table, copy, one_neuron, trials)
    _try_mixed(setting, one_neuron, trials)
    return trials


def _try_mixed(setting: Setting, one_neuron: Mapping[Any, float], trials: Trials) -> None:
    """Give each unit a part of its most similar neighbour: to merge the two is wrong."""
    pairs = pairs_of_neighbours(setting)
    for turn, way in enumerate(MIXED_WAYS):
        rng = np.random.default_rng([setting.seed, len(WAYS) + turn])
        turned = [pair if turn % 2 else pair[::-1] for pair in pairs]
        copy = mix_units(setting.analyzer, turned, [way] * len(pairs), rng)
        if copy.changes:
            _judge_pairs(suggest_merges(copy.analyzer).table, copy, one_neuron, trials)


def pairs_of_neighbours(setting: Setting) -> list[tuple[int, int]]:
    """Return pairs of good units, the most similar first; no unit is in two."""
    similarity = get_unit_similarity(setting.analyzer)[np.ix_(setting.good, setting.good)]
    similarity = np.fmax(similarity, similarity.T)
    rows, columns = np.triu_indices(setting.good.size, 1)
    values = np.nan_to_num(similarity[rows, columns], nan=-1.0)
    used: set[int] = set()
    pairs = []
    for k in np.argsort(-values, kind="stable"):
        a, b = int(setting.good[rows[k]]), int(setting.good[columns[k]])
        if values[k] < MIN_SIMILARITY:
            break
        if not used & {a, b}:
            pairs.append((a, b))
            used |= {a, b}
    return pairs


def _judge_pairs(
    table: pd.DataFrame, copy: ChangedCopy, one_neuron: Mapping[Any, float], trials: Trials
) -> None:
    columns = table[["unit_id_a", "unit_id_b", "score"]]
    for a, b, score in columns.itertuples(index=False):
        if (a not in copy.origins and b not in copy.origins) or score < LEAST_SCORE:
            continue
        about = frozenset((copy.origins.get(a, a), copy.origins.get(b, b)))
        is_right, is_suggested = len(about) == 1, score >= DEFAULT_SCORE_THRESHOLD
        if not is_right and one_neuron.get(about, 0.0) > MOST_PROBABLE_ONE_NEURON:
            trials.num_unknown += int(is_suggested)
            continue
        change = copy.changes[next(iter(about))] if is_right else ""
        if is_right and is_suggested:
            trials.found[change] += 1
        trials.outcomes.append(
            {
                "change": change,
                "score": float(score),
                "is_suggested": bool(is_suggested),
                "is_right": is_right,
                "about": about,
            }
        )


#: The methods by what they suggest.
METHODS: dict[str, Method] = {"merges": Method(tuple(WAYS), try_merges)}


def run_method(name: str, setting: Setting) -> Trials:
    """Try a method; where what it needs is not there, say so."""
    method = METHODS[name]
    try:
        return method.run(setting)
    except MissingDataError as fault:
        return Trials(missing=dict.fromkeys(method.changes, str(fault)))
