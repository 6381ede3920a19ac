"""Figures show the numbers of the extensions, and leave pyplot alone."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import LineCollection

import si_curation as sic
from si_curation.views.best_channels import (
    UNITS_PER_PAGE,
    draw_best_channels,
    draw_best_channels_pages,
)


@pytest.fixture(scope="module")
def analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(["template_assignment", "template_best_channels"])
    return analyzer


def waveforms(axes):
    (lines,) = [a for a in axes.collections if isinstance(a, LineCollection)]
    return lines.get_segments()[::-1]  # best channel first


def test_drawn_templates_are_those_of_the_extension(analyzer):
    figure = draw_best_channels(analyzer)
    assignment = analyzer.get_extension("template_assignment")
    channels = analyzer.get_extension("template_best_channels").get_data(outputs="indices")
    positions = analyzer.get_channel_locations()
    assert len(figure.axes) == 1 + len(analyzer.unit_ids)
    for axes, unit_id in zip(figure.axes[1:], analyzer.unit_ids, strict=True):
        assert f"unit {unit_id}" in axes.get_title(loc="left")
        template = assignment.get_unit_template(unit_id)
        drawn = waveforms(axes)
        assert len(drawn) == len(channels[unit_id])
        shapes = np.stack(
            [line[:, 1] - positions[c, 1] for line, c in zip(drawn, channels[unit_id], strict=True)]
        )
        expected = template[:, channels[unit_id]].T
        scale = np.ptp(shapes[0]) / np.ptp(expected[0])
        np.testing.assert_allclose(shapes, expected * scale, rtol=1e-4, atol=1e-3)


def test_probe_panel_marks_the_best_channels(analyzer):
    figure = draw_best_channels(analyzer, [4, 13])
    best = analyzer.get_extension("template_best_channels").get_data(outputs="indices")
    points = [line.get_xydata()[0] for line in figure.axes[0].lines[1:]]
    expected = analyzer.get_channel_locations()[[best[4][0], best[13][0]]]
    np.testing.assert_array_equal(points, expected)
    assert {text.get_text() for text in figure.axes[0].texts} == {"4", "13"}


def test_merged_unit_tells_its_templates(analyzer):
    figure = draw_best_channels(analyzer, [13])
    (text,) = [t.get_text() for t in figure.axes[1].texts]
    assert text == "1,330 spikes, template 1 (47% of 3)"


def test_pyplot_is_left_alone(analyzer):
    before = plt.get_fignums()
    list(draw_best_channels_pages(analyzer))
    assert plt.get_fignums() == before


@pytest.mark.parametrize(("num_channels", "num_templates"), [(1, 2), (384, 30), (4, 3)])
def test_sizes(tmp_path, num_channels, num_templates):
    sic.simulate_kilosort_folder(
        tmp_path / "sim",
        dialect="kilosort2",
        num_channels=num_channels,
        num_templates=num_templates,
        num_spikes=500,
        write_features=False,
    )
    analyzer = sic.read_kilosort_as_analyzer(tmp_path / "sim")
    analyzer.compute(["template_assignment", "template_best_channels"])
    figures = list(draw_best_channels_pages(analyzer))
    assert len(figures) == -(-len(analyzer.unit_ids) // UNITS_PER_PAGE)
    figures[0].savefig(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 1000


def test_missing_extensions_are_said(analyzer):
    fresh = sic.read_kilosort_as_analyzer(sic.example_folder())
    with pytest.raises(sic.MissingDataError, match="template_best_channels"):
        draw_best_channels(fresh)
