"""Brute force for the statistics of effects: loops, `numpy` and `scipy.stats`, nothing shared."""

import numpy as np
from scipy import stats


def nested_subsets(quality, keep, min_units):
    """Thresholds and members, one share after the other."""
    best_first = sorted(quality, reverse=True)
    found = {}
    for share in keep:
        for wanted in range(1, len(quality) + 1):
            if wanted >= share * len(quality) - 1e-9:
                break
        threshold = best_first[wanted - 1]
        members = [q >= threshold for q in quality]
        if sum(members) >= min_units:
            found[threshold] = members
    return sorted(found), [found[t] for t in sorted(found)]


def resampled(values, counts, members, statistic):
    """The statistic of units repeated as often as they were drawn."""
    result = np.full((len(counts), len(members)), np.nan)
    for r, count in enumerate(counts):
        for j, member in enumerate(members):
            drawn = [
                v for v, c, m in zip(values, count, member, strict=True) if m for _ in range(int(c))
            ]
            if drawn:
                result[r, j] = statistic(drawn)
    return result


def shuffled(values, orders, members, statistic):
    """The statistic of the subsets after shuffling."""
    return np.array(
        [[statistic([values[i] for i in np.array(order)[m]]) for m in members] for order in orders]
    )


def removal_p_values(observed, removed):
    """Pointwise and step-free max-statistic P values."""
    num, size = removed.shape
    z = np.zeros(size)
    null = np.zeros(removed.shape)
    for j in range(size):
        if removed[:, j].std() > 1e-12:
            z[j] = (observed[j] - removed[:, j].mean()) / removed[:, j].std()
            null[:, j] = (removed[:, j] - removed[:, j].mean()) / removed[:, j].std()
    p = [
        (1 + sum(abs(null[r, j]) >= abs(z[j]) - 1e-9 for r in range(num))) / (num + 1)
        for j in range(size)
    ]
    q = [
        (1 + sum(max(abs(null[r])) >= abs(z[j]) - 1e-9 for r in range(num))) / (num + 1)
        for j in range(size)
    ]
    return z, np.array(p), np.array(q)


def partial_rank_correlation(effect, quality, covariates, groups, orders):
    """Least squares of ranks, by `numpy.linalg.lstsq`, anew for every permutation."""
    design = [np.ones(len(effect))]
    design += [stats.rankdata(c) for c in np.transpose(covariates)]
    if groups is not None:
        design += [(groups == g).astype(float) for g in np.unique(groups)]
    design = np.column_stack(design)

    def residual(values):
        return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]

    x, y = residual(stats.rankdata(effect)), residual(stats.rankdata(quality))
    rho = np.corrcoef(x, y)[0, 1]
    null = []
    for order in orders:
        again = residual(x[order])
        null.append(again @ y / np.sqrt((again @ again) * (y @ y)))
    return rho, (1 + sum(abs(n) >= abs(rho) - 1e-9 for n in null)) / (1 + len(null))
