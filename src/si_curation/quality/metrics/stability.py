"""Metrics of how steady units are: presence, firing rate, amplitudes, position."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import segment_samples_of, spike_vector_of
from si_curation.checks import Checks, unit_indices_of
from si_curation.kernels.parallel import blocks, run_blocks
from si_curation.kernels.spikes_by_unit import spikes_by_unit
from si_curation.kernels.stability import (
    Bins,
    BinsOfParts,
    PeriodsOfParts,
    Rows,
    activity_in_bins,
    describe_amplitudes,
    drift_in_bins,
    variation_over_time,
)
from si_curation.quality.metrics.result import MetricValues, no_reasons
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
_PARTS_PER_BLOCK = 64
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
    spikes, series = _series_of(analyzer, units, found, trains)
    parts = parts_of(spikes, series, spans, _absolute(analyzer, windows))
    pieces = blocks(parts.which.size, _PARTS_PER_BLOCK)
    measured = run_blocks(lambda b: measure_parts(parts.take(b), metrics, params, missing), pieces)
    shape = (len(units),) if windows is None else (len(units), len(windows))
    values = {c: np.full(shape, np.nan) for c in columns}
    reasons = {c: no_reasons(shape) for c in columns}
    for c in columns:
        for piece, of_piece in zip(pieces, measured, strict=True):
            values[c].reshape(-1)[piece] = of_piece[c].values
            reasons[c].reshape(-1)[piece] = of_piece[c].reasons
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


# ------------------------------------------------------------------------------------------- spikes


class Series(NamedTuple):
    """A value of spikes, of one unit or part of a unit after the other.

    Attributes
    ----------
    samples : array (n_spikes,) int64
        Ascending within each.
    values : array (n_spikes,) floating
    rows : Rows
        Of each unit or part.
    """

    samples: NDArray[np.int64]
    values: NDArray[Any]
    rows: Rows


def _series_of(
    analyzer: SortingAnalyzer,
    units: NDArray[np.integer],
    found: Mapping[str, SpikeValues | Explanation | None],
    trains: TrainsOfUnits | None,
) -> tuple[Series, dict[str, Series]]:
    """Return the spikes of the units, and those with the values that each metric needs."""
    arrays = {id(one.values): one.values for one in found.values() if isinstance(one, SpikeValues)}
    of_metric = {n: id(one.values) for n, one in found.items() if isinstance(one, SpikeValues)}
    pick = _all_in_order if 2 * len(units) >= len(analyzer.unit_ids) else _few
    samples, by_unit, rows = pick(analyzer, units, arrays, trains)
    known = {key: _finite(Series(samples, values, rows)) for key, values in by_unit.items()}
    return Series(samples, samples, rows), {name: known[key] for name, key in of_metric.items()}


_OfUnits = tuple[NDArray[np.int64], dict[int, NDArray[np.floating]], Rows]


def _all_in_order(
    analyzer: SortingAnalyzer,
    units: NDArray[np.integer],
    arrays: Mapping[int, NDArray[np.floating]],
    trains: TrainsOfUnits | None,
) -> _OfUnits:
    """Put all spikes in the order of units at once, which reads and writes in order."""
    trains = TrainsOfUnits(analyzer) if trains is None else trains
    by_unit = {key: _floats(trains.values(values)) for key, values in arrays.items()}
    return trains.samples, by_unit, Rows(trains.start[units], trains.start[units + 1])


def _few(
    analyzer: SortingAnalyzer,
    units: NDArray[np.integer],
    arrays: Mapping[int, NDArray[np.floating]],
    trains: TrainsOfUnits | None,
) -> _OfUnits:
    """Look up the spikes of some units."""
    vector = spike_vector_of(analyzer.sorting)
    by_unit = spikes_by_unit(vector["unit_index"], len(analyzer.unit_ids))
    of_units = [by_unit[unit] for unit in units]
    spikes = np.concatenate([np.zeros(0, dtype=np.int64), *of_units])
    lengths = segment_samples_of(analyzer)
    offsets = np.cumsum(lengths) - lengths
    samples = vector["sample_index"][spikes] + offsets[vector["segment_index"][spikes]]
    values = {key: _floats(values[spikes]) for key, values in arrays.items()}
    return samples, values, _end_to_end([one.size for one in of_units])


def _end_to_end(sizes: Sequence[int] | NDArray[np.int64]) -> Rows:
    stop = np.cumsum(sizes, dtype=np.int64)
    return Rows(stop - np.asarray(sizes, dtype=np.int64), stop)


def _floats(values: NDArray[Any]) -> NDArray[np.floating]:
    """Return values of a type that kernels take."""
    is_known = values.dtype in (np.float32, np.float64)
    return values if is_known else values.astype(np.float64)


def _finite(series: Series) -> Series:
    """Return the spikes whose value is a number."""
    samples, values, rows = series
    if values.size == 0 or (np.isfinite(values.max()) and np.isfinite(values.min())):
        return series
    keep = np.isfinite(values)
    before = np.append(0, np.cumsum(keep))
    return Series(samples[keep], values[keep], Rows(before[rows.first], before[rows.stop]))


# -------------------------------------------------------------------------------------------- parts


class Parts(NamedTuple):
    """Units, or units in windows: the spikes of each within a span.

    Attributes
    ----------
    spans : list of Span
        Those that differ.
    which : array (n_parts,) int64
        The span of each part.
    spikes : Series
    series : dict of str to Series
        By metric: the spikes that have a value.
    of_spans : dict
        What is known of the spans; all parts share it.
    known : dict
        What several metrics need of these parts.
    """

    spans: list[Span]
    which: NDArray[np.int64]
    spikes: Series
    series: dict[str, Series]
    of_spans: dict[Any, Any]
    known: dict[Any, Any]

    def take(self, piece: slice) -> Parts:
        """Return some of the parts."""
        taken = {id(one): _take(one, piece) for one in self.series.values()}
        return self._replace(
            which=self.which[piece],
            spikes=_take(self.spikes, piece),
            series={name: taken[id(one)] for name, one in self.series.items()},
            known={},
        )

    @property
    def num_spikes(self) -> NDArray[np.int64]:
        """Return the number of spikes of each part."""
        return self.spikes.rows.stop - self.spikes.rows.first

    @property
    def num_samples(self) -> NDArray[np.int64]:
        """Return the length of each part."""
        return np.array([span.num_samples for span in self.spans])[self.which]

    @property
    def rates(self) -> NDArray[np.float64]:
        """Return the firing rate of each part; NaN where it has no length."""
        durations = np.array([span.duration_s for span in self.spans])[self.which]
        return self.num_spikes / np.where(durations > 0, durations, np.nan)

    def bins(self, size: int) -> BinsOfParts:
        """Return the bins of one size of each part."""
        return self._bins(size, lambda span: [span.bins(size)])[0]

    def segment_bins(self, size: int) -> tuple[BinsOfParts, NDArray[np.int64]]:
        """Return the bins of each part by segment, and the least number in a segment."""
        return self._bins(("by segment", size), lambda span: span.segment_bins(size))

    def _bins(
        self, key: Any, bins_of: Callable[[Span], list[Bins]]
    ) -> tuple[BinsOfParts, NDArray[np.int64]]:
        if key not in self.of_spans:
            its = [bins_of(span) for span in self.spans]
            sizes = [[bins.starts.size for bins in of_span] for of_span in its]
            every = [bins for of_span in its for bins in of_span]
            joined = Bins(*(np.concatenate(of) for of in zip(*every, strict=True)))
            rows = _end_to_end([sum(of_span) for of_span in sizes])
            self.of_spans[key] = joined, rows, np.array([min(of_span) for of_span in sizes])
        joined, (first, stop), least = self.of_spans[key]
        bins = BinsOfParts(joined.starts, joined.stops, first[self.which], stop[self.which])
        return bins, least[self.which]

    @property
    def periods(self) -> PeriodsOfParts:
        """Return the periods of each part by segment."""
        if "periods" not in self.of_spans:
            its = [span.periods_by_segment for span in self.spans]
            every = [periods for of_span in its for periods in of_span]
            joined = np.concatenate([np.zeros((0, 2), dtype=np.int64), *every])
            first = np.append(0, _end_to_end([len(periods) for periods in every]).stop)
            rows = _end_to_end([len(of_span) for of_span in its])
            self.of_spans["periods"] = joined, first, rows
        joined, first_period, (first, stop) = self.of_spans["periods"]
        return PeriodsOfParts(joined, first_period, first[self.which], stop[self.which])


def _take(series: Series, piece: slice) -> Series:
    return series._replace(rows=Rows(*(of[piece] for of in series.rows)))


def parts_of(
    spikes: Series,
    series: Mapping[str, Series],
    spans: Sequence[Span],
    windows: Sequence[tuple[int | None, int]],
) -> Parts:
    """Return the spikes of units within their spans, and within windows.

    Parameters
    ----------
    spikes : Series
    series : mapping
        By metric.
    spans : sequence of Span
        Of each unit.
    windows : sequence of (int or None, int)
        First sample and the one after the last; None: all of the span.

    Returns
    -------
    Parts
        The windows of one unit after those of the other.
    """
    distinct = list({id(span): span for span in spans}.values())
    row_of = {id(span): row for row, span in enumerate(distinct)}
    cut = [
        span if start is None else span.within(start, stop)
        for span in distinct
        for start, stop in windows
    ]
    first = np.array([row_of[id(span)] for span in spans], dtype=np.int64) * len(windows)
    which = (first[:, None] + np.arange(len(windows))).reshape(-1)
    inside = {id(one): _within(one, cut, which) for one in [spikes, *series.values()]}
    of_metric = {name: inside[id(one)] for name, one in series.items()}
    return Parts(cut, which, inside[id(spikes)], of_metric, {}, {})


def _within(series: Series, spans: Sequence[Span], which: NDArray[np.int64]) -> Series:
    """Return the spikes of units that lie within the span of each part."""
    if all(span.is_whole for span in spans):
        return series
    samples, values, (first, stop) = series
    per_unit = which.size // max(first.size, 1)
    rows = np.stack([first, stop], axis=1).repeat(per_unit, axis=0).tolist()
    bounds = [
        a + np.searchsorted(samples[a:b], spans[span].periods)
        for (a, b), span in zip(rows, which.tolist(), strict=True)
    ]
    joined = np.concatenate([np.zeros((0, 2), dtype=np.int64), *bounds])
    if all(len(of_part) == 1 for of_part in bounds):
        return series._replace(rows=Rows(*np.ascontiguousarray(joined.T)))
    sizes = joined[:, 1] - joined[:, 0]
    pieces = _end_to_end(sizes)
    keep = np.repeat(joined[:, 0] - pieces.first, sizes) + np.arange(sizes.sum())
    of_parts = [int((of_part[:, 1] - of_part[:, 0]).sum()) for of_part in bounds]
    return Series(samples[keep], values[keep], _end_to_end(of_parts))


# ------------------------------------------------------------------------------------------ metrics


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


class Column(NamedTuple):
    """A metric of each part: arrays (n_parts,), NaN where there is a reason."""

    values: NDArray[np.float64]
    reasons: NDArray[np.object_]


_Params = Mapping[str, Mapping[str, Any]]


def measure_parts(
    parts: Parts, metrics: Sequence[str], params: _Params, missing: Mapping[str, Explanation]
) -> dict[str, Column]:
    """Measure parts.

    Parameters
    ----------
    parts : Parts
    metrics : sequence of str
        Names of `METRICS`.
    params : mapping
        Parameters of all metrics.
    missing : mapping
        Why a metric is missing for all parts.

    Returns
    -------
    dict
        By column.
    """
    out: dict[str, Column] = {}
    number, shape = parts.num_spikes, parts.which.shape
    for name in metrics:
        if name in missing:
            lost = np.full(shape, np.nan), np.full(shape, missing[name], dtype=object)
            out |= dict.fromkeys(METRICS[name], Column(*lost))
            continue
        measured = _FUNCTIONS[name](parts, params)
        if name in parts.series:
            rows = parts.series[name].rows
            nothing = rows.first == rows.stop
            _leave_out(measured, nothing, Explanation("no_spike_with_value"))
            _leave_out(measured, nothing & (number == 0), Explanation("no_spikes"))
        if name != "num_spikes":
            _leave_out(measured, parts.num_samples == 0, Explanation("outside_periods"))
        out |= dict(zip(METRICS[name], measured, strict=True))
    return out


def _leave_out(
    columns: Sequence[Column], is_missing: NDArray[np.bool_], reason: Explanation
) -> None:
    for column in columns:
        column.values[is_missing] = np.nan
        column.reasons[is_missing] = reason


def _columns(*values: NDArray[np.float64]) -> list[Column]:
    return [Column(of.copy(), no_reasons(of.shape)) for of in values]


def _num_spikes(parts: Parts, params: _Params) -> list[Column]:
    return _columns(parts.num_spikes.astype(np.float64))


def _firing_rate(parts: Parts, params: _Params) -> list[Column]:
    return _columns(parts.rates)


def _presence(parts: Parts, params: _Params) -> list[Column]:
    p = params["presence_ratio"]
    bin_s = p["bin_duration_s"]
    thresholds = np.floor(parts.rates * bin_s * p["mean_fr_ratio_thresh"])
    return _activity(parts, bin_s, thresholds, (0, 100))[0]


def _firing_range(parts: Parts, params: _Params) -> list[Column]:
    p = params["firing_range"]
    return _activity(parts, p["bin_size_s"], np.zeros(parts.which.size), p["percentiles"])[1]


def _activity(
    parts: Parts, bin_s: float, thresholds: NDArray[np.float64], percentiles: Sequence[float]
) -> tuple[list[Column], list[Column]]:
    samples, _, rows = parts.spikes
    size = parts.spans[0].size_of(bin_s)
    bins = parts.bins(size)
    both = activity_in_bins(samples, rows, bins, thresholds, bin_s, percentiles)
    columns = _columns(*both)
    is_short = (parts.num_samples < size) | (bins.first == bins.stop)
    _leave_out(columns, is_short, Explanation("shorter_than_bin", bin_s=bin_s))
    return columns[:1], columns[1:]


def _amplitude_median(parts: Parts, params: _Params) -> list[Column]:
    num_bins = params["noise_cutoff"]["n_bins"]
    return _columns(_described(parts, "amplitude_median", num_bins, params)[:, 0])


def _amplitude_cv(parts: Parts, params: _Params) -> list[Column]:
    p = params["amplitude_cv"]
    per_bin, least = p["average_num_spikes_per_bin"], p["min_num_bins"]
    rates = np.where(parts.num_spikes > 0, parts.rates, np.nan)
    sizes = np.nan_to_num(per_bin / rates * parts.spans[0].sampling_frequency, nan=1.0)
    sizes = np.clip(sizes, 1, 2.0**62).astype(np.int64)
    found = variation_over_time(
        *parts.series["amplitude_cv"], parts.periods, sizes, p["percentiles"]
    )
    columns = _columns(found[:, 1], found[:, 2])
    reason = Explanation("too_few_time_bins", num_bins=least, spikes_per_bin=per_bin)
    _leave_out(columns, found[:, 0] < max(least, 1), reason)
    return columns


def _described(parts: Parts, name: str, num_bins: int, params: _Params) -> NDArray[np.float64]:
    """Return what the amplitudes tell: sorted once for several metrics."""
    series = parts.series[name]
    key = (id(series.values), num_bins)
    if key not in parts.known:
        noise, cutoff = params["noise_cutoff"], params["amplitude_cutoff"]
        shares = (float(noise["low_quantile"]), float(1 - noise["high_quantile"]))
        smoothing = cutoff["histogram_smoothing_value"]
        parts.known[key] = describe_amplitudes(*_ordered(series), num_bins, smoothing, shares)
    return parts.known[key]


def _ordered(series: Series) -> tuple[NDArray[np.floating], Rows]:
    """Return the values of each part in ascending order."""
    rows = _end_to_end(series.rows.stop - series.rows.first)
    ordered = np.empty(rows.stop[-1], dtype=series.values.dtype)
    pairs = zip(series.rows.first.tolist(), rows.first.tolist(), rows.stop.tolist(), strict=True)
    for source, first, stop in pairs:
        own = ordered[first:stop]
        own[:] = series.values[source : source + stop - first]
        own.sort()
    return ordered, rows


def _amplitude_cutoff(parts: Parts, params: _Params) -> list[Column]:
    p = params["amplitude_cutoff"]
    num_bins, ratio = p["num_histogram_bins"], p["amplitudes_bins_min_ratio"]
    columns = _columns(_described(parts, "amplitude_cutoff", num_bins, params)[:, 1])
    rows = parts.series["amplitude_cutoff"].rows
    reason = Explanation("fewer_spikes_than", num_spikes=num_bins * ratio)
    _leave_out(columns, (rows.stop - rows.first) / num_bins < ratio, reason)
    return columns


def _noise_cutoff(parts: Parts, params: _Params) -> list[Column]:
    found = _described(parts, "noise_cutoff", params["noise_cutoff"]["n_bins"], params)
    columns = _columns(found[:, 2], found[:, 3])
    _leave_out(columns[:1], np.isnan(found[:, 2]), Explanation("histogram_high_flat"))
    _leave_out(columns, np.isnan(found[:, 3]), Explanation("histogram_low_empty"))
    return columns


def _drift(parts: Parts, params: _Params) -> list[Column]:
    p = params["drift"]
    bins, fewest = parts.segment_bins(parts.spans[0].size_of(p["interval_s"]))
    least = p["min_num_bins"]
    found = np.full((parts.which.size, 4), np.nan)
    if (fewest >= least).any():
        found = drift_in_bins(*parts.series["drift"], bins, p["min_spikes_per_interval"])
    columns = _columns(found[:, 1], found[:, 2], found[:, 3])
    number, share = bins.stop - bins.first, p["min_fraction_valid_intervals"]
    unknown = number - found[:, 0]
    reason = Explanation(
        "too_few_spikes_in_intervals",
        share=share,
        interval_s=p["interval_s"],
        num_spikes=p["min_spikes_per_interval"],
    )
    _leave_out(columns, (unknown > share * number) | (unknown == number), reason)
    reason = Explanation("too_few_intervals", num_intervals=least, interval_s=p["interval_s"])
    _leave_out(columns, fewest < least, reason)
    return columns


_FUNCTIONS: dict[str, Callable[[Parts, _Params], list[Column]]] = {
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
