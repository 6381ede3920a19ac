"""Ctrl-C and SIGTERM end a window as they end any command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import si_curation as sic
from helpers.needs import need

PROGRAM = """
import os, signal
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QWidget
from si_curation.gui.interrupts import wait_until_closed

app = QApplication([])
QTimer.singleShot(100_000, lambda: os._exit(9))


def wait(action):
    window = QWidget()
    window.show()
    QTimer.singleShot(50, lambda: action(window))
    try:
        wait_until_closed()
        return "closed"
    except KeyboardInterrupt:
        return "interrupted"


print(wait(lambda window: os.kill(os.getpid(), signal.SIGINT)))
own = []
signal.signal(signal.SIGTERM, lambda *_: own.append("own handler"))
print(wait(lambda window: os.kill(os.getpid(), signal.SIGTERM)), own)
print(wait(lambda window: window.close()), own, flush=True)
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of other systems")
def test_what_ends_the_loop():
    need("PySide6")
    source = str(Path(sic.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": source},
    )
    expected = ["interrupted", "closed ['own handler']", "closed ['own handler']"]
    assert (done.returncode, done.stdout.splitlines()) == (0, expected), done.stderr
