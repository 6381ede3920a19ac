"""Spikes drawn as points, or as their density where there are too many points."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgb
from numpy.typing import ArrayLike, NDArray

from si_curation.checks import Checks
from si_curation.kernels.density import count_in_grid

MAX_POINTS = 20_000
"""More points than this in one colour are drawn as a density."""

NUM_BINS = (200, 120)
BACKGROUND_COLOR = "0.6"


class DrawnPoints(NamedTuple):
    """What was drawn.

    Attributes
    ----------
    artist : Line2D or AxesImage
        None where there is nothing to draw.
    num_drawn : int
        Points within the limits.
    num_outside : int
        Points outside the limits, or that are not finite.
    largest : int
        Of a density, the number of points in the fullest bin; else 0.
    """

    artist: Any
    num_drawn: int
    num_outside: int
    largest: int

    def set_zorder(self, zorder: float) -> None:
        """Set the drawing order, where something was drawn."""
        if self.artist is not None:
            self.artist.set_zorder(zorder)


def draw_points_or_density(
    axes: Axes,
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    color: Any,
    *,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    max_points: int = MAX_POINTS,
    num_bins: tuple[int, int] = NUM_BINS,
) -> DrawnPoints:
    """Draw points, or their density if there are more than `max_points`.

    Points are one `Line2D` of round markers, rasterized, so that a figure of many stays small as
    PDF or SVG; nothing is left out. A density is an image of the counts in a grid of fixed bins
    over the limits, from transparent to dark on a logarithmic scale, empty bins not drawn.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Its limits become `x_range` and `y_range`.
    x, y : array (n,)
    color : color
    x_range, y_range : (float, float)
        Rising.
    max_points : int
    num_bins : (int, int)
        Of a density, along x and y.

    Returns
    -------
    DrawnPoints

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> axes = Figure().subplots()
    >>> x = np.linspace(0.0, 1.0, 50)
    >>> limits = dict(x_range=(0, 1), y_range=(0, 1))
    >>> draw_points_or_density(axes, x, x, "k", **limits).artist.get_xdata().size
    50
    >>> limits.update(max_points=10, num_bins=(2, 2))
    >>> draw_points_or_density(axes, x, x, "k", **limits).artist.get_array().filled(0)
    array([[25,  0],
           [ 0, 25]])
    """
    axes.set_xlim(*x_range)
    axes.set_ylim(*y_range)
    if x.size <= max_points:
        return _draw_points(axes, x, y, color, x_range, y_range)
    counts = count_in_grid(x, y, x_range, y_range, num_bins)
    num_drawn, largest = int(counts.sum()), int(counts.max())
    if num_drawn == 0:
        return DrawnPoints(None, 0, int(x.size), 0)
    image = axes.imshow(
        np.ma.masked_equal(counts, 0),
        origin="lower",
        extent=(*x_range, *y_range),
        aspect="auto",
        interpolation="nearest",
        cmap=density_colormap(color),
        norm=LogNorm(1, max(largest, 2)),
        zorder=2.0,
    )
    return DrawnPoints(image, num_drawn, int(x.size) - num_drawn, largest)


def _draw_points(
    axes: Axes,
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    color: Any,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> DrawnPoints:
    with np.errstate(invalid="ignore"):
        inside = (x >= x_range[0]) & (x <= x_range[1]) & (y >= y_range[0]) & (y <= y_range[1])
    num_drawn = int(np.count_nonzero(inside))
    num_outside = int(x.size) - num_drawn
    if num_drawn == 0:
        return DrawnPoints(None, 0, num_outside, 0)
    size, alpha = _size_and_alpha(x.size)
    (line,) = axes.plot(
        x[inside],
        y[inside],
        linestyle="none",
        marker="o",
        markersize=size,
        markeredgewidth=0,
        color=color,
        alpha=alpha,
        rasterized=True,
        zorder=2.0,
    )
    return DrawnPoints(line, num_drawn, num_outside, 0)


def density_colormap(color: Any) -> LinearSegmentedColormap:
    """Return a colour map from transparent to dark in the hue of a colour."""
    red, green, blue = to_rgb(color)
    dark = tuple(0.45 * part for part in (red, green, blue))
    stops = [(red, green, blue, 0.3), (red, green, blue, 0.9), (*dark, 1.0)]
    return LinearSegmentedColormap.from_list("density", stops)


def limits_of(*values: ArrayLike, with_zero: bool = False) -> tuple[float, float]:
    """Return axis limits for values, which leave a few extreme ones outside.

    From the smallest to the largest value, unless the 0.1 % at an end reach further than the width
    of the 99.8 % between; there the limit is a fifth of that width beyond them.

    Parameters
    ----------
    *values : array
        NaN does not count.
    with_zero : bool
        Zero is within the limits.

    Returns
    -------
    (float, float)
        Rising, with a margin of 4 %; (0, 1) without values.

    Examples
    --------
    >>> limits_of(np.array([0.0, 10.0]))
    (-0.4, 10.4)
    >>> values = np.append(np.linspace(0.0, 1.0, 9_999), 1e6)
    >>> limits_of(values)[1] < 2
    True
    """
    every = np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in values])
    every = every[np.isfinite(every)]
    if every.size == 0:
        return (0.0, 1.0)
    low, high = float(every.min()), float(every.max())
    inner_low, inner_high = (float(v) for v in np.quantile(every, [0.001, 0.999]))
    width = inner_high - inner_low
    if width > 0:
        low = inner_low - 0.2 * width if low < inner_low - width else low
        high = inner_high + 0.2 * width if high > inner_high + width else high
    if with_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    return (low - margin, high + margin)


def check_sampling(checks: Checks, max_spikes: int | None, seed: int) -> None:
    """Check how many spikes are chosen, and by which seed."""
    checks.whole_number("max_spikes", max_spikes, at_least=0, optional=True)
    checks.whole_number("seed", seed, at_least=0)


def sample_spikes(spikes: NDArray[np.int64], count: int | None, seed: int) -> NDArray[np.int64]:
    """Choose spikes at random, the same for the same seed, in ascending order.

    Parameters
    ----------
    spikes : array (n,) int64
        Ascending.
    count : int, optional
        None, or at least as many as there are: all are chosen.
    seed : int

    Returns
    -------
    array (min(n, count),) int64
    """
    checks = Checks()
    check_sampling(checks, count, seed)
    checks.finish()
    if count is None or spikes.size <= count:
        return spikes
    chosen = np.random.default_rng(seed).choice(spikes.size, count, replace=False, shuffle=False)
    return spikes[np.sort(chosen)]


def describe_drawn(name: str, drawn: DrawnPoints, num_spikes: int) -> str:
    """Return how many of `num_spikes` are drawn, and how; "" where all are drawn as points.

    Examples
    --------
    >>> describe_drawn("background", DrawnPoints(None, 90, 10, 0), 1000)
    'background: 90 of 1,000 spikes, 10 outside the limits'
    """
    parts = []
    if drawn.num_drawn < num_spikes:
        parts.append(f"{drawn.num_drawn:,} of {num_spikes:,} spikes")
    if drawn.num_outside:
        parts.append(f"{drawn.num_outside:,} outside the limits")
    if drawn.largest:
        parts.append(f"density, 1 to {drawn.largest:,} spikes per bin (log colours)")
    return f"{name}: {', '.join(parts)}" if parts else ""


def _size_and_alpha(count: int) -> tuple[float, float]:
    for most, size, alpha in ((300, 3.2, 0.85), (3000, 2.2, 0.6), (MAX_POINTS, 1.6, 0.4)):
        if count <= most:
            return size, alpha
    return 1.2, 0.3
