"""Every figure on hostile input: it draws, or one clear error says what is not there."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import spikeinterface.core as sc
from matplotlib.figure import Figure

import si_curation as sic
from helpers.read_figures import draw, points, steps, texts, waveforms

pytestmark = pytest.mark.slow

EACH = [
    sic.plot_best_channels,
    sic.plot_unit_templates_by_source,
    sic.plot_features,
    sic.plot_amplitudes_over_time,
    sic.plot_isi,
    sic.plot_firing_rate,
]


@pytest.fixture(scope="module")
def hostile(simulate):
    """A curated folder with templates without spikes, NaN or 0, and a unit of one spike."""
    simulated = simulate(
        num_templates=12,
        num_channels=24,
        num_spikes=2000,
        num_empty_templates=1,
        num_zero_templates=1,
        num_nan_templates=1,
        curation=[("merge", [1, 2])],
    )
    analyzer = sic.read_kilosort_as_analyzer(simulated.folder)
    session = sic.CurationSession(analyzer)
    spikes = np.arange(session.table.num_spikes[5])
    session.split(5, [spikes[:1], spikes[1:]])
    analyzer = session.apply()
    analyzer.compute(["template_best_channels", "template_features"])
    return analyzer


@pytest.fixture(scope="module")
def with_empty(hostile):
    """The same with a unit that lost all its spikes."""
    vector = hostile.sorting.to_spike_vector()
    sorting = sc.NumpySorting(vector.copy(), hostile.sampling_frequency, [*hostile.unit_ids, 999])
    analyzer = sc.create_sorting_analyzer(
        sorting,
        sc.generate_recording(
            num_channels=4,
            durations=[hostile.get_total_duration()],
            sampling_frequency=hostile.sampling_frequency,
        ),
        sparse=False,
    )
    analyzer.compute(["random_spikes", "templates", "spike_amplitudes"], progress_bar=False)
    analyzer.compute(["template_assignment", "template_best_channels"])
    return analyzer


def lone_unit(analyzer):
    counts = analyzer.sorting.count_num_spikes_per_unit()
    return next(unit for unit, count in counts.items() if count == 1)


@pytest.mark.parametrize("plot", EACH)
def test_every_unit_of_a_hostile_folder(hostile, plot):
    best = hostile.get_extension("template_best_channels").get_data(outputs="indices")
    for unit_id in hostile.unit_ids:
        few = {"components": [0]} if plot is sic.plot_features else {}
        if few and best[unit_id].size == 0:
            with pytest.raises(sic.MissingDataError, match="has no template with signal"):
                plot(hostile, [unit_id])
            continue
        assert draw(plot(hostile, [unit_id], **few).figure) > 1000


def test_unit_with_one_spike(hostile):
    unit = lone_unit(hostile)
    spike = np.flatnonzero(
        hostile.sorting.to_spike_vector()["unit_index"] == list(hostile.unit_ids).index(unit)
    )
    (amplitude,) = sic.get_spike_amplitudes(hostile, unit, "projection").amplitudes
    widget = sic.plot_amplitudes_over_time(hostile, [unit], background=False)
    assert points(widget.ax)[0][:, 1].tolist() == [pytest.approx(amplitude)]
    assert "1 spike" in texts(widget.ax)
    assert steps(sic.plot_isi(hostile, [unit]).ax)[0].values.sum() == 0
    rate = steps(sic.plot_firing_rate(hostile, [unit]).ax)[0]
    assert (rate.values * np.diff(rate.edges)).sum() == pytest.approx(1)
    cloud = points(sic.plot_features(hostile, [unit], num_background_spikes=0).axes[1])[0]
    channels = hostile.get_extension("template_best_channels").get_data(outputs="indices")[unit]
    values = sic.get_spike_features(hostile, spike, channels[:2])[0]
    np.testing.assert_allclose(cloud, [[values[1, 0], values[0, 0]]])
    other = next(u for u in hostile.unit_ids if hostile.sorting.get_unit_spike_train(u).size > 50)
    pair = points(sic.plot_template_features(hostile, unit, other).ax)
    assert len(pair[0]) == 1
    assert len(waveforms(sic.plot_unit_templates_by_source(hostile, [unit]).ax)) == 2


def test_empty_unit(with_empty):
    for plot, said in (
        (sic.plot_best_channels, "no template"),
        (sic.plot_unit_templates_by_source, "no template"),
        (sic.plot_amplitudes_over_time, "no spikes"),
        (sic.plot_isi, "no intervals"),
        (sic.plot_firing_rate, "no spikes"),
    ):
        widget = plot(with_empty, [999])
        assert said in texts(widget.axes[-1])
        assert "0 spikes" in texts(widget.axes[-1])
        assert draw(widget.figure) > 1000
    with pytest.raises(sic.MissingDataError):
        sic.plot_features(with_empty, [999])
    with_empty.compute("template_features")
    with pytest.raises(sic.MissingDataError, match="unit 999 has no spikes"):
        sic.plot_template_features(with_empty, with_empty.unit_ids[0], 999)


@pytest.mark.parametrize("num_channels", [1, 384])
@pytest.mark.parametrize("plot", EACH)
def test_numbers_of_channels(simulate, plot, num_channels):
    simulated = simulate(num_channels=num_channels, num_templates=3, num_spikes=600)
    analyzer = sic.read_kilosort_as_analyzer(simulated.folder)
    analyzer.compute(["template_best_channels", "template_features"])
    units = analyzer.unit_ids[:2].tolist()
    widget = plot(analyzer, units)
    if plot is sic.plot_features:
        assert len(widget.axes) == (3 if num_channels == 1 else 10)
    if plot is sic.plot_best_channels:
        (drawn,) = waveforms(widget.axes[1])
        best = analyzer.get_extension("template_best_channels").get_data(outputs="indices")
        assert len(drawn) == len(best[units[0]])
    assert draw(widget.figure) > 1000
    assert draw(sic.plot_template_features(analyzer, *units, background=True).figure) > 1000


@pytest.mark.parametrize("plot", EACH)
def test_another_sorter_with_string_ids(plot):
    analyzer = sc.generate_ground_truth_recording(durations=[4.0], num_channels=6, num_units=3)
    recording, sorting = analyzer
    sorting = sorting.rename_units(["first <b>", "zwei", "3"])
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "templates", "spike_amplitudes"], progress_bar=False)
    if plot is sic.plot_features:
        with pytest.raises(sic.MissingDataError, match="not read from a Kilosort folder"):
            plot(analyzer, ["zwei"])
        return
    without = plot(analyzer, [("zwei", "3"), "first <b>"])
    analyzer.compute(["template_assignment", "template_best_channels"])
    widget = plot(analyzer, [("zwei", "3"), "first <b>"])
    written = "\n".join(texts(axes) for axes in widget.axes)
    assert "units zwei + 3" in written
    assert "unit first <b>" in written
    # the same with and without template_assignment
    for one, other in zip(without.axes, widget.axes, strict=True):
        for a, b in zip(points(one), points(other), strict=True):
            np.testing.assert_array_equal(a, b)
        for a, b in zip(steps(one), steps(other), strict=True):
            np.testing.assert_array_equal(a.values, b.values)
        for a, b in zip(waveforms(one), waveforms(other), strict=True):
            np.testing.assert_array_equal(a, b)
    assert draw(widget.figure) > 1000


@pytest.mark.parametrize("plot", EACH)
def test_one_error_for_unknown_units_and_wrong_lists(hostile, plot):
    with pytest.raises(sic.UnknownIdError, match="there is no unit 'x'"):
        plot(hostile, ["x"])
    with pytest.raises(sic.ParameterError, match="unit_ids is 3, expected a list"):
        plot(hostile, 3)


def test_pyplot_is_left_alone_over_many_units(simulate):
    simulated = simulate(num_templates=500, num_channels=8, num_spikes=3000)
    analyzer = sic.read_kilosort_as_analyzer(simulated.folder)
    analyzer.compute(["template_best_channels", "template_features"])
    before = plt.get_fignums()
    settings = dict(matplotlib.rcParams)
    for unit_id in analyzer.unit_ids[::4]:
        sic.plot_firing_rate(analyzer, [unit_id])
    for unit_id in analyzer.unit_ids[::250]:
        for plot in EACH:
            plot(analyzer, [unit_id])
    assert len(points(sic.plot_amplitudes_over_time(analyzer).ax)) == 500
    assert plt.get_fignums() == before
    assert dict(matplotlib.rcParams) == settings


def test_vector_text_and_rasterized_points(hostile, tmp_path):
    unit = hostile.unit_ids[0]
    for i, plot in enumerate(EACH):
        plot(hostile, [unit]).figure.savefig(tmp_path / f"{i}.svg", metadata={"Date": None})
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure = sic.plot_amplitudes_over_time(hostile, [unit]).figure
        figure.savefig(tmp_path / "text.svg")
    written = (tmp_path / "text.svg").read_text(encoding="utf-8")
    assert f"unit {unit}" in written, "text is text"
    assert "<image" in written, "points are one image"


def test_a_small_part_of_a_page():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(["template_best_channels", "template_features"])
    figure = Figure(figsize=(14, 9), layout="constrained")
    parts = figure.subfigures(2, 3).ravel()
    sic.plot_best_channels(analyzer, [4, 10], figure=parts[0])
    sic.plot_unit_templates_by_source(analyzer, [(4, 10)], figure=parts[1])
    sic.plot_features(analyzer, [4, 10], components=[0], figure=parts[2])
    sic.plot_template_features(analyzer, 4, 10, figure=parts[3])
    sic.plot_amplitudes_over_time(analyzer, [4, 10], figure=parts[4])
    sic.plot_isi(analyzer, [4, 10], figure=parts[5])
    assert draw(figure) > 10_000
    assert [len(part.axes) for part in parts] == [3, 1, 4, 1, 1, 2]


@pytest.mark.parametrize("form", ["binary_folder", "zarr"])
def test_saved_analyzers_draw_the_same(hostile, tmp_path, form):
    folder = tmp_path / ("saved.zarr" if form == "zarr" else "saved")
    hostile.save_as(format=form, folder=folder)
    saved = sc.load_sorting_analyzer(folder)
    first, second = hostile.unit_ids[:2].tolist()
    for one, other in zip(
        points(sic.plot_template_features(hostile, first, second, background=True).ax),
        points(sic.plot_template_features(saved, first, second, background=True).ax),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    for plot in EACH:
        for one, other in zip(
            plot(hostile, [(first, second)]).axes, plot(saved, [(first, second)]).axes, strict=True
        ):
            assert texts(one) == texts(other)
            for a, b in zip(points(one), points(other), strict=True):
                np.testing.assert_array_equal(a, b)
            for a, b in zip(waveforms(one), waveforms(other), strict=True):
                np.testing.assert_array_equal(a, b)
