"""`plot_amplitudes_over_time`, `plot_isi` and `plot_firing_rate` show exact numbers."""

import numpy as np
import pytest
import spikeinterface.core as sc
from matplotlib.figure import Figure

import si_curation as sic
from helpers.read_figures import draw, images, overlapping_texts, points, steps, texts
from si_curation.extensions.spikes_of_units import spikes_of_unit


@pytest.fixture(scope="module")
def analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(["template_best_channels", "template_features"])
    return analyzer


@pytest.fixture(scope="module")
def segments():
    """An analyzer of another sorter, two segments, string ids, one empty unit, one spike."""
    rng = np.random.default_rng(0)
    trains = [
        {
            "a": np.sort(rng.integers(0, length, 300)),
            "b": np.sort(rng.integers(0, length, 40)),
            "lone": np.array([77] if i == 1 else [], dtype=np.int64),
            "none": np.array([], dtype=np.int64),
        }
        for i, length in enumerate((50_000, 31_000))
    ]
    sorting = sc.NumpySorting.from_unit_dict(trains, 10_000.0)
    recording = sc.generate_recording(
        num_channels=4, durations=[5.0, 3.1], sampling_frequency=10_000.0, seed=0
    )
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "templates", "spike_amplitudes"], progress_bar=False)
    return analyzer


def times_of(analyzer, spikes):
    return analyzer.sorting.to_spike_vector()["sample_index"][spikes] / analyzer.sampling_frequency


# amplitudes


@pytest.mark.parametrize("kind", ["template", "template_feature", "feature"])
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
    name = {"template": "amplitude", "feature": "PC 1 on channel"}.get(kind, "projection onto unit")
    assert widget.ax.get_ylabel().startswith(name)
    assert "(arbitrary units)" in widget.ax.get_ylabel()


def test_histograms_are_densities_without_zeros(analyzer):
    widget = sic.plot_amplitudes_over_time(analyzer, [4, 10])
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
    for kind in ("template", "feature", "template_feature"):
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
    assert widget.ax.get_ylabel() == "amplitude (µV)"
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


# intervals


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


# rates


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
