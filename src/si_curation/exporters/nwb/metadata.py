"""Metadata of an NWB file in the nested form that neuroconv has, checked before use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timezone
from pathlib import Path
from typing import Any

from si_curation.checks import join_problems, local_path, short_repr
from si_curation.documents import read_document
from si_curation.errors import MissingDataError, ParameterError
from si_curation.exporters.nwb.optional import import_pynwb

_SECTIONS = ("NWBFile", "Subject", "Ecephys", "Devices")
#: Times that are moments, and so need an offset from UTC.
MOMENTS = ("session_start_time", "timestamps_reference_time")
_TIMES = (*MOMENTS, "date_of_birth")
_LISTS = ("experimenter", "keywords", "related_publications")
#: Fields of a file that are text or lists of text, and so can be given or copied.
FILE_FIELDS = (
    "session_description",
    "identifier",
    "session_start_time",
    "timestamps_reference_time",
    "experimenter",
    "experiment_description",
    "session_id",
    "institution",
    "keywords",
    "notes",
    "pharmacology",
    "protocol",
    "related_publications",
    "slices",
    "source_script",
    "source_script_file_name",
    "data_collection",
    "surgery",
    "virus",
    "stimulus_notes",
    "lab",
)
SUBJECT_FIELDS = (
    "age",
    "age__reference",
    "description",
    "genotype",
    "sex",
    "species",
    "subject_id",
    "weight",
    "date_of_birth",
    "strain",
)


def read_metadata(metadata: Mapping[str, Any] | str | Path | None) -> dict[str, dict[str, Any]]:
    """Read and check metadata.

    Parameters
    ----------
    metadata : mapping, str or Path, optional
        As of `export_to_nwb`.

    Returns
    -------
    dict
        Sections "NWBFile" and "Subject" with times as datetimes, and "Ecephys" with lists
        ``Device``, ``ElectrodeGroup`` and ``UnitProperties``.

    Raises
    ------
    FolderNotFoundError, ParameterError
        All problems at once.

    Examples
    --------
    >>> read_metadata({"NWBFile": {"session_start_time": "2024-05-01T12:00:00+02:00"}})["NWBFile"]
    {'session_start_time': datetime.datetime(2024, 5, 1, 12, 0, tzinfo=...seconds=7200)))}
    """
    where = "metadata"
    if isinstance(metadata, str | Path):
        where = str(metadata)
        metadata = _load(local_path(metadata, "metadata"))
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, Mapping):
        raise ParameterError(f"{where} is a {type(metadata).__name__}, expected nested mappings")
    problems: list[str] = []
    sections: dict[str, Mapping[str, Any]] = {}
    for name, section in metadata.items():
        if name not in _SECTIONS:
            problems.append(f"section {name!r} is not known, expected {', '.join(_SECTIONS[:3])}")
        elif section is not None and not isinstance(section, Mapping):
            problems.append(f"{name} is a {type(section).__name__}, expected a mapping")
        else:
            sections[name] = section or {}
    found = {
        "NWBFile": _fields("NWBFile", sections.get("NWBFile", {}), FILE_FIELDS, problems),
        "Subject": _fields("Subject", sections.get("Subject", {}), SUBJECT_FIELDS, problems),
        "Ecephys": _ecephys(sections.get("Ecephys", {}), sections.get("Devices", {}), problems),
    }
    if problems:
        raise ParameterError(f"{where}: " + join_problems(problems))
    return found


def _load(path: Path) -> Any:
    suffix = ".json" if path.suffix.lower() == ".json" else ".yaml"
    expected = "a YAML or JSON file"
    return read_document(path, expected=expected, suffix=suffix)


def _fields(
    section: str, values: Mapping[str, Any], known: Sequence[str], problems: list[str]
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            problems.append(f"{section} has no field {name!r}, expected some of {', '.join(known)}")
        elif value is None or value == "" or value == []:
            continue
        elif name in _TIMES:
            out[name] = _as_time(f"{section}.{name}", value, problems)
        elif name in _LISTS:
            texts = [value] if isinstance(value, str) else value
            if not isinstance(texts, list | tuple) or not all(isinstance(t, str) for t in texts):
                problems.append(
                    f"{section}.{name} is {short_repr(value)}, expected text or a list of texts"
                )
            else:
                out[name] = list(texts)
        elif not isinstance(value, str):
            problems.append(f"{section}.{name} is {short_repr(value)}, expected text (in quotes)")
        else:
            out[name] = value
    return out


def _as_time(name: str, value: Any, problems: list[str]) -> datetime | None:
    """Return a time with its offset; a moment without one is a problem, a birthday is in UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
        except ValueError:
            problems.append(
                f"{name} is {short_repr(value)}, expected a time as 2024-05-01T12:00:00+02:00"
            )
            return None
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        problems.append(f"{name} is {short_repr(value)}, expected a time")
        return None
    if value.tzinfo is not None:
        return value
    if name.rpartition(".")[2] in MOMENTS:
        problems.append(
            f"{name} is {value.isoformat()}, without an offset from UTC: it is another moment in "
            f"each time zone. Add the offset where it was recorded, as in "
            f"{value.isoformat()}+02:00, or Z where it is in UTC"
        )
        return None
    return value.replace(tzinfo=timezone.utc)


def _ecephys(
    values: Mapping[str, Any], devices: Mapping[str, Any], problems: list[str]
) -> dict[str, list[dict[str, Any]]]:
    """Take lists of mappings, or neuroconv's mappings of mappings."""
    both = {
        "Device": values.get("Device") or devices,
        "ElectrodeGroup": values.get("ElectrodeGroup") or values.get("ElectrodeGroups"),
        "UnitProperties": values.get("UnitProperties"),
    }
    out = {name: _entries(f"Ecephys.{name}", value, problems) for name, value in both.items()}
    names_of_keys = {}
    if isinstance(both["Device"], Mapping):
        names_of_keys = {
            key: entry.get("name", key)
            for key, entry in both["Device"].items()
            if isinstance(entry, Mapping)
        }
    for group in out["ElectrodeGroup"]:
        key = group.pop("device_metadata_key", None)
        if key is not None:
            group.setdefault("device", names_of_keys.get(key, key))
    for name in ("Device", "ElectrodeGroup", "UnitProperties"):
        names = [entry.get("name") for entry in out[name]]
        if len(set(names)) < len(names):
            problems.append(f"Ecephys.{name} has one name twice")
    known = [entry["name"] for entry in out["Device"]]
    for group in out["ElectrodeGroup"]:
        if group.get("device") is not None and known and group["device"] not in known:
            problems.append(
                f"Ecephys.ElectrodeGroup {short_repr(group['name'])} is on device "
                f"{short_repr(group['device'])}, expected one of {', '.join(known)}"
            )
    return out


def _entries(name: str, value: Any, problems: list[str]) -> list[dict[str, Any]]:
    if isinstance(value, Mapping):
        value = [
            {"name": key, **entry} if isinstance(entry, Mapping) else entry
            for key, entry in value.items()
        ]
    if value is None:
        return []
    if not isinstance(value, list | tuple) or not all(
        isinstance(entry, Mapping) and isinstance(entry.get("name"), str) and entry["name"]
        for entry in value
    ):
        problems.append(f"{name} is {short_repr(value)}, expected a list of mappings with a name")
        return []
    return [dict(entry) for entry in value]


def add_start(
    metadata: Mapping[str, dict[str, Any]], session_start_time: str | datetime | None
) -> None:
    """Add the start of the session, given by itself, to metadata that were read.

    Raises
    ------
    ParameterError
        It is no time with an offset, or another one than the metadata have.
    """
    if session_start_time is None:
        return
    problems: list[str] = []
    start = _as_time("session_start_time", session_start_time, problems)
    known = metadata["NWBFile"].get("session_start_time")
    if start is not None and known is not None and known != start:
        problems.append(
            f"session_start_time is {start.isoformat()}, and the metadata have "
            f"{known.isoformat()}: give one of them"
        )
    if problems:
        raise ParameterError(problems[0])
    metadata["NWBFile"]["session_start_time"] = start


def check_start(fields: Mapping[str, Any]) -> None:
    """Raise MissingDataError where the start of the session is not known."""
    if fields.get("session_start_time") is None:
        raise MissingDataError(
            "a new NWB file needs the time at which the session began, with its offset from UTC: "
            'session_start_time="2024-05-01T12:00:00+02:00", or NWBFile.session_start_time of the '
            "metadata"
        )


def make_nwbfile(metadata: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Any]) -> Any:
    """Make an NWB file in memory.

    Parameters
    ----------
    metadata : dict
        Of `read_metadata`.
    defaults : mapping
        Fields of the file where `metadata` has none.

    Returns
    -------
    pynwb.NWBFile

    Raises
    ------
    MissingDataError
        There is no ``session_start_time``.
    ParameterError
        pynwb does not take a value.
    """
    pynwb = import_pynwb()
    fields = {**defaults, **metadata["NWBFile"]}
    check_start(fields)
    try:
        nwbfile = pynwb.NWBFile(**fields)
        if metadata["Subject"]:
            nwbfile.subject = pynwb.file.Subject(**metadata["Subject"])
    except (TypeError, ValueError) as fault:
        raise ParameterError(f"metadata: {' '.join(str(fault).split())}") from None
    return nwbfile
