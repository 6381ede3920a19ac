"""The results of metrics: values, reasons, and a description of each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.variables import Explanation


class MetricDescription(NamedTuple):
    """What a column is.

    Attributes
    ----------
    description : str
        In plain words, with what missing means where it can be missing.
    unit : str
        "Hz", "um", "count" ...; "1" for ratios, "" for names and labels.
    source : str
        Paper or program that defines it.
    """

    description: str
    unit: str
    source: str

    def __str__(self) -> str:
        unit = "" if self.unit in ("", "1") else f" [{self.unit}]"
        return f"{self.description}{unit} ({self.source})"


class MetricResult(NamedTuple):
    """One value of one unit.

    Attributes
    ----------
    value : float
        NaN where there is none.
    reason : Explanation or None
        Why there is none.
    """

    value: float
    reason: Explanation | None = None


class MetricValues(NamedTuple):
    """Values of some metrics for some units.

    Attributes
    ----------
    values : dict of str to array (n_units,)
        By column.
    reasons : dict of str to array (n_units,) of object
        By column: None where there is a value, else an `Explanation`.
    sources : mapping of str to str
        By column: the extension, file or property that the values come from.
    """

    values: dict[str, NDArray]
    reasons: dict[str, NDArray[np.object_]]
    sources: Mapping[str, str] = MappingProxyType({})


def no_reasons(shape: int | tuple[int, ...]) -> NDArray[np.object_]:
    """Return an array of None: every value is there."""
    return np.full(shape, None, dtype=object)


def reasons_where(is_missing: NDArray[np.bool_], reason: Explanation | None) -> NDArray[np.object_]:
    """Return one reason where values are missing, and None elsewhere."""
    reasons = no_reasons(is_missing.shape)
    reasons[is_missing] = reason
    return reasons


def missing_values(names: Sequence[str], num_units: int, reason: Explanation) -> MetricValues:
    """Return columns that are NaN for all units, for one reason."""
    return MetricValues(
        {name: np.full(num_units, np.nan) for name in names},
        {name: np.full(num_units, reason, dtype=object) for name in names},
    )
