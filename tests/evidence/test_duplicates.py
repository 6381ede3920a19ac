"""Units that have most of their spikes in common: counts by brute force, and which is kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spikeinterface.curation import find_redundant_units
from spikeinterface.curation.curation_model import Curation

import si_curation as sic
from helpers.merge_analyzers import FS, make_analyzer, renewal
from oracles.coincidences import with_partner
from si_curation.evidence.common_spikes import common_spikes
from si_curation.variables import DUPLICATES


def some_of(rng, samples, share):
    return samples[rng.random(samples.size) < share]


@pytest.fixture(scope="module")
def made():
    """Units: a neuron, most of it later, a few of it, a contaminated copy, and two others."""
    rng = np.random.default_rng(0)
    neuron, second, third = (renewal(rng, rate, 200.0) for rate in (12, 10, 20))
    other = some_of(rng, second, 0.95)
    noise = np.sort(rng.integers(0, int(200 * FS), 800))
    units = [
        (neuron, 20.0, 80.0),
        (some_of(rng, neuron, 0.7) + 15, 280.0, 30.0),  # 0.75 ms later
        (some_of(rng, neuron, 0.05), 50.0, 80.0),
        (np.unique(np.concatenate([other, noise])), 150.0, 60.0),
        (second, 160.0, 40.0),
        (third, 200.0, 40.0),
        (some_of(rng, third, 0.3), 210.0, 40.0),
    ]
    units[6] = (np.unique(np.concatenate([units[6][0], noise[::2], noise[1::3] + 90])), 210.0, 40.0)
    return make_analyzer(units, 200.0), units


def test_pairs_lags_and_what_is_kept(made):
    analyzer, units = made
    found = sic.find_duplicate_units(analyzer)
    table = found.table.set_index(["unit_id", "duplicate_of"])
    assert list(found.table.columns) == list(DUPLICATES)
    assert set(table.index) == {(1, 0), (2, 0), (2, 1), (3, 4), (6, 5)}
    assert table.loc[(1, 0), "lag_ms"] == pytest.approx(0.75)
    assert table.loc[(1, 0), "share"] > 0.99
    assert table.loc[(1, 0), "share_of_original"] == pytest.approx(0.7, abs=0.03)
    assert table.loc[(2, 0), "share_of_original"] < 0.1
    assert table.loc[(2, 0), "num_common_spikes"] == units[2][0].size
    assert table.loc[(1, 0), "kept_for"] == "more_spikes"
    assert table.loc[(3, 4), "kept_for"] == "less_contaminated"
    assert table.loc[(3, 4), "num_spikes"] > table.loc[(3, 4), "num_spikes_of_original"]
    assert found.units_to_remove() == [1, 2, 3, 6]
    assert [0, 1, 2] in found.groups()
    codes = [one.code for one in found.explanations]
    assert codes == ["duplicate_" + name for name in found.table["kept_for"]]
    assert found.table["reason"].tolist() == [str(one) for one in found.explanations]


def test_what_spikeinterface_finds_is_found(made):
    analyzer, _ = made
    ours = {frozenset(pair) for pair in sic.find_duplicate_units(analyzer, max_lag_ms=0).pairs()}
    theirs = {frozenset(map(int, pair)) for pair in find_redundant_units(analyzer.sorting)}
    assert theirs
    assert theirs <= ours
    assert frozenset((0, 2)) in ours - theirs, "a few of the spikes of a large unit"


def test_it_goes_through_spikeinterface_and_the_session(made, tmp_path):
    analyzer, _ = made
    found = sic.find_duplicate_units(analyzer)
    path = found.to_curation_json(tmp_path / "duplicates.json")
    model = Curation(**json.loads(path.read_text()))
    assert model.removed == found.units_to_remove()
    session = sic.CurationSession(analyzer)
    session.apply_spikeinterface_curation(path)
    assert session.unit_ids == [0, 4, 5]
    again = sic.CurationSession(analyzer)
    again.remove(found.units_to_remove(), decided_by="find_duplicate_units")
    curated = again.apply()
    left = sic.find_duplicate_units(curated)
    assert len(left.table) == 0
    assert left.groups() == left.units_to_remove() == []
    assert left.table.dtypes["share"] == np.float64
    with pytest.raises(sic.OutputExistsError):
        found.to_curation_json(path)


def test_rate_alone_makes_no_duplicates():
    rng = np.random.default_rng(1)
    fast = np.sort(rng.choice(int(60 * FS), 60 * 900, replace=False))
    slow = np.sort(rng.choice(int(60 * FS), 200, replace=False))
    found = sic.find_duplicate_units(make_analyzer([(fast, 0.0, 1.0), (slow, 0.0, 1.0)], 60.0))
    assert len(found.table) == 0


def test_equal_units_and_several_segments():
    rng = np.random.default_rng(2)
    samples = renewal(rng, 10, 60.0)
    units = [(samples, 20.0, 80.0), (samples, 40.0, 80.0)]
    found = sic.find_duplicate_units(make_analyzer(units, 60.0, ids=["b", "a"], num_segments=3))
    assert found.pairs() == [("b", "a")]
    assert found.table["kept_for"].tolist() == ["lower_id"]
    units[1] = (samples, 40.0, 160.0)
    found = sic.find_duplicate_units(make_analyzer(units, 60.0))
    assert found.pairs() == [(0, 1)]
    assert found.table["kept_for"].tolist() == ["larger_amplitude"]


def test_of_a_chain_no_spikes_are_lost():
    chain = sic.DuplicateUnits(
        sic.find_duplicate_units(make_analyzer([(np.array([5]), 0.0, 1.0)], 5.0)).table,
        np.arange(4),
    )
    rows = {"unit_id": [0, 1, 2], "duplicate_of": [1, 2, 3]}
    chain.table = chain.table.reindex(range(3)).assign(**rows)
    assert chain.units_to_remove() == [0, 2]
    assert chain.groups() == [[0, 1, 2, 3]]


@given(st.integers(0, 2**32 - 1), st.integers(0, 3), st.integers(0, 8))
def test_shares_are_brute_force(seed, window, max_lag):
    rng = np.random.default_rng(seed)
    first, second = (np.unique(rng.integers(0, 500, rng.integers(1, 60))) for _ in range(2))
    found = common_spikes(first, second, window, max_lag, 40)
    assert abs(found.lag) <= max_lag
    moved = second - found.lag
    assert found.shares[0] == with_partner(first, moved, window) / first.size
    assert found.shares[1] == with_partner(moved, first, window) / second.size
    assert 0 <= min(found.by_chance) <= max(found.by_chance) <= 1


def test_hostile_arguments(made):
    analyzer, _ = made
    with pytest.raises(sic.ParameterError) as fault:
        sic.find_duplicate_units(analyzer, min_share=1, window_ms=-1, max_lag_ms="x")
    for name in ("min_share", "window_ms", "max_lag_ms"):
        assert name in str(fault.value)
    with pytest.raises(sic.UnknownIdError):
        sic.find_duplicate_units(analyzer, unit_ids=[0, 99])
    assert len(sic.find_duplicate_units(analyzer, unit_ids=[0, 4, 5]).table) == 0
    empty = make_analyzer([(np.zeros(0, dtype=np.int64), 0.0, 1.0)] * 2, 5.0)
    assert repr(sic.find_duplicate_units(empty)) == (
        "DuplicateUnits: 0 pairs of 2 units, 0 units to remove"
    )
