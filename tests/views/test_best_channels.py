"""`plot_best_channels` and `plot_unit_templates_by_source` show the templates of the units."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from spikeinterface.widgets import get_unit_colors

import si_curation as sic
from helpers.other_sorters import other_analyzer
from helpers.read_figures import draw, overlapping_texts, texts, waveforms
from si_curation.views.best_channels import UNITS_PER_PAGE, draw_best_channels_pages
from si_curation.views.colors import ACCENTS
from si_curation.views.units import resolve_units


@pytest.fixture(scope="module")
def analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(["template_assignment", "template_best_channels"])
    return analyzer


def best_of(analyzer):
    return analyzer.get_extension("template_best_channels").get_data(outputs="indices")


def shapes(drawn, positions, channels):
    """Amplitudes (k, n_samples) of waveforms at their channels, in µm."""
    x = (drawn[:, 0, 0] + drawn[:, -1, 0]) / 2
    np.testing.assert_allclose(x, positions[channels, 0], atol=1e-6)
    return drawn[:, :, 1] - positions[channels, 1][:, None]


def scale_of(axes, units="raw units"):
    """µm for one unit of amplitude, from the scale bar."""
    (bar,) = [line for line in axes.lines if len(line.get_xdata()) == 3]
    (text,) = [t.get_text() for t in axes.texts if t.get_text().endswith(" ms")]
    amplitude, rest = text.split(" ", 1)
    assert rest.startswith(units + ", ")
    return np.ptp(bar.get_ydata()) / float(amplitude)


def test_drawn_templates_are_those_of_the_extension(analyzer):
    widget = sic.plot_best_channels(analyzer)
    assignment, channels = analyzer.get_extension("template_assignment"), best_of(analyzer)
    positions = analyzer.get_channel_locations()
    assert len(widget.axes) == 1 + len(analyzer.unit_ids)
    for axes, unit_id in zip(widget.axes[1:], analyzer.unit_ids, strict=True):
        assert axes.get_title(loc="left").startswith(f"unit {unit_id} · ")
        (drawn,) = waveforms(axes)
        template = assignment.get_unit_template(unit_id)[:, channels[unit_id]].T
        found = shapes(drawn, positions, channels[unit_id]) / scale_of(axes)
        np.testing.assert_allclose(found, template, rtol=1e-4, atol=1e-3)


def test_probe_panel_marks_the_best_channels(analyzer):
    widget = sic.plot_best_channels(analyzer, [4, 13])
    best = best_of(analyzer)
    dots = widget.axes[0].lines[1:]
    expected = analyzer.get_channel_locations()[[best[4][0], best[13][0]]]
    np.testing.assert_array_equal([line.get_xydata()[0] for line in dots], expected)
    assert [text.get_text() for text in widget.axes[0].texts] == ["4", "13"]
    assert widget.axes[0].get_xlabel() == "x (µm)"
    alone = sic.plot_best_channels(analyzer, [4, 13], show_probe=False)
    assert [a.get_title(loc="left")[:6] for a in alone.axes] == ["unit 4", "unit 1"]


def test_merged_unit_tells_its_templates(analyzer):
    widget = sic.plot_best_channels(analyzer, [13])
    assert "1,330 spikes, template 1 (47% of 3)" in texts(widget.axes[1])


def test_units_drawn_as_merged_are_as_after_the_merge(analyzer):
    session = sic.CurationSession(analyzer)
    merged = session.merge([10, 4])
    applied = session.apply()
    applied.compute("template_best_channels")
    before = sic.plot_best_channels(analyzer, [(10, 4)])
    after = sic.plot_best_channels(applied, [merged])
    assert before.axes[1].get_title(loc="left") == "units 10 + 4 · mua + unsorted"
    assert "2,052 spikes, template 4 (44% of 3)" in texts(before.axes[1])
    np.testing.assert_array_equal(waveforms(before.axes[1]), waveforms(after.axes[1]))
    before = sic.plot_unit_templates_by_source(analyzer, [(10, 4)])
    after = sic.plot_unit_templates_by_source(applied, [merged])
    assert len(waveforms(before.ax)) == 4
    for one, other in zip(waveforms(before.ax), waveforms(after.ax), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_fewer_channels(analyzer):
    widget = sic.plot_best_channels(analyzer, [13], num_channels=3)
    (drawn,) = waveforms(widget.axes[1])
    assert len(drawn) == 3
    shapes(drawn, analyzer.get_channel_locations(), best_of(analyzer)[13][:3])
    with pytest.raises(sic.ParameterError, match="num_channels is 0"):
        sic.plot_best_channels(analyzer, [13], num_channels=0)


def test_colours_are_those_of_spikeinterface_or_given(analyzer):
    given = sic.plot_best_channels(analyzer, [13], unit_colors={13: "#123456"})
    (lines,) = [c for c in given.axes[1].collections if len(c.get_segments()) == 12]
    assert tuple(lines.get_colors()[-1]) == to_rgba("#123456")
    defaults = get_unit_colors(analyzer)
    for unit in resolve_units(analyzer):
        expected = np.array(defaults[unit.unit_ids[0]][:3])
        luma = [0.2126, 0.7152, 0.0722] @ expected
        # the same hue; what is too light on white is darker
        np.testing.assert_allclose(unit.color, expected * min(1, 0.55 / luma))


def test_a_pair_whose_colours_are_alike_can_be_told_apart(analyzer):
    pair = resolve_units(analyzer, [8, 9])
    assert [unit.color for unit in pair] == list(ACCENTS[:2])
    defaults = get_unit_colors(analyzer)
    kept = resolve_units(analyzer, [8, 9], unit_colors=defaults)
    assert [unit.color for unit in kept] == [defaults[8], defaults[9]]
    (alone,) = resolve_units(analyzer, [8])
    assert alone.color != ACCENTS[0]


def test_every_template_of_a_unit_with_its_count_and_the_mean(analyzer):
    widget = sic.plot_unit_templates_by_source(analyzer, [13, 4])
    assignment = analyzer.get_extension("template_assignment")
    positions, channels = analyzer.get_channel_locations(), best_of(analyzer)
    for axes, unit_id in zip(widget.axes, [13, 4], strict=True):
        counts = assignment.get_template_counts()[[list(analyzer.unit_ids).index(unit_id)]]
        counts = counts.toarray()[0]
        order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
        *sources, mean = waveforms(axes)
        assert len(sources) == order.size
        total = counts.sum()
        expected = []
        for t in order:
            expected.append(f"template {t}: {counts[t]:,} ({counts[t] / total:.0%})")
            peak = np.ptp(assignment.get_templates()[t], axis=0).argmax()
            if peak not in channels[unit_id]:
                expected[-1] += f", largest on channel {analyzer.channel_ids[peak]}"
        written = [text.get_text() for text in axes.get_legend().get_texts()]
        assert written == [*expected, "weighted mean"]
        assert unit_id == 4 or "largest on channel" in texts(axes)
        scale = scale_of(axes)
        for drawn, template_id in zip(sources, order, strict=True):
            values = shapes(drawn, positions, channels[unit_id]) / scale
            template = assignment.get_templates()[template_id][:, channels[unit_id]].T
            np.testing.assert_allclose(values, template, rtol=1e-4, atol=1e-3)
        weighted = assignment.get_unit_template(unit_id, "weighted_mean")[:, channels[unit_id]].T
        values = shapes(mean, positions, channels[unit_id]) / scale
        np.testing.assert_allclose(values, weighted, rtol=1e-4, atol=1e-3)
        lines = sorted((c for c in axes.collections), key=lambda c: c.get_zorder())[:-1]
        widths = [line.get_linewidth()[0] for line in lines]
        np.testing.assert_allclose(widths, 0.5 + 1.4 * counts[order] / counts.max())


def test_what_is_left_out_of_the_templates_is_said(analyzer):
    widget = sic.plot_unit_templates_by_source(analyzer, [13], max_templates=2)
    assert "1,330 spikes, 2 of 3 templates shown" in texts(widget.ax)
    whole = sic.plot_unit_templates_by_source(analyzer, [13])
    share = [scale_of(one.ax) for one in (widget, whole)]
    np.testing.assert_allclose(
        waveforms(widget.ax)[-1][..., 0], waveforms(whole.ax)[-1][..., 0], err_msg="the mean"
    )
    assert len(waveforms(widget.ax)) == 3
    assert share[0] == pytest.approx(share[1])


def test_amplitudes_in_microvolts_where_the_gain_is_known():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder(), gain_to_uV=2.34, offset_to_uV=0)
    analyzer.compute("template_best_channels")
    for axes in (
        sic.plot_best_channels(analyzer, [13]).axes[1],
        sic.plot_unit_templates_by_source(analyzer, [13]).ax,
    ):
        drawn = waveforms(axes)[0][0]  # of the best channel
        template = analyzer.get_extension("template_assignment").get_unit_template(13)
        largest = np.ptp(template, axis=0).max()
        assert np.ptp(drawn[:, 1]) / scale_of(axes, "µV") == pytest.approx(largest, rel=1e-4)


def test_no_text_lies_on_another(analyzer):
    for widget in (
        sic.plot_best_channels(analyzer, show_probe=False),
        sic.plot_unit_templates_by_source(analyzer),
    ):
        assert overlapping_texts(widget.figure) == []


def test_given_axes(analyzer):
    axes = Figure().subplots(1, 3)
    widget = sic.plot_best_channels(analyzer, [4, 13], axes=axes)
    assert widget.figure is axes[0].figure
    assert [one.get_title(loc="left")[:6] for one in axes] == ["best c", "unit 4", "unit 1"]
    with pytest.raises(sic.ParameterError, match="3 axes are given for 2 panels"):
        sic.plot_unit_templates_by_source(analyzer, [4, 13], axes=axes)


@pytest.mark.parametrize(("num_channels", "num_templates"), [(1, 2), (384, 30), (4, 3)])
@pytest.mark.slow
def test_pages(simulate, num_channels, num_templates):
    simulated = simulate(
        "kilosort2",
        num_channels=num_channels,
        num_templates=num_templates,
        num_spikes=500,
        write_features=False,
    )
    analyzer = sic.read_kilosort_as_analyzer(simulated.folder)
    analyzer.compute(["template_assignment", "template_best_channels"])
    figures = list(draw_best_channels_pages(analyzer))
    assert len(figures) == -(-len(analyzer.unit_ids) // UNITS_PER_PAGE)
    shown = [axes.get_title(loc="left") for figure in figures for axes in figure.axes]
    units = [title for title in shown if title != "best channels"]
    assert units == [f"unit {unit_id} · unsorted" for unit_id in analyzer.unit_ids]
    assert draw(figures[0]) > 1000


def test_missing_extensions_are_computed(analyzer):
    fresh = sic.read_kilosort_as_analyzer(sic.example_folder())
    drawn, expected = sic.plot_best_channels(fresh), sic.plot_best_channels(analyzer)
    for one, other in zip(drawn.axes[1:], expected.axes[1:], strict=True):
        np.testing.assert_array_equal(waveforms(one)[0], waveforms(other)[0])
    other = other_analyzer()
    other.delete_extension("templates")
    with pytest.raises(sic.MissingDataError, match="the figure needs template_assignment"):
        sic.plot_best_channels(other)
