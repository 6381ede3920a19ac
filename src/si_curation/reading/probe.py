"""Probe and recording attributes of a folder, as SpikeInterface keeps them."""

from __future__ import annotations

import copy
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from probeinterface import Probe, ProbeGroup
from spikeinterface.core import BaseRecording, SortingAnalyzer

from si_curation._spikeinterface import rec_attributes_of, set_probegroup
from si_curation.checks import is_whole_number
from si_curation.errors import ParameterError, SiCurationWarning
from si_curation.phy.folder import PhyFolder

_POSITION_TOLERANCE_UM = 1e-3
_BETWEEN_PLANES_UM = 200.0
_SAME_PLACE_UM = 0.1  # contacts that are nearer to each other are one: positions may be rounded


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
        shank_ids=shanks_of_folder(folder).astype(str),
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


def shanks_of_folder(folder: PhyFolder) -> NDArray[np.int64]:
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
        "group": shanks_of_folder(folder),
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
        See `match_channels`.
    folder : PhyFolder

    Returns
    -------
    BaseRecording
        With the folder's probe.

    Raises
    ------
    ParameterError
        Its channels cannot be matched, it has more than one segment, or another sampling frequency.
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
    try:
        indices = match_channels(recording, folder)
    except ParameterError as fault:
        problems.append(str(fault))
    if problems:
        raise ParameterError(
            f"recording does not belong to {folder.folder}: " + "; ".join(problems)
        )
    matched = recording.select_channels(recording.channel_ids[indices])
    group = make_probegroup(folder)
    group.set_global_device_channel_indices(np.arange(folder.num_channels))
    with_probe = matched.set_probegroup(group)
    return matched if with_probe is None else with_probe


class _ByColumn(NamedTuple):
    """Channels of a recording that are found by the columns of the raw file."""

    indices: NDArray[np.int64] | None  # None: not all of them are there
    is_known: bool  # False: only assumed, as the recording is not known to be the raw file
    how: str


def match_channels(
    recording: BaseRecording | SortingAnalyzer, folder: PhyFolder, *, strict: bool = False
) -> NDArray[np.int64]:
    """Return which channels of a recording were sorted, in the order of the folder.

    There are two ways, which must agree where both are open. By column: ``channel_map.npy`` names
    columns of the raw file; a channel of the recording is the column that its id names where the
    ids are numbers below ``n_channels_dat``, else the one at its place, if the recording has as
    many channels as the file; of an analyzer that this package read, the one that it knows. By
    position: the recording's probe has a contact at each of the folder's positions. A recording
    with more or fewer channels than the file, from which channels were removed or which is from
    before they were, is matched by position alone.

    Parameters
    ----------
    recording : BaseRecording or SortingAnalyzer
    folder : PhyFolder
    strict : bool
        Raise instead of a warning: for what keeps its own probe.

    Returns
    -------
    array (n_channels,) int64
        Places in ``recording.channel_ids``.

    Raises
    ------
    ParameterError
        The two ways disagree (both are named), or neither is open.

    Warns
    -----
    SiCurationWarning
        The number of channels is not that of the raw file, no position or id tells which ones are
        missing, and the last ones are taken to be; or the positions of the recording's probe are
        not those of the folder.
    """
    by_column = _match_by_column(recording, folder)
    candidates = _match_by_position(recording, folder)
    if candidates is None or not candidates.any(axis=1).all():
        return _take_by_column(recording, folder, by_column, candidates, strict)
    found = by_column.indices
    counts = candidates.sum(axis=1)
    if found is not None:
        fits = candidates[np.arange(len(candidates)), found].all()
        if fits and (by_column.is_known or counts.max() == 1):
            return found
        if by_column.is_known:
            raise ParameterError(_disagreement(recording, folder, found, by_column.how, candidates))
    if counts.max() > 1:
        channel = int(counts.argmax())
        raise ParameterError(
            f"{counts[channel]} of its contacts are at the position of the folder's channel "
            f"{channel}, {_position(folder, channel)} (several probes of one geometry?); give the "
            "channels of the probe that was sorted alone: recording.select_channels(...)"
        )
    return candidates.argmax(axis=1)


def _take_by_column(
    recording: BaseRecording | SortingAnalyzer,
    folder: PhyFolder,
    by_column: _ByColumn,
    candidates: NDArray[np.bool_] | None,
    strict: bool,
) -> NDArray[np.int64]:
    """Return the channels by column, where not every channel is found by position."""
    found = by_column.indices
    if found is None or not (by_column.is_known or _may_lack_the_last(recording, folder)):
        raise ParameterError(_not_matched(recording, folder, by_column))
    if candidates is not None or (strict and _has_probe(recording)):
        theirs = planar_locations(recording)[found]
        moved = theirs - folder.channel_positions
        off = float(np.abs(moved - np.median(moved, axis=0)).max())
        if off <= _SAME_PLACE_UM:  # the same geometry, from another origin
            return found
        if candidates is not None:
            _refuse_elsewhere(recording, folder, by_column, candidates)
        moved_text = (
            f"the probe of the recording is not that of {folder.folder}: contacts lie up to "
            f"{off:.6g} µm away from its channels, apart from a common shift"
        )
        if strict:
            raise ParameterError(f"{moved_text}; give the recording the probe that was sorted")
        _warn(
            f"{moved_text}. The channels are matched by channel_map.npy, and the positions of the "
            "folder are used"
        )
    if not by_column.is_known:
        _warn_of_assumption(recording, folder)
    return found


def _refuse_elsewhere(
    recording: BaseRecording | SortingAnalyzer,
    folder: PhyFolder,
    by_column: _ByColumn,
    candidates: NDArray[np.bool_],
) -> None:
    """Raise where half of the channels are at places of others."""
    found = by_column.indices
    if found is None:
        return
    elsewhere = candidates.any(axis=1) & ~candidates[np.arange(len(candidates)), found]
    if 2 * np.count_nonzero(elsewhere) >= len(candidates):
        raise ParameterError(_disagreement(recording, folder, found, by_column.how, candidates))


def match_channels_of_analyzer(analyzer: SortingAnalyzer, folder: PhyFolder) -> NDArray[np.int32]:
    """Return the channel of a folder that each channel of an analyzer is; -1 for none.

    As `match_channels`. All channels of the analyzer, which keeps its probe, may also be some of
    the folder's.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    folder : PhyFolder

    Returns
    -------
    array (n_channels,) int32

    Raises
    ------
    ParameterError
        The channels differ, or cannot be matched.
    """
    num_channels = analyzer.get_num_channels()
    near = _match_by_position(analyzer, folder)
    if near is not None and not near.any(axis=1).all() and (near.sum(axis=0) == 1).all():
        found = near.argmax(axis=0)
        columns = _columns_known(analyzer)
        if columns is None or np.array_equal(folder.channel_map[found], columns):
            return found.astype(np.int32)
    try:
        places = match_channels(analyzer, folder, strict=True)
    except ParameterError as fault:
        num_near = 0 if near is None else int(near.any(axis=1).sum())
        raise ParameterError(
            f"the channels of {folder.folder} are not those of the analyzer ({num_near} positions "
            f"agree, of {num_channels} channels of the analyzer and {folder.num_channels} of the "
            f"folder): {fault}"
        ) from None
    of_channels = np.full(num_channels, -1, dtype=np.int32)
    of_channels[places] = np.arange(folder.num_channels)
    return of_channels


def _columns_known(recording: BaseRecording | SortingAnalyzer) -> NDArray[np.int64] | None:
    """Return the columns of the raw file that an analyzer of this package knows."""
    if isinstance(recording, BaseRecording):
        return None
    columns = rec_attributes_of(recording)["properties"].get("channel_map")
    return None if columns is None else np.asarray(columns, dtype=np.int64)


def _has_probe(recording: BaseRecording | SortingAnalyzer) -> bool:
    if isinstance(recording, BaseRecording):
        return bool(recording.has_probe())
    return recording.get_probegroup() is not None


def _match_by_column(recording: BaseRecording | SortingAnalyzer, folder: PhyFolder) -> _ByColumn:
    """Find channels by the column of the raw file that they are."""
    num_channels, num_columns = recording.get_num_channels(), _num_columns(folder)
    ids, how = _columns_known(recording), "its property channel_map"
    if ids is None:
        ids, how = _columns_in_ids(recording, num_columns), "the column in its id"
        if ids is not None and np.array_equal(ids, np.arange(num_channels)):
            ids = None
    if ids is not None:
        place_of = {int(column): place for place, column in enumerate(ids)}
        places = [place_of.get(column, -1) for column in folder.channel_map.tolist()]
        indices = None if -1 in places else np.array(places, dtype=np.int64)
        return _ByColumn(indices, True, how)
    if num_channels <= int(folder.channel_map.max()):
        return _ByColumn(None, False, "its place")
    return _ByColumn(folder.channel_map, num_channels == num_columns, "its place")


def _num_columns(folder: PhyFolder) -> int | None:
    """Return the number of channels of the raw file; None where it is not known."""
    count = folder.params.get("n_channels_dat")
    return int(count) if is_whole_number(count) and count > folder.channel_map.max() else None


def _columns_in_ids(
    recording: BaseRecording | SortingAnalyzer, num_columns: int | None
) -> NDArray[np.int64] | None:
    """Return the channel ids where they are columns of the raw file: different numbers below."""
    texts = [str(channel_id) for channel_id in recording.channel_ids]
    if num_columns is None or not all(t.isascii() and t.isdecimal() and len(t) < 9 for t in texts):
        return None
    ids = np.array(texts, dtype=np.int64)
    return ids if ids.max() < num_columns and np.unique(ids).size == ids.size else None


def _match_by_position(
    recording: BaseRecording | SortingAnalyzer, folder: PhyFolder
) -> NDArray[np.bool_] | None:
    """Return which contact (column) is where a channel of the folder (row) is.

    None: there is no probe, or the folder has several channels at one position.
    """
    mine = folder.channel_positions.astype(np.float64)
    rounded = np.round(mine / _SAME_PLACE_UM)
    if not _has_probe(recording) or len(np.unique(rounded, axis=0)) < len(mine):
        return None
    theirs = planar_locations(recording)
    return np.abs(mine[:, None] - theirs[None]).max(axis=2) <= _SAME_PLACE_UM


def _may_lack_the_last(recording: BaseRecording | SortingAnalyzer, folder: PhyFolder) -> bool:
    """Return whether a recording may be the raw file without its last columns (such as sync)."""
    num_columns = _num_columns(folder)
    return num_columns is None or recording.get_num_channels() < num_columns


def _not_matched(
    recording: BaseRecording | SortingAnalyzer, folder: PhyFolder, by_column: _ByColumn
) -> str:
    num_channels, num_columns = recording.get_num_channels(), _num_columns(folder)
    needed = int(folder.channel_map.max()) + 1
    if by_column.indices is None and not by_column.is_known:
        what = f"it has {num_channels} channels, channel_map.npy needs {needed}"
    elif by_column.indices is None:
        texts = {str(channel_id) for channel_id in recording.channel_ids}
        lacking = next(c for c in folder.channel_map.tolist() if str(c) not in texts)
        what = f"its ids are columns of the raw file, and there is none for column {lacking}"
    else:
        what = (
            f"it has {num_channels} channels, and the file that was sorted {num_columns} "
            "(n_channels_dat): which ones were left out is not known"
        )
    probe = (
        "its probe does not have a contact at each of the folder's positions"
        if _has_probe(recording)
        else "it has no probe with the positions of the folder"
    )
    return (
        f"{what}, and {probe}; give the recording that was sorted, with all its channels, or with "
        "the probe"
    )


def _disagreement(
    recording: BaseRecording | SortingAnalyzer,
    folder: PhyFolder,
    found: NDArray[np.int64],
    how: str,
    candidates: NDArray[np.bool_],
) -> str:
    """Say where the two ways differ, and what each of them gives."""
    ids = recording.channel_ids
    wrong = np.flatnonzero(~candidates[np.arange(len(candidates)), found])
    shown = []
    for i in wrong[:3]:
        there = ids[candidates[i].argmax()] if candidates[i].any() else "none"
        shown.append(
            f"channel {i}: {ids[found[i]]} by column {folder.channel_map[i]}, {there} by position "
            f"{_position(folder, int(i))}"
        )
    return (
        f"channel_map.npy (by {how}) and the positions of its probe give other channels "
        f"for {wrong.size} of {len(candidates)}: {'; '.join(shown)}"
        f"{'; ...' if wrong.size > 3 else ''}. One of the two is wrong: correct the probe of the "
        "recording, or give the recording without a probe to go by channel_map.npy"
    )


def _position(folder: PhyFolder, channel: int) -> str:
    return "(" + ", ".join(f"{value:g}" for value in folder.channel_positions[channel]) + ") µm"


def _warn_of_assumption(recording: BaseRecording | SortingAnalyzer, folder: PhyFolder) -> None:
    num_channels, num_columns = recording.get_num_channels(), _num_columns(folder)
    if num_columns is None:
        if num_channels == int(folder.channel_map.max()) + 1:
            return
        text = f"it is not known how many columns the raw file of {folder.folder} has"
    else:
        text = f"the raw file of {folder.folder} has {num_columns} columns (n_channels_dat)"
    _warn(
        f"recording has {num_channels} channels, and {text}: they are taken for its first "
        f"{num_channels} columns, which no probe and no ids confirm"
    )


def _warn(text: str) -> None:
    warnings.warn(text, SiCurationWarning, stacklevel=7)


def planar_positions(locations: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return positions in the plane of a probe: across it, and along it (the depth).

    Of a probe in 3D these are the two axes on which its contacts differ, z being the depth where it
    is one of them. Contacts that differ on all three axes keep z; the other two axes become one,
    along their main direction, and planes that would then lie on each other are put side by side.

    Parameters
    ----------
    locations : array (n_channels, 2 or 3) floating

    Returns
    -------
    array (n_channels, 2) float64

    Examples
    --------
    >>> planar_positions(np.array([[0.0, 7.0, 20.0], [32.0, 7.0, 40.0]]))
    array([[ 0., 20.],
           [32., 40.]])
    """
    positions = np.array(locations, dtype=np.float64)
    if positions.shape[1] == 2 or not len(positions):
        return positions[:, :2]
    varies = np.ptp(positions, axis=0) > _SAME_PLACE_UM
    if not varies[2]:
        return positions[:, :2].copy()  # in the x-y plane
    if not varies[1]:
        return positions[:, [0, 2]].copy()
    if not varies[0]:
        return positions[:, [1, 2]].copy()
    centred = positions[:, :2] - positions[:, :2].mean(axis=0)
    directions = np.linalg.svd(centred, full_matrices=False)[2]
    main = directions[0] * np.sign(directions[0][np.abs(directions[0]).argmax()])
    flat = np.column_stack([centred @ main, positions[:, 2]])
    if len(np.unique(np.round(flat / _SAME_PLACE_UM), axis=0)) < len(flat):
        behind = np.round(centred @ directions[-1] / _SAME_PLACE_UM)
        plane = np.unique(behind, return_inverse=True)[1].reshape(-1)
        flat[:, 0] += plane * (np.ptp(flat[:, 0]) + _BETWEEN_PLANES_UM)
    return flat


def planar_locations(source: SortingAnalyzer | BaseRecording) -> NDArray[np.float64]:
    """Return the position (n_channels, 2) of each channel in the plane of its probe, in µm.

    From the contacts themselves: SpikeInterface's ``get_channel_locations`` of an analyzer leaves z
    out (0 for all), and that of a recording too.
    """
    return planar_positions(contact_positions(source))


def contact_positions(source: SortingAnalyzer | BaseRecording) -> NDArray[np.float64]:
    """Return the position (n_channels, 2 or 3) of each channel's contact, in µm."""
    group = source.get_probegroup()
    columns = group.get_global_device_channel_indices()["device_channel_indices"]
    order = np.argsort(columns, kind="stable")
    return np.asarray(group.get_global_contact_positions(), dtype=np.float64)[order]


def locations_extension(analyzer: SortingAnalyzer, name: str) -> Any:
    """Return SpikeInterface's "unit_locations" or "spike_locations"; None where there is none.

    None as well for a probe in 3D, of which SpikeInterface takes all contacts at z = 0.
    """
    extension = analyzer.get_extension(name)
    return None if extension is None or analyzer.get_probegroup().ndim == 3 else extension


def note_shanks(
    analyzer: SortingAnalyzer, folder_shanks: NDArray, channels: NDArray[np.integer]
) -> None:
    """Set the shanks that a folder knows on the probe of an analyzer that has none.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    folder_shanks : array (n_folder_channels,)
    channels : array (n_channels,) integer
        Channel of the folder of each channel of the analyzer; -1 for none, which gets shank -1.
    """
    group = copy.deepcopy(analyzer.get_probegroup())
    contacts = group.to_numpy(complete=True)
    known = "shank_ids" in (contacts.dtype.names or ()) and np.any(contacts["shank_ids"] != "")
    if known or len(group.probes) > 1 or np.unique(folder_shanks).size < 2:
        return
    shanks = np.where(channels >= 0, folder_shanks[channels], -1)
    of_contacts = np.empty(contacts.size, dtype=shanks.dtype)
    of_contacts[np.argsort(contacts["device_channel_indices"])] = shanks
    group.probes[0].set_shank_ids(of_contacts.astype(str))
    set_probegroup(analyzer, group)


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
