"""The base of pages of many figures: a panel that cannot be drawn says why."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.text import Text
from spikeinterface.core import SortingAnalyzer

from si_curation.errors import (
    FolderNotFoundError,
    MissingDataError,
    ParameterError,
    PhyFolderError,
)
from si_curation.reading.sessions import SessionBorders
from si_curation.spikes.features import feature_source
from si_curation.views.features import feature_channels, plot_features
from si_curation.views.references import ChannelRanking
from si_curation.views.style import QUIET, label_axes, write_note
from si_curation.views.units import resolve_units
from si_curation.views.widget import FigureWidget

_CANNOT = (MissingDataError, PhyFolderError, FolderNotFoundError)
_CHARACTERS_PER_INCH = 13.0  # of 8 points

Box = tuple[float, float, float, float]


class OverviewWidget(FigureWidget):
    """A page of panels at fixed places; the base of the overviews.

    Places are in inches of a page of `page_size`, so that matplotlib need not compute a layout,
    which would take longer than all the drawing.

    Attributes
    ----------
    panels : dict
        {name of the panel: widget that drew it, or a sentence on why nothing is drawn}
    """

    page_size = (11.7, 8.3)  # A4
    figure_arguments = ("figure", "figsize", "figtitle", "backend")
    panels: dict[str, Any]

    def __init__(self, data: dict[str, Any], **figure_arguments: Any):
        given = [name for name in ("ax", "axes") if figure_arguments.get(name) is not None]
        if given:
            raise ParameterError(f"an overview makes its own panels: give figure, not {given[0]}")
        self.panels = {}
        super().__init__(data, **figure_arguments)

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        return self.page_size

    def _make_axes(self, figure: Any, data: dict[str, Any]) -> list[Axes]:
        if self._is_own:
            figure.set_layout_engine("none")
        # what layout engines of given figures arrange
        page = figure.add_subplot()
        page.set_axis_off()
        page.set_position((0.0, 0.0, 1.0, 1.0))
        return [page]

    def _place(self, left: float, bottom: float, width: float, height: float) -> Axes:
        x, y = self.page_size
        return self.figure.add_axes((left / x, bottom / y, width / x, height / y))

    def add_panel(
        self, name: str, title: str, places: Sequence[Box], draw: Callable[..., Any]
    ) -> list[Axes]:
        """Draw a panel, or write into it why it cannot be drawn.

        Parameters
        ----------
        name, title : str
            The title replaces the panel's own, where there is one axes.
        places : sequence of (left, bottom, width, height) in inches
        draw : callable
            Takes `ax` if there is one place, else `axes`.

        Returns
        -------
        list of Axes
            None if nothing was drawn.
        """
        panels = [self._place(*place) for place in places]
        try:
            where = {"ax": panels[0]} if len(panels) == 1 else {"axes": panels}
            self.panels[name] = draw(**where)
        except _CANNOT as error:
            self.panels[name] = str(error)
            for panel in panels:
                panel.remove()
            left, bottom = (min(place[i] for place in places) for i in (0, 1))
            right, top = (max(place[i] + place[i + 2] for place in places) for i in (0, 1))
            panel = self._place(left, bottom, right - left, top - bottom)
            panel.set_axis_off()
            panel.set_title(title, fontsize=9, loc="left")
            width = max(int((right - left) * _CHARACTERS_PER_INCH), 20)
            write_note(panel, "\n".join(textwrap.wrap(str(error), width, break_long_words=False)))
            return []
        if len(panels) == 1:
            _retitle(panels[0], title)
        return panels


def add_features(
    page: OverviewWidget,
    sorting_analyzer: SortingAnalyzer,
    unit_ids: list[Any],
    unit_colors: dict[Any, Any],
    places: Sequence[Box],
    borders: SessionBorders | None = None,
) -> str:
    """Draw the first component on the two best channels: over time, and against each other.

    Parameters
    ----------
    page : OverviewWidget
    sorting_analyzer : SortingAnalyzer
    unit_ids : list
    unit_colors : dict
    places : sequence of three places
        First channel over time, both against each other, second channel over time.
    borders : SessionBorders, optional
        Drawn over time.

    Returns
    -------
    str
        How many spikes are drawn; "" where nothing is.
    """
    # units of a single channel have one panel
    shown = places[:1] if sorting_analyzer.get_num_channels() == 1 else places

    def draw(**where: Any) -> Any:
        if not feature_source(sorting_analyzer).is_by_channel:
            components = (0, 1) if len(shown) > 1 else (0,)
            return plot_features(
                sorting_analyzer,
                unit_ids,
                components=components,
                unit_colors=unit_colors,
                **where,
            )
        units = resolve_units(sorting_analyzer, unit_ids, unit_colors)
        channels = feature_channels(sorting_analyzer, units, None, ChannelRanking(sorting_analyzer))
        if len(channels) == 1 and len(shown) > 1:
            raise MissingDataError("there is one channel with signal: plot_features draws it")
        return plot_features(
            sorting_analyzer,
            unit_ids,
            components=(0,),
            unit_colors=unit_colors,
            borders=borders,
            **where,
        )

    panels = page.add_panel("features", "features", shown, draw)
    if not panels:
        return ""
    words = [text for text in panels[0].texts if text.get_text()]
    legend = "; ".join(text.get_text().replace("\n", "; ") for text in words)
    for text in words:
        text.remove()
    if len(panels) == 1:
        return f"Features: {legend}."
    panels[1].set_title("features", fontsize=9, loc="left", pad=4)
    panels[1].tick_params(labelleft=True)
    first, second = (panels[i].get_ylabel().split("\n")[0] for i in (0, 2))
    label_axes(panels[1], second, first)
    what = "component" if first.startswith("all channels") else "channel"
    for panel, name in ((panels[0], "first"), (panels[2], "second")):
        panel.set_ylabel(f"{name} {what}", fontsize=8)
    return f"Features (arbitrary units): {legend}."


def write_table(axes: Axes, rows: Mapping[str, str], title: str, below: str = "") -> None:
    """Write names and values in two columns, and a paragraph below.

    Parameters
    ----------
    axes : Axes
    rows : mapping of str to str
    title : str
    below : str
        Lines of text.
    """
    axes.set_axis_off()
    axes.set_title(title, fontsize=9, loc="left")
    lines = below.count("\n") + 2 if below else 0
    step = min(1.0 / max(len(rows) + lines, 1), 0.085)
    for i, (name, value) in enumerate(rows.items()):
        y = 1.0 - (i + 0.5) * step
        axes.text(0.0, y, name, transform=axes.transAxes, fontsize=7, color=QUIET, va="center")
        axes.text(1.0, y, value, transform=axes.transAxes, fontsize=7, va="center", ha="right")
    if below:
        y = 1.0 - (len(rows) + 0.5) * step
        axes.text(0.0, y, below, transform=axes.transAxes, fontsize=7, va="top", linespacing=1.3)


def format_number(value: float, digits: int = 3) -> str:
    """Return a number as text; "–" where there is none."""
    return "–" if value != value else f"{value:.{digits}g}".replace("-", "−")


def _retitle(axes: Axes, title: str) -> None:
    for where in ("left", "center"):
        old = axes.get_title(loc=where)
        for artist in axes.get_children():
            if old and isinstance(artist, Text) and artist.get_text() == old:
                artist.set_text(title if where == "left" else "")
                if where == "left":
                    return
    axes.set_title(title, fontsize=9, loc="left", pad=4)
