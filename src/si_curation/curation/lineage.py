"""What happened to the sorter's templates: which went into which unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from spikeinterface.core import SortingAnalyzer

from si_curation.errors import MissingDataError
from si_curation.kernels.spike_files import with_small_ids
from si_curation.kernels.template_counts import count_templates, most_frequent_templates
from si_curation.phy.folder import read_phy_folder

EVENTS = ("unchanged", "merged", "split", "merged and split")


def reconstruct_lineage(
    source: str | Path | SortingAnalyzer, *, sampling_frequency: float | None = None
) -> pd.DataFrame:
    """Tell of each unit which templates it came from, and what was done to it.

    From spike templates, which never change, against units: no history is needed.

    Parameters
    ----------
    source : str, Path or SortingAnalyzer
        A Kilosort/phy folder, or an analyzer with the extension "template_assignment".
    sampling_frequency : float, optional
        In Hz; for a folder without ``params.py``.

    Returns
    -------
    pandas.DataFrame
        Indexed by unit id: ``event`` ("unchanged": all spikes of one template and no others;
        "merged": all spikes of several templates; "split": a part of one template's spikes;
        "merged and split": spikes of several templates, of one at least a part only;
        "empty": no spikes), ``num_spikes``, ``template_id`` (most frequent; -1 for none),
        ``templates`` (tuple of (template id, spikes of the unit from it), most spikes first) and
        ``shares_templates_with`` (tuple of the other units that have spikes of its templates).

    Raises
    ------
    MissingDataError
        The analyzer has no "template_assignment".
    PhyFolderError, FolderNotFoundError
        The folder cannot be read.

    Notes
    -----
    A unit of which all spikes were in another one before and came back by a split is told from its
    templates alone: "unchanged" means that its spikes are those of one template, however they got
    there.

    Examples
    --------
    >>> import si_curation as sic
    >>> lineage = sic.reconstruct_lineage(sic.example_folder())
    >>> lineage.event.loc[[4, 11, 13]].tolist()
    ['unchanged', 'split', 'merged']
    >>> lineage.templates[13]
    ((1, 625), (0, 410), (2, 295))
    """
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
        counts = count_templates(clusters, folder.spike_templates, num_rows, folder.num_templates)
        return _table(counts[small], folder.cluster_ids)


def _table(counts: sparse.csr_array, unit_ids: Any) -> pd.DataFrame:
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
                "shares_templates_with": tuple(_plain(unit_ids[j]) for j in sorted(others)),
            }
        )
    columns = ["event", "num_spikes", "template_id", "templates", "shares_templates_with"]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(unit_ids, name="unit_id"))


def _event(num_templates: int, has_all: bool) -> str:
    if num_templates == 0:
        return "empty"
    merged, split = num_templates > 1, not has_all
    return EVENTS[int(merged) + 2 * int(split)]


def _plain(unit_id: Any) -> Any:
    return unit_id.item() if isinstance(unit_id, np.generic) else unit_id
