"""The same spikes in two sortings of a recording: close in time, in units that share many.

Where neurons fire often, a spike of one sorting is close to several of the other by chance. Which
of them it is, the units say: a unit and its counterpart share most of their spikes, others few.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import blocks, njit, num_threads, read_only, run_blocks

_SPIKES_FOR_LAG = 1 << 20
_SPIKES_PER_BLOCK = 1 << 18
_MIN_COINCIDENCES = 5
_SD_OVER_CHANCE = 5.0
_MIN_OVERLAP = 0.02


class ResortedSpikes(NamedTuple):
    """Spikes of one sorting in another one of the same recording.

    Attributes
    ----------
    partner : array (n_spikes of the new sorting,) int64
        The spike of the old sorting that each spike of the new one is; -1 for none. None twice.
    lag : int
        Samples by which the spikes of the new sorting are later.
    """

    partner: NDArray[np.int64]
    lag: int


@njit
def _count_lags(
    samples: NDArray[np.int64], others: NDArray[np.int64], counts: NDArray[np.int64]
) -> None:
    # samples, others ascending; counts (2 * reach + 1,): lag from -reach to reach
    reach = counts.size // 2
    first = 0
    for i in range(samples.size):
        while first < others.size and others[first] < samples[i] - reach:
            first += 1
        j = first
        while j < others.size and others[j] <= samples[i] + reach:
            counts[others[j] - samples[i] + reach] += 1
            j += 1


@njit
def _count_coincidences(
    samples: NDArray[np.int64],
    units: NDArray[np.integer],
    others: NDArray[np.int64],
    other_units: NDArray[np.integer],
    window: int,
    counts: NDArray[np.int32],  # (num_units, num_other_units)
) -> None:
    first = np.searchsorted(others, samples[0] - window) if samples.size else 0
    for i in range(samples.size):
        while first < others.size and others[first] < samples[i] - window:
            first += 1
        j = first
        while j < others.size and others[j] <= samples[i] + window:
            counts[units[i], other_units[j]] += 1
            j += 1


@njit
def _choose_best(
    samples: NDArray[np.int64],
    units: NDArray[np.integer],
    others: NDArray[np.int64],
    other_units: NDArray[np.integer],
    window: int,
    overlap: NDArray[np.float32],  # (num_units, num_other_units)
    best: NDArray[np.int64],  # (n,)
) -> None:
    # of the spikes within the window that of the unit with the largest overlap, then the closest
    first = np.searchsorted(others, samples[0] - window) if samples.size else 0
    for i in range(samples.size):
        while first < others.size and others[first] < samples[i] - window:
            first += 1
        chosen, largest, distance = -1, np.float32(0), window + 1
        j = first
        while j < others.size and others[j] <= samples[i] + window:
            value = overlap[units[i], other_units[j]]
            away = abs(others[j] - samples[i])
            if value > largest or (value == largest and value > 0 and away < distance):
                chosen, largest, distance = j, value, away
            j += 1
        best[i] = chosen


def find_lag(
    samples: NDArray[np.int64], new_samples: NDArray[np.int64], reach: int, window: int
) -> int:
    """Return by how many samples the spikes of a sorting are later than those of another one.

    Parameters
    ----------
    samples, new_samples : array (n,), (m,) int64
        Ascending.
    reach : int
        Largest lag that is looked for, in both directions.
    window : int
        How far lags of single spikes are from it.

    Returns
    -------
    int
        The mean lag where most pairs of spikes have theirs, chance taken off; 0 where none stands
        out.

    Examples
    --------
    >>> samples = np.cumsum(np.random.default_rng(0).integers(1, 500, 1000))
    >>> find_lag(samples, samples + 4, 10, 3)
    4
    """
    width = 2 * window + 1
    counts = np.zeros(2 * (reach + window) + 1, dtype=np.int64)
    start = max(0, samples.size - _SPIKES_FOR_LAG) // 2
    _count_lags(samples[start : start + _SPIKES_FOR_LAG], new_samples, counts)
    near = np.convolve(counts, np.ones(width), mode="valid")  # by lag from -reach to reach
    chance = float(np.median(counts)) * width
    first = int(near.argmax())
    if near[first] < chance + _SD_OVER_CHANCE * np.sqrt(chance) + _MIN_COINCIDENCES:
        return 0
    weights = np.maximum(counts[first : first + width] - chance / width, 0)
    return round(float(np.average(np.arange(width), weights=weights))) + first - window - reach


def overlaps_of_units(
    samples: NDArray[np.int64],
    units: NDArray[np.integer],
    num_units: int,
    new_samples: NDArray[np.int64],
    new_units: NDArray[np.integer],
    num_new_units: int,
    window: int,
) -> NDArray[np.float32]:
    """Return how much of the smaller of each two units of two sortings is in both, beyond chance.

    Parameters
    ----------
    samples, new_samples : array (n,), (m,) int64
        Ascending.
    units, new_units : array (n,), (m,) integer
    num_units, num_new_units : int
    window : int
        Largest distance of two spikes that are one, in samples.

    Returns
    -------
    array (num_units, num_new_units) float32
        0 where the coincidences are no more than units of their rates have by chance.
    """
    pieces = blocks(samples.size, _SPIKES_PER_BLOCK)
    total = np.zeros((num_units, num_new_units), dtype=np.int32)

    def count(some: list[slice]) -> NDArray[np.int32]:
        counts = np.zeros_like(total)
        for piece in some:
            _count_coincidences(
                samples[piece], units[piece], new_samples, new_units, window, counts
            )
        return counts

    for counts in run_blocks(count, [pieces[i :: num_threads()] for i in range(num_threads())]):
        total += counts
    if samples.size == 0 or new_samples.size == 0:
        return total.astype(np.float32)
    size = np.bincount(units, minlength=num_units).astype(np.float64)
    new_size = np.bincount(new_units, minlength=num_new_units).astype(np.float64)
    first = min(samples[0], new_samples[0])
    duration = max(1, int(max(samples[-1], new_samples[-1]) - first))
    chance = size[:, None] * new_size * min(1.0, (2 * window + 1) / duration)
    smaller = np.maximum(np.minimum(size[:, None], new_size), 1)
    overlap = (total - chance) / smaller
    least = chance + _SD_OVER_CHANCE * np.sqrt(chance) + _MIN_COINCIDENCES
    # units of few spikes can have all of them in common, and yet not be beyond this
    counts_as_one = (total >= np.minimum(least, smaller)) & (overlap >= _MIN_OVERLAP)
    return np.where(counts_as_one, np.minimum(overlap, 1), 0).astype(np.float32)


def match_resorted_spikes(
    samples: NDArray[np.int64],
    units: NDArray[np.integer],
    num_units: int,
    new_samples: NDArray[np.int64],
    new_units: NDArray[np.integer],
    num_new_units: int,
    window: int,
    reach: int,
) -> ResortedSpikes:
    """Return which spike of an old sorting each spike of a new one is.

    Two spikes are one where each is the best of the other: within the window, of the unit that
    shares most with its own, then the closest.

    Parameters
    ----------
    samples, new_samples : array (n,), (m,) int64
        Ascending.
    units, new_units : array (n,), (m,) integer
    num_units, num_new_units : int
    window : int
        Largest distance in samples, after the lag between the sortings was taken off.
    reach : int
        Largest lag that is looked for.

    Returns
    -------
    ResortedSpikes

    Examples
    --------
    >>> samples, units = np.arange(0, 9000, 30), np.arange(300) % 3
    >>> found = match_resorted_spikes(
    ...     samples, units, 3, samples[::2] + 2, units[::2], 3, window=3, reach=10
    ... )
    >>> found.lag, np.array_equal(found.partner, np.arange(0, 300, 2))
    (2, True)
    """
    lag = find_lag(samples, new_samples, reach, window)
    samples, moved = read_only(samples), read_only(new_samples - lag)
    units, new_units = read_only(units), read_only(new_units)
    overlap = overlaps_of_units(samples, units, num_units, moved, new_units, num_new_units, window)
    best = np.full(samples.size, -1, dtype=np.int64)
    best_of_new = np.full(moved.size, -1, dtype=np.int64)
    turned = np.ascontiguousarray(overlap.T)
    run_blocks(
        lambda b: _choose_best(samples[b], units[b], moved, new_units, window, overlap, best[b]),
        blocks(samples.size, _SPIKES_PER_BLOCK),
    )
    run_blocks(
        lambda b: _choose_best(
            moved[b], new_units[b], samples, units, window, turned, best_of_new[b]
        ),
        blocks(moved.size, _SPIKES_PER_BLOCK),
    )
    found = np.flatnonzero(best_of_new >= 0)
    mutual = best[best_of_new[found]] == found
    partner = np.full(moved.size, -1, dtype=np.int64)
    partner[found[mutual]] = best_of_new[found[mutual]]
    return ResortedSpikes(partner, lag)
