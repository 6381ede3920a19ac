"""The columns of the table of units: values, and the description of each column."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from si_curation import variables
from si_curation.checks import is_number
from si_curation.errors import MissingDataError
from si_curation.learning.labels import LearntLabels
from si_curation.quality.contamination import contamination_panel
from si_curation.quality.template_agreement import compare_templates, has_both_kinds
from si_curation.quality.unit_classes import classify_units
from si_curation.quality.unit_table import make_unit_table
from si_curation.reading.observed import OBSERVED_PROPERTY
from si_curation.report.context import GROUP_PROPERTY, ReportContext
from si_curation.report.encode import is_exact_number, pack_counts, pack_numbers, plain
from si_curation.report.formatting import format_value

_HIDDEN_UNIT_COLUMNS = {"template_id", "shank"}
_SHOWN_METRICS = {"presence_ratio", "amplitude_cutoff", "isolation_distance", "d_prime"}
_SHOWN_CONTAMINATION = {"isi_violations_ratio", "rp_contamination"}
#: Of the panel with the refractory period of each unit; of the metrics with SpikeInterface's.
_OWN_PERIOD = ("isi_violations_ratio", "rp_contamination")
_SPIKEINTERFACE = ("quality_metrics", "template_metrics")
_NOT_PROPERTIES = {GROUP_PROPERTY, "phy_folder", "original_cluster_id", OBSERVED_PROPERTY}
_COMPARED = {
    "correlation": True,
    "best_channel_sorter": False,
    "best_channel_analyzer": False,
    "best_channel_distance_um": False,
}
UNITS, LEARNT, COMPARED, METRICS, CLASSES, CONTAMINATION, PROPERTIES = (
    "Units",
    "Learnt labels",
    "Sorter's templates beside traces",
    "Quality metrics",
    "Classes",
    "Contamination panel",
    "Other properties",
)
#: What stands behind a name that another group has for other values.
_WHOSE = {
    METRICS: "metric",
    CONTAMINATION: "panel",
    PROPERTIES: "property",
    **{f"SpikeInterface, extension {name}": name for name in _SPIKEINTERFACE},
}


@dataclass
class Column:
    """One column of the table of units.

    Attributes
    ----------
    key : str
        Unique.
    title, group, unit, description : str
    values : list
        Numbers, texts or None, a value for each unit of the report.
    reasons : list of str or None
        Why a value is missing.
    shown : bool
        Whether the column is visible when the page opens.
    """

    key: str
    title: str
    group: str
    unit: str
    description: str
    values: list[Any]
    reasons: list[str] | None = None
    shown: bool = False

    @cached_property
    def is_number(self) -> bool:
        """Whether its values are numbers that a browser can hold, or missing."""
        kinds = set(map(type, self.values))
        if kinds <= {float, type(None)}:  # most columns
            return True
        return all(
            value is None or (is_number(value) and is_exact_number(value)) for value in self.values
        )

    def to_page(self) -> dict[str, Any]:
        """Return the column for the data of the page: numbers as they are, others as text."""
        found: dict[str, Any] = {
            "title": self.title,
            "group": self.group,
            "unit": self.unit,
            "description": self.description,
        }
        if self.is_number:
            is_whole = all(value is None or isinstance(value, int) for value in self.values)
            found |= {"values": pack_numbers(self.values), "whole": is_whole}
        else:
            found["values"] = [format_value(value) for value in self.values]
        if self.reasons and any(self.reasons):
            texts = list(dict.fromkeys(self.reasons))
            code_of = {text: code for code, text in enumerate(texts)}
            codes = np.array([code_of[text] for text in self.reasons], dtype=np.int64)
            found["reasons"] = {"texts": texts, "codes": pack_counts(codes)}
        return found


def unit_columns(
    context: ReportContext, learnt: LearntLabels | None = None
) -> tuple[list[Column], list[str]]:
    """Return all columns, and notes on what to compute for more of them."""
    columns, notes = _units(context)
    columns += _learnt(context, learnt)
    columns += _compared_templates(context)
    columns += _metrics(context, notes)
    columns += _classes(context)
    columns += _contamination(context)
    columns += _spikeinterface_metrics(context)
    columns += _properties(context)
    columns = _one_value_for_a_name(columns)
    for column in columns:
        column.shown &= any(value not in (None, "") for value in column.values)
    return columns, notes


def _one_value_for_a_name(columns: list[Column]) -> list[Column]:
    """Return the columns without repetitions; what has a name of other values gets its own."""
    kept: list[Column] = []
    named: dict[str, list[Column]] = {}
    for column in columns:
        others = named.setdefault(column.title, [])
        again = next((one for one in others if one.values == column.values), None)
        if again is not None:
            again.shown |= column.shown
            continue
        if others:
            column.title = f"{column.title} ({_WHOSE.get(column.group, column.group)})"
        others.append(column)
        kept.append(column)
    return kept


def _units(context: ReportContext) -> tuple[list[Column], list[str]]:
    analyzer, notes = context.analyzer, []
    names = ("template_assignment", "template_best_channels")
    missing = [name for name in names if context.extension(name) is None]
    if missing:
        notes.append(
            f"Templates, best channels and amplitudes: compute {' and '.join(missing)} first."
        )
        table = pd.DataFrame(
            {
                "group": context.groups,
                "num_spikes": context.num_spikes,
                "firing_rate_hz": context.num_spikes / (context.observed.duration_s or np.nan),
            },
            index=analyzer.unit_ids,
        )
    else:
        table = make_unit_table(analyzer)
        table["group"] = context.groups
    columns = []
    for name in table.columns:
        what = variables.UNITS[name]
        unit, description = _unit_text(what, context), what.description
        values = plain(table[name].to_numpy()[context.rows])
        shown = name not in _HIDDEN_UNIT_COLUMNS
        columns.append(Column(name, name, UNITS, unit, description, values, None, shown))
    if context.extension("template_assignment") is not None:
        events = context.lineage["event"].to_numpy()[context.rows].tolist()
        text = variables.LINEAGE["event"].description
        columns.append(Column("lineage", "lineage", UNITS, "", text, events, None, True))
    return columns, notes


def _compared_templates(context: ReportContext) -> list[Column]:
    """Return how the sorter's templates agree with the traces, where both are there."""
    if not has_both_kinds(context.analyzer):
        return []
    table = compare_templates(context.analyzer)
    why = [str(text) for text in table["reason"].to_numpy()[context.rows]]
    columns = []
    for name, shown in _COMPARED.items():
        what = variables.COMPARED_TEMPLATES[name]
        values = plain(table[name].astype(object).to_numpy(na_value=None)[context.rows])
        columns.append(
            Column(
                f"compare_templates:{name}",
                name,
                COMPARED,
                _unit_text(what, context),
                what.description,
                values,
                why,
                shown,
            )
        )
    return columns


def _unit_text(variable: variables.Variable, context: ReportContext) -> str:
    return {"amplitude": context.amplitude_unit, "um": "µm"}.get(variable.unit, variable.unit)


def _metrics(context: ReportContext, notes: list[str]) -> list[Column]:
    extension = context.extension("curation_metrics")
    if extension is None:
        notes.append("Quality metrics: compute curation_metrics first.")
        return []
    table, reasons = extension.get_data(), extension.get_data(reasons=True)
    columns = []
    for name in table.columns:
        if name in variables.UNITS:
            continue  # the same number
        what = variables.METRICS[name]
        unit = _unit_text(what, context)
        values = plain(table[name].to_numpy()[context.rows])
        why = [str(text) for text in reasons[name].to_numpy()[context.rows]]
        text = f"{what.description} ({what.source})"
        if name.removesuffix("_lower").removesuffix("_upper") in _OWN_PERIOD:
            text += ". With the refractory period of curation_metrics, one for all units"
        shown = name in _SHOWN_METRICS
        columns.append(Column(f"metric:{name}", name, METRICS, unit, text, values, why, shown))
    return columns


def _classes(context: ReportContext) -> list[Column]:
    """Return the classes of units, where the metrics that they are from are there."""
    known = context.extension("curation_metrics")
    if known is None or not set(variables.SHAPE) <= set(known.get_data().columns):
        return []
    try:
        table = classify_units(context.analyzer).table
    except MissingDataError:
        return []
    why = [str(text) for text in table["reason"].to_numpy()[context.rows]]
    columns = []
    for name, shown in (
        ("bombcell_label", False),
        ("width_class", False),
        ("residual_of", True),
        ("residual_share", False),
    ):
        what = variables.UNIT_CLASSES[name]
        values = plain(table[name].astype(object).to_numpy(na_value=None)[context.rows])
        text = f"{what.description} ({what.source})" if what.source else what.description
        columns.append(Column(f"class:{name}", name, CLASSES, "", text, values, why, shown))
    return columns


def _learnt(context: ReportContext, learnt: LearntLabels | None) -> list[Column]:
    """Return what a model of curated sessions says of the units."""
    if learnt is None:
        return []
    table = learnt.table.reindex(context.unit_ids)
    why = [str(text) for text in table["reason"]]
    columns = []
    for name, title, shown in (
        ("label", "learnt_label", True),
        ("likeliest", "learnt_likeliest", False),
        ("probability", "learnt_probability", True),
        ("doubt", "learnt_doubt", False),
        ("order_of_work", "order_of_work", True),
        ("reason", "learnt_reason", False),
    ):
        what = variables.LEARNT_LABELS[name]
        values = plain(table[name].to_numpy())
        text = f"{what.description} ({learnt.model_name})"
        columns.append(Column(f"learnt:{name}", title, LEARNT, "", text, values, why, shown))
    return columns


def _contamination(context: ReportContext) -> list[Column]:
    table = contamination_panel(context.analyzer)
    shared = {"num_spikes", "firing_rate_hz"}
    columns = []
    for name in table.columns:
        if name in shared:
            continue
        title, text = name, str(variables.CONTAMINATION[name])
        formula = name.removesuffix("_lower").removesuffix("_upper")
        if formula in _OWN_PERIOD:
            title = name.replace(formula, f"{formula}_own_period")
            text += ". With the refractory period of the unit, refractory_period_ms"
        columns.append(
            Column(
                f"contamination:{name}",
                title,
                CONTAMINATION,
                "ms" if name.endswith("_ms") else "",
                text,
                plain(table[name].to_numpy()[context.rows]),
                None,
                name in _SHOWN_CONTAMINATION,
            )
        )
    return columns


def _spikeinterface_metrics(context: ReportContext) -> list[Column]:
    columns = []
    for extension_name in _SPIKEINTERFACE:
        extension = context.extension(extension_name)
        table = None if extension is None else extension.get_data()
        if not isinstance(table, pd.DataFrame):
            continue
        table = table.reindex(context.unit_ids)
        text = f"SpikeInterface, extension {extension_name}"
        columns += [
            Column(
                f"{extension_name}:{name}", str(name), text, "", text, plain(table[name].tolist())
            )
            for name in table.columns
        ]
    return columns


def _properties(context: ReportContext) -> list[Column]:
    sorting = context.analyzer.sorting
    columns = []
    for name in sorted(sorting.get_property_keys(), key=str):
        values = sorting.get_property(name)
        if name in _NOT_PROPERTIES or values is None or values.ndim != 1:
            continue
        column = Column(
            f"property:{name}",
            str(name),
            PROPERTIES,
            "",
            f"unit property {name} of the sorting",
            plain(values[context.rows]),
        )
        column.shown = not column.is_number
        columns.append(column)
    return columns
