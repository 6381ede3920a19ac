"""Documents of every kind with random damage: read, or refused with one error of ours.

``pytest -n 0 -m "" --fuzz 10 tests/workflows/test_documents_fuzz.py`` looks further.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings

import numpy as np
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

import si_curation as sic
from helpers.fuzz_documents import BYTE_CHANGES, CONTENT_CHANGES, changed, changed_bytes
from helpers.fuzz_folders import digests
from helpers.fuzzing import bounded, examples
from helpers.planted_code import save_clean
from si_curation.batch.recipe_files import example_recipe, read_recipe
from si_curation.curation.history import history_of, labels_of_sessions, recorded_history
from si_curation.exporters.nwb.metadata import read_metadata
from si_curation.phy.sorter_run import read_sorter_run
from si_curation.reading.loading import load_saved_analyzer
from si_curation.reading.trust import untrusted_parts

LARGEST = 10_000_000  # bytes
ANY_CHANGE = st.one_of(CONTENT_CHANGES, BYTE_CHANGES)


@pytest.fixture(scope="module")
def analyzer():
    found = sic.read_kilosort_as_analyzer(sic.example_folder())
    found.compute("curation_metrics", metric_names=["num_spikes"], progress_bar=False)
    return found


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A folder that is used again by each example."""
    return tmp_path_factory.mktemp("documents")


def written(content, change, path):
    """Write a document with a change to it."""
    if isinstance(change, list):
        content = changed(content, change)
    text = json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content)
    data = text.encode("utf-8", "surrogatepass")
    assume(len(data) < LARGEST)
    path.write_bytes(data if isinstance(change, list) else changed_bytes(data, change))
    return path


def answered(what, call):
    """Call; only our own errors, of one line, may come."""
    with bounded(what), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call()
        except sic.SiCurationError as error:
            message = str(error)
            assert message.strip()
            assert len(message) < 5_000, message[:500]
    return None


# ------------------------------------------------------------- recipes, rules, metadata, curations

RULES = {
    "rules": [
        {"metric": "num_spikes", "comparison": "<", "threshold": 100, "label": "noise"},
        {"metric": "num_spikes", "comparison": ">", "threshold": 1000, "label": "mua"},
    ],
    "otherwise": "good",
}
METADATA = {
    "NWBFile": {
        "session_start_time": "2026-01-01T00:00:00+00:00",
        "session_description": "d",
        "identifier": "i",
        "experimenter": ["A, B"],
        "keywords": ["k"],
    },
    "Subject": {"subject_id": "s", "age": "P90D", "species": "Mus musculus", "sex": "M"},
}
CURATION = {
    "format_version": "2",
    "unit_ids": [3, 4, 7, 8, 9, 10, 11, 12, 13],
    "label_definitions": {
        "quality": {"label_options": ["good", "noise"], "exclusive": True},
    },
    "manual_labels": [{"unit_id": 3, "labels": {"quality": ["good"]}}],
    "merges": [{"unit_ids": [4, 7], "new_unit_id": 20}],
    "splits": [{"unit_id": 8, "mode": "indices", "indices": [[0, 1, 2], [3, 4]]}],
    "removed": [9],
}


def curation_of(analyzer):
    ids = [int(unit_id) for unit_id in analyzer.unit_ids]
    return {
        **CURATION,
        "unit_ids": ids,
        "manual_labels": [{"unit_id": ids[0], "labels": {"quality": ["good"]}}],
        "merges": [{"unit_ids": ids[1:3], "new_unit_id": 200}],
        "splits": [{"unit_id": ids[3], "mode": "indices", "indices": [[0, 1, 2], [3, 4]]}],
        "removed": ids[4:5],
    }


@examples(150)
@given(ANY_CHANGE, st.sampled_from([".yaml", ".json"]))
def test_recipes(scratch, change, suffix):
    path = written(yaml.safe_load(example_recipe()), change, scratch / f"recipe{suffix}")
    answered(f"a recipe, {change}", lambda: read_recipe(path))


@examples(150)
@given(ANY_CHANGE, st.sampled_from([".yaml", ".json"]))
def test_rules(scratch, analyzer, change, suffix):
    path = written(RULES, change, scratch / f"rules{suffix}")
    answered(f"rules, {change}", lambda: sic.label_units(analyzer, path))


@examples(150)
@given(ANY_CHANGE, st.sampled_from([".yaml", ".json"]))
def test_metadata(scratch, analyzer, change, suffix):
    path = written(METADATA, change, scratch / f"metadata{suffix}")
    answered(f"metadata, {change}", lambda: read_metadata(path))


@pytest.mark.slow
@examples(40)
@given(CONTENT_CHANGES)
def test_metadata_that_are_written(scratch, analyzer, change):
    path = written(METADATA, change, scratch / "metadata.json")
    target = scratch / "units.nwb"
    target.unlink(missing_ok=True)
    done = answered(
        f"metadata of a file, {change}",
        lambda: sic.export_to_nwb(analyzer, target, metadata=path),
    )
    assert target.exists() == (done is not None)


@examples(150)
@given(ANY_CHANGE)
def test_curations(scratch, analyzer, change):
    path = written(curation_of(analyzer), change, scratch / "curation.json")

    def apply():
        session = sic.CurationSession(analyzer)
        before = session.table.copy()
        try:
            session.apply_spikeinterface_curation(path)
        except sic.SiCurationError:
            assert session.table.equals(before)
            assert len(session.history) == 0
            raise
        curated = session.apply()
        assert curated.sorting.to_spike_vector().size <= analyzer.sorting.to_spike_vector().size

    answered(f"a curation, {change}", apply)


# ------------------------------------------------------------------------- journals and histories


@pytest.fixture(scope="module")
def journal(analyzer, tmp_path_factory):
    """The entries of a session with a step of each kind."""
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    with sic.CurationSession(analyzer, journal=path) as session:
        ids = list(session.unit_ids)
        merged = session.merge(ids[:2])
        session.label([merged], "good")
        num_spikes = session.get_spikes(ids[3]).size
        session.split(ids[3], [i % 3 for i in range(num_spikes)])
        session.remove([ids[4]])
        session.undo()
        session.apply_spikeinterface_curation(
            {"format_version": "2", "unit_ids": list(session.unit_ids), "removed": [ids[5]]}
        )
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def chained(entries):
    """Write the entries so that each names the one before, as somebody who means harm would."""
    lines = []
    for entry in entries:
        if lines and isinstance(entry, dict) and "previous" in entry:
            entry["previous"] = hashlib.sha256(lines[-1]).hexdigest()[:16]
        lines.append(json.dumps(entry).encode())
    return b"".join(line + b"\n" for line in lines)


def test_the_journal_is_chained_as_it_should_be(analyzer, journal, tmp_path):
    (tmp_path / "journal.jsonl").write_bytes(chained(journal))
    with sic.CurationSession.resume(analyzer, tmp_path / "journal.jsonl") as session:
        assert len(session.history) >= 4


@examples(150)
@given(ANY_CHANGE)
def test_journals(scratch, analyzer, journal, change):
    path = scratch / "journal.jsonl"
    if isinstance(change, list):
        content = chained(changed(journal, change))
        assume(len(content) < LARGEST)
        path.write_bytes(content)
    else:
        path.write_bytes(changed_bytes(chained(journal), change))
    before = path.read_bytes()

    def resume():
        with sic.CurationSession.resume(analyzer, path) as session:
            session.apply()

    refused = True

    def call():
        nonlocal refused
        resume()
        refused = False

    answered(f"a journal, {change}", call)
    if refused:
        assert path.read_bytes() == before


@examples(150)
@given(ANY_CHANGE)
def test_histories(analyzer, change):
    session = sic.CurationSession(analyzer)
    session.merge(list(analyzer.unit_ids[:2]))
    session.label([analyzer.unit_ids[3]], "good")
    curated = session.apply()
    text = curated.sorting.get_annotation("curation_history")
    if isinstance(change, list):
        text = json.dumps(changed(json.loads(text), change))
    else:
        text = changed_bytes(text.encode(), change).decode("utf-8", "replace")
    assume(len(text) < LARGEST)
    curated.sorting.annotate(curation_history=text)
    for read in (recorded_history, history_of, labels_of_sessions, sic.CurationSession):
        answered(f"a history, {change}", lambda read=read: read(curated))


# ------------------------------------------------------------------------------- records of batches

RECIPE = {"extensions": {"curation_metrics": {"metric_names": ["num_spikes"]}}}


def run(root):
    kwargs = {"num_workers": 0, "progress_bar": False}
    return sic.run_batch([root / "a", root / "b"], RECIPE, root / "out", **kwargs)


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    root = tmp_path_factory.mktemp("batch")
    for name in ("a", "b"):
        shutil.copytree(sic.example_folder(), root / name)
    run(root)
    return root


@pytest.mark.slow
@examples(60)
@given(ANY_CHANGE, st.sampled_from(["sessions/a/done.json", "records/a.json", "batch.json"]))
def test_records_of_batches(batch, change, name):
    path = batch / "out" / name
    content = path.read_bytes()
    try:
        written(json.loads(content), change, path)
        table = answered(f"{name}, {change}", lambda: run(batch)).table
        assert table["session"].tolist() == ["a", "b"]
        assert table["status"].tolist()[1] == "skipped: already done"
        assert table["num_spikes"].tolist()[1] == 5299
    finally:
        if path.parent.exists():
            path.write_bytes(content)


@pytest.mark.slow
@examples(60)
@given(BYTE_CHANGES)
def test_tables_of_batches(batch, change):
    path = batch / "out/sessions/a/units.csv"
    content = path.read_bytes()
    try:
        path.write_bytes(changed_bytes(content, change))
        result = answered(f"units.csv, {change}", lambda: run(batch))
        assert "b" in set(result.units["session"])
    finally:
        path.write_bytes(content)


# --------------------------------------------------------------------------- files beside a folder


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    """A folder that was changed in place, and its backup."""
    folder = tmp_path_factory.mktemp("inplace") / "folder"
    shutil.copytree(sic.example_folder(), folder)
    session = sic.CurationSession(sic.read_kilosort_as_analyzer(folder))
    session.label([session.unit_ids[0]], "noise")
    sic.update_phy_folder(folder, session.apply())
    return folder


@examples(60)
@given(ANY_CHANGE)
def test_manifests_of_backups(curated, scratch, change):
    around = scratch / "around"  # where a name such as "../../a" would lead to
    folder = around / "it" / "folder"
    shutil.rmtree(around, ignore_errors=True)
    shutil.copytree(curated, folder)
    (manifest,) = folder.rglob("manifest.json")
    written(json.loads(manifest.read_bytes()), change, manifest)
    before = digests(folder)
    answered(f"the doctor on a manifest, {change}", lambda: sic.check_phy_folder(folder))
    assert digests(folder) == before
    restored = answered(f"a manifest, {change}", lambda: sic.restore_phy_folder(folder))
    if restored is None:
        assert digests(folder) == before
    assert list(around.iterdir()) == [folder.parent]
    assert list(folder.parent.iterdir()) == [folder]


LOG = {
    "sorter_name": "kilosort4",
    "sorter_version": "4.0.30",
    "datetime": "2026-01-01T00:00:00",
    "runtime_trace": [],
    "error": False,
    "run_time": 12.5,
}
PARAMS = {"sorter_name": "kilosort4", "sorter_params": {"nblocks": 1, "Th_learned": 8}}


@examples(100)
@given(
    st.sampled_from([("spikeinterface_log.json", LOG), ("spikeinterface_params.json", PARAMS)]),
    ANY_CHANGE,
)
def test_what_spikeinterface_says_of_a_run(scratch, document, change):
    name, content = document
    folder = scratch / "run"
    if not folder.exists():
        shutil.copytree(sic.example_folder(), folder)
    written(content, change, folder / name)
    with bounded(f"{name}, {change}"):
        read_sorter_run(folder)
        sic.check_phy_folder(folder)
    (folder / name).unlink()


# --------------------------------------------------------------------------------- saved analyzers

SAVED = [
    "analyzer/settings.json",
    "analyzer/spikeinterface_info.json",
    "analyzer/sorting/provenance.json",
    "analyzer/sorting/numpysorting_info.json",
    "analyzer/extensions/templates/params.json",
    "analyzer/extensions/template_assignment/params.json",
    "analyzer/extensions/template_assignment/info.json",
    "analyzer.zarr/.zattrs",
    "analyzer.zarr/.zmetadata",
    "analyzer.zarr/sorting/.zattrs",
    "analyzer.zarr/sorting/spikes/.zgroup",
    "analyzer.zarr/extensions/templates/average/.zarray",
    "analyzer.zarr/extensions/templates/.zattrs",
    "analyzer.zarr/extensions/template_assignment/.zattrs",
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_clean(tmp_path_factory.mktemp("saved"))


@pytest.mark.slow
@examples(150)
@given(st.sampled_from(SAVED), ANY_CHANGE)
def test_saved_analyzers(saved, name, change):
    path = saved / name
    if not path.exists():
        return
    content = path.read_bytes()
    folder = saved / name.split("/")[0]
    try:
        try:
            document = json.loads(content)
        except ValueError:
            return
        if isinstance(change, list):
            path.write_text(json.dumps(changed(document, change)))
        else:
            path.write_bytes(changed_bytes(content, change))
        before = digests(folder)
        with bounded(f"looking through {name}, {change}"):
            untrusted_parts(folder)
        answered(f"the doctor, {name}, {change}", lambda: sic.check_phy_folder(folder))
        answered(f"loading {name}, {change}", lambda: load_saved_analyzer(folder))
        assert digests(folder) == before
    finally:
        path.write_bytes(content)


# ------------------------------------------------------------------------------ tables of sessions


@examples(80)
@given(BYTE_CHANGES, st.sampled_from([".csv", ".tsv"]))
def test_tables_of_sessions(scratch, change, suffix):
    path = scratch / f"sessions{suffix}"
    text = "session,folder,gain_to_uV\na,nowhere,0.195\nb,neither,\n"
    text = text.replace(",", "\t") if suffix == ".tsv" else text
    path.write_bytes(changed_bytes(text.encode(), change))
    target = scratch / "batch"
    shutil.rmtree(target, ignore_errors=True)
    answered(
        f"sessions, {change}",
        lambda: sic.run_batch(path, RECIPE, target, num_workers=0, progress_bar=False),
    )


def test_the_documents_are_good_where_nothing_is_changed(analyzer, scratch):
    """That the damage is what is refused."""
    none = []
    read_recipe(written(yaml.safe_load(example_recipe()), none, scratch / "recipe.yaml"))
    sic.label_units(analyzer, written(RULES, none, scratch / "rules.yaml"))
    read_metadata(written(METADATA, none, scratch / "metadata.yaml"))
    session = sic.CurationSession(analyzer)
    path = written(curation_of(analyzer), none, scratch / "curation.json")
    session.apply_spikeinterface_curation(path)
    assert len(session.apply().unit_ids) == len(analyzer.unit_ids) - 1 - 1 + 2
    assert np.isin(200, session.unit_ids)
