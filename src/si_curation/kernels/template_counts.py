"""Counts of the spikes of each unit by template, and the most frequent template.

phy calls ``np.unique`` on the spike templates of one cluster at a time; here all units are counted
in one pass over the spikes, without sorting: into a table of all pairs where that is small, else
into a hash table of the few pairs that occur.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from si_curation.kernels.hash_table import EMPTY, enlarged, slot_of
from si_curation.kernels.parallel import are_few, blocks, njit, read_only, run_blocks
from si_curation.variables import UnitIndices

_MAX_DENSE_CELLS = 1 << 22  # a table of every possible pair, where it stays small


@njit
def _count_dense(
    rows: NDArray[np.integer], cols: NDArray[np.integer], num_cols: int, table: NDArray[np.uint32]
) -> None:  # rows, cols (n,); table (num_rows * num_cols,)
    # unsigned: an index that may be negative would cost a test for each spike
    width = np.uint64(num_cols)
    for i in range(rows.size):
        table[np.uint64(rows[i]) * width + np.uint64(cols[i])] += np.uint32(1)


@njit
def _count_until_half_full(
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    num_cols: int,
    start: int,
    used: int,
    keys: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> tuple[int, int]:
    # keys, counts (size,); returns the row it came to and the number of keys
    for i in range(start, rows.size):
        key = np.int64(rows[i]) * num_cols + np.int64(cols[i])
        slot = slot_of(keys, key)
        if keys[slot] == EMPTY:
            if 2 * used >= keys.size:
                return i, used
            keys[slot] = key
            used += 1
        counts[slot] += 1
    return rows.size, used


def _count_hashed(
    rows: NDArray[np.integer], cols: NDArray[np.integer], num_cols: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    keys, counts = np.full(1 << 14, EMPTY), np.zeros(1 << 14, dtype=np.int64)
    done = used = 0
    while done < rows.size:
        done, used = _count_until_half_full(rows, cols, num_cols, done, used, keys, counts)
        if done < rows.size:
            keys, counts = enlarged(keys, counts)
    filled = keys != EMPTY
    return keys[filled], counts[filled]


def _count_pairs(
    rows: NDArray[np.integer], cols: NDArray[np.integer], num_rows: int, num_cols: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sorted keys (row * num_cols + col) that occur, and how often."""
    if are_few(rows.size):
        keys = np.asarray(rows, dtype=np.int64) * num_cols + np.asarray(cols, dtype=np.int64)
        return np.unique(keys, return_counts=True)
    rows, cols = read_only(rows), read_only(cols)
    if num_rows * num_cols <= _MAX_DENSE_CELLS:
        # a block and a table for each thread: sums of integers do not depend on their borders
        size = -(-rows.size // numba.get_num_threads())
        pieces = blocks(rows.size, min(max(1 << 20, size), 1 << 31))
        tables = [np.zeros(num_rows * num_cols, dtype=np.uint32) for _ in pieces]
        run_blocks(
            lambda i: _count_dense(rows[pieces[i]], cols[pieces[i]], num_cols, tables[i]),
            list(range(len(pieces))),
        )
        table = tables[0] if rows.size < 1 << 32 else tables[0].astype(np.int64)
        for other in tables[1:]:
            table += other
        keys = np.flatnonzero(table)
        return keys, table[keys].astype(np.int64)
    parts = run_blocks(
        lambda b: _count_hashed(rows[b], cols[b], num_cols), blocks(rows.size, 1 << 22)
    )
    keys, which = np.unique(np.concatenate([key for key, _ in parts]), return_inverse=True)
    counts = np.zeros(keys.size, dtype=np.int64)
    np.add.at(counts, which, np.concatenate([count for _, count in parts]))
    return keys, counts


def contingency_table(
    rows: NDArray[np.integer], columns: NDArray[np.integer], num_rows: int, num_columns: int
) -> sparse.csr_array:
    """Count how often each pair of a row and a column occurs.

    Parameters
    ----------
    rows : array (n,) integer, values in [0, num_rows)
    columns : array (n,) integer, values in [0, num_columns)
    num_rows, num_columns : int

    Returns
    -------
    scipy CSR array (num_rows, num_columns) int64
        Columns sorted, no explicit zeros.

    Examples
    --------
    >>> contingency_table(np.array([0, 0, 1]), np.array([2, 2, 0]), 2, 3).toarray()
    array([[0, 0, 2],
           [1, 0, 0]])
    """
    if rows.size == 0:
        return sparse.csr_array((num_rows, num_columns), dtype=np.int64)
    keys, counts = _count_pairs(rows, columns, num_rows, num_columns)
    row_of_key, column_of_key = np.divmod(keys, max(num_columns, 1))
    start = np.searchsorted(row_of_key, np.arange(num_rows + 1))
    return sparse.csr_array((counts, column_of_key, start), shape=(num_rows, num_columns))


def count_templates(
    unit_index: UnitIndices,
    template_ids: NDArray[np.integer],
    num_units: int,
    num_templates: int,
) -> sparse.csr_array:
    """Count the spikes of each unit by template.

    Parameters
    ----------
    unit_index : array (n_spikes,) integer, values in [0, num_units)
    template_ids : array (n_spikes,) integer, values in [0, num_templates)
    num_units, num_templates : int

    Returns
    -------
    scipy CSR array (num_units, num_templates) int64
        Columns sorted, no explicit zeros.

    Examples
    --------
    >>> units, templates = UnitIndices(np.array([0, 0, 1])), np.array([2, 2, 0])
    >>> count_templates(units, templates, 2, 3).toarray()
    array([[0, 0, 2],
           [1, 0, 0]])
    """
    return contingency_table(unit_index, template_ids, num_units, num_templates)


class MostFrequentTemplates(NamedTuple):
    """The most frequent template of each unit.

    Attributes
    ----------
    template_ids : array (n_units,) int64
        -1 for a unit without spikes.
    template_spike_counts, num_spikes : array (n_units,) int64
        Spikes of that template, and all spikes.
    num_templates : array (n_units,) int64
        Templates with spikes of the unit.
    """

    template_ids: NDArray[np.int64]
    template_spike_counts: NDArray[np.int64]
    num_spikes: NDArray[np.int64]
    num_templates: NDArray[np.int64]


def most_frequent_templates(counts: sparse.csr_array) -> MostFrequentTemplates:
    """Return the template that most spikes of each unit came from.

    Ties go to the lowest template id, as in phy (``np.unique`` then ``argmax``). A unit without
    spikes gets template -1 and zero counts.

    Parameters
    ----------
    counts : scipy CSR array (n_units, n_templates), columns sorted

    Returns
    -------
    MostFrequentTemplates

    Examples
    --------
    >>> counts = sparse.csr_array(np.array([[3, 3, 1], [0, 0, 0]]))
    >>> most_frequent_templates(counts).template_ids
    array([ 0, -1])
    """
    num_units = counts.shape[0]
    unit_of_entry = np.repeat(np.arange(num_units), np.diff(counts.indptr))
    # by unit, then falling count, then rising template: the first entry of each unit is its answer
    order = np.lexsort((counts.indices, -counts.data, unit_of_entry))
    has_spikes = np.diff(counts.indptr) > 0
    first = order[counts.indptr[:-1][has_spikes]]
    template_ids = np.full(num_units, -1, dtype=np.int64)
    template_spike_counts = np.zeros(num_units, dtype=np.int64)
    template_ids[has_spikes] = counts.indices[first]
    template_spike_counts[has_spikes] = counts.data[first]
    num_spikes = np.asarray(counts.sum(axis=1)).ravel().astype(np.int64)
    return MostFrequentTemplates(
        template_ids,
        template_spike_counts,
        num_spikes,
        np.diff(counts.indptr).astype(np.int64),
    )
