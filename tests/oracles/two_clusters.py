"""Two normal clusters with a common trend, fitted as plainly as possible."""

import numpy as np
from scipy import stats


def fit_two_clusters(points, windows, chance, num_steps):
    """Expectation-maximization; share, step, covariance and chance after so many steps."""
    points, chance = np.asarray(points, dtype=float), np.array(chance, dtype=float)
    for _ in range(num_steps):
        share = chance.mean()
        top, bottom = 0.0, 0.0
        for window in np.unique(windows):
            here = windows == window
            mean, mean_chance = points[here].mean(axis=0), chance[here].mean()
            top = top + chance[here] @ (points[here] - mean)
            bottom += here.sum() * mean_chance * (1 - mean_chance)
        step = top / bottom
        trend = np.empty_like(points)
        for window in np.unique(windows):
            here = windows == window
            trend[here] = points[here].mean(axis=0) - chance[here].mean() * step
        covariance = np.zeros((points.shape[1],) * 2)
        for r, x, t in zip(chance, points, trend, strict=True):
            covariance += (1 - r) * np.outer(x - t, x - t)
            covariance += r * np.outer(x - t - step, x - t - step)
        covariance /= len(points)
        covariance += np.diag(1e-9 + 1e-6 * np.diag(covariance))
        inverse = np.linalg.inv(covariance)
        first, second = points - trend, points - trend - step
        odds = np.log(share / (1 - share)) + 0.5 * (
            np.einsum("ni,ij,nj->n", first, inverse, first)
            - np.einsum("ni,ij,nj->n", second, inverse, second)
        )
        chance = 1 / (1 + np.exp(-odds))
    return share, step, covariance, chance


def gain_of_two_clusters(values, share, separation, trend, skewed):
    """Log likelihood of two clusters less that of a skewed one, each with a background of 2 %."""
    one = stats.skewnorm(skewed.slant, loc=skewed.location, scale=skewed.scale)
    wide = stats.norm(skewed.mean, 4 * skewed.std).logpdf(values) + np.log(0.02)
    lower = stats.norm(trend).logpdf(values) + np.log1p(-share)
    upper = stats.norm(trend + separation).logpdf(values) + np.log(share)
    two = np.logaddexp(np.logaddexp(lower, upper), wide)
    return two - np.logaddexp(one.logpdf(values), wide)
