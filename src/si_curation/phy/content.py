"""What a folder holds that curation changes, by value: to notice that another program changed it.

phy writes its files anew whenever it saves, in a form of its own. What counts is the cluster of
every spike and the cells of the tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import blocks, run_blocks
from si_curation.kernels.spike_files import unique_ids, value_range
from si_curation.phy.arrays import Findings, as_integers, as_vector, open_array
from si_curation.phy.tables import UNSORTED, ClusterTables

CLUSTERS = "spike_clusters.npy"
_CHUNK = 1 << 20
_KIND = "blocks:"  # begins a hash of hashes of blocks


def read_content(folder: Path) -> dict[str, Any]:
    """Read what a folder holds that curation may change, as plain data that JSON can hold.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict
        As `content_of` gives it; where there is no file of clusters that can be read, "" and no
        ids.
    """
    clusters, cells = _clusters_of(folder), cells_of(ClusterTables(folder))
    if clusters is None:
        return {"clusters": "", "cluster_ids": [], "cells": cells}
    return content_of(clusters, _ids_of(clusters), cells)


def content_of(
    clusters: NDArray[np.integer], cluster_ids: Iterable[int], cells: dict[str, dict[str, str]]
) -> dict[str, Any]:
    """Return what a folder holds, of what was read of it.

    Parameters
    ----------
    clusters : array (n_spikes,) integer
        Of every spike; where there is no file of clusters the spike templates, which phy copies
        when it opens the folder.
    cluster_ids : iterable of int
        Those that occur, ascending.
    cells : dict
        ``cells_of`` all tables but phy's snapshot.

    Returns
    -------
    dict
        ``clusters``: a hash of the cluster of every spike, for `same_clusters`. ``cluster_ids``.
        ``cells``: {column: {cluster id as text: text}}.
    """
    ids = [int(i) for i in cluster_ids]
    return {"clusters": _digest(clusters), "cluster_ids": ids, "cells": cells}


def same_clusters(folder: Path, now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Return whether every spike of a folder has the cluster that it had.

    Parameters
    ----------
    folder : Path
    now, before : mapping
        Of `read_content`. What earlier versions kept is a hash of another kind, which
        is made anew of the folder as it is.
    """
    if now["clusters"] == before["clusters"]:
        return True
    if not before["clusters"] or before["clusters"].startswith(_KIND):
        return False
    clusters = _clusters_of(folder)
    return clusters is not None and _digest_in_one_piece(clusters) == before["clusters"]


def cells_of(tables: ClusterTables) -> dict[str, dict[str, str]]:
    """Return the cells of all columns that have a value; the group "unsorted" is none."""
    return {
        name: {
            str(i): text
            for i, text in tables.cells(name).items()
            if not (name == "group" and text == UNSORTED)
        }
        for name in tables.column_names
    }


def changed_cells(
    before: Mapping[str, Mapping[str, str]], after: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, str]]:
    """Return the cells that differ, as pairs of column and cluster id.

    Examples
    --------
    >>> changed_cells({"group": {"4": "good", "5": "mua"}}, {"group": {"4": "good"}})
    [('group', '5')]
    """
    found = []
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name, {}), after.get(name, {})
        found += [(name, i) for i in dict.fromkeys([*old, *new]) if old.get(i) != new.get(i)]
    return found


def _clusters_of(folder: Path) -> NDArray[np.integer] | None:
    name = next((n for n in (CLUSTERS, "spike_templates.npy") if (folder / n).exists()), None)
    if name is None:
        return None
    findings = Findings()
    opened = as_vector(open_array(folder, name, findings), name, findings)
    return as_integers(opened, name, findings)


def _digest(clusters: NDArray[np.integer]) -> str:
    """Return a hash of values, whatever their dtype: that of the hashes of blocks."""

    def of_block(piece: slice) -> bytes:
        values = clusters[piece]
        narrow = np.ascontiguousarray(values, dtype="<i4")
        if values.dtype.itemsize > 4 or values.dtype.kind == "u":
            exact = np.array_equal(narrow, values)
            narrow = narrow if exact else np.ascontiguousarray(values, dtype="<i8")
        return hashlib.sha256(narrow.view(np.uint8).data).digest()

    of_blocks = run_blocks(of_block, blocks(clusters.size, _CHUNK))
    return _KIND + hashlib.sha256(b"".join(of_blocks)).hexdigest()


def _digest_in_one_piece(clusters: NDArray[np.integer]) -> str:
    """Return the hash that earlier versions kept."""
    digest = hashlib.sha256()
    for start in range(0, clusters.size, _CHUNK):
        digest.update(np.ascontiguousarray(clusters[start : start + _CHUNK], dtype="<i8").data)
    return digest.hexdigest()


def _ids_of(clusters: NDArray[np.integer]) -> list[int]:
    """Return the ids that occur; none where some are negative."""
    if clusters.size == 0:
        return unique_ids(clusters, 0).tolist()
    found = value_range(clusters)
    return unique_ids(clusters, max(found.maximum, 0)).tolist() if found.minimum >= 0 else []


def cluster_sizes(folder: Path, findings: Findings) -> dict[int, int] | None:
    """Return the number of spikes of each cluster of a folder, by ascending id.

    Parameters
    ----------
    folder : Path
    findings : Findings
        What is wrong with ``spike_clusters.npy`` (phy copies ``spike_templates.npy`` at first).

    Returns
    -------
    dict or None
        None where there is neither, or it cannot be read.
    """
    name = next((n for n in (CLUSTERS, "spike_templates.npy") if (folder / n).exists()), None)
    if name is None:
        return None
    opened = as_vector(open_array(folder, name, findings), name, findings)
    clusters = as_integers(opened, name, findings)
    if clusters is None:
        return None
    ids, counts = np.unique(clusters, return_counts=True)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))
