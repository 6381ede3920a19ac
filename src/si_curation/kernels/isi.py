"""Histogram of the intervals between successive spikes of a unit (ISI)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import ParameterError


def isi_histogram(
    spike_trains: Sequence[NDArray[np.integer]], window_samples: int, bin_samples: int
) -> NDArray[np.int64]:
    """Count the intervals between successive spikes in half-open bins [k w, (k + 1) w).

    Parameters
    ----------
    spike_trains : sequence of array (n_spikes,) integer
        Ascending samples of one unit, an array for each segment.
    window_samples : int
        Whole bins of it are counted.
    bin_samples : int

    Returns
    -------
    array (n_bins,) int64

    Raises
    ------
    ParameterError
        The bin is smaller than a sample, or no whole bin fits into the window.

    Examples
    --------
    >>> isi_histogram([np.array([0, 3, 5, 100])], window_samples=6, bin_samples=2)
    array([0, 2, 0])
    """
    if bin_samples < 1:
        raise ParameterError(f"the bin is {bin_samples} samples long, expected at least 1")
    num_bins = int(window_samples) // int(bin_samples)
    if num_bins < 1:
        raise ParameterError(
            f"the window is {window_samples} samples and the bin {bin_samples}; at least one "
            "whole bin has to fit"
        )
    counts = np.zeros(num_bins, dtype=np.int64)
    for train in spike_trains:
        which = np.diff(train.astype(np.int64, copy=False)) // bin_samples
        counts += np.bincount(which[which < num_bins], minlength=num_bins)
    return counts
