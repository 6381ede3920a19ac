"""The slow baseline of correlograms, one bin at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from si_curation.errors import ParameterError
from si_curation.kernels import hollow_gaussian as kernel


@given(
    seed=st.integers(0, 2**32 - 1),
    num_bins=st.integers(3, 60),
    sigma=st.floats(0.2, 9),
    hollow=st.floats(0, 1),
    leaves_out=st.booleans(),
)
def test_convolution(seed, num_bins, sigma, hollow, leaves_out):
    rng = np.random.default_rng(seed)
    weights = kernel.hollow_gaussian(sigma, hollow)
    half = max(1, round(3 * sigma))
    assert weights.size == 2 * half + 1
    if weights.size > num_bins:
        with pytest.raises(ParameterError, match="wider window"):
            kernel.predictor_matrix(num_bins, weights)
        return
    counts = rng.poisson(5, (3, num_bins))
    widths = rng.integers(1, 4, num_bins)
    left_out = rng.choice(num_bins, 1) if leaves_out else []
    rows = rng.integers(0, num_bins, 4)
    matrix = kernel.predictor_matrix(num_bins, weights, rows, left_out, widths)
    found = kernel.expected_counts(counts, matrix)
    for pair in range(3):
        per_lag = np.concatenate([(counts[pair] / widths)[::-1], counts[pair] / widths] * 2)
        per_lag = np.concatenate([per_lag, (counts[pair] / widths)[::-1]])
        is_out = np.tile(np.isin(np.arange(num_bins), left_out), 5)
        is_out[:num_bins] = is_out[:num_bins][::-1]
        is_out[2 * num_bins : 3 * num_bins] = is_out[:num_bins]
        is_out[4 * num_bins :] = is_out[:num_bins]
        start = 3 * num_bins  # the correlogram between its mirror images
        for at, row in enumerate(rows):
            total = weight = 0.0
            for offset in range(-half, half + 1):
                g = np.exp(-(offset**2) / (2 * sigma**2)) * (1 - hollow if offset == 0 else 1)
                if not is_out[start + row + offset]:
                    total += g * per_lag[start + row + offset]
                    weight += g
            if weight > 1e-12:
                np.testing.assert_allclose(found[pair, at], total / weight * widths[row], rtol=1e-6)


def test_kernel_by_hand():
    # exp(-1/2), exp(-2), exp(-9/2)
    full = np.array([0.011109, 0.135335, 0.606531, 1, 0.606531, 0.135335, 0.011109])
    hollow = full * [1, 1, 1, 0.4, 1, 1, 1]
    np.testing.assert_allclose(kernel.hollow_gaussian(1.0, 0.0), full / full.sum(), rtol=1e-4)
    np.testing.assert_allclose(kernel.hollow_gaussian(1.0), hollow / hollow.sum(), rtol=1e-4)
    with pytest.raises(ParameterError, match=r"sigma_bins.*; hollow_fraction"):
        kernel.hollow_gaussian(0.0, 1.5)
    # a lone peak adds 1 - hollow of what it would add to its own baseline
    lone = np.zeros((1, 61), dtype=np.int64)
    lone[0, 30] = 1000
    at_peak = [
        kernel.expected_counts(
            lone, kernel.predictor_matrix(61, kernel.hollow_gaussian(10.0, h), [30])
        )
        for h in (0.0, 1.0)
    ]
    assert at_peak[0] > 30
    assert at_peak[1] == 0
