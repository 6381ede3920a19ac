"""What commands print and write does not steer a terminal or a spreadsheet."""

import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest

import si_curation as sic
from si_curation.cli import main
from si_curation.cli.printable import printable
from si_curation.files import format_csv

HOSTILE = "=HYPERLINK(1)\x1b[2J\x07\u202e"


@pytest.fixture
def folder(tmp_path):
    folder = shutil.copytree(sic.example_folder(), tmp_path / "folder\x1b[31m")
    content = f"cluster_id\tnote\x1b[1m\n4\t{HOSTILE}\n7\t+1+2\n8\tµ\n"
    (folder / "cluster_note.tsv").write_text(content, encoding="utf-8")
    labels = "cluster_id\tgroup\n4\t=cmd()\n7\t\x1b]0;title\x07\n13\tgood\n"
    (folder / "cluster_group.tsv").write_text(labels)
    return folder


@pytest.mark.parametrize("command", ["info", "check", "lineage", "demo", "metrics"])
def test_no_control_characters_are_printed(folder, tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    words = ["demo", "--folder", folder] if command == "demo" else [command, folder]
    with pytest.raises(SystemExit):
        main([str(word) for word in words])
    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        assert all(one.isprintable() or one in "\n\t\r" for one in text)
    assert "\\x1b" in printed.out or command in ("metrics", "lineage")


@pytest.mark.parametrize("text", ["good\tµ\n", "", "ä→ë", "a b"])
def test_harmless_text_stays(text):
    assert printable(text) == text


def test_cells_that_spreadsheets_run():
    texts = ["=1+1", "+cmd", "-cmd", "@sum", "\t=1", "-5", "+1e3", "-", "-inf", "a=1", "", None]
    table = pd.DataFrame({"text": texts, "=number": range(-6, 6)})
    lines = format_csv(table).decode().splitlines()
    assert lines[0] == "text,'=number"
    cells = [line.split(",")[0] for line in lines[1:]]
    expected = ["'=1+1", "'+cmd", "'-cmd", "'@sum", "'\t=1", "-5", "+1e3", "-", "-inf", "a=1"]
    assert cells == [*expected, "", ""]
    assert [int(line.split(",")[1]) for line in lines[1:]] == list(range(-6, 6))


@pytest.mark.slow
def test_tables_of_a_batch(folder, tmp_path):
    named = shutil.move(folder, tmp_path / "=cmd()")
    recipe = {"extensions": {"curation_metrics": {"metric_names": ["KSLabel", "num_spikes"]}}}
    missing = tmp_path / "=missing"
    sic.run_batch([named, missing], recipe, tmp_path / "out", num_workers=0, progress_bar=False)
    sic.run_batch([named], recipe, tmp_path / "out", num_workers=0, progress_bar=False)
    tables = list((tmp_path / "out").rglob("*.csv"))
    assert tables
    for path in tables:
        content = pd.read_csv(path, dtype=str, keep_default_na=False)
        for text in [*content.columns, *content.to_numpy().ravel()]:
            assert text[:1] not in ("=", "@", "+") or not text


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 are Linux's")
@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "info {}",
        "check {}",
        "cluster-info {} --output info.tsv",
        "report {} page.html",
        "export-phy {} out",
        "metrics {} --output metrics.csv",
        "demo --folder {} --output demo",
    ],
)
def test_names_that_are_not_utf8_on_an_ascii_terminal(tmp_path, command):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(sic.example_folder(), folder)
    (folder / "cluster_note.tsv").write_text("cluster_id\tnote\n4\tµ→\n", encoding="utf-8")
    words = [word.format(folder) for word in command.split()]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(
        [sys.executable, "-m", "si_curation.cli", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
    )
    assert done.returncode == (1 if command.startswith("check") else 0), done.stderr
    assert done.stdout.isascii()
    assert done.stderr.isascii()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the working directory")
def test_a_working_directory_that_is_gone(tmp_path):
    code = (
        "import os, sys\n"
        "from si_curation.cli import main\n"
        "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        "main(['info', sys.argv[1]])"
    )
    command = [sys.executable, "-c", code, str(sic.example_folder())]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "Error: the working directory does not exist any more; change to one that does"
    ]


@pytest.mark.parametrize(
    "entry", ['"a\\0b"', '"\\ud800x"', '"../loop/x.bin"', '"' + "x" * 5000 + '"', '["a\\0b", "c"]']
)
def test_dat_paths_that_no_file_has(tmp_path, capsys, entry):
    folder = shutil.copytree(sic.example_folder(), tmp_path / "folder")
    try:
        (tmp_path / "loop").symlink_to("loop")
    except OSError:
        pytest.skip("links cannot be made here")
    lines = (folder / "params.py").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("dat_path")]
    (folder / "params.py").write_text("\n".join([f"dat_path = {entry}", *lines]))
    analyzer = sic.read_kilosort_as_analyzer(folder)
    sic.export_to_phy(analyzer, tmp_path / "out")
    assert sic.read_phy_folder(tmp_path / "out").num_spikes == 5299
    assert not [f for f in sic.check_phy_folder(folder) if "failed" in f.evidence]
    with pytest.raises(SystemExit) as stop:
        main(["info", str(folder)])
    assert not stop.value.code


@pytest.mark.parametrize("name", ["..", ".", "x" * 1000, "µ" * 150, "a/../../b"])
@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
@pytest.mark.slow
def test_columns_that_no_file_can_be_called(tmp_path, name, format):
    folder = shutil.copytree(sic.example_folder(), tmp_path / "folder")
    (folder / "cluster_my.tsv").write_text(f"cluster_id\t{name}\n4\t1\n", encoding="utf-8")
    before = set(tmp_path.iterdir())
    target = tmp_path / ("a.zarr" if format == "zarr" else "a")
    analyzer = sic.read_kilosort_as_analyzer(folder, format=format, folder=target)
    sic.export_to_phy(analyzer, tmp_path / "out")
    assert set(tmp_path.iterdir()) - before == {target, tmp_path / "out"}
    with pytest.raises(sic.ParameterError, match="column"):
        sic.write_phy_columns(folder, {name: {4: 1.0}})
