"""Fits of amplitudes over distance: no worse than any other within the bounds."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import curve_fit, lsq_linear
from spikeinterface.metrics.template import metrics as theirs

from si_curation.kernels.template_over_channels import (
    AMPLITUDES,
    RATES,
    fit_decays,
    fit_lines,
    spread_over_depth,
    velocity,
)


def decay(x, rate, amplitude, offset):
    return amplitude * np.exp(-rate * x) + offset


def residual_by_scan(x, y, rates):
    """Return the smallest residual over rates and a fine grid of amplitudes."""
    best = np.inf
    low, high, most = AMPLITUDES[0] * y[0], AMPLITUDES[1] * y[0], 2 * y.min()
    for rate in rates:
        e = np.exp(-rate * x)
        amplitude = np.linspace(low, high, 400)
        offset = np.clip((y[:, None] - amplitude * e[:, None]).mean(axis=0), 0, most)
        left = y[:, None] - amplitude * e[:, None] - offset
        best = min(best, (left**2).sum(axis=0).min())
    return best


def points(seed, number=None):
    rng = np.random.default_rng(seed)
    number = rng.integers(3, 14) if number is None else number
    x = np.sort(rng.choice([0.0, 20.0, 25.6, 40.0, 44.7, 60.0, 63.2, 80.0, 120.0], number))
    x[:3] = 0.0, 20.0, 40.0
    x = np.sort(x)
    kind = rng.integers(3)
    if kind == 0:
        y = rng.uniform(1, 100, number)
    else:
        y = decay(x, rng.choice([0.0001, 0.01, 0.05, 0.8]), 100, rng.uniform(0, 40))
        y = np.abs(y + rng.normal(0, 10 * (kind - 1), number)) + 0.01
    return x, y


@given(st.integers(0, 2**32 - 1))
def test_no_other_decay_fits_better(seed):
    x, y = points(seed)
    found = fit_decays([x], [y])
    assert RATES[0] <= found.rate[0] <= RATES[1]
    scanned = residual_by_scan(x, y, np.geomspace(*RATES, 300))
    assert found.residual[0] <= scanned * (1 + 1e-9) + 1e-9
    at_rate = np.stack([np.exp(-found.rate[0] * x), np.ones(x.size)], axis=1)
    bounds = [AMPLITUDES[0] * y[0], 0], [AMPLITUDES[1] * y[0], 2 * y.min()]
    cost = lsq_linear(at_rate, y, bounds, tol=1e-14).cost
    np.testing.assert_allclose(found.residual[0], 2 * cost, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        found.r2[0], 1 - found.residual[0] / ((y - y.mean()) ** 2).sum(), rtol=1e-9
    )


@pytest.mark.filterwarnings("ignore::scipy.optimize.OptimizeWarning")
def test_decays_are_those_of_spikeinterface_or_better():
    of = [points(seed) for seed in range(25)]
    found = fit_decays(*zip(*of, strict=True))
    for i, (x, y) in enumerate(of):
        bounds = ([RATES[0], y[0] / 2, 0], [RATES[1], 1.5 * y[0], 2 * y.min()])
        try:
            best, _ = curve_fit(decay, x, y, bounds=bounds, p0=[1e-3, y[0], y.min()])
        except RuntimeError:
            continue
        theirs_left = ((y - decay(x, *best)) ** 2).sum()
        assert found.residual[i] <= theirs_left * (1 + 1e-9) + 1e-12
        alone = fit_decays([x], [y])  # the same beside others
        np.testing.assert_allclose(alone.rate[0], found.rate[i], rtol=1e-6)


def test_known_decays_are_found():
    x = np.linspace(0.0, 150.0, 12)
    rates = np.array([0.004, 0.02, 0.1])
    found = fit_decays([x] * 3, [decay(x, rate, 80.0, 3.0) for rate in rates])
    np.testing.assert_allclose(found.rate, rates, rtol=1e-8)
    np.testing.assert_allclose(found.r2, 1)


def test_what_is_not_determined_is_missing():
    x, y = np.array([0.0, 20.0, 20.0, 40.0]), np.array([9.0, 4.0, 4.5, 2.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit_decays([x, x[:3], x[:1], x[:0], x], [y, y[:3], y[:1], y[:0], y * [1, 1, 1, 0]])
        np.testing.assert_array_equal(np.isfinite(found.rate), [True, False, False, False, False])
        assert np.isnan(fit_lines([x[:1], x[:0]], [y[:1], y[:0]]).rate).all()
        assert fit_decays([], []).rate.size == 0
        assert fit_lines([], []).rate.size == 0
        assert fit_decays([x], [np.full(4, 2.0)]).r2[0] == 0.0


def locations(rng, number):
    return np.stack([rng.choice([0.0, 16.0, 32.0], number), rng.permutation(30)[:number] * 20.0], 1)


def test_spread_and_velocity_are_spikeinterfaces():
    rng = np.random.default_rng(0)
    for _ in range(12):
        at = locations(rng, 14)
        centre = at[rng.integers(14)]
        distance = np.linalg.norm(at - centre, axis=1)
        time = np.arange(200)[:, None] - 80 - distance * 0.3
        wave = -np.exp(-((time / 12) ** 2)) * np.exp(-distance / 40)
        wave = (wave + rng.normal(0, 0.01, wave.shape)).astype(np.float32)
        its = {"depth_direction": "y", "column_range": None}
        order = np.argsort(at[:, 1])
        sizes, depths = np.ptp(wave, axis=0)[order], at[order, 1]
        for smooth in (0, 20):
            expected = theirs.get_spread(
                wave, at, FS, spread_threshold=0.2, spread_smooth_um=smooth, **its
            )
            assert spread_over_depth(sizes[None], depths[None], smooth, 0.2)[0] == expected
        expected = theirs.get_velocity_fits(wave, at, FS, min_channels=3, min_r2=0.2, **its)
        at, lowest, when = at[order], wave.min(axis=0)[order], wave.argmin(axis=0)[order]
        main = np.argmin(lowest)
        apart = np.linalg.norm(at - at[main], axis=1)
        delays = (when - when[main]) / FS * 1000
        sides = depths >= at[main, 1], depths <= at[main, 1]
        for side, value in zip(sides, expected, strict=True):
            if side.sum() >= 3:
                np.testing.assert_allclose(velocity(apart[side], delays[side], 0.2), value)


FS = 300_000.0


def test_spread_without_depth_or_amplitude_is_missing():
    depths = np.zeros((1, 4))
    assert np.isnan(spread_over_depth(np.ones((1, 4)), depths, 20.0, 0.2))
    assert spread_over_depth(np.ones((1, 4)), depths, 0.0, 0.2) == [0.0]
    assert np.isnan(spread_over_depth(np.zeros((1, 4)), np.arange(4.0)[None], 0.0, 0.2))
    assert np.isnan(spread_over_depth(np.ones((2, 0)), np.ones((2, 0)), 20.0, 0.2)).all()
    assert np.isnan(velocity(np.zeros(3), np.arange(3.0), 0.2))
