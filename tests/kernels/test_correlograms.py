"""Correlograms against brute force, SpikeInterface and phylib."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phylib.stats.ccg import correlograms as phylib_correlograms
from spikeinterface.postprocessing.correlograms import correlogram_for_one_segment

from oracles import correlograms as naive
from si_curation.errors import ParameterError
from si_curation.kernels import correlograms as kernel
from si_curation.kernels import spikes_by_unit
from si_curation.kernels.correlogram_bins import (
    CONVENTIONS,
    bins_of_convention,
    linear_cells,
    log_cells,
)
from si_curation.kernels.correlograms import (
    Spikes,
    assemble,
    assemble_pairs,
    count_chosen_pairs,
    count_pairs,
    count_pairs_of_trains,
    dtype_of_counts,
    prepare_spikes,
)

seeds = st.integers(0, 2**32 - 1)


@st.composite
def spike_trains(draw):
    """Samples, units, segments, number of units: ties, empty units, one spike, none."""
    rng = np.random.default_rng(draw(seeds))
    num_units = draw(st.integers(1, 5))
    size = draw(st.sampled_from([0, 1, 2, 3, 20, 60]))
    span = draw(st.sampled_from([1, 10, 60, 400]))
    start = draw(st.sampled_from([0, -30, 2**40, -(2**40), 2**32 - 20, 2**63 - 401, -(2**63)]))
    samples = start + rng.integers(0, span, size)
    units = rng.integers(0, num_units, size)
    segments = rng.integers(0, draw(st.integers(1, 3)), size)
    order = np.lexsort((samples, segments))
    return samples[order], units[order], segments[order], num_units


def cross_correlograms(
    samples, units, num_units, cells, convention="spikeinterface", segments=None
):
    """Counts of all pairs of units, in bins."""
    spikes = prepare_spikes(samples, units, segments, num_units, cells.max_lag)
    counts = count_pairs(spikes, num_units, cells)
    return assemble(counts, bins_of_convention(cells, convention))


def correlograms_of_pairs(samples, units, num_units, pairs, cells, convention, segments=None):
    """Counts of chosen pairs of units, in bins."""
    counts = count_chosen_pairs(samples, units, segments, num_units, pairs, cells)
    times = samples.astype(object)  # of any size
    if segments is not None:
        times = times + segments.astype(object) * 10_000
    if samples.size and max(abs(times)) < 2**60:
        spikes = [np.flatnonzero(units == unit) for unit in range(num_units)]
        trains = [times[own].astype(np.int64) for own in spikes]
        again = count_pairs_of_trains(trains, spikes, pairs, cells)
        np.testing.assert_array_equal(again, counts)
    return assemble_pairs(counts[:, 0], counts[:, 1], bins_of_convention(cells, convention))


def all_pairs(num_units):
    return np.stack(np.divmod(np.arange(num_units**2), num_units), axis=1)


@given(
    trains=spike_trains(), width=st.integers(1, 9), half=st.integers(1, 5), rest=st.integers(0, 8)
)
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.slow
def test_against_brute_force(convention, trains, width, half, rest):
    samples, units, segments, num_units = trains
    half_window = half * width + rest % width  # not a multiple of the bin: the rest is cut off
    expected = naive.OF_CONVENTION[convention](
        samples, units, num_units, half_window, width, segments
    )
    for cells in (
        linear_cells(half_window, width),
        linear_cells(half_window, width, (convention,)),
    ):
        found = cross_correlograms(samples, units, num_units, cells, convention, segments)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, expected)
        edges = bins_of_convention(cells, convention).edges_samples
        assert edges.size == expected.shape[2] + 1
    some = correlograms_of_pairs(
        samples, units, num_units, all_pairs(num_units), cells, convention, segments
    )
    np.testing.assert_array_equal(some.reshape(expected.shape), expected)
    if convention == "centered":
        np.testing.assert_array_equal(expected, expected.transpose(1, 0, 2)[:, :, ::-1])


@given(
    trains=spike_trains(),
    first=st.integers(1, 5),
    last=st.integers(6, 300),
    per_decade=st.integers(1, 12),
)
def test_log_bins(trains, first, last, per_decade):
    samples, units, segments, num_units = trains
    cells = log_cells(last, first, per_decade)
    edges = cells.edges_samples
    assert edges[0] == first
    assert edges[-1] == last
    assert np.all(np.diff(edges) > 0)
    expected = naive.logarithmic(samples, units, num_units, edges, segments)
    found = cross_correlograms(samples, units, num_units, cells, "centered", segments)
    np.testing.assert_array_equal(found, expected)
    bins = bins_of_convention(cells, "centered")
    np.testing.assert_array_equal(bins.edges_samples, [*-edges[::-1], *edges])


@given(trains=spike_trains(), width=st.integers(1, 9), half=st.integers(1, 5))
def test_spikeinterface_and_phylib(trains, width, half):
    samples, units, _, num_units = trains
    if samples.size < 2:  # they fail
        return
    samples = np.sort(samples.view(np.uint64) - samples.min().view(np.uint64)).astype(np.int64)
    cells = linear_cells(half * width, width)
    ours = cross_correlograms(samples, units, num_units, cells)
    theirs = correlogram_for_one_segment(samples, units, half * width, width, num_units)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)
    if samples.max() < 2**50:  # phylib goes through float64
        theirs = phylib_correlograms(
            samples,
            units,
            cluster_ids=np.arange(num_units),
            sample_rate=1.0,
            bin_size=width,
            window_size=2 * half * width,
        )
        ours = cross_correlograms(samples, units, num_units, cells, "phy")
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_lags_at_exact_bin_edges(convention):
    lags = np.arange(-24, 25)
    for lag in lags:
        samples, units = np.array([100, 100 + abs(lag)]), np.array([0, 1] if lag >= 0 else [1, 0])
        found = cross_correlograms(samples, units, 2, linear_cells(16, 4), convention)
        expected = naive.OF_CONVENTION[convention](samples, units, 2, 16, 4)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 15, 30])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_edges_and_widths(convention, width):
    cells = linear_cells(5 * width, width)
    bins = bins_of_convention(cells, convention)
    edges = bins.edges_samples
    assert bins.num_bins == (10 if convention == "spikeinterface" else 11)
    assert np.all(np.diff(edges) > 0)
    # widths: whole lags that are counted, found by counting pairs at each lag
    max_lag = 7 * width
    counts = 0
    for lag in range(-max_lag, max_lag + 1):
        samples, units = np.array([0, abs(lag)]), np.array([0, 1] if lag >= 0 else [1, 0])
        counts = counts + cross_correlograms(samples, units, 2, cells, convention)[0, 1]
    # of the centre bin of phy both sides were counted, and one holds the simultaneous spikes
    expected = bins.widths_samples.copy()
    if convention == "phy":
        expected[5] = 2 * width - 1
    np.testing.assert_array_equal(counts, expected)


def test_window_beyond_the_recording():
    samples, units = np.array([0, 7, 9]), np.array([0, 1, 0])
    found = cross_correlograms(samples, units, 2, linear_cells(10_000, 100))
    assert found.sum() == 6
    np.testing.assert_array_equal(found, naive.spikeinterface(samples, units, 2, 10_000, 100))


def test_no_pairs_across_the_range_of_int64():
    samples = np.array([-(2**63), -(2**63) + 2, 2**63 - 3, 2**63 - 1])
    units = np.array([0, 1, 0, 1])
    found = cross_correlograms(samples, units, 2, linear_cells(4, 1))
    assert found[0, 1].tolist() == [0, 0, 2, 0, 0, 0, 0, 0]
    # 2^32 samples apart: equal as 32-bit numbers
    samples = np.array([0, 2**32, 2**33])
    assert not cross_correlograms(samples, units[:3], 2, linear_cells(4, 1)).any()


def test_bad_input_is_refused():
    cells = linear_cells(4, 1)
    samples, units = np.array([3, 1]), np.array([0, 1])
    with pytest.raises(ParameterError, match="not sorted"):
        cross_correlograms(samples, units, 2, cells)
    with pytest.raises(ParameterError, match="not sorted"):
        cross_correlograms(np.sort(samples), units, 2, cells, segments=np.array([1, 0]))
    with pytest.raises(ParameterError, match="expected 0 to 0"):
        cross_correlograms(np.sort(samples), units, 1, cells)
    with pytest.raises(ParameterError, match="expected 0 to 1"):
        cross_correlograms(np.sort(samples), -units, 2, cells)
    with pytest.raises(ParameterError, match="one length"):
        cross_correlograms(samples, units[:1], 2, cells)
    with pytest.raises(ParameterError, match="pairs"):
        count_chosen_pairs(np.sort(samples), units, None, 2, np.array([[0, 2]]), cells)
    with pytest.raises(ParameterError, match="convention"):
        cross_correlograms(np.sort(samples), units, 2, cells, "matlab")
    with pytest.raises(ParameterError, match="other conventions"):
        cross_correlograms(np.sort(samples), units, 2, linear_cells(8, 4, ("phy",)))


# -------------------------------------------------------------------- larger: groups, tiles, blocks


def many_spikes(num_spikes, num_units, span, seed=0):
    rng = np.random.default_rng(seed)
    samples = np.sort(rng.integers(0, span, num_spikes))
    units = np.minimum(rng.geometric(min(0.5, 4 / num_units), num_spikes) - 1, num_units - 1)
    segments = np.repeat([0, 2], [num_spikes // 3, num_spikes - num_spikes // 3])
    return samples, units, segments


def by_segment(samples, units, segments, half_window, width, num_units):
    return sum(
        correlogram_for_one_segment(
            samples[segments == s], units[segments == s], half_window, width, num_units
        )
        for s in (0, 2)
    )


@pytest.fixture
def small_tables(monkeypatch):
    """Make every way of cutting the work happen on little data."""
    monkeypatch.setattr(kernel, "_SPIKES_PER_BLOCK", 777)
    monkeypatch.setattr(spikes_by_unit, "_SPIKES_PER_BLOCK", 777)
    monkeypatch.setattr(kernel, "_TABLE_BYTES", 5_000)
    monkeypatch.setattr(kernel, "_SPIKES_PER_TASK", 100)


@pytest.mark.parametrize("num_units", [1, 3, 37, 61])
def test_groups_and_tiles(small_tables, num_units):
    spikes = many_spikes(8000, num_units, 60_000)
    found = cross_correlograms(*spikes[:2], num_units, linear_cells(90, 6), segments=spikes[2])
    np.testing.assert_array_equal(found, by_segment(*spikes, 90, 6, num_units))


@pytest.mark.parametrize("num_units", [4, 60])
def test_blocks_of_time(num_units):
    spikes = many_spikes(300_000, num_units, 2_000_000)
    found = cross_correlograms(*spikes[:2], num_units, linear_cells(40, 5), segments=spikes[2])
    np.testing.assert_array_equal(found, by_segment(*spikes, 40, 5, num_units))


def test_a_unit_with_most_spikes_is_several_tasks():
    start = np.array([0, 10, 2_000_000, 2_000_100])
    tasks = kernel._tasks(start)
    sizes = [piece.stop - piece.start for _, piece in tasks]
    assert max(sizes) <= 2_000_100 / 8
    assert sizes == sorted(sizes, reverse=True)
    covered = sorted((piece.start, piece.stop, group) for group, piece in tasks)
    assert [first for first, _, _ in covered] == [0, *[stop for _, stop, _ in covered[:-1]]]
    for first, stop, group in covered:
        assert start[group] <= first < stop <= start[group + 1]


def test_many_spikes_at_once(small_tables):
    # more spikes within a window than are handled at a time
    num_spikes, num_units = 5000, 30
    samples, units = np.zeros(num_spikes, dtype=np.int64), np.arange(num_spikes) % num_units
    cells = linear_cells(3, 1)
    counts = cross_correlograms(samples, units, num_units, cells)
    per_unit = np.bincount(units, minlength=num_units)
    expected = np.outer(per_unit, per_unit) - np.diag(per_unit)
    np.testing.assert_array_equal(counts[:, :, 3], expected)
    assert counts.sum() == expected.sum()


@pytest.mark.parametrize("is_small", [True, False])
def test_same_bits_on_any_number_of_threads(threads, monkeypatch, is_small):
    if is_small:
        monkeypatch.setattr(kernel, "_TABLE_BYTES", 50_000)
    spikes = many_spikes(200_000, 90, 3_000_000)
    cells = linear_cells(60, 6)
    pairs = all_pairs(90)[::7]
    found = []
    for num_threads in (1, 2, 4, 8):
        threads(min(num_threads, numba.config.NUMBA_NUM_THREADS))
        monkeypatch.setattr(numba, "get_num_threads", lambda n=num_threads: n)
        prepared = prepare_spikes(*spikes, 90, cells.max_lag)
        counts = count_pairs(prepared, 90, cells)
        some = count_chosen_pairs(*spikes, 90, pairs, cells)
        narrow = count_chosen_pairs(*spikes, 90, pairs, cells, narrow=True)
        assert narrow.dtype == np.uint32
        np.testing.assert_array_equal(narrow, some)
        np.testing.assert_array_equal(
            some[:, 0],
            np.where(
                (pairs[:, 0] == pairs[:, 1])[:, None],
                counts[pairs[:, 0], pairs[:, 0]],
                counts[pairs[:, 0], pairs[:, 1]],
            ),
        )
        summed = assemble(counts, bins_of_convention(cells, "phy"))
        found.append((counts.dtype, counts.tobytes(), some.tobytes(), summed.tobytes()))
    assert len(set(found)) == 1


def test_counts_above_32_bits_would_be_64_bits(monkeypatch):
    samples, units, segments = many_spikes(3000, 40, 20_000)
    cells = linear_cells(60, 6)
    spikes = prepare_spikes(samples, units, segments, 40, cells.max_lag)
    narrow = count_pairs(spikes, 40, cells)
    assert narrow.dtype == np.uint32
    monkeypatch.setattr(kernel, "dtype_of_counts", lambda spikes, n: np.dtype(np.int64))
    wide = count_pairs(spikes, 40, cells)
    assert wide.dtype == np.int64
    np.testing.assert_array_equal(narrow, wide)


def test_width_of_counts_follows_the_pairs_of_a_unit():
    def dtype(units):
        time = np.zeros(len(units) + 1, dtype=np.uint32)  # all at once
        time[-1] = 2
        spikes = Spikes(time, units.astype(np.int32), 1)
        return dtype_of_counts(spikes, 2)

    # 1e10 pairs, 5e9 of a unit; 5e9 pairs, 2.5e9 of a unit
    assert dtype(np.arange(140_000) % 2) == np.int64
    assert dtype(np.arange(100_000) % 2) == np.uint32
    assert dtype(np.arange(2000) % 2) == np.uint32


@given(trains=spike_trains(), max_lag=st.integers(1, 50))
def test_bounds_and_numbers_of_pairs(trains, max_lag):
    samples, units, segments, num_units = trains
    spikes = prepare_spikes(samples, units, segments, num_units, max_lag)
    later = [
        sum(
            segments[j] == segments[i] and int(samples[j]) - int(samples[i]) <= max_lag
            for j in range(i + 1, len(samples))
        )
        for i in range(len(samples))
    ]
    assert spikes.num_pairs == sum(later)
    assert np.all(np.repeat(spikes.most_later(), 64)[: len(later)] >= later)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("num_units", [1, 2, 20])
def test_bytes_that_run_over(small_tables, convention, num_units):
    # thousands of pairs in a cell, from several tasks
    rng = np.random.default_rng(num_units)
    samples = np.sort(rng.integers(0, 600, 3000))
    units = np.minimum(rng.geometric(0.7, samples.size) - 1, num_units - 1)
    cells = linear_cells(12, 4)
    found = cross_correlograms(samples, units, num_units, cells, convention)
    assert found.max() > 2000
    pairs = all_pairs(num_units)
    expected = correlograms_of_pairs(samples, units, num_units, pairs, cells, convention)
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    if convention == "spikeinterface":
        expected = correlogram_for_one_segment(samples, units, 12, 4, num_units)
        np.testing.assert_array_equal(found, expected)
    bins = bins_of_convention(cells, convention)
    spikes = prepare_spikes(samples, units, None, num_units, cells.max_lag)
    np.testing.assert_array_equal(assemble(count_pairs(spikes, num_units, cells), bins), found)


def test_sums_do_not_overflow_32_bits():
    cells = linear_cells(4, 2)
    counts = np.full((2, 2, cells.num_cells), 2**32 - 1, dtype=np.uint32)
    bins = bins_of_convention(cells, "centered")
    number_of_cells = bins.ab_stop - bins.ab_start + bins.ba_stop - bins.ba_start
    np.testing.assert_array_equal(assemble(counts, bins)[0, 1], (2**32 - 1) * number_of_cells)
    found = assemble_pairs(counts[0], counts[1], bins)
    np.testing.assert_array_equal(found[0], (2**32 - 1) * number_of_cells)


@pytest.mark.parametrize("dtype", ["int32", "uint16", "int64"])
def test_any_integers_and_fields_of_a_spike_vector(dtype):
    samples, units, segments = many_spikes(400, 6, 3000)
    spikes = np.zeros(400, dtype=[("sample_index", dtype), ("unit_index", dtype)])
    spikes["sample_index"], spikes["unit_index"] = samples, units
    cells = linear_cells(60, 6)
    found = cross_correlograms(spikes["sample_index"], spikes["unit_index"], 6, cells)
    np.testing.assert_array_equal(found, naive.spikeinterface(samples, units, 6, 60, 6))


@given(trains=spike_trains(), at_once=st.integers(1, 20), narrow=st.booleans())
def test_chosen_pairs_in_blocks_of_time(trains, at_once, narrow):
    samples, units, segments, num_units = trains
    pairs, cells = all_pairs(num_units), linear_cells(12, 3)
    whole = count_chosen_pairs(samples, units, segments, num_units, pairs, cells, narrow)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "_SPIKES_AT_ONCE", at_once)
        found = count_chosen_pairs(samples, units, segments, num_units, pairs, cells, narrow)
    assert found.dtype == whole.dtype
    np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("order", [[1, 0, 2, 3, 4], [0, 1, 2, 4, 3], [0, 2, 1, 3, 4]])
def test_spikes_out_of_order_are_refused_in_blocks_too(order, monkeypatch):
    monkeypatch.setattr(kernel, "_SPIKES_AT_ONCE", 2)
    samples, units = np.arange(5)[order] * 1000, np.zeros(5, dtype=int)
    with pytest.raises(ParameterError, match="not sorted"):
        count_chosen_pairs(samples, units, None, 1, np.array([[0, 0]]), linear_cells(12, 3))
    segments = np.arange(5)[order]
    with pytest.raises(ParameterError, match="not sorted"):
        count_chosen_pairs(units, units, segments, 1, np.array([[0, 0]]), linear_cells(12, 3))


@pytest.mark.slow
@pytest.mark.parametrize("num_spikes", [1000, 5000])
def test_chosen_pairs_of_a_recording_longer_than_32_bits(num_spikes):
    """The times of many spikes that are far apart run over 32 bits, those of few do not."""
    samples = np.arange(num_spikes, dtype=np.int64) * 2**20 + np.arange(num_spikes) % 5
    units = np.arange(num_spikes) % 3
    cells = linear_cells(2**20, 2**19)
    spikes = prepare_spikes(samples, units, None, 3, cells.max_lag)
    time = spikes.time[: spikes.num_spikes]
    assert bool((time[1:] < time[:-1]).any()) is (num_spikes == 5000)
    pairs = np.array([[0, 1], [0, 2], [1, 2]])
    some = count_chosen_pairs(samples, units, None, 3, pairs, cells)
    counts = count_pairs(spikes, 3, cells)
    np.testing.assert_array_equal(some[:, 0], counts[pairs[:, 0], pairs[:, 1]])
    np.testing.assert_array_equal(some[:, 1], counts[pairs[:, 1], pairs[:, 0]])
    assert some.sum() > num_spikes / 2


@pytest.mark.parametrize("is_log", [False, True])
def test_counts_that_run_over_a_byte_twice(small_tables, is_log):
    # more than 65,536 pairs in one cell, in tables that are used again
    samples = np.sort(np.concatenate([np.repeat([10, 5000], 400), np.arange(0, 9000, 300)]))
    units = np.where(np.isin(samples, [10, 5000]), samples == 5000, 2 + samples % 7)
    cells = log_cells(60, 3) if is_log else linear_cells(60, 6)
    convention = "centered" if is_log else "spikeinterface"
    found = cross_correlograms(samples, units, 61, cells, convention)
    some = correlograms_of_pairs(samples, units, 61, all_pairs(61), cells, convention)
    np.testing.assert_array_equal(found, some.reshape(found.shape))
    assert found.max() == 400 * 399
