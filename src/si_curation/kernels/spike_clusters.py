"""Clusters of the spikes of a folder: compared with an analyzer, and changed to its units."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import blocks, njit, read_only, run_blocks
from si_curation.variables import FileRows, TemplateIds


class FileMismatch(NamedTuple):
    """Number of spikes that differ from the files, by what differs."""

    rows: int
    samples: int
    templates: int
    clusters: int


@njit
def _compare(
    table: NDArray,
    template_ids: NDArray,
    rows: NDArray,
    cluster_of_unit: NDArray,
    samples: NDArray,
    templates: NDArray,
    clusters: NDArray,
    offset: int,
) -> tuple[int, int, int, int]:
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
            bad_samples += samples[row] != table[i, 0] + offset
            bad_templates += templates[row] != template_ids[i]
            bad_clusters += clusters[row] != cluster_of_unit[table[i, 1]]
    return bad_rows, bad_samples, bad_templates, bad_clusters


def compare_with_files(
    table: NDArray[np.int64],
    template_ids: TemplateIds,
    rows: FileRows,
    cluster_of_unit: NDArray[np.integer],
    samples: NDArray[np.int64],
    templates: NDArray[np.integer],
    clusters: NDArray[np.integer],
    frame_offset: int = 0,
) -> FileMismatch:
    """Count the spikes that differ from the rows of the files that they came from.

    Parameters
    ----------
    table : array (n_spikes, 3) int64
        Sample, unit index and segment of each spike.
    template_ids, rows : array (n_spikes,) integer
    cluster_of_unit : array (n_units,) integer
    samples, templates, clusters : array (n_rows,) integer
        The files.
    frame_offset : int
        Sample of the files that is sample 0 of the table.

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
    vector, own_templates, own_rows = read_only(table), read_only(template_ids), read_only(rows)
    files = read_only(samples), read_only(templates), read_only(clusters)

    def compare(b: slice) -> tuple[int, int, int, int]:
        return _compare(vector[b], own_templates[b], own_rows[b], ids, *files, frame_offset)

    found = run_blocks(compare, blocks(len(rows)))
    return FileMismatch(*(int(sum(counts)) for counts in zip((0, 0, 0, 0), *found, strict=True)))


@njit
def _assign(table: NDArray, rows: NDArray, cluster_of_unit: NDArray, out: NDArray) -> None:
    for i in range(rows.size):
        out[rows[i]] = cluster_of_unit[table[i, 1]]


@njit
def _changed_ids(before: NDArray, after: NDArray, changed: NDArray) -> None:
    # changed (largest id + 1,) bool
    for i in range(before.size):
        if before[i] != after[i]:
            changed[before[i]] = True
            changed[after[i]] = True


def assign_clusters(
    before: NDArray[np.integer],
    table: NDArray[np.int64],
    rows: FileRows,
    cluster_of_unit: NDArray[np.int64],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the cluster of every row of the folder, and the clusters whose spikes changed.

    Parameters
    ----------
    before : array (n_rows,) integer
        Clusters as they are in the folder; rows that no spike comes from keep theirs.
    table : array (n_spikes, 3) int64
        Sample, unit index and segment of each spike.
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
    """Return the ids of the clusters that do not have the same spikes before and after.

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
