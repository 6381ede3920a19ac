"""Benchmarks of the sessions of a batch, and the calibration of all of them."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from si_curation.batch.state import BatchFolder
from si_curation.batch.trust import gather_benchmarks, write_calibrations
from si_curation.variables import BATCH_BENCHMARKS

RECIPE = {"benchmark": {"max_units": 5, "seed": 3}}


def run(folders, output, recipe=RECIPE, **more):
    return sic.run_batch(folders, recipe, output, num_workers=0, progress_bar=False, **more)


@pytest.mark.slow
def test_each_session_has_its_benchmark(tmp_path):
    folder = tmp_path / "kilosort4"
    shutil.copytree(sic.example_folder(), folder)
    result = run([folder], tmp_path / "out")
    assert result.table["error"].tolist() == [""]
    assert "seconds_benchmark" in result.table
    table = pd.read_csv(tmp_path / "out/benchmarks.csv")
    assert table.columns.tolist() == list(BATCH_BENCHMARKS)
    analyzer = sic.read_kilosort_as_analyzer(folder)
    expected = sic.benchmark_suggestions(analyzer, max_units=5, seed=3)
    assert table["suggestion"].tolist() == expected.index.tolist()
    np.testing.assert_allclose(table["precision"], expected["precision"])
    page = result.page.read_text(encoding="utf-8")
    assert "How far to trust suggestions" in page
    # one folder is too few
    assert not (tmp_path / "out/calibration_merges.json").exists()
    assert any("no calibration of merges" in note for note in result.notes)


@pytest.mark.slow
def test_sessions_are_calibrated_together(tmp_path, simulate):
    folders = {
        f"s{seed}": simulate(
            num_templates=40, num_channels=32, num_spikes=30_000, seed=seed, curation=0
        ).folder
        for seed in range(3)
    }
    result = run(folders, tmp_path / "out", recipe={"benchmark": True})
    assert result.table["error"].tolist() == [""] * 3
    files = {name: tmp_path / f"out/sessions/{name}/benchmark.json" for name in folders}
    try:
        expected = sic.calibrate_suggestions(files)
    except sic.MissingDataError:
        pytest.fail("too few suggestions: simulate more units")
    found = sic.Calibration.from_json(tmp_path / "out/calibration_merges.json")
    assert found == expected


def test_without_it_nothing_is_tried(tmp_path):
    folder = tmp_path / "kilosort4"
    shutil.copytree(sic.example_folder(), folder)
    result = run([folder], tmp_path / "out", recipe={"exports": {}})
    assert not (tmp_path / "out/benchmarks.csv").exists()
    assert "How far to trust" not in result.page.read_text(encoding="utf-8")
    with pytest.raises(sic.ParameterError, match="max_units"):
        run([folder], tmp_path / "more", recipe={"benchmark": {"max_units": 0}})


@pytest.mark.parametrize(
    "content",
    [
        None,
        "{",
        "[]",
        '{"table": [3]}',
        '{"table": 1}',
        '{"table": [{"suggestion": "a", "precision": "x"}]}',
    ],
)
def test_damaged_files_are_left_out_with_a_note(tmp_path, content):
    batch = BatchFolder(tmp_path)
    folder = batch.outputs_of("a")
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "benchmark.json").write_text(content)
    notes: list[str] = []
    table, files = gather_benchmarks(batch, ["a"], notes)
    assert len(table) == len(files) == 0
    assert len(notes) == 1
    assert "is left out" in notes[0]


def test_a_calibration_that_is_none_any_more_is_deleted(tmp_path):
    (tmp_path / "calibration_merges.json").write_text("{}")
    notes: list[str] = []
    write_calibrations(tmp_path, ["merges"], {}, notes)
    assert not (tmp_path / "calibration_merges.json").exists()
    assert "no calibration of merges" in notes[0]
