"""What Windows refuses, on a system that does not: what is open or mapped stays where it is."""

import os
from contextlib import contextmanager

import pytest

from si_curation import files

_REFUSING = ("replace", "rename", "unlink", "remove")


def held_files() -> set[str]:
    """Return the files that this process has open or mapped into memory (Linux)."""
    held = set()
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            parts = line.rstrip("\n").split(maxsplit=5)
            if len(parts) == 6 and parts[5].startswith("/"):
                held.add(parts[5].removesuffix(" (deleted)"))
    for handle in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink(f"/proc/self/fd/{handle}")
        except OSError:  # closed meanwhile
            continue
        if path.startswith("/") and os.path.isfile(path):
            held.add(path)
    return held


def _sharing_violation(path: str) -> PermissionError:
    fault = PermissionError(13, "the file is used by another process", path)
    fault.winerror = 32
    return fault


@contextmanager
def as_on_windows():
    """Refuse to move, replace or remove what this process has open; yield what was refused.

    There are no locks of files, no exchange of names in one step and no fsync of folders either.
    """
    refused: list[tuple[str, str]] = []

    def guarded(name, function):
        def call(*args, **kwargs):
            paths = [os.fsdecode(one) for one in args[: 1 + (name in ("replace", "rename"))]]
            folder = kwargs.get("dir_fd")
            if folder is not None:
                paths = [os.path.join(os.readlink(f"/proc/self/fd/{folder}"), paths[0])]
            held = held_files()
            for path in paths:
                real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
                for one in held:
                    if one == real or one.startswith(f"{real}{os.sep}"):
                        refused.append((name, one))
                        raise _sharing_violation(path)
            if name == "rename" and os.path.lexists(paths[-1]):
                refused.append((name, paths[-1]))
                raise FileExistsError(17, "it exists already", paths[-1])
            return function(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in _REFUSING:
            patch.setattr(os, name, guarded(name, getattr(os, name)))
        patch.setattr(files, "fcntl", None)
        patch.setattr(files, "_exchange", lambda *_: False)
        patch.setattr(files, "sync_folder", lambda _: None)
        yield refused
