"""Waveforms of spikes, rebuilt from their principal-component features.

The features of a spike are its waveform in a basis of ``n_pcs`` waveforms, on ``n_loc`` channels of
whitened data. Unwhitening mixes channels and leaves the basis alone, so that all is done with the
few coefficients of each channel; they become samples at the very end, where they do at all: means
and variances of waveforms follow from those of the coefficients.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit


class Rebuilding(NamedTuple):
    """How the features of the spikes of one kind become coefficients on the channels asked for.

    A kind is what shares channels of features, template and channels asked for.

    Attributes
    ----------
    weights : array (n_kinds, n_loc, n_out) float32
        What the coefficients on each stored channel add to those on each channel asked for.
    own : array (n_kinds, n_pcs, n_loc) float32
        The template on the stored channels, over its squared norm there: the dot product with the
        features is the factor by which the spike is larger than its template. All 0: not known.
    rest : array (n_kinds, n_pcs, n_out) float32
        What the template on the channels that are not stored adds, for a factor of 1.
    """

    weights: NDArray[np.float32]
    own: NDArray[np.float32]
    rest: NDArray[np.float32]


@njit
def _spike_coefficients(
    feature: NDArray[np.floating],
    weights: NDArray[np.float32],
    own: NDArray[np.float32],
    rest: NDArray[np.float32],
    out: NDArray[np.float32],
) -> float:  # feature, own (p, j), weights (j, c), rest, out (p, c)
    num_pcs, num_local = own.shape
    num_out = weights.shape[1]
    factor = np.float32(0)
    for p in range(num_pcs):
        for j in range(num_local):
            factor += np.float32(feature[p, j]) * own[p, j]
    for p in range(num_pcs):
        row = out[p]
        for c in range(num_out):
            row[c] = factor * rest[p, c]
        for j in range(num_local):
            value = np.float32(feature[p, j])
            weight = weights[j]
            for c in range(num_out):
                row[c] += value * weight[c]
    return factor


@njit
def coefficients_of_spikes(
    features: NDArray[np.floating],
    rows: NDArray[np.integer],
    kinds: NDArray[np.integer],
    how: Rebuilding,
    out: NDArray[np.float32],
    factors: NDArray[np.float32],
) -> None:
    """Compute the unwhitened waveforms of spikes in the basis of the features.

    Parameters
    ----------
    features : array (n_rows, n_pcs, n_loc) floating
    rows : array (n_spikes,) integer
        Row of each spike in `features`; -1: not stored, all its values are NaN.
    kinds : array (n_spikes,) integer
    how : Rebuilding
    out : array (n_spikes, n_pcs, n_out) float32
        The coefficients.
    factors : array (n_spikes,) float32
        How much larger than its template each spike is on the stored channels.
    """
    for i in range(rows.size):
        if rows[i] < 0:
            out[i] = np.nan
            factors[i] = np.nan
            continue
        k = kinds[i]
        factors[i] = _spike_coefficients(
            features[rows[i]], how.weights[k], how.own[k], how.rest[k], out[i]
        )


@njit
def waveforms_of_coefficients(
    coefficients: NDArray[np.floating], basis: NDArray[np.floating], out: NDArray[np.floating]
) -> None:
    """Turn coefficients into samples.

    Parameters
    ----------
    coefficients : array (n, n_pcs, n_channels) floating
    basis : array (n_pcs, n_samples) floating
        What a coefficient of 1 stands for.
    out : array (n, n_samples, n_channels) floating
    """
    num_pcs, num_samples = basis.shape
    whole = num_pcs - num_pcs % 3
    for i in range(coefficients.shape[0]):
        for s in range(num_samples):
            row = out[i, s]
            row[:] = 0
            # three at a time: a third of the loads and stores, in the same order of additions
            for p in range(0, whole, 3):
                w0, w1, w2 = basis[p, s], basis[p + 1, s], basis[p + 2, s]
                v0, v1, v2 = coefficients[i, p], coefficients[i, p + 1], coefficients[i, p + 2]
                for c in range(row.size):
                    row[c] = ((row[c] + w0 * v0[c]) + w1 * v1[c]) + w2 * v2[c]
            for p in range(whole, num_pcs):
                weight = basis[p, s]
                values = coefficients[i, p]
                for c in range(row.size):
                    row[c] += weight * values[c]


class Moments(NamedTuple):
    """Sums over the spikes of each set.

    Attributes
    ----------
    counts : array (n_sets,) int64
        Spikes with features.
    sums : array (n_sets, n_pcs, n_out) float64
        Of the coefficients.
    products : array (n_sets, n_pairs, n_out) float64
        Of the products of the coefficients p and q on one channel, p from 0, q from p.
    """

    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    products: NDArray[np.float64]

    @staticmethod
    def zeros(num_sets: int, num_pcs: int, num_out: int) -> Moments:
        """Return the sums over no spikes."""
        num_pairs = num_pcs * (num_pcs + 1) // 2
        return Moments(
            np.zeros(num_sets, dtype=np.int64),
            np.zeros((num_sets, num_pcs, num_out)),
            np.zeros((num_sets, num_pairs, num_out)),
        )

    def add(self, other: Moments) -> None:
        """Add the sums over other spikes."""
        np.add(self.counts, other.counts, out=self.counts)
        np.add(self.sums, other.sums, out=self.sums)
        np.add(self.products, other.products, out=self.products)


@njit
def add_moments(
    features: NDArray[np.floating],
    rows: NDArray[np.integer],
    kinds: NDArray[np.integer],
    sets: NDArray[np.integer],
    how: Rebuilding,
    into: Moments,
) -> None:
    """Add the coefficients of spikes and their products to the sums of their sets.

    Parameters
    ----------
    features : array (n_rows, n_pcs, n_loc) floating
    rows, kinds : array (n_spikes,) integer
        As of `coefficients_of_spikes`; spikes with row -1 are left out.
    sets : array (n_spikes,) integer
        The set of each spike.
    how : Rebuilding
    into : Moments
    """
    num_pcs, num_out = into.sums.shape[1], into.sums.shape[2]
    found = np.empty((num_pcs, num_out), dtype=np.float32)
    for i in range(rows.size):
        if rows[i] < 0:
            continue
        k = kinds[i]
        _spike_coefficients(features[rows[i]], how.weights[k], how.own[k], how.rest[k], found)
        into.counts[sets[i]] += 1
        sums = into.sums[sets[i]]
        products = into.products[sets[i]]
        pair = 0
        for p in range(num_pcs):
            for c in range(num_out):
                sums[p, c] += found[p, c]
            for q in range(p, num_pcs):
                for c in range(num_out):
                    products[pair, c] += np.float64(found[p, c]) * np.float64(found[q, c])
                pair += 1


def mean_and_std(
    moments: Moments, basis: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the standard deviation of the waveforms of each set.

    Parameters
    ----------
    moments : Moments
    basis : array (n_pcs, n_samples) floating

    Returns
    -------
    mean, std : array (n_sets, n_samples, n_out) float64
        NaN for a set without spikes. The deviation is that of all spikes (divided by their
        number), as SpikeInterface's and numpy's.

    Notes
    -----
    The variance of ``sum_p basis[p, s] * g[p]`` is ``sum_pq basis[p, s] * basis[q, s] *
    cov(g[p], g[q])``.

    Examples
    --------
    >>> moments = Moments(np.array([2]), np.array([[[4.0]]]), np.array([[[10.0]]]))
    >>> mean, std = mean_and_std(moments, np.array([[1.0, 2.0]]))
    >>> mean.ravel().tolist(), std.ravel().tolist()
    ([2.0, 4.0], [1.0, 2.0])
    """
    num_pcs = basis.shape[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        number = np.where(moments.counts > 0, moments.counts, np.nan)[:, None, None]
        means = moments.sums / number
        squares = moments.products / number
    first, second = np.triu_indices(num_pcs)
    covariance = squares - means[:, first] * means[:, second]
    times = np.where(first == second, 1.0, 2.0)[:, None]
    weights = (basis[first] * basis[second] * times).astype(np.float64)  # (n_pairs, n_samples)
    variance = np.einsum("ks,ukc->usc", weights, covariance, optimize=True)
    mean = np.einsum("ps,upc->usc", np.asarray(basis, dtype=np.float64), means, optimize=True)
    return mean, np.sqrt(np.maximum(variance, 0))
