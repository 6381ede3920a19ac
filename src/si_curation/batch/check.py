"""`check_batch`: what would fail in a batch, before anything is computed or written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from spikeinterface.core import SortingAnalyzer
from spikeinterface.core.sortinganalyzer import get_extension_class

from si_curation._spikeinterface import set_parameters, spike_vector_of
from si_curation.batch.inputs import SessionInput, find_sessions
from si_curation.batch.recipe import Exports, Nwb, Recipe
from si_curation.batch.recipe_files import read_recipe
from si_curation.batch.session import collected_warnings
from si_curation.batch.state import BatchFolder
from si_curation.batch.steps import check_metadata, read_session
from si_curation.batch.summary import read_effect
from si_curation.checks import check_arguments, import_optional, local_path
from si_curation.curation.labelling import METRIC_EXTENSIONS
from si_curation.errors import SiCurationError
from si_curation.exporters.phy.curated import check_apart
from si_curation.progress import track
from si_curation.quality.metrics.registry import columns_of
from si_curation.shown import Shown, count_text
from si_curation.variables import BATCH_CHECK


@dataclass(frozen=True, eq=False)
class BatchCheck(Shown):
    """What would fail in a batch.

    Attributes
    ----------
    table : pandas.DataFrame
        One row for each session: ``session``, ``folder``, ``num_units`` and ``num_spikes`` (NA
        where it was not read), ``warnings``, and ``problems`` ("" where there are none).
    problems : tuple of str
        Those of the recipe, the folders and the output, and then those of each session, which begin
        with its name.
    """

    table: pd.DataFrame
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problems

    def __repr__(self) -> str:
        sessions = count_text(len(self.table), "session")
        if self.ok:
            return f"BatchCheck: {sessions}, no problems"
        faulty = int((self.table["problems"] != "").sum())
        found = f"{count_text(len(self.problems), 'problem')}, in {faulty} of {sessions}"
        return "\n".join([f"BatchCheck: {found}", *self.problems])


def check_batch(
    folders: str | Path | Mapping[str, Any] | pd.DataFrame | Iterable[str | Path],
    recipe: str | Path | Mapping[str, Any] | Recipe,
    output_folder: str | Path | None = None,
    *,
    trust_analyzers: bool = False,
    progress_bar: bool = True,
) -> BatchCheck:
    """Return what would fail in `run_batch`, without computing or writing anything.

    The recipe, the names of the sessions and the output folder are checked. Each folder is read as
    the batch would read it. Extensions have to have what they depend on, and parameters that they
    take; rules and columns for phy the metrics that they ask for. NWB files have to have their
    metadata, times and electrodes.

    Parameters
    ----------
    folders, recipe, output_folder, trust_analyzers
        As of `run_batch`; without an output folder, that alone is not checked.
    progress_bar : bool

    Returns
    -------
    BatchCheck
        ``.ok``, ``.problems`` and ``.table``. Where the recipe cannot be used, sessions are only
        looked for.

    Raises
    ------
    ParameterError
        An argument is of another kind.

    Notes
    -----
    What only the computation shows (a unit without spikes for a metric, a full disk), and whether
    sessions are done already, is not checked.

    Examples
    --------
    >>> import si_curation as sic
    >>> recipe = {"exports": {"nwb": {"session_start_time": "2024-05-01 12:00"}}}
    >>> found = check_batch({"one": sic.example_folder()}, recipe, progress_bar=False)
    >>> found.ok, len(found.problems)
    (False, 2)
    >>> found.problems[0]
    'one: nwb: session_start_time is 2024-05-01T12:00:00, without an offset from UTC: it is another
    moment in each time zone. Add the offset where it was recorded, as in 2024-05-01T12:00:00+02:00,
    or Z where it is in UTC'
    """
    check_arguments(check_batch, locals())
    problems: list[str] = []
    checked = _try(problems, "", read_recipe, recipe)
    if checked is not None:
        if checked.exports.nwb is not None:
            _try(problems, "", import_optional, "pynwb", "nwb", "exports.nwb of the recipe")
        if checked.effect is not None:
            _try(problems, "effect: ", read_effect, checked.effect)
    # with an exporter, so that the columns of a table that are for it are no fault
    fallback = Recipe(exports=Exports(nwb=Nwb()))
    sessions, found = find_sessions(folders, fallback if checked is None else checked)
    problems += found
    batch = None if output_folder is None else _try(problems, "", _output, output_folder)
    rows = []
    for session in track(sessions, len(sessions), "sessions", hidden=not progress_bar):
        rows.append(_Session(session, batch, checked is not None, trust_analyzers).row())
    table = pd.DataFrame(rows, columns=list(BATCH_CHECK))
    for name in ("num_units", "num_spikes"):
        table[name] = pd.array(table[name], dtype="Int64")
    problems += [f"{row['session']}: {text}" for row in rows for text in row["problems"]]
    for name in ("problems", "warnings"):
        table[name] = ["; ".join(texts) for texts in table[name]]
    return BatchCheck(table, tuple(problems))


def _try(problems: list[str], where: str, check: Any, *arguments: Any) -> Any:
    """Return the result of a check; None, and one problem more, where it fails."""
    try:
        return check(*arguments)
    except Exception as fault:  # of extensions of others too
        text = " ".join(str(fault).split()) or type(fault).__name__
        known = isinstance(fault, SiCurationError)
        problems.append(where + (text if known else f"{type(fault).__name__}: {text}"))
        return None


def _output(output_folder: str | Path) -> BatchFolder:
    batch = BatchFolder(local_path(output_folder, "output_folder").resolve())
    batch.check()
    return batch


class _Session:
    """The check of one session."""

    def __init__(
        self, session: SessionInput, batch: BatchFolder | None, deeply: bool, trust: bool
    ) -> None:
        self.session = session
        self.batch = batch
        self.deeply = deeply
        self.trust = trust
        self.problems: list[str] = []

    def row(self) -> dict[str, Any]:
        session, warned = self.session, list[str]()
        row: dict[str, Any] = {"session": session.name, "folder": session.folder}
        row |= {"num_units": None, "num_spikes": None}
        if not Path(session.folder).is_dir():
            self.problems.append(f"{session.folder} does not exist, expected a folder")
        else:
            with collected_warnings(warned):
                self._check_output()
                analyzer = self._check_content() if self.deeply else None
            if analyzer is not None:
                row["num_units"] = len(analyzer.unit_ids)
                row["num_spikes"] = int(spike_vector_of(analyzer.sorting).size)
        return {**row, "warnings": list(dict.fromkeys(warned)), "problems": self.problems}

    def _check_output(self) -> None:
        if self.batch is None:
            return
        target = self.batch.outputs_of(self.session.name)
        _try(self.problems, "", check_apart, target, Path(self.session.folder))
        if target.exists() and self.batch.read_done(self.session.name) is None:
            self.problems.append(f"{target} exists and was not made by a batch: move it away")

    def _check_content(self) -> SortingAnalyzer | None:
        nwb = self.session.recipe.exports.nwb
        analyzer = _try(self.problems, "read: ", read_session, self.session, self.trust)
        if analyzer is None:
            if nwb is not None:
                _try(self.problems, "nwb: ", check_metadata, nwb)
            return None
        columns = self._check_extensions(analyzer)
        self._check_columns(analyzer, columns)
        if nwb is not None:
            self._check_nwb(analyzer, nwb)
        return analyzer

    def _check_extensions(self, analyzer: SortingAnalyzer) -> set[str] | None:
        """Check the extensions, and return the columns of metrics; None where nothing says them."""
        there = set(analyzer.extensions)
        known = {name: analyzer.get_extension(name) for name in METRIC_EXTENSIONS if name in there}
        columns: set[str] | None = {c for one in known.values() for c in one.get_data().columns}
        for name, params in self.session.recipe.extensions.items():
            needed = [one for one in get_extension_class(name).depend_on if not _is_met(one, there)]
            if needed:
                self.problems.append(
                    f"{name}: needs {', '.join(n.replace('|', ' or ') for n in needed)}: put that "
                    "before it in the extensions of the recipe"
                )
            found = _try(self.problems, f"{name}: ", set_parameters, analyzer, name, params)
            there.add(name)
            if name in METRIC_EXTENSIONS and columns is not None:
                ours = name == "curation_metrics" and found is not None
                columns = columns | set(columns_of(list(found["metric_names"]))) if ours else None
        return columns

    def _check_columns(self, analyzer: SortingAnalyzer, columns: set[str] | None) -> None:
        """Check that there are the metrics of rules, and columns for phy."""
        recipe = self.session.recipe
        if columns is None:
            return
        properties = set(analyzer.sorting.get_property_keys())
        if recipe.labels is not None and recipe.labels.rules is not None:
            asked = [rule["metric"] for rule in recipe.labels.rules["rules"]]
            self._require("labels", asked, columns | properties)
        if recipe.exports.phy is not None:
            own = {"group", "num_spikes"}
            self._require("exports.phy.columns", recipe.exports.phy.columns, columns | own)

    def _require(self, where: str, asked: Sequence[str], columns: set[str]) -> None:
        missing = [name for name in dict.fromkeys(asked) if name not in columns]
        if missing:
            self.problems.append(
                f"{where}: {', '.join(missing)} will not be there: compute it, by "
                f"{' or '.join(METRIC_EXTENSIONS)} in the extensions of the recipe"
            )

    def _check_nwb(self, analyzer: SortingAnalyzer, nwb: Nwb) -> None:
        from si_curation.exporters.nwb.export import problems_of_export

        faults = problems_of_export(
            analyzer, nwb.metadata, nwb.session_start_time, nwb.source_nwb, nwb.t_start
        )
        self.problems += [f"nwb: {' '.join(str(fault).split())}" for fault in faults]


def _is_met(needed: str, there: set[str]) -> bool:
    return bool(there.intersection(needed.split("|")))
