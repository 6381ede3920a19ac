"""The same spikes in several curations: found in each, or one error that says what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.agreement.sources import Source
from si_curation.errors import ParameterError
from si_curation.kernels.common_refinement import common_refinement
from si_curation.kernels.spike_matching import match_by_cluster, match_by_sample

_ADVICE = "compare curations of one sorting; replay_curation carries a curation over to another one"


class Place(NamedTuple):
    """Where the spikes of a curation are among those of the reference.

    Attributes
    ----------
    rows : array (n_spikes,) integer or None
        Position of each spike in the reference; None: the same positions.
    num_guessed : int
        Spikes that could be more than one, at the same sample, and were taken in their order.
    """

    rows: NDArray[np.integer] | None
    num_guessed: int


def reference_of(sources: Sequence[Source]) -> Source:
    """Return the first curation of those with most spikes."""
    return max(sources, key=lambda one: one.samples.size)


def place_spikes(source: Source, reference: Source) -> Place:
    """Return where the spikes of a curation are among those of another one.

    By their rows in the files, where both are from a folder; else by sample and template; else by
    sample and the units that the spikes of each unit have elsewhere.

    Raises
    ------
    ParameterError
        The sampling frequencies differ, or spikes are not those of the reference.
    """
    if source is reference:
        return Place(None, 0)
    if not np.isclose(source.sampling_frequency, reference.sampling_frequency, rtol=1e-6, atol=0):
        raise ParameterError(
            f"{source.called} has {source.sampling_frequency:g} Hz, {reference.called} "
            f"{reference.sampling_frequency:g} Hz; expected one sampling frequency: {_ADVICE}"
        )
    if _have_equal_order(source, reference):
        return Place(None, 0)
    by_row = _by_row(source, reference)
    return Place(*_by_sample(source, reference)) if by_row is None else Place(by_row, 0)


def _have_equal_order(source: Source, reference: Source) -> bool:
    """Return whether the spikes are the same, one by one."""
    if not np.array_equal(source.samples, reference.samples):
        return False
    if source.samples is reference.samples:
        return True
    for own, other in ((source.rows, reference.rows), (source.templates, reference.templates)):
        if own is not None and other is not None:
            return np.array_equal(own, other)
    return not np.any(np.diff(source.samples) == 0)  # else those of one sample may be swapped


def _by_row(source: Source, reference: Source) -> NDArray[np.int64] | None:
    """Return the place of each spike by its row of the files; None where the files differ."""
    if source.rows is None or reference.rows is None:
        return None
    size = 1 + int(max(source.rows.max(initial=-1), reference.rows.max(initial=-1)))
    place = np.full(size, -1, dtype=np.int64)
    place[reference.rows] = np.arange(reference.rows.size)
    found = place[source.rows]
    if found.size and found.min() < 0:
        return None
    if not np.array_equal(reference.samples[found], source.samples):
        return None
    if source.templates is None or reference.templates is None:
        return found
    return found if np.array_equal(reference.templates[found], source.templates) else None


def _by_sample(source: Source, reference: Source) -> tuple[NDArray[np.integer], int]:
    templates: NDArray[np.integer] = np.zeros(reference.samples.size, dtype=np.int64)
    if reference.templates is not None:
        templates = reference.templates
    units = reference.unit_index.astype(np.int64) + 1
    samples = reference.samples
    rows: NDArray[np.integer] = np.full(source.samples.size, -1, dtype=np.int64)
    if source.templates is not None and reference.templates is not None:
        same = np.arange(1 + int(source.templates.max(initial=-1)), dtype=np.int64)
        rows = match_by_cluster(source.samples, source.templates, same, samples, templates)
        if np.any(rows < 0):  # numbered otherwise: then nothing of it counts
            rows = np.full(source.samples.size, -1, dtype=np.int64)
    left = match_by_sample(
        rows, source.samples, source.unit_index.astype(np.int64) + 1, samples, units, templates
    )
    if left.missing:
        raise ParameterError(_of_others(source, reference, left.missing))
    if left.ambiguous:
        _take_in_order(rows, source.samples, samples)
    return rows, left.ambiguous


def _take_in_order(
    rows: NDArray[np.integer], samples: NDArray[np.int64], its_samples: NDArray[np.int64]
) -> None:
    """Take for spikes that are left the free places at their sample, in the order of both."""
    is_free = np.ones(its_samples.size, dtype=bool)
    is_free[rows[rows >= 0]] = False
    free, left = np.flatnonzero(is_free), np.flatnonzero(rows < 0)
    wanted = samples[left]
    first = np.searchsorted(its_samples[free], wanted, side="left")
    # the how manieth of its sample each is
    turn = np.arange(wanted.size) - np.searchsorted(wanted, wanted, side="left")
    rows[left] = free[first + turn]


def _of_others(source: Source, reference: Source, missing: int) -> str:
    return (
        f"{missing} of the {source.samples.size} spikes of {source.called} are not among the "
        f"{reference.samples.size} spikes of {reference.called}, expected curations of the same "
        f"spikes: {_ADVICE}"
    )


def check_left_out(
    source: Source, place: Place, reference: Source, others: Sequence[NDArray[np.integer]]
) -> None:
    """Raise where spikes that a curation does not have are no whole units that it removed.

    Parameters
    ----------
    source : Source
    place : Place
    reference : Source
    others : sequence of array (n_spikes of the reference,) integer
        Units of each spike in the other curations.

    Raises
    ------
    ParameterError
    """
    num_left_out = reference.samples.size - source.samples.size
    if place.rows is None or num_left_out == 0:
        return
    is_there = np.zeros(reference.samples.size, dtype=bool)
    is_there[place.rows] = True
    if not source.is_folder and any(_are_whole(is_there, units) for units in others):
        return
    raise ParameterError(
        f"{source.called} has {source.samples.size} spikes, {reference.called} "
        f"{reference.samples.size}; the {num_left_out} others are no whole units that were "
        f"removed, expected curations of the same spikes: {_ADVICE}"
    )


def _are_whole(is_there: NDArray[np.bool_], units: NDArray[np.integer]) -> bool:
    """Return whether every unit is there with all its spikes or with none."""
    number = units.astype(np.int64) + 1
    num_spikes = np.bincount(number)
    num_there = np.bincount(number, weights=is_there, minlength=num_spikes.size)
    return bool(np.all((num_there == 0) | (num_there == num_spikes)))


@dataclass(frozen=True, eq=False)
class Aligned:
    """Curations in the order of the spikes of one of them."""

    units: list[NDArray[np.int32]]
    start: NDArray[np.int32]
    start_text: str
    start_ids: list[Any] | None
    num_guessed: int


def align_sources(sources: Sequence[Source], start: Source | None) -> Aligned:
    """Return curations of the same spikes in one order, with what they started from.

    Raises
    ------
    ParameterError
        The spikes are not the same.
    """
    everything = [*sources, *([] if start is None else [start])]
    reference = reference_of(everything)
    places = [place_spikes(one, reference) for one in everything]
    size = reference.samples.size

    def placed(values: NDArray[np.integer], number: int) -> NDArray[np.int32]:
        rows = places[number].rows
        if rows is None:
            return np.ascontiguousarray(values, dtype=np.int32)
        out = np.full(size, -1, dtype=np.int32)
        out[rows] = values
        return out

    units = [placed(one.unit_index, i) for i, one in enumerate(everything)]
    first, text, ids = _start_of(sources, start, units, placed)
    for i, one in enumerate(everything):
        others = [other for j, other in enumerate(units) if j != i]
        check_left_out(one, places[i], reference, [*others, first])
    return Aligned(
        units[: len(sources)],
        first,
        text,
        ids,
        sum(place.num_guessed for place in places),
    )


def _start_of(
    sources: Sequence[Source], start: Source | None, units: Sequence[NDArray[np.int32]], placed: Any
) -> tuple[NDArray[np.int32], str, list[Any] | None]:
    """Return the unit of each spike before the curations, what that is, and the units' ids."""
    if start is not None:
        found = units[len(sources)]
        if found.size and found.min() < 0:
            raise ParameterError(
                f"{start.called} has fewer spikes than the curations, expected what they began with"
            )
        return found, f"units of {start.text}", start.unit_ids
    begun = [one.first_units for one in sources if one.first_units is not None]
    if len(begun) == len(sources):
        first = [placed(index, i) for i, (index, _) in enumerate(begun)]
        if all(np.array_equal(first[0], other) for other in first[1:]):
            return first[0], "units that the sessions began with", begun[0][1]
    for i, one in enumerate(sources):
        if one.templates is not None and one.samples.size == units[0].size:
            ids = list(range(1 + int(one.templates.max(initial=-1))))
            return placed(one.templates, i), "templates of the sorter", ids
    sizes = [len(one.unit_ids) for one in sources]
    parts = common_refinement(units[: len(sources)], sizes).part_of_spike
    text = "not known: the parts that the curations have in common"
    return parts.astype(np.int32), text, None
