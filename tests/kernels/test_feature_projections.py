"""The kernels of features and projections against loops over every element."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oracles import features as naive
from si_curation.kernels.feature_basis import (
    templates_in_basis,
)
from si_curation.kernels.feature_projections import (
    Traces,
    TraceTemplates,
    gather_features,
    gather_on_channels,
    mean_features,
    missing_as_nan,
    project_features,
    project_traces,
    projection_weights,
    template_neighbours,
)

sizes = st.integers(1, 7)
seeds = st.integers(0, 2**32 - 1)


def some_rows(rng, num_spikes, num_rows):
    """Rows of spikes, some of which are not stored."""
    return rng.integers(-1, num_rows, num_spikes)


def some_channels(rng, num_lists, num_local, num_channels):
    """Distinct channels in each row, in any order, some of them -1."""
    out = np.full((num_lists, num_local), -1, dtype=np.int64)
    for row in out:
        count = int(rng.integers(0, min(num_local, num_channels) + 1))
        places = rng.permutation(num_local)[:count]
        row[places] = rng.permutation(num_channels)[:count]
    return out


def some_pairs(rng, num_templates, num_groups):
    """Number all pairs of template and group in any order."""
    return rng.permutation(num_templates * num_groups).reshape(num_templates, num_groups)


@given(seeds, sizes, sizes, st.integers(0, 9), sizes, st.sampled_from(["f4", "f8"]))
def test_project_features(seed, num_templates, num_groups, num_features, num_out, dtype):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((5, num_features)).astype(dtype)
    rows = some_rows(rng, 11, 5)
    ids, groups = rng.integers(0, num_templates, 11), rng.integers(0, num_groups, 11)
    pair_of = some_pairs(rng, num_templates, num_groups)
    weights = rng.standard_normal((pair_of.size, num_features, num_out)).astype(np.float32)
    out = np.full((11, num_out), 777, dtype=np.float32)
    project_features(features, rows, ids, groups, pair_of, weights, out)
    for i in range(11):
        for k in range(num_out):
            if rows[i] < 0:
                assert np.isnan(out[i, k])
                continue
            weight = weights[pair_of[ids[i], groups[i]], :, k].astype(float)
            terms = features[rows[i]].astype(float) * weight
            assert abs(out[i, k] - terms.sum()) <= 4e-6 * (np.abs(terms).sum() + 1e-6)


def test_templates_that_are_their_own_groups():
    """One column of pairs: groups do not count."""
    features, weights = np.ones((1, 1), "f4"), np.array([3, 5], "f4").reshape(2, 1, 1)
    rows, ids, out = np.zeros(2, dtype=int), np.array([1, 0]), np.empty((2, 1), "f4")
    project_features(features, rows, ids, np.array([1, 1]), np.array([[0], [1]]), weights, out)
    assert out.ravel().tolist() == [5, 3]


@given(seeds, sizes, st.integers(1, 12))
def test_project_features_does_not_depend_on_the_block(seed, num_templates, num_features):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((30, num_features)).astype(np.float32)
    rows, ids = some_rows(rng, 40, 30), rng.integers(0, num_templates, 40)
    weights = rng.standard_normal((num_templates, num_features, 3)).astype(np.float32)
    own = np.arange(num_templates)[:, None]
    whole, pieces = np.empty((2, 40, 3), dtype=np.float32)
    project_features(features, rows, ids, ids, own, weights, whole)
    for i in range(0, 40, 7):
        p = slice(i, i + 7)
        project_features(features, rows[p], ids[p], ids[p], own, weights, pieces[p])
    np.testing.assert_array_equal(whole, pieces)


@given(seeds, sizes, sizes, sizes, sizes, st.sampled_from(["i2", "f4", "f8"]))
def test_project_traces(seed, num_templates, num_samples, num_channels, num_out, dtype):
    rng = np.random.default_rng(seed)
    traces = (100 * rng.standard_normal((30, num_channels))).astype(dtype)
    templates = rng.standard_normal((num_templates, num_samples, num_channels)).astype(np.float32)
    span = np.sort(rng.integers(0, num_channels + 1, (num_templates, 2)), axis=1)
    for template, (low, high) in zip(templates, span, strict=True):
        template[:, :low] = template[:, high:] = 0
    gains, offsets = rng.uniform(0.1, 3, num_channels), rng.uniform(-5, 5, num_channels)
    index = rng.integers(-1, num_templates, (num_templates, num_out))
    low, high = np.sort(rng.integers(0, 31, 2))  # the rows that are in the recording
    first = rng.integers(0, 30 - num_samples + 1, 9)
    ids = rng.integers(0, num_templates, 9)
    out = np.full((9, num_out), 777, dtype=np.float32)
    project_traces(
        Traces(traces, low, high, gains, offsets),
        first,
        ids,
        TraceTemplates(templates, span, index),
        out,
    )
    scaled = traces.astype(float) * gains + offsets
    scaled[:low] = scaled[high:] = 0
    expected = naive.project_traces(scaled, first, ids, index, templates, before=0)
    scale = 1 + np.abs(scaled).max() * num_samples * num_channels * 4
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-7 * scale)
    assert np.all(out[index[ids] < 0] == 0)


@given(seeds, sizes, sizes, sizes, sizes)
def test_mean_features(seed, num_groups, num_pcs, num_local, num_channels):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((12, num_pcs, num_local)).astype(np.float32)
    values *= rng.random((12, 1, num_local)) > 0.3
    values[rng.random((12, num_pcs, num_local)) < 0.02] = np.nan
    groups = rng.integers(0, num_groups, 12)
    channels = some_channels(rng, num_groups, num_local, num_channels)
    means, presence = mean_features(values, groups, channels, num_channels)
    dense = np.zeros((12, num_channels, num_pcs), dtype=np.float32)
    for i, group in enumerate(groups):
        there = channels[group] >= 0
        dense[i, channels[group][there]] = values[i][:, there].T
    dense = dense[np.isfinite(dense).all(axis=(1, 2))]
    count = (dense != 0).any(axis=2).sum(axis=0)
    expected = dense.sum(axis=0) / np.maximum(count, 1)[:, None]
    np.testing.assert_array_equal(presence, count / max(len(dense), 1))
    is_usual = (2 * count >= len(dense))[:, None]
    np.testing.assert_allclose(means, np.where(is_usual, expected, 0), rtol=1e-5, atol=1e-6)


def test_zeros_of_all_components_are_missing():
    values = np.array([[[0.0, 0.0], [0.0, 1.0]], [[-0.0, np.nan], [0.0, 0.0]]])
    missing_as_nan(values)
    nan = np.nan
    np.testing.assert_array_equal(values, [[[nan, 0], [nan, 1]], [[nan, nan], [nan, 0]]])


@given(seeds, sizes, sizes, sizes, sizes, st.sampled_from(["f4", "f8"]))
def test_gather_features(seed, num_templates, num_pcs, num_local, num_channels, dtype):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((6, num_pcs, num_local)).astype(dtype)
    rows, ids = some_rows(rng, 12, 6), rng.integers(0, num_templates, 12)
    channels = some_channels(rng, num_templates, num_local, num_channels)
    num_places = num_channels + 1
    places = np.full((3, num_channels), -1, dtype=np.int64)
    for row in places:
        asked = rng.permutation(num_channels)[: rng.integers(0, num_channels + 1)]
        row[asked] = rng.permutation(num_places)[: asked.size]
    place_rows = rng.integers(0, 3, 12)
    out = np.zeros((12, num_pcs, num_places), dtype=np.float32)
    gather_features(features, rows, ids, channels, places, place_rows, out)
    expected = np.zeros_like(out)
    for i in range(12):
        for channel in range(num_channels):
            column = np.flatnonzero(channels[ids[i]] == channel)
            place = places[place_rows[i], channel]
            if place >= 0 and column.size:
                own = features[rows[i], :, column[0]] if rows[i] >= 0 else np.nan
                expected[i, :, place] = own
    np.testing.assert_array_equal(out, expected)


@given(seeds, sizes, sizes, sizes, sizes, st.sampled_from(["f4", "f8"]), st.sampled_from("CF"))
def test_gather_on_channels(seed, num_templates, num_pcs, num_local, num_channels, dtype, layout):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((6, num_pcs, num_local)).astype(dtype, order=layout)
    rows, ids = some_rows(rng, 40, 6), rng.integers(0, num_templates, 40)
    channels = some_channels(rng, num_templates, num_local, num_channels)
    asked = rng.permutation(num_channels)[: rng.integers(0, num_channels + 1)]
    places = np.full(num_channels, -1, dtype=np.int64)
    places[asked] = np.arange(asked.size)
    out = np.full((40, asked.size, num_pcs), 7, dtype=np.float32)
    gather_on_channels(features, rows, ids, channels, places, out)
    expected = np.zeros_like(out)
    for i in range(40):
        for place, channel in enumerate(asked):
            column = np.flatnonzero(channels[ids[i]] == channel)
            if column.size:
                own = features[rows[i], :, column[0]] if rows[i] >= 0 else np.nan
                expected[i, place] = own
    np.testing.assert_array_equal(out, expected)


@given(seeds, st.integers(1, 9), st.integers(1, 12), st.booleans())
def test_template_neighbours(seed, count, num_templates, with_nan):
    rng = np.random.default_rng(seed)
    similarity = rng.integers(-3, 4, (count, count)) / 4  # many ties, negative ones too
    if with_nan:
        similarity[rng.random((count, count)) < 0.3] = np.nan
    has_signal = rng.random(count) < 0.7
    found = template_neighbours(similarity, has_signal, num_templates)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, naive.neighbours(similarity, has_signal, num_templates))


@given(seeds, sizes, sizes, sizes, sizes, sizes)
def test_projection_weights(seed, num_templates, num_pcs, num_channels, num_local, num_out):
    rng = np.random.default_rng(seed)
    coefficients = rng.standard_normal((num_templates, num_pcs, num_channels))
    index = rng.integers(-1, num_templates, (num_templates, num_out))
    channels = some_channels(rng, num_templates, num_local, num_channels)
    found = projection_weights(coefficients, index, channels)
    assert found.shape == (num_templates, num_pcs * num_local, num_out)
    assert found.dtype == np.float32
    for t in range(num_templates):
        for p in range(num_pcs):
            for j in range(num_local):
                for k in range(num_out):
                    is_one = channels[t, j] >= 0 and index[t, k] >= 0
                    value = coefficients[index[t, k], p, channels[t, j]] if is_one else 0
                    assert found[t, p * num_local + j, k] == np.float32(value)


@given(seeds, st.integers(1, 4), st.integers(4, 9))
def test_dot_products_in_a_basis(seed, num_pcs, num_samples):
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((num_pcs, num_samples))  # need not be orthonormal
    inside = np.einsum("ps,tpc->tsc", basis, rng.standard_normal((3, num_pcs, 2)))
    waveform = rng.standard_normal((num_samples, 2))
    features = basis @ waveform
    coefficients = templates_in_basis(inside, basis)
    found = np.einsum("tpc,pc->t", coefficients, features)
    scale = np.linalg.cond(basis) ** 2 * np.abs(inside).sum() * np.abs(waveform).max()
    np.testing.assert_allclose(
        found, np.einsum("tsc,sc->t", inside, waveform), atol=1e-12 * scale, rtol=1e-9
    )
