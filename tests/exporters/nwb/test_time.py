"""The time of the spikes in an NWB file: from where it is known, exact, and never assumed."""

from __future__ import annotations

import numpy as np
import pynwb
import pytest
import spikeinterface.core as sc
from spikeinterface.extractors import read_nwb_sorting

import si_curation as sic
from helpers.nwb_files import METADATA, frames_in, make_analyzer, write_source
from si_curation.exporters.nwb import clock as nwb_clock
from si_curation.exporters.nwb import time as nwb_time
from si_curation.exporters.nwb.clock import Clock
from si_curation.exporters.nwb.time import resolve_clocks

RATES = [20_000.0, 24_414.0625, 25_000.0, 29_999.757, 30_000.0, 30_000.3, 32_000.0]
HOURS = 100


def random_frames(rate, size=2000, seed=0, units=2):
    rng = np.random.default_rng(seed)
    last = int(HOURS * 3600 * rate)
    return {i: np.sort(rng.integers(0, last, size)) for i in range(units)}


@pytest.mark.parametrize("t_start", [0.0, 0.3, 1e5 + 1 / 3, 1.7e9])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.slow
def test_every_frame_comes_back(rate, t_start, tmp_path):
    frames = random_frames(rate)
    analyzer = make_analyzer(frames, rate)
    path = sic.export_to_nwb(analyzer, tmp_path / "a.nwb", metadata=METADATA, t_start=t_start)
    back = read_nwb_sorting(path, t_start=t_start)
    assert back.sampling_frequency == pytest.approx(rate, rel=1e-15)
    for unit, own in frames.items():
        np.testing.assert_array_equal(back.get_unit_spike_train(str(unit)), own)


@pytest.mark.slow
def test_pynapple_reads_the_same_times(tmp_path):
    import pynapple as nap

    frames = {3: [10, 500, 70_000], 8: [], 9: [4]}
    path = sic.export_to_nwb(
        make_analyzer(frames), tmp_path / "a.nwb", metadata=METADATA, t_start=2.5
    )
    units = nap.load_file(str(path))["units"]
    assert list(units.keys()) == [3, 8, 9]
    np.testing.assert_allclose(units[3].times(), 2.5 + np.array(frames[3]) / 30_000, atol=1e-9)
    assert len(units[8]) == 0


def test_nothing_tells_the_time(tmp_path):
    with pytest.raises(sic.MissingDataError, match=r"t_start=.*timestamps=.*recording.*source_nwb"):
        sic.export_to_nwb(make_analyzer({0: [5]}), tmp_path / "a.nwb", metadata=METADATA)
    assert list(tmp_path.iterdir()) == []


def make_recorded(times=None, shift=None, durations=(2.0,)):
    recording, sorting = sc.generate_ground_truth_recording(
        durations=list(durations), num_channels=4, num_units=3, seed=0
    )
    for i in range(len(durations)):
        if times is not None:
            recording.set_times(times[i], segment_index=i)
    if shift is not None:
        recording.shift_times(shift)
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "templates"], progress_bar=False)
    return analyzer


def test_a_recording_without_times_tells_nothing():
    with pytest.raises(sic.MissingDataError, match="time of the samples is not known"):
        resolve_clocks(make_recorded(), t_start=None, timestamps=None)


@pytest.mark.slow
def test_a_shifted_recording(tmp_path):
    analyzer = make_recorded(shift=123.25)
    path = sic.export_to_nwb(analyzer, tmp_path / "a.nwb", metadata=METADATA)
    own = analyzer.sorting.get_unit_spike_train(analyzer.unit_ids[0])
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        times = io.read().units["spike_times"][0]
    np.testing.assert_allclose(times, 123.25 + own / analyzer.sampling_frequency, atol=1e-9)


def test_a_time_vector_with_drift_and_a_gap(tmp_path):
    probe = make_recorded()
    n = probe.get_num_samples(0)
    vector = 50.0 + np.arange(n) / probe.sampling_frequency * (1 + 2e-5)
    vector[n // 2 :] += 0.75
    analyzer = make_recorded(times=[vector])
    path = sic.export_to_nwb(analyzer, tmp_path / "a.nwb", metadata=METADATA)
    found = frames_in(path, lambda t: np.searchsorted(vector, t))
    for unit in analyzer.unit_ids:
        own = analyzer.sorting.get_unit_spike_train(unit)
        np.testing.assert_array_equal(found[str(unit)], own)


def test_explicit_times_go_before_the_recordings(tmp_path):
    clocks = resolve_clocks(make_recorded(shift=7.0), t_start=1.0, timestamps=None)
    assert clocks[0].start_s == 1.0


def test_timestamps_from_a_dataset_in_blocks(tmp_path, monkeypatch):
    import h5py

    for module in (nwb_clock, nwb_time):
        monkeypatch.setattr(module, "BLOCK", 1000)
    rng = np.random.default_rng(3)
    vector = 9.0 + np.cumsum(rng.uniform(0.9, 1.1, 20_000)) / 30_000
    frames = {0: np.sort(rng.choice(20_000, 900, replace=False)), 1: [0, 19_999]}
    analyzer = make_analyzer(frames, num_samples=[20_000])
    with h5py.File(tmp_path / "t.h5", "w") as file:
        data = file.create_dataset("t", data=vector)
        (clock,) = resolve_clocks(analyzer, t_start=None, timestamps=data)
        every = np.arange(20_000)
        np.testing.assert_array_equal(clock.times_of(every), vector)
        np.testing.assert_array_equal(clock.times_of(every[::-1]), vector[::-1])
        np.testing.assert_array_equal(clock.frames_of(vector), every)
        np.testing.assert_array_equal(clock.frames_of(vector[::-1]), every[::-1])


@pytest.mark.parametrize(
    ("timestamps", "message"),
    [
        (np.arange(50.0), "are 50, and there is a spike at sample 99"),
        (
            np.r_[np.arange(60), 59, np.arange(61, 100)] / 30_000,
            "not ascending numbers at sample 60",
        ),
        (
            np.r_[np.arange(60), np.nan, np.arange(61, 100)] / 30_000,
            "not ascending numbers at sample",
        ),
        (np.arange(100.0), "samples are 1 s apart"),
        (np.zeros((100, 2)), "shape"),
    ],
)
def test_timestamps_that_cannot_be(timestamps, message):
    analyzer = make_analyzer({0: [99]}, num_samples=[100])
    with pytest.raises(sic.ParameterError, match=message):
        resolve_clocks(analyzer, t_start=None, timestamps=timestamps)


@pytest.mark.parametrize("t_start", ["soon", np.nan, [1.0, 2.0], None])
def test_starts_that_cannot_be(t_start):
    timestamps = None if t_start is not None else np.arange(100) / 30_000
    t_start = 1.0 if t_start is None else t_start  # both
    with pytest.raises(sic.ParameterError, match="t_start"):
        resolve_clocks(
            make_analyzer({0: [99]}, num_samples=[100]), t_start=t_start, timestamps=timestamps
        )


def test_two_segments(tmp_path):
    segments = [{0: [1, 5000], 1: [7]}, {0: [0, 2], 1: []}]
    analyzer = make_analyzer(segments, num_samples=[30_000, 600])
    path = sic.export_to_nwb(analyzer, tmp_path / "a.nwb", metadata=METADATA, t_start=[3.0, 10.0])
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        units = io.read().units
        np.testing.assert_allclose(
            units["spike_times"][0], [3 + 1 / 3e4, 3 + 5000 / 3e4, 10.0, 10 + 2 / 3e4], rtol=1e-15
        )
        np.testing.assert_allclose(units["obs_intervals"][1], [[3.0, 4.0], [10.0, 10.02]])
    for bad in ([3.0, 3.9], [10.0, 3.0], [3.0, 3.0]):
        with pytest.raises(sic.ParameterError, match="ascending and apart"):
            sic.export_to_nwb(analyzer, tmp_path / "b.nwb", metadata=METADATA, t_start=bad)
    with pytest.raises(sic.ParameterError, match="2 finite numbers"):
        sic.export_to_nwb(analyzer, tmp_path / "b.nwb", metadata=METADATA, t_start=3.0)
    vectors = [3 + np.arange(30_000) / 3e4, 20 + np.arange(600) / 3e4]
    assert [c.start_s for c in resolve_clocks(analyzer, t_start=None, timestamps=vectors)] == [
        3,
        20,
    ]


# ------------------------------------------------------------- the clock of a file


def test_rate_and_start_of_the_series(tmp_path):
    source = write_source(tmp_path / "s.nwb")
    analyzer = make_analyzer({0: [3, 59_999]}, channel_ids=["AP0", "AP1", "AP2", "AP3"])
    path = sic.export_to_nwb(analyzer, tmp_path / "a.nwb", source_nwb=source)
    found = frames_in(path, lambda t: (t - 5.0) * 30_000)
    np.testing.assert_allclose(found["0"], [3, 59_999], atol=1e-6)


@pytest.mark.parametrize(("off_by", "fits"), [(0.4, True), (0.6, False)])
def test_half_a_sample_over_the_session(off_by, fits, tmp_path):
    n = 60_000
    source = write_source(tmp_path / "s.nwb", rate=30_000.0 * (1 + off_by / n), num_samples=n)
    analyzer = make_analyzer({0: [3, n - 1]}, channel_ids=["AP0", "AP1", "AP2", "AP3"])
    if fits:
        path = sic.export_to_nwb(analyzer, tmp_path / "a.nwb", source_nwb=source)
        back = read_nwb_sorting(path, t_start=5.0)
        np.testing.assert_array_equal(back.get_unit_spike_train("0"), [3, n - 1])
    else:
        with pytest.raises(sic.ParameterError, match="half a sample"):
            sic.export_to_nwb(analyzer, tmp_path / "a.nwb", source_nwb=source)


@pytest.mark.slow
def test_timestamps_of_the_series(tmp_path):
    vector = 8.0 + np.arange(5000) / 30_000 * 1.00003
    source = write_source(tmp_path / "s.nwb", timestamps=vector)
    frames = {0: [0, 17, 4999]}
    analyzer = make_analyzer(frames, channel_ids=["AP0", "AP1", "AP2", "AP3"])
    for mode in ("sidecar", "export"):
        path = sic.export_to_nwb(analyzer, tmp_path / f"{mode}.nwb", source_nwb=source, mode=mode)
        found = frames_in(path, lambda t: np.searchsorted(vector, t))
        np.testing.assert_array_equal(found["0"], frames[0])
    back = read_nwb_sorting(
        tmp_path / "export.nwb", electrical_series_path="acquisition/ElectricalSeries"
    )
    np.testing.assert_array_equal(back.get_unit_spike_train("0"), frames[0])


@pytest.mark.slow
def test_several_series(tmp_path):
    source = write_source(tmp_path / "s.nwb", series=2)
    analyzer = make_analyzer({0: [3]}, channel_ids=["AP0", "AP1", "AP2", "AP3"])
    with pytest.raises(
        sic.ParameterError, match="ElectricalSeries0, acquisition/ElectricalSeries1"
    ):
        sic.export_to_nwb(analyzer, tmp_path / "a.nwb", source_nwb=source)
    for name in (
        "acquisition/ElectricalSeries1",
        "/acquisition/ElectricalSeries1",
        "ElectricalSeries1",
    ):
        sic.export_to_nwb(
            analyzer,
            tmp_path / "a.nwb",
            source_nwb=source,
            electrical_series_path=name,
            overwrite=True,
        )
    with pytest.raises(sic.ParameterError, match="'LFP' is not there; the file has"):
        sic.export_to_nwb(
            analyzer, tmp_path / "b.nwb", source_nwb=source, electrical_series_path="LFP"
        )


def test_a_recording_that_disagrees_with_its_file(tmp_path):
    analyzer = make_recorded(shift=7.0)
    places = analyzer.get_channel_locations().tolist()
    source = write_source(tmp_path / "s.nwb", rate=25_000.0, num_samples=50_000, positions=places)
    electrode_map = {str(i): i for i in range(4)}
    with pytest.raises(sic.ParameterError, match="give the right one"):
        sic.export_to_nwb(
            analyzer, tmp_path / "a.nwb", source_nwb=source, electrode_map=electrode_map
        )


def test_spikes_beyond_the_series(tmp_path):
    source = write_source(tmp_path / "s.nwb", num_samples=100)
    analyzer = make_analyzer({0: [100]}, channel_ids=["AP0", "AP1", "AP2", "AP3"])
    with pytest.raises(
        sic.ParameterError,
        match=r"a spike is at sample 100, and .*Series has 100 samples",
    ):
        sic.export_to_nwb(analyzer, tmp_path / "a.nwb", source_nwb=source)


def test_clock_too_coarse_for_the_samples_is_refused(tmp_path):
    analyzer = make_analyzer({0: [1, 2, 3]})
    with pytest.raises(sic.NwbExportError, match="fine enough"):
        sic.export_to_nwb(analyzer, tmp_path / "a.nwb", metadata=METADATA, t_start=1e14)
    assert list(tmp_path.iterdir()) == []


def test_clock_is_its_own_inverse():
    for rate in RATES:
        frames = np.random.default_rng(1).integers(0, int(1e10), 1000)
        clock = Clock(1.7e9, rate, int(1e10), "test")
        np.testing.assert_array_equal(clock.frames_of(clock.times_of(frames)), frames)
