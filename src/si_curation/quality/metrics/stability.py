"""Metrics of how steady units are: presence, firing rate, amplitudes, position."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import segment_samples_of, spike_vector_of
from si_curation.checks import Checks, unit_indices_of
from si_curation.kernels.parallel import run_blocks
from si_curation.kernels.spikes_by_unit import spikes_by_unit
from si_curation.kernels.stability import (
    bins_in_periods,
    count_in_bins,
    drift_of_positions,
    firing_range,
    fraction_missing,
    histogram_of_sorted,
    median_of_sorted,
    medians_in_bins,
    noise_cutoff,
    presence_ratio,
    quantile_of_sorted,
    rows_of_bins,
    spread_of_percentiles,
    variation_in_bins,
)
from si_curation.quality.metrics.result import MetricResult, MetricValues, no_reasons
from si_curation.quality.metrics.spike_values import SpikeValues, amplitudes_of, positions_of
from si_curation.quality.metrics.trains import TrainsOfUnits
from si_curation.quality.metrics.windows import PeriodsByUnit, Span, spans_of
from si_curation.variables import STABILITY, Explanation

DEFAULT_PARAMS: dict[str, dict[str, Any]] = {
    "num_spikes": {},
    "firing_rate": {},
    "presence_ratio": {"bin_duration_s": 60, "mean_fr_ratio_thresh": 0.0},
    "firing_range": {"bin_size_s": 5, "percentiles": (5, 95)},
    "amplitude_median": {},
    "amplitude_cv": {
        "average_num_spikes_per_bin": 50,
        "percentiles": (5, 95),
        "min_num_bins": 10,
        "amplitude_extension": "spike_amplitudes",
    },
    "amplitude_cutoff": {
        "num_histogram_bins": 100,
        "histogram_smoothing_value": 3,
        "amplitudes_bins_min_ratio": 5,
    },
    "noise_cutoff": {"high_quantile": 0.25, "low_quantile": 0.1, "n_bins": 100},
    "drift": {
        "interval_s": 60,
        "min_spikes_per_interval": 100,
        "direction": "y",
        "min_fraction_valid_intervals": 0.5,
        "min_num_bins": 2,
    },
}
_OF_TIMES = ("num_spikes", "firing_rate", "presence_ratio", "firing_range")


def compute_stability(
    sorting_analyzer: SortingAnalyzer,
    unit_ids: Sequence[Any] | NDArray | None = None,
    metric_names: Sequence[str] | None = None,
    *,
    metric_params: Mapping[str, Mapping[str, Any]] | None = None,
    periods: PeriodsByUnit | None = None,
    windows: NDArray[np.int64] | None = None,
    trains: TrainsOfUnits | None = None,
) -> MetricValues:
    """Measure how steady units are over the recording.

    The definitions and values are SpikeInterface's, except:

    - A unit without spikes has ``firing_rate``, ``presence_ratio`` and ``firing_range`` 0, not NaN.
    - ``amplitude_cv_*`` leave out time bins without spikes; one such bin makes SpikeInterface's
      NaN.
    - With `periods` (or `windows`), bins lie within the periods, from the start of each;
      SpikeInterface also counts bins across the gaps between them, cuts the end of each at a
      multiple of the bin, and its amplitude_cv bins go over the whole recording.
    - Spikes whose amplitude or position is not a number are left out.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    unit_ids : sequence, optional
        All by default.
    metric_names : sequence of str, optional
        Columns, of `si_curation.variables.STABILITY`; all by default.
    metric_params : mapping, optional
        {metric: {parameter: value}}; SpikeInterface's names and defaults (`DEFAULT_PARAMS`).
    periods : dict, optional
        As `normalise_periods` returns them.
    windows : array (n_windows, 3) int64, optional
        As `windows_of` returns them: values and reasons are then (n_units, n_windows).
    trains : TrainsOfUnits, optional
        Of the analyzer, where several groups of metrics share them.

    Returns
    -------
    MetricValues

    Raises
    ------
    ParameterError

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> compute_stability(analyzer, [13], ["presence_ratio"]).values["presence_ratio"]
    array([1.])
    """
    analyzer = sorting_analyzer
    wanted = analyzer.unit_ids if unit_ids is None else np.asarray(unit_ids)
    columns = list(STABILITY) if metric_names is None else list(metric_names)
    params = complete_params(metric_params)
    metrics = [name for name, its in METRICS.items() if set(its) & set(columns)]
    units = unit_indices_of(analyzer, wanted, may_repeat=True)
    found = {name: _values_for(analyzer, name, params[name]) for name in metrics}
    missing = {name: text for name, text in found.items() if isinstance(text, Explanation)}
    spans = spans_of(analyzer, wanted, periods)
    parts = _absolute(analyzer, windows)
    series_of = _series_of(analyzer, units, found, trains)

    def measure(i: int) -> list[dict[str, MetricResult]]:
        samples, series = series_of(i)
        out = []
        for start, stop in parts:
            span = spans[i] if start is None else spans[i].within(start, stop)
            unit = part_of_unit(samples, series, span)
            out.append(measure_unit(unit, metrics, params, missing))
        return out

    results = run_blocks(measure, list(range(len(units))))
    shape = (len(units),) if windows is None else (len(units), len(windows))
    values = {c: np.full(shape, np.nan) for c in columns}
    reasons = {c: no_reasons(shape) for c in columns}
    for c in columns:
        flat = [window[c] for unit in results for window in unit]
        values[c] = np.array([value for value, _ in flat], dtype=np.float64).reshape(shape)
        reasons[c].reshape(-1)[:] = [reason for _, reason in flat]
    source_of = {name: "spike times" if values is None else "" for name, values in found.items()}
    source_of |= {n: f.source for n, f in found.items() if isinstance(f, SpikeValues)}
    sources = {c: source_of[n] for n in metrics for c in METRICS[n] if c in columns}
    return MetricValues(values, reasons, sources)


_POSITIVE = (
    ("presence_ratio", "bin_duration_s"),
    ("firing_range", "bin_size_s"),
    ("amplitude_cv", "average_num_spikes_per_bin"),
    ("amplitude_cutoff", "num_histogram_bins"),
    ("amplitude_cutoff", "histogram_smoothing_value"),
    ("noise_cutoff", "n_bins"),
    ("drift", "interval_s"),
)


def complete_params(given: Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """Fill up parameters with defaults.

    Raises
    ------
    ParameterError
        Unknown names, or values that cannot be used; all at once.
    """
    params = {name: {**defaults, **(given or {}).get(name, {})} for name, defaults in
              DEFAULT_PARAMS.items()}  # fmt: skip
    checks = Checks()
    for name, its in params.items():
        for key in its:
            checks.require(
                key in DEFAULT_PARAMS[name],
                f"{name} has no parameter {key!r}, expected some of "
                f"{', '.join(DEFAULT_PARAMS[name])}",
            )
    for name, key in _POSITIVE:
        checks.number(f"{name}: {key}", params[name][key], above=0)
    least = params["presence_ratio"]["mean_fr_ratio_thresh"]
    checks.number("presence_ratio: mean_fr_ratio_thresh", least, at_least=0)
    extension = params["amplitude_cv"]["amplitude_extension"]
    known = ("spike_amplitudes", "amplitude_scalings")
    checks.choice("amplitude_cv: amplitude_extension", extension, known)
    checks.choice("drift: direction", params["drift"]["direction"], ("x", "y", "z"))
    checks.finish()
    return params


def _values_for(
    analyzer: SortingAnalyzer, name: str, params: Mapping[str, Any]
) -> SpikeValues | Explanation | None:
    """Return the values of all spikes that a metric needs, or why there are none."""
    if name in _OF_TIMES:
        return None
    if name == "drift":
        return positions_of(analyzer, params["direction"])
    order: tuple[str, ...] = ("spike_amplitudes",)
    if name == "amplitude_cutoff":
        order = ("amplitude_scalings", "spike_amplitudes")
    elif name == "noise_cutoff":
        order = ("spike_amplitudes", "amplitude_scalings")
    elif name == "amplitude_cv":
        order = (params["amplitude_extension"],)
    return amplitudes_of(analyzer, order)


def _absolute(
    analyzer: SortingAnalyzer, windows: NDArray[np.int64] | None
) -> list[tuple[int | None, int]]:
    if windows is None:
        return [(None, 0)]
    lengths = segment_samples_of(analyzer)
    offsets = np.cumsum(lengths) - lengths
    return [(int(offsets[s] + start), int(offsets[s] + stop)) for s, start, stop in windows]


def _series_of(
    analyzer: SortingAnalyzer,
    units: NDArray[np.integer],
    found: Mapping[str, SpikeValues | Explanation | None],
    trains: TrainsOfUnits | None,
) -> Callable[[int], tuple[NDArray[np.int64], dict[str, Series]]]:
    """Return a function that gives the samples of a unit, and the values that each metric needs."""
    arrays = {id(one.values): one.values for one in found.values() if isinstance(one, SpikeValues)}
    of_metric = {n: id(one.values) for n, one in found.items() if isinstance(one, SpikeValues)}
    pick = _all_in_order if 2 * len(units) >= len(analyzer.unit_ids) else _few
    samples_of, values_of = pick(analyzer, units, arrays, trains)
    choose = {key: Series if _are_finite(values) else _finite for key, values in arrays.items()}

    def series(i: int) -> tuple[NDArray[np.int64], dict[str, Series]]:
        samples = samples_of(i)
        known = {key: choose[key](samples, values_of(key, i)) for key in arrays}
        return samples, {name: known[key] for name, key in of_metric.items()}

    return series


_OfUnit = tuple[Callable[[int], NDArray[np.int64]], Callable[[int, int], NDArray[np.floating]]]


def _all_in_order(
    analyzer: SortingAnalyzer,
    units: NDArray[np.integer],
    arrays: Mapping[int, NDArray[np.floating]],
    trains: TrainsOfUnits | None,
) -> _OfUnit:
    """Put all spikes in the order of units at once, which reads and writes in order."""
    trains = TrainsOfUnits(analyzer) if trains is None else trains
    samples = trains.samples
    by_unit = {key: trains.values(values) for key, values in arrays.items()}
    rows = [trains.rows_of(unit) for unit in units.tolist()]
    return (lambda i: samples[rows[i]]), (lambda key, i: by_unit[key][rows[i]])


def _few(
    analyzer: SortingAnalyzer,
    units: NDArray[np.integer],
    arrays: Mapping[int, NDArray[np.floating]],
    trains: TrainsOfUnits | None,
) -> _OfUnit:
    """Look up the spikes of some units."""
    vector = spike_vector_of(analyzer.sorting)
    by_unit = spikes_by_unit(vector["unit_index"], len(analyzer.unit_ids))
    lengths = segment_samples_of(analyzer)
    offsets = np.cumsum(lengths) - lengths

    def samples_of(i: int) -> NDArray[np.int64]:
        rows = by_unit[units[i]]
        samples = vector["sample_index"][rows]
        return samples if lengths.size == 1 else samples + offsets[vector["segment_index"][rows]]

    return samples_of, (lambda key, i: arrays[key][by_unit[units[i]]])


def _finite(samples: NDArray[np.int64], values: NDArray[np.floating]) -> Series:
    """Return the spikes whose value is a number."""
    if _are_finite(values):
        return Series(samples, values)
    finite = np.isfinite(values)
    return Series(samples[finite], values[finite])


def _are_finite(values: NDArray[np.floating]) -> bool:
    return values.size == 0 or bool(np.isfinite(values.max()) and np.isfinite(values.min()))


# ---------------------------------------------------------------------------------------- one unit


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
    """Return the spikes of a unit that lie within a span."""
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


def _rows_within(
    samples: NDArray[np.int64], periods: NDArray[np.int64]
) -> slice | NDArray[np.int64]:
    bounds = np.searchsorted(samples, periods)
    if len(bounds) == 1:
        return slice(int(bounds[0, 0]), int(bounds[0, 1]))
    pieces = [np.arange(first, stop) for first, stop in bounds]
    return np.concatenate([np.zeros(0, dtype=np.int64), *pieces])


def measure_unit(
    unit: UnitSpikes,
    metrics: Sequence[str],
    params: Mapping[str, Mapping[str, Any]],
    missing: Mapping[str, Explanation],
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
        Why a metric is missing for all units.

    Returns
    -------
    dict
        By column.
    """
    out: dict[str, MetricResult] = {}
    for name in metrics:
        reason = missing.get(name)
        if reason is None and name != "num_spikes" and unit.span.num_samples == 0:
            reason = Explanation("outside_periods")
        if reason is None and name in unit.series and unit.series[name].values.size == 0:
            reason = Explanation("no_spike_with_value" if unit.samples.size else "no_spikes")
        if reason is not None:
            out |= dict.fromkeys(METRICS[name], MetricResult(np.nan, reason))
        else:
            measured = _FUNCTIONS[name](unit, params[name])
            out |= dict(zip(METRICS[name], measured, strict=True))
    return out


def _missing(count: int, code: str, **values: Any) -> list[MetricResult]:
    """Return the results of a metric of so many columns that has no value."""
    return [MetricResult(np.nan, Explanation(code, **values))] * count


def _num_spikes(unit: UnitSpikes, p: Mapping[str, Any]) -> list[MetricResult]:
    return [MetricResult(float(unit.samples.size))]


def _firing_rate(unit: UnitSpikes, p: Mapping[str, Any]) -> list[MetricResult]:
    return [MetricResult(unit.samples.size / unit.span.duration_s)]


def _presence(unit: UnitSpikes, p: Mapping[str, Any]) -> list[MetricResult]:
    size = unit.span.size_of(p["bin_duration_s"])
    bins = unit.span.bins(size)
    if unit.span.num_samples < size or bins.starts.size == 0:
        return _missing(1, "shorter_than_bin", bin_s=p["bin_duration_s"])
    rate = unit.samples.size / unit.span.duration_s
    threshold = np.floor(rate * p["bin_duration_s"] * p["mean_fr_ratio_thresh"])
    return [MetricResult(presence_ratio(count_in_bins(unit.samples, bins), threshold))]


def _firing_range(unit: UnitSpikes, p: Mapping[str, Any]) -> list[MetricResult]:
    size = unit.span.size_of(p["bin_size_s"])
    bins = unit.span.bins(size)
    if unit.span.num_samples < size or bins.starts.size == 0:
        return _missing(1, "shorter_than_bin", bin_s=p["bin_size_s"])
    counts = count_in_bins(unit.samples, bins)
    return [MetricResult(firing_range(counts, p["bin_size_s"], p["percentiles"]))]


def _amplitude_median(unit: UnitSpikes, p: Mapping[str, Any]) -> list[MetricResult]:
    ordered = _ordered(unit, unit.series["amplitude_median"].values)
    return [MetricResult(median_of_sorted(ordered))]


def _amplitude_cv(unit: UnitSpikes, p: Mapping[str, Any]) -> list[MetricResult]:
    samples, values = unit.series["amplitude_cv"]
    per_bin = p["average_num_spikes_per_bin"]
    rate = unit.samples.size / unit.span.duration_s
    size = max(int(per_bin / rate * unit.span.sampling_frequency), 1)
    found = []
    for periods in unit.span.periods_by_segment:
        bounds = np.searchsorted(samples, periods).tolist()
        pieces = [values[first:stop] for first, stop in bounds]
        inside = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
        mean = abs(float(inside.mean(dtype=np.float64))) if inside.size else 0.0
        if mean == 0:
            continue
        first, stop = rows_of_bins(samples, bins_in_periods(periods, size))
        found.append(variation_in_bins(values, first, stop, mean))
    spread = np.concatenate(found) if found else np.zeros(0)
    if spread.size < p["min_num_bins"]:
        least = p["min_num_bins"]
        return _missing(2, "too_few_time_bins", num_bins=least, spikes_per_bin=per_bin)
    return [MetricResult(one) for one in spread_of_percentiles(spread, p["percentiles"])]


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
        positive = -ordered[::-1] if median_of_sorted(ordered) < 0 else ordered
        unit.known[key] = (positive, *histogram_of_sorted(positive, num_bins))
    return unit.known[key]


def _amplitude_cutoff(unit: UnitSpikes, p: Mapping[str, Any]) -> list[MetricResult]:
    values = unit.series["amplitude_cutoff"].values
    num_bins, ratio = p["num_histogram_bins"], p["amplitudes_bins_min_ratio"]
    if values.size / num_bins < ratio:
        return _missing(1, "fewer_spikes_than", num_spikes=num_bins * ratio)
    _, histogram, _ = _histogram(unit, values, num_bins)
    smoothing = p["histogram_smoothing_value"]
    return [MetricResult(fraction_missing(histogram, values.size, smoothing))]


def _noise_cutoff(unit: UnitSpikes, p: Mapping[str, Any]) -> list[MetricResult]:
    values, histogram, edges = _histogram(unit, unit.series["noise_cutoff"].values, p["n_bins"])
    low = quantile_of_sorted(values, p["low_quantile"])
    high = quantile_of_sorted(values, 1 - p["high_quantile"])
    cutoff, ratio = noise_cutoff(histogram, edges, low, high)
    if np.isnan(ratio):
        return _missing(2, "histogram_low_empty")
    reason = Explanation("histogram_high_flat") if np.isnan(cutoff) else None
    return [MetricResult(cutoff, reason), MetricResult(ratio)]


def _drift(unit: UnitSpikes, p: Mapping[str, Any]) -> list[MetricResult]:
    samples, values = unit.series["drift"]
    of_segments, least = (
        unit.span.segment_bins(unit.span.size_of(p["interval_s"])),
        p["min_num_bins"],
    )
    if any(bins.starts.size < least for bins in of_segments):
        interval_s = p["interval_s"]
        return _missing(3, "too_few_intervals", num_intervals=least, interval_s=interval_s)
    rows = [rows_of_bins(samples, bins) for bins in of_segments]
    first, stop = rows[0] if len(rows) == 1 else map(np.concatenate, zip(*rows, strict=True))
    medians, of_all = medians_in_bins(values, first, stop, p["min_spikes_per_interval"])
    positions = medians - of_all
    unknown = int(np.isnan(positions).sum())
    share = p["min_fraction_valid_intervals"]
    if unknown > share * positions.size or unknown == positions.size:
        return _missing(
            3,
            "too_few_spikes_in_intervals",
            share=share,
            interval_s=p["interval_s"],
            num_spikes=p["min_spikes_per_interval"],
        )
    return [MetricResult(value) for value in drift_of_positions(positions)]


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
