"""Brute-force tests of the synaptic windows of all pairs.

Nothing here is imported from the package.
"""

from __future__ import annotations

import numpy as np
from scipy import stats


def all_pairs(samples, units, segments, num_units, bin_samples, half, weights, ignores_centre):
    """Every field of every ordered pair, by loops."""
    rows = {}
    reach = weights.size // 2
    widths = np.full(2 * half + 1, bin_samples)
    widths[half] = 2 * -(-bin_samples // 2) - 1
    for a in range(num_units):
        for b in range(num_units):
            if a == b:
                continue
            counts = np.zeros(2 * half + 1, dtype=np.int64)
            for i in np.flatnonzero(units == a):
                for j in np.flatnonzero((units == b) & (segments == segments[i])):
                    lag = int(samples[j] - samples[i])
                    k = (2 * abs(lag) + bin_samples) // (2 * bin_samples)
                    if k <= half:
                        counts[half + (k if lag >= 0 else -k)] += 1
            used = np.where((np.arange(counts.size) == half) & ignores_centre[a, b], 0.0, 1.0)
            rate = np.pad(counts / widths, counts.size, mode="symmetric")
            used = np.pad(used, counts.size, mode="symmetric")
            expected = np.zeros(counts.size)
            for k in range(counts.size):
                inside = slice(counts.size + k - reach, counts.size + k + reach + 1)
                norm = (weights * used[inside]).sum()
                expected[k] = (weights * used[inside] * rate[inside]).sum() / norm * widths[k]
            window = half + np.arange(2, 5)
            peak = window[np.argmax((counts - expected)[window])]
            most = counts[half - 3 : half + 1].max()
            least = counts[half - 3 : half].min()
            trough = window[np.argmin((counts - expected)[window])]

            def high(n, mean):
                return stats.poisson.sf(n, mean) + stats.poisson.pmf(n, mean) / 2

            def low(n, mean):
                return stats.poisson.cdf(n - 1, mean) + stats.poisson.pmf(n, mean) / 2

            rows[a, b] = {
                "lag_bins": [peak - half, trough - half],
                "observed": counts[[peak, trough]],
                "expected": expected[[peak, trough]],
                "p_fast": [
                    high(counts[peak], expected[peak]),
                    low(counts[trough], expected[trough]),
                ],
                "p_causal": [high(counts[peak], most), low(counts[trough], least)],
                "window_observed": counts[window].sum(),
                "window_expected": expected[window].sum(),
                "p_zero_lag": high(counts[half], expected[half]),
            }
    return rows
