"""The evidence of chosen pairs of units of an analyzer, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array
from si_curation.errors import UnknownIdError
from si_curation.evidence.continuity import (
    NUM_TIME_BINS,
    Continuity,
    continuity_of_pairs,
    time_overlap,
    time_profile,
)
from si_curation.evidence.explain import reasons
from si_curation.evidence.merge_evidence import (
    CrossRefractoriness,
    LagCounts,
    choose_refractory_periods,
    count_lags,
    cross_refractoriness,
)
from si_curation.evidence.merge_score import (
    MERGE_DESCRIPTIONS,
    burst_asymmetry,
    continuity_term,
    merge_score,
    probability_of_one_neuron,
)
from si_curation.kernels.coincidences import count_coincident_spikes
from si_curation.kernels.contamination import (
    contamination_by_many_neurons,
    estimate_contamination,
    expected_pairs,
)

# differences that are as good as none: share of the amplitude, and of depth in µm
AMPLITUDE_RESOLUTION, DEPTH_RESOLUTION_UM = 0.05, 3.0
MAX_REFRACTORY_PERIOD_MS, MAX_DUPLICATE_WINDOW_MS = 10.0, 1.0


def check_number(
    problems: list[str], name: str, value: Any, low: float, high: float, what: str
) -> bool:
    """Note a problem unless the value is a number from `low` to `high`; whether it is one."""
    try:
        is_usable = not isinstance(value, bool | str) and low <= float(value) <= high
    except (TypeError, ValueError):
        is_usable = False
    if not is_usable:
        problems.append(f"{name} is {value!r}, expected {what}")
    return is_usable


def check_periods(
    problems: list[str], sampling_frequency: float, period_ms: Any, duplicate_ms: Any
) -> None:
    """Note what is wrong with a refractory period (or None) and a duplicate window."""
    most = MAX_REFRACTORY_PERIOD_MS
    is_usable = check_number(
        problems, "duplicate_window_ms", duplicate_ms, 0.0, MAX_DUPLICATE_WINDOW_MS, "0 to 1 ms"
    )
    if period_ms is None:
        return
    what = f"None, or above 0 and up to {most:g} ms"
    is_usable &= check_number(problems, "refractory_period_ms", period_ms, 1e-9, most, what)
    fs = sampling_frequency
    if is_usable and round(period_ms * fs * 1e-3) <= round(duplicate_ms * fs * 1e-3):
        problems.append(
            f"refractory_period_ms is {period_ms!r}, not longer than duplicate_window_ms "
            f"({duplicate_ms!r}) by a sample at {fs:g} Hz: give a longer one"
        )


def rows_of_units(analyzer: SortingAnalyzer, unit_ids: Sequence[Any] | None) -> NDArray[np.int64]:
    """Give the indices of units, ascending; of all units for None.

    Raises
    ------
    UnknownIdError
    """
    position = {unit_id: row for row, unit_id in enumerate(analyzer.unit_ids.tolist())}
    wanted = list(position) if unit_ids is None else np.asarray(unit_ids).tolist()
    unknown = [unit_id for unit_id in wanted if unit_id not in position]
    if unknown:
        raise UnknownIdError(
            f"there are no units {unknown}; the analyzer has {len(position)} units, see .unit_ids"
        )
    return np.unique(np.array([position[unit_id] for unit_id in wanted], dtype=np.int64))


def tabulate_pairs(
    analyzer: SortingAnalyzer,
    pairs: NDArray[np.int64],
    similarity: NDArray[np.float64],
    distance: NDArray[np.float64],
    num_spikes: NDArray[np.int64],
    given: int | None,
    duplicate: int,
) -> pd.DataFrame:
    """Tabulate the evidence of pairs of units.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    pairs : array (n_pairs, 2) int64
        Unit indices.
    similarity, distance : array (n_pairs,) float64
    num_spikes : array (n_units,) int64
    given : int, optional
        Refractory period in samples; estimated by default.
    duplicate : int
        Duplicate window in samples.

    Returns
    -------
    pandas.DataFrame
        With the columns of `MERGE_DESCRIPTIONS`, in the order of `pairs`.
    """
    fs = analyzer.sampling_frequency
    spikes = analyzer.sorting.to_spike_vector()
    samples, units = spikes["sample_index"], spikes["unit_index"]
    segments, num_units = spikes["segment_index"], len(analyzer.unit_ids)
    longest = max(5.0, 0.0 if given is None else given * 1e3 / fs)
    counts = count_lags(samples, units, segments, num_units, pairs, fs, longest)
    if given is None:
        period, is_estimated = choose_refractory_periods(counts, pairs, duplicate, fs)
    else:
        period, is_estimated = np.full(len(pairs), given), np.zeros(len(pairs), dtype=bool)
    found = cross_refractoriness(counts, pairs, period, duplicate, fs)
    time_bin = _time_bins(analyzer, spikes)
    rates = time_profile(units, time_bin, num_units)
    overlap = time_overlap(rates.counts, pairs)
    spikes_of_pair = num_spikes[pairs]  # (n_pairs, 2)
    columns: dict[str, Any] = {
        "unit_id_a": analyzer.unit_ids[pairs[:, 0]],
        "unit_id_b": analyzer.unit_ids[pairs[:, 1]],
        "score": np.zeros(len(pairs)),
        "reason": "",
        "similarity": similarity,
        "one_neuron_probability": probability_of_one_neuron(
            found.log_odds, overlap, spikes_of_pair.min(axis=1, initial=1 << 62)
        ),
        "amplitude_term": np.nan,
        "depth_term": np.nan,
        "num_spikes_a": spikes_of_pair[:, 0],
        "num_spikes_b": spikes_of_pair[:, 1],
        "distance_um": distance,
        **_refractory_columns(found, period * 1e3 / fs, is_estimated, given is not None),
        "time_overlap": overlap,
        "shared_templates": _shared_templates(analyzer, pairs),
    }
    amplitudes, depths = _compare(analyzer, spikes, time_bin, pairs)
    follows = _burst(counts, pairs, period, amplitudes[1], fs)
    columns["amplitude_term"] = continuity_term(amplitudes[0].distance, follows)
    columns["depth_term"] = continuity_term(depths[0].distance)
    bin_s = analyzer.get_total_samples() / fs / NUM_TIME_BINS
    columns |= {
        "amplitude_difference": amplitudes[0].difference,
        "amplitude_distance": amplitudes[0].distance,
        "depth_difference_um": depths[0].difference,
        "depth_distance": depths[0].distance,
        "time_gap_s": np.fmax(amplitudes[0].gap, depths[0].gap) * bin_s,
        "burst_asymmetry": follows,
    }
    columns |= _duplicate_columns(
        count_coincident_spikes(samples, units, segments, num_units, pairs, duplicate),
        spikes_of_pair,
        counts.rate(counts.ab + counts.ba, fs) * (duplicate + 1),
    )
    columns |= _contamination_columns(
        found, spikes_of_pair, period - duplicate, float(analyzer.get_total_samples())
    )
    table = pd.DataFrame(columns)
    terms = ["similarity", "one_neuron_probability", "amplitude_term", "depth_term"]
    table["score"] = merge_score(*(table[name].to_numpy(dtype=np.float64) for name in terms))
    table["reason"] = reasons(table)
    return table[list(MERGE_DESCRIPTIONS)]


def _shared_templates(analyzer: SortingAnalyzer, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the sorter's templates that both units of each pair have spikes of."""
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None or len(pairs) == 0:
        return np.zeros(len(pairs), dtype=np.int64)
    has = (assignment.get_template_counts() > 0).astype(np.int64)
    both = has[pairs[:, 0]].multiply(has[pairs[:, 1]])
    return np.asarray(both.sum(axis=1)).ravel().astype(np.int64)


def _refractory_columns(
    found: CrossRefractoriness, period_ms, is_estimated, is_given: bool
) -> dict[str, Any]:
    source = np.where(is_estimated, "autocorrelograms", "given" if is_given else "default")
    return {
        "refractory_period_ms": period_ms,
        "refractory_period_source": source.astype(object),
        "refractory_observed": found.observed,
        "refractory_expected": found.expected,
        "refractory_ratio": found.ratio,
        "refractory_ratio_lower": found.lower,
        "refractory_ratio_upper": found.upper,
        "refractory_ratio_if_one": found.ratio_if_one,
        "refractory_chance": found.chance,
        "refractory_power": found.power,
    }


def _time_bins(analyzer: SortingAnalyzer, spikes: NDArray) -> NDArray[np.int64]:
    """Time bin of each spike; segments follow each other."""
    lengths = [analyzer.get_num_samples(s) for s in range(analyzer.get_num_segments())]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    time = spikes["sample_index"] + starts[:-1][spikes["segment_index"]]
    bins = np.floor(time * (NUM_TIME_BINS / max(int(starts[-1]), 1))).astype(np.int64)
    return np.clip(bins, 0, NUM_TIME_BINS - 1)


def _compare(analyzer, spikes, time_bin, pairs):
    """Amplitude and depth of the units of each pair; and which unit has the larger amplitude."""
    num_units = len(analyzer.unit_ids)

    def profile(values: NDArray):
        return time_profile(spikes["unit_index"], time_bin, num_units, values)

    nothing = Continuity(*np.full((3, len(pairs)), np.nan))
    amplitudes, size = nothing, np.full(num_units, np.nan)
    extension = analyzer.get_extension("spike_amplitudes")
    if extension is not None:
        found = profile(np.abs(as_array(extension.data["amplitudes"])))
        total = found.counts.sum(axis=1)
        size = np.divide(
            (found.counts * found.means).sum(axis=1),
            total,
            out=np.full(num_units, np.nan),
            where=total > 0,
        )
        resolution = AMPLITUDE_RESOLUTION * np.nan_to_num(size[pairs].mean(axis=1)) + 1e-12
        amplitudes = continuity_of_pairs(found, pairs, resolution)
    depths = nothing
    extension = analyzer.get_extension("spike_locations")
    if extension is not None:
        depths = continuity_of_pairs(
            profile(as_array(extension.data["spike_locations"])["y"]), pairs, DEPTH_RESOLUTION_UM
        )
    return (amplitudes, size), (depths,)


def _burst(counts: LagCounts, pairs, period, size, fs) -> NDArray[np.float64]:
    ab, ba = counts.burst(counts.ab, period, fs), counts.burst(counts.ba, period, fs)
    first, second = size[pairs[:, 0]], size[pairs[:, 1]]
    found = burst_asymmetry(np.where(first >= second, ab, ba), np.where(first >= second, ba, ab))
    return np.where(np.isfinite(first) & np.isfinite(second), found, np.nan)


def _duplicate_columns(coincident, num_spikes, by_chance) -> dict[str, Any]:
    rows, smaller = np.arange(len(num_spikes)), num_spikes.argmin(axis=1)
    fewest = np.maximum(num_spikes[rows, smaller], 1)
    return {
        "duplicate_fraction": coincident[rows, smaller] / fewest,
        "duplicate_fraction_by_chance": np.minimum(by_chance / fewest, 1.0),
    }


def _contamination_columns(found, num_spikes, window, duration: float) -> dict[str, Any]:
    def estimate(violations, spikes):
        expected = expected_pairs(spikes, window, duration)
        return estimate_contamination(violations, expected, contamination_by_many_neurons).value

    together = found.auto_observed.sum(axis=1) + found.observed
    return {
        "contamination_a": estimate(found.auto_observed[:, 0], num_spikes[:, 0]),
        "contamination_b": estimate(found.auto_observed[:, 1], num_spikes[:, 1]),
        "contamination_merged": estimate(together, num_spikes.sum(axis=1)),
    }
