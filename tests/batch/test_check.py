"""`check_batch`: every problem of a batch at once, before anything is computed or written."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import si_curation as sic
from si_curation.cli.main import cli

NWB = {"session_start_time": "2024-05-01T12:00:00+02:00", "t_start": 0.0}
GOOD = {
    "extensions": {"curation_metrics": {"metric_names": ["presence_ratio", "amp"]}},
    "labels": {"rules": [("presence_ratio", "<", 0.5, "mua")]},
    "exports": {"phy": {"columns": ["amp"]}, "nwb": NWB},
}


def content_of(folder):
    return {p: p.stat().st_mtime_ns for p in sorted(folder.rglob("*"))}


@pytest.fixture(scope="module")
def folder():
    return sic.example_folder()


@pytest.fixture
def nothing_changes(tmp_path):
    before = content_of(tmp_path)
    yield
    assert content_of(tmp_path) == before


def check(*arguments):
    return sic.check_batch(*arguments, progress_bar=False)


def test_a_batch_that_can_run(folder, tmp_path, nothing_changes):
    found = check({"one": folder}, GOOD, tmp_path / "out")
    assert found.ok, found
    assert repr(found) == "BatchCheck: 1 session, no problems"
    row = found.table.iloc[0]
    assert (row["session"], row["num_units"], row["num_spikes"]) == ("one", 8, 5299)
    assert row["problems"] == ""


def test_all_problems_at_once(folder, tmp_path):
    (tmp_path / "sessions" / "two").mkdir(parents=True)
    (tmp_path / "records").mkdir()
    (tmp_path / "batch.json").write_text("{}")
    (tmp_path / "effects.csv").write_text("session,unit_id\n")
    before = content_of(tmp_path)
    recipe = {
        "extensions": {
            "cross_correlograms": {"bin_ms": -1},
            "template_similarity": {},
            "curation_metrics": {"metric_names": ["presence_ratio"]},
        },
        "labels": {"rules": [("d_prime", "<", 2, "mua")]},
        "exports": {
            "phy": {"columns": ["snr"]},
            "nwb": {"session_start_time": "2024-05-01 12:00"},
        },
        "effect": {"table": str(tmp_path / "effects.csv"), "column": "tuning"},
    }
    found = check({"one": folder, "two": tmp_path / "nothing"}, recipe, tmp_path)
    assert not found.ok
    text = "\n".join(found.problems)
    for words in (
        "effect: ", "tuning", "one: cross_correlograms: bin_ms is -1",
        "one: labels: d_prime will not be there", "one: exports.phy.columns: snr will not",
        "one: nwb: session_start_time is 2024-05-01T12:00:00, without an offset",
        "one: nwb: the time of the samples is not known", "two: ", "nothing does not exist",
    ):  # fmt: skip
        assert words in text
    assert len(found.problems) == 7
    assert repr(found).splitlines()[0] == "BatchCheck: 7 problems, in 2 of 2 sessions"
    assert content_of(tmp_path) == before


def test_extensions_that_need_others(folder):
    found = check({"one": folder}, {"extensions": ["principal_components"]})
    assert found.problems[0].startswith("one: principal_components: needs waveforms: put that")


def test_a_recipe_and_folders_that_cannot_be_used(tmp_path):
    found = check([tmp_path / "a*", tmp_path / "b"], {"merge": {}}, tmp_path)
    text = "\n".join(found.problems)
    assert "merge: this key is not known" in text
    assert "no folder matches" in text
    assert "b does not exist" in text


def test_source_without_an_offset_and_a_table(folder, tmp_path):
    import h5py
    import pynwb

    source = tmp_path / "s.nwb"
    start = pd.Timestamp("2024-05-01T12:00:00Z").to_pydatetime()
    with pynwb.NWBHDF5IO(str(source), "w") as io:
        io.write(pynwb.NWBFile("recorded", "id", start))
    with h5py.File(source, "r+") as file:
        for name in ("session_start_time", "timestamps_reference_time"):
            del file[name]
            file[name] = "2024-05-01T12:00:00"
    table = pd.DataFrame({"folder": [folder, folder], "session": ["a", "b"], "t_start": [0, None]})
    table["source_nwb"] = [None, str(source)]
    table["session_start_time"] = [NWB["session_start_time"], None]
    found = check(table, {"exports": {"nwb": True}})
    assert found.table["problems"].iloc[0] == ""
    assert "without an offset from UTC" in found.table["problems"].iloc[1]


def test_command(folder, tmp_path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(GOOD))
    before = content_of(tmp_path)
    arguments = ["batch", str(recipe), str(folder), "--check"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert "No problems" in done.output
    assert "ready" in done.output
    done = CliRunner().invoke(cli, [*arguments, str(tmp_path / "x"), "--output", str(tmp_path)])
    assert done.exit_code == 1
    assert "files that are not of a batch" in done.output
    assert "x does not exist" in done.output
    assert "2 problems" in done.output
    assert content_of(tmp_path) == before


def test_a_folder_that_cannot_be_read_is_checked_for_the_rest(folder, tmp_path):
    np.save(tmp_path / "spike_times.npy", np.arange(3))
    found = check({"one": tmp_path}, {"exports": {"nwb": {"t_start": 0.0}}})
    kinds = [problem.split(": ")[1] for problem in found.problems]
    assert kinds == ["read", "nwb"]
    assert found.table["num_units"].isna().all()
