"""Which cluster of phy each unit becomes, and which cluster each spike of the folder is in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.errors import ParameterError
from si_curation.kernels.parallel import blocks, njit, run_blocks

_MAX_ID = np.iinfo(np.int32).max - 1  # phylib reads clusters as int32, and adds 1


def whole_ids(unit_ids: NDArray | Sequence) -> NDArray[np.int64]:
    """Give the ids that can be cluster ids, -1 for all others (text, negative numbers).

    Examples
    --------
    >>> whole_ids(np.array([3, -2])), whole_ids(np.array(["a", "7"]))
    (array([ 3, -1]), array([-1, -1]))
    """
    ids = np.asarray(unit_ids)
    if ids.dtype.kind in "iu":
        fits = (ids >= 0) & (ids <= _MAX_ID)
        return np.where(fits, ids, -1).astype(np.int64)
    return np.array(
        [
            int(i)
            if isinstance(i, int | np.integer) and not isinstance(i, bool) and 0 <= i <= _MAX_ID
            else -1
            for i in ids.tolist()
        ],
        dtype=np.int64,
    )


def cluster_ids_of_units(
    unit_ids: NDArray | Sequence, first_new_id: int, taken: Collection[int] = ()
) -> NDArray[np.int64]:
    """Give each unit a cluster id: its own where that is a whole number from 0, else a new one.

    Parameters
    ----------
    unit_ids : array (n_units,)
    first_new_id : int
        New ids are not below it, and above all ids that are kept.
    taken : collection of int
        Ids that belong to other clusters: units of these ids get new ones.

    Returns
    -------
    array (n_units,) int64

    Raises
    ------
    ParameterError
        There are no ids left that phy can read.

    Examples
    --------
    >>> cluster_ids_of_units(np.array(["a", "b"]), first_new_id=20)
    array([20, 21])
    >>> cluster_ids_of_units(np.array([3, -1]), first_new_id=2)
    array([3, 4])
    """
    ids = whole_ids(unit_ids)
    ids[np.isin(ids, np.array(sorted(taken), dtype=np.int64))] = -1
    first = max(first_new_id, int(whole_ids(unit_ids).max(initial=-1)) + 1)
    new = ids < 0
    ids[new] = first + np.arange(np.count_nonzero(new))
    if ids.max(initial=0) > _MAX_ID:
        raise ParameterError(
            f"unit ids go up to {ids.max()}, but phy reads cluster ids as 32 bit integers; "
            "give the units smaller ids"
        )
    return ids


def dtype_for_ids(dtype: np.dtype, largest_id: int) -> np.dtype:
    """Give the dtype if it holds an id exactly, else the smallest wider one that phylib reads.

    Examples
    --------
    >>> dtype_for_ids(np.dtype("uint16"), 70_000), dtype_for_ids(np.dtype("uint16"), 7)
    (dtype('int32'), dtype('uint16'))
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        largest = 2 ** (np.finfo(dtype).nmant + 1)
    else:
        largest = np.iinfo(dtype).max
    if largest_id <= largest:
        return dtype
    if dtype.itemsize < 2 and largest_id <= np.iinfo(np.uint16).max:
        return np.dtype(np.uint16)
    return np.dtype(np.int32)


def spike_table(sorting_analyzer: SortingAnalyzer) -> NDArray[np.int64]:
    """Give the spikes as a table (n_spikes, 3): sample, unit index, segment."""
    spikes = np.ascontiguousarray(sorting_analyzer.sorting.to_spike_vector())
    if len(spikes.dtype.names or ()) == 3 and all(spikes.dtype[i] == np.int64 for i in range(3)):
        return spikes.view(np.int64).reshape(-1, 3)
    return np.stack(
        [spikes[n].astype(np.int64) for n in ("sample_index", "unit_index", "segment_index")],
        axis=1,
    )


class FileMismatch(NamedTuple):
    """How many spikes are not where the files say, by what does not agree."""

    rows: int
    samples: int
    templates: int
    clusters: int


@njit
def _compare(table, template_ids, rows, cluster_of_unit, samples, templates, clusters):
    # table (n, 3): sample, unit, segment; rows (n,): row of each spike in the files
    bad_rows = 0
    bad_samples = 0
    bad_templates = 0
    bad_clusters = 0
    num_rows = samples.size
    for i in range(rows.size):
        row = rows[i]
        if row < 0 or row >= num_rows:
            bad_rows += 1
        else:
            bad_samples += samples[row] != table[i, 0]
            bad_templates += templates[row] != template_ids[i]
            bad_clusters += clusters[row] != cluster_of_unit[table[i, 1]]
    return bad_rows, bad_samples, bad_templates, bad_clusters


def compare_with_files(
    table: NDArray[np.int64],
    template_ids: NDArray[np.integer],
    rows: NDArray[np.integer],
    cluster_of_unit: NDArray[np.integer],
    samples: NDArray[np.int64],
    templates: NDArray[np.integer],
    clusters: NDArray[np.integer],
) -> FileMismatch:
    """Count the spikes that differ from the rows of the files that they came from.

    Parameters
    ----------
    table : array (n_spikes, 3) int64
    template_ids, rows : array (n_spikes,) integer
    cluster_of_unit : array (n_units,) integer
    samples, templates, clusters : array (n_rows,) integer
        The files.

    Returns
    -------
    FileMismatch

    Examples
    --------
    >>> table = np.array([[10, 0, 0], [12, 0, 0]])
    >>> files = np.array([[12, 11], [0, 0], [5, 6]])
    >>> compare_with_files(table, np.array([0, 0]), np.array([1, 0]), np.array([5]), *files)
    FileMismatch(rows=0, samples=1, templates=0, clusters=1)
    """
    ids = cluster_of_unit.astype(np.int32)

    def compare(b: slice) -> tuple[int, int, int, int]:
        return _compare(table[b], template_ids[b], rows[b], ids, samples, templates, clusters)

    found = run_blocks(compare, blocks(len(rows)))
    return FileMismatch(*(int(sum(counts)) for counts in zip((0, 0, 0, 0), *found, strict=True)))


@njit
def _assign(table, rows, cluster_of_unit, out):
    for i in range(rows.size):
        out[rows[i]] = cluster_of_unit[table[i, 1]]


@njit
def _changed_ids(before, after, changed):  # changed (largest id + 1,) bool
    for i in range(before.size):
        if before[i] != after[i]:
            changed[before[i]] = True
            changed[after[i]] = True


def assign_clusters(
    before: NDArray[np.integer],
    table: NDArray[np.int64],
    rows: NDArray[np.integer],
    cluster_of_unit: NDArray[np.int64],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Give the cluster of every row of the folder, and the clusters whose spikes changed.

    Parameters
    ----------
    before : array (n_rows,) integer
        Clusters as they are in the folder; rows that no spike comes from keep theirs.
    table : array (n_spikes, 3) int64
    rows : array (n_spikes,) integer
    cluster_of_unit : array (n_units,) int64

    Returns
    -------
    array (n_rows,) int32
    array (n_changed,) int64
        Ids of the clusters that have lost or gained spikes, old and new ones.

    Examples
    --------
    >>> table = np.array([[10, 0, 0], [12, 0, 0]])
    >>> clusters, changed = assign_clusters(
    ...     np.array([1, 1, 2]), table, np.array([0, 2]), np.array([5])
    ... )
    >>> clusters.tolist(), changed.tolist()
    ([5, 1, 5], [1, 2, 5])
    """
    after = before.astype(np.int32)
    ids = cluster_of_unit.astype(np.int32)
    run_blocks(lambda b: _assign(table[b], rows[b], ids, after), blocks(len(rows)))
    return after, changed_clusters(before, after)


def changed_clusters(before: NDArray[np.integer], after: NDArray[np.integer]) -> NDArray[np.int64]:
    """Give the ids of the clusters that do not have the same spikes before and after.

    Examples
    --------
    >>> changed_clusters(np.array([1, 2, 3]), np.array([1, 4, 3]))
    array([2, 4])
    """
    largest = max(int(before.max(initial=0)), int(after.max(initial=0)))
    if largest > 1 << 26:
        differ = before != after
        return np.union1d(before[differ], after[differ]).astype(np.int64)
    changed = np.zeros(largest + 1, dtype=bool)
    run_blocks(lambda b: _changed_ids(before[b], after[b], changed), blocks(len(before)))
    return np.flatnonzero(changed).astype(np.int64)
