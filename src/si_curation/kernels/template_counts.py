"""How many spikes of each unit came from each template, and the most frequent one.

phy calls ``np.unique`` on the spike templates of one cluster at a time; here all units are counted
in one pass over the spikes, without sorting, into a hash table of the few pairs that occur.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from si_curation.kernels._numba import blocks, njit, run_blocks

_EMPTY = np.int64(-1)


@njit
def _slot(table, key, mask):
    # linear probing from a multiplicative hash (Knuth, TAOCP 3, section 6.4)
    slot = (key * np.int64(0x9E3779B97F4A7C1) >> 17) & mask
    while table[slot, 0] != _EMPTY and table[slot, 0] != key:
        slot = (slot + 1) & mask
    return slot


@njit
def _new_table(size):
    table = np.zeros((size, 2), dtype=np.int64)  # key, count
    table[:, 0] = _EMPTY
    return table


@njit
def _count_pairs(rows, cols, num_cols):  # rows, cols (n,) -> (n_pairs, 2) key, count
    size = 1024
    table = _new_table(size)
    used = 0
    for i in range(rows.size):
        key = np.int64(rows[i]) * num_cols + np.int64(cols[i])
        slot = _slot(table, key, size - 1)
        if table[slot, 0] == _EMPTY:
            table[slot, 0] = key
            used += 1
        table[slot, 1] += 1
        if 2 * used > size:
            bigger = _new_table(4 * size)
            for j in range(size):
                if table[j, 0] != _EMPTY:
                    bigger[_slot(bigger, table[j, 0], 4 * size - 1)] = table[j]
            table = bigger
            size *= 4
    out = np.empty((used, 2), dtype=np.int64)
    count = 0
    for j in range(size):
        if table[j, 0] != _EMPTY:
            out[count] = table[j]
            count += 1
    return out


def count_templates(
    unit_index: NDArray[np.integer],
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
    >>> count_templates(np.array([0, 0, 1]), np.array([2, 2, 0]), 2, 3).toarray()
    array([[0, 0, 2],
           [1, 0, 0]])
    """
    # few large blocks: each begins with a small empty table
    pieces = blocks(unit_index.size, rows_per_block=1 << 20)
    parts = run_blocks(
        lambda b: _count_pairs(unit_index[b], template_ids[b], num_templates), pieces
    )
    pairs = np.concatenate(parts) if parts else np.zeros((0, 2), dtype=np.int64)
    keys, which = np.unique(pairs[:, 0], return_inverse=True)
    counts = np.zeros(keys.size, dtype=np.int64)
    np.add.at(counts, which, pairs[:, 1])
    rows, columns = np.divmod(keys, max(num_templates, 1))
    start = np.searchsorted(rows, np.arange(num_units + 1))
    return sparse.csr_array((counts, columns, start), shape=(num_units, num_templates))


class MostFrequentTemplates(NamedTuple):
    """Per unit, arrays of length n_units."""

    template_ids: NDArray[np.int64]
    template_spike_counts: NDArray[np.int64]
    num_spikes: NDArray[np.int64]
    num_templates: NDArray[np.int64]


def most_frequent_templates(counts: sparse.csr_array) -> MostFrequentTemplates:
    """Find the template that most spikes of each unit came from.

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
        template_ids, template_spike_counts, num_spikes, np.diff(counts.indptr).astype(np.int64)
    )
