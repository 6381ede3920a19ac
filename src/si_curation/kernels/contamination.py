"""Formulas that turn counts of refractory period violations into contamination.

Arrays in, arrays out, one value per unit. Words and symbols: a unit has ``N`` spikes in a recording
of duration ``T``; no two spikes of one neuron are closer than the refractory period ``t_r``; no two
spikes at all are closer than the censored period ``t_c`` (zero where nothing censors); ``C`` is the
share of the unit's spikes that are not the neuron's. The number of pairs within the refractory
period that would be there were all spikes independent is ``E = N**2 (t_r - t_c) / (T - 2 N t_c)``.
With contamination ``C`` it is

- ``E C (2 - C)`` where the contaminating spikes are independent of each other (many neurons), since
  pairs of them violate as well;
- ``2 E C (1 - C)`` where they come from one other neuron with a refractory period of its own.

Sources: Hill, Mehta & Kleinfeld, J. Neurosci. 31, 8699 (2011); Llobet, Wyngaard & Barbour, bioRxiv
2022.02.08.479192 (2022).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from si_curation.kernels.poisson import distinct_counts, poisson_above, poisson_interval

# Contaminations that the sliding refractory period tries: 0.5, 1, ... 35 % (SpikeInterface)
SLIDING_CONTAMINATIONS = np.arange(1, 71) * 0.005
# and to 34.5 % (Steinmetz lab, IBL)
IBL_CONTAMINATIONS = SLIDING_CONTAMINATIONS[:-1]
SLIDING_REFERENCE = 0.1
SLIDING_CONFIDENCE = 0.9


class Estimate(NamedTuple):
    """A contamination with its confidence interval, and where it is not known.

    Attributes
    ----------
    value : array (n_units,) float64
        NaN where `is_unknown` or `is_refuted`.
    lower, upper : array (n_units,) float64
        Ends of the confidence interval; NaN where there is none.
    is_unknown : array (n_units,) bool
        No violation, and so few expected that zero is compatible with any contamination.
    is_refuted : array (n_units,) bool
        More violations than the model can make with any contamination.
    """

    value: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    is_unknown: NDArray[np.bool_]
    is_refuted: NDArray[np.bool_]


def expected_pairs(
    num_spikes: ArrayLike, window: ArrayLike, duration: float, censored: float = 0.0
) -> NDArray[np.float64]:
    """Return the pairs within the window if all spikes were independent: ``E`` of this module.

    Parameters
    ----------
    num_spikes : array (n_units,) int
    window : array (n_units,) float
        Refractory period less the censored period, in the unit of time of `duration`.
    duration, censored : float
        Duration of the recording, censored period.

    Returns
    -------
    array (n_units,) float64
        NaN where the censored periods of all spikes fill the recording.

    Notes
    -----
    The numerator and denominator of Llobet et al. 2022 as SpikeInterface has them:
    ``violations / expected_pairs`` is what stands under the root.

    Examples
    --------
    >>> expected_pairs(np.array([1000]), np.array([0.002]), duration=100.0)
    array([20.])
    """
    num_spikes = np.asarray(num_spikes, dtype=np.float64)
    left = duration - 2.0 * num_spikes * censored
    left = np.where(left > 0, left, np.nan)
    return num_spikes**2 * np.asarray(window, dtype=np.float64) / left


def ums2000_ratio(violations_per_expected: ArrayLike) -> NDArray[np.float64]:
    """Return the rate of violations over the rate of spikes: ``n T / (2 N**2 t_r)``.

    Parameters
    ----------
    violations_per_expected : array float
        Adjacent violations over `expected_pairs` (without censoring of `duration`).

    Returns
    -------
    array float64
        About the contamination where it is small; 0.5 for spikes that are all independent; no
        upper limit.

    Notes
    -----
    ``rpv_contamination`` of UltraMegaSort2000, ``isi_violations_ratio`` of SpikeInterface.

    Examples
    --------
    >>> ums2000_ratio(np.array([0.1]))
    array([0.05])
    """
    return 0.5 * np.asarray(violations_per_expected, dtype=np.float64)


def contamination_by_many_neurons(violations_per_expected: ArrayLike) -> NDArray[np.float64]:
    """Return the contamination by independent spikes: ``1 - sqrt(1 - n / E)``.

    Parameters
    ----------
    violations_per_expected : array float

    Returns
    -------
    array float64
        1 where there are more violations than independent spikes make.

    Notes
    -----
    Llobet et al. 2022; ``rp_contamination`` of SpikeInterface. Solves ``n = E C (2 - C)``.

    Examples
    --------
    >>> contamination_by_many_neurons(np.array([0.0, 0.19, 2.0])).round(6)
    array([0. , 0.1, 1. ])
    """
    ratio = np.asarray(violations_per_expected, dtype=np.float64)
    return 1.0 - np.sqrt(np.maximum(1.0 - ratio, 0.0))


def contamination_by_one_neuron(violations_per_expected: ArrayLike) -> NDArray[np.float64]:
    """Return the contamination by one other neuron: ``(1 - sqrt(1 - 2 n / E)) / 2``.

    Parameters
    ----------
    violations_per_expected : array float

    Returns
    -------
    array float64
        At most 0.5: two neurons make the most violations when they share the spikes equally, and
        the larger share is taken for the neuron's. Where there are more violations than that the
        root is complex, and the result is 0.5, the most likely value under the model.

    Notes
    -----
    Hill et al. 2011 (with adjacent violations) and the other model of Llobet et al. 2022 (with all
    pairs). Solves ``n = 2 E C (1 - C)``.

    Examples
    --------
    >>> contamination_by_one_neuron(np.array([0.0, 0.18, 0.6])).round(6)
    array([0. , 0.1, 0.5])
    """
    ratio = np.asarray(violations_per_expected, dtype=np.float64)
    return 0.5 * (1.0 - np.sqrt(np.maximum(1.0 - 2.0 * ratio, 0.0)))


def estimate_contamination(
    violations: NDArray[np.integer],
    expected: NDArray[np.float64],
    model: Callable[[ArrayLike], NDArray[np.float64]],
    confidence_level: float = 0.95,
    refuted_above: float = np.inf,
) -> Estimate:
    """Estimate the contamination and its interval from a count of violations.

    Parameters
    ----------
    violations : array (n_units,) integer
    expected : array (n_units,) float64
        Pairs expected were all spikes independent; NaN or 0 where there are none.
    model : callable
        Returns the contamination for violations / expected; never falls.
    confidence_level : float in (0, 1)
    refuted_above : float
        Violations / expected that the model cannot exceed (0.5 for one other neuron). The model is
        refuted where the lower end of the interval exceeds it.

    Returns
    -------
    Estimate

    Examples
    --------
    >>> found = estimate_contamination(
    ...     np.array([0, 0, 20]), np.array([1.0, 100.0, 100.0]), contamination_by_many_neurons)
    >>> found.value.round(3), found.upper.round(3)
    (array([  nan, 0.   , 0.106]), array([1.   , 0.019, 0.169]))
    """
    expected = np.where(expected > 0, expected, np.nan)
    lower, upper = poisson_interval(violations, confidence_level)
    # the interval reaches one violation for every pair that is expected
    with np.errstate(invalid="ignore"):
        is_unknown = (violations == 0) & (upper >= expected * min(1.0, refuted_above))
        is_refuted = lower > expected * refuted_above
    value, low, high = (model(count / expected) for count in (violations, lower, upper))
    value[is_unknown | is_refuted] = np.nan
    low[is_refuted], high[is_refuted] = np.nan, np.nan
    return Estimate(value, low, high, is_unknown, is_refuted)


class SlidingEstimate(NamedTuple):
    """The sliding refractory period: three arrays (n_units,) float64.

    Attributes
    ----------
    contamination : array
        Smallest contamination of the grid that is ruled out by some refractory period; NaN where
        none is.
    period : array
        Refractory period that rules it out with the most confidence; NaN where none does.
    confidence : array
        Largest confidence of any refractory period that contamination is below `SLIDING_REFERENCE`.
    """

    contamination: NDArray[np.float64]
    period: NDArray[np.float64]
    confidence: NDArray[np.float64]


def sliding_refractory_period(
    violations: NDArray[np.integer],
    periods: NDArray[np.float64],
    num_spikes: NDArray[np.integer],
    duration: float,
    confidence_level: float = SLIDING_CONFIDENCE,
) -> SlidingEstimate:
    """Return the smallest contamination that some refractory period rules out.

    Parameters
    ----------
    violations : array (n_units, n_periods) integer
        Pairs of spikes closer than each candidate refractory period.
    periods : array (n_periods,) float64
        Candidates, in the unit of time of `duration`.
    num_spikes : array (n_units,) integer
    duration : float
    confidence_level : float
        A contamination is ruled out where the confidence exceeds this.

    Returns
    -------
    SlidingEstimate

    Notes
    -----
    ``sliding_rp_violation`` of SpikeInterface. It is a variant of the metric of the International
    Brain Laboratory, `sliding_refractory_period_of_ibl`, and stricter. With ``Nc = C N`` and
    ``Nb = (1 - C) N``, contamination ``C`` makes
    ``V = 2 t_r / T Nc (Nb + (Nc - 1) / 2)`` violations (Llobet et al. 2022); the confidence that
    contamination is below ``C`` is the probability that a Poisson count of mean ``V`` exceeds the
    observed one. The confidence exceeds 90 % where ``V`` exceeds the one-sided 90 % upper bound of
    the observed count, which is how it is computed here.

    Examples
    --------
    >>> found = sliding_refractory_period(
    ...     np.array([[0, 40]]), np.array([0.002, 0.004]), np.array([5000]), duration=1000.0)
    >>> found.contamination, found.period, found.confidence.round(4)
    (array([0.025]), array([0.002]), array([0.9999]))
    """
    # axes: (units, periods)
    rate = 2.0 * periods[None, :] / duration
    spikes = num_spikes[:, None].astype(np.float64)

    def expected(contamination: float | NDArray[np.float64]) -> NDArray[np.float64]:
        return rate * _pairs_with(contamination, spikes)

    # the period whose bound is lowest for its length rules out the most, at any contamination
    needed = (_upper_bounds(violations, confidence_level) / rate).min(axis=1)
    best = np.full(len(violations), np.nan)
    for contamination in SLIDING_CONTAMINATIONS[::-1]:
        best[_pairs_with(contamination, spikes[:, 0]) > needed] = contamination
    confidence = poisson_above(violations, expected(SLIDING_REFERENCE)).max(axis=1)
    at_best = poisson_above(violations, expected(np.where(np.isnan(best), 0.0, best)[:, None]))
    period = np.where(np.isnan(best), np.nan, periods[at_best.argmax(axis=1)])
    return SlidingEstimate(best, period, confidence)


def sliding_refractory_period_of_ibl(
    violations: NDArray[np.integer],
    periods: NDArray[np.float64],
    num_spikes: NDArray[np.integer],
    rate: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the smallest contamination that some refractory period rules out, as the IBL does.

    Parameters
    ----------
    violations : array (n_units, n_periods) integer
        Pairs of spikes closer than each candidate refractory period.
    periods : array (n_periods,) float64
        Candidates, in the unit of time of `rate`.
    num_spikes : array (n_units,) integer
    rate : array (n_units,) float64
        Spikes per time after a spike of the unit, from its autocorrelogram at lags of 1 to 2 s.

    Returns
    -------
    array (n_units,) float64
        Of the grid 0.005, 0.01, ... 0.345; NaN where none is ruled out.

    Notes
    -----
    The sliding refractory period of the Steinmetz lab and the International Brain Laboratory
    (``slidingRP/metrics.py`` of github.com/SteinmetzLab/slidingRefractory). Contamination ``C``
    makes ``V = 2 C r N t_r`` violations; it is ruled out where a Poisson count of mean ``V``
    exceeds the observed one with a probability of at least 90 %: where ``V`` is at least the
    one-sided 90 % upper bound of the count, which is how it is computed here.
    `sliding_refractory_period` differs in the rate (that of the whole recording), in the pairs
    (those of two contaminating spikes are counted once) and in the candidates.

    Examples
    --------
    >>> sliding_refractory_period_of_ibl(
    ...     np.array([[0, 40]]), np.array([0.002, 0.004]), np.array([5000]), np.array([5.0]))
    array([0.025])
    """
    most = (_upper_bounds(violations, SLIDING_CONFIDENCE) / periods).min(axis=1)
    of_all = 2.0 * np.asarray(rate, dtype=np.float64) * num_spikes
    needed = np.divide(most, of_all, out=np.full(most.shape, np.inf), where=of_all > 0)
    index = np.searchsorted(IBL_CONTAMINATIONS, needed)
    return np.append(IBL_CONTAMINATIONS, np.nan)[index]


def _upper_bounds(counts: NDArray[np.integer], confidence_level: float) -> NDArray[np.float64]:
    """Return the one-sided upper bounds of Poisson counts."""
    distinct, place = distinct_counts(counts)
    return special.gammaincinv(distinct + 1.0, confidence_level)[place].reshape(counts.shape)


def _pairs_with(
    contamination: float | NDArray[np.float64], num_spikes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the pairs of spikes of which at least one is a contaminating one."""
    n_c = num_spikes * contamination
    return n_c * (num_spikes - n_c + (n_c - 1.0) / 2.0)
