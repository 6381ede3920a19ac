"""Amplitudes on one scale: `get_spike_amplitudes(kind="projection")`, on folders of every dialect.

Expected are loops over single spikes in float64, the same folder with a gain, and the amplitudes
that were simulated.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from spikeinterface.core import NumpySorting, create_sorting_analyzer

import si_curation as sic
from conftest import dialects
from helpers.analyzers import recording_of_folder
from oracles import feature_waveforms as naive
from oracles import features as files

OPTIONS = {"num_templates": 16, "num_channels": 20, "num_spikes": 700, "curation": 5, "seed": 3}


def all_amplitudes(analyzer):
    """Of all spikes, in the order of the spike vector."""
    out = np.full(len(analyzer.sorting.to_spike_vector()), np.nan)
    for unit_id in analyzer.unit_ids:
        spikes, amplitudes = sic.get_spike_amplitudes(analyzer, unit_id, "projection")
        out[spikes] = amplitudes
    return out


def template_ids_of(analyzer, unit_id):
    ids = analyzer.get_extension("template_assignment").get_spike_template_ids()
    return ids[sic.get_spike_amplitudes(analyzer, unit_id, "projection").spike_indices]


def writable(truth, tmp_path, without=()):
    folder = shutil.copytree(truth.folder, tmp_path / "copy")
    for name in without:
        (folder / name).unlink(missing_ok=True)
    return folder


@pytest.mark.parametrize("dialect", dialects("kilosort4"))
def test_every_spike(simulate, dialect):
    truth = simulate(dialect, **OPTIONS)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    scale = sic.get_amplitude_scale(analyzer)
    found = all_amplitudes(analyzer)
    assignment = analyzer.get_extension("template_assignment")
    rows, template_ids = assignment.get_spike_rows(), assignment.get_spike_template_ids()
    largest = np.ptp(assignment.get_templates(), axis=1).max(axis=1)
    stored = np.load(truth.folder / "amplitudes.npy").ravel()[rows]
    if dialect == "spikeinterface":
        assert (scale.measure, scale.source) == ("extremum", "spike_amplitudes")
        np.testing.assert_allclose(found, np.abs(stored), rtol=1e-5)
        return
    assert scale.measure == "peak_to_peak"
    assert scale.units == assignment.info["units"]
    if not (truth.folder / "pc_features.npy").exists():
        assert scale.source == "amplitudes"
        norms = np.linalg.norm(truth.templates_whitened, axis=(1, 2))
        if dialect in ("kilosort3", "kilosort4"):
            stored = stored / norms[template_ids]
        np.testing.assert_allclose(found, stored * largest[template_ids], rtol=1e-4)
        return
    assert scale.source == "pc_features"
    basis = assignment.get_waveform_source().model.basis.waveforms
    values = np.load(truth.folder / "pc_features.npy")
    index = files.integers(truth.folder, "pc_feature_ind")
    source = assignment.get_waveform_source()
    identity = np.eye(len(truth.channel_positions))
    for spike in range(0, rows.size, 7):
        group = source.features.groups[spike]
        channels = source.features.channels[group]
        if source.features.channels_from == "file" and index is not None:
            np.testing.assert_array_equal(channels, index[template_ids[spike]])
        own = truth.templates_whitened[template_ids[spike]]
        _, factor = naive.waveform(values[rows[spike]], channels, basis, own, identity)
        expected = factor * largest[template_ids[spike]]
        assert found[spike] == pytest.approx(expected, rel=2e-3, abs=1e-3 * np.abs(found).max())


@pytest.mark.parametrize(
    "dialect",
    ["kilosort4", *(pytest.param(d, marks=pytest.mark.slow) for d in ("kilosort1", "kilosort2"))],
)
@pytest.mark.parametrize("without", [(), ("pc_features.npy",)])
def test_a_gain_makes_microvolts_of_the_same(simulate, tmp_path, dialect, without):
    folder = writable(simulate(dialect, **OPTIONS), tmp_path, without)
    raw = sic.read_kilosort_as_analyzer(folder)
    uv = sic.read_kilosort_as_analyzer(folder, gain_to_uV=0.25)
    assert sic.get_amplitude_scale(raw).units in ("raw", "sorter")
    scale = sic.get_amplitude_scale(uv)
    assert scale.label == "peak to peak (µV)"
    assert scale.source == ("amplitudes" if without else "pc_features")
    np.testing.assert_allclose(all_amplitudes(uv), 0.25 * all_amplitudes(raw), rtol=1e-4)


@pytest.mark.slow
def test_features_of_some_spikes_are_not_mixed_with_amplitudes(simulate, tmp_path):
    folder = writable(simulate("kilosort1", **OPTIONS), tmp_path)
    np.save(folder / "pc_feature_spike_ids.npy", np.arange(0, 700, 2))
    np.save(folder / "pc_features.npy", np.load(folder / "pc_features.npy")[::2])
    analyzer = sic.read_kilosort_as_analyzer(folder)
    assert sic.get_amplitude_scale(analyzer).source == "amplitudes"
    assert np.isfinite(all_amplitudes(analyzer)).all()
    # of an analyzer that has only spikes that are stored
    whole = analyzer.get_extension("template_assignment").get_spike_rows()
    even = analyzer.sorting.to_spike_vector()[whole % 2 == 0]
    sorting = NumpySorting(even, analyzer.sampling_frequency, analyzer.unit_ids)
    sorting.set_property("original_cluster_id", analyzer.unit_ids)
    part = create_sorting_analyzer(sorting, recording_of_folder(folder), sparse=False)
    sic.attach_kilosort_folder(part, folder)
    assert sic.get_amplitude_scale(part).source == "pc_features"


def test_nothing_to_go_by_is_an_error(simulate, tmp_path):
    truth = simulate("kilosort4", **OPTIONS)
    folder = writable(truth, tmp_path, ["pc_features.npy", "amplitudes.npy"])
    analyzer = sic.read_kilosort_as_analyzer(folder)
    for function in (sic.get_amplitude_scale, sic.plot_amplitudes_over_time):
        with pytest.raises(sic.MissingDataError, match="spike_amplitudes"):
            function(analyzer)


def test_a_folder_that_is_gone_is_an_error(simulate, tmp_path):
    folder = writable(simulate("kilosort4", **OPTIONS), tmp_path)
    analyzer = sic.read_kilosort_as_analyzer(folder)
    shutil.rmtree(folder)
    with pytest.raises(sic.FolderNotFoundError, match="copy"):
        sic.get_spike_amplitudes(analyzer, analyzer.unit_ids[0], "projection")


def test_a_template_of_zeros_has_no_amplitude(simulate, tmp_path):
    folder = writable(simulate("kilosort4", **OPTIONS), tmp_path)
    templates = np.load(folder / "templates.npy")
    templates[4] = 0
    np.save(folder / "templates.npy", templates)
    analyzer = sic.read_kilosort_as_analyzer(folder)
    ids = analyzer.get_extension("template_assignment").get_spike_template_ids()
    np.testing.assert_array_equal(np.isnan(all_amplitudes(analyzer)), ids == 4)
    unit = next(u for u in analyzer.unit_ids if (template_ids_of(analyzer, u) == 4).any())
    drawn = sic.plot_amplitudes_over_time(analyzer, [unit], background=False).ax
    count = int((template_ids_of(analyzer, unit) != 4).sum())
    assert sum(len(line.get_ydata()) for line in drawn.lines) == count


def test_curation_keeps_the_amplitude_of_every_spike(simulate):
    truth = simulate("kilosort4", **OPTIONS)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    before = all_amplitudes(analyzer)
    session = sic.CurationSession(analyzer)
    session.merge(analyzer.unit_ids[:3])
    after = session.apply()
    np.testing.assert_array_equal(all_amplitudes(after), before)


def test_an_attached_folder_gives_the_same(simulate):
    truth = simulate("kilosort4", **OPTIONS)
    read = sic.read_kilosort_as_analyzer(truth.folder)
    sorting = NumpySorting.from_sorting(read.sorting)
    sorting.set_property("original_cluster_id", read.unit_ids)
    recording = recording_of_folder(truth.folder)
    analyzer = create_sorting_analyzer(sorting, recording, sparse=False, return_in_uV=False)
    sic.attach_kilosort_folder(analyzer, truth.folder)
    assert sic.get_amplitude_scale(analyzer) == sic.get_amplitude_scale(read)
    np.testing.assert_allclose(all_amplitudes(analyzer), all_amplitudes(read), rtol=1e-6)


def test_any_number_of_threads(simulate, threads):
    analyzer = sic.read_kilosort_as_analyzer(simulate("kilosort4", **OPTIONS).folder)
    found = []
    for number in (1, 2):
        threads(number)
        found.append(all_amplitudes(analyzer))
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["static", "drifting", "twins"])
def test_it_follows_the_amplitudes_that_were_simulated(shared_data, name):
    """More closely than the trough of the waveform does, which is that of the trace at best."""
    recording = shared_data / "ks4_truth" / name
    with np.load(recording / "ground_truth.npz") as file:
        samples, units, amplitudes = file["samples"], file["units"], file["amp"]
    analyzer = sic.read_kilosort_as_analyzer(recording / "ks")
    vector = analyzer.sorting.to_spike_vector()
    own, trough = [], []
    for unit_id in np.unique(units)[:20]:
        of_unit = np.sort(samples[units == unit_id])
        its = amplitudes[units == unit_id][np.argsort(samples[units == unit_id])]
        after = np.searchsorted(of_unit, vector["sample_index"] - 12)
        nearest = np.minimum(after, of_unit.size - 1)
        hit = np.abs(of_unit[nearest] - vector["sample_index"]) <= 12
        counts = np.bincount(vector["unit_index"][hit], minlength=len(analyzer.unit_ids))
        best = int(counts.argmax())
        total = int((vector["unit_index"] == best).sum())
        if counts[best] < max(0.9 * total, 100):
            continue
        spikes, found = sic.get_spike_amplitudes(analyzer, analyzer.unit_ids[best], "projection")
        there = hit[spikes]
        expected = its[nearest[spikes[there]]]
        own.append(np.corrcoef(found[there], expected)[0, 1])
        templates = analyzer.get_extension("template_assignment").get_template_amplitudes()
        template_ids = template_ids_of(analyzer, analyzer.unit_ids[best])
        channel = templates[np.bincount(template_ids).argmax()].argmax()
        waveforms = sic.get_spike_waveforms(
            analyzer, spikes[there], channel_ids=[analyzer.channel_ids[channel]]
        ).waveforms
        trough.append(np.corrcoef(-waveforms.min(axis=(1, 2)), expected)[0, 1])
    assert len(own) >= 8
    assert np.median(own) > 0.82
    assert np.median(own) > np.median(trough) + 0.03
