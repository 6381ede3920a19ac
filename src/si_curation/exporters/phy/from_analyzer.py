"""The files of phy for an analyzer of any sorter, from its extensions."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer, write_binary_recording

from si_curation._spikeinterface import as_array, spike_vector_of
from si_curation.curation.history import labels_of_sessions
from si_curation.errors import MissingDataError, ParameterError
from si_curation.exporters.phy.clusters import cluster_ids_of_units, whole_ids
from si_curation.exporters.phy.features import padded_channels, write_features
from si_curation.exporters.phy.prepare import amplitudes_of_spikes
from si_curation.exporters.phy.raw_recording import RawFile, raw_file_of
from si_curation.exporters.phy.template_features import write_template_features
from si_curation.extensions.template_assignment import ensure_template_assignment
from si_curation.files import write_file
from si_curation.kernels.spikes_by_unit import count_spikes
from si_curation.phy.tables import NAME_COLUMN, UNSORTED
from si_curation.phy.writing import format_params, format_table, format_value
from si_curation.reading.probe import locations_extension, planar_locations, shanks_of
from si_curation.reading.unit_templates import cosine_similarity

logger = logging.getLogger(__name__)

RECORDING_NAME = "recording.dat"


def write_phy_files(
    sorting_analyzer: SortingAnalyzer,
    folder: Path,
    curation: str,
    columns: Mapping[str, Mapping[Any, str | None]],
    copy_recording: bool,
    progress_bar: bool,
) -> list[str]:
    """Write all files that phy understands into an empty folder.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Of one segment, with "templates" or "template_assignment".
    folder : Path
    curation : {"keep", "discard"}
    columns : mapping
        {column: {unit id: text or None}}.
    copy_recording, progress_bar : bool

    Returns
    -------
    list of str
        What phy will not show, because the analyzer does not have it.

    Raises
    ------
    MissingDataError
    """
    _check(sorting_analyzer, copy_recording)
    assignment = ensure_template_assignment(sorting_analyzer)
    template_ids = np.asarray(assignment.get_spike_template_ids(), dtype=np.int32)
    support = assignment.get_template_support()
    spikes = spike_vector_of(sorting_analyzer.sorting)
    cluster_of_unit = _cluster_ids(sorting_analyzer)
    clusters = cluster_of_unit.astype(np.int32)[spikes["unit_index"]]
    if curation == "discard":
        clusters = template_ids

    _save(folder, "spike_times", spikes["sample_index"].astype(np.int64))
    _save(folder, "spike_templates", template_ids)
    _save(folder, "spike_clusters", clusters)
    _write_templates(folder, assignment.get_templates(), support)
    missing = [] if _write_spike_values(sorting_analyzer, folder) else ["amplitudes"]
    _write_channels(sorting_analyzer, folder, copy_recording, progress_bar)
    with_components = write_features(sorting_analyzer, folder, template_ids, len(support))
    if write_template_features(sorting_analyzer, folder, None) and not with_components:
        missing.append("template features (they need 'principal_components' too)")
    if curation == "discard":
        names = assignment.info.get("template_unit_ids") or []
        present = np.unique(template_ids).tolist()
        _write_table(folder, NAME_COLUMN, {i: str(names[i]) for i in present if i < len(names)})
    else:
        _write_tables(sorting_analyzer, folder, cluster_of_unit, columns)
    return missing


def _check(analyzer: SortingAnalyzer, copy_recording: bool) -> None:
    problems = []
    if len(spike_vector_of(analyzer.sorting)) == 0:
        problems.append("there are no spikes, and phy cannot open a folder without any")
    if copy_recording and not _has_recording(analyzer):
        problems.append("copy_recording=True, but the analyzer has no recording")
    has_templates = analyzer.has_extension("templates")
    if not has_templates and not analyzer.has_extension("template_assignment"):
        problems.append(
            "there are no templates; compute them first "
            "(analyzer.compute(['random_spikes', 'templates']))"
        )
    if problems:
        raise MissingDataError("the analyzer cannot be exported: " + "; ".join(problems))


def _has_recording(analyzer: SortingAnalyzer) -> bool:
    return analyzer.has_recording() or analyzer.has_temporary_recording()


def _cluster_ids(analyzer: SortingAnalyzer) -> NDArray[np.int64]:
    """Cluster ids: whole unit ids; template ids for other units that are one; else new ones."""
    assignment = analyzer.get_extension("template_assignment")
    counts = assignment.get_template_counts()
    num_templates = counts.shape[1]
    ids = whole_ids(analyzer.unit_ids)
    if np.all(ids < 0):
        # as phy, where a cluster has the id of its template until it is merged or split
        units_of_template = np.bincount(counts.indices, minlength=num_templates)
        templates_of_unit = np.diff(counts.indptr)
        for unit in np.flatnonzero(templates_of_unit == 1):
            template = int(counts.indices[counts.indptr[unit]])
            if units_of_template[template] == 1:
                ids[unit] = template
    return cluster_ids_of_units(ids, num_templates)


def _save(folder: Path, name: str, array: NDArray) -> None:
    write_file(folder / f"{name}.npy", np.ascontiguousarray(array))


def _write_templates(folder: Path, templates: NDArray, support: NDArray[np.bool_]) -> None:
    if len(templates) == 1:  # phylib squeezes the arrays and then takes samples for templates
        templates = np.concatenate([templates, np.zeros_like(templates)])
        support = np.concatenate([support, np.zeros_like(support)])
    channels = padded_channels(support)
    values = np.take_along_axis(templates, np.maximum(channels, 0)[:, None, :], axis=2)
    values = np.where(channels[:, None, :] >= 0, values, 0)
    _save(folder, "templates", values.astype(np.float32))
    _save(folder, "template_ind", channels)
    _save(folder, "similar_templates", cosine_similarity(templates))


def _write_spike_values(analyzer: SortingAnalyzer, folder: Path) -> bool:
    """Write what is known of each spike; return whether amplitudes are, phy opens without them."""
    amplitudes = amplitudes_of_spikes(analyzer)
    if amplitudes is not None:
        _save(folder, "amplitudes", amplitudes)
    locations = locations_extension(analyzer, "spike_locations")
    if locations is not None:
        found = as_array(locations.get_data(copy=False))
        _save(folder, "spike_positions", np.stack([found["x"], found["y"]], 1).astype(np.float32))
    return amplitudes is not None


def _write_channels(
    analyzer: SortingAnalyzer, folder: Path, copy_recording: bool, progress_bar: bool
) -> None:
    num_channels = analyzer.get_num_channels()
    raw, comments = _raw_data(analyzer, folder, copy_recording, progress_bar)
    if raw is not None:
        columns = raw.columns
    else:
        known = np.asarray(analyzer.get_recording_property("channel_map"))
        columns = known if known.dtype.kind in "iu" else np.arange(num_channels)
    _save(folder, "channel_map", columns.astype(np.int32))
    positions = planar_locations(analyzer)
    _save(folder, "channel_positions", positions)
    _save(folder, "channel_shanks", _shanks(analyzer))
    _save(folder, "whitening_mat", np.eye(num_channels))
    _save(folder, "whitening_mat_inv", np.eye(num_channels))
    dat_path = None
    if raw is not None:
        dat_path = raw.path.name if raw.path.parent == folder else raw.path.as_posix()
    params = {
        "dat_path": dat_path,
        "n_channels_dat": int(columns.max()) + 1 if raw is None else raw.num_channels,
        "dtype": "int16" if raw is None else raw.dtype,
        "offset": 0 if raw is None else raw.offset,
        "sample_rate": float(analyzer.sampling_frequency),
        "hp_filtered": bool(analyzer.is_filtered()),
    }
    write_file(folder / "params.py", format_params(params, comments))


def _shanks(analyzer: SortingAnalyzer) -> NDArray[np.int32]:
    """Return the shank of each channel, numbered from 0 over all probes."""
    return np.unique(shanks_of(analyzer), return_inverse=True)[1].reshape(-1).astype(np.int32)


def _raw_data(
    analyzer: SortingAnalyzer, folder: Path, copy_recording: bool, progress_bar: bool
) -> tuple[RawFile | None, list[str]]:
    recording = analyzer.recording if _has_recording(analyzer) else None
    if copy_recording and recording is not None:
        path = folder / RECORDING_NAME
        dtype = recording.get_dtype()
        write_binary_recording(
            recording, file_paths=path, dtype=dtype, progress_bar=progress_bar, n_jobs=1
        )
        num_channels = recording.get_num_channels()
        return RawFile(path, dtype.name, num_channels, 0, np.arange(num_channels)), []
    raw = raw_file_of(recording)
    if raw is not None:
        return raw, []
    why = (
        "the analyzer has no recording"
        if recording is None
        else "the recording of the analyzer is not one binary file (copy_recording=True writes one)"
    )
    return None, [f"No raw data file: {why}. Traces and waveforms need its path as dat_path."]


def _write_tables(
    analyzer: SortingAnalyzer,
    folder: Path,
    cluster_of_unit: NDArray[np.int64],
    columns: Mapping[str, Mapping[Any, str | None]],
) -> None:
    unit_ids = analyzer.unit_ids.tolist()
    clusters = dict(zip(unit_ids, cluster_of_unit.tolist(), strict=True))
    quality = analyzer.sorting.get_property("quality")
    groups: dict[int, str] = {}
    if quality is not None:
        for cluster_id, label in zip(clusters.values(), quality.tolist(), strict=True):
            if isinstance(label, str) and label.strip() and label != UNSORTED:
                groups[cluster_id] = label
    known: dict[str, dict[int, str]] = {"group": groups}
    for name, labels in labels_of_sessions(analyzer).items():
        texts = {clusters[i]: format_value(value) for i, value in labels.values.items()}
        known[name] = {i: text for i, text in texts.items() if text}
    counts = count_spikes(spike_vector_of(analyzer.sorting)["unit_index"], len(analyzer.unit_ids))
    with_row = {c for c, n in zip(clusters.values(), counts, strict=True) if n > 0}
    with_row |= {i for its in known.values() for i in its}
    known[NAME_COLUMN] = {c: str(unit) for unit, c in clusters.items() if c in with_row}
    for name, given in columns.items():
        texts = {clusters[unit_id]: text for unit_id, text in given.items()}
        merged = {**known.get(name, {}), **texts}
        known[name] = {i: text for i, text in merged.items() if text}
    written: dict[str, str] = {}
    for name, its in known.items():
        if its or name in columns:
            other = written.setdefault(name.lower(), name)
            if other != name:
                raise ParameterError(
                    f"columns {other!r} and {name!r} would be the same file on many systems, "
                    "expected names that differ in more than capitals"
                )
            _write_table(folder, name, its)


def _write_table(folder: Path, name: str, texts: Mapping[int, str]) -> None:
    rows = [[str(i), texts[i]] for i in sorted(texts)]
    write_file(folder / f"cluster_{name}.tsv", format_table(["cluster_id", name], rows))
