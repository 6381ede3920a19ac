"""The base of all figures: a SpikeInterface widget on a figure that pyplot does not manage."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from spikeinterface.core import SortingAnalyzer
from spikeinterface.widgets.base import BaseWidget

from si_curation.errors import MissingDataError, ParameterError

_SCREEN_DPI = 110


class FigureWidget(BaseWidget):
    """A figure in the form of SpikeInterface's widgets, drawn when it is created.

    A subclass collects the numbers in its ``__init__``, passes them on as `data_plot`, states how
    many axes it needs, and draws into them. Unless a figure is given, a new
    `matplotlib.figure.Figure` is created that pyplot does not manage: it needs no display and need
    not be closed. A notebook shows it where the widget is the last value of a cell.

    Parameters
    ----------
    data_plot : dict
        What is drawn.
    backend : {"matplotlib"}, optional
    figure : Figure or SubFigure, optional
        To make the axes in.
    ax : Axes, optional
        To draw into, for figures of one panel.
    axes : sequence of Axes, optional
        To draw into, one for each panel.
    figsize : (float, float), optional
        In inches, of a new figure.
    figtitle : str, optional

    Attributes
    ----------
    figure : Figure or SubFigure
        The figure drawn into; ``widget.figure.savefig("name.pdf")`` writes it.
    axes : array of Axes (n_panels,)
    ax : Axes
        The first panel.

    Raises
    ------
    ParameterError
        More than one of figure, ax and axes is given, or the number of axes does not fit.
    """

    figure: Any
    axes: Any
    ax: Any

    def __init__(
        self,
        data_plot: dict[str, Any],
        *,
        backend: str | None = None,
        figure: Figure | SubFigure | None = None,
        ax: Axes | None = None,
        axes: Sequence[Axes] | Axes | None = None,
        figsize: tuple[float, float] | None = None,
        figtitle: str | None = None,
    ):
        if backend not in (None, "matplotlib"):
            raise ParameterError(f"backend is {backend!r}, expected 'matplotlib'")
        if sum(given is not None for given in (figure, ax, axes)) > 1:
            raise ParameterError("give one of figure, ax and axes")
        self._is_own = figure is None and ax is None and axes is None
        super().__init__(
            data_plot,
            backend="matplotlib",
            figure=figure,
            ax=ax,
            axes=axes,
            figsize=figsize,
            figtitle=figtitle,
        )

    # for subclasses

    def _num_axes(self, data: dict[str, Any]) -> int:
        """Return the number of panels."""
        return 1

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        """Return width and height in inches of a new figure."""
        return (4.0, 3.0)

    def _make_axes(self, figure: Any, data: dict[str, Any]) -> list[Axes]:
        """Create the panels in a figure; here side by side."""
        count = self._num_axes(data)
        return list(np.ravel(figure.subplots(1, count, squeeze=False)))

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        """Draw into the panels."""
        raise TypeError(f"{type(self).__name__} does not draw")

    # SpikeInterface's contract

    def plot_matplotlib(self, data_plot: dict[str, Any], **given: Any) -> None:
        """Draw; called by SpikeInterface's base class."""
        if given["ax"] is not None or given["axes"] is not None:
            panels = given["ax"] if given["ax"] is not None else given["axes"]
            panels = [panels] if isinstance(panels, Axes) else list(np.ravel(np.asarray(panels)))
            count = self._num_axes(data_plot)
            if len(panels) != count:
                raise ParameterError(
                    f"{len(panels)} axes are given for {count} panels, expected as many"
                )
            self.figure = panels[0].figure
        else:
            self.figure = given["figure"]
            if self.figure is None:
                size = given["figsize"] or self._default_figsize(data_plot)
                self.figure = Figure(figsize=size, layout="constrained")
            panels = self._make_axes(self.figure, data_plot)
        self.axes = np.empty(len(panels), dtype=object)
        self.axes[:] = panels
        self.ax = panels[0] if panels else None
        self._draw(panels, data_plot)
        if given["figtitle"] is not None:
            self.figure.suptitle(given["figtitle"], fontsize=10)

    def _repr_png_(self) -> bytes | None:
        """Show a figure of its own in a notebook."""
        if not self._is_own:
            return None
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=_SCREEN_DPI)
        return buffer.getvalue()


def require_extensions(sorting_analyzer: SortingAnalyzer, *names: str) -> list[Any]:
    """Return the extensions of these names.

    Raises
    ------
    MissingDataError
        Some are not computed; the message says how to compute them.
    """
    found = [sorting_analyzer.get_extension(name) for name in names]
    missing = [name for name, one in zip(names, found, strict=True) if one is None]
    if missing:
        raise MissingDataError(
            f"the figure needs {' and '.join(missing)}: analyzer.compute({missing!r})"
        )
    return found
