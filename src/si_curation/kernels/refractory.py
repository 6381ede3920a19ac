"""Pairs of spikes of one unit at short lags, and estimates of its refractory period.

Pairs are counted in one pass over the spikes. Lags are whole samples: a pair is counted at the
exact difference of its two sample indices, and in coarse bins of about one millisecond for longer
lags. Spikes of different segments make no pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from si_curation.kernels.parallel import blocks, njit, run_blocks
from si_curation.kernels.poisson import poisson_at_most, poisson_interval
from si_curation.kernels.spikes_by_unit import order_of_units, values_by_unit

_UNITS_PER_BLOCK = 8

# candidates of the refractory period; the default is that of SpikeInterface's isi_threshold_ms
CANDIDATE_STEP_MS, MAX_CANDIDATE_MS = 0.25, 5.0
MIN_WINDOW_MS = 0.5  # from the end of the censored period to a candidate
DEFAULT_REFRACTORY_PERIOD_MS = 1.5

KILOSORT_NUM_BINS = 500  # bins of 1 ms on each side, of which the last is not used
KILOSORT_MAX_REFRACTORY_BINS = 10
_KILOSORT_TINY = 1e-10


class ShortLagCounts(NamedTuple):
    """Counts of pairs of spikes of the same unit; a pair is counted once, at its lag >= 0.

    Attributes
    ----------
    all_pairs : array (n_units, max_lag + 1) int64
        Pairs of any two spikes, by lag in samples.
    adjacent_pairs : array (n_units, max_lag + 1) int64
        Pairs of consecutive spikes (inter-spike intervals), by lag in samples.
    binned_pairs : array (n_units, n_bins) int64
        Pairs of any two spikes, by the bin of their lag.
    """

    all_pairs: NDArray[np.int64]
    adjacent_pairs: NDArray[np.int64]
    binned_pairs: NDArray[np.int64]


@njit
def is_ascending(sample_index: NDArray[np.integer], segment_index: NDArray[np.integer]) -> bool:
    """Return whether spikes are in the order of segments, and of time within each."""
    for i in range(1, sample_index.size):
        segment, before = segment_index[i], segment_index[i - 1]
        if segment < before or (segment == before and sample_index[i] < sample_index[i - 1]):
            return False
    return True


@njit
def _count(
    all_times: NDArray[np.int64],  # (n,) of one unit after the other, ascending within each
    start: NDArray[np.int64],  # (n_units + 1,)
    bin_of_lag: NDArray[np.int32],  # (n_lags,)
    all_pairs: NDArray[np.int64],  # (n_units, max_lag + 1)
    adjacent_pairs: NDArray[np.int64],  # (n_units, max_lag + 1)
    binned_pairs: NDArray[np.int64],  # (n_units, n_bins)
) -> None:
    max_lag = all_pairs.shape[1] - 1
    for unit in range(len(all_pairs)):
        times = all_times[start[unit] : start[unit + 1]]
        # the few short lags apart from the others: a loop of one branch is guessed more often
        for i in range(times.size):
            time = times[i]
            j = i + 1
            if j < times.size and times[j] - time <= max_lag:
                adjacent_pairs[unit, times[j] - time] += 1
                while j < times.size and times[j] - time <= max_lag:
                    all_pairs[unit, times[j] - time] += 1
                    j += 1
            j = i + 1
            while j < times.size and times[j] - time < bin_of_lag.size:
                binned_pairs[unit, bin_of_lag[times[j] - time]] += 1
                j += 1


def count_short_lags(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer],
    num_units: int,
    max_lag: int,
    bin_of_lag: NDArray[np.integer] | None = None,
    trains: Trains | None = None,
) -> ShortLagCounts:
    """Count the pairs of spikes of each unit at each short lag.

    Parameters
    ----------
    sample_index : array (n_spikes,) integer
        Need not be sorted; may be negative.
    unit_index : array (n_spikes,) integer, values in [0, num_units)
    segment_index : array (n_spikes,) integer, values >= 0
    num_units : int
    max_lag : int
        Longest lag in samples, inclusive, that is counted sample by sample.
    bin_of_lag : array (num_lags,) integer, optional
        Coarse bin, >= 0, of each lag in samples, starting with lag 0.
    trains : Trains, optional
        What `trains_of_units` returns for these spikes and the longest lag.

    Returns
    -------
    ShortLagCounts

    Examples
    --------
    >>> times, units, segments = np.array([0, 1, 3]), np.array([0, 0, 0]), np.array([0, 0, 0])
    >>> counts = count_short_lags(times, units, segments, num_units=1, max_lag=3)
    >>> counts.all_pairs
    array([[0, 1, 1, 1]])
    >>> counts.adjacent_pairs
    array([[0, 1, 1, 0]])
    """
    table = np.zeros(0, dtype=np.int32) if bin_of_lag is None else bin_of_lag.astype(np.int32)
    num_bins = int(table.max()) + 1 if table.size else 0
    counts = ShortLagCounts(
        np.zeros((num_units, max_lag + 1), dtype=np.int64),
        np.zeros((num_units, max_lag + 1), dtype=np.int64),
        np.zeros((num_units, num_bins), dtype=np.int64),
    )
    if sample_index.size == 0:
        return counts
    longest = max(max_lag, table.size - 1)
    of_spikes = sample_index, unit_index, segment_index, num_units
    known = trains_of_units(*of_spikes, longest) if trains is None else trains

    def count(piece: slice) -> None:
        start = known.start[piece.start : piece.stop + 1]
        _count(known.times, start, table, *(array[piece] for array in counts))

    run_blocks(count, blocks(num_units, _UNITS_PER_BLOCK))
    return counts


class Trains(NamedTuple):
    """The spikes of each unit, one unit after the other.

    Attributes
    ----------
    times : array (n_spikes,) int64
        In samples, ascending within each unit.
    start : array (n_units + 1,) int64
        Where each unit starts.
    """

    times: NDArray[np.int64]
    start: NDArray[np.int64]

    def of_unit(self, unit: int) -> NDArray[np.int64]:
        """Return the times of one unit."""
        return self.times[self.start[unit] : self.start[unit + 1]]


def trains_of_units(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer],
    num_units: int,
    longest: int,
) -> Trains:
    """Return the spikes of each unit; segments lie further apart than the longest lag.

    Parameters
    ----------
    sample_index, unit_index, segment_index, num_units
        As of `count_short_lags`.
    longest : int
        In samples.

    Returns
    -------
    Trains

    Examples
    --------
    >>> times, units, segments = np.array([3, 0, 1]), np.array([1, 0, 1]), np.array([0, 0, 1])
    >>> trains_of_units(times, units, segments, 2, longest=5).times
    array([ 0,  3, 10])
    """
    if not is_ascending(sample_index, segment_index):
        order = np.lexsort((sample_index, segment_index))
        sample_index, unit_index = sample_index[order], unit_index[order]
        segment_index = segment_index[order]
    times = sample_index.astype(np.int64, copy=False)
    if segment_index.size and segment_index[-1] > 0:
        length = int(sample_index.max()) - int(sample_index.min()) + longest + 1
        times = times + segment_index.astype(np.int64) * length
    places = order_of_units(unit_index, num_units)
    return Trains(values_by_unit(places, unit_index, times), places.start)


@njit
def _count_between(
    all_times: NDArray[np.int64],  # (n,) of one unit after the other, ascending within each
    start: NDArray[np.int64],  # (n_units + 1,)
    first: int,
    stop: int,
    out: NDArray[np.int64],  # (n_units,)
) -> None:
    for unit in range(out.size):
        out[unit] = _between(all_times[start[unit] : start[unit + 1]], first, stop)


@njit
def _between(times: NDArray[np.int64], first: int, stop: int) -> int:
    # times (n,) of one unit, ascending: pairs closer than stop, less those closer than first. Each
    # walk moves either end by one, without a branch that the processor would have to guess
    n = times.size
    near_a, near_b = 0, 0
    low_a, low_b, high_a, high_b = 0, 0, 0, 0
    while high_a < n and high_b < n:
        is_near = np.int64(times[high_a] - times[low_a] < first)
        near_a += (high_a - low_a) * is_near
        high_a += is_near
        low_a += 1 - is_near
        is_near = np.int64(times[high_b] - times[low_b] < stop)
        near_b += (high_b - low_b) * is_near
        high_b += is_near
        low_b += 1 - is_near
    while high_a < n:
        is_near = np.int64(times[high_a] - times[low_a] < first)
        near_a += (high_a - low_a) * is_near
        high_a += is_near
        low_a += 1 - is_near
    while high_b < n:
        is_near = np.int64(times[high_b] - times[low_b] < stop)
        near_b += (high_b - low_b) * is_near
        high_b += is_near
        low_b += 1 - is_near
    return near_b - near_a


def count_pairs_between(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer],
    num_units: int,
    first: int,
    stop: int,
    trains: Trains | None = None,
) -> NDArray[np.int64]:
    """Count the pairs of spikes of each unit at lags from `first` to just below `stop` samples.

    Parameters
    ----------
    sample_index, unit_index, segment_index, num_units
        As of `count_short_lags`.
    first, stop : int
        At least 1, ascending.
    trains : Trains, optional
        What `trains_of_units` returns for these spikes and the longest lag.

    Returns
    -------
    array (n_units,) int64

    Examples
    --------
    >>> times, zeros = np.array([0, 10, 15, 30]), np.zeros(4, dtype=int)
    >>> count_pairs_between(times, zeros, zeros, 1, first=10, stop=20)
    array([3])
    """
    found = np.zeros(num_units, dtype=np.int64)
    if sample_index.size == 0:
        return found
    of_spikes = sample_index, unit_index, segment_index, num_units
    known = trains_of_units(*of_spikes, stop) if trains is None else trains

    def count(piece: slice) -> None:
        start = known.start[piece.start : piece.stop + 1]
        _count_between(known.times, start, first, stop, found[piece])

    run_blocks(count, blocks(num_units, _UNITS_PER_BLOCK))
    return found


class KilosortEstimate(NamedTuple):
    """Kilosort's refractoriness of an autocorrelogram: arrays (n_units,) float64.

    Attributes
    ----------
    r12 : array
        Pairs at lags up to 1, 2, ... 10 ms per pair in the shoulders, the smallest of the ten; NaN
        where the shoulders are empty.
    q12 : array
        Smallest probability of so few pairs, were there no refractory period; NaN likewise.
    expected_where_zero : array
        Where `r12` is 0: pairs expected in the longest window that holds none. Else NaN.
    """

    r12: NDArray[np.float64]
    q12: NDArray[np.float64]
    expected_where_zero: NDArray[np.float64]


def kilosort_bin_of_lag(sampling_frequency: float) -> NDArray[np.int64]:
    """Return the bin of 1 ms, centred on whole milliseconds, of each lag in samples from 0 on.

    Parameters
    ----------
    sampling_frequency : float

    Returns
    -------
    array (n_lags,) int64
        ``round(lag / 1 ms)``, halves to the even bin; lags of bins 0 to 499.

    Examples
    --------
    >>> kilosort_bin_of_lag(2000.0)[:6]
    array([0, 0, 1, 2, 2, 2])
    """
    lags = np.arange(int(np.ceil(KILOSORT_NUM_BINS * sampling_frequency / 1000.0)) + 1)
    bins = np.rint(lags * 1000.0 / sampling_frequency).astype(np.int64)
    return bins[bins < KILOSORT_NUM_BINS]


def kilosort_refractoriness(binned_pairs: NDArray[np.integer]) -> KilosortEstimate:
    """Return Kilosort's R12 and Q12 of autocorrelograms.

    Parameters
    ----------
    binned_pairs : array (n_units, 500) integer
        Pairs of spikes by lag in bins of 1 ms centred on 0, 1, ... 499 ms, each pair once.

    Returns
    -------
    KilosortEstimate

    Notes
    -----
    ``CCG_metrics`` of Kilosort 4 (``kilosort/CCG.py``; ``ccg.m`` of Kilosort 2 and 3, where the
    two names stand the other way round). Let ``K[i]`` be the pairs in bin ``i`` and
    ``S[i] = K[1] + ... + K[i]``. The shoulder ``Q`` is the largest of the mean of ``K`` over lags
    of 10 to 49 ms, of 11 to 50 ms, and over -499 to -251 and 250 to 499 ms. For ``i`` = 1 to 10:
    ``R12 = min S[i] / (i Q)``, and ``Q12 = min (1 + erf((S[i] - i Q) / sqrt(2 i Q))) / 2``, the
    normal approximation of the probability of at most ``S[i]`` pairs. Kilosort 4 writes
    ``100 R12`` as ContamPct, and 0 for units of up to 10 spikes.

    Examples
    --------
    >>> flat = np.full((1, 500), 100)
    >>> dip = flat.copy()
    >>> dip[0, :4] = 5
    >>> kilosort_refractoriness(np.concatenate([flat, dip])).r12
    array([1.  , 0.05])
    """
    pairs = np.asarray(binned_pairs, dtype=np.float64)
    far = (pairs[:, 251:500].sum(axis=1) + pairs[:, 250:500].sum(axis=1)) / (249 + 250)
    shoulder = np.maximum(pairs[:, 11:51].mean(axis=1), pairs[:, 10:50].mean(axis=1))
    shoulder = np.maximum(shoulder, far)
    shoulder = np.where(shoulder > 0, shoulder, np.nan)
    widths = np.arange(1, KILOSORT_MAX_REFRACTORY_BINS + 1)
    sums = np.cumsum(pairs[:, 1 : widths.size + 1], axis=1)
    chance = shoulder[:, None] * widths
    r12 = (sums / chance).min(axis=1)
    z = (sums - chance) / np.sqrt(_KILOSORT_TINY + 2.0 * chance)
    empty = np.where(sums == 0, chance, 0.0).max(axis=1)
    return KilosortEstimate(
        r12, (0.5 * (1.0 + special.erf(z))).min(axis=1), np.where(r12 == 0, empty, np.nan)
    )


class RefractoryPeriods(NamedTuple):
    """Refractory periods of autocorrelograms.

    Attributes
    ----------
    samples : array (n_units,) int64
        The default of 1.5 ms where the spikes are too few, or too contaminated, to estimate it.
    is_estimated : array (n_units,) bool
        False where it is the default.
    """

    samples: NDArray[np.int64]
    is_estimated: NDArray[np.bool_]


def estimate_refractory_periods(
    pairs_at_lag: NDArray[np.integer],
    plateau: NDArray[np.float64],
    censored: int,
    sampling_frequency: float,
) -> RefractoryPeriods:
    """Estimate the refractory period of each autocorrelogram, or take the default.

    Parameters
    ----------
    pairs_at_lag : array (n_units, n_lags) integer
        Pairs of spikes by lag in samples from 0 to at least 5 ms, 0 at lags that do not count.
    plateau : array (n_units,) float64
        Pairs per sample of lag where there is no refractoriness.
    censored : int
        Lags, in samples, at which the sorter finds no spikes.
    sampling_frequency : float

    Returns
    -------
    RefractoryPeriods

    See Also
    --------
    choose_candidate : how one of the candidates, 0.5 to 5 ms in steps of 0.25 ms, is chosen

    Examples
    --------
    >>> pairs = np.full((2, 101), 10)
    >>> pairs[0, :50] = 0
    >>> estimate_refractory_periods(pairs, np.array([10.0, 10.0]), 0, 20_000.0)
    RefractoryPeriods(samples=array([45, 30]), is_estimated=array([ True, False]))
    """
    fs = sampling_frequency
    steps_ms = np.arange(CANDIDATE_STEP_MS, MAX_CANDIDATE_MS + 1e-9, CANDIDATE_STEP_MS)
    # multiplied as SpikeInterface does, so that halves round alike
    candidates = np.unique(np.rint(steps_ms * fs * 1e-3).astype(np.int64))
    shortest = max(censored + MIN_WINDOW_MS * fs * 1e-3, censored + 1)
    candidates = candidates[candidates >= shortest]
    default = max(round(DEFAULT_REFRACTORY_PERIOD_MS * fs * 1e-3), censored + 1)
    num_units = len(pairs_at_lag)
    if candidates.size == 0:
        return RefractoryPeriods(np.full(num_units, default), np.zeros(num_units, dtype=bool))
    violations = np.cumsum(pairs_at_lag, axis=1)[:, candidates]
    chosen = choose_candidate(violations, (candidates - censored).astype(np.float64), plateau)
    return RefractoryPeriods(np.where(chosen >= 0, candidates[chosen], default), chosen >= 0)


def choose_candidate(
    violations: NDArray[np.integer],
    windows: NDArray[np.float64],
    plateau: NDArray[np.float64],
    confidence_level: float = 0.999,
    significance: float = 1e-3,
) -> NDArray[np.int64]:
    """Choose the candidate refractory period that bounds the rate of violations most tightly.

    A period that is too short leaves few expected pairs and a wide interval; one that is too long
    counts the neuron's own intervals. In between the upper end of the confidence interval of
    violations per time is lowest, and that candidate is taken. None is taken where the pairs within
    it are not significantly fewer than the plateau of the autocorrelogram lets expect.

    Parameters
    ----------
    violations : array (n_units, n_candidates) integer
        Pairs of spikes within each candidate.
    windows : array (n_candidates,) float64
        Length of each candidate, less the censored period; positive.
    plateau : array (n_units,) float64
        Pairs per time (the unit of `windows`) at lags where there is no refractoriness.
    confidence_level : float in (0, 1)
        The higher, the less the choice follows chance gaps at short lags (which make
        contamination look small), and the more of a gradual recovery it takes in.
    significance : float
        Largest probability of so few pairs under the plateau.

    Returns
    -------
    array (n_units,) int64
        Index of the candidate; -1: too few or too contaminated spikes to choose one.

    Notes
    -----
    The rule is this package's. Like the sliding refractory period it lets the data choose among
    candidates by what they can rule out.

    Examples
    --------
    >>> violations = np.array([[0, 0, 0, 40], [1, 2, 3, 4]])
    >>> windows = np.array([0.5, 1.0, 1.5, 2.0])
    >>> choose_candidate(violations, windows, plateau=np.array([50.0, 2.0]))
    array([ 2, -1])
    """
    _, upper = poisson_interval(violations, confidence_level)
    chosen = (upper / windows).argmin(axis=1)
    rows = np.arange(len(violations))
    chance = poisson_at_most(violations[rows, chosen], plateau * windows[chosen])
    return np.where(chance < significance, chosen, -1)
