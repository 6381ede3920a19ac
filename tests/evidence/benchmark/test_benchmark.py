"""`benchmark_suggestions`: known answers on simulated neurons; the analyzer stays as it is."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

import si_curation as sic
from helpers.merge_analyzers import make_analyzer, renewal
from si_curation._spikeinterface import loaded_extensions, spike_vector_of
from si_curation.evidence.benchmark.benchmark import proportion
from si_curation.evidence.benchmark.copies import mix_units, neighbourhood
from si_curation.evidence.benchmark.good_units import find_good_units
from si_curation.evidence.benchmark.parts import WAYS
from si_curation.evidence.benchmark.setting import Setting

DURATION_S = 200.0


def neurons(num=12, seed=0, num_segments=1):
    """Neurons 40 um apart or nearer, in pairs of about the same place."""
    rng = np.random.default_rng(seed)
    units = []
    for number in range(num):
        samples = renewal(rng, rng.uniform(4, 12), DURATION_S)
        place = 20.0 * (number // 2) + rng.normal(0, 2.0, samples.size)
        units.append((samples, place, rng.normal(100.0, 8.0, samples.size)))
    return make_analyzer(units, DURATION_S, num_segments=num_segments)


@pytest.fixture(scope="module")
def analyzer():
    return neurons()


@pytest.fixture(scope="module")
def found(analyzer):
    return sic.benchmark_suggestions(analyzer)


def test_every_unit_is_cut_in_each_way(found):
    assert found.source == "contamination"
    assert found.unit_ids == list(range(12))
    table = found.by_change.loc["merges"]
    assert table.index.tolist() == list(WAYS)
    # there are no features of these spikes
    assert table["num_changes"].tolist() == [12, 12, 12, 0]
    assert list(found.missing) == [
        ("merges", "along a component"),
        ("cleaning", "spikes of a neighbour added"),
    ]
    assert "features" in found.missing["merges", "along a component"]


def test_random_parts_and_parts_in_time_are_found(found):
    table = found.by_change.loc["merges"]
    assert table.loc["in time", "num_found"] >= 11
    assert table.loc["at random", "num_found"] >= 11
    row = found.loc["merges"]
    assert row["precision"] > 0.7
    assert row["precision_low"] < row["precision"] <= row["precision_high"]
    assert row["recall_low"] < row["recall_upper_bound"] < row["recall_high"]


def test_the_table_is_counted_from_the_outcomes(found):
    its = found.outcomes
    assert (its["score"] >= 0.3).all()
    suggested = its[its["is_suggested"] & (its["suggestion"] == "merges")]
    row = found.loc["merges"]
    assert row["num_suggestions"] == len(suggested)
    assert row["num_right"] == suggested["is_right"].sum()
    assert row["precision"] == suggested["is_right"].mean()
    assert row["num_changes"] == found.by_change.loc["merges", "num_changes"].sum()
    right = suggested[suggested["is_right"]]["change"].value_counts()
    for change, count in found.by_change.loc["merges", "num_found"].items():
        assert right.get(change, 0) == count


def test_units_get_a_part_of_their_neighbour(analyzer):
    setting = Setting(neighbourhood(analyzer, np.arange(12)), np.arange(12), 0)
    pairs = setting.pairs_of_neighbours()
    assert len(pairs) >= 4
    assert len({unit for pair in pairs for unit in pair}) == 2 * len(pairs)
    copy = mix_units(setting.analyzer, pairs, ["in time"] * len(pairs), np.random.default_rng(0))
    before = {i: setting.analyzer.sorting.get_unit_spike_train(i, 0) for i in range(12)}
    ids = [(setting.analyzer.unit_ids[a], setting.analyzer.unit_ids[b]) for a, b in pairs]
    assert len(copy.origins) == 2 * len(ids)
    new_of = {origin: new for new, origin in copy.origins.items()}
    for one, other in ids:
        received = copy.analyzer.sorting.get_unit_spike_train(new_of[one], 0)
        rest = copy.analyzer.sorting.get_unit_spike_train(new_of[other], 0)
        assert set(before[one]) < set(received)
        assert set(rest) < set(before[other])
        assert len(received) + len(rest) == len(before[one]) + len(before[other])
        assert len(rest) >= len(before[other]) / 2


def test_parts_of_two_units_that_may_be_one_are_not_known():
    """Two units that a sorter split: nobody knows whether their parts belong together."""
    rng = np.random.default_rng(3)
    samples = renewal(rng, 12.0, DURATION_S)
    part = rng.integers(0, 2, samples.size)
    values = rng.normal(100.0, 8.0, samples.size)
    units = [(samples[part == k], 100.0, values[part == k]) for k in (0, 1)]
    found = sic.benchmark_suggestions(make_analyzer(units, DURATION_S))
    assert found.loc["merges", "num_unknown"] > 0
    assert found.outcomes["is_right"].all()


def test_the_analyzer_stays_as_it_is():
    analyzer = neurons(4)
    before = {
        name: {key: np.array(value, copy=True) for key, value in extension.data.items()}
        for name, extension in loaded_extensions(analyzer).items()
    }
    spikes = spike_vector_of(analyzer.sorting).copy()
    properties = set(analyzer.sorting.get_property_keys())
    sic.benchmark_suggestions(analyzer)
    assert list(loaded_extensions(analyzer)) == list(before)
    for name, extension in loaded_extensions(analyzer).items():
        for key, value in extension.data.items():
            np.testing.assert_array_equal(value, before[name][key])
    np.testing.assert_array_equal(spike_vector_of(analyzer.sorting), spikes)
    assert set(analyzer.sorting.get_property_keys()) == properties


@pytest.mark.slow
def test_the_same_seed_gives_the_same_result(analyzer, found):
    again = sic.benchmark_suggestions(analyzer)
    pd.testing.assert_frame_equal(again.table, found.table)
    pd.testing.assert_frame_equal(again.outcomes, found.outcomes)
    other = sic.benchmark_suggestions(analyzer, seed=1)
    assert not other.outcomes["score"].equals(found.outcomes["score"])


def test_some_units_only(analyzer):
    found = sic.benchmark_suggestions(analyzer, unit_ids=[1, 2, 3, 7], max_units=2)
    assert found.num_good_units == 4
    assert len(found.unit_ids) == 2
    assert set(found.unit_ids) <= {1, 2, 3, 7}
    assert "2 of 4 units" in found.to_text()


@pytest.mark.filterwarnings("ignore:the units have the property KSLabel")
def test_labels_of_the_curator_come_first():
    analyzer = neurons(6)
    analyzer.set_sorting_property("KSLabel", np.array(["good"] * 4 + ["mua"] * 2))
    assert find_good_units(analyzer).source == "sorter"
    assert find_good_units(analyzer).indices.tolist() == [0, 1, 2, 3]
    analyzer.set_sorting_property("quality", np.array(["unsorted"] * 6))
    assert find_good_units(analyzer).source == "sorter"
    analyzer.set_sorting_property("quality", np.array(["unsorted"] * 4 + ["good", "noise"]))
    assert find_good_units(analyzer).source == "curator"
    assert find_good_units(analyzer).indices.tolist() == [4]
    found = sic.benchmark_suggestions(analyzer)
    assert found.source == "curator"
    assert found.unit_ids == [4]


def test_segments():
    one, two = neurons(6), neurons(6, num_segments=2)
    for analyzer in (one, two):
        found = sic.benchmark_suggestions(analyzer)
        assert found.by_change.loc["merges", "num_changes"].tolist() == [6, 6, 6, 0]
        assert found.loc["merges", "recall_upper_bound"] > 0.6


def test_features_of_the_folder_are_used(simulate):
    folder = simulate(num_templates=8, num_channels=16, num_spikes=8000, seed=1).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    found = sic.benchmark_suggestions(analyzer)
    assert not found.missing
    assert (found.by_change.loc["merges", "num_changes"] == len(found.unit_ids)).all()
    assert len(found.unit_ids) > 0


def test_no_good_unit_or_no_templates_is_said(simulate):
    empty = sic.benchmark_suggestions(neurons(2), unit_ids=[])
    assert empty.loc["merges", "num_suggestions"] == 0
    assert np.isnan(empty.loc["merges", "precision"])
    assert "no unit is known to be good" in empty.to_text()
    analyzer = neurons(3)
    analyzer.delete_extension("templates")
    found = sic.benchmark_suggestions(analyzer)
    assert found["num_changes"].tolist() == [0] * len(found)
    assert "templates" in found.to_text()


def test_one_unit():
    found = sic.benchmark_suggestions(neurons(1))
    assert found.by_change.loc["merges", "num_changes"].tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_units": 0, "seed": -1}, "max_units is 0.*seed is -1"),
        ({"unit_ids": [0, 0]}, "more than once"),
        ({"seed": "a"}, "seed is 'a'"),
    ],
)
def test_wrong_arguments(analyzer, arguments, message):
    with pytest.raises(sic.ParameterError, match=message):
        sic.benchmark_suggestions(analyzer, **arguments)
    with pytest.raises(sic.UnknownIdError):
        sic.benchmark_suggestions(analyzer, unit_ids=[99])


def test_json(found, tmp_path):
    path = found.write_json(tmp_path / "benchmark.json")
    content = json.loads(path.read_text())
    assert content["source"] == "contamination"
    assert content["unit_ids"] == found.unit_ids
    assert content["table"][0]["suggestion"] == "merges"
    assert content["table"][0]["precision"] == found.loc["merges", "precision"]
    assert [row["score"] for row in content["outcomes"]] == found.outcomes["score"].tolist()
    with pytest.raises(sic.OutputExistsError):
        found.write_json(path)
    assert found.write_json(path, overwrite=True) == path


def test_it_is_a_data_frame(found):
    assert isinstance(found, pd.DataFrame)
    assert type(found.table) is pd.DataFrame
    assert type(found[["precision"]]) is pd.DataFrame
    assert found.index.name == "suggestion"


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (3, 7), (12, 12), (1, 1000)])
def test_intervals_are_wilsons(successes, trials):
    share, low, high = proportion(successes, trials)
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    assert share == successes / trials
    np.testing.assert_allclose([low, high], [expected.low, expected.high], atol=1e-12)
    assert np.isnan(proportion(0, 0)).all()


def test_suggestions_about_the_same_units_count_once_in_the_interval(found):
    its = found.outcomes
    suggested = its[its["is_suggested"] & (its["suggestion"] == "merges")]
    row = found.loc["merges"]
    as_if_independent = proportion(suggested["is_right"].sum(), len(suggested))
    assert row["precision_high"] - row["precision_low"] > np.diff(as_if_independent[1:])[0]


@pytest.mark.slow
@pytest.mark.parametrize("recording", ["static", "drifting", "twins"])
def test_predicted_precision_on_recordings_with_truth(shared_data, recording):
    """Precision of the real suggestions was 0.95 of 76; recall of real splits 0.3 to 0.9."""
    analyzer = sic.read_kilosort_as_analyzer(shared_data / "ks4_truth" / recording / "nomerge")
    found = sic.benchmark_suggestions(analyzer)
    assert found.loc["merges", "precision"] == pytest.approx(0.95, abs=0.06)
    assert found.loc["merges", "recall_upper_bound"] > 0.7
