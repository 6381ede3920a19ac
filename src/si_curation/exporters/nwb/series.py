"""The ElectricalSeries of an NWB file, as plain values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Series(NamedTuple):
    """One ElectricalSeries.

    Attributes
    ----------
    path : str
        Such as ``"acquisition/ElectricalSeries"``.
    num_samples : int
    starting_time_s : float
    rate : float or None
        None where it has timestamps.
    timestamps : array-like (n_samples,) or None
    electrode_rows : array (n_channels,) int64
        Row of the electrodes table of each column of its data.
    file : str
        Path of the file, "" for one in memory.
    """

    path: str
    num_samples: int
    starting_time_s: float
    rate: float | None
    timestamps: Any
    electrode_rows: NDArray[np.int64]
    file: str = ""


def electrical_series_of(nwbfile: Any) -> list[Series]:
    """Find the ElectricalSeries of a file; not those of single spikes.

    Parameters
    ----------
    nwbfile : pynwb.NWBFile

    Returns
    -------
    list of Series
        In the order of their paths.
    """
    from pynwb.ecephys import ElectricalSeries, SpikeEventSeries

    found = []
    for one in nwbfile.objects.values():
        if not isinstance(one, ElectricalSeries) or isinstance(one, SpikeEventSeries):
            continue
        rate = None if one.rate is None else float(one.rate)
        found.append(
            Series(
                path=path_of(one, nwbfile),
                num_samples=int(_shape(one.data)[0]),
                starting_time_s=float(one.starting_time or 0.0),
                rate=rate,
                timestamps=None if rate is not None else _plain(one.timestamps),
                electrode_rows=np.asarray(one.electrodes.data[:], dtype=np.int64),
                file=str(nwbfile.container_source or ""),
            )
        )
    return sorted(found, key=lambda one: one.path)


def path_of(container: Any, nwbfile: Any) -> str:
    """Return the path of an object in a file, as SpikeInterface and neuroconv write it."""
    names: list[str] = []
    while container is not None and container is not nwbfile:
        names.insert(0, container.name)
        parent = container.parent
        if parent is nwbfile:
            for place in ("acquisition", "processing", "stimulus", "analysis"):
                inside = getattr(nwbfile, place, None) or {}
                if container.name in inside and inside[container.name] is container:
                    names.insert(0, place)
                    break
        container = parent
    return "/".join(names)


def _shape(data: Any) -> tuple[int, ...]:
    data = getattr(data, "data", data) if not hasattr(data, "shape") else data
    shape = getattr(data, "shape", None) or getattr(data, "maxshape", None)
    return tuple(shape) if shape else np.shape(data)


def _plain(values: Any) -> Any:
    """Return timestamps with a shape that can be sliced."""
    if values is None or hasattr(values, "shape"):
        return values
    inner = getattr(values, "data", values)
    return inner if hasattr(inner, "shape") else np.asarray(inner, dtype=np.float64)
