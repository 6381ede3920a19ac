"""The basis of features from mean features and templates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles import features as naive
from si_curation.kernels.feature_basis import condition_number, recover_basis

seeds = st.integers(0, 2**32 - 1)


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
