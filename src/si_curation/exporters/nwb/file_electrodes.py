"""The electrodes table of an NWB file, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.reading.probe import contact_positions, planar_positions

CONTACTS = ("contact_id", "contact_ids", "electrode_name")  # of several programs


class FileElectrodes(NamedTuple):
    """The electrodes table of a file, as plain values.

    Attributes
    ----------
    ids : array (n_electrodes,) int64
    groups : array (n_electrodes,) of str
    devices : array (n_electrodes,) of str
        Name of the device of the group.
    serials : array (n_electrodes,) of str
        Its serial number, "" where there is none.
    names : array (n_electrodes,) of str, or None
        Column ``channel_name``.
    contacts : array (n_electrodes,) of str, or None
        Ids of the contacts, as SpikeInterface and neuroconv write them.
    positions : array (n_electrodes, 2 or 3) float64, or None
        ``rel_x``, ``rel_y`` and, where the file has it, ``rel_z`` in µm.
    """

    ids: NDArray[np.int64]
    groups: NDArray[np.str_]
    devices: NDArray[np.str_]
    serials: NDArray[np.str_]
    names: NDArray[np.str_] | None
    contacts: NDArray[np.str_] | None
    positions: NDArray[np.float64] | None


def file_electrodes(nwbfile: Any) -> FileElectrodes | None:
    """Read the electrodes table of a file; None if there is none."""
    table = nwbfile.electrodes
    if table is None or len(table) == 0:
        return None
    positions = None
    if "rel_x" in table.colnames and "rel_y" in table.colnames:
        axes = [name for name in ("rel_x", "rel_y", "rel_z") if name in table.colnames]
        columns = [np.asarray(table[name].data[:], dtype=np.float64) for name in axes]
        positions = np.stack(columns, axis=1)
    groups = list(table["group"].data[:])
    devices = [group.device for group in groups]
    contacts = next((name for name in CONTACTS if name in table.colnames), None)
    return FileElectrodes(
        np.asarray(table.id[:], dtype=np.int64),
        np.array([str(group.name) for group in groups]),
        np.array([str(device.name) for device in devices]),
        np.array([serial_text(getattr(device, "serial_number", None)) for device in devices]),
        _texts(table, "channel_name" if "channel_name" in table.colnames else None),
        _texts(table, contacts),
        positions,
    )


def in_coordinates_of(analyzer: SortingAnalyzer, electrodes: FileElectrodes) -> FileElectrodes:
    """Return the same electrodes with positions that can be compared with those of an analyzer.

    In the coordinates that both have. Of a probe in 2D the positions of a file in 3D are those in
    the plane of the electrodes of each group (see `planar_positions`).
    """
    positions = electrodes.positions
    if positions is None or positions.shape[1] == 2:
        return electrodes
    if analyzer.get_probegroup().ndim == 3:
        return electrodes
    flat = positions[:, :2].copy()
    for group in np.unique(electrodes.groups):
        rows = np.flatnonzero((electrodes.groups == group) & np.isfinite(positions).all(axis=1))
        flat[rows] = planar_positions(positions[rows])
    return electrodes._replace(positions=flat)


def own_places(analyzer: SortingAnalyzer, electrodes: FileElectrodes) -> NDArray[np.float64]:
    """Return the places of the channels of an analyzer, in the coordinates of the electrodes."""
    places = contact_positions(analyzer)
    return places if electrodes.positions is None else places[:, : electrodes.positions.shape[1]]


def serial_text(serial: Any) -> str:
    """Return a serial number as text; "" for none, which some programs write as 0."""
    return "" if serial in (None, "", "0", 0) else str(serial)


def _texts(table: Any, name: str | None) -> NDArray[np.str_] | None:
    if name is None:
        return None
    values = table[name].data[:]
    return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in values])


def shown(values: Sequence[Any], limit: int = 8) -> str:
    """Return the first values as text, and how many there are where there are more."""
    text = ", ".join(map(str, values[:limit]))
    return text + (f", ... ({len(values)})" if len(values) > limit else "")
