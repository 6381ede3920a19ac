"""Take the picture of the graphical interface, without a display.

PYTHONPATH=src python docs/_ext/picture_of_the_gui.py
"""

from __future__ import annotations

import os
from pathlib import Path

TARGET = Path(__file__).parents[2] / "docs" / "_static" / "gui.png"
# one view in each zone, without tabs
LAYOUT = {
    "zone1": ["unitlist"],
    "zone2": ["lineage"],
    "zone3": ["spikeamplitude"],
    "zone4": [],
    "zone5": ["probe"],
    "zone6": ["templatefeature"],
    "zone7": ["waveform"],
    "zone8": ["correlogram"],
}


def main() -> None:
    """Open the example folder, show two units, and take the picture of the window."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    import si_curation as sic

    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    layout = {zone: list(views) for zone, views in LAYOUT.items()}
    window = sic.open_gui(analyzer, layout=layout, start_app=False)
    window.resize(1500, 950)
    window.show()
    window.controller.set_visible_unit_ids([11, 12])
    for view in window.views.values():
        view.notify_unit_visibility_changed()
        view.refresh()
    from spikeinterface_gui.myqt import mkQApp

    for _ in range(10):
        mkQApp().processEvents()
    window.grab().save(str(TARGET))
    os._exit(0)  # Qt's objects and Python's would end in any order


if __name__ == "__main__":
    main()
