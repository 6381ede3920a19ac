"""Metrics of units as an extension stores them: arrays and one dictionary, no pickles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from si_curation._spikeinterface import as_array
from si_curation.quality.metrics.result import MetricValues, no_reasons
from si_curation.variables import Explanation

_WIDTH = 64  # of texts; zarr cuts strings that are set later to the width of the first ones
#: Columns that hold whole numbers where they are numbers; missing ones are pandas' NA.
WHOLE_COLUMNS = ("template_id", "num_templates", "best_channel_id", "shank")


class Windows(NamedTuple):
    """Metrics in windows of the recording.

    Attributes
    ----------
    edges : array (n_windows, 3) int64
        Segment index, first sample, sample after the last.
    values : MetricValues
        Arrays (n_units, n_windows).
    """

    edges: NDArray[np.int64]
    values: MetricValues


def order_columns(found: MetricValues, columns: Sequence[str]) -> MetricValues:
    """Return the columns in an order; those that are not there are left out."""
    there = [c for c in columns if c in found.values]
    return MetricValues(
        {c: found.values[c] for c in there},
        {c: found.reasons[c] for c in there},
        {c: found.sources.get(c, "") for c in there},
    )


def join_columns(*parts: MetricValues) -> MetricValues:
    """Put the columns of some results side by side; of two of one name the later is taken."""
    values: dict[str, NDArray] = {}
    reasons: dict[str, NDArray] = {}
    sources: dict[str, str] = {}
    for part in parts:
        values |= part.values
        reasons |= part.reasons
        sources |= dict(part.sources)
    return MetricValues(values, reasons, sources)


def take_units(found: MetricValues, rows: NDArray[np.integer]) -> MetricValues:
    """Return the rows of some units."""
    return found._replace(
        values={c: v[rows] for c, v in found.values.items()},
        reasons={c: v[rows] for c, v in found.reasons.items()},
    )


def put_units(into: MetricValues, found: MetricValues, rows: NDArray[np.integer]) -> MetricValues:
    """Replace the rows of some units, in the columns that both have."""
    values, reasons = dict(into.values), dict(into.reasons)
    for c in found.values:
        for target, source in ((values, found.values[c]), (reasons, found.reasons[c])):
            dtype = np.result_type(target[c].dtype, source.dtype)
            target[c] = target[c].astype(dtype)
            target[c][rows] = source
    return into._replace(values=values, reasons=reasons)


def empty_like(found: MetricValues, num_units: int) -> MetricValues:
    """Return the same columns without values, for another number of units."""
    values: dict[str, NDArray] = {}
    reasons: dict[str, NDArray] = {}
    for c, of in found.values.items():
        shape = (num_units, *of.shape[1:])
        is_text = of.dtype.kind == "U"
        values[c] = np.full(shape, "", of.dtype) if is_text else np.full(shape, np.nan)
        reasons[c] = no_reasons(shape)
    return found._replace(values=values, reasons=reasons)


def pack(found: MetricValues, windows: Windows | None, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an extension stores.

    Parameters
    ----------
    found : MetricValues
    windows : Windows, optional
    kept : mapping
        More that is stored with it: text and lists.

    Returns
    -------
    dict
        ``numbers`` (n_units, n_columns) float64, ``texts`` (n_units, n_columns) str, ``reasons``
        (n_units, n_columns) int32, ``table`` with the names of the columns; ``windows``,
        ``window_numbers`` and ``window_reasons`` alike. The numbers in ``reasons`` are positions in
        the lists ``reason_codes`` (code and values of each) and ``reasons`` (its text, for version
        0.1.0) of ``table``; 0 where there is a value.
    """
    texts = [c for c, v in found.values.items() if v.dtype.kind == "U"]
    numbers = [c for c in found.values if c not in texts]
    known: dict[Explanation, int] = {}
    data: dict[str, Any] = {}
    if numbers:
        stacked = np.stack([found.values[c] for c in numbers], axis=-1)
        data["numbers"] = stacked.astype(np.float64)
    if texts:
        stacked = np.stack([found.values[c] for c in texts], axis=-1)
        width = max(_WIDTH, stacked.dtype.itemsize // 4)
        data["texts"] = stacked.astype(f"U{width}")
    data["reasons"] = _encode([found.reasons[c] for c in numbers + texts], known)
    window_columns: list[str] = []
    if windows is not None:
        window_columns = list(windows.values.values)
        data["windows"] = windows.edges
        data["window_numbers"] = np.stack(
            [windows.values.values[c] for c in window_columns], axis=-1
        )
        data["window_reasons"] = _encode([windows.values.reasons[c] for c in window_columns], known)
    data["table"] = {
        "columns": list(found.values),
        "numbers": numbers,
        "texts": texts,
        "window_columns": window_columns,
        "reasons": ["", *map(str, known)],
        "reason_codes": [["", {}], *([one.code, one.values] for one in known)],
        "sources": {c: str(found.sources.get(c, "")) for c in found.values},
        **kept,
    }
    return data


def unpack(data: Mapping[str, Any]) -> tuple[MetricValues, Windows | None]:
    """Return the metrics, and those in windows, that `pack` stored."""
    table = data["table"]
    values: dict[str, NDArray] = {}
    for name in ("numbers", "texts"):
        for i, column in enumerate(table[name]):
            values[column] = as_array(data[name])[..., i].copy()
    explanations = _stored_explanations(table)
    which = as_array(data["reasons"])
    stored = [*table["numbers"], *table["texts"]]
    reasons = {c: explanations[which[..., i]] for i, c in enumerate(stored)}
    found = MetricValues(
        {c: values[c] for c in table["columns"]},
        {c: reasons[c] for c in table["columns"]},
        dict(table["sources"]),
    )
    if not table["window_columns"]:
        return found, None
    numbers, which = as_array(data["window_numbers"]), as_array(data["window_reasons"])
    columns = list(enumerate(table["window_columns"]))
    inside = MetricValues(
        {c: numbers[..., i].copy() for i, c in columns},
        {c: explanations[which[..., i]] for i, c in columns},
    )
    return found, Windows(as_array(data["windows"]), inside)


def _encode(columns: list[NDArray[np.object_]], known: dict[Explanation, int]) -> NDArray[np.int32]:
    """Return the number of each explanation, from 1 in the order of `known`; 0 for None."""
    out = []
    seen = {id(None): 0}  # by identity: most units have the very same one
    for reasons in columns:
        ones = reasons.ravel().tolist()
        keys = list(map(id, ones))
        for key, one in dict(zip(keys, ones, strict=True)).items():
            if key not in seen:
                seen[key] = known.setdefault(one, len(known) + 1)
        numbers = np.fromiter(map(seen.__getitem__, keys), dtype=np.int32, count=len(keys))
        out.append(numbers.reshape(reasons.shape))
    return np.stack(out, axis=-1)


def _stored_explanations(table: Mapping[str, Any]) -> NDArray[np.object_]:
    """Return the explanations by number; version 0.1.0 stored their texts alone."""
    stored = table.get("reason_codes")
    if stored is None:
        stored = [("saved_text", {"text": text}) for text in table["reasons"]]
    out = no_reasons(len(stored))
    for number, (code, values) in enumerate(stored):
        if number > 0:
            out[number] = Explanation(code, **values)
    return out


def reason_texts(reasons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return the text of each explanation; "" for None."""
    ones = reasons.ravel().tolist()
    distinct = {id(one): one for one in ones}
    texts = {key: "" if one is None else str(one) for key, one in distinct.items()}
    out = np.empty(reasons.size, dtype=object)
    out[:] = [texts[id(one)] for one in ones]
    return out.reshape(reasons.shape)


def to_frame(found: MetricValues, unit_ids: NDArray, reasons: bool = False) -> pd.DataFrame:
    """Return a table indexed by unit id, of values or of the reasons why they are missing."""
    if reasons:
        texts = {c: reason_texts(v) for c, v in found.reasons.items()}
        return pd.DataFrame(texts, index=pd.Index(unit_ids))
    return pd.DataFrame(
        {c: _typed(c, v) for c, v in found.values.items()}, index=pd.Index(unit_ids)
    )


def _typed(column: str, values: NDArray) -> Any:
    if values.dtype.kind == "U":
        return np.where(values == "", np.nan, values.astype(object))
    if column == "num_spikes":
        return values.astype(np.int64)
    if column in WHOLE_COLUMNS and _is_whole(values):
        missing = np.isnan(values)
        return pd.arrays.IntegerArray(np.where(missing, 0, values).astype(np.int64), missing)
    return values


def _is_whole(values: NDArray) -> bool:
    known = values[~np.isnan(values)]
    return bool(np.all(known == np.round(known)))


def to_long_frame(
    windows: Windows, unit_ids: NDArray, sampling_frequency: float, reasons: bool = False
) -> pd.DataFrame:
    """Return a long table: a row for each unit and window."""
    num_units, num_windows = len(unit_ids), len(windows.edges)
    segment, start, stop = (np.tile(of, num_units) for of in windows.edges.T)
    if reasons:
        columns = {c: reason_texts(v).reshape(-1) for c, v in windows.values.reasons.items()}
    else:
        columns = {c: v.reshape(-1) for c, v in windows.values.values.items()}
    if not reasons and "num_spikes" in columns:
        columns["num_spikes"] = columns["num_spikes"].astype(np.int64)
    return pd.DataFrame(
        {
            "unit_id": np.repeat(unit_ids, num_windows),
            "segment_index": segment,
            "window_start_s": start / sampling_frequency,
            "window_stop_s": stop / sampling_frequency,
            **columns,
        }
    )
