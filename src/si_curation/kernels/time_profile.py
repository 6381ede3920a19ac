"""Counts of the spikes of a unit by time bin, with mean and variance of a value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit


@njit
def count_by_bin(
    time_bin: NDArray[np.integer],  # (n,), of the spikes of one unit
    counts: NDArray[np.float64],  # (n_bins,)
) -> None:
    """Add the spikes of one unit to the counts."""
    for one in time_bin:
        counts[one] += 1.0


@njit
def profile_of_unit(
    time_bin: NDArray[np.integer],  # (n,), of the spikes of one unit
    values: NDArray[np.floating],  # (n,)
    absolute: bool,
    parts: NDArray[np.int64],  # (n_parts + 1,): where parts of the spikes start, and n
    counts: NDArray[np.float64],  # (n_bins,)
    means: NDArray[np.float64],  # (n_bins,)
    variances: NDArray[np.float64],  # (n_bins,)
) -> None:
    """Count the spikes with a finite value of one unit, with mean and variance of the values.

    Values are summed up in parts, and squares about the means, so that no long sum loses digits.
    """
    sums = np.zeros(counts.size, dtype=np.float64)
    for p in range(parts.size - 1):
        part = np.zeros(counts.size, dtype=np.float64)
        i = parts[p]
        while i < parts[p + 1]:  # spikes of one bin mostly follow each other
            now = time_bin[i]
            total, count = part[now], 0.0
            while i < parts[p + 1] and time_bin[i] == now:
                value = np.float64(values[i])
                if np.isfinite(value):
                    total += abs(value) if absolute else value
                    count += 1.0
                i += 1
            part[now] = total
            counts[now] += count
        sums += part
    for b in range(counts.size):
        means[b] = sums[b] / max(counts[b], 1.0)
    for p in range(parts.size - 1):
        part = np.zeros(counts.size, dtype=np.float64)
        i = parts[p]
        while i < parts[p + 1]:
            now = time_bin[i]
            total, mean = part[now], means[now]
            while i < parts[p + 1] and time_bin[i] == now:
                value = np.float64(values[i])
                if np.isfinite(value):
                    difference = (abs(value) if absolute else value) - mean
                    total += difference * difference
                i += 1
            part[now] = total
        variances += part
    for b in range(counts.size):
        variances[b] /= max(counts[b], 1.0)
