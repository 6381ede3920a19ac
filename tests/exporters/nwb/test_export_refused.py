"""Sources, metadata and columns that cannot go into an NWB file: one error, no file touched."""

from __future__ import annotations

import copy
from datetime import date, datetime

import h5py
import numpy as np
import pynwb
import pytest

import si_curation as sic
from helpers.nwb_analyzers import small_analyzer
from helpers.nwb_sources import FULL_METADATA, START
from si_curation.cli import main

pytestmark = pytest.mark.usefixtures("quiet_pynwb")


def export(analyzer, path, **kwargs):
    kwargs.setdefault("progress_bar", False)
    if kwargs.get("source_nwb") is None and kwargs.get("mode") != "append":
        kwargs.setdefault("metadata", FULL_METADATA)
    return sic.export_to_nwb(analyzer, path, **kwargs)


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
    analyzer = small_analyzer(upside_down=True)
    with refused(sic.SiCurationError, "electrode", "CH0"):
        export(analyzer, there, source_nwb=path, overwrite=True)


def test_channels_that_are_not_in_the_file(refused, there, source):
    path = source()
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
    "no offset": (with_value("2024-05-01T12:00", "NWBFile", "session_start_time"), ["offset"]),
    "a date": (with_value(date(2024, 5, 1), "NWBFile", "session_start_time"), ["offset"]),
    "reference": (
        with_value(datetime(2024, 5, 1), "NWBFile", "timestamps_reference_time"),
        ["timestamps_reference_time", "+02:00"],
    ),
    "number": (with_value(5, "NWBFile", "session_start_time"), ["session_start_time"]),
    "list": ([1, 2], ["metadata"]),
    "unknown field": (with_value("x", "NWBFile", "labb"), ["labb"]),
    "unknown subject field": (with_value("x", "Subject", "specie"), ["specie"]),
    "NWBFile is text": (with_value("x", "NWBFile"), ["NWBFile"]),
    "unknown part": (with_value({}, "NWBfile"), ["NWBfile"]),
    "bad type": (with_value({"a": 1}, "NWBFile", "lab"), ["lab"]),
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


def test_start_that_is_given_by_itself(refused, there, tmp_path):
    given = {"t_start": 0.0, "overwrite": True}
    for start in ("2024-05-01 12:00", datetime(2024, 5, 1, 12)):
        with refused(sic.ParameterError, "session_start_time", "offset from UTC", "+02:00"):
            export(small_analyzer(), there, metadata=None, session_start_time=start, **given)
    with refused(sic.ParameterError, "session_start_time", "give one of them"):
        export(small_analyzer(), there, session_start_time="2024-05-01T12:00:00-05:00", **given)
    path = export(
        small_analyzer(), tmp_path / "a.nwb", t_start=0.0, metadata=None,
        session_start_time="2024-05-01T12:00:00-05:00", session_id="day 1",
    )  # fmt: skip
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        found = io.read()
        assert found.session_start_time.isoformat() == "2024-05-01T12:00:00-05:00"
        assert found.session_id == "day 1"


def test_times_of_a_source_without_offset(refused, there, tmp_path):
    """pynwb takes them to be of the time zone of this computer."""
    source = tmp_path / "naive.nwb"
    with pynwb.NWBHDF5IO(str(source), "w") as io:
        io.write(pynwb.NWBFile("recorded", "id", START))
    with h5py.File(source, "r+") as file:
        for name in ("session_start_time", "timestamps_reference_time"):
            del file[name]
            file[name] = "2024-05-01T12:00:00"
    given = {"source_nwb": source, "t_start": 0.0}
    for mode in ("sidecar", "export"):
        with refused(sic.ParameterError, "2024-05-01T12:00:00", "offset from UTC"):
            export(small_analyzer(), there, mode=mode, overwrite=True, **given)
    metadata = {"NWBFile": {"session_start_time": START, "timestamps_reference_time": START}}
    export(small_analyzer(), tmp_path / "a.nwb", metadata=metadata, **given)
    export(small_analyzer(), source, mode="append", t_start=0.0)
    with h5py.File(source) as file:
        assert file["session_start_time"][()] == b"2024-05-01T12:00:00"


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
        (5, sic.ParameterError, "per_spike"),
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
@pytest.mark.slow
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
