"""Parameters, normalizations and tables of `cross_correlograms`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from si_curation.errors import ParameterError
from si_curation.kernels.correlogram_bins import (
    CONVENTIONS,
    BinCells,
    LagCells,
    linear_cells,
    log_cells,
)

_CHOICES = {
    "convention": CONVENTIONS,
    "pairs": ("all", "neighbours", "auto"),
    "bins": ("linear", "log"),
    "normalization": ("counts", "hz", "probability"),
}


def _unknown(given: dict[str, Any]) -> list[str]:
    return [
        f"{name} is {value!r}, expected one of {', '.join(map(repr, _CHOICES[name]))}"
        for name, value in given.items()
        if value not in _CHOICES[name]
    ]


def refuse_unknown(**given: Any) -> None:
    """Raise `ParameterError` where a parameter is none of the names that it can be."""
    problems = _unknown(given)
    if problems:
        raise ParameterError("; ".join(problems))


def check_parameters(**params: Any) -> dict[str, Any]:
    """Check the parameters of the extension, all at once, and give them as plain Python objects.

    Raises
    ------
    ParameterError
        A parameter cannot be used.
    """
    names = ("convention", "pairs", "bins")
    problems = []
    for name in ("window_ms", "bin_ms"):
        value = params[name]
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not is_number or not 0 < value < float("inf"):
            problems.append(f"{name} is {value!r}, expected a number above 0")
    problems += _unknown({name: params[name] for name in names})
    per_decade = params["bins_per_decade"]
    is_whole = isinstance(per_decade, int | np.integer) and not isinstance(per_decade, bool)
    if not is_whole or per_decade < 1:
        problems.append(f"bins_per_decade is {per_decade!r}, expected a whole number above 0")
    if problems:
        raise ParameterError("; ".join(problems))
    return {
        "window_ms": float(params["window_ms"]),
        "bin_ms": float(params["bin_ms"]),
        **{name: str(params[name]) for name in names},
        "bins_per_decade": int(per_decade),
    }


def cells_of(sampling_frequency: float, params: dict[str, Any]) -> LagCells:
    """Cells of lags of the parameters of the extension, in whole samples."""
    half_window = round(sampling_frequency * params["window_ms"] / 2 * 1e-3)
    bin_samples = round(sampling_frequency * params["bin_ms"] * 1e-3)
    if params["bins"] == "log":
        return log_cells(half_window, bin_samples, params["bins_per_decade"])
    return linear_cells(half_window, bin_samples)


def normalize(
    counts: NDArray[np.int64],
    num_spikes: NDArray,
    bins: BinCells,
    sampling_frequency: float,
    normalization: str,
) -> NDArray:
    """Turn counts into rates or probabilities.

    Parameters
    ----------
    counts : array (..., n_bins) int64
    num_spikes : array (...,) or one that is broadcast to it
        Spikes of the first unit of each pair.
    bins : BinCells
    sampling_frequency : float
    normalization : {"counts", "hz", "probability"}

    Returns
    -------
    array (..., n_bins) int64 ("counts") or float64
        NaN where the first unit has no spikes.

    Raises
    ------
    ParameterError
        There is no such normalization.
    """
    refuse_unknown(normalization=normalization)
    if normalization == "counts":
        return counts
    with np.errstate(invalid="ignore", divide="ignore"):
        values = counts / num_spikes[..., None]
    if normalization == "hz":
        values /= bins.widths_samples / sampling_frequency
    return values


def make_table(values: NDArray, bins_ms: NDArray[np.float64], pairs: NDArray) -> pd.DataFrame:
    """One row for each pair of units: ``unit_a``, ``unit_b`` and a column for each bin.

    Columns of bins are named by the first edge in ms.
    """
    table = pd.DataFrame(
        values.reshape(len(pairs), -1), columns=[f"{edge:.9g}" for edge in bins_ms[:-1]]
    )
    table.insert(0, "unit_a", pairs[:, 0])
    table.insert(1, "unit_b", pairs[:, 1])
    return table
