"""`read_kilosort_as_analyzer`: a Kilosort/phy folder as a SortingAnalyzer, nothing lost."""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import spikeinterface.postprocessing  # noqa: F401  (registers what is injected)
from numpy.typing import NDArray
from scipy import sparse
from spikeinterface.core import BaseRecording, ChannelSparsity, NumpySorting, SortingAnalyzer

from si_curation._spikeinterface import inject_extension, make_memory_analyzer, set_extension_data
from si_curation.checks import Checks, is_number, local_path, short_repr
from si_curation.errors import ParameterError, SiCurationWarning
from si_curation.files import memory_array, scratch_array
from si_curation.kernels.parallel import run_beside
from si_curation.kernels.spike_files import positions_of_ids, with_small_ids
from si_curation.kernels.spike_vector import (
    Empty,
    choose_random_spikes,
    every_row,
    make_spike_vector,
    scale_by_template,
    take_rows,
)
from si_curation.kernels.template_counts import contingency_table
from si_curation.kernels.templates import extremum_on_channel
from si_curation.phy.arrays import LEFT_OUT
from si_curation.phy.content import cells_of, content_of
from si_curation.phy.folder import PhyFolder, read_phy_folder
from si_curation.phy.params import is_rate, rate_problem
from si_curation.phy.tables import SNAPSHOT, ClusterTables
from si_curation.reading.assignment import assignment_of_folder
from si_curation.reading.components import (
    COMPONENTS_PARAMS,
    feature_mask,
    features_of_folder,
    sorter_components,
    wants_components,
)
from si_curation.reading.observed import OBSERVED_PROPERTY, observed_text
from si_curation.reading.probe import make_rec_attributes, match_recording, planar_locations
from si_curation.reading.saving import check_output, save_analyzer
from si_curation.reading.spike_selection import SpikeSelection, select_spikes, warn_of_dropped
from si_curation.reading.templates import SorterTemplates, Unwhiten, templates_if_there
from si_curation.reading.unit_templates import (
    check_num_units,
    locations_of_units,
    main_channels,
    set_unit_templates,
    sparsity_mask,
    weighted_mean_templates,
)
from si_curation.variables import FileRows, TemplateIds

logger = logging.getLogger(__name__)

_MAX_NAME_BYTES = 200
READER = "si_curation"  # annotation that marks sortings made here
RANDOM_SPIKES_SEED = 0
_TAKEN = ("quality", "original_cluster_id", "main_channel_id", "phy_folder", OBSERVED_PROPERTY)
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
    exclude_groups: str | Collection[str] | None = None,
    max_spikes_per_unit: int | None = 500,
    principal_components: bool | None = None,
    curation: Literal["keep", "discard"] = "keep",
    format: Literal["memory", "binary_folder", "zarr"] = "memory",
    folder: str | Path | None = None,
) -> SortingAnalyzer:
    """Read a Kilosort output folder, curated with phy or not, into a SortingAnalyzer.

    Units are phy's clusters with their ids; every spike of the folder is there, in the order of
    its sample index; every column of every cluster table is a unit property, ``quality`` being
    phy's group or "unsorted". No recording is needed: ``random_spikes``, ``templates`` (mean of the
    sorter's templates weighted by spike counts, on the union of their channels),
    ``template_assignment``, ``spike_amplitudes``, ``spike_locations`` (where the folder has
    positions), ``principal_components`` (where it has features), ``unit_locations`` (centre of the
    channels with signal) and ``template_similarity`` (computed when it is first asked for) are
    there at once.

    Parameters
    ----------
    folder_path : str or Path
        The folder. Nothing in it is executed or changed.
    recording : BaseRecording, optional
        The recording that was sorted, or the one from which channels were removed before; all of
        it, also where Kilosort 4 sorted a part (``tmin``, ``tmax``; see `observed_periods`). Its
        channels are matched by the positions of its probe and by ``channel_map`` (by its ids where
        they are columns of the raw file, by place where it has ``n_channels_dat`` channels); its
        gains are used unless `gain_to_uV` is given.
    unwhiten : {"auto", "phy"} or bool
        "auto" (or True): with the orientation of the sorter that wrote the folder, in float64
        (Kilosort 4 whitens as ``W @ X``, so ``template @ W⁻¹ᵀ``; Kilosort 1 to 3
        ``template @ W⁻¹``), and where Kilosort 4 scaled the raw data or inverted their sign, that
        is undone. "phy": always ``template @ W⁻¹``, bit for bit as phylib (with a gain the scale
        is undone here too). False: the templates stay whitened.
    gain_to_uV, offset_to_uV : float or sequence of float (n_channels,), optional
        Of the raw data. None means unknown: amplitudes and templates are then in the units of the
        raw data (Kilosort 4) or of the sorter's templates (Kilosort 1 to 3), and nothing is
        called µV. With a gain they are in µV; templates of Kilosort 1 to 3, which are of norm 1,
        are then also scaled by the mean of their spikes' ``amplitudes.npy``. Kilosort 2.5 and 3 do
        not write their whitening: what is read from their folders is never in µV, and a gain is
        only kept as a channel property, as the offset always is; filtered templates have none.
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
    curation : {"keep", "discard"}
        "discard": as the sorter left it. Units are the spike templates, and labels are not read,
        but for the sorter's own.
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
        Once, if spikes had to be left out; once, if files of the folder have faults and were left
        out, all of them together; once, if `gain_to_uV` cannot be used.

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
    checks = Checks.of_call(read_kilosort_as_analyzer, locals())
    checks.whole_number("max_spikes_per_unit", max_spikes_per_unit, at_least=1, optional=True)
    for name, value in (("gain_to_uV", gain_to_uV), ("offset_to_uV", offset_to_uV)):
        if is_number(value):  # lists are compared with the number of channels below
            checks.number(name, value)
    checks.require(
        not is_number(gain_to_uV) or gain_to_uV, "gain_to_uV is 0; leave it out if it is not known"
    )
    checks.require(
        sampling_frequency is None
        or "sampling_frequency" in checks.wrong_kinds
        or is_rate(sampling_frequency),
        rate_problem("sampling_frequency", sampling_frequency),
    )
    checks.finish()
    check_output(format, folder)
    mode: Unwhiten | Literal[False] = "auto" if unwhiten is True else unwhiten
    # first: they may change meanwhile
    cells = cells_of(ClusterTables(local_path(folder_path, "folder_path")))
    with read_phy_folder(folder_path, sampling_frequency=sampling_frequency) as phy_folder:
        content = content_of(phy_folder.spike_clusters, phy_folder.cluster_ids, cells)
        if curation == "discard":
            phy_folder = phy_folder.without_curation()
        for finding in phy_folder.findings:
            logger.info("%s", finding)
        matched = None if recording is None else match_recording(recording, phy_folder)
        gains = _channel_values(gain_to_uV, "gain_to_uV", phy_folder.num_channels)
        offsets = _channel_values(offset_to_uV, "offset_to_uV", phy_folder.num_channels)
        if matched is not None:
            matched, gains, offsets = _with_gains(matched, gains, offsets)
        options = _Options(
            mode,
            gains,
            offsets,
            exclude_groups,
            max_spikes_per_unit,
            principal_components,
            gain_to_uV is not None,
            memory_array if format == "memory" else scratch_array,
        )
        if principal_components:
            phy_folder.require(
                "templates.npy", "pc_features.npy", "pc_feature_ind.npy", "pc_feature_spike_ids.npy"
            )
        analyzer = _build(phy_folder, matched, options)
        _note_content(analyzer, content)
        _warn_of_left_out(phy_folder)
    if folder is None:
        return analyzer
    return save_analyzer(analyzer, format, folder)


def _note_content(analyzer: SortingAnalyzer, content: dict[str, Any]) -> None:
    """Keep what the folder held, for what is written back into it."""
    extension = analyzer.get_extension("template_assignment")
    set_extension_data(extension, {"template_info": {**extension.info, "read_content": content}})


def _warn_of_left_out(folder: PhyFolder) -> None:
    """Warn once of files that were left out.

    Of tables that nobody needs, which are phy's snapshot and tables of any name, where they have a
    column that no other has.
    """
    faults = [finding for finding in folder.findings if LEFT_OUT in finding.evidence]
    used = {column.file for column in folder.columns.values()}
    needless = {
        finding.where
        for finding in faults
        if finding.where.endswith((".tsv", ".csv"))
        and (not finding.where.startswith("cluster_") or Path(finding.where).stem == SNAPSHOT)
    }
    faults = [finding for finding in faults if finding.where not in needless - used]
    if faults:
        shown = "; ".join(map(str, faults))
        warnings.warn(
            f"{folder.folder}: read without what has a fault: {shown}{_guess_of(folder)}",
            SiCurationWarning,
            stacklevel=3,
        )


def _guess_of(folder: PhyFolder) -> str:
    """Say what was guessed in place of what is missing."""
    if folder.templates is not None:
        return ""
    place = "the middle of the probe"
    if folder.spike_positions is not None:
        place = "the mean of spike_positions.npy"
    return f"; the main channels that SpikeInterface needs are a guess, next to {place}"


def _warn_of_unused_gains(folder: PhyFolder) -> None:
    text = (
        f"{folder.folder}: gain_to_uV puts nothing into µV here: the whitening of the templates of "
        f"{folder.sorter.name} is not in the folder, and they and the amplitudes stay in the units "
        "of the whitened data. For µV compute both from the recording with SpikeInterface"
    )
    if folder.whitening is None and folder.whitening_inv is None:  # the files are missing
        logger.warning("%s", text)
    else:
        warnings.warn(text, SiCurationWarning, stacklevel=4)


class _Options(NamedTuple):
    """What was asked of the reader, checked; see `read_kilosort_as_analyzer`."""

    unwhiten: Unwhiten | Literal[False]
    gains: NDArray[np.float64] | None  # (n_channels,)
    offsets: NDArray[np.float64] | None  # (n_channels,)
    exclude_groups: str | Collection[str] | None
    max_spikes: int | None
    components: bool | None
    gains_are_given: bool = False  # by the user, not by a recording
    empty: Empty = np.empty  # where arrays of all spikes are: in memory, or on the disk


def _channel_values(
    value: float | Sequence[float] | None, name: str, num_channels: int
) -> NDArray[np.float64] | None:
    """Return one value for each channel; None where there are none."""
    if value is None:
        return None
    try:
        values = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if values.shape not in ((), (1,), (num_channels,)) or not np.isfinite(values).all():
        shown = short_repr(value)
        raise ParameterError(f"{name} is {shown}, expected a number or {num_channels} numbers")
    if name == "gain_to_uV" and np.any(values == 0):
        raise ParameterError("gain_to_uV is 0; leave it out if the gain is not known")
    return np.broadcast_to(values.reshape(-1), num_channels).copy()


def _with_gains(
    recording: BaseRecording,
    gains: NDArray[np.float64] | None,
    offsets: NDArray[np.float64] | None,
) -> tuple[BaseRecording, NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Return a recording, its gains and offsets: those that are given, else its own."""
    if gains is not None:
        recording = recording.clone()
        recording.set_channel_gains(gains)
        recording.set_channel_offsets(np.zeros_like(gains) if offsets is None else offsets)
    elif recording.has_scaleable_traces():
        gains = np.asarray(recording.get_channel_gains(), dtype=np.float64)
        offsets = np.asarray(recording.get_channel_offsets(), dtype=np.float64)
    return recording, gains, offsets


class _FolderSpikes(NamedTuple):
    """The spikes of an analyzer, and what is counted of them."""

    selection: SpikeSelection
    vector: NDArray[np.void]  # SpikeInterface's spike vector
    rows: FileRows  # row of each spike in the files
    template_ids: TemplateIds  # of each spike
    counts: sparse.csr_array  # (n_units, n_templates)
    cluster_index: NDArray[np.integer]  # of each spike: row of counts_by_cluster
    counts_by_cluster: sparse.csr_array  # (n_small_ids, n_templates); units that are left out too


def _take_spikes(
    folder: PhyFolder, recording: BaseRecording | None, options: _Options
) -> _FolderSpikes:
    """Take the spikes of a folder that an analyzer can hold."""
    selection = select_spikes(folder, recording, options.exclude_groups)
    clusters, small_ids = with_small_ids(folder.spike_clusters, folder.cluster_ids)
    ids = small_ids[np.isin(folder.cluster_ids, selection.unit_ids)]  # of the units, in their order
    unit_of_id = positions_of_ids(ids, int(small_ids.max(initial=-1)))
    empty = options.empty
    vector = make_spike_vector(folder.spike_samples, clusters, unit_of_id, selection.rows, empty)
    template_ids = take_rows(folder.spike_templates, selection.rows, np.int32, empty)
    # counted by cluster, which lie side by side in the file, unlike the spike vector's fields
    if selection.rows is not None:
        clusters = take_rows(clusters, selection.rows)
    counts_by_id = contingency_table(clusters, template_ids, unit_of_id.size, folder.num_templates)
    dtype = np.int32 if folder.num_spikes < 2**31 else np.int64
    rows = every_row(folder.num_spikes, dtype) if selection.rows is None else selection.rows
    return _FolderSpikes(
        selection,
        vector,
        FileRows(rows.astype(dtype, copy=False)),
        TemplateIds(template_ids),
        counts_by_id[ids],
        clusters,
        counts_by_id,
    )


def _build(
    folder: PhyFolder, recording: BaseRecording | None, options: _Options
) -> SortingAnalyzer:
    """Return an analyzer in memory."""
    spikes = _take_spikes(folder, recording, options)
    unit_ids = spikes.selection.unit_ids
    check_num_units(unit_ids.size, str(folder.folder))
    templates, chosen = run_beside(
        lambda: templates_if_there(folder, options.unwhiten, options.gains),
        lambda: _choose_spikes(folder, spikes, options),  # on one thread, most of its time
    )
    if templates is None:
        main = _guessed_main_channels(folder, spikes)
    else:
        if options.gains_are_given and options.unwhiten and templates.units == "whitened":
            _warn_of_unused_gains(folder)
        main = main_channels(spikes.counts, templates.amplitudes)
    rate = folder.sampling_frequency if recording is None else recording.get_sampling_frequency()
    sorting = NumpySorting(spikes.vector, rate, unit_ids)
    _set_properties(sorting, folder)
    num_samples = recording.get_num_samples() if recording else spikes.selection.num_samples
    observed = observed_text(folder, num_samples)
    if observed is not None:
        sorting.set_property(OBSERVED_PROPERTY, np.full(unit_ids.size, observed))
    _annotate(sorting, folder, templates, spikes.selection)
    mask, components = None, None
    if templates is not None:
        mask, components = _channels_and_components(
            folder, spikes, templates, chosen, main, options
        )
    if recording is None:
        num_samples = spikes.selection.num_samples
        attributes = make_rec_attributes(folder, num_samples, options.gains, options.offsets)
    else:
        attributes = _attributes_of(recording)
    channel_ids = np.asarray(attributes["channel_ids"])
    sparsity = None if mask is None else ChannelSparsity(mask, unit_ids, channel_ids)
    in_uv = templates is not None and templates.units == "uV"
    analyzer = make_memory_analyzer(sorting, recording, attributes, sparsity, in_uv, main)
    inject_extension(
        analyzer,
        "random_spikes",
        {"random_spikes_indices": chosen},
        {
            "method": "all" if options.max_spikes is None else "uniform",
            "max_spikes_per_unit": options.max_spikes,
            "margin_size": None,
            "seed": RANDOM_SPIKES_SEED,
        },
    )
    if components is not None:
        params = {"n_components": int(components.shape[1]), **COMPONENTS_PARAMS}
        inject_extension(analyzer, "principal_components", {"pca_projection": components}, params)
    if templates is not None:
        _inject_templates(analyzer, folder, templates, spikes, options.empty)
    _inject(analyzer, folder, templates, spikes, options.empty)
    warn_of_dropped(folder, spikes.selection)
    return analyzer


def _guessed_main_channels(folder: PhyFolder, spikes: _FolderSpikes) -> NDArray[np.int64]:
    """Return a channel for each unit of a folder without templates: SpikeInterface needs one.

    The one next to the mean of its ``spike_positions.npy``; where there is none, the one in the
    middle of the probe, as SpikeInterface takes it. Nothing of this package gives it as a result.
    """
    from scipy.spatial import cKDTree

    places = folder.channel_positions.astype(np.float64)
    num_units = spikes.selection.unit_ids.size
    wanted = np.tile(places.mean(axis=0), (num_units, 1))
    if folder.spike_positions is not None:
        unit_index = spikes.vector["unit_index"]
        positions = take_rows(folder.spike_positions, spikes.selection.rows)[:, :2]
        finite = np.isfinite(positions).all(axis=1)
        unit_index, positions = unit_index[finite], positions[finite]
        counts = np.bincount(unit_index, minlength=num_units)
        for axis in range(2):
            total = np.bincount(unit_index, positions[:, axis], minlength=num_units)
            np.divide(total, counts, out=wanted[:, axis], where=counts > 0)
    return np.asarray(cKDTree(places).query(wanted)[1], dtype=np.int64).reshape(num_units)


def _channels_and_components(
    folder: PhyFolder,
    spikes: _FolderSpikes,
    templates: SorterTemplates,
    chosen: NDArray[np.int64],
    main: NDArray[np.int64],
    options: _Options,
) -> tuple[NDArray[np.bool_], NDArray[np.float32] | None]:
    """Return the channels of each unit, and principal components where they are wanted."""
    features = features_of_folder(folder, spikes.rows, spikes.template_ids)
    mask = feature_mask(features, spikes.counts, main, folder.num_channels)
    wanted = wants_components(features, options.components, chosen.size, mask)
    if wanted and features is not None:
        unit_index = spikes.vector["unit_index"][chosen]
        found = sorter_components(features, chosen, unit_index, mask, main)
        return found.mask, found.values
    mask = sparsity_mask(
        spikes.counts,
        templates.support,
        None if templates.are_sparse else templates.amplitudes,
        folder.channel_positions,
        folder.channel_shanks,
    )
    mask[np.arange(len(mask)), main] = True
    return mask, None


def _choose_spikes(
    folder: PhyFolder, spikes: _FolderSpikes, options: _Options
) -> NDArray[np.int64]:
    """Choose random spikes of each unit; those that have features where those are wanted."""
    clusters, rows, stored = spikes.cluster_index, spikes.selection.rows, folder.pc_feature_rows
    num_spikes_of_id = np.asarray(spikes.counts_by_cluster.sum(axis=1)).ravel()
    candidates = None
    if folder.pc_features is not None and options.components is not False and stored is not None:
        has_features = np.zeros(folder.num_spikes, dtype=bool)
        has_features[stored] = True
        candidates = np.flatnonzero(has_features if rows is None else has_features[rows])
        clusters = clusters[candidates]
        num_spikes_of_id = np.bincount(clusters, minlength=num_spikes_of_id.size)
    if options.max_spikes is None:
        chosen = np.arange(clusters.size)
    else:
        chosen = choose_random_spikes(
            clusters, num_spikes_of_id, options.max_spikes, RANDOM_SPIKES_SEED
        )
    return chosen if candidates is None else candidates[chosen]


def _attributes_of(recording: BaseRecording) -> dict[str, Any]:
    from spikeinterface.core.recording_tools import get_rec_attributes

    attributes = get_rec_attributes(recording)
    attributes["probegroup"] = recording.get_probegroup()
    return attributes


def _inject_templates(
    analyzer: SortingAnalyzer,
    folder: PhyFolder,
    templates: SorterTemplates,
    spikes: _FolderSpikes,
    empty: Empty,
) -> None:
    """Put in the templates of the units, and the amplitudes that are scaled by them."""
    num_samples = templates.templates.shape[1]
    ms = 1000.0 / folder.sampling_frequency
    places = planar_locations(analyzer)
    unit_templates, locations = run_beside(
        lambda: weighted_mean_templates(spikes.counts, templates.templates),
        lambda: locations_of_units(spikes.counts, templates.amplitudes, places),
    )
    set_unit_templates(
        analyzer,
        unit_templates,
        {
            "operators": ["average", "std"],
            "ms_before": folder.num_samples_before * ms,
            "ms_after": (num_samples - folder.num_samples_before) * ms,
        },
        locations,
    )
    amplitudes = _spike_amplitudes(folder, templates, spikes, empty)
    if amplitudes is not None:
        inject_extension(analyzer, "spike_amplitudes", {"amplitudes": amplitudes}, {})


def _inject(
    analyzer: SortingAnalyzer,
    folder: PhyFolder,
    templates: SorterTemplates | None,
    spikes: _FolderSpikes,
    empty: Empty,
) -> None:
    """Put in the template of each spike, and its location."""
    assignment = assignment_of_folder(folder, templates, spikes.rows, spikes.template_ids)
    inject_extension(analyzer, "template_assignment", assignment, {})
    if folder.spike_positions is not None:
        positions = take_rows(folder.spike_positions, spikes.selection.rows, empty=empty)
        names = ["x", "y", "z"][: positions.shape[1]]
        dtype = np.dtype([(name, positions.dtype) for name in names])
        locations = np.ascontiguousarray(positions[:, : len(names)]).view(dtype).reshape(-1)
        inject_extension(analyzer, "spike_locations", {"spike_locations": locations}, {})


def _spike_amplitudes(
    folder: PhyFolder, templates: SorterTemplates, spikes: _FolderSpikes, empty: Empty
) -> NDArray[np.float32] | None:
    """Return the signed amplitude of each spike: its factor times its template's extremum.

    On the main channel of the spike's own template, in the units of the templates.
    """
    rows = spikes.selection.rows
    if folder.amplitudes is None:
        return None
    if folder.sorter.name == "spikeinterface":
        # export_to_phy writes spike amplitudes, not factors
        return take_rows(folder.amplitudes, rows, np.float32, empty)
    extremum = extremum_on_channel(templates.templates, templates.amplitudes.argmax(axis=1))
    scale = extremum * templates.amplitude_to_factor
    return scale_by_template(folder.amplitudes, rows, spikes.template_ids, scale, empty)


def property_name(column: str) -> str:
    """Return the name of the unit property that a column of a cluster table becomes.

    As SpikeInterface names it, without characters that file names cannot have, shortened where no
    file can be called so, and with ``phy_`` in front where the name means something else in an
    analyzer.

    Examples
    --------
    >>> property_name("group"), property_name("KSLabel"), property_name("quality")
    ('quality', 'KSLabel', 'phy_quality')
    """
    if column in _TAKEN:
        return f"phy_{column}"
    name = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", _PROPERTY_NAMES.get(column, column))
    if not name.strip("."):  # would be a folder, in zarr
        return name.replace(".", "_")
    if len(name.encode("utf-8", "replace")) <= _MAX_NAME_BYTES:
        return name
    digest = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=4).hexdigest()
    return f"{name[:40]}_{digest}"


def _set_properties(sorting: NumpySorting, folder: PhyFolder) -> None:
    ids = sorting.unit_ids
    groups = folder.groups
    own = {
        "quality": np.array([groups[int(i)] for i in ids], dtype="U32"),
        "original_cluster_id": ids.astype(np.int64),
        # the same for all units: SpikeInterface keeps it through merges, unlike annotations
        "phy_folder": np.full(ids.size, str(folder.folder)),
    }
    for name, column in folder.columns.items():
        if name != "group":
            sorting.set_property(property_name(name), column.to_array(ids))
    for name, values in own.items():
        sorting.set_property(name, values)


def _annotate(
    sorting: NumpySorting,
    folder: PhyFolder,
    templates: SorterTemplates | None,
    selection: SpikeSelection,
) -> None:
    sorting.annotate(
        phy_folder=str(folder.folder),
        reader=READER,
        sorter=folder.sorter.name,
        sorter_version=folder.sorter.version or "",
        sorter_evidence=folder.sorter.evidence,
        unwhitening="" if templates is None else templates.unwhitening,
        num_dropped_spikes=int(selection.dropped_rows.size),
        dropped_spike_rows=selection.dropped_rows.tolist(),
    )
