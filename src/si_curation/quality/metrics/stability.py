"""Metrics of how steady units are: presence, firing rate, amplitudes, position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks
from si_curation.kernels.parallel import run_blocks
from si_curation.kernels.spikes_by_unit import spikes_by_unit
from si_curation.quality.metrics.result import MetricResult, MetricValues, no_reasons
from si_curation.quality.metrics.spike_values import SpikeValues, amplitudes_of, positions_of
from si_curation.quality.metrics.stability_units import (
    METRICS,
    Series,
    measure_unit,
    part_of_unit,
)
from si_curation.quality.metrics.windows import PeriodsByUnit, segment_samples_of, spans_of
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
        As `normalise_periods` gives them.
    windows : array (n_windows, 3) int64, optional
        As `windows_of` gives them: values and reasons are then (n_units, n_windows).

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
    units = analyzer.sorting.ids_to_indices(wanted)
    samples, rows = _spikes_of(analyzer, units)
    found = {name: _values_for(analyzer, name, params[name]) for name in metrics}
    missing = {name: text for name, text in found.items() if isinstance(text, Explanation)}
    spans = spans_of(analyzer, wanted, periods)
    parts = _absolute(analyzer, windows)

    def measure(i: int) -> list[dict[str, MetricResult]]:
        series = _series(samples[i], rows[i], found)
        out = []
        for start, stop in parts:
            span = spans[i] if start is None else spans[i].within(start, stop)
            unit = part_of_unit(samples[i], series, span)
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


def _spikes_of(
    analyzer: SortingAnalyzer, units: NDArray[np.int64]
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Return the samples (on one clock) and rows of the spikes of each unit."""
    vector = analyzer.sorting.to_spike_vector()
    by_unit = spikes_by_unit(np.ascontiguousarray(vector["unit_index"]), len(analyzer.unit_ids))
    rows = [by_unit[i] for i in units]
    samples = np.ascontiguousarray(vector["sample_index"])
    lengths = segment_samples_of(analyzer)
    if lengths.size == 1:
        return [samples[of] for of in rows], rows
    offsets = np.cumsum(lengths) - lengths
    samples = samples + offsets[vector["segment_index"]]
    return [samples[of] for of in rows], rows


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


def _series(
    samples: NDArray[np.int64],
    rows: NDArray[np.int64],
    found: Mapping[str, SpikeValues | Explanation | None],
) -> dict[str, Series]:
    known: dict[int, Series] = {}
    series = {}
    for name, values in found.items():
        if not isinstance(values, SpikeValues):
            continue
        key = id(values.values)
        if key not in known:
            of_unit = values.values[rows]
            finite = np.isfinite(of_unit)
            known[key] = (
                Series(samples, of_unit)
                if finite.all()
                else Series(samples[finite], of_unit[finite])
            )
        series[name] = known[key]
    return series
