"""`plot_waveform_drift`: its numbers, read back from the figure."""

from __future__ import annotations

import numpy as np
import pytest

import si_curation as sic


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


def test_numbers(analyzer):
    widget = sic.plot_waveform_drift(analyzer, 13, window_s=20, num_channels=3)
    windows = sic.spikes_in_windows(analyzer, 13, window_s=20)
    ids = [int(axes.get_title(loc="left").split()[-1]) for axes in widget.axes[:3]]
    template = analyzer.get_extension("template_assignment").get_unit_template(13)
    assert ids[0] == analyzer.channel_ids[np.ptp(template, axis=0).argmax()]
    found = sic.get_waveform_sets(analyzer, windows, channel_ids=ids)
    for i, panel in enumerate(widget.axes[:3]):
        lines = [line.get_ydata() for line in panel.lines]
        np.testing.assert_array_equal(lines, found.waveforms[:, :, i])
    times = widget.axes[0].lines[0].get_xdata()
    before = analyzer.get_extension("template_assignment").info["num_samples_before"]
    assert times[before] == 0
    sizes = [line.get_ydata() for line in widget.axes[3].lines[:3]]
    np.testing.assert_array_equal(np.transpose(sizes), np.ptp(found.waveforms, axis=1))


def test_few_spikes(analyzer):
    some = sic.plot_waveform_drift(analyzer, 11, num_windows=60)
    assert 0 < len(some.axes[0].lines) < 60
    with pytest.raises(sic.MissingDataError, match="longer windows"):
        sic.plot_waveform_drift(analyzer, 11, num_windows=900)


def test_borders_are_drawn(analyzer):
    widget = sic.plot_waveform_drift(analyzer, 13, borders=[30.0])
    assert 30.0 in [line.get_xdata()[0] for line in widget.axes[-1].lines]
