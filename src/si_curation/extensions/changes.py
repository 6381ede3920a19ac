"""What happens to an extension when the units of an analyzer change: written once, for every road.

SpikeInterface's ``merge_units``, ``split_units``, ``select_units`` and ``remove_units`` call four
different methods of an extension, and `CurationSession.apply` makes any mixture of these changes at
once. All of them are one thing, a `UnitChange`: which units of before each unit of after has its
spikes from. So is a part of the time (`split_by_session`): every unit is then a part of the one
with the same id. An extension says in one method, `UnitsExtension.data_after`, what that does to
its data.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer
from spikeinterface.core.core_tools import slice_rows
from spikeinterface.core.sortinganalyzer import AnalyzerExtension

from si_curation._spikeinterface import (
    KeptOnFailure,
    copied,
    copy_extension,
    keep_annotations,
    spike_vector_of,
)
from si_curation.checks import Checks, unit_indices_of
from si_curation.kernels.spike_vector import Empty, count_units, take_rows
from si_curation.shown import count_text, short_params
from si_curation.variables import UnitIndices


@dataclass(frozen=True, eq=False)
class UnitChange:
    """How the units of one analyzer became those of another.

    Attributes
    ----------
    before, after : SortingAnalyzer
        The spikes of `after` are those of `before`, or some of them, in the same order.
    parents : list of array of int64
        For each unit after: indices of the units before that its spikes are from, ascending. A unit
        without spikes has the units that it was made of.
    is_new : array (n_units after,) bool
        Whether the unit is made by a merge or a split. Other units have one parent, which has the
        same id and the same spikes. All units are new in a part of the time.
    kept : array (n_spikes after,) integer, or None
        Positions in the spike vector of `before`; None: all spikes.
    left_out : frozenset of str
        Extensions of `before` that are not kept.
    shares : bool
        Whether what is held of each spike may be shared by both analyzers, where all spikes are
        kept: two copies of it would be most of the memory that a large analyzer takes.
    span : (int, int) or None
        The part of the time of `before` that `after` is: its first sample and the one after the
        last, segments end to end. None: all of it.
    empty : callable
        Makes the arrays for what is held of each spike that is kept.
    """

    before: SortingAnalyzer
    after: SortingAnalyzer
    parents: Sequence[UnitIndices]
    is_new: NDArray[np.bool_]
    kept: NDArray[np.integer] | None
    left_out: frozenset[str] = frozenset()
    shares: bool = False
    span: tuple[int, int] | None = None
    empty: Empty = np.empty

    @cached_property
    def new_unit_ids(self) -> NDArray:
        """Ids of the new units, in the order of the analyzer."""
        return self.after.unit_ids[self.is_new]

    @cached_property
    def same_after(self) -> UnitIndices:
        """Indices, after, of the units that are as they were."""
        return UnitIndices(np.flatnonzero(~self.is_new))

    @cached_property
    def same_before(self) -> UnitIndices:
        """Indices, before, of the same units in the same order."""
        same = [self.parents[int(i)][0] for i in self.same_after]
        return UnitIndices(np.array(same, dtype=np.int64))

    @cached_property
    def replaced(self) -> UnitIndices:
        """Indices, before, of the units that new units have spikes from."""
        parts = [self.parents[int(i)] for i in np.flatnonzero(self.is_new)]
        return UnitIndices(np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *parts])))

    @cached_property
    def is_whole(self) -> NDArray[np.bool_]:
        """Whether each unit after has all spikes of all its parents, so that counts add up."""
        sizes = [_num_spikes(analyzer) for analyzer in (self.before, self.after)]
        of_parents = [int(sizes[0][group].sum()) for group in self.parents]
        return np.array(of_parents, dtype=np.int64) == sizes[1]

    def units_after_of(self, spikes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the index, after, of the unit of some spikes of before; -1 where not kept.

        Parameters
        ----------
        spikes : array (n,) integer
            Positions in the spike vector of `before`.
        """
        unit_index = spike_vector_of(self.after.sorting)["unit_index"]
        if self.kept is None:
            return unit_index[spikes]
        out = np.full(len(spikes), -1, dtype=np.int64)
        place = np.searchsorted(self.kept, spikes)
        found = place < self.kept.size
        found[found] = self.kept[place[found]] == spikes[found]
        out[found] = unit_index[place[found]]
        return out

    def rows_after(self, values: Any) -> NDArray:
        """Return the rows of an array (n_spikes before, ...) whose spikes are kept.

        Where it may be shared, the array itself, which cannot be written to through the new
        analyzer. An array in memory, not the map of a file, which SpikeInterface closes with its
        analyzer.
        """
        if self.kept is not None:
            if isinstance(values, np.ndarray):
                return take_rows(values, self.kept, empty=self.empty)
            return slice_rows(values, self.kept)
        if not (self.shares and is_in_memory(values)):
            return copied(values, self.empty)
        shared = values.view()
        shared.flags.writeable = False
        return shared


def is_in_memory(values: Any) -> bool:
    """Return whether values are an array in memory, and no map of a file or part of one."""
    while isinstance(values, np.ndarray):
        if isinstance(values, np.memmap):
            return False
        if values.base is None or isinstance(values.base, mmap.mmap):  # of `scratch_array`
            return True
        values = values.base
    return False


def _num_spikes(analyzer: SortingAnalyzer) -> NDArray[np.int64]:
    unit_index = spike_vector_of(analyzer.sorting)["unit_index"]
    return count_units(unit_index, len(analyzer.unit_ids))


def change_of_units(
    before: SortingAnalyzer,
    after: SortingAnalyzer,
    made_of: Mapping[Any, Iterable[Any]],
    kept: NDArray[np.integer] | None,
    left_out: Iterable[str] = (),
) -> UnitChange:
    """Return the change that makes new units of old ones and leaves out units that are not after.

    Parameters
    ----------
    before, after : SortingAnalyzer
    made_of : mapping
        {id of a new unit: ids of the units that it has spikes of}.
    kept, left_out
        As of `UnitChange`.
    """
    index_of = {unit_id: i for i, unit_id in enumerate(before.unit_ids.tolist())}
    made_of = {_plain(new): list(its) for new, its in made_of.items()}
    ids = after.unit_ids.tolist()
    parents = [
        UnitIndices(np.sort([index_of[_plain(old)] for old in made_of.get(unit_id, [unit_id])]))
        for unit_id in ids
    ]
    is_new = np.array([unit_id in made_of for unit_id in ids], dtype=bool)
    return UnitChange(before, after, parents, is_new, kept, frozenset(left_out))


def change_of_time(
    before: SortingAnalyzer,
    after: SortingAnalyzer,
    kept: NDArray[np.int64],
    span: tuple[int, int],
) -> UnitChange:
    """Return the change that takes a part of the time: units with the same ids and fewer spikes.

    Parameters
    ----------
    before, after : SortingAnalyzer
        Units of `before` that are not in `after` are left out.
    kept, span
        As of `UnitChange`.
    """
    made_of = {unit_id: [unit_id] for unit_id in after.unit_ids.tolist()}
    change = change_of_units(before, after, made_of, kept)
    return replace(change, span=span)


def _plain(unit_id: Any) -> Any:
    return unit_id.item() if isinstance(unit_id, np.generic) else unit_id


class UnitsExtension(KeptOnFailure):
    """Base class of the extensions of this package.

    A subclass implements `data_after`. SpikeInterface's methods for merges, splits and selections
    are made from it here, and in no other place.

    What ``get_data(outputs=...)`` takes follows one rule (docs/spikeinterface.md): data of units
    and pairs of units have "dataframe", with ids; arrays are "numpy"; data of single spikes are
    "numpy" and "by_unit", as SpikeInterface's. The default is the first of `outputs`.

    Attributes
    ----------
    outputs : tuple of str
        The forms in which `get_data` returns the data.
    """

    outputs: ClassVar[tuple[str, ...]] = ()

    def check_outputs(self, outputs: Any) -> None:
        """Raise `ParameterError` unless the data come in this form."""
        checks = Checks()
        checks.choice("outputs", outputs, self.outputs)
        checks.finish()

    def __repr__(self) -> str:
        units = count_text(len(self.sorting_analyzer.unit_ids), "unit")
        return f"{type(self).__name__} of {units} ({short_params(self.params or {})})"

    def data_after(self, change: UnitChange) -> dict[str, Any]:
        """Return the data of this extension for the analyzer after a change.

        Parameters
        ----------
        change : UnitChange
            ``change.before`` is the analyzer of this extension. Extensions that this one depends
            on, also optionally, are in ``change.after`` already.

        Returns
        -------
        dict
            Shares no array with the data of before but what `UnitChange.rows_after` gives.
        """
        raise NotImplementedError

    def params_after(self, change: UnitChange) -> dict[str, Any]:
        """Return the parameters of this extension for the analyzer after a change."""
        return dict(self.params)

    def spike_data_after(self, change: UnitChange) -> dict[str, NDArray]:
        """Return what is held per spike (``nodepipeline_variables``) after a change."""
        names = [name for name in self.nodepipeline_variables if self.data.get(name) is not None]
        return {name: change.rows_after(self.data[name]) for name in names}

    def copy(
        self,
        new_sorting_analyzer: SortingAnalyzer,
        unit_ids: Sequence[Any] | None = None,
        channel_ids: Sequence[Any] | None = None,
    ) -> AnalyzerExtension:
        """Copy the extension to another analyzer, of all units, some units or some channels.

        SpikeInterface's, whose hook for a selection of units does not know the new analyzer.
        """
        if unit_ids is None:
            return super().copy(new_sorting_analyzer, unit_ids, channel_ids)
        before = self.sorting_analyzer
        keep_annotations(before, new_sorting_analyzer)
        keep = np.isin(
            spike_vector_of(before.sorting)["unit_index"],
            unit_indices_of(before, unit_ids, may_repeat=True),
        )
        kept = None if keep.all() else np.flatnonzero(keep)
        change = change_of_units(before, new_sorting_analyzer, {}, kept)
        return copy_extension(self, new_sorting_analyzer, self.data_after(change))

    def _merge_extension_data(
        self,
        merge_unit_groups: Sequence[Sequence[Any]],
        new_unit_ids: Sequence[Any],
        new_sorting_analyzer: SortingAnalyzer,
        keep_mask: NDArray[np.bool_] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        kept = None if keep_mask is None or np.all(keep_mask) else np.flatnonzero(keep_mask)
        made_of = dict(zip(new_unit_ids, merge_unit_groups, strict=True))
        keep_annotations(self.sorting_analyzer, new_sorting_analyzer)
        return self.data_after(
            change_of_units(self.sorting_analyzer, new_sorting_analyzer, made_of, kept)
        )

    def _split_extension_data(
        self,
        split_units: Iterable[Any],
        new_unit_ids: Sequence[Sequence[Any]],
        new_sorting_analyzer: SortingAnalyzer,
        **kwargs: Any,
    ) -> dict[str, Any]:
        pairs = zip(split_units, new_unit_ids, strict=True)
        made_of = {new: [old] for old, parts in pairs for new in parts}
        keep_annotations(self.sorting_analyzer, new_sorting_analyzer)
        return self.data_after(
            change_of_units(self.sorting_analyzer, new_sorting_analyzer, made_of, None)
        )
