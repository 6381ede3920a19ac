"""What curations of the same spikes have in common, as a table of the parts of their units.

Everything that is compared follows from this table, whose rows are few, whatever the number of
spikes: a part is the spikes that are together in every curation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import connected_components

#: The label of spikes of units that were removed.
REMOVED = "removed"


class Relation(NamedTuple):
    """How the units of one curation are in another one; arrays (n_units,) bool.

    Attributes
    ----------
    same : the same spikes are a unit there.
    merged : they are several units there, and no unit of the start is in two of them.
    not_split : they are several parts there of one unit of the start.
    not_merged : they are a part of one unit there, of several whole units of the start.
    split : they are a part of one unit there, which is one of the start.
    removed : they were removed there.
    """

    same: NDArray[np.bool_]
    merged: NDArray[np.bool_]
    not_split: NDArray[np.bool_]
    not_merged: NDArray[np.bool_]
    split: NDArray[np.bool_]
    removed: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts that the units of several curations have in common.

    Attributes
    ----------
    start : array (n_parts,) int64
        Unit that the curations started from.
    units : array (n_parts, n_curations) int64
        Unit in each curation, -1 where it was removed.
    counts : array (n_parts,) int64
        Spikes.
    num_units : tuple of int
        Of each curation.
    labels : tuple of array (n_units,) int64
        Label of each unit of each curation, as a number in `label_names`.
    label_names : tuple of str
        The last one is "removed".
    """

    start: NDArray[np.int64]
    units: NDArray[np.int64]
    counts: NDArray[np.int64]
    num_units: tuple[int, ...]
    labels: tuple[NDArray[np.int64], ...]
    label_names: tuple[str, ...]

    @property
    def num_curations(self) -> int:
        """Number of curations."""
        return self.units.shape[1]

    @cached_property
    def labels_of_parts(self) -> NDArray[np.int64]:
        """Label of each part in each curation (n_parts, n_curations)."""
        out = np.full(self.units.shape, len(self.label_names) - 1, dtype=np.int64)
        for i, labels in enumerate(self.labels):
            there = self.units[:, i] >= 0
            out[there, i] = labels[self.units[there, i]]
        return out

    @cached_property
    def family(self) -> NDArray[np.int64]:
        """Number of the family of each part: units of all curations that share spikes."""
        first = np.cumsum([len(self.counts), *self.num_units])
        part, curation = np.nonzero(self.units >= 0)
        node = first[curation] + self.units[part, curation]
        graph = sparse.coo_array((np.ones(part.size), (part, node)), shape=(first[-1], first[-1]))
        _, component = connected_components(graph, directed=False)
        return np.unique(component[: len(self.counts)], return_inverse=True)[1]

    @cached_property
    def num_families(self) -> int:
        """Number of families."""
        return int(self.family.max(initial=-1)) + 1

    def num_spikes(self, curation: int) -> NDArray[np.int64]:
        """Return the spikes of each unit of a curation."""
        there = self.units[:, curation] >= 0
        size = self.num_units[curation]
        found = np.bincount(self.units[there, curation], self.counts[there], minlength=size)
        return found.astype(np.int64)

    def family_of_units(self, curation: int) -> NDArray[np.int64]:
        """Return the family of each unit of a curation; -1 for units without spikes."""
        out = np.full(self.num_units[curation], -1, dtype=np.int64)
        there = self.units[:, curation] >= 0
        out[self.units[there, curation]] = self.family[there]
        return out

    def relation(self, curation: int, other: int) -> Relation:
        """Return how the units of a curation are in another one."""
        # one more than there are: that is where -1, no unit, points to
        size, its_size = self.num_units[curation] + 1, self.num_units[other] + 1
        own, its, start = self.units[:, curation], self.units[:, other], self.start
        both = (own >= 0) & (its >= 0)
        num_its = _num_distinct(own, its, both, size)  # units of the other in each of ours
        num_own = _num_distinct(its, own, both, its_size)
        loses = _any(own, (own >= 0) & (its < 0), size)  # spikes that the other removed
        gains = _any(its, (its >= 0) & (own < 0), its_size)
        # the units of the one are whole in each unit of the other, and nothing was removed
        whole = ~loses & ~_any(own, both & ((num_own > 1) | gains)[its], size)
        its_whole = ~gains & ~_any(its, both & ((num_its > 1) | loses)[own], its_size)
        partner = np.full(size, -1, dtype=np.int64)
        partner[own[both]] = its[both]
        has_one = (num_its == 1) & ~loses
        is_same = has_one & (num_own[partner] == 1) & ~gains[partner]
        is_larger = (num_its > 1) & whole
        is_smaller = has_one & (num_own[partner] > 1) & its_whole[partner]
        joined, cut = _along_start(own, start, its, both, size)
        its_joined, its_cut = _along_start(its, start, own, both, its_size)
        found = (
            is_same,
            is_larger & joined,
            is_larger & cut,
            is_smaller & its_joined[partner],
            is_smaller & its_cut[partner],
            (num_its == 0) & loses,
        )
        return Relation(*(one[:-1] for one in found))

    def disputed_spikes(self) -> NDArray[np.int64]:
        """Return for each part its spikes, where they are disputed, else 0.

        Disputed are the spikes whose labels differ, and those that would have to change their unit
        so that the units of any two curations in a family were the same.
        """
        labels = self.labels_of_parts
        is_disputed = np.any(labels != labels[:, :1], axis=1)
        order = np.argsort(self.family, kind="stable")
        borders = np.flatnonzero(np.diff(self.family[order])) + 1
        for members in np.split(order, borders):
            if len(members) > 1:
                for one in range(self.num_curations):
                    for other in range(one):
                        is_disputed[members] |= self._has_to_move(members, one, other)
        return np.where(is_disputed, self.counts, 0)

    def _has_to_move(self, members: NDArray[np.int64], one: int, other: int) -> NDArray[np.bool_]:
        """Return which parts of a family are not where most spikes of their units are."""
        first, row = np.unique(self.units[members, one], return_inverse=True)
        second, column = np.unique(self.units[members, other], return_inverse=True)
        table = np.zeros((first.size, second.size))
        np.add.at(table, (row, column), self.counts[members])
        chosen = np.zeros(table.shape, dtype=bool)
        chosen[linear_sum_assignment(table, maximize=True)] = True
        # removed spikes are in no unit
        chosen[first < 0, :] = False
        chosen[:, second < 0] = False
        chosen |= (first < 0)[:, None] & (second < 0)
        return ~chosen[row, column]


def _along_start(
    own: NDArray[np.int64],
    start: NDArray[np.int64],
    its: NDArray[np.int64],
    use: NDArray[np.bool_],
    size: int,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return whether others have units of the start apart, and whether they cut a single one."""
    num_start = _num_distinct(own, start, use, size)
    both = start * (int(its.max(initial=0)) + 1) + its
    return num_start == _num_distinct(own, both, use, size), num_start == 1


def _num_distinct(
    of: NDArray[np.int64], values: NDArray[np.int64], use: NDArray[np.bool_], size: int
) -> NDArray[np.int64]:
    """Return how many different values there are for each unit."""
    width = int(values.max(initial=0)) + 1
    pairs = np.unique(of[use] * width + values[use])
    return np.bincount(pairs // width, minlength=size)


def _any(of: NDArray[np.int64], use: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    out = np.zeros(size, dtype=bool)
    out[of[use]] = True
    return out
