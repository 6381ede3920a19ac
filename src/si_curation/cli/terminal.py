"""Stages of a command on standard error: one line that changes on a terminal, lines elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import click

from si_curation.cli.printable import printable
from si_curation.progress import listening, stage

#: A stage is shown when it has lasted so long; s.
DELAY_S = 1.0
_REFRESH_S = 0.2
_BAR_WIDTH = 24


@dataclass
class _Stage:
    text: str
    total: int | None
    start: float = field(default_factory=time.monotonic)
    done: int = 0
    is_told: bool = False


class Stages:
    """The stages of a command, the innermost of which is shown."""

    def __init__(self) -> None:
        self._stages: list[_Stage] = []
        self._lock = threading.RLock()
        self._width = 0  # of what stands on the line now
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def begin(self, text: str, total: int | None) -> None:
        """Begin a stage."""
        with self._lock:
            self._stages.append(_Stage(text, total))
            self.refresh()
        if self._thread is None and DELAY_S > 0:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()

    def advance(self, steps: int) -> None:
        """Count steps of the innermost stage."""
        with self._lock:
            self._stages[-1].done += steps
            if DELAY_S == 0:
                self.refresh()

    def end(self) -> None:
        """End the innermost stage."""
        with self._lock:
            self._stages.pop()
            self.clear()

    def stop(self) -> None:
        """Show nothing any more."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
        self.clear()

    def _watch(self) -> None:
        while not self._is_over.wait(_REFRESH_S):
            with self._lock:
                self.refresh()

    def refresh(self) -> None:
        """Show the innermost stage, if it has lasted long enough."""
        if not self._stages:
            return
        now = self._stages[-1]
        lasted = time.monotonic() - now.start
        if lasted < DELAY_S:
            return
        if self._is_terminal:
            self._write(self._line(now, lasted))
        elif not now.is_told:
            _print(f"{now.text} ...\n")
        now.is_told = True

    def _line(self, now: _Stage, lasted: float) -> str:
        text = now.text
        if now.total:
            share = min(now.done / now.total, 1.0)
            full = round(share * _BAR_WIDTH)
            text += f" [{'#' * full}{'.' * (_BAR_WIDTH - full)}] {now.done:,}/{now.total:,}"
        return f"{text}  {lasted:.0f} s"

    def _write(self, text: str) -> None:
        text = text[: max(shutil.get_terminal_size().columns - 1, 20)]
        _print("\r" + text.ljust(self._width))
        self._width = len(text)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Show nothing while the block runs."""
        with self._lock:
            self.clear()
            yield

    def clear(self) -> None:
        """Take the line away, before something else is printed."""
        with self._lock:
            if self._width:
                _print("\r" + " " * self._width + "\r")
                self._width = 0


def _print(text: str) -> None:
    start = "\r" if text.startswith("\r") else ""
    end = "\r" if text.endswith("\r") and len(text) > 1 else ""
    click.echo(start + printable(text.strip("\r")) + end, err=True, nl=False)


_now: list[Stages] = []


@contextmanager
def stages_shown(name: str) -> Iterator[None]:
    """Show the stages of a command while it runs; its own name where nothing else is known."""
    stages = Stages()
    _now.append(stages)
    try:
        with listening(stages), stage(name):
            yield
    finally:
        stages.stop()
        _now.remove(stages)


@contextmanager
def line_cleared() -> Iterator[None]:
    """Print something else in the block: what `stages_shown` has on the line is taken away."""
    if not _now:
        yield
        return
    with _now[-1].paused():
        yield
