"""Waveforms rebuilt from features, against one spike at a time in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from si_curation.kernels.feature_waveforms import (
    Moments,
    Rebuilding,
    add_moments,
    coefficients_of_spikes,
    mean_and_std,
    waveforms_of_coefficients,
)


def make(rng, num_kinds, num_pcs, num_local, num_out):
    return Rebuilding(
        rng.standard_normal((num_kinds, num_local, num_out)).astype("float32"),
        rng.standard_normal((num_kinds, num_pcs, num_local)).astype("float32"),
        rng.standard_normal((num_kinds, num_pcs, num_out)).astype("float32"),
    )


shapes = st.tuples(
    st.integers(0, 30),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(0, 5),
    st.integers(0, 2**31),
)


def spikes_of(shape):
    num_spikes, num_kinds, num_pcs, num_local, num_out, seed = shape
    rng = np.random.default_rng(seed)
    how = make(rng, num_kinds, num_pcs, num_local, num_out)
    features = rng.standard_normal((40, num_pcs, num_local)).astype(rng.choice(["f4", "f8"]))
    rows = rng.integers(-1, 40, num_spikes)
    kinds = rng.integers(0, num_kinds, num_spikes).astype("int32")
    return features, rows, kinds, how


def expected_coefficients(features, rows, kinds, how):
    out = np.full((rows.size, features.shape[1], how.weights.shape[2]), np.nan)
    factors = np.full(rows.size, np.nan)
    for i, (row, kind) in enumerate(zip(rows, kinds, strict=True)):
        if row >= 0:
            feature = features[row].astype("float64")
            factors[i] = (feature * how.own[kind]).sum()
            out[i] = feature @ how.weights[kind] + factors[i] * how.rest[kind]
    return out, factors


@given(shapes)
def test_coefficients(shape):
    features, rows, kinds, how = spikes_of(shape)
    out = np.empty((rows.size, features.shape[1], how.weights.shape[2]), dtype="float32")
    factors = np.empty(rows.size, dtype="float32")
    coefficients_of_spikes(features, rows, kinds, how, out, factors)
    expected, sizes = expected_coefficients(features, rows, kinds, how)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(factors, sizes, rtol=1e-4, atol=1e-4)


@given(shapes, st.integers(1, 4), st.integers(1, 7))
def test_mean_and_std_are_those_of_the_waveforms(shape, num_sets, num_samples):
    features, rows, kinds, how = spikes_of(shape)
    rng = np.random.default_rng(shape[-1])
    sets = rng.integers(0, num_sets, rows.size)
    basis = rng.standard_normal((features.shape[1], num_samples))
    coefficients, _ = expected_coefficients(features, rows, kinds, how)
    waveforms = np.einsum("ps,npc->nsc", basis, coefficients)
    moments = Moments.zeros(num_sets, features.shape[1], how.weights.shape[2])
    half = rows.size // 2
    for part in (slice(0, half), slice(half, None)):
        some = Moments.zeros(num_sets, features.shape[1], how.weights.shape[2])
        add_moments(features, rows[part], kinds[part], sets[part], how, some)
        moments.add(some)
    mean, std = mean_and_std(moments, basis)
    for number in range(num_sets):
        own = waveforms[(sets == number) & (rows >= 0)]
        assert moments.counts[number] == len(own)
        if len(own) == 0:
            assert np.isnan(mean[number]).all()
            assert np.isnan(std[number]).all()
            continue
        scale = 1 + np.abs(own).max(initial=0)
        np.testing.assert_allclose(mean[number], own.mean(axis=0), atol=1e-5 * scale)
        np.testing.assert_allclose(std[number], own.std(axis=0), atol=2e-3 * scale)


@pytest.mark.parametrize("count", [0, 3])
def test_samples(count):
    rng = np.random.default_rng(0)
    coefficients = rng.standard_normal((count, 3, 4)).astype("float32")
    basis = rng.standard_normal((3, 9)).astype("float32")
    out = np.full((count, 9, 4), np.nan, dtype="float32")
    waveforms_of_coefficients(coefficients, basis, out)
    np.testing.assert_allclose(out, np.einsum("ps,npc->nsc", basis, coefficients), atol=1e-5)
