"""A file that was written is read back, and compared with the analyzer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.errors import NwbExportError
from si_curation.exporters.nwb.file import opened
from si_curation.exporters.nwb.optional import MODULE
from si_curation.exporters.nwb.units import AddedUnits

_BLOCK = 2**21


def check_written(
    path: Path, target: Path, analyzer: SortingAnalyzer, added: AddedUnits, units_name: str
) -> None:
    """Read a file back with pynwb, and compare the units with those of the analyzer.

    Ids, names of columns and electrodes have to be the same, and every spike has to be at its
    sample again, or at the time that was given for it.

    Parameters
    ----------
    path : Path
        Where it is now.
    target : Path
        Where it is to be, for messages.
    analyzer : SortingAnalyzer
    added : AddedUnits
    units_name : str

    Raises
    ------
    NwbExportError
        They are not.
    """
    with opened(path) as io:
        nwbfile = io.read()
        units = nwbfile.units if units_name == "units" else nwbfile.processing[MODULE][units_name]
        problems = _problems(units, analyzer, added)
        if not problems:
            problems = _spike_problems(units, analyzer, added)
    if problems:
        raise NwbExportError(
            f"{target} could not be written, nothing was changed: the file does not read "
            f"back as it was written: {'; '.join(problems)}"
        )


def _problems(units: Any, analyzer: SortingAnalyzer, added: AddedUnits) -> list[str]:
    problems = []
    names = added.table.colnames
    if tuple(units.colnames) != names:
        problems.append(f"columns are {', '.join(units.colnames)}, expected {', '.join(names)}")
    found = [str(name) for name in units["unit_name"][:]] if "unit_name" in units.colnames else []
    if found != [str(unit_id) for unit_id in analyzer.unit_ids]:
        problems.append("units have other names")
    rows = added.electrode_rows
    if rows is not None and rows.size:
        there = np.asarray(units["electrodes"].target.data[:])
        if not np.array_equal(there, rows):
            problems.append("units are on other electrodes")
    return problems


def _spike_problems(units: Any, analyzer: SortingAnalyzer, added: AddedUnits) -> list[str]:
    index = units["spike_times"]
    order, counts = added.timed.spikes
    if not np.array_equal(np.asarray(index.data[:]), np.cumsum(counts)):
        return ["units have other numbers of spikes"]
    stored = index.target.data
    vector = spike_vector_of(analyzer.sorting)
    if stored.shape != vector.shape:
        return [f"there are {stored.shape[0]} spikes, expected {vector.size}"]
    for start in range(0, vector.size, _BLOCK):
        block = slice(start, min(start + _BLOCK, vector.size))
        own = vector[order[block]]
        times = np.asarray(stored[block])
        if not added.timed.clocks and not np.array_equal(times, added.timed.times[block]):
            return ["spikes are at other times than those that were given"]
        for i, clock in enumerate(added.timed.clocks):
            of_segment = own["segment_index"] == i
            frames = clock.frames_of(times[of_segment])
            wrong = np.flatnonzero(frames != own["sample_index"][of_segment])
            if wrong.size:
                which = np.flatnonzero(of_segment)[wrong[0]]
                return [
                    f"{wrong.size} spikes are at other samples, the first at "
                    f"{float(times[which])} s (sample {own['sample_index'][which]} of segment "
                    f"{i}); is the clock fine enough for float64?"
                ]
    return []
