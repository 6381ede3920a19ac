"""Where the raw data are and how long they are; never opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np


def resolve_data_paths(folder: Path, data_paths: tuple[str, ...]) -> tuple[Path, ...]:
    """Resolve ``dat_path`` entries against the folder, as phy does.

    An absolute path of another system (of Windows, read on Linux) that does not exist is
    looked for by its file name in the folder.
    """
    return tuple(_resolve(folder, entry) for entry in data_paths)


def _resolve(folder: Path, entry: str) -> Path:
    path = Path(entry)
    if not path.is_absolute():
        path = folder / path
    # os.path, as names that no file can have (too long, NUL) are no error there
    if not os.path.exists(path):
        beside = folder / PureWindowsPath(entry).name
        if os.path.isfile(beside):
            return beside
    return path


def resolved(path: Path) -> Path:
    """Return a path with its links followed; as it is where no file can have it, or links loop."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path


def raw_num_samples(data_paths: tuple[Path, ...], params: Mapping[str, Any]) -> int | None:
    """Return the length of the raw data in samples, None where files or parameters are missing."""
    lengths = raw_file_lengths(data_paths, params)
    return None if lengths is None else sum(lengths)


def raw_file_lengths(data_paths: tuple[Path, ...], params: Mapping[str, Any]) -> list[int] | None:
    """Return the length of each raw file in samples, None where files or parameters are missing.

    ``offset`` bytes are skipped in each file, as phy does.
    """
    num_channels = params.get("n_channels_dat")
    offset = params.get("offset", 0)
    itemsize = itemsize_of(params.get("dtype", "int16"))
    if not isinstance(num_channels, int) or num_channels <= 0 or not itemsize:
        return None
    if not isinstance(offset, int) or offset < 0 or not data_paths:
        return None
    if any(not os.path.isfile(path) or path.suffix == ".cbin" for path in data_paths):
        return None
    num_bytes = [max(path.stat().st_size - offset, 0) for path in data_paths]
    return [size // (itemsize * num_channels) for size in num_bytes]


def itemsize_of(dtype: Any) -> int:
    """Return the bytes of one value of a numeric dtype by its name, 0 for anything else."""
    try:
        found = np.dtype(dtype) if isinstance(dtype, str) else np.dtype("V")
    except (TypeError, ValueError, SyntaxError):
        return 0
    return found.itemsize if found.kind in "iuf" else 0
