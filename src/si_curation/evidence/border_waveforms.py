"""Waveforms of two units where they are closest in time, compared spike by spike.

Two units of one neuron are neighbours in the space of features: no gap is between them. That holds
whatever a sorter cut the neuron at: amplitude, shape, or depth where the tissue moved. Two neurons
are clusters apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import samples_end_to_end, spike_vector_of
from si_curation.errors import FolderNotFoundError, MissingDataError, PhyFolderError
from si_curation.extensions.spikes_of_units import spikes_of_units
from si_curation.kernels.parallel import blocks, run_blocks
from si_curation.kernels.spike_vector import evenly_spaced
from si_curation.kernels.spikes_by_unit import spikes_by_unit
from si_curation.spikes.features import (
    FeatureSource,
    StoredFeatures,
    feature_source,
    read_stored_features,
)

NUM_SPIKES = 100  # of each unit, compared
MIN_SPIKES = 20
# spikes of a unit among which those close in time to the other unit are looked for
_MAX_SEARCHED = 2_000
# drift within this time is nothing
_SAME_TIME_S = 0.5
_NUM_CHANNELS = 12
_STORED_SHARE = 0.9
# directions of which the variance is estimated; that of the others is taken to be equal
_NUM_DIRECTIONS = 5
_PAIRS_AT_ONCE = 256


class BorderWaveforms(NamedTuple):
    """How far apart the waveforms of pairs of units are.

    Attributes
    ----------
    separation : array (n_pairs,) float64
        Distance of the means in standard deviations of the spikes, on the axis that separates them
        best; NaN where not compared. The halves of one normal population that was cut in the
        middle are 2.6 apart.
    amplitude_distance : array (n_pairs,) float64
        Difference of the mean amplitudes of the same spikes, in standard deviations; NaN where not
        compared.
    state : array (n_pairs,) of str
        As the column ``waveform_evidence`` of `si_curation.variables.MERGES`.
    size : array (n_pairs,) float64
        Norm of the mean features of both, on the channels that were compared; NaN where not.
    windows : array (n_pairs, 2, 2) float64
        Begin and end of the times of the compared spikes of either unit, a tenth left out at both
        ends, in samples, segments end to end; NaN where not compared.
    """

    separation: NDArray[np.float64]
    amplitude_distance: NDArray[np.float64]
    state: NDArray[np.str_]
    size: NDArray[np.float64]
    windows: NDArray[np.float64]


def compare_waveforms(
    analyzer: SortingAnalyzer,
    pairs: NDArray[np.int64],
    is_wanted: NDArray[np.bool_],
    amplitudes: NDArray[np.floating] | None = None,
    resolution: float = 0.0,
) -> BorderWaveforms:
    """Compare the features of the spikes of units where the two are closest in time.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    pairs : array (n_pairs, 2) int64
        Unit indices.
    is_wanted : array (n_pairs,) bool
        Pairs to compare; the others get "not_needed".
    amplitudes : array (n_spikes,) floating, optional
    resolution : float
        Smallest standard deviation of amplitudes, as a share of their mean; added in quadrature.

    Returns
    -------
    BorderWaveforms
        Also where the folder with the features is gone or has changed: all get "no_features".
    """
    separation, distance, size = np.full((3, len(pairs)), np.nan)
    windows = np.full((len(pairs), 2, 2), np.nan)
    state = np.where(is_wanted, "few_spikes", "not_needed").astype("U12")
    found = BorderWaveforms(separation, distance, state, size, windows)
    source = source_by_channel(analyzer)
    if source is None:
        state[:] = "no_features"
        return found
    chosen = np.flatnonzero(is_wanted)
    if chosen.size == 0:
        return found
    try:
        sets = _border_spikes(analyzer, source, pairs[chosen])
        separation[chosen], size[chosen] = np.transpose(_compare(analyzer, source, sets))
    except (MissingDataError, FolderNotFoundError, PhyFolderError):
        state[:] = "no_features"
        return found
    is_compared = np.isfinite(separation)
    state[is_compared] = "compared"
    for row, both in zip(chosen, sets, strict=True):
        if not is_compared[row]:
            continue
        for window, own in zip(windows[row], both, strict=True):
            window[:] = np.quantile(samples_end_to_end(analyzer, own), [0.1, 0.9])
        if amplitudes is not None:
            first, second = both
            distance[row] = _distance_of(amplitudes[first], amplitudes[second], resolution)
    return found


def _border_spikes(
    analyzer: SortingAnalyzer, source: FeatureSource, pairs: NDArray[np.int64]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the spikes of either unit of each pair that are closest in time to the other's."""
    fs = float(analyzer.sampling_frequency)
    searched = _searched_spikes(analyzer, source, np.unique(pairs))
    times = {unit: samples_end_to_end(analyzer, own) for unit, own in searched.items()}
    return [
        (
            searched[a][near_in_time(times[a], times[b], fs)],
            searched[b][near_in_time(times[b], times[a], fs)],
        )
        for a, b in pairs.tolist()
    ]


def _compare(
    analyzer: SortingAnalyzer,
    source: FeatureSource,
    sets: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for piece in blocks(len(sets), _PAIRS_AT_ONCE):
        spikes = np.unique(np.concatenate([own for pair in sets[piece] for own in pair]))
        stored = read_stored_features(analyzer, source, spikes)
        asked = [
            (stored, np.searchsorted(spikes, a), np.searchsorted(spikes, b)) for a, b in sets[piece]
        ]
        found += run_blocks(lambda one: compare_stored(*one), asked)
    return found


def _distance_of(
    first: NDArray[np.floating], second: NDArray[np.floating], resolution: float
) -> float:
    values = [np.abs(own[np.isfinite(own)].astype(np.float64)) for own in (first, second)]
    if min(own.size for own in values) < MIN_SPIKES:
        return np.nan
    a, b = values
    floor = resolution * 0.5 * (a.mean() + b.mean())
    spread = np.sqrt(0.5 * (a.var() + b.var()) + floor**2)
    return float(abs(a.mean() - b.mean()) / max(spread, 1e-12))


def source_by_channel(analyzer: SortingAnalyzer) -> FeatureSource | None:
    """Return where the features of spikes are, by channel; None where there are none."""
    try:
        source = feature_source(analyzer)
    except (MissingDataError, FolderNotFoundError, PhyFolderError):
        return None
    return source if source.is_by_channel else None


def _searched_spikes(
    analyzer: SortingAnalyzer, source: FeatureSource, units: NDArray[np.int64]
) -> dict[int, NDArray[np.int64]]:
    by_unit = spikes_with_features(analyzer, source)
    found = {}
    for unit in units.tolist():
        own = by_unit[unit]
        found[unit] = own[evenly_spaced(own.size, _MAX_SEARCHED)].astype(np.int64)
    return found


def spikes_with_features(
    analyzer: SortingAnalyzer, source: FeatureSource
) -> list[NDArray[np.int64]]:
    """Return the positions in the spike vector of the spikes of each unit that can have features.

    SpikeInterface computes components of some spikes; a sorter's file may too, which is not looked
    at here.
    """
    if source.extension is None:
        return [own.astype(np.int64) for own in spikes_of_units(analyzer)]
    unit_index = spike_vector_of(analyzer.sorting)["unit_index"]
    num_units = len(analyzer.unit_ids)
    held = np.sort(np.asarray(analyzer.get_extension("random_spikes").get_data()))
    return [held[rows] for rows in spikes_by_unit(unit_index[held], num_units)]


def near_in_time(
    times: NDArray[np.int64], others: NDArray[np.int64], sampling_frequency: float
) -> NDArray[np.int64]:
    """Return the positions of the spikes closest in time to those of another unit, ascending.

    Parameters
    ----------
    times, others : array (n,), (m,) int64
        Samples, ascending.
    sampling_frequency : float

    Returns
    -------
    array (at most 100,) int64
        Where more spikes are within 0.5 s of one of the other unit, some of them, evenly spaced.

    Examples
    --------
    >>> near_in_time(np.arange(0, 3000, 10), np.array([2900, 9000]), 100.0)[[0, -1]]
    array([200, 299])
    """
    if times.size <= NUM_SPIKES or others.size == 0:
        return np.arange(times.size)
    after = np.searchsorted(others, times)
    distance = np.minimum(
        np.abs(times - others[np.maximum(after - 1, 0)]),
        np.abs(times - others[np.minimum(after, others.size - 1)]),
    )
    distance = np.maximum(distance, round(_SAME_TIME_S * sampling_frequency))
    limit = np.partition(distance, NUM_SPIKES - 1)[NUM_SPIKES - 1]
    nearer, tied = np.flatnonzero(distance < limit), np.flatnonzero(distance == limit)
    tied = tied[evenly_spaced(tied.size, NUM_SPIKES - nearer.size)]
    return np.sort(np.concatenate([nearer, tied]))


def compare_stored(
    stored: StoredFeatures, first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[float, float]:
    """Compute the separation of two sets of spikes on the channels that both are stored on.

    Parameters
    ----------
    stored : StoredFeatures
    first, second : array (n,), (m,) int64
        Rows of `stored`.

    Returns
    -------
    tuple of float
        Separation and size, as in `BorderWaveforms`; both NaN where fewer than 20 spikes of either
        set, or no channel, can be compared.
    """
    kept = []
    shares = []
    for spikes in (first, second):
        there = np.isfinite(stored.values[spikes, 0, 0])
        spikes = spikes[there]
        if spikes.size < MIN_SPIKES:
            return np.nan, np.nan
        kept.append(spikes)
        groups, counts = np.unique(stored.groups[spikes], return_counts=True)
        share: dict[int, float] = {}
        for group, count in zip(groups, counts, strict=True):
            for channel in stored.channels[group].tolist():
                share[channel] = share.get(channel, 0.0) + count / spikes.size
        shares.append(share)
    common = [
        channel
        for channel in sorted(shares[0])
        if channel >= 0 and min(shares[0][channel], shares[1].get(channel, 0.0)) >= _STORED_SHARE
    ]
    if not common:
        return np.nan, np.nan
    channels = np.array(common)
    # a channel that is missing is no zero: such spikes would be a cluster of their own
    sets = []
    for spikes in kept:
        groups, rows = np.unique(stored.groups[spikes], return_inverse=True)
        has_all = (stored.channels[groups][:, :, None] == channels).any(axis=1).all(axis=1)
        spikes = spikes[has_all[rows]]
        if spikes.size < MIN_SPIKES:
            return np.nan, np.nan
        sets.append(stored.on_channels(spikes, channels).astype(np.float64))
    a, b = sets  # (n, n_channels, n_pcs)
    if channels.size > _NUM_CHANNELS:
        power = (a.mean(axis=0) ** 2 + b.mean(axis=0) ** 2).sum(axis=1)
        largest = np.argsort(-power, kind="stable")[:_NUM_CHANNELS]
        a, b = a[:, largest], b[:, largest]
    size = float(np.linalg.norm(0.5 * (a.mean(axis=0) + b.mean(axis=0))))
    return separation(a.reshape(len(a), -1), b.reshape(len(b), -1)), size


def separation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Compute how far apart two clusters of points are, on an axis that was found on other points.

    Parameters
    ----------
    first, second : array (n, d), (m, d) float64

    Returns
    -------
    float
        Difference of the means of half of the points in their standard deviations, on Fisher's axis
        of the other half; mean of both halves. Not below 0. The covariance within is that of the 5
        directions of largest variance, and equal variances beyond them.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> points = rng.normal(size=(400, 6))
    >>> is_high = points[:, 0] > 0
    >>> round(separation(points[is_high], points[~is_high]), 1)
    2.6
    """
    found = []
    for one, other in ((0, 1), (1, 0)):
        axis = _fishers_axis(first[one::2], second[one::2])
        a, b = first[other::2] @ axis, second[other::2] @ axis
        spread = np.sqrt(0.5 * (a.var() + b.var()))
        found.append((a.mean() - b.mean()) / max(spread, 1e-12))
    return max(float(np.mean(found)), 0.0)


def _fishers_axis(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    difference = first.mean(axis=0) - second.mean(axis=0)
    within = np.concatenate([first - first.mean(axis=0), second - second.mean(axis=0)])
    values, vectors = np.linalg.eigh(within.T @ within / len(within))
    values = np.maximum(values, 1e-12 * max(float(values[-1]), 1e-30))
    few = min(_NUM_DIRECTIONS, values.size)
    largest, rest = values[-few:], values[:-few]
    equal = float(rest.mean()) if rest.size else float(values.mean())
    main = vectors[:, -few:]
    along = main.T @ difference
    return difference / equal + main @ (along * (1.0 / largest - 1.0 / equal))
