"""Rates, intervals and images of units against numpy, one unit at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from si_curation.kernels.isi import isi_histogram
from si_curation.kernels.spikes_over_time import Clock, count_over_time, images_over_time

FS = 100.0


def spikes_of(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 80))
    segments = np.sort(rng.integers(0, 2, n))
    samples = np.concatenate([np.sort(rng.integers(0, 300, (segments == s).sum())) for s in (0, 1)])
    return rng, samples, rng.integers(0, 3, n), segments, Clock(FS, np.array([0.0, 2.5]))


@given(seed=st.integers(0, 2**32 - 1), num_bins=st.integers(1, 9), width=st.integers(1, 12))
def test_rates_and_intervals(seed, num_bins, width):
    _, samples, units, segments, clock = spikes_of(seed)
    counts, intervals = count_over_time(
        samples, units, segments, 3, clock, (0.7, num_bins), (width, num_bins)
    )
    times_s = samples / FS + clock.segment_starts_s[segments]
    for unit in range(3):
        own = units == unit
        which = np.clip((times_s[own] / 0.7).astype(np.int64), 0, num_bins - 1)
        np.testing.assert_array_equal(counts[unit], np.bincount(which, minlength=num_bins))
        trains = [samples[own & (segments == s)] for s in (0, 1)]
        expected = isi_histogram(trains, width * num_bins, width)
        np.testing.assert_array_equal(intervals[unit], expected)


@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(["float32", "float64"]))
def test_images(seed, dtype):
    rng, samples, units, segments, clock = spikes_of(seed)
    values = rng.normal(size=samples.size).astype(dtype)
    values[rng.random(values.size) < 0.1] = rng.choice([np.nan, np.inf])
    ranges = np.array([[[0.0, 5.0], [-1.0, 1.5]], [[0.5, 3.0], [0.0, 0.0]]])
    images = images_over_time(
        samples, units, segments, clock, values, np.array([1, -1, 0]), ranges, (7, 5)
    )
    times_s = samples / FS + clock.segment_starts_s[segments]
    for image, (of_times, of_values), unit in zip(images, ranges, (2, 0), strict=True):
        own = (units == unit) & (values >= of_values[0]) & (values <= of_values[1])
        own &= (times_s >= of_times[0]) & (times_s <= of_times[1])
        per_value = 5 / max(of_values[1] - of_values[0], 1e-300)
        column = ((times_s[own] - of_times[0]) * (7 / (of_times[1] - of_times[0]))).astype(int)
        row = ((values[own] - of_values[0]) * per_value).astype(int)
        expected = np.zeros((7, 5), dtype=np.int64)
        np.add.at(expected, (np.minimum(column, 6), np.minimum(row, 4)), 1)
        np.testing.assert_array_equal(image, expected)


def test_no_images():
    nothing = np.zeros(0, dtype=np.int64)
    none = np.zeros((0, 2, 2))
    clock = Clock(FS, np.zeros(1))
    found = images_over_time(nothing, nothing, nothing, clock, np.zeros(0), nothing, none, (3, 2))
    assert found.shape == (0, 3, 2)
    counts, _ = count_over_time(nothing, nothing, nothing, 2, clock, (1.0, 4), (1, 1))
    assert counts.shape == (2, 4)
    assert counts.sum() == pytest.approx(0)
