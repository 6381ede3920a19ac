"""Files of a recording as other programs write them, made with plain pynwb and h5py."""

from __future__ import annotations

import functools
import hashlib
import json
import pickle
from datetime import datetime, timezone
from pathlib import Path

import h5py
import numpy as np
from pynwb import NWBHDF5IO, NWBFile
from pynwb.ecephys import LFP, ElectricalSeries
from pynwb.file import Subject
from pynwb.misc import Units

from helpers.nwb_analyzers import make_probegroup

START = datetime(2024, 3, 5, 10, 30, tzinfo=timezone.utc)

FULL_METADATA = {
    "NWBFile": {
        "session_start_time": "2024-03-05T10:30:00+00:00",
        "session_description": "A head-fixed mouse runs on a wheel.",
        "session_id": "session-1",
        "identifier": "5f0f3d5e-6d9c-4c53-9d0a-3b1b7f0f6a11",
        "experimenter": ["Doe, Jane"],
        "institution": "Institute of Examples",
        "lab": "Example lab",
        "experiment_description": "Extracellular recordings with curated units.",
        "keywords": ["ecephys", "curation"],
    },
    "Subject": {
        "subject_id": "mouse-1",
        "species": "Mus musculus",
        "sex": "F",
        "age": "P90D",
        "description": "A wild-type mouse.",
    },
    "Ecephys": {
        "Device": [
            {"name": "Probe", "description": "A silicon probe.", "manufacturer": "Maker of probes"}
        ],
        "ElectrodeGroup": [
            {
                "name": "Probe0",
                "description": "The only shank.",
                "location": "VISp",
                "device": "Probe",
            }
        ],
    },
}


def _made_once(make):
    """Make each kind of file once in a process; where it is asked for again, it is a copy."""
    made = {}

    @functools.wraps(make)
    def write(path, **kwargs):
        kind = pickle.dumps(sorted(kwargs.items()))
        if kind not in made:
            made[kind] = make(path, **kwargs).read_bytes()
        else:
            Path(path).write_bytes(made[kind])
        return Path(path)

    return write


@_made_once
def make_source(
    path: Path,
    *,
    num_channels=8,
    num_probes=1,
    num_frames=30_000,
    rate=30_000.0,
    starting_time=0.0,
    timestamps=None,
    electrode_order=None,
    series_electrodes=None,
    extra_columns=True,
    channel_names=True,
    geometry=True,
    units=None,
    second_series=False,
    series=True,
    electrode_ids=None,
    reference_time=None,
):
    """Write a file of raw data.

    Parameters
    ----------
    electrode_order : sequence of int, optional
        Row r of the electrodes table is channel ``electrode_order[r]``; the columns of the raw
        data stay in the order of the channels.
    series_electrodes : sequence of int, optional
        Channels that are columns of the raw data, in that order. By default all.
    electrode_ids : sequence of int, optional
        Ids of the rows of the electrodes table; by default 0, 1, 2...
    reference_time : datetime, optional
        What the times are counted from, where that is not the start of the session.
    units : dict {id: times}, optional
        A units table that is there already.
    second_series : bool
        A filtered series at 1 kHz with another clock beside it.
    """
    total = num_channels * num_probes
    order = np.arange(total) if electrode_order is None else np.asarray(electrode_order)
    nwbfile = NWBFile(
        session_description="A head-fixed mouse runs on a wheel.",
        identifier="source-1",
        session_start_time=START,
        session_id="session-1",
        experimenter=["Doe, Jane"],
        lab="Example lab",
        institution="Institute of Examples",
        keywords=["wheel"],
        experiment_description="Extracellular recordings.",
        timestamps_reference_time=reference_time,
    )
    nwbfile.subject = Subject(
        subject_id="mouse-1",
        species="Mus musculus",
        sex="F",
        age="P90D",
        description="A wild-type mouse.",
        weight="0.025 kg",
        strain="C57BL/6J",
    )
    groups = []
    for number in range(num_probes):
        device = nwbfile.create_device(name=f"Device{number}", description="A silicon probe.")
        groups.append(
            nwbfile.create_electrode_group(
                name=f"Probe{number}",
                description=f"Probe number {number}.",
                location="VISp",
                device=device,
            )
        )
    positions = make_probegroup(num_channels, num_probes).get_global_contact_positions()
    if channel_names:
        nwbfile.add_electrode_column("channel_name", "Name of the channel in the raw data.")
    if extra_columns:
        nwbfile.add_electrode_column("impedance_kohm", "Impedance before the session, in kOhm.")
        nwbfile.add_electrode_column("is_bad", "Whether the channel is broken.")
    for number, channel in enumerate(order):
        row = {
            "id": number if electrode_ids is None else int(electrode_ids[number]),
            "group": groups[channel // num_channels],
            "location": ("VISp1", "VISp2/3", "VISp4", "VISp5", "VISp6a")[channel % 5],
        }
        if geometry:
            row["rel_x"], row["rel_y"] = map(float, positions[channel])
        if channel_names:
            row["channel_name"] = f"CH{channel}"
        if extra_columns:
            row["impedance_kohm"] = 100.0 + channel
            row["is_bad"] = bool(channel == 3)
        nwbfile.add_electrode(**row)
    columns = np.arange(total) if series_electrodes is None else np.asarray(series_electrodes)
    row_of_channel = np.argsort(order)
    clock = (
        {"timestamps": np.asarray(timestamps, dtype=np.float64)}
        if timestamps is not None
        else {"rate": float(rate), "starting_time": float(starting_time)}
    )
    if series:
        rng = np.random.default_rng(1)
        data = rng.integers(-50, 50, size=(num_frames, columns.size)).astype(np.int16)
        region = nwbfile.create_electrode_table_region(
            region=row_of_channel[columns].tolist(), description="Columns of the raw data."
        )
        nwbfile.add_acquisition(
            ElectricalSeries(
                name="ElectricalSeries",
                description="Raw data.",
                data=data,
                electrodes=region,
                conversion=1e-6,
                **clock,
            )
        )
    if second_series:
        region = nwbfile.create_electrode_table_region(
            region=row_of_channel[columns].tolist(), description="Columns of the filtered data."
        )
        module = nwbfile.create_processing_module("ecephys", "Processed extracellular data.")
        lfp = LFP()
        module.add(lfp)
        lfp.add_electrical_series(
            ElectricalSeries(
                name="ElectricalSeriesLFP",
                description="Filtered and at a lower rate.",
                data=np.zeros((1000, columns.size), dtype=np.float32),
                electrodes=region,
                rate=1000.0,
                starting_time=77.0,
            )
        )
    if units is not None:
        nwbfile.units = Units(
            name="units", description="Of another sorting.", resolution=1.0 / 30_000.0
        )
        nwbfile.add_unit_column("quality", "Of another sorting.")
        for unit_id, times in units.items():
            nwbfile.add_unit(id=unit_id, spike_times=np.asarray(times), quality="other")
    nwbfile.add_trial(start_time=0.1, stop_time=0.4)
    nwbfile.add_trial(start_time=0.5, stop_time=0.9)
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return Path(path)


def make_old_schema(path: Path, version="2.5.0"):
    """Make a file say that it is of an older schema: the attribute and the cached specification."""
    with h5py.File(path, "r+") as file:
        file.attrs["nwb_version"] = version
        core = file["specifications/core"]
        current = next(iter(core))
        core.move(current, version)
        dataset = core[version]["namespace"]
        content = json.loads(dataset[()])
        content["namespaces"][0]["version"] = version
        del core[version]["namespace"]
        core[version].create_dataset(
            "namespace", data=json.dumps(content), dtype=h5py.string_dtype()
        )
    return path


def gapped_timestamps(num_frames, start=12.5, rate=30_000.0, seed=0):
    """Give the time of every frame: jittering steps, a drifting clock, and two gaps."""
    rng = np.random.default_rng(seed)
    steps = (1.0 + 1e-5 * np.sin(np.arange(num_frames) / 500.0)) / rate
    steps = steps * (1.0 + 0.2 * rng.uniform(-1, 1, num_frames))
    steps[num_frames // 3] = 4.25
    steps[num_frames // 2] = 0.75
    return start + np.concatenate([[0.0], np.cumsum(steps[:-1])])


def content_of(path: Path) -> dict:
    """Give everything that a file holds: attributes, and a digest of each dataset by its path."""
    found = {}

    def digest(value):
        if isinstance(value, h5py.Reference):
            return str(file[value].name) if value else "null"
        array = np.asarray(value)
        if array.dtype == object:
            return [
                digest(one) if isinstance(one, h5py.Reference) else str(one) for one in array.flat
            ]
        if array.dtype.names:
            return str(array.tolist())
        return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()

    def visit(name, item):
        attributes = {key: digest(value) for key, value in item.attrs.items()}
        if isinstance(item, h5py.Dataset):
            found[name] = (item.shape, str(item.dtype), digest(item[()]), attributes)
        else:
            found[name] = attributes

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found
