"""The template-feature view of spikeinterface-gui: phy's TemplateFeatureView."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from spikeinterface_gui.view_base import ViewBase

from si_curation._spikeinterface import gui_background_color
from si_curation.gui.pair_points import (
    MAX_SPIKES_PER_UNIT,
    PairPoints,
    UnitPoints,
    get_pair_points,
)
from si_curation.kernels.spike_vector import evenly_spaced

_GREY = "#969696"


_HELP_TEXT = """
## Template features

Each point is a spike: its projection onto the first unit (x) and the second one (y) of the units
that are selected, as in phy's TemplateFeatureView. One unit is shown against the most similar one,
in grey.

### Controls
- **select**: draw a lasso to select spikes of the selected units, drawn or not (shift: more)
- **split**: split the one selected unit into selected spikes and the others
- **double click**: show all points

At most `max_spikes_per_unit` spikes of a unit are drawn, evenly spaced in time.
"""


class TemplateFeatureView(ViewBase):
    """Spikes of two units in the plane of their projections onto both.

    Follows the units and spikes that are selected in the GUI, in both its backends. Of each unit at
    most ``max_spikes_per_unit`` (5000) spikes are drawn, evenly spaced in time, so that the same
    ones are drawn every time; the lasso selects all spikes, drawn or not.
    """

    id = "templatefeature"
    _supported_backend: ClassVar[list[str]] = ["qt", "panel"]
    _depend_on = None  # the view shows what is missing
    _gui_help_txt = _HELP_TEXT
    _settings: ClassVar[list[dict[str, Any]]] = [
        {"name": "max_spikes_per_unit", "type": "int", "value": MAX_SPIKES_PER_UNIT},
        {"name": "scatter_size", "type": "float", "value": 3.0, "step": 0.5},
        {"name": "alpha", "type": "float", "value": 0.7, "limits": (0.0, 1.0), "step": 0.05},
    ]

    def __init__(self, controller: Any = None, parent: Any = None, backend: str = "qt"):
        self._known: tuple[Any, PairPoints] | None = None
        self._range_of: PairPoints | None = None
        ViewBase.__init__(self, controller=controller, parent=parent, backend=backend)

    # what is drawn

    def get_pair(self) -> PairPoints:
        """Return the pair of the units that are selected now."""
        analyzer = self.controller.analyzer
        unit_ids = self.controller.get_visible_unit_ids()
        names = ("template_features", "unit_similarity")
        key = [analyzer, *map(analyzer.get_extension, names), len(unit_ids), *unit_ids[:2]]
        if self._known is None or not _are_same(self._known[0], key):
            self._known = (key, get_pair_points(analyzer, unit_ids))
        return self._known[1]

    def get_drawn(self, unit: UnitPoints) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the spikes of a unit that are drawn, and their points."""
        return unit.thinned(self.settings["max_spikes_per_unit"])

    def get_selected_points(self, pair: PairPoints) -> NDArray[np.float64]:
        """Return the points of the selected spikes (n, 2), thinned like a unit."""
        selected = np.asarray(self.controller.get_indices_spike_selected(), dtype=np.int64)
        points = [
            unit.points[np.isin(unit.spike_indices, selected)]
            for unit in pair.units
            if self._is_visible(unit)
        ]
        found = np.concatenate(points) if points else np.empty((0, 2))
        return found[evenly_spaced(len(found), self.settings["max_spikes_per_unit"])]

    def select_inside(self, polygon: NDArray, keep: bool = False) -> None:
        """Select the spikes of the selected units within a polygon, drawn or not.

        Parameters
        ----------
        polygon : array (n, 2)
        keep : bool
            Keep the spikes that are selected already.
        """
        found = self.get_pair().inside(polygon, self.controller.get_visible_unit_ids())
        if keep:
            found = np.union1d(self.controller.get_indices_spike_selected(), found)
        self.controller.set_indices_spike_selected(found.astype(np.int64))
        self.refresh()
        self.notify_spike_selection_changed()

    def split(self) -> None:
        """Note the selected spikes of the one selected unit as a split, in the GUI's curation."""
        unit_ids = self.controller.get_visible_unit_ids()
        if len(unit_ids) != 1:
            self.warning("Select one unit to split it.")
            return
        if not self.controller.make_manual_split_if_possible(unit_id=unit_ids[0]):
            self.warning(
                "Not split: select spikes of the unit, which must not be removed or merged."
            )
            return
        self.refresh()
        self.notify_manual_curation_updated()

    def _is_visible(self, unit: UnitPoints) -> bool:
        return unit.unit_id in self.controller.get_visible_unit_ids()

    def _axis_labels(self, pair: PairPoints) -> list[str]:
        return [f"onto unit {unit.unit_id}" for unit in pair.units] or ["", ""]

    def _is_new_range(self, pair: PairPoints) -> bool:
        is_new, self._range_of = pair is not self._range_of, pair
        return is_new

    # Qt

    def _qt_make_layout(self) -> None:
        import pyqtgraph as pg
        from spikeinterface_gui.myqt import QT
        from spikeinterface_gui.utils_qt import ViewBoxHandlingLasso

        self.layout = QT.QVBoxLayout()
        toolbar = self.qt_widget.view_toolbar
        self.lasso_button = QT.QPushButton("select", checkable=True)
        self.lasso_button.clicked.connect(self._qt_set_lasso)
        toolbar.addWidget(self.lasso_button)
        if self.controller.curation:
            self.split_button = QT.QPushButton("split")
            self.split_button.clicked.connect(self.split)
            toolbar.addWidget(self.split_button)
        self.label = QT.QLabel()
        self.label.setTextFormat(QT.Qt.PlainText)
        self.label.setWordWrap(True)
        self.layout.addWidget(self.label)
        self.view_box = ViewBoxHandlingLasso()
        self.view_box.lasso_drawing.connect(self._qt_draw_lasso)
        self.view_box.lasso_finished.connect(self._qt_finish_lasso)
        self.view_box.doubleclicked.connect(self.view_box.autoRange)
        self.plot = pg.PlotItem(viewBox=self.view_box)
        self.plot.hideButtons()
        graphics_view = pg.GraphicsView()
        graphics_view.setCentralItem(self.plot)
        self.layout.addWidget(graphics_view, 1)
        self.scatter = pg.ScatterPlotItem(pxMode=True)
        self.scatter_select = pg.ScatterPlotItem(
            pen=pg.mkPen(None), brush=pg.mkBrush(255, 255, 255, 200), size=8, pxMode=True
        )
        self.scatter_select.setZValue(1000)
        self.lasso = pg.PlotCurveItem(pen="#7FFF00")
        for item in (self.scatter, self.scatter_select, self.lasso):
            self.plot.addItem(item)

    def _qt_refresh(self) -> None:
        import pyqtgraph as pg

        pair = self.get_pair()
        self.label.setText(pair.text)
        self.scatter.clear()
        for unit in reversed(pair.units):  # the first unit lies on top
            color = pg.mkColor(_GREY)
            if self._is_visible(unit):
                color = pg.mkColor(self.get_unit_color(unit.unit_id))
            color.setAlphaF(self.settings["alpha"])
            indices, points = self.get_drawn(unit)
            self.scatter.addPoints(
                x=points[:, 0],
                y=points[:, 1],
                data=indices,
                size=self.settings["scatter_size"],
                pen=pg.mkPen(None),
                brush=[pg.mkBrush(color)] * indices.size,  # one is for all points of all units
            )
        self.scatter_select.setData(pos=self.get_selected_points(pair))
        for side, text in zip(("bottom", "left"), self._axis_labels(pair), strict=True):
            self.plot.setLabel(side, text)
        if self._is_new_range(pair):
            self.view_box.autoRange()

    def _qt_on_spike_selection_changed(self) -> None:
        self.refresh()

    def _qt_set_lasso(self, checked: bool) -> None:
        self.view_box.lasso_active = checked

    def _qt_draw_lasso(self, points: Any) -> None:
        self.lasso.setData(*np.array(points).T)

    def _qt_finish_lasso(self, points: Any, shift_held: bool = False) -> None:
        self.lasso.setData([], [])
        self.select_inside(np.array(points), keep=shift_held)

    # Panel

    def _panel_make_layout(self) -> None:
        import panel as pn
        from bokeh.models import ColumnDataSource, LassoSelectTool
        from bokeh.plotting import figure

        self.source = ColumnDataSource({"x": [], "y": [], "color": [], "spike_index": []})
        self.lasso_tool = LassoSelectTool(continuous=False)
        background = gui_background_color()
        self.figure = figure(
            sizing_mode="stretch_both",
            tools="pan,wheel_zoom,reset",
            active_scroll="wheel_zoom",
            background_fill_color=background,
            border_fill_color=background,
            outline_line_color="white",
        )
        self.figure.toolbar.logo = None
        self.figure.grid.visible = False
        self.figure.add_tools(self.lasso_tool)
        self.figure.axis.axis_label_text_color = "#cccccc"
        self.glyphs = self.figure.scatter(
            "x",
            "y",
            source=self.source,
            color="color",
            line_alpha=0.0,
            selection_color="white",
            selection_line_alpha=0.0,
            nonselection_line_alpha=0.0,
            nonselection_fill_alpha=0.3,
        )
        self.figure.on_event("selectiongeometry", self._panel_finish_lasso)
        self.label = pn.pane.Str("", sizing_mode="stretch_width")
        buttons = []
        if self.controller.curation:
            word = "label" if "label" in pn.widgets.Button.param else "name"  # Panel before 1.9
            self.split_button = pn.widgets.Button(**{word: "Split"})
            self.split_button.on_click(lambda event: self.split())
            buttons.append(self.split_button)
        self.layout = pn.Column(
            pn.Row(self.label, *buttons, sizing_mode="stretch_width"),
            self.figure,
            sizing_mode="stretch_both",
        )

    def _panel_refresh(self) -> None:
        pair = self.get_pair()
        x, y, colors, spikes = [], [], [], []
        for unit in reversed(pair.units):
            color = self.get_unit_color(unit.unit_id) if self._is_visible(unit) else _GREY
            indices, points = self.get_drawn(unit)
            x.append(points[:, 0])
            y.append(points[:, 1])
            colors += [color] * indices.size
            spikes.append(indices)
        self.label.object = pair.text
        self.source.data = {
            "x": np.concatenate([np.empty(0), *x]),
            "y": np.concatenate([np.empty(0), *y]),
            "color": colors,
            "spike_index": np.concatenate([np.empty(0, dtype=np.int64), *spikes]),
        }
        self.glyphs.glyph.fill_alpha = self.settings["alpha"]
        for glyph in ("glyph", "selection_glyph", "nonselection_glyph"):
            getattr(self.glyphs, glyph).size = self.settings["scatter_size"]
        self.figure.xaxis.axis_label, self.figure.yaxis.axis_label = self._axis_labels(pair)
        self._panel_mark_selected()

    def _panel_mark_selected(self) -> None:
        selected = self.controller.get_indices_spike_selected()
        drawn = np.isin(self.source.data["spike_index"], selected)
        self.source.selected.indices = np.flatnonzero(drawn).tolist()

    def _panel_on_spike_selection_changed(self) -> None:
        import panel as pn

        pn.state.execute(self._panel_mark_selected, schedule=True)

    def _panel_finish_lasso(self, event: Any) -> None:
        if event.final:
            polygon = np.column_stack([event.geometry["x"], event.geometry["y"]])
            self.select_inside(polygon)


def _are_same(known: list[Any], now: list[Any]) -> bool:
    return len(known) == len(now) and all(
        a is b or (isinstance(a, int | str | np.generic) and a == b)
        for a, b in zip(known, now, strict=True)
    )
