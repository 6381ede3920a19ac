"""The group of commands ``si-curation``, and how its errors end."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from si_curation.cli.apply import apply
from si_curation.cli.attach import attach
from si_curation.cli.batch import batch
from si_curation.cli.benchmark import benchmark
from si_curation.cli.check import check
from si_curation.cli.classify import classify
from si_curation.cli.cleaning import cleaning
from si_curation.cli.cluster_info import cluster_info
from si_curation.cli.compare import compare
from si_curation.cli.compute import compute
from si_curation.cli.connections import connections
from si_curation.cli.contamination import contamination
from si_curation.cli.demo import demo
from si_curation.cli.gui import gui
from si_curation.cli.info import info
from si_curation.cli.journal import journal
from si_curation.cli.learn import label, learn
from si_curation.cli.lineage import lineage
from si_curation.cli.merges import duplicates, merges
from si_curation.cli.metrics import metrics
from si_curation.cli.nwb import export_nwb
from si_curation.cli.options import GROUP_SETTINGS, add_quiet_option
from si_curation.cli.output import LOG_LINES, echo, logs_as_lines, warnings_as_lines
from si_curation.cli.phy import export_phy, restore
from si_curation.cli.plan import plan
from si_curation.cli.proposals import propose, reviews
from si_curation.cli.replay import replay
from si_curation.cli.report import report
from si_curation.cli.sessions import split_sessions
from si_curation.cli.splits import splits
from si_curation.cli.unitmatch import export_unitmatch
from si_curation.cli.warmup import warmup
from si_curation.cli.wording import in_options
from si_curation.errors import FolderNotFoundError, SiCurationError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; errors are one line on standard error and exit code 2.

    Ctrl-C and SIGTERM end it in order: what was not finished is removed. The exit code is 128 and
    the number of the signal, as of other programs.
    """
    with _ended_in_order() as stopped:
        code = _run(arguments, stopped)
    sys.exit(code or 0)


@contextmanager
def _ended_in_order() -> Iterator[list[int]]:
    """Make an interrupt of SIGTERM; yields the list that its number is added to."""
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough: it takes a moment to tidy up
        stopped.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            if number not in stopped:  # the process ends now, and is not to be disturbed
                signal.signal(number, handler)


def _run(arguments: Sequence[str] | None, stopped: list[int]) -> Any:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # consoles that cannot show every character
    try:
        _check_working_directory()
        with warnings_as_lines(), logs_as_lines():
            code = cli.main(args=arguments, prog_name="si-curation", standalone_mode=False)
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.exceptions.NoArgsIsHelpError as fault:
        echo(fault.format_message())
        code = 0
    except click.ClickException as fault:
        code = _fail(fault.format_message())
    except (click.Abort, KeyboardInterrupt):
        _fail("terminated" if signal.SIGTERM in stopped else "interrupted")
        code = 128 + (stopped or [signal.SIGINT])[0]
    except BrokenPipeError:
        code = 0
    except SiCurationError as fault:
        code = _fail(str(fault))
    except Exception as fault:
        if logging.getLogger("si_curation").isEnabledFor(logging.DEBUG):
            raise
        code = _fail(f"{type(fault).__name__}: {fault} (run with --debug to see where)")
    return code


def _check_working_directory() -> None:
    """Raise if relative paths mean nothing; so many libraries ask that each would fail later."""
    try:
        os.getcwd()
    except OSError:
        raise FolderNotFoundError(
            "the working directory does not exist any more; change to one that does"
        ) from None


def _fail(message: str) -> int:
    echo("Error: " + " ".join(message.split()), err=True)
    return 2


class _Told(click.ClickException):
    """An error of the package in the words of the command line."""

    exit_code = 2


class _Commands(click.Group):
    """Commands whose errors name their options, where functions name their arguments."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SiCurationError as fault:
            command = self.commands.get(ctx.invoked_subcommand or "")
            text = str(fault) if command is None else in_options(str(fault), command, self)
            raise _Told(text) from fault


@click.group(cls=_Commands, context_settings=GROUP_SETTINGS)
@click.option("--debug", is_flag=True, help="Log details; show tracebacks of unexpected errors.")
@click.version_option(package_name="si_curation")
def cli(debug: bool) -> None:
    """What phy shows of a Kilosort sorting, exact and in scripts."""
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING)
    logging.getLogger("si_curation").setLevel(logging.DEBUG if debug else logging.WARNING)
    if debug:
        LOG_LINES.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    for noisy in ("numba", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


for command in (
    apply,
    attach,
    batch,
    benchmark,
    check,
    classify,
    cleaning,
    plan,
    cluster_info,
    compare,
    compute,
    connections,
    contamination,
    demo,
    duplicates,
    export_nwb,
    export_phy,
    export_unitmatch,
    gui,
    info,
    journal,
    label,
    learn,
    lineage,
    merges,
    metrics,
    propose,
    replay,
    report,
    restore,
    reviews,
    split_sessions,
    splits,
    warmup,
):
    cli.add_command(add_quiet_option(command))
add_quiet_option(cli)
