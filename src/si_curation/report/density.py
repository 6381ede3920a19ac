"""Histograms and density images of spikes, for the page to draw."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation.report.encode import pack_counts

_BLOCK = 1_000_000
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


def rate_over_time(
    times_s: NDArray[np.floating],
    duration_s: float,
    periods_s: NDArray[np.floating] | None = None,
) -> dict[str, Any]:
    """Return the rate in bins of time; the last bin may be shorter.

    Parameters
    ----------
    times_s : array (n_spikes,)
    duration_s : float
    periods_s : array (n_periods, 2), optional
        What was observed; None: everything. The rate of a bin is over what was observed of it.

    Returns
    -------
    dict
        ``edges_s`` (n + 1,), ``rate_hz`` (n,; None where nothing was observed), ``bin_s``.

    Examples
    --------
    >>> rate_over_time(np.array([0.1, 0.2, 2.4]), 2.5)["rate_hz"][:4]
    [0.0, 0.0, 0.0, 0.0]
    >>> rate_over_time(np.array([0.26]), 0.3, np.array([[0.25, 0.3]]))["rate_hz"][:2]
    [None, None]
    """
    width = bin_width_s(duration_s)
    num_bins = max(int(np.ceil(duration_s / width - 1e-9)), 1)
    edges = np.minimum(np.arange(num_bins + 1) * width, max(duration_s, 1e-9))
    which = np.clip((times_s / width).astype(np.int64), 0, num_bins - 1)
    counts = np.bincount(which, minlength=num_bins)
    seen = np.diff(edges)
    if periods_s is not None:
        before = [np.clip(edges, start, stop) - start for start, stop in periods_s]
        seen = np.diff(np.sum(before, axis=0))
        seen[seen < 1e-9 * width] = 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = (counts / seen).tolist()
    return {
        "edges_s": edges.tolist(),
        "rate_hz": [rate if of > 0 else None for rate, of in zip(rates, seen, strict=True)],
        "bin_s": width,
    }


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
    """Return a range with 99.8 % of the finite values and a margin; None where there are none."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return None
    low, high = np.quantile(finite, [0.001, 0.999])
    margin = 0.08 * (high - low) or max(abs(high) * 0.1, 1.0)
    return float(low - margin), float(high + margin)


def density(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    shape: tuple[int, int],
) -> dict[str, Any]:
    """Count points in the cells of a grid.

    Parameters
    ----------
    x, y : array (n,)
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
    for start in range(0, x.size, _BLOCK):
        one_x, one_y = x[start : start + _BLOCK], y[start : start + _BLOCK]
        inside = (one_x >= x_range[0]) & (one_x <= x_range[1])
        inside &= (one_y >= y_range[0]) & (one_y <= y_range[1])
        column = _cells(one_x[inside], x_range, num_x)
        row = _cells(one_y[inside], y_range, num_y)
        counts += np.bincount(column * num_y + row, minlength=counts.size)
    return {
        "counts": pack_counts(counts.reshape(num_x, num_y)),
        "x": list(x_range),
        "y": list(y_range),
        "outside": int(x.size - counts.sum()),
    }


def _cells(values: NDArray, its_range: tuple[float, float], num_cells: int) -> NDArray[np.int64]:
    low, high = its_range
    which = ((values - low) * (num_cells / max(high - low, 1e-300))).astype(np.int64)
    return np.minimum(which, num_cells - 1)
