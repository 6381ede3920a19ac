"""Copying a folder, with the files that curation changes replaced on the way."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Any

from si_curation.errors import (
    InUseError,
    MissingDataError,
    PhyFolderError,
    SiCurationWarning,
)
from si_curation.files import Content, is_temporary, write_file
from si_curation.phy.arrays import Findings, check_whole, one_line, open_array
from si_curation.phy.backup import BACKUP_FOLDER, CACHE_FOLDER
from si_curation.phy.params import NAME as PARAMS
from si_curation.phy.params import data_paths_of, read_params
from si_curation.phy.raw import resolve_data_paths, resolved
from si_curation.phy.writing import format_params
from si_curation.progress import track

logger = logging.getLogger(__name__)

_SKIPPED_FOLDERS = {CACHE_FOLDER, BACKUP_FOLDER, "__pycache__"}
_NUM_THREADS = 2


def copy_curated(
    source: Path,
    part: Path,
    target: Path,
    plan: Callable[[], Mapping[str, Content | None]],
    *,
    sampling_frequency: float,
    link: bool = False,
    copy_recording: bool = False,
    progress_bar: bool = False,
) -> None:
    """Copy a Kilosort/phy folder, with some files replaced.

    phy's cache and log, backups of this package and unfinished files are left out; raw data files
    too, unless `copy_recording`.

    Parameters
    ----------
    source : Path
    part : Path
        Where to write; exists, empty.
    target : Path
        Where that will be in the end: what ``dat_path`` must resolve from.
    plan : callable
        Gives the files that are written instead: {name: bytes, array, or None for left out}; of
        clusters, tables and parameters. It is called while the other files are copied.
    sampling_frequency : float
        In Hz; for a folder that has no ``params.py``.
    link, copy_recording, progress_bar : bool

    Raises
    ------
    MissingDataError
        `copy_recording`, and the raw data do not exist.
    PhyFolderError
        ``params.py`` cannot be read, or array files are truncated: all of them together.
    InUseError
        A file changed while it was copied.
    """
    findings = Findings()
    params = read_params(source, findings)
    names = files_to_copy(source, part)
    for name in names:
        if name.endswith(".npy"):
            check_whole(source / name, name, findings)
    if findings.with_severity("error"):
        raise PhyFolderError(source, findings.with_severity("error"))
    raw = [resolved(path) for path in resolve_data_paths(source, data_paths_of(params))]
    copied_raw = _names_of_raw(source, raw) if copy_recording else {}
    new_params = _new_params(source, target, params, raw, copied_raw, sampling_frequency)
    names = [name for name in names if resolved(source / name) not in raw]
    jobs = [(source / name, part / name) for name in names if not _is_curated(name)]
    jobs += [(path, part / name) for path, name in copied_raw.items()]
    with _copying(jobs, link, progress_bar):
        replaced = dict(plan())
        if new_params is not None:
            replaced[PARAMS] = new_params
        for name in names:
            if _is_curated(name) and name not in replaced:
                copy_file(source / name, part / name, link)
        for name, content in replaced.items():
            if content is not None:
                write_file(part / name, content)


def _is_curated(name: str) -> bool:
    """Return whether a file is one that curation may change.

    The templates only where the clusters were all that was known of them (Kilosort 4.0.0).
    """
    return name in ("spike_clusters.npy", "spike_templates.npy", PARAMS) or (
        "/" not in name and name.endswith((".tsv", ".csv"))
    )


def files_to_copy(source: Path, part: Path) -> list[str]:
    """Return the names of the files to copy, relative to the source, and make their folders.

    Raises
    ------
    PhyFolderError
        Folders may not be listed, or files may not be read: all of them.

    Warns
    -----
    SiCurationWarning
        There are links to folders, or links to nowhere; they are not copied.
    """
    names: list[str] = []
    links: list[str] = []
    findings = Findings()

    def report(fault: OSError) -> None:
        where = Path(fault.filename or source).relative_to(source).as_posix()
        findings.error(where, f"may not be listed: {one_line(fault)}", "make it readable for you")

    for folder, subfolders, files in os.walk(source, onerror=report):
        here = Path(folder).relative_to(source)
        for name in sorted(subfolders):
            if name in _SKIPPED_FOLDERS:
                continue
            if (source / here / name).is_symlink():
                links.append((here / name).as_posix())
            else:
                os.mkdir(part / here / name)
        subfolders[:] = [n for n in subfolders if n not in _SKIPPED_FOLDERS]
        for name in files:
            if name == "phy.log" or is_temporary(name):
                continue
            path, full_name = source / here / name, (here / name).as_posix()
            if path.is_symlink() and not path.exists():
                links.append(full_name)
            elif path.is_file() and not os.access(path, os.R_OK):
                findings.error(full_name, "may not be read", "make it readable for you")
            elif path.is_file():
                names.append(full_name)
    if findings:
        raise PhyFolderError(source, findings)
    if links:
        warnings.warn(
            f"{source}: links to folders and to nowhere are not copied: {', '.join(links)}",
            SiCurationWarning,
            stacklevel=4,
        )
    return names


@contextmanager
def _copying(jobs: list[tuple[Path, Path]], link: bool, progress_bar: bool) -> Iterator[None]:
    """Copy files while the block runs, and to the end."""
    jobs = sorted(jobs, key=lambda job: -job[0].stat().st_size)

    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        done = [pool.submit(copy_file, *job, link) for job in jobs]
        try:
            yield
            hidden = not progress_bar
            for future in track(done, len(done), "export_to_phy", hidden=hidden, unit="file"):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def copy_file(original: Path, copied: Path, link: bool) -> None:
    """Copy a file, or link to it; raise where it changes meanwhile."""
    if link and may_be_linked(original.name) and _linked(original, copied):
        return
    before = original.stat()
    shutil.copyfile(original, copied)
    after = original.stat()
    is_same = before.st_mtime_ns == after.st_mtime_ns and before.st_size == after.st_size
    if not is_same or copied.stat().st_size != after.st_size:
        raise InUseError(
            f"{original} changed while it was copied: close the program that writes it, and try "
            "again"
        )


def may_be_linked(name: str) -> bool:
    """Return whether a file is never changed in place, by phy or by this package.

    phylib opens ``templates.npy`` for writing, and writes ``_phy_spikes_subset`` files anew;
    clusters, tables and parameters are what curation changes.

    Examples
    --------
    >>> may_be_linked("pc_features.npy"), may_be_linked("spike_clusters.npy")
    (True, False)
    """
    if name in ("spike_clusters.npy", "templates.npy") or name.startswith("_phy_"):
        return False
    return not name.endswith((".tsv", ".csv", ".py", ".log", ".json", ".txt"))


def _linked(original: Path, copied: Path) -> bool:
    try:
        os.link(original.resolve(), copied)
    except OSError:  # another disk, or a file system without links: a copy is as good
        return False
    return True


def _names_of_raw(source: Path, raw: list[Path]) -> dict[Path, str]:
    if not raw or not all(path.is_file() for path in raw):
        shown = ", ".join(str(path) for path in raw if not path.is_file()) or "dat_path is empty"
        raise MissingDataError(
            f"copy_recording=True, but the raw data of {source} are not there: {shown}"
        )
    names: dict[Path, str] = {}
    for path in raw:
        name, count = path.name, 1
        while name in names.values() or (
            (source / name).exists() and (source / name).resolve() != path
        ):
            count += 1
            name = f"{path.stem}_{count}{path.suffix}"
        names.setdefault(path, name)
    return names


def _new_params(
    source: Path,
    target: Path,
    params: Mapping[str, Any],
    raw: list[Path],
    copied_raw: Mapping[Path, str],
    sampling_frequency: float,
) -> bytes | None:
    """Return the new ``params.py``, None where the old one is right in the new place too."""
    if not (source / PARAMS).is_file():
        return made_params(source, sampling_frequency)
    entries = data_paths_of(dict(params))
    if copied_raw:
        return _with_paths(params, [copied_raw[path] for path in raw])
    if not entries:
        return None
    if all(_resolves_alike(entry, path, target) for entry, path in zip(entries, raw, strict=True)):
        return None
    if not any(os.path.exists(path) for path in raw):
        comment = (
            f"No raw data file: {', '.join(map(repr, entries))} was not there when {source} was "
            "exported. Traces and waveforms need its path as dat_path."
        )
        return format_params({**params, "dat_path": None}, [comment])
    return _with_paths(params, [path.as_posix() for path in raw])


def _resolves_alike(entry: str, path: Path, target: Path) -> bool:
    """Return whether an entry means the same file in the new folder, even if there is none."""
    if not os.path.exists(path):
        return Path(entry).is_absolute() or PureWindowsPath(entry).is_absolute()
    return resolved(resolve_data_paths(target, (entry,))[0]) == path


def _with_paths(params: Mapping[str, Any], paths: list[str]) -> bytes:
    is_list = isinstance(params["dat_path"], list | tuple)
    return format_params({**params, "dat_path": paths if is_list else paths[0]})


def made_params(source: Path, sampling_frequency: float) -> bytes:
    """Return ``params.py`` for a folder that has none."""
    channel_map = open_array(source, "channel_map.npy", Findings())
    values = {
        "dat_path": None,
        "n_channels_dat": 1 if channel_map is None else int(channel_map.max()) + 1,
        "dtype": "int16",
        "offset": 0,
        "sample_rate": float(sampling_frequency),
        "hp_filtered": False,
    }
    comment = (
        f"{source} had no params.py. sample_rate is that of the analyzer; dtype and n_channels_dat "
        "are guesses and matter only once dat_path names the raw data."
    )
    return format_params(values, [comment])
