"""The history of sessions, kept with the analyzers that they made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from spikeinterface.core import BaseSorting, SortingAnalyzer

from si_curation.checks import check_arguments, plain_id
from si_curation.curation.journal import unpack_parts
from si_curation.curation.spikeinterface_format import make_curation_model
from si_curation.documents import parse_document
from si_curation.variables import BIASED_BY_CLEANING, LABEL_SOURCES

_ANNOTATION = "curation_history"
HISTORY_COLUMNS = (
    "when",
    "operation",
    "inputs",
    "outputs",
    "field",
    "value",
    "reason",
    "decided_by",
)


def append_history(sorting: BaseSorting, session: Mapping[str, Any]) -> None:
    """Annotate a sorting with one more session.

    Parameters
    ----------
    sorting : BaseSorting
        Annotated with the sessions before.
    session : mapping
        ``unit_ids`` (that it began with), ``steps`` (entries of the journal in effect), ``fields``
        and ``labels`` (pairs of unit id and labels at its end).
    """
    sessions = [*_sessions_of(sorting), dict(session)]
    # text: what formats do with nested annotations differs
    sorting.annotate(**{_ANNOTATION: json.dumps(sessions, ensure_ascii=False, default=str)})


def _sessions_of(sorting: BaseSorting) -> list[dict[str, Any]]:
    text = sorting.get_annotation(_ANNOTATION)
    if not text:
        return []
    from si_curation.curation.journal_entries import check_sessions

    name = f"the annotation {_ANNOTATION} of the sorting"
    sessions: list[dict[str, Any]] = parse_document(str(text), name)
    check_sessions(sessions, name)
    return sessions


def history_of(analyzer: SortingAnalyzer) -> list[dict[str, Any]]:
    """Return the steps in effect of all sessions that an analyzer went through.

    Returns
    -------
    list of dict
        In their order: ``when`` (UTC, ISO 8601), ``operation``, ``inputs``, ``outputs``,
        ``reason``, ``decided_by``, and ``field`` and ``value`` of labels.
    """
    return [step for session in _sessions_of(analyzer.sorting) for step in session["steps"]]


class FieldLabels(NamedTuple):
    """The labels of one field, as sessions left them.

    Attributes
    ----------
    values : dict
        {unit id: text, number or boolean}; units without a label are not in it.
    labelled : set
        Ids of the units whose label a session has set, taken away or inherited.
    """

    values: dict[Any, Any]
    labelled: set[Any]


def labels_of_sessions(analyzer: SortingAnalyzer) -> dict[str, FieldLabels]:
    """Return the labels of every field that a session has set, but for the group.

    The properties of the units hold them. Where those cannot hold a value as it was given (a whole
    number or a boolean beside a missing one), it is that of the session.

    Returns
    -------
    dict of str to FieldLabels
        Empty where no session made the analyzer.

    Examples
    --------
    >>> import si_curation as sic
    >>> session = sic.CurationSession(sic.read_kilosort_as_analyzer(sic.example_folder()))
    >>> session.label([4], 3, field="layer")
    >>> session.label([7], None, field="layer")
    >>> labels_of_sessions(session.apply())
    {'layer': FieldLabels(values={4: 3}, labelled={4, 7})}
    """
    sessions = _sessions_of(analyzer.sorting)
    fields = dict.fromkeys(field for one in sessions for field in one["fields"])
    given: dict[tuple[str, Any], Any] = {}
    for session in sessions:  # the last one counts
        for unit_id, labels in session["labels"]:
            given.update({(field, unit_id): value for field, value in labels.items()})
    ids = [plain_id(i) for i in analyzer.unit_ids]
    found = {}
    for field in fields:
        column = analyzer.sorting.get_property(field)
        if field == "group" or column is None or column.ndim != 1:
            continue
        values = {}
        for unit_id, value in zip(ids, map(plain_id, column), strict=True):
            if value is not None and value == value and value != "":  # not None, NaN or no text
                exact = given.get((field, unit_id))
                is_same = exact is not None and (exact == value or str(exact) == value)
                values[unit_id] = exact if is_same else value
        found[field] = FieldLabels(values, {i for i in ids if (field, i) in given})
    return found


def recorded_history(analyzer: SortingAnalyzer) -> pd.DataFrame:
    """Return the steps of all sessions that led to an analyzer, first to last.

    Parameters
    ----------
    analyzer : SortingAnalyzer

    Returns
    -------
    pandas.DataFrame
        Columns as `CurationSession.history` but without ``in_effect``: what was undone is left
        out. Empty where no session made the analyzer.

    Examples
    --------
    >>> import si_curation as sic
    >>> session = sic.CurationSession(sic.read_kilosort_as_analyzer(sic.example_folder()))
    >>> session.label([4], "good", reason="clean")
    >>> recorded_history(session.apply())[["operation", "inputs", "reason"]].values.tolist()
    [['label', [4], 'clean']]
    """
    return pd.DataFrame(history_of(analyzer), columns=list(HISTORY_COLUMNS))


class Decision(NamedTuple):
    """Who or what gave a label, when and why; texts, empty where that is not known."""

    decided_by: str = ""
    when: str = ""
    reason: str = ""


#: {unit id: {field: {label: the last decision that gave it}}}
Decisions = dict[Any, dict[str, dict[Any, Decision]]]


def decisions_of(steps: Iterable[Mapping[str, Any]], before: Decisions | None = None) -> Decisions:
    """Return who gave each label that units may have after some steps.

    A unit that was merged or split has a label from one of those that it was made of.

    Parameters
    ----------
    steps : iterable of mapping
        Those in effect, in their order.
    before : dict, optional
        Of the sessions before.
    """
    known: Decisions = {} if before is None else before
    for step in steps:
        made = Decision(step["decided_by"], step["when"], step["reason"])
        operation, inputs, outputs = step["operation"], step["inputs"], step["outputs"]
        if operation == "label":
            for unit_id in inputs:
                fields = dict(known.get(unit_id, {}))
                known[unit_id] = {**fields, step["field"]: {step["value"]: made}}
        elif operation in ("merge", "split", "clean"):
            together = _inherited([known.get(i, {}) for i in inputs])
            known.update(dict.fromkeys(outputs, together))
            if operation == "clean":
                known[outputs[1]] = {**together, "group": {"noise": made}}
    return known


def _inherited(
    all_fields: Sequence[Mapping[str, Mapping[Any, Decision]]],
) -> dict[str, dict[Any, Decision]]:
    """Return the decisions of several units; of those that gave the same label, the last."""
    together: dict[str, dict[Any, Decision]] = {}
    for fields in all_fields:
        for field, labels in fields.items():
            own = together.setdefault(field, {})
            for label, made in labels.items():
                if label not in own or own[label].when < made.when:
                    own[label] = made
    return together


def tabulate_labels(labels: Mapping[Any, Mapping[str, Any]], decisions: Decisions) -> pd.DataFrame:
    """Return a table of the labels that units have, and who gave each; see `label_sources`.

    Parameters
    ----------
    labels : mapping of unit id to mapping of field to label
    decisions : dict
    """
    rows = []
    for unit_id, own in labels.items():
        for field, value in own.items():
            if value is None or (field == "group" and value == "unsorted"):
                continue
            made = decisions.get(unit_id, {}).get(field, {}).get(value, Decision())
            rows.append((unit_id, field, value, *made))
    return pd.DataFrame(rows, columns=list(LABEL_SOURCES))


def decisions_before(analyzer: SortingAnalyzer) -> Decisions:
    """Return who gave the labels of an analyzer, in the sessions that made it."""
    return decisions_of(history_of(analyzer))


def label_sources(sorting_analyzer: SortingAnalyzer) -> pd.DataFrame:
    """Return the labels of the units, and who or what gave each, when and why.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        For example of ``CurationSession.apply``, in any format.

    Returns
    -------
    pandas.DataFrame
        One row for each label of each unit; the columns are described in
        `si_curation.variables.LABEL_SOURCES`. Labels that no session gave (of the folder that was
        read, say) have empty texts beside them: who gave these is not known.

    See Also
    --------
    CurationSession.label_sources : the same of a session that goes on.

    Examples
    --------
    >>> import si_curation as sic
    >>> session = sic.CurationSession(sic.read_kilosort_as_analyzer(sic.example_folder()))
    >>> session.label([11], "good", decided_by="Ada")
    >>> _ = session.merge([11, 12])
    >>> table = sic.label_sources(session.apply())
    >>> table[["unit_id", "value", "decided_by"]].values.tolist()
    [[8, 'noise', ''], [10, 'mua', ''], [13, 'good', ''], [14, 'good', 'Ada']]
    """
    check_arguments(label_sources, locals())
    quality = sorting_analyzer.sorting.get_property("quality")
    labels = labels_of_other_fields(sorting_analyzer)
    for row, own in enumerate(labels.values()):
        group = "" if quality is None else str(quality[row])
        own["group"] = group if group not in ("", "nan") else None
    return tabulate_labels(labels, decisions_before(sorting_analyzer))


def labels_of_other_fields(analyzer: SortingAnalyzer) -> dict[Any, dict[str, Any]]:
    """Return the labels of every unit that sessions gave, but for the group."""
    labels: dict[Any, dict[str, Any]] = {plain_id(i): {} for i in analyzer.unit_ids}
    for field, found in labels_of_sessions(analyzer).items():
        for unit_id, value in found.values.items():
            labels[unit_id][field] = value
    return labels


def cleaned_units(sorting_analyzer: SortingAnalyzer) -> pd.DataFrame:
    """Return the units that were cleaned, and which of their metrics cleaning biases.

    Spikes that `CurationSession.clean` takes out are chosen by their features. Metrics made of
    features or amplitudes are then better than they would be of the neuron's spikes. Estimates of
    contamination count spikes in the refractory period, by which none was chosen: they are not
    biased.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Made by ``CurationSession.apply``, in any format.

    Returns
    -------
    pandas.DataFrame
        Indexed by unit id, with a row for each unit that was cleaned, or is made of such units:
        ``num_set_aside`` (int64, spikes taken out, of all units that it is made of) and
        ``biased_metrics`` (names of columns of "curation_metrics", separated by ", ").

    Examples
    --------
    >>> import si_curation as sic
    >>> session = sic.CurationSession(sic.read_kilosort_as_analyzer(sic.example_folder()))
    >>> _ = session.clean(11, [True] * 3 + [False] * (session.get_spikes(11).size - 3))
    >>> cleaned_units(session.apply()).num_set_aside.to_dict()
    {14: 3}
    """
    check_arguments(cleaned_units, locals())
    set_aside: dict[Any, int] = {}
    for step in history_of(sorting_analyzer):
        operation, outputs = step["operation"], step["outputs"]
        if operation not in ("merge", "split", "clean"):
            continue
        before = sum(set_aside.get(i, 0) for i in step["inputs"])
        if operation == "clean":
            count = int(np.count_nonzero(unpack_parts(step["parts"])))
            set_aside[outputs[0]] = before + count
        elif before:
            set_aside.update(dict.fromkeys(outputs, before))
    ids = [i for i in map(plain_id, sorting_analyzer.unit_ids) if i in set_aside]
    return pd.DataFrame(
        {
            "num_set_aside": np.array([set_aside[i] for i in ids], dtype=np.int64),
            "biased_metrics": ", ".join(BIASED_BY_CLEANING),
        },
        index=pd.Index(ids, name="unit_id"),
    )


def curation_json_of(analyzer: SortingAnalyzer) -> str | None:
    """Return the steps of all sessions as JSON in SpikeInterface's curation format.

    Returns
    -------
    str or None
        A ``SequentialCuration``; a list of them where units went between two sessions. None if
        there was no session.
    """
    from pydantic import ValidationError
    from spikeinterface.curation.curation_model import SequentialCuration

    sessions = _sessions_of(analyzer.sorting)
    if not sessions:
        return None
    models = [
        make_curation_model(
            session["unit_ids"],
            [(step, step["inputs"], step["outputs"]) for step in session["steps"]],
            {unit_id: labels for unit_id, labels in session["labels"]},
            session["fields"],
        )
        for session in sessions
    ]
    if len(models) == 1:
        return models[0].model_dump_json()
    try:
        steps = [step for model in models for step in model.curation_steps]
        return SequentialCuration(curation_steps=steps).model_dump_json()
    except ValidationError:
        return json.dumps([json.loads(model.model_dump_json()) for model in models])


def origins_of(analyzer: SortingAnalyzer) -> list[list[Any]] | None:
    """Return the units of the first session's start that each unit came from, by the steps alone.

    All parts of a unit that was split have the origins of the whole.

    Returns
    -------
    list of list
        By unit, ascending; None if there was no session, or units are not of it.

    Examples
    --------
    >>> import si_curation as sic
    >>> session = sic.CurationSession(sic.read_kilosort_as_analyzer(sic.example_folder()))
    >>> _ = session.merge([11, 12])
    >>> origins_of(session.apply())[-1]
    [11, 12]
    """
    sessions = _sessions_of(analyzer.sorting)
    if not sessions:
        return None
    known = {unit_id: {unit_id} for unit_id in sessions[0]["unit_ids"]}
    for step in history_of(analyzer):
        if step["operation"] in ("merge", "split", "clean"):
            together = set().union(*(known.get(i, {i}) for i in step["inputs"]))
            known.update({i: together for i in step["outputs"]})
    ids: Sequence[Any] = [plain_id(i) for i in analyzer.unit_ids]
    if not all(i in known for i in ids):
        return None
    return [sorted(known[i], key=lambda one: (str(type(one)), one)) for i in ids]
