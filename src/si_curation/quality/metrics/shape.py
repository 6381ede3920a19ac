"""Metrics of the shape of templates, as SpikeInterface's `template_metrics` defines them.

They are measured here, for all templates at once, with SpikeInterface's definitions; also where the
gain is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array, data_of, spike_vector_of
from si_curation.checks import unit_indices_of
from si_curation.errors import (
    FolderNotFoundError,
    MissingDataError,
    ParameterError,
    PhyFolderError,
)
from si_curation.extensions.spike_waveforms import SpikeWaveforms
from si_curation.extensions.template_assignment import assignment_of_named_folder
from si_curation.kernels.spikes_by_unit import count_spikes
from si_curation.kernels.template_shape import (
    UPSAMPLING,
    MainExtrema,
    amplitude_ratios,
    baseline_flatness,
    find_main_extrema,
    half_widths,
    main_to_next_extremum,
    peak_half_widths,
    repolarization_slopes,
    slopes,
    upsample,
)
from si_curation.quality.metrics.result import MetricValues, missing_values, no_reasons
from si_curation.quality.metrics.shape_over_channels import CHANNEL_PARAMS, measure_over_channels
from si_curation.quality.template_agreement import has_both_kinds
from si_curation.variables import SHAPE, Explanation

METRICS: dict[str, tuple[str, ...]] = {
    "peak_to_trough_duration": ("peak_to_trough_duration",),
    "half_width": ("trough_half_width", "peak_half_width"),
    "repolarization_slope": ("repolarization_slope",),
    "recovery_slope": ("recovery_slope",),
    "number_of_peaks": ("num_positive_peaks", "num_negative_peaks"),
    "main_to_next_extremum_duration": ("main_to_next_extremum_duration",),
    "waveform_ratios": (
        "peak_before_to_trough_ratio",
        "peak_after_to_trough_ratio",
        "peak_before_to_peak_after_ratio",
        "main_peak_to_trough_ratio",
    ),
    "waveform_widths": ("trough_width", "peak_before_width", "peak_after_width"),
    "waveform_baseline_flatness": ("waveform_baseline_flatness",),
    "velocity_fits": ("velocity_above", "velocity_below"),
    "exp_decay": ("exp_decay",),
    "spread": ("spread",),
}
WAVEFORMS = ("templates", "spike_waveforms")
#: SpikeInterface's parameters and defaults, and the waveforms that are measured.
DEFAULT_PARAMS: dict[str, dict[str, Any]] = {name: {"waveforms": "templates"} for name in METRICS}
DEFAULT_PARAMS["recovery_slope"]["recovery_window_ms"] = 0.7
DEFAULT_PARAMS["waveform_baseline_flatness"]["baseline_window_ms"] = (0.0, 0.5)
for _name, _its in CHANNEL_PARAMS.items():
    DEFAULT_PARAMS[_name].update(_its)
_IN_UV = ("repolarization_slope", "recovery_slope")
_SPATIAL = ("exp_decay", "spread")
_VELOCITY = ("velocity_above", "velocity_below")
# columns that hang on an extremum, by the extremum
_OF_EXTREMUM = {
    "trough": (
        "peak_to_trough_duration",
        "trough_half_width",
        "repolarization_slope",
        "peak_before_to_trough_ratio",
        "peak_after_to_trough_ratio",
        "main_peak_to_trough_ratio",
        "trough_width",
    ),
    "before": ("peak_before_to_trough_ratio", "peak_before_to_peak_after_ratio"),
    "after": (
        "peak_to_trough_duration",
        "peak_after_to_trough_ratio",
        "peak_before_to_peak_after_ratio",
        "recovery_slope",
    ),
    "before or after": (
        "peak_half_width",
        "main_peak_to_trough_ratio",
        "main_to_next_extremum_duration",
    ),
}
_REASONS: dict[str, Explanation] = {
    "trough_half_width": Explanation("shape_no_half", extremum="trough"),
    "peak_half_width": Explanation("shape_no_half", extremum="largest peak"),
    "repolarization_slope": Explanation("shape_no_return"),
    "trough_width": Explanation("shape_no_trough"),
    "peak_before_width": Explanation("shape_no_peak", where="of enough prominence before"),
    "peak_after_width": Explanation("shape_no_peak", where="of enough prominence after"),
    "exp_decay": Explanation("shape_no_decay_fit"),
    "velocity_above": Explanation("shape_no_velocity_fit"),
    "velocity_below": Explanation("shape_no_velocity_fit"),
}


class Waveforms(NamedTuple):
    """Templates whose shape is measured.

    Attributes
    ----------
    values : array (n_units, n_samples, n_channels) floating
        NaN for units without one.
    num_before : int
        Samples before the spike.
    of_traces : bool
        Means of traces, rather than what a sorter or its features hold.
    units : str
        As of `SorterTemplates`.
    source : str
        For the column of sources.
    """

    values: NDArray[np.floating]
    num_before: int
    of_traces: bool
    units: str
    source: str


def waveforms_to_measure(
    analyzer: SortingAnalyzer, units: NDArray[np.integer], kind: str
) -> Waveforms:
    """Return the templates of some units that metrics of the given kind are of.

    Raises
    ------
    MissingDataError
        There is no extension "templates"; or no features, for "spike_waveforms".
    FolderNotFoundError, PhyFolderError
        The folder with the features is gone, or is not what it was.
    """
    if kind == "spike_waveforms":
        rebuilt = _rebuilt(analyzer)
        its_units = str(rebuilt.info["units"])
        source = _source("spike_waveforms", its_units)
        values = rebuilt.get_templates(analyzer.unit_ids[units].tolist())
        return Waveforms(values, rebuilt.nbefore, False, its_units, source)
    extension = analyzer.get_extension("templates")
    if extension is None:
        raise MissingDataError("there is no extension templates")
    operator = "average" if "average" in data_of(extension) else "median"
    values = as_array(extension.get_data(operator=operator))
    if not np.array_equal(units, np.arange(len(values))):
        values = values[units]
    in_uv = "uV" if analyzer.return_in_uV else "raw"
    assignment = assignment_of_named_folder(analyzer)
    if assignment is None or not assignment.is_from_sorter or has_both_kinds(analyzer):
        return Waveforms(values, int(extension.nbefore), True, in_uv, "templates")
    of_sorter = str(assignment.info["units"])
    source = _source("templates", of_sorter)
    return Waveforms(values, int(extension.nbefore), False, of_sorter, source)


def _rebuilt(analyzer: SortingAnalyzer) -> SpikeWaveforms:
    known = analyzer.get_extension("spike_waveforms")
    if isinstance(known, SpikeWaveforms):
        return known
    made = SpikeWaveforms(analyzer)
    made.set_params(save=False)
    made.run(save=False)
    return made


def _source(name: str, units: str) -> str:
    return f"{name} (whitened)" if units == "whitened" else name


def compute_shape(
    sorting_analyzer: SortingAnalyzer,
    unit_ids: Sequence[Any] | NDArray | None = None,
    metric_names: Sequence[str] | None = None,
    *,
    metric_params: Mapping[str, Mapping[str, Any]] | None = None,
) -> MetricValues:
    """Measure the shape of the units' templates, as SpikeInterface's `template_metrics` does.

    Definitions and values are SpikeInterface's, except that ``exp_decay`` is the least squares
    optimum within its bounds (SpikeInterface's fit stops before it, or elsewhere), and that a value
    is NaN, with its reason, where it

    - is in µV and the template is not (a gain that is not known, a whitened template);
    - is a velocity from a sorter's template or rebuilt waveforms, which has 36 to 75 % error;
    - tells of amplitudes over distance (``exp_decay``, ``spread``), of a whitened template;
    - hangs on a peak that is not there, where SpikeInterface takes the last sample for it (of two
      peaks, that which is there is taken);
    - is the rate of a decay over less than three distances, which do not determine it;
    - tells of a baseline that the sorter filled with 0 (Kilosort 1 to 3).

    Metrics over channels are always computed, on the channels of the unit (``analyzer.sparsity``).

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        With the extension "templates": of a recording, or the sorter's.
    unit_ids : sequence, optional
        All by default.
    metric_names : sequence of str, optional
        Columns, of `si_curation.variables.SHAPE`; all by default.
    metric_params : mapping, optional
        {metric: {parameter: value}}: SpikeInterface's, and ``waveforms``: "templates" (default) or
        "spike_waveforms", the mean of the waveforms rebuilt from the features of the unit's own
        spikes. Both are equally near to the traces where the unit is whole; units that were split
        from one template differ in the second alone.

    Returns
    -------
    MetricValues

    Raises
    ------
    ParameterError
        ``waveforms`` is neither.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> found = compute_shape(analyzer, [4, 13], ["peak_to_trough_duration", "recovery_slope"])
    >>> (found.values["peak_to_trough_duration"] * 1e3).round(2).tolist()
    [0.65, 0.49]
    >>> found.reasons["recovery_slope"][0].code
    'shape_not_in_uv'
    """
    analyzer = sorting_analyzer
    wanted = analyzer.unit_ids if unit_ids is None else np.asarray(unit_ids)
    units = unit_indices_of(analyzer, wanted, may_repeat=True)
    columns = list(SHAPE) if metric_names is None else list(metric_names)
    given = dict(metric_params or {})
    params = {
        name: {**DEFAULT_PARAMS[name], **given.get(name, {})}
        for name, its in METRICS.items()
        if set(its) & set(columns)
    }
    values: dict[str, NDArray] = {}
    reasons: dict[str, NDArray[np.object_]] = {}
    sources: dict[str, str] = {}
    for kind in dict.fromkeys(of["waveforms"] for of in params.values()):
        if kind not in WAVEFORMS:
            raise ParameterError(f"waveforms is {kind!r}, expected one of {', '.join(WAVEFORMS)}")
        own = {name: dict(of) for name, of in params.items() if of.pop("waveforms") == kind}
        part = _of_kind(analyzer, units, kind, own)
        values.update({c: v for c, v in part.values.items() if c in columns})
        reasons.update({c: v for c, v in part.reasons.items() if c in columns})
        sources |= part.sources
    return MetricValues(values, reasons, sources)


def _of_kind(
    analyzer: SortingAnalyzer,
    units: NDArray[np.integer],
    kind: str,
    params: Mapping[str, dict[str, Any]],
) -> MetricValues:
    columns = [c for name in params for c in METRICS[name]]
    try:
        waveforms = waveforms_to_measure(analyzer, units, kind)
    except (MissingDataError, FolderNotFoundError, PhyFolderError) as fault:
        return missing_values(columns, len(units), Explanation("missing_data", error=str(fault)))
    values = {c: np.full(len(units), np.nan) for c in columns}
    reasons = {c: no_reasons(len(units)) for c in columns}
    of_spike = spike_vector_of(analyzer.sorting)["unit_index"]
    has_spikes = count_spikes(of_spike, len(analyzer.unit_ids))[units] > 0
    # the largest value of each sample, on any channel; NaN passes through
    sizes = np.maximum(waveforms.values.max(axis=2), -waveforms.values.min(axis=2))
    known = np.isfinite(sizes).all(axis=1) & sizes.any(axis=1)
    for column in columns:
        reasons[column][~known] = Explanation("no_signal")
        reasons[column][~has_spikes] = Explanation("no_spikes")
    rows = np.flatnonzero(known & has_spikes)
    fs = float(analyzer.sampling_frequency)
    if rows.size:
        of_rows = waveforms.values if len(rows) == len(known) else waveforms.values[rows]
        chosen = waveforms._replace(values=of_rows.astype(np.float32, copy=False))
        starts = _empty_starts_ms(sizes[rows], fs)
        main = np.asarray(analyzer.get_main_channels(outputs="index"))[units[rows]]
        found, extrema = _on_main_channel(chosen, main, fs, params)
        names = [name for name in params if name in CHANNEL_PARAMS]
        if waveforms.units == "whitened":
            names = [name for name in names if METRICS[name][0] not in _SPATIAL]
        if not waveforms.of_traces:
            names = [name for name in names if METRICS[name] != _VELOCITY]
        over_channels = {name: params[name] for name in names}
        found |= measure_over_channels(analyzer, units[rows], chosen.values, over_channels)
        for column in columns:
            if column in found:
                values[column][rows] = found[column]
            why = _reasons_of(column, chosen, params, extrema, starts)
            missing = np.array([one is not None for one in why], dtype=bool)
            values[column][rows[missing]] = np.nan
            other = _REASONS.get(column, Explanation("shape_failed"))
            why[~missing & np.isnan(values[column][rows])] = other
            reasons[column][rows] = why
    return MetricValues(values, reasons, dict.fromkeys(columns, waveforms.source))


def _on_main_channel(
    waveforms: Waveforms,
    main: NDArray[np.integer],
    fs: float,
    params: Mapping[str, dict[str, Any]],
) -> tuple[dict[str, NDArray[np.float64]], MainExtrema]:
    """Measure the templates on their main channels; also where the extrema are."""
    waves = upsample(np.ascontiguousarray(waveforms.values[np.arange(len(main)), :, main]))
    fs = UPSAMPLING * fs
    extrema = find_main_extrema(waves, fs)
    trough, before, after = extrema
    ratios = amplitude_ratios(waves, extrema)
    found = {
        "peak_to_trough_duration": (after.place - trough.place) / fs,
        "trough_half_width": half_widths(-waves, trough.place) / fs,
        "peak_half_width": peak_half_widths(waves, extrema) / fs,
        "repolarization_slope": repolarization_slopes(waves, trough.place) * fs,
        "num_positive_peaks": (before.number + after.number).astype(np.float64),
        "num_negative_peaks": trough.number.astype(np.float64),
        "main_to_next_extremum_duration": main_to_next_extremum(waves, extrema) / fs,
        "peak_before_to_trough_ratio": ratios["before_to_trough"],
        "peak_after_to_trough_ratio": ratios["after_to_trough"],
        "peak_before_to_peak_after_ratio": ratios["before_to_after"],
        "main_peak_to_trough_ratio": ratios["main_to_trough"],
        "trough_width": trough.width * (1.0 / fs),
        "peak_before_width": before.width * (1.0 / fs),
        "peak_after_width": after.width * (1.0 / fs),
    }
    if "recovery_slope" in params:
        samples = params["recovery_slope"]["recovery_window_ms"] / 1000 * fs
        stop = np.minimum((after.place + samples).astype(np.int64), waves.shape[1])
        found["recovery_slope"] = slopes(waves, np.maximum(after.place, 0), stop) * fs
    window = params.get("waveform_baseline_flatness", {}).get("baseline_window_ms")
    if window is not None:
        first, stop = (int(one / 1000 * fs) for one in window)
        found["waveform_baseline_flatness"] = baseline_flatness(waves, first, stop)
    return found, extrema


def _reasons_of(
    column: str,
    waveforms: Waveforms,
    params: Mapping[str, dict[str, Any]],
    extrema: MainExtrema,
    empty_starts_ms: NDArray[np.float64],
) -> NDArray[np.object_]:
    """Return why values are not taken; None where they are."""
    why = no_reasons(len(waveforms.values))
    is_there = {name: one.place >= 0 for name, one in extrema._asdict().items()}
    is_there["before or after"] = is_there["before"] | is_there["after"]
    for where, columns in reversed(_OF_EXTREMUM.items()):
        if column in columns:
            code = "shape_no_trough" if where == "trough" else "shape_no_peak"
            about = {} if where == "trough" else {"where": where}
            why[~is_there[where]] = Explanation(code, **about)
    if column in _IN_UV and waveforms.units != "uV":
        why[:] = Explanation("shape_not_in_uv")
    elif waveforms.of_traces:
        pass
    elif column in _VELOCITY:
        why[:] = Explanation("shape_velocity_truncated")
    elif column in _SPATIAL and waveforms.units == "whitened":
        why[:] = Explanation("shape_whitened")
    elif column == "waveform_baseline_flatness":
        window = params["waveform_baseline_flatness"]["baseline_window_ms"]
        for row, empty_ms in enumerate(empty_starts_ms.tolist()):
            if window is not None and empty_ms >= 0.9 * window[1]:
                why[row] = Explanation("shape_padded", duration_ms=empty_ms)
    return why


def _empty_starts_ms(sizes: NDArray[np.floating], fs: float) -> NDArray[np.float64]:
    """Return how much of the start of each template has no signal, given (n_units, n_samples)."""
    return np.argmax(sizes > 1e-4 * sizes.max(axis=1, keepdims=True), axis=1) / fs * 1e3
