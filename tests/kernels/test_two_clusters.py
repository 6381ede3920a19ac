import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from oracles.two_clusters import fit_two_clusters, gain_of_two_clusters
from si_curation.kernels.two_clusters import (
    Fit,
    expectation_maximization,
    find_two_clusters,
    fit_skew_normal,
    gains_of_points,
    in_windows,
    two_means,
)

NO_WINDOWS = np.zeros(2000, dtype=np.int64)


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4))
@settings(deadline=None)
def test_em_is_that_of_the_formulas(seed, size, num_windows):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(120, size)) * rng.uniform(0.5, 3, size)
    second = rng.random(120) < 0.4
    points[second] += 3
    windows = np.sort(rng.integers(0, num_windows, 120))
    chance = np.where(points[:, 0] > 1.5, 0.95, 0.05)
    expected = fit_two_clusters(points, windows, chance, 1)
    given = in_windows(points, windows, num_windows)
    share, step, covariance = expectation_maximization(given, chance, 1)
    if share == 0:  # too few points in one of the clusters
        return
    assert share == pytest.approx(expected[0])
    np.testing.assert_allclose(step, expected[1], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(covariance, expected[2], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(chance, expected[3], rtol=1e-5, atol=1e-9)


def test_two_means_ends_where_each_point_is_nearest():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 2))
    points[:100] += 5
    part = two_means(np.ascontiguousarray(points.T), points[:, 0] > 3)
    centres = np.stack([points[~part].mean(axis=0), points[part].mean(axis=0)])
    nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(part, nearest == 1)
    assert part.sum() == 100


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_points_at_two_places_have_hardly_a_covariance(scale):
    # what is left of the scatter is then too little to be found as a difference
    points = scale * np.repeat([[0.0, 0.0], [3.0, 1.0]], 60, axis=0)
    chance = np.repeat([0.0, 1.0], 60)
    given = in_windows(points, np.zeros(120, dtype=np.int64), 1)
    share, step, covariance = expectation_maximization(given, chance, 1)
    assert share == 0.5
    np.testing.assert_allclose(step, [3 * scale, scale])
    np.testing.assert_allclose(covariance, 1e-9 * np.eye(2), rtol=1e-3, atol=1e-12)
    np.testing.assert_array_equal(chance, np.repeat([0.0, 1.0], 60))


def test_skew_normal_has_the_moments_of_what_it_was_fitted_to():
    values = stats.skewnorm.rvs(4.0, loc=1.0, scale=2.0, size=100_000, random_state=0)
    found = fit_skew_normal(values)
    same = stats.skewnorm(found.slant, loc=found.location, scale=found.scale)
    assert same.mean() == pytest.approx(values.mean(), abs=1e-3)
    assert same.std() == pytest.approx(values.std(), abs=1e-3)
    assert found.slant == pytest.approx(4.0, abs=0.4)


@given(
    st.floats(0.02, 0.98), st.floats(0, 12), st.floats(-20, 20), st.sampled_from([-0.9, 0.0, 0.5])
)
@settings(deadline=None)
def test_gains_are_those_of_the_densities(share, separation, trend, skewness):
    rng = np.random.default_rng(0)
    values = rng.normal(size=200) + trend + separation * (rng.random(200) < share)
    skewed = fit_skew_normal(values + skewness * np.abs(values - values.mean()))
    values = np.append(values, [trend - 300.0, trend + 300.0])  # all densities but one vanish
    means = np.zeros(1)
    fit = Fit(True, np.ones(1), share, separation, np.array([trend]), skewed, means, 0.0)
    found = gains_of_points(values, np.zeros(values.size, dtype=np.int64), fit)
    expected = gain_of_two_clusters(values, share, separation, trend, skewed)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


ONE_CLUSTER = {
    "normal": lambda rng: rng.normal(size=(2000, 6)),
    "skewed": lambda rng: stats.skewnorm.rvs(5, size=(2000, 6), random_state=rng),
    "heavy tails": lambda rng: rng.standard_t(4, size=(2000, 6)),
    "correlated": lambda rng: rng.normal(size=(2000, 6)) @ rng.normal(size=(6, 6)),
}


@pytest.mark.parametrize("kind", ONE_CLUSTER)
def test_one_cluster_is_not_two(kind):
    for seed in range(3):
        points = np.ascontiguousarray(ONE_CLUSTER[kind](np.random.default_rng(seed)))
        found = find_two_clusters(points, NO_WINDOWS, 0.1)
        assert found is None or found.gain - 2 * found.gain_error < 0.03


@pytest.mark.parametrize("share", [0.13, 0.5])
def test_two_clusters_are_found(share):
    rng = np.random.default_rng(1)
    second = rng.random(2000) < share
    points = rng.normal(size=(2000, 6))
    points[second, :2] += 3
    found = find_two_clusters(points, NO_WINDOWS, 0.1)
    assert found.separation == pytest.approx(np.sqrt(18), rel=0.15)
    assert found.smaller_share == pytest.approx(share, abs=0.03)
    assert found.gain > 0.05
    beyond = points @ found.axis > found.trend[0]
    assert max((beyond == second).mean(), (beyond != second).mean()) > 0.96


def test_one_cluster_that_moves_is_not_two():
    rng = np.random.default_rng(2)
    windows = np.arange(2000) // 100
    points = rng.normal(size=(2000, 6))
    points[:, 0] += 8.0 * (windows >= 10)  # it jumps, between two windows
    found = find_two_clusters(points, windows, 0.1)
    assert found is None or found.gain - 2 * found.gain_error < 0.02


def test_two_clusters_that_move_and_change_in_number_are_two():
    rng = np.random.default_rng(3)
    windows = np.arange(2000) // 100
    second = rng.random(2000) < np.linspace(0.05, 0.95, 2000)
    points = rng.normal(size=(2000, 6))
    points[:, 0] += 0.4 * windows
    points[second, 1] += 6.0
    found = find_two_clusters(points, windows, 0.1)
    beyond = points @ found.axis > found.trend[windows]
    assert max((beyond == second).mean(), (beyond != second).mean()) > 0.97


def test_few_points_far_away_do_not_decide():
    rng = np.random.default_rng(4)
    points = rng.normal(size=(2000, 6))
    points[:40] += 40.0
    assert find_two_clusters(points, NO_WINDOWS, 0.1) is None or (
        find_two_clusters(points, NO_WINDOWS, 0.1).gain < 0.03
    )


@pytest.mark.parametrize("points", [np.zeros((5, 6)), np.zeros((100, 0)), np.zeros((100, 3))])
def test_too_few_points_and_equal_ones_are_none(points):
    assert find_two_clusters(points, np.zeros(len(points), dtype=np.int64), 0.1) is None
