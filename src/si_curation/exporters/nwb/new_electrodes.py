"""Devices, groups and electrodes of a file that has none yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import rec_attributes_of
from si_curation.errors import ParameterError
from si_curation.exporters.nwb.optional import import_pynwb
from si_curation.reading.probe import contact_positions
from si_curation.variables import NWB_ELECTRODES

_UNKNOWN = "unknown"


def probes_and_shanks(analyzer: SortingAnalyzer) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Return the probe (index) and shank (id, "0" without shanks) of each channel."""
    contacts = analyzer.get_probegroup().to_numpy(complete=True)
    contacts = contacts[np.argsort(contacts["device_channel_indices"], kind="stable")]
    names = contacts.dtype.names or ()
    shanks = (
        contacts["shank_ids"].astype(str) if "shank_ids" in names else np.full(len(contacts), "")
    )
    return contacts["probe_index"].astype(np.int64), np.where(shanks == "", "0", shanks)


def plan_electrodes(
    analyzer: SortingAnalyzer, ecephys: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Plan the groups of an analyzer, one per probe and shank; see `plan_groups`."""
    return plan_groups(_keys(analyzer), ecephys)


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
        there is one for each, in the order of probes and shanks.

    Returns
    -------
    array (n_channels,) int64
        Row of each channel.

    Raises
    ------
    ParameterError
        Groups or devices of the metadata are not as many as those of the analyzer.
    """
    pynwb = import_pynwb()
    from hdmf.common import VectorData

    probes, shanks = probes_and_shanks(analyzer)
    keys = _keys(analyzer)
    plans = plan_groups(keys, ecephys)
    devices = {}
    for plan in plans:
        its = plan["device"]
        if its["name"] not in devices:
            known = (nwbfile.devices or {}).get(its["name"])
            devices[its["name"]] = known or nwbfile.add_device(_make_device(pynwb, its))
    groups = []
    for plan in plans:
        known = (nwbfile.electrode_groups or {}).get(plan["name"])
        groups.append(
            known
            or nwbfile.create_electrode_group(
                name=plan["name"],
                description=plan["description"],
                location=plan["location"],
                device=devices[plan["device"]["name"]],
            )
        )
    index = {key: i for i, key in enumerate(keys)}
    group_of = np.array([index[key] for key in zip(probes.tolist(), shanks.tolist(), strict=True)])
    positions = contact_positions(analyzer)
    columns = {
        "location": [groups[i].location for i in group_of],
        "group": [groups[i] for i in group_of],
        "group_name": [groups[i].name for i in group_of],
        "rel_x": positions[:, 0].astype(np.float32),
        "rel_y": positions[:, 1].astype(np.float32),
        **({"rel_z": positions[:, 2].astype(np.float32)} if positions.shape[1] == 3 else {}),
        "channel_name": [str(channel) for channel in analyzer.channel_ids],
        "shank_id": shanks.tolist(),
    }
    regions = rec_attributes_of(analyzer)["properties"].get("brain_area")
    if regions is not None and not ecephys.get("ElectrodeGroup"):
        columns["location"] = [str(region) or _UNKNOWN for region in regions]
    nwbfile.electrodes = pynwb.ecephys.ElectrodesTable(
        id=np.arange(len(positions)),
        columns=[
            VectorData(name=name, description=NWB_ELECTRODES[name].meaning, data=data)
            for name, data in columns.items()
        ],
    )
    return np.arange(len(positions))


def _order(key: tuple[int, str]) -> tuple[int, int, str]:
    probe, shank = key
    return probe, int(shank) if shank.isdecimal() else -1, shank


def plan_groups(
    keys: Sequence[tuple[int, str]], ecephys: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Return name, description, location and device of each group.

    Examples
    --------
    >>> given = {"ElectrodeGroup": [{"name": "A", "location": "CA1"}]}
    >>> plans = plan_groups([(0, "0"), (0, "1")], given)
    >>> [(plan["name"], plan["location"]) for plan in plans]
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
    plans = []
    for i, (probe, shank) in enumerate(keys):
        group = dict(given[i] if len(given) == len(keys) else given[0] if given else {})
        where = [f"probe{probe}"] if num_probes > 1 else []
        own_name = "_".join([*where, f"shank{shank}"])
        name = group.get("name", own_name)
        if group and len(given) < len(keys):
            name = f"{name}_{own_name}"
        default = {"name": f"probe{probe}" if num_probes > 1 else "probe"}
        if devices:
            default = dict(devices[probe] if len(devices) == num_probes else devices[0])
        wanted = group.get("device", default["name"])
        plans.append(
            {
                "name": name.replace("/", "_").replace(":", "_"),
                "description": group.get("description")
                or f"electrodes of shank {shank} of probe {probe} that were sorted",
                "location": group.get("location") or _UNKNOWN,
                "device": by_name.get(wanted, {**default, "name": wanted}),
            }
        )
    return plans


def _make_device(pynwb: Any, its: Mapping[str, Any]) -> Any:
    description = its.get("description") or "probe that the recording was made with"
    maker = " ".join(str(its[key]) for key in ("manufacturer", "model_name") if its.get(key))
    return pynwb.device.Device(
        name=its["name"], description=description + (f" ({maker})" if maker else "")
    )
