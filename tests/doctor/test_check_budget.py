"""A budget of false alarms: no warning that a careful user would dismiss, on any folder at hand.

Each folder is looked at as the sorter wrote it, after curation was saved as phy saves it, and after
the real phy saved it. The warnings that are left are listed with the reason why they are right: one
more is a false alarm, or a true one that belongs on the list.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from spikeinterface.core import create_sorting_analyzer, generate_ground_truth_recording

import si_curation as sic
from helpers import needs
from si_curation.simulation.simulate import DIALECT_NAMES, VERSION_DIALECT_NAMES

TRUTH = [
    f"ks4_truth/{recording}/{sorting}"
    for recording in ("static", "drifting", "twins")
    for sorting in ("ks", "nomerge", "mu")
]
#: The warnings that are right, by check, with the reason.
REAL = {
    "ks4_fresh": {},
    "ks4_phy_curated": {"repeated_spikes": "phy merged templates that found the same spikes"},
    "ks1_phy_curated": {"similar_templates": "all zeros: phy finds nothing similar"},
    "ks25_example": {"labels_on_few_spikes": "unit 10 is called good on two spikes"},
    "np1_without_params": {
        "params_missing": "phy cannot open it",
        "repeated_spikes": "1 % of the spikes of unit 3: a hundred times chance",
    },
    **{name: {} for name in TRUTH},
}
DIALECTS = (*DIALECT_NAMES, *VERSION_DIALECT_NAMES)
QUICK = ("kilosort1.0", "kilosort2.5", "kilosort4", "kilosort4.0.2")
#: Kilosort 4.0.0 has the templates in spike_clusters.npy only: phy's curation loses them.
SAVED = tuple(name for name in DIALECTS if name != "kilosort4.0.0")


def slow_but(names, quick):
    return [n if n in quick else pytest.param(n, marks=pytest.mark.slow) for n in names]


def alarms(folder):
    """Return the findings above info, and their texts for the message of a failure."""
    rate = 30_000.0 if not (folder / "params.py").exists() else None
    findings = sic.check_phy_folder(folder, sampling_frequency=rate)
    return {f.check: str(f) for f in findings if f.severity != "info"}


def check_budget(folder, expected=()):
    found = alarms(folder)
    assert set(found) == set(expected), found


def simulated(simulate, dialect, **kwargs):
    return simulate(
        dialect,
        num_templates=12,
        num_channels=16,
        num_spikes=5000,
        num_empty_templates=1,
        num_nan_templates=1,
        seed=3,
        **kwargs,
    ).folder


# ------------------------------------------------------------------------------- untouched


@pytest.mark.parametrize("name", slow_but(REAL, ("ks4_fresh", "ks25_example", "ks1_phy_curated")))
def test_real_folders(shared_data, name):
    check_budget(shared_data / name, REAL[name])


def test_packaged_folders():
    check_budget(sic.example_folder(), REAL["ks4_phy_curated"])
    check_budget(Path(__file__).parents[1] / "data" / "kilosort4_with_truth")


@pytest.mark.parametrize("dialect", slow_but(DIALECTS, QUICK))
def test_dialects(simulate, dialect):
    check_budget(simulated(simulate, dialect))


@pytest.mark.parametrize(
    "settings",
    [
        {"scale": 200.0, "shift": 3.0},
        {"invert_sign": True},
        {"tmin": 10.0, "tmax": 50.0},
        {"nblocks": 5},
    ],
    ids=lambda settings: next(iter(settings)),
)
@pytest.mark.slow
def test_settings_of_kilosort4(simulate, settings):
    kwargs = dict(num_templates=8, num_channels=16, num_spikes=4000, duration_s=60.0, seed=1)
    check_budget(simulate("kilosort4", **kwargs, sorter_settings=settings).folder)


@pytest.mark.parametrize(
    "shapes",
    [
        {"column_vectors": True, "dtypes": {"spike_times": "int64", "spike_templates": "uint16"}},
        {"num_shanks": 3, "num_raw_channels": 40},
        {"feature_rows": 700},
        {"write_features": False},
        {"write_template_features": True},
        {"sampling_frequency": 30_000.27},
    ],
    ids=lambda shapes: next(iter(shapes)),
)
@pytest.mark.slow
def test_shapes_that_folders_have(simulate, shapes):
    for dialect in ("kilosort2", "kilosort4"):
        check_budget(simulated(simulate, dialect, **shapes))


# ------------------------------------------------------------------------------- after curation


@pytest.mark.parametrize("dialect", slow_but(SAVED, QUICK))
def test_dialects_saved_as_phy_saves_them(simulate, dialect):
    labels = {3: "good", 4: "noise", 5: "mua"}
    check_budget(simulated(simulate, dialect, curation=6, labels=labels))


@pytest.mark.parametrize("dialect", slow_but(SAVED, ("kilosort4",)))
def test_dialects_curated_by_this_package(simulate, tmp_path, dialect):
    folder = shutil.copytree(simulated(simulate, dialect), tmp_path / "folder")
    session = sic.CurationSession(sic.read_kilosort_as_analyzer(folder))
    first, second, third, fourth = session.unit_ids[:4]
    session.merge([first, second])
    session.split(third, np.arange(session.get_spikes(third).size) % 2)
    session.label([fourth], "good")
    curated = session.apply()
    # without phy's snapshot SpikeInterface's read_phy keeps the clusters that all tables have
    right = {"other_readers": "units are lost there"}
    check_budget(sic.export_to_phy(curated, tmp_path / "exported"), right)
    sic.update_phy_folder(folder, curated)
    check_budget(folder, right)


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.slow
def test_folders_of_another_sorter(tmp_path, complete):
    recording, sorting = generate_ground_truth_recording(
        durations=[20.0], num_channels=16, num_units=6, seed=0
    )
    analyzer = create_sorting_analyzer(sorting, recording, sparse=True)
    analyzer.compute(["random_spikes", "templates"])
    if complete:
        check_budget(sic.export_to_phy(analyzer, tmp_path / "exported", complete=True))
    else:
        with pytest.warns(sic.SiCurationWarning, match="phy will not show"):
            exported = sic.export_to_phy(analyzer, tmp_path / "exported")
        check_budget(exported)


# ------------------------------------------------------------------------------- after the real phy

DRIVER = Path(__file__).parents[1] / "helpers" / "drive_phy.py"


def operations_in(folder):
    """Write what to do in phy with a folder: merge, split and label."""
    clusters = np.load(folder / "spike_clusters.npy").ravel()
    ids, counts = np.unique(clusters, return_counts=True)
    large = ids[np.argsort(counts)[::-1]].tolist()  # which a half still has many spikes of
    rows = np.flatnonzero(clusters == large[0])[::2].tolist()
    operations = [
        ["merge", large[1:3]],
        ["split", rows, [0] * len(rows)],
        ["label", large[3:4], "good"],
        ["label", large[4:5], "noise"],
    ]
    path = folder.with_suffix(".operations.json")
    path.write_text(json.dumps(operations))
    return path


def save_in_phy(folders):
    """Curate in the real phy, and save; one process for all: its start takes most of the time."""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    environment.pop("PYTHONPATH", None)
    pairs = [str(path) for folder in folders for path in (folder, operations_in(folder))]
    arguments = [needs.python_with("phy"), str(DRIVER), *pairs]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=600, env=environment)
    is_done = done.stdout.count("ANSWERS ") == len(folders)
    assert is_done, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def dialects_saved_by_phy(simulate):
    folders = {dialect: simulated(simulate, dialect) for dialect in SAVED}
    save_in_phy(folders.values())
    return folders


@pytest.mark.parametrize("dialect", SAVED)
@pytest.mark.slow
def test_dialects_saved_by_phy(dialects_saved_by_phy, dialect):
    check_budget(dialects_saved_by_phy[dialect])


REAL_SAVED = ("ks4_fresh", "ks4_phy_curated", "ks1_phy_curated", "ks25_example", TRUTH[0], TRUTH[3])


@pytest.fixture(scope="module")
def real_folders_saved_by_phy(shared_data, tmp_path_factory):
    ignored = shutil.ignore_patterns("phy_*")
    folders = {}
    for name in REAL_SAVED:
        folders[name] = shutil.copytree(
            shared_data / name,
            tmp_path_factory.mktemp("real") / "folder",
            ignore=ignored,
            copy_function=shutil.copyfile,
        )
        folders[name].chmod(0o755)
    save_in_phy(folders.values())
    return folders


@pytest.mark.parametrize("name", REAL_SAVED)
@pytest.mark.slow
def test_real_folders_saved_by_phy(real_folders_saved_by_phy, name):
    found = alarms(real_folders_saved_by_phy[name])
    assert set(found) <= set(REAL[name]), found  # what phy was told can mend one


@pytest.mark.slow
def test_the_allen_pipelines_metrics_saved_by_phy(simulate, tmp_path):
    """phy writes each column of metrics.csv to a file of its own, and leaves metrics.csv."""
    folder = shutil.copytree(simulated(simulate, "kilosort2"), tmp_path / "folder")
    rng = np.random.default_rng(0)
    names = [f"metric_{i}" for i in range(17)]
    table = pd.DataFrame(rng.random((12, 17)) * 1000, columns=names)
    table.insert(0, "cluster_id", range(12))
    table[[f"blank_{i}" for i in range(8)]] = np.nan
    table["epoch_name"] = "complete_session"
    table.to_csv(folder / "metrics.csv")
    check_budget(folder)
    save_in_phy([folder])
    assert (folder / "cluster_metric_0.tsv").exists()
    check_budget(folder)
