"""Brute-force oracles for similarities and merge evidence, one pair at a time, in float64."""

from __future__ import annotations

import itertools

import numpy as np


def lagged_cosine(templates, max_lag):
    """Largest cosine over shifts, of all pairs of templates."""
    templates = np.nan_to_num(np.asarray(templates, dtype=np.float64))
    num_templates, num_samples, _ = templates.shape
    out = np.zeros((num_templates, num_templates))
    norms = [np.sqrt((t**2).sum()) for t in templates]
    for i, j in itertools.product(range(num_templates), repeat=2):
        if norms[i] == 0 or norms[j] == 0:
            continue
        best = -np.inf
        for lag in range(-max_lag, max_lag + 1):
            total = 0.0
            for t in range(num_samples):
                if 0 <= t + lag < num_samples:
                    total += templates[i, t] @ templates[j, t + lag]
            best = max(best, total / norms[i] / norms[j])
        out[i, j] = best
    return out


def similarity_of_units(similarity, unit_index, template_ids, num_units):
    """phy's rule, one pair of units at a time; NaN for units without spikes."""
    out = np.full((num_units, num_units), np.nan)
    used = [np.unique(template_ids[unit_index == u]) for u in range(num_units)]
    for a, b in itertools.product(range(num_units), repeat=2):
        if used[a].size and used[b].size:
            out[a, b] = max(similarity[i, j] for i in used[a] for j in used[b])
    return out


def with_partner(times_a, times_b, window):
    """Spikes of a that have a spike of b at most so far away."""
    return sum(any(abs(int(s) - int(t)) <= window for t in times_b) for s in times_a)


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
