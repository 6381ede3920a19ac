"""What commands print: text of folders is shown, and does not steer the terminal."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import click

from si_curation.cli.printable import printable
from si_curation.cli.terminal import line_cleared
from si_curation.cli.wording import of_current_command


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a text in which `printable` replaced what terminals would obey.

    On standard error are problems and notes, which name options in place of arguments.
    """
    text = of_current_command(str(text)) if err else str(text)
    with line_cleared():
        click.echo(printable(text), err=err, nl=nl)


def command_text(*words: object) -> str:
    """Return a command as one types it, with quotes where a word needs them.

    Examples
    --------
    >>> command_text("si-curation", "check", "day 1") in (
    ...     "si-curation check 'day 1'", 'si-curation check "day 1"')
    True
    """
    texts = [str(word) for word in words]
    return subprocess.list2cmdline(texts) if os.name == "nt" else shlex.join(texts)


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each warning of a command as one line, without where in the code it arose."""

    def formatted(message: Warning | str, category: type[Warning], *_: object) -> str:
        message = of_current_command(str(message))
        with line_cleared():
            return printable(" ".join(f"{category.__name__}: {message}".split())) + "\n"

    before = warnings.formatwarning
    warnings.formatwarning = formatted  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.formatwarning = before


#: Of the line that says that kernels are compiled.
_COMPILATIONS = logging.getLogger("si_curation.kernels.parallel")


class _Lines(logging.Handler):
    """Prints what is logged as notes on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        echo(text if record.exc_info else " ".join(text.split()), err=True)


LOG_LINES = _Lines()


@contextmanager
def logs_as_lines() -> Iterator[None]:
    """Print what the package logs without the names of modules, for the time of a command."""
    logger = logging.getLogger("si_curation")
    propagated, level = logger.propagate, _COMPILATIONS.level
    LOG_LINES.setFormatter(logging.Formatter("Note: %(message)s"))
    logger.addHandler(LOG_LINES)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(LOG_LINES)
        logger.propagate = propagated
        _COMPILATIONS.setLevel(level)


def be_quiet() -> None:
    """Say nothing of what is on the way, until the command has ended; errors and notes stay."""
    _COMPILATIONS.setLevel(logging.ERROR)


def is_quiet() -> bool:
    """Return whether `be_quiet` was called for this command."""
    return _COMPILATIONS.level == logging.ERROR
