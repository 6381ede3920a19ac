"""Features of two units where they are closest in time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import si_curation as sic
from si_curation.evidence.border_waveforms import (
    NUM_SPIKES,
    BorderWaveforms,
    compare_waveforms,
    near_in_time,
    separation,
)


@given(st.integers(0, 2**32 - 1))
def test_no_spike_left_out_is_nearer(seed):
    rng = np.random.default_rng(seed)
    times, others = (np.sort(rng.integers(0, 100_000, rng.integers(1, 300))) for _ in range(2))
    fs = 100.0
    found = near_in_time(times, others, fs)
    distance = np.abs(times[:, None] - others[None]).min(axis=1)
    distance = np.maximum(distance, 50)  # within half a second all are equal
    assert found.size == min(times.size, NUM_SPIKES)
    assert (np.diff(found) > 0).all()
    left = np.setdiff1d(np.arange(times.size), found)
    if left.size:
        assert distance[left].min() >= distance[found].max()


@pytest.mark.parametrize("apart", [0.0, 3.0, 6.0])
@pytest.mark.parametrize("dimensions", [2, 60])
def test_separation_is_that_of_the_clusters(apart, dimensions):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(10):
        first, second = rng.normal(size=(2, 100, dimensions))
        second[:, 0] += apart
        first[:, 1] *= 5.0
        second[:, 1] *= 5.0
        found.append(separation(first, second))
    assert np.mean(found) == pytest.approx(apart, abs=0.25 * apart + 0.3)


@pytest.fixture(scope="module")
def example():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


def all_pairs(analyzer):
    return np.argwhere(np.triu(np.ones((len(analyzer.unit_ids),) * 2, dtype=bool), 1))


def test_two_halves_join_and_two_neurons_do_not(example):
    session = sic.CurationSession(example)
    rng = np.random.default_rng(0)
    table = example.get_extension("template_assignment").get_data()
    unit = table["num_spikes"][table["num_templates"] == 1].idxmax()
    size = table.loc[unit, "num_spikes"]
    halves = session.split(unit, rng.integers(0, 2, size))
    analyzer = session.apply()
    index = {u: i for i, u in enumerate(analyzer.unit_ids.tolist())}
    pairs = all_pairs(analyzer)
    found = compare_waveforms(analyzer, pairs, np.ones(len(pairs), dtype=bool))
    of_halves = (pairs == sorted(index[u] for u in halves)).all(axis=1)
    assert found.separation[of_halves] < 1
    assert found.state[of_halves] == "compared"
    others = np.isfinite(found.separation) & ~of_halves
    assert others.any()
    assert np.median(found.separation[others]) > 4
    assert set(found.state) <= {"compared", "few_spikes"}


def test_only_what_is_wanted_is_compared(example):
    pairs = all_pairs(example)
    wanted = np.zeros(len(pairs), dtype=bool)
    found = compare_waveforms(example, pairs, wanted)
    assert set(found.state) == {"not_needed"}
    assert np.isnan(found.separation).all()
    wanted[:2] = True
    some = compare_waveforms(example, pairs, wanted)
    everything = compare_waveforms(example, pairs, ~np.zeros(len(pairs), dtype=bool))
    np.testing.assert_array_equal(some.separation[:2], everything.separation[:2])
    assert np.isnan(some.separation[2:]).all()


def test_without_features_it_says_so(simulate):
    analyzer = sic.read_kilosort_as_analyzer(simulate(write_features=False).folder)
    pairs = all_pairs(analyzer)
    found = compare_waveforms(analyzer, pairs, np.ones(len(pairs), dtype=bool))
    assert isinstance(found, BorderWaveforms)
    assert set(found.state) == {"no_features"}
    assert np.isnan(found.separation).all()


@pytest.mark.slow
def test_spikeinterfaces_components_do_too():
    from spikeinterface.core import create_sorting_analyzer, generate_ground_truth_recording

    recording, sorting = generate_ground_truth_recording(
        durations=[30.0], num_units=4, num_channels=8, seed=0
    )
    analyzer = create_sorting_analyzer(sorting, recording, sparse=True)
    names = ["random_spikes", "waveforms", "templates", "principal_components"]
    analyzer.compute(names, extension_params={"random_spikes": {"max_spikes_per_unit": 80}})
    pairs = all_pairs(analyzer)
    found = compare_waveforms(analyzer, pairs, np.ones(len(pairs), dtype=bool))
    assert "compared" in set(found.state)
    assert np.nanmedian(found.separation) > 3
