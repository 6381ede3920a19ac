"""Processes of their own that start at once: forks of one that has imported what they need.

For tests on POSIX that need many. A fork is killed, limited and ends like any other process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import TracebackType
from typing import NamedTuple

_SERVER = """
import json, os, sys


def next_code():
    for line in sys.stdin:
        code = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            os.close(reading)
            os.close(writing)
            return code
        os.close(writing)
        with os.fdopen(reading, errors="replace") as pipe:
            text = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([status, text]), flush=True)
    return ""


exec(compile(next_code(), "<fork>", "exec"))
"""


class Ended(NamedTuple):
    returncode: int  # minus a signal
    stderr: str  # and what it printed


class Forks:
    """A process that runs some code, then code that is handed to it, each time in a fork."""

    def __init__(self, preparation: str, environment: dict[str, str]) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", preparation + _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def run(self, code: str) -> Ended:
        """Run code in a fork, to its end."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(code) + "\n")
        self._server.stdin.flush()
        return Ended(*json.loads(self._server.stdout.readline()))

    def __enter__(self) -> Forks:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate(timeout=60)
