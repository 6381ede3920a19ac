"""What is packed into a page is what comes out of it."""

from __future__ import annotations

import base64
import zlib

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from helpers.report_page import decode
from si_curation.report.encode import (
    encode_block,
    encode_blocks,
    pack,
    pack_counts,
    pack_levels,
    pack_levels_of_pieces,
    pack_numbers,
    pack_pieces,
    pack_rows,
    pack_signed,
    plain,
    signed_levels_of_pieces,
)

_FINITE = st.floats(-1e6, 1e6)


def back(packed):
    return decode(encode_block({"one": [packed]}).text)["one"][0]


@given(st.lists(st.none() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False), max_size=30))
def test_numbers_are_exact(values):
    found = back(pack_numbers(values))
    expected = np.array([np.nan if v is None else v for v in values], dtype=float)
    np.testing.assert_array_equal(found, expected)


@given(hnp.arrays(np.int64, hnp.array_shapes(max_dims=2), elements=st.integers(0, 2**32 - 1)))
def test_counts_are_exact_in_the_smallest_type(counts):
    packed = pack_counts(counts)
    np.testing.assert_array_equal(back(packed), counts)
    assert packed.stored.itemsize == np.min_scalar_type(counts.max(initial=0)).itemsize


@given(
    hnp.arrays(np.float64, st.integers(1, 50), elements=_FINITE), st.sampled_from([2, 256, 4096])
)
def test_levels_are_within_half_a_step(values, num_levels):
    low, high = values.min(), values.max()
    half = 0.5 * (high - low) / (num_levels - 1)
    tolerance = half + 1e-9 * max(abs(low), abs(high))
    found = back(pack_levels(values, num_levels, low, high))
    np.testing.assert_allclose(found, values, rtol=0, atol=tolerance)


_SMALL_AND_LARGE = st.integers(0, 5) | st.integers(0, 2**17) | st.integers(0, 2**32 - 1)


@given(st.lists(st.lists(_SMALL_AND_LARGE, max_size=4), max_size=6))
def test_pieces_of_counts_are_packed_as_each_alone(pieces):
    start = np.cumsum([0, *map(len, pieces)])
    counts = np.array([one for piece in pieces for one in piece], dtype=np.int64)
    for shape in ((-1,), (-1, 1)):
        found = pack_pieces(counts.reshape(shape), start)
        for its, piece in zip(found, pieces, strict=True):
            expected = pack_counts(np.array(piece, dtype=np.int64).reshape(shape)).stored
            assert (its.stored.dtype, its.stored.shape) == (expected.dtype, expected.shape)
            assert its.stored.tolist() == expected.tolist()


@given(hnp.arrays(np.int64, hnp.array_shapes(max_dims=3), elements=_SMALL_AND_LARGE))
def test_rows_of_counts_are_packed_as_each_alone(counts):
    for its, row in zip(pack_rows(counts), counts, strict=True):
        expected = pack_counts(np.atleast_1d(row)).stored
        assert its.stored.dtype == expected.dtype
        np.testing.assert_array_equal(its.stored, row)


@given(
    st.lists(hnp.arrays(np.int64, st.integers(0, 5), elements=st.integers(-900, 900))),
    st.sampled_from([np.float32, np.float64]),
    st.booleans(),
)
def test_levels_of_pieces_are_those_of_each_alone(pieces, dtype, are_differences):
    """Also of a piece that is empty, or whose values are all the same."""
    pieces = [(np.sort(its) / 64).astype(dtype) for its in pieces]
    start = np.cumsum([0, *map(len, pieces)])
    low = np.array([its.min(initial=0) for its in pieces], dtype=np.float64)
    high = np.array([its.max(initial=low[i]) for i, its in enumerate(pieces)], dtype=np.float64)
    values = np.concatenate([np.zeros(0, dtype=dtype), *pieces])
    found = pack_levels_of_pieces(values, start, 300, low, high, are_differences)
    for packed, its, its_low, its_high in zip(
        found, pieces, low.tolist(), high.tolist(), strict=True
    ):
        step = (its_high - its_low) / 299
        levels = np.round((its - its_low) / step) if step > 0 else np.zeros(its.size)
        expected = pack_counts(levels.astype(np.int64)).stored
        assert (packed.step, packed.start) == (step if step > 0 else 1.0, its_low)
        stored = packed.stored
        if are_differences:
            stored = np.cumsum(stored)
        else:
            assert stored.dtype == expected.dtype
        assert packed.is_cumulative == are_differences
        assert stored.tolist() == expected.tolist()
        np.testing.assert_allclose(back(packed), its, rtol=0, atol=0.51 * max(step, 1e-5))


@given(
    hnp.arrays(np.float32, hnp.array_shapes(max_dims=3), elements=st.floats(-1e3, 1e3, width=32))
)
def test_signed_levels_keep_zero(values):
    found = back(pack_signed(values, 2047))
    half = 0.5 * np.abs(values).max(initial=0) / 2047
    np.testing.assert_allclose(found, values, rtol=0, atol=half * 1.001 + 1e-30)
    assert np.all(found[values == 0] == 0)


@given(
    st.lists(
        hnp.arrays(
            np.float32,
            st.tuples(st.integers(1, 3), st.just(4)),
            elements=st.floats(-1e3, 1e3, width=32, allow_subnormal=False),
        ),
        min_size=1,
    ),
    st.sampled_from([np.float32, np.float64]),
)
def test_signed_levels_of_pieces_are_those_of_each_alone(pieces, dtype):
    """Also of a piece that is 0 everywhere."""
    pieces = [its.astype(dtype) for its in pieces]
    start = np.cumsum([0, *map(len, pieces)])
    levels, steps = signed_levels_of_pieces(np.concatenate(pieces), start, 2047)
    for its, first, stop, step in zip(pieces, start, start[1:], steps, strict=False):
        expected = pack_signed(its, 2047)
        assert expected.step == step
        np.testing.assert_array_equal(expected.stored, levels[first:stop])


def test_blocks_are_json_and_arrays_deflated():
    value = {"text": "é</script>\ud800", "missing": np.nan, "a": pack(np.arange(3), "uint16")}
    block = encode_block(value)
    assert block.size == len(zlib.decompress(base64.b64decode(block.text), -zlib.MAX_WBITS))
    assert "<" not in block.text
    found = decode(block.text)
    assert (found["text"], found["missing"]) == ("é</script>?", None)
    assert found["a"].tolist() == [0, 1, 2]


def test_arrays_of_bytes_are_last():
    """Whatever order they have in the value, and where they are empty."""
    arrays = [
        np.arange(600, dtype="uint16"),
        np.arange(7, dtype="uint8"),
        np.zeros((0, 3), dtype="uint8"),
        np.array([[-5, 4]], dtype="int16"),
        np.full((2, 40), 3, dtype="uint8"),
    ]
    value = {"arrays": [pack(one, one.dtype.name) for one in arrays], "count": np.int64(4)}
    block = encode_block(value)
    assert block.size == len(zlib.decompress(base64.b64decode(block.text), -zlib.MAX_WBITS))
    found = decode(block.text)
    assert found["count"] == 4
    for one, expected in zip(found["arrays"], arrays, strict=True):
        np.testing.assert_array_equal(one, expected)
        assert one.shape == expected.shape


def test_many_blocks_are_each_alone_and_in_their_order(monkeypatch):
    monkeypatch.setattr(numba, "get_num_threads", lambda: 3)
    values = [{"number": i, "one": pack(np.arange(i), "uint8")} for i in range(150)]
    taken = []
    found = encode_blocks(taken.append(i) or one for i, one in enumerate(values))
    assert next(found) == encode_block(values[0])
    assert len(taken) < 100  # not all are in memory
    assert list(found) == [encode_block(one) for one in values[1:]]


def test_what_the_page_cannot_read_is_refused():
    with pytest.raises(ValueError, match="complex64"):
        pack(np.zeros(2), "complex64")
    assert plain([np.int64(2**60), np.bool_(True), np.inf]) == [2**60, True, None]


def test_lists_that_are_plain_are_copies_and_others_are_made_plain():
    counts = [0, 3, True, None, "a"]
    assert plain(counts) == counts
    assert plain(counts) is not counts
    mixed = [1, float("nan"), np.int64(4), [np.float32(0.5), float("inf")], (2, 3)]
    assert plain(mixed) == [1, None, 4, [0.5, None], [2, 3]]
    assert [type(one) for one in plain(np.array([1, 2], dtype=np.uint8))] == [int, int]
