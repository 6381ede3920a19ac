"""Counts of templates per unit and the most frequent one, against the brute-force oracles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from helpers.few_values import numpy_for_few
from oracles import folders as naive
from si_curation.kernels.parallel import kernels_for_few
from si_curation.kernels.template_counts import count_templates, most_frequent_templates

seeds = st.integers(0, 2**32 - 1)


def assert_canonical(counts, num_units, num_templates):
    assert counts.shape == (num_units, num_templates)
    assert counts.dtype == np.int64
    assert np.all(counts.data > 0), "no explicit zeros"
    for start, stop in zip(counts.indptr[:-1], counts.indptr[1:], strict=True):
        assert np.all(np.diff(counts.indices[start:stop]) > 0), "columns ascend"


@given(
    seed=seeds,
    size=st.integers(0, 60),
    num_units=st.integers(1, 6),
    num_templates=st.integers(1, 9),
    dtypes=st.sampled_from(
        [("int64", "int32"), ("int64", "uint16"), ("uint16", "int64"), ("int32", "uint32")]
    ),
    is_strided=st.booleans(),
    block=st.integers(1, 70),
)
def test_count_templates(
    small_blocks, seed, size, num_units, num_templates, dtypes, is_strided, block
):
    rng = np.random.default_rng(seed)
    unit_index = rng.integers(0, num_units, size).astype(dtypes[0])
    template_ids = rng.integers(0, num_templates, size).astype(dtypes[1])
    if is_strided:
        unit_index = np.repeat(unit_index, 2)[::2]
        template_ids = np.stack([template_ids, template_ids])[:, ::-1].T[::-1, 0]
    expected = naive.template_counts_matrix(
        template_ids, unit_index, np.arange(num_units), num_templates
    )
    for use in (kernels_for_few, numpy_for_few):
        with small_blocks(block, num_threads=2), use():
            counts = count_templates(unit_index, template_ids, num_units, num_templates)
        assert_canonical(counts, num_units, num_templates)
        np.testing.assert_array_equal(counts.toarray(), expected)


def test_field_of_a_spike_vector_is_taken():
    spikes = np.zeros(50, dtype=[("sample_index", "int64"), ("unit_index", "int64")])
    spikes["unit_index"] = np.arange(50) % 3
    template_ids = (np.arange(50) % 7).astype(np.uint16)
    counts = count_templates(spikes["unit_index"], template_ids, 3, 7)
    expected = naive.template_counts_matrix(template_ids, spikes["unit_index"], range(3), 7)
    np.testing.assert_array_equal(counts.toarray(), expected)


# few pairs and many: up to 4 M possible pairs there is a table of all of them, above a hash table
@pytest.mark.parametrize(
    ("num_units", "num_templates", "num_pairs"),
    [(40, 50, 300), (2000, 2000, 9000), (3000, 2000, 100), (5000, 3000, 60_000)],
)
@pytest.mark.parametrize("dtype", ["int32", "uint16"])
def test_many_spikes_in_many_blocks(num_units, num_templates, num_pairs, dtype):
    rng = np.random.default_rng(num_pairs)
    size = (1 << 20) + 1234
    units = rng.integers(0, num_units, num_pairs)
    templates = rng.integers(0, num_templates, num_pairs)
    units[:2], templates[:2] = num_units - 1, (num_templates - 1, 0)  # the corners
    pair = rng.integers(0, num_pairs, size)
    unit_index, template_ids = units[pair], templates[pair].astype(dtype)
    counts = count_templates(unit_index, template_ids, num_units, num_templates)
    assert_canonical(counts, num_units, num_templates)
    keys, expected = np.unique(unit_index * num_templates + template_ids, return_counts=True)
    found = counts.tocoo()
    np.testing.assert_array_equal(found.row * np.int64(num_templates) + found.col, keys)
    np.testing.assert_array_equal(found.data, expected)


def test_pairs_that_do_not_fit_in_32_bits():
    unit_index = np.array([99_999, 0, 99_999])
    template_ids = np.array([99_999, 99_999, 0], dtype=np.int32)
    counts = count_templates(unit_index, template_ids, 100_000, 100_000)
    found = counts.tocoo()
    pairs = zip(found.row.tolist(), found.col.tolist(), found.data.tolist(), strict=True)
    assert sorted(pairs) == [(0, 99_999, 1), (99_999, 0, 1), (99_999, 99_999, 1)]


@given(seed=seeds, size=st.integers(1, 60), num_templates=st.integers(1, 6), gap=st.integers(1, 3))
def test_most_frequent_templates(seed, size, num_templates, gap):
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, 4, size) * gap  # every second or third unit only
    templates = rng.integers(0, num_templates, size)
    num_units = 3 * gap + 1
    found = most_frequent_templates(count_templates(clusters, templates, num_units, num_templates))
    expected = naive.most_frequent_template(templates, clusters)
    nothing = {"template_id": -1, "template_spike_count": 0, "num_spikes": 0, "num_templates": 0}
    assert len(found) == len(nothing)
    for values, name in zip(found, nothing, strict=True):  # in this order
        assert values.dtype == np.int64
        assert values.tolist() == [expected.get(u, nothing)[name] for u in range(num_units)]


@pytest.mark.parametrize(
    ("counts", "template_ids", "spike_counts"),
    [
        ([[3, 3, 1], [0, 5, 5], [1, 1, 1]], [0, 1, 0], [3, 5, 1]),
        ([[0, 0, 0], [0, 0, 2], [0, 0, 0]], [-1, 2, -1], [0, 2, 0]),
        ([[0, 0, 0]], [-1], [0]),
        (np.zeros((0, 4), dtype=np.int64), [], []),
    ],
)
def test_ties_and_empty_units(counts, template_ids, spike_counts):
    counts = sparse.csr_array(np.asarray(counts, dtype=np.int64))
    found = most_frequent_templates(counts)
    assert found.template_ids.tolist() == template_ids
    assert found.template_spike_counts.tolist() == spike_counts
    assert found.num_spikes.tolist() == counts.sum(axis=1).tolist()
    assert found.num_templates.tolist() == (counts > 0).sum(axis=1).tolist()
