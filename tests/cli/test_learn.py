"""The commands that learn labels, and label sessions."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from si_curation.cli import main


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return done.value.code, printed.out, printed.err


@pytest.fixture
def table(tmp_path):
    """A table of units; those that fire more are good."""
    rates = np.random.default_rng(0).uniform(0, 30, 90)
    rows = {"firing_rate": rates, "day": np.arange(90) % 3, "same": 1.0}
    path = tmp_path / "units.csv"
    pd.DataFrame(rows | {"group": np.where(rates > 15, "good", "mua")}).to_csv(path, index=False)
    return path


def test_learn_from_a_table_and_refuse_a_folder_whose_metrics_may_be_others(
    capsys, tmp_path, table
):
    model = tmp_path / "model.json"
    page = tmp_path / "page.html"
    code, out, err = run(
        capsys, *("learn", table, "--output", model, "--session-column", "day", "--report", page)
    )
    assert code == 0, err
    assert "Each session" in page.read_text()
    assert f"Wrote {page}" in out
    assert "Sessions that were left out" in out
    assert "LabelModel: good, mua from 90 units of 3 sessions" in out
    assert "The column same was left out: the same in all units" in err
    assert json.loads(model.read_text())["format"] == "si_curation label model"
    code, _, err = run(capsys, "label", sic.example_folder(), "--model", model)
    assert code == 2
    assert "parameters are not known" in err
    known = tmp_path / "known.json"
    learnt = ("learn", table, "--output", known, "--session-column", "day", "--metric-params")
    params = tmp_path / "params.json"
    for text, message in [("[]", "holds []"), ('{"a": {}}', "no metric 'a'"), ("{", "cannot be")]:
        params.write_text(text)
        code, _, err = run(capsys, *learnt, params)
        assert code == 2
        assert message in err
    others = tmp_path / "others.csv"
    frame = pd.read_csv(table).assign(firing_rate=lambda t: t["firing_rate"] + 0.01)
    frame.to_csv(others, index=False)
    code, out, err = run(
        capsys, *learnt, "default", "--prior", others, "--prior-name", "theirs (MIT)"
    )
    assert code == 0, err
    assert "theirs (MIT) (90 units)" in out
    code, out, err = run(capsys, "label", sic.example_folder(), "--model", known)
    assert code == 0, err
    assert "Decided " in out


def test_label(capsys, tmp_path, table):
    frame = pd.read_csv(table)
    learnt = sic.learn_labels(frame, session_column="day", metric_params={"firing_rate": {}})
    model, folder = learnt.save(tmp_path / "model.json"), tmp_path / "folder"
    shutil.copytree(sic.example_folder(), folder)
    output = tmp_path / "labels.csv"
    code, out, err = run(
        capsys, *("label", folder, "--model", model, "--output", output, "--write-phy")
    )
    assert code == 0, err
    assert "Decided " in out
    expected = learnt.label(sic.read_kilosort_as_analyzer(folder)).table
    written = pd.read_csv(output, index_col="unit_id")
    assert written["label"].tolist() == expected["label"].tolist()
    shown = pd.read_csv(folder / "cluster_learnt_label.tsv", sep="\t", index_col="cluster_id")
    assert shown["learnt_label"].to_dict() == expected["label"].to_dict()
    code, out, _ = run(capsys, "label", folder, "--model", model, "--accuracy", 0.5)
    assert code == 0
    assert "likeliest" in out


def test_what_cannot_be_learnt(capsys, tmp_path, table):
    model = tmp_path / "model.json"
    for given, message in [
        ((), "there are no sessions"),
        ((tmp_path / "no.csv",), "does not exist"),
        ((table,), "--session-column is 'session'"),
        ((tmp_path / "a", tmp_path / "b"), "not there"),
    ]:
        code, _, err = run(capsys, "learn", *given, "--output", model)
        assert code == 2
        assert message in err
    assert not model.exists()
    page = tmp_path / "page.html"
    page.write_text("mine")
    code, _, err = run(
        capsys, *("learn", table, "--output", model, "--session-column", "day", "--report", page)
    )
    assert code == 2
    assert "--report" in err
    assert not model.exists()
    assert page.read_text() == "mine"
    model.write_text("mine")
    code, _, err = run(capsys, "learn", table, "--output", model)
    assert code == 2
    assert "exists" in err
    assert model.read_text() == "mine"
    code, _, err = run(
        capsys, "label", tmp_path, "--model", model, "--write-phy", "--output", "labels.txt"
    )
    assert code == 2
    assert "--write-phy needs" in err
    assert "labels.txt" in err
