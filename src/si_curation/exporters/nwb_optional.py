"""The library that reads and writes NWB, where it is installed."""

from __future__ import annotations

from types import ModuleType

from si_curation.errors import MissingDataError


def import_pynwb() -> ModuleType:
    """Import pynwb.

    Raises
    ------
    MissingDataError
        It is not installed.
    """
    try:
        import pynwb
    except ImportError as fault:
        raise MissingDataError(
            'NWB files need pynwb: pip install "si_curation[nwb]" (' + str(fault) + ")"
        ) from None
    return pynwb
