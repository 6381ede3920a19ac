"""Lineage of the units: the sorter's templates that each unit came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import check_arguments, plain_id
from si_curation.errors import MissingDataError
from si_curation.kernels.spike_files import with_small_ids
from si_curation.kernels.template_counts import contingency_table, most_frequent_templates
from si_curation.phy.folder import read_phy_folder

EVENTS = ("unchanged", "merged", "split", "merged and split")


def reconstruct_lineage(
    source: str | Path | SortingAnalyzer, *, sampling_frequency: float | None = None
) -> pd.DataFrame:
    """Find the templates that each unit came from, and whether it was merged or split.

    Compares the spike templates, which never change, with the units. No history is needed.

    Parameters
    ----------
    source : str, Path or SortingAnalyzer
        A Kilosort/phy folder, or an analyzer with the extension "template_assignment".
    sampling_frequency : float, optional
        In Hz; for a folder without ``params.py``.

    Returns
    -------
    pandas.DataFrame
        Indexed by unit id, with the columns

        - ``event``: "unchanged" (all spikes of one template and no others), "merged" (all spikes of
          several templates), "split" (a part of one template's spikes), "merged and split" (spikes
          of several templates, and of at least one of them only a part) or "empty" (no spikes);
        - ``num_spikes``;
        - ``template_id``: the most frequent template; -1 for none;
        - ``templates``: tuple of (template id, number of the unit's spikes from it), most spikes
          first;
        - ``shares_templates_with``: tuple of the other units that have spikes from its templates.

    Raises
    ------
    MissingDataError
        The analyzer has no extension "template_assignment".
    PhyFolderError, FolderNotFoundError
        The folder does not exist or cannot be read.

    Notes
    -----
    The steps themselves are not known. A unit that was merged and then split off again is
    "unchanged" if its spikes are all spikes of one template.

    Examples
    --------
    >>> import si_curation as sic
    >>> lineage = sic.reconstruct_lineage(sic.example_folder())
    >>> lineage.event.loc[[4, 11, 13]].tolist()
    ['unchanged', 'split', 'merged']
    >>> lineage.templates[13]
    ((1, 625), (0, 410), (2, 295))
    """
    check_arguments(reconstruct_lineage, locals())
    if isinstance(source, SortingAnalyzer):
        extension = source.get_extension("template_assignment")
        if extension is None:
            raise MissingDataError(
                "lineage needs the extension 'template_assignment'; compute it first"
            )
        return _table(extension.get_template_counts(), source.unit_ids)
    with read_phy_folder(source, sampling_frequency=sampling_frequency) as folder:
        clusters, small = with_small_ids(folder.spike_clusters, folder.cluster_ids)
        num_rows = int(small.max(initial=-1)) + 1
        counts = contingency_table(clusters, folder.spike_templates, num_rows, folder.num_templates)
        return _table(counts[small], folder.cluster_ids)


def _table(counts: sparse.csr_array, unit_ids: NDArray[Any]) -> pd.DataFrame:
    by_template = sparse.csc_array(counts)
    per_template = np.asarray(counts.sum(axis=0)).ravel()
    found = most_frequent_templates(counts)
    rows = []
    for i in range(counts.shape[0]):
        ids = counts.indices[counts.indptr[i] : counts.indptr[i + 1]]
        numbers = counts.data[counts.indptr[i] : counts.indptr[i + 1]]
        order = np.lexsort((ids, -numbers))
        others = {
            int(j)
            for k in ids
            for j in by_template.indices[by_template.indptr[k] : by_template.indptr[k + 1]]
        } - {i}
        rows.append(
            {
                "event": _event(len(ids), bool(np.all(numbers == per_template[ids]))),
                "num_spikes": int(numbers.sum()),
                "template_id": int(found.template_ids[i]),
                "templates": tuple((int(ids[j]), int(numbers[j])) for j in order),
                "shares_templates_with": tuple(plain_id(unit_ids[j]) for j in sorted(others)),
            }
        )
    columns = ["event", "num_spikes", "template_id", "templates", "shares_templates_with"]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(unit_ids, name="unit_id"))


def _event(num_templates: int, has_all: bool) -> str:
    if num_templates == 0:
        return "empty"
    merged, split = num_templates > 1, not has_all
    return EVENTS[int(merged) + 2 * int(split)]
