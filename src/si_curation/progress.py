"""Stages of work, shown by whoever listens: the command line. In a script nobody does.

Functions name what takes long with `stage`, and count with `counted` or `track`. Where nobody
listens, the latter two are tqdm's bars, as ``progress_bar`` asks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from tqdm.auto import tqdm

T = TypeVar("T")


class Listener(Protocol):
    """Shows the stages of a program; a stage that begins within another one is shown instead."""

    def begin(self, text: str, total: int | None) -> None:
        """Show a stage; `total`: what its steps add up to, None: not known."""

    def advance(self, steps: int) -> None:
        """Show that the innermost stage has come further."""

    def end(self) -> None:
        """Show the stage around the innermost one again."""


_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Show the stages of the main thread with a listener, while the block runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _listener() -> Listener | None:
    # stages of other threads would end in another order than they began
    is_main = threading.current_thread() is threading.main_thread()
    return _listeners[-1] if _listeners and is_main else None


class _Steps:
    """What `counted` yields where somebody listens."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def update(self, steps: int = 1) -> None:
        self._listener.advance(steps)

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        pass

    def set_postfix(self, *args: Any, **kwargs: Any) -> None:
        pass


@contextmanager
def stage(text: str) -> Iterator[None]:
    """Name what takes long: "computing cross_correlograms"."""
    listener = _listener()
    if listener is None:
        yield
        return
    listener.begin(text, None)
    try:
        yield
    finally:
        listener.end()


@contextmanager
def counted(total: int, text: str, *, hidden: bool = False, **options: Any) -> Iterator[Any]:
    """Count the steps of a stage with ``update(number)``.

    Parameters
    ----------
    total : int
    text : str
    hidden : bool
        Show no bar where nobody listens.
    **options
        Of tqdm's bar.
    """
    listener = _listener()
    if listener is None:
        with tqdm(total=total, desc=text, disable=hidden, **options) as bar:
            yield bar
        return
    listener.begin(text, total)
    try:
        yield _Steps(listener)
    finally:
        listener.end()


def track(
    items: Iterable[T], total: int, text: str, *, hidden: bool = False, **options: Any
) -> Iterator[T]:
    """Yield items, counted; see `counted`."""
    with counted(total, text, hidden=hidden, **options) as bar:
        for item in items:
            yield item
            bar.update(1)
