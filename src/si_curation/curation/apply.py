"""A new analyzer with the units of a session: every extension that can be kept is kept."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import BaseSorting, ChannelSparsity, NumpySorting, SortingAnalyzer

from si_curation._spikeinterface import (
    copy_annotations,
    loaded_extensions,
    make_memory_analyzer,
    rec_attributes_of,
    recording_of,
    spike_vector_of,
)
from si_curation.checks import plain_id
from si_curation.curation.carry_over import (
    carry_over,
    channels_of_merged,
    copy_extensions,
    order_matters,
    refused_channels,
    takes_any_change,
)
from si_curation.curation.history import append_history
from si_curation.curation.units import Unit
from si_curation.errors import ParameterError, SiCurationWarning
from si_curation.extensions.changes import change_of_units
from si_curation.files import memory_array, scratch_array
from si_curation.kernels.spike_vector import Empty, look_up, with_other_units
from si_curation.phy.tables import UNSORTED
from si_curation.reading.observed import OBSERVED_PROPERTY
from si_curation.reading.saving import check_output, save_analyzer

Units = Mapping[Any, Unit]
_OF_THE_SESSION = ("quality", "main_channel_id", "original_cluster_id")


@dataclass
class _Stage:
    """Changes that are made at once: from one analyzer to the next."""

    kind: str  # "merge", "split", "remove", or "change": merges and splits in any mixture
    units: dict[Any, Unit]  # after it
    made_of: dict[Any, list[Any]] = dataclasses.field(
        default_factory=dict
    )  # {new: units before the stage}


def apply_units(
    analyzer: SortingAnalyzer,
    steps: Sequence[tuple[Units, Units]],
    units: Units,
    fields: Sequence[str],
    format: str,
    folder: Any,
    history: Mapping[str, Any] | None = None,
) -> SortingAnalyzer:
    """Make the analyzer of a session's units.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    steps : sequence of (units before, units after)
        The steps in effect: the units that each of them changed.
    units : mapping of unit id to Unit
        After all steps, in the order of the new analyzer.
    fields : sequence of str
        Label fields that become properties.
    format, folder
        As of `CurationSession.apply`.
    history : mapping, optional
        Of the session, to be kept with the sorting.

    Returns
    -------
    SortingAnalyzer
    """
    check_output(format, folder)
    if not units:
        raise ParameterError("there are no units left to make an analyzer of")
    if analyzer.format != "memory":
        for name in analyzer.get_saved_extension_names():
            if name not in loaded_extensions(analyzer):
                analyzer.load_extension(name)
    left_out = refused_channels(analyzer, [made for made in map(_merge_of, steps) if made])
    at_once = takes_any_change(analyzer, left_out)
    stages = _stages(analyzer, steps, at_once, at_once and not order_matters(analyzer))
    if not stages:  # nothing but labels, or all was undone
        stages = [_Stage("remove", dict(units))]
    stages[-1].units = dict(units)
    maker = _Maker(analyzer, memory_array if format == "memory" else scratch_array)
    for stage in stages:
        maker.make(stage, left_out, is_last=stage is stages[-1])
    new = maker.analyzer
    if history is not None:
        append_history(new.sorting, history)
    _set_properties(analyzer, new.sorting, units, fields)
    if left_out:
        warnings.warn(
            "not in the new analyzer: "
            + "; ".join(f"{name} ({reason})" for name, reason in left_out.items()),
            SiCurationWarning,
            stacklevel=3,
        )
    return new if folder is None else save_analyzer(new, format, folder)


# the stages


def _merge_of(step: tuple[Units, Units]) -> list[Any] | None:
    """Return the units that a step merges; None if it is no merge."""
    before, after = step
    return list(before) if len(after) == 1 and len(before) > 1 else None


def _kind_of(before: Units, after: Units) -> str | None:
    if list(before) == list(after):
        return None  # a label
    if not after:
        return "remove"
    return "merge" if len(after) == 1 else "split"


def _stages(
    analyzer: SortingAnalyzer, steps: Iterable[tuple[Units, Units]], at_once: bool, whole: bool
) -> list[_Stage]:
    """Put the steps together that can be made at once, in their order.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    steps : iterable of (units before, units after)
    at_once : bool
        Merges and splits in any mixture are one stage; else merges of different units are one, and
        splits of different units are one, as SpikeInterface makes them.
    whole : bool
        All steps are one stage.
    """
    now: dict[Any, Unit] = {plain_id(i): None for i in analyzer.unit_ids}  # type: ignore[misc]
    stages: list[_Stage] = []
    for before, after in steps:
        kind = _kind_of(before, after)
        if kind is None:
            continue
        if whole or (at_once and kind != "remove"):
            kind = "change"
        follows = stages and stages[-1].kind == kind
        depends = follows and kind != "change" and any(i in stages[-1].made_of for i in before)
        if not follows or depends:
            stages.append(_Stage(kind, {}))
        made_of = stages[-1].made_of
        origins = [old for i in before for old in made_of.get(i, [i])]
        for unit_id in before:
            del now[unit_id]
        now.update(after)
        stages[-1].units = dict(now)
        made_of.update({new: list(dict.fromkeys(origins)) for new in after})
    return stages


class _Maker:
    """Makes one analyzer after the other, from the spikes of the first."""

    def __init__(self, analyzer: SortingAnalyzer, empty: Empty):
        self.analyzer = analyzer
        self._empty = empty
        self._first = spike_vector_of(analyzer.sorting)
        self._rows: NDArray[np.integer] | None = None  # of the analyzer's spikes in the first
        self._unit_index = self._first["unit_index"].astype(np.int32)

    def make(self, stage: _Stage, left_out: dict[str, str], is_last: bool) -> None:
        """Make the analyzer after a stage; what cannot be kept is added to `left_out`."""
        before = self.analyzer
        unit_index, is_new = self._unit_index_after(stage)
        made_of = self._parents(stage, is_new)
        self._unit_index = unit_index  # what is of all spikes is let go as soon as can be
        kept = self._kept(unit_index)
        rows = self._rows
        if kept is not None:
            rows = kept if rows is None else rows[kept]
        spikes = with_other_units(self._first, unit_index, rows, self._empty)
        self._rows = rows
        del unit_index, rows
        if is_last:
            self._forget_spikes()
        unit_ids = np.array(list(stage.units))
        after = _empty_analyzer(before, spikes, unit_ids, made_of)
        change = change_of_units(before, after, made_of, kept, left_out)
        change = dataclasses.replace(change, shares=True, empty=self._empty)
        if not change.is_new.any() and list(unit_ids) == list(before.unit_ids):
            copy_extensions(change)
        else:
            given = {new: stage.made_of.get(new, old) for new, old in made_of.items()}
            left_out |= carry_over(change, stage.kind, given)
        self.analyzer = after

    def _kept(self, unit_index: NDArray[np.int32]) -> NDArray[np.integer] | None:
        """Return which spikes of the analyzer are in a unit; None: all."""
        now = unit_index if self._rows is None else look_up(unit_index, self._rows)
        if now.min(initial=0) >= 0:
            return None
        dtype = np.int32 if now.size < 1 << 31 else np.int64
        return np.flatnonzero(now >= 0).astype(dtype)

    def _forget_spikes(self) -> None:
        nothing = np.zeros(0, dtype=np.int32)
        self._rows, self._unit_index = nothing, nothing

    def _unit_index_after(self, stage: _Stage) -> tuple[NDArray[np.int32], dict[Any, int]]:
        """Return the unit of each spike of the first analyzer, and the new units."""
        index_before = {plain_id(i): row for row, i in enumerate(self.analyzer.unit_ids)}
        place = np.full(len(index_before) + 1, -1, dtype=np.int32)  # the last one is for -1
        is_new = {}
        for index, unit_id in enumerate(stage.units):
            if unit_id in index_before:
                place[index_before[unit_id]] = index
            else:
                is_new[unit_id] = index
        unit_index = look_up(place, self._unit_index)
        for unit_id, index in is_new.items():
            unit_index[stage.units[unit_id].spikes] = index
        return unit_index, is_new

    def _parents(self, stage: _Stage, is_new: Iterable[Any]) -> dict[Any, list[Any]]:
        """Return the units before that each new unit has spikes of."""
        ids = self.analyzer.unit_ids
        parents = {}
        for unit_id in is_new:
            of_spikes = self._unit_index[stage.units[unit_id].spikes]
            found = np.flatnonzero(np.bincount(of_spikes, minlength=len(ids)))
            if found.size == 0:  # a unit without spikes
                found = np.flatnonzero(np.isin(ids, stage.made_of.get(unit_id, [])))
            parents[unit_id] = [plain_id(ids[i]) for i in found]
        return parents


def _empty_analyzer(
    before: SortingAnalyzer, spikes: NDArray, unit_ids: NDArray, made_of: Mapping[Any, list[Any]]
) -> SortingAnalyzer:
    """Make the analyzer after a stage without extensions, as SpikeInterface makes it.

    A merged unit has the channels that all its parts have, where there are enough of them.
    """
    sorting = NumpySorting(spikes, before.sampling_frequency, unit_ids)
    copy_annotations(before.sorting, sorting)
    index_of = {plain_id(i): row for row, i in enumerate(before.unit_ids)}
    parents = [[index_of[i] for i in made_of.get(plain_id(u), [u])] for u in unit_ids]
    _inherit_properties(before, sorting, parents)
    sparsity = None
    if before.sparsity is not None:
        mask = np.stack([channels_of_merged(before.sparsity.mask[group]) for group in parents])
        sparsity = ChannelSparsity(mask, unit_ids, before.channel_ids)
    return make_memory_analyzer(
        sorting,
        recording_of(before),
        rec_attributes_of(before),
        sparsity,
        before.return_in_uV,
        before.get_main_channels()[[group[0] for group in parents]],
        before.peak_sign,
        before.peak_mode,
    )


# properties


def _inherit_properties(
    before: SortingAnalyzer, sorting: NumpySorting, parents: Sequence[Sequence[int]]
) -> None:
    """Set the values that all parents of a unit have, as SpikeInterface and phy do.

    Metrics of new units are computed from these; `_set_properties` has the last word.
    """
    first = np.array([group[0] for group in parents])
    for name in before.sorting.get_property_keys():
        values = before.sorting.get_property(name)
        if name not in _OF_THE_SESSION and values.ndim == 1:
            agree = [bool(np.all(values[group] == values[group[0]])) for group in parents]
            sorting.set_property(name, _with_missing(values, np.where(agree, first, -1)))


def _old_rows(analyzer: SortingAnalyzer, units: Units) -> NDArray[np.int64]:
    """Row of each unit in the old analyzer; -1 for new units."""
    position = {plain_id(unit_id): i for i, unit_id in enumerate(analyzer.unit_ids)}
    return np.array([position.get(unit_id, -1) for unit_id in units], dtype=np.int64)


def _set_properties(
    analyzer: SortingAnalyzer, sorting: BaseSorting, units: Units, fields: Sequence[str]
) -> None:
    """Keep the values of unchanged units; new units have only what the session knows of them."""
    rows = _old_rows(analyzer, units)
    for name in analyzer.sorting.get_property_keys():
        if name in _OF_THE_SESSION:
            continue
        values = analyzer.sorting.get_property(name)
        if name in ("phy_folder", OBSERVED_PROPERTY) and values.size:
            sorting.set_property(name, np.full(rows.size, values[0]))
        else:
            sorting.set_property(name, _with_missing(values, rows))
    if "original_cluster_id" in analyzer.sorting.get_property_keys():
        sorting.set_property("original_cluster_id", np.asarray(sorting.unit_ids))
    if "quality" in analyzer.sorting.get_property_keys() or any(
        unit.labels.get("group") for unit in units.values()
    ):
        groups = [str(unit.labels.get("group") or UNSORTED) for unit in units.values()]
        sorting.set_property("quality", np.array(groups, dtype="U32"))
    for field in fields:
        if field != "group":
            before = analyzer.sorting.get_property(field)
            is_column = before is not None and before.ndim == 1
            known = [_label_of(before[row]) if is_column and row >= 0 else None for row in rows]
            labels = [u.labels.get(field, k) for u, k in zip(units.values(), known, strict=True)]
            sorting.set_property(field, _label_column(labels))


def _with_missing(values: NDArray, rows: NDArray[np.int64]) -> NDArray:
    if rows.size and rows.min() >= 0:
        return values[rows]
    if values.dtype.kind in "iub":
        values = values.astype(np.float64)
    filler = {"f": np.nan, "c": np.nan, "U": "", "S": b""}.get(values.dtype.kind)
    out = np.full((rows.size, *values.shape[1:]), filler, dtype=values.dtype)
    out[rows >= 0] = values[rows[rows >= 0]]
    return out


def _label_of(value: Any) -> Any:
    """Return a property's value as a label: missing ones are None."""
    plain = plain_id(value)
    return None if plain == "" or plain != plain else plain


def _label_column(values: list[Any]) -> NDArray:
    present = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in present) or not present:
        texts = ["" if value is None else str(value) for value in values]
        return np.array(texts, dtype=f"U{max([32, *map(len, texts)])}")
    if len(present) == len(values):
        return np.array(values)
    return np.array([np.nan if value is None else float(value) for value in values])
