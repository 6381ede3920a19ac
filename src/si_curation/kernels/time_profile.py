"""Counts, sums and squares of a value of spikes, by unit and time bin, in one pass each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit


@njit
def add_by_bin(
    unit_index: NDArray[np.integer],  # (n_spikes,)
    time_bin: NDArray[np.integer],  # (n_spikes,)
    values: NDArray[np.float64],  # (n_spikes,), or (0,): spikes are counted only
    counts: NDArray[np.float64],  # (n_units, n_bins)
    sums: NDArray[np.float64],  # (n_units, n_bins)
) -> None:
    """Add spikes with a finite value to the counts, and their values to the sums."""
    for i in range(unit_index.size):
        if values.size:
            if not np.isfinite(values[i]):
                continue
            sums[unit_index[i], time_bin[i]] += values[i]
        counts[unit_index[i], time_bin[i]] += 1.0


@njit
def add_squares_by_bin(
    unit_index: NDArray[np.integer],  # (n_spikes,)
    time_bin: NDArray[np.integer],  # (n_spikes,)
    values: NDArray[np.float64],  # (n_spikes,)
    means: NDArray[np.float64],  # (n_units, n_bins)
    squares: NDArray[np.float64],  # (n_units, n_bins)
) -> None:
    """Add the squared differences of finite values from the means of their bins."""
    for i in range(unit_index.size):
        if np.isfinite(values[i]):
            difference = values[i] - means[unit_index[i], time_bin[i]]
            squares[unit_index[i], time_bin[i]] += difference * difference
