"""Spikes of all units, one unit after the other: times, and other values of each spike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array, spike_vector_of
from si_curation.errors import (
    FolderNotFoundError,
    MissingDataError,
    ParameterError,
    PhyFolderError,
)
from si_curation.exporters.nwb.clock import BLOCK, Clock, are_regular, starts_and_rates
from si_curation.exporters.nwb.columns import ids_column
from si_curation.exporters.nwb.given_times import GivenTimes
from si_curation.kernels.parallel import read_only
from si_curation.kernels.sample_times import is_ascending, times_by_unit
from si_curation.kernels.spikes_by_unit import (
    UnitOrder,
    order_of_units,
    positions_by_unit,
    values_by_unit,
)
from si_curation.reading.observed import observed_periods
from si_curation.reading.probe import locations_extension
from si_curation.spikes.amplitude_scale import sorter_amplitudes
from si_curation.variables import NWB_UNITS

logger = logging.getLogger(__name__)

PER_SPIKE = ("amplitudes", "ks_amplitudes", "depths", "template_ids")


class SpikesOfUnits(NamedTuple):
    """Spikes in the order of an NWB file.

    Attributes
    ----------
    order : array (n_spikes,) integer
        Position of each in ``spike_vector_of(sorting)``: units one after the other, each ascending
        in time.
    counts : array (n_units,) int64
    unit_order : UnitOrder or None
        The same order, for kernels; None where it is not that of the spike vector within a unit.
    """

    order: NDArray[np.integer]
    counts: NDArray[np.int64]
    unit_order: UnitOrder | None = None


def order_spikes(analyzer: SortingAnalyzer) -> SpikesOfUnits:
    """Sort the spikes by unit, then time."""
    spikes = spike_vector_of(analyzer.sorting)
    num_units = len(analyzer.unit_ids)
    unit = spikes["unit_index"]
    unit_order = order_of_units(unit, num_units)
    counts = np.diff(unit_order.start)
    if not is_ascending(spikes):  # vectors that were made by hand
        order = np.lexsort((spikes["sample_index"], spikes["segment_index"], unit))
        return SpikesOfUnits(order, counts)
    return SpikesOfUnits(positions_by_unit(unit_order, unit), counts, unit_order)


class TimedSpikes(NamedTuple):
    """Spikes in the order of an NWB file, with their times.

    Attributes
    ----------
    spikes : SpikesOfUnits
    times : array (n_spikes,) float64
        Seconds, units one after the other.
    observed : array (n_intervals, 2) float64
        When the units could be observed: start and end in seconds.
    clocks : list of Clock
        One per segment; empty where a time was given for each spike.
    """

    spikes: SpikesOfUnits
    times: NDArray[np.float64]
    observed: NDArray[np.float64]
    clocks: Sequence[Clock]


def timed_by_clocks(analyzer: SortingAnalyzer, clocks: Sequence[Clock]) -> TimedSpikes:
    """Return the spikes with the times of their samples."""
    spikes = order_spikes(analyzer)
    observed = _observed_intervals(analyzer, clocks)
    return TimedSpikes(spikes, spike_times(analyzer, spikes, clocks), observed, clocks)


def _observed_intervals(analyzer: SortingAnalyzer, clocks: Sequence[Clock]) -> NDArray[np.float64]:
    """Return start and end (n_periods, 2) in s of what was observed: whole segments, or parts."""
    observed = observed_periods(analyzer)
    if observed.is_whole:
        return np.array([[clock.start_s, clock.end_s] for clock in clocks])
    rows = []
    for segment, start, stop in observed.periods.tolist():
        clock = clocks[segment]
        first, last = clock.times_of(np.array([start, stop - 1]))
        rows.append([float(first), float(last) + 1.0 / clock.rate])
    return np.array(rows)


def timed_as_given(analyzer: SortingAnalyzer, given: GivenTimes) -> TimedSpikes:
    """Return the spikes with their own times, ascending within each unit."""
    spikes = order_spikes(analyzer)
    times = given.times[spikes.order]
    units = np.repeat(np.arange(spikes.counts.size), spikes.counts)
    if np.any((np.diff(times) < 0) & (np.diff(units) == 0)):
        ascending = np.lexsort((times, units))
        spikes = SpikesOfUnits(spikes.order[ascending], spikes.counts)
        times = times[ascending]
    return TimedSpikes(spikes, times, given.observed, [])


def spike_times(
    analyzer: SortingAnalyzer, spikes: SpikesOfUnits, clocks: Sequence[Clock]
) -> NDArray[np.float64]:
    """Return the seconds of all spikes, units one after the other.

    Returns
    -------
    array (n_spikes,) float64
    """
    vector = spike_vector_of(analyzer.sorting)
    order = spikes.order
    if are_regular(clocks) and spikes.unit_order is not None:
        return times_by_unit(vector, spikes.unit_order, *starts_and_rates(clocks))
    times = np.empty(order.size, dtype=np.float64)
    in_memory = all(c.timestamps is None or isinstance(c.timestamps, np.ndarray) for c in clocks)
    # a file is read once, in the order of the spikes of all units
    step = BLOCK if in_memory else max(order.size, 1)
    for start in range(0, order.size, step):
        block = slice(start, start + step)
        own = vector[order[block]]
        for i, clock in enumerate(clocks):
            of_segment = slice(None) if len(clocks) == 1 else own["segment_index"] == i
            times[block][of_segment] = clock.times_of(own["sample_index"][of_segment])
    return times


class PerSpike(NamedTuple):
    """A value of every spike, units one after the other."""

    name: str
    description: str
    data: NDArray


def per_spike_columns(
    analyzer: SortingAnalyzer, spikes: SpikesOfUnits, wanted: Sequence[str]
) -> list[PerSpike]:
    """Gather what is asked for of each spike.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    spikes : SpikesOfUnits
    wanted : sequence of str
        Of `PER_SPIKE`.

    Returns
    -------
    list of PerSpike
        "amplitudes" are left out, which is logged, where there are none; nothing where there are
        no spikes.

    Raises
    ------
    MissingDataError
        Something else is not there.
    """
    found: dict[str, PerSpike] = {}
    problems = []
    unit_order, unit = spikes.unit_order, spike_vector_of(analyzer.sorting)["unit_index"]
    for name in wanted:
        try:
            one = _GATHER[name](analyzer)
        except MissingDataError as fault:
            if name == "amplitudes":
                logger.info("no amplitudes of spikes: %s", fault)
            else:
                problems.append(f"per_spike {name!r}: {fault}")
            continue
        if unit_order is None:
            data = one.data[spikes.order]
        else:  # as words of so many bytes, whatever they stand for
            words = np.ascontiguousarray(one.data).view(f"u{one.data.itemsize}")
            data = values_by_unit(unit_order, unit, read_only(words)).view(one.data.dtype)
        found[one.name] = one._replace(data=data)
    if problems:
        raise MissingDataError("; ".join(problems))
    return [one for one in found.values() if one.data.size and not _all_nan(one)]


def _all_nan(one: PerSpike) -> bool:
    if one.data.dtype.kind != "f" or not np.isnan(one.data).all():
        return False
    logger.info("%s has no values: left out", one.name)
    return True


def check_per_spike(wanted: Any) -> tuple[str, ...]:
    """Check the names of what is written of each spike."""
    if isinstance(wanted, str) or not isinstance(wanted, Iterable):
        raise ParameterError(f"per_spike is {wanted!r}, expected a sequence of {PER_SPIKE}")
    names = tuple(wanted)
    unknown = [name for name in names if name not in PER_SPIKE]
    if unknown:
        raise ParameterError(
            f"per_spike has {', '.join(map(repr, unknown))}, expected some of {PER_SPIKE}"
        )
    return names


def is_in_uv(analyzer: SortingAnalyzer) -> bool:
    """Return whether templates and amplitudes of an analyzer are in µV, not in unknown units."""
    assignment = analyzer.get_extension("template_assignment")
    # those of an analyzer that a folder was attached to are of its recording
    of_folder = assignment is not None and not assignment.is_attached
    return bool(analyzer.return_in_uV) and (not of_folder or assignment.info.get("units") == "uV")


def _column(name: str, data: NDArray) -> PerSpike:
    return PerSpike(name, NWB_UNITS[name].meaning, data)


def _amplitudes(analyzer: SortingAnalyzer) -> PerSpike:
    extension = analyzer.get_extension("spike_amplitudes")
    if extension is not None and is_in_uv(analyzer):
        return _column(
            "spike_amplitudes_uV",
            as_array(extension.get_data(copy=False)),
        )
    return _ks_amplitudes(analyzer)


def _ks_amplitudes(analyzer: SortingAnalyzer) -> PerSpike:
    positions = np.arange(spike_vector_of(analyzer.sorting).size)
    try:
        values = sorter_amplitudes(analyzer, positions)
    except (FolderNotFoundError, PhyFolderError) as fault:
        raise MissingDataError(str(fault)) from None
    return _column(
        "ks_amplitudes",
        np.asarray(values),
    )


def _depths(analyzer: SortingAnalyzer) -> PerSpike:
    extension = locations_extension(analyzer, "spike_locations")
    if extension is None and analyzer.has_extension("spike_locations"):
        raise MissingDataError(
            "the probe is in 3D, of which SpikeInterface's spike_locations take all contacts at "
            "z = 0: they have no depths; leave 'depths' out"
        )
    if extension is None:
        raise MissingDataError("compute the extension 'spike_locations' first")
    return _column(
        "spike_depths_um",
        np.asarray(as_array(extension.get_data(copy=False))["y"]),
    )


def _template_ids(analyzer: SortingAnalyzer) -> PerSpike:
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None:
        raise MissingDataError("compute the extension 'template_assignment' first")
    values = assignment.get_spike_template_ids()
    small = ids_column(values)
    return _column(
        "spike_template_ids",
        small if small.dtype == np.uint8 else np.asarray(values, dtype=np.int32),
    )


_GATHER: dict[str, Callable[[SortingAnalyzer], PerSpike]] = {
    "amplitudes": _amplitudes,
    "ks_amplitudes": _ks_amplitudes,
    "depths": _depths,
    "template_ids": _template_ids,
}
