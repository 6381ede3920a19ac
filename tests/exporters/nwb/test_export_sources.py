"""Units beside the recording they came from: electrodes matched, and everything else kept."""

from __future__ import annotations

import copy

import h5py
import numpy as np
import pytest
import spikeinterface.extractors as se
from pynwb import NWBHDF5IO

import si_curation as sic
from helpers.nwb_analyzers import frames_of, small_analyzer
from helpers.nwb_faults import faults_in
from helpers.nwb_reading import (
    Content,
    analyzer_of_recording,
    assert_electrodes,
    assert_frames,
    expected_channels,
    export,
    messages_of,
)
from helpers.nwb_sources import (
    FULL_METADATA,
    content_of,
    make_old_schema,
    make_source,
)

pytestmark = [pytest.mark.usefixtures("quiet_pynwb"), pytest.mark.slow]


# ------------------------------------------------------------------------------------- electrodes


@pytest.mark.parametrize("mode", ["sidecar", "export", "append"])
@pytest.mark.parametrize("num_probes", [1, 2])
def test_reversed_electrodes(tmp_path, source, mode, num_probes):
    """The order of the rows is not that of the columns of the raw data, nor are the ids."""
    total = 8 * num_probes
    path = source(
        num_probes=num_probes,
        electrode_order=np.arange(total)[::-1],
        electrode_ids=np.arange(100, 100 + total)[::-1],
    )
    analyzer = small_analyzer(num_probes=num_probes, num_units=7)
    before = content_of(path)
    out = path if mode == "append" else tmp_path / "out.nwb"
    result = export(analyzer, out, source_nwb=path, mode=mode)
    content = Content(result)
    assert_electrodes(content, analyzer)
    assert content.electrodes.index.tolist() == list(range(100, 100 + total))[::-1]
    assert content.electrodes["impedance_kohm"].tolist() == [100.0 + i for i in range(total)][::-1]
    best = [ranked[0] // 8 for ranked in expected_channels(analyzer)]
    assert content["electrode_group"] == [f"Probe{i}" for i in best]
    if mode != "sidecar":
        after = content_of(result)
        table = "general/extracellular_ephys/electrodes"
        kept = {name: value for name, value in before.items() if name.startswith(table)}
        assert kept
        assert {name: after[name] for name in kept} == kept


def test_columns_of_the_raw_data_in_another_order(tmp_path, source):
    """Without names: the raw column tells the row."""
    order = np.array([3, 0, 7, 1, 6, 2, 5, 4])
    path = source(electrode_order=order, channel_names=False)
    recording = se.read_nwb_recording(path)
    analyzer = analyzer_of_recording(recording, num_units=5)
    content = Content(export(analyzer, tmp_path / "out.nwb", source_nwb=path))
    places = analyzer.get_channel_locations()
    for rows, ranked in zip(content.rows, expected_channels(analyzer), strict=True):
        found = content.electrodes.iloc[rows][["rel_x", "rel_y"]].to_numpy()
        np.testing.assert_allclose(found, places[ranked[: rows.size]])


@pytest.mark.parametrize("with_recording", [False, True])
def test_subset_of_channels(tmp_path, source, with_recording):
    path = source(electrode_order=np.arange(8)[::-1])
    if with_recording:
        recording = se.read_nwb_recording(path)
        recording = recording.select_channels(recording.channel_ids[[6, 1, 4]])
        analyzer = analyzer_of_recording(recording, num_units=4)
    else:
        analyzer = small_analyzer(channels=[1, 4, 6], num_units=4)
    content = Content(export(analyzer, tmp_path / "out.nwb", source_nwb=path))
    places = analyzer.get_channel_locations()
    assert len(content.electrodes) == 8
    for rows, ranked in zip(content.rows, expected_channels(analyzer), strict=True):
        found = content.electrodes.iloc[rows][["rel_x", "rel_y"]].to_numpy()
        np.testing.assert_allclose(found, places[ranked[: rows.size]])


def test_same_channel_names_on_two_probes(tmp_path):
    """The names of channels are unique within a group only."""
    path = tmp_path / "source.nwb"
    make_source(path, num_probes=2, series=False)
    with h5py.File(path, "r+") as file:
        names = file["general/extracellular_ephys/electrodes/channel_name"]
        names[...] = [f"CH{i % 8}" for i in range(16)]
    analyzer = small_analyzer(num_probes=2, num_units=6, main_channels=[12, 1, 15, 8, 0, 9])
    analyzer.rec_attributes["properties"]["channel_name"] = np.array(
        [f"CH{i % 8}" for i in range(16)]
    )
    content = Content(export(analyzer, tmp_path / "out.nwb", source_nwb=path, t_start=0.0))
    places = analyzer.get_channel_locations()
    for rows, ranked in zip(content.rows, expected_channels(analyzer), strict=True):
        found = content.electrodes.iloc[rows][["rel_x", "rel_y"]].to_numpy()
        np.testing.assert_allclose(found, places[ranked[: rows.size]])


def test_electrode_map(tmp_path, source):
    """By id of the row, which is not its number."""
    path = source(
        channel_names=False,
        series=False,
        geometry=False,
        electrode_order=np.arange(8)[::-1],
        electrode_ids=np.arange(50, 58),
    )
    analyzer = small_analyzer()
    mapping = {f"CH{i}": 57 - i for i in range(8)}
    out = export(
        analyzer, tmp_path / "out.nwb", source_nwb=path, t_start=0.0, electrode_map=mapping
    )
    content = Content(out)
    for rows, ranked in zip(content.rows, expected_channels(analyzer), strict=True):
        found = content.electrodes.iloc[rows].index.tolist()
        assert found == [mapping[f"CH{i}"] for i in ranked[: rows.size]]


@pytest.mark.parametrize(("num_probes", "num_shanks"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_electrodes_of_a_new_file(tmp_path, num_probes, num_shanks):
    analyzer = small_analyzer(num_probes=num_probes, num_shanks=num_shanks, num_units=7)
    metadata = copy.deepcopy(FULL_METADATA)
    del metadata["Ecephys"]
    content = Content(export(analyzer, tmp_path / "out.nwb", t_start=0.0, metadata=metadata))
    assert len(content.electrodes) == 8 * num_probes
    assert_electrodes(content, analyzer)
    assert len(content.groups) == num_probes * num_shanks
    names = content.electrodes["group_name"].to_numpy()
    pairs = {(i // 8, (i % 8) * num_shanks // 8): names[i] for i in range(8 * num_probes)}
    assert len(set(pairs.values())) == num_probes * num_shanks
    for i, name in enumerate(names):
        assert pairs[i // 8, (i % 8) * num_shanks // 8] == name
    if num_shanks > 1:
        shanks = [str((i % 8) * num_shanks // 8) for i in range(8 * num_probes)]
        assert [str(i) for i in content.electrodes["shank_id"]] == shanks
    best = [ranked[0] for ranked in expected_channels(analyzer)]
    assert content["electrode_group"] == names[best].tolist()
    assert content.electrodes["location"].notna().all()


# -------------------------------------------------------------------------- modes: what is kept


def changed_or_lost(before, after, allowed=()):
    return [
        name
        for name, value in before.items()
        if not name.startswith(("specifications", *allowed)) and after.get(name) != value
    ]


@pytest.mark.parametrize("mode", ["export", "append"])
def test_everything_of_the_source_is_kept(tmp_path, source, mode):
    path = source(second_series=True, num_probes=2, starting_time=4.0)
    before = content_of(path)
    out = path if mode == "append" else tmp_path / "out.nwb"
    export(
        small_analyzer(num_probes=2),
        out,
        source_nwb=path,
        mode=mode,
        electrical_series_path="acquisition/ElectricalSeries",
    )
    allowed = ("general/was_generated_by", "file_create_date")
    assert changed_or_lost(before, content_of(out), allowed) == []
    if mode == "export":
        assert content_of(path) == before
        path.unlink()  # nothing may hang on the source
        recording = se.read_nwb_recording(
            out, electrical_series_path="acquisition/ElectricalSeries"
        )
        assert recording.get_traces(end_frame=10).shape == (10, 16)
    assert messages_of(out) == []


def test_append_without_naming_the_file_twice(tmp_path, source):
    path = source()
    assert export(small_analyzer(), path, mode="append", metadata=None) == path
    assert_frames(path, small_analyzer(), 0.0)


def test_sidecar_stands_alone(tmp_path, source, hash_files):
    path = source(num_probes=2, electrode_order=np.arange(16)[::-1], units={4: [0.1, 0.2]})
    before = hash_files(tmp_path)
    out = tmp_path / "new" / "out.nwb"
    out.parent.mkdir()
    analyzer = small_analyzer(num_probes=2)
    assert export(analyzer, out, source_nwb=path) == out
    assert {n: h for n, h in hash_files(tmp_path).items() if "new" not in n} == before
    theirs = Content(path)
    path.unlink()
    content = Content(out)
    assert content.acquisition == []
    assert content.identifier != theirs.identifier
    assert content.session_start_time == theirs.session_start_time
    for name in ("subject_id", "species", "sex", "age", "description", "weight", "strain"):
        assert content.subject[name] == theirs.subject[name]
    assert content.groups == theirs.groups
    assert sorted(content.devices) == sorted(theirs.devices)
    mine = content.electrodes.drop(columns="group")
    with_them = theirs.electrodes.drop(columns="group") if hasattr(theirs, "electrodes") else mine
    assert mine.equals(with_them)
    assert mine["is_bad"].tolist() == [i == 3 for i in range(16)][::-1]
    assert content.ids == analyzer.unit_ids.tolist()
    assert messages_of(out) == []


def test_metadata_goes_before_that_of_the_source(tmp_path, source):
    metadata = {"NWBFile": {"session_description": "Curated."}, "Subject": {"sex": "M"}}
    out = export(small_analyzer(), tmp_path / "out.nwb", source_nwb=source(), metadata=metadata)
    with NWBHDF5IO(out, "r") as io:
        nwbfile = io.read()
        assert nwbfile.session_description == "Curated."
        assert nwbfile.lab == "Example lab"
        assert (nwbfile.subject.sex, nwbfile.subject.subject_id) == ("M", "mouse-1")


@pytest.mark.parametrize("mode", ["export", "append"])
def test_units_that_exist_already(tmp_path, source, mode):
    path = source(units={4: [0.1, 0.2], 9: [0.3]})
    before = content_of(path)
    out = path if mode == "append" else tmp_path / "out.nwb"
    analyzer = small_analyzer()
    export(analyzer, out, source_nwb=path, mode=mode, units_name="curated_units")
    after = content_of(out)
    assert [n for n in before if n.startswith("units") and after[n] != before[n]] == []
    content = Content(out, "curated_units")
    assert content.table_type == "Units"
    for found, frames in zip(content["spike_times"], frames_of(analyzer).values(), strict=True):
        np.testing.assert_allclose(found, frames / 30_000.0, rtol=3e-16)
    read = se.read_nwb_sorting(out, t_start=0.0, unit_table_path="processing/ecephys/curated_units")
    assert [str(i) for i in read.unit_ids] == [str(i) for i in analyzer.unit_ids]
    assert messages_of(out) == []


@pytest.mark.parametrize("mode", ["sidecar", "export"])
@pytest.mark.parametrize("version", ["2.0.0", "2.2.5", "2.5.0"])
def test_old_schema_is_left_alone(tmp_path, source, hash_files, mode, version):
    path = make_old_schema(source(), version)
    before = hash_files(tmp_path)
    out = export(small_analyzer(), tmp_path / "out.nwb", source_nwb=path, mode=mode)
    assert hash_files(tmp_path)["source.nwb"] == before["source.nwb"]
    assert faults_in(out) == []
    assert_frames(out, small_analyzer(), 0.0)
    with h5py.File(out, "r") as file:
        assert file.attrs["nwb_version"] != version


def test_append_to_an_old_schema_warns(tmp_path, source):
    path = make_old_schema(source(), "2.5.0")
    before = content_of(path)
    with pytest.warns(sic.SiCurationWarning, match=r"2\.5\.0"):
        export(small_analyzer(), path, mode="append", metadata=None)
    assert changed_or_lost(before, content_of(path), ("general/was_generated_by",)) == []
    assert_frames(path, small_analyzer(), 0.0)
    assert faults_in(path) == []
