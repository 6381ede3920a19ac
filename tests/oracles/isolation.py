"""Brute-force isolation metrics, one spike at a time, from the papers and SpikeInterface's rules.

Nothing here is imported from the package.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2


def cloud(projections, units, mask, main_channels, unit):
    """Features (n, n_features) of a unit and its neighbours in time order, and which are its own.

    `projections` (n, n_pcs, width) on the ascending channels of each spike's unit.
    """
    channels = np.flatnonzero(mask[unit])
    rows, own = [], []
    for spike, label in enumerate(units):
        if label != unit and main_channels[label] not in channels:
            continue
        dense = np.zeros((projections.shape[1], mask.shape[1]))
        for column, channel in enumerate(np.flatnonzero(mask[label])):
            dense[:, channel] = projections[spike, :, column]
        rows.append(dense[:, channels].ravel())
        own.append(label == unit)
    shape = (len(rows), projections.shape[1] * channels.size)
    return np.array(rows).reshape(shape), np.array(own, dtype=bool)


def mahalanobis(x, own):
    """Isolation distance and L-ratio; NaN where the covariance has no inverse."""
    num_own, num_others = own.sum(), (~own).sum()
    if min(num_own, num_others) < 2:
        return np.nan, np.nan
    covariance = np.cov(x[own].T).reshape(x.shape[1], x.shape[1])
    if np.linalg.matrix_rank(covariance, hermitian=True) < x.shape[1]:
        return np.nan, np.nan
    center = x[own].mean(axis=0)
    squared = sorted(
        float((row - center) @ np.linalg.solve(covariance, row - center)) for row in x[~own]
    )
    survival = sum(chi2.sf(value, x.shape[1]) for value in squared)
    return squared[min(num_own, num_others) - 1], survival / num_own


def d_prime(x, own):
    """Distance along the direction that solves the least squares problem of Fisher."""
    centred = x.copy()
    centred[own] -= x[own].mean(axis=0)
    centred[~own] -= x[~own].mean(axis=0)
    scale = centred.std(axis=0)
    scale[scale == 0] = 1
    apart = x[own].mean(axis=0) - x[~own].mean(axis=0)
    _, singular, right = np.linalg.svd(centred / scale / np.sqrt(len(x)), full_matrices=False)
    kept = right[singular > 1e-4]
    axis = (kept.T @ ((kept @ (apart / scale)) / singular[singular > 1e-4] ** 2)) / scale
    along = x @ axis
    spread = (along[own].var() + along[~own].var()) / 2
    return (along[own].mean() - along[~own].mean()) / np.sqrt(spread)


def neighbours(x, query, num_neighbours):
    """The nearest rows to a row, itself left out; of equally near ones the first."""
    distances = [(float(((x[query] - row) ** 2).sum()), i) for i, row in enumerate(x) if i != query]
    return [i for _, i in sorted(distances)[:num_neighbours]]


def nearest_neighbours(x, own, max_spikes, num_neighbours):
    """Hit and miss rate."""
    x = np.concatenate([x[own], x[~own]])
    num_own = int(own.sum())
    if max_spikes < len(x):
        ratio = max_spikes / len(x)
        x = x[np.arange(0, len(x) - 1, 1 / ratio).astype(int)]
        num_own = int(num_own * ratio)
    hits, misses = [], []
    for query in range(len(x)):
        share = [i < num_own for i in neighbours(x, query, num_neighbours)]
        (hits if query < num_own else misses).extend(share)
    return np.mean(hits), np.mean(misses)


def silhouette(x, own, labels):
    """Simplified silhouette; `labels` (n,) the unit of each row."""
    center = x[own].mean(axis=0)
    others = [x[labels == label].mean(axis=0) for label in np.unique(labels[~own])]
    means = [np.mean([np.linalg.norm(row - other) for row in x[own]]) for other in others]
    other = others[int(np.argmin(means))]
    values = []
    for row in x[own]:
        inside, outside = np.linalg.norm(row - center), np.linalg.norm(row - other)
        largest = max(inside, outside)
        values.append((outside - inside) / largest if largest > 0 else 0.0)
    return np.mean(values)
