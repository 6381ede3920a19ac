"""Counts, values and histograms of parts of units in time bins against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from oracles import stability as naive
from si_curation.kernels import stability as kernel

spike_trains = st.lists(st.integers(0, 200), max_size=60).map(sorted)
PERIODS = [(0, 70), (80, 81), (90, 201)]


several_trains = st.lists(spike_trains, min_size=1, max_size=3)


def end_to_end(trains):
    """Return the spikes of all trains, and the rows of each."""
    stop = np.cumsum([len(train) for train in trains])
    samples = np.array([sample for train in trains for sample in train], dtype=np.int64)
    return samples, kernel.Rows(np.append(0, stop[:-1]), stop)


def the_same(bins, number):
    """Return the bins of parts that all have the same."""
    first = np.zeros(number, dtype=np.int64)
    return kernel.BinsOfParts(*bins, first, first + bins.starts.size)


@given(several_trains, st.integers(1, 60), st.integers(0, 3))
def test_activity_by_hand(trains, size, threshold):
    samples, rows = end_to_end(trains)
    bins = the_same(kernel.bins_in_periods(np.array(PERIODS), size), len(trains))
    thresholds = np.full(len(trains), float(threshold))
    present, ranges = kernel.activity_in_bins(samples, rows, bins, thresholds, 2.0, (5, 95))
    for part, train in enumerate(trains):
        its = naive.presence_ratio(train, PERIODS, size, threshold)
        assert present[part] == pytest.approx(its)
        its = naive.firing_range(train, PERIODS, size, 2.0, 5, 95)
        assert ranges[part] == pytest.approx(its)


@given(several_trains, st.integers(0, 210), st.integers(0, 1000), st.integers(1, 10))
def test_activity_has_the_bits_of_numpys(trains, number, seed, size_s):
    samples, rows = end_to_end(trains)
    rng = np.random.default_rng(seed)
    starts = rng.integers(-5, 210, number)  # in any order
    bins = the_same(kernel.Bins(starts, starts + rng.integers(0, 50, number)), len(trains))
    shares = rng.random(2)
    present, ranges = kernel.activity_in_bins(
        samples, rows, bins, np.ones(len(trains)), size_s, 100 * shares
    )
    for part, train in enumerate(trains):
        counts = np.searchsorted(train, bins.stops) - np.searchsorted(train, bins.starts)
        if number == 0:
            assert np.isnan([present[part], ranges[part]]).all()
            continue
        assert present[part] == np.count_nonzero(counts > 1) / number
        low, high = np.percentile(counts / size_s, 100 * shares)
        assert ranges[part] == high - low


@given(several_trains, st.integers(1, 60), st.integers(0, 1000), st.sampled_from(["f4", "f8"]))
def test_variation_by_hand(trains, size, seed, dtype):
    samples, rows = end_to_end(trains)
    rng = np.random.default_rng(seed)
    values = rng.normal(5, 2, samples.size).astype(dtype)
    segments = [[PERIODS[:2], PERIODS[2:]], [], [PERIODS]]  # of each part
    segments = segments[: len(trains)]
    every = [periods for of_part in segments for periods in of_part]
    joined = np.array([period for periods in every for period in periods]).reshape(-1, 2)
    number = np.cumsum([0, *map(len, every)])
    stop = np.cumsum(list(map(len, segments)))
    of_parts = kernel.PeriodsOfParts(joined, number, np.append(0, stop[:-1]), stop)
    sizes = np.full(len(trains), size)
    found = kernel.variation_over_time(samples, values, rows, of_parts, sizes, (5, 60))
    for part, (train, of_part) in enumerate(zip(trains, segments, strict=True)):
        own = values[rows.first[part] : rows.stop[part]]
        expected = []
        for periods in of_part:
            inside = [v for s, v in zip(train, own, strict=True) if naive.lies_within(s, periods)]
            if inside:
                mean = abs(np.mean(inside, dtype=np.float64))
                expected += naive.variations(train, own, periods, size, mean)
        assert found[part, 0] == len(expected)
        if expected:
            between = naive.quantile(expected, 0.6) - naive.quantile(expected, 0.05)
            median = naive.quantile(expected, 0.5)
            np.testing.assert_allclose(found[part, 1:], [median, between], rtol=1e-5, atol=1e-7)
        else:
            assert np.isnan(found[part, 1:]).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_mean_has_the_bits_of_numpys(dtype):
    # one bin, of a known deviation: what is left is the mean
    rng = np.random.default_rng(0)
    values = rng.normal(5, 2, 20_001).astype(dtype)
    samples, rows = np.zeros(values.size, dtype=np.int64), kernel.Rows(*np.array([[0], [20_001]]))
    one = np.zeros(1, dtype=np.int64)
    periods = kernel.PeriodsOfParts(np.array([[0, 1]]), np.array([0, 1]), one, one + 1)
    found = kernel.variation_over_time(samples, values, rows, periods, one + 1, (0, 100))
    total = 0.0
    for value in values.tolist():
        total += value
    squares = 0.0
    for value in values.tolist():
        squares += (value - total / values.size) ** 2
    expected = np.sqrt(squares / values.size) / values.mean(dtype=np.float64)
    assert found.tolist() == [[1.0, expected, 0.0]]


@given(several_trains, st.integers(1, 60), st.integers(0, 4), st.integers(0, 1000))
def test_drift_by_hand(trains, size, least, seed):
    samples, rows = end_to_end(trains)
    values = np.random.default_rng(seed).normal(5, 2, samples.size).astype(np.float32)
    bins = kernel.bins_in_periods(np.array(PERIODS), size)
    of_parts = the_same(bins, len(trains))
    found = kernel.drift_in_bins(samples, values, rows, of_parts, least)
    for part, train in enumerate(trains):
        own = values[rows.first[part] : rows.stop[part]]
        expected = np.array(naive.medians(train, own, naive.whole_bins(PERIODS, size), least))
        known = np.isfinite(expected)
        assert found[part, 0] == known.sum()
        if known.any():
            its = naive.drift(expected)
            np.testing.assert_allclose(found[part, 1:], its, rtol=1e-5, atol=1e-5)
        else:
            assert np.isnan(found[part, 1:]).all()


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50),
    st.integers(1, 40),
    st.sampled_from(["f4", "f8"]),
)
def test_histogram_is_numpys(values, num_bins, dtype):
    values = np.array(values, dtype=dtype)
    try:
        expected = np.histogram(values, num_bins)
    except ValueError:  # numpy: too many bins for the range of values
        return
    found = kernel.histogram_of_sorted(np.sort(values), num_bins)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[0], expected[0])


@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(3, 200))
def test_noise_cutoff_by_hand(seed, num_bins, num_spikes):
    values = np.random.default_rng(seed).gamma(3, 1, num_spikes)
    histogram, edges = np.histogram(values, num_bins)
    low, high = np.quantile(values, [0.1, 0.75])
    found = kernel.noise_cutoff(histogram, edges, low, high)
    np.testing.assert_allclose(found, naive.noise_cutoff(values, 0.1, 0.25, num_bins), rtol=1e-9)


@pytest.mark.parametrize("cut", [0.0, 0.1, 0.25])
def test_amplitude_cutoff_finds_the_lost_share(cut):
    amplitudes = np.sort(np.random.default_rng(1).normal(10, 1, 40_000))
    amplitudes = amplitudes[int(cut * amplitudes.size) :]
    histogram = np.histogram(amplitudes, 100)[0]
    assert kernel.fraction_missing(histogram, amplitudes.size, 3) == pytest.approx(cut, abs=0.03)


def median(values):
    """Return the median of all values, and that of a bin that has all of them."""
    first, stop = np.zeros(1, dtype=np.int64), np.full(1, values.size)
    (in_bin,), of_all = kernel.medians_in_bins(values, first, stop, 1)
    assert in_bin == of_all
    return of_all


def sometimes_equal(seed, size, dtype):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=size) if seed % 2 else rng.integers(0, 5, size) / 5.0
    return values.astype(dtype)


@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=3),
    st.integers(0, 10_000),
    st.sampled_from(["f4", "f8"]),
    st.booleans(),
)
def test_amplitudes_of_parts_are_those_of_each(sizes, seed, dtype, is_negative):
    rng = np.random.default_rng(seed)
    of_parts = [np.sort(sometimes_equal(seed + n, n, dtype) - 3 * is_negative) for n in sizes]
    _, rows = end_to_end(of_parts)
    num_bins, smoothing, shares = int(rng.integers(1, 60)), 3, tuple(rng.random(2))
    found = kernel.describe_amplitudes(np.concatenate(of_parts), rows, num_bins, smoothing, shares)
    for row, values in zip(found, of_parts, strict=True):
        if values.size == 0:
            assert np.isnan(row).all()
            continue
        assert row[0] == float(np.median(values))
        positive = np.sort(-values if np.median(values) < 0 else values)
        heights, edges = np.histogram(positive, num_bins)
        assert row[1] == kernel.fraction_missing(heights, values.size, smoothing)
        low, high = np.quantile(positive.astype("f8"), shares)
        np.testing.assert_array_equal(row[2:], kernel.noise_cutoff(heights, edges, low, high))


@given(st.integers(0, 10_000), st.integers(1, 300), st.sampled_from(["f4", "f8"]))
def test_medians_and_drift_have_the_bits_of_numpys(seed, size, dtype):
    values = sometimes_equal(seed, size, dtype)
    assert median(values) == float(np.median(values))
    # a bin of each value: the medians are the values
    samples, rows = np.arange(size), kernel.Rows(np.zeros(1, dtype=np.int64), np.array([size]))
    bins = the_same(kernel.Bins(samples, samples + 1), 1)
    found = kernel.drift_in_bins(samples, values, rows, bins, 1)
    positions = values.astype("f8") - float(np.median(values))
    away = np.median(np.abs(positions - np.median(positions)))
    assert found.tolist() == [[size, np.ptp(positions), positions.std(), away]]


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=150),
    st.sampled_from([0.1, 1, 2.5, 3, 40]),
    st.integers(0, 100),
    st.integers(0, 100),
)
def test_histograms_have_the_bits_of_numpy_and_scipy(heights, smoothing, low, high):
    heights = np.array(heights)
    heights[0] += 1
    total = int(heights.sum())
    smooth = gaussian_filter1d(heights, smoothing, mode="nearest")
    missing = smooth[np.flatnonzero(smooth >= smooth[0])[-1] + 1 :].sum()
    expected = min(missing / (total + missing), 0.5)
    assert kernel.fraction_missing(heights, total, smoothing) == expected
    edges = np.arange(heights.size + 1.0)
    cutoff, ratio = kernel.noise_cutoff(heights, edges, float(low), float(high))
    rare, often = heights[:low], heights[high:]
    if low == 0:
        assert np.isnan(ratio)
        return
    assert ratio == rare.mean() / heights.max()
    if often.size > 1 and often.std() > 0:
        assert cutoff == (rare.mean() - often.mean()) / often.std()
    else:
        assert np.isnan(cutoff)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_medians_of_any_numbers(dtype):
    largest = float(np.finfo(dtype).max)
    tiny = np.random.default_rng(0).random(60) * float(np.finfo(dtype).tiny)
    for values in (
        [-largest, largest, 1.0, 2.0] * 9,
        [0.0] * 40 + [1.0],
        2.0 ** np.arange(-60, 60),
        -(2.0 ** np.arange(-60, 61)),
        tiny,
        [-0.0, 0.0] * 20,
    ):
        values = np.array(values, dtype=dtype)
        assert median(values) == float(np.median(values))
