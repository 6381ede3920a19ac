"""``si-curation compare`` prints what is disputed and writes page, table and consensus."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from si_curation.cli import main


def run(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    return stop.value.code or 0, printed.out, printed.err


@pytest.fixture
def copies(tmp_path):
    """The example, as it is and with two units merged and one labelled."""
    for name in ("anna", "ben"):
        shutil.copytree(sic.example_folder(), tmp_path / name)
    clusters = np.load(tmp_path / "ben" / "spike_clusters.npy")
    clusters[np.isin(clusters, (11, 12))] = 14
    np.save(tmp_path / "ben" / "spike_clusters.npy", clusters)
    with (tmp_path / "ben" / "cluster_group.tsv").open("a") as file:
        file.write("4\tnoise\n")
    return tmp_path / "anna", tmp_path / "ben"


def test_compare(capsys, copies, tmp_path):
    page, table, folder = (tmp_path / name for name in ("page.html", "disputed.csv", "consensus"))
    options = ("--page", page, "--consensus", folder, "--names", "anna, ben")
    code, out, err = run(capsys, "compare", *copies, *options)
    assert (code, err) == (0, "")
    assert "2 decisions disputed" in out
    assert "anna, ben" in out
    assert "label_missing" in out
    assert f"Wrote {page}" in out
    assert "left for a decision" in out
    found = sic.read_phy_folder(folder)
    # a template that one has in two units: as the sorter left it
    assert found.num_spikes == sic.read_phy_folder(copies[0]).num_spikes
    assert set(found.columns["disputed"].values.values()) == {"label_missing", "split"}
    code, out, err = run(capsys, "compare", *copies, "--output", table)
    assert code == 0
    assert len(pd.read_csv(table)) == 5
    code, out, err = run(capsys, "compare", *copies, *options)
    assert code == 2
    assert "exists" in err
    assert err.count("\n") == 1


def test_curation_files_need_a_start(capsys, copies, tmp_path):
    file = tmp_path / "curation.json"
    ids = [4, 7, 8, 9, 10, 11, 12, 13]
    curation = {"format_version": "2", "unit_ids": ids, "merges": [{"unit_ids": [11, 12]}]}
    file.write_text(json.dumps(curation))
    code, _, err = run(capsys, "compare", file, copies[0])
    assert code == 2
    assert "give --start" in err
    code, out, _ = run(capsys, "compare", file, copies[1], "--start", copies[0])
    assert code == 0
    assert "1 decisions disputed" in out  # the label


@pytest.mark.parametrize("words", [(), ("x",), ("x", "y", "--output", "a.txt")])
def test_arguments_that_are_wrong_are_one_error(capsys, words):
    code, _, err = run(capsys, "compare", *words)
    assert code == 2
    assert err.count("\n") == 1
