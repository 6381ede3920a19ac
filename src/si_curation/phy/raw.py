"""Where the raw data are and how long they are; never opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np


def resolve_data_paths(folder: Path, data_paths: tuple[str, ...]) -> tuple[Path, ...]:
    """Resolve ``dat_path`` entries against the folder, as phy does.

    An absolute path of another system (of Windows, read on Linux) that is not there is looked
    for by its file name in the folder.
    """
    return tuple(_resolve(folder, entry) for entry in data_paths)


def _resolve(folder: Path, entry: str) -> Path:
    path = Path(entry)
    if not path.is_absolute():
        path = folder / path
    if not path.exists():
        beside = folder / PureWindowsPath(entry).name
        if beside.is_file():
            return beside
    return path


def raw_num_samples(data_paths: tuple[Path, ...], params: Mapping[str, Any]) -> int | None:
    """Give the length of the raw data in samples, None where it cannot be told.

    ``offset`` bytes are skipped in each file, as phy does.
    """
    num_channels = params.get("n_channels_dat")
    offset = params.get("offset", 0)
    try:
        itemsize = np.dtype(params.get("dtype", "int16")).itemsize
    except TypeError:
        return None
    is_count = isinstance(num_channels, int) and num_channels > 0
    if not is_count or not isinstance(offset, int) or not data_paths:
        return None
    if any(not path.is_file() or path.suffix == ".cbin" for path in data_paths):
        return None
    return sum((p.stat().st_size - offset) // (itemsize * num_channels) for p in data_paths)
