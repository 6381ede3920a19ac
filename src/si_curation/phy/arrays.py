"""Opening ``.npy`` files: memory-mapped, never unpickled, every fault named."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import Finding

Severity = Literal["error", "warning", "info"]
LEFT_OUT = "left_out"  # in the evidence of what is wrong with a file that was not used


class Findings(list[Finding]):
    """The findings of one folder, collected while it is read.

    Attributes
    ----------
    check : str
        Name of the check that is at work; findings take it over.
    """

    check = ""
    _without: str | None = None

    @contextmanager
    def optional(self, without: str) -> Iterator[None]:
        """Make warnings of errors: the folder can be read without the files that have them.

        Parameters
        ----------
        without : str
            What is done without the file, such as "it is read without amplitudes".
        """
        before, self._without = self._without, without
        try:
            yield
        finally:
            self._without = before

    def error(self, where: str, what: str, advice: str = "", **evidence: Any) -> None:
        """Add a finding that makes the folder unreadable, or a file of it that is `optional`."""
        if self._without is None:
            self._add("error", where, what, advice, evidence)
        else:
            self.left_out(where, what, self._without, advice, **evidence)

    def left_out(
        self, where: str, what: str, without: str, advice: str = "", **evidence: Any
    ) -> None:
        """Add a warning of something in a file that is not used, and what is done without it."""
        evidence[LEFT_OUT] = advice  # what to do where the file is needed after all
        self._add("warning", where, what, f"{without}; {advice}" if advice else without, evidence)

    def warning(self, where: str, what: str, advice: str = "", **evidence: Any) -> None:
        """Add a finding that is worth a look."""
        self._add("warning", where, what, advice, evidence)

    def info(self, where: str, what: str, advice: str = "", **evidence: Any) -> None:
        """Add a finding that is good to know."""
        self._add("info", where, what, advice, evidence)

    def _add(
        self, severity: Severity, where: str, what: str, advice: str, evidence: dict[str, Any]
    ) -> None:
        # names of files and what is in them can hold line ends of every kind
        where, what, advice = (" ".join(text.splitlines()) for text in (where, what, advice))
        self.append(Finding(severity, what, where, advice, self.check, evidence))

    def with_severity(self, severity: Severity) -> list[Finding]:
        """Return the findings of one severity."""
        return [finding for finding in self if finding.severity == severity]


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # of an object in memory: another one each time
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
            shape, dtype = read_npy_header(file)
            data_start = file.tell()
    except PermissionError as fault:
        findings.error(name, f"cannot be opened: {one_line(fault)}", "make it readable for you")
        return None
    except Exception as fault:  # numpy's header reader raises whatever the bytes lead to
        findings.error(name, f"is not a readable .npy file: {one_line(fault)}", _COPY_AGAIN)
        return None
    if dtype.hasobject:
        findings.error(
            name,
            "holds Python objects, expected numbers; it would have to be unpickled, which can run "
            "code, so it was not read",
            "save it again as a numeric array",
        )
        return None
    cut = _how_truncated(path, data_start, shape, dtype)
    if cut is not None:
        findings.error(name, cut, _COPY_AGAIN)
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 2 wrote the header, and such
            array = np.load(path, mmap_mode=None if 0 in shape else "r", allow_pickle=False)
    except (ValueError, OSError, MemoryError, OverflowError) as fault:
        findings.error(name, f"cannot be read: {one_line(fault)}", _COPY_AGAIN)
        return None
    array = _as_native(array)
    array.flags.writeable = False
    return array


def check_whole(path: Path, name: str, findings: Findings) -> None:
    """Find an array file that ends before its data do; other faults of it are no concern here."""
    try:
        with path.open("rb") as file:
            shape, dtype = read_npy_header(file)
            cut = _how_truncated(path, file.tell(), shape, dtype)
    except Exception as fault:  # numpy's header reader raises whatever the bytes lead to
        cut = None if path.stat().st_size else f"is truncated: {one_line(fault)}"
    if cut is not None:
        findings.error(name, cut, _COPY_AGAIN)


def _how_truncated(
    path: Path, data_start: int, shape: tuple[int, ...], dtype: np.dtype
) -> str | None:
    """Return what is wrong with the size of an array file; None where its data are all there."""
    expected = data_start + dtype.itemsize * int(np.prod(shape, dtype=object))
    found = path.stat().st_size
    if found >= expected or dtype.hasobject:
        return None
    return f"is truncated: {found} bytes found, {expected} expected for shape {shape} of {dtype}"


def read_npy_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and dtype of a ``.npy`` file that is open at its start, and go to its data."""
    start = file.read(len(np.lib.format.MAGIC_PREFIX))
    if start != np.lib.format.MAGIC_PREFIX:
        raise ValueError(f"it starts with {start!r}" if start else "it has 0 bytes")
    file.seek(-len(start), io.SEEK_CUR)
    major = np.lib.format.read_magic(file)[0]
    read_header = (
        np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shape, _, dtype = read_header(file)
    if any(length < 0 for length in shape):
        raise ValueError(f"shape {shape} in its header")
    return shape, dtype


def _as_native(array: NDArray) -> NDArray:
    """Copy what numba cannot read: foreign byte orders, half and long floats."""
    dtype = array.dtype.newbyteorder("=")
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        dtype = np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)
    if dtype == array.dtype:
        return array
    with np.errstate(over="ignore"):
        return np.array(array, dtype=dtype)


def one_line(fault: BaseException) -> str:
    """Return the text of an error without line breaks and addresses of memory."""
    text = " ".join(str(fault).split()) or type(fault).__name__
    return shortened(_ADDRESS.sub("", text))


def shortened(text: str, width: int = 200) -> str:
    """Cut a text that a damaged file may have made very long.

    Examples
    --------
    >>> shortened("abcdef", width=4)
    'abcd...'
    """
    return text if len(text) <= width else text[:width] + "..."


def as_vector(
    values: NDArray | None,
    name: str,
    findings: Findings,
    length: int | None = None,
    as_in: str = "spike_times.npy",
) -> NDArray | None:
    """Return (n,), (n, 1) or (1, n) numbers as (n,); a finding where they are something else.

    Where a `length` is expected, `as_in` names the file that it comes from.

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
            f"has {values.size} entries, expected {length} as in {as_in}",
            "files of different runs are mixed, or one was not written to its end; "
            "copy the whole folder again",
        )
        return None
    return values


def as_integers(values: NDArray | None, name: str, findings: Findings) -> NDArray | None:
    """Return whole numbers of any numeric dtype as integers; a finding where they are not.

    Examples
    --------
    >>> as_integers(np.array([1.0, 2.0]), "a.npy", Findings())
    array([1, 2])
    """
    if values is None or values.dtype.kind in "iu":
        return values
    if values.dtype.kind == "b":
        findings.error(
            name, "has dtype bool, expected whole numbers", "restore the file that the sorter wrote"
        )
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


def as_floats(values: NDArray | None, name: str, findings: Findings) -> NDArray[np.floating] | None:
    """Return numbers as floats, whole numbers too; a finding where they are something else.

    Examples
    --------
    >>> as_floats(np.array([1, 2], dtype=np.int16), "a.npy", Findings())
    array([1., 2.], dtype=float32)
    """
    if values is None or values.dtype.kind == "f":
        return values
    if values.dtype.kind not in "iu":
        findings.error(
            name,
            f"has dtype {values.dtype}, expected numbers",
            "restore the file that the sorter wrote",
        )
        return None
    return values.astype(float_dtype(values.dtype))


def float_dtype(dtype: np.dtype) -> np.dtype:
    """Return the floats that hold numbers of a dtype: itself where it is one.

    Examples
    --------
    >>> float_dtype(np.dtype("int16")), float_dtype(np.dtype("int32"))
    (dtype('float32'), dtype('float64'))
    """
    if dtype.kind == "f":
        return dtype
    return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
