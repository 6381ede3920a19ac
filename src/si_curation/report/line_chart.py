"""A chart of one line that is drawn without JavaScript: the places of all that is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_WIDTH, _HEIGHT = 400, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 376, 12, 238
# of the y axis; smaller differences are no finding
_MIN_SPAN = 0.1


class LineChart(NamedTuple):
    """A chart; places are in pixels.

    Attributes
    ----------
    title, x_label, y_label : str
    size : tuple of int
        Width and height.
    frame : tuple of int
        Left, right, top and bottom of the axes.
    ticks_x, ticks_y : list of (float, str)
    points : list of (float, float, str)
        x, y and what is said of the point.
    lines : list of (float, float, float, float)
        For comparison: from x, y to x, y.
    """

    title: str
    x_label: str
    y_label: str
    size: tuple[int, int]
    frame: tuple[int, int, int, int]
    ticks_x: list[tuple[float, str]]
    ticks_y: list[tuple[float, str]]
    points: list[tuple[float, float, str]]
    lines: list[tuple[float, float, float, float]]

    @property
    def path(self) -> str:
        """The line through the points, as of SVG's polyline."""
        return " ".join(f"{x},{y}" for x, y, _ in self.points)


def line_chart(
    title: str,
    labels: tuple[str, str],
    points: Sequence[tuple[float, float, str]],
    *,
    diagonal: bool = False,
    level: float | None = None,
    from_zero: bool = False,
) -> LineChart:
    """Lay out a chart.

    Parameters
    ----------
    title : str
    labels : tuple of str
        Of the axes, x first.
    points : sequence of (x, y, text)
        Finite; one or more.
    diagonal : bool
        Draw where x and y are the same.
    level : float, optional
        Draw this y.
    from_zero : bool
        The x axis begins at 0.

    Examples
    --------
    >>> chart = line_chart("Right", ("asked", "right"), [(0.5, 0.4, ""), (1.0, 0.9, "")])
    >>> [text for _, text in chart.ticks_x]
    ['0.5', '0.6', '0.7', '0.8', '0.9', '1']
    >>> chart.points[-1]
    (376.0, 12.0, '')
    """
    xs, ys = [one[0] for one in points], [one[1] for one in points]
    of_y = [*ys, *([] if level is None else [level]), *(xs if diagonal else [])]
    middle, half = (max(of_y) + min(of_y)) / 2, _MIN_SPAN / 2
    steps_y = _ticks([*of_y, middle - half, middle + half])
    steps_x = steps_y if diagonal else _ticks([*xs, *([0.0] if from_zero else [])])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - steps_x[0]) / (steps_x[-1] - steps_x[0])
        up = (y - steps_y[0]) / (steps_y[-1] - steps_y[0])
        return (
            round(_LEFT + across * (_RIGHT - _LEFT), 1),
            round(_BOTTOM - up * (_BOTTOM - _TOP), 1),
        )

    lines = [(*place(steps_x[0], steps_y[0]), *place(steps_x[-1], steps_y[-1]))] if diagonal else []
    if level is not None:
        lines.append((*place(steps_x[0], level), *place(steps_x[-1], level)))
    return LineChart(
        title,
        *labels,
        (_WIDTH, _HEIGHT),
        (_LEFT, _RIGHT, _TOP, _BOTTOM),
        [(place(one, steps_y[0])[0], f"{one:,.6g}") for one in steps_x],
        [(place(steps_x[0], one)[1], f"{one:,.6g}") for one in steps_y],
        [(*place(x, y), text) for x, y, text in points],
        lines,
    )


def _ticks(values: Sequence[float]) -> list[float]:
    """Return round numbers at equal steps, from below the lowest value to above the highest."""
    low, high = min(values), max(values)
    span = high - low or abs(high) or 1.0
    rough = span / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(float(one * power) for one in (1, 2, 5, 10) if one * power >= rough * 0.999)
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return [round(float(one * step), 12) for one in np.arange(first, last + 1)]
