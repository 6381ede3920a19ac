"""Similarities of templates and of units against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from oracles import template_similarity as naive
from si_curation.errors import ParameterError
from si_curation.kernels import template_similarity
from si_curation.kernels.template_similarity import (
    lagged_cosine_similarity,
    most_similar,
    similarity_of_groups,
    without_tiny_values,
)

small = arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 4)),
    elements=st.integers(-4, 4).map(float) | st.just(np.nan),
)


@given(templates=small, max_lag=st.integers(0, 7), silent=st.integers(0, 4))
def test_lagged_cosine_is_brute_force(templates, max_lag, silent):
    templates = templates.copy()
    templates[silent % len(templates)] *= 0.0
    found = lagged_cosine_similarity(templates, max_lag)
    expected = naive.lagged_cosine(templates, min(max_lag, templates.shape[1] - 1))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_array_equal(found, found.T)
    assert found.dtype == np.float32


@pytest.mark.slow
def test_lagged_cosine_of_many_local_templates(threads):
    rng = np.random.default_rng(0)
    templates = np.zeros((90, 12, 40))
    for k, first in enumerate(rng.integers(0, 35, 90)):
        templates[k, :, first : first + 5] = rng.normal(size=(12, 5))
    templates[7] = 0.0
    threads(1)
    one = lagged_cosine_similarity(templates, 4)
    threads(2)
    np.testing.assert_array_equal(lagged_cosine_similarity(templates, 4), one)
    np.testing.assert_allclose(one, naive.lagged_cosine(templates, 4), atol=2e-6)
    assert (one == 0).sum() > 1000
    order = rng.permutation(90)
    shuffled = lagged_cosine_similarity(templates[order], 4)
    np.testing.assert_allclose(shuffled, one[np.ix_(order, order)], atol=1e-6)
    weak = lagged_cosine_similarity(templates * np.logspace(-25, 25, 90)[:, None, None], 4)
    np.testing.assert_allclose(weak, one, atol=2e-6)


def test_a_shift_within_the_lag_costs_nothing():
    templates = np.zeros((2, 20, 3), dtype=np.float32)
    templates[0, 5:9] = np.arange(12).reshape(4, 3)
    templates[1, 10:14] = 7.0 * np.arange(12).reshape(4, 3)
    assert lagged_cosine_similarity(templates, 5)[0, 1] == pytest.approx(1.0, abs=1e-6)
    assert lagged_cosine_similarity(templates)[0, 1] == pytest.approx(1.0, abs=1e-6)
    assert lagged_cosine_similarity(templates, 4)[0, 1] < 0.9
    with pytest.raises(ParameterError, match="max_lag is -1"):
        lagged_cosine_similarity(templates, -1)


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 5, 0), (1, 0, 2), (1, 1, 1)])
def test_lagged_cosine_of_nothing(shape):
    found = lagged_cosine_similarity(np.ones(shape), 3)
    np.testing.assert_array_equal(found, np.ones((1, 1)) if shape == (1, 1, 1) else 0.0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 6))
def test_similarity_of_groups_is_brute_force(seed, num_units, num_templates):
    rng = np.random.default_rng(seed)
    similarity = rng.normal(size=(num_templates, num_templates)).astype(np.float32)
    units = rng.integers(0, num_units, 8)
    templates = rng.integers(0, num_templates, 8)
    counts = np.zeros((num_units, num_templates), dtype=np.int64)
    np.add.at(counts, (units, templates), 1)
    found = similarity_of_groups(similarity, sparse.csr_array(counts))
    expected = naive.similarity_of_units(similarity, units, templates, num_units)
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_similarity_of_groups_in_blocks(monkeypatch):
    rng = np.random.default_rng(1)
    counts = sparse.csr_array((rng.random((60, 50)) < 0.1).astype(np.int64))
    similarity = rng.random((50, 50))
    whole = similarity_of_groups(similarity, counts)
    monkeypatch.setattr("si_curation.kernels.template_similarity._ROWS_PER_BLOCK", 7)
    np.testing.assert_array_equal(similarity_of_groups(similarity, counts), whole)
    similarity[3] = np.nan  # a NaN template does not hide the others
    assert np.isnan(similarity_of_groups(similarity, counts)).sum() < whole.size


@given(st.integers(0, 1000), st.integers(0, 20), st.integers(0, 40))
def test_tiny_values_are_dropped_as_by_comparison(seed, num_rows, num_values):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(num_rows, num_values)) * 10.0 ** rng.integers(-44, 38, num_values)
    rows = rows.astype(np.float32)
    rows[rng.random(rows.shape) < 0.05] = rng.choice([0.0, -0.0, np.nan, np.inf, -np.inf])
    least = np.float32(1e-15) * np.abs(rows).max(axis=1, initial=0)[:, None]
    expected = np.where(np.abs(rows) < least, np.float32(0), rows)
    found = without_tiny_values(rows)
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


@given(seed=st.integers(0, 2**32 - 1), num_units=st.integers(1, 9), num_others=st.integers(0, 10))
def test_most_similar_units_are_those_of_a_sort(seed, num_units, num_others):
    rng = np.random.default_rng(seed)
    table = rng.integers(-3, 4, (num_units, num_units)) / 4.0  # many are equal
    table[rng.random(table.shape) < 0.2] = rng.choice([np.nan, np.inf, -np.inf])
    units = rng.permutation(num_units)[: rng.integers(1, num_units + 1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(template_similarity, "_ROWS_OF_UNITS", int(rng.integers(1, 4)))
        patch.setattr(template_similarity, "_UNITS_OF_PART", int(rng.integers(1, 5)))
        others, values, start = most_similar(table, units, num_others)
    for place, unit in enumerate(units):
        row = table[unit].copy()
        row[unit] = np.nan
        order = np.argsort(-row, kind="stable")
        order = order[np.isfinite(row[order])][:num_others]
        np.testing.assert_array_equal(others[start[place] : start[place + 1]], order)
        np.testing.assert_array_equal(values[start[place] : start[place + 1]], row[order])
