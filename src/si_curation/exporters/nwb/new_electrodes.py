"""Devices, groups and electrodes of a file that has none yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import rec_attributes_of
from si_curation.errors import ParameterError
from si_curation.exporters.nwb.file_electrodes import serial_text
from si_curation.exporters.nwb.optional import import_pynwb
from si_curation.reading.probe import contact_positions
from si_curation.variables import NWB_ELECTRODES

_UNKNOWN = "unknown"


def probes_and_shanks(analyzer: SortingAnalyzer) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Return the probe (index) and shank (id, "0" without shanks) of each channel."""
    contacts = _contacts(analyzer)
    names = contacts.dtype.names or ()
    shanks = (
        contacts["shank_ids"].astype(str) if "shank_ids" in names else np.full(len(contacts), "")
    )
    return contacts["probe_index"].astype(np.int64), np.where(shanks == "", "0", shanks)


def _contacts(analyzer: SortingAnalyzer) -> NDArray:
    """Return the contacts of all probes, in the order of the channels."""
    contacts = analyzer.get_probegroup().to_numpy(complete=True)
    return contacts[np.argsort(contacts["device_channel_indices"], kind="stable")]


class ProbeFacts(NamedTuple):
    """What tells one probe from another of its kind.

    Attributes
    ----------
    names : tuple of str
        Names that it was given; not the name of its model.
    serial : str
        Its serial number, "" where it is not known.
    """

    names: tuple[str, ...]
    serial: str


class Plan(NamedTuple):
    """An electrode group as it is to be written.

    Attributes
    ----------
    name, description, location : str
    device : dict
        Name and what else is known of it.
    given_name : str or None
        Name of the group in the metadata.
    device_is_given : bool
        Whether the metadata name the device.
    """

    name: str
    description: str
    location: str
    device: dict[str, Any]
    given_name: str | None
    device_is_given: bool


def probe_facts(analyzer: SortingAnalyzer) -> list[ProbeFacts]:
    """Return names and serial number of each probe of an analyzer."""
    assignment = analyzer.get_extension("template_assignment")
    own = "" if assignment is None else f"{assignment.source} channels"
    found = []
    for probe in analyzer.get_probegroup().probes:
        known = probe.annotations
        names = [probe.name, *(known.get(key) for key in ("name", "probe_name"))]
        models = {probe.model_name, known.get("model_name"), own, None, ""}
        serial = serial_text(probe.serial_number) or serial_text(known.get("serial_number"))
        kept = dict.fromkeys(str(name) for name in names if name not in models)
        found.append(ProbeFacts(tuple(kept), serial))
    return found


def contact_ids_of(analyzer: SortingAnalyzer) -> NDArray[np.str_] | None:
    """Return the id of the contact of each channel, None where there are none."""
    contacts = _contacts(analyzer)
    if "contact_ids" not in (contacts.dtype.names or ()):
        return None
    ids = contacts["contact_ids"].astype(str)
    return None if (ids == "").any() else ids


def plan_electrodes(
    analyzer: SortingAnalyzer, ecephys: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[tuple[int, str], Plan]:
    """Plan the groups of an analyzer, one per probe and shank; see `plan_groups`."""
    keys = _keys(analyzer)
    facts = probe_facts(analyzer)
    return dict(zip(keys, plan_groups(keys, ecephys, facts), strict=True))


def _keys(analyzer: SortingAnalyzer) -> list[tuple[int, str]]:
    probes, shanks = probes_and_shanks(analyzer)
    return sorted(set(zip(probes.tolist(), shanks.tolist(), strict=True)), key=_order)


def add_electrodes(
    analyzer: SortingAnalyzer, nwbfile: Any, ecephys: Mapping[str, Sequence[Mapping[str, Any]]]
) -> NDArray[np.int64]:
    """Add a device per probe, a group per probe and shank, and the electrodes of all channels.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    nwbfile : pynwb.NWBFile
        Without electrodes.
    ecephys : mapping
        ``Device`` and ``ElectrodeGroup`` of the metadata. One group describes all shanks; else
        there is one for each, in the order of probes and shanks. Devices are those of the probes
        with their names or serial numbers, else in the order of the probes.

    Returns
    -------
    array (n_channels,) int64
        Row of each channel.

    Raises
    ------
    ParameterError
        Groups or devices of the metadata are not as many as those of the analyzer, or the file
        has a group of that name on another device.
    """
    pynwb = import_pynwb()
    from hdmf.common import VectorData

    planned = plan_electrodes(analyzer, ecephys)
    groups = add_groups(nwbfile, list(planned.values()))
    columns = electrode_values(analyzer, planned, bool(ecephys.get("ElectrodeGroup")))
    columns["group"] = [groups[name] for name in columns["group_name"]]
    nwbfile.electrodes = pynwb.ecephys.ElectrodesTable(
        id=np.arange(analyzer.get_num_channels()),
        columns=[
            VectorData(name=name, description=NWB_ELECTRODES[name].meaning, data=columns[name])
            for name in NWB_ELECTRODES
            if name in columns
        ],
    )
    return np.arange(analyzer.get_num_channels())


def check_groups(nwbfile: Any, plans: Sequence[Plan]) -> None:
    """Raise ParameterError where a file has a group of that name on another device."""
    there = nwbfile.electrode_groups or {}
    problems = [
        f"the file has an electrode group {plan.name!r} on device "
        f"{there[plan.name].device.name!r}, and the new one is on {plan.device['name']!r}: give it "
        "another name, or that device, in metadata (Ecephys.ElectrodeGroup, Ecephys.Device)"
        for plan in plans
        if plan.name in there and there[plan.name].device.name != plan.device["name"]
    ]
    if problems:
        raise ParameterError("; ".join(problems))


def add_groups(nwbfile: Any, plans: Sequence[Plan]) -> dict[str, Any]:
    """Add devices and groups that a file does not have yet; see `check_groups`.

    Returns
    -------
    dict
        {name: pynwb.ecephys.ElectrodeGroup}
    """
    pynwb = import_pynwb()
    groups = {}
    for plan in plans:
        device = (nwbfile.devices or {}).get(plan.device["name"])
        if device is None:
            device = nwbfile.add_device(_make_device(pynwb, plan.device))
        known = (nwbfile.electrode_groups or {}).get(plan.name)
        groups[plan.name] = known or nwbfile.create_electrode_group(
            name=plan.name, description=plan.description, location=plan.location, device=device
        )
    return groups


def electrode_values(
    analyzer: SortingAnalyzer, planned: Mapping[tuple[int, str], Plan], has_places: bool
) -> dict[str, Any]:
    """Return the columns of the electrodes of all channels, but for their groups.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    planned : dict
        Of `plan_electrodes`.
    has_places : bool
        The metadata have the locations, which go before the channel property ``brain_area``.
    """
    probes, shanks = probes_and_shanks(analyzer)
    plans = [planned[key] for key in zip(probes.tolist(), shanks.tolist(), strict=True)]
    positions = contact_positions(analyzer)
    columns: dict[str, Any] = {
        "location": [plan.location for plan in plans],
        "group_name": [plan.name for plan in plans],
        "rel_x": positions[:, 0].astype(np.float32),
        "rel_y": positions[:, 1].astype(np.float32),
        **({"rel_z": positions[:, 2].astype(np.float32)} if positions.shape[1] == 3 else {}),
        "channel_name": [str(channel) for channel in analyzer.channel_ids],
        "shank_id": shanks.tolist(),
    }
    regions = rec_attributes_of(analyzer)["properties"].get("brain_area")
    if regions is not None and not has_places:
        columns["location"] = [str(region) or _UNKNOWN for region in regions]
    return columns


def _order(key: tuple[int, str]) -> tuple[int, int, str]:
    probe, shank = key
    return probe, int(shank) if shank.isdecimal() else -1, shank


def plan_groups(
    keys: Sequence[tuple[int, str]],
    ecephys: Mapping[str, Sequence[Mapping[str, Any]]],
    facts: Sequence[ProbeFacts] = (),
) -> list[Plan]:
    """Plan the group of each probe and shank.

    Parameters
    ----------
    keys : sequence of (int, str)
        Index of the probe and id of the shank.
    ecephys : mapping
        ``Device`` and ``ElectrodeGroup`` of the metadata.
    facts : sequence of ProbeFacts, optional
        Of each probe.

    Examples
    --------
    >>> given = {"ElectrodeGroup": [{"name": "A", "location": "CA1"}]}
    >>> plans = plan_groups([(0, "0"), (0, "1")], given)
    >>> [(plan.name, plan.location) for plan in plans]
    [('A_shank0', 'CA1'), ('A_shank1', 'CA1')]
    """
    num_probes = len({probe for probe, _ in keys})
    given = list(ecephys.get("ElectrodeGroup") or [])
    devices = list(ecephys.get("Device") or [])
    problems = []
    if len(given) not in (0, 1, len(keys)):
        text = ", ".join(f"probe {probe} shank {shank}" for probe, shank in keys)
        problems.append(f"{len(given)} of ElectrodeGroup, expected {len(keys)} ({text}) or 1")
    if len(devices) not in (0, 1, num_probes) and not any("device" in group for group in given):
        problems.append(f"{len(devices)} of Device, expected {num_probes}, one per probe, or 1")
    if problems:
        raise ParameterError("metadata: Ecephys has " + "; ".join(problems))
    by_name = {device["name"]: device for device in devices}
    of_probe = _devices_of_probes(num_probes, devices, facts)
    groups = _groups_of_keys(keys, given, devices, of_probe)
    plans = []
    for (probe, shank), group in zip(keys, groups, strict=True):
        where = [f"probe{probe}"] if num_probes > 1 else []
        own_name = "_".join([*where, f"shank{shank}"])
        name = group.get("name", own_name)
        if group and len(given) < len(keys):
            name = f"{name}_{own_name}"
        default = of_probe[probe]
        wanted = group.get("device") or default["name"]
        device = default if default["name"] == wanted else {"name": wanted}
        plans.append(
            Plan(
                name=name.replace("/", "_").replace(":", "_"),
                description=group.get("description")
                or f"electrodes of shank {shank} of probe {probe} that were sorted",
                location=group.get("location") or _UNKNOWN,
                device={**device, **by_name.get(wanted, {})},
                given_name=group.get("name"),
                device_is_given=bool(group.get("device") or devices),
            )
        )
    return plans


def _devices_of_probes(
    num_probes: int, devices: Sequence[Mapping[str, Any]], facts: Sequence[ProbeFacts]
) -> list[dict[str, Any]]:
    """Return the device of each probe: by name or serial number, else in their order."""
    known = list(facts) or [ProbeFacts((), "")] * num_probes
    if not devices:
        names = [fact.names[0] if fact.names else "" for fact in known]
        if len(set(names)) < len(names) or "" in names:
            names = [f"probe{i}" if num_probes > 1 else "probe" for i in range(num_probes)]
        own = [{"name": name.replace("/", "_").replace(":", "_")} for name in names]
        return [
            {**device, "serial_number": fact.serial} if fact.serial else device
            for device, fact in zip(own, known, strict=True)
        ]
    if len(devices) != num_probes:
        return [dict(devices[0])] * num_probes
    found = [[i for i, device in enumerate(devices) if _is_of(device, fact)] for fact in known]
    chosen = [places[0] if len(places) == 1 else -1 for places in found]
    if sorted(chosen) == list(range(num_probes)):
        return [dict(devices[i]) for i in chosen]
    if any(places for places in found):
        texts = [
            f"probe {i} is " + (" or ".join(filter(None, (*fact.names, fact.serial))) or "nameless")
            for i, fact in enumerate(known)
        ]
        raise ParameterError(
            f"metadata: Ecephys.Device has {', '.join(device['name'] for device in devices)}, and "
            f"{', '.join(texts)}: give the device of every probe by its name or serial_number"
        )
    return [dict(device) for device in devices]


def _is_of(device: Mapping[str, Any], fact: ProbeFacts) -> bool:
    serial = serial_text(device.get("serial_number"))
    if serial and fact.serial:
        return serial == fact.serial
    return device["name"] in fact.names


def _groups_of_keys(
    keys: Sequence[tuple[int, str]],
    given: Sequence[Mapping[str, Any]],
    devices: Sequence[Mapping[str, Any]],
    of_probe: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return the group of each probe and shank: those on its device, else in their order."""
    if len(given) != len(keys):
        return [dict(given[0]) if given else {}] * len(keys)
    names = [device["name"] for device in of_probe]
    on_device = {
        name: [group for group in given if group.get("device") == name] for name in set(names)
    }
    counts = {name: sum(names[probe] == name for probe, _ in keys) for name in set(names)}
    if len(set(names)) == len(names) and all(
        len(on_device[name]) == count for name, count in counts.items()
    ):
        queues = {name: iter(groups) for name, groups in on_device.items()}
        return [dict(next(queues[names[probe]])) for probe, _ in keys]
    return [dict(group) for group in given]


def _make_device(pynwb: Any, its: Mapping[str, Any]) -> Any:
    description = its.get("description") or "probe that the recording was made with"
    maker = " ".join(str(its[key]) for key in ("manufacturer", "model_name") if its.get(key))
    more = {}
    if serial_text(its.get("serial_number")):
        more["serial_number"] = serial_text(its["serial_number"])
    return pynwb.device.Device(
        name=its["name"], description=description + (f" ({maker})" if maker else ""), **more
    )
