"""Brute-force depths of spikes, one spike at a time.

Nothing here is imported from the package.
"""

from __future__ import annotations

import math

import numpy as np


def depths(features, templates, channels, positions):
    """Depth of each spike: features (n, n_pcs, n_loc), channels by template, -1 for none."""
    out = []
    for spike, template in enumerate(templates):
        total = weight = 0.0
        for column, channel in enumerate(channels[template]):
            value = max(float(features[spike, 0, column]), 0.0)
            if channel >= 0:
                total += positions[channel][1] * value**2
                weight += value**2
        out.append(total / weight if weight > 0 else math.nan)
    return np.array(out)
