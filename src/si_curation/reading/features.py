"""The principal-component features of a folder, for the spikes of an analyzer read from it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import Finding, MissingDataError, PhyFolderError
from si_curation.kernels.feature_channels import sorted_feature_channels
from si_curation.kernels.parallel import blocks, run_blocks
from si_curation.kernels.template_counts import contingency_table
from si_curation.phy.arrays import Findings, as_integers, as_vector, float_dtype, open_array
from si_curation.phy.feature_files import (
    Features,
    open_features,
    open_spike_templates,
    window_of_rows,
)
from si_curation.phy.ops import read_ops
from si_curation.phy.session import SESSION_CHANNELS_FILE
from si_curation.variables import FileRows, TemplateIds

FeatureChannels = Literal["file", "repaired"]
#: Pages of a feature file that stay mapped from one question to the next.
MAX_BYTES_KEPT_OPEN = 4_000_000_000
_MOST_ROWS_KEPT_OPEN = 1 << 18  # of one question
_BYTES_AT_ONCE = 1 << 16  # that Linux maps when one of them is asked for
_FILES_OF_COMPONENTS = (
    "spike_templates.npy",
    "pc_features.npy",
    "pc_feature_ind.npy",
    "pc_feature_spike_ids.npy",
)
_FILES_OF_REPAIRED = (*_FILES_OF_COMPONENTS, "spike_detection_templates.npy", "ops.npy")
#: Files that features of spikes come from, on each choice of channels.
FILES_OF_SPIKES: dict[FeatureChannels, tuple[str, ...]] = {
    "file": _FILES_OF_COMPONENTS,
    "repaired": _FILES_OF_REPAIRED,
}
#: All files that are looked at.
FILES = (
    *_FILES_OF_REPAIRED,
    "spike_times.npy",
    "template_features.npy",
    "template_feature_ind.npy",
    "template_feature_spike_ids.npy",
    "templates.npy",
)


class SpikesOfFolder(NamedTuple):
    """Spikes of an analyzer and where they are in the folder that it was read from."""

    folder: Path
    rows: FileRows  # (n_spikes,) row in the files
    template_ids: TemplateIds  # (n_spikes,)
    num_templates: int
    num_channels: int  # of the folder

    def select(self, chosen: slice | NDArray[np.integer]) -> SpikesOfFolder:
        """Return some of the spikes."""
        return self.replace_spikes(self.rows[chosen], self.template_ids[chosen])

    def replace_spikes(
        self, rows: NDArray[np.integer], template_ids: NDArray[np.integer]
    ) -> SpikesOfFolder:
        """Return other spikes of the same folder."""
        return self._replace(rows=FileRows(rows), template_ids=TemplateIds(template_ids))


class KeptMap:
    """A map of a whole feature file that stays open while few of its pages were in use.

    Opening a page again costs ten times as much as the features on it. The pages of an open map
    count as memory of the process, although the system takes them back where it needs them.
    """

    def __init__(self, values: NDArray[np.floating]) -> None:
        self._values = values
        self._bytes_of_row = values.nbytes // max(len(values), 1)
        is_read_as_it_is = values.dtype == float_dtype(values.dtype) and values.flags.c_contiguous
        self._can_be_kept = is_read_as_it_is and self._bytes_of_row > 0
        self._whole: NDArray[np.floating] | None = None  # of a file that may be open as a whole
        self._open: tuple[NDArray, NDArray[np.bool_]] | None = None

    def holding(self, rows: NDArray[np.int64]) -> NDArray[np.floating] | None:
        """Return the file; None where these rows (-1 counts for none) are on too much of it."""
        values, bytes_of_row = self._values, self._bytes_of_row
        if not self._can_be_kept or rows.size > _MOST_ROWS_KEPT_OPEN:
            return None
        if values.nbytes <= MAX_BYTES_KEPT_OPEN:
            if self._whole is None:
                self._whole = window_of_rows(values, 0, len(values))
            return self._whole
        touched = np.zeros(len(values) * bytes_of_row // _BYTES_AT_ONCE + 1, dtype=np.bool_)
        touched[rows[rows >= 0] * bytes_of_row // _BYTES_AT_ONCE] = True
        most = MAX_BYTES_KEPT_OPEN // _BYTES_AT_ONCE
        if np.count_nonzero(touched) > most:
            return None
        known = self._open  # of another thread at the worst: then a page may count as not touched
        if known is not None and np.count_nonzero(known[1] | touched) <= most:
            window, before = known
            self._open = window, before | touched
        else:
            window = window_of_rows(values, 0, len(values))
            self._open = window, touched
        return window


class FeatureRows:
    """Find the row of a spike in a feature file, which may hold some of the spikes only."""

    def __init__(self, rows: FileRows, stored: FileRows | None) -> None:
        self._rows = rows
        self._table: NDArray[np.int64] | None = None
        if stored is not None:
            size = max(int(rows.max(initial=-1)), int(stored.max(initial=-1))) + 1
            self._table = np.full(size, -1, dtype=np.int64)
            self._table[stored] = np.arange(stored.size)

    def rows_of_spikes(self, piece: slice | NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the row of some spikes (a slice or indices); -1 where there is none."""
        rows = self._rows[piece].astype(np.int64, copy=False)
        return rows if self._table is None else self._table[rows]

    def has_all(self) -> bool:
        """Return whether the file holds every spike."""
        if self._table is None:
            return True
        table, pieces = self._table, blocks(self._rows.size)
        return all((table[self._rows[piece]] >= 0).all() for piece in pieces)


@dataclass(frozen=True, eq=False)
class SorterFeatures:
    """Features on disk, and how to find those of a spike.

    Attributes
    ----------
    values : array (n_rows, n_pcs, n_loc) floating
        Memory-mapped.
    rows : FeatureRows
    groups : array (n_spikes,) integer
        Spikes of one group have their features on the same channels: the template, or the
        detection template where the channels are repaired.
    channels : array (n_groups, n_loc) int64
        Channel of each column; -1 for none.
    channels_from : {"file", "repaired"}
    kept : KeptMap, optional
        The same values, for those who read some spikes again and again.
    """

    values: NDArray[np.floating]
    rows: FeatureRows
    groups: NDArray[np.integer]
    channels: NDArray[np.int64]
    channels_from: FeatureChannels
    kept: KeptMap | None = None

    def kept_map_of(self, spikes: slice | NDArray[np.integer]) -> NDArray[np.floating] | None:
        """Return the whole file in a map that stays open; None where the spikes are too many."""
        are_many = not isinstance(spikes, slice) and spikes.size > _MOST_ROWS_KEPT_OPEN
        if self.kept is None or are_many:
            return None
        return self.kept.holding(self.rows.rows_of_spikes(spikes))


class FeatureFiles:
    """The feature files of a folder, opened once for many questions.

    Parameters
    ----------
    folder : Path
    num_templates, num_channels : int
        What the folder had when it was read.

    Raises
    ------
    FolderNotFoundError, PhyFolderError
        The folder is gone, or ``spike_templates.npy`` cannot be used.
    """

    def __init__(self, folder: Path, num_templates: int, num_channels: int) -> None:
        self.folder = folder
        self.num_templates = num_templates
        self.num_channels = num_channels
        self.features: Features = open_features(folder, num_templates, num_channels)
        self.spike_templates = open_spike_templates(folder)
        self._plain_templates = np.asarray(self.spike_templates)  # looked up faster than a map

    @staticmethod
    def state_of(folder: str | Path, names: Sequence[str] = FILES) -> dict[str, tuple[int, ...]]:
        """Return size and time of each of some files: others after it was written again."""
        found: dict[str, tuple[int, ...]] = {}
        start = os.path.join(folder, "")
        for name in names:
            try:
                status = os.stat(start + name)
            except OSError:
                found[name] = ()
            else:
                found[name] = (status.st_ino, status.st_size, status.st_mtime_ns)
        return found

    def check(self, rows: FileRows, template_ids: TemplateIds) -> None:
        """Raise if ``spike_templates.npy`` differs from what it was when the folder was read.

        Raises
        ------
        PhyFolderError
        """
        now = self._plain_templates

        def compare(piece: slice) -> bool:
            try:
                return bool((now.take(rows[piece]) == template_ids[piece]).all())
            except IndexError:  # there are fewer than there were
                return False

        if not all(run_blocks(compare, blocks(rows.size))):
            finding = Finding(
                "error",
                "is not what the analyzer was read from",
                "spike_templates.npy",
                "was it sorted again? read it again with read_kilosort_as_analyzer",
            )
            raise PhyFolderError(self.folder, [finding])

    def features_of_spikes(
        self, spikes: SpikesOfFolder, channels_from: FeatureChannels
    ) -> SorterFeatures:
        """Return where the features of some spikes are.

        Parameters
        ----------
        spikes : SpikesOfFolder
        channels_from : {"file", "repaired"}
            "repaired": the channels that Kilosort 4 really took the features on, where the folder
            tells; else those of the file.

        Raises
        ------
        MissingDataError
            There is no ``pc_features.npy``.
        """
        return self.features_of_rows(spikes.rows, spikes.template_ids, channels_from)

    def features_of_rows(
        self, rows: FileRows, template_ids: TemplateIds, channels_from: FeatureChannels
    ) -> SorterFeatures:
        """Return where the features of the spikes in some rows are; see `features_of_spikes`."""
        values, kept = self.components, self._kept
        found = FeatureRows(rows, self.features.pc_feature_rows)
        if channels_from == "repaired" and self._repaired is not None:
            detection, channels = self._repaired
            return SorterFeatures(values, found, detection[rows], channels, "repaired", kept)
        return SorterFeatures(values, found, template_ids, self._listed, "file", kept)

    @property
    def components(self) -> NDArray[np.floating]:
        """The content of ``pc_features.npy``, memory-mapped (n_rows, n_pcs, n_loc).

        Raises
        ------
        MissingDataError
            There is no ``pc_features.npy``.
        PhyFolderError
            It, or a file that goes with it, cannot be used.
        """
        if self.features.pc_features is None:
            self.check_faults("pc_feature")
            raise MissingDataError(f"{self.folder} has no pc_features.npy")
        return self.features.pc_features

    @cached_property
    def _kept(self) -> KeptMap:
        return KeptMap(self.components)

    def check_faults(self, stem: str) -> None:
        """Raise if features are there and cannot be used.

        Parameters
        ----------
        stem : {"pc_feature", "template_feature"}
            How the names of their files begin.

        Raises
        ------
        PhyFolderError
        """
        of_others = {"pc_feature": "template_feature", "template_feature": "pc_feature"}[stem]
        faults = [f for f in self.features.faults if not f.where.startswith(of_others)]
        if faults:
            raise PhyFolderError(self.folder, faults)

    @cached_property
    def _listed(self) -> NDArray[np.int64]:
        listed = self.features.pc_feature_channels
        return feature_channels_of(self.components, listed, self.num_templates)

    @cached_property
    def _repaired(self) -> tuple[NDArray[np.integer], NDArray[np.int64]] | None:
        """Detection template of every spike, and the channels of each one's features."""
        findings = Findings()
        ops = read_ops(self.folder, findings) or {}
        near, main = ops.get("iCC"), ops.get("iU")
        name = "spike_detection_templates.npy"
        length = self.spike_templates.size
        detection = as_vector(open_array(self.folder, name, findings), name, findings, length)
        detection = as_integers(detection, name, findings)
        if findings.with_severity("error") or detection is None or near is None or main is None:
            return None
        near, main = np.asarray(near), np.asarray(main)
        fits = (
            near.ndim == 2
            and main.ndim == 1
            and near.dtype.kind in "iu"
            and main.dtype.kind in "iu"
            and near.shape[0] == self._listed.shape[1]
            and main.size > 0
            and 0 <= main.min() <= main.max() < near.shape[1]
            and detection.size > 0
            and 0 <= detection.min() <= detection.max() < main.size
        )
        if not fits:
            return None
        if detection.dtype == np.uint64:  # numba makes floats of uint64 and int64 together
            detection = detection.view(np.int64)
        known = self._channels_of_session((main.size, near.shape[0]))
        if known is not None:
            return detection, known
        counts = contingency_table(self.spike_templates, detection, self.num_templates, main.size)
        return detection, sorted_feature_channels(self._listed, near[:, main].T, counts.toarray())

    def _channels_of_session(self, shape: tuple[int, int]) -> NDArray[np.int64] | None:
        """Return the channels that the folder of a session has from the whole.

        The spikes of a session alone may be too few to tell them.
        """
        known = open_array(self.folder, SESSION_CHANNELS_FILE, Findings())
        if known is None or known.shape != shape or known.dtype.kind not in "iu":
            return None
        if known.min() < -1 or known.max() >= self.num_channels:
            return None
        return np.asarray(known).astype(np.int64)

    @property
    def repaired_channels(self) -> NDArray[np.int64] | None:
        """Channels of the features of each detection template; None where they are not known."""
        return None if self._repaired is None else self._repaired[1]


def feature_channels_of(
    values: NDArray[np.floating], listed: NDArray[np.integer] | None, num_templates: int
) -> NDArray[np.int64]:
    """Return the channel of each column of the features of each template; -1 for none."""
    if listed is not None:
        return listed.astype(np.int64, order="C")
    return np.tile(np.arange(values.shape[2]), (num_templates, 1))  # as phylib


def read_rows(values: NDArray, rows: NDArray[np.integer], rows_at_once: int = 1 << 12) -> NDArray:
    """Copy some rows of a memory-mapped file, with little of it in memory at any time.

    Parameters
    ----------
    values : array (n_rows, ...)
    rows : array (n,) integer
        Best ascending.
    rows_at_once : int

    Returns
    -------
    array (n, ...)
    """
    out = np.empty((rows.size, *values.shape[1:]), dtype=float_dtype(values.dtype))

    def read(piece: slice) -> None:
        some = rows[piece]
        first = int(some.min())
        window = window_of_rows(values, first, int(some.max()) + 1)
        np.take(window, some - first, axis=0, out=out[piece], mode="clip")

    run_blocks(read, blocks(rows.size, rows_at_once))
    return out


def open_window(
    features: NDArray[np.floating], rows: NDArray[np.int64]
) -> tuple[NDArray, NDArray[np.int64]]:
    """Return the part of a feature file that holds some rows, and the rows in it (-1 stays)."""
    stored = rows[rows >= 0]
    if stored.size == 0:
        return np.zeros((0, *features.shape[1:]), dtype=float_dtype(features.dtype)), rows
    first, last = int(stored.min()), int(stored.max())
    return window_of_rows(features, first, last + 1), np.where(rows >= 0, rows - first, -1)
