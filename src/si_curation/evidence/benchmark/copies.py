"""Copies of an analyzer in memory, with some units cut in two; the analyzer stays as it is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import NumpySorting, SortingAnalyzer

from si_curation._spikeinterface import (
    borrowed_data_of,
    copy_annotations,
    make_memory_analyzer,
    put_extension,
    rec_attributes_of,
    spike_vector_of,
)
from si_curation.checks import plain_id
from si_curation.curation.session import CurationSession
from si_curation.errors import MissingDataError
from si_curation.evidence.benchmark.parts import MIN_PART_SPIKES, WAYS
from si_curation.extensions.spikes_of_units import spikes_of_unit
from si_curation.extensions.template_assignment import ensure_template_assignment
from si_curation.extensions.unit_similarity import get_unit_similarity
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
    similarity = get_unit_similarity(copy)
    similarity = np.nan_to_num(np.fmax(similarity, similarity.T), nan=-1.0)
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity[units], axis=1, kind="stable")[:, :NUM_NEIGHBOURS]
    kept = np.union1d(units, nearest.ravel())
    ids = analyzer.unit_ids.tolist()
    others = [ids[i] for i in np.setdiff1d(np.arange(len(ids)), kept)]
    if not others:
        return copy
    session = CurationSession(copy, decided_by="benchmark")
    session.remove(others)
    return _applied(session)


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


def _applied(session: CurationSession) -> SortingAnalyzer:
    with warnings.catch_warnings():  # what cannot be carried over is missing evidence
        warnings.simplefilter("ignore")
        return session.apply()


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
    session = CurationSession(analyzer, decided_by="benchmark")
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
        parts = session.split(giver, is_second.astype(int))
        smaller = int(count < its.size - count)
        origins[parts[1 - smaller]] = giver
        origins[session.merge([receiver, parts[smaller]])] = receiver
        changes[giver] = changes[receiver] = way
    return ChangedCopy(_applied(session), origins, changes, missing)


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
    session = CurationSession(analyzer, decided_by="benchmark")
    origins: dict[Any, Any] = {}
    changes: dict[Any, str] = {}
    for one, other in pairs:
        receiver, giver = (plain_id(analyzer.unit_ids[i]) for i in (one, other))
        size = spikes_of_unit(analyzer, giver).size
        count = round(share * spikes_of_unit(analyzer, receiver).size)
        if not 0 < count <= size // 2:
            continue
        is_given = np.zeros(size, dtype=int)
        is_given[rng.permutation(size)[:count]] = 1
        _, given = session.split(giver, is_given)
        origins[session.merge([receiver, given])] = receiver
        changes[giver] = changes[receiver] = change
    return ChangedCopy(_applied(session), origins, changes)


# of the spikes of a unit so many are found twice, at one lag and with little jitter (samples)
_LEAST_REPEATED, _MOST_LAG, _MOST_JITTER = 0.6, 3, 2


def repeat_units(
    analyzer: SortingAnalyzer, units: NDArray[np.integer], rng: np.random.Generator
) -> ChangedCopy:
    """Return a copy, without extensions, with a further unit that has most spikes of each unit.

    ``origins`` are of the further units, whose ids are numbers, or texts where ids are texts.
    """
    spikes = spike_vector_of(analyzer.sorting)
    num_units = len(analyzer.unit_ids)
    parts = [np.asarray(spikes)]
    for k, unit in enumerate(units):
        own = spikes[spikes_of_unit(analyzer, analyzer.unit_ids[unit])]
        share = rng.uniform(_LEAST_REPEATED, 1.0)
        again = own[rng.uniform(size=own.size) < share].copy()
        lag = rng.integers(-_MOST_LAG, _MOST_LAG + 1)
        jitter = rng.integers(-_MOST_JITTER, _MOST_JITTER + 1, again.size)
        again["sample_index"] = np.maximum(again["sample_index"] + lag + jitter, 0)
        again["unit_index"] = num_units + k
        parts.append(again)
    together = np.concatenate(parts)
    order = np.lexsort((together["sample_index"], together["segment_index"]))
    ids = [plain_id(i) for i in analyzer.unit_ids]
    is_text = any(isinstance(i, str) for i in ids)
    first = 0 if is_text else max(ids, default=0) + 1
    new = [f"repeated {k}" if is_text else first + k for k in range(len(units))]
    channels = analyzer.get_main_channels()
    copy = make_memory_analyzer(
        NumpySorting(together[order], analyzer.sampling_frequency, np.array([*ids, *new])),
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


def merge_units(analyzer: SortingAnalyzer, pairs: Sequence[tuple[int, int]]) -> ChangedCopy:
    """Return a copy in which pairs of units are merged; no unit is in two pairs."""
    session = CurationSession(analyzer, decided_by="benchmark")
    origins: dict[Any, Any] = {}
    changes: dict[Any, str] = {}
    for pair in pairs:
        ids = [plain_id(analyzer.unit_ids[i]) for i in pair]
        origins[session.merge(ids)] = ids[0]
        changes.update(dict.fromkeys(ids, "merged"))
    return ChangedCopy(_applied(session), origins, changes)


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
    session = CurationSession(analyzer, decided_by="benchmark")
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
        origins.update(dict.fromkeys(session.split(unit_id, is_second.astype(int)), unit_id))
        changes[unit_id] = way
    return ChangedCopy(_applied(session), origins, changes, missing)
