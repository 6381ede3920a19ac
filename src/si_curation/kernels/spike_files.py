"""Facts of per-spike files: range and order in one pass, and the ids that occur."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import are_few, blocks, njit, read_only, run_blocks

_MAX_PRESENCE_TABLE = 1 << 26
_MAX_SMALL_ID = 1 << 22


class ValueRange(NamedTuple):
    """Smallest and largest value of an integer array, and whether it never decreases."""

    minimum: int
    maximum: int
    is_sorted: bool


@njit
def _range_of_block(values: NDArray[np.integer]) -> tuple[int, int, bool]:  # values (n,), n >= 1
    smallest = values[0]
    largest = values[0]
    num_falls = 0  # counted, not branched on: the loop stays a vector loop
    for i in range(1, values.size):
        smallest = min(smallest, values[i])
        largest = max(largest, values[i])
        num_falls += values[i] < values[i - 1]
    return smallest, largest, num_falls == 0


def value_range(values: NDArray[np.integer]) -> ValueRange:
    """Return minimum, maximum and order of an integer array in one pass.

    Parameters
    ----------
    values : array (n,), any integer dtype, n >= 1

    Returns
    -------
    ValueRange

    Examples
    --------
    >>> value_range(np.array([3, 5, 4]))
    ValueRange(minimum=3, maximum=5, is_sorted=False)
    """
    if are_few(values.size):
        is_sorted = bool(np.all(values[:-1] <= values[1:]))
        return ValueRange(int(values.min()), int(values.max()), is_sorted)
    values, pieces = read_only(values), blocks(values.size)
    found = run_blocks(lambda piece: _range_of_block(values[piece]), pieces)
    borders_sorted = all(
        values[piece.start - 1] <= values[piece.start] for piece in pieces if piece.start > 0
    )
    return ValueRange(
        min(int(low) for low, _, _ in found),
        max(int(high) for _, high, _ in found),
        borders_sorted and all(ok for _, _, ok in found),
    )


@njit
def _mark_present(values: NDArray[np.integer], present: NDArray[np.bool_]) -> None:
    # writing only what is new keeps the threads out of each other's caches; and that two may
    # write the same True is no race that matters
    for i in range(values.size):
        if not present[values[i]]:
            present[values[i]] = True


def unique_ids(values: NDArray[np.integer], maximum: int) -> NDArray[np.int64]:
    """Return the sorted ids that occur in an array of non-negative ids.

    Parameters
    ----------
    values : array (n,), any integer dtype, all >= 0
    maximum : int
        The largest value (or more).

    Returns
    -------
    array (n_ids,) int64

    Examples
    --------
    >>> unique_ids(np.array([7, 2, 7], dtype="uint32"), 7)
    array([2, 7])
    """
    if maximum >= _MAX_PRESENCE_TABLE:
        return np.unique(values).astype(np.int64)
    present = np.zeros(maximum + 1, dtype=bool)
    if are_few(values.size):
        present[values] = True
    else:
        values = read_only(values)
        run_blocks(lambda piece: _mark_present(values[piece], present), blocks(values.size))
    return np.flatnonzero(present).astype(np.int64)


def positions_of_ids(ids: NDArray[np.integer], maximum: int) -> NDArray[np.int32]:
    """Return the table id -> position in `ids`; -1 for ids that are not in it.

    Examples
    --------
    >>> positions_of_ids(np.array([2, 4]), maximum=4)
    array([-1, -1,  0, -1,  1], dtype=int32)
    """
    table = np.full(maximum + 1, -1, dtype=np.int32)
    table[ids] = np.arange(len(ids), dtype=np.int32)
    return table


def with_small_ids(
    values: NDArray[np.integer], ids: NDArray[np.int64]
) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """Replace ids by their positions where they are too large to index a table by.

    Parameters
    ----------
    values : array (n,) integer
    ids : array (n_ids,) int64
        The ids that occur, ascending.

    Returns
    -------
    values : array (n,) integer
        The input itself where its ids are small.
    small : array (n_ids,) int64
        What stands for each id in `values`.

    Examples
    --------
    >>> with_small_ids(np.array([5, 2**30, 5]), np.array([5, 2**30]))
    (array([0, 1, 0]), array([0, 1]))
    >>> with_small_ids(np.array([7, 3]), np.array([3, 7]))[0]
    array([7, 3])
    """
    if ids.size == 0 or ids[-1] < _MAX_SMALL_ID:
        return values, ids
    return np.searchsorted(ids, values), np.arange(ids.size, dtype=np.int64)


def has_nan(values: NDArray[np.floating]) -> bool:
    """Return whether a large array of floats holds a NaN.

    Examples
    --------
    >>> has_nan(np.array([[1.0, np.nan]]))
    True
    """

    def has_one(piece: slice) -> bool:
        with np.errstate(over="ignore", invalid="ignore"):  # set for each thread
            return bool(np.isnan(values[piece].sum()))

    sums = run_blocks(has_one, blocks(len(values)))
    # infinities of both signs add up to NaN too
    return any(sums) and bool(np.isnan(values).any())
