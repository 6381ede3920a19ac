"""The one place that configures numba and threads.

All kernels are compiled with the same options: serial, cached on disk, releasing the GIL and
without ``fastmath``. Parallel work is a list of independent blocks that Python threads run: block
borders depend on the size of the data alone, so that results are the same bits on one thread and
on many, and kernels may be called from any thread.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core import event
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

logger = logging.getLogger(__name__)

#: Threads that this process may use at most.
MAX_THREADS: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
#: ``NUMBA_CACHE_DIR`` when this process began; empty: not set.
CACHE_FOLDER_ASKED_FOR: str = numba.config.CACHE_DIR  # type: ignore[attr-defined]

B = TypeVar("B")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

#: Nobody calls kernels from C: what that would need is an eighth of the time to compile them.
_OPTIONS: dict[str, Any] = {"nogil": True, "no_cfunc_wrapper": True}

#: Every kernel of the modules that are imported.
KERNELS: list[Any] = []


def njit(function: F) -> F:
    """Compile a kernel with the options that all kernels share.

    Where nothing can be written, neither beside the package nor in the user's cache folder, it is
    compiled anew in every process.
    """
    return _compiled(function, **_OPTIONS)


def inlined(function: F) -> F:
    """Compile a kernel as a part of the one that calls it, and by itself only where Python does.

    For short ones that one or two kernels of the same file call: each is compiled, kept and joined
    to its callers otherwise. Not for a whole tree of calls: with all of it inlined, the search of
    neighbours took three times as long to compile.
    """
    return _compiled(function, inline="always", **_OPTIONS)


def _compiled(function: F, **options: Any) -> F:
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba: "no locator available"
        compiled = numba.njit(**options)(function)
    _skip_unreadable_cache(compiled)
    KERNELS.append(compiled)
    return cast(F, compiled)


def _skip_unreadable_cache(kernel: Any) -> None:
    """Let a kernel be compiled anew where the list of what is kept of it cannot be read.

    Another version of this package may have left one that names classes by where they were then;
    numba would fail with it, before it looks whether the list is out of date.
    """
    file = getattr(getattr(kernel, "_cache", None), "_cache_file", None)
    if file is None:  # nothing is kept
        return
    read = file._load_index

    def read_what_can_be_read() -> dict[Any, str]:
        try:
            return cast(dict[Any, str], read())
        except (ImportError, AttributeError):
            return {}

    file._load_index = read_what_can_be_read


def cache_folder(kernel: Any) -> Path | None:
    """Return where what is compiled of a kernel is kept; None: nowhere."""
    path = kernel.stats.cache_path
    return None if path is None else Path(path)


def read_only(values: NDArray[Any]) -> NDArray[Any]:
    """Return a view that cannot be written to, of the plain array where it is a memory map.

    A kernel is compiled for arrays that can be written to, and once more for those that cannot, as
    those of files. Pass what it only reads as this where both are met. Slices of a memory map take
    nine times as long to make as those of its array, and kernels longer to find out what they are.

    Examples
    --------
    >>> import numpy as np
    >>> read_only(np.zeros(2)).flags.writeable
    False
    """
    view = np.asarray(values).view()
    view.flags.writeable = False
    return view


class _Compilations(event.Listener):
    """Counts the kernels that this process compiles (not those that it loads), and says so once.

    Garbage is collected after each, not while one is compiled, which makes so many objects that a
    tenth of the time was spent on looking for those that are not used any more.
    """

    def __init__(self) -> None:
        self.number = 0
        self.is_told = False
        self._depth = 0  # kernels that are being compiled: one may call others
        self._is_collected = False

    def on_start(self, event: event.Event) -> None:
        kernel = event.data["dispatcher"]
        if not any(kernel is one for one in KERNELS):
            return
        if self._depth == 0:
            self._is_collected = gc.isenabled()
            gc.disable()
        self._depth += 1
        self.number += 1
        if not self.is_told:
            self.is_told = True
            logger.warning(_told(cache_folder(kernel)))

    def on_end(self, event: event.Event) -> None:
        kernel = event.data["dispatcher"]
        if not any(kernel is one for one in KERNELS):
            return
        self._depth -= 1
        if self._depth == 0 and self._is_collected:
            gc.enable()


def _told(folder: Path | None) -> str:
    if folder is None:
        return (
            "Compiling kernels, which takes up to a minute in every process, since no folder was "
            "found to keep them in: set NUMBA_CACHE_DIR to one that can be written and is kept"
        )
    return (
        f"Compiling kernels, once for this environment; they are kept in {folder}. "
        "`si-curation warmup` compiles all that are left"
    )


#: Of this process.
compilations = _Compilations()
event.register("numba:compile", compilations)


@contextmanager
def limited_threads(num_threads: int) -> Iterator[None]:
    """Run the kernels on at most so many threads, at least one."""
    before = numba.get_num_threads()
    numba.set_num_threads(max(1, min(num_threads, MAX_THREADS)))
    try:
        yield
    finally:
        numba.set_num_threads(before)


class _MatrixThreads:
    """The limit of BLAS's threads in this process, set by the first user and lifted by the last."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._num_users = 0
        self._controller: ThreadpoolController | None = None
        self._limit: Any = None

    def limit(self) -> None:
        with self._lock:
            self._num_users += 1
            if self._num_users == 1:
                self._controller = self._controller or ThreadpoolController()
                self._limit = self._controller.limit(limits=1, user_api="blas")

    def lift(self) -> None:
        with self._lock:
            self._num_users -= 1
            if self._num_users == 0:
                self._limit.restore_original_limits()


_matrix_threads = _MatrixThreads()


@contextmanager
def one_thread_for_matrices() -> Iterator[None]:
    """Do linear algebra on one thread, whose results are then the same bits everywhere.

    With matrices of a few dozen rows, the threads of a library mostly wait for each other: on a
    busy machine that took eight times as long as the work. The limit is lifted when the last of
    those that are within it at the same time, in any thread, is done.
    """
    _matrix_threads.limit()
    try:
        yield
    finally:
        _matrix_threads.lift()


class _Few:
    """Whether numpy does what is few: loading the first kernel takes half a second."""

    limit = 1 << 20
    are_kernels_loaded = False


def _are_kernels_loaded() -> bool:
    _Few.are_kernels_loaded |= any(kernel.signatures for kernel in KERNELS)
    return _Few.are_kernels_loaded


@contextmanager
def kernels_for_few() -> Iterator[None]:
    """Use the kernels for few values too, so that small folders compile what large ones need."""
    before, _Few.limit = _Few.limit, -1
    try:
        yield
    finally:
        _Few.limit = before


def are_few(num_values: int) -> bool:
    """Return whether numpy is to do what a kernel does: no other is loaded, and it is quick."""
    return num_values <= _Few.limit and not (_Few.are_kernels_loaded or _are_kernels_loaded())


def blocks(num_rows: int, rows_per_block: int = 1 << 18) -> list[slice]:
    """Cut rows into blocks of fixed size, whatever the number of threads.

    Examples
    --------
    >>> blocks(5, rows_per_block=2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return [
        slice(start, min(start + rows_per_block, num_rows))
        for start in range(0, num_rows, rows_per_block)
    ]


def num_threads() -> int:
    """Return the number of threads that work on blocks."""
    return numba.get_num_threads()


class _Helpers:
    """The threads that help with blocks: started when they are first needed, then kept.

    Starting and joining threads for each call took longer than many of the calls.
    """

    pool: ThreadPoolExecutor | None = None

    @classmethod
    def submit(cls, work: Callable[[], None], times: int) -> list[Future[None]]:
        if cls.pool is None:
            cls.pool = ThreadPoolExecutor(MAX_THREADS, "si_curation")
        return [cls.pool.submit(work) for _ in range(times)]

    @classmethod
    def forget(cls) -> None:
        """Begin anew in a process that was forked: threads are not."""
        cls.pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Helpers.forget)


def run_blocks(function: Callable[[B], T], pieces: list[B]) -> list[T]:
    """Call a function on each block, on `num_threads` threads; results in order.

    The thread that calls works too, and waits for blocks only that others have begun: blocks may
    themselves call this, and never wait for a thread. Of several errors that of the first block is
    raised.
    """
    num_workers = min(num_threads(), len(pieces))
    if num_workers <= 1:
        return [function(piece) for piece in pieces]
    results: dict[int, T] = {}
    faults: dict[int, BaseException] = {}
    left = iter(enumerate(pieces))  # gives each block to one thread

    def work() -> None:
        for place, piece in left:
            try:
                results[place] = function(piece)
            except BaseException as fault:
                faults[place] = fault
            if faults:
                return

    helpers = _Helpers.submit(work, num_workers - 1)
    work()
    wait([one for one in helpers if not one.cancel()])
    if faults:
        try:
            raise faults[min(faults)]
        finally:
            faults.clear()  # not to keep what the blocks hold
    return [results[place] for place in range(len(pieces))]


def run_beside(*tasks: Callable[[], Any]) -> tuple[Any, ...]:
    """Call several functions beside each other, as `run_blocks` does; results in order.

    For what takes one thread most of its time, and depends on none of the others.

    Examples
    --------
    >>> run_beside(lambda: 1, lambda: "two")
    (1, 'two')
    """
    return tuple(run_blocks(lambda task: task(), list(tasks)))
