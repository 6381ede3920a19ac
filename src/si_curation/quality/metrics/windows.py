"""Parts of a recording: periods of units, and windows of one length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import segment_samples_of
from si_curation.checks import Checks
from si_curation.errors import ParameterError, SiCurationError
from si_curation.kernels.stability import (
    Bins,
    bins_in_periods,
    bins_of_recording,
    bins_of_segments,
)
from si_curation.reading.observed import observed_periods

#: {unit id as text: [[segment index, first sample, sample after the last], ...]}
PeriodsByUnit = dict[str, list[list[int]]]
_FIELDS = ("segment_index", "start_sample_index", "end_sample_index", "unit_index")


class Span:
    """The part of a recording that a metric is computed on.

    Parameters
    ----------
    segment_samples : array (n_segments,) int64
    sampling_frequency : float
    periods : array (n_periods, 2) int64, optional
        Ascending, apart, each within a segment; on the clock of all segments one after the other.
        By default everything.

    Attributes
    ----------
    is_whole : bool
    periods : array (n_periods, 2) int64
    """

    def __init__(
        self,
        segment_samples: NDArray[np.int64],
        sampling_frequency: float,
        periods: NDArray[np.int64] | None = None,
    ):
        self.segment_samples = segment_samples
        self.sampling_frequency = sampling_frequency
        self.is_whole = periods is None
        ends = np.cumsum(segment_samples)
        self._ends = ends
        if periods is None:
            periods = np.stack([ends - segment_samples, ends], axis=1)
        self.periods = periods
        self._bins: dict[int, Bins] = {}
        self._segment_bins: dict[int, list[Bins]] = {}

    @cached_property
    def num_samples(self) -> int:
        """Return the length of all periods together."""
        return int((self.periods[:, 1] - self.periods[:, 0]).sum())

    @property
    def duration_s(self) -> float:
        """Return the length of all periods together."""
        return self.num_samples / self.sampling_frequency

    def size_of(self, duration_s: float) -> int:
        """Return the length of a bin in samples, at least one."""
        return max(int(duration_s * self.sampling_frequency), 1)

    def bins(self, size: int) -> Bins:
        """Return the bins of one size; of a whole recording as SpikeInterface cuts it."""
        if size not in self._bins:
            self._bins[size] = (
                bins_of_recording(self.segment_samples, size)
                if self.is_whole
                else bins_in_periods(self.periods, size)
            )
        return self._bins[size]

    def segment_bins(self, size: int) -> list[Bins]:
        """Return the bins of each segment of a whole recording; of periods, all in one."""
        if size not in self._segment_bins:
            self._segment_bins[size] = (
                bins_of_segments(self.segment_samples, size) if self.is_whole else [self.bins(size)]
            )
        return self._segment_bins[size]

    @cached_property
    def periods_by_segment(self) -> list[NDArray[np.int64]]:
        """Return the periods of each segment that has any."""
        segment = np.searchsorted(self._ends, self.periods[:, 0], side="right")
        return [self.periods[segment == s] for s in np.unique(segment)]

    def within(self, start: int, stop: int) -> Span:
        """Return the part of the span between two samples."""
        cut = np.clip(self.periods, start, stop)
        cut = cut[cut[:, 1] > cut[:, 0]]
        return Span(self.segment_samples, self.sampling_frequency, cut)


def spans_of(
    analyzer: SortingAnalyzer, unit_ids: Sequence[Any] | NDArray, periods: PeriodsByUnit | None
) -> list[Span]:
    """Return the span of each unit: what was observed, of its periods where there are any."""
    observed = observed_periods(analyzer)
    samples, fs = observed.segment_samples, analyzer.sampling_frequency
    if periods is None:
        span = Span(samples, fs, None if observed.is_whole else observed.end_to_end)
        return [span] * len(unit_ids)
    offsets = np.cumsum(samples) - samples
    spans = []
    for unit_id in unit_ids:
        found = np.array(periods.get(str(unit_id), []), dtype=np.int64).reshape(-1, 3)
        own = found[:, 1:] + offsets[found[:, 0], None]
        if not observed.is_whole:
            own = _in_both(own, observed.end_to_end)
        spans.append(Span(samples, fs, own))
    return spans


def _in_both(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the parts (n, 2) that lie in periods of both, which are ascending and apart."""
    start = np.maximum(a[:, None, 0], b[None, :, 0]).ravel()
    stop = np.minimum(a[:, None, 1], b[None, :, 1]).ravel()
    both = np.stack([start, stop], axis=1)[start < stop]
    return both[np.argsort(both[:, 0], kind="stable")]


def normalise_periods(analyzer: SortingAnalyzer, periods: Any) -> PeriodsByUnit | None:
    """Check periods, sort them by unit and time, and join those that touch or overlap.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    periods : array, list or mapping, optional
        SpikeInterface's periods (``unit_period_dtype``), or rows of
        ``(segment_index, start_sample_index, end_sample_index, unit_index)``; or the result of this
        function. The end is the sample after the last.

    Returns
    -------
    dict or None
        {unit id as text: [[segment index, first sample, sample after the last], ...]}

    Raises
    ------
    ParameterError
        All problems at once.
    """
    if periods is None:
        return None
    names = [str(unit_id) for unit_id in analyzer.unit_ids]
    try:
        rows = _rows(periods, names)
    except SiCurationError:
        raise
    except (TypeError, ValueError):
        raise ParameterError(
            "periods cannot be read, expected {unit id: [[segment, first, last], ...]} or an array "
            f"with columns {', '.join(_FIELDS)}"
        ) from None
    samples = segment_samples_of(analyzer)
    problems = []
    for name, (segment, start, stop) in rows:
        if not 0 <= segment < samples.size:
            problems.append(f"unit {name}: segment {segment}, expected 0 to {samples.size - 1}")
        elif not 0 <= start < stop <= samples[segment]:
            problems.append(
                f"unit {name}: samples {start} to {stop} of segment {segment}, expected an "
                f"ascending pair from 0 to {samples[segment]}"
            )
    if problems:
        shown = "; ".join(problems[:5])
        raise ParameterError(f"{len(problems)} periods cannot be used: {shown}")
    out: PeriodsByUnit = {}
    for name, row in sorted(rows):
        known = out.setdefault(name, [])
        if known and known[-1][0] == row[0] and row[1] <= known[-1][2]:
            known[-1][2] = max(known[-1][2], row[2])
        else:
            known.append(list(row))
    return out


def _rows(periods: Any, names: list[str]) -> list[tuple[str, list[int]]]:
    if isinstance(periods, Mapping):
        return [(str(name), [int(v) for v in row]) for name, of in periods.items() for row in of]
    values = np.asarray(periods)
    if values.dtype.names is not None and set(_FIELDS) <= set(values.dtype.names):
        values = np.stack([values[name].astype(np.int64) for name in _FIELDS], axis=1)
    if values.size == 0:
        return []
    if values.ndim != 2 or values.shape[1] != 4 or values.dtype.kind not in "iu":
        raise ParameterError(
            f"periods has dtype {values.dtype} and shape {values.shape}, expected SpikeInterface's "
            f"unit_period_dtype or whole numbers in 4 columns ({', '.join(_FIELDS)})"
        )
    index = values[:, 3]
    if index.min() < 0 or index.max() >= len(names):
        raise ParameterError(
            f"periods has unit indices {index.min()} to {index.max()}, expected 0 to "
            f"{len(names) - 1}"
        )
    return [(names[row[3]], row[:3]) for row in values.tolist()]


def windows_of(analyzer: SortingAnalyzer, window_s: float) -> NDArray[np.int64]:
    """Cut every segment into windows; the last of a segment is what is left.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    window_s : float

    Returns
    -------
    array (n_windows, 3) int64
        Segment index, first sample, sample after the last.

    Raises
    ------
    ParameterError
    """
    checks = Checks()
    checks.number("window_s", window_s, above=0)
    checks.finish()
    size = int(min(window_s * analyzer.sampling_frequency, 2.0**62))
    if size < 1:
        raise ParameterError(f"window_s is {window_s!r}, expected a sample or more, such as 600")
    rows = [
        (segment, start, min(start + size, int(length)))
        for segment, length in enumerate(segment_samples_of(analyzer))
        for start in range(0, int(length), size)
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)
