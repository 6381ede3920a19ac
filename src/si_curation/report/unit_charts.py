"""Rates, intervals and images of amplitudes of all units of a report, many units at once."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.spikes_by_unit import values_by_unit
from si_curation.kernels.spikes_over_time import images_over_time
from si_curation.report.context import ReportContext
from si_curation.report.density import limits
from si_curation.report.encode import Packed, pack_counts

AMPLITUDE_CELLS = (160, 80)
# of 50 KB each, in memory at once
_IMAGES = 512


class UnitCharts:
    """What is counted of the spikes of units.

    Parameters
    ----------
    context : ReportContext
    min_spikes : int
        Of a unit that has an image of its amplitudes.
    """

    def __init__(self, context: ReportContext, min_spikes: int):
        self._context = context
        self._min_spikes = min_spikes
        self._first = self._stop = 0  # the rows whose images are in memory
        self._images: dict[int, dict[str, Any]] = {}

    @cached_property
    def _amplitudes(self) -> NDArray[np.floating] | None:
        """Those of one unit after those of the other."""
        known, units = self._context.spike_amplitudes, self._context.spikes["unit_index"]
        return None if known is None else values_by_unit(self._context.order, units, known[1])

    def rate(self, index: int) -> Packed:
        """Return the spikes of a unit in each bin of time, by its unit index."""
        return pack_counts(self._context.counts_over_time[0][index])

    def intervals(self, index: int) -> Packed:
        """Return the intervals of a unit in each bin."""
        return pack_counts(self._context.counts_over_time[1][index])

    def image(self, row: int) -> dict[str, Any] | None:
        """Return the image of the amplitudes of a unit over time, as `density` does.

        None where it has few spikes, or nothing is known. Those of the next rows are made with it.
        """
        if not self._first <= row < self._stop:
            self._make(row)
        return self._images.get(row)

    def _make(self, row: int) -> None:
        context, known = self._context, self._context.spike_amplitudes
        self._images = {}
        self._first, self._stop = row, context.rows.size
        if known is None:
            return
        ranges, sizes = [], []
        rows: list[int] = []
        image_of_unit = np.full(context.num_spikes.size, -1, dtype=np.int64)
        for one in range(row, context.rows.size):
            if len(rows) == _IMAGES:
                self._stop = one
                break
            index = int(context.rows[one])
            found = self._ranges(index)
            if found is None:
                continue
            image_of_unit[index] = len(rows)
            rows.append(one)
            sizes.append(found[0])
            ranges.append(found[1])
        images = images_over_time(
            *context.of_spikes,
            context.clock,
            known[1],
            image_of_unit,
            np.array(ranges, dtype=np.float64).reshape(-1, 2, 2),
            AMPLITUDE_CELLS,
        )
        for one, size, ((low, high), of_values), counts in zip(
            rows, sizes, ranges, images, strict=True
        ):
            self._images[one] = {
                "counts": pack_counts(counts),
                "x": [low, high],
                "y": list(of_values),
                "outside": int(size - counts.sum(dtype=np.int64)),
            }

    def _ranges(
        self, index: int
    ) -> tuple[int, tuple[tuple[float, float], tuple[float, float]]] | None:
        """Return how many spikes an image has, and its ranges of time and amplitude."""
        context, amplitudes = self._context, self._amplitudes
        if amplitudes is None or context.num_spikes[index] < self._min_spikes:
            return None
        start = context.order.start
        values, spikes = amplitudes[start[index] : start[index + 1]], context.spikes_of(index)
        is_known = np.isfinite(values)
        if not is_known.all():
            spikes, values = spikes[is_known], values[is_known]
        if values.size < self._min_spikes:
            return None
        of_values = limits(values)
        assert of_values is not None
        return values.size, (context.span_s(spikes), of_values)
