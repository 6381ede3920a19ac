"""Every column of the units table, and where it came from, against independent tables."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO
from spikeinterface.core import NumpySorting, create_sorting_analyzer, generate_recording

import si_curation as sic
from helpers.nwb_analyzers import make_analyzer, small_analyzer
from helpers.nwb_faults import faults_in
from helpers.nwb_reading import (
    Content,
    assert_frames,
    export,
    messages_of,
)
from si_curation.exporters.nwb.spikes import is_in_uv

pytestmark = pytest.mark.usefixtures("quiet_pynwb")


# ---------------------------------------------------------------------------------------- content


@pytest.mark.parametrize("dialect", ["kilosort2.5", "kilosort3.0.2"])
@pytest.mark.slow
def test_whitened_templates_are_no_volts(tmp_path, simulate, dialect):
    """Kilosort 2.5 and 3 do not write their whitening: no gain makes volts of what they wrote."""
    truth = simulate(dialect, num_templates=4, num_channels=8, num_spikes=400, duration_s=5.0)
    with pytest.warns(sic.SiCurationWarning, match="puts nothing into µV"):
        analyzer = sic.read_kilosort_as_analyzer(truth.folder, gain_to_uV=0.195)
    path = export(analyzer, tmp_path / "out.nwb", t_start=0.0, per_spike=("amplitudes",))
    content = Content(path)
    assert "waveform_mean" not in content.colnames
    assert "ks_amplitudes" in content.colnames
    assert not [name for name in content.colnames if "uV" in name]


@pytest.mark.slow
def test_amplitudes_of_a_recording_are_volts_with_whitened_templates_attached(simulate):
    truth = simulate("kilosort2.5", num_templates=4, num_channels=8, num_spikes=400, duration_s=5.0)
    recording = generate_recording(num_channels=8, durations=[5.0], sampling_frequency=30_000.0)
    recording.set_channel_gains(0.195)
    recording.set_channel_offsets(0.0)
    recording.set_dummy_probe_from_locations(truth.channel_positions)
    order = np.argsort(truth.spike_samples, kind="stable")
    sorting = NumpySorting.from_samples_and_labels(
        [truth.spike_samples[order]], [truth.spike_clusters[order]], 30_000.0
    )
    analyzer = create_sorting_analyzer(sorting, recording, sparse=False, return_in_uV=True)
    analyzer.compute(["random_spikes", "templates", "spike_amplitudes"])
    sic.attach_kilosort_folder(analyzer, truth.folder)
    assert analyzer.get_extension("template_assignment").info["units"] == "whitened"
    assert is_in_uv(analyzer)


@pytest.mark.slow
def test_columns_of_a_curated_session(tmp_path):
    """The packaged folder after a merge: every column against the analyzer's own tables."""
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder(), gain_to_uV=0.5)
    session = sic.CurationSession(analyzer, decided_by="me")
    merged = session.merge([11, 12], reason="one neuron")
    session.label([merged], "good")
    curated = session.apply()
    curated.compute(["template_best_channels", "curation_metrics"])
    path = export(
        curated,
        tmp_path / "out.nwb",
        t_start=3.0,
        per_spike=("amplitudes", "ks_amplitudes", "depths", "template_ids"),
    )
    content = Content(path)
    assert_frames(path, curated, 3.0)
    assert content.ids == curated.unit_ids.tolist()
    first = ["unit_name", "spike_times", "obs_intervals", "electrodes", "electrode_group"]
    first += ["waveform_mean", "quality", "KSLabel"]
    assert content.colnames[: len(first)] == first
    assert content["unit_name"].tolist() == [str(i) for i in curated.unit_ids]
    quality = dict(zip(curated.unit_ids.tolist(), content["quality"], strict=True))
    assert quality[merged] == "good"
    assert quality[8] == "noise"
    labels = curated.get_sorting_property("KSLabel")
    assert content["KSLabel"].tolist() == [str(label) for label in labels]

    assignment = curated.get_extension("template_assignment")
    table = assignment.get_data()
    assert content["main_template_id"].tolist() == table["template_id"].tolist()
    counts = assignment.get_template_counts().toarray()
    template_ids = np.asarray(assignment.template_ids)
    for i in range(len(content.ids)):
        used = np.flatnonzero(counts[i])
        pairs = dict(zip(template_ids[used].tolist(), counts[i, used].tolist(), strict=True))
        found = dict(
            zip(
                content["template_ids"][i].tolist(),
                content["template_spike_counts"][i].tolist(),
                strict=True,
            )
        )
        assert found == pairs
    row = content.ids.index(merged)
    assert sorted(np.ravel(content["original_cluster_ids"][row]).tolist()) == [11, 12]

    spikes = curated.sorting.to_spike_vector()
    amplitudes = curated.get_extension("spike_amplitudes").get_data()
    spike_templates = assignment.get_spike_template_ids()
    own = np.load(sic.example_folder() / "amplitudes.npy").ravel()[assignment.get_spike_rows()]
    for i in range(len(content.ids)):
        mine = spikes["unit_index"] == i
        np.testing.assert_allclose(content["spike_amplitudes_uV"][i], amplitudes[mine], rtol=1e-6)
        np.testing.assert_allclose(content["ks_amplitudes"][i], own[mine], rtol=1e-6)
        np.testing.assert_array_equal(content["spike_template_ids"][i], spike_templates[mine])
        assert content["spike_depths_um"][i].shape == (mine.sum(),)

    best = curated.get_extension("template_best_channels").get_data(outputs="indices")
    positions = curated.get_channel_locations()
    means = curated.get_extension("templates").get_data(operator="average")
    assert content["waveform_mean"].dtype == np.float32
    for i, channels in enumerate(best.values()):
        found = content.electrodes.iloc[content.rows[i]][["rel_x", "rel_y"]].to_numpy()
        np.testing.assert_allclose(found, positions[channels], atol=2e-3)
        mean = content["waveform_mean"][i]
        np.testing.assert_allclose(
            mean[:, : len(channels)], means[i][:, channels] * 1e-6, rtol=1e-5, atol=1e-12
        )
        assert np.isnan(mean[:, len(channels) :]).all()
    assert content.waveform_rate == curated.sampling_frequency
    params = curated.get_extension("templates").params
    assert content.before_peak == pytest.approx(params["ms_before"])

    metrics = curated.get_extension("curation_metrics").get_data()
    written = [name for name in metrics.columns if name in content.colnames]
    assert {"firing_rate", "snr", "isi_violations_ratio"} & set(written)
    for name in written:
        if content[name].dtype.kind == "f":
            np.testing.assert_allclose(
                content[name].astype(float), metrics[name].to_numpy(float, na_value=np.nan)
            )
    assert all(content.descriptions[name].strip() for name in content.colnames)
    assert messages_of(path) == []


def strings_of(path):
    """Give every text that a file holds outside its cached specification."""
    found = []

    def visit(name, item):
        if name.startswith("specifications"):
            return
        values = [item.attrs[key] for key in item.attrs]
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "OS":
            values += list(np.ravel(item[()]))
        found.extend(
            value.decode() if isinstance(value, bytes) else value
            for value in values
            if isinstance(value, str | bytes)
        )

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


def test_provenance(tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    session = sic.CurationSession(analyzer, decided_by="me")
    merged = session.merge([11, 12], reason="one neuron")
    session.label([merged], "good")
    path = export(session.apply(), tmp_path / "out.nwb", t_start=0.0)
    with NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        log = nwbfile.processing["ecephys"]["curation_log"].to_dataframe()
        generated = [list(pair) for pair in nwbfile.was_generated_by]
        description = nwbfile.units.description
    rows = log[log["operation"] == "merge"]
    mine = [row for _, row in rows.iterrows() if merged in np.ravel(row["outputs"]).tolist()]
    assert len(mine) == 1
    assert sorted(np.ravel(mine[0]["inputs"]).tolist()) == [11, 12]
    assert mine[0]["reason"] == "one neuron"
    assert ["si_curation", sic.__version__] in generated
    assert "spikeinterface" in {name.lower() for name, _ in generated}
    assert "kilosort" in description.lower()
    models = []
    for text in strings_of(path):
        try:
            model = json.loads(text)
        except ValueError:
            continue
        if isinstance(model, dict) and "curation_steps" in model:
            models.append(model)
    assert models, "the curation JSON is not in the file"
    merges = [merge for step in models[0]["curation_steps"] for merge in step["merges"]]
    assert merges == [{"unit_ids": [11, 12], "new_unit_id": merged}]


@pytest.mark.slow
def test_not_in_uv_is_not_called_volts(tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    assert not analyzer.return_in_uV
    content = Content(export(analyzer, tmp_path / "out.nwb", t_start=0.0))
    assert "waveform_mean" not in content.colnames
    assert "spike_amplitudes_uV" not in content.colnames
    assert "ks_amplitudes" in content.colnames
    assert messages_of(tmp_path / "out.nwb") == []


def test_without_waveforms_and_values_of_spikes(tmp_path):
    analyzer = small_analyzer()
    path = export(analyzer, tmp_path / "out.nwb", t_start=0.0, write_waveforms=False, per_spike=())
    content = Content(path)
    assert "waveform_mean" not in content.colnames
    assert not [name for name in content.colnames if name.startswith("spike_ampl")]


def test_amplitudes_stand_beside_their_spikes(tmp_path):
    """Two segments: the values go with the spikes of the unit, not with the spike vector."""
    analyzer = make_analyzer(
        [{5: [10, 30], 2: [20, 40], 9: []}, {5: [1], 2: [2, 3], 9: [4]}],
        num_samples=[1000, 1000],
    )
    values = np.arange(8, dtype=np.float32) * -10.0 - 5.0
    analyzer.get_extension("spike_amplitudes").data["amplitudes"] = values
    content = Content(export(analyzer, tmp_path / "out.nwb", t_start=[0.0, 5.0]))
    spikes = analyzer.sorting.to_spike_vector()
    for i in range(3):
        np.testing.assert_array_equal(
            content["spike_amplitudes_uV"][i], values[spikes["unit_index"] == i]
        )


def test_storage(tmp_path):
    rng = np.random.default_rng(0)
    frames = {i: np.unique(rng.integers(0, 3_000_000, 100_000)) for i in range(3)}
    path = export(make_analyzer(frames), tmp_path / "out.nwb", t_start=0.0)
    with h5py.File(path, "r") as file:
        dataset = file["units/spike_times"]
        assert dataset.compression == "gzip"
        assert dataset.compression_opts == 4
        assert not dataset.shuffle  # which makes times larger: they repeat every 1/16 s
        assert 2**19 <= np.prod(dataset.chunks) * 8 <= 2**20
        assert file["units/id"].compression is None


# ------------------------------------------------------------------------------- columns of users


def test_kinds_of_columns(tmp_path):
    import pandas as pd

    analyzer = small_analyzer(
        properties={
            "yes_no": ["yes", "no", "yes", "no", "yes"],
            "zero_one": [0, 1, 1, 0, 1],
            "depth_um": [1.5, np.nan, 2.5, 3.5, 4.5],
            "all_nan": [np.nan] * 5,
            "note": ["α", "", "b", "c", "d"],
            "is_in_striatum": [True, False, True, True, False],
            "pair": np.arange(10.0).reshape(5, 2),
        }
    )
    analyzer.sorting.set_property("mixed", np.array(["a", None, "b", np.nan, "c"], dtype=object))
    analyzer.sorting.set_property("maybe", np.array([1, None, 3, 4, 5], dtype=object))
    analyzer.sorting.set_property("flag", np.array([True, None, False, True, True], dtype=object))
    content = Content(export(analyzer, tmp_path / "out.nwb", t_start=0.0))
    assert content["yes_no"].dtype == bool
    assert content["yes_no"].tolist() == [True, False, True, False, True]
    assert content["zero_one"].dtype == bool
    assert content["zero_one"].tolist() == [False, True, True, False, True]
    np.testing.assert_array_equal(content["depth_um"], [1.5, np.nan, 2.5, 3.5, 4.5])
    assert "all_nan" not in content.colnames
    assert content["note"].tolist() == ["α", "", "b", "c", "d"]
    assert content["is_in_striatum"].tolist() == [True, False, True, True, False]
    np.testing.assert_array_equal(content["pair"], np.arange(10.0).reshape(5, 2))
    assert content["mixed"].tolist() == ["a", "", "b", "", "c"]
    np.testing.assert_array_equal(content["maybe"].astype(float), [1, np.nan, 3, 4, 5])
    assert len(content["flag"]) == 5
    assert pd.unique(pd.Series(content["flag"]).astype(str)).size >= 2
    assert faults_in(tmp_path / "out.nwb") == []


def test_dropped_column_is_logged(tmp_path, caplog):
    analyzer = small_analyzer(properties={"all_nan": [np.nan] * 5})
    with caplog.at_level("INFO", logger="si_curation"):
        export(analyzer, tmp_path / "out.nwb", t_start=0.0)
    assert "all_nan" in caplog.text


NAMES = (
    "rate", "id", "spike_times", "electrodes", "obs_intervals", "waveform_mean", "electrode_group",
    "unit_name", "spike_times_index", "note_index", "template_ids", "template_ids_index", "name",
    "description", "colnames", "columns", "parent", "a/b", "waveforms", "resolution", "data",
    "waveform_rate", "object_id", ".", "ünï", "a b", "", "waveform_unit", "fields",
)  # fmt: skip


@pytest.mark.parametrize("names", [NAMES, ["id", "note_index"]], ids=["all", "two"])
@pytest.mark.slow
def test_names_of_columns_that_mean_something(tmp_path, names):
    """They are written so that everything else reads back, and their values too."""
    values = {name: number + np.arange(1.5, 6.5) for number, name in enumerate(names, 10)}
    analyzer = small_analyzer(properties={**values, "note": list("abcde")})
    out = export(analyzer, tmp_path / "out.nwb", t_start=0.0)
    assert_frames(out, analyzer, 0.0)
    assert faults_in(out) == []
    content = Content(out)
    for name in names:
        kept = [n for n in content.colnames if np.array_equal(content.columns[n], values[name])]
        assert len(kept) == 1, f"the values of the column {name!r} are lost"
    assert content["note"].tolist() == list("abcde")
    with NWBHDF5IO(out, "r") as io:
        assert len(io.read().units.to_dataframe()) == 5
