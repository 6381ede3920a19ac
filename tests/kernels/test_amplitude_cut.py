"""One population cut at an amplitude against two populations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from si_curation.kernels import amplitude_cut
from si_curation.kernels.amplitude_cut import (
    CUT_SEPARATION,
    MIN_SPIKES,
    probabilities_of_cut,
    probability_of_cut,
)
from si_curation.kernels.spike_vector import evenly_spaced
from si_curation.kernels.spikes_by_unit import spikes_by_unit


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
    found = amplitude_cut._logistic_log_likelihood(values[np.argsort(labels)], int((~labels).sum()))
    assert found == pytest.approx(-best, abs=1e-3)


@pytest.mark.parametrize("is_in_order", [True, False])
@pytest.mark.parametrize("sizes", [(60, 45), (900, 400), (21, 3000), (19, 40)])
def test_of_units_at_common_times(is_in_order, sizes):
    rng = np.random.default_rng(sum(sizes))
    units = rng.permutation(np.repeat([0, 1, 2], [*sizes, 30]))
    amplitudes = -rng.normal(10 + units, 1).astype(np.float32)
    amplitudes[rng.random(units.size) < 0.02] = np.nan
    bins = rng.integers(0, 6, units.size).astype(np.uint8)
    bins[(units == 1) & (bins == 2)] = 3  # the first fires alone in bin 2
    if is_in_order:
        bins.sort()
    counts = np.zeros((3, 6))
    np.add.at(counts, (units, bins), 1)
    pairs = np.array([[0, 1], [2, 0]])
    of_units = spikes_by_unit(units, 3)
    values = [amplitudes[own] for own in of_units]
    found = probabilities_of_cut(pairs, [bins[own] for own in of_units], counts, values, 0.05)
    for value, pair in zip(found, pairs, strict=True):
        is_common = np.all(counts[pair] > 0, axis=0)
        own = [np.flatnonzero((units == unit) & is_common[bins]) for unit in pair]
        total = own[0].size + own[1].size
        taken = [x[evenly_spaced(x.size, round(x.size * min(1, 500 / total)))] for x in own]
        first, second = (np.abs(amplitudes[x].astype(np.float64)) for x in taken)
        first, second = first[np.isfinite(first)], second[np.isfinite(second)]
        if min(x.size for x in (*own, first, second)) < MIN_SPIKES:
            assert np.isnan(value)
        else:
            resolution = 0.05 * (first.mean() + second.mean()) / 2
            expected = probability_of_cut(first, second, resolution)
            assert value == pytest.approx(expected, abs=1e-12)
    assert np.isfinite(found).any() == (sizes != (19, 40))
