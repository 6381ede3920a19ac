"""Channels: those of each template, ranked as phy ranks them, and their distances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from si_curation.variables import ChannelIndices


def nearest_channels(
    positions: NDArray[np.floating], channels: ChannelIndices, num_channels: int
) -> ChannelIndices:
    """Return the channels nearest to each given channel, itself first.

    Squared distance in the precision of the positions, in ``np.argsort`` order
    (phylib ``get_closest_channels``).

    Parameters
    ----------
    positions : array (n_channels, 2)
    channels : array (k,) integer
    num_channels : int

    Returns
    -------
    array (k, min(num_channels, n_channels)) int64

    Examples
    --------
    >>> nearest_channels(np.array([[0.0, 0.0], [0.0, 30.0], [0.0, 20.0]]), np.array([0]), 2)
    array([[0, 2]])
    """
    x, y = positions[:, 0], positions[:, 1]
    distance = (x - x[channels, None]) ** 2 + (y - y[channels, None]) ** 2
    return ChannelIndices(np.argsort(distance, axis=1)[:, :num_channels])


def centre_of_signal(
    amplitudes: NDArray[np.floating],
    positions: NDArray[np.floating],
    *,
    least: float = 0.4,
    radius_um: float = 75.0,
) -> NDArray[np.float64]:
    """Compute where on the probe templates are, from their amplitudes on the channels with signal.

    The centre of mass of the squared amplitudes, over the channels that have at least a share of
    the largest amplitude and are near its channel. Weak channels do not take part: dense
    templates have some amplitude on all of a probe, and a centre of mass over all channels is drawn
    to the middle of it.

    Parameters
    ----------
    amplitudes : array (n_templates, n_channels)
        Peak-to-peak.
    positions : array (n_channels, 2) in µm
    least : float
        Share of the largest amplitude.
    radius_um : float
        Distance from the channel of largest amplitude.

    Returns
    -------
    array (n_templates, 2) float64
        x and y in µm; NaN for a template without signal.

    Notes
    -----
    In three simulated recordings without drift that Kilosort 4.1.7 sorted, 69 neurons: error of y
    median 1.3 µm, 90 % of neurons below 4.4 µm, largest 20 µm; SpikeInterface's centre of mass 3.0,
    11.7 and 32 µm, its monopolar triangulation 1.3, 5.8 and 23 µm. One of the recordings was used
    to choose the threshold. ``benchmarks/compare_with_truth.py`` repeats it.

    Examples
    --------
    >>> places = np.array([[0.0, 0.0], [0.0, 20.0], [0.0, 400.0]])
    >>> centre_of_signal(np.array([[4.0, 4.0, 1.0], [0.0, 0.0, 0.0]]), places)
    array([[ 0., 10.],
           [nan, nan]])
    """
    amplitudes = np.nan_to_num(np.asarray(amplitudes, dtype=np.float64))
    largest = amplitudes.max(axis=1, initial=0, keepdims=True)
    peak = positions[amplitudes.argmax(axis=1)] if amplitudes.size else positions[:0]
    # few channels are strong: the distance of those only
    row, channel = np.nonzero((amplitudes >= least * largest) & (largest > 0))
    is_near = np.linalg.norm(positions[channel] - peak[row], axis=1) <= radius_um
    row, channel = row[is_near], channel[is_near]
    weights = np.zeros_like(amplitudes)
    weights[row, channel] = (amplitudes[row, channel] / largest[row, 0]) ** 2
    total = weights.sum(axis=1, keepdims=True)
    found = np.full((len(weights), 2), np.nan)
    return np.divide(weights @ positions.astype(np.float64), total, out=found, where=total > 0)


def channel_spacing(positions: NDArray[np.floating]) -> tuple[float, float]:
    """Return the room that a waveform has in a drawing of the probe.

    The smallest distance of columns and of rows, each at least a share of the other.

    Parameters
    ----------
    positions : array (n_channels, 2) in µm

    Returns
    -------
    width, height : float
        In µm.

    Examples
    --------
    >>> channel_spacing(np.array([[0.0, 0.0], [0.0, 20.0], [32.0, 40.0]]))
    (32.0, 20.0)
    """

    def smallest(values: NDArray[np.floating]) -> float:
        steps = np.diff(np.unique(np.round(values, 3)))
        return float(steps.min()) if steps.size else 0.0

    width, height = smallest(positions[:, 0]), smallest(positions[:, 1])
    width = width or height or 20.0
    height = height or width
    return max(width, 0.5 * height), max(height, 0.25 * width)


def neighbourhood(
    amplitudes: NDArray[np.floating],
    positions: NDArray[np.floating],
    shanks: NDArray,
    num_channels: int = 12,
    same_shank: bool = True,
) -> NDArray[np.bool_]:
    """Return the channels near the peak channel of each dense template.

    Parameters
    ----------
    amplitudes : array (n_templates, n_channels)
        Peak-to-peak.
    positions : array (n_channels, 2) in µm
    shanks : array (n_channels,)
    num_channels : int
        So many channels nearest to the peak channel (phy: 12).
    same_shank : bool
        Only channels of the peak channel's shank.

    Returns
    -------
    array (n_templates, n_channels) bool
        All False for a template without signal.

    Examples
    --------
    >>> positions = np.array([[0.0, 0.0], [0.0, 20.0], [0.0, 40.0]])
    >>> neighbourhood(np.array([[1.0, 2.0, 0.5]]), positions, np.array([0, 0, 1]))
    array([[ True,  True, False]])
    """
    mask = np.zeros(amplitudes.shape, dtype=bool)
    if amplitudes.size == 0:
        return mask
    peak = amplitudes.argmax(axis=1)
    peaks, which = np.unique(peak, return_inverse=True)
    near = nearest_channels(positions, ChannelIndices(peaks), num_channels)[which]
    np.put_along_axis(mask, near, True, axis=1)
    if same_shank:
        mask &= shanks[None, :] == shanks[peak][:, None]
    mask[amplitudes.max(axis=1) <= 0] = False
    return mask


def rank_channels(
    amplitudes: NDArray[np.floating],
    candidates: NDArray[np.bool_],
    amplitude_threshold: float = 0.0,
    channel_order: NDArray[np.integer] | None = None,
) -> NDArray[np.int64]:
    """Rank the candidate channels of each template by decreasing amplitude.

    The order is ``np.argsort(amplitude)[::-1]`` over the candidates in ascending channel order
    (phylib ``_find_best_channels``), or in the order of the file for sparse templates
    (``_get_template_sparse``), on which the order of equal amplitudes hangs. Templates with as
    many candidates are sorted together.

    Parameters
    ----------
    amplitudes : array (n_templates, n_channels)
        Peak-to-peak.
    candidates : array (n_templates, n_channels) bool
    amplitude_threshold : float
        Channels below this fraction of the template's largest amplitude are left out.
    channel_order : array (n_templates, n_loc) integer, optional
        Channels in the order of the file, -1 where there is none; others are no candidates.

    Returns
    -------
    array (n_templates, longest) int64
        Channel indices, best first, padded with -1.

    Examples
    --------
    >>> rank_channels(np.array([[1.0, 3.0, 2.0]]), np.array([[True, True, True]]), 0.5)
    array([[1, 2]])
    """
    num_templates = len(amplitudes)
    if amplitudes.size == 0:
        return np.zeros((num_templates, 0), dtype=np.int64)
    mask = candidates & (amplitudes >= amplitude_threshold * amplitudes.max(axis=1, keepdims=True))
    if channel_order is None:
        order = np.broadcast_to(np.arange(amplitudes.shape[1]), amplitudes.shape)
    else:
        order = np.asarray(channel_order, dtype=np.int64)
        mask = np.take_along_axis(mask, np.maximum(order, 0), axis=1) & (order >= 0)
    count = mask.sum(axis=1)
    ranked = np.full((num_templates, int(count.max(initial=0))), -1, dtype=np.int64)
    for size in np.unique(count[count > 0]):
        members = np.flatnonzero(count == size)
        channels = order[members][mask[members]].reshape(members.size, size).astype(np.int64)
        rising = np.argsort(np.take_along_axis(amplitudes[members], channels, axis=1), axis=1)
        ranked[members, :size] = np.take_along_axis(channels, rising[:, ::-1], axis=1)
    return ranked
