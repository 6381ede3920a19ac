"""How the units were sorted: the run, the settings, and the drift as a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from si_curation.phy.settings import SorterDrift
from si_curation.report.context import ReportContext
from si_curation.report.formatting import format_duration

_WIDTH, _HEIGHT = 700, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 90, 10, 24
_MOST_POINTS = 1_000
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")


def sorting_facts(context: ReportContext) -> dict[str, Any]:
    """Return how the units were sorted.

    Returns
    -------
    dict
        ``note`` (text), ``settings`` (list of (name, text)), ``drift`` (`drift_drawing`, or None).
    """
    run = context.sorter_run
    if run is None:
        note = "How the units were sorted is not known: the sorter's folder is not named, or gone."
        return {"note": note, "settings": [], "drift": None}
    scale = "what cannot be read" if run.sorted_scale is None else f"{run.sorted_scale:g}"
    facts = [
        ("Sorter", " ".join(filter(None, [run.sorter_name, run.sorter_version]))),
        ("Started", run.started),
        ("Run time", "" if run.runtime_s is None else format_duration(run.runtime_s)),
        ("The raw data were multiplied by", "" if scale == "1" else scale),
        ("Settings are those of", run.source),
    ]
    note = " ".join(f"{name}: {value}." for name, value in facts if value)
    return {
        "note": note or "The folder has no settings of the sorter.",
        "settings": run.rows(),
        "drift": None if run.drift is None else drift_drawing(run.drift, context.session_starts_s),
    }


def drift_drawing(drift: SorterDrift, borders_s: Sequence[float] = ()) -> dict[str, Any]:
    """Return the drift as lines of a drawing: for each block of depths, its shift over time.

    Parameters
    ----------
    drift : SorterDrift
    borders_s : sequence of float
        Where sessions begin.
    """
    step = -(-len(drift.starts_s) // _MOST_POINTS)
    times = (drift.starts_s + drift.batch_s / 2)[::step]
    shift = np.nan_to_num(drift.shift_um[::step])
    low, high = float(shift.min()), float(shift.max())
    if low == high:
        low, high = low - 1.0, high + 1.0
    start, end = float(drift.starts_s[0]), float(drift.starts_s[-1] + drift.batch_s)
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    x = _LEFT + width * (times - start) / (end - start)
    y = _TOP + height * (high - shift) / (high - low)
    lines = [
        {
            "points": " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y[:, i], strict=True)),
            "colour": _COLOURS[rank % len(_COLOURS)],
            "label": f"{drift.depths_um[i]:.4g} µm",
            "y": _TOP + 12 + 14 * rank,
        }
        for rank, i in enumerate(np.argsort(-drift.depths_um))
    ]
    return {
        "text": f"The sorter estimated and corrected drift in {len(lines)} blocks of depths and "
        f"{len(drift.starts_s)} batches; the largest range of a block is "
        f"{np.ptp(drift.shift_um, axis=0).max():.3g} µm.",
        "lines": lines,
        "borders": [
            round(float(_LEFT + width * (s - start) / (end - start)), 1)
            for s in borders_s
            if start < s < end
        ],
        "width": _WIDTH,
        "height": max(_HEIGHT, _TOP + 14 * len(lines) + _BOTTOM),
        "box": (_LEFT, _TOP, width, height),
        "ticks": [
            (_LEFT - 4, _TOP + 8, "end", f"{high:g} µm"),
            (_LEFT - 4, _TOP + height, "end", f"{low:g} µm"),
            (_LEFT, _TOP + height + 16, "start", f"{start:g} s"),
            (_LEFT + width, _TOP + height + 16, "end", f"{end:g} s"),
        ],
        "legend_x": _LEFT + width + 8,
    }
