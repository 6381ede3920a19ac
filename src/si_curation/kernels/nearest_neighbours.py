"""How many of the nearest neighbours of each spike are of one group."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit

_TILE = 64  # spikes that are compared with one spike at a time
_STEP = 8  # features that are added up between two looks at the sum
_SPARE = 2  # neighbours that are kept beyond those asked for, in case rounding leaves them open


def _cut_into_tiles(starts):  # first and last row of each tile; tiles of each group
    firsts, lasts, tile_starts = [], [], [0]
    for low, high in pairwise(starts.tolist()):
        for first in range(low, high, _TILE):
            firsts.append(first)
            lasts.append(min(first + _TILE, high))
        tile_starts.append(len(firsts))
    return np.array(firsts), np.array(lasts), np.array(tile_starts)


@njit
def _fill_tiles(rows, firsts, lasts, tiles, lows, highs):
    # rows (n, n_features), tiles (n_tiles, n_features, 64), lows and highs (n_tiles, n_features)
    for t in range(firsts.size):
        for f in range(rows.shape[1]):
            low = high = rows[firsts[t], f]
            for i in range(firsts[t], lasts[t]):
                value = rows[i, f]
                tiles[t, f, i - firsts[t]] = value
                low = min(low, value)
                high = max(high, value)
            lows[t, f] = low
            highs[t, f] = high


@njit
def _outside(row_low, row_high, low, high, limit):
    """Tell whether two boxes are farther apart than the square root of the limit."""
    s0 = s1 = s2 = s3 = low[0] - low[0]  # 0 in the precision of the data
    zero = s0
    whole = low.size - low.size % _STEP
    for start in range(0, whole, _STEP):
        for f in range(start, start + _STEP, 4):
            g0 = max(max(low[f] - row_high[f], row_low[f] - high[f]), zero)
            g1 = max(max(low[f + 1] - row_high[f + 1], row_low[f + 1] - high[f + 1]), zero)
            g2 = max(max(low[f + 2] - row_high[f + 2], row_low[f + 2] - high[f + 2]), zero)
            g3 = max(max(low[f + 3] - row_high[f + 3], row_low[f + 3] - high[f + 3]), zero)
            s0 += g0 * g0
            s1 += g1 * g1
            s2 += g2 * g2
            s3 += g3 * g3
        if (s0 + s1) + (s2 + s3) > limit:
            return True
    for f in range(whole, low.size):
        g0 = max(max(low[f] - row_high[f], row_low[f] - high[f]), zero)
        s0 += g0 * g0
    return (s0 + s1) + (s2 + s3) > limit


@njit
def _center(rows, center, out, norms):  # rows and out (n, n_features), norms (n,)
    for i in range(out.shape[0]):
        total = 0.0
        for f in range(center.size):
            value = rows[i, f] - center[f]
            out[i, f] = value
            total += np.float64(value) * value
        norms[i] = total


@njit
def _center_tile(tile, center, out, norms):  # tile and out (n_features, 64), norms (64,)
    for r in range(_TILE):
        norms[r] = 0
    for f in range(center.size):
        for r in range(_TILE):
            value = tile[f, r] - center[f]
            out[f, r] = value
            norms[r] += value * value


@njit
def _products(queries, tile, some, out):
    """Dot products, in pieces so small that BLAS does not start threads of its own."""
    num_features = queries.shape[1]
    if num_features <= _TILE:
        np.dot(queries, tile, out)
        return
    out[:] = 0
    for first in range(0, num_features, _TILE):
        stop = min(first + _TILE, num_features)
        np.dot(np.ascontiguousarray(queries[:, first:stop]), tile[first:stop], some)
        for i in range(out.shape[0]):
            for r in range(_TILE):
                out[i, r] += some[i, r]


@njit
def _exact(a, b):
    """Squared distance in float64."""
    s0 = s1 = s2 = s3 = 0.0
    whole = a.size - a.size % 4
    for f in range(0, whole, 4):
        d0 = np.float64(a[f]) - b[f]
        d1 = np.float64(a[f + 1]) - b[f + 1]
        d2 = np.float64(a[f + 2]) - b[f + 2]
        d3 = np.float64(a[f + 3]) - b[f + 3]
        s0 += d0 * d0
        s1 += d1 * d1
        s2 += d2 * d2
        s3 += d3 * d3
    for f in range(whole, a.size):
        d0 = np.float64(a[f]) - b[f]
        s0 += d0 * d0
    return (s0 + s1) + (s2 + s3)


@njit
def _insert(distances, found, distance, spike):  # both (n,), ascending; the distance that falls out
    last = distances.size - 1
    if distance >= distances[last]:
        return distance
    fallen = distances[last]
    while last > 0 and distances[last - 1] > distance:
        distances[last] = distances[last - 1]
        found[last] = found[last - 1]
        last -= 1
    distances[last] = distance
    found[last] = spike
    return fallen


@njit
def _nearest_of(rows, keys, query, spikes, found):
    """Of some spikes the nearest ones to a query: by exact distance, then by key."""
    k = found.size
    distances = np.full(k, np.inf)
    for i in range(k):
        found[i] = -1
    for spike in spikes:
        if spike == query:
            continue
        distance = _exact(rows[query], rows[spike])
        place = k
        while place > 0 and (
            found[place - 1] < 0
            or distances[place - 1] > distance
            or (distances[place - 1] == distance and keys[found[place - 1]] > keys[spike])
        ):
            place -= 1
        for j in range(k - 1, place, -1):
            distances[j] = distances[j - 1]
            found[j] = found[j - 1]
        if place < k:
            distances[place] = distance
            found[place] = spike


@njit
def _choose(rows, keys, query, distances, candidates, fallen, limit, found):
    """Take the nearest of the candidates, or of all spikes where rounding leaves it open."""
    k = found.size
    if fallen <= limit:
        _nearest_of(rows, keys, query, np.arange(len(rows)), found)
    elif distances[k] <= limit:
        _nearest_of(rows, keys, query, candidates[distances < np.inf], found)
    else:
        found[:] = candidates[:k]


@njit
def _boxes_of_groups(tile_starts, lows, highs):
    num_groups, num_features = tile_starts.size - 1, lows.shape[1]
    group_low = np.empty((num_groups, num_features), dtype=lows.dtype)
    group_high = np.empty((num_groups, num_features), dtype=lows.dtype)
    for g in range(num_groups):
        for f in range(num_features):
            group_low[g, f] = lows[tile_starts[g] : tile_starts[g + 1], f].min()
            group_high[g, f] = highs[tile_starts[g] : tile_starts[g + 1], f].max()
    return group_low, group_high


@njit
def _search(
    rows, keys, starts, centers, nearest, tile_starts, firsts, lasts, tiles, lows, highs, error,
    found,
):  # fmt: skip
    # keys (n,), starts (n_groups + 1,), centers (n_groups, n_features), nearest (n_groups,
    # n_groups), found (n, k); error: relative rounding of a dot product
    k, num_features = found.shape[1], rows.shape[1]
    two = rows.dtype.type(2)
    tile = np.empty((num_features, _TILE), dtype=rows.dtype)
    tile_norms = np.empty(_TILE, dtype=rows.dtype)
    block = np.empty((_TILE, num_features), dtype=rows.dtype)
    products = np.empty((_TILE, _TILE), dtype=rows.dtype)
    some = np.empty((_TILE, _TILE), dtype=rows.dtype)
    group_low, group_high = _boxes_of_groups(tile_starts, lows, highs)
    for group in range(nearest.shape[0]):
        first_query = starts[group]
        num_queries = starts[group + 1] - first_query
        own = rows[first_query : starts[group + 1]]
        center = centers[group]
        # products are exact enough next to the center only
        queries, norms = np.empty_like(own), np.empty(num_queries, dtype=rows.dtype)
        _center(own, center, queries, norms)
        distances = np.full((num_queries, k + _SPARE), np.inf, dtype=rows.dtype)
        candidates = np.full((num_queries, k + _SPARE), -1)
        fallen = np.full(num_queries, np.inf, dtype=rows.dtype)
        limits = np.full(num_queries, np.inf, dtype=rows.dtype)
        near, active = np.empty(num_queries, np.int64), np.empty(num_queries, np.int64)
        for other in nearest[group]:  # its own group first: then the limits are low
            low, high = group_low[other], group_high[other]
            if _outside(group_low[group], group_high[group], low, high, limits.max()):
                continue
            num_near = 0
            for i in range(num_queries):
                if not _outside(own[i], own[i], low, high, limits[i]):
                    near[num_near] = i
                    num_near += 1
            mixed = other == group
            for t in range(tile_starts[other], tile_starts[other + 1]):
                num_active = 0
                for i in near[:num_near]:
                    if mixed or not _outside(own[i], own[i], lows[t], highs[t], limits[i]):
                        active[num_active] = i
                        num_active += 1
                if num_active == 0:
                    continue
                mixed = 2 * num_active > num_near  # more boxes would not spare more
                _center_tile(tiles[t], center, tile, tile_norms)
                for start in range(0, num_active, _TILE):
                    num = min(_TILE, num_active - start)
                    for j in range(num):
                        block[j] = queries[active[start + j]]
                    _products(block[:num], tile, some[:num], products[:num])
                    for j in range(num):
                        i = active[start + j]
                        limit = limits[i] - norms[i]
                        num_within = 0
                        for r in range(_TILE):
                            num_within += tile_norms[r] - two * products[j, r] <= limit
                        if num_within == 0:
                            continue
                        for r in range(lasts[t] - firsts[t]):
                            distance = tile_norms[r] - two * products[j, r] + norms[i]
                            spike = firsts[t] + r
                            if distance <= limits[i] and spike != first_query + i:
                                out = _insert(distances[i], candidates[i], distance, spike)
                                fallen[i] = min(fallen[i], out)
                                # all that can be nearer than the k-th, whatever the rounding
                                limits[i] = distances[i, k - 1] * (1 + 5 * error) + (
                                    8 * error * norms[i]
                                )
        for i in range(num_queries):
            q = first_query + i
            _choose(rows, keys, q, distances[i], candidates[i], fallen[i], limits[i], found[q])


def nearest_neighbours(
    rows: NDArray[np.floating],
    starts: NDArray[np.integer],
    num_neighbours: int,
    keys: NDArray[np.integer],
) -> NDArray[np.int64]:
    """Nearest neighbours of each spike, itself left out, by Euclidean distance.

    Nothing is approximate: groups of spikes and tiles of 64 spikes are left out where their
    bounding boxes are too far away; distances to the others come from dot products in the precision
    of the data, with a bound of their error, and are computed in float64 where that leaves it open.

    Parameters
    ----------
    rows : array (n_spikes, n_features) float32 or float64
        Finite. Best with the features of largest variance first.
    starts : array (n_groups + 1,) integer
        First row of each group of spikes near each other, such as a unit; none is empty.
    num_neighbours : int
        Less than the number of spikes.
    keys : array (n_spikes,) int64
        Different ones. Of spikes at the same distance, those with the lowest keys are nearest.

    Returns
    -------
    array (n_spikes, num_neighbours) int64
        Rows of the neighbours, in no order.

    Examples
    --------
    >>> rows = np.array([[0.0], [1.0], [1.5], [9.0]])
    >>> nearest_neighbours(rows, np.array([0, 4]), 1, np.arange(4)).ravel()
    array([1, 2, 1, 2])
    """
    rows, num_features = np.ascontiguousarray(rows), rows.shape[1]
    starts = np.asarray(starts, dtype=np.int64)
    firsts, lasts, tile_starts = _cut_into_tiles(starts)
    tiles = np.zeros((firsts.size, num_features, _TILE), dtype=rows.dtype)
    lows = np.empty((firsts.size, num_features), dtype=rows.dtype)
    highs = np.empty_like(lows)
    _fill_tiles(rows, firsts, lasts, tiles, lows, highs)
    centers = np.add.reduceat(rows, starts[:-1], axis=0, dtype=np.float64)
    centers /= np.diff(starts)[:, None]
    apart = ((centers[:, None] - centers[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, -1)
    nearest = np.argsort(apart, axis=1, kind="stable")
    error = rows.dtype.type((num_features + 16) * float(np.finfo(rows.dtype).eps))
    found = np.empty((len(rows), num_neighbours), dtype=np.int64)
    _search(
        rows, keys, starts, centers.astype(rows.dtype), nearest, tile_starts, firsts, lasts, tiles,
        lows, highs, error, found,
    )  # fmt: skip
    return found
