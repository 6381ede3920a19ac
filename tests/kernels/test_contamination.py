"""Formulas of contamination: each undoes the violations that its model makes."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from si_curation.kernels import contamination as formulas


@given(share=st.floats(0, 1))
def test_models_undo_the_expected_violations(share):
    many = formulas.contamination_by_many_neurons(np.array([share * (2 - share)]))
    np.testing.assert_allclose(many, [share], atol=1e-7)
    one = formulas.contamination_by_one_neuron(np.array([2 * share * (1 - share)]))
    np.testing.assert_allclose(one, [min(share, 1 - share)], atol=1e-7)


@given(
    count=st.integers(0, 300),
    expected=st.floats(0.01, 1000),
    level=st.sampled_from([0.8, 0.95, 0.99]),
    model=st.sampled_from(["ums", "many", "one"]),
)
def test_interval_holds_the_value_and_nan_has_its_cause(count, expected, level, model):
    function, most = {
        "ums": (formulas.ums2000_ratio, np.inf),
        "many": (formulas.contamination_by_many_neurons, np.inf),
        "one": (formulas.contamination_by_one_neuron, 0.5),
    }[model]
    found = formulas.estimate_contamination(
        np.array([count]), np.array([expected]), function, level, most
    )
    value, lower, upper, unknown, refuted = (field[0] for field in found)
    tail = (1 - level) / 2
    largest = expected * min(1.0, most)
    assert unknown == (count == 0 and -math.log(tail) >= largest)
    # refuted: a count this large has less than the probability of the tail at the model's most
    if count and most < np.inf:
        assert refuted == (stats.poisson.sf(count - 1, expected * most) < tail)
    else:
        assert not refuted
    assert np.isnan(value) == (unknown or refuted)
    assert np.isnan(lower) == np.isnan(upper) == refuted
    if not np.isnan(value):
        assert lower <= value <= upper
