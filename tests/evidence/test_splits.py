import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import (
    NumpySorting,
    create_sorting_analyzer,
    generate_ground_truth_recording,
    generate_recording,
)

import si_curation as sic
from si_curation.evidence.split_evidence import (
    PartsEvidence,
    accuracy_term,
    evidence_of_parts,
    jump_term,
    jumps_at_size,
    mixing_term,
    weakest_term,
)
from si_curation.evidence.split_parts import MIN_SHARE
from si_curation.evidence.splits import _guess, _ordered_by_size
from si_curation.extensions.spikes_of_units import spikes_of_unit
from si_curation.variables import SPLITS


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


@pytest.fixture(scope="module")
def suggestions(analyzer):
    return sic.suggest_splits(analyzer)


@pytest.fixture(scope="module")
def simulated():
    recording, sorting = generate_ground_truth_recording(
        durations=[20.0],
        num_channels=8,
        num_units=4,
        generate_sorting_kwargs={"firing_rates": 30.0, "refractory_period_ms": 4.0},
        seed=0,
    )
    return create_sorting_analyzer(sorting, recording, sparse=False)


def test_the_merged_units_of_the_example_are_found(analyzer, suggestions):
    # 10 is templates 5 and 6, 13 is 0, 1 and 2, whose features are on other channels
    assert sorted(suggestions.units()) == [10, 13]
    templates = analyzer.get_extension("template_assignment").get_spike_template_ids()
    methods = suggestions.table.set_index("unit_id")["method"]
    assert methods[10] == "features"
    assert methods[13] == "templates"
    for unit_id in (10, 13):
        labels = suggestions.labels(unit_id)
        counts = np.bincount(labels)
        assert (np.diff(counts) <= 0).all()
        own = templates[spikes_of_unit(analyzer, unit_id)]
        for part in range(counts.size):
            most = np.bincount(own[labels == part]).max()
            assert most > 0.9 * counts[part]


def test_table_is_declared_and_ordered(suggestions):
    table = suggestions.table
    assert list(table.columns) == list(SPLITS)
    assert (np.diff(table["score"]) <= 0).all()
    assert table["score"].between(0, 1).all()
    assert table["reason"].str.len().min() > 0
    assert "2 with a score of 0.5 or more" in repr(suggestions)
    assert suggestions.missing == []
    terms = table[[name for name in table if name.endswith("_term")]]
    features = table["method"] == "features"
    np.testing.assert_allclose(terms.min(axis=1)[features], table["score"][features])


def test_steps_and_spikeinterfaces_format_are_the_same_splits(analyzer, suggestions, tmp_path):
    one, other = sic.CurationSession(analyzer), sic.CurationSession(analyzer)
    for unit_id in suggestions.units():
        one.split(unit_id, suggestions.labels(unit_id))
    path = suggestions.to_curation_json(tmp_path / "splits.json")
    other.apply_spikeinterface_curation(path)
    assert one.unit_ids == other.unit_ids
    a, b = one.apply(), other.apply()
    for unit_id in a.unit_ids:
        np.testing.assert_array_equal(
            a.sorting.get_unit_spike_train(unit_id, 0), b.sorting.get_unit_spike_train(unit_id, 0)
        )
    assert json.loads(path.read_text())["splits"][0]["mode"] == "indices"
    with pytest.raises(sic.OutputExistsError):
        suggestions.to_curation_json(path)


def test_wrong_arguments_are_one_error(analyzer, suggestions):
    with pytest.raises(sic.ParameterError, match=r"(?s)score_threshold.*duplicate_window_ms"):
        sic.suggest_splits(analyzer, score_threshold=2, duplicate_window_ms=-1)
    with pytest.raises(sic.UnknownIdError):
        sic.suggest_splits(analyzer, unit_ids=[999])
    with pytest.raises(sic.UnknownIdError):
        suggestions.labels(999)
    with pytest.raises(sic.ParameterError, match="threshold"):
        suggestions.units(7)
    few = sic.suggest_splits(analyzer, unit_ids=[4])
    with pytest.raises(sic.ParameterError, match="not in the table"):
        few.labels(10)


def test_some_units_have_the_same_scores_as_all(analyzer, suggestions):
    some = sic.suggest_splits(analyzer, unit_ids=[10, 9, 10])
    assert some.table["unit_id"].tolist() == [10, 9]
    all_scores = suggestions.table.set_index("unit_id")["score"]
    np.testing.assert_array_equal(some.table["score"], all_scores[[10, 9]])
    assert sic.suggest_splits(analyzer, unit_ids=[]).units() == []


def test_without_features_the_templates_are_judged(tmp_path):
    folder = shutil.copytree(sic.example_folder(), tmp_path / "folder")
    (folder / "pc_features.npy").unlink()
    found = sic.suggest_splits(sic.read_kilosort_as_analyzer(folder))
    assert set(found.table["method"]) == {"templates"}
    bad = sic.find_bad_merges(sic.read_kilosort_as_analyzer(folder))
    assert sorted(found.units()) == sorted(set(bad["unit_id"]))
    assert [one.code for one in found.missing] == ["missing_data"]
    assert "pc_features.npy" in str(found.missing[0])
    assert np.unique(found.labels(13)).tolist() == [0, 1, 2]


@pytest.mark.slow
def test_other_sorters_have_a_score_below_the_threshold(simulated):
    analyzer = simulated.copy()
    without = sic.suggest_splits(analyzer)
    assert without.units() == []
    assert [one.code for one in without.missing] == ["missing_data"]
    analyzer.compute(["random_spikes", "waveforms", "templates", "principal_components"])
    found = sic.suggest_splits(analyzer)
    assert [one.code for one in found.missing] == ["split_no_basis"]
    assert found.units() == []


def test_parts_with_a_common_refractory_period_are_one_neuron(simulated):
    analyzer = simulated
    one = spikes_of_unit(analyzer, analyzer.unit_ids[0])
    second = np.zeros(one.size, dtype=bool)
    second[::2] = True
    (found,) = evidence_of_parts(analyzer, [one], [second], 12)
    assert found.one_neuron_probability > 0.9  # halves of one neuron
    assert found.refractory_term < 0.2
    assert found.duplicate_term > 0.9
    assert evidence_of_parts(analyzer, [], [], 12) == []
    shared = PartsEvidence(0.5, 1.5, 0, 0.0, (0.9, 0.1))
    assert shared.duplicate_term == pytest.approx(0.2)
    assert shared.refractory_term == 1.0


def test_what_a_part_shares_with_a_unit_counts_unless_that_one_is_cut_itself():
    trains = {0: 300 * np.arange(1000), 1: 300 * np.arange(0, 1000, 2) + 3}
    recording = generate_recording(num_channels=2, durations=[11.0])
    sorting = NumpySorting.from_unit_dict(trains, recording.sampling_frequency)
    analyzer = create_sorting_analyzer(sorting, recording, sparse=False)
    own = spikes_of_unit(analyzer, 0)
    is_shared = np.arange(1000) % 2 == 0
    (found,) = evidence_of_parts(analyzer, [own], [is_shared], 12)
    assert (found.duplicate_fractions, found.duplicate_term) == ((1.0, 0.0), 0.0)
    (found,) = evidence_of_parts(analyzer, [own], [is_shared], 12, left_out=[1])
    assert (found.duplicate_fractions, found.duplicate_term) == ((0.0, 0.0), 1.0)


def test_terms():
    assert accuracy_term(0.11) == pytest.approx(0.25)
    assert mixing_term(0.2) == pytest.approx(0.25)
    assert np.isnan(jump_term(5.0, np.array([1.0, np.nan, 1.0])))
    assert jump_term(3.0, np.full(5, 0.1)) == pytest.approx(0.5)  # never below 1
    # those of small units are larger in a large one, but for what chance adds
    as_large = jumps_at_size(np.array([1.0, 2.0, np.nan]), np.array([5.0, 5.0, 5.0]), 15.0)
    np.testing.assert_array_equal(as_large, [1.0, 4.0, np.nan])
    assert weakest_term(1.0, np.nan) == 1.0
    assert 0 < MIN_SHARE < 0.13


def test_labels_are_ordered_and_spikes_without_features_follow_their_template():
    assert _ordered_by_size(np.array([3, 1, 1, 7, 1, 7])).tolist() == [2, 0, 0, 1, 0, 1]
    labels = np.array([0, 0, 1, 1, 0, 0, 0])
    known = np.array([True, True, True, True, True, False, False])
    templates = np.array([5, 5, 6, 6, 5, 6, 9])
    assert _guess(labels, known, templates).tolist() == [0, 0, 1, 1, 0, 1, 0]


@pytest.fixture(scope="module")
def outcomes(shared_data):
    """What is suggested on sortings of known truth, by kind of unit, of `bench_splits`."""
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    sys.path.insert(0, str(benchmarks))
    try:
        import bench_splits as bench
        from truth import SortedTruth
    finally:
        sys.path.remove(str(benchmarks))
    found = defaultdict(list)
    for recording in ("static", "twins", "drifting"):
        folder = shared_data / "ks4_truth" / recording
        own, merged = SortedTruth(folder / "ks"), SortedTruth(folder / "mu")
        bench.of_made_merges(own, found)
        bench.of_made_merges(own, found, bench.MINORITY)
        bench.of_pure_units(own, found)
        bench.of_pure_units(merged, found)
        bench.of_real_merges(merged, found)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "least", "number", "accuracy"),
    [
        ("two neurons, equal numbers", 0.9, 70, 0.95),
        ("minority of 13 %", 0.8, 70, 0.95),
        # three of the sorter's own have a part that is of neither of the two neurons
        ("real over-merges", 0.8, 20, 0.9),
    ],
)
def test_neurons_that_were_merged_are_found_and_told_apart(outcomes, kind, least, number, accuracy):
    rows = outcomes[kind]
    assert len(rows) >= number
    found = [one for one in rows if one.is_found]
    assert len(found) >= least * len(rows)
    assert np.mean([one.accuracy for one in found]) >= accuracy


@pytest.mark.slow
def test_pure_units_are_seldom_split(outcomes):
    whole, short = outcomes["pure units"], outcomes["pure units, 50 spikes"]
    assert len(whole) >= 100
    for rows in (whole, short):
        assert sum(one.is_found for one in rows) <= 0.03 * len(rows)
