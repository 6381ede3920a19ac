"""What a path on the command line stands for: params.py, a file of the folder, one above it."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import pytest

import si_curation as sic
from si_curation.cli.folders import FolderPath, folder_of
from si_curation.cli.main import cli
from si_curation.errors import FolderNotFoundError

#: Made, not read; or a kind of path of its own (check: patterns; batch: patterns and tables; a
#: curation file).
NOT_READ = {"output", "paths", "folders", "recipe", "output_folder", "curation"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """one/sorter_output, and two/{a,b}/kilosort4; other/ with nothing of a sorting."""
    root = tmp_path_factory.mktemp("tree")
    for name in ("one/sorter_output", "two/a/kilosort4", "two/b/kilosort4"):
        folder = root / name
        folder.mkdir(parents=True)
        for file in ("params.py", "spike_times.npy", "cluster_group.tsv", "curation.json"):
            (folder / file).touch()
    (root / "two" / "analyzer" / "recording_info").mkdir(parents=True)
    (root / "other").mkdir()
    (root / "other" / "notes.txt").touch()
    return root


def test_what_a_path_stands_for(tree, capsys):
    folder = tree / "one" / "sorter_output"
    for stands in (folder, folder / "params.py", folder / "cluster_group.tsv"):
        assert folder_of(stands) == folder
    assert capsys.readouterr().err == ""
    assert folder_of(tree / "one") == folder
    assert capsys.readouterr().err == f"Note: reading {folder}\n"
    analyzer = tree / "two" / "analyzer"
    assert folder_of(analyzer, analyzers=True) == analyzer
    assert folder_of(folder / "curation.json", files=(".json",)) == folder / "curation.json"
    for itself in (tree / "other", tree / "other" / "notes.txt", tree / "nowhere"):
        assert folder_of(itself, analyzers=True) == itself
    with pytest.raises(FolderNotFoundError, match=r"kilosort4, .*kilosort4") as fault:
        folder_of(tree / "two")
    assert "analyzer" not in str(fault.value)
    with pytest.raises(FolderNotFoundError, match=r"give one of .*two.a.*two.analyzer.*two.b"):
        folder_of(tree / "two", analyzers=True)


def test_every_path_that_is_read_as_a_folder_is_one_of_this_kind():
    wrong = []
    for name, command in cli.commands.items():
        for parameter in command.params:
            plain = isinstance(parameter.type, click.Path) and not isinstance(
                parameter.type, FolderPath
            )
            if isinstance(parameter, click.Argument) and plain and parameter.name not in NOT_READ:
                wrong.append(f"{name}: {parameter.name}")
    assert not wrong


def test_functions_say_which_folder_to_give(tree):
    for path, advice in (
        (tree / "one", "give what is below it: sorter_output"),
        (tree / "two", str(Path("a", "kilosort4"))),
        (tree / "one" / "sorter_output" / "params.py", f"give its folder: {tree / 'one'}"),
        (tree / "other" / "notes.txt", "is a file"),
    ):
        with pytest.raises(sic.FolderNotFoundError) as fault:
            sic.read_phy_folder(path)
        assert advice in str(fault.value)
    (found,) = sic.check_phy_folder(tree / "one" / "sorter_output" / "spike_times.npy")
    assert "give its folder" in found.advice
    with pytest.raises(sic.FolderNotFoundError, match=r"other has none of spike_times\.npy"):
        sic.read_phy_folder(tree / "other")


def test_the_command_reads_params_py(tmp_path, capsys):
    from si_curation.cli import main

    folder = shutil.copytree(sic.example_folder(), tmp_path / "above" / "kilosort4")
    printed = []
    for path in (folder, folder / "params.py", tmp_path / "above"):
        with pytest.raises(SystemExit) as stop:
            main(["info", str(path)])
        assert not stop.value.code
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] == printed[2]
