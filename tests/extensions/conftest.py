"""Analyzers of the tests of `template_assignment` and `template_best_channels`."""

from __future__ import annotations

import numpy as np
import pytest
import spikeinterface.core as sc

import si_curation as sic
from helpers.assignments import BEST


@pytest.fixture(scope="module")
def folder(simulate):
    """A small curated folder on two shanks, in which units share templates."""
    return simulate(
        num_templates=10,
        num_channels=24,
        num_spikes=900,
        num_shanks=2,
        num_raw_channels=30,
        curation=[("merge", [1, 2]), ("split", 3, 3), ("merge", [10, 11]), ("label", [4], "good")],
        write_features=False,
        seed=4,
    )


@pytest.fixture(scope="module")
def read_only_analyzer(folder):
    analyzer = sic.read_kilosort_as_analyzer(folder.folder)
    analyzer.compute(BEST)
    return analyzer


@pytest.fixture
def analyzer(folder):
    """An analyzer in memory to change."""
    analyzer = sic.read_kilosort_as_analyzer(folder.folder)
    analyzer.compute(BEST)
    return analyzer


@pytest.fixture(scope="module", params=["strings, sparse", "strings, dense", "integers, sparse"])
def other(request):
    """An analyzer that did not come from Kilosort, with templates; not changed."""
    recording, sorting = sc.generate_ground_truth_recording(
        durations=[5.0, 3.0], num_channels=32, num_units=6, seed=0
    )
    if request.param.startswith("integers"):
        sorting = sorting.rename_units([3, 14, 15, 92, 65, 35])
        probe = recording.get_probe()
        probe.set_shank_ids(np.where(probe.contact_positions[:, 0] > 20, "right", "left"))
        recording.set_probe(probe)
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse="sparse" in request.param)
    analyzer.compute(["random_spikes", "templates"], progress_bar=False)
    return analyzer
