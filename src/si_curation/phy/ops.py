"""``ops.npy`` of Kilosort 4: a pickled dict, read by an unpickler that can build only data.

Pickles are programs. Two things keep this one harmless: no class or function of the pickle's choice
is ever looked up (`_DataUnpickler.find_class`), and no numpy object is built by numpy's own
``__setstate__``, which trusts its input down to raw pointers: stand-ins collect the parts, and
`_finish` makes the arrays once the pickle has been read.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections import OrderedDict
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from si_curation.phy.arrays import Findings, one_line, read_npy_header

NAME = "ops.npy"
_MAX_TUPLES = 10_000  # hashing tuples nested deeper than the stack is a crash; real files: 100
_DTYPE_CODE = re.compile(r"[biufcSUO]\d{1,9}")  # numbers, text, objects
_LEAVES = (type(None), bool, int, float, complex, str, bytes, bytearray, np.generic)


def read_ops(folder: Path, findings: Findings) -> dict[str, Any] | None:
    """Read ``ops.npy`` without running anything from it.

    Parameters
    ----------
    folder : Path
    findings : Findings
        A pickle that asks for anything but arrays, scalars and plain containers is an error.

    Returns
    -------
    dict or None
        None where there is no file or it was refused.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        file = io.BytesIO(path.read_bytes())
        _, dtype = read_npy_header(file)
        if not dtype.hasobject:
            raise ValueError(f"dtype {dtype}, expected a pickled dict")
        value = load_data(file)
        if isinstance(value, np.ndarray):
            value = value.item()
        if not isinstance(value, dict):
            raise ValueError(f"holds {type(value).__name__}, expected a dict")
    except Exception as fault:  # a hostile pickle can raise anything
        too_deep = isinstance(fault, RecursionError)  # its own words depend on the caller
        reason = "it is nested too deeply" if too_deep else one_line(fault)
        findings.error(
            NAME,
            f"was not read: {reason}; nothing in it was run",
            "do not load it with other programs if you do not know who wrote it",
        )
        return None
    return value


def load_data(file: io.BytesIO) -> Any:
    """Unpickle plain containers, numbers, text, paths (as text), numpy arrays and scalars.

    Parameters
    ----------
    file : BytesIO
        At the start of the pickle.

    Raises
    ------
    pickle.UnpicklingError
        It holds anything else. Damaged pickles raise whatever they lead to.
    """
    start = file.tell()
    _check_opcodes(file)
    file.seek(start)
    return _finish(_DataUnpickler(file).load(), {})


def _check_opcodes(file: io.BytesIO) -> None:
    """Refuse what would exhaust the memory or the stack."""
    num_tuples = 0
    argument: Any
    for position, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name.endswith("PUT") and argument > position + 1:  # the memo grows to that size
            raise pickle.UnpicklingError(f"it numbers its objects up to {argument}")
        if opcode.name.startswith("EXT"):  # looked up without find_class
            raise pickle.UnpicklingError("it asks for a registered class")
        num_tuples += opcode.name.startswith("TUPLE")
        if num_tuples > _MAX_TUPLES:
            raise pickle.UnpicklingError(f"it has more than {_MAX_TUPLES} tuples")


class _Dtype:
    """Stand-in for a dtype of numbers, text or objects."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, code: object, *_: object):
        if not isinstance(code, str) or not _DTYPE_CODE.fullmatch(code):
            raise pickle.UnpicklingError(f"it has a dtype {code!r}, which is not plain data")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        _, byte_order, subarray, names, fields, *_ = state
        if subarray is not None or names is not None or fields is not None:
            raise pickle.UnpicklingError("it has a structured dtype, which is not plain data")
        self.dtype = self.dtype.newbyteorder(byte_order)


class _Array:
    """Stand-in for an array: its parts, checked against each other."""

    __hash__ = None  # type: ignore[assignment]
    shape: tuple[int, ...] = (0,)
    dtype = np.dtype(np.float64)
    order: Literal["C", "F"] = "C"
    data: Any = b""
    axes: Any = None

    def __setstate__(self, state: Any) -> None:
        self.set(*state[-4:])  # older ones have no version in front

    def set(self, shape: Any, dtype: Any, is_fortran: Any, data: Any) -> None:
        whole = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if not whole or not isinstance(dtype, _Dtype):
            raise pickle.UnpicklingError("it has an array without shape or dtype")
        holds_objects = dtype.dtype.kind == "O"
        expected = math.prod(shape) * (1 if holds_objects else dtype.dtype.itemsize)
        kinds = list if holds_objects else (bytes, bytearray)
        if not isinstance(data, kinds) or len(data) != expected:
            raise pickle.UnpicklingError(f"it has an array whose data do not fit shape {shape}")
        self.shape, self.dtype, self.data = shape, dtype.dtype, data
        self.order = "F" if is_fortran else "C"

    def finish(self, finished: dict[int, Any]) -> NDArray:
        if self.dtype.kind != "O":
            if not self.data:
                return np.empty(self.shape, self.dtype)
            flat = np.frombuffer(self.data, self.dtype).copy()
            array = flat.reshape(self.shape, order=self.order)
            return array if self.axes is None else array.transpose(self.axes)
        flat = np.empty(len(self.data), dtype=object)
        array = flat.reshape(self.shape, order=self.order)
        finished[id(self)] = array
        for i, value in enumerate(self.data):
            flat[i] = _finish(value, finished)
        return array


def _finish(value: Any, finished: dict[int, Any]) -> Any:
    """Copy nested containers without their stand-ins; `finished`: what became of each object."""
    if isinstance(value, _LEAVES):
        return value
    if id(value) in finished:
        return finished[id(value)]
    made: Any
    if isinstance(value, dict):
        made = finished[id(value)] = type(value)()  # a new one: a pickle can set attributes on it
        for key in value:
            made[key] = _finish(value[key], finished)
    elif isinstance(value, list):
        made = finished[id(value)] = []
        made.extend(_finish(entry, finished) for entry in value)
    elif isinstance(value, tuple):
        finished[id(value)] = tuple(_finish(entry, finished) for entry in value)
    elif isinstance(value, set | frozenset):
        finished[id(value)] = type(value)(_finish(entry, finished) for entry in value)
    elif isinstance(value, _Array):
        finished[id(value)] = value.finish(finished)
    elif isinstance(value, _Dtype):
        finished[id(value)] = value.dtype
    else:
        raise pickle.UnpicklingError(f"it holds a {type(value).__name__}, which is not plain data")
    return finished[id(value)]


class _DataUnpickler(pickle.Unpickler):
    """Builds stand-ins, plain containers and numbers; anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        # bound methods: unlike functions and classes, a pickle can set nothing on them
        module = module.replace("numpy.core.", "numpy._core.").replace("__builtin__", "builtins")
        admitted: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): "numpy.ndarray",  # only ever an argument of _reconstruct
            ("numpy", "dtype"): self._dtype,
            ("numpy._core.multiarray", "_reconstruct"): self._array,
            ("numpy._core.multiarray", "scalar"): self._scalar,
            ("numpy._core.numeric", "_frombuffer"): self._array_of_buffer,
            ("collections", "OrderedDict"): OrderedDict,
            ("builtins", "set"): set,
            ("builtins", "frozenset"): frozenset,
            ("builtins", "complex"): complex,
            ("builtins", "bytes"): self._bytes,
            ("builtins", "bytearray"): self._bytearray,
            ("_codecs", "encode"): self._encode,
        }
        if (module, name) in admitted:
            return admitted[module, name]
        if module in ("pathlib", "pathlib._local"):
            if name in ("PosixPath", "PurePosixPath", "Path"):
                return self._posix_path
            if name in ("WindowsPath", "PureWindowsPath"):
                return self._windows_path
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not plain data")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")

    def _dtype(self, *arguments: Any) -> _Dtype:
        return _Dtype(*arguments)

    def _array(self, kind: Any, *_: Any) -> _Array:
        if kind != "numpy.ndarray":
            raise pickle.UnpicklingError("it has an array of an unknown class")
        return _Array()

    def _array_of_buffer(
        self, data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None
    ) -> _Array:
        array = _Array()
        array.set(shape, dtype, order == "F", data)
        if array.dtype.kind == "O":
            raise pickle.UnpicklingError("it has objects in a buffer")
        array.axes = axes
        return array

    def _scalar(self, dtype: Any, data: Any = b"") -> Any:
        array = _Array()
        array.set((), dtype, False, data)
        if array.dtype.kind == "O":
            raise pickle.UnpicklingError("it has a scalar that is an object")
        return array.finish({})[()] if data else array.dtype.type()

    def _bytes(self) -> bytes:
        return b""  # old protocols write only empty bytes by their class

    def _bytearray(self, content: bytes = b"") -> bytearray:
        return bytearray(memoryview(content))

    def _encode(self, text: Any, encoding: Any = "latin1") -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError("it encodes text in an unexpected way")
        return text.encode("latin1")

    def _posix_path(self, *parts: str) -> str:
        return str(PurePosixPath(*parts))

    def _windows_path(self, *parts: str) -> str:
        return str(PureWindowsPath(*parts))
