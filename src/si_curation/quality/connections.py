"""Monosynaptic connections of all pairs of units, with what speaks against each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import Checks
from si_curation.errors import MissingDataError, ParameterError
from si_curation.extensions.template_best_channels import phy_best_channels
from si_curation.kernels.hollow_gaussian import KERNEL_REACH_SIGMAS
from si_curation.kernels.monosynaptic import (
    DEFICIT,
    EXCESS,
    PairTests,
    SynapticBins,
    examine_pairs,
    synaptic_bins,
)
from si_curation.kernels.poisson import poisson_interval
from si_curation.quality.contamination import contamination_panel
from si_curation.reading.probe import planar_locations, shanks_of
from si_curation.variables import CONNECTIONS, Explanation, explanations_text

Method = Literal["english2017", "stark2009"]
Correction = Literal["none", "lags", "pairs"]
METHODS = ("english2017", "stark2009")
CORRECTIONS = ("none", "lags", "pairs")

#: What each column of the table is.
MONOSYNAPTIC_DESCRIPTIONS: dict[str, str] = CONNECTIONS.descriptions()


class _Parameters(NamedTuple):
    method: str
    alpha: float  # after correction
    alpha_zero_lag: float
    alpha_causal: float
    include_inhibitory: bool
    return_all: bool


def find_monosynaptic_connections(
    sorting_analyzer: SortingAnalyzer,
    *,
    method: Method = "english2017",
    bin_ms: float = 0.4,
    window_ms: float | None = None,
    sigma_ms: float = 10.0,
    hollow_fraction: float = 0.6,
    synaptic_window_ms: tuple[float, float] = (0.8, 2.8),
    anticausal_window_ms: tuple[float, float] = (0.0, 2.0),
    alpha: float = 0.001,
    alpha_causal: float = 0.0026,
    correction: Correction = "lags",
    include_inhibitory: bool = False,
    max_contamination: float = 0.1,
    min_expected_count: float = 2.0,
    confidence_level: float = 0.95,
    unit_ids: Sequence[Any] | None = None,
    return_all: bool = False,
) -> pd.DataFrame:
    """Find pairs of units of which one seems to drive (or silence) the other by a synapse.

    Every ordered pair of different units is tested on its exact cross-correlogram; no recording is
    needed. Several segments add up. What passes is a candidate: look at the flags.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Any analyzer. Channels are compared where it has the extension `template_best_channels`
        (then with its parameters), `template_assignment` or "templates".
    method : {"english2017", "stark2009"}
        Which pairs pass: those with both P_fast and P_causal small, or P_fast alone. The columns of
        both are given in either case.
    bin_ms : float
        Width of a bin, rounded to whole samples. Bins are centred on its multiples. English et al.
        take 0.4 ms, Stark & Abeles 1 ms.
    window_ms : float, optional
        The full window of the correlogram. By default as wide as the kernel reaches from the
        windows: a wider one changes nothing, a narrower one goes on as its mirror image.
    sigma_ms, hollow_fraction : float
        Of the hollow Gaussian: features that are slower are expected. See Notes.
    synaptic_window_ms : tuple of float
        First and last lag of the postsynaptic spikes; bins are taken whose centre is within.
    anticausal_window_ms : tuple of float
        Lags of the other sign that P_causal compares with, as positive numbers.
    alpha : float
        P_fast has to be below it, after correction.
    alpha_causal : float
        P_causal has to be below it; not corrected.
    correction : {"lags", "none", "pairs"}
        What `alpha` is divided by: the bins of the synaptic window (Stark & Abeles 2009), nothing
        (English et al. 2017), or those bins times the ordered pairs of units that have spikes.
    include_inhibitory : bool
        Look for deficits as well.
    max_contamination : float
        Units with a larger ``rp_contamination`` (`contamination_panel`) are flagged.
    min_expected_count : float
        Pairs with fewer expected pairs of spikes per bin are flagged: a handful of coincidences
        decides about them, and P_causal rests on counts of 0 and 1.
    confidence_level : float
        Of the two-sided interval of the transmission probability.
    unit_ids : sequence of unit ids, optional
        Units between which to look; all by default.
    return_all : bool
        Give all pairs, not only those that pass.

    Returns
    -------
    pandas.DataFrame
        A row for each ordered pair, in the order of the units, with the columns of
        `MONOSYNAPTIC_DESCRIPTIONS`, which tells what each is. A pair has one row: if it passes as
        excitatory and as inhibitory, the smaller P_fast decides. Where a unit has no spikes (only
        with `return_all`), what is estimated is NaN.

    Raises
    ------
    ParameterError
        A parameter cannot be used, or a unit id occurs twice.
    UnknownIdError
        A unit id does not exist.

    See Also
    --------
    si_curation.kernels.hollow_gaussian : baseline and probabilities
    si_curation.contamination_panel : the contamination of each unit

    Notes
    -----
    With ``n(m)`` pairs of spikes in bin ``m`` and ``P`` the probability of a Poisson count:

    - **expected** ``l(m) = sum_d w(d) n(m + d)``, ``w(d) ~ exp(-d**2 / (2 sigma**2))``, ``w(0)``
      times 1 - `hollow_fraction` (Stark & Abeles 2009). For pairs that share channels the bin at
      lag 0 is left out of it, since sorters miss the second of two spikes that overlap. The
      programs that descend from that of Stark & Abeles take a width W of twice sigma.
    - **P_fast** ``= 1 - sum_{x < n} P(x; l) - P(n; l) / 2``.
    - **P_causal** is the same with the largest count of the anticausal window in place of ``l``
      (English et al. 2017). That window has as many bins as the synaptic one by default. For
      deficits it is the smallest count, without the bin at lag 0.
    - **Transmission probability** ``= sum_m (n(m) - l(m)) / N``, over the synaptic window, with
      ``N`` presynaptic spikes. The interval is that of the Poisson count ``sum n(m)``; it does not
      cover the choice of the baseline, nor that the pair was picked because the value is large.

    **By chance** 0.5 to 0.9 of 1000 unconnected ordered pairs pass ``"stark2009"`` and 0.2 to 0.4
    pass ``"english2017"``; without correction of the lags 0.7 to 1.5, with that of the pairs none
    (simulated, ``benchmarks/bench_monosynaptic.py``). Rate changes that two units share make no
    difference as long as they are much slower than `sigma_ms`. Faster ones look like a synapse to
    ``"stark2009"`` and largely not to ``"english2017"``. No correlogram tells a synapse from a
    third neuron that drives one unit some milliseconds after the other.

    References: Stark & Abeles, J. Neurosci. Methods 179, 90 (2009); English, McKenzie, Evans, Kim,
    Yoon & Buzsáki, Neuron 96, 505 (2017).

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> table = find_monosynaptic_connections(analyzer, return_all=True)
    >>> len(analyzer.unit_ids), len(table)
    (8, 56)
    """
    checks = Checks.of_call(find_monosynaptic_connections, locals())
    analyzer = sorting_analyzer
    checks.choice("method", method, METHODS)
    checks.choice("correction", correction, CORRECTIONS)
    checks.number("bin_ms", bin_ms, above=0)
    checks.number("window_ms", window_ms, above=0, at_most=10_000, optional=True)
    checks.number("sigma_ms", sigma_ms, above=0)
    checks.number("hollow_fraction", hollow_fraction, at_least=0, at_most=1)
    checks.number("alpha", alpha, at_least=0, at_most=1)
    checks.number("alpha_causal", alpha_causal, at_least=0, at_most=1)
    checks.number("max_contamination", max_contamination, at_least=0, at_most=1)
    checks.number("confidence_level", confidence_level, above=0, below=1)
    checks.number("min_expected_count", min_expected_count, at_least=0)
    _check_window(checks, "synaptic_window_ms", synaptic_window_ms, "above 0")
    _check_window(checks, "anticausal_window_ms", anticausal_window_ms, "from 0")
    checks.finish()
    setup, bin_ms = _setup(
        analyzer.sampling_frequency,
        bin_ms,
        window_ms,
        sigma_ms,
        hollow_fraction,
        synaptic_window_ms,
        anticausal_window_ms,
    )
    panel = contamination_panel(analyzer, unit_ids=unit_ids)
    units = pd.Index(analyzer.unit_ids).get_indexer(panel.index)
    places = places_of(analyzer, units)
    num_spikes = panel["num_spikes"].to_numpy()
    parameters = _Parameters(
        method,
        alpha / _num_tests(correction, setup.causal.size, num_spikes),
        alpha,
        alpha_causal,
        include_inhibitory,
        return_all,
    )
    samples, unit_index, segments = _spikes_of(analyzer, units)
    tests = examine_pairs(
        samples,
        unit_index,
        segments,
        units.size,
        setup,
        shared_channels(places, units.size) > 0,
        lambda tests: np.full(tests.pre.size, True) if return_all else _types(tests, parameters)[1],
    )
    table = _tabulate(tests, parameters, bin_ms, num_spikes, confidence_level)
    few = tests.window_expected / setup.causal.size < min_expected_count
    table["too_few_spikes"] = few
    add_places(table, tests, places)
    add_contamination(table, tests, panel["rp_contamination"].to_numpy(), max_contamination)
    table["verdict"] = verdict_texts(table)
    table.insert(0, "pre_unit_id", analyzer.unit_ids[units[tests.pre]])
    table.insert(1, "post_unit_id", analyzer.unit_ids[units[tests.post]])
    return table[list(MONOSYNAPTIC_DESCRIPTIONS)]


# ---------------------------------------------------------------------------------- parameters


def _check_window(checks: Checks, name: str, window_ms: tuple[float, float], least: str) -> None:
    if name in checks.wrong_kinds:
        return
    first, last = window_ms
    starts = first > 0 if least == "above 0" else first >= 0
    checks.require(
        starts and first <= last and np.isfinite(last),
        f"{name} is {window_ms!r}, expected two lags {least} in order",
    )


def _setup(
    fs: float,
    bin_ms: float,
    window_ms: float | None,
    sigma_ms: float,
    hollow_fraction: float,
    causal_ms: tuple[float, float],
    anticausal_ms: tuple[float, float],
) -> tuple[SynapticBins, float]:
    """Turn milliseconds into bins; give the width of a bin as it is, too."""
    bin_samples = round(bin_ms * fs * 1e-3)
    if bin_samples < 1:
        raise ParameterError(
            f"bin_ms is {bin_ms!r}, less than half a sample at {fs:g} Hz: take larger bins"
        )
    width = bin_samples * 1000.0 / fs
    sigma_bins = sigma_ms / width
    if sigma_bins < 1:
        raise ParameterError(f"sigma_ms is {sigma_ms!r}, expected at least one bin ({width:g} ms)")
    if window_ms is None:
        reach = round(KERNEL_REACH_SIGMAS * sigma_bins)
        num_half_bins = reach + int(np.ceil(max(causal_ms[1], anticausal_ms[1]) / width))
    else:
        num_half_bins = int(round(fs * window_ms / 2 * 1e-3) // bin_samples)
    setup = synaptic_bins(
        bin_samples,
        num_half_bins,
        sigma_bins,
        hollow_fraction,
        (causal_ms[0] / width, causal_ms[1] / width),
        (anticausal_ms[0] / width, anticausal_ms[1] / width),
    )
    return setup, width


def _num_tests(correction: str, num_lags: int, num_spikes: NDArray[np.int64]) -> int:
    if correction == "none":
        return 1
    num_units = int(np.count_nonzero(num_spikes))
    return num_lags * (max(1, num_units * (num_units - 1)) if correction == "pairs" else 1)


def _spikes_of(
    analyzer: SortingAnalyzer, units: NDArray[np.int64]
) -> tuple[NDArray, NDArray, NDArray]:
    spikes = spike_vector_of(analyzer.sorting)
    position = np.full(len(analyzer.unit_ids), -1, dtype=np.int64)
    position[units] = np.arange(units.size)
    unit_index = position[spikes["unit_index"]]
    kept = unit_index >= 0
    return spikes["sample_index"][kept], unit_index[kept], spikes["segment_index"][kept]


# -------------------------------------------------------------------------------------- table


def _types(
    tests: PairTests, parameters: _Parameters
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the column of each pair that counts, whether it passes, by Stark, and by English."""
    stark = tests.p_fast < parameters.alpha
    english = stark & (tests.p_causal < parameters.alpha_causal)
    passes = english if parameters.method == "english2017" else stark
    side = np.full(tests.pre.size, EXCESS)
    if parameters.include_inhibitory:
        is_smaller = tests.p_fast[:, DEFICIT] < tests.p_fast[:, EXCESS]
        side[passes[:, DEFICIT] & (is_smaller | ~passes[:, EXCESS])] = DEFICIT
    rows = np.arange(side.size)
    return side, passes[rows, side], stark[rows, side], english[rows, side]


def _tabulate(
    tests: PairTests,
    parameters: _Parameters,
    bin_ms: float,
    num_spikes: NDArray[np.int64],
    confidence_level: float,
) -> pd.DataFrame:
    side, passes, stark, english = _types(tests, parameters)
    rows = np.arange(side.size)
    pre, post = num_spikes[tests.pre], num_spikes[tests.post]
    known = np.where((pre > 0) & (post > 0), 1.0, np.nan)
    per_spike = known / np.maximum(pre, 1)
    lower, upper = poisson_interval(tests.window_observed, confidence_level)
    expected = tests.window_expected
    names = np.array(["excitatory", "inhibitory"], dtype=object)
    return pd.DataFrame(
        {
            "connection_type": np.where(passes, names[side], ""),
            "lag_ms": known * tests.lag_bins[rows, side] * bin_ms,
            "observed_count": tests.observed[rows, side],
            "expected_count": tests.expected[rows, side],
            "p_fast": known * tests.p_fast[rows, side],
            "p_causal": known * tests.p_causal[rows, side],
            "transmission_probability": per_spike * (tests.window_observed - expected),
            "transmission_probability_lower": per_spike * (lower - expected),
            "transmission_probability_upper": per_spike * (upper - expected),
            "num_spikes_pre": pre,
            "num_spikes_post": post,
            "passes_stark2009": stark,
            "passes_english2017": english,
            "zero_lag_peak": tests.p_zero_lag < parameters.alpha_zero_lag,
            "both_directions": stark & (tests.p_fast_reverse[rows, side] < parameters.alpha),
        }
    )


# ------------------------------------------------------------------------------------------- flags


logger = logging.getLogger(__name__)


class Places(NamedTuple):
    """Where units are on the probe.

    Attributes
    ----------
    channels : array (n_units, n_channels) bool
        Best channels.
    best : array (n_units,) int64
        Index of the best one; -1 for a unit without.
    locations : array (n_channels, 2) in µm
    shanks : array (n_channels,)
    """

    channels: NDArray[np.bool_]
    best: NDArray[np.int64]
    locations: NDArray[np.floating]
    shanks: NDArray


def places_of(analyzer: SortingAnalyzer, units: NDArray[np.int64]) -> Places | None:
    """Return the best channels of the units; None where there are no templates."""
    extension = analyzer.get_extension("template_best_channels")
    if extension is not None:
        ranked = extension.get_channel_indices().astype(np.int64)
    else:
        try:
            ranked = phy_best_channels(analyzer).by_unit
        except MissingDataError as error:
            logger.info("shared channels are unknown: %s", error)
            return None
    ranked = ranked[units]
    num_channels = len(analyzer.channel_ids)
    # a last column for what is padded
    channels = np.zeros((units.size, num_channels + 1), dtype=bool)
    channels[np.arange(units.size)[:, None], ranked] = True
    best = ranked[:, 0] if ranked.shape[1] else np.full(units.size, -1)
    locations = planar_locations(analyzer)
    return Places(channels[:, :num_channels], best, locations, shanks_of(analyzer))


def shared_channels(places: Places | None, num_units: int) -> NDArray[np.int64]:
    """Count the channels that each two units share (n_units, n_units); 0 where unknown."""
    if places is None:
        return np.zeros((num_units, num_units), dtype=np.int64)
    channels = places.channels.astype(np.float32)
    return np.rint(channels @ channels.T).astype(np.int64)


def add_places(table: pd.DataFrame, tests: PairTests, places: Places | None) -> None:
    """Add columns about channels, shank and distance."""
    pre, post = tests.pre, tests.post
    if places is None:
        unknown = np.full(pre.size, True)
        shared, same = np.zeros(pre.size, dtype=np.int64), np.zeros(pre.size, dtype=bool)
        distance = np.full(pre.size, np.nan)
    else:
        a, b = places.best[pre], places.best[post]
        unknown = (a < 0) | (b < 0)
        shared = shared_channels(places, len(places.best))[pre, post]
        same = places.shanks[a] == places.shanks[b]
        distance = np.linalg.norm(places.locations[a] - places.locations[b], axis=1)
        distance[unknown] = np.nan
    table["num_shared_channels"] = pd.arrays.IntegerArray(shared, unknown)
    table["shares_channels"] = pd.arrays.BooleanArray(shared > 0, unknown)
    table["same_shank"] = pd.arrays.BooleanArray(same, unknown.copy())
    table["distance_um"] = distance


def add_contamination(
    table: pd.DataFrame, tests: PairTests, contamination: NDArray[np.float64], most: float
) -> None:
    """Add columns about the contamination (n_units,) of the two units."""
    sides = [contamination[tests.pre], contamination[tests.post]]
    table["contamination_pre"], table["contamination_post"] = sides
    pre, post = (pd.arrays.BooleanArray(side > most, np.isnan(side)) for side in sides)
    table["contaminated"] = pre | post  # true where one is, whatever the other


_FLAGS = ("shares_channels", "contaminated", "zero_lag_peak", "both_directions", "too_few_spikes")


def explain(table: pd.DataFrame) -> tuple[list[list[Explanation]], NDArray[np.intp]]:
    """Explain each row: what was found, and for a connection what speaks against it.

    Parameters
    ----------
    table : pandas.DataFrame
        With the columns of `si_curation.variables.CONNECTIONS`, but for the verdict.

    Returns
    -------
    explanations : list of list of Explanation
        The different ones: what was found, and then the flags.
    which : array (n_rows,) int
        The one of each row.
    """
    flags = {f"flag_{name}": table[name].fillna(False).to_numpy(dtype=bool) for name in _FLAGS}
    flags |= {
        "flag_channels_unknown": table["shares_channels"].isna().to_numpy(),
        "flag_contamination_unknown": table["contaminated"].isna().to_numpy(),
        "flag_not_causal": ~table["passes_english2017"].to_numpy(dtype=bool),
    }
    kind = table["connection_type"].to_numpy(dtype=object)
    found = np.select(
        [kind == "excitatory", kind == "inhibitory", table["p_fast"].isna().to_numpy(),
         table["passes_stark2009"].to_numpy(dtype=bool)],
        range(4),
        default=4,
    )  # fmt: skip
    code = found.astype(np.int64) << len(flags)
    for bit, is_set in enumerate(flags.values()):
        code |= (is_set & (kind != "")).astype(np.int64) << bit
    different, which = np.unique(code, return_inverse=True)
    explanations = [
        [
            Explanation(_FOUND[value >> len(flags)]),
            *(Explanation(flag) for bit, flag in enumerate(flags) if value >> bit & 1),
        ]
        for value in different.tolist()
    ]
    return explanations, which


_FOUND = (
    "connection_excitatory",
    "connection_inhibitory",
    "connection_not_tested",
    "connection_not_causal",
    "connection_not_fast",
)


def verdict_texts(table: pd.DataFrame) -> NDArray[np.object_]:
    """Write each row in words: what was found, and what speaks against a connection."""
    explanations, which = explain(table)
    texts = np.array([_verdict_text(*one) for one in explanations], dtype=object)
    return texts[which] if len(table) else np.zeros(0, dtype=object)


def _verdict_text(found: Explanation, *flags: Explanation) -> str:
    if found.code not in _FOUND[:2]:
        return str(found)
    return f"{found}, but: {explanations_text(flags)}" if flags else f"{found}, no flag"
