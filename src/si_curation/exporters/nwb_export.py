"""`export_to_nwb`: curated units in a file of Neurodata Without Borders, written safely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from numpy.typing import ArrayLike
from spikeinterface.core import SortingAnalyzer

Mode = Literal["new", "sidecar", "export", "append"]


def export_to_nwb(
    sorting_analyzer: SortingAnalyzer,
    path: str | Path,
    *,
    metadata: Mapping[str, Any] | str | Path | None = None,
    source_nwb: str | Path | None = None,
    mode: Mode | None = None,
    t_start: float | Sequence[float] | None = None,
    timestamps: ArrayLike | Sequence[ArrayLike] | None = None,
    electrical_series_path: str | None = None,
    electrode_map: Mapping[Any, int] | None = None,
    write_waveforms: bool = True,
    per_spike: Sequence[str] = ("amplitudes",),
    units_name: str = "units",
    overwrite: bool = False,
    progress_bar: bool = True,
) -> Path:
    """Write the units of an analyzer to an NWB file (HDF5).

    The file is written under a temporary name, read back, compared spike by spike, and only then
    given its name: it appears as a whole or not at all.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Of any sorter; no recording is needed if the time is told otherwise.
    path : str or Path
        The file. Must not exist unless `overwrite`. With ``mode="append"`` the file that is added
        to.
    metadata : mapping, str or Path, optional
        ``{"NWBFile": {...}, "Subject": {...}, "Ecephys": {...}}``, as neuroconv has it, or the path
        of a YAML or JSON file of it. A new file needs at least ``NWBFile.session_start_time``
        (a datetime, or text in ISO 8601; without an offset it is in UTC). ``Ecephys`` may have
        ``Device`` and ``ElectrodeGroup`` (lists of mappings with ``name``, ``description``,
        ``location``, ``device``...) and ``UnitProperties`` (mappings with ``name`` and
        ``description``).
    source_nwb : str or Path, optional
        The file of the recording that was sorted: its electrodes, clock and metadata are used.
    mode : {"new", "sidecar", "export", "append"}, optional
        "new": a file made from the analyzer and `metadata` alone. "sidecar": a new file with the
        metadata, subject and electrodes of `source_nwb`, without its data. "export": a copy of all
        of `source_nwb` with the units added. "append": the units are added to `path` itself (or
        to `source_nwb`, if it is the same file); a file of an older schema is upgraded by that,
        which cannot be undone. By default "sidecar" with `source_nwb`, else "new".
    t_start : float or sequence of float, optional
        Time of the first sample of each segment, in seconds from the session's reference time.
    timestamps : array (n_samples,) or one per segment, optional
        Time of every sample, in seconds from the session's reference time.
    electrical_series_path : str, optional
        Of the ElectricalSeries in `source_nwb` whose clock it is, such as
        ``"acquisition/ElectricalSeries"``; needed where there are several.
    electrode_map : mapping of channel id to int, optional
        Id of the row of the file's electrodes table for each channel, where they cannot be matched.
    write_waveforms : bool
        Write ``waveform_mean``; only where the templates are in µV.
    per_spike : sequence of str
        What is written of each spike: "amplitudes" (``spike_amplitudes_uV`` where they are in µV,
        else ``ks_amplitudes``), "ks_amplitudes", "depths" (``spike_depths_um``), "template_ids"
        (``spike_template_ids``).
    units_name : str
        "units" is the units table of the file. Any other name is a table of that name in
        ``processing/ecephys``.
    overwrite : bool
        Replace an existing file, once the new one is complete.
    progress_bar : bool
        Show one on long exports.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    MissingDataError
        pynwb is not installed (``pip install "si_curation[nwb]"``), or nothing tells the time of
        the samples, or what `per_spike` asks for is not there.
    OutputExistsError
        `path` exists, or has units of that name already.
    FolderNotFoundError
        A file does not exist.
    ParameterError
        What was asked for cannot be done: all problems at once.
    NwbExportError
        The file could not be written, or does not read back as it was meant. The file that was
        there is as it was.

    See Also
    --------
    add_units_to_nwbfile : the same for a file in memory.
    """
    raise NotImplementedError
