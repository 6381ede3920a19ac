"""Real folders on SpikeInterface's road: read_phy and a recording, then this package."""

from __future__ import annotations

import numpy as np
import pytest
import spikeinterface.core as sc
from spikeinterface.extractors import read_phy

import si_curation as sic
from helpers.analyzers import recording_of_folder
from helpers.assignments import ASSIGNMENT, BEST, extension

FOLDERS = [
    "ks1_phy_curated",
    "ks25_example",
    "ks4_fresh",
    "ks4_phy_curated",
    *(
        pytest.param(f"ks4_truth/{kind}/{clusters}", marks=pytest.mark.slow)
        for kind in ("static", "drifting", "twins")
        for clusters in ("ks", "nomerge", "mu")
    ),
]


@pytest.mark.filterwarnings("ignore:create_sorting_analyzer")
@pytest.mark.parametrize("name", FOLDERS)
def test_as_read_kilosort_as_analyzer(shared_data, name):
    folder = shared_data / name
    recording = recording_of_folder(folder)
    analyzer = sc.create_sorting_analyzer(read_phy(folder), recording, sparse=False)
    read = sic.read_kilosort_as_analyzer(folder)
    for one in (analyzer, read):
        one.compute([ASSIGNMENT, BEST, "unit_similarity"])
    ours, its = extension(analyzer), extension(read)
    np.testing.assert_array_equal(ours.get_spike_rows(), its.get_spike_rows())
    assert ours.get_data().equals(its.get_data())
    np.testing.assert_array_equal(ours.get_templates(), its.get_templates())
    tables = [extension(one, BEST).get_data("dataframe") for one in (analyzer, read)]
    columns = ["unit_id", "rank", "channel_index", "amplitude"]
    assert tables[0][columns].equals(tables[1][columns])
    similarities = [extension(one, "unit_similarity").get_data() for one in (analyzer, read)]
    np.testing.assert_array_equal(*similarities)
    labels = [one.get_sorting_property("quality") for one in (analyzer, read)]
    np.testing.assert_array_equal(*labels)
