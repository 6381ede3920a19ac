"""The contamination panel: how many spikes of each unit are another neuron's, by every formula."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import Checks, unit_indices_of
from si_curation.kernels.contamination import (
    IBL_CONTAMINATIONS,
    SLIDING_CONFIDENCE,
    SLIDING_CONTAMINATIONS,
    Estimate,
    contamination_by_many_neurons,
    contamination_by_one_neuron,
    estimate_contamination,
    expected_pairs,
    sliding_refractory_period,
    sliding_refractory_period_of_ibl,
    ums2000_ratio,
)
from si_curation.kernels.refractory import (
    DEFAULT_REFRACTORY_PERIOD_MS,
    MAX_CANDIDATE_MS,
    ShortLagCounts,
    Trains,
    count_pairs_between,
    count_short_lags,
    estimate_refractory_periods,
    kilosort_bin_of_lag,
    kilosort_refractoriness,
    trains_of_units,
)
from si_curation.reading.observed import observed_periods
from si_curation.variables import CONTAMINATION, Explanation

#: What each column of the panel is.
CONTAMINATION_DESCRIPTIONS: dict[str, str] = CONTAMINATION.descriptions()
MAX_REFRACTORY_PERIOD_MS = 100.0
# as SpikeInterface's sliding_rp_violation has them by default
SLIDING_BIN_MS, SLIDING_MIN_MS, SLIDING_MAX_MS = 0.25, 0.5, 10.0


class SpikePairs(NamedTuple):
    """Pairs of spikes at short lags of each unit or group."""

    num_spikes: NDArray[np.int64]  # (n_units,)
    duration: float  # samples, of all segments
    sampling_frequency: float
    counts: ShortLagCounts
    far_pairs: NDArray[np.int64]  # (n_units,) at lags of 1 to 2 s


def contamination_panel(
    sorting_analyzer: SortingAnalyzer,
    *,
    refractory_period_ms: float | None = None,
    censored_period_ms: float = 0.0,
    confidence_level: float = 0.95,
    unit_ids: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Estimate the contamination of each unit by every usual formula, with its uncertainty.

    All counts come from one pass over the spikes, at the exact difference of sample indices; no
    recording is needed. Several segments add up: pairs of spikes are those within a segment,
    durations are summed.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Any analyzer; no extension is needed.
    refractory_period_ms : float, optional
        Refractory period of all units, rounded to whole samples. By default that of each unit is
        estimated from its autocorrelogram (see Notes).
    censored_period_ms : float
        Time after a spike in which the sorter cannot find, or removes, another one; rounded to
        whole samples.
    confidence_level : float
        Of the two-sided intervals ``*_lower`` to ``*_upper``.
    unit_ids : sequence of unit ids, optional
        Rows of the table, in this order; all units by default.

    Returns
    -------
    pandas.DataFrame
        Indexed by unit id, with the columns of `CONTAMINATION_DESCRIPTIONS`, which tells what each
        is. Columns with the name of a SpikeInterface metric hold its value for the same refractory
        period, but NaN instead of 0 where too little is known. ``reason`` says which columns are
        NaN, and why.

    Raises
    ------
    ParameterError
        A period or the confidence level cannot be used, or a unit id occurs twice.
    UnknownIdError
        A unit id does not exist.

    See Also
    --------
    si_curation.kernels.contamination : the formulas

    Notes
    -----
    **Violations** are counted in two ways. ``isi_violations_count``: consecutive spikes less than
    the refractory period apart (three spikes in it: two violations): of 1.5 ms at 25 kHz, which
    are 37.5 samples, the intervals of 0 to 37 samples, against 37.5 samples of time; at 30 kHz 0 to
    44, against 45. ``rp_violations``: any two spikes at most the refractory period apart (three),
    which is rounded to whole samples (38 at 25 kHz). Both as SpikeInterface counts them. Units
    without spikes have 0 of both, where SpikeInterface has -1.

    **Formulas**, with ``N`` spikes, duration ``T``, refractory period ``t_r``, censored period
    ``t_c`` and ``n`` violations:

    - ``isi_violations_ratio`` = ``n T / (2 N**2 (t_r - t_c))``, adjacent (UltraMegaSort2000). No
      upper limit; 0.5 for a unit whose spikes are all independent.
    - ``hill_contamination`` = ``(1 - sqrt(1 - 2 n T / (N**2 (t_r - t_c)))) / 2``, adjacent (Hill et
      al. 2011). The contamination is one other neuron's, at most 0.5. Above that the root is
      complex: the value is 0.5 as long as the interval of ``n`` reaches down to what two neurons
      can do; beyond that the model is refuted, and value and interval are NaN.
    - ``rp_contamination`` = ``1 - sqrt(1 - n (T - 2 N t_c) / (N**2 (t_r - t_c)))``, all pairs, many
      contaminating neurons (Llobet et al. 2022). 1 where the root is complex, as SpikeInterface.
    - ``rp_contamination_one_neuron`` = ``(1 - sqrt(1 - 2 n (T - 2 N t_c) / (N**2 (t_r - t_c)))) /
      2``, all pairs, one contaminating neuron (Llobet et al. 2022). Beyond 0.5 as Hill.
    - ``sliding_rp_violation`` (SpikeInterface's variant), ``sliding_rp_ibl`` (the laboratory's own:
      less strict, by the rate at lags of 1 to 2 s), ``kilosort_r12`` and ``kilosort_q12``: see
      `si_curation.kernels.contamination.sliding_refractory_period`,
      `~si_curation.kernels.contamination.sliding_refractory_period_of_ibl` and
      `~si_curation.kernels.refractory.kilosort_refractoriness`.

    **Intervals** are the exact (Garwood 1936) intervals of the Poisson count ``n``, put through the
    formula. They do not cover the choice of refractory period and model. ``sliding_rp_violation``
    is itself an upper bound; Kilosort's ratio has its probability instead.

    **Not enough spikes**: a formula gives NaN where there is no violation and so few pairs were
    expected that the interval reaches from none to the largest contamination of the model (with 95
    %: fewer than 3.7 expected pairs, 7.4 for one contaminating neuron). The interval is then given
    all the same. ``kilosort_r12`` is NaN instead of 0 by the same measure.

    **The estimated refractory period** is the candidate (0.5 to 5 ms in steps of 0.25 ms) with the
    lowest upper end of the 99.9 % interval of violations per time. A shorter one than the neuron's
    is often taken, never one far beyond it. Since the same spikes are counted, contamination looks
    smaller by some hundredths of its value (``benchmarks/bench_contamination.py`` measures it).
    There is no estimate where the pairs within it are not significantly (0.001) fewer than expected
    from the plateau of the autocorrelogram (the larger mean of 10 to 49 ms and 250 to 499 ms). The
    period is then 1.5 ms, as SpikeInterface's ``isi_threshold_ms``, and
    ``refractory_period_source`` is "default".

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> panel = contamination_panel(analyzer, refractory_period_ms=1.5)
    >>> panel.loc[13, ["num_spikes", "rp_violations", "rp_contamination"]].tolist()
    [1330.0, 58.0, 1.0]
    """
    checks = Checks.of_call(contamination_panel, locals())
    check_periods(
        checks, sorting_analyzer, refractory_period_ms, censored_period_ms, confidence_level
    )
    checks.finish()
    rows = unit_indices_of(sorting_analyzer, unit_ids)
    table = estimate_panel(
        sorting_analyzer, None, refractory_period_ms, censored_period_ms, confidence_level
    ).table
    table.index = pd.Index(sorting_analyzer.unit_ids, name="unit_id")
    return table.iloc[rows]


def contamination_of_spikes(
    sorting_analyzer: SortingAnalyzer,
    groups: Sequence[NDArray[np.integer]],
    *,
    refractory_period_ms: float | None = None,
    censored_period_ms: float = 0.0,
    confidence_level: float = 0.95,
) -> pd.DataFrame:
    """Estimate the contamination of any groups of spikes, as if each were a unit.

    What the panel would be after a merge or a split, before it is made.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    groups : sequence of array
        Positions in the spike vector; a spike may be in several groups.
    refractory_period_ms, censored_period_ms, confidence_level
        As of `contamination_panel`.

    Returns
    -------
    pandas.DataFrame
        A row for each group, with the columns of `contamination_panel`.

    Raises
    ------
    ParameterError
        A period or the confidence level cannot be used.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> spikes = analyzer.sorting.to_spike_vector()
    >>> together = np.flatnonzero(np.isin(analyzer.unit_ids[spikes["unit_index"]], [11, 12]))
    >>> contamination_of_spikes(analyzer, [together]).num_spikes.tolist()
    [383]
    """
    return estimate_panel(
        sorting_analyzer, groups, refractory_period_ms, censored_period_ms, confidence_level
    ).table


class ContaminationPanel(NamedTuple):
    """The panel, and why values of it are missing.

    Attributes
    ----------
    columns : dict of str to array (n_rows,)
        Those of `CONTAMINATION_DESCRIPTIONS`; "reason" only where it was asked for.
    reasons : dict of str to array (n_rows,) of object
        By column of the estimates: an `Explanation` where nothing is estimated, else None.
    """

    columns: dict[str, Any]
    reasons: dict[str, NDArray[np.object_]]

    @property
    def table(self) -> pd.DataFrame:
        """Return the columns as a table."""
        return pd.DataFrame(self.columns)


def estimate_panel(
    sorting_analyzer: SortingAnalyzer,
    groups: Sequence[NDArray[np.integer]] | None,
    refractory_period_ms: float | None,
    censored_period_ms: float,
    confidence_level: float,
) -> ContaminationPanel:
    """Estimate the contamination of all units, or of groups of spikes.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    groups : sequence of array, optional
        Positions in the spike vector; the units by default.
    refractory_period_ms, censored_period_ms, confidence_level
        As of `contamination_panel`.

    Returns
    -------
    ContaminationPanel

    Raises
    ------
    ParameterError
        A period or the confidence level cannot be used.
    """
    fs = sorting_analyzer.sampling_frequency
    checks = Checks()
    check_periods(
        checks, sorting_analyzer, refractory_period_ms, censored_period_ms, confidence_level
    )
    checks.finish()
    longest = None if refractory_period_ms is None else samples_of(refractory_period_ms, fs)
    return make_panel(
        count_violations(sorting_analyzer, longest, groups),
        refractory_period_ms,
        censored_period_ms,
        confidence_level,
    )


def samples_of(period_ms: float, sampling_frequency: float) -> int:
    """Return a period in samples; multiplied as SpikeInterface does, so that halves round alike."""
    return round(period_ms * sampling_frequency * 1e-3)


def exact_samples_of(period_ms: float, sampling_frequency: float) -> float:
    """Return a period in samples, not rounded: 37.5 for 1.5 ms at 25 kHz.

    Examples
    --------
    >>> exact_samples_of(1.5, 25_000.0), exact_samples_of(1.1, 30_000.0)
    (37.5, 33.0)
    """
    return round(period_ms * sampling_frequency * 1e-3, 6)  # without the rounding of products


def check_periods(
    checks: Checks,
    analyzer: SortingAnalyzer,
    refractory_ms: float | None,
    censored_ms: float,
    confidence_level: float,
) -> None:
    """Check the parameters of the panel."""
    longest, default = MAX_REFRACTORY_PERIOD_MS, DEFAULT_REFRACTORY_PERIOD_MS
    checks.number("confidence_level", confidence_level, above=0, below=1)
    before = len(checks.problems)
    checks.number("censored_period_ms", censored_ms, at_least=0, at_most=longest)
    checks.number("refractory_period_ms", refractory_ms, above=0, at_most=longest, optional=True)
    needed = {"sorting_analyzer", "censored_period_ms", "refractory_period_ms"}
    if len(checks.problems) > before or checks.wrong_kinds & needed:
        return
    fs = analyzer.sampling_frequency
    if refractory_ms is None and censored_ms >= default:
        checks.add(
            f"censored_period_ms is {censored_ms!r}, expected less than the default refractory "
            f"period of {default} ms; or give refractory_period_ms"
        )
        return
    shortest = default if refractory_ms is None else refractory_ms
    checks.require(
        samples_of(shortest, fs) > samples_of(censored_ms, fs),
        f"the refractory period of {shortest!r} ms is not longer than the censored period of "
        f"{censored_ms!r} ms by at least one sample at {fs:g} Hz; give a longer one",
    )


def count_violations(
    analyzer: SortingAnalyzer,
    longest: int | None,
    groups: Sequence[NDArray[np.integer]] | None = None,
    trains: Trains | None = None,
) -> SpikePairs:
    """Count the pairs of each unit, or of each of some groups of positions in the spike vector.

    What is known of the trains of all units is not made again, nor counted again.
    """
    fs = analyzer.sampling_frequency
    spikes = spike_vector_of(analyzer.sorting)
    longest_ms = max(SLIDING_MAX_MS, MAX_CANDIDATE_MS)
    max_lag = max(int(np.ceil(longest_ms * fs / 1000.0)), longest or 0)
    duration = float(observed_periods(analyzer).num_samples)
    known = _known_pairs.get(analyzer) if groups is None else None
    if known is not None and known.spikes() is spikes and known.max_lag == max_lag:
        return known.pairs._replace(duration=duration)
    if groups is None:
        units, num_units = spikes["unit_index"], len(analyzer.unit_ids)
    else:
        spikes = spikes[np.concatenate([np.zeros(0, dtype=np.int64), *groups])]
        num_units = len(groups)
        units = np.repeat(np.arange(num_units, dtype=np.int64), [len(group) for group in groups])
    of_spikes = (spikes["sample_index"], units, spikes["segment_index"], num_units)
    bins = kilosort_bin_of_lag(fs)
    first, stop = max(round(fs), 1), max(round(2 * fs), 2)
    if trains is None:
        trains = trains_of_units(*of_spikes, max(max_lag, bins.size, stop))
    counts = count_short_lags(*of_spikes, max_lag, bins, trains)
    num_spikes = np.diff(trains.start)
    far = count_pairs_between(*of_spikes, first, stop, trains)
    pairs = SpikePairs(num_spikes, duration, fs, counts, far)
    if groups is None and num_units <= _MOST_UNITS_KEPT:
        _known_pairs[analyzer] = _KnownPairs(weakref.ref(spikes), max_lag, pairs)
    return pairs


class _KnownPairs(NamedTuple):
    """Pairs of all units of an analyzer, and the spikes that they were counted of."""

    spikes: weakref.ref[NDArray[np.void]]
    max_lag: int
    pairs: SpikePairs


# metrics and panels need the same; of more units the counts are not small any more
_MOST_UNITS_KEPT = 1000
_known_pairs: weakref.WeakKeyDictionary[Any, _KnownPairs] = weakref.WeakKeyDictionary()


def rp_contamination_of_trains(
    trains: Trains, duration: float, sampling_frequency: float
) -> NDArray[np.float64]:
    """Return ``rp_contamination`` of the panel, with its defaults, and nothing else of it.

    Parameters
    ----------
    trains : Trains
        Segments lie further apart than half a second.
    duration : float
        In samples, of all segments.
    sampling_frequency : float

    Returns
    -------
    array (n_units,) float64
        NaN where the panel has none.

    Examples
    --------
    >>> times = np.arange(0, 1_000_000, 300)  # of a clock
    >>> rp_contamination_of_trains(Trains(times, np.array([0, times.size])), 1e6, 30_000.0)
    array([0.])
    """
    fs, num_units = sampling_frequency, trains.start.size - 1
    no_units = np.zeros(trains.times.size, dtype=np.int64)
    of_spikes = (trains.times, no_units, no_units, num_units)
    longest = int(np.ceil(MAX_CANDIDATE_MS * fs / 1000.0))
    counts = count_short_lags(*of_spikes, longest, kilosort_bin_of_lag(fs), trains)
    num_spikes = np.diff(trains.start)
    periods, _ = _estimate_periods(SpikePairs(num_spikes, duration, fs, counts, num_spikes), 0)
    pairs = np.cumsum(counts.all_pairs, axis=1)[np.arange(num_units), periods]
    expected = np.where(num_spikes > 1, expected_pairs(num_spikes, periods, duration), np.nan)
    return estimate_contamination(pairs, expected, contamination_by_many_neurons).value


def make_panel(
    spikes: SpikePairs,
    refractory_period_ms: float | None,
    censored_period_ms: float,
    confidence_level: float,
    sliding: Mapping[str, NDArray[np.float64]] | None = None,
    with_texts: bool = True,
) -> ContaminationPanel:
    """Make the panel from counted violations.

    Several panels can share what `sliding_columns` returns; the column "reason" is for people.
    """
    fs = spikes.sampling_frequency
    t_c = samples_of(censored_period_ms, fs)
    if refractory_period_ms is None:
        t_r, source = _estimate_periods(spikes, t_c)
        default = exact_samples_of(DEFAULT_REFRACTORY_PERIOD_MS, fs)
        exact = np.where(source == "default", default, t_r.astype(np.float64))
    else:
        t_r = np.full(spikes.num_spikes.size, samples_of(refractory_period_ms, fs))
        source = np.full(t_r.size, "given", dtype=object)
        exact = np.full(t_r.size, exact_samples_of(refractory_period_ms, fs))
    windows = _Windows(t_r, t_c, exact, exact_samples_of(censored_period_ms, fs))
    sliding = sliding_columns(spikes) if sliding is None else sliding
    columns, reasons = _columns(spikes, windows, source, confidence_level, sliding)
    if with_texts:
        columns["reason"] = _reason_texts(reasons, t_r.size)
    return ContaminationPanel(columns, reasons)


class _Windows(NamedTuple):
    """Refractory period of each unit, and censored period, in samples.

    Pairs are counted up to whole samples, as by SpikeInterface; intervals below the exact period.
    """

    refractory: NDArray[np.int64]
    censored: int
    exact_refractory: NDArray[np.float64]
    exact_censored: float


def _estimate_periods(
    spikes: SpikePairs, t_c: int
) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    fs = spikes.sampling_frequency
    pairs = spikes.counts.all_pairs.copy()
    pairs[:, :t_c] = 0
    binned = spikes.counts.binned_pairs
    plateau = np.maximum(binned[:, 10:50].mean(axis=1), binned[:, 250:].mean(axis=1))
    periods = estimate_refractory_periods(pairs, plateau * 1000.0 / fs, t_c, fs)
    source = np.where(periods.is_estimated, "autocorrelogram", "default").astype(object)
    return periods.samples, source


def _columns(
    spikes: SpikePairs,
    windows: _Windows,
    source: NDArray[np.object_],
    confidence_level: float,
    sliding: Mapping[str, NDArray[np.float64]],
) -> tuple[dict[str, Any], dict[str, NDArray[np.object_]]]:
    num_spikes, duration, fs, counts, _ = spikes
    units, t_r, t_c = np.arange(num_spikes.size), windows.refractory, windows.censored
    below = np.ceil(windows.exact_refractory).astype(np.int64) - 1  # the longest shorter interval
    adjacent = np.cumsum(counts.adjacent_pairs, axis=1)[units, below]
    cumulative = np.cumsum(counts.all_pairs, axis=1)
    pairs = cumulative[units, t_r]
    seconds = duration / fs
    expected = expected_pairs(num_spikes, t_r - t_c, duration, t_c)
    # the formulas for adjacent violations do not shorten the recording by the censored periods
    exact_window = windows.exact_refractory - windows.exact_censored
    expected_adjacent = expected_pairs(num_spikes, exact_window, duration)
    some = num_spikes > 1
    many, one, level = contamination_by_many_neurons, contamination_by_one_neuron, confidence_level
    by_isi = np.where(some, expected_adjacent, np.nan)
    by_pair = np.where(some, expected, np.nan)
    estimates = {
        "isi_violations_ratio": estimate_contamination(adjacent, by_isi, ums2000_ratio, level),
        "hill_contamination": estimate_contamination(adjacent, by_isi, one, level, 0.5),
        "rp_contamination": estimate_contamination(pairs, by_pair, many, level),
        "rp_contamination_one_neuron": estimate_contamination(pairs, by_pair, one, level, 0.5),
    }
    columns: dict[str, Any] = {
        "num_spikes": num_spikes,
        "firing_rate_hz": num_spikes / seconds if seconds > 0 else np.full(units.size, np.nan),
        "refractory_period_ms": t_r * 1000.0 / fs,
        "refractory_period_source": source,
        "isi_violations_count": adjacent,
        "rp_violations": pairs,
        "censored_pairs": counts.all_pairs[:, :t_c].sum(axis=1),
        "expected_pairs": expected,
    }
    for name, estimate in estimates.items():
        columns |= {
            name: estimate.value,
            f"{name}_lower": estimate.lower,
            f"{name}_upper": estimate.upper,
        }
    columns |= sliding
    kilosort = kilosort_refractoriness(counts.binned_pairs)
    too_few = kilosort.expected_where_zero < -np.log((1.0 - confidence_level) / 2.0)
    columns["kilosort_r12"] = np.where(too_few, np.nan, kilosort.r12)
    columns["kilosort_q12"] = kilosort.q12
    return columns, _explain(columns, estimates)


def sliding_columns(spikes: SpikePairs) -> dict[str, NDArray[np.float64]]:
    """Return the columns that need no refractory period: they try many of them."""
    fs = spikes.sampling_frequency
    cumulative = np.cumsum(spikes.counts.all_pairs, axis=1)
    step = max(samples_of(SLIDING_BIN_MS, fs), 1)
    ends = np.arange(step, int(SLIDING_MAX_MS * fs / 1000.0) + 1, step)
    ends = ends[ends - 0.5 * step > SLIDING_MIN_MS * fs / 1000.0]
    num_units = spikes.num_spikes.size
    if ends.size == 0 or spikes.duration <= 0:
        nothing = np.full(num_units, np.nan)
        found = (nothing, nothing, nothing)
    else:
        # lags below the end of the bin
        found = sliding_refractory_period(
            cumulative[:, ends - 1],
            ends.astype(np.float64),
            spikes.num_spikes,
            spikes.duration,
        )
    return {
        "sliding_rp_violation": found[0],
        "sliding_rp_period_ms": found[1] * 1000.0 / fs,
        "sliding_rp_confidence": found[2],
        "sliding_rp_ibl": _sliding_of_ibl(spikes, cumulative),
    }


def _sliding_of_ibl(spikes: SpikePairs, cumulative: NDArray[np.int64]) -> NDArray[np.float64]:
    """Try every whole number of samples: lags below it, of a middle beyond 0.5 ms to 10 ms."""
    fs = spikes.sampling_frequency
    periods = np.arange(1, int(SLIDING_MAX_MS * fs / 1000.0 + 1e-6) + 1)
    periods = periods[periods - 0.5 > SLIDING_MIN_MS * fs / 1000.0]
    if periods.size == 0:
        return np.full(spikes.num_spikes.size, np.nan)
    rate = spikes.far_pairs / np.maximum(spikes.num_spikes, 1)  # of one second
    return sliding_refractory_period_of_ibl(
        cumulative[:, periods - 1], periods / fs, spikes.num_spikes, rate
    )


_SLIDING_COLUMNS = (
    "sliding_rp_violation",
    "sliding_rp_period_ms",
    "sliding_rp_confidence",
    "sliding_rp_ibl",
)
_KILOSORT_COLUMNS = ("kilosort_r12", "kilosort_q12")
# the subject of a reason that holds for many columns
_SUBJECTS = {
    "no_spikes": "all estimates",
    "one_spike": "all estimates",
    "recording_too_short": "estimates from violations",
}
_NOT_WRITTEN = "no_estimate"


def _explain(
    columns: Mapping[str, NDArray], estimates: Mapping[str, Estimate]
) -> dict[str, NDArray[np.object_]]:
    """Explain for each column of the estimates where nothing is estimated."""
    num_spikes, expected = columns["num_spikes"], columns["expected_pairs"]
    names = (*estimates, *_SLIDING_COLUMNS, *_KILOSORT_COLUMNS)
    general = np.full(num_spikes.size, Explanation(_NOT_WRITTEN), dtype=object)
    general[np.isnan(expected)] = Explanation("recording_too_short")
    general[num_spikes == 1] = Explanation("one_spike")
    general[num_spikes == 0] = Explanation("no_spikes")
    is_missing = {name: np.isnan(columns[name]) for name in names}
    reasons = {name: general.copy() for name in names}
    for name in names:
        reasons[name][~is_missing[name]] = None
    some = num_spikes > 1
    for name, estimate in estimates.items():
        reasons[name][estimate.is_refuted] = Explanation("model_refuted")
        for row in np.flatnonzero(estimate.is_unknown):
            found = Explanation("too_few_expected", expected=float(expected[row]))
            reasons[name][row] = found
    none_ruled_out = Explanation(
        "nothing_ruled_out",
        most=float(SLIDING_CONTAMINATIONS[-1]),
        confidence=SLIDING_CONFIDENCE,
    )
    for name in _SLIDING_COLUMNS[:2]:
        reasons[name][is_missing["sliding_rp_violation"] & some] = none_ruled_out
    name = "sliding_rp_ibl"
    reasons[name][is_missing[name] & some] = Explanation(
        "nothing_ruled_out", most=float(IBL_CONTAMINATIONS[-1]), confidence=SLIDING_CONFIDENCE
    )
    no_shoulders = is_missing["kilosort_q12"] & some
    for name in _KILOSORT_COLUMNS:
        reasons[name][no_shoulders] = Explanation("no_shoulders")
    too_few = is_missing["kilosort_r12"] & some & ~no_shoulders
    reasons["kilosort_r12"][too_few] = Explanation("too_few_in_centre")
    return reasons


def _reason_texts(reasons: Mapping[str, NDArray[np.object_]], num_rows: int) -> list[str]:
    """Write the text of each row: the columns that are NaN for a reason, and the reason."""
    texts = []
    for row in range(num_rows):
        columns: dict[Explanation, list[str]] = {}
        for name, explanations in reasons.items():
            found = explanations[row]
            if found is not None and found.code != _NOT_WRITTEN:
                columns.setdefault(found, []).append(name)
        ordered = sorted(columns, key=lambda found: _ORDER.index(found.code))
        texts.append(
            "; ".join(
                f"{_SUBJECTS.get(found.code, ', '.join(columns[found]))}: {found}"
                for found in ordered
            )
        )
    return texts


_ORDER = [
    *_SUBJECTS,
    "too_few_expected",
    "model_refuted",
    "nothing_ruled_out",
    "no_shoulders",
    "too_few_in_centre",
]
