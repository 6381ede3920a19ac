"""`classify_units`: SpikeInterface's bombcell labels, narrow and wide spikes, residuals."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer
from spikeinterface.curation import (
    bombcell_get_default_thresholds,
    bombcell_label_units,
    threshold_metrics_label_units,
)

from si_curation.checks import Checks, plain_id, short_repr
from si_curation.quality.metrics.extension import CurationMetrics
from si_curation.quality.metrics.registry import METRICS, complete_params, compute_metrics
from si_curation.quality.metrics.result import MetricValues
from si_curation.quality.metrics.table import join_columns
from si_curation.quality.residuals import find_residuals
from si_curation.shown import as_html, count_text, counts_text
from si_curation.variables import UNIT_CLASSES, Explanation, explanations_text

NARROW_BELOW_MS = 0.425
SECTIONS = ("noise", "mua", "non-somatic")
_DURATION = "peak_to_trough_duration"
_NEAR_BORDER_MS = 0.04
# NaN is a result there: no contamination can be ruled out (as in SpikeInterface)
_NAN_FAILS = ("sliding_rp_violation",)
_IN_UV = ("amplitude_median",)


class UnitClasses(NamedTuple):
    """Classes of units, and what they are from.

    Attributes
    ----------
    table : pandas.DataFrame
        Indexed by unit id, with the columns of ``si_curation.variables.UNIT_CLASSES``:
        ``bombcell_label``, ``width_class``, ``residual_of``, ``residual_share``, ``reason``.
    thresholds : dict
        Those that were applied, as ``spikeinterface.curation.bombcell_label_units`` takes them.
    not_applied : dict of str to str
        Metrics whose thresholds were left out, and why.
    replaced : dict of str to str
        Metrics that another column stands for, such as "snr": "snr_from_features".
    metrics : pandas.DataFrame
        The metrics that the thresholds were applied to.
    """

    table: pd.DataFrame
    thresholds: dict[str, dict[str, Any]]
    not_applied: dict[str, str]
    replaced: dict[str, str]
    metrics: pd.DataFrame

    def __repr__(self) -> str:
        counts = counts_text(self.table["bombcell_label"].value_counts())
        return f"UnitClasses: {count_text(len(self.table), 'unit')}: {counts}"

    def _repr_html_(self) -> str:
        """Return what notebooks show."""
        return as_html(repr(self), self.table)


def classify_units(
    sorting_analyzer: SortingAnalyzer,
    thresholds: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    *,
    narrow_below_ms: float = NARROW_BELOW_MS,
    split_non_somatic: bool = False,
) -> UnitClasses:
    """Classify units by their metrics, without the recording.

    ``spikeinterface.curation.bombcell_label_units`` labels them: "noise" where the waveform is no
    spike, "mua", "good", and "non_soma" (axons). Shape and quality are from the extension
    `curation_metrics`, which is computed where it is not there. A threshold whose metric no unit
    has is left out and told of; SpikeInterface would call all units noise.

    ``snr`` is that of SpikeInterface's extension ``quality_metrics`` where it is there, else
    ``snr_from_features``, and `replaced` says so. A threshold of amplitudes, which is in µV, is
    left out where the gain is not known.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    thresholds : mapping, optional
        {"noise" | "mua" | "non-somatic": {metric: {"greater": ..., "less": ...}}}, by default
        ``bombcell_get_default_thresholds()``.
    narrow_below_ms : float, default: 0.425
        Spikes with at most this ``peak_to_trough_duration`` are narrow (CellExplorer).
    split_non_somatic : bool, default: False
        As in SpikeInterface: "non_soma_good" and "non_soma_mua" instead of "non_soma".

    Returns
    -------
    UnitClasses

    Raises
    ------
    ParameterError
    MissingDataError
        There are neither amplitudes nor templates.

    Notes
    -----
    On three simulated recordings sorted by Kilosort 4.1.7, 76 of 77 units with at least 50 spikes
    had the label, and 72 the width, that the traces give (SpikeInterface's `template_metrics`,
    ``snr`` and amplitudes of the filtered traces). Of 42 units that were merged or split, 41 had
    both. None of them was noise or an axon.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> classes = sic.classify_units(analyzer)
    >>> classes.table.loc[[4, 13], ["bombcell_label", "width_class"]].values.tolist()
    [['good', 'wide'], ['mua', 'wide']]
    >>> sorted(classes.not_applied), classes.replaced
    (['amplitude_median', 'drift_ptp', 'peak_before_width'], {'snr': 'snr_from_features'})
    """
    checks = Checks.of_call(classify_units, locals())
    checks.number("narrow_below_ms", narrow_below_ms, above=0)
    checks.boolean("split_non_somatic", split_non_somatic)
    _check_thresholds(checks, thresholds)
    checks.finish()
    analyzer = sorting_analyzer
    wanted = bombcell_get_default_thresholds() if thresholds is None else thresholds
    names = list(dict.fromkeys(name for its in wanted.values() for name in its))
    found = _metrics(analyzer, [*names, _DURATION, "snr_from_features"])
    metrics, not_applied, replaced = _table_of(analyzer, found, names)
    applied = {
        section: {name: dict(one) for name, one in its.items() if name in metrics}
        for section, its in wanted.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = bombcell_label_units(
            thresholds=applied, split_non_somatic=split_non_somatic, external_metrics=metrics
        )["bombcell_label"].to_numpy(dtype=str)
    residuals = find_residuals(analyzer)
    failing = _failing(metrics, applied)
    durations_ms = found.values[_DURATION] * 1e3
    values = {name: metrics[name].to_numpy(dtype=np.float64).tolist() for name in metrics}
    rows = []
    for unit, label in enumerate(labels.tolist()):
        width = _width_class(durations_ms[unit], narrow_below_ms, label)
        why, of, share = [], None, float(residuals.share[unit])
        if residuals.is_residual[unit]:
            of = analyzer.unit_ids[residuals.largest_partner[unit]]
            why.append(Explanation("class_residual", share=share, unit_id=plain_id(of)))
        why += _of_label(values, failing, unit, label)
        if width and abs(durations_ms[unit] - narrow_below_ms) <= _NEAR_BORDER_MS:
            why.append(Explanation("class_width_near", duration_ms=float(durations_ms[unit])))
        rows.append((label, width, of, share, explanations_text(why)))
    index = pd.Index(analyzer.unit_ids, name="unit_id")
    table = pd.DataFrame(rows, index=index, columns=list(UNIT_CLASSES))
    table = table.astype({"residual_share": "float64"})
    return UnitClasses(table, applied, not_applied, replaced, metrics)


def _check_thresholds(checks: Checks, thresholds: object) -> None:
    if thresholds is None:
        return
    if not isinstance(thresholds, Mapping):
        checks.add(f"thresholds are {short_repr(thresholds)}, expected a mapping of sections")
        return
    for section, its in thresholds.items():
        if section not in SECTIONS or not isinstance(its, Mapping):
            checks.add(
                f"thresholds have {short_repr(section)}: {short_repr(its)}, expected sections "
                f"{', '.join(SECTIONS)} with a mapping each"
            )
            continue
        for name, limits in its.items():
            if not isinstance(limits, Mapping) or not set(limits) <= {"greater", "less", "abs"}:
                checks.add(
                    f"the threshold of {short_repr(name)} is {short_repr(limits)}, expected "
                    "greater, less, or abs"
                )
                continue
            for key in ("greater", "less"):
                checks.number(f"{key} of {name}", limits.get(key), optional=True)


def _metrics(analyzer: SortingAnalyzer, columns: list[str]) -> MetricValues:
    """Return metrics of all units, those that the analyzer has or computed now."""
    names = [name for name, one in METRICS.items() if set(one.columns) & set(columns)]
    known = analyzer.get_extension("curation_metrics")
    found = None
    if isinstance(known, CurationMetrics):
        found = known.get_values()
        names = [name for name in names if not set(METRICS[name].columns) <= set(found.values)]
    if names:
        params = complete_params(names, None)
        computed = compute_metrics(analyzer, analyzer.unit_ids, params)
        found = computed if found is None else join_columns(found, computed)
    return found if found is not None else MetricValues({}, {}, {})


def _table_of(
    analyzer: SortingAnalyzer, found: MetricValues, names: list[str]
) -> tuple[pd.DataFrame, dict[str, str], dict[str, str]]:
    """Return the metrics that thresholds are applied to, why others are not, and what stands in."""
    columns: dict[str, NDArray[np.float64]] = {}
    not_applied: dict[str, str] = {}
    replaced: dict[str, str] = {}
    tables = [
        table.reindex(analyzer.unit_ids)
        for name in ("quality_metrics", "template_metrics")
        if isinstance(table := _data_of(analyzer, name), pd.DataFrame)
    ]
    for name in names:
        source = name
        of_others = [table[name] for table in tables if name in table]
        if name == "snr" and not of_others:
            source = replaced[name] = "snr_from_features"
        if source in found.values:
            values = found.values[source]
        elif of_others:
            values = of_others[0].to_numpy(dtype=np.float64)
        else:
            not_applied[name] = "it is no metric that is known here; compute its extension first"
            continue
        if name in _IN_UV and not analyzer.return_in_uV:
            not_applied[name] = "amplitudes are not in µV"
        elif name in _NAN_FAILS or np.isfinite(values).any():
            columns[name] = values
        else:
            why = {str(one) for one in found.reasons.get(source, ()) if one is not None}
            not_applied[name] = "; ".join(["no unit has it", *sorted(why)[:2]])
            replaced.pop(name, None)
    return pd.DataFrame(columns, index=pd.Index(analyzer.unit_ids)), not_applied, replaced


def _data_of(analyzer: SortingAnalyzer, name: str) -> Any:
    extension = analyzer.get_extension(name)
    return None if extension is None else extension.get_data()


def _width_class(duration_ms: float, narrow_below_ms: float, label: str) -> str:
    if label == "noise" or label.startswith("non_soma") or not np.isfinite(duration_ms):
        return ""
    return "narrow" if duration_ms <= narrow_below_ms else "wide"


def _failing(
    metrics: pd.DataFrame, applied: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Return which units do not meet each threshold of noise and of several neurons."""
    out: dict[str, dict[str, NDArray[np.bool_]]] = {}
    for section in ("noise", "mua"):
        out[section] = {}
        for name, threshold in applied.get(section, {}).items():
            policy = "fail" if section == "noise" or name in _NAN_FAILS else "pass"
            found = threshold_metrics_label_units(
                metrics, {name: threshold}, pass_label="", fail_label="fails", nan_policy=policy
            )
            out[section][name] = (found["label"] == "fails").to_numpy()
    return out


def _of_label(
    metrics: Mapping[str, Sequence[float]],
    failing: Mapping[str, Mapping[str, NDArray[np.bool_]]],
    unit: int,
    label: str,
) -> list[Explanation]:
    """Return what makes the label of a unit."""
    why = [Explanation("class_non_somatic")] if label.startswith("non_soma") else []
    section = {"noise": "noise", "mua": "mua", "non_soma_mua": "mua"}.get(label)
    if section is None:
        return why
    for name, fails in failing[section].items():
        if not fails[unit]:
            continue
        value = metrics[name][unit]
        if np.isnan(value):
            why.append(Explanation("class_metric_missing", metric=name, label=section))
        else:
            why.append(Explanation("class_threshold", metric=name, value=value, label=section))
    return why
