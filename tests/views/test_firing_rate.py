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
