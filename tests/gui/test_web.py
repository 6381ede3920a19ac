"""The GUI in the browser: its port, and nothing from the internet."""

import re
import socket

import pytest
from click.testing import CliRunner

import si_curation as sic
from helpers.gui_windows import gui, layout_of  # noqa: F401
from helpers.needs import need
from si_curation.cli import cli
from si_curation.gui.web import check_port


def test_port_that_is_taken_is_said():
    check_port(0)
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(sic.ParameterError, match=f"port {port} cannot be used .*another port"):
            check_port(port)
    with pytest.raises(sic.ParameterError, match=r"from 0 .any free. to 65535"):
        check_port(70_000)


def test_port_needs_web():
    folder = str(sic.example_folder())
    result = CliRunner().invoke(cli, ["gui", folder, "--port", "5006"])
    assert result.exit_code == 2
    assert "give --web too" in result.output
    with pytest.raises(sic.ParameterError, match='give mode="web"'):
        sic.open_gui(sic.read_kilosort_as_analyzer(folder), port=5006)


@pytest.mark.slow
@pytest.mark.usefixtures("gui")
def test_page_asks_no_other_server(tmp_path, monkeypatch):
    """All scripts are of the local server, where the GUI's own shortcuts load React from a CDN."""
    need("panel", "bokeh")
    from panel.custom import ReactComponent
    from spikeinterface_gui import utils_panel

    served = []
    monkeypatch.setattr(
        "spikeinterface_gui.backend_panel.start_server", lambda *a, **k: served.append((a, k))
    )
    monkeypatch.chdir(tmp_path)
    arguments = ["gui", str(sic.example_folder()), "--web", "--port", "5007"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "Nothing was saved" in result.output
    (((window,), given),) = served
    assert given == {"port": 5007}
    assert not issubclass(utils_panel.KeyboardShortcuts, ReactComponent)
    models = window.main_layout.get_root().references()
    maps = [one.importmap for one in models if getattr(one, "importmap", None)]
    assert not re.findall("https?://", str(maps))
    names = {one["name"] for m in models if hasattr(m, "esm") for one in m.data.shortcuts}
    assert {"focus", "restore", "unmerge", "unsplit", "good", "noise", "mua"} <= names
