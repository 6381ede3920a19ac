"""The folder doctor: every seeded fault is found by its check, and clean folders are clean."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from helpers import broken_folders
from helpers.broken_folders import FAULTS, make_clean_folders
from si_curation import doctor
from si_curation.doctor.check import CHECKS
from si_curation.doctor.safety import foreign_globals
from si_curation.simulation.simulate import DIALECT_NAMES

#: The example has one: phy merged three templates that found the same spikes twice.
OF_THE_EXAMPLE = {("warning", "repeated_spikes")}


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return make_clean_folders(tmp_path_factory.mktemp("clean"))


def snapshot(folder):
    return {
        path.relative_to(folder).as_posix(): path.is_file()
        and (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


def examine(folder, **arguments):
    """Check a folder; nothing is written, warned of or run, and every finding is well formed."""
    before = snapshot(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        findings = sic.check_phy_folder(folder, **arguments)
    assert snapshot(folder) == before
    severities = [finding.severity for finding in findings]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    for finding in findings:
        assert finding.where
        assert finding.what
        assert finding.check
        assert finding.advice or finding.severity == "info"
        assert len(str(finding).splitlines()) == 1
        assert "failed" not in finding.evidence, finding
    keys = [(finding.where, finding.what) for finding in findings]
    assert len(keys) == len(set(keys)), "a problem is reported twice"
    return findings


def above_info(findings):
    return {(f.severity, f.check) for f in findings if f.severity != "info"}


def test_there_are_enough_faults():
    assert len(FAULTS) >= 40


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_found_by_its_check_and_by_no_other(clean, tmp_path, monkeypatch, name):
    fault = FAULTS[name]
    folder = tmp_path / "sorted"
    shutil.copytree(clean[fault.base], folder)
    monkeypatch.chdir(tmp_path)  # where a pickle or code that is run would leave its trace
    fault.break_folder(folder)
    findings = examine(folder)
    assert above_info(findings) == fault.expected, list(map(str, findings))
    assert fault.infos <= {finding.check for finding in findings}
    of_fault = {check for _, check in fault.expected} | fault.infos
    told = " ".join(str(finding) for finding in findings if finding.check in of_fault)
    for word in fault.words:
        assert word in told, told
    assert not (tmp_path / "pwned").exists()
    assert not (folder / "pwned").exists()
    # an error is what keeps the reader from reading, and nothing else is
    if any(finding.severity == "error" for finding in findings):
        with pytest.raises(sic.PhyFolderError) as caught:
            sic.read_phy_folder(folder)
        errors = [finding for finding in findings if finding.severity == "error"]
        assert list(caught.value.findings) == errors
    else:
        sic.read_phy_folder(folder).close()


@pytest.mark.parametrize("name", ["ks4", "ks4_curated", "ks4_silent", "ks1", "ks2", "ks2_curated"])
def test_the_folders_that_are_broken_are_clean(clean, name):
    assert above_info(examine(clean[name])) == set()


@pytest.mark.parametrize("curation", [None, 6])
@pytest.mark.parametrize("dialect", DIALECT_NAMES)
@pytest.mark.slow
def test_clean_folders_of_each_dialect(simulate, dialect, curation):
    truth = simulate(
        dialect,
        num_templates=20,
        num_channels=32,
        num_spikes=12_000,
        num_shanks=2,
        num_raw_channels=40,
        num_empty_templates=1,
        num_zero_templates=1,
        num_nan_templates=1,
        labels={3: "good", 4: "noise"} if curation else None,
        curation=curation,
        seed=11,
    )
    assert above_info(examine(truth.folder)) == set()


def test_clean_with_phys_cache(clean, tmp_path):
    """As phy 2.1.0 leaves it: joblib's pickles of arrays."""
    import joblib

    folder = tmp_path / "sorted"
    shutil.copytree(clean["ks4_curated"], folder)
    (folder / ".phy" / "memcache").mkdir(parents=True)
    clusters = np.load(folder / "spike_clusters.npy")
    rows = {int(i): np.flatnonzero(clusters == i) for i in np.unique(clusters)}
    joblib.dump(rows, folder / ".phy" / "spikes_per_cluster.pkl")
    joblib.dump({"a": (1, 2.5, "x")}, folder / ".phy" / "memcache" / "phy.x.get.pkl")
    (folder / ".phy" / "new_cluster_id.json").write_text('{"new_cluster_id": 99}')
    assert above_info(examine(folder)) == set()


def test_clean_with_its_raw_data(clean, tmp_path):
    folder = tmp_path / "sorted"
    shutil.copytree(clean["ks2"], folder)
    broken_folders.write_raw(folder)
    findings = examine(folder)
    assert above_info(findings) == set()
    assert "raw_paths" not in {finding.check for finding in findings}


def test_real_folders(shared_data):
    expected = {
        "ks4_fresh": set(),
        "ks4_phy_curated": OF_THE_EXAMPLE,
        # its similar_templates.npy is all zeros: phy finds nothing similar in it
        "ks1_phy_curated": {("warning", "similar_templates")},
        "np1_without_params": {("error", "params")},
    }
    for name, found in expected.items():
        assert above_info(examine(shared_data / name)) == found, name
    # given the rate it is read, and what phy misses is told
    # (its unit 3 has 1 % of its spikes within 0.3 ms of another: a hundred times chance)
    found = above_info(examine(shared_data / "np1_without_params", sampling_frequency=30000.0))
    assert found == {("warning", "params_missing"), ("warning", "repeated_spikes")}


def test_the_example_in_figures():
    findings = {finding.check: finding for finding in examine(sic.example_folder())}
    repeated = findings["repeated_spikes"]
    folder = sic.read_phy_folder(sic.example_folder())
    expected = 0
    for cluster_id in folder.cluster_ids:
        samples = np.sort(folder.spike_samples[folder.spike_clusters == cluster_id])
        expected += np.count_nonzero(np.diff(samples) <= 9)  # 0.3 ms at 30 kHz
    assert repeated.evidence["count"] == expected == 35
    assert repeated.evidence["units"] == [13]
    assert findings["columns_after_merges"].evidence["clusters"] == [10, 11, 12, 13]


def test_what_read_phy_loses_is_what_it_loses(clean, tmp_path):
    from spikeinterface.extractors import read_phy

    cases = ("labels_of_some_clusters_and_no_snapshot", "sorter_table_without_some_clusters")
    for name in (*cases, "snapshot_without_a_cluster"):
        folder = tmp_path / name
        shutil.copytree(clean[FAULTS[name].base], folder)
        FAULTS[name].break_folder(folder)
        found = {finding.check: finding.evidence for finding in examine(folder)}["other_readers"]
        sorting = read_phy(folder)
        assert found["num_units"] - found["num_units_lost"] == len(sorting.unit_ids)
        kept = sorting.to_spike_vector().size
        assert found["num_spikes"] - found["num_spikes_lost"] == kept
        assert found["num_spikes"] == 4000


def test_best_channels_that_change_with_the_orientation(clean):
    evidence = {f.check: f.evidence for f in examine(clean["ks4_curated"])}["whitening_shape"]
    folder = clean["ks4_curated"]
    templates = np.load(folder / "templates.npy").astype(float)
    inverse = np.load(folder / "whitening_mat_inv.npy").astype(float)
    clusters, of_spike = (np.load(folder / f"spike_{n}.npy") for n in ("clusters", "templates"))
    moved = []
    for cluster_id in np.unique(clusters):
        template = templates[np.bincount(of_spike[clusters == cluster_id]).argmax()]
        best = [np.ptp(template @ matrix, axis=0).argmax() for matrix in (inverse, inverse.T)]
        if best[0] != best[1]:
            moved.append(int(cluster_id))
    assert evidence["units_with_other_channel"] == moved
    assert evidence["num_units"] == np.unique(clusters).size


def test_evidence_has_counts_and_rows(clean, tmp_path):
    folder = tmp_path / "sorted"
    shutil.copytree(clean["ks4"], folder)
    times = np.load(folder / "spike_times.npy")
    times[[0, 7]] = -3
    times[50], times[51] = times[51], times[50]
    np.save(folder / "spike_times.npy", times)
    found = {finding.check: finding.evidence for finding in examine(folder)}
    assert found["spikes_before_start"] == {"count": 2, "rows": [0, 7], "first_sample": -3}
    assert found["spike_order"]["rows"] == [7, 51]


def test_rows_of_unsorted_files_are_those_of_the_file(clean, tmp_path):
    folder = tmp_path / "sorted"
    shutil.copytree(clean["ks1"], folder)
    times, clusters, templates = (
        np.load(folder / f"{name}.npy")
        for name in ("spike_times", "spike_clusters", "spike_templates")
    )
    times[1000], clusters[1000], templates[1000] = times[10], clusters[10], templates[10]
    for name, values in (("times", times), ("clusters", clusters), ("templates", templates)):
        np.save(folder / f"spike_{name}.npy", values)
    found = [f for f in examine(folder) if f.check == "repeated_spikes" and "twice" in f.what]
    assert found[0].evidence == {"count": 1, "units": [int(clusters[10, 0])], "rows": [1000]}


def test_settings_that_change_what_numbers_mean(simulate):
    kwargs = dict(num_templates=4, num_channels=8, num_spikes=900, duration_s=20.0, seed=1)
    settings = {"tmin": 2.0, "tmax": 12.0, "scale": 0.5}
    found = examine(simulate(**kwargs, sorter_settings=settings).folder)
    told = [f for f in found if f.check == "sorter_settings"]
    assert [f.severity for f in told] == ["info", "info"]
    assert told[0].evidence == {"sorted_scale": 0.5}
    assert told[1].evidence == {"first_s": 2.0, "last_s": 12.0}
    plain = examine(simulate(**kwargs).folder)
    assert "sorter_settings" not in {f.check for f in plain}


# ------------------------------------------------------------- what is wrong with nothing


@pytest.mark.slow
def test_a_contamination_of_100_is_no_estimate_until_kilosort3(simulate, tmp_path, shared_data):
    found = {f.check: f for f in examine(shared_data / "ks25_example")}["contamination_range"]
    assert found.severity == "info"
    assert found.evidence == {"units": [10], "num_units": 1}
    for dialect in ("kilosort2", "kilosort3", "kilosort4"):
        truth = simulate(dialect, num_templates=4, num_channels=8, num_spikes=2000, seed=1)
        folder = shutil.copytree(truth.folder, tmp_path / dialect)
        write_rows(folder / "cluster_KSLabel.tsv", "KSLabel", ["good"] * 4)
        write_rows(folder / "cluster_group.tsv", "KSLabel", ["good"] * 4)
        write_rows(folder / "cluster_ContamPct.tsv", "ContamPct", [100.0, 3.0, 100.0, 1.0])
        found = [f for f in examine(folder) if f.check == "contamination_range"]
        assert [f.severity for f in found] == ["warning" if dialect == "kilosort4" else "info"]
        assert found[0].evidence["units"] == [0, 2]


def write_rows(path, column, values):
    rows = "".join(f"{i}\t{value}\n" for i, value in enumerate(values))
    path.write_text(f"cluster_id\t{column}\n{rows}", encoding="utf-8")


ALLEN_METRICS = [f"metric_{i}" for i in range(17)]
ALLEN_BLANK = [f"blank_{i}" for i in range(8)]


def with_metrics_of_the_allen_pipeline(simulate, tmp_path, curation):
    """As that pipeline leaves a folder; with `curation` as phy then saves it."""
    kwargs = dict(num_templates=6, num_channels=12, num_spikes=3000, seed=3)
    truth = simulate("kilosort2", **kwargs, curation=curation)
    folder = shutil.copytree(truth.folder, tmp_path / "sorted")
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.random((6, 17)) * 1000, columns=ALLEN_METRICS)
    table.insert(0, "cluster_id", range(6))
    table[ALLEN_BLANK] = np.nan
    table.to_csv(folder / "metrics.csv")
    if curation:
        clusters = np.unique(truth.spike_clusters)
        for name in ALLEN_METRICS:  # eight decimals; new clusters inherit one of their values
            of = {i: table[name][i] if i < 6 else table[name][1] for i in clusters}
            rows = "".join(f"{i}\t{value:.8f}\n" for i, value in of.items())
            text = f"cluster_id\t{name}\n{rows}"
            (folder / f"cluster_{name}.tsv").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("curation", [None, [("merge", [1, 2]), ("merge", [3, 4])]])
def test_metrics_of_the_allen_pipeline_are_no_fault(simulate, tmp_path, curation):
    folder = with_metrics_of_the_allen_pipeline(simulate, tmp_path, curation)
    findings = examine(folder)
    assert above_info(findings) == set(), list(map(str, findings))
    of_table = [f.check for f in findings if f.where == "metrics.csv"]
    assert sorted(of_table) == (["blank_columns", "table_ids"] if curation else ["blank_columns"])
    assert len(sic.read_phy_folder(folder).findings) == 0


@pytest.mark.slow
def test_tables_that_differ_are_one_warning_each(simulate, tmp_path):
    folder = with_metrics_of_the_allen_pipeline(simulate, tmp_path, [("merge", [1, 2])])
    table = pd.read_csv(folder / "metrics.csv", index_col=0)
    table.loc[[0, 3], ALLEN_METRICS] += 1  # 1 and 2 are no clusters any more
    table.to_csv(folder / "metrics.csv")
    found = [f for f in examine(folder) if f.check == "tables"]
    assert [(f.severity, f.where) for f in found] == [("warning", "metrics.csv")]
    assert found[0].evidence["clusters"] == [0, 3]
    assert "and 12 more" in found[0].what


@pytest.mark.slow
def test_a_value_that_only_the_other_table_has_is_told(simulate, tmp_path):
    truth = simulate("kilosort2", num_templates=4, num_channels=8, num_spikes=900, seed=1)
    folder = shutil.copytree(truth.folder, tmp_path / "sorted")
    (folder / "cluster_note.tsv").write_text("cluster_id\tnote\n0\ta\n", encoding="utf-8")
    (folder / "notes.tsv").write_text("cluster_id\tnote\n0\ta\n2\tb\n", encoding="utf-8")
    (found,) = [f for f in examine(folder) if f.check == "tables"]
    assert found.evidence["clusters"] == [2]


@pytest.mark.parametrize(
    "dialect",
    [*(pytest.param(f"kilosort{n}", marks=pytest.mark.slow) for n in ("1.0", "2")), "kilosort4"],
)
def test_the_inverse_of_a_probe_that_was_cut_stays_as_it_is(simulate, tmp_path, dialect):
    """It is a part of the inverse of the whole: making it anew would be wrong."""
    truth = simulate(dialect, num_templates=6, num_channels=48, num_spikes=1500, seed=2)
    folder = shutil.copytree(truth.folder, tmp_path / "sorted")
    kept = np.setdiff1d(np.arange(48), [5, 20, 21, 40])
    for name in ("whitening_mat", "whitening_mat_inv", "whitening_mat_dat"):
        path = folder / f"{name}.npy"
        if path.exists():
            np.save(path, np.load(path)[np.ix_(kept, kept)])
    for name in ("channel_map", "channel_positions", "channel_shanks"):
        path = folder / f"{name}.npy"
        if path.exists():
            np.save(path, np.load(path)[kept])
    np.save(folder / "templates.npy", np.load(folder / "templates.npy")[:, :, kept])
    for name in ("pc_features", "pc_feature_ind", "templates_ind"):
        (folder / f"{name}.npy").unlink()
    found = [f for f in examine(folder) if f.check == "whitening_inverse"]
    assert [f.severity for f in found] == ["info"]
    assert "leave both files as they are" in found[0].advice
    # and a wrong one is not taken for it
    inverse = np.load(folder / "whitening_mat_inv.npy")
    rng = np.random.default_rng(0)
    np.save(folder / "whitening_mat_inv.npy", inverse * rng.uniform(0.5, 1.5, inverse.shape))
    (found,) = [f for f in examine(folder) if f.check == "whitening_inverse"]
    assert found.severity == "warning"
    assert "If channels were cut out" in found.advice
    assert "remove" not in found.advice


@pytest.mark.slow
def test_few_spikes_matter_where_the_unit_is_called_good(simulate, tmp_path):
    truth = simulate(num_templates=4, num_channels=8, num_spikes=3000, seed=1)
    folder = shutil.copytree(truth.folder, tmp_path / "sorted")
    clusters = np.load(folder / "spike_clusters.npy")
    few = np.flatnonzero(clusters == 0)[:6]
    for name in ("clusters", "templates"):
        values = np.load(folder / f"spike_{name}.npy")
        values[values == 0] = 1
        values[few] = 0
        np.save(folder / f"spike_{name}.npy", values)
    for label, severity in (("mua", "info"), ("good", "warning")):
        for name in ("KSLabel", "group"):
            write_rows(folder / f"cluster_{name}.tsv", "KSLabel", [label, "mua", "mua", "mua"])
        write_rows(folder / "cluster_ContamPct.tsv", "ContamPct", [0.0, 9.0, 9.0, 9.0])
        (found,) = [f for f in examine(folder) if f.check == "labels_on_few_spikes"]
        assert found.severity == severity


# ----------------------------------------------------------------------------- not a folder


@pytest.mark.parametrize("path", ["nowhere", "x" * 5000])
def test_what_cannot_be_opened_is_a_finding(path):
    findings = sic.check_phy_folder(path)
    assert [(f.severity, f.check) for f in findings] == [("error", "folder")]


def test_what_is_no_path_is_an_error():
    with pytest.raises(sic.ParameterError, match="folder_path"):
        sic.check_phy_folder("a\0b")


def test_a_file_and_a_folder_above(clean, tmp_path):
    (tmp_path / "file").touch()
    assert "is a file" in sic.check_phy_folder(tmp_path / "file")[0].what
    (found,) = sic.check_phy_folder(clean["ks4"].parent)
    assert found.check == "folder"
    assert "example, ks1, ks2" in found.advice
    assert found.evidence["folders_below"][0] == "example"


def test_the_rate_must_be_one(clean):
    with pytest.raises(sic.ParameterError):
        sic.check_phy_folder(clean["ks4"], sampling_frequency=-1)


def test_files_that_may_not_be_read(clean, monkeypatch):
    original = Path.open

    def refuse(self, *arguments, **keywords):
        if self.name in ("spike_times.npy", "whitening_mat_dat.npy"):
            raise PermissionError(13, "Permission denied", str(self))
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", refuse)
    findings = sic.check_phy_folder(clean["ks4"])
    told = [finding for finding in findings if "Permission denied" in finding.what]
    assert {finding.where for finding in told} == {"spike_times.npy", "whitening_mat_dat.npy"}
    assert all("readable" in finding.advice for finding in told)


def test_a_check_that_fails_does_not_hide_the_others(clean, monkeypatch):
    def fail(facts, findings):
        raise RuntimeError("a case that nobody thought of")

    monkeypatch.setitem(CHECKS, "code", fail)
    findings = sic.check_phy_folder(clean["ks3"])
    assert {"code", "whitening_shape"} <= {finding.check for finding in findings}
    (failed,) = [finding for finding in findings if finding.check == "code"]
    assert failed.evidence == {"failed": "code"}


def test_every_check_is_in_the_list_once():
    folder = Path(doctor.__file__).parent
    modules = [f"si_curation.doctor.{path.stem}" for path in folder.glob("[a-z]*.py")]
    found = [
        function
        for module in map(importlib.import_module, modules)
        for name, function in vars(module).items()
        if name.startswith("check_") and function.__module__ == module.__name__
    ]
    found.remove(sic.check_phy_folder)
    assert len(CHECKS) == len(set(CHECKS.values())) == len(found)
    assert set(CHECKS.values()) == set(found)


@pytest.mark.slow
def test_order_of_imports_changes_no_finding(clean, tmp_path):
    """The order of the checks is the list; what is imported first must not matter."""
    folder = shutil.copytree(clean["ks4_curated"], tmp_path / "folder")
    for name in (
        "truncated_file_nobody_reads",
        "kept_spikes_of_another_run",
        "amplitudes_with_nan",
        "spikes_out_of_order",
        "negative_times",
        "two_tables_that_differ",
        "misspelt_group",
        "stale_rows",
        "similarity_with_nan",
        "wrong_inverse",
    ):
        FAULTS[name].break_folder(folder)
    names = sorted(path.stem for path in Path(doctor.__file__).parent.glob("[a-z]*.py"))
    code = """
import importlib, json, sys
for name in sys.argv[2:]:
    importlib.import_module("si_curation.doctor." + name)
from si_curation.doctor.check import check_phy_folder
found = check_phy_folder(sys.argv[1])
print(json.dumps([[f.check, f.severity, str(f), f.evidence] for f in found]))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(doctor.__file__).parents[2])}
    results = []
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(names).tolist()
        command = [sys.executable, "-c", code, str(folder), *shuffled]
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
        results.append(json.loads(done.stdout))
    assert len({found[0] for found in results[0]}) > 10
    assert results[0] == results[1] == results[2]


def test_globals_of_pickles(tmp_path):
    import pickle

    from si_curation.phy.folder import PhyFolder

    plain = {"a": np.arange(3), "b": [1.5, "x", np.float32(2)], "c": {1, 2}}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path = tmp_path / f"{protocol}.pkl"
        path.write_bytes(pickle.dumps(plain, protocol))
        assert foreign_globals(path) == []
        path.write_bytes(pickle.dumps([plain, PhyFolder, PhyFolder, eval], protocol))
        asked = foreign_globals(path)
        assert "si_curation.phy.folder.PhyFolder" in asked
        assert any(name.endswith(".eval") for name in asked)
    path.write_bytes(b"no pickle at all")
    assert foreign_globals(path) is None


def test_what_a_stopped_replacement_left_beside_is_named(tmp_path):
    folder = shutil.copytree(sic.example_folder(), tmp_path / "ks")
    before = sic.check_phy_folder(folder)
    (tmp_path / ".ks.0123abcd.replaced").mkdir()
    (tmp_path / ".other.0123abcd.replaced").mkdir()
    new = [one for one in sic.check_phy_folder(folder) if one not in before]
    assert [(one.severity, one.where) for one in new] == [("warning", "../.ks.0123abcd.replaced")]
    assert "was stopped in the middle" in new[0].what
