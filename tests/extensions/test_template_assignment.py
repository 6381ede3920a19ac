"""`template_assignment`, on Kilosort analyzers and on any other."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import spikeinterface.core as sc
from scipy import sparse
from spikeinterface.core import load_sorting_analyzer

import si_curation as sic
from helpers.assignments import ASSIGNMENT, BEST, TABLE, extension, naive_ranking, ranked
from oracles import folders as naive
from si_curation.kernels.channels import centre_of_signal

BOTH = [ASSIGNMENT, BEST]
COLUMNS = {
    "template_id": np.int64,
    "template_spike_count": np.int64,
    "num_spikes": np.int64,
    "template_purity": np.float64,
    "num_templates": np.int64,
}


# ---------------------------------------------------------------------------- what data are given


def test_assignment_table(curated_folder):
    truth = curated_folder
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    table = extension(analyzer).get_data()
    assert table.dtypes.to_dict() == COLUMNS
    assert list(table.columns) == list(COLUMNS)
    np.testing.assert_array_equal(table.index, analyzer.unit_ids)
    expected = naive.most_frequent_template(truth.spike_templates, truth.spike_clusters)
    assert table.to_dict("index") == expected
    assert (table["template_purity"] < 1).any()


def test_assignment_methods(curated_folder):
    truth = curated_folder
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    assignment = extension(analyzer)
    num_templates = len(truth.templates_whitened)
    assert assignment.template_ids.tolist() == list(range(num_templates))
    spike_template_ids = assignment.get_spike_template_ids()
    assert spike_template_ids.dtype == np.int32
    rows = assignment.get_spike_rows()
    assert rows.dtype in (np.int32, np.int64)
    np.testing.assert_array_equal(spike_template_ids, truth.spike_templates[rows])
    counts = assignment.get_template_counts()
    assert isinstance(counts, sparse.csr_array)
    expected = naive.template_counts_matrix(
        truth.spike_templates, truth.spike_clusters, analyzer.unit_ids, num_templates
    )
    np.testing.assert_array_equal(counts.toarray(), expected)
    templates = np.nan_to_num(truth.templates_unwhitened)
    scale = np.abs(templates).max()
    np.testing.assert_allclose(assignment.get_templates(), templates, atol=1e-6 * scale)
    assert assignment.get_templates().dtype == np.float32
    assert (
        assignment.source == assignment.info["source"] == analyzer.sorting.get_annotation("sorter")
    )
    for unit_id, row in zip(analyzer.unit_ids, expected, strict=True):
        frequent = assignment.get_unit_template(unit_id)
        assert frequent.dtype == np.float32
        np.testing.assert_allclose(frequent, templates[row.argmax()], atol=1e-6 * scale)
        mean = assignment.get_unit_template(unit_id, kind="weighted_mean")
        assert mean.dtype == np.float32
        mean_expected = naive.weighted_mean_template(row, templates)
        np.testing.assert_allclose(mean, mean_expected, atol=1e-6 * scale)


@pytest.mark.slow
def test_template_similarity_is_the_sorters_or_the_cosine(folder, analyzer, tmp_path):
    merged = analyzer.merge_units([[4, 5]], new_unit_ids=[50], sparsity_overlap=0.0)
    stored = np.load(folder.folder / "similar_templates.npy")
    for one in (analyzer, merged, analyzer.select_units([4]), analyzer.copy()):
        found = extension(one).get_template_similarity()
        np.testing.assert_array_equal(found, stored)
    copy = tmp_path / "copy"
    shutil.copytree(folder.folder, copy)
    (copy / "similar_templates.npy").unlink()
    without = sic.read_kilosort_as_analyzer(copy)
    flat = folder.templates_unwhitened.reshape(len(stored), -1)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    found = extension(without).get_template_similarity()
    np.testing.assert_allclose(found, flat @ flat.T, atol=1e-5)


def test_what_is_given_can_be_changed_without_harm(analyzer):
    assignment = extension(analyzer)
    unit_id = analyzer.unit_ids[0]
    before = assignment.get_unit_template(unit_id).copy()
    for kind in ("most_frequent", "weighted_mean"):
        assignment.get_unit_template(unit_id, kind)[:] = 0
    table = assignment.get_data()
    table.loc[unit_id, "template_id"] = -5
    assignment.info["source"] = "mine"
    extension(analyzer, BEST).get_data()[unit_id][:] = -1
    np.testing.assert_array_equal(assignment.get_unit_template(unit_id), before)
    assert assignment.get_data().loc[unit_id, "template_id"] >= 0
    assert assignment.source == "kilosort4"
    assert extension(analyzer, BEST).get_best_channel(unit_id) >= 0


@pytest.mark.parametrize("unit_id", [999, -1, "4", "x", None, 4.5])
def test_unknown_units(read_only_analyzer, unit_id):
    analyzer = read_only_analyzer
    for ask in (
        extension(analyzer).get_unit_template,
        extension(analyzer, BEST).get_best_channels,
        extension(analyzer, BEST).get_best_channel,
    ):
        with pytest.raises(sic.UnknownIdError) as caught:
            ask(unit_id)
        assert repr(unit_id) in str(caught.value)
        assert str(analyzer.unit_ids[0]) in str(caught.value)
        assert isinstance(caught.value, KeyError)


@pytest.mark.parametrize("kind", ["mean", "", None, 0])
def test_unknown_kind(read_only_analyzer, kind):
    with pytest.raises(sic.ParameterError, match=r"kind.*most_frequent.*weighted_mean"):
        extension(read_only_analyzer).get_unit_template(4, kind)


@pytest.mark.parametrize("name", BOTH)
def test_unknown_outputs(read_only_analyzer, name):
    with pytest.raises(sic.ParameterError, match="outputs"):
        extension(read_only_analyzer, name).get_data(outputs="csv")


def test_a_parameter_that_does_not_exist_does_not_cost_the_data(analyzer):
    expected = extension(analyzer).get_data()
    with pytest.raises(sic.ParameterError, match="num_channels"):
        analyzer.compute(ASSIGNMENT, num_channels=3)
    assert analyzer.has_extension(ASSIGNMENT)
    assert extension(analyzer).get_data().equals(expected)


def test_default_parameters():
    defaults = sc.get_default_analyzer_extension_params(BEST)
    phys = {"num_channels": 12, "amplitude_threshold": 0.0, "same_shank": True}
    assert defaults == {**phys, "source": "auto"}
    expected = {"kilosort_folder": "auto", "frame_offset": None, "unwhiten": "auto"}
    assert sc.get_default_analyzer_extension_params(ASSIGNMENT) == expected


# --------------------------------------------------------------------- analyzers of other sorters


def test_units_of_any_sorter_are_the_templates(other):
    analyzer = other.copy()
    table = sic.compute_template_assignment(analyzer)
    assignment = extension(analyzer)
    assert assignment.source == "identity"
    assert table.dtypes.to_dict() == COLUMNS
    assert table.index.tolist() == analyzer.unit_ids.tolist()
    assert table["template_id"].tolist() == list(range(6))
    counts = analyzer.sorting.count_num_spikes_per_unit(outputs="array")
    assert table["num_spikes"].tolist() == counts.tolist()
    assert table["template_spike_count"].tolist() == counts.tolist()
    assert np.all(table["template_purity"] == 1)
    assert np.all(table["num_templates"] == 1)
    np.testing.assert_array_equal(
        assignment.get_spike_template_ids(), analyzer.sorting.to_spike_vector()["unit_index"]
    )
    templates = extension(analyzer, "templates").get_data()
    np.testing.assert_array_equal(assignment.get_templates(), templates.astype(np.float32))
    for unit_index, unit_id in enumerate(analyzer.unit_ids):
        expected = templates[unit_index].astype(np.float32)
        np.testing.assert_array_equal(assignment.get_unit_template(unit_id), expected)
    assert assignment.info["template_unit_ids"] == [str(i) for i in analyzer.unit_ids]
    with pytest.raises(sic.MissingDataError, match="rows"):
        assignment.get_spike_rows()
    with pytest.raises(sic.UnknownIdError):
        assignment.get_unit_template("no such unit")


@pytest.mark.parametrize("format", ["memory", "binary_folder", "zarr"])
def test_lineage_of_any_sorter_is_kept(other, tmp_path, format):
    analyzer = other.copy()
    analyzer.compute(BOTH)
    before = analyzer.sorting.to_spike_vector()["unit_index"].copy()
    a, b, c = analyzer.unit_ids[[0, 4, 2]]
    new_id = "merged" if isinstance(a, str) else 1000
    kwargs = {"format": format}
    if format != "memory":
        kwargs["folder"] = tmp_path / "merged"
    merged = analyzer.merge_units([[a, b]], new_unit_ids=[new_id], sparsity_overlap=0.0, **kwargs)
    np.testing.assert_array_equal(extension(merged).get_spike_template_ids(), before)
    counts = extension(merged).get_template_counts().toarray()
    sizes = analyzer.sorting.count_num_spikes_per_unit(outputs="array")
    row = merged.unit_ids.tolist().index(new_id)
    assert counts[row].tolist() == [sizes[0], 0, 0, 0, sizes[4], 0]
    largest = 0 if sizes[0] >= sizes[4] else 4
    table = extension(merged).get_data()
    assert table.loc[new_id, "template_id"] == largest
    assert table.loc[new_id, "num_templates"] == 2
    assert table.loc[new_id, "template_purity"] == sizes[largest] / (sizes[0] + sizes[4])
    # the merged unit has the channels of its most frequent template
    parent = analyzer.unit_ids[largest]
    np.testing.assert_array_equal(
        extension(merged, BEST).get_best_channels(new_id),
        extension(analyzer, BEST).get_best_channels(parent),
    )
    # split it again into what it came from, and another unit in two
    spikes = merged.sorting.to_spike_vector()
    templates = extension(merged).get_spike_template_ids()[spikes["unit_index"] == row]
    size = int(sizes[2])
    splits = {
        new_id: [np.flatnonzero(templates == 0), np.flatnonzero(templates == 4)],
        c: [np.arange(0, size, 3), np.setdiff1d(np.arange(size), np.arange(0, size, 3))],
    }
    new_ids = [["x", "y"], ["u", "v"]] if isinstance(a, str) else [[2000, 2001], [2002, 2003]]
    if format != "memory":
        kwargs["folder"] = tmp_path / "split"
    split = merged.split_units(splits, new_unit_ids=new_ids, **kwargs)
    table = extension(split).get_data()
    assert table.loc[new_ids[0], "template_id"].tolist() == [0, 4]
    assert table.loc[new_ids[1], "template_id"].tolist() == [2, 2]
    assert table.loc[new_ids[0], "num_spikes"].tolist() == [sizes[0], sizes[4]]
    assert np.all(table["template_purity"] == 1)
    for unit, template in zip([*new_ids[0], *new_ids[1]], [0, 4, 2, 2], strict=True):
        np.testing.assert_array_equal(
            extension(split, BEST).get_best_channels(unit),
            extension(analyzer, BEST).get_best_channels(analyzer.unit_ids[template]),
        )
    # computing again does not start anew
    split.compute(BOTH)
    assert extension(split).get_data().equals(table)


def test_without_templates(other):
    analyzer = other.copy()
    analyzer.delete_extension("templates")
    with pytest.raises(sic.MissingDataError, match="templates"):
        analyzer.compute(ASSIGNMENT)
    for name in (BEST, "unit_similarity"):
        with pytest.raises(sic.MissingDataError, match=f"{name} needs the extension 'templates'"):
            analyzer.compute(name)
    assert not analyzer.has_extension(ASSIGNMENT)
    assert not analyzer.has_extension(BEST)


MADE_OF_IT = [BEST, "unit_similarity"]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["memory", "binary_folder", "zarr"])
@pytest.mark.parametrize(
    "wrong",
    [{"frame_offset": "a"}, {"kilosort_folder": "/no/such/folder"}, {"unwhiten": 3}],
    ids=str,
)
def test_what_was_made_of_it_is_there_after_a_failure(other, tmp_path, format, wrong):
    """SpikeInterface deletes what depends on an extension before it looks at the parameters."""
    analyzer = other.copy()
    analyzer.compute([ASSIGNMENT, *MADE_OF_IT])
    if format != "memory":
        folder = tmp_path / ("a.zarr" if format == "zarr" else "a")
        analyzer = analyzer.save_as(format=format, folder=folder)
    before = analyzer.get_extension(BEST).get_data()
    with pytest.raises(sic.SiCurationError):
        analyzer.compute(ASSIGNMENT, **wrong)
    for one in [analyzer] if format == "memory" else [analyzer, load_sorting_analyzer(folder)]:
        assert all(one.has_extension(name) for name in (ASSIGNMENT, *MADE_OF_IT))
        np.testing.assert_equal(one.get_extension(BEST).get_data(), before)
        assert one.get_extension("unit_similarity").get_data().shape[0] == len(one.unit_ids)


def test_what_was_made_of_it_goes_with_it(other):
    analyzer = other.copy()
    for parent in (ASSIGNMENT, "templates"):
        analyzer.compute([ASSIGNMENT, *MADE_OF_IT])
        analyzer.compute(parent)
        assert not any(analyzer.has_extension(name) for name in MADE_OF_IT)
    # in any order, those that are asked for are computed after it
    analyzer.compute({name: {} for name in [*MADE_OF_IT, ASSIGNMENT]})
    assert all(analyzer.has_extension(name) for name in [*MADE_OF_IT, ASSIGNMENT])


# ---------------------------------------------------------------------------- ways to compute them


def test_compute_in_every_form(folder):
    def fresh():
        return sic.read_kilosort_as_analyzer(folder.folder)

    one = fresh()
    expected_table = sic.compute_template_assignment(one)
    expected_ranked = sic.compute_template_best_channels(one, num_channels=4)
    as_list = fresh()
    as_list.compute(BOTH)
    as_dict = fresh()
    as_dict.compute({BEST: {"num_channels": 4}, ASSIGNMENT: {}})
    with_params = fresh()
    with_params.compute([BEST, ASSIGNMENT], extension_params={BEST: {"num_channels": 4}})
    for analyzer in (as_list, as_dict, with_params):
        assert extension(analyzer).get_data().equals(expected_table)
    assert extension(as_list, BEST).params["num_channels"] == 12
    for analyzer in (as_dict, with_params):
        found = extension(analyzer, BEST).get_data()
        assert found.keys() == expected_ranked.keys()
        for unit_id, channels in found.items():
            np.testing.assert_array_equal(channels, expected_ranked[unit_id])
    assert set(BOTH) <= set(one.get_computable_extensions())
    assert extension(one, "templates") is not None, "nothing else is deleted on the way"
    assert extension(one, "spike_amplitudes") is not None


@pytest.mark.parametrize("format", ["memory", "binary_folder", "zarr"])
@pytest.mark.parametrize("how", ["", "lazy", "read_only", "lazy, read_only", "new instance"])
@pytest.mark.slow
def test_computing_again_keeps_what_cannot_be_computed(folder, tmp_path, hash_files, format, how):
    if format == "memory" and how:
        pytest.skip("only for analyzers on disk")
    target = None if format == "memory" else tmp_path / "analyzer"
    analyzer = sic.read_kilosort_as_analyzer(folder.folder, format=format, folder=target)
    table = extension(analyzer).get_data()
    if how:
        kwargs = dict.fromkeys(how.split(", "), True) if how != "new instance" else {}
        analyzer = load_sorting_analyzer(analyzer.folder, **kwargs)
    before = {
        name: dict(values) if isinstance(values, dict) else np.array(values[:])
        for name, values in extension(analyzer).data.items()
    }
    assert set(before) >= {
        "spike_template_ids",
        "spike_rows",
        "templates",
        "template_amplitudes",
        "template_support",
        "template_info",
    }
    files = None if target is None else hash_files(analyzer.folder)
    sic.compute_template_assignment(analyzer)
    analyzer.compute(ASSIGNMENT)
    analyzer.compute({ASSIGNMENT: {}, BEST: {}})

    def assert_kept(one):
        assert extension(one).get_data().equals(table)
        assert extension(one).data.keys() == before.keys()
        for name, values in before.items():
            if isinstance(values, dict):
                assert extension(one).data[name] == values
            else:
                np.testing.assert_array_equal(extension(one).data[name][:], values)

    assert_kept(analyzer)
    if target is not None:
        assert_kept(load_sorting_analyzer(analyzer.folder))
        if "read_only" in how:
            assert hash_files(analyzer.folder) == files
        else:
            assert load_sorting_analyzer(analyzer.folder).has_extension(BEST)


@pytest.mark.parametrize("format", ["memory", "binary_folder", "zarr"])
@pytest.mark.slow
def test_a_lost_assignment_is_matched_again(folder, tmp_path, format):
    target = None if format == "memory" else tmp_path / "analyzer"
    analyzer = sic.read_kilosort_as_analyzer(folder.folder, format=format, folder=target)
    before, rows = extension(analyzer).get_data(), extension(analyzer).get_spike_rows().copy()
    analyzer.delete_extension(ASSIGNMENT)
    if target is not None:
        analyzer = load_sorting_analyzer(analyzer.folder)
    for one in (analyzer.copy(), analyzer.select_units(analyzer.unit_ids[:3]), analyzer):
        found = one.compute(ASSIGNMENT)
        assert found.get_data().equals(before.loc[one.unit_ids])
    np.testing.assert_array_equal(found.get_spike_rows(), rows)


@pytest.mark.parametrize("change", ["merge", "split"])
@pytest.mark.slow
def test_a_lost_assignment_of_changed_units_is_matched_again(folder, analyzer, change):
    changed = CHANGES[change](analyzer)
    before = extension(changed).get_spike_rows()
    changed.delete_extension(ASSIGNMENT)
    np.testing.assert_array_equal(changed.compute(ASSIGNMENT).get_spike_rows(), before)


def test_a_lost_assignment_is_not_made_up_where_the_folder_is_gone(folder, tmp_path):
    shutil.copytree(folder.folder, tmp_path / "moved")
    analyzer = sic.read_kilosort_as_analyzer(tmp_path / "moved")
    analyzer.delete_extension(ASSIGNMENT)
    shutil.rmtree(tmp_path / "moved")
    with pytest.raises(sic.FolderNotFoundError, match="moved"):
        analyzer.compute(ASSIGNMENT)
    with pytest.raises(sic.MissingDataError, match="moved"):
        analyzer.compute(BEST)
    assert not analyzer.has_extension(ASSIGNMENT)


@pytest.mark.slow
def test_hard_merges_keep_the_lineage_or_refuse(folder):
    rng = np.random.default_rng(0)
    num_samples = int(folder.spike_samples.max()) + 100
    num_columns = sic.read_phy_folder(folder.folder).params["n_channels_dat"]
    traces = rng.integers(-50, 50, (num_samples, num_columns), dtype="int16")
    recording = sc.NumpyRecording([traces], sampling_frequency=folder.sampling_frequency)
    analyzer = sic.read_kilosort_as_analyzer(folder.folder, recording)
    soft = change_merge(analyzer)
    try:
        merged = change_merge(analyzer, merging_mode="hard", progress_bar=False)
    except sic.MissingDataError:
        return
    assert extension(merged).source == "kilosort4"
    assert extension(merged).get_data().equals(extension(soft).get_data())


@pytest.mark.slow
def test_an_assignment_lost_elsewhere_is_matched_again(folder, tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(
        folder.folder, format="binary_folder", folder=tmp_path / "analyzer"
    )
    units = analyzer.unit_ids[:2].tolist()
    code = (
        "import sys\n"
        "from spikeinterface.core import load_sorting_analyzer\n"
        "import spikeinterface.postprocessing\n"
        "analyzer = load_sorting_analyzer(sys.argv[1])\n"
        "analyzer.delete_extension('template_similarity')\n"
        f"merged = analyzer.merge_units([{units}], sparsity_overlap=0.0)\n"
        "merged.save_as(format='binary_folder', folder=sys.argv[2])\n"
        "assert 'si_curation' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "analyzer", tmp_path / "merged"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    merged = load_sorting_analyzer(tmp_path / "merged")
    assert not merged.has_extension(ASSIGNMENT)
    found = merged.compute(ASSIGNMENT)
    rows = found.get_spike_rows()
    samples = merged.sorting.to_spike_vector()["sample_index"]
    np.testing.assert_array_equal(folder.spike_samples[rows], samples)
    np.testing.assert_array_equal(found.get_spike_template_ids(), folder.spike_templates[rows])


# ------------------------------------------------- merge, split, select, remove, save, copy


def unit_of_row(analyzer, num_rows):
    """Unit id of each row of the folder's files, -1 where the spike is not there."""
    units = np.full(num_rows, -1)
    spikes = analyzer.sorting.to_spike_vector()
    units[extension(analyzer).get_spike_rows()] = analyzer.unit_ids[spikes["unit_index"]]
    return units


def assert_is_what_the_folder_says(analyzer, truth):
    """All that is said of units follows from the folder's templates and which spikes they have."""
    num_templates = len(truth.templates_whitened)
    rows = extension(analyzer).get_spike_rows()
    spikes = analyzer.sorting.to_spike_vector()
    np.testing.assert_array_equal(spikes["sample_index"], truth.spike_samples[rows])
    assert len(set(rows.tolist())) == rows.size
    np.testing.assert_array_equal(
        extension(analyzer).get_spike_template_ids(), truth.spike_templates[rows]
    )
    units = unit_of_row(analyzer, truth.spike_samples.size)
    there = units != -1
    expected = naive.most_frequent_template(truth.spike_templates[there], units[there])
    table = extension(analyzer).get_data()
    assert table.to_dict("index") == {u: expected[u] for u in analyzer.unit_ids.tolist()}
    counts = naive.template_counts_matrix(
        truth.spike_templates[there], units[there], analyzer.unit_ids, num_templates
    )
    np.testing.assert_array_equal(extension(analyzer).get_template_counts().toarray(), counts)
    means = [naive.weighted_mean_template(row, truth.templates_unwhitened) for row in counts]
    scale = np.abs(means).max()
    average = np.asarray(extension(analyzer, "templates").get_data())
    np.testing.assert_allclose(average, means, atol=2e-6 * scale)
    similarity = extension(analyzer, "template_similarity").get_data()
    flat = np.reshape(means, (len(means), -1))
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    np.testing.assert_allclose(similarity, flat @ flat.T, atol=1e-5)
    best = extension(analyzer, BEST)
    found = best.get_data(outputs="indices")
    main = analyzer.get_main_channels(outputs="index", with_dict=True)
    for unit_id, answer in expected.items():
        channels, _ = naive_ranking(truth, answer["template_id"], num_channels=9)
        assert found[unit_id].tolist() == channels
        assert main[unit_id] == channels[0], "the main channel is phy's best channel"
    assert best.params["num_channels"] == 9
    amplitudes = extension(analyzer, "spike_amplitudes").get_data()
    whole = sic.read_kilosort_as_analyzer(truth.folder)
    by_row = np.zeros(truth.spike_samples.size, dtype=np.float32)
    by_row[extension(whole).get_spike_rows()] = extension(whole, "spike_amplitudes").get_data()
    np.testing.assert_array_equal(amplitudes, by_row[rows])


def change_merge(analyzer, **kwargs):
    groups = [[4, 5], [0, 6, 13]]
    kwargs = {"new_unit_ids": [50, 51], "sparsity_overlap": 0.0, **kwargs}
    return analyzer.merge_units(groups, **kwargs)


def change_split(analyzer, **kwargs):
    size = analyzer.sorting.count_num_spikes_per_unit()
    parts = {
        unit_id: [np.arange(0, size[unit_id], 2), np.arange(1, size[unit_id], 2)]
        for unit_id in (4, 14)
    }
    return analyzer.split_units(parts, new_unit_ids=[[60, 61], [62, 63]], **kwargs)


CHANGES = {
    "merge": change_merge,
    "split": change_split,
    "select": lambda analyzer, **kwargs: analyzer.select_units([13, 4, 6], **kwargs),
    "remove": lambda analyzer, **kwargs: analyzer.remove_units([4, 13], **kwargs),
    "save": lambda analyzer, **kwargs: analyzer.save_as(**kwargs),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("memory", "memory"),
        ("memory", "binary_folder"),
        ("memory", "zarr"),
        ("binary_folder", "memory"),
        ("binary_folder", "binary_folder"),
        ("zarr", "zarr"),
        ("zarr, lazy", "memory"),
        ("binary_folder, lazy", "memory"),
    ],
)
@pytest.mark.slow
def test_changes_of_units_in_every_format(folder, tmp_path, change, source, target):
    format, _, lazy = source.partition(", ")
    place = None if format == "memory" else tmp_path / "source"
    analyzer = sic.read_kilosort_as_analyzer(folder.folder, format=format, folder=place)
    analyzer.compute(BEST, num_channels=9)
    if lazy:
        analyzer = load_sorting_analyzer(analyzer.folder, lazy=True)
    kwargs = {"format": target}
    if target != "memory":
        kwargs["folder"] = tmp_path / ("target.zarr" if target == "zarr" else "target")
    sizes = analyzer.sorting.count_num_spikes_per_unit()
    changed = CHANGES[change](analyzer, **kwargs)
    lost = {"select": set(sizes) - {13, 4, 6}, "remove": {4, 13}}.get(change, set())
    assert len(changed.sorting.to_spike_vector()) == sum(
        size for unit_id, size in sizes.items() if unit_id not in lost
    )
    with warnings.catch_warnings():
        # it was made by this version of SpikeInterface, whatever it thinks
        warnings.filterwarnings("error", message="This sorting analyzer is from an an older")
        assert_is_what_the_folder_says(changed, folder)
        if target != "memory":
            assert_is_what_the_folder_says(load_sorting_analyzer(changed.folder), folder)
    if change == "select":
        assert changed.unit_ids.tolist() == [13, 4, 6]


def test_copy(folder, analyzer):
    analyzer.compute(BEST, num_channels=9)
    copy = analyzer.copy()
    assert_is_what_the_folder_says(copy, folder)
    copy.compute(BEST, num_channels=2)
    copy.delete_extension(ASSIGNMENT)
    assert_is_what_the_folder_says(analyzer, folder)


@pytest.mark.slow
def test_merge_that_drops_spikes(folder, analyzer):
    analyzer.compute(BEST, num_channels=9)
    merged = analyzer.merge_units(
        [analyzer.unit_ids.tolist()[:8]], new_unit_ids=[50], sparsity_overlap=0.0, censor_ms=5.0
    )
    assert len(merged.sorting.to_spike_vector()) < folder.spike_samples.size
    assert_is_what_the_folder_says(merged, folder)


@pytest.mark.slow
def test_merge_then_compute_is_compute_then_merge(folder):
    before = sic.read_kilosort_as_analyzer(folder.folder)
    before.compute(BEST, num_channels=9)
    for change in (change_merge, change_split):
        first = change(before)
        second = change(sic.read_kilosort_as_analyzer(folder.folder))
        second.compute({ASSIGNMENT: {}, BEST: {"num_channels": 9}})
        assert extension(first).get_data().equals(extension(second).get_data())
        assert ranked(first).equals(ranked(second))
        for name in ("templates", "template_similarity", "unit_locations"):
            np.testing.assert_array_equal(
                extension(first, name).get_data(), extension(second, name).get_data()
            )


def test_changes_one_after_the_other(folder, analyzer):
    analyzer.compute(BEST, num_channels=9)
    analyzer = change_merge(analyzer)
    size = analyzer.sorting.count_num_spikes_per_unit()[51]
    analyzer = analyzer.split_units(
        {51: [np.arange(size // 3), np.arange(size // 3, size)]}, new_unit_ids=[[70, 71]]
    )
    analyzer = analyzer.remove_units([50])
    analyzer = analyzer.merge_units([[70, 7]], new_unit_ids=[72], sparsity_overlap=0.0)
    assert_is_what_the_folder_says(analyzer, folder)


def test_locations_follow_the_templates(folder, analyzer):
    merged = change_merge(analyzer)
    assignment = extension(merged)
    counts, amplitudes = assignment.get_template_counts(), assignment.get_template_amplitudes()
    expected = centre_of_signal(counts.toarray() @ amplitudes, merged.get_channel_locations())
    np.testing.assert_allclose(extension(merged, "unit_locations").get_data(), expected)


def test_locations_by_another_method_stay_of_that_method(folder, analyzer):
    with_other = analyzer.copy()
    with_other.compute("unit_locations", method="center_of_mass")
    merged = change_merge(with_other)
    found = extension(merged, "unit_locations").get_data().copy()
    merged.compute("unit_locations", method="center_of_mass")
    np.testing.assert_array_equal(found, extension(merged, "unit_locations").get_data())


# ------------------------------------------------------------------------------------- invariance


def test_relabelling_units_permutes_the_answer_and_nothing_else(folder, analyzer, tmp_path):
    rng = np.random.default_rng(0)
    new_ids = rng.permutation(100)[: len(analyzer.unit_ids)]
    name_of = dict(zip(analyzer.unit_ids.tolist(), new_ids.tolist(), strict=True))
    copy = tmp_path / "copy"
    shutil.copytree(folder.folder, copy)
    for path in copy.glob("cluster_*.tsv"):
        path.unlink()
    clusters = np.array([name_of[int(c)] for c in folder.spike_clusters], dtype=np.int32)
    np.save(copy / "spike_clusters.npy", clusters)
    other = sic.read_kilosort_as_analyzer(copy)
    other.compute(BEST)
    table = extension(analyzer).get_data().rename(index=name_of)
    pd.testing.assert_frame_equal(table.sort_index(), extension(other).get_data())
    ours, theirs = extension(analyzer, BEST).get_data(), extension(other, BEST).get_data()
    for old, new in name_of.items():
        np.testing.assert_array_equal(ours[old], theirs[new])
        np.testing.assert_array_equal(
            extension(analyzer).get_unit_template(old, "weighted_mean"),
            extension(other).get_unit_template(new, "weighted_mean"),
        )
    old_ids = sorted(name_of, key=name_of.get)
    order = analyzer.sorting.ids_to_indices(old_ids)
    for name in ("templates", "unit_locations"):  # sums of locations are in another order
        tolerance = 0.0 if name == "templates" else 1e-12
        found = extension(analyzer, name).get_data()[order]
        np.testing.assert_allclose(found, extension(other, name).get_data(), rtol=tolerance)
    np.testing.assert_allclose(
        extension(analyzer, "template_similarity").get_data()[np.ix_(order, order)],
        extension(other, "template_similarity").get_data(),
        atol=1e-6,
    )


def test_shifting_time_changes_nothing_else(folder, analyzer, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder.folder, copy)
    np.save(copy / "spike_times.npy", folder.spike_samples + 12_345)
    shifted = sic.read_kilosort_as_analyzer(copy)
    shifted.compute(BEST)
    assert extension(shifted).get_data().equals(extension(analyzer).get_data())
    assert ranked(shifted).equals(ranked(analyzer))
    for name in ("templates", "spike_amplitudes", "random_spikes", "template_similarity"):
        np.testing.assert_array_equal(
            extension(shifted, name).get_data(), extension(analyzer, name).get_data()
        )


# ------------------------------------------------------------------------------------ empty units


@pytest.fixture
def with_empty_unit(folder, tmp_path):
    """All spikes of unit 4 are before sample 0."""
    copy = tmp_path / "empty"
    shutil.copytree(folder.folder, copy)
    samples = folder.spike_samples.copy()
    samples[folder.spike_clusters == 4] = -9
    np.save(copy / "spike_times.npy", samples)
    with pytest.warns(sic.SiCurationWarning):
        analyzer = sic.read_kilosort_as_analyzer(copy)
    return analyzer


def assert_unit_4_is_empty(analyzer):
    best = extension(analyzer, BEST)
    assert best.get_data()[4].tolist() == []
    assert best.get_data(outputs="indices")[4].tolist() == []
    assert 4 not in best.get_data(outputs="dataframe")["unit_id"].tolist()
    assert best.get_best_channels(4).tolist() == []
    with pytest.raises(sic.MissingDataError, match="4"):
        best.get_best_channel(4)
    row = extension(analyzer).get_data().loc[4]
    assert row["template_id"] == -1
    assert np.isnan(row["template_purity"])
    for kind in ("most_frequent", "weighted_mean"):
        template = extension(analyzer).get_unit_template(4, kind)
        assert template.shape == extension(analyzer).get_templates().shape[1:]
        assert not template.any()
    assert len(best.get_data()[7]) > 0


@pytest.mark.parametrize("format", ["memory", "binary_folder", "zarr"])
def test_empty_units(with_empty_unit, tmp_path, format):
    analyzer = with_empty_unit
    analyzer.compute(BEST)
    if format != "memory":
        analyzer = analyzer.save_as(format=format, folder=tmp_path / "out")
    assert_unit_4_is_empty(analyzer)
    merged = analyzer.merge_units([[5, 6]], new_unit_ids=[50], sparsity_overlap=0.0)
    assert_unit_4_is_empty(merged)
    filled = analyzer.merge_units([[4, 5]], new_unit_ids=[50], sparsity_overlap=0.0)
    assert (
        extension(filled, BEST).get_best_channels(50).tolist()
        == extension(analyzer, BEST).get_best_channels(5).tolist()
    )
    only = analyzer.select_units([4])
    assert_unit_4_is_empty_alone(only)


def assert_unit_4_is_empty_alone(analyzer):
    analyzer.compute(BEST)
    assert extension(analyzer, BEST).get_data()[4].tolist() == []
    assert len(extension(analyzer, BEST).get_data(outputs="dataframe")) == 0
    assert list(extension(analyzer, BEST).get_data(outputs="dataframe").columns) == TABLE


def test_no_units_at_all(analyzer):
    none = analyzer.select_units([])
    none.compute(BOTH)
    assert len(extension(none).get_data()) == 0
    assert extension(none).get_data().dtypes.to_dict() == COLUMNS
    assert extension(none, BEST).get_data() == {}


# ------------------------------------------------------------------- SpikeInterface's own, on top


@pytest.mark.filterwarnings("ignore")
def test_spikeinterfaces_extensions_run_without_a_recording(folder, analyzer):
    counts = analyzer.sorting.count_num_spikes_per_unit(outputs="array")
    num_units = counts.size
    ccgs, bins = analyzer.compute("correlograms", window_ms=20.0, bin_ms=1.0).get_data()
    assert ccgs.shape == (num_units, num_units, bins.size - 1)
    histograms, _ = analyzer.compute("isi_histograms").get_data()
    assert len(histograms) == num_units
    metrics = analyzer.compute(
        "quality_metrics", metric_names=["num_spikes", "firing_rate", "isi_violation"]
    ).get_data()
    assert metrics["num_spikes"].tolist() == counts.tolist()
    rates = counts / analyzer.get_total_duration()
    np.testing.assert_allclose(metrics["firing_rate"].astype(float), rates)
    metrics = analyzer.compute("quality_metrics", metric_names=["amplitude_median"]).get_data()
    medians = [
        np.median(values)
        for values in extension(analyzer, "spike_amplitudes")
        .get_data(outputs="by_unit", concatenated=True)
        .values()
    ]
    np.testing.assert_allclose(
        np.abs(metrics["amplitude_median"].astype(float)), np.abs(medians), rtol=1e-6
    )
    spiketrain = analyzer.compute("spiketrain_metrics").get_data()
    assert len(spiketrain) == num_units
    in_uv = sic.read_kilosort_as_analyzer(folder.folder, gain_to_uV=0.2)
    assert len(in_uv.compute("template_metrics").get_data()) == num_units
    # and ours are still there
    assert extension(analyzer).get_data()["num_spikes"].tolist() == counts.tolist()
    assert extension(analyzer, BEST) is not None
