"""Any sequence of steps, undo and redo, beside a model that keeps a copy of everything."""

from __future__ import annotations

import copy
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import si_curation as sic

GROUPS = ["good", "mua", "noise", "unsorted", None]


class Model:
    """Units as sets of spikes with labels, and whole copies for undo."""

    def __init__(self, units):
        self.units = units  # id -> (set of spikes, {field: label})
        self.removed = set()
        self.next_id = max(units) + 1
        self.undo_stack, self.redo_stack = [], []

    def begin(self):
        self.undo_stack.append(self.copy())
        self.redo_stack.clear()

    def copy(self):
        return copy.deepcopy((self.units, self.removed))

    def merge(self, ids):
        self.begin()
        parts = [self.units.pop(i) for i in sorted(ids)]
        labels = {}
        for field in {field for _, own in parts for field in own}:
            values = {own[field] for _, own in parts if own.get(field) is not None}
            if len(values) == 1:
                labels[field] = values.pop()
            elif values:
                labels[field] = max(parts, key=lambda part: len(part[0]))[1].get(field)
        return self.add(set().union(*(spikes for spikes, _ in parts)), labels)

    def split(self, unit_id, parts):
        self.begin()
        _, labels = self.units.pop(unit_id)
        return [self.add(set(part), dict(labels)) for part in parts]

    def add(self, spikes, labels):
        self.units[self.next_id] = (spikes, labels)
        self.next_id += 1
        return self.next_id - 1

    def label(self, ids, value, field):
        self.begin()
        for i in ids:
            self.units[i][1][field] = value

    def remove(self, ids):
        self.begin()
        for i in ids:
            self.removed |= self.units.pop(i)[0]

    def undo(self):
        self.redo_stack.append(self.copy())
        self.units, self.removed = self.undo_stack.pop()

    def redo(self):
        self.undo_stack.append(self.copy())
        self.units, self.removed = self.redo_stack.pop()


def assert_same_history(a, b):
    pd.testing.assert_frame_equal(a, b)


class Curation(RuleBasedStateMachine):
    analyzer = None  # set by the test
    numbers = itertools.count()

    def __init__(self):
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.journal = Path(self.scratch.name) / "journal.jsonl"
        self.session = sic.CurationSession(self.analyzer, journal=self.journal, decided_by="me")
        self.start = self.session.table
        groups = self.start["group"]
        self.model = Model(
            {
                i: (
                    set(self.session.get_spikes(i).tolist()),
                    {} if groups[i] == "unsorted" else {"group": groups[i]},
                )
                for i in self.session.unit_ids
            }
        )
        self.num_spikes = self.analyzer.sorting.to_spike_vector().size

    def some_units(self, data, at_least):
        ids = sorted(self.model.units)
        return data.draw(st.lists(st.sampled_from(ids), min_size=at_least, max_size=4, unique=True))

    @precondition(lambda self: len(self.model.units) > 1)
    @rule(data=st.data())
    def merge(self, data):
        ids = self.some_units(data, 2)
        assert self.session.merge(ids) == self.model.merge(ids)

    @precondition(lambda self: any(len(spikes) > 1 for spikes, _ in self.model.units.values()))
    @rule(data=st.data(), as_labels=st.booleans())
    def split(self, data, as_labels):
        ids = [i for i, (spikes, _) in sorted(self.model.units.items()) if len(spikes) > 1]
        unit_id = data.draw(st.sampled_from(ids))
        spikes = sorted(self.model.units[unit_id][0])
        labels = st.lists(st.integers(0, 2), min_size=len(spikes), max_size=len(spikes))
        labels = data.draw(labels.filter(lambda part: len(set(part)) > 1))
        parts = [
            [i for i, label in enumerate(labels) if label == part] for part in sorted(set(labels))
        ]
        given = labels if as_labels else parts[:-1]
        found = self.session.split(unit_id, given)
        assert found == self.model.split(unit_id, [[spikes[i] for i in part] for part in parts])

    @precondition(lambda self: self.model.units)
    @rule(data=st.data(), value=st.sampled_from(GROUPS))
    def label_group(self, data, value):
        ids = self.some_units(data, 1)
        self.session.label(ids, value)
        self.model.label(ids, value, "group")

    @precondition(lambda self: self.model.units)
    @rule(data=st.data(), value=st.sampled_from(["x", "y z", 2, 0.5, True, None]))
    def label_note(self, data, value):
        ids = self.some_units(data, 1)
        self.session.label(ids, value, "note")
        self.model.label(ids, value, "note")

    @precondition(lambda self: len(self.model.units) > 2)
    @rule(data=st.data())
    def remove(self, data):
        ids = self.some_units(data, 1)
        self.session.remove(ids)
        self.model.remove(ids)

    @rule()
    def undo(self):
        if self.model.undo_stack:
            self.model.undo()
            assert self.session.undo() in ("merge", "split", "label", "remove")
        else:
            assert self.session.undo() is None

    @rule()
    def redo(self):
        if self.model.redo_stack:
            self.model.redo()
            assert self.session.redo() in ("merge", "split", "label", "remove")
        else:
            assert self.session.redo() is None

    @rule()
    def resume(self):
        self.session.close()
        again = sic.CurationSession.resume(self.analyzer, self.journal, decided_by="me")
        pd.testing.assert_frame_equal(again.table, self.session.table)
        assert_same_history(again.history, self.session.history)
        self.session = again  # and go on with it

    @invariant()
    def units_are_the_models(self):
        assert self.session.unit_ids == sorted(self.model.units)
        table = self.session.table
        for unit_id, (spikes, labels) in self.model.units.items():
            assert self.session.get_spikes(unit_id).tolist() == sorted(spikes)
            assert table.loc[unit_id, "num_spikes"] == len(spikes)
            assert table.loc[unit_id, "group"] == (labels.get("group") or "unsorted")
            if "note" in table:
                note = table.loc[unit_id, "note"]
                assert labels.get("note") == (None if pd.isna(note) else note)
            else:
                assert labels.get("note") is None
        assert not self.session.was_used(self.model.next_id)

    @invariant()
    def every_spike_is_in_one_unit_or_removed(self):
        parts = [self.session.get_spikes(i).tolist() for i in self.session.unit_ids]
        found = sorted(itertools.chain(self.model.removed, *parts))
        assert found == list(range(self.num_spikes))

    @invariant()
    def as_many_steps_are_in_effect(self):
        assert self.session.history["in_effect"].sum() == len(self.model.undo_stack)

    def teardown(self):
        self.session.close()
        again = sic.CurationSession.resume(self.analyzer, self.journal)
        self.session, again = again, self.session
        pd.testing.assert_frame_equal(again.table, self.session.table)
        assert_same_history(again.history, self.session.history)
        while self.session.undo():
            pass
        pd.testing.assert_frame_equal(self.session.table, self.start)
        assert not self.session.history["in_effect"].any()
        self.scratch.cleanup()


@pytest.fixture(scope="module")
def analyzer(simulate):
    folder = simulate(
        num_templates=7,
        num_channels=8,
        num_spikes=60,
        labels={0: "good", 1: "noise", 2: "mua"},
        write_features=False,
        seed=2,
    ).folder
    return sic.read_kilosort_as_analyzer(folder)


def test_any_sequence_of_steps(analyzer, monkeypatch):
    monkeypatch.setattr(Curation, "analyzer", analyzer)
    monkeypatch.setattr("os.fsync", lambda _: None)  # thousands of steps
    run_state_machine_as_test(
        Curation,
        settings=settings(settings.default, stateful_step_count=25),
    )


def test_the_model_finds_a_lost_spike(analyzer, monkeypatch):
    """That the machine can fail."""
    monkeypatch.setattr(Curation, "analyzer", analyzer)
    original = sic.CurationSession.get_spikes
    monkeypatch.setattr(
        sic.CurationSession, "get_spikes", lambda self, i: original(self, i)[: 1000 - (i > 7) * 999]
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            Curation,
            settings=settings(
                max_examples=30, derandomize=True, deadline=None, phases=[Phase.generate]
            ),
        )
    assert np.all(np.isfinite(analyzer.get_extension("templates").data["average"]))
