"""The spikes of each unit, one unit after the other, which several groups of metrics share."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import segment_samples_of, spike_vector_of
from si_curation.kernels.refractory import Trains, is_ascending
from si_curation.kernels.spikes_by_unit import UnitOrder, order_of_units, values_by_unit


class TrainsOfUnits:
    """The spikes of all units of an analyzer; each array is made once, where it is needed.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    """

    def __init__(self, sorting_analyzer: SortingAnalyzer):
        self._vector = spike_vector_of(sorting_analyzer.sorting)
        self._num_units = len(sorting_analyzer.unit_ids)
        self._segment_samples = segment_samples_of(sorting_analyzer)

    @cached_property
    def _order(self) -> UnitOrder:
        return order_of_units(self._vector["unit_index"], self._num_units)

    @cached_property
    def samples(self) -> NDArray[np.int64]:
        """Return the sample of each spike on one clock: the segments end to end."""
        samples = self._vector["sample_index"]
        if self._segment_samples.size > 1:
            before = np.cumsum(self._segment_samples) - self._segment_samples
            samples = samples + before[self._vector["segment_index"]]
        return self.values(samples)

    def values(self, values: NDArray) -> NDArray:
        """Return values that are aligned with the spike vector, one unit after the other."""
        return values_by_unit(self._order, self._vector["unit_index"], values)

    @property
    def start(self) -> NDArray[np.int64]:
        """Return where each unit starts; the number of spikes last."""
        return self._order.start

    def of_one_segment(self) -> Trains | None:
        """Return the times of all units, ascending; None where there are several segments."""
        vector = self._vector
        if self._segment_samples.size > 1:
            return None
        if not is_ascending(vector["sample_index"], vector["segment_index"]):
            return None
        return Trains(self.samples, self._order.start)
