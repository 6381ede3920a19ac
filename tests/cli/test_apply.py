"""A saved curation becomes a folder or an analyzer."""

import json

import pytest
import spikeinterface as si

import si_curation as sic
from si_curation.cli import main

MERGE = {"format_version": "2", "unit_ids": [4, 7, 8, 9, 10, 11, 12, 13]}
MERGE |= {"merges": [{"unit_ids": [4, 7]}], "removed": [9]}


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "curation.json").write_text(json.dumps(MERGE))

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["apply", str(sic.example_folder()), *map(str, arguments)])
        printed = capsys.readouterr()
        return stop.value.code or 0, printed.out, printed.err

    return call


def test_a_dry_run_lists_what_would_change_and_writes_nothing(run, tmp_path):
    code, out, err = run("curation.json", "--dry-run")
    assert (code, err) == (0, "")
    rows = {line.split()[0] for line in out.splitlines() if line.strip()}
    assert {"merge", "remove"} <= rows
    assert "8 units would become 6: 1 remove, 1 merge" in out
    assert run("curation.json", "somewhere", "--dry-run")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["curation.json"]


def test_a_folder_an_analyzer_and_the_journal_have_the_same_units(run, tmp_path, hash_files):
    before = hash_files(sic.example_folder())
    code, out, err = run(
        "curation.json", "phy", "--journal", "steps.jsonl", "--decided-by", "Ada", "-q"
    )
    assert code == 0
    assert "8 units become 6" in out
    folder = sic.read_phy_folder(tmp_path / "phy")
    expected = [8, 10, 11, 12, 13, 14]
    assert sorted(set(folder.cluster_ids) - {9}) == expected
    assert "keep their spikes and labels there: 9" in err  # as everywhere in a folder of phy
    code, out, _ = run("steps.jsonl", "units.zarr")
    assert code == 0
    analyzer = si.load_sorting_analyzer(tmp_path / "units.zarr")
    assert sorted(analyzer.unit_ids) == expected
    session = sic.CurationSession.resume(
        sic.read_kilosort_as_analyzer(sic.example_folder()), tmp_path / "steps.jsonl"
    )
    assert set(session.history["decided_by"]) == {"Ada"}
    assert set(session.history["reason"]) == {"from curation.json"}
    session.close()
    assert run("curation.json", "folder", "--format", "analyzer")[0] == 0
    assert sorted(si.load_sorting_analyzer(tmp_path / "folder").unit_ids) == expected
    assert hash_files(sic.example_folder()) == before
    # what is there is kept, also where it is to be replaced
    code, out, err = run("curation.json", "units.zarr")
    assert (code, out) == (2, "")
    assert "units.zarr exists; give another OUT, or --overwrite" in err
    assert run("curation.json", "units.zarr", "--overwrite")[0] == 0
    assert len(list(tmp_path.glob("units.zarr.backup-*"))) == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nowhere.json", "out"], "CURATION is nowhere.json, expected a file"),
        (["curation.json"], "OUT is missing"),
        (["curation.json", "out.zarr", "--format", "phy"], "no name of a folder for phy"),
        (["curation.json", sic.example_folder()], "which is what is read"),
        (["other.json", "out"], "other.json"),
        (["none.json", "out"], "all units were removed"),
        (["curation.json", "out", "--journal", "curation.json"], "--journal"),
    ],
)
def test_errors_come_before_anything_is_written(run, refused, tmp_path, arguments, word):
    (tmp_path / "other.json").write_text(json.dumps(MERGE | {"unit_ids": [1, 2]}))
    removed = {"unit_ids": MERGE["unit_ids"], "removed": MERGE["unit_ids"]}
    (tmp_path / "none.json").write_text(json.dumps({"format_version": "2", **removed}))
    before = sorted(path.name for path in tmp_path.iterdir())
    code, _, err = run(*arguments)
    assert code == 2
    assert word in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before
