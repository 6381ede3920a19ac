"""Units written to NWB and read back by other programs: the same units, the same frames."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import warnings
from datetime import datetime, timedelta, timezone

import h5py
import numpy as np
import pynapple as nap
import pynwb
import pytest
import spikeinterface.core as sc
import spikeinterface.extractors as se
import yaml
from hypothesis import given
from hypothesis import strategies as st
from nwbinspector import inspect_nwbfile, load_config
from pynwb import NWBHDF5IO

import si_curation as sic
from nwb_analyzers import frames_of, make_analyzer, small_analyzer
from nwb_sources import (
    FULL_METADATA,
    START,
    content_of,
    gapped_timestamps,
    make_old_schema,
    make_source,
)
from si_curation.cli import main

RATES = [20_000.0, 25_000.0, 30_000.0, 32_000.0, 29_999.757]
CLOCKS = [0.0, 12.345678901, 1.7e9]
HUNDRED_HOURS_S = 360_000


@pytest.fixture(autouse=True)
def quiet():
    """Nothing of the export may warn; what pynwb says of its own is not ours."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="(hdmf|pynwb|nwbinspector|pynapple)")
        yield


@pytest.fixture
def source(tmp_path):
    """Make a source file of its own."""

    def make(name="source.nwb", **kwargs):
        return make_source(tmp_path / name, **kwargs)

    return make


def export(analyzer, path, **kwargs):
    kwargs.setdefault("progress_bar", False)
    if kwargs.get("source_nwb") is None:
        kwargs.setdefault("metadata", FULL_METADATA)
    return sic.export_to_nwb(analyzer, path, **kwargs)


class Content:
    """What pynwb reads of a file, as plain arrays, with the file closed."""

    def __init__(self, path, units_name="units"):
        with NWBHDF5IO(path, "r") as io:
            nwbfile = io.read()
            table = (
                nwbfile.units
                if units_name == "units"
                else nwbfile.processing["ecephys"][units_name]
            )
            self.table_type = type(table).__name__
            self.description = table.description
            self.resolution = table.resolution
            self.waveform_rate = table.waveform_rate
            self.colnames = list(table.colnames)
            self.descriptions = {name: table[name].description for name in self.colnames}
            self.ids = np.asarray(table.id[:]).tolist()
            self.columns = {}
            for name in self.colnames:
                if name == "electrodes":
                    self.electrodes = nwbfile.electrodes.to_dataframe()
                    flat = np.asarray(table["electrodes"].target.data[:])
                    self.rows = _ragged(flat, table["electrodes"].data[:])
                    self.columns[name] = self.rows
                elif name == "electrode_group":
                    self.columns[name] = [group.name for group in table[name][:]]
                elif name + "_index" in table:
                    self.columns[name] = [np.asarray(table[name][i]) for i in range(len(table))]
                else:
                    self.columns[name] = np.asarray(table[name][:])
            self.before_peak = (
                table.waveform_time_before_peak_in_ms
                if hasattr(table, "waveform_time_before_peak_in_ms")
                else None
            )
            self.identifier = nwbfile.identifier
            self.session_start_time = nwbfile.session_start_time
            self.reference_time = nwbfile.timestamps_reference_time
            self.subject = {} if nwbfile.subject is None else dict(nwbfile.subject.fields)
            self.was_generated_by = nwbfile.was_generated_by
            self.devices = list(nwbfile.devices)
            self.groups = {name: g.location for name, g in nwbfile.electrode_groups.items()}
            self.acquisition = list(nwbfile.acquisition)

    def __getitem__(self, name):
        return self.columns[name]


def _ragged(flat, ends):
    starts = [0, *np.asarray(ends)[:-1]]
    return [np.asarray(flat[a:b]) for a, b in zip(starts, ends, strict=True)]


def assert_frames(path, analyzer, t_start, **kwargs):
    """Compare with SpikeInterface, pynapple and pynwb, by frame, in every unit."""
    expected = frames_of(analyzer)
    names = [str(unit_id) for unit_id in expected]
    rate = analyzer.sampling_frequency
    read = se.read_nwb_sorting(path, t_start=t_start, **kwargs)
    assert [str(i) for i in read.unit_ids] == names
    assert read.sampling_frequency == pytest.approx(rate, rel=1e-12)
    for unit_id, frames in zip(read.unit_ids, expected.values(), strict=True):
        np.testing.assert_array_equal(read.get_unit_spike_train(unit_id, segment_index=0), frames)
    content = Content(path)
    assert len(content["spike_times"]) == len(expected)
    for times, frames in zip(content["spike_times"], expected.values(), strict=True):
        assert times.dtype == np.float64
        np.testing.assert_array_equal(np.round((times - t_start) * rate), frames)
        # not merely to the frame: t_start + frame / rate in double precision
        np.testing.assert_allclose(times, t_start + frames / rate, rtol=3e-16, atol=0)
    group = nap.load_file(str(path))["units"]
    assert list(group.keys()) == content.ids
    for row, frames in zip(content.ids, expected.values(), strict=True):
        np.testing.assert_array_equal(np.round((group[row].t - t_start) * rate), frames)


def messages_of(path):
    """Give what nwbinspector says at any level, by default and for DANDI, and the validator."""
    found = [f"validate: {fault}" for fault in pynwb.validate(path=str(path))]
    for config in (None, load_config("dandi")):
        found += [
            f"{m.importance.name} {m.check_function_name} {m.location}: {m.message}"
            for m in inspect_nwbfile(nwbfile_path=str(path), config=config)
        ]
    return found


# ---------------------------------------------------------------------------------- exact frames


@pytest.mark.parametrize("t_start", CLOCKS)
@pytest.mark.parametrize("rate", RATES)
def test_frames_are_exact_to_a_hundred_hours(tmp_path, rate, t_start):
    last = int(HUNDRED_HOURS_S * rate)
    rng = np.random.default_rng(0)
    frames = {
        3: [0, 1, 2, last - 2, last - 1, last],
        1: np.unique(rng.integers(0, last, 2000)),
        7: [last],
    }
    analyzer = make_analyzer(frames, sampling_frequency=rate)
    path = export(analyzer, tmp_path / "out.nwb", t_start=t_start, metadata=FULL_METADATA)
    assert_frames(path, analyzer, t_start)
    content = Content(path)
    assert content.ids == [3, 1, 7]
    assert content.resolution == pytest.approx(1 / rate, rel=1e-15)


@given(
    rate=st.one_of(st.sampled_from(RATES), st.floats(1_000.0, 50_000.0)),
    t_start=st.one_of(st.sampled_from(CLOCKS), st.floats(0.0, 1.7e9), st.floats(-1000.0, 0.0)),
    frames=st.lists(
        st.lists(st.integers(0, HUNDRED_HOURS_S * 20_000), max_size=30, unique=True),
        min_size=1,
        max_size=4,
    ),
)
def test_frames_to_seconds_to_frames(rate, t_start, frames):
    """frame == round((time - t_start) * rate), whatever the clock; sorted, none lost."""
    analyzer = make_analyzer(
        {i: np.sort(unit).astype(np.int64) for i, unit in enumerate(frames)},
        sampling_frequency=rate,
        amplitudes=False,
    )
    nwbfile = pynwb.NWBFile("session", "id", START)
    table = sic.add_units_to_nwbfile(analyzer, nwbfile, t_start=t_start, per_spike=())
    assert table is nwbfile.units
    assert len(table) == len(frames)
    for i, unit in enumerate(frames):
        times = np.asarray(table["spike_times"][i])
        assert np.all(np.diff(times) >= 0)
        np.testing.assert_array_equal(np.round((times - t_start) * rate), np.sort(unit))


@given(
    seed=st.integers(0, 2**32 - 1),
    start=st.sampled_from([0.0, 12.5, 1.7e9]),
    data=st.data(),
)
def test_time_vector_is_taken_frame_by_frame(seed, start, data):
    times = gapped_timestamps(3000, start=start, seed=seed)
    frames = data.draw(st.lists(st.integers(0, 2999), max_size=40, unique=True))
    analyzer = make_analyzer(
        {0: np.sort(frames).astype(np.int64), 1: [0, 2999]}, num_samples=[3000]
    )
    nwbfile = pynwb.NWBFile("session", "id", START)
    sic.add_units_to_nwbfile(analyzer, nwbfile, timestamps=times, per_spike=())
    found = np.asarray(nwbfile.units["spike_times"][0])
    np.testing.assert_array_equal(found, times[np.sort(frames).astype(int)])
    np.testing.assert_array_equal(nwbfile.units["spike_times"][1], times[[0, 2999]])


def test_time_vector_as_one_per_segment_or_alone(tmp_path):
    analyzer = small_analyzer()
    times = gapped_timestamps(30_000)
    for name, given_as in {"alone": times, "listed": [times], "list": times.tolist()}.items():
        path = export(analyzer, tmp_path / f"{name}.nwb", timestamps=given_as)
        for found, frames in zip(
            Content(path)["spike_times"], frames_of(analyzer).values(), strict=True
        ):
            np.testing.assert_array_equal(found, times[frames])


def test_two_segments(tmp_path):
    analyzer = make_analyzer(
        [{0: [0, 10, 29_999], 1: []}, {0: [0, 5], 1: [3]}], num_samples=[30_000, 60_000]
    )
    path = export(analyzer, tmp_path / "out.nwb", t_start=[1.0, 100.0])
    content = Content(path)
    expected = np.array([1.0, 1 + 10 / 3e4, 1 + 29_999 / 3e4, 100.0, 100 + 5 / 3e4])
    np.testing.assert_allclose(content["spike_times"][0], expected, rtol=3e-16)
    np.testing.assert_allclose(content["spike_times"][1], [100 + 3 / 3e4], rtol=3e-16)
    for intervals in content["obs_intervals"]:
        np.testing.assert_allclose(intervals, [[1.0, 2.0], [100.0, 102.0]], atol=1.01 / 3e4)
    assert messages_of(path) == []
    first, second = gapped_timestamps(30_000, 5.0), gapped_timestamps(60_000, 50.0, seed=1)
    path = export(analyzer, tmp_path / "vectors.nwb", timestamps=[first, second])
    np.testing.assert_array_equal(
        Content(path)["spike_times"][0], [*first[[0, 10, 29_999]], *second[[0, 5]]]
    )


# ---------------------------------------------------------------- the clock of a recording or file


def analyzer_of_recording(recording, seed=0, num_units=3):
    rng = np.random.default_rng(seed)
    last = recording.get_num_samples(0) - 200
    frames = [
        np.sort(rng.choice(np.arange(200, last), 30, replace=False)) for _ in range(num_units)
    ]
    sorting = sc.NumpySorting.from_unit_dict(
        [dict(enumerate(frames))], recording.get_sampling_frequency()
    )
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute({"random_spikes": {}, "templates": {"operators": ["average"]}})
    return analyzer


@pytest.mark.parametrize("starting_time", CLOCKS)
def test_clock_of_the_recording(tmp_path, source, starting_time):
    recording = se.read_nwb_recording(source(starting_time=starting_time))
    analyzer = analyzer_of_recording(recording)
    path = export(analyzer, tmp_path / "out.nwb", metadata=FULL_METADATA)
    assert_frames(path, analyzer, starting_time)


def test_clock_of_a_recording_with_a_time_vector(tmp_path, source):
    times = gapped_timestamps(30_000)
    recording = se.read_nwb_recording(source())
    recording.set_times(times)
    analyzer = analyzer_of_recording(recording)
    path = export(analyzer, tmp_path / "out.nwb")
    for found, frames in zip(
        Content(path)["spike_times"], frames_of(analyzer).values(), strict=True
    ):
        np.testing.assert_array_equal(found, times[frames])


def test_clock_of_a_slice_of_a_recording(tmp_path, source):
    recording = se.read_nwb_recording(source(starting_time=3.0)).frame_slice(6000, 30_000)
    analyzer = analyzer_of_recording(recording)
    path = export(analyzer, tmp_path / "out.nwb")
    assert_frames(path, analyzer, 3.0 + 6000 / 30_000)


@pytest.mark.parametrize("mode", ["sidecar", "export", "append"])
@pytest.mark.parametrize("clock", ["zero", "shifted", "epoch", "vector"])
def test_clock_of_a_series(tmp_path, source, mode, clock):
    times = gapped_timestamps(30_000)
    kwargs = {
        "zero": {},
        "shifted": {"starting_time": 12.345},
        "epoch": {"starting_time": 1.7e9},
        "vector": {"timestamps": times},
    }[clock]
    path = source(**kwargs)
    analyzer = small_analyzer()
    out = path if mode == "append" else tmp_path / "out.nwb"
    result = export(analyzer, out, source_nwb=path, mode=mode)
    assert result == out
    if clock != "vector":
        assert_frames(result, analyzer, kwargs.get("starting_time", 0.0))
    content = Content(result)
    for found, frames in zip(content["spike_times"], frames_of(analyzer).values(), strict=True):
        if clock == "vector":
            np.testing.assert_array_equal(found, times[frames])
    if mode != "sidecar":
        read = se.read_nwb_sorting(result, electrical_series_path="acquisition/ElectricalSeries")
        for unit_id, frames in zip(read.unit_ids, frames_of(analyzer).values(), strict=True):
            np.testing.assert_array_equal(read.get_unit_spike_train(unit_id), frames)
    assert messages_of(result) == []


def test_series_is_chosen_by_its_path(tmp_path, source):
    path = source(second_series=True, starting_time=5.0)
    analyzer = small_analyzer()
    out = export(
        analyzer,
        tmp_path / "out.nwb",
        source_nwb=path,
        electrical_series_path="acquisition/ElectricalSeries",
    )
    assert_frames(out, analyzer, 5.0)


def test_t_start_is_used_instead_of_the_series(tmp_path, source):
    analyzer = small_analyzer()
    out = export(analyzer, tmp_path / "out.nwb", source_nwb=source(starting_time=5.0), t_start=7.0)
    assert_frames(out, analyzer, 7.0)


def test_rate_that_differs_by_less_than_half_a_sample(tmp_path, source):
    """29,999.757 Hz told as 30,000: 0.24 samples in a second."""
    analyzer = small_analyzer(sampling_frequency=29_999.757)
    out = export(analyzer, tmp_path / "out.nwb", source_nwb=source(starting_time=2.0))
    for found, frames in zip(
        Content(out)["spike_times"], frames_of(analyzer).values(), strict=True
    ):
        np.testing.assert_allclose(found, 2.0 + frames / 30_000.0, atol=0.5 / 30_000)


def test_reference_time_goes_with_the_clock(tmp_path, source):
    """Times are counted from the reference time, which need not be the session's start."""
    reference = START - timedelta(hours=2)
    path = source(reference_time=reference, starting_time=7200.0)
    out = export(small_analyzer(), tmp_path / "out.nwb", source_nwb=path)
    content = Content(out)
    assert content.session_start_time == START
    assert content.reference_time == reference


# ------------------------------------------------------------------------------------- electrodes


def expected_channels(analyzer):
    """Rank the channels by the templates themselves, without the package."""
    templates = analyzer.get_extension("templates").get_data(operator="average")
    return [np.argsort(np.ptp(one, axis=0))[::-1] for one in templates]


def assert_electrodes(content, analyzer):
    """The row of each best channel, by its position and name, best first."""
    places = analyzer.get_channel_locations()
    for rows, ranked in zip(content.rows, expected_channels(analyzer), strict=True):
        assert rows.size >= 1
        table = content.electrodes.iloc[rows]
        expected = ranked[: rows.size]
        np.testing.assert_allclose(table[["rel_x", "rel_y"]].to_numpy(), places[expected])
        assert table["channel_name"].tolist() == [str(i) for i in analyzer.channel_ids[expected]]


@pytest.mark.parametrize("mode", ["sidecar", "export", "append"])
@pytest.mark.parametrize("num_probes", [1, 2])
def test_reversed_electrodes(tmp_path, source, mode, num_probes):
    """The order of the rows is not that of the columns of the raw data, nor are the ids."""
    total = 8 * num_probes
    path = source(
        num_probes=num_probes,
        electrode_order=np.arange(total)[::-1],
        electrode_ids=np.arange(100, 100 + total)[::-1],
    )
    analyzer = small_analyzer(num_probes=num_probes, num_units=7)
    before = content_of(path)
    out = path if mode == "append" else tmp_path / "out.nwb"
    result = export(analyzer, out, source_nwb=path, mode=mode)
    content = Content(result)
    assert_electrodes(content, analyzer)
    assert content.electrodes.index.tolist() == list(range(100, 100 + total))[::-1]
    assert content.electrodes["impedance_kohm"].tolist() == [100.0 + i for i in range(total)][::-1]
    best = [ranked[0] // 8 for ranked in expected_channels(analyzer)]
    assert content["electrode_group"] == [f"Probe{i}" for i in best]
    if mode != "sidecar":
        after = content_of(result)
        table = "general/extracellular_ephys/electrodes"
        kept = {name: value for name, value in before.items() if name.startswith(table)}
        assert kept
        assert {name: after[name] for name in kept} == kept


def test_columns_of_the_raw_data_in_another_order(tmp_path, source):
    """Without names: the raw column tells the row."""
    order = np.array([3, 0, 7, 1, 6, 2, 5, 4])
    path = source(electrode_order=order, channel_names=False)
    recording = se.read_nwb_recording(path)
    analyzer = analyzer_of_recording(recording, num_units=5)
    content = Content(export(analyzer, tmp_path / "out.nwb", source_nwb=path))
    places = analyzer.get_channel_locations()
    for rows, ranked in zip(content.rows, expected_channels(analyzer), strict=True):
        found = content.electrodes.iloc[rows][["rel_x", "rel_y"]].to_numpy()
        np.testing.assert_allclose(found, places[ranked[: rows.size]])


@pytest.mark.parametrize("with_recording", [False, True])
def test_subset_of_channels(tmp_path, source, with_recording):
    path = source(electrode_order=np.arange(8)[::-1])
    if with_recording:
        recording = se.read_nwb_recording(path)
        recording = recording.select_channels(recording.channel_ids[[6, 1, 4]])
        analyzer = analyzer_of_recording(recording, num_units=4)
    else:
        analyzer = small_analyzer(channels=[1, 4, 6], num_units=4)
    content = Content(export(analyzer, tmp_path / "out.nwb", source_nwb=path))
    places = analyzer.get_channel_locations()
    assert len(content.electrodes) == 8
    for rows, ranked in zip(content.rows, expected_channels(analyzer), strict=True):
        found = content.electrodes.iloc[rows][["rel_x", "rel_y"]].to_numpy()
        np.testing.assert_allclose(found, places[ranked[: rows.size]])


def test_same_channel_names_on_two_probes(tmp_path):
    """The names of channels are unique within a group only."""
    path = tmp_path / "source.nwb"
    make_source(path, num_probes=2, series=False)
    with h5py.File(path, "r+") as file:
        names = file["general/extracellular_ephys/electrodes/channel_name"]
        names[...] = [f"CH{i % 8}" for i in range(16)]
    analyzer = small_analyzer(num_probes=2, num_units=6, main_channels=[12, 1, 15, 8, 0, 9])
    analyzer.rec_attributes["properties"]["channel_name"] = np.array(
        [f"CH{i % 8}" for i in range(16)]
    )
    content = Content(export(analyzer, tmp_path / "out.nwb", source_nwb=path, t_start=0.0))
    places = analyzer.get_channel_locations()
    for rows, ranked in zip(content.rows, expected_channels(analyzer), strict=True):
        found = content.electrodes.iloc[rows][["rel_x", "rel_y"]].to_numpy()
        np.testing.assert_allclose(found, places[ranked[: rows.size]])


def test_electrode_map(tmp_path, source):
    """By id of the row, which is not its number."""
    path = source(
        channel_names=False,
        series=False,
        geometry=False,
        electrode_order=np.arange(8)[::-1],
        electrode_ids=np.arange(50, 58),
    )
    analyzer = small_analyzer()
    mapping = {f"CH{i}": 57 - i for i in range(8)}
    out = export(
        analyzer, tmp_path / "out.nwb", source_nwb=path, t_start=0.0, electrode_map=mapping
    )
    content = Content(out)
    for rows, ranked in zip(content.rows, expected_channels(analyzer), strict=True):
        found = content.electrodes.iloc[rows].index.tolist()
        assert found == [mapping[f"CH{i}"] for i in ranked[: rows.size]]


@pytest.mark.parametrize(("num_probes", "num_shanks"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_electrodes_of_a_new_file(tmp_path, num_probes, num_shanks):
    analyzer = small_analyzer(num_probes=num_probes, num_shanks=num_shanks, num_units=7)
    metadata = copy.deepcopy(FULL_METADATA)
    del metadata["Ecephys"]
    content = Content(export(analyzer, tmp_path / "out.nwb", t_start=0.0, metadata=metadata))
    assert len(content.electrodes) == 8 * num_probes
    assert_electrodes(content, analyzer)
    assert len(content.groups) == num_probes * num_shanks
    names = content.electrodes["group_name"].to_numpy()
    pairs = {(i // 8, (i % 8) * num_shanks // 8): names[i] for i in range(8 * num_probes)}
    assert len(set(pairs.values())) == num_probes * num_shanks
    for i, name in enumerate(names):
        assert pairs[i // 8, (i % 8) * num_shanks // 8] == name
    if num_shanks > 1:
        shanks = [str((i % 8) * num_shanks // 8) for i in range(8 * num_probes)]
        assert [str(i) for i in content.electrodes["shank_id"]] == shanks
    best = [ranked[0] for ranked in expected_channels(analyzer)]
    assert content["electrode_group"] == names[best].tolist()
    assert content.electrodes["location"].notna().all()


# ---------------------------------------------------------------------------------------- content


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
        if isinstance(model, dict) and "unit_ids" in model:
            models.append(model)
    assert models, "the curation JSON is not in the file"


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
        assert dataset.shuffle
        assert 2**19 <= np.prod(dataset.chunks) * 8 <= 2**20
        assert file["units/id"].chunks is None


# ------------------------------------------------------------------------------ ids, empty, single


@pytest.mark.parametrize(
    "unit_ids",
    [
        ["a", "b", "c"],
        ["10", "9", "2"],
        ["unit α", "b/c", "d e"],
        [7, 3, 5],
        [10**12, 5, 2**31],
        ["#1", "ümläut", "x" * 300],
    ],
)
def test_ids(tmp_path, unit_ids):
    analyzer = small_analyzer(unit_ids=unit_ids)
    path = export(analyzer, tmp_path / "out.nwb", t_start=0.0)
    content = Content(path)
    assert content["unit_name"].tolist() == [str(i) for i in unit_ids]
    whole = not isinstance(unit_ids[0], str)
    if whole:
        assert content.ids == unit_ids
    assert len(set(content.ids)) == 3
    assert_frames(path, analyzer, 0.0)
    assert messages_of(path) == []


@pytest.mark.parametrize(
    "frames",
    [
        {0: [], 1: [5, 9], 2: []},
        {0: [5], 1: [], 2: [7]},
        {0: [3, 8], 1: [5, 9], 2: []},
        {4: [7]},
    ],
    ids=["first and last", "middle", "last", "one spike"],
)
def test_units_without_spikes(tmp_path, frames):
    analyzer = make_analyzer(frames)
    path = export(analyzer, tmp_path / "out.nwb", t_start=1.0)
    content = Content(path)
    assert [len(times) for times in content["spike_times"]] == [len(f) for f in frames.values()]
    read = se.read_nwb_sorting(path, t_start=1.0)
    assert read.count_num_spikes_per_unit(outputs="array").tolist() == [
        len(f) for f in frames.values()
    ]
    assert pynwb.validate(path=str(path)) == []


def test_no_spikes_at_all(tmp_path):
    analyzer = make_analyzer({0: [], 1: []}, num_samples=[30_000])
    content = Content(export(analyzer, tmp_path / "out.nwb", t_start=0.0))
    assert [len(times) for times in content["spike_times"]] == [0, 0]


def test_one_channel(tmp_path):
    analyzer = small_analyzer(num_channels=1, main_channels=[0] * 5)
    path = export(analyzer, tmp_path / "out.nwb", t_start=0.0)
    assert [rows.tolist() for rows in Content(path).rows] == [[0]] * 5
    assert messages_of(path) == []


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
    assert pynwb.validate(path=str(tmp_path / "out.nwb")) == []


def test_dropped_column_is_logged(tmp_path, caplog):
    analyzer = small_analyzer(properties={"all_nan": [np.nan] * 5})
    with caplog.at_level("INFO", logger="si_curation"):
        export(analyzer, tmp_path / "out.nwb", t_start=0.0)
    assert "all_nan" in caplog.text


@pytest.mark.parametrize(
    "name",
    ["rate", "id", "spike_times", "electrodes", "obs_intervals", "waveform_mean", "electrode_group",
     "unit_name", "spike_times_index", "note_index", "template_ids", "template_ids_index", "name",
     "description", "colnames", "columns", "parent", "a/b", "waveforms", "resolution", "data",
     "waveform_rate", "object_id", ".", "ünï", "a b", "", "waveform_unit", "fields"],
)  # fmt: skip
def test_names_of_columns_that_mean_something(tmp_path, name):
    """Refused with its name, or written so that everything else reads back and its values too."""
    values = [11.5, 12.5, 13.5, 14.5, 15.5]
    analyzer = small_analyzer(properties={name: values, "note": list("abcde")})
    out = tmp_path / "out.nwb"
    try:
        export(analyzer, out, t_start=0.0)
    except sic.ParameterError as fault:
        assert repr(name) in str(fault)
        assert list(tmp_path.iterdir()) == []
        return
    assert_frames(out, analyzer, 0.0)
    assert messages_of(out) == []
    content = Content(out)
    kept = [n for n in content.colnames if np.array_equal(content.columns[n], values)]
    assert len(kept) == 1, "the values of the column are lost"
    assert content["note"].tolist() == list("abcde")
    with NWBHDF5IO(out, "r") as io:
        assert len(io.read().units.to_dataframe()) == 5


# -------------------------------------------------------------------------- modes: what is kept


def changed_or_lost(before, after, allowed=()):
    return [
        name
        for name, value in before.items()
        if not name.startswith(("specifications", *allowed)) and after.get(name) != value
    ]


@pytest.mark.parametrize("mode", ["export", "append"])
def test_everything_of_the_source_is_kept(tmp_path, source, mode):
    path = source(second_series=True, num_probes=2, starting_time=4.0)
    before = content_of(path)
    out = path if mode == "append" else tmp_path / "out.nwb"
    export(
        small_analyzer(num_probes=2),
        out,
        source_nwb=path,
        mode=mode,
        electrical_series_path="acquisition/ElectricalSeries",
    )
    allowed = ("general/was_generated_by", "file_create_date")
    assert changed_or_lost(before, content_of(out), allowed) == []
    if mode == "export":
        assert content_of(path) == before
        path.unlink()  # nothing may hang on the source
        recording = se.read_nwb_recording(
            out, electrical_series_path="acquisition/ElectricalSeries"
        )
        assert recording.get_traces(end_frame=10).shape == (10, 16)
    assert messages_of(out) == []


def test_append_without_naming_the_file_twice(tmp_path, source):
    path = source()
    assert export(small_analyzer(), path, mode="append", metadata=None) == path
    assert_frames(path, small_analyzer(), 0.0)


def test_sidecar_stands_alone(tmp_path, source, hash_files):
    path = source(num_probes=2, electrode_order=np.arange(16)[::-1], units={4: [0.1, 0.2]})
    before = hash_files(tmp_path)
    out = tmp_path / "new" / "out.nwb"
    out.parent.mkdir()
    analyzer = small_analyzer(num_probes=2)
    assert export(analyzer, out, source_nwb=path) == out
    assert {n: h for n, h in hash_files(tmp_path).items() if "new" not in n} == before
    theirs = Content(path)
    path.unlink()
    content = Content(out)
    assert content.acquisition == []
    assert content.identifier != theirs.identifier
    assert content.session_start_time == theirs.session_start_time
    for name in ("subject_id", "species", "sex", "age", "description", "weight", "strain"):
        assert content.subject[name] == theirs.subject[name]
    assert content.groups == theirs.groups
    assert sorted(content.devices) == sorted(theirs.devices)
    mine = content.electrodes.drop(columns="group")
    with_them = theirs.electrodes.drop(columns="group") if hasattr(theirs, "electrodes") else mine
    assert mine.equals(with_them)
    assert mine["is_bad"].tolist() == [i == 3 for i in range(16)][::-1]
    assert content.ids == analyzer.unit_ids.tolist()
    assert messages_of(out) == []


def test_metadata_goes_before_that_of_the_source(tmp_path, source):
    metadata = {"NWBFile": {"session_description": "Curated."}, "Subject": {"sex": "M"}}
    out = export(small_analyzer(), tmp_path / "out.nwb", source_nwb=source(), metadata=metadata)
    with NWBHDF5IO(out, "r") as io:
        nwbfile = io.read()
        assert nwbfile.session_description == "Curated."
        assert nwbfile.lab == "Example lab"
        assert (nwbfile.subject.sex, nwbfile.subject.subject_id) == ("M", "mouse-1")


@pytest.mark.parametrize("mode", ["export", "append"])
def test_units_that_exist_already(tmp_path, source, mode):
    path = source(units={4: [0.1, 0.2], 9: [0.3]})
    before = content_of(path)
    out = path if mode == "append" else tmp_path / "out.nwb"
    analyzer = small_analyzer()
    export(analyzer, out, source_nwb=path, mode=mode, units_name="curated_units")
    after = content_of(out)
    assert [n for n in before if n.startswith("units") and after[n] != before[n]] == []
    content = Content(out, "curated_units")
    assert content.table_type == "Units"
    for found, frames in zip(content["spike_times"], frames_of(analyzer).values(), strict=True):
        np.testing.assert_allclose(found, frames / 30_000.0, rtol=3e-16)
    read = se.read_nwb_sorting(out, t_start=0.0, unit_table_path="processing/ecephys/curated_units")
    assert [str(i) for i in read.unit_ids] == [str(i) for i in analyzer.unit_ids]
    assert messages_of(out) == []


@pytest.mark.parametrize("mode", ["sidecar", "export"])
@pytest.mark.parametrize("version", ["2.0.0", "2.2.5", "2.5.0"])
def test_old_schema_is_left_alone(tmp_path, source, hash_files, mode, version):
    path = make_old_schema(source(), version)
    before = hash_files(tmp_path)
    out = export(small_analyzer(), tmp_path / "out.nwb", source_nwb=path, mode=mode)
    assert hash_files(tmp_path)["source.nwb"] == before["source.nwb"]
    assert pynwb.validate(path=str(out)) == []
    assert_frames(out, small_analyzer(), 0.0)
    with h5py.File(out, "r") as file:
        assert file.attrs["nwb_version"] != version


def test_append_to_an_old_schema_warns(tmp_path, source):
    path = make_old_schema(source(), "2.5.0")
    before = content_of(path)
    with pytest.warns(sic.SiCurationWarning, match=r"2\.5\.0"):
        export(small_analyzer(), path, mode="append", metadata=None)
    assert changed_or_lost(before, content_of(path), ("general/was_generated_by",)) == []
    assert_frames(path, small_analyzer(), 0.0)
    assert pynwb.validate(path=str(path)) == []


# ---------------------------------------------------------------------- other programs, silence


def test_silent_with_full_metadata_and_open_in_a_fresh_process(tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder(), gain_to_uV=0.5)
    analyzer.compute("curation_metrics")
    path = export(analyzer, tmp_path / "out.nwb", t_start=0.0)
    assert messages_of(path) == []
    code = (
        "import sys; from pynwb import NWBHDF5IO\n"
        "with NWBHDF5IO(sys.argv[1], 'r') as io:\n"
        "    frame = io.read().units.to_dataframe()\n"
        "    assert 'si_curation' not in sys.modules\n"
        "    print(frame.index.tolist(), sum(map(len, frame['spike_times'])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    num_spikes = analyzer.sorting.to_spike_vector().size
    assert done.stdout.strip() == f"{analyzer.unit_ids.tolist()} {num_spikes}"


def test_spikeinterface_reads_with_pynwb_too(tmp_path):
    analyzer = small_analyzer(unit_ids=["a", "b", "c"], properties={"quality": ["good"] * 3})
    path = export(analyzer, tmp_path / "out.nwb", t_start=2.0)
    assert_frames(path, analyzer, 2.0, use_pynwb=True)
    read = se.read_nwb_sorting(path, t_start=2.0)
    assert read.get_property("quality").tolist() == ["good"] * 3


@pytest.mark.parametrize(
    "name", ["ks4_fresh", "ks4_phy_curated", "ks1_phy_curated", "np1_without_params"]
)
def test_real_folders(tmp_path, shared_data, name):
    rate = {"sampling_frequency": 30_000.0} if name == "np1_without_params" else {}
    analyzer = sic.read_kilosort_as_analyzer(shared_data / name, **rate)
    per_spike = ("amplitudes", "template_ids")
    path = export(analyzer, tmp_path / "out.nwb", t_start=0.5, per_spike=per_spike)
    assert_frames(path, analyzer, 0.5)
    content = Content(path)
    assert content["quality"].tolist() == analyzer.get_sorting_property("quality").tolist()
    table = analyzer.get_extension("template_assignment").get_data()
    assert content["main_template_id"].tolist() == table["template_id"].tolist()
    assert [c.sum() for c in content["template_spike_counts"]] == table["num_spikes"].tolist()
    clusters = shared_data / name / "spike_clusters.npy"
    if clusters.exists():
        ids, counts = np.unique(np.load(clusters).ravel(), return_counts=True)
        found = {
            i: len(t) for i, t in zip(content.ids, content["spike_times"], strict=True) if len(t)
        }
        assert found == dict(zip(ids.tolist(), counts.tolist(), strict=True))
    oracle = shared_data / name / "phy_oracle.json"
    if oracle.exists() and name == "ks1_phy_curated":  # one orientation only: phy's own
        answers = json.loads(oracle.read_text())
        for i, rows in zip(content.ids, content.rows, strict=True):
            assert rows[0] == answers[str(i)]["best"]
    assert messages_of(path) == []


def test_overwrite_replaces_once_complete(tmp_path):
    first = export(small_analyzer(num_units=2), tmp_path / "out.nwb", t_start=0.0)
    export(small_analyzer(num_units=5), first, t_start=0.0, overwrite=True)
    assert len(Content(first).ids) == 5
    left = {p.name for p in tmp_path.iterdir()} - {"out.nwb"}
    assert not [name for name in left if "tmp" in name or "part" in name]


def test_units_in_memory_beside_those_of_neuroconv(tmp_path):
    """A file in memory, as another program makes it, written by that program."""
    nwbfile = pynwb.NWBFile("A session.", "id", datetime(2024, 1, 1, tzinfo=timezone.utc))
    nwbfile.subject = pynwb.file.Subject(
        subject_id="m1", species="Mus musculus", sex="F", age="P90D", description="A mouse."
    )
    analyzer = small_analyzer()
    table = sic.add_units_to_nwbfile(analyzer, nwbfile, t_start=1.0, metadata=FULL_METADATA)
    assert table is nwbfile.units
    with NWBHDF5IO(tmp_path / "out.nwb", "w") as io:
        io.write(nwbfile)
    assert_frames(tmp_path / "out.nwb", analyzer, 1.0)
    with pytest.raises(sic.OutputExistsError, match="units"):
        sic.add_units_to_nwbfile(analyzer, nwbfile, t_start=1.0)
    assert len(nwbfile.units) == 5
    other = sic.add_units_to_nwbfile(analyzer, nwbfile, t_start=1.0, units_name="again")
    assert nwbfile.processing["ecephys"]["again"] is other


# ----------------------------------------------------------------------------------- command line


def test_command(tmp_path, capsys):
    metadata = tmp_path / "metadata.yaml"
    metadata.write_text(yaml.safe_dump(FULL_METADATA))
    out = tmp_path / "out.nwb"
    arguments = ["export-nwb", str(sic.example_folder()), str(out), "--metadata", str(metadata)]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--t-start", "2.5"])
    assert stop.value.code == 0, capsys.readouterr().err
    assert_frames(out, sic.read_kilosort_as_analyzer(sic.example_folder()), 2.5)
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--t-start", "2.5"])
    assert stop.value.code == 2
    assert "out.nwb" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--t-start", "3.5", "--overwrite"])
    assert stop.value.code == 0
    assert_frames(out, sic.read_kilosort_as_analyzer(sic.example_folder()), 3.5)


def test_command_on_a_saved_analyzer_with_a_source(tmp_path, source, capsys):
    analyzer = small_analyzer()
    analyzer.save_as(folder=tmp_path / "analyzer", format="binary_folder")
    path = source(starting_time=9.0)
    out = tmp_path / "out.nwb"
    arguments = [str(tmp_path / "analyzer"), str(out), "--source-nwb", str(path)]
    with pytest.raises(SystemExit) as stop:
        main(["export-nwb", *arguments, "--mode", "export"])
    assert stop.value.code == 0, capsys.readouterr().err
    assert_frames(out, analyzer, 9.0)


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_metadata_from_a_file(tmp_path, suffix):
    file = tmp_path / f"metadata{suffix}"
    dump = json.dumps if suffix == ".json" else yaml.safe_dump
    file.write_text(dump(FULL_METADATA))
    path = export(small_analyzer(), tmp_path / "out.nwb", t_start=0.0, metadata=file)
    content = Content(path)
    assert content.session_start_time == START
    assert content.subject["subject_id"] == "mouse-1"
    assert content.identifier == FULL_METADATA["NWBFile"]["identifier"]
    assert content.groups == {"Probe0": "VISp"}


def test_yaml_that_parses_dates_itself(tmp_path):
    """YAML makes a datetime of an unquoted time stamp."""
    file = tmp_path / "metadata.yaml"
    file.write_text("NWBFile:\n  session_start_time: 2024-03-05T10:30:00+00:00\n")
    content = Content(export(small_analyzer(), tmp_path / "a.nwb", t_start=0.0, metadata=file))
    assert content.session_start_time == START
    file.write_text("NWBFile:\n  session_start_time: 2024-03-05 10:30:00\n")
    content = Content(export(small_analyzer(), tmp_path / "b.nwb", t_start=0.0, metadata=file))
    assert content.session_start_time == START
