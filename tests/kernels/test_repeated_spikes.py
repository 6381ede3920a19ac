"""Repeated spikes of a unit against a loop over all units."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from helpers.few_values import numpy_for_few
from si_curation.kernels.parallel import kernels_for_few
from si_curation.kernels.repeated_spikes import find_repeated_spikes


def naive(samples, units, templates, num_units, window):
    same, near = np.zeros((2, num_units), int), np.zeros((2, num_units), int)
    same[1] = near[1] = -1
    for unit in range(num_units):
        rows = [i for i in range(len(samples)) if units[i] == unit]
        for before, row in itertools.pairwise(rows):
            if samples[row] - samples[before] > window:
                continue
            is_same = samples[row] == samples[before] and templates[row] == templates[before]
            table = same if is_same else near
            table[0, unit] += 1
            if table[1, unit] == -1:
                table[1, unit] = row
    return same, near


@given(
    st.lists(st.tuples(st.integers(-5, 60), st.integers(0, 3), st.integers(0, 2)), max_size=60).map(
        sorted
    ),
    st.integers(0, 6),
    st.sampled_from([np.int32, np.uint32, np.int64]),
)
def test_against_the_naive_count(spikes, window, dtype):
    samples, units, templates = np.array(spikes, dtype=np.int64).reshape(-1, 3).T
    units, templates = units.astype(dtype), templates.astype(dtype)
    same, near = naive(samples, units, templates, 4, window)
    for use in (kernels_for_few, numpy_for_few):
        with use():
            found = find_repeated_spikes(samples, units, templates, 4, window)
        np.testing.assert_array_equal([found.same_count, found.same_first], same)
        np.testing.assert_array_equal([found.near_count, found.near_first], near)
