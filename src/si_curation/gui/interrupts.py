"""Ctrl-C in the terminal from which a window was opened."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_LOOK_EVERY_MS = 200


def wait_until_closed() -> None:
    """Run Qt's loop until its windows are closed, or Ctrl-C or SIGTERM ends it.

    In Qt's loop no handler of a signal runs, so that neither would end the program.

    Raises
    ------
    KeyboardInterrupt
        Or what else the handler does that was there before.
    """
    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication

    if threading.current_thread() is not threading.main_thread():
        QApplication.exec()
        return
    caught: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        QApplication.quit()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {n: signal.signal(n, end) for n in numbers if signal.getsignal(n) is not None}
    timer = QTimer()
    timer.timeout.connect(lambda: None)  # handlers run when Python does
    timer.start(_LOOK_EVERY_MS)
    try:
        QApplication.exec()
    finally:
        timer.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        signal.raise_signal(caught[0])
