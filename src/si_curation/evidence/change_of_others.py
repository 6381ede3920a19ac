"""How much the waveforms of other units change between the times at which two units fire.

Where the tissue moved, or amplitudes changed, between the spikes of two units, their waveforms
differ also where both are one neuron: about as much as those of the units that fire throughout.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import samples_end_to_end
from si_curation.errors import FolderNotFoundError, MissingDataError, PhyFolderError
from si_curation.evidence.border_waveforms import (
    NUM_SPIKES,
    compare_stored,
    source_by_channel,
    spikes_with_features,
)
from si_curation.evidence.unit_locations import unit_distances
from si_curation.kernels.parallel import blocks, run_blocks
from si_curation.kernels.spike_vector import evenly_spaced
from si_curation.spikes.features import FeatureSource, read_stored_features

# spikes that another unit has at either time, at least, to be compared
_MIN_SPIKES = 40
# other units, the nearest first
_MIN_OTHERS, _MAX_OTHERS = 3, 5
_PAIRS_AT_ONCE = 64

_Sets = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


def change_of_others(
    analyzer: SortingAnalyzer,
    pairs: NDArray[np.int64],
    is_wanted: NDArray[np.bool_],
    windows: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Compute how far apart the waveforms of other units are at the times of two units.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    pairs : array (n_pairs, 2) int64
        Unit indices.
    is_wanted : array (n_pairs,) bool
        The others get NaN.
    windows : array (n_pairs, 2, 2) float64
        Begin and end of the times of the first, and of the second unit, in samples, segments end
        to end: `BorderWaveforms.windows`.

    Returns
    -------
    array (n_pairs,) float64
        The median, over the 5 other units nearest to either unit with at least 40 spikes in both
        windows, of their separation as a share of their size (`BorderWaveforms`). The standard
        deviation of the spikes is much the same in all units, so that the separation grows with
        the size. NaN where there are fewer than 3 such units, and without features.

    Notes
    -----
    It needs no estimate of the drift, and it is not of drift alone: whatever changes all waveforms
    counts. It is 0 where nothing changed.
    """
    found = np.full(len(pairs), np.nan)
    chosen = np.flatnonzero(is_wanted & np.isfinite(windows).all(axis=(1, 2)))
    source = source_by_channel(analyzer) if chosen.size else None
    if source is None:
        return found
    try:
        times = _Times(analyzer, source)
        distances = unit_distances(analyzer)
        for piece in blocks(chosen.size, _PAIRS_AT_ONCE):
            rows = chosen[piece]
            sets = [
                times.others(pairs[row], windows[row], np.fmin(*distances[pairs[row]]))
                for row in rows
            ]
            found[rows] = _changes(analyzer, source, sets)
    except (MissingDataError, FolderNotFoundError, PhyFolderError):
        found[:] = np.nan
    return found


class _Times:
    """The spikes of each unit that have features, and their times."""

    def __init__(self, analyzer: SortingAnalyzer, source: FeatureSource) -> None:
        self.analyzer = analyzer
        self.spikes = spikes_with_features(analyzer, source)
        self.known: dict[int, NDArray[np.int64]] = {}

    def of(self, unit: int) -> NDArray[np.int64]:
        """Return the samples of a unit's spikes, ascending."""
        if unit not in self.known:
            self.known[unit] = samples_end_to_end(self.analyzer, self.spikes[unit])
        return self.known[unit]

    def others(
        self,
        pair: NDArray[np.int64],
        windows: NDArray[np.float64],
        distance: NDArray[np.float64],
    ) -> _Sets:
        """Return the spikes of the nearest other units in both windows."""
        sets: _Sets = []
        for unit in np.argsort(distance, kind="stable").tolist():
            if len(sets) == _MAX_OTHERS:
                break
            if unit in pair or self.spikes[unit].size < _MIN_SPIKES:
                continue
            borders = np.searchsorted(self.of(unit), windows)  # (2 units, begin and end)
            borders[:, 1] = np.searchsorted(self.of(unit), windows[:, 1], side="right")
            if (borders[:, 1] - borders[:, 0]).min() < _MIN_SPIKES:
                continue
            first, second = (
                self.spikes[unit][begin + evenly_spaced(end - begin, NUM_SPIKES)]
                for begin, end in borders.tolist()
            )
            sets.append((first, second))
        return sets


def _changes(
    analyzer: SortingAnalyzer, source: FeatureSource, of_pairs: list[_Sets]
) -> list[float]:
    every = [own for sets in of_pairs for both in sets for own in both]
    if not every:
        return [np.nan] * len(of_pairs)
    spikes = np.unique(np.concatenate(every))
    stored = read_stored_features(analyzer, source, spikes)

    def change(sets: _Sets) -> float:
        shares = []
        for first, second in sets:
            rows = np.searchsorted(spikes, first), np.searchsorted(spikes, second)
            separation, size = compare_stored(stored, *rows)
            if size > 0:  # not NaN
                shares.append(separation / size)
        return float(np.median(shares)) if len(shares) >= _MIN_OTHERS else np.nan

    return run_blocks(change, of_pairs)
