"""Keys are found again, also in a table that was enlarged."""

import numpy as np

from si_curation.kernels.hash_table import EMPTY, enlarged, slot_of


def test_keys_are_found_again():
    wanted = np.unique(np.random.default_rng(0).integers(0, 2**62, 500))
    keys, values = np.full(16, EMPTY), np.zeros(16, dtype=np.int64)
    for number, key in enumerate(wanted):
        if 2 * number >= keys.size:
            keys, values = enlarged(keys, values)
        slot = slot_of(keys, key)
        assert keys[slot] == EMPTY
        keys[slot], values[slot] = key, number
    assert [values[slot_of(keys, key)] for key in wanted] == list(range(wanted.size))
    assert keys[slot_of(keys, np.int64(wanted[-1] + 1))] == EMPTY
    assert np.count_nonzero(keys != EMPTY) == wanted.size
