"""The columns of phy's cluster table and of the sorter: place, size, template, label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import unit_indices_of
from si_curation.errors import MissingDataError
from si_curation.extensions.template_best_channels import phy_best_channels
from si_curation.quality.metrics.result import (
    MetricValues,
    missing_values,
    no_reasons,
    reasons_where,
)
from si_curation.reading.probe import planar_locations, shanks_of
from si_curation.variables import IDENTITY, Explanation

METRICS: dict[str, tuple[str, ...]] = {
    "best_channel": ("best_channel_id", "depth_um", "shank"),
    "amp": ("amp",),
    "template": ("template_id", "template_purity", "num_templates"),
    "sorter": ("KSLabel", "ContamPct"),
}


def compute_identity(
    sorting_analyzer: SortingAnalyzer,
    unit_ids: Sequence[Any] | NDArray | None = None,
    metric_names: Sequence[str] | None = None,
) -> MetricValues:
    """Look up the columns of phy's cluster table and of the sorter.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Best channel and amplitude need the extension `template_assignment` or `templates`, the
        template columns `template_assignment`, the others a unit property of that name.
    unit_ids : sequence, optional
        All by default.
    metric_names : sequence of str, optional
        Columns, of `si_curation.variables.IDENTITY`; all by default.

    Returns
    -------
    MetricValues
        Numbers are float64, NaN where missing; ``KSLabel``, and ids and shanks that are no numbers,
        are str, "" where missing.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder(), unwhiten="phy")
    >>> found = compute_identity(analyzer, [4, 13], ["depth_um", "KSLabel"])
    >>> found.values["depth_um"].tolist(), found.values["KSLabel"].tolist()
    ([220.0, 100.0], ['good', 'good'])
    """
    analyzer = sorting_analyzer
    wanted = analyzer.unit_ids if unit_ids is None else np.asarray(unit_ids)
    columns = list(IDENTITY) if metric_names is None else list(metric_names)
    units = unit_indices_of(analyzer, wanted, may_repeat=True)
    found = MetricValues({}, {}, {})
    sources: dict[str, str] = {}
    lookups: dict[str, Callable[..., tuple[MetricValues, str]]] = {
        "best_channel": _place,
        "amp": _place,
        "template": _templates,
        "sorter": _sorter,
    }
    for lookup in dict.fromkeys(
        lookups[name] for name, its in METRICS.items() if set(its) & set(columns)
    ):
        part, source = lookup(analyzer, units)
        found.values.update({c: v for c, v in part.values.items() if c in columns})
        found.reasons.update({c: v for c, v in part.reasons.items() if c in columns})
        sources |= {c: source or f"unit property {c}" for c in part.values if c in columns}
    return found._replace(sources=sources)


def _place(analyzer: SortingAnalyzer, units: NDArray[np.int64]) -> tuple[MetricValues, str]:
    names = ("best_channel_id", "depth_um", "shank", "amp")
    has_assignment = analyzer.get_extension("template_assignment") is not None
    source = "template_assignment" if has_assignment else "templates"
    try:
        ranked, amplitudes, template_of_unit = phy_best_channels(analyzer)
    except MissingDataError as fault:
        return missing_values(
            names, len(units), Explanation("missing_data", error=str(fault))
        ), source
    templates = template_of_unit[units]
    reasons = no_reasons(len(units))
    reasons[templates < 0] = Explanation("no_spikes")
    best = np.full(len(units), -1)
    if ranked.shape[1]:  # no column where no template has signal
        best[templates >= 0] = ranked[templates[templates >= 0], 0]
    reasons[(templates >= 0) & (best < 0)] = Explanation("no_signal")
    known = best >= 0
    values: dict[str, NDArray] = {
        "best_channel_id": _take(analyzer.channel_ids, best),
        "depth_um": _take(planar_locations(analyzer)[:, 1], best),
        "shank": _take(shanks_of(analyzer), best),
        "amp": np.full(len(units), np.nan),
    }
    values["amp"][known] = amplitudes[templates[known]].max(axis=1)
    return MetricValues(values, dict.fromkeys(names, reasons)), source


def _take(values: NDArray, index: NDArray[np.integer]) -> NDArray:
    """Return values at some places; NaN or "" where the place is -1."""
    if values.dtype.kind in "iufb":
        return np.append(values.astype(np.float64), np.nan)[index]
    return np.append(values.astype(np.str_), "")[index]


def _templates(analyzer: SortingAnalyzer, units: NDArray[np.int64]) -> tuple[MetricValues, str]:
    source = "template_assignment"
    assignment = analyzer.get_extension(source)
    if assignment is None:
        reason = Explanation("no_extension", name=source)
        return missing_values(METRICS["template"], len(units), reason), source
    table = assignment.get_data().iloc[units]
    values = {name: table[name].to_numpy(np.float64) for name in METRICS["template"]}
    none = no_reasons(len(units))
    purity = reasons_where(np.isnan(values["template_purity"]), Explanation("no_spikes"))
    return MetricValues(
        values, {"template_id": none, "template_purity": purity, "num_templates": none}
    ), source


def _sorter(analyzer: SortingAnalyzer, units: NDArray[np.int64]) -> tuple[MetricValues, str]:
    values: dict[str, NDArray] = {}
    reasons: dict[str, NDArray] = {}
    for name in METRICS["sorter"]:
        is_text = name == "KSLabel"
        known = analyzer.sorting.get_property(name)
        reason = Explanation("no_sorter_value")
        if known is None:
            reason = Explanation("no_sorter_property", name=name)
            of_units = np.full(len(units), "" if is_text else np.nan, dtype=object)
        else:
            of_units = known[units]
        if is_text:
            values[name] = np.array(["" if v in (None, "nan") else str(v) for v in of_units], "U64")
            missing = values[name] == ""
        else:
            values[name] = np.array([_number(v) for v in of_units], dtype=np.float64)
            missing = np.isnan(values[name])
        reasons[name] = reasons_where(missing, reason)
    return MetricValues(values, reasons), ""


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan
