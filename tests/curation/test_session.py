"""Curation sessions beside brute force, phy's own classes and what `apply` gives."""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pandas as pd
import pytest
import spikeinterface.core as si
from hypothesis import given, settings
from hypothesis import strategies as st

import si_curation as sic
from helpers import needs
from oracles import folders as naive
from si_curation.curation.checks import part_of_spikes
from si_curation.curation.units import IdSource
from si_curation.errors import OutputExistsError, ParameterError, UnknownIdError

GROUPS = ["good", "mua", "noise", "unsorted"]


@pytest.fixture(scope="module")
def analyzer(simulate):
    """A curated Kilosort 4 folder: merged and split units, labels."""
    simulated = simulate(
        num_templates=14,
        num_channels=20,
        num_spikes=1200,
        num_shanks=2,
        num_empty_templates=1,
        labels={1: "good", 2: "noise", 5: "mua"},
        curation=8,
        write_features=False,
        seed=3,
    )
    return sic.read_kilosort_as_analyzer(simulated.folder)


@pytest.fixture(scope="module")
def make_recorded():
    """Make an analyzer with a recording and unit ids of any kind; the last but one unit is empty.

    The last unit has one spike.
    """

    def make(unit_ids, **kwargs):
        recording, truth = si.generate_ground_truth_recording(
            durations=[3.0], num_units=len(unit_ids) - 2, num_channels=8, seed=1
        )
        probe = recording.get_probe()
        probe.set_shank_ids(["0"] * 8)
        recording.set_probe(probe)
        trains = [truth.get_unit_spike_train(i, segment_index=0) for i in truth.unit_ids]
        trains += [np.zeros(0, dtype=np.int64), np.array([500])]
        sorting = si.NumpySorting.from_unit_dict(
            dict(zip(unit_ids, trains, strict=True)), recording.sampling_frequency
        )
        analyzer = si.create_sorting_analyzer(sorting, recording, sparse=False, **kwargs)
        analyzer.compute(["random_spikes", "templates"])
        return analyzer

    return make


@pytest.fixture(scope="module")
def recorded(make_recorded):
    return make_recorded(["a", "b", "unit7", "d", "empty", "one"])


def cluster_of_spikes(session):
    """Unit of each spike of the session's analyzer; None for removed ones."""
    clusters = [None] * session.sorting_analyzer.sorting.to_spike_vector().size
    for unit_id in session.unit_ids:
        for spike in session.get_spikes(unit_id):
            assert clusters[spike] is None
            clusters[spike] = unit_id
    return clusters


def state_of(session, journal=None):
    """Everything that an error must not change."""
    return (
        session.table.to_json(),
        session.history.to_json(),
        cluster_of_spikes(session),
        [session.unit_ids, list(session.table.columns)],
        None if journal is None else journal.read_bytes(),
        session.was_used(max(session.unit_ids)),
    )


def naive_of(session):
    labels = session.table["group"]
    groups = {i: g for i, g in labels.items() if g != "unsorted"}
    return naive.NaiveClustering(cluster_of_spikes(session), {"group": groups})


def random_step(session, rng, others):
    """Do a random merge, split or label in a session and in the models of `others`."""
    ids = [i for i in session.unit_ids if session.get_spikes(i).size > 3]
    kind = rng.choice(["merge", "merge", "subset", "parts", "labels", "label"])
    if kind == "merge" and len(ids) > 2:
        chosen = rng.choice(ids, rng.integers(2, 4), replace=False).tolist()
        new = session.merge(chosen)
        assert [other.merge(chosen) for other in others] == [new] * len(others)
    elif kind == "label":
        chosen = rng.choice(ids, 2, replace=False).tolist()
        group = str(rng.choice(GROUPS))
        assert session.label(chosen, group) is None
        for other in others:
            other.label(chosen, group)
    else:
        unit_id = int(rng.choice(ids))
        num_spikes = session.get_spikes(unit_id).size
        part = rng.integers(0, 2 if kind == "subset" else 3, num_spikes)
        part[:3] = [0, 1, 0 if kind == "subset" else 2]
        lists = [np.flatnonzero(part == i).tolist() for i in range(part.max() + 1)]
        if kind == "labels":
            new = session.split(unit_id, part * 10 - 7)
        else:
            lists = lists[:-1]  # the rest is the last part
            new = session.split(unit_id, lists)
        assert [other.split(unit_id, lists) for other in others] == [new] * len(others)


# ------------------------------------------------------------------ operations, one by one


def test_merge(analyzer):
    session = sic.CurationSession(analyzer, decided_by="me")
    a, b, c = session.unit_ids[:3]
    spikes = np.sort(np.concatenate([session.get_spikes(i) for i in (a, b, c)]))
    largest = max(session.unit_ids)
    assert session.merge([c, a, b], reason="same shape") == largest + 1
    np.testing.assert_array_equal(session.get_spikes(largest + 1), spikes)
    assert not {a, b, c} & set(session.unit_ids)
    entry = session.history.iloc[0]
    assert (entry["inputs"], entry["outputs"]) == ([c, a, b], [largest + 1])
    assert entry["reason"] == "same shape"
    assert session.merge(session.unit_ids[:2], new_unit_id=largest + 40) == largest + 40
    assert session.merge(np.array(session.unit_ids[:2])) == largest + 41, "ids grow from there"
    assert all(type(i) is int for i in session.unit_ids)


def test_split_by_lists_labels_and_arrays(analyzer):
    session = sic.CurationSession(analyzer)
    unit_id = max(session.unit_ids, key=lambda i: session.get_spikes(i).size)
    spikes = session.get_spikes(unit_id)
    next_id = max(session.unit_ids) + 1
    assert session.split(unit_id, [[4, 2], {7}]) == [next_id, next_id + 1, next_id + 2]
    np.testing.assert_array_equal(session.get_spikes(next_id), spikes[[2, 4]])
    np.testing.assert_array_equal(session.get_spikes(next_id + 1), spikes[[7]])
    rest = np.delete(spikes, [2, 4, 7])
    np.testing.assert_array_equal(session.get_spikes(next_id + 2), rest)
    labels = np.where(np.arange(rest.size) % 3 == 0, -5, 8)
    assert session.split(next_id + 2, labels) == [next_id + 3, next_id + 4]
    np.testing.assert_array_equal(session.get_spikes(next_id + 3), rest[::3])
    is_first = np.arange(rest[::3].size) < 2
    assert session.split(next_id + 3, is_first, new_unit_ids=[900, 800]) == [900, 800]
    np.testing.assert_array_equal(session.get_spikes(800), rest[::3][:2])
    assert session.split(next_id, ["x", "a"]) == [901, 902]
    np.testing.assert_array_equal(session.get_spikes(901), spikes[[4]])


def test_split_all_lists_and_no_rest():
    part, num_parts = part_of_spikes([[0, 2], [1]], 3, "a")
    assert (part.tolist(), num_parts) == ([0, 1, 0], 2)


def test_split_by_template_numbers_parts_as_phy_does(analyzer):
    session = sic.CurationSession(analyzer)
    merged = session.merge(session.unit_ids[:5])
    templates = analyzer.get_extension("template_assignment").get_spike_template_ids()
    spikes = session.get_spikes(merged)
    present = np.unique(templates[spikes])
    assert np.any(np.diff(present) > 1), "a gap is part of what is tested"
    ids = session.split_by_template(merged)
    assert ids == [merged + 1 + int(t - present[0]) for t in present]
    for unit_id, template in zip(ids, present, strict=True):
        np.testing.assert_array_equal(
            session.get_spikes(unit_id), spikes[templates[spikes] == template]
        )
    assert session.history.iloc[-1]["reason"] == "by template"
    assert session.merge(ids[:2]) == ids[-1] + 1


def test_label_fields_are_inherited_and_taken_away(analyzer):
    session = sic.CurationSession(analyzer)
    a, b, c, d = session.unit_ids[:4]
    before = session.table
    session.label([a, b], "tested", "note")
    session.label([c], 3, "rank")
    assert list(session.table.columns[:3]) == ["group", "note", "rank"]
    merged = session.merge([a, b, c])
    assert session.table.loc[merged, "note"] == "tested"
    assert session.table.loc[merged, "rank"] == 3
    assert session.table["note"].notna().sum() == 1
    session.label([merged], None, "note")
    assert pd.isna(session.table.loc[merged, "note"])
    session.label([merged], None)
    assert session.table.loc[merged, "group"] == "unsorted"
    for _ in range(5):
        session.undo()
    pd.testing.assert_frame_equal(session.table, before)


def test_remove(analyzer):
    session = sic.CurationSession(analyzer)
    a, b, *rest = session.unit_ids
    gone = np.concatenate([session.get_spikes(a), session.get_spikes(b)])
    assert session.remove([a, b]) is None
    assert session.unit_ids == rest
    clusters = cluster_of_spikes(session)
    assert np.flatnonzero([c is None for c in clusters]).tolist() == sorted(gone.tolist())
    with pytest.raises(UnknownIdError, match=str(a)):
        session.merge([a, rest[0]])
    session.remove(rest)
    assert session.unit_ids == []
    assert len(session.table) == 0
    assert "best_channel" in session.table
    assert session.undo() == "remove"
    assert session.unit_ids == rest


def test_undo_redo_and_what_is_in_effect(analyzer):
    session = sic.CurationSession(analyzer, decided_by="me")
    assert session.undo() is None
    assert session.redo() is None
    assert len(session.history) == 0
    tables = [session.table]
    a, b, c = session.unit_ids[:3]
    merged = session.merge([a, b])
    tables.append(session.table)
    session.label([merged], "good")
    tables.append(session.table)
    parts = session.split(merged, [[0]])
    tables.append(session.table)
    names = ["merge", "label", "split"]
    for position in (2, 1, 0):
        assert session.undo() == names[position]
        pd.testing.assert_frame_equal(session.table, tables[position])
    assert session.undo() is None
    for position in (1, 2):
        assert session.redo() == names[position - 1]
        pd.testing.assert_frame_equal(session.table, tables[position])
    assert session.history["in_effect"].tolist() == [True, True, False] + [False] * 5
    other = session.merge([merged, c])
    assert other == parts[-1] + 1, "ids of steps that were undone are not used again"
    assert session.redo() is None, "a new step ends what can be redone"
    history = session.history
    assert history["operation"].tolist() == [*names, *["undo"] * 3, "redo", "redo", "merge"]
    assert history["in_effect"].tolist() == [True, True, False] + [False] * 5 + [True]
    undone = history.iloc[5]
    assert (undone["inputs"], undone["outputs"]) == ([merged], [a, b])
    assert set(history["decided_by"]) == {"me"}
    assert all(session.was_used(i) for i in [a, b, c, merged, other, *parts])
    assert not session.was_used(other + 1)


def test_history(analyzer):
    session = sic.CurationSession(analyzer, decided_by="me")
    a, b = session.unit_ids[:2]
    session.label([a, b], "mua", reason="few spikes", decided_by="you")
    history = session.history
    assert list(history.columns) == [
        *["when", "operation", "inputs", "outputs", "field", "value", "reason", "decided_by"],
        "in_effect",
    ]
    entry = history.iloc[0]
    assert pd.Timestamp(entry["when"]).tz is not None
    values = ["label", [a, b], [a, b], "group", "mua", "few spikes", "you", True]
    assert entry.iloc[1:].tolist() == values
    entry["inputs"].append(99)
    assert session.history.iloc[0]["inputs"] == [a, b], "the history is a copy"


def test_spikes_are_a_copy(analyzer):
    session = sic.CurationSession(analyzer)
    unit_id = session.unit_ids[0]
    session.get_spikes(unit_id)[:] = 0
    assert np.all(np.diff(session.get_spikes(unit_id)) > 0)


def test_the_analyzer_gets_template_assignment_and_nothing_else(make_recorded):
    analyzer = make_recorded([3, 1, 2, 8, 5, 9])
    before = set(analyzer.extensions)
    session = sic.CurationSession(analyzer)
    assert set(analyzer.extensions) == before | {"template_assignment"}
    assert session.unit_ids == [1, 2, 3, 5, 8, 9]
    session.merge([3, 1])
    session.table  # noqa: B018
    assert set(analyzer.extensions) == before | {"template_assignment"}
    assert analyzer.unit_ids.tolist() == [3, 1, 2, 8, 5, 9]


# ------------------------------------------------------------------ against brute force and phy


@pytest.mark.parametrize("seed", range(4))
def test_random_steps_against_brute_force(analyzer, seed):
    session = sic.CurationSession(analyzer)
    model = naive_of(session)
    rng = np.random.default_rng(seed)
    for _ in range(30):
        random_step(session, rng, [model])
        assert cluster_of_spikes(session) == model.spike_clusters
        groups = session.table["group"]
        labels = model.labels()
        assert groups.to_dict() == {i: labels.get(i, "unsorted") for i in session.unit_ids}


class Recorder:
    """Takes down the steps of `random_step` as phy would do them."""

    def __init__(self, session):
        self.model, self.steps = naive_of(session), []

    def merge(self, ids):
        self.steps.append(["merge", ids])
        return self.model.merge(ids)

    def split(self, unit_id, lists):
        spikes = self.model.spikes(unit_id)
        rows = [spikes[i] for part in lists for i in part]
        parts = [number for number, part in enumerate(lists) for _ in part]
        self.steps.append(["split", rows, parts])
        return self.model.split(unit_id, lists)

    def label(self, ids, group):
        self.steps.append(["label", ids, group])
        self.model.label(ids, group)


PHY_PROGRAM = """
import json, sys
import numpy as np
from phy.cluster._utils import create_cluster_meta
from phy.cluster.clustering import Clustering
from phylib.utils.event import connect

task = json.load(sys.stdin)
clustering = Clustering(np.array(task["clusters"]))
meta = create_cluster_meta({int(i): g for i, g in task["groups"].items()})

@connect(sender=clustering)
def on_cluster(sender, up):  # as in phy's Supervisor
    if up.added:
        meta.set_from_descendants(up.descendants, largest_old_cluster=up.largest_old_cluster)

states = []
for name, *arguments in task["steps"]:
    if name == "merge":
        clustering.merge(arguments[0])
    elif name == "split":
        clustering.split(np.array(arguments[0]), np.array(arguments[1]))
    elif name == "label":
        meta.set("group", arguments[0], arguments[1])
    else:
        getattr(clustering, name)()
    groups = {int(c): meta.get("group", int(c)) or "unsorted" for c in clustering.cluster_ids}
    states.append([clustering.spike_clusters.tolist(), groups])
print("STATES " + json.dumps(states))
"""


@pytest.fixture(scope="module")
def phy_states():
    """Give the clusters and groups after each step in phy's own classes."""
    python = needs.python_with("phy")

    def run(clusters, groups, steps):
        task = json.dumps({"clusters": clusters, "groups": groups, "steps": steps})
        environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            [python, "-c", PHY_PROGRAM], input=task, capture_output=True, text=True, env=environment
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("STATES ")]
        assert lines, done.stderr[-2000:]
        states = json.loads(lines[-1].removeprefix("STATES "))
        return [(found, {int(i): g for i, g in groups.items()}) for found, groups in states]

    return run


@pytest.mark.parametrize("seed", range(3))
def test_random_steps_against_phy(analyzer, phy_states, seed):
    session = sic.CurationSession(analyzer)
    templates = analyzer.get_extension("template_assignment").get_spike_template_ids()
    start = cluster_of_spikes(session)
    groups = {i: g for i, g in session.table["group"].items() if g != "unsorted"}
    recorder = Recorder(session)
    rng = np.random.default_rng(seed + 50)
    expected = []
    for number in range(60):
        mixed = session.table.query("num_templates > 1").index
        if number % 5 == 4 and len(mixed):
            unit_id = int(rng.choice(mixed))
            spikes = session.get_spikes(unit_id)
            session.split_by_template(unit_id)
            recorder.steps.append(["split", spikes.tolist(), templates[spikes].tolist()])
            recorder.model = naive_of(session)
            recorder.model._next = max(session.unit_ids) + 1
        else:
            random_step(session, rng, [recorder])
        expected.append((cluster_of_spikes(session), session.table["group"].to_dict()))
    found = phy_states(start, groups, recorder.steps)
    for step, (ours, theirs) in enumerate(zip(expected, found, strict=True)):
        assert ours[0] == theirs[0], recorder.steps[step][:1]
        assert ours[1] == theirs[1], recorder.steps[step][:1]


def test_ids_after_undo_and_redo_against_phy(analyzer, phy_states):
    session = sic.CurationSession(analyzer)
    start = cluster_of_spikes(session)
    rng = np.random.default_rng(9)
    recorder = Recorder(session)
    steps, expected = [], []
    for number in range(40):
        if number % 4 == 2:
            count = int(rng.integers(1, 3))
            names = ["undo"] * count + ["redo"] * int(rng.integers(0, count + 1))
            done = len(session.history.query("in_effect"))
            for name in names if done >= count else []:
                getattr(session, name)()
                steps.append([name])
                expected.append(cluster_of_spikes(session))
            recorder.model.spike_clusters = cluster_of_spikes(session)
        else:
            ids = [i for i in session.unit_ids if session.get_spikes(i).size > 3]
            if len(ids) > 4 and rng.random() < 0.5:
                chosen = rng.choice(ids, 2, replace=False).tolist()
                assert session.merge(chosen) == recorder.merge(chosen)
            else:
                unit_id = int(rng.choice(ids))
                assert session.split(unit_id, [[0, 2]]) == recorder.split(unit_id, [[0, 2]])
            steps.append(recorder.steps[-1])
            expected.append(cluster_of_spikes(session))
    found = [clusters for clusters, _ in phy_states(start, {}, steps)]
    assert found == expected
    assert ["undo"] in steps
    assert ["redo"] in steps


@pytest.mark.parametrize(
    ("groups", "sizes", "expected"),
    [
        ((None, None), (3, 5), None),
        (("good", None), (3, 5), "good"),
        (("good", "good"), (3, 5), "good"),
        (("good", "noise"), (3, 5), "noise"),
        (("good", "noise"), (5, 5), "good"),  # the lowest id of equals
        (("good", "noise", None), (3, 4, 5), None),  # the largest, even if it has none
        (("good", "unsorted"), (3, 5), "unsorted"),  # moved to unsorted by hand
    ],
)
def test_label_of_a_merged_unit(groups, sizes, expected):
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    model = naive.NaiveClustering(clusters)
    session = sic.CurationSession(identity_analyzer(clusters))
    for unit_id, group in enumerate(groups):
        if group is not None:
            session.label([unit_id], group)
            model.label([unit_id], group)
    new = session.merge(range(len(sizes)))
    assert model.merge(range(len(sizes))) == new
    assert session.table.loc[new, "group"] == (expected or "unsorted")
    assert model.labels().get(new) == expected


def identity_analyzer(clusters, unit_ids=None):
    """Make an analyzer without a recording, with one template for each unit."""
    unit_ids = np.arange(max(clusters) + 1) if unit_ids is None else np.asarray(unit_ids)
    recording = si.generate_recording(num_channels=4, durations=[1.0], seed=0)
    probe = recording.get_probe()
    probe.set_shank_ids(["0"] * 4)
    recording.set_probe(probe)
    spikes = np.zeros(len(clusters), dtype=si.base.minimum_spike_dtype)
    spikes["sample_index"] = 200 + 10 * np.arange(len(clusters))
    spikes["unit_index"] = clusters
    sorting = si.NumpySorting(spikes, recording.sampling_frequency, unit_ids)
    analyzer = si.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "templates"])
    return analyzer


# ------------------------------------------------------------------ values beside `apply`


def assert_equals_applied(session):
    """Compare everything that a session tells with the extensions of the new analyzer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("si_curation.curation.apply.warnings.warn", lambda *_, **__: None)
        applied = session.apply()
    old = session.sorting_analyzer.sorting.to_spike_vector()
    table = session.table
    assert set(applied.unit_ids) == set(session.unit_ids)
    data = applied.get_extension("template_assignment").get_data().loc[table.index]
    for name in data.columns:
        np.testing.assert_array_equal(table[name].to_numpy(), data[name].to_numpy(), name)
    applied.compute("template_best_channels")
    best = applied.get_extension("template_best_channels").get_data()
    assignment = session.sorting_analyzer.get_extension("template_assignment")
    templates = assignment.get_spike_template_ids()
    similar = assignment.get_template_similarity()
    quality = applied.sorting.get_property("quality")
    templates_of = {i: set(templates[session.get_spikes(i)].tolist()) for i in session.unit_ids}
    for index, unit_id in enumerate(applied.unit_ids):
        plain = unit_id.item()
        spikes = session.get_spikes(unit_id)
        train = applied.sorting.get_unit_spike_train(unit_id, segment_index=0)
        np.testing.assert_array_equal(old["sample_index"][spikes], train)
        np.testing.assert_array_equal(session.get_best_channels(unit_id), best[unit_id])
        if best[unit_id].size:
            assert table.loc[plain, "best_channel"] == best[unit_id][0]
        else:
            assert pd.isna(table.loc[plain, "best_channel"])
        if quality is not None:
            assert table.loc[plain, "group"] == quality[index]
        found = session.get_similarity(unit_id)
        assert found.dtype == np.float64
        assert np.all(np.diff(found.to_numpy()) <= 0)
        brute = {
            other: max(float(similar[i, j]) for i in templates_of[plain] for j in theirs)
            for other, theirs in templates_of.items()
            if other != plain and theirs and templates_of[plain]
        }
        assert found.to_dict() == brute


def test_values_equal_what_apply_gives_after_every_step(analyzer):
    session = sic.CurationSession(analyzer)
    rng = np.random.default_rng(2)
    assert_equals_applied(session)
    for number in range(12):
        random_step(session, rng, [])
        if number in (4, 8):
            session.remove([session.unit_ids[0]])
        assert_equals_applied(session)
        if number == 9:
            session.undo()
            session.undo()
            assert_equals_applied(session)


def test_values_follow_the_parameters_of_template_best_channels(simulate):
    folder = simulate(num_templates=6, num_channels=16, num_spikes=300, write_features=False).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    analyzer.compute("template_best_channels", num_channels=3, amplitude_threshold=0.2)
    session = sic.CurationSession(analyzer)
    merged = session.merge(session.unit_ids[:2])
    applied = session.apply()
    best = applied.get_extension("template_best_channels")
    np.testing.assert_array_equal(session.get_best_channels(merged), best.get_best_channels(merged))
    assert 0 < session.get_best_channels(merged).size <= 3


def test_table_of_some_units(analyzer):
    session = sic.CurationSession(analyzer)
    session.merge(session.unit_ids[:2])
    chosen = session.unit_ids[::-2]
    pd.testing.assert_frame_equal(session.get_table(chosen), session.table.loc[chosen])
    assert len(session.get_table([])) == 0


# ------------------------------------------------------------------ strings, empty, one spike


def test_string_ids_empty_units_and_units_with_one_spike(recorded):
    session = sic.CurationSession(recorded)
    start = session.table
    assert session.unit_ids == ["a", "b", "unit7", "d", "empty", "one"]
    assert start.loc["empty", "template_id"] == -1
    assert pd.isna(start.loc["empty", "best_channel"])
    assert np.isnan(start.loc["empty", "template_purity"])
    assert session.get_spikes("empty").size == 0
    assert session.get_best_channels("empty").size == 0
    assert session.get_similarity("empty").empty
    assert "empty" not in session.get_similarity("a")
    assert_equals_applied(session)
    merged = session.merge(["empty", "one"])
    assert merged == "unit8"
    assert session.get_spikes(merged).size == 1
    with pytest.raises(ParameterError, match="part"):
        session.split(merged, [0])
    with pytest.raises(ParameterError, match="at least 2 parts"):
        session.split(merged, [[0]])
    assert session.merge(["a", merged]) == "unit9"
    assert session.split_by_template("unit9") == ["unit10", "unit11"]
    assert session.split("b", [[0]], new_unit_ids=["left", "unit20"]) == ["left", "unit20"]
    assert session.merge(["left", "unit7"]) == "unit21"
    order = ["d", "unit10", "unit11", "unit20", "unit21"]
    assert session.unit_ids == order, "in the order that they came"
    assert_equals_applied(session)
    while session.undo():
        pass
    pd.testing.assert_frame_equal(session.table, start)
    assert session.merge(["a", "b"], new_unit_id="a+b") == "a+b"


def test_merge_of_empty_units_only():
    analyzer = identity_analyzer([0, 0, 3], [4, 5, 6, 7])
    session = sic.CurationSession(analyzer)
    assert session.merge([5, 6]) == 8
    assert session.get_spikes(8).size == 0
    assert session.table.loc[8, "template_id"] == -1
    session.label([8], "noise")
    assert_equals_applied(session)


def test_string_ids_that_are_numbers(make_recorded):
    session = sic.CurationSession(make_recorded(["0", "1", "2", "3", "10", "4"]))
    assert session.unit_ids == ["0", "1", "2", "3", "10", "4"]
    assert session.merge(["0", "1"]) == "11"
    with pytest.raises(UnknownIdError):
        session.merge([2, 3])
    with pytest.raises(ParameterError, match="strings"):
        session.merge(["2", "3"], new_unit_id=12)
    assert_equals_applied(session)


@pytest.mark.slow
@given(
    ids=st.lists(st.integers(0, 10**6), min_size=1, unique=True) | st.lists(st.text(), unique=True),
    counts=st.lists(st.integers(1, 4), max_size=5),
)
@settings(max_examples=2 * settings.default.max_examples)
def test_ids_are_never_used_twice(ids, counts):
    source = IdSource(ids)
    used = set(ids)
    for count in counts:
        assert source.peek(count) == source.peek(count)
        new = source.take(count)
        assert len(new) == count
        assert not used & set(new)
        used |= set(new)
        assert all(source.is_used(i) for i in used)
    assert source.are_integers == all(isinstance(i, int) for i in ids)


# ------------------------------------------------------------------ errors change nothing


def first(session, count=1):
    return session.unit_ids[:count]


ERRORS = {
    "unknown": (UnknownIdError, lambda s: s.merge([*first(s), 10**6])),
    "unknown in split": (UnknownIdError, lambda s: s.split(10**6, [[0]])),
    "unknown in label": (UnknownIdError, lambda s: s.label([*first(s), 10**6], "good")),
    "unknown in remove": (UnknownIdError, lambda s: s.remove([*first(s), 10**6])),
    "unknown in split by template": (UnknownIdError, lambda s: s.split_by_template("x")),
    "float id": (UnknownIdError, lambda s: s.merge([float(i) for i in first(s, 2)])),
    "bool id": (UnknownIdError, lambda s: s.remove([True])),
    "unhashable id": (ParameterError, lambda s: s.remove([[1]])),
    "one unit": (ParameterError, lambda s: s.merge(first(s))),
    "no unit": (ParameterError, lambda s: s.merge([])),
    "no unit to label": (ParameterError, lambda s: s.label([], "good")),
    "no unit to remove": (ParameterError, lambda s: s.remove([])),
    "twice": (ParameterError, lambda s: s.merge(first(s) * 2)),
    "not a list": (ParameterError, lambda s: s.merge(first(s)[0])),
    "text for a list": (ParameterError, lambda s: s.label("12", "good")),
    "id in use": (ParameterError, lambda s: s.merge(first(s, 2), new_unit_id=first(s)[0])),
    "id used before": (ParameterError, lambda s: s.merge(first(s, 2), new_unit_id=USED[0])),
    "new id is a text": (ParameterError, lambda s: s.merge(first(s, 2), new_unit_id="500")),
    "new id is a float": (ParameterError, lambda s: s.merge(first(s, 2), new_unit_id=500.0)),
    "new id is a bool": (ParameterError, lambda s: s.merge(first(s, 2), new_unit_id=True)),
    "new id is a list": (ParameterError, lambda s: s.merge(first(s, 2), new_unit_id=[500])),
    "few new ids": (ParameterError, lambda s: s.split(BIG[0], [[0]], new_unit_ids=[500])),
    "new ids twice": (ParameterError, lambda s: s.split(BIG[0], [[0]], new_unit_ids=[500] * 2)),
    "few labels": (ParameterError, lambda s: s.split(BIG[0], [0, 1])),
    "no labels": (ParameterError, lambda s: s.split(BIG[0], [])),
    "one label": (ParameterError, lambda s: s.split(BIG[0], np.zeros(BIG[1], dtype=int))),
    "float labels": (ParameterError, lambda s: s.split(BIG[0], np.arange(BIG[1]) / 2)),
    "labels and lists": (ParameterError, lambda s: s.split(BIG[0], [[0, 1], 2])),
    "lists of lists": (ParameterError, lambda s: s.split(BIG[0], [[[0], [1, 2]]])),
    "a number": (ParameterError, lambda s: s.split(BIG[0], 3)),
    "a text": (ParameterError, lambda s: s.split(BIG[0], "abc")),
    "no spike in a list": (ParameterError, lambda s: s.split(BIG[0], [[0], []])),
    "a spike twice": (ParameterError, lambda s: s.split(BIG[0], [[0, 0]])),
    "a spike in two lists": (ParameterError, lambda s: s.split(BIG[0], [[0, 1], [1]])),
    "a spike too many": (ParameterError, lambda s: s.split(BIG[0], [[0, BIG[1]]])),
    "a negative spike": (ParameterError, lambda s: s.split(BIG[0], [[-1]])),
    "a mask in a list": (ParameterError, lambda s: s.split(BIG[0], [np.arange(BIG[1]) > 3])),
    "all spikes in one list": (ParameterError, lambda s: s.split(BIG[0], [range(BIG[1])])),
    "float indices": (ParameterError, lambda s: s.split(BIG[0], [[0.5]])),
    "one template": (ParameterError, lambda s: s.split_by_template(PURE[0])),
    "no group of phy": (ParameterError, lambda s: s.label(first(s), "Good")),
    "group is a number": (ParameterError, lambda s: s.label(first(s), 1)),
    "label is a list": (ParameterError, lambda s: s.label(first(s), ["good"], "note")),
    "label is NaN": (ParameterError, lambda s: s.label(first(s), np.nan, "note")),
    "label has a tab": (ParameterError, lambda s: s.label(first(s), "a\tb", "note")),
    "label is blank": (ParameterError, lambda s: s.label(first(s), " ", "note")),
    "field is blank": (ParameterError, lambda s: s.label(first(s), "x", " ")),
    "field is a path": (ParameterError, lambda s: s.label(first(s), "x", "../x")),
    "field is the id": (ParameterError, lambda s: s.label(first(s), "x", "cluster_id")),
    "field is a column": (ParameterError, lambda s: s.label(first(s), 3, "num_spikes")),
    "field is the group": (ParameterError, lambda s: s.label(first(s), "good", "quality")),
    "field is no text": (ParameterError, lambda s: s.label(first(s), "x", 3)),
    "spikes of unknown": (UnknownIdError, lambda s: s.get_spikes(10**6)),
    "similarity of unknown": (UnknownIdError, lambda s: s.get_similarity(10**6)),
    "channels of unknown": (UnknownIdError, lambda s: s.get_best_channels(None)),
    "table of unknown": (UnknownIdError, lambda s: s.get_table([10**6])),
    "format": (ParameterError, lambda s: s.apply("hdf5")),
    "folder is missing": (ParameterError, lambda s: s.apply("zarr")),
}
BIG, PURE, USED = [], [], []


@pytest.fixture(scope="module")
def started(analyzer, tmp_path_factory):
    """A session with a journal, steps that count and steps that can be done again."""
    journal = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    session = sic.CurationSession(analyzer, journal=journal)
    merged = session.merge(session.unit_ids[:2])
    session.label([merged], "good")
    USED[:] = session.split(merged, [[0]])
    session.undo()
    sizes = session.table["num_spikes"]
    BIG[:] = [int(sizes.idxmax()), int(sizes.max())]
    PURE[:] = session.table.query("num_templates == 1").index[:1].tolist()
    return session, journal


@pytest.mark.parametrize("name", ERRORS)
def test_errors_change_nothing(started, name):
    session, journal = started
    error, call = ERRORS[name]
    before = state_of(session, journal)
    with pytest.raises(error):
        call(session)
    assert state_of(session, journal) == before
    assert session.redo() == "split"
    assert session.undo() == "split"


def test_errors_name_what_is_wrong(analyzer):
    session = sic.CurationSession(analyzer)
    with pytest.raises(UnknownIdError, match=r"units \[1000, 'x'\]"):
        session.merge([1000, "x"])
    unit_id = session.unit_ids[0]
    with pytest.raises(ParameterError, match=r"list 0 is empty; list 2 .* in a list already"):
        session.split(unit_id, [[], [0], [0]])
    with pytest.raises(ParameterError, match=r"field is '\*'.*; the label is"):
        session.label([unit_id], {}, "*")


def test_a_step_that_cannot_be_written_is_not_done(analyzer, tmp_path, monkeypatch):
    journal = tmp_path / "journal.jsonl"
    session = sic.CurationSession(analyzer, journal=journal)
    merged = session.merge(session.unit_ids[:2])
    session.label([merged], "good")
    session.undo()
    before = state_of(session, journal)

    def full(_):
        raise OSError("no space left on device")

    steps = [
        lambda: session.merge(session.unit_ids[:2]),
        lambda: session.split(merged, [[0]]),
        lambda: session.label([merged], "noise", "note"),
        lambda: session.remove([merged]),
        session.undo,
        session.redo,
    ]
    for step in steps:
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", full)
            with pytest.raises(OSError, match="no space"):
                step()
        assert state_of(session, journal) == before
    assert session.redo() == "label"
    session.close()
    again = sic.CurationSession.resume(analyzer, journal)
    pd.testing.assert_frame_equal(again.history, session.history)


def test_existing_output_is_refused(analyzer, tmp_path):
    session = sic.CurationSession(analyzer)
    with pytest.raises(OutputExistsError):
        session.apply("binary_folder", tmp_path)
