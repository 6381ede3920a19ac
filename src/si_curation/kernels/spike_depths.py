"""Depth of each spike from its features on the channels around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit, read_only


@njit
def _depths(
    features: NDArray[np.floating],
    rows: NDArray[np.integer],
    groups: NDArray[np.integer],
    channels: NDArray[np.integer],
    depths: NDArray[np.floating],
    out: NDArray[np.floating],
) -> None:
    for i in range(rows.size):
        out[i] = np.nan
        if rows[i] < 0:
            continue
        total = 0.0
        weights = 0.0
        for k in range(features.shape[2]):
            channel = channels[groups[i], k]
            value = np.float64(features[rows[i], 0, k])
            if channel < 0 or not value > 0 or np.isnan(depths[channel]):
                continue
            total += depths[channel] * value * value
            weights += value * value
        if weights > 0:
            out[i] = total / weights


def depths_of_features(
    features: NDArray[np.floating],
    rows: NDArray[np.integer],
    groups: NDArray[np.integer],
    channels: NDArray[np.integer],
    depths: NDArray[np.floating],
    out: NDArray[np.floating],
) -> None:
    """Compute the mean depth of the channels, weighted by the square of positive components.

    Parameters
    ----------
    features : array (n_rows, n_pcs, n_loc) floating
    rows : array (n_spikes,) integer
        Row of each spike in `features`; -1: not stored.
    groups : array (n_spikes,) integer
        Row of each spike in `channels`.
    channels : array (n_groups, n_loc) integer
        Channel of each column; -1 for none.
    depths : array (n_channels,) floating
        In µm; columns of channels that are NaN are left out.
    out : array (n_spikes,) floating
        NaN where nothing is stored or no first component is positive.

    Notes
    -----
    Source: phylib 2.7.1, ``TemplateModel.get_depths``.
    """
    _depths(read_only(features), rows, read_only(groups), read_only(channels), depths, out)
