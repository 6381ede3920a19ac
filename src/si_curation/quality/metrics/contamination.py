"""The columns of the contamination panel that can be compared across sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, unit_indices_of
from si_curation.errors import ParameterError
from si_curation.quality.contamination import (
    ContaminationPanel,
    check_periods,
    count_violations,
    make_panel,
    samples_of,
    sliding_columns,
)
from si_curation.quality.metrics.result import MetricValues
from si_curation.quality.metrics.trains import TrainsOfUnits

_DEFAULTS: dict[str, Any] = {
    "refractory_period_ms": None,
    "censored_period_ms": 0.0,
    "confidence_level": 0.95,
}


def _with_interval(name: str) -> tuple[str, ...]:
    return (name, f"{name}_lower", f"{name}_upper")


METRICS: dict[str, tuple[str, ...]] = {
    "isi_violation": _with_interval("isi_violations_ratio"),
    "rp_violation": _with_interval("rp_contamination"),
    "sliding_rp_violation": ("sliding_rp_violation", "sliding_rp_confidence"),
    "sliding_rp_ibl": ("sliding_rp_ibl",),
    "hill_contamination": _with_interval("hill_contamination"),
    "rp_contamination_one_neuron": _with_interval("rp_contamination_one_neuron"),
    "kilosort_refractoriness": ("kilosort_r12", "kilosort_q12"),
}
#: All columns.
COLUMNS: tuple[str, ...] = tuple(column for columns in METRICS.values() for column in columns)
#: Periods of the metrics that SpikeInterface has are SpikeInterface's; of others, each unit's own.
DEFAULT_PARAMS: dict[str, dict[str, Any]] = {
    "isi_violation": {"isi_threshold_ms": 1.5, "min_isi_ms": 0.0, "confidence_level": 0.95},
    "rp_violation": {
        "refractory_period_ms": 1.0,
        "censored_period_ms": 0.0,
        "confidence_level": 0.95,
    },
    "sliding_rp_violation": {},
    "sliding_rp_ibl": {},
    "hill_contamination": dict(_DEFAULTS),
    "rp_contamination_one_neuron": dict(_DEFAULTS),
    "kilosort_refractoriness": {"confidence_level": 0.95},
}
_SAME = {"isi_threshold_ms": "refractory_period_ms", "min_isi_ms": "censored_period_ms"}


def compute_contamination(
    sorting_analyzer: SortingAnalyzer,
    unit_ids: Sequence[Any] | NDArray | None = None,
    metric_names: Sequence[str] | None = None,
    *,
    metric_params: Mapping[str, Mapping[str, Any]] | None = None,
    trains: TrainsOfUnits | None = None,
) -> MetricValues:
    """Estimate the contamination of units (see `contamination_panel`).

    Columns that SpikeInterface has are computed with its refractory periods (1.5 ms for
    ``isi_violations_ratio``, 1 ms for ``rp_contamination``), so that rules made for its values
    hold; for the others that of each unit is estimated from its autocorrelogram, unless given.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    unit_ids : sequence, optional
        All by default.
    metric_names : sequence of str, optional
        Columns, of `COLUMNS`; all by default.
    metric_params : mapping, optional
        {metric: {parameter: value}}, see `DEFAULT_PARAMS`.
    trains : TrainsOfUnits, optional
        Of the analyzer, where several groups of metrics share them.

    Returns
    -------
    MetricValues
        NaN where too few pairs of spikes are expected to tell.

    Raises
    ------
    ParameterError

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> found = compute_contamination(analyzer, [13], ["isi_violations_ratio"])
    >>> found.values["isi_violations_ratio"].round(2)
    array([0.81])
    """
    columns = list(COLUMNS) if metric_names is None else list(metric_names)
    params = complete_params(metric_params)
    wanted = sorting_analyzer.unit_ids if unit_ids is None else np.asarray(unit_ids)
    rows = unit_indices_of(sorting_analyzer, wanted, may_repeat=True)
    asked = {name: its for name, its in METRICS.items() if set(its) & set(columns)}
    given = {
        name: {_SAME.get(key, key): value for key, value in params[name].items()} for name in asked
    }
    fs = sorting_analyzer.sampling_frequency
    checks = Checks()
    for of_metric in given.values():
        check_periods(
            checks, sorting_analyzer, *({**_DEFAULTS, **of_metric}[key] for key in _DEFAULTS)
        )
    checks.finish()
    periods = [of.get("refractory_period_ms") for of in given.values()]
    longest = max((samples_of(period, fs) for period in periods if period is not None), default=0)
    known = None if trains is None else trains.of_one_segment()
    spikes = count_violations(sorting_analyzer, longest, trains=known)
    sliding = sliding_columns(spikes)
    panels: dict[tuple[tuple[str, Any], ...], ContaminationPanel] = {}
    values: dict[str, NDArray] = {}
    reasons: dict[str, NDArray] = {}
    # those without a period of their own take the panel of another metric
    for name in sorted(asked, key=lambda name: -len(given[name])):
        key = tuple(sorted(given[name].items()))
        found = next((k for k in panels if set(key) <= set(k)), None)
        if found is None:
            found = key
            its = {**_DEFAULTS, **given[name]}
            panels[key] = make_panel(spikes, **its, sliding=sliding, with_texts=False)
        for column in asked[name]:
            if column in columns:
                panel = panels[found]
                values[column] = np.asarray(panel.columns[column], dtype=np.float64)[rows]
                # the ends of an interval are missing for the reason of their estimate
                why = panel.reasons.get(column, panel.reasons[asked[name][0]])[rows]
                reasons[column] = why.copy()
                reasons[column][~np.isnan(values[column])] = None
    return MetricValues(values, reasons, dict.fromkeys(values, "spike times"))


def complete_params(given: Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """Fill up parameters with defaults.

    Raises
    ------
    ParameterError
    """
    params = {
        name: {**defaults, **(given or {}).get(name, {})}
        for name, defaults in DEFAULT_PARAMS.items()
    }
    problems = [
        f"{name} has no parameter {key!r}, expected some of {', '.join(DEFAULT_PARAMS[name])}"
        for name, its in params.items()
        for key in its
        if key not in DEFAULT_PARAMS[name]
    ]
    if problems:
        raise ParameterError("; ".join(problems))
    return params
