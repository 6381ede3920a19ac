"""Merges that are proposed to phy, and its decisions on them, there and back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import spikeinterface.core as si
from spikeinterface.curation.curation_model import Curation

import si_curation as sic
from si_curation.evidence.duplicates import DuplicateUnits
from si_curation.evidence.merges import MergeSuggestions
from si_curation.evidence.phy_reviews import key_of_proposal
from si_curation.variables import DUPLICATES, PHY_REVIEWS


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(sic.example_folder(), tmp_path / "phy")


@pytest.fixture(scope="module")
def merges(analyzer):
    """All pairs of similar units, of which two groups are suggested."""
    return sic.suggest_merges(analyzer, min_similarity=0.0, score_threshold=0.01)


def labelled(analyzer, rule, **options):
    counts = analyzer.sorting.count_num_spikes_per_unit()
    metrics = pd.DataFrame({"num_spikes": pd.Series(counts)})
    return sic.label_units(analyzer, [rule], metrics, **options)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".si_curation" not in path.name
    }


def decide(folder, decisions, curation="curation.json"):
    """What phy writes when it saves: {units: decision, or (applied units, result)}."""
    source = (folder / curation).read_bytes()
    reviews = {}
    for ids, decision in decisions.items():
        record = {"decision": "rejected"}
        if decision != "rejected":
            applied, result = decision
            record = {
                "decision": "accepted",
                "applied_unit_ids": list(applied),
                "result_unit_id": result,
            }
        reviews[key_of_proposal(ids)] = record
    content = {
        "format_version": "1",
        "source": {"filename": curation, "sha256": hashlib.sha256(source).hexdigest()},
        "reviews": reviews,
        "of_a_later_phy": {"note": 1},
    }
    (folder / "curation_review.json").write_text(json.dumps(content, indent=2, sort_keys=True))


def test_written_as_phy_and_spikeinterface_read_it(analyzer, folder, merges):
    before = contents(folder)
    rules = labelled(analyzer, ("num_spikes", "<", 500, "noise"), otherwise="good")
    plan = sic.plan_curation(analyzer)
    written = sic.write_phy_proposals(folder, [merges, plan, rules])
    assert written.replaced is None
    content = json.loads((folder / "curation.json").read_text(encoding="utf-8"))
    assert content["format_version"] == "2"
    assert content["unit_ids"] == analyzer.unit_ids.tolist()
    proposed = [tuple(merge["unit_ids"]) for merge in content["merges"]]
    groups = {frozenset(group) for group in merges.groups()}
    groups |= {frozenset(step.unit_ids) for step in plan.steps if step.kind == "merge"}
    assert {frozenset(ids) for ids in proposed} == groups
    assert len(proposed) == len(groups)
    scores = [merge["score"] for merge in content["merges"]]
    assert scores == sorted(scores, reverse=True)
    sizes = {i: len(analyzer.sorting.get_unit_spike_train(i)) for i in analyzer.unit_ids.tolist()}
    assert all(sizes[ids[0]] == max(sizes[i] for i in ids) for ids in proposed)
    model = Curation(**content)
    labels = {one.unit_id: one.labels["quality"] for one in model.manual_labels}
    assert labels == {i: [label] for i, label in rules.labels.items()}
    assert len(model.splits) == sum(step.kind in ("split", "clean") for step in plan.steps)
    # everything else is as it was
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert list(written.table.columns) == list(PHY_REVIEWS)
    assert written.table["status"].unique().tolist() == ["pending"]
    assert str(written.table["result_unit_id"].dtype) == "Int64"
    assert (written.table["reason"] != "").all()


def test_an_existing_file_is_named_kept_and_restored(analyzer, folder, merges):
    there = {
        "format_version": "2",
        "unit_ids": [4, 7, 8, 11, 12],
        "merges": [
            # another order than ours: its key is that of phy's decision
            {"unit_ids": sorted(merges.groups()[0], reverse=True), "by": "pipeline"},
            {"unit_ids": [7, 8]},
        ],
        "manual_labels": [{"unit_id": 4, "labels": {"quality": ["good"]}}],
        "pipeline": {"name": "aind", "version": [1, 2]},
    }
    path = folder / "curation.json"
    path.write_text(json.dumps(there))
    text = path.read_bytes()
    kept = tuple(there["merges"][0]["unit_ids"])
    decide(folder, {kept: "rejected", (7, 8): ((7, 8), 14)})
    with pytest.raises(sic.OutputExistsError) as fault:
        sic.write_phy_proposals(folder, merges)
    assert "holds 2 merges, 1 manual_labels, 0 splits, 0 removed of 5 units" in str(fault.value)
    assert "phy decided on 2 of them" in str(fault.value)
    assert path.read_bytes() == text
    written = sic.write_phy_proposals(folder, merges, overwrite=True)
    assert written.replaced == {
        "unit_ids": 5,
        "merges": 2,
        "manual_labels": 1,
        "splits": 0,
        "removed": 0,
    }
    assert (written.backup / "files" / "curation.json").read_bytes() == text
    content = json.loads(path.read_text())
    assert content["pipeline"] == there["pipeline"]
    entry = next(one for one in content["merges"] if set(one["unit_ids"]) == set(kept))
    assert (tuple(entry["unit_ids"]), entry["by"]) == (kept, "pipeline")
    reviews = sic.read_phy_reviews(folder)
    status = dict(zip(reviews.table["unit_ids"], reviews.table["status"], strict=True))
    assert status[kept] == "rejected"
    assert status[()] == "orphaned"  # of 7 and 8
    assert reviews.source_changed
    assert reviews.review["of_a_later_phy"] == {"note": 1}
    assert reviews.curation["pipeline"] == there["pipeline"]
    again = sic.write_phy_proposals(folder, merges, overwrite=True)
    assert again.backup is None  # the same
    assert sic.restore_phy_folder(folder) == [path]
    assert path.read_bytes() == text


def test_what_cannot_be_read_is_replaced_when_asked_only(folder, merges):
    path = folder / "curation.json"
    for content in (b"\xff\xfe{", b"{" * 5000, b"[1, 2]", b""):
        path.write_bytes(content)
        with pytest.raises(sic.OutputExistsError, match="holds what could not be read"):
            sic.write_phy_proposals(folder, merges)
        assert path.read_bytes() == content
        written = sic.write_phy_proposals(folder, merges, overwrite=True)
        assert written.replaced == {}
        assert (written.backup / "files" / "curation.json").read_bytes() == content
        path.unlink()
    path.mkdir()
    with pytest.raises(sic.ParameterError, match="is a folder"):
        sic.write_phy_proposals(folder, merges, overwrite=True)
    path.rmdir()
    os.symlink(folder / "nothing", path)
    with pytest.raises(sic.ParameterError, match="link to a file that is not there"):
        sic.write_phy_proposals(folder, merges)
    assert not (folder / "nothing").exists()


def test_suggestions_of_other_units_are_refused(analyzer, folder, merges, tmp_path):
    before = contents(folder)
    session = sic.CurationSession(analyzer)
    session.merge([11, 12])
    curated = session.apply()
    with pytest.raises(sic.ParameterError, match=r"units \[14\] are no clusters of .*phy"):
        sic.write_phy_proposals(folder, sic.suggest_merges(curated))
    rules = labelled(analyzer, ("num_spikes", ">", 0, "junk"))
    clusters = np.load(folder / "spike_clusters.npy")
    clusters[np.flatnonzero(clusters == 11)[:5]] = 12
    np.save(folder / "spike_clusters.npy", clusters)
    with pytest.raises(sic.ParameterError) as fault:
        sic.write_phy_proposals(folder, [sic.plan_curation(analyzer), rules])
    assert "another number of spikes there: 11 (" in str(fault.value)
    assert "'junk', expected one of" in str(fault.value)
    with pytest.raises(sic.ParameterError, match="suggestions are"):
        sic.write_phy_proposals(folder, [])
    with pytest.raises(sic.FolderNotFoundError, match="is a file"):
        sic.write_phy_proposals(folder / "params.py", merges)
    (tmp_path / "empty").mkdir()
    with pytest.raises(sic.PhyFolderError, match="spike_clusters"):
        sic.write_phy_proposals(tmp_path / "empty", merges)
    (folder / "spike_clusters.npy").write_bytes(before["spike_clusters.npy"])
    assert contents(folder) == before


def test_duplicates_and_labels_of_other_fields(analyzer, folder):
    row = {name: 0 for name in DUPLICATES} | {"unit_id": 12, "duplicate_of": 11, "share": 0.9}
    found = DuplicateUnits(pd.DataFrame([row]), analyzer.unit_ids)
    rules = labelled(analyzer, ("num_spikes", ">", 0, "busy"))
    sic.write_phy_proposals(folder, [found, rules], field="activity")
    content = json.loads((folder / "curation.json").read_text())
    assert [set(merge["unit_ids"]) for merge in content["merges"]] == [{11, 12}]
    assert content["label_definitions"]["activity"]["exclusive"]
    Curation(**content)
    session = sic.CurationSession(analyzer)
    session.apply_spikeinterface_curation(folder / "curation.json")
    assert 14 in session.unit_ids
    assert session.table["activity"].tolist() == ["busy"] * 7


def test_every_status(analyzer, folder):
    content = {
        "format_version": "2",
        "unit_ids": [4, 7, 8, 9, 10, 11, 12, 13, 99],
        "merges": [
            {"unit_ids": [4, 7], "score": 0.5},
            {"unit_ids": [8, 9], "score": "high"},
            {"unit_ids": [9, 10]},
            {"unit_ids": [11, 12]},
            {"unit_ids": [4, 99]},  # 99 is no cluster any more
            {"unit_ids": [4, 100]},
            {"unit_ids": [4]},
            {"unit_ids": [4, 4]},
            {"unit_ids": [True, 4]},
            {"unit_ids": None},
            3,
            {"unit_ids": [4, 7]},
            {"unit_ids": ["13", "10"]},
        ],
    }
    (folder / "curation.json").write_text(json.dumps(content))
    decide(
        folder,
        {
            (8, 9): "rejected",
            (9, 10): ((9, 10), 14),
            (11, 12): ((11, 12, 13), 15),
            (1, 2): "rejected",
        },
    )
    found = sic.read_phy_reviews(folder, sic.suggest_merges(analyzer))
    assert found.table["status"].tolist() == [
        "pending",
        "rejected",
        "accepted",
        "accepted with changes",
        "stale",
        *["invalid"] * 7,
        "pending",
        "orphaned",
    ]
    assert found.table["unit_ids"].tolist()[12] == (13, 10)
    assert found.table["result_unit_id"].dropna().tolist() == [14, 15]
    assert found.table["score"].iloc[0] == 0.5
    assert found.table["score"].iloc[3] > 0.5  # of the suggestions
    assert np.isnan(found.table["score"].iloc[1])
    assert (found.table["problem"] != "").tolist() == [False] * 4 + [True] * 8 + [False, True]
    assert not found.source_changed
    assert "13 proposed merges (2 pending, 1 accepted," in repr(found)


def test_into_a_session_before_and_after(analyzer, folder, tmp_path):
    """Accepted merges are steps where the units are there; all decisions are in the history."""
    content = {
        "format_version": "2",
        "unit_ids": analyzer.unit_ids.tolist(),
        "merges": [{"unit_ids": ids} for ids in ([14, 10], [4, 7], [11, 12], [8, 9, 10], [7, 8])],
    }
    content["unit_ids"].append(14)
    (folder / "curation.json").write_text(json.dumps(content))
    # the second is made of what the first gave
    decisions = {
        (14, 10): ((14, 10), 20),
        (11, 12): ((11, 12), 14),
        (4, 7): "rejected",
        (8, 9, 10): "rejected",
    }
    decide(folder, decisions)
    reviews = sic.read_phy_reviews(folder)
    with sic.CurationSession(analyzer, journal=tmp_path / "journal") as session:
        made = reviews.apply_to(session, decided_by="Ada")
        merged = key_of_proposal([11, 12]), key_of_proposal([14, 10])
        assert [made[key] for key in merged] == [[14], [20]]
        assert made[key_of_proposal([4, 7])] == []
        assert session.unit_ids == [4, 7, 8, 9, 13, 20]
    history = session.history
    assert history["operation"].tolist() == ["merge", "merge", "review", "review"]
    assert history["decided_by"].unique().tolist() == ["Ada"]
    assert history["value"].tolist()[2:] == ["rejected", "rejected"]
    assert "saved it at 20" in history["reason"].iloc[0]
    with sic.CurationSession.resume(analyzer, tmp_path / "journal") as again:
        assert again.history["value"].tolist()[2:] == ["rejected", "rejected"]
        assert again.undo() == "review"
        assert again.redo() == "review"
        other = sic.CurationSession(analyzer)
        other.repeat(again)
        assert other.unit_ids == session.unit_ids
        assert other.history["operation"].tolist() == history["operation"].tolist()
    curated = session.apply()
    assert sic.reconstruct_lineage(curated).loc[20, "event"] == "merged"
    # the folder as phy saved it: nothing is left to do, everything is noted
    after = sic.CurationSession(curated)
    made = reviews.apply_to(after)
    assert set(map(tuple, made.values())) == {()}
    assert after.history["value"].tolist() == ["accepted", "rejected", "accepted", "rejected"]
    assert after.history["outputs"].tolist()[0] == [20]
    assert after.unit_ids == session.unit_ids
    # both are in what is kept of the sessions
    kept = sic.CurationSession(after.apply())
    assert kept.unit_ids == session.unit_ids
    # what was rejected calibrates
    table = pairs_of([(4, 7), (11, 12), (7, 8)])
    suggestions = MergeSuggestions(table, analyzer.unit_ids, 0.5)
    of_session = sic.outcomes_of_reviews(session, suggestions)
    assert of_session["is_right"].tolist() == [False, True]
    of_phy = sic.outcomes_of_reviews(reviews, suggestions)
    assert of_phy["is_right"].tolist() == [False, True]


def pairs_of(pairs):
    rows = [
        {"unit_id_a": a, "unit_id_b": b, "score": 0.9 - 0.1 * n} for n, (a, b) in enumerate(pairs)
    ]
    return pd.DataFrame(rows)


def test_a_session_of_units_with_names_is_refused(folder, analyzer, merges):
    sic.write_phy_proposals(folder, merges)
    sorting = si.NumpySorting.from_unit_dict(
        {"a": np.array([10, 20]), "b": np.array([15, 30])}, 1000.0
    )
    recording = si.NumpyRecording([np.zeros((100, 2))], 1000.0)
    recording.set_dummy_probe_from_locations(np.array([[0.0, 0.0], [0.0, 20.0]]))
    named = si.create_sorting_analyzer(sorting, recording, sparse=False)
    named.compute(["random_spikes", "templates"])
    session = sic.CurationSession(named)
    with pytest.raises(sic.ParameterError, match="no whole numbers"):
        sic.read_phy_reviews(folder).apply_to(session)
    with pytest.raises(sic.ParameterError, match="unit ids are strings here"):
        session.note_review([1, 2], "rejected")
    with pytest.raises(sic.ParameterError, match="two different ones or more"):
        session.note_review(["a", "a"], "rejected")
    assert len(session.history) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "has no reviews"),
        ("[]", "has no reviews"),
        ('{"format_version": "7", "reviews": {}}', "format_version is '7'"),
        ('{"reviews": {"merge:0123456789abcdef": {"decision": "maybe"}}}', "the review"),
        ("not json", "cannot be read"),
        ("\udcff", "cannot be read"),
    ],
)
def test_damaged_reviews(folder, content, message):
    (folder / "curation_review.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(sic.ParameterError, match=message):
        sic.read_phy_reviews(folder)


def test_other_programs(folder):
    """AIND leaves out version and units; SpikeInterface 1 and sortingview have other names."""
    files = [
        {"merges": [{"unit_ids": [4, 7], "confidence": 0.3}]},
        {"format_version": "1", "unit_ids": [4, 7], "merge_unit_groups": [[4, 7]]},
        {"labelsByUnit": {}, "mergeGroups": [[4, 7]]},
        {"format_version": "2", "unit_ids": [4, 7], "merges": {"20": [4, 7]}},
        {"format_version": "2", "unit_ids": ["4", "7"], "merges": [["4", "7"]]},
    ]
    for content in files:
        (folder / "curation.json").write_text(json.dumps(content))
        found = sic.read_phy_reviews(folder)
        assert found.table[["unit_ids", "status"]].values.tolist() == [[(4, 7), "pending"]]
        assert found.curation == content


def test_many_proposals_are_read_quickly(folder, merges):
    ids = list(range(3000))
    content = {"unit_ids": ids, "merges": [{"unit_ids": [i, i + 1]} for i in ids[:-1]]}
    content["merges"].append({"unit_ids": ids})
    (folder / "curation.json").write_text(json.dumps(content))
    assert len(sic.read_phy_reviews(folder, merges).table) == 3000
