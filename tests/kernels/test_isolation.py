"""Distances and moments of clouds of spikes against numpy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from si_curation.kernels.isolation import inverse_cholesky, mahalanobis_squared, moments_of


@given(st.integers(1, 9), st.integers(1, 80), st.integers(0, 10**6))
def test_mahalanobis_squared(num_features, num_spikes, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(num_spikes, 12)).astype(np.float32)
    columns = rng.permutation(12)[:num_features]
    columns[rng.random(num_features) < 0.3] = -1
    center, transform = rng.normal(size=num_features), np.tril(rng.normal(size=(num_features,) * 2))
    x = np.where(columns >= 0, values[:, columns], 0.0) - center
    expected = ((x @ transform.T) ** 2).sum(axis=1)
    found = mahalanobis_squared(values, columns, center, transform)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    cutoff = float(np.median(found))
    some = mahalanobis_squared(values, columns, center, transform, cutoff)
    np.testing.assert_array_equal(some, np.where(found <= cutoff, found, np.inf))


@given(st.integers(0, 40), st.integers(1, 9), st.integers(0, 10**6))
def test_moments(num_spikes, num_features, seed):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(num_spikes, 10)) + 100).astype(np.float32)
    x[:, 3] = 7.1
    columns = rng.permutation(10)[:num_features]
    found = moments_of(x, columns)
    assert found.num_spikes == num_spikes
    if num_spikes:
        picked = x[:, columns].astype(np.float64)
        np.testing.assert_allclose(found.mean, picked.mean(axis=0), rtol=1e-12)
        expected = np.cov(picked.T, bias=True).reshape((num_features,) * 2) * num_spikes
        np.testing.assert_allclose(found.scatter, expected, rtol=1e-8, atol=1e-8)
    assert not found.scatter[columns == 3].any()


@given(st.integers(1, 12), st.integers(0, 10**6))
def test_inverse_cholesky(size, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3 * size, size))
    found = inverse_cholesky(x.T @ x, 0.0)
    np.testing.assert_allclose(found @ (x.T @ x) @ found.T, np.eye(size), atol=1e-7)
    smallest = np.linalg.eigvalsh(x.T @ x)[0]
    assert inverse_cholesky(x.T @ x, 1.001 * smallest) is None
    x = np.column_stack([x, x @ np.ones(size)])
    assert inverse_cholesky(x.T @ x, 1e-9) is None
