"""The stability metrics of one unit within a part of the recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.stability import (
    bins_in_periods,
    count_in_bins,
    drift_of_positions,
    firing_range,
    fraction_missing,
    histogram_of_sorted,
    medians_in_bins,
    noise_cutoff,
    presence_ratio,
    rows_of_bins,
    variation_in_bins,
)
from si_curation.quality.metrics.windows import Span

MetricResult = tuple[float, str]  # a value, or NaN and why
METRICS: dict[str, tuple[str, ...]] = {
    "num_spikes": ("num_spikes",),
    "firing_rate": ("firing_rate",),
    "presence_ratio": ("presence_ratio",),
    "firing_range": ("firing_range",),
    "amplitude_median": ("amplitude_median",),
    "amplitude_cv": ("amplitude_cv_median", "amplitude_cv_range"),
    "amplitude_cutoff": ("amplitude_cutoff",),
    "noise_cutoff": ("noise_cutoff", "noise_ratio"),
    "drift": ("drift_ptp", "drift_std", "drift_mad"),
}
NO_SPIKES = "no spikes"
NO_PERIODS = "outside the periods of this unit"


class Series(NamedTuple):
    """A value of some spikes of a unit, in the order of time."""

    samples: NDArray[np.int64]
    values: NDArray[np.floating]


class UnitSpikes(NamedTuple):
    """Spikes of a unit within a span."""

    span: Span
    samples: NDArray[np.int64]
    series: dict[str, Series]  # by metric
    known: dict[tuple, Any]  # what several metrics need of the same values


def part_of_unit(samples: NDArray[np.int64], series: dict[str, Series], span: Span) -> UnitSpikes:
    """Give the spikes of a unit that lie within a span."""
    if span.is_whole:
        return UnitSpikes(span, samples, series, {})
    cut = {}
    known: dict[int, Series] = {}
    for name, one in series.items():
        if id(one) not in known:
            keep = _rows_within(one.samples, span.periods)
            known[id(one)] = Series(one.samples[keep], one.values[keep])
        cut[name] = known[id(one)]
    return UnitSpikes(span, samples[_rows_within(samples, span.periods)], cut, {})


def _rows_within(samples, periods) -> slice | NDArray[np.int64]:
    bounds = np.searchsorted(samples, periods)
    if len(bounds) == 1:
        return slice(int(bounds[0, 0]), int(bounds[0, 1]))
    pieces = [np.arange(first, stop) for first, stop in bounds]
    return np.concatenate([np.zeros(0, dtype=np.int64), *pieces])


def measure_unit(
    unit: UnitSpikes,
    metrics: Sequence[str],
    params: Mapping[str, Mapping[str, Any]],
    missing: Mapping[str, str],
) -> dict[str, MetricResult]:
    """Measure one unit.

    Parameters
    ----------
    unit : UnitSpikes
    metrics : sequence of str
        Names of `METRICS`.
    params : mapping
        Parameters of each metric.
    missing : mapping
        Why a metric cannot be had of any unit.

    Returns
    -------
    dict
        {column: (value, "" or why it is NaN)}
    """
    out: dict[str, MetricResult] = {}
    for name in metrics:
        reason = missing.get(name, "")
        if not reason and name != "num_spikes" and unit.span.num_samples == 0:
            reason = NO_PERIODS
        if not reason and name in unit.series and unit.series[name].values.size == 0:
            reason = NO_SPIKES if unit.samples.size == 0 else "no spike with a value"
        if reason:
            out |= dict.fromkeys(METRICS[name], (np.nan, reason))
        else:
            measured = _FUNCTIONS[name](unit, params[name])
            out |= dict(zip(METRICS[name], measured, strict=True))
    return out


def _all(reason: str, count: int) -> list[MetricResult]:
    return [(np.nan, reason)] * count


def _num_spikes(unit: UnitSpikes, p) -> list[MetricResult]:
    return [(float(unit.samples.size), "")]


def _firing_rate(unit: UnitSpikes, p) -> list[MetricResult]:
    return [(unit.samples.size / unit.span.duration_s, "")]


def _presence(unit: UnitSpikes, p) -> list[MetricResult]:
    size = unit.span.size_of(p["bin_duration_s"])
    bins = unit.span.bins(size)
    if unit.span.num_samples < size or bins.starts.size == 0:
        return _all(f"shorter than a bin of {p['bin_duration_s']:g} s", 1)
    rate = unit.samples.size / unit.span.duration_s
    threshold = np.floor(rate * p["bin_duration_s"] * p["mean_fr_ratio_thresh"])
    return [(presence_ratio(count_in_bins(unit.samples, bins), threshold), "")]


def _firing_range(unit: UnitSpikes, p) -> list[MetricResult]:
    size = unit.span.size_of(p["bin_size_s"])
    bins = unit.span.bins(size)
    if unit.span.num_samples < size or bins.starts.size == 0:
        return _all(f"shorter than a bin of {p['bin_size_s']:g} s", 1)
    counts = count_in_bins(unit.samples, bins)
    return [(firing_range(counts, p["bin_size_s"], p["percentiles"]), "")]


def _amplitude_median(unit: UnitSpikes, p) -> list[MetricResult]:
    ordered = _ordered(unit, unit.series["amplitude_median"].values)
    return [(float(np.median(ordered)), "")]


def _amplitude_cv(unit: UnitSpikes, p) -> list[MetricResult]:
    samples, values = unit.series["amplitude_cv"]
    per_bin = p["average_num_spikes_per_bin"]
    rate = unit.samples.size / unit.span.duration_s
    size = max(int(per_bin / rate * unit.span.sampling_frequency), 1)
    found = []
    for periods in unit.span.periods_by_segment():
        bounds = np.searchsorted(samples, periods)
        pieces = [values[first:stop] for first, stop in bounds]
        inside = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
        mean = abs(float(inside.mean(dtype=np.float64))) if inside.size else 0.0
        if mean == 0:
            continue
        first, stop = rows_of_bins(samples, bins_in_periods(periods, size))
        found.append(variation_in_bins(values, first, stop, mean))
    spread = np.concatenate(found) if found else np.zeros(0)
    if spread.size < p["min_num_bins"]:
        return _all(f"fewer than {p['min_num_bins']} time bins of about {per_bin:g} spikes", 2)
    low, high = np.percentile(spread, p["percentiles"])
    return [(float(np.median(spread)), ""), (float(high - low), "")]


def _ordered(unit: UnitSpikes, values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Amplitudes in ascending order, of either sign: sorted once for several metrics."""
    key = ("ordered", id(values))
    if key not in unit.known:
        unit.known[key] = np.sort(values)
    return unit.known[key]


def _histogram(unit: UnitSpikes, values: NDArray[np.floating], num_bins: int) -> tuple:
    """Positive amplitudes, ascending, and the heights and edges of their histogram."""
    key = ("histogram", id(values), num_bins)
    if key not in unit.known:
        ordered = _ordered(unit, values)
        positive = -ordered[::-1] if np.median(ordered) < 0 else ordered
        unit.known[key] = (positive, *histogram_of_sorted(positive, num_bins))
    return unit.known[key]


def _amplitude_cutoff(unit: UnitSpikes, p) -> list[MetricResult]:
    values = unit.series["amplitude_cutoff"].values
    num_bins, ratio = p["num_histogram_bins"], p["amplitudes_bins_min_ratio"]
    if values.size / num_bins < ratio:
        return _all(f"fewer than {num_bins * ratio:g} spikes", 1)
    _, histogram, _ = _histogram(unit, values, num_bins)
    return [(fraction_missing(histogram, values.size, p["histogram_smoothing_value"]), "")]


def _noise_cutoff(unit: UnitSpikes, p) -> list[MetricResult]:
    values, histogram, edges = _histogram(unit, unit.series["noise_cutoff"].values, p["n_bins"])
    low = np.quantile(values, p["low_quantile"])
    high = np.quantile(values, 1 - p["high_quantile"])
    cutoff, ratio = noise_cutoff(histogram, edges, low, high)
    if np.isnan(ratio):
        return _all("no bin of the histogram is below the low quantile of the amplitudes", 2)
    reason = "less than two bins, or all equal, above the high quantile of the amplitudes"
    return [(cutoff, reason if np.isnan(cutoff) else ""), (ratio, "")]


def _drift(unit: UnitSpikes, p) -> list[MetricResult]:
    samples, values = unit.series["drift"]
    found, least = [], p["min_num_bins"]
    for bins in unit.span.segment_bins(unit.span.size_of(p["interval_s"])):
        if bins.starts.size < least:
            return _all(f"fewer than {least} intervals of {p['interval_s']:g} s", 3)
        first, stop = rows_of_bins(samples, bins)
        found.append(medians_in_bins(values, first, stop, p["min_spikes_per_interval"]))
    positions = np.concatenate(found) - float(np.median(values))
    untold = int(np.isnan(positions).sum())
    share = p["min_fraction_valid_intervals"]
    if untold > share * positions.size or untold == positions.size:
        return _all(
            f"more than {share:.0%} of the intervals of {p['interval_s']:g} s have fewer than "
            f"{p['min_spikes_per_interval']} spikes",
            3,
        )
    return [(value, "") for value in drift_of_positions(positions)]


_FUNCTIONS: dict[str, Callable[[UnitSpikes, Mapping[str, Any]], list[MetricResult]]] = {
    "num_spikes": _num_spikes,
    "firing_rate": _firing_rate,
    "presence_ratio": _presence,
    "firing_range": _firing_range,
    "amplitude_median": _amplitude_median,
    "amplitude_cv": _amplitude_cv,
    "amplitude_cutoff": _amplitude_cutoff,
    "noise_cutoff": _noise_cutoff,
    "drift": _drift,
}
