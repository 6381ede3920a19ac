"""The feature files of a folder, which stay on disk."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import Finding, FolderNotFoundError, PhyFolderError
from si_curation.phy.arrays import (
    LEFT_OUT,
    Findings,
    as_integers,
    as_vector,
    float_dtype,
    open_array,
)
from si_curation.phy.file_groups import (
    MIXED_RUNS,
    RESTORE,
    index_table,
    template_of_each_spike,
)
from si_curation.variables import FileRows


@dataclass(frozen=True, eq=False)
class Features:
    """Feature files; see `si_curation.phy.folder.PhyFolder` for the attributes."""

    pc_features: NDArray[np.floating] | None
    pc_feature_channels: NDArray[np.int64] | None
    pc_feature_rows: FileRows | None
    template_features: NDArray[np.floating] | None
    template_feature_templates: NDArray[np.int64] | None
    template_feature_rows: FileRows | None
    faults: tuple[Finding, ...] = ()  # errors in files that are there and cannot be used


_ROWS_LOOKED_AT = 20_000  # of a large file
_MIN_USABLE = 0.1
_NOTHING: tuple[None, None, None] = (None, None, None)


def read_features(
    folder: Path,
    num_spikes: int | None,
    num_templates: int | None,
    num_channels: int | None,
    findings: Findings,
) -> Features:
    """Read the feature files; the features themselves stay on disk.

    Three files belong together (features, index, rows). Where one of them has a fault none is used:
    the others would mean something else.
    """
    before = len(findings)
    with findings.optional("read without principal components"):
        components = _feature_group(
            folder, "pc_feature", 3, num_spikes, (num_templates, num_channels), findings
        )
    with findings.optional("template features are computed where they are wanted"):
        projections = _feature_group(
            folder, "template_feature", 2, num_spikes, (num_templates, num_templates), findings
        )
    faults = [
        replace(finding, severity="error", advice=finding.evidence[LEFT_OUT])
        for finding in findings[before:]
    ]
    return Features(*components, *projections, tuple(faults))


def _feature_group(
    folder: Path,
    stem: str,
    ndim: int,
    num_spikes: int | None,
    index_size: tuple[int | None, int | None],
    findings: Findings,
) -> tuple[NDArray[np.floating] | None, NDArray[np.int64] | None, FileRows | None]:
    """Read features, their index (n_templates, n_loc), and which spike each row belongs to."""
    before = len(findings)
    features, rows = _feature_rows(
        folder, f"{stem}s.npy", f"{stem}_spike_ids.npy", ndim, num_spikes, findings
    )
    if features is None:
        return _NOTHING
    num_templates, num_targets = index_size
    shape = (num_templates, features.shape[-1])
    index = index_table(folder, f"{stem}_ind.npy", shape, num_targets, findings)
    return _NOTHING if len(findings) > before else (features, index, rows)


def _feature_rows(
    folder: Path,
    name: str,
    rows_name: str,
    ndim: int,
    num_spikes: int | None,
    findings: Findings,
) -> tuple[NDArray[np.floating] | None, FileRows | None]:
    """Open a feature file, and read which spike each of its rows belongs to (None: all)."""
    features = open_array(folder, name, findings)
    if features is None:
        return None, None
    if features.ndim == ndim - 1:  # one component only (phylib)
        features = features[..., None] if ndim == 2 else features[:, None, :]
    if features.ndim != ndim or features.dtype.kind not in "iuf":
        findings.error(
            name,
            f"has shape {features.shape} and dtype {features.dtype}, expected numbers with "
            f"{ndim} axes, spikes first",
            RESTORE,
        )
        return None, None
    stored = open_array(folder, rows_name, findings)
    stored = as_vector(stored, rows_name, findings, len(features), name)
    stored = as_integers(stored, rows_name, findings)
    rows = None if stored is None else FileRows(stored.astype(np.int64))
    if rows is not None:
        if rows.size and num_spikes is not None and (rows.min() < 0 or rows.max() >= num_spikes):
            findings.error(
                rows_name, f"holds rows up to {rows.max()} of {num_spikes} spikes", MIXED_RUNS
            )
            return None, None
    elif (
        num_spikes is not None and len(features) != num_spikes and not (folder / rows_name).exists()
    ):
        findings.error(
            name,
            f"has {len(features)} rows, spike_times.npy has {num_spikes} spikes",
            f"put {rows_name} back if only some spikes were stored, or remove {name}",
        )
        return None, None
    return features, rows


def open_features(folder: Path, num_templates: int, num_channels: int) -> Features:
    """Open the feature files of a folder again, for an analyzer that was read from it.

    Parameters
    ----------
    folder : Path
    num_templates, num_channels : int
        What the folder had when it was read.

    Returns
    -------
    Features

    Raises
    ------
    FolderNotFoundError
        The folder is gone.
    """
    if not folder.is_dir():
        raise FolderNotFoundError(
            f"{folder}, which the analyzer was read from, is not there any more, and the features "
            "are in its files. Put it back, or read it from where it is now with "
            "read_kilosort_as_analyzer"
        )
    findings = Findings()
    samples = open_array(folder, "spike_times.npy", findings)
    count = None if samples is None else samples.size
    features = read_features(folder, count, num_templates, num_channels, findings)
    return replace(features, faults=(*findings.with_severity("error"), *features.faults))


def open_spike_templates(folder: Path) -> NDArray[np.integer]:
    """Open the template of each spike, which is ``spike_templates.npy`` but for Kilosort 4.0.0.

    Raises
    ------
    PhyFolderError
    """
    name, findings = "spike_templates.npy", Findings()
    if not (folder / name).exists():
        findings.error(name, "is missing", "copy it from the sorter's output")
    values = as_vector(open_array(folder, name, findings), name, findings)
    values = as_integers(values, name, findings)
    clusters = open_array(folder, "spike_clusters.npy", Findings())
    clusters = as_integers(as_vector(clusters, name, Findings()), name, Findings())
    stored = open_array(folder, "templates.npy", Findings())
    count = None if stored is None else len(stored)
    values = template_of_each_spike(folder, values, clusters, count, findings)
    if values is None:
        raise PhyFolderError(folder, findings.with_severity("error"))
    # numpy and numba make floats of uint64 and int64 together; rows of templates.npy fit in both
    return values.view(np.int64) if values.dtype == np.uint64 else values


class OwnProjections(NamedTuple):
    """How many rows of ``template_features.npy`` have the projection onto the spike's own template.

    Attributes
    ----------
    num_rows : int
        Rows that were looked at: all, or some of a large file.
    num_absent : int
        Of them, those whose own template is not in the row of ``template_feature_ind.npy``.
    num_not_finite : int
        Of the others, those that have NaN or infinity there.
    """

    num_rows: int
    num_absent: int
    num_not_finite: int

    @property
    def are_usable(self) -> bool:
        """Whether the file says something of the spikes' own templates, in a tenth of them."""
        usable = self.num_rows - self.num_absent - self.num_not_finite
        return self.num_rows == 0 or usable >= _MIN_USABLE * self.num_rows

    def __str__(self) -> str:
        return (
            f"{self.num_absent:,} of {self.num_rows:,} spikes have no projection onto their own "
            f"template, and {self.num_not_finite:,} have NaN there"
        )


def own_projections(
    values: NDArray[np.floating],
    index: NDArray[np.integer] | None,
    rows: NDArray[np.integer] | None,
    spike_templates: NDArray[np.integer],
) -> OwnProjections:
    """Count the rows that have the projection of the spike onto its own template.

    Parameters
    ----------
    values : array (n_rows, K) floating
    index : array (n_templates, K) integer or None
        Template of each column, by spike template; None: all templates in order.
    rows : array (n_rows,) integer or None
        Spike of each row; None: all in order.
    spike_templates : array (n_spikes,) integer

    Returns
    -------
    OwnProjections

    Examples
    --------
    >>> index = np.array([[0, 1], [0, 1], [0, 1]])
    >>> values = np.array([[1.0, 2.0], [np.nan, np.nan], [1.0, 1.0]])
    >>> own_projections(values, index, None, np.array([0, 1, 2]))
    OwnProjections(num_rows=3, num_absent=1, num_not_finite=1)
    """
    step = max(1, len(values) // _ROWS_LOOKED_AT)
    chosen = np.arange(0, len(values), step)
    templates = np.asarray(spike_templates[chosen if rows is None else rows[chosen]])
    if index is None:
        num_templates = int(templates.max()) + 1 if templates.size else 0
        index = np.tile(np.arange(values.shape[1]), (num_templates, 1))
    is_own = index[templates] == templates[:, None]  # (n, K)
    has_own = is_own.any(axis=1)
    own = np.asarray(values[chosen])[np.arange(chosen.size), is_own.argmax(axis=1)]
    num_not_finite = int(np.count_nonzero(has_own & ~np.isfinite(own)))
    return OwnProjections(chosen.size, int(np.count_nonzero(~has_own)), num_not_finite)


def window_of_rows(array: NDArray, start: int, stop: int) -> NDArray:
    """Return some rows of a memory-mapped file as floats, in a map of their own.

    The pages of a map stay in memory until the map is closed: with one map for each block of rows
    a file of any size is read in little memory.

    Parameters
    ----------
    array : array (n_rows, ...)
        As `open_array` gives it; a slice of it where it is not a whole file.
    start, stop : int

    Returns
    -------
    array (stop - start, ...), read-only
    """
    whole: Any = array
    while isinstance(whole.base, np.memmap):
        whole = whole.base
    is_file = (
        isinstance(whole, np.memmap)
        and array.flags.c_contiguous
        and array.size == whole.size
        and array.dtype == whole.dtype
        and start < stop
        and os.path.getsize(str(whole.filename)) == whole.offset + whole.nbytes
    )
    if not is_file:
        return _as_floats(array[start:stop])
    window = np.memmap(
        str(whole.filename),
        dtype=array.dtype,
        mode="r",
        offset=whole.offset + start * array.strides[0],
        shape=(stop - start, *array.shape[1:]),
    )
    return _as_floats(np.asarray(window))


def _as_floats(values: NDArray) -> NDArray[np.floating]:
    return values.astype(float_dtype(values.dtype), copy=False)
