"""Spike vectors, rows in another order, random spikes: against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spikeinterface.core import NumpySorting

from si_curation.kernels.spike_vector import (
    SPIKE_DTYPE,
    choose_random_spikes,
    count_units,
    insert_spikes,
    look_up,
    make_spike_vector,
    scale_by_template,
    take_rows,
    with_other_units,
)

seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, sizes=st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_insert_spikes(seed, sizes):
    rng = np.random.default_rng(seed)
    both = []
    for number, size in enumerate(sizes):
        made = np.zeros(size, dtype=SPIKE_DTYPE)
        made["sample_index"], made["segment_index"] = rng.integers(-9, 9, size), rng.integers(2)
        made["segment_index"][: size // 2] = 0
        made["unit_index"] = number * 100 + np.arange(size)
        both.append(made[np.lexsort((made["sample_index"], made["segment_index"]))])
    joined = np.concatenate(both)
    expected = joined[np.lexsort((joined["sample_index"], joined["segment_index"]))]
    np.testing.assert_array_equal(insert_spikes(*both), expected)


def strided(values):
    wide = np.zeros((len(values), 3), dtype=values.dtype)
    wide[:, 2] = values
    return wide[:, 2]


@given(
    seed=seeds,
    size=st.integers(0, 40),
    id_dtype=st.sampled_from(["int32", "int64", "uint16", "uint32"]),
    with_rows=st.booleans(),
    as_column=st.booleans(),
    block=st.integers(1, 50),
)
def test_make_spike_vector(small_blocks, seed, size, id_dtype, with_rows, as_column, block):
    rng = np.random.default_rng(seed)
    samples = rng.integers(-5, 2**40, size)
    unit_ids = np.sort(rng.choice(30, 8, replace=False))
    unit_of_id = np.full(31, -1, dtype=np.int32)
    unit_of_id[unit_ids] = np.arange(8)
    ids = rng.choice(unit_ids, size).astype(id_dtype)
    rows = rng.permutation(size)[: rng.integers(0, size + 1)] if with_rows else None
    if as_column:
        samples, ids = strided(samples), strided(ids)
    with small_blocks(block, num_threads=2):
        spikes = make_spike_vector(samples, ids, unit_of_id, rows)
    taken = np.arange(size) if rows is None else rows
    assert spikes.dtype == SPIKE_DTYPE
    assert spikes.flags.c_contiguous
    np.testing.assert_array_equal(spikes["sample_index"], samples[taken])
    np.testing.assert_array_equal(unit_ids[spikes["unit_index"]], ids[taken])
    np.testing.assert_array_equal(spikes["segment_index"], 0)


def test_spike_vector_is_spikeinterfaces():
    spikes = make_spike_vector(
        np.array([4, 9], dtype=np.uint64), np.array([1, 0]), np.array([0, 1], dtype=np.int32)
    )
    sorting = NumpySorting(spikes, 30_000.0, np.array([7, 8]))
    assert sorting.to_spike_vector().dtype == spikes.dtype
    assert sorting.get_unit_spike_train(8).tolist() == [4]
    assert sorting.get_unit_spike_train(7).tolist() == [9]


@given(
    seed=seeds,
    shape=st.sampled_from([(0,), (1,), (37,), (37, 1), (37, 2), (12, 3, 2)]),
    with_rows=st.booleans(),
    dtype=st.sampled_from([None, "float32", "int64"]),
    block=st.integers(1, 50),
)
def test_take_rows(small_blocks, seed, shape, with_rows, dtype, block):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 1000, shape).astype(np.float64)
    rows = rng.integers(0, shape[0], 20) if with_rows and shape[0] else None
    with small_blocks(block, num_threads=2):
        found = take_rows(values, rows, dtype)
    expected = (values if rows is None else values[rows]).astype(dtype or values.dtype)
    assert found.dtype == expected.dtype
    assert not np.shares_memory(found, values)
    np.testing.assert_array_equal(found, expected)


@given(seed=seeds, size=st.integers(0, 40), with_rows=st.booleans(), block=st.integers(1, 50))
def test_scale_by_template(small_blocks, seed, size, with_rows, block):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=size + 3).astype(rng.choice(["float32", "float64"]))
    rows = rng.permutation(size + 3)[:size] if with_rows else None
    values = values if with_rows else values[:size]
    template_ids = rng.integers(0, 6, size).astype(np.int32)
    scale = rng.normal(size=6)
    with small_blocks(block, num_threads=2):
        found = scale_by_template(values, rows, template_ids, scale)
    taken = values if rows is None else values[rows]
    expected = taken.astype(np.float64) * scale[template_ids]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected.astype(np.float32))


@given(seed=seeds, num_units=st.integers(0, 8), at_most=st.integers(1, 12), of=st.integers(0, 3))
def test_choose_random_spikes(seed, num_units, at_most, of):
    rng = np.random.default_rng(seed)
    counts = rng.choice([0, 1, at_most - 1, at_most, at_most + 1, 30, 31], num_units).astype(int)
    unit_index = rng.permutation(np.repeat(np.arange(num_units), counts))
    chosen = choose_random_spikes(unit_index, counts, at_most, seed=of)
    assert chosen.dtype == np.int64
    assert np.all(np.diff(chosen) > 0), "sorted, and no spike twice"
    found = np.bincount(unit_index[chosen], minlength=num_units)
    np.testing.assert_array_equal(found, np.minimum(counts, at_most))
    again = choose_random_spikes(unit_index, counts, at_most, seed=of)
    np.testing.assert_array_equal(chosen, again)


def test_random_spikes_of_another_seed_are_others():
    unit_index = np.arange(2000) % 2
    counts = np.array([1000, 1000])
    first = choose_random_spikes(unit_index, counts, 100, seed=0)
    second = choose_random_spikes(unit_index, counts, 100, seed=1)
    assert not np.array_equal(first, second)
    # nor are the spikes of two units chosen alike
    assert not np.array_equal(first[first % 2 == 0], first[first % 2 == 1] - 1)


@pytest.mark.parametrize(("count", "at_most"), [(20, 5), (20, 19), (7, 1)])
def test_random_spikes_are_uniform(count, at_most):
    unit_index = np.repeat([0, 1, 0], [count // 2, count, count - count // 2])
    times = np.zeros(unit_index.size)
    runs = 2000
    for seed in range(runs):
        times[choose_random_spikes(unit_index, np.array([count, count]), at_most, seed)] += 1
    share = at_most / count
    deviation = np.sqrt(runs * share * (1 - share))
    assert np.abs(times - runs * share).max() < 4.5 * deviation


@given(
    seed=seeds,
    size=st.integers(0, 40),
    with_rows=st.booleans(),
    with_channels=st.booleans(),
    block=st.integers(1, 50),
)
def test_other_units(small_blocks, seed, size, with_rows, with_channels, block):
    rng = np.random.default_rng(seed)
    further = [("channel_index", "int64")] * with_channels
    spikes = np.zeros(size, dtype=[*SPIKE_DTYPE.descr, *further])
    for name in spikes.dtype.names:
        spikes[name] = rng.integers(0, 9, size)
    table = rng.integers(-1, 5, 9).astype(np.int32)
    rows = np.flatnonzero(rng.random(size) < 0.5).astype(np.int32) if with_rows else None
    with small_blocks(block, num_threads=2):
        units = look_up(table, spikes["unit_index"])
        found = with_other_units(spikes, units, rows)
        counts = count_units(spikes["unit_index"], 10)
    np.testing.assert_array_equal(units, table[spikes["unit_index"]])
    assert units.dtype == np.int32
    np.testing.assert_array_equal(counts, np.bincount(spikes["unit_index"], minlength=10))
    taken = slice(None) if rows is None else rows
    assert found.dtype == SPIKE_DTYPE
    np.testing.assert_array_equal(found["unit_index"], units[taken])
    for name in ("sample_index", "segment_index"):
        np.testing.assert_array_equal(found[name], spikes[name][taken])
