"""The folder that a path on the command line stands for."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from si_curation.checks import local_path
from si_curation.cli.output import command_text, echo
from si_curation.errors import FolderNotFoundError
from si_curation.phy.locate import folders_below, has_core_files

_OF_FOLDERS = ("spike_times.npy",)
_OF_ANALYZERS = ("recording_info",)


class LocalPath(click.Path):
    """A path on this computer; a URL is an error of one line, as in the functions."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the path."""
        name = "path" if param is None else param.name
        return local_path(value, name)


class FolderPath(LocalPath):
    """A Kilosort/phy folder, or what stands for one; see `folder_of`.

    Parameters
    ----------
    analyzers : bool
        A saved analyzer is fine too.
    files : collection of str
        Suffixes of files that are fine too, such as ``.json``.
    """

    def __init__(self, *, analyzers: bool = False, files: Collection[str] = ()) -> None:
        super().__init__(path_type=Path)
        self.analyzers = analyzers
        self.files = tuple(files)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the folder, or the path as it is."""
        path = super().convert(value, param, ctx)
        return folder_of(path, analyzers=self.analyzers, files=self.files)


def folder_of(path: Path, *, analyzers: bool = False, files: Collection[str] = ()) -> Path:
    """Return the folder that a path stands for, or the path where it stands for itself.

    A file such as ``params.py`` stands for the folder that it is in, and a folder that holds one
    Kilosort/phy folder, such as the one above ``sorter_output``, for that one: a note says so.

    Raises
    ------
    FolderNotFoundError
        There are several in it.
    """
    from si_curation.reading.loading import is_saved_analyzer

    if path.is_file():
        stands = path.suffix.lower() not in files and _is_one(path.parent, analyzers)
        return path.parent if stands else path
    if not path.is_dir() or _is_one(path, analyzers):
        return path
    if is_saved_analyzer(path):
        raise FolderNotFoundError(
            f"{path} is a saved SortingAnalyzer, and this is of Kilosort/phy folders: give the one "
            "that it was read from, or make one with "
            f"{command_text('si-curation', 'export-phy', path, 'OUT')}"
        )
    below = folders_below(path, _OF_FOLDERS + (_OF_ANALYZERS if analyzers else ()))
    if len(below) > 1:
        found = ", ".join(str(path / one) for one in below)
        raise FolderNotFoundError(f"{path} is no folder of one sorting: give one of {found}")
    if below:
        path = path / below[0]
        echo(f"Note: reading {path}", err=True)
    return path


def _is_one(folder: Path, analyzers: bool) -> bool:
    from si_curation.reading.loading import is_saved_analyzer

    return has_core_files(folder) or (analyzers and is_saved_analyzer(folder))
