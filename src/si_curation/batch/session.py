"""One session of a batch: a function of its folder, the recipe and the output folder."""

from __future__ import annotations

import logging
import platform
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from si_curation._spikeinterface import spike_vector_of
from si_curation.batch.inputs import SessionInput
from si_curation.batch.state import (
    DONE,
    BatchFolder,
    make_fingerprint,
    to_json,
    versions,
    why_outdated,
)
from si_curation.batch.steps import (
    check_metadata,
    compute,
    label,
    read_session,
    suggest_and_merge,
    try_suggestions,
    writing_steps,
)
from si_curation.errors import (
    FolderNotFoundError,
    OutputExistsError,
    ParameterError,
    SiCurationError,
)
from si_curation.exporters.phy.curated import check_apart
from si_curation.files import new_folder, settle_replaced
from si_curation.kernels.parallel import MAX_THREADS, limited_threads

logger = logging.getLogger(__name__)
T = TypeVar("T")

DONE_STATUS = "done"
SKIPPED_STATUS = "skipped: already done"
FAILED_STATUS = "failed"
# warnings.catch_warnings and the number of threads are global: one session a process at a time
_ONE_AT_A_TIME = threading.Lock()


class Options(NamedTuple):
    """How sessions are run.

    Attributes
    ----------
    num_threads : int or None
        For our kernels; None: as many as the Dask worker has.
    overwrite : bool
        Replace outputs that were made from other content, recipe or versions.
    retry_failed : bool
        Compute sessions again that failed with the same content, recipe and versions.
    run : str
        Name of the run. Dask repeats a task whose result was lost with a worker; a session that
        this run has done is then "done", not "skipped".
    trust_analyzers : bool
        Load also what could run code of saved analyzers.
    """

    num_threads: int | None = None
    overwrite: bool = False
    retry_failed: bool = False
    run: str = ""
    trust_analyzers: bool = False


def run_session(session: SessionInput, output_folder: str, options: Options) -> dict[str, Any]:
    """Run one session, unless it is done; a fault of the session is in the result, not raised.

    Parameters
    ----------
    session : SessionInput
    output_folder : str
        Of the batch; absolute.
    options : Options

    Returns
    -------
    dict
        The row of the result: ``session``, ``folder``, ``status``, ``num_units``, ``num_spikes``,
        ``seconds`` ({step: seconds}), ``versions``, ``warnings``, ``error``.
    """
    batch = BatchFolder(Path(output_folder))
    with _ONE_AT_A_TIME:
        return _Run(session, batch, options).row()


class _Run:
    """One session while it runs."""

    def __init__(self, session: SessionInput, batch: BatchFolder, options: Options):
        self.session = session
        self.batch = batch
        self.options = options
        self.seconds: dict[str, float] = {}
        self.fingerprint: dict[str, Any] | None = None
        self.messages: list[str] = []

    def row(self) -> dict[str, Any]:
        try:
            with collected_warnings(self.messages), _limited_threads(self.options.num_threads):
                return self._do()
        except Exception as fault:
            return self._failed(fault)

    def _do(self) -> dict[str, Any]:
        session, batch = self.session, self.batch
        if not batch.marker.is_file():
            raise ParameterError(
                f"{batch.folder} cannot be seen on {platform.node()}: the output folder must be on "
                "a file system that all workers share"
            )
        folder, target = Path(session.folder), batch.outputs_of(session.name)
        if not folder.is_dir():
            raise FolderNotFoundError(f"{folder} does not exist, expected a folder")
        check_apart(target, folder)
        settle_replaced(target)
        self.fingerprint = self._timed("fingerprint", lambda: make_fingerprint(session))
        done = batch.read_done(session.name)
        if done is not None:
            reason = why_outdated(done, self.fingerprint, target)
            if reason is None:
                return self._skipped(done)
            if not self.options.overwrite:
                raise OutputExistsError(
                    f"{target} exists, but {reason} since: give overwrite=True (it is then kept as "
                    "a backup) or another output folder"
                )
        elif target.exists() and not self.options.overwrite:
            raise OutputExistsError(f"{target} exists and was not made by a batch: move it away")
        known = self._known_failure()
        if known is not None:
            return known
        return self._compute(target)

    def _compute(self, target: Path) -> dict[str, Any]:
        self.batch.remove_unfinished(self.session.name)
        nwb = self.session.recipe.exports.nwb
        if nwb is not None:
            self._timed("nwb", lambda: check_metadata(nwb))
        with new_folder(target, self.options.overwrite) as part:
            analyzer = self._timed(
                "read", lambda: read_session(self.session, self.options.trust_analyzers)
            )
            merges, labels = self.session.recipe.merges, self.session.recipe.labels
            benchmark = self.session.recipe.benchmark
            if benchmark is not None:
                self._timed("benchmark", lambda: try_suggestions(analyzer, benchmark, part))
            if merges is not None:
                analyzer = self._timed("merges", lambda: suggest_and_merge(analyzer, merges, part))
            for name, params in self.session.recipe.extensions.items():
                self._timed(name, partial(compute, analyzer, name, params))
            if labels is not None:
                self._timed("labels", lambda: label(analyzer, labels, part))
            for name, step in writing_steps(analyzer, self.session, part):
                self._timed(name, step)
            counts = {
                "num_units": len(analyzer.unit_ids),
                "num_spikes": int(spike_vector_of(analyzer.sorting).size),
            }
            outputs = sorted(path.name for path in part.iterdir())
            done = {"fingerprint": self.fingerprint, "outputs": outputs, "counts": counts}
            (part / DONE).write_bytes(to_json(done))
            row = self._row(DONE_STATUS, **counts)
            self._record(row)
        return row

    def _timed(self, name: str, step: Callable[[], T]) -> T:
        start = time.perf_counter()
        try:
            return step()
        except Exception as fault:
            fault.__dict__.setdefault("batch_step", name)
            raise
        finally:
            self.seconds[name] = round(time.perf_counter() - start, 4)

    def _row(self, status: str, **more: Any) -> dict[str, Any]:
        row = {
            "session": self.session.name,
            "folder": self.session.folder,
            "status": status,
            "num_units": None,
            "num_spikes": None,
            "seconds": dict(self.seconds),
            "versions": versions(),
            "warnings": list(dict.fromkeys(self.messages)),
            "error": "",
        }
        return {**row, **more}

    def _record(self, row: dict[str, Any], **more: Any) -> None:
        record = {**row, "host": platform.node(), "run": self.options.run}
        record |= {"fingerprint": self.fingerprint, **more}
        self.batch.write_record(self.session.name, record)

    def _skipped(self, done: dict[str, Any]) -> dict[str, Any]:
        """Return the row of a session that is done, with the seconds of its computation."""
        before = self.batch.read_record(self.session.name) or {}
        known = {key: before[key] for key in ("seconds", "warnings", "versions") if key in before}
        is_ours = bool(self.options.run) and before.get("run") == self.options.run
        status = DONE_STATUS if is_ours else SKIPPED_STATUS
        return self._row(status, **done["counts"], **known)

    def _known_failure(self) -> dict[str, Any] | None:
        """Return the row of a session that failed before, if it would fail in the same way."""
        before = self.batch.read_record(self.session.name)
        if self.options.retry_failed or before is None or not before.get("would_fail_again"):
            return None
        if before.get("fingerprint") != self.fingerprint:
            return None
        keys = ("seconds", "warnings", "versions", "error")
        known = {key: before[key] for key in keys if key in before}
        return self._row(FAILED_STATUS, **known)

    def _failed(self, fault: Exception) -> dict[str, Any]:
        step = fault.__dict__.get("batch_step", "")
        text = " ".join(str(fault).split()) or type(fault).__name__
        if not isinstance(fault, SiCurationError):
            text = f"{type(fault).__name__}: {text}"
        row = self._row(FAILED_STATUS, error=f"{step}: {text}" if step else text)
        details = "".join(traceback.format_exception(fault))
        # a full disk or too little memory says nothing about the session
        again = self.fingerprint is not None and not isinstance(fault, OSError | MemoryError)
        try:
            self._record(row, would_fail_again=again, traceback=details)
        except OSError as problem:
            logger.warning("the record of %s cannot be written: %s", self.session.name, problem)
        return row


@contextmanager
def collected_warnings(messages: list[str]) -> Iterator[None]:
    """Add the text of each warning to a list, as it arises."""

    def collect(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if not issubclass(category, DeprecationWarning | PendingDeprecationWarning):
            messages.append(" ".join(str(message).split()))

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = collect
        yield


@contextmanager
def _limited_threads(num_threads: int | None) -> Iterator[None]:
    """Limit the threads of our kernels, and use one thread for linear algebra.

    Our kernels return the same bits on any number of threads; linear algebra libraries do not.
    """
    from threadpoolctl import threadpool_limits

    limit = _threads_of_worker() if num_threads is None else num_threads
    with limited_threads(limit), threadpool_limits(limits=1):
        yield


def _threads_of_worker() -> int:
    from distributed import get_worker

    try:
        return int(get_worker().state.nthreads)
    except ValueError:  # not on a worker
        return MAX_THREADS
