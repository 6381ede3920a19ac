"""The views in spikeinterface-gui, in both backends: what is drawn is what the extensions hold."""

import numpy as np
import pytest
from spikeinterface.core import NumpyRecording, NumpySorting, create_sorting_analyzer

import si_curation as sic
from helpers.gui_windows import entry_points_of_project, gui, layout_of, opened, select  # noqa: F401
from helpers.needs import need
from si_curation.gui.constituents import get_constituents
from si_curation.gui.pair_points import evenly_spaced

VIEWS = ("unitlist", "templatefeature", "lineage")
PACKAGES = {"desktop": ("PySide6", "pyqtgraph"), "web": ("panel", "bokeh")}
GREY = "#969696"

pytestmark = [pytest.mark.usefixtures("gui"), pytest.mark.slow]


@pytest.fixture(scope="module")
def analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(["template_best_channels", "template_features", "unit_similarity"])
    return analyzer


@pytest.fixture(scope="module")
def strange():
    """Another sorter's analyzer: a unit without spikes, one with a single spike, HTML in a name."""
    rng = np.random.default_rng(3)
    traces = rng.normal(size=(20_000, 4)).astype("float32")
    recording = NumpyRecording([traces], 10_000.0)
    recording.set_dummy_probe_from_locations(np.array([[0, 0], [0, 20], [20, 0], [20, 20.0]]))
    trains = {
        "<b>a</b>": np.sort(rng.integers(100, 19_900, 400)),
        "b": np.sort(rng.integers(100, 19_900, 300)),
        "one": np.array([5000]),
        "empty": np.array([], dtype="int64"),
    }
    sorting = NumpySorting.from_unit_dict([trains], 10_000.0)
    analyzer = create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "templates", "template_assignment"])
    analyzer.compute("unit_locations", method="center_of_mass")
    analyzer.compute("template_similarity", method="cosine")
    analyzer.compute(["template_best_channels", "template_features", "unit_similarity"])
    return analyzer


@pytest.fixture(params=["desktop", pytest.param("web", marks=pytest.mark.slow)])
def mode(request):
    need(*PACKAGES[request.param])
    return request.param


@pytest.fixture
def open_window(mode):
    """Open the GUI as it is, without what `open_gui` computes."""
    from spikeinterface_gui import run_mainwindow

    def make(analyzer, views=VIEWS, **kwargs):
        return opened(
            run_mainwindow,
            analyzer,
            mode=mode,
            layout=layout_of(*views),
            skip_extensions=[],
            panel_window_servable=False,
            with_traces=False,
            **kwargs,
        )

    return make


def text_of(view):
    return view.label.text() if view.backend == "qt" else view.label.object


def points_of(view):
    """{spike: (x, y, colour)} of all points that are drawn."""
    if view.backend == "qt":
        data = view.scatter.data
        colors = [brush.color().name() for brush in data["brush"]]
        return {
            int(i): (x, y, color)
            for i, x, y, color in zip(data["data"], data["x"], data["y"], colors, strict=True)
        }
    data = view.source.data
    columns = (data["spike_index"], data["x"], data["y"], data["color"])
    return {int(i): (x, y, c[:7].lower()) for i, x, y, c in zip(*columns, strict=True)}


def selected_of(view):
    """Points (n, 2) that are marked as selected."""
    if view.backend == "qt":
        return np.column_stack(view.scatter_select.getData())
    marked = view.source.selected.indices
    data = view.source.data
    return np.column_stack([np.asarray(data["x"])[marked], np.asarray(data["y"])[marked]])


def lines_of(view, unit_id):
    """[(x, y, colour)] of the templates of a unit, first one first."""
    if view.backend == "qt":
        curves = view.plots[unit_id].curves
        return [(*c.getData(), c.opts["pen"].color().name()) for c in curves]
    found = []
    for item in view.figures[unit_id].legend[0].items:
        (line,) = item.renderers
        data = line.data_source.data
        found.append((data["x"], data["y"], line.glyph.line_color))
    return found


def words_of(view, unit_id):
    """All words beside the templates of a unit."""
    if view.backend == "qt":
        return view.plots[unit_id].titleLabel.item.toPlainText()
    figure = view.figures[unit_id]
    titles = [one.text for one in figure.above if hasattr(one, "text")]
    return "\n".join([*titles[::-1], *(item.label.value for item in figure.legend[0].items)])


def color_of(window, unit_id):
    from matplotlib.colors import to_hex

    return to_hex(window.controller.get_unit_color(unit_id))


def is_color(found, expected):
    """Qt cuts where matplotlib rounds."""
    parts = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (found, expected)]
    return np.abs(np.subtract(*parts)).max() <= 1


def check_pair(window, analyzer, pair, grey=()):
    """Check that all spikes of a pair are drawn, where the extension says, in the GUI's colours."""
    drawn = points_of(window.views["templatefeature"])
    projections = analyzer.get_extension("template_features").get_pair_projections(*pair)
    unit_index = analyzer.sorting.to_spike_vector()["unit_index"]
    count = 0
    for unit_id, expected in zip(pair, projections, strict=True):
        spikes = np.flatnonzero(unit_index == analyzer.sorting.id_to_index(unit_id))
        found = [drawn[i] for i in spikes]
        np.testing.assert_allclose([f[:2] for f in found], expected)
        color = GREY if unit_id in grey else color_of(window, unit_id)
        assert all(is_color(f[2], color) for f in found)
        count += spikes.size
    assert count == len(drawn)


def test_entry_points_name_the_views():
    need("PySide6", "pyqtgraph")
    found = {one.name: one.load() for one in entry_points_of_project()}
    assert sorted(found) == ["lineage", "suggestions", "templatefeature"]
    for name, view in found.items():
        assert view.id == name
        assert view._supported_backend == ["qt", "panel"]
        assert "view is not done" not in view._gui_help_txt


def test_pair_of_units_is_drawn_and_follows_the_selection(analyzer, open_window):
    with open_window(analyzer) as window:
        assert set(window.views) == set(VIEWS)
        for pair in ([10, 13], [13, 10], [8, 9], [11, 12]):
            select(window, pair)
            check_pair(window, analyzer, pair)
            assert f"Unit {pair[0]} against unit {pair[1]}" in text_of(
                window.views["templatefeature"]
            )
        assert "both axes are the same" in text_of(window.views["templatefeature"])
        select(window, [8, 9, 13])
        check_pair(window, analyzer, [8, 9])
        assert "first two of 3 selected" in text_of(window.views["templatefeature"])


def test_one_unit_is_drawn_against_the_most_similar_one(analyzer, open_window):
    similar = analyzer.get_extension("unit_similarity")
    with open_window(analyzer) as window:
        for unit_id in (4, 13):
            select(window, [unit_id])
            other = similar.get_similar_units(unit_id, 1).index[0]
            check_pair(window, analyzer, [unit_id, other], grey=[other])
        select(window, [])
        assert not points_of(window.views["templatefeature"])
        assert "No unit is selected" in text_of(window.views["templatefeature"])
        assert "No unit is selected" in text_of(window.views["lineage"])


def test_selected_spikes_are_marked(analyzer, open_window):
    projections = analyzer.get_extension("template_features").get_pair_projections(8, 9)
    with open_window(analyzer) as window:
        spikes = window.controller.get_spike_indices(9)
        select(window, [8, 9], spikes[5:25])
        view = window.views["templatefeature"]
        np.testing.assert_allclose(selected_of(view), projections[1][5:25])
        check_pair(window, analyzer, [8, 9])
        select(window, [8, 9], [])
        assert len(selected_of(view)) == 0


def test_at_most_so_many_spikes_are_drawn_and_always_the_same(analyzer, open_window):
    with open_window(analyzer) as window:
        view = window.views["templatefeature"]
        select(window, [10, 13])
        everything = points_of(view)
        view.settings["max_spikes_per_unit"] = 100
        view.refresh()
        first = points_of(view)
        select(window, [8, 9])
        select(window, [10, 13])
        assert points_of(view) == first
        assert len(first) == 200
        assert first.items() <= everything.items()
        for unit_id in (10, 13):
            spikes = window.controller.get_spike_indices(unit_id)
            assert set(spikes[np.arange(100) * spikes.size // 100]) <= set(first)


def square(low, high):
    return np.array([(low, low), (low, high), (high, high), (high, low)])


def draw_lasso(view, polygon):
    """Draw a lasso as the mouse does: Qt's view box and Bokeh's tool give its points."""
    if view.backend == "qt":
        view.view_box.lasso_finished.emit(polygon.tolist(), False)
        return
    from bokeh.events import SelectionGeometry

    geometry = {"type": "poly", "x": polygon[:, 0].tolist(), "y": polygon[:, 1].tolist()}
    event = SelectionGeometry(view.figure, geometry=geometry, final=True)
    view.figure._trigger_event(event)


def test_lasso_selects_spikes_drawn_or_not(analyzer, open_window):
    with open_window(analyzer, curation=True) as window:
        view = window.views["templatefeature"]
        view.settings["max_spikes_per_unit"] = 10
        select(window, [8])
        other = analyzer.get_extension("unit_similarity").get_similar_units(8, 1).index[0]
        own, _ = analyzer.get_extension("template_features").get_pair_projections(8, other)
        spikes = window.controller.get_spike_indices(8)
        median = float(np.median(own[:, 0]))
        polygon = np.array([(-1e5, -1e5), (-1e5, 1e5), (median, 1e5), (median, -1e5)])
        draw_lasso(view, polygon)
        expected = spikes[own[:, 0] < median]
        found = window.controller.get_indices_spike_selected()
        np.testing.assert_array_equal(found, expected)  # not those of the grey unit
        assert 0 < len(selected_of(view)) <= 10
        view.select_inside(square(-1e5, 1e5), keep=True)
        np.testing.assert_array_equal(window.controller.get_indices_spike_selected(), spikes)
        draw_lasso(view, polygon)
        view.split()
        assert window.controller.curation_data["splits"] == [
            {
                "unit_id": 8,
                "mode": "indices",
                "indices": [np.flatnonzero(own[:, 0] < median).tolist()],
            }
        ]
        assert not window.controller.current_curation_saved
        select(window, [8, 9])
        draw_lasso(view, square(-1e5, 1e5))
        both = np.concatenate([spikes, window.controller.get_spike_indices(9)])
        np.testing.assert_array_equal(window.controller.get_indices_spike_selected(), np.sort(both))


def check_lineage(window, analyzer, unit_id, num_templates):
    """Check lines and words against the counts and the templates themselves."""
    view = window.views["lineage"]
    assignment = analyzer.get_extension("template_assignment")
    counts = assignment.get_template_counts()[[analyzer.sorting.id_to_index(unit_id)]].toarray()[0]
    order = [i for i in np.argsort(-counts, kind="stable") if counts[i]][:num_templates]
    lines, words = lines_of(view, unit_id), words_of(view, unit_id)
    assert len(lines) == len(order) == num_templates
    best = analyzer.get_extension("template_best_channels").get_best_channels(unit_id)
    num_samples = assignment.get_templates().shape[1]
    positions = analyzer.get_channel_locations()
    scales = []
    for template_id, (x, y, _) in zip(order, lines, strict=True):
        assert f"template {template_id}: {counts[template_id]:,}" in words
        assert f"({counts[template_id] / counts.sum():.0%})" in words
        y = np.reshape(y, (-1, num_samples + 1))
        assert np.isnan(y[:, -1]).all()
        assert len(y) >= len(best)
        waveforms = assignment.get_templates()[template_id]
        for row, channel_id in enumerate(best):
            channel = analyzer.channel_ids.tolist().index(channel_id)
            x_um, y_um = positions[channel]
            own = np.reshape(x, y.shape)[row, :-1]
            assert own.mean() == pytest.approx(x_um)
            drawn = y[row, :-1] - y_um
            if np.abs(waveforms[:, channel]).max() > 0:
                sample = np.abs(waveforms[:, channel]).argmax()
                scales.append(drawn[sample] / waveforms[sample, channel])
            np.testing.assert_allclose(drawn, waveforms[:, channel] * scales[0], atol=1e-4)
    np.testing.assert_allclose(scales, scales[0], rtol=1e-3)
    assert is_color(lines[0][2], color_of(window, unit_id))
    assert len({line[2] for line in lines}) == len(lines)


def test_lineage_shows_every_template_of_merged_and_split_units(analyzer, open_window):
    with open_window(analyzer) as window:
        view = window.views["lineage"]
        select(window, [13, 10, 11])
        shown = view.plots if view.backend == "qt" else view.figures
        assert list(shown) == [13, 10, 11]
        for unit_id, num_templates in ((13, 3), (10, 2), (11, 1)):
            check_lineage(window, analyzer, unit_id, num_templates)
        assert "unit 13: merged, 1,330 spikes" in words_of(view, 13)
        assert "shares no template" in words_of(view, 13)
        assert "unit 11: split, 191 spikes" in words_of(view, 11)
        assert "shares templates with 12" in words_of(view, 11)
        view.settings["max_templates"] = 2
        view.refresh()
        check_lineage(window, analyzer, 13, 2)
        assert "1 more templates with 295 spikes" in words_of(view, 13)
        select(window, [4])
        assert list(view.plots if view.backend == "qt" else view.figures) == [4]
        assert "unchanged" in words_of(view, 4)


def test_templates_of_other_places_are_drawn_where_they_are(analyzer):
    """Unit 13 was merged of templates that are far from each other on the probe."""
    assignment = analyzer.get_extension("template_assignment")
    (unit,) = get_constituents(analyzer, [13])
    for one in unit.constituents:
        amplitudes = np.ptp(assignment.get_templates()[one.template_id], axis=0)
        assert analyzer.channel_ids[amplitudes.argmax()] in unit.channel_ids


def test_missing_extensions_are_said(open_window):
    bare = sic.read_kilosort_as_analyzer(sic.example_folder())
    with open_window(bare) as window:
        features, lineage = window.views["templatefeature"], window.views["lineage"]
        for unit_ids in ([4], [10, 13], []):
            select(window, unit_ids)
            assert not points_of(features)
            if unit_ids:
                assert "needs the extension 'template_features'" in text_of(features)
            assert "needs the extension 'template_best_channels'" in text_of(lineage)
        select(window, [10, 13])
        bare.compute(["template_features", "template_best_channels"])  # while it is open
        features.refresh()
        lineage.refresh()
        check_pair(window, bare, [10, 13])
        check_lineage(window, bare, 13, 3)
        bare.delete_extension("template_similarity")
        select(window, [10])
        assert "compute the extension 'unit_similarity'" in text_of(features)


def test_lost_template_assignment_is_said(open_window):
    bare = sic.read_kilosort_as_analyzer(sic.example_folder())
    bare.compute("template_features")
    bare.delete_extension("template_assignment")
    with open_window(bare) as window:
        select(window, [10, 13])
        assert "template_assignment" in text_of(window.views["templatefeature"])
        assert "template_assignment" in text_of(window.views["lineage"])


def test_empty_unit_one_spike_and_html_in_a_name(strange, open_window):
    with open_window(strange) as window:
        features, lineage = window.views["templatefeature"], window.views["lineage"]
        select(window, ["empty"])
        assert "unit empty has no spikes" in text_of(features)
        assert not points_of(features)
        assert lines_of(lineage, "empty") == []
        assert "no spikes, and so no template" in words_of(lineage, "empty")
        select(window, ["b", "empty"])
        assert "unit empty has no spikes" in text_of(features)
        select(window, ["one", "b"])
        check_pair(window, strange, ["one", "b"])
        check_lineage(window, strange, "one", 1)
        select(window, ["<b>a</b>", "one"])
        check_pair(window, strange, ["<b>a</b>", "one"])
        assert "Unit <b>a</b> against unit one" in text_of(features)
        assert "unit <b>a</b>: unchanged, 400 spikes" in words_of(lineage, "<b>a</b>")


def test_only_one_unit_with_spikes(strange, open_window):
    alone = strange.select_units(["b", "empty"])
    with open_window(alone) as window:
        select(window, ["b"])
        assert "no other unit with spikes" in text_of(window.views["templatefeature"])


def test_spikes_without_features_are_counted(shared_data, open_window):
    """The public example holds features of some of its spikes only."""
    folder = sic.read_kilosort_as_analyzer(shared_data / "ks1_phy_curated")
    folder.compute(["template_features", "template_best_channels"])
    features = folder.get_extension("template_features")
    values = features.get_data()[0]
    counts = folder.sorting.count_num_spikes_per_unit(outputs="array")
    pair = folder.unit_ids[np.argsort(-counts)[:2]].tolist()
    with open_window(folder) as window:
        select(window, pair)
        projections = np.concatenate(features.get_pair_projections(*pair))
        known = projections[np.isfinite(projections).all(axis=1)]
        drawn = np.array([p[:2] for p in points_of(window.views["templatefeature"]).values()])
        np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(known, axis=0))
        lost = len(projections) - len(known)
        assert ("Spikes without features" in text_of(window.views["templatefeature"])) == (lost > 0)
        assert "the sorter's file" in text_of(window.views["templatefeature"])
    assert values.dtype == np.float32


@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
def test_saved_analyzers(analyzer, open_window, tmp_path, format):
    from spikeinterface.core import load_sorting_analyzer

    path = tmp_path / ("saved.zarr" if format == "zarr" else "saved")
    analyzer.save_as(format=format, folder=path)
    saved = load_sorting_analyzer(path, load_extensions=False)  # as the GUI's command does
    with open_window(saved) as window:
        select(window, [10, 13])
        check_pair(window, analyzer, [10, 13])
        check_lineage(window, analyzer, 13, 3)


def test_what_is_drawn_follows_an_analyzer_that_the_gui_replaces(analyzer, open_window):
    with open_window(analyzer) as window:
        select(window, [10, 13])
        session = sic.CurationSession(analyzer)
        merged = session.merge([10, 13])
        window.controller.set_analyzer_info(session.apply())
        window.controller.refresh_colors()
        for name in ("templatefeature", "lineage"):
            window.views[name].reinitialize()
        window.controller.set_visible_unit_ids([8, merged])
        for name in ("templatefeature", "lineage"):
            window.views[name].on_unit_visibility_changed()
        check_pair(window, window.controller.analyzer, [8, merged])
        check_lineage(window, window.controller.analyzer, merged, 5)


@pytest.mark.parametrize(("count", "limit"), [(0, 5), (1, 1), (5, 5), (7, 5), (10**6, 5000)])
def test_evenly_spaced(count, limit):
    found = evenly_spaced(count, limit)
    assert found.size == min(count, limit)
    assert np.unique(found).size == found.size
    if count > limit:
        assert np.ptp(np.diff(found)) <= 1
        assert found[0] == 0
        assert found[-1] >= count - 1 - count // limit - 1
