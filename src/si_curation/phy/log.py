"""``phy.log``: what phy's user did, as phy 2 writes it down.

A line is a time of day, a level, a place in phy's code and a text, in colours of a terminal::

    11:25:30.287 [I] supervisor:738       Merge clusters 0, 1 to 10.

phy appends to the file each time it opens the folder. It writes every merge with its ids, every
label with its clusters, every undo and redo. Of a split it only writes how many spikes its clusters
have. A save shows as the write of ``spikes_per_cluster`` to the cache. phy 2.1 writes each line
twice, once for each of two handlers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from si_curation.errors import FolderNotFoundError, ParameterError

LOG_FILE = "phy.log"
#: Of a log that is larger, nothing is read: years of phy write less.
MAX_LOG_BYTES = 200_000_000
MAX_ACTIONS = 300_000
MERGE, SPLIT, LABEL = "merge", "split", "label"
_MAX_ID = 2**31
_COLOUR = re.compile(rb"\x1b\[[0-9;]{0,8}m")
_LINE = re.compile(rb"(\d\d:\d\d:\d\d\.\d{3}) \[([A-Z])\] (\w{1,40}):\d{1,6} +(.*)")
_MERGED = re.compile(r"Merge clusters (\d[\d, ]*) to (\d+)\.")
_ASSIGNED = re.compile(r"Assigned (\d+) spikes\.")
_LABELLED = re.compile(r"Change metadata_(.+?) for clusters (\d[\d, ]*) to (.*)\.")
_MOVED = re.compile(r"(Undo|Redo) (cluster assign|move)\.")
_SAVED = re.compile(r"Save data to `(.*)spikes_per_cluster\.\w+`\.")
_OPENED = re.compile(r"Initialize joblib cache dir at `(.*)`\.|Joblib is not installed\. .*")

_ACTIONS = (_MERGED, _ASSIGNED, _LABELLED, _MOVED, _SAVED)


@dataclass(frozen=True)
class LogAction:
    """Something that phy's user did.

    Attributes
    ----------
    kind : {"merge", "split", "label"}
    line : int
        Of the file, from 1.
    time : str
        Of the day; phy writes no date.
    cluster_ids : tuple of int
        That were merged or labelled; of a split phy does not tell.
    new_id : int
        Of a merge; -1 otherwise.
    num_spikes : int
        Of all clusters that were split; -1 otherwise.
    field, value : str
        Of a label; "None" as phy writes it where one was taken away.
    """

    kind: str
    line: int
    time: str
    cluster_ids: tuple[int, ...] = ()
    new_id: int = -1
    num_spikes: int = -1
    field: str = ""
    value: str = ""


@dataclass
class LogSession:
    """One time that phy was open.

    Attributes
    ----------
    line : int
        Where it begins.
    folder : str
        The cache of the folder, as phy wrote it; "" where it is not in the log.
    happened : list of LogAction
        All that was done, also what was undone or never saved.
    in_effect : list of LogAction
        What phy saved: the actions of the last save that had not been undone.
    num_undone, num_unsaved, num_contradictions : int
        Actions that were undone at the last save; that were in effect at the end but came after
        the last save; and undos and redos of what was not done.
    """

    line: int
    folder: str = ""
    happened: list[LogAction] = field(default_factory=list)
    in_effect: list[LogAction] = field(default_factory=list)
    num_undone: int = 0
    num_unsaved: int = 0
    num_contradictions: int = 0


@dataclass(frozen=True)
class PhyLog:
    """A log.

    Attributes
    ----------
    sessions : list of LogSession
    num_lines : int
        Of phy, in the file.
    begins_within : bool
        Whether what came before is missing: the first line of a session is not there.
    ends_within_line : bool
        Whether the last line is not complete.
    """

    sessions: list[LogSession]
    num_lines: int
    begins_within: bool
    ends_within_line: bool


@dataclass(frozen=True)
class _Event:
    line: int
    time: str
    text: str


def read_phy_log(path: Path) -> PhyLog:
    """Read a log of phy.

    Parameters
    ----------
    path : Path

    Raises
    ------
    FolderNotFoundError
        There is no such file.
    ParameterError
        It is larger than any log, or has no line of phy.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "phy.log"
    >>> _ = path.write_text("11:25:30.287 [I] supervisor:738       Merge clusters 0, 1 to 10.")
    >>> read_phy_log(path).sessions[0].in_effect[0].cluster_ids
    (0, 1)
    """
    if not path.is_file():
        raise FolderNotFoundError(f"{path} does not exist, expected the log that phy writes")
    size = path.stat().st_size
    if size > MAX_LOG_BYTES:
        raise ParameterError(f"{path} has {size:,} bytes, expected a log of phy: at most 200 MB")
    count = 0
    grouped: list[tuple[str | None, list[_Event]]] = []
    last, line = b"", b"\n"
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            match = _LINE.fullmatch(_COLOUR.sub(b"", line.rstrip(b"\r\n")))
            if match is None:
                continue
            count += 1
            time, _, place, text = match.groups()
            event = _Event(number, time.decode(), text.decode("utf-8", "replace"))
            opened = _OPENED.fullmatch(event.text) if place == b"context" else None
            if opened is not None and match[0] != last:
                grouped.append((opened[1] or "", []))
            elif _is_action(event.text):
                if not grouped:
                    grouped.append((None, []))
                grouped[-1][1].append(event)
            last = match[0]
    if sum(len(events) for _, events in grouped) > MAX_ACTIONS:
        raise ParameterError(f"{path} has more than {MAX_ACTIONS:,} actions, expected a log of phy")
    if not count:
        raise ParameterError(f"{path} has no line that phy writes, expected the log of phy")
    sessions = [_session(folder, list(_once(events))) for folder, events in grouped]
    begins_within = bool(grouped) and grouped[0][0] is None
    return PhyLog(sessions, count, begins_within, not line.endswith(b"\n"))


def _once(events: list[_Event]) -> Iterator[_Event]:
    """Yield each event once, where several handlers wrote each line one after the other."""
    for times in (3, 2, 1):
        groups = [events[i : i + times] for i in range(0, len(events), times)]
        if all(_is_same(one, group[0]) for group in groups for one in group):
            yield from (group[0] for group in groups)
            return


def _is_same(one: _Event, other: _Event) -> bool:
    return one.time == other.time and one.text == other.text


def _is_action(text: str) -> bool:
    return text.endswith(".") and any(pattern.fullmatch(text) for pattern in _ACTIONS)


def _session(folder: str | None, events: list[_Event]) -> LogSession:
    """Return what was done in a session, and what of it phy saved."""
    found = LogSession(events[0].line if events else 0, folder or "")
    done: list[LogAction] = []
    undone: list[LogAction] = []
    at_save: tuple[list[LogAction], int] | None = None
    for event in events:
        moved = _MOVED.fullmatch(event.text)
        if moved is not None:
            source, target = (done, undone) if moved[1] == "Undo" else (undone, done)
            is_label = moved[2] == "move"
            if source and (source[-1].kind == LABEL) == is_label:
                target.append(source.pop())
            else:
                found.num_contradictions += 1
        elif _SAVED.fullmatch(event.text):
            at_save = list(done), len(found.happened)
        else:
            action = _action(event)
            if action is None:
                found.num_contradictions += 1
                continue
            done.append(action)
            undone.clear()
            found.happened.append(action)
    saved, happened = (done, len(found.happened)) if at_save is None else at_save
    found.in_effect = saved
    found.num_undone = happened - len(saved)
    found.num_unsaved = len(found.happened) - happened
    return found


def _action(event: _Event) -> LogAction | None:
    """Return what a line says was done; None where its ids are none of phy's."""
    merged, labelled = _MERGED.fullmatch(event.text), _LABELLED.fullmatch(event.text)
    if merged is not None:
        ids, new_id = _ids(merged[1]), _ids(merged[2])
        if not ids or not new_id:
            return None
        return LogAction(MERGE, event.line, event.time, ids, new_id[0])
    if labelled is not None:
        ids = _ids(labelled[2])
        if not ids:
            return None
        label = labelled[1], labelled[3]
        return LogAction(LABEL, event.line, event.time, ids, field=label[0], value=label[1])
    assigned = _ASSIGNED.fullmatch(event.text)
    number = _ids(assigned[1]) if assigned is not None else ()
    return LogAction(SPLIT, event.line, event.time, num_spikes=number[0]) if number else None


def _ids(text: str) -> tuple[int, ...]:
    """Return the ids of a list; empty where one is missing, doubled or larger than phy's."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= 10 for part in parts):
        return ()
    ids = tuple(int(part) for part in parts)
    return ids if max(ids) < _MAX_ID and len(set(ids)) == len(ids) else ()
