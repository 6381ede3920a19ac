"""What splits did, from the sizes in the log and the clusters at both ends."""

import pytest

from si_curation.curation.log_splits import Atoms, Splits
from si_curation.phy.log import LABEL, MERGE, SPLIT, LogAction, LogSession


def solved(actions, begin, end, sizes):
    log = LogSession(1, "", happened=actions, in_effect=actions)
    found = Splits(
        [log],
        {i: Atoms(atoms) for i, atoms in begin.items()},
        {i: Atoms(atoms) for i, atoms in end.items()},
        sizes,
    )
    found.solve()
    return {line: (one.sources, one.parts) for line, one in found.by_line.items() if one.is_known}


def merge(line, ids, new):
    return LogAction(MERGE, line, "", ids, new)


def split(line, size):
    return LogAction(SPLIT, line, "", num_spikes=size)


def test_nested_splits_and_parts_that_were_merged():
    # 0 -> 3 (5 spikes) and 4; 4 -> 5 and 6; 5 with 1 -> 7
    actions = [split(1, 60), split(2, 55), merge(3, (1, 5), 7)]
    begin = {0: {0, 1, 2}, 1: {3}, 2: {4}}
    end = {3: {0}, 6: {2}, 7: {1, 3}, 2: {4}}
    found = solved(actions, begin, end, [5, 15, 40, 30, 9])
    assert found[1] == ((0,), {3: {0}, 4: {1, 2}})
    assert found[2] == ((4,), {5: {1}, 6: {2}})


def test_a_lasso_through_two_clusters():
    found = solved(
        [split(1, 100)], {0: {0, 1}, 1: {2, 3}}, {2: {0, 2}, 3: {1}, 4: {3}}, [10, 30, 20, 40]
    )
    assert found[1] == ((0, 1), {2: {0, 2}, 3: {1}, 4: {3}})


def test_parts_that_were_merged_again_leave_several_answers():
    assert solved([split(1, 30), merge(2, (1, 2), 3)], {0: {0}}, {3: {0}}, [30]) == {}


@pytest.mark.parametrize("size", [29, 31, 0])
def test_another_size_is_no_answer(size):
    assert solved([split(1, size)], {0: {0, 1}}, {1: {0}, 2: {1}}, [10, 20]) == {}


def test_forged_logs_take_no_time():
    far = 2**31 - 1
    actions = [split(1, 10), merge(2, (0, 1), far), split(3, 10), LogAction(LABEL, 4, "", (far,))]
    assert solved(actions, {0: {0}, 1: {1}}, {far: {0, 1}}, [5, 5]) == {}
    begin, end = {i: {i} for i in range(40)}, {i + 100: {i} for i in range(40)}
    assert solved([split(line, 10) for line in range(300)], begin, end, [5] * 40) == {}
    chain = [merge(n, (n, n + 50_000), n + 100_000) for n in range(20_000)]
    chain += [split(n, 3) for n in range(30_000, 33_000)]
    assert solved(chain, {0: {0}}, {1: {0}}, [3]) == {}
