"""Histograms and density images of spikes, for the page to draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation.report.encode import pack_counts

MAX_SAMPLE = 2_000_000
_NICE_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_MAX_BINS = 200


def bin_width_s(duration_s: float, max_bins: int = _MAX_BINS) -> float:
    """Return the smallest round width in s that needs at most so many bins.

    Examples
    --------
    >>> bin_width_s(3600.0)
    20
    """
    wanted = duration_s / max_bins
    return next((width for width in _NICE_S if width >= wanted), wanted)


@dataclass(frozen=True)
class TimeBins:
    """Bins of time for firing rates; the last one may be shorter.

    Attributes
    ----------
    edges_s : array (n + 1,)
    seen_s : array (n,)
        How much of each bin was observed.
    bin_s : float
    """

    edges_s: NDArray[np.float64]
    seen_s: NDArray[np.float64]
    bin_s: float

    def count(self, times_s: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the spikes in each bin (n,)."""
        num_bins = self.seen_s.size
        which = np.clip((times_s / self.bin_s).astype(np.int64), 0, num_bins - 1)
        return np.bincount(which, minlength=num_bins)

    def to_page(self) -> dict[str, Any]:
        """Return the bins for the data of the page."""
        return {
            "edges_s": self.edges_s.tolist(),
            "seen_s": self.seen_s.tolist(),
            "bin_s": self.bin_s,
        }


def time_bins(duration_s: float, periods_s: NDArray[np.floating] | None = None) -> TimeBins:
    """Return bins of time for firing rates.

    Parameters
    ----------
    duration_s : float
    periods_s : array (n_periods, 2), optional
        What was observed; None: everything.

    Examples
    --------
    >>> bins = time_bins(2.5)
    >>> bins.bin_s, bins.seen_s.size, bins.count(np.array([0.1, 0.2, 2.4])).sum()
    (0.02, 125, np.int64(3))
    >>> time_bins(0.3, np.array([[0.25, 0.3]])).seen_s[:2]
    array([0., 0.])
    """
    width = bin_width_s(duration_s)
    num_bins = max(int(np.ceil(duration_s / width - 1e-9)), 1)
    edges = np.minimum(np.arange(num_bins + 1) * width, max(duration_s, 1e-9))
    seen = np.diff(edges)
    if periods_s is not None:
        before = [np.clip(edges, start, stop) - start for start, stop in periods_s]
        seen = np.diff(np.sum(before, axis=0))
        seen[seen < 1e-9 * width] = 0.0
    return TimeBins(edges, seen, float(width))


def histogram(values: NDArray[np.floating], num_bins: int = 24) -> dict[str, Any] | None:
    """Return the histogram of the finite values; None where there are none.

    Whole numbers of a small range have a bin each.
    """
    values = values[np.isfinite(values)]
    if values.size == 0:
        return None
    low, high = float(values.min()), float(values.max())
    if high - low < num_bins and np.all(values == np.round(values)):
        edges = np.arange(low - 0.5, high + 1.0)
    elif high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        half = max(abs(low) * 0.05, 1e-3)
        edges = np.array([low - half, low + half])
    else:
        edges = np.linspace(low, high, num_bins + 1)
    counts = np.histogram(values, edges)[0]
    return {"edges": edges.tolist(), "counts": counts.tolist(), "num_values": int(values.size)}


def limits(values: NDArray[np.floating]) -> tuple[float, float] | None:
    """Return a range with 99.8 % of the finite values and a margin; None where there are none.

    Of more than 2 million values it is that of evenly spaced ones.
    """
    some = values[:: -(-values.size // MAX_SAMPLE) or 1]
    finite = some[np.isfinite(some)]
    if finite.size == 0:
        return None
    low, high = _quantiles(finite, (0.001, 0.999))
    margin = 0.08 * (high - low) or max(abs(high) * 0.1, 1.0)
    return float(low - margin), float(high + margin)


def _quantiles(values: NDArray[np.floating], shares: Sequence[float]) -> list[float]:
    """Return quantiles, of ascending shares, as `numpy.quantile` does for arrays of any shape."""
    # one after the other, in what is not below the last: numpy takes four times as long for several
    last = values.size - 1
    found, first = [], 0
    for place in (share * last for share in shares):
        at = int(place)
        values[first:].partition(at - first)
        first, share = at, place - at
        low = high = float(values[at])
        if at < last:
            high = float(values[at + 1 :].min())
        step = float(values.dtype.type(high) - values.dtype.type(low))
        found.append(low + step * share if share < 0.5 else high - step * (1 - share))
    return found


def density(
    points: Iterable[tuple[NDArray[np.floating], NDArray[np.floating]]],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    shape: tuple[int, int],
) -> dict[str, Any]:
    """Count points in the cells of a grid.

    Parameters
    ----------
    points : iterable of (x, y)
        Blocks of points: arrays (n,).
    x_range, y_range : (low, high)
        The ends are inside.
    shape : (n_x, n_y)

    Returns
    -------
    dict
        ``counts`` packed, (n_x, n_y); ``x``, ``y`` (low, high) and ``outside``: points that are
        not in the range, or not finite.
    """
    num_x, num_y = shape
    counts = np.zeros(num_x * num_y, dtype=np.int64)
    num_points = 0
    for x, y in points:
        inside = (x >= x_range[0]) & (x <= x_range[1])
        inside &= (y >= y_range[0]) & (y <= y_range[1])
        column = _cells(x[inside], x_range, num_x)
        row = _cells(y[inside], y_range, num_y)
        counts += np.bincount(column * num_y + row, minlength=counts.size)
        num_points += x.size
    return {
        "counts": pack_counts(counts.reshape(num_x, num_y)),
        "x": list(x_range),
        "y": list(y_range),
        "outside": int(num_points - counts.sum()),
    }


def _cells(values: NDArray, its_range: tuple[float, float], num_cells: int) -> NDArray[np.int64]:
    low, high = its_range
    which = ((values - low) * (num_cells / max(high - low, 1e-300))).astype(np.int64)
    return np.minimum(which, num_cells - 1)
