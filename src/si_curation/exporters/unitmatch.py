"""`export_to_unitmatch`: sessions as UnitMatch reads them, to match their units across days."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import BaseRecording, SortingAnalyzer, estimate_templates

from si_curation._spikeinterface import (
    recording_of,
    samples_end_to_end,
    segment_samples_of,
    spike_vector_of,
)
from si_curation.checks import Checks, is_whole_number, local_path, plain_id, short_repr
from si_curation.errors import MissingDataError, ParameterError, SiCurationWarning
from si_curation.extensions.spikes_of_units import spikes_of_unit
from si_curation.extensions.template_assignment import assignment_of_named_folder
from si_curation.files import check_output_folder, new_folder, write_file
from si_curation.kernels.spike_vector import evenly_spaced
from si_curation.phy.writing import format_table, format_value
from si_curation.reading.feature_waveforms import ChannelLists, WaveformSource, spikes_of_sets
from si_curation.reading.probe import planar_locations

#: Samples of a waveform at least, as UnitMatch takes them from raw data by default.
SPIKE_WIDTH = 82
# each time the traces or the features are read once
_UNITS_AT_ONCE = {"recording": 1024, "features": 256}
_MAX_NAME = 100

Source = Literal["auto", "features", "recording"]


@dataclass(frozen=True, eq=False)
class _Session:
    """One session, checked: where its waveforms come from, and what its units are called."""

    name: str
    analyzer: SortingAnalyzer
    recording: BaseRecording | None
    features: WaveformSource | None
    num_before: int  # samples of a rebuilt waveform before the spike; 0 with a recording
    numbers: NDArray[np.int64]  # of the units, in the file names
    labels: list[str]

    @property
    def source(self) -> str:
        return "recording" if self.features is None else "features"

    @property
    def units(self) -> str:
        if self.features is not None:
            return self.features.units
        return "uV" if self.analyzer.return_in_uV else "raw"

    @property
    def width(self) -> int:
        """The smallest even number of samples that has the spike in its middle."""
        if self.features is None:
            return SPIKE_WIDTH
        after = self.features.num_samples - self.num_before
        return max(SPIKE_WIDTH, 2 * max(self.num_before, after))


def export_to_unitmatch(
    analyzers: Sequence[SortingAnalyzer] | Mapping[str, SortingAnalyzer],
    folder: str | Path,
    *,
    source: Source = "auto",
    label_property: str = "quality",
    good_labels: Sequence[str] | Literal["all"] = ("good",),
    max_spikes_per_unit: int | None = 1000,
    overwrite: bool = False,
    progress_bar: bool = False,
) -> Path:
    """Write sessions as folders that UnitMatch reads, to match their units across days.

    Each session is a folder with two mean waveforms of every unit, of the first and of the second
    half of its spikes in time (which UnitMatch compares with each other), the positions of the
    channels, labels, and spike times. The whole appears at once or not at all.

    Parameters
    ----------
    analyzers : sequence of SortingAnalyzer, or mapping of str to SortingAnalyzer
        In the order of the sessions. The names of a mapping name the folders of the sessions.
    folder : str or Path
        Must not exist, unless `overwrite`.
    source : {"auto", "features", "recording"}
        "recording": means of the traces. "features": rebuilt from ``pc_features.npy`` of the
        Kilosort folder (`SpikeWaveforms`), without traces; on channels without features the spike's
        scaled template. "auto": the recording where all analyzers have one, else features.
    label_property : str
        Property of the units that has their labels.
    good_labels : sequence of str, or "all"
        Units with these labels are "good" in ``cluster_group.tsv``: UnitMatch takes those. "all":
        every unit.
    max_spikes_per_unit : int, optional
        At most so many spikes of a unit are averaged, evenly spaced; None: all.
    overwrite : bool
        Replace an existing folder, which is kept as ``<name>.backup-YYYYmmdd-HHMMSS``.
    progress_bar : bool
        While traces are read.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OutputExistsError
        `folder` exists.
    ParameterError
        The sessions do not go together (channels, sampling frequency, units of measurement), a
        session has no good unit, or an argument cannot be used.
    MissingDataError
        An analyzer has neither a recording nor a Kilosort folder with features; or the features are
        of whitened data, and the whitening is not in the folder.
    FolderNotFoundError, PhyFolderError
        The Kilosort folder is gone, or is not what it was.

    Warns
    -----
    SiCurationWarning
        Units with fewer than two spikes (or whose features are not stored) are left out.

    Notes
    -----
    Layout, in ``folder/<session>``:

    - ``RawWaveforms/Unit<id>_RawSpikes.npy`` (n_samples, n_channels, 2) float32. The spike is at
      sample ``n_samples // 2``, where UnitMatch looks for it; n_samples is 82, or as many as the
      sorter's templates need, the same in all sessions. Rebuilt waveforms are 0 outside of the
      template's samples; from means of traces the mean of the first samples is subtracted.
    - ``channel_positions.npy`` (n_channels, 2) in µm.
    - ``cluster_group.tsv``: ``cluster_id`` and ``group``.
    - ``spike_times.npy`` (samples, segments end to end) and ``spike_clusters.npy``.
    - ``unit_ids.tsv``: where units are not numbered from 0 on with whole numbers, they are numbered
      in their order, and this has their ids.

    ``sessions.json`` has the names of the sessions in order, and where waveforms are from.

    Source of the layout: UnitMatchPy 3.6.1, which reads it with
    ``UnitMatchPy.utils.paths_from_KS([folder / name for name in sessions])``.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> folder = sic.export_to_unitmatch(
    ...     {"monday": analyzer}, tempfile.mkdtemp() + "/unitmatch"
    ... )
    >>> np.load(folder / "monday" / "RawWaveforms" / "Unit13_RawSpikes.npy").shape
    (82, 32, 2)
    """
    checks = Checks.of_call(export_to_unitmatch, locals())
    checks.choice("source", source, ("auto", "features", "recording"))
    checks.whole_number("max_spikes_per_unit", max_spikes_per_unit, at_least=2, optional=True)
    checks.finish()
    named = _named(analyzers)
    target = check_output_folder(local_path(folder, "folder").resolve(), overwrite)
    if source == "auto":
        all_have = all(recording_of(analyzer) is not None for analyzer in named.values())
        source = "recording" if all_have else "features"
    sessions = [
        _checked(name, analyzer, source, label_property, good_labels)
        for name, analyzer in named.items()
    ]
    _check_together(sessions)
    width = max(session.width for session in sessions)
    left_out = {}
    with new_folder(target, overwrite) as part:
        for session in sessions:
            (part / session.name).mkdir()
            left_out[session.name] = _write_session(
                part / session.name, session, width, max_spikes_per_unit, progress_bar
            )
        write_file(part / "sessions.json", _manifest(sessions, width, max_spikes_per_unit))
    _warn_left_out(left_out)
    return target


def _named(
    analyzers: Sequence[SortingAnalyzer] | Mapping[str, SortingAnalyzer],
) -> dict[str, SortingAnalyzer]:
    """Return the analyzers by the names of their sessions."""
    problems = []
    if isinstance(analyzers, Mapping):
        named = dict(analyzers)
    elif isinstance(analyzers, list | tuple):
        digits = max(len(str(len(analyzers))), 2)
        named = {f"session_{i:0{digits}d}": one for i, one in enumerate(analyzers, 1)}
    else:
        raise ParameterError(
            f"analyzers is a {type(analyzers).__name__}, expected a list of analyzers, or a "
            "dict of their names"
        )
    if not named:
        problems.append("analyzers is empty, expected one or more")
    for name, analyzer in named.items():
        plain = isinstance(name, str) and all(c.isalnum() or c in "._- " for c in name)
        if not plain or not name.strip(". ") or name != name.strip() or len(name) > _MAX_NAME:
            problems.append(
                f"analyzers has a session called {name!r}, expected the name of a folder: letters, "
                "digits, '.', '_', '-'"
            )
        if not isinstance(analyzer, SortingAnalyzer):
            problems.append(f"session {name!r} is a {type(analyzer).__name__}, not an analyzer")
    folded = [str(name).casefold() for name in named]
    if len(set(folded)) < len(folded):
        problems.append("names of sessions differ only in upper and lower case")
    if "sessions.json" in folded:
        problems.append("a session cannot be called 'sessions.json', which is the list of them")
    if problems:
        raise ParameterError("; ".join(problems))
    return named


def _checked(
    name: str,
    analyzer: SortingAnalyzer,
    source: str,
    label_property: str,
    good_labels: Sequence[str] | Literal["all"],
) -> _Session:
    """Return a session, or raise where it cannot be exported."""
    recording, features, num_before = None, None, 0
    if source == "recording":
        recording = recording_of(analyzer)
        if recording is None:
            raise MissingDataError(
                f"session {name!r} has no recording; set it with "
                "analyzer.set_temporary_recording, or take source='features'"
            )
    else:
        features, num_before = _features_of(name, analyzer)
    ids = [plain_id(unit_id) for unit_id in analyzer.unit_ids]
    whole = all(is_whole_number(one) and one >= 0 for one in ids)
    numbers = np.array(ids if whole else range(len(ids)), dtype=np.int64)
    labels = _labels(name, analyzer, label_property, good_labels)
    return _Session(name, analyzer, recording, features, num_before, numbers, labels)


def _features_of(name: str, analyzer: SortingAnalyzer) -> tuple[WaveformSource, int]:
    assignment = assignment_of_named_folder(analyzer)
    if assignment is None or not assignment.is_from_folder:
        raise MissingDataError(
            f"session {name!r} has neither a recording nor one Kilosort folder with "
            "pc_features.npy; set the recording with analyzer.set_temporary_recording"
        )
    try:
        features = assignment.get_waveform_source()
    except MissingDataError as fault:
        raise MissingDataError(
            f"session {name!r}: {fault}; or give the analyzer its recording "
            "(analyzer.set_temporary_recording) and take source='recording'"
        ) from None
    if features.units == "whitened":
        raise MissingDataError(
            f"session {name!r}: its features are of whitened data, whose whitening is not in the "
            "folder, and UnitMatch compares how waveforms decay over channels; give the analyzer "
            "its recording (analyzer.set_temporary_recording) and take source='recording'"
        )
    missing = np.isnan(features.matrix).any(axis=0)
    if missing.any():
        raise MissingDataError(
            f"session {name!r}: channels {analyzer.channel_ids[missing].tolist()} are not in the "
            "Kilosort folder; take source='recording', or select the other channels"
        )
    return features, int(assignment.info["num_samples_before"])


def _labels(
    name: str,
    analyzer: SortingAnalyzer,
    label_property: str,
    good_labels: Sequence[str] | Literal["all"],
) -> list[str]:
    """Return what ``cluster_group.tsv`` has of each unit: "good", or its label."""
    if isinstance(good_labels, str):
        if good_labels != "all":
            raise ParameterError(f"good_labels is {good_labels!r}, expected a list, or 'all'")
        return ["good"] * len(analyzer.unit_ids)
    values = analyzer.sorting.get_property(label_property)
    if values is None:
        known = sorted(analyzer.sorting.get_property_keys())
        raise ParameterError(
            f"session {name!r}: units have no property {short_repr(label_property)}, expected "
            f"one of {known}; or take good_labels='all'"
        )
    texts = [format_value(plain_id(value)) or "unsorted" for value in values]
    is_good = [text in good_labels for text in texts]
    if not any(is_good):
        raise ParameterError(
            f"session {name!r}: no unit has one of the labels {list(good_labels)} in "
            f"{label_property!r}, only {sorted(set(texts))}; UnitMatch takes good units. Give "
            "other good_labels=, or good_labels='all'"
        )
    # a unit that is not to be taken must not be called good
    others = ["not good" if text == "good" else text for text in texts]
    return ["good" if good else other for good, other in zip(is_good, others, strict=True)]


def _check_together(sessions: list[_Session]) -> None:
    """Raise where the sessions cannot be compared."""
    first, problems = sessions[0], []
    for one in sessions[1:]:
        for what, its, expected in (
            ("channels", one.analyzer.get_num_channels(), first.analyzer.get_num_channels()),
            ("Hz", one.analyzer.sampling_frequency, first.analyzer.sampling_frequency),
            ("as units of waveforms", one.units, first.units),
        ):
            if its != expected:
                problems.append(
                    f"session {one.name!r} has {its} {what}, and {first.name!r} has {expected}"
                )
    if problems:
        raise ParameterError(
            "; ".join(problems) + ": UnitMatch compares sessions of the same probe, channels and "
            "units; select channels, or give all or none a gain"
        )


def _write_session(
    folder: Path,
    session: _Session,
    width: int,
    max_spikes: int | None,
    progress_bar: bool,
) -> list[Any]:
    """Write the folder of one session, and return the units that are left out."""
    analyzer = session.analyzer
    waveforms = folder / "RawWaveforms"
    waveforms.mkdir()
    unit_ids, written = analyzer.unit_ids, np.zeros(len(analyzer.unit_ids), dtype=bool)
    at_once = _UNITS_AT_ONCE[session.source]
    for start in range(0, unit_ids.size, at_once):
        units = np.arange(start, min(start + at_once, unit_ids.size))
        spikes, halves = _halves(session, units, max_spikes, width)
        found = _means(session, spikes, halves, 2 * units.size, width, progress_bar)
        counts = np.bincount(halves, minlength=2 * units.size).reshape(-1, 2)
        for row, unit in enumerate(units):
            if counts[row].min() == 0:
                continue
            both = np.stack([found[2 * row], found[2 * row + 1]], axis=-1)
            write_file(waveforms / f"Unit{session.numbers[unit]}_RawSpikes.npy", both)
            written[unit] = True
    vector = spike_vector_of(analyzer.sorting)
    kept = np.flatnonzero(written[vector["unit_index"]])
    write_file(folder / "spike_times.npy", samples_end_to_end(analyzer, kept))
    clusters = session.numbers[vector["unit_index"][kept]]
    write_file(folder / "spike_clusters.npy", clusters)
    write_file(folder / "channel_positions.npy", np.asarray(planar_locations(analyzer)))
    rows = [[str(session.numbers[i]), session.labels[i]] for i in np.flatnonzero(written)]
    write_file(folder / "cluster_group.tsv", format_table(["cluster_id", "group"], rows))
    if session.numbers.tolist() != [plain_id(one) for one in unit_ids]:
        table = [
            [str(number), str(one)] for number, one in zip(session.numbers, unit_ids, strict=True)
        ]
        write_file(folder / "unit_ids.tsv", format_table(["cluster_id", "unit_id"], table))
    return unit_ids[~written].tolist()


def _halves(
    session: _Session, units: NDArray[np.integer], max_spikes: int | None, width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return some spikes of some units in the order of time, and the half that each belongs to.

    The halves of unit i of these are numbered 2 i and 2 i + 1.
    """
    analyzer, margin = session.analyzer, width // 2
    vector = spike_vector_of(analyzer.sorting)
    ends = segment_samples_of(analyzer)
    halves: list[NDArray[np.int64]] = []
    for unit in units:
        spikes = np.sort(spikes_of_unit(analyzer, analyzer.unit_ids[unit]))
        if session.features is not None:
            spikes = spikes[session.features.features.rows.rows_of_spikes(spikes) >= 0]
        else:  # whole waveforms
            samples, segments = vector["sample_index"][spikes], vector["segment_index"][spikes]
            spikes = spikes[(samples >= margin) & (samples + margin <= ends[segments])]
        spikes = spikes[evenly_spaced(spikes.size, max_spikes)]
        halves += [spikes[: spikes.size // 2], spikes[spikes.size // 2 :]]
    return spikes_of_sets(halves)


def _means(
    session: _Session,
    spikes: NDArray[np.int64],
    halves: NDArray[np.int64],
    num_halves: int,
    width: int,
    progress_bar: bool,
) -> NDArray[np.float32]:
    """Return the mean waveform of each half (n_halves, width, n_channels)."""
    before = width // 2
    if session.features is not None:
        num_channels = session.analyzer.get_num_channels()
        channels = ChannelLists.one(np.arange(num_channels), spikes.size)
        mean, _, _ = session.features.mean_and_std(spikes, channels, halves, num_halves)
        out = np.zeros((num_halves, width, num_channels), dtype=np.float32)
        start = before - session.num_before
        out[:, start : start + mean.shape[1]] = mean
        return out
    vector = spike_vector_of(session.analyzer.sorting)[spikes].copy()
    vector["unit_index"] = halves
    found = estimate_templates(
        session.recording,
        vector,
        np.arange(num_halves),
        before,
        width - before,
        return_in_uV=bool(session.analyzer.return_in_uV),
        progress_bar=progress_bar,
        n_jobs=1,
    )
    found = np.asarray(found, dtype=np.float32)
    return found - found[:, : before // 2].mean(axis=1, keepdims=True)


def _manifest(sessions: list[_Session], width: int, max_spikes: int | None) -> bytes:
    content = {
        "format": "UnitMatch",
        "sessions": [
            {
                "name": one.name,
                "waveforms_from": one.source,
                "units": one.units,
                "sampling_frequency_hz": float(one.analyzer.sampling_frequency),
            }
            for one in sessions
        ],
        "num_samples": width,
        "spike_at_sample": width // 2,
        "max_spikes_per_unit": max_spikes,
    }
    return (json.dumps(content, indent=2) + "\n").encode()


def _warn_left_out(left_out: dict[str, list[Any]]) -> None:
    texts = [f"{name}: {ids}" for name, ids in left_out.items() if ids]
    if texts:
        warnings.warn(
            "units with fewer than two spikes, or without stored features, have no two halves and "
            f"are left out. {'; '.join(texts)}",
            SiCurationWarning,
            stacklevel=3,
        )
