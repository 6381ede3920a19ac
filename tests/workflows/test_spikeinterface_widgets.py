"""Every figure of SpikeInterface that needs no traces, on an analyzer read without a recording."""

from __future__ import annotations

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import spikeinterface.widgets as sw
from spikeinterface.core import SortingAnalyzer
from spikeinterface.widgets.widget_list import widget_list

import si_curation as sic
from helpers.spikeinterface_table import table

pytestmark = pytest.mark.slow

# what they need that is not there without traces, as the documentation has it
NEEDS = {
    getattr(getattr(sw, name, None), "__name__", name): outcome
    for name, outcome in table()["figures"].items()
    if not outcome.startswith("works")
}
COMPUTED = [
    "correlograms",
    "isi_histograms",
    "acgs_3d",
    "quality_metrics",
    "template_metrics",
    "spike_waveforms",
]


def arguments_of(name, analyzer):
    """The arguments of a figure, but for the analyzer."""
    ids = analyzer.unit_ids.tolist()
    labels = ["good" if i % 2 else "mua" for i in range(len(ids))]
    return {
        "BombcellUpsetPlotWidget": {"unit_labels": labels},
        "UnitSummaryWidget": {"unit_id": ids[0]},
        "UnitWaveformsWidget": {"plot_waveforms": False},
        "WaveformOverlayByLabelWidget": {"unit_labels": labels},
    }.get(name, {})


@pytest.fixture(scope="module")
def analyzer() -> SortingAnalyzer:
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder(), gain_to_uV=0.195)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analyzer.compute(COMPUTED)
    return analyzer


@pytest.mark.parametrize("widget", widget_list, ids=lambda widget: widget.__name__)
def test_it_is_drawn(analyzer, widget):
    name = widget.__name__
    if name in NEEDS:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = widget(analyzer, backend="matplotlib", **arguments_of(name, analyzer))
    assert drawn.figure is not None
    plt.close("all")


@pytest.mark.parametrize("computed", [False, True], ids=["as read", "with waveforms"])
def test_templates_before_and_after_waveforms_are_computed(computed):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    if computed:
        analyzer.compute("spike_waveforms")
    std = analyzer.get_extension("templates").get_templates(operator="std")
    mask = analyzer.sparsity.mask
    if computed:
        found = analyzer.get_extension("spike_waveforms").get_templates(operator="std")
        assert (std == found).all()
        assert (std.max(axis=1)[mask] > 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sw.plot_unit_templates(analyzer)
        sw.plot_unit_summary(analyzer, unit_id=13)
    plt.close("all")


def test_templates_of_merged_and_split_units():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute("spike_waveforms")
    session = sic.CurationSession(analyzer)
    merged = session.merge([11, 12])
    parts = session.split(4, np.arange(analyzer.sorting.count_num_spikes_per_unit()[4]) % 2)
    after = session.apply()
    std = after.get_extension("templates").get_templates(operator="std")
    found = after.get_extension("spike_waveforms").get_templates(operator="std")
    assert (std == found).all()
    rows = after.sorting.ids_to_indices([merged, *parts])
    assert (std.max(axis=1)[rows][after.sparsity.mask[rows]] > 0).all()


def test_spikeinterfaces_report(analyzer, tmp_path):
    from spikeinterface.exporters import export_report

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_report(analyzer, tmp_path / "report")
    assert (tmp_path / "report" / "quality metrics.csv").exists()
    assert len(list((tmp_path / "report" / "units").iterdir())) == len(analyzer.unit_ids)
