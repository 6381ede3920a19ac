"""``si-curation check``: text in 100 columns, JSON, exit codes, patterns."""

from __future__ import annotations

import json
import shutil

import pytest

import si_curation as sic
from helpers.broken_folders import FAULTS, make_clean_folders
from si_curation.cli import main
from si_curation.cli.check import expand_paths


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Sessions of three kinds: clean, with a warning, with an error."""
    root = tmp_path_factory.mktemp("sessions")
    clean = make_clean_folders(root / "clean")
    for name, fault in (("warned", "spikes_out_of_order"), ("broken", "truncated_spike_times")):
        folder = root / name / "kilosort4"
        shutil.copytree(clean["ks4"], folder)
        FAULTS[fault].break_folder(folder)
    shutil.copytree(clean["ks4"], root / "fine" / "kilosort4")
    return root


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as done:
        main(["check", *map(str, arguments)])
    printed = capsys.readouterr()
    return done.value.code, printed.out, printed.err


@pytest.mark.parametrize(("name", "code"), [("fine", 0), ("warned", 1), ("broken", 2)])
def test_exit_code_and_width(capsys, folders, name, code):
    found, out, err = run(capsys, folders / name / "kilosort4")
    assert found == code
    assert err == ""
    first, *lines = out.splitlines()
    assert first.startswith(f"{folders / name / 'kilosort4'}: ")
    assert all(len(line) <= 100 for line in lines)


def test_the_summary_line_counts_what_is_not_shown(capsys, folders):
    code, out, _ = run(capsys, folders / "broken" / "kilosort4", "--min-severity", "error")
    assert code == 2
    assert "1 error, " in out.splitlines()[0]
    assert "info" in out.splitlines()[0]
    assert not any(line.startswith(("  info", "  warning")) for line in out.splitlines())
    assert "is truncated" in out
    code, out, _ = run(capsys, folders / "fine" / "kilosort4", "--min-severity", "warning")
    assert code == 0
    assert len(out.splitlines()) == 1


def test_json_has_all_that_the_function_gives(capsys, folders):
    paths = [folders / name / "kilosort4" for name in ("fine", "warned", "broken")]
    code, out, _ = run(capsys, *paths, "--json")
    assert code == 2
    data = json.loads(out)
    assert [entry["folder"] for entry in data["folders"]] == list(map(str, paths))
    assert [entry["worst"] for entry in data["folders"]] == ["info", "warning", "error"]
    for entry, path in zip(data["folders"], paths, strict=True):
        findings = sic.check_phy_folder(path)
        assert [f["what"] for f in entry["findings"]] == [f.what for f in findings]
        assert [f["check"] for f in entry["findings"]] == [f.check for f in findings]
        assert sum(entry["counts"].values()) == len(findings)
    order = next(f for f in data["folders"][1]["findings"] if f["check"] == "spike_order")
    assert order["evidence"] == {"count": 2, "rows": [101, 201]}


def test_patterns_are_expanded_here_too(capsys, folders):
    code, out, _ = run(capsys, folders / "*" / "kilosort4", "--min-severity", "error")
    assert code == 2
    assert out.splitlines()[-1] == "3 folders: 1 with errors, 1 with warnings, 1 without"
    _, out, _ = run(capsys, folders / "**" / "params.py", "--json")
    assert len(json.loads(out)["folders"]) == 3 + 8
    code, out, _ = run(capsys, folders / "f*" / "kilosort4")
    assert code == 0


def test_a_pattern_that_nothing_matches_is_a_finding(capsys, folders):
    code, out, _ = run(capsys, folders / "no*where", folders / "fine" / "kilosort4")
    assert code == 2
    assert "does not exist" in out
    assert out.splitlines()[-1] == "2 folders: 1 with errors, 0 with warnings, 1 without"


def test_expanding(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a1", "a2", "a[3]"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "params.py").touch()
    (tmp_path / "a4").touch()
    assert expand_paths(["a*"]) == ["a1", "a2", "a[3]"]
    assert expand_paths(["a[3]"]) == ["a[3]"]  # it is there: no pattern
    assert expand_paths(["a1/params.py", "a1", "*/params.py"]) == ["a1", "a2", "a[3]"]
    monkeypatch.chdir(tmp_path / "a1")
    assert expand_paths(["params.py"]) == ["."]


def test_it_needs_a_path(capsys):
    code, _, err = run(capsys)
    assert code == 2
    assert "PATH" in err


def test_the_rate_is_passed_on(capsys, folders, tmp_path):
    folder = tmp_path / "ks4"
    shutil.copytree(folders / "fine" / "kilosort4", folder)
    (folder / "params.py").unlink()
    assert run(capsys, folder)[0] == 2
    code, out, _ = run(capsys, folder, "--sampling-frequency", "30000")
    assert code == 1
    assert "cannot open the folder" in out
