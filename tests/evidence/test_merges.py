"""`suggest_merges`: counts by brute force, truth by simulation."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spikeinterface.curation.curation_model import Curation

import si_curation as sic
from helpers.merge_analyzers import FS, find_bad_merges_of, make_analyzer, renewal
from oracles import merges as naive
from oracles.coincidences import with_partner
from si_curation.evidence.bad_merges import find_bad_merges
from si_curation.evidence.merges import (
    MergeSuggestions,
    one_neuron_probabilities,
    scores_of_merges,
    suggest_merges,
)
from si_curation.evidence.unit_spikes import UnitSpikes
from si_curation.variables import MERGES

TERMS = ["similarity_term", "one_neuron_probability", "amplitude_term", "depth_term"]

# ----------------------------------------------------------------------------------- simulation


def simulate(seed, duration_s=240.0, num_neurons=24):
    """Neurons on 16 channels, of which some are split; the analyzer and the true pairs."""
    rng = np.random.default_rng(seed)
    units, truth = [], set()
    for neuron in range(num_neurons):
        samples = renewal(rng, rng.uniform(3, 15), duration_s)
        drift = 15.0 * samples / (duration_s * FS)
        place = rng.uniform(0, 300) + drift
        amplitude = rng.uniform(40, 200) * (1 - 0.3 * samples / (duration_s * FS))
        part = np.zeros(samples.size, dtype=int)
        if neuron % 4 == 0:
            part = rng.integers(0, 2, samples.size)
        elif neuron % 4 == 1:
            part = (samples > rng.uniform(0.3, 0.7) * duration_s * FS).astype(int)
        new = [len(units) + k for k in range(part.max() + 1)]
        truth |= {frozenset(pair) for pair in itertools.combinations(new, 2)}
        units += [
            (samples[part == k], place[part == k], amplitude[part == k]) for k in range(len(new))
        ]
    return make_analyzer(units, duration_s), truth


@pytest.fixture(scope="module")
def simulated():
    return simulate(0)


@pytest.mark.parametrize("seed", [0, 1])
def test_finds_split_neurons(seed):
    analyzer, truth = simulate(seed)
    suggestions = suggest_merges(analyzer)
    found = {frozenset(pair) for pair in suggestions.pairs()}
    assert len(truth) == 12
    assert len(found & truth) / len(found) >= 0.8, "precision"
    assert len(found & truth) / len(truth) >= 0.9, "recall"
    groups = {frozenset(group) for group in suggestions.groups()}
    assert len(groups & truth) / len(groups) >= 0.9, "precision of groups"
    assert len(groups & truth) / len(truth) >= 0.9, "recall of groups"
    assert len(suggestions.table) > 2 * len(truth), "there was nothing to refuse"


def test_nothing_but_terms_makes_the_score(simulated):
    table = suggest_merges(simulated[0]).table
    terms = table[TERMS].to_numpy()
    np.testing.assert_allclose(table["score"], np.prod(np.clip(terms, 0, 1), axis=1), rtol=1e-12)
    assert table["score"].is_monotonic_decreasing
    assert ((terms >= 0) & (terms <= 1 + 1e-6)).all()
    assert list(table.columns) == list(MERGES)
    assert all(isinstance(text, str) and text for text in table["reason"])


@pytest.mark.slow
def test_counts_are_brute_force(simulated):
    analyzer = simulated[0]
    table = suggest_merges(analyzer, refractory_period_ms=2.5, duplicate_window_ms=0.5).table
    fs_ms = FS * 1e-3
    for row in table.head(3).itertuples():
        a, b = (
            analyzer.sorting.get_unit_spike_train(u, segment_index=0)
            for u in (row.unit_id_a, row.unit_id_b)
        )
        assert (row.num_spikes_a, row.num_spikes_b) == (a.size, b.size)
        assert a.size >= b.size
        low, high = round(0.5 * fs_ms), round(2.5 * fs_ms)
        assert row.refractory_observed == naive.pairs_between(a, b, low, high)
        baseline = naive.pairs_between(a, b, round(10 * fs_ms) - 1, round(50 * fs_ms) - 1)
        expected = baseline / round(40 * fs_ms) * (high - low)
        assert row.refractory_expected == pytest.approx(expected)
        assert row.duplicate_fraction == with_partner(b, a, low) / b.size
        bins = [np.minimum(t * 40 // analyzer.get_num_samples(0), 39) for t in (a, b)]
        assert row.time_overlap == pytest.approx(naive.overlap_of_active_times(*bins, 40))


@pytest.mark.parametrize("least_score", [0.0, 0.3])
def test_scores_of_pairs_with_some_units(simulated, least_score):
    analyzer = simulated[0]
    some = analyzer.unit_ids[::5].tolist()
    table = suggest_merges(analyzer).table
    table = table[table["unit_id_a"].isin(some) | table["unit_id_b"].isin(some)]
    found = scores_of_merges(UnitSpikes(analyzer), some, least_score)
    expected = table[table["score"] >= least_score][list(found.columns)]
    assert 0 < len(expected) < len(suggest_merges(analyzer).table)
    assert found.equals(expected.reset_index(drop=True))
    both = table[["unit_id_a", "unit_id_b"]].itertuples(index=False)
    pairs = dict(zip(map(frozenset, both), table["one_neuron_probability"], strict=True))
    assert one_neuron_probabilities(UnitSpikes(analyzer), some) == pairs


def test_contamination_is_llobets(simulated):
    from si_curation.quality.contamination import contamination_panel

    analyzer = simulated[0]
    table = suggest_merges(analyzer, refractory_period_ms=2.5, duplicate_window_ms=0.0).table
    panel = contamination_panel(analyzer, refractory_period_ms=2.5)
    merged = analyzer.merge_units(
        [table.loc[0, ["unit_id_a", "unit_id_b"]].tolist()], new_unit_ids=[999]
    )
    after = contamination_panel(merged, refractory_period_ms=2.5)
    row = table.iloc[0]
    assert row["contamination_a"] == pytest.approx(
        panel.loc[row["unit_id_a"], "rp_contamination"], nan_ok=True
    )
    assert row["contamination_merged"] == pytest.approx(after.loc[999, "rp_contamination"])


# ------------------------------------------------------------------------------------ invariances


def test_reasons_are_codes(simulated):
    suggestions = suggest_merges(simulated[0])
    texts = ["; ".join(map(str, found)) for found in suggestions.explanations]
    assert texts == suggestions.table["reason"].tolist()
    for found, row in zip(suggestions.explanations, suggestions.table.itertuples(), strict=True):
        codes = [one.code for one in found]
        assert ("merge_shared_template" in codes) == (row.shared_templates > 0)
        assert ("merge_different_times" in codes) == (row.time_overlap < 0.25)
        assert found[0].values["observed"] == row.refractory_observed


@pytest.mark.slow
def test_order_of_units_does_not_matter(simulated):
    analyzer = simulated[0]
    order = np.random.default_rng(0).permutation(analyzer.unit_ids)
    one, other = (suggest_merges(a).table for a in (analyzer, analyzer.select_units(order)))
    assert one[["unit_id_a", "unit_id_b"]].equals(other[["unit_id_a", "unit_id_b"]])
    for name in one.columns[2:]:
        if one[name].dtype == object or isinstance(one[name].iloc[0], str):
            assert one[name].tolist() == other[name].tolist()
        else:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-6)


def test_segments_and_threads(threads):
    rng = np.random.default_rng(3)
    units = [(renewal(rng, 8.0, 60.0), 100.0 + 5 * k, 80.0) for k in range(4)]
    threads(1)
    whole = suggest_merges(make_analyzer(units, 60.0)).table
    threads(2)
    pieces = suggest_merges(make_analyzer(units, 60.0, num_segments=3)).table
    assert len(whole) == 6
    keys = ["unit_id_a", "unit_id_b"]
    both = whole.merge(pieces, on=keys, suffixes=("", "_segments"))
    assert len(both) == 6
    # at most the few pairs across the two borders differ
    difference = both["refractory_observed"] - both["refractory_observed_segments"]
    assert difference.between(0, 2).all()
    np.testing.assert_allclose(
        both["amplitude_difference"], both["amplitude_difference_segments"], atol=0.5
    )


@pytest.mark.slow
@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
def test_saved_gives_the_same(simulated, tmp_path, format):
    analyzer = simulated[0]
    saved = analyzer.save_as(format=format, folder=tmp_path / "saved")
    assert suggest_merges(saved).table.equals(suggest_merges(analyzer).table)


def test_merged_before_is_merged_after(simulated):
    analyzer = simulated[0]
    groups = suggest_merges(analyzer).groups()
    ids = [900 + k for k in range(len(groups))]
    merged = analyzer.merge_units(groups, new_unit_ids=ids)
    left = suggest_merges(merged)
    gone = set(itertools.chain(*groups))
    assert not gone & set(left.table["unit_id_a"]) | gone & set(left.table["unit_id_b"])
    assert len(left.groups()) <= 1


# ---------------------------------------------------------------------------- kinds of evidence


def pair_of(units, duration_s=200.0, **kwargs):
    """The row of the only pair of two units."""
    table = suggest_merges(make_analyzer(units, duration_s), min_similarity=0.0, **kwargs).table
    assert len(table) == 1
    return table.iloc[0]


def test_two_neurons_with_one_template_have_no_dip():
    rng = np.random.default_rng(0)
    row = pair_of([(renewal(rng, 10, 200), 50.0, 80.0) for _ in range(2)])
    assert row["similarity"] == pytest.approx(1.0)
    assert row["score"] < 0.01
    assert row["refractory_ratio_lower"] < 1 < row["refractory_ratio_upper"]
    assert row["refractory_power"] > 0.95
    assert "no dip" in row["reason"]


def test_duplicates_are_kept_apart():
    rng = np.random.default_rng(1)
    samples = renewal(rng, 10, 200)
    again = samples[rng.random(samples.size) < 0.4] + 2
    row = pair_of([(samples, 50.0, 80.0), (again, 50.0, 80.0)])
    assert row["duplicate_fraction"] == 1.0
    assert row["duplicate_fraction_by_chance"] < 0.1
    assert row["refractory_observed"] == 0
    assert row["score"] > 0.9
    assert "remove the duplicates" in row["reason"]


def test_the_same_spikes_are_found_whatever_the_templates():
    rng = np.random.default_rng(5)
    samples = renewal(rng, 10, 200)
    again = samples[rng.random(samples.size) < 0.5] + 3
    units = [(samples, 20.0, 80.0), (again, 280.0, 20.0), (renewal(rng, 10, 200), 150.0, 60.0)]
    suggestions = suggest_merges(make_analyzer(units, 200.0))
    row = suggestions.table.iloc[0]
    assert {row["unit_id_a"], row["unit_id_b"]} == {0, 1}
    assert row["similarity"] < 0.1
    assert row["distance_um"] > 150
    assert row["score"] == row["duplicate_term"] > 0.95
    assert suggestions.explanations[0][-1].code == "merge_same_spikes"
    assert suggestions.groups() == [[0, 1]]
    few = suggest_merges(make_analyzer([(u[:15], y, a) for u, y, a in units[:2]], 200.0))
    assert len(few.table) == 0, "15 spikes tell nothing"


def test_a_cut_at_an_amplitude_is_no_difference():
    rng = np.random.default_rng(6)
    samples = renewal(rng, 12, 200)
    amplitude = rng.normal(100.0, 15.0, samples.size)
    is_high = amplitude > 97.0
    cut = pair_of([(samples[k], 50.0, amplitude[k]) for k in (is_high, ~is_high)])
    assert cut["amplitude_distance"] > 1.5
    assert cut["amplitude_cut_probability"] > 0.5
    assert cut["score"] > 0.8
    assert "cut at a threshold" in cut["reason"]
    two = pair_of([(samples[is_high], 50.0, 140.0), (samples[~is_high], 50.0, 80.0)])
    assert two["amplitude_cut_probability"] < 0.05
    assert two["score"] < 0.3


def test_no_power_is_said():
    rng = np.random.default_rng(2)
    row = pair_of([(np.sort(rng.integers(0, 4_000_000, 40)), 50.0, 80.0) for _ in range(2)])
    assert row["one_neuron_probability"] == pytest.approx(0.5, abs=0.1)
    assert row["refractory_power"] < 0.5
    assert "too few" in row["reason"]


def test_apart_in_time_with_and_without_continuity():
    rng = np.random.default_rng(3)
    samples = renewal(rng, 10, 200)
    first = samples < 100 * FS
    on = pair_of([(samples[first], 50.0, 80.0), (samples[~first], 50.0, 80.0)])
    assert on["time_overlap"] < 0.1
    assert on["score"] > 0.9
    assert "different times" in on["reason"]
    off = pair_of([(samples[first], 50.0, 80.0), (samples[~first], 50.0, 160.0)])
    assert off["amplitude_difference"] == pytest.approx(
        80.0 if off["unit_id_a"] == 0 else -80.0, rel=0.05
    )
    assert off["amplitude_distance"] > 4
    assert off["score"] < 0.1
    ramp = 80.0 + 80.0 * samples / (200 * FS)
    slow = pair_of([(samples[k], 50.0, ramp[k]) for k in (first, ~first)])
    assert slow["score"] > 0.8, "slow drift is not a difference"


def test_bursts_excuse_smaller_amplitudes():
    rng = np.random.default_rng(4)
    first = renewal(rng, 8, 200, dead_s=0.02)
    later = first[rng.random(first.size) < 0.6] + round(0.006 * FS)
    row = pair_of([(first, 50.0, 120.0), (later, 50.0, 70.0)])
    assert row["burst_asymmetry"] > 0.8
    assert row["amplitude_term"] > 0.8 > np.exp(-(row["amplitude_distance"] ** 2) / 8)
    assert "bursts" in row["reason"]


def test_without_amplitudes_it_says_so(simulated):
    analyzer = simulated[0].copy()
    analyzer.delete_extension("spike_amplitudes")
    analyzer.delete_extension("spike_locations")
    table = suggest_merges(analyzer).table
    assert table[["amplitude_term", "depth_term", "amplitude_distance"]].isna().all().all()
    expected = table["similarity"].clip(0, 1) * table["one_neuron_probability"]
    np.testing.assert_allclose(table["score"], expected)
    assert table["reason"].str.contains("'spike_amplitudes'").all()


# ------------------------------------------------------------------------------- hostile inputs


def test_empty_single_and_few():
    samples = np.array([100, 5000, 90000])
    empty = np.zeros(0, dtype=np.int64)
    one = suggest_merges(make_analyzer([(samples, 50.0, 80.0)], 10.0))
    assert len(one.table) == 0
    assert one.groups() == []
    assert list(one.table.columns) == list(MERGES)
    units = [(samples, 50.0, 80.0), (empty, 50.0, 80.0), (samples[:1] + 7, 50.0, 80.0)]
    few = suggest_merges(make_analyzer(units, 10.0, ids=["a", "b", "c"]))
    assert few.table[["unit_id_a", "unit_id_b"]].values.tolist() == [["a", "c"]]
    assert few.groups() == []
    assert np.isnan(few.table["amplitude_term"]).all()
    assert find_bad_merges_of(make_analyzer(units, 10.0)).empty


def test_no_templates():
    analyzer = make_analyzer([(np.array([100]), 0.0, 1.0)] * 2, 5.0)
    analyzer.delete_extension("templates")
    with pytest.raises(sic.MissingDataError, match="'templates'"):
        suggest_merges(analyzer)
    with pytest.raises(sic.MissingDataError, match="'template_assignment'"):
        find_bad_merges(analyzer)


def test_parameters(simulated):
    analyzer = simulated[0]
    with pytest.raises(sic.ParameterError) as fault:
        suggest_merges(
            analyzer,
            min_similarity=2,
            max_distance_um=-1,
            max_pairs=1.5,
            refractory_period_ms=0,
            duplicate_window_ms="x",
            score_threshold=np.nan,
        )
    for name in (
        "min_similarity",
        "max_distance_um",
        "max_pairs",
        "refractory_period_ms",
        "duplicate_window_ms",
        "score_threshold",
    ):
        assert name in str(fault.value)
    with pytest.raises(sic.ParameterError, match="not longer than duplicate_window_ms"):
        suggest_merges(analyzer, refractory_period_ms=0.4)
    with pytest.raises(sic.UnknownIdError, match="there are no units"):
        suggest_merges(analyzer, unit_ids=[0, 777])
    with pytest.raises(sic.ParameterError, match="threshold is 3"):
        suggest_merges(analyzer, unit_ids=[0, 1]).groups(3)
    with pytest.raises(sic.ParameterError) as fault:
        find_bad_merges_of(analyzer, max_contamination=1, significance=0, min_spikes=0)
    for name in ("max_contamination", "significance", "min_spikes"):
        assert name in str(fault.value)


def test_choice_of_candidates(simulated):
    analyzer = simulated[0]
    whole = suggest_merges(analyzer)
    few = suggest_merges(analyzer, max_pairs=5).table
    assert set(few["similarity"]) == set(whole.table["similarity"].nlargest(5))
    assert len(suggest_merges(analyzer, max_pairs=0).table) == 0
    near = suggest_merges(analyzer, max_distance_um=10.0).table
    assert (near["distance_um"] <= 10).all()
    assert len(near) == (whole.table["distance_um"] <= 10).sum() > 0
    assert (suggest_merges(analyzer, min_similarity=0.9).table["similarity"] >= 0.9).all()
    ids = analyzer.unit_ids[:6]
    some = suggest_merges(analyzer, unit_ids=ids).table
    assert set(some["unit_id_a"]) | set(some["unit_id_b"]) <= set(ids)


# ---------------------------------------------------------------------------------- the results


def suggestions_of(scores, unit_ids, apart=()):
    import pandas as pd

    rows = [
        {"unit_id_a": a, "unit_id_b": b, "score": s, "time_overlap": 1.0 - ((a, b) in apart)}
        for (a, b), s in scores.items()
    ]
    columns = ["unit_id_a", "unit_id_b", "score", "time_overlap"]
    table = pd.DataFrame(rows, columns=columns).assign(one_neuron_probability=0.9)
    return MergeSuggestions(
        table.sort_values("score", ascending=False, ignore_index=True), np.array(unit_ids), 0.5
    )


def chain_scores():
    return {(1, 2): 0.9, (2, 3): 0.8, (3, 4): 0.7}


def test_chains_do_not_glue():
    chain = suggestions_of(chain_scores(), [1, 2, 3, 4])
    assert chain.groups() == [[1, 2], [3, 4]]
    drifted = suggestions_of({**chain_scores(), (1, 3): 0.1}, [1, 2, 3, 4], apart={(1, 3)})
    assert drifted.groups() == [[1, 2, 3]], "1 and 3 never fire together, and 4 does with both"
    clique = suggestions_of({(1, 2): 0.9, (2, 3): 0.8, (1, 3): 0.6, (3, 4): 0.55}, [4, 3, 2, 1])
    assert clique.groups() == [[3, 2, 1]]
    assert clique.groups(0.7) == [[3, 2, 1]], "half of the threshold for the third pair"
    assert clique.groups(0.85) == [[2, 1]]
    assert clique.groups(1.0) == []
    refuted = suggestions_of({(1, 2): 0.9, (2, 3): 0.8, (1, 3): 0.2}, [1, 2, 3])
    assert refuted.groups() == [[1, 2]]


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda p: p[0] < p[1]),
        st.integers(0, 100).map(lambda n: n / 100),
    )
)
def test_groups_are_cliques_and_disjoint(scores):
    groups = suggestions_of(scores, range(7)).groups()
    assert len(set(itertools.chain(*groups))) == sum(map(len, groups))
    for group in groups:
        assert len(group) >= 2
        for pair in itertools.combinations(group, 2):
            assert scores[tuple(sorted(pair))] >= 0.25
        for a in group:
            assert any(scores[tuple(sorted((a, b)))] >= 0.5 for b in group if b != a)
    merged = set(itertools.chain(*groups))
    for (a, b), score in scores.items():
        assert score < 0.5 or a in merged or b in merged


def test_curation_goes_through_spikeinterface_and_the_session(simulated, tmp_path):
    analyzer = simulated[0]
    suggestions = suggest_merges(analyzer)
    path = suggestions.to_curation_json(tmp_path / "merges.json")
    model = Curation(**json.loads(path.read_text()))
    assert model.format_version == "2"
    assert [merge.unit_ids for merge in model.merges] == suggestions.groups()
    session = sic.CurationSession(analyzer)
    session.apply_spikeinterface_curation(path)
    removed = sum(len(group) - 1 for group in suggestions.groups())
    assert len(session.unit_ids) == len(analyzer.unit_ids) - removed
    with pytest.raises(sic.OutputExistsError):
        suggestions.to_curation_json(path)
    suggestions.to_curation_json(path, threshold=1.0, overwrite=True)
    assert json.loads(path.read_text())["merges"] == []
    assert "candidate pairs" in repr(suggestions)


def test_real_curated_folder():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    bad = find_bad_merges(analyzer)
    lineage = sic.reconstruct_lineage(analyzer)
    assert set(bad["unit_id"]) == {10, 13}
    for row in bad.itertuples():
        counts = dict(lineage.templates[row.unit_id])
        assert counts[row.template_id_a] == row.num_spikes_a
        assert counts[row.template_id_b] == row.num_spikes_b
    suggestions = suggest_merges(analyzer)
    shared = suggestions.table.set_index(["unit_id_a", "unit_id_b"])["shared_templates"]
    assert shared[shared > 0].index.tolist() == [(12, 11)]
    row = suggestions.table.iloc[0]
    assert row["waveform_evidence"] == "compared"
    assert row["waveform_separation"] < 3
    assert [one.code for one in suggestions.explanations[0]][2] == "merge_waveforms_join"


def test_a_folder_that_is_gone_is_no_fault(tmp_path):
    folder = tmp_path / "sorted"
    shutil.copytree(sic.example_folder(), folder)
    analyzer = sic.read_kilosort_as_analyzer(folder)
    saved = analyzer.save_as(format="binary_folder", folder=tmp_path / "saved")
    shutil.rmtree(folder)
    table = suggest_merges(saved).table
    assert set(table["waveform_evidence"]) == {"no_features"}
    assert table["waveform_term"].isna().all()
    assert table["reason"].str.contains("no features").all()


# ------------------------------------------------------------------------------------ real sorters


@pytest.mark.slow
def test_kilosorts_own_splits(shared_data):
    """Kilosort 4 without its final merging: pairs of one neuron, and at what precision."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
    try:
        from truth import SortedTruth
    finally:
        sys.path.pop(0)
    found = right = true = of_true = 0
    for name in ("static", "drifting", "twins"):
        sorted_truth = SortedTruth(shared_data / "ks4_truth" / name / "nomerge")
        pairs = [frozenset(p) for p in suggest_merges(sorted_truth.analyzer).pairs()]
        found += len(pairs)
        right += sum(sorted_truth.is_one_neuron(*p) for p in pairs)
        hits = len(sorted_truth.true_merges & set(pairs))
        of_true += hits
        true += len(sorted_truth.true_merges)
        if name == "drifting":
            assert hits / len(sorted_truth.true_merges) >= 0.55
    assert true >= 45
    assert right / found >= 0.93
    assert of_true / true >= 0.7
