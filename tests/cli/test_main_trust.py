"""No command runs what is in a folder that it is given.

Each command meets a third of what may be planted, each planted thing a third of the commands:
all open a folder in the same way. ``pytest -n 0 -m "" --fuzz 3`` has each with each.
"""

import shutil
import warnings

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from helpers.planted_code import VECTORS, ZARR_VECTORS, copy_planted, save_clean
from si_curation.cli import main

RECIPE = "extensions: [unit_similarity]\nexports: {analyzer: zarr, tables: [contamination]}\n"
NWB = '{"NWBFile": {"session_start_time": "2026-01-01T00:00:00+00:00"}}'
#: Every command that takes a folder, with {source} for it and {out} for a place to write to.
COMMANDS = {
    "report": "report {source} {out}/page.html",
    "export-phy": "export-phy {source} {out}/phy",
    "export-nwb": "export-nwb {source} {out}/units.nwb --metadata {out}/nwb.json",
    "duplicates": "duplicates {source} --output {out}/duplicates.csv",
    "merges": "merges {source} --output {out}/merges.csv",
    "splits": "splits {source} --output {out}/splits.csv",
    "apply": "apply {source} {out}/curation.json {out}/applied",
    "journal": "journal {source}",
    "propose": "propose {source}",
    "reviews": "reviews {source}",
    "benchmark": "benchmark {source} --output {out}/benchmark.csv",
    "compare": "compare {source} {example} --output {out}/disputed.csv",
    "replay": "replay {source} {example} {out}/replayed",
    "cleaning": "cleaning {source} --output {out}/cleaning.csv",
    "plan": "plan {source} --output {out}/plan.csv",
    "contamination": "contamination {source} --output {out}/contamination.csv",
    "classify": "classify {source} --output {out}/classes.csv",
    "metrics": "metrics {source} --output {out}/metrics.csv",
    "connections": "connections {source} --output {out}/connections.csv",
    "learn": "learn {source} {example} --output {out}/learnt.json",
    "label": "label {source} --model {out}/model.json --output {out}/labels.csv",
    "batch": "batch {out}/recipe.yaml {source} --output {out}/batch --workers 0",
    "check": "check {source}",
    "info": "info {source}",
    "demo": "demo --folder {source} --output {out}/demo",
    "compute": "compute {source} {out}/computed",
    "lineage": "lineage {source}",
    "cluster-info": "cluster-info {source}",
    "restore": "restore {source}",
    "gui": "gui {source}",
    "export-unitmatch": "export-unitmatch {out}/unitmatch {source}",
    "split-sessions": "split-sessions {source} {out}/sessions --borders 1.0s",
    "attach": "attach {source} {example} --output {out}/attached",
    "attach-in-place": "attach {source} {example} --in-place",
}
LOADING = {
    "apply",
    "report",
    "duplicates",
    "export-phy",
    "merges",
    "contamination",
    "metrics",
    "connections",
    "attach",
}
LOADING |= {
    "classify",
    "benchmark",
    "cleaning",
    "duplicates",
    "plan",
    "splits",
    "compare",
    "replay",
}
QUICK = {("contamination", "class_in_recording_json"), ("check", "extension_pickle")}
QUICK |= {("attach-in-place", "recording_pickle"), ("batch", "zarr_recording_class")}


SHARE = 3


def pytest_generate_tests(metafunc):
    if not {"command", "name"} <= set(metafunc.fixturenames):
        return
    saved_alone = metafunc.function is test_no_command_runs_code_of_a_saved_analyzer
    names = (*VECTORS, *ZARR_VECTORS) if saved_alone else tuple(VECTORS)
    commands = tuple(COMMANDS) if saved_alone else sorted(set(COMMANDS) - {"restore", "gui"})
    metafunc.parametrize(
        ("command", "name"),
        [
            pytest.param(command, name, marks=[] if (command, name) in QUICK else pytest.mark.slow)
            for i, command in enumerate(commands)
            for j, name in enumerate(names)
            if (command, name) in QUICK or (i + j) % SHARE < metafunc.config.getoption("--fuzz")
        ],
    )


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    root = tmp_path_factory.mktemp("clean")
    size = {"num_templates": 5, "num_channels": 12, "num_spikes": 800, "curation": 2}
    return save_clean(root, sic.simulate_kilosort_folder(root / "kilosort", **size).folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    rates = np.arange(40.0)
    table = pd.DataFrame({"firing_rate": rates, "session": rates % 2, "group": rates > 20})
    learnt = sic.learn_labels(table, metric_params={"firing_rate": {}})
    return learnt.save(tmp_path_factory.mktemp("model") / "model.json")


@pytest.fixture
def run(capsys, monkeypatch, tmp_path, clean, model):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sic, "open_gui", lambda *args, **kwargs: None)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "nwb.json").write_text(NWB)
    (tmp_path / "curation.json").write_text('{"format_version": "2", "merges": []}')
    shutil.copy(model, tmp_path)

    def call(command, source, *more):
        text = COMMANDS[command]
        words = [
            word.format(source=source, out=tmp_path, example=clean / "kilosort")
            for word in text.split()
        ]
        warnings.simplefilter("ignore")
        with pytest.raises(SystemExit) as stop:
            main([*words, *more])
        printed = capsys.readouterr()
        return stop.value.code or 0, printed.out, printed.err

    return call


def test_every_command_is_tried():
    from si_curation.cli.main import cli

    tried = {name.removesuffix("-in-place") for name in COMMANDS}
    assert tried == set(cli.commands) - {"warmup"}  # which takes no folder


def test_no_command_runs_code_of_a_saved_analyzer(run, clean, tmp_path, command, name):
    suffix = ".zarr" if name in ZARR_VECTORS else ""
    marker = tmp_path / "ran"
    folder = copy_planted(clean / f"analyzer{suffix}", tmp_path / f"planted{suffix}", name, marker)
    code, out, err = run(command, folder)
    assert not marker.exists()
    if command == "check":
        assert code == 2
        assert "can run code" in " ".join(out.split())  # wherever lines are broken
    elif command == "attach-in-place":
        assert code == 2
        assert "--trust" in err
    elif command in LOADING and "compressor" not in name:
        assert code == 0, err
        assert err.count("left out") == 1
        assert "--trust" in err


@pytest.mark.slow
def test_a_kilosort_folder_with_an_analyzer_in_it(run, clean, tmp_path, command, name):
    marker = tmp_path / "ran"
    folder = copy_planted(clean / "analyzer", tmp_path / "planted", name, marker)
    shutil.copytree(clean / "kilosort", folder, dirs_exist_ok=True)
    run(command, folder)
    assert not marker.exists()


def test_trust_loads_it(run, clean, tmp_path):
    marker = tmp_path / "ran"
    folder = copy_planted(
        clean / "analyzer", tmp_path / "planted", "class_in_recording_json", marker
    )
    run("contamination", folder, "--trust")
    assert marker.exists()
