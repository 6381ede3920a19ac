"""The library that reads and writes NWB, where it is installed, and our place in a file."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from si_curation.checks import import_optional

MODULE = "ecephys"


def import_pynwb() -> ModuleType:
    """Import pynwb.

    Raises
    ------
    MissingDataError
        It is not installed.
    """
    return import_optional("pynwb", "nwb", "an NWB file")


def ecephys_module(nwbfile: Any) -> Any:
    """Return the processing module of extracellular data; make it where there is none."""
    if MODULE in nwbfile.processing:
        return nwbfile.processing[MODULE]
    return nwbfile.create_processing_module(
        name=MODULE, description="processed extracellular electrophysiology data"
    )
