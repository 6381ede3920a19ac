"""The sorter's templates beside the means of traces, and which of the two is ranked and drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import spikeinterface.core as sc
from click.testing import CliRunner
from spikeinterface.extractors import read_phy

import si_curation as sic
from helpers.analyzers import recording_of_folder, recording_with_templates
from helpers.assignments import ASSIGNMENT, BEST, extension
from helpers.report_page import ReportPage
from si_curation.cli import cli
from si_curation.extensions.template_best_channels import phy_best_channels
from si_curation.variables import COMPARED_TEMPLATES

pytestmark = pytest.mark.filterwarnings("ignore:create_sorting_analyzer")
FAR, NEAR = 2, 5  # templates that are replaced in the traces


@pytest.fixture(scope="module")
def folder(simulate):
    return simulate(num_templates=8, num_channels=16, num_spikes=1500, seed=4)


@pytest.fixture(scope="module")
def read(folder):
    return sic.read_kilosort_as_analyzer(folder.folder)


@pytest.fixture(scope="module")
def replaced(read):
    """One template at the other end of the probe, and one of another shape."""
    templates = extension(read).get_templates()
    noise = np.random.default_rng(0).normal(size=templates[NEAR].shape) * templates[NEAR].std(0)
    return {FAR: templates[FAR][:, ::-1], NEAR: noise.astype("float32")}


def attached(folder, recording, **kwargs):
    sorting = read_phy(folder.folder)
    analyzer = sc.create_sorting_analyzer(
        sorting, recording, sparse=False, return_in_uV=False, **kwargs
    )
    analyzer.compute("random_spikes", max_spikes_per_unit=1000)
    analyzer.compute("templates")
    analyzer.compute(ASSIGNMENT)
    return analyzer


@pytest.fixture(scope="module")
def analyzer(folder, read, replaced):
    return attached(folder, recording_with_templates(folder.folder, read, replaced))


@pytest.fixture(scope="module")
def changed_units(analyzer):
    """Units of which most spikes are of a replaced template."""
    table = extension(analyzer).get_data()
    return {
        name: table.index[table["template_id"] == template].tolist()
        for name, template in (("far", FAR), ("near", NEAR))
    }


def test_units_that_do_not_look_like_their_template_are_found(analyzer, changed_units):
    table = sic.compare_templates(analyzer, min_correlation=0.8)
    assert list(table.columns) == list(COMPARED_TEMPLATES)
    changed = {*changed_units["far"], *changed_units["near"]}
    assert changed
    assert set(table.index[table["differs"].fillna(False)]) == changed
    same = table.drop(list(changed))
    known = same["correlation"].notna()
    # other spikes lie over some, nothing else
    assert same.loc[known, "correlation"].min() > 0.9
    assert (same.loc[known, "lag_ms"] == 0).all()
    np.testing.assert_allclose(same.loc[known, "amplitude_ratio"], 1, atol=0.2)
    assert same.loc[known, "reason"].str.contains("look like").sum() == 0
    far = table.loc[changed_units["far"][0]]
    assert not far["same_best_channel"]
    assert far["best_channel_distance_um"] > 50
    assert "do not look like" in far["reason"]
    assert "on another channel" in far["reason"]


def test_a_unit_without_spikes(folder, read):
    recording = recording_with_templates(folder.folder, read)
    sorting = read_phy(folder.folder)
    trains = {unit: sorting.get_unit_spike_train(unit) for unit in sorting.unit_ids}
    trains[999] = np.zeros(0, dtype=np.int64)
    with_empty = sc.NumpySorting.from_unit_dict([trains], sorting.sampling_frequency)
    with_empty.annotate(phy_folder=str(folder.folder))
    analyzer = sc.create_sorting_analyzer(with_empty, recording, sparse=False, return_in_uV=False)
    analyzer.compute(["random_spikes", "templates"])
    row = sic.compare_templates(analyzer).loc[999]
    assert row["template_id"] == -1
    assert np.isnan(row["correlation"])
    assert row["differs"] is pd.NA
    assert row["reason"] == "no spikes"


def test_what_is_missing_is_an_error(analyzer, read, folder):
    with pytest.raises(sic.MissingDataError, match="holds the sorter's templates"):
        sic.compare_templates(read)
    recording, sorting = sc.generate_ground_truth_recording(durations=[2.0], num_units=3)
    other = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    with pytest.raises(sic.MissingDataError, match="attach_kilosort_folder"):
        sic.compare_templates(other)
    bare = sc.create_sorting_analyzer(
        read_phy(folder.folder), recording_of_folder(folder.folder), sparse=False
    )
    bare.compute(ASSIGNMENT)
    with pytest.raises(sic.MissingDataError, match="random_spikes"):
        sic.compare_templates(bare)
    with pytest.raises(sic.ParameterError, match="min_correlation"):
        sic.compare_templates(analyzer, min_correlation="high")


def test_source_chooses_whose_templates_are_ranked(analyzer, read, changed_units):
    sorter = analyzer.compute(BEST, source="sorter", save=False)
    assert sorter.source == "sorter"
    read.compute(BEST)
    theirs = extension(read, BEST).get_data(outputs="indices")
    found = sorter.get_data(outputs="indices")
    for unit in analyzer.unit_ids:
        np.testing.assert_array_equal(found[unit], theirs[unit])
    averages = analyzer.compute(BEST, source="analyzer", save=False)
    assert averages.source == "analyzer"
    peaks = np.ptp(analyzer.get_extension("templates").get_data(), axis=1).argmax(axis=1)
    ours = averages.get_data(outputs="indices")
    for unit, peak in zip(analyzer.unit_ids, peaks, strict=True):
        assert ours[unit][0] == peak
    far = changed_units["far"][0]
    assert ours[far][0] != found[far][0]
    auto = analyzer.compute(BEST, save=False)
    assert auto.source == "sorter"
    np.testing.assert_array_equal(auto.get_channel_indices(), sorter.get_channel_indices())


def test_the_sorter_s_are_refused_where_there_are_none():
    recording, sorting = sc.generate_ground_truth_recording(durations=[2.0], num_units=3)
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "templates"])
    with pytest.raises(sic.MissingDataError, match="attach_kilosort_folder"):
        phy_best_channels(analyzer, source="sorter")
    with pytest.raises(sic.ParameterError, match="source"):
        analyzer.compute(BEST, source="kilosort")
    assert analyzer.compute(BEST).source == "analyzer"
    ours = phy_best_channels(analyzer, source="analyzer").by_unit
    np.testing.assert_array_equal(ours, extension(analyzer, BEST).get_channel_indices())


@pytest.mark.parametrize("source", ["sorter", "analyzer"])
def test_views_and_report_say_which(analyzer, changed_units, source, tmp_path):
    copy = analyzer.copy()
    copy.compute(BEST, source=source)
    far = changed_units["far"][0]
    widget = sic.plot_best_channels(copy, [far])
    names = {"sorter": "Most frequent template (kilosort4)", "analyzer": "Mean waveform"}
    assert names[source] in widget.figure.get_suptitle()
    channels = copy.get_extension(BEST).get_data(outputs="indices")[far]
    if source == "sorter":
        drawn = extension(copy).get_unit_template(far)
    else:
        row = copy.sorting.id_to_index(far)
        drawn = copy.get_extension("templates").get_data()[row]
    np.testing.assert_allclose(widget.data_plot["panels"][0].template, drawn)
    np.testing.assert_array_equal(widget.data_plot["panels"][0].channel_indices, channels)
    page = ReportPage(sic.export_report(copy, tmp_path / "page.html"))
    texts = {"sorter": "(kilosort4)", "analyzer": "Mean of the traces"}
    assert texts[source] in page.units[0]["template"]["name"]
    groups = {column["group"] for column in page.data["columns"]}
    assert "Sorter's templates beside traces" in groups


def test_units_drawn_as_one_have_the_mean_of_the_largest(analyzer):
    copy = analyzer.copy()
    copy.compute(BEST, source="analyzer")
    counts = copy.sorting.count_num_spikes_per_unit(outputs="dict")
    pair = tuple(list(copy.unit_ids)[:2])
    largest = max(pair, key=counts.get)
    (panel,) = sic.plot_best_channels(copy, [pair]).data_plot["panels"]
    row = copy.sorting.id_to_index(largest)
    np.testing.assert_allclose(panel.template, copy.get_extension("templates").get_data()[row])


def test_merged_units_are_ranked_by_the_same_source(analyzer):
    copy = analyzer.copy()
    copy.compute(BEST, source="analyzer")
    pair = list(copy.unit_ids)[:2]
    merged = copy.merge_units([pair], new_unit_ids=[5000])
    best = merged.get_extension(BEST)
    assert best.params["source"] == "analyzer"
    row = merged.sorting.id_to_index(5000)
    peak = np.ptp(merged.get_extension("templates").get_data()[row], axis=0).argmax()
    assert best.get_data(outputs="indices")[5000][0] == peak


def test_the_command_names_units_that_differ(analyzer, folder, changed_units, tmp_path):
    saved = analyzer.save_as(format="binary_folder", folder=tmp_path / "analyzer").folder
    result = CliRunner().invoke(cli, ["attach", str(saved), str(folder.folder)])
    assert result.exit_code == 0, result.output
    assert "median correlation" in result.output
    for units in changed_units.values():
        assert all(f"unit {unit}: its spikes do not look like" in result.output for unit in units)
