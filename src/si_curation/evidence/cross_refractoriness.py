"""Refractoriness of the cross-correlogram of two units: the evidence that they are one neuron.

Plain arrays in, one number per pair out. `suggest_merges` compares units by it, `find_bad_merges`
the templates that one unit came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks
from si_curation.kernels.correlogram_bins import LagCells
from si_curation.kernels.correlograms import count_chosen_pairs, count_pairs_of_trains
from si_curation.kernels.poisson import poisson_at_most, poisson_interval
from si_curation.kernels.refractory import (
    MAX_CANDIDATE_MS,
    RefractoryPeriods,
    estimate_refractory_periods,
)

BASELINE_START_MS, BASELINE_LENGTH_MS = 10.0, 40.0
# lags at which the second spike of a burst comes
BURST_END_MS = 15.0
# prior of the ratio of a neuron's refractory violations to its baseline: a gamma distribution, as
# if 0.5 violations had been observed where 10 were expected (0.5 is Jeffreys' prior of a Poisson
# rate)
PRIOR_OBSERVED, PRIOR_EXPECTED = 0.5, 10.0
SIGNIFICANCE = 0.05
MAX_REFRACTORY_PERIOD_MS, MAX_DUPLICATE_WINDOW_MS = 10.0, 1.0


class LagCounts(NamedTuple):
    """Numbers of spike pairs by lag, of pairs of units and of single units.

    Attributes
    ----------
    ab, ba : array (n_pairs, n_cells) int64
        A spike of the second unit after one of the first; one of the first after one of the second.
    autos : array (n_units, n_cells) int64
        Pairs of spikes of one unit, each once.
    cells : LagCells
        The lags of each cell. Lags up to `num_fine` - 1 samples have a cell of their own.
    num_fine : int
    """

    ab: NDArray[np.int64]
    ba: NDArray[np.int64]
    autos: NDArray[np.int64]
    cells: LagCells
    num_fine: int

    def baseline_rate(
        self, counts: NDArray[np.int64], sampling_frequency: float
    ) -> NDArray[np.float64]:
        """Return the pairs per sample of lag at lags of 10 to 50 ms."""
        fs = sampling_frequency
        first = self.cells.first_lag
        start = max(round(BASELINE_START_MS * fs * 1e-3), self.num_fine)
        in_baseline = first[:-1] >= start
        width = first[-1] - first[:-1][in_baseline][0]
        return counts[:, in_baseline].sum(axis=1) / float(width)

    def burst_counts(
        self, counts: NDArray[np.int64], after: NDArray[np.int64], sampling_frequency: float
    ) -> NDArray[np.int64]:
        """Return the pairs at lags above `after` samples and up to 15 ms."""
        fs = sampling_frequency
        first = self.cells.first_lag[:-1]
        stop = int(np.searchsorted(first, round(BURST_END_MS * fs * 1e-3), side="right"))
        found = np.zeros(len(counts), dtype=np.int64)
        for one in np.unique(after).tolist():
            rows = np.flatnonzero(after == one)
            found[rows] = counts[rows, one + 1 : stop].sum(axis=1)
        return found


def check_periods(
    checks: Checks,
    analyzer: SortingAnalyzer,
    refractory_period_ms: float | None,
    duplicate_window_ms: float,
) -> None:
    """Check a refractory period, or None, against a duplicate window."""
    before = len(checks.problems)
    checks.number(
        "duplicate_window_ms", duplicate_window_ms, at_least=0, at_most=MAX_DUPLICATE_WINDOW_MS
    )
    checks.number(
        "refractory_period_ms",
        refractory_period_ms,
        above=0,
        at_most=MAX_REFRACTORY_PERIOD_MS,
        optional=True,
    )
    needed = {"sorting_analyzer", "duplicate_window_ms", "refractory_period_ms"}
    unknown = checks.wrong_kinds & needed or len(checks.problems) > before
    if refractory_period_ms is None or unknown:
        return
    fs = analyzer.sampling_frequency
    checks.require(
        round(refractory_period_ms * fs * 1e-3) > round(duplicate_window_ms * fs * 1e-3),
        f"refractory_period_ms is {refractory_period_ms!r}, not longer than duplicate_window_ms "
        f"({duplicate_window_ms!r}) by a sample at {fs:g} Hz: give a longer one",
    )


def lag_cells(sampling_frequency: float, longest_ms: float = MAX_CANDIDATE_MS) -> LagCells:
    """Return cells of lags: single samples up to `longest_ms`, then 1 ms up to the baseline's end.

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
    """Count the spike pairs by lag, of chosen pairs of units and of each unit in them.

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
    wanted = _with_autos(pairs)
    found = count_chosen_pairs(sample_index, unit_index, segment_index, num_units, wanted, cells)
    return _lag_counts(found, wanted, num_units, cells, (sampling_frequency, longest_ms))


def count_lags_of_trains(
    times: Sequence[NDArray[np.int64]],
    places: Sequence[NDArray[np.integer]],
    pairs: NDArray[np.integer],
    sampling_frequency: float,
    longest_ms: float = MAX_CANDIDATE_MS,
) -> LagCounts:
    """Count as `count_lags` does, of units whose spike trains are known.

    Parameters
    ----------
    times, places : sequence of array (n_spikes of the unit,) integer
        Of each unit, as `count_pairs_of_trains` takes them; of those in no pair, anything.
    pairs : array (n_pairs, 2) integer
    sampling_frequency, longest_ms : float
        As of `count_lags`.
    """
    cells = lag_cells(sampling_frequency, longest_ms)
    wanted = _with_autos(pairs)
    found = count_pairs_of_trains(times, places, wanted, cells)
    return _lag_counts(found, wanted, len(times), cells, (sampling_frequency, longest_ms))


def _with_autos(pairs: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return pairs of units, and then each of these units with itself."""
    used = np.unique(pairs)
    return np.concatenate([pairs.reshape(-1, 2), np.stack([used, used], axis=1)])


def _lag_counts(
    found: NDArray[np.integer],
    wanted: NDArray[np.integer],
    num_units: int,
    cells: LagCells,
    lags: tuple[float, float],
) -> LagCounts:
    """Return the counts of pairs apart from those of units with themselves."""
    sampling_frequency, longest_ms = lags
    counts = found.astype(np.int64, copy=False)  # unsigned ones must not be subtracted
    num_pairs = int(np.count_nonzero(wanted[:, 0] != wanted[:, 1]))
    autos = np.zeros((num_units, cells.num_cells), dtype=np.int64)
    autos[wanted[num_pairs:, 0]] = counts[num_pairs:, 0]
    num_fine = round(longest_ms * sampling_frequency * 1e-3) + 1
    return LagCounts(counts[:num_pairs, 0], counts[:num_pairs, 1], autos, cells, num_fine)


def choose_refractory_periods(
    counts: LagCounts, pairs: NDArray[np.integer], censored: int, sampling_frequency: float
) -> RefractoryPeriods:
    """Estimate the refractory period of each pair of units.

    As `contamination_panel` does, from the sum of both autocorrelograms. Where the two units
    differ, the estimate follows the shorter period. If they are parts of one neuron, it uses the
    spikes of both.

    Parameters
    ----------
    counts : LagCounts
    pairs : array (n_pairs, 2) integer
    censored : int
        Lags up to this many samples do not count.
    sampling_frequency : float

    Returns
    -------
    RefractoryPeriods
        One for each pair.
    """
    both = counts.autos[pairs[:, 0]] + counts.autos[pairs[:, 1]]
    fine = both[:, : counts.num_fine].copy()
    fine[:, : censored + 1] = 0
    baseline = counts.baseline_rate(both, sampling_frequency)
    return estimate_refractory_periods(fine, baseline, censored, sampling_frequency)


class CrossRefractoriness(NamedTuple):
    """Coincidences of two units within the refractory period; arrays (n_pairs,).

    Attributes
    ----------
    observed : array int64
        Pairs of a spike of each, at lags above the censored and up to the refractory period.
    expected : array float64
        The number at the rate of the baseline (lags of 10 to 50 ms).
    ratio, lower, upper : array float64
        Observed over expected, with its confidence interval; NaN where nothing is expected.
    ratio_if_one : array float64
        The ratio of one neuron that is as contaminated as the two units are.
    chance : array float64
        Probability of at most the observed number if the two are independent.
    power : array float64
        Probability of a significant dip (chance of at most 0.05) if both are one neuron.
    log_odds : array float64
        Logarithm of the ratio of two likelihoods of the observed number: both are one neuron, over
        both are independent.
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
    """Compare the coincidences of two units with those of one neuron and of two independent ones.

    Parameters
    ----------
    counts : LagCounts
    pairs : array (n_pairs, 2) integer
    period : array (n_pairs,) int64
        Refractory periods in samples.
    censored : int
        Lags up to this many samples are left out: spikes that were found twice make a peak there,
        and overlapping spikes that the sorter missed make a hole.
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

    If the units are independent, the number of coincidences is a Poisson count of mean ``E``. If
    they are one neuron, it is a Poisson count of mean ``E ratio_if_one``, where the ratio is
    uncertain, as it was estimated from the autocorrelograms: this makes it a negative binomial
    count of shape ``n_a + n_b + 0.5``. More coincidences than expected are set to the number
    expected, so that the odds never rise with them.
    """
    fs, rows = sampling_frequency, np.arange(len(pairs))
    window = (period - censored).astype(np.float64)

    def within(table: NDArray[np.int64]) -> NDArray[np.int64]:
        sums = np.cumsum(table[:, : counts.num_fine], axis=1)
        return sums[rows, period] - sums[:, censored]

    both = counts.ab + counts.ba
    observed, expected = within(both), counts.baseline_rate(both, fs) * window
    kept, autos = np.ones(len(pairs)), []
    for unit in pairs.T:
        own = counts.autos[unit]
        autos.append(within(own))
        alone = counts.baseline_rate(own, fs) * window
        ratio = (autos[-1] + PRIOR_OBSERVED) / (alone + PRIOR_EXPECTED)
        kept *= 1.0 - np.minimum(ratio, 1.0)
    ratio_if_one = 1.0 - np.sqrt(kept)
    shape = autos[0] + autos[1] + PRIOR_OBSERVED
    low, high = poisson_interval(observed, confidence_level)
    some = np.where(expected > 0, expected, np.nan)
    # the largest count that is a significant dip, -1 where none is
    most = scipy.stats.poisson.ppf(SIGNIFICANCE, expected)
    most = np.where(poisson_at_most(most, expected) > SIGNIFICANCE, most - 1, most)
    power = np.where(most >= 0, poisson_at_most(np.maximum(most, 0), expected * ratio_if_one), 0.0)
    return CrossRefractoriness(
        observed,
        expected,
        observed / some,
        low / some,
        high / some,
        ratio_if_one,
        poisson_at_most(observed, expected),
        np.where(expected > 0, power, 0.0),
        log_odds_of_one_neuron(np.minimum(observed, expected), expected, ratio_if_one, shape),
        np.stack(autos, axis=1),
    )


def log_odds_of_one_neuron(
    counts: NDArray[np.float64],
    expected: NDArray[np.float64],
    ratio: NDArray[np.float64],
    shape: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Return the log likelihood ratio of a negative binomial to a Poisson count of mean `expected`.

    Parameters
    ----------
    counts, expected, ratio, shape : array (n_pairs,)
        The negative binomial distribution has the mean ``expected * ratio`` and this shape.
    """
    mean = expected * ratio
    one = special.gammaln(counts + shape) - special.gammaln(shape)
    one += special.xlog1py(shape, -mean / (shape + mean)) + special.xlogy(
        counts, mean / (shape + mean)
    )
    return one - (special.xlogy(counts, expected) - expected)
