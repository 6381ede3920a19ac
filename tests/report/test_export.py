"""The page of a sorting: its numbers are those of the extensions, for any analyzer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import spikeinterface.core as sc

import si_curation as sic
from helpers.hostile_analyzer import EXTENSIONS, HOSTILE, compute_all, hostile_analyzer
from helpers.report_page import ReportPage
from si_curation import variables
from si_curation.cli import main
from si_curation.phy.settings import SorterDrift
from si_curation.report import page as report_page_module
from si_curation.report.columns import CONTAMINATION, METRICS
from si_curation.report.page import SCRIPTS, STYLES, read_asset
from si_curation.report.sorting import drift_drawing
from si_curation.report.unit_charts import AMPLITUDE_LEVELS, MAX_POINTS, TIME_LEVELS
from si_curation.report.unit_panel import WAVEFORM_LEVELS


@pytest.fixture(scope="module")
def example():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(EXTENSIONS)
    return analyzer


@pytest.fixture(scope="module")
def page(example, tmp_path_factory):
    folder = tmp_path_factory.mktemp("a folder with spaces")
    return ReportPage(sic.export_report(example, folder / "my report.html"))


def write(analyzer, tmp_path, **kwargs):
    return ReportPage(sic.export_report(analyzer, tmp_path / "report.html", **kwargs))


# numbers


@pytest.mark.slow
def test_numbers_of_panels_are_those_of_the_extensions(example, page):
    assignment = example.get_extension("template_assignment")
    channels = example.get_extension("template_best_channels").get_data(outputs="indices")
    correlograms = example.get_extension("cross_correlograms")
    vector = example.sorting.to_spike_vector()
    similarity = example.get_extension("unit_similarity")
    lineage = sic.reconstruct_lineage(example)
    period = sic.contamination_panel(example)["refractory_period_ms"]
    assert [unit["id"] for unit in page.units] == example.unit_ids.tolist()
    assert page.data["bins_ms"] == correlograms.get_data()[1].tolist()
    its = page.data["channels"]
    assert its["ids"] == example.channel_ids.tolist()
    places = np.column_stack([its["x_um"], its["y_um"]])
    np.testing.assert_array_equal(places, example.get_channel_locations())
    edges_ms = correlograms.get_isi_histogram(example.unit_ids[0], 50.0, 0.5)[1]
    assert page.data["isi_edges_ms"] == edges_ms.tolist()
    for index, unit in enumerate(page.units):
        unit_id = unit["id"]
        spikes = np.flatnonzero(vector["unit_index"] == index)
        assert unit["num_spikes"] == spikes.size
        assert unit["refractory_ms"] == period[unit_id]

        template, ranked = unit["template"], channels[unit_id]
        waveforms = template["waveforms"]
        step = np.abs(waveforms).max() / WAVEFORM_LEVELS
        n, shown = template["num_ranked"], template["channels"]
        assert shown[:n] == ranked.tolist()
        expected = assignment.get_unit_template(unit_id)[:, ranked].T
        np.testing.assert_allclose(waveforms[0, :n], expected, rtol=0, atol=0.51 * step)
        assert template["amplitude"] == np.ptp(expected[0]), "exact: it is a number in the text"
        parts = lineage.templates[unit_id]
        assert template["template_ids"] == [str(i) for i, _ in parts]
        assert template["counts"] == [count for _, count in parts]
        for layer, (template_id, _) in zip(waveforms, parts, strict=True):
            whole = assignment.get_templates()[template_id]
            np.testing.assert_allclose(layer, whole[:, shown].T, rtol=0, atol=0.51 * step)
            assert np.ptp(whole, axis=0).argmax() in shown, "where it is largest is shown"

        assert unit["acg"]["counts"] == correlograms.get_acg(unit_id)[0].tolist()
        rate = spikes.size**2 * 1e-3 / example.get_total_duration()
        assert unit["acg"]["baseline"] == pytest.approx(rate)
        counts, _ = correlograms.get_isi_histogram(unit_id, 50.0, 0.5)
        assert unit["isi"] == counts.tolist()
        assert spikes.size <= MAX_POINTS
        amplitudes = sic.get_spike_amplitudes(example, unit_id, "projection").amplitudes
        step = 0.51 * np.ptp(amplitudes) / (AMPLITUDE_LEVELS - 1)
        its = unit["amplitude"]
        np.testing.assert_allclose(its["values"], amplitudes, rtol=0, atol=step)
        step = 0.51 * example.get_total_duration() / (TIME_LEVELS - 1)
        times = vector["sample_index"][spikes] / 30_000.0
        np.testing.assert_allclose(its["times_s"], times, rtol=0, atol=step)
        widths = np.diff(page.data["time_bins"]["edges_s"])
        assert (widths * page.rate(unit["rate"])).sum() == pytest.approx(spikes.size)

        others = similarity.get_similar_units(unit_id, 5)
        assert [other["id"] for other in unit["similar"]] == others.index.tolist()
        np.testing.assert_array_equal(
            np.float32([other["similarity"] for other in unit["similar"]]), others["similarity"]
        )
        for other in unit["similar"]:
            ccg = correlograms.get_ccg(unit_id, other["id"])[0]
            assert other["ccg"]["counts"] == ccg.tolist()


def test_table_of_units_has_every_number(example, page):
    assert page.data["units"] == [str(i) for i in example.unit_ids]
    column = page.data["columns"][page.column_number("num_spikes") - 1]
    assert column["whole"]
    expected = example.sorting.count_num_spikes_per_unit()
    assert column["values"].tolist() == list(expected.values())
    groups = page.data["columns"][page.column_number("group") - 1]["values"]
    assert groups == example.get_sorting_property("quality").tolist()
    for group, table in (
        (METRICS, example.get_extension("curation_metrics").get_data()),
        (CONTAMINATION, sic.contamination_panel(example)),
    ):
        titles = [c["title"] for c in page.data["columns"] if c["group"] == group]
        for name in table.columns:
            title = _name_in_page(name, group)
            if title not in titles:
                in_metrics = group == CONTAMINATION and name in set(variables.METRICS)
                assert in_metrics or name in ("num_spikes", "firing_rate_hz", *_UNIT_TITLES), name
                if in_metrics:  # the same number, shown once
                    its = example.get_extension("curation_metrics").get_data()[name]
                    np.testing.assert_array_equal(its.to_numpy(), table[name].to_numpy())
                continue
            column = page.data["columns"][page.column_number(title, group) - 1]
            assert len(column["description"]) > 10
            if table[name].dtype.kind not in "fi":
                continue
            np.testing.assert_array_equal(column["values"], table[name].to_numpy(float), title)
    names = [column["title"] for column in page.data["columns"]]
    assert len(set(names)) == len(names), "a name stands for one value"
    # what is missing says why
    column = page.data["columns"][page.column_number("drift_ptp", METRICS) - 1]
    assert np.isnan(column["values"][0])
    assert "fewer than 2 intervals" in column["reasons"]["texts"][column["reasons"]["codes"][0]]
    heads = page.tables["unit-table"]
    assert len(heads) == 1, "rows are made in the browser, when they are shown"
    assert len(heads[0]) == 1 + len(page.data["columns"])


def _name_in_page(name, group):
    """The panel has the refractory period of each unit, the metrics have SpikeInterface's."""
    for formula in ("isi_violations_ratio", "rp_contamination"):
        if group == CONTAMINATION and name in (formula, f"{formula}_lower", f"{formula}_upper"):
            return name.replace(formula, f"{formula}_own_period")
    return name


_UNIT_TITLES = ("depth_um", "shank", "template_id", "template_purity", "num_templates")


def test_candidates_and_bad_merges_are_those_of_the_functions(example, page):
    found = sic.suggest_merges(example).table
    rows = page.tables["candidate-table"][1:]
    assert [row[1]["text"] for row in rows] == [str(i) for i in found["unit_id_a"]]
    np.testing.assert_array_equal([float(row[3]["data-order"]) for row in rows], found["score"])
    assert [row[-1]["text"] for row in rows] == found["reason"].tolist()
    ccg = example.get_extension("cross_correlograms")
    for pair, row in zip(page.data["pairs"], found.itertuples(), strict=True):
        ids = [page.units[pair[key]]["id"] for key in "ab"]
        assert ids == [row.unit_id_a, row.unit_id_b]
        assert pair["ccg"]["counts"] == ccg.get_ccg(*ids)[0].tolist()
        evidence = dict(
            zip([name for name, _ in page.data["evidence"]], pair["evidence"], strict=True)
        )
        assert list(evidence) == found.columns.tolist()
        assert evidence["reason"] == row.reason
        assert evidence["num_spikes_a"] == f"{row.num_spikes_a:,}"
    bad = sic.find_bad_merges(example)
    rows = page.tables["bad-merge-table"][1:]
    assert [row[0]["text"] for row in rows] == [str(i) for i in bad["unit_id"]]
    assert [row[-1]["text"] for row in rows] == bad["reason"].tolist()
    splits = sic.suggest_splits(example)
    shown = splits.table[splits.table["score"] >= splits.score_threshold / 2]
    rows = page.tables["split-table"][1:]
    assert [row[0]["text"] for row in rows] == [str(i) for i in shown["unit_id"]]
    assert [row[-1]["text"] for row in rows] == shown["reason"].tolist()


def test_summary(example, page):
    depths = example.get_extension("spike_locations").get_data()["y"]
    image = page.data["session"]["depth"]["density"]
    counts = image["counts"]
    assert counts.sum() + image["outside"] == depths.size
    assert image["outside"] <= 0.003 * depths.size
    times = example.sorting.to_spike_vector()["sample_index"] / 30_000.0
    edges = [np.linspace(*image[axis], n + 1) for axis, n in zip("xy", counts.shape, strict=True)]
    # numpy's own bins; a point on an edge may fall to either side
    assert np.abs(np.histogram2d(times, depths, edges)[0] - counts).sum() <= 4
    widths = np.diff(page.data["time_bins"]["edges_s"])
    rates = page.rate(page.data["session"]["counts"])
    assert (widths * rates).sum() == pytest.approx(depths.size)
    for one in page.data["session"]["distributions"]:
        assert sum(one["counts"]) == one["num_values"] == len(example.unit_ids) - one["missing"]
    titles = [one["title"] for one in page.data["session"]["distributions"]]
    assert {"firing_rate_hz", "amplitude", "isolation_distance", "rp_contamination"} <= set(titles)
    assert page.text.count("kilosort4") >= 1
    assert "5,299" in page.text
    assert "units of the raw data" in page.text
    assert "µV" not in page.data["amplitude_unit"]
    assert str(sic.example_folder()) not in page.source, "a path tells of the writer"
    circles = [attributes for tag, attributes in page.tags if tag == "circle"]
    assert len(circles) >= len(example.unit_ids)


@pytest.mark.slow
def test_lineage_history_software_and_parameters(example, tmp_path):
    session = sic.CurationSession(example, decided_by="me & you")
    session.merge([11, 12], reason="one <b>neuron</b>")
    session.label([14], "good")
    page = write(session.apply(), tmp_path)
    lineage = {row[0]["text"]: [c["text"] for c in row] for row in page.tables["lineage-table"]}
    assert lineage["13"][1:3] == ["merged", "1 (625), 0 (410), 2 (295)"]
    assert set(lineage) == {"unit", "10", "13"}, "14 has all spikes of its template again"
    steps = [[cell["text"] for cell in row] for row in page.tables["history-table"][1:]]
    assert [step[1:4] for step in steps] == [["merge", "11, 12", "14"], ["label", "14", "14"]]
    assert steps[0][5:] == ["one <b>neuron</b>", "me & you"]
    assert steps[1][4] == "group: good"
    labels = [[cell["text"] for cell in row] for row in page.tables["labels-table"][1:]]
    assert [row[:3] for row in labels] == [["14", "group: good", "me & you"]]
    tables = [[cell["text"] for cell in row] for row in page.tables[None]]
    assert ["si_curation", sic.__version__] in tables
    assert [row for row in tables if row[0] == "template_assignment"]
    assert "compute curation_metrics first" not in page.text, "apply keeps them"


@pytest.mark.slow
def test_many_spikes_are_an_image(tmp_path, simulate):
    folder = simulate("kilosort4", num_templates=3, num_channels=8, num_spikes=9000).folder
    analyzer = sic.read_kilosort_as_analyzer(folder, gain_to_uV=0.2)
    page = write(analyzer, tmp_path)
    assert page.data["amplitude_unit"] == "µV"
    assert page.data["spike_amplitude"]["label"] == "peak to peak (µV)"
    vector = analyzer.sorting.to_spike_vector()
    large = [i for i, unit in enumerate(page.units) if unit["num_spikes"] > MAX_POINTS]
    assert large
    for index in large:
        image = page.units[index]["amplitude"]["density"]
        own = vector["unit_index"] == index
        counts = image["counts"]
        assert counts.sum() + image["outside"] == own.sum()
        edges = [np.linspace(*image[k], n + 1) for k, n in zip("xy", counts.shape, strict=True)]
        times = vector["sample_index"][own] / analyzer.sampling_frequency
        unit_id = analyzer.unit_ids[index]
        amplitudes = sic.get_spike_amplitudes(analyzer, unit_id, "projection").amplitudes
        expected = np.histogram2d(times, amplitudes, edges)[0]
        assert np.abs(expected - counts).sum() <= 4


# any analyzer


def test_a_bare_analyzer_says_what_to_compute(tmp_path):
    analyzer = hostile_analyzer()
    before = set(analyzer.get_loaded_extension_names())
    page = write(analyzer, tmp_path)
    assert set(analyzer.get_loaded_extension_names()) == before, "nothing is computed on it"
    for name in ("template_assignment", "template_best_channels", "curation_metrics"):
        assert name in page.text
    assert set(page.data["notes"]) == {"template", "correlograms", "amplitude", "similar"}
    for unit in page.units:
        assert unit["template"] is unit["acg"] is unit["amplitude"] is unit["similar"] is None
        assert sum(unit["isi"]) > 0
    assert page.data["session"]["depth"] is None


def test_hostile_names_are_text(tmp_path):
    analyzer = hostile_analyzer()
    compute_all(analyzer)
    page = write(analyzer, tmp_path, title="<h1>title</h1><script>window.hacked=3</script>")
    assert page.scripts == len(SCRIPTS), "no script came with a name"
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert [unit["id"] for unit in page.units] == HOSTILE
    assert [unit["group"] for unit in page.units] == [*HOSTILE[1:], "good"]
    assert page.data["units"] == HOSTILE
    assert len([tag for tag, _ in page.tags if tag == "h1"]) == 1
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]


def test_metrics_of_spikeinterface_are_columns(tmp_path):
    analyzer = hostile_analyzer()
    analyzer.compute(["random_spikes", "templates", "noise_levels"])
    analyzer.compute("quality_metrics", metric_names=["snr", "num_spikes"])
    page = write(analyzer, tmp_path)
    table = analyzer.get_extension("quality_metrics").get_data()
    values = page.data["columns"][page.column_number("snr") - 1]["values"]
    np.testing.assert_array_equal(values, table["snr"].astype(float))


def test_one_name_stands_for_one_value(tmp_path):
    """A property or an extension of SpikeInterface may have a name of ours."""
    analyzer = hostile_analyzer()
    count = analyzer.sorting.count_num_spikes_per_unit(outputs="array")
    analyzer.sorting.set_property("num_spikes", count)
    analyzer.sorting.set_property("firing_rate_hz", np.arange(len(count)) + 0.5)
    page = write(analyzer, tmp_path)
    names = [column["title"] for column in page.data["columns"]]
    assert names.count("num_spikes") == 1, "the same values are shown once"
    assert names.count("firing_rate_hz") == names.count("firing_rate_hz (property)") == 1
    assert page.value("firing_rate_hz (property)", 1) == 1.5


def test_half_a_surrogate_pair_in_a_name(tmp_path):
    analyzer = hostile_analyzer(["a\ud800", "b"])
    page = write(analyzer, tmp_path)
    assert page.units[0]["id"] == "a?"


@pytest.mark.slow
@pytest.mark.parametrize("num_channels", [1, 384])
def test_few_and_many_channels(tmp_path, simulate, num_channels):
    folder = simulate(
        "kilosort4", num_templates=4, num_channels=num_channels, num_spikes=400
    ).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    analyzer.compute(EXTENSIONS)
    page = write(analyzer, tmp_path)
    assert len(page.units) == len(analyzer.unit_ids)
    assert max(len(unit["template"]["channels"]) for unit in page.units) == min(num_channels, 12)


def test_units_with_no_spike_and_with_one(tmp_path):
    recording, _ = sc.generate_ground_truth_recording(durations=[5.0, 3.0], num_channels=4, seed=0)
    spikes = [
        {"a": np.array([100, 5000]), "one": np.array([], dtype=int), "none": np.array([], int)},
        {"a": np.array([10, 300]), "one": np.array([77]), "none": np.array([], int)},
    ]
    sorting = sc.NumpySorting.from_unit_dict(spikes, recording.sampling_frequency)
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    with np.errstate(all="ignore"):
        analyzer.compute(["random_spikes", "templates", "spike_amplitudes"])
        analyzer.compute(["template_assignment", *EXTENSIONS])
    page = write(analyzer, tmp_path)
    counts = {unit["id"]: unit["num_spikes"] for unit in page.units}
    assert counts == {"a": 4, "one": 1, "none": 0}
    a, one, none = (next(u for u in page.units if u["id"] == name) for name in ("a", "one", "none"))
    fs = recording.sampling_frequency
    # the second segment comes after the first
    times, step = one["amplitude"]["times_s"], 8.0 / (TIME_LEVELS - 1)
    np.testing.assert_allclose(times, [5.0 + 77 / fs], rtol=0, atol=0.51 * step)
    assert page.data["session"]["segment_starts_s"] == [5.0]
    assert sum(a["isi"]) == 1, "not the interval between segments"
    assert none["amplitude"] is None
    assert sum(one["isi"]) == 0
    assert none["template"] is None


def test_neighbours_only_and_logarithmic_correlograms(tmp_path, example):
    analyzer = example.copy()
    analyzer.compute("cross_correlograms", pairs="auto", bins="log", window_ms=200.0)
    page = write(analyzer, tmp_path)
    extension = analyzer.get_extension("cross_correlograms")
    for unit in page.units:
        assert unit["acg"]["counts"] == extension.get_acg(unit["id"])[0].tolist()
        assert unit["acg"]["baseline"] is None
        assert all(other["ccg"] is None for other in unit["similar"]), "not counted, not drawn"


def test_amplitudes_that_are_not_known_are_left_out(tmp_path):
    """Those of the extension, as the folder is gone; the page says which they are."""
    folder = shutil.copytree(sic.example_folder(), tmp_path / "gone")
    analyzer = sic.read_kilosort_as_analyzer(folder)
    shutil.rmtree(folder)
    amplitudes = np.array(analyzer.get_extension("spike_amplitudes").data["amplitudes"])
    of_first = np.flatnonzero(analyzer.sorting.to_spike_vector()["unit_index"] == 0)
    of_second = np.flatnonzero(analyzer.sorting.to_spike_vector()["unit_index"] == 1)
    amplitudes[of_first[:3]] = [np.nan, np.inf, -np.inf]
    amplitudes[of_second] = np.nan
    analyzer.get_extension("spike_amplitudes").data["amplitudes"] = amplitudes
    page = write(analyzer, tmp_path)
    first, second = (unit["amplitude"] for unit in page.units[:2])
    expected = np.abs(amplitudes[of_first[3:]])
    step = np.ptp(expected) / (AMPLITUDE_LEVELS - 1)
    np.testing.assert_allclose(first["values"], expected, rtol=0, atol=0.51 * step)
    assert first["times_s"].size == of_first.size - 3
    assert page.data["spike_amplitude"]["label"] == "at the extremum (raw units)"
    assert "extension spike_amplitudes" in page.text
    assert second is None


@pytest.mark.slow
@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
def test_saved_analyzers_give_the_same_page(tmp_path, example, page, format):
    suffix = ".zarr" if format == "zarr" else ""
    example.save_as(format=format, folder=tmp_path / f"analyzer{suffix}")
    loaded = sc.load_sorting_analyzer(tmp_path / f"analyzer{suffix}")
    again = write(loaded, tmp_path)
    assert again.blocks == page.blocks


@pytest.mark.slow
def test_twice_the_same(example, page, tmp_path):
    again = write(example, tmp_path)
    assert re.sub(r"made [^<]*", "", again.source) == re.sub(r"made [^<]*", "", page.source)


# size


@pytest.mark.slow
def test_size_and_memory_of_many_units(tmp_path, simulate):
    folder = simulate("kilosort4", num_templates=40, num_channels=64, num_spikes=10_000).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    names = ["template_assignment", "template_best_channels", "unit_similarity"]
    analyzer.compute([*names, "cross_correlograms"])
    few = sic.export_report(analyzer, tmp_path / "two.html", unit_ids=analyzer.unit_ids[:2])
    path = sic.export_report(analyzer, tmp_path / "all.html", progress_bar=False)
    # all kernels are compiled now: compiling is slow where allocations are traced
    tracemalloc.start()
    sic.export_report(analyzer, tmp_path / "again.html", progress_bar=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    num_units = len(analyzer.unit_ids)
    each = (path.stat().st_size - few.stat().st_size) / num_units
    assert each < 6_000, "a unit of 250 spikes, and its share of the candidates"
    # 60 MB: features of a few units at a time, and copies on which suggestions are tried
    assert peak < 120_000 * num_units + 60e6


# options and errors


def test_some_units(example, tmp_path):
    page = write(example, tmp_path, unit_ids=[13, 10], title="Two")
    assert [unit["id"] for unit in page.units] == [10, 13]
    assert "2 of 8 are in this report" in page.text
    assert "Two" in page.text
    rows = {unit["id"]: [o["row"] for o in unit["similar"]] for unit in page.units}
    assert len(rows[10]) == 5, "similar units may be others, without a link"
    assert [row for row in rows[13] if row is not None] == [0], "links to units in the report"


def test_errors_change_nothing(example, tmp_path, monkeypatch):
    target = tmp_path / "new folder" / "report.html"
    with pytest.raises(sic.UnknownIdError, match="99"):
        sic.export_report(example, target, unit_ids=[99])
    with pytest.raises(sic.ParameterError, match="no units"):
        sic.export_report(example, target, unit_ids=[])
    with pytest.raises(sic.ParameterError, match="is a folder"):
        sic.export_report(example, tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(sic.ParameterError, match="is a file"):
        sic.export_report(example, tmp_path / "file" / "report.html")

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("si_curation.report.unit_panel.UnitPanels._template", fail)
    with pytest.raises(KeyboardInterrupt):
        sic.export_report(example, target)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file"]


def test_nothing_is_overwritten_unless_asked(example, tmp_path):
    target = tmp_path / "report.html"
    target.write_text("mine")
    with pytest.raises(sic.OutputExistsError):
        sic.export_report(example, target)
    assert target.read_text() == "mine"
    assert sic.export_report(example, target, overwrite=True) == target
    assert target.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_import_does_not_need_the_template_engine():
    code = "import sys, si_curation; sys.exit('jinja2' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_the_policy_names_every_script_and_style(page):
    policy = next(
        attributes["content"]
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert policy.count("sha256-") == len(SCRIPTS) + len(STYLES)
    report_page_module.read_asset.cache_clear()
    for name in (*SCRIPTS, *STYLES):
        text = read_asset(name)
        assert text in page.source
        assert "</script" not in text.lower()
        assert "</style" not in text.lower()
    links = [
        value
        for tag, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href") and tag != "a"
    ]
    assert links == ["data:,"], "nothing is loaded"


def test_command(capsys, tmp_path):
    output = tmp_path / "out put.html"
    with pytest.raises(SystemExit) as done:
        main(["report", str(sic.example_folder()), str(output), "--title", "T"])
    assert not done.value.code
    assert "8 units" in capsys.readouterr().out
    page = ReportPage(output)
    assert page.data["notes"] == {}, "what is cheap is computed"
    with pytest.raises(SystemExit) as done:
        main(["report", str(sic.example_folder()), str(output)])
    assert done.value.code == 2
    assert "exists" in capsys.readouterr().err


def test_command_counts_neighbours_of_many_units(tmp_path, monkeypatch):
    monkeypatch.setattr("si_curation.cli.analyzers.MANY_UNITS", 7)
    with pytest.raises(SystemExit) as done:
        main(["report", str(sic.example_folder()), str(tmp_path / "page.html")])
    assert not done.value.code
    page = ReportPage(tmp_path / "page.html")
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(["template_best_channels", "cross_correlograms"])
    for unit in page.units:
        counts = analyzer.get_extension("cross_correlograms").get_acg(unit["id"])[0]
        assert unit["acg"]["counts"] == counts.tolist()
    assert '"pairs": "neighbours"' in page.source.replace("&#34;", '"')


def test_command_leaves_a_saved_analyzer_as_it_is(capsys, tmp_path, hash_files):
    analyzer = sic.read_kilosort_as_analyzer(
        sic.example_folder(), format="binary_folder", folder=tmp_path / "analyzer"
    )
    assert analyzer.format == "binary_folder"
    before = hash_files(tmp_path / "analyzer")
    with pytest.raises(SystemExit) as done:
        main(["report", str(tmp_path / "analyzer"), str(tmp_path / "report.html")])
    assert not done.value.code
    assert hash_files(tmp_path / "analyzer") == before
    assert ReportPage(tmp_path / "report.html").data["notes"] == {}


def test_command_deletes_nothing_of_a_saved_analyzer(tmp_path, hash_files):
    analyzer = hostile_analyzer(["a", "b", "c"])
    analyzer.compute(["random_spikes", "templates", "template_best_channels"])
    analyzer.save_as(format="binary_folder", folder=tmp_path / "analyzer")
    before = hash_files(tmp_path / "analyzer")
    with pytest.raises(SystemExit) as done:
        main(["report", str(tmp_path / "analyzer"), str(tmp_path / "report.html")])
    assert not done.value.code
    assert hash_files(tmp_path / "analyzer") == before
    page = ReportPage(tmp_path / "report.html")
    assert [unit["template"]["template_ids"] for unit in page.units] == [["a"], ["b"], ["c"]]


@pytest.mark.slow
def test_real_folder_with_two_shanks(shared_data, tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(shared_data / "ks1_phy_curated")
    analyzer.compute(EXTENSIONS)
    page = write(analyzer, tmp_path)
    assert "32 on 2 shanks" in page.text
    merged = next(unit for unit in page.units if unit["id"] == 65)
    assert merged["template"]["num_templates"] == 3
    counts = analyzer.get_extension("template_assignment").get_template_counts()
    assert sorted(merged["template"]["counts"]) == sorted(counts[[-1]].data.tolist())


@pytest.mark.slow
def test_sessions_are_in_the_facts_and_charts(tmp_path, example):
    analyzer = example.copy()
    assert write(analyzer, tmp_path / "none").data["session"]["sessions"] == []
    borders = sic.session_borders(analyzer, [25.0, 52.5], names=["b&lt;se", "drug", "wash"])
    path = sic.export_report(analyzer, tmp_path / "r.html", borders=borders, progress_bar=False)
    sessions = ReportPage(path).data["session"]["sessions"]
    assert [one["name"] for one in sessions] == ["b&lt;se", "drug", "wash"]
    assert [one["start_s"] for one in sessions] == [0.0, 25.0, 52.5]
    assert [one["stop_s"] for one in sessions[:2]] == [25.0, 52.5]
    text = path.read_text(encoding="utf-8")
    assert "3: b&amp;lt;se from 0 s, drug from 25 s, wash from 52.5 s" in text
    drug = sic.split_by_session(analyzer, borders)["drug"]
    path = sic.export_report(drug, tmp_path / "drug.html", progress_bar=False)
    assert "drug: 25 to 52.5 s of what was sorted as one" in path.read_text(encoding="utf-8")


def test_session_borders_are_in_the_drawing_of_the_drift():
    starts = np.arange(10.0, 50.0, 2.0)
    shift = np.linspace(0.0, 8.0, starts.size)[:, None]
    drift = SorterDrift(shift, np.array([100.0]), starts, 2.0)
    drawing = drift_drawing(drift, [5.0, 30.0, 60.0])
    left, _, width, _ = drawing["box"]
    assert drawing["borders"] == [left + width / 2], "those outside of what was sorted are not"
