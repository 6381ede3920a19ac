"""spikeinterface-gui in the browser: on a port of one's own, and without the internet."""

from __future__ import annotations

import socket
from typing import Any

from si_curation.errors import ParameterError

_LISTEN = """
export function render({ model }) {
  const held = ["altKey", "ctrlKey", "metaKey", "shiftKey"];
  const hash = (e) => [e.key, ...held.map((key) => !!e[key])].join();
  const names = {};
  for (const shortcut of model.shortcuts) {
    const forMac = { ...shortcut, ctrlKey: false, metaKey: true };
    names[hash(shortcut)] = shortcut.name;
    if (shortcut.ctrlKey) names[hash(forMac)] = shortcut.name;
  }
  const listen = (e) => {
    const name = names[hash(e)];
    if (!name) return;
    e.preventDefault();
    e.stopPropagation();
    model.send_msg(name);
  };
  window.addEventListener("keydown", listen);
  model.on("remove", () => window.removeEventListener("keydown", listen));
}
"""


def use_local_shortcuts() -> None:
    """Let keyboard shortcuts of the GUI's pages work without scripts of another server.

    The GUI's own component of them loads React from the internet, and without it the whole page
    stays white. Later windows of this process have ours too.
    """
    import param
    from panel.custom import JSComponent, ReactComponent
    from spikeinterface_gui import utils_panel

    if not issubclass(utils_panel.KeyboardShortcuts, ReactComponent):
        return
    members = {
        "shortcuts": param.List(item_type=dict, doc="As spikeinterface-gui's KeyboardShortcut."),
        "_esm": _LISTEN,
        "__module__": __name__,
    }
    utils_panel.KeyboardShortcuts = type("KeyboardShortcuts", (JSComponent,), members)


def check_port(port: int) -> None:
    """Raise `ParameterError` where a server cannot listen on a port; 0 is any free one."""
    if not 0 <= port <= 65535:
        raise ParameterError(f"port is {port}, expected a whole number from 0 (any free) to 65535")
    try:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(("localhost", port))
    except OSError as fault:
        reason = fault.strerror or str(fault)
        raise ParameterError(
            f"port {port} cannot be used ({reason}); give another port, or 0 for any free one"
        ) from None


def serve(window: Any, port: int) -> None:
    """Show a window of Panel in the browser until the program is interrupted (Ctrl-C)."""
    from spikeinterface_gui.backend_panel import start_server

    start_server(window, port=port)
