"""What methods are tried on, and what they answered."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import plain_id
from si_curation.evidence.merges import one_neuron_probabilities
from si_curation.evidence.unit_spikes import UnitSpikes
from si_curation.extensions.unit_similarity import get_unit_similarity
from si_curation.variables import UnitIndices

#: Suggestions with a lower score are not kept. Parts of one unit seldom have one, but those of real
#: splits do: low scores are more often right than such a benchmark can tell.
LEAST_SCORE = 0.3
# of neighbours that a sorter confuses
MIN_SIMILARITY = 0.5
# two units are two neurons where the coincidences of all their spikes leave no more to one neuron
MOST_PROBABLE_ONE_NEURON = 0.05


@dataclass(frozen=True)
class Setting:
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
    good: UnitIndices
    seed: int

    @cached_property
    def spikes(self) -> UnitSpikes:
        """Of the units of `analyzer`."""
        return UnitSpikes(self.analyzer)

    @cached_property
    def _one_neuron(self) -> dict[frozenset[Any], float]:
        return one_neuron_probabilities(self.spikes, self.analyzer.unit_ids[self.good])

    def are_two_neurons(self, unit_ids: frozenset[Any]) -> bool:
        """Return whether all spikes of two units refute that they are one neuron.

        Units that are no candidates for a merge are two.
        """
        return self._one_neuron.get(unit_ids, 0.0) <= MOST_PROBABLE_ONE_NEURON

    def pairs_of_neighbours(self) -> list[tuple[int, int]]:
        """Return pairs of good units that are two, the most similar first; no unit is in two."""
        similarity = get_unit_similarity(self.analyzer)[np.ix_(self.good, self.good)]
        similarity = np.fmax(similarity, similarity.T)
        rows, columns = np.triu_indices(self.good.size, 1)
        values = np.nan_to_num(similarity[rows, columns], nan=-1.0)
        used: set[int] = set()
        pairs = []
        for k in np.argsort(-values, kind="stable"):
            a, b = int(self.good[rows[k]]), int(self.good[columns[k]])
            if values[k] < MIN_SIMILARITY:
                break
            ids = frozenset(plain_id(self.analyzer.unit_ids[i]) for i in (a, b))
            if not used & {a, b} and self.are_two_neurons(ids):
                pairs.append((a, b))
                used |= {a, b}
        return pairs


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

    def add(self, change: str, score: float, is_suggested: Any, is_right: Any, about: Any) -> None:
        """Add a suggestion of which it is known whether it is right.

        `change` is the one that it undoes, if it is right.
        """
        self.outcomes.append(
            {
                "change": change if is_right else "",
                "score": float(score),
                "is_suggested": bool(is_suggested),
                "is_right": bool(is_right),
                "about": about,
            }
        )
        if is_right and is_suggested:
            self.found[change] += 1
