"""The view of spikeinterface-gui that suggests merges and splits, to look at and accept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface_gui.view_base import ViewBase

from si_curation.checks import plain_id
from si_curation.errors import SiCurationError
from si_curation.evidence.merges import suggest_merges
from si_curation.evidence.splits import suggest_splits

KINDS: dict[str, Callable[..., Any]] = {"merges": suggest_merges, "splits": suggest_splits}
COLUMNS = ("units", "score", "state", "reason")
_NOT_YET = 'Press "find" to look for {}.'
_NOT_ACCEPTED = (
    "Not accepted: a unit is removed, or merged or split already (see the view 'curation')."
)

_HELP_TEXT = """
## Suggestions

Pairs of units that may be one neuron (`suggest_merges`), or units that may be several
(`suggest_splits`), best first, with the evidence. No recording is needed. **find** looks for them,
which takes seconds, or minutes for splits of many units.

### Controls
- **left click, arrow up/down**: show the units of a row; of a split also select the spikes of its
  smaller parts
- **accept**, **double click** or **Enter**: note it as a merge or split in the curation

Rows are suggestions for the sorting as it is: what was accepted is said in `state`.
"""


class Suggested(NamedTuple):
    """A row of the view.

    Attributes
    ----------
    unit_ids : tuple
        Two of a merge, one of a split.
    score : float
    reason : str
    """

    unit_ids: tuple[Any, ...]
    score: float
    reason: str


class SuggestionsView(ViewBase):
    """Suggested merges and splits, which a click shows in the other views, and another accepts.

    Those with a score of ``min_score`` (0.1) or more are listed, at most ``max_rows`` (50). They
    are found when it is asked for. Follows the curation of the GUI, in both its backends.
    """

    id = "suggestions"
    _supported_backend: ClassVar[list[str]] = ["qt", "panel"]
    _depend_on = None  # the view shows what is missing
    _gui_help_txt = _HELP_TEXT
    _settings: ClassVar[list[dict[str, Any]]] = [
        {"name": "min_score", "type": "float", "value": 0.1, "limits": (0.0, 1.0), "step": 0.05},
        {"name": "max_rows", "type": "int", "value": 50},
    ]

    def __init__(self, controller: Any = None, parent: Any = None, backend: str = "qt"):
        self.kind = "merges"
        self._found: dict[str, tuple[Any, Any]] = {}
        self._faults: dict[str, str] = {}
        ViewBase.__init__(self, controller=controller, parent=parent, backend=backend)

    # what is shown

    def find(self) -> None:
        """Look for suggestions of the kind that is chosen, and show them."""
        analyzer = self.controller.analyzer
        self._faults.pop(self.kind, None)
        with self.busy_cursor():
            try:
                self._found[self.kind] = (analyzer, KINDS[self.kind](analyzer))
            except SiCurationError as fault:
                self._faults[self.kind] = str(fault)
        self.refresh()

    @property
    def suggestions(self) -> Any:
        """The suggestions of the kind that is chosen; None before they were looked for."""
        analyzer, found = self._found.get(self.kind, (None, None))
        return found if analyzer is self.controller.analyzer else None

    def rows(self) -> list[Suggested]:
        """Return what is listed, best first."""
        if self.suggestions is None:
            return []
        table = self.suggestions.table
        table = table[table["score"] >= self.settings["min_score"]]
        table = table.head(max(int(self.settings["max_rows"]), 1))
        ids = ("unit_id_a", "unit_id_b") if self.kind == "merges" else ("unit_id",)
        columns = [table[name] for name in (*ids, "score", "reason")]
        return [
            Suggested(tuple(map(plain_id, row[:-2])), float(row[-2]), str(row[-1]))
            for row in zip(*columns, strict=True)
        ]

    def state_of(self, row: Suggested) -> str:
        """Return what the curation says of a row: "accepted", "removed" or nothing."""
        if not self.controller.curation:
            return ""
        curation, units = self.controller.curation_data, set(row.unit_ids)
        if units & set(curation["removed"]):
            return "removed"
        made = [one["unit_ids"] for one in curation["merges"]]
        if self.kind == "splits":
            made = [[one["unit_id"]] for one in curation["splits"]]
        return "accepted" if any(units <= set(group) for group in made) else ""

    def texts(self) -> list[tuple[str, str, str, str]]:
        """Return the cells of `COLUMNS` of each row."""
        return [
            (" + ".join(map(str, row.unit_ids)), f"{row.score:.2f}", self.state_of(row), row.reason)
            for row in self.rows()
        ]

    def summary(self) -> str:
        """Return the line above the table."""
        if self.kind in self._faults:
            return self._faults[self.kind]
        if self.suggestions is None:
            return _NOT_YET.format(self.kind)
        least, shown = self.settings["min_score"], len(self.rows())
        return f"{self.suggestions!r}. Listed: {shown} with {least:g} or more."

    # what is done

    def show(self, row: Suggested) -> None:
        """Select the units of a row in all views, and the spikes that a split takes out."""
        self.controller.set_visible_unit_ids(list(row.unit_ids))
        self.notify_unit_visibility_changed()
        if self.kind == "splits":
            parts, spikes = self._parts(row)
            self.controller.set_indices_spike_selected(spikes[parts > 0])
            self.notify_spike_selection_changed()

    def accept(self, row: Suggested) -> bool:
        """Note a row in the curation of the GUI; return whether that could be done."""
        if self.kind == "merges":
            done = self.controller.make_manual_merge_if_possible(list(row.unit_ids))
        else:
            done = self._split(row)
        if not done:
            self.warning(_NOT_ACCEPTED)
            return False
        self.notify_manual_curation_updated()
        self.refresh()
        return True

    def _parts(self, row: Suggested) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the part of each spike of the unit of a split, and its index among all spikes."""
        (unit_id,) = row.unit_ids
        return self.suggestions.labels(unit_id), self.controller.get_spike_indices(unit_id)

    def _split(self, row: Suggested) -> bool:
        if self.state_of(row) == "accepted":
            return False
        self.show(row)
        if not self.controller.make_manual_split_if_possible(row.unit_ids[0]):
            return False
        parts, _ = self._parts(row)
        # all parts, of which the GUI's own split knows two
        groups = [np.flatnonzero(parts == k).tolist() for k in range(1, int(parts.max()) + 1)]
        self.controller.curation_data["splits"][-1]["indices"] = groups
        return True

    # Qt

    def _qt_make_layout(self) -> None:
        from spikeinterface_gui.myqt import QT

        self.layout = QT.QVBoxLayout()
        toolbar = self.qt_widget.view_toolbar
        self.kind_box = QT.QComboBox()
        self.kind_box.addItems(list(KINDS))
        self.kind_box.currentTextChanged.connect(self._choose)
        toolbar.addWidget(self.kind_box)
        self.find_button = QT.QPushButton("find")
        self.find_button.clicked.connect(lambda *_: self.find())
        toolbar.addWidget(self.find_button)
        self.label = QT.QLabel()
        self.label.setTextFormat(QT.Qt.PlainText)
        self.label.setWordWrap(True)
        self.layout.addWidget(self.label)
        self.table = QT.QTableWidget(
            selectionMode=QT.QAbstractItemView.SingleSelection,
            selectionBehavior=QT.QAbstractItemView.SelectRows,
            editTriggers=QT.QAbstractItemView.NoEditTriggers,
        )
        self.table.setWordWrap(False)
        self.table.verticalHeader().hide()
        self.table.itemSelectionChanged.connect(self._qt_show)
        self.layout.addWidget(self.table, 1)
        if self.controller.curation:
            self.accept_button = QT.QPushButton("accept")
            self.accept_button.clicked.connect(lambda *_: self._qt_accept())
            toolbar.addWidget(self.accept_button)
            self.table.itemDoubleClicked.connect(lambda *_: self._qt_accept())
            shortcut = QT.QShortcut(self.table)
            shortcut.setKey(QT.QKeySequence("Return"))
            shortcut.setContext(QT.Qt.WidgetShortcut)
            shortcut.activated.connect(self._qt_accept)

    def _qt_refresh(self) -> None:
        from spikeinterface_gui.myqt import QT

        self.label.setText(self.summary())
        texts, chosen = self.texts(), self.table.currentRow()
        self.table.blockSignals(True)
        self.table.clear()
        self.table.setColumnCount(len(COLUMNS))
        self.table.setHorizontalHeaderLabels(list(COLUMNS))
        self.table.setRowCount(len(texts))
        for row, cells in enumerate(texts):
            for column, text in enumerate(cells):
                item = QT.QTableWidgetItem(text)
                item.setToolTip(text)
                self.table.setItem(row, column, item)
        self.table.resizeColumnsToContents()
        self.table.horizontalHeader().setStretchLastSection(True)
        if 0 <= chosen < len(texts):
            self.table.selectRow(chosen)
        self.table.blockSignals(False)

    def _choose(self, kind: str) -> None:
        self.kind = kind
        if self.backend == "qt":
            self.table.setCurrentItem(None)
        self.refresh()

    def _qt_chosen(self) -> Suggested | None:
        rows, chosen = self.rows(), self.table.currentRow()
        return rows[chosen] if 0 <= chosen < len(rows) else None

    def _qt_show(self) -> None:
        row = self._qt_chosen()
        if row is not None:
            self.show(row)

    def _qt_accept(self) -> None:
        row = self._qt_chosen()
        if row is not None and self.accept(row):
            self.table.selectRow(min(self.table.currentRow() + 1, self.table.rowCount() - 1))

    def _qt_on_manual_curation_updated(self) -> None:
        self.refresh()

    def _qt_on_unit_visibility_changed(self) -> None:
        pass  # nothing here depends on it

    def _qt_on_unit_color_changed(self) -> None:
        pass

    # Panel

    def _panel_make_layout(self) -> None:
        import panel as pn

        word = "label" if "label" in pn.widgets.Button.param else "name"  # Panel before 1.9
        self.kind_box = pn.widgets.Select(options=list(KINDS), width=110)
        self.kind_box.param.watch(lambda event: self._choose(event.new), "value")
        self.find_button = pn.widgets.Button(**{word: "Find"})
        self.find_button.on_click(lambda event: self.find())
        row = [self.kind_box, self.find_button]
        if self.controller.curation:
            self.accept_button = pn.widgets.Button(**{word: "Accept"})
            self.accept_button.on_click(lambda event: self._panel_accept())
            row.append(self.accept_button)
        self.label = pn.pane.Str(self.summary(), sizing_mode="stretch_width")
        self.table = pn.widgets.Tabulator(
            pd.DataFrame({name: [] for name in COLUMNS}),
            show_index=False,
            disabled=True,
            selectable=1,
            layout="fit_data_stretch",
            sizing_mode="stretch_both",
        )
        self.table.param.watch(lambda event: self._panel_show(), "selection")
        self.layout = pn.Column(pn.Row(*row), self.label, self.table, sizing_mode="stretch_both")

    def _panel_refresh(self) -> None:
        self.label.object = self.summary()
        chosen = list(self.table.selection)
        table = pd.DataFrame(self.texts(), columns=list(COLUMNS))
        if not table.equals(self.table.value):
            self.table.value = table
            self.table.selection = [i for i in chosen if i < len(table)]

    def _panel_chosen(self) -> Suggested | None:
        rows, chosen = self.rows(), self.table.selection
        return rows[chosen[0]] if chosen and chosen[0] < len(rows) else None

    def _panel_show(self) -> None:
        import panel as pn

        row = self._panel_chosen()
        if row is not None:
            pn.state.execute(lambda: self.show(row), schedule=True)

    def _panel_accept(self) -> None:
        from spikeinterface_gui.utils_panel import schedule_curation_change

        row = self._panel_chosen()
        if row is None:
            return

        def accept() -> None:
            if self.accept(row):
                self.table.selection = [min(self.table.selection[0] + 1, len(self.rows()) - 1)]

        schedule_curation_change(accept)

    def _panel_on_manual_curation_updated(self) -> None:
        self.refresh()

    def _panel_on_unit_visibility_changed(self) -> None:
        pass

    def _panel_on_unit_color_changed(self) -> None:
        pass
