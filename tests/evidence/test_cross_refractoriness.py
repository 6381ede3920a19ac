"""Coincidences of two units: counts by brute force, odds that fall with them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.merge_analyzers import FS, renewal
from oracles import merges as naive
from si_curation.evidence.cross_refractoriness import (
    choose_refractory_periods,
    count_lags,
    cross_refractoriness,
    log_odds_of_one_neuron,
)


@given(st.integers(0, 2**32 - 1))
def test_evidence_is_brute_force(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 60))
    segments = np.sort(rng.integers(0, 2, n))
    samples = np.concatenate([np.sort(rng.integers(0, 200, (segments == s).sum())) for s in (0, 1)])
    units = rng.integers(0, 3, n)
    pairs = np.array([[0, 1], [2, 1], [0, 2]])
    fs, censored, period = 1000.0, 1, 4
    counts = count_lags(samples, units, segments, 3, pairs, fs)
    found = cross_refractoriness(counts, pairs, np.full(3, period), censored, fs)

    def trains(unit):
        return [samples[(units == unit) & (segments == s)] for s in (0, 1)]

    for row, (a, b) in enumerate(pairs):
        both = list(zip(trains(a), trains(b), strict=True))
        observed = sum(naive.pairs_between(s, t, censored, period) for s, t in both)
        assert found.observed[row] == observed
        baseline = sum(naive.pairs_between(s, t, 9, 49) for s, t in both)
        assert found.expected[row] == pytest.approx(baseline / 40 * (period - censored))
        own = sum(naive.pairs_between(s, s, censored, period) for s in trains(a)) / 2
        assert found.auto_observed[row, 0] == own
    periods, _ = choose_refractory_periods(counts, pairs, censored, fs)
    assert (periods > censored).all()


def test_odds_fall_with_coincidences():
    for expected, ratio, shape in itertools.product((0.1, 3.0, 80.0), (0.03, 0.3, 0.9), (0.5, 20)):
        counts = np.minimum(np.arange(200.0), expected)
        odds = log_odds_of_one_neuron(
            counts, np.full(200, expected), np.full(200, ratio), np.full(200, shape)
        )
        assert (np.diff(odds) <= 1e-9).all()
        assert odds[0] >= 0
        assert odds[-1] <= 0 or expected < 1
    nothing = log_odds_of_one_neuron(np.zeros(1), np.zeros(1), np.full(1, 0.05), np.full(1, 0.5))
    assert nothing == 0


def test_more_coincidences_than_chance_speak_against_one_neuron():
    rng = np.random.default_rng(0)
    first = renewal(rng, 2, 200)
    samples = np.concatenate([first, first + round(0.001 * FS)])
    order = np.argsort(samples, kind="stable")
    units, pairs = np.repeat([0, 1], first.size)[order], np.array([[0, 1]])
    counts = count_lags(samples[order], units, np.zeros(units.size, int), 2, pairs, FS)
    found = cross_refractoriness(counts, pairs, np.array([round(0.0025 * FS)]), 8, FS)
    assert found.observed[0] >= first.size > 20 * found.expected[0] > 0
    assert found.log_odds[0] < 0
