"""Where the Kilosort/phy folder is that a file, or a folder above it, stands for."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

#: A folder with one of these is Kilosort's or phy's, broken or not.
CORE_FILES = ("spike_times.npy", "spike_templates.npy", "spike_clusters.npy", "templates.npy")
_MOST_SHOWN = 5
_MAX_DEPTH, _MAX_SUBFOLDERS = 3, 10_000


def has_core_files(folder: str | Path) -> bool:
    """Return whether a folder has one of the files that make it Kilosort's or phy's."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in CORE_FILES)


def folders_below(path: Path, marks: Collection[str] = ("spike_times.npy",)) -> list[str]:
    """Return folders below a folder, relative to it, that hold a file or folder of some names.

    At most five, of at most three levels; hidden folders are left out.
    """
    found: list[str] = []
    for number, (root, folders, files) in enumerate(os.walk(path)):
        relative = Path(root).relative_to(path)
        if relative.parts and not set(marks).isdisjoint([*files, *folders]):
            found.append(str(relative))
            folders[:] = []
        depth = len(relative.parts)
        folders[:] = (
            sorted(f for f in folders if not f.startswith(".")) if depth < _MAX_DEPTH else []
        )
        if len(found) >= _MOST_SHOWN or number > _MAX_SUBFOLDERS:
            break
    return found


def advice_on(path: Path) -> str:
    """Return what to give in place of a path that is no Kilosort/phy folder."""
    if path.is_file() and has_core_files(path.parent):
        return f"give its folder: {path.parent}"
    below = folders_below(path) if path.is_dir() else []
    if below:
        return f"give what is below it: {', '.join(below)}"
    return "give the folder that holds spike_times.npy"
