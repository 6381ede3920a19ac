"""`prepare_for_phy` deletes nothing; what cannot be had is not written; the advice is right."""

from __future__ import annotations

import gc
import re
import warnings

import numpy as np
import pytest
import spikeinterface as si
from click.testing import CliRunner
from phylib.io.model import load_model
from spikeinterface.core import ChannelSparsity

import si_curation as sic
from si_curation.cli.phy import export_phy
from si_curation.exporters.phy.export import export_to_phy
from si_curation.exporters.phy.prepare import amplitudes_of_spikes, prepare_for_phy

NAMES = [
    "random_spikes",
    "waveforms",
    "templates",
    "spike_amplitudes",
    "spike_locations",
    "principal_components",
    "template_assignment",
    "template_features",
]


@pytest.fixture(scope="module")
def recording_and_sorting(tmp_path_factory):
    recording, sorting = si.generate_ground_truth_recording(
        durations=[4.0], num_channels=8, num_units=4, seed=0
    )
    folder = tmp_path_factory.mktemp("recording") / "saved"
    return recording.save(folder=folder, progress_bar=False, verbose=False), sorting


def make_analyzer(recording_and_sorting, apart=False):
    recording, sorting = recording_and_sorting
    mask = np.ones((4, 8), dtype=bool)
    if apart:  # the first two units share too few channels for SpikeInterface to merge them
        mask[0, :5], mask[1, 5:] = False, False
    else:
        mask[2, :2] = False
    sparsity = ChannelSparsity(mask, sorting.unit_ids, recording.channel_ids)
    return si.create_sorting_analyzer(sorting, recording, sparsity=sparsity)


def data_in(analyzer):
    return {
        name: {
            key: np.array(value)
            for key, value in extension.data.items()
            if isinstance(value, np.ndarray)
        }
        for name, extension in analyzer.extensions.items()
    }


def assert_same_data(now, before):
    for name, data in before.items():
        for key, value in data.items():
            np.testing.assert_array_equal(now[name][key], value, err_msg=f"{name} {key}")


@pytest.fixture(scope="module")
def complete(recording_and_sorting):
    analyzer = make_analyzer(recording_and_sorting)
    assert prepare_for_phy(analyzer, progress_bar=False) == NAMES
    assert prepare_for_phy(analyzer, progress_bar=False) == []
    return analyzer


@pytest.mark.parametrize("lost", [*NAMES[1:], "several"])
@pytest.mark.slow
def test_what_is_lost_is_computed_and_nothing_else_changes(complete, lost):
    analyzer = complete.copy()
    analyzer.compute(["template_best_channels", "unit_similarity", "curation_metrics"])
    analyzer.compute(["noise_levels", "unit_locations", "template_similarity"])
    expected = data_in(analyzer)
    gone = ["waveforms", "spike_amplitudes"] if lost == "several" else [lost]
    for name in gone:
        analyzer.extensions.pop(name)
    before = data_in(analyzer)
    assert prepare_for_phy(analyzer, progress_bar=False) == gone
    now = data_in(analyzer)
    assert set(now) == set(expected)
    assert_same_data(now, before)
    for name in gone:
        for key, value in expected[name].items():
            if value.dtype.names is None:
                np.testing.assert_allclose(now[name][key], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
@pytest.mark.slow
def test_on_disk(recording_and_sorting, tmp_path, format):
    analyzer = make_analyzer(recording_and_sorting).save_as(format=format, folder=tmp_path / "a")
    analyzer.compute({"random_spikes": {}, "templates": {}}, progress_bar=False)
    before = data_in(analyzer)
    assert prepare_for_phy(analyzer, progress_bar=False) == ["waveforms", *NAMES[3:]]
    again = si.load_sorting_analyzer(analyzer.folder, load_extensions=True)
    assert set(NAMES) <= set(again.get_saved_extension_names())
    assert_same_data(data_in(again), before)


@pytest.mark.slow
def test_maps_of_files_stay_open(recording_and_sorting, tmp_path):
    """SpikeInterface closes the maps that an analyzer has when it is deleted: not borrowed ones."""
    made = make_analyzer(recording_and_sorting).save_as(
        format="binary_folder", folder=tmp_path / "a"
    )
    made.compute({"random_spikes": {}, "waveforms": {}, "templates": {}}, progress_bar=False)
    analyzer = si.load_sorting_analyzer(made.folder, lazy=True)
    mapped = analyzer.get_extension("waveforms").data["waveforms"]
    assert isinstance(mapped, np.memmap)
    before = np.array(mapped)
    assert prepare_for_phy(analyzer, progress_bar=False)
    gc.collect()
    assert not analyzer.get_extension("waveforms").data["waveforms"]._mmap.closed
    np.testing.assert_array_equal(analyzer.get_extension("waveforms").data["waveforms"], before)


@pytest.mark.parametrize("road", ["prepare", "complete", "waveforms as SpikeInterface"])
@pytest.mark.slow
def test_the_advice_of_warnings_is_followed_to_the_letter(recording_and_sorting, tmp_path, road):
    """apply and the export say what is missing; done as they say, nothing is lost."""
    analyzer = make_analyzer(recording_and_sorting, apart=True)
    prepare_for_phy(analyzer, progress_bar=False)
    session = sic.CurationSession(analyzer)
    session.merge(session.unit_ids[:2])
    with pytest.warns(sic.SiCurationWarning, match="share too few channels") as said:
        curated = session.apply()
    before = data_in(curated)
    assert "principal_components" not in before
    with pytest.warns(sic.SiCurationWarning, match="will not show template features") as told:
        export_to_phy(curated, tmp_path / "first")
    first = np.load(tmp_path / "first" / "amplitudes.npy")
    names = {"analyzer": curated, "prepare_for_phy": sic.prepare_for_phy}
    with warnings.catch_warnings():
        warnings.simplefilter("error", sic.SiCurationWarning)
        if road == "prepare":
            for message in (str(said[0].message), str(told[0].message)):
                eval(re.search(r"prepare_for_phy\(analyzer\)", message)[0], dict(names))
            export_to_phy(curated, tmp_path / "second")
        elif road == "complete":
            assert "complete=True" in str(told[0].message)
            export_to_phy(curated, tmp_path / "second", complete=True)
        else:  # what the advice once was: amplitudes are taken from the waveforms then
            curated.compute(["waveforms", "principal_components"], progress_bar=False)
            assert not curated.has_extension("spike_amplitudes")
            export_to_phy(curated, tmp_path / "second")
            curated.compute({"templates": {}, "spike_amplitudes": {}}, progress_bar=False)
            first = amplitudes_of_spikes(curated)
    second = np.load(tmp_path / "second" / "amplitudes.npy")
    np.testing.assert_allclose(second, first, rtol=1e-5)
    assert (tmp_path / "second" / "pc_features.npy").exists()
    if road != "waveforms as SpikeInterface":
        assert_same_data(data_in(curated), before)


@pytest.mark.slow
def test_amplitudes_from_waveforms_are_spikeinterfaces(complete):
    analyzer = complete.copy()
    expected = amplitudes_of_spikes(analyzer)
    analyzer.extensions.pop("spike_amplitudes")
    np.testing.assert_array_equal(amplitudes_of_spikes(analyzer), expected)
    analyzer.compute("random_spikes", max_spikes_per_unit=5, seed=0)
    analyzer.compute("waveforms", progress_bar=False)
    assert amplitudes_of_spikes(analyzer) is None


@pytest.fixture
def without_recording(recording_and_sorting, tmp_path):
    analyzer = make_analyzer(recording_and_sorting)
    analyzer.compute({"random_spikes": {"max_spikes_per_unit": 9}, "templates": {}})
    analyzer = analyzer.copy()
    analyzer._recording = None
    return analyzer


@pytest.mark.slow
def test_what_cannot_be_had_is_not_written(without_recording, tmp_path):
    before = data_in(without_recording)
    with pytest.warns(sic.SiCurationWarning, match="set_temporary_recording.*prepare_for_phy"):
        export_to_phy(without_recording, tmp_path / "plain")
    with pytest.warns(sic.SiCurationWarning, match="will not show amplitudes .*no recording"):
        export_to_phy(without_recording, tmp_path / "complete", complete=True)
    assert_same_data(data_in(without_recording), before)
    for name in ("plain", "complete"):
        assert not (tmp_path / name / "amplitudes.npy").exists()
        assert load_model(tmp_path / name / "params.py").amplitudes is None
        back = sic.read_kilosort_as_analyzer(tmp_path / name)
        assert not back.has_extension("spike_amplitudes")
        back.compute("curation_metrics")
        metrics = back.get_extension("curation_metrics").get_data()
        assert metrics["amplitude_median"].isna().all()
        with pytest.raises(sic.MissingDataError, match="has no amplitudes"):
            sic.get_spike_amplitudes(back, back.unit_ids[0])
        errors = [f for f in sic.check_phy_folder(tmp_path / name) if f.severity == "error"]
        assert not errors


@pytest.mark.slow
def test_placeholders_of_others_are_not_amplitudes(complete, tmp_path):
    folder = export_to_phy(complete, tmp_path / "out")
    np.save(folder / "amplitudes.npy", np.ones(len(np.load(folder / "spike_times.npy"))))
    assert sic.read_phy_folder(folder).amplitudes is None
    back = sic.read_kilosort_as_analyzer(folder)
    assert not back.has_extension("spike_amplitudes")
    with pytest.raises(sic.MissingDataError, match="placeholder"):
        sic.get_spike_amplitudes(back, back.unit_ids[0])
    found = [f for f in sic.check_phy_folder(folder) if f.where == "amplitudes.npy"]
    assert ["placeholder" in f.what for f in found] == [True]


def test_folder_of_a_sorter_and_command_line(tmp_path):
    done = CliRunner().invoke(
        export_phy,
        [str(sic.example_folder()), str(tmp_path / "out"), "--complete"],
    )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "template_features.npy").exists()


def test_what_cannot_be_prepared(complete):
    with pytest.raises(sic.ParameterError, match="expected a SortingAnalyzer"):
        prepare_for_phy(complete.sorting)
    analyzer = complete.copy()
    for name in ("random_spikes", "principal_components"):
        analyzer.extensions.pop(name)
    with pytest.warns(sic.SiCurationWarning, match="random_spikes.*gone"):
        assert prepare_for_phy(analyzer, progress_bar=False) == []
    with pytest.raises(sic.ParameterError, match="complete"):
        export_to_phy(complete, "nowhere", complete="yes")
