"""A file that is there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from si_curation.errors import OutputExistsError, ParameterError
from si_curation.phy.writing import sync_folder, temporary_name


def check_output_file(path: str | Path, overwrite: bool) -> Path:
    """Give the file that will be written; an error if that cannot be.

    Raises
    ------
    OutputExistsError
        It is there, and is not to be overwritten.
    ParameterError
        It is a folder, or below a file.
    """
    target = Path(path).expanduser()
    if target.is_dir():
        raise ParameterError(f"{target} is a folder, expected the name of an .html file in it")
    if target.exists() and not overwrite:
        raise OutputExistsError(f"{target} exists; give another path or overwrite=True")
    parent = next((folder for folder in target.absolute().parents if folder.exists()), None)
    if parent is not None and not parent.is_dir():
        raise ParameterError(f"{parent} is a file, expected a folder to write {target.name} to")
    return target


def write_in_one_step(target: Path, pieces: Iterable[str], overwrite: bool) -> None:
    """Write text under a temporary name beside the target, then rename it.

    Folders that are missing are made; on any failure nothing is left of it all.
    """
    made = [folder for folder in target.absolute().parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    part = temporary_name(target)
    try:
        # half a surrogate pair, which a unit's name can have, is no character
        with part.open("x", encoding="utf-8", errors="replace", newline="\n") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        if target.exists() and not overwrite:
            raise OutputExistsError(f"{target} has come to be meanwhile; give another path")
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        for folder in made:
            if any(folder.iterdir()):
                break
            folder.rmdir()
        raise
    sync_folder(target.parent)
