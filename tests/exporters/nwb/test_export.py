"""`export_to_nwb`: real folders, analyzers of every kind, and what the columns hold."""

from __future__ import annotations

import json
import os

import h5py
import numpy as np
import pandas as pd
import pynwb
import pytest
import spikeinterface.core as sc
from click.testing import CliRunner
from spikeinterface.extractors import read_nwb_recording, read_nwb_sorting

import si_curation as sic
from helpers.nwb_faults import faults_in
from helpers.nwb_files import (
    METADATA,
    START,
    digest,
    leftovers,
    make_analyzer,
    two_probes,
    write_source,
)
from si_curation.cli import cli
from si_curation.exporters.nwb.columns import free_name, ids_column, make_columns, normalise
from si_curation.exporters.nwb.sink import Sink

REAL = ["ks4_fresh", "ks4_phy_curated", "ks1_phy_curated", "np1_without_params"]


def inspect(path):
    """Everything that nwbinspector says, at all levels, by default and as DANDI has it."""
    from nwbinspector import inspect_nwbfile, load_config

    assert faults_in(path) == []
    return [
        f"{found.check_function_name}: {found.object_name}: {found.message}"
        for config in (None, load_config("dandi"))
        for found in inspect_nwbfile(nwbfile_path=str(path), config=config, skip_validate=True)
    ]


def assert_same_spikes(path, analyzer, t_start):
    back = read_nwb_sorting(path, t_start=t_start)
    assert [str(i) for i in back.unit_ids] == [str(i) for i in analyzer.unit_ids]
    for unit in analyzer.unit_ids:
        np.testing.assert_array_equal(
            back.get_unit_spike_train(str(unit)), analyzer.sorting.get_unit_spike_train(unit)
        )


def read_units(path, name=None):
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        nwbfile = io.read()
        table = nwbfile.units if name is None else nwbfile.processing["ecephys"][name]
        frame = {
            c: table[c][:] for c in table.colnames if c not in ("electrodes", "electrode_group")
        }
        if "electrodes" in table.colnames:
            ends = np.asarray(table["electrodes"].data[:]).astype(int)
            rows = np.asarray(table["electrodes"].target.data[:])
            frame["electrodes"] = np.split(rows, ends[:-1])
            frame["group"] = [group.name for group in table["electrode_group"][:]]
        return frame


# ------------------------------------------------------------------- folders of Kilosort


@pytest.mark.slow
@pytest.mark.parametrize("gain", [None, 0.195])
@pytest.mark.parametrize("name", REAL)
def test_real_folders(name, gain, shared_data, tmp_path):
    rate = 30_000.0 if "np1" in name else None
    analyzer = sic.read_kilosort_as_analyzer(
        shared_data / name, gain_to_uV=gain, sampling_frequency=rate
    )
    analyzer.compute("template_best_channels")
    everything = ("amplitudes", "ks_amplitudes", "template_ids")
    path = sic.export_to_nwb(
        analyzer, tmp_path / "a.nwb", metadata=METADATA, t_start=0.25, per_spike=everything
    )
    assert_same_spikes(path, analyzer, 0.25)
    assert faults_in(path) == []
    assert inspect(path) == []
    units = read_units(path)
    assert list(units["quality"]) == analyzer.get_sorting_property("quality").tolist()
    assert ("waveform_mean" in units) == (gain is not None)
    assert ("spike_amplitudes_uV" in units) == (gain is not None)
    lineage = sic.reconstruct_lineage(analyzer)
    best = analyzer.get_extension("template_best_channels").get_data(outputs="indices")
    spikes = analyzer.sorting.to_spike_vector()
    templates = analyzer.get_extension("template_assignment").get_spike_template_ids()
    amplitudes = np.load(shared_data / name / "amplitudes.npy").ravel()
    rows = analyzer.get_extension("template_assignment").get_spike_rows()
    for i, unit in enumerate(analyzer.unit_ids):
        assert units["main_template_id"][i] == lineage.template_id[unit]
        pairs = zip(units["template_ids"][i], units["template_spike_counts"][i], strict=True)
        assert {(int(a), int(b)) for a, b in pairs} == set(lineage.templates[unit])
        assert units["original_cluster_ids"][i].tolist() == [unit]
        np.testing.assert_array_equal(units["electrodes"][i], best[unit])
        own = spikes["unit_index"] == i
        np.testing.assert_array_equal(units["spike_template_ids"][i], templates[own])
        np.testing.assert_array_equal(units["ks_amplitudes"][i], amplitudes[rows[own]])
        if gain is not None and len(best[unit]):
            mean = analyzer.get_extension("templates").get_data()[i][:, best[unit]] * 1e-6
            np.testing.assert_allclose(units["waveform_mean"][i][:, : len(best[unit])], mean)


@pytest.mark.slow
def test_after_a_session(tmp_path, hash_files):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder(), gain_to_uV=1.0)
    before = hash_files(sic.example_folder())
    session = sic.CurationSession(analyzer, decided_by="me")
    merged = session.merge([11, 12], reason="one neuron")
    session.label([merged], "good")
    parts = session.split_by_template(13)
    session.merge([4, 7])
    session.undo()
    saved = session.apply("binary_folder", tmp_path / "analyzer")
    curated = sc.load_sorting_analyzer(saved.folder)  # the history is in the folder
    path = sic.export_to_nwb(curated, tmp_path / "a.nwb", metadata=METADATA, t_start=0.0)
    assert hash_files(sic.example_folder()) == before
    assert inspect(path) == []
    units = read_units(path)
    ids = list(curated.unit_ids)
    assert units["original_cluster_ids"][ids.index(merged)].tolist() == [11, 12]
    for part in parts:
        assert units["original_cluster_ids"][ids.index(part)].tolist() == [13]
    assert units["quality"][ids.index(merged)] == "good"
    by, at = units["quality_decided_by"], units["quality_decided_at"]
    assert [i for i, who in zip(ids, by, strict=True) if who] == [merged]
    assert by[ids.index(merged)] == "me"
    assert at[ids.index(merged)].startswith("20")
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        nwbfile = io.read()
        log = nwbfile.processing["ecephys"]["curation_log"].to_dataframe()
        text = nwbfile.scratch["curation_json"].data
        programs = dict(np.asarray(nwbfile.was_generated_by[:]).tolist())
        description = nwbfile.units.description
    steps = log[log.decided_by == "me"]
    assert steps.operation.tolist() == ["merge", "label", "split"]
    assert [np.asarray(i).tolist() for i in steps.inputs] == [[11, 12], [merged], [13]]
    assert [np.asarray(i).tolist() for i in steps.outputs] == [[merged], [merged], parts]
    assert steps.reason.tolist()[0] == "one neuron"
    assert all(text.startswith("20") for text in steps.time)
    told = log[log.decided_by == "curation before this package"]
    assert set(told.operation) == {"merged", "split"}
    assert log.operation.iloc[[0, -1]].tolist() == ["sort", "export"]
    assert programs["si_curation"] == sic.__version__
    assert "kilosort4" in description
    assert "1 merge" in description
    again = sic.CurationSession(analyzer)
    again.apply_spikeinterface_curation(json.loads(text))
    assert set(again.unit_ids) == set(ids)


@pytest.mark.slow
def test_a_second_session_adds_to_the_history(tmp_path):
    first = sic.CurationSession(sic.read_kilosort_as_analyzer(sic.example_folder()))
    first.merge([11, 12])
    second = sic.CurationSession(first.apply())
    last = second.merge([8, 14])
    path = sic.export_to_nwb(second.apply(), tmp_path / "a.nwb", metadata=METADATA, t_start=0.0)
    units = read_units(path)
    assert units["original_cluster_ids"][list(units["unit_name"]).index(str(last))].tolist() == [
        8,
        11,
        12,
    ]
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        nwbfile = io.read()
        log = nwbfile.processing["ecephys"]["curation_log"].to_dataframe()
        steps = json.loads(nwbfile.scratch["curation_json"].data)["curation_steps"]
    assert (log.operation == "merge").sum() == 2
    assert [len(step["merges"]) for step in steps if step["merges"]] == [1, 1]


def test_without_the_folder_the_history_tells_the_clusters(tmp_path):
    import shutil

    folder = shutil.copytree(sic.example_folder(), tmp_path / "folder")
    session = sic.CurationSession(sic.read_kilosort_as_analyzer(folder))
    merged = session.merge([11, 12])
    curated = session.apply()
    shutil.rmtree(folder)
    path = sic.export_to_nwb(curated, tmp_path / "a.nwb", metadata=METADATA, t_start=0.0)
    units = read_units(path)
    assert units["original_cluster_ids"][-1].tolist() == [11, 12]
    assert units["unit_name"][-1] == str(merged)
    assert "ks_amplitudes" not in units  # the file is gone, and nothing else is called so


# ------------------------------------------------------------------------ other sorters


@pytest.mark.slow
@pytest.mark.parametrize("format", ["memory", "binary_folder", "zarr"])
def test_another_sorter_in_every_format(format, tmp_path):
    recording, sorting = sc.generate_ground_truth_recording(
        durations=[4.0], num_channels=6, num_units=4, seed=0
    )
    recording.shift_times(3.0)
    sorting = sorting.rename_units(["a", "b", "c", "d"])
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "templates", "spike_amplitudes", "noise_levels"])
    analyzer.compute("quality_metrics", metric_names=["num_spikes", "snr", "firing_rate"])
    sic.compute_template_assignment(analyzer)
    if format != "memory":
        analyzer = analyzer.save_as(format=format, folder=tmp_path / "analyzer")
    path = sic.export_to_nwb(analyzer, tmp_path / "a.nwb", metadata=METADATA, t_start=3.0)
    assert inspect(path) == []
    assert_same_spikes(path, analyzer, 3.0)
    units = read_units(path)
    assert [x.tolist() for x in units["original_cluster_ids"]] == [["a"], ["b"], ["c"], ["d"]]
    snr = analyzer.get_extension("quality_metrics").get_data()["snr"]
    np.testing.assert_allclose(units["snr"], snr)
    templates = analyzer.get_extension("templates").get_data()
    for i, own in enumerate(units["electrodes"]):
        size = np.ptp(templates[i], axis=0)
        np.testing.assert_array_equal(own, np.argsort(-size, kind="stable")[: len(own)])
        np.testing.assert_allclose(
            units["waveform_mean"][i][:, : len(own)], templates[i][:, own] * 1e-6, rtol=1e-6
        )
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        table = io.read().units
        extension = analyzer.get_extension("templates")
        assert table.waveform_time_before_peak_in_ms == pytest.approx(
            extension.nbefore / analyzer.sampling_frequency * 1e3
        )
        assert table.waveform_rate == analyzer.sampling_frequency
        assert "snr" not in table["snr"].description.split()[:1]


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param({0: [], 1: []}, marks=pytest.mark.slow),
        pytest.param({"x": [5]}, marks=pytest.mark.slow),
        {7: [], 3: [1, 2, 2, 9], 5: [2]},
    ],
)
def test_units_without_spikes(frames, tmp_path):
    analyzer = make_analyzer(frames)
    path = sic.export_to_nwb(analyzer, tmp_path / "a.nwb", metadata=METADATA, t_start=0.0)
    assert faults_in(path) == []
    assert_same_spikes(path, analyzer, 0.0)
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        units = io.read().units
        whole = all(isinstance(unit, int) for unit in frames)
        assert units.id[:].tolist() == (list(frames) if whole else list(range(len(frames))))
        np.testing.assert_allclose(units["obs_intervals"][0][0][0], 0.0)


@pytest.mark.slow
def test_without_templates_there_are_no_electrodes_of_units(tmp_path):
    analyzer = make_analyzer({0: [5], 1: [9]}, templates=False)
    with pytest.warns(sic.SiCurationWarning, match="no templates, so that") as caught:
        path = sic.export_to_nwb(analyzer, tmp_path / "a.nwb", metadata=METADATA, t_start=0.0)
    assert len(caught) == 1
    assert "electrodes" not in read_units(path)
    assert inspect(path) == []


def test_waveforms_without_gain_are_left_out_with_a_warning(tmp_path, recwarn):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    with pytest.warns(sic.SiCurationWarning, match=r"waveform_mean .* gain_to_uV= .*--no-wav"):
        sic.export_to_nwb(analyzer, tmp_path / "a.nwb", metadata=METADATA, t_start=0.0)
    recwarn.clear()
    path = sic.export_to_nwb(
        analyzer, tmp_path / "b.nwb", metadata=METADATA, t_start=0.0, write_waveforms=False
    )
    assert not [one for one in recwarn if "waveform_mean" in str(one.message)]
    assert "waveform_mean" not in read_units(path)


def test_copy_of_a_file_without_electrodes(tmp_path):
    source = tmp_path / "s.nwb"
    with pynwb.NWBHDF5IO(str(source), "w") as io:
        io.write(pynwb.NWBFile("behaviour alone", "id", START))
    analyzer = make_analyzer({0: [5], 1: [9]})
    path = sic.export_to_nwb(
        analyzer, tmp_path / "a.nwb", mode="export", source_nwb=source, t_start=0.0
    )
    assert_same_spikes(path, analyzer, 0.0)
    assert "electrodes" in read_units(path)


@pytest.mark.slow
def test_two_probes_with_shanks(tmp_path):
    group = two_probes(per_probe=4, shanks=2)
    analyzer = make_analyzer({i: [10 * i] for i in range(8)}, probegroup=group)
    path = sic.export_to_nwb(
        analyzer, tmp_path / "a.nwb", metadata={"NWBFile": METADATA["NWBFile"]}, t_start=0.0
    )
    units = read_units(path)
    names = [f"probe{p}_shank{s}" for p in (0, 1) for s in (0, 1)]
    assert list(units["group"]) == [name for name in names for _ in range(2)]
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        nwbfile = io.read()
        assert list(nwbfile.devices) == ["probe0", "probe1"]
        table = nwbfile.electrodes.to_dataframe()
    assert table.shank_id.tolist() == ["0", "0", "1", "1"] * 2
    np.testing.assert_allclose(table[["rel_x", "rel_y"]], analyzer.get_channel_locations())
    for own in units["electrodes"]:
        assert set(table.group_name.iloc[own]) == {table.group_name.iloc[own[0]]}


@pytest.mark.parametrize("count", [2, 3])
def test_groups_of_the_metadata_that_do_not_fit(count, tmp_path):
    metadata = {
        **METADATA,
        "Ecephys": {"ElectrodeGroup": [{"name": f"g{i}", "location": "CA1"} for i in range(count)]},
    }
    with pytest.raises(sic.ParameterError, match=f"{count} of ElectrodeGroup, expected 1"):
        sic.export_to_nwb(make_analyzer({0: [5]}), tmp_path / "a.nwb", metadata=metadata, t_start=0)


# ------------------------------------------------------------ electrodes that are there


def kilosort_in_columns(columns, tmp_path):
    """A Kilosort folder whose channel i is this column of the raw data, at these places."""
    sic.simulate_kilosort_folder(
        tmp_path / "ks",
        num_channels=len(columns),
        num_raw_channels=6,
        num_templates=4,
        num_spikes=500,
        seed=1,
    )
    np.save(tmp_path / "ks" / "channel_map.npy", np.asarray(columns, dtype=np.int32))
    return sic.read_kilosort_as_analyzer(tmp_path / "ks", gain_to_uV=1.0)


@pytest.mark.parametrize("mode", ["sidecar", "export", "append"])
@pytest.mark.slow
def test_raw_columns_of_a_kilosort_folder(mode, tmp_path):
    analyzer = kilosort_in_columns([1, 2, 4, 5], tmp_path)
    places = dict(zip([1, 2, 4, 5], analyzer.get_channel_locations(), strict=True))
    # rows of the table in another order than columns of the data
    rows = [3, 1, 5, 0, 2, 4]
    positions = [(900.0 + r, 900.0) for r in range(6)]
    for column, place in places.items():
        positions[rows[column]] = tuple(place)
    source = write_source(
        tmp_path / "s.nwb", names=[f"n{r}" for r in range(6)], positions=positions, rows=rows,
        num_samples=analyzer.get_num_samples(0),
    )  # fmt: skip
    out = source if mode == "append" else tmp_path / "a.nwb"
    path = sic.export_to_nwb(analyzer, out, source_nwb=source, mode=mode)
    analyzer.compute("template_best_channels")
    best = analyzer.get_extension("template_best_channels").get_data()
    for unit, own in zip(analyzer.unit_ids, read_units(path)["electrodes"], strict=True):
        assert own.tolist() == [rows[column] for column in best[unit]]


@pytest.mark.slow
def test_a_kilosort_folder_and_a_file_without_places(tmp_path):
    analyzer = kilosort_in_columns([0, 1, 2, 3], tmp_path)
    nwbfile = pynwb.NWBFile("d", "i", START)
    device = nwbfile.create_device(name="d", description="d")
    group = nwbfile.create_electrode_group("g", "g", "CA1", device=device)
    for _ in range(4):
        nwbfile.add_electrode(group=group, location="CA1")
    with pytest.raises(sic.ParameterError, match="columns of the raw data"):
        sic.add_units_to_nwbfile(analyzer, nwbfile, t_start=0.0)
    units = sic.add_units_to_nwbfile(
        analyzer, nwbfile, t_start=0.0, electrode_map={i: 3 - i for i in range(4)}
    )
    analyzer.compute("template_best_channels")
    best = analyzer.get_extension("template_best_channels").get_best_channels(0)
    assert units["electrodes"].target.data[: len(best)].tolist() == (3 - best).tolist()


@pytest.mark.slow
def test_reversed_region_of_a_recording_from_nwb(tmp_path):
    source = write_source(tmp_path / "s.nwb", rows=[3, 2, 1, 0], num_samples=30_000)
    recording = read_nwb_recording(source, electrical_series_path="acquisition/ElectricalSeries")
    sorting = sc.NumpySorting.from_unit_dict({0: np.array([500]), 1: np.array([900])}, 30_000.0)
    analyzer = sc.create_sorting_analyzer(
        sorting, recording, sparse=False, main_channel_indices=np.array([0, 1])
    )
    from si_curation._spikeinterface import inject_extension

    average = np.zeros((2, 30, 4), np.float32)
    average[0, 10] = [-9, -5, -2, -1]
    average[1, 10] = [-1, -5, -9, -2]
    params = {"operators": ["average"], "ms_before": 1 / 3, "ms_after": 2 / 3}
    inject_extension(analyzer, "templates", {"average": average}, params)
    path = sic.export_to_nwb(analyzer, tmp_path / "a.nwb", source_nwb=source)
    assert [own.tolist() for own in read_units(path)["electrodes"]] == [[3, 2, 1, 0], [1, 2, 0, 3]]


# ------------------------------------------------------------------------------- columns


def column(values, name="x"):
    found = make_columns({name: values}, {}, len(values))
    return found[0].data if found else None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 1], [False, True, True]),
        ([0.0, 1.0, 1.0], [False, True, True]),
        ([0.0, np.nan, 1.0], [0.0, np.nan, 1.0]),
        ([0, 0, 0], [0, 0, 0]),
        (["yes", "no", "yes"], [True, False, True]),
        (["Yes", "yes", "yes"], [True, True, True]),
        (["y", "y", "y"], ["y", "y", "y"]),
        (["good", None, "mua"], ["good", "", "mua"]),
        (pd.array([1, None, 3], dtype="Int64"), [1.0, np.nan, 3.0]),
        (pd.array([True, None, False], dtype="boolean"), ["True", "", "False"]),
        (pd.array(["a", None, "b"], dtype="string"), ["a", "", "b"]),
        (pd.Categorical(["a", "b", "a"]), ["a", "b", "a"]),
        (np.array([1, None, 2.5], dtype=object), [1.0, np.nan, 2.5]),
        (np.array([1, "a", None], dtype=object), ["1", "a", ""]),
        (np.array([b"a", b"b", b"c"]), ["a", "b", "c"]),
        (np.array([1, 2, 3], dtype=np.float16), [1.0, 2.0, 3.0]),
        (np.array(["2024-01-01", "NaT", "2024-01-02"], "M8[D]"), ["2024-01-01", "", "2024-01-02"]),
        ([np.nan, np.nan, np.nan], None),
        (["", "", ""], None),
        (np.array([None, None, None]), None),
    ],
)  # fmt: skip
def test_columns_are_normalised(values, expected):
    found = column(values)
    if expected is None:
        assert found is None
        return
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    assert np.asarray(found).dtype.kind == np.asarray(expected).dtype.kind
    assert np.asarray(found).dtype != np.float16


@pytest.mark.parametrize(
    "values",
    [
        np.array([1j, 2j]),
        np.array([{"a": 1}, None], dtype=object),
        np.array([["a", "b"], ["c", "d"]]),
        np.array([(1, 2.0), (2, 3.0)], dtype=[("a", int), ("b", float)]),
        ["a\x00b", "c"],
        np.array([2**80, 1], dtype=object),
    ],
)
def test_columns_that_cannot_be_written_are_named(values):
    with pytest.raises(sic.ParameterError, match="column 'odd one'"):
        column(values, "odd one")


def test_all_odd_columns_are_named_at_once(tmp_path):
    analyzer = make_analyzer({0: [5], 1: [6]})
    for name in ("first", "second"):
        analyzer.sorting.set_property(name, np.array([1j, 2j]))
    with pytest.raises(sic.ParameterError, match=r"column 'first'.*column 'second'"):
        sic.export_to_nwb(analyzer, tmp_path / "a.nwb", metadata=METADATA, t_start=0.0)
    assert list(tmp_path.iterdir()) == []


def test_names_that_mean_something_else():
    names = ["rate", "id", "spike_times", "colnames", "a/b", "a:b", "a_b", "x_index", ".", "x"]
    found = make_columns({name: [1.5, 2.5] for name in names}, {}, 2)
    own = [one.name for one in found]
    assert len(set(own)) == len(names)
    assert own[:2] == ["rate_property", "id_property"]
    assert not any(set(name) & set("/:") or name.endswith("_index") for name in own)
    assert own[-1] == "x"
    assert free_name("a/b", {"a_b"}) == "a_b_property"


def test_ids_of_0_and_1_stay_ids():
    assert ids_column(np.array([0, 1])).dtype == np.uint8
    assert ids_column(np.array([0, 2])).dtype == np.int64
    assert normalise(np.array([0, 1]))[0].dtype == bool


@pytest.mark.slow
def test_rate_does_not_stop_pynapple(tmp_path):
    import pynapple as nap

    analyzer = make_analyzer({0: [5, 90], 1: [6, 800]})
    analyzer.sorting.set_property("rate", np.array([4.5, 5.5]))
    path = sic.export_to_nwb(analyzer, tmp_path / "a.nwb", metadata=METADATA, t_start=0.0)
    assert nap.load_file(str(path))["units"]["rate_property"].tolist() == [4.5, 5.5]


# -------------------------------------------------------------------------- in memory


def test_neuroconv_writes_the_file_in_memory(tmp_path):
    from neuroconv.tools.nwb_helpers import configure_and_write_nwbfile

    nwbfile = pynwb.NWBFile("d", "i", START)
    rng = np.random.default_rng(0)
    analyzer = make_analyzer({i: np.sort(rng.choice(200_000, 4000)) for i in range(3)})
    units = sic.add_units_to_nwbfile(analyzer, nwbfile, t_start=1.0)
    assert units is nwbfile.units
    configure_and_write_nwbfile(nwbfile, nwbfile_path=tmp_path / "a.nwb", backend="hdf5")
    assert_same_spikes(tmp_path / "a.nwb", analyzer, 1.0)


def test_second_table_beside_the_first(tmp_path):
    nwbfile = pynwb.NWBFile("d", "i", START)
    analyzer = make_analyzer({0: [5], 1: [6]})
    sic.add_units_to_nwbfile(analyzer, nwbfile, t_start=1.0)
    with pytest.raises(sic.OutputExistsError, match="units_name="):
        sic.add_units_to_nwbfile(analyzer, nwbfile, t_start=1.0)
    other = sic.add_units_to_nwbfile(analyzer, nwbfile, t_start=1.0, units_name="other")
    assert nwbfile.processing["ecephys"]["other"] is other
    assert "curation_log_other" in nwbfile.processing["ecephys"].data_interfaces
    assert len(nwbfile.electrodes) == 4


# --------------------------------------------------------------------------- storage


def test_large_columns_are_compressed_in_chunks_of_a_mebibyte(tmp_path):
    rng = np.random.default_rng(0)
    frames = {i: np.sort(rng.choice(9_000_000, 150_000)) for i in range(2)}
    path = sic.export_to_nwb(
        make_analyzer(frames), tmp_path / "a.nwb", metadata=METADATA, t_start=0
    )
    with h5py.File(path, "r") as file:
        times = file["units/spike_times"]
        assert times.chunks == (131_072,)
        # without shuffle: the last bits of times repeat every 1/16 s
        assert (times.compression, times.compression_opts, times.shuffle) == ("gzip", 4, False)
        assert file["units/spike_times_index"].compression is None
        assert times.dtype == np.float64
        assert file["units/waveform_mean"].dtype == np.float32


@pytest.mark.slow
def test_schemas_of_before_an_upgrade_are_removed(tmp_path):
    source = write_source(tmp_path / "s.nwb")
    with h5py.File(source, "r+") as file:
        cached = file["specifications/core"]
        (current,) = cached
        cached.copy(current, "2.7.0")
        cached.copy(current, "2.10.0")
        file.attrs["nwb_version"] = "2.7.0"
    analyzer = make_analyzer({0: [5]}, channel_ids=["AP0", "AP1", "AP2", "AP3"])
    with pytest.warns(sic.SiCurationWarning, match=r"schema 2\.7\.0: appending upgrades it"):
        sic.export_to_nwb(analyzer, source, mode="append")
    with h5py.File(source, "r") as file:
        assert list(file["specifications/core"]) == [current]
        assert file.attrs["nwb_version"] == current
    assert faults_in(source) == []


@pytest.mark.parametrize("mode", ["new", "append"])
def test_a_file_that_is_open_is_left_alone(mode, tmp_path):
    source = write_source(tmp_path / "s.nwb")
    before = digest(source)
    analyzer = make_analyzer({0: [5]}, channel_ids=["AP0", "AP1", "AP2", "AP3"])
    more = {"metadata": METADATA, "t_start": 0.0, "overwrite": True} if mode == "new" else {}
    with h5py.File(source, "r"), pytest.raises(sic.NwbExportError, match=r"s\.nwb is open"):
        sic.export_to_nwb(analyzer, source, mode=mode, **more)
    assert digest(source) == before
    sic.export_to_nwb(analyzer, source, mode=mode, **more)
    assert leftovers(tmp_path) == []


def test_a_sink_goes_on_after_an_error_and_tells_it(tmp_path):
    path = tmp_path / "file"
    sink = Sink(path, "x")
    sink.write(b"abcdef")
    sink.seek(2)
    assert sink.read(2) == b"cd"

    class Full:
        def __getattr__(self, name):
            return getattr(real, name)

        def write(self, content):
            raise OSError(28, os.strerror(28))

    real, sink._file = sink._file, Full()
    sink.seek(0, os.SEEK_END)
    assert sink.write(b"more") == 4
    assert sink.tell() == 10
    sink.seek(4)
    buffer = bytearray(b"????????")
    assert sink.readinto(buffer) == 6
    assert buffer == b"ef\x00\x00\x00\x00??"
    assert sink.truncate(20) == 20
    sink.close()
    with pytest.raises(OSError, match=os.strerror(28)):
        sink.check()
    assert path.read_bytes() == b"abcdef"


# --------------------------------------------------------------------------- command


def test_command_on_a_folder_and_an_analyzer(tmp_path):
    metadata = {"NWBFile": {"session_start_time": "2024-05-01T00:00:00Z"}}
    (tmp_path / "m.json").write_text(json.dumps(metadata))
    (tmp_path / "m.yaml").write_text("NWBFile:\n  session_start_time: 2024-05-01 12:00:00Z\n")
    out = tmp_path / "a.nwb"
    more = ["--metadata", str(tmp_path / "m.yaml"), "--t-start", "2", "--gain-to-uv", "0.5"]
    more += ["--session-start-time", "2024-05-01T12:00:00+00:00", "--session-id", "day 1"]
    done = CliRunner().invoke(cli, ["export-nwb", str(sic.example_folder()), str(out), *more])
    assert done.exit_code == 0, done.output
    assert f"Wrote {out}: 8 units, 5299 spikes in units" in done.output
    assert "waveform_mean" in read_units(out)
    analyzer = sic.read_kilosort_as_analyzer(
        sic.example_folder(), format="zarr", folder=tmp_path / "x.zarr"
    )
    done = CliRunner().invoke(
        cli,
        ["export-nwb", str(analyzer.folder), str(out), "--metadata", str(tmp_path / "m.json"),
         "--t-start", "2", "--overwrite", "--per-spike", ""],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "ks_amplitudes" not in read_units(out)
    assert leftovers(tmp_path) == []


def test_command_appends(tmp_path):
    source = write_source(tmp_path / "s.nwb", units=True)
    make_analyzer({0: [5]}, channel_ids=["AP0", "AP1", "AP2", "AP3"]).save_as(
        format="binary_folder", folder=tmp_path / "analyzer"
    )
    before = digest(source)
    command = ["export-nwb", str(tmp_path / "analyzer"), str(source), "--mode", "append"]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 2
    assert "give --units-name for a table beside them" in done.output
    assert digest(source) == before
    done = CliRunner().invoke(cli, [*command, "--units-name", "mine"])
    assert "in processing/ecephys/mine" in done.output
    assert read_units(source, "mine")["unit_name"].tolist() == ["0"]
    assert leftovers(tmp_path) == []
