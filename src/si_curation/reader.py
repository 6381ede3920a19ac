"""`read_kilosort_as_analyzer`: a Kilosort/phy folder as a SortingAnalyzer, nothing lost."""

from __future__ import annotations

import logging
import re
import shutil
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import spikeinterface.postprocessing  # noqa: F401  (registers what is injected)
from numpy.typing import NDArray
from spikeinterface.core import (
    BaseRecording,
    ChannelSparsity,
    NumpySorting,
    SortingAnalyzer,
    load_sorting_analyzer,
)

from si_curation._spikeinterface import (
    inject_extension,
    make_memory_analyzer,
    without_provenance_warnings,
)
from si_curation.errors import (
    OutputExistsError,
    ParameterError,
    SiCurationWarning,
)
from si_curation.kernels.channels import neighbourhood
from si_curation.kernels.spike_files import positions_of_ids
from si_curation.kernels.spike_vector import choose_random_spikes, make_spike_vector, take_rows
from si_curation.kernels.template_counts import count_templates
from si_curation.kernels.templates import extremum_on_channel
from si_curation.phy.folder import PhyFolder, read_phy_folder
from si_curation.phy.tables import UNSORTED
from si_curation.probe import make_rec_attributes, match_recording
from si_curation.sorter_templates import SorterTemplates, Unwhiten, make_sorter_templates
from si_curation.unit_level import (
    main_channels,
    set_unit_templates,
    union_of_channels,
    weighted_mean_templates,
)

logger = logging.getLogger(__name__)

READER = "si_curation"  # annotation that marks sortings made here
MAX_RANDOM_SPIKES_PER_UNIT = 500
RANDOM_SPIKES_SEED = 0
_PROPERTY_NAMES = {
    "group": "quality",
    "chan_grp": "group",
    "ch_group": "group",
    "channel_group": "group",
}


def read_kilosort_as_analyzer(
    folder_path: str | Path,
    recording: BaseRecording | None = None,
    unwhiten: Unwhiten | bool = "auto",
    gain_to_uV: float | Sequence[float] | None = None,
    offset_to_uV: float | Sequence[float] | None = None,
    *,
    sampling_frequency: float | None = None,
    exclude_groups: str | Sequence[str] | None = None,
    format: Literal["memory", "binary_folder", "zarr"] = "memory",
    folder: str | Path | None = None,
) -> SortingAnalyzer:
    """Read a Kilosort output folder, curated with phy or not, into a SortingAnalyzer.

    Units are phy's clusters with their ids; every spike of the folder is there, in the order of
    its sample index; every column of every cluster table is a unit property, ``quality`` being
    phy's group or "unsorted". No recording is needed: ``random_spikes``, ``templates`` (mean of the
    sorter's templates weighted by spike counts, on the union of their channels),
    ``template_assignment``, ``spike_amplitudes``, ``spike_locations`` (where the folder has
    positions), ``unit_locations`` and ``template_similarity`` are there at once.

    Parameters
    ----------
    folder_path : str or Path
        The folder. Nothing in it is executed or changed.
    recording : BaseRecording, optional
        The recording that was sorted. Its channels are matched by ``channel_map`` and its gains
        are used unless `gain_to_uV` is given.
    unwhiten : {"auto", "phy"} or bool
        "auto" (or True): with the orientation of the sorter that wrote the folder, in float64
        (Kilosort 4 whitens as ``W @ X``, so ``template @ W⁻¹ᵀ``; Kilosort 1 to 3
        ``template @ W⁻¹``). "phy": always ``template @ W⁻¹``, bit for bit as phylib. False: the
        templates stay whitened.
    gain_to_uV, offset_to_uV : float or sequence of float (n_channels,), optional
        Of the raw data. None means unknown: amplitudes and templates are then in the units of the
        raw data (Kilosort 4) or of the sorter's templates (Kilosort 1 to 3), and nothing is
        called µV. With a gain they are in µV; templates of Kilosort 1 to 3, which are of norm 1,
        are then also scaled by the mean of their spikes' ``amplitudes.npy``. The offset is kept
        as a channel property; filtered templates have none.
    sampling_frequency : float, optional
        In Hz; needed where there is no ``params.py``.
    exclude_groups : str or sequence of str, optional
        phy groups whose units are left out, such as "noise".
    format : {"memory", "binary_folder", "zarr"}
        Where the analyzer lives.
    folder : str or Path, optional
        Where it is saved, for the two formats on disk; must not exist.

    Returns
    -------
    SortingAnalyzer
        The sorting is annotated with ``phy_folder``, ``sorter``, ``sorter_version``,
        ``sorter_evidence``, ``unwhitening``, and ``dropped_spike_rows`` (rows of the folder's files
        that SpikeInterface cannot hold: before sample 0 or after the end of `recording`).

    Raises
    ------
    PhyFolderError
        The folder cannot be read; all problems at once.
    ParameterError, OutputExistsError, FolderNotFoundError
        What was asked for cannot be done.

    Warns
    -----
    SiCurationWarning
        Once, if spikes had to be left out.

    See Also
    --------
    read_phy_folder : the files as arrays, without SpikeInterface objects.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> analyzer.unit_ids
    array([ 4,  7,  8,  9, 10, 11, 12, 13])
    >>> analyzer.get_sorting_property("quality")[[0, 2]].tolist()
    ['unsorted', 'noise']
    """
    target = _check_output(format, folder)
    mode = _check_unwhiten(unwhiten)
    with read_phy_folder(folder_path, sampling_frequency=sampling_frequency) as phy_folder:
        for finding in phy_folder.findings:
            logger.info("%s", finding)
        matched = None if recording is None else match_recording(recording, phy_folder)
        gains = _channel_values(gain_to_uV, "gain_to_uV", phy_folder.num_channels)
        offsets = _channel_values(offset_to_uV, "offset_to_uV", phy_folder.num_channels)
        if matched is not None:
            gains, offsets, matched = _gains_of(matched, gains, offsets)
        analyzer = _build(phy_folder, matched, mode, gains, offsets, exclude_groups)
    if target is None:
        return analyzer
    return _save(analyzer, format, target)


def _check_output(format: str, folder: str | Path | None) -> Path | None:
    if format not in ("memory", "binary_folder", "zarr"):
        raise ParameterError(
            f"format is {format!r}, expected 'memory', 'binary_folder' or 'zarr'"
        )
    if format == "memory":
        if folder is not None:
            raise ParameterError(
                "folder is given with format='memory'; use format='binary_folder' or 'zarr'"
            )
        return None
    if folder is None:
        raise ParameterError(f"format={format!r} needs folder=")
    target = Path(folder).expanduser()
    if format == "zarr" and target.suffix != ".zarr":
        target = target.with_name(target.name + ".zarr")
    if target.exists():
        raise OutputExistsError(f"{target} exists; give another folder or remove it")
    return target


def _check_unwhiten(unwhiten: object) -> Unwhiten | Literal[False]:
    if isinstance(unwhiten, bool | np.bool_):
        return "auto" if unwhiten else False
    if isinstance(unwhiten, str) and unwhiten in ("auto", "phy"):
        return unwhiten  # type: ignore[return-value]
    raise ParameterError(f"unwhiten is {unwhiten!r}, expected 'auto', 'phy', True or False")


def _channel_values(value, name: str, num_channels: int) -> NDArray[np.float64] | None:
    if value is None:
        return None
    try:
        values = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if values.shape not in ((), (1,), (num_channels,)) or not np.isfinite(values).all():
        raise ParameterError(f"{name} is {value!r}, expected a number or {num_channels} numbers")
    if name == "gain_to_uV" and np.any(values == 0):
        raise ParameterError("gain_to_uV is 0; leave it out if the gain is not known")
    return np.broadcast_to(values.reshape(-1), num_channels).copy()


def _gains_of(recording: BaseRecording, gains, offsets):
    if gains is not None:
        recording = recording.clone()
        recording.set_channel_gains(gains)
        recording.set_channel_offsets(np.zeros_like(gains) if offsets is None else offsets)
    elif recording.has_scaleable_traces():
        gains = np.asarray(recording.get_channel_gains(), dtype=np.float64)
        offsets = np.asarray(recording.get_channel_offsets(), dtype=np.float64)
    return gains, offsets, recording


@dataclass
class _Selection:
    """Which rows of the folder become spikes of which units."""

    unit_ids: NDArray[np.int64]
    rows: NDArray[np.int64] | None  # None: all rows in order
    dropped_rows: NDArray[np.int64]
    num_samples: int


def _select(phy: PhyFolder, recording, exclude_groups) -> _Selection:
    if exclude_groups is not None and not isinstance(exclude_groups, str):
        if not all(isinstance(group, str) for group in exclude_groups):
            raise ParameterError(f"exclude_groups is {exclude_groups!r}, expected names of groups")
        excluded = set(exclude_groups)
    else:
        excluded = {exclude_groups} if exclude_groups is not None else set()
    groups = phy.groups if excluded else {}
    kept = np.array([groups.get(int(i)) not in excluded for i in phy.cluster_ids], dtype=bool)
    unit_ids = phy.cluster_ids[kept] if excluded else phy.cluster_ids
    if recording is None:
        num_samples = max(phy.raw_num_samples or 0, phy.last_sample + 1, 1)
    else:
        num_samples = recording.get_num_samples()
    out_of_range = phy.first_sample < 0 or phy.last_sample >= num_samples
    no_rows = np.zeros(0, dtype=np.int64)
    if not out_of_range and phy.spikes_are_sorted and unit_ids.size == phy.cluster_ids.size:
        return _Selection(unit_ids, None, no_rows, num_samples)
    samples = phy.spike_samples
    keep = (samples >= 0) & (samples < num_samples)
    dropped = np.flatnonzero(~keep)
    if unit_ids.size < phy.cluster_ids.size:
        table = positions_of_ids(unit_ids, int(phy.cluster_ids.max()))
        keep &= table[phy.spike_clusters] >= 0
    rows = np.flatnonzero(keep)
    if not phy.spikes_are_sorted:
        logger.info("%s: spike_times.npy is not in ascending order; sorted", phy.folder)
        rows = rows[np.argsort(samples[rows], kind="stable")]
    return _Selection(unit_ids, rows, dropped, num_samples)


def _build(phy: PhyFolder, recording, mode, gains, offsets, exclude_groups) -> SortingAnalyzer:
    selection = _select(phy, recording, exclude_groups)
    unit_of_id = positions_of_ids(
        selection.unit_ids, int(phy.cluster_ids.max(initial=-1))
    )
    spikes = make_spike_vector(phy.spike_samples, phy.spike_clusters, unit_of_id, selection.rows)
    template_ids = take_rows(phy.spike_templates, selection.rows, np.int32)
    counts = count_templates(
        spikes["unit_index"], template_ids, selection.unit_ids.size, phy.num_templates
    )
    templates = make_sorter_templates(phy, mode, gains)
    main = main_channels(counts, templates.amplitudes)
    sorting = NumpySorting(spikes, phy.sampling_frequency, selection.unit_ids)
    _set_properties(sorting, phy)
    _annotate(sorting, phy, templates, selection)
    mask = _sparsity_mask(phy, templates, counts)
    mask[np.arange(len(mask)), main] = True
    if recording is None:
        attributes = make_rec_attributes(phy, selection.num_samples, gains, offsets)
    else:
        attributes = _attributes_of(recording)
        sorting._sampling_frequency = recording.get_sampling_frequency()
    analyzer = make_memory_analyzer(
        sorting,
        recording,
        attributes,
        ChannelSparsity(mask, selection.unit_ids, np.asarray(attributes["channel_ids"])),
        templates.units == "uV",
        main,
    )
    _inject(analyzer, phy, templates, counts, template_ids, selection.rows)
    _warn_of_dropped(phy, selection)
    return analyzer


def _attributes_of(recording: BaseRecording) -> dict:
    from spikeinterface.core.recording_tools import get_rec_attributes

    attributes = get_rec_attributes(recording)
    attributes["probegroup"] = recording.get_probegroup()
    return attributes


def _sparsity_mask(phy: PhyFolder, templates: SorterTemplates, counts) -> NDArray[np.bool_]:
    channels = templates.support
    if not templates.are_sparse:
        near = neighbourhood(templates.amplitudes, phy.channel_positions, phy.channel_shanks)
        channels = channels | near
    return union_of_channels(counts, channels)


def _inject(analyzer, phy, templates: SorterTemplates, counts, template_ids, rows) -> None:
    num_spikes_per_unit = np.asarray(counts.sum(axis=1)).ravel()
    unit_index = analyzer.sorting.to_spike_vector()["unit_index"]
    random_spikes = choose_random_spikes(
        unit_index, num_spikes_per_unit, MAX_RANDOM_SPIKES_PER_UNIT, RANDOM_SPIKES_SEED
    )
    inject_extension(
        analyzer,
        "random_spikes",
        {"random_spikes_indices": random_spikes},
        {
            "method": "uniform",
            "max_spikes_per_unit": MAX_RANDOM_SPIKES_PER_UNIT,
            "margin_size": None,
            "seed": RANDOM_SPIKES_SEED,
        },
    )
    num_samples = templates.templates.shape[1]
    ms = 1000.0 / phy.sampling_frequency
    set_unit_templates(
        analyzer,
        weighted_mean_templates(counts, templates.templates),
        {
            "operators": ["average"],
            "ms_before": phy.num_samples_before * ms,
            "ms_after": (num_samples - phy.num_samples_before) * ms,
        },
    )
    row_dtype = np.int32 if phy.num_spikes < 2**31 else np.int64
    all_rows = np.arange(phy.num_spikes, dtype=row_dtype) if rows is None else rows
    inject_extension(
        analyzer,
        "template_assignment",
        {
            "spike_template_ids": template_ids,
            "spike_rows": all_rows.astype(row_dtype, copy=False),
            "templates": templates.templates,
            "template_amplitudes": templates.amplitudes,
            "template_support": templates.support,
            "template_info": templates.info(phy),
        },
        {},
    )
    amplitudes = _spike_amplitudes(phy, templates, template_ids, rows)
    if amplitudes is not None:
        inject_extension(analyzer, "spike_amplitudes", {"amplitudes": amplitudes}, {})
    if phy.spike_positions is not None:
        positions = take_rows(phy.spike_positions, rows)
        names = ["x", "y", "z"][: positions.shape[1]]
        dtype = np.dtype([(name, positions.dtype) for name in names])
        locations = np.ascontiguousarray(positions[:, : len(names)]).view(dtype).reshape(-1)
        inject_extension(analyzer, "spike_locations", {"spike_locations": locations}, {})


def _spike_amplitudes(phy, templates: SorterTemplates, template_ids, rows):
    """Signed amplitude of each spike: its factor times its template's extremum.

    On the main channel of the spike's own template, in the units of the templates.
    """
    if phy.amplitudes is None:
        return None
    amplitudes = take_rows(phy.amplitudes, rows, np.float32)
    if phy.sorter.name == "spikeinterface":
        return amplitudes  # export_to_phy writes spike amplitudes, not factors
    extremum = extremum_on_channel(templates.templates, templates.amplitudes.argmax(axis=1))
    scale = (extremum * templates.amplitude_to_factor).astype(np.float32)
    amplitudes *= scale[template_ids]
    return amplitudes


def _set_properties(sorting: NumpySorting, phy: PhyFolder) -> None:
    ids = sorting.unit_ids
    quality = phy.columns["group"].to_array(ids) if "group" in phy.columns else None
    quality = np.full(ids.size, "", dtype="U32") if quality is None else quality.astype("U32")
    quality[quality == ""] = UNSORTED
    for name, column in phy.columns.items():
        safe = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", _PROPERTY_NAMES.get(name, name))
        if safe != "quality":
            sorting.set_property(safe, column.to_array(ids))
    sorting.set_property("quality", quality)
    sorting.set_property("original_cluster_id", ids.astype(np.int64))


def _annotate(sorting, phy: PhyFolder, templates: SorterTemplates, selection: _Selection) -> None:
    sorting.annotate(
        phy_folder=str(phy.folder),
        reader=READER,
        sorter=phy.sorter.name,
        sorter_version=phy.sorter.version or "",
        sorter_evidence=phy.sorter.evidence,
        unwhitening=templates.unwhitening,
        num_dropped_spikes=int(selection.dropped_rows.size),
        dropped_spike_rows=selection.dropped_rows.tolist(),
    )


def _warn_of_dropped(phy: PhyFolder, selection: _Selection) -> None:
    rows = selection.dropped_rows
    if rows.size == 0:
        return
    shown = ", ".join(map(str, rows[:10])) + (", ..." if rows.size > 10 else "")
    warnings.warn(
        f"{phy.folder}: {rows.size} of {phy.num_spikes} spikes are before sample 0 or after the "
        f"end of the recording ({selection.num_samples} samples), where SpikeInterface cannot hold "
        f"them: rows {shown} of spike_times.npy; all rows are in the sorting's annotation "
        "'dropped_spike_rows'",
        SiCurationWarning,
        stacklevel=4,
    )


def _save(analyzer: SortingAnalyzer, format: str, target: Path) -> SortingAnalyzer:
    """Save under a temporary name beside the target, then rename: never half an analyzer."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.stem}-{uuid.uuid4().hex[:8]}{target.suffix}")
    recording = analyzer.recording if analyzer.has_recording() else None
    try:
        with without_provenance_warnings():
            analyzer.save_as(format=format, folder=part)
        if target.exists():
            raise OutputExistsError(f"{target} exists; give another folder or remove it")
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return load_sorting_analyzer(target) if recording is None else _reload(target, recording)


def _reload(target: Path, recording: BaseRecording) -> SortingAnalyzer:
    analyzer = load_sorting_analyzer(target)
    if not analyzer.has_recording():
        analyzer.set_temporary_recording(recording)
    return analyzer
