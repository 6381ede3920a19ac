"""Saving an analyzer: the files are SpikeInterface's, and what is returned is as if loaded."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import spikeinterface.core as si
from spikeinterface.core import load_sorting_analyzer

import si_curation as sic
from si_curation import _spikeinterface, files
from si_curation._spikeinterface import data_of, loaded_extensions
from si_curation.reading.saving import save_analyzer

FORMATS = ("zarr", "binary_folder")


@pytest.fixture(scope="module")
def analyzer(simulate):
    made = simulate("kilosort4", num_templates=5, num_spikes=400, num_channels=10, curation=3)
    analyzer = sic.read_kilosort_as_analyzer(made.folder)
    analyzer.compute(["template_features", "template_best_channels", "curation_metrics"])
    return analyzer


@pytest.fixture
def on_scratch(monkeypatch):
    monkeypatch.setattr(files, "SCRATCH_FROM", 0)


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def target_of(tmp_path, format, name="saved"):
    return tmp_path / (f"{name}.zarr" if format == "zarr" else name)


def assert_same_value(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    else:
        assert found == expected


def assert_as_loaded(found, expected):
    """Compare an analyzer with the one that SpikeInterface loads."""
    assert (found.format, found.folder) == (expected.format, expected.folder)
    assert found.is_read_only() == expected.is_read_only()
    vectors = [one.sorting.to_spike_vector() for one in (found, expected)]
    assert_same_value(*vectors)
    assert type(found.sorting) is type(expected.sorting)
    assert found.sorting._annotations == expected.sorting._annotations
    assert list(found.sorting.get_property_keys()) == list(expected.sorting.get_property_keys())
    for key in expected.sorting.get_property_keys():
        assert_same_value(found.sorting.get_property(key), expected.sorting.get_property(key))
    unit_id = expected.unit_ids[1]
    np.testing.assert_array_equal(
        found.sorting.get_unit_spike_train(unit_id, segment_index=0),
        expected.sorting.get_unit_spike_train(unit_id, segment_index=0),
    )
    assert set(loaded_extensions(found)) == set(loaded_extensions(expected))
    for name, extension in loaded_extensions(expected).items():
        its = found.get_extension(name)
        assert (its.params, its.run_info) == (extension.params, extension.run_info)
        assert data_of(its).keys() == data_of(extension).keys()
        for key, value in data_of(extension).items():
            assert_same_value(data_of(its)[key], value)


@pytest.mark.parametrize("format", FORMATS)
def test_saved_as_spikeinterface_saves(analyzer, tmp_path, format, monkeypatch):
    monkeypatch.setattr(_spikeinterface, "_LARGE", 1000)
    found = save_analyzer(analyzer, format, target_of(tmp_path, format))
    theirs = target_of(tmp_path, format, "theirs")
    analyzer.save_as(format=format, folder=theirs)
    ours, expected = content(found.folder), content(theirs)
    assert ours.keys() == expected.keys()
    assert [name for name in ours if ours[name] != expected[name]] == []
    assert_as_loaded(found, load_sorting_analyzer(found.folder))


@pytest.mark.parametrize("format", FORMATS)
def test_read_to_the_disk(analyzer, tmp_path, format, on_scratch):
    folder = analyzer.get_extension("template_assignment").info["phy_folder"]
    found = sic.read_kilosort_as_analyzer(folder, format=format, folder=target_of(tmp_path, format))
    assert_as_loaded(found, load_sorting_analyzer(found.folder))
    computed = found.compute("template_features")
    values = data_of(computed)["template_features"]
    assert_same_value(
        values, data_of(analyzer.get_extension("template_features"))["template_features"]
    )
    assert_as_loaded(found, load_sorting_analyzer(found.folder))
    again = found.save_as(format=format, folder=target_of(tmp_path, format, "again"))
    its = data_of(load_sorting_analyzer(again.folder).get_extension("template_features"))
    assert_same_value(its["template_features"], values)


@pytest.mark.slow
@pytest.mark.parametrize("removes", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_applied_on_the_disk(analyzer, tmp_path, format, removes, on_scratch):
    start = save_analyzer(analyzer, format, target_of(tmp_path, format, "start"))
    for before in (start, load_sorting_analyzer(start.folder, lazy=True)):
        session = sic.CurationSession(before)
        session.merge(session.unit_ids[:2])
        if removes:
            session.remove(session.unit_ids[:1])
        name = f"applied{removes}{before is start}"
        found = session.apply(format=format, folder=target_of(tmp_path, format, name))
        assert_as_loaded(found, load_sorting_analyzer(found.folder))
        assert found.get_extension("template_features").get_unit_projections(found.unit_ids[0]).size


@pytest.mark.parametrize("format", FORMATS)
def test_of_a_recording(tmp_path, format):
    recording, sorting = si.generate_ground_truth_recording(
        durations=[2.0, 1.0], num_channels=4, num_units=3, seed=0
    )
    analyzer = si.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "waveforms", "templates", "spike_amplitudes"])
    found = save_analyzer(analyzer, format, target_of(tmp_path, format))
    assert found.has_recording() or found.has_temporary_recording()
    assert_as_loaded(found, load_sorting_analyzer(found.folder))


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.slow
def test_what_was_loaded_is_saved_whole(analyzer, tmp_path, source, format, lazy):
    """SpikeInterface leaves out what it loaded lazily from zarr."""
    first = save_analyzer(analyzer, source, target_of(tmp_path, source, "first")).folder
    loaded = load_sorting_analyzer(first, lazy=lazy)
    second = save_analyzer(loaded, format, target_of(tmp_path, format, "second")).folder
    found = load_sorting_analyzer(second)
    found.load_all_saved_extension()
    assert set(loaded_extensions(found)) == set(loaded_extensions(analyzer))
    for name, extension in loaded_extensions(analyzer).items():
        data = data_of(loaded_extensions(found)[name])
        assert set(data) == set(data_of(extension))
        for key, value in data_of(extension).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(data[key], value)
