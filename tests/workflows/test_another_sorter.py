"""A sorter that SpikeInterface runs itself: sorted, curated in code, exported and read back."""

import numpy as np
import pytest
import spikeinterface.core as sc
from phylib.io.model import load_model
from spikeinterface.sorters import run_sorter

import si_curation as sic


@pytest.mark.slow
def test_sorted_curated_exported_and_read_back(tmp_path):
    recording, truth = sc.generate_ground_truth_recording(
        durations=[20.0], num_channels=16, num_units=6, seed=0
    )
    recording = recording.save(folder=tmp_path / "recording", progress_bar=False)
    clusterer = {"clusterer": "kmeans", "clusterer_kwargs": {"n_clusters": 8}}
    sorting = run_sorter(
        "simple", recording, folder=tmp_path / "sorter", verbose=False, **clusterer
    )
    assert sorting.get_num_units() >= 2, "nothing to curate"
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=True)
    steps = {"random_spikes": {}, "templates": {"operators": ["average"]}, "spike_amplitudes": {}}
    analyzer.compute(steps, progress_bar=False)

    session = sic.CurationSession(analyzer)
    first, second = session.unit_ids[:2]
    merged = session.merge([first, second])
    session.label([merged], "good")
    applied = session.apply()
    expected = applied.sorting.count_num_spikes_per_unit()
    assert sum(expected.values()) == sorting.to_spike_vector().size

    out = sic.export_to_phy(applied, tmp_path / "phy")
    model = load_model(out / "params.py")
    counts = np.unique(model.spike_clusters, return_counts=True)[1]
    assert sorted(counts.tolist()) == sorted(expected.values())
    assert model.traces is not None, "phy finds no raw data"
    back = sic.read_kilosort_as_analyzer(out)
    assert sorted(back.sorting.count_num_spikes_per_unit().values()) == sorted(expected.values())
    good = back.unit_ids[back.get_sorting_property("quality") == "good"]
    assert [back.sorting.count_num_spikes_per_unit()[i] for i in good] == [expected[merged]]
    lineage = sic.reconstruct_lineage(back)
    assert lineage.event[good[0]] == "merged"


@pytest.mark.slow
def test_a_session_without_changes_keeps_the_models_of_components():
    recording, sorting = sc.generate_ground_truth_recording(
        durations=[5.0], num_channels=8, num_units=3, seed=0
    )
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=True)
    analyzer.compute(
        ["random_spikes", "noise_levels", "waveforms", "templates", "principal_components"],
        progress_bar=False,
    )
    before = analyzer.get_extension("principal_components").data
    after = sic.CurationSession(analyzer).apply().get_extension("principal_components").data
    assert list(after) == list(before)
    models = [name for name, value in before.items() if not isinstance(value, np.ndarray)]
    assert models, "SpikeInterface keeps no models any more"
    for name in models:
        assert after[name] is not before[name]
        np.testing.assert_array_equal(after[name].components_, before[name].components_)
    projections = "pca_projection"
    np.testing.assert_array_equal(after[projections], before[projections])
    assert not np.shares_memory(after[projections], before[projections])
