"""Where no window can be opened, one line says so; Qt would end the program."""

import os
import subprocess
import sys

import pytest

import si_curation as sic
from helpers.needs import need
from si_curation.gui.display import check_display

INSTEAD = r"mode=\"web\" shows the GUI in a browser"


@pytest.fixture(autouse=True)
def _no_window_yet(monkeypatch):
    need("PySide6")
    from PySide6.QtWidgets import QApplication

    monkeypatch.setattr(QApplication, "instance", lambda: None)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)


def refused(match):
    with pytest.raises(sic.MissingDataError, match=f"{match}.*{INSTEAD}") as caught:
        check_display()
    assert "\n" not in str(caught.value)


def test_no_display(monkeypatch):
    refused("there is no display for a window .DISPLAY is not set; over ssh: ssh -X")
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    check_display()


def test_display_on_which_qt_does_not_start(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":99")
    said = b"qt.qpa.xcb: could not connect to display :99\nThis application failed to start\n"
    ended = {"returncode": -6, "stdout": b"", "stderr": said}
    monkeypatch.setattr(subprocess, "run", lambda a, **_: subprocess.CompletedProcess(a, **ended))
    refused(r"Qt opens no window on this display \(qt.qpa.xcb: could not connect to display :99\)")
    ended.update(stderr=b"")
    refused("exit code -6")

    def hangs(*_, **given):
        raise subprocess.TimeoutExpired("python", given["timeout"])

    monkeypatch.setattr(subprocess, "run", hangs)
    refused("did not start on the display within 120 s")


def test_library_of_the_system_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "PySide6.QtWidgets", None)
    refused("Qt cannot be loaded")


@pytest.mark.slow
def test_real_qt_without_a_display(monkeypatch):
    """Qt's own message of a display that is not there."""
    monkeypatch.setenv("DISPLAY", ":4711")
    refused("Qt opens no window on this display")


def test_constants_outlive_what_qt_releases():
    """In another process, which releases 100,000 references that it does not own."""
    code = (
        "import ctypes, sys\n"
        "from si_curation.gui.display import keep_constants\n"
        "keep_constants(); keep_constants()\n"
        "for _ in range(100_000):\n"
        "    for one in (None, True, False):\n"
        "        ctypes.pythonapi.Py_DecRef(ctypes.py_object(one))\n"
        "print('alive', None, True, False)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stdout) == (0, "alive None True False\n")
