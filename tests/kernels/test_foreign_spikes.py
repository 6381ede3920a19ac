"""Foreign spikes: distances against scipy, known mixtures, and what cannot be judged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import mahalanobis

from si_curation.kernels.foreign_spikes import (
    SpikeScores,
    choose_foreign,
    fit_spike_model,
    ranks_among,
    score_spikes,
)


def mixture(num_own, num_foreign, apart, seed=0, num_features=4):
    rng = np.random.default_rng(seed)
    other = np.zeros(num_features)
    other[0] = apart
    spikes = np.concatenate(
        [
            rng.normal(0, 1, (num_own, num_features)),
            rng.normal(other, 1, (num_foreign, num_features)),
        ]
    )
    model = fit_spike_model(spikes, other[None])
    return score_spikes(model, spikes), np.arange(len(spikes)) >= num_own


def test_distance_is_that_of_mahalanobis():
    spikes = np.random.default_rng(0).normal(0, [1, 2, 3], (500, 3))
    model = fit_spike_model(spikes, np.zeros((0, 3)))
    inverse = model.whitening @ model.whitening.T
    expected = [mahalanobis(spike, model.centre, inverse) ** 2 for spike in spikes]
    np.testing.assert_allclose(score_spikes(model, spikes).distance, expected, rtol=1e-9)
    assert np.isneginf(score_spikes(model, spikes).other_fits).all()


def test_foreign_spikes_are_found_and_own_ones_stay():
    scores, is_foreign = mixture(1900, 100, 8.0)
    choice = choose_foreign(scores, 0.0)
    assert choice.num_sure == 0 or choice.num_farthest == 0
    choice = choose_foreign(scores, 0.03)
    sure = (scores.distance >= choice.far) & (scores.other_fits >= choice.sure)
    assert choice.num_sure == sure.sum()
    assert sure[is_foreign].mean() > 0.9
    assert sure[~is_foreign].mean() < 0.005


@pytest.mark.parametrize("seed", range(5))
def test_a_clean_unit_has_no_sure_ones(seed):
    scores, _ = mixture(2000, 0, 5.0, seed)
    assert choose_foreign(scores, 0.03).num_sure == 0


@given(
    st.integers(100, 400),
    st.integers(0, 40),
    st.floats(0, 10),
    st.floats(0, 0.2),
    st.integers(0, 99),
)
def test_the_loss_is_limited(num_own, num_foreign, apart, max_loss, seed):
    scores, _ = mixture(num_own, num_foreign, apart, seed)
    choice = choose_foreign(scores, max_loss)
    num = num_own + num_foreign
    sure = (scores.distance >= choice.far) & (scores.other_fits >= choice.sure)
    taken = sure | (ranks_among(scores, scores) >= choice.farthest)
    assert sure.sum() == choice.num_sure
    assert taken.sum() == choice.num_sure + choice.num_farthest
    assert choice.num_farthest <= max_loss * num
    assert choice.num_sure <= 0.1 * num + 1


def test_features_without_variance():
    spikes = np.ones((200, 3))
    scores = score_spikes(fit_spike_model(spikes, np.zeros((1, 3))), spikes)
    assert np.isfinite(scores.distance).all()
    choice = choose_foreign(scores, 0.03)
    assert (choice.num_sure, choice.num_farthest) == (0, 0)


def test_nothing_is_chosen_of_no_spikes():
    none = SpikeScores(*np.zeros((3, 0)))
    choice = choose_foreign(none, 0.1)
    assert (choice.num_sure, choice.num_farthest) == (0, 0)
