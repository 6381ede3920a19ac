"""Counts, values and histograms of one unit in time bins against brute force."""

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


@given(spike_trains, st.integers(1, 60), st.integers(0, 3))
def test_counts_by_hand(train, size, threshold):
    samples = np.array(train, dtype=np.int64)
    bins = kernel.bins_in_periods(np.array(PERIODS), size)
    counts = kernel.count_in_bins(samples, bins)
    assert counts.tolist() == naive.counts(train, naive.whole_bins(PERIODS, size))
    assert kernel.presence_ratio(counts, threshold) == pytest.approx(
        naive.presence_ratio(train, PERIODS, size, threshold)
    )
    assert kernel.firing_range(counts, 2.0, (5, 95)) == pytest.approx(
        naive.firing_range(train, PERIODS, size, 2.0, 5, 95)
    )


@given(spike_trains, st.integers(1, 60), st.integers(0, 4), st.integers(0, 1000))
def test_values_in_bins_by_hand(train, size, least, seed):
    samples = np.array(train, dtype=np.int64)
    values = np.random.default_rng(seed).normal(5, 2, samples.size).astype(np.float32)
    bins = kernel.bins_in_periods(np.array(PERIODS), size)
    first, stop = kernel.rows_of_bins(samples, bins)
    np.testing.assert_allclose(
        kernel.variation_in_bins(values, first, stop, 5.0),
        naive.variations(train, values, PERIODS, size, 5.0),
        rtol=1e-5,
        atol=1e-9,
    )
    expected = naive.medians(train, values, naive.whole_bins(PERIODS, size), least)
    medians, _ = kernel.medians_in_bins(values, first, stop, least)
    np.testing.assert_allclose(medians, expected, rtol=1e-6)
    if np.isfinite(expected).any():
        np.testing.assert_allclose(
            kernel.drift_of_positions(medians), naive.drift(expected), rtol=1e-5, atol=1e-6
        )


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
    st.integers(0, 10_000),
    st.integers(1, 300),
    st.sampled_from(["f4", "f8"]),
    st.floats(0, 1),
)
def test_order_statistics_have_the_bits_of_numpys(seed, size, dtype, share):
    ordered = np.sort(sometimes_equal(seed, size, dtype))
    assert kernel.median_of_sorted(ordered) == float(np.median(ordered))
    assert kernel.quantile_of_sorted(ordered, share) == float(
        np.quantile(ordered.astype("f8"), share)
    )
    values = sometimes_equal(seed, size, "f8")
    low, high = np.percentile(values, (5, 100 * share))
    found = kernel.spread_of_percentiles(values, (5, 100 * share))
    assert found == (np.median(values), high - low)
    shuffled = sometimes_equal(seed, size, dtype)
    assert median(shuffled) == float(np.median(shuffled))
    away = np.median(np.abs(values - np.median(values)))
    assert kernel.drift_of_positions(values) == (np.ptp(values), values.std(), away)


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


@given(spike_trains, st.lists(st.integers(-5, 210), min_size=1, max_size=9))
def test_bins_in_any_order_are_found(train, edges):
    samples, starts = np.array(train, dtype=np.int64), np.array(edges)
    first, stop = kernel.rows_of_bins(samples, kernel.Bins(starts, starts + 20))
    assert first.tolist() == np.searchsorted(samples, starts).tolist()
    assert stop.tolist() == np.searchsorted(samples, starts + 20).tolist()
