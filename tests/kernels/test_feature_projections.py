"""The kernels of features and projections against loops over every element."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles import features as naive
from si_curation.kernels.feature_basis import (
    condition_number,
    recover_basis,
    templates_in_basis,
)
from si_curation.kernels.feature_channels import sorted_feature_channels
from si_curation.kernels.feature_projections import (
    Traces,
    TraceTemplates,
    gather_features,
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


@given(seeds, st.integers(1, 4), st.integers(4, 9), st.floats(0, 0.5))
def test_recover_basis(seed, num_pcs, num_samples, noise):
    rng = np.random.default_rng(seed)
    templates = rng.standard_normal((12, num_samples, 3))
    counts = rng.integers(0, 40, 12)
    counts[:4] = 20
    basis = np.linalg.qr(rng.standard_normal((num_samples, num_pcs)))[0].T
    features = rng.uniform(1, 30, (12, 1, 1)) * np.einsum("ps,tsc->tpc", basis, templates)
    features += noise * rng.standard_normal(features.shape)
    features[counts == 0] = 1e6  # must not count
    found = recover_basis(features, templates, counts)
    expected = naive.recover_basis(features, templates, counts)
    np.testing.assert_allclose(found.waveforms, expected, atol=1e-7)
    np.testing.assert_allclose(found.waveforms @ found.waveforms.T, np.eye(num_pcs), atol=1e-10)
    cross = np.einsum("t,tsc,tpc->sp", counts, templates, features)
    assert found.condition_number == pytest.approx(np.linalg.cond(cross), rel=1e-6)
    # each template scaled by whatever fits best
    left = power = 0.0
    for own, template, count in zip(features, templates, counts, strict=True):
        projected = (expected @ template).ravel()
        factor = max(projected @ own.ravel() / (projected @ projected), 0)
        left += count * np.sum((own.ravel() - factor * projected) ** 2)
        power += count * np.sum(own**2)
    assert found.explained == pytest.approx(1 - left / power, abs=1e-9)
    assert 0 <= found.explained_by_chance <= 1


@given(seeds, st.integers(1, 4), st.floats(0.1, 50))
def test_basis_of_templates_within_it(seed, num_pcs, scale):
    """It is found exactly, however large the spikes are, and by nothing else so well."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((9, num_pcs)))[0].T
    features = rng.standard_normal((30, num_pcs, 4))
    templates = np.einsum("ps,tpc->tsc", basis, features / scale)
    found = recover_basis(features, templates, np.full(30, 5))
    np.testing.assert_allclose(found.waveforms, basis, atol=1e-8)
    assert found.explained == pytest.approx(1)
    assert found.explained_by_chance < 0.6
    assert found.condition_number < 5


@given(seeds, st.integers(0, 4))
def test_condition_number_of_few_waveforms(seed, num_directions):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((9, 3)))[0].T
    shapes = np.linalg.qr(rng.standard_normal((9, 5)))[0][:, :num_directions]
    templates = np.einsum("sd,tdc->tsc", shapes, rng.standard_normal((10, num_directions, 4)))
    features = np.einsum("ps,tsc->tpc", basis, templates)
    found = recover_basis(features, templates, np.full(10, 5))
    assert found.waveforms.shape == (3, 9)
    assert np.isinf(found.condition_number) == (num_directions < 3)


@pytest.mark.parametrize("what", ["no spikes", "no signal", "no templates", "no features"])
def test_nothing_to_recover_a_basis_from(what):
    rng = np.random.default_rng(0)
    count = 0 if what == "no templates" else 5
    features, templates = rng.standard_normal((count, 3, 2)), rng.standard_normal((count, 7, 2))
    counts = np.full(count, 10) * (what != "no spikes")
    templates *= what != "no signal"
    features *= what != "no features"
    found = recover_basis(features, templates, counts)
    assert found.waveforms.shape == (3, 7)
    assert np.isfinite(found.waveforms).all()
    assert found.condition_number == np.inf
    assert (found.explained, found.explained_by_chance) == (0, 0)


def test_condition_number():
    assert condition_number(np.ones(3)) == 1
    assert condition_number(np.array([10.0, 1.0, 0.1])) == pytest.approx(100)
    assert condition_number(np.array([1.0, 1e-14])) == np.inf
    assert condition_number(np.zeros(2)) == np.inf


@given(seeds, st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_sorted_feature_channels(seed, num_templates, num_detections, num_local):
    """Features that are their own channel, sorted spike by spike as Kilosort 4 does."""
    rng = np.random.default_rng(seed)
    lists = [
        np.array([rng.permutation(7)[:num_local] for _ in range(count)])
        for count in (num_templates, num_detections)
    ]
    templates, detections = rng.integers(0, num_templates, 12), rng.integers(0, num_detections, 12)
    channels = lists[1][detections] + 1  # 0 is for none
    expected = naive.sort_features(channels, templates, detections, *lists) - 1
    counts = np.zeros((num_templates, num_detections), dtype=int)
    np.add.at(counts, (templates, detections), 1)
    found = sorted_feature_channels(*lists, counts)
    assert found.shape == lists[1].shape
    np.testing.assert_array_equal(found[detections], expected)
    unused = np.setdiff1d(np.arange(num_detections), detections)
    np.testing.assert_array_equal(found[unused], lists[1][unused])
