"""Partners of spikes by all pairs."""

from __future__ import annotations

import numpy as np


def partners_of(samples, units, new_samples, new_units, overlap, window):
    """Partner of each new spike: each is the best of the other, of the largest overlap."""
    near = np.abs(samples[:, None] - new_samples[None]) <= window
    value = np.where(near, overlap[units][:, new_units], 0)
    away = np.abs(samples[:, None] - new_samples[None])

    def best(values, distances):
        order = np.lexsort((np.arange(values.size), distances, -values))
        return order[0] if values.size and values[order[0]] > 0 else -1

    of_old = [best(value[i], away[i]) for i in range(samples.size)]
    of_new = [best(value[:, j], away[:, j]) for j in range(new_samples.size)]
    return [i if i >= 0 and of_old[i] == j else -1 for j, i in enumerate(of_new)]
