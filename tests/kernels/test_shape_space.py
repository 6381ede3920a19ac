import numpy as np
import pytest

from si_curation.kernels.shape_space import (
    discriminant_projections,
    isolated_points,
    largest_jump,
    mixing_in_time,
    nuisance_directions,
    shape_space,
    time_windows,
    window_medians,
)
from si_curation.kernels.two_clusters import find_two_clusters

TIME = np.arange(61) - 20.0


def waveform(width, shift=0.0):
    """(..., 61) samples of a trough with a slow peak after it."""
    time = TIME - np.asarray(shift)[..., None]
    return -np.exp(-0.5 * (time / width) ** 2) + 0.4 * np.exp(-0.5 * ((time - 10) / 8) ** 2)


@pytest.fixture(scope="module")
def basis():
    """Six components of such waveforms, as a sorter takes them."""
    rng = np.random.default_rng(0)
    many = waveform(1.0, rng.uniform(-3, 3, 400)) + waveform(2.0, rng.uniform(-3, 3, 400))
    return np.linalg.svd(many, full_matrices=False)[2][:6]


def spikes(basis, width, channels, number, rng, jitter=0.5, bursts=0.1, noise=1.0):
    """Features (n, 6, n_channels) of spikes of one neuron."""
    shapes = waveform(width, rng.uniform(-jitter, jitter, number)) @ basis.T
    sizes = rng.normal(1.0, bursts, number) * 0.9 ** rng.integers(0, 3, number)
    clean = (sizes[:, None] * shapes)[:, :, None] * np.asarray(channels)
    return (clean + noise * rng.normal(size=clean.shape)).astype(np.float32)


def looked_at(features, basis):
    windows = time_windows(len(features))
    space = shape_space(features, basis, windows)
    points = (features.reshape(len(features), -1) - space.centre) @ space.axes
    return points, windows


AMPLITUDES = np.array([20.0, 14, 9, 5])


def test_nuisance_is_amplitude_and_time(basis):
    mean = (waveform(1.5) @ basis.T)[:, None] * AMPLITUDES
    directions = nuisance_directions(mean, basis)
    assert directions.shape == (24, 3)
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-12)
    later = (waveform(1.5, 0.3) @ basis.T)[:, None] * AMPLITUDES
    step = (later - mean).ravel()
    left = step - directions @ (directions.T @ step)
    assert np.linalg.norm(left) < 0.15 * np.linalg.norm(step)
    assert nuisance_directions(np.zeros((6, 4)), basis).shape == (24, 0)


def test_jitter_and_amplitudes_of_one_neuron_are_one_cluster(basis):
    for seed in range(4):
        features = spikes(basis, 1.5, AMPLITUDES * 2, 1500, np.random.default_rng(seed))
        found = find_two_clusters(*looked_at(features, basis), 0.1)
        assert found is None or found.gain - 2 * found.gain_error < 0.05 or found.separation < 3.2


def test_neighbours_are_two_clusters(basis):
    rng = np.random.default_rng(5)
    features = spikes(basis, 1.5, AMPLITUDES, 1000, rng)
    is_other = rng.random(1000) < 0.3
    features[is_other] = spikes(basis, 1.5, [17, 15, 12, 8], int(is_other.sum()), rng)
    points, windows = looked_at(features, basis)
    found = find_two_clusters(points, windows, 0.1)
    assert found.gain - 2 * found.gain_error > 0.05
    beyond = points @ found.axis > found.trend[windows]
    assert max((beyond == is_other).mean(), (beyond != is_other).mean()) > 0.95


def test_slow_drift_is_one_cluster(basis):
    rng = np.random.default_rng(6)
    features = spikes(basis, 1.5, AMPLITUDES, 2000, rng)
    move = np.linspace(-1, 1, 2000)[:, None, None] * (waveform(1.5) @ basis.T)[:, None]
    features += move * np.array([-3.0, 1.0, 2.0, 3.0])
    found = find_two_clusters(*looked_at(features, basis), 0.1)
    assert found is None or found.gain - 2 * found.gain_error < 0.05


def test_isolated_points_are_those_without_others_near():
    rng = np.random.default_rng(7)
    points = np.concatenate([rng.normal(size=(500, 6)), 20 + rng.normal(size=(60, 6))])
    points = np.concatenate([points, rng.normal(size=(5, 6)) * 200])
    found = isolated_points(points)
    assert found[-5:].all()
    assert not found[500:560].any()  # a small cluster is not isolated
    assert found[:500].mean() < 0.02
    assert not isolated_points(points[:1]).any()


def test_window_medians():
    values = np.arange(12.0).reshape(6, 2)
    found = window_medians(values, np.array([0, 0, 0, 1, 1, 1]))
    np.testing.assert_array_equal(found, [[2, 3], [8, 9]])


@pytest.mark.parametrize("place", [60, 200, 355])
def test_a_jump_is_found_where_it_is(place):
    rng = np.random.default_rng(8)
    values = rng.normal(size=(400, 20))
    values[place:, 3] += 6.0
    jump = largest_jump(values)
    assert jump.place == pytest.approx(place, abs=2)
    assert jump.size == pytest.approx(6.0, rel=0.2)
    assert abs(jump.direction[3]) > 0.9


def test_noise_and_drift_hardly_jump_and_few_spikes_have_none():
    rng = np.random.default_rng(9)
    values = rng.normal(size=(2000, 20))
    assert largest_jump(values).size < 1.5
    values[:, 0] += np.linspace(0, 20, 2000)
    assert largest_jump(values).size < 2.0
    assert largest_jump(values[:79]).place == 0


def test_steady_drift_is_no_jump_however_fast_it_is():
    rng = np.random.default_rng(11)
    values = rng.normal(size=(300, 20))
    values[:, 0] += 15 * np.sin(np.linspace(0, 5, 300))  # up to 10 sd in 40 spikes
    drifting = largest_jump(values).size
    assert drifting < 3.0
    values[170:, 1] += 8.0
    both = largest_jump(values)
    assert both.place == pytest.approx(170, abs=3)
    assert both.size > drifting + 2


def test_drift_goes_with_time_and_not_with_the_number_of_spikes():
    rng = np.random.default_rng(13)
    few = np.abs(np.arange(300) - 150) < 6  # a while in which it fires rarely
    times = np.cumsum(np.where(few, 8.0, 0.5))
    values = rng.normal(size=(300, 20))
    values[:, 0] += 0.1 * times
    assert largest_jump(values, times=times).size < 3.5 < largest_jump(values).size
    values[150:, 1] += 25.0
    assert largest_jump(values, times=times).size > 15


def test_parts_are_mixed_in_time_or_follow_each_other():
    rng = np.random.default_rng(12)
    for number in (50, 225, 2000):
        mixed = rng.uniform(size=number) < 0.3
        in_bursts = np.repeat(rng.uniform(size=number // 5) < 0.3, 5)
        in_turn = np.arange(number) < 0.2 * number
        assert mixing_in_time(mixed) > 0.7
        assert mixing_in_time(in_bursts) > 0.5 or number == 50
        assert mixing_in_time(in_turn) < 0.2
        assert mixing_in_time(~mixed) == pytest.approx(mixing_in_time(mixed))
    assert np.isnan(mixing_in_time(np.zeros(30, dtype=bool)))
    assert np.isnan(mixing_in_time(np.zeros(0, dtype=bool)))


def test_parts_are_apart_on_their_discriminants():
    rng = np.random.default_rng(10)
    labels = rng.integers(0, 3, 900)
    points = rng.normal(size=(900, 5)) * [5, 1, 1, 1, 1]
    points[labels == 1, 3] += 8
    points[labels == 2, 4] += 8
    found = discriminant_projections(points, labels)
    means = np.stack([found[labels == part].mean(axis=0) for part in range(3)])
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.linalg.norm(means[a] - means[b]) > 7
    assert found[labels == 0].std(axis=0) == pytest.approx([1, 1], abs=0.1)
    assert discriminant_projections(points[:, :1], labels).shape == (900, 2)


def test_a_basis_of_one_sample_has_no_derivatives():
    found = nuisance_directions(np.array([[3.0], [4.0]]), np.array([[1.0]]))
    np.testing.assert_allclose(found.ravel(), [0.6, 0.8])
