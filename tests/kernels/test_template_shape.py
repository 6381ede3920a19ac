"""Extrema, widths and slopes of templates: SpikeInterface's functions, one template at a time."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import resample_poly
from spikeinterface.metrics.template import metrics as theirs

from si_curation.kernels.template_shape import (
    MainExtrema,
    amplitude_ratios,
    baseline_flatness,
    find_extrema,
    find_main_extrema,
    half_widths,
    main_to_next_extremum,
    peak_half_widths,
    repolarization_slopes,
    slopes,
    upsample,
)

FS = 300_000.0
NAMES = ("trough", "peak_before", "peak_after")


def waves(seed, num=60, num_samples=61):
    """Smooth and rough templates, with troughs and peaks anywhere, also at the ends."""
    rng = np.random.default_rng(seed)
    time = np.arange(num_samples)
    out = rng.normal(0, rng.choice([0.01, 0.3], num)[:, None], (num, num_samples))
    for _ in range(3):
        centre, width = rng.uniform(0, num_samples, num), rng.uniform(1, 8, num)
        height = rng.normal(0, 2, num)
        out += height[:, None] * np.exp(-(((time - centre[:, None]) / width[:, None]) ** 2))
    out[0] = np.round(out[0])  # plateaus
    return out.astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.sampled_from([FS, 250_000.0, 100_000.0]))
def test_extrema_are_spikeinterfaces(seed, fs):
    templates = waves(seed, 12)
    up = upsample(templates)
    found = find_main_extrema(up, fs)
    for i, wave in enumerate(up):
        np.testing.assert_array_equal(wave, resample_poly(templates[i], 10, 1))
        of = theirs.get_trough_and_peak_idx(wave, fs, 0.3, 0.09)
        for name, one in zip(NAMES, found, strict=True):
            assert one.place[i] == of[f"{name}_index"]
            np.testing.assert_array_equal(one.width[i], of[f"{name}_width"])
            assert one.number[i] == len(of[f"{name}_sample_indices"])


def test_metrics_are_spikeinterfaces():
    up = upsample(waves(1, 150))
    found = find_main_extrema(up, FS)
    trough, before, after = (one.place for one in found)
    both = (before >= 0) & (after >= 0)
    assert 0.2 < both.mean() < 1
    ratios = amplitude_ratios(up, found)
    half_of_trough, half_of_peak = half_widths(-up, trough), peak_half_widths(up, found)
    steep = repolarization_slopes(up, trough)
    back = slopes(up, np.maximum(after, 0), np.minimum(after + 210, up.shape[1]))
    flat, to_next = baseline_flatness(up, 0, 150), main_to_next_extremum(up, found)
    for i in np.flatnonzero(both):
        of = theirs.get_trough_and_peak_idx(up[i], FS, 0.3, 0.09)
        expected = theirs.get_waveform_ratios(up[i], of)
        assert ratios["before_to_trough"][i] == expected["peak_before_to_trough_ratio"]
        assert ratios["after_to_trough"][i] == expected["peak_after_to_trough_ratio"]
        assert ratios["before_to_after"][i] == expected["peak_before_to_peak_after_ratio"]
        assert ratios["main_to_trough"][i] == expected["main_peak_to_trough_ratio"]
        halves = theirs.get_half_widths(up[i], FS, of)
        np.testing.assert_array_equal([half_of_trough[i] / FS, half_of_peak[i] / FS], halves)
        expected = theirs.get_repolarization_slope(up[i], FS, of)
        np.testing.assert_allclose(steep[i] * FS, expected, rtol=1e-9)
        expected = theirs.get_recovery_slope(up[i], FS, of, recovery_window_ms=0.7)
        np.testing.assert_allclose(back[i] * FS, expected, rtol=1e-9)
        expected = theirs.get_waveform_baseline_flatness(up[i], FS, baseline_window_ms=(0, 0.5))
        np.testing.assert_array_equal(flat[i], np.float64(expected))
        assert to_next[i] / FS == theirs.get_main_to_next_extremum_duration(up[i], of, FS)


def test_a_peak_that_is_not_there_is_no_last_sample():
    wave = np.zeros((1, 400), dtype=np.float32)
    wave[0, 28] = -1  # too near to the edge for a peak before it
    wave[0, 100] = 0.5
    wave[0, -1] = 0.9  # what an index of -1 would take
    found = find_main_extrema(wave, FS)
    assert [one.place[0] for one in found] == [28, -1, 100]
    assert amplitude_ratios(wave, found)["main_to_trough"] == [0.5]
    assert np.isnan(amplitude_ratios(wave, found)["before_to_trough"][0])
    assert main_to_next_extremum(wave, found)[0] == 72
    assert np.isnan(half_widths(wave, found.before.place)[0])
    none = MainExtrema(found.trough, found.before, found.before)
    assert np.isnan(main_to_next_extremum(wave, none)[0])
    assert np.isnan(amplitude_ratios(wave, none)["main_to_trough"][0])


@pytest.mark.parametrize("num_samples", [1, 5, 6])
def test_templates_that_are_too_short_have_no_extrema(num_samples):
    up = upsample(np.ones((2, num_samples), dtype=np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = find_main_extrema(up, FS)
        amplitude_ratios(up, found)
        peak_half_widths(up, found)
        repolarization_slopes(up, found.trough.place)
    assert (found.after.place == -1).all()


def test_no_templates_are_no_results():
    up = upsample(np.zeros((0, 61), dtype=np.float32))
    found = find_main_extrema(up, FS)
    assert all(one.place.size == 0 for one in found)
    nothing = np.zeros(0, dtype=np.int64)
    assert find_extrema(up, nothing, nothing, np.zeros(0)).number.size == 0
    assert baseline_flatness(up, 0, 150).size == 0
