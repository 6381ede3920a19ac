"""Rows of an electrodes table that is there, for the channels of an analyzer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import rec_attributes_of
from si_curation.checks import is_whole_number
from si_curation.errors import ParameterError
from si_curation.exporters.nwb.series import Series

logger = logging.getLogger(__name__)

_TOLERANCE_UM = 1.0


class FileElectrodes(NamedTuple):
    """The electrodes table of a file, as plain values.

    Attributes
    ----------
    ids : array (n_electrodes,) int64
    groups : array (n_electrodes,) of str
    names : array (n_electrodes,) of str, or None
        Column ``channel_name``.
    positions : array (n_electrodes, 2) float64, or None
        ``rel_x``, ``rel_y`` in µm.
    """

    ids: NDArray[np.int64]
    groups: NDArray[np.str_]
    names: NDArray[np.str_] | None
    positions: NDArray[np.float64] | None


def file_electrodes(nwbfile: Any) -> FileElectrodes | None:
    """Read the electrodes table of a file; None if there is none."""
    table = nwbfile.electrodes
    if table is None or len(table) == 0:
        return None
    names = table["channel_name"].data[:] if "channel_name" in table.colnames else None
    positions = None
    if "rel_x" in table.colnames and "rel_y" in table.colnames:
        columns = [np.asarray(table[name].data[:], dtype=np.float64) for name in ("rel_x", "rel_y")]
        positions = np.stack(columns, axis=1)
    return FileElectrodes(
        np.asarray(table.id[:], dtype=np.int64),
        np.array([str(group.name) for group in table["group"].data[:]]),
        None if names is None else np.array([_text(name) for name in names]),
        positions,
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def match_electrodes(
    analyzer: SortingAnalyzer,
    electrodes: FileElectrodes,
    series: Series | None,
    electrode_map: Mapping[Any, int] | None,
) -> NDArray[np.int64]:
    """Find the row of the electrodes table of each channel of an analyzer.

    By `electrode_map`; else, for a Kilosort folder, by the columns of the raw data
    (``channel_map``) through the ElectricalSeries; else by the channels' names, in the
    ElectricalSeries where there is one, and in the channels' groups where the file knows these;
    else by the columns of an ElectricalSeries with as many channels. The positions have to agree
    where the file has them.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    electrodes : FileElectrodes
    series : Series, optional
        The one that was sorted.
    electrode_map : mapping of channel id to int, optional

    Returns
    -------
    array (n_channels,) int64

    Raises
    ------
    ParameterError
        Channels are not found in the file, or are at other places there.
    """
    if electrode_map is not None:
        rows = _by_map(analyzer, electrodes, electrode_map)
        _check_geometry(analyzer, electrodes, rows, "electrode_map")
        return rows
    raw_columns = rec_attributes_of(analyzer)["properties"].get("channel_map")
    if raw_columns is not None and series is not None:
        rows = _by_raw_column(np.asarray(raw_columns, dtype=np.int64), series)
        _check_geometry(analyzer, electrodes, rows, f"columns of {series.path}")
        return rows
    found = _by_name(analyzer, electrodes, series)
    if isinstance(found, str):
        if series is not None and series.electrode_rows.size == analyzer.get_num_channels():
            rows = series.electrode_rows
            if electrodes.positions is not None and np.isfinite(electrodes.positions[rows]).all():
                _check_geometry(analyzer, electrodes, rows, f"columns of {series.path}")
                return rows
        raise ParameterError(
            f"channels cannot be matched with the electrodes of the file: {found}; give "
            "electrode_map={channel id: id of the electrode}"
            + ("" if series is not None else ", or electrical_series_path=")
        )
    if raw_columns is not None and electrodes.positions is None:
        raise ParameterError(
            "channels are columns of the raw data, and the file does not say which "
            "electrodes these are: give electrical_series_path= or electrode_map="
        )
    _check_geometry(analyzer, electrodes, found, "names")
    return found


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
        problems.append(f"electrode_map has no channels {_shown(missing)}")
        odd = [channel for channel in given if channel not in channels]
        if odd:
            problems.append(f"{_shown(odd)} in it are no channels of the analyzer")
    wrong = [given[c] for c in channels if c in given and not _is_id(given[c], row_of_id)]
    if wrong:
        problems.append(f"electrode_map has {_shown(wrong)}, which are no ids of electrodes")
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
    analyzer: SortingAnalyzer, electrodes: FileElectrodes, series: Series | None
) -> NDArray | str:
    """Return the rows by names, or what is wrong with them."""
    candidates = np.arange(electrodes.ids.size)
    if series is not None:
        candidates = np.unique(series.electrode_rows)
    properties = rec_attributes_of(analyzer)["properties"]
    groups = next(
        (
            np.asarray(properties[name]).astype(str)
            for name in ("group_name", "group")
            if name in properties
            and set(np.asarray(properties[name]).astype(str)) <= set(electrodes.groups[candidates])
        ),
        None,
    )
    own = properties.get("channel_name")
    texts = [analyzer.channel_ids.astype(str)]
    texts += [] if own is None else [np.asarray(own).astype(str)]
    ids = electrodes.ids.astype(str)
    known = [ids] if electrodes.names is None else [electrodes.names, ids]
    problem = ""
    for names in known:
        for channels in texts:
            rows, its_problem = _look_up(channels, groups, names, electrodes.groups, candidates)
            if rows is not None:
                return rows
            problem = problem or its_problem
    return problem


def _look_up(
    channels: NDArray[np.str_],
    groups: NDArray[np.str_] | None,
    names: NDArray[np.str_],
    file_groups: NDArray[np.str_],
    candidates: NDArray[np.int64],
) -> tuple[NDArray[np.int64] | None, str]:
    place: dict[tuple[str, str], int] = {}
    twice = set()
    for row in candidates.tolist():
        key = (str(file_groups[row]) if groups is not None else "", str(names[row]))
        if key in place:
            twice.add(key)
        place[key] = row
    keys = [
        (str(groups[i]) if groups is not None else "", str(name)) for i, name in enumerate(channels)
    ]
    missing = [key[1] for key in keys if key not in place]
    if missing:
        return None, f"the file has no channels {_shown(missing)}"
    several = sorted({key[1] for key in keys if key in twice})
    if several:
        return None, f"the file has several channels {_shown(several)}"
    return np.array([place[key] for key in keys], dtype=np.int64), ""


def _check_geometry(
    analyzer: SortingAnalyzer, electrodes: FileElectrodes, rows: NDArray[np.int64], how: str
) -> None:
    """Positions have to agree within 1 µm, up to where each group has its origin."""
    if electrodes.positions is None:
        logger.info("the electrodes of the file have no positions: matched by %s alone", how)
        return
    there = electrodes.positions[rows]
    own = analyzer.get_channel_locations()[:, :2]
    off = np.zeros(rows.size, dtype=bool)
    for group in np.unique(electrodes.groups[rows]):
        of_group = (electrodes.groups[rows] == group) & np.isfinite(there).all(axis=1)
        if not of_group.any():
            continue
        shift = own[of_group] - there[of_group]
        away = np.abs(shift - np.median(shift, axis=0)).max(axis=1)
        off[of_group] = away > _TOLERANCE_UM
    if off.any():
        first = int(np.flatnonzero(off)[0])
        raise ParameterError(
            f"channels matched with the electrodes of the file by {how} are at other places: "
            f"{_shown(analyzer.channel_ids[off].tolist())} (channel {analyzer.channel_ids[first]} "
            f"at {own[first].tolist()} µm, electrode {electrodes.ids[rows[first]]} at "
            f"{there[first].tolist()} µm); give the right electrode_map={{channel id: id of the "
            "electrode}}, or the ElectricalSeries that was sorted"
        )


def _shown(values: Sequence[Any], limit: int = 8) -> str:
    text = ", ".join(map(str, values[:limit]))
    return text + (f", ... ({len(values)})" if len(values) > limit else "")
