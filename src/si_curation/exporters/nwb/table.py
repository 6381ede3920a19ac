"""The units table, made of whole columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.exporters.nwb.columns import Column
from si_curation.exporters.nwb.provenance import describe_units
from si_curation.exporters.nwb.spikes import PerSpike, SpikesOfUnits, TimedSpikes
from si_curation.exporters.nwb.values import Ragged
from si_curation.exporters.nwb.waveforms import Waveforms
from si_curation.variables import NWB_UNITS, ChannelIndices


@dataclass(frozen=True, eq=False)
class UnitContent:
    """What is written of the units.

    Attributes
    ----------
    timed : TimedSpikes
    channels : list of array, or None
        Channel indices of each unit, best first.
    rows : array (n_channels,) int64
        Row of the electrodes table of each channel.
    waveforms : Waveforms or None
    columns : sequence of Column or Ragged
    values : sequence of PerSpike
    """

    timed: TimedSpikes
    channels: list[ChannelIndices] | None
    rows: NDArray[np.int64]
    waveforms: Waveforms | None
    columns: Sequence[Column | Ragged]
    values: Sequence[PerSpike]


def make_table(
    analyzer: SortingAnalyzer, nwbfile: Any, name: str, content: UnitContent
) -> tuple[Any, NDArray[np.int64] | None]:
    """Make the units table.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    nwbfile : pynwb.NWBFile
        With the electrodes.
    name : str
    content : UnitContent

    Returns
    -------
    table : pynwb.misc.Units
    region : array (n,) int64 or None
        Rows of the electrodes table, units one after the other.
    """
    from hdmf.common import VectorData
    from pynwb.misc import Units

    unit_ids = analyzer.unit_ids
    num_units = len(unit_ids)
    parts: list[Any] = [
        VectorData(
            name="unit_name",
            description=NWB_UNITS["unit_name"].meaning,
            data=[str(unit_id) for unit_id in unit_ids],
        )
    ]
    spikes, intervals = content.timed.spikes, content.timed.observed
    parts += _ragged("spike_times", NWB_UNITS["spike_times"].meaning, content.timed.times, spikes)
    observed = Ragged(
        "obs_intervals",
        NWB_UNITS["obs_intervals"].meaning,
        np.tile(intervals, (num_units, 1)),
        np.full(num_units, len(intervals)),
    )
    if len(intervals):
        parts += _indexed(observed, observed.index)
    region = None
    if content.channels is not None:
        region = np.concatenate([content.rows[own] for own in content.channels]).astype(np.int64)
        parts += _electrode_columns(analyzer, nwbfile, content.channels, content.rows, region)
    if content.waveforms is not None:
        parts.append(
            VectorData(
                name="waveform_mean",
                description=NWB_UNITS["waveform_mean"].meaning,
                data=content.waveforms.mean_v,
            )
        )
    for column in content.columns:
        if isinstance(column, Column):
            parts.append(
                VectorData(name=column.name, description=column.description, data=column.data)
            )
        elif len(column.data):
            parts += _indexed(column, column.index)
    for one in content.values:
        parts += _ragged(one.name, one.description, one.data, spikes)
    table = Units(
        name=name,
        description=describe_units(analyzer),
        id=_ids(unit_ids),
        columns=parts,
        resolution=1.0 / _rate(analyzer, content.timed),
        **_waveform_facts(analyzer, content.waveforms),
    )
    return table, region


def _rate(analyzer: SortingAnalyzer, timed: TimedSpikes) -> float:
    return timed.clocks[0].rate if timed.clocks else float(analyzer.sampling_frequency)


def _electrode_columns(
    analyzer: SortingAnalyzer,
    nwbfile: Any,
    channels: list[ChannelIndices],
    rows: NDArray[np.int64],
    region: NDArray[np.int64],
) -> list[Any]:
    from hdmf.common import DynamicTableRegion, VectorData

    parts = []
    index = np.cumsum([own.size for own in channels])
    if region.size:
        target = DynamicTableRegion(
            name="electrodes",
            description=NWB_UNITS["electrodes"].meaning,
            data=region,
            table=nwbfile.electrodes,
        )
        parts += [_index("electrodes", target, index), target]
    groups = nwbfile.electrodes["group"].data
    parts.append(
        VectorData(
            name="electrode_group",
            description=NWB_UNITS["electrode_group"].meaning,
            data=[groups[int(rows[i])] for i in _peak_channels(analyzer, channels)],
        )
    )
    return parts


def _waveform_facts(analyzer: SortingAnalyzer, waveforms: Waveforms | None) -> dict[str, float]:
    if waveforms is None:
        return {}
    return {
        "waveform_rate": float(analyzer.sampling_frequency),
        "waveform_time_before_peak_in_ms": waveforms.before_peak_ms,
    }


def _ids(unit_ids: NDArray) -> NDArray[np.int64]:
    """Return the ids of the rows: those of the units where they are whole numbers."""
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


def _peak_channels(analyzer: SortingAnalyzer, channels: list[ChannelIndices]) -> list[int]:
    """Return the best channel of each unit; without one, the main channel of the analyzer."""
    main = analyzer.sorting.get_property("main_channel_id")
    out = []
    for unit, own in enumerate(channels):
        if own.size:
            out.append(int(own[0]))
            continue
        known = None if main is None else np.flatnonzero(analyzer.channel_ids == main[unit])
        out.append(int(known[0]) if known is not None and known.size else 0)
    return out
