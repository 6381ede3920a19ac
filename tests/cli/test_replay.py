"""``si-curation replay`` writes the curated other sorting and tells what became of each step."""

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


def test_replay(capsys, tmp_path):
    new = shutil.copytree(sic.example_folder(), tmp_path / "new")
    times = np.load(new / "spike_times.npy")
    np.save(new / "spike_times.npy", times + 2)
    np.save(new / "spike_clusters.npy", np.load(new / "spike_templates.npy"))
    (new / "cluster_group.tsv").unlink()
    out, table = tmp_path / "out", tmp_path / "steps.csv"
    code, text, err = run(capsys, "replay", sic.example_folder(), new, out)
    assert (code, err) == (0, "")
    assert "CurationReplay(6 steps: 6 carried" in text
    clusters = np.load(out / "spike_clusters.npy")
    old = np.load(sic.example_folder() / "spike_clusters.npy")
    pairs = np.unique(np.stack([old, clusters]), axis=1)
    assert pairs.shape[1] == np.unique(old).size == np.unique(clusters).size
    groups = sic.read_phy_folder(out).groups
    known = sic.read_phy_folder(sic.example_folder()).groups
    assert [groups[int(new)] for _, new in pairs.T] == [known[int(one)] for one, _ in pairs.T]
    code, _, err = run(capsys, "replay", sic.example_folder(), new, out)
    assert code == 2
    assert "exists" in err
    code, _, _ = run(
        capsys, "replay", sic.example_folder(), new, tmp_path / "two", "--output", table
    )
    assert code == 0
    assert len(pd.read_csv(table)) == 6
