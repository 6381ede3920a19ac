"""`CurationSession`: phy's operations with phy's rules, in memory, with history and undo."""

from __future__ import annotations

import copy
import getpass
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array, spike_vector_of
from si_curation.checks import Checks, check_arguments, local_path, plain_id, short_repr
from si_curation.curation.apply import apply_units
from si_curation.curation.checks import (
    TABLE_COLUMNS,
    check_label,
    check_noted_ids,
    check_units,
    foreign_of_spikes,
    part_of_spikes,
)
from si_curation.curation.content import is_of_page, refuse_other_session, rejected_merges
from si_curation.curation.history import (
    HISTORY_COLUMNS,
    decisions_before,
    decisions_of,
    labels_of_other_fields,
    tabulate_labels,
)
from si_curation.curation.journal import (
    TOGETHER,
    Journal,
    continued_journal,
    fingerprint,
    new_journal,
    pack_parts,
    read_journal,
    unpack_parts,
)
from si_curation.curation.spikeinterface_format import (
    Curation,
    apply_curation_model,
    make_curation_model,
    read_given,
)
from si_curation.curation.units import IdSource, Unit, merge_units, split_unit
from si_curation.errors import MissingDataError, ParameterError
from si_curation.extensions.template_assignment import (
    TemplateAssignment,
    ensure_template_assignment,
)
from si_curation.extensions.template_best_channels import ChannelRanking, phy_best_channels
from si_curation.files import uninterrupted
from si_curation.kernels.spikes_by_unit import spikes_by_unit
from si_curation.phy.tables import UNSORTED
from si_curation.shown import Shown, count_text, counts_text
from si_curation.variables import UnitId

GROUP = "group"
#: Of the spikes that `CurationSession.clean` takes out of a unit.
NOISE = "noise"
#: What decisions that `CurationSession.note_review` notes are on.
REVIEWED = "suggested merge"


@dataclass(frozen=True, eq=False)
class _Step:
    """One change: units that go, units that come."""

    entry: dict[str, Any]
    before: dict[Any, Unit]
    after: dict[Any, Unit]


class CurationSession(Shown):
    """Merge, split, clean, label and remove units as in phy, with undo, a history and a journal.

    Nothing is written to the analyzer: `apply` makes a new one. A session holds which spikes each
    unit has, 4 bytes for each spike, and what the steps changed; a step takes the time of the
    spikes of the units that it changes. Every change makes new units with new ids, which grow and
    are never used twice, also not after an undo (as in phy).

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        "template_assignment" is computed if it is missing.
    journal : str or Path, optional
        A file that every step is appended to at once, as JSON lines; must not exist (see
        `resume`). The session is its only writer until `close`, or the end of a ``with`` block; a
        step that cannot be written is not done.
    decided_by : str, optional
        Who or what decides, for the history; the name of the user by default.

    Raises
    ------
    OutputExistsError
        The journal exists.
    ParameterError
        By each step: another program changed, moved or deleted the journal; the step is not done.

    See Also
    --------
    reconstruct_lineage : what was done to a folder that phy curated.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> session = sic.CurationSession(analyzer, decided_by="me")
    >>> session.merge([11, 12], reason="phy split them by amplitude")
    14
    >>> session.label([14], "good")
    >>> session.split_by_template(13)
    [15, 16, 17]
    >>> session.undo()
    'split'
    >>> session.table.loc[[13, 14], ["group", "num_spikes", "template_id"]].values.tolist()
    [['good', 1330, 1], ['good', 383, 3]]
    >>> session.apply().unit_ids
    array([ 4,  7,  8,  9, 10, 13, 14])
    """

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        *,
        journal: str | Path | None = None,
        decided_by: str | None = None,
    ):
        check_arguments(CurationSession.__init__, locals())
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
        self._is_closed = False
        self._together: list[dict[str, Any]] | None = None  # steps that get one line
        self._journal: Journal | None = None
        if journal is not None:
            belongs_to = fingerprint(sorting_analyzer, self._template_ids)
            self._journal = new_journal(journal, belongs_to)

    # what there is now

    @property
    def unit_ids(self) -> list[UnitId]:
        """Ids of the units now, in ascending order (strings: in the order they came)."""
        return sorted(self._units, key=None if self._ids.are_integers else self._ids.order)

    def __repr__(self) -> str:
        units, steps = count_text(len(self._units), "unit"), count_text(len(self._done), "step")
        groups = counts_text(Counter(self.get_labels().values()))
        undone = f", {len(self._undone)} undone" if self._undone else ""
        return f"CurationSession: {units} ({groups or 'none'}), {steps}{undone}"

    @property
    def table(self) -> pd.DataFrame:
        """The units now.

        Columns ``group``, other labels that were set, ``num_spikes``, ``template_id``,
        ``template_spike_count``, ``template_purity``, ``num_templates`` and ``best_channel``, as
        the extensions would give them; indexed by unit id. ``best_channel`` is None for a unit
        without spikes, and where there are no templates.
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
        check_arguments(CurationSession.get_table, locals())
        ids = self.unit_ids if unit_ids is None else check_units(self._units, unit_ids, 0)
        fields = self._fields
        columns = [*fields, *TABLE_COLUMNS]
        rows = []
        for unit_id in ids:
            unit = self._units[unit_id]
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
                    "best_channel": self._best_channel(unit_id),
                }
            )
        return pd.DataFrame(rows, columns=columns, index=pd.Index(ids, name="unit_id"))

    def _best_channel(self, unit_id: Any) -> Any:
        """Return the best channel of a unit; None without spikes, or without templates."""
        try:
            channels = self.get_best_channels(unit_id)
        except MissingDataError:
            return None
        return channels[0] if channels.size else None

    def get_spikes(self, unit_id: Any) -> NDArray[np.int64]:
        """Positions of the spikes of a unit in ``spike_vector_of(sorting_analyzer.sorting)``.

        Returns
        -------
        array (n_spikes of the unit,) int64
            Ascending.
        """
        check_arguments(CurationSession.get_spikes, locals())
        (unit_id,) = check_units(self._units, [unit_id], 1)
        return self._units[unit_id].spikes.astype(np.int64)

    def get_labels(self, field: str = GROUP) -> dict[Any, Any]:
        """Label of every unit now.

        Parameters
        ----------
        field : str, default: "group"

        Returns
        -------
        dict
            {unit id: label}; "unsorted" (of the field "group") or None where there is none.
        """
        check_arguments(CurationSession.get_labels, locals())
        none = UNSORTED if field == GROUP else None
        labels = {i: self._units[i].labels.get(field) for i in self.unit_ids}
        return {i: none if label is None else label for i, label in labels.items()}

    def get_best_channels(self, unit_id: Any) -> NDArray:
        """Channel ids of a unit, best first, by the parameters of "template_best_channels".

        Returns
        -------
        array (k,)
            Empty for a unit without spikes.
        """
        check_arguments(CurationSession.get_best_channels, locals())
        (unit_id,) = check_units(self._units, [unit_id], 1)
        if self._ranking is None:
            extension = self.sorting_analyzer.get_extension("template_best_channels")
            params = {} if extension is None else extension.params
            # units that this session made have templates of the sorter, none of the traces
            params = {**params, "source": "auto"}
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
        check_arguments(CurationSession.get_similarity, locals())
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

    @property
    def label_sources(self) -> pd.DataFrame:
        """The labels of the units now, and who gave each, when and why.

        As `si_curation.label_sources` gives it of an analyzer.
        """
        before = decisions_before(self.sorting_analyzer)
        decisions = decisions_of((step.entry for step in self._done), before)
        there = labels_of_other_fields(self.sorting_analyzer)
        labels = {i: {**there.get(i, {}), **self._units[i].labels} for i in self.unit_ids}
        return tabulate_labels(labels, decisions)

    def was_used(self, unit_id: Any) -> bool:
        """Whether a unit of this id exists or ever did; such an id is not given again."""
        check_arguments(CurationSession.was_used, locals())
        return self._ids.is_used(unit_id)

    @classmethod
    def resume(
        cls,
        sorting_analyzer: SortingAnalyzer,
        journal: str | Path,
        *,
        decided_by: str | None = None,
    ) -> CurationSession:
        """Go on with a session from its journal, which is replayed and then continued.

        Parameters
        ----------
        sorting_analyzer : SortingAnalyzer
            The one that the session began with.
        journal : str or Path
        decided_by : str, optional

        Returns
        -------
        CurationSession

        Raises
        ------
        FolderNotFoundError, ParameterError
            There is no such journal, it is damaged, or it belongs to other spikes.
        InUseError
            Another session writes to it, in this program or another one; see `close`.

        Warns
        -----
        SiCurationWarning
            The last line was torn (the process was killed while writing it); it is dropped.
        """
        session = cls(sorting_analyzer, decided_by=decided_by)
        belongs_to = fingerprint(sorting_analyzer, session._template_ids)
        opened, entries, size = continued_journal(journal, belongs_to)
        try:
            session._replay_all(entries, journal)
            opened.cut(size)
        except BaseException:
            opened.close()
            raise
        session._journal = opened
        return session

    def write_journal(self, path: str | Path) -> Path:
        """Write all steps so far as a journal, which `resume` takes; this session does not go on.

        Parameters
        ----------
        path : str or Path
            Must not exist.

        Returns
        -------
        Path

        Raises
        ------
        OutputExistsError
            The file exists.
        """
        check_arguments(CurationSession.write_journal, locals())
        journal = new_journal(path, fingerprint(self.sorting_analyzer, self._template_ids))
        try:
            for entry in self._log:
                journal.append(entry)
        except BaseException:
            journal.close()
            journal.path.unlink(missing_ok=True)
            raise
        journal.close()
        return journal.path

    def close(self) -> None:
        """Let go of the journal, which another session may then continue.

        What the session holds can still be read and applied; further steps are an error. Nothing
        happens to a session without a journal, or that is closed.
        """
        if self._journal is not None:
            self._journal.close()
            self._journal, self._is_closed = None, True

    def __enter__(self) -> CurationSession:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # steps

    def merge(
        self,
        unit_ids: Iterable[Any],
        *,
        new_unit_id: Any = None,
        reason: str = "",
        decided_by: str | None = None,
    ) -> UnitId:
        """Merge units into a new one.

        Its label is that of the merged units; where they differ, that of the one with most spikes
        (phy).

        Parameters
        ----------
        unit_ids : iterable
            Two or more units.
        new_unit_id : int or str, optional
            The next id by default; must never have been used.
        reason, decided_by : str, optional
            For the history.

        Returns
        -------
        int or str
            Id of the new unit.

        Raises
        ------
        UnknownIdError, ParameterError
            A unit does not exist, there are less than two, or one is named twice.
        """
        check_arguments(CurationSession.merge, locals())
        ids = check_units(self._units, unit_ids, 2)
        outputs = self._new_ids(1, None if new_unit_id is None else [new_unit_id])
        ordered = sorted(ids) if self._ids.are_integers else ids
        merged = merge_units({i: self._units[i] for i in ordered}, self._fields)
        entry = self._entry("merge", ids, outputs, reason, decided_by)
        self._do(entry, ids, {outputs[0]: merged})
        return outputs[0]

    def split(
        self,
        unit_id: Any,
        parts: NDArray | Sequence[Any],
        *,
        new_unit_ids: Sequence[Any] | None = None,
        reason: str = "",
        decided_by: str | None = None,
    ) -> list[UnitId]:
        """Split a unit; every part becomes a new unit (phy).

        Parameters
        ----------
        unit_id : int or str
        parts : sequence of int (n_spikes of the unit,), or sequence of sequences of int
            One label per spike of the unit, parts in ascending order of the labels; or lists of
            spike indices within the unit, spikes in no list being the last part.
        new_unit_ids : sequence, optional
            The next ids by default; must never have been used.
        reason, decided_by : str, optional
            For the history.

        Returns
        -------
        list
            Ids of the new units.

        Raises
        ------
        UnknownIdError, ParameterError
            The unit does not exist, labels are too few or too many, lists overlap, are empty or
            out of range, or there would be one part only.
        """
        check_arguments(CurationSession.split, locals())
        (unit_id,) = check_units(self._units, [unit_id], 1)
        unit = self._units[unit_id]
        part_of_spike, num_parts = part_of_spikes(parts, unit.spikes.size, unit_id)
        outputs = self._new_ids(num_parts, new_unit_ids)
        new = split_unit(unit, part_of_spike, num_parts, self._template_ids, self._fields)
        entry = self._entry("split", [unit_id], outputs, reason, decided_by)
        entry["parts"] = pack_parts(part_of_spike)
        self._do(entry, [unit_id], dict(zip(outputs, new, strict=True)))
        return outputs

    def clean(
        self,
        unit_id: Any,
        mask: NDArray | Sequence[Any],
        *,
        new_unit_ids: Sequence[Any] | None = None,
        reason: str = "",
        decided_by: str | None = None,
    ) -> list[UnitId]:
        """Take spikes that do not belong out of a unit, into a new unit labelled noise.

        As who splits them off in phy and labels them: no spike vanishes, and `undo` brings them
        back. It is one step. `si_curation.cleaned_units` tells afterwards which units were cleaned,
        and which of their metrics look better because of it.

        Parameters
        ----------
        unit_id : int or str
        mask : array (n_spikes of the unit,) bool
            True: does not belong, as `CleaningSuggestions.foreign_spikes` returns it.
        new_unit_ids : sequence, optional
            Two ids, that must never have been used; the next ones by default.
        reason, decided_by : str, optional
            For the history.

        Returns
        -------
        list
            Ids of the two new units: the spikes that stay, with the labels of the unit, and those
            taken out.

        Raises
        ------
        UnknownIdError, ParameterError
            The unit does not exist, or the mask is not one value per spike, or all or none of the
            spikes are to be taken out.

        Examples
        --------
        >>> import si_curation as sic
        >>> session = sic.CurationSession(sic.read_kilosort_as_analyzer(sic.example_folder()))
        >>> session.clean(4, np.arange(session.get_spikes(4).size) < 5)
        [14, 15]
        >>> session.table.loc[[14, 15], ["group", "num_spikes"]].values.tolist()
        [['unsorted', 904], ['noise', 5]]
        >>> session.undo()
        'clean'
        """
        check_arguments(CurationSession.clean, locals())
        (unit_id,) = check_units(self._units, [unit_id], 1)
        unit = self._units[unit_id]
        part_of_spike = foreign_of_spikes(mask, unit.spikes.size, unit_id)
        outputs = self._new_ids(2, new_unit_ids)
        kept, foreign = split_unit(unit, part_of_spike, 2, self._template_ids, self._fields)
        entry = self._entry("clean", [unit_id], outputs, reason, decided_by)
        entry["parts"] = pack_parts(part_of_spike)
        new = [kept, foreign.with_label(GROUP, NOISE)]
        self._do(entry, [unit_id], dict(zip(outputs, new, strict=True)))
        return outputs

    def split_by_template(
        self, unit_id: Any, *, reason: str = "by template", decided_by: str | None = None
    ) -> list[UnitId]:
        """Split a unit into the parts that came from each template (phy's action of that name).

        Returns
        -------
        list
            Ids of the new units, in ascending order of the templates, and as far apart as these
            (phy).

        Raises
        ------
        UnknownIdError, ParameterError
            The unit does not exist, or all its spikes came from one template.
        """
        check_arguments(CurationSession.split_by_template, locals())
        (unit_id,) = check_units(self._units, [unit_id], 1)
        unit = self._units[unit_id]
        if unit.template_ids.size < 2:
            raise ParameterError(f"all spikes of unit {unit_id} came from one template")
        parts = as_array(self._template_ids)[unit.spikes]
        ids = None
        if self._ids.are_integers:
            ids = [self._ids.peek(1)[0] + int(i - unit.template_ids[0]) for i in unit.template_ids]
        return self.split(unit_id, parts, new_unit_ids=ids, reason=reason, decided_by=decided_by)

    def label(
        self,
        unit_ids: Iterable[Any],
        group: Any,
        field: str = GROUP,
        *,
        reason: str = "",
        decided_by: str | None = None,
    ) -> None:
        """Label units.

        Parameters
        ----------
        unit_ids : iterable
        group : str, number, bool or None
            For the field "group": "good", "mua", "noise" or "unsorted". For other fields anything
            that fits into a table; None takes the label away.
        field : str, default: "group"
        reason, decided_by : str, optional
            For the history.

        Raises
        ------
        UnknownIdError, ParameterError
            A unit does not exist, or the label cannot be used.
        """
        check_arguments(CurationSession.label, locals())
        ids = check_units(self._units, unit_ids, 1)
        value = check_label(field, group)
        entry = self._entry("label", ids, ids, reason, decided_by)
        entry.update(field=field, value=value)
        self._do(entry, ids, {i: self._units[i].with_label(field, value) for i in ids})

    def remove(
        self, unit_ids: Iterable[Any], *, reason: str = "", decided_by: str | None = None
    ) -> None:
        """Remove units and their spikes.

        Raises
        ------
        UnknownIdError, ParameterError
        """
        check_arguments(CurationSession.remove, locals())
        ids = check_units(self._units, unit_ids, 1)
        self._do(self._entry("remove", ids, [], reason, decided_by), ids, {})

    def note_review(
        self,
        unit_ids: Iterable[Any],
        decision: Literal["accepted", "rejected"],
        *,
        result_unit_id: Any = None,
        reason: str = "",
        decided_by: str | None = None,
    ) -> None:
        """Note what was decided on a suggested merge, without doing it.

        It is a step of the history and of the journal, and can be undone. `outcomes_of_reviews`
        reads it: what was rejected cannot be seen from the units.

        Parameters
        ----------
        unit_ids : iterable
            Two or more; they need not exist any more.
        decision : {"accepted", "rejected"}
            Accepted: another program has merged them; `merge` does it here.
        result_unit_id : int or str, optional
            The unit that they were merged into.
        reason, decided_by : str, optional
            For the history.

        Raises
        ------
        ParameterError
            There are fewer than two ids, one is named twice, or they are no ids of this kind.

        Examples
        --------
        >>> import si_curation as sic
        >>> session = sic.CurationSession(sic.read_kilosort_as_analyzer(sic.example_folder()))
        >>> session.note_review([11, 12], "rejected", reason="other waveforms")
        >>> session.history[["operation", "inputs", "value"]].values.tolist()
        [['review', [11, 12], 'rejected']]
        """
        check_arguments(CurationSession.note_review, locals())
        results = [] if result_unit_id is None else [plain_id(result_unit_id)]
        ids = check_noted_ids(unit_ids, results, self._ids.are_integers)
        entry = self._entry("review", ids, results, reason, decided_by)
        entry.update(field=REVIEWED, value=decision)
        self._do(entry, [], {})
        self._ids.claim(i for i in [*ids, *results] if not self._ids.is_used(i))

    def undo(self) -> str | None:
        """Undo the last step.

        Returns
        -------
        str or None
            Which operation was undone; None if there was none.
        """
        if not self._done:
            return None
        step = self._done[-1]
        with uninterrupted():
            self._note_move("undo", step)
            self._undone.append(self._done.pop())
            self._exchange(step.after, step.before)
        return str(step.entry["operation"])

    def redo(self) -> str | None:
        """Do again what was undone last.

        Returns
        -------
        str or None
            Which operation was done again; None if there was none.
        """
        if not self._undone:
            return None
        step = self._undone[-1]
        with uninterrupted():
            self._note_move("redo", step)
            self._done.append(self._undone.pop())
            self._exchange(step.before, step.after)
        return str(step.entry["operation"])

    # results

    def apply(
        self,
        format: Literal["memory", "binary_folder", "zarr"] = "memory",
        folder: str | Path | None = None,
    ) -> SortingAnalyzer:
        """Make a new analyzer with the units as they are now.

        The extensions are those that SpikeInterface's ``merge_units``, ``split_units`` and
        ``remove_units`` keep, with equal values. Data per spike stay with their spikes. Templates,
        channels, locations and similarities of new units follow from the templates of their spikes,
        counts add up, and metrics of new units are computed. The steps in effect are kept as an
        annotation of the sorting, for `export_to_nwb`.

        In memory, both analyzers share what is held of each spike (its template, amplitude,
        location, projections), unless units were removed: those arrays of the new one cannot be
        written to. Take a copy of one to change it.

        Parameters
        ----------
        format : {"memory", "binary_folder", "zarr"}
        folder : str or Path, optional
            For the two formats on disk; must not exist.

        Returns
        -------
        SortingAnalyzer
            Unchanged units come first, in the order that they have in the analyzer.

        Raises
        ------
        ParameterError, OutputExistsError
            All units were removed, or the output cannot be used.

        Warns
        -----
        SiCurationWarning
            Once, naming the extensions that could not be kept and why.
        """
        check_arguments(CurationSession.apply, locals())
        old = [plain_id(i) for i in self.sorting_analyzer.unit_ids]
        ids = dict.fromkeys([i for i in old if i in self._units] + self.unit_ids)
        units = {unit_id: self._units[unit_id] for unit_id in ids}
        history = {
            "unit_ids": old,
            "steps": [step.entry for step in self._done],
            "fields": self._fields,
            "labels": [[i, dict(unit.labels)] for i, unit in units.items()],
        }
        return apply_units(
            self.sorting_analyzer,
            [(step.before, step.after) for step in self._done],
            units,
            self._fields,
            format,
            folder,
            history if self._done else None,
        )

    def to_spikeinterface_curation(self) -> Any:
        """Return the steps in effect in SpikeInterface's curation format.

        Returns
        -------
        spikeinterface.curation.curation_model.SequentialCuration
            One curation per merge, split and removal, with explicit new ids, and a last one with
            the labels of all units ("group" under SpikeInterface's name "quality").
        """
        start = [plain_id(i) for i in self.sorting_analyzer.unit_ids]
        steps = [(step.entry, step.before, step.after) for step in self._done]
        labels = {i: dict(self._units[i].labels) for i in self.unit_ids}
        return make_curation_model(start, steps, labels, self._fields)

    def apply_spikeinterface_curation(
        self, curation: Curation, *, reason: str = "", decided_by: str = "SpikeInterface curation"
    ) -> dict[Any, Any]:
        """Do the steps of a SpikeInterface curation, such as spikeinterface-gui saves.

        Parameters
        ----------
        curation : dict, list, str, Path or a model
            Format version 0 (sortingview's, also as figpack wraps it), 1, 2, or 3 as it is
            proposed, whose ``discard_spikes`` become units labelled noise (`clean`), and come
            first. A dict, the path of a JSON file, or
            ``spikeinterface.curation.curation_model.Curation``; or a sequence of them
            (``SequentialCuration``). Ids may be text where units have whole numbers; a missing
            version is known by the keys, and missing ``unit_ids`` are the units there are. Each is
            done in SpikeInterface's order: labels, removals, merges, splits. A file of the page of
            `export_report` (``curation=True``) names its session by content; labels that units
            have already are no steps then, and rejected merges are noted (`note_review`).
        reason, decided_by : str, optional
            For the history.

        Returns
        -------
        dict
            Our id of each new unit of the curation that had to get another id here, because ids
            are never used twice.

        Raises
        ------
        ParameterError, UnknownIdError
            It is no curation, or one of other units or of another session. Nothing has changed
            then.

        Notes
        -----
        All steps are done or none, also where the program is killed: they are one line of the
        journal.
        """
        check_arguments(CurationSession.apply_spikeinterface_curation, locals())
        curation = read_given(curation)
        refuse_other_session(curation, self.sorting_analyzer)
        why = {"reason": reason, "decided_by": decided_by}
        label_now = self._label_now if is_of_page(curation) else None
        with self._all_or_none():
            for unit_ids in rejected_merges(curation):
                self.note_review(unit_ids, "rejected", **why)
            return apply_curation_model(self, curation, why, label_now)

    def _label_now(self, unit_id: Any, field: str) -> Any:
        unit = self._units.get(unit_id)
        return None if unit is None else unit.labels.get(field)

    def repeat(self, other: CurationSession) -> dict[Any, Any]:
        """Do the steps in effect of another session of the same spikes, on the units as they are.

        For decisions that were made while another program changed the folder: read it again, begin
        a session with it, and repeat the steps there. All are done or none.

        Parameters
        ----------
        other : CurationSession

        Returns
        -------
        dict
            Our id of each new unit of the other session that has another id here.

        Raises
        ------
        ParameterError
            The sessions are of other spikes, or units of steps do not exist here or have other
            spikes: all such steps are named. Nothing has changed then.

        Examples
        --------
        >>> import si_curation as sic
        >>> folder = sic.example_folder()
        >>> session = sic.CurationSession(sic.read_kilosort_as_analyzer(folder))
        >>> session.merge([11, 12])
        14
        >>> again = sic.CurationSession(sic.read_kilosort_as_analyzer(folder))  # read it again
        >>> again.split_by_template(10)
        [14, 15]
        >>> again.repeat(session)
        {14: 16}
        """
        check_arguments(CurationSession.repeat, locals())
        rows, its_rows = self._spike_rows(), other._spike_rows()
        order, its_order = np.argsort(rows), np.argsort(its_rows)
        samples, its_samples = (
            spike_vector_of(one.sorting_analyzer.sorting)["sample_index"] for one in (self, other)
        )
        if not (
            self._assignment.is_from_folder == other._assignment.is_from_folder
            and np.array_equal(rows[order], its_rows[its_order])
            and np.array_equal(samples[order], its_samples[its_order])
        ):
            raise ParameterError("the sessions are of other spikes: they cannot be repeated")
        renamed: dict[Any, Any] = {}
        faults: list[str] = []
        with self._all_or_none():
            for step in other._done:
                wrong = [
                    str(i)
                    for i, unit in step.before.items()
                    if (known := self._units.get(renamed.get(i, i))) is None
                    or not np.array_equal(
                        np.sort(rows[known.spikes]), np.sort(its_rows[unit.spikes])
                    )
                ]
                if wrong:
                    faults.append(f"{step.entry['operation']} of {', '.join(wrong)}")
                elif not faults:
                    self._repeat_step(step, renamed, rows, its_rows)
            if faults:
                raise ParameterError(
                    f"{len(faults)} steps cannot be repeated, because their units are not here or "
                    f"have other spikes: {'; '.join(faults[:10])}{'; ...' * (len(faults) > 10)}. "
                    "Undo them in the other session, or what was changed here"
                )
        return {old: new for old, new in renamed.items() if old != new}

    def _repeat_step(
        self,
        step: _Step,
        renamed: dict[Any, Any],
        rows: NDArray[np.int64],
        its_rows: NDArray[np.int64],
    ) -> None:
        entry = step.entry
        why = {"reason": entry["reason"], "decided_by": entry["decided_by"]}
        inputs = [renamed.get(i, i) for i in entry["inputs"]]
        outputs = entry["outputs"]
        wanted = None if any(self.was_used(i) for i in outputs) else outputs
        if entry["operation"] == "label":
            self.label(inputs, entry["value"], entry["field"], **why)
        elif entry["operation"] == "remove":
            self.remove(inputs, **why)
        elif entry["operation"] == "review":
            self._repeat_review(entry, why)
        elif entry["operation"] == "merge":
            new = self.merge(inputs, new_unit_id=wanted and wanted[0], **why)
            renamed[outputs[0]] = new
        else:
            its = its_rows[step.before[entry["inputs"][0]].spikes]
            ours = rows[self._units[inputs[0]].spikes]
            parts = np.empty(its.size, dtype=np.int64)
            parts[np.argsort(ours)] = unpack_parts(entry["parts"])[np.argsort(its)]
            if entry["operation"] == "clean":
                new_ids = self.clean(inputs[0], parts == 1, new_unit_ids=wanted, **why)
            else:
                new_ids = self.split(inputs[0], parts, new_unit_ids=wanted, **why)
            renamed.update(zip(outputs, new_ids, strict=True))

    def _repeat_review(self, entry: Mapping[str, Any], why: Mapping[str, str]) -> None:
        result = entry["outputs"][0] if entry["outputs"] else None
        self.note_review(entry["inputs"], entry["value"], result_unit_id=result, **why)

    def _spike_rows(self) -> NDArray[np.int64]:
        """Row of each spike in the files of its folder; its position where there is no folder."""
        if self._assignment.is_from_folder:
            return np.asarray(self._assignment.get_spike_rows(), dtype=np.int64)
        return np.arange(spike_vector_of(self.sorting_analyzer.sorting).size)

    @contextmanager
    def _all_or_none(self) -> Iterator[None]:
        """Let the steps of a block be one line of the journal; undo them where it raises."""
        before = len(self._done)
        log, undone, ids = len(self._log), list(self._undone), copy.deepcopy(self._ids)
        self._check_open()
        self._together = []
        is_recorded = False
        try:
            yield
            with uninterrupted():
                if self._journal is not None:
                    self._journal.append_together(self._together)
                is_recorded = True
        except BaseException:
            while not is_recorded and len(self._done) > before:
                step = self._done.pop()
                self._exchange(step.after, step.before)
            if not is_recorded:
                del self._log[log:]
                self._undone, self._ids = undone, ids
            raise
        finally:
            self._together = None

    # how it works

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
            raise ParameterError(f"new unit ids: unit ids are {name} here, not {short_repr(ids)}")
        checks = Checks("new unit ids")
        checks.require(len(ids) == count, f"{len(ids)} new ids are given, expected {count}")
        checks.require(len(set(ids)) == len(ids), "an id is given twice")
        used = [i for i in ids if self._ids.is_used(i)]
        checks.require(
            not used, f"ids {short_repr(used)} were used before; ids are never used twice"
        )
        checks.finish()
        return ids

    def _entry(
        self,
        operation: str,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        reason: str,
        decided_by: str | None,
    ) -> dict[str, Any]:
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
        with uninterrupted():
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

    def _check_open(self) -> None:
        if self._is_closed:
            raise ParameterError(
                "the session is closed, and another one may write to its journal: continue it "
                "with CurationSession.resume"
            )

    def _record(self, entry: dict[str, Any]) -> None:
        self._check_open()
        if self._together is not None:
            self._together.append(entry)
        elif self._journal is not None:
            self._journal.append(entry)
        self._log.append(entry)

    def _replay_all(self, entries: Iterable[Mapping[str, Any]], journal: str | Path) -> None:
        for number, entry in enumerate(entries, 2):
            try:
                self._replay(entry)
            except (LookupError, TypeError, ValueError, zlib.error) as fault:
                raise ParameterError(
                    f"{journal}: line {number} cannot be replayed: {fault}"
                ) from None

    def _replay(self, entry: Mapping[str, Any]) -> None:
        for step in entry["steps"] if entry["operation"] == TOGETHER else [entry]:
            self._replay_step(step)

    def _replay_step(self, entry: Mapping[str, Any]) -> None:
        operation = entry["operation"]
        why = {"reason": entry["reason"], "decided_by": entry["decided_by"]}
        inputs, outputs = entry["inputs"], entry["outputs"]
        if operation == "merge":
            self.merge(inputs, new_unit_id=outputs[0], **why)
        elif operation in ("split", "clean"):
            self._replay_split(entry, why)
        elif operation == "label":
            self.label(inputs, entry["value"], entry["field"], **why)
        elif operation == "remove":
            self.remove(inputs, **why)
        elif operation == "review":
            self._repeat_review(entry, why)
        elif operation in ("undo", "redo"):
            if (self.undo() if operation == "undo" else self.redo()) is None:
                raise ParameterError(f"there is nothing to {operation}")
            self._log[-1]["decided_by"] = entry["decided_by"]
        else:
            raise ParameterError(f"operation {operation!r} is not known")
        self._log[-1]["when"] = entry["when"]

    def _replay_split(self, entry: Mapping[str, Any], why: dict[str, Any]) -> None:
        (unit_id,) = check_units(self._units, entry["inputs"], 1)
        parts = unpack_parts(entry["parts"], self._units[unit_id].spikes.size)
        if entry["operation"] == "clean":
            self.clean(unit_id, parts == 1, new_unit_ids=entry["outputs"], **why)
        else:
            self.split(unit_id, parts, new_unit_ids=entry["outputs"], **why)


def session_of_journal(sorting_analyzer: SortingAnalyzer, journal: str | Path) -> CurationSession:
    """Return a session with the steps of a journal, which is read and not continued.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        The one that the session began with.
    journal : str or Path
        Another session may write to it.

    Raises
    ------
    FolderNotFoundError, ParameterError
        There is no such journal, it is damaged, or it belongs to other spikes.
    """
    session = CurationSession(sorting_analyzer)
    belongs_to = fingerprint(sorting_analyzer, session._template_ids)
    session._replay_all(read_journal(journal, belongs_to), journal)
    return session


def _same_spikes(
    one: Unit | None, rows: NDArray[np.int64], other: Unit, its_rows: NDArray[np.int64]
) -> bool:
    if one is None:
        return False
    return np.array_equal(np.sort(rows[one.spikes]), np.sort(its_rows[other.spikes]))


def units_of(analyzer: SortingAnalyzer, assignment: TemplateAssignment) -> dict[Any, Unit]:
    """Return the units of an analyzer as a session holds them."""
    unit_index = spike_vector_of(analyzer.sorting)["unit_index"]
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


@contextmanager
def whole_session(
    sorting_analyzer: SortingAnalyzer, journal: str | Path | None, decided_by: str
) -> Iterator[CurationSession]:
    """Yield a session for steps that belong together; where one fails, no journal is left."""
    path = None if journal is None else local_path(journal, "journal")
    made = [] if path is None else [one for one in path.parents if not one.exists()]
    session = CurationSession(sorting_analyzer, journal=path, decided_by=decided_by)
    try:
        yield session
    except BaseException:
        session.close()
        if path is not None:
            path.unlink(missing_ok=True)
            for folder in made:  # the innermost first
                with suppress(OSError):
                    folder.rmdir()
        raise
