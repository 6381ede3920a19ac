"""Plans of a curation: steps that go together, ordered, applied whole or not at all."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import si_curation as sic
from si_curation.evidence.calibration import Calibration
from si_curation.evidence.plan import ASSUMED_PRECISION, PlanStep, _apart, _choose
from si_curation.variables import PLAN


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


@pytest.fixture(scope="module")
def plan(analyzer):
    return sic.plan_curation(analyzer)


def units_of(steps):
    return [unit_id for step in steps for unit_id in step.unit_ids]


def test_the_plan_of_the_example(plan):
    assert list(plan.table.columns) == list(PLAN)
    assert plan.table["step"].tolist() == [1, 2, 3, 4, 5]
    assert plan.table["kind"].tolist() == ["split", "split", "merge", "clean", "clean"]
    assert plan.table["unit_ids"].tolist()[:3] == ["13", "10", "11, 12"]
    assert plan.table["expected_gain"].is_monotonic_decreasing
    assert (plan.table["expected_gain"] > 0).all()
    split = plan.table[plan.table["kind"] == "split"]
    assert (split["contamination_after"] < split["contamination_before"]).all()
    assert len(set(units_of(plan.steps))) == len(units_of(plan.steps))
    assert repr(plan) == "CurationPlan for 8 units: 0 to remove, 2 to split, 1 merges, 2 to clean"
    assert plan.table["probability"].isna().all()


@pytest.mark.slow
def test_what_is_read_together_is_as_if_it_was_read_alone(analyzer, plan, monkeypatch):
    # features of many units are read at once: here of one unit, of three, and of all
    cleaning, splits = sic.suggest_cleaning(analyzer), sic.suggest_splits(analyzer)
    for num_bytes, num_spikes in ((1, 1), (3 * 2000 * 144, 12_000)):
        monkeypatch.setattr("si_curation.evidence.splits.BYTES_AT_ONCE", num_bytes)
        monkeypatch.setattr("si_curation.evidence.cleaning.SPIKES_AT_ONCE", num_spikes)
        again = sic.plan_curation(analyzer)
        pd.testing.assert_frame_equal(again.table, plan.table)
        pd.testing.assert_frame_equal(again.postponed, plan.postponed)
        pd.testing.assert_frame_equal(sic.suggest_cleaning(analyzer).table, cleaning.table)
        pd.testing.assert_frame_equal(sic.suggest_splits(analyzer).table, splits.table)
    for step in plan.steps:
        (unit_id, *_) = step.unit_ids
        if step.kind == "clean":
            alone = sic.suggest_cleaning(analyzer, unit_ids=[unit_id])
            found = alone.foreign_spikes(unit_id, only_sure=True)
        elif step.kind == "split":
            found = sic.suggest_splits(analyzer, unit_ids=[unit_id]).labels(unit_id)
        else:
            continue
        np.testing.assert_array_equal(step.parts(), found)


def test_gains_are_those_of_the_formula(plan):
    step = plan.steps[2]
    sizes = [192, 191]
    largest = max(sizes) / sum(sizes)
    assert step.gain_if_right == pytest.approx(1 - largest, abs=0.01)
    assert step.loss_if_wrong == pytest.approx(2 - largest, abs=0.01)
    right = ASSUMED_PRECISION
    expected = right * step.gain_if_right - (1 - right) * step.loss_if_wrong
    assert step.expected_gain == pytest.approx(expected)


def test_it_becomes_steps_of_a_session(analyzer, plan):
    session = sic.CurationSession(analyzer)
    before = session.unit_ids
    made = plan.apply_to(session, decided_by="a test")
    assert list(made) == [1, 2, 3, 4, 5]
    assert set(itertools.chain(*made.values())) <= set(session.unit_ids)
    assert not set(units_of(plan.steps)) & set(session.unit_ids)
    history = session.history
    assert (history["decided_by"] == "a test").all()
    assert history["reason"].tolist() == plan.table["reason"].tolist()
    total = sum(session.get_spikes(unit_id).size for unit_id in session.unit_ids)
    assert total == analyzer.sorting.to_spike_vector().size  # nothing vanishes
    for _ in made:
        session.undo()
    assert session.unit_ids == before


def test_chosen_steps(analyzer, plan):
    session = sic.CurationSession(analyzer)
    assert plan.apply_to(session, steps=[3]) == {3: [14]}
    assert not {11, 12} & set(session.unit_ids)
    for wrong in ([0], [6], [1.5], ["1"], 3, "3"):
        with pytest.raises(sic.ParameterError, match="steps"):
            plan.apply_to(session, steps=wrong)


def test_units_that_changed_are_refused_and_nothing_is_done(analyzer, plan):
    session = sic.CurationSession(analyzer)
    session.merge([4, 9])
    before = session.unit_ids
    with pytest.raises(sic.ParameterError, match=r"\[4, 9\] of the session are not as they were"):
        plan.apply_to(session)
    assert session.unit_ids == before
    assert list(plan.apply_to(session, steps=[1, 2, 3])) == [1, 2, 3]


def test_a_step_that_fails_undoes_those_before_it(analyzer, plan, monkeypatch):
    session = sic.CurationSession(analyzer)

    def fail(*arguments, **options):
        raise OSError("no room")

    monkeypatch.setattr(session, "clean", fail)
    before = session.unit_ids
    with pytest.raises(OSError, match="no room"):
        plan.apply_to(session)
    assert session.unit_ids == before


def test_spikeinterface_curation_makes_the_same_units(analyzer, plan, tmp_path):
    ours = sic.CurationSession(analyzer)
    plan.apply_to(ours)
    theirs = sic.CurationSession(analyzer)
    theirs.apply_spikeinterface_curation(plan.to_curation_json(tmp_path / "plan.json"))
    found = [
        sorted(tuple(session.get_spikes(unit_id).tolist()) for unit_id in session.unit_ids)
        for session in (ours, theirs)
    ]
    assert found[0] == found[1]
    with pytest.raises(sic.OutputExistsError):
        plan.to_curation_json(tmp_path / "plan.json")


def test_some_units(analyzer):
    found = sic.plan_curation(analyzer, unit_ids=[13, 4])
    assert set(units_of(found.steps)) == {13, 4}
    with pytest.raises(sic.UnknownIdError, match="99"):
        sic.plan_curation(analyzer, unit_ids=[99])


def test_calibrated_probabilities_weigh(analyzer):
    scores = np.linspace(0.02, 0.98, 60)
    doubtful = Calibration.fit(scores, np.zeros(60, dtype=bool), np.repeat(["a", "b", "c"], 20))
    found = sic.plan_curation(analyzer, calibrations={"merges": doubtful})
    assert "merge" not in found.table["kind"].tolist()  # is expected to lose
    sure = Calibration.fit(scores, scores > 0.3, np.tile(["a", "b", "c"], 20))
    found = sic.plan_curation(analyzer, calibrations={"merges": sure})
    merge = found.table[found.table["kind"] == "merge"]
    assert merge["probability"].notna().all()
    with pytest.raises(sic.ParameterError, match="one of merges, expected one of splits"):
        sic.plan_curation(analyzer, calibrations={"splits": sure})
    for wrong in ({"merge": sure}, {"merges": 0.9}, [sure]):
        with pytest.raises(sic.ParameterError, match="calibrations"):
            sic.plan_curation(analyzer, calibrations=wrong)


@pytest.mark.slow
def test_without_features_what_is_missing_is_said(simulate):
    folder = simulate("kilosort2", num_spikes=3_000, write_features=False).folder
    found = sic.plan_curation(sic.read_kilosort_as_analyzer(folder))
    assert any("pc_features" in str(one) for one in found.missing)
    assert "clean" not in found.table["kind"].tolist()


@pytest.mark.slow
def test_units_found_twice_are_removed(simulate):
    made = simulate("kilosort4", num_spikes=4_000, num_templates=6, write_features=False)
    analyzer = sic.read_kilosort_as_analyzer(made.folder)
    first = analyzer.unit_ids[0]
    session = sic.CurationSession(analyzer)
    spikes = session.get_spikes(first)
    vector = analyzer.sorting.to_spike_vector()
    twice = {i: vector["sample_index"][vector["unit_index"] == i] for i in range(6)}
    twice[6] = vector["sample_index"][spikes][: int(0.9 * spikes.size)]
    from spikeinterface.core import NumpySorting, create_sorting_analyzer, generate_recording

    sorting = NumpySorting.from_unit_dict([twice], 30_000.0)
    length = int(vector["sample_index"].max()) / 30_000 + 1
    recording = generate_recording(4, durations=[length], sampling_frequency=30_000.0)
    found = sic.plan_curation(create_sorting_analyzer(sorting, recording, sparse=False))
    assert found.table["kind"].tolist() == ["remove"]
    assert found.table["unit_ids"].tolist() == ["6"]
    assert found.table["contamination_after"].isna().all()
    assert any("templates" in str(one) for one in found.missing)


# which steps go together


@st.composite
def suggestions(draw):
    ids = st.integers(0, 7)
    kinds = st.sampled_from(["split", "merge", "clean"])
    gain = st.floats(0, 2, allow_nan=False)
    steps = []
    for kind in draw(st.lists(kinds, max_size=8)):
        least = 2 if kind == "merge" else 1
        group = tuple(draw(st.sets(ids, min_size=least, max_size=4 if kind == "merge" else 1)))
        pairs = {
            frozenset(p): (draw(st.floats(0, 1)), []) for p in itertools.combinations(group, 2)
        }
        steps.append(PlanStep(kind, group, 0.9, np.nan, draw(gain), draw(gain), [], pairs=pairs))
    removed = draw(st.sets(ids, max_size=2))
    return [PlanStep("remove", (i,), 1.0, np.nan, 1.0, 1.0, []) for i in removed], steps


@given(suggestions())
def test_no_unit_is_in_two_steps(given_steps):
    removals, rest = given_steps

    def merge_step(group, pairs):
        return PlanStep("merge", tuple(group), 0.9, np.nan, 0.5, 0.1, [], pairs=pairs)

    steps, postponed = _choose(removals, rest, merge_step)
    units = units_of(steps)
    assert len(set(units)) == len(units)
    gains = [step.expected_gain for step in steps]
    assert gains == sorted(gains, reverse=True)
    assert all(gain > 0 for gain in gains)
    assert [step for step in removals if step not in steps] == []
    for step in rest:
        if step.expected_gain > 0 and step not in steps:
            assert step in postponed
            assert set(step.unit_ids) & set(units)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=6),
)
def test_templates_of_a_bad_pair_are_apart(templates, pairs):
    bad = np.array([p for p in pairs if p[0] != p[1]], dtype=int).reshape(-1, 2)
    part_of = _apart(np.array(templates), bad)
    assert set(part_of) == set(templates)
    for a, b in bad.tolist():
        if a in part_of and b in part_of:
            assert part_of[a] != part_of[b]
    assert set(part_of.values()) == set(range(max(part_of.values()) + 1))


@pytest.mark.slow
@pytest.mark.parametrize("clustering", ["ks", "nomerge", "mu"])
def test_neurons_are_found_better(shared_data, clustering):
    """On a recording with truth: right neurons gain, and none loses."""
    folder = shared_data / "ks4_truth" / "static" / clustering
    with np.load(folder.parent / "ground_truth.npz") as truth:
        samples, units, count = truth["samples"], truth["units"], int(truth["nmain"])
    neurons = [np.sort(samples[units == neuron]) for neuron in range(count)]
    analyzer = sic.read_kilosort_as_analyzer(folder)
    session = sic.CurationSession(analyzer)
    before = accuracies(analyzer, session, neurons)
    sic.plan_curation(analyzer).apply_to(session)
    after = accuracies(analyzer, session, neurons)
    found = np.maximum(before, after) >= 0.5
    assert after[found].mean() > before[found].mean()
    assert (after >= before - 0.02)[before >= 0.9].all()
    assert after[found].mean() > 0.97


def accuracies(analyzer, session, neurons):
    times = analyzer.sorting.to_spike_vector()["sample_index"]
    groups = session.table["group"]
    kept = [i for i in session.unit_ids if groups[i] != "noise"]
    trains = [times[session.get_spikes(unit_id)] for unit_id in kept]
    return np.array([max(accuracy(train, neuron) for train in trains) for neuron in neurons])


def accuracy(train, neuron):
    place = np.clip(np.searchsorted(neuron, train), 1, neuron.size - 1)
    nearest = np.minimum(np.abs(neuron[place] - train), np.abs(neuron[place - 1] - train))
    hits = np.count_nonzero(nearest <= 12)
    return hits / (train.size + neuron.size - hits)


def test_where_the_folder_is_gone_the_rest_is_suggested(tmp_path):
    folder = shutil.copytree(sic.example_folder(), tmp_path / "gone")
    analyzer = sic.read_kilosort_as_analyzer(folder)
    shutil.rmtree(folder)
    found = sic.plan_curation(analyzer)
    assert any("not there any more" in str(one) for one in found.missing)
    assert {"split", "merge"} <= set(found.table["kind"])
    assert "clean" not in set(found.table["kind"])
    splits = sic.suggest_splits(analyzer)
    assert set(splits.table["method"]) == {"templates"}
    assert splits.missing
