"""Brute-force oracles of the stability metrics: one spike and one bin at a time.

Written from the definitions of SpikeInterface 0.105.3 and phylib 2.7.1. Nothing here is imported
from the package.
"""

from __future__ import annotations

import math
import statistics

import numpy as np


def whole_bins(periods, size):
    """Bins of one size within periods."""
    bins = []
    for start, stop in periods:
        at = start
        while at + size <= stop:
            bins.append((at, at + size))
            at += size
    return bins


def counts(samples, bins):
    return [sum(1 for s in samples if start <= s < stop) for start, stop in bins]


def lies_within(sample, periods):
    return any(start <= sample < stop for start, stop in periods)


def quantile(values, share):
    """Linear interpolation between ranks."""
    ordered = sorted(float(v) for v in values)
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def presence_ratio(samples, periods, size, threshold):
    bins = whole_bins(periods, size)
    return sum(n > threshold for n in counts(samples, bins)) / len(bins)


def firing_range(samples, periods, size, size_s, low, high):
    rates = [n / size_s for n in counts(samples, whole_bins(periods, size))]
    return quantile(rates, high / 100) - quantile(rates, low / 100)


def variations(samples, values, periods, size, mean):
    out = []
    for start, stop in whole_bins(periods, size):
        inside = [float(v) for s, v in zip(samples, values, strict=True) if start <= s < stop]
        if inside:
            out.append(statistics.pstdev(inside) / mean)
    return out


def medians(samples, values, bins, least):
    out = []
    for start, stop in bins:
        inside = [float(v) for s, v in zip(samples, values, strict=True) if start <= s < stop]
        out.append(statistics.median(inside) if len(inside) >= max(least, 1) else math.nan)
    return out


def drift(positions):
    told = [p for p in positions if not math.isnan(p)]
    middle = statistics.median(told)
    mad = statistics.median(abs(p - middle) for p in told)
    return max(told) - min(told), statistics.pstdev(told), mad


def noise_cutoff(values, low_quantile, high_quantile, num_bins):
    """Histogram by hand, on the bins of `numpy.linspace`."""
    values = [float(v) for v in values]
    edges = np.linspace(min(values), max(values), num_bins + 1)
    heights = [0] * num_bins
    for v in values:
        heights[min(int(np.searchsorted(edges, v, side="right")) - 1, num_bins - 1)] += 1
    low_value, high_value = quantile(values, low_quantile), quantile(values, 1 - high_quantile)
    low = [n for n, edge in zip(heights, edges[1:], strict=True) if edge <= low_value]
    high = [n for n, edge in zip(heights, edges[:-1], strict=True) if edge >= high_value]
    if not low:
        return math.nan, math.nan
    ratio = statistics.fmean(low) / max(heights)
    if len(high) < 2 or statistics.pstdev(high) == 0:
        return math.nan, ratio
    return (statistics.fmean(low) - statistics.fmean(high)) / statistics.pstdev(high), ratio
