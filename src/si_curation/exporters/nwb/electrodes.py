"""Rows of an electrodes table that is there, for the channels of an analyzer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import rec_attributes_of
from si_curation.checks import is_whole_number
from si_curation.errors import ParameterError
from si_curation.exporters.nwb.file_electrodes import FileElectrodes, own_places, shown
from si_curation.exporters.nwb.identity import (
    TOLERANCE_UM,
    Placement,
    check_map_allowed,
    check_only_fit,
)
from si_curation.exporters.nwb.new_electrodes import contact_ids_of
from si_curation.exporters.nwb.series import Series

logger = logging.getLogger(__name__)


def match_electrodes(
    analyzer: SortingAnalyzer,
    electrodes: FileElectrodes,
    placement: Placement,
    series: Series | None,
    electrode_map: Mapping[Any, int] | None,
) -> NDArray[np.int64]:
    """Find the row of the electrodes table of each channel of an analyzer.

    By `electrode_map`; else, among the electrodes that the probes can be on, for a Kilosort folder
    by the columns of the raw data (``channel_map``) through the ElectricalSeries; else by the
    names of the channels or contacts, in the ElectricalSeries where there is one; else by the
    columns of an ElectricalSeries with as many channels, or by the places of a group that is known.
    The positions have to agree where the file has them, and no other group may fit as well.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    electrodes : FileElectrodes
    placement : Placement
    series : Series, optional
        The one that was sorted.
    electrode_map : mapping of channel id to int, optional

    Returns
    -------
    array (n_channels,) int64
        -1 where the electrode has to be added, see `Placement.is_new`.

    Raises
    ------
    ParameterError
        Channels are not found in the file, are at other places there, or could be on several
        groups.
    """
    if electrode_map is not None:
        rows = _by_map(analyzer, electrodes, electrode_map)
        check_map_allowed(analyzer, electrodes, placement, rows)
        _check_geometry(analyzer, electrodes, rows, "electrode_map")
        return rows
    rows = np.full(analyzer.get_num_channels(), -1, dtype=np.int64)
    wanted = np.flatnonzero(~placement.is_new)
    if wanted.size == 0:
        return rows
    rows[wanted], how = _find(analyzer, electrodes, placement, series, wanted)
    _check_apart(analyzer, rows[wanted], wanted, electrodes, how)
    _check_geometry(analyzer, electrodes, rows, how)
    check_only_fit(analyzer, electrodes, placement, rows, how)
    return rows


def _find(
    analyzer: SortingAnalyzer,
    electrodes: FileElectrodes,
    placement: Placement,
    series: Series | None,
    wanted: NDArray[np.int64],
) -> tuple[NDArray[np.int64], str]:
    """Return the rows of some channels, and how they were found."""
    part_of = placement.parts.part_of[wanted]
    raw_columns = rec_attributes_of(analyzer)["properties"].get("channel_map")
    if raw_columns is not None and series is not None:
        rows = _by_raw_column(np.asarray(raw_columns, dtype=np.int64)[wanted], series)
        if placement.allowed[part_of, rows].all():
            return rows, f"columns of {series.path}"
    found, how = _by_name(analyzer, electrodes, placement, series, wanted)
    if found is None:
        if series is not None and series.electrode_rows.size == analyzer.get_num_channels():
            rows = series.electrode_rows[wanted]
            if (
                electrodes.positions is not None
                and np.isfinite(electrodes.positions[rows]).all()
                and placement.allowed[part_of, rows].all()
            ):
                return rows, f"columns of {series.path}"
        by_place = _by_place(analyzer, electrodes, placement, wanted)
        if by_place is not None:
            return by_place, "places"
        raise ParameterError(
            f"channels cannot be matched with the electrodes of the file: {how}; give "
            "electrode_map={channel id: id of the electrode}"
            + ("" if series is not None else ", or electrical_series_path=")
        )
    if raw_columns is not None and electrodes.positions is None:
        raise ParameterError(
            "channels are columns of the raw data, and the file does not say which "
            "electrodes these are: give electrical_series_path= or electrode_map="
        )
    return found, how


def _check_apart(
    analyzer: SortingAnalyzer,
    rows: NDArray[np.int64],
    wanted: NDArray[np.int64],
    electrodes: FileElectrodes,
    how: str,
) -> None:
    """Raise where several channels are on one electrode."""
    order = np.argsort(rows, kind="stable")
    twice = np.flatnonzero(np.diff(rows[order]) == 0)
    if twice.size:
        one, other = analyzer.channel_ids[wanted[order[twice[0] : twice[0] + 2]]]
        raise ParameterError(
            f"channels {one} and {other} would both be on electrode "
            f"{electrodes.ids[rows[order[twice[0]]]]} by {how}: a probe of the analyzer is not in "
            "the file; give electrode_map={channel id: id of the electrode}, or Device and "
            "ElectrodeGroup of every probe in metadata, so that new ones are added"
        )


def _by_place(
    analyzer: SortingAnalyzer,
    electrodes: FileElectrodes,
    placement: Placement,
    wanted: NDArray[np.int64],
) -> NDArray[np.int64] | None:
    """Return the electrodes at the very places of the channels, in groups that are known."""
    part_of = placement.parts.part_of[wanted]
    if electrodes.positions is None or not placement.is_said[part_of].all():
        return None
    places = own_places(analyzer, electrodes)[wanted]
    rows = np.full(wanted.size, -1, dtype=np.int64)
    for i, part in enumerate(part_of):
        away = np.abs(electrodes.positions - places[i]).max(axis=1)
        near = np.flatnonzero(placement.allowed[part] & (away <= TOLERANCE_UM))
        if near.size != 1:
            return None
        rows[i] = near[0]
    return rows


def _by_map(
    analyzer: SortingAnalyzer, electrodes: FileElectrodes, electrode_map: Any
) -> NDArray[np.int64]:
    if not isinstance(electrode_map, Mapping):
        raise ParameterError(
            f"electrode_map is a {type(electrode_map).__name__}, expected "
            "{channel id: id of the electrode}"
        )
    row_of_id = {int(i): row for row, i in enumerate(electrodes.ids)}
    given = {_key(channel): value for channel, value in electrode_map.items()}
    channels = [_key(channel) for channel in analyzer.channel_ids]
    problems = []
    missing = [channel for channel in channels if channel not in given]
    if missing:
        problems.append(f"electrode_map has no channels {shown(missing)}")
        odd = [channel for channel in given if channel not in channels]
        if odd:
            problems.append(f"{shown(odd)} in it are no channels of the analyzer")
    wrong = [given[c] for c in channels if c in given and not _is_id(given[c], row_of_id)]
    if wrong:
        problems.append(f"electrode_map has {shown(wrong)}, which are no ids of electrodes")
    used = [given[c] for c in channels if c in given]
    if not wrong and len(set(used)) < len(used):
        problems.append("electrode_map has one electrode for several channels")
    if problems:
        raise ParameterError("; ".join(problems))
    return np.array([row_of_id[int(given[c])] for c in channels], dtype=np.int64)


def _is_id(value: Any, row_of_id: Mapping[int, int]) -> bool:
    return is_whole_number(value) and int(value) in row_of_id


def _key(channel: Any) -> str:
    return str(channel)


def _by_raw_column(columns: NDArray[np.int64], series: Series) -> NDArray[np.int64]:
    size = series.electrode_rows.size
    if columns.max(initial=-1) >= size:
        raise ParameterError(
            f"channel_map goes to column {columns.max()}, and {series.path} has {size} channels: "
            "it is not what was sorted; give electrical_series_path= or electrode_map="
        )
    return series.electrode_rows[columns]


def _by_name(
    analyzer: SortingAnalyzer,
    electrodes: FileElectrodes,
    placement: Placement,
    series: Series | None,
    wanted: NDArray[np.int64],
) -> tuple[NDArray[np.int64] | None, str]:
    """Return the rows by names and by what names, or None and what is wrong with them."""
    candidates = placement.allowed.copy()
    if series is not None:
        in_series = np.zeros(electrodes.ids.size, dtype=bool)
        in_series[series.electrode_rows] = True
        inside = candidates & in_series
        candidates = np.where(inside.any(axis=1)[:, None], inside, candidates)
    own = rec_attributes_of(analyzer)["properties"].get("channel_name")
    texts = [analyzer.channel_ids.astype(str)]
    texts += [] if own is None else [np.asarray(own).astype(str)]
    ids = electrodes.ids.astype(str)
    tried = [
        (channels, names, how)
        for names, how in ((electrodes.names, "channel names"), (ids, "ids of the electrodes"))
        if names is not None
        for channels in texts
    ]
    contacts = contact_ids_of(analyzer)
    if electrodes.contacts is not None and contacts is not None:
        tried.append((contacts, electrodes.contacts, "ids of the contacts"))
    part_of = placement.parts.part_of[wanted]
    problem = ""
    for channels, names, how in tried:
        rows, its_problem = _look_up(channels[wanted], part_of, names, candidates)
        if rows is not None:
            return rows, how
        problem = problem or its_problem
    return None, problem


def _look_up(
    channels: NDArray[np.str_],
    part_of: NDArray[np.int64],
    names: NDArray[np.str_],
    candidates: NDArray[np.bool_],
) -> tuple[NDArray[np.int64] | None, str]:
    """Find the rows of names among the candidates of each part (n_parts, n_electrodes)."""
    rows = np.full(channels.size, -1, dtype=np.int64)
    missing, several = [], []
    for part in np.unique(part_of):
        place: dict[str, int] = {}
        twice = set()
        for row in np.flatnonzero(candidates[part]).tolist():
            if names[row] in place:
                twice.add(str(names[row]))
            place[str(names[row])] = row
        for i in np.flatnonzero(part_of == part).tolist():
            name = str(channels[i])
            rows[i] = place.get(name, -1)
            missing += [name] if name not in place else []
            several += [name] if name in twice else []
    if missing:
        return None, f"the file has no channels {shown(missing)}"
    if several:
        return None, f"the file has several channels {shown(sorted(set(several)))}"
    return rows, ""


def _check_geometry(
    analyzer: SortingAnalyzer, electrodes: FileElectrodes, rows: NDArray[np.int64], how: str
) -> None:
    """Positions have to agree within 1 µm, up to where each group has its origin."""
    if electrodes.positions is None:
        logger.info("the electrodes of the file have no positions: matched by %s alone", how)
        return
    there = electrodes.positions[rows]
    own = own_places(analyzer, electrodes)
    off = np.zeros(rows.size, dtype=bool)
    is_there = (rows >= 0) & np.isfinite(there).all(axis=1)
    for group in np.unique(electrodes.groups[rows[rows >= 0]]):
        of_group = (electrodes.groups[rows] == group) & is_there
        if not of_group.any():
            continue
        shift = own[of_group] - there[of_group]
        away = np.abs(shift - np.median(shift, axis=0)).max(axis=1)
        off[of_group] = away > TOLERANCE_UM
    if off.any():
        first = int(np.flatnonzero(off)[0])
        raise ParameterError(
            f"channels matched with the electrodes of the file by {how} are at other places: "
            f"{shown(analyzer.channel_ids[off].tolist())} (channel {analyzer.channel_ids[first]} "
            f"at {own[first].tolist()} µm, electrode {electrodes.ids[rows[first]]} at "
            f"{there[first].tolist()} µm); give the right electrode_map={{channel id: id of the "
            "electrode}}, or the ElectricalSeries that was sorted"
        )
