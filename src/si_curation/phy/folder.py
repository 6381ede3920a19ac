"""`read_phy_folder`: a Kilosort/phy folder as typed, checked, memory-mapped arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from si_curation.checks import check_arguments, local_path
from si_curation.errors import (
    Finding,
    FolderNotFoundError,
    MissingDataError,
    ParameterError,
    PhyFolderError,
)
from si_curation.files import settle_replaced
from si_curation.kernels.spike_files import unique_ids
from si_curation.phy.arrays import LEFT_OUT, Findings
from si_curation.phy.backup import half_done_change
from si_curation.phy.feature_files import Features, read_features
from si_curation.phy.file_groups import (
    Channels,
    Spikes,
    Templates,
    Whitening,
    check_duration,
    read_channels,
    read_spikes,
    read_templates,
    read_whitening,
    templates_by_number,
)
from si_curation.phy.locate import CORE_FILES, advice_on, has_core_files
from si_curation.phy.ops import read_ops
from si_curation.phy.params import data_paths_of, is_rate, rate_problem, read_params, sample_rate_of
from si_curation.phy.raw import raw_num_samples, resolve_data_paths
from si_curation.phy.session import read_session_samples, settings_of_session
from si_curation.phy.settings import SorterSettings, read_settings
from si_curation.phy.sorter import SorterIdentity, identify_sorter, samples_before_peak
from si_curation.phy.tables import SORTER_COLUMNS, UNSORTED, ClusterColumn, read_tables
from si_curation.variables import FileRows

T = TypeVar("T")


def missing_templates(folder: str | Path) -> str:
    """Return the message of what needs the templates of a folder that has none."""
    return (
        f"{folder} has no templates.npy, which this needs: copy it from the sorter's output and "
        "read the folder again"
    )


@dataclass(frozen=True, eq=False)
class PhyFolder:
    """A Kilosort/phy folder, as it is on disk.

    Per-spike arrays are in the order of the files ("rows"), whatever the spike times. Arrays are
    read-only and memory-mapped where they can be large; `close` (or a ``with`` block) lets go of
    the files. Arrays that the folder does not have are None.

    Attributes
    ----------
    folder : Path
    sorter : SorterIdentity
        Who wrote it, and how that is known.
    sampling_frequency : float
        In Hz.
    spike_samples : array (n_spikes,) int64
        Sample index of each spike; may be unsorted or negative.
    spike_templates : array (n_spikes,) integer
        Template that found each spike.
    spike_clusters : array (n_spikes,) integer
        phy's cluster of each spike; the spike templates where phy has not written its own yet.
    cluster_ids : array (n_clusters,) int64
        The clusters that have spikes, ascending.
    amplitudes : array (n_spikes,) floating or None
        As in ``amplitudes.npy``, in the sorter's units.
    spike_positions : array (n_spikes, 2) floating or None
        In µm.
    templates : array (n_templates, n_samples, n_loc) floating or None
        Whitened, in the sorter's units.
    num_templates : int
        Number of templates, with and without spikes.
    template_channels : array (n_templates, n_loc) int64 or None
        Channel index of each column of sparse templates, -1 where there is none; None: dense.
    num_samples_before : int
        Samples of a template before the spike time; 0 without templates.
    similar_templates : array (n_templates, n_templates) floating or None
    whitening, whitening_inv : array (n_channels, n_channels) floating or None
        The matrices that phy reads.
    whitening_applied : array (n_channels, n_channels) floating or None
        The matrix of ``whitening_mat_dat.npy``, where the others have only a scale of the channels.
    channel_map : array (n_channels,) int64
        Column of each channel in the raw file.
    channel_positions : array (n_channels, 2) floating
        In µm.
    channel_shanks, channel_probes : array (n_channels,) int64
        Shanks that have no file are those of ``kcoords`` in ``ops.npy``; zeros where that has none
        either, and where there is no file of probes.
    pc_features : array (n_rows, n_pcs, n_loc) floating or None
    pc_feature_channels : array (n_templates, n_loc) int64 or None
        Channel index of each column, by spike template.
    pc_feature_rows : array (n_rows,) int64 or None
        The spike (row) of each feature row; None: all spikes in order.
    template_features : array (n_rows, K) floating or None
    template_feature_templates : array (n_templates, K) int64 or None
        Template of each column, by spike template.
    template_feature_rows : array (n_rows,) int64 or None
    columns : mapping of str to ClusterColumn
        Every column of every cluster table.
    ops : mapping or None
        Content of Kilosort 4's ``ops.npy``.
    settings : SorterSettings or None
        What is used of it: settings, scale, sorted part, drift.
    params : mapping
        Content of ``params.py``.
    data_paths : tuple of Path
        The raw data files as they resolve from the folder (they may not exist).
    raw_num_samples : int or None
        Length of the raw data, where the files are there; else of the session, where the folder
        is one of a session.
    findings : tuple of Finding
        What was noticed; no errors, else the folder would not have been read. A file that the
        folder can be read without, and that has a fault, is as if it were not there: a warning.
    """

    folder: Path
    sorter: SorterIdentity
    sampling_frequency: float
    spike_samples: NDArray[np.int64]
    spike_templates: NDArray[np.integer]
    spike_clusters: NDArray[np.integer]
    cluster_ids: NDArray[np.int64]
    spikes_are_sorted: bool
    last_sample: int
    first_sample: int
    amplitudes: NDArray[np.floating] | None
    spike_positions: NDArray[np.floating] | None
    templates: NDArray[np.floating] | None
    num_templates: int
    template_channels: NDArray[np.int64] | None
    num_samples_before: int
    num_samples_before_evidence: str
    similar_templates: NDArray[np.floating] | None
    whitening: NDArray[np.floating] | None
    whitening_inv: NDArray[np.floating] | None
    whitening_applied: NDArray[np.floating] | None
    channel_map: NDArray[np.int64]
    channel_positions: NDArray[np.floating]
    channel_shanks: NDArray[np.int64]
    channel_probes: NDArray[np.int64]
    pc_features: NDArray[np.floating] | None
    pc_feature_channels: NDArray[np.int64] | None
    pc_feature_rows: FileRows | None
    template_features: NDArray[np.floating] | None
    template_feature_templates: NDArray[np.int64] | None
    template_feature_rows: FileRows | None
    columns: Mapping[str, ClusterColumn]
    ops: Mapping[str, Any] | None
    settings: SorterSettings | None
    params: Mapping[str, Any]
    data_paths: tuple[Path, ...]
    raw_num_samples: int | None
    findings: tuple[Finding, ...] = field(repr=False)

    @property
    def num_spikes(self) -> int:
        """Number of spikes (rows) of the folder."""
        return self.spike_samples.size

    @property
    def num_channels(self) -> int:
        """Number of channels that were sorted."""
        return self.channel_map.size

    @property
    def groups(self) -> dict[int, str]:
        """Phy's group of every cluster that has spikes; "unsorted" where it has none."""
        column = self.columns.get("group")
        labels = {} if column is None else column.values
        return {int(i): str(labels.get(int(i), UNSORTED)) for i in self.cluster_ids}

    @property
    def can_be_unwhitened(self) -> bool:
        """Whether the templates can be brought back to raw data by what the folder has.

        Kilosort 2.5 and 3 write a diagonal in place of their whitening.
        """
        return not self.sorter.always_whitens or self._whitening.is_known

    @property
    def _whitening(self) -> Whitening:
        return Whitening(self.whitening, self.whitening_inv, self.whitening_applied)

    def without_curation(self) -> PhyFolder:
        """Return the folder as the sorter left it: clusters are templates, labels its own.

        It shares the files of this one, and is closed with it.
        """
        templates = self.spike_templates
        ids = unique_ids(templates, int(templates.max(initial=0)))
        columns = {name: one for name, one in self.columns.items() if name in SORTER_COLUMNS}
        return replace(
            self,
            spike_clusters=templates,
            cluster_ids=ids,
            columns=columns,
        )

    def left_out(self, *names: str) -> list[Finding]:
        """Return what is wrong with files that were not used, as errors; of all without names."""
        return [
            replace(finding, severity="error", advice=finding.evidence[LEFT_OUT])
            for finding in self.findings
            if LEFT_OUT in finding.evidence and (not names or finding.where in names)
        ]

    def needed_templates(self) -> NDArray[np.floating]:
        """Return the templates; raise `MissingDataError` where the folder has none."""
        if self.templates is None:
            raise MissingDataError(missing_templates(self.folder))
        return self.templates

    def require(self, *names: str) -> None:
        """Raise if one of some files is there and could not be used.

        Raises
        ------
        PhyFolderError
        """
        faults = self.left_out(*names)
        if faults:
            raise PhyFolderError(self.folder, faults)

    def close(self) -> None:
        """Let go of the files: all memory-mapped arrays become None.

        The files are closed when the last reference to an array is gone.
        """
        for entry in fields(self):
            if _is_memory_mapped(getattr(self, entry.name)):
                object.__setattr__(self, entry.name, None)

    def __enter__(self) -> PhyFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.spike_samples is None:
            return f"PhyFolder({str(self.folder)!r}: closed)"
        return (
            f"PhyFolder({str(self.folder)!r}: {self.sorter.name}, {self.num_spikes} spikes, "
            f"{self.cluster_ids.size} clusters, {self.num_templates} templates, "
            f"{self.num_channels} channels)"
        )


def read_phy_folder(
    folder_path: str | Path, *, sampling_frequency: float | None = None
) -> PhyFolder:
    """Read a folder that Kilosort wrote and phy may have curated.

    Nothing in the folder is executed or changed. All problems are reported together. What the
    folder can be read without is left out where it has a fault, with a finding: labels and other
    tables (a row without a usable id, or a whole file), amplitudes, positions, features,
    similarities, whitening, shanks and ``ops.npy``. ``templates.npy`` may be missing: what needs
    times and clusters alone still works.

    Parameters
    ----------
    folder_path : str or Path
    sampling_frequency : float, optional
        In Hz; needed where there is no ``params.py``, else it is used instead of its sample_rate.

    Returns
    -------
    PhyFolder

    Raises
    ------
    FolderNotFoundError
        The folder does not exist, is a file, or is none of Kilosort or phy; what lies below it is
        named.
    PhyFolderError
        The folder cannot be read; ``.findings`` has every problem with file and advice.
    ParameterError
        `sampling_frequency` is no number from 1,000 to 10,000,000.

    Examples
    --------
    >>> import si_curation as sic
    >>> folder = sic.read_phy_folder(sic.example_folder())
    >>> folder.sorter.name, folder.num_spikes, folder.cluster_ids.tolist()
    ('kilosort4', 5299, [4, 7, 8, 9, 10, 11, 12, 13])
    >>> folder.groups[4], folder.groups[13]
    ('unsorted', 'good')
    """
    check_arguments(read_phy_folder, locals())
    path = _existing_folder(folder_path)
    if sampling_frequency is not None and not is_rate(sampling_frequency):
        raise ParameterError(rate_problem("sampling_frequency", sampling_frequency))
    findings = Findings()
    half_done = half_done_change(path)
    if half_done is not None:
        findings.error(
            half_done,
            "a change of files was begun and not finished: files of two states are mixed",
            "if no program is writing them now, put the folder back with restore_phy_folder "
            "(si-curation restore)",
        )
    parts = read_parts(path, findings, sampling_frequency)
    if findings.with_severity("error"):
        raise PhyFolderError(path, findings.with_severity("error"))

    return _folder_of_parts(path, parts, findings)


def _folder_of_parts(path: Path, parts: FolderParts, findings: Findings) -> PhyFolder:
    """Return the folder whose parts were read without errors."""
    spikes, channels, features = parts.spikes, parts.channels, parts.features
    templates = parts.templates.templates
    sorter = parts.identify_sorter(path)
    before, before_evidence = 0, ""
    if templates is not None:
        before, before_evidence = samples_before_peak(sorter, parts.ops, templates)
    data_paths = resolve_data_paths(path, data_paths_of(parts.params))
    return PhyFolder(
        folder=path,
        sorter=sorter,
        sampling_frequency=float(_needed(parts.sampling_frequency)),
        spike_samples=_needed(spikes.spike_samples),
        spike_templates=_needed(spikes.spike_templates),
        spike_clusters=_needed(spikes.spike_clusters),
        cluster_ids=_needed(spikes.cluster_ids),
        spikes_are_sorted=spikes.spikes_are_sorted,
        last_sample=spikes.last_sample,
        first_sample=spikes.first_sample,
        amplitudes=spikes.amplitudes,
        spike_positions=spikes.spike_positions,
        templates=templates,
        num_templates=_needed(parts.templates.count),
        template_channels=parts.templates.template_channels,
        num_samples_before=before,
        num_samples_before_evidence=before_evidence,
        similar_templates=parts.templates.similar_templates,
        whitening=parts.whitening.whitening,
        whitening_inv=parts.whitening.whitening_inv,
        whitening_applied=parts.whitening.applied,
        channel_map=_needed(channels.channel_map),
        channel_positions=_needed(channels.channel_positions),
        channel_shanks=_needed(channels.channel_shanks),
        channel_probes=_needed(channels.channel_probes),
        pc_features=features.pc_features,
        pc_feature_channels=features.pc_feature_channels,
        pc_feature_rows=features.pc_feature_rows,
        template_features=features.template_features,
        template_feature_templates=features.template_feature_templates,
        template_feature_rows=features.template_feature_rows,
        columns=parts.columns,
        ops=parts.ops,
        settings=parts.settings,
        params=parts.params,
        data_paths=data_paths,
        raw_num_samples=_num_samples(path, raw_num_samples(data_paths, parts.params)),
        findings=tuple(findings),
    )


def _num_samples(path: Path, of_raw_files: int | None) -> int | None:
    """Return the length of the raw data, else that of the session that a folder is."""
    session = read_session_samples(path, Findings()) if of_raw_files is None else None
    return of_raw_files if session is None else session[1] - session[0]


def _needed(value: T | None) -> T:
    """Return what every folder without errors has."""
    if value is None:
        raise RuntimeError("a file that is needed was not read, and no error says so")
    return value


@dataclass(frozen=True, eq=False)
class FolderParts:
    """What could be read of a folder; what has a fault is None or empty."""

    params: Mapping[str, Any]
    sampling_frequency: float | None
    ops: Mapping[str, Any] | None
    settings: SorterSettings | None
    channels: Channels
    templates: Templates
    spikes: Spikes
    whitening: Whitening
    features: Features
    columns: Mapping[str, ClusterColumn]

    def identify_sorter(self, path: Path) -> SorterIdentity:
        """Return which sorter wrote the folder, by its files."""
        return identify_sorter(
            path,
            self.ops,
            self.whitening.is_diagonal,
            self.templates.template_channels is not None,
            self.whitening.is_identity,
        )


def read_parts(
    path: Path, findings: Findings, sampling_frequency: float | None = None
) -> FolderParts:
    """Read each group of files, as far as it can be read, and check it against the others.

    Parameters
    ----------
    path : Path
        An existing folder.
    findings : Findings
        Everything that is wrong is added here, under the name of the group.
    sampling_frequency : float, optional
        In Hz; goes before that of ``params.py``.

    Returns
    -------
    FolderParts
    """
    findings.check = "params"
    params = read_params(path, findings)
    rate = sampling_frequency or sample_rate_of(params, findings)
    errors = findings.with_severity("error")
    if rate is None and not any(finding.where == "params.py" for finding in errors):
        missing = "has no sample_rate" if (path / "params.py").exists() else "is missing"
        findings.error(
            "params.py", missing, "pass sampling_frequency= (in Hz), or put the file back"
        )
    findings.check = "ops"
    with findings.optional("read without the settings of the sorter"):
        ops = read_ops(path, findings)
    settings = read_settings(ops, findings)
    session = read_session_samples(path, findings)
    if settings is not None and session is not None and rate is not None:
        settings = settings_of_session(settings, session, rate)
    findings.check = "channels"
    channels = read_channels(path, params, ops, findings)
    findings.check = "templates"
    templates = read_templates(path, channels.count, findings)
    findings.check = "spikes"
    spikes = read_spikes(path, templates.count, findings)
    check_duration(spikes, rate, findings)
    if templates.are_missing:
        templates = templates_by_number(path, spikes.spike_templates, findings)
    findings.check = "whitening"
    whitening = read_whitening(path, channels.count, findings)
    findings.check = "features"
    features = read_features(path, spikes.count, templates.count, channels.count, findings)
    findings.check = "tables"
    columns = read_tables(path, findings, spikes.cluster_ids)
    return FolderParts(
        params, rate, ops, settings, channels, templates, spikes, whitening, features, columns
    )


def _is_memory_mapped(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def _existing_folder(folder_path: str | Path) -> Path:
    path = local_path(folder_path, "folder_path")
    if not os.path.isdir(path) and path.name:
        settle_replaced(path)  # an export that replaced it may have been killed
    if has_core_files(path):
        return path.resolve()
    fault = "does not exist"
    if os.path.exists(path):
        fault = f"has none of {', '.join(CORE_FILES)}" if os.path.isdir(path) else "is a file"
    raise FolderNotFoundError(f"{path} {fault}, expected a Kilosort/phy folder ({advice_on(path)})")
