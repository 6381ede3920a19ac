"""`export_to_unitmatch`: the layout that UnitMatch documents, its numbers, and UnitMatch itself."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pandas as pd
import pytest
import spikeinterface.core as sc

import si_curation as sic
from helpers.analyzers import recording_with_templates
from helpers.needs import python_with
from si_curation.cli import main

OPTIONS = {"num_templates": 8, "num_channels": 12, "num_spikes": 600, "seed": 4}
#: What a user of UnitMatchPy 3.6 does; prints what it read.
READ = """
import json, os, sys
import numpy as np
import UnitMatchPy.bayes_functions as bf
import UnitMatchPy.default_params as default_params
import UnitMatchPy.overlord as ov
import UnitMatchPy.utils as util

root = sys.argv[1]
with open(os.path.join(root, "sessions.json")) as file:
    names = [one["name"] for one in json.load(file)["sessions"]]
param = default_params.get_default_param()
param["KS_dirs"] = [os.path.join(root, name) for name in names]
paths, labels, positions = util.paths_from_KS(param["KS_dirs"], param)
param = util.get_probe_geometry(positions[0], param)
waveform, session_id, switch, within, good, param = util.load_good_waveforms(paths, labels, param)
info = {"good_units": good, "session_switch": switch, "session_id": session_id}
properties = ov.extract_parameters(waveform, positions, info, param)
_, pairs, scores, predictors = ov.extract_metric_scores(
    properties, switch, within, param, niter=2
)
prior = 1 - param["n_expected_matches"] / param["n_units"] ** 2
labels, conditions = pairs.astype(int), np.unique(pairs.astype(int))
kernels = bf.get_parameter_kernels(scores, labels, conditions, param, add_one=1)
found = bf.apply_naive_bayes(kernels, np.array((prior, 1 - prior)), predictors, param, conditions)
found = found[:, 1].reshape(param["n_units"], -1)
print("RESULT", json.dumps({
    "shape": waveform.shape,
    "peak": param["peak_loc"],
    "ids": [[int(i) for i in one.ravel()] for one in good],
    "matches": np.argwhere(found[: switch[1], switch[1] :] > 0.5).tolist(),
}))
"""


@pytest.fixture
def truth(simulate):
    return simulate("kilosort4", **OPTIONS)


@pytest.fixture
def analyzer(truth):
    return sic.read_kilosort_as_analyzer(truth.folder)


def waveform_of(folder, unit_id):
    return np.load(folder / "RawWaveforms" / f"Unit{unit_id}_RawSpikes.npy")


def test_layout(analyzer, tmp_path):
    analyzer.sorting.set_property("quality", ["good", "mua", *["good"] * 5, "noise"])
    folder = sic.export_to_unitmatch([analyzer, analyzer], tmp_path / "out")
    assert folder == tmp_path / "out"
    assert sorted(one.name for one in folder.iterdir()) == [
        "session_01",
        "session_02",
        "sessions.json",
    ]
    about = json.loads((folder / "sessions.json").read_text())
    assert [one["name"] for one in about["sessions"]] == ["session_01", "session_02"]
    assert {one["waveforms_from"] for one in about["sessions"]} == {"features"}
    one = folder / "session_01"
    assert sorted(path.name for path in one.iterdir()) == [
        "RawWaveforms",
        "channel_positions.npy",
        "cluster_group.tsv",
        "spike_clusters.npy",
        "spike_times.npy",
    ]
    names = {f"Unit{unit_id}_RawSpikes.npy" for unit_id in analyzer.unit_ids}
    assert {path.name for path in (one / "RawWaveforms").iterdir()} == names
    positions = np.load(one / "channel_positions.npy")
    np.testing.assert_array_equal(positions, analyzer.get_channel_locations())
    table = pd.read_csv(one / "cluster_group.tsv", sep="\t")
    assert table["cluster_id"].tolist() == analyzer.unit_ids.tolist()
    assert table["group"].tolist() == ["good", "mua", *["good"] * 5, "noise"]
    vector = analyzer.sorting.to_spike_vector()
    np.testing.assert_array_equal(np.load(one / "spike_times.npy"), vector["sample_index"])
    clusters = np.load(one / "spike_clusters.npy")
    np.testing.assert_array_equal(clusters, analyzer.unit_ids[vector["unit_index"]])


def test_rebuilt_waveforms_of_both_halves(analyzer, tmp_path):
    folder = sic.export_to_unitmatch(
        {"a": analyzer}, tmp_path / "out", good_labels="all", max_spikes_per_unit=None
    )
    before = analyzer.get_extension("template_assignment").info["num_samples_before"]
    for unit_id in analyzer.unit_ids:
        whole = sic.get_spike_waveforms(
            analyzer, unit_id=unit_id, channel_ids=analyzer.channel_ids
        ).waveforms.astype("float64")
        found = waveform_of(folder / "a", unit_id)
        assert found.shape == (82, 12, 2)
        assert found.dtype == np.float32
        cut = len(whole) // 2
        start = 41 - before
        for half, spikes in enumerate((whole[:cut], whole[cut:])):
            expected = np.zeros((82, 12))
            expected[start : start + whole.shape[1]] = spikes.mean(axis=0)
            np.testing.assert_allclose(found[:, :, half], expected, atol=1e-3 * np.abs(whole).max())


def test_means_of_the_traces(truth, analyzer, tmp_path):
    recording = recording_with_templates(truth.folder, analyzer)
    other = sc.create_sorting_analyzer(analyzer.sorting, recording, sparse=False)
    folder = sic.export_to_unitmatch(
        [other], tmp_path / "out", good_labels="all", max_spikes_per_unit=20
    )
    about = json.loads((folder / "sessions.json").read_text())
    assert about["sessions"][0]["waveforms_from"] == "recording"
    traces = recording.get_traces()
    for unit_id in analyzer.unit_ids[:3]:
        train = analyzer.sorting.get_unit_spike_train(unit_id)
        train = train[(train >= 41) & (train + 41 <= len(traces))]
        train = train[(np.arange(20) * train.size) // 20] if train.size > 20 else train
        found = waveform_of(folder / "session_01", unit_id)
        cut = train.size // 2
        for half, samples in enumerate((train[:cut], train[cut:])):
            expected = traces[samples[:, None] + np.arange(-41, 41)].mean(axis=0)
            expected = expected - expected[:20].mean(axis=0)
            np.testing.assert_allclose(
                found[:, :, half], expected, atol=1e-4 * np.abs(traces).max()
            )


def test_other_ids_are_numbered_and_units_without_halves_are_left_out(tmp_path):
    recording, sorting = sc.generate_ground_truth_recording(
        durations=[2.0, 1.0], num_channels=4, num_units=2, seed=0
    )
    trains = [
        {**{u: sorting.get_unit_spike_train(u, segment) for u in sorting.unit_ids}, "empty": []}
        for segment in (0, 1)
    ]
    sorting = sc.NumpySorting.from_unit_dict(
        [{f"u{k}": np.array(v, dtype=int) for k, v in one.items()} for one in trains],
        recording.sampling_frequency,
    )
    sorting.set_property("bc_unitType", ["GOOD", "MUA", "GOOD"])
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    with pytest.warns(sic.SiCurationWarning, match="uempty"):
        folder = sic.export_to_unitmatch(
            {"day 1": analyzer},
            tmp_path / "out",
            label_property="bc_unitType",
            good_labels=["GOOD", "NON-SOMA GOOD"],
        )
    one = folder / "day 1"
    assert (one / "unit_ids.tsv").read_text().split() == [
        *("cluster_id", "unit_id", "0", "u0", "1", "u1", "2", "uempty")
    ]
    assert pd.read_csv(one / "cluster_group.tsv", sep="\t")["group"].tolist() == ["good", "MUA"]
    times, first = np.load(one / "spike_times.npy"), recording.get_num_samples(0)
    assert (np.diff(times) >= 0).all()
    assert times.max() > first, "segments end to end"


def test_nothing_is_overwritten_unasked(analyzer, tmp_path):
    target = tmp_path / "out"
    sic.export_to_unitmatch([analyzer], target, good_labels="all")
    with pytest.raises(sic.OutputExistsError, match="exists"):
        sic.export_to_unitmatch([analyzer], target, good_labels="all")
    sic.export_to_unitmatch([analyzer], target, good_labels="all", overwrite=True)
    (backup,) = tmp_path.glob("out.backup-*")
    assert (backup / "sessions.json").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"analyzers": []}, sic.ParameterError, "empty"),
        ({"analyzers": 3}, sic.ParameterError, "analyzers"),
        ({"analyzers": {"a/b": None}}, sic.ParameterError, "the name of a folder.*not an analyzer"),
        ({"good_labels": ["best"]}, sic.ParameterError, r"session_01.*\['best'\].*unsorted"),
        ({"good_labels": "good"}, sic.ParameterError, "good_labels"),
        (
            {"label_property": "nothing", "good_labels": ["good"]},
            sic.ParameterError,
            "no property 'nothing'.*quality",
        ),
        ({"source": "recording"}, sic.MissingDataError, "set_temporary_recording"),
        ({"max_spikes_per_unit": 1}, sic.ParameterError, "max_spikes_per_unit"),
    ],
)
def test_wrong_arguments(analyzer, tmp_path, arguments, error, match):
    call = {"analyzers": [analyzer], "good_labels": "all"} | arguments
    with pytest.raises(error, match=match):
        sic.export_to_unitmatch(call.pop("analyzers"), tmp_path / "out", **call)
    assert list(tmp_path.iterdir()) == []


def test_sessions_that_do_not_go_together(simulate, analyzer, tmp_path):
    other = sic.read_kilosort_as_analyzer(
        simulate("kilosort4", **{**OPTIONS, "num_channels": 10}).folder, gain_to_uV=0.2
    )
    with pytest.raises(sic.ParameterError, match=r"10 channels.*has 12.*uV as units.*has raw"):
        sic.export_to_unitmatch([analyzer, other], tmp_path / "out", good_labels="all")
    assert list(tmp_path.iterdir()) == []


def test_whitened_waveforms_are_refused(simulate, tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(simulate("kilosort2.5", **OPTIONS).folder)
    with pytest.raises(sic.MissingDataError, match="whitened data"):
        sic.export_to_unitmatch([analyzer], tmp_path / "out", good_labels="all")


def test_a_folder_without_features_is_named(simulate, tmp_path):
    truth = simulate("kilosort4", **OPTIONS)
    (truth.folder / "pc_features.npy").unlink()
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    with pytest.raises(sic.MissingDataError, match=r"'b'.*no pc_features\.npy.*recording"):
        sic.export_to_unitmatch({"b": analyzer}, tmp_path / "out", good_labels="all")


def test_a_failure_leaves_nothing(analyzer, tmp_path, monkeypatch):
    import si_curation.exporters.unitmatch as module

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(module, "_manifest", fail)
    with pytest.raises(OSError, match="full"):
        sic.export_to_unitmatch([analyzer], tmp_path / "new" / "out", good_labels="all")
    assert list(tmp_path.iterdir()) == []


def test_command(truth, tmp_path, capsys):
    sources = [str(truth.folder)] * 2
    names = ["--name", "monday", "--name", "tuesday"]
    with pytest.raises(SystemExit) as done:
        main(["export-unitmatch", str(tmp_path / "out"), *sources, *names, "--all-units"])
    assert done.value.code == 0
    assert capsys.readouterr().out == f"Wrote {tmp_path / 'out'}: 2 sessions\n"
    assert (tmp_path / "out" / "tuesday" / "cluster_group.tsv").exists()
    with pytest.raises(SystemExit) as done:
        main(["export-unitmatch", str(tmp_path / "one"), *sources, "--name", "monday"])
    assert done.value.code == 2
    assert "--name is given 1 times for 2 sessions" in capsys.readouterr().err


@pytest.mark.slow
def test_unitmatch_reads_it_and_finds_the_same_units(shared_data, tmp_path):
    python = python_with("unitmatch")  # it needs other versions of numpy and pandas
    whole = sic.read_kilosort_as_analyzer(shared_data / "ks4_truth" / "static" / "ks")
    halves = sic.split_by_session(whole, [40.0], names=["morning", "evening"])
    folder = sic.export_to_unitmatch(halves, tmp_path / "out", label_property="KSLabel")
    done = subprocess.run(
        [python, "-c", READ, str(folder)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    line = next(one for one in done.stdout.splitlines() if one.startswith("RESULT"))
    result = json.loads(line.removeprefix("RESULT"))
    first, second = result["ids"]
    assert result["shape"][1:] == [82, 32, 2]
    assert result["peak"] == 41
    same = {unit_id for unit_id in first if unit_id in second}
    matched = {(first[i], second[j]) for i, j in result["matches"]}
    found = {a for a, b in matched if a == b}
    assert len(found & same) >= 0.85 * len(same)
