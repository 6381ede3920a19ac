"""`get_spike_waveforms` against one spike at a time in float64, on folders of every dialect."""

from __future__ import annotations

import numpy as np
import pytest
from spikeinterface.core import NumpySorting, create_sorting_analyzer

import si_curation as sic
from conftest import dialects
from helpers.analyzers import recording_of_folder
from oracles import feature_waveforms as naive
from oracles import features as files

OPTIONS = {"num_templates": 16, "num_channels": 20, "num_spikes": 700, "curation": 5, "seed": 3}


@pytest.fixture(scope="module")
def truth(simulate):
    return simulate("kilosort4", **OPTIONS)


@pytest.fixture
def analyzer(truth):
    return sic.read_kilosort_as_analyzer(truth.folder)


def matrix_of(truth, units):
    """What unwhitens a waveform, from the files."""
    folder = truth.folder
    names = ["whitening_mat_dat.npy", "whitening_mat.npy"]
    there = [np.load(folder / name) for name in names if (folder / name).exists()]
    num_channels = len(truth.channel_positions)
    if units == "whitened" or not there:
        inverse = np.load(folder / "whitening_mat_inv.npy")
        return np.eye(num_channels) if truth.dialect == "spikeinterface" else inverse
    inverse = np.linalg.inv(there[0].astype("float64"))
    return (inverse.T if truth.orientation == "left" else inverse) / truth.sorted_scale


def expected_waveforms(truth, analyzer, spikes, units):
    assignment = analyzer.get_extension("template_assignment")
    basis = assignment.get_waveform_source("file").model.basis.waveforms
    matrix = matrix_of(truth, units)
    values = np.load(truth.folder / "pc_features.npy")
    index = files.integers(truth.folder, "pc_feature_ind")
    rows = files.rows_by_spike(truth.folder, "pc_feature", len(truth.spike_samples))
    spike_rows = assignment.get_spike_rows()
    template_ids = np.load(truth.folder / "spike_templates.npy").ravel().astype(int)
    shape = (len(spikes), basis.shape[1], matrix.shape[1])
    out = np.full(shape, np.nan)
    for i, spike in enumerate(spikes):
        row = int(spike_rows[spike])
        if row not in rows:
            continue
        template = template_ids[row]
        channels = np.arange(values.shape[2]) if index is None else index[template]
        channels = np.where(channels < matrix.shape[0], channels, -1)
        own = truth.templates_whitened[template]
        out[i], _ = naive.waveform(values[rows[row]], channels, basis, own, matrix)
    return out


@pytest.mark.parametrize("dialect", dialects("kilosort4", "kilosort2.5"))
def test_every_spike(simulate, dialect):
    truth = simulate(dialect, **OPTIONS)
    if not (truth.folder / "pc_features.npy").exists():
        analyzer = sic.read_kilosort_as_analyzer(truth.folder)
        with pytest.raises(sic.MissingDataError, match=r"pc_features\.npy"):
            sic.get_spike_waveforms(analyzer, [0])
        return
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    spikes = np.arange(0, 700, 7)
    found = sic.get_spike_waveforms(
        analyzer, spikes, channel_ids=analyzer.channel_ids, feature_channels="file"
    )
    assignment = analyzer.get_extension("template_assignment")
    assert found.units == assignment.info["units"]
    expected = expected_waveforms(truth, analyzer, spikes, found.units)
    assert found.waveforms.shape == expected.shape
    np.testing.assert_allclose(
        found.waveforms, expected, atol=2e-4 * np.nanmax(np.abs(expected)), rtol=1e-3
    )


def test_stored_channels_are_told(truth, analyzer):
    found = sic.get_spike_waveforms(analyzer, unit_id=analyzer.unit_ids[0], max_spikes=5)
    assert found.spike_indices.size == 5
    assert found.is_stored.any(axis=1).all()
    everywhere = sic.get_spike_waveforms(
        analyzer, found.spike_indices, channel_ids=analyzer.channel_ids
    )
    num_local = np.load(truth.folder / "pc_features.npy").shape[2]
    assert (everywhere.is_stored.sum(axis=1) <= num_local).all()
    columns = np.isin(analyzer.channel_ids, found.channel_ids)
    np.testing.assert_array_equal(found.waveforms, everywhere.waveforms[:, :, columns])
    np.testing.assert_array_equal(found.is_stored, everywhere.is_stored[:, columns])


def test_channels_in_the_order_asked(analyzer):
    ids = analyzer.channel_ids[[5, 2, 9]]
    found = sic.get_spike_waveforms(analyzer, [3, 1], channel_ids=ids)
    other = sic.get_spike_waveforms(analyzer, [1, 3], channel_ids=ids[::-1])
    np.testing.assert_array_equal(found.waveforms, other.waveforms[::-1, :, ::-1])
    assert found.channel_ids.tolist() == ids.tolist()


def test_gains(truth):
    gains = np.linspace(0.1, 0.4, len(truth.channel_positions))
    raw = sic.get_spike_waveforms(
        sic.read_kilosort_as_analyzer(truth.folder), np.arange(20), channel_ids=[4, 7]
    )
    uv = sic.get_spike_waveforms(
        sic.read_kilosort_as_analyzer(truth.folder, gain_to_uV=gains),
        np.arange(20),
        channel_ids=[4, 7],
    )
    assert (raw.units, uv.units) == ("raw", "uV")
    np.testing.assert_allclose(uv.waveforms, raw.waveforms * gains[[4, 7]], rtol=1e-4, atol=1e-3)


def test_spikes_that_are_not_stored_are_nan(simulate):
    truth = simulate("kilosort1", **OPTIONS)
    stored = np.arange(0, 700, 2)
    values = np.load(truth.folder / "pc_features.npy")[::2]
    np.save(truth.folder / "pc_feature_spike_ids.npy", stored)
    np.save(truth.folder / "pc_features.npy", values)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    rows = analyzer.get_extension("template_assignment").get_spike_rows()
    found = sic.get_spike_waveforms(analyzer, np.arange(rows.size))
    unknown = np.isnan(found.waveforms).all(axis=(1, 2))
    np.testing.assert_array_equal(unknown, ~np.isin(rows, stored))
    assert not np.isnan(found.waveforms[~unknown]).any()


def test_an_attached_folder_with_other_channels(truth):
    """Channels that the folder does not have are NaN; the others are in the analyzer's order."""
    read = sic.read_kilosort_as_analyzer(truth.folder)
    order = np.arange(len(truth.channel_positions))[::-1][:15]
    recording = recording_of_folder(truth.folder).select_channels(read.channel_ids[order])
    sorting = NumpySorting.from_sorting(read.sorting)
    sorting.set_property("original_cluster_id", read.unit_ids)
    analyzer = create_sorting_analyzer(sorting, recording, sparse=False)
    sic.attach_kilosort_folder(analyzer, truth.folder)
    ids = read.channel_ids[order]
    found = sic.get_spike_waveforms(analyzer, np.arange(50), channel_ids=ids)
    expected = sic.get_spike_waveforms(read, np.arange(50), channel_ids=ids)
    np.testing.assert_allclose(found.waveforms, expected.waveforms, rtol=1e-6)
    np.testing.assert_array_equal(found.is_stored, expected.is_stored)
    without = sic.get_spike_waveforms(analyzer, np.arange(50))
    assert without.is_stored.any(axis=0).all(), "a channel without features is not shown"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({}, "either spike_indices or unit_id"),
        ({"spike_indices": [0], "unit_id": 1}, "not both"),
        ({"spike_indices": [10**6]}, "spike_indices"),
        ({"spike_indices": [0], "channel_ids": [1, 1]}, "more than once"),
        ({"spike_indices": [0], "channel_ids": ["no"]}, "channel"),
        ({"unit_id": "no"}, "unit"),
        ({"spike_indices": [0], "max_spikes": 0}, "max_spikes"),
        ({"spike_indices": [0], "feature_channels": "all"}, "feature_channels"),
    ],
)
def test_what_is_refused(analyzer, arguments, match):
    with pytest.raises((sic.ParameterError, sic.UnknownIdError), match=match):
        sic.get_spike_waveforms(analyzer, **arguments)


def test_no_folder(analyzer, truth):
    recording = recording_of_folder(truth.folder)
    other = create_sorting_analyzer(
        NumpySorting.from_unit_dict([{0: np.array([100, 200])}], 30000.0), recording, sparse=False
    )
    with pytest.raises(sic.MissingDataError, match="not read from one Kilosort folder"):
        sic.get_spike_waveforms(other, [0])
