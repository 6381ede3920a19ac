"""Exact nearest neighbours of spikes in the space of their features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import inlined, njit

_TILE = 64  # spikes that are compared with one spike at a time
_STEP = 8  # features that are added up between two looks at the sum
_SPARE = 2  # neighbours that are kept beyond those asked for, in case rounding leaves them open
_TINY = np.float32(1e-30)  # a squared distance that may have lost digits


class _Tiles(NamedTuple):
    """Spikes cut into tiles, a few tiles for each group, and the boxes around them."""

    rows: NDArray[np.floating]  # (n, n_features): all spikes
    starts: NDArray[np.int64]  # (n_groups + 1,): first tile of each group
    firsts: NDArray[np.int64]  # (n_tiles,): first spike of each tile
    lasts: NDArray[np.int64]  # (n_tiles,): the one after its last
    are_filled: NDArray[np.bool_]  # (n_groups,): those of most groups are never asked for
    values: NDArray[np.floating]  # (n_tiles, n_features, 64)
    lows: NDArray[np.floating]  # (n_tiles, n_features)
    highs: NDArray[np.floating]  # (n_tiles, n_features)


def _cut_into_tiles(rows: NDArray[np.floating], starts: NDArray[np.int64]) -> _Tiles:
    sizes = np.diff(starts)
    tile_starts = np.concatenate([[0], np.cumsum(-(-sizes // _TILE))])
    num_tiles, num_features = int(tile_starts[-1]), rows.shape[1]
    group = np.repeat(np.arange(sizes.size), np.diff(tile_starts))
    firsts = starts[group] + _TILE * (np.arange(num_tiles) - tile_starts[group])
    return _Tiles(
        rows,
        tile_starts,
        firsts,
        np.minimum(firsts + _TILE, starts[group + 1]),
        np.zeros(sizes.size, dtype=np.bool_),
        np.empty((num_tiles, num_features, _TILE), dtype=rows.dtype),
        np.empty((num_tiles, num_features), dtype=rows.dtype),
        np.empty((num_tiles, num_features), dtype=rows.dtype),
    )


@inlined
def _fill_tiles(group: int, tiles: _Tiles) -> None:
    """Put the spikes of a group into its tiles, once."""
    rows = tiles.rows
    if tiles.are_filled[group]:
        return
    tiles.are_filled[group] = True
    for t in range(tiles.starts[group], tiles.starts[group + 1]):
        first, last = tiles.firsts[t], tiles.lasts[t]
        values, low, high = tiles.values[t], tiles.lows[t], tiles.highs[t]
        for f in range(rows.shape[1]):
            low[f] = high[f] = rows[first, f]
        for i in range(first, last):
            for f in range(rows.shape[1]):
                value = rows[i, f]
                values[f, i - first] = value
                low[f] = min(low[f], value)
                high[f] = max(high[f], value)
        values[:, last - first :] = 0


@njit
def _outside(
    row_low: NDArray[np.floating],
    row_high: NDArray[np.floating],
    low: NDArray[np.floating],
    high: NDArray[np.floating],
    limit: float,
) -> bool:
    """Return whether two boxes are farther apart than the square root of the limit."""
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
def _gap(row: NDArray[np.floating], low: NDArray[np.floating], high: NDArray[np.floating]) -> float:
    """Squared distance of a spike from a box."""
    s0 = s1 = s2 = s3 = low[0] - low[0]  # 0 in the precision of the data
    zero = s0
    whole = low.size - low.size % 4
    for f in range(0, whole, 4):
        g0 = max(max(low[f] - row[f], row[f] - high[f]), zero)
        g1 = max(max(low[f + 1] - row[f + 1], row[f + 1] - high[f + 1]), zero)
        g2 = max(max(low[f + 2] - row[f + 2], row[f + 2] - high[f + 2]), zero)
        g3 = max(max(low[f + 3] - row[f + 3], row[f + 3] - high[f + 3]), zero)
        s0 += g0 * g0
        s1 += g1 * g1
        s2 += g2 * g2
        s3 += g3 * g3
    for f in range(whole, low.size):
        g0 = max(max(low[f] - row[f], row[f] - high[f]), zero)
        s0 += g0 * g0
    return (s0 + s1) + (s2 + s3)


@inlined
def _center(
    rows: NDArray[np.floating],
    center: NDArray[np.floating],
    out: NDArray[np.floating],
    norms: NDArray[np.floating],
) -> None:  # rows and out (n, n_features), norms (n,)
    whole = center.size - center.size % 4
    for i in range(out.shape[0]):
        for f in range(center.size):
            out[i, f] = rows[i, f] - center[f]
        s0 = s1 = s2 = s3 = 0.0
        for f in range(0, whole, 4):
            s0 += np.float64(out[i, f]) * out[i, f]
            s1 += np.float64(out[i, f + 1]) * out[i, f + 1]
            s2 += np.float64(out[i, f + 2]) * out[i, f + 2]
            s3 += np.float64(out[i, f + 3]) * out[i, f + 3]
        for f in range(whole, center.size):
            s0 += np.float64(out[i, f]) * out[i, f]
        norms[i] = (s0 + s1) + (s2 + s3)


@njit
def _center_tile(
    tile: NDArray[np.floating],
    center: NDArray[np.floating],
    out: NDArray[np.floating],
    norms: NDArray[np.floating],
) -> None:  # tile and out (n_features, 64), norms (64,)
    for r in range(_TILE):
        norms[r] = 0
    for f in range(center.size):
        for r in range(_TILE):
            value = tile[f, r] - center[f]
            out[f, r] = value
            norms[r] += value * value


@njit
def _products(
    queries: NDArray[np.floating],
    tile: NDArray[np.floating],
    some: NDArray[np.floating],
    out: NDArray[np.floating],
) -> None:
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
def _exact(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
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
def _insert(
    distances: NDArray[np.floating], found: NDArray[np.int64], distance: float, spike: int
) -> float:  # both (n,), ascending; the distance that falls out
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
def _nearest_of(
    rows: NDArray[np.floating],
    keys: NDArray[np.integer],
    query: int,
    spikes: NDArray[np.int64],
    found: NDArray[np.int64],
) -> None:
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


@inlined
def _choose(
    rows: NDArray[np.floating],
    keys: NDArray[np.integer],
    query: int,
    distances: NDArray[np.floating],
    candidates: NDArray[np.int64],
    fallen: float,
    limit: float,
    found: NDArray[np.int64],
) -> None:
    """Take the nearest of the candidates, or of all spikes where rounding leaves it open."""
    k = found.size
    if fallen <= limit:
        _nearest_of(rows, keys, query, np.arange(len(rows)), found)
    elif distances[k] <= limit:
        _nearest_of(rows, keys, query, candidates[distances < np.inf], found)
    else:
        found[:] = candidates[:k]


@njit
def _describe_groups(
    rows: NDArray[np.floating],
    starts: NDArray[np.int64],
    centers: NDArray[np.float64],
    lows: NDArray[np.floating],
    highs: NDArray[np.floating],
) -> None:  # rows (n, n_features), starts (n_groups + 1,), the others (n_groups, n_features)
    for g in range(starts.size - 1):
        center, low, high = centers[g], lows[g], highs[g]
        for f in range(rows.shape[1]):
            center[f] = 0
            low[f] = high[f] = rows[starts[g], f]
        for i in range(starts[g], starts[g + 1]):
            for f in range(rows.shape[1]):
                value = rows[i, f]
                center[f] += value
                low[f] = min(low[f], value)
                high[f] = max(high[f], value)
        for f in range(rows.shape[1]):
            center[f] /= starts[g + 1] - starts[g]


@njit
def _within_reach(
    queries: NDArray[np.floating],
    among: NDArray[np.int64],
    low: NDArray[np.floating],
    high: NDArray[np.floating],
    limits: NDArray[np.floating],
    out: NDArray[np.int64],
) -> int:
    """List those among the queries that a box may hold a neighbour of; return how many."""
    num = 0
    for i in among:
        if not _outside(queries[i], queries[i], low, high, limits[i]):
            out[num] = i
            num += 1
    return num


class _Queries(NamedTuple):
    """Spikes of one group whose neighbours are searched."""

    first: int  # row of the first
    rows: NDArray[np.floating]  # (n, n_features)
    center: NDArray[np.floating]  # (n_features,)
    centered: NDArray[np.floating]  # (n, n_features); products are exact enough next to the center
    norms: NDArray[np.floating]  # (n,)
    error: np.floating  # relative rounding of a dot product
    are_begun: bool  # compared with their own tile and with the only group that is asked for


class _Nearest(NamedTuple):
    """The nearest spikes of each query so far, more than are asked for."""

    distances: NDArray[np.floating]  # (n, n_kept), ascending
    spikes: NDArray[np.int64]  # (n, n_kept)
    fallen: NDArray[np.floating]  # (n,): the smallest distance that was dropped
    limits: NDArray[np.floating]  # (n,): all that can be nearer than the k-th is within


class _Work(NamedTuple):
    """Room for a centered tile, its norms, some queries, and two tables of products."""

    tile: NDArray[np.floating]
    norms: NDArray[np.floating]
    block: NDArray[np.floating]
    products: NDArray[np.floating]
    some: NDArray[np.floating]


class _Groups(NamedTuple):
    """Groups of spikes."""

    starts: NDArray[np.int64]  # (n_groups + 1,): first row of each
    centers: NDArray[np.floating]  # (n_groups, n_features)
    nearest: NDArray[np.int64]  # (n_groups, n_groups): the group itself, then others
    lows: NDArray[np.floating]  # (n_groups, n_features)
    highs: NDArray[np.floating]  # (n_groups, n_features)


@inlined
def _room(num_features: int, zero: np.floating) -> _Work:
    like = np.array([zero])
    return _Work(
        np.empty((num_features, _TILE), dtype=like.dtype),
        np.empty(_TILE, dtype=like.dtype),
        np.empty((_TILE, num_features), dtype=like.dtype),
        np.empty((_TILE, _TILE), dtype=like.dtype),
        np.empty((_TILE, _TILE), dtype=like.dtype),
    )


@inlined
def _nothing_found(rows: NDArray[np.floating], num_kept: int) -> _Nearest:
    num_queries = rows.shape[0]
    return _Nearest(
        np.full((num_queries, num_kept), np.inf, dtype=rows.dtype),
        np.full((num_queries, num_kept), -1),
        np.full(num_queries, np.inf, dtype=rows.dtype),
        np.full(num_queries, np.inf, dtype=rows.dtype),
    )


@njit
def _compare(
    t: int,
    active: NDArray[np.int64],
    queries: _Queries,
    best: _Nearest,
    tiles: _Tiles,
    work: _Work,
) -> None:
    """Take the spikes of a tile into account for the active queries."""
    distances, spikes, fallen, limits = best.distances, best.spikes, best.fallen, best.limits
    norms, tile_norms, products = queries.norms, work.norms, work.products
    error, k = queries.error, distances.shape[1] - _SPARE
    two = tile_norms.dtype.type(2)
    first, last = tiles.firsts[t], tiles.lasts[t]
    _center_tile(tiles.values[t], queries.center, work.tile, tile_norms)
    for start in range(0, active.size, _TILE):
        num = min(_TILE, active.size - start)
        for j in range(num):
            work.block[j] = queries.centered[active[start + j]]
        _products(work.block[:num], work.tile, work.some[:num], products[:num])
        for j in range(num):
            i = active[start + j]
            limit = limits[i] - norms[i]
            num_within = 0
            for r in range(_TILE):
                num_within += tile_norms[r] - two * products[j, r] <= limit
            if num_within == 0:
                continue
            for r in range(last - first):
                distance = tile_norms[r] - two * products[j, r] + norms[i]
                spike = first + r
                if distance <= limits[i] and spike != queries.first + i:
                    out = _insert(distances[i], spikes[i], distance, spike)
                    fallen[i] = min(fallen[i], out)
                    # all that can be nearer than the k-th, whatever the rounding
                    limits[i] = distances[i, k - 1] * (1 + 5 * error) + 8 * error * norms[i]


@inlined
def _without(queries: NDArray[np.int64], first: int, stop: int) -> int:
    """List the queries that are not in a range at the front; return how many."""
    num = 0
    for i in queries:
        if not first <= i < stop:
            queries[num] = i
            num += 1
    return num


@njit
def _compare_with_group(
    other: int,
    among: NDArray[np.int64],
    own: int,
    queries: _Queries,
    best: _Nearest,
    groups: _Groups,
    tiles: _Tiles,
    work: _Work,
) -> None:
    """Take the spikes of a group into account for some queries, which are of their own group."""
    mixed = other == own  # tiles are not apart from the queries
    low, high = groups.lows[other], groups.highs[other]
    near, active = np.empty_like(among), np.empty_like(among)
    num_near = _within_reach(queries.rows, among, low, high, best.limits, near)
    if num_near == 0:
        return
    _fill_tiles(other, tiles)
    for t in range(tiles.starts[other], tiles.starts[other + 1]):
        num_active, active[:num_near] = num_near, near[:num_near]
        if not mixed:
            num_active = _within_reach(
                queries.rows, near[:num_near], tiles.lows[t], tiles.highs[t], best.limits, active
            )
        own_first = tiles.firsts[t] - queries.first
        if queries.are_begun and 0 <= own_first < len(queries.rows):
            num_active = _without(active[:num_active], own_first, own_first + _TILE)
        if num_active == 0:
            continue
        mixed = 2 * num_active > num_near  # more boxes would not spare more
        _compare(t, active[:num_active], queries, best, tiles, work)


@inlined
def _leave_those_among_their_own(
    queries: _Queries, k: int, low: NDArray[np.floating], high: NDArray[np.floating],
    among: NDArray[np.int64],
) -> int:  # fmt: skip
    """List and count the queries that a box may hold a neighbour of, next to their own group.

    The group has k others within a distance of its center, which is enough where the box is far.
    """
    near, whose = np.full(k + 1, np.inf, dtype=queries.norms.dtype), np.empty(k + 1, dtype=np.int64)
    for i in range(queries.norms.size):
        _insert(near, whose, queries.norms[i], i)
    num = 0
    for i in range(among.size):
        reach = np.sqrt(queries.norms[i]) + np.sqrt(near[k])
        limit = reach * reach * (1 + 4 * queries.error) + _TINY
        row = queries.rows[i]
        if not _outside(row, row, low, high, near.dtype.type(limit)):
            among[num] = i
            num += 1
    return num


@inlined
def _leave_those_in_their_tile(
    t: int, queries: _Queries, k: int, low: NDArray[np.floating], high: NDArray[np.floating],
    active: NDArray[np.int64], tiles: _Tiles, work: _Work,
) -> int:  # fmt: skip
    """Of the active queries, which are of one tile, list and count those like the above."""
    norms, tile_norms, products = queries.norms, work.norms, work.products
    error, two = queries.error, tile_norms.dtype.type(2)
    _center_tile(tiles.values[t], queries.center, work.tile, tile_norms)
    for r in range(tiles.lasts[t] - tiles.firsts[t], _TILE):
        tile_norms[r] = np.inf  # not a spike
    for j in range(active.size):
        work.block[j] = queries.centered[active[j]]
    _products(
        work.block[: active.size], work.tile, work.some[: active.size], products[: active.size]
    )
    num = 0
    for j in range(active.size):
        i = active[j]
        gap = _gap(queries.rows[i], low, high)
        # what surely is nearer than the box, whatever the rounding
        limit = (gap * (1 - 4 * error) - 8 * error * norms[i]) / (1 + 5 * error) - norms[i]
        limit = tile_norms.dtype.type(limit)
        num_within = 0
        for r in range(_TILE):
            num_within += tile_norms[r] - two * products[j, r] <= limit
        if not _TINY < gap < np.inf or num_within <= k:  # it is one of them itself
            active[num] = i
            num += 1
    return num


@njit
def _leave_those_without(
    only: int,
    queries: _Queries,
    best: _Nearest,
    groups: _Groups,
    tiles: _Tiles,
    work: _Work,
    among: NDArray[np.int64],
) -> int:
    """List and count the queries that may have spikes of another group among their neighbours.

    The others have as many of their own tile that are nearer, which is quickly seen.
    """
    first, stop = groups.starts[only], groups.starts[only + 1]
    distances, spikes, fallen, limits = best.distances, best.spikes, best.fallen, best.limits
    low, high, k = groups.lows[only], groups.highs[only], distances.shape[1] - _SPARE
    num_near = _leave_those_among_their_own(queries, k, low, high, among)
    if num_near == 0:
        return 0
    # tiles of a group begin with its first spike
    group = 0
    while groups.starts[group] < queries.first:
        group += 1
    _fill_tiles(group, tiles)
    done, num, active = 0, 0, np.empty(_TILE, dtype=np.int64)
    while done < num_near:
        tile = among[done] // _TILE
        num_active = 0
        while done < num_near and among[done] // _TILE == tile:
            active[num_active] = among[done]
            num_active += 1
            done += 1
        t = tiles.starts[group] + tile
        num_active = _leave_those_in_their_tile(
            t, queries, k, low, high, active[:num_active], tiles, work
        )
        if num_active > 0:
            _compare(t, active[:num_active], queries, best, tiles, work)
            for j in range(num_active):
                among[num + j] = active[j]
            num += num_active
    _compare_with_group(only, among[:num], group, queries, best, groups, tiles, work)
    num_near, num = num, 0
    for place in range(num_near):
        i = among[place]
        is_open = fallen[i] <= limits[i]
        for j in range(distances.shape[1]):
            is_open |= distances[i, j] <= limits[i] and first <= spikes[i, j] < stop
        if is_open:
            among[num] = i
            num += 1
    return num


@njit
def _search(
    rows: NDArray[np.floating],
    keys: NDArray[np.integer],
    groups: _Groups,
    tiles: _Tiles,
    error: np.floating,
    only: int,
    found: NDArray[np.int64],
) -> None:
    # keys (n,), found (n, k); only: the group whose spikes are asked for, or -1 for all
    k = found.shape[1]
    work = _room(rows.shape[1], error)
    starts, nearest, lows, highs = groups.starts, groups.nearest, groups.lows, groups.highs
    for group in range(nearest.shape[0]):
        own = rows[starts[group] : starts[group + 1]]
        queries = _Queries(
            starts[group], own, groups.centers[group],
            np.empty_like(own), np.empty(len(own), dtype=rows.dtype), error,
            only >= 0 and group != only,
        )  # fmt: skip
        _center(own, queries.center, queries.centered, queries.norms)
        best = _nothing_found(own, k + _SPARE)
        among = np.arange(len(own))
        num_open = among.size
        if queries.are_begun:
            num_open = _leave_those_without(only, queries, best, groups, tiles, work, among)
        if num_open == 0:
            continue
        for other in nearest[group]:  # its own group first: then the limits are low
            if queries.are_begun and other == only:
                continue
            limit = best.limits[among[0]]
            for i in among[1:num_open]:
                limit = max(limit, best.limits[i])
            if not _outside(lows[group], highs[group], lows[other], highs[other], limit):
                _compare_with_group(
                    other, among[:num_open], group, queries, best, groups, tiles, work
                )
        for i in among[:num_open]:
            q = starts[group] + i
            _choose(
                rows, keys, q, best.distances[i], best.spikes[i], best.fallen[i], best.limits[i],
                found[q],
            )  # fmt: skip


def nearest_neighbours(
    rows: NDArray[np.floating],
    starts: NDArray[np.integer],
    num_neighbours: int,
    keys: NDArray[np.integer],
    only: int | None = None,
) -> NDArray[np.int64]:
    """Return the nearest neighbours of each spike, itself left out, by Euclidean distance.

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
    only : int, optional
        A group. Where a spike of another group has none of it among its neighbours, which is mostly
        seen at once, the others are not searched.

    Returns
    -------
    array (n_spikes, num_neighbours) int64
        Rows of the neighbours, in no order. With `only`, -1 for spikes of other groups that can
        have none of this group among their neighbours.

    Examples
    --------
    >>> rows = np.array([[0.0], [1.0], [1.5], [9.0]])
    >>> nearest_neighbours(rows, np.array([0, 4]), 1, np.arange(4)).ravel()
    array([1, 2, 1, 2])
    >>> rows = np.array([[0.0], [1.0], [9.0], [9.5]])
    >>> nearest_neighbours(rows, np.array([0, 2, 4]), 1, np.arange(4), only=0).ravel()
    array([ 1,  0, -1, -1])
    """
    rows, num_features = np.ascontiguousarray(rows), rows.shape[1]
    first_rows = np.asarray(starts, dtype=np.int64)
    tiles = _cut_into_tiles(rows, first_rows)
    centers = np.empty((first_rows.size - 1, num_features))
    lows, highs = np.empty((2, *centers.shape), dtype=rows.dtype)
    _describe_groups(rows, first_rows, centers, lows, highs)
    apart = ((centers[:, None] - centers[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, -1)
    nearest = np.argsort(apart, axis=1, kind="stable")
    groups = _Groups(first_rows, centers.astype(rows.dtype), nearest, lows, highs)
    error = rows.dtype.type((num_features + 16) * float(np.finfo(rows.dtype).eps))
    found = np.full((len(rows), num_neighbours), -1, dtype=np.int64)
    _search(rows, keys, groups, tiles, error, -1 if only is None else only, found)
    return found
