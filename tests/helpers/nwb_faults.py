"""The validator of pynwb, which takes most of its time for the schemas, in less time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import pynwb
from hdmf.build import BuildManager, TypeMap
from pynwb.validation import get_cached_namespaces_to_validate

_PARSED: dict[Any, tuple[list[str], TypeMap]] = {}


def faults_in(path: str | Path) -> list[Any]:
    """Give what `pynwb.validate` says; schemas that are the same in many files are parsed once."""
    schemas = {}

    def keep(name: str, one: h5py.Group | h5py.Dataset) -> None:
        if isinstance(one, h5py.Dataset):
            schemas[name] = one[()]

    with h5py.File(path) as file:
        file["specifications"].visititems(keep)
    key = tuple(schemas.items())
    if key not in _PARSED:
        namespaces, manager, _ = get_cached_namespaces_to_validate(path=str(path))
        _PARSED[key] = namespaces, manager.type_map
    namespaces, type_map = _PARSED[key]
    with pynwb.NWBHDF5IO(path, "r", manager=BuildManager(type_map)) as io:
        return [fault for one in namespaces for fault in pynwb.validate(io=io, namespace=one)]
