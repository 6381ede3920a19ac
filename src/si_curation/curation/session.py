"""`CurationSession`: phy's operations with phy's rules, in memory, with history and undo."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array
from si_curation.checks import plain_id
from si_curation.curation.apply import apply_units
from si_curation.curation.checks import (
    check_label,
    check_units,
    part_of_spikes,
)
from si_curation.curation.journal import (
    Journal,
    fingerprint,
    pack_parts,
    read_journal,
    unpack_parts,
)
from si_curation.curation.spikeinterface_format import (
    Curation,
    apply_curation_model,
    make_curation_model,
)
from si_curation.curation.state import GROUP, CurationState, units_of
from si_curation.curation.units import merge_units, split_unit
from si_curation.errors import ParameterError


class CurationSession(CurationState):
    """Merge, split, label and remove units as in phy, with undo, a history and a journal.

    Nothing is written to the analyzer: `apply` makes a new one. A step takes the time of the
    spikes of the units that it changes. Every change makes new units with new ids, which grow and
    are never used twice, also not after an undo (as in phy).

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        "template_assignment" is computed if it is missing.
    journal : str or Path, optional
        A file that every step is appended to at once, as JSON lines; must not exist (see
        `resume`).
    decided_by : str, optional
        Who or what decides, for the history; the name of the user by default.

    Raises
    ------
    OutputExistsError
        The journal exists.

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

        Warns
        -----
        SiCurationWarning
            The last line was torn (the process was killed while writing it); it is dropped.
        """
        session = cls(sorting_analyzer, decided_by=decided_by)
        belongs_to = fingerprint(sorting_analyzer, session._template_ids)
        entries, size = read_journal(journal, belongs_to)
        for number, entry in enumerate(entries, 2):
            try:
                session._replay(entry)
            except (LookupError, TypeError, ValueError, zlib.error) as fault:
                raise ParameterError(
                    f"{journal}: line {number} cannot be replayed: {fault}"
                ) from None
        session._journal = Journal(Path(journal), belongs_to, continued_at=size)
        return session

    # steps

    def merge(
        self,
        unit_ids: Iterable[Any],
        *,
        new_unit_id: Any = None,
        reason: str = "",
        decided_by: str | None = None,
    ) -> Any:
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
        parts: Sequence[int] | NDArray | Sequence[Sequence[int]],
        *,
        new_unit_ids: Sequence[Any] | None = None,
        reason: str = "",
        decided_by: str | None = None,
    ) -> list[Any]:
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
        (unit_id,) = check_units(self._units, [unit_id], 1)
        unit = self._units[unit_id]
        part_of_spike, num_parts = part_of_spikes(parts, unit.spikes.size, unit_id)
        outputs = self._new_ids(num_parts, new_unit_ids)
        new = split_unit(unit, part_of_spike, num_parts, self._template_ids, self._fields)
        entry = self._entry("split", [unit_id], outputs, reason, decided_by)
        entry["parts"] = pack_parts(part_of_spike)
        self._do(entry, [unit_id], dict(zip(outputs, new, strict=True)))
        return outputs

    def split_by_template(
        self, unit_id: Any, *, reason: str = "by template", decided_by: str | None = None
    ) -> list[Any]:
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
        ids = check_units(self._units, unit_ids, 1)
        self._do(self._entry("remove", ids, [], reason, decided_by), ids, {})

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

        Per-spike data stay as they are and aligned; templates, locations and similarities are made
        from the sorter's templates by counts, on the union of their channels; correlograms of
        merged units are added up. What cannot be right is left out. The steps in effect are kept as
        an annotation of the sorting, for `export_to_nwb`.

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
            Once, naming the extensions that were left out and why.
        """
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
        """Give the steps in effect as SpikeInterface's curation format.

        Returns
        -------
        spikeinterface.curation.curation_model.SequentialCuration
            One curation per merge, split and removal, with explicit new ids, and a last one with
            the labels of all units ("group" under SpikeInterface's name "quality").
        """
        start = list(units_of(self.sorting_analyzer, self._assignment))
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
            Format version 0 to 2 (a dict, the path of a JSON file, or
            ``spikeinterface.curation.curation_model.Curation``), or a sequence of them
            (``SequentialCuration``). Each is done in SpikeInterface's order: labels, removals,
            merges, splits.
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
            It is no curation, or one of other units. Nothing has changed then.
        """
        before = len(self._done)
        log, undone, ids = len(self._log), list(self._undone), copy.deepcopy(self._ids)
        journal, self._journal = self._journal, None
        try:
            renamed = apply_curation_model(self, curation, reason, decided_by)
        except BaseException:
            while len(self._done) > before:
                step = self._done.pop()
                self._exchange(step.after, step.before)
            del self._log[log:]
            self._undone, self._ids = undone, ids
            raise
        finally:
            self._journal = journal
        if journal is not None:
            for entry in self._log[log:]:
                journal.append(entry)
        return renamed

    def _replay(self, entry: Mapping[str, Any]) -> None:
        operation = entry["operation"]
        why = {"reason": entry["reason"], "decided_by": entry["decided_by"]}
        inputs, outputs = entry["inputs"], entry["outputs"]
        if operation == "merge":
            self.merge(inputs, new_unit_id=outputs[0], **why)
        elif operation == "split":
            self.split(inputs[0], unpack_parts(entry["parts"]), new_unit_ids=outputs, **why)
        elif operation == "label":
            self.label(inputs, entry["value"], entry["field"], **why)
        elif operation == "remove":
            self.remove(inputs, **why)
        elif operation in ("undo", "redo"):
            if (self.undo() if operation == "undo" else self.redo()) is None:
                raise ParameterError(f"there is nothing to {operation}")
            self._log[-1]["decided_by"] = entry["decided_by"]
        else:
            raise ParameterError(f"operation {operation!r} is not known")
        self._log[-1]["when"] = entry["when"]
