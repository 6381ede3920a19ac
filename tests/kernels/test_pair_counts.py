"""Cells of lags as sums of steps, and pairs counted sixteen at a time, against loops."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from si_curation.kernels.correlogram_bins import CONVENTIONS, linear_cells, log_cells
from si_curation.kernels.pair_counts import LANES, add_up, cell_steps, count_lanes, no_counts


@given(
    width=st.integers(1, 400),
    half=st.integers(1, 40),
    conventions=st.sets(st.sampled_from(CONVENTIONS), min_size=1),
)
def test_steps_are_the_cells(width, half, conventions):
    cells = linear_cells(half * width, width, tuple(sorted(conventions)))
    steps = cell_steps(cells)
    assert steps is not None
    lag = np.float32(np.arange(cells.cell_of_lag.size))[:, None]
    found = np.floor(lag * np.array(steps.slopes) + np.array(steps.offsets)).sum(axis=1)
    found += np.minimum(lag[:, 0], steps.first)
    np.testing.assert_array_equal(found, cells.cell_of_lag)


def test_no_steps_for_log_bins_nor_for_long_windows():
    assert cell_steps(log_cells(1000, 10)) is None
    assert cell_steps(linear_cells(1 << 21, 1 << 19)) is None


@given(
    seed=st.integers(0, 2**32 - 1),
    num_spikes=st.sampled_from([1, 2, 15, 16, 17, 40, 300]),
    span=st.sampled_from([5, 200, 4000]),
)
def test_pairs_against_a_loop(seed, num_spikes, span):
    rng = np.random.default_rng(seed)
    cells = linear_cells(60, 7)
    time = np.sort(rng.integers(0, span, num_spikes))
    unit = rng.integers(0, 3, num_spikes)
    expected = np.zeros((3, 3, cells.num_cells), dtype=np.int64)
    for i in range(num_spikes):
        for j in range(i + 1, num_spikes):
            if time[j] - time[i] <= cells.max_lag:
                expected[unit[i], unit[j], cells.cell_of_lag[time[j] - time[i]]] += 1
    after = np.full(LANES, time[-1] + cells.max_lag + 1)
    spikes = (
        np.append(time, after).astype(np.uint32),
        np.append(unit, np.zeros(LANES)).astype(np.int32),
    )
    counts = no_counts(expected.size, most_pairs=num_spikes**2)
    found = np.zeros(expected.size, dtype=np.int64)
    for _ in range(2):  # they are 0 after they were added up
        earlier = np.arange(num_spikes)
        count_lanes(earlier, spikes, cell_steps(cells), 0, 3 * cells.num_cells, counts)
        add_up(counts, found)
    np.testing.assert_array_equal(found.reshape(expected.shape), 2 * expected)
