"""Brute-force histogram of the intervals between successive spikes."""

from __future__ import annotations

from itertools import pairwise


def isi_counts(trains, num_bins, width):
    """Intervals of each train in bins [k w, (k + 1) w)."""
    out = [0] * num_bins
    for train in trains:
        for before, after in pairwise(train):
            k = (int(after) - int(before)) // width
            if k < num_bins:
                out[k] += 1
    return out
