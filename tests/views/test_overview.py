"""The overviews: every panel has the numbers of its extension, and what is missing is said."""

import gc
import time
import weakref

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import si_curation as sic
from helpers.other_sorters import other_analyzer
from helpers.read_figures import draw, overlapping_texts, points, steps, texts, waveforms
from si_curation.views.widget import FigureWidget

NAMES = [
    "template_assignment",
    "template_best_channels",
    "template_features",
    "unit_similarity",
    "cross_correlograms",
]
UNIT_PANELS = [
    "templates",
    "correlogram",
    "isi",
    "amplitudes",
    "firing_rate",
    "contamination",
    "similarity",
    "features",
]
PAIR_PANELS = [
    "templates",
    "correlograms",
    "amplitudes",
    "firing_rate_a",
    "firing_rate_b",
    "merged_correlogram",
    "merged_isi",
    "template_features",
    "merged_contamination",
    "features",
]


@pytest.fixture(scope="module")
def analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(NAMES)
    return analyzer


def all_texts(figure):
    return "\n".join(
        text.get_text() for axes in figure.axes for text in axes.findobj(matplotlib.text.Text)
    )


@pytest.mark.parametrize("unit_id", [13, 4, (11, 12)])
def test_unit_panels_show_the_numbers_of_the_extensions(analyzer, unit_id):
    widget = sic.plot_unit_overview(analyzer, unit_id)
    assert list(widget.panels) == UNIT_PANELS
    assert all(isinstance(panel, FigureWidget) for panel in widget.panels.values())
    ids = list(unit_id) if isinstance(unit_id, tuple) else [unit_id]
    trains = [analyzer.sorting.get_unit_spike_train(one, segment_index=0) for one in ids]
    train = np.sort(np.concatenate(trains))
    session = sic.CurationSession(analyzer)
    after, merged = analyzer, unit_id
    if len(ids) > 1:
        merged = session.merge(ids)
        after = session.apply()
    assert f"· {train.size:,} spikes" in all_texts(widget.figure)
    # correlogram, intervals, rates, amplitudes, contamination
    expected, _ = after.get_extension("cross_correlograms").get_acg(merged)
    np.testing.assert_array_equal(steps(widget.panels["correlogram"].ax)[0].values, expected)
    bars = steps(widget.panels["isi"].ax)[0]
    intervals = np.diff(train) / analyzer.sampling_frequency * 1e3
    np.testing.assert_array_equal(bars.values, np.histogram(intervals, bars.edges)[0][:100])
    rates = steps(widget.panels["firing_rate"].ax)[0]
    assert (rates.values * np.diff(rates.edges)).sum() == pytest.approx(train.size)
    amplitudes = sic.get_spike_amplitudes(after, merged, "projection")
    drawn = points(widget.panels["amplitudes"].ax)[-1]
    np.testing.assert_allclose(np.sort(drawn[:, 1]), np.sort(amplitudes.amplitudes), rtol=1e-6)
    panel = sic.contamination_panel(after, unit_ids=[merged])
    value = widget.panels["contamination"].table["rp_contamination"].iloc[0]
    np.testing.assert_equal(value, panel["rp_contamination"].iloc[0])
    similar = after.get_extension("unit_similarity").get_similar_units(merged)
    widths = [bar.get_width() for bar in widget.panels["similarity"].ax.patches]
    np.testing.assert_array_equal(widths, similar["similarity"].head(len(widths)))
    np.testing.assert_allclose(
        waveforms(widget.panels["templates"].ax)[0].shape[0],
        len(after.get_extension("template_best_channels").get_best_channels(merged)),
    )


def test_key_numbers(analyzer):
    analyzer = analyzer.copy()
    analyzer.compute("curation_metrics")
    numbers = sic.plot_unit_overview(analyzer, 13).numbers
    metrics = analyzer.get_extension("curation_metrics").get_data().loc[13]
    assert numbers["spikes"] == "1,330"
    assert numbers["firing rate"] == f"{1330 / analyzer.get_total_duration():.3g} Hz"
    assert numbers["most frequent"] == "1 (47%)"
    assert numbers["best channel"] == str(metrics["best_channel_id"])
    assert numbers["depth"] == f"{metrics['depth_um']:.5g} µm"
    assert numbers["peak to peak"] == f"{metrics['amp']:.3g} raw units"
    assert numbers["presence ratio"] == f"{metrics['presence_ratio']:.3g}"
    assert numbers["KSLabel"] == analyzer.sorting.get_property("KSLabel")[-1]
    merged = sic.plot_unit_overview(analyzer, (13, 4)).numbers
    assert merged["spikes"] == "2,239"
    assert merged["templates"] == "4"
    assert merged["most frequent"] == "4 (41%)"


def test_gain_gives_microvolts():
    analyzer = sic.read_kilosort_as_analyzer(
        sic.example_folder(), gain_to_uV=0.195, offset_to_uV=0.0
    )
    assert sic.plot_unit_overview(analyzer, 4).numbers["peak to peak"].endswith(" µV")


@pytest.mark.parametrize("pair", [(11, 12), (4, 10), (13, (11, 12))])
def test_pair_panels_show_the_numbers_of_the_extensions(analyzer, pair):
    widget = sic.plot_pair_overview(analyzer, *pair)
    assert list(widget.panels) == PAIR_PANELS
    assert not any(isinstance(panel, str) for panel in widget.panels.values())
    groups = [list(one) if isinstance(one, tuple) else [one] for one in pair]
    session = sic.CurationSession(analyzer)
    merged = session.merge(groups[0] + groups[1])
    after = session.apply()
    expected, _ = after.get_extension("cross_correlograms").get_acg(merged)
    np.testing.assert_array_equal(steps(widget.panels["merged_correlogram"].ax)[0].values, expected)
    table = widget.panels["merged_contamination"].table.reset_index(drop=True)
    panel = sic.contamination_panel(after, unit_ids=[merged]).reset_index(drop=True)
    pd.testing.assert_frame_equal(table, panel)
    counts = analyzer.sorting.count_num_spikes_per_unit()
    for name, group in zip(("firing_rate_a", "firing_rate_b"), groups, strict=True):
        rates = steps(widget.panels[name].ax)[0]
        total = sum(counts[one] for one in group)
        assert (rates.values * np.diff(rates.edges)).sum() == pytest.approx(total)
    matrix = widget.panels["correlograms"].axes
    sums = [steps(axes)[0].values.sum() for axes in matrix]
    # all pairs of spikes of both together are those of each and between them
    assert sum(sums) == expected.sum()
    clouds = points(widget.panels["template_features"].ax)
    assert [len(c) for c in clouds] == [sum(counts[one] for one in group) for group in groups]
    if pair == (4, 10):
        x, y = analyzer.get_extension("template_features").get_pair_projections(4, 10)
        np.testing.assert_allclose(clouds[0], x, rtol=1e-5)
        np.testing.assert_allclose(clouds[1], y, rtol=1e-5)


@pytest.mark.slow
def test_evidence_is_that_of_suggest_merges(analyzer):
    widget = sic.plot_pair_overview(analyzer, 11, 12)
    expected = sic.suggest_merges(analyzer).table.iloc[0]
    pd.testing.assert_series_equal(widget.evidence, expected)
    written = all_texts(widget.figure)
    assert f"{expected['score']:.2g}" in written
    assert expected["reason"] in written.replace("\n", " ")
    swapped = sic.plot_pair_overview(analyzer, 12, 11)
    pd.testing.assert_series_equal(swapped.evidence, expected)
    assert "two units" in sic.plot_pair_overview(analyzer, 13, (11, 12)).evidence


def test_both_templates_are_drawn_in_one_scale(analyzer):
    axes = sic.plot_pair_overview(analyzer, 4, 10).panels["templates"]
    assignment = analyzer.get_extension("template_assignment")
    best = analyzer.get_extension("template_best_channels").get_data(outputs="indices")
    channels = list(dict.fromkeys([*best[4], *best[10]]))
    positions = analyzer.get_channel_locations()[channels]
    scales = []
    found = [one for one in waveforms(axes) if len(one) == len(channels)]
    for drawn, unit_id in zip(found, (4, 10), strict=True):
        values = (drawn[:, :, 1] - positions[:, [1]]).T
        template = assignment.get_unit_template(unit_id)[:, channels]
        scales.append(np.ptp(values) / np.ptp(template))
        np.testing.assert_allclose(values, template * scales[-1], atol=1e-3)
    assert scales[0] == pytest.approx(scales[1])


@pytest.mark.slow
def test_what_is_missing_is_computed():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    widget = sic.plot_unit_overview(analyzer, 13)
    pair = sic.plot_pair_overview(analyzer, 11, 12)
    for one in (widget, pair):
        assert not [panel for panel in one.panels.values() if isinstance(panel, str)]
        assert overlapping_texts(one.figure) == []
    assert not isinstance(pair.evidence, str)
    assert all(analyzer.has_extension(name) for name in NAMES)


@pytest.mark.slow
def test_what_cannot_be_computed_is_said():
    analyzer = other_analyzer()
    pair = sic.plot_pair_overview(analyzer, "a", "b")
    assert (
        "computed from the traces: analyzer.compute('template" in pair.panels["template_features"]
    )
    analyzer = other_analyzer()
    analyzer.delete_extension("templates")
    widget = sic.plot_unit_overview(analyzer, "a")
    missing = {name for name, panel in widget.panels.items() if isinstance(panel, str)}
    assert {"templates", "similarity"} <= missing
    assert "unit_similarity cannot be computed" in all_texts(widget.figure).replace("\n", " ")
    pair = sic.plot_pair_overview(analyzer, "a", "b")
    missing = {name for name, panel in pair.panels.items() if isinstance(panel, str)}
    assert {"templates", "template_features"} <= missing
    assert not isinstance(pair.panels["correlograms"], str)
    for one in (widget, pair):
        assert draw(one.figure) > 10_000
        assert overlapping_texts(one.figure) == []


@pytest.mark.parametrize("units", [("one", "a"), ("none", "b"), ("a", "b"), ("one", "none")])
@pytest.mark.parametrize("extensions", [[], NAMES])
@pytest.mark.slow
def test_another_sorter_string_ids_one_spike_and_none(units, extensions):
    analyzer = other_analyzer()
    if extensions:
        analyzer.compute("spike_amplitudes")
        analyzer.compute([name for name in extensions if name != "template_features"])
    widget = sic.plot_unit_overview(analyzer, units[0])
    assert isinstance(widget.panels["features"], str)
    assert not isinstance(widget.panels["similarity"], str)
    assert draw(widget.figure) > 10_000
    pair = sic.plot_pair_overview(analyzer, *units)
    assert isinstance(pair.evidence, str) == ("none" in units)
    assert draw(pair.figure) > 10_000
    total = sum(analyzer.sorting.count_num_spikes_per_unit()[one] for one in units)
    assert pair.panels["merged_contamination"].table["num_spikes"].iloc[0] == total


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dialect", "num_channels", "with_features"),
    [("kilosort4", 1, True), ("kilosort2", 384, False), ("kilosort1", 16, True)],
)
def test_sizes_and_no_features(simulate, dialect, num_channels, with_features):
    folder = simulate(
        dialect,
        num_templates=10,
        num_channels=num_channels,
        num_spikes=1500,
        num_empty_templates=1,
        write_features=with_features,
        curation=[("merge", [2, 3])],
    ).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    analyzer.compute([name for name in NAMES if with_features or name != "template_features"])
    for unit_id in (analyzer.unit_ids[0], analyzer.unit_ids[-1], tuple(analyzer.unit_ids[:3])):
        widget = sic.plot_unit_overview(analyzer, unit_id)
        assert isinstance(widget.panels["features"], str) == (not with_features)
        assert overlapping_texts(widget.figure) == []
        assert draw(widget.figure) > 10_000
    pair = sic.plot_pair_overview(analyzer, *analyzer.unit_ids[:2])
    assert isinstance(pair.panels["features"], str) == (not with_features)
    assert overlapping_texts(pair.figure) == []
    assert draw(pair.figure) > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ks1_phy_curated", "ks4_phy_curated", "np1_without_params"])
def test_texts_do_not_overlap_on_real_folders(shared_data, name):
    analyzer = sic.read_kilosort_as_analyzer(shared_data / name, sampling_frequency=30_000.0)
    some = [extension for extension in NAMES if extension != "template_features"]
    analyzer.compute(some if name.startswith("np1") else NAMES)
    units = list(analyzer.unit_ids)
    for unit_id in (units[0], units[-1], tuple(units[-3:])):
        assert overlapping_texts(sic.plot_unit_overview(analyzer, unit_id).figure) == []
    for pair in (units[-2:], [units[0], tuple(units[2:4])]):
        assert overlapping_texts(sic.plot_pair_overview(analyzer, *pair).figure) == []


@pytest.mark.slow
def test_given_figures_and_errors(analyzer):
    figure = Figure(figsize=(20, 9), layout="constrained")
    left, right = figure.subfigures(1, 2)
    widget = sic.plot_unit_overview(analyzer, 4, figure=left)
    other = sic.plot_pair_overview(analyzer, 4, 10, figure=right)
    assert (widget.figure, other.figure) == (left, right)
    assert draw(figure) > 10_000
    assert sic.plot_unit_overview(analyzer, 4, figsize=(8, 6)).figure.get_figwidth() == 8
    with pytest.raises(sic.ParameterError, match="give figure, not ax"):
        sic.plot_unit_overview(analyzer, 4, ax=Figure().subplots())
    with pytest.raises(sic.UnknownIdError):
        sic.plot_unit_overview(analyzer, 99)
    with pytest.raises(sic.UnknownIdError):
        sic.plot_pair_overview(analyzer, 4, 99)
    with pytest.raises(sic.ParameterError, match="in common"):
        sic.plot_pair_overview(analyzer, 4, (4, 10))


@pytest.mark.slow
def test_pages_are_vectors(analyzer, tmp_path):
    widget = sic.plot_unit_overview(analyzer, 4)
    widget.figure.savefig(tmp_path / "page.svg", metadata={"Date": None})
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        widget.figure.savefig(tmp_path / "text.svg", metadata={"Date": None})
    assert "auto-correlogram" in (tmp_path / "text.svg").read_text(encoding="utf-8")
    widget.figure.savefig(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").stat().st_size > 10_000


@pytest.mark.slow
def test_500_units_leave_pyplot_and_memory_alone(simulate):
    folder = simulate(
        "kilosort2", num_templates=500, num_channels=8, num_spikes=10_000, write_features=False
    ).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    analyzer.compute(["template_best_channels", "unit_similarity"])
    analyzer.compute("cross_correlograms", pairs="auto")
    before, settings = plt.get_fignums(), dict(matplotlib.rcParams)
    figures = []
    for unit_id in analyzer.unit_ids[::3]:
        widget = sic.plot_cross_correlograms(analyzer, [unit_id], unit_colors={unit_id: "k"})
        figures.append(weakref.ref(widget.figure))
    for unit_id in analyzer.unit_ids[:5]:
        figures.append(weakref.ref(sic.plot_unit_overview(analyzer, unit_id).figure))
    del widget
    assert len(figures) == 172
    # a call of `gc.collect` does nothing while another thread is collecting
    for _ in range(50):
        gc.collect()
        kept = [i for i, figure in enumerate(figures) if figure() is not None]
        if not kept:
            break
        time.sleep(0.1)
    holders = [type(each) for i in kept[:1] for each in gc.get_referrers(figures[i]())]
    assert not kept, f"figures {kept} are kept by {holders}"
    assert plt.get_fignums() == before
    assert dict(matplotlib.rcParams) == settings


@pytest.mark.slow
def test_titles_say_which_unit(analyzer):
    words = all_texts(sic.plot_unit_overview(analyzer, 13).figure)
    assert "unit 13 · good · 1,330 spikes" in words
    words = all_texts(sic.plot_pair_overview(analyzer, 4, (11, 12)).figure)
    assert "unit 4" in words
    assert "units 11 + 12 · unsorted · 383 spikes" in words
    assert "contamination of both together" in texts(
        sic.plot_pair_overview(analyzer, 4, 10).panels["merged_contamination"].ax
    )


@pytest.mark.slow
def test_borders_of_sessions_are_drawn_on_both_pages():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    sic.set_session_borders(analyzer, [25.0], names=["baseline", "drug"])
    unit = sic.plot_unit_overview(analyzer, 13)
    pair = sic.plot_pair_overview(analyzer, 11, 12)
    panels = [unit.panels[name] for name in ("amplitudes", "firing_rate")]
    panels += [pair.panels[name] for name in ("amplitudes", "firing_rate_a", "firing_rate_b")]
    for panel in panels:
        assert "drug" in [text.get_text() for text in panel.ax.texts]
    without = sic.plot_unit_overview(analyzer, 13, borders=None).panels["firing_rate"]
    assert "drug" not in [text.get_text() for text in without.ax.texts]
