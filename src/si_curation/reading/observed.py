"""What was observed: the parts of a recording in which spikes were looked for."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from spikeinterface.core import BaseSorting, SortingAnalyzer

from si_curation._spikeinterface import segment_samples_of, spike_vector_of
from si_curation.checks import check_arguments, is_number, short_repr
from si_curation.documents import parse_document
from si_curation.errors import ParameterError
from si_curation.phy.folder import PhyFolder
from si_curation.reading.sessions import periods_in_span, segments_in_span
from si_curation.shown import count_text

#: Unit property, the same for all units: SpikeInterface keeps it through merges and splits.
OBSERVED_PROPERTY = "observed_periods"
_SHOWN = 5
_LAST_BATCH = 1_000  # samples: Kilosort leaves out a last batch that is shorter than a template


@dataclass(frozen=True, eq=False, repr=False)
class ObservedPeriods:
    """The parts of a recording in which spikes were looked for.

    Attributes
    ----------
    segment_samples : array (n_segments,) int64
        Length of each segment.
    sampling_frequency : float
        In Hz.
    periods : array (n_periods, 3) int64
        Segment, first sample, sample after the last; ascending and apart.
    is_whole : bool
        Whether that is the whole recording, as it is where nothing else is known.
    """

    segment_samples: NDArray[np.int64]
    sampling_frequency: float
    periods: NDArray[np.int64]
    is_whole: bool

    def __repr__(self) -> str:
        periods = count_text(len(self.periods), "period")
        what = "the whole recording" if self.is_whole else periods
        return f"ObservedPeriods: {what}, {self.duration_s:.6g} s"

    @property
    def num_samples(self) -> int:
        """Length of all periods together, in samples."""
        return int((self.periods[:, 2] - self.periods[:, 1]).sum())

    @property
    def duration_s(self) -> float:
        """Length of all periods together, in s."""
        return self.num_samples / self.sampling_frequency

    def of_segment(self, segment_index: int) -> NDArray[np.int64]:
        """Return first sample and sample after the last of the periods of a segment (n, 2)."""
        return self.periods[self.periods[:, 0] == segment_index, 1:]

    @property
    def end_to_end(self) -> NDArray[np.int64]:
        """The periods (n_periods, 2) on the clock of all segments one after the other."""
        starts = np.cumsum(self.segment_samples) - self.segment_samples
        return self.periods[:, 1:] + starts[self.periods[:, 0], None]

    def time_within(self, samples: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return how many observed samples lie before each sample, segments end to end."""
        before = np.zeros(len(samples), dtype=np.int64)
        for start, stop in self.end_to_end:
            before += np.clip(samples, start, stop) - start
        return before

    def samples_within(self, edges: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return how many samples between each two edges, segments end to end, were observed."""
        return np.diff(self.time_within(edges))


def observed_periods(sorting_analyzer: SortingAnalyzer) -> ObservedPeriods:
    """Return the parts of a recording in which spikes were looked for.

    Kilosort 4 can sort a part of a recording (``tmin``, ``tmax``): `read_kilosort_as_analyzer`
    keeps that, and `set_observed_periods` sets it. Rates, presence and contamination are of these
    parts. Periods that do not fit the analyzer (its times were moved, as by a slice) are not used.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer

    Returns
    -------
    ObservedPeriods
        ``duration_s``, ``num_samples``, ``periods`` (n, 3), ``is_whole``.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> sic.observed_periods(analyzer).is_whole
    True
    """
    check_arguments(observed_periods, locals())
    samples = segment_samples_of(sorting_analyzer)
    fs = float(sorting_analyzer.sampling_frequency)
    known = _known(sorting_analyzer.sorting)
    if known is not None and _fits(known, samples, sorting_analyzer.sorting):
        whole = _whole(samples)
        return ObservedPeriods(samples, fs, known, np.array_equal(known, whole))
    return ObservedPeriods(samples, fs, _whole(samples), True)


def _whole(samples: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack([np.arange(samples.size), np.zeros_like(samples), samples], axis=1)


def _known(sorting: BaseSorting) -> NDArray[np.int64] | None:
    """Return the periods that the property of the units says; None where it says none."""
    values = sorting.get_property(OBSERVED_PROPERTY)
    texts = [] if values is None else [str(text) for text in np.unique(values) if str(text)]
    rows: list[Any] = []
    for text in texts:  # several: units of several folders
        try:
            rows += parse_document(text, "periods")
        except (ParameterError, TypeError):
            return None
    if not rows:
        return None
    try:
        return joined_periods(np.array(rows, dtype=np.int64).reshape(-1, 3))
    except (TypeError, ValueError, OverflowError):
        return None


def _fits(periods: NDArray[np.int64], samples: NDArray[np.int64], sorting: BaseSorting) -> bool:
    """Return whether periods lie in the segments, and no spike before or after all of them."""
    segment, start, stop = periods.T
    if segment.min() < 0 or segment.max() >= samples.size:
        return False
    if start.min() < 0 or np.any(start >= stop) or np.any(stop > samples[segment]):
        return False
    spikes = spike_vector_of(sorting)
    borders = np.searchsorted(spikes["segment_index"], np.arange(samples.size + 1))
    for index in range(samples.size):
        own = spikes["sample_index"][borders[index] : borders[index + 1]]
        of_it = periods[segment == index, 1:]
        if own.size and (of_it.size == 0 or own[0] < of_it[0, 0] or own[-1] >= of_it[-1, 1]):
            return False
    return True


def joined_periods(periods: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sort periods (n, 3) and join those that touch or overlap.

    Examples
    --------
    >>> joined_periods(np.array([[0, 5, 9], [0, 0, 5], [1, 0, 2]])).tolist()
    [[0, 0, 9], [1, 0, 2]]
    """
    out: list[list[int]] = []
    for segment, start, stop in sorted(periods.tolist()):
        if out and out[-1][0] == segment and start <= out[-1][2]:
            out[-1][2] = max(out[-1][2], stop)
        else:
            out.append([segment, start, stop])
    return np.array(out, dtype=np.int64).reshape(-1, 3)


def set_observed_periods(
    sorting_analyzer: SortingAnalyzer,
    periods: Sequence[Sequence[float]] | ArrayLike | None,
    *,
    save: bool = True,
) -> None:
    """Set the parts of a recording in which spikes were looked for.

    Everything that is computed afterwards takes them: rates, presence, contamination, labels by
    rules, suggestions, NWB's ``obs_intervals``, figures and the report. Compute again what was
    computed before.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    periods : array-like (n, 2) or (n, 3), or None
        Start and end in s from the start of the segment; with three columns the segment index is in
        front. An end of infinity is that of the segment. None: the whole recording.
    save : bool, default: True
        Whether an analyzer that lives on disk is changed there too.

    Raises
    ------
    ParameterError
        Periods lie outside of the recording, or spikes outside of the periods; all at once.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> sic.set_observed_periods(analyzer, [[0.001, float("inf")]])
    >>> int(sic.observed_periods(analyzer).periods[0, 1])
    30
    """
    check_arguments(set_observed_periods, locals())
    analyzer = sorting_analyzer
    text = "" if periods is None else json.dumps(_checked(analyzer, periods).tolist())
    _set_text(analyzer, text, save)


def _set_text(analyzer: SortingAnalyzer, text: str, save: bool) -> None:
    values = np.full(len(analyzer.unit_ids), text, dtype=f"U{max(32, len(text))}")
    analyzer.set_sorting_property(OBSERVED_PROPERTY, values, save=save)


def note_observed(analyzer: SortingAnalyzer, text: str | None) -> None:
    """Set what a folder says was observed, unless something is known already."""
    known = analyzer.sorting.get_property(OBSERVED_PROPERTY)
    if text is not None and known is None:
        _set_text(analyzer, text, save=True)


def observed_text_of_part(whole: ObservedPeriods, span: tuple[int, int]) -> str | None:
    """Return what `OBSERVED_PROPERTY` is for a part of the time, segments end to end.

    Parameters
    ----------
    whole : ObservedPeriods
    span : (int, int)
        First sample and the one after the last.

    Returns
    -------
    str or None
        "" where all of the part was observed; None where nothing of it was.
    """
    found = periods_in_span(whole.periods, whole.segment_samples, span)
    lengths = [stop - start for _, start, stop in segments_in_span(whole.segment_samples, span)]
    if not len(found):
        return None
    everything = [[i, 0, length] for i, length in enumerate(lengths)]
    return "" if found.tolist() == everything else json.dumps(found.tolist())


def _checked(analyzer: SortingAnalyzer, periods: Any) -> NDArray[np.int64]:
    """Return periods in samples, or raise."""
    try:
        given = np.array(periods, dtype=np.float64)
    except (TypeError, ValueError):
        given = np.zeros(0)
    num_segments = analyzer.get_num_segments()
    if given.ndim != 2 or given.shape[1] not in (2, 3) or given.shape[0] == 0:
        raise ParameterError(
            f"periods is {short_repr(periods)}, expected rows of start and end in s, or of "
            "segment index, start and end"
        )
    if given.shape[1] == 2:
        if num_segments > 1:
            raise ParameterError(
                f"periods has two columns, but there are {num_segments} segments; put the segment "
                "index in front"
            )
        given = np.column_stack([np.zeros(len(given)), given])
    fs = analyzer.sampling_frequency
    problems, rows = [], []
    for segment, start, end in given.tolist():
        if segment not in range(num_segments):
            problems.append(f"segment {segment:g}, expected 0 to {num_segments - 1}")
            continue
        length = analyzer.get_num_samples(int(segment))
        stop = length if end == math.inf else end * fs
        if not 0 <= start * fs < stop <= length + 0.5:
            problems.append(
                f"{start:g} to {end:g} s of segment {segment:g}, expected an ascending pair from 0 "
                f"to {length / fs:g}"
            )
            continue
        rows.append([int(segment), round(start * fs), min(round(stop), length)])
    if problems:
        shown = "; ".join(problems[:_SHOWN])
        raise ParameterError(f"periods has {len(problems)} of {len(given)} of no use: {shown}")
    found = joined_periods(np.array(rows, dtype=np.int64))
    _refuse_spikes_outside(analyzer, found)
    return found


def _refuse_spikes_outside(analyzer: SortingAnalyzer, periods: NDArray[np.int64]) -> None:
    spikes = spike_vector_of(analyzer.sorting)
    inside = 0
    for segment, start, stop in periods.tolist():
        first, last = np.searchsorted(spikes["segment_index"], [segment, segment + 1])
        own = spikes["sample_index"][first:last]
        inside += int(np.diff(np.searchsorted(own, [start, stop]))[0])
    if inside < spikes.size:
        raise ParameterError(
            f"{spikes.size - inside} of {spikes.size} spikes lie outside of the periods, where "
            "nothing was looked for; give periods that hold them, or leave these spikes out first "
            "(for metrics of parts of a recording: compute_curation_metrics(periods=...))"
        )


def observed_text(folder: PhyFolder, num_samples: int) -> str | None:
    """Return what `OBSERVED_PROPERTY` is for the units of a folder; None: all was sorted."""
    part = sorted_part(folder)
    if part is None:
        return None
    start, stop = part
    stop = num_samples if stop is None else min(stop, num_samples)
    return json.dumps([[0, start, stop]]) if start < stop else None


def observed_text_after(folder: PhyFolder, analyzer: SortingAnalyzer, offset: int) -> str | None:
    """Return the same for an analyzer whose sample 0 is sample `offset` of a folder.

    Of segments one after the other; None where all of the analyzer was sorted.
    """
    part = sorted_part(folder)
    if part is None:
        return None
    rows, begin = [], offset
    for segment in range(analyzer.get_num_segments()):
        length = int(analyzer.get_num_samples(segment))
        start = max(part[0] - begin, 0)
        stop = length if part[1] is None else min(part[1] - begin, length)
        if start < stop:
            rows.append([segment, start, stop])
        begin += length
    whole = [[i, 0, int(analyzer.get_num_samples(i))] for i in range(analyzer.get_num_segments())]
    return json.dumps(rows) if rows and rows != whole else None


def observed_text_of_parts(
    analyzer: SortingAnalyzer,
    parts: Sequence[tuple[PhyFolder, int, tuple[int, int] | None]],
) -> str | None:
    """Return the same where there are several folders, each with its offset and its span.

    Without spans they are on one clock, and what any of them sorted was observed.
    """
    lengths = segment_samples_of(analyzer).tolist()
    total, rows = sum(lengths), []
    for folder, offset, span in parts:
        first, last = span or (0, total)
        start, stop = sorted_part(folder) or (0, None)
        rows.append(
            [
                0,
                max(first, start - offset, 0),
                min(last, total, total if stop is None else stop - offset),
            ]
        )
    found = joined_periods(np.array([row for row in rows if row[1] < row[2]], dtype=np.int64))
    if found.tolist() == [[0, 0, total]]:
        return None
    of_segments, begin = [], 0
    for segment, length in enumerate(lengths):
        for _, start, stop in found.tolist():
            low, high = max(start - begin, 0), min(stop - begin, length)
            if low < high:
                of_segments.append([segment, low, high])
        begin += length
    return json.dumps(of_segments) if of_segments else None


def sorted_part(folder: PhyFolder) -> tuple[int, int | None] | None:
    """Return first sample, and sample after the last (None: the end), that Kilosort 4 sorted.

    None where it sorted everything, or where spikes far outside say that ``tmin`` and ``tmax`` are
    not those of these spikes.
    """
    settings, ops = folder.settings, folder.ops
    if settings is None or ops is None or not settings.is_part:
        return None
    fs = folder.sampling_frequency
    start = int(settings.first_s * fs)
    stop = int(settings.last_s * fs) if math.isfinite(settings.last_s) else None
    batch, count = ops.get("batch_size"), ops.get("Nbatches")
    size = int(batch) if is_number(batch) and 0 < batch < 2**40 else 60_000
    every_batch = settings.values.get("batch_downsampling", 1) == 1
    longest = count * size + _LAST_BATCH if every_batch and is_number(count) else math.inf
    if stop is not None and stop - start > longest:
        stop = None  # the recording ended before tmax
    if folder.num_spikes:
        if folder.first_sample < start - size:
            return None
        if stop is not None and folder.last_sample >= stop + size:
            return None
        # Kilosort puts spikes of the edges a few samples outside
        start = max(min(start, folder.first_sample), 0)
        stop = None if stop is None else max(stop, folder.last_sample + 1)
    return start, stop
