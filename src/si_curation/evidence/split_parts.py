"""Where one unit could be cut in two, and which side of the cut each spike is on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation._spikeinterface import spike_vector_of
from si_curation.evidence.split_features import UnitFeatureReader
from si_curation.kernels.parallel import blocks
from si_curation.kernels.shape_space import (
    isolated_points,
    largest_jump,
    mixing_in_time,
    shape_space,
    time_windows,
    window_medians,
    without_directions,
)
from si_curation.kernels.spike_vector import evenly_spaced
from si_curation.kernels.two_clusters import TwoClusters, find_two_clusters

MAX_SPIKES = 2000
MIN_SPIKES = 50
# smaller parts are foreign spikes rather than a neuron
MIN_SHARE = 0.1
MAX_PEELED = 2
SPIKES_OF_JUMP = 40
_SPIKES_AT_ONCE = 1 << 16


class Cut(NamedTuple):
    """A cut of the spikes of a unit by a plane that follows their drift.

    Attributes
    ----------
    channels : array (n_channels,) int64
    centre, normal : array (n_pcs, n_channels) float64
        A spike is beyond the plane if ``sum((features - centre) * normal)`` exceeds the level.
    borders : array (n_windows - 1,) int64
        The first spike, by its place in the spike vector, of each window of time but the first.
    levels : array (n_windows,) float64
    """

    channels: NDArray[np.int64]
    centre: NDArray[np.float64]
    normal: NDArray[np.float64]
    borders: NDArray[np.int64]
    levels: NDArray[np.float64]

    def sides(
        self, reader: UnitFeatureReader, spikes: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which spikes are beyond the plane, and which have features at all."""
        beyond = np.empty(spikes.size, dtype=bool)
        known = np.empty(spikes.size, dtype=bool)
        for piece in blocks(spikes.size, _SPIKES_AT_ONCE):
            if self.channels.size == 0:  # a cut in time
                known[piece], values = True, np.zeros(spikes[piece].size)
            else:
                rest = reader.read(spikes[piece], self.channels) - self.centre
                known[piece] = np.isfinite(rest).any(axis=(1, 2))
                values = np.einsum("npc,pc->n", np.nan_to_num(rest), self.normal)
            windows = np.searchsorted(self.borders, spikes[piece], side="right")
            beyond[piece] = values > self.levels[windows]
        return beyond, known


class PossibleSplit(NamedTuple):
    """What the features of a unit say about splitting it.

    Attributes
    ----------
    cut : Cut or None
        None: there are no two clusters.
    clusters : TwoClusters or None
    mixing : float
        How much the clusters are mixed in time; see `mixing_in_time`.
    num_with_features : int
        Spikes that have features, at most 2,000.
    num_channels : int
        On which nearly all of them have.
    num_looked_at : int
        Spikes that were looked at.
    jump : float
        The largest step of the mean features between neighbouring spikes, in standard deviations,
        drift taken off; NaN where there are too few spikes.
    jump_cut : Cut or None
        At that step.
    size : float
        Of the mean features, in standard deviations of the spikes.
    """

    cut: Cut | None
    clusters: TwoClusters | None
    mixing: float
    num_with_features: int
    num_channels: int
    num_looked_at: int
    jump: float
    jump_cut: Cut | None
    size: float = np.nan


def spikes_to_look_at(reader: UnitFeatureReader, spikes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return at most 2,000 of the spikes of a unit that have features, evenly spaced."""
    spikes = reader.with_features(spikes)
    return spikes[evenly_spaced(spikes.size, MAX_SPIKES)]


def look_for_split(
    reader: UnitFeatureReader, spikes: NDArray[np.int64], unit: int
) -> PossibleSplit:
    """Return where the spikes of a unit could be cut, from at most 2,000 of them.

    Parameters
    ----------
    reader : UnitFeatureReader
    spikes : array (n,) int64
        Of one unit, ascending places in the spike vector.
    unit : int
        Its index.
    """
    spikes = spikes_to_look_at(reader, spikes)
    nothing = PossibleSplit(None, None, np.nan, spikes.size, 0, 0, np.nan, None)
    if spikes.size < MIN_SPIKES:
        return nothing
    channels, features = reader.on_common_channels(spikes, unit)
    if channels.size == 0:
        return nothing
    complete = np.isfinite(features).all(axis=(1, 2))
    if not complete.all():
        features, spikes = features[complete], spikes[complete]
    if spikes.size < MIN_SPIKES:
        return nothing._replace(num_channels=channels.size, num_looked_at=spikes.size)
    windows = time_windows(spikes.size)
    space = shape_space(features, reader.basis, windows)
    # (n, n_features), one feature after the other in memory
    flat = np.ascontiguousarray(features.reshape(len(features), -1).T).T - space.centre
    points = flat @ space.axes
    clusters = _clusters(points, windows)
    cut, mixing = None, np.nan
    if clusters is not None:
        mixing = mixing_in_time(_beyond(points, windows, clusters))
        cut = Cut(
            channels,
            space.centre.reshape(features.shape[1:]),
            (space.axes @ clusters.axis).reshape(features.shape[1:]),
            spikes[np.flatnonzero(np.diff(windows)) + 1],
            clusters.trend,
        )
    still = without_directions(flat, space.nuisance)
    jump = largest_jump(still, SPIKES_OF_JUMP, _times(reader, spikes))
    jump_cut = None
    if jump.place:
        nowhere = np.zeros((0, 0))
        jump_cut = Cut(
            np.zeros(0, dtype=np.int64),
            nowhere,
            nowhere,
            spikes[[jump.place]],
            np.array([np.inf, -np.inf]),
        )
    noise = np.sqrt(np.diff(still, axis=0).var() / 2)
    return nothing._replace(
        cut=cut,
        clusters=clusters,
        mixing=mixing,
        num_channels=channels.size,
        num_looked_at=spikes.size,
        jump=jump.size if jump.place else np.nan,
        jump_cut=jump_cut,
        size=float(np.linalg.norm(space.centre) / max(noise, 1e-300)),
    )


def _times(reader: UnitFeatureReader, spikes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the times of spikes in samples, segments one after the other."""
    vector = spike_vector_of(reader.analyzer.sorting)
    samples = vector["sample_index"][spikes].astype(np.int64)
    lengths = np.diff(samples, prepend=0)
    return samples - np.cumsum(np.minimum(lengths, 0))


def _clusters(points: NDArray[np.float64], windows: NDArray[np.int64]) -> TwoClusters | None:
    """Return the two clusters of points, those left out that are too few to be a neuron."""
    still = points - window_medians(points, windows)[windows]
    used = ~isolated_points(still)
    for _ in range(MAX_PEELED + 1):
        found = find_two_clusters(points[used], windows[used], MIN_SHARE / 2)
        if found is None:
            return None
        beyond = _beyond(points, windows, found)
        share = beyond[used].mean()
        if MIN_SHARE <= share <= 1 - MIN_SHARE:
            return found
        used &= beyond == (share > 0.5)
        if np.count_nonzero(used) < MIN_SPIKES:
            return None
    return None


def _beyond(
    points: NDArray[np.float64], windows: NDArray[np.int64], clusters: TwoClusters
) -> NDArray[np.bool_]:
    """Return which points are of the cluster of higher values."""
    seen = np.minimum(windows, clusters.trend.size - 1)
    return points @ clusters.axis > clusters.trend[seen]
