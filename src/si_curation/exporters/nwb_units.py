"""`add_units_to_nwbfile`: the units of an analyzer as a table, built in bulk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.errors import OutputExistsError, ParameterError, SiCurationError
from si_curation.exporters.nwb_columns import Column
from si_curation.exporters.nwb_electrodes import file_electrodes, match_electrodes
from si_curation.exporters.nwb_metadata import read_metadata
from si_curation.exporters.nwb_new_electrodes import add_electrodes, plan_electrodes
from si_curation.exporters.nwb_optional import import_pynwb
from si_curation.exporters.nwb_provenance import LOG, add_provenance, describe_units
from si_curation.exporters.nwb_series import electrical_series_of
from si_curation.exporters.nwb_spikes import (
    PerSpike,
    SpikesOfUnits,
    check_per_spike,
    order_spikes,
    per_spike_columns,
    spike_times,
)
from si_curation.exporters.nwb_time import Clock, check_times, choose_series, resolve_clocks
from si_curation.exporters.nwb_values import Ragged, lineage_columns, unit_columns
from si_curation.exporters.nwb_waveforms import Waveforms, best_channels, waveforms_in_volts

MODULE = "ecephys"


def add_units_to_nwbfile(
    sorting_analyzer: SortingAnalyzer,
    nwbfile: Any,
    *,
    t_start: float | Sequence[float] | None = None,
    timestamps: ArrayLike | Sequence[ArrayLike] | None = None,
    electrical_series_path: str | None = None,
    electrode_map: Mapping[Any, int] | None = None,
    write_waveforms: bool = True,
    per_spike: Sequence[str] = ("amplitudes",),
    units_name: str = "units",
    metadata: Mapping[str, Any] | str | Path | None = None,
) -> Any:
    """Add the units of an analyzer to an NWB file in memory, such as neuroconv makes.

    Nothing is added unless all can be. The table is the one that `export_to_nwb` writes.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    nwbfile : pynwb.NWBFile
        Its electrodes are used, and never changed; electrodes are added if it has none. Must not
        have a units table of that name yet.
    t_start, timestamps, electrical_series_path, electrode_map, write_waveforms, per_spike
        As of `export_to_nwb`; an ElectricalSeries is one of `nwbfile`.
    units_name : str
        "units", or the name of a table in ``processing/ecephys``.
    metadata : mapping, str or Path, optional
        As of `export_to_nwb`; its part "Ecephys" is used.

    Returns
    -------
    pynwb.misc.Units
        The table that was added.

    Raises
    ------
    MissingDataError, OutputExistsError, ParameterError
        As of `export_to_nwb`.

    Examples
    --------
    >>> from datetime import datetime, timezone
    >>> import pynwb
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> start = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
    >>> nwbfile = pynwb.NWBFile("a session", "0123", start)
    >>> units = add_units_to_nwbfile(analyzer, nwbfile, t_start=2.5)
    >>> units["unit_name"][-1], units["template_ids"][-1].tolist(), len(units["spike_times"][-1])
    ('13', [0, 1, 2], 1330)
    """
    return add_units(
        sorting_analyzer,
        nwbfile,
        t_start=t_start,
        timestamps=timestamps,
        electrical_series_path=electrical_series_path,
        electrode_map=electrode_map,
        write_waveforms=write_waveforms,
        per_spike=per_spike,
        units_name=units_name,
        metadata=read_metadata(metadata),
    ).table


@dataclass(frozen=True, eq=False)
class AddedUnits:
    """A table that was added, and what it is checked against when it is read back.

    Attributes
    ----------
    table : pynwb.misc.Units
    clocks : list of Clock
    spikes : SpikesOfUnits
    electrode_rows : array (n,) int64 or None
        Rows of the electrodes table, units one after the other.
    log_name : str
        Name of its curation log.
    """

    table: Any
    clocks: list[Clock]
    spikes: SpikesOfUnits
    electrode_rows: NDArray[np.int64] | None
    log_name: str


def add_units(
    analyzer: SortingAnalyzer,
    nwbfile: Any,
    *,
    t_start: Any = None,
    timestamps: Any = None,
    electrical_series_path: str | None = None,
    electrode_map: Mapping[Any, int] | None = None,
    write_waveforms: bool = True,
    per_spike: Sequence[str] = ("amplitudes",),
    units_name: str = "units",
    metadata: Mapping[str, Any],
    series: Sequence[Any] | None = None,
    generated_by: bool = True,
) -> AddedUnits:
    """Do the work of `add_units_to_nwbfile`.

    Parameters
    ----------
    series : sequence of Series, optional
        Of another file whose clock it is; those of `nwbfile` by default.
    generated_by : bool
        Say in the file that it was generated by this package, too.
    """
    pynwb = import_pynwb()
    if not isinstance(nwbfile, pynwb.NWBFile):
        raise ParameterError(f"nwbfile is a {type(nwbfile).__name__}, expected a pynwb.NWBFile")
    check_arguments(analyzer, t_start, timestamps, per_spike, units_name)
    check_name_is_free(nwbfile, units_name)
    series = electrical_series_of(nwbfile) if series is None else series
    clocks = resolve_clocks(
        analyzer,
        t_start=t_start,
        timestamps=timestamps,
        series=series,
        electrical_series_path=electrical_series_path,
    )
    channels = best_channels(analyzer)
    there = file_electrodes(nwbfile)
    rows = None
    if there is not None:
        sorted_one = choose_series(analyzer, series, electrical_series_path)
        rows = match_electrodes(analyzer, there, sorted_one, electrode_map)
    elif electrode_map is not None:
        raise ParameterError("electrode_map is given, and the file has no electrodes")
    else:
        plan_electrodes(analyzer, metadata["Ecephys"])
    spikes = order_spikes(analyzer)
    columns = unit_columns(analyzer, metadata["Ecephys"].get("UnitProperties", ()))
    lineage = lineage_columns(analyzer)
    values = per_spike_columns(analyzer, spikes, per_spike)
    waveforms = waveforms_in_volts(analyzer, channels) if write_waveforms else None
    times = spike_times(analyzer, spikes, clocks)
    if rows is None:
        rows = add_electrodes(analyzer, nwbfile, metadata["Ecephys"])
    table, region = _make_table(
        analyzer, nwbfile, units_name, clocks, spikes, times, channels, rows,
        waveforms, [*columns, *lineage], values,
    )  # fmt: skip
    _attach(nwbfile, table, units_name)
    log_name = add_provenance(analyzer, nwbfile, units_name, generated_by)
    return AddedUnits(table, clocks, spikes, region, log_name)


def check_arguments(
    analyzer: Any, t_start: Any, timestamps: Any, per_spike: Any, units_name: Any, *more: Callable
) -> None:
    """Refuse what is no analyzer, and arguments that cannot be, all at once.

    Raises
    ------
    ParameterError, MissingDataError
    """
    if not isinstance(analyzer, SortingAnalyzer):
        raise ParameterError(
            f"sorting_analyzer is a {type(analyzer).__name__}, expected a SortingAnalyzer"
        )
    if len(analyzer.unit_ids) == 0:
        raise ParameterError("the analyzer has no units")
    checks = [
        lambda: check_times(analyzer, t_start, timestamps),
        lambda: check_per_spike(per_spike),
        lambda: check_units_name(units_name),
        *more,
    ]
    faults: list[SiCurationError] = []
    for check in checks:
        try:
            check()
        except SiCurationError as fault:
            faults.append(fault)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise ParameterError("; ".join(map(str, faults)))


def check_units_name(units_name: Any) -> None:
    """Refuse a name that cannot be."""
    if (
        not isinstance(units_name, str)
        or not units_name.strip(" .")
        or set(units_name) & set("/:\\\x00")
        or units_name.startswith(LOG)
    ):
        raise ParameterError(
            f"units_name is {units_name!r}, expected a name without slashes and colons, and not "
            f"{LOG}"
        )


def check_name_is_free(nwbfile: Any, units_name: str) -> None:
    """Refuse a name that is there already: units are never overwritten."""
    if units_name == "units":
        if nwbfile.units is not None:
            raise OutputExistsError(
                f"the file has {len(nwbfile.units)} units already, which are never overwritten: give "
                "units_name= for a table beside them (in processing/ecephys)"
            )
    elif MODULE in nwbfile.processing and units_name in nwbfile.processing[MODULE].data_interfaces:
        raise OutputExistsError(
            f"processing/{MODULE}/{units_name} exists already: give another units_name="
        )


def _make_table(
    analyzer, nwbfile, name, clocks, spikes, times, channels, rows, waveforms, columns, values
) -> tuple[Any, NDArray[np.int64] | None]:
    from hdmf.common import DynamicTableRegion, VectorData
    from pynwb.misc import Units

    unit_ids = analyzer.unit_ids
    num_units = len(unit_ids)
    parts: list[Any] = [
        VectorData(
            name="unit_name",
            description="id of the unit in the sorting",
            data=[str(unit_id) for unit_id in unit_ids],
        )
    ]
    parts += _ragged("spike_times", "the spike times for each unit in seconds", times, spikes)
    intervals = np.array([[clock.start_s, clock.end_s] for clock in clocks])
    observed = Ragged(
        "obs_intervals",
        "the intervals in which the unit could be observed: the segments of the sorting",
        np.tile(intervals, (num_units, 1)),
        np.full(num_units, len(clocks)),
    )
    parts += _indexed(observed, observed.index)
    region = None
    if channels is not None:
        region = np.concatenate([rows[own] for own in channels]).astype(np.int64)
        index = np.cumsum([own.size for own in channels])
        if region.size:
            target = DynamicTableRegion(
                name="electrodes",
                description="the electrodes on which the unit is largest, by decreasing peak-to-peak "
                "amplitude of the template that most of its spikes came from",
                data=region,
                table=nwbfile.electrodes,
            )
            parts += [_index("electrodes", target, index), target]
        groups = nwbfile.electrodes["group"].data
        parts.append(
            VectorData(
                name="electrode_group",
                description="the electrode group of the best electrode of the unit",
                data=[groups[int(rows[i])] for i in _peak_channels(analyzer, channels)],
            )
        )
    if waveforms is not None:
        parts.append(
            VectorData(
                name="waveform_mean",
                description="the mean waveform of the unit, in volts, on its electrodes in their "
                "order; NaN where it has fewer electrodes than others",
                data=waveforms.mean_v,
            )
        )
    for column in columns:
        if isinstance(column, Column):
            parts.append(
                VectorData(name=column.name, description=column.description, data=column.data)
            )
        elif len(column.data):
            parts += _indexed(column, column.index)
    for one in values:
        parts += _ragged(one.name, one.description, one.data, spikes)
    table = Units(
        name=name,
        description=describe_units(analyzer),
        id=_ids(unit_ids),
        columns=parts,
        resolution=1.0 / clocks[0].rate,
        **_waveform_facts(analyzer, waveforms),
    )
    return table, region


def _waveform_facts(analyzer, waveforms: Waveforms | None) -> dict[str, float]:
    if waveforms is None:
        return {}
    return {
        "waveform_rate": float(analyzer.sampling_frequency),
        "waveform_time_before_peak_in_ms": waveforms.before_peak_ms,
    }


def _ids(unit_ids: NDArray) -> NDArray[np.int64]:
    """Ids of the rows: those of the units where they are whole numbers."""
    if unit_ids.dtype.kind in "iu":
        return unit_ids.astype(np.int64)
    return np.arange(len(unit_ids), dtype=np.int64)


def _ragged(name: str, description: str, data: NDArray, spikes: SpikesOfUnits) -> list[Any]:
    return _indexed(PerSpike(name, description, data), np.cumsum(spikes.counts))


def _indexed(one: Any, index: NDArray[np.int64]) -> list[Any]:
    from hdmf.common import VectorData

    target = VectorData(name=one.name, description=one.description, data=one.data)
    return [_index(one.name, target, index), target]


def _index(name: str, target: Any, index: NDArray[np.int64]) -> Any:
    from hdmf.common import VectorIndex

    size = int(index[-1]) if len(index) else 0
    dtype = np.uint32 if size < 2**32 else np.uint64
    return VectorIndex(name=f"{name}_index", data=np.asarray(index).astype(dtype), target=target)


def _peak_channels(analyzer, channels: list[NDArray[np.int64]]) -> list[int]:
    """Best channel of each unit; of units without one, the channel that the analyzer has."""
    main = analyzer.sorting.get_property("main_channel_id")
    out = []
    for unit, own in enumerate(channels):
        if own.size:
            out.append(int(own[0]))
            continue
        known = None if main is None else np.flatnonzero(analyzer.channel_ids == main[unit])
        out.append(int(known[0]) if known is not None and known.size else 0)
    return out


def _attach(nwbfile: Any, table: Any, units_name: str) -> None:
    if units_name == "units":
        nwbfile.units = table
        return
    ecephys_module(nwbfile).add(table)


def ecephys_module(nwbfile: Any) -> Any:
    """Give the processing module of this kind of data, made if it is not there."""
    if MODULE in nwbfile.processing:
        return nwbfile.processing[MODULE]
    return nwbfile.create_processing_module(
        name=MODULE, description="processed extracellular electrophysiology data"
    )
