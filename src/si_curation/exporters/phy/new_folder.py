"""A folder that is there as a whole or not at all."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from si_curation.errors import OutputExistsError, ParameterError
from si_curation.phy.writing import sync_folder

logger = logging.getLogger(__name__)


def resolve_output(output_folder: str | Path, overwrite: bool) -> Path:
    """Give the output folder, links resolved; an error if it is there and must not be replaced.

    Raises
    ------
    OutputExistsError
    ParameterError
        It is a file, or below one.
    """
    target = Path(output_folder).expanduser().resolve()
    if target.exists() and not target.is_dir():
        raise ParameterError(f"{target} is a file, expected the name of a folder")
    if target.exists() and not overwrite:
        raise OutputExistsError(
            f"{target} exists; give another folder, or overwrite=True (it is then kept as a backup)"
        )
    if not target.name:
        raise ParameterError(f"{target} cannot be an output folder")
    return target


def check_apart(target: Path, source: Path) -> None:
    """Refuse an output that is the source, in it, or around it.

    Raises
    ------
    ParameterError
    """
    source = source.resolve()
    same = target == source or (
        target.exists() and source.exists() and os.path.samefile(target, source)
    )
    where = (
        "is"
        if same
        else "is inside"
        if source in target.parents
        else "holds"
        if target in source.parents
        else None
    )
    if where is not None:
        raise ParameterError(
            f"output_folder {target} {where} the folder that the analyzer was read from, {source}: "
            "give a folder beside it, or use update_phy_folder to change it in place"
        )


@contextmanager
def new_folder(target: Path, overwrite: bool) -> Iterator[Path]:
    """Write a folder under a temporary name beside the target, then rename it.

    On any failure the temporary folder is removed and nothing else has changed. A folder that is
    replaced is renamed to ``<name>.backup-YYYYmmdd-HHMMSS`` and kept.

    Parameters
    ----------
    target : Path
        As `resolve_output` gives it.
    overwrite : bool

    Yields
    ------
    Path
        The folder to write to; close all memory maps of its files before the block ends.

    Raises
    ------
    OutputExistsError
        The target has come to be meanwhile, and `overwrite` is False.
    """
    made = _make_parents(target.parent)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        os.mkdir(part)
        yield part
        _rename(part, target, overwrite)
        made = []
    finally:
        shutil.rmtree(part, ignore_errors=True)
        for folder in made:
            try:
                folder.rmdir()
            except OSError:
                break
    sync_folder(target.parent)


def _make_parents(folder: Path) -> list[Path]:
    """Make missing folders; give them, the innermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    if not folder.is_dir():
        raise ParameterError(f"{folder} is a file, expected a folder")
    for one in reversed(missing):
        os.mkdir(one)
    return missing


def _rename(part: Path, target: Path, overwrite: bool) -> None:
    if not target.exists():
        os.rename(part, target)
        return
    if not overwrite:
        raise OutputExistsError(f"{target} has come to be meanwhile; give another folder")
    backup = _backup_name(target)
    os.rename(target, backup)
    try:
        os.rename(part, target)
    except BaseException:
        os.rename(backup, target)
        raise
    logger.info("%s was replaced; what was there is now %s", target, backup)


def _backup_name(target: Path) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    name = target.with_name(f"{target.name}.backup-{stamp}")
    count = 1
    while name.exists():
        count += 1
        name = target.with_name(f"{target.name}.backup-{stamp}-{count}")
    return name
