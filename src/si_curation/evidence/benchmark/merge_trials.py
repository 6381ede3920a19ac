"""`suggest_merges` tried on units that were cut in two, and on neighbours that were mixed."""

from __future__ import annotations

import numpy as np

from si_curation.evidence.benchmark.copies import ChangedCopy, cut_units, mix_units
from si_curation.evidence.benchmark.parts import WAYS
from si_curation.evidence.benchmark.setting import LEAST_SCORE, Setting, Trials
from si_curation.evidence.merges import DEFAULT_SCORE_THRESHOLD, scores_of_merges
from si_curation.evidence.unit_spikes import UnitSpikes

# how sorters give spikes of a neuron to the unit of its neighbour: when it moves, or by their size
MIXED_WAYS = ("in time", "by amplitude")


def try_merges(setting: Setting) -> Trials:
    """Cut every good unit in each of the ways, and look which pairs are suggested.

    Suggested pairs of parts of one unit are right. Those of parts of two units are wrong where the
    coincidences of all spikes of the two refute that they are one neuron; else nobody knows.
    Parts have few spikes, or never fire together, so that the same evidence is missing as of the
    small units of a sorter.
    """
    trials = Trials()
    names = list(WAYS)
    for turn in range(len(names)):
        rng = np.random.default_rng([setting.seed, turn])
        ways = [names[(turn + i) % len(names)] for i in range(setting.good.size)]
        copy = cut_units(setting.analyzer, setting.good, ways, rng)
        trials.missing |= copy.missing
        trials.made.update(copy.changes.values())
        if copy.changes:
            _judge_pairs(copy, setting, trials)
        del copy  # the next one takes its place in memory
    _try_mixed(setting, trials)
    return trials


def _try_mixed(setting: Setting, trials: Trials) -> None:
    """Try units that got a part of their most similar neighbour: to merge the two is wrong."""
    pairs = setting.pairs_of_neighbours()
    for turn, way in enumerate(MIXED_WAYS):
        rng = np.random.default_rng([setting.seed, len(WAYS) + turn])
        turned = [pair if turn % 2 else pair[::-1] for pair in pairs]
        copy = mix_units(setting.analyzer, turned, [way] * len(pairs), rng)
        if copy.changes:
            _judge_pairs(copy, setting, trials)
        del copy


def _judge_pairs(copy: ChangedCopy, setting: Setting, trials: Trials) -> None:
    spikes = UnitSpikes(copy.analyzer, setting.spikes)
    table = scores_of_merges(spikes, list(copy.origins), LEAST_SCORE)
    for a, b, score in table.itertuples(index=False):
        about = frozenset((copy.origins.get(a, a), copy.origins.get(b, b)))
        is_right, is_suggested = len(about) == 1, score >= DEFAULT_SCORE_THRESHOLD
        if not is_right and not setting.are_two_neurons(about):
            trials.num_unknown += int(is_suggested)
            continue
        change = copy.changes[next(iter(about))] if is_right else ""
        trials.add(change, score, is_suggested, is_right, about)
