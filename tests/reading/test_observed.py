"""What was observed: rates, presence and contamination are of the part that was sorted."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from datetime import datetime, timezone

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spikeinterface.core import load_sorting_analyzer

import si_curation as sic
from si_curation.reading.observed import OBSERVED_PROPERTY, ObservedPeriods, joined_periods

PLAIN = dict(
    num_templates=5, num_channels=8, num_spikes=2_000, duration_s=60.0, num_shanks=1, seed=5
)
PART = {"tmin": 20.0, "tmax": 50.0}


@pytest.fixture(scope="module")
def truth(simulate):
    return simulate(**PLAIN, sorter_settings=PART)


@pytest.fixture
def folder(truth, tmp_path):
    """A copy that is written to."""
    shutil.copytree(truth.folder, tmp_path / "copy")
    return tmp_path / "copy"


def _periods(analyzer):
    observed = sic.observed_periods(analyzer)
    return None if observed.is_whole else (observed.periods / [1, 30_000, 30_000]).tolist()


def _change_ops(folder, **values):
    ops = np.load(folder / "ops.npy", allow_pickle=True).item()
    np.save(folder / "ops.npy", np.array({**ops, **values}), allow_pickle=True)


def test_of_the_folder(truth):
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    assert _periods(analyzer) == [[0, 20, 50]]
    # no raw file tells where the recording ends: at least where the sorter looked
    assert analyzer.get_total_duration() == 50.0
    assert sic.observed_periods(analyzer).duration_s == 30.0


def test_to_the_end_of_the_recording(simulate):
    truth = simulate(**PLAIN, sorter_settings={"tmin": 20.0})
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    assert _periods(analyzer) == [[0, 20, analyzer.get_total_duration()]]


def test_a_folder_that_was_sorted_whole_says_nothing(simulate):
    analyzer = sic.read_kilosort_as_analyzer(simulate(**PLAIN).folder)
    assert _periods(analyzer) is None
    assert OBSERVED_PROPERTY not in analyzer.sorting.get_property_keys()


def test_a_recording_that_ended_before_tmax(folder):
    _change_ops(folder, tmax=5_000.0)
    analyzer = sic.read_kilosort_as_analyzer(folder)
    assert _periods(analyzer) == [[0, 20, analyzer.get_total_duration()]]
    assert analyzer.get_total_duration() < 51


@pytest.mark.parametrize("part", [{"tmin": 40.0}, {"tmin": 0.0, "tmax": 30.0}])
def test_a_part_that_is_not_of_these_spikes_is_not_used(folder, part):
    _change_ops(folder, **part)
    analyzer = sic.read_kilosort_as_analyzer(folder)
    assert _periods(analyzer) is None


def test_spikes_at_the_edges_belong_to_it(folder):
    _change_ops(folder, tmin=20.5, tmax=49.5)
    analyzer = sic.read_kilosort_as_analyzer(folder)
    samples = analyzer.sorting.to_spike_vector()["sample_index"]
    observed = sic.observed_periods(analyzer).periods[0].tolist()
    assert observed == [0, samples[0], samples[-1] + 1]


@pytest.mark.parametrize("format", ["memory", "binary_folder", "zarr"])
def test_kept_through_merges_splits_selection_and_saving(truth, tmp_path, format):
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    if format != "memory":
        analyzer.save_as(format=format, folder=tmp_path / "saved")
        path = tmp_path / ("saved.zarr" if format == "zarr" else "saved")
        analyzer = load_sorting_analyzer(path)
    expected = [[0, 20, 50]]
    assert _periods(analyzer) == expected
    assert _periods(analyzer.merge_units([[0, 1]])) == expected
    assert _periods(analyzer.select_units([0, 2])) == expected
    count = analyzer.sorting.count_num_spikes_per_unit()[0]
    assert _periods(
        analyzer.split_units({0: [np.arange(count // 2), np.arange(count // 2, count)]})
    )
    session = sic.CurationSession(analyzer)
    session.merge([0, 1])
    assert _periods(session.apply()) == expected


# ------------------------------------------------------------------------------------- its users


@pytest.fixture(scope="module")
def pair(simulate, truth):
    """The analyzer of the part, and one of a recording that is just that part."""
    part = sic.read_kilosort_as_analyzer(truth.folder)
    only = simulate(**{**PLAIN, "duration_s": 30.0}, sorter_settings={"tmax": 30.0})
    alone = sic.read_kilosort_as_analyzer(only.folder)
    np.testing.assert_array_equal(truth.spike_samples - 600_000, only.spike_samples)
    assert _periods(alone) is None  # all of it
    for analyzer in (part, alone):
        analyzer.compute(["template_best_channels", "unit_similarity", "cross_correlograms"])
    return part, alone


def test_metrics_are_those_of_the_part(pair):
    names = ["num_spikes", "firing_rate", "rp_violation", "hill_contamination"]
    tables = [
        one.compute("curation_metrics", metric_names=names, save=False).get_data() for one in pair
    ]
    for column in tables[0].columns:
        np.testing.assert_allclose(
            tables[0][column].to_numpy(float), tables[1][column].to_numpy(float), rtol=1e-12
        )


def test_contamination_panel(pair):
    a, b = (sic.contamination_panel(one) for one in pair)
    for column in a.columns:
        if a[column].dtype.kind == "f":
            np.testing.assert_allclose(a[column], b[column], rtol=1e-12, err_msg=column)


def test_tables_figures_and_correlogram_rates(pair):
    from si_curation.quality.unit_table import make_unit_table

    a, b = (make_unit_table(one)["firing_rate_hz"] for one in pair)
    np.testing.assert_allclose(a, b, rtol=1e-12)
    means = [sic.plot_firing_rate(one, [0]).ax.lines[0].get_ydata()[0] for one in pair]
    assert means[0] == pytest.approx(means[1])


def test_rates_over_time_are_empty_where_nothing_was_observed(pair):
    rates, edges, _ = sic.plot_firing_rate(pair[0], [0], bin_s=15).ax.patches[0].get_data()
    np.testing.assert_array_equal(edges, [0, 15, 30, 45, 50])
    assert np.isnan(rates[0])
    times = pair[0].sorting.get_unit_spike_train(0) / 30_000
    assert rates[1] == pytest.approx(np.sum(times < 30) / 10)


def test_merge_suggestions(pair):
    a, b = (sic.suggest_merges(one, min_similarity=0).table for one in pair)
    for column in a.columns:
        if a[column].dtype.kind == "f":
            np.testing.assert_allclose(a[column], b[column], rtol=1e-9, err_msg=column)


def _same_numbers(a, b):
    assert list(a.columns) == list(b.columns)
    assert len(a) == len(b)
    for column in a.columns:
        if a[column].dtype.kind in "iufb":
            np.testing.assert_allclose(a[column], b[column], rtol=1e-9, err_msg=column)


@pytest.mark.slow
def test_bad_merges_and_connections_hang_on_lags_alone(simulate):
    """Their baselines are of lags of some ms: what was not observed has no pairs of spikes."""
    kwargs = {**PLAIN, "curation": 2, "num_spikes": 3_000}
    part = simulate(**kwargs, sorter_settings=PART)
    only = simulate(**{**kwargs, "duration_s": 30.0}, sorter_settings={"tmax": 30.0})
    np.testing.assert_array_equal(part.spike_samples - 600_000, only.spike_samples)
    pair = [sic.read_kilosort_as_analyzer(one.folder) for one in (part, only)]
    assert _periods(pair[0]) == [[0, 20, 50]]
    _same_numbers(*(sic.find_bad_merges(one, all_pairs=True) for one in pair))
    for one in pair:
        one.compute(["template_best_channels", "cross_correlograms"])
    _same_numbers(*(sic.find_monosynaptic_connections(one, return_all=True) for one in pair))


def test_rules_for_labels(pair):
    rates = [one.sorting.count_num_spikes_per_unit(outputs="array") / 30.0 for one in pair]
    border = float(np.median(rates[0]))
    rules = [("firing_rate", "<", border, "quiet")]
    labels = []
    for one in pair:
        metrics = one.compute("curation_metrics", metric_names=["firing_rate"], save=False)
        table = metrics.get_data()
        labels.append(sic.label_units(one, rules, table, otherwise="active").table["label"])
    assert labels[0].tolist() == labels[1].tolist()
    expected = np.where(rates[0] < border, "quiet", "active")
    assert labels[0].tolist() == expected.tolist()
    assert len(set(expected)) == 2


def test_unit_overview(pair):
    from si_curation.views.unit_overview import key_numbers
    from si_curation.views.units import DrawnUnit

    shown = [key_numbers(one, DrawnUnit((0,), "0", "k")) for one in pair]
    count = int(np.sum(pair[0].sorting.to_spike_vector()["unit_index"] == 0))
    assert shown[0] == shown[1]
    assert float(shown[0]["firing rate"].split()[0]) == pytest.approx(count / 30.0, rel=1e-2)
    plt.close(sic.plot_unit_overview(pair[0], 0).figure)


def test_rates_of_the_page_are_empty_where_nothing_was_observed(pair, tmp_path):
    from helpers.report_page import ReportPage

    sic.export_report(pair[0], tmp_path / "page.html")
    page = ReportPage(tmp_path / "page.html")
    edges = np.array(page.data["time_bins"]["edges_s"])
    counts = page.data["session"]["counts"]
    for its in [counts, *(unit["rate"] for unit in page.units)]:
        np.testing.assert_array_equal(np.isnan(page.rate(its)), edges[1:] <= 20)
    spikes = pair[0].sorting.to_spike_vector()
    inside = np.nan_to_num(page.rate(counts))
    assert np.sum(inside * np.diff(edges)) == pytest.approx(spikes.size)


def test_nwb_intervals_and_the_page(pair, tmp_path):
    pynwb = pytest.importorskip("pynwb")
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    nwbfile = pynwb.NWBFile("a session", "0123", start)
    units = sic.add_units_to_nwbfile(pair[0], nwbfile, t_start=100.0)
    np.testing.assert_allclose(units["obs_intervals"][0], [[120.0, 150.0]])
    page = sic.export_report(pair[0], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "30 s: 20 to 50 s" in page or "20 to 50 s" in page


def test_windows(pair):
    table = sic.compute_metrics_in_windows(pair[0], window_s=10, metric_names=["firing_rate"])
    rates = table.groupby("window_start_s" if "window_start_s" in table else table.columns[1])
    rates = rates["firing_rate"].apply(lambda values: values.isna().all()).to_numpy()
    np.testing.assert_array_equal(rates, [True, True, False, False, False])


# --------------------------------------------------------------------------------- given by users


def test_given_and_taken_back(simulate, tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(simulate(**PLAIN).folder)
    last = analyzer.get_total_duration()
    sic.set_observed_periods(analyzer, [[0.0, 30.0], [30.0, math.inf]])
    assert sic.observed_periods(analyzer).is_whole
    train = analyzer.sorting.to_spike_vector()["sample_index"]
    gap = int(np.argmax(np.diff(train)))
    borders = (int(train[gap]) + 1) / 30_000, int(train[gap + 1]) / 30_000
    sic.set_observed_periods(analyzer, [[borders[1], last], [0.0, borders[0]]])
    observed = sic.observed_periods(analyzer)
    assert observed.num_samples == analyzer.get_total_samples() - (train[gap + 1] - train[gap] - 1)
    sic.set_observed_periods(analyzer, None)
    assert _periods(analyzer) is None


@pytest.mark.parametrize(
    ("periods", "words"),
    [
        ([[0, 10]], "spikes lie outside of the periods"),
        ([[10, 5]], "expected an ascending pair"),
        ([[-1, 5]], "expected an ascending pair"),
        ([[0, 1e9]], "expected an ascending pair"),
        ([[0, math.nan]], "expected an ascending pair"),
        ([[1, 0, 5]], "segment 1"),
        ([0, 5], "expected rows"),
        ("all", "expected rows"),
        ([], "expected rows"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(truth, periods, words):
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    with pytest.raises(sic.ParameterError, match=words):
        sic.set_observed_periods(analyzer, periods)
    assert _periods(analyzer) == [[0, 20, 50]]


def test_on_the_command_line(truth, tmp_path):
    from click.testing import CliRunner

    from si_curation.cli.main import cli

    def rates(*options):
        output = tmp_path / f"rates{'_'.join(options)}.csv"
        arguments = ["metrics", str(truth.folder), "--metric", "firing_rate"]
        done = CliRunner().invoke(cli, [*arguments, "--output", str(output), *options])
        assert done.exit_code == 0, done.output
        return np.loadtxt(output, delimiter=",", skiprows=1, usecols=1)

    known = rates()
    np.testing.assert_allclose(rates("--period", "20", "inf"), known, rtol=1e-12)
    np.testing.assert_allclose(rates("--period", "0", "50") * 50, known * 30, rtol=1e-12)
    bad = CliRunner().invoke(cli, ["contamination", str(truth.folder), "--period", "0", "5"])
    assert bad.exit_code != 0
    assert "lie outside of the periods" in f"{bad.output} {bad.exception}"


@pytest.mark.parametrize(
    "text",
    ["no json", "[]", "{}", "[[0, 5]]", "[[7, 0, 5]]", "[[0, 0, 99999999999]]", "[[0, 0, 5]]", "3"],
)
def test_a_property_that_does_not_fit_is_not_used(truth, text):
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    values = np.full(len(analyzer.unit_ids), text, dtype="U64")
    analyzer.sorting.set_property(OBSERVED_PROPERTY, values)
    assert _periods(analyzer) is None


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(1, 9)), min_size=1))
def test_joined_periods_cover_the_same_samples(rows):
    periods = np.array([[s, start, start + size] for s, start, size in rows])
    found = joined_periods(periods)
    cover = {(s, i) for s, a, b in periods.tolist() for i in range(a, b)}
    assert {(s, i) for s, a, b in found.tolist() for i in range(a, b)} == cover
    observed = ObservedPeriods(np.full(3, 60), 1.0, found, False)
    assert observed.num_samples == len(cover)
    edges = np.arange(0, 181, 7)
    flat = sorted(60 * s + i for s, i in cover)
    expected = [sum(a <= i < b for i in flat) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(observed.samples_within(edges), expected)
    assert json.loads(json.dumps(found.tolist()))
