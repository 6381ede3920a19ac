"""Which probe of a file the units are of: by what is known of the probes, never by names alone."""

from __future__ import annotations

import copy

import numpy as np
import pynwb
import pytest
from probeinterface import Probe, ProbeGroup
from pynwb.ecephys import ElectricalSeries
from spikeinterface.extractors import read_nwb_recording

import si_curation as sic
from helpers.nwb_faults import faults_in
from helpers.nwb_files import START, digest, leftovers, make_analyzer

SIZE = 4
PLACES = np.stack([np.zeros(SIZE), 20.0 * np.arange(SIZE)], axis=1)


def probegroup(*names, serials=None):
    """Probes of one kind, all with the same places, as if each were recorded alone."""
    group = ProbeGroup()
    for i, name in enumerate(names):
        probe = Probe(ndim=2, name=name or None)
        places = PLACES + np.array([1000.0 * i, 0.0])
        probe.set_contacts(places, shapes="circle", shape_params={"radius": 5.0})
        probe.set_device_channel_indices(np.arange(SIZE) + SIZE * i)
        if serials:
            probe.serial_number = serials[i]
        group.add_probe(probe)
    return group


def analyzer_of(*names, serials=None, channel_ids=None, properties=None):
    total = SIZE * len(names)
    ids = [f"AP{i % SIZE}" if len(names) == 1 else f"AP{i}" for i in range(total)]
    return make_analyzer(
        {i: [10 * i + 5, 500] for i in range(total)},
        probegroup=probegroup(*names, serials=serials),
        channel_ids=ids if channel_ids is None else channel_ids,
        properties=properties,
    )


def file_of(num_probes=2, *, order=None, names="same", serials=False, series=(), devices=None):
    """A file in memory with probes of one kind: the same names and places on each."""
    nwbfile = pynwb.NWBFile("d", "i", START)
    nwbfile.add_electrode_column("channel_name", "name of the channel")
    groups = []
    for i in range(num_probes):
        letter = "ABCD"[i]
        facts = {"serial_number": f"100{i}"} if serials else {}
        name = f"Probe{letter}" if devices is None else devices
        known = (nwbfile.devices or {}).get(name)
        device = known or nwbfile.create_device(name=name, description="d", **facts)
        groups.append(
            nwbfile.create_electrode_group(f"group{letter}", "g", f"area{letter}", device=device)
        )
    total = SIZE * num_probes
    for electrode in range(total) if order is None else order:
        i, channel = divmod(int(electrode), SIZE)
        text = {"same": f"AP{channel}", "counted": f"AP{electrode}", "own": f"p{i}.AP{channel}"}
        nwbfile.add_electrode(
            group=groups[i], location=f"area{'ABCD'[i]}", rel_x=0.0, rel_y=20.0 * channel,
            channel_name=text[names],
        )  # fmt: skip
    row_of = np.argsort(np.arange(total) if order is None else order)
    for i in series:
        region = nwbfile.create_electrode_table_region(
            row_of[SIZE * i : SIZE * (i + 1)].tolist(), "sorted"
        )
        nwbfile.add_acquisition(
            ElectricalSeries(
                name=f"ES{'ABCD'[i]}", data=np.zeros((1000, SIZE), dtype=np.int16),
                electrodes=region, rate=30_000.0, starting_time=10.0 * (i + 1),
            )
        )  # fmt: skip
    return nwbfile


def groups_of(units, nwbfile):
    """Groups of each unit's electrodes; they have to be those of its electrode group."""
    found = []
    table = nwbfile.electrodes
    for own, group in zip(units["electrodes"][:], units["electrode_group"][:], strict=True):
        assert set(own["group_name"]) == {group.name}
        best = own.index[0]
        found.append((group.name, float(table["rel_y"].data[list(table.id[:]).index(best)])))
    return found


def ecephys(letter, device=True, **more):
    group = {"name": f"group{letter}", "location": f"area{letter}"}
    if device:
        group["device"] = f"Probe{letter}"
    both = {"ElectrodeGroup": [group]}
    if device:
        both["Device"] = [{"name": f"Probe{letter}", **more}]
    return {"Ecephys": both}


def only_group(name, device):
    return {"Ecephys": {"ElectrodeGroup": [{"name": name, "device": device}]}}


def add(analyzer, nwbfile, **kwargs):
    kwargs.setdefault("t_start", 0.0)
    units = sic.add_units_to_nwbfile(analyzer, nwbfile, **kwargs)
    return groups_of(units, nwbfile)


def expected(letter):
    return [(f"group{letter}", 20.0 * i) for i in range(SIZE)]


# ------------------------------------------------------------------- what decides, one at a time


@pytest.mark.parametrize("num_probes", [2, 4])
@pytest.mark.parametrize("permuted", [False, True])
@pytest.mark.parametrize("names", ["same", "counted"])
@pytest.mark.parametrize(
    "how", ["group", "device", "probe", "serial", "group_name", "series", "recording's place"]
)
@pytest.mark.slow
def test_each_of_them_decides(how, names, permuted, num_probes):
    order = np.random.default_rng(5).permutation(SIZE * num_probes) if permuted else None
    for i in range(num_probes):
        letter = "ABCD"[i]
        nwbfile = file_of(
            num_probes, order=order, names=names, serials=how == "serial",
            series=range(num_probes) if how == "series" else (),
        )  # fmt: skip
        name, serials, properties, more = "", None, None, {}
        if how == "group":
            more = {"metadata": ecephys(letter, device=False)}
        elif how == "device":
            more = {"metadata": {"Ecephys": {"Device": [{"name": f"Probe{letter}"}]}}}
        elif how == "probe":
            name = f"Probe{letter}"
        elif how == "serial":
            serials = [f"100{i}"]
        elif how == "group_name":
            properties = {"group_name": np.full(SIZE, f"group{letter}")}
        elif how == "series":
            more = {"electrical_series_path": f"ES{letter}"}
        else:
            rows = np.argsort(np.arange(SIZE * num_probes) if order is None else order)
            ids = rows[SIZE * i : SIZE * (i + 1)]
            more = {"electrode_map": {f"AP{c}": int(ids[c]) for c in range(SIZE)}}
        analyzer = analyzer_of(name, serials=serials, properties=properties)
        assert add(analyzer, nwbfile, **more) == expected(letter)


@pytest.mark.parametrize("names", ["same", "counted"])
@pytest.mark.parametrize("num_probes", [2, 4])
def test_nothing_decides(names, num_probes):
    nwbfile = file_of(num_probes, names=names)
    with pytest.raises(sic.ParameterError, match=r"ElectrodeGroup|electrode_map"):
        add(analyzer_of(""), nwbfile)
    assert nwbfile.units is None
    assert len(nwbfile.electrodes) == SIZE * num_probes


def test_ids_of_electrodes_are_those_of_the_first_probe():
    """The channels 0 to 3 of a sorter are not the electrodes 0 to 3 of a file."""
    nwbfile = file_of(2, names="own")
    with pytest.raises(
        sic.ParameterError,
        match=r"by ids of the electrodes they are of group 'groupA' on device 'ProbeA', but they "
        r"fit group 'groupB' on device 'ProbeB' as well: give metadata=",
    ):
        add(analyzer_of("", channel_ids=list(range(SIZE))), nwbfile)


def test_names_of_their_own_decide():
    analyzer = analyzer_of("", channel_ids=[f"p1.AP{c}" for c in range(SIZE)])
    assert add(analyzer, file_of(2, names="own")) == expected("B")


def test_groups_on_one_device_are_told_apart_too():
    """Programs that know no probes put all groups on one placeholder."""
    nwbfile = file_of(2, names="counted", devices="Device")
    with pytest.raises(sic.ParameterError, match="fit group 'groupB' on device 'Device' as well"):
        add(analyzer_of(""), nwbfile)
    assert add(analyzer_of(""), nwbfile, metadata=ecephys("B", device=False)) == expected("B")


def test_both_probes_at_once():
    analyzer = analyzer_of("ProbeA", "ProbeB", channel_ids=[f"c{i}" for i in range(2 * SIZE)])
    analyzer.rec_attributes["properties"]["channel_name"] = np.array(
        [f"AP{i % SIZE}" for i in range(2 * SIZE)]
    )
    order = np.random.default_rng(2).permutation(2 * SIZE)
    assert add(analyzer, file_of(2, order=order)) == expected("A") + expected("B")


# ----------------------------------------------------------------------------- what contradicts


@pytest.mark.parametrize(
    ("make", "more", "words"),
    [
        ({"name": "ProbeB"}, {"metadata": ecephys("A")}, ["ElectrodeGroup groupA", "'ProbeB'"]),
        ({"name": "ProbeA"}, {"metadata": ecephys("C")}, ["groupC", "'ProbeA'"]),
        ({"serials": ["1001"]}, {"metadata": ecephys("A")}, ["groupA", "1001"]),
        ({"serials": ["77"]}, {"metadata": ecephys("A")}, ["groupA", "77"]),
        ({"serials": ["77"]}, {}, ["77", "not in the file"]),
        ({"name": "ProbeA"}, {"electrical_series_path": "ESB"}, ["'ProbeA'", "ESB"]),
        ({"group": "groupA"}, {"electrical_series_path": "ESB"}, ["group_name", "ESB"]),
        ({"name": "ProbeB"}, {"electrode_map": {f"AP{c}": c for c in range(SIZE)}},
         ["'ProbeB'", "electrode_map (channel AP0)"]),
        ({}, {"metadata": ecephys("C"), "electrode_map": {f"AP{c}": c for c in range(SIZE)}},
         ["electrode_map", "groupC"]),
        ({}, {"metadata": ecephys("A", serial_number="5")}, ["serial number 5", "1000"]),
        ({}, {"metadata": only_group("groupA", "ProbeB")},
         ["groupA", "'ProbeB'", "'ProbeA'"]),
        ({}, {"metadata": ecephys("C", device=False)}, ["groupC", "give one of these, or the dev"]),
        ({}, {"metadata": only_group("new", "ProbeA")},
         ["'new'", "'ProbeA'", "at these places", "groupA"]),
    ],
)  # fmt: skip
def test_two_ways_disagree(make, more, words):
    nwbfile = file_of(2, serials=True, series=(0, 1))
    make = dict(make)
    group = make.pop("group", None)
    properties = None if group is None else {"group_name": np.full(SIZE, group)}
    analyzer = analyzer_of(make.pop("name", ""), properties=properties, **make)
    with pytest.raises(sic.ParameterError) as caught:
        add(analyzer, nwbfile, **more)
    for word in words:
        assert word in str(caught.value), caught.value
    assert nwbfile.units is None
    assert (len(nwbfile.electrodes), len(nwbfile.devices)) == (2 * SIZE, 2)


def test_a_probe_of_another_name_in_a_file_of_one():
    with pytest.raises(sic.ParameterError, match="'ProbeB' is none of group 'groupA' on device"):
        add(analyzer_of("ProbeB"), file_of(1))
    assert add(analyzer_of("ProbeB"), file_of(1), metadata=ecephys("B")) == expected("B")
    assert add(analyzer_of(""), file_of(1)) == expected("A")


def test_a_probe_of_two_is_not_in_the_file():
    """Its channels have the names of the other's: they are not put on its electrodes."""
    analyzer = analyzer_of("", "", channel_ids=[f"c{i}" for i in range(2 * SIZE)])
    analyzer.rec_attributes["properties"]["channel_name"] = np.array(
        [f"AP{i % SIZE}" for i in range(2 * SIZE)]
    )
    with pytest.raises(sic.ParameterError, match="c0 and c4 would both be on electrode 0"):
        add(analyzer, file_of(1))
    analyzer.rec_attributes["properties"]["group_name"] = np.repeat(["groupA", "groupB"], SIZE)
    with pytest.raises(sic.ParameterError, match=r"group_name.*no group of the file"):
        add(analyzer, file_of(1))
    del analyzer.rec_attributes["properties"]["group_name"]
    both = {
        "Ecephys": {
            key: [copy.deepcopy(ecephys(letter)["Ecephys"][key][0]) for letter in "AB"]
            for key in ("Device", "ElectrodeGroup")
        }
    }
    nwbfile = file_of(1)
    assert add(analyzer, nwbfile, metadata=both) == expected("A") + expected("B")
    assert len(nwbfile.electrodes) == 2 * SIZE


# ------------------------------------------------------------------------- the clock of the probe


def test_the_clock_is_that_of_the_probe():
    nwbfile = file_of(2, series=(0, 1))
    units = sic.add_units_to_nwbfile(analyzer_of("ProbeB"), nwbfile)
    assert units["spike_times"][0][0] == 20.0 + 5 / 30_000.0


def test_the_clock_of_another_probe_is_never_taken():
    nwbfile = file_of(2, series=(0,))
    with pytest.raises(sic.MissingDataError, match="the time of the samples is not known"):
        sic.add_units_to_nwbfile(analyzer_of("ProbeB"), nwbfile)
    with pytest.raises(sic.MissingDataError, match="the time of the samples is not known"):
        sic.add_units_to_nwbfile(analyzer_of(""), nwbfile, metadata=ecephys("C"))


@pytest.mark.slow
def test_a_recording_that_was_read_from_the_file(tmp_path):
    path = tmp_path / "s.nwb"
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(file_of(2, series=(0, 1)))
    recording = read_nwb_recording(path, electrical_series_path="acquisition/ESB")
    for name in ("group_name", "group"):
        if name in recording.get_property_keys():
            recording.delete_property(name)
    from spikeinterface.core import NumpySorting, create_sorting_analyzer

    sorting = NumpySorting.from_unit_dict({0: np.array([5, 900])}, 30_000.0)
    analyzer = create_sorting_analyzer(sorting, recording.frame_slice(0, 1000), sparse=False)
    analyzer.compute(["random_spikes", "templates"])
    out = sic.export_to_nwb(analyzer, tmp_path / "a.nwb", source_nwb=path, progress_bar=False)
    with pynwb.NWBHDF5IO(str(out), "r") as io:
        nwbfile = io.read()
        assert [group.name for group in nwbfile.units["electrode_group"][:]] == ["groupB"]
        assert nwbfile.units["spike_times"][0][0] == 20.0 + 5 / 30_000.0


# --------------------------------------------------------------------- electrodes that are added


@pytest.fixture
def first(tmp_path):
    path = tmp_path / "s.nwb"
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(file_of(1))
    return path


@pytest.mark.parametrize("mode", ["append", "sidecar", "export"])
@pytest.mark.slow
def test_a_second_probe_in_every_mode(mode, first, tmp_path):
    with pynwb.NWBHDF5IO(str(first), "r") as io:
        before = io.read().electrodes.to_dataframe().drop(columns="group")
    out = first if mode == "append" else tmp_path / "out.nwb"
    for number, letter in enumerate("BCD"):
        source = first if number == 0 else out
        # no column that the file does not have, and no row that was there is changed
        target = source if mode == "append" else tmp_path / f"out{number}.nwb"
        out = sic.export_to_nwb(
            analyzer_of(f"Probe{letter}"), target, source_nwb=source, mode=mode, t_start=1.0,
            metadata=ecephys(letter, serial_number=f"100{letter}"), units_name=f"of_{letter}",
            progress_bar=False,
        )  # fmt: skip
        assert faults_in(out) == []
        with pynwb.NWBHDF5IO(str(out), "r") as io:
            nwbfile = io.read()
            table = nwbfile.electrodes.to_dataframe()
            assert len(table) == SIZE * (number + 2)
            assert table.index.is_unique
            assert table.drop(columns="group")[:SIZE].equals(before)
            assert set(nwbfile.devices) == {f"Probe{one}" for one in "ABCD"[: number + 2]}
            assert nwbfile.devices[f"Probe{letter}"].serial_number == f"100{letter}"
            units = nwbfile.processing["ecephys"][f"of_{letter}"]
            assert groups_of(units, nwbfile) == expected(letter)
            assert set(table.location[-SIZE:]) == {f"area{letter}"}
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("mode", ["append", "sidecar", "export"])
@pytest.mark.slow
def test_the_new_probe_is_found_again(mode, first, tmp_path):
    """A second sorting of a probe that was added goes onto its electrodes."""
    for name in ("one", "two"):
        sic.export_to_nwb(
            analyzer_of(""), first, mode="append", t_start=1.0, metadata=ecephys("B"),
            units_name=name, progress_bar=False,
        )  # fmt: skip
    with pynwb.NWBHDF5IO(str(first), "r") as io:
        nwbfile = io.read()
        assert len(nwbfile.electrodes) == 2 * SIZE
        assert groups_of(nwbfile.processing["ecephys"]["two"], nwbfile) == expected("B")


def add_columns(path, **columns):
    with pynwb.NWBHDF5IO(str(path), "r+") as io:
        nwbfile = io.read()
        for name, (data, index) in columns.items():
            nwbfile.add_electrode_column(name, name, data=data, index=index)
        io.write(nwbfile)


@pytest.mark.parametrize("mode", ["append", "sidecar", "export"])
@pytest.mark.slow
def test_columns_of_other_programs(mode, first, tmp_path):
    add_columns(
        first,
        impedance=([1.0, 2, 3, 4], False),
        note=(["a", "b", "c", "d"], False),
        tags=(["x", "y", "z"], [1, 2, 2, 3]),
        is_bad=([True, False, False, False], False),
    )
    out = first if mode == "append" else tmp_path / "out.nwb"
    kwargs = {"source_nwb": first, "mode": mode, "t_start": 1.0, "metadata": ecephys("B")}
    before = digest(first)
    with pytest.raises(sic.ParameterError, match="'is_bad' of booleans, and its values for the n"):
        sic.export_to_nwb(analyzer_of(""), out, progress_bar=False, **kwargs)
    assert digest(first) == before
    assert leftovers(tmp_path) == []
    analyzer = analyzer_of("", properties={"is_bad": np.array([False, True, False, False])})
    sic.export_to_nwb(analyzer, out, progress_bar=False, **kwargs)
    assert faults_in(out) == []
    with pynwb.NWBHDF5IO(str(out), "r") as io:
        table = io.read().electrodes.to_dataframe()
    assert table.is_bad.tolist() == [True, False, False, False, False, True, False, False]
    assert table.impedance[:SIZE].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert table.impedance[SIZE:].isna().all()
    assert table.note.tolist() == ["a", "b", "c", "d", "", "", "", ""]
    assert [list(tags) for tags in table.tags] == [["x"], ["y"], [], ["z"], [], [], [], []]


def test_a_table_of_an_open_file(first):
    with pynwb.NWBHDF5IO(str(first), "r") as io:
        nwbfile = io.read()
        with pytest.raises(sic.ParameterError, match="an open file: use export_to_nwb"):
            add(analyzer_of(""), nwbfile, metadata=ecephys("B"))
        assert nwbfile.units is None


# ------------------------------------------------------------------------------------- new files


@pytest.mark.slow
def test_devices_of_the_metadata_go_by_the_names_of_the_probes(tmp_path):
    metadata = {
        "NWBFile": {"session_start_time": START},
        "Ecephys": {
            "Device": [{"name": "ProbeB"}, {"name": "ProbeA"}],
            "ElectrodeGroup": [
                {"name": "groupB", "device": "ProbeB", "location": "HPC"},
                {"name": "groupA", "device": "ProbeA", "location": "PFC"},
            ],
        },
    }
    out = sic.export_to_nwb(
        analyzer_of("ProbeA", "ProbeB", serials=["1", "2"]), tmp_path / "a.nwb",
        metadata=metadata, t_start=0.0, progress_bar=False,
    )  # fmt: skip
    with pynwb.NWBHDF5IO(str(out), "r") as io:
        nwbfile = io.read()
        assert groups_of(nwbfile.units, nwbfile) == expected("A") + expected("B")
        assert nwbfile.electrodes["location"].data[:].tolist() == ["PFC"] * 4 + ["HPC"] * 4
    metadata["Ecephys"]["Device"][1]["name"] = metadata["Ecephys"]["ElectrodeGroup"][1][
        "device"
    ] = "other"
    with pytest.raises(sic.ParameterError, match="Device has ProbeB, other, and probe 0 is ProbeA"):
        sic.export_to_nwb(
            analyzer_of("ProbeA", "ProbeB"), tmp_path / "b.nwb", metadata=metadata, t_start=0.0
        )


def test_a_new_file_has_the_names_and_numbers_of_the_probes(tmp_path):
    out = sic.export_to_nwb(
        analyzer_of("imec0", "imec1", serials=["18", "19"]), tmp_path / "a.nwb",
        metadata={"NWBFile": {"session_start_time": START}}, t_start=0.0, progress_bar=False,
    )  # fmt: skip
    with pynwb.NWBHDF5IO(str(out), "r") as io:
        devices = io.read().devices
        assert {name: one.serial_number for name, one in devices.items()} == {
            "imec0": "18", "imec1": "19",
        }  # fmt: skip


def test_a_group_of_another_device_is_not_taken():
    """A file without electrodes can have groups."""
    nwbfile = pynwb.NWBFile("d", "i", START)
    device = nwbfile.create_device(name="ProbeA", description="d")
    nwbfile.create_electrode_group("groupB", "g", "PFC", device=device)
    with pytest.raises(sic.ParameterError, match="'groupB' on device 'ProbeA', and the new one"):
        add(analyzer_of(""), nwbfile, metadata=ecephys("B"))
    assert nwbfile.electrodes is None
