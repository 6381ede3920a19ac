"""Spikes are matched to rows exactly as with dictionaries; nothing uncertain is decided."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oracles import spike_matching as naive
from si_curation.kernels import spike_matching
from si_curation.kernels.spike_matching import find_offsets, match_by_cluster, match_by_sample


@st.composite
def files(draw, num_samples=12, num_clusters=4):
    n = draw(st.integers(0, 30))
    samples = np.sort(draw(st.lists(st.integers(0, num_samples), min_size=n, max_size=n)))
    clusters = draw(st.lists(st.integers(0, num_clusters - 1), min_size=n, max_size=n))
    templates = draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
    return (
        np.asarray(samples, dtype=np.int64),
        np.asarray(clusters, dtype=np.int32),
        np.asarray(templates, dtype=np.int32),
    )


@given(files(), files(), st.integers(-3, 3), st.booleans())
def test_by_cluster_as_with_a_dictionary(spikes, rows, offset, sort_runs):
    cluster_of_unit = np.array([2, -1, 0, 3])
    table = np.zeros(spikes[0].size, dtype=[("sample", np.int64), ("unit", np.int64)])
    table["sample"], table["unit"] = spikes[0], spikes[1]  # not contiguous, as a spike vector
    arguments = (table["sample"], table["unit"], cluster_of_unit, rows[0], rows[1], offset)
    expected = naive.match_by_cluster(*arguments)
    assert match_by_cluster(*arguments).tolist() == expected


def test_many_spikes_at_one_sample():
    rng = np.random.default_rng(0)
    units, clusters = rng.integers(0, 5, 300), rng.integers(0, 5, 300)
    cluster_of_unit = np.array([4, 3, -1, 1, 0])
    samples = np.full(300, 7)
    arguments = (samples, units, cluster_of_unit, samples, clusters)
    found = match_by_cluster(*arguments)
    assert units.size * clusters.size > spike_matching._MANY_PAIRS
    assert found.tolist() == naive.match_by_cluster(*arguments)


@given(files(num_samples=20), st.lists(st.integers(0, 2), min_size=30, max_size=30))
def test_by_sample_decides_only_what_is_certain(rows, units):
    """Units are any sets of rows; what is decided holds for every consistent assignment."""
    samples, clusters, templates = rows
    units = np.array(units[: samples.size], dtype=np.int64)
    order = np.lexsort((units, samples))  # as SpikeInterface orders them
    found = np.full(samples.size, -1)
    result = match_by_sample(found, samples, units[order], samples, clusters, templates)
    assert result.missing == 0
    assert result.ambiguous == np.count_nonzero(found < 0)
    decided = found[found >= 0]
    assert np.unique(decided).size == decided.size
    np.testing.assert_array_equal(samples[decided], samples[found >= 0])
    # where a sample has one spike and one row, there is no doubt
    alone = np.bincount(samples, minlength=21)[samples] == 1
    np.testing.assert_array_equal(found[alone], np.flatnonzero(alone))
    seen = {(u, clusters[r]) for u, r in zip(units[order][alone], found[alone], strict=True)}
    for sample in np.unique(samples):
        here = samples == sample
        if here.sum() > 5 or (found[here] < 0).any():
            continue
        options = naive.possible_templates(
            units[order][here],
            lambda u, r: (u, clusters[r]) in seen,
            np.flatnonzero(here),
            templates,
        )
        assert len(options) == 1, "decided although there is more than one way"


@given(st.lists(st.sampled_from([-3, 0, 1, 2, 7, 900, 5_000_000, 2**31 - 1]), max_size=12))
def test_clusters_are_numbered_as_by_unique(ids):
    ids = np.array(ids, dtype=np.int32)
    found = spike_matching._numbered(ids)
    assert found.tolist() == np.unique(ids, return_inverse=True)[1].tolist()


def test_by_sample_counts_what_is_not_there():
    found = np.array([-1, -1, 4])
    result = match_by_sample(
        found,
        np.array([1, 2, 9]),
        np.array([0, 0, 1]),
        np.array([1, 1, 3, 9, 9]),
        np.array([0, 1, 0, 0, 1]),
        np.array([0, 1, 0, 0, 1]),
    )
    assert result == (1, 1)
    assert found[2] == 4


@given(
    st.lists(st.integers(0, 300), max_size=30),
    st.integers(0, 60),
    st.lists(st.integers(0, 40), max_size=3),
)
def test_offsets(rows, start, extra):
    rows = np.sort(np.array(rows, dtype=np.int64))
    spikes = np.sort(np.concatenate([rows[rows >= start] - start, np.array(extra, dtype=np.int64)]))
    assert find_offsets(spikes, rows).tolist() == naive.find_offsets(spikes, rows)
    if start and not extra and (rows < start).any() and (rows >= start).any():
        assert start in find_offsets(spikes, rows)
