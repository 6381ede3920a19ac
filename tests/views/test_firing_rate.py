"""`plot_firing_rate` shows exact numbers."""

import numpy as np
import pytest

import si_curation as sic
from helpers.read_figures import steps, texts


@pytest.fixture(scope="module")
def analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(["template_best_channels", "template_features"])
    return analyzer


def test_rates_are_counts_over_widths(analyzer):
    widget = sic.plot_firing_rate(analyzer, [13, (11, 12)], bin_s=7.0)
    num_samples = analyzer.get_num_samples()
    edges = np.append(np.arange(0, num_samples, 210_000), num_samples)
    for axes, ids in zip(widget.axes, ([13], [11, 12]), strict=True):
        spikes = np.concatenate([analyzer.sorting.get_unit_spike_train(i) for i in ids])
        counts, _ = np.histogram(spikes, bins=edges)
        (histogram,) = steps(axes)
        np.testing.assert_allclose(histogram.edges, edges / 30_000)
        np.testing.assert_allclose(histogram.values, counts / np.diff(edges / 30_000))
        mean = spikes.size / analyzer.get_total_duration()
        assert axes.lines[0].get_ydata()[0] == pytest.approx(mean)
        assert f"{spikes.size:,} spikes, mean {mean:.3g} Hz, bins of 7 s" in texts(axes)
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("time (s)", "rate (Hz)")


def test_rates_over_segments(segments):
    widget = sic.plot_firing_rate(segments, bin_s=2.0)
    for axes, unit in zip(widget.axes, segments.unit_ids, strict=True):
        (histogram,) = steps(axes)
        np.testing.assert_allclose(histogram.edges, [0, 2, 4, 5, 7, 8.1])
        expected = []
        for segment, edges in enumerate(([0, 20_000, 40_000, 50_000], [0, 20_000, 31_000])):
            train = segments.sorting.get_unit_spike_train(unit, segment_index=segment)
            expected.extend(np.histogram(train, bins=edges)[0])
        counts = histogram.values * np.diff(histogram.edges)
        np.testing.assert_allclose(counts, expected, atol=1e-9)
        assert [line.get_xdata()[0] for line in axes.lines[1:]] == [5.0]
    assert "no spikes" in texts(widget.axes[3])


def test_bins_of_rates_are_round_and_few(analyzer):
    edges = steps(sic.plot_firing_rate(analyzer, [13]).ax)[0].edges
    assert np.diff(edges)[0] == pytest.approx(1.0)
    assert len(edges) - 1 <= 100


def test_borders_of_sessions_are_lines_with_names(analyzer):
    borders = sic.session_borders(analyzer, [25.0, 52.5], names=["baseline", "drug", "wash"])
    for given in (borders, [750_000, 1_575_000]):
        axes = sic.plot_firing_rate(analyzer, [13], borders=given).ax
        places = [line.get_xdata()[0] for line in axes.lines[1:]]
        assert places == [25.0, 52.5]
    axes = sic.plot_firing_rate(analyzer, [13], borders=borders).ax
    names = [t.get_text() for t in axes.texts if t.get_text() in borders.names]
    assert names == ["baseline", "drug", "wash"]
    assert axes.get_xlim() == sic.plot_firing_rate(analyzer, [13]).ax.get_xlim()
    assert len(sic.plot_firing_rate(analyzer, [13]).ax.lines) == 1


def test_known_borders_are_drawn_unless_they_are_not_wanted(analyzer):
    kept = analyzer.copy()
    sic.set_session_borders(kept, [25.0])
    assert len(sic.plot_firing_rate(kept, [13]).ax.lines) == 2
    assert len(sic.plot_firing_rate(kept, [13], borders=None).ax.lines) == 1
    assert len(sic.plot_firing_rate(kept, [13], borders=[20.0, 30.0]).ax.lines) == 3


def test_names_that_have_no_room_are_shortened_or_left_out(analyzer):
    names = ["a very long name of a session that cannot be written in a panel", "x" * 50, "end"]
    borders = sic.session_borders(analyzer, [40.0, 40.1], names=names)
    axes = sic.plot_firing_rate(analyzer, [13], borders=borders).ax
    written = [t.get_text() for t in axes.texts]
    assert any(text.endswith("…") and text[:-1] == names[0][: len(text) - 1] for text in written)
    assert not any("xx" in text for text in written)
    assert "end" in written


def test_borders_that_cannot_be_drawn_are_an_error(analyzer):
    with pytest.raises(sic.ParameterError, match=r"below 79\.99"):
        sic.plot_firing_rate(analyzer, [13], borders=[90.0])
    with pytest.raises(sic.ParameterError, match="borders is 'files'"):
        sic.plot_firing_rate(analyzer, [13], borders="files")
