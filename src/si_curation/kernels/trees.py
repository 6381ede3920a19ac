"""Trees as arrays, and what they say of rows of numbers; NaN goes the way that each node says."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit


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
        Log odds that the node stands for: those of a leaf, or the mean of the rows below.
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


def contributions(
    trees: Trees, values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the log odds of each row, and what each column adds to them.

    At each node on the way of a row, the change of the node's value is what its column adds
    (Saabas, 2014). The contributions and a number that is the same for all rows sum up to the log
    odds. Trees are summed in their order.

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
