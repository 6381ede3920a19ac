"""The probe with its units, laid out as a drawing."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from si_curation.evidence.unit_locations import unit_locations
from si_curation.report.context import ReportContext
from si_curation.report.formatting import format_value

# Okabe and Ito's colours, which people with colour vision deficiencies tell apart
GROUP_COLOURS = {"good": "#0072B2", "mua": "#E69F00", "noise": "#888888", "unsorted": "#009E73"}
_OTHER_COLOURS = ("#CC79A7", "#D55E00", "#56B4E9", "#000000")
_LEFT, _TOP, _BOTTOM, _RIGHT = 64, 12, 40, 12
_HEIGHT = 520
_MANY_UNITS = 150


def colours_of(groups: list[str]) -> dict[str, str]:
    """Return a colour for each label, always the same for phy's labels."""
    others = [group for group in dict.fromkeys(groups) if group not in GROUP_COLOURS]
    found = {group: GROUP_COLOURS[group] for group in GROUP_COLOURS if group in groups}
    return found | {g: _OTHER_COLOURS[i % len(_OTHER_COLOURS)] for i, g in enumerate(others)}


def probe_map(context: ReportContext) -> dict[str, Any]:
    """Lay out channels and units; x and y have scales of their own.

    Returns
    -------
    dict
        ``width``, ``height``; ``channels``, ``units`` and ``ticks_x``, ``ticks_y`` at their places
        in the drawing; ``colours`` by label; ``unplaced``: units without a place.
    """
    channels = context.channel_places
    places = unit_locations(context.analyzer)[context.rows]
    known = np.isfinite(places).all(axis=1)
    both = np.concatenate([channels, places[known]])
    low, high = _range(both)
    columns = np.unique(np.round(channels[:, 0], 1)).size
    plot_width = float(np.clip(60 + 32 * columns, 150, 460))
    plot_height = _HEIGHT - _TOP - _BOTTOM
    scale = np.array([plot_width, -plot_height]) / (high - low)
    origin = np.array([_LEFT - low[0] * scale[0], _TOP - high[1] * scale[1]])

    groups = [context.groups[i] for i in context.rows]
    colours = colours_of(groups)
    rates = context.num_spikes[context.rows] / (context.observed.duration_s or np.nan)
    size = 1.0 if len(groups) <= _MANY_UNITS else 0.6
    radius = size * (3.0 + 2.2 * np.log10(1.0 + np.nan_to_num(rates)))
    is_labelled = np.array([group not in ("", "unsorted") for group in groups])
    # small ones, and those with a label, lie on top
    order = np.lexsort((-radius, is_labelled))
    order = order[known[order]]
    numbers = np.column_stack([places * scale + origin, radius, rates, places[:, 1]])[order]
    units = [
        {
            "id": context.unit_ids[i],
            "group": groups[i],
            "colour": colours[groups[i]],
            "x": round(x, 1),
            "y": round(y, 1),
            "r": round(r, 1),
            "rate": format_value(rate),
            "depth": format_value(depth),
        }
        for i, (x, y, r, rate, depth) in zip(order.tolist(), numbers.tolist(), strict=True)
    ]
    return {
        "width": _LEFT + plot_width + _RIGHT,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _LEFT + plot_width,
        "top": _TOP,
        "bottom": _HEIGHT - _BOTTOM,
        "channels": np.round(channels * scale + origin, 1).tolist(),
        "units": units,
        "ticks_x": _ticks(low[0], high[0], 3, scale[0], origin[0]),
        "ticks_y": _ticks(low[1], high[1], 8, scale[1], origin[1]),
        "colours": colours,
        "unplaced": int((~known).sum()),
    }


def _range(places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = places.min(axis=0), places.max(axis=0)
    margin = np.maximum(0.06 * (high - low), np.array([12.0, 20.0]))
    return low - margin, high + margin


def _ticks(low: float, high: float, most: int, scale: float, origin: float) -> list[Any]:
    values = np.asarray(MaxNLocator(nbins=most, steps=[1, 2, 5, 10]).tick_values(low, high))
    inside = values[(values >= low) & (values <= high)]
    return [(round(float(v * scale + origin), 1), f"{v:g}") for v in inside]
