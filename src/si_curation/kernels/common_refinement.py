"""The parts of the spikes that several partitions into units have in common, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.hash_table import EMPTY, enlarged, slot_of
from si_curation.kernels.parallel import blocks, njit

_SPIKES_PER_BLOCK = 1 << 17
_MAX_DENSE_CELLS = 1 << 22  # a table of every possible pair, where it stays small


class Refinement(NamedTuple):
    """The coarsest partition of which every given one is made.

    Attributes
    ----------
    part_of_spike : array (n_spikes,) int32, or int64 where there are 2^31 spikes
    members : array (n_parts, n_partitions) int64
        The unit of each part in every partition.
    counts : array (n_parts,) int64
        Spikes of each part.
    """

    part_of_spike: NDArray[np.integer]
    members: NDArray[np.int64]
    counts: NDArray[np.int64]


@njit
def _number_pairs(
    parts: NDArray[np.integer],  # (n,), changed in place
    units: NDArray[np.integer],  # (n,), -1 allowed
    num_units: int,
    start: int,
    used: int,
    keys: NDArray[np.int64],  # (size,)
    numbers: NDArray[np.int64],  # (size,)
) -> tuple[int, int]:
    # returns the spike it came to and the number of pairs so far
    width = np.int64(num_units + 1)
    for i in range(start, parts.size):
        key = np.int64(parts[i]) * width + np.int64(units[i]) + 1
        slot = slot_of(keys, key)
        if keys[slot] == EMPTY:
            if 2 * used >= keys.size:
                return i, used
            keys[slot] = key
            numbers[slot] = used
            used += 1
        parts[i] = numbers[slot]
    return parts.size, used


@njit
def _number_first_pairs(
    first: NDArray[np.integer],  # (n,), -1 allowed
    second: NDArray[np.integer],  # (n,), -1 allowed
    parts: NDArray[np.integer],  # (n,)
    used: int,
    numbers: NDArray[np.int32],  # (num_first + 1, num_second + 1), -1 for pairs not yet seen
) -> int:
    for i in range(parts.size):
        number = numbers[first[i] + 1, second[i] + 1]
        if number < 0:
            number = np.int32(used)
            numbers[first[i] + 1, second[i] + 1] = number
            used += 1
        parts[i] = number
    return used


@njit
def _count(parts: NDArray[np.integer], counts: NDArray[np.int64]) -> None:
    for i in range(parts.size):
        counts[parts[i]] += 1


class _FirstPairs:
    """The pairs of the units of two partitions, in a table of all that there can be."""

    def __init__(self, num_first: int, num_second: int) -> None:
        self._numbers = np.full((num_first + 1, num_second + 1), -1, dtype=np.int32)
        self.used = 0

    def number(
        self, first: NDArray[np.integer], second: NDArray[np.integer], parts: NDArray[np.integer]
    ) -> None:
        """Write the number of the pair of each spike."""
        self.used = _number_first_pairs(first, second, parts, self.used, self._numbers)

    def members(self) -> NDArray[np.int64]:
        """Return both units of each pair (n_pairs, 2)."""
        found = np.argwhere(self._numbers >= 0)
        out = np.empty((self.used, 2), dtype=np.int64)
        out[self._numbers[found[:, 0], found[:, 1]]] = found - 1
        return out


class _Pairs:
    """The pairs of a part and a unit that occurred, numbered in the order of their first spikes."""

    def __init__(self, num_units: int) -> None:
        self._num_units = num_units
        self._keys = np.full(1 << 12, EMPTY)
        self._numbers = np.zeros(1 << 12, dtype=np.int64)
        self.used = 0

    def refine(self, parts: NDArray[np.integer], units: NDArray[np.integer]) -> None:
        """Replace the part of each spike by the number of its pair."""
        done = 0
        while True:
            done, self.used = _number_pairs(
                parts, units, self._num_units, done, self.used, self._keys, self._numbers
            )
            if done == parts.size:
                return
            self._keys, self._numbers = enlarged(self._keys, self._numbers)

    def members(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return part and unit of each pair."""
        filled = self._keys != EMPTY
        keys = np.empty(self.used, dtype=np.int64)
        keys[self._numbers[filled]] = self._keys[filled]
        return keys // (self._num_units + 1), keys % (self._num_units + 1) - 1


def common_refinement(
    partitions: Sequence[NDArray[np.integer]], num_units: Sequence[int]
) -> Refinement:
    """Return the parts that several partitions of the same spikes have in common.

    Two spikes are in one part where every partition has them in one unit. All partitions are read
    in one pass, block by block, so that a block is in cache for each of them.

    Parameters
    ----------
    partitions : sequence of array (n_spikes,) integer
        One or more; unit of each spike, -1 for none.
    num_units : sequence of int
        Of each partition; its units are below.

    Returns
    -------
    Refinement
        Parts in the order of their first spikes.

    Examples
    --------
    >>> found = common_refinement([np.array([0, 0, 1, 1]), np.array([0, -1, 0, 0])], [2, 1])
    >>> found.part_of_spike, found.counts
    (array([0, 1, 2, 2], dtype=int32), array([1, 1, 2]))
    >>> found.members.tolist()
    [[0, 0], [0, -1], [1, 0]]
    """
    size = partitions[0].size
    parts = np.zeros(size, dtype=np.int32 if size < 1 << 31 else np.int64)
    is_dense = len(partitions) > 1 and ((num_units[0] + 1) * (num_units[1] + 1) <= _MAX_DENSE_CELLS)
    first = _FirstPairs(num_units[0], num_units[1]) if is_dense else None
    rest = 2 if is_dense else 0
    levels = [_Pairs(number) for number in num_units[rest:]]
    for block in blocks(size, _SPIKES_PER_BLOCK):
        if first is not None:
            first.number(partitions[0][block], partitions[1][block], parts[block])
        for level, units in zip(levels, partitions[rest:], strict=True):
            level.refine(parts[block], units[block])
    used = levels[-1].used if levels else 0 if first is None else first.used
    counts = np.zeros(used, dtype=np.int64)
    _count(parts, counts)
    members: list[NDArray[np.int64]] = []
    part = np.arange(counts.size)
    for level in reversed(levels):
        before, unit = level.members()
        members.insert(0, unit[part])
        part = before[part]
    pairs = [] if first is None else list(first.members()[part].T)
    return Refinement(parts, np.stack([*pairs, *members], axis=1), counts)
