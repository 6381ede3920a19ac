"""Stages on standard error: one line of a terminal, plain lines elsewhere, nothing with -q."""

import io
import json
import re
import sys
import threading

import pytest

import si_curation as sic
from si_curation import progress
from si_curation.cli import main, terminal

COMMANDS = {
    "report": "report {source} {out}/page.html",
    "compute": "compute {source} --output {out}/computed",
    "merges": "merges {source}",
    "splits": "splits {source}",
    "cleaning": "cleaning {source}",
    "plan": "plan {source}",
    "duplicates": "duplicates {source}",
    "connections": "connections {source}",
    "contamination": "contamination {source}",
    "classify": "classify {source}",
    "metrics": "metrics {source}",
    "export-phy": "export-phy {source} {out}/phy",
    "export-nwb": "export-nwb {source} {out}/units.nwb --metadata {out}/nwb.json --t-start 0",
    "apply": "apply {source} {out}/curation.json {out}/applied",
    "check": "check {source}",
    "batch": "batch {out}/recipe.yaml {source} --output {out}/batch --workers 0",
}
OFTEN = {"merges", "connections"}
ALL = [one if one in OFTEN else pytest.param(one, marks=pytest.mark.slow) for one in COMMANDS]
NWB = {"NWBFile": {"session_start_time": "2026-01-01T00:00:00+00:00"}}
OWN_SAYING = ("Note: ", "SiCurationWarning: ", "No ")


class Terminal(io.StringIO):
    """Standard error that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "DELAY_S", 0)

    def call(command, name, is_terminal=True, *more):
        out = tmp_path / name
        out.mkdir()
        (out / "nwb.json").write_text(json.dumps(NWB))
        (out / "curation.json").write_text('{"format_version": "2", "merges": []}')
        (out / "recipe.yaml").write_text("extensions: [unit_similarity]\n")
        words = COMMANDS[command].format(source=sic.example_folder(), out=out).split()
        err = Terminal() if is_terminal else io.StringIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as stop:
                main([*words, *more])
        assert (stop.value.code or 0) == (1 if command == "check" else 0), err.getvalue()
        return capsys.readouterr().out.replace(str(out), "OUT"), err.getvalue()

    return call


def without_times(text):
    lines = [line for line in text.splitlines() if " s" not in line and "MB" not in line]
    return [re.sub(r" \d+\.\d$", "", line) for line in lines]  # minutes


@pytest.mark.parametrize("command", ALL)
def test_stages_are_told_and_the_output_is_the_same(run, command):
    out, err = run(command, "terminal")
    assert f"\r{command}  0 s" in err
    assert "\n\n" not in err
    last = err.rsplit("\r", 1)[-1]
    assert last == "" or last.startswith(OWN_SAYING)  # the line is taken away
    if command not in ("check", "batch"):
        assert f"reading {sic.example_folder()}"[:60] in err
    quiet_out, quiet = run(command, "quiet", True, "-q")
    assert all(line.startswith(OWN_SAYING) for line in quiet.splitlines())
    assert without_times(out) == without_times(quiet_out)
    if command in OFTEN:
        plain_out, plain = run(command, "plain", False)
        assert "\r" not in plain
        assert f"{command} ...\n" in plain
        assert plain_out == out


def test_what_is_counted_has_a_bar(monkeypatch, capsys):
    err = Terminal()
    monkeypatch.setattr(terminal, "DELAY_S", 0)
    monkeypatch.setattr(sys, "stderr", err)
    with terminal.stages_shown("command"):
        assert list(progress.track("abcd", 4, "letters")) == list("abcd")
        with progress.counted(3, "steps") as steps:
            thread = threading.Thread(target=steps.update, args=(2,))
            thread.start()
            thread.join()
    shown = err.getvalue().split("\r")
    assert any(line.startswith("letters [############............] 2/4") for line in shown)
    assert any("2/3" in line for line in shown)


def test_short_stages_are_not_told(monkeypatch):
    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(terminal, "DELAY_S", 1000)
    with terminal.stages_shown("command"), progress.stage("a moment"):
        pass
    assert err.getvalue() == ""


def test_stages_of_other_threads_and_of_scripts_are_nobodys():
    seen = []

    class Listener:
        def begin(self, text, total):
            seen.append(text)

        def advance(self, steps):
            seen.append(steps)

        def end(self):
            seen.append("end")

    def work():
        with progress.stage("elsewhere"):
            pass

    work()
    with progress.listening(Listener()):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        with pytest.raises(ZeroDivisionError), progress.stage("here"):
            raise ZeroDivisionError
    work()
    assert seen == ["here", "end"]
