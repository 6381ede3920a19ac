"""Channels near the peak, ranked by amplitude, against the brute-force oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles import folders as naive
from si_curation.kernels.channels import (
    centre_of_signal,
    nearest_channels,
    neighbourhood,
    rank_channels,
)


@st.composite
def probes_and_templates(draw, max_channels=30):
    """Positions on a grid (with equal distances), shanks, templates with equal amplitudes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_channels = draw(st.integers(1, max_channels))
    grid = np.stack(np.meshgrid(np.arange(4) * 32.0, np.arange(10) * 20.0), axis=-1).reshape(-1, 2)
    positions = grid[rng.permutation(len(grid))[:num_channels]]
    if draw(st.booleans()):
        positions = positions + rng.normal(size=positions.shape)
    positions = positions.astype(draw(st.sampled_from(["float32", "float64"])))
    shanks = rng.integers(0, draw(st.integers(1, 3)), num_channels)
    templates = rng.normal(size=(draw(st.integers(1, 6)), 4, num_channels))
    if draw(st.booleans()):
        templates = np.round(templates)
    templates[:, 0, rng.integers(num_channels)] += 1  # none without signal
    return positions, shanks, templates.astype(draw(st.sampled_from(["float32", "float64"])))


@given(
    case=probes_and_templates(),
    num_channels=st.sampled_from([1, 2, 5, 12, 100]),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    same_shank=st.booleans(),
)
def test_ranked_channels(case, num_channels, threshold, same_shank):
    positions, shanks, templates = case
    amplitudes = np.ptp(templates, axis=1)
    candidates = neighbourhood(amplitudes, positions, shanks, num_channels, same_shank)
    ranked = rank_channels(amplitudes, candidates, threshold)
    assert ranked.dtype == np.int64
    longest = 0
    for amplitude, row in zip(amplitudes, ranked, strict=True):
        # a template whose peak-to-peak amplitudes are these, to the bit
        template = np.stack([np.zeros_like(amplitude), amplitude])
        expected, _ = naive.rank_channels_dense(
            template, positions, shanks, num_channels, threshold, same_shank
        )
        assert row[: len(expected)].tolist() == expected
        assert np.all(row[len(expected) :] == -1)
        longest = max(longest, len(expected))
    assert ranked.shape[1] == longest


@given(case=probes_and_templates(), num_channels=st.integers(1, 14))
def test_nearest_channels(case, num_channels):
    positions, _, _ = case
    channels = np.arange(len(positions))
    found = nearest_channels(positions, channels, num_channels)
    assert found.shape == (len(positions), min(num_channels, len(positions)))
    for channel, row in zip(channels, found, strict=True):
        squared = ((positions - positions[channel]) ** 2).sum(axis=1)
        assert row[0] == channel
        assert len(set(row.tolist())) == row.size
        np.testing.assert_array_equal(squared[row], np.sort(squared)[: row.size])


@pytest.mark.parametrize("positions", [[[3.0, 4.0]], [[0.0, 0.0], [0.0, 20.0]]])
def test_fewer_channels_than_asked_for(positions):
    positions = np.array(positions)
    shanks = np.zeros(len(positions), dtype=np.int64)
    amplitudes = np.arange(1.0, len(positions) + 1)[None, :]
    candidates = neighbourhood(amplitudes, positions, shanks, 12)
    assert candidates.all()
    assert rank_channels(amplitudes, candidates)[0].tolist() == list(range(len(positions)))[::-1]


def test_template_without_signal_has_no_channels():
    amplitudes = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    positions = np.array([[0.0, 0.0], [0.0, 20.0], [0.0, 40.0]])
    candidates = neighbourhood(amplitudes, positions, np.zeros(3, dtype=int))
    assert candidates.tolist() == [[False] * 3, [True] * 3]
    ranked = rank_channels(amplitudes, candidates)
    assert ranked[0].tolist() == [-1, -1, -1]
    assert sorted(ranked[1].tolist()) == [0, 1, 2]
    assert ranked[1, 0] == 1


def test_threshold_is_a_fraction_of_the_largest_and_reaches_it():
    amplitudes = np.array([[4.0, 2.0, 1.0, 1.9999]])
    everywhere = np.ones((1, 4), dtype=bool)
    assert rank_channels(amplitudes, everywhere, 0.5).tolist() == [[0, 1]]
    assert rank_channels(amplitudes, everywhere, 1.0).tolist() == [[0]]
    assert rank_channels(amplitudes, everywhere, 0.0).tolist() == [[0, 1, 3, 2]]


def test_only_the_shank_of_the_peak():
    positions = np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]])
    shanks = np.array([7, 3, 7])
    amplitudes = np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])
    found = neighbourhood(amplitudes, positions, shanks)
    assert found.tolist() == [[True, False, True], [False, True, False]]
    assert neighbourhood(amplitudes, positions, shanks, same_shank=False).all()
    # the shank does not make room for channels that are farther away
    nearest = neighbourhood(amplitudes, positions, shanks, num_channels=2)
    assert nearest.tolist() == [[False, False, True], [False, True, False]]


@pytest.mark.parametrize("shape", [(0, 4), (0, 0), (3, 0)])
def test_no_templates_or_no_channels(shape):
    amplitudes = np.zeros(shape)
    positions, shanks = np.zeros((shape[1], 2)), np.zeros(shape[1], dtype=int)
    candidates = neighbourhood(amplitudes, positions, shanks)
    assert candidates.shape == shape
    assert rank_channels(amplitudes, candidates).shape[0] == shape[0]


# ------------------------------------------------------------------------------- centre of signal


def naive_centre(amplitudes, positions, least, radius_um):
    best = int(np.argmax(amplitudes))
    if not amplitudes[best] > 0:
        return np.full(2, np.nan)
    total, sums = 0.0, np.zeros(2)
    for amplitude, place in zip(amplitudes, positions, strict=True):
        near = np.linalg.norm(place - positions[best]) <= radius_um
        if near and amplitude >= least * amplitudes[best]:
            total += amplitude**2
            sums += amplitude**2 * place
    return sums / total


@given(st.integers(0, 10_000), st.floats(0.05, 1), st.floats(1, 200))
def test_centre_of_signal_as_by_a_loop(seed, least, radius_um):
    random = np.random.default_rng(seed)
    num_templates, num_channels = random.integers(0, 5), random.integers(1, 12)
    amplitudes = random.gamma(0.5, size=(num_templates, num_channels))
    amplitudes[random.random(num_templates) < 0.2] = 0
    positions = random.uniform(0, 200, size=(num_channels, 2))
    found = centre_of_signal(amplitudes, positions, least=least, radius_um=radius_um)
    assert found.shape == (num_templates, 2)
    for row, one in zip(found, amplitudes, strict=True):
        np.testing.assert_allclose(row, naive_centre(one, positions, least, radius_um))


def test_far_and_weak_channels_do_not_move_the_centre():
    positions = np.column_stack([np.zeros(200), 20.0 * np.arange(200)])
    amplitudes = np.full((1, 200), 0.3)
    amplitudes[0, 9:12] = [0.8, 1.0, 0.8]
    np.testing.assert_allclose(centre_of_signal(amplitudes, positions), [[0.0, 200.0]])
    with_nan = amplitudes.copy()
    with_nan[0, 150] = np.nan
    np.testing.assert_allclose(centre_of_signal(with_nan, positions), [[0.0, 200.0]])
