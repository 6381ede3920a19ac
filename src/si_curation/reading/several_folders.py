"""Several Kilosort folders behind one analyzer: which spike is of which, in one table of templates.

Sortings that were aggregated share a clock, and each unit is of one folder. Sortings that were
appended or concatenated follow each other, and a unit may be of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import lengths_of_parts, spike_vector_of, start_frames_of
from si_curation.errors import ParameterError
from si_curation.kernels.spike_matching import find_offsets, find_starts, match_by_cluster
from si_curation.kernels.spike_vector import take_rows
from si_curation.kernels.spikes_by_unit import count_spikes
from si_curation.phy.folder import PhyFolder, read_phy_folder
from si_curation.reading.assignment import assignment_of_folder
from si_curation.reading.attaching import (
    AttachedFolder,
    FileSpikes,
    Match,
    check_rate,
    clusters_of_units,
    compare_clusters,
    gains_of,
    match_spikes,
    samples_of_recording,
)
from si_curation.reading.observed import observed_text_of_parts
from si_curation.reading.probe import match_channels_of_analyzer, shanks_of_folder
from si_curation.reading.templates import Unwhiten, make_sorter_templates
from si_curation.reading.unit_templates import cosine_similarity
from si_curation.variables import FileRows, TemplateIds

_SHOWN = 10
_NONE, _SEVERAL = -1, -2  # of the folders fit a unit


class _Part(NamedTuple):
    """The spikes of one folder."""

    which: NDArray[np.int64]  # positions in the spike vector
    rows: NDArray[np.integer]
    offset: int  # sample of the folder that is sample 0 of the analyzer
    span: tuple[int, int] | None  # of samples of the analyzer, where folders follow each other


def attach_folders(
    analyzer: SortingAnalyzer,
    folder_paths: Sequence[str | Path],
    unwhiten: Unwhiten | Literal[False] = "auto",
) -> AttachedFolder:
    """Match every spike of an analyzer to its row of one of several folders.

    Template ids of a folder begin where those of the folder before it end.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    folder_paths : sequence of str or Path
        In their order where they follow each other in time.
    unwhiten : {"auto", "phy", False}

    Returns
    -------
    AttachedFolder
        ``shanks`` are empty where the folders have other channels.

    Raises
    ------
    FolderNotFoundError, PhyFolderError
        A folder is gone, or cannot be read.
    ParameterError
        Spikes or channels are not those of the folders, or the folders cannot be together.
    """
    rate = analyzer.sampling_frequency
    with ExitStack() as stack:
        folders = [
            stack.enter_context(read_phy_folder(path, sampling_frequency=rate))
            for path in folder_paths
        ]
        channels = []
        for folder in folders:
            check_rate(analyzer, folder)
            channels.append(match_channels_of_analyzer(analyzer, folder))
        parts = _parts(analyzer, folders)
        made, changed = [], []
        groups: dict[Any, str] = {}
        unit_index = spike_vector_of(analyzer.sorting)["unit_index"]
        for folder, its_channels, part in zip(folders, channels, parts, strict=True):
            template_ids = take_rows(folder.spike_templates, FileRows(part.rows), np.int32)
            folder.needed_templates()
            gains = gains_of(analyzer, its_channels, folder)
            templates = make_sorter_templates(folder, unwhiten, gains)
            rows = FileRows(part.rows)
            made.append(
                assignment_of_folder(
                    folder, templates, rows, TemplateIds(template_ids), its_channels
                )
            )
            its_groups, its_changes = compare_clusters(
                analyzer, folder, rows, unit_index[part.which]
            )
            _add_groups(groups, its_groups)
            changed += [f"{text} of {folder.folder}" for text in its_changes]
        data = _stacked(made, parts, unit_index.size)
        info = data["template_info"]
        info["folders"] = [str(folder.folder) for folder in folders]
        info["infos"] = [one["template_info"] for one in made]  # of each, for a part of the time
        observed = observed_text_of_parts(
            analyzer, [(f, p.offset, p.span) for f, p in zip(folders, parts, strict=True)]
        )
        same = all(np.array_equal(one, channels[0]) for one in channels)
        shanks = shanks_of_folder(folders[0]) if same else np.zeros(0, dtype=np.int64)
        data["folder_channels"] = channels[0]
    return AttachedFolder(data, groups, tuple(changed), observed, np.array(shanks))


def _add_groups(groups: dict[Any, str], more: dict[Any, str]) -> None:
    """Add the groups of one folder; a unit of two folders that differ has none."""
    for unit_id, group in more.items():
        if groups.setdefault(unit_id, group) != group:
            groups[unit_id] = "unsorted"


# which spikes are of which folder


def _parts(analyzer: SortingAnalyzer, folders: Sequence[PhyFolder]) -> list[_Part]:
    vector = spike_vector_of(analyzer.sorting)
    samples = samples_of_recording(analyzer, vector)
    spikes = [FileSpikes.of(folder) for folder in folders]
    problems = []
    for borders in _borders(analyzer, samples, spikes):
        found = _by_time(analyzer, vector["unit_index"], samples, spikes, borders)
        if isinstance(found, list):
            return found
        problems.append(found)
    by_unit = _by_unit(analyzer, vector["unit_index"], samples, spikes, folders)
    if isinstance(by_unit, list):
        return by_unit
    problems.append(by_unit)
    names = ", ".join(str(folder.folder) for folder in folders)
    raise ParameterError(
        f"the spikes of the analyzer are not those of {names}: " + "; or ".join(problems)
    )


def _borders(
    analyzer: SortingAnalyzer, samples: NDArray[np.integer], spikes: Sequence[FileSpikes]
) -> Iterator[list[int]]:
    """Yield samples where the folders may follow each other: n + 1 for n folders."""
    lengths = lengths_of_parts(analyzer)
    if len(lengths) == len(spikes):
        yield [0, *np.cumsum(lengths).tolist()]
        return
    # the recording is not known: from the last spikes of each folder, back to the first
    for starts in _starts(samples, spikes[1:]):
        yield [0, *starts, int(np.iinfo(np.int64).max)]


def _starts(samples: NDArray[np.integer], spikes: Sequence[FileSpikes]) -> Iterator[list[int]]:
    """Yield samples at which each of some folders may begin, of which the last spikes are."""
    if not spikes:
        yield []
        return
    possible = find_starts(samples, spikes[-1].samples)
    for start in possible[-_SHOWN:].tolist():
        for before in _starts(samples[: np.searchsorted(samples, start)], spikes[:-1]):
            yield [*before, start]


def _by_time(
    analyzer: SortingAnalyzer,
    unit_index: NDArray[np.integer],
    samples: NDArray[np.integer],
    spikes: Sequence[FileSpikes],
    borders: Sequence[int],
) -> list[_Part] | str:
    """Match the spikes between each two borders; or say what is left open."""
    clusters = clusters_of_units(analyzer)
    parts, problems = [], []
    for i, its in enumerate(spikes):
        first, last = np.searchsorted(samples, borders[i : i + 2])
        local = samples[first:last] - borders[i]
        offsets = _offsets_of_slice(local, its)
        found = match_spikes(local, unit_index[first:last], clusters, its, offsets)
        if isinstance(found, Match):
            span = borders[i], borders[i + 1]
            which = np.arange(first, last)
            parts.append(_Part(which, found.rows, found.offset - borders[i], span))
        else:
            problems.append(
                f"{sum(found.left)} of {last - first} spikes from sample {borders[i]} on are "
                f"not those of folder {i + 1}"
            )
    if problems:
        return "taken one after the other, " + ", ".join(problems)
    return parts


def _offsets_of_slice(samples: NDArray[np.integer], spikes: FileSpikes) -> Iterator[int]:
    """Yield 0, then where a slice may begin that was cut from the folder."""
    yield 0
    yield from map(int, find_offsets(samples, spikes.samples)[:_SHOWN])


def _by_unit(
    analyzer: SortingAnalyzer,
    unit_index: NDArray[np.integer],
    samples: NDArray[np.integer],
    spikes: Sequence[FileSpikes],
    folders: Sequence[PhyFolder],
) -> list[_Part] | str:
    """Match the spikes of the units of each folder; or say what is left open."""
    clusters = clusters_of_units(analyzer)
    offsets = list(dict.fromkeys([0, *start_frames_of(analyzer)]))
    problem = ""
    for offset in offsets:
        named = _folder_named_by_unit(analyzer, folders)
        by_order, in_order = _folder_by_order(analyzer, clusters, folders)
        fitting = _folder_that_fits(unit_index, samples, clusters, spikes, offset)
        ways = [(by_order, in_order), (fitting, clusters)] if named is None else [(named, clusters)]
        for of_unit, said in ways:
            if of_unit is None:
                continue
            open_ones = np.flatnonzero(of_unit < 0)
            if open_ones.size:
                ids = analyzer.unit_ids[open_ones].tolist()
                several = int((of_unit == _SEVERAL).sum())
                problem = problem or (
                    f"taken unit by unit, {open_ones.size - several} of {of_unit.size} units fit "
                    f"none of them and {several} fit several (units {ids[:_SHOWN]}); give the "
                    "units the property phy_folder before they are aggregated, or attach before "
                    "units of several folders are merged"
                )
                continue
            found = _match_units(of_unit, unit_index, samples, said, spikes, offset)
            if isinstance(found, list):
                return found
            problem = problem or found
    return problem


def _match_units(
    of_unit: NDArray[np.int64],
    unit_index: NDArray[np.integer],
    samples: NDArray[np.integer],
    clusters: NDArray[np.int64],
    spikes: Sequence[FileSpikes],
    offset: int,
) -> list[_Part] | str:
    """Match the spikes of units whose folder is known; or say what is left open."""
    parts = []
    for i, its in enumerate(spikes):
        which = np.flatnonzero(of_unit[unit_index] == i)
        found = match_spikes(samples[which], unit_index[which], clusters, its, [offset])
        if not isinstance(found, Match):
            return (
                f"taken unit by unit, {sum(found.left)} of {which.size} spikes are not those of "
                f"folder {i + 1}"
            )
        parts.append(_Part(which, found.rows, offset, None))
    return parts


def _folder_by_order(
    analyzer: SortingAnalyzer, clusters: NDArray[np.int64], folders: Sequence[PhyFolder]
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """Return the folder of each unit, where all clusters of each are there one after the other.

    As `aggregate_units` orders them, which gives new ids where two are the same; and the clusters,
    which are those of the folders where no property tells them.
    """
    counts = count_spikes(spike_vector_of(analyzer.sorting)["unit_index"], len(analyzer.unit_ids))
    with_spikes = np.flatnonzero(counts)
    sizes = [folder.cluster_ids.size for folder in folders]
    if sum(sizes) != with_spikes.size:
        return None, clusters
    if analyzer.sorting.get_property("original_cluster_id") is None:
        clusters = clusters.copy()
        clusters[with_spikes] = np.concatenate([folder.cluster_ids for folder in folders])
    blocks = np.split(clusters[with_spikes], np.cumsum(sizes)[:-1])
    for block, folder in zip(blocks, folders, strict=True):
        if not np.array_equal(np.sort(block), folder.cluster_ids):
            return None, clusters
    of_unit = np.zeros(clusters.size, dtype=np.int64)
    of_unit[with_spikes] = np.repeat(np.arange(len(sizes)), sizes)
    return of_unit, clusters


def _folder_that_fits(
    unit_index: NDArray[np.integer],
    samples: NDArray[np.integer],
    clusters: NDArray[np.int64],
    spikes: Sequence[FileSpikes],
    offset: int,
) -> NDArray[np.int64]:
    """Return the one folder that each unit fits, as a cluster of it, else by its samples."""
    num_units = clusters.size
    as_cluster = np.empty((num_units, len(spikes)), dtype=bool)
    by_sample = np.empty_like(as_cluster)
    for i, its in enumerate(spikes):
        rows = match_by_cluster(samples, unit_index, clusters, its.samples, its.clusters, offset)
        as_cluster[:, i] = _whole_units(unit_index, rows >= 0, num_units)
        has_row = np.isin(samples.astype(np.int64) + offset, its.samples)
        by_sample[:, i] = _whole_units(unit_index, has_row, num_units)
    is_known = as_cluster.any(axis=1, keepdims=True)
    fits = np.where(is_known, as_cluster, by_sample)
    count = fits.sum(axis=1)
    return np.select([count == 1, count == 0], [fits.argmax(axis=1), _NONE], _SEVERAL)


def _folder_named_by_unit(
    analyzer: SortingAnalyzer, folders: Sequence[PhyFolder]
) -> NDArray[np.int64] | None:
    values = analyzer.sorting.get_property("phy_folder")
    if values is None:
        return None
    index = {str(folder.folder.resolve()): i for i, folder in enumerate(folders)}
    found = [index.get(str(Path(str(one)).resolve()), -1) if one else -1 for one in values.tolist()]
    return None if -1 in found else np.array(found, dtype=np.int64)


def _whole_units(
    unit_index: NDArray[np.integer], is_there: NDArray[np.bool_], num_units: int
) -> NDArray[np.bool_]:
    fits = np.ones(num_units, dtype=bool)
    fits[unit_index[~is_there]] = False
    return fits


# one table of templates


def _stacked(made: Sequence[dict[str, Any]], parts: Sequence[_Part], n: int) -> dict[str, Any]:
    """Put the data of several folders together; template ids follow each other."""
    infos = [one["template_info"] for one in made]
    for key, what in (("units", "in units"), ("sparse", "with sparse templates")):
        if len({info[key] for info in infos}) > 1:
            found = ", ".join(f"{info['phy_folder']}: {info[key]}" for info in infos)
            raise ParameterError(f"folders {what} that differ cannot be together ({found})")
    sizes = [len(one["templates"]) for one in made]
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    ids = np.empty(n, dtype=np.int32)
    rows = np.empty(n, dtype=np.result_type(*(part.rows.dtype for part in parts)))
    for one, part, start in zip(made, parts, first, strict=True):
        ids[part.which] = one["spike_template_ids"] + np.int32(start)
        rows[part.which] = part.rows
    before = max(int(info["num_samples_before"]) for info in infos)
    aligned = _aligned([one["templates"] for one in made], infos, before)
    data = {
        "spike_template_ids": ids,
        "spike_rows_in_folders": rows,
        "templates": aligned,
        "template_amplitudes": np.concatenate([one["template_amplitudes"] for one in made]),
        "template_support": np.concatenate([one["template_support"] for one in made]),
        "channels_in_folders": np.stack([one["folder_channels"] for one in made]),
        "positions_in_folders": np.stack([one["channel_positions"] for one in made]),
        "template_info": {
            "source": " and ".join(dict.fromkeys(str(info["source"]) for info in infos)),
            "unwhitening": infos[0]["unwhitening"],
            "units": infos[0]["units"],
            "sparse": infos[0]["sparse"],
            "num_samples_before": before,
            "num_samples_before_evidence": infos[0]["num_samples_before_evidence"],
            "attached": True,
            "first_template_ids": first.tolist(),
            "frame_offsets": [int(part.offset) for part in parts],
        },
    }
    if all("template_channels" in one for one in made):
        data["template_channels"] = _padded([one["template_channels"] for one in made])
    if all("similar_templates" in one for one in made):
        similar = cosine_similarity(aligned)  # of templates of two folders
        for one, start, size in zip(made, first, sizes, strict=True):
            similar[start : start + size, start : start + size] = one["similar_templates"]
        data["similar_templates"] = similar.astype(np.float32)
    return data


def _aligned(
    templates: Sequence[NDArray[np.float32]], infos: Sequence[dict[str, Any]], before: int
) -> NDArray[np.float32]:
    """Put templates of other lengths together, at the sample of their peak; zeros beside them."""
    starts = [before - int(info["num_samples_before"]) for info in infos]
    num = max(start + one.shape[1] for start, one in zip(starts, templates, strict=True))
    out = np.zeros((sum(map(len, templates)), num, templates[0].shape[2]), dtype=np.float32)
    row = 0
    for start, one in zip(starts, templates, strict=True):
        out[row : row + len(one), start : start + one.shape[1]] = one
        row += len(one)
    return out


def _padded(tables: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    width = max(one.shape[1] for one in tables)
    pad = [np.full((len(one), width - one.shape[1]), -1, dtype=np.int32) for one in tables]
    return np.concatenate([np.hstack(pair) for pair in zip(tables, pad, strict=True)])
