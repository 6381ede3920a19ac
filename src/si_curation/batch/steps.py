"""The steps of a session: read, merge, compute, label, write."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import extension_parameters, forget_run_times
from si_curation.batch.inputs import SessionInput
from si_curation.batch.recipe import Benchmark, Labels, Merges, Nwb, Reading, Report
from si_curation.batch.tables import TABLES, make_units
from si_curation.curation.labelling import METRIC_EXTENSIONS, UnitLabels, label_units
from si_curation.curation.session import CurationSession
from si_curation.errors import FolderNotFoundError, MissingDataError, ParameterError
from si_curation.evidence.benchmark.benchmark import benchmark_suggestions
from si_curation.evidence.calibration import Calibration
from si_curation.evidence.merges import suggest_merges
from si_curation.exporters.phy.export import export_to_phy
from si_curation.files import format_csv
from si_curation.learning.model import LabelModel
from si_curation.reading.loading import is_saved_analyzer, load_with_warning
from si_curation.reading.reader import read_kilosort_as_analyzer
from si_curation.reading.saving import save_analyzer

#: Who decides, in the history of a session.
DECIDED_BY = "si-curation batch"
Step = tuple[str, Callable[[], Any]]


def read_session(session: SessionInput, trust: bool = False) -> SortingAnalyzer:
    """Read a Kilosort/phy folder, or load a saved analyzer of any sorter, into memory.

    What could run code when an analyzer is loaded is left out, with a warning, unless `trust`.
    """
    folder = Path(session.folder)
    if not folder.is_dir():
        raise FolderNotFoundError(f"{folder} does not exist, expected a folder")
    if not is_saved_analyzer(folder):
        return read_kilosort_as_analyzer(folder, **_options(session.recipe.reading))
    given = session.recipe.reading.model_fields_set
    changed = [key for key in sorted(given) if _differs(session.recipe.reading, key)]
    if changed:
        raise ParameterError(
            f"{folder} is a saved analyzer, to which reading options ({', '.join(changed)}) do not "
            "apply: leave them out, or run it in another batch"
        )
    return load_with_warning(folder, trust).copy()


def _options(reading: Reading) -> dict[str, Any]:
    options = reading.model_dump()
    options["exclude_groups"] = options["exclude_groups"] or None
    return options


def _differs(reading: Reading, key: str) -> bool:
    return getattr(reading, key) != Reading.model_fields[key].default


def check_metadata(nwb: Nwb) -> None:
    """Raise where metadata of an NWB file cannot be used."""
    from si_curation.exporters.nwb.export import check_mode, metadata_for

    metadata_for(nwb.metadata, check_mode(None, nwb.source_nwb), nwb.session_start_time)


def suggest_and_merge(analyzer: SortingAnalyzer, merges: Merges, part: Path) -> SortingAnalyzer:
    """Write the suggested merges; return the analyzer, with the merges applied if asked."""
    options = merges.model_dump(exclude={"apply"}, exclude_none=True)
    found = suggest_merges(analyzer, **options)
    write_csv(found.table, part / "merges.csv")
    found.to_curation_json(part / "merges.json")
    groups = found.groups()
    if not merges.apply or not groups:
        return analyzer
    session = CurationSession(analyzer, decided_by=DECIDED_BY)
    for group in groups:
        reason = f"suggested, score of {found.score_threshold:g} or more"
        session.merge(group, reason=reason)
    return session.apply()


def try_suggestions(analyzer: SortingAnalyzer, benchmark: Benchmark, part: Path) -> None:
    """Write how often suggestions are right in the session."""
    found = benchmark_suggestions(analyzer, **benchmark.model_dump())
    found.write_json(part / "benchmark.json")


def compute(analyzer: SortingAnalyzer, name: str, params: dict[str, Any]) -> None:
    """Compute an extension, with a seed where it draws at random."""
    seed = extension_parameters(name).get("seed")
    if seed is not None and seed.default is None:
        params = {"seed": 0, **params}
    analyzer.compute({name: dict(params)}, n_jobs=1, progress_bar=False)


def label(analyzer: SortingAnalyzer, labels: Labels, part: Path) -> None:
    """Label the units by rules or a model, and write what decided each label."""
    found: UnitLabels
    try:
        if labels.model is not None:
            found = LabelModel.load(labels.model).label(analyzer, accuracy=labels.accuracy)
        else:
            found = label_units(analyzer, labels.rules, otherwise=labels.otherwise)
    except MissingDataError as fault:
        raise MissingDataError(
            f"labels: {fault} (extensions of the recipe: {' or '.join(METRIC_EXTENSIONS)})"
        ) from None
    session = CurationSession(analyzer, decided_by=DECIDED_BY)
    before = session.table["group"].reindex(found.table.index)
    by_hand = before.isin(["good", "mua", "noise"]) & labels.keep_existing
    table = found.table.assign(before=before.fillna("unsorted"), kept=by_hand)
    dataclasses.replace(found, table=table[~by_hand]).apply_to(session)
    groups = session.table["group"].reindex(list(analyzer.unit_ids)).fillna("unsorted")
    write_csv(table.assign(group=groups).reset_index(), part / "labels.csv")
    analyzer.set_sorting_property("quality", groups.to_numpy().astype("U32"))


def writing_steps(analyzer: SortingAnalyzer, session: SessionInput, part: Path) -> Iterator[Step]:
    """Yield the names and functions of the steps that write the outputs of a session."""
    exports = session.recipe.exports
    for name in exports.tables:
        yield name, partial(_write_table, analyzer, name, part)
    if exports.phy is not None:
        yield "phy", partial(_write_phy, analyzer, exports.phy, part / "phy")
    if exports.nwb is not None:
        yield "nwb", partial(_write_nwb, analyzer, exports.nwb, session.name, part)
    report = session.recipe.report
    if report is not None:
        yield "report", partial(_write_report, analyzer, report, session.name, part)
    if exports.analyzer is not None:
        yield "analyzer", partial(_save, analyzer, exports.analyzer, part)
    yield "units", partial(_write_units, analyzer, part)


def _write_units(analyzer: SortingAnalyzer, part: Path) -> None:
    write_csv(make_units(analyzer).reset_index(), part / "units.csv")


def _write_table(analyzer: SortingAnalyzer, name: str, part: Path) -> None:
    write_csv(TABLES[name](analyzer), part / f"{name}.csv")


def _write_phy(analyzer: SortingAnalyzer, phy: Any, path: Path) -> None:
    columns = None
    if phy.columns:
        units = make_units(analyzer)
        missing = [name for name in phy.columns if name not in units]
        if missing:
            raise MissingDataError(
                f"exports.phy.columns: {', '.join(missing)} not there, expected some of "
                f"{', '.join(units.columns)}"
            )
        columns = units[phy.columns]
    export_to_phy(analyzer, path, curation=phy.curation, columns=columns, link=phy.link)


def _write_nwb(analyzer: SortingAnalyzer, nwb: Nwb, name: str, part: Path) -> None:
    from si_curation.exporters.nwb.export import export_to_nwb

    export_to_nwb(
        analyzer,
        part / f"{name}.nwb",
        metadata=nwb.metadata,
        session_start_time=nwb.session_start_time,
        session_id=name,
        source_nwb=nwb.source_nwb,
        t_start=nwb.t_start,
        progress_bar=False,
    )


def _write_report(analyzer: SortingAnalyzer, report: Report, name: str, part: Path) -> None:
    from si_curation.report.export import export_report

    known = [Calibration.from_json(path) for path in report.calibrations]
    export_report(
        analyzer,
        part / "report.html",
        title=report.title.replace("{session}", name),
        calibrations={one.kind: one for one in known} or None,
        progress_bar=False,
    )


def _save(analyzer: SortingAnalyzer, format: str, part: Path) -> None:
    forget_run_times(analyzer)
    name = "analyzer.zarr" if format == "zarr" else "analyzer"
    save_analyzer(analyzer, format, part / name)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV; lists in its cells as text."""
    plain = table.map(lambda v: " ".join(map(str, v)) if isinstance(v, list | np.ndarray) else v)
    path.write_bytes(format_csv(plain))
