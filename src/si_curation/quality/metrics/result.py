"""What every group of metrics gives: values, reasons, and a description of each column."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from numpy.typing import NDArray


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


class MetricValues(NamedTuple):
    """Values of some metrics for some units.

    Attributes
    ----------
    values : dict of str to array (n_units,)
        By column.
    reasons : dict of str to array (n_units,) of str
        By column: "" where the value is told, else why it is not.
    sources : mapping of str to str
        By column: the extension, file or property that the values come from.
    """

    values: dict[str, NDArray]
    reasons: dict[str, NDArray]
    sources: Mapping[str, str] = MappingProxyType({})
