"""Processes that are killed at random moments, and two that write at once: nothing is lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

import si_curation as sic
from si_curation.phy.backup import unfinished_backups

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX"),
]

BEGIN = """
import sys, warnings
warnings.simplefilter("ignore")
import si_curation as sic
from pathlib import Path
home = Path(sys.argv[1])
analyzer = sic.read_kilosort_as_analyzer(home / "ks")
"""

JOURNAL = """
session = sic.CurationSession(analyzer, journal=home / "journal", decided_by="me")
print("ready", flush=True)
while True:
    a, b = session.unit_ids[:2]
    session.apply_spikeinterface_curation(
        {"unit_ids": session.unit_ids, "merges": [{"unit_ids": [a, b]}],
         "manual_labels": [], "label_definitions": {}}
    )
    session.undo()
    session.label([a], "good")
"""

IN_PLACE = """
print("ready", flush=True)
session = sic.CurationSession(analyzer)
while True:
    session.merge(session.unit_ids[:2])
    sic.update_phy_folder(home / "ks", session.apply(), overwrite=True)
    session.undo()
    sic.update_phy_folder(home / "ks", session.apply(), overwrite=True)
"""

EXPORT = """
print("ready", flush=True)
while True:
    sic.export_to_phy(analyzer, home / "out", overwrite=True)
"""


def start(script, home):
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN + script, str(home)], stdout=subprocess.PIPE, text=True
    )
    return process


def killed_after(script, home, seconds):
    process = start(script, home)
    assert process.stdout.readline() == "ready\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()


@pytest.fixture
def home(simulate, tmp_path):
    made = simulate("kilosort4", num_templates=5, num_spikes=300, num_channels=8)
    shutil.copytree(made.folder, tmp_path / "ks")
    return tmp_path


@pytest.fixture
def moments():
    return random.Random(0)


@pytest.mark.parametrize("number", range(3))
def test_a_journal_is_resumed(home, moments, number):
    killed_after(JOURNAL, home, moments.uniform(0, 0.2) * (number + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sic.SiCurationWarning)
        session = sic.CurationSession.resume(
            sic.read_kilosort_as_analyzer(home / "ks"), home / "journal"
        )
    operations = session.history["operation"].tolist()
    whole = ["merge", "undo", "label"]
    assert operations == (whole * len(operations))[: len(operations)]
    session.merge(session.unit_ids[:2])


@pytest.mark.parametrize("number", range(4))
def test_a_folder_changed_in_place_is_one_of_its_states(home, moments, number):
    before = np.load(home / "ks" / "spike_clusters.npy").ravel()
    killed_after(IN_PLACE, home, 0.1 + moments.uniform(0, 0.3) * (number + 1))
    clusters = np.load(home / "ks" / "spike_clusters.npy").ravel()
    changed = clusters != before
    assert not changed.any() or set(before[changed]) == {0, 1}
    sic.write_phy_columns(home / "ks", {"note": {4: "after the kill"}})
    assert not unfinished_backups(home / "ks")
    assert sic.read_phy_folder(home / "ks").columns["note"].values == {4: "after the kill"}
    assert not list((home / "ks").rglob("*.tmp"))


@pytest.mark.parametrize("number", range(3))
def test_a_folder_that_is_replaced_is_there(home, moments, number):
    out = sic.export_to_phy(sic.read_kilosort_as_analyzer(home / "ks"), home / "out")
    names = {path.name: path.stat().st_size for path in out.iterdir()}
    killed_after(EXPORT, home, moments.uniform(0, 0.3) * (number + 1))
    for folder in (out, *home.glob("out.backup-*")):
        assert {path.name: path.stat().st_size for path in folder.iterdir()} == names
    sic.export_to_phy(sic.read_kilosort_as_analyzer(home / "ks"), out, overwrite=True)
    assert not list(home.glob(".out.*.replaced"))


TWO = """
print("ready", flush=True)
done = 0
while done < 15:
    try:
        with sic.CurationSession.resume(analyzer, home / "journal") as session:
            session.label(session.unit_ids[:1], "good", reason=sys.argv[2])
            session.label(session.unit_ids[:1], "mua", reason=sys.argv[2])
            done += 1
    except sic.InUseError:
        pass
"""


def test_two_programs_on_one_journal_lose_no_line(home):
    analyzer = sic.read_kilosort_as_analyzer(home / "ks")
    sic.CurationSession(analyzer, journal=home / "journal").close()
    running = [
        subprocess.Popen(
            [sys.executable, "-c", BEGIN + TWO, str(home), name], stdout=subprocess.DEVNULL
        )
        for name in "ab"
    ]
    assert [process.wait(timeout=80) for process in running] == [0, 0]
    history = sic.CurationSession.resume(analyzer, home / "journal").history
    assert history["reason"].value_counts().to_dict() == {"a": 30, "b": 30}
    assert (history["reason"].to_numpy()[::2] == history["reason"].to_numpy()[1::2]).all()
