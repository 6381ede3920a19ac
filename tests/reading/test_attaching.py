"""A folder is attached to what SpikeInterface makes of it, and to nothing else."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest
import spikeinterface.core as sc
from spikeinterface.curation import (
    CurationSorting,
    MergeUnitsSorting,
    SplitUnitSorting,
    remove_duplicated_spikes,
    remove_excess_spikes,
)
from spikeinterface.extractors import read_kilosort, read_phy

import si_curation as sic
from helpers.analyzers import recording_of_folder
from helpers.assignments import ASSIGNMENT, BEST, extension

pytestmark = pytest.mark.filterwarnings("ignore:create_sorting_analyzer")


@pytest.fixture(scope="module")
def folder(simulate):
    return simulate(
        num_templates=12,
        num_channels=16,
        num_spikes=3000,
        labels={3: "good", 4: "noise"},
        curation=5,
        seed=3,
    )


@pytest.fixture(scope="module")
def recording(folder):
    return recording_of_folder(folder.folder)


@pytest.fixture(scope="module")
def read(folder):
    return sic.read_kilosort_as_analyzer(folder.folder)


def analyzer_of(sorting, recording, **kwargs):
    return sc.create_sorting_analyzer(sorting, recording, sparse=False, **kwargs)


def check_rows(analyzer, folder, offset=0):
    """Each spike has the sample and the template of its row, and no row is there twice."""
    assignment = extension(analyzer)
    rows = assignment.get_spike_rows()
    vector = analyzer.sorting.to_spike_vector()
    assert np.unique(rows).size == rows.size
    np.testing.assert_array_equal(folder.spike_samples[rows], vector["sample_index"] + offset)
    np.testing.assert_array_equal(assignment.get_spike_template_ids(), folder.spike_templates[rows])
    return rows, vector


@pytest.mark.parametrize("reader", [read_phy, read_kilosort])
@pytest.mark.parametrize("format", ["memory", "binary_folder", "zarr"])
def test_as_the_reader_of_this_package(folder, recording, read, tmp_path, reader, format):
    kwargs = {} if format == "memory" else {"folder": tmp_path / "analyzer", "format": format}
    analyzer = analyzer_of(reader(folder.folder), recording, **kwargs)
    analyzer.compute([ASSIGNMENT, BEST, "unit_similarity"])
    if format != "memory":
        analyzer = sc.load_sorting_analyzer(analyzer.folder)
    read.compute([BEST, "unit_similarity"])
    rows, vector = check_rows(analyzer, folder)
    unit_ids = analyzer.unit_ids[vector["unit_index"]]
    np.testing.assert_array_equal(folder.spike_clusters[rows], unit_ids)
    ours, its = extension(analyzer), extension(read)
    assert ours.get_data().loc[read.unit_ids].equals(its.get_data())
    np.testing.assert_array_equal(ours.get_templates(), its.get_templates())
    assert ours.source == "kilosort4"
    assert ours.is_attached
    assert not its.is_attached
    best, expected = (extension(one, BEST).get_data("indices") for one in (analyzer, read))
    for unit_id in read.unit_ids:
        np.testing.assert_array_equal(best[unit_id], expected[unit_id])
    order = analyzer.sorting.ids_to_indices(read.unit_ids)
    similarity = extension(analyzer, "unit_similarity").get_data()[np.ix_(order, order)]
    np.testing.assert_array_equal(similarity, extension(read, "unit_similarity").get_data())
    quality = analyzer.get_sorting_property("quality")[order]
    np.testing.assert_array_equal(quality, read.get_sorting_property("quality"))
    features = analyzer.compute("template_features")
    assert features.source == "pc_features"
    spikes = np.arange(20)
    of_read = np.argsort(its.get_spike_rows())[rows[spikes]]
    np.testing.assert_array_equal(
        sic.get_spike_features(analyzer, spikes, [0, 5]),
        sic.get_spike_features(read, of_read, [0, 5]),
    )


def sortings(folder, recording):
    """What SpikeInterface makes of a sorting, by name: sorting, recording, offset."""
    sorting = read_phy(folder.folder)
    ids = sorting.unit_ids.tolist()
    n = recording.get_num_samples()
    sizes = sorting.count_num_spikes_per_unit(outputs="array")
    big = int(np.argmax(sizes))
    parts = np.arange(sizes[big]) % 2
    rate = recording.sampling_frequency
    merged = MergeUnitsSorting(sorting, [ids[:2], ids[3:5]], delta_time_ms=None)
    curated = CurationSorting(sorting, make_graph=False)
    curated.split(ids[big], [parts])
    cut = sorting.frame_slice(5000, n - 500)
    with_times = sorting.clone()
    with_times.register_recording(recording)
    yield "selected", sorting.select_units(ids[::2]), recording, 0
    yield "renamed", sorting.select_units(ids, [f"u{i}" for i in ids]), recording, 0
    yield "permuted", sorting.select_units(ids, ids[1:] + ids[:1]), recording, 0
    yield "excess", remove_excess_spikes(sorting, recording), recording, 0
    yield "duplicated", remove_duplicated_spikes(sorting, 0.0), recording, 0
    yield "merged", merged, recording, 0
    yield "split", SplitUnitSorting(sorting, ids[big], [parts]), recording, 0
    yield "curated", curated.sorting, recording, 0
    yield "cut", cut, recording.frame_slice(5000, n - 500), 5000
    yield "cut, recording unknown", cut, recording_of_folder(folder.folder), 5000
    yield (
        "time slice",
        with_times.time_slice(0.1, None),
        recording.time_slice(0.1, None),
        round(0.1 * rate),
    )
    yield (
        "aggregated",
        sc.aggregate_units([sorting.select_units(ids[:3]), sorting.select_units(ids[3:])]),
        recording,
        0,
    )


def test_through_the_wrappers_of_spikeinterface(folder, recording):
    for name, sorting, its_recording, offset in sortings(folder, recording):
        analyzer = analyzer_of(sorting, its_recording)
        analyzer.compute(ASSIGNMENT)
        check_rows(analyzer, folder, offset)
        assert extension(analyzer).frame_offset == offset, name
        assert extension(analyzer).source == "kilosort4", name


def test_of_sortings_that_were_saved(folder, recording, tmp_path):
    sorting = read_phy(folder.folder)
    for format in ("numpy_folder", "zarr"):
        saved = sorting.save(folder=tmp_path / f"sorting_{format}", format=format)
        if format == "numpy_folder":
            saved = sc.load(tmp_path / "sorting_numpy_folder")
        analyzer = analyzer_of(
            sc.load(tmp_path / f"sorting_{format}") if format == "numpy_folder" else saved,
            recording,
        )
        analyzer.compute(ASSIGNMENT)
        check_rows(analyzer, folder)


def test_merges_and_splits_of_the_analyzer(folder, recording):
    analyzer = analyzer_of(read_phy(folder.folder), recording)
    analyzer.compute(["random_spikes", "templates", ASSIGNMENT, BEST])
    ids = analyzer.unit_ids.tolist()
    merged = analyzer.merge_units([ids[:2]], sparsity_overlap=0.0)
    size = int(analyzer.sorting.count_num_spikes_per_unit(outputs="array")[3])
    split = analyzer.split_units({ids[3]: [np.arange(size // 2), np.arange(size // 2, size)]})
    for changed in (merged, split):
        before, _ = check_rows(changed, folder)
        shape = extension(changed, "templates").get_data("average").shape
        assert shape[1:] == extension(analyzer, "templates").get_data("average").shape[1:]
        changed.delete_extension(ASSIGNMENT)
        sic.attach_kilosort_folder(changed, folder.folder)
        np.testing.assert_array_equal(check_rows(changed, folder)[0], before)


@pytest.mark.parametrize("moved", [1, -1, 100])
def test_times_that_were_shifted_are_not_matched(folder, recording, moved):
    vector = read_phy(folder.folder).to_spike_vector().copy()
    vector["sample_index"] += moved
    vector = vector[vector["sample_index"] >= 0]
    sorting = sc.NumpySorting(vector, folder.sampling_frequency, read_phy(folder.folder).unit_ids)
    sorting.annotate(phy_folder=str(folder.folder))
    longer = recording_of_folder(folder.folder, 500)
    for ask in (
        lambda one: one.compute(ASSIGNMENT),
        lambda one: sic.attach_kilosort_folder(one, folder.folder),
    ):
        analyzer = analyzer_of(sorting, longer)
        with pytest.raises(sic.ParameterError, match=rf"\d+ of {vector.size} spikes"):
            ask(analyzer)
        assert not analyzer.has_extension(ASSIGNMENT)
    assigned = sic.attach_kilosort_folder(analyzer, folder.folder, frame_offset=-moved)
    assert assigned.frame_offset == -moved


def test_another_session_is_not_matched(folder, recording, simulate):
    other = simulate(num_templates=12, num_channels=16, num_spikes=3000, seed=4)
    sorting = read_phy(folder.folder)
    analyzer = analyzer_of(sorting, recording)
    with pytest.raises(sic.ParameterError, match="3000 spikes of the analyzer are not in"):
        analyzer.compute(ASSIGNMENT, kilosort_folder=other.folder)
    assert not analyzer.has_extension(ASSIGNMENT)


def test_other_channels_are_refused(folder):
    recording = recording_of_folder(folder.folder)
    recording = recording.clone()
    recording.set_dummy_probe_from_locations(recording.get_channel_locations() * 2 + 7)
    analyzer = analyzer_of(read_phy(folder.folder), recording)
    with pytest.raises(sic.ParameterError, match="channels"):
        analyzer.compute(ASSIGNMENT)


def test_a_channel_that_was_not_sorted_has_no_template(folder, read):
    recording = recording_of_folder(folder.folder)
    n = recording.get_num_channels()
    wider = sc.NumpyRecording(
        [np.zeros((recording.get_num_samples(), n + 1), dtype="int16")], folder.sampling_frequency
    )
    places = np.insert(recording.get_channel_locations(), 2, [[-500.0, 3.0]], axis=0)
    wider.set_dummy_probe_from_locations(places)
    analyzer = analyzer_of(read_phy(folder.folder), wider)
    assignment = analyzer.compute(ASSIGNMENT)
    expected = np.insert(extension(read).get_templates(), 2, 0, axis=2)
    np.testing.assert_array_equal(assignment.get_templates(), expected)
    assert assignment.get_folder_channels()[2] == -1
    best = analyzer.compute(BEST).get_data("indices")
    read.compute(BEST)
    for unit_id, channels in extension(read, BEST).get_data("indices").items():
        np.testing.assert_array_equal(best[unit_id], channels + (channels >= 2))
    found = sic.get_spike_features(analyzer, [0, 1], [2, 3])
    assert not found[:, 0].any()


def test_some_channels_of_the_folder(folder, recording, read):
    ids = recording.channel_ids[[9, 2, 3, 4, 12]]
    analyzer = analyzer_of(read_phy(folder.folder), recording.select_channels(ids))
    assignment = analyzer.compute(ASSIGNMENT)
    channels = assignment.get_folder_channels()
    places = read.get_channel_locations()[channels]
    np.testing.assert_array_equal(places, analyzer.get_channel_locations())
    expected = extension(read).get_templates()[:, :, channels]
    np.testing.assert_array_equal(assignment.get_templates(), expected)


def test_columns_and_places_that_disagree_are_refused():
    """The probe says other channels than the places in the raw file, as of a permuted wiring."""
    folder = sic.example_folder()
    recording = recording_of_folder(folder)
    places = recording.get_channel_locations()
    analyzer = analyzer_of(read_phy(folder), without_shanks(recording, places[::-1]))
    with pytest.raises(sic.ParameterError, match=r"channel_map.npy .* give other channels"):
        analyzer.compute(ASSIGNMENT)
    analyzer = analyzer_of(read_phy(folder), without_shanks(recording, places + 1000.0))
    found = analyzer.compute(ASSIGNMENT).get_templates()  # the same geometry elsewhere
    expected = extension(sic.read_kilosort_as_analyzer(folder)).get_templates()
    np.testing.assert_array_equal(found, expected)


def test_what_is_implicit_warns_once_and_says_what_is_used(folder, recording, tmp_path):
    shutil.copytree(folder.folder, tmp_path / "gone")
    analyzer = analyzer_of(read_phy(tmp_path / "gone"), recording)
    shutil.rmtree(tmp_path / "gone")
    analyzer.compute(["random_spikes", "templates"])
    with pytest.warns(sic.SiCurationWarning, match="Used instead: the extension 'templates'"):
        analyzer.compute(BEST)
    with warnings.catch_warnings():
        warnings.simplefilter("error", sic.SiCurationWarning)  # it was said
        analyzer.compute("unit_similarity")
    with pytest.raises(sic.FolderNotFoundError, match="gone"):
        analyzer.compute(ASSIGNMENT)
    assert analyzer.compute(ASSIGNMENT, kilosort_folder=None).source == "identity"


def test_what_phy_changed_since_is_said(folder, recording, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder.folder, copy)
    analyzer = analyzer_of(read_phy(copy), recording)
    clusters = np.load(copy / "spike_clusters.npy")
    ids = np.unique(clusters)
    clusters[np.isin(clusters, ids[:2])] = ids[-1] + 1
    np.save(copy / "spike_clusters.npy", clusters)
    with pytest.warns(sic.SiCurationWarning, match=f"2 units differ: unit {ids[0]} is in cluster"):
        analyzer.compute(ASSIGNMENT)
    check_rows(analyzer, folder)


def test_nothing_is_said_of_what_spikeinterface_merged(folder, recording):
    sorting = read_phy(folder.folder)
    merged = MergeUnitsSorting(sorting, [sorting.unit_ids[:2].tolist()], delta_time_ms=None)
    analyzer = analyzer_of(merged, recording)
    with warnings.catch_warnings():
        warnings.simplefilter("error", sic.SiCurationWarning)
        analyzer.compute(ASSIGNMENT)


@pytest.mark.parametrize("bad", [5, [], ["a", 5], ["a", "a"], 1.5])
def test_parameters(folder, recording, bad):
    analyzer = analyzer_of(read_phy(folder.folder), recording)
    with pytest.raises(sic.ParameterError, match="kilosort_folder"):
        analyzer.compute(ASSIGNMENT, kilosort_folder=bad)
    with pytest.raises(sic.ParameterError, match="frame_offset"):
        analyzer.compute(ASSIGNMENT, frame_offset=1.5)


def test_back_to_phy(folder, recording, tmp_path):
    analyzer = analyzer_of(read_phy(folder.folder), recording)
    analyzer.compute(ASSIGNMENT)
    out = sic.export_to_phy(analyzer, tmp_path / "out")
    for name in ("spike_clusters.npy", "spike_templates.npy", "templates.npy", "pc_features.npy"):
        assert (out / name).read_bytes() == (folder.folder / name).read_bytes()
    n = recording.get_num_samples()
    cut = analyzer_of(read_phy(folder.folder).frame_slice(5000, n), recording.frame_slice(5000, n))
    ids = cut.unit_ids.tolist()
    cut.compute(ASSIGNMENT)
    merged = cut.merge_units([ids[:2]], sparsity_overlap=0.0)
    shutil.copytree(folder.folder, tmp_path / "copy")
    sic.attach_kilosort_folder(merged, tmp_path / "copy")
    sic.update_phy_folder(tmp_path / "copy", merged)
    now = np.load(tmp_path / "copy" / "spike_clusters.npy").ravel()
    changed = np.isin(folder.spike_clusters, ids[:2]) & (folder.spike_samples >= 5000)
    np.testing.assert_array_equal(now != folder.spike_clusters, changed)
    assert np.unique(now[changed]).size == 1


def without_shanks(recording, places=None):
    """The recording with a probe of the same places of which no shank is known."""
    plain = recording.clone()
    plain.set_dummy_probe_from_locations(
        recording.get_channel_locations() if places is None else places
    )
    return plain


def formats(tmp_path):
    return [{"format": one, "folder": tmp_path / one} for one in ("binary_folder", "zarr")]


@pytest.mark.parametrize("from_ops", [False, True])
def test_shanks_of_the_folder_are_those_of_the_analyzer(simulate, tmp_path, from_ops):
    folder = simulate(num_templates=8, num_channels=16, num_shanks=2, num_spikes=600, seed=6).folder
    if from_ops:
        folder = shutil.copytree(folder, tmp_path / "folder")
        shanks = np.load(folder / "channel_shanks.npy").ravel()
        (folder / "channel_shanks.npy").unlink()
        ops = np.load(folder / "ops.npy", allow_pickle=True).item()
        np.save(folder / "ops.npy", {**ops, "kcoords": shanks.astype(np.float32)})
    read = sic.read_kilosort_as_analyzer(folder)
    read.compute(BEST, num_channels=16)
    expected = extension(read, BEST).get_data("dataframe")
    assert expected["shank"].nunique() == 2
    for kwargs in [{}, *formats(tmp_path)]:
        analyzer = analyzer_of(
            read_phy(folder), without_shanks(recording_of_folder(folder)), **kwargs
        )
        analyzer.compute(ASSIGNMENT)
        analyzer.compute(BEST, num_channels=16)
        if kwargs:
            analyzer = sc.load_sorting_analyzer(analyzer.folder)
        found = extension(analyzer, BEST).get_data("dataframe")
        columns = ["unit_id", "rank", "channel_index", "shank"]
        assert found[columns].astype(int).equals(expected[columns].astype(int))


@pytest.mark.slow
def test_shanks_that_the_probe_has_are_kept(simulate):
    folder = simulate(num_templates=4, num_channels=8, num_shanks=2, num_spikes=200, seed=6).folder
    recording = recording_of_folder(folder)
    group = recording.get_probegroup()
    group.probes[0].set_shank_ids(np.array(["7"] * 4 + ["9"] * 4))
    recording = recording.set_probegroup(group) or recording
    analyzer = analyzer_of(read_phy(folder), recording)
    analyzer.compute(ASSIGNMENT)
    assert analyzer.compute(BEST).get_data("dataframe")["shank"].isin([7, 9]).all()


@pytest.mark.slow
def test_the_part_that_was_sorted(simulate, tmp_path):
    part = {"tmin": 2.0, "tmax": 6.0}
    truth = simulate(
        num_templates=4,
        num_channels=8,
        num_spikes=400,
        duration_s=10.0,
        sorter_settings=part,
        seed=6,
    )
    folder, rate = truth.folder, int(truth.sampling_frequency)
    recording = recording_of_folder(folder, 10 * rate)
    read = sic.read_kilosort_as_analyzer(folder, recording)
    expected = sic.observed_periods(read)
    assert not expected.is_whole
    for kwargs in [{}, *formats(tmp_path)]:
        analyzer = analyzer_of(read_phy(folder), recording, **kwargs)
        analyzer.compute(ASSIGNMENT)
        if kwargs:
            analyzer = sc.load_sorting_analyzer(analyzer.folder)
        np.testing.assert_array_equal(sic.observed_periods(analyzer).periods, expected.periods)
    start, n = rate, recording.get_num_samples()
    cut = analyzer_of(read_phy(folder).frame_slice(start, n), recording.frame_slice(start, n))
    cut.compute(ASSIGNMENT)
    found = sic.observed_periods(cut).periods[:, 1:]
    np.testing.assert_array_equal(found, expected.periods[:, 1:] - start)
    for given in ([[1.0, 7.0]], None):
        analyzer = analyzer_of(read_phy(folder), recording)
        sic.set_observed_periods(analyzer, given)
        analyzer.compute(ASSIGNMENT)
        observed = sic.observed_periods(analyzer)
        assert observed.is_whole if given is None else observed.duration_s == 6.0


@pytest.mark.slow
def test_the_part_that_was_sorted_of_several_segments(simulate):
    truth = simulate(
        num_templates=4,
        num_channels=8,
        num_spikes=400,
        duration_s=10.0,
        sorter_settings={"tmin": 2.0, "tmax": 6.0},
        seed=6,
    )
    rate = int(truth.sampling_frequency)
    recording = recording_of_folder(truth.folder, 10 * rate)
    n = recording.get_num_samples()
    sorting = read_phy(truth.folder)
    cuts = [(0, 3 * rate), (3 * rate, n)]
    analyzer = analyzer_of(
        sc.append_sortings([sorting.frame_slice(*cut) for cut in cuts]),
        sc.append_recordings([recording.frame_slice(*cut) for cut in cuts]),
    )
    analyzer.compute(ASSIGNMENT)
    ((_, start, stop),) = sic.observed_periods(
        sic.read_kilosort_as_analyzer(truth.folder, recording)
    ).periods
    expected = [[0, start, 3 * rate], [1, 0, stop - 3 * rate]]
    assert sic.observed_periods(analyzer).periods.tolist() == expected
