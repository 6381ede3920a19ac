"""How well two waveforms on the same channels agree at the best lag."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Agreement(NamedTuple):
    """Agreement of two waveforms.

    Attributes
    ----------
    correlation : float
        Pearson correlation over samples and channels, the mean over time of each channel taken off;
        NaN where one of them is constant.
    lag : int
        Samples by which the second is later.
    ratio : float
        Least-squares factor from the first to the second; NaN where the first is constant.
    """

    correlation: float
    lag: int
    ratio: float


def best_agreement(
    first: NDArray[np.floating], second: NDArray[np.floating], shift: int, max_lag: int
) -> Agreement:
    """Compare two waveforms at the lag at which they agree best.

    Parameters
    ----------
    first : array (n_samples, n_channels)
    second : array (m_samples, n_channels)
    shift : int
        Sample ``i`` of `first` is at the time of sample ``i + shift`` of `second`.
    max_lag : int
        Lags from ``-max_lag`` to ``max_lag`` samples beside the shift are tried, those at which the
        two overlap by more than half of the shorter one; ties go to the smallest.

    Returns
    -------
    Agreement

    Examples
    --------
    >>> wave = np.sin(np.arange(20.0))[:, None]
    >>> best_agreement(wave[2:], 3 * wave, 0, 4)
    Agreement(correlation=1.0, lag=2, ratio=3.0)
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    best = Agreement(np.nan, 0, np.nan)
    needed = min(len(first), len(second)) // 2
    for lag in sorted(range(-max_lag, max_lag + 1), key=abs):
        start = max(0, -(shift + lag))
        stop = min(len(first), len(second) - shift - lag)
        if stop - start <= needed:
            continue
        a = first[start:stop]
        b = second[start + shift + lag : stop + shift + lag]
        a, b = a - a.mean(axis=0), b - b.mean(axis=0)
        power_a, power_b = float((a * a).sum()), float((b * b).sum())
        if power_a <= 0 or power_b <= 0:
            continue
        product = float((a * b).sum())
        correlation = product / np.sqrt(power_a * power_b)
        if not correlation <= best.correlation + 1e-12:  # NaN before the first
            best = Agreement(round(float(correlation), 12), lag, round(product / power_a, 12))
    return best
