"""Agreement of two waveforms at the best lag."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from si_curation.kernels.template_agreement import best_agreement


def brute_force(first, second, shift, max_lag):
    """The same by numpy.corrcoef over the samples that both have."""
    found = []
    for lag in range(-max_lag, max_lag + 1):
        pairs = [
            (i, i + shift + lag) for i in range(len(first)) if 0 <= i + shift + lag < len(second)
        ]
        if len(pairs) <= min(len(first), len(second)) // 2:
            continue
        i, j = np.array(pairs).T
        a, b = first[i] - first[i].mean(0), second[j] - second[j].mean(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append((np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)), lag))
    known = [one for one in found if np.isfinite(one[0])]
    return max(known, default=(np.nan, 0))


@given(
    seed=st.integers(0, 10_000),
    sizes=st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 3)),
    shift=st.integers(-6, 6),
    max_lag=st.integers(0, 6),
)
def test_as_by_brute_force(seed, sizes, shift, max_lag):
    random = np.random.default_rng(seed)
    first = random.normal(size=(sizes[0], sizes[2]))
    second = random.normal(size=(sizes[1], sizes[2]))
    found = best_agreement(first, second, shift, max_lag)
    correlation, _ = brute_force(first, second, shift, max_lag)
    np.testing.assert_allclose(found.correlation, correlation, atol=1e-9)
    assert abs(found.lag) <= max_lag


@pytest.mark.parametrize("lag", [-7, -1, 0, 3])
@pytest.mark.parametrize("shift", [-5, 0, 4])
def test_a_shifted_and_scaled_copy_is_found(lag, shift):
    random = np.random.default_rng(0)
    long = random.normal(size=(90, 4))
    first, start = long[20:80], 20 - shift - lag
    found = best_agreement(first, -0.0 + 2.5 * long[start:] + [1.0, -3, 0, 2], shift, 8)
    assert (found.correlation, found.lag) == (pytest.approx(1), lag)
    assert found.ratio == pytest.approx(2.5)


def test_constant_waveforms_have_none():
    flat, wave = np.ones((10, 2)), np.random.default_rng(0).normal(size=(10, 2))
    for pair in ((flat, wave), (wave, flat), (wave[:0], wave)):
        assert np.isnan(best_agreement(*pair, 0, 2).correlation)
