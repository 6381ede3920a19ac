"""Numbers read back from figures."""

import io

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.image import AxesImage
from matplotlib.patches import StepPatch


def points(axes):
    """Arrays (n, 2) of the clouds of points, the lowest first."""
    clouds = [line for line in axes.lines if line.get_rasterized()]
    return [line.get_xydata() for line in sorted(clouds, key=lambda line: line.get_zorder())]


def images(axes):
    """Counts of the densities, rows along y, the lowest first."""
    found = [one for one in axes.get_children() if isinstance(one, AxesImage)]
    ordered = sorted(found, key=lambda image: image.get_zorder())
    return [image.get_array().filled(0) for image in ordered]


def steps(axes):
    """Values and edges of the histograms."""
    return [one.get_data() for one in axes.patches if isinstance(one, StepPatch)]


def waveforms(axes):
    """Collections of waveforms, each an array (n_channels, n_samples, 2), best channel first."""
    found = [one for one in axes.collections if isinstance(one, LineCollection)]
    ordered = sorted(found, key=lambda one: one.get_zorder())
    return [np.stack(one.get_segments()[::-1]) for one in ordered]


def color_of(artist):
    return to_rgba(np.atleast_2d(artist.get_color())[0])


def texts(axes):
    """All that is written in and above a panel."""
    written = [text.get_text() for text in axes.texts] + [axes.get_title(loc="left")]
    legend = axes.get_legend()
    return "\n".join(written + ([t.get_text() for t in legend.get_texts()] if legend else []))


def draw(figure):
    """Draw a figure as a file; the number of bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=60)
    return len(buffer.getvalue())


def overlapping_texts(figure):
    """Pairs of texts of a figure that lie on one another."""
    figure.draw_without_rendering()
    boxes = []
    for axes in figure.axes:
        shown = [axes.title, axes._left_title, *axes.texts, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())
            shown += [
                tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high
            ]
        for text in shown:
            if text.get_text().strip() and text.get_visible():
                box = text.get_window_extent()
                if box.width > 0 and box.height > 0:
                    boxes.append((text.get_text(), box.padded(-1)))
    return [
        (a, b)
        for i, (a, box) in enumerate(boxes)
        for b, other in boxes[i + 1 :]
        if box.overlaps(other)
    ]
