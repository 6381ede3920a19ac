"""One population cut at an amplitude against two populations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from si_curation.evidence import amplitude_cut
from si_curation.evidence.amplitude_cut import CUT_SEPARATION, probability_of_cut


def cut(rng, number, softness, share):
    values = rng.normal(10.0, 1.0, number)
    border = np.quantile(values, share)
    is_high = rng.random(number) < 1 / (1 + np.exp(-(values - border) / softness))
    return values[is_high], values[~is_high]


def test_halves_of_a_normal_distribution_are_so_far_apart():
    values = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    high = values[values > 0]
    assert pytest.approx(2 * high.mean() / high.std(), abs=0.01) == CUT_SEPARATION


@pytest.mark.parametrize("softness", [0.01, 0.1, 0.2])
@pytest.mark.parametrize("number", [150, 1000])
def test_a_population_that_was_cut(softness, number):
    rng = np.random.default_rng(0)
    found = [
        probability_of_cut(*cut(rng, number, softness, rng.uniform(0.3, 0.7))) for _ in range(20)
    ]
    assert np.mean(np.array(found) > 0.5) >= 0.95


@pytest.mark.parametrize("number", [150, 1000])
def test_two_populations(number):
    rng = np.random.default_rng(1)
    found = [
        probability_of_cut(rng.normal(10, 1, number), rng.normal(13, 1, number)) for _ in range(20)
    ]
    assert np.mean(np.array(found) < 0.5) == 1


def test_few_spikes_tell_nothing_and_equal_ones_do_no_harm():
    assert np.isnan(probability_of_cut(np.arange(19.0), np.arange(30.0)))
    assert 0 <= probability_of_cut(np.full(30, 2.0), np.full(30, 2.0)) <= 1
    assert 0 <= probability_of_cut(np.full(30, 2.0), np.full(30, 3.0)) <= 1
    assert 0 <= probability_of_cut(np.zeros(30), np.zeros(40)) <= 1


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(0, 1e3))
def test_scale_and_order_do_not_matter(seed, scale, shift):
    rng = np.random.default_rng(seed)
    a, b = cut(rng, 200, rng.uniform(0.05, 1), rng.uniform(0.3, 0.7))
    found = probability_of_cut(a, b)
    assert probability_of_cut(b, a) == pytest.approx(found, abs=1e-3)
    assert probability_of_cut(scale * (a + shift), scale * (b + shift)) == pytest.approx(
        found, abs=1e-3
    )


def test_the_likelihood_of_the_threshold_is_the_largest():
    rng = np.random.default_rng(2)
    values = rng.normal(5.0, 2.0, 200)
    labels = rng.random(200) < 1 / (1 + np.exp(-(values - 5.0)))
    scaled = (values - values.mean()) / values.std()

    def minus(weights):
        signed = np.where(labels, 1, -1) * (weights[0] + weights[1] * scaled)
        return np.logaddexp(0, -signed).sum()

    best = optimize.minimize(minus, [0.0, 0.0]).fun
    assert amplitude_cut._logistic_log_likelihood(values, labels) == pytest.approx(-best, abs=1e-3)
