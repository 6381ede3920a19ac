"""Values of units as columns that an NWB file can hold, with names that readers can use."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from si_curation.errors import ParameterError

logger = logging.getLogger(__name__)

_TEXT_PAIRS = (("yes", "no"), ("true", "false"), ("y", "n"), ("t", "f"), ("hit", "miss"))
_WHOLE_WORDS = _TEXT_PAIRS[:2]  # clear without the other one of the pair
_RESERVED = {
    # columns and parts of the table
    "id", "unit_name", "spike_times", "obs_intervals", "electrodes", "electrode_group",
    "waveform_mean", "waveform_sd", "waveforms", "waveform_rate", "waveform_unit", "resolution",
    "original_cluster_ids", "main_template_id", "template_ids", "template_spike_counts",
    "spike_amplitudes_uV", "ks_amplitudes", "spike_depths_um", "spike_template_ids",
    # what pynapple has as its own
    "rate", "rates", "index", "keys", "values", "items", "data", "count", "get", "time_support",
}  # fmt: skip
_FORBIDDEN = "/:\\\x00"


class Column(NamedTuple):
    """One column of the units table.

    Attributes
    ----------
    name : str
    description : str
    data : array (n_units, ...) or list of str
    """

    name: str
    description: str
    data: Any


def make_columns(
    values: Mapping[str, Any], descriptions: Mapping[str, str], num_units: int
) -> list[Column]:
    """Normalise values of units.

    Columns without any value are dropped; names that the table or its readers have for
    something else get ``_property`` behind them. Both are logged.

    Parameters
    ----------
    values : mapping of str to array-like (n_units, ...)
    descriptions : mapping of str to str
    num_units : int

    Returns
    -------
    list of Column

    Raises
    ------
    ParameterError
        Some columns are of types that NWB does not hold; all are named.
    """
    columns: list[Column] = []
    problems = []
    taken = set(_reserved_names())
    for name, raw in values.items():
        try:
            data, note = normalise(raw)
        except ValueError as fault:
            problems.append(f"column {name!r} {fault}")
            continue
        if len(data) != num_units:
            problems.append(f"column {name!r} has {len(data)} values, expected {num_units}")
            continue
        if is_empty(data):
            logger.info("column %r has no values: left out", name)
            continue
        own = free_name(str(name), taken)
        taken.add(own)
        if own != name:
            logger.info("column %r is written as %r", name, own)
        text = descriptions.get(name) or f"unit property {str(name)!r} of the sorting"
        columns.append(Column(own, text + note, data))
    if problems:
        raise ParameterError(
            "units cannot be written to NWB: " + "; ".join(problems) + "; change or delete these "
            "properties of the sorting (sorting.delete_property)"
        )
    return columns


def _reserved_names() -> Iterable[str]:
    from pynwb.misc import Units

    return _RESERVED | {name for name in dir(Units) if not name.startswith("__")}


def free_name(name: str, taken: set[str]) -> str:
    """Return a name that nothing else has, and that HDF5 and the readers can use.

    Examples
    --------
    >>> free_name("rate", {"rate"}), free_name("a/b", set()), free_name("x_index", set())
    ('rate_property', 'a_b', 'x_index_property')
    """
    for character in _FORBIDDEN:
        name = name.replace(character, "_")
    name = name.strip() or "property"
    if name.strip(".") == "":
        name = "property"
    if name in taken or name.endswith("_index"):  # which is the index of a ragged column
        name = f"{name}_property"
    base, count = name, 1
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    return name


def is_empty(data: Any) -> bool:
    """Return whether no unit has a value."""
    array = np.asarray(data)
    if array.dtype.kind == "f":
        return bool(np.isnan(array).all())
    if array.dtype.kind in "UO":
        return all(text == "" for text in array.ravel().tolist())
    return array.size == 0


def normalise(values: Any) -> tuple[Any, str]:
    """Return values as numbers, booleans or texts that HDF5 can hold.

    Parameters
    ----------
    values : array-like (n_units, ...)

    Returns
    -------
    data : array or list of str
        Numbers stay numbers, missing ones are NaN; missing texts are "". What is nothing but 0 and
        1, or yes and no, is bool.
    note : str
        To be added to the description.

    Raises
    ------
    ValueError
        They are none of these; the message goes on after the name of the column.

    Examples
    --------
    >>> normalise(["yes", "no"])[0], normalise(np.array([1.0, 0.0]))[0]
    (array([ True, False]), array([ True, False]))
    >>> normalise(pd.array([3, None], dtype="Int64"))[0], normalise(["a", None])[0]
    (array([ 3., nan]), ['a', ''])
    """
    if isinstance(values, pd.Series):
        values = values.array
    if isinstance(values, pd.api.extensions.ExtensionArray):
        values = values.astype(object)
    array = np.asarray(values)
    kind = array.dtype.kind
    if (kind in "iu" and array.dtype.itemsize > 8) or kind == "V" or array.dtype.names:
        raise ValueError(f"is of dtype {array.dtype}, which a table cannot hold")
    if kind == "f":
        # longer and shorter floats have no HDF5 type that every reader knows
        return _as_bool(array if array.dtype.itemsize in (4, 8) else array.astype(np.float64))
    if kind in "iu":
        return _as_bool(array)
    if kind == "b":
        return array, ""
    if kind in "mM":
        texts = ["" if np.isnat(one) else str(one) for one in array.ravel()]
        if array.ndim != 1:
            raise ValueError("is a table of times, expected one value per unit")
        return texts, ""
    if kind in "USO":
        return _from_objects(array)
    raise ValueError(f"is of dtype {array.dtype}, expected numbers, booleans or text")


def _as_bool(array: NDArray) -> tuple[NDArray, str]:
    values = np.unique(array)
    if array.ndim == 1 and values.size == 2 and set(values.tolist()) == {0, 1}:
        return array.astype(bool), ""
    return array, ""


def _from_objects(array: NDArray) -> tuple[Any, str]:
    if array.ndim != 1:
        raise ValueError("has several texts or objects per unit, expected one")
    cells = [_cell(value) for value in array.tolist()]
    present = [cell for cell in cells if cell is not None]
    if all(isinstance(cell, str) for cell in present):
        return _from_texts(cells)
    if all(isinstance(cell, bool) for cell in present):
        if len(present) == len(cells):
            return np.array(cells, dtype=bool), ""
        return ["" if cell is None else str(cell) for cell in cells], " ('' where missing)"
    if all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in present):
        if len(present) == len(cells) and all(isinstance(cell, int) for cell in present):
            try:
                return _as_bool(np.array(cells, dtype=np.int64))
            except OverflowError:
                raise ValueError("has whole numbers beyond 64 bits") from None
        return _as_bool(np.array([np.nan if c is None else float(c) for c in cells]))
    if all(isinstance(cell, str | bool | int | float) for cell in present):
        return ["" if cell is None else str(cell) for cell in cells], ""
    odd = next(c for c in present if not isinstance(c, str | bool | int | float))
    raise ValueError(
        f"has a {type(odd).__name__} ({str(odd)[:40]}), expected numbers, booleans or text"
    )


def _cell(value: Any) -> Any:
    """Return a value of Python, None where it is missing."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float) and np.isnan(value):
        return None
    if isinstance(value, str):
        if "\x00" in value or any(0xD800 <= ord(character) <= 0xDFFF for character in value):
            raise ValueError(f"has {value!r}, which cannot be stored as text")
        return value
    return value


def _from_texts(cells: list[str | None]) -> tuple[Any, str]:
    texts = ["" if cell is None else cell for cell in cells]
    lower = {text.strip().lower() for text in texts}
    for true, false in _TEXT_PAIRS:
        if lower == {true, false} or (lower in ({true}, {false}) and (true, false) in _WHOLE_WORDS):
            data = np.array([text.strip().lower() == true for text in texts])
            return data, f" (True: {true}, False: {false})"
    return texts, ""


def ids_column(values: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return ids or counts in a dtype that readers do not take for booleans.

    A column of nothing but 0 and 1 in one byte is not mistaken for a boolean.
    """
    if values.size and values.min() >= 0 and values.max() <= 1:
        return values.astype(np.uint8)
    return values.astype(np.int64)


def quantities(values: Any) -> Any:
    """Return a quantity as it is; 0 and 1 alone as bytes, not as booleans."""
    array = np.asarray(values)
    if array.dtype.kind in "iuf" and set(np.unique(array).tolist()) == {0, 1}:
        return array.astype(np.uint8)
    return values
