"""`plot_cross_correlograms` shows the counts of the extension, of merged units too."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from spikeinterface.core import NumpySorting

import si_curation as sic
from helpers.analyzers import create_like
from helpers.other_sorters import other_analyzer
from helpers.read_figures import draw, overlapping_texts, steps

NAME = "cross_correlograms"
CONVENTIONS = ("spikeinterface", "phy", "centered")
REAL = ("ks4_phy_curated", "ks1_phy_curated", "np1_without_params")


@pytest.fixture(scope="module")
def analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(["template_best_channels", NAME])
    return analyzer


def merged_analyzer(analyzer, units):
    session = sic.CurationSession(analyzer)
    unit_id = session.merge(list(units))
    return session.apply(), unit_id


def drawn(widget, row, column):
    n = round(len(widget.axes) ** 0.5)
    return steps(widget.axes[row * n + column])


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("normalization", ["counts", "hz", "probability"])
@pytest.mark.slow
def test_drawn_counts_are_those_of_the_extension(analyzer, convention, normalization):
    units = [4, 13, 7]
    widget = sic.plot_cross_correlograms(
        analyzer, units, convention=convention, normalization=normalization
    )
    extension = analyzer.get_extension(NAME)
    baseline = extension.get_baseline()
    duration, spikes = analyzer.get_total_duration(), analyzer.sorting.count_num_spikes_per_unit()
    for row, a in enumerate(units):
        for column, b in enumerate(units):
            values, bins = extension.get_ccg(a, b, convention, normalization)
            bars, line = drawn(widget, row, column)
            np.testing.assert_array_equal(bars.values, values)
            np.testing.assert_array_equal(bars.edges, bins)
            of_pair = baseline[analyzer.sorting.id_to_index(a), analyzer.sorting.id_to_index(b)]
            expected = {
                "counts": of_pair,
                "hz": spikes[b] / duration,
                "probability": of_pair / spikes[a],
            }[normalization]
            np.testing.assert_allclose(line.values, expected)
            refractory = [x.get_xdata()[0] for x in widget.axes[row * 3 + column].lines]
            assert refractory == [-2.0, 2.0]
    sign = "column − row" if convention == "phy" else "row − column"
    assert widget.figure.get_supxlabel() == f"lag, {sign} (ms)"


@pytest.mark.parametrize("name", REAL)
def test_merged_units_have_the_counts_that_they_would_have(shared_data, name):
    analyzer = sic.read_kilosort_as_analyzer(shared_data / name, sampling_frequency=30_000.0)
    counts = analyzer.sorting.count_num_spikes_per_unit()
    largest = sorted(counts, key=lambda unit: -counts[unit])[:4]
    together, other = tuple(largest[:3]), largest[3]
    total = 0
    after, merged = merged_analyzer(analyzer, together)
    analyzer.compute(NAME)
    expected = after.compute(NAME)
    for convention in CONVENTIONS:
        widget = sic.plot_cross_correlograms(analyzer, [together, other], convention=convention)
        for row, a in enumerate((merged, other)):
            for column, b in enumerate((merged, other)):
                values, _ = expected.get_ccg(a, b, convention)
                total += int(values.sum())
                np.testing.assert_array_equal(drawn(widget, row, column)[0].values, values)
        assert total > 0
        rows = [after.sorting.id_to_index(unit) for unit in (merged, other)]
        baseline = expected.get_baseline()[np.ix_(rows, rows)]
        lines = [[drawn(widget, i, j)[1].values[0] for j in (0, 1)] for i in (0, 1)]
        np.testing.assert_allclose(lines, baseline)


@pytest.mark.parametrize(
    "name", [pytest.param("ks1_phy_curated", marks=pytest.mark.slow), "ks4_phy_curated"]
)
def test_as_phy_draws_it(shared_data, name):
    expected = np.load(shared_data / name / "phy_ccg.npy")
    analyzer = sic.read_kilosort_as_analyzer(shared_data / name)
    fs = analyzer.sampling_frequency
    spikes = analyzer.sorting.to_spike_vector().copy()
    # phy goes from samples to seconds and back and cuts off
    spikes["sample_index"] = ((spikes["sample_index"] / fs) * fs).astype(np.int64)
    other = create_like(analyzer, NumpySorting(spikes, fs, analyzer.unit_ids))
    other.compute(NAME, convention="phy")
    used = np.sort(analyzer.unit_ids[np.unique(spikes["unit_index"])])
    some = np.linspace(0, used.size - 1, 6).astype(int)
    widget = sic.plot_cross_correlograms(other, used[some])
    found = np.array([[drawn(widget, i, j)[0].values for j in range(6)] for i in range(6)])
    np.testing.assert_array_equal(found, expected[np.ix_(some, some)])


@pytest.mark.parametrize("params", [{"pairs": "auto"}, {"pairs": "neighbours"}, {"bins": "log"}])
@pytest.mark.slow
def test_whatever_is_stored(analyzer, params):
    other = analyzer.copy()
    extension = other.compute(NAME, **params)
    complete = analyzer.copy()  # an extension does not keep its analyzer
    all_pairs = complete.compute(NAME, **{**params, "pairs": "all"})
    units = list(analyzer.unit_ids)
    widget = sic.plot_cross_correlograms(other)
    for row, a in enumerate(units):
        for column, b in enumerate(units):
            values, bins = all_pairs.get_ccg(a, b)
            bars, line = drawn(widget, row, column)
            np.testing.assert_array_equal(bars.values, values)
            np.testing.assert_array_equal(bars.edges, bins)
    assert (np.ptp(line.values) > 0) == (params.get("bins") == "log")
    # merged: all the pairs of spikes of the parts
    groups = [[0, 1, 5], [2], [5, 2]]
    found = extension.get_group_correlograms(groups).values
    np.testing.assert_array_equal(found, all_pairs.get_group_correlograms(groups).values)


def test_log_bins_have_the_baseline_of_their_widths(analyzer):
    other = analyzer.copy()
    other.compute(NAME, bins="log", window_ms=1000.0)
    bars, line = drawn(sic.plot_cross_correlograms(other, [13]), 0, 0)
    rate = 1330**2 / other.get_total_duration()
    width_s = np.diff(bars.edges) * 1e-3
    np.testing.assert_allclose(line.values[-3:], rate * width_s[-3:])
    assert sic.plot_cross_correlograms(other, [13]).ax.get_xscale() == "symlog"


@pytest.mark.slow
def test_string_ids_one_spike_and_none():
    analyzer = other_analyzer()
    analyzer.compute(NAME)
    widget = sic.plot_cross_correlograms(analyzer, normalization="hz")
    titles = [axes.get_title() for axes in widget.axes[::5]]
    assert titles == ["a · 600 spikes", "b · 600 spikes", "one · 1 spike", "none · 0 spikes"]
    words = [[text.get_text() for text in axes.texts] for axes in widget.axes[::5]]
    assert words == [[], [], ["one spike"], ["no spikes"]]
    assert [t.get_text() for t in widget.axes[3].texts] == ["no spikes"]
    assert draw(widget.figure) > 1000
    together = sic.plot_cross_correlograms(analyzer, [("a", "b", "one", "none")])
    assert together.ax.get_title() == "units a + b + one + none · 1,201 spikes"
    alone = analyzer.get_extension(NAME).get_data()[0].sum(axis=(0, 1))
    np.testing.assert_array_equal(drawn(together, 0, 0)[0].values, alone)


def test_given_axes_figures_colours_and_lines(analyzer):
    figure = Figure()
    axes = figure.subplots(2, 2)
    colors = {4: "#112233", 7: "#445566"}
    widget = sic.plot_cross_correlograms(
        analyzer, [4, 7], axes=axes, unit_colors=colors, baseline=False, refractory_period_ms=None
    )
    assert widget.figure is figure
    assert all(len(steps(panel)) == 1 and not panel.lines for panel in axes.ravel())
    assert axes[0, 0].patches[0].get_facecolor() == to_rgba("#112233")
    assert axes[1, 1].patches[0].get_facecolor() == to_rgba("#445566")
    assert axes[1, 0].get_xlabel() == "lag, row − column (ms)"
    sub = Figure().subfigures(1, 2)
    assert sic.plot_cross_correlograms(analyzer, [4], figure=sub[1]).figure is sub[1]
    ax = Figure().subplots()
    assert sic.plot_cross_correlograms(analyzer, [4], ax=ax).ax is ax
    with pytest.raises(sic.ParameterError, match="3 axes are given for 4"):
        sic.plot_cross_correlograms(analyzer, [4, 7], axes=axes.ravel()[:3])


@pytest.mark.slow
def test_texts_do_not_overlap(analyzer):
    for units in (None, [4], [(4, 13), 7], [(11, 12, 13, 4)]):
        assert overlapping_texts(sic.plot_cross_correlograms(analyzer, units).figure) == []


def test_what_cannot_be_drawn_is_said(analyzer):
    with pytest.raises(sic.ParameterError, match="refractory_period_ms"):
        sic.plot_cross_correlograms(analyzer, refractory_period_ms=0)
    with pytest.raises(sic.ParameterError, match="normalization"):
        sic.plot_cross_correlograms(analyzer, normalization="rate")
    with pytest.raises(sic.ParameterError, match="empty"):
        sic.plot_cross_correlograms(analyzer, [])
    with pytest.raises(sic.UnknownIdError):
        sic.plot_cross_correlograms(analyzer, [99])


@pytest.mark.slow
def test_many_units_come_in_pages(simulate):
    analyzer = sic.read_kilosort_as_analyzer(
        simulate("kilosort2", num_templates=30, num_channels=8, num_spikes=900).folder
    )
    analyzer.compute(NAME, pairs="auto")
    widget = sic.plot_cross_correlograms(analyzer, page=3)
    assert widget.axes[0].get_title().startswith(f"{analyzer.unit_ids[24]} · ")
    assert plt.get_fignums() == []
