"""The extension `template_features` as the files that phy's TemplateFeatureView reads."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.files import new_array_file, write_file
from si_curation.kernels.parallel import blocks
from si_curation.phy.feature_files import open_spike_templates
from si_curation.reading.template_projections import projections_from_pc_features
from si_curation.variables import FileRows

logger = logging.getLogger(__name__)

FILE = "template_features.npy"
INDEX_FILE = "template_feature_ind.npy"
_ROWS_PER_BLOCK = 1 << 17


def write_template_features(
    sorting_analyzer: SortingAnalyzer,
    folder: Path,
    source: Path | None,
    rows_of_part: FileRows | None = None,
) -> bool:
    """Write ``template_features.npy`` and ``template_feature_ind.npy`` if the analyzer has them.

    phy fails on files that hold only some of the spikes, so that all spikes of the folder get a
    row. Spikes of the source folder that are not in the analyzer are projected from its
    ``pc_features.npy`` if the others were; else, and where a value is not known, there is 0, as phy
    shows it.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    folder : Path
        Where to write.
    source : Path or None
        The folder that the analyzer was read from.
    rows_of_part : array (n,) integer, optional
        The folder that is written has these rows of the source alone, ascending.

    Returns
    -------
    bool
        Whether they were written: not where the folder has them from the sorter.
    """
    extension = sorting_analyzer.get_extension("template_features")
    if extension is None or (folder / FILE).exists():
        return False
    index = np.asarray(extension.template_index, dtype=np.int32)
    assignment = sorting_analyzer.get_extension("template_assignment")
    values = extension.projections
    rows = np.arange(len(values)) if source is None else assignment.get_spike_rows()
    if rows_of_part is not None:
        rows, num_rows = np.searchsorted(rows_of_part, rows), rows_of_part.size
    else:
        num_rows = len(values) if source is None else open_spike_templates(source).size
    if num_rows < 2:
        logger.info("%s is left out: phylib cannot read it for one spike", FILE)
        return False
    # phylib takes one column, or the row of one template, for a vector
    shape = max(len(index), 2), max(index.shape[1], 2)
    table = np.full(shape, -1, dtype=np.int32)
    table[: len(index), : index.shape[1]] = index
    with new_array_file(folder / FILE, (num_rows, shape[1]), np.float32) as out:
        for piece in blocks(len(values), _ROWS_PER_BLOCK):
            out[rows[piece], : index.shape[1]] = np.nan_to_num(values[piece])
        if source is not None and len(values) < num_rows:
            written = out[:, : index.shape[1]]
            _project_others(extension, assignment, rows, written, rows_of_part)
    write_file(folder / INDEX_FILE, table)
    return True


def _project_others(
    extension: Any,
    assignment: Any,
    rows: NDArray,
    out: NDArray,
    rows_of_part: FileRows | None,
) -> None:
    """Project the spikes of the folder that are not in the analyzer, where that can be done."""
    is_known = np.zeros(len(out), dtype=bool)
    is_known[rows] = True
    others = np.flatnonzero(~is_known)
    if extension.source != "pc_features":
        logger.info(
            "%s: %d spikes that are not in the analyzer have no projections: 0", FILE, others.size
        )
        return
    whole = assignment.get_spikes_of_folder()
    in_source = others if rows_of_part is None else rows_of_part[others]
    template_ids = open_spike_templates(whole.folder)[in_source].astype(np.int32)
    found = projections_from_pc_features(
        assignment.get_feature_files(),
        whole.replace_spikes(in_source, template_ids),
        assignment.get_template_similarity(),
        extension.params["num_templates"],
        extension.params["feature_channels"],
    )
    for piece in blocks(others.size, _ROWS_PER_BLOCK):
        values = np.empty((piece.stop - piece.start, out.shape[1]), dtype=np.float32)
        found.fill(piece, values)
        out[others[piece]] = np.nan_to_num(values)
