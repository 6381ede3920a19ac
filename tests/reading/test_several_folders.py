"""Folders that were aggregated, appended or concatenated give what each gives alone, by spike."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import spikeinterface.core as sc
from spikeinterface.extractors import read_phy

import si_curation as sic
from helpers.analyzers import recording_of_folder
from helpers.assignments import ASSIGNMENT, BEST, extension

pytestmark = pytest.mark.filterwarnings("ignore:create_sorting_analyzer")
FORMATS = ["memory", *(pytest.param(f, marks=pytest.mark.slow) for f in ("binary_folder", "zarr"))]
HOW = ["aggregated", "concatenated", "appended"]


@pytest.fixture(scope="module")
def two(simulate, tmp_path_factory):
    """Two folders of one probe, both curated."""
    root = tmp_path_factory.mktemp("two")
    for name, seed in (("a", 3), ("b", 4)):
        made = simulate(num_templates=9, num_channels=16, num_spikes=900, curation=4, seed=seed)
        shutil.copytree(made.folder, root / name)
    return root / "a", root / "b"


@pytest.fixture(scope="module")
def recordings(two):
    return [recording_of_folder(folder, 700) for folder in two]


def joined(two, recordings, how):
    """The sorting, its recording, and sample 0 of each folder in it."""
    a, b = (read_phy(folder) for folder in two)
    length = recordings[0].get_num_samples()
    if how == "aggregated":
        longest = max(recordings, key=lambda one: one.get_num_samples())
        return sc.aggregate_units([a, b]), longest, [0, 0]
    ids = a.unit_ids[np.isin(a.unit_ids, b.unit_ids)]  # both have them
    parts = [one.select_units(ids) for one in (a, b)]
    if how == "appended":
        return sc.append_sortings(parts), sc.append_recordings(recordings), [0, length]
    lengths = [one.get_num_samples() for one in recordings]
    sorting = sc.concatenate_sortings(parts, total_samples_list=lengths)
    return sorting, sc.concatenate_recordings(recordings), [0, length]


def made(two, recordings, how, format="memory", path=None):
    sorting, recording, starts = joined(two, recordings, how)
    kwargs = {} if format == "memory" else {"folder": path / "analyzer", "format": format}
    return sc.create_sorting_analyzer(sorting, recording, sparse=False, **kwargs), starts


def check_spikes(analyzer, two, starts):
    """Each spike is a row of its folder, with its template; all of them, no row twice."""
    assignment = extension(analyzer)
    folders, rows = assignment.get_spike_folders()
    samples = analyzer.sorting.to_spike_vector()["sample_index"].copy()
    segments = analyzer.sorting.to_spike_vector()["segment_index"]
    ends = np.cumsum([analyzer.get_num_samples(i) for i in range(analyzer.get_num_segments())])
    samples += np.concatenate([[0], ends])[segments]
    first = assignment.info["first_template_ids"]
    for i, path in enumerate(two):
        mine = folders == i
        folder = sic.read_phy_folder(path)
        assert np.unique(rows[mine]).size == mine.sum() > 0
        np.testing.assert_array_equal(folder.spike_samples[rows[mine]], samples[mine] - starts[i])
        ids = assignment.get_spike_template_ids()[mine] - first[i]
        np.testing.assert_array_equal(ids, folder.spike_templates[rows[mine]])
    return folders, rows


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("format", FORMATS)
def test_every_spike(two, recordings, tmp_path, how, format):
    analyzer, starts = made(two, recordings, how, format, tmp_path)
    analyzer.compute(ASSIGNMENT, kilosort_folder=[str(folder) for folder in two])
    analyzer.compute([BEST, "unit_similarity"])
    if format != "memory":
        analyzer = sc.load_sorting_analyzer(analyzer.folder)
    folders, rows = check_spikes(analyzer, two, starts)
    clusters = [sic.read_phy_folder(folder).spike_clusters for folder in two]
    index = analyzer.sorting.to_spike_vector()["unit_index"]
    said = analyzer.unit_ids[index] if how != "aggregated" else None
    for i in range(2):
        if said is not None:
            np.testing.assert_array_equal(clusters[i][rows[folders == i]], said[folders == i])
    assignment = extension(analyzer)
    assert assignment.source == "kilosort4"
    assert assignment.num_folders == 2
    assert assignment.is_from_sorter
    assert not assignment.is_from_folder


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("format", ["binary_folder", pytest.param("zarr", marks=pytest.mark.slow)])
def test_found_by_what_was_saved(two, recordings, tmp_path, how, format):
    analyzer, starts = made(two, recordings, how, format, tmp_path)
    analyzer.compute(["random_spikes", "templates"])
    analyzer.compute(BEST)  # attaches them
    check_spikes(analyzer, two, starts)


def test_units_that_name_their_folder(two, recordings):
    sortings = [read_phy(folder) for folder in two]
    for folder, sorting in zip(two, sortings, strict=True):
        sorting.set_property("phy_folder", np.full(len(sorting.unit_ids), str(folder)))
    longest = max(recordings, key=lambda one: one.get_num_samples())
    analyzer = sc.create_sorting_analyzer(sc.aggregate_units(sortings), longest, sparse=False)
    analyzer.compute(ASSIGNMENT)
    check_spikes(analyzer, two, [0, 0])


def alone(folder):
    read = sic.read_kilosort_as_analyzer(folder)
    read.compute([BEST, "unit_similarity"])
    return read


def check_units(analyzer, two, channels=(slice(None), slice(None))):
    """Assignment, best channels, similarity and labels of aggregated units are as alone."""
    begin = 0
    table = extension(analyzer).get_data()
    best = extension(analyzer, BEST).get_data("indices")
    similarity = extension(analyzer, "unit_similarity").get_data()
    quality = analyzer.get_sorting_property("quality")
    for folder, first, its in zip(
        two, extension(analyzer).info["first_template_ids"], channels, strict=True
    ):
        read = alone(folder)
        ids = read_phy(folder).unit_ids
        units = analyzer.unit_ids[begin : begin + ids.size]
        expected = extension(read).get_data().loc[ids]
        expected["template_id"] += first
        np.testing.assert_array_equal(table.loc[units].to_numpy(), expected.to_numpy())
        own = np.arange(analyzer.get_num_channels())[its]
        for unit, cluster in zip(units, ids, strict=True):
            ranked = extension(read, BEST).get_data("indices")[cluster]
            np.testing.assert_array_equal(best[unit], own[ranked])
        order = read.sorting.ids_to_indices(ids)
        block = similarity[begin : begin + ids.size, begin : begin + ids.size]
        expected = extension(read, "unit_similarity").get_data()[np.ix_(order, order)]
        np.testing.assert_array_equal(block, expected)
        labels = read.get_sorting_property("quality")[order]
        np.testing.assert_array_equal(quality[begin : begin + ids.size], labels)
        begin += ids.size


def test_units_are_as_alone(two, recordings):
    analyzer, _ = made(two, recordings, "aggregated")
    sic.attach_kilosort_folder(analyzer, two)
    analyzer.compute([BEST, "unit_similarity"])
    check_units(analyzer, two)
    similarity = extension(analyzer, "unit_similarity").get_data()
    np.testing.assert_allclose(similarity, similarity.T, atol=1e-6)
    assert np.abs(similarity).max() <= 1.0 + 1e-5


def test_two_clusterings_of_the_same_spikes(two, recordings, tmp_path):
    """Units that are in both folders: the order tells, and the names of the folders."""
    other = shutil.copytree(two[0], tmp_path / "other")
    clusters = np.load(other / "spike_clusters.npy")
    ids = np.unique(clusters)
    swapped = np.where(clusters == ids[1], ids[0], np.where(clusters == ids[0], ids[1], clusters))
    np.save(other / "spike_clusters.npy", swapped.astype(clusters.dtype))
    folders = [two[0], other]
    sortings = [read_phy(folder) for folder in folders]
    analyzer = sc.create_sorting_analyzer(sc.aggregate_units(sortings), recordings[0], sparse=False)
    sic.attach_kilosort_folder(analyzer, folders)
    analyzer.compute([BEST, "unit_similarity"])
    check_units(analyzer, folders)
    some = sc.aggregate_units([one.select_units(one.unit_ids[2:]) for one in sortings])
    analyzer = sc.create_sorting_analyzer(some, recordings[0], sparse=False)
    with pytest.raises(sic.ParameterError, match=r"0 of \d+ units fit none .* fit several"):
        sic.attach_kilosort_folder(analyzer, folders)


def test_folders_of_two_halves_of_a_probe(two, recordings):
    """As of a probe that was sorted shank by shank: each folder has channels of its own."""
    halves = []
    for recording in recordings:
        halves.append(recording.get_channel_locations())
    places = np.concatenate([halves[0], halves[1] + np.array([2000.0, 0.0])])
    shutil.copytree(two[1], two[1].parent / "moved", dirs_exist_ok=True)
    moved = two[1].parent / "moved"
    np.save(moved / "channel_positions.npy", halves[1] + np.array([2000.0, 0.0]))
    length = max(one.get_num_samples() for one in recordings)
    whole = sc.NumpyRecording([np.zeros((length, 32), dtype="int16")], 30_000.0)
    whole.set_dummy_probe_from_locations(places)
    folders = [two[0], moved]
    analyzer = sc.create_sorting_analyzer(
        sc.aggregate_units([read_phy(folder) for folder in folders]), whole, sparse=False
    )
    sic.attach_kilosort_folder(analyzer, folders)
    analyzer.compute([BEST, "unit_similarity"])
    check_units(analyzer, folders, (slice(0, 16), slice(16, 32)))


def test_lineage_after_merges_and_splits(two, recordings):
    analyzer, _ = made(two, recordings, "aggregated")
    sic.attach_kilosort_folder(analyzer, two)
    analyzer.compute(["random_spikes", "templates", BEST])
    before = extension(analyzer).get_template_counts().toarray()
    ids = analyzer.unit_ids.tolist()
    merged = analyzer.merge_units([[ids[0], ids[-1]]], sparsity_overlap=0.0)  # of both folders
    counts = extension(merged).get_template_counts().toarray()
    np.testing.assert_array_equal(counts[-1], before[0] + before[-1])
    check_spikes(merged, two, [0, 0])
    session = sic.CurationSession(analyzer)
    new = session.merge([ids[0], ids[-1]])
    applied = session.apply()
    row = applied.unit_ids.tolist().index(new)
    found = extension(applied).get_template_counts().toarray()
    np.testing.assert_array_equal(found[row], counts[-1])
    some = merged.select_units(merged.unit_ids[::2])
    assert extension(some).num_folders == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:phy will not show amplitudes")
def test_exports_are_new_folders_with_all_templates(two, recordings, tmp_path):
    pytest.importorskip("pynwb")
    analyzer, _ = made(two, recordings, "aggregated")
    sic.attach_kilosort_folder(analyzer, two)
    out = sic.export_to_phy(analyzer, tmp_path / "out")
    back = sic.read_phy_folder(out)
    assert back.num_spikes == 1800
    ids = extension(analyzer).get_spike_template_ids()
    np.testing.assert_array_equal(back.spike_templates, ids)
    nwb = sic.export_to_nwb(
        analyzer,
        tmp_path / "out.nwb",
        t_start=0.0,
        metadata={
            "NWBFile": {
                "session_description": "two folders",
                "identifier": "two",
                "session_start_time": "2026-01-01T00:00:00+00:00",
            }
        },
    )
    assert nwb.is_file()


def test_what_does_not_fit(two, recordings, simulate):
    other = simulate(num_templates=9, num_channels=16, num_spikes=900, seed=8).folder
    for how in HOW:
        analyzer, _ = made(two, recordings, how)
        with pytest.raises(sic.ParameterError, match=r"\d+ of \d+ (spikes|units)"):
            sic.attach_kilosort_folder(analyzer, [two[0], other])
        assert not analyzer.has_extension(ASSIGNMENT)
    analyzer, _ = made(two, recordings, "concatenated")
    with pytest.raises(sic.ParameterError):
        sic.attach_kilosort_folder(analyzer, two[::-1])  # the other order
    with pytest.raises(sic.ParameterError, match="frame_offset is of one folder"):
        sic.attach_kilosort_folder(analyzer, two, frame_offset=5)
    with pytest.raises(sic.ParameterError, match="twice"):
        sic.attach_kilosort_folder(analyzer, [two[0], two[0]])


def test_concatenated_without_the_recording(two, recordings):
    """The borders are found by the last spike of each folder, and every spike proves them."""
    sorting, recording, starts = joined(two, recordings, "concatenated")
    whole = recording_of_folder(two[0], recording.get_num_samples())
    analyzer = sc.create_sorting_analyzer(sorting, whole, sparse=False)
    sic.attach_kilosort_folder(analyzer, two)
    check_spikes(analyzer, two, starts)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("how", ["aggregated", "concatenated"])
def test_slices(two, recordings, how, known):
    sorting, recording, starts = joined(two, recordings, how)
    if not known:  # nor is where the second one begins
        recording = recording_of_folder(two[0], recording.get_num_samples())
    begin, n = 4000, sorting.to_spike_vector()["sample_index"][-1] - 300
    analyzer = sc.create_sorting_analyzer(
        sorting.frame_slice(begin, n), recording.frame_slice(begin, n), sparse=False
    )
    sic.attach_kilosort_folder(analyzer, two)
    check_spikes(analyzer, two, [start - begin for start in starts])


def test_sliced_before_and_after(two, recordings):
    parts, begin = [], 3000
    ids = np.intersect1d(*(read_phy(folder).unit_ids for folder in two))
    lengths = [one.get_num_samples() for one in recordings]
    for folder, length in zip(two, lengths, strict=True):
        parts.append(read_phy(folder).select_units(ids).frame_slice(begin, length))
    recording = sc.concatenate_recordings(
        [one.frame_slice(begin, n) for one, n in zip(recordings, lengths, strict=True)]
    )
    sorting = sc.concatenate_sortings(parts, total_samples_list=[n - begin for n in lengths])
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    sic.attach_kilosort_folder(analyzer, two)
    check_spikes(analyzer, two, [-begin, lengths[0] - 2 * begin])
    only_second = lengths[0] - begin + 500
    n = recording.get_num_samples()
    cut = sc.create_sorting_analyzer(
        sorting.frame_slice(only_second, n), recording.frame_slice(only_second, n), sparse=False
    )
    assignment = sic.attach_kilosort_folder(cut, two)
    assert (assignment.get_spike_folders()[0] == 1).all()


def test_on_the_command_line(two, recordings, tmp_path):
    from click.testing import CliRunner

    from si_curation.cli.main import cli

    analyzer, starts = made(two, recordings, "concatenated", "binary_folder", tmp_path)
    arguments = ["attach", str(analyzer.folder), *map(str, two)]
    done = CliRunner().invoke(cli, [*arguments, "--output", str(tmp_path / "attached")])
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    assert f"frame offset 0, {-starts[1]}" in done.output
    check_spikes(sc.load_sorting_analyzer(tmp_path / "attached"), two, starts)


def test_some_channels_and_what_only_one_folder_has(two, recordings, tmp_path):
    folders = list(two)
    folders[0] = shutil.copytree(two[0], tmp_path / "a")
    (folders[0] / "similar_templates.npy").unlink(missing_ok=True)
    analyzer, _ = made(folders, recordings, "aggregated")
    assignment = sic.attach_kilosort_folder(analyzer, folders)
    assert not assignment.has_sorter_similarity
    some = analyzer._select_channels(analyzer.channel_ids[:9])
    found = extension(some)
    assert [part.channels.size for part in found.get_parts()] == [9, 9]
    some.compute(BEST)
    check_spikes(some, folders, [0, 0])


def test_what_needs_one_folder_says_so(two, recordings):
    analyzer, _ = made(two, recordings, "aggregated")
    assignment = sic.attach_kilosort_folder(analyzer, two)
    with pytest.raises(sic.MissingDataError, match="from 2 Kilosort folders"):
        assignment.get_spike_rows()
    with pytest.raises(sic.SiCurationError):
        sic.update_phy_folder(two[0], analyzer)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["concatenated", "appended"])
def test_sessions_of_folders_that_follow_have_their_own(two, recordings, tmp_path, how):
    analyzer, starts = made(two, recordings, how)
    analyzer.compute(["random_spikes", "templates"])
    analyzer.compute(ASSIGNMENT, kilosort_folder=[str(folder) for folder in two])
    analyzer.compute([BEST, "unit_similarity"])
    total = 0
    for path, (name, session) in zip(two, sic.split_by_session(analyzer).items(), strict=True):
        assignment = extension(session)
        assert (assignment.num_folders, assignment.is_from_folder) == (1, True)
        assert assignment.info["phy_folder"] == str(path)
        assert set(session.get_sorting_property("phy_folder")) == {str(path)}
        with sic.read_phy_folder(path) as folder:
            rows = assignment.get_spike_rows()
            samples = session.sorting.to_spike_vector()["sample_index"]
            np.testing.assert_array_equal(folder.spike_samples[rows], samples)
            np.testing.assert_array_equal(
                assignment.get_spike_template_ids(), folder.spike_templates[rows]
            )
        alone = extension(sic.read_kilosort_as_analyzer(path))
        np.testing.assert_array_equal(assignment.get_templates(), alone.get_templates())
        expected = sic.get_spike_features(sic.read_kilosort_as_analyzer(path), [0], [2, 3])
        assert expected.shape == sic.get_spike_features(session, [0], [2, 3]).shape
        again = session.copy()
        again.compute([BEST, "unit_similarity"])
        np.testing.assert_array_equal(
            session.get_extension("unit_similarity").get_data(),
            again.get_extension("unit_similarity").get_data(),
        )
        out = sic.export_to_phy(session, tmp_path / name)
        total += samples.size
        assert sic.read_phy_folder(out).num_spikes >= samples.size
    assert total == analyzer.sorting.count_total_num_spikes()


def test_folders_that_follow_are_sessions(two, recordings):
    analyzer, starts = made(two, recordings, "concatenated")
    analyzer.compute(["random_spikes", "templates"])
    analyzer.compute(ASSIGNMENT, kilosort_folder=[str(folder) for folder in two])
    analyzer._recording = None
    found = sic.session_borders(analyzer)
    assert (found.samples.tolist(), found.names, found.source) == (
        [starts[1]],
        ("a", "b"),
        "folders",
    )
