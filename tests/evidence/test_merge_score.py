"""The terms of the score."""

from __future__ import annotations

import numpy as np
import pytest

from si_curation.evidence.merge_score import burst_asymmetry, merge_score, probability_of_one_neuron
from si_curation.kernels.poisson import poisson_at_least


def test_small_functions():
    assert probability_of_one_neuron(
        np.zeros(2), np.array([np.nan, 0.0]), np.array([99, 10])
    ).tolist() == [0.5, 0.5]
    assert burst_asymmetry(np.array([3]), np.array([900]))[0] == 0
    assert merge_score(np.array([np.nan]), np.array([0.3])).tolist() == [0.3]
    rng = np.random.default_rng(0)
    draws = rng.poisson(3.0, 20000)
    for count in (0, 1, 5):
        chance = poisson_at_least(np.array([count]), np.array([3.0]))[0]
        assert chance == pytest.approx((draws >= count).mean(), abs=0.02)
