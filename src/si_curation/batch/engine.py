"""The engine: sessions as Dask tasks, on processes of this machine or on any cluster."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import logging
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from si_curation.batch.inputs import SessionInput
from si_curation.batch.session import Options, run_session
from si_curation.checks import import_optional, short_repr
from si_curation.errors import ParameterError
from si_curation.phy.arrays import one_line, shortened

logger = logging.getLogger(__name__)

#: How long to try to connect to a scheduler.
CONNECT_TIMEOUT = "20s"
#: How many workers may die while they run a session before it fails (on our own clusters).
ALLOWED_FAILURES = 2
_BYTES_PER_WORKER = 2_000_000_000  # what a session of some ten million spikes takes
Outcome = tuple[int, dict[str, Any] | BaseException]


def run_here(
    sessions: Sequence[SessionInput], output_folder: str, options: Options
) -> Iterator[Outcome]:
    """Run sessions one after another in this process, without Dask; on all cores by default."""
    if options.num_threads is None:
        options = options._replace(num_threads=_num_cpus())
    for number, session in enumerate(sessions):
        yield number, run_session(session, output_folder, options)


def run_on_dask(
    sessions: Sequence[SessionInput], output_folder: str, options: Options, client: Any
) -> Iterator[Outcome]:
    """Run sessions on a Dask cluster; yield the result or the exception of each, as it ends.

    Sessions that have not started are cancelled when the iteration stops.
    """
    from distributed import as_completed

    # keys of one group: the scheduler then hands out sessions one by one, as workers get free
    token = f"si-curation-{uuid.uuid4().hex}"
    keys = [(token, number) for number in range(len(sessions))]
    futures = client.map(
        run_session,
        list(sessions),
        output_folder=output_folder,
        options=options,
        key=keys,
        pure=False,
    )
    numbers = {future: number for number, future in enumerate(futures)}
    try:
        for future in as_completed(futures):
            yield numbers[future], _outcome(future)
    finally:
        client.cancel(futures)


def _outcome(future: Any) -> dict[str, Any] | BaseException:
    # a result is lost where its worker dies before it was fetched: it is waited for again
    try:
        return future.result()
    except (asyncio.CancelledError, concurrent.futures.CancelledError):
        return ConnectionError("the connection to the Dask scheduler was lost")
    except Exception as fault:
        return fault


def describe_failure(fault: BaseException) -> str:
    """Return what happened to a session that could not report its own failure."""
    if type(fault).__name__ == "KilledWorker":
        deaths = getattr(fault, "allowed_failures", ALLOWED_FAILURES) + 1
        return (
            f"{deaths} worker processes died, one after another, while this session ran: most "
            "often there was too little memory; give fewer workers, or more memory to each"
        )
    if isinstance(fault, ImportError):
        return f"a worker cannot import what is needed ({fault}): install si_curation there"
    return f"{type(fault).__name__}: {' '.join(str(fault).split())}"


@contextmanager
def local_client(num_workers: int | None, num_sessions: int) -> Iterator[tuple[Any, int]]:
    """Start a cluster of processes on this machine, and close it at the end.

    Parameters
    ----------
    num_workers : int, optional
        By default one for each core, as far as there is memory; never more than sessions.
    num_sessions : int

    Yields
    ------
    tuple
        The client, and the number of threads for each session: workers times threads is at most
        the number of cores.
    """
    dask, distributed = import_dask()
    from distributed.system import MEMORY_LIMIT

    cpus = _num_cpus()
    if num_workers is None:
        num_workers = min(cpus, max(1, MEMORY_LIMIT // _BYTES_PER_WORKER))
    num_workers = max(1, min(num_workers, num_sessions))
    settings = {
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        # a worker has one session at a time: if it dies, no other session can be the cause
        "distributed.scheduler.worker-saturation": 1.0,
        # sessions keep nothing on workers, and mapped files count as memory: never pause or spill
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        # a worker that died is started again, however long that takes; given up after some seconds
        # (the default), its session and all that follow would wait forever
        "distributed.deploy.lost-worker-timeout": "365 days",
    }
    with dask.config.set(settings):
        try:
            cluster = distributed.LocalCluster(
                n_workers=num_workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=MEMORY_LIMIT // num_workers,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
        except RuntimeError as fault:
            raise ParameterError(
                f"the worker processes did not start ({fault}): a script that calls run_batch must "
                "do so below 'if __name__ == \"__main__\":', as they import it; with num_workers=0 "
                "there are none"
            ) from fault
        with cluster, distributed.Client(cluster) as client:
            yield client, max(1, cpus // num_workers)


@contextmanager
def given_client(client: Any) -> Iterator[Any]:
    """Yield the client of an existing cluster: a Client, or one for a scheduler's address."""
    _, distributed = import_dask()
    if isinstance(client, distributed.Client):
        yield client
        return
    # distributed starts a cluster of its own where an address is empty
    if not isinstance(client, str) or not client.strip():
        raise ParameterError(
            f"client is {short_repr(client)}, expected a dask.distributed Client or the address "
            "of a scheduler"
        )
    fault_text = ""
    try:
        connected = distributed.Client(client, timeout=CONNECT_TIMEOUT)
    except (OSError, ValueError) as fault:
        fault_text = shortened(one_line(fault)) or type(fault).__name__
    if fault_text:
        # a client that found nobody closes itself when it is collected: where that happens while
        # the next cluster starts, both wait for each other
        gc.collect()
        raise ParameterError(f"there is no Dask scheduler at {short_repr(client)}: {fault_text}")
    with connected:
        if not connected.scheduler_info().get("workers"):
            logger.warning("%s has no workers yet; waiting for them", client)
        yield connected


def import_dask() -> tuple[Any, Any]:
    """Import dask and distributed.

    Raises
    ------
    MissingDataError
    """
    purpose = "a batch on several workers (not with num_workers=0)"
    dask, distributed = (import_optional(one, "batch", purpose) for one in ("dask", "distributed"))
    return dask, distributed


def _num_cpus() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
