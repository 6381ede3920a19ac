"""Probes in 3D: depth, neighbours and positions are those of the same probe in 2D."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pandas as pd
import pytest
import spikeinterface.core as sc
import spikeinterface.postprocessing  # noqa: F401
from probeinterface import Probe

import si_curation as sic
from si_curation.evidence.unit_locations import unit_locations
from si_curation.reading.probe import contact_positions

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


def nwbfile_of(places, names=None, groups=None):
    """An open file with electrodes at some places, in 2D or 3D."""
    import pynwb

    nwbfile = pynwb.NWBFile("a session", "0123", datetime(2026, 1, 1, tzinfo=timezone.utc))
    device = nwbfile.create_device(name="probe")
    groups = np.zeros(len(places), dtype=int) if groups is None else groups
    made = [
        nwbfile.create_electrode_group(f"group{i}", "one", "CA1", device=device)
        for i in range(max(groups) + 1)
    ]
    axes = ["rel_x", "rel_y", "rel_z"][: places.shape[1]]
    for axis in axes:
        nwbfile.add_electrode_column(axis, "µm")
    nwbfile.add_electrode_column("channel_name", "name")
    for i, place in enumerate(places):
        nwbfile.add_electrode(
            group=made[groups[i]],
            location="CA1",
            channel_name=str(i) if names is None else names[i],
            **dict(zip(axes, place.tolist(), strict=True)),
        )
    return nwbfile


def electrodes_of(analyzer, nwbfile, **kwargs):
    units = sic.add_units_to_nwbfile(analyzer, nwbfile, t_start=0.0, **kwargs)
    return units["electrodes"].target.data


@pytest.mark.parametrize("axes", AXES)
def test_electrodes_of_a_file_are_compared_in_3d(analyzer_of, axes):
    analyzer = analyzer_of(axes)
    places = contact_positions(analyzer)
    assert places.shape == (16, 3)
    assert len(electrodes_of(analyzer, nwbfile_of(places)))
    moved = places.copy()
    moved[3, np.ptp(places, axis=0).argmax()] += 50.0  # along the depth
    with pytest.raises(sic.ParameterError, match=r"at other places: 3 "):
        electrodes_of(analyzer, nwbfile_of(moved))


@pytest.mark.parametrize("axes", AXES)
def test_a_flat_probe_is_that_of_a_file_in_3d(analyzer_of, axes):
    analyzer = analyzer_of(None)
    standing = contact_positions(analyzer_of(axes))
    assert len(electrodes_of(analyzer, nwbfile_of(standing)))
    standing[3, np.ptp(standing, axis=0).argmax()] += 50.0
    with pytest.raises(sic.ParameterError, match=r"at other places: 3 "):
        electrodes_of(analyzer, nwbfile_of(standing))


@pytest.mark.parametrize("axes", [None, "xy"])
def test_a_file_in_2d_is_compared_in_its_coordinates(analyzer_of, axes):
    places = contact_positions(analyzer_of(axes))[:, :2]
    assert len(electrodes_of(analyzer_of(axes), nwbfile_of(places)))


@pytest.mark.parametrize("axes", ["xz", "yz"])
def test_depths_that_spikeinterface_does_not_know_are_not_written(analyzer_of, axes):
    analyzer = analyzer_of(axes).copy()
    analyzer.compute("spike_locations", method="center_of_mass")
    nwbfile = nwbfile_of(contact_positions(analyzer))
    with pytest.raises(sic.MissingDataError, match="probe is in 3D"):
        sic.add_units_to_nwbfile(analyzer, nwbfile, t_start=0.0, per_spike=["depths"])
