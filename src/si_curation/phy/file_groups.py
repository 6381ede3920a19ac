"""The groups of files of a folder, each read and checked against the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from si_curation.kernels.spike_files import has_nan, unique_ids, value_range
from si_curation.phy.arrays import Findings, as_integers, as_vector, open_array

MIXED_RUNS = "files of different runs are mixed; copy the whole folder again"
RESTORE = "restore the file that the sorter wrote"


class Part:
    """A group of files."""

    def fields(self) -> dict[str, Any]:
        """Give the attributes that become attributes of the folder."""
        return {k: v for k, v in vars(self).items() if k != "count" and not k.startswith("_")}


@dataclass
class Spikes(Part):
    """Per-spike files."""

    count: int | None
    spike_samples: Any = None
    spike_templates: Any = None
    spike_clusters: Any = None
    cluster_ids: Any = None
    spikes_are_sorted: bool = True
    first_sample: int = 0
    last_sample: int = -1
    amplitudes: Any = None
    spike_positions: Any = None


def read_spikes(folder: Path, num_templates: int | None, findings: Findings) -> Spikes:
    """Read the per-spike files; lengths must agree, templates must exist."""
    samples = _required_vector(folder, "spike_times.npy", findings)
    count = None if samples is None else samples.size
    samples = as_integers(samples, "spike_times.npy", findings)
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
    part = Spikes(count, spike_templates=templates, spike_clusters=clusters)
    part.spike_samples = _check_samples(samples, part, findings)
    largest = _check_ids(templates, "spike_templates.npy", num_templates, findings)
    if clusters is not templates:
        largest = _check_ids(clusters, clusters_name, None, findings)
    if not findings.of("error") and clusters is not None:
        part.cluster_ids = unique_ids(clusters, largest)
    part.amplitudes = _floating(
        as_vector(
            open_array(folder, "amplitudes.npy", findings), "amplitudes.npy", findings, count
        ),
        "amplitudes.npy",
        findings,
    )
    part.spike_positions = _check_positions(
        open_array(folder, "spike_positions.npy", findings), count, findings
    )
    return part


def _required_vector(folder, name, findings, length=None):
    if not (folder / name).exists():
        findings.error(name, "is missing", "it is needed; copy it from the sorter's output")
        return None
    return as_vector(open_array(folder, name, findings), name, findings, length)


def _check_samples(samples, part: Spikes, findings: Findings):
    if samples is None or samples.size == 0:
        return None if samples is None else samples.astype(np.int64)
    low, high, is_sorted = value_range(samples)
    if high > np.iinfo(np.int64).max // 2:
        findings.error(
            "spike_times.npy",
            f"holds {high}, which is no sample index (a negative number stored unsigned?)",
            RESTORE,
        )
        return None
    part.first_sample, part.last_sample, part.spikes_are_sorted = low, high, is_sorted
    if samples.dtype == np.uint64:
        return samples.view(np.int64)  # no copy: the values fit
    return samples if samples.dtype == np.int64 else samples.astype(np.int64)


def _check_ids(ids, name: str, num_templates: int | None, findings: Findings) -> int:
    """Check ids and give the largest."""
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


def _floating(values, name: str, findings: Findings):
    if values is None or values.dtype.kind == "f":
        return values
    findings.error(name, f"has dtype {values.dtype}, expected float32 or float64", RESTORE)
    return None


def _check_positions(positions, count: int | None, findings: Findings):
    name = "spike_positions.npy"
    if positions is None:
        return None
    if (
        positions.ndim != 2
        or positions.shape[1] < 2
        or (count is not None and len(positions) != count)
    ):
        findings.error(name, f"has shape {positions.shape}, expected ({count}, 2)", MIXED_RUNS)
        return None
    positions = _floating(positions, name, findings)
    if positions is not None and has_nan(positions):
        rows = np.flatnonzero(np.isnan(positions).any(axis=1))
        findings.warning(name, f"has NaN in {rows.size} rows, row {rows[0]} first", "they stay NaN")
    return positions


@dataclass
class Templates(Part):
    """Template files."""

    count: int | None
    templates: Any = None
    template_channels: Any = None
    similar_templates: Any = None


def read_templates(folder: Path, num_channels: int | None, findings: Findings) -> Templates:
    """Read templates and their similarity."""
    if not (folder / "templates.npy").exists():
        findings.error(
            "templates.npy", "is missing", "it is needed; copy it from the sorter's output"
        )
        return Templates(None)
    templates = open_array(folder, "templates.npy", findings)
    if templates is not None and (
        templates.ndim != 3 or templates.dtype.kind != "f" or templates.shape[1] == 0
    ):
        findings.error(
            "templates.npy",
            f"has shape {templates.shape} and dtype {templates.dtype}, expected floats "
            "(n_templates, n_samples, n_channels)",
            RESTORE,
        )
        templates = None
    if templates is None:
        return Templates(None)
    part = Templates(templates.shape[0], templates)
    part.template_channels = index_table(
        folder, "template_ind.npy", (templates.shape[0], templates.shape[2]), num_channels, findings
    )
    has_columns = (folder / "template_ind.npy").exists()
    if not has_columns and num_channels is not None and templates.shape[2] != num_channels:
        findings.error(
            "templates.npy",
            f"has {templates.shape[2]} channels, channel_map.npy has {num_channels}",
            MIXED_RUNS + ", or put template_ind.npy back if the templates are sparse",
        )
    part.similar_templates = _square(
        folder, "similar_templates.npy", templates.shape[0], findings, "templates"
    )
    return part


def index_table(folder, name, shape, num_targets, findings):
    """Read a table of indices, -1 for none; a finding where it does not fit."""
    table = open_array(folder, name, findings)
    if table is None or shape[0] is None:  # what it must fit has a fault of its own
        return None
    if table.ndim == 1 and table.size == shape[0] * shape[1]:
        table = table.reshape(shape)
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


def _square(folder, name, size, findings, of_what):
    matrix = open_array(folder, name, findings)
    if matrix is None or size is None:  # what it must fit has a fault of its own
        return None
    if matrix.size == 1 and size == 1:
        matrix = matrix.reshape(1, 1)
    if matrix.dtype.kind != "f" or matrix.shape != (size, size):
        findings.error(
            name,
            f"has shape {matrix.shape} and dtype {matrix.dtype}, expected floats ({size}, {size}), "
            f"one row and column for each of the {of_what}",
            MIXED_RUNS,
        )
        return None
    return matrix


@dataclass
class Channels(Part):
    """Channel files."""

    count: int | None
    channel_map: Any = None
    channel_positions: Any = None
    channel_shanks: Any = None
    channel_probes: Any = None


def read_channels(folder: Path, params: Mapping[str, Any], findings: Findings) -> Channels:
    """Read the channel files."""
    channel_map = _required_vector(folder, "channel_map.npy", findings)
    channel_map = as_integers(channel_map, "channel_map.npy", findings)
    count = None if channel_map is None else channel_map.size
    part = Channels(count)
    if channel_map is not None:
        part.channel_map = channel_map.astype(np.int64)
        _check_channel_map(part.channel_map, params.get("n_channels_dat"), findings)
    part.channel_positions = _read_channel_positions(folder, count, findings)
    for name in ("channel_shanks", "channel_probe"):
        file = f"{name}.npy"
        values = open_array(folder, file, findings)
        values = as_vector(values, file, findings, count, "channel_map.npy")
        values = as_integers(values, file, findings)
        if values is None and count is not None:
            values = np.zeros(count, dtype=np.int64)
        target = "channel_probes" if name == "channel_probe" else name
        setattr(part, target, None if values is None else values.astype(np.int64))
    return part


def _check_channel_map(channel_map, num_raw_channels, findings: Findings) -> None:
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


def _read_channel_positions(folder, count, findings: Findings):
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


@dataclass
class Whitening(Part):
    """Whitening files."""

    whitening: Any = None
    whitening_inv: Any = None
    _is_diagonal: bool | None = None

    @property
    def is_diagonal(self) -> bool | None:
        """Whether the whitening only scales channels; None where there is none."""
        return self._is_diagonal

    @property
    def is_identity(self) -> bool:
        """Whether there is no whitening, or one that changes nothing."""
        matrices = [m for m in (self.whitening, self.whitening_inv) if m is not None]
        return all(np.array_equal(matrix, np.eye(len(matrix))) for matrix in matrices)


def read_whitening(folder: Path, num_channels: int | None, findings: Findings) -> Whitening:
    """Read the whitening matrix and its inverse."""
    part = Whitening()
    for name in ("whitening", "whitening_inv"):
        file = f"{name.replace('whitening', 'whitening_mat')}.npy"
        matrix = _square(folder, file, num_channels, findings, "channels")
        if matrix is not None and not np.isfinite(matrix).all():
            findings.error(file, "has NaN or infinite entries", RESTORE)
            matrix = None
        if matrix is not None:
            setattr(part, name, matrix)
            part._is_diagonal = matrix.size > 1 and not np.any(
                matrix[~np.eye(len(matrix), dtype=bool)]
            )
    return part
