"""Opening ``.npy`` files: memory-mapped, never unpickled, every fault named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import Finding


class Findings(list[Finding]):
    """The findings of one folder, collected while it is read."""

    def error(self, where: str, what: str, advice: str = "") -> None:
        """Add a finding that makes the folder unreadable."""
        self.append(Finding("error", what, where, advice))

    def warning(self, where: str, what: str, advice: str = "") -> None:
        """Add a finding that is worth a look."""
        self.append(Finding("warning", what, where, advice))

    def info(self, where: str, what: str, advice: str = "") -> None:
        """Add a finding that is good to know."""
        self.append(Finding("info", what, where, advice))

    def of(self, severity: str) -> list[Finding]:
        """Give the findings of one severity."""
        return [finding for finding in self if finding.severity == severity]


_COPY_AGAIN = "copy the file again from where it was written"


def open_array(folder: Path, name: str, findings: Findings) -> NDArray | None:
    """Open one array file as a read-only memory map.

    Parameters
    ----------
    folder : Path
    name : str
        File name in the folder.
    findings : Findings
        Faults are added here.

    Returns
    -------
    array or None
        None where the file is absent (no finding) or faulty (a finding of severity "error").
    """
    path = folder / name
    if not path.is_file():
        if path.exists():
            findings.error(name, "is not a file", "remove it or put the array file in its place")
        return None
    try:
        with path.open("rb") as file:
            major = np.lib.format.read_magic(file)[0]
            read_header = (
                np.lib.format.read_array_header_1_0
                if major == 1
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read_header(file)
            data_start = file.tell()
    except (ValueError, OSError, SyntaxError, TypeError, EOFError) as fault:
        findings.error(name, f"is not a readable .npy file: {_one_line(fault)}", _COPY_AGAIN)
        return None
    if dtype.hasobject:
        findings.error(
            name,
            "holds Python objects, expected numbers; it would have to be unpickled, which can run "
            "code, so it was not read",
            "save it again as a numeric array",
        )
        return None
    expected = data_start + dtype.itemsize * int(np.prod(shape, dtype=object))
    found = path.stat().st_size
    if found < expected:
        findings.error(
            name,
            f"is truncated: {found} bytes found, {expected} expected for shape {shape} of {dtype}",
            _COPY_AGAIN,
        )
        return None
    try:
        empty = 0 in shape
        return np.load(path, mmap_mode=None if empty else "r", allow_pickle=False)
    except (ValueError, OSError, MemoryError, OverflowError) as fault:
        findings.error(name, f"cannot be read: {_one_line(fault)}", _COPY_AGAIN)
        return None


def _one_line(fault: BaseException) -> str:
    return " ".join(str(fault).split()) or type(fault).__name__


def as_vector(
    values: NDArray | None, name: str, findings: Findings, length: int | None = None
) -> NDArray | None:
    """Give (n,), (n, 1) or (1, n) numbers as (n,); a finding where they are something else.

    Examples
    --------
    >>> as_vector(np.zeros((3, 1)), "a.npy", Findings()).shape
    (3,)
    """
    if values is None:
        return None
    is_vector = values.ndim == 1 or (values.ndim == 2 and (1 in values.shape or not values.size))
    if not is_vector:
        findings.error(
            name, f"has shape {values.shape}, expected (n,), (n, 1) or (1, n)", _COPY_AGAIN
        )
        return None
    values = values.reshape(-1)
    if values.dtype.kind not in "iufb":
        findings.error(name, f"has dtype {values.dtype}, expected numbers", _COPY_AGAIN)
        return None
    if length is not None and values.size != length:
        findings.error(
            name,
            f"has {values.size} entries, expected {length}",
            "files of different runs are mixed, or one was not written to its end; "
            "copy the whole folder again",
        )
        return None
    return values


def as_integers(values: NDArray | None, name: str, findings: Findings) -> NDArray | None:
    """Give whole numbers of any numeric dtype as integers; a finding where they are not whole.

    Examples
    --------
    >>> as_integers(np.array([1.0, 2.0]), "a.npy", Findings())
    array([1, 2])
    """
    if values is None or values.dtype.kind in "iu":
        return values
    if values.dtype.kind == "b":
        findings.error(name, "has dtype bool, expected whole numbers")
        return None
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64)
    if not np.array_equal(whole, values):
        bad = int(np.flatnonzero((whole != values).ravel())[0])
        findings.error(
            name,
            f"holds {values.ravel()[bad]} at row {bad}, expected whole numbers",
            "restore the file that the sorter wrote",
        )
        return None
    return whole
