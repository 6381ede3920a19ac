"""Brute-force similarities of templates and of units, one pair at a time, in float64."""

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
