"""Rates, intervals and images of a unit against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from si_curation.kernels.isi import isi_histogram
from si_curation.kernels.spikes_over_time import count_over_time, image_over_time

FS = 100.0


def spikes_of(seed):
    rng = np.random.default_rng(seed)
    train = np.sort(rng.integers(-3, 300, int(rng.integers(0, 80))))
    return rng, train, train / FS


@given(seed=st.integers(0, 2**32 - 1), num_bins=st.integers(1, 9), width=st.integers(1, 12))
def test_rates_and_intervals(seed, num_bins, width):
    _, train, times_s = spikes_of(seed)
    counts, intervals = count_over_time(train, times_s, (0.7, num_bins), (width, num_bins))
    which = np.clip((times_s / 0.7).astype(np.int64), 0, num_bins - 1)
    np.testing.assert_array_equal(counts, np.bincount(which, minlength=num_bins))
    np.testing.assert_array_equal(intervals, isi_histogram([train], width * num_bins, width))


@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["float32", "float64"]),
    ranges=st.sampled_from([[[0.0, 2.5], [-1.0, 1.5]], [[0.5, 3.0], [0.0, 0.0]]]),
)
def test_images(seed, dtype, ranges):
    rng, _, times_s = spikes_of(seed)
    values = rng.normal(size=times_s.size).astype(dtype)
    values[rng.random(values.size) < 0.1] = rng.choice([np.nan, np.inf])
    image = image_over_time(times_s, values, np.array(ranges), (7, 5))
    of_times, of_values = ranges
    own = (values >= of_values[0]) & (values <= of_values[1])
    own &= (times_s >= of_times[0]) & (times_s <= of_times[1])
    per_value = 5 / max(of_values[1] - of_values[0], 1e-300)
    column = ((times_s[own] - of_times[0]) * (7 / (of_times[1] - of_times[0]))).astype(int)
    row = ((values[own] - of_values[0]) * per_value).astype(int)
    expected = np.zeros((7, 5), dtype=np.int64)
    np.add.at(expected, (np.minimum(column, 6), np.minimum(row, 4)), 1)
    np.testing.assert_array_equal(image, expected)


def test_no_spikes():
    nothing = np.zeros(0)
    image = image_over_time(nothing, nothing, np.zeros((2, 2)), (3, 2))
    assert image.shape == (3, 2)
    assert image.sum() == 0
    counts, intervals = count_over_time(nothing.astype(int), nothing, (1.0, 4), (1, 1))
    assert counts.size == 4
    assert counts.sum() + intervals.sum() == pytest.approx(0)
