"""Noise of channels, from what templates leave of the features of their spikes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_MAD_OF_NORMAL = 0.6744897501960817  # median absolute deviation of a standard normal variable
MIN_SPIKES = 20
FAR = 0.3
_SMALL_QUANTILE = 0.25


def residuals_of_template(
    coefficients: NDArray[np.floating], factors: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return what the mean waveform, scaled to each spike, leaves of its waveform.

    Parameters
    ----------
    coefficients : array (n_spikes, n_pcs, n_channels) floating
        In any basis.
    factors : array (n_spikes,) floating
        How large each spike is.

    Returns
    -------
    array (n_spikes, n_pcs, n_channels) float64

    Notes
    -----
    The mean is that of least squares, ``sum f c / sum f^2``.

    Examples
    --------
    >>> found = residuals_of_template(np.array([[[2.0]], [[4.0]]]), np.array([1.0, 2.0]))
    >>> found.ravel().tolist()
    [0.0, 0.0]
    """
    values = np.asarray(coefficients, dtype=np.float64)
    size = np.asarray(factors, dtype=np.float64)
    power = float((size**2).sum())
    mean = np.einsum("n,npc->pc", size, values) / (power if power > 0 else 1.0)
    return values - size[:, None, None] * mean


def robust_deviation(values: NDArray[np.floating], axis: int = 0) -> NDArray[np.float64]:
    """Return the standard deviation of a normal variable with this median absolute deviation.

    Examples
    --------
    >>> round(float(robust_deviation(np.array([-1.0, 0.0, 1.0, 100.0]))), 3)
    1.483
    """
    middle = np.median(values, axis=axis, keepdims=True)
    return np.median(np.abs(values - middle), axis=axis) / _MAD_OF_NORMAL


def noise_of_channels(
    deviations: Sequence[NDArray[np.floating]],
    sizes: Sequence[NDArray[np.floating]],
    num_channels: int,
) -> NDArray[np.float64]:
    """Return the noise of each channel, from the deviations that each template leaves there.

    Where a template is large, its deviation has the changes of its spikes in it too. So the median
    is taken over the templates that are small on the channel, below 0.3 of their largest channel;
    where there is none, the lower quartile over all.

    Parameters
    ----------
    deviations : sequence of array (n_channels,) floating
        Of each template; NaN on channels without features.
    sizes : sequence of array (n_channels,) floating
        Of the template on each channel, above 0.
    num_channels : int

    Returns
    -------
    array (n_channels,) float64
        NaN for channels on which no template has features.

    Examples
    --------
    >>> noise_of_channels([np.array([2.0, 1.0])], [np.array([10.0, 1.0])], 2).tolist()
    [2.0, 1.0]
    """
    out = np.full(num_channels, np.nan)
    if not len(deviations):
        return out
    found, size = np.stack(deviations), np.stack(sizes)
    largest = size.max(axis=1, keepdims=True)
    is_far = size < FAR * largest
    for channel in range(num_channels):
        there = np.isfinite(found[:, channel])
        far = there & is_far[:, channel]
        if far.any():
            out[channel] = np.median(found[far, channel])
        elif there.any():
            out[channel] = np.quantile(found[there, channel], _SMALL_QUANTILE)
    return out
