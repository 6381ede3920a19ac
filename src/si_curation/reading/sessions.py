"""Where the sessions begin of recordings that were sorted as one: given, known, and kept."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import BaseSorting, SortingAnalyzer

from si_curation._spikeinterface import lengths_of_parts, segment_samples_of, set_annotation
from si_curation.checks import Checks, check_arguments, is_number, is_whole_number
from si_curation.documents import parse_document
from si_curation.errors import MissingDataError, ParameterError, SiCurationError
from si_curation.shown import count_text

_ANNOTATION = "session_borders"  # of the sorting
_SESSION = "session"  # of the sorting of one session
_MAX_SHOWN = 5
_MAX_NAME_BYTES = 200
# what the name of a file cannot have, on any system
_NOT_IN_NAMES = frozenset('/\\:*?"<>|') | {chr(i) for i in range(32)}

Unit = Literal["samples", "s"]


@dataclass(frozen=True, eq=False, repr=False)
class SessionBorders:
    """Where the sessions begin of recordings that were sorted as one.

    Attributes
    ----------
    samples : array (n_sessions - 1,) int64
        First sample of each session but the first, segments of the analyzer end to end. A spike at
        it is of the session that begins there.
    names : tuple of str (n_sessions,)
    num_samples : int
        Length of all sessions together.
    sampling_frequency : float
        In Hz.
    source : {"given", "kept", "recording", "segments", "folders", "raw files"}
        How they are known: as an argument, by `set_session_borders`, as the recordings that were
        concatenated, as the segments, as several Kilosort folders that follow each other, or as the
        raw files of one.
    """

    samples: NDArray[np.int64]
    names: tuple[str, ...]
    num_samples: int
    sampling_frequency: float
    source: str

    def __repr__(self) -> str:
        at = ", ".join(f"{time:.6g} s" for time in self.times_s[:5])
        more = ", ..." if len(self.times_s) > 5 else ""
        sessions = count_text(len(self.names), "session")
        borders = f", borders at {at}{more}" if at else ""
        return f"SessionBorders: {sessions}{borders} ({self.source})"

    @property
    def times_s(self) -> NDArray[np.float64]:
        """The same as `samples` in s (n_sessions - 1,)."""
        return self.samples / self.sampling_frequency

    @property
    def edges(self) -> NDArray[np.int64]:
        """First sample of each session, and the end of the last (n_sessions + 1,)."""
        return np.concatenate([[0], self.samples, [self.num_samples]]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.names)


Borders = Literal["auto"] | SessionBorders | Sequence[float]


def session_borders(
    sorting_analyzer: SortingAnalyzer,
    borders: Literal["auto"] | SessionBorders | Sequence[float] = "auto",
    *,
    unit: Literal["samples", "s"] | None = None,
    names: Sequence[str] | None = None,
) -> SessionBorders:
    """Return where the sessions begin of recordings that were sorted as one.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    borders : "auto", SessionBorders or sequence of numbers, default: "auto"
        Where each session but the first begins. Whole numbers are samples (as of SpikeInterface's
        ``frame_slice``), numbers with a decimal point are seconds (as of ``time_slice``), both from
        the start of the whole. Whole numbers that could be seconds as well are refused, unless
        `unit` says it. "auto": as they are known: set with `set_session_borders`; the recordings
        that were concatenated; the segments; Kilosort folders that follow each other; or the
        lengths of several raw files of one (``dat_path``), where they were there when it was read.
    unit : {"samples", "s"}, optional
        Of `borders`.
    names : sequence of str, optional
        One for each session, all different. By default those that are known (of raw files, the
        file's, or its folder's where files are called the same), else "session_1" and so on.

    Returns
    -------
    SessionBorders

    Raises
    ------
    ParameterError
        Borders or names cannot be used; all problems at once.
    MissingDataError
        "auto", and they are not known.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> found = sic.session_borders(analyzer, [30.0, 50.5])
    >>> found.samples.tolist(), found.names
    ([900000, 1515000], ('session_1', 'session_2', 'session_3'))
    """
    check_arguments(session_borders, locals())
    total, fs = _total_samples(sorting_analyzer), float(sorting_analyzer.sampling_frequency)
    checks = Checks()
    source, known_names = "given", None
    if isinstance(borders, SessionBorders):
        checks.require(unit is None, "unit is of numbers, and borders are known with their unit")
        _check_length(checks, borders, total, fs)
        samples, known_names, source = borders.samples, borders.names, borders.source
    elif isinstance(borders, str):
        checks.require(unit is None, "unit is of numbers, and borders is 'auto'")
        known = known_borders(sorting_analyzer)
        if known is None:
            checks.finish()
            raise MissingDataError(_unknown_text(sorting_analyzer))
        samples, known_names, source = known.samples, known.names, known.source
    else:
        samples = _samples_of(checks, borders, unit, total, fs)
    found = _checked_names(checks, names, known_names, len(samples) + 1)
    checks.finish()
    return SessionBorders(samples, found, total, fs, source)


def borders_to_draw(
    sorting_analyzer: SortingAnalyzer, borders: Any, name: str = "borders"
) -> SessionBorders | None:
    """Return the borders that a figure draws; None where there are none.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    borders : "auto", None, SessionBorders or sequence of numbers
        As of `session_borders`; "auto": those that are known, if any; None: none. Segments are not
        borders here: figures mark them anyway.
    name : str
        Of the argument, for errors.

    Raises
    ------
    ParameterError
    """
    if borders is None:
        return None
    if isinstance(borders, str) and borders == "auto":
        known = known_borders(sorting_analyzer)
        return None if known is None or known.source == "segments" else known
    if isinstance(borders, str):
        raise ParameterError(
            f"{name} is {borders!r}, expected 'auto', None, SessionBorders or a list of numbers"
        )
    return session_borders(sorting_analyzer, borders)


def set_session_borders(
    sorting_analyzer: SortingAnalyzer,
    borders: SessionBorders | Sequence[float] | None,
    *,
    unit: Literal["samples", "s"] | None = None,
    names: Sequence[str] | None = None,
    save: bool = True,
) -> None:
    """Keep with an analyzer where its sessions begin.

    From then on figures over time and the page draw them, and `split_by_session` takes them. They
    stay through merges, splits, labels and saving.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    borders : SessionBorders or sequence of numbers, or None
        As of `session_borders`. None: forget what was set.
    unit, names
        As of `session_borders`.
    save : bool, default: True
        Whether an analyzer that lives on disk is changed there too.

    Raises
    ------
    ParameterError

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> sic.set_session_borders(analyzer, [40.0], names=["baseline", "drug"])
    >>> sic.session_borders(analyzer).names
    ('baseline', 'drug')
    """
    check_arguments(set_session_borders, locals())
    found = None
    if borders is not None:
        found = session_borders(sorting_analyzer, borders, unit=unit, names=names)
    keep_borders(sorting_analyzer, found, save=save)


def keep_borders(
    sorting_analyzer: SortingAnalyzer, borders: SessionBorders | None, *, save: bool = True
) -> None:
    """Annotate the sorting of an analyzer with checked borders; None takes them away."""
    if borders is None:
        set_annotation(sorting_analyzer, _ANNOTATION, None, save)
        return
    content = {
        "samples": borders.samples.tolist(),
        "names": list(borders.names),
        "num_samples": borders.num_samples,
    }
    # text: what formats do with nested annotations differs
    set_annotation(sorting_analyzer, _ANNOTATION, json.dumps(content), save)


class SessionOfWhole(NamedTuple):
    """Which part of a whole an analyzer of one session is, as `split_by_session` keeps it.

    Attributes
    ----------
    name : str
    start, stop : int
        Its first sample in the whole, and the one after the last, segments end to end.
    """

    name: str
    start: int
    stop: int


def session_of_whole(sorting: BaseSorting) -> SessionOfWhole | None:
    """Return which session of a whole the sorting of an analyzer is; None where it is none."""
    text = sorting.get_annotation(_SESSION)
    try:
        content = parse_document(str(text), f"the annotation {_SESSION} of the sorting")
        return SessionOfWhole(
            str(content["name"]), int(content["first_sample"]), int(content["end_sample"])
        )
    except (SiCurationError, KeyError, TypeError, ValueError, OverflowError):
        return None


def note_session(sorting: BaseSorting, borders: SessionBorders, index: int) -> None:
    """Annotate the sorting of one session: which part of the whole it is.

    Parameters
    ----------
    sorting : BaseSorting
        With the annotations of the whole.
    borders : SessionBorders
        At which the whole was split.
    index : int
        Of the session.
    """
    start, stop = (int(one) for one in borders.edges[index : index + 2])
    before = session_of_whole(sorting)  # the whole may be a session itself
    first = 0 if before is None else before.start
    content = {
        "name": borders.names[index],
        "first_sample": first + start,
        "end_sample": first + stop,
    }
    sorting.annotate(**{_SESSION: json.dumps(content)})


def known_borders(sorting_analyzer: SortingAnalyzer) -> SessionBorders | None:
    """Return the borders that an analyzer knows; None where it knows of one session only."""
    found = _kept(sorting_analyzer) or _of_recording(sorting_analyzer)
    return found or _of_folders(sorting_analyzer) or _of_raw_files(sorting_analyzer)


def borders_within(borders: SessionBorders, start: int, stop: int) -> SessionBorders | None:
    """Return the borders of a part, from its start; None where it has none.

    Examples
    --------
    >>> whole = SessionBorders(np.array([10, 20]), ("a", "b", "c"), 30, 1e3, "given")
    >>> part = borders_within(whole, 15, 30)
    >>> part.samples.tolist(), part.names
    ([5], ('b', 'c'))
    """
    inside = (borders.samples > start) & (borders.samples < stop)
    if not inside.any():
        return None
    first = int(np.searchsorted(borders.samples, start, side="right"))
    names = borders.names[first : first + int(inside.sum()) + 1]
    return SessionBorders(
        borders.samples[inside] - start,
        names,
        stop - start,
        borders.sampling_frequency,
        borders.source,
    )


def segments_in_span(
    segment_samples: NDArray[np.int64], span: tuple[int, int]
) -> list[tuple[int, int, int]]:
    """Return the parts of segments that a part of the time has: segment, first sample, stop.

    Parameters
    ----------
    segment_samples : array (n_segments,) int64
        Length of each segment.
    span : (int, int)
        First sample and the one after the last, segments end to end.

    Examples
    --------
    >>> segments_in_span(np.array([10, 10, 10]), (5, 20))
    [(0, 5, 10), (1, 0, 10)]
    """
    starts = np.cumsum(segment_samples) - segment_samples
    parts = []
    for segment, (start, length) in enumerate(zip(starts, segment_samples, strict=True)):
        low, high = max(span[0] - int(start), 0), min(span[1] - int(start), int(length))
        if low < high:
            parts.append((segment, low, high))
    return parts


def periods_in_span(
    periods: NDArray[np.int64], segment_samples: NDArray[np.int64], span: tuple[int, int]
) -> NDArray[np.int64]:
    """Return periods as those of a part of the time, whose segments begin with it.

    Parameters
    ----------
    periods : array (n, 3) int64
        Segment, first sample, sample after the last.
    segment_samples, span
        As of `segments_in_span`.

    Returns
    -------
    array (n_left, 3) int64

    Examples
    --------
    >>> periods_in_span(np.array([[0, 2, 9], [1, 3, 4]]), np.array([10, 10]), (5, 20)).tolist()
    [[0, 0, 4], [1, 3, 4]]
    """
    rows = []
    for index, (segment, low, high) in enumerate(segments_in_span(segment_samples, span)):
        own = periods[periods[:, 0] == segment, 1:]
        cut = np.clip(own, low, high) - low
        cut = cut[cut[:, 0] < cut[:, 1]]
        rows.append(np.column_stack([np.full(len(cut), index, dtype=np.int64), cut]))
    return np.concatenate([np.zeros((0, 3), dtype=np.int64), *rows])


def default_names(count: int) -> tuple[str, ...]:
    """Return names of sessions of which nothing is known.

    Examples
    --------
    >>> default_names(2)
    ('session_1', 'session_2')
    """
    return tuple(f"session_{i + 1}" for i in range(count))


def _total_samples(analyzer: SortingAnalyzer) -> int:
    return int(segment_samples_of(analyzer).sum())


# what is given


def _samples_of(
    checks: Checks, borders: Any, unit: Unit | None, total: int, fs: float
) -> NDArray[np.int64]:
    """Return borders in samples; every problem is noted."""
    values = [one.item() if isinstance(one, np.generic) else one for one in borders]
    wrong = [one for one in values if not is_number(one) or not math.isfinite(one)]
    if wrong:
        shown = ", ".join(map(repr, wrong[:_MAX_SHOWN]))
        checks.add(f"borders has {shown}, expected numbers, samples or seconds")
        return np.zeros(0, dtype=np.int64)
    are_whole = all(is_whole_number(one) for one in values)
    if unit is None:
        unit = "samples" if are_whole else "s"
        if values and are_whole and all(0 < one <= total / fs for one in values):
            checks.add(
                f"borders are whole numbers up to {max(values)}, which are samples, but could be "
                f"seconds of these {total / fs:.6g} s: write them with a decimal point for "
                "seconds, or give unit='samples' (session_borders(..., unit=...))"
            )
            return np.zeros(0, dtype=np.int64)
    elif unit == "samples" and not are_whole:
        checks.add("borders are fractions, and unit is 'samples': expected whole numbers")
        return np.zeros(0, dtype=np.int64)
    most = 2**62 / max(fs, 1.0)
    as_samples = [
        int(one) if unit == "samples" else round(min(max(one, -most), most) * fs) for one in values
    ]
    _check_order(checks, values, as_samples, unit, total, fs)
    if checks.problems:
        return np.zeros(0, dtype=np.int64)
    return np.array(as_samples, dtype=np.int64)


def _check_order(
    checks: Checks, values: list[Any], samples: list[int], unit: Unit, total: int, fs: float
) -> None:
    what = "sample" if unit == "samples" else "s"
    outside = [v for v, one in zip(values, samples, strict=True) if not 0 < one < total]
    if outside:
        shown = ", ".join(f"{one:.12g}" for one in outside[:_MAX_SHOWN])
        end = f"{total}" if unit == "samples" else f"{total / fs:.9g}"
        text = (
            f"borders has {shown} ({what}), expected numbers above 0 and below {end}, the end of "
            "the recording (the start and the end themselves are no borders)"
        )
        if unit == "s" and all(float(v).is_integer() and 0 < v < total for v in outside):
            text += "; samples are given as whole numbers, without a decimal point"
        checks.add(text)
    steps = [
        f"{b:.12g} after {a:.12g}"
        for a, b, first, second in zip(values, values[1:], samples, samples[1:], strict=False)
        if second <= first
    ]
    if steps:
        checks.add(
            f"borders has {', '.join(steps[:_MAX_SHOWN])} ({what}), expected ascending numbers, "
            "each once"
        )


def _check_length(checks: Checks, borders: SessionBorders, total: int, fs: float) -> None:
    checks.require(
        borders.num_samples == total and borders.sampling_frequency == fs,
        f"borders are of {borders.num_samples} samples at {borders.sampling_frequency:g} Hz, and "
        f"this analyzer has {total} at {fs:g} Hz: make them with session_borders(analyzer, ...)",
    )


def _checked_names(
    checks: Checks, given: Sequence[str] | None, known: tuple[str, ...] | None, count: int
) -> tuple[str, ...]:
    if given is None:
        return known or default_names(count)
    names = tuple(str(one) for one in given)
    if len(names) != count and not checks.problems:
        checks.add(
            f"names has {len(names)} names, expected one for each of {count} sessions "
            f"({count - 1} borders)"
        )
    twice = [one for i, one in enumerate(names) if one.casefold() in map(str.casefold, names[:i])]
    if twice:
        checks.add(f"names has {twice[0]!r} more than once (upper and lower case are the same)")
    bad = [one for one in names if not _is_name(one)]
    if bad:
        checks.add(
            f"names has {bad[0]!r}, expected names that a folder can have on any system: no "
            '/ \\ : * ? " < > |, no dot or space at the end, 1 to 200 bytes'
        )
    return names


def _is_name(name: str) -> bool:
    size = len(name.encode("utf-8", "surrogatepass"))
    return 0 < size <= _MAX_NAME_BYTES and not _NOT_IN_NAMES & set(name) and name[-1] not in ". "


# what is known


def _kept(analyzer: SortingAnalyzer) -> SessionBorders | None:
    """Return what `set_session_borders` kept; None where it is of other times, or no such text."""
    text = analyzer.sorting.get_annotation(_ANNOTATION)
    if not text:
        return None
    total, fs = _total_samples(analyzer), float(analyzer.sampling_frequency)
    try:
        content = parse_document(str(text), f"the annotation {_ANNOTATION} of the sorting")
        samples = np.array(content["samples"], dtype=np.int64)
        names = tuple(map(str, content["names"]))
        same = int(content["num_samples"]) == total and len(names) == samples.size + 1
    except (SiCurationError, KeyError, TypeError, ValueError, OverflowError):
        return None
    if samples.ndim != 1 or not same:
        return None
    if np.any(np.diff(np.concatenate([[0], samples, [total]])) <= 0):
        return None
    return SessionBorders(samples, names, total, fs, "kept")


def _of_recording(analyzer: SortingAnalyzer) -> SessionBorders | None:
    lengths = lengths_of_parts(analyzer)
    total = _total_samples(analyzer)
    if len(lengths) < 2 or sum(lengths) != total or min(lengths) < 1:
        return None
    source = "segments" if analyzer.get_num_segments() > 1 else "recording"
    samples = np.cumsum(lengths)[:-1].astype(np.int64)
    names = default_names(len(lengths))
    return SessionBorders(samples, names, total, float(analyzer.sampling_frequency), source)


def _of_folders(analyzer: SortingAnalyzer) -> SessionBorders | None:
    """Return the borders of several Kilosort folders that follow each other in an analyzer."""
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None or assignment.num_folders < 2:
        return None
    offsets = assignment.info.get("frame_offsets", [])
    starts = [-int(one) for one in offsets]  # a folder that was sliced begins before its spikes
    total = _total_samples(analyzer)
    edges = np.array([*starts, total], dtype=np.int64)
    if not starts or starts[0] != 0 or np.any(np.diff(edges) <= 0):
        return None
    names = distinct_names([f"{folder}/_" for folder in assignment.info["folders"]])
    fs = float(analyzer.sampling_frequency)
    return SessionBorders(edges[1:-1], names, total, fs, "folders")


def _of_raw_files(analyzer: SortingAnalyzer) -> SessionBorders | None:
    """Return the borders of the raw files that the Kilosort folder of an analyzer names."""
    assignment = analyzer.get_extension("template_assignment")
    files = [] if assignment is None else assignment.info.get("raw_files") or []
    if len(files) < 2 or not assignment.is_from_folder:
        return None
    total = _total_samples(analyzer)
    edges = np.cumsum([0, *(int(length) for _, length in files)]) - assignment.frame_offset
    names = distinct_names([str(path) for path, _ in files])
    first = int(np.searchsorted(edges, 0, side="right")) - 1
    inside = [int(one) for one in np.unique(edges[1:-1]) if 0 < one < total]
    if first < 0 or not inside or len(set(edges.tolist())) < edges.size:
        return None  # files without samples are no sessions that could be told apart
    its_names = names[first : first + len(inside) + 1]
    fs = float(analyzer.sampling_frequency)
    return SessionBorders(np.array(inside, dtype=np.int64), its_names, total, fs, "raw files")


def distinct_names(paths: Sequence[str]) -> tuple[str, ...]:
    """Return a name for each of several files: its own, else that of its folder, else a number.

    Examples
    --------
    >>> distinct_names(["/a/day1.bin", "/a/day2.bin"]), distinct_names(["/1/x.dat", "/2/x.dat"])
    (('day1', 'day2'), ('1', '2'))
    """
    parts = [PurePath(path.replace("\\", "/")) for path in paths]
    for names in (
        [part.stem for part in parts],
        [part.parent.name for part in parts],
        [part.parent.parent.name for part in parts],
    ):
        if len({one.casefold() for one in names}) == len(names) and all(map(_is_name, names)):
            return tuple(names)
    return default_names(len(paths))


def _unknown_text(analyzer: SortingAnalyzer) -> str:
    assignment = analyzer.get_extension("template_assignment")
    of_folder = assignment is not None and assignment.is_from_folder
    text = (
        "where the sessions begin is not known: the recording is not one that was concatenated by "
        "SpikeInterface, there is one segment"
    )
    if of_folder:
        text += ", and the Kilosort folder names no several raw files that were there when it was "
        text += "read"
    return (
        f"{text}; give borders=, the sample (a whole number) or the second (with a decimal point) "
        "at which each session but the first begins"
    )
