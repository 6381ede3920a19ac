"""Damaged, mixed-up and hostile folders: refused with one clear line, or read all the same.

Every folder is a copy of the example folder with one thing broken. Reading never changes it, never
runs anything from it, and the analyzer reader leaves nothing behind when it refuses.
"""

from __future__ import annotations

import contextlib
import copyreg
import hashlib
import io
import os
import pickle
import shutil
import warnings
from collections import OrderedDict
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest

import si_curation as sic
from oracles.folders import read_tables as naive_read_tables

# hundreds of small cases; what they are cases of is tested with the reader and by the fuzzing
pytestmark = pytest.mark.slow

PER_SPIKE = (
    "spike_times.npy",
    "spike_templates.npy",
    "spike_clusters.npy",
    "amplitudes.npy",
    "spike_positions.npy",
    "pc_features.npy",
)
OTHER_ARRAYS = (
    "templates.npy",
    "similar_templates.npy",
    "channel_map.npy",
    "channel_positions.npy",
    "channel_shanks.npy",
    "pc_feature_ind.npy",
    "whitening_mat.npy",
    "whitening_mat_inv.npy",
)
ARRAYS = PER_SPIKE + OTHER_ARRAYS
NEEDED = (
    "spike_times.npy",
    "spike_templates.npy",
    "channel_map.npy",
    "channel_positions.npy",
    "params.py",
)
OPTIONAL = (
    "amplitudes.npy",
    "spike_positions.npy",
    "pc_features.npy",
    "pc_feature_ind.npy",
    "similar_templates.npy",
    "channel_shanks.npy",
    "whitening_mat.npy",
    "whitening_mat_inv.npy",
)
#: The attributes of a PhyFolder that a file gives; they are None where it was left out.
ATTRIBUTES = {
    "amplitudes.npy": ("amplitudes",),
    "spike_positions.npy": ("spike_positions",),
    "pc_features.npy": ("pc_features", "pc_feature_channels", "pc_feature_rows"),
    "pc_feature_ind.npy": ("pc_features", "pc_feature_channels", "pc_feature_rows"),
    "pc_feature_spike_ids.npy": ("pc_features", "pc_feature_channels", "pc_feature_rows"),
    "similar_templates.npy": ("similar_templates",),
    "channel_shanks.npy": (),
    "whitening_mat.npy": ("whitening",),
    "whitening_mat_inv.npy": ("whitening_inv",),
    "ops.npy": ("ops",),
}
NOT_READ = ("phy_ccg.npy", "phy_oracle.json", "whitening_mat_dat.npy", "PROVENANCE.md")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Give the example folder without what is not read, and with few features: small to copy."""
    copy = tmp_path_factory.mktemp("original") / "ks4"
    shutil.copytree(sic.example_folder(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [copy, *copy.iterdir()]:
        path.chmod(0o755)
    for name in NOT_READ:
        (copy / name).unlink()
    change(copy, "pc_features.npy", load(copy, "pc_features.npy")[:, :1])
    return copy


@pytest.fixture
def folder(original, tmp_path):
    """Give a writable copy of the example folder, alone in its parent."""
    copy = tmp_path / "sorted" / "ks4"
    shutil.copytree(original, copy)
    yield copy
    shutil.rmtree(tmp_path)


def snapshot(path):
    """Everything below a path: names, kinds and contents."""
    return {
        str(entry.relative_to(path)): "folder"
        if entry.is_dir()
        else hashlib.sha256(entry.read_bytes()).hexdigest()
        for entry in path.rglob("*")
    }


def refused(folder, *words, error=sic.PhyFolderError, **arguments):
    """Check that both readers refuse a folder as they should; give the error."""
    before = snapshot(folder.parent)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error) as caught:
            sic.read_phy_folder(folder, **arguments)
        with pytest.raises(error) as again:
            sic.read_kilosort_as_analyzer(
                folder,
                format="binary_folder",
                folder=folder.parent / "results" / "analyzer",
                **arguments,
            )
    assert snapshot(folder.parent) == before
    message = str(caught.value)
    assert str(again.value) == message
    assert len(message.splitlines()) == 1
    assert len(message) < 3000
    for word in words:
        assert str(word) in message
    for finding in getattr(caught.value, "findings", ()):
        assert finding.severity == "error"
        assert finding.where
        assert finding.advice
        assert str(finding) in message
    return caught.value


def accepted(folder, **arguments):
    """Check that both readers read a folder without warning or trace; give the PhyFolder."""
    before = snapshot(folder.parent)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        phy = sic.read_phy_folder(folder, **arguments)
        analyzer = sic.read_kilosort_as_analyzer(folder, **arguments)
    assert snapshot(folder.parent) == before
    spikes = analyzer.sorting.to_spike_vector()
    original = np.load(sic.example_folder() / "spike_times.npy").ravel()
    np.testing.assert_array_equal(spikes["sample_index"], original)
    np.testing.assert_array_equal(analyzer.unit_ids[spikes["unit_index"]], phy.spike_clusters)
    return phy


def left_out(folder, names, *words, **arguments):
    """Check that a folder is read without some files, with one warning; give the PhyFolder."""
    names = [names] if isinstance(names, str) else names
    before = snapshot(folder.parent)
    if "whitening_mat.npy" in names and not (folder / "whitening_mat_inv.npy").exists():
        arguments = {"unwhiten": False, **arguments}
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        phy = sic.read_phy_folder(folder)
        assert not seen
        analyzer = sic.read_kilosort_as_analyzer(folder, **arguments)
    (warning,) = seen
    assert issubclass(warning.category, sic.SiCurationWarning)
    assert warning.filename == __file__
    assert snapshot(folder.parent) == before
    faults = phy.left_out()
    assert {fault.where for fault in faults} == set(names)
    assert all(fault.advice and fault.severity == "error" for fault in faults)
    for text in (str(warning.message), "; ".join(map(str, phy.findings))):
        for word in (*names, *words):
            assert str(word) in text
    for name in names:
        for attribute in ATTRIBUTES.get(name, ()):
            assert getattr(phy, attribute) is None
        with pytest.raises(sic.PhyFolderError, match=name):
            phy.require(name)
    phy.require("spike_times.npy")
    # the doctor names the same files, and no error
    found = sic.check_phy_folder(folder)
    assert not [f for f in found if f.severity == "error"]
    assert set(names) <= {f.where for f in found if f.severity == "warning"}
    spikes = analyzer.sorting.to_spike_vector()
    original = np.load(sic.example_folder() / "spike_times.npy").ravel()
    np.testing.assert_array_equal(spikes["sample_index"], original)
    assert analyzer.has_extension("spike_amplitudes") == (phy.amplitudes is not None)
    assert analyzer.has_extension("spike_locations") == (phy.spike_positions is not None)
    assert analyzer.has_extension("principal_components") == (phy.pc_features is not None)
    assert analyzer.has_extension("template_similarity")
    return phy


def refused_or_left_out(folder, name, *words):
    """Check that a faulty file is an error if it is needed, else a warning; give the findings."""
    if name in OPTIONAL or name == "ops.npy":
        return left_out(folder, name, *words).left_out()
    return refused(folder, name, *words).findings


def change(folder, name, values):
    """Write another array in the place of one."""
    np.save(folder / name, values)


def load(folder, name):
    return np.load(folder / name)


def write(folder, name, text):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def set_params(folder, *lines, without=()):
    """Write ``params.py`` anew: the usual lines, but for some, and some more."""
    usual = {
        "n_channels_dat": "32",
        "offset": "0",
        "sample_rate": "30000.",
        "dtype": "'int16'",
        "hp_filtered": "False",
        "dat_path": "['recording.dat']",
    }
    kept = [f"{name} = {value}" for name, value in usual.items() if name not in without]
    write(folder, "params.py", "\n".join([*kept, *lines]) + "\n")


# ----------------------------------------------------------------------------- the folder itself


def test_the_untouched_copy_is_read(folder):
    phy = accepted(folder)
    assert phy.findings == ()
    assert phy.num_spikes == 5299


def test_missing_folder(tmp_path):
    refused(tmp_path / "nothing", "nothing", "does not exist", error=sic.FolderNotFoundError)


@pytest.mark.parametrize("name", ["params.py", "spike_times.npy"])
def test_file_instead_of_folder(folder, name):
    error = refused(folder / name, name, "is a file", error=sic.FolderNotFoundError)
    assert isinstance(error, FileNotFoundError)


def test_folder_name_that_no_folder_can_have():
    with pytest.raises(sic.ParameterError, match="which no file can be called"):
        sic.read_phy_folder("x" * 5000)


def test_a_folder_without_a_sorting_or_with_a_part_of_one(tmp_path):
    empty = tmp_path / "sorted" / "empty"
    empty.mkdir(parents=True)
    one = "has none of spike_times.npy"
    refused(empty, one, "spike_times.npy", error=sic.FolderNotFoundError)
    # with the first file of a sorting it is a folder of one, which lacks the others
    np.save(empty / "spike_times.npy", np.arange(5))
    rest = [name for name in NEEDED if name != "spike_times.npy"]
    error = refused(empty, *rest, "sampling_frequency=")
    assert {finding.where for finding in error.findings} == set(rest)


@pytest.mark.parametrize("name", [name for name in NEEDED if name != "params.py"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    error = refused(folder, name, "is missing")
    assert [finding.where for finding in error.findings] == [name]


@pytest.mark.parametrize("name", ARRAYS)
def test_folder_in_the_place_of_a_file(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    refused_or_left_out(folder, name, "is not a file")


def test_all_faults_are_in_one_error(folder):
    (folder / "templates.npy").write_bytes(b"")
    change(folder, "spike_times.npy", load(folder, "spike_times.npy")[:-3])
    change(folder, "channel_positions.npy", np.full((32, 2), np.nan))
    change(folder, "amplitudes.npy", load(folder, "amplitudes.npy")[:-1])
    write(folder, "cluster_group.tsv", "cluster_id\tgroup\n4\tgood\n4\tmua\n")
    write(folder, "ops.npy", b"")
    set_params(folder, "import os", without=["sample_rate"])
    error = refused(folder, "5299 entries, expected 5296 as in spike_times.npy")
    places = {finding.where for finding in error.findings}
    assert places == {
        "templates.npy",
        "spike_templates.npy",
        "spike_clusters.npy",
        "channel_positions.npy",
        "params.py",
    }
    optional = {f.where for f in sic.check_phy_folder(folder) if f.severity == "warning"}
    assert optional >= {"amplitudes.npy", "cluster_group.tsv", "ops.npy", "spike_positions.npy"}
    assert f"{len(error.findings)} problems" in str(error)


def test_the_error_survives_a_process_border(folder):
    (folder / "channel_map.npy").unlink()
    error = refused(folder)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.findings == error.findings


# ------------------------------------------------------------------------------- damaged arrays

DAMAGES = {
    "zero bytes": lambda content: b"",
    "magic cut": lambda content: content[:4],
    "header cut": lambda content: content[:50],
    "body missing": lambda content: content[:128],
    "body cut": lambda content: content[:-1],
    "text": lambda content: b"<!DOCTYPE html><p>404 not found</p>\n" * 20,
    "an archive": lambda content: b"PK\x03\x04" + content[4:],
    "odd version": lambda content: content[:6] + b"\x09\x00" + content[8:],
    "header not closed": lambda content: content.replace(b"}", b" ", 1),
    "header not text": lambda content: content.replace(b"'descr'", b"\xff\xfe\x00\x01\x02\x03\x04"),
    "negative shape": lambda content: content.replace(b"'shape': (", b"'shape':(-", 1),
    "shape of text": lambda content: content.replace(b"'shape': (", b"'shape':'(", 1),
    "unknown dtype": lambda content: content.replace(b"'<", b"'?", 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["spike_times.npy", "templates.npy", "amplitudes.npy"])
def test_damaged_array(folder, name, damage):
    content = (folder / name).read_bytes()
    damaged = DAMAGES[damage](content)
    assert damaged != content
    write(folder, name, damaged)
    faults = refused_or_left_out(folder, name)
    assert {finding.where for finding in faults} == {name}
    assert "allow_pickle" not in str(faults)


@pytest.mark.parametrize("damage", ["zero bytes", "header cut", "body cut"])
@pytest.mark.parametrize("name", ARRAYS)
def test_truncated_array(folder, name, damage):
    content = (folder / name).read_bytes()
    write(folder, name, DAMAGES[damage](content))
    faults = refused_or_left_out(folder, name)
    if damage == "body cut":
        assert f"{len(content) - 1} bytes found, {len(content)} expected" in str(faults[0])


def test_header_that_claims_more_than_the_memory_holds(folder):
    content = (folder / "spike_times.npy").read_bytes()
    # the padding makes room for the digits
    huge = content.replace(b"(5299,), }" + b" " * 12, b"(5299" + b"0" * 12 + b",), }", 1)
    assert len(huge) == len(content)
    write(folder, "spike_times.npy", huge)
    refused(folder, "spike_times.npy", "is truncated", "expected for shape (5299000000000000,)")


WRONG_DTYPES = {
    "text": "U4",
    "bytes": "S4",
    "complex": np.complex64,
    "bool": bool,
    "date": "M8[s]",
    "objects": object,
    "records": [("a", "f4"), ("b", "i4")],
}


@pytest.mark.parametrize("kind", WRONG_DTYPES)
@pytest.mark.parametrize("name", ARRAYS)
def test_wrong_dtype(folder, name, kind):
    dtype = np.dtype(WRONG_DTYPES[kind])
    change(folder, name, np.zeros(load(folder, name).shape, dtype=dtype))
    refused_or_left_out(folder, name, "Python objects" if dtype.hasobject else dtype)


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">u2", "<i4", ">i8", "<u8"])
@pytest.mark.parametrize(
    ("name", "attribute", "scale"),
    [
        ("amplitudes.npy", "amplitudes", 1),
        ("spike_positions.npy", "spike_positions", 0.1),
        ("templates.npy", "templates", 100),
        ("similar_templates.npy", "similar_templates", 100),
        ("channel_positions.npy", "channel_positions", 0.1),
        ("pc_features.npy", "pc_features", 1),
    ],
)
def test_whole_numbers_where_floats_are_usual(folder, name, attribute, scale, dtype):
    whole = np.clip(load(folder, name) * scale, 0, 100).astype(dtype)
    change(folder, name, whole.astype(np.float64))
    expected = sic.read_kilosort_as_analyzer(folder)
    change(folder, name, whole)
    with sic.read_phy_folder(folder) as phy:
        values = getattr(phy, attribute)
        np.testing.assert_array_equal(values, whole)
        assert attribute == "pc_features" or values.dtype.kind == "f"
    analyzer = accepted(folder) and sic.read_kilosort_as_analyzer(folder)
    for extension in ("templates", "spike_amplitudes", "spike_locations", "principal_components"):
        one, two = (a.get_extension(extension).data for a in (analyzer, expected))
        assert one.keys() == two.keys()
        for key in one:
            if one[key].dtype.names:
                for axis in one[key].dtype.names:
                    np.testing.assert_allclose(one[key][axis], two[key][axis])
            else:
                np.testing.assert_allclose(one[key], two[key], rtol=1e-5, atol=1e-5)
    if name == "pc_features.npy":
        # clipped, they are features of no templates: the basis is not recovered but given
        set_ops(folder, wPCA=np.eye(1, 61, dtype=np.float32))
        projections = [
            a.compute("template_features", source="pc_features").get_data()[0]
            for a in (analyzer, expected)
        ]
        np.testing.assert_allclose(*projections, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["i1", "i8", ">i4"])
@pytest.mark.parametrize("name", ["whitening_mat.npy", "whitening_mat_inv.npy"])
def test_whole_numbers_in_whitening_matrices(folder, name, dtype):
    for other in ("whitening_mat.npy", "whitening_mat_inv.npy"):
        (folder / other).unlink()
    change(folder, name, (3 * np.eye(32)).astype(dtype))
    phy = accepted(folder)
    matrix = phy.whitening if name == "whitening_mat.npy" else phy.whitening_inv
    assert matrix.dtype.kind == "f"
    factor = 1 / 3 if name == "whitening_mat.npy" else 3
    analyzer = sic.read_kilosort_as_analyzer(folder)
    whitened = sic.read_kilosort_as_analyzer(folder, unwhiten=False)
    np.testing.assert_allclose(
        *(
            a.get_extension("template_assignment").get_unit_template(4) * f
            for a, f in ((analyzer, 1), (whitened, factor))
        ),
        rtol=1e-5,
    )


@pytest.mark.parametrize("name", [name for name in PER_SPIKE if name != "spike_times.npy"])
@pytest.mark.parametrize("difference", [-1, 1])
def test_lengths_that_disagree(folder, name, difference):
    values = load(folder, name)
    longer = np.concatenate([values, values[:1]])
    change(folder, name, longer[: len(values) + difference])
    faults = refused_or_left_out(folder, name, 5299, 5299 + difference)
    assert {finding.where for finding in faults} == {name}


def test_spike_times_that_disagree_with_all_others(folder):
    change(folder, "spike_times.npy", load(folder, "spike_times.npy")[:-1])
    error = refused(folder, "5299 entries, expected 5298 as in spike_times.npy")
    assert {f.where for f in error.findings} == {"spike_templates.npy", "spike_clusters.npy"}
    found = {f.where for f in sic.check_phy_folder(folder) if f.severity == "warning"}
    assert found >= {"amplitudes.npy", "spike_positions.npy", "pc_features.npy"}


WRONG_SHAPES = {
    "spike_times.npy": lambda a: np.stack([a, a], axis=1),
    "spike_templates.npy": lambda a: np.stack([a, a], axis=1),
    "spike_clusters.npy": lambda a: a.reshape(1, -1, 1),
    "amplitudes.npy": lambda a: a[0],
    "spike_positions.npy": lambda a: a[:, :1],
    "pc_features.npy": lambda a: a[:, 0, 0],
    "templates.npy": lambda a: a[:, :, 0],
    "similar_templates.npy": lambda a: a[:, :-1],
    "channel_map.npy": lambda a: a.reshape(2, -1),
    "channel_positions.npy": lambda a: np.concatenate([a, a[:, :1]], axis=1),
    "channel_shanks.npy": lambda a: a.reshape(2, -1),
    "pc_feature_ind.npy": lambda a: a.T,
    "whitening_mat.npy": lambda a: a.ravel(),
    "whitening_mat_inv.npy": lambda a: a[:, :-1],
}


@pytest.mark.parametrize("name", WRONG_SHAPES)
def test_wrong_shape(folder, name):
    values = WRONG_SHAPES[name](load(folder, name))
    change(folder, name, values)
    refused_or_left_out(folder, name, f"shape {np.shape(values)}")


@pytest.mark.parametrize("name", WRONG_SHAPES)
def test_wrong_shape_while_the_needed_files_are_missing(folder, name):
    # what a file is checked against may itself be missing
    change(folder, name, WRONG_SHAPES[name](load(folder, name)))
    missing = {"channel_map.npy", "spike_times.npy"} - {name}
    for other in missing | ({"templates.npy"} - {name}):
        (folder / other).unlink()
    error = refused(folder, *missing)
    assert {finding.where for finding in error.findings} <= missing | {name}


@pytest.mark.parametrize("missing", ["channel_map.npy", "spike_times.npy"])
@pytest.mark.parametrize("name", ["pc_feature_ind.npy", "whitening_mat.npy", "pc_features.npy"])
def test_files_are_not_blamed_for_a_missing_one(folder, name, missing):
    values = load(folder, name)
    change(folder, name, values.ravel() if name == "pc_feature_ind.npy" else values)
    (folder / missing).unlink()
    error = refused(folder, missing)
    assert [finding.where for finding in error.findings] == [missing]


# ------------------------------------------------------------------------ values without meaning


@pytest.mark.parametrize("name", ["spike_templates.npy", "spike_clusters.npy"])
def test_negative_ids(folder, name):
    ids = load(folder, name)
    ids[[7, 9]] = -3, -1
    change(folder, name, ids)
    refused(folder, name, "negative", "-3", "2 rows", "row 7")


def test_template_id_that_does_not_exist(folder):
    ids = load(folder, "spike_templates.npy")
    ids[[11, 20]] = 10
    change(folder, "spike_templates.npy", ids)
    refused(folder, "spike_templates.npy", "template 10", "2 rows", "row 11", "10 templates")


def test_cluster_id_beyond_int32(folder):
    ids = load(folder, "spike_clusters.npy").astype(np.int64)
    ids[0] = 2**31
    change(folder, "spike_clusters.npy", ids)
    refused(folder, "spike_clusters.npy", 2**31)


@pytest.mark.parametrize("value", [2.5, np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize(
    "name", ["spike_times.npy", "spike_templates.npy", "spike_clusters.npy", "channel_map.npy"]
)
def test_floats_that_are_not_whole(folder, name, value):
    values = load(folder, name).astype(np.float64)
    values[5] = value
    change(folder, name, values)
    refused(folder, name, value, "row 5", "whole numbers")


@pytest.mark.parametrize("value", [2**63 + 5, 2**64 - 1, 2**63 - 1])
def test_spike_time_that_is_no_sample_index(folder, value):
    times = load(folder, "spike_times.npy").astype(np.uint64)
    times[3] = value
    change(folder, "spike_times.npy", times)
    refused(folder, "spike_times.npy", value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_channel_positions_that_are_not_finite(folder, value):
    positions = load(folder, "channel_positions.npy")
    positions[[4, 6], [0, 1]] = value
    change(folder, "channel_positions.npy", positions)
    refused(folder, "channel_positions.npy", "2 channels", "channel 4")


@pytest.mark.parametrize("name", ["whitening_mat.npy", "whitening_mat_inv.npy"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_whitening_that_is_not_finite(folder, name, value):
    matrix = load(folder, name)
    matrix[3, 4] = value
    change(folder, name, matrix)
    expected = sic.read_kilosort_as_analyzer(sic.example_folder())
    left_out(folder, name, "NaN or infinite")  # the other matrix is enough
    with pytest.warns(sic.SiCurationWarning, match=name):
        analyzer = sic.read_kilosort_as_analyzer(folder)
    templates = (a.get_extension("templates").get_data() for a in (analyzer, expected))
    np.testing.assert_allclose(*templates, rtol=1e-2, atol=0.1)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (5, ["column 5", "2 times"]),  # channel 7 has it too
        (-1, ["column -1"]),
        (32, ["column 32", "n_channels_dat = 32", "params.py"]),
    ],
)
def test_channel_map(folder, value, words):
    channel_map = np.arange(32)
    channel_map[7] = value
    change(folder, "channel_map.npy", channel_map)
    refused(folder, "channel_map.npy", *words)


def test_channel_map_without_channels(folder):
    change(folder, "channel_map.npy", np.zeros(0, dtype=np.int32))
    refused(folder, "channel_map.npy: has no channel")


def test_channel_counts_that_disagree(folder):
    change(folder, "channel_map.npy", np.arange(31))
    error = refused(folder, "templates.npy: has 32 channels", "channel_map.npy has 31")
    assert {f.where for f in error.findings} == {"templates.npy", "channel_positions.npy"}
    assert {f.where for f in sic.check_phy_folder(folder) if f.severity == "warning"} >= {
        "channel_shanks.npy",
        "whitening_mat.npy",
        "whitening_mat_inv.npy",
        "pc_feature_ind.npy",
    }


@pytest.mark.parametrize(("value", "limit"), [(-2, 31), (32, 31)])
def test_feature_channel_that_does_not_exist(folder, value, limit):
    index = load(folder, "pc_feature_ind.npy").astype(np.int64)
    index[2, 3] = value
    change(folder, "pc_feature_ind.npy", index)
    left_out(folder, "pc_feature_ind.npy", value, limit)


def test_feature_rows_of_spikes_that_do_not_exist(folder):
    change(folder, "pc_feature_spike_ids.npy", np.arange(1, 5300))
    phy = left_out(folder, "pc_feature_spike_ids.npy", "5299 of 5299 spikes")
    assert phy.pc_features is None


# ------------------------------------------------------------------------------ hostile pickles


class Calls:
    """Pickled as the call of a function, with whatever arguments."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def npy_of_objects(payload, shape=()):
    """A ``.npy`` file of Python objects with any bytes as its pickle."""
    file = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + payload


def global_of(module, name):
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def text(value):
    encoded = value.encode()
    return b"X" + len(encoded).to_bytes(4, "little") + encoded


def scalar_of_objects():
    return np.float64(1).__reduce__()[0]


# each makes the marker file when it is really unpickled
PROGRAMS = {
    "os.system": lambda m: pickle.dumps(Calls(os.system, f"touch {m}")),
    "builtins.eval": lambda m: pickle.dumps(Calls(eval, f"open({str(m)!r}, 'w').close()")),
    "builtins.exec": lambda m: pickle.dumps(Calls(exec, f"open({str(m)!r}, 'w').close()")),
    "builtins.open": lambda m: pickle.dumps(Calls(open, str(m), "w")),
    "in a dict": lambda m: pickle.dumps({"nt": 61, "x": Calls(os.system, f"touch {m}")}),
    "as a key": lambda m: pickle.dumps({Calls(os.mkdir, str(m)): 1}),
    "nested": lambda m: pickle.dumps([{"a": ([Calls(os.system, f"touch {m}")],)}]),
    "in an object array": lambda m: pickle.dumps(
        {"a": np.array([None, Calls(os.system, f"touch {m}")], dtype=object)}
    ),
    "for a scalar": lambda m: pickle.dumps(
        {"a": [Calls(os.mkdir, str(m)), Calls(scalar_of_objects(), np.dtype("f8"), b"12345678")]}
    ),
    "protocol 0": lambda m: pickle.dumps(Calls(os.system, f"touch {m}"), 0),
    "INST": lambda m: b"(" + text(f"touch {m}") + b"ios\nsystem\n.",
    "OBJ": lambda m: b"(" + global_of("os", "system") + text(f"touch {m}") + b"o.",
    "getattr": lambda m: (
        global_of("builtins", "getattr")
        + b"("
        + global_of("builtins", "__import__")
        + text("os")
        + b"\x85R"
        + text("system")
        + b"tR"
        + text(f"touch {m}")
        + b"\x85R."
    ),
    "dotted name": lambda m: (
        b"\x80\x04" + text("pathlib") + text("Path.touch") + b"\x93"
        b"" + global_of("pathlib", "PosixPath") + text(str(m)) + b"\x85R\x85R."
    ),
    "method of an array": lambda m: (
        b"\x80\x04"
        + text("numpy")
        + text("ndarray.tofile")
        + b"\x93"
        + pickle.dumps(np.arange(3), 2)[2:-1]
        + text(str(m))
        + b"\x86R."
    ),
    "copyreg": lambda m: (
        global_of("copyreg", "__newobj__")
        + global_of("_io", "FileIO")
        + text(str(m))
        + b"\x86R0"
        + global_of("_io", "FileIO")
        + b"("
        + text(str(m))
        + text("w")
        + b"tR."
    ),
    "state of an object": lambda m: (
        global_of("types", "SimpleNamespace")
        + b")R}"
        + text("a")
        + global_of("os", "mkdir")
        + text(str(m))
        + b"\x85Rsb."
    ),
    "second pickle": lambda m: (
        global_of("pickle", "loads")
        + b"B"
        + len(inner := pickle.dumps(Calls(os.mkdir, str(m)))).to_bytes(4, "little")
        + inner
        + b"\x85R."
    ),
    "numpy.load": lambda m: (
        global_of("numpy", "save") + text(str(m)) + global_of("numpy", "ndarray") + b"\x86R."
    ),
}


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", ["ops.npy", "spike_clusters.npy"])
def test_nothing_in_a_pickle_is_run(folder, marker, name, program):
    payload = PROGRAMS[program](marker)
    if name == "ops.npy":
        write(folder, name, npy_of_objects(payload))
    else:
        write(folder, name, npy_of_objects(payload, shape=(5299,)))
    (fault,) = refused_or_left_out(folder, name, "was not read")
    assert fault.where == name
    assert not list(folder.parent.parent.glob("marker*"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_hostile_pickles_are_hostile(marker, program):
    # the control of the test above: an ordinary unpickler does run them
    with contextlib.suppress(Exception):
        pickle.loads(PROGRAMS[program](marker))
    assert list(marker.parent.glob("marker*"))


def dtype_with_state(*state):
    return global_of("numpy", "dtype") + text("V8") + b"\x89\x88\x87R" + pickled(state) + b"b"


def pickled(value):
    """The opcodes that put a plain value on the stack."""
    return pickle.dumps(value, 2)[2:-1]


def array_with_state(dtype, shape, content):
    return (
        global_of("numpy.core.multiarray", "_reconstruct")
        + global_of("numpy", "ndarray")
        + pickled((0,))
        + pickled("b")
        + b"\x87R("
        + pickled(1)
        + pickled(shape)
        + dtype
        + b"\x89"
        + content
        + b"tb"
    )


F8 = global_of("numpy", "dtype") + text("f8") + b"\x89\x88\x87R"
OBJECTS = global_of("numpy", "dtype") + text("O8") + b"\x89\x88\x87R"
SCALAR = global_of("numpy.core.multiarray", "scalar")
RAW_POINTER = b"C\x08AAAAAAAA"  # eight bytes that an object array would take for an address
LONG_TUPLE = b"(" + b")" * 20_000 + b"t."

BROKEN_STATES = {
    "objects from raw bytes": array_with_state(OBJECTS, (1,), RAW_POINTER),
    "fewer objects than the shape": array_with_state(OBJECTS, (5,), pickled([1])),
    "fewer bytes than the shape": array_with_state(F8, (2,), RAW_POINTER),
    "negative shape": array_with_state(F8, (-1,), RAW_POINTER),
    "huge shape": array_with_state(F8, (2**62, 4), RAW_POINTER),
    "shape of text": array_with_state(F8, ("1",), RAW_POINTER),
    "dtype that is none": array_with_state(pickled("f8"), (1,), RAW_POINTER),
    "no state": SCALAR + F8 + b"N\x86R",
    "objects that hide in a structure": array_with_state(
        global_of("numpy", "dtype")
        + text("V8")
        + b"\x89\x88\x87R("
        + pickled(3)
        + text("|")
        + b"N"
        + pickled(("a",))
        + b"}"
        + text("a")
        + OBJECTS
        + pickled(0)
        + b"\x86s"
        + pickled(8)
        + pickled(1)
        + pickled(0)  # flags: no objects
        + b"tb",
        (1,),
        RAW_POINTER,
    ),
    "dtype by its fields": global_of("numpy", "dtype") + text("f8,O") + b"\x89\x88\x87R",
    "dtype by a list": global_of("numpy", "dtype") + pickled([("a", "O")]) + b"\x85R",
    "dtype of dates": global_of("numpy", "dtype") + text("M8") + b"\x89\x88\x87R",
    "dtype with a subarray": (
        F8 + b"(" + pickled(3) + text("<") + F8 + b"NN" + pickled((8, 1, 0))[:0] + b"tb"
    ),
    "scalar that is an object": SCALAR + OBJECTS + pickled([1]) + b"\x86R",
    "scalar from raw bytes": SCALAR + OBJECTS + RAW_POINTER + b"\x86R",
    "scalar that is too long": SCALAR + F8 + b"C\x04AAAA\x86R",
    "array around a buffer": (
        global_of("numpy", "ndarray") + pickled((1,)) + OBJECTS + RAW_POINTER + b"\x87R"
    ),
    "objects in a buffer": (
        global_of("numpy._core.numeric", "_frombuffer")
        + b"("
        + RAW_POINTER
        + OBJECTS
        + pickled((1,))
        + text("C")
        + b"tR"
    ),
    "array as a key": b"}" + array_with_state(F8, (1,), RAW_POINTER) + b"Ns",
    "class as a value": pickled([1])[:0] + global_of("collections", "OrderedDict"),
    "object number beyond the memory": b"Nr\xff\xff\xff\x7f",
    "object number as text": b"Np9999999999\n",
    "persistent id": b"Psomewhere\n",
    "persistent object": b"NQ",
    "deep lists": b"]" * 20_000 + b"a" * 19_999,
    "deep tuples": b"N" + b"\x85" * 1_000_000,
    "deep tuples as a key": b"}N" + b"\x85" * 1_000_000 + b"Ns",
    "bytes encoded oddly": (
        global_of("_codecs", "encode") + pickled("AA") + pickled("hex_codec") + b"\x86R"
    ),
    "nothing": b"",
    "no end": b"}",
    "not a pickle": b"\xff" * 50,
    "a number": pickled(3),
    "a list": pickled([{}]),
    "text": pickled("nt"),
}


@pytest.mark.parametrize("state", BROKEN_STATES)
def test_states_that_numpy_would_trust(folder, state):
    payload = BROKEN_STATES[state] + (b"" if state == "no end" else b".")
    write(folder, "ops.npy", npy_of_objects(payload))
    (fault,) = left_out(folder, "ops.npy", "was not read", "nothing in it was run").left_out()
    assert len(str(fault)) < 800
    if state == "dtype of dates":
        assert "M8" in str(fault)


def test_a_refused_pickle_leaves_numpy_as_it_was(folder):
    state = b"(" + pickled(3) + text(">") + b"NNN" + b"K\x08K\x08K\x00tb"
    write(folder, "ops.npy", npy_of_objects(b"(" + F8 + state + b"N" + b"1" + pickled(3) + b"."))
    left_out(folder, "ops.npy")
    assert np.dtype("f8").isnative


def test_registered_classes_are_refused(folder, marker):
    copyreg.add_extension("os", "mkdir", 240)
    try:
        payload = b"\x80\x02\x82\xf0" + text(str(marker)) + b"\x85R."
        pickle.loads(payload)
        assert marker.is_dir()
        marker.rmdir()
        write(folder, "ops.npy", npy_of_objects(payload))  # now the class is in pickle's cache
        left_out(folder, "ops.npy")
        assert not marker.exists()
    finally:
        copyreg.remove_extension("os", "mkdir", 240)


def test_attributes_that_a_pickle_sets_are_left_out(folder):
    ordered = OrderedDict(nt=61, nt0min=20, wPCA=np.eye(3), n_pcs=3)
    ordered.get = "not callable"
    write(folder, "ops.npy", npy_of_objects(pickle.dumps(ordered)))
    phy = accepted(folder)
    assert list(phy.ops.items())[:2] == [("nt", 61), ("nt0min", 20)]
    assert phy.num_samples_before == 20


@pytest.mark.parametrize(
    "damage", ["zero bytes", "magic cut", "header cut", "body missing", "text"]
)
def test_damaged_ops(folder, damage):
    content = (folder / "ops.npy").read_bytes()
    write(folder, "ops.npy", DAMAGES[damage](content))
    left_out(folder, "ops.npy", "was not read", "nothing in it was run")


@pytest.mark.parametrize("size", [200, 5000, 100_000, -1])
def test_truncated_ops(folder, size):
    write(folder, "ops.npy", (folder / "ops.npy").read_bytes()[:size])
    left_out(folder, "ops.npy", "was not read")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.arange(3), "int64"),
        (np.array([{"nt": 61}, {}], dtype=object), "size 1"),
        (np.array("nt: 61"), "<U6"),
        (np.array([1, "a"], dtype=object)[:1], "int"),
    ],
)
def test_ops_that_is_no_dict(folder, values, found):
    np.save(folder / "ops.npy", values, allow_pickle=True)
    left_out(folder, "ops.npy", found)


def test_settings_that_would_break_what_uses_them(folder):
    for value in (10**400, np.complex64(61), "61", None, [61], float("inf"), float("nan"), True):
        ops = {"nt": value, "nt0min": value, "wPCA": value, "n_pcs": value, "version": value}
        np.save(folder / "ops.npy", ops, allow_pickle=True)
        phy = accepted(folder)
        assert phy.num_samples_before == 20
        assert "nt0min" not in phy.num_samples_before_evidence.split("(")[0]


# ------------------------------------------------------------------------------------ params.py

CODE = {
    "import": "import os",
    "exec": "exec({touch!r})",
    "system": "x = __import__('os').system({touch!r})",
    "call": "sample_rate = float('30000')",
    "f-string": "dat_path = f'{{exec}}'",
    "comprehension": "dat_path = [open({marker!r}, 'w') for _ in 'a']",
    "lambda": "x = (lambda: open({marker!r}, 'w'))()",
    "walrus": "(x := open({marker!r}, 'w'))",
    "decorator": "@print\ndef f(): pass",
    "class": "class A: x = open({marker!r}, 'w')",
    "loop": "for sample_rate in [1.]: open({marker!r}, 'w')",
    "if": "if open({marker!r}, 'w'): pass",
    "default": "def f(x=open({marker!r}, 'w')): pass",
    "arithmetic": "sample_rate = 2 ** 10 ** 10 ** 10",
    "name": "sample_rate = fs",
    "attribute": "sample_rate.real = 3",
    "unpacking": "n_channels_dat, offset = 32, 0",
    "chain": "n_channels_dat = offset = 0",
    "addition": "offset += 1",
    "annotation alone": "offset: open({marker!r}, 'w')",
    "annotation": "offset: open({marker!r}, 'w') = open({marker!r}, 'w')",
    "operators": "x = " + "-" * 90 + "open({marker!r})",
    "unhashable": "x = {{[]: 1}}",
    "long": "x = " + "y + " * 200 + "y",
}


@pytest.mark.parametrize("kind", CODE)
def test_code_in_params_is_named_and_not_run(folder, marker, kind):
    line = CODE[kind].format(marker=str(marker), touch=f"open({str(marker)!r}, 'w')")
    set_params(folder, "# a comment", line)
    number = (9 if kind == "decorator" else 8) + 0
    error = refused(folder, "params.py", f"line {number} is code", "it was not run")
    assert [finding.where for finding in error.findings] == ["params.py"]
    assert len(str(error)) < 500
    assert not marker.exists()


def test_every_line_of_code_is_named(folder):
    set_params(folder, "import os", "x = os.getcwd()")
    refused(folder, "line 7 is code (`import os`)", "line 8 is code (`x = os.getcwd()`)")


UNREADABLE = {
    "not UTF-8": (b"sample_rate = 30000.\ndat_path = 'C:\\\\Users\\\\Jos\xe9'\n", "line 2"),
    "UTF-16": ("sample_rate = 30000.\n".encode("utf-16"), "UTF-8"),
    "NUL": (b"sample_rate = 30000.\x00\n", "null bytes"),
    "syntax": (b"sample_rate = 30000.\noffset == = 0\n", "line 2"),
    "quotation mark": (b"sample_rate = 30000.\ndat_path = 'abc\n", "line 2"),
    "path of Windows": (b"sample_rate = 30000.\ndat_path = 'C:\\Users\\me'\n", "line 2"),
    "indentation": (b"sample_rate = 30000.\n  offset = 0\n", "line 2"),
    "brackets": (b"x = " + b"[" * 100_000 + b"]" * 100_000, "params.py"),
    "parentheses": (b"x = " + b"(" * 150 + b"1" + b")" * 100, "params.py"),
    "minus signs": (b"x = " + b"-" * 100_000 + b"1\n", "params.py"),
    "sum": (b"sample_rate = 1" + b"+1" * 50_000 + b"\n", "params.py"),
    "attributes": (b"x = a" + b".b" * 50_000 + b"\n", "params.py"),
    "digits": (b"sample_rate = " + b"9" * 10_000 + b"\n", "params.py"),
    "form of a notebook": (b'{"cells": [sample_rate\n', "params.py"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_unreadable_params(folder, kind):
    content, word = UNREADABLE[kind]
    write(folder, "params.py", content)
    error = refused(folder, "params.py", word)
    assert [finding.where for finding in error.findings] == ["params.py"]
    assert "unknown>" not in str(error)
    assert len(str(error)) < 600


@pytest.mark.parametrize(
    "value",
    ["-1", "0", "1e999", "-1e999", "'30000'", "[30000.0]", "True", "1j", "b'30000'", "{}"],
)
def test_sample_rate_that_is_no_rate(folder, value):
    set_params(folder, f"sample_rate = {value}", without=["sample_rate"])
    error = refused(folder, "params.py", "sample_rate is", "a number from 1,000")
    assert len(str(error)) < 500
    assert accepted(folder, sampling_frequency=25000.0).sampling_frequency == 25000.0


@pytest.mark.parametrize(
    "value", ["0x" + "f" * 5000, "'" + "x" * 5000 + "'", "[" + "1," * 5000 + "]"]
)
def test_sample_rate_that_is_too_long_to_show(folder, value):
    set_params(folder, f"sample_rate = {value}", without=["sample_rate"])
    assert len(str(refused(folder, "params.py", "sample_rate is"))) < 500


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"sample_rate = None\n", b"offset = 0\n"])
def test_params_without_sample_rate(folder, content):
    write(folder, "params.py", content)
    refused(folder, "params.py: has no sample_rate", "sampling_frequency=")
    assert accepted(folder, sampling_frequency=30000.0).sampling_frequency == 30000.0


def test_missing_params(folder):
    (folder / "params.py").unlink()
    refused(folder, "params.py: is missing", "sampling_frequency=")
    phy = accepted(folder, sampling_frequency=30000.0)
    assert phy.sampling_frequency == 30000.0
    assert phy.params == {}


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, "30000", [30000], True, 1j, 10**400])
def test_sampling_frequency_that_is_no_rate(folder, value):
    refused(folder, "sampling_frequency", error=sic.ParameterError, sampling_frequency=value)


@pytest.mark.parametrize("value", [30000, 30000.0, np.float32(30000), np.int64(30000)])
def test_sampling_frequency_of_any_number_type(folder, value):
    (folder / "params.py").unlink()
    frequency = accepted(folder, sampling_frequency=value).sampling_frequency
    assert frequency == 30000.0
    assert type(frequency) is float


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dat_path = 'recording.dat'", ["recording.dat"]),
        ("dat_path = ['a.bin', 'b.bin']", ["a.bin", "b.bin"]),
        ("dat_path = ('a.bin',)", ["a.bin"]),
        (r"dat_path = r'C:\data\rec.bin'", [r"C:\data\rec.bin"]),
        (r"dat_path = ['C:\\data\\rec.bin']", [r"C:\data\rec.bin"]),
        (r"dat_path = 'D:\data\rec.bin'", ["D:\\data\rec.bin"]),  # as Python reads it
        ("dat_path = '/nowhere/rec.bin'", ["/nowhere/rec.bin"]),
        ("dat_path = ''", []),
        ("dat_path = []", []),
        ("dat_path = ['', None]", []),
        ("dat_path = None", []),
        ("dat_path = 5", []),
        ("dat_path = 'x\\0y'", ["x\0y"]),
        (f"dat_path = '{'x' * 5000}'", ["x" * 5000]),
        ("", []),
    ],
)
def test_any_dat_path(folder, line, expected):
    set_params(folder, line, without=["dat_path"])
    phy = accepted(folder)
    assert phy.data_paths == tuple(folder.resolve() / entry for entry in expected)
    assert phy.raw_num_samples is None


@pytest.mark.parametrize("entry", [r"C:\data\rec.bin", "/nowhere/rec.bin", "rec.bin"])
def test_raw_data_beside_the_folder_are_found(folder, entry):
    write(folder, "rec.bin", bytes(2 * 32 * 100))
    set_params(folder, f"dat_path = r'{entry}'", without=["dat_path"])
    phy = accepted(folder)
    assert phy.data_paths == (folder.resolve() / "rec.bin",)
    assert phy.raw_num_samples == 100


@pytest.mark.parametrize(
    "lines",
    [
        ["dtype = 'S'"],
        ["dtype = 'no dtype'"],
        ["dtype = {'names': 3}"],
        ["dtype = ['int16']"],
        ["dtype = 3"],
        ["dtype = 'i4,i4'"],
        ["dtype = '('"],
        ["dtype = '(1000000,1000000)i4'"],
        ["offset = -1"],
        ["offset = 'a'"],
        ["n_channels_dat = None"],
        ["n_channels_dat = '32'"],
    ],
)
def test_raw_data_whose_layout_cannot_be_told(folder, lines):
    write(folder, "recording.dat", bytes(6400))
    set_params(folder, *lines)
    assert accepted(folder).raw_num_samples is None


def test_offset_beyond_the_raw_data(folder):
    write(folder, "recording.dat", bytes(6400))
    set_params(folder, "offset = 10000")
    assert accepted(folder).raw_num_samples == 0


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfsample_rate = 30000.\n",
        b"sample_rate = 30000.\r\noffset = 0\r\n",
        b"sample_rate = 30000.\roffset = 0\r",
        b"# a comment\n\n'''a docstring'''\nsample_rate: float = 3e4; offset = 0",
        "sample_rate = 30000 # \u00b5V \u2028 \u0085\n".encode(),
        b"sample_rate = 1.\nsample_rate = 30000.\n",
        b"sample_rate = +30000\npass\n",
        b"if_ = {'a': [1, (2, {3})], 'b': b'x', 'c': -1+2j}\nsample_rate = 30_000\n",
    ],
)
def test_params_in_any_style(folder, content):
    write(folder, "params.py", content)
    assert accepted(folder).sampling_frequency == 30000.0


# --------------------------------------------------------------------------------------- tables

FAULTY_TABLES = {
    "not UTF-8": (b"cluster_id\tgroup\n4\tgood\n7\tr\xe9solu\n", ["line 3", "0xe9", "UTF-8"]),
    "UTF-16": ("cluster_id\tgroup\n4\tgood\n".encode("utf-16"), ["line 1", "UTF-8"]),
    "an id twice": (b"cluster_id\tgroup\n4\tgood\n\n7\tmua\n4\tmua\n", ["id 4", "2 and 5"]),
    "an id twice, once as float": (b"cluster_id\tgroup\n4\tgood\n4.0\tmua\n", ["id 4", "2 and 3"]),
    "semicolons": (b"cluster_id;group\n4;good\n", ["cluster_id;group", "tabs"]),
    "spaces": (b"cluster_id group\n4 good\n", ["cluster_id group", "tabs"]),
    "bars": (b"id|group\n4|good\n", ["id|group", "tabs"]),
    "commas below tabs": (b"cluster_id\tgroup\n4,good\n", ["line 2", "4,good"]),
    "text as id": (b"cluster_id\tgroup\n4\tgood\nfour\tmua\n", ["line 3", "four"]),
    "fraction as id": (b"cluster_id\tgroup\n4.5\tgood\n", ["line 2", "4.5"]),
    "negative id": (b"cluster_id\tgroup\n-1\tgood\n", ["line 2", "-1"]),
    "no id": (b"cluster_id\tgroup\n\tgood\n", ["line 2", "''"]),
    "endless id": (b"cluster_id\tgroup\n" + b"7" * 5000 + b"\tgood\n", ["line 2", "7777"]),
    "endless text as id": (b"cluster_id\tgroup\n" + b"x" * 50_000 + b"\tgood\n", ["line 2", "xxx"]),
    "too many fields": (b"cluster_id\tgroup\n4\tgood\tnoise\n", ["line 2", "3 fields"]),
    "open quotation mark": (b'cluster_id\tgroup\n4\t"good\n7\tmua\n8\tmua\n', ["line 2"]),
    "text after a quotation": (b'cluster_id\tgroup\n4\t"good"x\n7\tmua\n', ["line 2"]),
    "endless field": (
        b"cluster_id\tgroup\n4\t" + b"x" * 200_000 + b"\n",
        ["line 2", "field limit"],
    ),
    "after a field of two lines": (
        b'cluster_id\tgroup\n4\t"go\nod"\n\nx\tmua\n',
        ["line 5", "'x'"],
    ),
}


@pytest.mark.parametrize("kind", FAULTY_TABLES)
@pytest.mark.parametrize("name", ["cluster_group.tsv", "cluster_mine.tsv"])
def test_faulty_table(folder, name, kind):
    content, words = FAULTY_TABLES[kind]
    write(folder, name, content)
    (fault,) = left_out(folder, name, *words).left_out()
    assert len(str(fault)) < 500


def test_faults_of_several_tables(folder):
    write(folder, "cluster_group.tsv", "cluster_id\tgroup\nx\tgood\n")
    write(folder, "cluster_KSLabel.tsv", "cluster_id\tKSLabel\n4\tgood\n4\tmua\n")
    names = ["cluster_group.tsv", "cluster_KSLabel.tsv"]
    left_out(folder, names, "cluster_group.tsv: line 2", "cluster_KSLabel.tsv: cluster id 4")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["4\tgood", "\tmua", "7\tmua"], {4: "good", 7: "mua"}),
        (["4\tgood", "4\tmua", "7\tmua"], {4: "mua", 7: "mua"}),  # as phy: the last one counts
        (["4\tgood", "4\t", "7\tmua"], {4: "good", 7: "mua"}),  # as phy: a blank is no value
        (["4\tgood\tnoise", "7\tmua"], {4: "good", 7: "mua"}),
        (["four\tgood", "-1\tgood", "7\tmua", "8.5\tgood"], {7: "mua"}),
    ],
)
def test_rows_that_cannot_be_used_are_left_out_as_phy_does(folder, lines, expected):
    write(folder, "cluster_group.tsv", "\n".join(["cluster_id\tgroup", *lines]) + "\n")
    phy = left_out(folder, "cluster_group.tsv")
    assert dict(phy.columns["group"].values) == expected


@pytest.mark.parametrize("kind", FAULTY_TABLES)
def test_a_snapshot_never_decides(folder, kind):
    content, words = FAULTY_TABLES[kind]
    write(folder, "cluster_info.tsv", content)
    phy = accepted(folder)  # without a warning: other files have the column
    (fault,) = phy.left_out("cluster_info.tsv")
    assert all(word in str(fault) for word in words)
    assert "cluster_info.tsv" in {f.where for f in sic.check_phy_folder(folder)}


def test_a_column_of_the_snapshot_alone_is_warned_of(folder):
    write(folder, "cluster_info.tsv", "cluster_id\tdepth\n4\t1.5\n\t2.5\n")
    phy = left_out(folder, "cluster_info.tsv", "line 3")
    assert dict(phy.columns["depth"].values) == {4: 1.5}


# --------------------------------------------------------------- what is left out and asked for


def test_whitening_that_cannot_be_used_is_an_error_where_it_is_asked_for(folder):
    write(folder, "whitening_mat.npy", b"")
    (folder / "whitening_mat_inv.npy").unlink()
    left_out(folder, "whitening_mat.npy", unwhiten=False)
    for unwhiten in ("auto", "phy", True):
        with pytest.raises(sic.PhyFolderError, match=r"whitening_mat\.npy.*unwhiten=False"):
            sic.read_kilosort_as_analyzer(folder, unwhiten=unwhiten)
    with pytest.warns(sic.SiCurationWarning):
        analyzer = sic.read_kilosort_as_analyzer(folder, unwhiten=False)
    assert analyzer.get_extension("template_assignment").info["units"] == "whitened"


@pytest.mark.parametrize("name", ["pc_features.npy", "pc_feature_ind.npy"])
def test_features_that_cannot_be_used_are_an_error_where_they_are_asked_for(folder, name):
    write(folder, name, b"")
    with pytest.raises(sic.PhyFolderError, match=name):
        sic.read_kilosort_as_analyzer(folder, principal_components=True)
    with pytest.warns(sic.SiCurationWarning, match=name):
        analyzer = sic.read_kilosort_as_analyzer(folder)
    with pytest.raises(sic.PhyFolderError, match=name):
        analyzer.compute("template_features")


def test_template_features_that_cannot_be_used(folder):
    write(folder, "template_features.npy", b"")
    left_out(folder, "template_features.npy")
    with pytest.warns(sic.SiCurationWarning, match="template_features"):
        analyzer = sic.read_kilosort_as_analyzer(folder)
    assert analyzer.compute("template_features").source == "pc_features"
    with pytest.raises(sic.PhyFolderError, match="template_features"):
        analyzer.compute("template_features", source="file")


def test_amplitudes_that_cannot_be_used_are_an_error_where_they_are_asked_for(folder):
    write(folder, "amplitudes.npy", b"")
    with pytest.warns(sic.SiCurationWarning, match="amplitudes"):
        analyzer = sic.read_kilosort_as_analyzer(folder, gain_to_uV=0.2)  # Kilosort 4 needs none
    with pytest.raises(sic.PhyFolderError, match="amplitudes"):
        sic.get_spike_amplitudes(analyzer, 4, kind="template")
    (folder / "ops.npy").unlink()
    for name in ("spike_detection_templates.npy", "kept_spikes.npy"):
        (folder / name).unlink(missing_ok=True)
    if sic.read_phy_folder(folder).sorter.name != "kilosort4":
        with pytest.raises(sic.PhyFolderError, match="amplitudes"):
            sic.read_kilosort_as_analyzer(folder, gain_to_uV=0.2)


# ---------------------------------------------------------------------------- shanks of ops.npy


def set_ops(folder, **changes):
    ops = dict(sic.read_phy_folder(folder).ops)
    np.save(folder / "ops.npy", {**ops, **changes}, allow_pickle=True)


SHANKS = np.arange(32) // 8


@pytest.mark.parametrize("damage", [None, b"", "length"])
@pytest.mark.parametrize("dtype", ["f4", "i8"])
def test_shanks_that_have_no_file_are_those_of_ops(folder, damage, dtype):
    order = np.random.default_rng(0).permutation(32)
    set_ops(folder, kcoords=SHANKS[order].astype(dtype), chanMap=order)
    if damage == "length":
        change(folder, "channel_shanks.npy", np.zeros(31, dtype=np.int32))
    elif damage is not None:
        write(folder, "channel_shanks.npy", damage)
    else:
        (folder / "channel_shanks.npy").unlink()
    phy = accepted(folder) if damage is None else left_out(folder, "channel_shanks.npy", "kcoords")
    np.testing.assert_array_equal(phy.channel_shanks, SHANKS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analyzer = sic.read_kilosort_as_analyzer(folder)
    analyzer.compute("template_best_channels")
    found = analyzer.get_extension("template_best_channels").get_data(outputs="dataframe")
    np.testing.assert_array_equal(found["shank"], SHANKS[found["channel_index"]])
    assert (found.groupby("unit_id")["shank"].nunique() == 1).all()


def test_a_file_of_shanks_goes_before_ops(folder):
    set_ops(folder, kcoords=SHANKS)
    change(folder, "channel_shanks.npy", SHANKS[::-1].copy())
    np.testing.assert_array_equal(accepted(folder).channel_shanks, SHANKS[::-1])


@pytest.mark.parametrize(
    "changes",
    [
        {"kcoords": SHANKS[:-1]},
        {"kcoords": SHANKS + 0.5},
        {"kcoords": SHANKS.astype(str)},
        {"kcoords": "0123"},
        {"kcoords": SHANKS, "chanMap": None},
        {"kcoords": SHANKS, "chanMap": np.arange(1, 33)},  # another channel map
        {"kcoords": SHANKS, "chanMap": np.zeros(32)},
        {"kcoords": np.full(32, np.nan)},
    ],
)
def test_shanks_of_ops_that_do_not_fit_are_not_used(folder, changes):
    (folder / "channel_shanks.npy").unlink()
    set_ops(folder, **changes)
    assert not accepted(folder).channel_shanks.any()


GROUPS = {4: "unsorted", 7: "mua", 8: "noise", 9: "unsorted", 10: "good", 11: "unsorted"} | {
    12: "unsorted",
    13: "unsorted",
}
GROUP_TABLES = {
    "plain": b"cluster_id\tgroup\n7\tmua\n8\tnoise\n10\tgood\n",
    "blank lines": b"\ncluster_id\tgroup\n\n7\tmua\n8\tnoise\n\t\n  \n10\tgood\n\n\n",
    "CRLF": b"cluster_id\tgroup\r\n7\tmua\r\n8\tnoise\r\n\r\n10\tgood\r\n",
    "byte order mark": b"\xef\xbb\xbfcluster_id\tgroup\n7\tmua\n8\tnoise\n10\tgood\n",
    "no last line end": b"cluster_id\tgroup\n7\tmua\n8\tnoise\n10\tgood",
    "ids that are gone": b"cluster_id\tgroup\n0\tgood\n7\tmua\n8\tnoise\n10\tgood\n999\tgood\n",
    "id as column": b"id\tgroup\n7\tmua\n8\tnoise\n10\tgood\n",
    "ids as floats": b"cluster_id\tgroup\n7.0\tmua\n8.\tnoise\n10.00\tgood\n",
    "order of columns": b"group\tcluster_id\nmua\t7\nnoise\t8\ngood\t10\n",
    "order of rows": b"cluster_id\tgroup\n10\tgood\n7\tmua\n8\tnoise\n",
    "blanks in fields": b"cluster_id \t group\n 7\tmua \n8 \t noise\n10\tgood\n",
    "quotation marks": b'cluster_id\tgroup\n7\t"mua"\n"8"\tnoise\n10\tgood\n',
    "blank values": b"cluster_id\tgroup\n4\t\n7\tmua\n8\tnoise\n9\n10\tgood\n11\t \n",
    "trailing tabs": b"cluster_id\tgroup\t\n7\tmua\t\n8\tnoise\t\n10\tgood\t\t\n",
    "commas, as phy reads them": b"cluster_id,group\n7,mua\n8,noise\n10,good\n",
}


@pytest.mark.parametrize("suffix", ["tsv", "csv"])
@pytest.mark.parametrize("style", GROUP_TABLES)
def test_table_in_any_style(folder, style, suffix):
    (folder / "cluster_group.tsv").unlink()
    write(folder, f"cluster_group.{suffix}", GROUP_TABLES[style])
    phy = accepted(folder)
    assert phy.groups == GROUPS
    assert phy.columns["group"].file == f"cluster_group.{suffix}"
    analyzer = sic.read_kilosort_as_analyzer(folder)
    assert analyzer.get_sorting_property("quality").tolist() == list(GROUPS.values())


def test_columns_of_the_example_as_the_oracle_reads_them(folder):
    phy = accepted(folder)
    assert {name: dict(c.values) for name, c in phy.columns.items()} == naive_read_tables(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.csv", b"depth,comment\n3,fine\n"),
        ("notes.csv", b"cell,d\xe9pth\n3,fine\n"),
        ("notes.csv", b"4;5\n"),
        ("notes.tsv", b'a\t"b\n'),
        ("notes.csv", b"cluster_id,group\nx,good\n"),
        ("notes.csv", bytes(range(256))),
        ("notes.csv", b""),
        ("notes.tsv", b"\n\n\n"),
        ("cluster_notes.csv", b"depth,comment\n3,fine\n"),
        ("cluster_empty.tsv", b""),
        (".hidden.tsv", b"cluster_id\tgroup\n4\tgood\n"),
        ("._cluster_group.tsv", b"\x00\x05\x16\x07\xff"),
    ],
)
def test_files_that_are_no_cluster_tables(folder, name, content):
    before = accepted(folder).columns
    write(folder, name, content)
    phy = accepted(folder)
    assert {k: c.values for k, c in phy.columns.items()} == {k: c.values for k, c in before.items()}


def test_a_folder_may_be_named_like_a_table(folder):
    (folder / "cluster_old.tsv").mkdir()
    assert accepted(folder).findings == ()


def test_cluster_info_never_overrides_the_single_files(folder):
    write(folder, "cluster_info.tsv", "id\tgroup\tKSLabel\n4\tgood\tmua\n7\tgood\tmua\n")
    phy = accepted(folder)
    assert phy.groups == {**dict.fromkeys(GROUPS, "unsorted"), 8: "noise", 10: "mua", 13: "good"}
    assert set(phy.columns["KSLabel"].values.values()) == {"good"}


def test_cluster_info_is_used_where_no_other_file_has_the_column(folder):
    write(folder, "cluster_info.tsv", "id\tgroup\tnote\n4\tgood\tnice\n7\tmua\t\n")
    for name in ("group", "KSLabel", "ContamPct", "Amplitude"):
        (folder / f"cluster_{name}.tsv").unlink()
    phy = accepted(folder)
    assert phy.groups == {**dict.fromkeys(GROUPS, "unsorted"), 4: "good", 7: "mua"}
    assert phy.columns["note"].values == {4: "nice"}
    assert phy.columns["note"].file == "cluster_info.tsv"


def test_the_file_named_after_its_column_wins(folder):
    write(folder, "cluster_all.tsv", "cluster_id\tgroup\n4\tnoise\n7\tnoise\n")
    write(folder, "zzz.csv", "cluster_id,group\n4,noise\n7,noise\n")
    phy = accepted(folder)
    assert phy.columns["group"].file == "cluster_group.tsv"
    assert phy.groups[4] == "unsorted"
    assert {f.where for f in phy.findings if f.severity == "warning"}


def test_kilosort_4_writes_its_labels_as_group_file(folder):
    write(folder, "cluster_group.tsv", "cluster_id\tKSLabel\n4\tmua\n7\tgood\n")
    (folder / "cluster_info.tsv").unlink()
    phy = accepted(folder)
    assert set(phy.groups.values()) == {"unsorted"}
    assert phy.columns["KSLabel"].file == "cluster_KSLabel.tsv"


def test_no_table_at_all(folder):
    for path in folder.glob("*.tsv"):
        path.unlink()
    phy = accepted(folder)
    assert phy.columns == {}
    assert set(phy.groups.values()) == {"unsorted"}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "2"], np.array([1, 2])),
        (["1", ""], np.array([1.0, np.nan])),
        (["1.5", "-2e3"], np.array([1.5, -2000.0])),
        (["nan", "inf"], np.array([np.nan, np.inf])),
        (["9223372036854775807", "1"], np.array([2**63 - 1, 1])),
        (["9223372036854775808", "1"], np.array([2.0**63, 1.0])),
        (["9" * 5000, "1"], np.array([np.inf, 1.0])),
        (["1", "one"], np.array(["1", "one"])),
        (["a" * 100, ""], np.array(["a" * 100, ""])),
        (["\u00b5V", "\U0001f9e0"], np.array(["\u00b5V", "\U0001f9e0"])),
        (["1_000", "0x10"], np.array(["1_000", "0x10"])),
    ],
)
def test_values_of_a_column(folder, texts, expected):
    rows = [f"{cluster}\t{value}\n" for cluster, value in zip((4, 7), texts, strict=True)]
    write(folder, "cluster_mine.tsv", "cluster_id\tmine\n" + "".join(rows))
    values = accepted(folder).columns["mine"].to_array(np.array([4, 7]))
    assert values.dtype.kind == expected.dtype.kind
    np.testing.assert_array_equal(values, expected)


# -------------------------------------------------------------------- what the arrays may be like


@pytest.mark.parametrize("shape", [(-1, 1), (1, -1)])
@pytest.mark.parametrize(
    "name",
    [*PER_SPIKE[:4], "channel_map.npy", "channel_shanks.npy"],
)
def test_columns_and_rows_are_vectors(folder, name, shape):
    change(folder, name, load(folder, name).reshape(shape))
    phy = accepted(folder)
    assert phy.spike_samples.shape == phy.spike_templates.shape == (5299,)
    assert phy.spike_clusters.shape == phy.amplitudes.shape == (5299,)
    assert phy.channel_map.shape == phy.channel_shanks.shape == (32,)


@pytest.mark.parametrize("dtype", ["u8", "u4", "u2", "i8", "i4", "i2", "f8", ">i8", ">u4", ">f8"])
@pytest.mark.parametrize("name", ["spike_templates.npy", "spike_clusters.npy"])
def test_ids_of_any_dtype(folder, name, dtype):
    expected = load(folder, name)
    change(folder, name, expected.astype(dtype))
    phy = accepted(folder)
    values = phy.spike_templates if name == "spike_templates.npy" else phy.spike_clusters
    assert values.dtype.kind in "iu"
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("dtype", ["u8", "u4", "i4", "f8", ">i8", ">u8", ">f8"])
def test_times_of_any_dtype(folder, dtype):
    expected = load(folder, "spike_times.npy")
    change(folder, "spike_times.npy", expected.astype(dtype))
    phy = accepted(folder)
    assert phy.spike_samples.dtype == np.int64
    np.testing.assert_array_equal(phy.spike_samples, expected)


@pytest.mark.parametrize("dtype", ["f8", "f2", ">f4", ">f8", np.longdouble])
@pytest.mark.parametrize(
    "name", ["amplitudes.npy", "templates.npy", "pc_features.npy", "whitening_mat_inv.npy"]
)
def test_floats_of_any_dtype(folder, name, dtype):
    values = load(folder, name).astype(dtype)
    change(folder, name, values)
    phy = accepted(folder)
    read = getattr(phy, name.removesuffix(".npy").replace("mat_", ""))
    assert read.dtype in (np.float32, np.float64)
    np.testing.assert_array_equal(read, values.astype(read.dtype))


def test_missing_spike_clusters_are_the_spike_templates(folder):
    (folder / "spike_clusters.npy").unlink()
    phy = accepted(folder)
    np.testing.assert_array_equal(phy.spike_clusters, load(folder, "spike_templates.npy"))
    assert not (folder / "spike_clusters.npy").exists()


@pytest.mark.parametrize(
    "name",
    [*PER_SPIKE[3:], *OTHER_ARRAYS[1:2], *OTHER_ARRAYS[4:7], "ops.npy"],
)
def test_optional_file(folder, name):
    (folder / name).unlink()
    accepted(folder)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_templates_without_signal(folder, value):
    templates = load(folder, "templates.npy")
    templates[3] = value
    change(folder, "templates.npy", templates)
    with np.errstate(invalid="ignore"):  # units without signal have no place
        phy = accepted(folder)
    np.testing.assert_array_equal(phy.templates, templates)


def test_positions_that_are_not_finite(folder):
    positions = load(folder, "spike_positions.npy")
    positions[[2, 5]] = np.nan
    change(folder, "spike_positions.npy", positions)
    phy = accepted(folder)
    assert [(f.severity, f.where) for f in phy.findings] == [("warning", "spike_positions.npy")]
    positions[[2, 5]] = [[np.inf, 0], [-np.inf, 0]]
    change(folder, "spike_positions.npy", positions)
    np.testing.assert_array_equal(accepted(folder).spike_positions, positions)


@pytest.mark.parametrize(
    "name", ["templates.npy", "pc_features.npy", "whitening_mat_inv.npy", "spike_positions.npy"]
)
def test_arrays_in_fortran_order(folder, name):
    expected = load(folder, name)
    change(folder, name, np.asfortranarray(expected))
    assert b"'fortran_order': True" in (folder / name).read_bytes()[:128]
    phy = accepted(folder)
    read = getattr(phy, name.removesuffix(".npy").replace("mat_", ""))
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("name", ["spike_times.npy", "templates.npy", "ops.npy"])
def test_npy_format_versions(folder, name, version):
    expected = sic.read_phy_folder(sic.example_folder())
    values = np.load(folder / name, allow_pickle=True)
    with (folder / name).open("wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of new versions
        np.lib.format.write_array(file, values, version=version)
    phy = accepted(folder)
    np.testing.assert_array_equal(phy.templates, expected.templates)
    assert list(phy.ops) == list(expected.ops)


def test_header_of_python_2(folder):
    content = (folder / "spike_times.npy").read_bytes()
    old = content.replace(b"(5299,), }  ", b"(5299L,), } ", 1)
    assert old != content
    write(folder, "spike_times.npy", old)
    assert accepted(folder).num_spikes == 5299


@pytest.mark.parametrize("shift", [1, 3])
def test_data_at_an_odd_place_of_the_file(folder, shift):
    content = (folder / "spike_times.npy").read_bytes()
    length = int.from_bytes(content[8:10], "little")
    header = content[10 : 10 + length - 1] + b" " * shift + b"\n"
    size = len(header).to_bytes(2, "little")
    write(folder, "spike_times.npy", content[:8] + size + header + content[10 + length :])
    assert accepted(folder).num_spikes == 5299


def test_bytes_after_the_data(folder):
    path = folder / "spike_times.npy"
    path.write_bytes(path.read_bytes() + b"more")
    assert accepted(folder).num_spikes == 5299


def test_files_that_are_not_read_may_be_anything(folder):
    for name in ("templates_ind.npy", "kept_spikes.npy", "spike_detection_templates.npy"):
        write(folder, name, b"anything")
    write(folder, "temp_wh.dat", b"x")
    (folder / ".phy").mkdir()
    assert accepted(folder).findings == ()


@pytest.mark.parametrize("protocol", range(6))
def test_ops_of_paths_and_containers(folder, protocol):
    ops = {
        "nt": 61,
        "nt0min": np.int64(20),
        "filename": PurePosixPath("/data/rec.bin"),
        "results_dir": PureWindowsPath(r"C:\data\out"),
        "data_dir": Path("/data"),
        "settings": OrderedDict(a=1, b=OrderedDict(c=np.arange(3))),
        "wPCA": np.eye(3, 61, dtype=np.float32),
        "labels": np.array(["a", None, {"b": 1.5}], dtype=object),
        "others": [(1, 2.5, None), {3}, frozenset({4}), b"\xff", bytearray(b"ab"), 1j, True],
    }
    payload = pickle.dumps(np.array(ops, dtype=object), protocol)
    write(folder, "ops.npy", npy_of_objects(payload))
    read = accepted(folder).ops
    assert read["filename"] == "/data/rec.bin"
    assert read["results_dir"] == r"C:\data\out"
    assert read["data_dir"] == "/data"
    assert type(read["settings"]) is OrderedDict
    assert list(read["settings"]) == ["a", "b"]
    np.testing.assert_array_equal(read["settings"]["b"]["c"], np.arange(3))
    np.testing.assert_array_equal(read["wPCA"], ops["wPCA"])
    assert read["labels"].tolist() == ["a", None, {"b": 1.5}]
    assert read["others"] == ops["others"]
    assert type(read["nt0min"]) is np.int64


def test_ops_of_a_folder_without_it(folder):
    (folder / "ops.npy").unlink()
    phy = accepted(folder)
    assert phy.ops is None
    assert phy.sorter.name == "kilosort4"
