"""Units written to NWB and read back by other programs: the same units, the same frames."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import numpy as np
import pynwb
import pytest
import spikeinterface.extractors as se
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pynwb import NWBHDF5IO
from spikeinterface.core import NumpySorting

import si_curation as sic
from helpers.nwb_analyzers import frames_of, make_analyzer, small_analyzer
from helpers.nwb_faults import faults_in
from helpers.nwb_reading import (
    Content,
    analyzer_of_recording,
    assert_frames,
    export,
    messages_of,
)
from helpers.nwb_sources import (
    FULL_METADATA,
    START,
    gapped_timestamps,
)
from si_curation.cli import main
from si_curation.exporters.nwb import checks
from si_curation.exporters.nwb.clock import Clock
from si_curation.exporters.nwb.spikes import timed_by_clocks

pytestmark = [pytest.mark.usefixtures("quiet_pynwb"), pytest.mark.slow]

RATES = [20_000.0, 25_000.0, 30_000.0, 32_000.0, 29_999.757]
CLOCKS = [0.0, 12.345678901, 1.7e9]
HUNDRED_HOURS_S = 360_000


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
    assert faults_in(path) == []


def test_no_spikes_at_all(tmp_path):
    analyzer = make_analyzer({0: [], 1: []}, num_samples=[30_000])
    content = Content(export(analyzer, tmp_path / "out.nwb", t_start=0.0))
    assert [len(times) for times in content["spike_times"]] == [0, 0]


@pytest.mark.parametrize("t_start", [0.0, 1.7e9])
def test_spikes_that_are_in_no_order(tmp_path, t_start):
    """Vectors that were made by hand: each unit's times ascend in the file all the same."""
    frames = {3: [40, 10, 20], 1: [30, 30, 5]}
    analyzer = make_analyzer(frames, amplitudes=False)
    spikes = analyzer.sorting.to_spike_vector()
    shuffled = spikes[[4, 0, 5, 2, 1, 3]]
    sorting = NumpySorting(shuffled, analyzer.sampling_frequency, analyzer.unit_ids)
    analyzer.sorting = sorting
    assert np.array_equal(analyzer.sorting.to_spike_vector(), shuffled)
    path = export(analyzer, tmp_path / "out.nwb", t_start=t_start, per_spike=())
    for times, own in zip(Content(path)["spike_times"], frames.values(), strict=True):
        assert np.rint((times - t_start) * analyzer.sampling_frequency).tolist() == sorted(own)


def test_a_time_that_is_no_number_is_at_another_sample():
    analyzer = small_analyzer()
    clocks = [Clock(0.0, analyzer.sampling_frequency, 10**6, "t_start")]
    timed = timed_by_clocks(analyzer, clocks)
    for order in (timed.spikes.unit_order, None):
        one = timed._replace(spikes=timed.spikes._replace(unit_order=order))
        times = timed.times.copy()
        vector = analyzer.sorting.to_spike_vector()
        assert checks._spikes_at_other_samples(times, vector, one) == []
        times[1] = np.nan
        (said,) = checks._spikes_at_other_samples(times, vector, one)
        assert said.startswith("1 spikes are at other samples, the first at nan s")


def test_one_channel(tmp_path):
    analyzer = small_analyzer(num_channels=1, main_channels=[0] * 5)
    path = export(analyzer, tmp_path / "out.nwb", t_start=0.0)
    assert [rows.tolist() for rows in Content(path).rows] == [[0]] * 5
    assert messages_of(path) == []


# ---------------------------------------------------------------------- other programs, silence


def test_silent_with_full_metadata_and_open_in_a_fresh_process(tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder(), gain_to_uV=0.5)
    analyzer.compute("curation_metrics")
    path = export(analyzer, tmp_path / "out.nwb", t_start=0.0)
    assert messages_of(path, configs=(None, "dandi")) == []
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
    gc.collect()  # the readers of the first file let go of it
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
    file.write_text("NWBFile:\n  session_start_time: 2024-03-05 11:30:00+01:00\n")
    content = Content(export(small_analyzer(), tmp_path / "b.nwb", t_start=0.0, metadata=file))
    assert content.session_start_time == START
