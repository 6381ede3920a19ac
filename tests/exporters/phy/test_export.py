"""`export_to_phy`: what it writes, read by phylib, SpikeInterface and ourselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import spikeinterface as si
from phylib.io.model import load_model
from spikeinterface.core import generate_ground_truth_recording
from spikeinterface.extractors import read_phy

import si_curation as sic
from helpers.links import make_link
from helpers.phy_folders import Faults, state_of, tables_of
from si_curation import files
from si_curation._spikeinterface import inject_extension
from si_curation.exporters.phy.copy import may_be_linked
from si_curation.exporters.phy.export import export_to_phy
from si_curation.files import settle_replaced

REAL = ["ks4_fresh", "ks4_phy_curated", "ks1_phy_curated", "np1_without_params"]


@pytest.fixture(scope="module", params=REAL)
def real_folder(request, shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("real") / request.param
    shutil.copytree(shared_data / request.param, folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    return folder


def read(folder, **kwargs):
    if "np1" in Path(folder).name and "sampling_frequency" not in kwargs:
        kwargs["sampling_frequency"] = 30_000.0
    return sic.read_kilosort_as_analyzer(folder, **kwargs)


def clusters_of(folder):
    return np.load(Path(folder) / "spike_clusters.npy").ravel()


def assert_same_arrays(folder, other):
    names = {p.name for p in Path(folder).glob("*.npy")}
    assert names == {p.name for p in Path(other).glob("*.npy")}
    for name in names:
        assert (Path(folder) / name).read_bytes() == (Path(other) / name).read_bytes(), name


def assert_same_analyzers(a, b):
    assert np.array_equal(a.unit_ids, b.unit_ids)
    assert np.array_equal(a.sorting.to_spike_vector(), b.sorting.to_spike_vector())
    assert set(a.sorting.get_property_keys()) == set(b.sorting.get_property_keys())
    for key in set(a.sorting.get_property_keys()) - {"phy_folder"}:  # where each was read
        x, y = a.sorting.get_property(key), b.sorting.get_property(key)
        assert all(p == q or (p != p and q != q) for p, q in zip(x, y, strict=True)), key
    pd.testing.assert_frame_equal(
        a.get_extension("template_assignment").get_data(),
        b.get_extension("template_assignment").get_data(),
    )


def check_with_phylib(folder, analyzer, cluster_of=None):
    """phylib's clusters, most frequent templates and best channels are the analyzer's."""
    model = load_model(folder / "params.py")
    assignment = analyzer.get_extension("template_assignment")
    spikes = analyzer.sorting.to_spike_vector()
    ids = analyzer.unit_ids if cluster_of is None else [cluster_of[i] for i in analyzer.unit_ids]
    rows = np.arange(len(spikes))
    if "spike_rows" in assignment.data:
        rows = assignment.get_spike_rows()
    assert np.array_equal(model.spike_clusters[rows], np.asarray(ids)[spikes["unit_index"]])
    table = assignment.get_data()
    sic.compute_template_best_channels(analyzer)
    ours = analyzer.get_extension("template_best_channels").get_data(outputs="indices")
    for cluster_id, unit_id in zip(ids, analyzer.unit_ids, strict=True):
        own = np.zeros(len(model.spike_clusters), dtype=bool)
        own[rows] = model.spike_clusters[rows] == cluster_id
        if not own.any():
            continue
        templates, counts = np.unique(model.spike_templates[own], return_counts=True)
        template = templates[np.argmax(counts)]
        assert template == table.loc[unit_id, "template_id"]
        channels = ours[unit_id]
        if channels.size:
            found = model.get_template(template).channel_ids
            common = np.isin(found, channels)  # 12 nearest ones for dense templates, in both
            assert np.array_equal(found[common][:12], channels[: common.sum()][:12])
    model.close()


# ---------------------------------------------------------------------- untouched


def test_untouched_real_folder_is_the_same_folder(real_folder, tmp_path, hash_files):
    before = hash_files(real_folder)
    analyzer = read(real_folder)
    out = export_to_phy(analyzer, tmp_path / "out" / real_folder.name)
    assert_same_arrays(real_folder, out)
    assert tables_of(out) == tables_of(real_folder)
    assert_same_analyzers(analyzer, read(out))
    assert hash_files(real_folder) == before
    check_with_phylib(out, read(out, unwhiten="phy"))


def test_untouched_simulated_folder_is_the_same_folder(curated_folder, tmp_path):
    analyzer = read(curated_folder.folder)
    out = export_to_phy(analyzer, tmp_path / "out")
    assert_same_arrays(curated_folder.folder, out)
    for path in curated_folder.folder.glob("*.tsv"):
        assert path.read_bytes() == (out / path.name).read_bytes()
    assert_same_analyzers(analyzer, read(out))


@pytest.mark.parametrize("shape", [True, False])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "uint32", "int64", "float64"])
@pytest.mark.slow
def test_dtype_and_shape_of_clusters_stay(simulate, tmp_path, dtype, shape):
    source = simulate(
        "kilosort2",
        num_templates=6,
        num_spikes=300,
        num_channels=16,
        dtypes={"spike_clusters": dtype},
        column_vectors=shape,
        shuffled=True,
        write_features=False,
    )
    analyzer = read(source.folder)
    merged = analyzer.merge_units([[1, 2]], sparsity_overlap=0.0)
    out = export_to_phy(merged, tmp_path / "out")
    old, new = (np.load(f / "spike_clusters.npy") for f in (source.folder, out))
    assert (old.dtype, old.shape) == (new.dtype, new.shape)
    expected = old.copy()
    expected[(old == 1) | (old == 2)] = 6
    assert np.array_equal(new, expected)
    assert_same_arrays_but_clusters(source.folder, out)


def assert_same_arrays_but_clusters(folder, other):
    for path in Path(folder).glob("*.npy"):
        if path.name != "spike_clusters.npy":
            assert path.read_bytes() == (Path(other) / path.name).read_bytes(), path.name


# ---------------------------------------------------------------------- curated


def curate(analyzer):
    """Merge two, split one, remove one."""
    ids = analyzer.unit_ids
    merged = analyzer.merge_units([list(ids[:2])], sparsity_overlap=0.0)
    rest = merged.unit_ids
    count = merged.sorting.count_num_spikes_per_unit()[rest[0]]
    half = [np.arange(0, count, 2), np.arange(1, count, 2)]
    split = merged.split_units({rest[0]: half}) if count > 1 else merged
    return split.select_units(split.unit_ids[1:])


def test_curated_real_folder(real_folder, tmp_path):
    analyzer = read(real_folder, unwhiten="phy")
    curated = curate(analyzer)
    out = export_to_phy(curated, tmp_path / real_folder.name)
    assert_same_arrays_but_clusters(real_folder, out)
    assert not list(out.glob("cluster_info*"))
    check_with_phylib(out, curated)
    again = read(out, unwhiten="phy").select_units(curated.unit_ids)
    for unit_id in curated.unit_ids:
        assert np.array_equal(
            again.sorting.get_unit_spike_train(unit_id),
            curated.sorting.get_unit_spike_train(unit_id),
        )
    pd.testing.assert_frame_equal(
        again.get_extension("template_assignment").get_data(),
        curated.get_extension("template_assignment").get_data(),
    )
    # every spike of the folder is still there: what the analyzer lacks keeps its cluster
    rows = curated.get_extension("template_assignment").get_spike_rows()
    left = np.ones(clusters_of(out).size, dtype=bool)
    left[rows] = False
    assert left.any()
    assert np.array_equal(clusters_of(out)[left], clusters_of(real_folder)[left])


@pytest.mark.slow
def test_spikeinterface_reads_the_same_spikes(curated_folder, tmp_path):
    curated = curate(read(curated_folder.folder))
    out = export_to_phy(curated, tmp_path / "out")
    for path in out.glob("*.tsv"):
        path.unlink()  # read_phy drops all clusters that are not in every table
    sorting = read_phy(out)
    theirs, ours = sorting.to_spike_vector(), curated.sorting.to_spike_vector()
    for position, unit_id in enumerate(curated.unit_ids):
        of_unit = theirs["unit_index"] == sorting.id_to_index(unit_id)
        assert np.array_equal(
            np.sort(theirs["sample_index"][of_unit]),
            ours["sample_index"][ours["unit_index"] == position],
        )


def test_tables_after_curation(shared_data, tmp_path):
    analyzer = read(shared_data / "ks4_phy_curated")
    quality = analyzer.sorting.get_property("quality").copy()
    quality[analyzer.unit_ids == 4] = "good"  # was unsorted
    quality[analyzer.unit_ids == 10] = "unsorted"  # was mua
    analyzer.set_sorting_property("quality", quality)
    merged = analyzer.merge_units([[11, 12]], sparsity_overlap=0.0)  # both have Amplitude 38.2
    out = export_to_phy(merged, tmp_path / "out")
    tables = tables_of(out)
    old = tables_of(shared_data / "ks4_phy_curated")
    assert set(tables) == set(old) - {"cluster_info.tsv"}
    assert {i: row["group"] for i, row in tables["cluster_group.tsv"].items()} == {
        "4": "good",
        "8": "noise",
        "13": "good",
    }
    for name in ("cluster_Amplitude.tsv", "cluster_ContamPct.tsv"):  # not those of a part
        kept = {i: row for i, row in old[name].items() if i not in ("11", "12")}
        assert tables[name] == kept
    assert tables["cluster_KSLabel.tsv"]["14"] == {"KSLabel": "good"}
    assert "11" not in tables["cluster_KSLabel.tsv"]


def test_group_replaces_kilosort4s_own_file(shared_data, tmp_path):
    analyzer = read(shared_data / "ks4_fresh")
    quality = np.full(10, "unsorted", dtype="U32")
    quality[3] = "mua"
    analyzer.set_sorting_property("quality", quality)
    out = export_to_phy(analyzer, tmp_path / "out")
    assert tables_of(out)["cluster_group.tsv"] == {"3": {"group": "mua"}}
    before = tables_of(shared_data / "ks4_fresh")["cluster_KSLabel.tsv"]
    assert tables_of(out)["cluster_KSLabel.tsv"] == before
    model = load_model(out / "params.py")
    assert model.metadata["group"] == {3: "mua"}
    assert_same_arrays(shared_data / "ks4_fresh", out)


@pytest.mark.slow
def test_stale_rows_do_not_fall_to_new_clusters(simulate, tmp_path):
    source = simulate("kilosort2", num_templates=5, num_spikes=200, num_channels=8)
    (source.folder / "cluster_note.tsv").write_text("cluster_id\tnote\n5\told\n77\tolder\n2\ta\n")
    merged = read(source.folder).merge_units([[0, 1]], sparsity_overlap=0.0)
    assert 5 in merged.unit_ids
    out = export_to_phy(merged, tmp_path / "out")
    assert tables_of(out)["cluster_note.tsv"] == {"77": {"note": "older"}, "2": {"note": "a"}}


def test_id_of_a_removed_unit_is_not_given_to_another(simulate, tmp_path):
    source = simulate("kilosort2", num_templates=5, num_spikes=200, num_channels=8)
    analyzer = read(source.folder).select_units([0, 1, 2, 3])
    merged = analyzer.merge_units([[0, 1]], sparsity_overlap=0.0)
    assert 4 in merged.unit_ids  # SpikeInterface's next id; the folder has another cluster 4
    out = export_to_phy(merged, tmp_path / "out")
    old, new = clusters_of(source.folder), clusters_of(out)
    assert np.array_equal(new == 4, old == 4)
    assert np.array_equal(new == 5, (old == 0) | (old == 1))
    assert tables_of(out)["cluster_si_unit_id.tsv"] == {"5": {"si_unit_id": "4"}}


def test_excluded_groups_and_dropped_spikes_stay(simulate, tmp_path):
    source = simulate(
        "kilosort4", num_templates=5, num_spikes=200, num_channels=8, labels={2: "noise"}
    )
    times = np.load(source.folder / "spike_times.npy")
    times[:3] = [-3, -2, -1]
    np.save(source.folder / "spike_times.npy", times)
    with pytest.warns(sic.SiCurationWarning):
        analyzer = read(source.folder, exclude_groups="noise")
    out = export_to_phy(analyzer, tmp_path / "out")
    assert_same_arrays(source.folder, out)
    assert tables_of(out) == tables_of(source.folder)
    with pytest.warns(sic.SiCurationWarning):
        assert_same_analyzers(analyzer, read(out, exclude_groups="noise"))


def test_names_that_are_no_ids(simulate, tmp_path):
    source = simulate("kilosort4", num_templates=5, num_spikes=200, num_channels=8)
    merged = read(source.folder).merge_units(
        [[0, 1]], new_unit_ids=[-7], sparsity_overlap=0.0, new_id_strategy="append"
    )
    out = export_to_phy(merged, tmp_path / "out", columns={"snr": {-7: 4.5, 3: 1}})
    old = clusters_of(source.folder)
    assert np.array_equal(clusters_of(out) == 5, (old == 0) | (old == 1))
    assert tables_of(out)["cluster_si_unit_id.tsv"] == {"5": {"si_unit_id": "-7"}}
    assert tables_of(out)["cluster_snr.tsv"] == {"3": {"snr": "1"}, "5": {"snr": "4.5"}}


@pytest.mark.slow
def test_wider_dtype_where_ids_do_not_fit(simulate, tmp_path):
    source = simulate(
        "kilosort4",
        num_templates=5,
        num_spikes=200,
        num_channels=8,
        dtypes={"spike_clusters": "uint16"},
    )
    merged = read(source.folder).merge_units(
        [[0, 1]], new_unit_ids=[70_000], sparsity_overlap=0.0, new_id_strategy="append"
    )
    out = export_to_phy(merged, tmp_path / "out")
    assert np.load(out / "spike_clusters.npy").dtype == np.int32
    assert load_model(out / "params.py").spike_clusters.max() == 70_000


# ---------------------------------------------------------------------- discard


def test_discard_is_what_the_sorter_left(shared_data, curated_folder, tmp_path):
    for number, folder in enumerate([shared_data / "ks4_phy_curated", curated_folder.folder]):
        out = export_to_phy(read(folder), tmp_path / str(number), curation="discard")
        assert np.array_equal(clusters_of(out), np.load(out / "spike_templates.npy").ravel())
        assert_same_arrays_but_clusters(folder, out)
        tables = tables_of(out)
        assert "cluster_info.tsv" not in tables
        assert not any("group" in row for rows in tables.values() for row in rows.values())
        num_templates = len(np.load(out / "templates.npy"))
        assert all(int(i) < num_templates for rows in tables.values() for i in rows)
        again = read(out)
        assert set(again.sorting.get_property("quality")) == {"unsorted"}


def test_discard_of_a_fresh_folder_changes_nothing(shared_data, tmp_path):
    out = export_to_phy(read(shared_data / "ks4_fresh"), tmp_path / "a", curation="discard")
    assert_same_arrays(shared_data / "ks4_fresh", out)
    assert tables_of(out) == tables_of(shared_data / "ks4_fresh")


# ---------------------------------------------------------------------- links, raw data, params


def test_links_share_only_what_is_never_changed(shared_data, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(shared_data / "ks1_phy_curated", source, copy_function=shutil.copyfile)
    out = export_to_phy(read(source), tmp_path / "out", link=True)
    assert_same_arrays(source, out)
    for path in out.iterdir():
        shared = path.stat().st_nlink > 1
        assert shared == may_be_linked(path.name), path.name
    load_model(out / "params.py").save_spike_clusters(np.zeros(314, dtype=np.int32))
    assert_same_analyzers(read(source), read(shared_data / "ks1_phy_curated"))


def test_copies_where_links_cannot_be(shared_data, tmp_path, monkeypatch):
    def no_links(*args):
        raise OSError("cross-device link")

    monkeypatch.setattr(os, "link", no_links)
    out = export_to_phy(read(shared_data / "ks4_fresh"), tmp_path / "out", link=True)
    assert_same_arrays(shared_data / "ks4_fresh", out)


@pytest.fixture
def with_raw(simulate):
    source = simulate("kilosort4", num_templates=4, num_spikes=200, num_channels=8).folder
    (source / "recording.dat").write_bytes(np.zeros((400_000, 8), dtype="int16").tobytes())
    return source


def test_raw_data_in_the_folder_are_pointed_to(with_raw, tmp_path):
    out = export_to_phy(read(with_raw), tmp_path / "out")
    assert not (out / "recording.dat").exists()
    params = sic.read_phy_folder(out).params
    assert params["dat_path"] == [(with_raw / "recording.dat").as_posix()]
    old = sic.read_phy_folder(with_raw).params
    assert {**params, "dat_path": 0} == {**old, "dat_path": 0}
    assert load_model(out / "params.py").traces is not None


def test_raw_data_are_copied_on_request(with_raw, tmp_path):
    out = export_to_phy(read(with_raw), tmp_path / "out", copy_recording=True)
    assert (out / "recording.dat").read_bytes() == (with_raw / "recording.dat").read_bytes()
    assert sic.read_phy_folder(out).params["dat_path"] == ["recording.dat"]
    analyzer = read(with_raw)
    (with_raw / "recording.dat").rename(with_raw / "other.dat")
    with pytest.raises(sic.MissingDataError, match="raw data"):
        export_to_phy(analyzer, tmp_path / "out2", copy_recording=True)


def test_params_that_are_right_are_copied(with_raw, tmp_path):
    raw = (tmp_path / "raw.dat").absolute()
    (with_raw / "recording.dat").rename(raw)
    for text in (f"dat_path = {raw.as_posix()!r}  # here", "dat_path = r'D:\\data\\x.bin'"):
        params = f"{text}\nn_channels_dat = 8\ndtype = 'int16'\noffset = 0\nsample_rate = 3e4\n"
        (with_raw / "params.py").write_text(params)
        out = export_to_phy(read(with_raw), tmp_path / "out", overwrite=True)
        assert (out / "params.py").read_text() == params


def test_no_raw_data_is_said_in_words(shared_data, tmp_path):
    for name in ("ks4_fresh", "np1_without_params"):
        out = export_to_phy(read(shared_data / name), tmp_path / name)
        text = (out / "params.py").read_text()
        assert text.startswith("# ")
        assert "dat_path = None" in text
        assert load_model(out / "params.py").traces is None


def test_caches_logs_and_backups_are_left(with_raw, tmp_path):
    for name in (".phy/memcache", ".si_curation_backup/x", "extra/deep"):
        (with_raw / name).mkdir(parents=True)
        (with_raw / name / "file.pkl").write_bytes(b"x")
    (with_raw / "phy.log").write_text("log")
    (with_raw / ".spike_clusters.npy.0f.tmp").write_bytes(b"half")
    (with_raw / "notes.txt").write_text("mine")
    out = export_to_phy(read(with_raw), tmp_path / "out")
    extra = {p.name for p in out.iterdir()} - {p.name for p in with_raw.iterdir()}
    missing = {p.name for p in with_raw.iterdir()} - {p.name for p in out.iterdir()}
    assert extra == set()
    assert missing == {
        ".phy",
        ".si_curation_backup",
        "phy.log",
        ".spike_clusters.npy.0f.tmp",
        "recording.dat",
    }
    assert (out / "extra" / "deep" / "file.pkl").read_bytes() == b"x"


# ---------------------------------------------------------------------- refused


@pytest.fixture
def small(simulate):
    return simulate("kilosort4", num_templates=4, num_spikes=200, num_channels=8).folder


def test_output_must_be_apart(small, tmp_path, hash_files):
    before = hash_files(small)
    analyzer = read(small)
    make_link(tmp_path / "link", small)
    for output in (small, small / "out", tmp_path / "link", small.parent):
        with pytest.raises(sic.ParameterError, match="was read from"):
            export_to_phy(analyzer, output, overwrite=True)
    with pytest.raises(sic.OutputExistsError):
        export_to_phy(analyzer, small)
    assert hash_files(small) == before


def test_what_exists_is_kept(small, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    with pytest.raises(sic.OutputExistsError, match="overwrite"):
        export_to_phy(read(small), out)
    export_to_phy(read(small), out, overwrite=True)
    export_to_phy(read(small), out, overwrite=True)
    backups = sorted(p for p in tmp_path.iterdir() if p.name.startswith("out.backup-"))
    assert len(backups) == 2
    assert [p.name for p in backups[0].iterdir()] == ["mine"]
    assert_same_arrays(backups[1], out)
    assert len(list(tmp_path.iterdir())) == 3


def test_source_must_be_what_was_read(small, tmp_path):
    analyzer = read(small)
    times = np.load(small / "spike_times.npy")
    np.save(small / "spike_times.npy", times + 1)
    with pytest.raises(sic.PhyFolderError, match="200 spikes are at other samples"):
        export_to_phy(analyzer, tmp_path / "out")
    np.save(small / "spike_times.npy", times[:50])
    for name in ("spike_templates", "spike_clusters"):
        np.save(small / f"{name}.npy", np.load(small / f"{name}.npy")[:50])
    with pytest.raises(sic.PhyFolderError, match="150 spikes are from rows beyond"):
        export_to_phy(analyzer, tmp_path / "out")
    shutil.rmtree(small)
    with pytest.raises(sic.FolderNotFoundError, match="was read from, is not there"):
        export_to_phy(analyzer, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_saved_analyzers_export_alike(small, tmp_path):
    for format in ("binary_folder", "zarr"):
        saved = sic.read_kilosort_as_analyzer(small, format=format, folder=tmp_path / format)
        out = export_to_phy(saved, tmp_path / f"out_{format}")
        assert_same_arrays(small, out)


def test_problems_are_told_together(small, tmp_path):
    analyzer = read(small)
    with pytest.raises(sic.UnknownIdError, match=r"no unit 9, 'x'") as error:
        export_to_phy(analyzer, tmp_path / "o", columns={"a/b": {1: 2, 9: 1}, "c": {"x": 1}})
    assert "a/b" in str(error.value)
    with pytest.raises(sic.ParameterError, match="neither a number nor text"):
        export_to_phy(analyzer, tmp_path / "o", columns={"a": {1: [2]}})
    with pytest.raises(sic.ParameterError, match="column 'snr' is there twice"):
        export_to_phy(analyzer, tmp_path / "o", columns={"snr": {1: 2}, "SNR": {1: 2}})
    with pytest.raises(sic.ParameterError, match=r"curation is 'x'.*link is 2"):
        export_to_phy(analyzer, tmp_path / "o", curation="x", link=2)
    with pytest.raises(sic.ParameterError, match="columns are of curated units"):
        export_to_phy(analyzer, tmp_path / "o", curation="discard", columns={})
    with pytest.raises(sic.ParameterError, match="expected a SortingAnalyzer"):
        export_to_phy(analyzer.sorting, tmp_path / "o")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- other sorters


@pytest.fixture(scope="module")
def ground_truth():
    recording, sorting = generate_ground_truth_recording(
        durations=[8.0], num_channels=8, num_units=5, sampling_frequency=30_000.0, seed=3
    )
    probe = recording.get_probe()
    probe.set_shank_ids(["b", "b", "b", "b", "a", "a", "a", "a"])
    with_probe = recording.set_probe(probe)
    return recording if with_probe is None else with_probe, sorting


def other_analyzer(ground_truth, unit_ids, sparse=True, all_spikes=False, recording=None):
    given, sorting = ground_truth
    recording = given if recording is None else recording
    sorting = sorting.rename_units(unit_ids)
    trains = {u: sorting.get_unit_spike_train(u) for u in sorting.unit_ids}
    trains[unit_ids[2]] = np.zeros(0, dtype="int64")  # a unit without spikes
    sorting = si.NumpySorting.from_unit_dict([trains], 30_000.0)
    sorting.set_property("quality", np.array(["good", "", "mua", "unsorted", "noise"]))
    analyzer = si.create_sorting_analyzer(sorting, recording, sparse=sparse)
    method = {"method": "all"} if all_spikes else {"max_spikes_per_unit": 50}
    analyzer.compute({"random_spikes": method, "templates": {}, "spike_amplitudes": {}})
    return analyzer


@pytest.mark.parametrize("unit_ids", [[3, 10, 11, 2, 40], ["a", "b", "empty", "d", "e"]])
@pytest.mark.parametrize("with_recording", [True, False])
def test_other_sorters(ground_truth, tmp_path, unit_ids, with_recording):
    analyzer = other_analyzer(ground_truth, unit_ids)
    if not with_recording:
        analyzer = analyzer.save_as(format="binary_folder", folder=tmp_path / "analyzer")
        analyzer = si.load_sorting_analyzer(tmp_path / "analyzer", load_extensions=True)
        shutil.rmtree(tmp_path / "analyzer")
    out = export_to_phy(analyzer, tmp_path / "out")
    assert "dat_path = None" in (out / "params.py").read_text()
    ids = unit_ids if isinstance(unit_ids[0], int) else [0, 1, 5, 3, 4]
    cluster_of = dict(zip(unit_ids, ids, strict=True))
    check_with_phylib(out, analyzer, cluster_of)
    groups = {row: cells["group"] for row, cells in tables_of(out)["cluster_group.tsv"].items()}
    # of the unit without spikes too, but not of unlabelled ones
    labels = {str(ids[0]): "good", str(ids[2]): "mua", str(ids[4]): "noise"}
    assert groups == labels
    again = read(out)
    assert again.unit_ids.tolist() == sorted(set(ids) - {ids[2]})
    for unit_id in set(unit_ids) - {unit_ids[2]}:
        assert np.array_equal(
            analyzer.sorting.get_unit_spike_train(unit_id),
            again.sorting.get_unit_spike_train(cluster_of[unit_id]),
        )
    ours = analyzer.get_extension("spike_amplitudes").get_data()
    theirs = again.get_extension("spike_amplitudes").get_data()
    assert np.allclose(np.sort(np.abs(ours)), np.sort(theirs))
    amplitudes = np.load(out / "amplitudes.npy")
    assert amplitudes.dtype == np.float64
    assert np.array_equal(amplitudes, np.abs(ours.astype(np.float64)))
    average = analyzer.get_extension("templates").get_data(operator="average")
    for position, unit_id in enumerate(unit_ids):
        if position == 2:
            continue
        mask = analyzer.sparsity.mask[position]
        template = again.get_extension("template_assignment").get_unit_template(cluster_of[unit_id])
        assert np.allclose(template[:, mask], average[position][:, mask], atol=1e-4)


def test_other_sorters_curated(ground_truth, tmp_path):
    analyzer = other_analyzer(ground_truth, [0, 1, 2, 3, 4])
    analyzer.compute("template_assignment")
    merged = analyzer.merge_units([[0, 1]], sparsity_overlap=0.0)
    out = export_to_phy(merged, tmp_path / "out")
    check_with_phylib(out, merged)
    templates, clusters = (np.load(out / f"spike_{n}.npy") for n in ("templates", "clusters"))
    assert np.array_equal(clusters == 5, templates < 2)
    discarded = export_to_phy(merged, tmp_path / "discarded", curation="discard")
    assert np.array_equal(clusters_of(discarded), templates)
    assert not (discarded / "cluster_group.tsv").exists()
    assert read(discarded).unit_ids.tolist() == [0, 1, 3, 4]


@pytest.mark.slow
def test_raw_columns_of_a_binary_recording(ground_truth, tmp_path):
    full = ground_truth[0].save(folder=tmp_path / "raw", verbose=False, progress_bar=False)
    chosen = full.select_channels(full.channel_ids[[6, 1, 3, 4, 7, 0]])
    analyzer = other_analyzer(ground_truth, [0, 1, 2, 3, 4], recording=chosen)
    out = export_to_phy(analyzer, tmp_path / "out")
    assert np.load(out / "channel_map.npy").tolist() == [6, 1, 3, 4, 7, 0]
    model = load_model(out / "params.py")
    assert np.array_equal(model.traces[100:200], chosen.get_traces(0, 100, 200))
    copied = export_to_phy(analyzer, tmp_path / "copied", copy_recording=True)
    model = load_model(copied / "params.py")
    assert model.dat_path == [copied / "recording.dat"]
    assert np.array_equal(model.traces[100:200], chosen.get_traces(0, 100, 200))


def add_components(analyzer):
    """Projections as SpikeInterface has them, without scikit-learn."""
    chosen = analyzer.get_extension("random_spikes").get_data()
    width = analyzer.get_num_channels()
    if analyzer.sparsity is not None:
        width = analyzer.sparsity.max_num_active_channels
    shape = (len(chosen), 3, width)
    values = np.random.default_rng(0).normal(size=shape).astype("float32")
    inject_extension(analyzer, "principal_components", {"pca_projection": values}, {})


@pytest.mark.parametrize("sparse", [True, False])
def test_features_where_all_spikes_have_them(ground_truth, tmp_path, sparse):
    analyzer = other_analyzer(ground_truth, [0, 1, 2, 3, 4], sparse=sparse, all_spikes=True)
    analyzer.compute("template_assignment")
    add_components(analyzer)
    out = export_to_phy(analyzer, tmp_path / "out")
    projections = analyzer.get_extension("principal_components").data["pca_projection"]
    model = load_model(out / "params.py")
    unit_index = analyzer.sorting.to_spike_vector()["unit_index"]
    for spike in range(0, len(unit_index), 37):
        channels = np.arange(8)
        if sparse:
            channels = np.flatnonzero(analyzer.sparsity.mask[unit_index[spike]])
        found = model.get_features(np.array([spike]), channels)[0]
        expected = projections[spike, :, : channels.size].T
        assert np.allclose(found, expected, atol=1e-6)


def test_probe_without_shanks(tmp_path):
    recording, sorting = generate_ground_truth_recording(
        durations=[4.0], num_channels=4, num_units=3, seed=1
    )
    assert recording.get_probe().shank_ids is None
    analyzer = si.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "templates"])
    with pytest.warns(sic.SiCurationWarning, match="will not show amplitudes"):
        out = export_to_phy(analyzer, tmp_path / "out")
    assert np.load(out / "channel_shanks.npy").tolist() == [0, 0, 0, 0]
    assert not (out / "amplitudes.npy").exists(), "they are not known"


def test_features_of_some_spikes(ground_truth, tmp_path):
    analyzer = other_analyzer(ground_truth, [0, 1, 2, 3, 4])
    add_components(analyzer)
    out = export_to_phy(analyzer, tmp_path / "out")
    chosen = analyzer.get_extension("random_spikes").get_data()
    num_spikes = analyzer.sorting.to_spike_vector().size
    assert chosen.size < num_spikes
    rows = np.load(out / "pc_feature_spike_ids.npy")
    np.testing.assert_array_equal(rows, chosen)
    dense, _ = analyzer.get_extension("principal_components").get_some_projections()
    channels = np.arange(analyzer.get_num_channels())
    model = load_model(out / "params.py")
    found = model.get_features(chosen, channels)
    np.testing.assert_allclose(found.transpose(0, 2, 1)[:, : dense.shape[1]], dense)
    others = np.setdiff1d(np.arange(num_spikes), chosen)
    assert np.isin(np.nan_to_num(model.get_features(others, channels)), 0).all()


def test_columns_of_other_sorters(ground_truth, tmp_path):
    analyzer = other_analyzer(ground_truth, ["a", "b", "empty", "d", "e"])
    table = pd.DataFrame({"snr": [1.5, np.nan], "note": ["x\ty", None]}, index=["b", "d"])
    out = export_to_phy(analyzer, tmp_path / "out", columns=table)
    metadata = load_model(out / "params.py").metadata
    assert metadata["snr"] == {1: 1.5}
    assert metadata["note"] == {1: "x\ty"}
    assert metadata["si_unit_id"] == {0: "a", 1: "b", 3: "d", 4: "e", 5: "empty"}


def test_one_unit_opens_in_phylib(ground_truth, tmp_path):
    analyzer = other_analyzer(ground_truth, [0, 1, 2, 3, 4]).select_units([1])
    out = export_to_phy(analyzer, tmp_path / "out")
    check_with_phylib(out, analyzer)


def test_what_other_sorters_cannot_export(ground_truth, tmp_path):
    recording, sorting = ground_truth
    analyzer = si.create_sorting_analyzer(sorting, recording, sparse=False)
    with pytest.raises(sic.MissingDataError, match="no templates"):
        export_to_phy(analyzer, tmp_path / "out")
    both = si.append_recordings([recording, recording])
    twice = si.append_sortings([sorting, sorting])
    analyzer = si.create_sorting_analyzer(twice, both, sparse=False)
    with pytest.raises(sic.ParameterError, match="concatenate_recordings"):
        export_to_phy(analyzer, tmp_path / "out")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- faults


@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.slow
def test_export_is_whole_or_not_at_all(small, tmp_path, hash_files, kill, exists):
    analyzer = read(small).merge_units([[0, 1]], sparsity_overlap=0.0)
    new = state_of(export_to_phy(analyzer, tmp_path / "new", link=True), hash_files)
    source = hash_files(small)
    home = tmp_path / "home"
    seen = []

    def prepare():
        shutil.rmtree(home, ignore_errors=True)
        (home / "out").mkdir(parents=True)
        (home / "out" / "mine").write_text("mine")
        if not exists:
            shutil.rmtree(home)

    prepare()
    old = state_of(home / "out", hash_files)

    def run():
        export_to_phy(analyzer, home / "out", overwrite=exists, link=True)

    def check(failed):
        settle_replaced(home / "out")
        found = state_of(home / "out", hash_files)
        assert found in (old, new)
        assert failed or found == new
        if failed and not kill:
            assert not [p for p in home.parent.rglob("*.tmp")]
        if failed and not kill and found == old:
            assert exists or not home.exists()
        assert hash_files(small) == source
        seen.append(found == new)

    assert Faults(kill).each(prepare, run, check) > 10
    assert seen[0] is False
    assert seen[-1] is True


@pytest.mark.parametrize("kill", [False, True])
def test_export_of_other_sorters_is_whole_or_not_at_all(ground_truth, tmp_path, hash_files, kill):
    analyzer = other_analyzer(ground_truth, ["a", "b", "empty", "d", "e"])
    new = state_of(export_to_phy(analyzer, tmp_path / "new"), hash_files)
    out = tmp_path / "out"

    def check(failed):
        assert state_of(out, hash_files) in (None, new)
        assert failed or out.exists()
        assert kill or {p.name for p in tmp_path.iterdir()} <= {"new", "out"}

    Faults(kill).each(
        lambda: shutil.rmtree(out, ignore_errors=True), lambda: export_to_phy(analyzer, out), check
    )


def test_keyboard_interrupt_leaves_nothing(small, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    analyzer = read(small)
    monkeypatch.setattr(shutil, "copyfile", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_to_phy(analyzer, tmp_path / "a" / "b" / "out")
    assert not list(tmp_path.iterdir())


def test_links_that_are_not_copied_are_named(small, tmp_path):
    analyzer = read(small)
    (tmp_path / "elsewhere").mkdir()
    make_link(small / "raw", tmp_path / "elsewhere")
    make_link(small / "notes.txt", tmp_path / "gone.txt")
    make_link(small / "more.txt", small / "params.py")
    with pytest.warns(sic.SiCurationWarning, match="and to nowhere are not copied: raw, notes.txt"):
        out = export_to_phy(analyzer, tmp_path / "out")
    assert {"raw", "notes.txt"}.isdisjoint(p.name for p in out.iterdir())
    assert (out / "more.txt").is_file()


def test_what_may_not_be_read_is_an_error(small, tmp_path, monkeypatch):
    analyzer = read(small)
    (small / "extra").mkdir()
    (small / "extra" / "notes.txt").write_text("mine")
    (small / "secret.txt").write_text("mine")
    scandir, access = os.scandir, os.access

    def refused(path="."):
        if not isinstance(path, int) and Path(path).name == "extra":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    monkeypatch.setattr(os, "access", lambda p, mode: "secret" not in str(p) and access(p, mode))
    with pytest.raises(sic.PhyFolderError) as caught:
        export_to_phy(analyzer, tmp_path / "out")
    assert "2 problems" in str(caught.value)
    assert "extra: may not be listed" in str(caught.value)
    assert "secret.txt: may not be read" in str(caught.value)
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("name", ["pc_features.npy", "templates.npy", "amplitudes.npy"])
def test_truncated_files_are_not_exported(small, tmp_path, hash_files, name):
    analyzer = read(small)
    for path, size in ((small / name, -5), (small / "similar_templates.npy", None)):
        if path.exists():
            os.truncate(path, 0 if size is None else path.stat().st_size + size)
    before = hash_files(small)
    for link in (False, True):
        with pytest.raises(sic.PhyFolderError, match=rf"2 problems: .*{name}: is truncated"):
            export_to_phy(analyzer, tmp_path / "out", link=link)
    assert hash_files(small) == before
    assert not list(tmp_path.glob("*out*"))


def test_a_file_that_changes_while_it_is_copied_is_noticed(small, tmp_path, monkeypatch):
    analyzer = read(small)
    copyfile = shutil.copyfile

    def slow(source, target):
        copyfile(source, target)
        if Path(source).name == "templates.npy":
            os.truncate(source, Path(source).stat().st_size - 8)

    monkeypatch.setattr(shutil, "copyfile", slow)
    with pytest.raises(sic.InUseError, match=r"templates\.npy changed while it was copied"):
        export_to_phy(analyzer, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_files_that_shrink_later_are_an_error(small):
    """What is read again from the folder is checked again."""
    analyzer = read(small)
    os.truncate(small / "pc_features.npy", 500)
    with pytest.raises(sic.SiCurationError, match="is truncated"):
        analyzer.compute("template_features")


ON_A_SMALL_DISK = """
import resource, sys, warnings
warnings.simplefilter("ignore")
from spikeinterface.core import load_sorting_analyzer
import si_curation as sic

analyzer = load_sorting_analyzer(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    sic.export_to_phy(analyzer, sys.argv[2])
except OSError as fault:
    assert fault.errno in (27, 28), fault
    sys.exit(3)
"""


@pytest.fixture(scope="module")
def saved_for_phy(ground_truth, tmp_path_factory):
    """An analyzer on disk with all that phy needs, and the sizes of the files that it becomes."""
    root = tmp_path_factory.mktemp("for_phy")
    analyzer = other_analyzer(ground_truth, ["a", "b", "c", "d", "e"])
    sic.prepare_for_phy(analyzer)
    analyzer.save_as(format="binary_folder", folder=root / "saved")
    export_to_phy(analyzer, root / "whole")
    sizes = sorted(path.stat().st_size for path in (root / "whole").iterdir())
    return root / "saved", sizes


@pytest.mark.slow
@pytest.mark.parametrize(("part", "code"), [(0.3, 3), (0.99, 3), (1.0, 0)])
def test_a_full_disk_is_an_error_and_no_crash(saved_for_phy, tmp_path, part, code):
    """No file may grow beyond a part of the largest: what is written then fails half-way."""
    pytest.importorskip("resource", reason="limits of POSIX")
    saved, sizes = saved_for_phy
    most = str(int(sizes[-1] * part))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            ON_A_SMALL_DISK,
            saved,
            tmp_path / "out",
            most,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, (done.returncode, done.stderr)
    assert [p.name for p in tmp_path.iterdir()] == ([] if code else ["out"])


@pytest.mark.slow
def test_what_is_written_through_a_map_has_its_place_on_the_disk(
    saved_for_phy, tmp_path, monkeypatch
):
    """A full disk kills a program that writes to a map of a file with holes (SIGBUS)."""
    placed, mapped = set(), set()
    original, memmap = files._allocate, np.memmap.__new__

    def allocate(file, start, size):
        placed.add(str(file.name))
        return original(file, start, size)

    def mapping(kind, filename, dtype=np.uint8, mode="r+", *args, **kwargs):
        if mode != "r" and mode != "c":
            mapped.add(str(filename))
        return memmap(kind, filename, dtype, mode, *args, **kwargs)

    monkeypatch.setattr(files, "_allocate", allocate)
    monkeypatch.setattr(np.memmap, "__new__", mapping)
    export_to_phy(si.load_sorting_analyzer(saved_for_phy[0]), tmp_path / "out")
    assert mapped
    assert mapped <= placed
