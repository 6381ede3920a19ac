"""Samples of spikes to seconds and back, one unit after the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import blocks, njit, run_blocks
from si_curation.kernels.spikes_by_unit import UnitOrder, numbered_blocks

_SPIKES_PER_BLOCK = 1 << 17


@njit
def _times_by_unit(
    sample: NDArray[np.int64],  # (n,)
    segment: NDArray[np.int64],  # (n,)
    unit: NDArray[np.int64],  # (n,)
    start_s: NDArray[np.float64],  # (n_segments,)
    rate: NDArray[np.float64],  # (n_segments,)
    next_place: NDArray[np.int64],  # (n_units,)
    out: NDArray[np.float64],  # (n_spikes,)
) -> None:
    for i in range(unit.size):
        own = segment[i]
        out[next_place[unit[i]]] = sample[i] / rate[own] + start_s[own]
        next_place[unit[i]] += 1


def times_by_unit(
    spikes: NDArray[np.void],
    order: UnitOrder,
    start_s: NDArray[np.float64],
    rate: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return ``start_s + sample / rate`` of all spikes, one unit after the other.

    Spikes are read as they come, and the times of each unit are written side by side.

    Parameters
    ----------
    spikes : array (n_spikes,) with fields sample_index, unit_index and segment_index
    order : UnitOrder
        Of these spikes.
    start_s, rate : array (n_segments,) float64

    Returns
    -------
    array (n_spikes,) float64

    Examples
    --------
    >>> from si_curation.kernels.spike_vector import SPIKE_DTYPE
    >>> from si_curation.kernels.spikes_by_unit import order_of_units
    >>> spikes = np.array([(2, 1, 0), (8, 0, 0)], dtype=SPIKE_DTYPE)
    >>> order = order_of_units(spikes["unit_index"], 2)
    >>> times_by_unit(spikes, order, np.array([10.0]), np.array([4.0]))
    array([12. , 10.5])
    """
    sample, segment, unit = (spikes[f"{name}_index"] for name in ("sample", "segment", "unit"))
    out, next_place = np.empty(unit.size, dtype=np.float64), order.next_place.copy()

    def fill(numbered: tuple[int, slice]) -> None:
        number, b = numbered
        places = next_place[number]
        _times_by_unit(sample[b], segment[b], unit[b], start_s, rate, places, out)

    run_blocks(fill, numbered_blocks(unit.size))
    return out


@njit
def _elsewhere_by_unit(
    sample: NDArray[np.int64],  # (n,)
    segment: NDArray[np.int64],  # (n,)
    unit: NDArray[np.int64],  # (n,)
    times: NDArray[np.float64],  # (n_spikes,)
    start_s: NDArray[np.float64],  # (n_segments,)
    rate: NDArray[np.float64],  # (n_segments,)
    next_place: NDArray[np.int64],  # (n_units,)
) -> tuple[int, int]:
    count, first = 0, -1
    for i in range(unit.size):
        own, place = segment[i], next_place[unit[i]]
        next_place[unit[i]] += 1
        if np.rint((times[place] - start_s[own]) * rate[own]) != sample[i]:  # NaN, too
            count += 1
            if first < 0 or place < first:
                first = place
    return count, first


def count_elsewhere_by_unit(
    spikes: NDArray[np.void],
    order: UnitOrder,
    times: NDArray[np.float64],
    start_s: NDArray[np.float64],
    rate: NDArray[np.float64],
) -> tuple[int, int]:
    """Count the times whose nearest sample is not that of their spike.

    Parameters
    ----------
    spikes, order, start_s, rate
        As of `times_by_unit`.
    times : array (n_spikes,) float64
        Of all spikes, one unit after the other.

    Returns
    -------
    count : int
    first : int
        Position of the first of them in `times`; -1 where there is none.

    Examples
    --------
    >>> from si_curation.kernels.spike_vector import SPIKE_DTYPE
    >>> from si_curation.kernels.spikes_by_unit import order_of_units
    >>> spikes = np.array([(2, 1, 0), (8, 0, 0)], dtype=SPIKE_DTYPE)
    >>> order, times = order_of_units(spikes["unit_index"], 2), np.array([12.2, 10.6])
    >>> count_elsewhere_by_unit(spikes, order, times, np.array([10.0]), np.array([4.0]))
    (1, 0)
    """
    sample, segment, unit = (spikes[f"{name}_index"] for name in ("sample", "segment", "unit"))
    next_place = order.next_place.copy()

    def count(numbered: tuple[int, slice]) -> tuple[int, int]:
        number, b = numbered
        places = next_place[number]
        return _elsewhere_by_unit(sample[b], segment[b], unit[b], times, start_s, rate, places)

    found = run_blocks(count, numbered_blocks(unit.size))
    first = min((int(place) for number, place in found if number), default=-1)
    return sum(int(number) for number, _ in found), first


@njit
def _ascends(
    sample: NDArray[np.int64],  # (n,)
    segment: NDArray[np.int64],  # (n,)
    start: int,
    stop: int,
) -> bool:
    for i in range(max(start, 1), stop):
        if segment[i] < segment[i - 1]:
            return False
        if segment[i] == segment[i - 1] and sample[i] < sample[i - 1]:
            return False
    return True


def is_ascending(spikes: NDArray[np.void]) -> bool:
    """Return whether spikes are in the order of segments, and of samples within each.

    Examples
    --------
    >>> spikes = np.array([(8, 0), (2, 1)], [("sample_index", "i8"), ("segment_index", "i8")])
    >>> is_ascending(spikes), is_ascending(spikes[::-1])
    (True, False)
    """
    sample, segment = spikes["sample_index"], spikes["segment_index"]
    pieces = blocks(sample.size, _SPIKES_PER_BLOCK)
    return all(run_blocks(lambda piece: _ascends(sample, segment, piece.start, piece.stop), pieces))
