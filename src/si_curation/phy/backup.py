"""Files of a folder replaced in place: backed up first, and put back by `restore_phy_folder`.

A backup is ``.si_curation_backup/<YYYYmmdd-HHMMSS-nnnn>/`` in the folder: ``manifest.json``, the
files as they were (``files/``), the cache entries of phy that would be stale (``phy_cache/``), and
a marker: ``done``, or ``restored`` after an unfinished change was rolled back. It gets its name
when it is complete; only then is anything replaced. Whatever happens later, it has what is needed
to go back, and the next one that writes to the folder finishes the change or rolls it back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from si_curation.checks import check_arguments, local_path, short_repr
from si_curation.documents import read_document
from si_curation.errors import FolderNotFoundError, InUseError, MissingDataError, ParameterError
from si_curation.files import (
    Content,
    WriterLock,
    behind_links,
    copy_to_disk,
    is_temporary,
    move_over,
    replace_with_copy,
    stage_file,
    sync_file,
    sync_folder,
    uninterrupted,
    write_file,
)
from si_curation.phy.tables import table_paths

BACKUP_FOLDER = ".si_curation_backup"
CACHE_FOLDER = ".phy"
_GUI_STATE = "state.json"  # of phy's windows; everything else in the cache depends on the clusters
_CLUSTERS = "spike_clusters.npy"
_MANIFEST, _DONE, _RESTORED = "manifest.json", "done", "restored"
_NAME = re.compile(r"\d{8}-\d{6}-(\d{4,})")
_NO_NAME = re.compile(r"[/\\\x00-\x1f]|^\.*$")
_LONGEST_NAME = 255
_SHA256 = re.compile(r"[0-9a-f]{64}")


_WAIT_S = 10.0  # for another writer: a change takes as long as the files take to copy


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[dict[str, str]]:
    """Be the only one of this package's writers in a folder while the block runs.

    What a process left unfinished that was killed is finished or rolled back first.

    Parameters
    ----------
    folder : Path

    Yields
    ------
    dict of str to str
        A hash of each file that curation may change, for `replace_files`.

    Raises
    ------
    InUseError
        Another one is still at work after ten seconds.
    ParameterError
        A change was not finished, and another program has changed the files since.
    """
    with WriterLock(folder, "try again when it is done", timeout_s=_WAIT_S):
        _settle(folder)
        paths = [folder / _CLUSTERS, *table_paths(folder)]
        yield {path.name: _sha256(path) for path in paths if path.is_file()}


def replace_files(
    folder: Path,
    files: Mapping[str, Content | None],
    action: str,
    read: Mapping[str, str],
) -> Path | None:
    """Replace, add or remove files of a folder together, after a backup; within `only_writer`.

    If anything fails on the way the folder is put back as it was. After a kill the next
    `only_writer` or `restore_phy_folder` does that.

    Parameters
    ----------
    folder : Path
    files : mapping of str to bytes, array or None
        New content by file name; None: the file is removed.
    action : str
        What is done, for the manifest.
    read : mapping of str to str
        What `only_writer` gave: the files that the new content was made of.

    Returns
    -------
    Path or None
        The backup; None where there was nothing to change.

    Raises
    ------
    InUseError
        Another program changed one of the files since; nothing is changed.
    """
    files = {n: c for n, c in files.items() if c is not None or (folder / n).exists()}
    if not files:
        return None
    before = {name: _stamp(folder / name) for name in files}
    staged: dict[str, Path] = {}
    try:
        for name, content in files.items():
            if content is not None:
                staged[name] = stage_file(folder / name, content)
        backup, found = _make_backup(folder, files, staged, action)
        try:
            changed = [n for n in files if _is_curated(n) and found[n] != read.get(n)]
            changed += [n for n in files if _stamp(folder / n) != before[n] and n not in changed]
            if changed:
                raise InUseError(
                    f"{folder}: another program changed {', '.join(changed)} in the meantime; "
                    "nothing was written. Close phy, and try again"
                )
            with uninterrupted():
                _exchange(folder, files, staged, backup)
        except BaseException:
            _roll_back(folder, backup)
            _remove_backup(backup)
            raise
    finally:
        for path in staged.values():
            path.unlink(missing_ok=True)
    return backup


def _exchange(
    folder: Path, files: Mapping[str, Content | None], staged: Mapping[str, Path], backup: Path
) -> None:
    if _CLUSTERS in files:
        _move_entries(folder, backup / "phy_cache")
    for name in files:
        if name in staged:
            move_over(staged[name], behind_links(folder / name))
        else:
            (folder / name).unlink()
    sync_folder(folder)
    write_file(backup / _DONE, b"", sync=True)


def _is_curated(name: str) -> bool:
    """Return whether phy writes a file when it saves; others are compared by their dates only."""
    return name == _CLUSTERS or name.endswith((".tsv", ".csv"))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _settle(folder: Path) -> None:
    """Finish or roll back what a killed process left in a folder."""
    for backup in unfinished_backups(folder):
        states = _states(folder, _read_manifest(backup))
        others = [name for name, state in states.items() if state == "other"]
        if others:
            raise ParameterError(
                f"{folder}: the change {backup.name} was not finished, and another program changed "
                f"{', '.join(others)} since; restore_phy_folder puts the folder back as it was "
                "before (what is there now is kept in the backup)"
            )
        if "old" in states.values():
            _roll_back(folder, backup)
            write_file(backup / _RESTORED, b"", sync=True)
        else:
            write_file(backup / _DONE, b"", sync=True)
    _remove_unfinished(folder)


def half_done_change(folder: Path) -> str | None:
    """Return the name of a change of a folder that was begun and left some files as they were.

    None where there is none: the files belong together.
    """
    for backup in unfinished_backups(folder):
        try:
            states = set(_states(folder, _read_manifest(backup)).values())
        except MissingDataError:  # nothing can be told; the doctor names the backup
            continue
        if {"old", "new"} <= states:
            return f"{BACKUP_FOLDER}/{backup.name}"
    return None


def _states(folder: Path, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return of each file of a change whether it is "old", "new" or what "other" programs wrote."""
    states = {}
    for entry in manifest["files"]:
        now = _digest(folder / entry["name"])
        if now == entry["new_sha256"]:
            states[entry["name"]] = "new"
        else:
            states[entry["name"]] = "old" if now == entry["sha256"] else "other"
    return states


def _make_backup(
    folder: Path, files: Mapping[str, Content | None], staged: Mapping[str, Path], action: str
) -> tuple[Path, dict[str, str | None]]:
    """Return the backup, and the hash of each file that was there."""
    root = folder / BACKUP_FOLDER
    made_root = not root.exists()
    part = root / f".{uuid.uuid4().hex[:12]}.tmp"
    try:
        (part / "files").mkdir(parents=True)
        entries = []
        for name in files:
            original = folder / name
            entry: dict[str, Any] = {"name": name, "existed": original.exists()}
            if original.is_symlink():
                entry["link"] = os.readlink(original)
            if original.exists():
                copied = part / "files" / name
                copy_to_disk(original, copied)
                entry |= {"size": copied.stat().st_size, "sha256": _sha256(copied)}
            if name in staged:
                entry |= {
                    "new_size": staged[name].stat().st_size,
                    "new_sha256": _sha256(staged[name]),
                }
            entries.append(entry)
        now = datetime.now()
        manifest = {
            "format": 1,
            "written_by": "si_curation",
            "action": action,
            "time": now.isoformat(timespec="seconds"),
            "files": entries,
            "phy_cache": _cache_entries(folder) if _CLUSTERS in files else [],
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        write_file(part / _MANIFEST, text.encode("utf-8"), sync=True)
        sync_folder(part)
        numbers = [_number(backup) for backup in list_backups(folder)]
        name = f"{now:%Y%m%d-%H%M%S}-{max(numbers, default=0) + 1:04d}"
        os.rename(part, root / name)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        if made_root:
            with contextlib.suppress(OSError):
                root.rmdir()
        raise
    sync_folder(root)
    return root / name, {entry["name"]: entry.get("sha256") for entry in entries}


def list_backups(folder: Path) -> list[Path]:
    """Return the backups of a folder, the oldest first."""
    root = folder / BACKUP_FOLDER
    if not root.is_dir():
        return []
    found = [p for p in root.iterdir() if _NAME.fullmatch(p.name) and (p / _MANIFEST).is_file()]
    return sorted(found, key=_number)


def unfinished_backups(folder: Path) -> list[Path]:
    """Return the backups of changes that were begun and neither finished nor undone."""
    return [backup for backup in list_backups(folder) if not _is_finished(backup)]


def _number(backup: Path) -> int:
    match = _NAME.fullmatch(backup.name)
    return int(match[1]) if match else 0


def _is_finished(backup: Path) -> bool:
    return (backup / _DONE).exists() or (backup / _RESTORED).exists()


def restore_phy_folder(folder: str | Path, backup: str | Path | None = None) -> list[Path]:
    """Put back the files that `write_phy_columns` or `update_phy_folder` replaced.

    Files that were replaced or removed come back byte for byte, files that were added are removed.
    A change that was cut short is rolled back. Can be done again, with the same result.

    A file that has changed since (phy has saved, say) is not lost: it is kept in the backup as
    ``replaced-<time>/``.

    Parameters
    ----------
    folder : str or Path
        The Kilosort/phy folder. Close phy first.
    backup : str or Path, optional
        Name of a folder in ``.si_curation_backup``; the last one by default.

    Returns
    -------
    list of Path
        The files that are now as they were (or gone, as they were).

    Raises
    ------
    FolderNotFoundError
        There is no such folder.
    MissingDataError
        There is no (such) backup, or it is damaged; nothing was changed.
    InUseError
        Another program writes to the folder with this package.

    Examples
    --------
    >>> import shutil, tempfile
    >>> import si_curation as sic
    >>> folder = shutil.copytree(sic.example_folder(), tempfile.mkdtemp() + "/copy")
    >>> backup = sic.write_phy_columns(folder, {"note": {4: "look again"}})
    >>> [path.name for path in sic.restore_phy_folder(folder)]
    ['cluster_note.tsv']
    """
    check_arguments(restore_phy_folder, locals())
    path = local_path(folder, "folder")
    if not path.is_dir():
        raise FolderNotFoundError(f"{path} is no folder, expected a Kilosort/phy folder")
    path = path.resolve()
    with WriterLock(path, "try again when it is done", timeout_s=_WAIT_S):
        return _restore(path, None if backup is None else Path(backup).name)


def _restore(path: Path, name: str | None) -> list[Path]:
    backups = list_backups(path)
    if not backups:
        raise MissingDataError(f"{path} has no backup: nothing of it was replaced by this package")
    chosen = backups[-1]
    if name is not None:
        named = [one for one in backups if one.name == name]
        if not named:
            shown = ", ".join(one.name for one in backups)
            raise MissingDataError(f"{path} has no backup {name!r}; there are {shown}")
        chosen = named[0]
    restored = _roll_back(path, chosen)
    if not _is_finished(chosen):
        write_file(chosen / _RESTORED, b"", sync=True)
    _remove_unfinished(path)
    return restored


def _roll_back(folder: Path, backup: Path) -> list[Path]:
    manifest = _read_manifest(backup)
    aside = backup / f"replaced-{datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
    clusters = [e for e in manifest["files"] if e["name"] == _CLUSTERS]
    if clusters and _digest(folder / _CLUSTERS) != clusters[0].get("sha256"):
        _move_entries(folder, aside / "phy_cache")  # it belongs to the clusters that go
    for entry in manifest["files"]:
        _put_back(folder, backup, entry, aside)
    kept = backup / "phy_cache"
    if kept.is_dir():
        for one in sorted(kept.iterdir()):
            home = folder / CACHE_FOLDER / one.name
            if not home.exists():
                home.parent.mkdir(exist_ok=True)
                os.rename(one, home)
    sync_folder(folder)
    return [folder / entry["name"] for entry in manifest["files"]]


def _put_back(folder: Path, backup: Path, entry: Mapping[str, Any], aside: Path) -> None:
    path = folder / entry["name"]
    now = _digest(path)
    if now is not None and now not in (entry["sha256"], entry["new_sha256"]):
        aside.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, aside / path.name)
        sync_file(aside / path.name)
    if not entry["existed"]:
        behind_links(path).unlink(missing_ok=True)
        return
    if entry["link"] and not os.path.lexists(path):
        now = _digest(folder / entry["link"])
        if now in (entry["sha256"], entry["new_sha256"]):  # the file that it led to, as we know it
            os.symlink(entry["link"], path)
    if now != entry["sha256"]:
        replace_with_copy(path, backup / "files" / path.name)


def _read_manifest(backup: Path) -> dict[str, Any]:
    """Return the files of a change, each as it was and as it became; check that all is there."""
    path = backup / _MANIFEST
    try:
        manifest = read_document(path, expected="a manifest")
    except (OSError, ParameterError) as fault:
        raise MissingDataError(f"{path} cannot be read: {fault}") from None
    entries = manifest.get("files") if isinstance(manifest, Mapping) else None
    if not isinstance(entries, list):
        raise MissingDataError(f"{path} is no manifest of a backup: it lists no files")
    files = [_checked_entry(entry, path) for entry in entries]
    for entry in files:
        if entry["existed"] and _digest(backup / "files" / entry["name"]) != entry["sha256"]:
            raise MissingDataError(
                f"the backup {backup} is damaged: {entry['name']} is missing or not what was "
                "backed up"
            )
    return {"files": files}


def _checked_entry(entry: Any, path: Path) -> dict[str, Any]:
    """Return what is used of an entry of a manifest, which anybody may have changed."""
    given = entry if isinstance(entry, Mapping) else {}
    name, existed, link = given.get("name"), given.get("existed"), given.get("link")
    digests = {key: given.get(key) for key in ("sha256", "new_sha256")}
    problem = None
    if not isinstance(name, str) or _NO_NAME.search(name) or len(name) > _LONGEST_NAME:
        problem = f"names {short_repr(name)}, which is no file name"
    elif not isinstance(existed, bool) or (existed and digests["sha256"] is None):
        problem = f"does not say of {name} what it was"
    elif not all(d is None or _is_sha256(d) for d in digests.values()):
        problem = f"has no hash of {name} but {short_repr(list(digests.values()))}"
    elif link is not None and (not isinstance(link, str) or not link or "\0" in link):
        problem = f"has the link {short_repr(link)} for {name}"
    if problem is not None:
        raise MissingDataError(f"{path} {problem}")
    return {"name": name, "existed": existed, "link": link, **digests}


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _cache_entries(folder: Path) -> list[str]:
    """Return the names of what phy has cached that depends on the clusters.

    phy 2.1.0 trusts it blindly: ``spikes_per_cluster.pkl``, ``new_cluster_id.json``, and under the
    ids of clusters ``memcache`` (templates, channels, rates) and ``joblib`` (correlograms,
    waveforms, amplitudes).
    """
    cache = folder / CACHE_FOLDER
    if not cache.is_dir():
        return []
    return sorted(path.name for path in cache.iterdir() if path.name != _GUI_STATE)


def _move_entries(folder: Path, destination: Path) -> None:
    names = _cache_entries(folder)
    if names:
        destination.mkdir(parents=True, exist_ok=True)
    for name in names:
        os.rename(folder / CACHE_FOLDER / name, destination / name)


def _remove_backup(backup: Path) -> None:
    """Remove a backup that is not needed, under another name: never half a backup."""
    part = backup.with_name(f".{backup.name}.tmp")
    with contextlib.suppress(OSError):
        os.rename(backup, part)
        shutil.rmtree(part, ignore_errors=True)
        backup.parent.rmdir()


def _remove_unfinished(folder: Path) -> None:
    """Remove what a killed process left: new files, and backups that were not complete."""
    for path in folder.iterdir():
        is_other = ".json." in path.name  # a curation that spikeinterface-gui may be saving
        if is_temporary(path.name, own=True) and not is_other and path.is_file():
            path.unlink(missing_ok=True)
    root = folder / BACKUP_FOLDER
    for path in root.iterdir() if root.is_dir() else ():
        if is_temporary(path.name) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _digest(path: Path) -> str | None:
    return _sha256(path) if path.is_file() else None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
