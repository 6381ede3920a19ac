"""What all extensions of the package share: one that cannot be computed anew is not lost."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from spikeinterface.core import load_sorting_analyzer

import si_curation as sic
from si_curation._spikeinterface import as_array, data_of
from si_curation.extensions.changes import UnitChange, change_of_units

OURS = {
    "template_best_channels": {"amplitude_threshold": "high"},
    "unit_similarity": {"method": "guess"},
    "cross_correlograms": {"window_ms": -3},
    "curation_metrics": {"window_s": "long"},
    "template_features": {"source": "nowhere"},
    "template_assignment": {"unwhiten": "sideways"},
}


@pytest.fixture(scope="module")
def home(simulate, tmp_path_factory):
    """Analyzers in three formats, with all extensions."""
    made = simulate("kilosort4", num_templates=4, num_spikes=200, num_channels=8)
    home = tmp_path_factory.mktemp("analyzers")
    analyzer = sic.read_kilosort_as_analyzer(made.folder)
    analyzer.compute([name for name in OURS if name != "template_assignment"])
    for format, name in (("binary_folder", "binary"), ("zarr", "saved.zarr")):
        analyzer.save_as(format=format, folder=home / name)
    return home


def analyzer_of(home, tmp_path, kind):
    name = "saved.zarr" if kind == "zarr" else "binary"
    if kind == "memory":
        return load_sorting_analyzer(home / name).save_as(format="memory")
    shutil.copytree(home / name, tmp_path / name)
    return load_sorting_analyzer(tmp_path / name)


def content(analyzer, name):
    data = data_of(analyzer.get_extension(name))
    return {
        key: value
        if isinstance(value, dict | pd.DataFrame | list | str) or value is None
        else np.array(as_array(value))
        for key, value in data.items()
    }


def assert_kept(analyzer, name, before):
    found = [content(analyzer, name)]
    if analyzer.format != "memory":
        folder = analyzer.folder
        assert not [p for p in folder.rglob("*.tmp")]
        found.append(content(load_sorting_analyzer(folder), name))
    for now in found:
        assert now.keys() == before.keys()
        for key, value in before.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(now[key], value)
            elif isinstance(value, pd.DataFrame):
                pd.testing.assert_frame_equal(now[key], value)
            else:
                assert now[key] == value


@pytest.mark.parametrize("kind", ["memory", "binary_folder", "zarr"])
@pytest.mark.parametrize("name", OURS)
@pytest.mark.slow
def test_wrong_parameters_delete_nothing(home, tmp_path, kind, name):
    analyzer = analyzer_of(home, tmp_path, kind)
    before = content(analyzer, name)
    for wrong in (OURS[name], {"no_such_parameter": 1}):
        with pytest.raises((sic.SiCurationError, TypeError)):
            analyzer.compute(name, **wrong)
        assert_kept(analyzer, name, before)
        with pytest.raises((sic.SiCurationError, TypeError)):
            analyzer.compute({name: wrong})
        assert_kept(analyzer, name, before)


@pytest.mark.parametrize("kind", ["memory", "binary_folder", "zarr"])
@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("fault", [MemoryError, KeyboardInterrupt])
@pytest.mark.slow
def test_what_fails_later_deletes_nothing(home, tmp_path, kind, name, fault, monkeypatch):
    analyzer = analyzer_of(home, tmp_path, kind)
    before = content(analyzer, name)
    extension_class = type(analyzer.get_extension(name))

    def fail(*_, **__):
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(extension_class, "_run", fail)
        with pytest.raises(fault):
            analyzer.compute(name)
    assert_kept(analyzer, name, before)
    if name != "template_assignment":
        analyzer.compute(name)
        assert_kept(analyzer, name, before)
    analyzer.delete_extension(name)
    assert not analyzer.has_extension(name)


def test_features_are_kept_where_the_folder_has_moved(simulate, tmp_path):
    made = simulate("kilosort4", num_templates=4, num_spikes=200, num_channels=8)
    folder = tmp_path / "ks"
    shutil.copytree(made.folder, folder)
    analyzer = sic.read_kilosort_as_analyzer(
        folder, format="binary_folder", folder=tmp_path / "saved"
    )
    analyzer.compute("template_features", source="pc_features")
    before = content(analyzer, "template_features")
    folder.rename(tmp_path / "moved")
    for source in ("pc_features", "auto"):
        with pytest.raises(sic.SiCurationError):
            analyzer.compute("template_features", source=source)
        assert_kept(analyzer, "template_features", before)


@pytest.mark.parametrize("is_removed", [False, True])
def test_units_after_and_rows_after(home, tmp_path, is_removed):
    before = analyzer_of(home, tmp_path, "memory")
    after = before.select_units(before.unit_ids[int(is_removed) :])
    old = before.sorting.to_spike_vector()["unit_index"]
    kept = np.flatnonzero(old > 0).astype(np.int32) if is_removed else None
    change = replace(change_of_units(before, after, {}, kept), shares=True)
    some = np.array([5, 0, 3, 199, 7])
    expected = old[some] - int(is_removed)  # -1: the unit that is gone
    np.testing.assert_array_equal(change.units_after_of(some), expected)
    values = np.arange(2.0 * old.size).reshape(-1, 2)
    taken = slice(None) if kept is None else kept
    np.testing.assert_array_equal(change.rows_after(values), values[taken])
    assert np.shares_memory(change.rows_after(values), values) is not is_removed


def test_maps_of_files_are_not_shared(tmp_path):
    np.save(tmp_path / "values.npy", np.arange(10))
    on_disk = np.load(tmp_path / "values.npy", mmap_mode="r")
    change = UnitChange(None, None, [], np.zeros(0, dtype=bool), None, shares=True)
    for values in (on_disk, np.asarray(on_disk), on_disk[:4], np.asarray(on_disk)[:4]):
        assert not np.shares_memory(change.rows_after(values), values)
    in_memory = np.arange(10)
    shared = change.rows_after(in_memory[2:])
    assert np.shares_memory(shared, in_memory)
    with pytest.raises(ValueError, match="read-only"):
        shared[0] = 5
    in_memory[2] = 7  # and the old one can still be written to
    copied = UnitChange(None, None, [], np.zeros(0, dtype=bool), None).rows_after(in_memory)
    assert not np.shares_memory(copied, in_memory)


def test_places_of_units_that_did_not_change_are_not_fitted_again(simulate, monkeypatch):
    from spikeinterface.postprocessing import unit_locations

    made = simulate("kilosort4", num_templates=6, num_spikes=600, num_channels=12)
    analyzer = sic.read_kilosort_as_analyzer(made.folder)
    analyzer.compute("unit_locations", method="grid_convolution")
    fitted = []
    name, function = "grid_convolution", unit_locations._unit_location_methods["grid_convolution"]

    def counted(analyzer, unit_ids=None, **arguments):
        fitted.append(len(analyzer.unit_ids) if unit_ids is None else len(unit_ids))
        return function(analyzer, unit_ids=unit_ids, **arguments)

    monkeypatch.setitem(unit_locations._unit_location_methods, name, counted)
    session = sic.CurationSession(analyzer)
    new = session.merge([int(i) for i in analyzer.unit_ids[1:3]])
    merged = session.apply()
    assert fitted == [1]
    found = merged.get_extension("unit_locations").get_data()
    anew = merged.copy()
    anew.compute("unit_locations", method=name)
    np.testing.assert_array_equal(found, anew.get_extension("unit_locations").get_data())
    assert new in merged.unit_ids
    session = sic.CurationSession(merged)
    session.remove([new])
    assert fitted == [1, len(merged.unit_ids)]
    left = session.apply()
    assert len(fitted) == 2
    np.testing.assert_array_equal(
        left.get_extension("unit_locations").get_data(), found[merged.unit_ids != new]
    )
