"""Counts of `cross_correlograms`: of which pairs, after changes of units, and their memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.errors import MissingDataError, ParameterError
from si_curation.kernels.correlogram_bins import LagCells
from si_curation.kernels.correlograms import count_chosen_pairs, count_pairs, prepare_spikes

_FEW = 8  # up to a number of units / _FEW, changed units are counted against all one by one


def _spike_arrays(analyzer: SortingAnalyzer) -> tuple[NDArray, NDArray, NDArray]:
    """Return sample, unit and segment index of all spikes."""
    spikes = spike_vector_of(analyzer.sorting)
    return spikes["sample_index"], spikes["unit_index"], spikes["segment_index"]


def available_memory() -> float:
    """Return the free memory in bytes; all of it, or infinity, where that is not known."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    return float("inf")


def refuse_if_too_large(num_units: int, cells: LagCells, num_bins: int) -> None:
    """Raise `ParameterError` where counts of all pairs would not fit into memory."""
    stored = num_units**2 * cells.num_cells * 4
    given = num_units**2 * num_bins * 8
    available = available_memory()
    if stored + given > available:
        raise ParameterError(
            f"cross-correlograms of all pairs of {num_units} units need "
            f"{stored / 1e9:.1f} GB, and {given / 1e9:.1f} GB more when they are asked for; "
            f"{available / 1e9:.1f} GB are free. Use pairs='neighbours' (units that share best "
            "channels), pairs='auto', wider bins or a smaller window"
        )


def neighbours(analyzer: SortingAnalyzer) -> NDArray[np.int64]:
    """Return the pairs of units that share any of their best channels, each unit with itself too.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        With the extension "template_best_channels".

    Returns
    -------
    array (n_pairs, 2) int64
        Unit indices a <= b, sorted.

    Raises
    ------
    MissingDataError
        The analyzer does not have the extension.
    """
    extension = analyzer.get_extension("template_best_channels")
    if extension is None:
        raise MissingDataError(
            "pairs='neighbours' needs the extension 'template_best_channels'; compute it first "
            "(analyzer.compute('template_best_channels')), or use pairs='all' or 'auto'"
        )
    channels = list(extension.get_data(outputs="indices").values())
    sizes = [len(some) for some in channels]
    num_units = len(sizes)
    units = np.repeat(np.arange(num_units), sizes)
    columns = np.concatenate([np.zeros(0, dtype=np.int64), *channels])
    shape = (num_units, analyzer.get_num_channels())
    uses = sparse.csr_array((np.ones(units.size, dtype=np.int32), (units, columns)), shape=shape)
    shares = sparse.coo_array(uses @ uses.T)
    keep = shares.row < shares.col
    found = np.stack([shares.row[keep], shares.col[keep]], axis=1).astype(np.int64)
    return _sorted(np.concatenate([autos(num_units), found]))


def inherited_pairs(
    pairs: NDArray[np.int64], parents: Sequence[NDArray[np.integer]]
) -> NDArray[np.int64]:
    """Return the pairs of new units of which any old units were a pair.

    Parameters
    ----------
    pairs : array (n_pairs, 2)
        Of old units.
    parents : sequence of array
        For each new unit the old ones that its spikes come from.

    Examples
    --------
    >>> inherited_pairs(np.array([[0, 0], [0, 1], [1, 1]]), [np.array([0]), np.array([0, 1])])
    array([[0, 0], [0, 1], [1, 1]])
    """
    num_old = int(pairs.max(initial=-1)) + 1
    sizes = [len(group) for group in parents]
    new = np.repeat(np.arange(len(parents)), sizes)
    old = np.concatenate([np.zeros(0, dtype=np.int64), *parents])
    num_old = max(num_old, int(old.max(initial=-1)) + 1)
    of = sparse.csr_array((np.ones(new.size), (new, old)), shape=(len(parents), num_old))
    known = sparse.csr_array(
        (np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(num_old, num_old)
    )
    found = sparse.coo_array(of @ (known + known.T) @ of.T)
    keep = found.row < found.col
    between = np.stack([found.row[keep], found.col[keep]], axis=1).astype(np.int64)
    return _sorted(np.concatenate([autos(len(parents)), between]))


def pairs_after_change(
    kind: str,
    old_pairs: NDArray[np.int64],
    parents: Sequence[NDArray[np.integer]],
    new_analyzer: SortingAnalyzer,
) -> NDArray[np.int64]:
    """Return the pairs after a merge or split; inherited where there are no best channels.

    Parameters
    ----------
    kind : {"neighbours", "auto"}
    old_pairs, parents
        As of `inherited_pairs`.
    new_analyzer : SortingAnalyzer
    """
    if kind == "auto":
        return autos(len(parents))
    if new_analyzer.has_extension("template_best_channels"):
        return neighbours(new_analyzer)
    return inherited_pairs(old_pairs, parents)


def autos(num_units: int) -> NDArray[np.int64]:
    """Return each unit with itself: array (num_units, 2)."""
    return np.repeat(np.arange(num_units, dtype=np.int64)[:, None], 2, axis=1)


def _sorted(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def count_all(analyzer: SortingAnalyzer, cells: LagCells) -> NDArray[np.integer]:
    """Count all pairs: array (n_units, n_units, n_cells)."""
    samples, units, segments = _spike_arrays(analyzer)
    num_units = len(analyzer.unit_ids)
    spikes = prepare_spikes(samples, units, segments, num_units, cells.max_lag)
    return count_pairs(spikes, num_units, cells)


def count_some(
    analyzer: SortingAnalyzer, pairs: NDArray[np.int64], cells: LagCells
) -> NDArray[np.integer]:
    """Count chosen pairs: array (n_pairs, 2, n_cells)."""
    samples, units, segments = _spike_arrays(analyzer)
    num_units = len(analyzer.unit_ids)
    return count_chosen_pairs(samples, units, segments, num_units, pairs, cells, narrow=True)


def add_up(counts: NDArray[np.integer], groups: Sequence[NDArray[np.integer]]) -> NDArray:
    """Add up the counts of merged units.

    Parameters
    ----------
    counts : array (n_old, n_old, n_cells) uint32 or int64
    groups : sequence of array
        For each new unit the old ones that it is made of.

    Returns
    -------
    array (n_new, n_new, n_cells)
        Every pair of spikes of two merged units is a pair of the new one.

    Examples
    --------
    >>> counts = np.array([[1, 2], [3, 4]], dtype="uint32")[:, :, None]
    >>> add_up(counts, [np.array([0, 1])]).ravel()
    array([10], dtype=uint32)
    """
    largest = max((len(group) for group in groups), default=1)
    bound = int(counts.max(initial=0)) * largest**2
    dtype = np.uint32 if bound < 1 << 32 else np.int64
    first = np.array([group[0] for group in groups], dtype=np.int64)
    if largest <= 1:
        return counts[np.ix_(first, first)].astype(dtype, copy=False)
    new = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    old = np.concatenate([*groups])
    ones = np.ones(old.size, dtype=dtype)
    members = sparse.csr_array((ones, (new, old)), shape=(len(groups), len(counts)))
    out = np.empty((len(groups), len(groups), counts.shape[2]), dtype=dtype)
    for row, group in enumerate(groups):  # row by row: there is no room for another copy
        out[row] = members @ counts[group].sum(axis=0, dtype=dtype)
    return out


def recount(
    counts: NDArray[np.integer],
    changed: NDArray[np.integer],
    analyzer: SortingAnalyzer,
    cells: LagCells,
) -> NDArray[np.integer]:
    """Count changed units against all again; other counts stay.

    Parameters
    ----------
    counts : array (n_units, n_units, n_cells)
        Written to.
    changed : array (n_changed,)
        Unit indices in `analyzer`.
    analyzer : SortingAnalyzer
    cells : LagCells

    Returns
    -------
    array (n_units, n_units, n_cells)
    """
    num_units = len(counts)
    if len(changed) * _FEW > num_units:
        return count_all(analyzer, cells)
    others = np.tile(np.arange(num_units, dtype=np.int64), len(changed))
    pairs = np.stack([np.repeat(changed, num_units), others], axis=1)
    found = count_some(analyzer, pairs, cells)
    if found.dtype.itemsize > counts.dtype.itemsize:
        counts = counts.astype(found.dtype)
    counts[pairs[:, 0], pairs[:, 1]] = found[:, 0]
    counts[pairs[:, 1], pairs[:, 0]] = found[:, 1]
    return counts


def recount_pairs(
    pairs: NDArray[np.int64],
    old_pairs: NDArray[np.int64],
    old_counts: NDArray[np.integer],
    old_index: NDArray[np.int64],
    analyzer: SortingAnalyzer,
    cells: LagCells,
) -> NDArray[np.integer]:
    """Keep the counts of pairs of unchanged units and count the others.

    Parameters
    ----------
    pairs : array (n_pairs, 2)
        Wanted: unit indices in `analyzer`, a <= b.
    old_pairs : array (n_old_pairs, 2)
    old_counts : array (n_old_pairs, 2, n_cells)
    old_index : array (n_units,)
        Index of each unit before the change; -1 for one that changed.
    analyzer : SortingAnalyzer
    cells : LagCells

    Returns
    -------
    array (n_pairs, 2, n_cells)
    """
    row_of = {(int(a), int(b)): row for row, (a, b) in enumerate(old_pairs)}
    rows = np.full(len(pairs), -1, dtype=np.int64)
    is_swapped = np.zeros(len(pairs), dtype=bool)
    for p, (a, b) in enumerate(old_index[pairs]):
        rows[p] = row_of.get((int(min(a, b)), int(max(a, b))), -1)
        is_swapped[p] = a > b
    known = rows >= 0
    if known.all():
        found = old_counts[:0]
    else:
        found = count_some(analyzer, pairs[~known], cells)
    dtype = np.result_type(found.dtype, old_counts.dtype)
    out = np.empty((len(pairs), 2, cells.num_cells), dtype=dtype)
    out[known] = old_counts[rows[known]]
    out[is_swapped & known] = out[is_swapped & known][:, ::-1]
    out[~known] = found
    return out
