"""Time of the samples of a sorting, never assumed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import recording_of, spike_vector_of
from si_curation.checks import short_repr
from si_curation.errors import MissingDataError, ParameterError
from si_curation.exporters.nwb.clock import BLOCK, Clock
from si_curation.exporters.nwb.series import Series

_NO_TIME = (
    "the time of the samples is not known: give t_start= (seconds, one per segment), timestamps= "
    "(one per sample), spike_times= (one per spike), a recording with times (recording.set_times "
    "or shift_times), or a source_nwb with the ElectricalSeries that was sorted"
)


def resolve_clocks(
    analyzer: SortingAnalyzer,
    *,
    t_start: float | Sequence[float] | None,
    timestamps: ArrayLike | Sequence[ArrayLike] | None,
    series: Sequence[Series] = (),
    electrical_series_path: str | None = None,
) -> list[Clock]:
    """Find the clock of each segment: what was given, else the recording's or the file's.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    t_start, timestamps
        As of `export_to_nwb`.
    series : sequence of Series
        Of the file of the recording.
    electrical_series_path : str, optional
        The one that was sorted.

    Returns
    -------
    list of Clock
        One per segment, ascending and apart.

    Raises
    ------
    MissingDataError
        The time of the samples is not known.
    ParameterError
        The times are impossible, or contradict each other.
    """
    num_segments = analyzer.get_num_segments()
    given = check_times(analyzer, t_start, timestamps)
    if given is not None:
        clocks = given
    else:
        own = _from_recording(analyzer)
        chosen = choose_series(analyzer, series, electrical_series_path, needed=own is None)
        from_file = None
        if chosen is not None:
            if num_segments > 1:
                raise ParameterError(
                    f"the sorting has {num_segments} segments, and an ElectricalSeries is one: "
                    "give t_start= or timestamps= of every segment"
                )
            from_file = [_clock_of_series(analyzer, chosen)]
        if own is not None and from_file is not None:
            _check_same(own[0], from_file[0])
        found = from_file if from_file is not None else own
        if found is None:
            raise MissingDataError(_NO_TIME)
        clocks = found
    _check_apart(clocks)
    _check_spikes_inside(analyzer, clocks)
    return clocks


def check_times(
    analyzer: SortingAnalyzer, t_start: Any, timestamps: Any, spike_times: Any = None
) -> list[Clock] | None:
    """Return the clocks that were given explicitly, None where there are none.

    Raises
    ------
    ParameterError
        They are impossible, or several are given.
    """
    all_times = {"t_start": t_start, "timestamps": timestamps, "spike_times": spike_times}
    given = [name for name, value in all_times.items() if value is not None]
    if len(given) > 1:
        raise ParameterError(f"{' and '.join(given)} are given, expected one of them")
    if t_start is not None:
        return _from_starts(analyzer, t_start)
    return None if timestamps is None else _from_timestamps(analyzer, timestamps)


def _from_starts(analyzer: SortingAnalyzer, t_start: Any) -> list[Clock]:
    count = analyzer.get_num_segments()
    try:
        given = np.asarray(t_start)
        starts = np.atleast_1d(given.astype(np.float64, casting="same_kind"))
        is_number = given.dtype.kind in "iuf"
    except (TypeError, ValueError):
        is_number = False
    if not is_number:
        raise ParameterError(
            f"t_start is {short_repr(t_start)}, expected {_per_segment(count)} in seconds"
        )
    if starts.shape != (count,) or not np.isfinite(starts).all():
        raise ParameterError(
            f"t_start is {short_repr(t_start)}, expected {_per_segment(count)} in seconds"
        )
    return [
        Clock(float(start), analyzer.sampling_frequency, analyzer.get_num_samples(i), "t_start")
        for i, start in enumerate(starts)
    ]


def _per_segment(count: int) -> str:
    return "one finite number" if count == 1 else f"{count} finite numbers, one per segment,"


def _from_timestamps(analyzer: SortingAnalyzer, timestamps: Any) -> list[Clock]:
    count = analyzer.get_num_segments()
    parts = _arrays_in(timestamps)
    if len(parts) != count:
        raise ParameterError(
            f"timestamps has {len(parts)} arrays, expected one for each of {count} segments"
        )
    return [
        _vector_clock(
            analyzer, i, part, f"timestamps of segment {i}" if count > 1 else "timestamps"
        )
        for i, part in enumerate(parts)
    ]


def _arrays_in(timestamps: Any) -> list[Any]:
    """Return the arrays of several segments, or the one that was given, each with a shape."""
    if not hasattr(timestamps, "shape"):
        if isinstance(timestamps, str | bytes) or not isinstance(timestamps, Sequence):
            raise ParameterError(
                f"timestamps is {short_repr(timestamps)}, expected one number per sample"
            )
        if any(hasattr(part, "__len__") and not isinstance(part, str) for part in timestamps[:1]):
            return [part if hasattr(part, "shape") else np.asarray(part) for part in timestamps]
        return [np.asarray(timestamps)]
    if len(timestamps.shape) == 0:
        raise ParameterError(
            f"timestamps is {short_repr(timestamps)}, expected one number per sample"
        )
    if getattr(timestamps, "dtype", None) == np.dtype(object):
        return [np.asarray(part) for part in timestamps]
    return [timestamps]


def _from_recording(analyzer: SortingAnalyzer) -> list[Clock] | None:
    """Return the clocks of the recording; None without a recording or without times."""
    recording = recording_of(analyzer)
    if recording is None:
        return None
    infos = [recording.get_time_info(i) for i in range(recording.get_num_segments())]
    known = [info["time_vector"] is not None or info["t_start"] is not None for info in infos]
    if not all(known):
        return None
    clocks = []
    for i, info in enumerate(infos):
        name = f"the recording's segment {i}" if len(infos) > 1 else "the recording"
        if info["time_vector"] is not None:
            clocks.append(_vector_clock(analyzer, i, info["time_vector"], f"times of {name}"))
        else:
            rate = float(recording.get_sampling_frequency())
            size = recording.get_num_samples(i)
            _check_rate(analyzer, rate, size, name)
            clocks.append(Clock(float(info["t_start"]), rate, size, name))
    return clocks


def choose_series(
    analyzer: SortingAnalyzer,
    series: Sequence[Series],
    path: str | None,
    *,
    needed: bool = False,
) -> Series | None:
    """Find the ElectricalSeries that was sorted: the one that is named, or the only one.

    Raises
    ------
    ParameterError
        There is none of that name, or there are several and one is needed.
    """
    if path is not None:
        wanted = path.strip("/")
        found = [one for one in series if wanted in (one.path, one.path.rsplit("/", 1)[-1])]
        found = [one for one in found if one.path == wanted] or found
        if len(found) != 1:
            raise ParameterError(
                f"electrical_series_path {path!r} is not there; the file has "
                + (", ".join(one.path for one in series) or "no ElectricalSeries")
            )
        return found[0]
    if len(series) == 1:
        return series[0]
    if series and needed:
        raise ParameterError(
            "the file has several ElectricalSeries: give electrical_series_path= of the one that "
            "was sorted, one of " + ", ".join(one.path for one in series)
        )
    return None


def _clock_of_series(analyzer: SortingAnalyzer, one: Series) -> Clock:
    if one.timestamps is not None:
        return _vector_clock(analyzer, 0, one.timestamps, one.path, one.num_samples)
    if one.rate is None:
        raise ParameterError(f"{one.path} has neither a rate nor timestamps")
    _check_rate(analyzer, one.rate, one.num_samples, one.path)
    return Clock(one.starting_time_s, one.rate, one.num_samples, one.path)


def rate_problem(analyzer: SortingAnalyzer, rate: float, num_samples: int, name: str) -> str | None:
    """Return what is wrong with a rate that is off by more than half a sample at the end."""
    own = analyzer.sampling_frequency
    longest = max([num_samples, *map(int, _last_frames(analyzer) + 1)])
    if np.isfinite(rate) and rate > 0 and abs(longest * (own / rate) - longest) <= 0.5:
        return None
    return (
        f"{name} has {float(rate)} Hz, and the sorting {float(own)} Hz: over {longest} samples "
        "they differ by more than half a sample; put right the one that is wrong"
    )


def _check_rate(analyzer: SortingAnalyzer, rate: float, num_samples: int, name: str) -> None:
    problem = rate_problem(analyzer, rate, num_samples, name)
    if problem:
        raise ParameterError(problem)


def _vector_rate_problem(
    analyzer: SortingAnalyzer, values: Any, size: int, name: str
) -> str | None:
    """Time vectors drift against the nominal rate, which is why there are any; not by 1 %."""
    if size < 2:
        return None
    step = float(np.median(np.diff(np.asarray(values[: min(size, 100_000)], dtype=np.float64))))
    own = analyzer.sampling_frequency
    if step > 0 and abs(step * own - 1.0) < 0.01:
        return None
    return (
        f"{name}: samples are {step:.6g} s apart, expected {1 / own:.6g} s at the sorting's "
        f"{own:.10g} Hz"
    )


def _vector_clock(
    analyzer: SortingAnalyzer, segment: int, values: Any, name: str, size: int | None = None
) -> Clock:
    if not hasattr(values, "shape"):
        values = np.asarray(values)
    problems = []
    if len(values.shape) != 1 or not np.issubdtype(values.dtype, np.number):
        raise ParameterError(f"{name} have shape {values.shape}, expected one number per sample")
    size = int(values.shape[0]) if size is None else min(size, int(values.shape[0]))
    expected = analyzer.get_num_samples(segment)
    if recording_of(analyzer) is not None and size != expected:
        problems.append(f"{name} are {size}, expected {expected}, one per sample of the recording")
    elif size <= _last_frames(analyzer)[segment]:
        problems.append(
            f"{name} are {size}, and there is a spike at sample {_last_frames(analyzer)[segment]}"
        )
    elif size == 0:
        problems.append(f"{name} are empty")
    else:
        rate = _vector_rate_problem(analyzer, values, size, name)
        problems += [rate] if rate else []
        where = _not_ascending(values, size)
        if where is not None:
            problems.append(f"{name} are not ascending numbers at sample {where}")
    if problems:
        raise ParameterError("; ".join(problems))
    return Clock(float(values[0]), analyzer.sampling_frequency, size, name, values)


def _not_ascending(values: Any, size: int) -> int | None:
    for start in range(0, size, BLOCK):
        block = np.asarray(values[start : min(start + BLOCK + 1, size)], dtype=np.float64)
        bad = np.flatnonzero(~(np.diff(block) > 0))
        if bad.size:
            return start + int(bad[0]) + 1
    return None if np.isfinite([values[0], values[size - 1]]).all() else 0


def _last_frames(analyzer: SortingAnalyzer) -> NDArray[np.int64]:
    """Return the last spike of each segment; -1 for none."""
    spikes = spike_vector_of(analyzer.sorting)
    last = np.full(analyzer.get_num_segments(), -1, dtype=np.int64)
    edges = np.searchsorted(spikes["segment_index"], np.arange(last.size + 1))
    for i in range(last.size):
        last[i] = spikes["sample_index"][edges[i] : edges[i + 1]].max(initial=-1)
    return last


def _check_same(own: Clock, of_file: Clock) -> None:
    """Refuse a recording that does not agree with the file it is said to be from."""
    half = 0.5 / own.rate
    if abs(own.start_s - of_file.start_s) > half or (
        own.num_samples == of_file.num_samples and abs(own.last_s - of_file.last_s) > half
    ):
        raise ParameterError(
            f"{own.source} begins at {own.start_s:.9g} s and ends at {own.last_s:.9g} s, but "
            f"{of_file.source} of the file at {of_file.start_s:.9g} s and {of_file.last_s:.9g} s: "
            "give the right one with t_start= or timestamps="
        )


def _check_apart(clocks: Sequence[Clock]) -> None:
    for i, (one, following) in enumerate(pairwise(clocks)):
        if not one.last_s < following.start_s:
            raise ParameterError(
                f"segment {i} ends at {one.last_s:.9g} s, after segment {i + 1} begins "
                f"({following.start_s:.9g} s, {following.source}): segments have to be ascending "
                "and apart on one clock"
            )


def _check_spikes_inside(analyzer: SortingAnalyzer, clocks: Sequence[Clock]) -> None:
    for i, (clock, last) in enumerate(zip(clocks, _last_frames(analyzer), strict=True)):
        if last >= clock.num_samples:
            raise ParameterError(
                f"segment {i}: a spike is at sample {last}, and {clock.source} has "
                f"{clock.num_samples} samples"
            )
