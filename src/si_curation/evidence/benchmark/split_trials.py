"""`suggest_splits` tried on neighbours that were merged, and on parts of single neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.evidence.benchmark.copies import ChangedCopy, cut_units, merge_units, mix_units
from si_curation.evidence.benchmark.setting import LEAST_SCORE, Setting, Trials
from si_curation.evidence.splits import SplitSuggestions, suggest_splits
from si_curation.extensions.spikes_of_units import spikes_of_unit

MERGED, PART_MERGED = "neighbours merged", "a part of a neighbour merged"
#: A split is right where it separates the two neurons as well as this (balanced accuracy).
MIN_ACCURACY = 0.8
# parts of single neurons, which are not to be split
PURE_WAYS = ("in time", "at random")


def try_splits(setting: Setting) -> Trials:
    """Merge neighbours, and look whether they are split again; nothing else is to be split.

    A split of two merged units is right if it separates their spikes. A split of a part of a good
    unit is wrong, unless the whole unit is one to split too: then nobody knows.
    """
    trials = Trials()
    good_ids = setting.analyzer.unit_ids[setting.good].tolist()
    before = suggest_splits(setting.analyzer, unit_ids=good_ids)
    suspect = set(before.table.loc[before.table["score"] >= LEAST_SCORE, "unit_id"].tolist())
    pairs = setting.pairs_of_neighbours()
    rng = np.random.default_rng([setting.seed, 100])
    # nobody has a copy after it is judged, so that the next one takes its place in memory
    _judge_changed(setting.analyzer, merge_units(setting.analyzer, pairs), MERGED, trials)
    mixed = ["at random"] * len(pairs)
    _judge_changed(
        setting.analyzer, mix_units(setting.analyzer, pairs, mixed, rng), PART_MERGED, trials
    )
    ways = [PURE_WAYS[i % len(PURE_WAYS)] for i in range(setting.good.size)]
    _judge_pure(cut_units(setting.analyzer, setting.good, ways, rng), suspect, trials)
    return trials


def _judge_changed(before: SortingAnalyzer, copy: ChangedCopy, change: str, trials: Trials) -> None:
    """Judge the splits of units that have spikes of two."""
    if not copy.changes:
        return
    unit_before = np.asarray(spike_vector_of(before.sorting)["unit_index"])
    sources = {
        unit_id: unit_before[spikes_of_unit(copy.analyzer, unit_id)] for unit_id in copy.origins
    }
    mixed = {key: values for key, values in sources.items() if np.unique(values).size == 2}
    found = suggest_splits(copy.analyzer, unit_ids=list(mixed))
    trials.made.update({change: len(mixed)})
    for unit_id, score in found.table[["unit_id", "score"]].itertuples(index=False):
        if score < LEAST_SCORE:
            continue
        is_right = _accuracy(found, unit_id, mixed[unit_id]) >= MIN_ACCURACY
        is_suggested = bool(score >= found.score_threshold)
        trials.add(change, score, is_suggested, is_right, (change, unit_id))


def _judge_pure(copy: ChangedCopy, suspect: set[Any], trials: Trials) -> None:
    """Judge the splits of parts of single units."""
    if not copy.changes:
        return
    found = suggest_splits(copy.analyzer, unit_ids=list(copy.origins))
    for unit_id, score in found.table[["unit_id", "score"]].itertuples(index=False):
        is_suggested = bool(score >= found.score_threshold)
        if copy.origins[unit_id] in suspect:
            trials.num_unknown += int(is_suggested)
        elif score >= LEAST_SCORE:
            trials.add("", score, is_suggested, False, copy.origins[unit_id])


def _accuracy(found: SplitSuggestions, unit_id: Any, source: NDArray[np.integer]) -> float:
    """Return the balanced accuracy of the best assignment of parts to the two units."""
    labels = found.labels(unit_id)
    is_second = source == source.max()
    best = 0.0
    for part in np.unique(labels):
        inside = labels == part
        one = (inside[is_second].mean() + (~inside[~is_second]).mean()) / 2
        best = max(best, one, 1 - one)
    return float(best)
