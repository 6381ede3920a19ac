"""To SpikeInterface's curation format and back, beside `spikeinterface.curation`."""

from __future__ import annotations

import json

import numpy as np
import pytest
import spikeinterface.core as sc
import spikeinterface.postprocessing.template_similarity
from spikeinterface.core import NumpySorting
from spikeinterface.curation import apply_curation
from spikeinterface.curation.curation_model import Curation, SequentialCuration

import si_curation as sic
from si_curation.errors import FolderNotFoundError, ParameterError, SiCurationError

QUALITY = {"quality": {"label_options": ["good", "noise", "MUA"], "exclusive": True}}
ARTIFACT = {"artifact": {"label_options": ["burst", "drift"], "exclusive": False}}


@pytest.fixture(scope="module", autouse=True)
def nothing_to_compile():
    """SpikeInterface's similarities in numpy: compiling the others takes half a minute."""
    module = spikeinterface.postprocessing.template_similarity
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_compute_similarity_matrix", module._compute_similarity_matrix_numpy)
        yield


@pytest.fixture(scope="module")
def analyzer(simulate):
    """Few channels, so that SpikeInterface can merge any two units."""
    folder = simulate(
        num_templates=12,
        num_channels=8,
        num_spikes=600,
        labels={1: "good", 2: "noise", 5: "mua"},
        write_features=False,
        seed=6,
    ).folder
    return sic.read_kilosort_as_analyzer(folder)


@pytest.fixture
def session(analyzer):
    return sic.CurationSession(analyzer)


def copy_of(sorting):
    return NumpySorting.from_sorting(sorting, with_metadata=True, copy_spike_vector=True)


def trains_of(sorting):
    return {i.item(): tuple(sorting.get_unit_spike_train(i, 0).tolist()) for i in sorting.unit_ids}


def trains_in(session):
    samples = session.sorting_analyzer.sorting.to_spike_vector()["sample_index"]
    return {i: tuple(samples[session.get_spikes(i)].tolist()) for i in session.unit_ids}


def random_steps(session, rng, count):
    for _ in range(count):
        ids = session.unit_ids
        kind = rng.choice(["merge", "merge", "split", "label", "note", "remove", "undo"])
        if kind == "merge" and len(ids) > 4:
            session.merge(rng.choice(ids, rng.integers(2, 4), replace=False).tolist())
        elif kind == "split":
            unit_id = max(ids, key=lambda i: session.get_spikes(i).size)
            size = session.get_spikes(unit_id).size
            session.split(unit_id, rng.permutation(np.arange(size) % rng.integers(2, 4)))
        elif kind == "label":
            session.label(rng.choice(ids, 2).tolist()[:1], str(rng.choice(["good", "noise"])))
        elif kind == "note":
            session.label(
                rng.choice(ids, 2, replace=False).tolist(), str(rng.choice(["x", "y"])), "note"
            )
        elif kind == "remove" and len(ids) > 5:
            session.remove([int(rng.choice(ids))])
        elif kind == "undo":
            session.undo()


# ------------------------------------------------------------------------ to SpikeInterface


@pytest.mark.filterwarnings("ignore::si_curation.errors.SiCurationWarning")
@pytest.mark.filterwarnings("ignore:Splitting templates without")
@pytest.mark.parametrize("seed", range(8))
def test_spikeinterface_does_the_same(analyzer, session, seed, tmp_path):
    random_steps(session, np.random.default_rng(seed), 12)
    model = session.to_spikeinterface_curation()
    assert isinstance(model, SequentialCuration)
    path = tmp_path / "curation.json"
    path.write_text(model.model_dump_json())
    read_back = SequentialCuration(**json.loads(path.read_text()))
    assert read_back == model
    expected = session.apply()
    quality = dict(zip(session.unit_ids, session.table["group"], strict=True))
    notes = session.table["note"].fillna("") if "note" in session.table else None
    for curation in (model, read_back):
        found = apply_curation(copy_of(analyzer.sorting), curation)
        assert trains_of(found) == trains_of(expected.sorting) == trains_in(session)
        assert dict(zip(found.unit_ids, found.get_property("quality"), strict=True)) == quality
        if notes is not None:
            labels = dict(zip(found.unit_ids, found.get_property("note"), strict=True))
            assert labels == notes.to_dict()
    curated = apply_curation(analyzer.copy(), model, sparsity_overlap=0.0)
    assert trains_of(curated.sorting) == trains_of(expected.sorting)
    assert dict(zip(curated.unit_ids, curated.get_sorting_property("quality"), strict=True)) == (
        quality
    )
    rows = [list(curated.unit_ids).index(i) for i in expected.unit_ids]
    np.testing.assert_allclose(  # our extension puts right what SpikeInterface merges
        curated.get_extension("templates").get_data()[rows],
        expected.get_extension("templates").get_data(),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_session_does_its_own_model(analyzer, session, seed, tmp_path):
    random_steps(session, np.random.default_rng(seed + 100), 12)
    path = tmp_path / "curation.json"
    path.write_text(session.to_spikeinterface_curation().model_dump_json())
    other = sic.CurationSession(analyzer)
    renamed = other.apply_spikeinterface_curation(path)
    assert renamed == {}
    assert trains_in(other) == trains_in(session)
    assert other.table["group"].to_dict() == session.table["group"].to_dict()


def test_model_of_no_steps(analyzer, session):
    model = session.to_spikeinterface_curation()
    assert len(model.curation_steps) == 1
    found = apply_curation(copy_of(analyzer.sorting), model)
    assert found.get_property("quality").tolist() == session.table["group"].tolist()
    assert trains_of(found) == trains_in(session)


def test_undone_steps_are_not_in_the_model(session):
    start = session.to_spikeinterface_curation()
    session.merge(session.unit_ids[:2])
    session.label(session.unit_ids[:1], "x", "note")
    session.undo()
    session.undo()
    assert session.to_spikeinterface_curation() == start


def test_labels_of_other_fields(analyzer, session):
    a, b = session.unit_ids[:2]
    session.label([a], 3, "rank")
    session.label([b], None, "other")
    last = session.to_spikeinterface_curation().curation_steps[-1]
    assert last.label_definitions["rank"].exclusive
    assert len(last.label_definitions["other"].label_options) >= 2
    found = apply_curation(copy_of(analyzer.sorting), session.to_spikeinterface_curation())
    assert found.get_property("rank").tolist() == ["3"] + [""] * (len(session.unit_ids) - 1)


# ---------------------------------------------------------------------- from SpikeInterface


def version_1(ids):
    return {
        "format_version": "1",
        "unit_ids": ids,
        "label_definitions": QUALITY,
        "manual_labels": [{"unit_id": ids[0], "quality": ["good"]}],
        "merge_unit_groups": [[ids[1], ids[2]], [ids[3], ids[4], ids[5]]],
        "removed_units": [ids[6], ids[7]],
    }


def version_0(ids):
    labels = {str(i): ["artifact"] if i == ids[0] else ["accept"] for i in ids}
    return {"labelsByUnit": labels, "mergeGroups": [[ids[1], ids[2]]]}


def version_2(ids, **values):
    return {"format_version": "2", "unit_ids": ids, **values}


def everything(ids):
    return version_2(
        ids,
        label_definitions={**QUALITY, **ARTIFACT},
        manual_labels=[
            {"unit_id": ids[0], "labels": {"quality": ["noise"], "artifact": ["drift", "burst"]}},
            {"unit_id": ids[8], "labels": {"quality": ["MUA"]}},
            {"unit_id": ids[9], "quality": ["good"]},
        ],
        removed=[ids[6]],
        merges=[{"unit_ids": [ids[2], ids[1]]}, {"unit_ids": [ids[3], ids[4]]}],
        splits=[
            {"unit_id": ids[5], "mode": "indices", "indices": [[0, 3], [2]]},
            {"unit_id": ids[7], "mode": "indices", "indices": [[1, 2]]},
        ],
    )


def named(ids):
    return version_2(
        ids,
        merges=[{"unit_ids": [ids[1], ids[2]], "new_unit_id": 70}],
        splits=[{"unit_id": ids[3], "indices": [[0]], "new_unit_ids": [71, 75]}],
    )


def merges_of_lists(ids):
    return version_2(ids, merges=[[ids[1], ids[2]]], splits={ids[3]: [[0], [2]]})


CURATIONS = {
    "version 0": version_0,
    "version 1": version_1,
    "nothing": version_2,
    "everything": everything,
    "named": named,
    "short forms": merges_of_lists,
    "removed": lambda ids: version_2(ids, removed=ids[::2]),
}


def labels_split(session, ids):
    size = session.get_spikes(ids[4]).size
    labels = (np.arange(size) % 3 * 10).tolist()
    return version_2(ids, splits=[{"unit_id": ids[4], "mode": "labels", "labels": labels}])


@pytest.mark.parametrize("name", [*CURATIONS, "labels"])
@pytest.mark.parametrize("kind", ["dict", "list", "model", "file"])
def test_hand_made_curations(analyzer, session, tmp_path, name, kind):
    ids = session.unit_ids
    curation = labels_split(session, ids) if name == "labels" else CURATIONS[name](ids)
    before = json.dumps(curation)
    expected = apply_curation(copy_of(analyzer.sorting), Curation(**curation))
    given = curation
    if kind == "list":
        given = [curation]
    elif kind == "model":
        given = Curation(**curation)
    elif kind == "file":
        given = tmp_path / "curation.json"
        given.write_text(
            Curation(**curation).model_dump_json() if name == "short forms" else before
        )
    labels = session.table["group"].to_dict()
    assert session.apply_spikeinterface_curation(given, reason="checked", decided_by="gui") == {}
    assert json.dumps(curation) == before, "what was given is not changed"
    found = trains_in(session)
    assert sorted(found.values()) == sorted(trains_of(expected).values())
    for unit_id in set(ids) & set(session.unit_ids):
        assert found[unit_id] == trains_of(expected)[unit_id]
        row = list(expected.unit_ids).index(unit_id)
        theirs = expected.get_property("quality")[row] if name != "version 0" else ""
        is_labelled = name in ("version 1", "everything") and theirs
        wanted = theirs.lower() if is_labelled else labels[unit_id]
        assert session.table.loc[unit_id, "group"] == wanted
    if name == "everything":
        assert session.table.loc[ids[0], "drift"] is True
        assert session.table.loc[ids[0], "burst"] is True
        assert session.table["drift"].notna().sum() == 1
    if name == "named":
        assert {70, 71, 75} <= set(session.unit_ids)
    history = session.history
    assert set(history["reason"]) <= {"checked"}
    assert set(history["decided_by"]) <= {"gui"}
    assert history["in_effect"].all()
    while session.undo():
        pass
    assert session.unit_ids == ids


def sequence_of(ids):
    first = version_2(
        ids,
        merges=[{"unit_ids": ids[:2], "new_unit_id": 50}],
        splits=[{"unit_id": ids[2], "indices": [[0, 1]], "new_unit_ids": [51, 52]}],
    )
    now = [*ids[3:], 50, 51, 52]
    second = version_2(now, removed=[52], merges=[{"unit_ids": [50, 51], "new_unit_id": 60}])
    now = [*ids[3:], 60]
    third = version_2(
        now,
        label_definitions=QUALITY,
        manual_labels=[{"unit_id": 60, "labels": {"quality": ["good"]}}],
        merges=[{"unit_ids": [60, ids[3]]}],
    )
    return [first, second, third]


@pytest.mark.parametrize("kind", ["list", "dict", "model", "file"])
def test_sequential_curation(analyzer, session, tmp_path, kind):
    steps = sequence_of(session.unit_ids)
    model = SequentialCuration(curation_steps=steps)
    given = {"list": steps, "dict": {"curation_steps": steps}, "model": model}.get(kind)
    if kind == "file":
        given = str(tmp_path / "curation.json")
        (tmp_path / "curation.json").write_text(model.model_dump_json())
    expected = apply_curation(copy_of(analyzer.sorting), model)
    assert session.apply_spikeinterface_curation(given) == {}
    assert sorted(trains_in(session).values()) == sorted(trains_of(expected).values())
    operations = ["merge", "split", "remove", "merge", "label", "merge"]
    assert session.history["operation"].tolist() == operations


def test_reused_ids_are_renamed_and_returned(analyzer, session):
    ids = session.unit_ids
    largest = max(ids)
    a, b, c, d, e = ids[:5]
    first = version_2(
        ids,
        removed=[e],
        merges=[{"unit_ids": [a, b], "new_unit_id": a}, {"unit_ids": [c, d], "new_unit_id": d}],
    )
    now = [i for i in ids if i not in (b, c, e)]
    second = version_2(
        now,
        merges=[{"unit_ids": [a, d], "new_unit_id": a}],
        splits=[{"unit_id": ids[5], "indices": [[0]], "new_unit_ids": [e, 90]}],
    )
    third = version_2([a, e, 90, *ids[6:]], removed=[e])
    steps = [first, second, third]
    expected = apply_curation(copy_of(analyzer.sorting), SequentialCuration(curation_steps=steps))
    renamed = session.apply_spikeinterface_curation(steps)
    assert set(renamed) == {a, d, e, 90}
    assert renamed[a] == largest + 3
    assert all(i not in ids for i in renamed.values())
    found = trains_in(session)
    for unit_id, train in trains_of(expected).items():
        assert found[renamed.get(unit_id, unit_id)] == train
    assert len(found) == len(expected.unit_ids)


def test_renaming_within_a_running_session(session):
    a, b, c = session.unit_ids[:3]
    session.merge([a, b])
    session.undo()
    taken = max(session.unit_ids) + 1  # was given to the merge that was undone
    curation = version_2(session.unit_ids, merges=[{"unit_ids": [b, c], "new_unit_id": taken}])
    assert session.apply_spikeinterface_curation(curation) == {taken: taken + 1}
    assert taken not in session.unit_ids


def test_journal_of_a_curation_can_be_resumed(analyzer, tmp_path):
    journal = tmp_path / "journal.jsonl"
    session = sic.CurationSession(analyzer, journal=journal)
    session.apply_spikeinterface_curation(sequence_of(session.unit_ids), reason="gui")
    session.close()
    again = sic.CurationSession.resume(analyzer, journal)
    assert trains_in(again) == trains_in(session)
    assert again.history.equals(session.history)
    assert again.history["decided_by"].unique().tolist() == ["SpikeInterface curation"]


# --------------------------------------------------------------- as other programs write them


def text(ids):
    return [str(i) for i in ids]


WRITTEN = {
    "sortingview": lambda a, b, c, ids: {
        "labelsByUnit": {str(c): ["accept", "mua"]},
        "labelChoices": ["accept", "mua", "noise"],
        "mergeGroups": [[a, b]],
        "isClosed": False,
    },
    "sortingview, ids as text, one label": lambda a, b, c, ids: {
        "labelsByUnit": {str(c): ["accept"]},
        "mergeGroups": [text([a, b])],
    },
    "sortingview without labels": lambda a, b, c, ids: {"mergeGroups": [[a, b]]},
    "sortingview in figpack": lambda a, b, c, ids: {
        "annotations": {
            "/": {
                "sorting_curation": json.dumps(
                    {"labelsByUnit": {str(c): ["accept"]}, "mergeGroups": [text([a, b])]}
                )
            }
        }
    },
    "AIND: no version, no units": lambda a, b, c, ids: {
        "label_definitions": QUALITY,
        "manual_labels": [{"unit_id": c, "quality": ["good"]}],
        "merge_unit_groups": [[a, b]],
        "removed_units": [],
    },
    "SpikeInterface 0.102": lambda a, b, c, ids: {
        "format_version": "1",
        "unit_ids": ids,
        "label_definitions": QUALITY,
        "manual_labels": [{"unit_id": c, "labels": {"quality": ["good"]}}],
        "merge_unit_groups": [[a, b]],
        "merge_new_unit_ids": [77],
    },
    "spikeinterface-gui, ids as text": lambda a, b, c, ids: {
        "format_version": "2",
        "unit_ids": text(ids),
        "label_definitions": QUALITY,
        "manual_labels": [{"unit_id": str(c), "labels": {"quality": ["good"]}}],
        "merges": [{"unit_ids": text([a, b]), "new_unit_id": "77"}],
        "splits": [],
        "removed": [],
    },
    "version as a number, merges by their new id": lambda a, b, c, ids: {
        "format_version": 2,
        "unit_ids": ids,
        "merges": {"77": [a, b]},
    },
}


@pytest.mark.parametrize("as_steps", [False, True])
@pytest.mark.parametrize("name", WRITTEN)
def test_files_as_programs_write_them(session, tmp_path, name, as_steps):
    ids = session.unit_ids
    a, b, c = ids[:3]
    written = WRITTEN[name](a, b, c, ids)
    expected = sorted([*trains_in(session)[a], *trains_in(session)[b]])
    path = tmp_path / "curation.json"
    path.write_text(json.dumps({"curation_steps": [written]} if as_steps else written))
    assert session.apply_spikeinterface_curation(path) == {}
    (new,) = set(session.unit_ids) - set(ids)
    assert sorted(trains_in(session)[new]) == expected
    if "77" in json.dumps(written):
        assert new == 77
    if "quality" in str(written.get("manual_labels", "")):
        assert session.table.loc[c, "group"] == "good"
    if "accept" in json.dumps(written):
        assert session.table.loc[c, "accept"] is True


@pytest.mark.parametrize("name", WRITTEN)
def test_files_for_units_whose_ids_are_text(analyzer, tmp_path, name):
    names = [str(i) for i in analyzer.unit_ids]
    renamed = sic.read_kilosort_as_analyzer(analyzer.get_sorting_property("phy_folder")[0])
    renamed = renamed.select_units(renamed.unit_ids)
    sorting = NumpySorting.from_sorting(renamed.sorting).rename_units(names)
    other = sc.create_sorting_analyzer(sorting, sc.generate_recording(8, durations=[60.0]))
    other.compute({"random_spikes": {"max_spikes_per_unit": 5}, "templates": {}})
    session = sic.CurationSession(other)
    a, b, c = analyzer.unit_ids[:3].tolist()
    session.apply_spikeinterface_curation(WRITTEN[name](a, b, c, analyzer.unit_ids.tolist()))
    (new,) = set(session.unit_ids) - set(names)
    assert isinstance(new, str)
    assert {str(a), str(b)}.isdisjoint(session.unit_ids)


@pytest.mark.parametrize(
    "written",
    [{"clusters": []}, {}, {"format_version": "9", "unit_ids": []}, {"annotations": {"/": {}}}],
)
def test_the_error_says_what_was_found_and_expected(session, tmp_path, written):
    path = tmp_path / "curation.json"
    path.write_text(json.dumps(written))
    with pytest.raises(ParameterError, match="expected format_version 0"):
        session.apply_spikeinterface_curation(path)


# ---------------------------------------------------------------------------------- invalid


def two_good_steps_and(bad):
    def make(ids):
        steps = sequence_of(ids)[:2]
        return [*steps, bad([*ids[3:], 60])]

    return make


INVALID = {
    "no curation": lambda ids: {"some": "thing"},
    "a number": lambda ids: 3,
    "a list of numbers": lambda ids: [3],
    "None": lambda ids: None,
    "other version": lambda ids: {**version_2(ids), "format_version": "7"},
    "other units": lambda ids: version_2([*ids, 1000]),
    "fewer units": lambda ids: version_2(ids[1:]),
    "no units": lambda ids: version_2([]),
    "unknown unit": lambda ids: version_2(ids, removed=[1000]),
    "merged and removed": lambda ids: version_2(
        ids, removed=ids[:1], merges=[{"unit_ids": ids[:2]}]
    ),
    "merge of one": lambda ids: version_2(ids, merges=[{"unit_ids": ids[:1]}]),
    "merged twice": lambda ids: version_2(ids, merges=[[ids[0], ids[1]], [ids[1], ids[2]]]),
    "unit twice in a merge": lambda ids: version_2(ids, merges=[[ids[0], ids[0]]]),
    "unknown label": lambda ids: version_2(
        ids, manual_labels=[{"unit_id": ids[0], "labels": {"quality": ["good"]}}]
    ),
    "group that phy has not": lambda ids: version_2(
        ids,
        label_definitions={"quality": {"label_options": ["odd", "good"], "exclusive": True}},
        manual_labels=[{"unit_id": ids[0], "labels": {"quality": ["odd"]}}],
        removed=ids[1:2],
    ),
    "two exclusive labels": lambda ids: version_2(
        ids,
        label_definitions=QUALITY,
        manual_labels=[{"unit_id": ids[0], "labels": {"quality": ["good", "noise"]}}],
    ),
    "spikes out of range": lambda ids: version_2(
        ids, removed=ids[1:2], splits=[{"unit_id": ids[0], "indices": [[0, 10**6]]}]
    ),
    "too few labels": lambda ids: version_2(
        ids, merges=[ids[1:3]], splits=[{"unit_id": ids[0], "mode": "labels", "labels": [0, 1]}]
    ),
    "text for an id": lambda ids: version_2(
        ids, removed=ids[3:4], merges=[{"unit_ids": ids[:2], "new_unit_id": "x"}]
    ),
    "third step of other units": two_good_steps_and(lambda ids: version_2(ids[:-1])),
    "third step cannot be done": two_good_steps_and(
        lambda ids: version_2(
            ids,
            label_definitions={"note": {"label_options": ["x", "y"], "exclusive": True}},
            manual_labels=[{"unit_id": ids[0], "labels": {"note": ["x"]}}],
            removed=ids[1:2],
            splits=[{"unit_id": ids[-1], "indices": [[-1]]}],
        )
    ),
    "third step is no curation": two_good_steps_and(lambda ids: {"a": 1}),
    "sequence does not fit": lambda ids: {
        "curation_steps": [version_2(ids, removed=ids[:1]), version_2(ids)]
    },
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_curations_change_nothing(analyzer, tmp_path, name):
    journal = tmp_path / "journal.jsonl"
    session = sic.CurationSession(analyzer, journal=journal)
    session.merge(session.unit_ids[:2])
    session.undo()
    curation = INVALID[name](session.unit_ids)
    next_id = next(i for i in range(1000) if i > max(session.unit_ids) and not session.was_used(i))

    def state():
        used = [session.was_used(i) for i in range(200)]
        tables = session.table.to_json(), session.history.to_json(), list(session.table)
        return tables, trains_in(session), used, journal.read_bytes()

    before = state()
    with pytest.raises(SiCurationError) as caught:
        session.apply_spikeinterface_curation(curation)
    assert isinstance(caught.value, ParameterError)
    assert state() == before
    assert session.redo() == "merge", "what can be redone is still there"
    session.undo()
    assert session.merge(session.unit_ids[:2]) == next_id
    session.close()
    again = sic.CurationSession.resume(analyzer, journal)
    assert again.history.equals(session.history)


def test_files(session, tmp_path):
    with pytest.raises(FolderNotFoundError):
        session.apply_spikeinterface_curation(tmp_path / "nothing.json")
    path = tmp_path / "curation.json"
    for content in (b"", b"{", b"\xff\xfe", b"7"):
        path.write_bytes(content)
        with pytest.raises(ParameterError):
            session.apply_spikeinterface_curation(path)
    assert len(session.history) == 0


def test_nothing_is_printed(session, capsys):
    session.apply_spikeinterface_curation(version_0(session.unit_ids))
    assert capsys.readouterr().out == ""
