"""Journals: killed processes, torn and damaged files, other spikes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import spikeinterface.core as si

import si_curation as sic
from si_curation.curation.journal import pack_parts, unpack_parts
from si_curation.errors import (
    FolderNotFoundError,
    OutputExistsError,
    ParameterError,
    SiCurationWarning,
)


@pytest.fixture(scope="module")
def folder(simulate):
    return simulate(
        num_templates=9,
        num_channels=12,
        num_spikes=300,
        labels={0: "good"},
        write_features=False,
        seed=4,
    ).folder


@pytest.fixture(scope="module")
def analyzer(folder):
    return sic.read_kilosort_as_analyzer(folder)


def do_steps(session):
    """Every operation once or more; yields after each."""
    a, b, c, d, e = session.unit_ids[:5]
    steps = [
        lambda: session.merge([a, b], reason="gleiche Form – für später"),
        lambda: session.split(c, [[0, 2], [1]]),
        lambda: session.label([d], "good", decided_by="you"),
        lambda: session.label([d, e], 2.5, "snr"),
        session.undo,
        session.redo,
        lambda: session.remove([e]),
        session.undo,
        lambda: session.split(d, np.arange(session.get_spikes(d).size) % 3),
    ]
    for step in steps:
        step()
        yield


@pytest.fixture(scope="module")
def written(analyzer, tmp_path_factory):
    """A journal, and table and history after each number of lines."""
    path = tmp_path_factory.mktemp("journal") / "deeper" / "journal.jsonl"
    session = sic.CurationSession(analyzer, journal=path, decided_by="me")
    states = [None, (session.table, session.history)]
    for _ in do_steps(session):
        states.append((session.table, session.history))
        assert path.read_bytes().count(b"\n") == len(states) - 1, "written at once"
    return path, states


def assert_state(session, state):
    pd.testing.assert_frame_equal(session.table, state[0])
    pd.testing.assert_frame_equal(session.history, state[1])


# ------------------------------------------------------------------------------- the file


def test_lines_are_json_with_the_documented_keys(written, analyzer):
    path, states = written
    lines = path.read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    header, *entries = [json.loads(line) for line in lines]
    assert header["format"] == "si_curation journal"
    assert header["version"] == 1
    assert re.fullmatch("[0-9a-f]{32}", header["fingerprint"])
    common = ["when", "operation", "inputs", "outputs", "reason", "decided_by"]
    extra = {"split": ["parts"], "label": ["field", "value"]}
    for entry, (_, row) in zip(entries, states[-1][1].iterrows(), strict=True):
        assert list(entry) == common + extra.get(entry["operation"], [])
        for name in common:
            assert entry[name] == row[name]
    assert "für" in lines[1], "text is text"
    operations = {entry["operation"] for entry in entries}
    assert operations == {"merge", "split", "label", "remove", "undo", "redo"}


@pytest.mark.parametrize("num_parts", [2, 300, 70_000])
def test_parts_come_back(num_parts):
    parts = np.random.default_rng(0).permutation(num_parts)
    packed = json.loads(json.dumps(pack_parts(parts)))
    np.testing.assert_array_equal(unpack_parts(packed), parts)
    assert packed["size"] == num_parts


def test_resume_then_more_then_resume(written, analyzer, tmp_path):
    path, states = written
    journal = shutil.copy(path, tmp_path / "journal.jsonl")
    session = sic.CurationSession.resume(analyzer, journal, decided_by="somebody")
    assert_state(session, states[-1])
    assert journal.read_bytes() == path.read_bytes(), "resuming writes nothing"
    session.merge(session.unit_ids[:2])
    assert session.history["decided_by"].iloc[-1] == "somebody"
    session.undo()
    again = sic.CurationSession.resume(analyzer, str(journal), decided_by="a third")
    assert_state(again, (session.table, session.history))
    assert again.redo() == "merge"
    assert again.undo() == "merge"
    assert again.undo() == "split", "undo goes on into the steps before"
    again.merge(again.unit_ids[:2])
    last = sic.CurationSession.resume(analyzer, journal)
    assert_state(last, (again.table, again.history))
    assert len(last.history) == journal.read_bytes().count(b"\n") - 1


def test_two_sessions_write_the_same_steps(written, analyzer, tmp_path):
    path, _ = written
    session = sic.CurationSession.resume(analyzer, path)
    copy = sic.CurationSession(analyzer, journal=tmp_path / "copy.jsonl", decided_by="me")
    for _ in do_steps(copy):
        pass
    without_times = re.compile(rb'"when": "[^"]*"')
    a, b = path.read_bytes(), (tmp_path / "copy.jsonl").read_bytes()
    assert without_times.sub(b"", a) == without_times.sub(b"", b)
    pd.testing.assert_frame_equal(session.table, copy.table)


def test_string_ids(tmp_path):
    recording = si.generate_recording(num_channels=4, durations=[1.0], seed=0)
    trains = {name: np.arange(start, 20_000, 700) for name, start in zip("abc", (200, 300, 500))}  # noqa: B905
    sorting = si.NumpySorting.from_unit_dict(trains, recording.sampling_frequency)
    analyzer = si.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "templates"])
    session = sic.CurationSession(analyzer, journal=tmp_path / "j")
    session.merge(["c", "a"])
    session.split("unit0", [[1]])
    session.undo()
    again = sic.CurationSession.resume(analyzer, tmp_path / "j")
    assert again.unit_ids == session.unit_ids == ["b", "unit0"]
    assert again.split("b", [[1]]) == ["unit3", "unit4"]


def test_existing_journal_is_refused(analyzer, written, tmp_path):
    path, _ = written
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="resume"):
        sic.CurationSession(analyzer, journal=path)
    with pytest.raises(OutputExistsError):
        sic.CurationSession(analyzer, journal=tmp_path)
    assert path.read_bytes() == before


def test_missing_journal(analyzer, tmp_path):
    with pytest.raises(FolderNotFoundError, match=r"nothing\.jsonl"):
        sic.CurationSession.resume(analyzer, tmp_path / "nothing.jsonl")
    with pytest.raises(FolderNotFoundError):
        sic.CurationSession.resume(analyzer, tmp_path)


# -------------------------------------------------------------------------- torn by a kill


def check_resumed(analyzer, path, content, states, and_go_on=True):
    """Resume from a journal of which the end may be missing; give the number of whole lines."""
    path.write_bytes(content)
    whole = content.count(b"\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session = sic.CurationSession.resume(analyzer, path, decided_by="me")
    ours = [w for w in caught if issubclass(w.category, SiCurationWarning)]
    assert len(ours) == (0 if content.endswith(b"\n") else 1)
    assert all("dropped" in str(w.message) for w in ours)
    assert_state(session, states[whole])
    assert path.read_bytes() == content[: content.rfind(b"\n") + 1]
    if not and_go_on:
        return
    merged = session.merge(session.unit_ids[-2:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = sic.CurationSession.resume(analyzer, path)
    assert again.unit_ids[-1] == merged
    assert_state(again, (session.table, session.history))


def test_torn_at_every_byte_of_the_last_line(analyzer, written, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)
    path, states = written
    content = path.read_bytes()
    start = content.rfind(b"\n", 0, -1) + 1
    for end in range(start, len(content) + 1):
        check_resumed(analyzer, tmp_path / "journal", content[:end], states, end % 10 == 0)


def test_torn_in_every_line(analyzer, written, tmp_path):
    path, states = written
    content = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    for end in ends:
        check_resumed(analyzer, tmp_path / "journal", content[:end], states)
    for end in ends[1:]:
        for fewer in (1, 2, 30):
            check_resumed(analyzer, tmp_path / "journal", content[: end - fewer], states)


def test_torn_first_line_is_no_journal(analyzer, written, tmp_path):
    header = written[0].read_bytes().split(b"\n")[0]
    for end in (0, 1, 20, len(header)):
        path = tmp_path / "journal"
        path.write_bytes(header[:end])
        with pytest.raises(ParameterError, match="is not a journal"):
            sic.CurationSession.resume(analyzer, path)
        assert path.read_bytes() == header[:end]


KILLED = """
import os, sys, warnings
warnings.simplefilter("ignore")
import si_curation as sic
from si_curation.curation import journal

folder, path, bytes_left = sys.argv[1], sys.argv[2], int(sys.argv[3])
session = sic.CurationSession(
    sic.read_kilosort_as_analyzer(folder), journal=path, decided_by="me"
)
append = journal.Journal.append

def until_killed(self, entry):
    global bytes_left
    before = self.path.stat().st_size
    append(self, entry)
    bytes_left -= self.path.stat().st_size - before
    if bytes_left < 0:  # so many bytes of this line have not reached the disk
        os.truncate(self.path, self.path.stat().st_size + bytes_left)
        os._exit(9)

journal.Journal.append = until_killed
while True:
    session.label(session.unit_ids[:2], "good")
    session.merge(session.unit_ids[:2])
    session.undo()
"""


@pytest.mark.parametrize("bytes_left", [0, 1234])
@pytest.mark.slow
def test_killed_process(folder, analyzer, tmp_path, bytes_left):
    path = tmp_path / "journal.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(path), str(bytes_left)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 9, done.stderr
    content = path.read_bytes()
    whole = content.count(b"\n") - 1
    assert (whole > 3) == (bytes_left > 0)
    expected = sic.CurationSession(analyzer)
    steps = [
        lambda: expected.label(expected.unit_ids[:2], "good"),
        lambda: expected.merge(expected.unit_ids[:2]),
        expected.undo,
    ]
    for number in range(whole):
        steps[number % 3]()
    if content.endswith(b"\n"):
        session = sic.CurationSession.resume(analyzer, path)
    else:
        with pytest.warns(SiCurationWarning, match="dropped"):
            session = sic.CurationSession.resume(analyzer, path)
    pd.testing.assert_frame_equal(session.table, expected.table)
    assert session.merge(session.unit_ids[:2]) == expected.merge(expected.unit_ids[:2])


# ------------------------------------------------------------------ damaged, or of other spikes


def changed(lines, number, **values):
    entry = {**json.loads(lines[number]), **values}
    return [*lines[:number], json.dumps(entry).encode(), *lines[number + 1 :]]


def without(lines, number, key):
    entry = json.loads(lines[number])
    del entry[key]
    return [*lines[:number], json.dumps(entry).encode(), *lines[number + 1 :]]


def cut_parts(lines):
    parts = json.loads(lines[2])["parts"]
    return changed(lines, 2, parts={**parts, "zlib_base64": parts["zlib_base64"][:-8]})


DAMAGED = {
    "empty": (lambda lines: [], "is not a journal"),
    "text": (lambda lines: [b"hello", b"you"], "line 1 is not a journal entry"),
    "json of something else": (lambda lines: [b"[1, 2]"], "is not a journal"),
    "number": (lambda lines: [b"7", *lines[1:]], "is not a journal"),
    "other format": (lambda lines: changed(lines, 0, format="labels"), "is not a journal"),
    "other version": (lambda lines: changed(lines, 0, version=2), "version 2, expected 1"),
    "other spikes": (lambda lines: changed(lines, 0, fingerprint="0" * 32), "other spikes"),
    "no fingerprint": (lambda lines: without(lines, 0, "fingerprint"), "other spikes"),
    "garbage": (lambda lines: [*lines[:3], b"\x00\xff{]", *lines[3:]], "line 4"),
    "half a line": (lambda lines: [*lines[:3], lines[3][:20], *lines[4:]], "line 4"),
    "blank line": (lambda lines: [*lines[:2], b"", *lines[2:]], "line 3"),
    "entry is a list": (lambda lines: [*lines[:3], b"[]", *lines[3:]], "line 4"),
    "entry is a number": (lambda lines: [*lines[:3], b"3", *lines[3:]], "line 4"),
    "line twice": (lambda lines: [*lines[:2], *lines[1:]], "line 3"),
    "unknown operation": (lambda lines: changed(lines, 1, operation="cut"), "'cut'"),
    "operation is a list": (lambda lines: changed(lines, 1, operation=[]), "line 2"),
    "unknown unit": (lambda lines: changed(lines, 1, inputs=[0, 10**6]), "line 2"),
    "inputs are a number": (lambda lines: changed(lines, 2, inputs=3), "line 3"),
    "no inputs": (lambda lines: changed(lines, 2, inputs=[]), "line 3"),
    "no outputs": (lambda lines: changed(lines, 1, outputs=[]), "line 2"),
    "outputs are a number": (lambda lines: changed(lines, 2, outputs=7), "line 3"),
    "outputs are lists": (lambda lines: changed(lines, 1, outputs=[[3]]), "line 2"),
    "used id": (lambda lines: changed(lines, 1, outputs=[0]), "line 2"),
    "no such group": (lambda lines: changed(lines, 3, value="fine"), "line 4"),
    "a key is missing": (lambda lines: without(lines, 3, "field"), "line 4"),
    "when is missing": (lambda lines: without(lines, 3, "when"), "line 4"),
    "torn parts": (cut_parts, "line 3"),
    "parts are text": (lambda lines: changed(lines, 2, parts="abc"), "line 3"),
    "parts of another dtype": (
        lambda lines: changed(lines, 2, parts={**json.loads(lines[2])["parts"], "dtype": "<f8"}),
        "line 3",
    ),
    "nothing to undo": (lambda lines: [lines[0], lines[5]], "nothing to undo"),
    "nothing to redo": (lambda lines: [*lines, lines[6]], "nothing to redo"),
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("torn", [b"", b'{"when": "20'], ids=["whole", "torn"])
def test_damaged_journals_are_refused_and_not_touched(analyzer, written, tmp_path, name, torn):
    lines = written[0].read_bytes().split(b"\n")[:-1]
    damage, message = DAMAGED[name]
    content = b"".join(line + b"\n" for line in damage(lines)) + torn
    path = tmp_path / "journal"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SiCurationWarning)
        with pytest.raises(ParameterError, match=message) as caught:
            sic.CurationSession.resume(analyzer, path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def other_analyzer(folder, tmp_path, name, change):
    target = tmp_path / name
    shutil.copytree(folder, target)
    values = np.load(target / f"{name}.npy")
    np.save(target / f"{name}.npy", change(values).astype(values.dtype))
    return sic.read_kilosort_as_analyzer(target)


def swapped(values):
    values = values.copy()
    flat = values.reshape(-1)
    j = int(np.flatnonzero(flat != flat[0])[0])
    flat[0], flat[j] = flat[j], flat[0]
    return values


def later(values):
    values = values.copy()
    values[-1] += 1
    return values


@pytest.mark.parametrize(
    ("name", "change"),
    [("spike_times", later), ("spike_templates", swapped), ("spike_clusters", swapped)],
)
def test_other_spikes_templates_or_units_are_refused(folder, written, tmp_path, name, change):
    path, _ = written
    before = path.read_bytes()
    other = other_analyzer(folder, tmp_path, name, change)
    with pytest.raises(ParameterError, match="other spikes"):
        sic.CurationSession.resume(other, path)
    assert path.read_bytes() == before


def test_other_unit_ids_are_refused(folder, analyzer, written, tmp_path):
    renamed = other_analyzer(folder, tmp_path, "spike_clusters", lambda values: values + 100)
    assert renamed.unit_ids.tolist() == [i + 100 for i in analyzer.unit_ids]
    with pytest.raises(ParameterError, match="other spikes"):
        sic.CurationSession.resume(renamed, written[0])


def test_the_same_spikes_from_another_place_are_taken(folder, analyzer, written, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    on_disk = sic.read_kilosort_as_analyzer(copy, format="zarr", folder=tmp_path / "a.zarr")
    session = sic.CurationSession.resume(on_disk, written[0])
    assert_state(session, written[1][-1])
