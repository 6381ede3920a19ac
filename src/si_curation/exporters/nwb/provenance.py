"""Where units in an NWB file came from: programs, curation log, and a description."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import plain_id
from si_curation.curation.history import curation_json_of, history_of
from si_curation.curation.lineage import reconstruct_lineage
from si_curation.errors import SiCurationError
from si_curation.exporters.nwb.columns import ids_column
from si_curation.exporters.nwb.optional import ecephys_module
from si_curation.reading.sorter_folder import sorter_run_of
from si_curation.variables import NWB_LOG

LOG = "curation_log"
JSON = "curation_json"


def sorter_of(analyzer: SortingAnalyzer) -> tuple[str, str]:
    """Return name and version of the sorter, "" where they are not known."""
    annotation = analyzer.sorting.get_annotation
    name, its_version = annotation("sorter"), annotation("sorter_version")
    if name:
        return str(name), str(its_version or "")
    info = annotation("__sorting_info__") or {}
    params = info.get("params") or {}
    log = info.get("log") or {}
    name = params.get("sorter_name") or log.get("sorter_name")
    return str(name or ""), str(log.get("sorter_version") or "")


def programs(analyzer: SortingAnalyzer) -> list[list[str]]:
    """Return the programs that made the units, with their versions."""
    found = []
    name, its_version = sorter_of(analyzer)
    if name:
        found.append([name, its_version or "unknown"])
    packages = ("spikeinterface", "si_curation", "pynwb")
    return [*found, *([package, _version_of(package)] for package in packages)]


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def describe_units(analyzer: SortingAnalyzer) -> str:
    """Describe the sorter and the curation that units came from."""
    name, its_version = sorter_of(analyzer)
    sorter = " ".join(filter(None, [name, its_version])) or "a sorter that is not known"
    texts = [f"{len(analyzer.unit_ids)} units sorted by {sorter}"]
    steps = history_of(analyzer)
    if analyzer.get_extension("template_assignment") is not None:
        events = Counter(reconstruct_lineage(analyzer).event)
        counts = [f"{events[event]} {event}" for event in sorted(events)]
        texts.append("against the templates of the sorter: " + ", ".join(counts))
    if steps:
        operations = Counter(step["operation"] for step in steps)
        done = ", ".join(f"{count} {operation}" for operation, count in operations.items())
        texts.append(f"curated with si_curation ({done})")
    quality = analyzer.sorting.get_property("quality")
    if quality is not None:
        labels = Counter(str(label) for label in quality)
        texts.append("labels: " + ", ".join(f"{n} {label}" for label, n in sorted(labels.items())))
    texts += _settings_text(analyzer)
    texts.append(f"written by si_curation {_version_of('si_curation')}")
    return "; ".join(texts)


def _settings_text(analyzer: SortingAnalyzer) -> list[str]:
    """Return the settings of the sorter as JSON, in a list; empty where they are not known."""
    run = sorter_run_of(analyzer)
    if run is None or not run.settings:
        return []
    shown = {key: _shown(value) for key, value in run.settings.items()}
    return [f"settings of the sorter ({run.source}): {json.dumps(shown, ensure_ascii=False)}"]


def _shown(value: Any) -> Any:
    """Return a value that JSON has: not a number and infinity as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float | str | list | dict) else str(value)


def add_provenance(
    analyzer: SortingAnalyzer, nwbfile: Any, units_name: str, generated_by: bool
) -> str:
    """Add the curation log, the curation as JSON (in scratch), and the programs.

    Returns
    -------
    str
        Name of the log, in ``processing/ecephys``.
    """
    module = ecephys_module(nwbfile)
    wanted = LOG if units_name == "units" else f"{LOG}_{units_name}"
    log_name = _free(wanted, module.data_interfaces)
    module.add(_make_log(analyzer, log_name, units_name))
    text = curation_json_of(analyzer)
    if text is not None:
        wanted = JSON if units_name == "units" else f"{JSON}_{units_name}"
        nwbfile.add_scratch(
            text,
            name=_free(wanted, nwbfile.scratch or {}),
            description=f"curation of the units in {units_name}, in SpikeInterface's format",
        )
    if generated_by:
        add_programs(nwbfile, programs(analyzer))
    return log_name


def _free(name: str, taken: Any) -> str:
    count, found = 1, name
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    return found


def add_programs(nwbfile: Any, own: list[list[str]]) -> None:
    """Add programs and their versions to those that a file was generated by."""
    there = nwbfile.was_generated_by
    if there is None:
        nwbfile.was_generated_by = own
        return
    known = [[_text(cell) for cell in row] for row in np.asarray(there[:]).tolist()]
    new = [row for row in own if row not in known]
    # the field cannot be set twice; a file that is written anew takes what is in it
    nwbfile.fields["was_generated_by"] = known + new


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


_RAGGED = ("inputs", "outputs", "templates")


def _make_log(analyzer: SortingAnalyzer, name: str, units_name: str) -> Any:
    from hdmf.common import DynamicTable, VectorData, VectorIndex

    rows = log_rows(analyzer)
    columns: list[Any] = []
    for key, variable in NWB_LOG.items():
        text = variable.meaning
        cells = [row[key] for row in rows]
        if key not in _RAGGED:
            columns.append(VectorData(name=key, description=text, data=cells))
            continue
        flat = [one for cell in cells for one in cell]
        if not flat:
            continue
        is_whole = all(isinstance(one, int) for one in flat)
        data = ids_column(np.array(flat)) if is_whole else [str(one) for one in flat]
        ends = np.cumsum([len(cell) for cell in cells]).astype(np.uint32)
        target = VectorData(name=key, description=text, data=data)
        columns += [VectorIndex(name=f"{key}_index", data=ends, target=target), target]
    return DynamicTable(
        name=name,
        description=f"what was done to the units in {units_name}, from the sorter to this file",
        columns=columns,
    )


def log_rows(analyzer: SortingAnalyzer) -> list[dict[str, Any]]:
    """Return the rows of the curation log.

    The first is the sorter's run, the last the writing of the file; between them what phy did
    (merges and splits, reconstructed from spike templates, in no known order), and the steps of
    sessions.
    """
    ids = [plain_id(unit_id) for unit_id in analyzer.unit_ids]
    steps = history_of(analyzer)
    rows = [_row("sort", decided_by=" ".join(filter(None, sorter_of(analyzer))))]
    rows += _steps_before(analyzer, bool(steps))
    for step in steps:
        value = step.get("value")
        rows.append(
            _row(
                step["operation"],
                inputs=step["inputs"],
                outputs=step["outputs"],
                field=str(step.get("field") or ""),
                value="" if value is None else str(value),
                reason=step["reason"],
                decided_by=step["decided_by"],
                time=step["when"],
            )
        )
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    rows.append(_row("export", inputs=ids, outputs=ids, decided_by="si_curation", time=now))
    return rows


def _row(operation: str, **known: Any) -> dict[str, Any]:
    empty = {key: [] if key in _RAGGED else "" for key in NWB_LOG}
    return {**empty, "operation": operation, **known}


def _steps_before(analyzer: SortingAnalyzer, has_steps: bool) -> list[dict[str, Any]]:
    """Return rows of what was done before the first session, from the templates of the spikes."""
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None:
        return []
    source: Any = analyzer
    if has_steps:  # the units are those after the session, so look at the folder
        source = Path(str(assignment.info.get("phy_folder", "")))
        if not assignment.is_from_folder or not source.is_dir():
            return []
    try:
        table = reconstruct_lineage(
            source, sampling_frequency=None if source is analyzer else analyzer.sampling_frequency
        )
    except (SiCurationError, OSError):
        return []
    return [
        _row(
            event,
            outputs=[plain_id(unit_id)],
            templates=[template for template, _ in templates],
            reason="told from the templates of the unit's spikes",
            decided_by="curation before this package",
        )
        for unit_id, event, templates in zip(
            table.index, table["event"], table["templates"], strict=True
        )
        if event not in ("unchanged", "empty")
    ]
