"""``ops.npy`` of Kilosort 4: a pickled dict, read by an unpickler that can build only data."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from si_curation.phy.arrays import Findings, _one_line

NAME = "ops.npy"


def _path_as_text(*parts: str) -> str:
    """Stand in for the pathlib classes: a pickled path becomes its text."""
    return "/".join(parts).replace("//", "/")


def _numpy_function(name: str) -> Any:
    try:
        from numpy._core import multiarray
    except ImportError:  # numpy 1
        from numpy.core import multiarray  # type: ignore[no-redef]
    return getattr(multiarray, name)


def _encode_latin1(text: str, encoding: str = "latin1") -> bytes:
    """Stand in for ``_codecs.encode``, by which old pickles write bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("unexpected encoding")
    return text.encode("latin1")


_NUMPY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encode_latin1,
    **{
        (module, name): _path_as_text
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")
    },
}


class _DataUnpickler(pickle.Unpickler):
    """Builds numpy arrays, numpy scalars and plain containers; anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _NUMPY_MODULES and name in ("_reconstruct", "scalar"):
            return _numpy_function(name)
        if (module, name) in _ADMITTED:
            return _ADMITTED[module, name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not plain data")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def read_ops(folder: Path, findings: Findings) -> dict[str, Any] | None:
    """Read ``ops.npy`` without running anything from it.

    Parameters
    ----------
    folder : Path
    findings : Findings
        A pickle that asks for anything but arrays, scalars and plain containers is a finding of
        severity "error".

    Returns
    -------
    dict or None
        None where there is no file or it was refused.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    advice = (
        "do not load it with other programs if you do not know who wrote it; "
        "rename it to read the folder without it"
    )
    try:
        content = path.read_bytes()
        file = io.BytesIO(content)
        major = np.lib.format.read_magic(file)[0]
        read_header = (
            np.lib.format.read_array_header_1_0
            if major == 1
            else np.lib.format.read_array_header_2_0
        )
        _, _, dtype = read_header(file)
        if not dtype.hasobject:
            raise ValueError(f"dtype {dtype}, expected a pickled dict")
        value = _DataUnpickler(file).load()
        if isinstance(value, np.ndarray):
            value = value.item()
        if not isinstance(value, dict):
            raise ValueError(f"holds {type(value).__name__}, expected a dict")
    except Exception as fault:  # a hostile pickle can raise anything
        findings.error(NAME, f"was not read: {_one_line(fault)}; nothing in it was run", advice)
        return None
    return value
