"""`plot_drift_map`: depths of spikes over time, coloured by amplitude."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import spikeinterface.core as sc

import si_curation as sic
from helpers.hostile_analyzer import hostile_analyzer
from si_curation.evidence.unit_locations import unit_locations
from si_curation.quality.metrics.spike_values import depths_from_features


@pytest.fixture(scope="module")
def example():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


@pytest.fixture(scope="module")
def of_features(simulate):
    """A folder without positions of spikes, of two shanks."""
    folder = simulate("kilosort2.5", num_templates=6, num_channels=16, num_spikes=900, num_shanks=2)
    return sic.read_kilosort_as_analyzer(folder.folder)


def drawn(panel):
    """Times, depths and amplitudes of the points, in the order in which they are drawn."""
    points = panel.collections[0]
    return *points.get_offsets().data.T, points.get_array().data


def expected(analyzer, depths, keep):
    times = analyzer.sorting.to_spike_vector()["sample_index"] / analyzer.sampling_frequency
    amplitudes = np.full(depths.size, np.nan, dtype=np.float32)
    for unit_id in analyzer.unit_ids:
        its = sic.get_spike_amplitudes(analyzer, unit_id, kind="projection")
        amplitudes[its.spike_indices] = its.amplitudes
    keep = keep & np.isfinite(depths)
    return times[keep], depths[keep], amplitudes[keep]


def test_points_are_the_spikes_by_amplitude(example):
    widget = sic.plot_drift_map(example)
    depths = example.get_extension("spike_locations").get_data()["y"]
    times, depths, amplitudes = expected(example, depths, np.ones(depths.size, dtype=bool))
    norm = widget.ax.collections[0].norm
    np.testing.assert_allclose([norm.vmin, norm.vmax], np.quantile(amplitudes, [0.01, 0.99]))
    found = drawn(widget.ax)
    assert np.all(np.diff(found[2]) >= 0), "the largest lie on top"
    order = np.argsort(np.fmax(amplitudes, norm.vmin), kind="stable")
    np.testing.assert_allclose(found[0], times[order])
    np.testing.assert_allclose(found[1], depths[order])
    np.testing.assert_allclose(found[2], np.fmax(amplitudes, norm.vmin)[order])
    assert widget.ax.get_title(loc="left") == "drift map · 5,299 spikes"
    assert widget.ax.child_axes[0].get_ylabel() == "amplitude peak to peak (raw units)"
    texts = [text.get_text() for text in widget.ax.texts]
    assert any("extension spike_locations" in text for text in texts)
    assert any("the sorter estimated no drift" in text for text in texts)
    assert widget.ax.get_xlim() == (0.0, pytest.approx(example.get_total_duration(), rel=0.01))


def test_many_spikes_are_an_image_of_the_largest(example):
    widget = sic.plot_drift_map(example, max_points=1000)
    image = widget.ax.images[0]
    values = image.get_array()
    depths = example.get_extension("spike_locations").get_data()["y"]
    times, depths, amplitudes = expected(example, depths, np.ones(depths.size, dtype=bool))
    left, right, bottom, top = image.get_extent()
    num_y, num_x = values.shape
    column = np.minimum((times - left) * (num_x / (right - left)), num_x - 1).astype(int)
    row = np.minimum((depths - bottom) * (num_y / (top - bottom)), num_y - 1).astype(int)
    largest = np.zeros((num_y, num_x))
    np.maximum.at(largest, (row, column), np.fmax(amplitudes, image.norm.vmin))
    np.testing.assert_array_equal(values.filled(0.0), largest)
    assert any("largest amplitude in each cell" in text.get_text() for text in widget.ax.texts)


def test_hidden_noise_and_chosen_units(example):
    labels = example.get_sorting_property("quality")
    units = example.sorting.to_spike_vector()["unit_index"]
    depths = example.get_extension("spike_locations").get_data()["y"]
    times, _, _ = expected(example, depths, (labels != "noise")[units])
    found = drawn(sic.plot_drift_map(example, exclude_groups=["noise"]).ax)[0]
    np.testing.assert_array_equal(np.sort(found), times)
    two = sic.plot_drift_map(example, unit_ids=[13, 4])
    own = np.isin(example.unit_ids, [13, 4])[units]
    np.testing.assert_array_equal(np.sort(drawn(two.ax)[0]), expected(example, depths, own)[0])
    with pytest.raises(sic.ParameterError, match="leave no spikes"):
        sic.plot_drift_map(example, unit_ids=[8], exclude_groups=["noise"])
    with pytest.raises(sic.UnknownIdError, match="99"):
        sic.plot_drift_map(example, unit_ids=[99])


def test_depths_from_features_on_each_shank(of_features):
    widget = sic.plot_drift_map(of_features)
    assert len(widget.axes) == 2
    assert "computed from pc_features.npy" in widget.data_plot["source"]
    depths = depths_from_features(of_features)
    units = of_features.sorting.to_spike_vector()["unit_index"]
    ranked = of_features.compute("template_best_channels").get_data(outputs="dataframe")
    shank = ranked[ranked["rank"] == 0].set_index("unit_id")["shank"]
    shank = shank.reindex(of_features.unit_ids).to_numpy()
    for panel, name in zip(widget.axes, (0, 1), strict=True):
        times, its_depths, _ = expected(of_features, depths, (shank == name)[units])
        found = drawn(panel)
        np.testing.assert_allclose(np.sort(found[0]), np.sort(times))
        np.testing.assert_allclose(np.sort(found[1]), np.sort(its_depths), rtol=1e-6)
        assert f"shank {name}" in panel.get_title(loc="left")
        one = sic.plot_drift_map(of_features, shank=name)
        np.testing.assert_array_equal(np.sort(drawn(one.ax)[0]), np.sort(found[0]))
    with pytest.raises(sic.ParameterError, match=r"shank is 7, expected one of \[0, 1\]"):
        sic.plot_drift_map(of_features, shank=7)


def test_depths_of_units_are_said_to_be_that(simulate):
    folder = simulate(num_templates=4, num_channels=8, num_spikes=300, write_features=False).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    analyzer.delete_extension("spike_locations")
    widget = sic.plot_drift_map(analyzer)
    units = analyzer.sorting.to_spike_vector()["unit_index"]
    its = unit_locations(analyzer)[:, 1][units]
    np.testing.assert_allclose(np.sort(drawn(widget.ax)[1]), np.sort(its))
    assert "depth of the unit of each spike" in widget.ax.texts[0].get_text()


@pytest.mark.slow
def test_other_sorters():
    recording, sorting = sc.generate_ground_truth_recording(
        durations=[4.0, 3.0], num_channels=8, num_units=3, seed=0
    )
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    with pytest.raises(sic.MissingDataError, match="neither depths of spikes nor of units"):
        sic.plot_drift_map(analyzer)
    analyzer.compute(["random_spikes", "templates", "spike_locations", "spike_amplitudes"])
    widget = sic.plot_drift_map(analyzer)
    depths = analyzer.get_extension("spike_locations").get_data()["y"]
    np.testing.assert_allclose(np.sort(drawn(widget.ax)[1]), np.sort(depths), rtol=1e-6)
    assert widget.ax.get_xlim()[1] == pytest.approx(7.0), "segments are put end to end"
    assert "no folder of the sorter is named" in widget.ax.texts[0].get_text()
    assert widget.ax.child_axes[0].get_ylabel() == "amplitude at the extremum (µV)"
    analyzer.delete_extension("spike_amplitudes")
    assert not sic.plot_drift_map(analyzer).ax.child_axes, "no scale of colours"


def test_session_borders(example, tmp_path):
    widget = sic.plot_drift_map(example, borders=[20.0, 50.0])
    lines = [line.get_xdata()[0] for line in widget.ax.lines]
    assert lines == [20.0, 50.0]
    assert not sic.plot_drift_map(example, borders=None).ax.lines
    widget.figure.savefig(tmp_path / "map.pdf")


def test_shift_of_each_block(simulate):
    settings = {"nblocks": 2, "tmin": 10.0, "tmax": 50.0}
    folder = simulate(
        num_templates=5, num_channels=16, num_spikes=500, duration_s=60.0, sorter_settings=settings
    ).folder
    ops = np.load(folder / "ops.npy", allow_pickle=True).item()
    for source in (folder, sic.read_kilosort_as_analyzer(folder)):
        lines = sic.plot_drift_map(source).ax.lines
        assert len(lines) == 3
        for i, line in enumerate(lines):
            np.testing.assert_allclose(line.get_ydata(), ops["yblk"][i] + ops["dshift"][:, i])
    assert not sic.plot_drift_map(folder, drift=False).ax.lines


def test_hostile_analyzers(of_features, tmp_path):
    with pytest.raises(sic.MissingDataError):
        sic.plot_drift_map(hostile_analyzer(["a", "b"]))
    with pytest.raises(sic.ParameterError, match="max_points"):
        sic.plot_drift_map(of_features, max_points=-1)
    unlabelled = of_features.copy()
    unlabelled.sorting.delete_property("quality")
    with pytest.raises(sic.ParameterError, match="no labels"):
        sic.plot_drift_map(unlabelled, exclude_groups=["noise"])
    with pytest.raises(sic.FolderNotFoundError):
        sic.plot_drift_map(tmp_path / "gone")
    shutil.copytree(sic.example_folder(), tmp_path / "folder")
    analyzer = sic.read_kilosort_as_analyzer(tmp_path / "folder")
    shutil.rmtree(tmp_path / "folder")
    assert "is gone" in sic.plot_drift_map(analyzer).ax.texts[0].get_text()
