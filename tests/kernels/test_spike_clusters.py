"""Clusters of a folder's spikes against a loop over the spikes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import spike_clusters as naive
from si_curation.kernels import spike_clusters as kernels

DTYPES = (np.int32, np.uint32, np.uint16, np.int64)


def draw_folder(data):
    """Draw the files of a folder, and an analyzer that has some of its spikes, some changed."""
    num_rows = data.draw(st.integers(1, 30))
    seed = data.draw(st.integers(0, 2**20))
    rng = np.random.default_rng(seed)
    dtype = data.draw(st.sampled_from(DTYPES))
    clusters = rng.integers(0, 6, num_rows).astype(dtype)
    templates = rng.integers(0, 4, num_rows).astype(data.draw(st.sampled_from(DTYPES)))
    samples = np.sort(rng.integers(-5, 100, num_rows))
    rows = rng.permutation(num_rows)[: data.draw(st.integers(0, num_rows))]
    num_units = data.draw(st.integers(1, 4))
    cluster_of_unit = rng.permutation(9)[:num_units].astype(np.int64)
    unit_index = rng.integers(0, num_units, rows.size)
    table = np.stack([samples[rows], unit_index, np.zeros(rows.size, dtype=np.int64)], axis=1)
    return rng, samples, templates, clusters, table, rows, cluster_of_unit


@settings(max_examples=settings.default.max_examples * 2)
@given(data=st.data())
def test_comparison_counts_as_a_loop_does(data):
    rng, samples, templates, clusters, table, rows, cluster_of_unit = draw_folder(data)
    template_ids = templates[rows].astype(np.int32)
    if rows.size:  # some of each kind of difference
        some = rng.random((4, rows.size)) < 0.2
        table[some[0], 0] += 1
        template_ids[some[1]] += 1
        rows[some[2]] = rng.choice([-1, samples.size, samples.size + 7], some[2].sum())
        clusters[rows[some[3] & ~some[2]]] += 1
    arguments = (table, template_ids, rows, cluster_of_unit, samples, templates, clusters)
    assert kernels.compare_with_files(*arguments) == naive.compare_with_files(*arguments)


@settings(max_examples=settings.default.max_examples * 2)
@given(data=st.data())
def test_clusters_are_assigned_as_a_loop_does(data):
    _, _, _, before, table, rows, cluster_of_unit = draw_folder(data)
    after, changed = kernels.assign_clusters(before, table, rows, cluster_of_unit)
    expected = naive.assign_clusters(before.tolist(), table, rows, cluster_of_unit.tolist())
    assert (after.tolist(), changed.tolist()) == expected
    assert (after.dtype, changed.dtype) == (np.int32, np.int64)
    assert not np.shares_memory(before, after)


@pytest.mark.parametrize("large", [0, 1 << 27])
def test_changed_clusters(large):
    rng = np.random.default_rng(3)
    before, after = rng.integers(0, 20, (2, 60)) + large
    after[10:] = before[10:]
    found = kernels.changed_clusters(before, after)
    assert found.tolist() == naive.changed_clusters(before.tolist(), after.tolist())
    assert kernels.changed_clusters(before, before).size == 0
    assert kernels.changed_clusters(before[:0], before[:0]).size == 0


def test_many_spikes_in_blocks():
    rng = np.random.default_rng(5)
    num_spikes = 600_001  # three blocks
    rows = rng.permutation(num_spikes)
    before = rng.integers(0, 50, num_spikes).astype(np.int32)
    unit_index = rng.integers(0, 30, num_spikes)
    table = np.stack([rows, unit_index, np.zeros_like(rows)], axis=1)
    after, _ = kernels.assign_clusters(before, table, rows, np.arange(30) + 60)
    np.testing.assert_array_equal(after[rows], unit_index + 60)
    zeros = np.zeros(num_spikes, dtype=np.int32)
    counts = kernels.compare_with_files(
        table, zeros, rows, np.arange(30) + 60, np.arange(num_spikes), zeros, after
    )
    assert counts == (0, 0, 0, 0)
