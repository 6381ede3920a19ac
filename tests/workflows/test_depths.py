"""Where units are on the probe, on real folders and beside truth."""

from __future__ import annotations

import numpy as np
import pytest

import si_curation as sic
from helpers.assignments import BEST, extension
from si_curation.evidence.unit_locations import unit_locations
from si_curation.quality.unit_table import make_unit_table

FOLDERS = {
    "ks1_phy_curated": {},
    "ks25_example": {},
    "ks4_fresh": {},
    "ks4_phy_curated": {},
    "np1_without_params": {"sampling_frequency": 30_000.0},
}
SAME_SAMPLES = 15


@pytest.mark.parametrize("name", FOLDERS)
def test_depths_are_those_of_the_best_channels(shared_data, name):
    """The slope of depth on the depth of the best channel was 0.5 to 1.0."""
    analyzer = sic.read_kilosort_as_analyzer(shared_data / name, **FOLDERS[name])
    analyzer.compute(BEST)
    depths = make_unit_table(analyzer)["depth_um"].to_numpy(dtype=float)
    y = unit_locations(analyzer)[:, 1]
    known = np.isfinite(depths)
    assert np.isfinite(y[known]).all()
    assert np.median(np.abs(y - depths)[known]) < 10
    assert np.abs(y - depths)[known].max() < 40
    assert 0.88 < np.polyfit(depths[known], y[known], 1)[0] < 1.06


def found_neurons(analyzer, truth):
    """{unit index: neuron} of units that have 70 % of all spikes of both in common."""
    spikes, found = analyzer.sorting.to_spike_vector(), {}
    for unit in range(len(analyzer.unit_ids)):
        ours = spikes["sample_index"][spikes["unit_index"] == unit]
        for neuron in range(int(truth["nmain"])):
            its = np.sort(truth["samples"][truth["units"] == neuron])
            if not ours.size or not its.size:
                continue
            at = np.searchsorted(its, ours)
            both = np.stack([its[np.minimum(at, its.size - 1)], its[np.maximum(at - 1, 0)]])
            same = int((np.abs(both - ours).min(axis=0) <= SAME_SAMPLES).sum())
            if same > 0.7 * (ours.size + its.size - same):
                found[unit] = neuron
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["static", "twins"])
def test_depths_are_those_of_the_neurons(shared_data, name):
    folder = shared_data / "ks4_truth" / name
    analyzer = sic.read_kilosort_as_analyzer(folder / "ks")
    with np.load(folder / "ground_truth.npz") as file:
        truth = dict(file)
    found = found_neurons(analyzer, truth)
    assert len(found) > 15
    error = unit_locations(analyzer)[list(found)] - truth["loc"][list(found.values()), :2]
    assert np.median(np.abs(error[:, 1])) < 2
    assert np.quantile(np.abs(error[:, 1]), 0.9) < 5
    assert np.median(np.abs(error[:, 0])) < 4
    assert extension(analyzer, "unit_locations").get_data().shape == (len(analyzer.unit_ids), 2)
