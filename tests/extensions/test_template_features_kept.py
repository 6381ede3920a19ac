"""`template_features` through curation, storage, blocks and threads; and what is refused."""

from __future__ import annotations

import shutil
import warnings

import numba
import numpy as np
import pytest
from spikeinterface.core import NumpyRecording, load_sorting_analyzer

import si_curation as sic
from oracles import features as naive
from si_curation.reading import blockwise as streaming

pytestmark = pytest.mark.slow

NAME = "template_features"
SOURCES = {"kilosort2": "file", "kilosort4": "pc_features"}


@pytest.fixture(scope="module")
def make(simulate):
    def simulated(dialect, **kwargs):
        options = {"num_templates": 18, "num_channels": 20, "num_spikes": 900, "curation": 6}
        return simulate(dialect, **{**options, "seed": 11, **kwargs})

    return simulated


@pytest.fixture(scope="module", params=SOURCES)
def folder(request, make):
    """A folder with a file and one with features only; not written to."""
    return make(request.param)


@pytest.fixture
def own_folder(make):
    """A Kilosort 4 folder to write to."""
    return make("kilosort4")


def read(truth, **kwargs):
    return sic.read_kilosort_as_analyzer(truth.folder, **kwargs)


def rows_of(analyzer):
    return analyzer.get_extension("template_assignment").get_spike_rows()


def values_of(analyzer):
    return np.asarray(analyzer.get_extension(NAME).get_data()[0])


def by_row(analyzer):
    """Projections by row of the folder's files: {row: values}."""
    return dict(zip(rows_of(analyzer).tolist(), values_of(analyzer), strict=True))


def assert_same_values(analyzer, other):
    """Every spike of one analyzer has the values that it has in the other."""
    found, expected = by_row(analyzer), by_row(other)
    assert found
    for row, values in found.items():
        np.testing.assert_array_equal(values, expected[row])
    one, two = analyzer.get_extension(NAME), other.get_extension(NAME)
    np.testing.assert_array_equal(one.template_index, two.template_index)
    np.testing.assert_array_equal(one.template_norms, two.template_norms)
    assert one.info == two.info


def sizes(analyzer):
    return analyzer.sorting.count_num_spikes_per_unit()


@pytest.fixture(scope="module")
def computed(folder):
    """An analyzer that no test changes."""
    analyzer = read(folder)
    assert analyzer.compute(NAME).source == SOURCES[folder.dialect]
    return analyzer


# ------------------------------------------------------------------------------------ curation


def units_by_size(analyzer):
    return sorted(analyzer.unit_ids.tolist(), key=lambda unit: -sizes(analyzer)[unit])


def test_merge(folder, computed):
    a, b, c, *_ = units_by_size(computed)
    merged = computed.merge_units([[a, b, c]], new_unit_ids=[99], sparsity_overlap=0.0)
    assert merged.has_extension(NAME)
    assert sizes(merged)[99] == sum(sizes(computed)[u] for u in (a, b, c))
    assert_same_values(merged, computed)
    extension, rows = merged.get_extension(NAME), rows_of(merged)
    index = merged.sorting.to_spike_vector()["unit_index"]
    clusters, templates = merged.unit_ids[index], folder.spike_templates[rows]
    dense = np.zeros((900, 18))
    stored = extension.template_index[templates]
    for row, onto, values in zip(range(900), stored, values_of(merged), strict=True):
        dense[row, onto[onto >= 0]] = values[onto >= 0]
    other = units_by_size(computed)[4]
    for one, two in [(99, 99), (99, other), (other, 99)]:
        expected = naive.projections_onto(dense, templates, clusters, one, two)
        found = extension.get_unit_projections(one, onto=two)
        np.testing.assert_array_equal(found, expected.astype(np.float32))
        pairs = naive.pair_projections(dense, templates, clusters, one, two)
        for x, y in zip(extension.get_pair_projections(one, two), pairs, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-4)


def test_split(computed):
    unit, other = units_by_size(computed)[:2]
    half = np.arange(sizes(computed)[unit] // 3)
    rest = np.arange(half.size, sizes(computed)[unit])
    split = computed.split_units({unit: [half, rest]}, new_unit_ids=[[200, 201]])
    assert sizes(split)[200] == half.size
    assert_same_values(split, computed)
    whole = computed.get_extension(NAME).get_unit_projections(unit, onto=other)
    parts = [split.get_extension(NAME).get_unit_projections(u, onto=other) for u in (200, 201)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("how", ["select", "remove", "channels", "copy", "session"])
def test_other_changes(computed, how):
    unit_ids = computed.unit_ids[::2]
    if how == "select":
        changed = computed.select_units(unit_ids)
    elif how == "remove":
        changed = computed.remove_units(computed.unit_ids[:2])
    elif how == "channels":
        changed = computed._select_channels(computed.channel_ids[::2])
    elif how == "copy":
        changed = computed.copy()
    else:
        session = sic.CurationSession(computed)
        merged = session.merge(unit_ids[:2].tolist())
        session.label([merged], "good")
        with warnings.catch_warnings():  # of what the merged unit cannot have any more
            warnings.simplefilter("ignore", sic.SiCurationWarning)
            changed = session.apply()
    assert changed.has_extension(NAME)
    assert_same_values(changed, computed)
    onto = changed.unit_ids[0]
    for unit in changed.unit_ids[:4]:
        found = changed.get_extension(NAME).get_unit_projections(unit, onto=onto)
        assert found.size == sizes(changed)[unit]
        if how != "session":
            expected = computed.get_extension(NAME).get_unit_projections(unit, onto=onto)
            np.testing.assert_array_equal(found, expected)
    if how not in ("copy", "session"):  # SpikeInterface's copies share what they hold
        assert not np.shares_memory(values_of(changed), values_of(computed))


def test_merge_then_compute_is_compute_then_merge(computed, folder):
    groups = [[units_by_size(computed)[i] for i in pair] for pair in ([0, 3], [1, 2, 4])]
    options = {"new_unit_ids": [77, 78], "sparsity_overlap": 0.0}
    later = read(folder).merge_units(groups, **options)
    later.compute(NAME)
    assert_same_values(later, computed)
    first = computed.merge_units(groups, **options)
    np.testing.assert_array_equal(values_of(later), values_of(first))


@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
def test_on_disk(computed, folder, tmp_path, format):
    path = tmp_path / ("analyzer.zarr" if format == "zarr" else "analyzer")
    on_disk = read(folder, format=format, folder=path)
    on_disk.compute(NAME)  # written while it is computed
    a, b = units_by_size(on_disk)[:2]
    for analyzer in (on_disk, load_sorting_analyzer(path)):
        assert_same_values(analyzer, computed)
        extension = analyzer.get_extension(NAME)
        for one, two in [(a, b), (b, b)]:
            expected = computed.get_extension(NAME).get_unit_projections(one, onto=two)
            np.testing.assert_array_equal(extension.get_unit_projections(one, two), expected)
        expected = computed.get_extension(NAME).get_pair_projections(a, b)
        for x, y in zip(extension.get_pair_projections(a, b), expected, strict=True):
            np.testing.assert_array_equal(x, y)
    merged = load_sorting_analyzer(path).merge_units([[a, b]], sparsity_overlap=0.0)
    assert_same_values(merged, computed)
    other = "zarr" if format == "binary_folder" else "binary_folder"
    target = tmp_path / f"other.{other}"
    merged.save_as(format=other, folder=target)
    reloaded = load_sorting_analyzer(target if other != "zarr" else f"{target}")
    assert_same_values(reloaded, computed)
    # again with other parameters, over what is there
    again = load_sorting_analyzer(path)
    again.compute(NAME, source="pc_features", num_templates=2)
    expected = read(folder)
    expected.compute(NAME, source="pc_features", num_templates=2)
    assert_same_values(load_sorting_analyzer(path), expected)


def test_lazy_and_not_saved(computed, folder, tmp_path):
    on_disk = read(folder, format="binary_folder", folder=tmp_path / "analyzer")
    on_disk.compute(NAME, save=False)
    assert_same_values(on_disk, computed)
    assert not load_sorting_analyzer(tmp_path / "analyzer").has_extension(NAME)
    on_disk = read(folder, format="binary_folder", folder=tmp_path / "other")
    on_disk.compute(NAME)
    lazy = load_sorting_analyzer(tmp_path / "other", load_extensions=False)
    assert_same_values(lazy, computed)


# ---------------------------------------------------------------------------- blocks and threads


@pytest.mark.parametrize("rows_per_block", [7, 100, 899, 900])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_blocks_and_threads(
    computed, folder, tmp_path, monkeypatch, threads, rows_per_block, num_threads
):
    threads(min(num_threads, numba.config.NUMBA_NUM_THREADS))
    monkeypatch.setattr(streaming, "ROWS_PER_BLOCK", rows_per_block)
    analyzer = read(folder)
    analyzer.compute(NAME)
    np.testing.assert_array_equal(values_of(analyzer), values_of(computed))
    if rows_per_block == 100:
        for format in ("zarr", "binary_folder"):
            path = tmp_path / f"analyzer.{format}"
            read(folder, format=format, folder=path).compute(NAME)
            np.testing.assert_array_equal(
                values_of(load_sorting_analyzer(path)), values_of(computed)
            )


def test_rows_in_any_order(make, monkeypatch):
    """Blocks of spikes are scattered over the whole file where it is not sorted."""
    analyzer = read(make("kilosort4", shuffled=True))
    expected = np.array(analyzer.compute(NAME).get_data()[0])
    monkeypatch.setattr(streaming, "ROWS_PER_BLOCK", 13)
    np.testing.assert_array_equal(analyzer.compute(NAME).get_data()[0], expected)


# --------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"source": "files"}, ["source", "'files'", "recording", "pc_features"]),
        ({"source": None}, ["source", "None"]),
        ({"num_templates": 0}, ["num_templates", "0"]),
        ({"num_templates": -1}, ["num_templates", "-1"]),
        ({"num_templates": 2.0}, ["num_templates", "2.0"]),
        ({"num_templates": True}, ["num_templates", "True"]),
        ({"num_templates": "3"}, ["num_templates", "'3'"]),
        ({"source": 4, "num_templates": None}, ["source", "4", "num_templates", "None"]),
    ],
)
def test_wrong_parameters(folder, params, words):
    analyzer = read(folder)
    before = set(analyzer.extensions)
    with pytest.raises(sic.ParameterError) as caught:
        analyzer.compute(NAME, **params)
    for word in words:
        assert word in str(caught.value)
    assert set(analyzer.extensions) == before


def test_wrong_questions(computed):
    extension = computed.get_extension(NAME)
    unit = computed.unit_ids[0]
    for ask in (
        lambda: extension.get_unit_projections(999),
        lambda: extension.get_unit_projections(unit, onto=999),
        lambda: extension.get_pair_projections(999, unit),
        lambda: extension.get_pair_projections(unit, 999),
    ):
        with pytest.raises(sic.UnknownIdError, match="999"):
            ask()
    with pytest.raises(sic.ParameterError, match=r"outputs.*csv"):
        extension.get_data(outputs="csv")


def refused(analyzer, error, words, **params):
    """Computing fails, says why, and leaves everything else as it was."""
    before = {name: dict(ext.data) for name, ext in analyzer.extensions.items() if name != NAME}
    with pytest.raises(error) as caught:
        analyzer.compute(NAME, **params)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    after = {name: ext.data for name, ext in analyzer.extensions.items() if name != NAME}
    assert set(after) == set(before)
    for name, data in before.items():
        for key, values in data.items():
            if isinstance(values, np.ndarray):
                np.testing.assert_array_equal(after[name][key], values)
    assert not analyzer.has_extension(NAME)


def test_sources_that_are_not_there(make, own_folder):
    bare = read(make("kilosort4", write_features=False))
    folder = bare.get_extension("template_assignment").info["phy_folder"]
    names = ["template_features.npy", "pc_features.npy"]
    refused(bare, sic.MissingDataError, [*names, folder, "set_temporary_recording"])
    refused(bare, sic.MissingDataError, [names[0], folder], source="file")
    refused(bare, sic.MissingDataError, [names[1], folder], source="pc_features")
    refused(bare, sic.MissingDataError, ["recording", "set_temporary_rec"], source="recording")
    with_features = read(own_folder)
    refused(with_features, sic.MissingDataError, ["template_features.npy"], source="file")
    refused(with_features, sic.MissingDataError, ["recording"], source="recording")


@pytest.mark.parametrize("source", ["auto", "pc_features"])
def test_folder_gone(own_folder, tmp_path, source):
    analyzer = read(own_folder)
    shutil.move(own_folder.folder, tmp_path / "elsewhere")
    words = [str(own_folder.folder), "not there"]
    refused(analyzer, sic.FolderNotFoundError, words, source=source)


@pytest.mark.parametrize("num_spikes", [900, 600, 1500])
def test_sorted_again(own_folder, make, num_spikes):
    analyzer = read(own_folder)
    other = make("kilosort4", num_spikes=num_spikes, seed=12)
    shutil.rmtree(own_folder.folder)
    shutil.copytree(other.folder, own_folder.folder)
    refused(analyzer, sic.PhyFolderError, ["spike_templates.npy", "sorted again"])


@pytest.mark.parametrize("how", ["rows", "bytes", "axes", "template"])
def test_broken_features(own_folder, how):
    analyzer = read(own_folder)
    path = own_folder.folder / "pc_features.npy"
    values = np.load(path)
    if how == "rows":
        np.save(path, values[:-7])
    elif how == "axes":
        np.save(path, values.reshape(900, 2, 3, -1))
    elif how == "bytes":
        path.write_bytes(path.read_bytes()[:-1000])
    else:
        path = own_folder.folder / "pc_feature_ind.npy"
        np.save(path, np.load(path)[:-1])
    refused(analyzer, sic.PhyFolderError, [path.name, str(own_folder.folder)])


def test_recomputing_what_fails_keeps_everything_else(own_folder):
    analyzer = read(own_folder)
    analyzer.compute(NAME)
    before = set(analyzer.get_loaded_extension_names())
    with pytest.raises(sic.MissingDataError, match=r"template_features\.npy"):
        analyzer.compute(NAME, source="file")
    assert set(analyzer.get_loaded_extension_names()) == before
    assert analyzer.get_extension(NAME).source == "pc_features"


def test_a_lost_assignment_is_matched_to_its_folder_again(make):
    truth = make("kilosort4")
    analyzer = read(truth)
    expected = analyzer.compute(NAME).get_data()
    analyzer.delete_extension(NAME)
    analyzer.delete_extension("template_assignment")
    found = analyzer.compute(NAME).get_data()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_broken_folder_falls_back_to_the_recording(own_folder):
    analyzer = read(own_folder)
    traces = np.zeros((analyzer.get_num_samples(0), 20), dtype="int16")
    recording = NumpyRecording([traces], 30_000.0, channel_ids=analyzer.channel_ids)
    recording.set_probegroup(analyzer.get_probegroup())
    analyzer.set_temporary_recording(recording)
    shutil.rmtree(own_folder.folder)
    refused(analyzer, sic.FolderNotFoundError, ["not there"], source="pc_features")
    extension = analyzer.compute(NAME)
    assert extension.source == "recording"
    assert not values_of(analyzer).any()
