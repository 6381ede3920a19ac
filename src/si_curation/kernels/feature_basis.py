"""The waveforms in which a sorter's principal-component features were taken.

Kilosort 4 writes them (``ops["wPCA"]``). Kilosort 1 to 3 do not, but the mean features of the
spikes of a template are the template itself in that basis, times the mean amplitude: with enough
templates the basis follows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class FeatureBasis(NamedTuple):
    """A basis, and how well it is known.

    Attributes
    ----------
    waveforms : array (n_pcs, n_samples) float64
        The features of a waveform ``x`` (n_samples,) are ``waveforms @ x``.
    condition_number : float
        How well the templates determine it: the largest over the smallest of the n_pcs singular
        values that it follows from; inf where the templates span fewer than n_pcs waveforms. For a
        basis that the sorter wrote: of its singular values.
    explained : float
        Fraction of the variance of the mean features that the templates explain in it.
    explained_by_chance : float
        The same after the templates were exchanged among each other.
    """

    waveforms: NDArray[np.float64]
    condition_number: float
    explained: float
    explained_by_chance: float


def condition_number(singular_values: NDArray[np.floating]) -> float:
    """Return the ratio of the first to the last of descending singular values; inf if that is zero.

    Examples
    --------
    >>> condition_number(np.array([2.0, 1.0]))
    2.0
    """
    smallest = float(singular_values[-1])
    largest = float(singular_values[0])
    return largest / smallest if smallest > 1e-12 * largest else float("inf")


def recover_basis(
    mean_features: NDArray[np.floating],
    templates: NDArray[np.floating],
    num_spikes: NDArray[np.integer],
) -> FeatureBasis:
    """Recover the orthonormal basis of features from the mean features of each template.

    The mean features of the spikes of a template are the template in that basis, times their mean
    amplitude. The basis that turns the templates into the mean features best, each template
    weighted by its number of spikes, is an orthogonal Procrustes problem: with ``U S Vᵀ`` the
    singular value decomposition of the sum of ``num_spikes * templateᵀ mean_features`` over
    templates and channels, it is ``V Uᵀ``.

    Parameters
    ----------
    mean_features : array (n_templates, n_pcs, n_loc) floating
    templates : array (n_templates, n_samples, n_loc) floating
        On the channels of the features; zeros where there is none.
    num_spikes : array (n_templates,) integer
        Spikes in each mean; 0: the template is not used.

    Returns
    -------
    FeatureBasis

    Notes
    -----
    Source: Schönemann 1966, Psychometrika 31:1 (orthogonal Procrustes problem). The components of
    Kilosort are singular vectors, and so orthonormal.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> basis = np.linalg.qr(rng.standard_normal((9, 2)))[0].T
    >>> features = rng.standard_normal((20, 2, 4))
    >>> templates = np.einsum("ps,tpc->tsc", basis, features / 3.0)
    >>> found = recover_basis(features, templates, np.full(20, 50))
    >>> bool(np.allclose(found.waveforms, basis)), round(found.explained, 6)
    (True, 1.0)
    """
    used = np.flatnonzero(num_spikes > 0)
    weights = num_spikes[used].astype(np.float64)
    features = np.asarray(mean_features, dtype=np.float64)[used]
    shapes = np.asarray(templates, dtype=np.float64)[used]
    waveforms, values = _procrustes(features, shapes, weights)
    by_chance = 0.0
    if used.size > 1:
        exchanged = np.roll(shapes, 1 + used.size // 3, axis=0)
        other, _ = _procrustes(features, exchanged, weights)
        by_chance = _explained(features, exchanged, weights, other)
    explained = _explained(features, shapes, weights, waveforms)
    return FeatureBasis(waveforms, condition_number(values), explained, by_chance)


def _procrustes(
    features: NDArray[np.floating], templates: NDArray[np.floating], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    cross = np.einsum("t,tsc,tpc->sp", weights, templates, features, optimize=True)
    left, values, right = np.linalg.svd(cross, full_matrices=False)
    return (left @ right).T, values


def _explained(
    features: NDArray[np.float64],
    templates: NDArray[np.float64],
    weights: NDArray[np.float64],
    waveforms: NDArray[np.float64],
) -> float:
    """Return the fraction of the variance explained, each template scaled as fits best."""
    expected = np.einsum("ps,tsc->tpc", waveforms, templates, optimize=True)
    overlap = np.maximum((features * expected).sum(axis=(1, 2)), 0)
    power = (expected**2).sum(axis=(1, 2))
    gained = np.divide(overlap**2, power, out=np.zeros_like(power), where=power > 0)
    total = float((weights * (features**2).sum(axis=(1, 2))).sum())
    return float((weights * gained).sum()) / total if total > 0 else 0.0


def templates_in_basis(
    templates: NDArray[np.floating], waveforms: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the coefficients of templates in a basis, by least squares.

    With them the dot product of a waveform and a template is the dot product of the waveform's
    features and the coefficients, exactly where the template lies in the span of the basis.

    Parameters
    ----------
    templates : array (n_templates, n_samples, n_channels) floating
    waveforms : array (n_pcs, n_samples) floating

    Returns
    -------
    array (n_templates, n_pcs, n_channels) float64

    Examples
    --------
    >>> templates_in_basis(np.array([[[2.0], [3.0]]]), np.array([[1.0, 0.0]]))
    array([[[2.]]])
    """
    inverse = np.linalg.pinv(np.asarray(waveforms, dtype=np.float64))  # (n_samples, n_pcs)
    return np.einsum("tsc,sp->tpc", np.asarray(templates, dtype=np.float64), inverse, optimize=True)
