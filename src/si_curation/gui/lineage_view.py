"""The lineage view of spikeinterface-gui: which templates each unit came from."""

from __future__ import annotations

import html
from typing import Any, ClassVar

import pandas as pd
from spikeinterface_gui.view_base import ViewBase

from si_curation._spikeinterface import gui_background_color
from si_curation.curation.lineage import reconstruct_lineage
from si_curation.gui.constituents import (
    MAX_TEMPLATES,
    UnitConstituents,
    get_constituents,
    missing_text,
    shades,
)

_HELP_TEXT = """
## Lineage

The sorter's templates of each selected unit, on its best channels at their places on the probe:
after merges and splits in phy a unit is made of several templates, or of a part of one. The most
frequent template has the unit's colour and lies on top; the thicker a line, the more of the unit's
spikes the template found.

- **merged**: all spikes of several templates
- **split**: a part of the spikes of one template, which other units share
- **unchanged**: all spikes of one template, and no others
"""


class LineageView(ViewBase):
    """The sorter's templates of each selected unit, on its best channels.

    phy's template view of a merged unit: every template that the unit has spikes of, the thicker
    the more spikes, with counts and shares, what was done to the unit, and which other units have
    spikes of its templates. Of each unit at most ``max_templates`` (6) templates are drawn, those
    with most spikes. Follows the selection of the GUI, in both its backends.
    """

    id = "lineage"
    _supported_backend: ClassVar[list[str]] = ["qt", "panel"]
    _depend_on = None  # the view shows what is missing
    _gui_help_txt = _HELP_TEXT
    _settings: ClassVar[list[dict[str, Any]]] = [
        {"name": "ncols", "type": "int", "value": 2},
        {"name": "max_templates", "type": "int", "value": MAX_TEMPLATES},
    ]

    def __init__(self, controller: Any = None, parent: Any = None, backend: str = "qt"):
        self._lineage: tuple[Any, pd.DataFrame] | None = None
        ViewBase.__init__(self, controller=controller, parent=parent, backend=backend)

    def get_units(self) -> tuple[list[UnitConstituents], str]:
        """Return what is drawn of the selected units, or why nothing is."""
        analyzer = self.controller.analyzer
        text = missing_text(analyzer)
        unit_ids = self.controller.get_visible_unit_ids()
        if text or not unit_ids:
            return [], text or "No unit is selected."
        assignment = analyzer.get_extension("template_assignment")
        if self._lineage is None or self._lineage[0] is not assignment:
            self._lineage = (assignment, reconstruct_lineage(analyzer))
        units = get_constituents(
            analyzer, unit_ids, self._lineage[1], self.settings["max_templates"]
        )
        return units, ""

    def _colors(self, unit: UnitConstituents) -> list[str]:
        return shades(self.controller.get_unit_color(unit.unit_id), len(unit.constituents))

    @staticmethod
    def _line_width(weight: float) -> float:
        return 1.0 + 2.0 * weight

    # Qt

    def _qt_make_layout(self) -> None:
        import pyqtgraph as pg
        from spikeinterface_gui.myqt import QT

        self.layout = QT.QVBoxLayout()
        self.label = QT.QLabel()
        self.label.setTextFormat(QT.Qt.PlainText)
        self.label.setWordWrap(True)
        self.layout.addWidget(self.label)
        self.grid = pg.GraphicsLayoutWidget()
        self.layout.addWidget(self.grid, 1)
        self.plots: dict[Any, Any] = {}

    def _qt_refresh(self) -> None:
        units, text = self.get_units()
        self.label.setText(text)
        self.label.setVisible(bool(text))
        self.grid.clear()
        self.plots = {}
        num_columns = max(self.settings["ncols"], 1)
        for i, unit in enumerate(units):
            plot = self.grid.addPlot(row=i // num_columns, col=i % num_columns)
            self._qt_draw(plot, unit)
            self.plots[unit.unit_id] = plot
        for column in range(min(num_columns, len(units))):  # as wide as each other
            self.grid.ci.layout.setColumnStretchFactor(column, 1)
            self.grid.ci.layout.setColumnPreferredWidth(column, 100)

    def _qt_draw(self, plot: Any, unit: UnitConstituents) -> None:
        import pyqtgraph as pg

        colors = self._colors(unit)
        lines = [f"<b>{html.escape(unit.title)}</b>", html.escape(unit.subtitle)]
        lines += [
            f'<span style="color: {color}">&#9632;</span> {one.label}'
            for one, color in zip(unit.constituents, colors, strict=True)
        ]
        plot.setTitle("<br>".join(lines), size="8pt", color="#dddddd")
        height = plot.titleLabel.itemRect().height()  # pyqtgraph leaves room for one line
        plot.titleLabel.setMaximumHeight(height)
        plot.layout.setRowFixedHeight(0, height)
        plot.titleLabel.setMinimumWidth(0)
        plot.hideButtons()
        plot.hideAxis("left")
        plot.hideAxis("bottom")
        for i, (one, color) in enumerate(zip(unit.constituents, colors, strict=True)):
            curve = pg.PlotCurveItem(
                one.x,
                one.y,
                connect="finite",
                pen=pg.mkPen(color, width=self._line_width(one.weight)),
                name=one.label,
            )
            curve.setZValue(-i)  # the most frequent template lies on top
            plot.addItem(curve)

    # Panel

    def _panel_make_layout(self) -> None:
        import panel as pn

        self.label = pn.pane.Str("", sizing_mode="stretch_width")
        self.body = pn.Column(sizing_mode="stretch_both")
        self.figures: dict[Any, Any] = {}
        self.layout = pn.Column(self.label, self.body, sizing_mode="stretch_both")

    def _panel_refresh(self) -> None:
        import panel as pn
        from bokeh.layouts import gridplot

        units, text = self.get_units()
        self.label.object = text
        self.label.visible = bool(text)
        self.figures = {unit.unit_id: self._panel_draw(unit) for unit in units}
        if not units:
            self.body.objects = []
            return
        grid = gridplot(
            list(self.figures.values()),
            ncols=max(self.settings["ncols"], 1),
            sizing_mode="stretch_both",
            toolbar_location=None,
        )
        self.body.objects = [pn.pane.Bokeh(grid, sizing_mode="stretch_both")]

    def _panel_draw(self, unit: UnitConstituents) -> Any:
        from bokeh.models.annotations import Legend, Title
        from bokeh.plotting import figure

        background = gui_background_color()
        fig = figure(
            tools="pan,wheel_zoom,reset",
            active_scroll="wheel_zoom",
            background_fill_color=background,
            border_fill_color=background,
            outline_line_color="white",
        )
        fig.grid.visible = False
        fig.axis.visible = False
        items: list[Any] = []
        for one, color in reversed(list(zip(unit.constituents, self._colors(unit), strict=True))):
            width = self._line_width(one.weight)
            line = fig.line(one.x, one.y, line_color=color, line_width=width)
            items.insert(0, (one.label, [line]))
        legend = Legend(
            items=items,
            background_fill_color=background,
            border_line_color=None,
            label_text_color="white",
            label_text_font_size="8pt",
            spacing=0,
        )
        fig.add_layout(legend, "above")
        for text in (unit.subtitle, unit.title):
            fig.add_layout(Title(text=text, text_color="white", text_font_size="9pt"), "above")
        return fig
