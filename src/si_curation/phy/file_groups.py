"""The groups of files of a folder, each read and checked against the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import blocks
from si_curation.kernels.spike_files import has_nan, unique_ids, value_range
from si_curation.phy.arrays import Findings, as_floats, as_integers, as_vector, open_array

MIXED_RUNS = "files of different runs are mixed; copy the whole folder again"
RESTORE = "restore the file that the sorter wrote"

#: Longer than any recording that was sorted as one; memory grows with it.
MAX_DURATION_S = 100 * 86400.0


@dataclass(frozen=True, eq=False)
class Spikes:
    """Per-spike files; see `si_curation.phy.folder.PhyFolder` for the attributes.

    What is missing or has a fault is None. `count` is the number of spikes.
    """

    count: int | None
    spike_samples: NDArray[np.int64] | None
    spike_templates: NDArray[np.integer] | None
    spike_clusters: NDArray[np.integer] | None
    cluster_ids: NDArray[np.int64] | None
    spikes_are_sorted: bool
    first_sample: int
    last_sample: int
    amplitudes: NDArray[np.floating] | None
    spike_positions: NDArray[np.floating] | None


class _Samples(NamedTuple):
    """Sample indices and their order; of no spikes, they go from 0 to -1."""

    values: NDArray[np.int64] | None
    first: int = 0
    last: int = -1
    are_sorted: bool = True


def read_spikes(folder: Path, num_templates: int | None, findings: Findings) -> Spikes:
    """Read the per-spike files; lengths must agree, templates must exist."""
    times = _required_vector(folder, "spike_times.npy", findings)
    count = None if times is None else times.size
    times = as_integers(times, "spike_times.npy", findings)
    templates = _required_vector(folder, "spike_templates.npy", findings, count)
    templates = as_integers(templates, "spike_templates.npy", findings)
    clusters_name = "spike_clusters.npy"
    if not (folder / clusters_name).exists():
        # phy copies the spike templates when it first opens the folder
        clusters_name, clusters = "spike_templates.npy", templates
    else:
        clusters = as_vector(
            open_array(folder, clusters_name, findings), clusters_name, findings, count
        )
        clusters = as_integers(clusters, clusters_name, findings)
    samples = _check_samples(times, findings)
    templates = template_of_each_spike(folder, templates, clusters, num_templates, findings)
    largest = _check_ids(templates, "spike_templates.npy", num_templates, findings)
    if clusters is not templates:
        largest = _check_ids(clusters, clusters_name, None, findings)
    cluster_ids = None
    if not findings.with_severity("error") and clusters is not None:
        cluster_ids = unique_ids(clusters, largest)
    with findings.optional("read without amplitudes"):
        amplitudes = open_array(folder, "amplitudes.npy", findings)
        amplitudes = as_vector(amplitudes, "amplitudes.npy", findings, count)
        amplitudes = as_floats(amplitudes, "amplitudes.npy", findings)
    if amplitudes is not None and is_placeholder(amplitudes):
        findings.warning(
            "amplitudes.npy",
            f"is 1 for all {amplitudes.size} spikes: a placeholder, not read as amplitudes",
            "where it came from a SortingAnalyzer, export again with complete=True",
        )
        amplitudes = None
    with findings.optional("read without positions of spikes"):
        positions = _read_spike_positions(folder, count, findings)
    return Spikes(
        count=count,
        spike_samples=samples.values,
        spike_templates=templates,
        spike_clusters=clusters,
        cluster_ids=cluster_ids,
        spikes_are_sorted=samples.are_sorted,
        first_sample=samples.first,
        last_sample=samples.last,
        amplitudes=amplitudes,
        spike_positions=positions,
    )


def check_duration(spikes: Spikes, rate: float | None, findings: Findings) -> None:
    """Refuse spikes at times that no recording has; all that is made of the times would be endless.

    Parameters
    ----------
    spikes : Spikes
    rate : float or None
        In Hz.
    findings : Findings
        An error with the first rows.
    """
    samples = spikes.spike_samples
    if samples is None or rate is None:
        return
    limit = int(MAX_DURATION_S * rate)
    if spikes.last_sample < limit and spikes.first_sample > -limit:
        return
    rows = np.flatnonzero((samples >= limit) | (samples <= -limit))
    value = int(samples[rows[0]])
    findings.error(
        "spike_times.npy",
        f"has {rows.size:,} of {samples.size:,} spikes more than {MAX_DURATION_S / 86400:g} days "
        f"from the start at {rate:g} Hz (first: row {rows[0]}, sample {value:,})",
        "look whether the times are in samples and sample_rate is in Hz; set these times right, or "
        "remove their rows from all files of spikes",
        count=int(rows.size),
        rows=[int(row) for row in rows[:10]],
    )


def template_of_each_spike(
    folder: Path,
    templates: NDArray[np.integer] | None,
    clusters: NDArray[np.integer] | None,
    num_templates: int | None,
    findings: Findings,
) -> NDArray[np.integer] | None:
    """Return the row of ``templates.npy`` that each spike belongs to.

    That is ``spike_templates.npy``, but in folders of Kilosort 4.0.0: it wrote the templates of the
    detection there, which have other numbers, and the rows to ``spike_clusters.npy`` only. The
    version is not in the folder. It is known by the files that it did and did not write, and by
    clusters whose spikes have other templates throughout, which neither phy nor a later version
    makes.

    Parameters
    ----------
    folder : Path
    templates, clusters : array (n_spikes,) integer or None
        The two files.
    num_templates : int or None
    findings : Findings
        An info where the clusters are used; an error where phy merged or split some of them, after
        which the templates of their spikes are nowhere in the folder.

    Returns
    -------
    array (n_spikes,) integer or None
    """
    is_candidate = (folder / "whitening_mat_dat.npy").is_file() and not (
        folder / "spike_detection_templates.npy"
    ).exists()
    if not is_candidate or templates is None or clusters is None or clusters is templates:
        return templates
    if num_templates is None or templates.size != clusters.size or clusters.size == 0:
        return templates
    own = (clusters >= 0) & (clusters < num_templates)
    if 2 * np.count_nonzero(own & (clusters != templates)) <= np.count_nonzero(own):
        return templates
    name, what = "spike_templates.npy", "holds the templates of the detection, as Kilosort 4.0.0"
    changed = np.unique(clusters[~own])
    if changed.size:
        shown = ", ".join(map(str, changed[:5].tolist())) + (", ..." if changed.size > 5 else "")
        findings.error(
            name,
            f"{what} wrote it, not rows of templates.npy, and phy merged or split clusters since "
            f"({shown}): the templates of their {int(np.count_nonzero(~own))} spikes are not in "
            "the folder",
            "take spike_clusters.npy as the sorter wrote it, or sort again with a later version "
            "(phy shows other templates in this folder, too)",
        )
        return None
    findings.info(
        name,
        f"{what} wrote it, not rows of templates.npy: spike_clusters.npy is used in its place",
        "phy shows other templates for these spikes",
    )
    return clusters


def is_placeholder(amplitudes: NDArray[np.floating]) -> bool:
    """Return whether all amplitudes are 1, which programs write that do not know them.

    Examples
    --------
    >>> is_placeholder(np.ones(3)), is_placeholder(np.array([1.0, 0.9]))
    (True, False)
    """
    if amplitudes.size < 2 or not np.all(amplitudes[:1000] == 1):  # nearly always decided here
        return False
    return all(bool(np.all(amplitudes[piece] == 1)) for piece in blocks(amplitudes.size, 1 << 20))


def _required_vector(
    folder: Path, name: str, findings: Findings, length: int | None = None
) -> NDArray | None:
    if not (folder / name).exists():
        findings.error(name, "is missing", "it is needed; copy it from the sorter's output")
        return None
    return as_vector(open_array(folder, name, findings), name, findings, length)


def _check_samples(samples: NDArray[np.integer] | None, findings: Findings) -> _Samples:
    if samples is None:
        return _Samples(None)
    if samples.size == 0:
        return _Samples(samples.astype(np.int64))
    low, high, are_sorted = value_range(samples)
    if high > np.iinfo(np.int64).max // 2:
        findings.error(
            "spike_times.npy",
            f"holds {high}, which is no sample index (a negative number stored unsigned?)",
            RESTORE,
        )
        return _Samples(None)
    if samples.dtype == np.uint64:
        return _Samples(samples.view(np.int64), low, high, are_sorted)  # no copy: the values fit
    return _Samples(samples.astype(np.int64, copy=False), low, high, are_sorted)


def _check_ids(
    ids: NDArray[np.integer] | None, name: str, num_templates: int | None, findings: Findings
) -> int:
    """Check ids and return the largest, -1 where there are none."""
    if ids is None or ids.size == 0:
        return -1
    low, high, _ = value_range(ids)
    if low < 0:
        row = int(np.flatnonzero(ids < 0)[0])
        count = int(np.count_nonzero(ids < 0))
        findings.error(
            name, f"holds negative ids in {count} rows, {low} first in row {row}", RESTORE
        )
    if num_templates is not None and high >= num_templates:
        rows = np.flatnonzero(ids >= num_templates)
        findings.error(
            name,
            f"holds template {high} ({rows.size} rows, row {rows[0]} first), but templates.npy "
            f"has only {num_templates} templates, counted from 0",
            MIXED_RUNS,
        )
    elif high >= np.iinfo(np.int32).max:
        findings.error(name, f"holds id {high}, expected ids below 2147483647", RESTORE)
    return high


def _read_spike_positions(
    folder: Path, count: int | None, findings: Findings
) -> NDArray[np.floating] | None:
    name = "spike_positions.npy"
    positions = open_array(folder, name, findings)
    if positions is None:
        return None
    if (
        positions.ndim != 2
        or positions.shape[1] < 2
        or (count is not None and len(positions) != count)
    ):
        findings.error(name, f"has shape {positions.shape}, expected ({count}, 2)", MIXED_RUNS)
        return None
    positions = as_floats(positions, name, findings)
    if positions is not None and has_nan(positions):
        rows = np.flatnonzero(np.isnan(positions).any(axis=1))
        findings.warning(name, f"has NaN in {rows.size} rows, row {rows[0]} first", "they stay NaN")
    return positions


@dataclass(frozen=True, eq=False)
class Templates:
    """Template files; `count` is the number of templates.

    Without ``templates.npy`` (`are_missing`) it is not known before the spikes are.
    """

    count: int | None
    templates: NDArray[np.floating] | None = None
    template_channels: NDArray[np.int64] | None = None
    similar_templates: NDArray[np.floating] | None = None
    are_missing: bool = False


def read_templates(folder: Path, num_channels: int | None, findings: Findings) -> Templates:
    """Read templates and their similarity."""
    if not (folder / "templates.npy").exists():
        findings.left_out(
            "templates.npy",
            "is missing",
            "read without templates: best channels, amplitudes, similarities and waveforms of "
            "units are not there",
            "copy it from the sorter's output",
        )
        return Templates(None, are_missing=True)
    templates = open_array(folder, "templates.npy", findings)
    if templates is not None and (
        templates.ndim != 3 or templates.dtype.kind not in "iuf" or templates.shape[1] == 0
    ):
        findings.error(
            "templates.npy",
            f"has shape {templates.shape} and dtype {templates.dtype}, expected numbers "
            "(n_templates, n_samples, n_channels)",
            RESTORE,
        )
        templates = None
    if templates is None:
        return Templates(None)
    template_channels = index_table(
        folder, "template_ind.npy", (templates.shape[0], templates.shape[2]), num_channels, findings
    )
    has_columns = (folder / "template_ind.npy").exists()
    if not has_columns and num_channels is not None and templates.shape[2] != num_channels:
        findings.error(
            "templates.npy",
            f"has {templates.shape[2]} channels, channel_map.npy has {num_channels}",
            MIXED_RUNS + ", or put template_ind.npy back if the templates are sparse",
        )
    with findings.optional("similarities are computed from the templates"):
        similar = _square(folder, "similar_templates.npy", len(templates), findings, "templates")
    floats = as_floats(templates, "templates.npy", findings)
    return Templates(len(templates), floats, template_channels, similar)


def templates_by_number(
    folder: Path, spike_templates: NDArray[np.integer] | None, findings: Findings
) -> Templates:
    """Return what is known of templates without ``templates.npy``: how many, and how similar.

    As many as other files have rows for, and at least as the spikes name.
    """
    if spike_templates is None:
        return Templates(None, are_missing=True)
    count = int(spike_templates.max(initial=-1)) + 1
    for name in ("similar_templates.npy", "pc_feature_ind.npy", "template_feature_ind.npy"):
        table = open_array(folder, name, Findings())
        if table is not None and table.ndim == 2 and table.shape[0] >= count:
            count = int(table.shape[0])
            break
    with findings.optional("similarities of templates are not there"):
        similar = _square(folder, "similar_templates.npy", count, findings, "templates")
    return Templates(count, None, None, similar, are_missing=True)


def index_table(
    folder: Path,
    name: str,
    shape: tuple[int | None, int],
    num_targets: int | None,
    findings: Findings,
) -> NDArray[np.int64] | None:
    """Read a table of indices, -1 for none; a finding where it does not fit."""
    table = open_array(folder, name, findings)
    num_rows, num_columns = shape
    if table is None or num_rows is None:  # what it must fit has a fault of its own
        return None
    if table.ndim == 1 and table.size == num_rows * num_columns:
        table = table.reshape(num_rows, num_columns)
    if table.shape != shape or table.dtype.kind not in "iuf":
        findings.error(
            name, f"has shape {table.shape} and dtype {table.dtype}, expected {shape}", MIXED_RUNS
        )
        return None
    table = as_integers(np.asarray(table), name, findings)
    if table is None:
        return None
    table = table.astype(np.int64)
    if table.size and (
        table.min() < -1 or (num_targets is not None and table.max() >= num_targets)
    ):
        findings.error(
            name,
            f"holds indices from {table.min()} to {table.max()}, expected -1 (none) to "
            f"{'the last' if num_targets is None else num_targets - 1}",
            MIXED_RUNS,
        )
        return None
    return table


def _square(
    folder: Path, name: str, size: int | None, findings: Findings, of_what: str
) -> NDArray[np.floating] | None:
    matrix = open_array(folder, name, findings)
    if matrix is None or size is None:  # what it must fit has a fault of its own
        return None
    if matrix.size == 1 and size == 1:
        matrix = matrix.reshape(1, 1)
    if matrix.dtype.kind not in "iuf" or matrix.shape != (size, size):
        findings.error(
            name,
            f"has shape {matrix.shape} and dtype {matrix.dtype}, expected ({size}, {size}) "
            f"numbers, one row and column for each of the {of_what}",
            MIXED_RUNS,
        )
        return None
    return as_floats(matrix, name, findings)


@dataclass(frozen=True, eq=False)
class Channels:
    """Channel files; `count` is the number of channels."""

    count: int | None
    channel_map: NDArray[np.int64] | None
    channel_positions: NDArray[np.floating] | None
    channel_shanks: NDArray[np.int64] | None
    channel_probes: NDArray[np.int64] | None


def read_channels(
    folder: Path, params: Mapping[str, Any], ops: Mapping[str, Any] | None, findings: Findings
) -> Channels:
    """Read the channel files; shanks that have no file are those of ``ops.npy``."""
    columns = _required_vector(folder, "channel_map.npy", findings)
    columns = as_integers(columns, "channel_map.npy", findings)
    count = None if columns is None else columns.size
    channel_map = None if columns is None else columns.astype(np.int64)
    if channel_map is not None:
        _check_channel_map(channel_map, params.get("n_channels_dat"), findings)
    with findings.optional("shanks of ops.npy (kcoords) are used, or one shank"):
        shanks = _read_channel_groups(folder, "channel_shanks.npy", count, findings)
    with findings.optional("all channels count as one probe's"):
        probes = _read_channel_groups(folder, "channel_probe.npy", count, findings)
    if shanks is None and channel_map is not None:
        shanks = shanks_in_ops(ops, channel_map)
    nothing = None if count is None else np.zeros(count, dtype=np.int64)
    return Channels(
        count=count,
        channel_map=channel_map,
        channel_positions=_read_channel_positions(folder, count, findings),
        channel_shanks=nothing if shanks is None else shanks,
        channel_probes=nothing if probes is None else probes,
    )


def _read_channel_groups(
    folder: Path, name: str, count: int | None, findings: Findings
) -> NDArray[np.int64] | None:
    """Read the shank or probe of each channel; None where there is no file that can be used."""
    values = open_array(folder, name, findings)
    values = as_vector(values, name, findings, count, "channel_map.npy")
    values = as_integers(values, name, findings)
    return None if values is None else values.astype(np.int64)


def shanks_in_ops(
    ops: Mapping[str, Any] | None, channel_map: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Return the shank of each channel by ``kcoords`` of Kilosort's ``ops.npy``.

    Parameters
    ----------
    ops : mapping or None
    channel_map : array (n_channels,) int64
        Raw column of each channel, which is looked up in ``chanMap``.

    Returns
    -------
    array (n_channels,) int64 or None
        None: ``ops.npy`` does not say it for every channel.

    Examples
    --------
    >>> ops = {"kcoords": np.array([0.0, 1.0, 1.0]), "chanMap": np.array([4, 2, 3])}
    >>> shanks_in_ops(ops, np.array([2, 4]))
    array([1, 0])
    """
    probe = ops.get("probe") if ops is not None and "kcoords" not in ops else ops
    if not isinstance(probe, Mapping):
        return None
    columns, shanks = _whole_numbers(probe, "chanMap"), _whole_numbers(probe, "kcoords")
    if columns is None or shanks is None or columns.size != shanks.size:
        return None
    shank_of = dict(zip(columns.tolist(), shanks.tolist(), strict=True))
    if len(shank_of) < columns.size or not set(channel_map.tolist()) <= set(shank_of):
        return None
    return np.array([shank_of[column] for column in channel_map.tolist()], dtype=np.int64)


def _whole_numbers(ops: Mapping[str, Any], key: str) -> NDArray[np.int64] | None:
    """Return an entry of ``ops.npy`` as whole numbers; None where it is something else."""
    value = ops.get(key)
    if not isinstance(value, np.ndarray):
        return None
    silent = Findings()
    values = as_integers(as_vector(value, key, silent), key, silent)
    return None if values is None else values.astype(np.int64)


def _check_channel_map(
    channel_map: NDArray[np.int64], num_raw_channels: Any, findings: Findings
) -> None:
    name = "channel_map.npy"
    if channel_map.size == 0:
        findings.error(name, "has no channel", RESTORE)
        return
    columns, counts = np.unique(channel_map, return_counts=True)
    if columns[0] < 0:
        findings.error(name, f"has raw column {columns[0]}, expected columns from 0", RESTORE)
    elif counts.max() > 1:
        findings.error(
            name,
            f"has raw column {columns[counts.argmax()]} {counts.max()} times, expected each once",
            RESTORE,
        )
    elif isinstance(num_raw_channels, int) and channel_map.max() >= num_raw_channels:
        findings.error(
            name,
            f"has raw column {channel_map.max()}, but params.py says n_channels_dat = "
            f"{num_raw_channels}",
            "correct n_channels_dat, or restore the file",
        )


def _read_channel_positions(
    folder: Path, count: int | None, findings: Findings
) -> NDArray[np.floating] | None:
    name = "channel_positions.npy"
    if not (folder / name).exists():
        findings.error(name, "is missing", "it is needed; copy it from the sorter's output")
        return None
    positions = open_array(folder, name, findings)
    if positions is None:
        return None
    positions = np.array(positions)
    if positions.ndim == 1 and count == 1 and positions.size == 2:
        positions = positions.reshape(1, 2)
    if positions.dtype.kind not in "iuf" or positions.ndim != 2 or positions.shape[1] != 2:
        findings.error(
            name,
            f"has shape {positions.shape} and dtype {positions.dtype}, expected ({count}, 2) in µm",
            RESTORE,
        )
        return None
    if count is not None and len(positions) != count:
        findings.error(
            name, f"has {len(positions)} channels, channel_map.npy has {count}", MIXED_RUNS
        )
        return None
    if positions.dtype.kind != "f":
        positions = positions.astype(np.float64)
    if not np.isfinite(positions).all():
        bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
        findings.error(
            name,
            f"has NaN or infinite positions at {bad.size} channels, channel {bad[0]} first",
            "correct the probe file and sort again, or fill in the positions",
        )
        return None
    if len(np.unique(positions, axis=0)) < len(positions):
        findings.warning(
            name,
            "has several channels at one position",
            "phy would ignore all positions and use a line of channels; correct the probe file",
        )
    return positions


@dataclass(frozen=True, eq=False)
class Whitening:
    """Whitening files.

    `applied` is the matrix of ``whitening_mat_dat.npy`` where ``whitening_mat.npy`` only scales
    channels, as Kilosort 4.0.0 to 4.0.6 wrote it; None else.
    """

    whitening: NDArray[np.floating] | None = None
    whitening_inv: NDArray[np.floating] | None = None
    applied: NDArray[np.floating] | None = None

    @property
    def is_diagonal(self) -> bool | None:
        """Whether the whitening only scales channels; None where there is none."""
        matrix = self.whitening if self.whitening_inv is None else self.whitening_inv
        if matrix is None:
            return None
        return matrix.size > 1 and not np.any(matrix[~np.eye(len(matrix), dtype=bool)])

    @property
    def is_identity(self) -> bool:
        """Whether there is no whitening, or one that changes nothing."""
        matrices = [m for m in (self.whitening, self.whitening_inv) if m is not None]
        return all(np.array_equal(matrix, np.eye(len(matrix))) for matrix in matrices)

    @property
    def is_known(self) -> bool:
        """Whether there is a matrix, and not only a scale of the channels in its place."""
        return self.applied is not None or self.has_more_than_a_scale

    @property
    def has_more_than_a_scale(self) -> bool:
        """Whether the files that phy reads have a matrix, and not only a scale in its place."""
        return self.is_diagonal is not None and (not self.is_diagonal or self.is_identity)


def read_whitening(folder: Path, num_channels: int | None, findings: Findings) -> Whitening:
    """Read the whitening matrix and its inverse."""
    with findings.optional("templates can be unwhitened with whitening_mat_inv.npy only"):
        matrix = _read_matrix(folder, "whitening_mat.npy", num_channels, findings)
    with findings.optional("the inverse of whitening_mat.npy is used"):
        inverse = _read_matrix(folder, "whitening_mat_inv.npy", num_channels, findings)
    stored = Whitening(matrix, inverse)
    if stored.is_diagonal is None or stored.has_more_than_a_scale:
        return stored
    with findings.optional("read without it"):
        applied = _read_matrix(folder, "whitening_mat_dat.npy", num_channels, findings)
    if applied is not None and not Whitening(applied).has_more_than_a_scale:
        applied = None
    return Whitening(matrix, inverse, applied)


def _read_matrix(
    folder: Path, name: str, num_channels: int | None, findings: Findings
) -> NDArray[np.floating] | None:
    matrix = _square(folder, name, num_channels, findings, "channels")
    if matrix is not None and not np.isfinite(matrix).all():
        findings.error(name, "has NaN or infinite entries", RESTORE)
        return None
    return matrix
