"""Every public function takes an analyzer that was loaded with ``lazy=True``.

SpikeInterface then holds zarr arrays, or memory maps, where arrays are otherwise.
"""

import inspect
import shutil

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import spikeinterface as si

import si_curation as sic

NWB = {"NWBFile": {"session_start_time": "2026-01-01T00:00:00+00:00"}}
EXTENSIONS = (
    "template_best_channels",
    "template_features",
    "unit_similarity",
    "cross_correlograms",
    "curation_metrics",
    "spike_waveforms",
)
#: Arguments of those that need some; {folder} is a new folder.
ARGUMENTS = {
    "attach_kilosort_folder": {"folder_path": sic.example_folder()},
    "compute_metrics_in_windows": {"window_s": 20.0},
    "export_report": {"path": "page.html", "progress_bar": False},
    "export_to_nwb": {"path": "a.nwb", "metadata": NWB, "t_start": 0.0, "progress_bar": False},
    "export_to_phy": {"output_folder": "phy"},
    "get_spike_amplitudes": {"unit_id": 4},
    "get_spike_waveforms": {"unit_id": 4},
    "get_waveform_sets": {"spike_sets": [[0, 5], [3]]},
    "spikes_in_windows": {"unit_id": 4},
    "plot_waveform_drift": {"unit_id": 4},
    "session_borders": {"borders": [30.0]},
    "set_session_borders": {"borders": [30.0], "save": False},
    "split_by_session": {"borders": [30.0]},
    "get_spike_features": {"spike_indices": [0, 5], "channel_indices": [0, 1]},
    "label_units": {"rules": [("num_spikes", "<", 100, "noise")]},
    "set_observed_periods": {"periods": [(0, np.inf)], "save": False},
    "plot_amplitudes_over_time": {"unit_ids": [4, 7]},
    "plot_best_channels": {"unit_ids": [4]},
    "plot_cross_correlograms": {"unit_ids": [4, 7]},
    "plot_contamination": {"unit_ids": [4]},
    "plot_features": {"unit_ids": [4, 7]},
    "plot_firing_rate": {"unit_ids": [4]},
    "plot_isi": {"unit_ids": [4]},
    "plot_pair_overview": {"unit_a": 4, "unit_b": 7},
    "plot_similarity": {"unit_id": 4},
    "plot_split": {"split": np.arange(909) % 2, "unit_id": 4},
    "plot_template_features": {"unit_a": 4, "unit_b": 7},
    "plot_unit_overview": {"unit_id": 4},
    "plot_unit_templates_by_source": {"unit_ids": [4]},
}
#: Without what they need, or tested elsewhere with it.
OTHERS = {"open_gui", "add_units_to_nwbfile", "compare_templates"}
OTHERS |= {"label_by_spikeinterface_model"}
QUICK = {"contamination_panel", "compute_cross_correlograms", "attach_kilosort_folder"}


def names():
    """Every public function whose first argument is an analyzer."""
    for name in sic.__all__:
        value = getattr(sic, name)
        if name.startswith("compute_"):
            yield name
        elif inspect.isfunction(value) or name.startswith("plot_"):
            first = next(iter(inspect.signature(value).parameters), "")
            if first in ("sorting_analyzer", "analyzer") and name not in OTHERS:
                yield name


CASES = [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in names()]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    root = tmp_path_factory.mktemp("saved")
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(list(EXTENSIONS))
    analyzer.save_as(format="zarr", folder=root / "analyzer.zarr")
    analyzer.save_as(format="binary_folder", folder=root / "analyzer")
    return root


def load(saved, name, read_only=True):
    return si.load_sorting_analyzer(saved / name, lazy=True, read_only=read_only)


def call(name, analyzer, folder):
    arguments = {
        key: folder / value if key in ("path", "output_folder") else value
        for key, value in ARGUMENTS.get(name, {}).items()
    }
    folder.mkdir()
    if name.startswith("compute_") and name != "compute_metrics_in_windows":
        extension = analyzer.compute_one_extension(name.removeprefix("compute_"), save=False)
        return extension.get_data()
    found = getattr(sic, name)(analyzer, **arguments)
    plt.close("all")
    return found


def assert_equal(found, expected):
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, tuple):
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_lazy_analyzers_give_the_same(saved, tmp_path, name):
    expected = call(name, si.load_sorting_analyzer(saved / "analyzer").copy(), tmp_path / "a")
    shutil.copytree(saved, tmp_path / "saved")
    for analyzer in ("analyzer.zarr", "analyzer"):
        lazy = load(tmp_path / "saved", analyzer, read_only=name != "prepare_for_phy")
        assert_equal(call(name, lazy, tmp_path / f"of {analyzer}"), expected)


@pytest.mark.parametrize(
    "name", ["analyzer.zarr", pytest.param("analyzer", marks=pytest.mark.slow)]
)
def test_a_session_on_a_lazy_analyzer(saved, name):
    tables = []
    for analyzer in (load(saved, name), si.load_sorting_analyzer(saved / name).copy()):
        session = sic.CurationSession(analyzer)
        merged = session.merge(session.unit_ids[:2])
        session.split(merged, [i % 2 for i in range(session.get_spikes(merged).size)])
        session.label(session.unit_ids[:1], "good")
        applied = session.apply()
        tables.append([session.table, sic.contamination_panel(applied)])
    for found, expected in zip(*tables, strict=True):
        pd.testing.assert_frame_equal(found, expected)
