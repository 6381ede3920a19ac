"""`run_batch`: one recipe over many sessions."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import si_curation.batch.engine as engine
from si_curation.batch.inputs import SessionInput, gather_sessions
from si_curation.batch.recipe import Recipe
from si_curation.batch.recipe_files import read_recipe
from si_curation.batch.session import FAILED_STATUS, Options
from si_curation.batch.state import BatchFolder, to_json, versions
from si_curation.batch.summary import write_summary
from si_curation.checks import Checks, import_optional, local_path
from si_curation.files import (
    WriterLock,
    is_temporary,
    remove_unfinished_folders,
    replace_file,
    uninterrupted,
)
from si_curation.progress import counted
from si_curation.shown import Shown

logger = logging.getLogger(__name__)

#: Seconds between two summaries of a batch that runs, and at least so many times their own time.
_SUMMARY_EVERY = 60.0
_SUMMARY_SHARE = 20.0


@dataclass(frozen=True, eq=False)
class BatchResult(Shown):
    """The result of a batch.

    Attributes
    ----------
    table : pandas.DataFrame
        One row for each session, in the order given: ``session``; ``folder``; ``status`` ("done",
        "skipped: already done" or "failed"); ``num_units`` and ``num_spikes`` (pandas' Int64, NA
        where it failed); ``seconds``, and ``seconds_<step>`` of each step (of a session that was
        done before: of that time); ``versions``; ``warnings``; ``error`` ("" unless it failed).
        Also in ``sessions.csv``.
    units : pandas.DataFrame
        The units of all sessions that are done: ``session``, ``unit_id`` (text), ``group``,
        ``num_spikes`` and the metrics. Also in ``units.csv``.
    output_folder : pathlib.Path
        ``sessions/NAME/`` has the outputs of a session, ``records/NAME.json`` its seconds, or its
        error with the traceback.
    page : pathlib.Path
        ``summary.html``.
    notes : tuple of str
        What could not be computed for all sessions together, and why.
    """

    table: pd.DataFrame
    units: pd.DataFrame
    output_folder: Path
    page: Path
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> pd.DataFrame:
        """The rows of the sessions that failed."""
        return self.table[self.table["status"] == FAILED_STATUS]

    def __repr__(self) -> str:
        counts = self.table["status"].value_counts()
        text = ", ".join(f"{count} {status}" for status, count in counts.items())
        return f"BatchResult: {len(self.table)} sessions ({text}) in {self.output_folder}"


def run_batch(
    folders: str | Path | Mapping[str, Any] | pd.DataFrame | Iterable[str | Path],
    recipe: str | Path | Mapping[str, Any] | Recipe,
    output_folder: str | Path,
    *,
    client: Any = None,
    num_workers: int | None = None,
    num_threads: int | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    trust_analyzers: bool = False,
    progress_bar: bool = True,
) -> BatchResult:
    """Run the steps of a recipe on each of many sessions; skip those that are done.

    A session that fails does not stop the others. The outputs of a session appear as a whole or not
    at all. They are bitwise the same on any number of workers and threads (NWB files and reports as
    far as their exports are). Called again, also after it was killed, the batch goes on where it
    stopped. While it runs, the summary is written about once a minute with the sessions that have
    ended so far. Sessions are recognized by the content of their files, the recipe, and the
    versions of this package and SpikeInterface, not by dates.

    Parameters
    ----------
    folders : str, Path, iterable of these, mapping or pandas.DataFrame
        Kilosort/phy folders, or saved SortingAnalyzers of any sorter. Patterns such as
        ``"data/*/kilosort4"`` stand for all folders that match. A ``.csv`` or ``.tsv`` file, or a
        DataFrame: a row for each session with ``folder`` and optionally ``session`` (its name), any
        reading option of the recipe (``sampling_frequency``, ``gain_to_uV`` ...; lists in JSON),
        ``t_start``, ``session_start_time``, ``nwb_metadata`` and ``source_nwb``; an empty cell
        means what the recipe says, and relative folders start at the table. A mapping:
        {name: folder}. Sessions without a name are named after their folder.
    recipe : str, Path, mapping or Recipe
        See `read_recipe`.
    output_folder : str or Path
        New, empty, or of an earlier batch.
    client : dask.distributed.Client or str, optional
        A cluster, or the address of its scheduler. Its workers must see the folders and the output
        folder under the same paths, and have this package. Each worker process does one session at
        a time, on as many threads as it has.
    num_workers : int, optional
        Without a `client`: processes on this machine; by default one for each core, as far as
        there is memory (2 GB each). 0: in this process, one session after another, without Dask.
    num_threads : int, optional
        Threads of our kernels for each session, instead of those that the worker has. On this
        machine workers times threads are cores. Linear algebra always runs on one thread.
    retry_failed : bool
        Compute sessions again that failed before with the same content, recipe and versions. Those
        that failed for lack of memory, disk space or workers are always tried again.
    overwrite : bool
        Compute sessions again whose files, recipe or versions have changed; what was there is kept
        as ``<name>.backup-YYYYmmdd-HHMMSS``. Otherwise they fail and are left as they are.
    trust_analyzers : bool
        False: of a saved analyzer, only data are loaded. Its recording, pickles and arrays of
        Python objects are left out where loading them could run code (a class that is no known
        extractor, for example), with a warning in the row of the session. True: everything is
        loaded, as SpikeInterface does; only for analyzers of people whose programs you would run.
        Of Kilosort/phy folders nothing is ever run.
    progress_bar : bool

    Returns
    -------
    BatchResult

    Raises
    ------
    ParameterError, FolderNotFoundError
        The recipe, the folders or the output folder cannot be used: all problems at once, before
        anything is computed. Two sessions with the same name are such a problem.
    OutputExistsError
        The output folder holds files, and none of a batch.
    InUseError
        Another batch works on the same output folder.
    MissingDataError
        A package is missing: ``pip install "si_curation[batch]"``, or ``[nwb]``.

    Notes
    -----
    Local workers import the calling script. Put the call below ``if __name__ == "__main__":``, as
    always with processes in Python.

    A session whose worker dies is tried again on another, three times in all on this machine (on
    other clusters: Dask's ``distributed.scheduler.allowed-failures``), and then fails.

    Examples
    --------
    >>> import tempfile
    >>> import si_curation as sic
    >>> recipe = {"extensions": ["unit_similarity"], "exports": {"analyzer": "zarr"}}
    >>> output = tempfile.mkdtemp()
    >>> run = lambda: sic.run_batch([sic.example_folder()], recipe, output, num_workers=0,
    ...                             progress_bar=False)
    >>> run().table[["session", "status", "num_units", "num_spikes"]].values.tolist()
    [['ks4_phy_curated', 'done', 8, 5299]]
    >>> run().table["status"].tolist()
    ['skipped: already done']
    """
    checks = Checks.of_call(run_batch, locals())
    checks.whole_number("num_workers", num_workers, at_least=0, optional=True)
    checks.whole_number("num_threads", num_threads, at_least=1, optional=True)
    checks.require(
        client is None or num_workers is None,
        "num_workers is for workers on this machine: leave it out with a client",
    )
    checks.finish()
    checked = read_recipe(recipe)
    _check_installed(checked, client, num_workers)
    sessions = gather_sessions(folders, checked)
    options = Options(
        num_threads, overwrite, retry_failed, uuid.uuid4().hex, trust_analyzers=trust_analyzers
    )
    with _prepared(output_folder, sessions, checked, client is None) as batch:
        with (
            _running(sessions, batch, options, client, num_workers) as outcomes,
            counted(len(sessions), "sessions", hidden=not progress_bar) as bar,
        ):
            rows = _gather(outcomes, sessions, batch, checked, bar)
        table, units, notes = write_summary(batch, checked, rows)
        page = batch.folder / "summary.html"
        return BatchResult(table, units, batch.folder, page, tuple(notes))


def _gather(
    outcomes: Iterable[engine.Outcome],
    sessions: Sequence[SessionInput],
    batch: BatchFolder,
    recipe: Recipe,
    bar: Any,
) -> list[dict[str, Any]]:
    """Return the rows of all sessions in their order; write summaries while they end."""
    rows: list[dict[str, Any] | None] = [None] * len(sessions)
    failed = 0
    next_summary = time.monotonic() + _SUMMARY_EVERY
    for ended, (number, outcome) in enumerate(outcomes, start=1):
        row = _row_of(outcome, sessions[number], batch)
        rows[number] = row
        if row["status"] == FAILED_STATUS:
            failed += 1
            bar.set_postfix_str(f"{failed} failed")
            logger.info("%s failed: %s", row["session"], row["error"])
        bar.update()
        start = time.monotonic()
        if start >= next_summary and ended < len(sessions):
            so_far = [found for found in rows if found is not None]
            try:
                write_summary(batch, recipe, so_far, num_waiting=len(sessions) - ended)
            except OSError as fault:  # the next one, or the last, may be written
                logger.warning("no summary so far: %s", fault)
            now = time.monotonic()
            next_summary = now + max(_SUMMARY_EVERY, _SUMMARY_SHARE * (now - start))
    return [row for row in rows if row is not None]


@contextmanager
def _running(
    sessions: Sequence[SessionInput],
    batch: BatchFolder,
    options: Options,
    client: Any,
    num_workers: int | None,
) -> Iterator[Iterator[engine.Outcome]]:
    """Start the sessions on the chosen workers; yield their outcomes as they end."""
    folder = str(batch.folder)
    if client is not None:
        with engine.given_client(client) as connected:
            yield engine.run_on_dask(sessions, folder, options, connected)
    elif num_workers == 0:
        yield engine.run_here(sessions, folder, options)
    else:
        with engine.local_client(num_workers, len(sessions)) as (connected, num_threads):
            if options.num_threads is None:
                options = options._replace(num_threads=num_threads)
            yield engine.run_on_dask(sessions, folder, options, connected)


def _row_of(
    outcome: dict[str, Any] | BaseException, session: SessionInput, batch: BatchFolder
) -> dict[str, Any]:
    if isinstance(outcome, dict):
        return outcome
    row: dict[str, Any] = {
        "session": session.name,
        "folder": session.folder,
        "status": FAILED_STATUS,
        "num_units": None,
        "num_spikes": None,
        "seconds": {},
        "versions": versions(),
        "warnings": [],
        "error": engine.describe_failure(outcome),
    }
    batch.write_record(session.name, {**row, "would_fail_again": False})
    return row


def _check_installed(recipe: Recipe, client: Any, num_workers: int | None) -> None:
    if recipe.exports.nwb is not None:
        import_optional("pynwb", "nwb", "exports.nwb of the recipe")
    if client is not None or num_workers != 0:
        engine.import_dask()


@contextmanager
def _prepared(
    output_folder: str | Path,
    sessions: Sequence[SessionInput],
    recipe: Recipe,
    workers_are_own: bool = True,
) -> Iterator[BatchFolder]:
    """Be the only batch of an output folder; leave nothing unfinished in it of its own workers."""
    folder = local_path(output_folder, "output_folder").resolve()
    batch = BatchFolder(folder)
    batch.check()
    folder.mkdir(parents=True, exist_ok=True)
    os.close(os.open(batch.lock, os.O_RDWR | os.O_CREAT, 0o666))
    advice = "another batch works on this output: wait until it has ended, or give another folder"
    with WriterLock(batch.lock, advice):
        for path in folder.iterdir():  # of a batch that was killed in its first moments
            if is_temporary(path.name, own=True):
                path.unlink(missing_ok=True)
        content = {
            "what": "si_curation batch",
            "versions": versions(),
            "recipe": recipe.model_dump(mode="json"),
            "sessions": {session.name: session.folder for session in sessions},
        }
        replace_file(batch.marker, to_json(content))
        batch.sessions.mkdir(exist_ok=True)
        try:
            yield batch
        finally:
            with uninterrupted():
                for session in sessions if workers_are_own else ():  # they are stopped by now
                    remove_unfinished_folders(batch.outputs_of(session.name))
