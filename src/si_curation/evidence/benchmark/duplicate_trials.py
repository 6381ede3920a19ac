"""`find_duplicate_units` tried on units most of whose spikes are there twice."""

from __future__ import annotations

import numpy as np

from si_curation.evidence.benchmark.copies import repeat_units
from si_curation.evidence.benchmark.setting import LEAST_SCORE, Setting, Trials
from si_curation.evidence.duplicates import DEFAULT_MIN_SHARE, duplicates_of_units
from si_curation.evidence.unit_spikes import UnitSpikes

TWICE = "found twice"


def try_duplicates(setting: Setting) -> Trials:
    """Add a unit with most of the spikes of each good unit, and look whether it is found.

    A pair of units from different ones is wrong, unless these have common spikes in the sorting
    itself: then nobody knows.
    """
    trials = Trials()
    unit_ids = setting.analyzer.unit_ids.tolist()
    before = duplicates_of_units(setting.spikes, unit_ids, LEAST_SCORE)
    pairs = list(zip(before["unit_id"], before["duplicate_of"], strict=True))
    suspect = set(map(frozenset, pairs))
    rng = np.random.default_rng([setting.seed, 300])
    copy = repeat_units(setting.analyzer, setting.good, rng)
    trials.made[TWICE] = len(copy.origins)
    spikes = UnitSpikes(copy.analyzer)
    found = duplicates_of_units(spikes, list(copy.origins), LEAST_SCORE, pairs)
    for row in found.to_dict("records"):
        units = row["unit_id"], row["duplicate_of"]
        origins = frozenset(copy.origins.get(unit_id, unit_id) for unit_id in units)
        is_suggested = row["share"] >= DEFAULT_MIN_SHARE
        if origins in suspect:
            trials.num_unknown += int(is_suggested)
        else:
            trials.add(TWICE, row["share"], is_suggested, len(origins) == 1, origins)
    return trials
