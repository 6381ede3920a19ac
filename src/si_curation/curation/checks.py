"""Validators of the arguments of a curation session: units, labels, parts of a split."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation.checks import Checks, join_problems, plain_id, short_repr
from si_curation.errors import ParameterError, UnknownIdError
from si_curation.phy.tables import GROUPS
from si_curation.phy.writing import column_name_problem, format_value

TABLE_COLUMNS = (
    "num_spikes",
    "template_id",
    "template_spike_count",
    "template_purity",
    "num_templates",
    "best_channel",
)
_TAKEN = (
    "quality",
    "main_channel_id",
    "original_cluster_id",
    "phy_folder",
    "si_unit_id",
    *TABLE_COLUMNS,
)


def check_units(units: Mapping[Any, Any], unit_ids: Iterable[Any], at_least: int) -> list[Any]:
    """Return unit ids as plain values, in the order given.

    Raises
    ------
    UnknownIdError
        Some do not exist; all of them are named.
    ParameterError
        There are fewer than `at_least`, or one is given twice.
    """
    if isinstance(unit_ids, str | bytes) or not isinstance(unit_ids, Iterable):
        raise ParameterError(f"unit ids are {short_repr(unit_ids)}, expected a list of unit ids")
    ids = [plain_id(i) for i in unit_ids]
    try:
        unknown = [i for i in ids if i not in units or isinstance(i, bool | float)]
        twice = sorted(str(i) for i, count in Counter(ids).items() if count > 1)
    except TypeError:
        raise ParameterError(
            f"unit ids are {short_repr(ids)}, expected a list of unit ids"
        ) from None
    if unknown:
        raise UnknownIdError(f"there are no units {short_repr(unknown)}; see .unit_ids")
    if twice:
        raise ParameterError(f"units {', '.join(twice)} are given twice")
    if len(ids) < at_least:
        raise ParameterError(f"{len(ids)} units are given, expected at least {at_least}")
    return ids


def check_noted_ids(unit_ids: Iterable[Any], others: list[Any], are_integers: bool) -> list[Any]:
    """Return ids of units that need not exist, as plain values.

    Parameters
    ----------
    unit_ids : iterable
        Two or more.
    others : list
        More ids, of the same kind.
    are_integers : bool
        Whether units have whole numbers here, or texts.

    Raises
    ------
    ParameterError
        All problems at once.
    """
    if isinstance(unit_ids, str | bytes) or not isinstance(unit_ids, Iterable):
        raise ParameterError(f"unit ids are {short_repr(unit_ids)}, expected a list of unit ids")
    ids = [plain_id(i) for i in unit_ids]
    kind, name = (int, "whole numbers") if are_integers else (str, "strings")
    checks = Checks()
    wrong = [i for i in [*ids, *others] if not isinstance(i, kind) or isinstance(i, bool)]
    checks.require(not wrong, f"unit ids are {name} here, not {short_repr(wrong)}")
    if not wrong:
        checks.require(
            len(set(ids)) == len(ids) >= 2,
            f"units {short_repr(ids)} are given, expected two different ones or more",
        )
        checks.require(
            all(not isinstance(i, int) or -(2**63) <= i < 2**63 for i in [*ids, *others]),
            "a unit id has more than 64 bits",
        )
    checks.finish()
    return ids


def check_label(field: Any, value: Any) -> Any:
    """Return a label as a plain value: a text, a number, a boolean or None.

    Raises
    ------
    ParameterError
        The field or the label cannot be used; all problems at once.
    """
    checks = Checks()
    problem, name = column_name_problem(field), short_repr(field)
    if problem is not None:
        checks.add(f"field is {name}, expected a name that can be the name of a file; {problem}")
    elif field in _TAKEN:
        checks.add(f"field {name} is taken by another column; labels are in 'group'")
    value = plain_id(value)
    if value is not None and not isinstance(value, str | int | float | bool):
        checks.add(f"the label is {short_repr(value)}, expected a text, a number or None")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        checks.add("the label is a whole number of more than 64 bits; give it as text")
    elif field == "group" and value not in (*GROUPS, None):
        checks.add(f"the group is {short_repr(value)}, expected one of {', '.join(GROUPS)}")
    elif isinstance(value, str) and (set(value) & set("\t\r\n") or not value.strip()):
        checks.add(
            f"the label is {short_repr(value)}, expected a text without tabs and line breaks"
        )
    elif isinstance(value, str) and not _is_writable(value):
        checks.add(f"the label is {short_repr(value)}, which cannot be written as text")
    elif isinstance(value, float) and not math.isfinite(value):
        checks.add(
            f"the label is {short_repr(value)}, expected a finite number; None removes a label"
        )
    checks.finish()
    return value


def _is_writable(text: str) -> bool:
    try:
        return format_value(text) is not None
    except ValueError:
        return False


def part_of_spikes(parts: Any, num_spikes: int, unit_id: Any) -> tuple[NDArray[np.int64], int]:
    """Return the part of each spike of a unit, from labels or from lists of indices.

    Parameters
    ----------
    parts : sequence of int, or sequence of sequences of int
        A label for each spike, or a list of spike indices for each part; spikes in no list are one
        more part.
    num_spikes : int
        Number of spikes of the unit.
    unit_id : int or str
        For the message.

    Returns
    -------
    array (num_spikes,) int64
        0 to the number of parts - 1, ascending with the label or in the order of the lists.
    int
        Number of parts, at least 2.

    Raises
    ------
    ParameterError
        All problems at once.

    Examples
    --------
    >>> part_of_spikes([7, 3, 7], 3, "a")
    (array([1, 0, 1]), 2)
    >>> part_of_spikes([[2], [0]], 4, "a")
    (array([1, 2, 0, 2]), 3)
    """
    try:
        is_nested = len(parts) > 0 and all(
            isinstance(part, list | tuple | set | np.ndarray) and np.ndim(list(part)) == 1
            for part in parts
        )
    except (TypeError, ValueError):
        raise _refusal(
            unit_id, [f"parts are {short_repr(parts)}, expected labels or lists"]
        ) from None
    return (_from_lists if is_nested else _from_labels)(parts, num_spikes, unit_id)


def foreign_of_spikes(mask: Any, num_spikes: int, unit_id: Any) -> NDArray[np.int64]:
    """Return 1 for the spikes to take out of a unit and 0 for the others, from a mask.

    Parameters
    ----------
    mask : sequence of bool (num_spikes,)
    num_spikes : int
        Number of spikes of the unit.
    unit_id : int or str
        For the message.

    Returns
    -------
    array (num_spikes,) int64

    Raises
    ------
    ParameterError

    Examples
    --------
    >>> foreign_of_spikes([False, True, False], 3, "a")
    array([0, 1, 0])
    """
    try:
        values = np.asarray(mask)
    except ValueError:
        values = np.zeros(0)
    if values.dtype != bool or values.ndim != 1:
        problem = "mask must be one True (does not belong) or False per spike"
    elif values.size != num_spikes:
        problem = f"the mask has {values.size} values for {num_spikes} spikes"
    elif not values.any():
        problem = "the mask takes no spike out, expected one at least"
    elif values.all():
        problem = "the mask takes all spikes out; remove the unit, or label it noise"
    else:
        return values.astype(np.int64)
    raise ParameterError(f"cleaning of unit {unit_id}: {problem}")


def _from_labels(labels: Any, num_spikes: int, unit_id: Any) -> tuple[NDArray[np.int64], int]:
    try:
        values = np.asarray(labels)
    except ValueError:  # labels and lists mixed
        raise _refusal(unit_id, ["labels must be whole numbers (or texts)"]) from None
    if values.ndim != 1 or values.dtype.kind not in "iubU":
        raise _refusal(unit_id, ["labels must be whole numbers (or texts), one per spike"])
    if values.size != num_spikes:
        raise _refusal(unit_id, [f"{values.size} labels are given for {num_spikes} spikes"])
    names, part = np.unique(values, return_inverse=True)
    if names.size < 2:
        raise _refusal(unit_id, ["all spikes have the same label, expected at least 2 parts"])
    return part.astype(np.int64).reshape(-1), int(names.size)


def _from_lists(lists: Any, num_spikes: int, unit_id: Any) -> tuple[NDArray[np.int64], int]:
    problems = []
    part = np.full(num_spikes, -1, dtype=np.int64)
    for number, entry in enumerate(lists):
        indices = np.asarray(list(entry))
        if indices.size == 0:
            problems.append(f"list {number} is empty")
            continue
        if indices.dtype.kind not in "iu":
            problems.append(f"list {number} holds {indices.dtype}, expected whole numbers")
            continue
        if indices.min() < 0 or indices.max() >= num_spikes:
            problems.append(f"list {number} has indices outside 0 to {num_spikes - 1}")
            continue
        if np.unique(indices).size < indices.size or np.any(part[indices] >= 0):
            problems.append(f"list {number} has a spike that is in a list already")
        part[indices] = number
    if problems:
        raise _refusal(unit_id, problems)
    num_parts = len(lists)
    rest = part < 0
    if rest.any():
        part[rest] = num_parts
        num_parts += 1
    if num_parts < 2:
        raise _refusal(unit_id, ["one list has all spikes, expected at least 2 parts"])
    return part, num_parts


def _refusal(unit_id: Any, problems: list[str]) -> ParameterError:
    return ParameterError(f"split of unit {unit_id}: " + join_problems(problems))
