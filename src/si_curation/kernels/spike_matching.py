"""Which row of a folder each spike of a sorting is: by its sample and cluster, else by its sample.

Both lists are in the order of their samples, so that one pass over the two finds the spikes of each
sample side by side: no sorting, no table of keys.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit, read_only

_NONE = -1
_MANY_PAIRS = 4096  # of one sample: compared one by one up to here, sorted by cluster above
_NUM_PROBED = 64


def _match_sorted(clusters: NDArray, file_clusters: NDArray) -> NDArray[np.int64]:
    """Return which of the rows at one sample each spike there is; -1 for none."""
    order, file_order = (np.argsort(ids, kind="stable") for ids in (clusters, file_clusters))
    own, there = clusters[order], file_clusters[file_order]
    # the first spike of a cluster is its first row, and so on
    place = np.searchsorted(there, own) + np.arange(own.size) - np.searchsorted(own, own)
    has_row = (own >= 0) & (place < np.searchsorted(there, own, side="right"))
    found = np.full(own.size, _NONE, dtype=np.int64)
    found[order[has_row]] = file_order[place[has_row]]
    return found


class _Rows(NamedTuple):
    """The rows of the files."""

    samples: NDArray[np.integer]  # (n_rows,), ascending
    clusters: NDArray[np.integer]  # (n_rows,)
    are_used: NDArray[np.bool_]  # (n_rows,): by a spike


@njit
def _match_clusters(
    samples: NDArray,
    unit_index: NDArray,
    cluster_of_unit: NDArray,
    files: _Rows,
    offset: int,
    run: NDArray,
    rows: NDArray,
) -> bool:
    # samples, unit_index, rows (n,); run (4,): begin and end of the spikes and of the rows at one
    # sample, which are too many: it goes on where they end; returns whether there are such ones
    file_samples, file_clusters, used = files.samples, files.clusters, files.are_used
    n, num_rows = samples.size, file_samples.size
    i, j = run[1], run[3]
    while i < n and j < num_rows:
        sample = np.int64(samples[i]) + offset
        if file_samples[j] < sample:
            j += 1
            continue
        if file_samples[j] > sample:
            i += 1
            continue
        i_end, j_end = i + 1, j + 1
        while i_end < n and np.int64(samples[i_end]) + offset == sample:
            i_end += 1
        while j_end < num_rows and file_samples[j_end] == sample:
            j_end += 1
        if (i_end - i) * (j_end - j) > _MANY_PAIRS:
            run[0], run[1], run[2], run[3] = i, i_end, j, j_end
            return True
        for k in range(i, i_end):
            cluster = cluster_of_unit[unit_index[k]]
            if cluster < 0:
                continue
            for row in range(j, j_end):
                if not used[row] and file_clusters[row] == cluster:
                    used[row] = True
                    rows[k] = row
                    break
        i, j = i_end, j_end
    return False


def match_by_cluster(
    samples: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    cluster_of_unit: NDArray[np.int64],
    file_samples: NDArray[np.integer],
    file_clusters: NDArray[np.integer],
    offset: int = 0,
) -> NDArray[np.integer]:
    """Return the row of each spike: that of the same sample and of the cluster that its unit is.

    Of several spikes of one unit at one sample the first is the first such row, and so on.

    Parameters
    ----------
    samples : array (n_spikes,) integer
        Ascending.
    unit_index : array (n_spikes,) integer
    cluster_of_unit : array (n_units,) int64
        -1 for a unit that is no cluster.
    file_samples, file_clusters : array (n_rows,) integer
        Samples ascending.
    offset : int
        Sample of the files that is sample 0 of the spikes.

    Returns
    -------
    array (n_spikes,) int32 or int64
        -1 for spikes that have no such row.

    Examples
    --------
    >>> samples, units = np.array([10, 10, 12]), np.array([0, 1, 0])
    >>> rows, clusters = np.array([10, 10, 13]), np.array([5, 7, 7])
    >>> match_by_cluster(samples, units, np.array([7, 5]), rows, clusters)
    array([ 1,  0, -1], dtype=int32)
    """
    rows = np.full(len(samples), _NONE, dtype=_row_dtype(len(file_samples)))
    used = np.zeros(len(file_samples), dtype=np.bool_)
    files = _Rows(read_only(file_samples), read_only(file_clusters), used)
    of_spikes = read_only(samples), read_only(unit_index), read_only(cluster_of_unit)
    run = np.zeros(4, dtype=np.int64)
    while _match_clusters(*of_spikes, files, offset, run, rows):
        begin, end, first, last = run
        clusters = cluster_of_unit[unit_index[begin:end]]
        found = _match_sorted(clusters, file_clusters[first:last])
        rows[begin:end] = np.where(found >= 0, first + found, _NONE)
    return rows


def _row_dtype(num_rows: int) -> type[np.signedinteger]:
    return np.int32 if num_rows < 2**31 else np.int64


@njit
def _match_unique(
    spikes: NDArray,
    samples: NDArray,
    file_samples: NDArray,
    free: NDArray,
    offset: int,
    rows: NDArray,
    runs: NDArray,
) -> tuple[int, int]:
    # spikes (m,): those to match; samples, rows (n,); free (n_free,): rows that can be taken;
    # runs (num_runs, 4): begin and end in spikes and in free of samples that are left open; as
    # many as have room are noted, all are counted
    i = j = missing = num_runs = 0
    while i < spikes.size:
        sample = np.int64(samples[spikes[i]]) + offset
        while j < free.size and file_samples[free[j]] < sample:
            j += 1
        i_end, j_end = i + 1, j
        while i_end < spikes.size and np.int64(samples[spikes[i_end]]) + offset == sample:
            i_end += 1
        while j_end < free.size and file_samples[free[j_end]] == sample:
            j_end += 1
        missing += max(0, (i_end - i) - (j_end - j))
        if i_end - i == 1 and j_end - j == 1:
            rows[spikes[i]] = free[j]
        elif j_end > j:
            if num_runs < len(runs):
                runs[num_runs, 0], runs[num_runs, 1] = i, i_end
                runs[num_runs, 2], runs[num_runs, 3] = j, j_end
            num_runs += 1
        i, j = i_end, j_end
    return missing, num_runs


@njit
def _note_clusters(
    spikes: NDArray, unit_index: NDArray, rows: NDArray, small_cluster: NDArray, seen: NDArray
) -> None:
    # small_cluster (n_rows,); seen (n_units, n_clusters) bool
    for m in range(spikes.size):
        row = rows[spikes[m]]
        if row >= 0:
            seen[unit_index[spikes[m]], small_cluster[row]] = True


@njit
def _take_of_unit(
    run: NDArray,
    unit: int,
    unit_of: NDArray,
    cluster_of: NDArray,
    kind_of: NDArray,
    seen: NDArray,
    taken: NDArray,
    chosen: NDArray,
) -> int:
    # the spikes of one unit at one sample: as many rows of its clusters as spikes, or all alike
    # unit_of, chosen (m,): of the spikes to match; cluster_of, kind_of, taken (n_free,)
    wanted = candidates = 0
    alike, kind = True, np.int64(-1)
    for m in range(run[0], run[1]):
        wanted += unit_of[m] == unit and chosen[m] < 0
    for k in range(run[2], run[3]):
        if not taken[k] and seen[unit, cluster_of[k]]:
            alike &= candidates == 0 or kind_of[k] == kind
            kind = kind_of[k]
            candidates += 1
    if candidates < wanted or (candidates > wanted and not alike):
        return 0
    k = run[2]
    for m in range(run[0], run[1]):
        if unit_of[m] == unit and chosen[m] < 0:
            while taken[k] or not seen[unit, cluster_of[k]]:
                k += 1
            taken[k] = True
            chosen[m] = k
    return wanted


@njit
def _resolve(
    runs: NDArray,
    unit_of: NDArray,
    cluster_of: NDArray,
    kind_of: NDArray,
    seen: NDArray,
    chosen: NDArray,
) -> None:
    taken = np.zeros(cluster_of.size, dtype=np.bool_)
    for r in range(len(runs)):
        run = runs[r]
        changed = True
        while changed:
            changed = False
            for m in range(run[0], run[1]):
                if chosen[m] < 0:
                    found = _take_of_unit(
                        run, unit_of[m], unit_of, cluster_of, kind_of, seen, taken, chosen
                    )
                    changed |= found > 0


def _numbered(ids: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return numbers from 0 for ids; without sorting where they are small, as clusters are."""
    largest = int(ids.max(initial=-1))
    if largest > len(ids) + 1_000_000 or ids.min(initial=0) < 0:
        return np.unique(ids, return_inverse=True)[1]
    is_there = np.zeros(largest + 1, dtype=bool)
    is_there[ids] = True
    return (np.cumsum(is_there) - 1).astype(np.int32)[ids]


class SampleMatch(NamedTuple):
    """What is left open after spikes were matched by their samples.

    Attributes
    ----------
    missing : int
        Spikes that have no row at their sample that is not another spike's.
    ambiguous : int
        Spikes that more than one row could be.
    """

    missing: int
    ambiguous: int


def match_by_sample(
    rows: NDArray[np.integer],
    samples: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    file_samples: NDArray[np.integer],
    file_clusters: NDArray[np.integer],
    file_templates: NDArray[np.integer],
    offset: int = 0,
) -> SampleMatch:
    """Fill in the rows of spikes that have none yet, by their samples, where that is certain.

    A spike is the row at its sample where there is one of each. These tell which clusters each unit
    has spikes of. Where a sample has several, the spikes of a unit are the rows of its clusters:
    where there are as many, in their order, or where all are of one cluster and one template, the
    first ones. Each decision can make others certain. What stays open is counted, not guessed.

    Parameters
    ----------
    rows : array (n_spikes,) int
        -1 for spikes without a row. Changed in place.
    samples : array (n_spikes,) integer
        Ascending.
    unit_index : array (n_spikes,) integer
    file_samples, file_clusters, file_templates : array (n_rows,) integer
        Samples ascending.
    offset : int
        Sample of the files that is sample 0 of the spikes.

    Returns
    -------
    SampleMatch

    Examples
    --------
    >>> rows, units = np.array([-1, -1, -1]), np.array([0, 0, 1])
    >>> clusters = np.array([3, 4, 3])
    >>> match_by_sample(
    ...     rows, np.array([5, 9, 9]), units, np.array([5, 9, 9]), clusters, np.array([0, 1, 0])
    ... )
    SampleMatch(missing=0, ambiguous=1)
    >>> rows
    array([ 0,  2, -1])
    """
    dtype = _row_dtype(max(len(rows), len(file_samples)))
    spikes = np.flatnonzero(rows < 0).astype(dtype)
    is_free = np.ones(len(file_samples), dtype=bool)
    is_free[rows[rows >= 0]] = False
    free = np.flatnonzero(is_free).astype(dtype)
    del is_free
    none = np.empty((0, 4), dtype=np.int64)
    missing, num_runs = _match_unique(spikes, samples, file_samples, free, offset, rows, none)
    if num_runs and not missing:
        # few samples have several: only these take memory from here
        small_cluster = _numbered(file_clusters)
        runs = np.empty((num_runs, 4), dtype=np.int64)
        _match_unique(spikes, samples, file_samples, free, offset, rows, runs)
        num_units = int(unit_index.max(initial=-1)) + 1
        seen = np.zeros((num_units, int(small_cluster.max(initial=-1)) + 1), dtype=bool)
        _note_clusters(spikes, unit_index, rows, small_cluster, seen)
        open_spikes = spikes[_members(runs[:, 0], runs[:, 1])]
        free = free[_members(runs[:, 2], runs[:, 3])]
        num_templates = int(file_templates.max(initial=0)) + 1
        cluster_of = small_cluster[free].astype(np.int64)
        kind_of = cluster_of * num_templates + file_templates[free]
        chosen = np.full(open_spikes.size, _NONE, dtype=np.int64)
        _resolve(runs, unit_index[open_spikes], cluster_of, kind_of, seen, chosen)
        rows[open_spikes[chosen >= 0]] = free[chosen[chosen >= 0]]
    return SampleMatch(missing, int(np.count_nonzero(rows[spikes] < 0)) - missing)


def _members(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what is from each start to its stop; the runs are changed to places in that."""
    sizes = stops - starts
    ends = np.cumsum(sizes)
    members = np.arange(ends[-1]) + np.repeat(starts - (ends - sizes), sizes)
    starts[:], stops[:] = ends - sizes, ends
    return members


def find_offsets(
    samples: NDArray[np.integer], file_samples: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Return by how many samples the first spikes may have been moved against the files.

    Parameters
    ----------
    samples, file_samples : array (n,), (n_rows,) integer
        Ascending.

    Returns
    -------
    array (n_offsets,) int64
        Positive offsets at which the first 64 spikes are all in the files, and at least one spike
        of the files lies before sample 0 of the spikes, as where a slice was cut out.

    Examples
    --------
    >>> find_offsets(np.array([2, 5, 6]), np.array([1, 12, 15, 16, 30]))
    array([10])
    >>> find_offsets(np.array([2, 5, 6]), np.array([3, 6, 7]))
    array([], dtype=int64)
    """
    offsets = _offsets_of_first(samples, file_samples)
    return offsets[(offsets > 0) & (file_samples[:1].astype(np.int64).sum() < offsets)]


def find_starts(
    samples: NDArray[np.integer], file_samples: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Return at which samples the files may begin, if the last spikes are of them.

    Parameters
    ----------
    samples, file_samples : array (n,), (n_rows,) integer
        Ascending.

    Returns
    -------
    array (n_starts,) int64
        Samples of the spikes that are sample 0 of the files, at which as many of the last spikes as
        possible, up to 64, are in the files.

    Examples
    --------
    >>> find_starts(np.array([2, 5, 106, 111]), np.array([3, 6, 11, 30]))
    array([100])
    """
    last = np.asarray(samples[-_NUM_PROBED:]).astype(np.int64)
    return _offsets_of_first(-last[::-1], -file_samples.astype(np.int64)[::-1], all_of_them=False)


def _offsets_of_first(
    samples: NDArray[np.integer], file_samples: NDArray[np.integer], all_of_them: bool = True
) -> NDArray[np.int64]:
    """Return the offsets at which the first spikes are in the files: all, or those up to one."""
    if len(samples) == 0 or len(file_samples) == 0:
        return np.zeros(0, dtype=np.int64)
    first = samples[:_NUM_PROBED].astype(np.int64)
    values = file_samples.astype(np.int64, copy=False)
    offsets = np.unique(values - first[0])
    for sample in first[1:]:
        places = np.searchsorted(values, offsets + sample)
        left = offsets[values[np.minimum(places, values.size - 1)] == offsets + sample]
        if not left.size and not all_of_them:
            break
        offsets = left
    return offsets
