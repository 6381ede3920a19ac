"""Journals: killed processes, torn and damaged files, other spikes."""

from __future__ import annotations

import copy
import errno
import hashlib
import json
import os
import re
import shutil
import signal
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
    assert header["version"] == 2
    assert re.fullmatch("[0-9a-f]{32}", header["fingerprint"])
    common = ["when", "operation", "inputs", "outputs", "reason", "decided_by"]
    extra = {"split": ["parts"], "label": ["field", "value"]}
    assert "previous" not in header
    for entry, (_, row) in zip(entries, states[-1][1].iterrows(), strict=True):
        assert list(entry) == [*common, *extra.get(entry["operation"], []), "previous"]
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
    session.close()
    again = sic.CurationSession.resume(analyzer, str(journal), decided_by="a third")
    assert_state(again, (session.table, session.history))
    assert again.redo() == "merge"
    assert again.undo() == "merge"
    assert again.undo() == "split", "undo goes on into the steps before"
    again.merge(again.unit_ids[:2])
    again.close()
    last = sic.CurationSession.resume(analyzer, journal)
    assert_state(last, (again.table, again.history))
    assert len(last.history) == journal.read_bytes().count(b"\n") - 1


def test_two_sessions_write_the_same_steps(written, analyzer, tmp_path):
    path, _ = written
    session = sic.CurationSession.resume(analyzer, path)
    copy = sic.CurationSession(analyzer, journal=tmp_path / "copy.jsonl", decided_by="me")
    for _ in do_steps(copy):
        pass
    without_times = re.compile(rb'"(when|previous)": "[^"]*"')
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
    session.close()
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
    session.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = sic.CurationSession.resume(analyzer, path)
    assert again.unit_ids[-1] == merged
    assert_state(again, (session.table, session.history))


@pytest.mark.slow
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


def linked(lines):
    """The lines with the hashes that they would have been written with."""
    out = lines[:1]
    for line in lines[1:]:
        entry = {**json.loads(line), "previous": hashlib.sha256(out[-1]).hexdigest()[:16]}
        out.append(json.dumps(entry).encode())
    return out


def changed(lines, number, **values):
    entry = {**json.loads(lines[number]), **values}
    return linked([*lines[:number], json.dumps(entry).encode(), *lines[number + 1 :]])


def without(lines, number, key):
    entry = json.loads(lines[number])
    del entry[key]
    return linked([*lines[:number], json.dumps(entry).encode(), *lines[number + 1 :]])


def cut_parts(lines):
    parts = json.loads(lines[2])["parts"]
    return changed(lines, 2, parts={**parts, "zlib_base64": parts["zlib_base64"][:-8]})


DAMAGED = {
    "empty": (lambda lines: [], "is not a journal"),
    "text": (lambda lines: [b"hello", b"you"], "line 1 is not a journal entry"),
    "json of something else": (lambda lines: [b"[1, 2]"], "is not a journal"),
    "number": (lambda lines: [b"7", *lines[1:]], "is not a journal"),
    "other format": (lambda lines: changed(lines, 0, format="labels"), "is not a journal"),
    "other version": (lambda lines: changed(lines, 0, version=3), "version 3, expected 2"),
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
    "nothing to undo": (lambda lines: linked([lines[0], lines[5]]), "nothing to undo"),
    "nothing to redo": (lambda lines: linked([*lines, lines[6]]), "nothing to redo"),
    "a line is missing": (lambda lines: [*lines[:3], *lines[4:]], "line 4 does not follow line 3"),
    "first step is missing": (
        lambda lines: [lines[0], *lines[2:]],
        "line 2 does not follow line 1",
    ),
    "two lines changed places": (
        lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
        "line 4 does not follow line 3",
    ),
    "another reason": (
        lambda lines: [lines[0], lines[1].replace(b"gleiche", b"andere"), *lines[2:]],
        "line 3 does not follow line 2",
    ),
    "no hash": (
        lambda lines: [*lines[:3], re.sub(rb', "previous": "\w+"', b"", lines[3]), *lines[4:]],
        "line 4 does not follow line 3",
    ),
    "together is a number": (
        lambda lines: changed(lines, 1, operation="together", steps=3),
        "line 2 is not a journal entry",
    ),
    "together in together": (
        lambda lines: changed(
            lines,
            1,
            operation="together",
            steps=[{**json.loads(lines[1]), "operation": "together"}],
        ),
        "'together'",
    ),
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


def test_journals_of_version_1_are_continued(analyzer, written, tmp_path):
    path, states = written
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines[0]["version"] = 1
    for line in lines[1:]:
        del line["previous"]
    old = tmp_path / "old.jsonl"
    old.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    with sic.CurationSession.resume(analyzer, old) as session:
        assert_state(session, states[-1])
        session.merge(session.unit_ids[:2])
        session.undo()
    assert_state(sic.CurationSession.resume(analyzer, old), (session.table, session.history))


def test_the_same_spikes_from_another_place_are_taken(folder, analyzer, written, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    on_disk = sic.read_kilosort_as_analyzer(copy, format="zarr", folder=tmp_path / "a.zarr")
    session = sic.CurationSession.resume(on_disk, written[0])
    assert_state(session, written[1][-1])


# ------------------------------------------------------------------------------- one writer

SECOND = """
import sys, warnings
warnings.simplefilter("ignore")
import si_curation as sic
from si_curation.curation.journal import continued_journal

try:
    continued_journal(sys.argv[1], "")
except sic.InUseError as error:
    print(error)
"""


def test_a_journal_has_one_writer(analyzer, tmp_path):
    path = tmp_path / "journal.jsonl"
    session = sic.CurationSession(analyzer, journal=path)
    session.merge(session.unit_ids[:2])
    before = path.read_bytes()
    with pytest.raises(
        sic.InUseError, match=r"journal\.jsonl is written to by another .* close\(\)"
    ):
        sic.CurationSession.resume(analyzer, path)
    with pytest.raises(OutputExistsError):
        sic.CurationSession(analyzer, journal=path)
    session.undo()
    session.redo()
    assert path.read_bytes().startswith(before)
    session.close()
    session.close()
    with pytest.raises(ParameterError, match="closed"):
        session.undo()
    with pytest.raises(ParameterError, match="closed"):
        session.apply_spikeinterface_curation({"unit_ids": session.unit_ids, "removed": []})
    with sic.CurationSession.resume(analyzer, path) as again:
        assert_state(again, (session.table, session.history))
    assert [p.name for p in tmp_path.iterdir()] == ["journal.jsonl"], "no file of the lock is left"
    assert sic.CurationSession.resume(analyzer, path).undo() == "merge", (
        "a lock goes with its session"
    )
    sic.CurationSession.resume(analyzer, path)


def test_a_session_without_journal_stays_open(analyzer):
    with sic.CurationSession(analyzer) as session:
        pass
    session.close()
    session.merge(session.unit_ids[:2])


@pytest.mark.slow
def test_a_second_process_is_kept_out(analyzer, tmp_path):
    path = tmp_path / "journal.jsonl"
    with sic.CurationSession(analyzer, journal=path):
        done = subprocess.run(
            [sys.executable, "-c", SECOND, str(path)], capture_output=True, text=True
        )
    assert "is written to by another program" in done.stdout, done.stderr


def test_a_lock_without_fcntl(analyzer, tmp_path, monkeypatch):
    monkeypatch.setattr("si_curation.files.fcntl", None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "journal"
    with sic.CurationSession(analyzer, journal=path), pytest.raises(sic.InUseError):
        sic.CurationSession.resume(analyzer, path)
    sic.CurationSession.resume(analyzer, path).close()
    assert [p.name for p in path.parent.iterdir()] == ["journal"]


def test_a_journal_is_not_copied(analyzer, tmp_path):
    session = sic.CurationSession(analyzer, journal=tmp_path / "journal")
    with pytest.raises(ParameterError, match="one writer"):
        copy.copy(session._journal)


# ----------------------------------------------- full disks, and journals that others change


def steps_of(session):
    merged = session.merge(session.unit_ids[:2])
    session.label([merged], "good")
    session.undo()
    return [
        lambda: session.merge(session.unit_ids[:2]),
        lambda: session.split(merged, [[0]]),
        lambda: session.label([merged], "noise", "note"),
        lambda: session.remove([merged]),
        lambda: session.apply_spikeinterface_curation(
            {
                "unit_ids": session.unit_ids,
                "removed": session.unit_ids[:1],
                "merges": [{"unit_ids": session.unit_ids[1:3]}],
            }
        ),
        session.undo,
        session.redo,
    ]


def state_of(session):
    return session.table.to_json(), session.history.to_json(), session._ids.peek(1)


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize("room", [0, 1, 30, 150])
def test_a_full_disk(analyzer, tmp_path, room):
    """A write that ends early, as on a full disk: the step is not done, and the next ones are."""
    import resource

    path = tmp_path / "journal"
    session = sic.CurationSession(analyzer, journal=path)
    steps = steps_of(session)
    before, content = state_of(session), path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) + room, hard))
        for step in steps:
            with pytest.raises(OSError):
                step()
            assert state_of(session) == before
            assert path.read_bytes() == content
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert session.redo() == "label"
    steps[-3]()
    session.close()
    assert_state(sic.CurationSession.resume(analyzer, path), (session.table, session.history))


def test_a_disk_so_broken_that_nothing_can_be_cut_off(analyzer, tmp_path, monkeypatch):
    path = tmp_path / "journal"
    session = sic.CurationSession(analyzer, journal=path)
    content = path.read_bytes()
    write = os.write

    def broken(*_):
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr("os.write", lambda handle, data: write(handle, data[:5]) and broken())
        patch.setattr("os.ftruncate", broken)
        with pytest.raises(OSError, match="broken"):
            session.merge(session.unit_ids[:2])
    assert len(path.read_bytes()) == len(content) + 5
    merged = session.merge(session.unit_ids[:2])
    session.close()
    assert sic.CurationSession.resume(analyzer, path).unit_ids[-1] == merged


def test_no_journal_is_left_where_it_cannot_be_begun(analyzer, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        with pytest.raises(OSError, match="no space"):
            sic.CurationSession(analyzer, journal=tmp_path / "journal")
    assert not list(tmp_path.iterdir())
    sic.CurationSession(analyzer, journal=tmp_path / "journal")


CHANGES = {
    "moved": (lambda p: p.rename(p.with_name("moved")), "is not there any more"),
    "deleted": (lambda p: p.unlink(), "is not there any more"),
    "emptied": (lambda p: os.truncate(p, 0), "is empty now"),
    "longer": (lambda p: p.write_bytes(p.read_bytes() + b"{}\n"), "bytes now, expected"),
    "replaced": (
        lambda p: (p.with_name("new").write_bytes(p.read_bytes()), p.with_name("new").replace(p)),
        "is another file now",
    ),
}


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be moved there")
@pytest.mark.parametrize("name", CHANGES)
def test_a_journal_that_another_program_changes_is_noticed(analyzer, tmp_path, name):
    change, message = CHANGES[name]
    path = tmp_path / "journal"
    session = sic.CurationSession(analyzer, journal=path)
    steps = steps_of(session)
    before = state_of(session)
    change(path)
    content = [p.read_bytes() for p in tmp_path.iterdir()]
    for step in steps:
        with pytest.raises(ParameterError, match=message):
            step()
        assert state_of(session) == before
    assert [p.read_bytes() for p in tmp_path.iterdir()] == content


def test_a_moved_journal_that_was_put_back_is_continued(analyzer, tmp_path):
    path = tmp_path / "journal"
    session = sic.CurationSession(analyzer, journal=path)
    path.rename(tmp_path / "away")
    with pytest.raises(ParameterError, match="Put the file back"):
        session.merge(session.unit_ids[:2])
    (tmp_path / "away").rename(path)
    session.merge(session.unit_ids[:2])


def test_a_relative_journal_stays_where_it_was(analyzer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = sic.CurationSession(analyzer, journal="journal")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    session.merge(session.unit_ids[:2])
    assert (tmp_path / "journal").read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("number", range(7))
def test_an_interrupted_step_is_done_or_not(analyzer, tmp_path, monkeypatch, number):
    path = tmp_path / "journal"
    session = sic.CurationSession(analyzer, journal=path)
    step = steps_of(session)[number]
    fsync = os.fsync

    def interrupted(handle):
        signal.raise_signal(signal.SIGINT)
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            step()
    session.close()
    again = sic.CurationSession.resume(analyzer, path)
    assert_state(again, (session.table, session.history))


def test_a_curation_is_one_line(analyzer, tmp_path):
    path = tmp_path / "journal"
    session = sic.CurationSession(analyzer, journal=path)
    a, b, c, d = session.unit_ids[:4]
    session.apply_spikeinterface_curation(
        {
            "unit_ids": session.unit_ids,
            "removed": [a],
            "merges": [{"unit_ids": [b, c]}],
            "splits": [{"unit_id": d, "indices": [[0]]}],
        },
        reason="by hand",
    )
    assert path.read_bytes().count(b"\n") == 2
    assert len(session.history) == 3
    assert session.undo() == "split"
    session.close()
    again = sic.CurationSession.resume(analyzer, path, decided_by="me")
    assert_state(again, (session.table, session.history))
    again.close()
    content = path.read_bytes()
    last = content.rfind(b"\n", 0, content.rfind(b"\n", 0, -1)) + 1
    path.write_bytes(content[: last + 200])
    with pytest.warns(SiCurationWarning, match="dropped"):
        assert sic.CurationSession.resume(analyzer, path).history.empty


# ------------------------------------------------------- steps repeated in another session


def test_steps_are_repeated(analyzer, folder, tmp_path):
    first = sic.CurationSession(analyzer)
    a, b, c, d, e, f = first.unit_ids[:6]
    merged = first.merge([a, b], reason="alike")
    parts = first.split(c, np.arange(first.get_spikes(c).size) % 3)
    first.merge([parts[0], d])
    first.remove([e])
    first.label([merged, f], "noise")
    first.remove([f])
    first.undo()
    journal = tmp_path / "journal"
    second = sic.CurationSession(sic.read_kilosort_as_analyzer(folder), journal=journal)
    other = second.merge(second.unit_ids[-2:])
    renamed = second.repeat(first)
    assert merged in renamed, "its id was taken"
    ours, theirs = second.table, first.table
    for unit_id in set(first.unit_ids) - set(analyzer.unit_ids[-2:].tolist()):
        own = renamed.get(unit_id, unit_id)
        assert second.get_spikes(own).tolist() == first.get_spikes(unit_id).tolist()
        assert ours.loc[own, "group"] == theirs.loc[unit_id, "group"]
    assert other in second.unit_ids
    assert journal.read_bytes().count(b"\n") == 3, "the header, the merge, and one line of all"
    assert "alike" in second.history["reason"].tolist()
    state = second.table, second.history
    second.close()
    assert_state(sic.CurationSession.resume(analyzer, journal), state)


def test_steps_that_do_not_fit_are_all_named(analyzer, folder):
    first = sic.CurationSession(analyzer)
    a, b, c, d = first.unit_ids[:4]
    first.label([d], "good")
    merged = first.merge([a, b])
    first.label([merged], "mua")
    second = sic.CurationSession(sic.read_kilosort_as_analyzer(folder))
    second.merge([a, c])
    before = state_of(second)
    with pytest.raises(ParameterError, match=rf"2 steps .*: merge of {a}; label of {merged}\."):
        second.repeat(first)
    assert state_of(second) == before
    with pytest.raises(ParameterError, match="expected a CurationSession"):
        second.repeat(analyzer)


def test_steps_of_other_spikes_are_not_repeated(analyzer, simulate):
    other = simulate("kilosort4", num_templates=3, num_spikes=50, num_channels=8, seed=1).folder
    session = sic.CurationSession(sic.read_kilosort_as_analyzer(other))
    with pytest.raises(ParameterError, match="of other spikes"):
        session.repeat(sic.CurationSession(analyzer))
