"""The units table, made of whole columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.exporters.nwb.clock import Clock
from si_curation.exporters.nwb.columns import Column
from si_curation.exporters.nwb.provenance import describe_units
from si_curation.exporters.nwb.spikes import PerSpike, SpikesOfUnits
from si_curation.exporters.nwb.values import Ragged
from si_curation.exporters.nwb.waveforms import Waveforms


def make_table(
    analyzer: SortingAnalyzer,
    nwbfile: Any,
    name: str,
    clocks: Sequence[Clock],
    spikes: SpikesOfUnits,
    times: NDArray[np.float64],
    channels: list[NDArray[np.int64]] | None,
    rows: NDArray[np.int64],
    waveforms: Waveforms | None,
    columns: Sequence[Column | Ragged],
    values: Sequence[PerSpike],
) -> tuple[Any, NDArray[np.int64] | None]:
    """Make the units table of everything that was gathered.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    nwbfile : pynwb.NWBFile
        With the electrodes.
    name : str
    clocks : sequence of Clock
    spikes : SpikesOfUnits
    times : array (n_spikes,) float64
    channels : list of array
        Channel indices of each unit, best first.
    rows : array (n_channels,) int64
        Row of the electrodes table of each channel.
    waveforms : Waveforms or None
    columns : sequence of Column or Ragged
    values : sequence of PerSpike

    Returns
    -------
    table : pynwb.misc.Units
    region : array (n,) int64 or None
        Rows of the electrodes table, units one after the other.
    """
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
                description="the electrodes on which the unit is largest, by decreasing "
                "peak-to-peak amplitude of the template that most of its spikes came from",
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
