"""The command line as a newcomer uses it: what it prints, saves, refuses, and its exit codes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import spikeinterface as si

import si_curation as sic
from si_curation.cli import main


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return stop.value.code, printed.out, printed.err

    return call


def test_demo_prints_units_and_saves(run, tmp_path):
    code, out, err = run("demo")
    assert code == 0
    assert "kilosort4" in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.split()}
    assert rows["13"][1:3] == ["good", "1330"]
    assert rows["8"][1:3] == ["noise", "518"]
    assert "Next" in out
    analyzer = si.load_sorting_analyzer(tmp_path / "si_curation_demo" / "analyzer")
    assert analyzer.has_extension("template_best_channels")
    picture = (tmp_path / "si_curation_demo" / "best_channels.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


def test_demo_again_takes_a_new_name(run, tmp_path):
    (tmp_path / "si_curation_demo").mkdir()
    code, out, _ = run("demo")
    assert code == 0
    assert (tmp_path / "si_curation_demo-2" / "analyzer").is_dir()
    assert not any((tmp_path / "si_curation_demo").iterdir())


def test_demo_refuses_an_output_that_exists(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    code, out, err = run("demo", "--output", "mine")
    assert (code, out) == (2, "")
    assert "exists" in err
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["file"]


@pytest.mark.slow
def test_demo_of_another_folder(run, tmp_path):
    labels = {3: "good", 4: "noise"}
    sic.simulate_kilosort_folder(
        tmp_path / "sim", num_templates=30, num_spikes=600, seed=1, labels=labels
    )
    code, out, _ = run("demo", "--folder", "sim", "--output", "some")
    assert code == 0
    assert "6 units more are not listed" in out
    first = next(i for i, line in enumerate(out.splitlines()) if "num_spikes" in line)
    listed = [line.split()[0] for line in out.splitlines()[first + 1 : first + 25]]
    assert len(set(listed)) == 24
    assert listed[0] == "3"
    assert "4" not in listed
    assert not (tmp_path / "some" / "best_channels-2.png").exists()
    code, out, _ = run("demo", "--folder", "sim", "--output", "out", "--gain-to-uv", "2.0", "--all")
    assert code == 0
    assert "in uV" in out
    assert (tmp_path / "out" / "best_channels-2.png").is_file()


def test_info(run):
    code, out, _ = run("info", sic.example_folder())
    assert code == 0
    for text in ("kilosort4", "5299", "1 noise", "5 unsorted", "10 dense", "nt0min"):
        assert text in out
    code, out, _ = run("info", "--json", sic.example_folder())
    assert json.loads(out)["groups"] == {"unsorted": 5, "noise": 1, "mua": 1, "good": 1}


def test_compute(run, tmp_path):
    folder = sic.example_folder()
    code, out, _ = run("compute", folder, "--output", "a.zarr", "--exclude-group", "noise")
    assert code == 0
    analyzer = si.load_sorting_analyzer(tmp_path / "a.zarr")
    assert 8 not in analyzer.unit_ids
    names = "template_assignment,correlograms"
    assert run("compute", folder, "--output", "b", "--extensions", names)[0] == 0
    assert si.load_sorting_analyzer(tmp_path / "b").has_extension("correlograms")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["info", "nowhere"], "nowhere does not exist"),
        (["info"], "FOLDER"),
        (["compute", "nowhere", "--output", "x"], "nowhere"),
        (["compute", "nowhere", "--output", "x", "--extensions", "tempaltes"], "tempaltes"),
        (["demo", "--unwhiten", "sideways"], "sideways"),
        (["demo", "--sampling-frequency", "-3"], "-3"),
        (["demo", "--gain-to-uv", "0"], "--gain-to-uv is 0"),
        (["dmeo"], "dmeo"),
    ],
)
def test_errors_are_one_line_with_exit_code_2(run, tmp_path, arguments, word):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert word in err
    assert not any(tmp_path.iterdir())


def test_broken_folder_is_one_line_and_nothing_is_written(run, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(sic.example_folder(), folder)
    (folder / "spike_times.npy").write_bytes(b"")
    (folder / "channel_map.npy").unlink()
    code, out, err = run("demo", "--folder", folder, "--output", "out")
    assert code == 2
    assert err.count("\n") == 1
    assert "2 problems" in err
    assert not (tmp_path / "out").exists()


def test_unexpected_errors_are_one_line_too(run, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("something\nelse")

    monkeypatch.setattr("si_curation.reading.reader.read_kilosort_as_analyzer", fail)
    code, out, err = run("demo")
    assert (code, err.count("\n")) == (2, 1)
    assert "RuntimeError: something else" in err


def test_without_arguments_it_helps(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    assert "demo" in out


def test_installed_command_runs():
    done = subprocess.run(
        [sys.executable, "-m", "si_curation.cli", "--version"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert sic.__version__ in done.stdout


def test_attach_tries_writes_a_new_analyzer_or_in_place(run, tmp_path, hash_files):
    from spikeinterface.extractors import read_phy

    from helpers.analyzers import recording_of_folder

    folder = sic.example_folder()
    saved = tmp_path / "analyzer"
    recording = recording_of_folder(folder)
    si.create_sorting_analyzer(
        read_phy(folder), recording, sparse=False, format="binary_folder", folder=saved
    )
    before = hash_files(saved)
    code, out, _ = run("attach", saved, folder)
    assert code == 0
    assert "5299 spikes of 8 units" in out
    assert "Nothing was written" in out
    code, out, _ = run("attach", saved, folder, "--output", tmp_path / "new.zarr")
    assert code == 0
    assert hash_files(saved) == before
    attached = si.load_sorting_analyzer(tmp_path / "new.zarr")
    new = attached.get_extension("template_assignment")
    assert new.source == "kilosort4"
    expected = new.get_data()
    for wrong in (
        ("attach", saved, folder, "--output", tmp_path / "new.zarr"),
        ("attach", saved, folder, "--output", tmp_path / "x", "--in-place"),
        ("attach", saved, folder, "--in-place", "--frame-offset", 3),
        ("attach", folder, folder),
    ):
        code, out, err = run(*wrong, "-q")  # a slow machine tells what it is doing
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1
    assert hash_files(saved) == before
    assert run("attach", saved, folder, "--in-place")[0] == 0
    attached = si.load_sorting_analyzer(saved)
    again = attached.get_extension("template_assignment")
    assert again.get_data().equals(expected)


STOPPED = """
import os, shutil, sys, time

import si_curation.exporters.phy.export
from si_curation.cli import main

copyfile = shutil.copyfile

def slow(source, target):
    copyfile(source, target)
    os.write(1, b"copying\\n")  # in one piece: files are copied by several threads
    time.sleep(0.5)

shutil.copyfile = slow
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_ends_a_command_in_order(tmp_path, number, code, word):
    arguments = ["export-phy", str(sic.example_folder()), str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "copying\n"
    assert list(tmp_path.iterdir()), "a hidden folder"
    for _ in range(2):  # impatient
        process.send_signal(number)
        time.sleep(0.01)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    *stages, last = errors.strip().splitlines()
    # a busy machine has time to say what it does
    assert set(stages) <= {f"reading {sic.example_folder()} ...", "export-phy ...", ""}
    assert last == f"Error: {word}"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_report_with_borders_of_sessions(run, tmp_path):
    arguments = ["report", sic.example_folder(), tmp_path / "r.html", "--borders"]
    for given, words in (
        ("900s", "900 (s), expected numbers above 0 and below 79.99"),
        ("30s,900000", "expected all in seconds (600s) or all in samples"),
        ("x", "expected numbers"),
    ):
        code, _, err = run(*arguments, given)
        assert code == 2
        assert words in err
    assert not (tmp_path / "r.html").exists()
    assert run(*arguments, "30s,50.5s")[0] == 0
    assert "session_3 from 50.5 s" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["binary_folder", "zarr", "phy"])
def test_split_sessions(run, tmp_path, kind):
    arguments = ["split-sessions", sic.example_folder(), tmp_path / "out", "--format", kind]
    code, _, err = run(*arguments)
    assert code == 2
    assert "give --borders, the sample" in err
    code, _, err = run(*arguments, "--borders", "900s")
    assert code == 2
    assert not (tmp_path / "out").exists()
    arguments += ["--borders", "900000,1515000", "--name", "a", "--name", "b", "--name", "c"]
    code, out, _ = run(*arguments)
    assert code == 0
    assert "b: 20.5 s, 1341 spikes of 8 units" in out
    suffix = ".zarr" if kind == "zarr" else ""
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.name[0] != ".") == [
        f"{name}{suffix}" for name in "abc"
    ]
    if kind == "phy":
        assert sic.read_phy_folder(tmp_path / "out" / "b").num_spikes == 1341
    else:
        analyzer = si.load_sorting_analyzer(tmp_path / "out" / f"b{suffix}")
        assert analyzer.sorting.count_total_num_spikes() == 1341
    code, _, err = run(*arguments)
    assert code == 2
    assert "exists" in err
