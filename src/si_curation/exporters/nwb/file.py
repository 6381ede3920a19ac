"""Files written under a temporary name, read back, and only then given their name."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from packaging.version import Version

from si_curation.checks import local_path
from si_curation.errors import (
    FolderNotFoundError,
    NwbExportError,
    ParameterError,
    SiCurationError,
)
from si_curation.exporters.nwb.metadata import MOMENTS
from si_curation.exporters.nwb.sink import Sink
from si_curation.files import check_output_file, is_locked, replaced_file

logger = logging.getLogger(__name__)


def resolve_target(path: str | Path, *, must_be_there: bool, overwrite: bool) -> Path:
    """Return the file to write, with links resolved.

    Raises
    ------
    OutputExistsError, FolderNotFoundError, ParameterError
    """
    target = local_path(path).resolve()
    check_output_file(target, overwrite or must_be_there, kind="an NWB file", suffixes=(".nwb",))
    if must_be_there and not target.is_file():
        raise FolderNotFoundError(f"{target} does not exist, expected the NWB file to append to")
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
    locked = is_locked(path)
    if locked is None:  # Windows, where HDF5 cannot open a file that is open elsewhere
        try:
            with h5py.File(path, "r+"):
                return
        except OSError:
            locked = True
    if locked:
        raise NwbExportError(
            f"{path} is open elsewhere; close it in all programs and notebooks first"
        )


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
    try:
        with replaced_file(target, overwrite, check=check_not_open) as part:
            yield part
    except (SiCurationError, KeyboardInterrupt):
        raise
    except Exception as fault:
        text = " ".join(str(fault).split()) or type(fault).__name__
        raise NwbExportError(
            f"{target} could not be written, nothing was changed: {text}"
        ) from fault


def fields_without_offset(path: Path) -> dict[str, str]:
    """Return the times of a file that have no offset from UTC, as their text.

    pynwb takes such a time to be of the time zone of the computer that it runs on.
    """
    import h5py

    found = {}
    with h5py.File(path, "r") as file:
        for name in MOMENTS:
            stored = file.get(name)
            value = stored[()] if isinstance(stored, h5py.Dataset) else None
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            try:
                moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
            except ValueError:  # none, or one that only pynwb can read
                continue
            if moment.tzinfo is None:
                found[name] = text
    return found


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


@contextmanager
def changed(path: Path) -> Iterator[Any]:
    """Open a file to change what HDF5 alone can; what could not be written is raised at the end.

    Yields
    ------
    h5py.File

    Raises
    ------
    OSError
    """
    import h5py

    sink = Sink(path, "r+")
    try:
        with h5py.File(sink, "r+") as file:
            yield file
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
