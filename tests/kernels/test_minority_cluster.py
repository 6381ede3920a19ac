"""A small cluster beside a large one: found where it is, and not where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from si_curation.kernels.minority_cluster import MIN_SPIKES, find_minority
from si_curation.kernels.shape_space import time_windows

SHAPE = (3, 6)


def unit(rng, number, num_foreign=0, apart=6.0, drift=0.0):
    """Features of a unit with some spikes of another one, and which these are."""
    mean = np.zeros(SHAPE)
    mean[0] = np.linspace(30, 10, SHAPE[1])
    features = mean + rng.normal(size=(number, *SHAPE))
    features *= rng.normal(1, 0.1, size=(number, 1, 1))  # amplitude
    is_foreign = np.zeros(number, dtype=bool)
    is_foreign[rng.permutation(number)[:num_foreign]] = True
    features[is_foreign, 1, :2] += apart / np.sqrt(2)
    features[:, 2] += drift * np.linspace(0, 1, number)[:, None]
    other = mean.copy()
    other[1, :2] += apart / np.sqrt(2)
    other[2, 4] += 3
    return features, is_foreign, other[None]


@pytest.mark.parametrize("drift", [0.0, 4.0])
@pytest.mark.parametrize("share", [0.04, 0.12])
def test_the_spikes_of_another_neuron_are_found(share, drift):
    features, is_foreign, others = unit(
        np.random.default_rng(1), 900, int(900 * share), apart=8.0, drift=drift
    )
    found = find_minority(features, others, None)
    assert found is not None
    assert found.is_probable
    assert found.share == pytest.approx(share, abs=0.015)
    assert found.separation == pytest.approx(8.0, abs=1.5)
    is_in = found.contains(features, time_windows(900))
    assert is_in[is_foreign].mean() > 0.95
    assert is_in[~is_foreign].mean() < 0.01
    if share > 0.1:
        assert found.is_sure
    assert found.starts[0] == 0
    assert found.levels.size == found.starts.size


@pytest.mark.parametrize("drift", [0.0, 8.0])
def test_one_neuron_has_none(drift):
    for seed in range(4):
        features, _, others = unit(np.random.default_rng(seed), 600, drift=drift)
        found = find_minority(features, others, None)
        assert found is None or not found.is_probable


def test_a_movement_is_no_cluster():
    rng = np.random.default_rng(0)
    features, _, others = unit(rng, 640)
    features[240:300, 1, :2] += 6.0  # within one window of 80 spikes
    found = find_minority(features, others, None)
    assert found is None or not found.is_probable


def test_a_cluster_far_from_all_units_is_no_neuron():
    features, _, others = unit(np.random.default_rng(0), 900, 90, apart=8.0)
    away = others.copy()
    away[0, 1, :2] -= 40.0  # on the other side
    found = find_minority(features, away, None)
    assert found is not None
    assert found.distance_to_others > 2.4
    assert not found.is_probable
    # nothing to compare with
    alone = find_minority(features, others[:0], None)
    assert alone is None or not alone.is_probable


def test_few_spikes_and_no_variance():
    features, _, others = unit(np.random.default_rng(0), MIN_SPIKES - 1)
    assert find_minority(features, others, None) is None
    same = np.ones((200, *SHAPE))
    found = find_minority(same, same[:1], None)
    assert found is None or not found.is_probable
    one = np.random.default_rng(0).normal(size=(200, 1, 1))
    found = find_minority(one, one[:2], None)
    assert found is None or not found.is_probable
