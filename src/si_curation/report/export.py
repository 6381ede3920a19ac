"""`export_report`: one self-contained HTML page of an analyzer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import check_arguments, unit_indices_of
from si_curation.errors import ParameterError
from si_curation.evidence.calibration import Calibration, read_calibrations
from si_curation.evidence.plan import CurationPlan
from si_curation.files import check_page_file, write_pieces
from si_curation.learning.labels import LearntLabels
from si_curation.learning.model import LabelModel
from si_curation.progress import stage, track
from si_curation.reading.sessions import SessionBorders, borders_to_draw
from si_curation.report.columns import Column, unit_columns
from si_curation.report.context import ReportContext
from si_curation.report.curation import curation_values
from si_curation.report.merges import (
    bad_merges,
    evidence_of_pairs,
    merge_candidates,
    split_candidates,
)
from si_curation.report.page import render_page
from si_curation.report.plan import planned
from si_curation.report.probe_map import probe_map
from si_curation.report.provenance import (
    extension_parameters,
    history_rows,
    label_rows,
    lineage_rows,
    software,
)
from si_curation.report.sorting import sorting_facts
from si_curation.report.summary import amplitude_texts, session_charts, session_facts
from si_curation.report.trust import how_far_to_trust
from si_curation.report.unit_panel import UnitPanels

_FEW_UNITS = 50


def export_report(
    sorting_analyzer: SortingAnalyzer,
    path: str | Path,
    *,
    title: str | None = None,
    unit_ids: Sequence[Any] | None = None,
    borders: Literal["auto"] | SessionBorders | Sequence[float] | None = "auto",
    plan: CurationPlan | None = None,
    calibrations: Mapping[str, Calibration | str | Path] | None = None,
    label_model: LabelModel | None = None,
    curation: bool = False,
    overwrite: bool = False,
    progress_bar: bool = True,
) -> Path:
    """Write one HTML page of a sorting that opens in a browser, offline, with nothing beside it.

    The session at a glance (probe with units, rates, depth against time, distributions of
    metrics); a table of units with labels and metrics that can be sorted, searched and filtered;
    for each unit a panel, drawn when it is opened (templates, also those that a merged unit came
    from, correlograms, intervals, amplitude and rate over time, every number with what it means,
    the most similar units); candidates for merges, and merges of two neurons, with the evidence;
    how it was sorted (the sorter's settings and its drift, where its folder is still there);
    lineage, history of curation, software and parameters.

    Nothing is computed on the analyzer; where an extension is missing, the page says which.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Of any sorter. Used where they are there: "template_assignment", "template_best_channels",
        "unit_similarity", "cross_correlograms", "curation_metrics", and SpikeInterface's
        "templates", "unit_locations", "spike_amplitudes", "spike_locations".
    path : str or Path
        The file, ``.html``. Folders that are missing are made.
    title : str, optional
        By default the name of the folder, or "Spike sorting report".
    unit_ids : sequence of unit ids, optional
        Units in the table, the panels and among the candidates, in the analyzer's order; all by
        default. The summary is of the whole session.
    borders : "auto", SessionBorders, sequence of numbers or None, default: "auto"
        Where sessions begin that were sorted as one; charts over time have a line there and the
        names of the sessions. As of `session_borders`; "auto": where they are known; None: none.
    plan : CurationPlan, optional
        What `plan_curation` planned for this analyzer: a section of its own.
    calibrations : mapping, optional
        {"merges" or "splits": `Calibration`, or its JSON file}; others are not used. Candidates
        then have the probability that they are right, where their score is calibrated.
    label_model : LabelModel, optional
        Of `learn_labels`. The table of units then has its labels, and the order in which to look at
        units.
    curation : bool, default: False
        The page itself is a tool to curate with: labels, suggested merges and splits one after
        another, merges by hand, notes, undo and redo, with keys as in phy. It keeps its steps in
        the store of the browser and saves them as SpikeInterface's curation file, which
        `CurationSession.apply_spikeinterface_curation` takes.
    overwrite : bool, default: False
        Replace the file if it is there.
    progress_bar : bool, default: True
        Shown where there are many units.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputExistsError
        The file is there, and `overwrite` is False.
    UnknownIdError, ParameterError
        A unit does not exist, there are none, the path cannot be written to, metrics are not those
        of the model of labels, or units are to be curated whose ids a file cannot hold.

    Notes
    -----
    Numbers in tables and texts, and the counts of correlograms and intervals, are embedded as they
    are. What is only drawn is rounded to steps finer than a screen shows: waveforms to 1/2,047 of
    the largest of the unit, amplitudes of spikes to 1/1,023 of their range, their times to 1/4,095
    of the recording. Units with more than 2,000 spikes have the image of their amplitudes over time
    in place of points. The numbers are deflated; the page inflates those of a unit when it is
    opened, and makes rows of the table when they are shown. Texts are escaped, and the page's
    policy lets no other script run than its own and nothing be loaded.

    Examples
    --------
    >>> import tempfile
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> _ = analyzer.compute(["template_best_channels", "unit_similarity", "cross_correlograms"])
    >>> path = sic.export_report(analyzer, Path(tempfile.mkdtemp()) / "report.html")
    >>> path.read_text(encoding="utf-8")[:15]
    '<!DOCTYPE html>'
    """
    check_arguments(export_report, locals())
    target = check_page_file(path, overwrite)
    known = read_calibrations(calibrations)
    rows = np.unique(unit_indices_of(sorting_analyzer, unit_ids, may_repeat=True))
    if rows.size == 0:
        raise ParameterError("there are no units to report on: give some in unit_ids")
    context = ReportContext(sorting_analyzer, rows, borders_to_draw(sorting_analyzer, borders))
    learnt = None if label_model is None else label_model.label(sorting_analyzer)
    values = _gather(context, title, progress_bar, known, learnt, curation)
    values |= planned(plan)
    write_pieces(target, render_page(values), overwrite)
    return target


def _gather(
    context: ReportContext,
    title: str | None,
    progress_bar: bool,
    calibrations: Mapping[str, Calibration],
    learnt: LearntLabels | None,
    curation: bool,
) -> dict[str, Any]:
    # what takes most memory for a while comes before what is kept for the charts
    facts, trust = session_facts(context), how_far_to_trust(context)
    with stage("columns of the units"):
        columns, column_notes = unit_columns(context, learnt)
        panels = UnitPanels(context, columns)
    of_merges = calibrations.get("merges")
    with stage("suggested merges"):
        candidates, pairs = merge_candidates(context, panels, of_merges)
    lineage, lineage_note = lineage_rows(context)
    if title is None:
        title = dict(facts).get("Folder") or "Spike sorting report"
    of_bad_merges, bad = bad_merges(context)
    with stage("suggested splits"):
        splits, found_splits = split_candidates(context, calibrations.get("splits"), bad)
    data = {
        "units": [str(unit_id) for unit_id in context.unit_ids],
        "columns": [column.to_page() for column in columns],
        "channels": {
            "ids": context.analyzer.channel_ids.tolist(),
            "x_um": context.channel_places[:, 0].tolist(),
            "y_um": context.channel_places[:, 1].tolist(),
        },
        "bins_ms": panels.bins_ms,
        "isi_edges_ms": panels.isi_edges_ms,
        "time_bins": context.time_bins.to_page(),
        "duration_s": context.duration_s,
        "amplitude_unit": context.amplitude_unit,
        "amplitude_unit_short": context.amplitude_unit_short,
        "spike_amplitude": amplitude_texts(context),
        "notes": panels.notes,
        "session": session_charts(context, columns),
        "pairs": pairs,
        "evidence": evidence_of_pairs(of_merges),
        "colours": _colour_map(),
    }
    return {
        "title": title,
        "created": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "facts": facts,
        "probe": probe_map(context),
        "columns": columns,
        "column_groups": _by_group(columns),
        "column_notes": column_notes,
        "unit_ids": context.unit_ids,
        "candidates": candidates,
        "bad_merges": of_bad_merges,
        "splits": splits,
        "curation": curation_values(context, panels, pairs, found_splits, title)
        if curation
        else None,
        "trust": trust,
        "lineage": lineage,
        "lineage_note": lineage_note,
        "history": history_rows(context),
        "labels": label_rows(context),
        "sorting": sorting_facts(context),
        "software": software(),
        "parameters": extension_parameters(context),
        "data": data,
        "panels": _panels(panels, len(context.unit_ids), progress_bar),
    }


def _by_group(columns: list[Column]) -> list[tuple[str, list[tuple[int, Column]]]]:
    """Group columns, each with its position in the table, whose first column is the unit id."""
    groups: dict[str, list[tuple[int, Column]]] = {}
    for number, column in enumerate(columns, 1):
        groups.setdefault(column.group, []).append((number, column))
    return list(groups.items())


def _panels(panels: UnitPanels, num_units: int, progress_bar: bool) -> Iterator[dict[str, Any]]:
    """Yield one panel at a time, as the page is written."""
    hidden = not progress_bar or num_units < _FEW_UNITS
    rows = range(num_units)
    for row in track(rows, num_units, "report", hidden=hidden, unit="unit", leave=False):
        yield panels.get(row)


def _colour_map() -> NDArray[np.integer]:
    """Return the colours of densities (256, 3), 0 to 255: the denser the darker."""
    from matplotlib import colormaps

    return (colormaps["cividis_r"](np.arange(256))[:, :3] * 255).round().astype(int)
