"""Brute-force counts of spikes at short lags, pair by pair.

Nothing here is imported from the package.
"""

from __future__ import annotations

import math

import numpy as np


def short_lags(samples, units, segments, num_units, max_lag, bin_of_lag, num_bins):
    """Pairs and pairs of consecutive spikes by lag, pairs by bin of lag, of each unit."""
    pairs = np.zeros((num_units, max_lag + 1), dtype=np.int64)
    adjacent, binned = pairs.copy(), np.zeros((num_units, num_bins), dtype=np.int64)
    for unit in range(num_units):
        for segment in set(segments):
            rows = (units == unit) & (segments == segment)
            train = sorted(samples[rows].tolist())
            for i in range(len(train)):
                for j in range(i + 1, len(train)):
                    lag = train[j] - train[i]
                    if lag <= max_lag:
                        pairs[unit, lag] += 1
                        adjacent[unit, lag] += j == i + 1
                    if lag < len(bin_of_lag):
                        binned[unit, bin_of_lag[lag]] += 1
    return pairs, adjacent, binned


def kilosort(train_s):
    """R12 and Q12 written out from Kilosort 4's documentation of its correlogram."""
    histogram = {}
    for i, a in enumerate(train_s):
        for j, b in enumerate(train_s):
            if i != j and abs(b - a) < 0.5:
                lag = int(np.round((b - a) / 0.001))
                histogram[lag] = histogram.get(lag, 0) + 1
    at = lambda lags: [histogram.get(lag, 0) for lag in lags]  # noqa: E731
    far = np.mean(at([*range(-499, -250), *range(250, 500)]))
    shoulder = max(far, np.mean(at(range(-50, -10))), np.mean(at(range(10, 50))))
    ratios, chances = [], []
    for i in range(1, 11):
        inside = sum(at([lag for lag in range(-i, i + 1) if lag]))
        ratios.append(inside / (2 * i) / shoulder)
        z = (inside / 2 - shoulder * i) / math.sqrt(2 * shoulder * i + 1e-10)
        chances.append(0.5 * (1 + math.erf(z)))
    return min(ratios), min(chances)
