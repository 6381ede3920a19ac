"""Relations of units and the consensus beside sets of spikes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oracles import agreement as oracle
from si_curation.agreement.consensus import agreed_units
from si_curation.agreement.parts import Parts
from si_curation.kernels.common_refinement import common_refinement


@st.composite
def curations(draw):
    """A start, and curations of it by few steps."""
    size = draw(st.integers(1, 14))
    start = np.array(draw(st.lists(st.integers(0, 4), min_size=size, max_size=size)))
    out = []
    for _ in range(draw(st.integers(2, 3))):
        units = start.copy()
        for _ in range(draw(st.integers(0, 3))):
            step = draw(st.sampled_from(["merge", "split", "remove", "move"]))
            one, other = draw(st.integers(0, 8)), draw(st.integers(0, 8))
            if step == "merge":
                units[units == one] = other
            elif step == "remove":
                units[units == one] = -1
            elif step == "move":
                units[one % size] = other
            else:
                units[(units == one) & (np.arange(size) % 2 == other % 2)] = other
        out.append(units)
    return start, out


def parts_of(start, units):
    found = common_refinement([start, *units], [9] * (1 + len(units)))
    labels = tuple(np.zeros(9, dtype=np.int64) for _ in units)
    members = found.members
    return found, Parts(
        members[:, 0], members[:, 1:], found.counts, (9,) * len(units), labels, ("", "removed")
    )


@given(curations())
def test_relations(given_):
    start, units = given_
    _, parts = parts_of(start, units)
    for one in range(len(units)):
        for other in range(len(units)):
            if one == other:
                continue
            relation = parts.relation(one, other)
            for unit in oracle.units_of(units[one]):
                expected = oracle.relation_of(unit, units[one], units[other], start)
                found = [name for name in relation._fields if getattr(relation, name)[unit]]
                assert found == ([] if expected == "regrouped" else [expected])


@given(curations())
def test_consensus(given_):
    start, units = given_
    found, parts = parts_of(start, units)
    target, targets = agreed_units(parts, np.full(parts.num_families, ""))
    of_spike = target[found.part_of_spike]
    made = {frozenset(np.flatnonzero(of_spike == one).tolist()) for one in np.unique(of_spike)}
    assert made == oracle.consensus_of(units, start)
    for number, one in enumerate(targets):
        its = of_spike == number
        assert one.is_removed == all(np.all(units_[its] == -1) for units_ in units)


@given(curations())
def test_spikes_are_disputed_where_units_differ(given_):
    start, units = given_
    _, parts = parts_of(start, units)
    disputed = parts.disputed_spikes() > 0
    for family in range(parts.num_families):
        its = parts.family == family
        rows = np.unique(parts.units[its], axis=0)
        is_agreed = len(rows) == 1 and len(np.unique(rows < 0)) == 1
        assert disputed[its].any() != is_agreed
