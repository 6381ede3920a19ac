"""Samples to seconds and back, against the clocks of segments."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from si_curation.exporters.nwb.clock import Clock, starts_and_rates
from si_curation.kernels import sample_times, spikes_by_unit
from si_curation.kernels.sample_times import (
    count_elsewhere_by_unit,
    is_ascending,
    times_by_unit,
)
from si_curation.kernels.spike_vector import SPIKE_DTYPE
from si_curation.kernels.spikes_by_unit import order_of_units, positions_by_unit


def make_spikes(seed, size, num_segments):
    rng = np.random.default_rng(seed)
    spikes = np.zeros(size, dtype=SPIKE_DTYPE)
    spikes["segment_index"] = np.sort(rng.integers(0, num_segments, size))
    spikes["sample_index"] = rng.integers(0, 10**9, size)
    clocks = [
        Clock(float(rng.uniform(-5, 1.7e9 if i else 5)), float(rate), 10**9, "t_start")
        for i, rate in enumerate(rng.uniform(10_000, 40_000, num_segments))
    ]
    return spikes, clocks


@given(st.integers(0, 1000), st.integers(0, 40), st.integers(1, 3), st.sampled_from([3, 1 << 17]))
def test_by_unit_as_clocks_say(seed, size, num_segments, per_block):
    spikes, clocks = make_spikes(seed, size, num_segments)
    rng = np.random.default_rng(seed)
    spikes["unit_index"] = rng.integers(0, 4, size)
    shifted_ones = rng.random(size) < 0.2
    with patch.object(spikes_by_unit, "_SPIKES_PER_BLOCK", per_block):
        order = order_of_units(spikes["unit_index"], 4)
        positions = positions_by_unit(order, spikes["unit_index"])
        times = times_by_unit(spikes, order, *starts_and_rates(clocks))
        shifted = times + np.where(shifted_ones, 1e-3, 0.0)
        shifted[size // 2 : size // 2 + 1] = np.nan
        found = count_elsewhere_by_unit(spikes, order, shifted, *starts_and_rates(clocks))
    wrong = []
    for i, spike in enumerate(positions):
        clock = clocks[spikes["segment_index"][spike]]
        sample = spikes["sample_index"][spike : spike + 1]
        assert times[i] == clock.times_of(sample)[0]
        if i == size // 2 or clock.frames_of(shifted[i : i + 1])[0] != sample[0]:
            wrong.append(i)
    assert found == (len(wrong), wrong[0] if wrong else -1)


def test_ascending_over_the_borders_of_blocks(monkeypatch):
    monkeypatch.setattr(sample_times, "_SPIKES_PER_BLOCK", 2)
    spikes = np.zeros(7, dtype=SPIKE_DTYPE)
    spikes["sample_index"] = [1, 2, 2, 9, 0, 4, 4]
    spikes["segment_index"] = [0, 0, 0, 0, 1, 1, 1]
    assert is_ascending(spikes)
    assert is_ascending(spikes[:0])
    for i, j in ((1, 2), (3, 4), (2, 3), (4, 5)):
        swapped = spikes.copy()
        swapped[[i, j]] = swapped[[j, i]]
        assert is_ascending(swapped) == ((i, j) == (1, 2))
