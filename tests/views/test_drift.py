"""`plot_drift`: the sorter's drift over the depths of the spikes."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import si_curation as sic

SETTINGS = {"nblocks": 2, "tmin": 10.0, "tmax": 50.0}


@pytest.fixture(scope="module")
def drifting(simulate):
    return simulate(
        num_templates=5, num_channels=16, num_spikes=500, duration_s=60.0, sorter_settings=SETTINGS
    )


def _drawn(widget):
    return [line.get_data() for line in widget.axes[1].lines]


@pytest.mark.parametrize("kind", ["folder", "analyzer"])
def test_shift_of_each_block(drifting, kind):
    source = drifting.folder
    if kind == "analyzer":
        source = sic.read_kilosort_as_analyzer(source)
    ops = np.load(drifting.folder / "ops.npy", allow_pickle=True).item()
    widget = sic.plot_drift(source)
    lines = _drawn(widget)
    assert len(lines) == 3
    for i, (times, depths) in enumerate(lines):
        np.testing.assert_allclose(times, 10 + 2 * (np.arange(20) + 0.5))
        np.testing.assert_allclose(depths, ops["yblk"][i] + ops["dshift"][:, i])
    assert len(widget.axes[0].patches) == 3


def test_merged_units_and_a_folder_that_is_gone(drifting, tmp_path):
    shutil.copytree(drifting.folder, tmp_path / "sorted")
    analyzer = sic.read_kilosort_as_analyzer(tmp_path / "sorted")
    merged = analyzer.merge_units([[0, 1]], sparsity_overlap=0.0)
    assert len(_drawn(sic.plot_drift(merged))) == 3
    shutil.rmtree(tmp_path / "sorted")
    widget = sic.plot_drift(merged)
    assert widget.axes[0].texts[0].get_text() == "the sorter's folder is gone"
    merged.delete_extension("spike_locations")
    with pytest.raises(sic.MissingDataError, match="nothing to draw"):
        sic.plot_drift(merged)


def test_of_real_folders_that_were_not_corrected():
    widget = sic.plot_drift(sic.example_folder())
    assert "no drift" in widget.axes[0].texts[0].get_text()


def test_drift_that_cannot_be_read_is_said(drifting, tmp_path):
    shutil.copytree(drifting.folder, tmp_path / "sorted")
    ops = np.load(tmp_path / "sorted" / "ops.npy", allow_pickle=True).item()
    np.save(tmp_path / "sorted" / "ops.npy", np.array({**ops, "yblk": "x"}), allow_pickle=True)
    text = sic.plot_drift(tmp_path / "sorted").axes[0].texts[0].get_text()
    assert text == "ops.npy has no drift that can be read"
