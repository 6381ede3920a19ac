"""The units of a session as immutable values, and phy's rules for making new ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation.checks import is_hashable


@dataclass(frozen=True, eq=False)
class Unit:
    """One unit.

    Attributes
    ----------
    spikes : array (n,) int32, or int64 where there are 2^31 spikes
        Ascending positions in the analyzer's spike vector. Of units that no step has changed: views
        of one array.
    template_ids : array (k,) int64
        Ascending ids of the templates that it has spikes of.
    template_counts : array (k,) int64
        How many spikes of each.
    labels : mapping of str to str, float or None
        By field; None (or absent) is phy's default, no label.
    """

    spikes: NDArray[np.integer]
    template_ids: NDArray[np.int64]
    template_counts: NDArray[np.int64]
    labels: Mapping[str, Any]

    @property
    def most_frequent_template(self) -> int:
        """Ties go to the lowest id; -1 without spikes."""
        if self.template_ids.size == 0:
            return -1
        return int(self.template_ids[self.template_counts.argmax()])

    def with_label(self, field: str, value: Any) -> Unit:
        """Return the unit with another label."""
        return replace(self, labels={**self.labels, field: value})


def make_unit(
    spikes: NDArray[np.integer], spike_template_ids: NDArray[np.integer], labels: Mapping[str, Any]
) -> Unit:
    """Make a unit of some spikes, counting their templates."""
    template_ids, counts = np.unique(spike_template_ids[spikes], return_counts=True)
    return Unit(spikes, template_ids.astype(np.int64), counts.astype(np.int64), labels)


def merge_units(units: Mapping[Any, Unit], fields: Iterable[str]) -> Unit:
    """Merge units: spikes in order, counts added, labels by phy's rule.

    phy 2.1.0 (``ClusterMeta.set_from_descendants``): per field, the one label that there is among
    the merged; where they differ, the label of the one with most spikes (ties: the lowest id),
    even if that is none.

    Parameters
    ----------
    units : mapping of unit id to Unit
        In ascending order of their ids.
    fields : iterable of str
        Label fields to inherit.

    Returns
    -------
    Unit
    """
    parts = list(units.values())
    # sorted runs one after the other: what a stable sort is quick at
    spikes = np.sort(np.concatenate([part.spikes for part in parts]), kind="stable")
    template_ids, which = np.unique(
        np.concatenate([part.template_ids for part in parts]), return_inverse=True
    )
    counts = np.zeros(template_ids.size, dtype=np.int64)
    np.add.at(counts, which, np.concatenate([part.template_counts for part in parts]))
    largest = max(parts, key=lambda part: part.spikes.size)  # the first of equals
    labels = {}
    for field in fields:
        values = {part.labels.get(field) for part in parts} - {None}
        if values:
            labels[field] = values.pop() if len(values) == 1 else largest.labels.get(field)
    return Unit(spikes, template_ids, counts, labels)


def split_unit(
    unit: Unit,
    part_of_spike: NDArray[np.integer],
    num_parts: int,
    spike_template_ids: NDArray[np.integer],
    fields: Iterable[str],
) -> list[Unit]:
    """Split a unit: every part inherits its labels (phy).

    Parameters
    ----------
    unit : Unit
    part_of_spike : array (n,) integer in [0, num_parts)
    num_parts : int
    spike_template_ids : array (n_spikes of the analyzer,)
    fields : iterable of str
        Label fields to inherit.

    Returns
    -------
    list of Unit
    """
    labels = {field: unit.labels[field] for field in fields if unit.labels.get(field) is not None}
    return [
        make_unit(unit.spikes[part_of_spike == part], spike_template_ids, labels)
        for part in range(num_parts)
    ]


#: The largest cluster id that phy can hold.
_MAX_ID = 2**31 - 2
_NEARLY_FULL = _MAX_ID - 1_000_000
_HALF = 2**30


def _is_small(number: str) -> bool:
    return number.isdecimal() and len(number) < 19


class IdSource:
    """New unit ids: they grow and are never used twice, as in phy.

    Integer ids go on from the largest. Where that is so large that phy's 32 bits would soon be
    full, they go on from the largest of the lower half. Ids that are strings go on as numbers, as
    strings, where all of them are numbers, else as ``unit<n>``.

    Parameters
    ----------
    unit_ids : sequence of int or str

    Examples
    --------
    >>> ids = IdSource([3, 8])
    >>> ids.take(2), ids.take(1)
    ([9, 10], [11])
    >>> IdSource(["a", "unit4"]).take(1)
    ['unit5']
    >>> IdSource([3, 2**31 - 2]).take(2)
    [4, 5]
    """

    def __init__(self, unit_ids: Sequence[Any]):
        self._used = {unit_id: i for i, unit_id in enumerate(unit_ids)}
        self._are_integers = all(isinstance(i, int | np.integer) for i in unit_ids)
        texts = [str(unit_id) for unit_id in unit_ids]
        self._prefix = "" if all(text.isdecimal() for text in texts) else "unit"
        numbers = [text.removeprefix(self._prefix) for text in texts]
        self._next = 1 + max((int(n) for n in numbers if _is_small(n)), default=-1)

    def peek(self, count: int) -> list[Any]:
        """Return the next ids without using them up."""
        if self._are_integers:
            first = self._first()
            return list(range(first, first + count))
        return [f"{self._prefix}{self._next + i}" for i in range(count)]

    def take(self, count: int) -> list[Any]:
        """Use up the next ids."""
        ids = self.peek(count)
        self.claim(ids)
        return ids

    def is_used(self, unit_id: Any) -> bool:
        """Whether an id was ever used."""
        return is_hashable(unit_id) and unit_id in self._used

    def order(self, unit_id: Any) -> int:
        """Return the number of ids that came before."""
        return self._used[unit_id]

    def claim(self, ids: Iterable[Any]) -> None:
        """Mark ids as used; later ones are larger."""
        for unit_id in ids:
            self._used.setdefault(unit_id, len(self._used))
            number = str(unit_id).removeprefix(self._prefix)
            if _is_small(number):
                self._next = max(self._next, int(number) + 1)

    def _first(self) -> int:
        """Return the first of the next ids, where they are integers."""
        if not _NEARLY_FULL <= self._next <= _MAX_ID + 1:
            return self._next
        return 1 + max((int(i) for i in self._used if i < _HALF), default=-1)

    @property
    def are_integers(self) -> bool:
        """Whether unit ids are integers."""
        return self._are_integers
