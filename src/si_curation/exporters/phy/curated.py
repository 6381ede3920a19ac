"""What a folder becomes by the curation of the analyzer that was read from it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import is_number
from si_curation.curation.history import FieldLabels, labels_of_sessions
from si_curation.errors import FolderNotFoundError, ParameterError, PhyFolderError
from si_curation.exporters.phy.clusters import (
    cluster_ids_of_units,
    dtype_for_ids,
    spike_table,
    whole_ids,
)
from si_curation.files import Content
from si_curation.kernels.spike_clusters import (
    assign_clusters,
    changed_clusters,
    compare_with_files,
)
from si_curation.kernels.spike_files import value_range
from si_curation.phy.arrays import Findings, as_integers, as_vector, open_array, read_npy_header
from si_curation.phy.content import CLUSTERS as CLUSTERS_FILE
from si_curation.phy.content import cells_of, changed_cells, read_content
from si_curation.phy.file_groups import template_of_each_spike
from si_curation.phy.tables import (
    NAME_COLUMN,
    SNAPSHOT,
    SORTER_COLUMNS,
    UNSORTED,
    ClusterColumn,
    ClusterTables,
    cast_value,
    read_tables,
)
from si_curation.phy.writing import format_value
from si_curation.reading.reader import property_name
from si_curation.variables import FileRows

TEMPLATES_FILE = "spike_templates.npy"


class SourceSpikes(NamedTuple):
    """The per-spike files of the folder; in memory maps."""

    samples: NDArray[np.int64]
    templates: NDArray[np.integer]
    clusters: NDArray[np.integer]
    detection: NDArray[np.integer] | None = None  # what spike_templates.npy holds in their place


@dataclass
class CuratedFiles:
    """The files of a folder that curation changes.

    Attributes
    ----------
    files : dict of str to bytes, array or None
        By name; None: to be removed. Files that are not here stay as they are.
    cluster_of_unit : array (n_units,) int64
    clusters_changed : bool
        Whether any spike changes its cluster.
    content_before : dict
        What the folder holds now, as `read_content` gives it.
    replaced_cells : list of (str, str)
        Column and cluster id of the cells that get another value, or none.
    """

    cluster_of_unit: NDArray[np.int64]
    clusters_changed: bool
    content_before: dict[str, Any] = field(default_factory=dict)
    replaced_cells: list[tuple[str, str]] = field(default_factory=list)
    files: dict[str, Content | None] = field(default_factory=dict)


def source_folder_of(sorting_analyzer: SortingAnalyzer) -> Path | None:
    """Return the folder that an analyzer was read from, None if it was not read from one.

    The extension "template_assignment" knows; the sorting's annotation is lost in merges.
    """
    extension = sorting_analyzer.get_extension("template_assignment")
    if extension is None or not extension.is_from_folder:
        return None
    folder = extension.info.get("phy_folder")
    return None if folder is None else Path(folder)


def plan_curation(
    sorting_analyzer: SortingAnalyzer,
    source: Path,
    curation: str = "keep",
    columns: Mapping[str, Mapping[Any, str | None]] | None = None,
    rows_of_part: FileRows | None = None,
) -> CuratedFiles:
    """Return which files of a folder change, and to what; nothing is written.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Read from `source`.
    source : Path
    curation : {"keep", "discard"}
    columns : mapping, optional
        {column: {unit id: text or None}}.
    rows_of_part : array (n_spikes of `source`,) integer, optional
        `source` is the folder of one session: the row of each of its spikes in the folder that the
        analyzer was read from, ascending. Its times begin at 0, and phy's snapshot is of the whole.

    Returns
    -------
    CuratedFiles
        Arrays in it are in memory, no maps of files.

    Raises
    ------
    FolderNotFoundError, PhyFolderError
        The folder is gone, cannot be read, or is not (any more) what the analyzer was read from.
    """
    check_source(source)
    findings = Findings()
    spikes = _open_spikes(source, findings, _num_templates(sorting_analyzer))
    known = read_tables(source, findings)
    if findings.with_severity("error") or spikes is None:
        raise PhyFolderError(source, findings.with_severity("error"))
    table = spike_table(sorting_analyzer)
    rows, offset = _rows_in_files(sorting_analyzer, rows_of_part)
    num_units = len(sorting_analyzer.unit_ids)
    own_ids = whole_ids(sorting_analyzer.unit_ids)
    moved = _check_match(sorting_analyzer, source, spikes, (table, rows, offset), own_ids)
    tables, content = ClusterTables(source), read_content(source)
    taken = tables.take_from_snapshot(content["cluster_ids"])
    if curation == "discard":
        after = np.array(spikes.templates)
        changed = changed_clusters(spikes.clusters, after)
        plan = CuratedFiles(np.zeros(0, dtype=np.int64), changed.size > 0)
        _discard_labels(tables, changed, _num_templates(sorting_analyzer))
    else:
        ids, changed, after = own_ids, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
        if moved or (own_ids < 0).any():
            ids = _cluster_ids(sorting_analyzer, spikes, table, rows)
            after, changed = assign_clusters(spikes.clusters, table, rows, ids)
        plan = CuratedFiles(ids, changed.size > 0)
        cluster_of = dict(zip(sorting_analyzer.unit_ids.tolist(), ids.tolist(), strict=True))
        _keep_labels(sorting_analyzer, tables, known, ids, changed)
        for name, its in labels_of_sessions(sorting_analyzer).items():
            _set_labels(tables, name, its, cluster_of, frozenset(changed.tolist()))
        counts = np.bincount(table[:, 1], minlength=num_units) if (ids != own_ids).any() else None
        _name_units(sorting_analyzer, tables, ids, counts)
        for name, texts in (columns or {}).items():
            tables.set_column(name, {cluster_of[unit]: text for unit, text in texts.items()})
    if plan.clusters_changed:
        plan.files[CLUSTERS_FILE] = _as_in_file(source, after)
        if spikes.detection is not None:  # the clusters were all there was of the templates
            plan.files[TEMPLATES_FILE] = np.array(spikes.templates)
            plan.files["spike_detection_templates.npy"] = np.array(spikes.detection)
    plan.files.update(tables.changed_files())
    plan.content_before = content
    cells = changed_cells(content["cells"], cells_of(tables))
    plan.replaced_cells = [(name, i) for name, i in cells if i in content["cells"].get(name, {})]
    if plan.files or rows_of_part is not None:
        plan.files.update(tables.files_now(taken))
        plan.files.update(dict.fromkeys(tables.snapshots))
    return plan


def _rows_in_files(
    analyzer: SortingAnalyzer, rows_of_part: FileRows | None
) -> tuple[FileRows, int]:
    """Return the row of each spike in a folder, and the sample of it at which the times begin."""
    assignment = analyzer.get_extension("template_assignment")
    rows = FileRows(assignment.get_spike_rows())
    if rows_of_part is None:
        return rows, assignment.frame_offset
    return FileRows(np.searchsorted(rows_of_part, rows)), 0


def check_source(source: Path) -> None:
    """Raise if the folder that an analyzer was read from is gone.

    Raises
    ------
    FolderNotFoundError
    """
    if not source.is_dir():
        raise FolderNotFoundError(
            f"{source}, which the analyzer was read from, is not there any more; the export "
            "needs its files. Put it back, or read it from where it is now with "
            "read_kilosort_as_analyzer"
        )


def check_apart(target: Path, source: Path) -> None:
    """Raise if an output folder is the folder that was read, is in it, or holds it.

    Parameters
    ----------
    target : Path
        Links resolved.
    source : Path

    Raises
    ------
    ParameterError
    """
    source = source.resolve()
    both_exist = target.exists() and source.exists()
    if target == source or (both_exist and os.path.samefile(target, source)):
        where = "is"
    elif source in target.parents:
        where = "is inside"
    elif target in source.parents:
        where = "holds"
    else:
        return
    raise ParameterError(
        f"output_folder {target} {where} the folder that the analyzer was read from, {source}: "
        "give a folder beside it, or use update_phy_folder to change it in place"
    )


def _open_spikes(source: Path, findings: Findings, num_templates: int) -> SourceSpikes | None:
    arrays: list[Any] = []
    names = ["spike_times.npy", "spike_templates.npy", CLUSTERS_FILE]
    if not (source / CLUSTERS_FILE).exists():
        names[2] = names[1]  # as phy, which copies it
    for name in names:
        if not (source / name).exists():
            findings.error(name, "is missing", "copy it from the sorter's output")
        length = arrays[0].size if arrays and arrays[0] is not None else None
        values = as_vector(open_array(source, name, findings), name, findings, length)
        arrays.append(as_integers(values, name, findings))
    if any(array is None for array in arrays):
        return None
    if arrays[2].size and value_range(arrays[2]).minimum < 0:
        findings.error(names[2], "holds negative ids", "restore the file that phy wrote")
        return None
    samples, stored, clusters = arrays
    templates = template_of_each_spike(source, stored, clusters, num_templates, findings)
    if templates is None:
        return None
    return SourceSpikes(samples, templates, clusters, None if templates is stored else stored)


def _check_match(
    analyzer: SortingAnalyzer,
    source: Path,
    spikes: SourceSpikes,
    own: tuple[NDArray[np.int64], FileRows, int],  # table, rows, and sample that is sample 0
    own_ids: NDArray[np.int64],
) -> int:
    """Raise unless the spikes are those of the files; count those that changed their cluster."""
    template_ids = analyzer.get_extension("template_assignment").get_spike_template_ids()
    table, rows, offset = own
    if len(rows) != len(table):
        raise ParameterError("template_assignment does not fit the spikes of this analyzer")
    found = compare_with_files(table, template_ids, rows, own_ids, *spikes[:3], offset)
    problems = []
    if found.rows:
        problems.append(
            f"{found.rows} spikes are from rows beyond its {spikes.samples.size} spikes"
        )
    if found.samples:
        problems.append(f"{found.samples} spikes are at other samples in spike_times.npy")
    if found.templates:
        problems.append(f"{found.templates} spikes have other templates in spike_templates.npy")
    if problems:
        findings = Findings()
        findings.error(
            source.name,
            "is not what the analyzer was read from: " + ", ".join(problems),
            "was it sorted again? read it again with read_kilosort_as_analyzer",
        )
        raise PhyFolderError(source, findings)
    return found.clusters


def _num_templates(analyzer: SortingAnalyzer) -> int:
    return analyzer.get_extension("template_assignment").template_ids.size


def _cluster_ids(
    analyzer: SortingAnalyzer, spikes: SourceSpikes, table: NDArray[np.int64], rows: FileRows
) -> NDArray[np.int64]:
    """Keep unit ids where they can be; new ones where rows left in the folder have the id."""
    largest = int(spikes.clusters.max(initial=0))
    taken = set()
    if len(rows) < spikes.clusters.size:
        left = np.ones(spikes.clusters.size, dtype=bool)
        left[rows] = False
        own = whole_ids(analyzer.unit_ids)
        for position in np.flatnonzero(np.isin(own, np.unique(spikes.clusters[left]))):
            of_unit = rows[table[:, 1] == position]
            if not np.any(spikes.clusters[of_unit] == own[position]):
                taken.add(int(own[position]))
    first_new = max(largest + 1, _num_templates(analyzer))
    return cluster_ids_of_units(analyzer.unit_ids, first_new, taken)


def _as_in_file(source: Path, clusters: NDArray) -> NDArray:
    """Return the clusters in the dtype and shape of the file that they replace."""
    name = CLUSTERS_FILE if (source / CLUSTERS_FILE).exists() else "spike_templates.npy"
    with (source / name).open("rb") as file:
        shape, dtype = read_npy_header(file)
    dtype = dtype_for_ids(dtype, int(clusters.max(initial=0)))
    return clusters.astype(dtype, copy=False).reshape(shape)


def _keep_labels(
    analyzer: SortingAnalyzer,
    tables: ClusterTables,
    known: Mapping[str, ClusterColumn],
    ids: NDArray[np.int64],
    changed: NDArray[np.int64],
) -> None:
    """Rows of clusters that are the same stay; labels come from the properties of the analyzer.

    A label of the folder that another program has changed since it was read stays, where the
    analyzer's is the one that was read.
    """
    read = analyzer.get_extension("template_assignment").info.get("read_content", {})
    tables.drop_clusters(changed)
    is_changed = np.isin(ids, changed)
    for name in dict.fromkeys([*tables.column_names, "group"]):
        column = known.get(name, ClusterColumn(name, {}, ""))
        if column.file.startswith(SNAPSHOT) and name not in tables.column_names:
            column = ClusterColumn(name, {}, "")
        is_text = any(isinstance(value, str) for value in column.values.values())
        now = analyzer.sorting.get_property(property_name(name))
        if now is None or not (is_text or name == "group"):
            continue  # numbers of a cluster that changed would be those of another one
        cells = read.get("cells", {}).get(name, {})
        as_read = ClusterColumn(name, {int(i): cast_value(cell) for i, cell in cells.items()}, "")
        now, before = _texts(now), _texts(column.to_array(ids))
        first = _texts(as_read.to_array(ids))
        if name == "group":
            now, before, first = map(_without_unsorted, (now, before, first))
        texts: dict[int, str | None] = {}
        for cluster_id, text, old, at_first, has_changed in zip(
            ids.tolist(), now, before, first if read else before, is_changed, strict=True
        ):
            if has_changed and text:
                texts[cluster_id] = text
            elif not has_changed and text not in (old, at_first) and (text or name == "group"):
                texts[cluster_id] = text or None
        if name == "group" and texts:
            tables.set_column(name, texts)
            _drop_unsorted(tables)
        else:
            tables.update(name, texts)


def _set_labels(
    tables: ClusterTables,
    name: str,
    labels: FieldLabels,
    cluster_of: Mapping[Any, int],
    changed: Collection[int],
) -> None:
    """Write the labels of one field of sessions; a new field gets a table of its own.

    Other labels of the field stay as they are in the folder, where phy may have changed them since.
    """
    is_new = name not in tables.column_names
    cells = tables.cells(name)
    texts: dict[int, str | None] = {}
    for unit_id, cluster_id in cluster_of.items():
        value = labels.values.get(unit_id)
        is_told = is_new or unit_id in labels.labelled or cluster_id in changed
        if is_told and not _says(cells.get(cluster_id), value):
            texts[cluster_id] = format_value(value)
    if not is_new:
        tables.update(name, texts)
    elif any(texts.values()):
        tables.set_column(name, texts)


def _says(text: str | None, value: Any) -> bool:
    """Return whether the text of a cell is a value already, in whatever form: 1.0 is 1."""
    if text is None or value is None:
        return text is value
    return text == format_value(value) or (is_number(value) and cast_value(text) == value)


def _drop_unsorted(tables: ClusterTables) -> None:
    cells = tables.cells("group")
    tables.update("group", {i: None for i, text in cells.items() if text == UNSORTED})


def _texts(values: NDArray) -> list[str]:
    """Return the values of a property as text, "" where there is none."""
    if values.dtype.kind == "f":
        return ["" if np.isnan(value) else str(value) for value in values]
    if values.dtype.kind == "O":
        return ["" if value is None or value != value else str(value) for value in values.tolist()]
    return values.astype("U").tolist()


def _without_unsorted(texts: list[str]) -> list[str]:
    return ["" if text in (UNSORTED, "nan") else text[:32] for text in texts]


def _name_units(
    analyzer: SortingAnalyzer,
    tables: ClusterTables,
    ids: NDArray[np.int64],
    counts: NDArray[np.int64] | None,
) -> None:
    """Write the names of units that have other ids in phy, beside those that are there."""
    if counts is None:
        return
    named = {
        int(cluster_id): str(unit_id)
        for cluster_id, unit_id, own, count in zip(
            ids, analyzer.unit_ids, whole_ids(analyzer.unit_ids), counts, strict=True
        )
        if own != cluster_id and count
    }
    if named:
        tables.set_column(NAME_COLUMN, named)


def _discard_labels(tables: ClusterTables, changed: NDArray[np.int64], num_templates: int) -> None:
    """Leave what the sorter wrote of its templates."""
    tables.drop_clusters(changed)
    for name in tables.column_names:
        if name not in SORTER_COLUMNS:
            tables.drop_column(name)
    tables.drop_clusters([i for i in tables.cluster_ids() if i >= num_templates])
