"""Features of analyzers of other sorters: SpikeInterface's extension "principal_components"."""

from __future__ import annotations

import numpy as np
import pytest
import spikeinterface.core as sc
from matplotlib.figure import Figure
from matplotlib.text import Text

import si_curation as sic
from helpers.analyzers import recording_of_folder
from helpers.read_figures import points

SPIKES = 40


def make(mode, sparse):
    recording, sorting = sc.generate_ground_truth_recording(
        durations=[4.0, 2.0], num_channels=8, num_units=4, seed=1
    )
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=sparse)
    analyzer.compute(
        {
            "random_spikes": {"max_spikes_per_unit": SPIKES},
            "waveforms": {},
            "templates": {},
            "principal_components": {"mode": mode, "n_components": 3},
        },
        progress_bar=False,
    )
    return analyzer


@pytest.fixture(scope="module")
def concatenated():
    return make("concatenated", False)


@pytest.fixture(
    scope="module",
    params=[("by_channel_local", True), ("by_channel_global", True), ("by_channel_global", False)],
    ids=lambda one: f"{one[0]}-{'sparse' if one[1] else 'dense'}",
)
def by_channel(request):
    return make(*request.param)


def all_texts(figure):
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def spikes_of(analyzer, unit_id):
    return np.flatnonzero(
        analyzer.sorting.to_spike_vector()["unit_index"] == analyzer.sorting.id_to_index(unit_id)
    )


@pytest.mark.slow
def test_values_are_those_of_spikeinterface(by_channel):
    extension = by_channel.get_extension("principal_components")
    dense, _ = extension.get_some_projections()  # (n, n_pcs, n_channels)
    chosen = by_channel.get_extension("random_spikes").get_data()
    asked = np.arange(len(by_channel.sorting.to_spike_vector()))[::-1]
    channels = [5, 0, 7]
    found = sic.get_spike_features(by_channel, asked, channels)
    assert found.shape == (asked.size, 3, 3)
    rows = {int(spike): i for i, spike in enumerate(chosen)}
    for spike, values in zip(asked, found, strict=True):
        if int(spike) in rows:
            np.testing.assert_array_equal(values, dense[rows[int(spike)]][:, channels].T)
        else:
            assert np.isnan(values).all()


@pytest.mark.slow
def test_figures_show_them_and_say_so(by_channel):
    units = by_channel.unit_ids[:2]
    widget = sic.plot_features(by_channel, units, num_background_spikes=0)
    assert len(widget.axes) == 10
    assert widget.axes[0].get_ylabel().endswith("PC 1\n(principal_components)")
    text = all_texts(widget.figure)
    assert "SpikeInterface's principal components,\nof random spikes" in text
    names = [widget.axes[0].get_ylabel(), widget.axes[1].get_xlabel()]
    ids = [name.split("channel ")[1].split(",")[0] for name in names]
    channels = [list(map(str, by_channel.channel_ids)).index(one) for one in ids]
    for unit_id, drawn in zip(units, points(widget.axes[1]), strict=True):
        spikes = spikes_of(by_channel, unit_id)
        values = sic.get_spike_features(by_channel, spikes, channels)
        values = values[~np.isnan(values).any(axis=(1, 2))]
        assert len(values) == min(SPIKES, spikes.size)
        np.testing.assert_allclose(drawn, values[:, ::-1, 0], rtol=1e-6)
        assert f"unit {unit_id}: {SPIKES} of {spikes.size:,} spikes" in text


@pytest.mark.slow
def test_overviews_have_the_panel(by_channel, concatenated):
    for analyzer in (by_channel, concatenated):
        one = sic.plot_unit_overview(analyzer, analyzer.unit_ids[0])
        two = sic.plot_pair_overview(analyzer, *analyzer.unit_ids[:2])
        for widget in (one, two):
            assert not isinstance(widget.panels["features"], str)
            text = all_texts(widget.figure)
            assert "SpikeInterface's principal components, of random spikes" in text
        names = [axes.get_ylabel() for axes in one.figure.axes]
        what = "channel" if analyzer is by_channel else "component"
        assert {f"first {what}", f"second {what}"} <= set(names)


def test_components_of_all_channels_together(concatenated):
    extension = concatenated.get_extension("principal_components")
    widget = sic.plot_features(concatenated, concatenated.unit_ids[:1], num_background_spikes=0)
    assert len(widget.axes) == 3
    assert widget.axes[1].get_xlabel() == "all channels, PC 2"
    (drawn,) = points(widget.axes[1])
    chosen = concatenated.get_extension("random_spikes").get_random_spikes()
    expected = np.asarray(extension.get_data())[chosen["unit_index"] == 0]
    np.testing.assert_allclose(drawn, expected[:, [1, 0]], rtol=1e-6)
    with pytest.raises(sic.ParameterError, match="concatenated"):
        sic.plot_features(concatenated, ["0"], channel_ids=concatenated.channel_ids[:1])
    with pytest.raises(sic.ParameterError, match="components has 3, expected 0 to 2"):
        sic.plot_features(concatenated, ["0"], components=[3])
    with pytest.raises(sic.MissingDataError, match="mode='by_channel_local'"):
        sic.get_spike_features(concatenated, [0], [0])


def test_without_them_the_error_says_what_to_compute(concatenated):
    analyzer = concatenated.copy()
    analyzer.delete_extension("principal_components")
    with pytest.raises(sic.MissingDataError, match=r"prepare_for_phy\(analyzer\)"):
        sic.plot_features(analyzer, analyzer.unit_ids[:1], figure=Figure())


@pytest.mark.slow
def test_amplitudes_by_a_component_leave_out_what_is_not_known(by_channel):
    unit_id = by_channel.unit_ids[0]
    spikes, values = sic.get_spike_amplitudes(by_channel, unit_id, "feature")
    chosen = by_channel.get_extension("random_spikes").get_data()
    np.testing.assert_array_equal(np.isnan(values), ~np.isin(spikes, chosen))
    drawn = sic.plot_amplitudes_over_time(by_channel, [unit_id], kind="feature", background=False)
    assert f"{SPIKES} of {spikes.size:,} spikes" in all_texts(drawn.figure)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_folder_without_features_and_a_recording(simulate, tmp_path):
    """The sorter's features are taken where there are any."""
    truth = simulate("kilosort4", num_templates=6, num_channels=12, num_spikes=300, seed=2)
    (truth.folder / "pc_features.npy").unlink()
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    with pytest.raises(sic.MissingDataError, match=r"has no pc_features\.npy"):
        sic.get_spike_features(analyzer, [0], [0])
    sorting = sc.NumpySorting.from_sorting(analyzer.sorting)
    sorting.set_property("original_cluster_id", analyzer.unit_ids)
    attached = sc.create_sorting_analyzer(sorting, recording_of_folder(truth.folder), sparse=False)
    sic.attach_kilosort_folder(attached, truth.folder)
    names = ["random_spikes", "waveforms", "templates", "principal_components"]
    attached.compute(names, progress_bar=False)
    widget = sic.plot_features(attached, attached.unit_ids[:1])
    assert widget.axes[0].get_ylabel().endswith("(principal_components)")
