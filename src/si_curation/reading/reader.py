"""`read_kilosort_as_analyzer`: a Kilosort/phy folder as a SortingAnalyzer, nothing lost."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import spikeinterface.postprocessing  # noqa: F401  (registers what is injected)
from numpy.typing import NDArray
from spikeinterface.core import BaseRecording, ChannelSparsity, NumpySorting, SortingAnalyzer

from si_curation._spikeinterface import inject_extension, make_memory_analyzer
from si_curation.errors import ParameterError
from si_curation.kernels.spike_files import positions_of_ids, with_small_ids
from si_curation.kernels.spike_vector import (
    choose_random_spikes,
    make_spike_vector,
    scale_by_template,
    take_rows,
)
from si_curation.kernels.template_counts import contingency_table
from si_curation.kernels.templates import extremum_on_channel
from si_curation.phy.folder import PhyFolder, read_phy_folder
from si_curation.reading.components import (
    COMPONENTS_PARAMS,
    feature_mask,
    features_of_folder,
    sorter_components,
    wants_components,
)
from si_curation.reading.probe import make_rec_attributes, match_recording
from si_curation.reading.saving import check_output, save_analyzer
from si_curation.reading.spike_selection import SpikeSelection, select_spikes, warn_of_dropped
from si_curation.reading.templates import SorterTemplates, Unwhiten, make_sorter_templates
from si_curation.reading.unit_templates import (
    main_channels,
    set_unit_templates,
    sparsity_mask,
    weighted_mean_templates,
)

logger = logging.getLogger(__name__)

READER = "si_curation"  # annotation that marks sortings made here
RANDOM_SPIKES_SEED = 0
_TAKEN = ("quality", "original_cluster_id", "main_channel_id", "phy_folder")
_PROPERTY_NAMES = {  # as SpikeInterface names them
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
    max_spikes_per_unit: int | None = 500,
    principal_components: bool | None = None,
    format: Literal["memory", "binary_folder", "zarr"] = "memory",
    folder: str | Path | None = None,
) -> SortingAnalyzer:
    """Read a Kilosort output folder, curated with phy or not, into a SortingAnalyzer.

    Units are phy's clusters with their ids; every spike of the folder is there, in the order of
    its sample index; every column of every cluster table is a unit property, ``quality`` being
    phy's group or "unsorted". No recording is needed: ``random_spikes``, ``templates`` (mean of the
    sorter's templates weighted by spike counts, on the union of their channels),
    ``template_assignment``, ``spike_amplitudes``, ``spike_locations`` (where the folder has
    positions), ``principal_components`` (where it has features), ``unit_locations`` and
    ``template_similarity`` are there at once.

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
    max_spikes_per_unit : int or None
        How many spikes of each unit ``random_spikes`` and ``principal_components`` hold, chosen at
        random; None: all.
    principal_components : bool, optional
        Whether to read the sorter's ``pc_features.npy`` as SpikeInterface's
        ``principal_components``, for its PCA metrics and widgets. By default where they take at
        most 128 MB. The analyzer's sparsity is then the channels on which the sorter stored
        features for the unit's most frequent template, instead of those on which its templates have
        signal (channels without features would make covariances singular); spikes that the file
        does not hold are not chosen.
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
    check_output(format, folder)
    mode = _check_unwhiten(unwhiten)
    _check_components(max_spikes_per_unit, principal_components)
    with read_phy_folder(folder_path, sampling_frequency=sampling_frequency) as phy_folder:
        for finding in phy_folder.findings:
            logger.info("%s", finding)
        matched = None if recording is None else match_recording(recording, phy_folder)
        gains = _channel_values(gain_to_uV, "gain_to_uV", phy_folder.num_channels)
        offsets = _channel_values(offset_to_uV, "offset_to_uV", phy_folder.num_channels)
        if matched is not None:
            gains, offsets, matched = _gains_of(matched, gains, offsets)
        analyzer = _build(
            phy_folder,
            matched,
            mode,
            gains,
            offsets,
            exclude_groups,
            max_spikes_per_unit,
            principal_components,
        )
    if folder is None:
        return analyzer
    return save_analyzer(analyzer, format, folder)


def _check_unwhiten(unwhiten: object) -> Unwhiten | Literal[False]:
    if isinstance(unwhiten, bool | np.bool_):
        return "auto" if unwhiten else False
    if isinstance(unwhiten, str) and unwhiten in ("auto", "phy"):
        return unwhiten  # type: ignore[return-value]
    raise ParameterError(f"unwhiten is {unwhiten!r}, expected 'auto', 'phy', True or False")


def _check_components(max_spikes_per_unit: object, principal_components: object) -> None:
    problems = []
    whole = isinstance(max_spikes_per_unit, int | np.integer)
    whole = whole and not isinstance(max_spikes_per_unit, bool)
    if max_spikes_per_unit is not None and not (whole and max_spikes_per_unit >= 1):  # type: ignore[operator]
        problems.append(
            f"max_spikes_per_unit is {max_spikes_per_unit!r}, expected a whole number from 1, or "
            "None for all spikes"
        )
    if principal_components is not None and not isinstance(principal_components, bool | np.bool_):
        problems.append(
            f"principal_components is {principal_components!r}, expected True, False or None"
        )
    if problems:
        raise ParameterError("; ".join(problems))


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


def _build(
    phy: PhyFolder, recording, mode, gains, offsets, exclude_groups, max_spikes, components
) -> SortingAnalyzer:
    selection = select_spikes(phy, recording, exclude_groups)
    clusters, small_ids = with_small_ids(phy.spike_clusters, phy.cluster_ids)
    ids = small_ids[np.isin(phy.cluster_ids, selection.unit_ids)]  # of the units, in their order
    unit_of_id = positions_of_ids(ids, int(small_ids.max(initial=-1)))
    spikes = make_spike_vector(phy.spike_samples, clusters, unit_of_id, selection.rows)
    template_ids = take_rows(phy.spike_templates, selection.rows, np.int32)
    # counted by cluster, which lie side by side in the file, unlike the spike vector's fields
    if selection.rows is not None:
        clusters = take_rows(clusters, selection.rows)
    counts_by_id = contingency_table(clusters, template_ids, unit_of_id.size, phy.num_templates)
    counts = counts_by_id[ids]
    templates = make_sorter_templates(phy, mode, gains)
    main = main_channels(counts, templates.amplitudes)
    rate = phy.sampling_frequency if recording is None else recording.get_sampling_frequency()
    sorting = NumpySorting(spikes, rate, selection.unit_ids)
    _set_properties(sorting, phy)
    _annotate(sorting, phy, templates, selection)
    chosen = _choose_spikes(phy, clusters, counts_by_id, selection.rows, max_spikes, components)
    row_dtype = np.int32 if phy.num_spikes < 2**31 else np.int64
    rows = np.arange(phy.num_spikes) if selection.rows is None else selection.rows
    rows = rows.astype(row_dtype, copy=False)
    features = features_of_folder(phy, rows, template_ids)
    mask = feature_mask(features, counts, main, phy.num_channels)
    found = None
    if wants_components(features, components, chosen.size, mask) and features is not None:
        found = sorter_components(features, chosen, spikes["unit_index"][chosen], mask, main)
        mask = found.mask
    else:
        mask = sparsity_mask(
            counts,
            templates.support,
            None if templates.are_sparse else templates.amplitudes,
            phy.channel_positions,
            phy.channel_shanks,
        )
        mask[np.arange(len(mask)), main] = True
    if recording is None:
        attributes = make_rec_attributes(phy, selection.num_samples, gains, offsets)
    else:
        attributes = _attributes_of(recording)
    analyzer = make_memory_analyzer(
        sorting,
        recording,
        attributes,
        ChannelSparsity(mask, selection.unit_ids, np.asarray(attributes["channel_ids"])),
        templates.units == "uV",
        main,
    )
    inject_extension(
        analyzer,
        "random_spikes",
        {"random_spikes_indices": chosen},
        {
            "method": "all" if max_spikes is None else "uniform",
            "max_spikes_per_unit": max_spikes,
            "margin_size": None,
            "seed": RANDOM_SPIKES_SEED,
        },
    )
    if found is not None:
        params = {"n_components": int(found.values.shape[1]), **COMPONENTS_PARAMS}
        inject_extension(analyzer, "principal_components", {"pca_projection": found.values}, params)
    _inject(analyzer, phy, templates, counts, template_ids, selection.rows, rows)
    warn_of_dropped(phy, selection)
    return analyzer


def _choose_spikes(phy, clusters, counts_by_id, rows, max_spikes, components) -> NDArray[np.int64]:
    """Choose random spikes of each unit; those that have features where those are wanted."""
    num_spikes_of_id = np.asarray(counts_by_id.sum(axis=1)).ravel()
    stored = (
        phy.pc_feature_rows if phy.pc_features is not None and components is not False else None
    )
    if stored is not None:
        has_features = np.zeros(phy.num_spikes, dtype=bool)
        has_features[stored] = True
        candidates = np.flatnonzero(has_features if rows is None else has_features[rows])
        clusters = clusters[candidates]
        num_spikes_of_id = np.bincount(clusters, minlength=num_spikes_of_id.size)
    if max_spikes is None:
        chosen = np.arange(clusters.size)
    else:
        chosen = choose_random_spikes(clusters, num_spikes_of_id, max_spikes, RANDOM_SPIKES_SEED)
    return chosen if stored is None else candidates[chosen]


def _attributes_of(recording: BaseRecording) -> dict:
    from spikeinterface.core.recording_tools import get_rec_attributes

    attributes = get_rec_attributes(recording)
    attributes["probegroup"] = recording.get_probegroup()
    return attributes


def _inject(
    analyzer, phy, templates: SorterTemplates, counts, template_ids, rows, all_rows
) -> None:
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
    assignment = {
        "spike_template_ids": template_ids,
        "spike_rows": all_rows,
        "templates": templates.templates,
        "template_amplitudes": templates.amplitudes,
        "template_support": templates.support,
        "channel_positions": phy.channel_positions,
        "folder_channels": np.arange(phy.num_channels, dtype=np.int32),
        "template_info": templates.info(phy),
    }
    if phy.template_channels is not None:
        assignment["template_channels"] = phy.template_channels.astype(np.int32)
    if phy.similar_templates is not None:
        assignment["similar_templates"] = np.array(phy.similar_templates, dtype=np.float32)
    inject_extension(analyzer, "template_assignment", assignment, {})
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
    if phy.sorter.name == "spikeinterface":
        # export_to_phy writes spike amplitudes, not factors
        return take_rows(phy.amplitudes, rows, np.float32)
    extremum = extremum_on_channel(templates.templates, templates.amplitudes.argmax(axis=1))
    scale = extremum * templates.amplitude_to_factor
    return scale_by_template(phy.amplitudes, rows, template_ids, scale)


def property_name(column: str) -> str:
    """Name of the unit property that a column of a cluster table becomes.

    As SpikeInterface names it, without characters that file names cannot have, and with ``phy_`` in
    front where the name means something else in an analyzer.

    Examples
    --------
    >>> property_name("group"), property_name("KSLabel"), property_name("quality")
    ('quality', 'KSLabel', 'phy_quality')
    """
    if column in _TAKEN:
        return f"phy_{column}"
    return re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", _PROPERTY_NAMES.get(column, column))


def _set_properties(sorting: NumpySorting, phy: PhyFolder) -> None:
    ids = sorting.unit_ids
    groups = phy.groups
    own = {
        "quality": np.array([groups[int(i)] for i in ids], dtype="U32"),
        "original_cluster_id": ids.astype(np.int64),
        # the same for all units: SpikeInterface keeps it through merges, unlike annotations
        "phy_folder": np.full(ids.size, str(phy.folder)),
    }
    for name, column in phy.columns.items():
        if name != "group":
            sorting.set_property(property_name(name), column.to_array(ids))
    for name, values in own.items():
        sorting.set_property(name, values)


def _annotate(
    sorting, phy: PhyFolder, templates: SorterTemplates, selection: SpikeSelection
) -> None:
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
