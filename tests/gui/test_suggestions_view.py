"""The view of suggestions, in both backends: what is listed is what the functions suggest."""

import numpy as np
import pytest

import si_curation as sic
from helpers.gui_windows import gui, layout_of, opened, select  # noqa: F401
from helpers.needs import need

LAYOUT = layout_of("unitlist", "curation", "suggestions")
PACKAGES = {"desktop": ("PySide6", "pyqtgraph"), "web": ("panel", "bokeh")}

pytestmark = [pytest.mark.usefixtures("gui"), pytest.mark.slow]


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


@pytest.fixture(params=["desktop", "web"])
def window(request, analyzer, tmp_path, monkeypatch):
    need(*PACKAGES[request.param])
    monkeypatch.chdir(tmp_path)
    with opened(sic.open_gui, analyzer, mode=request.param, layout=LAYOUT) as window:
        yield window


def press(view, name):
    """Press a button; Panel's buttons count clicks."""
    button = getattr(view, f"{name}_button")
    if view.backend == "qt":
        button.click()
    else:
        button.clicks += 1


def look_for(view, kind, min_score=0.0):
    view.settings["min_score"] = min_score
    if view.backend == "qt":
        view.kind_box.setCurrentText(kind)
    else:
        view.kind_box.value = kind
    press(view, "find")
    view.refresh()


def choose(view, row):
    if view.backend == "qt":
        view.table.selectRow(row)
    else:
        view.table.selection = [row]


def cells(view):
    if view.backend == "qt":
        table = view.table
        shape = range(table.rowCount()), range(table.columnCount())
        return [[table.item(i, j).text() for j in shape[1]] for i in shape[0]]
    return view.table.value.to_numpy().tolist()


def text_of(view):
    return view.label.text() if view.backend == "qt" else view.label.object


def test_merges_are_listed_shown_and_accepted(analyzer, window):
    view, controller = window.views["suggestions"], window.controller
    view.refresh()
    assert "find" in text_of(view)
    assert cells(view) == []
    look_for(view, "merges")
    expected = sic.suggest_merges(analyzer)
    table = expected.table
    assert text_of(view) == f"{expected!r}. Listed: {len(table)} with 0 or more."
    pairs = list(zip(table["unit_id_a"].tolist(), table["unit_id_b"].tolist(), strict=True))
    assert [row[0] for row in cells(view)] == [f"{a} + {b}" for a, b in pairs]
    assert [row[1] for row in cells(view)] == [f"{score:.2f}" for score in table["score"]]
    assert [row[3] for row in cells(view)] == table["reason"].tolist()
    choose(view, 1)
    assert controller.get_visible_unit_ids() == list(pairs[1])
    press(view, "accept")
    assert [set(one["unit_ids"]) for one in controller.curation_data["merges"]] == [set(pairs[1])]
    view.refresh()
    assert [row[2] for row in cells(view)].count("accepted") >= 1
    assert cells(view)[1][2] == "accepted"
    assert not controller.current_curation_saved
    # of a unit that is removed, it is said and refused
    warned = []
    view.warning = warned.append
    free = next(i for i, pair in enumerate(pairs) if not set(pair) & set(pairs[1]))
    controller.make_manual_delete_if_possible([pairs[free][0]])
    view.refresh()
    assert cells(view)[free][2] == "removed"
    choose(view, free)
    press(view, "accept")
    assert len(warned) == 1
    assert len(controller.curation_data["merges"]) == 1


def test_splits_are_listed_shown_and_accepted(analyzer, window, tmp_path):
    view, controller = window.views["suggestions"], window.controller
    look_for(view, "splits")
    expected = sic.suggest_splits(analyzer)
    assert [row[0] for row in cells(view)] == [str(i) for i in expected.table["unit_id"]]
    unit_id = expected.table["unit_id"].tolist()[0]
    choose(view, 0)
    assert controller.get_visible_unit_ids() == [unit_id]
    parts = expected.labels(unit_id)
    spikes = controller.get_spike_indices(unit_id)
    np.testing.assert_array_equal(controller.get_indices_spike_selected(), spikes[parts > 0])
    press(view, "accept")
    (split,) = controller.curation_data["splits"]
    assert split["unit_id"] == unit_id
    assert split["indices"] == [
        np.flatnonzero(parts == k).tolist() for k in range(1, parts.max() + 1)
    ]
    view.refresh()
    assert cells(view)[0][2] == "accepted"
    # saved and applied, it is what the suggestion makes
    controller.save_curation_callback()
    (path,) = tmp_path.glob("*_curation.json")
    session = sic.CurationSession(analyzer)
    session.apply_spikeinterface_curation(path)
    sizes = sorted(session.get_spikes(i).size for i in set(session.unit_ids) - {*analyzer.unit_ids})
    assert sizes == sorted(np.bincount(parts).tolist())


def test_what_is_missing_and_what_is_not_listed(window, analyzer, monkeypatch):
    view = window.views["suggestions"]
    look_for(view, "merges", min_score=1.0)
    assert cells(view) == []
    view.settings["min_score"] = 0.0
    view.settings["max_rows"] = 2
    view.refresh()
    assert len(cells(view)) == 2

    def nothing(_):
        raise sic.MissingDataError("there are no features")

    monkeypatch.setitem(
        __import__(type(view).__module__, fromlist=["KINDS"]).KINDS, "splits", nothing
    )
    look_for(view, "splits")
    assert text_of(view) == "there are no features"
    assert cells(view) == []
