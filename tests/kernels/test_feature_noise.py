"""Noise of channels from what templates leave of their spikes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from si_curation.kernels.feature_noise import (
    FAR,
    noise_of_channels,
    residuals_of_template,
    robust_deviation,
)


def test_noise_that_was_put_in_is_found():
    rng = np.random.default_rng(0)
    template = rng.normal(size=(6, 5)) * np.array([100, 20, 10, 5, 1])
    factors = rng.uniform(0.7, 1.3, 400)
    noise = np.array([3.0, 4.0, 5.0, 6.0, 7.0])
    found = factors[:, None, None] * template + rng.normal(size=(400, 6, 5)) * noise
    left = residuals_of_template(found, factors)
    deviation = np.array([robust_deviation(left[:, :, c].ravel()) for c in range(5)])
    np.testing.assert_allclose(deviation, noise, rtol=0.06)


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 4))
def test_residuals_are_those_of_least_squares(seed, num_spikes, num_channels):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(num_spikes, 3, num_channels))
    factors = rng.uniform(0.5, 2, num_spikes)
    flat = values.reshape(num_spikes, -1)
    mean, *_ = np.linalg.lstsq(factors[:, None], flat, rcond=None)
    expected = (flat - factors[:, None] * mean).reshape(values.shape)
    np.testing.assert_allclose(residuals_of_template(values, factors), expected, atol=1e-9)


def test_without_size_there_is_no_mean():
    values = np.ones((2, 1, 1))
    np.testing.assert_array_equal(residuals_of_template(values, np.zeros(2)), values)


@given(st.integers(0, 1000))
def test_channels_far_from_the_templates_are_taken(seed):
    rng = np.random.default_rng(seed)
    deviations = rng.uniform(1, 2, (7, 4))
    deviations[rng.random((7, 4)) < 0.4] = np.nan
    sizes = rng.uniform(0.01, 1, (7, 4))
    found = noise_of_channels(list(deviations), list(sizes), 4)
    for channel in range(4):
        there = [
            (one[channel], size[channel] < FAR * size.max())
            for one, size in zip(deviations, sizes, strict=True)
            if not np.isnan(one[channel])
        ]
        far = [value for value, is_far in there if is_far]
        if far:
            assert found[channel] == np.median(far)
        elif there:
            assert found[channel] == np.quantile([value for value, _ in there], 0.25)
        else:
            assert np.isnan(found[channel])


def test_no_templates():
    assert np.isnan(noise_of_channels([], [], 3)).all()
