"""A new file with the metadata, subject and electrodes of another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import numpy as np

from si_curation.errors import ParameterError
from si_curation.exporters.nwb.metadata import FILE_FIELDS, SUBJECT_FIELDS, make_nwbfile
from si_curation.exporters.nwb.optional import import_pynwb


def sidecar_of(
    source: Any,
    metadata: Mapping[str, Mapping[str, Any]],
    session_id: str | None = None,
    without_offset: Mapping[str, str] | None = None,
) -> Any:
    """Make a file in memory with what describes another one, without its data.

    Parameters
    ----------
    source : pynwb.NWBFile
    metadata : dict
        Of `read_metadata`: goes before what the source has.
    session_id : str, optional
        Where neither has one.
    without_offset : mapping of str to str, optional
        Times of the source that have no offset from UTC, of `fields_without_offset`.

    Returns
    -------
    pynwb.NWBFile
        With another identifier.

    Raises
    ------
    ParameterError
        A time of the source has no offset from UTC, and the metadata do not have it.
    """
    fields = _fields_of(source, FILE_FIELDS)
    check_offsets(metadata, without_offset or {})
    if session_id is not None:
        fields.setdefault("session_id", session_id)
    fields["identifier"] = str(uuid4())
    if source.was_generated_by is not None:
        fields["was_generated_by"] = np.asarray(source.was_generated_by[:]).tolist()
    subject = {} if source.subject is None else _fields_of(source.subject, SUBJECT_FIELDS)
    together = {**metadata, "Subject": {**subject, **metadata["Subject"]}}
    nwbfile = make_nwbfile(together, fields)
    _copy_electrodes(source, nwbfile)
    return nwbfile


def check_offsets(
    metadata: Mapping[str, Mapping[str, Any]], without_offset: Mapping[str, str]
) -> None:
    """Raise where a time without an offset is not in the metadata with it."""
    unknown = {k: v for k, v in without_offset.items() if k not in metadata["NWBFile"]}
    if unknown:
        shown = " and ".join(f"{name} ({value})" for name, value in unknown.items())
        raise ParameterError(
            f"the file of source_nwb has {shown} without an offset from UTC, which is another "
            f"moment in each time zone: give {', '.join(f'NWBFile.{name}' for name in unknown)} "
            "in the metadata, with the offset"
        )


def _fields_of(container: Any, names: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    for name in names:
        value = getattr(container, name, None)
        if value is None:
            continue
        if not isinstance(value, str) and hasattr(value, "__len__"):
            value = [one.decode() if isinstance(one, bytes) else str(one) for one in value[:]]
        found[name] = value
    return found


def _copy_electrodes(source: Any, nwbfile: Any) -> None:
    pynwb = import_pynwb()
    from hdmf.common import VectorData, VectorIndex

    if source.electrodes is None or len(source.electrodes) == 0:
        return
    devices: dict[str, Any] = {}
    for group in source.electrode_groups.values():
        if group.device.name not in devices:
            devices[group.device.name] = nwbfile.add_device(_copy_device(nwbfile, group.device))
    groups = {}
    for name, group in source.electrode_groups.items():
        position = group.position
        groups[name] = nwbfile.create_electrode_group(
            name=name,
            description=group.description,
            location=group.location,
            device=devices[group.device.name],
            position=None if position is None else tuple(np.asarray(position[()]).tolist()),
        )
    columns: dict[str, Any] = {}
    for column in source.electrodes.columns:
        if column.name == "group":
            data: Any = [groups[group.name] for group in column.data[:]]
        else:
            data = _plain(column.data[:])
        if isinstance(column, VectorIndex):
            target = columns.get(column.target.name)
            if target is None:
                target = VectorData(
                    name=column.target.name,
                    description=column.target.description,
                    data=_plain(column.target.data[:]),
                )
                columns[target.name] = target
            columns[column.name] = VectorIndex(name=column.name, data=data, target=target)
        elif column.name not in columns:
            columns[column.name] = VectorData(
                name=column.name, description=column.description, data=data
            )
    nwbfile.electrodes = pynwb.ecephys.ElectrodesTable(
        id=np.asarray(source.electrodes.id[:]),
        columns=list(columns.values()),
        colnames=list(source.electrodes.colnames),
    )


def _plain(data: Any) -> Any:
    array = np.asarray(data)
    if array.dtype.kind in "OSU":
        return [one.decode() if isinstance(one, bytes) else one for one in array.tolist()]
    return array


def _copy_device(nwbfile: Any, device: Any) -> Any:
    pynwb = import_pynwb()
    facts = {name: getattr(device, name, None) for name in ("description", "serial_number")}
    model = getattr(device, "model", None)
    if model is not None:
        known = nwbfile.device_models or {}
        if model.name not in known:
            nwbfile.add_device_model(
                pynwb.device.DeviceModel(
                    name=model.name,
                    manufacturer=model.manufacturer,
                    model_number=model.model_number,
                    description=model.description,
                )
            )
        facts["model"] = nwbfile.device_models[model.name]
    # fields of older files that are deprecated now are kept in the words of the description
    old = [str(v) for n in ("manufacturer", "model_number", "model_name")
           if (v := getattr(device, n, None))]  # fmt: skip
    if old:
        facts["description"] = f"{facts['description'] or 'device'} ({', '.join(old)})"
    return pynwb.device.Device(
        name=device.name, **{k: v for k, v in facts.items() if v is not None}
    )
