"""Shape of templates on one channel: extrema, widths, slopes and ratios.

The definitions are those of SpikeInterface 0.105 (``spikeinterface.metrics.template``), for all
templates at once: each is upsampled ten times, its trough is found, then the largest peaks before
and after it. Indices and widths are in samples of the upsampled template; -1 stands for an extremum
that is not there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import njit

#: How many samples stand for one.
UPSAMPLING = 10
# samples on each side that the filter of upsampling reaches
_REACH = 10
# of the largest amplitude: what an extremum must stand out by
_PROMINENCE = 0.3
_EDGE_MS = 0.09
# a peak is at least this part of the trough's half width, and so many samples, away from the trough
_LEAST_DISTANCE = 0.2
_LEAST_SAMPLES = 3


class Extrema(NamedTuple):
    """The main extremum of each template within a window.

    Attributes
    ----------
    place : array (n,) int64
        -1 where the window is empty.
    width : array (n,) float64
        At half the prominence; NaN where nothing stands out by half of what it must.
    number : array (n,) int64
        Extrema that stand out by what they must.
    """

    place: NDArray[np.int64]
    width: NDArray[np.float64]
    number: NDArray[np.int64]


class MainExtrema(NamedTuple):
    """The trough of each template, and the largest peaks before and after it."""

    trough: Extrema
    before: Extrema
    after: Extrema


def upsample(templates: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return templates with ten samples for each, filtered as `scipy.signal.resample_poly` does.

    Parameters
    ----------
    templates : array (n, n_samples) float32

    Returns
    -------
    array (n, 10 * n_samples) float32

    Examples
    --------
    >>> upsample(np.ones((2, 61), dtype=np.float32)).shape
    (2, 610)
    """
    out = np.empty((len(templates), UPSAMPLING * templates.shape[1]), dtype=np.float32)
    _filter(np.ascontiguousarray(templates, dtype=np.float32), _taps(), out)
    return out


@lru_cache(maxsize=1)
def _taps() -> NDArray[np.float32]:
    """Return the low-pass filter of `scipy.signal.resample_poly`, by phase and sample."""
    away = np.arange(-_REACH * UPSAMPLING, _REACH * UPSAMPLING + 1)
    window = np.sinc(away / UPSAMPLING) * np.kaiser(away.size, 5.0)
    whole = np.zeros((2 * _REACH + 1) * UPSAMPLING, dtype=np.float32)
    whole[: away.size] = (window / window.sum()).astype(np.float32) * np.float32(UPSAMPLING)
    # the first sample has the last taps
    return np.ascontiguousarray(whole.reshape(-1, UPSAMPLING)[::-1].T)


@njit
def _filter(
    templates: NDArray[np.float32],  # (n, n_samples)
    taps: NDArray[np.float32],  # (phases, 2 * reach + 1)
    out: NDArray[np.float32],  # (n, phases * n_samples)
) -> None:
    n, size = templates.shape
    phases, width = taps.shape
    padded = np.zeros(size + width - 1, dtype=np.float32)
    total = np.empty(size, dtype=np.float32)
    for row in range(n):
        padded[width // 2 : width // 2 + size] = templates[row]
        for phase in range(phases):
            total[:] = 0
            # sample after sample, in the order in which scipy adds them
            for k in range(width):
                tap = taps[phase, k]
                for i in range(size):
                    total[i] += padded[i + k] * tap
            for i in range(size):
                out[row, i * phases + phase] = total[i]


def find_extrema(
    templates: NDArray[np.floating],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    prominence: NDArray[np.floating],
) -> Extrema:
    """Find the most prominent peak of each template between two samples.

    Where none stands out by half the given prominence, it is the largest value.

    Parameters
    ----------
    templates : array (n, n_samples) floating
    start, stop : array (n,) int64
        A window that begins at 0 is empty, as is one that ends where it begins.
    prominence : array (n,) floating

    Returns
    -------
    Extrema

    Examples
    --------
    >>> wave = np.array([[0.0, 0.0, 3.0, 1.0, 2.0, 0.0]])
    >>> found = find_extrema(wave, np.array([1]), np.array([6]), np.array([0.5]))
    >>> found.place, found.width, found.number
    (array([2]), array([1.25]), array([2]))
    """
    n = len(templates)
    place, number = np.empty(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    width = np.full(n, np.nan)
    _find_extrema(
        np.ascontiguousarray(templates, dtype=np.float32),
        start,
        stop,
        np.asarray(prominence, dtype=np.float32),
        place,
        width,
        number,
    )
    return Extrema(place, width, number)


@njit
def _find_extrema(
    templates: NDArray[np.float32],  # (n, n_samples)
    start: NDArray[np.int64],  # (n,), as all that follow
    stop: NDArray[np.int64],
    prominence: NDArray[np.float32],
    place: NDArray[np.int64],
    width: NDArray[np.float64],
    number: NDArray[np.int64],
) -> None:
    for row in range(len(templates)):
        first, last = start[row], stop[row]
        if last <= first or first <= 0:
            place[row] = -1
            continue
        wave = templates[row, first:last]
        best, most = -1, -1.0
        i = 1
        while i < wave.size - 1:
            if wave[i - 1] < wave[i]:
                ahead = i + 1
                while ahead < wave.size - 1 and wave[ahead] == wave[i]:
                    ahead += 1
                if wave[ahead] < wave[i]:
                    peak = (i + ahead - 1) // 2
                    its = _prominence(wave, peak)
                    if its >= prominence[row]:
                        number[row] += 1
                    if its > most:
                        best, most = peak, its
                    i = ahead
            i += 1
        if best >= 0 and most >= np.float32(0.5) * prominence[row]:
            place[row] = first + best
            width[row] = _width(wave, best, np.float64(wave[best]) - most * 0.5)
        else:
            place[row] = first + np.argmax(wave)


@njit
def _prominence(wave: NDArray[np.float32], peak: int) -> float:
    # above the higher of the lowest values on both sides, up to a higher peak
    left, right = wave[peak], wave[peak]
    i = peak
    while i >= 0 and wave[i] <= wave[peak]:
        left = min(left, wave[i])
        i -= 1
    i = peak
    while i < wave.size and wave[i] <= wave[peak]:
        right = min(right, wave[i])
        i += 1
    return np.float64(wave[peak]) - np.float64(max(left, right))


@njit
def _width(wave: NDArray[np.float32], peak: int, height: float) -> float:
    # between where the flanks cross a height, with linear interpolation
    i = peak
    while i > 0 and height < wave[i]:
        i -= 1
    left = np.float64(i)
    if wave[i] < height:
        left += (height - wave[i]) / (np.float64(wave[i + 1]) - wave[i])
    i = peak
    while i < wave.size - 1 and height < wave[i]:
        i += 1
    right = np.float64(i)
    if wave[i] < height:
        right -= (height - wave[i]) / (np.float64(wave[i - 1]) - wave[i])
    return right - left


def _last(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the last column of each row that is true; the last of all where none is."""
    return mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)


def half_widths(templates: NDArray[np.floating], index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the width of a peak at half its height, in whole samples.

    Parameters
    ----------
    templates : array (n, n_samples) floating
    index : array (n,) int64

    Returns
    -------
    array (n,) float64
        NaN where the template does not come down to half on both sides, and where the index is -1.

    Examples
    --------
    >>> half_widths(np.array([[0.0, 1.0, 4.0, 3.0, 0.0]]), np.array([2]))
    array([2.])
    """
    rows = np.arange(len(templates))
    above = templates >= (templates[rows, index] * templates.dtype.type(0.5))[:, None]
    crossed = above[:, 1:] != above[:, :-1]
    columns = np.arange(crossed.shape[1])
    before = crossed & (columns < index[:, None])
    after = crossed & (columns >= index[:, None])
    width = (np.argmax(after, axis=1) - _last(before)).astype(np.float64)
    width[~(before.any(axis=1) & after.any(axis=1))] = np.nan
    return width


def find_main_extrema(templates: NDArray[np.float32], sampling_frequency: float) -> MainExtrema:
    """Find the trough of each upsampled template, and the peaks before and after it.

    Parameters
    ----------
    templates : array (n, n_samples) float32
        Upsampled.
    sampling_frequency : float
        Of the upsampled templates.

    Returns
    -------
    MainExtrema

    Examples
    --------
    >>> time = np.arange(610) / 300.0 - 0.7
    >>> wave = -np.exp(-((time / 0.1) ** 2)) + 0.4 * np.exp(-(((time - 0.5) / 0.2) ** 2))
    >>> found = find_main_extrema(wave[None].astype(np.float32), 300_000.0)
    >>> found.trough.place, found.after.place
    (array([210]), array([360]))
    """
    n, size = templates.shape
    prominence = np.float32(_PROMINENCE) * np.abs(templates).max(axis=1)
    edge = int(_EDGE_MS / 1000 * sampling_frequency)
    first, last = np.full(n, edge), np.full(n, size - edge)
    trough = find_extrema(-templates, first, last, prominence)
    part = np.nan_to_num(_LEAST_DISTANCE * half_widths(-templates, trough.place)).astype(np.int64)
    distance = np.maximum(_LEAST_SAMPLES, part)
    before = find_extrema(templates, first, trough.place - distance, prominence)
    # without a trough nothing is after it
    behind = np.where(trough.place < 0, 0, trough.place + distance)
    after = find_extrema(templates, behind, last, prominence)
    return MainExtrema(trough, before, after)


def slopes(
    templates: NDArray[np.floating], first: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the slope of the line through some samples of each template, by least squares.

    Parameters
    ----------
    templates : array (n, n_samples) floating
    first, stop : array (n,) int64

    Returns
    -------
    array (n,) float64
        Per sample; NaN for less than two samples.

    Examples
    --------
    >>> slopes(np.array([[9.0, 1.0, 3.0, 5.0]]), np.array([1]), np.array([4]))
    array([2.])
    """
    count = np.maximum(stop - first, 0).astype(np.float64)
    columns = np.arange(templates.shape[1])
    inside = (columns >= first[:, None]) & (columns < stop[:, None])
    centred = np.where(inside, columns - (first + (count - 1) / 2)[:, None], 0.0)
    total = np.einsum("ij,ij->i", centred, templates, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 1, total / (count * (count**2 - 1) / 12), np.nan)


def repolarization_slopes(
    templates: NDArray[np.floating], trough: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the slope from the trough to the first sample that is not negative, per sample.

    NaN where there is none, or less than three samples before it.

    Examples
    --------
    >>> repolarization_slopes(np.array([[0.0, -3.0, -2.0, -1.0, 0.0]]), np.array([1]))
    array([1.])
    """
    columns = np.arange(templates.shape[1])
    back = (templates >= 0) & (columns >= trough[:, None])
    stop = np.argmax(back, axis=1)
    is_known = back.any(axis=1) & (trough > 0) & (stop - trough >= 3)
    return np.where(is_known, slopes(templates, trough, stop), np.nan)


def baseline_flatness(
    templates: NDArray[np.floating], first: int, stop: int
) -> NDArray[np.float64]:
    """Return the largest deviation within a window from its mean, over that of the whole template.

    Examples
    --------
    >>> baseline_flatness(np.array([[0.0, 2.0, 1.0, 5.0]]), 0, 3)
    array([0.25])
    """
    n, size = templates.shape
    first, stop = max(0, first), min(size, stop)
    if stop <= first:
        return np.full(n, np.nan)
    window = np.ascontiguousarray(templates[:, first:stop])
    mean = window.mean(axis=1, keepdims=True)
    within = np.abs(window - mean).max(axis=1)
    whole = np.abs(templates - mean).max(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole == 0, np.nan, within / whole).astype(np.float64)


def amplitude_ratios(
    templates: NDArray[np.floating], extrema: MainExtrema
) -> dict[str, NDArray[np.float64]]:
    """Return the ratios of the sizes of trough and peaks; NaN where one is not there, or over 0.

    Returns
    -------
    dict
        "before_to_trough", "after_to_trough", "before_to_after", "main_to_trough": of the larger
        of the peaks that are there.
    """
    trough, before, after = (_sizes(templates, one.place) for one in extrema)
    return {
        "before_to_trough": _ratio(before, trough),
        "after_to_trough": _ratio(after, trough),
        "before_to_after": _ratio(before, after),
        "main_to_trough": _ratio(np.fmax(before, after), trough),
    }


def _sizes(templates: NDArray[np.floating], index: NDArray[np.int64]) -> NDArray[np.floating]:
    sizes = np.abs(templates[np.arange(len(index)), index])
    sizes[index < 0] = np.nan
    return sizes


def _ratio(above: NDArray[np.floating], below: NDArray[np.floating]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below == 0, np.nan, above / below).astype(np.float64)


def main_to_next_extremum(
    templates: NDArray[np.floating], extrema: MainExtrema
) -> NDArray[np.float64]:
    """Return how far the next extremum is from the largest one, in samples.

    After a trough that is the peak after it, where there is one, else the peak before; after a
    peak, the trough. NaN where neither is there.

    Examples
    --------
    >>> nothing = np.full(1, np.nan), np.zeros(1, dtype=np.int64)
    >>> places = [Extrema(np.array([i]), *nothing) for i in (2, -1, 5)]
    >>> main_to_next_extremum(np.array([[0.0, 0, -3, 0, 0, 2, 0]]), MainExtrema(*places))
    array([3.])
    """
    trough, before, after = (one.place for one in extrema)
    sizes = np.stack([_sizes(templates, index) for index in (trough, before, after)])
    main = np.argmax(np.where(np.isnan(sizes), -1.0, sizes), axis=0)
    next_peak = np.where(after >= 0, after, before)
    here = np.choose(main, [trough, before, after])
    there = np.where(main == 0, next_peak, trough)
    return np.where((here >= 0) & (there >= 0), np.abs(here - there), np.nan).astype(np.float64)


def peak_half_widths(templates: NDArray[np.floating], extrema: MainExtrema) -> NDArray[np.float64]:
    """Return the half width of the larger of the peaks that are there, in samples."""
    rows = np.arange(len(templates))
    before, after = extrema.before.place, extrema.after.place
    is_after = (before < 0) | ((after >= 0) & (templates[rows, after] >= templates[rows, before]))
    return half_widths(templates, np.where(is_after, after, before))
