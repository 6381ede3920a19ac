"""What is known of each unit: labels, metrics, other properties, and where it came from."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import plain_id
from si_curation.curation.history import label_sources, origins_of
from si_curation.errors import SiCurationError
from si_curation.exporters.nwb.columns import Column, ids_column, make_columns, quantities
from si_curation.extensions.template_assignment import TemplateAssignment
from si_curation.kernels.spike_files import with_small_ids
from si_curation.kernels.template_counts import count_templates
from si_curation.phy.folder import read_phy_folder
from si_curation.quality.metrics.registry import METRIC_DESCRIPTIONS
from si_curation.reading.observed import OBSERVED_PROPERTY
from si_curation.variables import NWB_UNITS

logger = logging.getLogger(__name__)

_NOT_COLUMNS = ("main_channel_id", "phy_folder", "original_cluster_id", OBSERVED_PROPERTY)
_FIRST = ("quality", "KSLabel")
# of these the descriptions are our own
_LABELS = ("quality", "KSLabel", "ContamPct", "Amplitude")


def unit_columns(
    analyzer: SortingAnalyzer, own_descriptions: Sequence[Mapping[str, Any]] = ()
) -> list[Column]:
    """Return labels, metrics and other properties of the units.

    Metrics come from the extensions "curation_metrics", "quality_metrics" and "template_metrics",
    where they are computed.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    own_descriptions : sequence of mapping
        ``UnitProperties`` of the metadata.

    Returns
    -------
    list of Column

    Raises
    ------
    ParameterError
        Some cannot be written.
    """
    sorting = analyzer.sorting
    properties = {
        name: sorting.get_property(name)
        for name in sorting.get_property_keys()
        if name not in _NOT_COLUMNS
    }
    values = {name: properties.pop(name) for name in _FIRST if name in properties}
    descriptions = {name: NWB_UNITS[name].meaning for name in _LABELS}
    for extension in ("curation_metrics", "quality_metrics", "template_metrics"):
        table, its = _metrics_of(analyzer, extension)
        for name in table.columns:
            if name in values:
                continue  # KSLabel, or the same metric
            values[name] = quantities(_plain(table[name]))
            descriptions[name] = its.get(name) or f"{name} of SpikeInterface's {extension}"
            properties.pop(name, None)
    values.update({name: column for name, column in properties.items() if name not in values})
    for name, texts, description in _label_sources(analyzer):
        values.setdefault(name, texts)
        descriptions.setdefault(name, description)
    for entry in own_descriptions:
        if entry.get("description"):
            descriptions[entry["name"]] = str(entry["description"])
    return make_columns(values, descriptions, len(analyzer.unit_ids))


def _label_sources(analyzer: SortingAnalyzer) -> Iterator[tuple[str, list[str], str]]:
    """Yield columns of who gave each label and when, of labels that a session gave any unit."""
    table = label_sources(analyzer)
    for field, rows in table[table["decided_by"] != ""].groupby("field", sort=False):
        name = "quality" if field == "group" else str(field)
        own = rows.set_index("unit_id")
        ids = [plain_id(unit_id) for unit_id in analyzer.unit_ids]
        for column, suffix, what in (
            ("decided_by", "decided_by", "who or what gave the label"),
            ("when", "decided_at", "when (UTC) the label was given"),
        ):
            texts = [str(own[column].get(unit_id, "")) for unit_id in ids]
            yield f"{name}_{suffix}", texts, f"{what} in {name}, where that is known"


def _metrics_of(analyzer: SortingAnalyzer, name: str) -> tuple[pd.DataFrame, dict[str, str]]:
    extension = analyzer.get_extension(name)
    if extension is None:
        return pd.DataFrame(index=analyzer.unit_ids), {}
    table = extension.get_data().reindex(analyzer.unit_ids)
    if name == "curation_metrics":
        return table, {column: str(METRIC_DESCRIPTIONS[column]) for column in table.columns}
    descriptions = {}
    for column, text in extension.get_metric_column_descriptions().items():
        if text and text != "no description":
            descriptions[column] = str(text).strip()
    return table, descriptions


def _plain(column: pd.Series) -> Any:
    """Return numbers of nullable columns as floats with NaN; the rest as it is."""
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        if column.isna().any():
            return column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
        return column.to_numpy(dtype=getattr(column.dtype, "numpy_dtype", column.dtype))
    return column


class Ragged:
    """A ragged column: values of all units, one after the other.

    Parameters
    ----------
    name, description : str
    data : array (n,) or list of str
    counts : array (n_units,)
        How many are of each unit.
    """

    def __init__(self, name: str, description: str, data: Any, counts: Any):
        self.name = name
        self.description = description
        self.data = data
        self.index = np.cumsum(np.asarray(counts, dtype=np.int64))


def lineage_columns(analyzer: SortingAnalyzer) -> list[Column | Ragged]:
    """Return where each unit came from: clusters of the folder, and templates of the sorter.

    Returns
    -------
    list
        ``original_cluster_ids``, ``main_template_id``, ``template_ids`` and
        ``template_spike_counts``, as far as they are known.
    """
    out: list[Column | Ragged] = []
    clusters = _original_clusters(analyzer)
    if clusters is not None:
        ids, counts = clusters
        out.append(
            Ragged(
                "original_cluster_ids",
                NWB_UNITS["original_cluster_ids"].meaning,
                ids_column(ids) if ids.dtype.kind in "iu" else [str(i) for i in ids],
                counts,
            )
        )
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None:
        return out
    by_unit = assignment.get_template_counts()
    out.append(
        Column(
            "main_template_id",
            NWB_UNITS["main_template_id"].meaning,
            ids_column(assignment.unit_template_ids),
        )
    )
    sizes = np.diff(by_unit.indptr)
    out.append(
        Ragged(
            "template_ids", NWB_UNITS["template_ids"].meaning, ids_column(by_unit.indices), sizes
        )
    )
    out.append(
        Ragged(
            "template_spike_counts",
            NWB_UNITS["template_spike_counts"].meaning,
            ids_column(by_unit.data),
            sizes,
        )
    )
    return out


def _original_clusters(analyzer: SortingAnalyzer) -> tuple[NDArray, NDArray] | None:
    """Return the ids of clusters, units one after the other, and how many of each unit."""
    assignment = analyzer.get_extension("template_assignment")
    if assignment is not None and assignment.source == "identity":
        counts = assignment.get_template_counts()
        names = np.array(assignment.info["template_unit_ids"])
        if np.issubdtype(analyzer.unit_ids.dtype, np.integer):
            names = names.astype(np.int64)
        return names[counts.indices], np.diff(counts.indptr)
    known = analyzer.sorting.get_property("original_cluster_id")
    origins = origins_of(analyzer)
    if origins is None and known is not None and np.array_equal(known, analyzer.unit_ids):
        return known, np.ones(len(known), dtype=np.int64)
    if assignment is not None:
        found = _clusters_in_folder(analyzer, assignment)
        if found is not None:
            return found
    if origins is not None:
        flat = [one for part in origins for one in part]
        return np.array(flat), np.array([len(part) for part in origins])
    return None


def _clusters_in_folder(
    analyzer: SortingAnalyzer, assignment: TemplateAssignment
) -> tuple[NDArray, NDArray] | None:
    """Return the same from ``spike_clusters.npy``; None where the folder is gone or another one."""
    folder_path = Path(str(assignment.info.get("phy_folder", "")))
    if not assignment.is_from_folder or not folder_path.is_dir():
        return None
    try:
        rows = assignment.get_spike_rows()
        rate = analyzer.sampling_frequency
        with read_phy_folder(folder_path, sampling_frequency=rate) as folder:
            spikes = spike_vector_of(analyzer.sorting)
            if rows.max(initial=-1) >= folder.num_spikes or not np.array_equal(
                np.asarray(folder.spike_samples)[rows],
                spikes["sample_index"] + assignment.frame_offset,
            ):
                logger.info("%s is not what the analyzer was read from any more", folder_path)
                return None
            clusters, small = with_small_ids(folder.spike_clusters, folder.cluster_ids)
            counts: sparse.csr_array = count_templates(
                spikes["unit_index"],
                np.asarray(clusters)[rows].astype(np.int32),
                len(analyzer.unit_ids),
                int(small.max(initial=-1)) + 1,
            )
            id_of_small = np.zeros(int(small.max(initial=-1)) + 1, dtype=np.int64)
            id_of_small[small] = folder.cluster_ids
            return id_of_small[counts.indices], np.diff(counts.indptr)
    except (SiCurationError, OSError) as fault:
        logger.info("original clusters cannot be read: %s", fault)
        return None
