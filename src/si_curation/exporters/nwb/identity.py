"""Which electrodes of a file the channels of an analyzer can be on, by what is known of the probe.

Two probes of one kind have the same channel names and places, so these never decide alone between
several of them. What decides is asked for here: the metadata, the names and serial numbers of the
probes, the groups of the channels, and the ElectricalSeries that was sorted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import arguments_of, rec_attributes_of, recording_of
from si_curation.errors import ParameterError
from si_curation.exporters.nwb.file_electrodes import FileElectrodes, own_places, shown
from si_curation.exporters.nwb.new_electrodes import (
    Plan,
    plan_electrodes,
    probe_facts,
    probes_and_shanks,
)
from si_curation.exporters.nwb.series import Series
from si_curation.exporters.nwb.time import choose_series

TOLERANCE_UM = 1.0
_WHAT_TO_GIVE = (
    'give metadata={"Ecephys": {"Device": [{"name": ...}], "ElectrodeGroup": [{"name": ..., '
    '"device": ...}]}} of the probe (a group of the file, or a new one, whose electrodes are then '
    "added), electrical_series_path= of the ElectricalSeries that was sorted, or "
    "electrode_map={channel id: id of the electrode}"
)


class Parts(NamedTuple):
    """Channels of one probe, shank and group each.

    Attributes
    ----------
    part_of : array (n_channels,) int64
    probes : array (n_parts,) int64
        Index of the probe.
    shanks : array (n_parts,) of str
    """

    part_of: NDArray[np.int64]
    probes: NDArray[np.int64]
    shanks: NDArray[np.str_]


class Way(NamedTuple):
    """One way to tell the electrodes.

    Attributes
    ----------
    name : str
        What says so, such as ``"the metadata"``.
    allowed : array (n_parts, n_electrodes) bool
        All False where the electrodes are not in the file.
    says : array (n_parts,) bool
        Whether it says anything of each part.
    """

    name: str
    allowed: NDArray[np.bool_]
    says: NDArray[np.bool_]


class Placement(NamedTuple):
    """Where the channels of an analyzer can be in a file.

    Attributes
    ----------
    parts : Parts
    allowed : array (n_parts, n_electrodes) bool
    plans : list of Plan or None
        Of each part whose electrodes are not in the file, and that the metadata say how to add.
    ways : list of Way
    foreign : list of str
        What speaks against a probe of each part being in the file, "" for nothing; by its name
        alone, which other programs may have changed.
    """

    parts: Parts
    allowed: NDArray[np.bool_]
    plans: list[Plan | None]
    ways: list[Way]
    foreign: list[str]

    @property
    def is_new(self) -> NDArray[np.bool_]:
        """Whether the electrodes of each channel have to be added (n_channels,)."""
        return np.array([plan is not None for plan in self.plans])[self.parts.part_of]

    @property
    def is_said(self) -> NDArray[np.bool_]:
        """Whether something says where each part is (n_parts,)."""
        said = np.zeros(self.parts.probes.size, dtype=bool)
        for way in self.ways:
            said |= way.says
        return said


def place_channels(
    analyzer: SortingAnalyzer,
    electrodes: FileElectrodes,
    series: Sequence[Series],
    series_path: str | None,
    ecephys: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Placement:
    """Ask all that is known of the probes of an analyzer for their electrodes in a file.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    electrodes : FileElectrodes
    series : sequence of Series
        Of the file.
    series_path : str, optional
        The one that was sorted.
    ecephys : mapping
        ``Device`` and ``ElectrodeGroup`` of the metadata.

    Returns
    -------
    Placement

    Raises
    ------
    ParameterError
        Two ways disagree: the message has both.
    """
    parts = _parts_of(analyzer)
    by_metadata, plans = _by_metadata(analyzer, electrodes, parts, ecephys)
    by_probe, foreign = _by_probe(analyzer, electrodes, parts)
    asked = [
        by_metadata,
        by_probe,
        _by_groups(analyzer, electrodes, parts),
        _by_series(analyzer, electrodes, parts, series, series_path),
    ]
    ways = [way for way in asked if way is not None]
    allowed = _agreed(electrodes, parts, ways, plans)
    return Placement(parts, allowed, plans, ways, foreign)


def series_of_probe(
    series: Sequence[Series], placement: Placement, series_path: str | None
) -> list[Series]:
    """Return the ElectricalSeries that can be of the probes; all where one is named.

    The clock of another probe is never taken.
    """
    if series_path is not None:
        return list(series)
    if placement.is_new.any():
        return []
    possible = np.asarray(placement.allowed.any(axis=0))
    return [one for one in series if possible[one.electrode_rows].any()]


def _parts_of(analyzer: SortingAnalyzer) -> Parts:
    probes, shanks = probes_and_shanks(analyzer)
    groups = _group_property(analyzer)
    third = np.full(probes.size, "") if groups is None else groups[1]
    keys = list(zip(probes.tolist(), shanks.tolist(), third.tolist(), strict=True))
    distinct = sorted(set(keys))
    index = {key: i for i, key in enumerate(distinct)}
    return Parts(
        np.array([index[key] for key in keys], dtype=np.int64),
        np.array([key[0] for key in distinct], dtype=np.int64),
        np.array([key[1] for key in distinct], dtype=str),
    )


def _group_property(analyzer: SortingAnalyzer) -> tuple[str, NDArray[np.str_]] | None:
    properties = rec_attributes_of(analyzer)["properties"]
    for name in ("group_name", "group"):
        if properties.get(name) is not None:
            return name, np.asarray(properties[name]).astype(str)
    return None


# ------------------------------------------------------------------------------- one way each


def _by_metadata(
    analyzer: SortingAnalyzer,
    electrodes: FileElectrodes,
    parts: Parts,
    ecephys: Mapping[str, Sequence[Mapping[str, Any]]],
) -> tuple[Way | None, list[Plan | None]]:
    """Return what the metadata say, and plans of what they name that is not in the file."""
    nothing: list[Plan | None] = [None] * parts.probes.size
    groups, devices = (list(ecephys.get(key) or []) for key in ("ElectrodeGroup", "Device"))
    if not groups and not devices:
        return None, nothing
    of_all = _named_all(electrodes, groups, devices)
    try:
        planned = plan_electrodes(analyzer, ecephys)
    except ParameterError:
        if of_all is None:  # more or fewer than the probes, and not all are in the file
            raise
        allowed = np.tile(of_all, (parts.probes.size, 1))
        return _of_all_parts(_metadata_name(groups, devices), allowed), nothing
    allowed = np.ones((parts.probes.size, electrodes.ids.size), dtype=bool)
    plans: list[Plan | None] = nothing
    problems = []
    for part in range(parts.probes.size):
        plan = planned[int(parts.probes[part]), str(parts.shanks[part])]
        own = own_places(analyzer, electrodes)[parts.part_of == part]
        found, problem = _rows_of_plan(electrodes, plan, own)
        if problem:
            problems.append(problem)
        elif found is None:
            if plan.given_name is None and plan.name in set(electrodes.groups.tolist()):
                plan = plan._replace(name=f"{plan.device['name']}_{plan.name}")
            plans[part], allowed[part] = plan, False
        else:
            allowed[part] = found
    if problems:
        raise ParameterError("; ".join(dict.fromkeys(problems)))
    return _of_all_parts(_metadata_name(groups, devices), allowed), plans


def _of_all_parts(name: str, allowed: NDArray[np.bool_]) -> Way:
    return Way(name, allowed, np.ones(len(allowed), dtype=bool))


def _metadata_name(groups: Sequence[Any], devices: Sequence[Any]) -> str:
    texts = [
        f"{kind} {shown([entry['name'] for entry in entries])}"
        for kind, entries in (("ElectrodeGroup", groups), ("Device", devices))
        if entries
    ]
    return f"the metadata ({', '.join(texts)})"


def _named_all(
    electrodes: FileElectrodes, groups: Sequence[Any], devices: Sequence[Any]
) -> NDArray[np.bool_] | None:
    """Return the electrodes of all groups, or devices, that are named; None if one is missing."""
    there, entries = (electrodes.groups, groups) if groups else (electrodes.devices, devices)
    names = [entry["name"] for entry in entries]
    return np.asarray(np.isin(there, names)) if set(names) <= set(there.tolist()) else None


def _rows_of_plan(
    electrodes: FileElectrodes, plan: Plan, own: NDArray[np.float64]
) -> tuple[NDArray[np.bool_] | None, str]:
    """Return the electrodes of a planned group, None where they are new, or a problem."""
    device = plan.device["name"] if plan.device_is_given else None
    names = [name for name in (plan.name, plan.given_name) if name in set(electrodes.groups)]
    if device is not None:
        problem = _serial_problem(electrodes, device, plan.device.get("serial_number"))
        if problem:
            return None, problem
    if plan.given_name is not None and names:
        rows = electrodes.groups == names[0]
        there = str(electrodes.devices[rows][0])
        if device is not None and device != there:
            return None, (
                f"the metadata have ElectrodeGroup {names[0]!r} on device {device!r}, and the file "
                f"has it on device {there!r}: give the group and device of the probe; a group of "
                "another probe needs another name"
            )
        return rows, ""
    if device is None:
        return None, (
            f"the metadata name ElectrodeGroup {plan.given_name!r}, which is not in the file (it "
            f"has {_groups_text(electrodes)}): give one of these, or the device of the new group, "
            f'{{"name": {plan.given_name!r}, "device": ...}}'
        )
    of_device = electrodes.devices == device
    if not of_device.any():
        return None, ""
    if plan.given_name is None:
        return of_device, ""
    if _is_at_places(electrodes, of_device, own):
        return None, (
            f"the metadata name ElectrodeGroup {plan.given_name!r} on device {device!r}, and the "
            f"file has electrodes at these places of it in {_groups_text(electrodes, of_device)}: "
            "give that group, or leave ElectrodeGroup out"
        )
    return None, ""


def _serial_problem(electrodes: FileElectrodes, device: str, serial: Any) -> str:
    known = {str(s) for s in electrodes.serials[electrodes.devices == device]} - {""}
    if serial is None or not known or str(serial) in known:
        return ""
    return (
        f"the metadata have device {device!r} with serial number {serial}, and the file has it "
        f"with {shown(sorted(known))}: give the device of the probe; another one needs another name"
    )


def _is_at_places(
    electrodes: FileElectrodes, rows: NDArray[np.bool_], own: NDArray[np.float64]
) -> bool:
    if electrodes.positions is None:
        return True  # nothing says that they are others
    there = electrodes.positions[rows]
    there = there[np.isfinite(there).all(axis=1)]
    if not there.size:
        return True
    return bool((cKDTree(there).query(own)[0] <= TOLERANCE_UM).any())


def _by_probe(
    analyzer: SortingAnalyzer, electrodes: FileElectrodes, parts: Parts
) -> tuple[Way | None, list[str]]:
    """Compare names and serial numbers of the probes with the devices and groups of the file."""
    facts = probe_facts(analyzer)
    allowed = np.ones((parts.probes.size, electrodes.ids.size), dtype=bool)
    says = np.zeros(parts.probes.size, dtype=bool)
    foreign = [""] * parts.probes.size
    texts = []
    for part, probe in enumerate(parts.probes):
        names, serial = facts[probe].names, facts[probe].serial
        known = electrodes.serials != ""
        by_serial = known & (electrodes.serials == serial)
        by_name = np.isin(electrodes.devices, names) | np.isin(electrodes.groups, names)
        text = f"probe {' or '.join(map(repr, names))}" if names else f"probe {probe}"
        if serial and by_serial.any():
            allowed[part] = by_serial
        elif serial and (known if not by_name.any() else known[by_name]).all():
            allowed[part] = False
        elif by_name.any():
            allowed[part] = by_name
        elif names:
            foreign[part] = f"the analyzer's {text} is none of {_groups_text(electrodes)}"
            continue
        else:
            continue
        says[part] = True
        texts.append(text + (f" with serial number {serial}" if serial else ""))
    if not texts:
        return None, foreign
    return Way(f"the analyzer's {', '.join(dict.fromkeys(texts))}", allowed, says), foreign


def _by_groups(analyzer: SortingAnalyzer, electrodes: FileElectrodes, parts: Parts) -> Way | None:
    """Take the groups of the channels, where the file has some of these names."""
    found = _group_property(analyzer)
    if found is None:
        return None
    name, values = found
    of_part = [
        str(values[np.flatnonzero(parts.part_of == part)[0]]) for part in range(parts.probes.size)
    ]
    if not set(of_part) & set(electrodes.groups.tolist()):
        return None
    allowed = np.array([electrodes.groups == value for value in of_part])
    text = f"the channel property {name!r} ({shown(sorted(set(of_part)))})"
    return _of_all_parts(text, allowed)


def _by_series(
    analyzer: SortingAnalyzer,
    electrodes: FileElectrodes,
    parts: Parts,
    series: Sequence[Series],
    series_path: str | None,
) -> Way | None:
    """Take the ElectricalSeries that is named, or that the recording was read from."""
    if series_path is not None:
        chosen = choose_series(analyzer, series, series_path)
        name = "electrical_series_path"
    else:
        chosen = _series_of_recording(analyzer, series)
        name = "the recording of the analyzer"
    if chosen is None:
        return None
    allowed = np.zeros(electrodes.ids.size, dtype=bool)
    allowed[chosen.electrode_rows] = True
    return _of_all_parts(f"{name} ({chosen.path})", np.tile(allowed, (parts.probes.size, 1)))


def _series_of_recording(analyzer: SortingAnalyzer, series: Sequence[Series]) -> Series | None:
    """Return the ElectricalSeries of this file that the recording was read from."""
    recording: Any = recording_of(analyzer)
    while recording is not None:
        known = arguments_of(recording)
        path, file = known.get("electrical_series_path"), known.get("file_path")
        if path is not None and file is not None:
            for one in series:
                if one.path == str(path).strip("/") and one.file and _is_same(one.file, file):
                    return one
            return None
        recording = recording.get_parent()
    return None


def _is_same(one: str, other: Any) -> bool:
    try:
        return Path(one).samefile(Path(other))
    except OSError:
        return False


# -------------------------------------------------------------------------- all ways together


def _agreed(
    electrodes: FileElectrodes, parts: Parts, ways: Sequence[Way], plans: Sequence[Plan | None]
) -> NDArray[np.bool_]:
    """Return the electrodes that all ways allow; raise where there are none."""
    allowed = np.ones((parts.probes.size, electrodes.ids.size), dtype=bool)
    for part in range(parts.probes.size):
        if plans[part] is not None:
            contrary = [way for way in ways if way.says[part] and way.allowed[part].any()]
            if contrary:
                _disagree(electrodes, part, ways[0], contrary[0])
            allowed[part] = False
            continue
        before: list[Way] = []
        for way in ways:
            if not way.says[part]:
                continue
            allowed[part] &= way.allowed[part]
            if not allowed[part].any():
                apart = [w for w in before if not (w.allowed[part] & way.allowed[part]).any()]
                _disagree(electrodes, part, next(iter(apart or before), None), way)
            before.append(way)
    return allowed


def _disagree(electrodes: FileElectrodes, part: int, one: Way | None, other: Way) -> None:
    texts = [
        f"{way.name}: {_groups_text(electrodes, way.allowed[part])}" for way in (one, other) if way
    ]
    raise ParameterError(
        f"it is not clear on which electrodes the channels are, {_conflict(len(texts))} "
        f"{'; '.join(texts)}; the file has {_groups_text(electrodes)}: {_WHAT_TO_GIVE}"
    )


def _conflict(count: int) -> str:
    return "two ways to tell it disagree:" if count == 2 else "they are not in the file by"


def _groups_text(electrodes: FileElectrodes, rows: NDArray[np.bool_] | None = None) -> str:
    """Return groups with their devices, such as ``group 'A' on device 'Probe'``."""
    chosen = slice(None) if rows is None else rows
    pairs = dict.fromkeys(
        zip(electrodes.groups[chosen].tolist(), electrodes.devices[chosen].tolist(), strict=True)
    )
    if not pairs:
        return "no group of the file"
    return shown([f"group {group!r} on device {device!r}" for group, device in pairs])


def check_map_allowed(
    analyzer: SortingAnalyzer,
    electrodes: FileElectrodes,
    placement: Placement,
    rows: NDArray[np.int64],
) -> None:
    """Raise ParameterError where `electrode_map` goes to electrodes that another way excludes."""
    if placement.is_new.any():
        named = shown([plan.name for plan in placement.plans if plan is not None])
        raise ParameterError(
            f"electrode_map goes to electrodes of the file, and the metadata name {named}, which "
            "is not in the file: leave one of them out"
        )
    part_of = placement.parts.part_of
    for way in placement.ways:
        wrong = np.flatnonzero(~way.allowed[part_of, rows])
        if wrong.size:
            there = np.zeros(electrodes.ids.size, dtype=bool)
            there[rows[wrong]] = True
            name = f"electrode_map (channel {analyzer.channel_ids[wrong[0]]})"
            as_way = _of_all_parts(name, np.tile(there, (placement.parts.probes.size, 1)))
            _disagree(electrodes, int(part_of[wrong[0]]), way, as_way)


def check_only_fit(
    analyzer: SortingAnalyzer,
    electrodes: FileElectrodes,
    placement: Placement,
    rows: NDArray[np.int64],
    how: str,
) -> None:
    """Raise ParameterError where other electrodes fit as well as those that were found.

    Names and places are the same on every probe of a kind. Names decide where those of the other
    electrodes differ in more than their number.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    electrodes : FileElectrodes
    placement : Placement
    rows : array (n_channels,) int64
        Row of each channel; -1 where its electrode is to be added.
    how : str
        How they were found.
    """
    there = rows >= 0
    used = set(electrodes.groups[rows[there]].tolist())
    places = own_places(analyzer, electrodes)
    for part, foreign in enumerate(placement.foreign):
        own = np.flatnonzero((placement.parts.part_of == part) & there)
        if own.size and foreign and not placement.is_said[part]:
            _ambiguous(electrodes, rows[own], how, foreign)
    possible = placement.allowed.any(axis=0)
    for group in sorted(used):
        own = np.flatnonzero(there & (electrodes.groups[np.maximum(rows, 0)] == group))
        for other in sorted(set(electrodes.groups[possible].tolist()) - used):
            its = np.flatnonzero((electrodes.groups == other) & possible)
            if _names_differ(electrodes, rows[own], its, how):
                continue
            if _fits(electrodes, places[own], rows[own], its):
                mask = np.zeros(electrodes.ids.size, dtype=bool)
                mask[its] = True
                text = f"they fit {_groups_text(electrodes, mask)} as well"
                _ambiguous(electrodes, rows[own], how, text)


def _ambiguous(electrodes: FileElectrodes, rows: NDArray[np.int64], how: str, but: str) -> None:
    mask = np.zeros(electrodes.ids.size, dtype=bool)
    mask[rows] = True
    raise ParameterError(
        f"it is not clear which probe of the file the channels are of: by {how} they are of "
        f"{_groups_text(electrodes, mask)}, but {but}: {_WHAT_TO_GIVE}"
    )


def _names_differ(
    electrodes: FileElectrodes, own: NDArray[np.int64], its: NDArray[np.int64], how: str
) -> bool:
    if electrodes.names is None or how != "channel names":
        return False
    stems = [
        {name.rstrip("0123456789") for name in electrodes.names[rows].tolist()}
        for rows in (own, its)
    ]
    return not stems[0] & stems[1]


def _fits(
    electrodes: FileElectrodes,
    places: NDArray[np.float64],
    own: NDArray[np.int64],
    its: NDArray[np.int64],
) -> bool:
    """Return whether channels could be on other electrodes, by the places on their probe."""
    is_other_device = electrodes.devices[own[0]] != electrodes.devices[its[0]]
    if its.size < own.size:
        return False
    of_file = electrodes.positions
    if of_file is None or not np.isfinite(of_file[its]).all():
        return bool(is_other_device)
    there = of_file[its]
    tree = cKDTree(there)
    shift = np.median(of_file[own] - places, axis=0)
    if np.isfinite(shift).all() and _is_near(tree, places + shift):
        return True
    if not is_other_device:
        return False  # within a device the places tell the groups apart
    return any(_is_near(tree, places + (one - places[0])) for one in there)


def _is_near(tree: cKDTree, places: NDArray[np.float64]) -> bool:
    return bool((tree.query(places)[0] <= TOLERANCE_UM).all())
