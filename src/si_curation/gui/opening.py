"""`open_gui`: spikeinterface-gui with what this package adds to it."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
from spikeinterface.core import BaseRecording, SortingAnalyzer

from si_curation._spikeinterface import inject_extension, recording_of, spike_vector_of
from si_curation.checks import check_arguments, local_path
from si_curation.documents import read_document
from si_curation.errors import MissingDataError, ParameterError, SiCurationError
from si_curation.gui.curation_file import CurationFile, check_writable, default_curation_json
from si_curation.gui.display import check_display, keep_constants
from si_curation.gui.interrupts import wait_until_closed
from si_curation.gui.web import check_port, serve, use_local_shortcuts
from si_curation.kernels.spikes_by_unit import spikes_by_unit
from si_curation.learning.labels import LearntLabels
from si_curation.learning.model import LabelModel

logger = logging.getLogger(__name__)

OUR_VIEWS = ("templatefeature", "lineage", "suggestions")
_OURS = (
    "template_assignment",
    "template_best_channels",
    "unit_similarity",
    "template_features",
)
_METRICS = ("num_spikes", "firing_rate", "isi_violation", "rp_violation", "template")
_PACKAGES = {"desktop": ("PySide6", "pyqtgraph"), "web": ("panel", "bokeh")}


def gui_layout() -> dict[str, list[str]]:
    """Return the views of each zone of the GUI's window: the GUI's default, and ours.

    Returns
    -------
    dict
        ``zone1`` to ``zone8``, as ``spikeinterface_gui.run_mainwindow(layout=...)`` takes it.
    """
    return {
        "zone1": ["curation", "spikelist"],
        "zone2": ["unitlist", "suggestions", "merge"],
        "zone3": [
            *["trace", "tracemap", "spikeamplitude", "amplitudescalings", "spikedepth"],
            *["spikerate", "event"],
        ],
        "zone4": [],
        "zone5": ["probe"],
        "zone6": ["templatefeature", "ndscatter", "similarity"],
        "zone7": ["lineage", "waveform", "waveformheatmap"],
        "zone8": ["correlogram", "isi", "metrics", "maintemplate", "mainsettings"],
    }


def open_gui(
    sorting_analyzer: SortingAnalyzer,
    *,
    curation_json: str | Path | None = None,
    recording: BaseRecording | None = None,
    mode: Literal["desktop", "web"] = "desktop",
    port: int = 0,
    layout: dict[str, list[str]] | None = None,
    label_model: LabelModel | None = None,
    start_app: bool = True,
) -> Any:
    """Open spikeinterface-gui with the views of this package, to curate, also without a recording.

    What its views need and the analyzer does not have is computed first, where that works without
    a recording, and not saved: our extensions, ``correlograms`` and ``isi_histograms``. The table
    of units shows counts, rates, refractory violations and templates. The labels are phy's groups.

    The GUI's button "Save curation" writes `curation_json`, in SpikeInterface's format;
    ``CurationSession(sorting_analyzer).apply_spikeinterface_curation(curation_json)`` does what is
    in it. Opened again, the GUI goes on from there.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Of a session: ``session.apply()``.
    curation_json : str or Path, optional
        Goes on from it where it exists, and saves into it. By default
        ``spikeinterface_gui/curation_data.json`` in an analyzer of the format "binary_folder",
        where the GUI looks; else ``<folder>_curation.json`` beside the folder of the sorter or
        analyzer, where phy reads nothing. It is in the working directory where that place cannot
        be written, or no folder is known. A file of other units is left as it is, and
        ``<folder>_curation_2.json`` is taken. The title of the window names it.
    recording : BaseRecording, optional
        For the GUI's traces.
    mode : {"desktop", "web"}
        A window (Qt), or a page in the browser (Panel), which loads nothing from the internet.
    port : int
        Of the page, on this machine; 0: any that is free. On a remote machine, forward it
        (``ssh -L 5006:localhost:5006 HOST``) and open ``http://localhost:5006`` here.
    layout : dict, optional
        Views by zone; `gui_layout` by default.
    label_model : LabelModel, optional
        Of `learn_labels`. The table of units then has its labels, and the order in which to look at
        units (a click on ``order_of_work`` sorts by it).
    start_app : bool
        Wait until the window is closed. False: return at once, for an event loop of one's own.

    Returns
    -------
    QtMainWindow or PanelMainWindow
        Of spikeinterface-gui; ``window.controller.curation_data`` is the curation.

    Raises
    ------
    MissingDataError
        spikeinterface-gui or what the mode needs is not installed, there is no display for a
        window, the views of this package are not registered (an old installation), or the analyzer
        has no templates.
    ParameterError
        The mode or the layout is unknown, the port is in use or given without "web", or the
        curation file cannot be used: it is of other units, holds several steps, or cannot be
        written there. Metrics are not those of the model of labels.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> sic.open_gui(analyzer, curation_json="curation.json")  # doctest: +SKIP
    >>> session = sic.CurationSession(analyzer)
    >>> session.apply_spikeinterface_curation("curation.json")  # doctest: +SKIP
    """
    check_arguments(open_gui, locals())
    _check_mode(mode, port)
    if len(sorting_analyzer.unit_ids) == 0:
        raise ParameterError("the analyzer has no units to show")
    if curation_json is None:
        path = default_curation_json(sorting_analyzer)
    else:
        path = local_path(curation_json, "curation_json")
        check_writable(path)
    file = CurationFile(path)
    curation = file.start(sorting_analyzer)
    _check_layout(layout)
    learnt = None if label_model is None else label_model.label(sorting_analyzer)
    if recording is not None:
        sorting_analyzer.set_temporary_recording(recording)
    compute_for_gui(sorting_analyzer)

    from spikeinterface_gui import run_mainwindow

    window = run_mainwindow(
        sorting_analyzer,
        mode=mode,
        curation=True,
        curation_dict=curation,
        with_traces=recording_of(sorting_analyzer) is not None,
        extra_unit_properties=_learnt_columns(learnt) | _unit_columns(sorting_analyzer),
        skip_extensions=[],
        layout=gui_layout() if layout is None else {k: list(v) for k, v in layout.items()},
        curation_callback=file.save,
        start_app=False,
        panel_window_servable=start_app,
        user_settings=_settings(),
    )
    if mode == "desktop":
        window.setWindowTitle(f"{window.windowTitle()}: saves into {file.path}")
    if start_app:
        _show(window, mode, port)
    return window


def _show(window: Any, mode: str, port: int) -> None:
    """Wait until a window is closed, or the server of a page is ended."""
    if mode == "web":
        serve(window, port)
        return
    wait_until_closed()


def _settings() -> dict[str, Any]:
    """Return the user's settings of the GUI; by default only the units that are shown have colours.

    Those of all units are made by a package that compiles for half a minute.
    """
    import spikeinterface_gui
    from spikeinterface_gui.utils_global import get_config_folder

    path = get_config_folder() / spikeinterface_gui.__version__ / "settings.json"
    settings: dict[str, Any] = {}
    if path.is_file():
        try:
            settings = dict(read_document(path, expected="the settings of the GUI"))
        except (SiCurationError, ValueError, TypeError) as fault:
            logger.warning("the settings of the GUI in %s cannot be read (%s)", path, fault)
    main = {"color_mode": "color_by_visibility", **settings.get("mainsettings", {})}
    return {**settings, "mainsettings": main}


def compute_for_gui(sorting_analyzer: SortingAnalyzer) -> list[str]:
    """Compute what the views need and the analyzer lacks; nothing is saved to disk.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer

    Returns
    -------
    list of str
        Extensions that cannot be computed, and why; logged too. The views show it.

    Raises
    ------
    MissingDataError
        There are no templates, without which the GUI does not open.
    """
    missing = [
        name
        for name in ("random_spikes", "templates")
        if sorting_analyzer.get_extension(name) is None
    ]
    if missing:
        raise MissingDataError(
            f"the GUI needs {' and '.join(missing)}, which this analyzer does not have; compute "
            "them with a recording, or read the Kilosort folder again"
        )
    lost = []
    for name in _OURS:
        if sorting_analyzer.get_extension(name) is not None:
            continue
        try:
            sorting_analyzer.compute_one_extension(name, save=False)
        except SiCurationError as fault:
            lost.append(f"{name}: {fault}")
    if sorting_analyzer.get_extension("correlograms") is None:
        _make_correlograms(sorting_analyzer)
    if sorting_analyzer.get_extension("isi_histograms") is None:
        _make_isi_histograms(sorting_analyzer)
    for text in lost:
        logger.info("not for the GUI: %s", text)
    return lost


def _make_correlograms(analyzer: SortingAnalyzer) -> None:
    """Add SpikeInterface's correlograms, counted by our kernels: the same counts, faster."""
    from si_curation.extensions.cross_correlograms import CrossCorrelograms

    window_ms, bin_ms = 50.0, 1.0
    ours = CrossCorrelograms(analyzer)
    ours.set_params(save=False, window_ms=window_ms, bin_ms=bin_ms, convention="spikeinterface")
    ours.run(save=False)
    counts, bins = ours.get_data()
    params = {"window_ms": window_ms, "bin_ms": bin_ms, "method": "auto", "fast_mode": "never"}
    inject_extension(analyzer, "correlograms", {"ccgs": counts, "bins": bins}, params)


def _make_isi_histograms(analyzer: SortingAnalyzer) -> None:
    """Add SpikeInterface's histograms of intervals, without what it compiles at each start."""
    window_ms, bin_ms = 50.0, 1.0
    per_ms = float(analyzer.sampling_frequency) * 1e-3
    width = max(round(bin_ms * per_ms), 1)
    edges = np.arange(0, round(window_ms * per_ms) // width * width + width, width)
    spikes = spike_vector_of(analyzer.sorting)
    samples, segments = spikes["sample_index"], spikes["segment_index"]
    counts = np.zeros((len(analyzer.unit_ids), edges.size - 1), dtype=np.int64)
    for row, own in zip(counts, spikes_by_unit(spikes["unit_index"], len(counts)), strict=True):
        is_inside = np.diff(segments[own]) == 0  # no interval goes across segments
        row[:] = np.histogram(np.diff(samples[own])[is_inside], edges)[0]
    params = {"window_ms": window_ms, "bin_ms": bin_ms, "method": "auto"}
    data = {"isi_histograms": counts, "bins": edges / per_ms}
    inject_extension(analyzer, "isi_histograms", data, params)


def _unit_columns(analyzer: SortingAnalyzer) -> dict[str, np.ndarray]:
    """Return the columns for the GUI's table of units and its view of metrics."""
    from si_curation.quality.metrics.extension import CurationMetrics

    known = analyzer.get_extension("curation_metrics")
    if known is None:
        known = CurationMetrics(analyzer)
        known.set_params(save=False, metric_names=list(_METRICS))
        known.run(save=False)
    table = known.get_data()
    there = (
        set()
        if analyzer.get_extension("quality_metrics") is None
        else set(analyzer.get_extension("quality_metrics").get_data().columns)
    )
    return {
        str(name): table[name].to_numpy()
        for name in table.columns
        if name not in there and table[name].dtype.kind in "iuf"
    }


def _learnt_columns(learnt: LearntLabels | None) -> dict[str, np.ndarray]:
    """Return what a model says of the units, for the GUI's table."""
    if learnt is None:
        return {}
    table = learnt.table
    return {
        "order_of_work": table["order_of_work"].to_numpy(),
        "learnt_label": table["label"].to_numpy(dtype=str),
        "learnt_probability": table["probability"].to_numpy(),
    }


def _check_mode(mode: str, port: int) -> None:
    if mode not in _PACKAGES:
        raise ParameterError(f"mode is {mode!r}, expected 'desktop' or 'web'")
    if mode == "desktop" and port:
        raise ParameterError(f'port {port} is of a page in the browser: give mode="web" too')
    needed = ("spikeinterface_gui", *_PACKAGES[mode])
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        extra = "web" if mode == "web" else "gui"
        names = " and ".join(missing)
        raise MissingDataError(
            f"{names} {'is' if len(missing) == 1 else 'are'} not installed: "
            f'pip install "si_curation[{extra}]"'
        )
    if mode == "desktop":
        check_display()
        keep_constants()
    else:
        check_port(port)
        use_local_shortcuts()


def _check_layout(layout: dict[str, list[str]] | None) -> None:
    from spikeinterface_gui.viewlist import get_all_possible_views

    known = get_all_possible_views()
    lost = [name for name in OUR_VIEWS if name not in known]
    if lost:
        raise MissingDataError(
            f"the views {', '.join(lost)} of this package are not registered: install it again"
        )
    if layout is None:
        return
    zones = list(gui_layout())
    problems = [f"zone {zone!r}" for zone in layout if zone not in zones]
    problems += [f"no {zone!r}" for zone in zones if zone not in layout]
    problems += [f"view {v!r}" for views in layout.values() for v in views if v not in known]
    if problems:
        raise ParameterError(
            f"the layout has {', '.join(problems)}; zones are {', '.join(zones)} (all of them, "
            f"they may be empty), views are {', '.join(sorted(known))}"
        )
