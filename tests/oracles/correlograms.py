"""Brute-force correlograms: every pair of spikes in turn, straight from the definitions.

Nothing here is imported from the package.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np


def ordered_pairs(samples, units, segments=None):
    """All ordered pairs of different spikes of a segment: (i, j, unit i, unit j, t_i - t_j)."""
    n = len(samples)
    segments = [0] * n if segments is None else segments
    for i in range(n):
        for j in range(n):
            if i != j and segments[i] == segments[j]:
                yield i, j, int(units[i]), int(units[j]), int(samples[i]) - int(samples[j])


def spikeinterface(samples, units, num_units, half_window, width, segments=None):
    """Lag t_a - t_b in bins [k w, (k + 1) w) from -h w to h w."""
    half = half_window // width
    out = np.zeros((num_units, num_units, 2 * half), dtype=np.int64)
    for _, _, a, b, lag in ordered_pairs(samples, units, segments):
        k = lag // width + half
        if 0 <= k < 2 * half:
            out[a, b, k] += 1
    return out


def phy(samples, units, num_units, half_window, width, segments=None):
    """Earlier spike of `a` (first in the vector of equals), d = lag // w; then both sides."""
    half = half_window // width
    one_sided = np.zeros((num_units, num_units, half + 1), dtype=np.int64)
    for i, j, a, b, lag in ordered_pairs(samples, units, segments):
        if i < j and -lag // width <= half:
            one_sided[a, b, -lag // width] += 1
    out = np.zeros((num_units, num_units, 2 * half + 1), dtype=np.int64)
    for a in range(num_units):
        for b in range(num_units):
            out[a, b, half] = max(one_sided[a, b, 0], one_sided[b, a, 0])
            for d in range(1, half + 1):
                out[a, b, half + d] = one_sided[a, b, d]
                out[a, b, half - d] = one_sided[b, a, d]
    return out


def centered(samples, units, num_units, half_window, width, segments=None):
    """Distance |t_a - t_b| in [(k - 1/2) w, (k + 1/2) w), on the side of its sign."""
    half = half_window // width
    out = np.zeros((num_units, num_units, 2 * half + 1), dtype=np.int64)
    for _, _, a, b, lag in ordered_pairs(samples, units, segments):
        k = int(Fraction(abs(lag), width) + Fraction(1, 2))
        if k <= half:
            out[a, b, half + (k if lag > 0 else -k)] += 1
    return out


def logarithmic(samples, units, num_units, edges, segments=None):
    """Distance in [edge, next edge), on the side of its sign; below the first edge: the centre."""
    half = len(edges) - 1
    out = np.zeros((num_units, num_units, 2 * half + 1), dtype=np.int64)
    for _, _, a, b, lag in ordered_pairs(samples, units, segments):
        k = sum(abs(lag) >= edge for edge in edges)
        if k <= half:
            out[a, b, half + (k if lag > 0 else -k)] += 1
    return out


OF_CONVENTION = {"spikeinterface": spikeinterface, "phy": phy, "centered": centered}
