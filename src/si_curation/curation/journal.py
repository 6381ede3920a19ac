"""The journal of a curation session on disk: one JSON line for each step.

A line is on disk before the step returns. If the program was killed while it wrote one, the
incomplete last line is dropped when the journal is read. Each line has a hash of the line before
(``previous``), so that one that is missing, doubled or changed is noticed. Steps that are done
together, all or none, are one line: ``{"operation": "together", "steps": [...]}``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import local_path
from si_curation.documents import parse_document
from si_curation.errors import (
    FolderNotFoundError,
    OutputExistsError,
    ParameterError,
    SiCurationWarning,
)
from si_curation.files import LineFile, sync_folder

FORMAT = "si_curation journal"
#: Of more spikes nothing is unpacked; a sorting has less.
_MAX_PARTS = 10**8
VERSION = 2  # of version 1, lines had no hash of the line before
TOGETHER = "together"

_PREVIOUS = "previous"
_ADVICE = "end that session with its close(), or give another journal="


def fingerprint(analyzer: SortingAnalyzer, spike_template_ids: NDArray[np.integer]) -> str:
    """Return a hash of the spikes that a journal belongs to: times, units and templates.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    spike_template_ids : array (n_spikes,) integer

    Returns
    -------
    str
        Hexadecimal BLAKE2b, 32 characters.
    """
    digest = hashlib.blake2b(digest_size=16)
    spikes = spike_vector_of(analyzer.sorting)
    digest.update(repr((spikes.size, [str(i) for i in analyzer.unit_ids])).encode())
    for field in ("sample_index", "unit_index", "segment_index"):
        digest.update(np.ascontiguousarray(spikes[field], dtype="<i8").data)
    digest.update(np.ascontiguousarray(spike_template_ids, dtype="<i8").data)
    return digest.hexdigest()


class Journal:
    """Appends steps to a file, as its only writer; each is on disk when `append` returns.

    Parameters
    ----------
    file : LineFile
    last_line : bytes
        The last complete line in it; empty in a new file.

    See Also
    --------
    new_journal, continued_journal : how to get one.
    """

    def __init__(self, file: LineFile, last_line: bytes = b"") -> None:
        self.path = file.path
        self._file = file
        self._previous = _hash_of(last_line) if last_line else None

    def append(self, entry: dict[str, Any]) -> None:
        """Write one line and wait until it is on disk.

        Raises
        ------
        ParameterError
            Another program changed, moved or deleted the file.
        OSError
            It could not be written; the file is as before.
        """
        whole = entry if self._previous is None else {**entry, _PREVIOUS: self._previous}
        line = json.dumps(whole, ensure_ascii=False, allow_nan=True).encode("utf-8")
        self._file.append(line + b"\n")
        self._previous = _hash_of(line)

    def append_together(self, entries: Sequence[dict[str, Any]]) -> None:
        """Write steps that are done all or none, as one line."""
        if len(entries) == 1:
            self.append(entries[0])
        elif entries:
            self.append({"operation": TOGETHER, "steps": list(entries)})

    def cut(self, size: int) -> None:
        """Drop an incomplete last line.

        Parameters
        ----------
        size : int
            Bytes of the complete lines.

        Warns
        -----
        SiCurationWarning
            There was one.
        """
        if self.path.stat().st_size > size:
            warnings.warn(
                f"{self.path}: the last line is incomplete; the step in it is dropped",
                SiCurationWarning,
                stacklevel=3,
            )
            self._file.cut(size)

    def close(self) -> None:
        """Let others write to the file; can be called twice."""
        self._file.close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ParameterError(
            f"a session that writes to the journal {self.path} cannot be copied or pickled: a "
            "journal has one writer"
        )


def new_journal(path: str | Path, belongs_to: str) -> Journal:
    """Make a journal.

    Parameters
    ----------
    path : str or Path
        Must not exist.
    belongs_to : str
        Fingerprint of the spikes.

    Raises
    ------
    OutputExistsError
    """
    path = local_path(path, "journal")
    made = next((one for one in reversed(path.parents) if not one.exists()), None)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = LineFile(path, new=True, advice=_ADVICE)
    except FileExistsError:
        raise OutputExistsError(
            f"{path} exists; continue it with CurationSession.resume, or give another journal="
        ) from None
    journal = Journal(file)
    try:
        journal.append({"format": FORMAT, "version": VERSION, "fingerprint": belongs_to})
    except BaseException:
        journal.close()
        path.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    if made is not None:
        sync_folder(made.parent)
    return journal


def continued_journal(
    path: str | Path, belongs_to: str
) -> tuple[Journal, list[dict[str, Any]], int]:
    """Open a journal that exists, to go on with it; nothing is changed.

    Parameters
    ----------
    path : str or Path
    belongs_to : str
        Fingerprint of the spikes that the steps will be applied to.

    Returns
    -------
    journal : Journal
    entries : list of dict
        Its steps, without an incomplete last line.
    size : int
        Bytes of all complete lines.

    Raises
    ------
    FolderNotFoundError
        The file does not exist.
    InUseError
        Another session writes to it.
    ParameterError
        It is not a journal, it is damaged, it belongs to other spikes, or it may not be written.
    """
    path = local_path(path, "journal")
    if not path.is_file():
        raise FolderNotFoundError(f"{path} does not exist, expected a journal")
    try:
        file = LineFile(path, new=False, advice=_ADVICE)
    except PermissionError:
        raise ParameterError(
            f"{path} may not be written to: allow it, or resume from a copy of it"
        ) from None
    try:
        content = file.read()
        entries = _entries_of(path, content, belongs_to)
    except BaseException:
        file.close()
        raise
    size = content.rfind(b"\n") + 1
    last_line = content[:size].rstrip(b"\n").rpartition(b"\n")[2]
    return Journal(file, last_line), entries, size


def read_journal(path: str | Path, belongs_to: str) -> list[dict[str, Any]]:
    """Read the steps of a journal that a session may be writing to.

    Parameters
    ----------
    path : str or Path
    belongs_to : str
        Fingerprint of the spikes that the steps are of.

    Returns
    -------
    list of dict
        Without an incomplete last line.

    Raises
    ------
    FolderNotFoundError, ParameterError
        As of `continued_journal`.
    """
    path = local_path(path, "journal")
    if not path.is_file():
        raise FolderNotFoundError(f"{path} does not exist, expected a journal")
    return _entries_of(path, path.read_bytes(), belongs_to)


def _entries_of(path: Path, content: bytes, belongs_to: str) -> list[dict[str, Any]]:
    """Return the steps in a journal; raise if there is anything wrong with it."""
    from si_curation.curation.journal_entries import check_entry

    lines = content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entry = parse_document(line, "it")
        except ParameterError as fault:
            raise ParameterError(
                f"{path}: line {number} is not a journal entry ({fault}); restore the file"
            ) from None
        entries.append(entry)
    if not entries or not isinstance(entries[0], dict) or entries[0].get("format") != FORMAT:
        raise ParameterError(f"{path} is not a journal of a curation session")
    version = entries[0].get("version")
    if version not in (1, VERSION):
        raise ParameterError(f"{path} has journal version {version}, expected {VERSION}")
    if entries[0].get("fingerprint") != belongs_to:
        raise ParameterError(
            f"{path} belongs to other spikes (times, units or templates differ); "
            "give the analyzer that the session started with"
        )
    for number, entry in enumerate(entries[1:], 2):
        check_entry(entry, f"{path}: line {number}")
    for number, (before, entry) in enumerate(zip(lines, entries[1:], strict=False), 2):
        found = entry.get(_PREVIOUS) if isinstance(entry, dict) else None
        if found != _hash_of(before) and not (version == 1 and found is None):
            raise ParameterError(
                f"{path}: line {number} does not follow line {number - 1}: a line is missing, "
                "doubled or was changed; restore the file"
            )
    return entries[1:]


def _hash_of(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:16]


def pack_parts(part_of_spike: NDArray[np.integer]) -> dict[str, Any]:
    """Return the part of each spike as text that JSON can hold."""
    dtype = np.min_scalar_type(int(part_of_spike.max(initial=0)))
    packed = zlib.compress(part_of_spike.astype(dtype.newbyteorder("<")).tobytes())
    return {
        "dtype": dtype.newbyteorder("<").str,
        "size": int(part_of_spike.size),
        "zlib_base64": base64.b64encode(packed).decode("ascii"),
    }


def unpack_parts(packed: Mapping[str, Any], num_spikes: int | None = None) -> NDArray[np.int64]:
    """Return the part of each spike from the text of `pack_parts`.

    Parameters
    ----------
    packed : mapping
    num_spikes : int, optional
        How many spikes there are, where that is known. No more is unpacked than they need.

    Raises
    ------
    ParameterError
        It is of another number of spikes, or not what `pack_parts` writes.

    Examples
    --------
    >>> unpack_parts(pack_parts(np.array([0, 2, 1])))
    array([0, 2, 1])
    """
    size = packed["size"] if num_spikes is None else num_spikes
    if packed["size"] != size or not 0 <= size <= _MAX_PARTS:
        raise ParameterError(f"the parts are of {packed['size']} spikes, expected {size}")
    dtype = np.dtype(packed["dtype"])
    expected = size * dtype.itemsize
    try:
        content = base64.b64decode(packed["zlib_base64"], validate=True)
        stream = zlib.decompressobj()
        unpacked = stream.decompress(content, expected + 1)
        unpacked += stream.decompress(stream.unconsumed_tail, 1)
    except (ValueError, zlib.error) as fault:
        raise ParameterError(f"the parts cannot be unpacked: {fault}") from None
    if dtype.kind != "u" or len(unpacked) != expected or not stream.eof:
        raise ParameterError(f"the parts unpack to other than {expected} bytes of whole numbers")
    return np.frombuffer(unpacked, dtype=dtype).astype(np.int64)
