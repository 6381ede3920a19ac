"""Metrics and labels of curated sessions, gathered from folders, analyzers and tables."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, join_problems, local_path, plain_id, short_repr
from si_curation.errors import FolderNotFoundError, MissingDataError, ParameterError
from si_curation.learning.crossvalidation import Prior
from si_curation.learning.domain import Domain, domain_of, recording_facts
from si_curation.learning.metric_params import MetricParams, params_of_table, plain_params
from si_curation.quality.metrics.registry import METRICS, columns_of, compute_metrics
from si_curation.quality.metrics.table import to_frame
from si_curation.reading.loading import is_saved_analyzer, load_with_warning
from si_curation.reading.reader import read_kilosort_as_analyzer
from si_curation.variables import METRICS as METRIC_VARIABLES

#: What curators write where they have not decided.
NO_LABELS = ("", "unsorted", "nan", "None", "<NA>")
# where a unit is, which template it has and how long the recording is are not its quality
_NOT_LEARNT_FROM = ("num_spikes",)
_OF_AMPLITUDE = ("amplitude", "uV/s")
MAX_SESSIONS = 10_000


class Metrics(NamedTuple):
    """Metrics of the units of one session.

    Attributes
    ----------
    table : pandas.DataFrame
        Indexed by unit id.
    params : dict or None
        {metric: {parameter: value}}; None where they are not known.
    in_uV : bool or None
        Whether amplitudes are in µV; None where it is not known.
    recording : dict
        Its sampling rate and probe; empty where they are not known.
    """

    table: pd.DataFrame
    params: dict[str, dict[str, Any]] | None
    in_uV: bool | None
    recording: dict[str, float]


class Sessions(NamedTuple):
    """Labelled units of several sessions.

    Attributes
    ----------
    names : list of str
        Of the sessions.
    table : pandas.DataFrame
        The columns that models can learn from, a row for each labelled unit.
    labels : array (n_units,) str
    session : array (n_units,) int64
        Number of the session of each unit.
    unit_ids : list
    params : dict or None
        Parameters of the metrics, the same in all sessions; None where they are not known.
    in_uV : bool or None
    left_out : dict of str to str
        Columns that are not learnt from, and why.
    digests : list of str
        SHA-256 of the metrics of each session, which tells whether one is the same.
    domain : dict
        Sampling rates and probes, {what: (lowest, highest)}; empty where they are not known.
    prior : Prior or None
        Labelled units of others.
    """

    names: list[str]
    table: pd.DataFrame
    labels: NDArray[np.str_]
    session: NDArray[np.int64]
    unit_ids: list[Any]
    params: dict[str, dict[str, Any]] | None
    in_uV: bool | None
    left_out: dict[str, str]
    digests: list[str]
    domain: Domain
    prior: Prior | None = None

    @property
    def values(self) -> NDArray[np.float64]:
        """The table as an array."""
        return self.table.to_numpy(dtype=np.float64)


def default_metrics() -> list[str]:
    """Return the metrics that labels are learnt from: all but place, template and sorter."""
    return [
        name
        for name, metric in METRICS.items()
        if metric.group != "identity" and name not in _NOT_LEARNT_FROM
    ]


def open_sources(sources: Any) -> dict[str, SortingAnalyzer | Path]:
    """Return the sessions by name; folders that do not exist are one error."""
    if isinstance(sources, Mapping):
        given = {str(name): one for name, one in sources.items()}
    else:
        listed = [sources] if isinstance(sources, str | Path) else list(sources)
        given = dict(zip(_names_of(listed), listed, strict=True))
    out: dict[str, SortingAnalyzer | Path] = {}
    problems, missing = [], []
    for name, one in given.items():
        if isinstance(one, str | Path):
            path = local_path(one, "sessions")
            if not path.is_dir():
                missing.append(str(path))
            out[name] = path
        elif hasattr(one, "sorting"):
            out[name] = one
        else:
            problems.append(f"session {name} is {short_repr(one)}")
    if problems:
        raise ParameterError(join_problems(problems) + ", expected folders or analyzers")
    if missing:
        raise FolderNotFoundError(
            f"{join_problems(missing)} not there, expected folders of phy or saved analyzers"
        )
    return out


def _names_of(sources: Sequence[Any]) -> list[str]:
    """Return names that differ: the last parts of the paths, as many as are needed."""
    parts = [_parts(one, number) for number, one in enumerate(sources, 1)]
    for count in range(1, 1 + max(map(len, parts), default=1)):
        names = ["/".join(of[-count:]) for of in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{number}: {name}" for number, name in enumerate(names, 1)]


def _parts(source: Any, number: int) -> tuple[str, ...]:
    if isinstance(source, str | Path):
        return Path(source).parts or (".",)
    return (f"session {number}",)


def open_session(source: SortingAnalyzer | Path) -> SortingAnalyzer:
    """Return an analyzer: as it is, loaded, or read from a Kilosort/phy folder."""
    if not isinstance(source, Path):
        return source
    if is_saved_analyzer(source):
        return load_with_warning(source, trust=False)
    return read_kilosort_as_analyzer(source)


def metrics_of(
    analyzer: SortingAnalyzer,
    params: Mapping[str, Mapping[str, Any]] | None = None,
    names: Sequence[str] | None = None,
) -> Metrics:
    """Return the metrics of an analyzer; those of its extension where they are there.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        It is not changed.
    params : mapping, optional
        For metrics that have to be computed; the defaults by default.
    names : sequence of str, optional
        Metrics; `default_metrics` by default.
    """
    names = default_metrics() if names is None else list(names)
    found: dict[str, dict[str, Any]] = {}
    tables = []
    periods = None
    if analyzer.has_extension("curation_metrics"):
        extension = analyzer.get_extension("curation_metrics")
        there = [name for name in extension.get_computed_metric_names() if name in names]
        found = {name: plain_params(extension.params["metric_params"][name]) for name in there}
        periods = extension.params.get("periods")
        if periods:
            found["periods"] = {"given": True}
        if there:
            tables.append(extension.get_data()[columns_of(there)])
    rest = [name for name in names if name not in found]
    if rest:
        given = {} if params is None else params
        wanted = {name: dict(METRICS[name].params) | dict(given.get(name, {})) for name in rest}
        values = compute_metrics(analyzer, analyzer.unit_ids, wanted, periods)
        tables.append(to_frame(values, analyzer.unit_ids))
        found |= {name: plain_params(wanted[name]) for name in rest}
    table = pd.concat(tables, axis=1)[columns_of(names)]
    order = {name: found[name] for name in [*names, "periods"] if name in found}
    return Metrics(table, order, bool(analyzer.return_in_uV), recording_facts(analyzer))


def params_that_differ(
    ours: Mapping[str, Mapping[str, Any]], theirs: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return a text for each parameter that differs, of the metrics of the first."""
    out = []
    for name in dict.fromkeys([*ours, *(["periods"] if "periods" in theirs else [])]):
        one, other = ours.get(name, {}), theirs.get(name, {})
        for key in dict.fromkeys([*one, *other]):
            if one.get(key) != other.get(key):
                out.append(
                    f"{name}: {key} is {short_repr(other.get(key))} in place of "
                    f"{short_repr(one.get(key))}"
                )
    return out


def labels_of(analyzer: SortingAnalyzer, column: str) -> NDArray[np.object_]:
    """Return the label of each unit as text, "" where there is none."""
    name = "quality" if column == "group" else column
    values = analyzer.sorting.get_property(name)
    if values is None:
        raise MissingDataError(
            f"there is no column {column}, expected one of "
            f"{', '.join(['group', *analyzer.sorting.get_property_keys()])}"
        )
    return _as_labels(values)


def _as_labels(values: Any) -> NDArray[np.object_]:
    series = pd.Series(values)
    whole = pd.api.types.is_float_dtype(series.dtype) and (series.dropna() % 1 == 0).all()
    texts = [
        "" if pd.isna(one) else str(int(one) if whole else plain_id(one)).strip() for one in series
    ]
    return np.array(["" if one in NO_LABELS else one for one in texts], dtype=object)


def sessions_of_analyzers(sources: Any, column: str, columns: Sequence[str] | None) -> Sessions:
    """Gather the labelled units of folders and analyzers."""
    opened = open_sources(sources)
    tables: dict[str, pd.DataFrame] = {}
    params: dict[str, dict[str, dict[str, Any]]] = {}
    in_uv: dict[str, bool | None] = {}
    recordings: list[dict[str, float]] = []
    for name, source in opened.items():
        try:
            analyzer = open_session(source)
            labels = labels_of(analyzer, column)
        except MissingDataError as fault:
            raise MissingDataError(f"session {name}: {fault}") from None
        known = next(iter(params.values()), None)
        found = metrics_of(analyzer, known)
        params[name], in_uv[name] = found.params or {}, found.in_uV
        tables[name] = found.table.assign(**{"\0label": labels})
        recordings.append(found.recording)
    first = next(iter(params), "")
    for name, own in params.items():
        differ = params_that_differ(params[first], own)
        if differ:
            raise ParameterError(
                f"session {name} has metrics of other parameters than {first}: "
                f"{join_problems(differ)}; compute curation_metrics of all sessions alike"
            )
    same = len(set(in_uv.values())) <= 1
    in_all = in_uv[first] if first and same else None
    joined = _joined(tables, columns, params.get(first), in_all)
    return joined._replace(domain=domain_of(recordings))


def check_table(
    checks: Checks,
    table: pd.DataFrame,
    columns: Mapping[str, Any],
    metric_params: MetricParams | None,
) -> None:
    """Check the arguments that are about a table: {argument: name of a column}, and parameters."""
    names = list(table.columns)
    for what, one in columns.items():
        if what not in checks.wrong_kinds:
            checks.require(
                names.count(one) == 1,
                f"{what} is {short_repr(one)}, expected one of {short_repr(names)}",
            )
    if isinstance(metric_params, Mapping) and "metric_params" not in checks.wrong_kinds:
        checks.require(
            all(isinstance(n, str) and isinstance(of, Mapping) for n, of in metric_params.items()),
            f"metric_params are {short_repr(metric_params)}, expected a dict of each metric",
        )


def sessions_of_table(
    table: pd.DataFrame,
    column: str,
    session_column: str,
    columns: Sequence[str] | None,
    metric_params: MetricParams | None,
) -> Sessions:
    """Gather the labelled units of one table with a row for each unit."""
    labels = _as_labels(table[column])
    ids = table.get("unit_id", table.index)
    kept = table.drop(columns=[column, session_column]).drop(columns="unit_id", errors="ignore")
    kept = kept.set_axis(pd.Index(list(ids)), axis=0).assign(**{"\0label": labels})
    sessions = table[session_column].map(plain_id).astype(str).to_numpy()
    tables = {str(name): kept[sessions == name] for name in dict.fromkeys(sessions)}
    found = _joined(tables, columns, None, None, any_column=True)
    return found._replace(params=params_of_table(metric_params, list(found.table.columns)))


def _joined(
    tables: Mapping[str, pd.DataFrame],
    columns: Sequence[str] | None,
    params: dict[str, dict[str, Any]] | None,
    in_uv: bool | None,
    any_column: bool = False,
) -> Sessions:
    if not tables:
        raise ParameterError("sessions are empty, expected two or more with labels")
    if len(tables) > MAX_SESSIONS:
        raise ParameterError(f"there are {len(tables)} sessions, expected {MAX_SESSIONS} or fewer")
    digests = _digests(tables)
    whole = pd.concat(list(tables.values()))
    session = np.repeat(np.arange(len(tables)), [len(one) for one in tables.values()])
    labels = whole.pop("\0label").to_numpy(dtype=object)
    numbers, left_out = _usable(whole, columns, in_uv is None and not any_column)
    rows = np.flatnonzero(labels != "")
    values = whole[numbers].to_numpy(dtype=np.float64, na_value=np.nan)[rows]
    values[~np.isfinite(values)] = np.nan
    kept = []
    for place, name in enumerate(numbers):
        known = values[~np.isnan(values[:, place]), place]
        if len(known) == 0:
            left_out[name] = "never known"
        elif np.all(known == known[0]) and len(known) == len(values):
            left_out[name] = "the same in all units"
        else:
            kept.append(place)
    if not kept and len(rows):
        raise ParameterError(
            "no column can be learnt from: "
            + "; ".join(f"{name} is {why}" for name, why in list(left_out.items())[:20])
        )
    names = [numbers[place] for place in kept]
    ids = [plain_id(whole.index[row]) for row in rows]
    table = pd.DataFrame(values[:, kept], columns=names, index=pd.Index(ids, name="unit_id"))
    return Sessions(
        list(tables),
        table,
        labels[rows].astype(str),
        session[rows].astype(np.int64),
        ids,
        params,
        in_uv,
        left_out,
        digests,
        {},
    )


def _usable(
    table: pd.DataFrame, columns: Sequence[str] | None, amplitudes_differ: bool
) -> tuple[list[str], dict[str, str]]:
    """Return the columns of numbers that are asked for, and why others are left out."""
    wanted = list(table.columns) if columns is None else list(dict.fromkeys(columns))
    missing = [name for name in wanted if name not in table.columns]
    texts = [
        name
        for name in wanted
        if name not in missing and not pd.api.types.is_numeric_dtype(table[name].dtype)
    ]
    if missing or (texts and columns is not None):
        raise ParameterError(
            f"columns {short_repr(missing + texts)} are not there or hold no numbers, expected "
            f"some of {', '.join(map(str, table.columns))}"
        )
    left_out = dict.fromkeys(texts, "text")
    numbers = [name for name in wanted if name not in texts]
    if amplitudes_differ:
        amplitudes = [n for n in numbers if is_amplitude(n)]
        left_out |= dict.fromkeys(amplitudes, "in µV in some sessions only")
        numbers = [name for name in numbers if name not in amplitudes]
    return numbers, left_out


def is_amplitude(column: str) -> bool:
    """Return whether the values of a column are in the unit of the amplitudes."""
    return column in METRIC_VARIABLES and METRIC_VARIABLES[column].unit in _OF_AMPLITUDE


def _digests(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the digest of each session, or raise where two are the same units.

    Leaving out one of two that are the same leaves nothing out.
    """
    known: dict[str, str] = {}
    digests, problems = [], []
    for name, table in tables.items():
        numbers = table.select_dtypes("number").drop(columns="\0label", errors="ignore")
        content = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
        text = f"{content.shape}{list(numbers.columns)}".encode()
        digest = hashlib.sha256(text + np.ascontiguousarray(content).tobytes()).hexdigest()
        digests.append(digest)
        # units that are all alike do not say which session they are of
        if len(pd.DataFrame(content).drop_duplicates()) < 2:
            continue
        if digest in known:
            problems.append(f"{name} has the same units as {known[digest]}")
        known.setdefault(digest, name)
    if problems:
        raise ParameterError(f"sessions: {join_problems(problems)}; give each session once")
    return digests


def prior_of(table: pd.DataFrame, name: str, column: str, given: Sessions) -> Prior:
    """Return the labelled units of others, with the columns that the sessions are learnt from.

    Raises
    ------
    ParameterError
        Columns are missing, labels are others, there are no units, or a session is among them.
    """
    columns = list(given.table.columns)
    checks = Checks("prior")
    missing = [one for one in (column, *columns) if list(table.columns).count(one) != 1]
    checks.require(
        not missing,
        f"columns {short_repr(missing)} are not there, expected all that are learnt from: give "
        "those that both have as columns=",
    )
    checks.finish()
    labels = _as_labels(table[column])
    rows = np.flatnonzero(labels != "")
    known, others = set(given.labels.tolist()), sorted(set(labels[rows]) - set(given.labels))
    checks.require(len(rows) > 0, "no unit has a label")
    checks.require(
        not others, f"units are {short_repr(others)}, expected {', '.join(sorted(known))}"
    )
    texts = [one for one in columns if not pd.api.types.is_numeric_dtype(table[one].dtype)]
    checks.require(not texts, f"columns {short_repr(texts)} hold texts, expected numbers")
    checks.finish()
    values = table[columns].to_numpy(dtype=np.float64, na_value=np.nan)[rows]
    values = np.where(np.isfinite(values), values, np.nan)
    there = {row.tobytes() for row in values}
    is_there = np.array([row.tobytes() in there for row in np.ascontiguousarray(given.values)])
    for number, session in enumerate(given.names):
        of = is_there[given.session == number]
        checks.require(
            of.sum() < 5 or of.mean() < 0.5,
            f"{int(of.sum())} units of session {session} are among them: it would be tested on "
            "what was learnt",
        )
    checks.finish()
    return Prior(name, values, labels[rows].astype(str))
