"""Simulated Kilosort and phy folders, of any size and dialect, with the truth beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from si_curation.checks import Checks, local_path
from si_curation.simulation.checks import (
    check_dtypes,
    check_fractions,
    check_numbers,
    check_sorter_settings,
    check_steps,
    initial_labels,
    prepare_folder,
    sorted_samples,
    sorted_scale,
)
from si_curation.simulation.curation import (
    CurationOperation,
    Metadata,
    PhyCuration,
    curate,
    write_phy_tables,
)
from si_curation.simulation.dialects import DIALECTS, VERSION_DIALECTS, FolderWriter
from si_curation.simulation.files import (
    SortedRecording,
    sorter_metadata,
    write_kilosort4_files,
    write_params,
    write_phy_snapshot,
    write_sorter_tables,
)
from si_curation.simulation.sorter import Sorter, whitening_matrices, write_sorter
from si_curation.simulation.spikes import (
    Spikes,
    make_spikes,
    norm_amplitudes,
    template_projections,
    write_projected,
)
from si_curation.simulation.spikes import write_positions as write_spike_positions
from si_curation.simulation.templates import make_probe

__all__ = [
    "DIALECT_NAMES",
    "VERSION_DIALECT_NAMES",
    "CurationOperation",
    "SimulatedFolder",
    "simulate_kilosort_folder",
]

_KNOWN_DIALECTS = {**DIALECTS, **VERSION_DIALECTS}
#: The dialects that can be simulated, with everything that a folder of the kind can have.
DIALECT_NAMES = tuple(DIALECTS)
#: Those of single versions that wrote something else.
VERSION_DIALECT_NAMES = tuple(VERSION_DIALECTS)

# one random stream for each thing drawn, so that what is not drawn changes nothing else
_SEEDS = (
    "probe",
    "whitening",
    "basis",
    "templates",
    "blank",
    "factors",
    "spikes",
    "order",
    "amplitudes",
    "positions",
    "rows",
    "pc_features",
    "template_features",
    "kilosort4",
    "tables",
    "curation",
)


@dataclass(frozen=True, repr=False)
class SimulatedFolder:
    """A simulated folder and the truth about it.

    Attributes
    ----------
    folder : pathlib.Path
        Where it is.
    dialect : str
        Who seems to have written it.
    spike_samples : np.ndarray
        (n_spikes,), int64, in the row order of the files.
    spike_templates, spike_clusters : np.ndarray
        (n_spikes,), int32, in the row order of the files.
    groups : dict
        ``{cluster id: group}`` of the clusters that phy shows a group for.
    templates_whitened : np.ndarray
        (n_templates, n_samples, n_channels), float64: what ``templates.npy`` holds, over all
        channels.
    templates_unwhitened : np.ndarray
        The same, unwhitened in the orientation of the sorter with the inverse that is stored;
        for sparse templates with the sub-matrix of each template's own channels.
    channel_positions : np.ndarray
        (n_channels, 2), float64, um.
    channel_shanks : np.ndarray
        (n_channels,), int64.
    channel_map : np.ndarray
        (n_channels,), int64: column of the raw file.
    num_samples_before : int
        Sample of the peak within a template.
    operations : list of CurationOperation
        What was done to the clusters, in order.
    sampling_frequency : float
        In Hz.
    orientation : str
        ``"right"`` where a whitened template is ``template @ W``, ``"left"`` where it is
        ``template @ W.T``.
    sorted_scale : float
        What the raw data were multiplied by before they were sorted.
    """

    folder: Path
    dialect: str
    spike_samples: np.ndarray
    spike_templates: np.ndarray
    spike_clusters: np.ndarray
    groups: dict[int, str]
    templates_whitened: np.ndarray
    templates_unwhitened: np.ndarray
    channel_positions: np.ndarray
    channel_shanks: np.ndarray
    channel_map: np.ndarray
    num_samples_before: int
    operations: list[CurationOperation]
    sampling_frequency: float
    orientation: str
    sorted_scale: float = 1.0

    def __repr__(self) -> str:
        spikes, templates = len(self.spike_samples), len(self.templates_whitened)
        return (
            f"SimulatedFolder({str(self.folder)!r}: {self.dialect}, {spikes} spikes, "
            f"{templates} templates)"
        )

    @property
    def templates_raw(self) -> np.ndarray:
        """The unwhitened templates in the units of the raw data."""
        return self.templates_unwhitened / self.sorted_scale


def simulate_kilosort_folder(
    folder: str | Path,
    *,
    dialect: str = "kilosort4",
    num_templates: int = 20,
    num_channels: int = 32,
    num_spikes: int = 20_000,
    duration_s: float | None = None,
    sampling_frequency: float = 30_000.0,
    num_shanks: int = 1,
    num_raw_channels: int | None = None,
    num_empty_templates: int = 0,
    num_zero_templates: int = 0,
    num_nan_templates: int = 0,
    shared_fraction: float = 0.01,
    column_vectors: bool | None = None,
    dtypes: Mapping[str, str] | None = None,
    shuffled: bool = False,
    write_features: bool = True,
    write_template_features: bool | None = None,
    write_positions: bool | None = None,
    feature_rows: int | None = None,
    curation: Sequence[Sequence[Any]] | int | None = None,
    labels: Mapping[Any, Any] | None = None,
    whitening: str | np.ndarray | None = None,
    sorter_settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    seed: int = 0,
    progress_bar: bool = False,
) -> SimulatedFolder:
    """Write a folder as Kilosort writes it and, if asked, as phy leaves it after curation.

    Files, shapes, dtypes and memory order are those of the dialect. Templates are spikes with a
    random centre, width and shape on a probe with staggered columns. There is no raw recording.

    Parameters
    ----------
    folder : str or pathlib.Path
        Where to write. Created; it must be empty or not exist.
    dialect : str, default: "kilosort4"
        ``"kilosort1"`` (sparse templates, ``template_ind.npy`` padded with -1),
        ``"kilosort1_all_channels"`` (``template_ind.npy`` lists all channels in every row),
        ``"kilosort2"``, ``"kilosort2.5"``, ``"kilosort3"`` or ``"kilosort4"``; or the name of
        a version that wrote something else (`VERSION_DIALECT_NAMES`; docs, files.md):
        ``"kilosort1.0"``, ``"kilosort2.0_beta"``, ``"kilosort3.0.2"``, ``"kilosort4.0.0"``,
        ``"kilosort4.0.2"``, ``"kilosort4.0.6"``, ``"kilosort4.0.13"`` or ``"kilosort4.0.32"``.
    num_templates : int, default: 20
        Rows of ``templates.npy``, special ones included.
    num_channels : int, default: 32
        Channels that were sorted.
    num_spikes : int, default: 20_000
        Number of spikes.
    duration_s : float or None, default: None
        Length of the recording. None: such that a template fires at 5 Hz on average, and at
        least 10 s.
    sampling_frequency : float, default: 30_000.0
        In Hz.
    num_shanks : int, default: 1
        Shanks, 200 um apart, with about as many channels each.
    num_raw_channels : int or None, default: None
        Channels of the raw file. If there are more than ``num_channels``, the channels are a
        random subset of them (in random order for Kilosort 1). None: ``num_channels``.
    num_empty_templates : int, default: 0
        Templates that have a waveform but no spike.
    num_zero_templates, num_nan_templates : int, default: 0
        Templates that are all zero, or all NaN, and have no spike.
    shared_fraction : float, default: 0.01
        Fraction of the spikes that have their exact sample in common with a spike of another
        template. All other spikes have a sample of their own.
    column_vectors : bool or None, default: None
        Shape of vectors: (n, 1) or (n,). None: as the dialect writes them.
    dtypes : dict or None, default: None
        dtypes that differ from the dialect's, ``{file name without .npy: dtype}``.
    shuffled : bool, default: False
        Write the spikes in random order instead of sorted by time.
    write_features : bool, default: True
        Write ``pc_features.npy``, if the dialect has it. Everything but the features is the same
        without.
    write_template_features : bool or None, default: None
        Write ``template_features.npy``. None: as the dialect does (Kilosort 1, 2 and 2.5 do),
        if ``write_features``.
    write_positions : bool or None, default: None
        Write ``spike_positions.npy``. None: as the dialect does (Kilosort 4 does).
    feature_rows : int or None, default: None
        Write the features of that many spikes only, with ``pc_feature_spike_ids.npy`` (and
        ``template_feature_spike_ids.npy``). None: of all spikes.
    curation : list of tuple, int or None, default: None
        What to do as phy does it: ``("merge", ids)``; ``("split", id, how)`` where ``how`` is a
        boolean mask over the spikes of the cluster, a list of lists of spikes counted within
        the cluster, or a number of random parts; ``("label", ids, value[, field])`` with
        ``field="group"``. Or a number of random operations. The folder is then as phy saves
        it, with ``cluster_info.tsv``.
    labels : dict or None, default: None
        Labels that exist before ``curation``: ``{cluster id: group}``, or
        ``{field: {cluster id: value}}``.
    whitening : str, np.ndarray or None, default: None
        ``"symmetric"``, ``"local"`` (not symmetric), ``"diagonal"``, or the
        (n_channels, n_channels) matrix to store. None: as the dialect has it.
    sorter_settings : dict or None, default: None
        Settings of Kilosort 4 that differ from its defaults, as ``ops.npy`` has them. With
        ``scale`` and ``invert_sign`` the same raw data were sorted as ``±(scale·raw + shift)``:
        whitening, templates and features are what Kilosort then writes. With ``tmin`` and ``tmax``
        (s) all spikes lie between them. With ``nblocks`` there is a drift estimate.
    overwrite : bool, default: False
        Delete the ``.npy`` files, ``cluster_*`` tables, ``params.py`` and phy's cache that are
        in the folder, instead of refusing.
    seed : int, default: 0
        Equal seeds and parameters give equal files.
    progress_bar : bool, default: False
        Show progress while per-spike arrays are written.

    Returns
    -------
    SimulatedFolder
        The truth.

    Raises
    ------
    FileExistsError
        If the folder has content and ``overwrite`` is False.
    ValueError
        If a parameter makes no sense.

    Notes
    -----
    As in phy, the first new cluster id is one more than the largest id *that has spikes*. If
    the last templates have no spikes, a merged cluster can so have the id of an unrelated
    template.

    phy overwrites NaN templates with zeros in ``templates.npy`` as soon as it opens a folder;
    here they stay NaN after curation. All else that ``curation`` writes is what phy writes.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from si_curation.simulation.simulate import simulate_kilosort_folder
    >>> folder = Path(tempfile.mkdtemp()) / "sorting"
    >>> truth = simulate_kilosort_folder(
    ...     folder, num_templates=5, num_spikes=1000, curation=[("merge", [1, 3])]
    ... )
    >>> sorted(set(truth.spike_clusters.tolist()))
    [0, 2, 4, 5]
    >>> truth.templates_unwhitened.shape
    (5, 61, 32)
    """
    checks = Checks.of_call(simulate_kilosort_folder, locals())
    num_blank = (num_zero_templates, num_nan_templates, num_empty_templates)
    num_raw = num_channels if num_raw_channels is None else num_raw_channels
    checks.choice("dialect", dialect, tuple(_KNOWN_DIALECTS))
    checks.whole_number("seed", seed, at_least=0)
    check_fractions(checks, shared_fraction, sampling_frequency, duration_s)
    check_numbers(checks, num_templates, num_blank, num_channels, num_raw, num_shanks, num_spikes)
    check_steps(checks, feature_rows, num_spikes, curation)
    checks.finish()
    spec = _KNOWN_DIALECTS[dialect]
    write_features = write_features and spec.features
    path = local_path(folder, "folder")
    writer = FolderWriter(path, spec, column_vectors, check_dtypes(spec, dtypes))
    seeds = dict(zip(_SEEDS, np.random.SeedSequence(seed).spawn(len(_SEEDS)), strict=True))
    probe = make_probe(
        num_channels, num_shanks, num_raw, permuted=bool(spec.sparse), seed=seeds["probe"]
    )
    matrices = whitening_matrices(whitening, probe, spec, seeds["whitening"])
    changed = check_sorter_settings(spec, sorter_settings)
    prepare_folder(writer.folder, overwrite)
    write_params(writer, num_raw_channels=num_raw, sampling_frequency=sampling_frequency)
    scale = sorted_scale(changed)
    sorter = write_sorter(writer, probe, matrices, num_templates, num_blank, seeds, scale)

    if duration_s is None:
        duration_s = max(10.0, num_spikes / (5.0 * len(sorter.active)))
    num_samples = int(duration_s * sampling_frequency)
    first, stop = sorted_samples(changed, num_samples, sampling_frequency)
    order = seeds["order"] if shuffled else None
    spikes = _draw_spikes(sorter, num_spikes, stop - first, shared_fraction, seeds, order)
    spikes.samples[:] += first
    amplitudes = _write_spikes(writer, sorter, spikes, seeds)
    if spec.is_kilosort4:
        recording = SortedRecording(num_raw, float(sampling_frequency), stop - first, changed)
        _write_kilosort4_files(writer, sorter, spikes, num_templates, recording, seeds)
    if spec.is_kilosort4 if write_positions is None else write_positions:
        _write_positions(writer, sorter, spikes, seeds, progress_bar)
    files = _FeatureFiles(writer, spikes, _draw_rows(feature_rows, num_spikes, seeds), seeds)
    if write_features:
        norms = amplitudes if spec.amplitudes == "norm" else None
        files.write("pc_feature", sorter.projections, norms, progress_bar)
        writer.save("pc_feature_ind", sorter.templates.feature_channels)
    if write_template_features is None:
        write_template_features = write_features and spec.template_features
    if write_template_features:
        onto, onto_ids = template_projections(sorter.templates.whitened, sorter.similarity)
        files.write("template_feature", onto, None, progress_bar)
        writer.save("template_feature_ind", onto_ids)
    initial = initial_labels(labels)
    metadata = {**_write_sorter_tables(writer, sorter, spikes, seeds), **initial}
    write_phy_tables(writer.folder, initial)
    clusters = None
    if curation is None:
        writer.save("spike_clusters", spikes.templates)
    else:
        clusters = PhyCuration(spikes.templates, metadata)
        curate(clusters, curation, spikes.templates, sorter.similarity, seeds["curation"])
        _write_as_phy_saves(writer, clusters, spikes, sorter, sampling_frequency)
    fs = float(sampling_frequency)
    return _truth(writer, sorter, spikes, clusters, initial, dialect, fs, scale)


def _draw_spikes(
    sorter: Sorter,
    num_spikes: int,
    num_samples: int,
    shared_fraction: float,
    seeds: Mapping[str, np.random.SeedSequence],
    seed_of_order: np.random.SeedSequence | None,
) -> Spikes:
    """Draw the spikes, in order of time or shuffled."""
    seed = seeds["spikes"]
    factors = sorter.median_factors
    spikes = make_spikes(num_spikes, sorter.active, num_samples, shared_fraction, factors, seed)
    if seed_of_order is None:
        return spikes
    return spikes.reordered(np.random.default_rng(seed_of_order).permutation(num_spikes))


def _write_sorter_tables(
    writer: FolderWriter,
    sorter: Sorter,
    spikes: Spikes,
    seeds: Mapping[str, np.random.SeedSequence],
) -> Metadata:
    """Write the tables of the sorter, if the dialect has some, and return what is in them."""
    if not writer.dialect.tables:
        return {}
    metadata = sorter_metadata(
        writer.dialect, sorter.whitened, sorter.unwhitened, spikes, seeds["tables"]
    )
    write_sorter_tables(writer, metadata)
    return metadata


def _write_spikes(
    writer: FolderWriter,
    sorter: Sorter,
    spikes: Spikes,
    seeds: Mapping[str, np.random.SeedSequence],
) -> np.ndarray:
    """Write times, templates and amplitudes of the spikes; return the amplitudes."""
    amplitudes = spikes.factors
    if writer.dialect.amplitudes == "norm":
        amplitudes = norm_amplitudes(spikes, sorter.projections, seeds["amplitudes"])
    writer.save("spike_times", spikes.samples)
    if not writer.dialect.detection_as_templates:
        writer.save("spike_templates", spikes.templates)
    writer.save("amplitudes", amplitudes)
    return amplitudes


def _write_kilosort4_files(
    writer: FolderWriter,
    sorter: Sorter,
    spikes: Spikes,
    num_templates: int,
    recording: SortedRecording,
    seeds: Mapping[str, np.random.SeedSequence],
) -> None:
    """Write what only Kilosort 4 writes."""
    write_kilosort4_files(
        writer,
        sorter.probe,
        sorter.basis,
        sorter.applied_whitening,
        spikes.templates,
        num_templates,
        recording,
        seeds["kilosort4"],
    )


def _write_as_phy_saves(
    writer: FolderWriter,
    clusters: PhyCuration,
    spikes: Spikes,
    sorter: Sorter,
    sampling_frequency: float,
) -> None:
    """Write the clusters, a flat vector of int32, and phy's tables."""
    as_phy = replace(writer, dtypes={"spike_clusters": "int32", **writer.dtypes})
    as_phy.save("spike_clusters", clusters.spike_clusters(), column=False)
    write_phy_snapshot(
        writer,
        clusters,
        spikes,
        sorter.templates,
        sorter.inverse,
        sorter.probe,
        sampling_frequency,
    )


def _truth(
    writer: FolderWriter,
    sorter: Sorter,
    spikes: Spikes,
    clusters: PhyCuration | None,
    initial: Metadata,
    dialect: str,
    sampling_frequency: float,
    scale: float,
) -> SimulatedFolder:
    """Return what was written."""
    groups = initial if clusters is None else clusters.current_metadata()
    return SimulatedFolder(
        folder=writer.folder,
        dialect=dialect,
        spike_samples=spikes.samples,
        spike_templates=spikes.templates,
        spike_clusters=spikes.templates if clusters is None else clusters.spike_clusters(),
        groups=dict(groups.get("group", {})),
        templates_whitened=sorter.whitened,
        templates_unwhitened=sorter.unwhitened,
        channel_positions=sorter.probe.positions,
        channel_shanks=sorter.probe.shanks,
        channel_map=sorter.probe.channel_map,
        num_samples_before=writer.dialect.num_samples_before,
        operations=[] if clusters is None else clusters.operations,
        sampling_frequency=sampling_frequency,
        orientation=writer.dialect.orientation,
        sorted_scale=scale,
    )


def _write_positions(
    writer: FolderWriter,
    sorter: Sorter,
    spikes: Spikes,
    seeds: Mapping[str, np.random.SeedSequence],
    progress_bar: bool,
) -> None:
    """Write ``spike_positions.npy``."""
    blocks = write_spike_positions(
        writer,
        spikes,
        sorter.projections,
        sorter.templates.feature_channels,
        sorter.probe.positions,
        seeds["positions"],
    )
    _run(blocks, "spike_positions", len(spikes), progress_bar)


def _draw_rows(
    count: int | None, num_spikes: int, seeds: Mapping[str, np.random.SeedSequence]
) -> np.ndarray | None:
    """Draw the spikes that feature files hold; None: all."""
    if count is None:
        return None
    rng = np.random.default_rng(seeds["rows"])
    return np.sort(rng.choice(num_spikes, count, replace=False))


@dataclass(frozen=True)
class _FeatureFiles:
    """Writes the feature files of some spikes (`rows`; None: of all)."""

    writer: FolderWriter
    spikes: Spikes
    rows: np.ndarray | None
    seeds: Mapping[str, np.random.SeedSequence]

    def write(
        self, name: str, projections: np.ndarray, norms: np.ndarray | None, progress_bar: bool
    ) -> None:
        """Write ``<name>s.npy`` and, if it holds some rows only, ``<name>_spike_ids.npy``."""
        num_rows = len(self.spikes)
        if self.rows is not None:
            num_rows = len(self.rows)
            self.writer.save(f"{name}_spike_ids", self.rows)
        name = f"{name}s"
        seed = self.seeds[name]
        blocks = write_projected(
            self.writer, name, self.spikes, self.rows, projections, seed, norms=norms
        )
        _run(blocks, name, num_rows, progress_bar)


def _run(blocks: Iterable[int], name: str, total: int, progress_bar: bool) -> None:
    """Run through blocks of rows, showing how many of the rows are done."""
    with tqdm(total=total, desc=name, unit="spike", disable=not progress_bar) as bar:
        for num_rows in blocks:
            bar.update(num_rows)
