"""The few numbers of a spike that tell neurons apart: its shape, without what varies in one neuron.

The spikes of one neuron differ in amplitude, in when they fall between two samples, and slowly with
drift. In the space of the features the first two are steps along known directions: the mean, and
its derivatives in time. They are projected out; slow changes are taken off window by window.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit

NUM_COMPONENTS = 6
MIN_SPIKES_OF_WINDOW, MAX_WINDOWS = 80, 20
# spikes farther from the middle than this many times the median distance count as if they were
# there in the choice of components
MAX_DISTANCE = 2.5
# a spike is isolated if its fifth neighbour is farther than 4 times the median of that distance
NUM_NEIGHBOURS, ISOLATED = 5, 4.0
# where a jump has more of its time between the nearest spikes, what drift adds is not known so well
MAX_QUOTIENT = 1.5
_TILE = 64  # points that are compared with one point at a time


class ShapeSpace(NamedTuple):
    """A linear map from features to components of the shape.

    Attributes
    ----------
    centre : array (n_features,) float64
    axes : array (n_features, n_components) float64
        ``(features - centre) @ axes``; orthonormal.
    nuisance : array (n_features, n_directions) float64
        Of `nuisance_directions` at the centre.
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    nuisance: NDArray[np.float64]


def time_windows(num_spikes: int) -> NDArray[np.int64]:
    """Return the window of each of some spikes in time order: equal numbers, at least 80.

    Examples
    --------
    >>> np.bincount(time_windows(250)).tolist()
    [84, 83, 83]
    >>> np.bincount(time_windows(20000)).size, np.bincount(time_windows(30)).tolist()
    (20, [30])
    """
    num_windows = min(max(num_spikes // MIN_SPIKES_OF_WINDOW, 1), MAX_WINDOWS)
    return np.arange(num_spikes) * num_windows // max(num_spikes, 1)


def nuisance_directions(
    mean: NDArray[np.floating], basis: NDArray[np.floating] | None
) -> NDArray[np.float64]:
    """Return the directions in which the features of one neuron vary: amplitude and jitter.

    Parameters
    ----------
    mean : array (n_pcs, n_channels)
        Features of the mean spike.
    basis : array (n_pcs, n_samples), optional
        A waveform has the features ``basis @ waveform``. None: not known; amplitude only.

    Returns
    -------
    array (n_pcs * n_channels, n_directions) float64
        Orthonormal; the mean, and its first two derivatives in time. Fewer where they are 0 or not
        independent.

    Examples
    --------
    >>> nuisance_directions(np.array([[3.0], [4.0]]), None).ravel().round(1).tolist()
    [0.6, 0.8]
    """
    found = [np.asarray(mean, dtype=np.float64)]
    if basis is not None and basis.shape[1] > 1:  # else there are no derivatives in time
        waveforms = np.asarray(basis, dtype=np.float64)
        slope = np.gradient(np.eye(waveforms.shape[1]), axis=0)
        back = np.linalg.pinv(waveforms)
        found += [waveforms @ slope @ back @ found[0], waveforms @ slope @ slope @ back @ found[0]]
    table = np.stack([one.ravel() for one in found], axis=1)
    norms = np.linalg.norm(table, axis=0)
    table = table[:, norms > 0] / norms[norms > 0]
    left, sizes, _ = np.linalg.svd(table, full_matrices=False)
    return left[:, sizes > 1e-6]


def window_medians(
    values: NDArray[np.floating], windows: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return the median of the values of each window, (n_windows, n_features).

    Parameters
    ----------
    values : array (n, n_features)
    windows : array (n,) integer
        Ascending, none of them empty.
    """
    starts = np.searchsorted(windows, np.arange(int(windows[-1]) + 1))
    columns = np.split(np.ascontiguousarray(values.T), starts[1:], axis=1)
    return np.stack([_medians(part) for part in columns])


def _medians(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the median of each row; sorted, which numpy does sooner than it finds the middle."""
    number = rows.shape[1]
    middle = np.sort(rows, axis=1)[:, [(number - 1) // 2, number // 2]]
    return middle.mean(axis=1, dtype=np.float64)


def shape_space(
    features: NDArray[np.floating],
    basis: NDArray[np.floating] | None,
    windows: NDArray[np.integer],
    num_components: int = NUM_COMPONENTS,
) -> ShapeSpace:
    """Return the components of the shape of some spikes that vary most within windows of time.

    Parameters
    ----------
    features : array (n, n_pcs, n_channels)
        In time order.
    basis : array (n_pcs, n_samples), optional
        As of `nuisance_directions`.
    windows : array (n,) integer
        Ascending, as of `time_windows`.
    num_components : int

    Returns
    -------
    ShapeSpace
        Fewer components where there are fewer dimensions.
    """
    # (n_features, n): what follows each other in time is side by side in memory
    columns = np.ascontiguousarray(features.reshape(len(features), -1).T)
    centre = _medians(columns)
    nuisance = nuisance_directions(centre.reshape(features.shape[1:]), basis)
    rest = without_directions(columns.T - centre, nuisance)
    starts = np.searchsorted(windows, np.arange(int(windows[-1]) + 2))
    for first, last in pairwise(starts.tolist()):
        part = rest.T[:, first:last]
        part -= _medians(part)[:, None]
    distance = np.sqrt(np.einsum("ij,ij->i", rest, rest))
    limit = MAX_DISTANCE * np.median(distance)
    rest *= np.minimum(1.0, limit / np.maximum(distance, 1e-12))[:, None]
    number = min(num_components, centre.size - nuisance.shape[1])
    _, vectors = np.linalg.eigh(rest.T @ rest)
    axes = without_directions(vectors[:, ::-1][:, : max(number, 0)].T, nuisance).T
    return ShapeSpace(centre, axes, nuisance)


def without_directions(
    values: NDArray[np.float64], directions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return vectors (n, n_features) without their part along some directions."""
    along = (directions @ (directions.T @ values.T)).T
    return np.subtract(values, along, out=along)


def isolated_points(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points are far from all others: spikes that overlap with others, artefacts.

    Parameters
    ----------
    points : array (n, n_components)

    Returns
    -------
    array (n,) bool
        The fifth neighbour is farther than 4 times the median of that distance.
    """
    number = min(NUM_NEIGHBOURS, len(points) - 1)
    if number < 1:
        return np.zeros(len(points), dtype=bool)
    order = np.argsort(points[:, 0], kind="stable") if points.shape[1] else np.arange(len(points))
    columns = np.zeros((max(points.shape[1], NUM_COMPONENTS), len(points)))
    columns[: points.shape[1]] = points[order].T
    distance = np.empty(len(points))
    distance[order] = _distances_of_neighbours(columns, number)
    return distance > ISOLATED * np.median(distance)


@njit
def _distances_of_neighbours(columns: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Return the distance of the neighbour of that number of each point.

    Points are in the order of the first of at least 6 columns, and are looked at tile by tile, from
    near to far on it, as long as there can be nearer ones.
    """
    size = columns.shape[1]
    num_tiles = (size + _TILE - 1) // _TILE
    out, best, squares = np.empty(size), np.empty(number), np.empty(_TILE)
    for i in range(size):
        point, limit = columns[:, i].copy(), np.inf
        best[:] = np.inf
        low, high, tile = i // _TILE - 1, i // _TILE + 1, i // _TILE
        while tile >= 0:
            start = tile * _TILE
            stop = min(start + _TILE, size)
            _squared_distances(columns, start, stop, point, squares)
            if tile == i // _TILE:
                squares[i - start] = np.inf
            num_near = 0
            for j in range(stop - start):
                num_near += squares[j] < limit
            if num_near:
                limit = _keep_smallest(squares, stop - start, best)
            # the tile that begins nearer, if any is near enough
            before = point[0] - columns[0, low * _TILE + _TILE - 1] if low >= 0 else np.inf
            after = columns[0, high * _TILE] - point[0] if high < num_tiles else np.inf
            if min(before, after) ** 2 >= limit or min(before, after) == np.inf:
                tile = -1
            elif before < after:
                tile, low = low, low - 1
            else:
                tile, high = high, high + 1
        out[i] = np.sqrt(limit)
    return out


@njit
def _squared_distances(
    columns: NDArray[np.float64],
    start: int,
    stop: int,
    point: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    c0, c1, c2 = columns[0, start:stop], columns[1, start:stop], columns[2, start:stop]
    c3, c4, c5 = columns[3, start:stop], columns[4, start:stop], columns[5, start:stop]
    p0, p1, p2, p3, p4, p5 = point[0], point[1], point[2], point[3], point[4], point[5]
    for j in range(stop - start):
        d0, d1, d2 = c0[j] - p0, c1[j] - p1, c2[j] - p2
        d3, d4, d5 = c3[j] - p3, c4[j] - p4, c5[j] - p5
        out[j] = ((d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)) + (d4 * d4 + d5 * d5)
    for f in range(6, point.size):
        for j in range(stop - start):
            rest = columns[f, start + j] - point[f]
            out[j] += rest * rest


@njit
def _keep_smallest(values: NDArray[np.float64], count: int, best: NDArray[np.float64]) -> float:
    """Put the smallest values into `best`, which is ascending; return the largest of it."""
    for j in range(count):
        k = best.size - 1
        if values[j] < best[k]:
            while k > 0 and best[k - 1] > values[j]:
                best[k] = best[k - 1]
                k -= 1
            best[k] = values[j]
    return best[-1]


class Jump(NamedTuple):
    """The largest step of the mean features from some spikes to the next.

    Attributes
    ----------
    place : int
        The first spike after it; 0 where there are too few spikes.
    size : float
        In standard deviations of the spikes in its direction, less what chance and steady drift
        add.
    direction : array (n_features,) float64
        Of length 1, from before to after.
    """

    place: int
    size: float
    direction: NDArray[np.float64]


def largest_jump(
    values: NDArray[np.float64], num_spikes: int = 40, times: NDArray[np.number] | None = None
) -> Jump:
    """Return the largest step between the means of neighbouring spikes.

    Parameters
    ----------
    values : array (n, n_features) float64
        In time order, about 0 on average.
    num_spikes : int
        How many spikes before and after the step are compared.
    times : array (n,), optional
        Of the spikes, ascending, in any unit; regular ones by default.

    Returns
    -------
    Jump

    Notes
    -----
    Steady drift makes a step in proportion to the time between the spikes that are compared. So the
    step is measured a second time, between the nearest ``num_spikes / 4`` on each side. With the
    steps ``D`` and ``d`` and the times ``T`` and ``t``, the jump is ``d - (D - d) t / (T - t)``,
    at most ``D``; the quotient, 1/3 where spikes are regular, is taken as 1/3 to 3/2.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> values = rng.normal(size=(400, 3))
    >>> values[160:, 0] += 5
    >>> jump = largest_jump(values)
    >>> jump.place, round(jump.size)
    (160, 5)
    """
    number, size = values.shape
    if number < 2 * num_spikes:
        return Jump(0, 0.0, np.zeros(size))
    step = num_spikes // 4
    edges = np.arange(num_spikes, number - num_spikes + 1, step)
    # sums of the spikes before every edge
    whole = values[: number // step * step].T.reshape(size, -1, step).sum(axis=2)
    sums = np.concatenate([np.zeros((1, size)), np.cumsum(whole, axis=1).T])
    places, width = edges // step, num_spikes // step
    before = sums[places] - sums[places - width]
    after = sums[places + width] - sums[places]
    steps = (after - before) / num_spikes
    # the spread of spikes from one to the next: a jump adds little to it
    changes = np.diff(values, axis=0)
    covariance = changes.T @ changes / (2 * (number - 1))
    length = np.einsum("ij,ij->i", steps, steps)
    excess = np.maximum(length - 2 * np.trace(covariance) / num_spikes, 0.0)
    along = np.einsum("ij,ij->i", steps @ covariance, steps)
    sizes = np.sqrt(excess * length / np.maximum(along, 1e-300))
    best = int(sizes.argmax())
    direction = steps[best] / max(np.sqrt(length[best]), 1e-300)
    line = values @ direction
    place = _refined(line, int(edges[best]), step)
    std = max(float(np.sqrt(direction @ covariance @ direction)), 1e-300)
    near = _step_at(line, place, step) / std
    quotient = 1 / (width - 1)
    if times is not None:
        short = _step_at(times, place, step)
        rest = _step_at(times, int(edges[best]), num_spikes) - short
        quotient = np.clip(short / rest if rest > 0 else np.inf, quotient, MAX_QUOTIENT)
    found = np.clip(near - (sizes[best] - near) * quotient, 0.0, sizes[best])
    return Jump(place, float(found), direction)


def _step_at(values: NDArray[Any], place: int, number: int) -> float:
    """Return the mean of some values from a place on, less that of as many before it."""
    return float(values[place : place + number].mean() - values[place - number : place].mean())


def mixing_in_time(is_second: NDArray[np.bool_]) -> float:
    """Return how much two parts of some spikes are mixed in time.

    Parameters
    ----------
    is_second : array (n,) bool
        The part of each spike, in time order.

    Returns
    -------
    float
        1 where the share of a part is the same at all times, 0 where one part follows the other:
        1 less the variance of the share in runs of spikes over its largest possible one. NaN with
        one part only. Runs have a tenth of the spikes, 5 to 20: more than a burst.

    Examples
    --------
    >>> mixing_in_time(np.arange(400) % 3 == 0) > 0.9, mixing_in_time(np.arange(400) > 200) < 0.1
    (True, True)
    """
    share = float(is_second.mean()) if is_second.size else 0.0
    if not 0.0 < share < 1.0:
        return float("nan")
    size = min(max(is_second.size // 10, 5), 20)
    starts = np.arange(max(is_second.size // size, 1)) * size
    sums = np.add.reduceat(is_second.astype(np.float64), starts)
    lengths = np.diff(np.append(starts, is_second.size))
    variance = float(np.average((sums / lengths - share) ** 2, weights=lengths))
    return 1.0 - variance / (share * (1.0 - share))


def _refined(values: NDArray[np.float64], place: int, step: int) -> int:
    """Return the border near a place that cuts values into two pieces of least scatter."""
    first, last = max(place - step, 1), min(place + step, values.size - 1)
    start, stop = max(place - 4 * step, 0), min(place + 4 * step, values.size)
    sums = np.concatenate([[0.0], np.cumsum(values[start:stop])])
    borders = np.arange(max(first, start + 1), min(last, stop - 1) + 1)
    left = borders - start
    right = (stop - start) - left
    gain = sums[left] ** 2 / left + (sums[-1] - sums[left]) ** 2 / right
    return int(borders[gain.argmax()])


def discriminant_projections(
    points: NDArray[np.float64], labels: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return points on the plane that shows best how some parts of them differ.

    Parameters
    ----------
    points : array (n, n_components) float64
    labels : array (n,) integer
        From 0; every part has points.

    Returns
    -------
    array (n, 2) float64
        In standard deviations within the parts, about 0. The first axis is the linear
        discriminant. The second one is the next discriminant of more than two parts, else the
        direction in which all points vary most otherwise. 0 where there are too few components.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> points = rng.normal(size=(400, 3)) * [1.0, 2.0, 1.0]
    >>> points[:200, 2] += 6
    >>> x, y = discriminant_projections(points, np.repeat([0, 1], 200)).T
    >>> abs(round(x[:200].mean() - x[200:].mean()))
    6
    """
    num_parts = int(labels.max()) + 1
    counts = np.bincount(labels, minlength=num_parts)
    means = np.stack([points[labels == part].mean(axis=0) for part in range(num_parts)])
    rest = points - means[labels]
    values, vectors = np.linalg.eigh(rest.T @ rest / max(len(points) - num_parts, 1))
    kept = values > 1e-9 * max(float(values.max(initial=0.0)), 1e-300)
    white = vectors[:, kept] / np.sqrt(values[kept])
    centred = (points - points.mean(axis=0)) @ white
    between = np.sqrt(counts)[:, None] * ((means - points.mean(axis=0)) @ white)
    axes = np.linalg.svd(between, full_matrices=False)[2][: min(num_parts - 1, 2)]
    if len(axes) == 1:
        left = without_directions(centred, axes.T)
        axes = np.concatenate([axes, np.linalg.svd(left, full_matrices=False)[2][:1]])
    out = np.zeros((len(points), 2))
    out[:, : len(axes)] = centred @ axes.T
    return out
