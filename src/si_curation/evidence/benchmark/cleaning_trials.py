"""`suggest_cleaning` tried on units that have got some spikes of a neighbour."""

from __future__ import annotations

import numpy as np

from si_curation._spikeinterface import spike_vector_of
from si_curation.evidence.benchmark.copies import add_foreign_spikes
from si_curation.evidence.benchmark.setting import LEAST_SCORE, Setting, Trials
from si_curation.evidence.cleaning import suggest_cleaning
from si_curation.extensions.spikes_of_units import spikes_of_unit

FOREIGN = "spikes of a neighbour added"
#: As many spikes of a neighbour are added, as a share of the unit's own.
FOREIGN_SHARE = 0.08
#: A suggestion is right where at least this share of the spikes that it takes out are foreign.
MIN_FOREIGN = 0.5


def try_cleaning(setting: Setting) -> Trials:
    """Add spikes of a neighbour to good units, and look whether they are taken out again.

    Spikes that the unit had before count as its own: where it had foreign ones already, a right
    suggestion may count as wrong.
    """
    trials = Trials()
    rng = np.random.default_rng([setting.seed, 200])
    copy = add_foreign_spikes(
        setting.analyzer, setting.pairs_of_neighbours(), FOREIGN_SHARE, FOREIGN, rng
    )
    if not copy.origins:
        return trials
    trials.made[FOREIGN] = len(copy.origins)
    before = np.asarray(spike_vector_of(setting.analyzer.sorting)["unit_index"])
    found = suggest_cleaning(copy.analyzer, unit_ids=list(copy.origins))
    for explanations in found.explanations:
        for explanation in explanations:
            if explanation.code == "cleaning_no_features":
                return Trials(missing={FOREIGN: str(explanation)})
    for unit_id, score in found.table[["unit_id", "score"]].itertuples(index=False):
        if score < LEAST_SCORE:
            continue
        origin = setting.analyzer.sorting.id_to_index(copy.origins[unit_id])
        is_foreign = before[spikes_of_unit(copy.analyzer, unit_id)] != origin
        taken_out = found.foreign_spikes(unit_id, only_sure=True)
        is_right = bool(taken_out.any()) and is_foreign[taken_out].mean() >= MIN_FOREIGN
        is_suggested = bool(score >= found.score_threshold)
        trials.add(FOREIGN, score, is_suggested, is_right, copy.origins[unit_id])
    return trials
