"""URLs are no paths, and what no file can be called is one error, wherever a path is taken."""

import os
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from si_curation.cli import main

FOLDER = sic.example_folder()
RECIPE = {"extensions": ["unit_similarity"]}
NWB = {"NWBFile": {"session_start_time": "2026-01-01T00:00:00+00:00"}}
URLS = ["s3://bucket/a.json", Path("s3://bucket/a.json"), "https://host/a.json", "file:///a.json"]
NO_NAMES = ["a\0b", "a\ud800", b"bytes", 3, None]


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(FOLDER)


@cache
def label_model():
    labels = ["good"] * 20 + ["mua"] * 20
    return sic.learn_labels(
        pd.DataFrame({"snr": range(40), "session": [0, 1] * 20, "group": labels})
    )


CALLS = {
    "read_phy_folder": lambda path, a: sic.read_phy_folder(path),
    "read_kilosort_as_analyzer": lambda path, a: sic.read_kilosort_as_analyzer(path),
    "save": lambda path, a: sic.read_kilosort_as_analyzer(
        FOLDER, format="binary_folder", folder=path
    ),
    "attach": lambda path, a: sic.attach_kilosort_folder(a.copy(), path),
    "export_report": lambda path, a: sic.export_report(a, path),
    "export_to_phy": lambda path, a: sic.export_to_phy(a, path),
    "export_to_nwb": lambda path, a: sic.export_to_nwb(a, path, metadata=NWB, t_start=0.0),
    "update_phy_folder": lambda path, a: sic.update_phy_folder(path, a),
    "write_phy_columns": lambda path, a: sic.write_phy_columns(path, {"snr": {4: 1.0}}),
    "restore_phy_folder": lambda path, a: sic.restore_phy_folder(path),
    "simulate": lambda path, a: sic.simulate_kilosort_folder(path),
    "read_recipe": lambda path, a: sic.read_recipe(path),
    "run_batch": lambda path, a: sic.run_batch([path], RECIPE, "out", num_workers=0),
    "check_batch": lambda path, a: sic.check_batch([path], RECIPE, progress_bar=False),
    "output of a batch": lambda path, a: sic.run_batch([FOLDER], RECIPE, path, num_workers=0),
    "rules": lambda path, a: sic.label_units(a, path),
    "model": lambda path, a: sic.LabelModel.load(path),
    "page of labels": lambda path, a: sic.export_label_report(label_model(), path),
    "sessions": lambda path, a: sic.learn_labels([path, path]),
    "reconstruct_lineage": lambda path, a: sic.reconstruct_lineage(path),
    "plot_drift": lambda path, a: sic.plot_drift(path),
    "plot_drift_map": lambda path, a: sic.plot_drift_map(path),
    "reconstruct_journal": lambda path, a: sic.reconstruct_journal(path),
    "write_journal": lambda path, a: sic.CurationSession(a).write_journal(path),
    "journal": lambda path, a: sic.CurationSession(a, journal=path),
    "resume": lambda path, a: sic.CurationSession.resume(a, path),
    "apply": lambda path, a: sic.CurationSession(a).apply(format="zarr", folder=path),
    "curation": lambda path, a: sic.CurationSession(a).apply_spikeinterface_curation(path),
    "benchmark": lambda path, a: sic.benchmark_suggestions(a).write_json(path),
    "reviews": lambda path, a: sic.outcomes_of_reviews(path, sic.suggest_merges(a)),
    "proposals": lambda path, a: sic.write_phy_proposals(path, sic.suggest_merges(a)),
    "decisions": lambda path, a: sic.read_phy_reviews(path),
    "calibration": lambda path, a: sic.Calibration.from_json(path),
    "calibration of splits": lambda path, a: sic.suggest_splits(a, calibration=path),
    "calibrations": lambda path, a: sic.plan_curation(a, calibrations={"splits": path}),
    "duplicates": lambda path, a: sic.find_duplicate_units(a).to_curation_json(path),
    "splits": lambda path, a: sic.suggest_splits(a).to_curation_json(path),
    "merges": lambda path, a: sic.suggest_merges(a).to_curation_json(path),
    "compare": lambda path, a: sic.compare_curations(path, a),
    "old": lambda path, a: sic.replay_curation(path, a),
    "new": lambda path, a: sic.replay_curation(a, path),
    "replay": lambda path, a: sic.replay_curation(a, a, journal=path),
    "start": lambda path, a: sic.compare_curations(a, a, start=path),
    "page": lambda path, a: sic.compare_curations(a, a).export_page(path),
    "consensus": lambda path, a: sic.compare_curations(a, a).consensus(journal=path),
    "plan": lambda path, a: sic.plan_curation(a).to_curation_json(path),
    "cleaning": lambda path, a: sic.suggest_cleaning(a).to_curation_json(path),
}


SPECIAL = {"journal", "consensus", "replay", "start", "save", "rules", "read_recipe", "curation"}
SPECIAL |= {"apply", "calibration of splits"}


LONG = {"benchmark", "splits", "plan", "cleaning", "proposals", "reviews", "page of labels"}
AS_CASES = [pytest.param(c, marks=[pytest.mark.slow] if c in LONG else []) for c in CALLS]


@pytest.mark.parametrize("name", AS_CASES)
def test_urls_are_refused(analyzer, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for url in URLS:
        with pytest.raises(sic.ParameterError, match="URL"):
            CALLS[name](url, analyzer)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", AS_CASES)
def test_what_no_file_can_be_called_is_refused(analyzer, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    if name in SPECIAL:
        values = NO_NAMES[:2]  # what is no path has a meaning of its own, or an error
    else:
        values = NO_NAMES
    for value in values:
        with pytest.raises(sic.SiCurationError):
            CALLS[name](value, analyzer)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "command",
    [
        ["info", "s3://bucket/a"],
        ["report", "https://host/a", "page.html"],
        ["report", FOLDER, "s3://bucket/page.html"],
        ["compute", FOLDER, "--output", "s3://bucket/a.zarr"],
        ["export-phy", FOLDER, "s3://bucket/a"],
        ["demo", "--output", "s3://bucket/a"],
        ["metrics", FOLDER, "--output", "s3://bucket/a.csv"],
        ["batch", "s3://bucket/recipe.yaml", FOLDER, "--output", "out"],
    ],
)
def test_commands_refuse_urls(capsys, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in command])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert "URL" in error
    assert error.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_the_doctor_finds_urls():
    (found,) = sic.check_phy_folder("s3://bucket/folder")
    assert found.severity == "error"
    assert "URL" in found.what


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 are Linux's")
def test_folders_with_names_that_look_like_urls_or_are_not_utf8(tmp_path, monkeypatch):
    """What exists is read, whatever it is called."""
    monkeypatch.chdir(tmp_path)
    for name in ("s3:/bucket", os.fsdecode(b"caf\xe9")):
        os.makedirs(name)
        for path in FOLDER.glob("*"):
            if path.is_file():
                (Path(name) / path.name).write_bytes(path.read_bytes())
        assert sic.read_phy_folder(name).num_spikes == 5299
        assert np.isfinite(sic.read_kilosort_as_analyzer(name).get_total_duration())
