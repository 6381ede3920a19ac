"""Ways to cut the spikes of a unit in two, as sorters cut those of a neuron."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array
from si_curation.errors import FolderNotFoundError, MissingDataError, PhyFolderError
from si_curation.extensions.spikes_of_units import assignment_of
from si_curation.spikes.features import feature_source, get_spike_features

#: The smallest part of a unit that is cut.
MIN_PART_SPIKES = 30
# share of the spikes below the cut is drawn between these
LEAST_SHARE = 0.2
# a cut at a value is a soft one: a logistic curve this wide, in standard deviations of the value
SOFTNESS = 0.2
NUM_CHANNELS, NUM_SPIKES_FOR_COMPONENT = 6, 500

Spikes = NDArray[np.int64]
Way = Callable[[SortingAnalyzer, int, Spikes, np.random.Generator], NDArray[np.bool_]]


def in_time(
    analyzer: SortingAnalyzer, unit: int, spikes: Spikes, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Cut a unit into its first and its last spikes, as a drifting neuron is cut."""
    return np.arange(spikes.size) >= rng.uniform(LEAST_SHARE, 1 - LEAST_SHARE) * spikes.size


def by_amplitude(
    analyzer: SortingAnalyzer, unit: int, spikes: Spikes, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Cut a unit at an amplitude, as one that has a template for each size is cut."""
    extension = analyzer.get_extension("spike_amplitudes")
    if extension is None:
        raise MissingDataError("there is no extension 'spike_amplitudes'")
    return _soft_cut(np.abs(as_array(extension.get_data(copy=False))[spikes]), rng)


def at_random(
    analyzer: SortingAnalyzer, unit: int, spikes: Spikes, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw the spikes of one part at random, as equal templates share a neuron."""
    return rng.uniform(size=spikes.size) < rng.uniform(LEAST_SHARE, 0.5)


def along_component(
    analyzer: SortingAnalyzer, unit: int, spikes: Spikes, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Cut a unit along the first principal component of its spikes' features."""
    try:
        feature_source(analyzer)  # where there are none, this is all that is looked at
        template = assignment_of(analyzer).get_unit_template(analyzer.unit_ids[unit])
        best = np.argsort(-np.ptp(np.nan_to_num(template), axis=0), kind="stable")[:NUM_CHANNELS]
        features = get_spike_features(analyzer, spikes, best)
    except (FolderNotFoundError, PhyFolderError) as fault:
        raise MissingDataError(f"features cannot be read: {fault}") from None
    values = features.reshape(spikes.size, -1)
    known = np.isfinite(values).any(axis=1)
    if np.count_nonzero(known) < 0.9 * spikes.size:
        raise MissingDataError("features are known of some spikes only")
    values = np.nan_to_num(values - np.nanmean(values[known], axis=0))
    drawn = values[rng.permutation(spikes.size)[:NUM_SPIKES_FOR_COMPONENT]]
    component = np.linalg.svd(drawn, full_matrices=False)[2][0]
    return _soft_cut((values @ component).astype(np.float64), rng)


#: The artificial splits: {name: function}.
WAYS: dict[str, Way] = {
    "in time": in_time,
    "by amplitude": by_amplitude,
    "at random": at_random,
    "along a component": along_component,
}


def _soft_cut(values: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.bool_]:
    cut = np.quantile(values, rng.uniform(LEAST_SHARE, 1 - LEAST_SHARE))
    width = SOFTNESS * np.std(values)
    if not width > 0:
        raise MissingDataError("all values are the same")
    return rng.uniform(size=values.size) < 1 / (1 + np.exp(-(values - cut) / width))
