"""`units.csv` of all sessions: the same text, and a table of it."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from si_curation.batch.state import BatchFolder
from si_curation.batch.summary import quantiles_by_session
from si_curation.batch.units_table import write_units


@pytest.fixture
def batch(tmp_path):
    def write(**tables):
        for name, content in tables.items():
            (tmp_path / "sessions" / name).mkdir(parents=True)
            (tmp_path / "sessions" / name / "units.csv").write_text(content, encoding="utf-8")
        return BatchFolder(tmp_path), list(tables)

    return write


def test_values_are_copied_as_text(batch):
    exact = "0.30000000000000004"
    folder, names = batch(
        a=f'unit_id,group,num_spikes,x\n1,good,5,{exact}\n02,"a, ""b""",7,\n',
        b="group,unit_id,num_spikes,y\nmua,-1,3,1e-300\n",
    )
    notes = []
    table = write_units(folder, names, notes)
    assert notes == []
    with open(folder.folder / "units.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["session", "unit_id", "group", "num_spikes", "x", "y"],
        ["a", "1", "good", "5", exact, ""],
        ["a", "02", 'a, "b"', "7", "", ""],
        ["b", "-1", "mua", "3", "", "1e-300"],
    ]
    assert table["unit_id"].tolist() == ["1", "02", "-1"]
    assert table["num_spikes"].tolist() == [5, 7, 3]
    assert table["x"].iloc[0] == float(exact)
    assert table["x"].isna().tolist() == [False, True, True]


def test_names_of_sessions_stay_in_the_table(batch, tmp_path):
    folder, names = batch(
        **{"-day": "unit_id,group,num_spikes\n=1+1,good,5\n", "none": "unit_id,group,num_spikes\n"}
    )
    table = write_units(folder, names, [])
    assert table["session"].tolist() == ["-day"]
    assert "'-day,'=1+1,good,5\n" in (tmp_path / "units.csv").read_text(encoding="utf-8")


def test_no_session_is_done(batch):
    folder, _ = batch()
    table = write_units(folder, [], [])
    assert table.columns.tolist() == ["session", "unit_id", "group", "num_spikes"]
    assert len(table) == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("unit_id,group,num_spikes\n1,good\n", "unit 1 of it has 2 values, expected 3"),
        ("unit_id,group\n1,good\n", "it has no column num_spikes"),
        ("unit_id,group,num_spikes,x,x\n", "it has a column twice"),
        (f"unit_id,group,num_spikes\n1,{'g' * 200_000},1\n", "field larger than field limit"),
    ],
)
def test_a_table_that_cannot_be_read_is_left_out(batch, content, told):
    folder, names = batch(bad=content, good="unit_id,group,num_spikes\n1,good,5\n")
    notes = []
    table = write_units(folder, names, notes)
    assert table["session"].tolist() == ["good"]
    assert len(notes) == 1
    assert told in notes[0]


def test_quantiles_by_session():
    rng = np.random.default_rng(0)
    units = pd.DataFrame({"session": ["s2"] * 5 + ["s1"] * 4, "x": rng.normal(size=9), "n": 3})
    units.loc[5:, "x"] = np.nan
    table = quantiles_by_session(units)
    assert table[["session", "metric", "num_units"]].to_numpy().tolist() == [
        ["s2", "x", 5],
        ["s2", "n", 5],
        ["s1", "n", 4],
    ]
    assert table["q25"].iloc[0] == np.quantile(units["x"][:5], 0.25)
