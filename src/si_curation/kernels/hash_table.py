"""A hash table of integers: keys in one array, what belongs to each at the same place in another.

Keys are not negative. Whoever fills the table keeps it at most half full, with `enlarged`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit

#: Where there is no key.
EMPTY = np.int64(-1)


@njit
def slot_of(keys: NDArray[np.int64], key: np.int64) -> int:
    """Return the place of a key, or that where it belongs; the size is a power of 2."""
    # linear probing from a multiplicative hash (Knuth, TAOCP 3, section 6.4)
    mask = keys.size - 1
    slot = ((key * np.int64(0x9E3779B97F4A7C1)) >> np.int64(17)) & mask
    while keys[slot] != EMPTY and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit
def enlarged(
    keys: NDArray[np.int64], values: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the same table, four times as large."""
    new_keys = np.full(4 * keys.size, EMPTY)
    new_values = np.zeros(4 * keys.size, dtype=np.int64)
    for j in range(keys.size):
        if keys[j] != EMPTY:
            slot = slot_of(new_keys, keys[j])
            new_keys[slot] = keys[j]
            new_values[slot] = values[j]
    return new_keys, new_values
