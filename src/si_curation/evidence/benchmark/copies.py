"""Copies of an analyzer in memory, with some units cut in two; the analyzer stays as it is."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from sys import getrefcount
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import NumpySorting, SortingAnalyzer

from si_curation._spikeinterface import (
    as_array,
    borrowed_data_of,
    copy_annotations,
    make_memory_analyzer,
    put_extension,
    rec_attributes_of,
    spike_vector_of,
)
from si_curation.checks import plain_id
from si_curation.curation.apply import apply_units
from si_curation.curation.units import IdSource, Unit
from si_curation.errors import FolderNotFoundError, MissingDataError, PhyFolderError
from si_curation.evidence.benchmark.parts import MIN_PART_SPIKES, WAYS
from si_curation.extensions.changes import UnitChange, change_of_units
from si_curation.extensions.spikes_of_units import (
    keep_spikes_of_units,
    spikes_of_unit,
    spikes_of_units,
)
from si_curation.extensions.template_assignment import ensure_template_assignment
from si_curation.extensions.unit_similarity import get_unit_similarity
from si_curation.extensions.units_from_templates import LOCATION_PARAMS, what_follows
from si_curation.kernels.parallel import blocks
from si_curation.kernels.spike_vector import insert_spikes, look_up, with_other_units
from si_curation.reading.observed import OBSERVED_PROPERTY
from si_curation.spikes.features import feature_source
from si_curation.variables import UnitIndices

#: What the suggestions use; everything else would only be carried over.
USED = (
    "random_spikes",
    "templates",
    "template_assignment",
    "unit_locations",
    "spike_amplitudes",
    "spike_locations",
    "principal_components",
    "unit_similarity",
)
#: What of these is of single spikes, whatever their units are.
_OF_SPIKES = ("spike_amplitudes", "spike_locations")
#: Neighbours of each unit that are kept beside it: the most similar ones.
NUM_NEIGHBOURS = 3


@dataclass(frozen=True)
class ChangedCopy:
    """An analyzer some units of which were changed.

    Attributes
    ----------
    analyzer : SortingAnalyzer
    origins : dict
        {id of a new unit: id of the unit that it is a part of}.
    changes : dict
        {id of a unit that was changed: name of the change}.
    missing : dict
        {name of a change: why it could not be made}.
    """

    analyzer: SortingAnalyzer
    origins: dict[Any, Any]
    changes: dict[Any, str]
    missing: dict[str, str] = field(default_factory=dict)


def neighbourhood(analyzer: SortingAnalyzer, units: UnitIndices) -> SortingAnalyzer:
    """Return a copy of some units and their most similar ones, with what suggestions use.

    Data of single spikes are shared with the analyzer where all units are kept.
    """
    copy = _lean_copy(analyzer)
    if copy.get_extension("unit_similarity") is None:
        copy.compute("unit_similarity")  # once for all copies of it
    similarity = get_unit_similarity(copy)
    similarity = np.nan_to_num(np.fmax(similarity, similarity.T), nan=-1.0)
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity[units], axis=1, kind="stable")[:, :NUM_NEIGHBOURS]
    kept = np.union1d(units, nearest.ravel())
    ids = analyzer.unit_ids.tolist()
    others = [ids[i] for i in np.setdiff1d(np.arange(len(ids)), kept)]
    steps = _Changes(copy)
    steps.remove(others)
    return steps.apply()


def _lean_copy(analyzer: SortingAnalyzer) -> SortingAnalyzer:
    """Return an analyzer in memory of the same spikes, without what suggestions do not use."""
    sorting = NumpySorting(
        spike_vector_of(analyzer.sorting), analyzer.sampling_frequency, analyzer.unit_ids
    )
    copy_annotations(analyzer.sorting, sorting)
    for name in analyzer.sorting.get_property_keys():
        sorting.set_property(name, analyzer.sorting.get_property(name))
    copy = make_memory_analyzer(
        sorting,
        None,
        rec_attributes_of(analyzer),
        analyzer.sparsity,
        analyzer.return_in_uV,
        analyzer.get_main_channels(),
        analyzer.peak_sign,
        analyzer.peak_mode,
    )
    for name in USED:
        extension = analyzer.get_extension(name)
        if extension is not None:
            put_extension(copy, extension, borrowed_data_of(extension))
    ensure_template_assignment(copy)
    return copy


class _Changes:
    """Merges, splits and removals of units that are made at once on a copy of an analyzer.

    As `CurationSession` makes them, without what a history needs.
    """

    def __init__(self, analyzer: SortingAnalyzer) -> None:
        self._analyzer = analyzer
        self._ids = IdSource([plain_id(i) for i in analyzer.unit_ids])
        nothing = np.zeros(0, dtype=np.int64)
        unchanged = Unit(nothing, nothing, nothing, {})
        self._units = {plain_id(i): unchanged for i in analyzer.unit_ids}
        self._steps: list[tuple[dict[Any, Unit], dict[Any, Unit]]] = []
        self._made_of: dict[Any, list[Any]] = {}  # {new unit: units of the analyzer}

    def spikes_of(self, unit_id: Any) -> NDArray[np.integer]:
        """Return the spikes of a unit now, ascending positions in those of the analyzer."""
        spikes = self._units[unit_id].spikes
        return spikes if spikes.size else spikes_of_unit(self._analyzer, unit_id)

    def split(self, unit_id: Any, is_second: NDArray[np.bool_]) -> list[Any]:
        """Split a unit in two; return the ids of the parts."""
        spikes = self.spikes_of(unit_id)
        return self._do([unit_id], [spikes[~is_second], spikes[is_second]])

    def merge(self, unit_ids: list[Any]) -> Any:
        """Merge units; return the id of the new one."""
        spikes = np.concatenate([self.spikes_of(i) for i in unit_ids])
        return self._do(unit_ids, [np.sort(spikes, kind="stable")])[0]

    def remove(self, unit_ids: list[Any]) -> None:
        """Remove units."""
        if unit_ids:
            self._do(unit_ids, [])

    def _do(self, unit_ids: list[Any], spikes: list[NDArray[np.integer]]) -> list[Any]:
        nothing = np.zeros(0, dtype=np.int64)
        new = self._ids.take(len(spikes))
        after = {i: Unit(own, nothing, nothing, {}) for i, own in zip(new, spikes, strict=True)}
        self._steps.append(({i: self._units.pop(i) for i in unit_ids}, after))
        self._units |= after
        made_of = [old for i in unit_ids for old in self._made_of.get(i, [i])]
        self._made_of |= {key: list(dict.fromkeys(made_of)) for key in new}
        return new

    def apply(self) -> SortingAnalyzer:
        """Return the copy, or the analyzer itself where nothing is changed."""
        if not self._steps:
            return self._analyzer
        old = [plain_id(i) for i in self._analyzer.unit_ids]
        key = None if self._ids.are_integers else self._ids.order
        ids = dict.fromkeys([i for i in old if i in self._units] + sorted(self._units, key=key))
        units = {unit_id: self._units[unit_id] for unit_id in ids}
        if _follows_from_spikes(self._analyzer):
            made_of = {i: old for i, old in self._made_of.items() if i in units}
            return _regrouped(self._analyzer, units, made_of)
        with warnings.catch_warnings():  # what cannot be carried over is missing evidence
            warnings.simplefilter("ignore")
            return apply_units(self._analyzer, self._steps, units, [], "memory", None)


def _follows_from_spikes(analyzer: SortingAnalyzer) -> bool:
    """Return whether all that suggestions use of a unit follows from its spikes' templates."""
    assignment = analyzer.get_extension("template_assignment")
    if not what_follows(analyzer, assignment).templates:
        return False
    places = analyzer.get_extension("unit_locations")
    if places is not None and places.params != LOCATION_PARAMS:
        return False
    try:
        source = feature_source(analyzer)
    except (MissingDataError, FolderNotFoundError, PhyFolderError):
        return True
    return source.extension is None  # else they are on the channels of units


class _SpikeVectors:
    """Makes spike vectors of copies of an analyzer: the first one again when no copy has it."""

    def __init__(self, spikes: NDArray[np.void]) -> None:
        self._spikes = spikes
        self._first: list[NDArray[np.void]] = []
        self._nobodys = [object()]
        self._lock = Lock()

    def with_units(
        self, unit_index: NDArray[np.int32], kept: NDArray[np.integer] | None
    ) -> NDArray[np.void]:
        """Return the same spikes, or some of them, of other units."""
        if kept is not None:
            return with_other_units(self._spikes, unit_index, kept)
        with self._lock:
            # nothing but the list has it, nor a view of it
            is_free = self._first and getrefcount(self._first[0]) == getrefcount(self._nobodys[0])
            free = self._first[0][:] if is_free else None
        if free is None:
            made = with_other_units(self._spikes, unit_index, None)
            self._first = self._first or [made]
            return made[:]
        for piece in blocks(free.size):
            free["unit_index"][piece] = unit_index[piece]
        return free


_vectors: WeakKeyDictionary[Any, _SpikeVectors] = WeakKeyDictionary()


def _vectors_of(analyzer: SortingAnalyzer) -> _SpikeVectors:
    if analyzer not in _vectors:
        _vectors[analyzer] = _SpikeVectors(spike_vector_of(analyzer.sorting))
    return _vectors[analyzer]


def _regrouped(
    analyzer: SortingAnalyzer, units: Mapping[Any, Unit], made_of: Mapping[Any, list[Any]]
) -> SortingAnalyzer:
    """Return an analyzer of units of which all follows from the templates of their spikes."""
    ids = list(units)
    index_before = {plain_id(i): row for row, i in enumerate(analyzer.unit_ids)}
    place = np.full(len(index_before), -1, dtype=np.int32)
    for index, unit_id in enumerate(ids):
        if unit_id in index_before:
            place[index_before[unit_id]] = index
    unit_index = look_up(place, spike_vector_of(analyzer.sorting)["unit_index"])
    for index, unit_id in enumerate(ids):
        if unit_id in made_of:
            unit_index[units[unit_id].spikes] = index
    kept = None if unit_index.min(initial=0) >= 0 else np.flatnonzero(unit_index >= 0)
    spikes = _vectors_of(analyzer).with_units(unit_index, kept)
    sorting = NumpySorting(spikes, analyzer.sampling_frequency, np.array(ids))
    copy_annotations(analyzer.sorting, sorting)
    for name in ("phy_folder", OBSERVED_PROPERTY):
        values = analyzer.sorting.get_property(name)
        if values is not None and values.size:
            sorting.set_property(name, np.full(len(ids), values[0]))
    first = [index_before[made_of.get(unit_id, [unit_id])[0]] for unit_id in ids]
    copy = make_memory_analyzer(
        sorting,
        None,
        rec_attributes_of(analyzer),
        None,
        analyzer.return_in_uV,
        analyzer.get_main_channels()[first],
    )
    change = change_of_units(analyzer, copy, made_of, kept)
    _carry_spikes_over(dataclasses.replace(change, shares=True))
    if kept is None:
        before = spikes_of_units(analyzer)
        dtype = before[0].dtype
        own = (
            units[i].spikes.astype(dtype) if i in made_of else before[index_before[i]] for i in ids
        )
        keep_spikes_of_units(copy, list(own))
    return copy


def _carry_spikes_over(change: UnitChange) -> None:
    """Add what the analyzer before holds of spikes and templates; the rest follows from it."""
    for name in (*_OF_SPIKES, "template_assignment"):
        extension = change.before.get_extension(name)
        if extension is not None:
            per_spike = extension.nodepipeline_variables
            data = {
                key: change.rows_after(value) if key in per_spike else value
                for key, value in borrowed_data_of(extension).items()
                if value is not None
            }
            put_extension(change.after, extension, data)
    assignment = change.before.get_extension("template_assignment")
    change.after.get_extension("template_assignment").use_files_of(assignment)
    similarity = change.before.get_extension("unit_similarity")
    if similarity is not None:
        put_extension(change.after, similarity, similarity.data_after(change))
    places = change.before.get_extension("unit_locations")
    if places is not None and not change.is_new.any():
        kept = as_array(places.get_data())[change.same_before]
        put_extension(change.after, places, {"unit_locations": kept})


def mix_units(
    analyzer: SortingAnalyzer,
    pairs: Sequence[tuple[int, int]],
    ways: Sequence[str],
    rng: np.random.Generator,
) -> ChangedCopy:
    """Return a copy in which a unit has got the smaller part of a neighbour.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        With the extension "template_assignment".
    pairs : sequence of (int, int)
        Indices of the unit and of its neighbour; no unit is in two pairs.
    ways : sequence of str
        Name of the way to cut each neighbour.
    rng : numpy.random.Generator

    Returns
    -------
    ChangedCopy
        ``origins`` tells which unit most spikes of a new one are of.
    """
    steps = _Changes(analyzer)
    origins: dict[Any, Any] = {}
    changes: dict[Any, str] = {}
    missing: dict[str, str] = {}
    for (one, other), way in zip(pairs, ways, strict=True):
        receiver, giver = (plain_id(analyzer.unit_ids[i]) for i in (one, other))
        its = spikes_of_unit(analyzer, giver)
        try:
            is_second = WAYS[way](analyzer, int(other), its, rng)
        except MissingDataError as fault:
            missing[way] = str(fault)
            continue
        count = np.count_nonzero(is_second)
        least, received = min(count, its.size - count), spikes_of_unit(analyzer, receiver).size
        if not MIN_PART_SPIKES <= least < received:
            continue
        parts = steps.split(giver, is_second)
        smaller = int(count < its.size - count)
        origins[parts[1 - smaller]] = giver
        origins[steps.merge([receiver, parts[smaller]])] = receiver
        changes[giver] = changes[receiver] = way
    return ChangedCopy(steps.apply(), origins, changes, missing)


def add_foreign_spikes(
    analyzer: SortingAnalyzer,
    pairs: Sequence[tuple[int, int]],
    share: float,
    change: str,
    rng: np.random.Generator,
) -> ChangedCopy:
    """Return a copy in which a unit has got some spikes of a neighbour, drawn at random.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    pairs : sequence of (int, int)
        Indices of the unit and of its neighbour; no unit is in two pairs.
    share : float
        Number of spikes that are added, as a share of the unit's own.
    change : str
        Name of the change.
    rng : numpy.random.Generator

    Returns
    -------
    ChangedCopy
        ``origins`` are of the units that got spikes.
    """
    steps = _Changes(analyzer)
    origins: dict[Any, Any] = {}
    changes: dict[Any, str] = {}
    for one, other in pairs:
        receiver, giver = (plain_id(analyzer.unit_ids[i]) for i in (one, other))
        size = spikes_of_unit(analyzer, giver).size
        count = round(share * spikes_of_unit(analyzer, receiver).size)
        if not 0 < count <= size // 2:
            continue
        is_given = np.zeros(size, dtype=bool)
        is_given[rng.permutation(size)[:count]] = True
        _, given = steps.split(giver, is_given)
        origins[steps.merge([receiver, given])] = receiver
        changes[giver] = changes[receiver] = change
    return ChangedCopy(steps.apply(), origins, changes)


# of the spikes of a unit so many are found twice, at one lag and with little jitter (samples)
_LEAST_REPEATED, _MOST_LAG, _MOST_JITTER = 0.6, 3, 2


def repeat_units(
    analyzer: SortingAnalyzer, units: NDArray[np.integer], rng: np.random.Generator
) -> ChangedCopy:
    """Return a copy, without extensions, with a further unit that has most spikes of each unit.

    ``origins`` are of the further units, whose ids are numbers, or texts where ids are texts.
    """
    spikes = np.asarray(spike_vector_of(analyzer.sorting))
    num_units, of_units = len(analyzer.unit_ids), spikes_of_units(analyzer)
    samples, segments, parts = spikes["sample_index"], spikes["segment_index"], [spikes[:0]]
    for k, unit in enumerate(units):
        own = of_units[unit]
        share = rng.uniform(_LEAST_REPEATED, 1.0)
        own = own[rng.uniform(size=own.size) < share]
        lag = rng.integers(-_MOST_LAG, _MOST_LAG + 1)
        jitter = rng.integers(-_MOST_JITTER, _MOST_JITTER + 1, own.size)
        again = np.empty(own.size, dtype=spikes.dtype)
        again["sample_index"] = np.maximum(samples[own] + lag + jitter, 0)
        again["unit_index"] = num_units + k
        again["segment_index"] = segments[own]
        parts.append(again)
    ids = [plain_id(i) for i in analyzer.unit_ids]
    is_text = any(isinstance(i, str) for i in ids)
    first = 0 if is_text else max(ids, default=0) + 1
    new = [f"repeated {k}" if is_text else first + k for k in range(len(units))]
    channels = analyzer.get_main_channels()
    copy = make_memory_analyzer(
        NumpySorting(_in_order(spikes, parts), analyzer.sampling_frequency, np.array([*ids, *new])),
        None,
        rec_attributes_of(analyzer),
        None,
        analyzer.return_in_uV,
        np.concatenate([channels, channels[units]]),
        analyzer.peak_sign,
        analyzer.peak_mode,
    )
    origins = dict(zip(new, (ids[unit] for unit in units), strict=True))
    return ChangedCopy(copy, origins, dict.fromkeys(origins.values(), "repeated"))


def _in_order(spikes: NDArray[np.void], parts: Sequence[NDArray[np.void]]) -> NDArray[np.void]:
    """Return spikes in order of time with further ones; of the same sample those come last."""
    further = np.concatenate(parts)
    # stable sorts are quick where each part is nearly in order
    order = np.argsort(further["sample_index"], kind="stable")
    if further["segment_index"].any():
        order = order[np.argsort(further["segment_index"][order], kind="stable")]
    further = further[order]
    return insert_spikes(spikes, further)


def merge_units(analyzer: SortingAnalyzer, pairs: Sequence[tuple[int, int]]) -> ChangedCopy:
    """Return a copy in which pairs of units are merged; no unit is in two pairs."""
    steps = _Changes(analyzer)
    origins: dict[Any, Any] = {}
    changes: dict[Any, str] = {}
    for pair in pairs:
        ids = [plain_id(analyzer.unit_ids[i]) for i in pair]
        origins[steps.merge(ids)] = ids[0]
        changes.update(dict.fromkeys(ids, "merged"))
    return ChangedCopy(steps.apply(), origins, changes)


def cut_units(
    analyzer: SortingAnalyzer,
    units: Sequence[int] | NDArray[np.integer],
    ways: Sequence[str],
    rng: np.random.Generator,
) -> ChangedCopy:
    """Return a copy in which units are cut in two.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        With the extension "template_assignment".
    units : sequence of int
        Indices.
    ways : sequence of str
        Name of the way to cut each of them.
    rng : numpy.random.Generator
    """
    steps = _Changes(analyzer)
    origins: dict[Any, Any] = {}
    changes: dict[Any, str] = {}
    missing: dict[str, str] = {}
    for unit, way in zip(units, ways, strict=True):
        its = spikes_of_unit(analyzer, analyzer.unit_ids[unit])
        try:
            is_second = WAYS[way](analyzer, int(unit), its, rng)
        except MissingDataError as fault:
            missing[way] = str(fault)
            continue
        count = np.count_nonzero(is_second)
        if min(count, is_second.size - count) < MIN_PART_SPIKES:
            continue
        unit_id = plain_id(analyzer.unit_ids[unit])
        origins.update(dict.fromkeys(steps.split(unit_id, is_second), unit_id))
        changes[unit_id] = way
    return ChangedCopy(steps.apply(), origins, changes, missing)
