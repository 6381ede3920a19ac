"""Evidence for and against two units being one neuron: plain arrays in, one number per pair out.

The same counts serve two questions: should two units be merged (`suggest_merges`), and should they
have been (`find_bad_merges`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special

from si_curation.kernels.contamination import poisson_interval
from si_curation.kernels.correlogram_cells import LagCells
from si_curation.kernels.correlogram_counts import count_chosen_pairs
from si_curation.kernels.refractory import estimate_refractory_period

# candidates of the estimated refractory period and its default, as in `contamination_panel`
DEFAULT_REFRACTORY_PERIOD_MS = 1.5
CANDIDATE_STEP_MS, MAX_CANDIDATE_MS, MIN_WINDOW_MS = 0.25, 5.0, 0.5
BASELINE_START_MS, BASELINE_LENGTH_MS = 10.0, 40.0
# lags at which the second spike of a burst comes
BURST_END_MS = 15.0
# what is taken for granted of a neuron's violations before its spikes are counted: a gamma
# distribution of their ratio to the baseline, as if half of one had been seen where ten were
# expected (the half is Jeffreys' prior of a Poisson rate)
PRIOR_OBSERVED, PRIOR_EXPECTED = 0.5, 10.0
SIGNIFICANCE = 0.05


class LagCounts(NamedTuple):
    """Counts of spike pairs, n_units for autos and n_pairs for crosses, in cells of lags.

    Attributes
    ----------
    ab, ba : array (n_pairs, n_cells) int64
        Second after first unit, first after second.
    autos : array (n_units, n_cells) int64
        Pairs of spikes of one unit, each once.
    cells : LagCells
        Lags up to `num_fine` - 1 samples have a cell of their own.
    num_fine : int
    """

    ab: NDArray[np.int64]
    ba: NDArray[np.int64]
    autos: NDArray[np.int64]
    cells: LagCells
    num_fine: int

    def rate(self, counts: NDArray[np.int64], fs: float) -> NDArray[np.float64]:
        """Pairs per sample of lag in the baseline, 10 to 50 ms."""
        first = self.cells.first_lag
        start = max(round(BASELINE_START_MS * fs * 1e-3), self.num_fine)
        in_baseline = first[:-1] >= start
        width = first[-1] - first[:-1][in_baseline][0]
        return counts[:, in_baseline].sum(axis=1) / float(width)

    def burst(self, counts: NDArray[np.int64], after: NDArray, fs: float) -> NDArray[np.int64]:
        """Pairs at lags after those given and up to 15 ms."""
        first = self.cells.first_lag[:-1]
        sums = np.cumsum(counts, axis=1)
        last = np.searchsorted(first, round(BURST_END_MS * fs * 1e-3), side="right") - 1
        rows = np.arange(len(counts))
        return np.maximum(sums[:, last] - sums[rows, after], 0)


def lag_cells(sampling_frequency: float, longest_ms: float = MAX_CANDIDATE_MS) -> LagCells:
    """Cells of lags: single samples up to `longest_ms`, then 1 ms up to the end of the baseline.

    Examples
    --------
    >>> lag_cells(1000.0, longest_ms=2.0).first_lag[:5]
    array([0, 1, 2, 3, 4])
    """
    fine = round(longest_ms * sampling_frequency * 1e-3) + 1
    start = max(round(BASELINE_START_MS * sampling_frequency * 1e-3), fine)
    stop = start + max(round(BASELINE_LENGTH_MS * sampling_frequency * 1e-3), 1)
    step = max(round(sampling_frequency * 1e-3), 1)
    edges = np.unique(
        np.concatenate(
            [np.arange(fine), np.arange(fine, start, step), np.arange(start, stop, step), [stop]]
        )
    ).astype(np.int64)
    cell_of_lag = np.repeat(np.arange(edges.size - 1), np.diff(edges)).astype(np.int32)
    return LagCells(cell_of_lag, edges, 0, 0)


def count_lags(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer],
    num_units: int,
    pairs: NDArray[np.integer],
    sampling_frequency: float,
    longest_ms: float = MAX_CANDIDATE_MS,
) -> LagCounts:
    """Count the spike pairs of chosen pairs of units, and of the units in them.

    Parameters
    ----------
    sample_index, unit_index, segment_index : array (n_spikes,) integer
        In time order.
    num_units : int
    pairs : array (n_pairs, 2) integer
    sampling_frequency : float
    longest_ms : float
        Lags up to here are counted sample by sample.

    Returns
    -------
    LagCounts
        ``autos`` are 0 for units that are in no pair.
    """
    cells = lag_cells(sampling_frequency, longest_ms)
    num_fine = round(longest_ms * sampling_frequency * 1e-3) + 1
    used = np.unique(pairs)
    wanted = np.concatenate([pairs.reshape(-1, 2), np.stack([used, used], axis=1)])
    found = count_chosen_pairs(sample_index, unit_index, segment_index, num_units, wanted, cells)
    counts = found.astype(np.int64, copy=False)  # unsigned ones must not be subtracted
    autos = np.zeros((num_units, cells.num_cells), dtype=np.int64)
    autos[used] = counts[len(pairs) :, 0]
    return LagCounts(counts[: len(pairs), 0], counts[: len(pairs), 1], autos, cells, num_fine)


def choose_refractory_periods(
    counts: LagCounts, pairs: NDArray[np.integer], censored: int, sampling_frequency: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Refractory period of each pair, from the autocorrelograms of both units together.

    The one that `contamination_panel` estimates, of the sum of both autocorrelograms: the shorter
    one wins where they differ, and two halves of a neuron tell as much as the whole.

    Returns
    -------
    period : array (n_pairs,) int64
        In samples; the default of 1.5 ms where it cannot be told.
    is_estimated : array (n_pairs,) bool
    """
    fs = sampling_frequency
    steps = np.arange(CANDIDATE_STEP_MS, MAX_CANDIDATE_MS + 1e-9, CANDIDATE_STEP_MS)
    candidates = np.unique(np.rint(steps * fs * 1e-3).astype(np.int64))
    candidates = candidates[candidates >= max(censored + MIN_WINDOW_MS * fs * 1e-3, censored + 1)]
    default = max(round(DEFAULT_REFRACTORY_PERIOD_MS * fs * 1e-3), censored + 1)
    if candidates.size == 0:
        return np.full(len(pairs), default), np.zeros(len(pairs), dtype=bool)
    both = counts.autos[pairs[:, 0]] + counts.autos[pairs[:, 1]]
    fine = both[:, : counts.num_fine].copy()
    fine[:, : censored + 1] = 0
    chosen = estimate_refractory_period(
        np.cumsum(fine, axis=1)[:, candidates],
        (candidates - censored).astype(np.float64),
        counts.rate(both, fs),
    )
    return np.where(chosen >= 0, candidates[chosen], default), chosen >= 0


class CrossRefractoriness(NamedTuple):
    """Coincidences within the refractory period, but not the censored one; arrays (n_pairs,).

    Attributes
    ----------
    observed : array int64
        Pairs of a spike of each, at lags above the censored and up to the refractory period.
    expected : array float64
        As many as there would be at the rate of the baseline (lags of 10 to 50 ms).
    ratio, lower, upper : array float64
        Observed over expected, with its confidence interval; NaN where nothing is expected.
    ratio_if_one : array float64
        What it would be if both were one neuron, contaminated as they are.
    chance : array float64
        Probability of so few by chance, were the two independent.
    power : array float64
        Probability that a dip would be seen (chance of at most 0.05), if both were one neuron.
    log_odds : array float64
        Logarithm of the likelihood of the observed number if both are one neuron, over that if they
        are independent.
    auto_observed : array (n_pairs, 2) int64
        Pairs of spikes of each unit at the same lags.
    """

    observed: NDArray[np.int64]
    expected: NDArray[np.float64]
    ratio: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    ratio_if_one: NDArray[np.float64]
    chance: NDArray[np.float64]
    power: NDArray[np.float64]
    log_odds: NDArray[np.float64]
    auto_observed: NDArray[np.int64]


def cross_refractoriness(
    counts: LagCounts,
    pairs: NDArray[np.integer],
    period: NDArray[np.int64],
    censored: int,
    sampling_frequency: float,
    confidence_level: float = 0.95,
) -> CrossRefractoriness:
    """Compare the coincidences of two units with what one neuron and what two would have.

    Parameters
    ----------
    counts : LagCounts
    pairs : array (n_pairs, 2) integer
    period : array (n_pairs,) int64
        Refractory periods in samples.
    censored : int
        Lags up to this are left out: the same spike found twice makes a peak there, and spikes that
        overlap are lost to sorters.
    sampling_frequency : float
    confidence_level : float

    Returns
    -------
    CrossRefractoriness

    Notes
    -----
    If two units with contaminations ``C_a`` and ``C_b`` (independent spikes) are one neuron, the
    ratio of coincidences to the baseline is ``1 - (1 - C_a)(1 - C_b)``; that of a unit to itself is
    ``1 - (1 - C)**2`` (Llobet et al. 2022, bioRxiv 2022.02.08.479192). Hence ``ratio_if_one = 1 -
    sqrt((1 - r_a)(1 - r_b))``, with the ratios of the autocorrelograms ``r = (n + 0.5) / (E + 10)``
    (``n`` observed, ``E`` expected, and a weak prior of 0.05). If they are independent the ratio is
    1.

    If independent, the number of coincidences is a Poisson count of mean ``E``. If one neuron, it
    is a Poisson count of a ratio that is known only as well as the autocorrelograms tell it, which
    is a negative binomial count of mean ``E ratio_if_one`` and shape ``n_a + n_b + 0.5``. More
    coincidences than expected count as many as expected, so that the odds never rise with them.
    """
    fs, rows = sampling_frequency, np.arange(len(pairs))
    window = (period - censored).astype(np.float64)

    def within(table: NDArray[np.int64]) -> NDArray[np.int64]:
        sums = np.cumsum(table[:, : counts.num_fine], axis=1)
        return sums[rows, period] - sums[:, censored]

    both = counts.ab + counts.ba
    observed, expected = within(both), counts.rate(both, fs) * window
    kept, autos = np.ones(len(pairs)), []
    for unit in pairs.T:
        own = counts.autos[unit]
        autos.append(within(own))
        alone = counts.rate(own, fs) * window
        ratio = (autos[-1] + PRIOR_OBSERVED) / (alone + PRIOR_EXPECTED)
        kept *= 1.0 - np.minimum(ratio, 1.0)
    ratio_if_one = 1.0 - np.sqrt(kept)
    shape = autos[0] + autos[1] + PRIOR_OBSERVED
    low, high = poisson_interval(observed, confidence_level)
    some = np.where(expected > 0, expected, np.nan)
    # the largest count that would be taken for a dip, -1 for none
    most = scipy.stats.poisson.ppf(SIGNIFICANCE, expected)
    most = np.where(_at_most(most, expected) > SIGNIFICANCE, most - 1, most)
    power = np.where(most >= 0, _at_most(np.maximum(most, 0), expected * ratio_if_one), 0.0)
    return CrossRefractoriness(
        observed,
        expected,
        observed / some,
        low / some,
        high / some,
        ratio_if_one,
        _at_most(observed, expected),
        np.where(expected > 0, power, 0.0),
        _log_odds(np.minimum(observed, expected), expected, ratio_if_one, shape),
        np.stack(autos, axis=1),
    )


def _log_odds(
    counts: NDArray, expected: NDArray, ratio: NDArray, shape: NDArray
) -> NDArray[np.float64]:
    """Log likelihood ratio of a negative binomial count to a Poisson count of mean `expected`."""
    mean = expected * ratio
    one = special.gammaln(counts + shape) - special.gammaln(shape)
    one += special.xlog1py(shape, -mean / (shape + mean)) + special.xlogy(
        counts, mean / (shape + mean)
    )
    return one - (special.xlogy(counts, expected) - expected)


def _at_most(counts: NDArray, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of at most so many counts, of a Poisson distribution."""
    return special.gammaincc(np.asarray(counts, dtype=np.float64) + 1.0, mean)


def at_least(counts: NDArray, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of at least so many counts, of a Poisson distribution.

    Examples
    --------
    >>> at_least(np.array([0, 1]), np.array([1.0, 1.0])).round(3)
    array([1.   , 0.632])
    """
    counts = np.asarray(counts, dtype=np.float64)
    some = counts > 0
    return np.where(some, special.gammainc(np.where(some, counts, 1.0), mean), 1.0)
