"""`plot_similarity` shows phy's similarities, the distances, and both templates in one scale."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

import si_curation as sic
from helpers.other_sorters import other_analyzer
from helpers.read_figures import draw, overlapping_texts, texts, waveforms
from si_curation.views.similarity import similar_units
from si_curation.views.units import resolve_units

NAMES = ["template_assignment", "template_best_channels", "unit_similarity"]


@pytest.fixture(scope="module")
def analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(NAMES)
    return analyzer


def bars(axes):
    return np.array([bar.get_width() for bar in axes.patches])


def names(axes):
    return [text.get_text() for text in axes.get_yticklabels()]


@pytest.mark.parametrize("unit_id", [4, 13, 10])
def test_bars_are_those_of_the_extension(analyzer, unit_id):
    widget = sic.plot_similarity(analyzer, unit_id)
    expected = analyzer.get_extension("unit_similarity").get_similar_units(unit_id)
    assert names(widget.ax) == [str(other) for other in expected.index]
    np.testing.assert_array_equal(bars(widget.ax), expected["similarity"])
    places = analyzer.get_extension("unit_locations").get_data()[:, :2]
    own = places[analyzer.sorting.id_to_index(unit_id)]
    counts = analyzer.sorting.count_num_spikes_per_unit()
    words = [text.get_text() for text in widget.ax.texts]
    for other, similarity in expected["similarity"].items():
        distance = np.linalg.norm(places[analyzer.sorting.id_to_index(other)] - own)
        start = f"{similarity:.2f} · {distance:.0f} µm · {counts[other]:,} spikes"
        assert sum(word.startswith(start.replace("-", "−")) for word in words) >= 1
    assert "unit 13" not in texts(widget.ax) or unit_id == 13


def test_templates_are_drawn_in_one_scale(analyzer):
    widget = sic.plot_similarity(analyzer, 4, num_units=3)
    assignment = analyzer.get_extension("template_assignment")
    channels = analyzer.get_extension("template_best_channels").get_data(outputs="indices")[4][:5]
    found = waveforms(widget.axes[1])
    assert len(found) == 6
    own = assignment.get_unit_template(4)[:, channels]
    ratios = []
    for row, other in enumerate([10, 7, 8]):
        expected = assignment.get_unit_template(other)[:, channels]
        for drawn, template in zip(found[2 * row : 2 * row + 2], (own, expected), strict=True):
            values = row - drawn[::-1, :, 1].T  # (n_samples, n_channels)
            ratios.append(np.ptp(values) / np.ptp(template))
            np.testing.assert_allclose(values, template * ratios[-1], atol=1e-5)
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-5)
    ids = [str(analyzer.channel_ids[channel]) for channel in channels]
    found = [text.get_text() for text in widget.axes[1].texts]
    assert found == [f"channel {ids[0]}", *ids[1:], "grey: unit 4, colour: the other unit"]


def test_template_of_a_merged_unit_is_its_most_frequent(analyzer):
    # 13 has 625 spikes of template 1, 8 has 518 of template 8: together template 1
    widget = sic.plot_similarity(analyzer, (8, 13), num_units=1)
    template = analyzer.get_extension("template_assignment").get_templates()[1]
    channels = analyzer.get_extension("template_best_channels").get_data(outputs="indices")[13][:5]
    drawn = -waveforms(widget.axes[1])[0][::-1, :, 1].T
    np.testing.assert_allclose(
        drawn / np.ptp(drawn), template[:, channels] / np.ptp(template[:, channels]), atol=1e-5
    )


@pytest.mark.parametrize("folder", ["example", "ks4_fresh", "ks1_phy_curated"])
def test_merged_units_have_the_similarity_that_they_would_have(shared_data, folder):
    path = sic.example_folder() if folder == "example" else shared_data / folder
    analyzer = sic.read_kilosort_as_analyzer(path)
    analyzer.compute("unit_similarity", source="templates")
    pair = tuple(analyzer.unit_ids[[1, 4]])
    session = sic.CurationSession(analyzer)
    merged = session.merge(list(pair))
    after = session.apply()
    expected = after.compute("unit_similarity", source="templates").get_similar_units(merged)
    widget = sic.plot_similarity(analyzer, pair, num_units=99, show_templates=False)
    assert names(widget.ax) == [str(other) for other in expected.index]
    np.testing.assert_array_equal(bars(widget.ax), expected["similarity"])
    assert f"units {pair[0]} + {pair[1]}" in texts(widget.ax)


def test_string_ids_one_spike_and_none():
    analyzer = other_analyzer()
    analyzer.compute("unit_similarity")
    widget = sic.plot_similarity(analyzer, "one")
    assert set(names(widget.ax)) == {"a", "b"}
    assert "grey: unit one" in texts(widget.axes[1])
    nothing = sic.plot_similarity(analyzer, "none")
    assert "no spikes" in texts(nothing.ax)
    assert "0 spikes" in texts(nothing.ax)
    analyzer.compute(NAMES)
    for unit_id in ("one", "none", ("a", "none")):
        assert draw(sic.plot_similarity(analyzer, unit_id).figure) > 1000
    both = sic.plot_similarity(analyzer, ("a", "b", "none"))
    assert names(both.ax) == ["one"]


def test_places_of_merged_units_are_weighted_by_spikes(analyzer):
    (unit,) = resolve_units(analyzer, [(4, 10)])
    table = similar_units(analyzer, unit, analyzer.get_extension("unit_similarity").get_data())
    places = analyzer.get_extension("unit_locations").get_data()[:, :2]
    rows = [analyzer.sorting.id_to_index(unit_id) for unit_id in (4, 10)]
    own = (909 * places[rows[0]] + 1143 * places[rows[1]]) / (909 + 1143)
    expected = np.linalg.norm(places[analyzer.sorting.id_to_index(7)] - own)
    assert table.distance_um[7] == pytest.approx(expected)
    assert table.num_spikes[7] == 344


@pytest.mark.parametrize("num_channels", [1, pytest.param(384, marks=pytest.mark.slow)])
def test_sizes(simulate, num_channels):
    folder = simulate(
        "kilosort2",
        num_templates=12,
        num_channels=num_channels,
        num_spikes=600,
        num_empty_templates=1,
        write_features=False,
    ).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    analyzer.compute(NAMES)
    unit_id = analyzer.unit_ids[0]
    widget = sic.plot_similarity(analyzer, unit_id, num_units=3)
    expected = analyzer.get_extension("unit_similarity").get_similar_units(unit_id, 3)
    np.testing.assert_array_equal(bars(widget.ax), expected["similarity"])
    assert waveforms(widget.axes[1])[0].shape[0] == min(num_channels, 5)
    assert overlapping_texts(widget.figure) == []


def test_given_axes_colours_and_errors(analyzer):
    axes = Figure().subplots(1, 2)
    widget = sic.plot_similarity(analyzer, 4, axes=axes, unit_colors={10: "#123456"})
    assert widget.figure is axes[0].figure
    assert axes[0].patches[0].get_facecolor()[:3] == to_rgba("#123456")[:3]
    ax = Figure().subplots()
    assert sic.plot_similarity(analyzer, 4, ax=ax, show_templates=False).ax is ax
    assert overlapping_texts(sic.plot_similarity(analyzer, (4, 10)).figure) == []
    with pytest.raises(sic.ParameterError, match="num_units"):
        sic.plot_similarity(analyzer, 4, num_units=0)
    with pytest.raises(sic.UnknownIdError):
        sic.plot_similarity(analyzer, 99)
