"""Probes in 3D: depth, neighbours and positions are those of the same probe in 2D."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import spikeinterface.core as sc
import spikeinterface.postprocessing  # noqa: F401
from probeinterface import Probe

import si_curation as sic
from si_curation.evidence.unit_locations import unit_locations

#: How the probe stands: the axes of the plane it is in.
AXES = ("xy", "xz", "yz")


@pytest.fixture(scope="module")
def ground_truth():
    return sc.generate_ground_truth_recording(
        durations=[10.0], num_channels=16, num_units=5, seed=0
    )


@pytest.fixture(scope="module")
def analyzer_of(ground_truth):
    """Give analyzers of the same data with the probe in 2D, or in 3D in a plane."""
    made = {}

    def make(axes):
        if axes not in made:
            recording, sorting = ground_truth
            flat = Probe(ndim=2)
            flat.set_contacts(
                recording.get_channel_locations(), shapes="circle", shape_params={"radius": 5.0}
            )
            flat.set_device_channel_indices(np.arange(16))
            recording = recording.clone()
            recording.set_probe(flat if axes is None else flat.to_3d(axes=axes))
            analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
            analyzer.compute(
                ["random_spikes", "waveforms", "templates", "spike_amplitudes", "unit_locations"]
            )
            analyzer.compute(["template_best_channels", "curation_metrics", "cross_correlograms"])
            made[axes] = analyzer
        return made[axes]

    return make


@pytest.mark.parametrize("axes", AXES)
def test_tables_are_those_of_the_probe_in_2d(analyzer_of, axes):
    flat, standing = analyzer_of(None), analyzer_of(axes)
    best = [
        a.get_extension("template_best_channels").get_data(outputs="dataframe")
        for a in (flat, standing)
    ]
    pd.testing.assert_frame_equal(*best)
    metrics = [a.get_extension("curation_metrics").get_data()["depth_um"] for a in (flat, standing)]
    pd.testing.assert_series_equal(*metrics)
    assert metrics[1].nunique() > 1


@pytest.mark.parametrize("axes", AXES)
def test_places_of_units(analyzer_of, axes):
    standing = analyzer_of(axes)
    expected = unit_locations(analyzer_of(None))
    # SpikeInterface's are not used: it takes every contact at z = 0
    np.testing.assert_allclose(unit_locations(standing), expected, atol=40.0)
    assert np.ptp(unit_locations(standing)[:, 1]) > 50.0


@pytest.mark.parametrize("axes", AXES)
def test_phy_folders_have_the_positions_of_the_plane(analyzer_of, axes, tmp_path):
    for name, which in (("flat", None), ("standing", axes)):
        sic.export_to_phy(analyzer_of(which), tmp_path / name)
    for file in ("channel_positions.npy", "channel_map.npy", "templates.npy"):
        one, two = (np.load(tmp_path / name / file) for name in ("flat", "standing"))
        np.testing.assert_array_equal(one, two)
