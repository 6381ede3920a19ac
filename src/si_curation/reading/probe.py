"""Probe and recording attributes of a folder, as SpikeInterface keeps them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from probeinterface import Probe, ProbeGroup
from spikeinterface.core import BaseRecording, SortingAnalyzer

from si_curation.errors import ParameterError
from si_curation.phy.folder import PhyFolder

_POSITION_TOLERANCE_UM = 1e-3


def make_probegroup(folder: PhyFolder) -> ProbeGroup:
    """Make the probe of a folder, contacts in the order of the channel indices.

    Device channel indices are the columns of the raw file (``channel_map``). Where those are not
    ascending SpikeInterface would put the channels of an analyzer into another order; then they
    are 0..n-1, and the raw columns are in the recording property ``channel_map``.

    Channels at one position, which probeinterface refuses, are moved apart by 0.001 µm.

    Returns
    -------
    ProbeGroup
        One probe; with shank ids, contact ids ``e<raw column>``.
    """
    probe = Probe(ndim=2, si_units="um", name=f"{folder.sorter.name} channels")
    probe.set_contacts(
        positions=_apart(folder.channel_positions.astype(np.float64)),
        shapes="circle",
        shape_params={"radius": 5.0},
        shank_ids=_shanks(folder).astype(str),
    )
    probe.set_contact_ids([f"e{column}" for column in folder.channel_map])
    ascending = bool(np.all(np.diff(folder.channel_map) > 0))
    probe.set_device_channel_indices(
        folder.channel_map if ascending else np.arange(folder.num_channels)
    )
    group = ProbeGroup()
    group.add_probe(probe)
    return group


def _apart(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    seen: set[tuple[float, ...]] = set()
    for row in positions:
        while tuple(row) in seen:
            row[0] += _POSITION_TOLERANCE_UM
        seen.add(tuple(row))
    return positions


def _shanks(folder: PhyFolder) -> NDArray[np.int64]:
    """Return a number for each shank of each probe; of one probe the shanks as they are."""
    probes = folder.channel_probes
    if np.unique(probes).size < 2:
        return folder.channel_shanks
    pairs = np.stack([probes, folder.channel_shanks], axis=1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)


def make_rec_attributes(
    folder: PhyFolder, num_samples: int, gains: NDArray | None, offsets: NDArray | None
) -> dict[str, Any]:
    """Make the recording attributes of an analyzer without recording.

    Channel ids are the columns of the raw file, which are the ids of a recording read from it.
    """
    properties: dict[str, Any] = {
        "group": _shanks(folder),
        "channel_map": folder.channel_map,
    }
    if gains is not None:
        properties["gain_to_uV"] = gains
        properties["offset_to_uV"] = np.zeros_like(gains) if offsets is None else offsets
    return {
        "channel_ids": folder.channel_map.copy(),
        "sampling_frequency": folder.sampling_frequency,
        "num_channels": folder.num_channels,
        "num_samples": [int(num_samples)],
        "is_filtered": bool(folder.params.get("hp_filtered", False)),
        "properties": properties,
        "dtype": str(folder.params.get("dtype", "int16")),
        "probegroup": make_probegroup(folder),
    }


def match_recording(recording: BaseRecording, folder: PhyFolder) -> BaseRecording:
    """Return the sorted channels of a recording, in the order of the folder's channel indices.

    Parameters
    ----------
    recording : BaseRecording
        With all columns of the raw file, which `channel_map` picks from; or with exactly the
        sorted channels, if its probe has them at the folder's positions.
    folder : PhyFolder

    Returns
    -------
    BaseRecording
        With the folder's probe.

    Raises
    ------
    ParameterError
        It has too few channels, more than one segment, or another sampling frequency.
    """
    problems = []
    rate = recording.get_sampling_frequency()
    if not np.isclose(rate, folder.sampling_frequency, rtol=1e-5, atol=1e-2):
        problems.append(
            f"its sampling frequency is {rate} Hz, that of the folder {folder.sampling_frequency}"
        )
    if recording.get_num_segments() != 1:
        problems.append(
            f"it has {recording.get_num_segments()} segments, expected one "
            "(concatenate them as for the sorting)"
        )
    needed = int(folder.channel_map.max()) + 1
    num_channels = recording.get_num_channels()
    if num_channels >= needed:
        channel_ids = recording.channel_ids[folder.channel_map]
    elif num_channels == folder.num_channels and _same_positions(recording, folder):
        channel_ids = recording.channel_ids
    else:
        problems.append(
            f"it has {num_channels} channels, channel_map.npy needs {needed}; "
            "give the recording that was sorted, with all its channels"
        )
    if problems:
        raise ParameterError(
            f"recording does not belong to {folder.folder}: " + "; ".join(problems)
        )
    matched = recording.select_channels(channel_ids)
    group = make_probegroup(folder)
    group.set_global_device_channel_indices(np.arange(folder.num_channels))
    with_probe = matched.set_probegroup(group)
    return matched if with_probe is None else with_probe


def _same_positions(recording: BaseRecording, folder: PhyFolder) -> bool:
    if not recording.has_probe():
        return False
    positions = recording.get_channel_locations()
    return positions.shape == folder.channel_positions.shape and bool(
        np.allclose(positions, folder.channel_positions, atol=_POSITION_TOLERANCE_UM)
    )


def shanks_of(analyzer: SortingAnalyzer) -> NDArray:
    """Return the shank of each channel; whole numbers where the ids are, 0 without shanks."""
    contacts = analyzer.get_probegroup().to_numpy(complete=True)
    contacts = contacts[np.argsort(contacts["device_channel_indices"])]
    has_shanks = "shank_ids" in (contacts.dtype.names or ())
    shanks = contacts["shank_ids"].astype(str) if has_shanks else np.full(contacts.size, "")
    if np.unique(contacts["probe_index"]).size > 1:
        pairs = np.char.add(np.char.add(contacts["probe_index"].astype(str), ":"), shanks)
        return np.unique(pairs, return_inverse=True)[1].reshape(-1)
    try:
        return np.where(shanks == "", "0", shanks).astype(np.int64)
    except ValueError:
        return shanks
