"""NWB files and analyzers that several test files export to and from."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pynwb
import spikeinterface.core as sc
from probeinterface import Probe, ProbeGroup, generate_linear_probe
from pynwb.ecephys import ElectricalSeries

START = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
METADATA = {
    "NWBFile": {
        "session_start_time": START,
        "session_description": "a rat runs on a track",
        "session_id": "s1",
        "experimenter": ["Doe, Jane"],
        "experiment_description": "test of an export",
        "institution": "An institution",
        "lab": "A lab",
        "keywords": ["electrophysiology"],
    },
    "Subject": {
        "subject_id": "r1",
        "species": "Rattus norvegicus",
        "sex": "M",
        "age": "P90D",
        "description": "a rat",
    },
    "Ecephys": {
        "Device": [{"name": "probe", "description": "a probe of silicon"}],
        "ElectrodeGroup": [
            {"name": "shank", "description": "one shank", "location": "CA1", "device": "probe"}
        ],
    },
}


def digest(path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def leftovers(folder) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir() if path.name.startswith("."))


def make_sorting(frames_by_unit, rate=30_000.0):
    """A sorting of one segment from {unit id: samples}, or of several from a list of those."""
    parts = frames_by_unit if isinstance(frames_by_unit, list) else [frames_by_unit]
    arrays = [{unit: np.asarray(f, dtype=np.int64) for unit, f in p.items()} for p in parts]
    return sc.NumpySorting.from_unit_dict(arrays, rate)


def make_analyzer(
    frames_by_unit, rate=30_000.0, num_samples=None, num_channels=4, probegroup=None,
    channel_ids=None, properties=None, templates=True, recording=None,
):  # fmt: skip
    """An analyzer without traces; unit i is largest on channel i, then on those next to it."""
    from si_curation._spikeinterface import inject_extension, make_memory_analyzer

    sorting = make_sorting(frames_by_unit, rate)
    parts = frames_by_unit if isinstance(frames_by_unit, list) else [frames_by_unit]
    if num_samples is None:
        num_samples = [max((max(f, default=0) for f in p.values()), default=0) + 100 for p in parts]
    if probegroup is None:
        probegroup = ProbeGroup()
        probe = generate_linear_probe(num_channels, ypitch=20)
        probe.set_device_channel_indices(np.arange(num_channels))
        probegroup.add_probe(probe)
    num_channels = sum(p.get_contact_count() for p in probegroup.probes)
    ids = np.arange(num_channels) if channel_ids is None else np.asarray(channel_ids)
    attributes = {
        "channel_ids": ids,
        "sampling_frequency": rate,
        "num_channels": num_channels,
        "num_samples": list(num_samples),
        "is_filtered": True,
        "properties": dict(properties or {}),
        "dtype": "int16",
        "probegroup": probegroup,
    }
    units = len(sorting.unit_ids)
    main = np.arange(units) % num_channels
    analyzer = make_memory_analyzer(sorting, recording, attributes, None, True, main)
    if templates:
        distance = np.abs(np.arange(num_channels)[None, :] - main[:, None])
        amplitude = 100.0 / (1 + distance + 0.01 * np.arange(num_channels))
        shape = -np.exp(-(((np.arange(60) - 20) / 4.0) ** 2))
        average = (shape[None, :, None] * amplitude[:, None, :]).astype(np.float32)
        params = {
            "operators": ["average"],
            "ms_before": 20 / rate * 1e3,
            "ms_after": 40 / rate * 1e3,
        }
        inject_extension(analyzer, "templates", {"average": average}, params)
    return analyzer


def two_probes(per_probe=4, shanks=1):
    group = ProbeGroup()
    for i in range(2):
        probe = Probe(ndim=2)
        y = 20.0 * np.arange(per_probe)
        probe.set_contacts(
            np.stack([np.full(per_probe, 1000.0 * i), y], axis=1),
            shapes="circle",
            shape_params={"radius": 5},
            shank_ids=(np.arange(per_probe) * shanks // per_probe).astype(str),
        )
        probe.set_device_channel_indices(np.arange(per_probe) + i * per_probe)
        group.add_probe(probe)
    return group


def write_source(
    path, *, names=("AP0", "AP1", "AP2", "AP3"), positions=None, rows=None, rate=30_000.0,
    starting_time=5.0, timestamps=None, num_samples=60_000, groups=1, units=False, series=1,
    channel_names=True,
):  # fmt: skip
    """A file of a recording: `groups` groups with these electrodes each, series on `rows`."""
    nwbfile = pynwb.NWBFile(
        session_description="recorded",
        identifier="the source",
        session_start_time=START,
        institution="An institution",
        experimenter=["Doe, Jane"],
    )
    nwbfile.subject = pynwb.file.Subject(subject_id="r1", species="Rattus norvegicus", sex="M")
    device = nwbfile.create_device(name="probe", description="a probe")
    if channel_names:
        nwbfile.add_electrode_column("channel_name", "name of the channel")
    if positions is None:
        positions = [(0.0, 20.0 * i) for i in range(len(names))]
    for g in range(groups):
        group = nwbfile.create_electrode_group(f"group{g}", "a group", f"area{g}", device=device)
        for name, (x, y) in zip(names, positions, strict=True):
            more = {"channel_name": name} if channel_names else {}
            nwbfile.add_electrode(group=group, location=f"area{g}", rel_x=x, rel_y=y, **more)
    for s in range(series):
        its_rows = list(range(len(names) * groups)) if rows is None else list(rows)
        if series > 1 and groups == series:
            its_rows = list(range(s * len(names), (s + 1) * len(names)))
        clock = {"rate": rate, "starting_time": starting_time}
        if timestamps is not None:
            clock = {"timestamps": timestamps}
            num_samples = len(timestamps)
        nwbfile.add_acquisition(
            ElectricalSeries(
                name="ElectricalSeries" if series == 1 else f"ElectricalSeries{s}",
                data=np.zeros((num_samples, len(its_rows)), dtype=np.int16),
                electrodes=nwbfile.create_electrode_table_region(its_rows, "sorted channels"),
                conversion=1e-6,
                description="raw data",
                **clock,
            )
        )
    if units:
        nwbfile.add_unit(spike_times=[5.5, 6.0], id=77)
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(nwbfile)
    return Path(path)


def frames_in(path, clock, name="units", where=None):
    """{unit name: samples} of a file, by a function of seconds."""
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        nwbfile = io.read()
        table = nwbfile.units if where is None else nwbfile.processing[where][name]
        return {
            str(unit): clock(np.asarray(times))
            for unit, times in zip(table["unit_name"][:], table["spike_times"][:], strict=True)
        }
