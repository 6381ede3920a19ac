"""Times that are given for each spike, such as TPrime's, checked against the samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import local_path
from si_curation.errors import FolderNotFoundError, MissingDataError, ParameterError
from si_curation.phy.arrays import Findings, open_array
from si_curation.reading.observed import observed_periods

_SPEED_TOLERANCE = 0.01  # clocks of hardware differ by far less, wrong units by far more
_NUM_STEPS = 1000  # over which the speed of the clock is measured


class GivenTimes(NamedTuple):
    """Times of all spikes, and when the units could be observed.

    Attributes
    ----------
    times : array (n_spikes,) float64
        Seconds, aligned with ``spike_vector_of(sorting)``.
    observed : array (n_segments, 2) float64
        Start and end in seconds of each segment that has spikes.
    """

    times: NDArray[np.float64]
    observed: NDArray[np.float64]


def check_spike_times(analyzer: SortingAnalyzer, spike_times: Any) -> GivenTimes:
    """Take one time for each spike of the folder, or of the analyzer where there is no folder.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    spike_times : array (n,) or (n, 1)
        Seconds: in the order of the rows of ``spike_times.npy`` for an analyzer of a Kilosort
        folder (also of spikes that are in no unit any more), else of
        ``spike_vector_of(sorting)``.

    Returns
    -------
    GivenTimes
        A segment's interval goes from its first sample to the end of its last one: from the first
        and last spike at the nominal rate.

    Raises
    ------
    ParameterError
        They are not as many as the spikes, not finite, too coarse, or do not rise with the
        samples.
    MissingDataError
        It is not known which row of the folder each spike is.
    """
    rows, expected = _rows_of(analyzer)
    values = _as_times(spike_times, expected)
    _check_precision(values, analyzer.sampling_frequency)
    times = values[rows].astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(times))
    if bad.size:
        raise ParameterError(
            f"spike_times has {bad.size} values that are not finite, the first in row "
            f"{rows[bad[0]]}, expected seconds"
        )
    return GivenTimes(times, _observed(analyzer, times, rows))


def read_spike_times(path: Path) -> NDArray:
    """Read the times of spikes from a ``.npy`` file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    array

    Raises
    ------
    FolderNotFoundError
        There is no such file.
    ParameterError
        It cannot be read as an array of numbers.
    """
    path = local_path(path, "spike_times")
    if not path.is_file():
        raise FolderNotFoundError(f"{path} does not exist, expected a .npy file of spike times")
    findings = Findings()
    values = open_array(path.parent, path.name, findings)
    if values is None:
        problems = [finding.what for finding in findings.with_severity("error")]
        raise ParameterError(
            f"{path} {'; '.join(problems) or 'cannot be read'}; expected a .npy file of one number "
            "of seconds per spike"
        )
    return values


class _Expected(NamedTuple):
    """How many times there have to be, and why."""

    size: int
    is_exact: bool
    reason: str


def _rows_of(analyzer: SortingAnalyzer) -> tuple[NDArray[np.integer], _Expected]:
    """Return the row of each spike, and how many rows there have to be."""
    num_spikes = spike_vector_of(analyzer.sorting).size
    assignment = analyzer.get_extension("template_assignment")
    if assignment is not None and assignment.is_from_folder:
        rows = assignment.get_spike_rows()
        folder = Path(str(assignment.info["phy_folder"]))
        stored = open_array(folder, "spike_times.npy", Findings()) if folder.is_dir() else None
        if stored is not None:
            reason = f"one for each row of {folder / 'spike_times.npy'}"
            return rows, _Expected(stored.size, True, reason)
        # the folder is gone: what was read of it has to be there
        reason = f"at least so many, one for each row of the spike_times.npy of {folder}"
        return rows, _Expected(int(rows.max(initial=-1)) + 1, False, reason)
    folder_name = analyzer.sorting.get_annotation("phy_folder")
    if folder_name:
        raise MissingDataError(
            f"spike_times are in the order of the rows of {folder_name}, and it is not known which "
            "row each spike of this analyzer is: give an analyzer of read_kilosort_as_analyzer, or "
            "one whose template_assignment is that of the folder"
        )
    reason = "one for each spike of spike_vector_of(sorting)"
    return np.arange(num_spikes), _Expected(num_spikes, True, reason)


def _as_times(spike_times: Any, expected: _Expected) -> NDArray:
    try:
        values = np.asarray(spike_times)
    except ValueError:  # lists of different lengths
        values = np.array(None)
    if values.dtype.kind not in "iuf":
        raise ParameterError(
            f"spike_times is {_described(spike_times)}, expected one number of seconds per spike"
        )
    if values.ndim == 2 and values.shape[1] == 1:  # as Kilosort writes its own
        values = values[:, 0]
    fits = values.size == expected.size if expected.is_exact else values.size >= expected.size
    if values.ndim != 1 or not fits:
        raise ParameterError(
            f"spike_times has shape {values.shape}, expected ({expected.size},): {expected.reason}"
        )
    return values


def _described(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"


def _check_precision(values: NDArray, rate: float) -> None:
    """Single precision cannot tell samples apart after some minutes."""
    if values.dtype.kind != "f" or values.size == 0:
        return
    with np.errstate(invalid="ignore"):
        largest = np.abs(values[np.isfinite(values)]).max(initial=0)
        step = float(np.spacing(largest.astype(values.dtype)))
    if step > 0.5 / rate:
        raise ParameterError(
            f"spike_times are {values.dtype}, which are {step:.3g} s apart at {largest:.9g} s, "
            f"expected steps of less than half a sample ({0.5 / rate:.3g} s): give seconds as "
            "float64"
        )


def _observed(analyzer: SortingAnalyzer, times: NDArray, rows: NDArray) -> NDArray[np.float64]:
    """Return the interval of each segment with spikes, and check the times of each."""
    spikes = spike_vector_of(analyzer.sorting)
    rate = analyzer.sampling_frequency
    intervals: list[list[float]] = []
    problems: list[str] = []
    last_time = -np.inf
    observed = observed_periods(analyzer)
    parts: list[NDArray[np.float64]] = []
    for segment in range(analyzer.get_num_segments()):
        own = np.flatnonzero(spikes["segment_index"] == segment)
        if own.size == 0:
            continue
        own = own[np.argsort(spikes["sample_index"][own], kind="stable")]
        samples, its_times = spikes["sample_index"][own], times[own]
        where = f" in segment {segment}" if analyzer.get_num_segments() > 1 else ""
        problem = _order_problem(its_times, rows[own], rate) or _speed_problem(
            its_times, samples, rate
        )
        if problem:
            problems.append(f"spike_times{where} {problem}")
        first_time = float(its_times.min())
        start = first_time - float(samples[0]) / rate
        if intervals and not last_time < first_time:
            problems.append(
                f"spike_times{where} begin at {first_time:.9g} s, and those of the segment ahead "
                f"of it go to {last_time:.9g} s: segments have to be ascending and apart on one "
                "clock"
            )
        elif intervals and intervals[-1][1] > start:  # by the rates: they meet between the spikes
            start = min(max((intervals[-1][1] + start) / 2, last_time), first_time)
            intervals[-1][1] = start
        last_time = float(its_times.max())
        edges = observed.of_segment(segment)
        parts.append(_seconds_of(edges, samples, its_times, rate))
        left = max(analyzer.get_num_samples(segment) - int(samples[-1]), 1)
        intervals.append([start, last_time + left / rate])
    if problems:
        raise ParameterError("; ".join(problems))
    if not observed.is_whole:
        return np.concatenate([np.zeros((0, 2)), *parts])
    return np.array(intervals, dtype=np.float64).reshape(-1, 2)


def _seconds_of(
    edges: NDArray, samples: NDArray, times: NDArray[np.float64], rate: float
) -> NDArray[np.float64]:
    """Return the seconds of samples: between spikes in proportion, beyond them at the rate."""
    seconds = np.interp(edges, samples, times)
    before = np.minimum(edges - samples[0], 0) / rate
    after = np.maximum(edges - samples[-1], 0) / rate
    return np.asarray(seconds + before + after, dtype=np.float64)


def _order_problem(times: NDArray, rows: NDArray, rate: float) -> str | None:
    """Return what is wrong where a later sample has a time that is earlier by a sample or more."""
    latest = np.maximum.accumulate(times)
    behind = latest - times
    wrong = np.flatnonzero(behind >= 1.0 / rate)
    if not wrong.size:
        return None
    first = int(wrong[0])
    ahead = int(np.flatnonzero(times[:first] == latest[first])[0])
    return (
        f"do not rise with the samples: {wrong.size} of {times.size} spikes are a sample or more "
        f"before an earlier one, the first in row {rows[first]} ({times[first]:.9g} s, row "
        f"{rows[ahead]} has {times[ahead]:.9g} s); give one for each spike in the order of the "
        "rows"
    )


def _speed_problem(times: NDArray, samples: NDArray, rate: float) -> str | None:
    """Return what is wrong where seconds are not samples divided by about the rate."""
    picked = np.unique(np.linspace(0, times.size - 1, _NUM_STEPS + 1).astype(np.int64))
    steps = np.diff(samples[picked].astype(np.int64))
    moved = steps > 0
    if not moved.any():
        return None
    speed = float(np.median(np.diff(times[picked])[moved] / steps[moved]) * rate)
    # a single step has no more than the precision of its ends
    slack = 2.0 / float(np.median(steps[moved]))
    if abs(speed - 1.0) < _SPEED_TOLERANCE + slack:
        return None
    return (
        f"are {speed:.6g} s per second of samples at {rate:.10g} Hz, expected 1 within 1 %: give "
        "seconds of this recording, not samples or milliseconds"
    )
