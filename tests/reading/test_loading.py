"""Saved analyzers are loaded without running what is in their folder."""

import json
import pickle
import shutil
import warnings

import numpy as np
import pytest
import spikeinterface as si
import spikeinterface.preprocessing as spre

import si_curation as sic
from helpers.planted_code import VECTORS, ZARR_VECTORS, Touch, copy_planted, foreign, save_clean
from si_curation.reading.loading import is_saved_analyzer, load_saved_analyzer
from si_curation.reading.trust import untrusted_parts

ALL = [*VECTORS, *ZARR_VECTORS]


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A saved analyzer of each format."""
    return save_clean(tmp_path_factory.mktemp("clean"))


@pytest.fixture
def planted(clean, tmp_path):
    def make(name):
        suffix = ".zarr" if name in ZARR_VECTORS else ""
        marker = tmp_path / "ran"
        target = tmp_path / f"planted{suffix}"
        return copy_planted(clean / f"analyzer{suffix}", target, name, marker), marker

    return make


@pytest.mark.parametrize("suffix", ["", ".zarr"])
def test_what_this_package_saves_is_loaded_whole(clean, suffix):
    folder = clean / f"analyzer{suffix}"
    assert untrusted_parts(folder) == []
    loaded = load_saved_analyzer(folder)
    assert loaded.message == ""
    assert loaded.analyzer.format == ("zarr" if suffix else "binary_folder")


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_run_and_the_rest_is_loaded(planted, name):
    folder, marker = planted(name)
    loaded = load_saved_analyzer(folder, advice="--trust")
    assert not marker.exists()
    assert len(loaded.left_out) == 1
    assert loaded.left_out[0].path in loaded.message
    assert "--trust" in loaded.message
    assert loaded.analyzer.format == "memory"
    assert loaded.analyzer.sorting.to_spike_vector().size == 5299
    assert loaded.analyzer.has_extension("templates") or "average" in loaded.left_out[0].path
    loaded.analyzer.copy()
    assert not marker.exists()


@pytest.mark.parametrize("name", ["class_in_recording_json", "zarr_extension_pickle"])
def test_the_vectors_are_real(planted, name):
    """What is planted does run where it is trusted, so that the other tests mean something."""
    folder, marker = planted(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_saved_analyzer(folder, trust=True)
    assert marker.exists()


@pytest.mark.parametrize("name", ALL)
def test_the_doctor_finds_it(planted, name):
    folder, marker = planted(name)
    errors = [f for f in sic.check_phy_folder(folder) if f.check == "saved_analyzer"]
    assert [finding.severity for finding in errors] == ["error"]
    assert not marker.exists()


@pytest.mark.parametrize("name", VECTORS)
def test_a_kilosort_folder_stays_one(planted, name, tmp_path):
    """Kilosort's files go before an analyzer's; the doctor names what lies beside them."""
    folder, marker = planted(name)
    shutil.copytree(sic.example_folder(), folder, dirs_exist_ok=True)
    assert not is_saved_analyzer(folder)
    errors = [f for f in sic.check_phy_folder(folder) if f.severity == "error"]
    assert {finding.check for finding in errors} == {"saved_analyzer"}
    sic.read_kilosort_as_analyzer(folder)
    assert not marker.exists()


def test_a_kilosort_folder_that_is_called_zarr(tmp_path):
    folder = shutil.copytree(sic.example_folder(), tmp_path / "sorted.zarr")
    assert not is_saved_analyzer(folder)


def recording_folder(tmp_path):
    recording = si.generate_recording(num_channels=4, durations=[2.0])
    return recording.save(folder=tmp_path / "recording")


@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
@pytest.mark.slow
def test_a_real_recording_is_kept_where_something_else_is_left_out(tmp_path, format):
    recording = spre.common_reference(spre.bandpass_filter(recording_folder(tmp_path)))
    sorting = si.generate_sorting(num_units=3, durations=[2.0])
    folder = tmp_path / ("analyzer.zarr" if format == "zarr" else "analyzer")
    made = si.create_sorting_analyzer(sorting, recording, format=format, folder=folder)
    made.compute(["random_spikes", "templates"])
    assert untrusted_parts(folder) == []
    if format == "zarr":
        copy_of = ZARR_VECTORS["zarr_extension_pickle"]
    else:
        copy_of = VECTORS["extension_pickle"]
    copy_of(folder, tmp_path / "ran")
    loaded = load_saved_analyzer(folder)
    assert len(loaded.left_out) == 1
    found = loaded.analyzer.recording
    np.testing.assert_array_equal(found.get_traces(), recording.get_traces())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"class": "os.system"},
        {"class": "spikeinterface.core.core_tools.read_python"},
        {"class": "spikeinterface.core.base.importlib"},
        {"class": None},
        {"class": ["subprocess.Popen"]},
        {"object": "Motion"},
        {"kwargs": {"deep": [[{"a": foreign("x")}]]}},
        {"kwargs": {"file_paths": "s3://bucket/file"}},
        {"kwargs": {"use_cache": True}},
    ],
)
def test_what_is_not_known_is_not_trusted(clean, tmp_path, change):
    folder = shutil.copytree(clean / "analyzer", tmp_path / "analyzer")
    content = foreign(tmp_path / "ran")
    content["class"] = "spikeinterface.core.binaryrecordingextractor.BinaryRecordingExtractor"
    content["kwargs"] = {}
    (folder / "recording.json").write_text(json.dumps({**content, **change}))
    assert [part.path for part in untrusted_parts(folder)] == ["recording.json"]


def test_a_known_class_that_reads_pickles(tmp_path, clean):
    recording = recording_folder(tmp_path)
    values = np.array([Touch(tmp_path / "ran")] * 4, dtype=object)
    np.save(tmp_path / "recording" / "properties" / "wicked.npy", values, allow_pickle=True)
    folder = shutil.copytree(clean / "analyzer", tmp_path / "analyzer")
    recording.dump_to_json(folder / "recording.json")
    (part,) = untrusted_parts(folder)
    assert "wicked.npy" in part.reason
    assert load_saved_analyzer(folder).analyzer.get_num_channels() > 0
    assert not (tmp_path / "ran").exists()


def test_deep_json_and_bad_json(clean, tmp_path):
    folder = shutil.copytree(clean / "analyzer", tmp_path / "analyzer")
    for text in ("[" * 100_000, "{", '{"class": 1e999999}'):
        (folder / "recording.json").write_text(text)
        assert [part.path for part in untrusted_parts(folder)] == ["recording.json"]
        assert load_saved_analyzer(folder).left_out


def test_a_folder_that_cannot_be_loaded(tmp_path):
    (tmp_path / "broken" / "recording_info").mkdir(parents=True)
    (tmp_path / "broken.zarr").mkdir()
    for name in ("broken", "broken.zarr"):
        with pytest.raises(sic.MissingDataError, match="cannot be loaded"):
            load_saved_analyzer(tmp_path / name)


def test_links_to_folders_are_looked_through(clean, tmp_path):
    folder = shutil.copytree(clean / "analyzer", tmp_path / "analyzer")
    elsewhere = tmp_path / "elsewhere"
    (folder / "extensions" / "templates").rename(elsewhere)
    (elsewhere / "average.pkl").write_bytes(pickle.dumps(Touch(tmp_path / "ran")))
    try:
        (folder / "extensions" / "templates").symlink_to(elsewhere, target_is_directory=True)
    except OSError:
        pytest.skip("links cannot be made here")
    assert [part.path for part in untrusted_parts(folder)] == ["extensions/templates/average.pkl"]
    load_saved_analyzer(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "values",
    [
        ["good", "mua", "good", "ö"],
        [1, "a", None, True],
        ["x"],
        [1.5, float("inf")],
        ["a", float("nan")],
    ],
)
def test_labels_that_are_objects_are_data(clean, tmp_path, values):
    """SpikeInterface saves texts as arrays of objects where a reader gave it such."""
    folder = shutil.copytree(clean / "analyzer", tmp_path / "analyzer")
    labels = np.array([values[i % len(values)] for i in range(8)], dtype=object)
    np.save(folder / "sorting" / "properties" / "label.npy", labels, allow_pickle=True)
    assert untrusted_parts(folder) == []
    found = load_saved_analyzer(folder).analyzer.get_sorting_property("label")
    assert repr(found.tolist()) == repr(labels.tolist())


def test_objects_with_a_doctored_dtype_are_not_data(clean, tmp_path):
    """The same texts, and a dtype without the flag that its elements are counted."""
    folder = shutil.copytree(clean / "analyzer", tmp_path / "analyzer")
    path = folder / "sorting" / "properties" / "label.npy"
    np.save(path, np.array(["good"] * 8, dtype=object), allow_pickle=True)
    content = path.read_bytes()
    assert content.count(b"K?t") == 1
    path.write_bytes(content.replace(b"K?t", b"K\x00t"))
    assert [part.path for part in untrusted_parts(folder)] == ["sorting/properties/label.npy"]
