"""The Kilosort folder behind an analyzer that SpikeInterface made: which row each spike is.

A folder is attached where every spike of the analyzer is a row of it, without doubt: by sample and
cluster; where units were merged, split or renamed elsewhere, by sample, and by the clusters that
the unit is seen to have spikes of. Nothing is attached by half.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import (
    is_joined,
    rec_attributes_of,
    spike_vector_of,
    start_frames_of,
)
from si_curation.checks import local_path
from si_curation.errors import ParameterError
from si_curation.kernels.spike_files import with_small_ids
from si_curation.kernels.spike_matching import (
    SampleMatch,
    find_offsets,
    match_by_cluster,
    match_by_sample,
)
from si_curation.kernels.spike_vector import is_every_row, take_rows
from si_curation.kernels.template_counts import contingency_table
from si_curation.phy.content import cells_of, content_of
from si_curation.phy.folder import PhyFolder, read_phy_folder
from si_curation.phy.tables import ClusterTables
from si_curation.reading.assignment import assignment_of_folder
from si_curation.reading.observed import observed_text_after
from si_curation.reading.probe import match_channels_of_analyzer, shanks_of_folder
from si_curation.reading.templates import Unwhiten, templates_if_there
from si_curation.variables import FileRows, TemplateIds

_SHOWN = 10


class AttachedFolder(NamedTuple):
    """What attaching a folder gives.

    Attributes
    ----------
    assignment : dict
        Data of the extension `template_assignment`.
    groups : dict
        {unit id: phy's group} of the units that are one cluster of the folder as it is now.
    changed : tuple of str
        What differs between the units and the clusters of the folder.
    observed : str or None
        The part that was sorted, as `si_curation.reading.observed` keeps it; None: everything.
    shanks : array (n_folder_channels,)
        Shank of each channel of the folder.
    """

    assignment: dict[str, Any]
    groups: dict[Any, str]
    changed: tuple[str, ...]
    observed: str | None
    shanks: NDArray[np.integer]


def attach_folder(
    analyzer: SortingAnalyzer,
    folder_path: str | Path,
    frame_offset: int | None = None,
    unwhiten: Unwhiten | Literal[False] = "auto",
) -> AttachedFolder:
    """Match every spike of an analyzer to its row of a folder; the analyzer is not changed.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    folder_path : str or Path
    frame_offset : int, optional
        Sample of the folder that is sample 0 of the analyzer; None: 0, or where a slice begins.
    unwhiten : {"auto", "phy", False}

    Returns
    -------
    AttachedFolder

    Raises
    ------
    FolderNotFoundError, PhyFolderError
        The folder is gone, or cannot be read.
    ParameterError
        Its spikes or channels are not those of the analyzer.
    """
    # first: they may change meanwhile
    cells = cells_of(ClusterTables(local_path(folder_path, "folder_path")))
    with read_phy_folder(folder_path, sampling_frequency=analyzer.sampling_frequency) as folder:
        check_rate(analyzer, folder)
        channels = match_channels_of_analyzer(analyzer, folder)
        spikes = FileSpikes.of(folder)
        matched = _match(analyzer, spikes, frame_offset, folder)
        # mostly all rows in their order, which are quicker to copy than to pick
        rows = None if is_every_row(matched.rows, folder.num_spikes) else FileRows(matched.rows)
        template_ids = take_rows(folder.spike_templates, rows, np.int32)
        templates = templates_if_there(folder, unwhiten, gains_of(analyzer, channels, folder))
        data = assignment_of_folder(
            folder, templates, FileRows(matched.rows), TemplateIds(template_ids), channels
        )
        content = content_of(folder.spike_clusters, folder.cluster_ids, cells)
        data["template_info"]["read_content"] = content
        data["template_info"].update(attached=True, frame_offset=matched.offset)
        unit_index = spike_vector_of(analyzer.sorting)["unit_index"]
        groups, changed = compare_clusters(analyzer, folder, rows, unit_index)
        observed = observed_text_after(folder, analyzer, matched.offset)
        shanks = np.array(shanks_of_folder(folder))
    return AttachedFolder(data, groups, changed, observed, shanks)


def check_rate(analyzer: SortingAnalyzer, folder: PhyFolder) -> None:
    """Raise where the sampling frequency is another one."""
    ours, its = float(analyzer.sampling_frequency), folder.params.get("sample_rate")
    if isinstance(its, int | float) and not np.isclose(ours, its, rtol=1e-5, atol=1e-2):
        raise ParameterError(
            f"{folder.folder} is not the folder of this analyzer: its sampling frequency is "
            f"{its} Hz, that of the analyzer {ours} Hz"
        )


def gains_of(
    analyzer: SortingAnalyzer, channels: NDArray[np.integer], folder: PhyFolder
) -> NDArray[np.float64] | None:
    """Return the gain of each channel of the folder, where the analyzer is in µV."""
    known = rec_attributes_of(analyzer)["properties"].get("gain_to_uV")
    if not analyzer.return_in_uV or known is None:
        return None
    gains = np.full(folder.num_channels, np.nan)
    gains[channels[channels >= 0]] = np.asarray(known, dtype=np.float64)[channels >= 0]
    if np.isnan(gains).all():
        return None
    return np.where(np.isnan(gains), np.nanmedian(gains), gains)


class FileSpikes(NamedTuple):
    """The spikes of a folder in the order of their samples."""

    samples: NDArray[np.int64]
    clusters: NDArray[np.integer]
    templates: NDArray[np.integer]
    order: NDArray[np.int64] | None  # row in the files of each; None: as they are

    @staticmethod
    def of(folder: PhyFolder) -> FileSpikes:
        """Return the spikes of a folder."""
        arrays = [
            np.asarray(one)
            for one in (folder.spike_samples, folder.spike_clusters, folder.spike_templates)
        ]
        if folder.spikes_are_sorted:
            return FileSpikes(arrays[0], arrays[1], arrays[2], None)
        order = np.argsort(arrays[0], kind="stable")
        return FileSpikes(arrays[0][order], arrays[1][order], arrays[2][order], order)


class Match(NamedTuple):
    """Rows of spikes in the files of a folder, and the sample of it that is sample 0."""

    rows: NDArray[np.integer]  # (n_spikes,) row in the files
    offset: int


class Unmatched(NamedTuple):
    """What is left open at the offset at which the least is.

    Attributes
    ----------
    offset : int
    left : SampleMatch
    """

    offset: int
    left: SampleMatch


def match_spikes(
    samples: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    clusters: NDArray[np.int64],
    spikes: FileSpikes,
    offsets: Iterable[int],
) -> Match | Unmatched:
    """Return the rows of spikes in the files of a folder, where all of them are certain.

    Parameters
    ----------
    samples, unit_index : array (n_spikes,) integer
        Samples ascending.
    clusters : array (n_units,) int64
        That units say they are; -1 for none.
    spikes : FileSpikes
    offsets : iterable of int
        Samples of the folder that may be sample 0 of the spikes, in the order to try them.

    Returns
    -------
    Match or Unmatched
    """
    best: Unmatched | None = None
    for offset in offsets:
        rows = _rows_by_cluster(unit_index, samples, clusters, spikes, offset)
        left = SampleMatch(0, 0)
        if rows.size and rows.min() < 0:
            left = match_by_sample(rows, samples, unit_index, *spikes[:3], offset)
        if not sum(left):
            if spikes.order is not None:
                rows = spikes.order[rows].astype(rows.dtype)
            return Match(rows, offset)
        if best is None or sum(left) < sum(best.left):
            best = Unmatched(offset, left)
    if best is None:
        raise RuntimeError("there is always an offset to try")
    return best


def _match(
    analyzer: SortingAnalyzer, spikes: FileSpikes, frame_offset: int | None, folder: PhyFolder
) -> Match:
    vector = spike_vector_of(analyzer.sorting)
    samples = samples_of_recording(analyzer, vector)
    offsets = _offsets(analyzer, samples, spikes, frame_offset)
    found = match_spikes(
        samples, vector["unit_index"], clusters_of_units(analyzer), spikes, offsets
    )
    if isinstance(found, Match):
        return found
    _refuse(folder, analyzer, found.offset, found.left, frame_offset)


def _refuse(
    folder: PhyFolder, analyzer: SortingAnalyzer, offset: int, found: SampleMatch, asked: int | None
) -> NoReturn:
    num_spikes = analyzer.sorting.count_total_num_spikes()
    at = f" (sample 0 of the analyzer taken as sample {offset} of the folder)" if offset else ""
    if found.missing:
        text = (
            f"{found.missing} of {num_spikes} spikes of the analyzer are not in {folder.folder}, "
            f"which has {folder.num_spikes} spikes{at}: another session, or times that were moved"
        )
        text += "" if asked is not None else "; if a slice moved them, give frame_offset="
        if is_joined(analyzer):
            text += (
                "; the recording is put together from several, and of sortings that were appended "
                "or concatenated only the first folder is known: give all of them in their order, "
                "kilosort_folder=[...]"
            )
        raise ParameterError(text)
    raise ParameterError(
        f"{found.ambiguous} of {num_spikes} spikes of the analyzer could be more than one spike of "
        f"{folder.folder}{at}, which are at the same sample; where spikes were removed in a merge, "
        "merge without it (delta_time_ms=None)"
    )


def samples_of_recording(analyzer: SortingAnalyzer, vector: NDArray[np.void]) -> NDArray:
    """Return the sample of each spike from the beginning of the first segment."""
    num_segments = analyzer.get_num_segments()
    if num_segments == 1:
        return vector["sample_index"]  # a view, not a copy
    lengths = [analyzer.get_num_samples(segment) for segment in range(num_segments)]
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    return vector["sample_index"] + starts[vector["segment_index"]]


def clusters_of_units(analyzer: SortingAnalyzer) -> NDArray[np.int64]:
    """Return the cluster that each unit says it is; -1 where it says none.

    By the unit property ``original_cluster_id``, else by the unit's id.
    """
    ids = analyzer.unit_ids.tolist()
    known = analyzer.sorting.get_property("original_cluster_id")
    out = np.array([_whole(one) for one in ids], dtype=np.int64)
    if known is not None:
        original = np.array([_whole(one) for one in known.tolist()], dtype=np.int64)
        out = np.where(original >= 0, original, out)
    return out


def _whole(value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return -1
    return int(number) if number.is_integer() and 0 <= number < 2**62 else -1


def _offsets(
    analyzer: SortingAnalyzer, samples: NDArray, spikes: FileSpikes, asked: int | None
) -> Iterator[int]:
    """Yield the offsets to try: the one asked for, else those known of slices, else those found."""
    if asked is not None:
        yield int(asked)
        return
    known = list(dict.fromkeys([0, *start_frames_of(analyzer)]))
    yield from known
    yield from (int(i) for i in find_offsets(samples, spikes.samples)[:_SHOWN] if i not in known)


def _rows_by_cluster(
    unit_index: NDArray,
    samples: NDArray,
    clusters: NDArray[np.int64],
    spikes: FileSpikes,
    offset: int,
) -> NDArray[np.integer]:
    """Return the rows of the units of which every spike is a row of the unit's cluster."""
    rows = match_by_cluster(samples, unit_index, clusters, spikes.samples, spikes.clusters, offset)
    if rows.size and rows.min() < 0:
        fits = np.ones(clusters.size, dtype=bool)
        fits[unit_index[rows < 0]] = False
        rows[~fits[unit_index]] = -1
    return rows


def compare_clusters(
    analyzer: SortingAnalyzer,
    folder: PhyFolder,
    rows: FileRows | None,
    unit_index: NDArray[np.integer],
) -> tuple[dict[Any, str], tuple[str, ...]]:
    """Return the groups of units that are clusters, and what units and clusters differ in.

    `rows` are those of the spikes in the folder; None: all as they are.
    """
    clusters, small_ids = with_small_ids(folder.spike_clusters, folder.cluster_ids)
    counts = contingency_table(
        unit_index,
        take_rows(clusters, rows),
        len(analyzer.unit_ids),
        int(small_ids.max(initial=-1)) + 1,
    )
    cluster_index = np.searchsorted(small_ids, counts.indices)
    said = clusters_of_units(analyzer)
    groups, changed = {}, []
    its_groups = folder.groups
    for unit, unit_id in enumerate(analyzer.unit_ids.tolist()):
        mine = cluster_index[counts.indptr[unit] : counts.indptr[unit + 1]]
        its = [int(folder.cluster_ids[i]) for i in mine]
        if len(its) == 1 and its[0] == said[unit]:
            groups[unit_id] = its_groups[its[0]]
        elif its:
            names = ", ".join(map(str, its[:_SHOWN])) + (", ..." if len(its) > _SHOWN else "")
            changed.append(f"unit {unit_id} is in cluster{'s' * (len(its) > 1)} {names}")
    newest = max(int(said.max(initial=-1)), folder.num_templates - 1)
    saved_since = any(int(i) > newest for i in folder.cluster_ids[np.unique(cluster_index)])
    return groups, tuple(changed) if saved_since else ()
