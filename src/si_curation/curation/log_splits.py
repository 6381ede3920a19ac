"""Which clusters phy split, and into what, from its log and the clusters at both ends.

The log has the number of spikes of a split and nothing else. Clusters are sets of atoms: the
spikes of one template that are in one cluster at the end. Those of the templates and of the
clusters at the end are known. A merge with one unknown cluster tells it. The ids of the new
clusters of a split lie between those of the merges around it; where all of them are known, so is
what was split, and its size has to be what the log says. Nothing is guessed but which of two
parts, both of which were split later, has which of their two ids.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from si_curation.phy.log import MERGE, SPLIT, LogAction, LogSession

Atoms = frozenset[int]
# a lasso that goes through more clusters is not looked for; nor is more tried, of forged logs
_MOST_SPLIT, _MOST_TRIED, _MOST_IN_ALL = 4, 5_000, 500_000
_MOST_SPLITS, _MOST_ROUNDS = 1_000, 30
_LONGEST_GAP = 64


@dataclass
class Split:
    """A split of the log.

    Attributes
    ----------
    action : LogAction
    place : int
        Among the actions in effect.
    low, high : int
        The new ids are from `low` on and below `high`.
    run : int
        Splits of one run follow each other without a merge, and share their ids.
    run_size : int
        Splits of the run, also those that were undone.
    sources : tuple of int
        Clusters that were split; empty where that is not known.
    parts : dict
        {new id: atoms}; empty where that is not known.
    ids : tuple of int
        The new ids; empty where that is not known.
    whole : frozenset of int or None
        Atoms of all sources.
    """

    action: LogAction
    place: int
    low: int
    high: int
    run: int
    run_size: int
    sources: tuple[int, ...] = ()
    parts: dict[int, Atoms] = field(default_factory=dict)
    ids: tuple[int, ...] = ()
    whole: Atoms | None = None

    @property
    def is_known(self) -> bool:
        """Whether sources and parts are known."""
        return bool(self.sources) and len(self.parts) > 1


class Splits:
    """Finds what the splits of a log did.

    Parameters
    ----------
    sessions : iterable of LogSession
    begin, end : mapping of int to frozenset of int
        Atoms of the templates, and of the clusters at the end.
    sizes : sequence of int
        Number of spikes of each atom.
    """

    def __init__(
        self,
        sessions: list[LogSession],
        begin: Mapping[int, Atoms],
        end: Mapping[int, Atoms],
        sizes: list[int],
    ) -> None:
        self._sizes = sizes
        self._end = end
        self._known: dict[int, Atoms] = {**begin, **end}
        actions = [action for session in sessions for action in session.in_effect]
        self._merges = [(n, a) for n, a in enumerate(actions) if a.kind == MERGE]
        self._merged = {i: n for n, a in self._merges for i in a.cluster_ids}
        self._made = {a.new_id: n for n, a in self._merges}
        self._born = dict.fromkeys(begin, -1) | self._made
        places = {action.line: n for n, action in enumerate(actions)}
        windows = _windows_of(sessions, max(begin, default=-1), 1 + self._largest(sessions))
        self.by_line = {
            action.line: Split(action, places[action.line], *windows[action.line])
            for action in actions
            if action.kind == SPLIT
        }
        self._taken: set[int] = set()  # sources of splits
        self._splits = sorted(self.by_line.values(), key=lambda one: one.place)
        self._runs: dict[int, list[Split]] = {}
        for split in self._splits:
            self._runs.setdefault(split.run, []).append(split)
        self._parents: dict[int, Split] = {}
        self._budget = _MOST_IN_ALL

    def _largest(self, sessions: Iterable[LogSession]) -> int:
        happened = (action for session in sessions for action in session.happened)
        ids = (max(a.new_id, *a.cluster_ids) if a.cluster_ids else a.new_id for a in happened)
        return max([*self._known, *ids], default=-1)

    def solve(self) -> None:
        """Find all that can be known."""
        if len(self._splits) > _MOST_SPLITS:
            return  # nobody made so many
        for _ in range(_MOST_ROUNDS):
            is_new = False
            for _, merge in [*self._merges, *reversed(self._merges)]:
                is_new |= self._solve_merge(merge)
            for split in [*self._splits, *reversed(self._splits)]:
                if not split.is_known:
                    is_new |= self._solve_ids(split)
                    is_new |= self._solve_sources(split)
                    is_new |= self._solve_parts(split)
            if not is_new:
                return

    def _size(self, atoms: Iterable[int]) -> int:
        return sum(self._sizes[i] for i in atoms)

    def _learn(self, cluster: int, atoms: Atoms) -> bool:
        if cluster in self._known:
            return False
        self._known[cluster] = atoms
        return True

    def _solve_merge(self, merge: LogAction) -> bool:
        inputs, whole = merge.cluster_ids, self._known.get(merge.new_id)
        unknown = [i for i in inputs if i not in self._known]
        others = Atoms().union(*(self._known[i] for i in inputs if i in self._known))
        if not unknown:
            return self._learn(merge.new_id, others)
        if whole is None or len(unknown) > 1 or not others < whole:
            return False
        return self._learn(unknown[0], whole - others)

    # the ids of the new clusters

    def _solve_ids(self, split: Split) -> bool:
        """Find which ids a split made: those in a row whose sizes add up, or all that there are."""
        if split.ids:
            return False
        run = self._runs[split.run]
        place = run.index(split)
        low = max([split.low, *(1 + max(one.ids) for one in run[:place] if one.ids)])
        high = min([split.high, *(min(one.ids) for one in run[place + 1 :] if one.ids)])
        firsts = [i for i in self._known if low <= i < high]
        answers = [ids for first in firsts if (ids := self._in_a_row(split, first, high))]
        if len(answers) == 1:
            split.ids = answers[0]
        elif (
            not answers
            and split.whole is not None
            and high - low <= _LONGEST_GAP
            and self._is_last_of(split, run)
        ):
            free = [i for i in range(low, high) if i not in self._made]
            split.ids = tuple(free) if 2 <= len(free) <= 1 + len(split.sources) else ()
        for i in split.ids:
            self._born.setdefault(i, split.place)
            self._parents.setdefault(i, split)
        return bool(split.ids)

    def _is_last_of(self, split: Split, run: list[Split]) -> bool:
        """Whether the ids of all others of its run are known."""
        return len(run) == split.run_size and all(one.ids for one in run if one is not split)

    def _in_a_row(self, split: Split, first: int, high: int) -> tuple[int, ...]:
        """Return known ids in a row from one on that have as many spikes as were split; or none."""
        total, wanted = 0, split.action.num_spikes
        for i in range(first, high):
            if i in self._made or i not in self._known or i in self._born:
                return ()
            total += self._size(self._known[i])
            if total >= wanted:
                ids = tuple(range(first, i + 1))
                return ids if total == wanted and len(ids) > 1 and self._fits(split, ids) else ()
        return ()

    def _fits(self, split: Split, ids: tuple[int, ...]) -> bool:
        whole = Atoms().union(*(self._known[i] for i in ids))
        return split.whole is None or whole == split.whole

    # what was split

    def _solve_sources(self, split: Split) -> bool:
        known = [self._known[i] for i in split.ids if i in self._known]
        if split.ids and len(known) == len(split.ids) and split.whole is None:
            split.whole = Atoms().union(*known)
        if split.sources:
            return False
        least = Atoms().union(*known)
        answers = list(self._possible(split, least))
        fewest = min(map(len, answers), default=0)
        answers = [one for one in answers if len(one) == fewest]
        if len(answers) != 1:
            return self._name_source(split)
        split.sources = answers[0]
        split.whole = Atoms().union(*(self._known[i] for i in answers[0]))
        self._taken.update(answers[0])
        return True

    def _possible(self, split: Split, least: Atoms) -> Iterator[tuple[int, ...]]:
        """Yield known clusters that a split may have split."""
        wanted = split.action.num_spikes
        hidden = [i for i in self._hidden_before(split.place) if i in self._known]
        if split.whole is not None:
            hidden = [i for i in hidden if self._known[i] <= split.whole]
        sizes = {i: self._size(self._known[i]) for i in hidden}
        usable = [i for i in hidden if sizes[i] <= wanted]
        tried = 0
        for number in range(1, _MOST_SPLIT + 1):
            for ids in itertools.combinations(usable, number):
                tried += 1
                self._budget -= number > 1
                if tried > _MOST_TRIED or (number > 1 and self._budget < 0):
                    return
                if sum(sizes[i] for i in ids) == wanted:
                    union = Atoms().union(*(self._known[i] for i in ids))
                    if least <= union and split.whole in (None, union):
                        yield ids

    def _hidden_before(self, place: int) -> list[int]:
        """Return clusters that were there, that no merge took, and that are gone at the end."""
        return [
            i
            for i, born in self._born.items()
            if born < place
            and i not in self._merged
            and i not in self._end
            and i not in self._taken
        ]

    def _name_source(self, split: Split) -> bool:
        """Find the one cluster that is not known yet and may be what was split."""
        if split.whole is None:
            return False
        unknown = [i for i in self._hidden_before(split.place) if i not in self._known]
        possible = [i for i in unknown if self._may_have(i, split.whole)]
        if not possible or (len(possible) > 1 and not self._are_alike(possible)):
            return False
        split.sources = (possible[0],)
        self._taken.add(possible[0])
        return self._learn(possible[0], split.whole)

    def _may_have(self, cluster: int, atoms: Atoms) -> bool:
        parent = self._parents.get(cluster)
        if parent is None or parent.whole is None:
            return True
        siblings = (self._known[i] for i in parent.ids if i in self._known)
        return atoms <= parent.whole - Atoms().union(*siblings)

    def _are_alike(self, clusters: list[int]) -> bool:
        """Whether nothing tells some clusters apart: of one split, and split later."""
        parents = {id(self._parents.get(i)) for i in clusters}
        return len(parents) == 1 and self._parents.get(clusters[0]) is not None

    # into what

    def _solve_parts(self, split: Split) -> bool:
        if split.parts or not split.ids or split.whole is None:
            return False
        unknown = [i for i in split.ids if i not in self._known]
        known = Atoms().union(*(self._known[i] for i in split.ids if i in self._known))
        if len(unknown) == 1 and known < split.whole:
            self._learn(unknown[0], split.whole - known)
            unknown = []
        if unknown:
            return False
        parts = {i: self._known[i] for i in split.ids}
        total = sum(self._size(atoms) for atoms in parts.values())
        if total != split.action.num_spikes or Atoms().union(*parts.values()) != split.whole:
            return False
        split.parts = parts
        return True


def _windows_of(
    sessions: Iterable[LogSession], largest: int, end: int
) -> dict[int, tuple[int, int, int, int]]:
    """Return of each split from which id on, and before which, its new clusters are, and its run.

    phy's ids grow: a merge shows the next one. Splits without a merge between them share what is
    between, and each makes two clusters at least. Without its cache phy begins a session with the
    largest id that is there; ids of what was undone before are then given again.

    Parameters
    ----------
    sessions : iterable of LogSession
    largest : int
        Largest template.
    end : int
        Larger than all ids.
    """
    windows: dict[int, tuple[int, int, int, int]] = {}
    waiting: list[int] = []
    low, run = largest + 1, 0

    def close(high: int) -> None:
        nonlocal waiting, run
        for number, line in enumerate(waiting):
            after = 2 * (len(waiting) - 1 - number)
            windows[line] = low + 2 * number, high - after, run, len(waiting)
        waiting, run = [], run + 1

    for session in sessions:
        first = next((a.new_id for a in session.happened if a.kind == MERGE), None)
        if first is None or first < low + 2 * len(waiting):
            close(end)
            low = largest + 1
        for action in session.happened:
            if action.kind == SPLIT:
                waiting.append(action.line)
            elif action.kind == MERGE:
                close(action.new_id)
                low = action.new_id + 1
    close(end)
    return windows
