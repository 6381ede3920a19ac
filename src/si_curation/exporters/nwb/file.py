"""Files written under a temporary name, read back, and only then given their name."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from packaging.version import Version

from si_curation.errors import (
    FolderNotFoundError,
    NwbExportError,
    OutputExistsError,
    ParameterError,
    SiCurationError,
)
from si_curation.exporters.nwb.sink import Sink
from si_curation.phy.writing import sync_folder, temporary_name

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be replaced anyway
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

_COMPRESSED_FROM = 2048  # elements
_CHUNK_BYTES = 2**20


def resolve_target(path: str | Path, *, must_be_there: bool, overwrite: bool) -> Path:
    """Give the file to write, links resolved; an error if it cannot be.

    Raises
    ------
    OutputExistsError, FolderNotFoundError, ParameterError
    """
    target = Path(path).expanduser().resolve()
    if target.is_dir():
        raise ParameterError(f"{target} is a folder, expected the name of an NWB file")
    if target.suffix != ".nwb":
        raise ParameterError(f"{target} does not end in .nwb, expected the name of an NWB file")
    if must_be_there:
        if not target.is_file():
            raise FolderNotFoundError(
                f"{target} does not exist, expected the NWB file to append to"
            )
    elif target.exists() and not overwrite:
        raise OutputExistsError(f"{target} exists; give another path, or overwrite=True")
    folder = target.parent
    if not folder.is_dir():
        raise FolderNotFoundError(f"{folder} does not exist, expected the folder to write to")
    return target


def check_not_open(path: Path) -> None:
    """Refuse a file that this or another program has open.

    Raises
    ------
    NwbExportError
    """
    import h5py

    if not os.access(path, os.W_OK):
        raise NwbExportError(f"{path} cannot be written: it is read-only")
    if not h5py.is_hdf5(path):
        return  # nothing that HDF5 could hold open
    try:
        if fcntl is None:
            with h5py.File(path, "r+"):
                return
        # HDF5 locks what it opens in this way, in this process too; no byte is touched
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        if fcntl is not None and not isinstance(fault, BlockingIOError):
            return  # a file system without locks
        raise NwbExportError(
            f"{path} is open elsewhere ({' '.join(str(fault).split())}); close it in all programs "
            "and notebooks first"
        ) from None


@contextmanager
def replaced(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Write a file under a temporary name beside the target, then rename it.

    Parameters
    ----------
    target : Path
    overwrite : bool

    Yields
    ------
    Path
        The name to write to.

    Raises
    ------
    NwbExportError
        It could not be written, or not be given its name; the file that was there is as it was.
    """
    part = temporary_name(target)
    try:
        yield part
        if target.exists():
            if not overwrite:
                raise OutputExistsError(f"{target} has come to be meanwhile; give another path")
            check_not_open(target)
            os.chmod(part, target.stat().st_mode & 0o7777)
        os.replace(part, target)
    except (SiCurationError, KeyboardInterrupt):
        raise
    except Exception as fault:
        text = " ".join(str(fault).split()) or type(fault).__name__
        raise NwbExportError(
            f"{target} could not be written, nothing was changed: {text}"
        ) from fault
    finally:
        part.unlink(missing_ok=True)
    sync_folder(target.parent)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an NWB file to read; closed in any case.

    Yields
    ------
    pynwb.NWBHDF5IO

    Raises
    ------
    ParameterError
        It is no NWB file that pynwb can open, or another program has it open for writing.
    """
    from pynwb import NWBHDF5IO

    with _quiet():
        try:
            io = NWBHDF5IO(str(path), mode="r")
        except Exception as fault:  # what pynwb raises on broken files is of many kinds
            raise ParameterError(
                f"{path} cannot be opened as an NWB file: {' '.join(str(fault).split())}"
            ) from None
        try:
            yield io
        finally:
            io.close()


@contextmanager
def written(path: Path, mode: Literal["w", "r+"]) -> Iterator[Any]:
    """Open a file to write, new or to change; what could not be written is raised at the end.

    Yields
    ------
    pynwb.NWBHDF5IO

    Raises
    ------
    OSError
    """
    import h5py
    from pynwb import NWBHDF5IO

    sink = Sink(path, "x" if mode == "w" else mode)
    try:
        with (
            _quiet(),
            h5py.File(sink, mode) as file,
            # specifications of extensions are in the file that is changed
            NWBHDF5IO(file=file, mode=mode, load_namespaces=mode == "r+") as io,
        ):
            yield io
            if mode == "r+":
                drop_superseded_specifications(file)
    finally:
        sink.close()
    sink.check()


def drop_superseded_specifications(file: Any) -> None:
    """Remove the schemas that a file was of before it was upgraded.

    pynwb adds the current ones beside those that are there, and its validator then mixes them.

    Parameters
    ----------
    file : h5py.File
        Open for writing. Schemas of extensions are left alone.
    """
    cached = file.get("specifications")
    for name in ("core", "hdmf-common", "hdmf-experimental"):
        if cached is None or name not in cached:
            continue
        ascending = sorted(cached[name], key=Version)
        for version in ascending[:-1]:
            del cached[name][version]


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Ignoring .* cached namespace")
        yield


def read_nwbfile(io: Any, path: Path) -> Any:
    """Read an opened file.

    Raises
    ------
    ParameterError
    """
    try:
        return io.read()
    except Exception as fault:  # what pynwb raises on broken files is of many kinds
        raise ParameterError(
            f"{path} cannot be read as an NWB file: {type(fault).__name__}: "
            f"{' '.join(str(fault).split())}"
        ) from fault


def compress_columns(table: Any) -> None:
    """Let the large columns of a table be stored in chunks, compressed.

    gzip 4 with shuffle, in chunks of 1 MiB, from 2,048 elements on.
    """
    from hdmf.backends.hdf5 import H5DataIO

    for column in table.columns:
        data = column.data
        if not isinstance(data, np.ndarray) or data.size < _COMPRESSED_FROM:
            continue
        row_bytes = data.itemsize * int(np.prod(data.shape[1:], dtype=np.int64))
        rows = max(1, min(len(data), _CHUNK_BYTES // max(row_bytes, 1)))
        column.set_data_io(
            H5DataIO,
            {
                "compression": "gzip",
                "compression_opts": 4,
                "shuffle": True,
                "chunks": (rows, *data.shape[1:]),
            },
        )
