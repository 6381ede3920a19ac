"""What a curation session holds: units, ids, steps, history, and the values of its units."""

from __future__ import annotations

import copy
import getpass
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import plain_id
from si_curation.curation.checks import (
    TABLE_COLUMNS,
    check_units,
)
from si_curation.curation.history import HISTORY_COLUMNS
from si_curation.curation.journal import (
    Journal,
    fingerprint,
)
from si_curation.curation.units import IdSource, Unit
from si_curation.errors import ParameterError
from si_curation.extensions.template_assignment import ensure_template_assignment
from si_curation.extensions.template_best_channels import ChannelRanking, phy_best_channels
from si_curation.kernels.spikes_by_unit import spikes_by_unit
from si_curation.phy.tables import UNSORTED

GROUP = "group"


@dataclass(frozen=True, eq=False)
class _Step:
    """One change: units that go, units that come."""

    entry: dict[str, Any]
    before: dict[Any, Unit]
    after: dict[Any, Unit]


class CurationState:
    """The units of a session now, how they came to be, and their values.

    See `CurationSession`, which adds the operations.
    """

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        *,
        journal: str | Path | None = None,
        decided_by: str | None = None,
    ):
        self.sorting_analyzer = sorting_analyzer
        self._assignment = ensure_template_assignment(sorting_analyzer)
        self._template_ids = self._assignment.get_spike_template_ids()
        self._units = units_of(sorting_analyzer, self._assignment)
        self._ids = IdSource(list(self._units))
        self._done: list[_Step] = []
        self._undone: list[_Step] = []
        self._log: list[dict[str, Any]] = []
        self._decided_by = decided_by or _user()
        self._ranking: ChannelRanking | None = None
        self._similarity: NDArray[np.float32] | None = None
        self._journal = None
        if journal is not None:
            belongs_to = fingerprint(sorting_analyzer, self._template_ids)
            self._journal = Journal(Path(journal), belongs_to)

    # what there is now

    @property
    def unit_ids(self) -> list[Any]:
        """Ids of the units now, in ascending order (strings: in the order they came)."""
        return sorted(self._units, key=None if self._ids.are_integers else self._ids.order)

    @property
    def table(self) -> pd.DataFrame:
        """The units now.

        Columns ``group``, other labels that were set, ``num_spikes``, ``template_id``,
        ``template_spike_count``, ``template_purity``, ``num_templates`` and ``best_channel``, as
        the extensions would give them; indexed by unit id.
        """
        return self.get_table()

    def get_table(self, unit_ids: Iterable[Any] | None = None) -> pd.DataFrame:
        """Tabulate some units; as `table`, without touching the others.

        Parameters
        ----------
        unit_ids : iterable, optional
            All units by default.

        Returns
        -------
        pandas.DataFrame
        """
        ids = self.unit_ids if unit_ids is None else check_units(self._units, unit_ids, 0)
        fields = self._fields
        columns = [*fields, *TABLE_COLUMNS]
        rows = []
        for unit_id in ids:
            unit = self._units[unit_id]
            channels = self.get_best_channels(unit_id)
            most = int(unit.template_counts.max(initial=0))
            rows.append(
                {
                    **{field: unit.labels.get(field) for field in fields},
                    GROUP: unit.labels.get(GROUP) or UNSORTED,
                    "num_spikes": unit.spikes.size,
                    "template_id": unit.most_frequent_template,
                    "template_spike_count": most,
                    "template_purity": most / unit.spikes.size if unit.spikes.size else np.nan,
                    "num_templates": unit.template_ids.size,
                    "best_channel": channels[0] if channels.size else None,
                }
            )
        return pd.DataFrame(rows, columns=columns, index=pd.Index(ids, name="unit_id"))

    def get_spikes(self, unit_id: Any) -> NDArray[np.int64]:
        """Positions of the spikes of a unit in ``sorting_analyzer.sorting.to_spike_vector()``.

        Returns
        -------
        array (n_spikes of the unit,) int64
            Ascending.
        """
        (unit_id,) = check_units(self._units, [unit_id], 1)
        return self._units[unit_id].spikes.copy()

    def get_best_channels(self, unit_id: Any) -> NDArray:
        """Channel ids of a unit, best first, by the parameters of "template_best_channels".

        Returns
        -------
        array (k,)
            Empty for a unit without spikes.
        """
        (unit_id,) = check_units(self._units, [unit_id], 1)
        if self._ranking is None:
            extension = self.sorting_analyzer.get_extension("template_best_channels")
            params = {} if extension is None else extension.params
            self._ranking = phy_best_channels(self.sorting_analyzer, **params)
        channels = self._ranking.of_template(self._units[unit_id].most_frequent_template)
        return self.sorting_analyzer.channel_ids[channels]

    def get_similarity(self, unit_id: Any) -> pd.Series:
        """Similarity of a unit to all others, most similar first.

        phy's: the largest similarity of any template of one to any template of the other.

        Returns
        -------
        pandas.Series
            float64, indexed by unit id.
        """
        (unit_id,) = check_units(self._units, [unit_id], 1)
        if self._similarity is None:
            self._similarity = self._assignment.get_template_similarity()
        others = [i for i in self.unit_ids if i != unit_id and self._units[i].spikes.size]
        own = self._units[unit_id].template_ids
        if not others or own.size == 0:
            return pd.Series(dtype=np.float64, name="similarity")
        largest = self._similarity[own].max(axis=0)  # (n_templates,)
        templates = [self._units[i].template_ids for i in others]
        starts = np.cumsum([0] + [ids.size for ids in templates[:-1]])
        values = np.maximum.reduceat(largest[np.concatenate(templates)], starts)
        series = pd.Series(values.astype(np.float64), index=others, name="similarity")
        return series.sort_values(ascending=False, kind="stable")

    @property
    def history(self) -> pd.DataFrame:
        """Every step, undo and redo.

        Columns ``when`` (UTC, ISO 8601), ``operation``, ``inputs``, ``outputs`` (lists of unit
        ids), ``field`` and ``value`` (of labels), ``reason``, ``decided_by``, and ``in_effect``
        (whether the step counts now).
        """
        in_effect = {id(step.entry) for step in self._done}
        rows = [
            {
                **{name: copy.copy(entry.get(name)) for name in HISTORY_COLUMNS},
                "in_effect": id(entry) in in_effect,
            }
            for entry in self._log
        ]
        return pd.DataFrame(rows, columns=[*HISTORY_COLUMNS, "in_effect"])

    def was_used(self, unit_id: Any) -> bool:
        """Whether a unit of this id exists or ever did; such an id is not given again."""
        return self._ids.is_used(unit_id)

    # inside

    @property
    def _fields(self) -> list[str]:
        """Labels that descendants inherit: the group, and what the steps in effect have set."""
        steps = (step.entry for step in self._done)
        fields = [entry["field"] for entry in steps if entry["operation"] == "label"]
        return list(dict.fromkeys([GROUP, *fields]))

    def _new_ids(self, count: int, wanted: Sequence[Any] | None) -> list[Any]:
        if wanted is None:
            return self._ids.peek(count)
        ids = [plain_id(i) for i in wanted]
        kind, name = (int, "whole numbers") if self._ids.are_integers else (str, "strings")
        if not all(isinstance(i, kind) and not isinstance(i, bool) and i != "" for i in ids):
            raise ParameterError(f"new unit ids: unit ids are {name} here, not {ids}")
        problems = []
        if len(ids) != count:
            problems.append(f"{len(ids)} new ids are given, expected {count}")
        if len(set(ids)) < len(ids):
            problems.append("an id is given twice")
        used = [i for i in ids if self._ids.is_used(i)]
        if used:
            problems.append(f"ids {used} were used before; ids are never used twice")
        if problems:
            raise ParameterError("new unit ids: " + "; ".join(problems))
        return ids

    def _entry(self, operation, inputs, outputs, reason, decided_by) -> dict[str, Any]:
        return {
            "when": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "operation": operation,
            "inputs": list(inputs),
            "outputs": list(outputs),
            "reason": str(reason),
            "decided_by": self._decided_by if decided_by is None else str(decided_by),
        }

    def _do(self, entry: dict[str, Any], inputs: Sequence[Any], after: dict[Any, Unit]) -> None:
        before = {i: self._units[i] for i in inputs}
        self._record(entry)  # first to disk: what is in the journal was done, and the reverse
        self._ids.claim(i for i in after if i not in before)
        self._exchange(before, after)
        self._done.append(_Step(entry, before, after))
        self._undone.clear()

    def _exchange(self, gone: Mapping[Any, Unit], come: Mapping[Any, Unit]) -> None:
        for unit_id in gone:
            if unit_id not in come:
                del self._units[unit_id]
        self._units.update(come)

    def _note_move(self, operation: str, step: _Step) -> None:
        inputs, outputs = step.entry["outputs"], step.entry["inputs"]
        if operation == "redo":
            inputs, outputs = outputs, inputs
        self._record(self._entry(operation, inputs, outputs, "", None))

    def _record(self, entry: dict[str, Any]) -> None:
        if self._journal is not None:
            self._journal.append(entry)
        self._log.append(entry)


def units_of(analyzer: SortingAnalyzer, assignment: Any) -> dict[Any, Unit]:
    """Give the units of an analyzer as a session holds them."""
    unit_index = analyzer.sorting.to_spike_vector()["unit_index"]
    spikes = spikes_by_unit(unit_index, len(analyzer.unit_ids))
    counts = assignment.get_template_counts()
    quality = analyzer.sorting.get_property("quality")
    units = {}
    for i, unit_id in enumerate(analyzer.unit_ids):
        entries = slice(counts.indptr[i], counts.indptr[i + 1])
        label = "" if quality is None else str(quality[i])
        known = label not in ("", UNSORTED, "nan")
        units[plain_id(unit_id)] = Unit(
            spikes[i],
            counts.indices[entries].astype(np.int64),
            counts.data[entries].astype(np.int64),
            {GROUP: label} if known else {},
        )
    return units


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # no such user on this system
        return ""
