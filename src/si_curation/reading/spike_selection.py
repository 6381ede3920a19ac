"""Which rows of a folder become spikes of which units, and what is said of the others."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import BaseRecording

from si_curation.checks import did_you_mean, short_repr
from si_curation.errors import ParameterError, SiCurationWarning
from si_curation.phy.folder import PhyFolder
from si_curation.phy.tables import GROUPS
from si_curation.reading.observed import sorted_part
from si_curation.variables import FileRows

logger = logging.getLogger(__name__)


@dataclass
class SpikeSelection:
    """Which rows of the folder become spikes of which units.

    Attributes
    ----------
    unit_ids : array (n_units,) int64
    rows : array (n_kept,) int64 or None
        Rows of the files, in the order of the spikes; None: all rows as they are.
    dropped_rows : array (n_dropped,) int64
        Rows that SpikeInterface cannot hold.
    num_samples : int
        Length of the analyzer.
    """

    unit_ids: NDArray[np.int64]
    rows: FileRows | None
    dropped_rows: NDArray[np.int64]
    num_samples: int


def select_spikes(
    folder: PhyFolder, recording: BaseRecording | None, exclude_groups: str | Collection[str] | None
) -> SpikeSelection:
    """Choose the rows that SpikeInterface can hold, in the order of their samples.

    Parameters
    ----------
    folder : PhyFolder
    recording : BaseRecording, optional
        Spikes after its end are dropped; without one the analyzer is made long enough.
    exclude_groups : str or sequence of str, optional
        phy groups that are left out.

    Returns
    -------
    SpikeSelection
    """
    names = [exclude_groups] if isinstance(exclude_groups, str) else (exclude_groups or [])
    if not isinstance(names, Iterable) or not all(isinstance(name, str) for name in names):
        raise ParameterError(
            f"exclude_groups is {short_repr(exclude_groups)}, expected names of groups"
        )
    excluded = set(names)
    groups = folder.groups if excluded else {}
    unknown = sorted(excluded - set(groups.values()) - set(GROUPS))
    if unknown:
        raise ParameterError(
            f"exclude_groups has {short_repr(unknown)}, but the groups of this folder are "
            f"{', '.join(sorted(set(groups.values())))}"
            f"{did_you_mean(unknown[0], [*groups.values(), *GROUPS])}"
        )
    kept = np.array([groups.get(int(i)) not in excluded for i in folder.cluster_ids], dtype=bool)
    unit_ids = folder.cluster_ids[kept] if excluded else folder.cluster_ids
    if recording is None:
        num_samples = max(folder.raw_num_samples or _end_of_sorted_part(folder), 1)
        num_samples = max(num_samples, folder.last_sample + 1)
    else:
        num_samples = recording.get_num_samples()
    out_of_range = folder.first_sample < 0 or folder.last_sample >= num_samples
    no_rows = np.zeros(0, dtype=np.int64)
    if not out_of_range and folder.spikes_are_sorted and unit_ids.size == folder.cluster_ids.size:
        return SpikeSelection(unit_ids, None, no_rows, num_samples)
    samples = folder.spike_samples
    keep = (samples >= 0) & (samples < num_samples)
    if unit_ids.size < folder.cluster_ids.size:
        wanted = np.isin(folder.spike_clusters, unit_ids)
        dropped = np.flatnonzero(~keep & wanted)
        keep &= wanted
    else:
        dropped = np.flatnonzero(~keep)
    rows = np.flatnonzero(keep)
    if not folder.spikes_are_sorted:
        logger.info("%s: spike_times.npy is not in ascending order; sorted", folder.folder)
        rows = rows[np.argsort(samples[rows], kind="stable")]
    return SpikeSelection(unit_ids, FileRows(rows), dropped, num_samples)


def _end_of_sorted_part(folder: PhyFolder) -> int:
    """Return where the sorter stopped looking (Kilosort 4's ``tmax``); 0 where it is not known."""
    part = sorted_part(folder)
    return 0 if part is None else part[1] or 0


def warn_of_dropped(folder: PhyFolder, selection: SpikeSelection) -> None:
    """Warn once of spikes that could not be kept."""
    rows = selection.dropped_rows
    if rows.size == 0:
        return
    shown = ", ".join(map(str, rows[:10])) + (", ..." if rows.size > 10 else "")
    warnings.warn(
        f"{folder.folder}: {rows.size} of {folder.num_spikes} spikes are before sample 0 or after "
        f"the end of the recording ({selection.num_samples} samples), where SpikeInterface cannot "
        f"hold them: rows {shown} of spike_times.npy; all rows are in the sorting's annotation "
        "'dropped_spike_rows'",
        SiCurationWarning,
        stacklevel=4,
    )
