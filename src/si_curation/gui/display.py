"""Whether Qt can open a window here."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

from si_curation.errors import MissingDataError

_INSTEAD = 'mode="web" shows the GUI in a browser'
_TRY = "from PySide6.QtWidgets import QApplication; QApplication([])"
_LONGEST_S = 120
_MANY = 1 << 30


def check_display() -> None:
    """Raise where Qt cannot open a window; Qt itself would end the program.

    Raises
    ------
    MissingDataError
        Qt's libraries cannot be loaded, there is no display, or Qt does not start on it.
    """
    try:
        from PySide6.QtWidgets import QApplication
    except ImportError as fault:
        raise MissingDataError(
            f"Qt cannot be loaded ({fault}): install that library of the system; {_INSTEAD}"
        ) from None
    if QApplication.instance() is not None or not sys.platform.startswith("linux"):
        return
    if os.environ.get("QT_QPA_PLATFORM", "").partition(":")[0] in ("offscreen", "minimal"):
        return
    if not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))):
        raise MissingDataError(
            "there is no display for a window (DISPLAY is not set; over ssh: ssh -X); " + _INSTEAD
        )
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRY], capture_output=True, timeout=_LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise MissingDataError(
            f"Qt did not start on the display within {_LONGEST_S} s; {_INSTEAD}"
        ) from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        said = lines[0].strip() if lines else f"exit code {done.returncode}"
        raise MissingDataError(f"Qt opens no window on this display ({said}); {_INSTEAD}")


def keep_constants() -> None:
    """Keep Python alive while Qt's bindings release references that others own.

    PySide6 6.12 does so with None, True and False when it draws. After some hundred selections of
    units the last one would be gone, and Python 3.10 or 3.11 end with "deallocating None". From
    3.12 on the counts of these objects do not matter, which is what a large count does here.
    """
    if sys.implementation.name != "cpython" or sys.version_info >= (3, 12):
        return
    for one in (None, True, False):
        count = ctypes.c_ssize_t.from_address(id(one))
        if abs(count.value - sys.getrefcount(one)) < 10:  # it is where this build has it
            count.value = max(count.value, _MANY)
