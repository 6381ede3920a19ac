"""Times that are given for each spike: TPrime's, in the order of the folder's rows."""

from __future__ import annotations

import numpy as np
import pynwb
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import si_curation as sic
from helpers.nwb_files import METADATA, digest, make_analyzer
from si_curation.cli import cli
from si_curation.exporters.nwb.given_times import check_spike_times

RATE = 30_000.0


def tprime(samples, start=12.5, drift=3e-5):
    """A clock that runs 30 ppm fast, as that of another device."""
    return start + np.asarray(samples, dtype=np.float64) / RATE * (1 + drift)


def times_in(path, name="units"):
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        units = io.read().units
        return (
            {
                str(unit): np.asarray(times)
                for unit, times in zip(units["unit_name"][:], units["spike_times"][:], strict=True)
            },
            np.asarray(units["obs_intervals"][0]),
        )


def export(analyzer, path, **kwargs):
    return sic.export_to_nwb(analyzer, path, metadata=METADATA, progress_bar=False, **kwargs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given") / "ks"
    sic.simulate_kilosort_folder(
        folder, num_templates=6, num_channels=8, num_spikes=2000, duration_s=20, seed=3,
        curation=[("merge", [1, 3]), ("split", 5, 2), ("label", [0], "noise")],
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("shape", ["(n,)", pytest.param("(n, 1)", marks=pytest.mark.slow)])
def test_rows_of_a_curated_folder_without_a_group(folder, shape, tmp_path):
    samples = np.load(folder / "spike_times.npy").ravel().astype(np.int64)
    clusters = np.load(folder / "spike_clusters.npy").ravel()
    times = tprime(samples)
    analyzer = sic.read_kilosort_as_analyzer(folder, exclude_groups=["noise"])
    assert 0 not in analyzer.unit_ids
    values = times if shape == "(n,)" else times[:, None]
    found, observed = times_in(export(analyzer, tmp_path / "a.nwb", spike_times=values))
    assert list(found) == [str(i) for i in analyzer.unit_ids]
    for unit, its_times in found.items():
        np.testing.assert_array_equal(its_times, np.sort(times[clusters == int(unit)]))
    assert observed.shape == (1, 2)
    assert abs(observed[0, 0] - 12.5) < 1e-5
    end = tprime(analyzer.get_num_samples(0))
    assert abs(observed[0, 1] - end) < 1e-5


@pytest.mark.slow
def test_rows_follow_a_session_of_curation(folder, tmp_path):
    session = sic.CurationSession(sic.read_kilosort_as_analyzer(folder))
    ids = list(session.unit_ids)
    merged = session.merge(ids[:2])
    session.remove([ids[2]])
    curated = session.apply()
    clusters = np.load(folder / "spike_clusters.npy").ravel()
    times = tprime(np.load(folder / "spike_times.npy").ravel().astype(np.int64))
    found, _ = times_in(export(curated, tmp_path / "a.nwb", spike_times=times))
    np.testing.assert_array_equal(found[str(merged)], np.sort(times[np.isin(clusters, ids[:2])]))


@given(st.data())
def test_times_are_those_of_the_rows(data):
    """By brute force: every spike of the vector has the time at its place, every unit ascends."""
    frames = {
        unit: sorted(data.draw(st.lists(st.integers(0, 90_000), max_size=30)))
        for unit in range(data.draw(st.integers(1, 4)))
    }
    analyzer = make_analyzer(frames, templates=False)
    vector = analyzer.sorting.to_spike_vector()
    jitter = data.draw(
        st.lists(st.floats(0, 0.4 / RATE), min_size=vector.size, max_size=vector.size)
    )
    times = tprime(vector["sample_index"]) + np.array(jitter)
    nwbfile = pynwb.NWBFile("d", "i", METADATA["NWBFile"]["session_start_time"])
    units = sic.add_units_to_nwbfile(analyzer, nwbfile, spike_times=times)
    for unit in frames:
        own = times[vector["unit_index"] == unit]
        assert sorted(own) == list(units["spike_times"][unit])


@pytest.mark.slow
def test_values_of_spikes_go_along_when_times_change_places(tmp_path):
    from si_curation._spikeinterface import inject_extension

    analyzer = make_analyzer({0: [100, 101, 5000], 1: [200]})
    inject_extension(analyzer, "spike_amplitudes", {"amplitudes": np.array([1.0, 2, 3, 4])}, {})
    assert analyzer.sorting.to_spike_vector()["sample_index"].tolist() == [100, 101, 200, 5000]
    times = np.array([1.0 + 101 / RATE, 1.0 + 100.5 / RATE, 1.0 + 200 / RATE, 1.0 + 5000 / RATE])
    path = export(analyzer, tmp_path / "a.nwb", spike_times=times)
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        units = io.read().units
        np.testing.assert_array_equal(units["spike_times"][0], times[[1, 0, 3]])
        np.testing.assert_array_equal(units["spike_amplitudes_uV"][0], [2.0, 1.0, 4.0])


@pytest.mark.slow
def test_two_segments_and_one_without_spikes(tmp_path):
    parts = [{0: [10, 20_000], 1: [7]}, {0: [], 1: []}, {0: [300], 1: [9000]}]
    analyzer = make_analyzer(parts, num_samples=[30_000, 600, 30_000])
    vector = analyzer.sorting.to_spike_vector()
    starts = np.array([2.0, np.nan, 50.0])[vector["segment_index"]]
    times = starts + vector["sample_index"] / RATE
    found, observed = times_in(export(analyzer, tmp_path / "a.nwb", spike_times=times))
    np.testing.assert_allclose(observed, [[2.0, 3.0], [50.0, 51.0]], atol=1e-9)
    np.testing.assert_allclose(found["0"], [2 + 10 / RATE, 2 + 20_000 / RATE, 50.01])
    with pytest.raises(
        sic.ParameterError, match=r"segment 2 begin at 2.01 s, and those of the seg"
    ):
        export(analyzer, tmp_path / "b.nwb", spike_times=np.where(starts == 50, times - 48, times))


def test_a_gap_in_a_recording_that_was_sorted_as_one():
    samples = np.arange(0, 600_000, 500)
    analyzer = make_analyzer({0: samples.tolist()})
    times = tprime(samples) + np.where(samples > 300_000, 3600.0, 0.0)
    np.testing.assert_array_equal(check_spike_times(analyzer, times).times, times)


def test_no_spikes(tmp_path):
    analyzer = make_analyzer({0: [], 1: []})
    path = export(analyzer, tmp_path / "a.nwb", spike_times=[])
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        units = io.read().units
        assert units["spike_times"].target.data.shape == (0,)
        assert "obs_intervals" not in units.colnames


SAMPLES = np.arange(0, 600_000, 600)
GOOD = tprime(SAMPLES)


def changed(at, value):
    times = GOOD.copy()
    times[at] = value
    return times


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (GOOD[:-1], r"shape \(999,\), expected \(1000,\): one for each spike"),
        (np.r_[GOOD, 99.0], r"shape \(1001,\), expected \(1000,\)"),
        (np.stack([GOOD, GOOD], axis=1), r"shape \(1000, 2\)"),
        (3.0, r"shape \(\)"),
        (changed(17, np.nan), "1 values that are not finite, the first in row 17"),
        (changed(5, np.inf), "not finite, the first in row 5"),
        (GOOD[::-1], "do not rise with the samples: 999 of 1000"),
        (changed(600, 12.5), "do not rise with the samples: 1 of 1000 .* in row 600"),
        (SAMPLES, "are 30000 s per second of samples.*not samples or milliseconds"),
        (GOOD * 1000, "s per second of samples"),
        (GOOD.astype(np.float32) + np.float32(4000), "float32, which are 0.000244 s apart"),
        ([str(t) for t in GOOD], "expected one number of seconds per spike"),
        (GOOD.astype(complex), "expected one number of seconds per spike"),
        ("tprime.txt", "spike_times is 'tprime.txt', expected one number"),
        ([[1.0], [2.0, 3.0]], "expected one number of seconds per spike"),
        (GOOD > 13, "expected one number of seconds per spike"),
    ],
)
def test_times_that_cannot_be(times, message, tmp_path):
    analyzer = make_analyzer({0: SAMPLES.tolist()})
    with pytest.raises(sic.ParameterError, match=message):
        export(analyzer, tmp_path / "a.nwb", spike_times=times)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", ["t_start", "timestamps"])
def test_two_times_at_once(other, tmp_path):
    analyzer = make_analyzer({0: SAMPLES.tolist()})
    with pytest.raises(sic.ParameterError, match=f"{other} and spike_times are given, expected on"):
        export(analyzer, tmp_path / "a.nwb", spike_times=GOOD, **{other: 1.0})


def test_which_row_is_not_known(folder):
    """A folder is named and its rows are not: never the order of the spike vector in silence."""
    sorting = make_analyzer({0: SAMPLES.tolist()})
    sorting.sorting.annotate(phy_folder=str(folder))
    with pytest.raises(sic.MissingDataError, match=r"rows of .*ks, and it is not known which row"):
        check_spike_times(sorting, GOOD)


def test_a_folder_that_is_gone(folder, tmp_path):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "ks")
    analyzer = sic.read_kilosort_as_analyzer(copy, format="binary_folder", folder=tmp_path / "an")
    times = tprime(np.load(copy / "spike_times.npy").ravel().astype(np.int64))
    expected = check_spike_times(analyzer, times).times
    with pytest.raises(sic.ParameterError, match=r"one for each row of .*spike_times.npy"):
        check_spike_times(analyzer, times[:-1])
    shutil.rmtree(copy)
    np.testing.assert_array_equal(check_spike_times(analyzer, times).times, expected)
    with pytest.raises(sic.ParameterError, match="at least so many"):
        check_spike_times(analyzer, times[:-1])


@pytest.mark.slow
def test_command(folder, tmp_path):
    times = tprime(np.load(folder / "spike_times.npy").ravel().astype(np.int64))
    np.save(tmp_path / "tprime.npy", times)
    (tmp_path / "m.yaml").write_text("NWBFile:\n  session_start_time: 2024-05-01 12:00:00Z\n")
    command = ["export-nwb", str(folder), str(tmp_path / "a.nwb"), "--metadata",
               str(tmp_path / "m.yaml"), "--spike-times"]  # fmt: skip
    done = CliRunner().invoke(cli, [*command, str(tmp_path / "tprime.npy")])
    assert done.exit_code == 0, done.output
    found, _ = times_in(tmp_path / "a.nwb")
    np.testing.assert_array_equal(np.sort(np.concatenate(list(found.values()))), np.sort(times))
    before = digest(tmp_path / "a.nwb")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "text.npy").write_text("1.0\n2.0\n")
    for name in ("gone.npy", "objects.npy", "text.npy"):
        done = CliRunner().invoke(cli, [*command, str(tmp_path / name), "--overwrite"])
        assert done.exit_code == 2
        assert name in done.output
    assert digest(tmp_path / "a.nwb") == before


def test_a_part_that_was_sorted():
    samples = SAMPLES[((SAMPLES >= 60_000) & (SAMPLES < 120_000)) | (SAMPLES >= 180_000)]
    analyzer = make_analyzer({0: samples.tolist()}, num_samples=[600_000])
    sic.set_observed_periods(analyzer, [[2.0, 4.0], [6.0, 20.0]])
    found = check_spike_times(analyzer, tprime(samples)).observed
    expected = tprime(np.array([[60_000, 120_000], [180_000, 600_000]]))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
