"""Folders of a sorting below a folder."""

from __future__ import annotations

from pathlib import Path

from si_curation.phy.locate import advice_on, folders_below, has_core_files


def test_folders_below_are_few_and_near(tmp_path):
    for name in ("a", "b/c", "b/c/inside", "d/e/f", "d/e/f/g/h", ".hidden", "z"):
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spike_times.npy").touch()
    assert folders_below(tmp_path) == ["a", str(Path("b/c")), str(Path("d/e/f")), "z"]
    assert folders_below(tmp_path / "a") == []
    for number in range(9):
        (tmp_path / f"m{number}").mkdir()
        (tmp_path / f"m{number}" / "spike_times.npy").touch()
    assert len(folders_below(tmp_path)) == 5
    assert folders_below(tmp_path, ["recording_info"]) == []


def test_advice(tmp_path):
    assert advice_on(tmp_path) == "give the folder that holds spike_times.npy"
    (tmp_path / "ks" / "templates.npy").parent.mkdir()
    (tmp_path / "ks" / "templates.npy").touch()
    assert has_core_files(tmp_path / "ks")
    assert advice_on(tmp_path / "ks" / "templates.npy") == f"give its folder: {tmp_path / 'ks'}"
    (tmp_path / "ks" / "spike_times.npy").touch()
    assert advice_on(tmp_path) == "give what is below it: ks"
