"""Points and densities show the same spikes; what is left out is said."""

import numpy as np
from matplotlib.figure import Figure

from helpers.read_figures import images, points
from si_curation.views.points import (
    describe_drawn,
    draw_points_or_density,
    limits_of,
    sample_spikes,
)


def test_points_up_to_the_number_and_density_beyond():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 500))
    limits = {"x_range": (-2.0, 2.0), "y_range": (-1.0, 3.0)}
    inside = (np.abs(x) <= 2) & (y >= -1) & (y <= 3)
    few, many = Figure().subplots(1, 2)
    drawn = draw_points_or_density(few, x, y, "b", max_points=500, **limits)
    np.testing.assert_array_equal(points(few), [np.column_stack([x, y])[inside]])
    assert drawn[1:] == (inside.sum(), 500 - inside.sum(), 0)
    drawn = draw_points_or_density(many, x, y, "b", max_points=499, num_bins=(8, 4), **limits)
    (counts,) = images(many)
    assert counts.shape == (4, 8)
    assert counts.sum() == inside.sum()
    assert drawn[1:] == (inside.sum(), 500 - inside.sum(), counts.max())
    assert points(many) == []
    for axes in (few, many):
        assert (*axes.get_xlim(), *axes.get_ylim()) == (-2.0, 2.0, -1.0, 3.0)


def test_nothing_to_draw():
    axes = Figure().subplots()
    empty = np.zeros(0)
    drawn = draw_points_or_density(axes, empty, empty, "b", x_range=(0, 1), y_range=(0, 1))
    assert drawn == (None, 0, 0, 0)
    nothing = np.full(3, np.nan)
    drawn = draw_points_or_density(axes, nothing, nothing, "b", x_range=(0, 1), y_range=(0, 1))
    assert drawn == (None, 0, 3, 0)


def test_limits_leave_extreme_values_out_but_no_tails():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=10_000)
    low, high = limits_of(normal)
    assert low < normal.min() < normal.max() < high
    low, high = limits_of(np.append(normal, [1e5, -1e5]))
    assert -7 < low < normal.min()
    assert normal.max() < high < 7
    assert limits_of(np.array([])) == (0.0, 1.0)
    assert limits_of(np.array([5.0])) == (4.8, 5.2)
    assert limits_of(np.array([np.nan, 0.0])) == (-1.0, 1.0)
    assert limits_of(np.array([4.0, 6.0]), with_zero=True) == (-0.24, 6.24)


def test_samples_are_the_same_for_the_same_seed():
    spikes = np.arange(0, 3000, 3)
    one, same, other = (sample_spikes(spikes, 100, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert one.size == np.unique(one).size == 100
    assert (np.diff(one) > 0).all()
    assert np.isin(one, spikes).all()
    assert not np.array_equal(one, other)
    for most in (None, 1000, 2000):
        assert sample_spikes(spikes, most, 0) is spikes


def test_words_name_what_is_not_seen_one_by_one():
    axes = Figure().subplots()
    x = np.linspace(0, 2, 101)
    limits = {"x_range": (0, 1), "y_range": (0, 2)}
    drawn = draw_points_or_density(axes, x, x, "b", **limits)
    assert describe_drawn("unit 4", drawn, 101) == "unit 4: 51 of 101 spikes, 50 outside the limits"
    drawn = draw_points_or_density(axes, x, x, "b", max_points=5, num_bins=(1, 1), **limits)
    assert "density, 1 to 51 spikes per bin (log colours)" in describe_drawn("unit 4", drawn, 101)
    drawn = draw_points_or_density(axes, x, x, "b", x_range=(0, 2), y_range=(0, 2))
    assert describe_drawn("unit 4", drawn, 101) == ""
