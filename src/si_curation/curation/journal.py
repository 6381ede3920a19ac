"""The journal of a curation session on disk: one JSON line for each step.

A line is on disk before the step returns. If the program was killed while it wrote one, the
incomplete last line is dropped when the journal is read.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.errors import (
    FolderNotFoundError,
    OutputExistsError,
    ParameterError,
    SiCurationWarning,
)

FORMAT = "si_curation journal"
VERSION = 1


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
    spikes = analyzer.sorting.to_spike_vector()
    digest.update(repr((spikes.size, [str(i) for i in analyzer.unit_ids])).encode())
    for field in ("sample_index", "unit_index", "segment_index"):
        digest.update(np.ascontiguousarray(spikes[field], dtype="<i8").data)
    digest.update(np.ascontiguousarray(spike_template_ids, dtype="<i8").data)
    return digest.hexdigest()


class Journal:
    """Appends steps to a file; each is on disk when `append` returns.

    Parameters
    ----------
    path : Path
        Must not exist, unless `continued_at` is given.
    belongs_to : str
        Fingerprint of the spikes.
    continued_at : int, optional
        Continue an existing file after this many bytes. The rest, an incomplete line, is cut off.

    Raises
    ------
    OutputExistsError
        The file exists, and `continued_at` is not given.

    Warns
    -----
    SiCurationWarning
        The last line was incomplete; it is dropped.
    """

    def __init__(self, path: Path, belongs_to: str, continued_at: int | None = None) -> None:
        self.path = path
        if continued_at is not None:
            if path.stat().st_size > continued_at:
                warnings.warn(
                    f"{path}: the last line is incomplete; the step in it is dropped",
                    SiCurationWarning,
                    stacklevel=3,
                )
                os.truncate(path, continued_at)
            return
        if path.exists():
            raise OutputExistsError(
                f"{path} exists; continue it with CurationSession.resume, or give another journal="
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self.append({"format": FORMAT, "version": VERSION, "fingerprint": belongs_to})

    def append(self, entry: dict[str, Any]) -> None:
        """Write one line and wait until it is on disk."""
        line = json.dumps(entry, ensure_ascii=False, allow_nan=True) + "\n"
        content = line.encode()
        with self.path.open("ab") as file:
            size = file.seek(0, os.SEEK_END)
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self.path, size)  # no incomplete line in the middle of the file
                raise


def read_journal(path: str | Path, belongs_to: str) -> tuple[list[dict[str, Any]], int]:
    """Read the steps of a journal, without an incomplete last line.

    Parameters
    ----------
    path : str or Path
    belongs_to : str
        Fingerprint of the spikes that the steps will be applied to.

    Returns
    -------
    entries : list of dict
    size : int
        Bytes of all complete lines.

    Raises
    ------
    FolderNotFoundError
        The file does not exist.
    ParameterError
        It is not a journal, or it belongs to other spikes.
    """
    path = Path(path)
    if not path.is_file():
        raise FolderNotFoundError(f"{path} does not exist, expected a journal")
    content = path.read_bytes()
    whole, end, _ = content.rpartition(b"\n")
    entries = []
    for number, line in enumerate(whole.split(b"\n") if whole else [], 1):
        try:
            entries.append(json.loads(line))
        except ValueError as fault:
            raise ParameterError(
                f"{path}: line {number} is not a journal entry ({fault}); restore the file"
            ) from None
    if not entries or not isinstance(entries[0], dict) or entries[0].get("format") != FORMAT:
        raise ParameterError(f"{path} is not a journal of a curation session")
    if entries[0].get("version") != VERSION:
        raise ParameterError(
            f"{path} has journal version {entries[0].get('version')}, expected {VERSION}"
        )
    if entries[0].get("fingerprint") != belongs_to:
        raise ParameterError(
            f"{path} belongs to other spikes (times, units or templates differ); "
            "give the analyzer that the session started with"
        )
    return entries[1:], len(whole) + len(end)


def pack_parts(part_of_spike: NDArray[np.integer]) -> dict[str, Any]:
    """Return the part of each spike as text that JSON can hold."""
    dtype = np.min_scalar_type(int(part_of_spike.max(initial=0)))
    packed = zlib.compress(part_of_spike.astype(dtype.newbyteorder("<")).tobytes())
    return {
        "dtype": dtype.newbyteorder("<").str,
        "size": int(part_of_spike.size),
        "zlib_base64": base64.b64encode(packed).decode("ascii"),
    }


def unpack_parts(packed: dict[str, Any]) -> NDArray[np.int64]:
    """Return the part of each spike from the text of `pack_parts`.

    Examples
    --------
    >>> unpack_parts(pack_parts(np.array([0, 2, 1])))
    array([0, 2, 1])
    """
    content = zlib.decompress(base64.b64decode(packed["zlib_base64"]))
    return np.frombuffer(content, dtype=packed["dtype"]).astype(np.int64)
