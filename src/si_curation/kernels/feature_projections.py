"""Projections of spikes onto templates, from features or from traces.

A projection is a dot product. In a basis of ``n_pcs`` waveforms that the features of a spike were
taken in, it is a short one: over the stored channels and components.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit, read_only

_AHEAD = 32  # spikes


@njit
def project_features(
    features: NDArray[np.floating],
    rows: NDArray[np.integer],
    template_ids: NDArray[np.integer],
    groups: NDArray[np.integer],
    pair_of: NDArray[np.integer],
    weights: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Project spikes from their features onto the templates next to their own.

    Sums run over the features in order, whatever the block or thread.

    Parameters
    ----------
    features : array (n_rows, n_features) floating
    rows : array (n_spikes,) integer
        Row of each spike in `features`; -1: not stored, its projections are NaN.
    template_ids : array (n_spikes,) integer
    groups : array (n_spikes,) integer
        Spikes of one group have their features on the same channels.
    pair_of : array (n_templates, n_groups or 1) integer
        Number of each pair of template and group; one column: the template alone counts.
    weights : array (n_pairs, n_features, K) float32
    out : array (n_spikes, K) float32
    """
    by_group = pair_of.shape[1] > 1
    num_features = features.shape[1]
    num_out = out.shape[1]
    whole = num_features - num_features % 4
    for i in range(rows.size):
        projections = out[i]
        if rows[i] < 0:
            projections[:] = np.nan
            continue
        x = features[rows[i]]
        w = weights[pair_of[template_ids[i], groups[i] if by_group else 0]]
        projections[:] = 0
        # four at a time: a quarter of the loads and stores, in the same order of additions
        for f in range(0, whole, 4):
            x0 = np.float32(x[f])
            x1 = np.float32(x[f + 1])
            x2 = np.float32(x[f + 2])
            x3 = np.float32(x[f + 3])
            for k in range(num_out):
                projections[k] = (
                    ((projections[k] + x0 * w[f, k]) + x1 * w[f + 1, k]) + x2 * w[f + 2, k]
                ) + x3 * w[f + 3, k]
        for f in range(whole, num_features):
            x0 = np.float32(x[f])
            for k in range(num_out):
                projections[k] += x0 * w[f, k]


class Traces(NamedTuple):
    """A piece of a recording.

    Attributes
    ----------
    values : array (n_samples, n_channels)
    low_row, high_row : int
        Rows from `low_row` to before `high_row` are in the recording; others count as zero in the
        units of the templates.
    gains, offsets : array (n_channels,) float64
        ``values * gains + offsets`` are in the units of the templates.
    """

    values: NDArray
    low_row: int
    high_row: int
    gains: NDArray[np.float64]
    offsets: NDArray[np.float64]


class TraceTemplates(NamedTuple):
    """Templates that traces are projected onto.

    Attributes
    ----------
    values : array (n_templates, n_template_samples, n_channels) float32
    span : array (n_templates, 2) integer
        First channel of each template with signal, and the one after the last.
    neighbours : array (n_templates, K) integer
        The templates that spikes of each template are projected onto; -1: the projection is 0.
    """

    values: NDArray[np.float32]
    span: NDArray[np.integer]
    neighbours: NDArray[np.integer]


@njit
def project_traces(
    traces: Traces,
    first_samples: NDArray[np.integer],
    template_ids: NDArray[np.integer],
    onto: TraceTemplates,
    out: NDArray[np.float32],
) -> None:
    """Project spikes from the traces around them onto the templates next to their own.

    Parameters
    ----------
    traces : Traces
    first_samples : array (n_spikes,) integer
        Row of the traces that the first sample of a template falls on.
    template_ids : array (n_spikes,) integer
    onto : TraceTemplates
    out : array (n_spikes, K) float32
    """
    values, gains, offsets = traces.values, traces.gains, traces.offsets
    templates, index, span = onto.values, onto.neighbours, onto.span
    sums = np.empty(values.shape[1], dtype=np.float64)
    for i in range(first_samples.size):
        start = first_samples[i]
        first = max(traces.low_row - start, 0)
        stop = min(traces.high_row - start, templates.shape[1])
        for k in range(index.shape[1]):
            template = index[template_ids[i], k]
            if template < 0:
                out[i, k] = 0
                continue
            low = span[template, 0]
            high = span[template, 1]
            for c in range(low, high):
                sums[c] = 0
            for s in range(first, stop):
                for c in range(low, high):
                    value = values[start + s, c] * gains[c] + offsets[c]
                    sums[c] += value * templates[template, s, c]
            total = 0.0
            for c in range(low, high):
                total += sums[c]
            out[i, k] = total


@njit
def _gather(
    features: NDArray[np.floating],
    rows: NDArray[np.integer],
    groups: NDArray[np.integer],
    feature_channels: NDArray[np.integer],
    places: NDArray[np.integer],
    place_rows: NDArray[np.integer],
    out: NDArray[np.floating],
) -> float:
    touched = 0.0
    for start in range(0, rows.size, _AHEAD):
        stop = min(start + _AHEAD, rows.size)
        # rows are far apart in a large file: fetch those of several spikes at the same time
        for i in range(start, stop):
            if rows[i] >= 0:
                for p in range(features.shape[1]):
                    touched += features[rows[i], p, 0]
        for i in range(start, stop):
            for j in range(feature_channels.shape[1]):
                channel = feature_channels[groups[i], j]
                if channel < 0:
                    continue
                place = places[place_rows[i], channel]
                if place < 0:
                    continue
                for p in range(out.shape[1]):
                    out[i, p, place] = np.nan if rows[i] < 0 else features[rows[i], p, j]
    return touched  # or they would not be fetched


def gather_features(
    features: NDArray[np.floating],
    rows: NDArray[np.integer],
    groups: NDArray[np.integer],
    feature_channels: NDArray[np.integer],
    places: NDArray[np.integer],
    place_rows: NDArray[np.integer],
    out: NDArray[np.floating],
) -> None:
    """Put the features of spikes on the channels asked for.

    Parameters
    ----------
    features : array (n_rows, n_pcs, n_loc) floating
    rows : array (n_spikes,) integer
        Row of each spike in `features`; -1: not stored, NaN on the channels of its group.
    groups : array (n_spikes,) integer
        Spikes of one group have their features on the same channels: mostly the template.
    feature_channels : array (n_groups, n_loc) integer
        Channel of each column; -1 for none.
    places : array (n_lists, n_channels) integer
        Where each channel goes; -1: it was not asked for.
    place_rows : array (n_spikes,) integer
        The row of `places` of each spike.
    out : array (n_spikes, n_pcs, n_places) floating, zeros
    """
    _gather(
        read_only(features), rows, read_only(groups), read_only(feature_channels),
        read_only(places), place_rows, out,
    )  # fmt: skip


@njit
def _gather_on_channels(
    features: NDArray[np.floating],
    rows: NDArray[np.integer],
    groups: NDArray[np.integer],
    feature_channels: NDArray[np.integer],
    places: NDArray[np.integer],
    out: NDArray[np.floating],
) -> float:
    num_groups, num_local = feature_channels.shape
    num_features, num_out = features.shape[1], out.shape[1]
    num_pcs = num_features // max(num_local, 1)
    sources = np.empty((num_groups, num_out), dtype=np.int32)  # of each number of a spike; -1: none
    is_known = np.zeros(num_groups, dtype=np.bool_)
    numbers_per_line = 64 // features.itemsize
    touched = 0.0
    for start in range(0, rows.size, _AHEAD):
        stop = min(start + _AHEAD, rows.size)
        # rows are far apart in a large file: fetch those of several spikes at the same time
        for i in range(start, stop):
            if rows[i] >= 0:
                for f in range(0, num_features, numbers_per_line):
                    touched += features[rows[i], f]
        for i in range(start, stop):
            source, target = sources[groups[i]], out[i]
            if not is_known[groups[i]]:
                is_known[groups[i]] = True
                source[:] = -1
                for j in range(num_local):
                    channel = feature_channels[groups[i], j]
                    if channel >= 0 and places[channel] >= 0:
                        for p in range(num_pcs):
                            source[places[channel] * num_pcs + p] = p * num_local + j
            if rows[i] < 0:
                for k in range(num_out):
                    target[k] = 0 if source[k] < 0 else np.nan
            else:
                own = features[rows[i]]
                for k in range(num_out):
                    f = source[k]
                    target[k] = own[f] if f >= 0 else np.float32(0)
    return touched  # or they would not be fetched


def gather_on_channels(
    features: NDArray[np.floating],
    rows: NDArray[np.integer],
    groups: NDArray[np.integer],
    feature_channels: NDArray[np.integer],
    places: NDArray[np.integer],
    out: NDArray[np.floating],
) -> None:
    """Put the features of spikes on channels that are the same for all of them, components last.

    Parameters
    ----------
    features, rows, groups, feature_channels
        As of `gather_features`.
    places : array (n_channels,) integer
        Where each channel goes; -1: it was not asked for.
    out : array (n_spikes, n_places, n_pcs) floating, C order
        Of any content: 0 is put where nothing is stored for the group.
    """
    num_pcs, num_local = features.shape[1:]
    flat = features.reshape(len(features), num_pcs * num_local)
    _gather_on_channels(
        read_only(flat), read_only(rows), read_only(groups), read_only(feature_channels),
        places, out.reshape(rows.size, out.shape[1] * num_pcs),
    )  # fmt: skip


@njit
def missing_as_nan(values: NDArray[np.floating]) -> None:
    """Put NaN where all components of a spike on a channel are 0: sorters write that for nothing.

    Parameters
    ----------
    values : array (n_spikes, n_pcs, n_channels) floating
        Changed in place.
    """
    for i in range(values.shape[0]):
        for c in range(values.shape[2]):
            is_missing = True
            for p in range(values.shape[1]):
                if values[i, p, c] != 0:
                    is_missing = False
                    break
            if is_missing:
                for p in range(values.shape[1]):
                    values[i, p, c] = np.nan


@njit
def mean_features(
    values: NDArray[np.floating],
    groups: NDArray[np.integer],
    feature_channels: NDArray[np.integer],
    num_channels: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the mean features of spikes on each channel that most of them have, and their share.

    Parameters
    ----------
    values : array (n_spikes, n_pcs, n_loc) floating
        Spikes of which some number on a channel is not finite are left out.
    groups : array (n_spikes,) integer
        Spikes of one group have their features on the same channels.
    feature_channels : array (n_groups, n_loc) integer
        Channel of each column; -1 for none.
    num_channels : int

    Returns
    -------
    means : array (num_channels, n_pcs) float64
        0 on channels that fewer than half of the spikes have. Added up in the precision of the
        values.
    presence : array (num_channels,) float64
        Share of the spikes that have features other than 0 on the channel.
    """
    number, num_pcs, num_local = values.shape
    sums = np.zeros((num_channels, num_pcs), dtype=values.dtype)
    counts = np.zeros(num_channels)
    used = 0
    for i in range(number):
        channels, is_finite = feature_channels[groups[i]], True
        for j in range(num_local):
            if channels[j] >= 0:
                for p in range(num_pcs):
                    is_finite &= np.isfinite(values[i, p, j])
        if not is_finite:
            continue
        used += 1
        for j in range(num_local):
            if channels[j] >= 0:
                is_there = False
                for p in range(num_pcs):
                    is_there |= values[i, p, j] != 0
                    sums[channels[j], p] += values[i, p, j]
                counts[channels[j]] += is_there
    means = np.zeros((num_channels, num_pcs))
    for c in range(num_channels):
        if 2 * counts[c] >= used and counts[c] > 0:
            for p in range(num_pcs):
                means[c, p] = sums[c, p] / counts[c]
    return means, counts / max(used, 1)


def template_neighbours(
    similarity: NDArray[np.floating], has_signal: NDArray[np.bool_], num_templates: int
) -> NDArray[np.int32]:
    """Return the templates most similar to each template, itself first.

    Parameters
    ----------
    similarity : array (n_templates, n_templates) floating
        NaN counts as the lowest.
    has_signal : array (n_templates,) bool
        Templates without signal are nobody's neighbour.
    num_templates : int
        How many at most, itself included.

    Returns
    -------
    array (n_templates, K) int32
        By decreasing similarity, ties by id; -1 where there are no more. K is `num_templates`, or
        the number of templates where there are fewer.

    Examples
    --------
    >>> similarity = np.array([[1.0, 0.2, 0.9], [0.2, 1.0, 0.1], [0.9, 0.1, 1.0]])
    >>> template_neighbours(similarity, np.array([True, True, True]), 2)
    array([[0, 2],
           [1, 0],
           [2, 0]], dtype=int32)
    """
    count = len(similarity)
    keys = np.where(np.isnan(similarity), np.finfo(np.float64).min, similarity)
    keys[:, ~has_signal] = -np.inf
    np.fill_diagonal(keys, np.inf)
    order = np.argsort(-keys, axis=1, kind="stable")[:, : min(num_templates, count)]
    usable = has_signal[order] | (order == np.arange(count)[:, None])
    return np.where(usable, order, -1).astype(np.int32)


def projection_weights(
    coefficients: NDArray[np.floating],
    template_index: NDArray[np.integer],
    feature_channels: NDArray[np.integer],
) -> NDArray[np.float32]:
    """Return the weights by which the stored features of a spike add up to its projections.

    Parameters
    ----------
    coefficients : array (n_templates, n_pcs, n_channels) floating
        The templates in the basis of the features.
    template_index : array (n_pairs, K) integer, -1 padded
        Onto which templates the spikes of each pair of template and group are projected.
    feature_channels : array (n_pairs, n_loc) integer, -1 padded
        On which channels their features are stored.

    Returns
    -------
    array (n_pairs, n_pcs * n_loc, K) float32

    Examples
    --------
    >>> coefficients = np.array([[[1.0, 2.0]], [[3.0, 4.0]]])
    >>> projection_weights(coefficients, np.array([[0, 1], [1, 0]]), np.array([[1], [0]]))
    array([[[2., 4.]],
           [[3., 1.]]], dtype=float32)
    """
    num_pairs, num_pcs = len(template_index), coefficients.shape[1]
    num_local, num_out = feature_channels.shape[1], template_index.shape[1]
    weights = np.zeros((num_pairs, num_pcs * num_local, num_out), dtype=np.float32)
    for pair in range(num_pairs):
        stored = np.flatnonzero(feature_channels[pair] >= 0)
        onto = np.flatnonzero(template_index[pair] >= 0)
        channels = feature_channels[pair, stored]
        picked = coefficients[template_index[pair, onto]][:, :, channels]  # (onto, pcs, stored)
        table = weights[pair].reshape(num_pcs, num_local, num_out)
        table[np.ix_(np.arange(num_pcs), stored, onto)] = picked.transpose(1, 2, 0)
    return weights


def weighted_mean_projections(
    values: NDArray[np.floating],
    template_index: NDArray[np.integer],
    weights: Sequence[NDArray[np.integer]],
    missing: float = 0.0,
) -> NDArray[np.float64]:
    """Return the mean projections of spikes onto several templates, weighted by counts.

    Parameters
    ----------
    values : array (n, K)
        Projections of each spike.
    template_index : array (n, K) integer
        Onto which templates; -1 for none.
    weights : sequence of array (n_templates,) integer
        Counts of the templates, an array for each mean; not all 0.
    missing : float
        What counts for templates that a spike is not projected onto.

    Returns
    -------
    array (n, n_means) float64

    Notes
    -----
    Source: phy 2.1.0, ``TemplateController._get_template_features``, with `missing` 0.

    Examples
    --------
    >>> values, index = np.array([[2.0, 6.0]]), np.array([[0, 2]])
    >>> weighted_mean_projections(values, index, [np.array([3, 0, 1]), np.array([1, 1, 0])])
    array([[3., 1.]])
    """
    known = values.astype(np.float64)
    known[template_index < 0] = 0
    out = np.empty((len(values), len(weights)))
    for j, weight in enumerate(weights):
        padded = np.append(weight, 0)  # of template -1
        out[:, j] = (known * padded[template_index]).sum(axis=1) / weight.sum()
        if missing != 0:
            stored = np.minimum(padded, 1)[template_index].sum(axis=1)
            lost = stored < np.count_nonzero(weight)
            share = (padded[template_index].sum(axis=1) / weight.sum())[lost]
            out[lost, j] += (1 - share) * missing
    return out
