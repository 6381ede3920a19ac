"""Tables and state of phy folders, and faults while they are written."""

from __future__ import annotations

import builtins
import csv
import os
import shutil
import threading
from pathlib import Path

import pytest


class Killed(BaseException):
    """What no handler can see: after it nothing more reaches the disk."""


def tables_of(folder):
    """Every table as {file: {id: {column: text}}}."""
    found = {}
    for path in [*Path(folder).glob("*.tsv"), *Path(folder).glob("*.csv")]:
        with path.open(newline="") as file:
            delimiter = "\t" if "\t" in file.readline() else ","
            file.seek(0)
            rows = list(csv.DictReader(file, delimiter=delimiter))
        found[path.name] = {row.pop("cluster_id"): row for row in rows}
    return found


class Faults:
    """Let the k-th change of the disk fail, and with `kill` every later one too.

    Counted: renames, links, copies, fsyncs, new folders, removals, and files opened for writing.
    """

    NAMES = (
        (os, "replace"),
        (os, "rename"),
        (os, "link"),
        (os, "fsync"),
        (os, "mkdir"),
        (os, "unlink"),
        (os, "rmdir"),
        (shutil, "copyfile"),
        (shutil, "rmtree"),
        (Path, "unlink"),
        (Path, "rmdir"),
        (Path, "mkdir"),
        (builtins, "open"),
    )
    CLEANING = ("unlink", "rmdir", "rmtree")

    def __init__(self, kill):
        self.kill = kill
        self.at = 0
        self.count = 0
        self.lock = threading.Lock()
        self.dead = False

    def wrap(self, name, function):
        def wrapped(*args, **kwargs):
            mode = args[1] if len(args) > 1 else kwargs.get("mode", "r")
            if name == "open" and not set(mode) & set("wxa+"):
                return function(*args, **kwargs)
            with self.lock:
                if self.dead:
                    raise Killed(name)
                # that cleaning up fails too is what a kill is for
                if self.kill or name not in self.CLEANING:
                    self.count += 1
                    if self.count == self.at:
                        self.dead = self.kill
                        raise Killed(name) if self.kill else OSError(28, "No space left", name)
            return function(*args, **kwargs)

        return wrapped

    def each(self, prepare, run, check, limit=400):
        """For k = 1, 2, ... until nothing fails: prepare, run with fault k, check the result."""
        for k in range(1, limit):
            prepare()
            self.at, self.count, self.dead = k, 0, False
            with pytest.MonkeyPatch.context() as patch:
                for owner, name in self.NAMES:
                    patch.setattr(owner, name, self.wrap(name, getattr(owner, name)))
                try:
                    run()
                    failed = False
                except (Killed, OSError):
                    failed = True
            check(failed)
            if self.count < k:
                assert not failed
                return k - 1
        raise AssertionError("it never came to an end")


def state_of(folder, hash_files):
    """Digests of a folder without backups and unfinished files; None without the folder."""
    if not folder.exists():
        return None
    return {
        name: digest
        for name, digest in hash_files(folder).items()
        if ".si_curation_backup" not in name and not Path(name).name.endswith(".tmp")
    }
