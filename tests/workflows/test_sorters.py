"""Kilosort 4 and two of SpikeInterface's sorters on one recording, to phy and NWB.

Needs an interpreter with kilosort, torch and ``spikeinterface[spykingcircus2,tridesclous2]``, named
by the environment variable SI_CURATION_SORTERS_PYTHON.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import spikeinterface.core as sc
from spikeinterface.sorters import read_sorter_folder

import si_curation as sic
from helpers import needs
from helpers.assignments import ASSIGNMENT, BEST, extension

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]
DRIVER = ROOT / "tests" / "helpers" / "drive_phy.py"
SORTERS = ("spykingcircus2", "tridesclous2", "kilosort4")
NUM_UNITS = 8


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of one run of all sorters on one recording, which is in it."""
    python = needs.python_with("sorters")
    output = tmp_path_factory.mktemp("sorters") / "run"
    script = ROOT / "benchmarks" / "bench_sorters.py"
    arguments = [python, str(script), str(output), "--duration", "30", "--units", str(NUM_UNITS)]
    done = subprocess.run(
        [*arguments, "--sorters", *SORTERS],
        capture_output=True,
        text=True,
        timeout=1500,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return output


@pytest.fixture(scope="module")
def result(run):
    return json.loads((run / "result.json").read_text(encoding="utf-8"))


@pytest.fixture(params=SORTERS)
def row(request, result):
    (found,) = [row for row in result["rows"] if row["sorter"] == request.param]
    return found


def test_every_extension_is_there(row):
    assert row["missing"] == []


def test_simulated_units_are_found_and_suggestions_lose_none(row):
    # Kilosort 4 takes neighbours for one unit in so short a recording: it finds 3 of these 8
    least = NUM_UNITS // 3 if row["sorter"] == "kilosort4" else NUM_UNITS // 2
    assert row["before"]["well detected"] >= least
    assert row["before"]["mean accuracy"] >= 0.5
    assert row["after"]["well detected"] >= row["before"]["well detected"]
    assert row["after"]["overmerged"] <= row["before"]["overmerged"]
    assert row["after"]["units"] <= row["before"]["units"]


def test_nothing_is_lost_on_the_way_to_phy(row):
    from phylib.io.model import load_model

    assert row["spikes_in_phy"] == row["spikes"]
    assert row["units_in_phy"] == row["after"]["units"]
    model = load_model(Path(row["phy"]) / "params.py")
    assert model.n_spikes == row["spikes"]
    model.close()


def test_nwb_is_valid_and_holds_the_same_spikes(row):
    import pynwb
    from pynwb.validation import validate

    assert not validate(path=row["nwb"])
    with pynwb.NWBHDF5IO(row["nwb"], "r") as io:
        units = io.read().units
        assert len(units) == row["after"]["units"]
        assert units["spike_times"].target.data.shape[0] == row["spikes"]


@pytest.mark.parametrize("format", ["memory", "binary_folder", "zarr"])
def test_run_sorter_and_an_analyzer_are_as_the_reader(run, tmp_path, format):
    sorting = read_sorter_folder(run / "kilosort4")
    kwargs = {} if format == "memory" else {"format": format, "folder": tmp_path / "analyzer"}
    analyzer = sc.create_sorting_analyzer(
        sorting, sc.load(run / "recording"), sparse=False, **kwargs
    )
    read = sic.read_kilosort_as_analyzer(run / "kilosort4" / "sorter_output")
    for one in (analyzer, read):
        one.compute([ASSIGNMENT, BEST, "unit_similarity"])
    if format != "memory":
        analyzer = sc.load_sorting_analyzer(analyzer.folder)
    check_same(analyzer, read)
    ids = read.unit_ids.tolist()
    size = int(read.sorting.count_num_spikes_per_unit(outputs="array")[2])
    halves = {ids[2]: [np.arange(size // 2), np.arange(size // 2, size)]}
    for change in (
        lambda one: one.merge_units([ids[:2]], sparsity_overlap=0.0),
        lambda one: one.split_units(halves),
    ):
        check_same(change(analyzer), change(read))


def check_same(analyzer, read):
    """Every spike, and what is made from it, is as of `read_kilosort_as_analyzer`."""
    ours, its = extension(analyzer), extension(read)
    vectors = [one.sorting.to_spike_vector() for one in (analyzer, read)]
    both = zip((analyzer, read), vectors, strict=True)
    units = [one.unit_ids[vector["unit_index"]] for one, vector in both]
    orders = [np.argsort(one.get_spike_rows()) for one in (ours, its)]
    for values in (
        [one.get_spike_rows() for one in (ours, its)],
        [one.get_spike_template_ids() for one in (ours, its)],
        [vector["sample_index"] for vector in vectors],
        units,
    ):
        np.testing.assert_array_equal(*(v[o] for v, o in zip(values, orders, strict=True)))
    assert ours.get_data().loc[read.unit_ids].equals(its.get_data())
    best, expected = (extension(one, BEST).get_data("indices") for one in (analyzer, read))
    for unit_id in read.unit_ids:
        np.testing.assert_array_equal(best[unit_id], expected[unit_id])
    order = analyzer.sorting.ids_to_indices(read.unit_ids)
    similarity = extension(analyzer, "unit_similarity").get_data()[np.ix_(order, order)]
    np.testing.assert_array_equal(similarity, extension(read, "unit_similarity").get_data())
    np.testing.assert_array_equal(
        analyzer.get_sorting_property("quality")[order], read.get_sorting_property("quality")
    )


def test_matched_units_share_their_best_channels(result):
    assert len(result["pairs"]) == 3
    for pair in result["pairs"]:
        assert pair["matched"] >= NUM_UNITS // 2, pair
        assert pair["near"] >= 0.9, pair


def test_real_phy_opens_them(result, tmp_path):
    python = needs.python_with("phy")
    nothing = tmp_path / "operations.json"
    nothing.write_text("[]")
    rows = result["rows"]
    done = subprocess.run(
        [python, str(DRIVER), *(part for row in rows for part in (row["phy"], str(nothing)))],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWERS ")]
    assert len(lines) == len(rows), done.stderr[-2000:]
    for row, line in zip(rows, lines, strict=True):
        clusters = json.loads(line.removeprefix("ANSWERS "))["clusters"]
        ours = sic.read_phy_folder(row["phy"])
        expected = np.unique(ours.spike_clusters, return_counts=True)
        found = {int(unit): answers["num_spikes"] for unit, answers in clusters.items()}
        assert found == dict(zip(*(values.tolist() for values in expected), strict=True))
