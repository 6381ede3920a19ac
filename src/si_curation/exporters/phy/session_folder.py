"""The folder of one session: the rows of its spikes of every file, with times from its start."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import MissingDataError, PhyFolderError
from si_curation.exporters.phy.copy import copy_file, files_to_copy, made_params
from si_curation.files import new_array_file, write_file
from si_curation.kernels.parallel import blocks
from si_curation.phy.arrays import Findings, check_whole, open_array
from si_curation.phy.feature_files import open_spike_templates
from si_curation.phy.params import NAME as PARAMS
from si_curation.phy.params import data_paths_of, read_params
from si_curation.phy.raw import itemsize_of, raw_file_lengths, resolve_data_paths, resolved
from si_curation.phy.session import SESSION_CHANNELS_FILE, SESSION_FILE
from si_curation.phy.writing import format_params
from si_curation.variables import FileRows

_TEMPLATES, _DETECTION = "spike_templates.npy", "spike_detection_templates.npy"
_FEATURES = ("pc_feature", "template_feature")
# of templates and channels, whatever their length
_NOT_OF_SPIKES = (
    "templates.npy", "templates_ind.npy", "template_ind.npy", "similar_templates.npy",
    "channel_map.npy", "channel_positions.npy", "channel_shanks.npy", "channel_probe.npy",
    "whitening_mat.npy", "whitening_mat_inv.npy", "whitening_mat_dat.npy", "pc_feature_ind.npy",
    "template_feature_ind.npy", "ops.npy",
)  # fmt: skip
# of all spikes that were detected, and of a choice of phy's among all spikes
_LEFT_OUT = ("kept_spikes.npy", "full_", "_phy_spikes_subset.")
_ROWS_PER_BLOCK = 1 << 16
_BYTES_PER_BLOCK = 1 << 24
_RECORDING = "recording.dat"


class Session(NamedTuple):
    """A part of the time of a folder.

    Attributes
    ----------
    name : str
        "" where it has none.
    start, stop : int
        First sample, and the one after the last.
    """

    name: str
    start: int
    stop: int


def write_session_folder(
    source: Path,
    part: Path,
    session: Session,
    *,
    sampling_frequency: float,
    feature_channels: NDArray[np.integer] | None = None,
    link: bool = False,
    copy_recording: bool = False,
) -> FileRows:
    """Write the folder of one session of a Kilosort/phy folder, uncurated.

    Every file that has a row for each spike has those of the session, in their order; times are
    from its start. What is of templates, channels and clusters is copied. ``params.py`` names the
    raw files of the session; of a file that has more after it there is no way to say that to phy,
    and none is named, unless its samples are copied.

    Parameters
    ----------
    source : Path
    part : Path
        Where to write; exists, empty.
    session : Session
    sampling_frequency : float
        In Hz; for a folder that has no ``params.py``.
    feature_channels : array (n_detection_templates, n_loc) integer, optional
        On which channels features are, where that is known of the whole and not in a file.
    link, copy_recording : bool
        As of `export_to_phy`.

    Returns
    -------
    array (n_spikes of the session,) int64
        Rows in the files of `source`, ascending.

    Raises
    ------
    PhyFolderError
        Files of the source cannot be read: all of them.
    MissingDataError
        There are no spikes; or `copy_recording`, and the raw data do not exist.
    """
    findings = Findings()
    params = read_params(source, findings)
    names = files_to_copy(source, part)
    for name in names:
        if name.endswith(".npy"):
            check_whole(source / name, name, findings)
    times = open_array(source, "spike_times.npy", findings)
    if findings.with_severity("error") or times is None:
        raise PhyFolderError(source, findings.with_severity("error"))
    samples = np.asarray(times).reshape(-1).astype(np.int64)
    rows = np.flatnonzero((samples >= session.start) & (samples < session.stop))
    if rows.size == 0:
        raise MissingDataError(
            f"there are no spikes in samples {session.start} to {session.stop} of {source}, and "
            "phy cannot open a folder without any"
        )
    raw = _Raw.of(source, params)
    if copy_recording and raw.lengths is None:
        raise MissingDataError(
            f"copy_recording=True, but the raw data of {source} are not there: "
            + (", ".join(map(str, raw.paths)) or "dat_path is empty")
        )
    for name in names:
        if resolved(source / name) not in raw.paths and name != PARAMS:
            _write(source, part, name, rows, samples.size, link)
    moved = (samples[rows] - session.start).astype(_signed(times.dtype))
    write_file(part / "spike_times.npy", moved.reshape(-1, *times.shape[1:]))
    _write_templates(source, part, rows)
    if (source / PARAMS).is_file():
        new_params = _params_of_session(params, raw, session, part, copy_recording)
    else:
        new_params = made_params(source, sampling_frequency)
    write_file(part / PARAMS, new_params)
    content = {"name": session.name, "first_sample": session.start, "end_sample": session.stop}
    if feature_channels is not None:
        write_file(part / SESSION_CHANNELS_FILE, np.asarray(feature_channels))
    write_file(part / SESSION_FILE, json.dumps(content, indent=1).encode())
    return FileRows(rows)


def _signed(dtype: np.dtype) -> np.dtype:
    """Return the dtype of times that begin at 0: whole numbers, as wide as in the file."""
    return dtype if dtype.kind in "iu" else np.dtype(np.int64)


def _write(
    source: Path, part: Path, name: str, rows: NDArray[np.int64], num_spikes: int, link: bool
) -> None:
    """Write one file: the rows of the session where it is of spikes, else a copy."""
    written = ("spike_times.npy", _TEMPLATES, _DETECTION, SESSION_FILE, SESSION_CHANNELS_FILE)
    if name in written or name.startswith(_LEFT_OUT):
        return
    stem = next((one for one in _FEATURES if name == f"{one}s.npy"), None)
    if name in [f"{one}_spike_ids.npy" for one in _FEATURES]:
        return  # with the features
    if stem is not None:
        _write_features(source, part, stem, rows, num_spikes)
        return
    array = None
    if name.endswith(".npy") and "/" not in name and name not in _NOT_OF_SPIKES:
        array = open_array(source, name, Findings())
    if array is not None and array.ndim > 0 and len(array) == num_spikes:
        _write_rows(part / name, array, rows)
    else:
        copy_file(source / name, part / name, link)


def _write_rows(path: Path, array: NDArray, rows: NDArray[np.int64]) -> None:
    """Write some rows of an array that may not fit into memory."""
    with new_array_file(path, (rows.size, *array.shape[1:]), array.dtype) as out:
        for piece in blocks(rows.size, _ROWS_PER_BLOCK):
            out[piece] = array[rows[piece]]


def _write_features(
    source: Path, part: Path, stem: str, rows: NDArray[np.int64], num_spikes: int
) -> None:
    """Write features of the session, and of which of its spikes they are."""
    features = open_array(source, f"{stem}s.npy", Findings())
    stored = open_array(source, f"{stem}_spike_ids.npy", Findings())
    if features is None:
        return
    if stored is None:
        if len(features) == num_spikes:
            _write_rows(part / f"{stem}s.npy", features, rows)
        return
    ids = np.asarray(stored).reshape(-1).astype(np.int64)
    place = np.searchsorted(rows, ids)
    there = np.flatnonzero(np.isin(ids, rows))
    _write_rows(part / f"{stem}s.npy", features, there)
    new_ids = place[there].astype(stored.dtype).reshape(-1, *stored.shape[1:])
    write_file(part / f"{stem}_spike_ids.npy", new_ids)


def _write_templates(source: Path, part: Path, rows: NDArray[np.int64]) -> None:
    """Write the templates of the spikes; in folders of Kilosort 4.0.0 as later versions do."""
    stored = open_array(source, _TEMPLATES, Findings())
    detection = open_array(source, _DETECTION, Findings())
    if detection is not None:
        write_file(part / _DETECTION, np.ascontiguousarray(np.asarray(detection)[rows]))
    if stored is None:
        return
    own = np.asarray(open_spike_templates(source)).reshape(-1)
    if detection is None and not np.array_equal(own, np.asarray(stored).reshape(-1)):
        write_file(part / _DETECTION, np.ascontiguousarray(np.asarray(stored)[rows]))
        write_file(part / _TEMPLATES, np.ascontiguousarray(own[rows]))
        return
    write_file(part / _TEMPLATES, np.ascontiguousarray(np.asarray(stored)[rows]))


# the raw data


class _Raw(NamedTuple):
    """The raw files of a folder.

    Attributes
    ----------
    entries : tuple of str
        As they are written.
    paths : list of Path
    lengths : list of int or None
        In samples; None where some of them are not there.
    """

    entries: tuple[str, ...]
    paths: list[Path]
    lengths: list[int] | None

    @staticmethod
    def of(source: Path, params: Mapping[str, Any]) -> _Raw:
        """Return the raw files that the parameters of a folder name."""
        entries = data_paths_of(params)
        paths = [resolved(path) for path in resolve_data_paths(source, entries)]
        return _Raw(entries, paths, raw_file_lengths(tuple(paths), params))


class _Piece(NamedTuple):
    """A part of a raw file: samples from `start` to `stop` of `length`."""

    path: Path
    start: int
    stop: int
    length: int


def _pieces(raw: _Raw, session: Session) -> list[_Piece]:
    """Return the parts of raw files that a session is; [] where they are not known."""
    pieces, first = [], 0
    for path, length in zip(raw.paths, raw.lengths or [], strict=False):
        start, stop = max(session.start - first, 0), min(session.stop - first, length)
        if start < stop:
            pieces.append(_Piece(path, start, stop, length))
        first += length
    return pieces


def _params_of_session(
    params: Mapping[str, Any], raw: _Raw, session: Session, part: Path, copy_recording: bool
) -> bytes:
    """Return ``params.py`` of a session, after its raw data were copied if that is wanted."""
    pieces = _pieces(raw, session)
    span = f"Samples {session.start} to {session.stop} of what was sorted as one."
    header = int(params.get("offset", 0)) if pieces else 0
    step = (
        int(params["n_channels_dat"]) * itemsize_of(params.get("dtype", "int16")) if pieces else 0
    )
    if copy_recording and pieces:
        name = _RECORDING if not (part / _RECORDING).exists() else f"session_{_RECORDING}"
        _copy_samples(pieces, part / name, header, step)
        return format_params({**params, "dat_path": name, "offset": 0}, [span])
    if not pieces:
        named = ", ".join(map(repr, raw.entries)) or "nothing"
        comment = f"No raw data file: {named} was not there. Traces and waveforms need its path."
        return format_params({**params, "dat_path": None}, [span, comment])
    whole_ends = all(piece.stop == piece.length for piece in pieces)
    whole_starts = all(piece.start == 0 for piece in pieces)
    if not whole_ends or not (whole_starts or len(pieces) == 1):
        comment = (
            f"No raw data file: the session is a part of {', '.join(p.path.name for p in pieces)}, "
            "and phy reads files to their end. Exported with copy_recording=True it has its own."
        )
        return format_params({**params, "dat_path": None}, [span, comment])
    paths = [piece.path.as_posix() for piece in pieces]
    is_list = isinstance(params["dat_path"], list | tuple) or len(paths) > 1
    changed = {
        "dat_path": paths if is_list else paths[0],
        "offset": header + pieces[0].start * step,
    }
    return format_params({**params, **changed}, [span])


def _copy_samples(pieces: Sequence[_Piece], target: Path, header: int, step: int) -> None:
    """Copy samples of raw files, one after the other, into a new file."""
    with target.open("xb") as out:
        for piece in pieces:
            left = (piece.stop - piece.start) * step
            with piece.path.open("rb") as file:
                file.seek(header + piece.start * step)
                while left > 0:
                    block = file.read(min(left, _BYTES_PER_BLOCK))
                    if not block:
                        raise MissingDataError(f"{piece.path} has become shorter meanwhile")
                    out.write(block)
                    left -= len(block)
