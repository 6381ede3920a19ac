"""Electrodes of a probe that a file does not have yet, added below those that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import rec_attributes_of
from si_curation.errors import ParameterError
from si_curation.exporters.nwb.file import changed, written
from si_curation.exporters.nwb.file_electrodes import CONTACTS, FileElectrodes
from si_curation.exporters.nwb.identity import Placement
from si_curation.exporters.nwb.new_electrodes import (
    Plan,
    add_groups,
    contact_ids_of,
    electrode_values,
    plan_electrodes,
)

_TABLE = "general/extracellular_ephys/electrodes"


class AddedElectrodes(NamedTuple):
    """Electrodes that are to be added.

    Attributes
    ----------
    plans : list of Plan
        Their groups.
    groups : list of str
        Name of the group of each electrode.
    values : dict {name: sequence}
        Of each electrode, for every column of the table but its group and the indices of ragged
        columns, which stay empty.
    ids : array (n,) int64
    rows : array (n_channels,) int64
        Row of each channel, of those that are there too.
    all_ids : array (n_channels,) int64
        Id of the electrode of each channel.
    """

    plans: list[Plan]
    groups: list[str]
    values: dict[str, Any]
    ids: NDArray[np.int64]
    rows: NDArray[np.int64]
    all_ids: NDArray[np.int64]


def plan_added(
    analyzer: SortingAnalyzer,
    nwbfile: Any,
    electrodes: FileElectrodes,
    placement: Placement,
    rows: NDArray[np.int64],
) -> AddedElectrodes:
    """Plan the rows of the electrodes that a file does not have.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    nwbfile : pynwb.NWBFile
    electrodes : FileElectrodes
        Of the file.
    placement : Placement
    rows : array (n_channels,) int64
        Of `match_electrodes`; -1 where the electrode has to be added.

    Raises
    ------
    ParameterError
        The table has columns whose values are not known and cannot be missing, or the name of a
        group is taken.
    """
    new = np.flatnonzero(rows < 0)
    part_of = placement.parts.part_of
    planned = [placement.plans[part_of[channel]] for channel in new]
    plans = {plan.name: plan for plan in planned if plan is not None}
    own = electrode_values(analyzer, _plans_of_all(analyzer, placement), True)
    own.update(_properties(analyzer))
    values, problems = {}, _taken(nwbfile, list(plans.values()))
    for column in nwbfile.electrodes.columns:
        if column.name in ("group", "group_name") or _is_index(column):
            continue
        if _is_ragged(nwbfile.electrodes, column):
            continue
        known = own.get(column.name)
        found = _filled(column.data, len(new), None if known is None else _at(known, new))
        if found is None:
            problems.append(
                f"the electrodes of the file have a column {column.name!r} of "
                f"{_dtype_of(column.data)}, and its values for the new electrodes are not known: "
                f"set the property {column.name!r} of the recording's channels, or add the "
                "electrodes with the program that wrote the file"
            )
        else:
            values[column.name] = found
    if problems:
        raise ParameterError("; ".join(problems))
    groups = [plan.name for plan in planned if plan is not None]
    if "group_name" in nwbfile.electrodes.colnames:
        values["group_name"] = groups
    first = int(electrodes.ids.max(initial=-1)) + 1
    ids = first + np.arange(new.size)
    all_rows, all_ids = rows.copy(), electrodes.ids[np.maximum(rows, 0)]
    all_rows[new] = electrodes.ids.size + np.arange(new.size)
    all_ids[new] = ids
    return AddedElectrodes(list(plans.values()), groups, values, ids, all_rows, all_ids)


def _plans_of_all(
    analyzer: SortingAnalyzer, placement: Placement
) -> Mapping[tuple[int, str], Plan]:
    """Return a plan of every probe and shank; that of the metadata for the new ones."""
    planned = plan_electrodes(analyzer, {})
    for part, plan in enumerate(placement.plans):
        if plan is not None:
            key = int(placement.parts.probes[part]), str(placement.parts.shanks[part])
            planned[key] = plan
    return planned


def _taken(nwbfile: Any, plans: Sequence[Plan]) -> list[str]:
    there = nwbfile.electrode_groups or {}
    return [
        f"the file has an electrode group {plan.name!r} already: give the new one another name in "
        "metadata, Ecephys.ElectrodeGroup"
        for plan in plans
        if plan.name in there
    ]


def _properties(analyzer: SortingAnalyzer) -> dict[str, Any]:
    """Return channel properties that the table may have too, and the ids of the contacts."""
    known = rec_attributes_of(analyzer)["properties"]
    reserved = ("group", "group_name", "location", "channel_name", "rel_x", "rel_y", "shank_id")
    found = {name: values for name, values in known.items() if name not in reserved}
    contacts = contact_ids_of(analyzer)
    return found if contacts is None else {**dict.fromkeys(CONTACTS, contacts), **found}


def _at(values: Any, which: NDArray[np.int64]) -> NDArray:
    return np.asarray(values)[which]


def _is_index(column: Any) -> bool:
    from hdmf.common import VectorIndex

    return isinstance(column, VectorIndex)


def _is_ragged(table: Any, column: Any) -> bool:
    return any(_is_index(one) and one.target is column for one in table.columns)


def _dtype_of(data: Any) -> str:
    values = np.asarray(data[:1])
    return {"b": "booleans", "i": "whole numbers", "u": "whole numbers"}.get(
        values.dtype.kind, str(values.dtype)
    )


def _filled(data: Any, count: int, known: NDArray | None) -> Any:
    """Return values of new rows: what is known, else NaN or "", else None."""
    there = np.asarray(data[:])
    kind, shape = there.dtype.kind, (count, *there.shape[1:])
    is_text = kind in "SU" or (
        kind == "O" and all(isinstance(one, str | bytes) for one in there.ravel().tolist())
    )
    if known is not None and known.shape == shape:
        if is_text:
            return [str(one) for one in known.tolist()]
        if known.dtype.kind == kind or (kind == "f" and known.dtype.kind in "iu"):
            return known.astype(there.dtype)
    if is_text:
        return [""] * count if there.ndim == 1 else None
    return np.full(shape, np.nan, dtype=there.dtype) if kind == "f" else None


def append_in_memory(nwbfile: Any, added: AddedElectrodes) -> None:
    """Add devices, groups and electrodes to a file in memory; see `check_in_memory`."""
    groups = add_groups(nwbfile, added.plans)
    table = nwbfile.electrodes
    for column in table.columns:
        if column.name == "group":
            column.extend([groups[name] for name in added.groups])
        elif _is_index(column):
            nothing = column.target.data[:0]  # of the dtype that is there
            column.extend([nothing] * len(added.ids))
        elif column.name in added.values:
            column.extend(added.values[column.name])
    table.id.extend(added.ids.tolist())


def check_in_memory(nwbfile: Any) -> None:
    """Raise ParameterError where the electrodes are those of a file that is open."""
    import h5py

    if any(not isinstance(column.data, list | np.ndarray) for column in nwbfile.electrodes.columns):
        kind = "an open file" if isinstance(nwbfile.electrodes.id.data, h5py.Dataset) else "a file"
        raise ParameterError(
            f"electrodes cannot be added to a table of {kind}: use "
            "export_to_nwb(..., mode='append', 'export' or 'sidecar')"
        )


def append_in_file(path: Path, added: AddedElectrodes) -> None:
    """Add devices, groups and electrodes to a file on disk, the rows that are there as they are.

    Parameters
    ----------
    path : Path
        An HDF5 file that nobody else has open, a copy of what is to be changed.
    added : AddedElectrodes
    """
    with written(path, "r+") as io:
        nwbfile = io.read()
        add_groups(nwbfile, added.plans)
        io.write(nwbfile)
    with changed(path) as file:
        table = file[_TABLE]
        references = [file[f"general/extracellular_ephys/{name}"].ref for name in added.groups]
        _lengthen(table, "id", added.ids)
        for name in list(table):
            if name == "group":
                _lengthen(table, name, references)
            elif name in added.values:
                _lengthen(table, name, added.values[name])
            elif table[name].attrs.get("neurodata_type") == "VectorIndex":
                _lengthen(table, name, [table[name][-1]] * len(added.ids))


def _lengthen(table: Any, name: str, values: Any) -> None:
    """Add rows to a dataset; one of fixed size is written anew with all that it had."""
    old = table[name]
    size, count = old.shape[0], len(values)
    if old.maxshape[0] is not None:
        facts = {key: old.attrs[key] for key in old.attrs}
        there, dtype = old[:], old.dtype
        shape = (size + count, *old.shape[1:])
        del table[name]
        old = table.create_dataset(
            name, shape=shape, dtype=dtype, maxshape=(None, *shape[1:]), chunks=True
        )
        old[:size] = there
        for key, value in facts.items():
            old.attrs[key] = value
        _point_to(table, name)
    else:
        old.resize(size + count, axis=0)
    for i, value in enumerate(values):
        old[size + i] = value


def _point_to(table: Any, name: str) -> None:
    """Let the index of a ragged column point to the column again."""
    index = f"{name}_index"
    if index in table and "target" in table[index].attrs:
        table[index].attrs["target"] = table[name].ref
