"""`plot_features` and `plot_template_features` show the numbers of the features."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import si_curation as sic
from helpers.read_figures import draw, images, overlapping_texts, points, texts
from si_curation.extensions.spikes_of_units import spikes_of_unit


@pytest.fixture(scope="module")
def analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(["template_best_channels", "template_features"])
    return analyzer


def values_of(analyzer, unit_ids, channel_ids, components):
    """Times (n,) and features (n, d) in the order of phy: channels inside, components outside."""
    spikes = np.sort(np.concatenate([spikes_of_unit(analyzer, unit) for unit in unit_ids]))
    times = analyzer.sorting.to_spike_vector()["sample_index"][spikes] / 30000
    channels = [list(analyzer.channel_ids).index(channel) for channel in channel_ids]
    features = sic.get_spike_features(analyzer, spikes, channels)
    return times, np.column_stack(
        [features[:, c, p] for p in components for c in range(len(channels))]
    )


def check_grid(widget, clouds):
    """Check that panel (i, j) has dimension j along x, i along y, and the diagonal the time."""
    count = clouds[0][1].shape[1]
    panels = iter(widget.axes)
    for i in range(count):
        for j in range(i, count):
            axes = next(panels)
            found = points(axes)
            assert len(found) == len(clouds)
            for drawn, (times, features) in zip(found, clouds, strict=True):
                x = times if i == j else features[:, j]
                np.testing.assert_allclose(drawn, np.column_stack([x, features[:, i]]), rtol=1e-6)
    assert next(panels, None) is None


@pytest.mark.slow
@pytest.mark.parametrize("units", [[13], [4, 10], [13, (11, 12), 8]])
def test_features_in_the_grid_of_phy(analyzer, units):
    best = analyzer.get_extension("template_best_channels").get_data(outputs="ids")
    ids = [unit if isinstance(unit, tuple) else (unit,) for unit in units]
    common = [list(best[one[0]]) for one in ids]
    chosen = [c for c in common[-1] if all(c in other for other in common)]
    chosen = (chosen + [c for c in common[0] if c not in chosen])[:2]
    widget = sic.plot_features(analyzer, units, num_background_spikes=0)
    check_grid(widget, [values_of(analyzer, one, chosen, [0, 1]) for one in ids])
    assert len(widget.axes) == 10
    assert widget.axes[1].get_xlabel() == f"channel {chosen[1]}, PC 1"
    assert widget.axes[7].get_ylabel() == f"channel {chosen[0]}, PC 2\n(arbitrary units)"
    assert widget.axes[0].get_xlabel() == "time (s)"
    legend = widget.figure.axes[0].get_legend()
    assert [text.get_text().split(":")[0].split(" · ")[0] for text in legend.get_texts()] == [
        f"unit {one[0]}" if len(one) == 1 else "units 11 + 12" for one in ids
    ]


def test_channels_and_components_are_chosen(analyzer):
    channels = [analyzer.channel_ids[i] for i in (20, 5, 21)]
    widget = sic.plot_features(
        analyzer, [13], channel_ids=channels, components=[2], num_background_spikes=0
    )
    check_grid(widget, [values_of(analyzer, [13], channels, [2])])
    one = sic.plot_features(
        analyzer, [13], channel_ids=channels[:1], components=[5], num_background_spikes=0
    )
    check_grid(one, [values_of(analyzer, [13], channels[:1], [5])])
    assert "unit 13 · good: 1,330 spikes" in texts(one.ax)


def test_background_is_of_other_units_near_and_counted(analyzer):
    widget = sic.plot_features(analyzer, [4])
    grey = points(widget.ax)[0]
    best = analyzer.get_extension("template_best_channels").get_data(outputs="ids")
    shown = best[4][:2]
    others = [u for u in analyzer.unit_ids if u != 4 and np.isin(shown, best[u]).any()]
    assert others
    times, features = values_of(analyzer, others, shown, [0, 1])
    inside = np.abs(features[:, 0]) <= widget.ax.get_ylim()[1]
    expected = np.column_stack([times, features[:, 0]])
    np.testing.assert_allclose(grey, expected[inside], rtol=1e-6)
    outside = (np.abs(features) > widget.ax.get_ylim()[1]).any(axis=1).sum()
    said = widget.figure.axes[0].get_legend().get_texts()[0].get_text()
    assert 0 < outside < 10
    assert said == f"other units: {times.size:,} spikes, {outside} outside"
    few = sic.plot_features(analyzer, [4], num_background_spikes=100, max_spikes=50, seed=3)
    grey, own = points(few.ax)
    said = [text.get_text() for text in few.figure.axes[0].get_legend().get_texts()]
    assert said[0].startswith(f"other units: 100 of {times.size:,} spikes")
    assert said[1] == "unit 4 · unsorted: 50 of 909 spikes"
    assert len(own) == 50
    outside = int(said[0].split(", ")[-1].split()[0]) if "outside" in said[0] else 0
    assert 100 - outside <= len(grey) <= 100
    again = sic.plot_features(analyzer, [4], num_background_spikes=100, max_spikes=50, seed=3)
    np.testing.assert_array_equal(points(few.ax)[1], points(again.ax)[1])
    allowed = {tuple(row) for row in np.column_stack(values_of(analyzer, [4], shown, [0, 1])[1].T)}
    assert {tuple(row[::-1]) for row in points(few.axes[1])[1]} <= {row[:2] for row in allowed}


def test_many_spikes_are_a_density(analyzer):
    widget = sic.plot_features(analyzer, [4], num_background_spikes=0, max_points=100)
    assert all(not points(axes) for axes in widget.axes)
    assert [images(axes)[0].sum() for axes in widget.axes] == [909] * 10
    (said,) = widget.figure.axes[0].get_legend().get_texts()
    assert said.get_text() == "unit 4 · unsorted: 909 spikes, density (log)"


def test_wrong_choices_are_refused(analyzer):
    for arguments, match in (
        ({"components": [6]}, "components has 6, expected 0 to 5"),
        ({"components": [0, 0]}, "components"),
        ({"components": []}, "components"),
        ({"components": [-1]}, "components"),
        ({"channel_ids": []}, "channel_ids"),
    ):
        with pytest.raises(sic.ParameterError, match=match):
            sic.plot_features(analyzer, [4], **arguments)
    with pytest.raises(sic.ParameterError, match="empty"):
        sic.plot_features(analyzer, [])
    with pytest.raises(sic.UnknownIdError, match="no unit 77"):
        sic.plot_features(analyzer, [77])
    with pytest.raises(sic.UnknownIdError, match="no channel 'nowhere'"):
        sic.plot_features(analyzer, [4], channel_ids=["nowhere"])


def test_spikes_that_the_file_does_not_hold_are_counted(simulate):
    simulated = simulate("kilosort2", num_spikes=3000, num_templates=4, feature_rows=900)
    analyzer = sic.read_kilosort_as_analyzer(simulated.folder)
    unit = analyzer.unit_ids[0]
    widget = sic.plot_features(analyzer, [unit], num_background_spikes=0)
    spikes = spikes_of_unit(analyzer, unit)
    best = analyzer.compute("template_best_channels").get_data(outputs="indices")[unit]
    known = ~np.isnan(sic.get_spike_features(analyzer, spikes, best[:2])).any(axis=(1, 2))
    assert 0 < known.sum() < spikes.size
    assert len(points(widget.ax)[0]) == known.sum()
    said = widget.figure.axes[0].get_legend().get_texts()[0].get_text()
    assert said.endswith(f"{known.sum():,} of {spikes.size:,} spikes")


def test_folder_without_features(simulate):
    simulated = simulate("kilosort2", num_spikes=500, write_features=False)
    analyzer = sic.read_kilosort_as_analyzer(simulated.folder)
    with pytest.raises(sic.MissingDataError, match=r"no pc_features.npy"):
        sic.plot_features(analyzer, [0])
    with pytest.raises(sic.MissingDataError, match="template_features"):
        sic.plot_template_features(analyzer, 0, 1)


@pytest.mark.parametrize("pair", [(8, 9), (13, 10)])
def test_pair_of_units(analyzer, pair):
    widget = sic.plot_template_features(analyzer, *pair)
    expected = analyzer.get_extension("template_features").get_pair_projections(*pair)
    found = points(widget.ax)
    for drawn, values in zip(found, expected, strict=True):
        np.testing.assert_array_equal(drawn, values)
    assert widget.ax.get_xlabel() == f"projection onto unit {pair[0]} (arbitrary units)"
    assert widget.ax.get_ylabel() == f"projection onto unit {pair[1]} (arbitrary units)"
    assert f"unit {pair[0]} · " in texts(widget.ax)


def test_pair_with_units_drawn_as_merged(analyzer):
    session = sic.CurationSession(analyzer)
    merged = session.merge([10, 4])
    applied = session.apply()
    assert applied.has_extension("template_features")
    after = sic.plot_template_features(applied, 9, merged)
    before = sic.plot_template_features(analyzer, 9, (10, 4))
    assert len(points(before.ax)[1]) == 2052
    for one, other in zip(points(before.ax), points(after.ax), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_background_of_a_pair(analyzer):
    widget = sic.plot_template_features(analyzer, 8, 9, background=True, num_background_spikes=99)
    grey, first, second = points(widget.ax)
    assert "other units: 99 of " in texts(widget.ax)
    assert (len(first), len(second)) == (518, 672)
    extension = analyzer.get_extension("template_features")
    whole = sic.plot_template_features(analyzer, 8, 9, background=True, num_background_spikes=None)
    best = analyzer.get_extension("template_best_channels").get_data(outputs="indices")
    peaks = [best[8][0], best[9][0]]
    near = [u for u in analyzer.unit_ids if u not in (8, 9) and np.isin(peaks, best[u]).any()]
    spikes = np.sort(np.concatenate([spikes_of_unit(analyzer, u) for u in near]))
    onto = [extension.get_template_projections(spikes, t) for t in (8, 9)]
    expected = np.column_stack(onto)
    drawn = points(whole.ax)[0]
    axes = whole.ax
    inside = (expected >= [axes.get_xlim()[0], axes.get_ylim()[0]]).all(axis=1)
    inside &= (expected <= [axes.get_xlim()[1], axes.get_ylim()[1]]).all(axis=1)
    np.testing.assert_allclose(drawn, expected[inside], rtol=1e-6)
    rows = {tuple(row) for row in drawn}
    assert {tuple(row) for row in grey} <= rows | {tuple(row) for row in expected}


def test_pair_as_density(analyzer):
    widget = sic.plot_template_features(analyzer, 8, 9, max_points=600)
    assert [len(cloud) for cloud in points(widget.ax)] == [518]
    (counts,) = images(widget.ax)
    assert counts.sum() == 672
    assert f"1 to {counts.max():,} spikes per bin" in texts(widget.ax)


def test_no_text_lies_on_another(analyzer):
    for widget in (
        sic.plot_features(analyzer, [4, (11, 12)]),
        sic.plot_template_features(analyzer, 8, 9, background=True, num_background_spikes=10),
    ):
        assert overlapping_texts(widget.figure) == []
        assert draw(widget.figure) > 1000


def test_given_axes_and_parts_of_figures(analyzer):
    figure = Figure(figsize=(20, 10), layout="constrained")
    left, right = figure.subfigures(1, 2)
    axes = right.subplots()
    widget = sic.plot_template_features(analyzer, 8, 9, ax=axes)
    assert widget.ax is axes
    grid = sic.plot_features(analyzer, [4], figure=left)
    assert grid.figure is left
    assert len(left.axes) == 11
    panels = Figure().subplots(1, 3)
    widget = sic.plot_features(analyzer, [4], components=[0], axes=panels)
    assert "unit 4 · unsorted: 909 spikes" in texts(panels[0])
    assert draw(figure) > 1000


def test_mean_projections_are_those_of_the_oracle():
    from si_curation.kernels.feature_projections import weighted_mean_projections

    rng = np.random.default_rng(1)
    values = rng.normal(size=(50, 3)).astype(np.float32)
    index = np.array([rng.permutation([-1, 0, 1, 2, 3])[:3] for _ in range(50)])
    weights = [np.array([3, 0, 5, 1]), np.array([0, 2, 0, 0])]
    found = weighted_mean_projections(values, index, weights)
    for n in range(50):
        for j, weight in enumerate(weights):
            total = sum(
                weight[t] * float(v) for t, v in zip(index[n], values[n], strict=True) if t >= 0
            )
            assert found[n, j] == pytest.approx(total / weight.sum(), abs=1e-9)


def test_borders_of_sessions_are_lines_in_the_panels_over_time():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    bare = sic.plot_features(analyzer, [4], components=(0,))
    marked = sic.plot_features(analyzer, [4], components=(0,), borders=[25.0, 52.5])
    for k, (one, other) in enumerate(zip(bare.axes, marked.axes, strict=True)):
        lines = other.lines[len(one.lines) :]
        expected = [25.0, 52.5] if k in (0, 2) else []
        assert [line.get_xdata()[0] for line in lines] == expected
        assert one.get_xlim() == other.get_xlim()
