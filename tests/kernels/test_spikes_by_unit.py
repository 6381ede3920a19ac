"""Spikes of each unit and of groups of units against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from si_curation.kernels import spikes_by_unit as kernel
from si_curation.kernels.spikes_by_unit import (
    count_spikes,
    order_of_units,
    positions_by_group,
    rows_among,
    spikes_by_unit,
    values_by_unit,
)


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(0, 60),
    num_units=st.integers(1, 8),
    num_groups=st.integers(1, 4),
    block=st.integers(1, 50),
)
def test_positions(seed, size, num_units, num_groups, block):
    rng = np.random.default_rng(seed)
    units = rng.integers(0, num_units, size)
    groups = rng.integers(0, num_groups, num_units)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "_SPIKES_PER_BLOCK", block)
        positions, start = positions_by_group(units, groups, num_groups)
        by_unit = spikes_by_unit(units, num_units)
        order = order_of_units(units, num_units)
        counts = count_spikes(units, num_units)
        values = rng.normal(size=size)
        ordered = values_by_unit(order, units, values)
    assert positions.dtype == np.int32
    for group in range(num_groups):
        found = positions[start[group] : start[group + 1]]
        np.testing.assert_array_equal(found, np.flatnonzero(groups[units] == group))
    assert len(by_unit) == num_units
    np.testing.assert_array_equal(counts, np.bincount(units, minlength=num_units))
    for unit, found in enumerate(by_unit):
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, np.flatnonzero(units == unit))
        own = ordered[order.start[unit] : order.start[unit + 1]]
        np.testing.assert_array_equal(own, values[units == unit])


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(0, 40))
def test_rows_among_others(seed, size):
    rng = np.random.default_rng(seed)
    positions = np.sort(rng.choice(100, size, replace=False)).astype(np.int32)
    rows = np.flatnonzero(rng.random(size) < 0.5)
    np.testing.assert_array_equal(rows_among(positions, positions[rows]), rows)
    others = np.setdiff1d(np.arange(100), positions)[:1]
    assert rows_among(positions, np.sort(np.concatenate([positions[rows], others]))) is None


def test_no_units():
    nothing = np.zeros(0, dtype=np.int64)
    assert spikes_by_unit(nothing, 0) == []
