"""`export_to_phy` writes template features that phylib and we read as they were."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import spikeinterface.core as sc
from phylib.io.model import load_model

import si_curation as sic
from oracles import features as naive

NAME = "template_features"
FILES = (f"{NAME}.npy", "template_feature_ind.npy")


@pytest.fixture(scope="module")
def make(simulate):
    def simulated(dialect="kilosort4", **kwargs):
        options = {"num_templates": 18, "num_channels": 20, "num_spikes": 700, "curation": 6}
        return simulate(dialect, **{**options, "seed": 2, **kwargs})

    return simulated


def read(source, **kwargs):
    return sic.read_kilosort_as_analyzer(source, **kwargs)


def dense_of(extension, template_ids, num_templates):
    """Projections over all templates, 0 where there is none (n_spikes, n_templates)."""
    values, index = extension.get_data()
    values, index = np.asarray(values), np.asarray(index)
    out = np.zeros((len(values), num_templates))
    for i, template in enumerate(template_ids):
        for k, onto in enumerate(index[template]):
            if onto >= 0 and np.isfinite(values[i, k]):
                out[i, onto] = values[i, k]
    return out


def check(analyzer, folder, rows, num_templates=18):
    """phylib gives for each spike what the extension has."""
    extension = analyzer.get_extension(NAME)
    assignment = analyzer.get_extension("template_assignment")
    expected = dense_of(extension, assignment.get_spike_template_ids(), num_templates)
    np.testing.assert_array_equal(naive.template_features(folder, num_templates)[rows], expected)
    model = load_model(folder / "params.py")
    found = model.get_template_features(np.arange(model.n_spikes))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[rows][:, :num_templates], expected)
    assert not found[:, num_templates:].any()
    return model


def rows_of(analyzer):
    return analyzer.get_extension("template_assignment").get_spike_rows()


def assert_same_projections(analyzer, back):
    """After another reading the values come from the file, and are the same."""
    one, two = analyzer.get_extension(NAME), back.compute(NAME)
    assert two.source == "file"
    np.testing.assert_array_equal(one.template_index, two.template_index)
    np.testing.assert_array_equal(np.nan_to_num(one.get_data()[0]), two.get_data()[0])


@pytest.mark.parametrize("dialect", ["kilosort3", "kilosort4"])
@pytest.mark.parametrize("num_templates", [1, 4, 16])
@pytest.mark.slow
def test_kilosort_folder(make, tmp_path, dialect, num_templates):
    truth = make(dialect)
    analyzer = read(truth.folder)
    analyzer.compute(NAME, num_templates=num_templates)
    out = sic.export_to_phy(analyzer, tmp_path / "phy")
    check(analyzer, out, rows_of(analyzer))
    back = read(out)
    if num_templates > 1:  # phylib wants two columns
        assert_same_projections(analyzer, back)
    assert np.load(out / FILES[0]).dtype == np.float32
    assert np.load(out / FILES[0]).shape == (700, max(num_templates, 2))
    assert not (truth.folder / FILES[0]).exists()
    for a in analyzer.unit_ids[:5]:
        for b in analyzer.unit_ids[:5]:
            found = back.compute(NAME).get_pair_projections(a, b)
            expected = analyzer.get_extension(NAME).get_pair_projections(a, b)
            for x, y in zip(found, expected, strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-5)


def test_without_the_extension(make, tmp_path):
    out = sic.export_to_phy(read(make().folder), tmp_path / "phy")
    assert not any((out / name).exists() for name in FILES)


@pytest.mark.parametrize("shuffled", [False, True])
def test_unsorted_and_dropped_spikes(make, tmp_path, shuffled):
    """All spikes of the folder have a row: those that the analyzer cannot hold, too."""
    truth = make(shuffled=shuffled, labels={0: "noise", 1: "noise", 2: "noise"}, curation=1)
    times = np.load(truth.folder / "spike_times.npy")
    times[:12] = -1
    np.save(truth.folder / "spike_times.npy", times)
    with pytest.warns(sic.SiCurationWarning):
        analyzer = read(truth.folder, exclude_groups="noise")
    analyzer.compute(NAME, num_templates=5)
    rows = rows_of(analyzer)
    assert rows.size < 690
    out = sic.export_to_phy(analyzer, tmp_path / "phy")
    if not shuffled:  # phylib refuses times that are not sorted
        assert check(analyzer, out, rows).n_spikes == 700
    basis = np.load(truth.folder / "ops.npy", allow_pickle=True).item()["wPCA"]
    index = analyzer.get_extension(NAME).template_index
    expected = naive.project_from_features(truth.folder, truth.templates_whitened, basis, index)
    found = np.load(out / FILES[0])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_spikes_without_features_get_0(make, tmp_path):
    truth = make(feature_rows=400)
    analyzer = read(truth.folder)
    analyzer.compute(NAME)
    out = sic.export_to_phy(analyzer, tmp_path / "phy")
    check(analyzer, out, rows_of(analyzer))
    stored = np.load(truth.folder / "pc_feature_spike_ids.npy")
    written = np.load(out / FILES[0])
    assert len(written) == 700
    assert written[stored].any(axis=1).all()
    assert not np.delete(written, stored, axis=0).any()


@pytest.mark.parametrize("kwargs", [{}, {"feature_rows": 300}])
@pytest.mark.parametrize("source", ["file", "pc_features"])
def test_what_the_sorter_wrote_stays(make, tmp_path, hash_files, source, kwargs):
    truth = make("kilosort2", **kwargs)
    analyzer = read(truth.folder)
    assert analyzer.compute(NAME, source=source).source == source
    out = sic.export_to_phy(analyzer, tmp_path / "phy")
    before, after = hash_files(truth.folder), hash_files(out)
    names = {name for name in before if name.startswith("template_feature")}
    assert len(names) == 2 + bool(kwargs)
    assert {name for name in after if name.startswith("template_feature")} == names
    for name in names:
        assert before[name] == after[name]


def test_curated_in_code(make, tmp_path):
    truth = make()
    analyzer = read(truth.folder, principal_components=False)
    analyzer.compute(NAME)
    session = sic.CurationSession(analyzer)
    merged = session.merge(session.unit_ids[:3])
    applied = session.apply()
    out = sic.export_to_phy(applied, tmp_path / "phy")
    check(applied, out, rows_of(applied))
    back = read(out)
    extension = back.compute(NAME)
    found = extension.get_unit_projections(merged)
    np.testing.assert_array_equal(found, applied.get_extension(NAME).get_unit_projections(merged))


def test_curation_discarded(make, tmp_path):
    truth = make()
    analyzer = read(truth.folder)
    analyzer.compute(NAME, num_templates=3)
    out = sic.export_to_phy(analyzer, tmp_path / "phy", curation="discard")
    check(analyzer, out, rows_of(analyzer))
    clusters = np.load(out / "spike_clusters.npy")
    np.testing.assert_array_equal(clusters.ravel(), truth.spike_templates)


@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
def test_from_disk(make, tmp_path, format):
    truth = make()
    path = tmp_path / ("analyzer.zarr" if format == "zarr" else "analyzer")
    read(truth.folder, format=format, folder=path).compute(NAME)
    analyzer = sc.load_sorting_analyzer(path)
    out = sic.export_to_phy(analyzer, tmp_path / "phy")
    check(analyzer, out, rows_of(analyzer))


def test_selected_units_and_another_source(make, tmp_path):
    """From a recording nothing is known of the other spikes: 0."""
    truth = make(num_spikes=300, duration_s=2.0)
    end = int(truth.spike_samples.max()) + 3
    traces = np.random.default_rng(0).integers(-99, 99, (end, 20)).astype("int16")
    recording = sc.NumpyRecording([traces], 30_000.0, channel_ids=truth.channel_map)
    recording.set_dummy_probe_from_locations(truth.channel_positions)
    analyzer = read(truth.folder, recording=recording)
    analyzer = analyzer.select_units(analyzer.unit_ids[::2])
    analyzer.compute(NAME, source="recording", num_templates=3, n_jobs=1, progress_bar=False)
    out = sic.export_to_phy(analyzer, tmp_path / "phy")
    rows = rows_of(analyzer)
    written = np.load(out / FILES[0])
    np.testing.assert_array_equal(written[rows], analyzer.get_extension(NAME).get_data()[0])
    assert not np.delete(written, rows, axis=0).any()


@pytest.mark.parametrize("num_units", [1, 4])
@pytest.mark.parametrize("curation", ["keep", "discard"])
@pytest.mark.parametrize("with_components", [True, False])
def test_other_sorters(tmp_path, num_units, curation, with_components):
    recording, sorting = sc.generate_ground_truth_recording(
        durations=[3.0], num_channels=6, num_units=num_units, seed=1
    )
    names = [f"unit {chr(97 + i)}" for i in range(num_units)]
    vector = sorting.to_spike_vector()
    sorting = sc.NumpySorting(vector, sorting.sampling_frequency, names)
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    steps = {"random_spikes": {"method": "all"}, "templates": {"operators": ["average"]}, NAME: {}}
    if with_components:
        steps |= {"waveforms": {}, "principal_components": {"n_components": 2}}
    analyzer.compute(steps, n_jobs=1, progress_bar=False)
    if num_units > 1:
        analyzer = analyzer.merge_units([names[:2]], new_unit_ids=["ab"], sparsity_overlap=0.0)
    if with_components:
        out = sic.export_to_phy(analyzer, tmp_path / "phy", curation=curation)
    else:
        with pytest.warns(sic.SiCurationWarning, match="principal_components"):
            out = sic.export_to_phy(analyzer, tmp_path / "phy", curation=curation)
    check(analyzer, out, slice(None), num_units)
    back = read(out)
    extension = back.compute(NAME)
    assert extension.source == "file"
    values = analyzer.get_extension(NAME).get_data()[0]
    np.testing.assert_array_equal(extension.get_data()[0][:, : values.shape[1]], values)


def test_a_source_that_is_gone(make, tmp_path):
    """Values that are there are not looked for again; nothing is left behind on failure."""
    truth = make()
    analyzer = read(truth.folder)
    analyzer.compute(NAME)
    shutil.move(truth.folder, tmp_path / "elsewhere")
    with pytest.raises(sic.SiCurationError):
        sic.export_to_phy(analyzer, tmp_path / "phy")
    assert not (tmp_path / "phy").exists()
