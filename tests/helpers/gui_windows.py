"""Windows of spikeinterface-gui for tests: without a screen, with our views installed."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib import colormaps
from matplotlib.colors import to_hex

from helpers.needs import need
from si_curation.gui.display import keep_constants

GROUP = "spikeinterface_gui.views"
tab20 = colormaps["tab20"]
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
ZONES = [f"zone{i}" for i in range(1, 9)]
os.environ["QT_QPA_PLATFORM"] = "offscreen"


def entry_points_of_project():
    """The entry points that pyproject.toml names; `tomllib` is not in Python 3.10."""
    section = PYPROJECT.read_text().split(f'[project.entry-points."{GROUP}"]')[1].split("\n[")[0]
    found = re.findall(r'^(\w+) = "([\w.:]+)"$', section, flags=re.M)
    return [importlib.metadata.EntryPoint(name, value, GROUP) for name, value in found]


@pytest.fixture
def gui(monkeypatch, tmp_path):
    """A machine on which the views are installed, and nobody has settings of the GUI."""
    need("spikeinterface_gui")
    keep_constants()
    real = importlib.metadata.entry_points
    ours = entry_points_of_project()

    def entry_points(**given):
        found = real(**given)
        if given.get("group") != GROUP:
            return found
        names = {one.name for one in ours}
        return [*ours, *(one for one in found if one.name not in names)]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    # the GUI's colours take a second for each window, and half a minute for the first
    colors = [to_hex(tab20(i)) for i in range(20)]
    palette = SimpleNamespace(create_palette=lambda count, **_: colors[:count])
    monkeypatch.setitem(sys.modules, "glasbey", palette)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def layout_of(*views):
    """One view in each zone, so that all are visible."""
    zones = dict.fromkeys(ZONES, ())
    for zone, view in zip(("zone1", "zone2", "zone3", "zone5", "zone6", "zone7"), views):  # noqa: B905
        zones[zone] = (view,)
    return {zone: list(names) for zone, names in zones.items()}


def process_events():
    from PySide6.QtWidgets import QApplication

    for _ in range(5):
        QApplication.processEvents()


def show(window, width=1500, height=1000):
    """Show a window of Qt; Panel's is there already."""
    if hasattr(window, "resize"):
        window.resize(width, height)
        window.show()
        process_events()
    return window


@contextmanager
def opened(make, *args, **kwargs):
    """Open a window, and close it at the end."""
    window = show(make(*args, start_app=False, **kwargs))
    try:
        yield window
    finally:
        window.controller.current_curation_saved = True
        if hasattr(window, "close"):
            window.close()
            window.deleteLater()
            process_events()
            gc.collect()  # what PySide6 keeps of it would be taken for new objects at its addresses


def select(window, unit_ids, spikes=None):
    """Select units, and spikes, as somebody does in the table of units."""
    table = window.views["unitlist"]
    window.controller.set_visible_unit_ids(list(unit_ids))
    table.notify_unit_visibility_changed()
    if spikes is not None:
        window.controller.set_indices_spike_selected(spikes)
        table.notify_spike_selection_changed()
