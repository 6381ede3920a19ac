"""Where the spikes of the parts of a unit are in their features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.errors import MissingDataError
from si_curation.evidence.split_features import UnitFeatureReader
from si_curation.kernels.shape_space import discriminant_projections, shape_space, time_windows
from si_curation.kernels.spike_vector import evenly_spaced


def projections_of_parts(
    analyzer: SortingAnalyzer,
    spikes: NDArray[np.int64],
    labels: NDArray[np.int64],
    unit: int,
    max_spikes: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return some spikes, the part of each, and where they are on two axes.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    spikes : array (n,) int64
        Of one unit, positions in the spike vector.
    labels : array (n,) int64
        The part of each.
    unit : int
        The unit, by its position.
    max_spikes : int
        Evenly spaced where there are more.

    Returns
    -------
    spikes : array (k,) int64
        Those that have features on the channels that they have in common.
    parts : array (k,) int64
    points : array (k, 2) float64
        Along the axis that tells the parts apart best, in standard deviations, and across it.

    Raises
    ------
    MissingDataError
        There are no features, the spikes have no channel in common, or only one part has features.
    """
    reader = UnitFeatureReader.of(analyzer)
    known = np.isin(spikes, reader.with_features(spikes))
    spikes, labels = spikes[known], labels[known]
    some = evenly_spaced(spikes.size, max_spikes)
    spikes, labels = spikes[some], labels[some]
    channels, features = reader.on_common_channels(spikes, unit)
    if channels.size == 0:
        raise MissingDataError("the spikes have no channel in common that all have features on")
    complete = np.isfinite(features).all(axis=(1, 2))
    features, spikes, labels = features[complete], spikes[complete], labels[complete]
    parts, labels = np.unique(labels, return_inverse=True)
    if parts.size < 2:
        raise MissingDataError("only one of the parts has spikes with features on common channels")
    space = shape_space(features, reader.basis, time_windows(spikes.size))
    points = (features.reshape(len(features), -1) - space.centre) @ space.axes
    return spikes, parts[labels], discriminant_projections(points, labels)
