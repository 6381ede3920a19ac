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


def sliding_of_ibl(train_samples, fs):
    """Smallest contamination in percent that is ruled out, by trying every period and percentage.

    The confidence is one minus the Poisson distribution at the observed count, of a mean of twice
    the contamination times the rate at lags of 1 to 2 s times the spikes times the period.
    """
    train = sorted(train_samples)
    lags = [b - a for i, a in enumerate(train) for b in train[i + 1 :] if b - a < 2 * fs]
    rate = sum(1 for lag in lags if lag >= fs) / len(train)
    longest_lags = [k for k in range(int(0.01 * fs)) if (k + 0.5) / fs > 0.0005]
    counts = {k: sum(1 for lag in lags if lag <= k) for k in longest_lags}
    for half_percent in range(1, 70):
        for k, observed in counts.items():
            mean = 2 * half_percent / 200 * rate * len(train) * (k + 1) / fs
            at_most = sum(
                math.exp(-mean + n * math.log(mean) - math.lgamma(n + 1)) if mean else n == 0
                for n in range(observed + 1)
            )
            if 1 - at_most >= 0.9:
                return half_percent / 2
    return math.nan


def pairs_between(samples, units, segments, num_units, first, stop):
    """Pairs of each unit at lags from `first` to below `stop`, pair by pair."""
    found = [0] * num_units
    for i in range(len(samples)):
        for j in range(len(samples)):
            same = units[i] == units[j] and segments[i] == segments[j]
            found[units[i]] += bool(same and first <= samples[j] - samples[i] < stop)
    return found
