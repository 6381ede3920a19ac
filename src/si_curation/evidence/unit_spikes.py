"""The spikes of units, one unit at a time, and what the evidence of pairs of units needs of them.

Each thing is made once, of the units that it is asked of. Of an analyzer that has the spikes of
another one, a few units of which were changed, what is known of all other units is taken over.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array, spike_vector_of
from si_curation.errors import ParameterError
from si_curation.evidence.continuity import NUM_TIME_BINS, TimeProfile, add_to_profile
from si_curation.extensions.spikes_of_units import spikes_of_units
from si_curation.kernels.parallel import run_blocks
from si_curation.kernels.refractory import is_ascending
from si_curation.kernels.spikes_by_unit import (
    UnitOrder,
    order_of_units,
    rows_among,
    values_by_unit,
)
from si_curation.reading.observed import ObservedPeriods, observed_periods
from si_curation.reading.probe import locations_extension

# segments lie this much further apart than they are: beyond all lags that are counted
_GAP_S = 2.0


class _Profiles(NamedTuple):
    """Time profiles of units (n_units, n_bins), and of which they are known (n_units,)."""

    of_units: TimeProfile
    is_known: NDArray[np.bool_]


class UnitSpikes:
    """The spikes of the units of an analyzer.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    before : UnitSpikes, optional
        Of an analyzer with the same spikes, of which units with the same id have the same.

    Raises
    ------
    ParameterError
        The spikes are not in the order of time.
    """

    def __init__(self, analyzer: SortingAnalyzer, before: UnitSpikes | None = None) -> None:
        self.analyzer = analyzer
        self.num_units = len(analyzer.unit_ids)
        self._before = before
        self._values: dict[str, list[NDArray[Any]]] = {}
        self._profiles: dict[str, _Profiles] = {}
        vector = self.vector
        if before is None and not is_ascending(vector["sample_index"], vector["segment_index"]):
            raise ParameterError(
                "spikes are not sorted by segment and sample_index; sort them first"
            )

    @cached_property
    def vector(self) -> NDArray[np.void]:
        """The spike vector."""
        return spike_vector_of(self.analyzer.sorting)

    @cached_property
    def positions(self) -> list[NDArray[np.integer]]:
        """Of the spikes of each unit, in the spike vector."""
        return spikes_of_units(self.analyzer)

    @cached_property
    def num_spikes(self) -> NDArray[np.int64]:
        """Of each unit."""
        return np.array([own.size for own in self.positions], dtype=np.int64)

    @cached_property
    def _same(self) -> list[int]:
        """Index of each unit in the analyzer before; -1 of those that were changed."""
        if self._before is None:
            return [-1] * self.num_units
        index_of = {i: k for k, i in enumerate(self._before.analyzer.unit_ids.tolist())}
        return [index_of.get(unit_id, -1) for unit_id in self.analyzer.unit_ids.tolist()]

    @cached_property
    def _rows(self) -> list[tuple[int, Any]]:
        """Unit before that has all spikes of each unit, and which of its; None: there is none."""
        before = self._before
        rows: list[tuple[int, Any]] = []
        its: Any
        assert before is not None
        for own, same in zip(self.positions, self._same, strict=True):
            unit, its = same, None
            if same >= 0:
                its = slice(None)
            elif own.size:
                unit = int(before.vector["unit_index"][own[0]])
                its = rows_among(before.positions[unit], own)
            rows.append((unit, its))
        return rows

    @cached_property
    def _order(self) -> UnitOrder:
        return order_of_units(self.vector["unit_index"], self.num_units)

    def by_unit(self, name: str, values: NDArray[Any]) -> list[NDArray[Any]]:
        """Return values of the spikes of the vector, unit by unit; once for each name."""
        if name in self._values:
            return self._values[name]
        if self._before is None:
            order = self._order
            found = values_by_unit(order, self.vector["unit_index"], values)
            self._values[name] = np.split(found, order.start[1:-1])
        else:
            before = self._before.by_unit(name, values)
            self._values[name] = [
                values[own] if rows is None else before[unit][rows]
                for own, (unit, rows) in zip(self.positions, self._rows, strict=True)
            ]
        return self._values[name]

    @property
    def trains(self) -> list[NDArray[np.int64]]:
        """Times of the spikes of each unit in samples, ascending; segments lie far apart."""
        return self.by_unit("time", self._time)

    def train(self, unit: int) -> NDArray[np.int64]:
        """Return the times of one unit of `trains`; those of others need not be known for it."""
        if "time" in self._values:
            return self._values["time"][unit]
        return self._time[self.positions[unit]]

    @cached_property
    def _time(self) -> NDArray[np.int64]:
        """Of each spike of the vector."""
        if self._before is not None:
            return self._before._time
        samples, segments = self.vector["sample_index"], self.vector["segment_index"]
        if segments.size == 0 or segments[-1] == 0:
            return samples.astype(np.int64, copy=False)
        gap = round(_GAP_S * self.analyzer.sampling_frequency)
        return samples + segments.astype(np.int64) * (int(np.ptp(samples)) + gap + 1)

    @property
    def time_bins(self) -> list[NDArray[np.uint8]]:
        """Time bin of the spikes of each unit; observed periods follow each other without a gap."""
        if "time bin" not in self._values:
            known = None if self._before is None else self._before.time_bins
            self._values["time bin"] = self._time_bins(known)
        return self._values["time bin"]

    def _time_bins(self, known: list[NDArray[np.uint8]] | None) -> list[NDArray[np.uint8]]:
        observed, same, times = observed_periods(self.analyzer), self._same, self.trains
        if len(observed.segment_samples) > 1:
            times = self.by_unit("time of the recording", self._time_of_recording)

        def bins(unit: int) -> NDArray[np.uint8]:
            if known is not None and same[unit] >= 0:
                return known[same[unit]]
            return _bins(observed, times[unit])

        return run_blocks(bins, list(range(self.num_units)))

    @cached_property
    def _time_of_recording(self) -> NDArray[np.int64]:
        """Of each spike of the vector, in samples: segments follow each other without a gap."""
        if self._before is not None:
            return self._before._time_of_recording
        lengths = observed_periods(self.analyzer).segment_samples
        starts = np.cumsum(lengths) - lengths
        return self.vector["sample_index"] + starts[self.vector["segment_index"]]

    @property
    def amplitudes_of_units(self) -> list[NDArray[np.floating]] | None:
        """Of the spikes of each unit; None where they are not known."""
        values = self.amplitudes
        return None if values is None else self.by_unit("amplitudes", values)

    @cached_property
    def amplitudes(self) -> NDArray[np.floating] | None:
        """Of the spikes of the vector; None where they are not known."""
        extension = self.analyzer.get_extension("spike_amplitudes")
        return None if extension is None else as_array(extension.get_data(copy=False))

    @cached_property
    def depths(self) -> NDArray[np.floating] | None:
        """Of the spikes of the vector; None where they are not known."""
        extension = locations_extension(self.analyzer, "spike_locations")
        return None if extension is None else as_array(extension.get_data(copy=False))["y"]

    def counts(self, units: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the spikes in each time bin (n_units, n_bins), of some units; 0 of all others."""
        return self._profile("counts", units).counts

    def profile_of_amplitudes(self, units: NDArray[np.integer]) -> TimeProfile | None:
        """Return counts, and means and variances of the sizes of amplitudes, of some units.

        Returns
        -------
        TimeProfile, or None
            All others are 0. None where there are no amplitudes.
        """
        return None if self.amplitudes is None else self._profile("amplitudes", units)

    def profile_of_depths(self, units: NDArray[np.integer]) -> TimeProfile | None:
        """Return counts, and means and variances of depths: as `profile_of_amplitudes`."""
        return None if self.depths is None else self._profile("depths", units)

    def _profile(self, name: str, units: NDArray[np.integer]) -> TimeProfile:
        if name not in self._profiles:
            nothing = TimeProfile(*np.zeros((3, self.num_units, NUM_TIME_BINS)))
            self._profiles[name] = _Profiles(nothing, np.zeros(self.num_units, dtype=bool))
        profile, is_known = self._profiles[name]
        left = np.unique(units)
        left = left[~is_known[left]]
        is_known[left] = True
        same = np.array(self._same, dtype=np.int64)[left]
        if self._before is not None and (same >= 0).any():
            before = self._before._profile(name, same[same >= 0])
            for own, theirs in zip(profile, before, strict=True):
                own[left[same >= 0]] = theirs[same[same >= 0]]
            left = left[same < 0]
        bins, positions = self.time_bins, self.positions
        held = {"amplitudes": self.amplitudes, "depths": self.depths}.get(name)
        values = None if held is None else self.by_unit(name, held)

        is_size = name == "amplitudes"

        def add(unit: int) -> None:
            own = None if values is None else values[unit]
            add_to_profile(profile, unit, bins[unit], own, positions[unit], is_size)

        run_blocks(add, left.tolist())
        return profile


def _bins(observed: ObservedPeriods, time: NDArray[np.integer]) -> NDArray[np.uint8]:
    if not observed.is_whole:
        time = observed.time_within(time)
    bins = np.floor(time * (NUM_TIME_BINS / max(observed.num_samples, 1)))
    return np.clip(bins, 0, NUM_TIME_BINS - 1).astype(np.uint8)
