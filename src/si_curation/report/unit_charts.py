"""Rates, intervals and images of amplitudes of all units of a report, many units at once."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import run_blocks
from si_curation.kernels.spikes_over_time import image_over_time
from si_curation.report.context import ReportContext
from si_curation.report.density import limits
from si_curation.report.encode import Packed, pack_levels_of_pieces, pack_rows

AMPLITUDE_CELLS = (160, 80)
# more of a unit are drawn as an image
MAX_POINTS = 2000
# finer than a screen shows
AMPLITUDE_LEVELS, TIME_LEVELS = 1024, 4096
# with an image of 50 KB, or points, each in memory at once
_UNITS_AT_ONCE = 512


class UnitCharts:
    """What is counted of the spikes of units.

    Parameters
    ----------
    context : ReportContext
    """

    def __init__(self, context: ReportContext):
        self._context = context
        self._first = self._stop = 0  # the rows whose charts of amplitudes are in memory
        self._drawn: list[dict[str, Any] | None] = []

    @cached_property
    def rates(self) -> list[Packed]:
        """The spikes in each bin of time, of each row of the report."""
        return pack_rows(self._context.counts_over_time[0][self._context.rows])

    @cached_property
    def intervals(self) -> list[Packed]:
        """The intervals in each bin, of each row of the report."""
        return pack_rows(self._context.counts_over_time[1][self._context.rows])

    def amplitude(self, row: int) -> dict[str, Any] | None:
        """Return the amplitudes of a unit over time: points, or their density.

        None where it has no spikes, or nothing is known. Those of the next rows are made with it.
        """
        if not self._first <= row < self._stop:
            self._first, self._stop = row, min(row + _UNITS_AT_ONCE, self._context.rows.size)
            self._drawn = self._amplitudes_of(self._context.rows[self._first : self._stop])
        return self._drawn[row - self._first]

    @cached_property
    def _amplitudes(self) -> list[NDArray[np.floating]] | None:
        """Those of the spikes of each unit."""
        known = self._context.spike_amplitudes
        if known is None:
            return None
        return self._context.of_units.by_unit("amplitudes on their scale", known[1])

    def _amplitudes_of(self, indices: NDArray[np.integer]) -> list[dict[str, Any] | None]:
        """Return the amplitudes of some units over time, by their unit indices."""
        drawn: list[dict[str, Any] | None] = [None] * indices.size
        if self._amplitudes is None:
            return drawn
        spikes, values = [], []
        for index in indices.tolist():
            its_spikes, its_values = self._known(index)
            spikes.append(its_spikes)
            values.append(its_values)
        sizes = np.array([its.size for its in spikes], dtype=np.int64)
        large = np.flatnonzero(sizes > MAX_POINTS).tolist()
        few = np.flatnonzero((sizes > 0) & (sizes <= MAX_POINTS)).tolist()
        images = self._images(
            indices[large], [spikes[one] for one in large], [values[one] for one in large]
        )
        for one, image in zip(large, images, strict=True):
            drawn[one] = {"density": image}
        if few:
            points = points_over_time(
                self._context.times_s(np.concatenate([spikes[one] for one in few])),
                np.concatenate([values[one] for one in few]),
                sizes[few],
                self._context.duration_s,
            )
            for one, its in zip(few, points, strict=True):
                drawn[one] = its
        return drawn

    def _known(self, index: int) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
        """Return the spikes of a unit whose amplitudes are known, and these."""
        assert self._amplitudes is not None
        values, spikes = self._amplitudes[index], self._context.spikes_of(index)
        is_known = np.isfinite(values)
        return (spikes, values) if is_known.all() else (spikes[is_known], values[is_known])

    def _images(
        self,
        indices: NDArray[np.integer],
        spikes: list[NDArray[np.integer]],
        values: list[NDArray[np.floating]],
    ) -> list[dict[str, Any]]:
        """Return the images of the amplitudes of some units, as `density` does."""
        context = self._context
        ranges = np.zeros((indices.size, 2, 2))
        images = np.zeros((indices.size, *AMPLITUDE_CELLS), dtype=np.uint32)

        def draw(one: int) -> None:
            its, index = spikes[one], int(indices[one])
            ranges[one] = context.span_s(its), limits(values[one])
            are_all = its.size == context.num_spikes[index]
            times_s = context.times_of(index) if are_all else context.times_s(its)
            images[one] = image_over_time(times_s, values[one], ranges[one], AMPLITUDE_CELLS)

        run_blocks(draw, list(range(indices.size)))
        inside = images.sum(axis=(1, 2), dtype=np.int64).tolist()
        packed = pack_rows(images)
        return [
            {"counts": counts, "x": x, "y": y, "outside": its.size - seen}
            for counts, (x, y), its, seen in zip(
                packed, ranges.tolist(), values, inside, strict=True
            )
        ]


def points_over_time(
    times_s: NDArray[np.floating],
    values: NDArray[np.floating],
    sizes: NDArray[np.integer],
    duration_s: float,
) -> list[dict[str, Any]]:
    """Return the spikes of units as points, in the order of time.

    Parameters
    ----------
    times_s, values : array (n_spikes,)
        Of one unit after the other.
    sizes : array (n_units,) integer
        Spikes of each unit, at least one.
    duration_s : float
        Of the recording.
    """
    start = np.concatenate([[0], np.cumsum(sizes)])
    first = start[:-1]
    steps = np.diff(times_s)
    steps[start[1:-1] - 1] = 0.0
    if (steps < 0).any():  # beyond the end of a segment
        order = np.lexsort((times_s, np.repeat(np.arange(sizes.size), sizes)))
        times_s, values = times_s[order], values[order]
    begin, end = np.minimum(times_s[first], 0.0), np.maximum(times_s[start[1:] - 1], duration_s)
    low = np.minimum.reduceat(values, first).astype(np.float64)
    high = np.maximum.reduceat(values, first).astype(np.float64)
    times = pack_levels_of_pieces(times_s, start, TIME_LEVELS, begin, end, are_differences=True)
    levels = pack_levels_of_pieces(values, start, AMPLITUDE_LEVELS, low, high)
    return [{"times_s": one, "values": its} for one, its in zip(times, levels, strict=True)]
