"""Files and folders that are written whole or not at all.

What is written gets a temporary name beside its target, goes down to the disk, and is then renamed.
Another program sees the old content or the new one, never a part of it. After any failure nothing
has changed. What a killed process leaves has a name that `is_temporary` recognizes.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import logging
import math
import mmap
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from io import RawIOBase
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import DTypeLike, NDArray

from si_curation.checks import local_path
from si_curation.errors import InUseError, OutputExistsError, ParameterError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

#: What a file is to hold: bytes as they are, or an array in the ``.npy`` format.
Content = bytes | NDArray

T = TypeVar("T")
#: What a text begins with that a spreadsheet runs.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_OWN_TEMPORARY = ".si_curation.tmp"


# where to write


def check_output_file(
    path: str | Path,
    overwrite: bool = False,
    *,
    kind: str = "a file",
    suffixes: tuple[str, ...] = (),
    advice: str = "give another path or overwrite=True",
) -> Path:
    """Return the file that will be written, or raise if it cannot be.

    Parameters
    ----------
    path : str or Path
        ``~`` is expanded.
    overwrite : bool
        False: the file must not exist.
    kind : str
        What the file is, for the error: ``"an NWB file"``.
    suffixes : tuple of str
        Those that the name may end in; empty: any.
    advice : str
        What to do where the file exists, for the error.

    Raises
    ------
    OutputExistsError
        The file exists, and `overwrite` is False.
    ParameterError
        It is a folder, is below a file, or ends in another suffix.
    """
    target = local_path(path)
    if target.is_dir():
        raise ParameterError(f"{target} is a folder, expected the name of {kind}")
    if suffixes and target.suffix not in suffixes:
        expected = " or ".join(suffixes)
        raise ParameterError(f"{target} does not end in {expected}, expected the name of {kind}")
    if target.exists() and not overwrite:
        raise OutputExistsError(f"{target} exists; {advice}")
    _check_parents(target)
    return target


def check_page_file(
    path: str | Path,
    overwrite: bool = False,
    *,
    advice: str = "give another path or overwrite=True",
) -> Path:
    """Return the file of an HTML page that will be written; see `check_output_file`."""
    suffixes = (".html", ".htm")
    return check_output_file(path, overwrite, kind="a page", suffixes=suffixes, advice=advice)


def check_output_folder(
    path: str | Path,
    overwrite: bool = False,
    *,
    advice: str = "give another folder, or overwrite=True (it is then kept as a backup)",
) -> Path:
    """Return the folder that will be written, or raise if it cannot be.

    Parameters
    ----------
    path : str or Path
        ``~`` is expanded.
    overwrite : bool
        False: the folder must not exist.
    advice : str
        What to do where the folder exists, for the error.

    Raises
    ------
    OutputExistsError
        The folder exists, and `overwrite` is False.
    ParameterError
        It is a file, or is below one.
    """
    target = local_path(path)
    if target.name:
        settle_replaced(target)
    if target.exists() and not target.is_dir():
        raise ParameterError(f"{target} is a file, expected the name of a folder")
    if target.exists() and not overwrite:
        raise OutputExistsError(f"{target} exists; {advice}")
    if not target.name:
        raise ParameterError(f"{target} cannot be an output folder")
    _check_parents(target)
    return target


def _check_parents(target: Path) -> None:
    parent = next((folder for folder in target.absolute().parents if folder.exists()), None)
    if parent is not None and not parent.is_dir():
        raise ParameterError(f"{parent} is a file, expected a folder to write {target.name} to")


# names


def temporary_name(path: Path) -> Path:
    """Return a new hidden name beside a file, which no program takes for data."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{_OWN_TEMPORARY}")


def behind_links(path: Path) -> Path:
    """Return the file that a link leads to, which is what is replaced; the link stays.

    What is no link is returned as it is.
    """
    return path.resolve() if path.is_symlink() else path


def is_temporary(name: str, *, own: bool = False) -> bool:
    """Return whether a name is that of a file or folder that was not finished.

    Parameters
    ----------
    name : str
    own : bool
        Only files of this package; otherwise phy's too.

    Examples
    --------
    >>> is_temporary(".spike_clusters.npy.0123456789ab.si_curation.tmp"), is_temporary("a.npy")
    (True, False)
    """
    return name.startswith(".") and name.endswith(_OWN_TEMPORARY if own else ".tmp")


def unfinished_folders(target: Path) -> list[Path]:
    """Return what `new_folder` left beside a target when its process was killed, sorted.

    Empty where the folder around the target does not exist or may not be listed.
    """
    return _names_beside(target, rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.tmp(\.\w+)?")


def _names_beside(target: Path, pattern: str) -> list[Path]:
    try:
        names = sorted(os.listdir(target.parent))
    except OSError:
        return []
    return [target.with_name(name) for name in names if re.fullmatch(pattern, name)]


def backup_name(target: Path) -> Path:
    """Return a new name for what will be replaced: ``<name>.backup-YYYYmmdd-HHMMSS``.

    Where that exists, ``-2``, ``-3``, ... is added.
    """
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    name = target.with_name(f"{target.name}.backup-{stamp}")
    count = 1
    while name.exists():
        count += 1
        name = target.with_name(f"{target.name}.backup-{stamp}-{count}")
    return name


# tables


def format_csv(table: pd.DataFrame, separator: str = ",") -> bytes:
    r"""Return a table as CSV, in which no cell is a formula of a spreadsheet.

    A text that a spreadsheet would run, since it begins with ``=``, ``+``, ``-``, ``@`` or a
    control character, gets an apostrophe in front. Numbers, also those that are text, do not.

    Parameters
    ----------
    table : pandas.DataFrame
        Its index is left out.
    separator : str

    Returns
    -------
    bytes
        UTF-8; what cannot be encoded is written as escapes.

    Examples
    --------
    >>> import pandas as pd
    >>> format_csv(pd.DataFrame({"unit_id": ["-1", "=cmd()"], "x": [-1.5, 2.0]}))
    b"unit_id,x\n-1,-1.5\n'=cmd(),2.0\n"
    """
    safe = table.copy()
    for place in range(safe.shape[1]):
        column = safe.iloc[:, place]
        if column.dtype.kind not in "iufbMm":
            safe.isetitem(place, column.astype(object).map(without_formula))
    safe.columns = [without_formula(name) for name in table.columns]
    text = safe.to_csv(index=False, sep=separator, lineterminator="\n")
    return text.encode("utf-8", "backslashreplace")


def without_formula(value: T) -> T | str:
    """Return a cell of a table such that no spreadsheet runs it; see `format_csv`."""
    if not isinstance(value, str) or value[:1] not in _FORMULA or not value.strip("-"):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


# one file


def write_file(path: Path, content: Content, *, sync: bool = False) -> None:
    """Write a file that does not exist yet, at its own name.

    Parameters
    ----------
    path : Path
    content : bytes or array
    sync : bool
        Wait until it is on the disk.

    Raises
    ------
    FileExistsError
    """
    with open(path, "xb", buffering=0) as file:
        if isinstance(content, bytes):
            _write_all(file, content)
        else:
            _write_array(file, content)
        if sync:
            os.fsync(file.fileno())


@contextmanager
def arrays_beside() -> Iterator[Callable[[Path, NDArray], None]]:
    """Write arrays while the block goes on, and wait for them at its end.

    Two at a time, down to the disk: while it takes one, the next is copied to the system.

    Yields
    ------
    callable
        Begins to write an array to a file that does not exist yet, at its own name.

    Raises
    ------
    FileExistsError, OSError
        One of them could not be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npy"
    >>> with arrays_beside() as write:
    ...     write(path, np.arange(3))
    >>> np.load(path)
    array([0, 1, 2])
    """
    started: list[Future[None]] = []
    with ThreadPoolExecutor(2) as pool:
        try:
            yield lambda path, array: started.append(
                pool.submit(write_file, path, array, sync=True)
            )
            for one in started:
                one.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_array(file: RawIOBase, array: NDArray) -> None:
    """Write an array as `np.save` does, without a copy of it."""
    whole = _Whole(file)
    if array.flags.c_contiguous and not array.dtype.hasobject and array.dtype.itemsize:
        header = np.lib.format.header_data_from_array_1_0(array)
        try:
            np.lib.format.write_array_header_1_0(whole, header)
        except ValueError:  # too long for this version of the format; nothing is written yet
            pass
        else:
            _write_all(file, array.reshape(-1).view(np.uint8).data)
            return
    np.save(whole, array, allow_pickle=False)


def _write_all(file: RawIOBase, content: bytes | memoryview) -> int:
    """Write all of it, or raise: a write to a disk that is almost full writes a part."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) or 0 :]
    return len(content)


class _Whole:
    """A file for `np.save`, which loses the end of an array in silence where the disk is full.

    numpy writes to files of Python through a buffer of its own, whose last part it does not check.
    """

    def __init__(self, file: RawIOBase) -> None:
        self._file = file

    def write(self, content: bytes) -> int:
        return _write_all(self._file, content)


@contextmanager
def replaced_file(
    target: Path,
    overwrite: bool = True,
    *,
    make_folders: bool = False,
    check: Callable[[Path], None] | None = None,
) -> Iterator[Path]:
    """Write a file under a temporary name beside its target, then rename it.

    The permissions of a file that is replaced are taken over. After any failure the file that was
    there is as before, and neither the temporary file nor a folder that was made is left.

    Parameters
    ----------
    target : Path
        It may exist.
    overwrite : bool
        False: it must not exist when the block ends.
    make_folders : bool
        Make the folders that are missing.
    check : callable, optional
        Called with the target before it is replaced; what it raises stops that.

    Yields
    ------
    Path
        The temporary file: to be made by the block.

    Raises
    ------
    OutputExistsError
        Another program made the target meanwhile, and `overwrite` is False.
    OSError
        It could not be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "table.csv"
    >>> with replaced_file(path) as part:
    ...     _ = part.write_text("a,b")
    >>> [found.name for found in path.parent.iterdir()]
    ['table.csv']
    """
    target = behind_links(target)
    made = _make_folders(target.parent) if make_folders else []
    part = temporary_name(target)
    try:
        yield part
        sync_file(part)
        if target.exists():
            if not overwrite:
                raise _created_meanwhile(target, "path")
            if check is not None:
                check(target)
            shutil.copymode(target, part)
        move_over(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        _remove_folders(made)
        raise
    sync_folder(target.parent)


def move_over(part: Path, target: Path) -> None:
    """Replace a file by a new one; what had the name is gone.

    Raises
    ------
    InUseError
        Windows, where the file that had the name is open.
    """
    with _named_in_use(target):
        os.replace(part, target)


# access denied; in use, a part of it locked, mapped into memory
_WINDOWS_IN_USE = (5, 32, 33, 1224)


@contextmanager
def _named_in_use(target: Path) -> Iterator[None]:
    """Say what Windows means where it does not let go of a file or folder."""
    try:
        yield
    except PermissionError as fault:
        if getattr(fault, "winerror", None) not in _WINDOWS_IN_USE:
            raise
        raise InUseError(
            f"{target} cannot be replaced: Windows keeps what is open in a program, or in this one "
            f"({fault.strerror}). Close phy, and what read_phy_folder or an analyzer of that "
            "place holds; then try again"
        ) from None


def stage_file(path: Path, content: Content) -> Path:
    """Write what will replace a file under a temporary name beside it, down to the disk.

    For several files that are replaced together; `replace_file` does one.

    Parameters
    ----------
    path : Path
        The file to be replaced, which may not exist. Its permissions are taken over.
    content : bytes or array

    Returns
    -------
    Path
        The temporary file, for ``os.replace``.
    """
    path = behind_links(path)
    part = temporary_name(path)
    try:
        write_file(part, content, sync=True)
        if path.exists():
            shutil.copymode(path, part)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


def replace_file(path: Path, content: Content, *, make_folders: bool = False) -> None:
    r"""Replace a file, or make it, in one step.

    Parameters
    ----------
    path : Path
    content : bytes or array
    make_folders : bool
        Make the folders that are missing; they are removed again where it fails.

    Raises
    ------
    OSError
        It could not be written; the file is as before.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "params.py"
    >>> replace_file(path, b"offset = 0\n")
    >>> path.read_bytes(), len(list(path.parent.iterdir()))
    (b'offset = 0\n', 1)
    """
    path = behind_links(path)
    made = _make_folders(path.parent) if make_folders else []
    try:
        part = stage_file(path, content)
        try:
            move_over(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except BaseException:
        _remove_folders(made)
        raise
    sync_folder(path.parent)


def replace_with_copy(path: Path, source: Path) -> None:
    """Replace a file by a copy of another one, content and permissions, in one step."""
    path = behind_links(path)
    part = temporary_name(path)
    try:
        copy_to_disk(source, part)
        move_over(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_pieces(target: Path, pieces: Iterable[str], overwrite: bool = False) -> None:
    """Write a text in UTF-8, piece by piece, in one step; see `replaced_file`.

    Folders that are missing are made. A half of a surrogate pair, which a unit's name can have and
    UTF-8 cannot, becomes ``?``.
    """
    with (
        replaced_file(target, overwrite, make_folders=True) as part,
        part.open("x", encoding="utf-8", errors="replace", newline="\n") as file,
    ):
        file.writelines(pieces)


@contextmanager
def new_array_file(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike
) -> Iterator[NDArray[np.generic]]:
    """Make a ``.npy`` file to be filled block by block through a memory map.

    Its place on the disk is taken before: a program that writes through a map to a disk that is
    full is killed by the system, without an error.

    Yields
    ------
    array
        Zeros. Neither it nor a view of it may be used after the block.

    Raises
    ------
    OSError
        There is not enough room on the disk; no file is left.
    """
    make_array_file(path, shape, dtype)
    out = np.lib.format.open_memmap(path, mode="r+")
    try:
        yield out
        out.flush()
    finally:
        if isinstance(out.base, mmap.mmap):
            out.base.close()


def make_array_file(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike, *, fortran_order: bool = False
) -> None:
    """Make a ``.npy`` file of zeros, whose place on the disk is taken.

    Raises
    ------
    FileExistsError
    OSError
        There is not enough room on the disk; no file is left.
    """
    dtype = np.dtype(dtype)
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": fortran_order,
        "shape": tuple(shape),
    }
    try:
        with open(path, "xb", buffering=0) as file:
            np.lib.format.write_array_header_1_0(_Whole(file), header)
            _allocate(file, file.tell(), math.prod(shape) * dtype.itemsize)
    except FileExistsError:
        raise
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _allocate(file: RawIOBase, start: int, size: int) -> None:
    """Make a file longer by zeros for which there is room on the disk."""
    if not size:
        return
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), start, size)
            return
        except OSError as fault:
            if fault.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
    zeros = memoryview(bytes(1 << 20))  # systems and file systems that cannot: by writing
    for done in range(0, size, len(zeros)):
        _write_all(file, zeros[: size - done])


#: Arrays of fewer bytes are always in memory.
SCRATCH_FROM = 128_000_000
#: Arrays of fewer bytes are in memory where an analyzer is to be in memory.
MEMORY_UP_TO = 1_000_000_000


def memory_array(shape: tuple[int, ...] | int, dtype: DTypeLike) -> NDArray:
    """Make an array for an analyzer in memory: `scratch_array` where it has more than 1 GB.

    So tens of millions of spikes do not fill the memory.

    Examples
    --------
    >>> memory_array((2, 3), "float32").shape
    (2, 3)
    """
    return scratch_array(shape, dtype, MEMORY_UP_TO)


def scratch_array(
    shape: tuple[int, ...] | int, dtype: DTypeLike, in_memory_up_to: int | None = None
) -> NDArray:
    """Make an array that does not take memory where it is large, but room on the disk.

    In a file without a name in the folder for temporary files, which is gone with the array. The
    system keeps as much of it in memory as there is room for. In memory where it is small or holds
    objects, and where the disk has no room.

    Parameters
    ----------
    shape : int or tuple of int
    dtype : dtype
    in_memory_up_to : int, optional
        Bytes; `SCRATCH_FROM` by default.

    Returns
    -------
    array
        Of any content, as `numpy.empty` gives it.

    Examples
    --------
    >>> scratch_array(3, "int32").shape
    (3,)
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape if isinstance(shape, tuple) else (shape,)) * dtype.itemsize
    limit = SCRATCH_FROM if in_memory_up_to is None else in_memory_up_to
    if size <= limit or dtype.hasobject:
        return np.empty(shape, dtype=dtype)
    try:
        with tempfile.TemporaryFile(buffering=0) as file:
            _allocate(file, 0, size)
            return np.ndarray(shape, dtype=dtype, buffer=mmap.mmap(file.fileno(), size))
    except OSError:
        return np.empty(shape, dtype=dtype)


def copy_to_disk(source: Path, target: Path) -> None:
    """Copy a file, content and permissions, and wait until it is on the disk."""
    shutil.copyfile(source, target)
    shutil.copymode(source, target)
    sync_file(target)


# a folder


@contextmanager
def new_folder(target: Path, overwrite: bool = False, *, make: bool = True) -> Iterator[Path]:
    """Write a folder under a temporary name beside its target, then rename it.

    After any failure the temporary folder is removed and nothing else has changed. A folder that is
    replaced gets the name of `backup_name`, and is kept. There is always one of that name: where
    the system can, the names are exchanged in one step, elsewhere `settle_replaced` puts back what
    was there after a kill. What was written is on the disk before it gets its name.

    Parameters
    ----------
    target : Path
    overwrite : bool
        False: it must not exist when the block ends.
    make : bool
        False: the block makes the folder, for programs that refuse one that exists. Its temporary
        name then ends as the target's does, for programs that want a certain suffix.

    Yields
    ------
    Path
        The folder to write to. Close all memory maps of its files before the block ends.

    Raises
    ------
    OutputExistsError
        Another program made the target meanwhile, and `overwrite` is False.
    """
    settle_replaced(target)
    made = _make_folders(target.parent)
    suffix = "" if make else target.suffix
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp{suffix}")
    lock = None
    try:
        if make:
            os.mkdir(part)
            lock = WriterLock(part, "it is being written")  # for `remove_unfinished_folders`
        yield part
        _sync_tree(part)
        with uninterrupted():
            _rename_folder(part, target, overwrite)
        made = []
    finally:
        with uninterrupted():
            shutil.rmtree(part, ignore_errors=True)
            _remove_folders(made)
            if lock is not None:
                lock.release()
    sync_folder(target.parent)


def _rename_folder(part: Path, target: Path, overwrite: bool) -> None:
    if not target.exists():
        os.rename(part, target)
        return
    if not overwrite:
        raise _created_meanwhile(target, "folder")
    # whatever it holds after a kill, `settle_replaced` knows what to do with it
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.replaced")
    with WriterLock(target, "try again when it is done"):
        backup = backup_name(target)
        os.rename(part, aside)
        try:
            with _named_in_use(target):
                _swap(aside, target, part)
            try:
                os.rename(aside, backup)
            except BaseException:
                _swap(aside, target, part)
                raise
        except BaseException:
            if aside.exists():
                os.rename(aside, part)
            raise
    logger.info("%s was replaced; what was there is now %s", target, backup)


def _swap(aside: Path, target: Path, free: Path) -> None:
    """Exchange the names of two folders; in one step where the system can."""
    if _exchange(aside, target):
        return
    os.rename(aside, free)
    try:
        os.rename(target, aside)
    except BaseException:
        os.rename(free, aside)
        raise
    try:
        os.rename(free, target)
    except BaseException:
        os.rename(aside, target)
        os.rename(free, aside)
        raise


_SWAP = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
_HERE = -100  # AT_FDCWD


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; return False where the system cannot."""
    names = os.fsencode(one), os.fsencode(other)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            code = library.renamex_np(*names, ctypes.c_uint(_SWAP))
        else:
            code = library.renameat2(_HERE, names[0], _HERE, names[1], ctypes.c_uint(_SWAP))
    except (OSError, AttributeError, TypeError):  # Windows, and old systems
        return False
    if code == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(other))


def replaced_folders(target: Path) -> list[Path]:
    """Return what a process that was killed while it replaced a folder left beside it, sorted.

    It is what was there before, or, where the folder is as it was, what should have replaced it.
    """
    return _names_beside(target, rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.replaced")


def settle_replaced(target: Path) -> None:
    """Put a folder back that a killed process was replacing; where it is there, keep the other.

    Nothing happens where no process was killed while it replaced the folder.
    """
    for aside in replaced_folders(target):
        with suppress(OSError), WriterLock(aside, "it is being replaced"):
            name = backup_name(target) if target.exists() else target
            os.rename(aside, name)
            logger.info("%s: what a killed process left is now %s", target, name)


def remove_unfinished_folders(target: Path) -> None:
    """Remove what killed processes left beside a folder that they were writing.

    What a process is writing now stays.
    """
    for path in unfinished_folders(target):
        with suppress(OSError), WriterLock(path, "it is being written"):
            shutil.rmtree(path, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    """Wait until all files of a folder are on the disk: a rename may get there before them."""
    for here, _, names in os.walk(folder):
        for name in names:
            with suppress(PermissionError):  # linked files of others, which are there already
                sync_file(Path(here) / name)
        sync_folder(Path(here))


def _created_meanwhile(target: Path, another: str) -> OutputExistsError:
    return OutputExistsError(
        f"{target} was created by another program while this ran; give another {another}"
    )


def _make_folders(folder: Path) -> list[Path]:
    """Make the folders that are missing; return them, the innermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    if not folder.is_dir():
        raise ParameterError(f"{folder} is a file, expected a folder")
    for one in reversed(missing):
        os.mkdir(one)
    return missing


def _remove_folders(made: list[Path]) -> None:
    """Remove folders that were made, the innermost first, up to one that others write to."""
    with suppress(OSError):
        for folder in made:
            folder.rmdir()


# the disk


def sync_file(path: Path) -> None:
    """Wait until what was written to a file is on the disk."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some file systems cannot; the files themselves are on the disk
    finally:
        os.close(handle)


# signals


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C and SIGTERM until the block has ended.

    For a few steps that belong together. Signals come to the main thread only; on others nothing is
    done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if handler is not None:  # one that Python did not install cannot be put back
                before[number] = handler
                signal.signal(number, note)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in dict.fromkeys(came):
            signal.raise_signal(one)


# one writer at a time


class WriterLock:
    """The right to be the only writer of a file or folder, until `release`.

    It is let go of when the process ends, however that happens. Programs that only read are not
    kept out, and nothing is left on the disk beside the data: where the system can, the file or
    folder itself is locked, which other computers see too where the file system passes it on;
    elsewhere a file in the folder for temporary files stands for it, on this computer.

    Parameters
    ----------
    path : Path
        An existing file or folder.
    advice : str
        What to do where another has it, for the error.
    timeout_s : float
        How long to wait for another writer.

    Raises
    ------
    InUseError
        Another program, or another part of this one, has it.
    """

    def __init__(self, path: Path, advice: str, timeout_s: float = 0.0) -> None:
        deadline = time.monotonic() + timeout_s
        while (release := _try_lock(path)) is None:
            if time.monotonic() >= deadline:
                raise InUseError(f"{path} is written to by another program or session; {advice}")
            time.sleep(0.02)
        self._release = weakref.finalize(self, release)
        self._release.atexit = False  # the end of the process does it

    def release(self) -> None:
        """Let go of it; can be called twice."""
        self._release()

    def __enter__(self) -> WriterLock:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def _try_lock(path: Path) -> Callable[[], None] | None:
    """Lock a file or folder; return what unlocks it, None where another has it."""
    handle = -1
    if fcntl is not None:
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    if handle >= 0:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:  # a file system without such locks
            os.close(handle)
        else:
            return partial(_unlock, handle, os.getpid())
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    lock = FileLock(Path(tempfile.gettempdir()) / f"si_curation-{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    except (OSError, NotImplementedError) as fault:
        logger.info("%s cannot be locked: %s", path, fault)
        return lambda: None
    return lock.release


def _unlock(handle: int, pid: int) -> None:
    if pid == os.getpid():  # a process that was forked meanwhile shares the lock
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


class LineFile:
    """A file that whole lines are appended to, by one writer.

    Nothing is buffered. A line is on the disk when `append` returns; if it raises, the file is as
    before. The file is closed when the object is gone.

    Parameters
    ----------
    path : Path
    new : bool
        True: it must not exist.
    advice : str
        What to do where another session writes to it, for the error.

    Raises
    ------
    FileExistsError
        It exists, and is to be new.
    InUseError
        Another program or session appends to it.
    OSError
        It cannot be opened for writing.
    """

    def __init__(self, path: Path, *, new: bool, advice: str) -> None:
        self.path = path.absolute()  # also when the working directory changes
        flags = os.O_RDWR | getattr(os, "O_BINARY", 0) | (os.O_CREAT | os.O_EXCL if new else 0)
        self._handle = os.open(self.path, flags, 0o666)
        self._close = weakref.finalize(self, os.close, self._handle)
        try:
            self._lock = WriterLock(self.path, advice)
        except BaseException:
            self._close()
            raise
        self._size = os.fstat(self._handle).st_size
        self._may_be_torn = False

    def read(self) -> bytes:
        """Return what is in the file."""
        os.lseek(self._handle, 0, os.SEEK_SET)
        with open(self._handle, "rb", closefd=False) as file:
            return file.read()

    def cut(self, size: int) -> None:
        """Cut the end of the file off."""
        os.ftruncate(self._handle, size)
        os.fsync(self._handle)
        self._size = size

    def append(self, line: bytes) -> None:
        """Write one line, and wait until it is on the disk.

        Raises
        ------
        ParameterError
            The file was moved, deleted or changed by another program since the last line.
        OSError
            The line could not be written.
        """
        self._check_unchanged()
        try:
            os.lseek(self._handle, self._size, os.SEEK_SET)
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._handle, rest) :]
            os.fsync(self._handle)
        except BaseException:
            self._may_be_torn = True
            self._cut_torn()
            raise
        self._size += len(line)

    def _check_unchanged(self) -> None:
        if self._may_be_torn:
            self._cut_torn()
        own = os.fstat(self._handle)
        try:
            there = os.stat(self.path)
        except OSError:
            raise self._changed("is not there any more") from None
        if (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino):
            raise self._changed("is another file now")
        if own.st_size != self._size:
            fault = "is empty now" if own.st_size == 0 else f"has {own.st_size} bytes now"
            raise self._changed(f"{fault}, expected {self._size} bytes")

    def _cut_torn(self) -> None:
        with suppress(OSError):
            os.ftruncate(self._handle, self._size)
            self._may_be_torn = False

    def _changed(self, fault: str) -> ParameterError:
        return ParameterError(
            f"{self.path} was changed by another program while it was written here: it {fault}; "
            "nothing was done. Put the file back as it was, then try again"
        )

    def close(self) -> None:
        """Close the file and let others write to it; can be called twice."""
        self._lock.release()
        self._close()


def is_locked(path: Path) -> bool | None:
    """Return whether a program holds a lock on a file, as HDF5 does on what it has open.

    The file is not changed.

    Returns
    -------
    bool or None
        True for a lock of this process too. False where the file system has no locks. None where
        the operating system has none.
    """
    if fcntl is None:
        return None
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
