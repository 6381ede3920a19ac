"""Templates drawn at the positions of their channels on the probe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from si_curation.kernels.channels import channel_spacing

_GREY = "0.78"
_MARGIN_UM = 15.0
_SHARE = 0.84  # of the distance of two columns that a waveform takes


class ProbeScale(NamedTuple):
    """The scale that turns samples and amplitudes into µm on the probe.

    Attributes
    ----------
    width, height : float
        Smallest distance of columns and of rows of the probe, in µm.
    per_amplitude : float
        µm for one unit of amplitude.
    num_samples : int
    """

    width: float
    height: float
    per_amplitude: float
    num_samples: int


def probe_scale(
    templates: Sequence[NDArray[np.floating]],
    channel_indices: NDArray[np.integer],
    positions: NDArray[np.floating],
) -> ProbeScale:
    """Choose the scale at which the largest waveform is 1.6 rows of the probe high.

    Parameters
    ----------
    templates : sequence of array (n_samples, n_channels)
    channel_indices : array (k,) integer
    positions : array (n_channels, 2) in µm
    """
    width, height = channel_spacing(positions)
    largest = max(float(np.ptp(one[:, channel_indices], axis=0).max()) for one in templates)
    per_amplitude = 1.6 * height / largest if largest > 0 else 1.0
    return ProbeScale(width, height, per_amplitude, len(templates[0]))


def draw_template(
    axes: Axes,
    template: NDArray[np.floating],
    channel_indices: NDArray[np.integer],
    positions: NDArray[np.floating],
    scale: ProbeScale,
    colors: Any,
    linewidths: Any,
    linestyle: Any = "solid",
) -> LineCollection:
    """Draw one template at the positions of its channels, one line for each.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    template : array (n_samples, n_channels)
    channel_indices : array (k,) integer
        Best first; the last line of the collection is that of the first, on top.
    positions : array (n_channels, 2) in µm
    scale : ProbeScale
    colors, linewidths, linestyle
        As of LineCollection; colours and line widths may be one for each channel, best first.
    """
    time = np.linspace(-_SHARE / 2, _SHARE / 2, scale.num_samples) * scale.width
    lines = [
        np.column_stack([x + time, y + template[:, channel] * scale.per_amplitude])
        for channel, (x, y) in zip(channel_indices, positions[channel_indices], strict=True)
    ]
    many = isinstance(colors, list | np.ndarray) and len(colors) == len(lines)
    collection = LineCollection(
        lines[::-1],
        colors=colors[::-1] if many else colors,
        linewidths=linewidths[::-1] if np.ndim(linewidths) else linewidths,
        linestyles=linestyle,
    )
    axes.add_collection(collection)
    return collection


def frame_channels(
    axes: Axes,
    channel_indices: NDArray[np.integer],
    positions: NDArray[np.floating],
    scale: ProbeScale,
    sampling_frequency: float,
    units: str,
) -> None:
    """Set the limits to some channels; draw all channels within them as squares, and scale bars."""
    axes.set_axis_off()
    margin = np.array([0.6 * scale.width, 0.9 * scale.height])
    low = positions[channel_indices].min(axis=0) - margin
    high = positions[channel_indices].max(axis=0) + margin
    shown = np.all((positions >= low) & (positions <= high), axis=1)
    axes.plot(*positions[shown].T, "s", color=_GREY, markersize=2, zorder=0)
    # below the lowest channel, a tenth of the panel, there is room for the bars
    room = 0.16 * (high[1] - low[1])
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1] - room, high[1])
    _draw_scale_bars(
        axes, (low[0], low[1] - room), room, high - low, scale, sampling_frequency, units
    )


def _draw_scale_bars(
    axes: Axes,
    corner: tuple[float, float],
    room: float,
    size: NDArray[np.floating],
    scale: ProbeScale,
    sampling_frequency: float,
    units: str,
) -> None:
    x, y = corner[0] + 0.02 * size[0], corner[1] + 0.1 * room
    amplitude = _round_down(0.75 * room / scale.per_amplitude)
    per_ms = _SHARE * scale.width / max(scale.num_samples - 1, 1) * sampling_frequency * 1e-3
    duration = _round_down(0.5 * _SHARE * scale.width / per_ms)
    top, right = y + amplitude * scale.per_amplitude, x + duration * per_ms
    axes.plot([x, x, right], [top, y, y], color="0.3", linewidth=1.0, solid_joinstyle="miter")
    text = f"{amplitude:g} {units}, {duration:g} ms"
    axes.annotate(
        text,
        (right, y),
        (3, 0),
        textcoords="offset points",
        fontsize=6,
        color="0.3",
        va="bottom",
    )


def draw_probe(
    axes: Axes,
    positions: NDArray[np.floating],
    best_channel_of: Sequence[tuple[str, int, Any]],
) -> None:
    """Draw the probe with the best channel of each unit.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    positions : array (n_channels, 2) in µm
    best_channel_of : sequence of (name, channel index, color)
    """
    axes.plot(*positions.T, "s", color=_GREY, markersize=2)
    taken: dict[int, int] = {}
    for name, channel, color in best_channel_of:
        x, y = positions[channel]
        axes.plot(x, y, "o", color=color, markersize=4, markeredgecolor="0.2", markeredgewidth=0.4)
        # units that share a best channel are written side by side
        shift = taken.get(channel, 0)
        taken[channel] = shift + len(name) + 1
        place = (4 + 4.5 * shift, 0)
        axes.annotate(name, (x, y), place, textcoords="offset points", fontsize=7, va="center")
    low, high = positions.min(axis=0) - _MARGIN_UM, positions.max(axis=0) + _MARGIN_UM
    axes.set_xlim(low[0], high[0] + 2 * _MARGIN_UM)
    axes.set_ylim(low[1], high[1])


def _round_down(value: float) -> float:
    """Return the largest of 1, 2 or 5 times a power of ten that is not above a value."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return max(step for step in (1.0, 2.0, 5.0) if step * power <= value * (1 + 1e-9)) * power
