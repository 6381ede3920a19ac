"""`plot_amplitudes_over_time` shows exact numbers."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import si_curation as sic
from helpers.read_figures import draw, images, overlapping_texts, points, steps, texts
from si_curation.extensions.spikes_of_units import spikes_of_unit


@pytest.fixture(scope="module")
def analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(["template_best_channels", "template_features"])
    return analyzer


def times_of(analyzer, spikes):
    return analyzer.sorting.to_spike_vector()["sample_index"][spikes] / analyzer.sampling_frequency


@pytest.mark.parametrize("kind", ["projection", "template", "template_feature", "feature"])
@pytest.mark.parametrize("units", [[13], [4, 10]])
def test_amplitudes_are_those_of_the_function(analyzer, kind, units):
    widget = sic.plot_amplitudes_over_time(analyzer, units, kind=kind, max_points=10**6)
    expected = [
        sic.get_spike_amplitudes(analyzer, unit, kind, first_unit_id=units[0]) for unit in units
    ]
    behind = sic.get_spike_amplitudes(analyzer, units[0], kind, background=True)
    selected = np.concatenate([spikes_of_unit(analyzer, unit) for unit in units])
    keep = ~np.isin(behind.spike_indices, selected)
    clouds = [(behind.spike_indices[keep], behind.amplitudes[keep])] if keep.any() else []
    clouds += [(one.spike_indices, one.amplitudes) for one in expected]
    found = points(widget.ax)
    low, high = widget.ax.get_ylim()
    for drawn, (spikes, amplitudes) in zip(found, clouds, strict=True):
        inside = (amplitudes >= low) & (amplitudes <= high)
        whole = np.column_stack([times_of(analyzer, spikes), amplitudes])
        np.testing.assert_allclose(drawn, whole[inside], rtol=1e-6)
    assert widget.ax.get_xlim() == (0.0, analyzer.get_total_duration())
    label = {
        "projection": "peak to peak (raw units)",
        "template": "amplitude (arbitrary units)",
        "template_feature": f"projection onto unit {units[0]} (arbitrary units)",
        "feature": "PC 1 on channel",
    }[kind]
    assert widget.ax.get_ylabel().startswith(label)


def test_one_scale_for_figure_page_and_tables(analyzer):
    """The amplitudes of a unit's spikes lie around the peak-to-peak of its template in tables."""
    for unit_id in analyzer.unit_ids:
        best = analyzer.get_extension("template_best_channels").get_data(outputs="dataframe")
        amplitude = best[best["unit_id"] == unit_id]["amplitude"].iloc[0]
        drawn = points(sic.plot_amplitudes_over_time(analyzer, [unit_id]).ax)[-1][:, 1]
        assert drawn.min() > 0
        assert 0.2 * amplitude < np.median(drawn) < 1.3 * amplitude, unit_id


def test_histograms_are_densities_without_zeros(analyzer):
    widget = sic.plot_amplitudes_over_time(analyzer, [4, 10], kind="template")
    (side,) = widget.ax.child_axes
    filled = steps(side)[::2]  # each is drawn again as an outline
    assert len(filled) == 3
    for histogram, unit in zip(filled[1:], [4, 10], strict=True):
        values = sic.get_spike_amplitudes(analyzer, unit).amplitudes
        expected, edges = np.histogram(values, bins=100, range=widget.ax.get_ylim(), density=True)
        np.testing.assert_allclose(histogram.edges, edges)
        np.testing.assert_allclose(histogram.values, expected)
    widget = sic.plot_amplitudes_over_time(analyzer, [(13, 10)], kind="template_feature")
    (side,) = widget.ax.child_axes
    (histogram, _) = steps(side)
    amplitudes = points(widget.ax)[0][:, 1]
    assert np.count_nonzero(amplitudes == 0) == 1143, "of 10 all are 0"
    expected, _ = np.histogram(amplitudes[amplitudes != 0], bins=histogram.edges, density=True)
    np.testing.assert_allclose(histogram.values, expected)
    bare = sic.plot_amplitudes_over_time(analyzer, [13], histogram=False, background=False)
    assert bare.ax.child_axes == []


def test_amplitudes_of_units_drawn_as_merged(analyzer):
    session = sic.CurationSession(analyzer)
    merged = session.merge([10, 4])
    applied = session.apply()
    for kind in ("projection", "template", "feature", "template_feature"):
        before = sic.plot_amplitudes_over_time(analyzer, [(10, 4)], kind=kind)
        after = sic.plot_amplitudes_over_time(applied, [merged], kind=kind)
        for one, other in zip(points(before.ax), points(after.ax), strict=True):
            np.testing.assert_array_equal(one, other)
        assert len(points(before.ax)[-1]) == 2052


def test_raw_amplitudes_are_a_sample_and_say_so(segments):
    widget = sic.plot_amplitudes_over_time(segments, ["a"], kind="raw", max_spikes=30)
    assert "unit a: 30 of 600 spikes" in texts(widget.ax)
    _, whole = sic.get_spike_amplitudes(segments, "a", "raw")
    assert np.isin(points(widget.ax)[-1][:, 1], whole).all()
    assert widget.ax.get_ylabel().startswith("peak to peak on channel")


def test_another_sorter_in_microvolts_over_segments(segments):
    widget = sic.plot_amplitudes_over_time(segments, ["a", "lone"], background=False)
    assert widget.ax.get_ylabel() == "at the extremum (µV)\nspike_amplitudes"
    of_a, of_lone = points(widget.ax)
    vector = segments.sorting.to_spike_vector()
    spikes = spikes_of_unit(segments, "a")
    times = vector["sample_index"] / 10_000 + 5.0 * vector["segment_index"]
    np.testing.assert_allclose(of_a[:, 0], times[spikes])
    amplitudes = np.concatenate(
        segments.get_extension("spike_amplitudes").get_data(outputs="numpy"), axis=None
    )
    np.testing.assert_allclose(of_a[:, 1], np.abs(amplitudes[spikes]))
    np.testing.assert_allclose(of_lone[:, 0], [5.0077])
    assert "unit lone, 1 spike" in texts(widget.ax)
    assert widget.ax.get_xlim() == (0.0, 8.1)


def test_empty_unit_says_so(analyzer, segments):
    widget = sic.plot_amplitudes_over_time(segments, ["none"])
    assert "no spikes" in texts(widget.ax)
    assert "unit none · 0 spikes" in texts(widget.ax)
    for kind in ("raw", "template"):
        assert draw(sic.plot_amplitudes_over_time(segments, ["none", "b"], kind=kind).figure) > 1000


def test_many_amplitudes_are_a_density(analyzer):
    widget = sic.plot_amplitudes_over_time(analyzer, [13], max_points=1000)
    (counts,) = images(widget.ax)
    assert counts.sum() == 1330
    assert f"density, 1 to {counts.max()} spikes per bin" in texts(widget.ax)


def test_all_units_in_one_panel(analyzer):
    widget = sic.plot_amplitudes_over_time(analyzer)
    assert [len(cloud) for cloud in points(widget.ax)] == [909, 344, 518, 672, 1143, 191, 192, 1330]
    assert texts(widget.ax).count("spikes") == 8


def test_wrong_kind(analyzer):
    with pytest.raises(sic.ParameterError, match="kind is 'peak'"):
        sic.plot_amplitudes_over_time(analyzer, [4], kind="peak")
    with pytest.raises(sic.MissingDataError, match="recording"):
        sic.plot_amplitudes_over_time(analyzer, [4], kind="raw")
    with pytest.raises(sic.ParameterError, match="component"):
        sic.plot_amplitudes_over_time(analyzer, [4], kind="feature", component=9)


@pytest.mark.slow
def test_no_text_lies_on_another(analyzer):
    for widget in (
        sic.plot_isi(analyzer),
        sic.plot_isi(analyzer, [13, 4], log=True),
        sic.plot_firing_rate(analyzer),
        sic.plot_amplitudes_over_time(analyzer, [13]),
        sic.plot_amplitudes_over_time(analyzer, [4, 10], max_points=100),
    ):
        assert overlapping_texts(widget.figure) == []


def test_given_axes_and_parts_of_figures(analyzer):
    figure = Figure(figsize=(12, 6), layout="constrained")
    top, bottom = figure.subfigures(2, 1)
    first, second, third = top.subplots(1, 3)
    assert sic.plot_isi(analyzer, [4], ax=first).ax is first
    assert sic.plot_firing_rate(analyzer, [4], axes=[second]).ax is second
    assert sic.plot_amplitudes_over_time(analyzer, [4], ax=third).ax is third
    assert len(sic.plot_isi(analyzer, [4, 13], figure=bottom).axes) == 2
    assert draw(figure) > 1000


def test_borders_of_sessions_are_lines_with_names():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    borders = sic.session_borders(analyzer, [25.0, 52.5], names=["baseline", "drug", "wash"])
    bare = sic.plot_amplitudes_over_time(analyzer, [13], background=False).ax
    axes = sic.plot_amplitudes_over_time(analyzer, [13], background=False, borders=borders).ax
    places = [line.get_xdata()[0] for line in axes.lines[len(bare.lines) :]]
    assert places == [25.0, 52.5]
    assert [t.get_text() for t in axes.texts if t.get_text() in borders.names] == [*borders.names]
    assert axes.get_xlim() == bare.get_xlim()
