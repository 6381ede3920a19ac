"""The page of a comparison: the curations side by side, one file without scripts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from si_curation.agreement.compared import Compared, Tables
from si_curation.agreement.parts import Parts
from si_curation.report.page import source_of
from si_curation.variables import AGREEMENT, COMPARED_UNITS

#: Colours of labels, of Okabe and Ito's, which all can tell apart; others have the last one.
COLOURS = {"good": "#009e73", "mua": "#e69f00", "noise": "#7a8794", "unsorted": "#e3e8ed"}
OTHER_COLOUR = "#56b4e9"
_MAX_DRAWN = 1000  # decisions
_MAX_UNITS = 40  # of a curation in one drawing
_MAX_PAIRS = 6
_BOX, _GAP, _TOP, _SPACE = 16, 190, 22, 4
_LOWEST = 17  # of a box: its text fits beside it
_TITLES = {
    "regrouped": "spikes are grouped otherwise",
    "merged": "merged by one, not by the other",
    "not_merged": "merged by one, not by the other",
    "split": "split by one, not by the other",
    "not_split": "split by one, not by the other",
    "not_removed": "removed by one",
    "noise": "noise or not",
    "label": "labelled differently",
    "label_missing": "labelled by one only",
}


class _Column(NamedTuple):
    """The units of one curation in a drawing, from top to bottom."""

    name: str
    unit_of_part: NDArray[np.int64]  # -1 where it was removed
    text: Mapping[int, str]
    colour: Mapping[int, str]


def render_comparison(compared: Compared, tables: Tables, title: str | None) -> Iterator[str]:
    """Render the page of a comparison, piece by piece."""
    import jinja2

    style = (files("si_curation.agreement") / "page.css").read_text(encoding="utf-8")
    style = style.replace("\r\n", "\n")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("si_curation.agreement", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    num = int(tables.disputed["decision"].nunique())
    return environment.get_template("page.html.j2").generate(
        title=title or "Curations compared: " + ", ".join(compared.names),
        created=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        policy=f"default-src 'none'; style-src {source_of(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        sources={one.name: one.text for one in compared.sources},
        start=compared.start_text,
        num_spikes=f"{compared.num_spikes:,}",
        num_guessed=compared.num_guessed,
        num_decisions=num,
        num_left_out=max(0, num - _MAX_DRAWN),
        agreement=_agreement_rows(tables.agreement),
        descriptions={**COMPARED_UNITS.descriptions(), **AGREEMENT.descriptions()},
        kinds=_kinds(tables.units, compared.names),
        label_tables=_label_tables(compared.parts, compared.names),
        legend=_legend(compared.parts),
        decisions=_decisions(compared, tables.disputed),
    )


def _agreement_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for row in table.to_dict("records"):
        known = pd.notna(row["value"])
        with_interval = known and pd.notna(row["low"])
        interval = f" ({row['low']:.3f} to {row['high']:.3f})" if with_interval else ""
        rows.append(
            {
                "curations": ", ".join(row["curations"]),
                "quantity": row["quantity"].replace("_", " "),
                "measure": row["measure"].replace("_", " "),
                "text": f"{row['value']:.3f}{interval}" if known else "–",
                "observed": f"{row['observed']:.1%}" if pd.notna(row["observed"]) else "–",
                "compared": f"{row['num_compared']:,} {row['counted']}",
                "bar": _bar(row) if known else None,
            }
        )
    return rows


def _bar(row: Mapping[str, Any]) -> dict[str, float]:
    """Return places of a value and its interval on an axis from 0 to 1, in pixels of 120."""

    def place(value: float) -> float:
        return round(float(np.clip(value, 0, 1)) * 120, 1)

    low, high = (row["value"] if pd.isna(row[end]) else row[end] for end in ("low", "high"))
    return {"value": place(row["value"]), "low": place(low), "high": place(high)}


def _kinds(units: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """Return how many units of each curation are of each kind."""
    counts = pd.crosstab(units["kind"], units["curation"])
    there = [kind for kind in COMPARED_UNITS["kind"].codes if kind in counts.index]
    counts = counts.reindex(index=there, columns=list(names), fill_value=0)
    rows = [(str(kind), [int(i) for i in row]) for kind, row in counts.iterrows()]
    return {"rows": rows, "total": [int(i) for i in counts.sum()]}


def _label_tables(parts: Parts, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the spikes of each pair of labels, of the first pairs of curations."""
    tables = []
    pairs = [(i, j) for j in range(len(names)) for i in range(j)][:_MAX_PAIRS]
    size = len(parts.label_names)
    for one, other in pairs:
        labels = parts.labels_of_parts[:, [one, other]]
        counts = np.bincount(labels @ [size, 1], parts.counts, size * size).reshape(size, size)
        rows, columns = (np.flatnonzero(counts.sum(axis=axis)) for axis in (1, 0))
        cells = [
            (parts.label_names[i], [(f"{int(counts[i, j]):,}", bool(i == j)) for j in columns])
            for i in rows
        ]
        header = [parts.label_names[j] for j in columns]
        tables.append({"one": names[one], "other": names[other], "header": header, "rows": cells})
    return tables


def _legend(parts: Parts) -> list[tuple[str, str]]:
    there = sorted({parts.label_names[i] for labels in parts.labels for i in labels})
    return [(name, COLOURS.get(name, OTHER_COLOUR)) for name in there]


def _decisions(compared: Compared, table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield one decision at a time, as the page is written."""
    parts = compared.parts
    family_of_unit = {
        (name, unit_id): int(family)
        for i, (name, source) in enumerate(zip(compared.names, compared.ids, strict=True))
        for unit_id, family in zip(source, parts.family_of_units(i), strict=True)
    }
    order = np.argsort(parts.family, kind="stable")
    borders = np.searchsorted(parts.family[order], np.arange(parts.num_families + 1))
    for number, rows in table.groupby("decision", sort=True):
        if number > _MAX_DRAWN:
            return
        family = family_of_unit[rows["curation"].iloc[0], rows["unit_id"].iloc[0]]
        members = order[borders[family] : borders[family + 1]]
        kinds = [kind for kind in _TITLES if kind in set(rows["kind"])]
        titles = list(dict.fromkeys(_TITLES[kind] for kind in kinds))
        first = rows[rows["curation"] == rows["curation"].iloc[0]]
        yield {
            "number": int(number),
            "title": "; ".join(titles),
            "num_disputed": f"{int(first['num_disputed_spikes'].sum()):,}",
            "versions": _versions(rows, compared.names),
            "drawing": draw_decision(compared, members),
        }


def _versions(rows: pd.DataFrame, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the units of each curation in a decision as texts."""
    out = []
    for name in names:
        its = rows[rows["curation"] == name]
        units = [
            {"unit_id": str(row.unit_id), "group": row.group, "num_spikes": f"{row.num_spikes:,}"}
            for row in its.itertuples()
        ]
        votes = int(its["num_votes"].iloc[0]) if len(its) else 0
        out.append({"name": name, "units": units, "votes": votes})
    return out


def draw_decision(compared: Compared, members: NDArray[np.int64]) -> dict[str, Any] | None:
    """Return where the boxes and the bands between them are; None for too many units."""
    counts = compared.parts.counts[members]
    columns = _columns(compared, members)
    if max(len(column.text) for column in columns) > _MAX_UNITS:
        return None
    height = float(max(_units_height(column) for column in columns))
    boxes, bands, rank = [], [], np.arange(members.size, dtype=np.float64)
    edges: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for i, column in enumerate(columns):
        x = i * (_BOX + _GAP)
        tops, sizes, its_order = _stack(column.unit_of_part, counts, rank, height)
        top, bottom = np.full(members.size, np.nan), np.full(members.size, np.nan)
        for unit in its_order:
            its = np.flatnonzero(column.unit_of_part == unit)
            its = its[np.argsort(rank[its], kind="stable")]
            ends = tops[unit] + np.cumsum(counts[its]) / counts[its].sum() * sizes[unit]
            top[its], bottom[its] = np.concatenate([[tops[unit]], ends[:-1]]), ends
            boxes.append(
                {
                    "x": x,
                    "y": round(_TOP + tops[unit], 1),
                    "height": round(sizes[unit], 1),
                    "colour": column.colour[unit],
                    "text": column.text[unit],
                }
            )
        rank = np.where(np.isnan(top), rank + height, (top + bottom) / 2)
        edges.append((top, bottom))
    for i, (left, right) in enumerate(itertools.pairwise(edges)):
        x = i * (_BOX + _GAP) + _BOX
        bands += [_band(x, left, right, p) for p in range(members.size)]
    width = len(columns) * (_BOX + _GAP)
    names = [(i * (_BOX + _GAP), _heading(column)) for i, column in enumerate(columns)]
    return {
        "width": width,
        "height": round(height + _TOP + 4, 1),
        "boxes": boxes,
        "bands": [band for band in bands if band],
        "names": names,
        "box": _BOX,
    }


def _heading(column: _Column) -> str:
    removed = column.unit_of_part < 0
    what = "removed" if removed.all() else "a part removed"
    return f"{column.name}: {what}" if removed.any() else column.name


def _columns(compared: Compared, members: NDArray[np.int64]) -> list[_Column]:
    parts = compared.parts
    columns = []
    if compared.start_ids is not None:
        start = parts.start[members]
        text = {int(i): str(compared.start_ids[i]) for i in np.unique(start)}
        plain = dict.fromkeys(text, "#b9c4cf")
        columns.append(_Column("start", start, text, plain))
    for i, name in enumerate(compared.names):
        units = parts.units[members, i]
        there = [int(unit) for unit in np.unique(units) if unit >= 0]
        labels = {unit: parts.label_names[parts.labels[i][unit]] for unit in there}
        text = {unit: f"{compared.ids[i][unit]} {labels[unit]}" for unit in there}
        colour = {unit: COLOURS.get(labels[unit], OTHER_COLOUR) for unit in there}
        columns.append(_Column(name, units, text, colour))
    return columns


def _units_height(column: _Column) -> float:
    return max(54.0, len(column.text) * (_LOWEST + _SPACE) * 1.4)


def _stack(
    units: NDArray[np.int64],
    counts: NDArray[np.int64],
    rank: NDArray[np.float64],
    height: float,
) -> tuple[dict[int, float], dict[int, float], list[int]]:
    """Return top and height of each unit, by its spikes, in the order of the column before."""
    there = [int(unit) for unit in np.unique(units) if unit >= 0]
    if not there:
        return {}, {}, []
    its = {unit: units == unit for unit in there}
    place = {unit: np.average(rank[its[unit]], weights=counts[its[unit]]) for unit in there}
    order = sorted(there, key=lambda unit: (place[unit], unit))
    spikes = np.array([counts[its[unit]].sum() for unit in order], dtype=np.float64)
    room = height - (len(order) - 1) * _SPACE - len(order) * _LOWEST
    sizes = _LOWEST + room * spikes / spikes.sum()
    tops = np.concatenate([[0.0], np.cumsum(sizes + _SPACE)[:-1]])
    return (
        dict(zip(order, tops.tolist(), strict=True)),
        dict(zip(order, sizes.tolist(), strict=True)),
        order,
    )


def _band(
    x: int,
    left: tuple[NDArray[np.float64], NDArray[np.float64]],
    right: tuple[NDArray[np.float64], NDArray[np.float64]],
    part: int,
) -> str:
    """Return the path of the band of a part from one column to the next; "" where it is in none."""
    y = [float(edge[part]) + _TOP for edge in (*left, *right)]
    if np.isnan(y).any():
        return ""
    end, half = x + _GAP, x + _GAP / 2
    top = f"M{x} {y[0]:.1f}C{half} {y[0]:.1f} {half} {y[2]:.1f} {end} {y[2]:.1f}"
    return f"{top}L{end} {y[3]:.1f}C{half} {y[3]:.1f} {half} {y[1]:.1f} {x} {y[1]:.1f}Z"
