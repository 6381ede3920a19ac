"""Parameters, normalizations and tables of `cross_correlograms`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from si_curation.checks import Checks
from si_curation.kernels.correlogram_bins import (
    CONVENTIONS,
    BinCells,
    LagCells,
    linear_cells,
    log_cells,
)

NORMALIZATIONS = ("counts", "hz", "probability")


class GroupCorrelograms(NamedTuple):
    """Correlograms of n groups of units.

    Attributes
    ----------
    values : array (n, n, n_bins) int64 ("counts") or float64
    bins : array (n_bins + 1,) float64
        Edges in ms.
    baseline : array (n, n, n_bins) float64
        Expected values of independent groups of constant rates.
    num_spikes : array (n,) int64
    """

    values: NDArray
    bins: NDArray[np.float64]
    baseline: NDArray[np.float64]
    num_spikes: NDArray[np.int64]


def check_normalization(normalization: str) -> None:
    """Raise `ParameterError` where there is no such normalization."""
    checks = Checks()
    checks.choice("normalization", normalization, NORMALIZATIONS)
    checks.finish()


def check_parameters(
    window_ms: float, bin_ms: float, convention: str, pairs: str, bins: str, bins_per_decade: int
) -> dict[str, Any]:
    """Return the parameters of the extension as plain Python objects.

    Raises
    ------
    ParameterError
        Some cannot be used; all of them are named.
    """
    checks = Checks()
    params = {
        "window_ms": checks.number("window_ms", window_ms, above=0),
        "bin_ms": checks.number("bin_ms", bin_ms, above=0),
        "convention": checks.choice("convention", convention, CONVENTIONS),
        "pairs": checks.choice("pairs", pairs, ("all", "neighbours", "auto")),
        "bins": checks.choice("bins", bins, ("linear", "log")),
        "bins_per_decade": checks.whole_number("bins_per_decade", bins_per_decade, at_least=1),
    }
    checks.finish()
    return params


def cells_of(sampling_frequency: float, params: dict[str, Any]) -> LagCells:
    """Return the cells of lags for the parameters of the extension, in whole samples."""
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
    check_normalization(normalization)
    if normalization == "counts":
        return counts
    with np.errstate(invalid="ignore", divide="ignore"):
        values = counts / num_spikes[..., None]
    if normalization == "hz":
        values /= bins.widths_samples / sampling_frequency
    return values


def sum_groups(cell_counts: NDArray[np.integer], belongs: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Add the counts of units up to those of groups of units.

    Parameters
    ----------
    cell_counts : array (n_units, n_units, n_cells) integer
    belongs : array (n_groups, n_units) bool
        Which units are in each group.

    Returns
    -------
    array (n_groups, n_groups, n_cells) int64

    Examples
    --------
    >>> counts = np.array([[1, 2], [3, 4]])[:, :, None]
    >>> sum_groups(counts, np.array([[True, True], [False, True]])).squeeze(axis=2)
    array([[10,  6],
           [ 7,  4]])
    """
    weights = belongs.astype(np.int64)
    by_first = np.einsum("ga,abc->gbc", weights, cell_counts)
    return np.einsum("hb,gbc->ghc", weights, by_first)


def baseline_of_groups(
    num_spikes: NDArray[np.int64],
    widths_s: NDArray[np.float64],
    duration_s: float,
    normalization: str,
) -> NDArray[np.float64]:
    """Return the expected correlograms of independent groups of constant rates.

    Parameters
    ----------
    num_spikes : array (n_groups,) int64
    widths_s : array (n_bins,) float64
    duration_s : float
    normalization : {"counts", "hz", "probability"}

    Returns
    -------
    array (n_groups, n_groups, n_bins) float64
        NaN where the duration is 0.
    """
    rate = num_spikes[:, None] * (num_spikes / duration_s if duration_s > 0 else np.nan)
    baseline = rate[:, :, None] * widths_s
    if normalization != "counts":
        with np.errstate(invalid="ignore", divide="ignore"):
            baseline = baseline / num_spikes[:, None, None]
        if normalization == "hz":
            baseline = baseline / widths_s
    return baseline


def make_table(values: NDArray, bins_ms: NDArray[np.float64], pairs: NDArray) -> pd.DataFrame:
    """Return a table with a row for each pair of units.

    Its columns are ``unit_a``, ``unit_b`` and one for each bin, named by its first edge in ms.
    """
    table = pd.DataFrame(
        values.reshape(len(pairs), -1), columns=[f"{edge:.9g}" for edge in bins_ms[:-1]]
    )
    table.insert(0, "unit_a", pairs[:, 0])
    table.insert(1, "unit_b", pairs[:, 1])
    return table
