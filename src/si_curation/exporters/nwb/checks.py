"""A file that was written is read back, and compared with the analyzer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.errors import NwbExportError
from si_curation.exporters.nwb.clock import Clock, are_regular, starts_and_rates
from si_curation.exporters.nwb.compressed import is_stored
from si_curation.exporters.nwb.file import opened
from si_curation.exporters.nwb.optional import MODULE
from si_curation.exporters.nwb.spikes import TimedSpikes
from si_curation.exporters.nwb.units import AddedUnits
from si_curation.kernels.sample_times import count_elsewhere_by_unit

_BLOCK = 2**21


def check_written(
    path: Path, target: Path, analyzer: SortingAnalyzer, added: AddedUnits, units_name: str
) -> None:
    """Read a file back with pynwb, and compare the units with those of the analyzer.

    Ids, names of columns and electrodes have to be the same, values of large columns the same bits,
    and every spike has to be at its sample again, or at the time that was given for it.

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
    counts = added.timed.spikes.counts
    if not np.array_equal(np.asarray(index.data[:]), np.cumsum(counts)):
        return ["units have other numbers of spikes"]
    stored = index.target.data
    vector = spike_vector_of(analyzer.sorting)
    if stored.shape != vector.shape:
        return [f"there are {stored.shape[0]} spikes, expected {vector.size}"]
    wrong = _columns_that_differ(units, added)
    if wrong:
        return [f"{', '.join(wrong)} of spikes or units have other values"]
    if any(one.name == "spike_times" for one in added.large):
        stored = added.timed.times  # the same bits
    if not added.timed.clocks:
        same = np.array_equal(np.asarray(stored[:]), added.timed.times)
        return [] if same else ["spikes are at other times than those that were given"]
    return _spikes_at_other_samples(stored, vector, added.timed)


def _columns_that_differ(units: Any, added: AddedUnits) -> list[str]:
    """Return the names of large columns that are not stored bit for bit."""
    return [
        one.name for one in added.large if not is_stored(_dataset_of(units, one.name), one.values)
    ]


def _dataset_of(units: Any, name: str) -> Any:
    """Return the values of a column, or of the index of one, as HDF5 has them."""
    if name.endswith("_index"):
        return units[name.removesuffix("_index")].data
    column = units.id if name == "id" else units[name]
    return getattr(column, "target", column).data


def _spikes_at_other_samples(stored: Any, vector: NDArray, timed: TimedSpikes) -> list[str]:
    order, clocks = timed.spikes.order, timed.clocks
    unit_order = timed.spikes.unit_order if isinstance(stored, np.ndarray) else None
    size = _BLOCK if unit_order is None else max(vector.size, 1)
    for start in range(0, vector.size, size):
        block = slice(start, min(start + size, vector.size))
        times = np.asarray(stored[block])
        if are_regular(clocks) and unit_order is not None:
            count, first = count_elsewhere_by_unit(
                vector, unit_order, times, *starts_and_rates(clocks)
            )
        else:
            count, first = _count_elsewhere(vector[order[block]], times, clocks)
        if count:
            spike = vector[order[start + first]]
            return [
                f"{count} spikes are at other samples, the first at {float(times[first])} s "
                f"(sample {spike['sample_index']} of segment {spike['segment_index']}); is the "
                "clock fine enough for float64?"
            ]
    return []


def _count_elsewhere(
    spikes: NDArray, times: NDArray[np.float64], clocks: Sequence[Clock]
) -> tuple[int, int]:
    """Count the times that are not those of the samples of spikes; and return the first."""
    is_number = np.isfinite(times)
    wrong = ~is_number
    for i, clock in enumerate(clocks):
        own = np.flatnonzero((spikes["segment_index"] == i) & is_number)
        wrong[own] = clock.frames_of(times[own]) != spikes["sample_index"][own]
    return int(wrong.sum()), int(np.argmax(wrong)) if wrong.any() else -1
