"""Channels of a recording matched to those of a folder, and positions in the plane of a probe."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from probeinterface import Probe
from spikeinterface.core import NumpyRecording

import si_curation as sic
from si_curation.reading.probe import match_channels, planar_positions

RATE = 30_000.0


@pytest.fixture(scope="module")
def folder(simulate):
    """Give a folder of 15 channels of a raw file of 15."""
    return simulate(
        num_templates=6, num_channels=15, num_spikes=300, duration_s=2.0, write_features=False
    ).folder


@pytest.fixture(scope="module")
def part(simulate):
    """Give a folder of 12 channels of a raw file of 20."""
    return simulate(
        num_templates=6,
        num_channels=12,
        num_spikes=300,
        duration_s=2.0,
        num_raw_channels=20,
        write_features=False,
        seed=3,
    ).folder


def recording_of(columns, positions=None, ids=None):
    """A recording whose channels hold the numbers of their columns."""
    traces = np.tile(np.asarray(columns, dtype="int16"), (int(2.0 * RATE), 1))
    recording = NumpyRecording([traces], RATE, channel_ids=ids)
    if positions is not None:
        recording.set_probe(probe_of(positions))
    return recording


def probe_of(positions):
    positions = np.asarray(positions, dtype=np.float64)
    probe = Probe(ndim=positions.shape[1])
    axes = None
    if positions.shape[1] == 3:
        axes = np.tile(np.eye(3)[:2], (len(positions), 1, 1))
    probe.set_contacts(positions, shapes="circle", shape_params={"radius": 1.0}, plane_axes=axes)
    probe.set_device_channel_indices(np.arange(len(positions)))
    return probe


def columns_read(folder, recording, **arguments):
    analyzer = sic.read_kilosort_as_analyzer(folder, recording=recording, **arguments)
    np.testing.assert_array_equal(
        analyzer.get_channel_locations(), np.load(folder / "channel_positions.npy")
    )
    return analyzer.recording.get_traces(end_frame=1)[0].tolist()


def positions_of(folder, *extra, at=()):
    """The positions of a folder with others put in."""
    positions = np.load(folder / "channel_positions.npy")
    return np.insert(positions, list(at), list(extra), axis=0) if at else positions


def moved(positions, x, y):
    return positions + np.array([x, y])


# ------------------------------------------------------------------------------- more channels


@pytest.mark.parametrize("at", [(0,), (4,), (15,), (0, 7), (3, 3, 3)])
def test_recording_with_more_channels_is_matched_by_position(folder, at):
    extra = [[500.0 + 10 * i, 500.0] for i in range(len(at))]
    positions = positions_of(folder, *extra, at=at)
    recording = recording_of(range(len(positions)), positions)
    kept = np.flatnonzero(positions[:, 0] < 500)
    assert columns_read(folder, recording) == kept.tolist()


def test_recording_in_any_order_is_matched_by_position(folder):
    order = np.random.default_rng(0).permutation(16)
    positions = positions_of(folder, [500.0, 0.0], at=(4,))[order]
    recording = recording_of(order, positions)
    assert columns_read(folder, recording) == np.delete(np.arange(16), 4).tolist()


def test_positions_may_be_rounded_and_in_3d(folder):
    positions = positions_of(folder, [500.0, 0.0], at=(4,)) + 0.01
    in_3d = np.insert(positions, 1, 12.0, axis=1)  # x-z plane
    for some in (positions, in_3d):
        recording = recording_of(range(16), some)
        assert columns_read(folder, recording) == np.delete(np.arange(16), 4).tolist()


def test_more_channels_without_positions_are_refused(folder):
    for recording in (
        recording_of(range(16)),
        recording_of(range(16), moved(positions_of(folder, [500.0, 0.0], at=(4,)), 3.0, 7.0)),
    ):
        with pytest.raises(sic.ParameterError, match=r"16 channels, and the file .* 15") as caught:
            sic.read_kilosort_as_analyzer(folder, recording=recording)
        assert "n_channels_dat" in str(caught.value)


def test_two_contacts_at_one_position(folder):
    positions = np.concatenate([positions_of(folder)] * 2)
    positions[15:, 0] += 0.05  # two probes of one geometry, as the folder sees them
    recording = recording_of(range(30), positions)
    with pytest.raises(sic.ParameterError, match=r"2 of its contacts .*select_channels"):
        sic.read_kilosort_as_analyzer(folder, recording=recording)
    second = recording.select_channels(recording.channel_ids[15:])
    assert columns_read(folder, second) == list(range(15, 30))


# ------------------------------------------------------------------------------- the ways disagree


def test_disagreement_of_columns_and_positions_shows_both(folder):
    positions = positions_of(folder)
    recording = recording_of(range(15), positions[::-1], ids=[f"ch{i}" for i in range(15)])
    with pytest.raises(sic.ParameterError) as caught:
        sic.read_kilosort_as_analyzer(folder, recording=recording)
    message = str(caught.value)
    assert "channel 0: ch0 by column 0, ch14 by position" in message
    assert "14 of 15" in message  # the middle one is the same
    assert len(message.splitlines()) == 1


def test_disagreement_of_ids_and_positions_shows_both(folder):
    ids = np.roll(np.arange(15), 1)
    recording = recording_of(range(15), positions_of(folder), ids=ids)
    with pytest.raises(sic.ParameterError, match=r"column in its id.*channel 0: 0 by column 0, 14"):
        sic.read_kilosort_as_analyzer(folder, recording=recording)


def test_other_origin_of_positions_is_no_disagreement(folder):
    recording = recording_of(range(15), moved(positions_of(folder), 11.0, 20.0))
    assert columns_read(folder, recording) == list(range(15))


def test_other_geometry_is_warned_of(folder):
    positions = positions_of(folder) * [1.0, 2.0] + 1000.0
    with pytest.warns(sic.SiCurationWarning, match="not that of"):
        assert columns_read(folder, recording_of(range(15), positions)) == list(range(15))


# ------------------------------------------------------------------------------- a part of a file


@pytest.mark.parametrize("as_text", [False, True])
def test_ids_that_are_columns(part, as_text):
    channel_map = sic.read_phy_folder(part).channel_map
    spare = np.setdiff1d(np.arange(20), channel_map)
    for columns in (np.delete(np.arange(20), spare[:2]), np.arange(20)[::-1], channel_map):
        ids = [str(c) for c in columns] if as_text else columns
        recording = recording_of(columns, ids=ids)
        assert columns_read(part, recording) == channel_map.tolist()


def test_ids_that_lack_a_column(part):
    channel_map = sic.read_phy_folder(part).channel_map
    columns = np.delete(np.arange(20), channel_map[3])
    with pytest.raises(sic.ParameterError, match=f"none for column {channel_map[3]},"):
        sic.read_kilosort_as_analyzer(part, recording=recording_of(columns, ids=columns))


def test_ids_that_cannot_be_columns_are_names(folder):
    recording = recording_of(range(15), ids=np.arange(1, 16))
    assert columns_read(folder, recording) == list(range(15))


def test_last_columns_that_are_not_there_are_said_to_be_assumed(part):
    channel_map = sic.read_phy_folder(part).channel_map
    shift = 19 - int(channel_map.max())
    recording = recording_of(range(19 + (shift == 0)))
    if shift == 0:
        assert columns_read(part, recording) == channel_map.tolist()
        return
    with pytest.warns(sic.SiCurationWarning, match="19 channels, .* 20 columns"):
        assert columns_read(part, recording) == channel_map.tolist()


def test_without_params_the_number_of_columns_is_not_known(folder, tmp_path):
    copy = tmp_path / "ks"
    shutil.copytree(folder, copy)
    (copy / "params.py").unlink()
    assert columns_read(copy, recording_of(range(15)), sampling_frequency=RATE) == list(range(15))
    with pytest.warns(sic.SiCurationWarning, match="not known how many columns"):
        columns_read(copy, recording_of(range(16)), sampling_frequency=RATE)
    positions = positions_of(folder, [500.0, 0.0], at=(4,))
    assert (
        columns_read(copy, recording_of(range(16), positions), sampling_frequency=RATE)
        == np.delete(np.arange(16), 4).tolist()
    )


def test_the_recording_stays_as_it_was(folder):
    positions = positions_of(folder, [500.0, 0.0], at=(4,))
    recording = recording_of(range(16), positions)
    sic.read_kilosort_as_analyzer(folder, recording=recording)
    np.testing.assert_array_equal(recording.get_channel_locations(), positions)
    assert recording.get_num_channels() == 16


@given(st.data())
def test_any_recording_is_matched_rightly_or_refused(folder, data):
    """Whatever is left out, put in and reordered: the right columns, or an error."""
    folder = sic.read_phy_folder(folder)
    spare = data.draw(st.lists(st.integers(0, 15), max_size=3))
    positions = folder.channel_positions.astype(np.float64)
    extra = [[600.0 + 30 * i, 5.0] for i in range(len(spare))]
    positions = np.insert(positions, spare, np.reshape(extra, (-1, 2)), axis=0)
    columns = np.where(positions[:, 0] < 600, 0, -1)
    columns[columns == 0] = np.arange(15)
    order = np.array(data.draw(st.permutations(range(len(positions)))))
    kept = order[: data.draw(st.integers(1, len(order)))]
    recording = recording_of(columns[kept], positions[kept])
    is_raw_file = columns[kept].tolist() == list(range(15))
    if set(range(15)) <= set(columns[kept].tolist()) and (len(kept) != 15 or is_raw_file):
        assert columns[kept][match_channels(recording, folder)].tolist() == list(range(15))
    else:  # a channel is missing, or the order of a raw file is not that of channel_map.npy
        with pytest.raises(sic.ParameterError):
            match_channels(recording, folder)


# ---------------------------------------------------------------------------------- the plane


PLANAR = np.array([[0.0, 0.0], [32.0, 20.0], [0.0, 40.0], [32.0, 60.0]])


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
def test_probes_in_a_plane_of_two_axes(axes):
    positions = np.full((4, 3), 9.0)
    positions[:, axes] = PLANAR
    np.testing.assert_array_equal(planar_positions(positions), PLANAR)


def test_positions_in_2d_are_as_they_are():
    np.testing.assert_array_equal(planar_positions(PLANAR.astype(np.float32)), PLANAR)
    assert planar_positions(np.zeros((0, 3))).shape == (0, 2)
    np.testing.assert_array_equal(planar_positions(np.array([[1.0, 2.0, 3.0]])), [[1.0, 2.0]])


@given(st.floats(0.0, np.pi))
def test_probes_that_stand_at_an_angle_keep_their_distances(angle):
    positions = np.column_stack(
        [np.cos(angle) * PLANAR[:, 0], np.sin(angle) * PLANAR[:, 0], PLANAR[:, 1]]
    )
    flat = planar_positions(positions)
    np.testing.assert_allclose(flat[:, 1], PLANAR[:, 1])
    apart = np.abs(flat[:, None] - flat[None])
    np.testing.assert_allclose(apart, np.abs(PLANAR[:, None] - PLANAR[None]), atol=0.1)


def test_planes_behind_each_other_do_not_fall_on_each_other():
    shanks = np.array([[0.0, 0.0], [250.0, 0.0], [0.0, 250.0], [250.0, 250.0]])
    positions = np.array([[x, y, z] for x, y in shanks for z in (0.0, 20.0, 40.0)])
    flat = planar_positions(positions)
    np.testing.assert_array_equal(flat[:, 1], positions[:, 2])
    assert len(np.unique(flat.round(3), axis=0)) == len(positions)
    assert len(np.unique(flat[:, 0].round(3))) == 4
