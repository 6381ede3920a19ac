"""`add_units_to_nwbfile`: the units of an analyzer as a table, built in bulk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from spikeinterface.core import SortingAnalyzer


def add_units_to_nwbfile(
    sorting_analyzer: SortingAnalyzer,
    nwbfile: Any,
    *,
    t_start: float | Sequence[float] | None = None,
    timestamps: ArrayLike | Sequence[ArrayLike] | None = None,
    electrical_series_path: str | None = None,
    electrode_map: Mapping[Any, int] | None = None,
    write_waveforms: bool = True,
    per_spike: Sequence[str] = ("amplitudes",),
    units_name: str = "units",
    metadata: Mapping[str, Any] | str | Path | None = None,
) -> Any:
    """Add the units of an analyzer to an NWB file in memory, such as neuroconv makes.

    Nothing is added unless all can be.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    nwbfile : pynwb.NWBFile
        Its electrodes are used, and never changed; electrodes are added if it has none. Must not
        have a units table of that name yet.
    t_start, timestamps, electrical_series_path, electrode_map, write_waveforms, per_spike
        As of `export_to_nwb`; an ElectricalSeries is one of `nwbfile`.
    units_name : str
        "units", or the name of a table in ``processing/ecephys``.
    metadata : mapping, str or Path, optional
        As of `export_to_nwb`; its part "Ecephys" is used.

    Returns
    -------
    pynwb.misc.Units
        The table that was added.

    Raises
    ------
    MissingDataError, OutputExistsError, ParameterError
        As of `export_to_nwb`.
    """
    raise NotImplementedError
