"""Recipes, sessions and summaries of a batch, in one process; `test_batch_dask` has the workers."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from spikeinterface.core import (
    create_sorting_analyzer,
    generate_ground_truth_recording,
    load_sorting_analyzer,
)

import si_curation as sic
import si_curation.batch.run as batch_run
import si_curation.batch.session as batch_session
from helpers.phy_folders import Faults
from si_curation.batch.inputs import gather_sessions
from si_curation.batch.recipe_files import read_recipe
from si_curation.batch.state import make_fingerprint
from si_curation.batch.summary import write_summary
from si_curation.cli.batch import batch as batch_command
from si_curation.errors import (
    FolderNotFoundError,
    MissingDataError,
    OutputExistsError,
    ParameterError,
)
from si_curation.files import new_folder

METRICS = ["num_spikes", "firing_rate", "presence_ratio", "rp_violation"]
SMALL = {"extensions": {"curation_metrics": {"metric_names": METRICS}}}


def run(folders, recipe, output, **kwargs):
    kwargs = {"num_workers": 0, "progress_bar": False, **kwargs}
    return sic.run_batch(folders, recipe, output, **kwargs)


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(sic.example_folder(), tmp_path / "mouse1" / "kilosort4")


def inodes(folder):
    return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in sorted(folder.rglob("*"))}


# recipes


@pytest.mark.slow
def test_the_example_recipe_works_as_it_stands(tmp_path, folder):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(sic.example_recipe(), encoding="utf-8")
    result = run([folder], recipe, tmp_path / "out")
    assert result.table["error"].tolist() == [""]
    names = {path.name for path in (tmp_path / "out/sessions/kilosort4").iterdir()}
    assert names == {
        "analyzer.zarr", "best_channels.csv", "done.json", "labels.csv", "merges.csv",
        "merges.json", "phy", "units.csv",
    }  # fmt: skip
    for url in ("http://", "https://", "<script"):
        assert url not in result.page.read_text(encoding="utf-8")


def test_every_problem_of_a_recipe_is_in_one_error(tmp_path):
    recipe = {
        "reading": {"unwhiten": "maybe", "sampling_freq": 3e4},
        "extensions": {
            "cross_correlogram": {},
            "waveforms": {},
            "random_spikes": {},
            "cross_correlograms": {"window": 50},
        },
        "labels": {"rules": [["snr", "<<", 5, "mua"]]},
        "exports": {"phy": {"curation": "some"}, "tables": ["everything"]},
        "effect": {"table": "not_there.csv"},
        "session_name_parts": 0,
        "raport": {},
    }
    with pytest.raises(ParameterError) as found:
        sic.read_recipe(recipe)
    for text in (
        "reading.unwhiten",
        "sampling_freq: this key is not known",
        "cross_correlogram is not known",
        "waveforms needs the recording",
        "random_spikes is always computed when a folder is read",
        "cross_correlograms has no parameter 'window'",
        "comparison is '<<'",
        "exports.phy.curation",
        "is 'everything'",
        "not_there.csv does not exist",
        "session_name_parts",
        "raport: this key is not known",
    ):
        assert text in str(found.value), text


def test_recipes_from_files(tmp_path):
    (tmp_path / "rules.json").write_text('[["num_spikes", "<", 300, "mua"]]')
    recipe = {**SMALL, "labels": {"rules": "rules.json"}, "exports": {"phy": True}}
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe))
    read = sic.read_recipe(path)  # rules.json is beside it, not in the current folder
    assert read.labels.rules["rules"][0]["threshold"] == 300
    assert read.exports.phy.columns == []
    for text, error in (("[1]", "expected keys"), ("{", "cannot be read")):
        path.write_text(text)
        with pytest.raises(ParameterError, match=error):
            sic.read_recipe(path)
    with pytest.raises(FolderNotFoundError):
        sic.read_recipe(tmp_path / "none.yaml")
    with pytest.raises(ParameterError, match=r"\.json"):
        sic.read_recipe(tmp_path / "recipe.txt")
    with pytest.raises(ParameterError, match="a path or a dict"):
        sic.read_recipe(3)


# sessions


def test_names_of_sessions(tmp_path):
    recipe = sic.read_recipe({})
    for name in ("a", "b"):
        (tmp_path / name / "kilosort4").mkdir(parents=True)
    pattern = str(tmp_path / "*" / "kilosort4")
    assert [s.name for s in gather_sessions(tmp_path / "a/kilosort4", recipe)] == ["kilosort4"]
    assert [s.name for s in gather_sessions([pattern], recipe)] == ["a-kilosort4", "b-kilosort4"]
    folders = {"session": ["a-kilosort4", ""], "folder": [str(tmp_path / "a"), ""]}
    folders["folder"][1] = str(tmp_path / "a" / "kilosort4")
    names = [s.name for s in gather_sessions(pd.DataFrame(folders), recipe)]
    assert names == ["a-kilosort4", "kilosort4"]
    one = recipe.model_copy(update={"session_name_parts": 1})
    with pytest.raises(ParameterError, match="2 sessions are called 'kilosort4'"):
        gather_sessions([pattern], one)
    two = recipe.model_copy(update={"session_name_parts": 2})
    assert [s.name for s in gather_sessions(pattern, two)] == ["a-kilosort4", "b-kilosort4"]
    with pytest.raises(ParameterError, match="2 sessions are called"):
        gather_sessions([tmp_path / "a", tmp_path / "a"], recipe)
    named = gather_sessions({"x": tmp_path / "a", "y": tmp_path / "b"}, recipe)
    assert [(s.name, Path(s.folder).name) for s in named] == [("x", "a"), ("y", "b")]
    problems = ["2 sessions", "file name", "no folder matches"]
    with pytest.raises(ParameterError) as found:
        gather_sessions({"A": "a", "a": "b", "x/y": "c"}, recipe)
    assert all(text in str(found.value) for text in problems[:2])
    for name in ("NUL", "con.1", "Com1 .x"):
        with pytest.raises(ParameterError, match="a device of Windows"):
            gather_sessions({name: tmp_path / "a"}, recipe)
    with pytest.raises(ParameterError, match=problems[2]):
        gather_sessions(str(tmp_path / "*" / "none"), recipe)
    with pytest.raises(ParameterError, match="no sessions"):
        gather_sessions([], recipe)


def test_a_table_of_sessions(tmp_path):
    recipe = sic.read_recipe({"reading": {"unwhiten": "phy"}, "exports": {"nwb": True}})
    (tmp_path / "m.yaml").write_text("NWBFile: {}")
    rows = [
        ["session", "folder", "gain_to_uV", "exclude_groups", "t_start", "nwb_metadata"],
        ["one", "s1", "0.195", '["noise"]', "12.5", "m.yaml"],
        ["two", "s2", "", "", "", ""],
    ]
    table = tmp_path / "sessions.csv"
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    one, two = gather_sessions(table, recipe)
    assert (one.name, one.folder) == ("one", str((tmp_path / "s1").resolve()))
    assert one.recipe.reading.gain_to_uV == 0.195
    assert one.recipe.reading.exclude_groups == ["noise"]
    assert one.recipe.reading.unwhiten == two.recipe.reading.unwhiten == "phy"
    assert one.recipe.exports.nwb.t_start == 12.5
    assert one.recipe.exports.nwb.metadata == str((tmp_path / "m.yaml").resolve())
    assert two.recipe == recipe
    bad = pd.DataFrame({"folder": ["a", ""], "gain_to_uV": ["much", 1.0], "gain": 1})
    bad["t_start"] = 1.5
    with pytest.raises(ParameterError) as found:
        gather_sessions(bad, sic.read_recipe({}))
    for text in (
        "columns gain are not",
        "row 1: ",
        "'much'",
        "exports no NWB",
        "row 2: the folder",
    ):
        assert text in str(found.value), text
    with pytest.raises(FolderNotFoundError, match="table of sessions"):
        gather_sessions("none.csv", recipe)


def test_options_of_a_session_are_used(tmp_path, folder):
    table = pd.DataFrame({"session": ["all", "some"], "folder": str(folder)})
    table["exclude_groups"] = ["", '["noise"]']
    result = run(table, SMALL, tmp_path / "out")
    assert result.table["num_units"].tolist() == [8, 7]
    assert "noise" not in result.units.loc[result.units["session"] == "some", "group"].tolist()


# what a session does


def test_outputs_are_what_the_functions_give(tmp_path, folder):
    tables = ["best_channels", "contamination", "connections", "lineage"]
    recipe = {
        **SMALL,
        "merges": {"score_threshold": 0.5},
        "labels": {"rules": [["num_spikes", "<", 300, "mua"]], "otherwise": "good"},
        "exports": {"phy": {"columns": METRICS[2:3]}, "tables": tables, "analyzer": "zarr"},
    }
    result = run([folder], recipe, tmp_path / "out")
    assert result.table["error"].tolist() == [""]
    out = tmp_path / "out" / "sessions" / "kilosort4"
    analyzer = sic.read_kilosort_as_analyzer(folder)
    expected = sic.compute_curation_metrics(analyzer, metric_names=METRICS)
    units = pd.read_csv(out / "units.csv", index_col="unit_id")
    pd.testing.assert_frame_equal(
        units[expected.columns].astype(float),
        expected.astype(float),
        check_names=False,
        check_index_type=False,
        rtol=1e-14,
    )
    # labels of a person stay, others are by the rule
    before = dict(zip(analyzer.unit_ids, analyzer.get_sorting_property("quality"), strict=True))
    for unit_id, row in units.iterrows():
        by_rule = "mua" if row["num_spikes"] < 300 else "good"
        by_hand = before[unit_id] != "unsorted"
        assert row["group"] == (before[unit_id] if by_hand else by_rule)
    saved = load_sorting_analyzer(out / "analyzer.zarr")
    assert saved.get_sorting_property("quality").tolist() == units["group"].tolist()
    assert saved.get_extension("curation_metrics").params["metric_names"] == METRICS
    exported = sic.read_kilosort_as_analyzer(out / "phy")
    assert exported.unit_ids.tolist() == units.index.tolist()
    assert exported.get_sorting_property("quality").tolist() == units["group"].tolist()
    spikes = exported.sorting.to_spike_vector()
    assert np.array_equal(spikes, analyzer.sorting.to_spike_vector())
    found = sic.suggest_merges(analyzer, score_threshold=0.5)
    merges = pd.read_csv(out / "merges.csv")
    assert merges[["unit_id_a", "unit_id_b"]].values.tolist() == [
        list(pair) for pair in found.pairs(0.0)
    ]
    model = json.loads((out / "merges.json").read_text())
    assert [merge["unit_ids"] for merge in model["merges"]] == found.groups()
    panel = pd.read_csv(out / "contamination.csv", index_col="unit_id")
    ours = sic.contamination_panel(analyzer)
    assert np.allclose(panel["rp_contamination"], ours["rp_contamination"], equal_nan=True)
    for name in tables:
        assert (out / f"{name}.csv").stat().st_size > 0


def test_merges_are_applied_only_if_asked(tmp_path, folder):
    recipe = {**SMALL, "merges": {"score_threshold": 0.0, "min_similarity": 0.9}}
    as_is = run([folder], recipe, tmp_path / "a")
    recipe["merges"]["apply"] = True
    merged = run([folder], recipe, tmp_path / "b")
    analyzer = sic.read_kilosort_as_analyzer(folder)
    groups = sic.suggest_merges(analyzer, min_similarity=0.9).groups(0.0)
    assert groups
    gone = {str(i) for group in groups for i in group}
    before, after = set(as_is.units["unit_id"]), set(merged.units["unit_id"])
    assert before == set(map(str, analyzer.unit_ids))
    assert before - after == gone
    assert len(after - before) == len(groups)
    assert merged.units["num_spikes"].sum() == as_is.units["num_spikes"].sum()


def test_labels_can_replace_those_of_a_person(tmp_path, folder):
    labels = {"rules": [["num_spikes", ">=", 0, "mua"]], "keep_existing": False}
    result = run([folder], {**SMALL, "labels": labels}, tmp_path / "out")
    assert set(result.units["group"]) == {"mua"}


def test_labels_of_a_model(tmp_path, folder):
    rates = np.arange(60.0)
    table = pd.DataFrame({"firing_rate": rates, "session": rates % 3})
    table["group"] = np.where(rates > 20, "mua", "good")
    model = sic.learn_labels(table, metric_params={"firing_rate": {}})
    path = model.save(tmp_path / "model.json")
    labels = {"model": str(path), "accuracy": 0.8, "keep_existing": False}
    recipe = {**SMALL, "labels": labels}
    result = run([folder], recipe, tmp_path / "out")
    assert result.table["error"].tolist() == [""]
    written = pd.read_csv(tmp_path / "out" / "sessions" / "kilosort4" / "labels.csv")
    expected = model.label(sic.read_kilosort_as_analyzer(folder), accuracy=0.8).table
    assert written["label"].tolist() == expected["label"].tolist()
    assert written["reason"].tolist() == expected["reason"].tolist()
    assert run([folder], recipe, tmp_path / "out").table["status"].tolist() != ["failed"]
    for wrong, message in [
        ({"model": str(path), "rules": [["a", "<", 1, "b"]]}, "give either rules or model"),
        ({}, "give either rules or model"),
        ({"rules": [["a", "<", 1, "b"]], "accuracy": 0.9}, "accuracy is of a model"),
        ({"model": str(path), "otherwise": "good"}, "otherwise is of rules"),
        ({"model": str(tmp_path / "no.json")}, "does not exist"),
    ]:
        with pytest.raises(ParameterError, match=message):
            sic.read_recipe({"labels": wrong})
    path.write_text(path.read_text()[:100])
    with pytest.raises(ParameterError, match=r"labels\.model.*cannot be read"):
        sic.read_recipe(recipe)


@pytest.mark.slow
def test_analyzers_of_other_sorters(tmp_path, hash_files):
    recording, sorting = generate_ground_truth_recording(
        durations=[20.0], num_channels=8, num_units=3, seed=0
    )
    analyzer = create_sorting_analyzer(
        sorting, recording, format="binary_folder", folder=tmp_path / "sorter"
    )
    analyzer.compute(["random_spikes", "templates"], progress_bar=False)
    before = hash_files(tmp_path / "sorter")
    recipe = {**SMALL, "exports": {"analyzer": "binary_folder", "tables": ["best_channels"]}}
    result = run([tmp_path / "sorter"], recipe, tmp_path / "out")
    assert result.table["error"].tolist() == [""]
    assert result.units["unit_id"].tolist() == [str(i) for i in sorting.unit_ids]
    assert hash_files(tmp_path / "sorter") == before
    saved = load_sorting_analyzer(tmp_path / "out/sessions/sorter/analyzer")
    assert saved.has_extension("curation_metrics")
    recipe["reading"] = {"gain_to_uV": 2.0}
    result = run([tmp_path / "sorter"], recipe, tmp_path / "other")
    assert "gain_to_uV" in result.table["error"].iloc[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kwargs",
    [
        {"num_templates": 1, "num_channels": 1, "num_spikes": 1},
        {"num_templates": 6, "num_channels": 12, "num_spikes": 60, "num_empty_templates": 2},
        {"num_templates": 4, "num_channels": 384, "num_spikes": 400},
    ],
)
def test_hostile_sessions(tmp_path, kwargs):
    sic.simulate_kilosort_folder(tmp_path / "s", seed=3, **kwargs)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(sic.example_recipe(), encoding="utf-8")
    result = run([tmp_path / "s"], recipe, tmp_path / "out")
    assert result.table["error"].tolist() == [""]
    assert result.table["num_spikes"].tolist() == [kwargs["num_spikes"]]


def test_what_fails_says_where(tmp_path, folder):
    recipe = {"labels": {"rules": "allen_default"}}  # and no metrics
    result = run([folder], recipe, tmp_path / "out")
    assert result.failed["error"].iloc[0].startswith("labels: labels: the analyzer has neither")
    record = json.loads((tmp_path / "out/records/kilosort4.json").read_text())
    assert "Traceback" in record["traceback"]
    assert list((tmp_path / "out/sessions").iterdir()) == []
    recipe = {**SMALL, "exports": {"phy": {"columns": ["snr"]}}}
    result = run([folder], recipe, tmp_path / "out")
    assert "phy: exports.phy.columns: snr not there" in result.failed["error"].iloc[0]


# resuming


def test_done_is_known_by_content(tmp_path, folder):
    recipe, out = {**SMALL, "exports": {"phy": True}}, tmp_path / "out"
    assert run([folder], recipe, out).table["status"].tolist() == ["done"]
    before = inodes(out / "sessions"), inodes(out / "records")
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere" / "kilosort4")
    (elsewhere / "phy.log").write_text("dates and logs do not count")
    (elsewhere / ".phy").mkdir()
    for one in (folder, elsewhere):
        result = run([one], recipe, out, retry_failed=True, overwrite=True)
        assert result.table["status"].tolist() == ["skipped: already done"]
        assert result.table["num_spikes"].tolist() == [5299]
        assert len(result.units) == 8
    assert (inodes(out / "sessions"), inodes(out / "records")) == before


@pytest.mark.slow
def test_what_has_changed_is_computed_again_only_if_asked(tmp_path, folder, hash_files):
    out = tmp_path / "out"
    run([folder], SMALL, out)
    before = hash_files(out / "sessions")
    changes = [
        (SMALL, "its files have changed"),
        ({**SMALL, "exports": {"phy": True}}, "its files have changed and the recipe has changed"),
    ]
    clusters = np.load(folder / "spike_clusters.npy")
    clusters[0] = clusters[1]
    np.save(folder / "spike_clusters.npy", clusters)
    for recipe, text in changes:
        failed = run([folder], recipe, out).failed
        assert f"exists, but {text} since: give overwrite=True" in failed["error"].iloc[0]
        assert hash_files(out / "sessions") == before
    assert run([folder], SMALL, out, overwrite=True).table["status"].tolist() == ["done"]
    names = sorted(path.name for path in (out / "sessions").iterdir())
    assert len(names) == 2
    assert names[1].startswith("kilosort4.backup-")
    assert hash_files(out / "sessions" / names[1]) == {
        name.split(os.sep, 1)[1]: digest for name, digest in before.items()
    }
    assert run([folder], SMALL, out).table["status"].tolist() == ["skipped: already done"]


@pytest.mark.slow
def test_what_the_fingerprint_counts(tmp_path, folder):
    def fingerprint(recipe, name="x"):
        return make_fingerprint(gather_sessions({name: folder}, sic.read_recipe(recipe))[0])

    plain, phy = fingerprint({}), fingerprint({"exports": {"phy": True}})
    assert plain["inputs"] == fingerprint({"extensions": ["unit_similarity"]})["inputs"]
    assert plain["recipe"] != fingerprint({"extensions": ["unit_similarity"]})["recipe"]
    (folder / "effect.csv").write_text("session,unit_id,effect\n")
    (folder / "effect.csv").rename(tmp_path / "effect.csv")
    effect = {"effect": {"table": str(tmp_path / "effect.csv")}}
    assert fingerprint(effect) == plain  # what is done after the sessions
    (folder / "notes.bin").write_bytes(b"1")
    assert fingerprint({}) == plain
    assert fingerprint({"exports": {"phy": True}})["inputs"] != phy["inputs"]  # it is copied
    (folder / "cluster_mine.tsv").write_text("cluster_id\tmine\n4\t1\n")
    assert fingerprint({})["inputs"] != plain["inputs"]
    metadata = tmp_path / "m.yaml"
    metadata.write_text("NWBFile: {}")
    nwb = {"exports": {"nwb": {"metadata": str(metadata)}}}
    before = fingerprint(nwb)
    metadata.write_text("NWBFile: {institution: here}")
    assert fingerprint(nwb)["recipe"] != before["recipe"]


def test_failures_are_tried_again_only_if_asked_or_changed(tmp_path, folder):
    out = tmp_path / "out"
    whole = (folder / "spike_times.npy").read_bytes()
    (folder / "spike_times.npy").write_bytes(whole[:-8])
    first = run([folder], SMALL, out).table
    assert "spike_times.npy: is truncated" in first["error"].iloc[0]
    record = out / "records" / "kilosort4.json"
    before = inodes(record.parent)
    assert run([folder], SMALL, out).table["error"].tolist() == first["error"].tolist()
    assert inodes(record.parent) == before
    run([folder], SMALL, out, retry_failed=True)
    assert inodes(record.parent) != before
    (folder / "spike_times.npy").write_bytes(whole)
    assert run([folder], SMALL, out).table["status"].tolist() == ["done"]


def test_a_missing_folder_fails_alone_and_is_looked_for_again(tmp_path, folder):
    other = tmp_path / "later"
    result = run([other, folder], SMALL, tmp_path / "out")
    assert result.table["status"].tolist() == ["failed", "done"]
    assert "does not exist" in result.table["error"].iloc[0]
    shutil.copytree(folder, other)
    result = run([other, folder], SMALL, tmp_path / "out")
    assert result.table["status"].tolist() == ["done", "skipped: already done"]


def test_outputs_that_are_gone_are_noticed(tmp_path, folder):
    out = tmp_path / "out"
    run([folder], SMALL, out)
    (out / "sessions/kilosort4/units.csv").unlink()
    assert "units.csv is missing" in run([folder], SMALL, out).table["error"].iloc[0]
    shutil.rmtree(out / "sessions/kilosort4")
    assert run([folder], SMALL, out).table["status"].tolist() == ["done"]


def test_wrong_calls_change_nothing(tmp_path, folder):
    with pytest.raises(ParameterError, match=r"num_workers is -1.*num_threads is 0"):
        run([folder], SMALL, tmp_path / "out", num_workers=-1, num_threads=0)
    with pytest.raises(ParameterError, match="leave it out with a client"):
        run([folder], SMALL, tmp_path / "out", num_workers=2, client="tcp://nowhere:1")
    assert not (tmp_path / "out").exists()
    with pytest.raises(OutputExistsError, match="not of a batch"):
        run([folder], SMALL, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match="is a file"):
        run([folder], SMALL, tmp_path / "file")
    result = run({"inside": tmp_path}, SMALL, tmp_path / "out")
    assert "is inside" in result.table["error"].iloc[0]


# all sessions together


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for number in range(6):
        sic.simulate_kilosort_folder(
            folder / "in" / f"s{number}", num_templates=8, num_channels=12, num_spikes=3000,
            seed=number,
        )  # fmt: skip
    return folder


def test_summary(many, tmp_path):
    first = run(str(many / "in" / "*"), SMALL, tmp_path / "out")
    rng = np.random.default_rng(0)
    effect = first.units[["session", "unit_id"]].assign(
        effect=first.units["firing_rate"] + rng.normal(size=len(first.units))
    )
    effect["unit_id"] = effect["unit_id"].astype(float)  # 4.0, as of a table that had gaps
    effect.to_csv(tmp_path / "effect.csv", index=False)
    recipe = {**SMALL, "effect": {"table": str(tmp_path / "effect.csv")}}
    result = run(str(many / "in" / "*"), recipe, tmp_path / "out")
    assert set(result.table["status"]) == {"skipped: already done"}
    units = pd.read_csv(tmp_path / "out/units.csv", dtype={"unit_id": str})
    metrics = units.set_index(["session", "unit_id"]).drop(columns="group")
    series = effect.assign(unit_id=first.units["unit_id"])
    series = series.set_index(["session", "unit_id"])["effect"]
    expected = sic.effect_vs_quality(series, metrics, groups="session").summary
    found = pd.read_csv(tmp_path / "out/effect_vs_quality.csv", index_col="metric")
    assert found["verdict"].tolist() == expected["verdict"].tolist()
    assert np.allclose(found["p_removal"], expected["p_removal"], equal_nan=True)
    quantiles = pd.read_csv(tmp_path / "out/metrics_by_session.csv")
    one = quantiles.query("session == 's3' and metric == 'firing_rate'").iloc[0]
    rates = units.loc[units["session"] == "s3", "firing_rate"]
    assert one[["q10", "median", "num_units"]].tolist() == pytest.approx(
        [np.quantile(rates, 0.1), np.median(rates), len(rates)]
    )
    page = result.page.read_text(encoding="utf-8")
    assert 'href="sessions/s3/"' in page
    assert "data:image/png;base64" in page


@pytest.mark.slow
def test_a_summary_while_the_batch_runs(many, tmp_path, monkeypatch):
    monkeypatch.setattr("si_curation.batch.run._SUMMARY_EVERY", 0.0)
    monkeypatch.setattr("si_curation.batch.run._SUMMARY_SHARE", 0.0)
    seen = []

    def write_and_look(batch, recipe, rows, num_waiting=0):
        found = write_summary(batch, recipe, rows, num_waiting)
        text = (batch.folder / "summary.html").read_text(encoding="utf-8")
        sessions = pd.read_csv(batch.folder / "sessions.csv")
        seen.append((len(sessions), num_waiting, "The batch still runs" in text))
        if num_waiting == 2:
            raise OSError("the disk is full for a moment")
        return found

    monkeypatch.setattr("si_curation.batch.run.write_summary", write_and_look)
    folders = [many / "in" / f"s{number}" for number in range(4)]
    result = run(folders, SMALL, tmp_path / "out")
    assert seen == [(1, 3, True), (2, 2, True), (3, 1, True), (4, 0, False)]
    assert result.table["status"].tolist() == ["done"] * 4


def test_an_effect_that_cannot_be_used_is_a_note(many, tmp_path):
    (tmp_path / "e.csv").write_text("session,unit_id,effect\nelse,1,2.0\n")
    recipe = {**SMALL, "effect": {"table": str(tmp_path / "e.csv")}}
    result = run([many / "in" / "s0"], recipe, tmp_path / "out")
    assert result.table["status"].tolist() == ["done"]
    assert "no unit has both" in result.notes[0]


def test_names_are_escaped_on_the_page(many, tmp_path):
    name = "a&b 'c'%#é"
    result = run({name: many / "in" / "s0"}, SMALL, tmp_path / "x")
    page = result.page.read_text(encoding="utf-8")
    assert "a&amp;b &#39;c&#39;%#é" in page
    assert 'href="sessions/a%26b%20%27c%27%25%23%C3%A9/"' in page


# the command, and a process that is killed


@pytest.mark.slow
def test_command(many, tmp_path):
    invoke = CliRunner().invoke
    printed = invoke(batch_command, ["--example-recipe"])
    assert printed.output == sic.example_recipe()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(printed.output, encoding="utf-8")
    arguments = [str(recipe), str(many / "in/s[01]"), "--output", str(tmp_path / "out")]
    done = invoke(batch_command, [*arguments, "--workers", "0"])
    assert done.exit_code == 0, done.output
    assert "BatchResult: 2 sessions (2 done)" in done.output
    arguments.insert(1, str(tmp_path / "none"))
    failed = invoke(batch_command, [*arguments, "--workers", "0"])
    assert failed.exit_code == 1
    assert "none" in failed.output
    assert "does not exist" in failed.output
    assert "(2 skipped: already done, 1 failed)" in failed.output
    wrong = invoke(batch_command, [str(recipe)])
    assert wrong.exit_code == 2
    assert "FOLDER, --output missing" in wrong.output


@pytest.mark.slow
def test_a_killed_process_leaves_nothing_half(many, tmp_path, hash_files):
    out = tmp_path / "out"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(sic.example_recipe(), encoding="utf-8")
    code = "from si_curation.cli import main; main()"
    arguments = [str(recipe), str(many / "in/*"), "--output", str(out), "--workers", "0"]
    environment = {**os.environ, "PYTHONPATH": str(Path(sic.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", code, "batch", *arguments],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def names(hidden):
        there = (out / "sessions").iterdir() if (out / "sessions").is_dir() else []
        return [path.name for path in there if path.name.startswith(".") == hidden]

    deadline = time.monotonic() + 120
    while len(names(False)) < 2 or not names(True):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()
    done, before = sorted(names(False)), hash_files(out / "sessions")
    assert len(done) < 6
    assert len(names(True)) == 1  # half, under a name of its own
    there = inodes(out / "sessions" / done[0])
    result = run(str(many / "in/*"), recipe, out)
    counts = result.table["status"].value_counts().to_dict()
    assert counts == {"done": 6 - len(done), "skipped: already done": len(done)}
    assert names(True) == []
    assert inodes(out / "sessions" / done[0]) == there
    after = hash_files(out / "sessions")
    assert {k: v for k, v in before.items() if k[0] != "."}.items() <= after.items()
    whole = run(str(many / "in/*"), recipe, tmp_path / "whole")
    assert hash_files(whole.output_folder / "sessions") == after


def test_what_is_missing_is_told_before_anything_is_done(tmp_path, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDataError, match=r"si_curation\[batch\]"):
        run([folder], SMALL, tmp_path / "out", num_workers=1)
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(MissingDataError, match=r"si_curation\[nwb\]"):
        run([folder], {"exports": {"nwb": True}}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_nwb_and_report(tmp_path, folder):
    import pynwb

    table = pd.DataFrame({"session": ["one"], "folder": [str(folder)], "t_start": [2.5]})
    table["session_start_time"] = "2024-01-01T10:00:00+01:00"
    metadata = {"NWBFile": {"session_description": "test", "identifier": "x"}}
    report = {"title": "{session}!"}
    recipe = {**SMALL, "exports": {"nwb": {"metadata": metadata}}, "report": report}
    first = run(table, recipe, tmp_path / "a")
    assert first.table["error"].tolist() == [""]
    out = tmp_path / "a" / "sessions" / "one"
    assert "one!" in (out / "report.html").read_text(encoding="utf-8")
    assert 'href="sessions/one/report.html"' in first.page.read_text(encoding="utf-8")
    analyzer = sic.read_kilosort_as_analyzer(folder)
    with pynwb.NWBHDF5IO(out / "one.nwb", "r") as io:
        found = io.read()
        units = found.units.to_dataframe()
        assert found.session_id == "one"
        assert found.session_start_time.isoformat() == "2024-01-01T10:00:00+01:00"
    assert "waveform_mean is left out" in first.table["warnings"][0]
    assert len(units) == len(analyzer.unit_ids)
    spikes = analyzer.sorting.get_unit_spike_train(analyzer.unit_ids[0])
    expected = 2.5 + spikes / analyzer.sampling_frequency
    assert np.allclose(units["spike_times"].iloc[0], expected, rtol=0, atol=1e-9)
    run(table, recipe, tmp_path / "b")
    again = tmp_path / "b" / "sessions" / "one" / "report.html"
    pages = [page.read_text(encoding="utf-8") for page in (out / "report.html", again)]
    # the two may be made in different minutes
    lines = [re.sub(r"made [^<]*", "made", page).splitlines() for page in pages]
    assert lines[0] == lines[1]


@pytest.mark.slow
def test_pages_have_the_calibrations_of_the_recipe(tmp_path, folder):
    known = sic.Calibration("merges", -2.0, 4.0, (0.1, 0.0, 0.1), 0.0, 1.0, 100, 60, 3)
    for name in ("calibration_merges.json", "again.json"):
        known.to_json(tmp_path / name)
    recipe = {"report": {"calibrations": [str(tmp_path / "calibration_merges.json")]}}
    result = run({"one": folder}, recipe, tmp_path / "out")
    assert result.table["error"].tolist() == [""]
    page = (tmp_path / "out/sessions/one/report.html").read_text(encoding="utf-8")
    plain = run({"one": folder}, {"report": True}, tmp_path / "plain")
    before = (plain.output_folder / "sessions/one/report.html").read_text(encoding="utf-8")
    assert "robab" in page
    assert page.count("robab") > before.count("robab")
    known.to_json(tmp_path / "calibration_merges.json", overwrite=True)
    assert run({"one": folder}, recipe, tmp_path / "out").table["status"][0].startswith("skipped")
    files = [str(tmp_path / name) for name in ("calibration_merges.json", "again.json")]
    with pytest.raises(ParameterError, match="two are of merges"):
        sic.read_recipe({"report": {"calibrations": files}})
    with pytest.raises(ParameterError, match=r"nothing\.json does not exist"):
        sic.read_recipe({"report": {"calibrations": ["nothing.json"]}})


def test_the_text_of_a_recipe_is_one():
    text = sic.example_recipe()
    assert sic.read_recipe(text) == sic.read_recipe(yaml.safe_load(text))
    with pytest.raises(ParameterError, match="recipe holds str"):
        sic.read_recipe("no keys\nand no values")


# two at once, and killed in the first moments


def test_two_batches_do_not_share_an_output(tmp_path, folder, monkeypatch):
    output = tmp_path / "out"
    seen = []
    original = batch_session.read_session

    def meanwhile(*args):
        before = inodes(output)
        with pytest.raises(sic.InUseError, match="another batch works on this output: wait until"):
            run([folder], SMALL, output)
        assert inodes(output) == before
        seen.append(1)
        return original(*args)

    monkeypatch.setattr(batch_session, "read_session", meanwhile)
    assert run([folder], SMALL, output).table["status"].tolist() == ["done"]
    assert seen == [1]
    assert run([folder], SMALL, output).table["status"].tolist() == ["skipped: already done"]


def test_what_another_batch_is_writing_is_left(tmp_path, folder):
    """A worker can outlive a batch that was killed."""
    output = tmp_path / "out"
    run([folder], SMALL, output)
    (done,) = (path for path in (output / "sessions").iterdir())
    shutil.rmtree(done)
    with new_folder(done) as part:
        (part / "half").touch()
        stale = part.with_name(f".{done.name}.01234567.tmp")
        stale.mkdir()
        assert run([folder], SMALL, output).table["status"].tolist() == ["done"]
        assert (part / "half").exists()
        assert not stale.exists()
        shutil.rmtree(done)


def test_a_batch_killed_in_its_first_moments_goes_on(tmp_path, monkeypatch):
    output = tmp_path / "out"
    recipe = read_recipe(SMALL)

    def start():
        with batch_run._prepared(output, [], recipe):
            pass

    def check(failed):
        start()
        assert json.loads((output / "batch.json").read_text())["what"] == "si_curation batch"
        assert not [path for path in output.iterdir() if path.name.endswith(".tmp")]

    faults = Faults(kill=True)
    assert faults.each(lambda: shutil.rmtree(output, ignore_errors=True), start, check) >= 5
    (output / "batch.json").unlink()
    (output / "mine.txt").touch()
    with pytest.raises(OutputExistsError, match="files that are not of a batch"):
        start()
