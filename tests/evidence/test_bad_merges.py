"""`find_bad_merges`: counts by brute force, right and wrong merges of simulated neurons."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from helpers.merge_analyzers import FS, make_analyzer, renewal
from oracles import merges as naive
from si_curation.evidence.bad_merges import bad_merges_of_units, find_bad_merges
from si_curation.evidence.explain import explain_bad_merges
from si_curation.evidence.splits import splits_of_units
from si_curation.evidence.unit_spikes import UnitSpikes
from si_curation.variables import BAD_MERGES, UnitIndices


@pytest.fixture(scope="module")
def merged():
    """Units that were merged rightly (90) and wrongly (91), and one that is alone (4)."""
    rng = np.random.default_rng(5)
    one = renewal(rng, 12, 200)
    half = rng.random(one.size) < 0.5
    units = [
        (one[half], 50.0, 80.0),
        (one[~half], 50.0, 80.0),
        (renewal(rng, 10, 200), 60.0, 80.0),
        (renewal(rng, 10, 200), 60.0, 80.0),
        (renewal(rng, 10, 200), 60.0, 80.0),
    ]
    analyzer = make_analyzer(units, 200.0)
    analyzer.compute("template_assignment")
    assert find_bad_merges(analyzer, all_pairs=True).empty, "no lineage, no pairs"
    return analyzer.merge_units([[0, 1], [2, 3]], new_unit_ids=[90, 91])


def test_bad_merges_are_found_and_good_ones_are_not(merged):
    table = find_bad_merges(merged)
    assert list(table.columns) == list(BAD_MERGES)
    assert table["unit_id"].tolist() == [91]
    row = table.iloc[0]
    assert sorted([row["template_id_a"], row["template_id_b"]]) == [2, 3]
    assert row["num_spikes_a"] >= row["num_spikes_b"]
    assert row["ratio_lower"] > row["ratio_allowed"]
    assert "not one neuron" in row["reason"]
    whole = find_bad_merges(merged, all_pairs=True).set_index("unit_id")
    assert whole["is_bad"].to_dict() == {91: True, 90: False}
    assert whole.loc[90, "power"] > 0.9
    assert whole.loc[90, "reason"].startswith("refractory")
    assert find_bad_merges(merged, unit_ids=[90]).empty


def test_spikes_that_are_in_the_order_of_units_already(merged):
    spikes, units = UnitSpikes(merged), UnitIndices(np.arange(len(merged.unit_ids)))
    assert len(spikes.trains) == units.size  # known, and not looked for again
    expected = find_bad_merges(merged, all_pairs=True)
    found = bad_merges_of_units(spikes, units, all_pairs=True)
    pd.testing.assert_frame_equal(found, expected)


def test_splits_take_bad_merges_that_are_known(merged):
    expected = sic.suggest_splits(merged).table
    assert expected["unit_id"].tolist() == [91]
    assert expected["num_parts"].tolist() == [2]
    rows, known = np.arange(len(merged.unit_ids)), find_bad_merges(merged)
    pd.testing.assert_frame_equal(splits_of_units(merged, rows, bad_merges=known).table, expected)


@pytest.mark.slow
def test_bad_merge_counts_are_brute_force(merged):
    row = find_bad_merges(merged, refractory_period_ms=2.0).iloc[0]
    spikes = merged.sorting.to_spike_vector()
    templates = merged.get_extension("template_assignment").get_spike_template_ids()
    a, b = (
        spikes["sample_index"][templates == t] for t in (row["template_id_a"], row["template_id_b"])
    )
    low, high = round(0.4 * FS * 1e-3), round(2.0 * FS * 1e-3)
    assert row["observed"] == naive.pairs_between(a, b, low, high)
    baseline = naive.pairs_between(a, b, round(0.01 * FS) - 1, round(0.05 * FS) - 1)
    assert row["expected"] == pytest.approx(baseline / round(0.04 * FS) * (high - low))


def test_too_few_spikes_are_no_verdict(merged):
    assert find_bad_merges(merged, min_spikes=10_000, all_pairs=True).empty
    strict = find_bad_merges(merged, significance=1e-300, all_pairs=True)
    assert not strict["is_bad"].any()


def test_contamination_excuses(merged):
    assert find_bad_merges(merged, max_contamination=0.99).empty


def test_verdicts_are_codes(merged):
    table = find_bad_merges(merged, all_pairs=True)
    verdicts = explain_bad_merges(table)
    assert [verdict.code for verdict in verdicts] == ["bad_merge", "good_merge"]
    assert [str(verdict) for verdict in verdicts] == table["reason"].tolist()
    assert verdicts[0].values["observed"] == table["observed"][0]
