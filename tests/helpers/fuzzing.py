"""How many inputs a test makes up, and what each of them may cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import settings
from numba.core.event import install_timer

MAX_SECONDS = 10.0
MAX_GROWTH_MB = 2000.0

#: What hostile inputs cost in this process; printed at the end of ``pytest --fuzz N``.
COSTS: dict[str, float | str] = {"inputs": 0, "seconds": 0.0, "slowest": "", "mb": 0.0, "most": ""}


def examples(usual: int) -> settings:
    """So many examples in a run of everything; as many times more or fewer as the run has."""
    share = settings.default.max_examples / 40
    return settings(max_examples=max(1, round(usual * share)), database=None)


def memory_mb(name: str) -> float:
    """Return a size of this process from the system: VmRSS as it is, VmHWM at its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"/proc/self/status has no {name}")


@contextmanager
def bounded(what: str) -> Iterator[None]:
    """Fail where a hostile input takes longer, or more memory, than any of them may."""
    peak = Path("/proc/self/clear_refs")
    measured = peak.exists()  # on Linux
    if measured:
        peak.write_text("5")  # the peak begins anew
        before = memory_mb("VmRSS")
    start, worked = time.perf_counter(), time.process_time()
    with install_timer("numba:compile", lambda _: None) as compiling:
        yield
    what = what if len(what) < 300 else what[:300] + "..."
    # on a busy machine the time that it worked, without what is compiled once
    seconds = min(time.perf_counter() - start, time.process_time() - worked)
    seconds -= compiling.duration if compiling.done else 0.0
    growth = memory_mb("VmHWM") - before if measured else 0.0
    COSTS["inputs"] += 1
    if seconds > COSTS["seconds"]:
        COSTS.update(seconds=seconds, slowest=what)
    if growth > COSTS["mb"]:
        COSTS.update(mb=growth, most=what)
    assert seconds < MAX_SECONDS, f"{what} took {seconds:.1f} s"
    assert growth < MAX_GROWTH_MB, f"{what} took {growth:.0f} MB"
