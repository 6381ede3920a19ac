"""What an interrupted save or copy left, and files that another program put there."""

from __future__ import annotations

import os
import re

from si_curation.doctor.facts import FolderFacts
from si_curation.doctor.wording import first_of, listed, plural
from si_curation.files import is_temporary, replaced_folders, unfinished_folders
from si_curation.phy.arrays import Findings
from si_curation.phy.backup import BACKUP_FOLDER, unfinished_backups

_UNFINISHED = re.compile(r".*(\.tmp|\.part|\.partial|\.crdownload|\.filepart|\.swp|~)$", re.I)
_IN_USE = re.compile(r"(\.~lock\..*#|~\$.*|\.nfs[0-9a-f]+|\.fuse_hidden.*)$")
_OLD = re.compile(r".*\.(bak|orig|old|backup)$", re.I)
_COPY = re.compile(r".*( \(\d+\)| - Copy| copy|conflicted copy.*|_conflict.*)\.\w+$", re.I)


def check_interrupted(facts: FolderFacts, findings: Findings) -> None:
    """Check that every save was finished."""
    temporary = [n for n in facts.names if is_temporary(n) or _UNFINISHED.fullmatch(n)]
    if temporary:
        findings.warning(
            temporary[0],
            f"{plural(len(temporary), 'unfinished file')}: {listed(temporary)}",
            "a program was stopped while it wrote; look whether the file it was to replace is "
            "whole, then remove it",
            files=first_of(temporary),
        )
    backups = facts.folder / BACKUP_FOLDER
    if backups.is_dir():
        unfinished = [backup.name for backup in unfinished_backups(facts.folder)]
        half = [p.name for p in backups.iterdir() if is_temporary(p.name)]
        if unfinished:
            findings.warning(
                f"{BACKUP_FOLDER}/{unfinished[-1]}",
                "a change of files was begun and not finished: files of two states may be mixed",
                "put the folder back with restore_phy_folder (si-curation restore); the next "
                "update_phy_folder or write_phy_columns finishes it or rolls it back",
                backups=unfinished,
            )
        if half:
            findings.info(
                f"{BACKUP_FOLDER}/{half[0]}",
                "a backup that was never completed; nothing was changed then",
                "remove it",
            )
    _check_replaced(facts, findings)
    beside = [path.name for path in unfinished_folders(facts.folder)]
    if beside:
        findings.info(
            f"../{beside[0]}",
            "what an export to this folder left when it was stopped",
            "remove it",
            folders=beside,
        )


def _check_replaced(facts: FolderFacts, findings: Findings) -> None:
    """Find what was to be replaced by an export that was killed."""
    beside = [path.name for path in replaced_folders(facts.folder)]
    if beside:
        findings.warning(
            f"../{beside[0]}",
            "an export that replaced this folder was stopped in the middle: what it was to be "
            "replaced with, or what was there before",
            "compare the two, and keep the one that is right; the next export to this folder makes "
            "a backup of it",
            folders=beside,
        )


def check_zero_bytes(facts: FolderFacts, findings: Findings) -> None:
    """Check that no file is empty (arrays and tables are looked at elsewhere)."""
    empty = [
        name
        for name in facts.names
        if os.path.isfile(facts.folder / name)
        and os.path.getsize(facts.folder / name) == 0
        and not facts.is_faulty(name)
        and not name.startswith(".")
    ]
    if empty:
        findings.warning(
            empty[0],
            f"{plural(len(empty), 'file')} of 0 bytes: {listed(empty)}",
            "a copy or save was interrupted: copy again",
            files=first_of(empty),
        )


def check_links(facts: FolderFacts, findings: Findings) -> None:
    """Check that links lead somewhere."""
    for name in facts.names:
        path = facts.folder / name
        if os.path.islink(path) and not os.path.exists(path):
            findings.warning(
                name,
                f"is a link to {os.readlink(path)}, which is not there",
                "put the file itself there",
            )


def check_others(facts: FolderFacts, findings: Findings) -> None:
    """Find hidden, open and old files that other programs would read."""
    forks = [n for n in facts.names if n.startswith("._") and n.endswith((".tsv", ".csv"))]
    if forks:
        findings.warning(
            forks[0],
            f"{plural(len(forks), 'hidden file')} of macOS that looks like a table: "
            f"{listed(forks)}",
            "SpikeInterface's read_phy takes it for one and fails; remove it (dot_clean)",
            files=first_of(forks),
        )
    in_use = [n for n in facts.names if _IN_USE.fullmatch(n)]
    if in_use:
        findings.info(
            in_use[0],
            f"a file is open in another program: {listed(in_use)}",
            "save and close it there",
            files=first_of(in_use),
        )
    old = [n for n in facts.names if _OLD.fullmatch(n) or _COPY.fullmatch(n)]
    if old:
        findings.info(
            old[0],
            f"{plural(len(old), 'older copy')}: {listed(old)}".replace("copys", "copies"),
            "make sure which one is right; a table among them is read like the others if it ends "
            "in .tsv or .csv",
            files=first_of(old),
        )
