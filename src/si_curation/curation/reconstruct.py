"""`reconstruct_journal`: the steps of a curation in phy, from its log and the files of the folder.

phy's log tells every merge and label, but of a split only the number of spikes. `_Replay` goes
through the actions that phy saved and does those whose spikes are known: a split is done where the
clusters that the spikes are in at the end leave one answer. What then differs from the folder is
made by steps that say so.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from si_curation.checks import check_arguments, local_path, short_repr
from si_curation.curation.log_splits import Atoms, Split, Splits
from si_curation.curation.session import CurationSession
from si_curation.errors import MissingDataError, ParameterError
from si_curation.extensions.template_assignment import ensure_template_assignment
from si_curation.phy.folder import read_phy_folder
from si_curation.phy.log import (
    LOG_FILE,
    MERGE,
    SPLIT,
    LogAction,
    PhyLog,
    read_phy_log,
)
from si_curation.phy.tables import GROUPS, UNSORTED, cast_value
from si_curation.reading.reader import read_kilosort_as_analyzer
from si_curation.shown import Shown
from si_curation.variables import RECONSTRUCTED

#: Who decided the steps that the log tells, and those that it does not.
BY_PHY, NOT_IN_LOG = "phy", "not told by phy.log"
_MAX_ID = 2**62
_NEAR = 200  # so many windows of splits overlap at most
COMPLETE, PARTIAL, OTHER, NO_LOG = "complete", "partial", "other", "no log"


@dataclass(frozen=True, eq=False)
class ReconstructedJournal(Shown):
    """The steps that lead from the sorter's templates to a curated folder.

    Made by `reconstruct_journal`.

    Attributes
    ----------
    session : CurationSession
        All steps are done; it can be undone step by step, and goes on.
    verdict : {"complete", "partial", "other", "no log"}
        The log explains all that phy changed; a part of it (it is truncated, or splits leave
        several answers); it contradicts the folder, and was not used: it is of another folder, or
        another program changed the files; there is none.
    table : pandas.DataFrame
        How much of what the log tells; the columns are described in
        `si_curation.variables.RECONSTRUCTED`.
    problems : list of str
        What speaks against the log, and what is missing of it.
    log : PhyLog or None
    """

    session: CurationSession
    verdict: str
    table: pd.DataFrame
    problems: list[str]
    log: PhyLog | None

    def __repr__(self) -> str:
        shares = ", ".join(
            f"{explained} of {total} {what}"
            for what, total, explained in self.table[["what", "total", "explained"]].itertuples(
                index=False
            )
        )
        return f"ReconstructedJournal ({self.verdict}): phy.log explains {shares}"

    def write(self, path: str | Path) -> Path:
        """Write the journal, for ``CurationSession.resume``.

        Parameters
        ----------
        path : str or Path
            Must not exist. `CurationSession.resume` takes it with
            ``read_kilosort_as_analyzer(folder, curation="discard")``.

        Returns
        -------
        Path

        Raises
        ------
        OutputExistsError
            The file exists.
        """
        check_arguments(ReconstructedJournal.write, locals())
        target = local_path(path)
        self.session.write_journal(target)
        return target


def reconstruct_journal(
    folder: str | Path, *, sampling_frequency: float | None = None
) -> ReconstructedJournal:
    """Return the steps of a curation in phy, one by one, from its log and the folder's files.

    Parameters
    ----------
    folder : str or Path
        A folder that phy 2 curated, with its ``phy.log``. Nothing in it is changed.
    sampling_frequency : float, optional
        In Hz; for a folder without ``params.py``.

    Returns
    -------
    ReconstructedJournal
        Its session begins with the spike templates and ends with the clusters of
        ``spike_clusters.npy``, spike by spike and id by id, and with the labels of the folder.

    Raises
    ------
    FolderNotFoundError, PhyFolderError
        The folder cannot be read.
    MissingDataError
        A cluster that has the id of a template has other spikes: phy gives every cluster that it
        changes a new id, so the curation did not begin with the templates.
    ParameterError
        ``phy.log`` is no log of phy.

    See Also
    --------
    reconstruct_lineage : what became of the templates, without the steps.

    Notes
    -----
    **What is in the log.** phy writes merges with all ids, labels with their clusters, undos and
    redos, and when it saved. What was undone, or came after the last save, left no trace in the
    files: it is counted, and is no step of the journal. Of a split it writes the number of spikes,
    neither clusters nor parts. Which clusters were split follows from the number, from their being
    gone, and from the ids that the next merge shows; which spikes went into which part follows from
    the clusters that they are in at the end. Where that leaves several answers (parts that were
    merged again), none is guessed: these spikes go from templates to their clusters in steps
    whose ``decided_by`` is "not told by phy.log". So do those of a log that is truncated.

    **When.** phy writes the time of day without the date: it is in the reason of a step, with the
    line of the log, and ``when`` is empty.

    A log contradicts the folder where it merges clusters that are there at the end or that never
    were, where a cluster that it made has other spikes at the end, or where it labelled a cluster
    last otherwise than the folder has it.

    Examples
    --------
    >>> import si_curation as sic
    >>> found = reconstruct_journal(sic.example_folder())
    >>> found
    ReconstructedJournal (no log): phy.log explains 2443 of 5299 spikes, 0 of 2856 changed spikes,
    0 of 3 labels
    >>> found.session.unit_ids
    [4, 7, 8, 9, 10, 11, 12, 13]
    >>> found.session.undo()
    'label'
    """
    check_arguments(reconstruct_journal, locals())
    path = local_path(folder, "folder")
    analyzer = read_kilosort_as_analyzer(
        path, sampling_frequency=sampling_frequency, curation="discard"
    )
    rows = np.asarray(ensure_template_assignment(analyzer).get_spike_rows())
    with read_phy_folder(path, sampling_frequency=sampling_frequency) as opened:
        final = np.asarray(opened.spike_clusters)[rows].astype(np.int64)
        columns = {n: dict(c.values) for n, c in opened.columns.items()}
        columns["group"] = {i: group for i, group in opened.groups.items() if group != UNSORTED}
    log = read_phy_log(path / LOG_FILE) if (path / LOG_FILE).exists() else None
    replay = _Replay(_PhySession(analyzer, decided_by=BY_PHY), final, columns)
    if log is not None:
        replay.do(log)
        if replay.contradictions:
            before = replay.contradictions
            replay = _Replay(_PhySession(analyzer, decided_by=BY_PHY), final, columns)
            replay.contradictions = before
    return _finished(replay, log)


def _finished(replay: _Replay, log: PhyLog | None) -> ReconstructedJournal:
    """Make what the log does not tell, and count it."""
    explained = replay.explained()
    changed = replay.final != replay.begin
    replay.make_clusters()
    num_labels, num_told = replay.make_labels()
    counts = [
        ("spikes", explained.size, int(explained.sum())),
        ("changed spikes", int(changed.sum()), int((explained & changed).sum())),
        ("labels", num_labels, num_told),
    ]
    table = pd.DataFrame(
        [(what, total, told, told / total if total else np.nan) for what, total, told in counts],
        columns=list(RECONSTRUCTED),
    )
    is_whole = bool(explained.all()) and num_told == num_labels
    verdict = COMPLETE if is_whole else PARTIAL
    if log is None:
        verdict = NO_LOG
    elif replay.contradictions:
        verdict = OTHER
    problems = [*replay.contradictions, *replay.notes, *_problems_of(log)]
    return ReconstructedJournal(replay.session, verdict, table, problems, log)


def _problems_of(log: PhyLog | None) -> Iterator[str]:
    if log is None:
        yield f"there is no {LOG_FILE}"
        return
    if log.begins_within:
        yield "the log does not begin with phy being opened: what came before may be missing"
    if log.ends_within_line:
        yield "the last line of the log is not complete"
    for number, session in enumerate(log.sessions, 1):
        if session.num_unsaved:
            yield f"session {number}: {session.num_unsaved} actions came after the last save"
        if session.num_contradictions:
            yield (
                f"session {number}: {session.num_contradictions} lines undo what was not done, or "
                "name ids that phy does not give"
            )


class _PhySession(CurationSession):
    """A session whose steps have no time: phy's log has no date."""

    def _entry(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        return {**super()._entry(*arguments, **named), "when": ""}


class _Replay:
    """Does the actions of a log in a session that begins with the templates."""

    def __init__(
        self,
        session: CurationSession,
        final: NDArray[np.int64],
        columns: dict[str, dict[int, Any]],
    ) -> None:
        self.session = session
        self.final = final  # (n_spikes,), cluster of each spike at the end
        self.columns = columns
        ids, counts = np.unique(final, return_counts=True)
        self.sizes = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        self.begin = np.full(final.size, -1, dtype=np.int64)
        self.spikes: dict[int, NDArray[np.int64]] = {}  # of the clusters that are known
        for unit_id in map(int, session.unit_ids):
            self.spikes[unit_id] = session.get_spikes(unit_id)
            self.begin[self.spikes[unit_id]] = unit_id
        wrong = [i for i in self.spikes if i in self.sizes and not self._is_final(i)]
        if wrong:
            raise MissingDataError(
                f"clusters {short_repr(wrong)} have other spikes than the templates of their ids: "
                "phy gives every cluster that it changes a new id, so that no steps of phy lead "
                "there from spike_templates.npy"
            )
        self.contradictions: list[str] = []
        self.fields: dict[str, None] = {"group": None}
        self._next = 1 + max([*self.spikes, *self.sizes], default=-1)
        self._unknown: set[int] = set()  # made by what is not known
        self._splits: dict[int, Split] = {}  # by the line of the log
        # ids that splits may have made that are not known: from each to the one beside it
        self._open: list[tuple[int, int]] = []
        place = np.searchsorted(ids, final)
        key, self._atom, sizes = np.unique(  # _atom (n_spikes,)
            self.begin * ids.size + place, return_inverse=True, return_counts=True
        )
        self._atom_begin = (key // max(ids.size, 1)).tolist()
        self._atom_end = ids[key % max(ids.size, 1)].tolist()
        self._atom_sizes = sizes.tolist()
        self._begins_within = False
        self.notes: list[str] = []

    def _is_final(self, cluster: int) -> bool:
        own = self.final[self.spikes[cluster]]
        return own.size == self.sizes.get(cluster) and bool(np.all(own == cluster))

    # the actions of the log

    def do(self, log: PhyLog) -> None:
        """Do what the log tells, as far as it can be known."""
        actions = [action for session in log.sessions for action in session.in_effect]
        happened = [action for session in log.sessions for action in session.happened]
        self._next = 1 + max([self._next - 1, *_ids_in(happened)])
        # ids that phy gave after the last merge are no larger than so many splits make them
        self._next += 8 * len(happened)
        begin, end = _atoms_by(self._atom_begin), _atoms_by(self._atom_end)
        solver = Splits(log.sessions, begin, end, self._atom_sizes)
        solver.solve()
        self._splits = solver.by_line
        self._begins_within = log.begins_within
        last_labels: dict[tuple[str, int], LogAction] = {}
        for action in actions:
            if action.kind == MERGE:
                self._merge(action)
            elif action.kind == SPLIT:
                self._split(action)
            else:
                self.fields[action.field] = None
                last_labels.update({(action.field, i): action for i in action.cluster_ids})
                self._label(action)
        self._compare_labels(last_labels)
        for session in log.sessions:
            if session.num_contradictions and not log.begins_within:
                self.contradictions.append(
                    "the log undoes what was not done, or names ids that phy does not give"
                )

    def _compare_labels(self, last: dict[tuple[str, int], LogAction]) -> None:
        """Compare the last label that the log gives a cluster with that of the folder."""
        there = {key: action for key, action in last.items() if key[1] in self.sizes}
        other = [
            (cluster, action)
            for (field, cluster), action in there.items()
            if not _same(self.columns.get(field, {}).get(cluster), _value(action))
        ]
        for cluster, action in other:
            text = f"labels cluster {cluster} otherwise than the folder has it"
            if 2 * len(other) > len(there):
                self._contradict(action, text)
            else:  # labels can be changed without phy
                self.notes.append(f"line {action.line} of the log {text}")

    def _contradict(self, action: LogAction, what: str) -> None:
        self.contradictions.append(f"line {action.line} of the log {what}")

    def _is_unknown(self, cluster: int) -> bool:
        """Whether a cluster may have been made by an action that is not known."""
        last = bisect.bisect_right(self._open, (cluster, _MAX_ID))
        within = any(cluster < high for _, high in self._open[max(last - _NEAR, 0) : last])
        return cluster in self._unknown or within or self._begins_within

    def _merge(self, action: LogAction) -> None:
        ids, new = list(action.cluster_ids), action.new_id
        if gone := [i for i in ids if i in self.sizes]:
            return self._contradict(action, f"merges clusters {gone}, which are there at the end")
        missing = [i for i in ids if i not in self.spikes]
        if strange := [i for i in missing if not self._is_unknown(i)]:
            return self._contradict(action, f"merges clusters {strange}, which never were")
        if self.session.was_used(new):
            return self._contradict(action, f"makes cluster {new}, which was there before")
        if missing:
            self._unknown.add(new)
            return None
        merged = np.concatenate([self.spikes[i] for i in ids])
        if new in self.sizes and not (
            merged.size == self.sizes[new] and bool(np.all(self.final[merged] == new))
        ):
            return self._contradict(
                action, f"makes cluster {new}, which has other spikes at the end"
            )
        if len(ids) == 1 and merged.size < 2:
            self._unknown.add(new)  # no step gives one spike another id
            return None
        self._do_merge(ids, new, BY_PHY, _reason(action))
        return None

    def _do_merge(self, ids: list[int], new: int, by: str, reason: str) -> None:
        if len(ids) == 1:  # phy gave a whole cluster another id
            size = self.spikes[ids[0]].size
            ids = self._do_split(ids[0], np.arange(size) > 0, self._fresh(2), by, reason)
        self.session.merge(ids, new_unit_id=new, reason=reason, decided_by=by)
        for i in ids:
            del self.spikes[i]
        self.spikes[new] = self.session.get_spikes(new)

    def _do_split(
        self, cluster: int, parts: NDArray[Any], ids: list[int], by: str, reason: str
    ) -> list[int]:
        self.session.split(cluster, parts, new_unit_ids=ids, reason=reason, decided_by=by)
        del self.spikes[cluster]
        self.spikes.update({i: self.session.get_spikes(i) for i in ids})
        return ids

    def _fresh(self, count: int) -> list[int]:
        ids = list(range(self._next, self._next + count))
        self._next += count
        return ids

    def _label(self, action: LogAction) -> None:
        value = _value(action)
        if action.field == "group" and value not in (*GROUPS, None):
            return
        ids = [i for i in action.cluster_ids if i in self.spikes]
        if ids:
            self._do_label(ids, action.field, value, BY_PHY, _reason(action))

    def _do_label(self, ids: list[int], field: str, value: Any, by: str, reason: str) -> bool:
        try:
            self.session.label(ids, value, field, reason=reason, decided_by=by)
        except ParameterError:  # a name or a value that no table of phy can hold
            return False
        return True

    # splits

    def _split(self, action: LogAction) -> None:
        """Do a split where clusters and parts are known; else its new clusters are not known."""
        found = self._splits[action.line]
        ids, parts = list(found.sources), found.parts
        is_known = found.is_known and all(i in self.spikes for i in ids)
        is_known = is_known and not any(self.session.was_used(i) for i in parts)
        if is_known:
            whole = np.concatenate([self.spikes[i] for i in ids])
            counts = np.unique(self._part_of(whole, parts), return_counts=True)[1]
            # no step gives one spike another id
            is_known = whole.size == action.num_spikes and (len(ids) == 1 or counts.min() > 1)
        if not is_known:
            bisect.insort(self._open, (found.low, found.high))
            return
        reason = _reason(action)
        if len(ids) > 1:  # a lasso through several clusters: one step for each, then merges
            self._split_several(ids, parts, reason)
            return
        of_spike = self._part_of(self.spikes[ids[0]], parts)
        ordered = sorted(parts)
        self._do_split(ids[0], np.searchsorted(ordered, of_spike), ordered, BY_PHY, reason)

    def _part_of(self, spikes: NDArray[np.int64], parts: Mapping[int, Atoms]) -> NDArray[np.int64]:
        """Return the part of each spike; -1 for none."""
        part_of_atom = np.full(len(self._atom_sizes), -1, dtype=np.int64)
        for part, atoms in parts.items():
            part_of_atom[list(atoms)] = part
        return part_of_atom[self._atom[spikes]]

    def _split_several(self, ids: list[int], parts: Mapping[int, Atoms], reason: str) -> None:
        pieces: dict[int, list[int]] = {part: [] for part in parts}
        for cluster in ids:
            spikes = self.spikes[cluster]
            found, inverse = np.unique(self._part_of(spikes, parts), return_inverse=True)
            new = [cluster]
            if found.size > 1:
                new = self._do_split(cluster, inverse, self._fresh(found.size), BY_PHY, reason)
            for part, piece in zip(found.tolist(), new, strict=True):
                pieces[part].append(piece)
        for part in sorted(pieces):
            self._do_merge(pieces[part], part, BY_PHY, reason)

    # what the log does not tell

    def explained(self) -> NDArray[np.bool_]:
        """Return of which spikes the log tells how they came to their cluster; (n_spikes,)."""
        told = np.zeros(self.final.size, dtype=bool)
        for cluster, spikes in self.spikes.items():
            told[spikes] = cluster in self.sizes
        return told

    def make_clusters(self) -> None:
        """Split and merge what is not yet as it is at the end."""
        where = "from spike_templates.npy and spike_clusters.npy"
        wrong = [i for i in self.spikes if i not in self.sizes]
        ends = {i: np.unique(self.final[self.spikes[i]], return_inverse=True) for i in wrong}
        number = Counter(end for found, _ in ends.values() for end in found.tolist())
        pieces: dict[int, list[int]] = {}
        for cluster, (found, inverse) in ends.items():
            new = [cluster]
            if found.size > 1:
                fresh = self._fresh(found.size)
                new = [
                    end if number[end] == 1 else i
                    for end, i in zip(found.tolist(), fresh, strict=True)
                ]
                order = np.argsort(new, kind="stable")
                place = np.argsort(order, kind="stable")
                ids = [new[i] for i in order.tolist()]
                self._do_split(cluster, place[inverse.ravel()], ids, NOT_IN_LOG, where)
            for end, piece in zip(found.tolist(), new, strict=True):
                if piece != end:
                    pieces.setdefault(end, []).append(piece)
        for end, ids in pieces.items():
            if len(ids) == 1 and self.spikes[ids[0]].size == 1:
                raise MissingDataError(
                    f"cluster {end} has one spike, all that cluster {ids[0]} had: no step of a "
                    "session gives one spike another id"
                )
            self._do_merge(ids, end, NOT_IN_LOG, where)

    def make_labels(self) -> tuple[int, int]:
        """Label what is not yet as in the folder; return how many labels there are, and were."""
        sources = self.session.label_sources
        rows = sources[["unit_id", "field", "value", "decided_by"]].itertuples(index=False)
        now = {(field, i): (value, who) for i, field, value, who in rows}
        total = told = 0
        wanted: dict[tuple[str, Any], list[int]] = {}
        for field in self.fields:
            column = self.columns.get(field, {})
            for cluster in self.sizes:
                value = column.get(cluster)
                found, who = now.get((field, cluster), (None, ""))
                has = _same(found, value)
                if value is not None:
                    total += 1
                    told += has and who == BY_PHY
                if not has:
                    wanted.setdefault((field, value), []).append(cluster)
        for (field, value), ids in wanted.items():
            given = UNSORTED if field == "group" and value is None else value
            where = "from the tables of the folder"
            if not self._do_label(ids, field, given, NOT_IN_LOG, where):
                self.notes.append(
                    f"no step gives clusters {short_repr(ids)} the label {short_repr(given)}"
                )
        return total, told


def _reason(action: LogAction) -> str:
    return f"line {action.line} of phy.log, at {action.time}"


def _atoms_by(clusters: list[int]) -> dict[int, Atoms]:
    """Return the atoms of each cluster, from the cluster of each atom."""
    found: dict[int, set[int]] = {}
    for atom, cluster in enumerate(clusters):
        found.setdefault(cluster, set()).add(atom)
    return {cluster: Atoms(atoms) for cluster, atoms in found.items()}


def _ids_in(actions: Iterable[LogAction]) -> Iterator[int]:
    for action in actions:
        yield action.new_id
        yield from action.cluster_ids


def _value(action: LogAction) -> Any:
    if action.value in ("None", "") or (action.field == "group" and action.value == UNSORTED):
        return None
    return action.value if action.field == "group" else cast_value(action.value)


def _same(one: Any, other: Any) -> bool:
    return one == other or (one is not None and other is not None and str(one) == str(other))
