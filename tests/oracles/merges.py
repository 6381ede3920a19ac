"""Brute-force merge evidence, one pair at a time."""

from __future__ import annotations

import numpy as np


def pairs_between(times_a, times_b, low, high):
    """Pairs of a spike of each with low < distance <= high."""
    return sum(low < abs(int(s) - int(t)) <= high for s in times_a for t in times_b)


def overlap_of_active_times(bins_a, bins_b, num_bins):
    """The larger share of the spikes of one unit in bins in which the other is active."""
    counts = [np.bincount(bins, minlength=num_bins) for bins in (bins_a, bins_b)]
    active = [[n > 0 and n >= 0.2 * np.median(c[c > 0]) for n in c] for c in counts]
    shares = [
        sum(c[k] for k in range(num_bins) if other[k]) / c.sum()
        for c, other in zip(counts, active[::-1], strict=True)
    ]
    return max(shares)
