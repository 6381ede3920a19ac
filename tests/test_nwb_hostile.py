"""Exports to NWB that cannot work: one clear error, and every file is as it was, byte for byte."""

from __future__ import annotations

import copy
import os
import shutil
import warnings
from contextlib import contextmanager
from datetime import datetime

import h5py
import numpy as np
import pynwb
import pytest

import si_curation as sic
from nwb_analyzers import make_analyzer, small_analyzer
from nwb_sources import FULL_METADATA, START, gapped_timestamps, make_source
from si_curation.cli import main


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="(hdmf|pynwb)")
        yield


@pytest.fixture
def refused(tmp_path, hash_files):
    """A context in which one error of ours is raised; no file has changed, come or gone."""

    @contextmanager
    def context(error, *words):
        before = hash_files(tmp_path)
        with pytest.raises(error) as caught:
            yield
        assert isinstance(caught.value, sic.SiCurationError)
        message = str(caught.value)
        assert message.strip()
        assert "\n" not in message.strip(), "more than one line"
        for word in words:
            assert word.lower() in message.lower(), f"{word!r} is not in: {message}"
        assert hash_files(tmp_path) == before

    return context


@pytest.fixture
def there(tmp_path):
    """A file that is at the target already."""
    path = tmp_path / "out.nwb"
    path.write_bytes(b"what was there before")
    return path


@pytest.fixture
def source(tmp_path):
    def make(name="source.nwb", **kwargs):
        return make_source(tmp_path / name, **kwargs)

    return make


def export(analyzer, path, **kwargs):
    kwargs.setdefault("progress_bar", False)
    if kwargs.get("source_nwb") is None and kwargs.get("mode") != "append":
        kwargs.setdefault("metadata", FULL_METADATA)
    return sic.export_to_nwb(analyzer, path, **kwargs)


# --------------------------------------------------------------------------------------- the clock


def test_no_clock(refused, there):
    with refused(sic.MissingDataError, "t_start", "timestamps"):
        export(small_analyzer(), there, overwrite=True)


def test_no_clock_in_a_source_without_series(refused, there, source):
    path = source(series=False)
    with refused(sic.MissingDataError, "t_start"):
        export(small_analyzer(), there, source_nwb=path, overwrite=True)


def test_two_series_and_no_path(refused, there, source):
    path = source(second_series=True)
    with refused(sic.SiCurationError, "acquisition/ElectricalSeries", "ElectricalSeriesLFP"):
        export(small_analyzer(), there, source_nwb=path, overwrite=True)


def test_series_that_is_not_there(refused, there, source):
    path = source()
    with refused(sic.SiCurationError, "acquisition/Raw", "acquisition/ElectricalSeries"):
        export(
            small_analyzer(),
            there,
            source_nwb=path,
            overwrite=True,
            electrical_series_path="acquisition/Raw",
        )


@pytest.mark.parametrize("name", ["general", "general/subject", "intervals/trials", "", "/", ".."])
def test_path_of_something_that_is_no_series(refused, there, source, name):
    path = source()
    with refused(sic.SiCurationError, "ElectricalSeries"):
        export(
            small_analyzer(), there, source_nwb=path, overwrite=True, electrical_series_path=name
        )


def test_series_without_source(refused, there):
    with refused(sic.ParameterError, "electrical_series_path", "source_nwb"):
        export(
            small_analyzer(),
            there,
            t_start=0.0,
            overwrite=True,
            electrical_series_path="acquisition/ElectricalSeries",
        )


@pytest.mark.parametrize(
    "t_start", [np.nan, np.inf, "now", [0.0, 1.0], [], [[0.0]], datetime(2024, 1, 1), 1j, True]
)
def test_t_start_that_is_no_time(refused, there, t_start):
    with refused(sic.ParameterError, "t_start"):
        export(small_analyzer(), there, t_start=t_start, overwrite=True)


def bad_timestamps():
    good = gapped_timestamps(30_000)
    with_nan, repeated, reversed_, infinite = (good.copy() for _ in range(4))
    with_nan[500] = np.nan
    repeated[501] = repeated[500] - 1e-3
    infinite[-1] = np.inf
    return {
        "too short": good[:10_000],
        "empty": good[:0],
        "nan": with_nan,
        "infinite": infinite,
        "a step back": repeated,
        "reversed": reversed_[::-1],
        "two-dimensional": good[:, None],
        "text": ["a"] * 30_000,
        "two segments": [good, good + 100],
        "a number": 4.0,
    }


@pytest.mark.parametrize("name", list(bad_timestamps()))
def test_timestamps_that_are_no_clock(refused, there, name):
    with refused(sic.ParameterError, "timestamps"):
        export(small_analyzer(), there, timestamps=bad_timestamps()[name], overwrite=True)


def test_two_clocks_at_once(refused, there):
    with refused(sic.ParameterError, "t_start", "timestamps"):
        export(
            small_analyzer(),
            there,
            t_start=0.0,
            timestamps=gapped_timestamps(30_000),
            overwrite=True,
        )


@pytest.mark.parametrize(
    ("t_start", "words"),
    [([0.0, 0.5], ["0.5"]), ([5.0, 0.0], []), ([0.0, 0.0], []), (0.0, ["t_start", "2"])],
    ids=["overlap", "descending", "equal", "one for two"],
)
def test_segments_that_are_not_apart(refused, there, t_start, words):
    analyzer = make_analyzer([{0: [0, 29_999]}, {0: [5]}], num_samples=[30_000, 30_000])
    with refused(sic.ParameterError, "segment", *words):
        export(analyzer, there, t_start=t_start, overwrite=True)


def test_vectors_of_segments_that_overlap(refused, there):
    analyzer = make_analyzer([{0: [0, 29_999]}, {0: [5]}], num_samples=[30_000, 30_000])
    times = gapped_timestamps(30_000)
    with refused(sic.ParameterError, "segment"):
        export(analyzer, there, timestamps=[times, times + 1.0], overwrite=True)


@pytest.mark.parametrize("rate", [30_000.6, 25_000.0, 1000.0])
def test_nominal_rate_that_is_wrong(refused, there, source, rate):
    """Half a sample in a second, and much more; the message tells both rates."""
    path = source(rate=rate)
    with refused(sic.ParameterError, str(rate)[:5], "30000"):
        export(small_analyzer(), there, source_nwb=path, overwrite=True)


def test_series_shorter_than_the_sorting(refused, there, source):
    """The spikes cannot be of that recording."""
    path = source(num_frames=10_000)
    with refused(sic.SiCurationError, "ElectricalSeries"):
        export(small_analyzer(), there, source_nwb=path, overwrite=True)


@pytest.mark.parametrize("kind", ["short", "rate"])
def test_time_vector_of_a_series_that_does_not_fit(refused, there, source, kind):
    if kind == "short":
        path = source(num_frames=20_000, timestamps=gapped_timestamps(20_000))
    else:
        path = source(timestamps=np.arange(30_000) / 25_000.0)
    with refused(sic.SiCurationError, "ElectricalSeries"):
        export(small_analyzer(), there, source_nwb=path, overwrite=True)


def test_two_segments_and_one_series(refused, there, source):
    analyzer = make_analyzer([{0: [0, 10]}, {0: [5]}], num_samples=[30_000, 30_000])
    path = source()
    with refused(sic.SiCurationError, "segment"):
        export(analyzer, there, source_nwb=path, overwrite=True)


# ------------------------------------------------------------------------------------- the target


def test_target_exists(refused, there):
    with refused(sic.OutputExistsError, "out.nwb", "overwrite"):
        export(small_analyzer(), there, t_start=0.0)


@pytest.mark.parametrize("mode", ["sidecar", "export"])
def test_target_exists_beside_a_source(refused, there, source, mode):
    path = source()
    with refused(sic.OutputExistsError, "out.nwb"):
        export(small_analyzer(), there, source_nwb=path, mode=mode)


@pytest.mark.parametrize("overwrite", [False, True])
def test_target_is_a_folder(refused, tmp_path, overwrite):
    (tmp_path / "out.nwb").mkdir()
    (tmp_path / "out.nwb" / "file").write_text("x")
    with refused(sic.SiCurationError, "out.nwb"):
        export(small_analyzer(), tmp_path / "out.nwb", t_start=0.0, overwrite=overwrite)


def test_target_below_a_file(refused, there):
    with refused(sic.SiCurationError, "out.nwb"):
        export(small_analyzer(), there / "below.nwb", t_start=0.0, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("mode", ["new", "sidecar", "export"])
@pytest.mark.parametrize("how", ["same", "link", "hard link", "dots"])
def test_target_is_the_source(refused, tmp_path, source, mode, how, overwrite):
    path = source()
    target = path
    if how == "link":
        target = tmp_path / "link.nwb"
        target.symlink_to(path)
    elif how == "hard link":
        target = tmp_path / "hard.nwb"
        os.link(path, target)
    elif how == "dots":
        (tmp_path / "a").mkdir()
        target = tmp_path / "a" / ".." / "source.nwb"
    with refused(sic.SiCurationError, "source"):
        export(
            small_analyzer(),
            target,
            source_nwb=path,
            mode=mode,
            overwrite=overwrite,
            metadata=FULL_METADATA,
            t_start=0.0,
        )


@pytest.mark.parametrize("units_name", ["units", "curated"])
def test_units_that_exist_already(refused, source, units_name):
    path = source(units={4: [0.1, 0.2]})
    if units_name == "curated":
        export(small_analyzer(), path, mode="append", units_name="curated")
    with refused(sic.OutputExistsError, units_name, "units_name"):
        export(small_analyzer(), path, mode="append", units_name=units_name)
    with refused(sic.OutputExistsError, units_name, "units_name"):
        export(small_analyzer(), path, mode="append", units_name=units_name, overwrite=True)


def test_export_onto_units_that_exist(refused, there, source):
    path = source(units={4: [0.1, 0.2]})
    with refused(sic.OutputExistsError, "units", "units_name"):
        export(small_analyzer(), there, source_nwb=path, mode="export", overwrite=True)


@pytest.mark.parametrize("units_name", ["", "a/b", "/", ".", "..", 5, None, "curation_log"])
def test_name_of_units_that_cannot_be(refused, there, units_name):
    with refused(sic.ParameterError, "units_name"):
        export(small_analyzer(), there, t_start=0.0, units_name=units_name, overwrite=True)


def test_append_to_what_is_not_there(refused, tmp_path):
    with refused(sic.FolderNotFoundError, "nothing.nwb"):
        export(small_analyzer(), tmp_path / "nothing.nwb", mode="append", t_start=0.0)


def test_append_to_another_file_than_the_source(refused, tmp_path, source):
    path = source()
    shutil.copy(path, tmp_path / "other.nwb")
    with refused(sic.ParameterError, "append"):
        export(small_analyzer(), tmp_path / "other.nwb", source_nwb=path, mode="append")


@pytest.mark.parametrize("mode", ["sidecar", "export"])
def test_mode_that_needs_a_source(refused, there, mode):
    with refused(sic.ParameterError, "source_nwb", mode):
        export(small_analyzer(), there, mode=mode, t_start=0.0, overwrite=True)


@pytest.mark.parametrize("mode", ["overwrite", "", "NEW", 3])
def test_mode_that_is_none(refused, there, mode):
    with refused(sic.ParameterError, "mode", "sidecar"):
        export(small_analyzer(), there, mode=mode, t_start=0.0, overwrite=True)


# ------------------------------------------------------------------------------------- the source


@pytest.mark.parametrize("mode", ["sidecar", "export", "append"])
@pytest.mark.parametrize("kind", ["text", "empty", "truncated", "plain hdf5", "folder"])
def test_source_that_is_no_nwb_file(refused, tmp_path, there, source, mode, kind):
    path = tmp_path / "broken.nwb"
    if kind == "text":
        path.write_text("not hdf5")
    elif kind == "empty":
        path.touch()
    elif kind == "plain hdf5":
        with h5py.File(path, "w") as file:
            file["x"] = np.arange(10)
    elif kind == "folder":
        path.mkdir()
    else:
        content = source().read_bytes()
        path.write_bytes(content[: len(content) // 2])
    target = path if mode == "append" else there
    with refused(sic.SiCurationError, "broken.nwb"):
        export(
            small_analyzer(),
            target,
            source_nwb=path,
            mode=mode,
            t_start=0.0,
            overwrite=mode != "append",
        )


@pytest.mark.parametrize("mode", ["sidecar", "export"])
def test_source_that_is_not_there(refused, tmp_path, there, mode):
    with refused(sic.FolderNotFoundError, "nothing.nwb"):
        export(
            small_analyzer(),
            there,
            source_nwb=tmp_path / "nothing.nwb",
            mode=mode,
            overwrite=True,
        )


def test_source_of_another_probe(refused, there, source):
    """The names agree, the places do not."""
    path = source()
    analyzer = small_analyzer()
    probe = analyzer.get_probegroup().probes[0]
    probe._contact_positions = probe._contact_positions + [[0.0, 40.0]]
    analyzer.rec_attributes["probegroup"].probes[0] = probe
    with refused(sic.SiCurationError, "electrode", "electrode_map"):
        export(analyzer, there, source_nwb=path, overwrite=True)


def test_channels_that_are_not_in_the_file(refused, there, source):
    path = source()
    analyzer = small_analyzer(channel_ids=[f"AP{i}" for i in range(8)])
    analyzer = small_analyzer(num_channels=12, channel_ids=[f"AP{i}" for i in range(12)])
    with refused(sic.SiCurationError, "AP", "electrode_map"):
        export(analyzer, there, source_nwb=path, overwrite=True)


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({f"CH{i}": 900 + i for i in range(8)}, ["900"]),
        ({f"CH{i}": 0 for i in range(8)}, []),
        ({"CH0": 0}, ["CH1"]),
        ({f"other{i}": i for i in range(8)}, ["other0"]),
        ({f"CH{i}": "a" for i in range(8)}, []),
        ([0, 1, 2], []),
    ],
    ids=["unknown row", "one row for all", "missing channel", "unknown channel", "text", "a list"],
)
def test_electrode_map_that_cannot_be(refused, there, source, mapping, words):
    path = source()
    with refused(sic.SiCurationError, "electrode_map", *words):
        export(small_analyzer(), there, source_nwb=path, electrode_map=mapping, overwrite=True)


def test_electrode_map_against_the_geometry(refused, there, source):
    """Verified by geometry: a reversed map is wrong where the file knows the places."""
    path = source()
    mapping = {f"CH{i}": 7 - i for i in range(8)}
    with refused(sic.SiCurationError, "CH0"):
        export(small_analyzer(), there, source_nwb=path, electrode_map=mapping, overwrite=True)


# ----------------------------------------------------------------------------------- the metadata


def without(*keys):
    metadata = copy.deepcopy(FULL_METADATA)
    part = metadata
    for key in keys[:-1]:
        part = part[key]
    del part[keys[-1]]
    return metadata


def with_value(value, *keys):
    metadata = copy.deepcopy(FULL_METADATA)
    part = metadata
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    return metadata


BAD_METADATA = {
    "none": (None, ["session_start_time"]),
    "empty": ({}, ["session_start_time"]),
    "no start": (without("NWBFile", "session_start_time"), ["session_start_time"]),
    "no time": (with_value("yesterday", "NWBFile", "session_start_time"), ["yesterday"]),
    "number": (with_value(5, "NWBFile", "session_start_time"), ["session_start_time"]),
    "list": ([1, 2], ["metadata"]),
    "unknown field": (with_value("x", "NWBFile", "labb"), ["labb"]),
    "unknown subject field": (with_value("x", "Subject", "specie"), ["specie"]),
    "NWBFile is text": (with_value("x", "NWBFile"), ["NWBFile"]),
    "unknown part": (with_value({}, "NWBfile"), ["NWBfile"]),
    "bad type": (with_value(4.5, "NWBFile", "lab"), ["lab"]),
    "group without device": (
        with_value([{"name": "Probe0", "device": "Nothing"}], "Ecephys", "ElectrodeGroup"),
        ["Nothing"],
    ),
}


@pytest.mark.parametrize("name", list(BAD_METADATA))
def test_metadata_that_cannot_be(refused, there, name):
    metadata, words = BAD_METADATA[name]
    with refused(sic.SiCurationError, *words):
        export(small_analyzer(), there, t_start=0.0, metadata=metadata, overwrite=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.yaml", "NWBFile: [unclosed"),
        ("metadata.json", "{not json"),
        ("metadata.yaml", "- a\n- b\n"),
        ("metadata.yaml", ""),
        ("metadata.yaml", "!!python/object/apply:os.system ['touch pwned']"),
        ("metadata.txt", "hello"),
        ("metadata.yaml", b"\xff\xfe\x00"),
    ],
)
def test_file_of_metadata_that_cannot_be_read(refused, tmp_path, there, name, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with refused(sic.SiCurationError, "metadata"):
        export(small_analyzer(), there, t_start=0.0, metadata=file, overwrite=True)


def test_file_of_metadata_that_is_not_there(refused, tmp_path, there):
    with refused(sic.FolderNotFoundError, "nothing.yaml"):
        export(
            small_analyzer(),
            there,
            t_start=0.0,
            metadata=tmp_path / "nothing.yaml",
            overwrite=True,
        )


def test_all_problems_at_once(refused, there):
    with refused(sic.SiCurationError, "t_start", "per_spike", "session_start_time"):
        export(
            small_analyzer(),
            there,
            t_start=np.nan,
            per_spike=("speed",),
            metadata={},
            overwrite=True,
        )


# -------------------------------------------------------------------------------- what is written


@pytest.mark.parametrize(
    ("per_spike", "error", "word"),
    [
        (("speed",), sic.ParameterError, "speed"),
        ("amplitudes", sic.ParameterError, "per_spike"),
        (("amplitudes", 5), sic.ParameterError, "per_spike"),
        (("depths",), sic.MissingDataError, "depths"),
        (("ks_amplitudes",), sic.MissingDataError, "ks_amplitudes"),
    ],
)
def test_values_of_spikes_that_are_not_there(refused, there, per_spike, error, word):
    with refused(error, word):
        export(small_analyzer(), there, t_start=0.0, per_spike=per_spike, overwrite=True)


@pytest.mark.parametrize("mode", ["new", "sidecar", "export", "append"])
@pytest.mark.parametrize(
    "values",
    [
        [{"a": 1}] * 5,
        [object()] * 5,
        [1 + 2j] * 5,
        ["a\x00b"] * 5,
        ["\ud800"] * 5,
        [{1, 2}, None, None, None, None],
    ],
    ids=["dict", "object", "complex", "null byte", "surrogate", "set"],
)
def test_column_that_cannot_be_written(refused, there, source, mode, values):
    analyzer = small_analyzer()
    array = np.empty(5, dtype=object)
    array[:] = values
    if isinstance(values[0], complex):
        array = np.array(values)
    analyzer.sorting.set_property("strange", array)
    path = source() if mode != "new" else None
    with refused(sic.SiCurationError, "strange"):
        export(
            analyzer,
            path if mode == "append" else there,
            source_nwb=path,
            mode=mode,
            overwrite=mode != "append",
            t_start=0.0,
        )


def test_units_of_a_folder_that_are_gone_or_doubled(refused, there):
    """Ids that differ as objects and not as text cannot be told apart in the file."""
    analyzer = small_analyzer(unit_ids=["1", "1 ", "01"], properties={"quality": ["good"] * 3})
    export(analyzer, there, t_start=0.0, overwrite=True)
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(there, "r") as io:
        assert io.read().units["unit_name"][:].tolist() == ["1", "1 ", "01"]


def test_nothing_is_added_in_memory_when_something_is_wrong():
    nwbfile = pynwb.NWBFile("session", "id", START)
    analyzer = small_analyzer(properties={"strange": [1 + 2j] * 5})
    with pytest.raises(sic.SiCurationError, match="strange"):
        sic.add_units_to_nwbfile(analyzer, nwbfile, t_start=0.0)
    with pytest.raises(sic.MissingDataError, match="t_start"):
        sic.add_units_to_nwbfile(small_analyzer(), nwbfile)
    assert nwbfile.units is None
    assert nwbfile.electrodes is None
    assert not nwbfile.devices
    assert not nwbfile.electrode_groups
    assert not nwbfile.processing
    assert not nwbfile.was_generated_by


@pytest.mark.parametrize("argument", [None, "file.nwb", {}, 5])
def test_what_is_no_analyzer_or_file(argument, tmp_path):
    with pytest.raises(sic.SiCurationError):
        sic.export_to_nwb(argument, tmp_path / "out.nwb", t_start=0.0, metadata=FULL_METADATA)
    with pytest.raises(sic.SiCurationError):
        sic.add_units_to_nwbfile(small_analyzer(), argument, t_start=0.0)
    assert list(tmp_path.iterdir()) == []


def test_pynwb_that_is_not_installed(refused, there, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.split(".")[0] in ("pynwb", "hdmf")]:
        monkeypatch.setitem(sys.modules, name, None)
    with refused(sic.MissingDataError, "si_curation[nwb]"):
        export(small_analyzer(), there, t_start=0.0, overwrite=True)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--t-start", "soon"],
        ["--t-start", "0", "--mode", "wrong"],
        ["--t-start", "0", "--metadata", "nothing.yaml"],
        ["--t-start", "0", "--source-nwb", "nothing.nwb"],
    ],
)
def test_command_refuses_in_one_line(tmp_path, hash_files, capsys, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["export-nwb", str(sic.example_folder()), "out.nwb", *arguments])
    printed = capsys.readouterr()
    assert stop.value.code == 2
    assert len(printed.err.strip().splitlines()) == 1
    assert "Traceback" not in printed.err
    assert hash_files(tmp_path) == {}
