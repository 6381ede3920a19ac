"""Which units are taken as single neurons, and who says so."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.extensions.spikes_of_units import num_spikes_of_units
from si_curation.quality.contamination import contamination_panel
from si_curation.variables import UnitIndices

GOOD = "good"
#: Labels of units, first those of the curator, then those of the sorter.
LABELS = {"curator": "quality", "sorter": "KSLabel"}
MAX_CONTAMINATION = 0.1
MIN_SPIKES = 100


class GoodUnits(NamedTuple):
    """Units that are taken as single neurons.

    Attributes
    ----------
    indices : array (n,) integer
        Ascending; each has at least 100 spikes.
    source : str
        "curator": labelled good by a person; "sorter": by the sorter; "contamination": estimated
        at 10 % or less.
    """

    indices: UnitIndices
    source: str


def find_good_units(
    analyzer: SortingAnalyzer, allowed: NDArray[np.integer] | None = None
) -> GoodUnits:
    """Return the units that the curator calls good, else the sorter, else of low contamination.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    allowed : array of int, optional
        Indices of the units that may be taken; all by default.
    """
    num_units = len(analyzer.unit_ids)
    usable = num_spikes_of_units(analyzer) >= MIN_SPIKES
    if allowed is not None:
        usable &= np.isin(np.arange(num_units), allowed)
    for source, name in LABELS.items():
        labels = analyzer.sorting.get_property(name)
        if labels is not None and labels.ndim == 1:
            good = usable & (labels.astype(str) == GOOD)
            if good.any():
                return GoodUnits(UnitIndices(np.flatnonzero(good)), source)
    good = np.zeros(num_units, dtype=bool)
    rows = np.flatnonzero(usable)
    if rows.size:
        table: Any = contamination_panel(analyzer, unit_ids=analyzer.unit_ids[rows].tolist())
        contamination = table["rp_contamination"].to_numpy(dtype=np.float64)
        good[rows] = contamination <= MAX_CONTAMINATION  # not where it is NaN
    return GoodUnits(UnitIndices(np.flatnonzero(good)), "contamination")
