"""Samples of a segment to seconds and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 2**22  # timestamps that are read from a file at once


@dataclass(frozen=True, eq=False)
class Clock:
    """Time of the samples of one segment.

    Attributes
    ----------
    start_s : float
        Of the first sample.
    rate : float
        Samples per second.
    num_samples : int
    source : str
        Where it is from, for messages.
    timestamps : array-like (num_samples,), optional
        Of every sample, strictly ascending; may be a dataset of an open file.
    """

    start_s: float
    rate: float
    num_samples: int
    source: str
    timestamps: Any = None

    @property
    def end_s(self) -> float:
        """End of the last sample."""
        return self.last_s + 1.0 / self.rate

    @property
    def last_s(self) -> float:
        """Start of the last sample."""
        if self.timestamps is not None:
            return float(self.timestamps[self.num_samples - 1])
        return self.start_s + (self.num_samples - 1) / self.rate

    def times_of(self, frames: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the seconds of samples: ``timestamps[frame]``, else ``start_s + frame / rate``.

        Examples
        --------
        >>> Clock(10.0, 4.0, 8, "t_start").times_of(np.array([0, 3]))
        array([10.  , 10.75])
        """
        if self.timestamps is None:
            times = frames / self.rate
            times += self.start_s
            return times
        return _take(self.timestamps, frames)

    def frames_of(self, times: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the nearest samples of seconds; the reverse of `times_of`.

        Examples
        --------
        >>> Clock(1.7e9, 29_999.757, 10**10, "t_start").frames_of(np.array([1.7e9 + 1.0]))
        array([30000])
        """
        if self.timestamps is None:
            return np.rint((times - self.start_s) * self.rate).astype(np.int64)
        return _search(self.timestamps, self.num_samples, times)


def are_regular(clocks: Sequence[Clock]) -> bool:
    """Return whether no clock has a time for every sample."""
    return all(clock.timestamps is None for clock in clocks)


def starts_and_rates(
    clocks: Sequence[Clock],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``start_s`` and ``rate`` of clocks, each (n_clocks,).

    Examples
    --------
    >>> starts_and_rates([Clock(10.0, 4.0, 8, "t_start")])
    (array([10.]), array([4.]))
    """
    return (
        np.array([clock.start_s for clock in clocks], dtype=np.float64),
        np.array([clock.rate for clock in clocks], dtype=np.float64),
    )


def _take(values: Any, frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return values at ascending or other positions, without all of a file in memory."""
    if isinstance(values, np.ndarray):
        return values[frames].astype(np.float64, copy=False)
    out = np.empty(frames.size, dtype=np.float64)
    order = None if np.all(frames[1:] >= frames[:-1]) else np.argsort(frames, kind="stable")
    ascending = frames if order is None else frames[order]
    first = 0
    while first < ascending.size:
        start = int(ascending[first])
        last = int(np.searchsorted(ascending, start + BLOCK))
        block = np.asarray(values[start : int(ascending[last - 1]) + 1], dtype=np.float64)
        where = slice(first, last) if order is None else order[first:last]
        out[where] = block[ascending[first:last] - start]
        first = last
    return out


def _search(values: Any, size: int, times: NDArray[np.float64]) -> NDArray[np.int64]:
    if isinstance(values, np.ndarray):
        return np.searchsorted(values[:size], times, side="right") - 1
    out = np.full(times.size, -1, dtype=np.int64)
    for start in range(0, size, BLOCK):
        block = np.asarray(values[start : min(start + BLOCK, size)], dtype=np.float64)
        inside = times >= block[0]  # later blocks write over those beyond this one
        out[inside] = start + np.searchsorted(block, times[inside], side="right") - 1
    return out
