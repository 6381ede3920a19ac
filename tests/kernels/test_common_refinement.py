import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from si_curation.kernels import common_refinement as module
from si_curation.kernels.common_refinement import common_refinement


@given(st.integers(0, 60), st.integers(1, 4), st.integers(1, 6), st.booleans(), st.randoms())
def test_parts_are_what_all_have_together(size, count, num_units, is_dense, random):
    partitions = [
        np.array([random.randrange(-1, num_units) for _ in range(size)], dtype=np.int32)
        for _ in range(count)
    ]
    cells = module._MAX_DENSE_CELLS
    module._MAX_DENSE_CELLS = cells if is_dense else 0
    try:
        found = common_refinement(partitions, [num_units] * count)
    finally:
        module._MAX_DENSE_CELLS = cells
    number = {}
    expected = [number.setdefault(one, len(number)) for one in zip(*partitions, strict=True)]
    assert found.part_of_spike.tolist() == expected
    assert [tuple(one) for one in found.members.tolist()] == [*number]
    assert found.counts.tolist() == [expected.count(i) for i in range(len(number))]


@pytest.mark.parametrize("num_partitions", [1, 2, 3])
def test_more_parts_than_the_first_table_holds(num_partitions):
    rng = np.random.default_rng(0)
    partitions = [rng.integers(0, 3000, 300_000, dtype=np.int32) for _ in range(num_partitions)]
    found = common_refinement(partitions, [3000] * num_partitions)
    assert np.array_equal(found.members[found.part_of_spike].T, partitions)
    assert np.array_equal(found.counts, np.bincount(found.part_of_spike))
    assert len(np.unique(found.members, axis=0)) == len(found.members)
