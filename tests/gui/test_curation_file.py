"""What is curated in spikeinterface-gui comes back into a session, and the other way round."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from spikeinterface.core import load_sorting_analyzer

import si_curation as sic
from helpers.gui_windows import (
    gui,  # noqa: F401
    layout_of,
    opened,
    process_events,
    select,
    show,
)
from helpers.needs import need
from si_curation.cli import cli
from si_curation.gui.opening import OUR_VIEWS, compute_for_gui, gui_layout

SMALL = layout_of("unitlist", "curation", "templatefeature", "lineage")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("gui"),
    # the GUI wants correlograms, which cannot be carried through a split
    pytest.mark.filterwarnings("ignore:not in the new analyzer. correlograms"),
]


@pytest.fixture(autouse=True)
def _installed():
    need("PySide6", "pyqtgraph")


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


def trains_of(analyzer):
    return {i: analyzer.sorting.get_unit_spike_train(i).tolist() for i in analyzer.unit_ids}


def button_of(window, text):
    from PySide6.QtWidgets import QPushButton

    found = [b for b in window.views["curation"].qt_widget.findChildren(QPushButton)]
    (button,) = [b for b in found if b.text() == text]
    return button


def curate(window):
    """Curate through the GUI's controller, as its buttons and keys do; give the split spikes."""
    controller = window.controller
    assert controller.make_manual_merge_if_possible([11, 12])
    assert controller.make_manual_delete_if_possible([controller.unit_ids[1]])  # 7, a numpy scalar
    controller.set_label_to_unit(4, "quality", "good")
    controller.set_label_to_unit(9, "quality", "MUA")
    controller.set_label_to_unit(8, "quality", None)  # noise before
    select(window, [13])
    view = window.views["templatefeature"]
    polygon = np.array([(600, -1e5), (600, 1e5), (1e5, 1e5), (1e5, -1e5)])
    view.view_box.lasso_finished.emit(polygon.tolist(), False)
    spikes = controller.get_indices_spike_selected()
    view.split_button.click()
    return spikes


def check_curated(analyzer, session, spikes):
    """Check a session against what was done."""
    before, after = trains_of(analyzer), trains_of(session.apply())
    vector = analyzer.sorting.to_spike_vector()
    whole = np.flatnonzero(vector["unit_index"] == analyzer.sorting.id_to_index(13))
    samples = vector["sample_index"]
    parts = [samples[spikes].tolist(), samples[np.setdiff1d(whole, spikes)].tolist()]
    assert 0 < len(spikes) < len(before[13])
    new = {i: train for i, train in after.items() if i not in before}
    assert sorted(new.values()) == sorted([sorted(before[11] + before[12]), *parts])
    assert {i: after[i] for i in after if i in before} == {i: before[i] for i in (4, 8, 9, 10)}
    groups = session.table["group"]
    assert groups[[4, 8, 9, 10]].tolist() == ["good", "unsorted", "mua", "mua"]
    for unit_id, train in new.items():
        expected = "unsorted" if len(train) == len(before[11] + before[12]) else "good"
        assert groups[unit_id] == expected


def test_curation_that_the_gui_saves_comes_back(analyzer, tmp_path):
    path = tmp_path / "curation.json"
    with opened(sic.open_gui, analyzer, curation_json=path, layout=SMALL) as window:
        labels = {u: window.controller.get_unit_label(u, "quality") for u in analyzer.unit_ids}
        assert {u: label for u, label in labels.items() if label} == {
            8: "noise",
            10: "MUA",
            13: "good",
        }
        assert window.controller.has_default_quality_labels  # so that the GUI's keys work
        spikes = curate(window)
        assert not window.controller.current_curation_saved
        assert not path.exists()
        button_of(window, "Save curation").click()
        assert window.controller.current_curation_saved
    session = sic.CurationSession(analyzer)
    assert session.apply_spikeinterface_curation(path) == {}
    check_curated(analyzer, session, spikes)
    # opened again, the GUI goes on from the file
    with opened(sic.open_gui, analyzer, curation_json=path, layout=SMALL) as window:
        data = window.controller.curation_data
        assert [sorted(m["unit_ids"]) for m in data["merges"]] == [[11, 12]]
        assert data["removed"] == [7]
        assert len(data["splits"]) == 1
        assert window.controller.get_unit_label(9, "quality") == "MUA"
        window.controller.make_manual_restore([7])
        button_of(window, "Save curation").click()
    assert json.loads(path.read_text())["removed"] == []
    assert [p.name for p in tmp_path.glob("*.json*")] == ["curation.json"]


def test_json_that_the_gui_exports_comes_back(analyzer, tmp_path, monkeypatch):
    """Its own button, without anything of ours in between."""
    from PySide6.QtWidgets import QFileDialog

    path = tmp_path / "exported.json"
    monkeypatch.setattr(QFileDialog, "exec_", lambda self: True, raising=False)
    monkeypatch.setattr(QFileDialog, "selectedFiles", lambda self: [str(path)])
    with opened(sic.open_gui, analyzer, layout=SMALL) as window:
        spikes = curate(window)
        button_of(window, "Export JSON").click()
    session = sic.CurationSession(analyzer)
    session.apply_spikeinterface_curation(path)
    check_curated(analyzer, session, spikes)
    # and from there to phy
    sic.export_to_phy(session.apply(), tmp_path / "phy")
    assert sic.read_phy_folder(tmp_path / "phy").groups[4] == "good"


def test_steps_that_were_applied_in_the_gui_come_back(tmp_path, monkeypatch):
    """Curation in several steps: the GUI gives ids that were used before, we never do."""
    from PySide6.QtWidgets import QFileDialog
    from spikeinterface_gui import run_mainwindow

    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    compute_for_gui(analyzer)
    path = tmp_path / "steps.json"
    monkeypatch.setattr(QFileDialog, "exec_", lambda self: True, raising=False)
    monkeypatch.setattr(QFileDialog, "selectedFiles", lambda self: [str(path)])
    given = {"layout": SMALL, "iterative_curation": True, "with_traces": False}
    with opened(run_mainwindow, analyzer, **given) as window:
        controller = window.controller
        assert controller.make_manual_merge_if_possible([11, 12])
        button_of(window, "Apply curation").click()
        # its views draw the analyzer that it made
        assert sorted(controller.unit_ids) == [4, 7, 8, 9, 10, 11, 13]
        select(window, [11, 13])
        assert "Unit 11 against unit 13" in window.views["templatefeature"].label.text()
        assert list(window.views["lineage"].plots) == [11, 13]
        assert controller.make_manual_merge_if_possible([11, 10])
        controller.set_label_to_unit(13, "quality", "good")
        button_of(window, "Export JSON").click()
    session = sic.CurationSession(analyzer)
    renamed = session.apply_spikeinterface_curation(path)
    before, after = trains_of(analyzer), trains_of(session.apply())
    whole = sorted(before[10] + before[11] + before[12])
    assert [train for i, train in after.items() if i not in before] == [whole]
    assert 11 in renamed
    assert session.table["group"][13] == "good"


def test_saved_analyzer_keeps_its_curation_where_the_gui_looks(analyzer, tmp_path):
    from spikeinterface_gui import run_mainwindow

    saved = analyzer.save_as(format="binary_folder", folder=tmp_path / "saved")
    extensions = sorted(p.name for p in (tmp_path / "saved" / "extensions").iterdir())
    with opened(sic.open_gui, saved, layout=SMALL) as window:
        spikes = curate(window)
        button_of(window, "Save curation").click()
    path = tmp_path / "saved" / "spikeinterface_gui" / "curation_data.json"
    assert path.is_file()
    # what was computed for the views is not written into the analyzer
    assert extensions == sorted(p.name for p in (tmp_path / "saved" / "extensions").iterdir())
    session = sic.CurationSession(load_sorting_analyzer(tmp_path / "saved"))
    session.apply_spikeinterface_curation(path)
    check_curated(analyzer, session, spikes)
    with opened(  # the GUI by itself finds it there
        run_mainwindow,
        load_sorting_analyzer(tmp_path / "saved"),
        curation=True,
        layout=SMALL,
        with_traces=False,
    ) as window:
        assert window.controller.curation_data["removed"] == [7]


def test_file_by_default_is_beside_the_folder_and_never_anothers(simulate):
    folder = simulate(num_templates=6, num_spikes=600).folder
    read = sic.read_kilosort_as_analyzer(folder)
    inside = sorted(folder.iterdir())
    path = folder.parent / f"{folder.name}_curation.json"
    unit_id = read.unit_ids.tolist()[0]
    with opened(sic.open_gui, read, layout=SMALL) as window:
        assert str(path) in window.windowTitle()
        window.controller.set_label_to_unit(unit_id, "quality", "good")
        button_of(window, "Save curation").click()
        saved = path.read_bytes()
        path.write_text("{}")  # by another program, meanwhile
        button_of(window, "Save curation").click()
    assert path.read_bytes() == saved
    (kept,) = folder.parent.glob("*.backup-*")
    assert kept.read_text() == "{}"
    assert sorted(folder.iterdir()) == inside
    with opened(sic.open_gui, read, layout=SMALL) as window:  # goes on from it
        assert window.controller.get_unit_label(unit_id, "quality") == "good"
    fewer = read.select_units(read.unit_ids[1:])  # other units
    with opened(sic.open_gui, fewer, layout=SMALL) as window:
        button_of(window, "Save curation").click()
    assert path.read_bytes() == saved
    second = json.loads((folder.parent / f"{folder.name}_curation_2.json").read_text())
    assert second["unit_ids"] == fewer.unit_ids.tolist()


def test_session_opens_in_the_gui(analyzer):
    """Steps as a curation of the units before, and the units after with their labels."""
    from spikeinterface_gui import run_mainwindow

    session = sic.CurationSession(analyzer)
    merged = session.merge([11, 12])
    session.label([merged, 4], "good")
    merge, labels = session.to_spikeinterface_curation().curation_steps
    given = {"layout": SMALL, "curation": True, "with_traces": False}
    with opened(run_mainwindow, analyzer, curation_dict=merge.model_dump(), **given) as window:
        assert window.controller.curation_data["merges"] == [{"unit_ids": [11, 12]}]
    curated = session.apply()
    with opened(run_mainwindow, curated, curation_dict=labels.model_dump(), **given) as window:
        label_of = window.controller.get_unit_label
        assert [label_of(u, "quality") for u in (merged, 4, 10, 8, 9)] == [
            *("good", "good", "mua", "noise", "unsorted")
        ]
    with opened(sic.open_gui, curated, layout=SMALL) as window:
        label_of = window.controller.get_unit_label
        assert [label_of(u, "quality") for u in (merged, 4, 10, 8, 9)] == [
            *("good", "good", "MUA", "noise", None)
        ]


def test_settings_of_the_user_come_before_ours(analyzer, tmp_path, monkeypatch, caplog):
    import spikeinterface_gui
    from PySide6.QtGui import QColor

    folder = tmp_path / "home" / ".config" / "spikeinterface_gui" / spikeinterface_gui.__version__
    folder.mkdir(parents=True)
    file = folder / "settings.json"
    with opened(sic.open_gui, analyzer, layout=SMALL) as window:
        assert window.controller.main_settings["color_mode"] == "color_by_visibility"
        select(window, [10])
        grey = QColor.fromRgbF(*window.controller.get_unit_color(4)).saturation()
        shown = QColor.fromRgbF(*window.controller.get_unit_color(10)).saturation()
        assert (grey, shown > 100) == (0, True)
    file.write_text('{"mainsettings": {"color_mode": "color_by_unit", "max_visible_units": 3}}')
    with opened(sic.open_gui, analyzer, layout=SMALL) as window:
        assert window.controller.main_settings["color_mode"] == "color_by_unit"
        assert window.controller.main_settings["max_visible_units"] == 3
    file.write_text("[1")
    with opened(sic.open_gui, analyzer, layout=SMALL) as window:
        assert window.controller.main_settings["color_mode"] == "color_by_visibility"
    assert "cannot be read" in caplog.text


def test_whole_window_opens_without_a_recording(monkeypatch):
    monkeypatch.setitem(sys.modules, "glasbey", None)  # compiles for half a minute where imported
    fresh = sic.read_kilosort_as_analyzer(sic.example_folder())
    labelled = pd.DataFrame({"firing_rate": np.arange(40.0), "session": np.arange(40) % 2})
    labelled["group"] = np.where(labelled["firing_rate"] > 15, "good", "mua")
    model = sic.learn_labels(labelled, metric_params={"firing_rate": {}})
    learnt = model.label(fresh).table
    with opened(sic.open_gui, fresh, label_model=model) as window:
        views = set(window.views)
        assert {*OUR_VIEWS, "correlogram", "isi", "ndscatter", "similarity", "waveform"} <= views
        assert {"unitlist", "curation", "spikeamplitude", "spikedepth", "metrics"} <= views
        # these need what only a recording gives
        expected = {v for names in gui_layout().values() for v in names}
        assert expected - views == {
            *("trace", "tracemap", "waveformheatmap", "amplitudescalings", "event")
        }
        for unit_ids in ([4], [10, 13], [11, 12, 13]):
            select(window, unit_ids)
            for dock in window.docks.values():
                dock.raise_()
                process_events()
        table = window.controller.units_table
        assert table.loc[13, "num_spikes"] == 1330
        assert table.loc[13, "template_purity"] == pytest.approx(625 / 1330)
        assert table["order_of_work"].tolist() == learnt["order_of_work"].tolist()
        assert table["learnt_label"].tolist() == learnt["label"].tolist()
        assert "order_of_work" in window.controller.displayed_unit_properties


def test_correlograms_for_the_gui_are_those_of_spikeinterface():
    ours, theirs = (sic.read_kilosort_as_analyzer(sic.example_folder()) for _ in range(2))
    assert compute_for_gui(ours) == []
    assert "cross_correlograms" not in ours.extensions
    for name in ("correlograms", "isi_histograms"):
        expected = theirs.compute(name).get_data()
        for a, b in zip(ours.get_extension(name).get_data(), expected, strict=True):
            np.testing.assert_allclose(a, b)
        known = ours.get_extension(name).params
        assert {k: known[k] for k in ("window_ms", "bin_ms")} == {"window_ms": 50.0, "bin_ms": 1.0}


def test_what_cannot_be_computed_is_said(simulate):
    folder = simulate(num_templates=6, num_spikes=600)
    (folder.folder / "pc_features.npy").unlink()
    analyzer = sic.read_kilosort_as_analyzer(folder.folder)
    (lost,) = compute_for_gui(analyzer)
    assert lost.startswith("template_features: there is nothing to take template features from")
    with opened(sic.open_gui, analyzer, layout=SMALL) as window:
        select(window, analyzer.unit_ids[:2].tolist())
        text = window.views["templatefeature"].label.text()
        assert "needs the extension 'template_features'" in text


def test_wrong_input_is_named(analyzer, tmp_path, monkeypatch):
    def refused(error, match, **given):
        with pytest.raises(error, match=match):
            sic.open_gui(analyzer, start_app=False, **given)

    refused(sic.ParameterError, "mode is 'tablet'", mode="tablet")
    refused(sic.ParameterError, "view 'nothing'", layout=layout_of("nothing"))
    refused(sic.ParameterError, "zone 'zone9'", layout={**gui_layout(), "zone9": []})
    refused(sic.FolderNotFoundError, "does not exist", curation_json=tmp_path / "no" / "a.json")
    refused(sic.ParameterError, "is not a file", curation_json=tmp_path)
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    refused(sic.ParameterError, "cannot be read", curation_json=broken)
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"format_version": "2", "unit_ids": [1, 2]}))
    refused(sic.ParameterError, "of other units", curation_json=other)
    session = sic.CurationSession(analyzer)
    session.merge([11, 12])
    steps = tmp_path / "steps.json"
    steps.write_text(session.to_spikeinterface_curation().model_dump_json())
    refused(sic.ParameterError, "holds 2 steps", curation_json=steps)
    bare = analyzer.copy()
    bare.delete_extension("templates")
    with pytest.raises(sic.MissingDataError, match="needs templates"):
        sic.open_gui(bare, start_app=False)
    find = __import__("importlib.util", fromlist=["find_spec"]).find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda n: None if n == "spikeinterface_gui" else find(n)
    )
    refused(sic.MissingDataError, r"spikeinterface_gui is not installed.*si_curation\[gui\]")


def test_command(tmp_path, monkeypatch):
    """The command opens the window and waits for it; here it is closed at once."""
    import spikeinterface_gui

    real, seen = spikeinterface_gui.run_mainwindow, {}
    # all of them to the end: PySide6 may take a new object for one that was at its address before
    windows = []

    def run(analyzer, **given):
        seen.update(given)
        windows.append(show(real(analyzer, **given)))
        return windows[-1]

    def use(clicks):
        window = windows[-1]
        seen["views"] = set(window.views)
        for text in clicks:
            button_of(window, text).click()
        window.controller.current_curation_saved = True
        window.close()

    monkeypatch.setattr(spikeinterface_gui, "run_mainwindow", run)
    monkeypatch.chdir(tmp_path)
    folder = str(sic.example_folder())

    def call(*arguments, clicks=("Save curation",)):
        monkeypatch.setattr("PySide6.QtWidgets.QApplication.exec", lambda *_: use(clicks))
        return CliRunner().invoke(cli, ["gui", folder, *arguments], catch_exceptions=False)

    path = tmp_path / "with space.json"
    result = call("--curation-json", str(path))
    assert result.exit_code == 0
    assert set(OUR_VIEWS) <= seen["views"]
    assert seen["mode"] == "desktop"
    first, *_, last = result.output.strip().splitlines()
    assert first == f'Curation file: {path} (new; "Save curation" writes it)'
    assert last.split() == ["si-curation", "apply", folder, *f"'{path}'".split(), "OUT"]
    assert json.loads(path.read_text())["unit_ids"] == [4, 7, 8, 9, 10, 11, 12, 13]
    # by default, of the example, which is inside the package: in the working directory
    default = tmp_path / f"{sic.example_folder().name}_curation.json"
    result = call(clicks=())
    assert f"Nothing was saved into {default}" in result.output
    assert not default.exists()
    assert f"Saved {default}. To do what is in it:" in call().output
    assert f"{default} (goes on from it;" in call(clicks=()).output


@pytest.mark.parametrize("name", ["num_spikes", "template_id"])
def test_metrics_of_the_analyzer_are_not_given_twice(name):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute("curation_metrics", metric_names=["num_spikes", "template"])
    analyzer.compute("quality_metrics", metric_names=["num_spikes"])
    with opened(sic.open_gui, analyzer, layout=SMALL) as window:
        assert window.controller.units_table.columns.tolist().count(name) == 1
