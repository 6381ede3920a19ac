"""What a curation file says survives the GUI: definitions, labels, merges, splits, removals."""

import json
import os

import numpy as np
import pytest
from spikeinterface.curation.curation_model import Curation

import si_curation as sic
from si_curation.gui.curation_file import CurationFile, check_writable, default_curation_json


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


UNITS = [4, 7, 8, 9, 10, 11, 12, 13]  # 8 noise, 10 mua, 13 good
QUALITY = {"quality": {"label_options": ["good", "mua", "noise", "unsorted"], "exclusive": True}}


def written(path, **given):
    path.write_text(json.dumps({"format_version": "2", "unit_ids": UNITS, **given}))
    return path


def through_the_gui(analyzer, path, change=lambda curation: None):
    """Load a file as the GUI does, and save what the GUI hands over: its model's content."""
    file = CurationFile(path)
    start = file.start(analyzer)
    change(start)
    file.save(Curation(**start).model_dump())
    return start


def labels_in(start):
    return {
        (one["unit_id"], name): own
        for one in start["manual_labels"]
        for name, own in one["labels"].items()
    }


def test_suggestions_keep_the_labels(analyzer, tmp_path):
    found = sic.suggest_merges(analyzer, score_threshold=0.0)
    path = found.to_curation_json(tmp_path / "merges.json")
    content = json.loads(path.read_text())
    assert content["label_definitions"]["quality"]["label_options"] == ["good", "noise", "MUA"]
    known = {8: "noise", 10: "MUA", 13: "good"}
    shown = [{"unit_id": i, "labels": {"quality": [one]}} for i, one in known.items()]
    assert content["manual_labels"] == shown
    Curation(**content)  # SpikeInterface reads it
    # labels that changed since the file was written are not set back
    session = sic.CurationSession(analyzer)
    session.label([13], "mua")
    session.apply_spikeinterface_curation(path)
    assert "good" not in session.table["group"].tolist()
    start = through_the_gui(analyzer, path)
    assert {i: own for (i, _), own in labels_in(start).items()} == {
        i: [one] for i, one in known.items()
    }
    assert [m["unit_ids"] for m in start["merges"]] == [m["unit_ids"] for m in content["merges"]]
    assert "labels_decided" not in json.loads(path.read_text())  # saved by hand: decided


def test_all_that_a_file_says_survives(analyzer, tmp_path):
    num_spikes = analyzer.sorting.count_num_spikes_per_unit(outputs="dict")
    parts = (np.arange(num_spikes[7]) % 3).tolist()
    definitions = {
        **QUALITY,
        "cell": {"label_options": ["pyramidal", "fast"], "exclusive": True},
        "notes": {"label_options": ["drifts", "bursts", "odd"], "exclusive": False},
    }
    path = written(
        tmp_path / "all.json",
        label_definitions=definitions,
        manual_labels=[
            {"unit_id": 4, "labels": {"quality": ["mua"], "cell": ["fast"]}},
            {"unit_id": 9, "labels": {"notes": ["drifts", "odd"]}},
            {"unit_id": 13, "labels": {"quality": ["unsorted"], "cell": ["pyramidal"]}},
        ],
        merges=[{"unit_ids": [11, 12], "new_unit_id": 77}],
        splits=[{"unit_id": 7, "mode": "labels", "labels": parts}],
        removed=[10],
        discard_spikes=[{"unit_id": 9, "indices": [0, 5]}],
    )
    whole = sic.CurationSession(analyzer)
    whole.apply_spikeinterface_curation(path)
    for _ in range(2):  # and a second time, from what was saved
        start = through_the_gui(analyzer, path)
        assert labels_in(start) == {
            (4, "quality"): ["MUA"],
            (4, "cell"): ["fast"],
            (8, "quality"): ["noise"],
            (9, "notes"): ["drifts", "odd"],
            (10, "quality"): ["MUA"],
            (13, "cell"): ["pyramidal"],
        }
        assert {name: one["exclusive"] for name, one in start["label_definitions"].items()} == {
            "quality": True,
            "cell": True,
            "notes": False,
        }
        assert start["label_definitions"]["quality"]["label_options"] == ["good", "noise", "MUA"]
        (split,) = start["splits"]
        assert split["mode"] == "indices"
        assert [len(part) for part in split["indices"]] == np.bincount(parts).tolist()
        again = sic.CurationSession(analyzer)
        again.apply_spikeinterface_curation(path)
        assert again.table.equals(whole.table)
        assert 77 in again.unit_ids
        for unit_id in whole.unit_ids:
            np.testing.assert_array_equal(again.get_spikes(unit_id), whole.get_spikes(unit_id))
    assert again.table.loc[13, "group"] == "unsorted"


def test_labels_that_nobody_changed_are_no_steps(analyzer, tmp_path):
    path = tmp_path / "new.json"

    def relabel(curation):
        (entry,) = [one for one in curation["manual_labels"] if one["unit_id"] == 10]
        entry["labels"]["quality"] = ["good"]

    through_the_gui(analyzer, path, relabel)
    session = sic.CurationSession(analyzer)
    session.apply_spikeinterface_curation(path)
    assert session.history["operation"].tolist() == ["label"]
    assert session.table["group"][10] == "good"


def test_what_a_page_keeps_in_its_file_stays_there(analyzer, tmp_path):
    own = {"rejected": [[4, 7]], "name": "a page"}
    path = written(tmp_path / "page.json", si_curation=own, label_definitions=QUALITY)
    through_the_gui(analyzer, path)
    assert json.loads(path.read_text())["si_curation"] == own


def test_group_that_is_taken_away_beside_another_label(analyzer, tmp_path):
    definitions = {**QUALITY, "cell": {"label_options": ["a", "b"], "exclusive": True}}
    labels = [{"unit_id": 13, "labels": {"cell": ["a"]}}]
    path = written(tmp_path / "c.json", label_definitions=definitions, manual_labels=labels)

    def take_away(curation):
        (entry,) = [one for one in curation["manual_labels"] if one["unit_id"] == 13]
        assert entry["labels"].pop("quality") == ["good"]

    through_the_gui(analyzer, path, take_away)
    session = sic.CurationSession(analyzer)
    session.apply_spikeinterface_curation(path)
    assert session.table.loc[13, "group"] == "unsorted"
    again = CurationFile(path).start(analyzer)
    assert (13, "quality") not in labels_in(again)
    assert again["label_definitions"]["quality"]["label_options"] == ["good", "noise", "MUA"]


def test_labels_of_ones_own_are_left_as_they_are(analyzer, tmp_path):
    own = {"quality": {"label_options": ["keep", "drop"], "exclusive": True}}
    labels = [{"unit_id": 13, "labels": {"quality": ["keep"]}}]
    path = written(tmp_path / "own.json", label_definitions=own, manual_labels=labels)
    start = through_the_gui(analyzer, path)
    assert start["label_definitions"]["quality"]["label_options"] == ["keep", "drop"]
    assert labels_in(start) == {(13, "quality"): ["keep"]}


def test_place_by_default(analyzer, simulate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = simulate(num_templates=4, num_spikes=200).folder
    read = sic.read_kilosort_as_analyzer(folder)
    beside = folder.parent / f"{folder.name}_curation.json"
    assert default_curation_json(read) == beside
    zarr = read.save_as(format="zarr", folder=tmp_path / "saved.zarr")
    assert default_curation_json(zarr) == tmp_path / "saved_curation.json"
    saved = read.save_as(format="binary_folder", folder=tmp_path / "saved")
    inside = tmp_path / "saved" / "spikeinterface_gui" / "curation_data.json"
    assert default_curation_json(saved) == inside
    # what is in the package is not written beside
    name = f"{sic.example_folder().name}_curation.json"
    assert default_curation_json(analyzer) == tmp_path / name
    # a folder that cannot be written: the working directory
    real = os.access
    locked = (folder.parent, tmp_path / "saved")
    monkeypatch.setattr(os, "access", lambda p, mode: p not in locked and real(p, mode))
    assert default_curation_json(read) == tmp_path / beside.name
    assert default_curation_json(saved) == tmp_path / "saved_curation.json"
    with pytest.raises(sic.ParameterError, match="cannot be written; give a curation_json"):
        check_writable(folder.parent / "a.json")


def test_files_of_others_are_passed_over(analyzer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = default_curation_json(analyzer)
    first.write_text("no curation")
    second = default_curation_json(analyzer)
    assert second.name == first.name.replace("curation.json", "curation_2.json")
    second.write_text(json.dumps({"format_version": "2", "unit_ids": [1, 2]}))
    third = default_curation_json(analyzer)
    assert third.name.endswith("curation_3.json")
    written(third)
    assert default_curation_json(analyzer) == third
