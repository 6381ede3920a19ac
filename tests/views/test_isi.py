"""`plot_isi` shows exact numbers."""

import numpy as np
import pytest

import si_curation as sic
from helpers.read_figures import steps, texts


@pytest.fixture(scope="module")
def analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(["template_best_channels", "template_features"])
    return analyzer


def intervals(analyzer, unit_ids):
    parts = []
    for segment in range(analyzer.get_num_segments()):
        trains = [
            analyzer.sorting.get_unit_spike_train(unit, segment_index=segment) for unit in unit_ids
        ]
        parts.append(np.diff(np.sort(np.concatenate(trains))))
    return np.concatenate(parts)


@pytest.mark.parametrize("unit", [13, (11, 12), (4, 10)])
def test_intervals_are_exact(analyzer, unit):
    ids = unit if isinstance(unit, tuple) else (unit,)
    widget = sic.plot_isi(analyzer, [unit], window_ms=30.0, bin_ms=0.3, refractory_period_ms=1.5)
    (histogram,) = steps(widget.ax)
    samples = intervals(analyzer, ids)
    expected, _ = np.histogram(samples[samples < 900], bins=np.arange(0, 901, 9))
    np.testing.assert_array_equal(histogram.values, expected)
    np.testing.assert_allclose(histogram.edges, np.arange(101) * 0.3)
    share = np.mean(samples < 45)
    assert f"{share:.2%} of intervals < 1.5 ms" in texts(widget.ax)
    (line,) = widget.ax.lines
    assert line.get_xdata()[0] == pytest.approx(1.5)


def test_intervals_are_those_of_the_correlograms(analyzer):
    analyzer.compute("cross_correlograms")
    counts, bins = analyzer.get_extension("cross_correlograms").get_isi_histogram(10)
    histogram = steps(sic.plot_isi(analyzer, [10], bin_ms=1.0).ax)[0]
    np.testing.assert_array_equal(histogram.values, counts)
    np.testing.assert_allclose(histogram.edges, bins)
    analyzer.delete_extension("cross_correlograms")


def test_log_spaced_intervals(analyzer):
    widget = sic.plot_isi(analyzer, [13], log=True)
    (histogram,) = steps(widget.ax)
    samples = intervals(analyzer, [13])
    edges = np.round(histogram.edges * 30).astype(int)
    np.testing.assert_allclose(edges / 30, histogram.edges)
    assert (edges[0], edges[-1]) == (1, 300_000)
    expected, _ = np.histogram(samples[samples < 300_000], bins=edges)
    np.testing.assert_array_equal(histogram.values, expected)
    zeros = np.count_nonzero(samples == 0)
    assert histogram.values.sum() + zeros == samples.size
    assert f"{zeros} intervals of 0 samples are not shown" in texts(widget.ax)
    assert widget.ax.get_xscale() == "log"


def test_intervals_do_not_cross_segments(segments):
    widget = sic.plot_isi(segments, ["a", "lone", "none", ("a", "b")], window_ms=5000, bin_ms=1)
    for axes, ids in zip(widget.axes, (["a"], ["lone"], ["none"], ["a", "b"]), strict=True):
        samples = intervals(segments, ids)
        assert steps(axes)[0].values.sum() == samples.size
    assert "1 spike" in texts(widget.axes[1])
    assert "no intervals" in texts(widget.axes[1])
    assert "0 spikes" in texts(widget.axes[2])


@pytest.mark.parametrize(
    "arguments", [{"window_ms": 0}, {"bin_ms": "1"}, {"bin_ms": 1e-4}, {"window_ms": np.nan}]
)
def test_wrong_bins(analyzer, arguments):
    with pytest.raises(sic.ParameterError):
        sic.plot_isi(analyzer, [4], **arguments)
    if "bin_ms" in arguments:
        with pytest.raises(sic.ParameterError):
            sic.plot_firing_rate(analyzer, [4], bin_s=-1)
