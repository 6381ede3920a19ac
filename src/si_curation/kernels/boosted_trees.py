"""Boosted regression trees for two classes, on binned columns; NaN is a value of its own.

The method is that of LightGBM and of scikit-learn's HistGradientBoostingClassifier: each tree is
grown leaf by leaf, the best split first, on histograms of gradients; a node looks at a part of the
columns. One fit is serial and sums in the order of the rows, and its random numbers are whole
numbers of its own, so that results are the same bits on any number of threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit

#: Bins of a column; NaN is in the bin after them.
MAX_BINS = 64
_NAN_BIN = MAX_BINS
_LEAF = -1


class TreeParameters(NamedTuple):
    """How trees are grown.

    Attributes
    ----------
    num_trees : int
    learning_rate : float
    max_leaves : int
    min_rows : int
        Rows of a leaf, at least.
    penalty : float
        Added to the sum of second derivatives of a leaf (L2).
    column_share : float
        Part of the columns that a node looks at.
    seed : int
    """

    num_trees: int = 300
    learning_rate: float = 0.03
    max_leaves: int = 8
    min_rows: int = 30
    penalty: float = 5.0
    column_share: float = 0.3
    seed: int = 1


class Trees(NamedTuple):
    """Trees as arrays (n_trees, n_nodes); node 0 is the root, children come after their parent.

    Attributes
    ----------
    column : array int32
        Column that decides at the node; -1 for leaves, and for nodes that are not used.
    threshold : array float64
        Values up to it go left.
    nan_left : array uint8
        1 where NaN goes left.
    left, right : array int32
        Nodes of the children; 0 for leaves.
    value : array float64
        Log odds that the node stands for, times the learning rate.
    start : float
        Log odds before the first tree.
    """

    column: NDArray[np.int32]
    threshold: NDArray[np.float64]
    nan_left: NDArray[np.uint8]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float64]
    start: float


def bin_borders(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the borders of the bins of each column: midpoints between values, at quantiles.

    Parameters
    ----------
    values : array (n_rows, n_columns) float64
        NaN where missing.

    Returns
    -------
    array (n_columns, MAX_BINS - 1) float64
        Ascending; inf where a column needs fewer.
    """
    out = np.full((values.shape[1], MAX_BINS - 1), np.inf)
    for column, of in enumerate(values.T):
        known = np.unique(of[np.isfinite(of)])
        if len(known) < 2:
            continue
        middles = known[:-1] + (known[1:] - known[:-1]) / 2
        if len(middles) > MAX_BINS - 1:
            at = np.linspace(0, 1, MAX_BINS + 1)[1:-1]
            middles = np.unique(np.quantile(of[np.isfinite(of)], at, method="midpoint"))
        out[column, : len(middles)] = middles
    return out


def bin_values(values: NDArray[np.float64], borders: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the bin of each value; MAX_BINS for NaN. A value at a border is below it."""
    out = np.empty(values.shape, dtype=np.uint8)
    for column, of in enumerate(values.T):
        out[:, column] = np.searchsorted(borders[column], of, side="left")
    out[np.isnan(values)] = _NAN_BIN
    return out


def fit_trees(
    values: NDArray[np.float64],
    is_one: NDArray[np.bool_],
    weights: NDArray[np.float64],
    parameters: TreeParameters | None = None,
) -> Trees:
    """Fit trees that give the log odds of the second class.

    Parameters
    ----------
    values : array (n_rows, n_columns) float64
        NaN where missing.
    is_one : array (n_rows,) bool
    weights : array (n_rows,) float64
        Above 0.
    parameters : TreeParameters, optional

    Returns
    -------
    Trees
    """
    of = TreeParameters() if parameters is None else parameters
    borders = bin_borders(values)
    bins = bin_values(values, borders)
    total = weights.sum()
    share = np.clip(weights[is_one].sum() / total, 1e-6, 1 - 1e-6)
    start = float(np.log(share / (1 - share)))
    num_columns = values.shape[1]
    looked_at = max(1, min(num_columns, int(np.ceil(of.column_share * num_columns))))
    counts = (of.num_trees, of.max_leaves, looked_at, of.seed)
    numbers = (of.learning_rate, float(of.min_rows), of.penalty)
    targets = (is_one.astype(np.float64), weights.astype(np.float64))
    column, nan_left, left, right, cuts = _fit(bins, targets, start, counts, numbers)
    return Trees(
        column,
        np.where(column >= 0, borders[np.maximum(column, 0), cuts[0].astype(np.int64)], 0.0),
        nan_left,
        left,
        right,
        cuts[1],
        start,
    )


@njit
def _fit(bins, targets, start, counts, numbers):  # type: ignore[no-untyped-def]
    target, weights = targets
    num_trees, max_leaves, looked_at, seed = counts
    num_rows, num_columns = bins.shape
    shape = (num_trees, 2 * max_leaves - 1)
    column = np.full(shape, _LEAF, dtype=np.int32)
    nan_left = np.zeros(shape, dtype=np.uint8)
    left, right = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int32)
    # the bin at which a node cuts, and its value
    cuts = np.zeros((2, *shape))
    score = np.full(num_rows, start)
    gradient, hessian = np.zeros(num_rows), np.zeros(num_rows)
    order, columns = np.arange(num_rows), np.arange(num_columns)
    random = np.uint64(seed) * np.uint64(2862933555777941757) + np.uint64(3037000493)
    for tree in range(num_trees):
        for row in range(num_rows):
            chance = 1.0 / (1.0 + np.exp(-score[row]))
            gradient[row] = weights[row] * (chance - target[row])
            hessian[row] = weights[row] * chance * (1.0 - chance)
            order[row] = row
        nodes = (column[tree], nan_left[tree], left[tree], right[tree], cuts[0, tree])
        random = _grow(
            bins,
            (gradient, hessian),
            (order, score),
            (columns, looked_at, random),
            numbers,
            nodes,
            cuts[1, tree],
        )
    return column, nan_left, left, right, cuts


@njit
def _grow(bins, slopes, rows, draw, numbers, nodes, value):  # type: ignore[no-untyped-def]
    """Grow one tree, leaf by leaf, and add its values to the scores of the rows."""
    order, score = rows
    columns, looked_at, random = draw
    column, nan_left, left, right, cut = nodes
    spare = np.zeros(len(order), dtype=np.int64)
    first, stop = np.zeros(len(column), dtype=np.int64), np.zeros(len(column), dtype=np.int64)
    stop[0] = len(order)
    # of each node: gain, column, bin, whether NaN goes left
    best = np.zeros((len(column), 4))
    random = _draw(columns, looked_at, random)
    value[0] = numbers[0] * _node_value(slopes, order, numbers[2])
    _best_split(bins, slopes, order, columns[:looked_at], numbers, best[0])
    count = 1
    while count + 2 <= len(column):
        node = 0
        for other in range(1, count):
            if best[other, 0] > best[node, 0]:
                node = other
        if best[node, 0] <= 1e-9:
            break
        of, at, nan = int(best[node, 1]), int(best[node, 2]), best[node, 3] > 0
        inside = order[first[node] : stop[node]]
        middle = first[node] + _partition(bins[:, of], inside, spare, at, nan)
        column[node], cut[node] = of, at
        nan_left[node] = np.uint8(1 if nan else 0)
        left[node], right[node] = count, count + 1
        first[count], stop[count] = first[node], middle
        first[count + 1], stop[count + 1] = middle, stop[node]
        best[node, 0] = 0.0
        for child in (count, count + 1):
            inside = order[first[child] : stop[child]]
            value[child] = numbers[0] * _node_value(slopes, inside, numbers[2])
            random = _draw(columns, looked_at, random)
            _best_split(bins, slopes, inside, columns[:looked_at], numbers, best[child])
        count += 2
    for node in range(count):
        if column[node] == _LEAF:
            for place in range(first[node], stop[node]):
                score[order[place]] += value[node]
    return random


@njit
def _draw(columns, count, random):  # type: ignore[no-untyped-def]
    """Put `count` random columns first (Fisher and Yates, with a xorshift of 64 bits)."""
    for place in range(min(count, len(columns) - 1)):
        random ^= random << np.uint64(13)
        random ^= random >> np.uint64(7)
        random ^= random << np.uint64(17)
        other = place + int(random % np.uint64(len(columns) - place))
        columns[place], columns[other] = columns[other], columns[place]
    return random


@njit
def _node_value(slopes, rows, penalty):  # type: ignore[no-untyped-def]
    g, h = 0.0, 0.0
    for row in rows:
        g += slopes[0][row]
        h += slopes[1][row]
    return -g / (h + penalty)


@njit
def _partition(bins, rows, spare, at, nan):  # type: ignore[no-untyped-def]
    """Put the rows that go left first, each side in its order; return how many go left."""
    count, others = 0, 0
    for place in range(len(rows)):
        row = rows[place]
        one = bins[row]
        if (one == _NAN_BIN and nan) or (one != _NAN_BIN and one <= at):
            rows[count] = row
            count += 1
        else:
            spare[others] = row
            others += 1
    for place in range(others):
        rows[count + place] = spare[place]
    return count


@njit
def _best_split(bins, slopes, rows, columns, numbers, best):  # type: ignore[no-untyped-def]
    """Write gain, column, bin and whether NaN goes left into `best`; a gain of 0: none."""
    _, min_rows, penalty = numbers
    gradient, hessian = slopes
    best[:] = 0.0
    if len(rows) < 2 * min_rows:
        return
    histogram = np.zeros((MAX_BINS + 1, 3))
    for of in columns:
        histogram[:] = 0.0
        for row in rows:
            one = bins[row, of]
            histogram[one, 0] += gradient[row]
            histogram[one, 1] += hessian[row]
            histogram[one, 2] += 1.0
        g, h = histogram[:, 0].sum(), histogram[:, 1].sum()
        alone = g * g / (h + penalty)
        num_nan = histogram[_NAN_BIN, 2]
        for nan in range(2 if num_nan > 0 else 1):
            gl = hl = nl = 0.0
            if nan == 1:
                gl, hl, nl = histogram[_NAN_BIN, 0], histogram[_NAN_BIN, 1], num_nan
            for at in range(MAX_BINS - 1):
                gl += histogram[at, 0]
                hl += histogram[at, 1]
                nl += histogram[at, 2]
                if nl < min_rows or len(rows) - nl < min_rows:
                    continue
                gr, hr = g - gl, h - hl
                gain = gl * gl / (hl + penalty) + gr * gr / (hr + penalty) - alone
                if gain > best[0] + 1e-12:
                    best[0], best[1], best[2], best[3] = gain, of, at, nan


def log_odds(trees: Trees, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the log odds of the second class for each row, in the order of the trees."""
    return _contributions(*trees[:6], trees.start, np.ascontiguousarray(values, np.float64))[0]


def contributions(
    trees: Trees, values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute what each column adds to the log odds of each row.

    At each node on the way of a row, the change of the node's value is what its column adds
    (Saabas, 2014). The contributions and a number that is the same for all rows sum up to the log
    odds.

    Returns
    -------
    log_odds : array (n_rows,) float64
    contributions : array (n_rows, n_columns) float64
    """
    return _contributions(*trees[:6], trees.start, np.ascontiguousarray(values, np.float64))


@njit
def _contributions(column, threshold, nan_left, left, right, value, start, values):  # type: ignore[no-untyped-def]
    num_rows, num_columns = values.shape
    total = np.full(num_rows, start)
    parts = np.zeros((num_rows, num_columns))
    for row in range(num_rows):
        for tree in range(len(column)):
            node = 0
            while column[tree, node] >= 0:
                of = column[tree, node]
                one = values[row, of]
                if np.isnan(one):
                    to_left = nan_left[tree, node] == 1
                else:
                    to_left = one <= threshold[tree, node]
                child = left[tree, node] if to_left else right[tree, node]
                parts[row, of] += value[tree, child] - value[tree, node]
                node = child
            total[row] += value[tree, node]
    return total, parts
