"""Which cluster of phy each unit becomes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import is_whole_number
from si_curation.errors import ParameterError

_MAX_ID = np.iinfo(np.int32).max - 1  # phylib reads clusters as int32, and adds 1


def whole_ids(unit_ids: NDArray | Sequence[Any]) -> NDArray[np.int64]:
    """Return the ids that can be cluster ids, -1 for all others (text, negative numbers).

    Examples
    --------
    >>> whole_ids(np.array([3, -2])), whole_ids(np.array(["a", "7"]))
    (array([ 3, -1]), array([-1, -1]))
    """
    ids = np.asarray(unit_ids)
    if ids.dtype.kind in "iu":
        fits = (ids >= 0) & (ids <= _MAX_ID)
        return np.where(fits, ids, -1).astype(np.int64)
    fitting = [i if is_whole_number(i) and 0 <= i <= _MAX_ID else -1 for i in ids.tolist()]
    return np.array(fitting, dtype=np.int64)


def cluster_ids_of_units(
    unit_ids: NDArray | Sequence[Any], first_new_id: int, taken: Collection[int] = ()
) -> NDArray[np.int64]:
    """Return a cluster id for each unit: its own if it is a whole number from 0, or a new one.

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
    """Return the dtype if it holds an id exactly, else the smallest wider one that phylib reads.

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
    """Return the spikes as a table (n_spikes, 3): sample, unit index, segment."""
    spikes = np.ascontiguousarray(spike_vector_of(sorting_analyzer.sorting))
    if len(spikes.dtype.names or ()) == 3 and all(spikes.dtype[i] == np.int64 for i in range(3)):
        return spikes.view(np.int64).reshape(-1, 3)
    return np.stack(
        [spikes[n].astype(np.int64) for n in ("sample_index", "unit_index", "segment_index")],
        axis=1,
    )
