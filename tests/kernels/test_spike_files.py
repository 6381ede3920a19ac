"""Range, ids and id tables of per-spike files, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from helpers.few_values import numpy_for_few
from si_curation.kernels.parallel import kernels_for_few
from si_curation.kernels.spike_files import (
    has_nan,
    positions_of_ids,
    unique_ids,
    value_range,
    with_small_ids,
)

DTYPES = ["int32", "int64", "uint16", "uint32", "uint64"]


@st.composite
def integers(draw, min_size=0, maximum=None):
    """A vector of integers, contiguous or strided, of any dtype that the files have."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    limits = np.iinfo(dtype)
    low = 0 if maximum is not None else limits.min
    high = limits.max if maximum is None else min(maximum, limits.max)
    elements = st.integers(low, high) | st.integers(low, min(high, low + 5))
    values = draw(st_np.arrays(dtype, st.integers(min_size, 40), elements=elements))
    if draw(st.booleans()):
        values = np.sort(values)
    if draw(st.booleans()):
        wide = np.zeros((values.size, 2), dtype=dtype)
        wide[:, 1] = values
        values = wide[:, 1]
    values.flags.writeable = draw(st.booleans())
    return values


@given(values=integers(min_size=1), rows=st.integers(1, 50))
def test_value_range(small_blocks, values, rows):
    with small_blocks(rows), kernels_for_few():
        found = value_range(values)
    with numpy_for_few():
        assert value_range(values) == found
    assert found.minimum == int(values.min())
    assert found.maximum == int(values.max())
    assert found.is_sorted == bool(np.all(values[:-1] <= values[1:]))


@pytest.mark.parametrize("fall_at", [1, 2, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, (1 << 19) - 1])
def test_value_range_sees_one_fall_anywhere(fall_at):
    for use in (numpy_for_few, kernels_for_few):
        values = np.arange(1 << 19)
        with use():
            assert value_range(values) == (0, values.size - 1, True)
            values[fall_at] -= 2
            assert value_range(values) == (min(0, fall_at - 2), values[-2:].max(), False)


@pytest.mark.parametrize("use", [numpy_for_few, kernels_for_few])
def test_value_range_does_not_wrap_unsigned(use):
    with use():
        check_extremes()


def check_extremes():
    largest = np.iinfo(np.uint64).max
    assert value_range(np.array([0, largest], dtype=np.uint64)) == (0, largest, True)
    assert value_range(np.array([largest, 0], dtype=np.uint64)) == (0, largest, False)
    lowest = np.iinfo(np.int64).min
    assert value_range(np.array([lowest, 0, lowest])) == (lowest, 0, False)


@given(values=integers(maximum=300), more=st.integers(0, 3), rows=st.integers(1, 50))
def test_unique_ids(small_blocks, values, more, rows):
    maximum = int(values.max(initial=0)) + more
    with small_blocks(rows, num_threads=3), kernels_for_few():
        found = unique_ids(values, maximum)
    with numpy_for_few():
        by_numpy = unique_ids(values, maximum)
    assert by_numpy.dtype == found.dtype == np.int64
    np.testing.assert_array_equal(by_numpy, found)
    np.testing.assert_array_equal(found, np.unique(values))


@pytest.mark.parametrize("maximum", [(1 << 26) - 1, 1 << 26, 2**31 - 2])
def test_unique_ids_up_to_the_largest(maximum):
    values = np.array([maximum, 5, maximum, 0], dtype=np.int32)
    found = unique_ids(values, maximum)
    assert found.dtype == np.int64
    assert found.tolist() == [0, 5, maximum]


@given(ids=st.lists(st.integers(0, 60), unique=True), more=st.integers(0, 3))
def test_positions_of_ids(ids, more):
    maximum = max(ids, default=-1) + more
    table = positions_of_ids(np.array(ids, dtype=np.int64), maximum)
    assert table.dtype == np.int32
    assert table.tolist() == [
        ids.index(value) if value in ids else -1 for value in range(maximum + 1)
    ]


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64"])
@pytest.mark.parametrize("largest", [7, (1 << 22) - 1, 1 << 22, 2**31 - 2])
def test_with_small_ids(dtype, largest):
    ids = np.array([0, 2, 5, largest], dtype=np.int64)
    values = np.random.default_rng(0).choice(ids, 50).astype(dtype)
    small_values, small = with_small_ids(values, ids)
    assert small.max(initial=-1) < 1 << 22
    assert np.all(np.diff(small) > 0)
    np.testing.assert_array_equal(ids[np.searchsorted(small, small_values)], values)
    if largest < 1 << 22:
        assert small_values is values


@given(
    size=st.integers(0, 20),
    where=st.integers(0, 19),
    value=st.sampled_from([np.nan, np.inf, -np.inf, 0.0]),
    also=st.sampled_from([0.0, np.inf]),
    block=st.integers(1, 30),
)
def test_has_nan(small_blocks, size, where, value, also, block):
    values = np.zeros((size, 2), dtype=np.float32)
    if size:
        values[0, 0] = also
        values[where % size, 1] = value
    with small_blocks(block, num_threads=2):
        assert has_nan(values) == bool(np.isnan(values).any())
