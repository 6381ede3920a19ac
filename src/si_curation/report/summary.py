"""The session at a glance: facts, rates, depth against time, distributions of metrics."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath
from typing import Any

import numpy as np

from si_curation.evidence.unit_locations import spike_depths
from si_curation.kernels.parallel import blocks, run_blocks
from si_curation.kernels.spikes_over_time import image_over_time
from si_curation.progress import stage
from si_curation.reading.probe import shanks_of
from si_curation.reading.sessions import session_of_whole
from si_curation.reading.templates import describe_unwhitening
from si_curation.report.columns import PROPERTIES, Column
from si_curation.report.context import ReportContext
from si_curation.report.density import histogram, limits
from si_curation.report.encode import pack_counts
from si_curation.report.formatting import format_duration

_FEW_PERIODS = 5
_DEPTH_CELLS = (320, 160)
# ids, and what another column has
_NO_HISTOGRAM = {
    "template_id",
    "shank",
    "best_channel",
    "best_channel_id",
    "firing_rate",
    "amp",
    "sliding_rp_confidence",
}


def session_facts(context: ReportContext) -> list[tuple[str, str]]:
    """Return the main facts about the session as (name, value) pairs of text."""
    analyzer = context.analyzer
    annotation = analyzer.sorting.get_annotation
    sorter = " ".join(filter(None, map(annotation, ("sorter", "sorter_version"))))
    labels = Counter(context.groups[i] for i in context.rows)
    parts = [f"{count} {label}" for label, count in labels.most_common() if label]
    total, shown = len(analyzer.unit_ids), len(context.unit_ids)
    shanks = np.unique(shanks_of(analyzer)).size
    facts = [
        ("Sorter", sorter or "not known"),
        ("Folder", _folder_name(context)),
        ("Units", f"{shown} of {total} are in this report" if shown < total else f"{total}"),
        ("Labels", ", ".join(parts)),
        ("Spikes", f"{context.spikes.size:,}"),
        ("Duration", format_duration(context.duration_s)),
        ("Observed", _observed(context)),
        ("Session", _session(context)),
        ("Sessions", _sessions(context)),
        ("Segments", f"{context.segment_durations_s.size}"),
        ("Sampling frequency", f"{context.fs:,.10g} Hz"),
        ("Channels", f"{analyzer.get_num_channels()} on {shanks} shank{'s'[: shanks > 1]}"),
        ("Amplitudes", _amplitudes(context)),
        ("Templates", _templates(context)),
    ]
    return [(name, value) for name, value in facts if value]


def _templates(context: ReportContext) -> str:
    """Return what was done to the sorter's templates; "" where there are none of a folder."""
    assignment = context.extension("template_assignment")
    if assignment is None or not assignment.is_from_sorter:
        return ""
    return describe_unwhitening(assignment.info["unwhitening"], assignment.info["units"])


def _observed(context: ReportContext) -> str:
    """Return what was observed as text; "" where it is everything."""
    observed = context.observed
    if observed.is_whole:
        return ""
    parts = [
        f"{start / context.fs:,.6g} to {stop / context.fs:,.6g} s"
        for start, stop in observed.end_to_end.tolist()
    ]
    shown = ", ".join(parts[:_FEW_PERIODS]) + (", ..." if len(parts) > _FEW_PERIODS else "")
    return f"{format_duration(observed.duration_s)}: {shown}"


def _session(context: ReportContext) -> str:
    """Return which session of what was sorted as one this is; "" where it is none."""
    known = session_of_whole(context.analyzer.sorting)
    if known is None:
        return ""
    start, stop = known.start / context.fs, known.stop / context.fs
    return f"{known.name}: {start:,.6g} to {stop:,.6g} s of what was sorted as one"


def _sessions(context: ReportContext) -> str:
    """Return the names of the sessions and where they begin; "" where there is one."""
    borders = context.borders
    if borders is None or len(borders) < 2:
        return ""
    starts = borders.edges[:-1] / context.fs
    parts = [f"{name} from {s:,.6g} s" for name, s in zip(borders.names, starts, strict=True)]
    more = ", ..." if len(parts) > _FEW_PERIODS else ""
    return f"{len(parts)}: {', '.join(parts[:_FEW_PERIODS])}{more}"


def _amplitudes(context: ReportContext) -> str:
    text = f"in {context.amplitude_unit}"
    if context.amplitude_unit != context.amplitude_unit_short:
        text += f"; in charts {context.amplitude_unit_short}"
    known = context.spike_amplitudes
    return text if known is None else f"{text}. Of spikes: {known[0].description}"


def amplitude_texts(context: ReportContext) -> dict[str, str]:
    """Return what charts of amplitudes of spikes say: the label of the axis, and what they are."""
    known = context.spike_amplitudes
    if known is None:
        return {"label": "amplitude", "description": ""}
    return {"label": known[0].label, "description": known[0].description}


def _folder_name(context: ReportContext) -> str:
    folder = context.analyzer.sorting.get_annotation("phy_folder") or context.analyzer.folder
    # the name only: a path tells more about the writer than about the data
    return PurePath(str(folder).replace("\\", "/")).name if folder else ""


def depth_over_time(context: ReportContext) -> dict[str, Any] | None:
    """Return the density of all spikes by depth and time; None where depths are not known."""
    found = spike_depths(context.analyzer)
    depths = found.depths_um
    its_limits = limits(depths)
    if its_limits is None:
        return None
    segments = context.spikes["segment_index"]
    last_ones = np.searchsorted(segments, np.arange(context.segment_starts_s.size), "right") - 1
    last = float(context.times_s(last_ones).max())
    x_range = (0.0, max(context.duration_s, last))
    ranges = np.array([x_range, its_limits])
    images = run_blocks(
        lambda b: image_over_time(context.times_s(b), depths[b], ranges, _DEPTH_CELLS),
        blocks(depths.size, max(1 << 18, depths.size // 16)),
    )
    counts = np.stack(images).sum(axis=0, dtype=np.uint32)
    image = {
        "counts": pack_counts(counts),
        "x": list(x_range),
        "y": list(its_limits),
        "outside": int(depths.size - counts.sum(dtype=np.int64)),
    }
    return {"density": image, "source": found.source}


def session_charts(context: ReportContext, columns: list[Column]) -> dict[str, Any]:
    """Return the numbers of the charts of the summary."""
    with stage("the recording over time"):
        counts, _ = context.counts_over_time
        depth = depth_over_time(context)
    return {
        "counts": counts.sum(axis=0).tolist(),
        "depth": depth,
        "distributions": _distributions(columns),
        "segment_starts_s": context.segment_starts_s[1:].tolist(),
        "sessions": _session_starts(context),
    }


def _session_starts(context: ReportContext) -> list[dict[str, Any]]:
    """Return name, start and end in s of each session; [] where there is one."""
    borders = context.borders
    if borders is None or len(borders) < 2:
        return []
    edges = (borders.edges / context.fs).tolist()
    parts = zip(borders.names, edges, edges[1:], strict=False)
    return [{"name": name, "start_s": start, "stop_s": stop} for name, start, stop in parts]


def _distributions(columns: list[Column]) -> list[dict[str, Any]]:
    found = []
    for column in columns:
        is_bound = column.title.endswith(("_lower", "_upper"))
        if is_bound or column.title in _NO_HISTOGRAM or column.group == PROPERTIES:
            continue
        if not column.is_number:
            continue
        values = np.array(column.values, dtype=np.float64)  # None is NaN
        finite = values[np.isfinite(values)]
        if np.unique(finite).size < 2:
            continue
        is_log = finite.min() > 0 and 1 < finite.max() > 100 * finite.min()
        counted = histogram(np.log10(values) if is_log else values)
        if counted is None:
            continue
        if is_log:
            counted["edges"] = np.power(10.0, counted["edges"]).tolist()
        found.append(
            {
                **counted,
                "title": column.title,
                "group": column.group,
                "unit": column.unit,
                "description": column.description,
                "log": bool(is_log),
                "missing": int(values.size - finite.size),
            }
        )
    return found
